#!/usr/bin/python

# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: apptainer_remote_info
short_description: Show the remote endpoints of Apptainer and what is wrong with them
description:
  - Reads the global C(remote.yaml) and that of the user the task runs as, computes what Apptainer makes of both, and lists what is wrong.
  - A file that Apptainer cannot read is a finding, not a failure of the task. Apptainer itself ignores such a file without a message.
author:
  - The hpc.apptainer contributors (@hpc-apptainer)
extends_documentation_fragment:
  - hpc.apptainer._attributes
  - hpc.apptainer._attributes.reads
  - hpc.apptainer._attributes.actiongroup
  - hpc.apptainer._files
attributes:
  diff_mode:
    support: N/A
    details:
      - This module never changes anything.
options:
  config_file:
    description:
      - The path of the user's file, in place of the usual one.
    type: path
  global_config_file:
    description:
      - The path of the global file, in place of the one that O(sysconfdir) and O(flavor) give.
    type: path
seealso:
  - module: hpc.apptainer.apptainer_remote
  - module: hpc.apptainer.apptainer_remotes
"""

EXAMPLES = r"""
- name: See what Apptainer would use for this user
  hpc.apptainer.apptainer_remote_info:
  register: remotes

- name: Fail if something needs mending
  ansible.builtin.assert:
    that: remotes.findings | selectattr('severity', 'eq', 'error') | length == 0
    fail_msg: "{{ remotes.findings | map(attribute='message') | join(', ') }}"
"""

RETURN = r"""
global:
  description: The global file.
  returned: success
  type: dict
  contains: &file
    path:
      description: Its path.
      type: str
    exists:
      description: Whether it exists.
      type: bool
    error:
      description: Why it cannot be read or understood, or V(null).
      type: str
    mode:
      description: Its mode, or V(null) if it does not exist.
      type: str
    owner:
      description: The user it belongs to, or V(null) if it does not exist.
      type: str
    default:
      description: The name of the default endpoint. Empty if there is none.
      type: str
    remotes:
      description: Its endpoints, in the shape of RV(hpc.apptainer.apptainer_remote#module:remote). Empty if it cannot be read.
      type: list
      elements: dict
    credentials:
      description: Its logins, in the shape of RV(hpc.apptainer.apptainer_remotes#module:credentials).
      type: list
      elements: dict
user:
  description: The user's file.
  returned: success
  type: dict
  contains: *file
effective:
  description: What Apptainer works with for this user.
  returned: success
  type: dict
  contains:
    source:
      description: Which files count.
      type: str
      choices: [user and global, user, global, built-in]
    problem:
      description: Why Apptainer would refuse to work, or V(null).
      type: str
    exclusive:
      description: The name of the exclusive endpoint, or V(null). If several are exclusive, Apptainer obeys any of them.
      type: str
    default:
      description: The name of the endpoint in use. Empty if there is none, which is a problem.
      type: str
    remotes:
      description: The endpoints, in the shape of RV(hpc.apptainer.apptainer_remote#module:remote).
      type: list
      elements: dict
    credentials:
      description: The logins, in the shape of RV(hpc.apptainer.apptainer_remotes#module:credentials).
      type: list
      elements: dict
findings:
  description: What is wrong, the worst first. Empty if all is well.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: A short name for the kind of finding.
      type: str
      sample: two-exclusives
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
from ansible_collections.hpc.apptainer.plugins.module_utils._inspection import inspect
from ansible_collections.hpc.apptainer.plugins.module_utils._locations import global_file, user_file
from ansible_collections.hpc.apptainer.plugins.module_utils._module import LOCATION_SPEC, run


def main():
    module = AnsibleModule(
        argument_spec=dict(LOCATION_SPEC, config_file={"type": "path"}, global_config_file={"type": "path"}),
        supports_check_mode=True,
    )
    params = module.params
    run(module, lambda: inspect(
        params["global_config_file"] or global_file(params["flavor"], params["sysconfdir"]),
        params["config_file"] or user_file(params["flavor"]),
        params["flavor"],
    ))


if __name__ == "__main__":
    main()
