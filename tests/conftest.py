# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fixtures of all tests. Plugins are imported as C(ansible_collections.hpc.apptainer...): pyproject.toml puts .collections on the path."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import configuration, settings
from support import envs, processes

# The same examples on every run: a failure is this change's, and nothing is remembered between runs. Look for new ones with
# --hypothesis-profile=default.
configuration.set_hypothesis_home_dir(envs.ROOT / ".cache" / "hypothesis")
settings.register_profile("ci", derandomize=True, deadline=None, database=None)
settings.load_profile("ci")

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Only unit tests count as coverage; and the longest tests, the linters', start first."""
    for item in items:
        if HERE / "unit" not in item.path.parents:
            item.add_marker(pytest.mark.no_cover)
    items.sort(key=lambda item: HERE / "lint" not in item.path.parents)


@pytest.fixture(scope="session", params=[envs.OLD_CORE, "newest"], ids=["3.6 under ansible-core 2.16", "newest under newest"])
def node_python(request: pytest.FixtureRequest) -> envs.Node:
    """A managed node's interpreter (C(.python)) and the C(ansible) that manages it (C(.ansible)): the oldest pair and the newest."""
    try:
        return envs.node(request.param)
    except envs.MissingInterpreterError as exc:
        pytest.skip(str(exc))


@pytest.fixture
def run_module(tmp_path: Path) -> Callable[..., processes.Run]:
    """C(run_module(name, args, check=False, diff=False, python=None, env=None)): run a module as a process; C(python) is a C(node_python).

    The home is C(tmp_path / "home"), so nothing touches the developer's files.
    """

    def run(name, args, check=False, diff=False, python=None, env=None):
        node = python or envs.Node(envs.core("running"), Path(sys.executable))
        return processes.run_module(node, name, args, check=check, diff=diff, home=tmp_path / "home", env=env)

    return run


@pytest.fixture(scope="session")
def collection_tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection as C(ansible-galaxy collection build) makes it from this checkout."""
    directory = tmp_path_factory.mktemp("build")
    galaxy = envs.core("running") / "bin" / "ansible-galaxy"
    built = processes.run(galaxy, "collection", "build", envs.ROOT, "--output-path", directory, env=processes.clean_env(directory / "home"))
    assert built.returncode == 0, built.stdout + built.stderr
    (tarball,) = directory.glob("hpc-apptainer-*.tar.gz")
    return tarball


@pytest.fixture
def installed_collection(collection_tarball: Path, tmp_path: Path) -> Path:
    """That tarball, installed: the directory of the collection, as on a user's machine."""
    galaxy = envs.core("running") / "bin" / "ansible-galaxy"
    env = processes.clean_env(tmp_path / "home", {"ANSIBLE_COLLECTIONS_PATH": tmp_path})
    installed = processes.run(galaxy, "collection", "install", "--offline", "-p", tmp_path, collection_tarball, env=env)
    assert installed.returncode == 0, installed.stdout + installed.stderr
    return tmp_path / "ansible_collections" / "hpc" / "apptainer"
