# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What became of a host, from what Ansible registered for it."""

import pytest
from ansible_collections.hpc.apptainer.plugins.plugin_utils._outcomes import Difference, Finding, outcome, without_names

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


@pytest.mark.parametrize(("variables", "state", "reason", "differences"), [
    ({"global": OK}, "in_state", "", 0),
    ({"global": DRIFT}, "drifted", "", 1),
    ({"global": OK, "logins": {"skipped": True, "changed": False}}, "in_state", "", 0),
    ({"global": OK, "logins": logins(account({"skipped": True}))}, "in_state", "", 0),
    ({"global": OK, "logins": logins(account(OK), account(DRIFT, "b"))}, "drifted", "", 1),
    ({"global": DRIFT, "logins": logins(account(REFUSED))}, "failed", "account ci: {host}: no", 1),
    ({"global": OK, "logins": logins(account(REFUSED), account(REFUSED, "b"))}, "failed", "account ci: {host}: no; account b: {host}: no", 0),
    ({"global": OK, "logins": {"failed": True, "msg": "no such variable"}}, "failed", "no such variable", 0),
    ({"global": LOST}, "unreachable", "Failed to connect to the host via ssh: ssh: connect to host {address} port 22: timed out", 0),
    ({"global": DRIFT, "users": LOST}, "unreachable", "Failed to connect to the host via ssh: ssh: connect to host {address} port 22: timed out", 1),
    ({"global": REFUSED, "failure": "the same"}, "failed", "{host}: no", 0),
    ({"failure": "the role refused n1's variables"}, "failed", "the role refused {host}'s variables", 0),
    ({"global": OK, "failure": "n1: no"}, "failed", "{host}: no", 0),
    ({"global": {"failed": True}}, "failed", "no reason was given", 0),
    ({}, "failed", "nothing is known of it: the tasks of the role did not run there", 0),
    ({"global": {"skipped": True}}, "failed", "nothing is known of it: the tasks of the role did not run there", 0),
])
def test_state(variables, state, reason, differences):
    names = {name: "apptainer_fleet_failure" if name == "failure" else f"apptainer_fleet_{name}_result" for name in variables}
    found = outcome("n1", {names[name]: value for name, value in variables.items()})
    assert (found.state, found.reason, len(found.differences)) == (state, reason, differences)


def test_differences():
    assert outcome("n1", {"apptainer_fleet_global_result": DRIFT}).differences == (DRIFTED,)
    (login,) = outcome("n1", {"apptainer_fleet_global_result": OK, "apptainer_fleet_logins_result": logins(account(DRIFT))}).differences
    assert login.subject == "account ci: remote.yaml"
    assert DRIFTED.unified() == "--- on the host\n+++ declared\n@@ -1 +1 @@\n-mode: 0600\n+mode: 0644"


@pytest.mark.parametrize("result", [
    {"changed": True, "config_file": PATH},
    {"changed": True, "config_file": PATH, "diff": []},
    {"changed": True, "config_file": PATH, "diff": {"before": "", "after": ""}},
])
def test_drift_without_a_diff_is_drift(result):
    (found,) = outcome("n1", {"apptainer_fleet_global_result": result}).differences
    assert (found.subject, found.path, found.sentences) == ("global: remote.yaml", PATH, ("--diff shows what",))


def test_what_differs_in_a_huge_file_is_not_compared():
    huge = Difference("global: remote.yaml", PATH, ("the content differs",), "a\n" * 60_000, "b\n" * 60_000)
    assert huge.unified().splitlines()[2:] == ["@@ too long to be compared @@"]


@pytest.mark.parametrize("variables", [
    {"apptainer_fleet_global_result": {"changed": True, "diff": ["x"]}},
    {"apptainer_fleet_global_result": {"changed": True, "diff": 1}},
    {"apptainer_fleet_logins_result": {"changed": True, "results": ["x"]}},
    {"apptainer_fleet_global_result": OK, "apptainer_fleet_users_result": {"users": ["x"]}},
    {"apptainer_fleet_global_result": OK, "apptainer_fleet_users_result": {"users": 1}},
])
def test_what_no_module_answers_is_a_failure_of_that_host(variables):
    found = outcome("n1", variables)
    assert (found.state, found.differences, found.findings) == ("failed", (), ())
    assert found.reason.startswith("what the host answered is not what the modules of this collection answer")


def test_hidden_result_is_drift():
    (found,) = outcome("n1", {"apptainer_fleet_global_result": {"changed": True, "censored": "no_log"}}).differences
    assert found.subject == "global: a file"


@pytest.mark.parametrize(("message", "addresses", "said"), [
    ("node1: no", [], "{host}: no"),
    ("/srv/node1/etc: no", [], "/srv/{host}/etc: no"),
    ("node10 and my-node1 are others", [], "node10 and my-node1 are others"),
    ("host node1.example.org: no", ["node1.example.org"], "host {host}: no"),
    ("at 10.1.2.3", ["10.1.2.3"], "at {host}"),
    ("at 10.1.2.30", ["10.1.2.3"], "at 10.1.2.30"),
    ("Task failed: Warning: Permanently added '10.1.2.3' (ED25519) to the list of known hosts.\r\nno", [], "no"),
    ("/home/ci/.ansible/tmp/ansible-tmp-1763.5-12-99: full\n disk", [], "/home/ci/.ansible/tmp/ansible-tmp: full disk"),
    (" \n", [], "no reason was given"),
    ("\x1b[0;31mred\x1b[0m and \x1b[1mbold", [], "red and bold"),
    ("x" * 2001 + "\n", [], "x" * 2000 + " ... and 2 characters more"),
    ("Warning: Permanently added " * 40_000, [], " ".join(["Warning: Permanently added"] * 74) + " Wa ... and 1078000 characters more"),
])
def test_without_names(message, addresses, said):
    assert without_names(message, "node1", addresses) == said


def test_findings():
    users = [
        {"user": "eve", "home": "/home/eve", "error": "no home", "findings": []},
        {"user": "bob", "home": "/home/bob", "error": None, "findings": [
            {"id": "stale-copy", "severity": "warning", "path": "/home/bob/r", "message": "m", "remote": None}]},
    ]
    found = outcome("n1", {"apptainer_fleet_global_result": OK, "apptainer_fleet_users_result": {"changed": False, "users": users}})
    assert found.state == "in_state"
    assert found.findings == (Finding("not-audited", "warning", "eve", "no home", "/home/eve"),
                              Finding("stale-copy", "warning", "bob", "m", "/home/bob/r"))
