# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading, and what is not read. Where it matters who runs it, the test needs root, and acts as root and as somebody else."""

import contextlib
import errno
import os
import socket
import time

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._files import config_file as store
from ansible_collections.hpc.apptainer.plugins.module_utils._files import reading
from support.filesystem import ALICE, BOB, ROOT, acting_as, directory_of, file_of, link_of, message_of, needs_root, nothing, raiser
from support.tables import table

ABSENT = store.FileState()
WHOLE = b"Active: site\n"


class TestRead:
    @pytest.mark.parametrize("data", table([
        ("no bytes", b""), ("a line", b"Active: x\n"), ("no text", b"\0\xff" * 100000), ("the largest", b"x" * store.MAX_BYTES)]))
    @pytest.mark.parametrize("mode", [0o600, 0o644, 0o4755], ids=oct)
    def test_a_file(self, tmp_path, data, mode):
        path = file_of(tmp_path / "remote.yaml", data=data, mode=mode)
        status = os.stat(path)
        assert store.read(str(path)) == store.FileState(data, mode, os.geteuid(), status.st_gid, 1, len(data), status.st_mtime_ns, status.st_ctime_ns)

    @pytest.mark.parametrize("name", ["remote.yaml", "missing/remote.yaml", "missing/too/remote.yaml"])
    def test_no_file(self, tmp_path, name):
        assert store.read(str(tmp_path / name)) == ABSENT

    def test_a_file_that_is_too_large(self, tmp_path):
        path = tmp_path / "remote.yaml"
        with open(str(path), "wb") as stream:
            stream.truncate(store.MAX_BYTES + 1)
        assert message_of(store.read, str(path)) == f"{path}: is larger than 16 MiB, so it is not a configuration file. Find out what wrote it."

    def test_a_directory(self, tmp_path):
        expected = ": is a directory where a regular file is expected. Move it away, or name another file."
        assert message_of(store.read, str(tmp_path)) == str(tmp_path) + expected
        assert message_of(store.read, "/") == "/" + expected

    def test_a_fifo_does_not_block(self, tmp_path):
        os.mkfifo(str(tmp_path / "remote.yaml"))
        assert "is a FIFO (named pipe) where a regular file is expected" in message_of(store.read, str(tmp_path / "remote.yaml"))

    def test_a_device(self):
        assert "is a device where" in message_of(store.read, "/dev/zero")

    def test_a_socket(self, tmp_path, monkeypatch):
        monkeypatch.chdir(str(tmp_path))
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as server:
            server.bind("remote.yaml")
            assert "cannot read: No such device" in message_of(store.read, str(tmp_path / "remote.yaml"))

    @pytest.mark.parametrize("target", ["file", "missing", "remote.yaml"])
    def test_a_link_that_was_not_resolved(self, tmp_path, target):
        file_of(tmp_path / "file")
        link = link_of(tmp_path / "remote.yaml", target)
        assert "became a symbolic link while this task ran" in message_of(store.read, str(link))

    def test_a_link_on_the_way_that_was_not_resolved(self, tmp_path):
        file_of(directory_of(tmp_path / "real") / "remote.yaml")
        link_of(tmp_path / "link", "real")
        assert "became a symbolic link while this task ran" in message_of(store.read, str(tmp_path / "link" / "remote.yaml"))

    def test_a_file_where_a_directory_should_be(self, tmp_path):
        file_of(tmp_path / "file")
        assert "cannot read: Not a directory. A directory on its path is a file" in message_of(store.read, str(tmp_path / "file" / "remote.yaml"))

    @needs_root
    def test_a_file_of_somebody_else(self, place):
        path = file_of(place / "remote.yaml", ALICE)
        with acting_as(BOB):
            assert message_of(store.read, str(path)) == (
                f"{path}: cannot read: Permission denied. Run the task as root or as the owner (become_user)."
            )

    @needs_root
    def test_a_readable_file_in_a_directory_that_is_only_searchable(self, place):
        path = file_of(directory_of(place / "etc", mode=0o711) / "remote.yaml", mode=0o644)
        with acting_as(BOB):
            assert store.read(str(path)).data == b"old\n"

    @pytest.mark.parametrize(
        "number, euid, advice",
        table([
            ("of root", errno.EACCES, 0, "Not even root may do this: on NFS, run the task as the owner (become_user); elsewhere, "
                                         "check lsattr flags and SELinux denials."),
            ("of a user", errno.EPERM, 1000, "Run the task as root or as the owner (become_user)."),
            ("of anybody", errno.EIO, 0, "Retry; if it persists, see the kernel logs of the node and of the file server."),
        ]),
    )
    def test_the_advice(self, tmp_path, monkeypatch, number, euid, advice):
        path = str(file_of(tmp_path / "remote.yaml"))
        monkeypatch.setattr(os, "geteuid", lambda: euid)
        monkeypatch.setattr(os, "fstat", raiser(OSError(number, os.strerror(number))))
        message = message_of(store.read, path)
        monkeypatch.undo()
        assert message == f"{path}: cannot read: {os.strerror(number)}. {advice}"

    def test_nothing_stays_open(self, tmp_path):
        path = str(file_of(tmp_path / "remote.yaml"))
        before = os.listdir("/proc/self/fd")
        store.read(path)
        store.read(str(tmp_path / "missing"))
        message_of(store.read, str(tmp_path))
        store.replace(store.Replacement(path, b"new", nothing))
        with store.locked(path):
            pass
        store.make_directory(str(tmp_path / "a/b"), 0o700)
        assert os.listdir("/proc/self/fd") == before

    @pytest.mark.parametrize("new", [WHOLE * 2, b"", WHOLE[:5]], ids=["longer", "nothing yet", "half"])
    def test_what_is_written_while_it_is_read_is_not_taken_for_old(self, tmp_path, monkeypatch, new):
        """Two pieces may be read, one of the old and one of the new text."""
        path = file_of(tmp_path / "remote.yaml", data=WHOLE)
        os.utime(path, (0, 0))
        really = os.fdopen

        def fdopen(*args, **options):
            path.write_bytes(new)
            return really(*args, **options)

        monkeypatch.setattr(os, "fdopen", fdopen)
        state = store.read(str(path))
        monkeypatch.undo()
        left = [WHOLE * 3]
        monkeypatch.setattr(time, "sleep", lambda _: left and path.write_bytes(left.pop()))
        assert store.settled(str(path), state).data == WHOLE * 3


@needs_root
@pytest.mark.parametrize(("directory", "mode", "owner", "links", "words"), table([
    # the owner of the directory, its mode, the owner of the file, its links
    ("bob's in bob's", BOB, 0o755, BOB, 2, ""),
    ("root's in bob's", BOB, 0o755, ROOT, 1, ""),
    ("root's in bob's, with another name", BOB, 0o755, ROOT, 2, "belongs to root and has 2 hard links, so it may be another file of root that "
     "nobody, the owner of its directory, gave this name, and is left alone. Find its other names with `find -xdev -samefile`, and remove this one."),
    ("alice's in bob's", BOB, 0o755, ALICE, 1, "belongs to user 54321, but its directory to nobody, so it may be a hard link to a file of user 54321 "
     "that somebody else put there, and is left alone. Move it away, or, if it is what belongs there, make it nobody's (chown)."),
    ("alice's in root's", ROOT, 0o755, ALICE, 2, ""),
    ("root's in root's", ROOT, 0o755, ROOT, 2, ""),
    ("alice's where all may write", ROOT, 0o1777, ALICE, 1, "make it root's (chown)"),
    ("alice's where a group may write", ROOT, 0o775, ALICE, 1, "make it root's (chown)"),
    ("root's where all may write", ROOT, 0o1777, ROOT, 2, ""),
]))
def test_root_leaves_alone_what_may_be_a_hard_link_to_a_file_of_others(place, directory, mode, owner, links, words):
    path = file_of(directory_of(place / "home", directory, mode) / "remote.yaml", owner)
    for number in range(1, links):
        os.link(path, place / str(number))
    assert store.read(str(path)).data == b"old\n"
    if words:
        assert words in message_of(store.read, str(path), refuse_foreign=True)
    else:
        assert store.read(str(path), refuse_foreign=True).data == b"old\n"


@needs_root
def test_to_others_the_kernel_says_what_they_may(place):
    path = file_of(directory_of(place / "home", BOB) / "remote.yaml", ALICE, mode=0o644)
    with acting_as(BOB):
        assert store.read(str(path), refuse_foreign=True).data == b"old\n"


class Clock:
    """Time that passes only while somebody sleeps. Whoever waits for a file meets, in turn, what others make of it while he sleeps."""

    def __init__(self, monkeypatch, path, *changes):
        self.now, self.path, self.pauses, self.changes = 1_000_000.0, path, [], list(changes)
        monkeypatch.setattr(time, "sleep", self.sleep)
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "time", lambda: self.now)

    def sleep(self, seconds):
        self.now += seconds
        self.pauses.append(seconds)
        if self.changes:
            change = self.changes.pop(0)
            if change is not None:
                self.write(change)

    def write(self, data, ago=0.0):
        """As who truncates and writes: both times of the file are those of the last write, as far as this file system lets us say so."""
        self.path.write_bytes(data)
        os.utime(self.path, ns=(0, int((self.now - ago) * 1e9)))
        return self.read()

    def read(self):
        """As that file system would say it: the time of a change can't be set."""
        return store.read(str(self.path))

    def settled(self, state):
        return store.settled(str(self.path), state)


class TestSettled:
    @pytest.fixture
    def clock(self, tmp_path, monkeypatch):
        # what the kernel says is the time of this very moment; here, all is written in place, at the time that utime() set
        real = store.read
        for module in (reading, store):
            monkeypatch.setattr(module, "read", lambda *args, **options: self.in_place(real(*args, **options)))
        return lambda *changes: Clock(monkeypatch, tmp_path / "remote.yaml", *changes)

    def in_place(self, state):
        return state._replace(ctime=state.mtime)

    @pytest.mark.parametrize("ago", [2.0, 3600.0])
    def test_what_is_older_costs_no_pause(self, clock, ago):
        clock = clock()
        state = clock.write(WHOLE, ago)
        assert (clock.settled(state), clock.pauses) == (state, [])

    def test_nor_does_what_is_not_there(self, clock):
        clock = clock()
        assert (clock.settled(clock.read()), clock.pauses) == (store.FileState(), [])

    def test_nor_does_what_replace_has_put_there(self, tmp_path, monkeypatch):
        path = tmp_path / "remote.yaml"
        store.replace(store.Replacement(str(path), WHOLE, nothing))
        state = store.read(str(path))
        monkeypatch.setattr(time, "sleep", raiser(AssertionError()))
        assert store.settled(str(path), state) == state

    @pytest.mark.parametrize("text", [WHOLE, b'{"auths": {}}'])
    def test_two_reads_that_agree(self, clock, text):
        clock = clock()
        state = clock.write(text, 1.9)
        assert (clock.settled(state), clock.pauses) == (state, [0.25])

    def test_an_empty_file_is_read_again_however_old_it_is(self, clock):
        clock = clock(WHOLE)
        assert clock.settled(clock.write(b"", 3600.0)).data == WHOLE
        assert clock.pauses == [0.25, 0.25]
        state = clock.write(b"", 3600.0)
        assert (clock.settled(state), clock.pauses) == (state, [0.25] * 3)

    @pytest.mark.parametrize("text", [b"", b"Active: si"])
    def test_what_has_no_end_is_given_more_time(self, clock, text):
        clock = clock()
        state = clock.write(text)
        assert (clock.settled(state), clock.pauses) == (state, [0.25] * 8)

    def test_times_of_another_clock(self, clock):
        """A file server's may be fast, and what is empty then is new for a long time."""
        clock = clock()
        state = clock.write(b"", -3600.0)
        assert (clock.settled(state), clock.pauses) == (state, [0.25] * 8)

    @pytest.mark.parametrize("gaps", [1, 4, 7])
    @pytest.mark.parametrize("text", [b"", WHOLE[:5]])
    def test_a_gap(self, clock, gaps, text):
        clock = clock(*[None] * (gaps - 1), WHOLE)
        assert clock.settled(clock.write(text)).data == WHOLE
        assert clock.pauses == [0.25] * (gaps + 1)

    def test_bytes_one_by_one(self, clock):
        clock = clock(*(WHOLE[:length] for length in range(1, len(WHOLE) + 1)))
        assert clock.settled(clock.write(b"")).data == WHOLE

    def test_the_same_bytes_at_another_time(self, clock):
        clock = clock(WHOLE, WHOLE)
        assert clock.settled(clock.write(WHOLE)).mtime == int((clock.now - 0.25) * 1e9)
        assert clock.pauses == [0.25] * 3

    def test_a_file_that_is_removed_or_replaced_meanwhile(self, clock):
        clock = clock()
        state = clock.write(b"")
        clock.path.unlink()
        assert (clock.settled(state), clock.pauses) == (store.FileState(), [0.25])

    def test_who_never_stops(self, clock):
        clock = clock(*(b"%d\n" % number for number in range(1000)))
        assert message_of(clock.settled, clock.write(b"")) == (
            f"{clock.path}: another program keeps writing this file, and did not pause for 30 seconds, so nothing was written. "
            f"Find it (`fuser -v {clock.path}`), and run again.")
        assert sum(clock.pauses) == 30.25
