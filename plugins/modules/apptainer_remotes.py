#!/usr/bin/python

# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: apptainer_remotes
short_description: Manage all Apptainer remote endpoints in one task
version_added: 1.0.0
description:
  - Adds, changes or removes remote endpoints in a C(remote.yaml), including their keyservers, the default and the exclusive endpoint.
  - The module does for a list what M(hpc.apptainer.apptainer_remote) does for one endpoint. The file is written once, or not at all if
    anything in the list is refused.
  - The module refuses to remove or retire the default endpoint of the global file while endpoints remain, because Apptainer would fail for all
    users who have no default of their own. Make another endpoint the default in the same task. To remove the default endpoint nevertheless, set
    O(remotes[].force=true).
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
  - hpc.apptainer._remote.list
options:
  remotes:
    description:
      - The endpoints.
    type: list
    elements: dict
    required: true
  prune:
    description:
      - Remove the endpoints that are not listed. If one of them is exclusive in the global file, the module fails and changes nothing.
        List it with O(remotes[].state=retired) first.
      - Copies of global endpoints in a user's file are not removed, because Apptainer would create them again.
      - The module fails if the list is empty.
    type: bool
    default: false
  unreadable:
    description:
      - What to do if the file cannot be parsed. Apptainer silently ignores such a file. If it is the global one, no endpoint is exclusive then,
        and its default does not apply.
      - V(fail) makes the module fail.
      - V(replace) writes a new file and keeps the old one beside it, whatever O(backup) says. RV(backup_file) is its path. A warning says
        what was wrong with it, and what is lost. This requires O(prune=true), because the new file contains only what is listed.
      - Tokens and keyserver logins in a user's file that cannot be parsed are lost too.
    type: str
    choices: [fail, replace]
    default: fail
seealso:
  - module: hpc.apptainer.apptainer_remote
  - module: hpc.apptainer.apptainer_remote_info
"""

EXAMPLES = r"""
- name: Declare all endpoints of the node, and remove any others
  hpc.apptainer.apptainer_remotes:
    scope: global
    prune: true
    remotes:
      - name: site
        uri: https://library.example.org
        exclusive: true
        keyservers:
          - uri: https://keys.example.org
          - uri: https://keys.openpgp.org
      - name: DefaultRemote
        uri: https://cloud.apptainer.org
  become: true

- name: Replace the exclusive endpoint, and keep the old one until the copies in users' files are released
  hpc.apptainer.apptainer_remotes:
    scope: global
    prune: true
    remotes:
      - name: next
        uri: https://next.example.org
        exclusive: true
      - name: site
        state: retired
  become: true

- name: Manage an endpoint in an image that is being built
  hpc.apptainer.apptainer_remotes:
    scope: global
    root: /srv/images/compute
    remotes:
      - name: site
        uri: https://library.example.org
        default: true
  become: true
"""

RETURN = r"""
config_file:
  description: The path of the C(remote.yaml).
  returned: success
  type: str
  sample: /etc/apptainer/remote.yaml
default:
  description: The name of the default endpoint. Empty if there is none.
  returned: success
  type: str
  sample: site
remotes:
  description: All endpoints in the file after the task, in the format of RV(hpc.apptainer.apptainer_remote#module:remote).
  returned: success
  type: list
  elements: dict
credentials:
  description: The logins that the file lists. Secrets are never shown.
  returned: success
  type: list
  elements: dict
  contains:
    uri:
      description: The URI of the keyserver or registry.
      type: str
    insecure:
      description:
        - Whether the login is marked as insecure.
        - For a keyserver, this means that its certificate is not verified. For a registry, it means that plain http may be used.
      type: bool
    has_secret:
      description: Whether the file contains the secret itself, as it does for keyservers.
      type: bool
unreadable:
  description: Why the old file could not be read. It was replaced, or would be in a real run.
  returned: when O(unreadable=replace) and the file could not be read
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
backup_file:
  description: The path of the copy.
  returned: when O(backup=true) and the file was replaced, or when a file that could not be parsed was replaced
  type: str
  sample: /etc/apptainer/remote.yaml.4711.2026-11-23@12:00:00~
"""

from functools import partial

from ansible_collections.hpc.apptainer.plugins.module_utils._module.asking import ask_claims
from ansible_collections.hpc.apptainer.plugins.module_utils._module.common import VERIFY_SPEC, Module, run
from ansible_collections.hpc.apptainer.plugins.module_utils._module.endpoints import SCOPED_FILE_SPEC, WHOLE_LIST_SPEC, converge_remotes


def main():
    module = Module(argument_spec=dict(SCOPED_FILE_SPEC, **VERIFY_SPEC, **WHOLE_LIST_SPEC), supports_check_mode=True)
    run(module, partial(converge_remotes, ask=ask_claims))


if __name__ == "__main__":
    main()
