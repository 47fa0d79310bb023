# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

from __future__ import annotations

from textwrap import indent


class ModuleDocFragment:
    # The options of REMOTE_SPEC in module_utils/_module/endpoints.py
    DOCUMENTATION = r"""
options:
  name:
    description:
      - The name of the endpoint.
    type: str
    required: true
  state:
    description:
      - Whether the endpoint should exist.
      - Removing an exclusive endpoint from the global file is refused, as users who hold a copy would be locked out.
        Set C(exclusive=false) first and remove it in a later run.
      - With V(absent) the other options but C(force) are ignored.
    type: str
    choices: [present, absent]
    default: present
  uri:
    description:
      - Where the endpoint is, for instance C(https://library.example.org). Needed for a new endpoint.
      - Apptainer stores it without its scheme. With a port or an IPv6 address it is stored in the one spelling that Apptainer 1.1 to 1.5
        can use, for instance C(//library.example.org:8443).
      - If an endpoint moves, a token stored for its old place is removed.
    type: str
  insecure:
    description:
      - Look for the endpoint's services by plain http. Needed for C(http://) in the URI.
      - In the global file this does not reach users who have a C(remote.yaml) of their own. They need it there, too.
      - If not set, it is left alone, or follows from the scheme in the URI.
    type: bool
  default:
    description:
      - Whether the endpoint is the default one. V(true) makes it so, V(false) takes that away if it is.
      - If not set, it is left alone.
    type: bool
  exclusive:
    description:
      - Whether the endpoint is the only one that users may use. V(true) also makes it the default, and no other endpoint stays exclusive.
      - If not set, it is left alone. If the file has several exclusive endpoints, only the default one stays exclusive.
      - Only in the global file.
    type: bool
  keyservers:
    description:
      - The keyservers of the endpoint, in the order in which they are asked. Others are removed.
      - An empty list restores the endpoint's own keyserver. If not set, they are left alone.
      - Only in the global file.
    type: list
    elements: dict
    suboptions:
      uri:
        description: Where the keyserver is. The schemes are C(https), C(http), C(hkps) and C(hkp).
        type: str
        required: true
      insecure:
        description: Do not verify the keyserver's certificate.
        type: bool
      builtin:
        description:
          - Whether this is the endpoint's own keyserver, which gets the endpoint's token.
            An external one gets the login that the user stored for it.
          - By default it is what the file says, and C(https://keys.openpgp.org) is known to be that of C(cloud.apptainer.org).
        type: bool
  services:
    description:
      - Services that the endpoint must offer. Before a new endpoint is written, or one that moves, it is asked for them.
      - An endpoint that is asked for its library should have V(library), one that keys are searched at V(keyserver), one to log in to V(token).
      - If not set, an endpoint is asked only when a token for it has to be verified.
    type: list
    elements: str
    choices: [library, keyserver, token]
  token:
    description:
      - The access token with which this user is logged in to the endpoint. A new one is verified first.
      - Only in the user's file. For a global endpoint it is stored in the copy of it there, as Apptainer does.
    type: str
  token_file:
    description:
      - A file on the managed node whose first line is the token. It should have mode C(0600).
      - Give only one of this, C(token) and C(logout).
    type: path
  logout:
    description:
      - Remove the stored token.
    type: bool
    default: false
  force:
    description:
      - Remove the endpoint even if it is exclusive.
    type: bool
    default: false
"""

    # The same, for each element of a list. Annotated, because ansible-test takes only literals in plain assignments.
    LIST: str = "options:\n  remotes:\n    suboptions:\n" + indent(DOCUMENTATION.partition("options:\n")[2], "    ")
