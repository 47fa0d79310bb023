#!/usr/bin/python

# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: apptainer_users_info
short_description: Find problems in users' Apptainer files
version_added: 1.0.0
description:
  - Reads the C(remote.yaml), the C(docker-config.json) and the discovery cache of each user, as M(hpc.apptainer.apptainer_remote_info)
    does when it runs as that user, and reports the problems in them.
  - The files of each user are read by a process that has only this user's rights. This works for homes on NFS with C(root_squash).
    If a user links one of these files to a file that only root can read, the module reports only that it cannot be read.
  - Problems with the global file are not reported. Run M(hpc.apptainer.apptainer_remote_info) as root to find them.
author:
  - The hpc.apptainer contributors (@hpc-apptainer)
extends_documentation_fragment:
  - hpc.apptainer._attributes
  - hpc.apptainer._attributes.reads
  - hpc.apptainer._files
options:
  users:
    description:
      - The users to check, by name or UID. A user that the node does not know is returned with an error.
      - By default, all users in the node's user database with a UID from C(UID_MIN) to C(UID_MAX) of C(/etc/login.defs).
        Many directory services do not list their users in it. Use O(homes) in that case.
    type: list
    elements: str
  homes:
    description:
      - Directories that contain home directories, for example V(/home). The owners of these home directories are checked too, if their UID
        is at least C(UID_MIN). Their files are read in the home that the user database has for them.
      - A directory that does not exist is ignored. Owners that are not in the user database are ignored too.
    type: list
    elements: path
    default: []
  global_config_file:
    description:
      - The path of the global file, if it is not the one that O(sysconfdir) and O(flavor) determine. Users' files are compared with it.
    type: path
  timeout:
    description:
      - The time limit, in seconds, for reading the files of one user or one directory of O(homes). Many users are checked in parallel.
      - A user whose files cannot be read in time, for example because a file server does not answer, is returned with an error.
    type: float
    default: 10
notes:
  - Run the module as root (with C(become)). Any other user can only read their own files, and all other users are returned with an error.
  - On NFS with Kerberos, the home of a user who has no ticket on the node cannot be read. This is reported as a finding.
seealso:
  - module: hpc.apptainer.apptainer_remote_info
"""

EXAMPLES = r"""
- name: Check the files of all users of the node
  hpc.apptainer.apptainer_users_info:
  become: true
  register: audit

- name: Also check users that the directory service does not list
  hpc.apptainer.apptainer_users_info:
    homes: [/home]
    timeout: 30
  become: true
  register: audit

- name: Fail if a user's files have errors to fix
  ansible.builtin.assert:
    that: audit.users | map(attribute='findings') | flatten | selectattr('severity', 'eq', 'error') | length == 0
    fail_msg: "{{ audit.users | map(attribute='findings') | flatten | map(attribute='message') | join(', ') }}"

- name: Name the users who would be locked out if a retired endpoint were removed now
  ansible.builtin.assert:
    that: locked_out | length == 0
    fail_msg: "{{ locked_out | join(', ') }}"
  vars:
    locked_out: >-
      {{ audit.users | subelements('findings') | selectattr('1.id', 'eq', 'unreleased-copy') | map(attribute='0.user') | unique }}
"""

RETURN = r"""
checked:
  description: How many users were checked.
  returned: success
  type: int
  sample: 1204
users:
  description: The users whose files have problems or cannot be checked, by name. Empty if there are none.
  returned: success
  type: list
  elements: dict
  contains:
    user:
      description: The name of the user.
      type: str
    home:
      description: The home directory in the user database, or V(null) for a user who is not in it.
      type: str
    error:
      description: Why the files of this user cannot be checked, or V(null).
      type: str
    findings:
      description: The problems in the user's own files, the most severe first. Empty if there is an error.
      type: list
      elements: dict
      contains:
        id:
          description: A short name for the kind of problem.
          type: str
          sample: two-exclusives
        severity:
          description:
            - V(error) means that something is broken or insecure now.
            - V(warning) means that it will be for some users or some versions of Apptainer.
            - V(info) needs no action, unless what it says matters to you.
          type: str
          choices:
            - error
            - warning
            - info
        path:
          description: The file or directory with the problem.
          type: str
        line:
          description: The line of the file, or V(null).
          type: int
        remote:
          description: The name of the endpoint with the problem, or V(null).
          type: str
        message:
          description: What is wrong, and how to fix it.
          type: str
        refused_by:
          description:
            - The minor versions of the program that refuse the file because of this problem.
            - V(1.6) is the coming version of Apptainer. With O(flavor=singularity) they are versions of SingularityCE.
          type: list
          elements: str
"""

from ansible_collections.hpc.apptainer.plugins.module_utils._module.common import Module, run
from ansible_collections.hpc.apptainer.plugins.module_utils._module.users import USERS_SPEC, audit


def main():
    module = Module(argument_spec=USERS_SPEC, supports_check_mode=True)
    run(module, audit)


if __name__ == "__main__":
    main()
