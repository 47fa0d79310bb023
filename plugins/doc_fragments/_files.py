# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

from __future__ import annotations


class ModuleDocFragment:
    # The options of LOCATION_SPEC in module_utils/_module/common.py
    DOCUMENTATION = r"""
options:
  flavor:
    description:
      - Whether the files are those of Apptainer or of SingularityCE. The format is the same, the paths are not.
      - SingularityCE fails for a user who has an endpoint with the same name as a global one.
      - From version 4.5.0 on, SingularityCE does not open a C(remote.yaml) that is a symbolic link. It then ignores the global file, without a
        message. If the user's file is such a link, every command of the user fails, even C(singularity version).
      - Therefore, with V(singularity) such a link counts as drift, and the modules that write C(remote.yaml) put a file with the declared
        content in its place. The target of the link stays as it is. A link in place of a directory on the path, or of
        C(docker-config.json), is followed.
    type: str
    choices: [apptainer, singularity]
    default: apptainer
  sysconfdir:
    description:
      - The directory that contains the C(apptainer) (or C(singularity)) directory with the global C(remote.yaml).
      - The default is V(/etc) (used by packages) or V(/usr/local/etc) (used by C(make install)), whichever contains such a directory,
        or V(/etc) if both or neither do.
      - For an Apptainer that is installed elsewhere, C(apptainer buildcfg SYSCONFDIR) prints this directory.
      - A user's file is read together with the global file in this directory.
    type: path
requirements:
  - Python 3.6 or newer and PyYAML 3.12 or newer on the managed node
"""

    # ROOT_SPEC there
    ROOT = r"""
options:
  root:
    description:
      - The root of another file system to work on, for example of an image that is being built on this machine.
        It must be the absolute path of an existing directory. Directories that are missing below it are created when a file is written.
      - The global file is searched for inside this file system, and O(sysconfdir) is a path inside it. The paths of other files to work on
        must start with the root.
      - Symbolic links are resolved as they are inside the image, so nothing outside of it is read or written.
      - User and group names are those of this machine, not those of the image.
    type: path
"""

    # The rest of FILE_SPEC there, but for config_file, which each module describes
    WRITES = r"""
options:
  backup:
    description:
      - Keep a copy of the file before it is replaced. The name of the copy contains a time stamp.
    type: bool
    default: false
  owner:
    description:
      - The user that owns the file.
      - If this is not set and the task runs as root, the owner of the directory also owns the file. The exception is a user's file in a
        directory of root, whose owner does not change.
      - If a user's file belongs to somebody else, every Apptainer command of that user fails.
    type: str
  group:
    description:
      - The group that owns the file.
      - If not set, the group does not change. A new file that root creates gets the group of its directory.
    type: str
  mode:
    description:
      - The mode of the file, as for M(ansible.builtin.file). The umask has no effect.
      - The default for the global file is V(0644), because Apptainer ignores a global file that users cannot read.
      - The default for a user's files is V(0600), because they may contain secrets.
    type: raw
  seuser:
    description: The user part of the file's SELinux context.
    type: str
  serole:
    description: The role part of the file's SELinux context.
    type: str
  setype:
    description: The type part of the file's SELinux context.
    type: str
  selevel:
    description: The level part of the file's SELinux context.
    type: str
"""

    # What SCOPED_FILE_SPEC in module_utils/_module/endpoints.py adds
    SCOPED = r"""
options:
  scope:
    description:
      - Which C(remote.yaml) to change.
      - V(user) is the file of the user that the task runs as, C(~/.apptainer/remote.yaml), or C(remote.yaml) in the directory that
        E(APPTAINER_CONFIGDIR) names.
      - V(global) is the file for all users of the node, C(/etc/apptainer/remote.yaml). Changing it usually needs C(become).
    type: str
    choices: [user, global]
    default: user
  config_file:
    description:
      - The path of the file, if it is not the usual one.
      - O(scope) still determines whether it is a user's file or the global one.
    type: path
"""
