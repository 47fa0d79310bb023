# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The test environments are what they claim to be: each ansible-core reaches its node's Python, and a checkout is the collection."""

import datetime
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support import clones, envs, matrix, processes
from support.servers import library as libraries
from support.servers import registry


def test_ansible_reaches_the_node(node_python: envs.Node, tmp_path: Path) -> None:
    """The node's Python answers, is as old (or new) as its ansible-core promises, and has PyYAML."""
    local = ("localhost", "-c", "local", "-e", f"ansible_python_interpreter={node_python.python}")
    env = processes.clean_env(tmp_path)
    ping = processes.run(node_python.ansible, *local, "-m", "ansible.builtin.ping", env=env)
    assert "pong" in ping.stdout, ping.stdout + ping.stderr
    core = processes.run(node_python.ansible, "--version", env=env).stdout
    python = processes.run(node_python.python, "-c", "import yaml, sys; print(sys.version)", env=env).stdout
    assert re.match(r"3\.6\." if "[core 2.16." in core else r"3\.1[1-9]\.", python), (core, python)


@pytest.mark.parametrize("name", ["hpc.apptainer.apptainer_remote", "apptainer_remote"])
def test_checkout_is_the_collection(name: str, tmp_path: Path) -> None:
    """With ansible-core on PATH, all of Ansible's commands find the collection in a fresh clone, whichever comes first."""
    checkout = clones.clone(tmp_path / "checkout")
    binaries = envs.core("running") / "bin"
    env = processes.clean_env(tmp_path / "home", {"ANSIBLE_CONFIG": checkout / "ansible.cfg"})
    for command in (["ansible-doc", name], ["ansible-playbook", "--syntax-check", "-i", "localhost,", "hpc.apptainer.rollout"]):
        done = processes.run(binaries / command[0], *command[1:], env=env, cwd=checkout)
        assert (done.returncode, done.stderr) == (0, "")
    options = f"name=checkout uri=https://library.example.org config_file={tmp_path}/remote.yaml"
    done = processes.run(binaries / "ansible", "localhost", "-m", name, "-a", options, "-e", f"ansible_python_interpreter={sys.executable}", env=env,
                         cwd=checkout)
    assert (done.returncode, "changed: true" in done.stdout) == (0, True), done.stdout + done.stderr
    assert "library.example.org" in (tmp_path / "remote.yaml").read_text()
    assert subprocess.check_output(["git", "ls-files", "--others", "--exclude-standard"], cwd=checkout, text=True) == ""


@pytest.mark.parametrize("kind", [envs.OLD_CORE, "newest"])
def test_corners_of_the_matrix(kind: str, registry_basic: registry.Registry, library: libraries.Library, tmp_path: Path) -> None:
    """The oldest ansible-core with the oldest Python and libraries, and the newest of all; and a node that can't do it all says why."""
    try:
        whole, bare = envs.node(kind, verify=True), envs.node(kind)
    except envs.MissingInterpreterError as exc:
        pytest.skip(str(exc))
    servers = matrix.servers_of(registry_basic, library)
    found = matrix.outcomes(whole.core, {"whole": whole.python, "bare": bare.python}, servers, tmp_path)
    assert found["whole"] == ""
    assert re.match("Declare an endpoint in another file, with the proof that it works: .*(requests|jsonschema)", found["bare"]), found


def test_table_of_the_matrix() -> None:
    rows = [
        matrix.Row("3.6.15", "EL 8", {"2.16": "", "2.20": None}),
        matrix.Row("3.13.0", "newest libraries", {"2.16": "Write it: no", "2.20": "Write it: no"}),
        matrix.Row("3.14", "newest libraries", {"2.16": None, "2.20": matrix.ABSENT}),
    ]
    made = matrix.table({"2.16": "2.16.19", "2.20": "2.20.1"}, rows, datetime.date(2026, 1, 2))
    assert made == """\
Run on 2026-01-02.

| Python | with | 2.16.19 | 2.20.1 |
| --- | --- | --- | --- |
| 3.6.15 | EL 8 | ok | \u2013 |
| 3.13.0 | newest libraries | failed (1) | failed (1) |
| 3.14 | newest libraries | \u2013 | not run |

1. Write it: no
"""


def test_what_is_supported_was_run() -> None:
    """The oldest ansible-core that the collection asks for, with the oldest Python."""
    head, _rule, oldest, *_newer = (line.strip("| ").split(" | ") for line in matrix.DOCUMENT.read_text().splitlines() if line.startswith("|"))
    wanted = yaml.safe_load((envs.ROOT / "meta" / "runtime.yml").read_text())["requires_ansible"]
    assert (wanted, head[2][:5], oldest[0][:4], oldest[2]) == (f">={envs.OLD_CORE}.0", f"{envs.OLD_CORE}.", f"3.{envs.OLD_NODE_MINOR}.", "ok")
