#!/usr/bin/python

# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: apptainer_verify
short_description: Verify what is declared for a whole fleet, from one machine
version_added: 1.0.0
description:
  - Verifies the endpoints, keyservers and logins that are declared for the hosts of a fleet with the servers, before anything is written on
    the first host. The hosts need not verify them again, so a thousand hosts cause as many requests as one.
  - An endpoint must have a discovery document that offers the declared services. An endpoint at C(cloud.apptainer.org) is not asked for its
    library and keyserver, because these are fixed in Apptainer.
  - A keyserver of an endpoint must answer, or accept a login that is declared for it. Tokens and logins must be accepted.
  - The module writes nothing. It does the same in check mode.
author:
  - The hpc.apptainer contributors (@hpc-apptainer)
extends_documentation_fragment:
  - hpc.apptainer._attributes
  - hpc.apptainer._attributes.reads
  - hpc.apptainer._network
  - hpc.apptainer._declarations
notes:
  - At most 32 endpoints, keyservers and logins are verified at a time, and at most 4 of them with the same server. O(timeout) applies to each
    of them. The time that it waits for its turn does not count.
  - What is asked without a login (the discovery document of an endpoint, the kind of login that a registry wants) is asked once per server.
    A server that cannot be reached is not tried again for each login.
  - A password or token that one server rejects is not sent to any other server, because servers may share their accounts, and lock an
    account after several wrong passwords. The other logins with this password or token are reported as not verified.
  - A token is not sent to an endpoint that failed its own verification.
seealso:
  - module: hpc.apptainer.apptainer_remotes
  - module: hpc.apptainer.apptainer_logins
"""

EXAMPLES = r"""
- name: Verify once what is declared for all hosts of the play
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
    - Whether the servers confirmed everything that was verified.
    - V(null) if nothing was verified, or if something cannot be verified. In the second case a warning says what.
    - V(false) only if the task failed.
  returned: success, or when verification failed
  type: bool
verification:
  description: What was verified, what was not, and why. Each item is listed once, however many hosts it is declared for.
  returned: success, or when verification failed
  type: list
  elements: dict
  contains:
    name:
      description: What the entry is about.
      type: str
      sample: registry registry.example.org as user ci
    verified:
      description: Whether the server confirmed it. V(null) if the server was not asked, or if it accepts everyone.
      type: bool
    reason:
      description: What the server answered, or why it was not asked.
      type: str
"""

from ansible_collections.hpc.apptainer.plugins.module_utils._module.common import NETWORK_SPEC, Module, run
from ansible_collections.hpc.apptainer.plugins.module_utils._module.declarations import DECLARATIONS_SPEC
from ansible_collections.hpc.apptainer.plugins.module_utils._module.fleet_verify import verify_declarations


def main():
    module = Module(argument_spec=dict(NETWORK_SPEC, **DECLARATIONS_SPEC), supports_check_mode=True)
    run(module, verify_declarations)


if __name__ == "__main__":
    main()
