# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Finding the real file behind symbolic links, by a rule that holds where others may have put the links there."""

import errno
import os
import stat
from typing import List, Optional

from .._errors import StoreError
from .access import explained, is_directory, status_of, user_name


def real_path(path: str, root: str = "/", is_file: bool = True) -> str:
    """The absolute path of the real file, which need not exist, behind all symbolic links: links are followed, not replaced.

    With `root`, the root of another system's file tree, `path` must be below it, or below its real path, and links below it mean what
    they mean to that system: an absolute one begins at `root`, and `..` does not lead out of it. So the answer is always below it.

    A link in place of the file is followed only to what its owner could have put there: something inside the link's own directory
    (unless that is sticky, as /tmp), or a target of the same owner; for a missing target its nearest existing parent counts. So root
    neither rewrites /etc/shadow for a user nor keeps the node's configuration in a user's file. A link in place of a directory on the
    path must pass the same test, unless root or the running user created it: /home on another disk is how the administrator built the system.

    With `is_file` false, `path` is that of a directory, and a link in its place is judged as one of a directory on the path.

    Raises StoreError for a link that fails this test, for a loop, and where the path cannot be searched.
    """
    with explained(path, "find the file"):
        base = _real(os.getcwd(), root, [], False)
        if base == "/":
            return _real(os.getcwd(), path, [], is_file)
        below = os.path.abspath(path)
        for top in (os.path.abspath(root), base):
            if (f"{below}/").startswith(f"{top}/"):
                return _real(base, below[len(top) + 1:], [], is_file, base)
        raise StoreError(f"{path}: is not below the root {root}. Correct one of the two.")


def link_at(path: str, root: str = "/") -> Optional[str]:
    """The symbolic link itself that is in place of the file at `path`, as the real path of its directory with its name; None if it is no link.

    `root` and what is raised are as in real_path(); StoreError also if the system does not say.
    """
    directory, name = os.path.split(path)
    link = os.path.join(real_path(directory or ".", root, is_file=False), name)
    with explained(link, "find the file"):
        status = status_of(link)
    return link if status is not None and stat.S_ISLNK(status.st_mode) else None


def link_text(link: str) -> str:
    """What the symbolic link itself says, which is at the path that link_at() returned; empty if it is no link any more. Raises StoreError."""
    try:
        with explained(link, "read this symbolic link"):
            return os.readlink(link)
    except StoreError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in (errno.EINVAL, errno.ENOENT):
            return ""
        raise


def has_directory(path: str) -> bool:
    """Whether the directory of the file at a resolved `path` exists. Raises StoreError if the system does not say."""
    with explained(path, "find its directory"):
        return is_directory(os.path.dirname(path))


def mode_of(path: str) -> int:
    """The mode of what is at `path`. Raises StoreError."""
    with explained(path, "read the mode"):
        return stat.S_IMODE(os.stat(path or ".").st_mode)


def owner_of(path: str) -> int:
    """The uid of the owner of `path`, which is no link, or for a missing one of its nearest existing parent. Raises StoreError."""
    with explained(path, "find the owner"):
        status = status_of(path)
    return owner_of(os.path.dirname(path)) if status is None else status.st_uid


def _real(directory: str, path: str, links: List[str], is_file: bool, root: str = "/") -> str:
    """`path`, seen from a real directory, without links; `links` collects those that were met. Nothing leads out of the real `root`."""
    real = root if path.startswith("/") else directory
    names = path.split("/")
    for index, name in enumerate(names, 1):
        if name == "..":
            real = real if real == root else os.path.dirname(real)
        elif name not in ("", "."):
            real = _behind(os.path.join(real, name), links, is_file and index == len(names), root)
    return real


def _behind(path: str, links: List[str], is_file: bool, root: str) -> str:
    """`path` itself, or where it leads if it is a link that may be followed. Its directory is real."""
    status = status_of(path)
    if status is None or not stat.S_ISLNK(status.st_mode):
        return path
    links.append(path)
    if len(links) > 40:  # as in Linux
        raise StoreError(f"{links[0]}: its symbolic links form a loop. Remove one of them.")
    directory = os.path.dirname(path)
    target = _real(directory, os.readlink(path), links, is_file, root)
    trusted = not is_file and status.st_uid in (0, os.geteuid())
    inside = f"{os.path.dirname(target)}/".startswith(f"{directory.rstrip('/')}/") and not os.stat(directory).st_mode & stat.S_ISVTX
    owner = owner_of(target)
    if trusted or inside or owner == status.st_uid:
        return target
    raise StoreError(
        f"{path}: is a symbolic link that belongs to {user_name(status.st_uid)}, but {target} belongs to {user_name(owner)}, so it is not followed. "
        "Give both the same owner (chown -h), or name the target as the file to manage."
    )
