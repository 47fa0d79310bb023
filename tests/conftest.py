# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fixtures of all tests. Plugins are imported as `ansible_collections.hpc.apptainer...`: pyproject.toml puts .collections on the path.

ansible-test and tox-ansible run the unit tests too, without pyproject.toml: what these want of the path and of the markers is said here.
"""

import contextlib
import fcntl
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import configuration, settings

sys.path.insert(0, str(Path(__file__).parent))

from support import envs, forked, leaks, processes, release
from support.servers import certificates as authority
from support.servers import daemons, registry
from support.servers import keyserver as keys
from support.servers import library as libraries

# The same examples on every run: a failure is this change's, and nothing is remembered between runs. Look for new ones with
# --hypothesis-profile=default.
configuration.set_hypothesis_home_dir(envs.ROOT / ".cache" / "hypothesis")
settings.register_profile("ci", derandomize=True, deadline=None, database=None)
settings.load_profile("ci")

HERE = Path(__file__).parent


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One worker more than there are processors: many tests wait for a server, or for a file to be at rest."""
    return len(os.sched_getaffinity(0)) + 1


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="also run what is marked as full, and what is marked as newest with the oldest ansible-core")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "full: the same at its full size; only with --full")
    config.addinivalue_line("markers", "newest: shown by other tests for both ends of the range; with the oldest ansible-core only with --full")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Only unit tests count as coverage; and the longest tests, the linters' and the fleet's, start first."""
    if not config.getoption("full"):
        left_out = {item for item in items if item.get_closest_marker("full") or (item.get_closest_marker("newest") and _with_oldest_core(item))}
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]
    for item in items:
        if HERE / "unit" not in item.path.parents:
            item.add_marker(pytest.mark.no_cover)
    items.sort(key=lambda item: [HERE / name not in item.path.parents for name in ("lint", "fleet")])


def _with_oldest_core(item: pytest.Item) -> bool:
    return isinstance(item, pytest.Function) and hasattr(item, "callspec") and envs.OLD_CORE in item.callspec.params.values()


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Ids say what is in a row where pytest would only count, or write a value that could be of anything: `args={mode: rubbish}`, `check=True`."""
    counted = isinstance(val, bytes | dict | list | tuple | set | frozenset) or (isinstance(val, str) and not 0 < len(val) <= 80)
    if counted or val is None or isinstance(val, bool | int | float):
        return f"{argname}={_shortened(_text(val), 120)}"
    return None


def _text(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_text, value)) + "]"
    if isinstance(value, set | frozenset):  # sorted, so that all workers of a run have the same ids
        return "[" + ", ".join(sorted(map(_text, value))) + "]"
    if callable(value):
        return getattr(value, "__name__", "")
    return _shortened(str(value).encode("unicode_escape").decode(), 50)


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most - 3] + "..."


OLD_AND_NEW = {"params": [envs.OLD_CORE, "newest"], "ids": ["3.6 under ansible-core 2.16", "newest under newest"]}


@pytest.fixture(scope="session", **OLD_AND_NEW)
def node_python(request: pytest.FixtureRequest) -> envs.Node:
    """A managed node's interpreter (`.python`) and the `ansible` that manages it (`.ansible`): the oldest pair and the newest."""
    return _node(request.param, verify=False)


@pytest.fixture(scope="session", **OLD_AND_NEW)
def verify_node(request: pytest.FixtureRequest) -> envs.Node:
    """The same with requests and jsonschema: those of EL8, and the newest."""
    return _node(request.param, verify=True)


def _node(kind: str, verify: bool) -> envs.Node:
    try:
        return envs.node(kind, verify)
    except envs.MissingInterpreterError as exc:
        pytest.skip(str(exc))


@pytest.fixture
def run_module(tmp_path: Path) -> Callable[..., processes.Run]:
    """`run_module(name, args, check=False, diff=False, python=None, env=None, fresh=False)`: run a module as a process.

    `python` is a `node_python`; with `fresh`, the process is a new interpreter, not a fork of one. The home is `tmp_path / "home"`, so nothing
    touches the developer's files.
    """

    def run(name, args, check=False, diff=False, python=None, env=None, fresh=False):
        node = python or envs.Node(envs.core("running"), Path(sys.executable))
        return processes.run_module(node, name, args, check=check, diff=diff, home=tmp_path / "home", env=env, fresh=fresh)

    return run


@pytest.fixture
def quick_python(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`quick_python(core, python=None)`: an `ansible_python_interpreter` for hosts that are directories, under the ansible of that environment.

    It runs modules as `python` would (that of the tests, if it isn't given), but for most of the time of their imports: see `support.forked`.
    """

    def make(core, python=None):
        python = python or Path(sys.executable)
        return forked.interpreter(python, core / "modlib", tmp_path_factory.mktemp("python")) if forked.POSSIBLE else python

    return make


@pytest.fixture(scope="session")
def _built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the tarball, and with the collections that it installs: the first process that wants them makes them for all of a run."""
    run = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        run = run.parent
    directory, galaxy = run / "built", envs.core("running") / "bin" / "ansible-galaxy"
    with (run / "built.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / "done").exists():
            tarball = release.build(envs.ROOT, directory)
            env = processes.clean_env(directory / "home", {"ANSIBLE_COLLECTIONS_PATH": directory})
            installed = processes.run(galaxy, "collection", "install", "--offline", "-p", directory, tarball, env=env)
            assert installed.returncode == 0, installed.stdout + installed.stderr
            (directory / "done").touch()
    return directory


@pytest.fixture(scope="session")
def collection_tarball(_built: Path) -> Path:
    """The tarball as `make build` makes it from this checkout."""
    (tarball,) = _built.glob("*.tar.gz")
    return tarball


@pytest.fixture
def installed_collection(_built: Path, tmp_path: Path) -> Path:
    """That tarball, installed: the directory of the collection, as on a user's machine, for this test alone."""
    return shutil.copytree(_built / "ansible_collections", tmp_path / "ansible_collections") / "hpc" / "apptainer"


@pytest.fixture(scope="session")
def certificates() -> Iterator[authority.Certificates]:
    """The authority that signed for all servers, one that signed for none, and certificates that are wrong."""
    try:
        with authority.certificates() as made:
            yield made
    except daemons.MissingProgramError as exc:
        pytest.skip(str(exc))


@pytest.fixture(scope="session")
def start_server(certificates: authority.Certificates) -> Iterator[Callable[..., Any]]:
    """Start a server for the first test that wants it; for each other, let it forget what it saw."""
    started: dict[Any, Any] = {}
    with contextlib.ExitStack() as stack:

        def start(server, **options):
            key = (server, *options.items())
            if key not in started:
                try:
                    started[key] = stack.enter_context(server(certificates, **options))
                except daemons.MissingProgramError as exc:
                    pytest.skip(str(exc))
            started[key].forget()
            return started[key]

        yield start


@pytest.fixture
def registry_basic(start_server: Callable[..., Any]) -> registry.Registry:
    """An OCI registry that wants a password."""
    return start_server(registry.basic)


@pytest.fixture
def registry_http(start_server: Callable[..., Any]) -> registry.Registry:
    """The same without TLS, on 127.0.0.1."""
    return start_server(registry.basic, tls=False)


@pytest.fixture
def registry_open(start_server: Callable[..., Any]) -> registry.Registry:
    """An OCI registry that asks nobody."""
    return start_server(registry.unprotected)


@pytest.fixture
def registry_token(start_server: Callable[..., Any]) -> registry.TokenRegistry:
    """An OCI registry that wants a token, which a token server gives for the password."""
    return start_server(registry.token)


@pytest.fixture
def keyserver(start_server: Callable[..., Any]) -> keys.Keyserver:
    """An HKP keyserver, protected in several ways."""
    return start_server(keys.keyserver)


@pytest.fixture
def library(start_server: Callable[..., Any]) -> libraries.Library:
    """Endpoints with a Library API service, good and broken ones."""
    return start_server(libraries.library)


@pytest.fixture
def syslog() -> Iterator[leaks.Syslog]:
    """The system's log during the test (`.texts()`): only for root, where no syslog runs."""
    with contextlib.ExitStack() as stack:
        try:
            captured = stack.enter_context(leaks.captured_syslog())
        except leaks.NoSyslogError as exc:
            pytest.skip(f"needs root and a machine without syslog: {exc}")
        yield captured
