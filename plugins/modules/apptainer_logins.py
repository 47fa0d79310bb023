#!/usr/bin/python

# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: apptainer_logins
short_description: Manage all logins of a user in Apptainer in one task
description:
  - Puts the endpoint tokens, keyserver logins and registry logins of the user that the task runs as into the declared state.
  - It does for the lists what M(hpc.apptainer.apptainer_remote), M(hpc.apptainer.apptainer_keyserver_login) and
    M(hpc.apptainer.apptainer_registry_login) do for one login, in one step. What is new is verified at the same time, each file is
    written once, and if one credential does not pass, none is written.
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
      - The endpoints to be logged in to. They must exist already, in the user's or the global file.
    type: list
    elements: dict
    suboptions:
      name:
        description:
          - The name of the endpoint.
        type: str
        required: true
      state:
        description:
          - Whether a token should be stored. The endpoint stays in any case.
        type: str
        choices: [present, absent]
        default: present
      token:
        description:
          - The access token. Give this or C(token_file) unless O(remotes[].state=absent).
        type: str
      token_file:
        description:
          - A file on the managed node whose first line is the token. It should have mode C(0600).
        type: path
  keyservers:
    description:
      - The keyservers to be logged in to.
    type: list
    elements: dict
  registries:
    description:
      - The OCI registries to be logged in to.
    type: list
    elements: dict
  prune:
    description:
      - Remove the logins that are not listed, of the kinds for which a list is given. Of a kind with an empty list, all are removed.
      - Refused if nothing at all is listed.
    type: bool
    default: false
  keep_verified:
    description:
      - If some credentials do not pass, write the others nevertheless, and leave the logins they are for as they are. The task fails in any case.
      - Ansible shows no diff for a task that failed. C(changed) in the result tells whether something was written.
    type: bool
    default: false
seealso:
  - module: hpc.apptainer.apptainer_remote
  - module: hpc.apptainer.apptainer_keyserver_login
  - module: hpc.apptainer.apptainer_registry_login
"""

EXAMPLES = r"""
- name: The service account has these logins and no others
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
  returned: success, or if O(keep_verified=true)
  type: str
  sample: /home/ci/.apptainer/remote.yaml
auth_file:
  description: The path of the file with the registry credentials.
  returned: success, or if O(keep_verified=true)
  type: str
  sample: /home/ci/.apptainer/docker-config.json
logins:
  description: All logins in the two files as they now stand. A secret is never shown.
  returned: success, or if O(keep_verified=true)
  type: list
  elements: dict
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
from ansible_collections.hpc.apptainer.plugins.module_utils._module.logins import AUTH_FILE_SPEC, LOGINS_SPEC, converge_account


def main():
    module = AnsibleModule(
        argument_spec=dict(FILE_SPEC, **VERIFY_SPEC, **AUTH_FILE_SPEC, **LOGINS_SPEC),
        supports_check_mode=True,
    )
    run(module, lambda: converge_account(module))


if __name__ == "__main__":
    main()
