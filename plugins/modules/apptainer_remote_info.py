#!/usr/bin/python

# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: apptainer_remote_info
short_description: Show the remote endpoints and logins of Apptainer and what is wrong with them
description:
  - Reads the global C(remote.yaml) and that of the user the task runs as, with this user's C(docker-config.json), computes what Apptainer
    makes of them, and lists what is wrong.
  - Asks the servers in them whether they work and know the stored logins, if O(check) says so.
  - A file that Apptainer cannot read is a finding, not a failure of the task. Apptainer itself ignores such a file without a message.
author:
  - The hpc.apptainer contributors (@hpc-apptainer)
extends_documentation_fragment:
  - hpc.apptainer._attributes
  - hpc.apptainer._attributes.reads
  - hpc.apptainer._attributes.actiongroup
  - hpc.apptainer._files
  - hpc.apptainer._files.root
  - hpc.apptainer._network
attributes:
  diff_mode:
    support: N/A
    details:
      - This module never changes anything.
options:
  scope:
    description:
      - Whom to look at. V(user) is the user that the task runs as.
      - V(global) is any user without files. No user's files are read, so RV(user) and RV(auth_file) say that they do not exist,
        and RV(logins) is empty.
    type: str
    choices: [user, global]
    default: user
  program:
    description:
      - Ask also the installed program (C(apptainer remote list), or C(singularity), by O(flavor)), and compare what it says with the files.
        It is looked for beside O(sysconfdir), in the C(PATH), and in the usual places.
      - Root does not run it if another user than root can exchange it, or everybody can, on any directory of the way.
        Then ask as another user.
      - It runs in a home of its own, with a copy of the user's file without the secrets, as it would leave files in the user's home.
        Apptainer 1.0 and SingularityCE before 4.0 cannot be told so, and are not asked.
      - It is not asked if one of the files cannot be read, nor with O(root), as a program of another system cannot answer here.
      - It may take O(timeout) seconds.
    type: bool
    default: false
  config_file:
    description:
      - The path of the user's file, in place of the usual one.
    type: path
  global_config_file:
    description:
      - The path of the global file, in place of the one that O(sysconfdir) and O(flavor) give.
    type: path
  auth_file:
    description:
      - The path of the file with the user's registry logins, in place of C(docker-config.json) beside the user's C(remote.yaml),
        or of C(~/.docker/config.json), which Apptainer 1.4 and newer use as long as that does not exist.
    type: path
  check:
    description:
      - What to ask of servers, all at the same time, so that it takes little more than O(timeout).
      - A server that does not answer, or not in time, is in the result. It does not make the task fail.
      - V(services) asks every endpoint for its services, and these for their versions.
      - V(tokens) asks the endpoints whether the stored tokens are good.
      - V(keyservers) asks every keyserver in use for its statistics, and whether the stored logins are good.
      - V(registries) asks the registries whether the stored logins are good.
    type: list
    elements: str
    choices: [services, tokens, keyservers, registries]
    default: []
seealso:
  - module: hpc.apptainer.apptainer_logins
  - module: hpc.apptainer.apptainer_remote
  - module: hpc.apptainer.apptainer_remotes
"""

EXAMPLES = r"""
- name: See what Apptainer would use for this user
  hpc.apptainer.apptainer_remote_info:
  register: remotes

- name: See whether the servers are there and know this user's logins
  hpc.apptainer.apptainer_remote_info:
    check: [services, tokens, keyservers, registries]
    timeout: 5
  register: remotes

- name: See whether the installed Apptainer does what the global file says
  hpc.apptainer.apptainer_remote_info:
    scope: global
    program: true
  register: remotes

- name: Fail if something needs mending
  ansible.builtin.assert:
    that: remotes.findings | selectattr('severity', 'eq', 'error') | length == 0
    fail_msg: "{{ remotes.findings | map(attribute='message') | join(', ') }}"
"""

RETURN = r"""
global:
  description: The global file.
  returned: success
  type: dict
  contains: &file
    path:
      description: Its path, or V(null) if none was looked for.
      type: str
    exists:
      description: Whether it exists.
      type: bool
    error:
      description: Why it cannot be read or understood, or V(null).
      type: str
    mode:
      description: Its mode, or V(null) if it does not exist.
      type: str
    owner:
      description: The user it belongs to, or V(null) if it does not exist.
      type: str
    default:
      description: The name of the default endpoint. Empty if there is none.
      type: str
    remotes:
      description: Its endpoints, in the shape of RV(hpc.apptainer.apptainer_remote#module:remote). Empty if it cannot be read.
      type: list
      elements: dict
    credentials:
      description: Its logins, in the shape of RV(hpc.apptainer.apptainer_remotes#module:credentials).
      type: list
      elements: dict
user:
  description: The user's file.
  returned: success
  type: dict
  contains: *file
effective:
  description: What Apptainer works with for this user.
  returned: success
  type: dict
  contains:
    source:
      description: Which files count.
      type: str
      choices: [user and global, user, global, built-in]
    problem:
      description: Why Apptainer would refuse to work, or V(null).
      type: str
    exclusive:
      description: The name of the exclusive endpoint, or V(null). If several are exclusive, Apptainer obeys any of them.
      type: str
    default:
      description: The name of the endpoint in use. Empty if there is none, which is a problem.
      type: str
    remotes:
      description: The endpoints, in the shape of RV(hpc.apptainer.apptainer_remote#module:remote).
      type: list
      elements: dict
    credentials:
      description: The logins, in the shape of RV(hpc.apptainer.apptainer_remotes#module:credentials).
      type: list
      elements: dict
auth_file:
  description: The user's file with registry logins.
  returned: success
  type: dict
  contains:
    path:
      description: Its path, or V(null) if none was looked for.
      type: str
    exists:
      description: Whether it exists.
      type: bool
    error:
      description: Why it cannot be read or understood, or V(null).
      type: str
    mode:
      description: Its mode, or V(null) if it does not exist.
      type: str
    owner:
      description: The user it belongs to, or V(null) if it does not exist.
      type: str
    registries:
      description: The hosts that it has logins for, of any kind.
      type: list
      elements: str
logins:
  description: The user's logins. A secret is never shown.
  returned: success
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
      description: With O(check), whether the server confirms it. V(false) also if it cannot be asked, V(null) if it confirms everything.
      returned: if it was checked
      type: bool
    reason:
      description: With O(check), what the server answered.
      returned: if it was checked
      type: str
services:
  description: What the endpoints offer.
  returned: if O(check) has V(services)
  type: list
  elements: dict
  contains:
    remote:
      description: The name of the endpoint.
      type: str
    error:
      description: Why it does not say what it offers, or V(null).
      type: str
    services:
      description: Its services, by name.
      type: list
      elements: dict
      contains:
        name:
          description: Which one it is, for instance V(library), V(keyserver) or V(token).
          type: str
        uri:
          description: Where it is.
          type: str
        version:
          description: The version that it says it has, or V(null).
          type: str
        error:
          description: Why it does not say its version, or V(null).
          type: str
keyservers:
  description: The keyservers in use.
  returned: if O(check) has V(keyservers)
  type: list
  elements: dict
  contains:
    remote:
      description: The name of the endpoint.
      type: str
    uri:
      description: Where the keyserver is. V(null) if it is the endpoint's own one, and the endpoint does not say.
      type: str
    error:
      description: Why it cannot be used, or V(null).
      type: str
program:
  description: What the installed program says. V(null) if it is not to be asked, or if there is none.
  returned: success
  type: dict
  contains:
    path:
      description: Its path.
      type: str
    error:
      description: Why it does not list its endpoints, or V(null).
      type: str
    active:
      description: The name of its default endpoint. Empty if there is none.
      type: str
    exclusive:
      description: The name of its exclusive endpoint, or V(null).
      type: str
    remotes:
      description: What it lists.
      type: list
      elements: dict
      contains:
        name:
          description: The name of the endpoint, but for spaces at its end, which the list cannot show.
          type: str
        uri:
          description: Its URI.
          type: str
        default:
          description: Whether it is the default one.
          type: bool
        global:
          description: Whether it is from the global file.
          type: bool
        exclusive:
          description: Whether it is the only one that users may use.
          type: bool
        insecure:
          description: Whether its services are looked for by plain http.
          type: bool
findings:
  description: What is wrong, the worst first. Empty if all is well.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: A short name for the kind of finding.
      type: str
      sample: two-exclusives
    severity:
      description: V(error) breaks something or opens a hole now, V(warning) will for some users or versions.
      type: str
      choices: [error, warning]
    path:
      description: The file it is about.
      type: str
    line:
      description: The line in it, or V(null).
      type: int
    remote:
      description: The endpoint it is about, or V(null).
      type: str
    message:
      description: What is wrong, and what to do.
      type: str
    refused_by:
      description: The versions of Apptainer that refuse the file for this reason.
      type: list
      elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hpc.apptainer.plugins.module_utils._module.common import LOCATION_SPEC, NETWORK_SPEC, run
from ansible_collections.hpc.apptainer.plugins.module_utils._module.info import INFO_SPEC, inspect_files


def main():
    module = AnsibleModule(
        argument_spec=dict(LOCATION_SPEC, **NETWORK_SPEC, **INFO_SPEC),
        supports_check_mode=True,
    )
    run(module, lambda: inspect_files(module))


if __name__ == "__main__":
    main()
