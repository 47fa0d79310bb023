# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Logins of accounts, which a process of root's writes after it has become the account: homes that only the account may enter, accounts that nobody can
log in to, that do not exist, that set traps for root; and runs that are not root's."""

from __future__ import annotations

import json
from pathlib import Path

from support import leaks

MODULE = "hpc.apptainer.apptainer_fleet"
SECRET, TOKEN = "s3cretS3CRET" * 4, "tok-" + "t0kenT0KEN" * 8
REGISTRIES = [{"uri": "docker://r.example.org", "username": "u", "password": SECRET}]
SITE = {"name": "site", "uri": "https://library.example.org"}
ALICE, CI = {"user": "alice", "registries": REGISTRIES}, {"user": "ci", "registries": REGISTRIES}


def of(*logins, **more):
    return {"apptainer_fleet_verify": False, "apptainer_fleet_logins": list(logins), **more}


def files(host, user):
    """The files in the account's directory, as (mode, owner, name)."""
    return set(host.run(f"cd /home/{user}/.apptainer && stat -c '%a %U %n' *.yaml *.json 2>/dev/null", check=False).stdout.splitlines())


WRITTEN = {name: {f"600 {name} docker-config.json", f"600 {name} remote.yaml"} for name in ("alice", "ci")}


def squashed(host):
    """From now on, this host's root has no rights in other users' homes, as on NFS with root_squash."""
    wrapper = Path("/opt/squashed-python")
    host.write(str(wrapper), f'#!/bin/sh\nexec setpriv --bounding-set=-dac_override,-dac_read_search,-chown,-fowner {host.interpreter} "$@"\n', mode=0o755)
    host.interpreter = wrapper


def test_homes_that_only_the_account_may_enter(fleet, play):
    """Nobody can log in to one of them. "~" is the account's home, not root's, and not the controller's."""
    hosts = fleet.hosts[:2]
    for host in hosts:
        host.write("/home/ci/token", f"{TOKEN}\n", mode=0o600, owner="ci")
    squashed(hosts[0])
    refused = hosts[0].run(f"{hosts[0].interpreter} -c 'open(\"/home/ci/token\")'", check=False).stderr
    assert "Permission denied" in refused
    ci = {**CI, "remotes": [{"name": "site", "token_file": "~/token"}]}
    given = of(ALICE, ci, apptainer_fleet_remotes=[SITE])
    limit = ["--limit", "node1,node2", "-vvvv", "--diff"]
    done = play(*limit, **given)
    assert (done.rc, done.hosts("changed")) == (0, {"node1", "node2"}), done.output
    for host in hosts:
        assert {user: files(host, user) for user in WRITTEN} == WRITTEN
        assert TOKEN in host.read("/home/ci/.apptainer/remote.yaml")
        assert [part["subject"] for part in done.results(MODULE)[host.name]["parts"]] == ["global", "account alice", "account ci"]
    again = play(*limit, **given)
    assert (again.rc, again.hosts("changed")) == (0, set()), again.output
    hosts[1].run("chmod 644 /home/alice/.apptainer/remote.yaml && rm /home/ci/.apptainer/docker-config.json")
    predicted = play("--check", *limit, **given)
    assert (predicted.rc, predicted.hosts("changed")) == (0, {"node2"}), predicted.output
    assert files(hosts[1], "ci") == {"600 ci remote.yaml"}
    assert leaks.leaked([str(done), str(again), str(predicted)], leaks.forms("u", SECRET) | leaks.forms("", TOKEN)) == []


def test_what_is_wrong_with_one_account_is_said_of_it_and_of_no_other(fleet, play):
    """Also if it is a trap for root. The others get their logins, and nothing is written elsewhere."""
    gone, linked, full, fine = fleet.hosts[:4]
    gone.run("userdel ci")
    linked.run("mkdir /opt/trap && ln -s /opt/trap /home/ci/.apptainer")
    full.run("rm -r /home/ci")
    done = play("--limit", "node1,node2,node3,node4", **of(ALICE, CI))
    results = done.results(MODULE)
    assert (done.rc, done.hosts("failures")) == (2, {"node1", "node2", "node3"}), done.output
    assert {name: [part["subject"] for part in result["parts"]] for name, result in results.items()} == {
        **{host.name: ["account alice"] for host in (gone, linked, full)}, "node4": ["account alice", "account ci"]}
    assert [files(host, "alice") for host in (gone, linked, full, fine)] == [WRITTEN["alice"]] * 4
    for name, words in (("node1", 'there is no account "ci" on this host'), ("node2", "Permission denied"), ("node3", "/home/ci")):
        (failure,) = results[name]["failures"]
        assert failure["subject"] == "account ci" and words in failure["msg"], failure
        assert results[name]["msg"] == f"account ci: {failure['msg']}"
    assert linked.run("ls -A /opt/trap").stdout == ""
    assert leaks.leaked(str(done), leaks.forms("u", SECRET)) == []


def test_a_run_that_is_not_roots(fleet, play):
    """It can write its own account's files, and is told what it needs for the others'."""
    host = fleet["node1"]
    alone = play("--limit", "node1", ansible_user="alice", **of(ALICE))
    assert (alone.rc, files(host, "alice")) == (0, WRITTEN["alice"]), alone.output
    both = play("--limit", "node1", ansible_user="alice", **of({**ALICE, "registries": [*REGISTRIES, {**REGISTRIES[0], "uri": "docker://s"}]}, CI))
    (failure,) = both.results(MODULE)["node1"]["failures"]
    assert (both.rc, failure["subject"]) == (2, "account ci"), both.output
    assert "only root may work on other users' files" in failure["msg"] and "become: true" in failure["msg"]
    assert sorted(json.loads(host.read("/home/alice/.apptainer/docker-config.json"))["auths"]) == ["r.example.org", "s"]
    assert files(host, "ci") == set()
