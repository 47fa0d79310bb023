# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The state of a host, from what Ansible registered for it."""

import pytest
from ansible_collections.hpc.apptainer.plugins.plugin_utils._outcomes import Difference, UserFinding, host_result, without_names

PATH = "/etc/apptainer/remote.yaml"
OK = {"changed": False, "diff": [{"before": "a: 1\n", "after": "a: 1\n", "before_header": PATH, "after_header": PATH}]}
MODE = {"before": "mode: 0600\n", "after": "mode: 0644\n", "before_header": f"{PATH} (attributes)", "after_header": f"{PATH} (attributes)"}
DRIFT = {"changed": True, "diff": [*OK["diff"], MODE]}
DRIFTED = Difference("global: remote.yaml", PATH, ("mode is 0600, should be 0644",), MODE["before"], MODE["after"])
LOST = {"unreachable": True, "changed": False, "msg": "Failed to connect to the host via ssh: ssh: connect to host 10.0.0.7 port 22: timed out"}
REFUSED = {"failed": True, "changed": False, "msg": "n1: no"}


def logins(*results):
    return {"changed": True, "msg": "All items completed", "results": list(results)}


def account(result, name="ci"):
    return {**result, "ansible_loop_var": "who", "who": name}


TIMED_OUT = "Failed to connect to the host via ssh: ssh: connect to host {address} port 22: timed out"
NO_RESULTS = "there are no results: the role did not run on this host"
# (variables, state, reason, number of differences)
STATES = {
    "in state": ({"global": OK}, "in_state", "", 0),
    "drifted": ({"global": DRIFT}, "drifted", "", 1),
    "logins skipped": ({"global": OK, "logins": {"skipped": True, "changed": False}}, "in_state", "", 0),
    "one account skipped": ({"global": OK, "logins": logins(account({"skipped": True}))}, "in_state", "", 0),
    "one account drifted": ({"global": OK, "logins": logins(account(OK), account(DRIFT, "b"))}, "drifted", "", 1),
    "one account failed": ({"global": DRIFT, "logins": logins(account(REFUSED))}, "failed", "account ci: {host}: no", 1),
    "two accounts failed": ({"global": OK, "logins": logins(account(REFUSED), account(REFUSED, "b"))}, "failed",
                            "account ci: {host}: no; account b: {host}: no", 0),
    "the loop failed": ({"global": OK, "logins": {"failed": True, "msg": "no such variable"}}, "failed", "no such variable", 0),
    "unreachable": ({"global": LOST}, "unreachable", TIMED_OUT, 0),
    "drifted, then unreachable": ({"global": DRIFT, "users": LOST}, "unreachable", TIMED_OUT, 1),
    "failed": ({"global": REFUSED, "failure": "the same"}, "failed", "{host}: no", 0),
    "only a failure": ({"failure": "the role refused n1's variables"}, "failed", "the role refused {host}'s variables", 0),
    "in state, then a failure": ({"global": OK, "failure": "n1: no"}, "failed", "{host}: no", 0),
    "no message": ({"global": {"failed": True}}, "failed", "no reason was given", 0),
    "no variables": ({}, "failed", NO_RESULTS, 0),
    "skipped": ({"global": {"skipped": True}}, "failed", NO_RESULTS, 0),
    "cleared": ({"global": {}, "logins": {}, "users": {}, "failure": ""}, "failed", NO_RESULTS, 0),
    "cleared, then in state": ({"global": OK, "logins": {}, "users": {}, "failure": ""}, "in_state", "", 0),
}


@pytest.mark.parametrize(("variables", "state", "reason", "differences"), STATES.values(), ids=STATES)
def test_state(variables, state, reason, differences):
    names = {name: "apptainer_fleet_failure" if name == "failure" else f"apptainer_fleet_{name}_result" for name in variables}
    result = host_result("n1", {names[name]: value for name, value in variables.items()})
    assert (result.state, result.reason, len(result.differences)) == (state, reason, differences)


def test_differences():
    assert host_result("n1", {"apptainer_fleet_global_result": DRIFT}).differences == (DRIFTED,)
    (login,) = host_result("n1", {"apptainer_fleet_global_result": OK, "apptainer_fleet_logins_result": logins(account(DRIFT))}).differences
    assert login.subject == "account ci: remote.yaml"
    (changed,) = host_result("n1", {"apptainer_fleet_global_result": DRIFT}, changed=True).differences
    assert changed == DRIFTED._replace(sentences=("mode was 0600, is now 0644",))
    assert DRIFTED.unified() == "--- on the host\n+++ declared\n@@ -1 +1 @@\n-mode: 0600\n+mode: 0644"


@pytest.mark.parametrize("result", [
    {"changed": True, "config_file": PATH},
    {"changed": True, "config_file": PATH, "diff": []},
    {"changed": True, "config_file": PATH, "diff": {"before": "", "after": ""}},
], ids=["no diff", "no entries", "no difference"])
def test_drift_without_a_diff_is_drift(result):
    for changed, hint in ((False, "rerun with --diff for details"), (True, "details are shown only with --diff")):
        (found,) = host_result("n1", {"apptainer_fleet_global_result": result}, changed=changed).differences
        assert (found.subject, found.path, found.sentences) == ("global: remote.yaml", PATH, (hint,))


def test_huge_files_are_not_compared():
    huge = Difference("global: remote.yaml", PATH, ("the content differs",), "a\n" * 60_000, "b\n" * 60_000)
    assert huge.unified().splitlines()[2:] == ["@@ too long to compare @@"]


@pytest.mark.parametrize("variables", [
    {"apptainer_fleet_global_result": {"changed": True, "diff": ["x"]}},
    {"apptainer_fleet_global_result": {"changed": True, "diff": 1}},
    {"apptainer_fleet_logins_result": {"changed": True, "results": ["x"]}},
    {"apptainer_fleet_global_result": OK, "apptainer_fleet_users_result": {"users": ["x"]}},
    {"apptainer_fleet_global_result": OK, "apptainer_fleet_users_result": {"users": 1}},
], ids=["diff of texts", "diff is a number", "items are texts", "users are texts", "users is a number"])
def test_a_result_of_no_module_is_a_failure_of_that_host(variables):
    result = host_result("n1", variables)
    assert (result.state, result.differences, result.findings) == ("failed", (), ())
    assert result.reason.startswith("the results from this host are not those of this collection's modules")


def test_hidden_result_is_drift():
    (found,) = host_result("n1", {"apptainer_fleet_global_result": {"changed": True, "censored": "no_log"}}).differences
    assert found.subject == "global: a file"


# (message, addresses, the message without names)
MESSAGES = {
    "name": ("node1: no", [], "{host}: no"),
    "name in a path": ("/srv/node1/etc: no", [], "/srv/{host}/etc: no"),
    "other names": ("node10 and my-node1 are others", [], "node10 and my-node1 are others"),
    "fully qualified": ("host node1.example.org: no", ["node1.example.org"], "host {host}: no"),
    "address": ("at 10.1.2.3", ["10.1.2.3"], "at {host}"),
    "another address": ("at 10.1.2.30", ["10.1.2.3"], "at 10.1.2.30"),
    "ssh warning": ("Task failed: Warning: Permanently added '10.1.2.3' (ED25519) to the list of known hosts.\r\nno", [], "no"),
    "temporary directory": ("/home/ci/.ansible/tmp/ansible-tmp-1763.5-12-99: full\n disk", [], "/home/ci/.ansible/tmp/ansible-tmp: full disk"),
    "blank": (" \n", [], "no reason was given"),
    "colours": ("\x1b[0;31mred\x1b[0m and \x1b[1mbold", [], "red and bold"),
    "long": ("x" * 2001 + "\n", [], "x" * 2000 + " ... and 2 more characters"),
    "very long": ("Warning: Permanently added " * 40_000, [], " ".join(["Warning: Permanently added"] * 74) + " Wa ... and 1078000 more characters"),
}


@pytest.mark.parametrize(("message", "addresses", "expected"), MESSAGES.values(), ids=MESSAGES)
def test_without_names(message, addresses, expected):
    assert without_names(message, "node1", addresses) == expected


def test_findings():
    users = [
        {"user": "eve", "home": "/home/eve", "error": "no home", "findings": []},
        {"user": "bob", "home": "/home/bob", "error": None, "findings": [
            {"id": "stale-copy", "severity": "warning", "path": "/home/bob/r", "message": "m", "remote": None}]},
    ]
    result = host_result("n1", {"apptainer_fleet_global_result": OK, "apptainer_fleet_users_result": {"changed": False, "users": users}})
    assert result.state == "in_state"
    assert result.findings == (UserFinding("not-audited", "warning", "eve", "no home", "/home/eve"),
                               UserFinding("stale-copy", "warning", "bob", "m", "/home/bob/r"))
