# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The test environments are what they claim to be: each ansible-core reaches its node's Python, and a checkout is the collection."""

import re
from pathlib import Path

import pytest
from support import envs, processes


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
    """With ansible-core on PATH, `ansible localhost -m apptainer_remote` works in a fresh clone: its first complaint is the module's own."""
    node = envs.Node(envs.core("running"), Path("unused"))
    done = processes.run(node.ansible, "localhost", "-m", name, env=processes.clean_env(tmp_path))
    assert "missing required arguments" in done.stdout
    shown = processes.run(node.core / "bin" / "ansible-doc", name, env=processes.clean_env(tmp_path))
    assert (shown.returncode, shown.stderr) == (0, "")
