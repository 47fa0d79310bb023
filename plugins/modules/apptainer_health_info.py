#!/usr/bin/python

# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: apptainer_health_info
short_description: Ask whether the servers and logins that are declared for a whole fleet work
version_added: 1.0.0
description:
  - Asks what is declared for the hosts of a fleet, from one machine, and each thing once. Returns whether the endpoints, their services, the
    keyservers and the registries work, whether each login is still accepted, and when the certificate of each server expires.
  - The requests are those of M(hpc.apptainer.apptainer_verify), and for each service of an endpoint one for its version. They are just as polite, and
    no secret is sent to a server that this module would not send it to.
  - What does not work is in the result. The module fails only if it can ask nothing, because of an option or because a library is missing.
author:
  - The hpc.apptainer contributors (@hpc-apptainer)
extends_documentation_fragment:
  - hpc.apptainer._attributes
  - hpc.apptainer._attributes.reads
  - hpc.apptainer._network
  - hpc.apptainer._declarations
notes:
  - The certificate is the one that the server shows in the connection in which it is asked, with O(ca_path), O(client_cert) and the proxies of the
    environment. A server whose certificate is not accepted is asked once more, without a login and without validation, so that its date is known too.
  - Only the date of the server's own certificate is looked at. When the certificate of an authority above it has expired, the server's is no longer
    trusted.
  - All servers are asked that the requests lead to, also the token service of a registry, and servers to which others redirect.
seealso:
  - module: hpc.apptainer.apptainer_verify
"""

EXAMPLES = r"""
- name: Ask the servers that the hosts of the play use
  hpc.apptainer.apptainer_health_info:
    declarations:
      - remotes:
          - name: site
            uri: https://library.example.org
        logins:
          registries:
            - uri: docker://registry.example.org
              username: ci
              password: "{{ vault_registry_password }}"
  run_once: true
  delegate_to: localhost
  register: health

- name: Fail if a certificate expires before the next maintenance
  ansible.builtin.assert:
    that: health.certificates | selectattr('expires') | selectattr('expires', 'lt', '2030-01-31') | length == 0
"""

RETURN = r"""
services:
  description: What was asked without a login, each thing once.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: V(endpoint), for the endpoint's discovery document; V(service), for a service that this names; V(keyserver); or V(registry).
      type: str
    name:
      description: What the entry is about.
      type: str
      sample: library service of endpoint "site" at https://library.example.org
    uri:
      description: The address. Empty if it is not declared.
      type: str
    service:
      description: The name of the service, for example V(library). Empty for all other kinds.
      type: str
    version:
      description: The version of the service, V(null) if it does not tell it.
      type: str
    up:
      description: Whether it works. V(null) if that is not known, for example if nothing was asked, or if a login is required and none is declared.
      type: bool
    reason:
      description: What the server answered, or why it was not asked.
      type: str
    warning:
      description: What is dangerous about it although it works. Empty if nothing is.
      type: str
logins:
  description: The logins, each once, however many hosts and accounts have it.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: V(token), for a token of an endpoint; V(keyserver); or V(registry).
      type: str
    name:
      description: What the entry is about.
      type: str
      sample: registry registry.example.org as user ci
    uri:
      description: The address of the endpoint, keyserver or registry. Empty if it is not declared.
      type: str
    user:
      description: The user name. Empty if there is none.
      type: str
    valid:
      description: Whether the login is accepted. V(null) if that is not known, for example because the server does not work, or accepts everyone.
      type: bool
    reason:
      description: What the server answered, or why it was not asked.
      type: str
    warning:
      description: What is dangerous about it although it is accepted. Empty if nothing is.
      type: str
certificates:
  description: The certificates of all servers that were asked over TLS, each server once.
  returned: success
  type: list
  elements: dict
  contains:
    server:
      description: The address of the server.
      type: str
      sample: https://library.example.org:8443
    expires:
      description: Until when the certificate is valid, in UTC. V(null) if that is not known.
      type: str
      sample: "2030-01-31T12:00:00Z"
    trusted:
      description: Whether the certificate was accepted. V(null) if it was not validated, or is not known.
      type: bool
    reason:
      description: Why the certificate is not trusted, or why it is not known. Empty otherwise.
      type: str
refused:
  description: What was not asked because it cannot be declared like this, with RV(refused[].name) and RV(refused[].reason).
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: What the entry is about.
      type: str
    reason:
      description: What is wrong, and what to do.
      type: str
"""

from ansible_collections.hpc.apptainer.plugins.module_utils._module.common import NETWORK_SPEC, Module, run
from ansible_collections.hpc.apptainer.plugins.module_utils._module.declarations import DECLARATIONS_SPEC
from ansible_collections.hpc.apptainer.plugins.module_utils._module.fleet_health import health_of_declarations


def main():
    module = Module(argument_spec=dict(NETWORK_SPEC, **DECLARATIONS_SPEC), supports_check_mode=True)
    run(module, health_of_declarations)


if __name__ == "__main__":
    main()
