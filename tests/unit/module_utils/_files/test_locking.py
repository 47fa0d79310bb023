# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who waits for whom, and what is said about a lock file. Where it matters who runs it, the test needs root, and acts as several users."""

import contextlib
import errno
import fcntl
import os
import stat
import threading
import time
from pathlib import Path

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import StoreError
from ansible_collections.hpc.apptainer.plugins.module_utils._files import config_file as store
from ansible_collections.hpc.apptainer.plugins.module_utils._files import locking
from support.filesystem import ALICE, BOB, ROOT, acting_as, directory_of, file_of, ids, link_of, message_of, mode_of, names, needs_root, raiser, umask
from support.tables import table


def lock(*paths, timeout=0):
    with store.locked(*map(str, paths), timeout=timeout):
        pass


def is_locked(path):
    try:
        lock(path)
    except StoreError as exc:
        assert "another task has kept it locked" in str(exc)
        return True
    return False


class TestLocked:
    def test_it_keeps_others_out_until_it_ends(self, tmp_path):
        path = tmp_path / "remote.yaml"
        with store.locked(str(path)):
            assert is_locked(path)
            assert is_locked(tmp_path / "docker-config.json")
        assert not is_locked(path)

    def test_it_ends_with_an_error(self, tmp_path):
        with pytest.raises(OSError, match="mine"), store.locked(str(tmp_path / "remote.yaml")):
            raise OSError("mine")
        assert not is_locked(tmp_path / "remote.yaml")

    def test_files_of_one_directory_share_a_lock(self, tmp_path):
        with store.locked(str(tmp_path / "remote.yaml"), str(tmp_path / "docker-config.json"), timeout=0):
            assert is_locked(tmp_path / "remote.yaml")

    def test_files_of_two_directories(self, tmp_path):
        paths = [str(directory_of(tmp_path / name) / "remote.yaml") for name in "ba"]
        with store.locked(*paths):
            assert all(is_locked(path) for path in paths)
        with store.locked(paths[0]):
            assert f"/b/{store.LOCK_FILE}: another task" in message_of(lock, *paths)
        for path in paths:
            os.unlink(os.path.join(os.path.dirname(path), store.LOCK_FILE))
        with store.locked(paths[1]):
            assert f"/a/{store.LOCK_FILE}: another task" in message_of(lock, *paths)
        assert names(tmp_path / "b") == []  # whatever the order they are named in, "a" comes first
        assert not any(is_locked(path) for path in paths)

    def test_it_leaves_a_private_empty_file(self, tmp_path):
        with umask(0):
            assert not is_locked(tmp_path / "remote.yaml")
        assert names(tmp_path) == [store.LOCK_FILE]
        assert (mode_of(tmp_path / store.LOCK_FILE), (tmp_path / store.LOCK_FILE).read_bytes()) == (0o600, b"")

    def test_it_waits(self, tmp_path):
        path = str(tmp_path / "remote.yaml")
        holding, done = threading.Event(), []

        def hold():
            with store.locked(path):
                holding.set()
                time.sleep(0.4)
                done.append(True)

        thread = threading.Thread(target=hold)
        thread.start()
        assert holding.wait(10)
        with store.locked(path, timeout=20):
            assert done == [True]
        thread.join()

    def test_it_does_not_wait_for_ever(self, tmp_path, monkeypatch):
        path = str(tmp_path / "remote.yaml")
        with store.locked(path):
            slept = []
            monkeypatch.setattr(time, "monotonic", lambda: sum(slept))
            monkeypatch.setattr(time, "sleep", slept.append)
            message = message_of(lock, path, timeout=0.3)
        assert slept == [0.01, 0.02, 0.04, 0.08, 0.16]  # the last one ends beyond the limit
        assert message == (
            f"{tmp_path}/{store.LOCK_FILE}: another task has kept it locked for 0.3 seconds. "
            f"Wait for it, or find it with `fuser -v {tmp_path}/{store.LOCK_FILE}`, and run again."
        )

    def test_a_missing_directory(self, tmp_path):
        assert message_of(lock, tmp_path / "a/remote.yaml") == (
            f"{tmp_path}/a: cannot open this directory to lock {store.LOCK_FILE} in it: No such file or directory. Its directory is missing: "
            "create it, or find out what removed it.")

    @pytest.mark.parametrize("number", [errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS], ids=errno.errorcode.get)
    def test_without_locks_on_files_it_locks_the_directory(self, tmp_path, monkeypatch, number):
        really = fcntl.flock

        def flock(fd, operation):
            if stat.S_ISREG(os.fstat(fd).st_mode):
                raise OSError(number, os.strerror(number))
            really(fd, operation)

        monkeypatch.setattr(fcntl, "flock", flock)
        with store.locked(str(tmp_path / "remote.yaml")):
            assert is_locked(tmp_path / "remote.yaml")
        assert not is_locked(tmp_path / "remote.yaml")

    def test_without_any_locks_it_says_so(self, tmp_path, monkeypatch):
        monkeypatch.setattr(fcntl, "flock", raiser(OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))))
        assert message_of(lock, tmp_path / "remote.yaml").startswith(f"{tmp_path}/{store.LOCK_FILE}: cannot lock: No locks available.")

    @pytest.mark.parametrize(("make", "kind"), table([
        ("a link to a file", lambda path: link_of(path, file_of(path.parent / "other")), "a symbolic link"),
        ("a link to nothing", lambda path: link_of(path, "elsewhere"), "a symbolic link"),
        ("a directory", Path.mkdir, "a directory"),
        ("a FIFO", os.mkfifo, "a FIFO (named pipe)"),
        ("a socket", lambda path: os.mknod(path, stat.S_IFSOCK), "a socket"),
    ]))
    def test_something_else_in_its_place(self, tmp_path, make, kind):
        path = tmp_path / store.LOCK_FILE
        make(path)
        before = names(tmp_path)
        assert message_of(lock, tmp_path / "remote.yaml") == (
            f"{path}: is {kind}, where these modules keep their lock, an empty regular file. Remove it, and run again.")
        assert names(tmp_path) == before

    @needs_root
    def test_a_device_in_its_place(self, place):
        path = place / store.LOCK_FILE
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
        assert f"{path}: is a device, where these modules keep their lock" in message_of(lock, place / "remote.yaml")

    def test_something_else_that_takes_its_place(self, tmp_path, monkeypatch):
        """After the first look."""
        (tmp_path / store.LOCK_FILE).mkdir()
        monkeypatch.setattr(locking, "status_of", lambda *_: None)
        assert f"{store.LOCK_FILE}: cannot lock: Is a directory." in message_of(lock, tmp_path / "remote.yaml")
        (tmp_path / store.LOCK_FILE).rmdir()
        os.mkfifo(tmp_path / store.LOCK_FILE)
        assert f"{store.LOCK_FILE}: is a FIFO (named pipe), where" in message_of(lock, tmp_path / "remote.yaml")

    @needs_root
    @pytest.mark.parametrize(("owner", "data", "links", "given"), table([
        ("left by root, which was killed", ROOT, b"", 1, True), ("somebody else's", ALICE, b"", 1, True),
        ("another name of a file", ROOT, b"", 2, False), ("not empty", ROOT, b"secret", 1, False),
    ]))
    def test_root_gives_it_to_the_owner_of_the_directory(self, place, owner, data, links, given):
        path = file_of(directory_of(place / "home", BOB, 0o700) / store.LOCK_FILE, owner, data)
        for number in range(1, links):
            os.link(path, place / str(number))
        lock(path)
        assert ids(path) == ((BOB, BOB) if given else (owner, owner))

    @needs_root
    @pytest.mark.parametrize("number", [errno.EPERM, errno.EROFS, errno.EIO], ids=errno.errorcode.get)
    @pytest.mark.parametrize("is_new", [False, True], ids=["it is there", "it is new"])
    def test_nothing_is_written_where_it_cannot_be_given(self, place, monkeypatch, number, is_new):
        """Or it would stay root's until something else changes: a run that changes nothing does not look at it."""
        path = directory_of(place / "home", BOB, 0o700) / store.LOCK_FILE
        if not is_new:
            file_of(path, ROOT, b"")
        monkeypatch.setattr(os, "fchown", raiser(OSError(number, os.strerror(number))))
        assert message_of(lock, path).startswith(f"{path}: cannot give this lock file to the owner of its directory: {os.strerror(number)}. ")
        monkeypatch.undo()
        lock(path)
        assert ids(path) == (BOB, BOB)

    @needs_root
    @pytest.mark.parametrize(("directory", "owner", "mode", "runs_as", "advice"), table([
        ("root's in bob's", BOB, ROOT, 0o600, BOB,
         "It belongs to root, but its directory to nobody. Give it to nobody, as root: chown 65534 {} (any task of these modules that "
         "runs as root and changes a file there does that)"),
        ("bob's in bob's, for alice", BOB, BOB, 0o600, ALICE, "Run the task as root or as nobody, the owner of its directory (become_user)."),
        ("root's in root's", ROOT, ROOT, 0o600, BOB, "Run the task as root, the owner of its directory (become_user)."),
        ("his own with another mode", BOB, BOB, 0o400, BOB, "Its mode is 0400. Correct that: chmod 0600 {}"),
    ]))
    def test_what_is_said_where_it_may_not_be_opened(self, place, directory, owner, mode, runs_as, advice):
        path = file_of(directory_of(place / "home", directory) / store.LOCK_FILE, owner, b"", mode)
        with acting_as(runs_as):
            assert message_of(lock, path) == f"{path}: cannot lock: Permission denied. {advice.format(path)}"

    @needs_root
    def test_what_is_said_where_it_may_not_be_made(self, place):
        with acting_as(BOB):
            assert message_of(lock, place / "remote.yaml") == (
                f"{place}/{store.LOCK_FILE}: cannot lock: Permission denied. Run the task as root or as the owner (become_user).")

    def test_what_is_said_to_root_where_not_even_root_may_open_it(self, tmp_path, monkeypatch):
        path = file_of(tmp_path / store.LOCK_FILE, data=b"")
        monkeypatch.setattr(os, "geteuid", lambda: ROOT)
        monkeypatch.setattr(locking, "open_nofollow", raiser(PermissionError(errno.EACCES, "Permission denied")))
        assert message_of(lock, path).startswith(f"{path}: cannot lock: Permission denied. Not even root may do this: on NFS,")

    @needs_root
    def test_root_and_the_owner_of_the_directory_share_it(self, place):
        path = directory_of(place / "home", BOB, 0o700) / "remote.yaml"
        with store.locked(str(path)):
            assert ids(path.parent / store.LOCK_FILE) == (BOB, BOB)
            with acting_as(BOB):
                assert is_locked(path)
        with acting_as(BOB), store.locked(str(path)), acting_as_root_again():
            assert is_locked(path)

    @needs_root
    def test_nobody_else_can_keep_it(self, place):
        """Whoever may read /etc/apptainer could keep a lock on the directory, and so the configuration of the node as it is."""
        path = directory_of(place / "etc") / "remote.yaml"
        assert not is_locked(path)
        with acting_as(BOB):
            assert message_of(lock, path) == (
                f"{path.parent}/{store.LOCK_FILE}: cannot lock: Permission denied. Run the task as root, the owner of its directory (become_user).")
        fd = os.open(str(path.parent), os.O_RDONLY)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            assert not is_locked(path)
        finally:
            os.close(fd)


@contextlib.contextmanager
def acting_as_root_again():
    uid = os.geteuid()
    os.seteuid(ROOT)
    try:
        yield
    finally:
        os.seteuid(uid)
