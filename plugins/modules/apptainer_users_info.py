#!/usr/bin/python

# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: apptainer_users_info
short_description: Show what is wrong with the files that users have for Apptainer
description:
  - Reads the C(remote.yaml), the C(docker-config.json) and the discovery cache of each of many users, as
    M(hpc.apptainer.apptainer_remote_info) does if it runs as that user, and lists what is wrong with them.
  - Each user's files are read by a process with the rights of this user and no others. So homes may be on NFS with C(root_squash), and a
    user who links a file to one that only root may read gets no more than that said.
  - What is wrong with the global file is not in the result. M(hpc.apptainer.apptainer_remote_info) as root shows it, once.
author:
  - The hpc.apptainer contributors (@hpc-apptainer)
extends_documentation_fragment:
  - hpc.apptainer._attributes
  - hpc.apptainer._attributes.reads
  - hpc.apptainer._files
attributes:
  diff_mode:
    support: N/A
    details:
      - This module never changes anything.
options:
  users:
    description:
      - The users to look at, by name or uid. One whom the node does not know is in the result, with an error.
      - By default everybody in the node's user database whose uid is from C(UID_MIN) to C(UID_MAX) of C(/etc/login.defs).
        Many directory services do not list their users there. Then give O(homes).
    type: list
    elements: str
  homes:
    description:
      - Directories of homes, for instance V(/home). The owners of the directories in them are looked at as well, from C(UID_MIN) on, in
        the homes that the user database gives them.
      - One that does not exist has no homes in it. Owners whom the user database does not know are left out.
    type: list
    elements: path
    default: []
  global_config_file:
    description:
      - The path of the global file, in place of the one that O(sysconfdir) and O(flavor) give. Users' files are compared with it.
    type: path
  timeout:
    description:
      - How many seconds to wait for one user's files, or for one of O(homes). Many users are looked at at the same time.
      - A user whose files cannot be read in time, as the file server does not answer, is in the result, with an error.
    type: float
    default: 10
notes:
  - Run it as root (C(become)). Another user can only look at the own files; all others are in the result, with an error.
  - On NFS with Kerberos, a user who has no ticket on the node cannot read the own home there, which is a finding.
seealso:
  - module: hpc.apptainer.apptainer_remote_info
"""

EXAMPLES = r"""
- name: Look at the files of all users of the node
  hpc.apptainer.apptainer_users_info:
  become: true
  register: audit

- name: Look also at those whom the directory service does not list
  hpc.apptainer.apptainer_users_info:
    homes: [/home]
    timeout: 30
  become: true
  register: audit

- name: Fail if a user has something to mend
  ansible.builtin.assert:
    that: audit.users | map(attribute='findings') | flatten | selectattr('severity', 'eq', 'error') | length == 0
    fail_msg: "{{ audit.users | map(attribute='findings') | flatten | map(attribute='message') | join(', ') }}"
"""

RETURN = r"""
checked:
  description: How many users were looked at.
  returned: success
  type: int
  sample: 1204
users:
  description: The users with findings and those who could not be looked at, by name. Empty if all is well.
  returned: success
  type: list
  elements: dict
  contains:
    user:
      description: The name of the user.
      type: str
    home:
      description: The home, as the user database has it, or V(null) for a user who is not in it.
      type: str
    error:
      description: Why nothing could be found out about this user, or V(null).
      type: str
    findings:
      description: What is wrong with the user's own files, the worst first. Empty if there is an error.
      type: list
      elements: dict
      contains:
        id:
          description: A short name for the kind of finding.
          type: str
          sample: stale-copy
        severity:
          description: V(error) breaks something or opens a hole now, V(warning) will for some users or versions.
          type: str
          choices: [error, warning]
        path:
          description: The file it is about.
          type: str
        line:
          description: The line in it, or V(null).
          type: int
        remote:
          description: The endpoint it is about, or V(null).
          type: str
        message:
          description: What is wrong, and what to do.
          type: str
        refused_by:
          description: The versions of Apptainer that refuse the file for this reason.
          type: list
          elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hpc.apptainer.plugins.module_utils._module.common import run
from ansible_collections.hpc.apptainer.plugins.module_utils._module.users import USERS_SPEC, audit


def main():
    module = AnsibleModule(argument_spec=USERS_SPEC, supports_check_mode=True)
    run(module, lambda: audit(module.params))


if __name__ == "__main__":
    main()
