# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`ansible-test sanity` on a clone, without containers, and with no download but from the package index that pip is configured for.

As a program (`make sanity`), it runs everything with each ansible-core and all Pythons that are here, and writes the table of what came of it.

ansible-test keeps its environments in the home directory, fetches a script to bootstrap pip from its makers' server, and hides the variables
that configure pip. So it gets a home of its own below .venv, holding a bootstrap that uses the pip Python comes with, and pip's configuration.
"""

import ast
import datetime
import os
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

from support import envs, generated
from support.clones import clone
from support.matrix import ABSENT, DOCUMENT, UNMANAGED, core_and_python
from support.processes import clean_env, run

# Stands in for get-pip.py, which is given the versions of pip and its helpers to install; those that come with a Python do, unless they are ancient.
# ansible-test makes ten environments for each core, so they share one pip: to install it in each would cost more than most of the tests.
GET_PIP = """\
import glob, os, subprocess, sys, sysconfig

import ensurepip

shared = os.path.expanduser("~/.cache/pip-{}.{}".format(*sys.version_info))
wheels = glob.glob(os.path.join(os.path.dirname(ensurepip.__file__), "_bundled", "pip-*.whl"))
if sys.version_info >= (3, 9) and len(wheels) == 1:
    if not os.path.isdir(shared):
        subprocess.check_call([sys.executable, "-m", "zipfile", "-e", wheels[0], shared + ".new"])
        os.rename(shared + ".new", shared)
    with open(os.path.join(sysconfig.get_path("purelib"), "pip.pth"), "w") as file:
        file.write(shared)
else:
    subprocess.check_call([sys.executable, "-m", "ensurepip"], stdout=subprocess.DEVNULL)
    if sys.version_info < (3, 9):
        subprocess.check_call([sys.executable, "-m", "pip", "install"] + sys.argv[1:])
"""
# Prints the controller's own version, and under which names the bootstrap of these two Pythons is looked for.
ASK_CORE = """\
import sys, types
from ansible_test._internal.python_requirements import get_venv_packages
own = "{}.{}".format(*sys.version_info)
pips = [get_venv_packages(types.SimpleNamespace(version=version))["pip"] for version in [own, *sys.argv[1:]]]
print(own, *["get_pip_{}.py".format(pip.replace(".", "_")) for pip in pips])
"""


def pythons(core: Path) -> list[int]:
    """The 3.minor of those nodes that an ansible-core manages, as far as there is one here, the oldest first."""
    return [minor for minor in sorted(envs.managed_minors(core)[1]) if envs.find_python(minor)]


def sanity(core: Path, place: Path, *options: str, minors: Collection[int] = ()) -> subprocess.CompletedProcess[str]:
    """Run the sanity tests of an ansible-core on a clone below `place`. Its own Python compiles and imports, and so do the 3.minor that are given."""
    asked = subprocess.check_output([core / "bin" / "python", "-c", ASK_CORE, *(f"3.{minor}" for minor in minors)], text=True)
    own, *scripts = asked.split()
    nodes = {f"3.{minor}": envs.find_python(minor) for minor in sorted({*minors, int(own[2:])})}
    home = envs.VENVS / "sanity" / core.name
    cache = home / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for script in scripts:
        (cache / script).write_text(GET_PIP)
    _configure_pip(core / "bin" / "python", home)
    targets = [word for version, python in nodes.items() for word in ("--target-python", f"{version}@{python}")]
    path = [str(core / "bin"), *(str(python.parent) for python in nodes.values() if python), "/usr/local/bin", "/usr/bin", "/bin"]
    command = [core / "bin" / "ansible-test", "sanity", "--controller", f"origin:python={own}", *targets, "--color", "no", *options]
    collection = clone(place / "ansible_collections" / "hpc" / "apptainer")
    return run(*command, cwd=collection, env=clean_env(home, {"PATH": ":".join(path)}))


def _configure_pip(python: Path, home: Path) -> None:
    """Write what pip is configured to here, by files and by variables, into a file that it finds in `home`."""
    listed = subprocess.check_output([python, "-m", "pip", "config", "list"], text=True)
    # What is never imported is not compiled.
    sections: dict[str, dict[str, str]] = {"global": {"quiet": "2"}, "install": {"no-compile": "true"}}
    for line in listed.splitlines():
        name, value = line.split("=", 1)
        section, option = name.rsplit(".", 1)
        sections.setdefault("global" if section == ":env:" else section, {})[option] = ast.literal_eval(value).replace("\n", "\n  ")
    if proxy := os.environ.get("https_proxy") or os.environ.get("HTTPS_PROXY"):
        sections["global"].setdefault("proxy", proxy)
    text = "".join(f"[{section}]\n" + "".join(f"{option} = {value}\n" for option, value in options.items()) for section, options in sections.items())
    config = home / ".config" / "pip" / "pip.conf"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.touch(mode=0o600)  # an index's address may hold a password
    config.write_text(text)


def table(heads: Mapping[str, str], cells: Mapping[int, Mapping[str, str]], date: datetime.date) -> str:
    """The part of the document that is made: `heads` are the columns, one for each ansible-core, and `cells` the rows, one for each 3.minor."""
    rows = ([f"3.{minor}", *(cells[minor].get(core, UNMANAGED) for core in heads)] for minor in sorted(cells))
    return f"Run on {date.isoformat()}.\n\n{generated.table(['Python', *heads.values()], *rows)}"


def main() -> int:
    """Run everything, and write the table."""
    heads: dict[str, str] = {}
    cells: dict[int, dict[str, str]] = {}
    failed = False
    for core, environment in ((core, envs.core(core)) for core in envs.cores()):
        controllers, managed = envs.managed_minors(environment)
        here = pythons(environment)
        with tempfile.TemporaryDirectory() as place:
            done = sanity(environment, Path(place), minors=here)
        heads[core] = core_and_python(environment)
        own = int(heads[core].rpartition(" on 3.")[2].partition(".")[0])
        print(f"ansible-core {heads[core]}: {'failed' if done.returncode else 'ok'}", flush=True)
        if done.returncode:
            print(done.stdout, done.stderr, flush=True)
            failed = True
        for minor in managed | controllers:
            outcome = "failed" if done.returncode else "all tests" if minor == own else "compile, import"
            cells.setdefault(minor, {})[core] = outcome if minor in here else ABSENT
    DOCUMENT.write_text(generated.renewed(DOCUMENT, "sanity", table(heads, cells, datetime.datetime.now(datetime.UTC).date())))
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (envs.MissingInterpreterError, RuntimeError) as exc:
        sys.exit(f"make sanity: {exc}")
