# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Everything that is in a directory, to compare what different runs leave: bytes, modes, owners, links, left-overs."""

import os
import re
import stat
import time
from pathlib import Path
from typing import NamedTuple

from ansible_collections.hpc.apptainer.plugins.module_utils._files.config_file import LOCK_FILE

OTHERS = ("tmp", "home/.ansible")  # belong to the system and to Ansible, who empty them
BACKUP = re.compile(r"\.\d+\.\d{4}-\d\d-\d\d@\d\d:\d\d:\d\d~$")
RANDOM = re.compile(r"[0-9a-f]{8,}")


class Entry(NamedTuple):
    """One file or directory: its kind (as in st_mode), mode, owner, number of links (files only) and content."""

    kind: int
    mode: int
    uid: int
    gid: int
    links: int
    data: bytes

    def __str__(self) -> str:
        kind = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}.get(self.kind, "other")
        links = f" with {self.links} links" if self.links > 1 else ""
        return f"{kind} {self.mode:04o} {self.uid}:{self.gid}{links}, {len(self.data)} bytes"


Tree = dict[str, frozenset[Entry]]  # by paths without what is random in them, so that there may be several of one name


def usual(path: str) -> str:
    """A path without what is random in it, or tells the time."""
    return RANDOM.sub("X", BACKUP.sub(".BACKUP~", path))


def tree(base: Path) -> Tree:
    """What is below a directory."""
    found: dict[str, set[Entry]] = {}
    for directory, names, files in os.walk(base):
        for name in [*names, *files]:
            path = os.path.join(directory, name)
            relative = os.path.relpath(path, base)
            if relative in OTHERS:
                names.remove(name)
                continue
            found.setdefault(usual(relative), set()).add(_entry(path))
    return {name: frozenset(entries) for name, entries in found.items()}


def _entry(path: str) -> Entry:
    status = os.lstat(path)
    kind, data = stat.S_IFMT(status.st_mode), b""
    if kind == stat.S_IFREG:
        data = Path(path).read_bytes()
    elif kind == stat.S_IFLNK:
        data = os.fsencode(os.readlink(path))
    return Entry(kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, 0 if kind == stat.S_IFDIR else status.st_nlink, data)


def age(base: Path, hours: float = 2.0) -> None:
    """Nothing in it was changed lately: what is left over is old enough to be removed, and what is there nobody writes any more."""
    then = time.time() - 3600 * hours
    for directory, names, files in os.walk(base, topdown=False):
        for name in [*names, *files]:
            os.utime(os.path.join(directory, name), (then, then), follow_symlinks=False)


def is_backup(name: str) -> bool:
    return name.endswith(".BACKUP~")


def differences(expected: Tree, found: Tree) -> list[str]:
    """In which one is not as the other.

    Several copies of the same old content are as good as one, and as none where the old content had been replaced before. A lock file is made by
    whoever wants to write, where that is possible.
    """
    wrong = []
    for name in sorted(expected.keys() | found.keys()):
        before, after = expected.get(name, frozenset()), found.get(name, frozenset())
        if before == after or (not after and (is_backup(name) or name.endswith(LOCK_FILE))):
            continue
        wanted = " and ".join(map(str, sorted(before))) or "nothing"
        content = " with other content" if {entry._replace(data=b"") for entry in before} == {entry._replace(data=b"") for entry in after} else ""
        wrong.append(f"{name} is {' and '.join(map(str, sorted(after))) or 'missing'}{content}, but should be {wanted}")
    return wrong
