#!/usr/bin/python

# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: apptainer_fleet_outcome
short_description: Fail exactly the hosts that the report blames
version_added: 1.0.0
description:
  - Fails on a host that failed or that drifted, and is unreachable on a host that could not be reached, as the last run of
    M(hpc.apptainer.apptainer_fleet_report) says. Succeeds on all others.
  - The playbooks C(hpc.apptainer.rollout) and C(hpc.apptainer.drift) end with it. So their tasks can report on all hosts
    first, and the recap, AWX and ara still show which hosts are to blame, and the exit status of C(ansible-playbook) is right.
  - It runs on the controller, without a connection to the host.
author:
  - The hpc.apptainer contributors (@hpc-apptainer)
extends_documentation_fragment:
  - hpc.apptainer._attributes
  - hpc.apptainer._attributes.action
attributes:
  diff_mode:
    support: none
options: {}
seealso:
  - module: hpc.apptainer.apptainer_fleet_report
"""

EXAMPLES = r"""
- name: Let exactly the hosts fail that differ, failed or were not reached
  hosts: "{{ hostvars['localhost'].ansible_facts.apptainer_fleet_progress.problems }}"
  gather_facts: false
  tasks:
    - name: Fail with the reason of this host
      hpc.apptainer.apptainer_fleet_outcome:
"""

RETURN = r"""
msg:
  description: Why the host is to blame.
  returned: always
  type: str
"""
