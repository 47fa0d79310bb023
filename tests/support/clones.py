# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fresh clone, as if all changes of this checkout were committed."""

import subprocess
from pathlib import Path

from support.envs import ROOT


def clone(target: Path) -> Path:
    """Fill the directory `target` with the files that git would clone, and return it. They are in the index of its repository."""
    subprocess.run(["git", "init", "--quiet", target], check=True)
    subprocess.run(["git", f"--git-dir={target / '.git'}", f"--work-tree={ROOT}", "add", "--all"], check=True)
    subprocess.run(["git", "checkout-index", "--all"], cwd=target, check=True)
    return target
