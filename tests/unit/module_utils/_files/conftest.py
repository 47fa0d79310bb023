# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What all tests of the store share."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest


@pytest.fixture
def place():
    """A directory that every user can reach, unlike tmp_path."""
    directory = Path(os.path.realpath(tempfile.mkdtemp(prefix="store-")))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(str(directory))


@pytest.fixture
def link(place):
    """A link to a file in another directory."""
    (place / "home").mkdir()
    (place / "target").write_bytes(b"old\n")
    (place / "home" / "link").symlink_to(place / "target")
    return place / "home" / "link"
