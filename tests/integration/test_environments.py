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
from support import clones, envs, generated, matrix, processes, sanity
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
    """With ansible-core on PATH, `ansible localhost -m apptainer_remote` works in a fresh clone, and `ansible-doc` after it."""
    checkout = clones.clone(tmp_path / "checkout")
    binaries = envs.core("running") / "bin"
    env = processes.clean_env(tmp_path / "home", {"ANSIBLE_CONFIG": checkout / "ansible.cfg"})
    options = f"name=checkout uri=https://library.example.org config_file={tmp_path}/remote.yaml"
    done = processes.run(binaries / "ansible", "localhost", "-m", name, "-a", options, "-e", f"ansible_python_interpreter={sys.executable}", env=env,
                         cwd=checkout)
    assert (done.returncode, "changed: true" in done.stdout) == (0, True), done.stdout + done.stderr
    assert "library.example.org" in (tmp_path / "remote.yaml").read_text()
    shown = processes.run(binaries / "ansible-doc", name, env=env, cwd=checkout)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert subprocess.check_output(["git", "ls-files", "--others", "--exclude-standard"], cwd=checkout, text=True) == ""


def test_unit_tests_run_as_others_run_them(tmp_path: Path) -> None:
    """ansible-test and tox-ansible have a configuration of their own for pytest, and find the collection where it is."""
    clone = clones.clone(tmp_path / "ansible_collections" / "hpc" / "apptainer")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    env = processes.clean_env(tmp_path / "home", {"PYTHONPATH": tmp_path})
    command = [sys.executable, "-m", "pytest", "-c", tmp_path / "pytest.ini", f"--rootdir={clone}", "--strict-markers", "-n", 0, "-q"]
    done = processes.run(*command, "tests/unit/module_utils/_values", env=env, cwd=clone)
    assert re.search(r"^\d\d+ passed", done.stdout, re.MULTILINE), done.stdout + done.stderr


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


def test_table_of_sanity() -> None:
    cells = {13: {"2.20": "all tests"}, 6: {"2.16": "compile, import"}}
    made = sanity.table({"2.16": "2.16.19 on 3.12.1", "2.20": "2.20.1 on 3.13.0"}, cells, datetime.date(2026, 1, 2))
    assert made == """\
Run on 2026-01-02.

| Python | 2.16.19 on 3.12.1 | 2.20.1 on 3.13.0 |
| --- | --- | --- |
| 3.6 | compile, import | \u2013 |
| 3.13 | \u2013 | all tests |"""


def test_generated_parts_of_a_document(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    part = "<!-- Written by make it. -->\n\n{}\n\n<!-- End of what make it writes. -->\n"
    document.write_text(f"Before.\n\n{part.format('Old.')}\nBetween.\n\n{part.format('Older.')}\nAfter.\n")
    wanted = document.read_text().replace("Old.", "New.").replace("Older.", "Newer.")
    assert generated.renewed(document, "it", "New.\n", "Newer.") == wanted
    assert generated.written(document, "it").strip() == "Old."
    with pytest.raises(RuntimeError, match=r"page\.md needs 1 times the comments"):
        generated.renewed(document, "that", "New.\n")


def test_what_is_supported_was_run() -> None:
    """The oldest ansible-core that the collection asks for, with the oldest Python."""
    made = generated.written(matrix.DOCUMENT, "matrix")
    head, _rule, oldest, *_newer = (line.strip("| ").split(" | ") for line in made.splitlines() if line.startswith("|"))
    wanted = yaml.safe_load((envs.ROOT / "meta" / "runtime.yml").read_text())["requires_ansible"]
    assert (wanted, head[2][:5], oldest[0][:4], oldest[2]) == (f">={envs.OLD_CORE}.0", f"{envs.OLD_CORE}.", f"3.{envs.OLD_NODE_MINOR}.", "ok")
