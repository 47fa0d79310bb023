#!/usr/bin/python

# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: apptainer_remote_info
short_description: Show Apptainer's remote endpoints and logins, and find problems with them
version_added: 1.0.0
description:
  - Reads the global C(remote.yaml), and the C(remote.yaml) and C(docker-config.json) of the user that the task runs as.
    Returns the configuration that Apptainer computes from them, as data and as a table for people, and the problems in them.
  - With O(check), also asks the servers whether they work and whether they accept the stored logins. Those that do not are findings.
  - A file that cannot be read or parsed is a finding. It does not make the task fail. Apptainer itself ignores a C(remote.yaml) that it
    cannot parse, without a message.
author:
  - The hpc.apptainer contributors (@hpc-apptainer)
extends_documentation_fragment:
  - hpc.apptainer._attributes
  - hpc.apptainer._attributes.reads
  - hpc.apptainer._attributes.actiongroup
  - hpc.apptainer._files
  - hpc.apptainer._files.root
  - hpc.apptainer._network
options:
  name:
    description:
      - The names of the endpoints to show and to ask about. By default, and with an empty list, all of them. A name that does not exist is not shown.
      - This filters the endpoints in RV(effective), RV(global), RV(user), RV(program), RV(services) and RV(keyservers), the tokens in RV(logins), and
        the tables of these in RV(table). Endpoints with other names are not asked anything.
      - All else is about the whole files. Among RV(findings) are those of other endpoints, because, for example, another exclusive one affects
        these too. RV(declared) has all endpoints, because O(hpc.apptainer.apptainer_remotes#module:prune) would remove the others. Logins to
        keyservers and registries belong to no endpoint.
    type: list
    elements: str
    default: []
  scope:
    description:
      - Whose configuration to show. V(user) is the user that the task runs as.
      - V(global) is any user who has no files. No user's files are read, so RV(user) and RV(auth_file) are shown as not existing, and
        RV(logins) is empty.
    type: str
    choices: [user, global]
    default: user
  include:
    description:
      - What else to return, mostly the same in another form.
      - V(files) is the content of each C(remote.yaml), in RV(global) and RV(user).
      - V(declared) is how to declare the file in a playbook, in RV(declared) and RV(undeclared). This is the global file if O(scope=global),
        otherwise the user's.
    type: list
    elements: str
    choices: [files, declared]
    default: []
  program:
    description:
      - Also run C(apptainer remote list) (C(singularity remote list) with O(flavor=singularity)), and compare its output with the files.
      - The program is searched for in the C(bin) directory next to O(sysconfdir), in E(PATH), and in the usual directories.
      - As root, the program is not run if it, or a directory on its path, belongs to another user or is writable for everyone.
        Run the task as another user in that case.
      - The program runs in a temporary home directory with a copy of the user's file without secrets, because it would leave files in the
        user's home. Apptainer 1.0 and SingularityCE before 4.0 always use the user's home, so they are not run.
      - The program is not run if one of the C(remote.yaml) files cannot be read, if a name or URI in them has a tab or a line break, which
        tears its table, or if O(root) is set.
      - The program is run twice, each time for at most O(timeout) seconds.
    type: bool
    default: false
  config_file:
    description:
      - The path of the user's C(remote.yaml), if it is not the usual one.
    type: path
  global_config_file:
    description:
      - The path of the global C(remote.yaml), if it is not the one that O(sysconfdir) and O(flavor) determine.
    type: path
  auth_file:
    description:
      - The path of the file with the user's registry logins.
      - The default is C(docker-config.json) in the directory of the user's C(remote.yaml). If that does not exist, it is
        C(~/.docker/config.json), which Apptainer 1.4 and newer use then.
    type: path
    aliases: [authfile]
  check:
    description:
      - What to check with the servers. All servers are asked in parallel, so this takes little longer than O(timeout).
      - A server that does not answer in time is reported in the result. It does not make the task fail.
      - V(services) asks every endpoint for its services, and every service for its version.
      - V(tokens) verifies the stored tokens with the endpoints.
      - V(keyservers) asks every keyserver in use for its statistics, and verifies the stored keyserver logins.
      - V(registries) verifies the stored registry logins.
    type: list
    elements: str
    choices: [services, tokens, keyservers, registries]
    default: []
  verify:
    description:
      - Has no effect, because O(check) says what to ask of servers. The option exists so that the action group can have a default for it.
    type: str
    choices: [changed, always, never]
    default: changed
seealso:
  - module: hpc.apptainer.apptainer_logins
  - module: hpc.apptainer.apptainer_remote
  - module: hpc.apptainer.apptainer_remotes
"""

EXAMPLES = r"""
- name: Show which configuration Apptainer uses for this user
  hpc.apptainer.apptainer_remote_info:
  register: remotes

- name: Print it as apptainer remote list does
  ansible.builtin.debug:
    var: remotes.table

- name: Show one endpoint, and whether its token is accepted
  hpc.apptainer.apptainer_remote_info:
    name: site
    check: tokens
  register: site

- name: Read how to declare the global file
  hpc.apptainer.apptainer_remote_info:
    scope: global
    include: declared
  register: found

- name: Keep the global file as it is now
  hpc.apptainer.apptainer_remotes:
    scope: "{{ found.declared.scope }}"
    remotes: "{{ found.declared.remotes }}"
    prune: "{{ found.declared.prune }}"
  become: true

- name: Check whether the servers work and accept this user's logins
  hpc.apptainer.apptainer_remote_info:
    check: [services, tokens, keyservers, registries]
    timeout: 5
  register: remotes

- name: Check whether the installed Apptainer uses the global file
  hpc.apptainer.apptainer_remote_info:
    scope: global
    program: true
  register: remotes

- name: Fail if there are errors to fix
  ansible.builtin.assert:
    that: remotes.findings | selectattr('severity', 'eq', 'error') | length == 0
    fail_msg: "{{ remotes.findings | map(attribute='message') | join(', ') }}"
"""

RETURN = r"""
table:
  description:
    - The lines of a table for people. First the endpoints as C(apptainer remote list) prints them, then the keyservers of each as
      C(apptainer keyserver list) does, then the user's logins.
    - If O(check) asked about a login, its last column is a check mark, V(no), or V(?) if the server accepts everyone.
  returned: success
  type: list
  elements: str
  sample:
    - "NAME           URI                  DEFAULT?  GLOBAL?  EXCLUSIVE?  SECURE?"
    - "DefaultRemote  cloud.apptainer.org  \u2713         \u2713                    \u2713"
declared:
  description:
    - The options of M(hpc.apptainer.apptainer_remotes) that declare all that is in the file, and that change nothing in it.
    - There are no tokens in it. They stay as they are.
    - V(null) if the file cannot be read.
  returned: if O(include) has V(declared)
  type: dict
  sample:
    scope: global
    prune: true
    remotes:
      - name: site
        uri: https://library.example.org
        keyservers: []
        default: true
        exclusive: true
undeclared:
  description:
    - What RV(declared) leaves alone because it cannot be declared, and what a run would change nevertheless, a sentence for each. Empty if
      there is nothing.
    - It is about names and URIs that Apptainer cannot use, several exclusive endpoints, an exclusive endpoint that is not the default, a
      default that does not exist, endpoints with V(System=false) in the global file, and wrong modes and owners.
  returned: if O(include) has V(declared)
  type: list
  elements: str
global:
  description: The global C(remote.yaml).
  returned: success
  type: dict
  contains: &file
    path:
      description: The path of the file, or V(null) if no file was read.
      type: str
    exists:
      description: Whether the file exists.
      type: bool
    error:
      description: Why the file cannot be read or parsed, or V(null).
      type: str
    mode:
      description: The mode of the file, or V(null) if it is not known, for example because the file does not exist.
      type: str
    owner:
      description: The user that owns the file, or V(null) if it is not known, for example because the file does not exist.
      type: str
    default:
      description: The name of the default endpoint. Empty if there is none.
      returned: if O(include) has V(files)
      type: str
    remotes:
      description: The endpoints in the file, in the format of RV(hpc.apptainer.apptainer_remote#module:remote). Empty if it cannot be read.
      returned: if O(include) has V(files)
      type: list
      elements: dict
    credentials:
      description: The logins in the file, in the format of RV(hpc.apptainer.apptainer_remotes#module:credentials).
      returned: if O(include) has V(files)
      type: list
      elements: dict
user:
  description: The user's C(remote.yaml).
  returned: success
  type: dict
  contains: *file
effective:
  description: The configuration that Apptainer computes from these files for this user.
  returned: success
  type: dict
  contains:
    source:
      description: Where the configuration comes from.
      type: str
      choices: [user and global, user, global, built-in]
    problem:
      description: Why Apptainer commands that need an endpoint fail, or V(null).
      type: str
    exclusive:
      description:
        - The name of the exclusive endpoint, or V(null).
        - If several endpoints are exclusive, Apptainer picks one of them at random. This is the first one by name.
      type: str
    default:
      description: The name of the endpoint that Apptainer uses. Empty if there is none. RV(effective.problem) is set then.
      type: str
    remotes:
      description: The endpoints, in the format of RV(hpc.apptainer.apptainer_remote#module:remote).
      type: list
      elements: dict
    credentials:
      description: The logins, in the format of RV(hpc.apptainer.apptainer_remotes#module:credentials).
      type: list
      elements: dict
auth_file:
  description: The user's file with registry logins.
  returned: success
  type: dict
  contains:
    path:
      description: The path of the file, or V(null) if no file was read.
      type: str
    exists:
      description: Whether the file exists.
      type: bool
    error:
      description: Why the file cannot be read or parsed, or V(null).
      type: str
    mode:
      description: The mode of the file, or V(null) if it is not known, for example because the file does not exist.
      type: str
    owner:
      description: The user that owns the file, or V(null) if it is not known, for example because the file does not exist.
      type: str
    registries:
      description: The hosts for which the file has a login of any kind.
      type: list
      elements: str
logins:
  description: The user's logins. Secrets are never shown.
  returned: success
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
        - Whether the server accepts the login. V(false) also if the server cannot be asked. V(null) if the server accepts everyone.
      returned: if O(check) includes this kind of login
      type: bool
    reason:
      description: What the server answered, or why it could not be asked.
      returned: if O(check) includes this kind of login
      type: str
services:
  description: The services that the endpoints offer.
  returned: if O(check) has V(services)
  type: list
  elements: dict
  contains:
    remote:
      description: The name of the endpoint.
      type: str
    error:
      description: Why the services of the endpoint cannot be determined, or V(null).
      type: str
    services:
      description: The services of the endpoint, sorted by name.
      type: list
      elements: dict
      contains:
        name:
          description: The name of the service, for example V(library), V(keyserver) or V(token).
          type: str
        uri:
          description: The URI of the service.
          type: str
        version:
          description: The version that the service reports, or V(null).
          type: str
        error:
          description: Why the version cannot be determined, or V(null).
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
      description: The URI of the keyserver. V(null) if it is the endpoint's built-in keyserver, and the endpoint cannot be asked for it.
      type: str
    error:
      description: Why the keyserver cannot be used, or V(null).
      type: str
program:
  description: What the installed program lists. V(null) if O(program) does not ask it, or if it is not installed.
  returned: success
  type: dict
  contains:
    path:
      description: The path of the program.
      type: str
    error:
      description: Why the program was not run, or why its output cannot be used, or V(null).
      type: str
    active:
      description: The name of the default endpoint. Empty if there is none.
      type: str
    exclusive:
      description: The name of the exclusive endpoint, or V(null).
      type: str
    remotes:
      description: The endpoints that the program lists.
      type: list
      elements: dict
      contains:
        name:
          description: The name of the endpoint, without trailing spaces, which the list cannot show.
          type: str
        uri:
          description: The URI of the endpoint.
          type: str
        default:
          description: Whether the endpoint is the default.
          type: bool
        global:
          description: Whether the endpoint is a global one.
          type: bool
        exclusive:
          description: Whether users may use only this endpoint.
          type: bool
        insecure:
          description: Whether service discovery uses plain http. V(null) if the program does not show that.
          type: bool
findings:
  description: The problems in the files, the most severe first. Empty if there are none.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: A short name for the kind of problem.
      type: str
      sample: two-exclusives
    severity:
      description:
        - V(error) means that something is broken or insecure now.
        - V(warning) means that it will be for some users or some versions of Apptainer.
        - V(info) needs no action, unless what it says matters to you.
      type: str
      choices:
        - error
        - warning
        - info
    path:
      description: The file or directory with the problem.
      type: str
    line:
      description: The line of the file, or V(null).
      type: int
    remote:
      description: The name of the endpoint with the problem, or V(null).
      type: str
    message:
      description: What is wrong, and how to fix it.
      type: str
    refused_by:
      description:
        - The minor versions of the program that refuse the file because of this problem.
        - V(1.6) is the coming version of Apptainer. With O(flavor=singularity) they are versions of SingularityCE.
      type: list
      elements: str
"""

from ansible_collections.hpc.apptainer.plugins.module_utils._module.common import LOCATION_SPEC, VERIFY_SPEC, Module, run
from ansible_collections.hpc.apptainer.plugins.module_utils._module.info import INFO_SPEC, inspect_files


def main():
    module = Module(
        argument_spec=dict(LOCATION_SPEC, **VERIFY_SPEC, **INFO_SPEC),
        supports_check_mode=True,
    )
    run(module, inspect_files)


if __name__ == "__main__":
    main()
