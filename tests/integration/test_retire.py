# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An exclusive endpoint is given up, as the modules do it on a node: released by one run, removed by a later one."""

from __future__ import annotations

import pytest

SITE = """\
Active: site
Remotes:
    site:
        URI: library.example.org
        System: true
        Exclusive: true
"""
RELEASED = """\
Active: next
Remotes:
    next:
        URI: next.example.org
        System: true
        Exclusive: true
    site:
        URI: library.example.org
        System: true
        Exclusive: false
"""
NEXT = RELEASED.partition("    site:")[0]
NEXT_ENTRY = {"name": "next", "uri": "https://next.example.org", "exclusive": True}


@pytest.fixture
def etc(tmp_path):
    path = tmp_path / "etc" / "apptainer" / "remote.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(SITE)
    return path


@pytest.fixture
def converge(run_module, etc, node_python):
    def run(*remotes, **options):
        args = {"scope": "global", "sysconfdir": str(etc.parents[1]), "remotes": list(remotes), "retire": True, **options}
        before = etc.read_text()
        foreseen = run_module("apptainer_remotes", args, check=True, diff=True, python=node_python)
        assert etc.read_text() == before
        done = run_module("apptainer_remotes", args, diff=True, python=node_python)
        for answer in (foreseen.result, done.result):
            answer.pop("invocation", None)
        assert foreseen.result == done.result
        return done.result

    return run


@pytest.mark.parametrize(("remotes", "prune"), [([NEXT_ENTRY], True), ([{"name": "site", "state": "absent"}, NEXT_ENTRY], False)])
def test_released_then_removed_then_left_alone(converge, etc, remotes, prune):
    results = []
    for content in (RELEASED, NEXT, NEXT):
        results.append(converge(*remotes, prune=prune))
        assert etc.read_text() == content
    assert [result["changed"] for result in results] == [True, True, False]
    (warning,) = results[0]["warnings"]
    assert 'endpoint "site": it was exclusive, so this run only releases it and a later run removes it' in warning
    assert results[0]["diff"][0]["after"] == RELEASED
    assert not results[1].get("warnings") and not results[2].get("warnings")


@pytest.mark.parametrize("retire", [False, True])
def test_the_default_needs_a_successor(converge, etc, retire):
    etc.write_text(RELEASED.replace("Active: next", "Active: site").replace("Exclusive: true", "Exclusive: false"))
    before = etc.read_text()
    result = converge({"name": "site", "state": "absent"}, retire=retire)
    assert result["failed"]
    assert result["msg"].startswith('endpoint "site": it is the default, and removing it breaks Apptainer')
    assert etc.read_text() == before


def test_one_task_of_several_may_remove_the_default(run_module, etc):
    etc.write_text(RELEASED.replace("Active: next", "Active: site").replace("Exclusive: true", "Exclusive: false"))
    done = run_module("apptainer_remote", {"scope": "global", "config_file": str(etc), "name": "site", "state": "absent"})
    assert done.result["changed"]
    assert "no endpoint is the default" in done.result["warnings"][0]


def test_the_finding_tells_who_still_holds_a_copy(run_module, etc, tmp_path):
    user = tmp_path / "home" / ".apptainer" / "remote.yaml"
    user.parent.mkdir(parents=True, mode=0o700)
    user.write_text(SITE)
    user.chmod(0o600)
    etc.write_text(RELEASED)

    def found():
        result = run_module("apptainer_remote_info", {"global_config_file": str(etc), "config_file": str(user)}).result
        return [(item["id"], item["severity"], item["remote"]) for item in result["findings"] if item["path"] == str(user)]

    assert found() == [("unreleased-copy", "warning", "site")]
    etc.write_text(NEXT)  # who does not wait
    assert found() == [("stale-copy", "error", "site")]
    etc.write_text(RELEASED)
    user.write_text(RELEASED)  # as any remote use writes it
    assert found() == []
