# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run may change, as tests compare it."""

from pathlib import Path


def snapshot(directory: Path) -> dict[str, tuple[object, ...]]:
    """All below a directory that must not change when nothing is to be done: bytes, times, inodes, modes. Not what Ansible itself keeps there."""
    return {
        str(path.relative_to(directory)): (path.lstat().st_mode, path.lstat().st_ino, path.lstat().st_mtime_ns, path.is_file() and path.read_bytes())
        for path in directory.glob("**/*")
        if path.relative_to(directory).parts[0] != ".ansible"
    }
