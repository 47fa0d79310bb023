# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Reading small files, and telling whether somebody else may be writing them or may have put them there."""

import os
import stat
import time
from typing import NamedTuple, Optional

from .._errors import StoreError
from .access import explained, kind_of, open_nofollow, opened, user_name

MAX_BYTES = 16 * 1024 * 1024
WHOLE_NS = 10_000_000  # how much older than its last change of any kind the content of a file is made that was put in place as a whole

_RECENT = 2.0  # seconds in which what was written last may not be all
_PAUSE = 0.25  # seconds between two reads
_PATIENCE = 30.0  # seconds


class FileState(NamedTuple):
    """What was read, with what tells that a file has been written since: its number of links, size, and times in ns. All None without a file."""

    data: Optional[bytes] = None
    mode: Optional[int] = None
    uid: Optional[int] = None
    gid: Optional[int] = None
    links: Optional[int] = None
    size: Optional[int] = None
    mtime: Optional[int] = None
    ctime: Optional[int] = None


def read(path: str, refuse_foreign: bool = False) -> FileState:
    """The file at a resolved `path`, or nothing if it or its directory does not exist.

    With `refuse_foreign`, root also refuses a file that may be a hard link to somebody else's, put there by the owner of the directory, who would
    then get its content from root. In a directory that only root may write, there can be no such link.

    Raises StoreError if it is no regular file (a FIFO does not block), unreadable, larger than MAX_BYTES, or suddenly behind a link.
    """
    directory, name = os.path.split(path)
    with explained(path, "read"):
        try:
            with opened(directory) as parent, open_nofollow(name or ".", os.O_RDONLY | os.O_NONBLOCK, parent) as fd:
                status = os.fstat(fd)
                if not stat.S_ISREG(status.st_mode):
                    raise StoreError(
                        f"{path}: is {kind_of(status.st_mode)} where a regular file is expected. Move it away, or name another file.")
                if refuse_foreign and os.geteuid() == 0:
                    _check_owner(path, status, os.fstat(parent))
                with os.fdopen(fd, "rb", closefd=False) as stream:
                    data = stream.read(MAX_BYTES + 1)
                status = os.fstat(fd)  # later than all that was read: settled() can tell whether it was being written
        except FileNotFoundError:
            return FileState()
    if len(data) > MAX_BYTES:
        raise StoreError(f"{path}: is larger than {MAX_BYTES >> 20} MiB, so it is not a configuration file. Find out what wrote it.")
    return FileState(data, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_nlink, status.st_size, status.st_mtime_ns,
                     status.st_ctime_ns)


def _check_owner(path: str, file: os.stat_result, directory: os.stat_result) -> None:
    if file.st_uid == directory.st_uid or (directory.st_uid == 0 and not directory.st_mode & 0o022):
        return
    owner = user_name(directory.st_uid)
    if file.st_uid:
        raise StoreError(
            f"{path}: belongs to {user_name(file.st_uid)}, but its directory to {owner}, so it may be a hard link to a file of "
            f"{user_name(file.st_uid)} that somebody else put there, and is left alone. Move it away, or, if it is what belongs there, make it "
            f"{owner}'s (chown).")
    if file.st_nlink > 1:
        raise StoreError(
            f"{path}: belongs to root and has {file.st_nlink} hard links, so it may be another file of root that {owner}, the owner of its "
            "directory, gave this name, and is left alone. Find its other names with `find -xdev -samefile`, and remove this one.")


def settled(path: str, state: FileState) -> FileState:
    """The file at a resolved `path`, once nobody seems to be writing it any more; `state` is what has just been read there.

    Apptainer truncates a file and then writes it (`internal/app/apptainer/remote_add.go`), so what is read meanwhile may be nothing, or only the
    beginning. A file that is empty or was written in the last two seconds is read again until two reads, with a pause between them, agree in
    all, size and time included; if it has no proper end (nothing, or no end of a line), for all these two seconds. A file that was put in place
    as a whole, as replace() does, is known by its times, and costs no pause.

    Raises StoreError if that does not happen in half a minute, or if the file cannot be read.
    """
    begin = since = time.monotonic()
    while _may_be_unfinished(state):
        time.sleep(_PAUSE)
        again, now = read(path, refuse_foreign=True), time.monotonic()
        if again != state:
            state, since = again, now
        elif _has_end(state) or now - since >= _RECENT or not _is_recent(state):
            break
        if now - begin > _PATIENCE:
            raise StoreError(f"{path}: another program keeps writing this file, and did not pause for {_PATIENCE:g} seconds, so nothing was written. "
                             f"Find it (`fuser -v {path}`), and run again.")
    return state


def _may_be_unfinished(state: FileState) -> bool:
    if state.data is None or state.mtime is None or state.ctime is None:
        return False
    return not state.data or (_is_recent(state) and state.ctime - state.mtime < WHOLE_NS)


def _is_recent(state: FileState) -> bool:
    return time.time() - (state.mtime or 0) / 1e9 < _RECENT


def _has_end(state: FileState) -> bool:
    return state.data is None or state.data.endswith((b"\n", b"}"))
