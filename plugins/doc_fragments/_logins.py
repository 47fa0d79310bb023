# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

from __future__ import annotations

from ansible_collections.hpc.apptainer.plugins.doc_fragments._suboptions import suboptions


class ModuleDocFragment:
    # The options of the elements of `remotes` in LOGINS_SPEC in module_utils/_module/login_specs.py
    TOKEN = r"""
options:
  name:
    description:
      - The name of the endpoint.
    type: str
    required: true
  state:
    description:
      - Whether a token should be stored. The endpoint itself is never removed.
    type: str
    choices: [present, absent]
    default: present
  token:
    description:
      - The access token. Either this or O(token_file) is required unless O(state=absent).
      - A value that is not text (a mapping, a list, a number or a boolean) is refused. Quote it, or end its template with C(| string).
    type: str
  token_file:
    description:
      - A file on the managed node whose first line is the token. It should have mode V(0600).
    type: path
    aliases: [tokenfile]
"""

    # The options of KEYSERVER_LOGIN_SPEC there
    KEYSERVER = r"""
options:
  uri:
    description:
      - The URI of the keyserver, for example V(https://keys.example.org). Apptainer compares only its scheme and host.
      - Apptainer cannot log in to C(hkp://) and C(hkps://) URIs. The same servers are reached with C(http://) and port 11371 for C(hkp://),
        and with C(https://) for C(hkps://).
    type: str
    required: true
    aliases: [url]
  state:
    description:
      - Whether a login should be stored.
    type: str
    choices: [present, absent]
    default: present
  username:
    description:
      - The user name. Without one, the password is a bearer token, as for C(apptainer keyserver login).
    type: str
  password:
    description:
      - The password or token. Required unless O(state=absent).
      - A value that is not text (a mapping, a list, a number or a boolean) is refused. Quote it, or end its template with C(| string).
    type: str
"""

    # The options of REGISTRY_LOGIN_SPEC there
    REGISTRY = r"""
options:
  uri:
    description:
      - The registry, with the scheme C(docker://) or C(oras://), for example V(docker://registry.example.org:5000).
        V(docker://docker.io) is Docker Hub.
      - Both schemes share one credential. The scheme only affects what C(apptainer registry list) shows.
      - The case of the host counts. Apptainer finds a login only for images that are named with the same spelling, normally in lower case.
    type: str
    required: true
    aliases: [registry, registry_url, url]
  state:
    description:
      - Whether a login should be stored.
      - V(absent) removes the login under every name that the file has for the registry, and for both schemes. For Docker Hub, this includes
        what docker's clients store beside the login. A login under a spelling with other case is another login, and is left alone.
    type: str
    choices: [present, absent]
    default: present
  username:
    description:
      - The user name. Required unless O(state=absent).
    type: str
  password:
    description:
      - The password or access token. Required unless O(state=absent).
      - A value that is not text (a mapping, a list, a number or a boolean) is refused. Quote it, or end its template with C(| string).
    type: str
  insecure:
    description:
      - Whether plain http may be used to verify the login if the registry does not offer https.
      - The setting is stored, and C(apptainer registry list) shows it. Apptainer does not use it for anything else.
      - If not set, the stored setting does not change.
      - For C(localhost), C(*.local) and private addresses, plain http is tried anyway, as Apptainer does.
    type: bool
"""

    # AUTH_FILE_SPEC there, and config_file
    FILES = r"""
options:
  auth_file:
    description:
      - The path of the file for registry credentials, if it is not C(docker-config.json) in the directory of the user's C(remote.yaml).
      - Apptainer 1.4 and newer use such a file with C(--authfile) or E(APPTAINER_AUTH_FILE).
      - As with C(apptainer registry login --authfile), no entry for the registry is then written to C(remote.yaml).
    type: path
    aliases: [authfile]
  config_file:
    description:
      - The path of the user's C(remote.yaml), if it is not the usual one. C(docker-config.json) is in the same directory.
    type: path
notes:
  - The options for owner, group, mode, SELinux context and backup apply to both files.
"""

    # All three, for the elements of lists. Annotated, because ansible-test takes only literals in plain assignments.
    LISTS: str = ("options:\n  remotes:\n    suboptions:\n" + suboptions(TOKEN, 4, "remotes")
                  + "  keyservers:\n    suboptions:\n" + suboptions(KEYSERVER, 4, "keyservers")
                  + "  registries:\n    suboptions:\n" + suboptions(REGISTRY, 4, "registries"))
