# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files and directories of several users, made in one line, and acting as one of them."""

import contextlib
import os
import stat
import tempfile

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import StoreError

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


USERS = {"ids": {ROOT: "root", BOB: "bob", ALICE: "alice"}.get}
