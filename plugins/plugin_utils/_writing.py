# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Files that reports are written to, replaced as a whole."""

from __future__ import annotations

import contextlib
import os
import tempfile

from ansible_collections.hpc.apptainer.plugins.plugin_utils._text import printable


def write_file(path: str, text: str, mode: int) -> str:
    """Replace the file, or the target of a symbolic link, in one step. Returns an error message, or an empty string.

    A link is followed only if it belongs to root or this account. Otherwise others who can write to the directory could choose what is replaced.
    """
    temporary = ""
    try:
        if os.path.islink(path) and os.lstat(path).st_uid not in (0, os.geteuid()):
            return _write_error(path, "a symbolic link of another user")
        target = os.path.realpath(path)
        with tempfile.NamedTemporaryFile(dir=os.path.dirname(target), prefix=".apptainer-drift.", delete=False) as file:
            temporary = file.name
            file.write(text.encode("utf-8", "replace"))
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except (OSError, ValueError) as error:  # ValueError: the name has a NUL, or a character that the file system's encoding does not have
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        return _write_error(path, getattr(error, "strerror", None) or "not a valid file name")
    return ""


def _write_error(path: str, reason: str) -> str:
    return f"The report could not be written to {printable(path)} ({reason}): set a path in an existing directory that is writable"
