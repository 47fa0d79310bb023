#!/usr/bin/python

# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: apptainer_fleet
short_description: Put a node into the state that the role's variables declare
version_added: 1.0.0
description:
  - Does in one run on the node what the role P(hpc.apptainer.apptainer_fleet#role) needs there. It writes the global C(remote.yaml) as
    M(hpc.apptainer.apptainer_remotes) does, checks how Apptainer interprets it as M(hpc.apptainer.apptainer_remote_info) does, writes accounts'
    logins as M(hpc.apptainer.apptainer_logins) does, and checks users' files as M(hpc.apptainer.apptainer_users_info) does.
  - In a task, the action of this name takes all options but O(collect), O(probe), O(inspect) and O(users) from the role's variables of the host
    (C(apptainer_fleet_*)). So the role is the way to use it.
  - No server is asked. Verify what is declared once for all nodes, with M(hpc.apptainer.apptainer_fleet_verify).
author:
  - The hpc.apptainer contributors (@hpc-apptainer)
extends_documentation_fragment:
  - hpc.apptainer._attributes
  - hpc.apptainer._attributes.writes
  - hpc.apptainer._attributes.action
  - hpc.apptainer._files
  - hpc.apptainer._files.root
  - hpc.apptainer._remote.list
  - hpc.apptainer._accounts
options:
  collect:
    description:
      - V(true) makes the task succeed even if the host failed or was not reached. The failures are in the result, for a report and for
        M(hpc.apptainer.apptainer_fleet_outcome).
    type: bool
    default: false
  probe:
    description:
      - V(true) connects to the host before the module runs. With O(collect=true), a connection that is lost while the module runs is then a failure,
        and the host does not count as one that could not be reached.
    type: bool
    default: false
  inspect:
    description:
      - V(true) changes nothing, whatever is declared, and returns what is there in RV(inspected). The playbooks C(hpc.apptainer.show)
        and C(hpc.apptainer.adopt) do this.
    type: bool
    default: false
  users:
    description:
      - With O(inspect=true), accounts whose logins are read too, besides those that the role's variables declare.
    type: list
    elements: str
    default: []
  remotes:
    description:
      - The global endpoints. If there are none, the global file is not looked at.
    type: list
    elements: dict
    default: []
  prune:
    description:
      - Remove the endpoints that are not listed, as O(hpc.apptainer.apptainer_remotes#module:prune) does.
    type: bool
    default: false
  unreadable:
    description:
      - What to do if Apptainer cannot read the global file, and so ignores it, as O(hpc.apptainer.apptainer_remotes#module:unreadable) says.
    type: str
    choices: [fail, replace]
    default: fail
  backup:
    description:
      - Keep a copy of a file before it is replaced.
    type: bool
    default: false
  check:
    description:
      - After the global file is written, read back how Apptainer interprets it, and query the program too if it is installed.
      - Not done in check mode.
    type: bool
    default: false
  audit_users:
    description:
      - Check users' files for problems, with each user's own permissions.
    type: bool
    default: false
  audited_users:
    description:
      - The users to check, see O(hpc.apptainer.apptainer_users_info#module:users).
    type: list
    elements: str
  audited_homes:
    description:
      - Directories with homes, see O(hpc.apptainer.apptainer_users_info#module:homes).
    type: list
    elements: path
    default: []
notes:
  - Only root may work on the files of other accounts. Run the role with C(become).
  - If one part fails, the results of the others are still returned. If the global file cannot be written, accounts' logins are not tried.
"""

EXAMPLES = r"""
- name: Put the nodes into the declared state
  hosts: compute
  become: true
  gather_facts: false
  roles:
    - hpc.apptainer.apptainer_fleet
  vars:
    apptainer_fleet_remotes:
      - name: site
        uri: https://library.example.org
        exclusive: true
"""

RETURN = r"""
declared:
  description: V(false) if nothing is declared for this host. Then nothing was looked at, except for users' files if they are audited.
  returned: always
  type: bool
parts:
  description: What was put into the declared state, or compared with it in check mode.
  returned: always
  type: list
  elements: dict
  contains:
    subject:
      description: V(global) for the global file, or V(account) and its name.
      type: str
      sample: account ci
    changed:
      description: Whether anything was changed.
      type: bool
    config_file:
      description: The path of the C(remote.yaml).
      type: str
    auth_file:
      description: The path of an account's file with logins to registries.
      type: str
    default:
      description: The default endpoint of the global file.
      type: str
    unreadable:
      description: Why the global file could not be read, if it was replaced, or would be in a real run.
      type: str
    backup_file:
      description: The path of the copy of the global file, if there is one.
      type: str
    backup_files:
      description: The paths of the copies of an account's files, if there are any.
      type: list
failures:
  description: The parts that failed. Empty if none did.
  returned: always
  type: list
  elements: dict
  contains:
    subject:
      description: V(declaration), V(global), V(check), V(account) and its name, V(audit of users), or V(connection).
      type: str
    msg:
      description: What is wrong, and what to do.
      type: str
    unreadable:
      description: Why the global file cannot be read, if it is one that Apptainer silently ignores. Empty for all other failures.
      type: str
inspected:
  description: What is there on the host.
  returned: when O(inspect=true)
  type: dict
  contains:
    path:
      description: The path of the global file.
      type: str
    source:
      description: Where the endpoints come from, as RV(hpc.apptainer.apptainer_remote_info#module:effective.source).
      type: str
    table:
      description: The endpoints, as RV(hpc.apptainer.apptainer_remote_info#module:table).
      type: list
      elements: str
    declared:
      description:
        - How to declare the global file, as RV(hpc.apptainer.apptainer_remote_info#module:declared). C(prune) is V(false) if it has endpoints that
          cannot be declared.
      type: dict
    undeclared:
      description: What cannot be declared, as RV(hpc.apptainer.apptainer_remote_info#module:undeclared).
      type: list
      elements: str
    findings:
      description: The problems in the global file, as RV(hpc.apptainer.apptainer_remote_info#module:findings).
      type: list
      elements: dict
    accounts:
      description: The accounts, each with C(user), C(error), C(table), C(logins) and C(findings). There are no secrets in it.
      type: list
      elements: dict
unreachable_reason:
  description: Why the host could not be reached.
  returned: when O(collect=true) and the host could not be reached
  type: str
checked:
  description: How many users' files were checked.
  returned: when users are audited
  type: int
users:
  description: The problems in users' files, as RV(hpc.apptainer.apptainer_users_info#module:users).
  returned: when users are audited
  type: list
  elements: dict
"""

from ansible_collections.hpc.apptainer.plugins.module_utils._module.common import Module, run
from ansible_collections.hpc.apptainer.plugins.module_utils._module.fleet import FLEET_SPEC, converge_node


def main():
    module = Module(argument_spec=FLEET_SPEC, supports_check_mode=True)
    run(module, converge_node)


if __name__ == "__main__":
    main()
