# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

from __future__ import annotations

# All modules that run on managed nodes. Their fragments are annotated, because ansible-test takes only literals in plain assignments.
_NODE = r"""
options: {}
attributes:
  platform:
    description: Target operating systems that the module can run on.
    support: full
    platforms: linux
  idempotent:
    description:
      - When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change.
    support: full
"""


class ModuleDocFragment:
    # The support of diff_mode is in WRITES and READS, or in the module
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
"""

    ACTION = r"""
options: {}
attributes:
  action:
    description: Indicates this has a corresponding action plugin so some parts of the options can be executed on the controller.
    support: full
"""

    WRITES: str = _NODE + """\
  diff_mode:
    support: full
  safe_file_operations:
    description: Uses Ansible's strict file operation functions to ensure proper permissions and avoid data corruption.
    support: partial
    details:
      - The SELinux context is set by Ansible's functions. The file, its mode and its owner are written by functions of this collection.
        Unlike Ansible's, these follow symbolic links, flush the file to disk, and never expose a new file with a wrong mode or owner.
"""

    READS: str = _NODE + """\
    details:
      - This module never changes anything.
  diff_mode:
    support: N/A
    details:
      - This module never changes anything.
"""

    ACTIONGROUP = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/hpc.apptainer.apptainer) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - hpc.apptainer.apptainer
    details:
      - All members of the group have O(flavor), O(sysconfdir), O(timeout), O(validate_certs), O(ca_path), O(client_cert), O(client_key) and O(verify),
        so each of these can be a default of the group.
      - Do not set O(config_file) for the group, because it is the global file for some members and the user's file for others.
"""
