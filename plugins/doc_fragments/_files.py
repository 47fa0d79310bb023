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
      - Whose files to manage, those of Apptainer or of SingularityCE. They have the same format and different places.
      - SingularityCE refuses to work for a user who has an endpoint of the same name as a global one, and from 4.5 it ignores a file that
        is a symbolic link.
    type: str
    choices: [apptainer, singularity]
    default: apptainer
  sysconfdir:
    description:
      - The directory above the C(apptainer) (or C(singularity)) directory that holds the global C(remote.yaml).
      - By default C(/etc), where packages put it, or C(/usr/local/etc), where C(make install) does, whichever has such a directory.
        For an Apptainer in another place, C(apptainer buildcfg SYSCONFDIR) tells.
      - This also says which global file is looked at when a user's file is changed.
    type: path
requirements:
  - Python 3.6 or newer and PyYAML 3.12 or newer on the managed node
"""

    # ROOT_SPEC there
    ROOT = r"""
options:
  root:
    description:
      - The root of another file system to work on, for instance of an image that is being built on this machine. An absolute path of a
        directory that exists; what is missing below it is made.
      - The global file is looked for below it as on a node, O(sysconfdir) is below it, and the paths of other files to work on must be.
        Symbolic links mean what they mean in the image, so that nothing outside is read or written.
      - The image's files belong to the owner of the directories they are made in. Names of users are those of this machine.
    type: path
"""

    # The rest of FILE_SPEC there, but for config_file, which each module describes
    WRITES = r"""
options:
  backup:
    description:
      - Keep a copy of the file, with a time stamp in its name, before it is replaced.
    type: bool
    default: false
  owner:
    description:
      - The user that the file should belong to.
      - By default, if the task runs as root, the owner of its directory. A user's file of another owner makes every Apptainer command fail.
        The owner of a user's file in a directory of root's is left alone.
    type: str
  group:
    description:
      - The group that the file should belong to.
      - By default the group is left alone. A new file that root makes gets that of its directory.
    type: str
  mode:
    description:
      - The mode of the file, as for M(ansible.builtin.file).
      - By default C(0644) for the global file, as Apptainer ignores one that users cannot read, and C(0600) for a user's,
        as it may hold secrets. The umask does not matter.
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
      - V(user) is that of the user that the task runs as, C(~/.apptainer/remote.yaml). C(APPTAINER_CONFIGDIR) is honoured.
      - V(global) is that of the whole node, C(/etc/apptainer/remote.yaml), usually with C(become).
    type: str
    choices: [user, global]
    default: user
  config_file:
    description:
      - The path of the file, in place of the usual one.
      - O(scope) still says what kind of file it is.
    type: path
"""
