#!/usr/bin/python

# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: apptainer_logins
short_description: Manage all Apptainer logins of a user in one task
version_added: 1.0.0
description:
  - Stores or removes endpoint tokens, keyserver logins and registry logins of the user that the task runs as.
  - The module does for lists what M(hpc.apptainer.apptainer_remote), M(hpc.apptainer.apptainer_keyserver_login) and
    M(hpc.apptainer.apptainer_registry_login) do for one login. New credentials are verified in parallel, and each file is written once.
  - If one credential fails verification, nothing is written, unless O(keep_verified=true).
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
  - hpc.apptainer._logins.files
  - hpc.apptainer._logins.lists
options:
  remotes:
    description:
      - The endpoints to log in to. They must already exist in the user's file or in the global file.
    type: list
    elements: dict
  keyservers:
    description:
      - The keyservers to log in to.
    type: list
    elements: dict
  registries:
    description:
      - The OCI registries to log in to.
    type: list
    elements: dict
  prune:
    description:
      - Remove the logins that are not listed. This applies only to the kinds (O(remotes), O(keyservers), O(registries)) that are given.
        An empty list removes all logins of its kind.
      - The module fails if no login at all is listed.
    type: bool
    default: false
  keep_verified:
    description:
      - If some credentials fail verification, store the others anyway. The logins that failed do not change. The task still fails.
      - Ansible shows no diff for a failed task. C(changed) in the result shows whether anything was written.
    type: bool
    default: false
seealso:
  - module: hpc.apptainer.apptainer_remote
  - module: hpc.apptainer.apptainer_keyserver_login
  - module: hpc.apptainer.apptainer_registry_login
"""

EXAMPLES = r"""
- name: Declare all logins of the service account, and remove any others
  hpc.apptainer.apptainer_logins:
    prune: true
    remotes:
      - name: site
        token: "{{ vault_site_token }}"
    keyservers:
      - uri: https://keys.example.org
        username: ci
        password: "{{ vault_keys_password }}"
    registries:
      - uri: docker://registry.example.org
        username: ci
        password: "{{ vault_registry_password }}"
      - uri: oras://registry.example.org
        username: ci
        password: "{{ vault_registry_password }}"
  become: true
  become_user: ci
"""

RETURN = r"""
config_file:
  description: The path of the user's C(remote.yaml).
  returned: success, or when O(keep_verified=true) and verification failed
  type: str
  sample: /home/ci/.apptainer/remote.yaml
auth_file:
  description: The path of the file with the registry credentials.
  returned: success, or when O(keep_verified=true) and verification failed
  type: str
  sample: /home/ci/.apptainer/docker-config.json
logins:
  description: All logins in the two files after the task. Secrets are never shown.
  returned: success, or when O(keep_verified=true) and verification failed
  type: list
  elements: dict
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
from ansible_collections.hpc.apptainer.plugins.module_utils._module.login_specs import AUTH_FILE_SPEC, LOGINS_SPEC
from ansible_collections.hpc.apptainer.plugins.module_utils._module.logins import converge_account


def main():
    module = Module(
        argument_spec=dict(FILE_SPEC, **VERIFY_SPEC, **AUTH_FILE_SPEC, **LOGINS_SPEC),
        supports_check_mode=True,
    )
    run(module, partial(converge_account, ask=ask_claims))


if __name__ == "__main__":
    main()
