#!/usr/bin/python

# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: apptainer_keyserver_login
short_description: Manage a user's login to a keyserver in Apptainer
description:
  - Stores or removes the credential with which the user that the task runs as reaches a keyserver, in this user's C(remote.yaml).
  - Apptainer sends it to keyservers that were added to an endpoint, with M(hpc.apptainer.apptainer_keyserver) for instance.
    The endpoint's own keyserver gets the endpoint's token instead.
  - A new credential is proven before it replaces another one. The server is asked without and with it, at the very URI and for its
    statistics, so that a server that lets everyone in is not taken for a proof.
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
      - The path of the user's C(remote.yaml), in place of the usual one.
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

- name: The same with a token
  hpc.apptainer.apptainer_keyserver_login:
    uri: https://keys.example.org
    password: "{{ vault_keys_token }}"
  become: true
  become_user: ci

- name: Log out
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
  description: The login as it now stands, or V(null) if there is none. The secret is never shown.
  returned: success
  type: dict
  contains:
    kind:
      description: What it is for.
      type: str
      choices: [endpoint, keyserver, registry]
    name:
      description: The name of the endpoint, the URI of the keyserver, or the host of the registry.
      type: str
    username:
      description: The user name, or V(null) if the secret is a token.
      type: str
verified:
  description:
    - Whether servers confirmed all that was to be verified. V(null) if nothing was, or if a server lets everyone in.
    - V(false) only if the task failed.
  returned: success, or if a credential did not pass
  type: bool
verification:
  description: What was, or was not, verified.
  returned: success, or if a credential did not pass
  type: list
  elements: dict
  contains:
    name:
      description: What it is about.
      type: str
      sample: endpoint "site"
    verified:
      description: Whether the server confirmed it, or V(null) if it was not asked or confirms everything.
      type: bool
    reason:
      description: What the server answered, or why it was not asked.
      type: str
backup_files:
  description: The paths of the copies.
  returned: if O(backup=true) and a file was replaced
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hpc.apptainer.plugins.module_utils._module.common import FILE_SPEC, VERIFY_SPEC, run
from ansible_collections.hpc.apptainer.plugins.module_utils._module.logins import (
    KEYSERVER_LOGIN_REQUIRED,
    KEYSERVER_LOGIN_SPEC,
    converge_one_login,
)


def main():
    module = AnsibleModule(
        argument_spec=dict(FILE_SPEC, **VERIFY_SPEC, **KEYSERVER_LOGIN_SPEC),
        required_if=KEYSERVER_LOGIN_REQUIRED,
        supports_check_mode=True,
    )
    run(module, lambda: converge_one_login(module, "keyservers"))


if __name__ == "__main__":
    main()
