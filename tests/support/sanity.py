# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`ansible-test sanity` without containers, and with no download but from the package index that pip is configured for.

ansible-test keeps its environments in the home directory, fetches a script to bootstrap pip from its makers' server, and hides the variables
that configure pip. So it gets a home of its own below .venv, holding a bootstrap that uses the pip Python comes with, and pip's configuration.
"""

import ast
import os
import subprocess
from pathlib import Path

from support.envs import VENVS, find_python
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


def sanity(core: Path, collection: Path, *options: str, minor: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run the sanity tests of `core` on an installed collection, for the controller's Python or for an older 3.minor of nodes."""
    older = [] if minor is None else [f"3.{minor}"]
    own, *scripts = subprocess.check_output([core / "bin" / "python", "-c", ASK_CORE, *older], text=True).split()
    version = older[0] if older else own
    home = VENVS / "sanity" / f"{core.name}-{version}"
    cache = home / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for script in scripts:
        (cache / script).write_text(GET_PIP)
    _configure_pip(core / "bin" / "python", home)
    path = [str(core / "bin"), "/usr/local/bin", "/usr/bin", "/bin"]
    if minor is not None:
        path.insert(0, str(find_python(minor).parent))
    command = [core / "bin" / "ansible-test", "sanity", "--local", "--python", version, "--color", "no", *options]
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
