# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The store under fire: killed at every system call, on full and read-only disks, with many processes at once. All of it is real."""

import collections
import concurrent.futures
import functools
import json
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._files import config_file as store
from support import envs

IMPORTS = f"""
import json, os, sys, time
sys.path.insert(0, {str(Path(store.__file__).parents[6])!r})
from ansible_collections.hpc.apptainer.plugins.module_utils._files import config_file as store
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import StoreError
path = sys.argv[1]
"""
MARK = "/here-the-store-begins"
MAKE = f"""
os.access({MARK!r}, os.F_OK)
store.make_directory(path, 0o755)
"""
REPLACE = f"""
os.access({MARK!r}, os.F_OK)
with store.locked(path):
    before = store.read(path)
    try:
        store.replace(store.Replacement(path, b"new " * 5000, lambda temporary: os.chmod(temporary, 0o644), before))
    except StoreError as exc:
        print(exc)
"""
COUNT = """
for _ in range(int(sys.argv[2])):
    with store.locked(path, timeout=1000.0):
        state = store.read(path)
        store.replace(store.Replacement(path, b"%d\\n" % (int(state.data) + 1), lambda temporary: None, state))
"""
OLD, NEW = b"old " * 7000, b"new " * 5000


@functools.cache
def refusal(*command):
    """Why this command cannot run here, or nothing."""
    if shutil.which(command[0]) is None:
        return f"{command[0]} is not installed"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"{' '.join(command)}: {(done.stderr.strip() or 'failed').splitlines()[-1]}" if done.returncode else ""


@pytest.fixture
def strace():
    if reason := refusal("strace", "-f", "-qq", "-e", "trace=fsync", "-e", "inject=fsync:error=EIO", "true"):
        pytest.skip(reason)
    return ["strace", "-f", "-qq", "-e", "signal=none"]


@pytest.fixture
def mounts():
    """A command line for a shell that may mount what nobody else sees."""
    if reason := refusal("unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"):
        pytest.skip(reason)
    return lambda script: ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script + '\nexec "$@"', "sh"]


@pytest.fixture
def path(tmp_path):
    path = Path(os.path.realpath(tmp_path)) / "remote.yaml"
    path.write_bytes(OLD)
    path.chmod(0o644)
    return path


def python(script, *arguments, interpreter=sys.executable):
    return [interpreter, "-S", "-E", "-B", "-c", IMPORTS + script, *map(str, arguments)]


def run(*command):
    return subprocess.run([*command], capture_output=True, text=True, check=False)


def leftovers(directory):
    return [name for name in os.listdir(directory) if ".ansible-" in name and name != store.LOCK_FILE]


class TestKilled:
    def moments(self, strace, path, log, script=REPLACE):
        """Every system call of the store, as its name and its how-manieth call of this name it is in the process."""
        assert run(*strace, "-o", log, *python(script, path)).returncode == 0
        calls = re.findall(r"^\d+ +(\w+)\((.*)", log.read_text(), re.MULTILINE)
        begin = [MARK in arguments for _name, arguments in calls].index(True)
        seen = collections.Counter(name for name, _arguments in calls[:begin])
        for name, _arguments in calls[begin:]:
            seen[name] += 1
            if name not in ("exit_group", "munmap", "rt_sigaction"):
                yield name, seen[name]

    def killed_at(self, strace, directory, moment):
        name, when = moment
        path = directory / f"{name}-{when}" / "remote.yaml"
        path.parent.mkdir()
        path.write_bytes(OLD)
        done = run(*strace, "-e", f"trace={name}", "-e", f"inject={name}:signal=KILL:when={when}", *python(REPLACE, path))
        data = path.read_bytes()
        assert data in (OLD, NEW), (moment, data[:50])
        # Nothing of the killed one is in the way of the next, and what it left is private.
        assert all(os.stat(path.parent / left).st_size in (0, len(NEW)) for left in leftovers(path.parent))
        assert run(*python(REPLACE, path)).stdout == ""
        assert path.read_bytes() == NEW
        return done.returncode, data

    def test_at_any_instant_the_old_or_the_new_file_is_whole(self, strace, path):
        moments = list(self.moments(strace, path, path.with_name("log")))
        assert {"flock", "openat", "write", "fsync"} <= {name for name, _when in moments}
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            outcomes = list(pool.map(functools.partial(self.killed_at, strace, path.parent), moments))
        killed = [data for returncode, data in outcomes if returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)]
        assert len(killed) > 0.9 * len(moments) > 30
        assert {OLD, NEW} == set(killed)

    def made_at(self, strace, directory, moment):
        """What is there if the store is killed at this moment while it makes two directories; then the next run makes them."""
        name, when = moment
        top = directory / f"{name}-{when}"
        top.mkdir()
        path = top / "etc" / "apptainer"
        done = run(*strace, "-e", f"trace={name}", "-e", f"inject={name}:signal=KILL:when={when}", *python(MAKE, path))
        there = {str(found.relative_to(top)): stat.S_IMODE(found.stat().st_mode) for found in top.rglob("*") if found.is_dir()}
        assert path.exists() or not (top / "etc").exists(), moment
        assert path.exists() is (there.get("etc/apptainer") == 0o755), (moment, there)
        assert run(*python(MAKE, path)).stderr == ""
        assert os.listdir(top) == ["etc"], moment
        assert os.listdir(top / "etc") == ["apptainer"], moment
        assert {stat.S_IMODE(found.stat().st_mode) for found in (top / "etc", path)} == {0o755}, moment
        assert set(os.listdir(path)) <= {store.LOCK_FILE}, moment
        return done.returncode

    def test_at_any_instant_a_directory_is_right_or_not_there(self, strace, path):
        """mkdir, chown and chmod in three steps left one that no user can search, for ever: the next run found its file in state."""
        moments = list(self.moments(strace, path.parent / "first" / "apptainer", path.with_name("log"), MAKE))
        assert {"mkdir", "fchmod"} <= {name.replace("mkdirat", "mkdir") for name, _when in moments}
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            outcomes = list(pool.map(functools.partial(self.made_at, strace, path.parent), moments))
        killed = [returncode for returncode in outcomes if returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)]
        assert len(killed) > 0.9 * len(moments) > 20

    @pytest.mark.parametrize("name, when, expected", [("/^rename", 1, OLD), ("fsync", 1, OLD), ("fsync", 2, NEW)])
    def test_around_the_rename(self, strace, path, name, when, expected):
        run(*strace, "-e", f"trace={name}", "-e", f"inject={name}:signal=KILL:when={when}", *python(REPLACE, path))
        assert path.read_bytes() == expected

    def test_the_lock_of_a_killed_process_is_free(self, path):
        with subprocess.Popen(python("with store.locked(path):\n    print(flush=True)\n    time.sleep(60)", path), stdout=subprocess.PIPE) as holder:
            holder.stdout.readline()
            assert "another task has kept" in run(*python("with store.locked(path, timeout=0): pass", path)).stderr
            holder.kill()
            holder.wait()
        assert run(*python("with store.locked(path, timeout=0): pass", path)).returncode == 0


class TestRefusedBySystem:
    def with_fault(self, strace, fault, path):
        return run(*strace, "-o", "/dev/null", "-e", f"trace={fault.split(':')[0]}", "-e", f"inject={fault}", *python(REPLACE, path))

    @pytest.mark.parametrize(
        "fault, words",
        [
            ("write:error=ENOSPC:when=1", "No space left on device. Free some space, and run again. The file is unchanged."),
            ("fsync:error=EIO:when=1", "Input/output error. Retry; if it persists, see the kernel logs of the node"),
            ("fsync:error=EDQUOT:when=1", "Disk quota exceeded. The disk quota is used up: free some space, and run again."),
            ("/^rename:error=ENOSPC", "No space left on device."),
            ("/^rename:error=ESTALE", "Stale file handle. Retry; if it persists, see the kernel logs of the node and of the file server."),
        ],
    )
    def test_before_the_new_file_is_there(self, strace, path, fault, words):
        assert self.with_fault(strace, fault, path).stdout.startswith(f"{path}: cannot write: {words}")
        assert path.read_bytes() == OLD
        assert leftovers(path.parent) == []

    @pytest.mark.parametrize(
        "fault, expected",
        [
            ("write:retval=100:when=1", NEW[100:]),  # strace writes none of these 100 bytes; the rest must follow
            ("fchown:error=EPERM", NEW),  # the group cannot be kept, and means nothing for a mode of 0644
            ("fsync:error=EINVAL:when=2", NEW),  # file systems that cannot flush a directory
        ],
    )
    def test_what_does_no_harm(self, strace, path, fault, expected):
        done = self.with_fault(strace, fault, path)
        assert (done.stdout, done.returncode) == ("", 0)
        assert path.read_bytes() == expected
        assert leftovers(path.parent) == []

    def test_after_the_new_file_is_there(self, strace, path):
        said = self.with_fault(strace, "fsync:error=EIO:when=2", path).stdout
        assert said.startswith(f"{path}: cannot flush its directory to disk: Input/output error.")
        assert said.endswith("The new file is in place, but a power failure may undo that.\n")
        assert path.read_bytes() == NEW

    @pytest.mark.parametrize("error", ["EBADF", "ENOLCK", "EOPNOTSUPP"])
    def test_no_locks_on_files(self, strace, path, error):
        """Each of ten processes is told so for the lock file, and takes the directory."""
        path.write_bytes(b"0\n")
        command = [*strace, "-e", "trace=flock", "-o", "/dev/null", "-e", f"inject=flock:error={error}:when=1", *python(COUNT, path, 1)]
        with concurrent.futures.ThreadPoolExecutor(10) as pool:
            for done in pool.map(lambda _: run(*command), range(10)):
                assert done.returncode == 0, done.stderr
        assert path.read_bytes() == b"10\n"


AFTER = """
def told(function, *arguments):
    try:
        return function(*arguments)
    except StoreError as exc:
        return str(exc)

def lock():
    with store.locked(path):
        return "locked"
"""


class TestRealDisks:
    """In a mount namespace: each script prints what it was told, and what is there afterwards."""

    def result(self, command, script, path):
        done = run(*command, *python(AFTER + script, path))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    @pytest.mark.parametrize(
        "options, fill",
        [
            (
                "size=64k",
                'with open(os.path.dirname(path) + "/filler", "wb", 0) as filler:\n    told_by = [filler.write(b"x" * 4096) for _ in range(13)]',
            ),
            ("nr_inodes=3", 'open(os.path.dirname(path) + "/filler", "w").close()'),
        ],
    )
    def test_a_full_disk(self, mounts, tmp_path, options, fill):
        path = tmp_path / "remote.yaml"
        script = f"""
open(path, "w").write("old")
{fill}
said = told(store.replace, store.Replacement(path, b"new " * 5000, lambda temporary: None))
print(json.dumps([said, open(path).read(), sorted(os.listdir(os.path.dirname(path)))]))
"""
        said, data, names = self.result(mounts(f"mount -t tmpfs -o {options} none {tmp_path}"), script, path)
        assert said == f"{path}: cannot write: No space left on device. Free some space, and run again. The file is unchanged."
        assert (data, names) == ("old", ["filler", "remote.yaml"])

    @pytest.mark.parametrize("inodes, fits", [(4, False), (5, False), (6, True)])
    def test_a_full_disk_while_the_second_of_two_files_is_prepared(self, mounts, run_module, tmp_path, inodes, fits):
        """One inode each for the directory, both files, the lock, and what is made anew: neither file is replaced if not all have room."""
        user, kept, python = tmp_path / "home" / ".apptainer", tmp_path / "kept", tmp_path / "python"
        user.mkdir(parents=True, mode=0o700)
        kept.mkdir()
        old = {"docker-config.json": '{"auths": {}}', "remote.yaml": 'Active: ""\nRemotes: {}\n'}
        make = "; ".join(f"printf '%s\\n' '{text.strip()}' > {user}/{name}" for name, text in old.items())
        prepare = mounts(f"mount -t tmpfs -o mode=700,nr_inodes={inodes} none {user}; {make}; chmod 600 {user}/*")
        script = f'{sys.executable} "$@"; rc=$?; cp -a {user}/. {kept}/; exit $rc'
        python.write_text(f"#!/bin/sh\nexec {shlex.join(prepare)} sh -c {shlex.quote(script)} sh \"$@\"\n")
        python.chmod(0o755)
        args = {"uri": "docker://r.example.org", "username": "alice", "password": "s3cret-number-one", "verify": "never", "sysconfdir": str(tmp_path)}
        done = run_module("apptainer_registry_login", args, python=envs.Node(envs.core("running"), python))
        assert done.result is not None, done.stderr
        found = {path.name: path.read_text() for path in kept.iterdir() if path.name != store.LOCK_FILE}
        assert found.keys() == old.keys()
        if fits:
            assert done.result["changed"]
            assert all("r.example.org" in text for text in found.values())
            return
        full = user / ("remote.yaml" if inodes == 5 else "docker-config.json")
        assert done.result["msg"] == f"{full}: cannot write: No space left on device. Free some space, and run again. The file is unchanged."
        assert {name: text.strip() for name, text in found.items()} == {name: text.strip() for name, text in old.items()}

    def test_a_read_only_disk(self, mounts, path):
        """What is in state already can be read and locked there, as on a node whose /etc is an image; what is not says why."""
        directory = path.parent
        script = """
state = store.read(path)
changes = [told(store.replace, store.Replacement(path, b"new", lambda temporary: None)), told(store.make_directory, path + ".d", 0o755)]
print(json.dumps([state.mode, lock(), told(store.make_directory, os.path.dirname(path), 0o755)] + changes))
"""
        command = mounts(f"mount --bind {directory} {directory}; mount -o remount,bind,ro {directory}")
        advice = "Read-only file system. Mount the file system writable, or make the change where its image is built."
        assert self.result(command, script, path) == [
            0o644,
            "locked",
            False,
            f"{path}: cannot write: {advice} The file is unchanged.",
            f"{path}.d: cannot create this directory: {advice}",
        ]
        assert os.listdir(directory) == ["remote.yaml"]

    def test_a_file_that_is_a_mount_point(self, mounts, path):
        replace = 'told(store.replace, store.Replacement(path, b"new", lambda temporary: None))'
        script = f"print(json.dumps([{replace}, os.listdir(os.path.dirname(path))]))"
        said, names = self.result(mounts(f"mount --bind {path} {path}"), script, path)
        assert said == (
            f"{path}: cannot write: Device or resource busy. If it is a mount point, as in a container, "
            "change the file that is mounted there. The file is unchanged."
        )
        assert names == ["remote.yaml"]

    def test_an_immutable_directory(self, path):
        if reason := refusal("chattr", "+i", str(path)):
            pytest.skip(reason)
        try:
            said = run(*python(AFTER + 'print(told(store.replace, store.Replacement(path, b"new", lambda temporary: None)))', path)).stdout
        finally:
            subprocess.run(["chattr", "-i", path], check=True)
        assert said == (
            f"{path}: cannot write: Operation not permitted. Not even root may do this: on NFS, run the task as the owner (become_user); "
            "elsewhere, check lsattr flags and SELinux denials. The file is unchanged.\n"
        )
        assert os.listdir(path.parent) == ["remote.yaml"]


ENDPOINT = {"scope": "global", "name": "site", "uri": "https://library.example.org", "verify": "never"}


class TestForeseenInCheckMode:
    """Check mode says what the real run would meet, in the same words, and neither changes anything."""

    @pytest.fixture
    def etc(self, tmp_path):
        (tmp_path / "etc" / "apptainer").mkdir(parents=True)
        path = tmp_path / "etc" / "apptainer" / "remote.yaml"
        path.write_text('Active: ""\nRemotes: {}\n')
        path.chmod(0o644)
        return path

    @pytest.mark.parametrize("attribute", ["i", "a"])
    @pytest.mark.parametrize("what", ["file", "directory", "directory of a directory to make"])
    def test_attributes(self, run_module, etc, tmp_path, attribute, what):
        if what == "directory of a directory to make":
            shutil.rmtree(etc.parent)
        flagged = {"file": etc, "directory": etc.parent}.get(what, etc.parent.parent)
        if reason := refusal("chattr", f"+{attribute}", str(flagged)):
            pytest.skip(reason)
        refusal.cache_clear()
        try:
            before = [etc.read_bytes() if etc.exists() else None, sorted(os.listdir(flagged if flagged.is_dir() else flagged.parent))]
            args = {"sysconfdir": str(tmp_path / "etc"), **ENDPOINT}
            foreseen, done = (run_module("apptainer_remote", args, check=check) for check in (True, False))
            after = [etc.read_bytes() if etc.exists() else None, sorted(os.listdir(flagged if flagged.is_dir() else flagged.parent))]
        finally:
            subprocess.run(["chattr", f"-{attribute}", flagged], check=True)
        word = {"i": "immutable", "a": "append-only"}[attribute]
        assert foreseen.result["msg"] == done.result["msg"] == (
            f"{etc}: cannot write: Operation not permitted. {flagged} is {word}: find out who made it so, or end that with "
            f"`chattr -{attribute} {flagged}`. The file is unchanged.")
        assert before == after
        assert not run_module("apptainer_remote", {"sysconfdir": str(tmp_path / "etc"), "scope": "global", "name": "x", "state": "absent"}).rc

    def in_a_mount(self, mounts, run_module, tmp_path, prepare, check, **options):
        """What a module says in a mount namespace of its own."""
        python = tmp_path / "python"
        python.write_text(f"#!/bin/sh\nexec {shlex.join(mounts(prepare))} {sys.executable} \"$@\"\n")
        python.chmod(0o755)
        node = envs.Node(envs.core("running"), python)
        done = run_module("apptainer_remote", {"sysconfdir": str(tmp_path / "etc"), **ENDPOINT, **options}, check=check, python=node)
        assert done.result is not None, done.stderr
        return done.result

    @pytest.mark.parametrize(("options", "fill", "backup", "fits"), [
        ("size=64k", "head -c 61440 /dev/zero > {0}/filler", False, False),
        ("size=64k", "head -c 53248 /dev/zero > {0}/filler", False, True),
        ("nr_inodes=3", "true", False, False), ("nr_inodes=4", "true", False, True),
        ("nr_inodes=4", "true", True, False), ("nr_inodes=6", "true", True, True),
    ])
    def test_a_full_disk(self, mounts, run_module, etc, tmp_path, options, fill, backup, fits):
        place = etc.parent
        text = 'Active: ""\\nRemotes: {}\\n'
        prepare = f"mount -t tmpfs -o mode=755,{options} none {place}; printf '{text}' > {etc}; chmod 644 {etc}; {fill.format(place)}"
        foreseen, done = (self.in_a_mount(mounts, run_module, tmp_path, prepare, check, backup=backup) for check in (True, False))
        if fits:
            assert foreseen["changed"] and done["changed"]
            return
        assert foreseen["msg"] == done["msg"] == (
            f"{etc}: cannot write: No space left on device. Free some space, and run again. The file is unchanged.")

    def test_what_is_in_state_is_fine_on_a_full_disk(self, mounts, run_module, etc, tmp_path):
        prepare = f"mount -t tmpfs -o mode=755,nr_inodes=2 none {etc.parent}; printf 'Active: \"\"\\nRemotes: {{}}\\n' > {etc}; chmod 644 {etc}"
        assert not self.in_a_mount(mounts, run_module, tmp_path, prepare, True, state="absent", uri=None)["changed"]

    def test_a_file_that_is_a_mount_point(self, mounts, run_module, etc, tmp_path):
        foreseen, done = (self.in_a_mount(mounts, run_module, tmp_path, f"mount --bind {etc} {etc}", check) for check in (True, False))
        assert foreseen["msg"] == done["msg"]
        assert "Device or resource busy. If it is a mount point, as in a container, change the file that is mounted there." in done["msg"]


class TestManyAtOnce:
    def test_no_change_is_lost(self, path):
        """The command line of Apptainer 1.5.3 keeps 39 of 300 changes made like this, and ruins every second file."""
        path.write_bytes(b"0\n")
        processes = [subprocess.Popen(python(COUNT, path, 10), stderr=subprocess.PIPE) for _process in range(30)]
        errors = [process.communicate()[1] for process in processes]
        assert errors == [b""] * 30
        assert path.read_bytes() == b"300\n"
        assert leftovers(path.parent) == []

    def test_a_reader_never_sees_a_part_of_a_file(self, path):
        """Three writers, of files of 28,000, 20,000 and 1,000,000 bytes; readers, ours and plain ones, without any lock."""
        write = "for number in range(60):\n    store.replace(store.Replacement(path, {!r} * {}, lambda temporary: None))"
        wholes = {b"old " * 7000, b"new " * 5000, b"y" * 1000000}
        writers = [subprocess.Popen(python(write.format(*whole), path)) for whole in ((b"old ", 7000), (b"new ", 5000), (b"y", 1000000))]
        seen = collections.Counter()
        while any(writer.poll() is None for writer in writers):
            seen[store.read(str(path)).data] += 1
            seen[path.read_bytes()] += 1
        assert [writer.returncode for writer in writers] == [0, 0, 0]
        assert set(seen) <= wholes
        assert sum(seen.values()) > 100
        assert len(seen) > 1


EVERYTHING = """
directory = os.path.dirname(path)
os.symlink("real/remote.yaml", path)
real = store.real_path(path)
made = store.make_directory(os.path.dirname(real), 0o700)
before = store.read(real)
with store.locked(real):
    store.replace(store.Replacement(real, b"new", lambda temporary: os.chmod(temporary, 0o644), before))
after = store.read(real)
try:
    store.real_path("/home/m\\u00fcller")
    said = ""
except StoreError as exc:
    said = str(exc)
print(json.dumps([real, made, before.data, after.data.decode(), after.mode, said]))
"""


@pytest.mark.parametrize("minor", [6, 8, 12])
def test_the_pythons_of_nodes(tmp_path, minor):
    """From end to end. Python 3.6 in the C locale has no name for a path with an umlaut, and says so instead of failing with a traceback."""
    interpreter = envs.find_python(minor)
    if interpreter is None:
        pytest.skip(f"needs python3.{minor}: none found on PATH or in pyenv")
    path = Path(os.path.realpath(tmp_path)) / "remote.yaml"
    done = run("env", "LC_ALL=C", "PYTHONCOERCECLOCALE=0", *python(EVERYTHING, path, interpreter=interpreter))
    assert done.stderr == ""
    real, made, before, after, mode, said = json.loads(done.stdout)
    assert (real, made, before, after, mode) == (str(path.parent / "real" / "remote.yaml"), True, None, "new", 0o644)
    assert ("not a possible path on this node" in said) == (minor == 6)
