# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Reaching files through descriptors, without following links, and saying what the system says: for the rest of this folder."""

import contextlib
import errno
import os
import pwd
import stat
from typing import Iterator, List, Optional, Tuple

from .._errors import StoreError

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
# what a file system says that cannot do this at all
UNSUPPORTED = (errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EROFS)
OF_USERS = (".apptainer", ".singularity")
NOT_EVEN_ROOT = "Not even root may do this: on NFS, run the task as the owner (become_user); elsewhere, check lsattr flags and SELinux denials."
_NOT_PERMITTED = "Run the task as root or as the owner (become_user)."
_ADVICE = {
    errno.ENOSPC: "Free some space, and run again.",
    errno.EDQUOT: "The disk quota is used up: free some space, and run again.",
    errno.EROFS: "Mount the file system writable, or make the change where its image is built.",
    errno.EBUSY: "If it is a mount point, as in a container, change the file that is mounted there.",
    errno.ENOENT: "Its directory is missing: create it, or find out what removed it.",
    errno.ENOTDIR: "A directory on its path is a file, or became a symbolic link while this task ran: find out what changes it.",
    errno.ELOOP: "It became a symbolic link while this task ran: find out what changes it.",
}
_KINDS = (
    (stat.S_ISDIR, "a directory"), (stat.S_ISLNK, "a symbolic link"), (stat.S_ISFIFO, "a FIFO (named pipe)"), (stat.S_ISSOCK, "a socket"),
)


def kind_of(mode: int) -> str:
    """What a st_mode that is not a regular file's says that it is, with its article."""
    return next((words for is_one, words in _KINDS if is_one(mode)), "a device")


def user_name(uid: int) -> str:
    """Who that is, for messages."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


@contextlib.contextmanager
def explained(path: str, action: str, outcome: str = "") -> Iterator[None]:
    """Turns what the system says into a StoreError."""
    try:
        yield
    except OSError as exc:
        advice = _ADVICE.get(exc.errno or 0, "Retry; if it persists, see the kernel logs of the node and of the file server.")
        if isinstance(exc, PermissionError):
            advice = _advice_on_home(path) or (_NOT_PERMITTED if os.geteuid() else NOT_EVEN_ROOT)
        raise StoreError(f"{path}: cannot {action}: {exc.strerror or exc}. {advice}{outcome}") from exc


def of_root_in_a_home(directory: str) -> Optional[int]:
    """The uid of the owner of a home in which Apptainer's directory belongs to root, as it does after a `sudo apptainer`; else None."""
    with contextlib.suppress(OSError):
        owner = os.stat(os.path.dirname(directory)).st_uid
        if os.path.basename(directory) in OF_USERS and owner and not os.stat(directory).st_uid:
            return owner
    return None


def _advice_on_home(path: str) -> str:
    """What to do about a user's home that does not exist, or in which root has made Apptainer's directory; nothing, if it is something else."""
    directory = path if os.path.basename(path) in OF_USERS else os.path.dirname(path)
    home = os.path.dirname(directory)
    if os.path.basename(directory) in OF_USERS and not os.path.lexists(home):
        return f"The home {home} does not exist on this node. Create it, or run the task where it is."
    owner = of_root_in_a_home(directory)
    return "" if owner is None else f"{directory} belongs to root, perhaps after a sudo. Give it back as root: chown -R {owner} {directory}"


def status_of(path: str, parent: Optional[int] = None) -> Optional[os.stat_result]:
    """That of the very thing at `path`, be it a link; None if there is nothing. Raises OSError, and StoreError for an impossible path."""
    try:
        return os.stat(path, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None
    except ValueError as exc:  # a null byte, or a letter that Python 3.6 cannot encode in the C locale
        raise StoreError(f"{path!r}: is not a possible path on this node ({exc}). Correct it, or set a UTF-8 locale.") from exc


def is_directory(path: str) -> bool:
    """As os.path.isdir(), which follows links, but it says no only if it is so, and not if the system cannot tell. Raises OSError."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except ValueError:  # an impossible path
        return False
    except OSError as exc:
        if exc.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return False
        raise


def nearest(directory: str) -> Tuple[str, List[str]]:
    """The directory, or its nearest existing parent, and the names of what is missing below that. Raises OSError."""
    missing: List[str] = []
    while status_of(directory) is None:
        directory, _slash, name = directory.rpartition("/")
        directory = directory or "/"
        missing.insert(0, name)
    return directory, missing


@contextlib.contextmanager
def open_nofollow(name: str, flags: int, parent: Optional[int] = None) -> Iterator[int]:
    """A descriptor of a file in the open directory `parent`, which is not behind a link. Raises OSError, but not for what closing it says.

    That may be an error of a write before it, and whatever is written here has been flushed by then, with fsync(2), which says the same.
    """
    fd = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=parent)
    try:
        yield fd
    finally:
        with contextlib.suppress(OSError):
            os.close(fd)


@contextlib.contextmanager
def opened(directory: str) -> Iterator[int]:
    """A descriptor of a resolved directory, reached name by name without following a link: whoever exchanges one now is noticed."""
    with contextlib.ExitStack() as way:
        fd = way.enter_context(open_nofollow("/", os.O_PATH | os.O_DIRECTORY))
        for name in filter(None, os.path.join(os.getcwd(), directory).split("/")):
            fd = way.enter_context(open_nofollow(name, os.O_PATH | os.O_DIRECTORY, fd))
        yield fd


def give_to_owner_of(parent: int, fd: int) -> None:
    """Root creates files for others: what is in a user's directory must belong to the user. Others create their own."""
    if os.geteuid() == 0:
        status = os.fstat(parent)
        os.fchown(fd, status.st_uid, status.st_gid)
