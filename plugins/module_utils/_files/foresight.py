# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What would keep a file from being written, as far as one can tell without writing: for check mode."""

import contextlib
import errno
import fcntl
import os
import platform
import sys
from typing import Dict, NamedTuple, Sequence

from .._errors import StoreError
from .access import explained, nearest, open_nofollow, status_of
from .locking import LOCK_FILE

# include/uapi/linux/fs.h: FS_IOC_GETFLAGS is an _IOR of a long, of which some architectures have an encoding of their own
_GET_FLAGS = (2 << (29 if platform.machine().startswith(("ppc", "mips", "sparc", "alpha")) else 30)
              | (8 if sys.maxsize > 1 << 32 else 4) << 16 | ord("f") << 8 | 1)
_IMMUTABLE, _APPEND_ONLY = 0x10, 0x20
_MOUNTS = "/proc/self/mountinfo"


def check_writable(path: str) -> None:
    """Raises StoreError if a file at the resolved `path` could not be replaced or created, as far as one can tell without trying."""
    with explained(path, "write", " The file is unchanged."):
        directory, _missing = nearest(os.path.dirname(path))
        for place in (path, directory):
            flags = _flags(place) & (_IMMUTABLE | _APPEND_ONLY)
            if flags:
                word, letter = ("immutable", "i") if flags & _IMMUTABLE else ("append-only", "a")
                raise StoreError(f"{path}: cannot write: {os.strerror(errno.EPERM)}. {place} is {word}: find out who made it so, or end that with "
                                 f"`chattr -{letter} {place}`. The file is unchanged.")
        if not os.access(directory, os.W_OK | os.X_OK, effective_ids=True):
            reason = errno.EROFS if os.statvfs(directory).f_flag & os.ST_RDONLY else errno.EACCES
            raise OSError(reason, os.strerror(reason))
        if _is_mount_point(path):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))


class Room(NamedTuple):
    """What a change of the file at a resolved path needs on its file system while old and new files are there: new files of these sizes."""

    path: str
    sizes: Sequence[int]


def check_room(*changes: Room) -> None:
    """Raises StoreError if the file systems have no room for all changes at once, as far as they say.

    What a quota leaves is not known: NFS, Lustre and GPFS, where homes mostly are, each keep it in another way, and Linux only tells that of
    local disks. A file system that counts no blocks or files (sshfs, btrfs, vfat) is taken to have room.
    """
    blocks: Dict[int, int] = {}
    files: Dict[int, int] = {}
    seen = set()
    for change in changes:
        with explained(change.path, "write", " The file is unchanged."):
            directory = os.path.dirname(change.path)
            existing, missing = nearest(directory)
            disk, device = os.statvfs(existing), os.stat(existing).st_dev
            made = 0 if directory in seen else len(missing) + (status_of(os.path.join(directory, LOCK_FILE)) is None)
            seen.add(directory)
            files[device] = files.get(device, 0) + made + len(change.sizes)
            blocks[device] = blocks.get(device, 0) + sum(-(-size // disk.f_frsize) for size in change.sizes)
            free = disk.f_bavail if os.geteuid() else disk.f_bfree
            if (disk.f_blocks and blocks[device] > free) or (disk.f_files and files[device] > disk.f_ffree):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _flags(path: str) -> int:
    """What chattr set; nothing for a missing file, on file systems that have none, and where nobody may ask."""
    with contextlib.suppress(OSError), open_nofollow(path, os.O_RDONLY | os.O_NONBLOCK) as fd:
        return int.from_bytes(fcntl.ioctl(fd, _GET_FLAGS, bytes(8))[:4], sys.byteorder)
    return 0


def _is_mount_point(path: str) -> bool:
    """Whether something is mounted on this very file, as in a container: then it cannot be replaced."""
    with contextlib.suppress(OSError), open(_MOUNTS, "rb") as mounts:
        escaped = b"".join(b"\\%03o" % letter if letter in b" \t\n\\" else bytes([letter]) for letter in os.fsencode(path))
        return any(line.split(b" ", 5)[4] == escaped for line in mounts)
    return False
