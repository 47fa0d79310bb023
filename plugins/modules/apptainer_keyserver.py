#!/usr/bin/python

# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: apptainer_keyserver
short_description: Manage one keyserver of a global endpoint of Apptainer
description:
  - Puts one keyserver of one endpoint into the declared state in the global C(remote.yaml), where Apptainer keeps them.
  - To declare the whole list, use O(hpc.apptainer.apptainer_remote#module:keyservers).
author:
  - The hpc.apptainer contributors (@hpc-apptainer)
extends_documentation_fragment:
  - hpc.apptainer._attributes
  - hpc.apptainer._attributes.writes
  - hpc.apptainer._attributes.actiongroup
  - hpc.apptainer._files
  - hpc.apptainer._files.root
  - hpc.apptainer._files.writes
  - hpc.apptainer._network
options:
  config_file:
    description:
      - The path of the global file, in place of the usual one.
    type: path
  remote:
    description:
      - The name of the endpoint. By default the default one of the global file.
    type: str
  uri:
    description:
      - Where the keyserver is. The schemes are C(https), C(http), C(hkps) and C(hkp).
        Apptainer tells keyservers apart by scheme and host only.
    type: str
    required: true
  state:
    description:
      - Whether the keyserver should be used.
      - V(absent) removes it. The endpoint's own keyserver is not removed, but marked as skipped, as Apptainer does it; V(present) restores it.
        The last one in use cannot be removed.
    type: str
    choices: [present, absent]
    default: present
  order:
    description:
      - Its position, from 1, among the keyservers in use. Keys are pushed to and searched at the first one.
      - If not set, a new one goes to the end, and one that is there stays where it is.
    type: int
  insecure:
    description:
      - Do not verify the keyserver's certificate.
      - If not set, it is left alone.
    type: bool
  builtin_uri:
    description:
      - The endpoint's own keyserver. It is the only one as long as the endpoint has no list, and becomes the first one in a new list.
      - If not set and a list is begun, the endpoint is asked over the network, as Apptainer does.
        That of C(cloud.apptainer.org) is known. The other options about the network are for that.
    type: str
seealso:
  - module: hpc.apptainer.apptainer_remote
  - module: hpc.apptainer.apptainer_keyserver_login
"""

EXAMPLES = r"""
- name: Keys are looked for on the site's keyserver first
  hpc.apptainer.apptainer_keyserver:
    remote: DefaultRemote
    uri: https://keys.example.org
    order: 1
  become: true

- name: Begin the list of the site's endpoint without asking it for its own keyserver
  hpc.apptainer.apptainer_keyserver:
    remote: site
    uri: https://keys.openpgp.org
    builtin_uri: https://library.example.org/keystore
  become: true

- name: The endpoint's own keyserver is not used any more
  hpc.apptainer.apptainer_keyserver:
    remote: DefaultRemote
    uri: https://keys.openpgp.org
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
  description: The endpoint as it now stands.
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
backup_file:
  description: The path of the copy.
  returned: if O(backup=true) and the file was replaced
  type: str
  sample: /etc/apptainer/remote.yaml.4711.2026-11-23@12:00:00~
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hpc.apptainer.plugins.module_utils._module.common import FILE_SPEC, NETWORK_SPEC, ROOT_SPEC, run
from ansible_collections.hpc.apptainer.plugins.module_utils._module.keyserver import KEYSERVER_PLACE_SPEC, converge_keyserver


def main():
    module = AnsibleModule(
        argument_spec=dict(FILE_SPEC, **ROOT_SPEC, **NETWORK_SPEC, **KEYSERVER_PLACE_SPEC),
        supports_check_mode=True,
    )
    run(module, lambda: converge_keyserver(module))


if __name__ == "__main__":
    main()
