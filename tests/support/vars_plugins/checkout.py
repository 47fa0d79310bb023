# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes a checkout, whatever its directory is called, the collection hpc.apptainer: by a link to it in .collections.

The link cannot be committed: tools that follow links would find the checkout in itself. `make` makes it (`support.envs` runs this file). For
those who run `ansible` before that, this is a plugin for variables without variables: ansible.cfg names it, and Ansible loads such plugins
before it looks for a task's module.
"""

import contextlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


class VarsModule:
    """What Ansible looks for in the file."""

    def get_vars(self, loader: object, path: object, entities: object) -> dict[str, object]:
        """No variables."""
        return {}


def link_checkout() -> None:
    """Make the link, unless it is there. Without permission to do so there is none, and Ansible will say that it doesn't find the collection."""
    link = ROOT / ".collections" / "ansible_collections" / "hpc" / "apptainer"
    with contextlib.suppress(FileExistsError, PermissionError):
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to("../../..")


link_checkout()
