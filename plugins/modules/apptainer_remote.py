#!/usr/bin/python

# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: apptainer_remote
short_description: Manage one remote endpoint of Apptainer
description:
  - Puts one remote endpoint into the declared state in a C(remote.yaml), the file that C(apptainer remote) works on.
  - Neither Apptainer nor a network is needed on the node, but for a token, which is verified before it is stored.
    What is written is what Apptainer 1.3 to 1.5 itself would write.
  - What is not declared is left alone. In particular nothing becomes the default by being added.
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
- name: All users of the node use the site's library, and nothing else
  hpc.apptainer.apptainer_remote:
    scope: global
    name: site
    uri: https://library.example.org
    exclusive: true
  become: true

- name: Users may use other endpoints again
  hpc.apptainer.apptainer_remote:
    scope: global
    name: site
    exclusive: false
  become: true

- name: Log the service account in to the site's library, after the token was verified there
  hpc.apptainer.apptainer_remote:
    name: site
    token: "{{ vault_site_token }}"
  become: true
  become_user: ci

- name: Remove an endpoint
  hpc.apptainer.apptainer_remote:
    scope: global
    name: old
    state: absent
  become: true
"""

RETURN = r"""
config_file:
  description: The path of the file.
  returned: success
  type: str
  sample: /etc/apptainer/remote.yaml
remote:
  description:
    - The endpoint as it now stands, or V(null) if it was removed. A token is never shown.
    - In a user's file, a global endpoint is shown also if the file has no copy of it.
  returned: success
  type: dict
  contains:
    name:
      description: Its name.
      type: str
    uri:
      description: The URI as it is stored.
      type: str
    insecure:
      description: Whether its services are looked for by plain http.
      type: bool
    default:
      description: Whether this file makes it the default.
      type: bool
    exclusive:
      description: Whether it is the only one that users may use.
      type: bool
    system:
      description: Whether it is a global endpoint (or a user's copy of one).
      type: bool
    logged_in:
      description: Whether a token is stored.
      type: bool
    keyservers:
      description: Its list of keyservers. If empty, its own keyserver is used.
      type: list
      elements: dict
      contains:
        uri:
          description: Where it is.
          type: str
        insecure:
          description: Whether its certificate is not verified.
          type: bool
        builtin:
          description: Whether it is the endpoint's own one.
          type: bool
        skip:
          description: Whether it is not used. This is how Apptainer notes that the endpoint's own keyserver was removed.
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
backup_file:
  description: The path of the copy.
  returned: if O(backup=true) and the file was replaced
  type: str
  sample: /etc/apptainer/remote.yaml.4711.2026-11-23@12:00:00~
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hpc.apptainer.plugins.module_utils._module.common import VERIFY_SPEC, run
from ansible_collections.hpc.apptainer.plugins.module_utils._module.endpoints import (
    REMOTE_MUTUALLY_EXCLUSIVE,
    REMOTE_SPEC,
    SCOPED_FILE_SPEC,
    converge_remotes,
)


def main():
    module = AnsibleModule(
        argument_spec=dict(SCOPED_FILE_SPEC, **VERIFY_SPEC, **REMOTE_SPEC),
        mutually_exclusive=REMOTE_MUTUALLY_EXCLUSIVE,
        supports_check_mode=True,
    )
    run(module, lambda: converge_remotes(module, [module.params]))


if __name__ == "__main__":
    main()
