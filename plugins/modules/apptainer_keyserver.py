#!/usr/bin/python

# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: apptainer_keyserver
short_description: Manage one keyserver of a global Apptainer endpoint
version_added: 1.0.0
description:
  - Adds, changes or removes one keyserver of one endpoint in the global C(remote.yaml). Apptainer manages keyservers in that file only.
  - To declare the whole list of keyservers, use O(hpc.apptainer.apptainer_remote#module:keyservers).
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
      - The path of the global file, if it is not the usual one.
    type: path
  remote:
    description:
      - The name of the endpoint. If not set, the default endpoint of the global file.
    type: str
  uri:
    description:
      - The URI of the keyserver. Its scheme is C(https), C(http), C(hkps) or C(hkp).
      - Apptainer compares only the scheme and host of keyservers. Two URIs that differ only in their path are the same keyserver.
    type: str
    required: true
    aliases: [url]
  state:
    description:
      - Whether Apptainer should use the keyserver.
      - V(absent) removes the keyserver. The endpoint's built-in keyserver is marked as skipped instead, as Apptainer does, and V(present)
        restores it.
      - The last keyserver in use cannot be removed.
    type: str
    choices: [present, absent]
    default: present
  order:
    description:
      - The position among the keyservers in use, starting from 1. Apptainer pushes keys to the first keyserver, and searches for keys there.
      - If not set, a new keyserver is added at the end, and an existing one keeps its position.
    type: int
  insecure:
    description:
      - Whether Apptainer skips the verification of the keyserver's certificate.
      - If not set, the stored setting does not change.
    type: bool
  builtin_uri:
    description:
      - The URI of the endpoint's built-in keyserver. As long as the endpoint has no list of keyservers, this is the only one.
        When the module creates a list, it becomes the first entry.
      - If not set, the module asks the endpoint for it when it creates a list, as Apptainer does. The built-in keyserver of
        C(cloud.apptainer.org) is known, so that endpoint is not asked.
      - The options for TLS and O(timeout) are used only for this request.
    type: str
  verify:
    description:
      - Whether the endpoint may be asked for its built-in keyserver, when that must be known and O(builtin_uri) is not set. The keyserver itself is not
        asked.
      - V(changed) and V(always) mean the same here.
      - V(never) asks nothing, for nodes that cannot reach the servers. Then the task fails at once if O(builtin_uri) is missing.
    type: str
    choices: [changed, always, never]
    default: changed
seealso:
  - module: hpc.apptainer.apptainer_remote
  - module: hpc.apptainer.apptainer_keyserver_login
"""

EXAMPLES = r"""
- name: Make the site's keyserver the first one
  hpc.apptainer.apptainer_keyserver:
    remote: DefaultRemote
    uri: https://keys.example.org
    order: 1
  become: true

- name: Add a keyserver to the site's endpoint without asking the endpoint for its built-in keyserver
  hpc.apptainer.apptainer_keyserver:
    remote: site
    uri: https://keys.openpgp.org
    builtin_uri: https://library.example.org/keystore
  become: true

- name: Stop using the endpoint's built-in keyserver
  hpc.apptainer.apptainer_keyserver:
    remote: DefaultRemote
    uri: https://keys.openpgp.org
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
  description: The endpoint after the task, or V(null) if it does not exist. The token is never shown.
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
backup_file:
  description: The path of the copy.
  returned: when O(backup=true) and the file was replaced
  type: str
  sample: /etc/apptainer/remote.yaml.4711.2026-11-23@12:00:00~
"""

from ansible_collections.hpc.apptainer.plugins.module_utils._module.common import FILE_SPEC, ROOT_SPEC, VERIFY_SPEC, Module, run
from ansible_collections.hpc.apptainer.plugins.module_utils._module.keyserver import PLACED_KEYSERVER_SPEC, converge_keyserver


def main():
    module = Module(
        argument_spec=dict(FILE_SPEC, **ROOT_SPEC, **VERIFY_SPEC, **PLACED_KEYSERVER_SPEC),
        supports_check_mode=True,
    )
    run(module, converge_keyserver)


if __name__ == "__main__":
    main()
