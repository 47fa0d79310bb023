# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The store, on real files. Where it matters who runs it, the test needs root, and acts as root and as somebody else."""

import contextlib
import errno
import fcntl
import os
import shutil
import socket
import stat
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import StoreError
from ansible_collections.hpc.apptainer.plugins.module_utils._files import config_file as store
from support.tables import table

ROOT = 0
ALICE = 54321
BOB = 65534
LAB = 54399  # a group


def several_users():
    """Root of a container may have no other users to act as."""
    with tempfile.TemporaryDirectory() as directory, contextlib.suppress(OSError):
        os.chown(directory, ALICE, LAB)
        os.chown(directory, BOB, BOB)
        return os.geteuid() == ROOT
    return False


needs_root = pytest.mark.skipif(not several_users(), reason="acts as several users: needs root")

ABSENT = store.FileState(None, None, None, None)


@pytest.fixture
def place():
    """A directory that every user can reach, unlike tmp_path."""
    directory = Path(os.path.realpath(tempfile.mkdtemp(prefix="store-")))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(str(directory))


@contextlib.contextmanager
def acting_as(uid, groups=()):
    """The kernel checks files against the effective ids, and drops root's capabilities with them."""
    before = os.getgroups()
    os.setgroups(list(groups))
    os.setegid(uid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(ROOT)
        os.setegid(ROOT)
        os.setgroups(before)


@contextlib.contextmanager
def umask(value):
    before = os.umask(value)
    try:
        yield
    finally:
        os.umask(before)


def directory_of(path, uid=None, mode=0o755):
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(mode)
    if uid is not None:
        os.chown(str(path), uid, uid)
    return path


def file_of(path, uid=None, data=b"old\n", mode=0o600, gid=None):
    path.write_bytes(data)
    path.chmod(mode)
    if uid is not None:
        os.chown(str(path), uid, uid if gid is None else gid)
    return path


def link_of(path, target, uid=None):
    path.symlink_to(target)
    if uid is not None:
        os.lchown(str(path), uid, uid)
    return path


def ids(path):
    status = os.lstat(str(path))
    return status.st_uid, status.st_gid


def mode_of(path):
    return stat.S_IMODE(os.lstat(str(path)).st_mode)


def names(directory):
    return sorted(entry for entry in os.listdir(str(directory)))


def nothing(path):
    """A prepare that does nothing."""


def raiser(error):
    def raise_it(*_args, **_kwargs):
        raise error

    return raise_it


def message_of(function, *args, **kwargs):
    with pytest.raises(StoreError) as caught:
        function(*args, **kwargs)
    return str(caught.value)


def lock(*paths, timeout=0):
    with store.locked(*map(str, paths), timeout=timeout):
        pass


def is_locked(path):
    try:
        lock(path)
    except StoreError as exc:
        assert "another task has kept this directory locked" in str(exc)
        return True
    return False


class TestRealPath:
    @pytest.mark.parametrize(
        "path, expected",
        [
            ("remote.yaml", "remote.yaml"),
            ("./sub//../remote.yaml", "remote.yaml"),
            ("missing/remote.yaml", "missing/remote.yaml"),
            ("missing/../remote.yaml", "remote.yaml"),
            ("beside", "remote.yaml"),
            ("below", "sub/file"),
            ("chain", "remote.yaml"),
            ("absolute", "remote.yaml"),
            ("dangling", "sub/missing/remote.yaml"),
            ("directory/file", "sub/file"),
            ("directory/../remote.yaml", "remote.yaml"),
            ("directory/", "sub"),
            ("directory/missing", "sub/missing"),
        ],
    )
    def test_finds_the_real_file(self, tmp_path, monkeypatch, path, expected):
        tmp_path = Path(os.path.realpath(str(tmp_path)))
        file_of(directory_of(tmp_path / "sub") / "file")
        file_of(tmp_path / "remote.yaml")
        for name, target in (
            ("beside", "remote.yaml"),
            ("below", "sub/file"),
            ("chain", "./beside"),
            ("absolute", "//" + str(tmp_path / "remote.yaml")),
            ("dangling", "sub/missing/remote.yaml"),
            ("directory", "sub"),
        ):
            link_of(tmp_path / name, target)
        monkeypatch.chdir(str(tmp_path))
        assert store.real_path(path) == str(tmp_path / expected)
        assert store.real_path(str(tmp_path) + "/" + path) == str(tmp_path / expected)
        assert store.real_path(store.real_path(path)) == store.real_path(path)

    def test_the_root_directory_is_itself(self):
        assert store.real_path("/") == store.real_path("/..") == "/"

    @pytest.mark.parametrize("links", [{"a": "a"}, {"a": "b", "b": "a"}, {"a": "b/x", "b": "a/x"}, {"a": "./b", "b": "./a"}], ids=str)
    def test_a_loop_of_links(self, tmp_path, links):
        for name, target in links.items():
            link_of(tmp_path / name, target)
        message = message_of(store.real_path, str(tmp_path / "a"))
        assert message.endswith("/a: its symbolic links form a loop. Remove one of them.")

    def test_links_that_multiply_end_soon(self, tmp_path):
        """Each doubles the number of links to follow: 2 to the power of 30 in all."""
        for number in range(30):
            link_of(tmp_path / f"l{number}", f"l{number + 1}/../l{number + 1}")
        (tmp_path / "l30").mkdir()
        assert "form a loop" in message_of(store.real_path, str(tmp_path / "l0"))

    def test_forty_links_are_followed_as_linux_does(self, tmp_path):
        for number in range(40):
            link_of(tmp_path / f"l{number}", f"l{number + 1}")
        file_of(tmp_path / "l40")
        (tmp_path / "l0").read_bytes()
        assert store.real_path(str(tmp_path / "l0")).endswith("/l40")

    @pytest.mark.parametrize("path", ["/a\0b", "/tmp/\ud800"])
    def test_an_impossible_path(self, path):
        assert "not a possible path" in message_of(store.real_path, path)

    def test_a_file_where_a_directory_should_be(self, tmp_path):
        file_of(tmp_path / "file")
        path = str(tmp_path / "file" / "remote.yaml")
        assert message_of(store.real_path, path) == (
            f"{path}: cannot find the file: Not a directory. A directory on its path is a file, or became a symbolic link while this task ran: "
            "find out what changes it."
        )

    @needs_root
    def test_a_directory_that_may_not_be_searched(self, place):
        directory_of(place / "alice", ALICE, 0o700)
        path = str(place / "alice" / "remote.yaml")
        with acting_as(BOB):
            assert message_of(store.real_path, path) == (
                f"{path}: cannot find the file: Permission denied. Run the task as root or as the owner (become_user)."
            )


# what, who owns the link, its directory's mode, where it leads, who owns what is there; is it followed?
FILE_LINKS = [
    ("root's to root's, beside it", ROOT, 0o755, "/beside", ROOT, True),
    ("root's to bob's, beside it", ROOT, 0o755, "/beside", BOB, True),
    ("bob's to root's, beside it", BOB, 0o755, "/beside", ROOT, True),
    ("bob's to root's, below its directory", BOB, 0o755, "/sub/below", ROOT, True),
    ("bob's to root's, in a sticky directory", BOB, 0o1777, "/beside", ROOT, False),
    ("bob's to bob's, in a sticky directory", BOB, 0o1777, "/beside", BOB, True),
    ("root's to root's, outside", ROOT, 0o755, "/../outside", ROOT, True),
    ("root's to bob's, outside", ROOT, 0o755, "/../outside", BOB, False),
    ("bob's to root's, outside", BOB, 0o755, "/../outside", ROOT, False),
    ("bob's to alice's, outside", BOB, 0o755, "/../outside", ALICE, False),
    ("bob's to bob's, outside", BOB, 0o755, "/../outside", BOB, True),
    ("bob's to alice's, in a directory whose name begins the same", BOB, 0o755, "/../home-and-more/outside", ALICE, False),
    ("bob's to root's, outside by another link", BOB, 0o755, "/directory/outside", ROOT, False),
]
USERS = {"ids": {ROOT: "root", BOB: "bob", ALICE: "alice"}.get}


@needs_root
class TestWhoseLinksAreFollowed:
    @pytest.mark.parametrize("runs_as", [ROOT, BOB], **USERS)
    @pytest.mark.parametrize("link_owner, mode, target, target_owner, followed", table(FILE_LINKS))
    def test_of_a_file(self, place, runs_as, link_owner, mode, target, target_owner, followed):
        home = directory_of(place / "home", link_owner, mode)
        directory_of(home / "sub")
        directory_of(place / "home-and-more")
        link_of(home / "directory", "..", link_owner)
        file_of(Path(os.path.realpath(str(home) + target)), target_owner)
        link = link_of(home / "remote.yaml", str(home) + target, link_owner)
        with acting_as(runs_as):
            if followed:
                assert store.real_path(str(link)) == os.path.realpath(str(home) + target)
            else:
                message_of(store.real_path, str(link))

    def test_the_refusal_says_what_and_who(self, place, monkeypatch):
        monkeypatch.setattr(store.pwd, "getpwuid", lambda uid: {BOB: type("", (), {"pw_name": "bob"})}[uid])
        link = link_of(directory_of(place / "home", BOB) / "remote.yaml", "../shadow", BOB)
        file_of(place / "shadow", ALICE)
        assert message_of(store.real_path, str(link)) == (
            "{}: is a symbolic link that belongs to bob, but {} belongs to user 54321, so it is not followed. "
            "Give both the same owner (chown -h), or name the target as the file to manage.".format(link, place / "shadow")
        )

    @pytest.mark.parametrize("parent_owner, followed", table([("bob's", BOB, True), ("alice's", ALICE, False), ("root's", ROOT, False)]))
    def test_to_nowhere_counts_by_the_nearest_directory(self, place, parent_owner, followed):
        directory_of(place / "scratch", parent_owner)
        link = link_of(directory_of(place / "home", BOB) / "remote.yaml", str(place / "scratch/a/b/remote.yaml"), BOB)
        if followed:
            assert store.real_path(str(link)) == str(place / "scratch/a/b/remote.yaml")
        else:
            assert f"but {place}/scratch/a/b/remote.yaml belongs to" in message_of(store.real_path, str(link))

    def test_every_link_of_a_chain_counts(self, place):
        """Bob's link to his link to a file of root; and root's link to bob's link to a file of root."""
        home = directory_of(place / "home", BOB)
        shadow = file_of(place / "shadow", ROOT)
        link_of(directory_of(place / "scratch", BOB) / "second", str(shadow), BOB)
        for name, owner in (("first", BOB), ("third", ROOT)):
            link = link_of(home / name, str(place / "scratch/second"), owner)
            assert message_of(store.real_path, str(link)).startswith(f"{place}/scratch/second: is a symbolic link that belongs to ")

    @pytest.mark.parametrize(
        "runs_as, link_owner, target_owner, followed",
        table([
            ("as root, root's to bob's", ROOT, ROOT, BOB, True),  # /home/bob -> /lustre/bob
            ("as root, bob's to bob's", ROOT, BOB, BOB, True),
            ("as root, bob's to root's", ROOT, BOB, ROOT, False),
            ("as root, bob's to alice's", ROOT, BOB, ALICE, False),
            ("as bob, root's to alice's", BOB, ROOT, ALICE, True),
            ("as bob, bob's to alice's", BOB, BOB, ALICE, True),  # the kernel says what bob may do there
            ("as bob, alice's to root's", BOB, ALICE, ROOT, False),
        ]),
    )
    def test_of_a_directory(self, place, runs_as, link_owner, target_owner, followed):
        directory_of(place / "target", target_owner)
        link = link_of(directory_of(place / "home") / ".apptainer", str(place / "target"), link_owner)
        with acting_as(runs_as):
            if followed:
                assert store.real_path(str(link / "remote.yaml")) == str(place / "target/remote.yaml")
            else:
                message_of(store.real_path, str(link / "remote.yaml"))


class TestRead:
    @pytest.mark.parametrize("data", table([
        ("no bytes", b""), ("a line", b"Active: x\n"), ("no text", b"\0\xff" * 100000), ("the largest", b"x" * store.MAX_BYTES)]))
    @pytest.mark.parametrize("mode", [0o600, 0o644, 0o4755], ids=oct)
    def test_a_file(self, tmp_path, data, mode):
        path = file_of(tmp_path / "remote.yaml", data=data, mode=mode)
        assert store.read(str(path)) == store.FileState(data, mode, os.geteuid(), os.stat(str(path)).st_gid)

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
        assert "is a device or pipe where" in message_of(store.read, str(tmp_path / "remote.yaml"))

    def test_a_device(self):
        assert "is a device or pipe where" in message_of(store.read, "/dev/zero")

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
        monkeypatch.setattr(store.os, "geteuid", lambda: euid)
        monkeypatch.setattr(store.os, "fstat", raiser(OSError(number, os.strerror(number))))
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


class TestReplace:
    @pytest.mark.parametrize("data", table([("no bytes", b""), ("a line", b"new\n"), ("no text", b"\0\xff" * 1000000)]))
    @pytest.mark.parametrize("exists", [True, False], ids=["in an old file", "in a new file"])
    def test_the_data_arrives(self, tmp_path, data, exists):
        path = tmp_path / "remote.yaml"
        if exists:
            file_of(path)
        store.replace(store.Replacement(str(path), data, nothing))
        assert path.read_bytes() == data
        assert names(tmp_path) == ["remote.yaml"]

    @pytest.mark.parametrize("mask", [0o000, 0o077], ids=oct)
    @pytest.mark.parametrize("exists", [True, False], ids=["an old file", "a new file"])
    def test_it_is_private_until_prepared(self, tmp_path, mask, exists):
        path = tmp_path / "remote.yaml"
        if exists:
            file_of(path, mode=0o666)
        seen = []

        def prepare(temporary):
            seen.append((mode_of(temporary), Path(temporary).read_bytes(), path.exists() and path.read_bytes()))
            seen.append(temporary)
            os.chmod(temporary, 0o644)

        with umask(mask):
            store.replace(store.Replacement(str(path), b"new\n", prepare))
        assert seen[0] == (0o600, b"new\n", b"old\n" if exists else False)
        assert seen[1].startswith(f"{tmp_path}/.remote.yaml.ansible-")
        assert mode_of(path) == 0o644

    def test_without_a_mode_it_stays_private(self, tmp_path):
        path = file_of(tmp_path / "remote.yaml", mode=0o666)
        store.replace(store.Replacement(str(path), b"new\n", nothing))
        assert mode_of(path) == 0o600

    @pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), ValueError("no"), StoreError("no")], ids=repr)
    def test_whatever_prepare_raises_changes_nothing(self, tmp_path, error):
        path = file_of(tmp_path / "remote.yaml")
        with pytest.raises(type(error)) as caught:
            store.replace(store.Replacement(str(path), b"new\n", raiser(error)))
        assert caught.value is error
        assert names(tmp_path) == ["remote.yaml"]
        assert path.read_bytes() == b"old\n"

    def test_a_system_error_of_prepare_is_explained(self, tmp_path):
        path = file_of(tmp_path / "remote.yaml")
        message = message_of(store.replace, store.Replacement(str(path), b"new\n", raiser(OSError("chown went wrong"))))
        assert message == (
            f"{path}: cannot write: chown went wrong. Retry; if it persists, see the kernel logs of the node and of the file server."
            " The file is unchanged."
        )
        assert names(tmp_path) == ["remote.yaml"]

    @pytest.mark.parametrize(
        "function, number, advice",
        table([
            ("a full disk", "fsync", errno.ENOSPC, "Free some space, and run again."),
            ("a quota", "fsync", errno.EDQUOT, "The disk quota is used up: free some space, and run again."),
            ("a mount point", "replace", errno.EBUSY, "If it is a mount point, as in a container, change the file that is mounted there."),
            ("a read-only disk", "replace", errno.EROFS, "Mount the file system writable, or make the change where its image is built."),
        ]),
    )
    def test_system_errors_change_nothing(self, tmp_path, monkeypatch, function, number, advice):
        path = file_of(tmp_path / "remote.yaml")
        monkeypatch.setattr(store.os, function, raiser(OSError(number, os.strerror(number))))
        message = message_of(store.replace, store.Replacement(str(path), b"secret\n", nothing))
        assert message == f"{path}: cannot write: {os.strerror(number)}. {advice} The file is unchanged."
        assert names(tmp_path) == ["remote.yaml"]
        assert path.read_bytes() == b"old\n"

    def test_the_data_is_on_disk_before_it_is_visible_and_the_name_after(self, tmp_path, monkeypatch):
        path = file_of(tmp_path / "remote.yaml")
        order = []
        really = {name: getattr(os, name) for name in ("fsync", "replace")}

        def fsync(fd):
            order.append("fsync directory" if stat.S_ISDIR(os.fstat(fd).st_mode) else f"fsync {os.fstat(fd).st_size} bytes")
            really["fsync"](fd)

        def rename(*args, **kwargs):
            order.append("rename")
            really["replace"](*args, **kwargs)

        monkeypatch.setattr(store.os, "fsync", fsync)
        monkeypatch.setattr(store.os, "replace", rename)
        store.replace(store.Replacement(str(path), b"new\n", lambda _: order.append("prepare")))
        assert order == ["prepare", "fsync 4 bytes", "rename", "fsync directory"]

    @pytest.mark.parametrize("number, fails", table([("EINVAL", errno.EINVAL, False), ("EBADF", errno.EBADF, False), ("EIO", errno.EIO, True)]))
    def test_a_directory_that_cannot_be_flushed(self, tmp_path, monkeypatch, number, fails):
        path = file_of(tmp_path / "remote.yaml")
        really = os.fsync

        def fsync(fd):
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                raise OSError(number, os.strerror(number))
            really(fd)

        monkeypatch.setattr(store.os, "fsync", fsync)
        if fails:
            message = message_of(store.replace, store.Replacement(str(path), b"new\n", nothing))
            assert "cannot flush its directory to disk" in message
            assert message.endswith("The new file is in place, but a power failure may undo that.")
        else:
            store.replace(store.Replacement(str(path), b"new\n", nothing))
        assert path.read_bytes() == b"new\n"

    def test_a_directory_in_the_way(self, tmp_path):
        path = directory_of(tmp_path / "remote.yaml")
        assert "cannot write: Is a directory." in message_of(store.replace, store.Replacement(str(path), b"new\n", nothing))
        assert names(tmp_path) == ["remote.yaml"]

    def test_a_missing_directory(self, tmp_path):
        missing = store.Replacement(str(tmp_path / "a/remote.yaml"), b"", nothing)
        assert "cannot write: No such file or directory." in message_of(store.replace, missing)

    def test_a_name_that_leaves_no_room_for_a_temporary_one(self, tmp_path):
        path = file_of(tmp_path / ("x" * 250))
        assert "File name too long" in message_of(store.replace, store.Replacement(str(path), b"", nothing))
        assert path.read_bytes() == b"old\n"

    def test_a_temporary_file_that_was_planted(self, tmp_path, monkeypatch):
        """Nobody can guess its name; if somebody did, root would not write into what he put there."""
        path, victim = file_of(tmp_path / "remote.yaml"), file_of(tmp_path / "victim")
        monkeypatch.setattr(store.os, "urandom", bytes)
        os.link(str(victim), str(tmp_path / (".remote.yaml.ansible-" + "00" * 8)))
        assert "cannot write: File exists." in message_of(store.replace, store.Replacement(str(path), b"new\n", nothing))
        assert (path.read_bytes(), victim.read_bytes()) == (b"old\n", b"old\n")

    def test_what_is_unchanged_since_it_was_read_is_replaced(self, tmp_path):
        path = tmp_path / "remote.yaml"
        store.replace(store.Replacement(str(path), b"one\n", nothing, store.read(str(path))))
        store.replace(store.Replacement(str(path), b"two\n", nothing, before=store.read(str(path))))
        assert path.read_bytes() == b"two\n"

    @pytest.mark.parametrize(
        "before, intruder",
        table([
            ("written", b"old\n", lambda path: path.write_bytes(b"theirs\n")),
            ("mode changed", b"old\n", lambda path: path.chmod(0o666)),
            ("removed", b"old\n", lambda path: path.unlink()),
            ("created", None, lambda path: path.write_bytes(b"theirs\n")),
        ]),
    )
    def test_what_somebody_changed_meanwhile_is_kept(self, tmp_path, before, intruder):
        path = tmp_path / "remote.yaml"
        if before is not None:
            file_of(path, data=before)
        state = store.read(str(path))
        message = message_of(store.replace, store.Replacement(str(path), b"ours\n", lambda _: intruder(path), state))
        assert message == f"{path}: was changed by someone else while this task ran, so it is left as it is now. Run again."
        assert not path.exists() or path.read_bytes() != b"ours\n"
        assert [name for name in names(tmp_path) if "ansible" in name] == []

    def test_remains_of_a_killed_run_are_removed_after_an_hour(self, tmp_path):
        path = file_of(tmp_path / "remote.yaml")
        old, young = tmp_path / ".remote.yaml.ansible-0123", tmp_path / ".remote.yaml.ansible-4567"
        others = tmp_path / ".docker-config.json.ansible-0123"
        for remains in (old, young, others):
            file_of(remains)
        for remains in (old, others):
            os.utime(str(remains), (time.time() - 3700, time.time() - 3700))
        store.replace(store.Replacement(str(path), b"new\n", nothing))
        assert names(tmp_path) == [others.name, young.name, "remote.yaml"]

    def test_remains_that_disappear_meanwhile_do_no_harm(self, tmp_path, monkeypatch):
        path = file_of(tmp_path / "remote.yaml")
        monkeypatch.setattr(store.os, "listdir", lambda _: [".remote.yaml.ansible-0123"])
        store.replace(store.Replacement(str(path), b"new\n", nothing))
        assert path.read_bytes() == b"new\n"

    def test_no_message_contains_the_data(self, tmp_path, monkeypatch):
        path = file_of(tmp_path / "remote.yaml", data=b"old-token")
        for number in range(1, 134):
            monkeypatch.setattr(store.os, "replace", raiser(OSError(number, os.strerror(number))))
            with pytest.raises(StoreError) as caught:
                store.replace(store.Replacement(str(path), b"new-token", nothing, store.read(str(path))))
            assert "-token" not in f"{caught.value!r} {caught.value.__cause__!r}"


@needs_root
class TestOwners:
    @pytest.mark.parametrize("uid, gid", table([
        ("root's", ROOT, ROOT), ("root's and the lab's", ROOT, LAB), ("bob's", BOB, BOB), ("bob's and the lab's", BOB, LAB)]))
    def test_root_keeps_those_of_the_file(self, place, uid, gid):
        path = file_of(directory_of(place / "d", ALICE) / "remote.yaml", uid, gid=gid)
        store.replace(store.Replacement(str(path), b"new\n", nothing))
        assert ids(path) == (uid, gid)

    def test_prepare_may_change_them(self, place):
        path = file_of(place / "remote.yaml", BOB)
        store.replace(store.Replacement(str(path), b"new\n", lambda temporary: os.chown(temporary, ALICE, LAB)))
        assert ids(path) == (ALICE, LAB)

    @pytest.mark.parametrize(("owner", "is_given"), table([
        ("both", (ALICE, LAB), (ALICE, LAB)), ("the owner", (ALICE, -1), (ALICE, BOB)), ("the group", (-1, LAB), (BOB, LAB))]))
    def test_they_can_be_given(self, place, owner, is_given):
        path = file_of(place / "remote.yaml", BOB)
        store.replace(store.Replacement(str(path), b"new\n", nothing, mode=0o640, owner=owner))
        assert (ids(path), mode_of(path)) == (is_given, 0o640)

    def test_nothing_is_given_to_a_file_that_was_put_in_place_of_the_temporary_one(self, place, monkeypatch):
        home, secret = directory_of(place / "home", BOB), file_of(place / "shadow")
        before = (ids(secret), mode_of(secret))

        def exchanged(fd, *owner, really=os.fchown):
            (temporary,) = home.glob(".remote.yaml.ansible-*")
            temporary.unlink(missing_ok=True)
            temporary.symlink_to(secret)
            really(fd, *owner)

        monkeypatch.setattr(store.os, "fchown", exchanged)
        store.replace(store.Replacement(str(home / "remote.yaml"), b"new\n", nothing, mode=0o644, owner=(BOB, BOB)))
        assert (ids(secret), mode_of(secret)) == before

    def test_prepare_sees_them(self, place):
        path = file_of(place / "remote.yaml", BOB)
        seen = []
        store.replace(store.Replacement(str(path), b"new\n", lambda temporary: seen.append(ids(temporary))))
        assert seen == [(BOB, BOB)]

    @pytest.mark.parametrize("uid", [ROOT, BOB], **USERS)
    def test_a_new_file_of_root_belongs_to_the_owner_of_the_directory(self, place, uid):
        path = directory_of(place / "d", uid) / "remote.yaml"
        store.replace(store.Replacement(str(path), b"new\n", nothing))
        assert ids(path) == (uid, uid)

    def test_a_new_file_of_a_user_is_the_users(self, place):
        path = directory_of(place / "d", ALICE, 0o777) / "remote.yaml"
        with acting_as(BOB):
            store.replace(store.Replacement(str(path), b"new\n", nothing))
        assert ids(path) == (BOB, BOB)

    def test_a_user_cannot_take_over_a_file(self, place):
        path = file_of(directory_of(place / "d", mode=0o777) / "remote.yaml", ALICE, mode=0o666)
        with acting_as(BOB):
            message = message_of(store.replace, store.Replacement(str(path), b"new\n", nothing))
        assert message.startswith(f"{path}: belongs to user 54321 and group 54321, which nobody may not give to a new file.")
        assert "become_user); the file is unchanged." in message
        assert (names(place / "d"), ids(path), path.read_bytes()) == (["remote.yaml"], (ALICE, ALICE), b"old\n")

    @pytest.mark.parametrize(
        "mode, groups, gid",
        table([
            ("he is in it, and it has no rights", 0o600, [LAB], LAB),
            ("he is in it, and it may read", 0o640, [LAB], LAB),
            ("he is not in it, and it has no rights", 0o600, [], BOB),
            ("he is not in it, and it has everybody's rights", 0o644, [], BOB),
            ("refused: it may read, others may not", 0o640, [], None),
            ("refused: others may read, it may not", 0o604, [], None),
        ]),
    )
    def test_a_user_keeps_the_group_where_it_means_something(self, place, mode, groups, gid):
        path = file_of(directory_of(place / "d", BOB) / "remote.yaml", BOB, mode=mode, gid=LAB)
        with acting_as(BOB, groups):
            if gid is None:
                assert "group 54399" in message_of(store.replace, store.Replacement(str(path), b"new\n", nothing))
                assert ids(path) == (BOB, LAB)
            else:
                store.replace(store.Replacement(str(path), b"new\n", nothing))
                assert ids(path) == (BOB, gid)

    def test_a_directory_that_may_not_be_written(self, place):
        path = file_of(place / "remote.yaml", BOB)
        with acting_as(BOB):
            message = message_of(store.replace, store.Replacement(str(path), b"new\n", nothing))
        assert message == (f"{path}: cannot write: Permission denied. Run the task as root or as the owner (become_user). The file is unchanged.")


class TestOwnersWithoutRoot:
    """What the tests above show with several users, in so far as one user can."""

    @pytest.mark.parametrize("name", ["bob", None], ids=["with a name", "without"])
    def test_a_link_to_a_file_of_the_system(self, tmp_path, monkeypatch, name):
        link = link_of(tmp_path / "remote.yaml", "/etc/passwd", BOB if os.geteuid() == ROOT else None)
        monkeypatch.setattr(store.pwd, "getpwuid", raiser(KeyError()) if name is None else lambda _: type("", (), {"pw_name": name}))
        message = message_of(store.real_path, str(link))
        who, root = (name, name) if name else (f"user {ids(link)[0]}", "user 0")
        assert message.startswith(f"{link}: is a symbolic link that belongs to {who}, but /etc/passwd belongs to {root}, so it is not followed.")

    def test_a_new_file_of_root(self, tmp_path, monkeypatch):
        given = []
        monkeypatch.setattr(store.os, "geteuid", lambda: ROOT)
        monkeypatch.setattr(store.os, "fchown", lambda _, uid, gid: given.append((uid, gid)))
        store.replace(store.Replacement(str(tmp_path / "remote.yaml"), b"new\n", nothing))
        assert given == [ids(tmp_path)]

    @pytest.mark.parametrize("mode, fails", [(0o600, False), (0o644, False), (0o640, True), (0o660, True)], ids=["0600", "0644", "0640", "0660"])
    def test_a_group_that_may_not_be_kept(self, tmp_path, monkeypatch, mode, fails):
        path = file_of(tmp_path / "remote.yaml", mode=mode)
        monkeypatch.setattr(store.os, "fchown", raiser(PermissionError()))
        if fails:
            assert "may not give to a new file" in message_of(store.replace, store.Replacement(str(path), b"new\n", nothing))
        else:
            store.replace(store.Replacement(str(path), b"new\n", nothing))
        assert (names(tmp_path), path.read_bytes()) == (["remote.yaml"], b"old\n" if fails else b"new\n")


@needs_root
class TestAUserWhoExchangesTheDirectory:
    """After real_path, bob puts a link to /etc in the place of his directory; root must notice."""

    @pytest.fixture
    def path(self, place):
        file_of(directory_of(place / "etc") / "remote.yaml", ROOT, b"global\n", 0o644)
        path = store.real_path(str(file_of(directory_of(place / "home/.apptainer", BOB) / "remote.yaml", BOB)))
        (place / "home/.apptainer").rename(place / "home/moved")
        link_of(place / "home/.apptainer", str(place / "etc"), BOB)
        yield path
        assert (place / "etc/remote.yaml").read_bytes() == b"global\n"
        assert ids(place / "etc/remote.yaml") == (ROOT, ROOT)
        assert names(place / "etc") == ["remote.yaml"]

    def test_read(self, path):
        assert "became a symbolic link" in message_of(store.read, path)

    def test_replace(self, path):
        assert "became a symbolic link" in message_of(store.replace, store.Replacement(path, b"new\n", nothing))

    def test_replace_when_it_happens_in_between(self, path, place):
        """The temporary file is in the directory that was opened, so the link leads nowhere."""
        (place / "home/.apptainer").unlink()
        (place / "home/moved").rename(place / "home/.apptainer")

        def prepare(_temporary):
            (place / "home/.apptainer").rename(place / "home/moved")
            link_of(place / "home/.apptainer", str(place / "etc"), BOB)

        store.replace(store.Replacement(path, b"new\n", prepare))
        assert (place / "home/moved/remote.yaml").read_bytes() == b"new\n"

    def test_lock(self, path):
        assert "became a symbolic link" in message_of(lock, path)

    def test_make_directory(self, path):
        assert "became a symbolic link" in message_of(store.make_directory, os.path.dirname(path) + "/new", 0o755)


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
            assert "/b: another task" in message_of(lock, *paths)
        for path in paths:
            os.unlink(os.path.join(os.path.dirname(path), store.LOCK_FILE))
        with store.locked(paths[1]):
            assert "/a: another task" in message_of(lock, *paths)
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
            monkeypatch.setattr(store.time, "monotonic", lambda: sum(slept))
            monkeypatch.setattr(store.time, "sleep", slept.append)
            message = message_of(lock, path, timeout=0.3)
        assert slept == [0.01, 0.02, 0.04, 0.08, 0.16]  # the last one ends beyond the limit
        assert message == (
            f"{tmp_path}: another task has kept this directory locked for 0.3 seconds. "
            f"Wait for it, or find it with `fuser -v {tmp_path}/{store.LOCK_FILE}`, and run again."
        )

    def test_a_missing_directory(self, tmp_path):
        assert message_of(lock, tmp_path / "a/remote.yaml").startswith(f"{tmp_path}/a: cannot lock this directory: No such file or directory.")

    @pytest.mark.parametrize("number", [errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS], ids=errno.errorcode.get)
    def test_without_locks_on_files_it_locks_the_directory(self, tmp_path, monkeypatch, number):
        really = fcntl.flock

        def flock(fd, operation):
            if stat.S_ISREG(os.fstat(fd).st_mode):
                raise OSError(number, os.strerror(number))
            really(fd, operation)

        monkeypatch.setattr(store.fcntl, "flock", flock)
        with store.locked(str(tmp_path / "remote.yaml")):
            assert is_locked(tmp_path / "remote.yaml")
        assert not is_locked(tmp_path / "remote.yaml")

    def test_without_any_locks_it_says_so(self, tmp_path, monkeypatch):
        monkeypatch.setattr(store.fcntl, "flock", raiser(OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))))
        assert "cannot lock this directory: No locks available." in message_of(lock, tmp_path / "remote.yaml")

    def test_a_link_in_the_place_of_the_lock_file(self, tmp_path):
        link_of(tmp_path / store.LOCK_FILE, "elsewhere")
        assert "became a symbolic link" in message_of(lock, tmp_path / "remote.yaml")
        assert names(tmp_path) == [store.LOCK_FILE]

    def test_a_fifo_in_the_place_of_the_lock_file_does_not_block(self, tmp_path):
        os.mkfifo(str(tmp_path / store.LOCK_FILE))
        with store.locked(str(tmp_path / "remote.yaml")):
            assert is_locked(tmp_path / "remote.yaml")

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
            assert "cannot lock this directory: Permission denied. Run the task as root or as the owner" in message_of(lock, path)
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


class TestMakeDirectory:
    @pytest.mark.parametrize("mask", [0o000, 0o077], ids=oct)
    @pytest.mark.parametrize("mode", [0o700, 0o755], ids=oct)
    def test_the_mode_does_not_depend_on_the_umask(self, tmp_path, mask, mode):
        with umask(mask):
            assert store.make_directory(str(tmp_path / "a/b/c"), mode) is True
        assert [mode_of(tmp_path / path) for path in ("a", "a/b", "a/b/c")] == [0o755, 0o755, mode]

    def test_what_exists_is_left_alone(self, tmp_path):
        path = directory_of(tmp_path / "a", mode=0o777)
        assert store.make_directory(str(path), 0o700) is False
        assert mode_of(path) == 0o777
        assert store.make_directory("/", 0o700) is False

    def test_a_file_in_the_way(self, tmp_path):
        file_of(tmp_path / "a")
        for path in (tmp_path / "a", tmp_path / "a/b"):
            assert "Not a directory. A directory on its path is a file" in message_of(store.make_directory, str(path), 0o755)

    @pytest.mark.parametrize("name", ["link", "link/below"])
    def test_a_link_that_was_not_there_when_the_path_was_resolved_is_not_followed(self, tmp_path, name):
        directory_of(tmp_path / "real")
        link_of(tmp_path / "link", "real")
        assert "became a symbolic link while this task ran: find out what changes it" in message_of(store.make_directory, str(tmp_path / name), 0o700)
        assert names(tmp_path / "real") == []

    def test_another_task_is_faster(self, tmp_path, monkeypatch):
        really = os.mkdir

        def mkdir(name, mode, dir_fd):
            really(name, 0o711, dir_fd=dir_fd)
            really(name, mode, dir_fd=dir_fd)

        monkeypatch.setattr(store.os, "mkdir", mkdir)
        assert store.make_directory(str(tmp_path / "a"), 0o700) is False
        assert mode_of(tmp_path / "a") == 0o711

    def test_a_directory_exchanged_for_another_is_not_given_away(self, tmp_path, monkeypatch):
        really = os.mkdir

        def mkdir(name, _mode, dir_fd):
            really(name, 0o750, dir_fd=dir_fd)
            file_of(tmp_path / name / "secret")

        monkeypatch.setattr(store.os, "mkdir", mkdir)
        path = tmp_path / "a"
        assert message_of(store.make_directory, str(path), 0o755) == (
            f"{path}: was replaced while it was being created. Find out what replaces it, and run again.")
        assert mode_of(path) == 0o750

    @needs_root
    def test_what_root_makes_for_a_user_is_the_users(self, place):
        home = directory_of(place / "home/bob", BOB)
        assert store.make_directory(str(home / ".config/.apptainer"), 0o700) is True
        assert (ids(home / ".config"), ids(home / ".config/.apptainer")) == ((BOB, BOB), (BOB, BOB))
        assert store.make_directory(str(place / "etc/apptainer"), 0o755) is True
        assert ids(place / "etc/apptainer") == (ROOT, ROOT)

    @needs_root
    def test_what_a_user_makes_is_the_users(self, place):
        path = directory_of(place / "shared", ALICE, 0o777) / "bob"
        with acting_as(BOB):
            assert store.make_directory(str(path), 0o700) is True
        assert ids(path) == (BOB, BOB)

    @needs_root
    def test_where_a_user_may_not(self, place):
        with acting_as(BOB):
            assert message_of(store.make_directory, str(place / "etc"), 0o755) == (
                f"{place}/etc: cannot create this directory: Permission denied. Run the task as root or as the owner (become_user)."
            )


def test_replace_keeps_the_old_file_as_a_backup(place):
    path = place / "remote.yaml"
    path.write_bytes(b"old")
    path.chmod(0o644)
    store.replace(store.Replacement(str(path), b"new", lambda temporary: os.chmod(temporary, 0o640), store.read(str(path)), "remote.yaml.1~"))
    assert {name: (place / name).read_bytes() for name in names(place)} == {"remote.yaml": b"new", "remote.yaml.1~": b"old"}
    assert {stat.S_IMODE((place / name).stat().st_mode) for name in names(place)} == {0o640}


def test_replace_overwrites_nothing_with_a_backup(place):
    for name in ("remote.yaml", "remote.yaml.1~"):
        (place / name).write_bytes(name.encode())
    with pytest.raises(StoreError, match="File exists"):
        path = str(place / "remote.yaml")
        store.replace(store.Replacement(path, b"new", lambda temporary: None, store.read(path), "remote.yaml.1~"))
    assert {path.name: path.read_bytes() for path in place.iterdir()} == {name: name.encode() for name in ("remote.yaml", "remote.yaml.1~")}


def test_a_backup_is_a_copy_as_private_as_the_new_file(place):
    """A link would keep the mode and, for whoever has the file open, the content."""
    path = file_of(place / "remote.yaml", mode=0o644)
    prepared = []
    store.replace(store.Replacement(str(path), b"new\n", prepared.append, store.read(str(path)), "remote.yaml.1~"))
    assert (mode_of(path), mode_of(place / "remote.yaml.1~")) == (0o600, 0o600)
    assert {(place / name).stat().st_nlink for name in names(place)} == {1}
    assert prepared == [prepared[0], prepared[0] + "~"]


@needs_root
def test_a_backup_belongs_to_the_owner_of_the_file(place):
    path = file_of(place / "remote.yaml", BOB)
    store.replace(store.Replacement(str(path), b"new\n", nothing, store.read(str(path)), "remote.yaml.1~"))
    assert ids(place / "remote.yaml.1~") == (BOB, BOB)


def test_there_is_no_backup_of_nothing(place):
    path = place / "remote.yaml"
    store.replace(store.Replacement(str(path), b"one\n", nothing, store.read(str(path)), "remote.yaml.1~"))
    store.replace(store.Replacement(str(path), b"two\n", nothing, None, "remote.yaml.2~"))
    assert names(place) == ["remote.yaml"]


def test_a_backup_that_cannot_be_prepared_changes_nothing(place):
    path = file_of(place / "remote.yaml")

    def prepare(temporary):
        if temporary.endswith("~"):
            raise OSError(errno.ENOSPC, "full")

    assert message_of(store.replace, store.Replacement(str(path), b"new\n", prepare, store.read(str(path)), "remote.yaml.1~")) == (
        f"{path}: cannot write: full. Free some space, and run again. The file is unchanged.")
    assert (names(place), path.read_bytes()) == (["remote.yaml"], b"old\n")


OLD_ABC = [["old", name] for name in "abc"]
NEW_ABC = [["new", name] for name in "abc"]


class TestReplaceSeveral:
    @pytest.fixture
    def three(self, place):
        return [file_of(directory_of(place / name) / "file", data=b"old " + name.encode()) for name in "abc"]

    def changes(self, three, prepare=nothing, backup=""):
        return [store.Replacement(str(path), b"new " + path.parent.name.encode(), prepare, store.read(str(path)), backup) for path in three]

    def contents(self, three):
        return [path.read_text().split() for path in three]

    def test_all(self, three):
        store.replace(*self.changes(three, backup="file~"))
        assert self.contents(three) == NEW_ABC
        assert self.contents([path.with_name("file~") for path in three]) == OLD_ABC
        assert [names(path.parent) for path in three] == [["file", "file~"]] * 3

    def test_none(self):
        store.replace()

    def test_in_one_directory(self, place):
        paths = [place / name for name in "ab"]
        store.replace(*(store.Replacement(str(path), path.name.encode(), nothing) for path in paths))
        assert [path.read_text() for path in paths] == names(place) == ["a", "b"]

    def test_all_are_on_disk_before_the_first_is_replaced(self, three, monkeypatch):
        order = []
        fsync, rename, link = os.fsync, os.replace, os.link
        monkeypatch.setattr(store.os, "fsync", lambda fd: order.append("d" if stat.S_ISDIR(os.fstat(fd).st_mode) else "f") or fsync(fd))
        monkeypatch.setattr(store.os, "replace", lambda *names, **options: order.append("r") or rename(*names, **options))
        monkeypatch.setattr(store.os, "link", lambda *names, **options: order.append("l") or link(*names, **options))
        store.replace(*self.changes(three, backup="file~"))
        assert "".join(order) == "ff" * 3 + "lr" * 3 + "d" * 3

    @pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 6])
    def test_a_disk_that_gets_full_meanwhile_keeps_all_as_they_were(self, three, monkeypatch, number):
        calls, fsync = [], os.fsync

        def full(fd):
            calls.append(fd)
            return raiser(OSError(errno.ENOSPC, "full"))() if len(calls) == number else fsync(fd)

        monkeypatch.setattr(store.os, "fsync", full)
        path = three[(number - 1) // 2]
        assert message_of(store.replace, *self.changes(three, backup="file~")) == (
            f"{path}: cannot write: full. Free some space, and run again. The file is unchanged.")
        assert self.contents(three) == OLD_ABC
        assert [names(path.parent) for path in three] == [["file"]] * 3

    @pytest.mark.parametrize("error", [SystemExit(1), ValueError("no")], ids=repr)
    def test_whatever_a_later_prepare_raises_keeps_all_as_they_were(self, three, error):
        *good, last = self.changes(three)
        with pytest.raises(type(error)):
            store.replace(*good, last._replace(prepare=raiser(error)))
        assert self.contents(three) == OLD_ABC
        assert [names(path.parent) for path in three] == [["file"]] * 3

    @pytest.mark.parametrize("number", [0, 1, 2])
    def test_what_somebody_changed_meanwhile_keeps_all_as_they_were(self, three, number):
        changes = self.changes(three)
        three[number].write_bytes(b"their own")
        assert message_of(store.replace, *changes) == (
            f"{three[number]}: was changed by someone else while this task ran, so it is left as it is now. Run again.")
        assert self.contents(three) == [["their", "own"] if index == number else old for index, old in enumerate(OLD_ABC)]
        assert [names(path.parent) for path in three] == [["file"]] * 3

    @pytest.mark.parametrize("number", [0, 1, 2])
    def test_a_later_rename_that_fails_is_said_with_what_is_done_already(self, three, monkeypatch, number):
        calls, rename = [], os.replace

        def fail(*names, **options):
            calls.append(names)
            return raiser(OSError(errno.EBUSY, "busy"))() if len(calls) == number + 1 else rename(*names, **options)

        monkeypatch.setattr(store.os, "replace", fail)
        done = ["", f", but not {three[0]}", f", but not {three[0]}, {three[1]}"][number]
        assert message_of(store.replace, *self.changes(three)) == (
            f"{three[number]}: cannot write: busy. If it is a mount point, as in a container, change the file that is mounted there. "
            f"The file is unchanged{done}.")
        assert self.contents(three) == NEW_ABC[:number] + OLD_ABC[number:]
        assert [names(path.parent) for path in three] == [["file"]] * 3


def test_mode_of(place, monkeypatch):
    place.chmod(0o751)
    assert store.mode_of(str(file_of(place / "token", mode=0o640))) == 0o640
    monkeypatch.chdir(place)
    assert store.mode_of("") == 0o751
    assert message_of(store.mode_of, str(place / "gone")).startswith(f"{place}/gone: cannot read the mode: No such file or directory.")


def test_check_writable_looks_at_what_exists(place, monkeypatch):
    asked = []
    monkeypatch.setattr(os, "access", lambda path, mode, effective_ids: asked.append(path) or path == str(place))
    store.check_writable(str(place / "not" / "yet" / "remote.yaml"))
    assert asked == [str(place)]
    (place / "no").mkdir()
    with pytest.raises(StoreError, match=r"remote\.yaml: cannot write: Permission denied\. .* The file is unchanged"):
        store.check_writable(str(place / "no" / "remote.yaml"))


@needs_root
def test_check_writable_asks_as_who_will_write(place):
    store.check_writable(str(place / "remote.yaml"))
    with acting_as(ALICE), pytest.raises(StoreError, match=r"Permission denied\. Run the task as root or as the owner"):
        store.check_writable(str(place / "remote.yaml"))


# a link that a file is to replace

def test_the_link_itself(place):
    (place / "real").mkdir()
    (place / "directory").symlink_to("real")
    (place / "real" / "target").write_text("x")
    (place / "real" / "link").symlink_to("target")
    (place / "real" / "dangling").symlink_to("nothing")
    assert store.link_at(str(place / "directory" / "link")) == str(place / "real" / "link")
    assert store.link_at(str(place / "directory" / "dangling")) == str(place / "real" / "dangling")
    assert store.link_at(str(place / "directory" / "target")) is None
    assert store.link_at(str(place / "directory" / "missing")) is None
    assert store.link_at(f"{place}/real/link", str(place)) == str(place / "real" / "link")


def test_the_link_itself_in_the_working_directory(place, monkeypatch):
    (place / "link").symlink_to("target")
    monkeypatch.chdir(place)
    assert store.link_at("link") == str(place / "link")


def replaced_link(place, said, before=None):
    """Put a file in place of the link, which says `said` as far as the plan knows."""
    link, source = place / "home" / "link", place / "target"
    before = before or store.read(str(source))
    store.replace(store.Replacement(str(link), b"new\n", nothing, before, backup="kept", mode=0o640, source=str(source), link=said))
    return link


@pytest.fixture
def link(place):
    (place / "home").mkdir()
    (place / "target").write_bytes(b"old\n")
    (place / "home" / "link").symlink_to(place / "target")
    return place / "home" / "link"


def test_a_file_takes_the_place_of_a_link(place, link):
    replaced_link(place, os.readlink(link))
    assert not link.is_symlink()
    assert (link.read_bytes(), stat.S_IMODE(link.stat().st_mode)) == (b"new\n", 0o640)
    assert (place / "target").read_bytes() == (place / "home" / "kept").read_bytes() == b"old\n"


@pytest.mark.parametrize("change", [
    pytest.param(lambda link: link.unlink(), id="gone"),
    pytest.param(lambda link: (link.unlink(), link.symlink_to("other")), id="another target"),
    pytest.param(lambda link: (link.unlink(), link.write_text("by hand")), id="a file"),
    pytest.param(lambda link: link.resolve().write_text("by hand"), id="another content"),
])
def test_a_link_that_has_changed_is_left_alone(place, link, change):
    said, before = os.readlink(link), store.read(str(place / "target"))
    change(link)
    with pytest.raises(StoreError, match="was changed by someone else while this task ran"):
        replaced_link(place, said, before)
    assert not link.exists() or "new" not in link.read_text()


@needs_root
def test_the_new_file_belongs_to_the_owner_of_the_directory(place, link):
    os.chown(place / "home", ALICE, LAB)
    os.lchown(link, ALICE, LAB)
    os.chown(place / "target", ALICE, LAB)
    replaced_link(place, os.readlink(link))
    assert (link.stat().st_uid, link.stat().st_gid) == (ALICE, LAB)


IMMUTABLE, APPEND_ONLY = 0x10, 0x20


@pytest.mark.parametrize(("flagged", "flags", "words"), [
    ("remote.yaml", IMMUTABLE, "immutable: find out who made it so, or end that with `chattr -i {0}`. The file is unchanged."),
    ("remote.yaml", APPEND_ONLY | 0x80000, "append-only: find out who made it so, or end that with `chattr -a {0}`. The file is unchanged."),
    (".", IMMUTABLE | APPEND_ONLY, "immutable: find out who made it so, or end that with `chattr -i {0}`. The file is unchanged."),
    (".", APPEND_ONLY, "append-only: find out who made it so, or end that with `chattr -a {0}`. The file is unchanged."),
    ("remote.yaml", 0x80000, None), (".", 0x80000, None),
], ids=str)
def test_check_writable_foresees_what_chattr_forbids(place, monkeypatch, flagged, flags, words):
    """The flags as the system gives them; real ones are in the tests with real disks."""
    path = file_of(place / "remote.yaml")
    inode = (place / flagged).stat().st_ino
    monkeypatch.setattr(store.fcntl, "ioctl", lambda fd, _request, _room: (
        flags if os.fstat(fd).st_ino == inode else 0x80000).to_bytes(4, sys.byteorder) + bytes(4))
    if words is None:
        store.check_writable(str(path))
        return
    expected = words.format((place / flagged).resolve())
    assert message_of(store.check_writable, str(path)) == (
        f"{path}: cannot write: Operation not permitted. {(place / flagged).resolve()} is {expected}")


def test_a_directory_can_be_made_in_one_that_is_append_only(place, monkeypatch):
    monkeypatch.setattr(store.fcntl, "ioctl", lambda _fd, _request, _room: APPEND_ONLY.to_bytes(4, sys.byteorder) + bytes(4))
    store.check_writable(str(place / "new" / "remote.yaml"))
    monkeypatch.setattr(store.fcntl, "ioctl", lambda _fd, _request, _room: IMMUTABLE.to_bytes(4, sys.byteorder) + bytes(4))
    assert f"{place} is immutable" in message_of(store.check_writable, str(place / "new" / "remote.yaml"))


def test_a_file_system_without_flags(place, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOTTY, "no such thing")

    monkeypatch.setattr(store.fcntl, "ioctl", refuse)
    store.check_writable(str(file_of(place / "remote.yaml")))


@pytest.mark.parametrize(("name", "mounted"), [("remote.yaml", True), ("a b", True), ("other.yaml", False)])
def test_check_writable_foresees_a_mount_point(place, monkeypatch, name, mounted):
    mounts = place / "mountinfo"
    mounts.write_text("".join(f"22 27 0:21 / {place}/{name} rw shared:7 - ext4 /dev/x rw\n" for name in ("remote.yaml", "a\\040b")))
    monkeypatch.setattr(store, "_MOUNTS", str(mounts))
    path = file_of(place / name)
    if mounted:
        assert message_of(store.check_writable, str(path)).startswith(f"{path}: cannot write: Device or resource busy. If it is a mount point")
    else:
        store.check_writable(str(path))
    monkeypatch.setattr(store, "_MOUNTS", "/nowhere")
    store.check_writable(str(path))


class Disk(NamedTuple):
    """What statvfs says."""

    f_frsize: int = 4096
    f_blocks: int = 100
    f_bfree: int = 10
    f_bavail: int = 10
    f_files: int = 100
    f_ffree: int = 10


ROOMS = [  # what, the disk, the sizes of the new files by their path, whether there is room
    ("room", Disk(), {"f": [5000]}, True),
    ("not one block", Disk(f_bavail=0, f_bfree=0), {"f": [1]}, False),
    ("one too few", Disk(f_bavail=1, f_bfree=1), {"f": [4097]}, False),
    ("enough", Disk(f_bavail=2, f_bfree=2), {"f": [4097]}, True),
    ("nothing to write", Disk(f_bavail=0, f_bfree=0), {"f": [0]}, True),
    ("two files, room for one", Disk(f_bavail=1, f_bfree=1), {"f": [5], "g": [5]}, False),
    ("a backup as well", Disk(f_bavail=1, f_bfree=1), {"f": [5, 5]}, False),
    ("the lock needs a file", Disk(f_ffree=1), {"f": [5]}, False),
    ("both", Disk(f_ffree=2), {"f": [5]}, True),
    ("one lock for two files", Disk(f_ffree=3), {"f": [5], "g": [5]}, True),
    ("a new directory as well", Disk(f_ffree=2), {"new/f": [5]}, False),
    ("two of them", Disk(f_ffree=3), {"new/er/f": [5]}, False),
    ("all that is made", Disk(f_ffree=4), {"new/er/f": [5]}, True),
    ("no counts", Disk(f_blocks=0, f_bfree=0, f_bavail=0, f_files=0, f_ffree=0), {"f": [5000]}, True),
]


@pytest.mark.parametrize(("disk", "sizes", "fits"), table(ROOMS))
def test_check_room(place, monkeypatch, disk, sizes, fits):
    monkeypatch.setattr(os, "statvfs", lambda _path: disk)
    changes = [store.Room(str(place / name), new) for name, new in sizes.items()]
    if fits:
        store.check_room(*changes)
    else:
        assert message_of(store.check_room, *changes) == (
            f"{changes[-1].path}: cannot write: No space left on device. Free some space, and run again. The file is unchanged.")


@pytest.mark.parametrize(("uid", "fits"), [(0, True), (1000, False)])
def test_the_last_blocks_are_for_root(place, monkeypatch, uid, fits):
    monkeypatch.setattr(os, "statvfs", lambda _path: Disk(f_bavail=0))
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    if fits:
        store.check_room(store.Room(str(place / "f"), [5]))
    else:
        assert "No space left" in message_of(store.check_room, store.Room(str(place / "f"), [5]))


def test_a_lock_that_is_there_needs_no_file(place, monkeypatch):
    monkeypatch.setattr(os, "statvfs", lambda _path: Disk(f_ffree=1))
    (place / store.LOCK_FILE).touch()
    store.check_room(store.Room(str(place / "f"), [5]))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a home of another user")
def test_what_root_has_made_in_a_home_is_to_be_given_back(tmp_path):
    directory = tmp_path / "home" / ".apptainer"
    directory.mkdir(parents=True)
    assert store.of_root_in_a_home(str(directory)) is None
    os.chown(directory.parent, 12345, 12345)
    assert store.of_root_in_a_home(str(directory)) == 12345
    with pytest.raises(StoreError) as caught, store._explained(str(directory / "remote.yaml"), "write"):
        raise PermissionError(13, "Permission denied")
    assert str(caught.value).endswith(f"{directory} belongs to root, perhaps after a sudo. Give it back as root: chown -R 12345 {directory}")


@pytest.mark.parametrize("name", [".apptainer", ".singularity/remote.yaml"])
def test_a_home_that_does_not_exist(tmp_path, name):
    with pytest.raises(StoreError) as caught, store._explained(f"{tmp_path}/none/{name}", "write"):
        raise PermissionError(13, "Permission denied")
    assert str(caught.value).endswith(
        f"Permission denied. The home {tmp_path}/none does not exist on this node. Create it, or run the task where it is.")
