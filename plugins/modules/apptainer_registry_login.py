#!/usr/bin/python

# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: apptainer_registry_login
short_description: Manage a user's Apptainer login for an OCI registry
version_added: 1.0.0
description:
  - Stores or removes the credential with which the user that the task runs as pulls and pushes C(docker://) and C(oras://) images.
  - The credential is stored in the user's C(docker-config.json), in the form that all versions of Apptainer can read.
    C(remote.yaml) gets the entry that C(apptainer registry list) shows. All other content of these files is kept.
  - A new credential is verified before it replaces an old one, even where Apptainer itself would not check the password.
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
  - hpc.apptainer._logins.registry
  - hpc.apptainer._logins.files
notes:
  - Apptainer 1.4 and newer read C(~/.docker/config.json) for users who have no C(~/.apptainer/docker-config.json). This module always
    writes C(docker-config.json), and warns if logins in C(~/.docker/config.json) are no longer used because of that.
  - The module does not call credential helpers. If the file assigns a registry to one (C(credHelpers), C(credsStore)), the module refuses
    to store a login for that registry.
seealso:
  - module: hpc.apptainer.apptainer_logins
"""

EXAMPLES = r"""
- name: Log the service account in to the site's registry
  hpc.apptainer.apptainer_registry_login:
    uri: docker://registry.example.org
    username: ci
    password: "{{ vault_registry_password }}"
  become: true
  become_user: ci

- name: Log in to Docker Hub with an access token
  hpc.apptainer.apptainer_registry_login:
    uri: docker://docker.io
    username: example
    password: "{{ vault_hub_token }}"
  become: true
  become_user: ci

- name: Log the service account out
  hpc.apptainer.apptainer_registry_login:
    uri: docker://registry.example.org
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
auth_file:
  description: The path of the file with the registry credentials.
  returned: success
  type: str
  sample: /home/ci/.apptainer/docker-config.json
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
from ansible_collections.hpc.apptainer.plugins.module_utils._module.login_specs import AUTH_FILE_SPEC, REGISTRY_LOGIN_REQUIRED, REGISTRY_LOGIN_SPEC
from ansible_collections.hpc.apptainer.plugins.module_utils._module.logins import converge_registry_login


def main():
    module = Module(
        argument_spec=dict(FILE_SPEC, **VERIFY_SPEC, **AUTH_FILE_SPEC, **REGISTRY_LOGIN_SPEC),
        required_if=REGISTRY_LOGIN_REQUIRED,
        supports_check_mode=True,
    )
    run(module, partial(converge_registry_login, ask=ask_claims))


if __name__ == "__main__":
    main()
