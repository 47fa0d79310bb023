# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role and the playbooks where every host is a directory of this machine: what stops them before anything is written, what is proven, and what
counts as wrong afterwards. With the oldest and the newest ansible-core."""

from __future__ import annotations

import getpass
import json
import re

import pytest
from support import leaks

ROLE, ROLLOUT, DRIFT = "hpc.apptainer.apptainer_fleet", "hpc.apptainer.rollout", "hpc.apptainer.drift"
HOSTS = ("n1", "n2", "n3")
SITE = {"name": "site", "uri": "https://library.example.org", "default": True}
BASE = {"apptainer_fleet_verify": False, "apptainer_fleet_remotes": [SITE]}
NOWHERE = {"name": "nowhere", "uri": "https://localhost:1"}
OLD = "Active: old\nRemotes:\n    old:\n        URI: h.example:8443\n        System: true\n        Exclusive: false\n"


@pytest.fixture
def proven(library):
    """Variables of which everything passes its proof."""
    return {"apptainer_fleet_ca_path": str(library.ca), "apptainer_fleet_remotes": [{**SITE, "uri": library.url("good"), "services": ["library"]}]}


def one_play(**keywords):
    return [{"hosts": "all", "gather_facts": False, "roles": [ROLE], **keywords}]


def account(tmp_path, **logins):
    """The account that runs the tests, with its files elsewhere."""
    return {"user": getpass.getuser(), "config_file": str(tmp_path / "account" / "remote.yaml"), **logins}


@pytest.mark.parametrize("slips", [
    {"n1": ({"apptainer_fleet_group_remotes": [SITE, SITE]}, "name site is listed twice in one list; merge the two entries"),
     "n2": ({"apptainer_fleet_host_remotes": [{"name": 5, "uri": "https://h.example.org"}]}, "entry 1 of the list has the name 5, which YAML does not"),
     "n3": ({"apptainer_fleet_host_remotes": [{"name": "site", "exclusiv": True}]}, "exclusiv")},
    {"n1": ({"apptainer_fleet_logins": [{"user": "ci", "user_host": "login1"}]}, "login1, a host that is not in the inventory"),
     "n3": ({"apptainer_fleet_user_host": "login2"}, "login2, a host that is not in the inventory")},
], ids=["in lists", "of users' hosts"])
@pytest.mark.newest
def test_the_slip_of_each_host_is_named_before_any_host_is_written(play, written, slips):
    done = play(ROLLOUT, host_vars={name: variables for name, (variables, _words) in slips.items()}, **BASE)
    assert (done.rc, written()) == (2, []), done.output
    assert [words for _variables, words in slips.values() if words not in done.words] == [], done.output


@pytest.mark.parametrize("playbook", [ROLLOUT, DRIFT])
@pytest.mark.parametrize("limit", [(), pytest.param(("--limit", "n1"), marks=pytest.mark.newest)], ids=["all", "limit"])
def test_no_host_is_no_success(play, written, tmp_path, playbook, limit):
    """The report of the last run must not look like one on this run either."""
    report = tmp_path / "report.json"
    report.write_text("old")
    done = play(playbook, *limit, "-e", f"apptainer_fleet_report_json={report}", "-e", "apptainer_fleet_hosts=compte", **BASE)
    assert (done.rc, written()) == (2, []), done.output
    assert "no host of the inventory matches the pattern and --limit" in done.words
    assert done.blamed == {"n1" if limit else "localhost"}
    assert playbook == ROLLOUT or json.loads(report.read_text())["status"] == 2


@pytest.mark.parametrize(("batches", "count"), [
    ("50%", 3), *(pytest.param(*row, marks=pytest.mark.newest) for row in (
        ("1,2", 3), ('[2,"100%"]', 2), ('{"apptainer_fleet_batches": [2, "100%"]}', 2), ('[1, "50%"]', 0), ("0", 0))), ("some", 0)])
def test_batches(play, written, batches, count):
    """After the canary. A text is a list as well. What is no number stops it (Ansible itself splits the last but two at the space)."""
    done = play(ROLLOUT, "-e", batches if batches.startswith("{") else f"apptainer_fleet_batches={batches}", **BASE)
    assert done.output.count("PLAY [Roll out") == count, done.output
    assert (done.rc == 0, written()) == ((True, list(HOSTS)) if count else (False, []))
    assert done.rc != 250  # "probably a bug"
    assert count or re.search(r"apptainer_fleet_batches is .*, but must be a list( of numbers of hosts or percentages, such as 10%,100%|\.)", done.words)


@pytest.mark.parametrize(("canaries", "limit", "order"), [
    ("n3,n1", (), [{"n1", "n3"}, {"n2"}]), *(pytest.param(*row, marks=pytest.mark.newest) for row in (
        (["n2", "n3"], (), [{"n2", "n3"}, {"n1"}]), ("", (), [{"n1"}, {"n2", "n3"}]),
        ("n1,n2", ("--limit", "n2,n3"), [{"n2"}, {"n3"}]), ("n1", ("--limit", "n2,n3"), [{"n2"}, {"n3"}]))),
])
def test_canaries(play, tmp_path, canaries, limit, order):
    """Those of them that --limit includes; without any, the first host."""
    done = play(ROLLOUT, *limit, apptainer_fleet_canaries=canaries, apptainer_fleet_batches="100%", **BASE)
    assert done.rc == 0, done.output
    assert done.changed == order


@pytest.mark.newest
def test_canaries_that_do_not_exist(play, written):
    done = play(ROLLOUT, "-e", "apptainer_fleet_canaries=login9", **BASE)
    assert (done.rc, written()) == (2, [])
    assert "apptainer_fleet_canaries is login9, but no host of the inventory matches it; correct it" in done.words


@pytest.mark.newest
def test_the_end_of_a_batch_waits_for_all_of_it(play, written, tmp_path):
    """Whatever strategy ansible.cfg has."""
    (tmp_path / "n2" / "apptainer").mkdir(parents=True)
    (tmp_path / "n2" / "apptainer" / "remote.yaml").write_text("\tno YAML")
    done = play(ROLLOUT, env={"ANSIBLE_STRATEGY": "free"}, apptainer_fleet_canaries="n1,n2", **BASE)
    assert (done.rc, done.blamed) == (2, {"n2"}), done.output
    assert "2 hosts: 1 changed, 1 failed" in done.words
    assert "1 host was not touched: n3" in done.words
    assert written() == ["n1", "n2"]


@pytest.mark.newest
def test_any_strategy(play, written, library, proven):
    """Whoever comes first verifies for all; the others wait for that."""
    done = play(one_play(strategy="free"), **proven)
    assert (done.rc, written(), len(library.of("good"))) == (0, list(HOSTS), 1), done.output
    refused = play(one_play(strategy="free"), host_vars={"n3": {"apptainer_fleet_host_remotes": [NOWHERE]}}, **proven)
    assert (refused.rc, refused.blamed) == (2, set(HOSTS)), refused.output


@pytest.mark.newest
def test_a_first_host_without_proofs_does_not_spare_the_others(play, written):
    done = play(ROLLOUT, host_vars={"n1": {"apptainer_fleet_verify": False}}, apptainer_fleet_remotes=[SITE, NOWHERE])
    assert (done.rc, written()) == (2, [])
    assert "refuses the connection" in done.words


@pytest.mark.newest
def test_what_is_proven_is_not_proven_again_but_what_is_new_is(play, library, proven):
    """The role three times with the same lists, then with others."""
    more = [{"name": "z", "uri": "https://localhost:1"}]
    tasks = [{"ansible.builtin.import_role": {"name": ROLE}, "vars": {"apptainer_fleet_host_remotes": own}} for own in ([], [], [], more)]
    done = play([{"hosts": "all", "gather_facts": False, "tasks": tasks}], **proven)
    assert done.rc == 2
    assert 'endpoint "z" at https://localhost:1' in done.words and "refuses the connection" in done.words
    assert len([request for request in library.of("good") if request.path.endswith(".json")]) == 2, "the second time with z"


def test_the_controller_is_not_asked_for_another_user(play, written, proven):
    """become of the inventory is for the hosts. (Nobody could become this user.)"""
    become = {"ansible_become": True, "ansible_become_user": "nobody-knows", "ansible_become_method": "su"}
    verify = [{"hosts": "all", "gather_facts": False, "tasks": [{"ansible.builtin.import_role": {"name": ROLE, "tasks_from": "verify"}}]}]
    done = play(verify, host_vars={"n1": {"apptainer_fleet_verify_from": "n2"}}, **become, **proven)
    assert done.rc == 0, done.output


@pytest.mark.parametrize(("variables", "words"), [
    ({}, ""),  # what is wrong with "old" is nobody's business
    ({"apptainer_fleet_remotes": []}, "nothing is declared for n1"),
    ({"apptainer_fleet_remotes": [{**SITE, "default": False}], "apptainer_fleet_prune": True}, "Apptainer does not use"),
], ids=["undeclared", "nothing-declared", "no-default"])
@pytest.mark.newest
def test_the_check_is_about_what_is_declared(play, tmp_path, variables, words):
    (tmp_path / "n1" / "apptainer").mkdir(parents=True)
    (tmp_path / "n1" / "apptainer" / "remote.yaml").write_text(OLD if not words else OLD.replace("Active: old", "Active: ''"))
    done = play(ROLLOUT, "--limit", "n1", **{**BASE, **variables})
    assert done.rc == (2 if words else 0), done.output
    assert words in done.words


@pytest.mark.parametrize("slip", ["", pytest.param("user_hots", marks=pytest.mark.newest), "tokn"])
def test_secrets_that_are_vaulted_in_place(play, vaulted, tmp_path, library, registry_basic, proven, slip):
    """They work, and are not shown at `-vvvv --diff`: not when all is well, not when an entry has a slip, and not when a proof fails."""
    token, password = "t0ken-" + "s3cretS3CRET" * 4, registry_basic.account.password
    entry = account(tmp_path, registries=[{"uri": f"docker://{registry_basic.host}", "username": registry_basic.account.username,
                                           "password": vaulted(password)}])
    if slip == "tokn":
        entry["remotes"] = [{"name": "site", "tokn": vaulted(token)}]
    elif slip:
        entry[slip] = "n1"
    loud = ("-vvvv", "--diff", "--vault-password-file", vaulted.password)
    done = play(ROLLOUT, *loud, apptainer_fleet_logins=[entry], **proven)
    assert done.rc == (2 if slip else 0), done.output
    assert slip in done.words
    outputs = [done.output]
    if not slip:
        assert json.loads((tmp_path / "account" / "docker-config.json").read_text())["auths"]
        entry["remotes"] = [{"name": "site", "token": vaulted(token)}]
        refused = play(ROLLOUT, *loud, apptainer_fleet_logins=[entry], **proven)
        assert refused.rc == 2 and "the token is rejected" in refused.words, refused.output
        outputs.append(refused.output)
    assert leaks.leaked(outputs, leaks.forms(registry_basic.account.username, password) | leaks.forms("", token)) == []


def test_what_cannot_run_on_a_host_is_a_failure_of_it(play, tmp_path):
    """No interpreter, one that is none, no such connection: all hosts are in the report, with what an admin needs, and no others are blamed."""
    foreign = tmp_path / "python"
    foreign.write_text("#!/bin/sh\necho 'Killed by the batch system' >&2\nexit 3\n")
    foreign.chmod(0o755)
    python = "ansible_python_interpreter"
    hosts = {"n1": {python: "/nowhere/python"}, "n2": {python: str(foreign)}, "n3": {"ansible_connection": "no_such"}}
    done = play(DRIFT, "-e", "{ansible_python_interpreter: '{{ hostvars[inventory_hostname].python }}'}",
                host_vars={name: {**variables, "python": variables.get(python, "python3")} for name, variables in hosts.items()}, **BASE)
    assert (done.rc, done.blamed) == (2, set(HOSTS)), done.output
    assert "3 hosts: 3 failed" in done.words
    for words in ("/nowhere/python", "Killed by the batch system", "no_such"):
        assert re.search(rf"Failed on 1 host \(n[123]\): [^(]*{words}", done.words), done.output


def test_a_canary_for_which_ansible_itself_fails_stops_the_rollout(play, written):
    """Before the role's task could even start, so there is no report."""
    done = play(ROLLOUT, host_vars={"n1": {"ansible_remote_tmp": "{{ nowhere }}"}}, **BASE)
    assert (done.rc, done.blamed, written()) == (2, {"n1"}, []), done.output
    others = play(ROLLOUT, host_vars={"n2": {"ansible_remote_tmp": "{{ nowhere }}"}}, apptainer_fleet_canaries="n1,n2", **BASE)
    assert (others.rc, others.blamed, written()) == (2, {"n2"}, ["n1"]), others.output
    assert "2 hosts: 1 changed, 1 failed" in others.words and "1 host was not touched: n3" in others.words


@pytest.mark.parametrize(("limit", "culprit"), [((), "localhost"), (("--limit", "n2,n3"), "n2")], ids=["all", "limit"])
@pytest.mark.newest
def test_a_report_that_cannot_be_written_is_nobody_elses_fault(play, limit, culprit):
    assert play(ROLLOUT, **BASE).rc == 0
    done = play(DRIFT, *limit, "-e", "apptainer_fleet_report_json=/nowhere/report.json", **BASE)
    assert (done.rc, done.blamed) == (2, {culprit}), done.output
    assert "The report could not be written to /nowhere/report.json" in done.words


@pytest.mark.newest
def test_an_option_that_is_a_variable(play, written):
    """Whoever takes it for an ordinary module is told how to set it."""
    done = play([{"hosts": "n1", "gather_facts": False, "tasks": [{ROLE: {"prune": True, "flavor": "singularity"}}]}], **BASE)
    assert (done.rc, written()) == (2, [])
    assert "prune is no option of this task; set the variable apptainer_fleet_prune" in done.words


@pytest.mark.newest
def test_two_rollouts_in_one_run(play, tmp_path):
    """The second one comes to all hosts, whichever the canaries of the first were."""
    first, second = ({"ansible.builtin.import_playbook": ROLLOUT, "vars": {"apptainer_fleet_canaries": canary, "apptainer_fleet_host_remotes": [
        {"name": canary, "uri": f"https://{canary}.example.org"}]}} for canary in ("n1", "n2"))
    done = play([first, second], apptainer_fleet_batches="100%", **BASE)
    assert (done.rc, done.changed) == (0, [{"n1"}, {"n2", "n3"}, {"n2"}, {"n1", "n3"}]), done.output
