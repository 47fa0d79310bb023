#!/usr/bin/python

# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: apptainer_verify
short_description: Verify what is declared for a whole fleet, from one machine
description:
  - Asks servers whether the endpoints, keyservers and logins that are declared for the hosts of a fleet are there and good, before anything
    is written on the first host. The hosts need not ask again. A thousand hosts cause as many requests as one.
  - An endpoint must have a discovery document, with the services that are demanded of it. C(cloud.apptainer.org) is not asked for it, as
    Apptainer does not ask either. A keyserver of an endpoint must answer, or accept a login that is declared for it.
    Tokens and logins must be accepted.
  - Nothing is written anywhere. In check mode the module does the same.
author:
  - The hpc.apptainer contributors (@hpc-apptainer)
extends_documentation_fragment:
  - hpc.apptainer._attributes
  - hpc.apptainer._attributes.reads
  - hpc.apptainer._network
  - hpc.apptainer._declarations
attributes:
  diff_mode:
    support: N/A
    details:
      - This module never changes anything.
notes:
  - At most 32 questions are asked at a time, and at most 4 of the same server. O(timeout) is for each and does not count the time in which it
    waits for its turn.
  - What is asked without a login (a discovery document, what a registry demands) is asked once per server, and a server that cannot be
    reached is not tried for each login.
  - A password or token that one server rejects is not sent to any other server, as they may have the same accounts, and lock an account
    after some wrong passwords. The rest of the logins with it are then not asked about, and said to be so.
  - A token is not sent to an endpoint that fails.
seealso:
  - module: hpc.apptainer.apptainer_remotes
  - module: hpc.apptainer.apptainer_logins
"""

EXAMPLES = r"""
- name: Verify once what all hosts of the play shall get
  hpc.apptainer.apptainer_verify:
    declarations:
      - remotes:
          - name: site
            uri: https://library.example.org
            services: [library, token]
            keyservers:
              - uri: https://keys.example.org
        logins:
          remotes:
            - name: site
              token: "{{ vault_site_token }}"
          registries:
            - uri: docker://registry.example.org
              username: ci
              password: "{{ vault_registry_password }}"
  run_once: true
  delegate_to: localhost
"""

RETURN = r"""
verified:
  description:
    - Whether servers confirmed all that was to be verified. V(null) if there was nothing to ask, or if of something nobody can say, which a
      warning tells.
    - V(false) only if the task failed.
  returned: success, or if something did not pass
  type: bool
verification:
  description: What was, or was not, verified; each thing once, however many hosts it is declared for.
  returned: success, or if something did not pass
  type: list
  elements: dict
  contains:
    name:
      description: What it is about.
      type: str
      sample: registry registry.example.org as user ci
    verified:
      description: Whether the server confirmed it, or V(null) if it was not asked or confirms everything.
      type: bool
    reason:
      description: What the server answered, or why it was not asked.
      type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hpc.apptainer.plugins.module_utils._module.common import NETWORK_SPEC, run
from ansible_collections.hpc.apptainer.plugins.module_utils._module.fleet_verify import DECLARATIONS_SPEC, verify


def main():
    module = AnsibleModule(argument_spec=dict(NETWORK_SPEC, **DECLARATIONS_SPEC), supports_check_mode=True)
    run(module, lambda: verify(module))


if __name__ == "__main__":
    main()
