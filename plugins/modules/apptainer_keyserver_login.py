#!/usr/bin/python

# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: apptainer_keyserver_login
short_description: Manage a user's Apptainer login for a keyserver
version_added: 1.0.0
description:
  - Stores or removes a keyserver credential in the C(remote.yaml) of the user that the task runs as.
  - Apptainer sends the credential to keyservers that were added to an endpoint, for example with M(hpc.apptainer.apptainer_keyserver).
    The endpoint's built-in keyserver gets the endpoint's token instead.
  - A new credential is verified before it replaces an old one. The server is asked for the URI itself and for its statistics, both without
    and with the credential, so a server that accepts everyone does not pass as a successful verification.
author:
  - The hpc.apptainer contributors (@hpc-apptainer)
extends_documentation_fragment:
  - hpc.apptainer._attributes
  - hpc.apptainer._attributes.writes
  - hpc.apptainer._attributes.actiongroup
  - hpc.apptainer._files
  - hpc.apptainer._files.writes
  - hpc.apptainer._network
  - hpc.apptainer._network.verify
  - hpc.apptainer._logins.keyserver
options:
  config_file:
    description:
      - The path of the user's C(remote.yaml), if it is not the usual one.
    type: path
seealso:
  - module: hpc.apptainer.apptainer_keyserver
  - module: hpc.apptainer.apptainer_logins
"""

EXAMPLES = r"""
- name: Log the service account in to the site's keyserver
  hpc.apptainer.apptainer_keyserver_login:
    uri: https://keys.example.org
    username: ci
    password: "{{ vault_keys_password }}"
  become: true
  become_user: ci

- name: Log the service account in with a token
  hpc.apptainer.apptainer_keyserver_login:
    uri: https://keys.example.org
    password: "{{ vault_keys_token }}"
  become: true
  become_user: ci

- name: Log the service account out
  hpc.apptainer.apptainer_keyserver_login:
    uri: https://keys.example.org
    state: absent
  become: true
  become_user: ci
"""

RETURN = r"""
config_file:
  description: The path of the user's C(remote.yaml).
  returned: success
  type: str
  sample: /home/ci/.apptainer/remote.yaml
login:
  description: The login after the task, or V(null) if there is none. The secret is never shown.
  returned: success
  type: dict
  contains:
    kind:
      description: What the login is for.
      type: str
      choices:
        - endpoint
        - keyserver
        - registry
    name:
      description: The name of the endpoint, the URI of the keyserver, or the host of the registry.
      type: str
    username:
      description: The user name, or V(null) if the secret is a token.
      type: str
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
backup_files:
  description: The paths of the copies.
  returned: when O(backup=true) and a file was replaced
  type: list
  elements: str
"""

from functools import partial

from ansible_collections.hpc.apptainer.plugins.module_utils._module.asking import ask_claims
from ansible_collections.hpc.apptainer.plugins.module_utils._module.common import FILE_SPEC, VERIFY_SPEC, Module, run
from ansible_collections.hpc.apptainer.plugins.module_utils._module.login_specs import KEYSERVER_LOGIN_REQUIRED, KEYSERVER_LOGIN_SPEC
from ansible_collections.hpc.apptainer.plugins.module_utils._module.logins import converge_keyserver_login


def main():
    module = Module(
        argument_spec=dict(FILE_SPEC, **VERIFY_SPEC, **KEYSERVER_LOGIN_SPEC),
        required_if=KEYSERVER_LOGIN_REQUIRED,
        supports_check_mode=True,
    )
    run(module, partial(converge_keyserver_login, ask=ask_claims))


if __name__ == "__main__":
    main()
