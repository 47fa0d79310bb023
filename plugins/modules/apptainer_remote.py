#!/usr/bin/python

# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: apptainer_remote
short_description: Manage one Apptainer remote endpoint
version_added: 1.0.0
description:
  - Adds, changes or removes one remote endpoint in a C(remote.yaml), the file that C(apptainer remote) manages.
  - Apptainer need not be installed on the node. The module writes the file itself, byte for byte as Apptainer 1.3 to 1.5 would.
  - The network is used only to verify a token, or the services that O(services) demands, before anything is written.
  - Settings that are not declared do not change. In particular, adding an endpoint does not make it the default.
author:
  - The hpc.apptainer contributors (@hpc-apptainer)
extends_documentation_fragment:
  - hpc.apptainer._attributes
  - hpc.apptainer._attributes.writes
  - hpc.apptainer._attributes.actiongroup
  - hpc.apptainer._files
  - hpc.apptainer._files.root
  - hpc.apptainer._files.writes
  - hpc.apptainer._files.scoped
  - hpc.apptainer._network
  - hpc.apptainer._network.verify
  - hpc.apptainer._remote
seealso:
  - module: hpc.apptainer.apptainer_remotes
  - module: hpc.apptainer.apptainer_remote_info
"""

EXAMPLES = r"""
- name: Restrict all users of the node to the site's library
  hpc.apptainer.apptainer_remote:
    scope: global
    name: site
    uri: https://library.example.org
    exclusive: true
  become: true

- name: Allow other endpoints again
  hpc.apptainer.apptainer_remote:
    scope: global
    name: site
    exclusive: false
  become: true

- name: Log the service account in to the site's library, if the library accepts the token
  hpc.apptainer.apptainer_remote:
    name: site
    token: "{{ vault_site_token }}"
  become: true
  become_user: ci

- name: Remove an endpoint that is not exclusive, or that has been retired
  hpc.apptainer.apptainer_remote:
    scope: global
    name: old
    state: absent
  become: true
"""

RETURN = r"""
config_file:
  description: The path of the C(remote.yaml).
  returned: success
  type: str
  sample: /etc/apptainer/remote.yaml
remote:
  description:
    - The endpoint after the task, or V(null) if it does not exist then. The token is never shown.
    - With O(scope=user), a global endpoint is also shown if the user's file contains no copy of it.
  returned: success
  type: dict
  contains:
    name:
      description: The name of the endpoint.
      type: str
    uri:
      description: The URI, as it is stored.
      type: str
    insecure:
      description: Whether service discovery uses plain http.
      type: bool
    default:
      description: Whether this file makes the endpoint the default.
      type: bool
    exclusive:
      description: Whether users may use only this endpoint.
      type: bool
    system:
      description: Whether the endpoint is a global one, or a user's copy of a global one.
      type: bool
    logged_in:
      description: Whether a token is stored.
      type: bool
    keyservers:
      description: The keyservers of the endpoint. If the list is empty, the endpoint's built-in keyserver is used.
      type: list
      elements: dict
      contains:
        uri:
          description: The URI of the keyserver.
          type: str
        insecure:
          description: Whether Apptainer skips the verification of the keyserver's certificate.
          type: bool
        builtin:
          description: Whether this is the endpoint's built-in keyserver.
          type: bool
        skip:
          description: Whether the keyserver is not used. Apptainer marks the endpoint's built-in keyserver like this when it is removed.
          type: bool
  sample:
    name: site
    uri: library.example.org
    insecure: false
    default: true
    exclusive: true
    system: true
    logged_in: false
    keyservers: []
verified:
  description:
    - Whether the servers confirmed everything that was verified.
    - V(null) if nothing was verified, or if a server accepts everyone.
    - V(false) only if the task failed.
  returned: success, or when verification failed
  type: bool
verification:
  description: What was verified, what was not, and why.
  returned: success, or when verification failed
  type: list
  elements: dict
  contains:
    name:
      description: What the entry is about.
      type: str
      sample: endpoint "site"
    verified:
      description: Whether the server confirmed it. V(null) if the server was not asked, or if it accepts everyone.
      type: bool
    reason:
      description: What the server answered, or why it was not asked.
      type: str
backup_file:
  description: The path of the copy.
  returned: when O(backup=true) and the file was replaced
  type: str
  sample: /etc/apptainer/remote.yaml.4711.2026-11-23@12:00:00~
"""

from functools import partial

from ansible_collections.hpc.apptainer.plugins.module_utils._module.asking import ask_claims
from ansible_collections.hpc.apptainer.plugins.module_utils._module.common import VERIFY_SPEC, Module, run
from ansible_collections.hpc.apptainer.plugins.module_utils._module.endpoints import (
    REMOTE_MUTUALLY_EXCLUSIVE,
    REMOTE_SPEC,
    SCOPED_FILE_SPEC,
    converge_remote,
)


def main():
    module = Module(
        argument_spec=dict(SCOPED_FILE_SPEC, **VERIFY_SPEC, **REMOTE_SPEC),
        mutually_exclusive=REMOTE_MUTUALLY_EXCLUSIVE,
        supports_check_mode=True,
    )
    run(module, partial(converge_remote, ask=ask_claims))


if __name__ == "__main__":
    main()
