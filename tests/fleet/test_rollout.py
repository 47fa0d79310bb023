# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks rollout and drift on ssh hosts: verification, batches, canaries, lost hosts, who is blamed, layers of the inventory, logins, secrets."""

from __future__ import annotations

import json
import re
import threading

import pytest
import yaml
from support import envs, leaks

ROLLOUT, DRIFT = (envs.ROOT / "playbooks" / f"{name}.yml" for name in ("rollout", "drift"))
FLEET = "hpc.apptainer.apptainer_fleet"
FILE = "/etc/apptainer/remote.yaml"
CI = "/home/ci/.apptainer"
SU = {"ansible_become_method": "su", "ansible_become_flags": "-s /bin/sh"}
ALL = {f"node{number}" for number in range(1, 11)}  # of the sixteen, as many as there is something to do with
WRONG = "wr0ng-pa55word-of-alice"


@pytest.fixture
def servers(library, keyserver, registry_basic):
    return library, keyserver, registry_basic


@pytest.fixture
def declared(servers):
    """What the inventory declares for all hosts, with a service account's logins at live servers."""
    library, keyserver, registry = servers
    site = {"name": "site", "uri": library.url("good"), "exclusive": True, "services": ["library"], "keyservers": [{"uri": keyserver.protected}]}
    ci = {
        "user": "ci",
        "remotes": [{"name": "site", "token": library.account.token}],
        "keyservers": [{"uri": keyserver.protected, "username": keyserver.account.username, "password": keyserver.account.password}],
        "registries": [{"uri": f"docker://{registry.host}", "username": registry.account.username, "password": registry.account.password}],
    }
    return {
        **SU,
        "apptainer_fleet_ca_path": str(library.ca),
        "apptainer_fleet_remotes": [site, {"name": "spare", "uri": library.url("good", site="http"), "insecure": True}],
        "apptainer_fleet_prune": True,
        "apptainer_fleet_logins": [ci],
    }


def first(count):
    """The variable that lets a playbook work on so many hosts."""
    return {"apptainer_fleet_hosts": ",".join(f"node{number}" for number in range(1, count + 1))}


@pytest.fixture
def rollout(play):
    def run(*arguments, **variables):
        return play(*arguments, plays=ROLLOUT, **{**first(len(ALL)), **variables})

    return run


@pytest.fixture
def drift(play, tmp_path):
    """The playbook, and what it reports: (Played, report)."""

    def drift(*arguments, **variables):
        files = {kind: tmp_path / f"drift.{kind}" for kind in ("json", "html", "prometheus")}
        given = {**first(len(ALL)), **{f"apptainer_fleet_report_{kind}": str(path) for kind, path in files.items()}, **variables}
        played = play(*arguments, plays=DRIFT, **given)
        drift.files = "".join(path.read_text() for path in files.values())
        return played, json.loads(files["json"].read_text())

    return drift


def asked(servers):
    """How often each server was asked for what."""
    return [sorted((request.method, request.path, request.scheme) for request in server.requests()) for server in servers]


def secrets(servers):
    found = set()
    for server in servers:
        found |= leaks.forms(server.account.username, server.account.password) | leaks.forms("", server.account.token)
    return found


def touched(fleet):
    """The hosts that have a file, of those that are up."""
    return {host.name for host in fleet.hosts if host.running and host.run(f"test -e {FILE}", check=False).returncode == 0}


def test_a_fleet_from_nothing_to_drift_and_back(fleet, rollout, drift, declared, servers):
    """Everything that the guide promises, in one night; at `-vvvv --diff` throughout, and no secret anywhere."""
    outputs = []

    def loud(run, **variables):
        answer = run("--diff", "-vvvv", **variables)
        outputs.append(str(answer) + getattr(run, "files", ""))
        return answer

    foreseen, report = loud(drift, **first(3), **declared)
    assert (foreseen.rc, report["summary"]["drifted"], touched(fleet)) == (2, 3, set()), foreseen.output
    done = loud(rollout, **declared)
    assert (done.rc, done.hosts("changed"), done.hosts("failures"), touched(fleet)) == (0, ALL, set(), ALL), done.output
    once = asked(servers)
    again = loud(rollout, **first(3), **declared)
    assert (again.rc, again.hosts("changed")) == (0, set()), again.output
    assert asked(servers) == [sorted(requests * 2) for requests in once], "three hosts ask as often as ten"
    assert all(once)
    checked, report = loud(drift, **first(3), **declared)
    assert (checked.rc, checked.hosts("changed"), report["summary"]["in_state"]) == (0, set(), 3), checked.output
    hosts = [host for host in fleet.hosts if host.name in ALL]
    texts = [host.run(f"cat {FILE}").stdout for host in hosts]
    assert len(set(texts)) == 1
    for host in hosts:
        assert host.run(f"stat -c '%a %U' {FILE} {CI}/remote.yaml {CI}/docker-config.json").stdout == "644 root\n600 ci\n600 ci\n"
    # somebody edits
    edits = {
        "node2": f"sed -i 's/Exclusive: true/Exclusive: false/' {FILE}",
        "node3": f"sed -i 's/Active: site/Active: spare/' {FILE}",
        "node4": f"chmod 600 {FILE}",
        "node5": f"rm {FILE}",
        "node6": f"sed -i 's/\"auth\": *\"[^\"]*\"/\"auth\": \"YWxpY2U6b3RoZXI=\"/' {CI}/docker-config.json",
        "node7": f"chmod 644 {CI}/remote.yaml",
        "node8": f"printf '\\tx' >> {FILE}",
    }
    for name, edit in edits.items():
        fleet[name].run(edit)
    fleet["node9"].stop()
    found, report = loud(drift, **declared)
    states = {host["name"]: host["state"] for host in report["hosts"]}
    assert states == {**dict.fromkeys(ALL, "in_state"), **dict.fromkeys(edits, "drifted"), "node9": "unreachable"}
    assert (found.rc, found.hosts("failures"), found.hosts("unreachable")) == (4, set(edits), {"node9"}), found.output
    groups = {(host, sentence) for group in report["groups"][1:] for host in group["hosts"] for sentence in group["sentences"]}
    assert groups == {
        ("node2", "endpoint site: exclusive is false, should be true"),
        ("node3", "default endpoint is spare, should be site"),
        ("node4", "mode is 0600, should be 0644"),
        ("node5", "the file is missing or empty"),
        ("node6", f"registry login {servers[2].host}: password differs from the declared one"),
        ("node7", "mode is 0644, should be 0600"),
    }
    first_group = report["groups"][0]
    assert (first_group["hosts"], first_group["unreadable"], FILE in first_group["sentences"][1]) == (["node8"], True, True)
    assert report["failures"] == []
    assert [problem["hosts"] for problem in report["unreachable"]] == [["node9"]]
    fleet["node8"].write(FILE, texts[0])
    fleet["node9"].start()
    repaired = loud(rollout, **declared)
    assert (repaired.rc, repaired.hosts("changed")) == (0, set(edits) - {"node8"}), repaired.output
    assert [host.run(f"cat {FILE}").stdout for host in hosts] == texts
    assert leaks.leaked(outputs, secrets(servers)) == []


def test_no_host_is_written_if_verification_fails(fleet, rollout, declared, servers):
    """A login and a keyserver are wrong, and the run says so of both."""
    declared["apptainer_fleet_logins"][0]["registries"][0].update(password=WRONG)
    declared["apptainer_fleet_remotes"][0]["keyservers"].append({"uri": "https://localhost:1"})
    done = rollout(**declared)
    words = " ".join(done.output.split())
    assert (done.rc, "rejects the login" in words, "refuses the connection" in words) == (2, True, True), done.output
    assert touched(fleet) == set()
    assert not done.results(FLEET)
    assert leaks.leaked(done.output, secrets(servers) | {WRONG}) == []


BASE = {"apptainer_fleet_verify": False, "apptainer_fleet_remotes": [{"name": "site", "uri": "https://library.example.org", "exclusive": True}]}


# What the report says of the canary, and whether its file is written before the fault shows.
FAULTS = {
    "read-only": (f"Failed on 1 host (node1): {FILE}: cannot write: Read-only file system. ", False),
    "program": (f"Failed on 1 host (node1): Apptainer does not use {FILE} as it was written: /usr/bin/apptainer remote list ", True),
    "lost": ("Failed on 1 host (node1): the connection was lost while the module ran, so it is not known how far it came; ", True),
}


@pytest.mark.parametrize(("fault", "sentence", "written"), [(fault, *expected) for fault, expected in FAULTS.items()], ids=FAULTS)
def test_the_canary_stops_a_bad_rollout(fleet, rollout, fault, sentence, written):
    host = fleet["node1"]
    if fault == "read-only":
        host.read_only("/etc")
    elif fault == "program":  # one that was built for another directory, and so reads another file
        host.write("/usr/bin/apptainer", "#!/bin/sh\nprintf 'NAME           URI                 DEFAULT?  GLOBAL?  EXCLUSIVE?  SECURE?\\n"
                   "DefaultRemote  cloud.apptainer.org  ✓         ✓                    ✓\\n'\n", mode=0o755)
    else:  # after its file was written and before it was checked: the program kills all processes of root
        host.write("/usr/bin/apptainer", "#!/bin/sh\nkill -9 -1\n", mode=0o755)
    done = rollout(**BASE)
    words = " ".join(done.output.split())
    assert (done.rc, done.hosts("failures"), done.hosts("unreachable")) == (2, {"node1"}, set()), done.output
    assert "The rollout stops here. 9 hosts were not touched: node[2-10]" in words, done.output
    assert sentence in words, done.output
    assert set(done.results(FLEET)) == {"node1"}, done.output
    assert touched(fleet) == ({"node1"} if written else set())


def test_two_hosts_are_dead(fleet, rollout):
    """It goes on around them, also if the first one is among them; exactly they are unreachable at the end, and the line for --limit does the rest."""
    dead = {"node1", "node9"}
    for name in dead:
        fleet[name].stop()
    done = rollout(**BASE)
    words = " ".join(done.output.split())
    others = ALL - dead
    assert (done.rc, done.hosts("unreachable"), done.hosts("failures"), done.hosts("changed")) == (4, dead, set(), others), done.output
    assert touched(fleet) == others
    assert "In all batches, 10 hosts: 8 changed, 2 unreachable" in words
    assert "Unreachable on 1 host (node9): Failed to connect to the host via ssh: " in words
    assert "The rollout stops" not in words
    order = list(dict.fromkeys(record["host"] for record in done.records if record["action"] == FLEET))
    assert order[:2] == ["node1", "node2"], "the dead canary was replaced by the next host"
    (limit,) = re.findall(r"--limit (\S+)", words)
    assert limit == "node1,node9"
    for name in dead:
        fleet[name].start()
    again = rollout("--limit", limit, **BASE)
    assert (again.rc, again.hosts("changed"), set(again.recap)) == (0, dead, dead), again.output


@pytest.mark.parametrize(("allowed", "rc", "written"), [
    ("0%", 4, set()),  # the dead canary is one too many
    (1, 4, {"node2", "node3"}),  # node4 of the first batch is the second
    ("40%", 4, {"node2", "node3", "node5"}),
])
def test_how_many_may_be_unreachable(fleet, rollout, allowed, rc, written):
    """As a real number, and as a percentage of all."""
    for name in ("node1", "node4"):
        fleet[name].stop()
    done = rollout(**first(5), apptainer_fleet_batches=[2, "100%"], apptainer_fleet_max_unreachable=allowed, **BASE)
    words = " ".join(done.output.split())
    assert (done.rc, done.hosts("failures"), touched(fleet)) == (rc, set(), written), done.output
    assert done.hosts("unreachable") == ({"node1", "node4"} if len(written) > 1 else {"node1"})
    assert ("The rollout stops here, because" in words) == (len(written) < 3)


def test_chosen_canaries_and_a_failure_behind_them(fleet, rollout):
    """One canary is dead and the other works, so it goes on; a host that fails then stops it before the next batch, and a dead one does not."""
    fleet["node5"].stop()
    fleet["node2"].stop()
    fleet["node3"].read_only("/etc")
    batches = {"apptainer_fleet_canaries": "node4,node5", "apptainer_fleet_batches": [3, "100%"], "apptainer_fleet_max_unreachable": 2}
    done = rollout(**first(7), **batches, **BASE)
    words = " ".join(done.output.split())
    assert (done.rc, done.hosts("failures"), done.hosts("unreachable")) == (4, {"node3"}, {"node2", "node5"}), done.output
    assert touched(fleet) == {"node1", "node4"}
    assert "The rollout stops here. 2 hosts were not touched: node[6-7]" in words
    assert "--limit node2,node3,node5" in words
    assert [record["result"]["msg"] for record in done.records if record["host"] == "node3" and record["status"] == "failed"] == [
        next(record["result"]["reasons"]["node3"] for record in reversed(done.records) if record["action"].endswith("_report"))]


def test_whoever_verifies_is_dead(fleet, rollout):
    """That is not the fault of the hosts, and Ansible would call the controller unreachable."""
    fleet["node7"].stop()
    done = rollout(**first(3), **{**BASE, "apptainer_fleet_verify": True, "apptainer_fleet_verify_from": "node7"})
    words = " ".join(done.output.split())
    assert (done.rc, done.hosts("failures"), done.hosts("unreachable"), touched(fleet)) == (2, {"localhost"}, set(), set()), done.output
    assert "node7, from which to verify, cannot be reached: " in words and "set apptainer_fleet_verify_from to another host" in words


OTHER = {"apptainer_fleet_verify": False, "apptainer_fleet_remotes": [{"name": "other", "uri": "https://other.example.org", "default": True}]}
GONE = {"apptainer_fleet_verify": False, "apptainer_fleet_remotes": [{"name": "gone", "state": "absent"}]}
NO_REPORT = {"apptainer_fleet_report_json": "", "apptainer_fleet_report_html": ""}


EARLIER = [
    {"ansible.builtin.import_playbook": str(DRIFT), "vars": {**GONE, **NO_REPORT, "apptainer_fleet_hosts": "node1,node3"}},
    {"hosts": "node4", "gather_facts": False, "tasks": [{"ansible.builtin.set_fact": {"apptainer_fleet_result": {"failed": True, "msg": "old", "at": 1}}}]},
    {"ansible.builtin.import_playbook": str(ROLLOUT), "vars": {**OTHER, "apptainer_fleet_canaries": "node5", "apptainer_fleet_hosts": "node1,node5"}},
]


def test_a_rollout_does_not_report_what_an_earlier_playbook_left(fleet, play):
    """In the same ansible-playbook command: a drift run of node3, a failure of node4, a rollout to node5. The second batch fails."""
    fleet["node2"].read_only("/etc")
    rolled_out = {"ansible.builtin.import_playbook": str(ROLLOUT), "vars": {**BASE, "apptainer_fleet_batches": [1, 1, "100%"]}}
    done = play("--limit", "node1,node2,node3,node4,node5", plays=[*EARLIER, rolled_out])
    words = " ".join(done.output.split())
    assert (done.rc, done.hosts("failures")) == (2, {"node2"}), done.output
    assert "1 host: 1 changed (1 of 5 hosts done)" in words, done.output
    assert f"Failed on 1 host (node2): {FILE}: cannot write: Read-only file system. " in words, done.output
    assert "The rollout stops here. 3 hosts were not touched: node[3-5]" in words, done.output
    assert not [name for name in ("node3", "node4", "node5") if "site:" in fleet[name].run(f"cat {FILE}", check=False).stdout]


def test_hosts_that_are_lost_in_the_middle(fleet, rollout):
    """One is killed before its batch, one while it is written: the run ends with all others, and the next one does the rest."""
    doomed, over = fleet["node5"], threading.Event()
    fleet["node3"].write("/usr/bin/apptainer", "#!/bin/sh\nkill -9 -1\n", mode=0o755)  # runs when its file is written

    def kill():
        while "node1" not in touched(fleet) and not over.wait(0.02):
            continue
        doomed.stop()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        done = rollout(**first(7), apptainer_fleet_batches=[1, 2, 2, "100%"], apptainer_fleet_max_unreachable="20%", **BASE)
    finally:
        over.set()
        killer.join()
    lost = {"node3", "node5"}
    everybody = {f"node{number}" for number in range(1, 8)}
    assert (done.rc, done.hosts("unreachable"), done.hosts("failures")) == (4, lost, set()), done.output
    assert "--limit node3,node5" in " ".join(done.output.split())
    assert set(done.results(FLEET)) == everybody, done.output
    doomed.start()
    fleet["node3"].run("rm /usr/bin/apptainer")
    assert touched(fleet) == everybody - {"node5"}
    again = rollout("--limit", "node3,node5", **first(7), **BASE)
    assert (again.rc, again.hosts("changed"), set(again.recap)) == (0, {"node5"}, lost), again.output


def test_batches_come_from_the_inventory_or_the_command_line(fleet, rollout, tmp_path):
    groups = tmp_path / "groups.yml"
    groups.write_text(yaml.safe_dump({"all": {"vars": {"apptainer_fleet_batches": [2, "50%"]}}}))
    done = rollout("-i", groups, **first(6), **BASE)
    assert done.rc == 0, done.output
    order = [record["host"] for record in done.records if record["action"] == FLEET]
    assert [set(order[:1]), set(order[1:3]), set(order[3:5]), set(order[5:])] == [{"node1"}, {"node2", "node3"}, {"node4", "node5"}, {"node6"}]


def test_layers_and_a_shared_home(fleet, rollout, tmp_path, servers):
    """A group's values override those for all hosts, and a host's override both. One host writes the files of an account with a shared home."""
    _library, _keyserver, registry = servers
    login = {"uri": f"docker://{registry.host}", "username": "alice", "password": registry.account.password}
    inventory = {"all": {
        "vars": {
            **SU,
            "apptainer_fleet_verify": False,
            "apptainer_fleet_remotes": [{"name": "site", "uri": "https://library.example.org", "default": True},
                                        {"name": "staging", "uri": "https://staging.example.org"}],
            "apptainer_fleet_logins": [{"user": "ci", "registries": [login]}, {"user": "alice", "user_host": "node3", "registries": [login]}],
        },
        "children": {"test": {
            "hosts": {"node2": None, "node3": {"apptainer_fleet_host_remotes": [{"name": "staging", "state": "absent"},
                                                                                {"name": "site", "default": True}]}},
            "vars": {"apptainer_fleet_group_remotes": [{"name": "site", "default": False}, {"name": "staging", "default": True}],
                     "apptainer_fleet_group_logins": [{"user": "ci", "registries": [{"uri": login["uri"], "state": "absent"}]}]},
        }},
    }}
    (tmp_path / "site.yml").write_text(yaml.safe_dump(inventory))
    hosts = {"apptainer_fleet_hosts": "node1,node2,node3", "apptainer_fleet_batches": "1,100%"}
    done = rollout("-i", tmp_path / "site.yml", **hosts)
    assert done.rc == 0, done.output
    files = {name: yaml.safe_load(fleet[name].read(FILE)) for name in ("node1", "node2", "node3")}
    assert {name: (found["Active"], sorted(found["Remotes"])) for name, found in files.items()} == {
        "node1": ("site", ["site", "staging"]), "node2": ("staging", ["site", "staging"]), "node3": ("site", ["site"])}
    has_login = {(name, user): fleet[name].run(f"grep -c auth\\\" /home/{user}/.apptainer/docker-config.json", check=False).stdout == "1\n"
                 for name in ("node1", "node2", "node3") for user in ("ci", "alice")}
    assert {key for key, value in has_login.items() if value} == {("node1", "ci"), ("node3", "alice")}
    assert rollout("-i", tmp_path / "site.yml", **hosts).hosts("changed") == set()
    refused = rollout("-i", tmp_path / "site.yml", **hosts, apptainer_fleet_user_host="login1")
    assert refused.rc == 2
    assert "login1, a host that is not in the inventory" in " ".join(refused.output.split())


def test_an_endpoint_retires_and_goes(fleet, rollout):
    """Whoever only runs again changes nothing; and what was not retired does not go."""
    hosts = {**first(1), "apptainer_fleet_batches": "100%", "apptainer_fleet_verify": False, "apptainer_fleet_prune": True}
    site, successor = BASE["apptainer_fleet_remotes"][0], {"name": "next", "uri": "https://next.example.org", "exclusive": True}
    retired = {"name": "site", "state": "retired"}
    seen = []
    for remotes in ([site], [successor], [successor, retired], [successor, retired], [successor], [successor]):
        done = rollout(apptainer_fleet_remotes=remotes, **hosts)
        found = yaml.safe_load(fleet["node1"].read(FILE))
        seen.append((done.rc, found["Active"], {name: remote["Exclusive"] for name, remote in found["Remotes"].items()}, sorted(done.hosts("changed"))))
        assert done.rc == 0 or "state: retired" in done.output
    assert seen == [
        (0, "site", {"site": True}, ["node1"]), (2, "site", {"site": True}, []), (0, "next", {"next": True, "site": False}, ["node1"]),
        (0, "next", {"next": True, "site": False}, []), (0, "next", {"next": True}, ["node1"]), (0, "next", {"next": True}, [])]


def test_the_audit_of_users(fleet, drift):
    """With each user's own permissions, on all hosts or on the one that checks shared homes; it changes no host's state."""
    site = {"name": "site", "uri": "https://library.example.org", "exclusive": True}
    shadow = "Active: site\nRemotes:\n    site:\n        URI: evil.example.org\n        System: false\n        Exclusive: false\n"
    for name, user in (("node1", "alice"), ("node1", "ci"), ("node2", "alice")):
        fleet[name].write(f"/home/{user}/.apptainer/remote.yaml", shadow, mode=0o600, owner=user)
        fleet[name].run(f"chown -R {user}: /home/{user}/.apptainer && chmod 700 /home/{user}/.apptainer")
    given = {**SU, "apptainer_fleet_hosts": "node1,node2", "apptainer_fleet_remotes": [site], "apptainer_fleet_audit_users": True,
             "apptainer_fleet_audited_users": ["alice", "ci"]}
    for name in ("node1", "node2"):
        fleet[name].write(FILE, shadow.replace("evil", "library").replace("false", "true"))
    for more, places in (({}, {("node1", "alice"), ("node1", "ci"), ("node2", "alice")}),
                         ({"apptainer_fleet_user_host": "node2"}, {("node2", "alice")})):
        done, report = drift(**given, **more)
        (found,) = report["findings"]
        assert (done.rc, report["summary"]["in_state"], found["finding"]) == (0, 2, "shadowed-exclusive"), done.output
        assert {(place["host"], place["user"]) for place in found["places"]} == places
