#!/usr/bin/python

# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: apptainer_fleet_health
short_description: Ask once for the whole fleet whether the declared servers and logins work
version_added: 1.0.0
description:
  - Reads the variables of the role P(hpc.apptainer.apptainer_fleet#role) of all hosts, and asks about each distinct endpoint, keyserver, registry and
    login once, with M(hpc.apptainer.apptainer_health_info).
  - Run the task once (C(run_once)), on the host that can reach the servers (C(delegate_to)), and give the registered result to
    M(hpc.apptainer.apptainer_fleet_report), as the playbooks C(hpc.apptainer.health) and C(hpc.apptainer.drift) do.
  - The task does not fail. If nothing can be asked, RV(errors) says why.
  - C(apptainer_fleet_timeout), C(apptainer_fleet_ca_path) and the other variables for the verification are those of the first host.
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
      - The hosts, as a pattern. By default the hosts of the play.
    type: str
seealso:
  - module: hpc.apptainer.apptainer_health_info
  - module: hpc.apptainer.apptainer_fleet_report
"""

EXAMPLES = r"""
- name: Ask once how the servers and logins are
  hpc.apptainer.apptainer_fleet_health:
  run_once: true
  delegate_to: localhost
  register: apptainer_fleet_health_result

- name: Report it
  hpc.apptainer.apptainer_fleet_report:
    hosts: []
    health: "{{ apptainer_fleet_health_result }}"
    html: /var/www/html/health.html
  run_once: true
"""

RETURN = r"""
from:
  description: The host that sent the requests.
  returned: always
  type: str
  sample: localhost
services:
  description: What was asked without a login, as RV(hpc.apptainer.apptainer_health_info#module:services).
  returned: always
  type: list
  elements: dict
logins:
  description: The logins, as RV(hpc.apptainer.apptainer_health_info#module:logins).
  returned: always
  type: list
  elements: dict
certificates:
  description: The certificates of the servers, as RV(hpc.apptainer.apptainer_health_info#module:certificates).
  returned: always
  type: list
  elements: dict
refused:
  description: What was not asked because it cannot be declared like this, as RV(hpc.apptainer.apptainer_health_info#module:refused).
  returned: always
  type: list
  elements: dict
undeclared:
  description: What is wrong with the variables of hosts, so that what they declare was not asked.
  returned: always
  type: list
  elements: str
errors:
  description: Why nothing could be asked. Empty if all is well.
  returned: always
  type: list
  elements: str
"""
