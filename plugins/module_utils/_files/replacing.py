# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Replacing files as a whole, and removing what interrupted runs left."""

import contextlib
import os
import re
import stat
import time
from typing import Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from .._errors import ConflictError, StoreError
from .access import DIRECTORY, UNSUPPORTED, explained, give_to_owner_of, open_nofollow, opened, status_of, user_name
from .paths import link_text
from .reading import WHOLE_NS, FileState, read

_OLD = 3600  # seconds after which nobody is still writing a temporary file


class Replacement(NamedTuple):
    """New content for the file at a resolved path, its mode, and a uid and gid that it would not get by itself; see replace().

    If `path` is that of a symbolic link which the new file is to replace (link_at), `link` is what it says and `source` its resolved target.
    """

    path: str
    data: bytes
    prepare: Callable[[str], object]
    before: Optional[FileState] = None
    backup: str = ""
    mode: int = 0o600
    owner: Tuple[int, int] = (-1, -1)
    source: str = ""
    link: str = ""


def replace(*changes: Replacement) -> None:
    """Puts new files at the paths of `changes`: whoever looks, at any instant, sees the old or the new file, whole.

    Unless `owner` names another, the owner is kept, or it fails. So is the group; if that is not permitted, it fails only where the old
    mode gave the group rights of its own. A new file that root creates belongs to the owner of its directory. ACLs and other extended
    attributes are not kept: Apptainer's chmod 0600 disables an ACL on a user's file, and everybody may read the global one.
    `prepare` gets the path of the temporary file, in the same directory, to set its security context and nothing else: others may
    replace that file meanwhile.

    With `before`, as read when the change was planned, it fails if the file has changed since: Apptainer itself takes no locks.
    With `backup`, the name of a file that does not exist yet, the old content stays in the same directory under that name. The backup is
    prepared as the new file, but nobody gets more rights than the old one gave: neither mode lets others read a secret in it.

    All temporary files are on disk before the first file is replaced, so that a full disk keeps all as they were. The new files are dated back
    by a moment (WHOLE_NS), by which settled() knows them.

    Raises StoreError, and whatever `prepare` raises; the old files are then untouched and the temporary ones gone. A temporary file that
    cannot be removed is named. A kill may leave those behind, with their secrets: see left_overs().
    """
    kept: Dict[str, str] = {}
    try:
        with contextlib.ExitStack() as stack:
            _replace(stack, changes, kept)
    except StoreError as error:
        if not kept:
            raise
        raise StoreError(f"{error} Besides: {_still_there(kept)}") from error
    if kept:
        raise StoreError(f"{_still_there(kept)} The files are as declared.")


def _still_there(kept: Mapping[str, str]) -> str:
    """What to say of these temporary files, which cannot be removed for these reasons."""
    sentences = []
    for directory in dict.fromkeys(map(os.path.dirname, kept)):
        paths = [path for path in kept if os.path.dirname(path) == directory]
        where, what, them = paths[0], "this temporary file", "it"
        if paths[1:]:
            where, what, them = directory, f"the temporary files {', '.join(map(os.path.basename, paths))}", "them"
        reasons = ", ".join(dict.fromkeys(kept[path] for path in paths))
        sentences.append(f"{where}: {what} may hold secrets, but cannot be removed: {reasons}. Remove {them}.")
    return " ".join(sentences)


def _replace(stack: contextlib.ExitStack, changes: Sequence[Replacement], kept: Dict[str, str]) -> None:
    ready = [_prepare(stack, change, kept) for change in changes]
    for change in changes:
        is_another = change.link and link_text(change.path) != change.link
        if is_another or (change.before is not None and read(change.source or change.path) != change.before):
            raise ConflictError(f"{change.path}: was changed by someone else while this task ran, so it is left as it is now. Run again.")
    for number, (change, parent, temporary) in enumerate(ready):
        replaced = ", ".join(other.path for other in changes[:number])
        with explained(change.path, "write", f" The file is unchanged{replaced and f', but not {replaced}'}."):
            _rename_into_place(change, parent, temporary)
    for change, parent, _temporary in ready:
        with explained(change.path, "flush its directory to disk", " The new file is in place, but a power failure may undo that."):
            _sync_directory(parent)


def _prepare(stack: contextlib.ExitStack, change: Replacement, kept: Dict[str, str]) -> Tuple[Replacement, int, str]:
    """Creates the temporary files of a change; returns them with the descriptor of their directory. They are removed with the stack."""
    directory, name = os.path.split(change.path)
    temporary = f".{name}.ansible-{os.urandom(8).hex()}"
    with explained(change.path, "write", " The file is unchanged."):
        parent = stack.enter_context(opened(directory))
        stack.callback(_discard, parent, directory, temporary, kept)
        _fill(parent, change, temporary, change.data)
        if change.backup and change.before is not None and change.before.data is not None:
            stack.callback(_discard, parent, directory, f"{temporary}~", kept)
            _fill(parent, change._replace(mode=change.mode & (change.before.mode or 0)), f"{temporary}~", change.before.data)
    return change, parent, temporary


def _rename_into_place(change: Replacement, parent: int, temporary: str) -> None:
    if change.backup and change.before is not None and change.before.data is not None:
        os.link(f"{temporary}~", change.backup, src_dir_fd=parent, dst_dir_fd=parent, follow_symlinks=False)
    os.replace(temporary, os.path.basename(change.path), src_dir_fd=parent, dst_dir_fd=parent)


def _discard(parent: int, directory: str, name: str, kept: Dict[str, str]) -> None:
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=parent)
    except OSError as exc:
        with contextlib.suppress(OSError):
            if status_of(name, parent) is None:  # a read-only file system says EROFS of a missing file as well
                return
        kept[os.path.join(directory, name)] = str(exc.strerror or exc)


def _fill(parent: int, change: Replacement, temporary: str, data: bytes) -> None:
    """Creates the temporary file: whole, prepared, on disk."""
    directory, name = os.path.split(change.path)
    old = None if change.link else status_of(name, parent)
    with open_nofollow(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, parent) as fd:
        with os.fdopen(fd, "wb", closefd=False) as stream:
            stream.write(data)
        if old is None:
            give_to_owner_of(parent, fd)
        else:
            _keep_owner(change.path, fd, old)
        status = os.fstat(fd)  # what is right already is left alone: some file systems refuse to do even nothing
        if any(wanted not in (-1, now) for wanted, now in zip(change.owner, (status.st_uid, status.st_gid))):
            os.fchown(fd, *change.owner)
        if stat.S_IMODE(status.st_mode) != change.mode:
            os.fchmod(fd, change.mode)
        change.prepare(os.path.join(directory, temporary))
        status = os.fstat(fd)
        with contextlib.suppress(OSError):  # then the next task waits a moment
            os.utime(fd, ns=(status.st_atime_ns, status.st_mtime_ns - WHOLE_NS))
        os.fsync(fd)


def _keep_owner(path: str, fd: int, old: os.stat_result) -> None:
    """Fails for another owner, and for a group whose rights differ from everybody's: 0600 and 0644 say nothing about the group."""
    try:
        os.fchown(fd, old.st_uid, old.st_gid)
    except PermissionError as exc:
        if old.st_uid != os.fstat(fd).st_uid or (old.st_mode >> 3) & 7 != old.st_mode & 7:
            raise StoreError(
                f"{path}: belongs to {user_name(old.st_uid)} and group {old.st_gid}, which {user_name(os.geteuid())} may not give to a new file. "
                "Run the task as root or as the owner (become_user); the file is unchanged."
            ) from exc


def _sync_directory(parent: int) -> None:
    """Makes the rename durable, where the file system can."""
    try:
        with open_nofollow(".", DIRECTORY, parent) as fd:
            os.fsync(fd)
    except OSError as exc:
        if exc.errno not in UNSUPPORTED:
            raise


def left_overs(path: str) -> List[str]:
    """The temporary files that runs left behind which were killed while they replaced the file at the resolved `path`: those an hour old.

    A younger one may be another run's. None are found in a directory that does not exist, or that may not be listed. Raises StoreError.
    """
    directory, name = os.path.split(path)
    pattern = re.compile(rf"\.{re.escape(name)}\.ansible-[0-9a-f]{{16}}~?\Z")
    found = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(explained(directory, "look for what interrupted runs left there"))
        stack.enter_context(contextlib.suppress(FileNotFoundError, PermissionError))
        fd = stack.enter_context(open_nofollow(".", DIRECTORY, stack.enter_context(opened(directory))))
        for entry in sorted(filter(pattern.match, os.listdir(fd))):
            status = status_of(entry, fd)
            if status is not None and status.st_mtime < time.time() - _OLD:
                found.append(os.path.join(directory, entry))
    return found


def remove_left_overs(paths: Sequence[str]) -> None:
    """Removes what left_overs() found, under the lock. Raises StoreError if it cannot."""
    for path in paths:
        directory, name = os.path.split(path)
        outcome = " It was left by an interrupted run, and may hold secrets; the files themselves are as declared."
        with explained(path, "remove", outcome), opened(directory) as parent, contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=parent)
