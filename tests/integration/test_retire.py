# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An exclusive endpoint is given up, as the modules do it on a node: retired, and removed when no user is locked out by that."""

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
RETIRED = [NEXT_ENTRY, {"name": "site", "state": "retired"}]


@pytest.fixture
def etc(tmp_path):
    path = tmp_path / "etc" / "apptainer" / "remote.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(SITE)
    return path


@pytest.fixture
def converge(run_module, etc, node_python):
    def run(*remotes, **options):
        args = {"scope": "global", "sysconfdir": str(etc.parents[1]), "remotes": list(remotes), **options}
        before = etc.read_text()
        foreseen = run_module("apptainer_remotes", args, check=True, diff=True, python=node_python)
        assert etc.read_text() == before
        done = run_module("apptainer_remotes", args, diff=True, python=node_python)
        for answer in (foreseen.result, done.result):
            answer.pop("invocation", None)
        assert foreseen.result == done.result
        return done.result

    return run


REFUSED = ("it is exclusive, and removing it now would lock out users who have a copy; declare it with state: retired first, and remove it when "
           "apptainer_users_info finds no unreleased-copy any more (force: true removes it at once)")


@pytest.mark.parametrize("prune", [False, True])
def test_retired_however_often_and_then_removed(converge, etc, prune):
    """Only what is declared otherwise changes something: no run does more because it is the second one."""
    removed = [NEXT_ENTRY] if prune else [NEXT_ENTRY, {"name": "site", "state": "absent"}]
    refused = converge(*removed, prune=prune)
    pruned = "it is not listed, so prune would remove it, but " if prune else ""
    assert (refused["failed"], refused["msg"], etc.read_text()) == (True, f'endpoint "site": {pruned}{REFUSED}', SITE)
    results = []
    for remotes, content in ((RETIRED, RELEASED), (RETIRED, RELEASED), (RETIRED, RELEASED), (removed, NEXT), (removed, NEXT), (RETIRED, NEXT)):
        results.append(converge(*remotes, prune=prune))
        assert etc.read_text() == content
    assert [result["changed"] for result in results] == [True, False, False, True, False, False]
    assert results[0]["diff"][0]["after"] == RELEASED
    assert not any(result.get("warnings") for result in results)


def test_one_endpoint_in_a_task_of_its_own(run_module, etc):
    def run(check=False, **options):
        return run_module("apptainer_remote", {"scope": "global", "config_file": str(etc), **options}, check=check).result

    retired = {"name": "site", "state": "retired"}
    assert run(**NEXT_ENTRY)["changed"]
    assert etc.read_text() == RELEASED
    for check in (True, False):
        done = run(check, **retired)
        assert (done["changed"], done["remote"]["name"], done["remote"]["exclusive"]) == (False, "site", False)
    etc.write_text(SITE)
    assert "declare it with state: retired first" in run(name="site", state="absent")["msg"]
    done = run(**retired)  # a later task names the default
    assert (done["changed"], done["remote"]["exclusive"], done["remote"]["default"]) == (True, False, False)
    assert "no endpoint is the default" in done["warnings"][0]
    assert run(**retired)["changed"] is False
    assert run(name="gone", state="retired")["remote"] is None
    assert run(name="site", state="absent", force=True)["changed"]


@pytest.mark.parametrize(("options", "words"), [
    ({"exclusive": True}, "a retired endpoint is neither exclusive nor the default; remove exclusive: true, or set false"),
    ({"default": True, "exclusive": True}, "remove exclusive: true and default: true, or set false"),
    ({"default": True}, "remove default: true, or set false"),
])
def test_what_contradicts_retired(converge, etc, options, words):
    result = converge({"name": "site", "state": "retired", **options})
    assert result["msg"].startswith(f'endpoint "site": {words}' if len(words) > 60 else 'endpoint "site": a retired endpoint')
    assert words in result["msg"]
    assert etc.read_text() == SITE


def test_an_entry_with_all_its_options_is_retired_by_one_line(converge, etc):
    site = {"name": "site", "uri": "https://other.example.org", "insecure": False, "keyservers": [{"uri": "https://keys.example.org"}],
            "services": ["library"], "token_file": "/nowhere", "exclusive": False, "state": "retired"}
    assert converge(site, NEXT_ENTRY)["changed"]
    assert etc.read_text() == RELEASED


def test_nothing_is_retired_in_a_users_file(run_module, etc):
    done = run_module("apptainer_remote", {"name": "site", "state": "retired", "sysconfdir": str(etc.parents[1])})
    assert done.result["msg"] == ('endpoint "site": only an endpoint of the global file can be retired; use scope: global, or state: absent to '
                                  "remove it from this user's file")


@pytest.mark.parametrize(("state", "verb"), [("absent", "removing"), ("retired", "retiring")])
@pytest.mark.parametrize("others", [[], [{"name": "next"}]], ids=["named alone", "beside another"])
def test_the_default_needs_a_successor(converge, etc, state, verb, others):
    etc.write_text(RELEASED.replace("Active: next", "Active: site").replace("Exclusive: true", "Exclusive: false"))
    before = etc.read_text()
    result = converge({"name": "site", "state": state}, *others)
    assert result["failed"]
    assert result["msg"] == (f'endpoint "site": it is the default, and {verb} it breaks Apptainer for users without a default of their own; '
                             "set default: true for another one")
    assert etc.read_text() == before


def test_the_only_endpoint_is_not_retired_without_another(converge, etc):
    """It would be there, and not the default: then Apptainer does not use its built-in one either."""
    assert "set default: true for another one" in converge({"name": "site", "state": "retired"})["msg"]
    assert etc.read_text() == SITE
    usual = {"name": "DefaultRemote", "uri": "https://cloud.apptainer.org", "default": True}
    assert converge({"name": "site", "state": "retired"}, usual)["default"] == "DefaultRemote"


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
