#!/usr/bin/python

# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: apptainer_fleet_verify
short_description: Check and verify once what the role's variables declare for all hosts
version_added: 1.0.0
description:
  - Reads the variables of the role P(hpc.apptainer.apptainer_fleet#role) of all hosts, and checks them in one place. A mistake is reported once,
    with the hosts that have it.
  - Verifies each distinct endpoint, keyserver and login once, with M(hpc.apptainer.apptainer_verify). What was verified earlier in the same run of
    C(ansible-playbook) is not verified again.
  - Run the task once (C(run_once)), on the host that can reach the servers (C(delegate_to)).
  - C(apptainer_fleet_verify), C(apptainer_fleet_timeout) and the other variables for the verification are those of the first host that is verified.
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
      - The hosts, as a pattern. By default the hosts of the play, or of its batch.
    type: str
seealso:
  - module: hpc.apptainer.apptainer_verify
"""

EXAMPLES = r"""
- name: Check what is declared for all hosts, and verify each endpoint, keyserver and login once
  hpc.apptainer.apptainer_fleet_verify:
  run_once: true
  delegate_to: localhost
"""

RETURN = r"""
verified:
  description: Whether the servers confirmed everything, as RV(hpc.apptainer.apptainer_verify#module:verified).
  returned: success, or when verification failed
  type: bool
verification:
  description: What was verified, what was not, and why, as RV(hpc.apptainer.apptainer_verify#module:verification).
  returned: success, or when verification failed
  type: list
  elements: dict
"""
