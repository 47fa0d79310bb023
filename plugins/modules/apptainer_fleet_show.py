#!/usr/bin/python

# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: apptainer_fleet_show
short_description: Show what is on a fleet, or write variables that declare it
version_added: 1.0.0
description:
  - Prints what M(hpc.apptainer.apptainer_fleet) with O(hpc.apptainer.apptainer_fleet#module:inspect=true) found on hosts, once for all hosts that have
    the same. The result must be registered as C(apptainer_fleet_result).
  - With O(adopt), writes it as variables of the role P(hpc.apptainer.apptainer_fleet#role), so that C(hpc.apptainer.drift) says that the hosts
    are in state.
  - The playbooks C(hpc.apptainer.show) and C(hpc.apptainer.adopt) are the way to use it.
  - It runs on the controller, in a task with C(run_once), C(delegate_to=localhost) and C(delegate_facts=true).
author:
  - The hpc.apptainer contributors (@hpc-apptainer)
extends_documentation_fragment:
  - hpc.apptainer._attributes
  - hpc.apptainer._attributes.action
attributes:
  diff_mode:
    support: none
options:
  hosts:
    description:
      - The hosts, by their names in the inventory.
    type: list
    elements: str
    required: true
  adopt:
    description:
      - Write files with variables in place of printing tables.
    type: bool
    default: false
  directory:
    description:
      - The directory for the files, on the controller. It is created if necessary, and no file in it is replaced.
    type: path
    default: apptainer-adopted
seealso:
  - module: hpc.apptainer.apptainer_fleet
  - module: hpc.apptainer.apptainer_fleet_outcome
"""

EXAMPLES = r"""
- name: Show what is there
  hosts: all
  gather_facts: false
  tasks:
    - name: Read it
      hpc.apptainer.apptainer_fleet:
        inspect: true
        collect: true
      register: apptainer_fleet_result

- name: Show what they said
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Show it
      hpc.apptainer.apptainer_fleet_show:
        hosts: "{{ groups['all'] }}"
"""

RETURN = r"""
lines:
  description: What was printed.
  returned: always
  type: list
  elements: str
files:
  description: The paths of the files that were written, or would be without check mode. Empty without O(adopt).
  returned: always
  type: list
  elements: str
problems:
  description: The hosts that failed or could not be reached, for M(hpc.apptainer.apptainer_fleet_outcome).
  returned: always
  type: list
  elements: str
reasons:
  description: Why each of the hosts in RV(problems) could not be read.
  returned: always
  type: dict
errors:
  description: Why nothing could be shown or written. Empty if it was.
  returned: always
  type: list
  elements: str
msg:
  description: The first line, and the errors.
  returned: always
  type: str
"""
