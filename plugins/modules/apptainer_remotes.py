#!/usr/bin/python

# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: apptainer_remotes
short_description: Manage all remote endpoints of Apptainer in one task
description:
  - Puts a list of remote endpoints, with their keyservers, the default and the exclusive one, into the declared state in a C(remote.yaml).
  - It does for the list what M(hpc.apptainer.apptainer_remote) does for one endpoint, in one step. The file is written once, or, if
    anything in the list is refused, not at all.
  - The default endpoint of the global file is not removed while there are others, unless one of them becomes the default (or C(force)
    is set). Apptainer refuses to work without one.
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
      - Remove the endpoints that are not listed. For an exclusive one the module fails and changes nothing, unless O(retire=true).
      - In a user's file, copies of global endpoints stay. Apptainer would make them anew.
      - Refused with an empty list.
    type: bool
    default: false
  retire:
    description:
      - What to do with an exclusive endpoint of the global file that is to go, as it has O(remotes[].state=absent), or is not listed
        with O(prune=true). V(true) releases and keeps it, with a warning, and a later run removes it. V(false) refuses to remove it.
      - Apptainer notes C(Exclusive) in the files of users. Who has not used it since the release would be locked out by the removal;
        RV(hpc.apptainer.apptainer_remote_info#module:findings) has C(unreleased-copy) for a user who still would be.
      - O(remotes[].force=true) removes it at once nevertheless. In a user's file nothing has to be retired.
    type: bool
    default: false
seealso:
  - module: hpc.apptainer.apptainer_remote
  - module: hpc.apptainer.apptainer_remote_info
"""

EXAMPLES = r"""
- name: The node has these endpoints and no others
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

- name: Another endpoint takes its place; the next run of this task removes the old one
  hpc.apptainer.apptainer_remotes:
    scope: global
    prune: true
    retire: true
    remotes:
      - name: next
        uri: https://next.example.org
        exclusive: true
  become: true

- name: The same for an image that is being built
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
  description: The path of the file.
  returned: success
  type: str
  sample: /etc/apptainer/remote.yaml
default:
  description: The name of the default endpoint. Empty if there is none.
  returned: success
  type: str
  sample: site
remotes:
  description: All endpoints in the file, as they now stand, in the shape of RV(hpc.apptainer.apptainer_remote#module:remote).
  returned: success
  type: list
  elements: dict
credentials:
  description: The logins that the file knows. A secret is never shown.
  returned: success
  type: list
  elements: dict
  contains:
    uri:
      description: What the login is for.
      type: str
    insecure:
      description: Whether it was made without verification of the certificate.
      type: bool
    has_secret:
      description: Whether the file holds the secret itself, as for keyservers.
      type: bool
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
from ansible_collections.hpc.apptainer.plugins.module_utils._module.endpoints import SCOPED_FILE_SPEC, WHOLE_LIST_SPEC, converge_remotes


def main():
    module = AnsibleModule(argument_spec=dict(SCOPED_FILE_SPEC, **VERIFY_SPEC, **WHOLE_LIST_SPEC), supports_check_mode=True)
    run(module, lambda: converge_remotes(module, module.params["remotes"]))


if __name__ == "__main__":
    main()
