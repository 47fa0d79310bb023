# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

from __future__ import annotations

from textwrap import indent


class ModuleDocFragment:
    # The options of KEYSERVER_LOGIN_SPEC in module_utils/_module/logins.py
    KEYSERVER = r"""
options:
  uri:
    description:
      - The keyserver, for instance C(https://keys.example.org). Apptainer compares the scheme and the host only.
      - Apptainer cannot log in to C(hkp://) and C(hkps://). Use C(http://) with port 11371, or C(https://), which is the same server.
    type: str
    required: true
  state:
    description:
      - Whether a login should be stored.
    type: str
    choices: [present, absent]
    default: present
  username:
    description:
      - The user name. Without one, the password is a token (C(Bearer)), as for C(apptainer keyserver login).
    type: str
  password:
    description:
      - The password or token. Needed unless O(state=absent).
    type: str
"""

    # The options of REGISTRY_LOGIN_SPEC there
    REGISTRY = r"""
options:
  uri:
    description:
      - The registry with a scheme, C(docker://) or C(oras://), for instance C(docker://registry.example.org:5000).
        C(docker://docker.io) is Docker Hub.
      - Both schemes share one credential. The scheme only says what C(apptainer registry list) shows.
    type: str
    required: true
  state:
    description:
      - Whether a login should be stored.
      - V(absent) removes it under all names that the registry has there, and for both schemes.
    type: str
    choices: [present, absent]
    default: present
  username:
    description:
      - The user name. Needed unless O(state=absent).
    type: str
  password:
    description:
      - The password or access token. Needed unless O(state=absent).
    type: str
  insecure:
    description:
      - Whether plain http may be used if the registry does not speak https.
        It is also what C(apptainer registry list) shows; nothing else in Apptainer looks at it.
      - If not set, it is left alone. For C(localhost), C(*.local) and private addresses Apptainer tries plain http anyway.
    type: bool
"""

    # The rest of LOGIN_SPEC there
    FILES = r"""
options:
  auth_file:
    description:
      - Another file for registry credentials than C(docker-config.json) beside the user's C(remote.yaml),
        for use with C(--authfile) or C(APPTAINER_AUTH_FILE) of Apptainer 1.4 and newer.
      - As with C(apptainer registry login --authfile), C(remote.yaml) then has no entry for the registry.
    type: path
  config_file:
    description:
      - The path of the user's C(remote.yaml), in place of the usual one. The C(docker-config.json) is that in the same directory.
    type: path
notes:
  - The options for owner, group, mode, SELinux context and backup are about both files.
"""

    # Both, for the elements of lists. Annotated, because ansible-test takes only literals in plain assignments.
    LISTS: str = "options:\n" + "".join(
        "  %s:\n    suboptions:\n%s" % (name, indent(text.partition("options:\n")[2].replace("O(state", "O(%s[].state" % name), "    "))
        for name, text in (("keyservers", KEYSERVER), ("registries", REGISTRY))
    )
