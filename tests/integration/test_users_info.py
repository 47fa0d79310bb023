# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`apptainer_users_info` on a node with users of its own: a private mount namespace with another user database, and homes in `/mnt`."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support import envs, leaks, processes
from support.files import snapshot

FIRST = 20000 + os.getpid() % 3900 * 10  # uids of nobody else, tests that run side by side included
SECRET = "n0body-sh0uld-see-this-secret"
LEAKS = leaks.forms("bob", SECRET)
HOMES = "/mnt/home"

# Run a module as another user. It is imported before, as that user may not be able to read what the tests run from.
AS_USER = """
import importlib, os, pwd, sys
modlib, name, user = sys.argv[1:]
del sys.argv[1:]
sys.path.insert(0, modlib)
from ansible.module_utils import basic
module = importlib.import_module("ansible_collections.hpc.apptainer.plugins.modules." + name)
basic._ANSIBLE_ARGS = sys.stdin.buffer.read()
basic._ANSIBLE_PROFILE = "legacy"
account = pwd.getpwnam(user)
os.initgroups(user, account.pw_gid)
os.setgid(account.pw_gid)
os.setuid(account.pw_uid)
os.environ["HOME"] = account.pw_dir
os.chdir("/")
module.main()
"""

GLOBAL = "Active: site\nRemotes: {site: {URI: library.example.org, System: true, Exclusive: true}}\n"


def remotes(**fields):
    return json.dumps({"Active": "mine", "Remotes": {"mine": {"URI": "h.example.org", "Token": SECRET, "System": False, **fields}}})


class Machine:
    """A node of our own. Its homes are `self.root / "home"` here, and `/mnt/home` there."""

    def __init__(self, root, python):
        self.root, self.python, self.extra = root, python, ""
        (root / "home").mkdir(parents=True)
        (root / "etc" / "apptainer").mkdir(parents=True)
        for path in (root, root / "home", root / "etc", root / "etc" / "apptainer"):
            path.chmod(0o755)
        self.write(root / "etc" / "apptainer" / "remote.yaml", GLOBAL, mode=0o644)
        self.uids = {}
        (root / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\nthis line is broken\n")
        (root / "group").write_text(f"root:x:0:\nfriends:x:{FIRST + 9}:alice\n")
        (root / "login.defs").write_text(f"# people\nUID_MIN\t{FIRST}\nUID_MAX {FIRST + 8}\n")

    def write(self, path, text, uid=0, mode=0o600):
        path.write_text(text)
        path.chmod(mode)
        os.chown(path, uid, uid)

    def user(self, name, text=None, mode=0o600, uid=None):
        """A new user with a home and `~/.apptainer`, which is returned, and a remote.yaml if there is to be one."""
        self.uids[name] = uid = FIRST + len(self.uids) if uid is None else uid
        self.entry(name, uid, f"{HOMES}/{name}")
        directory = self.root / "home" / name / ".apptainer"
        directory.mkdir(parents=True)
        for path in (directory.parent, directory):
            path.chmod(0o700)
            os.chown(path, uid, uid)
        if text is not None:
            self.write(directory / "remote.yaml", text, uid, mode)
        return directory

    def entry(self, name, uid, home):
        with open(self.root / "passwd", "a") as file:
            file.write(f"{name}:x:{uid}:{uid if uid < 1 << 31 else 0}::{home}:/bin/sh\n")

    def node(self, prefix=""):
        """An interpreter in this node; `prefix` is a command to run it by."""
        script = self.root / "python"
        places = {"": "/mnt", **{f"/{name}": f"/etc/{name}" for name in ("passwd", "group", "login.defs")}}
        mounts = " && ".join(f"mount --bind {self.root}{source} {target}" for source, target in places.items())
        unshare = f"unshare --mount --propagation private sh -c '{mounts} && exec \"$@\"' sh"
        script.write_text(f'#!/bin/sh\nexec {unshare} {prefix} {self.python.python} "$@"\n')
        script.chmod(0o755)
        return envs.Node(self.python.core, script)


def needs_root():
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("makes a node with users of its own in a private mount namespace: needs root and unshare")
    done = subprocess.run(["unshare", "--mount", "mount", "--bind", "/etc", "/mnt"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no private mount namespaces here: {done.stderr.strip()}")


@pytest.fixture
def machine(tmp_path):
    needs_root()
    return Machine(tmp_path / "machine", envs.Node(envs.core("running"), Path(sys.executable)))


@pytest.fixture
def crowd(machine):
    """Users with all that can be wrong."""
    machine.user("alice", remotes())
    machine.user("bob", remotes(), mode=0o644)
    machine.user("carol", json.dumps({"Active": "old", "Remotes": {"old": {"URI": "old.example.org", "System": True, "Exclusive": True}}}))
    erin = machine.user("erin")
    machine.write(erin / "docker-config.json", '{"auths": {"r.example": ' + SECRET + "}}", machine.uids["erin"])
    machine.write(erin / "remote.yaml", "Active: site\nActiv: " + SECRET + "\n", machine.uids["erin"])
    ivan = machine.user("ivan")
    (ivan / "remote-cache").mkdir()
    (ivan / "remote-cache" / "https-library-example-org.json").touch()
    os.chown(ivan / "remote-cache", machine.uids["ivan"], -1)
    frank = machine.user("frank")
    (frank / "remote.yaml").symlink_to("/etc/shadow")
    os.lchown(frank / "remote.yaml", machine.uids["frank"], 0)
    mallory = machine.user("mallory")
    mallory.rmdir()
    mallory.symlink_to(f"{HOMES}/alice/.apptainer")
    os.lchown(mallory, machine.uids["mallory"], 0)
    os.mkfifo(machine.user("grace") / "remote.yaml")
    huge = machine.user("heidi") / "remote.yaml"
    machine.write(huge, "", machine.uids["heidi"])
    os.truncate(huge, 17 << 20)
    return machine


@pytest.fixture
def run(run_module):
    def run(machine, args=None, prefix="", **options):
        done = run_module("apptainer_users_info", {"sysconfdir": "/mnt/etc", **(args or {})}, python=machine.node(prefix), **options)
        assert done.result is not None, done.stdout + done.stderr
        assert not leaks.leaked([done.stdout, done.stderr], LEAKS)
        assert done.stderr == ""
        return done.result

    return run


def as_user(machine, user, args, home, name="apptainer_remote_info"):
    node = machine.node()
    stdin = json.dumps({"ANSIBLE_MODULE_ARGS": {"sysconfdir": "/mnt/etc", **args, "_ansible_remote_tmp": "/tmp"}})
    done = processes.run(node.python, "-c", AS_USER, node.core / "modlib", name, user, env=processes.clean_env(home), stdin=stdin)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def found(result):
    return {entry["user"]: [finding["id"] for finding in entry["findings"]] for entry in result["users"]}


EXPECTED = {"bob": ["mode"], "carol": ["stale-copy"], "erin": ["unreadable", "unreadable"], "frank": ["unreadable"], "grace": ["unreadable"],
            "heidi": ["unreadable"], "ivan": ["seeded-cache"], "mallory": ["unreadable", "unreadable"]}


class TestTheCrowd:
    def test_everybody_is_told_what_apptainer_remote_info_tells_them(self, crowd, run, node_python, tmp_path):
        crowd.python = node_python
        result = run(crowd)
        assert found(result) == EXPECTED
        assert (result["changed"], result["checked"]) == (False, 9)
        assert [entry["error"] for entry in result["users"]] == [None] * 8
        told = {entry["user"]: entry["findings"] for entry in result["users"]}
        for user in crowd.uids:
            alone = as_user(crowd, user, {}, tmp_path / "other")
            assert told.get(user, []) == alone["findings"], user
        assert run(crowd, check=True) == result

    def test_root_without_its_rights_in_homes_sees_the_same(self, crowd, run, run_module):
        if not shutil.which("setpriv"):
            pytest.skip("setpriv is not installed")
        squashed = "setpriv --bounding-set=-dac_override,-dac_read_search"
        path = f"{HOMES}/bob/.apptainer/remote.yaml"
        alone = run_module("apptainer_remote_info", {"sysconfdir": "/mnt/etc", "config_file": path}, python=crowd.node(squashed)).result
        assert "Not even root may" in alone["user"]["error"]
        assert run(crowd, prefix=squashed)["users"] == run(crowd)["users"]

    def test_the_messages_say_what_to_do(self, crowd, run):
        messages = {entry["user"]: entry["findings"][0]["message"] for entry in run(crowd)["users"]}
        assert "/etc/shadow belongs to root, so it is not followed" in messages["frank"]
        assert "Permission denied" in messages["mallory"]
        assert "a FIFO (named pipe)" in messages["grace"]
        assert "larger than 16 MiB" in messages["heidi"]
        assert "line 2" in messages["erin"]


def test_what_is_wrong_with_the_global_file_is_not_said_for_each_user(machine, run):
    machine.user("alice", remotes())
    machine.write(machine.root / "etc" / "apptainer" / "remote.yaml", "Activ: nonsense\n", mode=0o646)
    assert (run(machine)["checked"], run(machine)["users"]) == (1, [])
    other = machine.root / "etc" / "other.yaml"
    machine.write(other, "Remotes: {mine: {URI: a.example.org, System: true}}\n", mode=0o644)
    assert found(run(machine, {"global_config_file": "/mnt/etc/other.yaml"})) == {"alice": ["shadowed"]}


def test_homes_that_are_links_or_are_missing_or_closed(machine, run):
    machine.user("alice", remotes(), mode=0o644)
    (machine.root / "home" / "alice").rename(machine.root / "disk")
    (machine.root / "home" / "alice").symlink_to("/mnt/disk")
    machine.entry("bob", FIRST + 1, f"{HOMES}/nowhere")
    machine.user("carol", uid=FIRST + 2)
    os.chown(machine.root / "home" / "carol", 0, 0)
    result = run(machine)
    assert result["checked"] == 3
    assert found(result) == {"alice": ["mode"], "carol": ["unreadable", "unreadable"]}


def test_the_flavor(machine, run):
    directory = machine.user("alice", remotes(), mode=0o644)
    directory.rename(directory.parent / ".singularity")
    assert found(run(machine)) == {}
    assert found(run(machine, {"flavor": "singularity"})) == {"alice": ["mode"]}


class TestWho:
    def test_names_and_uids(self, machine, run):
        machine.user("alice", remotes(), mode=0o644)
        machine.user("bob", remotes(), mode=0o640)
        machine.entry("alias", machine.uids["alice"], f"{HOMES}/alice")
        result = run(machine, {"users": ["nobody-at-all", str(machine.uids["bob"]), "alice", "alias", "alice", "root"]})
        assert found(result) == {"alice": ["mode"], "bob": ["mode"], "nobody-at-all": []}
        assert result["checked"] == 3
        unknown = result["users"][-1]
        assert unknown["home"] is None
        assert unknown["error"].startswith('"nobody-at-all" is neither a user name nor a uid on this node. ')
        assert result["users"][0]["home"] == f"{HOMES}/alice"
        assert run(machine, {"users": []})["checked"] == 0

    def test_two_names_of_one_user_with_two_homes(self, machine, run):
        machine.user("alice", remotes(), mode=0o644)
        machine.user("service", remotes(), mode=0o604, uid=machine.uids["alice"])
        result = run(machine)
        assert result["checked"] == 2
        assert [entry["findings"][0]["path"] for entry in result["users"]] == [f"{HOMES}/{name}/.apptainer/remote.yaml" for name in machine.uids]

    def test_owners_of_homes(self, machine, run):
        machine.user("alice", remotes(), mode=0o644)
        machine.user("far", remotes(), mode=0o644, uid=FIRST + 9)
        (machine.root / "home" / "gone").mkdir()
        os.chown(machine.root / "home" / "gone", FIRST + 7, 0)
        (machine.root / "home" / "dangling").symlink_to("nowhere")
        (machine.root / "elsewhere").mkdir()
        os.chown(machine.root / "elsewhere", FIRST + 7, 0)
        machine.user("moved", remotes(), mode=0o644, uid=FIRST + 10)
        (machine.root / "home" / "moved").rename(machine.root / "moved")
        (machine.root / "home" / "moved").symlink_to("/mnt/moved")
        (machine.root / "home" / "trap").symlink_to("/mnt/elsewhere")  # of a user: not followed
        os.lchown(machine.root / "home" / "trap", FIRST + 9, 0)
        assert found(run(machine)) == {"alice": ["mode"]}
        result = run(machine, {"homes": [HOMES, "/mnt/nothing-here"]})
        assert (found(result), result["checked"]) == ({"alice": ["mode"], "far": ["mode"], "moved": ["mode"]}, 3)
        assert run(machine, {"homes": [HOMES], "users": ["root"]})["checked"] == 4
        failed = run(machine, {"homes": ["/mnt/passwd"]})
        assert failed["msg"].startswith("homes: /mnt/passwd: its owners cannot be found: ")
        assert "Not a directory" in failed["msg"]

    def test_an_id_that_the_system_takes_for_no_change_does_not_leave_a_process_to_root(self, machine, run):
        machine.entry("minus", 4294967295, "/root")
        entry = run(machine, {"users": ["minus"]})["users"][0]
        assert entry["findings"] == []
        assert "neither a user name nor a uid" in entry["error"] or "not possible for a process" in entry["error"]

    def test_names_that_are_no_unicode(self, machine, run):
        with open(machine.root / "passwd", "ab") as file:
            file.write(b"b\xe4r:x:%d:0::/mnt/home/b\xe4r:/bin/sh\n" % FIRST)
        directory = os.fsencode(machine.root / "home") + b"/b\xe4r/.apptainer"
        os.makedirs(directory + b"/remote.yaml")
        os.chown(os.path.dirname(directory), FIRST, 0)
        (entry,) = run(machine)["users"]
        assert (entry["user"], entry["home"]) == ("b?r", "/mnt/home/b?r")
        assert "a directory where" in entry["findings"][0]["message"]

    def test_names_that_a_terminal_would_obey(self, machine, run):
        directory = machine.user("alice")
        (directory / "remote.yaml").symlink_to("/etc/sha\x1b[2Jdow\n\x9b")
        (directory / "remote-cache").mkdir()
        (directory / "remote-cache" / "x\x1b[2J.json").touch()
        for path in (directory / "remote-cache", directory / "remote.yaml"):
            os.lchown(path, machine.uids["alice"], 0)
        (entry,) = run(machine)["users"]
        messages = [finding["message"] for finding in entry["findings"]]
        assert "/etc/sha?[2Jdow?? belongs to root" in messages[0]
        assert "(x?[2J.json)" in messages[1]

    def test_more_users_than_are_looked_at_at_once(self, machine, run):
        (machine.root / "login.defs").write_text("UID_MIN 0x4000\nUID_MAX 60000\n")
        for number in range(150):
            machine.user(f"u{number}", "[" if number == 149 else remotes(), uid=30000 + number)
        result = run(machine)
        assert (result["checked"], found(result)) == (150, {"u149": ["unreadable"]})

    def test_without_root_only_the_own_files(self, machine, tmp_path):
        machine.user("alice", remotes(), mode=0o644)
        machine.user("bob", remotes(), mode=0o644)
        result = as_user(machine, "alice", {}, tmp_path / "other", "apptainer_users_info")
        assert (found(result), result["checked"]) == ({"alice": ["mode"], "bob": []}, 1)
        assert result["users"][1]["error"] == "only root may work on other users' files. Run the task with become: true."


def test_the_user_who_runs_the_tests(run_module, node_python):
    """The one of these tests that needs no root."""
    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        pytest.skip("the user who runs the tests is not in the user database")
    result = run_module("apptainer_users_info", {"users": [str(os.geteuid())]}, python=node_python).result
    assert result["checked"] == 1, result
    assert {entry["user"] for entry in result["users"]} <= {name}


@pytest.mark.parametrize("timeout", [0, -1, 3601])
def test_a_timeout_without_sense(run_module, timeout):
    done = run_module("apptainer_users_info", {"timeout": timeout})
    assert done.result["msg"] == f"timeout is {timeout}, but must be more than 0 and at most 3600 seconds"


class Watcher:
    """Sends a signal to each process of a user as soon as there is one, and looks at it."""

    def __init__(self, uid, number):
        self.uid, self.number, self.seen, self.over = uid, number, {}, False

    def pids(self):
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if f"Uid:\t{self.uid}\t{self.uid}\t" in Path("/proc", pid, "status").read_text():
                    yield pid

    def watch(self):
        while not self.over:
            for pid in self.pids():
                with contextlib.suppress(OSError):
                    if pid not in self.seen:
                        os.kill(int(pid), self.number)
                        time.sleep(0.05)
                        self.seen[pid] = self.look(Path("/proc", pid))

    def look(self, process):
        fds = {fd.name: os.readlink(fd) for fd in (process / "fd").iterdir()}
        status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines())
        return {"fds": fds, "status": status, "cwd": os.readlink(process / "cwd"), "owner": (process / "mem").stat().st_uid}

    def __enter__(self):
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over = True
        self.thread.join()


@pytest.fixture
def slow(machine):
    """Alice has so much to read that there is time to look, bob is as usual."""
    machine.user("alice", "Remotes:\n" + "".join(f"  r{number}: {{URI: h.example.org}}\n" for number in range(100000)))
    machine.user("bob", remotes(), mode=0o644)
    return machine


class TestProcesses:
    def test_one_that_hangs_does_not_hang_the_audit_and_has_nothing_of_root(self, slow, run, node_python):
        slow.python = node_python
        uid = slow.uids["alice"]
        with Watcher(uid, signal.SIGSTOP) as watcher:
            result = run(slow, {"timeout": 2})
            assert list(watcher.pids()) == []
        assert found(result) == {"alice": [], "bob": ["mode"]}
        assert (result["checked"], result["users"][0]["error"][:36]) == (1, "there was no reply within 2 seconds.")
        assert len(watcher.seen) == 1
        seen = next(iter(watcher.seen.values()))
        assert [seen["fds"].pop(fd) for fd in "012"] == ["/dev/null"] * 3
        others = [link for link in seen["fds"].values() if link != "/" and not link.startswith(("/mnt", "/proc/"))]  # what it opens itself
        assert [link.partition(":")[0] for link in others] == ["pipe"]
        status = seen["status"]
        assert (status["Uid"], status["Gid"]) == ("\t".join([str(uid)] * 4),) * 2
        assert sorted(map(int, status["Groups"].split())) == [uid, FIRST + 9]
        assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}
        assert (seen["cwd"], seen["owner"], status["Umask"]) == ("/", 0, "0077")  # memory and environment are root's to see

    def test_one_that_is_killed_by_its_user(self, slow, run):
        with Watcher(slow.uids["alice"], signal.SIGKILL):
            result = run(slow)
        assert found(result) == {"alice": [], "bob": ["mode"]}
        assert result["users"][0]["error"].startswith("the check was cut short. ")

    def test_where_processes_would_keep_rights_of_root(self, machine, run):
        machine.user("alice", remotes(), mode=0o644)
        keeping = "setpriv --securebits=+no_setuid_fixup"
        if not shutil.which("setpriv") or subprocess.run([*keeping.split(), "true"], check=False).returncode:
            pytest.skip("setpriv cannot set securebits here")
        (entry,) = run(machine, prefix=keeping)["users"]
        assert entry["error"] == ("this node lets processes keep root's capabilities (securebits), so nothing can be read with the user's own "
                                  "rights. Run the task without that.")

    def test_where_the_end_of_processes_is_ignored(self, machine, run):
        machine.user("alice", remotes(), mode=0o644)
        ignoring = "env --ignore-signal=CHLD"
        if subprocess.run([*ignoring.split(), "true"], check=False, capture_output=True).returncode:
            pytest.skip("env has no --ignore-signal here")
        assert found(run(machine, prefix=ignoring)) == {"alice": ["mode"]}

    def test_one_with_too_much_to_say(self, machine, run):
        directory = machine.user("alice") / "remote-cache"
        directory.mkdir()
        for number in range(6000):
            (directory / f"{number:0200}.json").touch()
        os.chown(directory, machine.uids["alice"], 0)
        (entry,) = run(machine)["users"]
        assert (entry["findings"], entry["error"]) == ([], "the result is larger than 1024 KiB. "
                                                           "Run apptainer_remote_info as this user (become_user).")


def test_nothing_is_written(crowd, run):
    before = snapshot(crowd.root / "home")
    run(crowd)
    assert snapshot(crowd.root / "home") == before
