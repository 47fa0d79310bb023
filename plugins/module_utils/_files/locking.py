# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Keeping the tasks of this collection from changing the same files at the same time."""

import contextlib
import fcntl
import os
import stat
import time
from typing import Iterator, Optional, Tuple

from .._errors import StoreError
from .access import DIRECTORY, NOT_EVEN_ROOT, UNSUPPORTED, explained, kind_of, open_nofollow, opened, status_of, user_name

LOCK_FILE = ".ansible-hpc.apptainer.lock"


@contextlib.contextmanager
def locked(*paths: str, timeout: float = 30.0) -> Iterator[None]:
    """Keeps every other user of this function away from all files in the directories of the resolved `paths`, which must exist.

    Name all files in one call: files of one directory share its lock, and the order is always the same, so there is no deadlock.
    The lock is an empty file beside them, 0600 and never removed. On NFS and Lustre a lock on the directory itself would be granted
    but hold on this node only, while nodes share home directories; and on a local disk anyone who may read the directory could hold
    it. Where a lock file does not work (read-only, or no locks on files) the directory is locked instead: better than nothing.

    Raises StoreError, which names the lock file, if it has waited `timeout` seconds for one, or if it may not or cannot lock it.
    """
    with contextlib.ExitStack() as held:
        for directory in sorted({os.path.dirname(path) for path in paths}):
            lock = os.path.join(directory, LOCK_FILE)
            with explained(directory, f"open this directory to lock {LOCK_FILE} in it"):
                parent = held.enter_context(opened(directory))
            with explained(lock, "lock"):
                try:
                    _wait_for(held.enter_context(lock_file(parent, directory)), lock, timeout)
                except OSError as exc:
                    if exc.errno not in UNSUPPORTED:
                        raise
                    _wait_for(held.enter_context(open_nofollow(".", DIRECTORY, parent)), directory, timeout)
        yield


@contextlib.contextmanager
def lock_file(parent: int, directory: str, owner: Optional[Tuple[int, int]] = None) -> Iterator[int]:
    """The lock file in an open directory, made if it is missing; open for writing, without which NFS grants no exclusive lock.

    It belongs to the directory's owner, who needs it as well, or to the uid and gid `owner`: root sees to that. It may be one that root has
    made, and was killed before it was given away. Raises OSError, and StoreError if something else is in its place or if it cannot be given away.
    """
    path = os.path.join(directory, LOCK_FILE)
    try:
        with contextlib.suppress(FileExistsError), open_nofollow(LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_EXCL, parent):
            pass
        _check_kind(path, status_of(LOCK_FILE, parent))
        stack = contextlib.ExitStack()
        fd = stack.enter_context(open_nofollow(LOCK_FILE, os.O_RDWR | os.O_NONBLOCK, parent))
    except PermissionError as exc:
        advice = _advice(path, parent)
        if not advice:
            raise
        raise StoreError(f"{path}: cannot lock: {exc.strerror}. {advice}") from exc
    with stack:
        _check_kind(path, os.fstat(fd))
        if os.geteuid() == 0:
            with explained(path, "give this lock file to the owner of its directory"):  # or he could not lock it: a later run may not look at it
                _give(fd, owner or (os.fstat(parent).st_uid, os.fstat(parent).st_gid))
        yield fd


def _check_kind(path: str, status: Optional[os.stat_result]) -> None:
    if status is not None and not stat.S_ISREG(status.st_mode):
        raise StoreError(
            f"{path}: is {kind_of(status.st_mode)}, where these modules keep their lock, an empty regular file. Remove it, and run again.")


def _give(fd: int, owner: Tuple[int, int]) -> None:
    """What is not empty, or has another name, is not the lock that root has made: who put it there could be given another's file."""
    status = os.fstat(fd)
    if status.st_uid != owner[0] and status.st_nlink == 1 and not status.st_size:
        os.fchown(fd, *owner)


def _advice(path: str, parent: int) -> str:
    """What to do where the lock file may not be opened, if that is known better than for any other file."""
    lock, directory = status_of(LOCK_FILE, parent), os.fstat(parent)
    if lock is None:
        return ""
    if os.geteuid() == 0:
        return NOT_EVEN_ROOT
    if lock.st_uid == os.geteuid():
        return f"Its mode is {stat.S_IMODE(lock.st_mode):04o}. Correct that: chmod 0600 {path}"
    owner = user_name(directory.st_uid)
    if directory.st_uid != lock.st_uid:
        return (f"It belongs to {user_name(lock.st_uid)}, but its directory to {owner}. Give it to {owner}, as root: chown {directory.st_uid} {path} "
                "(any task of these modules that runs as root and changes a file there does that)")
    return f"Run the task as root{f' or as {owner}' if directory.st_uid else ''}, the owner of its directory (become_user)."


def _wait_for(fd: int, path: str, timeout: float) -> None:
    deadline, pause = time.monotonic() + timeout, 0.01
    while True:
        with contextlib.suppress(BlockingIOError):
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if time.monotonic() >= deadline:
            raise StoreError(
                f"{path}: another task has kept it locked for {timeout:g} seconds. Wait for it, or find it with `fuser -v {path}`, and run again.")
        time.sleep(pause)
        pause = min(2 * pause, 0.25)
