# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What check mode can know without writing. Where it matters who runs it, the test needs root, and acts as root and as somebody else."""

import errno
import fcntl
import os
import sys
from typing import NamedTuple

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import StoreError
from ansible_collections.hpc.apptainer.plugins.module_utils._files import config_file as store
from ansible_collections.hpc.apptainer.plugins.module_utils._files import foresight
from support.filesystem import ALICE, acting_as, file_of, message_of, needs_root, raiser
from support.tables import table


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
    monkeypatch.setattr(fcntl, "ioctl", lambda fd, _request, _room: (
        flags if os.fstat(fd).st_ino == inode else 0x80000).to_bytes(4, sys.byteorder) + bytes(4))
    if words is None:
        store.check_writable(str(path))
        return
    expected = words.format((place / flagged).resolve())
    assert message_of(store.check_writable, str(path)) == (
        f"{path}: cannot write: Operation not permitted. {(place / flagged).resolve()} is {expected}")


@pytest.mark.parametrize(("flag", "word"), [(APPEND_ONLY, "append-only"), (IMMUTABLE, "immutable")])
def test_no_directory_can_be_made_there_either(place, monkeypatch, flag, word):
    """In one that is append-only it could, but not be renamed when it is right."""
    monkeypatch.setattr(fcntl, "ioctl", lambda _fd, _request, _room: flag.to_bytes(4, sys.byteorder) + bytes(4))
    assert f"{place} is {word}" in message_of(store.check_writable, str(place / "new" / "remote.yaml"))


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES], ids=errno.errorcode.get)
def test_what_the_system_does_not_say_is_not_missing(place, monkeypatch, number):
    path = str(place / "new" / "remote.yaml")
    monkeypatch.setattr(os, "stat", raiser(OSError(number, os.strerror(number))))
    for foresee in (lambda: store.check_writable(path), lambda: store.check_room(store.Room(path, [5]))):
        assert message_of(foresee).startswith(f"{path}: cannot write: {os.strerror(number)}. ")


def test_a_file_system_without_flags(place, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOTTY, "no such thing")

    monkeypatch.setattr(fcntl, "ioctl", refuse)
    store.check_writable(str(file_of(place / "remote.yaml")))


@pytest.mark.parametrize(("name", "mounted"), [("remote.yaml", True), ("a b", True), ("other.yaml", False)])
def test_check_writable_foresees_a_mount_point(place, monkeypatch, name, mounted):
    mounts = place / "mountinfo"
    mounts.write_text("".join(f"22 27 0:21 / {place}/{name} rw shared:7 - ext4 /dev/x rw\n" for name in ("remote.yaml", "a\\040b")))
    monkeypatch.setattr(foresight, "_MOUNTS", str(mounts))
    path = file_of(place / name)
    if mounted:
        assert message_of(store.check_writable, str(path)).startswith(f"{path}: cannot write: Device or resource busy. If it is a mount point")
    else:
        store.check_writable(str(path))
    monkeypatch.setattr(foresight, "_MOUNTS", "/nowhere")
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
