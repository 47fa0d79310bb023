# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The interpreters on this machine, and the virtual environments below .venv, made when first asked for and then kept.

`main` runs the tests and the linters, with the newest ansible-core for the Python that runs `make`. `core-*` hold another ansible-core,
`node-*` what a managed node has: Python and PyYAML, and `node-*-verify` also what verifying wants. Run as a script (the Makefile does), it
makes `main`: only the standard library here. The matrix (`support.matrix`) has more of both: every ansible-core, and every Python as a node.
"""

import contextlib
import fcntl
import functools
import os
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
VENVS = ROOT / ".venv"
MAIN = VENVS / "main"

NEWEST_MINOR = 14
OLD_CORE = "2.16"
OLD_CORE_MINORS = (12, 11, 10)
OLD_NODE_MINOR = 6
# The pip that comes with 3.6 does not know today's wheels, and their successors do not know 3.6.
PIP_OF_3_6 = ["pip<22", "setuptools<60"]
# What EL8 has; without a compiler, pip makes this PyYAML without its C part.
OLD_NODE_VERIFY = ["PyYAML==3.12", "requests==2.20.0", "urllib3==1.24.3", "jsonschema==2.6.0"]
NODE_VERIFY = ["PyYAML", "requests", "jsonschema"]
# What clusters' systems have with the Python of that minor version.
SYSTEMS = {
    OLD_NODE_MINOR: ("EL 8", OLD_NODE_VERIFY),
    9: ("EL 9", ["PyYAML==5.4.1", "requests==2.25.1", "urllib3==1.26.5", "jsonschema==3.2.0"]),
    12: ("EL 10", ["PyYAML==6.0.1", "requests==2.32.3", "urllib3==1.26.19", "jsonschema==4.19.1"]),
}
# Without what only its drivers for other people's stores want: one of them has to be compiled.
FOREIGN_REGISTRY = [["--no-deps", "zuul-registry==1.3.0"], ["cherrypy", "pyjwt", "python-dateutil", "PyYAML", "requests", "routes"]]
# Programs of others that run the collection, and the collections of the package `ansible` that have lookups for secrets.
TOOLS = ["ansible-core", "ansible-navigator", "ara[server]", "hvac", "molecule"]
LOOKUPS = ("community/hashi_vault", "community/sops")

# The programs that tests start, and Debian's packages of them; and the services that those would start.
PROGRAMS = {
    "chromedriver": "chromium-driver",
    "chromium": "chromium",
    "docker-registry": "docker-registry",
    "htpasswd": "apache2-utils",
    "nginx": "nginx",
    "openssl": "openssl",
    "rsync": "rsync",
    "setpriv": "util-linux",
    "sks": "sks",
    "ssh": "openssh-client",
    "sshd": "openssh-server",
    "strace": "strace",
    "systemd-analyze": "systemd",
    "unshare": "util-linux",
}
SERVICES = {"docker-registry": "docker-registry", "nginx": "nginx", "openssh-server": "ssh", "sks": "sks"}


PIP = ("-m", "pip", "--disable-pip-version-check", "-qq")
# Prints a Python's version, whether its pip is too old, and the wheel of that pip, which Debian and Fedora keep in a place of their own.
FIND_PIP = """
import ensurepip, glob, os, sys
places = [os.path.join(os.path.dirname(ensurepip.__file__), "_bundled"), getattr(ensurepip, "_WHEEL_PKG_DIR", None)]
wheels = [wheel for place in places if place for wheel in glob.glob(os.path.join(str(place), "pip-{}-*.whl".format(ensurepip.version())))]
print("{}.{}".format(*sys.version_info), sys.version_info < (3, 7), *wheels, sep="\\n")
"""


class MissingInterpreterError(Exception):
    """No usable interpreter of a version that was asked for; the message names it and what it is for."""


class Node(NamedTuple):
    """A managed node's interpreter, and the environment of the ansible-core that manages it."""

    core: Path
    python: Path

    @property
    def ansible(self) -> Path:
        return self.core / "bin" / "ansible"


@functools.cache
def find_python(minor: int) -> Path | None:
    """A CPython 3.minor that can make virtual environments: this one, one on PATH, or one of pyenv's.

    Each candidate is run, because a name on PATH proves nothing (pyenv's shims exist for versions that aren't switched on).
    """
    name = f"python3.{minor}"
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    candidates = [Path(directory) / name for directory in os.environ.get("PATH", os.defpath).split(os.pathsep)]
    candidates += sorted(pyenv.glob(f"versions/3.{minor}.*/bin/{name}"))
    if sys.version_info[:2] == (3, minor):
        candidates.insert(0, Path(sys._base_executable))
    probe = "import ensurepip, ssl, venv, sys; print(sys.implementation.name, *sys.version_info[:2])"
    for candidate in (path for path in candidates if os.access(path, os.X_OK)):
        answer = subprocess.run([candidate, "-c", probe], capture_output=True, text=True, check=False)
        if answer.stdout.split() == ["cpython", "3", str(minor)]:
            return candidate
    return None


def first_python(minors: tuple[int, ...], purpose: str) -> Path:
    """The first of these interpreters that exists."""
    for minor in minors:
        if found := find_python(minor):
            return found
    names = " or ".join(f"python3.{minor}" for minor in minors)
    raise MissingInterpreterError(f"needs {names} ({purpose}): none found on PATH or in pyenv")


def core(kind: str) -> Path:
    """The environment with one ansible-core: of the `running` Python, of the `newest` Python on the machine, 2.16, or another of `cores()`."""
    if kind == OLD_CORE:
        python = first_python(OLD_CORE_MINORS, f"the controller of ansible-core {OLD_CORE}")
        return _with_modlib(_ensure(f"core-{OLD_CORE}", python, [f"ansible-core=={OLD_CORE}.*"]))
    if kind[0].isdigit():
        return _with_modlib(_ensure(f"core-{kind}", cores()[kind], [f"ansible-core=={kind}.*"]))
    newest = next((minor for minor in range(NEWEST_MINOR, sys.version_info.minor, -1) if find_python(minor)), None)
    if kind == "running" or newest is None:
        return _with_modlib(Path(sys.prefix))
    return _with_modlib(_ensure("core-newest", first_python((newest,), "the newest ansible-core"), ["ansible-core"]))


def only_core() -> Path:
    """An environment with nothing but the newest ansible-core, as a user would make it."""
    newest = core("newest")
    return newest if newest != Path(sys.prefix) else _ensure("core-only", Path(sys._base_executable), ["ansible-core"])


def node(kind: str, verify: bool = False) -> Node:
    """A managed node under the ansible-core of the same kind: the oldest Python that it can manage, or the newest.

    It has PyYAML, and with `verify` also requests and jsonschema, which the modules want only where they verify something.
    """
    suffix, packages = ("-verify", NODE_VERIFY) if verify else ("", ["PyYAML"])
    if kind == OLD_CORE:
        python = first_python((OLD_NODE_MINOR,), f"an EL8 node, managed by ansible-core {OLD_CORE}")
        packages = OLD_NODE_VERIFY if verify else packages
        return Node(core(kind), _ensure(f"node-3.6{suffix}", python, packages) / "bin" / "python")
    controller = core(kind)
    base = subprocess.check_output([controller / "bin" / "python", "-c", "import sys; print(sys._base_executable)"], text=True).strip()
    return Node(controller, _ensure(f"node-{kind}{suffix}", Path(base), packages) / "bin" / "python")


@functools.cache
def cores() -> dict[str, Path]:
    """Each ansible-core from 2.16 on that the package index has, and the oldest Python here that it can be installed on, which runs it."""
    found: dict[int, Path] = {}
    for python in filter(None, map(find_python, range(min(OLD_CORE_MINORS), NEWEST_MINOR + 1))):
        known = subprocess.run([python, *PIP[:-1], "index", "versions", "ansible-core"], capture_output=True, text=True, check=False)
        for minor in map(int, re.findall(r"\b2\.(\d+)\.\d+\b", known.stdout)):
            found.setdefault(minor, python)
    return {f"2.{minor}": python for minor, python in sorted(found.items()) if minor >= int(OLD_CORE.partition(".")[2])}


def managed_minors(core: Path) -> tuple[set[int], set[int]]:
    """The minor versions of Python 3 that an ansible-core runs on, and that it manages nodes with: what its own ansible-test goes by."""
    (constants,) = core.glob("lib/python3*/site-packages/ansible_test/_util/target/common/constants.py")
    values = runpy.run_path(str(constants))
    controllers, only_nodes = ({int(version[2:]) for version in values[name] if version.startswith("3.")}
                               for name in ("CONTROLLER_PYTHON_VERSIONS", "REMOTE_ONLY_PYTHON_VERSIONS"))
    return controllers, controllers | only_nodes


def system_node(minor: int, newest: bool) -> Path | None:
    """The interpreter of a node with Python 3.minor, and requests and jsonschema: the newest libraries for it, or those of the system in SYSTEMS.

    None if there is no such Python here, or no such system.
    """
    python = find_python(minor)
    if python is None or (not newest and minor not in SYSTEMS):
        return None
    name = f"node-3.{minor}-{'newest' if newest else 'verify'}"
    return _ensure(name, python, NODE_VERIFY if newest else SYSTEMS[minor][1]) / "bin" / "python"


def foreign_registry() -> Path:
    """The environment with a registry that is a program of its own."""
    return _ensure("zuul-registry", Path(sys._base_executable), *FOREIGN_REGISTRY)


def tools() -> Path:
    """The environment of `TOOLS`, which can also verify. Raises RuntimeError where they cannot be installed."""
    path = _ensure("tools", Path(sys._base_executable), [*TOOLS, *NODE_VERIFY])
    (packages,) = path.glob("lib/python3*/site-packages")
    with _locked(path.name):
        if not (packages / "ansible_collections" / LOOKUPS[-1]).exists():  # all of the package would take ten times as long
            with tempfile.TemporaryDirectory() as scratch:
                _run(path / "bin" / "python", *PIP, "download", "--no-deps", "-d", scratch, "ansible")
                (wheel,) = Path(scratch).glob("*.whl")
                _unpack(wheel, packages, tuple(f"ansible_collections/{name}/" for name in LOOKUPS))
    return path


def attack() -> Path:
    """The environment with a fuzzer that looks for inputs that reach new code, and what the fuzzed code wants."""
    return _ensure("attack", Path(sys._base_executable), ["atheris", *NODE_VERIFY])


def ensure_programs() -> None:
    """Install what the tests want of the system, where this is Debian and we are root; else those who want it say so and are skipped."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    missing = {package for program, package in PROGRAMS.items() if shutil.which(program, path=path) is None}
    if find_python(sys.version_info.minor) is None:
        missing.add("python3-venv")
        find_python.cache_clear()
    if not missing or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    _run("apt-get", "-qq", "update")
    found = {package for package in missing if _succeeds("apt-cache", "show", package)}
    if missing - found:
        print(f"apt has no {', '.join(sorted(missing - found))}: some tests will be skipped.", file=sys.stderr, flush=True)
    if not found:
        return
    print(f"Installing {', '.join(sorted(found))} ...", file=sys.stderr, flush=True)
    with _no_services():
        _run("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "install", "--no-install-recommends", *sorted(found))
    for package in found.intersection(SERVICES):
        _succeeds("systemctl", "disable", SERVICES[package])  # nor at the next start of the machine


@contextlib.contextmanager
def _no_services() -> Iterator[None]:
    """Packages that are installed meanwhile don't start their services, by Debian's own means; a machine's own rule for that stays."""
    policy = Path("/usr/sbin/policy-rc.d")
    if policy.exists():
        yield
        return
    policy.write_text("#!/bin/sh\nexit 101\n")
    try:
        policy.chmod(0o755)
        yield
    finally:
        policy.unlink()


def ensure_main() -> None:
    """Make the environment of the tests, with the Python that runs this, and the link that makes this checkout a collection."""
    runpy.run_path(str(Path(__file__).parent / "vars_plugins" / "checkout.py"))
    python = find_python(sys.version_info.minor)
    if python is None:
        raise MissingInterpreterError(f"{sys.executable} can't make virtual environments (on Debian: apt-get install python3-venv)")
    _ensure(MAIN.name, python, ["-r", str(ROOT / "test-requirements.txt")])


def _ensure(name: str, python: Path, *installs: list[str]) -> Path:
    """Make an environment, unless it is there and was made in the same way. Safe to call from several processes.

    What is never imported is not compiled, but for nodes: there, hosts may only read it. All but the tests' own get the pip of their Python by a
    reference: to install it takes longer than most of what it installs.
    """
    path = VENVS / name
    made = path / "made-by"
    requirements = [argument for install in installs for argument in install]
    options = [] if name.startswith("node-") else ["--no-compile"]
    recipe = "\n".join([str(path), str(python), *requirements, *(Path(file).read_text() for file in requirements if file.endswith(".txt"))])
    with _locked(name):
        if made.exists() and made.read_text() == recipe:
            return path
        print(f"Making .venv/{name} ...", file=sys.stderr, flush=True)
        shutil.rmtree(path, ignore_errors=True)
        pip = None if path == MAIN else _pip(python)
        _run(python, "-m", "venv", *(["--without-pip"] if pip else []), path)
        if pip:
            (packages,) = path.glob("lib/python3*/site-packages")
            (packages / "pip.pth").write_text(f"{pip}\n")
        for install in installs:
            _run(path / "bin" / "python", *PIP, "install", *options, *install)
        made.write_text(recipe)
    return path


def _pip(python: Path) -> Path | None:
    """A directory with the pip that comes with this Python, or one that knows today's wheels; None if it comes as no wheel that is known."""
    version, ancient, *wheels = subprocess.check_output([python, "-c", FIND_PIP], text=True).splitlines()
    path = VENVS / f"pip-{version}"
    with _locked(path.name):
        if path.exists() or not wheels:
            return path if wheels else None
        with tempfile.TemporaryDirectory(dir=VENVS) as scratch:
            made, new = Path(scratch) / "pip", Path(scratch) / "new"
            _unpack(Path(wheels[0]), made)
            if ancient == "True":
                _run("env", f"PYTHONPATH={made}", python, *PIP, "install", "--target", new, *PIP_OF_3_6)
                made = new
            made.rename(path)
    return path


def _unpack(wheel: Path, directory: Path, prefixes: tuple[str, ...] = ("",)) -> None:
    with zipfile.ZipFile(wheel) as content:
        content.extractall(directory, [name for name in content.namelist() if name.startswith(prefixes)])


@contextlib.contextmanager
def _locked(name: str) -> Iterator[None]:
    """One process at a time makes that environment."""
    VENVS.mkdir(exist_ok=True)
    with (VENVS / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _with_modlib(environment: Path) -> Path:
    """Give an environment a directory `modlib` with ansible and this collection and nothing else, for running modules on another interpreter."""
    modlib = environment / "modlib"
    modlib.mkdir(exist_ok=True)
    (ansible,) = environment.glob("lib/python3*/site-packages/ansible")
    for target in (ansible, ROOT / ".collections" / "ansible_collections"):
        try:
            (modlib / target.name).symlink_to(target)
        except FileExistsError:
            continue
    return environment


def _succeeds(*command: str) -> bool:
    return shutil.which(command[0]) is not None and subprocess.run(command, capture_output=True, check=False).returncode == 0


def _run(*command: str | Path) -> None:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}  # pip would compile itself each time
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise RuntimeError("failed: {}\n{}".format(" ".join(map(str, command)), done.stdout))


if __name__ == "__main__":
    try:
        {"programs": ensure_programs, "venv": ensure_main}[sys.argv[1]]()
    except (MissingInterpreterError, RuntimeError) as exc:
        sys.exit(f"make: the test environment: {exc}")
