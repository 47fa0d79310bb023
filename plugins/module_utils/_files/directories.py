# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Making the directories that hold the files, and putting right what is wrong with them."""

import contextlib
import errno
import os
import stat
import time
from typing import Dict, List, NamedTuple, Optional, Tuple

from .._errors import ConflictError, StoreError
from .access import DIRECTORY, OF_USERS, explained, give_to_owner_of, nearest, open_nofollow, opened
from .locking import LOCK_FILE, lock_file

_MOST_TRIES = 20
_MADE_BY_OTHERS = (errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)


def make_directory(path: str, mode: int) -> bool:
    """Creates the directory at the resolved `path`, with `mode` whatever the umask, a lock file in it, and its missing parents, 0755.

    Returns whether it created any. What root creates belongs to the owner of the directory it is created in. What exists is left alone.

    All that is missing is made under another name, always the same, and renamed when it is right: a run that is killed leaves nothing that is
    wrong, and the next one, or another one at the same time, goes on with it. The lock file in it keeps others from renaming theirs over it.

    Raises StoreError.
    """
    with explained(path, "create this directory"):
        for _attempt in range(_MOST_TRIES):
            with contextlib.suppress(FileNotFoundError), opened(path):
                return False
            above, missing = nearest(path)
            if not missing:
                return False
            with contextlib.suppress(FileNotFoundError), opened(above) as parent:
                if _made(parent, above, missing, mode):
                    return True
            time.sleep(0.01)
    raise StoreError(f"{path}: cannot create this directory: {os.path.join(above, _other_name(missing[0]))} is in the way. Remove it, and run again.")


def _other_name(name: str) -> str:
    return f".{name}.ansible-new"


def _made(parent: int, above: str, missing: List[str], mode: int) -> bool:
    """Make a directory and its missing parents; false if another task did, does or undoes the same at this moment."""
    other = _other_name(missing[0])
    try:
        _build(parent, above, [other, *missing[1:]], mode)
    except PermissionError:
        with contextlib.suppress(OSError):  # what root has made and not given to the user yet, perhaps because it was killed
            os.rmdir(other, dir_fd=parent)
            return False
        raise
    except OSError as exc:
        if exc.errno not in _MADE_BY_OTHERS:
            raise
        return False
    try:
        os.rename(other, missing[0], src_dir_fd=parent, dst_dir_fd=parent)
    except OSError as exc:
        if exc.errno not in _MADE_BY_OTHERS:
            raise
        _remove(parent, [other, *missing[1:]])
        return False
    return True


def _build(parent: int, above: str, names: List[str], mode: int) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(names[0], 0o700, dir_fd=parent)
    with open_nofollow(names[0], DIRECTORY, parent) as fd:
        if set(os.listdir(fd)) - {names[1] if names[1:] else LOCK_FILE}:  # else root could be tricked into giving away a directory with that name
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
        give_to_owner_of(parent, fd)
        path = os.path.join(above, names[0])
        if names[1:]:
            _build(fd, path, names[1:], mode)
        else:
            with lock_file(fd, path):
                pass
        os.fchmod(fd, 0o755 if names[1:] else mode)


def _remove(parent: int, names: List[str]) -> None:
    """Nobody needs these any more. What is not of _build() stays."""
    with contextlib.suppress(OSError):
        with open_nofollow(names[0], DIRECTORY, parent) as fd:
            if names[1:]:
                _remove(fd, names[1:])
            else:
                os.unlink(LOCK_FILE, dir_fd=fd)
        os.rmdir(names[0], dir_fd=parent)


class Attributes(NamedTuple):
    """Mode, uid and gid of a directory."""

    mode: int
    uid: int
    gid: int

    def shown(self) -> Dict[str, object]:
        """For a diff, as that of a file shows them."""
        return {"mode": f"{self.mode:04o}", "owner": self.uid, "group": self.gid}


class DirectoryDrift(NamedTuple):
    """A directory that keeps users from the file in it, or lets others replace that file: what it is, and what it should be."""

    path: str
    before: Attributes
    after: Attributes


def global_directory_drift(directory: str, group_may_write: bool = False) -> Optional[DirectoryDrift]:
    """What is wrong with the directory of a global file; None if nothing is, or if it does not exist.

    All users must be able to search it, or Apptainer ignores the file for them. Only its owner may write in it, and its group if
    `group_may_write`, or others could replace the file. As root also: it belongs to root, or to the owner of the directory that it is in.

    Raises StoreError if the directory cannot be examined, or if only somebody else could put it right.
    """
    with explained(directory, "find its mode and owner"):
        status, above = _with_parent(directory)
        if status is None or above is None:
            return None
        before = _attributes(status)
        too_much = 0o002 if group_may_write else 0o022
        mode = before.mode | (0 if before.mode & 0o011 == 0o011 else 0o755)
        owner = (above.st_uid, above.st_gid) if os.geteuid() == 0 and before.uid not in (0, above.st_uid) else before[1:]
        after = Attributes(mode & ~too_much, *owner)
    if before == after:
        return None
    with explained(directory, f"set the mode {after.mode:04o}"):
        if os.geteuid() not in (0, before.uid):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
    return DirectoryDrift(directory, before, after)


def users_directory_drift(directory: str) -> Optional[DirectoryDrift]:
    """As root: that a user's `~/.apptainer` belongs to root, with nothing in it; None if not.

    A run that was killed left it, or an administrator. What is in one that is not empty may be root's own.
    Raises StoreError if it cannot be examined.
    """
    if os.geteuid() or os.path.basename(directory) not in OF_USERS:
        return None
    with explained(directory, "find its owner"):
        status, above = _with_parent(directory)
        if status is None or above is None or status.st_uid or not above.st_uid or set(os.listdir(directory)) - {LOCK_FILE}:
            return None
        before = _attributes(status)
        return DirectoryDrift(directory, before, before._replace(uid=above.st_uid, gid=above.st_gid))


def _with_parent(path: str) -> Tuple[Optional[os.stat_result], Optional[os.stat_result]]:
    """The status of a directory and of that which it is in; both None if it does not exist. Raises OSError."""
    with contextlib.suppress(FileNotFoundError), opened(path) as fd:
        return os.fstat(fd), os.stat(os.path.dirname(path), follow_symlinks=False)
    return None, None


def _attributes(status: os.stat_result) -> Attributes:
    return Attributes(stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)


def repair_directory(drift: DirectoryDrift) -> None:
    """Gives a directory its mode and owner, and that owner the lock file in it. Raises StoreError, ConflictError if it is not as it was found."""
    with explained(drift.path, "set its mode and owner"), opened(drift.path) as parent, open_nofollow(".", DIRECTORY, parent) as fd:
        if _attributes(os.fstat(fd)) != drift.before:
            raise ConflictError(f"{drift.path}: was changed by someone else while this task ran. Run again.")
        if drift.before[1:] != drift.after[1:]:
            with lock_file(parent, drift.path, drift.after[1:]):  # while nobody else can exchange it
                os.fchown(fd, *drift.after[1:])
        if stat.S_IMODE(os.fstat(fd).st_mode) != drift.after.mode:
            os.fchmod(fd, drift.after.mode)
