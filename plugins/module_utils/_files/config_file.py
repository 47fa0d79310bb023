# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Small configuration files: found behind symbolic links, read, locked, and replaced as a whole. Others use this folder by this file.

The order of use is `path = real_path(name)`, `state = read(path)` and, only if something has to change: `settled(path, state)`,
`make_directory(...)`, then `replace(...)` under `locked(path)`. Root may do all this in the directory of a user who tries to trick it: links
are followed by a rule (`real_path`), and everything afterwards reaches the file through descriptors that were opened without following any.

Every error is a StoreError. It names the path, what the system said and what to do, never the content of the file.
"""

from .access import of_root_in_a_home
from .directories import DirectoryDrift, global_directory_drift, make_directory, repair_directory, users_directory_drift
from .foresight import Room, check_room, check_writable
from .locking import LOCK_FILE, locked
from .paths import has_directory, link_at, link_text, mode_of, owner_of, real_path
from .reading import MAX_BYTES, FileState, read, settled
from .replacing import Replacement, left_overs, remove_left_overs, replace

__all__ = (
    "LOCK_FILE",
    "MAX_BYTES",
    "DirectoryDrift",
    "FileState",
    "Replacement",
    "Room",
    "check_room",
    "check_writable",
    "global_directory_drift",
    "has_directory",
    "left_overs",
    "link_at",
    "link_text",
    "locked",
    "make_directory",
    "mode_of",
    "of_root_in_a_home",
    "owner_of",
    "read",
    "real_path",
    "remove_left_overs",
    "repair_directory",
    "replace",
    "settled",
    "users_directory_drift",
)
