# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The state of a host, from the variable that the role registered for it."""

import pytest
from ansible_collections.hpc.apptainer.plugins.plugin_utils._outcomes import (
    IGNORED,
    Difference,
    UserFinding,
    addresses_of,
    blamed,
    cleaned,
    host_result,
    without_names,
)

PATH = "/etc/apptainer/remote.yaml"
PART = {"subject": "global", "changed": True, "config_file": PATH}
OK = {"changed": False, "declared": True, "parts": [{**PART, "changed": False}]}
UNDECLARED = {"changed": False, "declared": False}
HEADER = f"{PATH} (attributes)"
MODE = {"subject": "global", "before": "mode: 0600\n", "after": "mode: 0644\n", "before_header": HEADER, "after_header": HEADER}
SAME = {"subject": "global", "before": "a: 1\n", "after": "a: 1\n", "before_header": PATH, "after_header": PATH}
REPLACED = {**SAME, "before": "# cannot be read as YAML: bad"}
DRIFT = {"changed": True, "declared": True, "parts": [PART], "diff": [SAME, MODE]}
DRIFTED = Difference("global: remote.yaml", PATH, ("mode is 0600, should be 0644",), MODE["before"], MODE["after"])
LOST = "Failed to connect to the host via ssh: ssh: connect to host 10.0.0.7 port 22: timed out"
BAD = {"subject": "global", "msg": f"{PATH}, line 3, column 1: bad", "unreadable": True}


def failure(msg, subject="global"):
    return {"subject": subject, "msg": msg}


NO_RESULTS = "there are no results: the role did not run on this host"
# (the variable, state, reason, number of differences)
STATES = {
    "in state": (OK, "in_state", "", 0),
    "undeclared": (UNDECLARED, "undeclared", "", 0),
    "undeclared, but failed": ({**UNDECLARED, "failures": [failure("n1: no", "audit of users")]}, "failed", "audit of users: n1: no", 0),
    "drifted": (DRIFT, "drifted", "", 1),
    "one account drifted": ({**OK, "changed": True, "parts": [*OK["parts"], {"subject": "account ci", "changed": True, "config_file": "/home/ci/r"}]},
                            "drifted", "", 1),
    "one account failed": ({**DRIFT, "failures": [failure("n1: no", "account ci")]}, "failed", "account ci: n1: no", 1),
    "two accounts failed": ({**OK, "failures": [failure("no", "account ci"), failure("no", "account b")]}, "failed",
                            "account ci: no; account b: no", 0),
    "the declaration is wrong": ({"failures": [failure("no such variable", "declaration")]}, "failed", "no such variable", 0),
    "unreachable": ({"changed": False, "unreachable_reason": LOST}, "unreachable", LOST, 0),
    "unreachable, as Ansible itself says it": ({"unreachable": True, "failed": True, "changed": False, "msg": LOST}, "unreachable", LOST, 0),
    "drifted, then unreachable": ({**DRIFT, "unreachable_reason": LOST}, "unreachable", LOST, 1),
    "the connection was lost": ({**DRIFT, "failures": [failure("lost", "connection")]}, "failed", "lost", 1),
    "failed, as Ansible itself says it": ({"failed": True, "changed": False, "msg": "Task failed: the role refused n1's variables"}, "failed",
                                          "the role refused n1's variables", 0),
    "failed, and Ansible says so too": ({**OK, "failed": True, "msg": "x", "failures": [failure("no")]}, "failed", "no", 0),
    "no message": ({"failed": True}, "failed", "no reason was given", 0),
    "unreadable": ({**OK, "failures": [BAD]}, "drifted", "", 1),
    "unreadable, and an account failed": ({**OK, "failures": [BAD, failure("no", "account ci")]}, "failed", "account ci: no", 1),
    "unreadable, and an account drifted": ({**DRIFT, "failures": [BAD]}, "drifted", "", 2),
    "would be replaced": ({**DRIFT, "parts": [{**PART, "unreadable": "bad"}], "diff": [REPLACED, MODE]}, "drifted", "", 2),
    "no variable": (None, "failed", NO_RESULTS, 0),
    "skipped": ({"skipped": True, "changed": False}, "failed", NO_RESULTS, 0),
    "cleared": ({}, "failed", NO_RESULTS, 0),
    "of something else": ({"rc": 0}, "failed", NO_RESULTS, 0),
}


@pytest.mark.parametrize(("result", "state", "reason", "differences"), STATES.values(), ids=STATES)
def test_state(result, state, reason, differences):
    found = host_result("n1", result)
    assert (found.state, found.reason, len(found.differences)) == (state, reason, differences)


def test_differences():
    assert host_result("n1", DRIFT).differences == (DRIFTED,)
    (login,) = host_result("n1", {**DRIFT, "parts": [], "diff": [{**MODE, "subject": "account ci"}]}).differences
    assert login.subject == "account ci: remote.yaml"
    assert host_result("n1", {**DRIFT, "diff": [], "differences": DRIFT["diff"]}).differences == (DRIFTED,)
    (changed,) = host_result("n1", DRIFT, applied=True, changed=True).differences
    assert changed == DRIFTED._replace(sentences=("mode was 0600, is now 0644",))
    assert DRIFTED.unified() == "--- on the host\n+++ declared\n@@ -1 +1 @@\n-mode: 0600\n+mode: 0644"


@pytest.mark.parametrize("diff", [{}, {"diff": []}, {"diff": {"before": "", "after": ""}}, {"diff": [SAME]}],
                         ids=["no diff", "no entries", "no difference", "the same"])
def test_drift_without_a_diff_is_drift(diff):
    for changed, hint in ((False, "the file differs; with --diff, the report says in what"),
                          (True, "the file was changed; with --diff, the report says what")):
        (found,) = host_result("n1", {"changed": True, "parts": [PART], **diff}, applied=changed, changed=changed).differences
        assert (found.subject, found.path, found.sentences, found.unified()) == ("global: remote.yaml", PATH, (hint,), "")


def test_each_part_without_a_diff_is_named():
    """The one with a diff says what differs, and the other one at least that it does."""
    account = {"subject": "account ci", "changed": True, "config_file": "/home/ci/.apptainer/docker-config.json"}
    found = host_result("n1", {**DRIFT, "parts": [PART, account, {**account, "subject": "account b", "changed": False}]}).differences
    assert [difference.subject for difference in found] == ["global: remote.yaml", "account ci: docker-config.json"]


def test_hidden_result_is_drift():
    (found,) = host_result("n1", {"changed": True, "censored": "no_log"}).differences
    assert found.subject == "global: a file"


def test_a_file_that_cannot_be_read_says_what_is_lost():
    """It is drift if the play only compares; a play that changes hosts could not change this one."""
    result = {**OK, "failures": [{**BAD, "msg": "/srv/n1/etc/apptainer/remote.yaml, line 3: bad"}]}
    (found,) = host_result("n1", result).differences
    assert found.sentences == (IGNORED, "/srv/n1/etc/apptainer/remote.yaml, line 3: bad")
    assert (found.subject, found.path, found.ignored) == ("global: remote.yaml", PATH, "/srv/{host}/etc/apptainer/remote.yaml, line 3: bad")
    applied = host_result("n1", result, applied=True)
    assert (applied.state, applied.reason, applied.differences) == ("failed", "/srv/n1/etc/apptainer/remote.yaml, line 3: bad", ())
    assert host_result("n1", {"failures": [{**BAD, "unreadable": "bad"}]}).differences[0].sentences == (IGNORED, "bad")
    (elsewhere,) = host_result("n1", {"failures": [BAD]}).differences
    assert (elsewhere.subject, elsewhere.path) == ("global: remote.yaml", "")


@pytest.mark.parametrize("diff", [[REPLACED], []], ids=["diff", "no diff"])
def test_a_file_that_is_replaced(diff):
    """In a play that compares and in check mode, it is still ignored; after the change, it was."""
    result = {**DRIFT, "parts": [{**PART, "unreadable": "/srv/n1/r: bad"}], "diff": diff}
    for applied in (False, True):
        (found,) = host_result("n1", result, applied=applied).differences
        assert found.sentences == (IGNORED, "/srv/n1/r: bad", "it is to be replaced")
        assert found.ignored == "/srv/{host}/r: bad"
    (found,) = host_result("n1", result, applied=True, changed=True).differences
    assert (found.sentences, found.ignored) == (("the file could not be read, and was replaced", "/srv/n1/r: bad"), "")


def test_huge_files_are_not_compared():
    huge = Difference("global: remote.yaml", PATH, ("the content differs",), "a\n" * 60_000, "b\n" * 60_000)
    assert huge.unified().splitlines()[2:] == ["@@ too long to compare @@"]


@pytest.mark.parametrize("result", [
    "a text", [OK], 1, {"changed": True, "diff": ["x"]}, {"changed": True, "diff": 1}, {"changed": True, "parts": ["x"]},
    {"changed": True, "parts": 1}, {"failures": ["x"]}, {"failures": 1}, {**OK, "users": ["x"]}, {**OK, "users": 1},
])
def test_a_result_of_no_module_is_a_failure_of_that_host(result):
    found = host_result("n1", result)
    assert (found.state, found.differences, found.findings) == ("failed", (), ())
    assert found.reason.startswith("the results from this host are not those of this collection's modules")


@pytest.mark.parametrize(("variables", "addresses"), [
    ({}, ()), ({"ansible_host": "10.0.0.7"}, ("10.0.0.7",)), ({"ansible_host": {"__ansible_vault": "..."}}, ()),
], ids=["none", "an address", "what is no text"])
def test_addresses(variables, addresses):
    assert addresses_of(variables) == addresses


# (message, addresses, the message without names)
MESSAGES = {
    "name": ("node1: no", [], "{host}: no"),
    "name in a path": ("/srv/node1/etc: no", [], "/srv/{host}/etc: no"),
    "other names": ("node10 and my-node1 are others", [], "node10 and my-node1 are others"),
    "fully qualified": ("host node1.example.org: no", ["node1.example.org"], "host {host}: no"),
    "address": ("at 10.1.2.3", ["10.1.2.3"], "at {host}"),
    "another address": ("at 10.1.2.30", ["10.1.2.3"], "at {address}"),
    "no address": ("version 10.1.2.3.4 of x10.1.2.3", [], "version 10.1.2.3.4 of x10.1.2.3"),
    "a placeholder": ("{host} and {address}", [], "{host} and {address}"),
}
# (message, the same without what differs between any two runs)
CLEANED = {
    "ssh warning": ("Task failed: Warning: Permanently added '10.1.2.3' (ED25519) to the list of known hosts.\r\nno", "no"),
    "temporary directory": ("/home/ci/.ansible/tmp/ansible-tmp-1763.5-12-99: full\n disk", "/home/ci/.ansible/tmp/ansible-tmp: full disk"),
    "blank": (" \n", "no reason was given"),
    "colours": ("\x1b[0;31mred\x1b[0m and \x1b[1mbold", "red and bold"),
    "long": ("x" * 2001 + "\n", "x" * 2000 + " ... and 2 more characters"),
    "very long": ("Warning: Permanently added " * 40_000, " ".join(["Warning: Permanently added"] * 74) + " Wa ... and 1078000 more characters"),
}


@pytest.mark.parametrize(("message", "addresses", "expected"), MESSAGES.values(), ids=MESSAGES)
def test_without_names(message, addresses, expected):
    assert without_names(message, "node1", addresses) == expected
    assert cleaned(message) == message


@pytest.mark.parametrize(("message", "expected"), CLEANED.values(), ids=CLEANED)
def test_cleaned(message, expected):
    assert cleaned(message) == without_names(message, "node1") == expected


@pytest.mark.parametrize(("variables", "expected"), [
    ({"inventory_hostname": "n1"}, ["n2", "x:y,", "localhost"]),
    ({"inventory_hostname": "n1", "ansible_limit": "all"}, ["n2", "x:y,", "n1"]),
    ({"inventory_hostname": "n2", "ansible_limit": "all"}, ["n2", "x:y,"]),
], ids=["the controller", "a host in its place", "a host that fails anyway"])
def test_whom_to_blame(variables, expected):
    problems = ["n2", "x:y"]
    assert blamed({"problems": problems, "errors": ["the report could not be written"]}, variables) == expected
    assert blamed({"problems": problems, "errors": []}, variables) == expected[:2]


def test_findings():
    users = [
        {"user": "eve", "home": "/home/eve", "error": "no home", "findings": []},
        {"user": "bob", "home": "/home/bob", "error": None, "findings": [
            {"id": "stale-copy", "severity": "warning", "path": "/home/bob/r", "message": "m", "remote": None},
            {"id": "unreleased-copy", "severity": "warning", "path": "/home/bob/r", "message": "m", "remote": "old"}]},
    ]
    result = host_result("n1", {**UNDECLARED, "users": users})
    assert result.state == "undeclared"
    assert result.findings == (UserFinding("not-audited", "warning", "eve", "no home", "/home/eve"),
                               UserFinding("stale-copy", "warning", "bob", "m", "/home/bob/r"),
                               UserFinding("unreleased-copy", "warning", "bob", "m", "/home/bob/r", "old"))
