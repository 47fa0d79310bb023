# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

from __future__ import annotations

from ansible_collections.hpc.apptainer.plugins.doc_fragments._suboptions import suboptions


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
      - V(retired) is for an endpoint of the global file that will be removed later. If it exists, it stays as it is, but is neither exclusive
        nor the default. If it does not exist, nothing is done. In a user's file, use V(absent).
      - An exclusive endpoint cannot be removed from the global file, because users whose files hold a copy of it would be locked out.
        Declare it as V(retired) first, and remove it when no copy is exclusive any more. The finding C(unreleased-copy) in
        RV(hpc.apptainer.apptainer_users_info#module:users[].findings) names the users who would still be locked out.
      - With V(absent), all other options except O(force) are ignored. With V(retired), all other options are ignored, but O(exclusive) and
        O(default) must not be V(true).
    type: str
    choices: [present, absent, retired]
    default: present
  uri:
    description:
      - The URI of the endpoint, for example V(https://library.example.org). Required for a new endpoint.
      - The URI is stored without its scheme, as Apptainer does. With a port or an IPv6 address, it is stored in a form that
        Apptainer 1.1 to 1.5 can use, for example V(//library.example.org:8443).
      - If the endpoint moves to another URI, a token that is stored for the old one is removed.
    type: str
    aliases: [url]
  insecure:
    description:
      - Whether to use plain http for service discovery. A URI with C(http://) requires V(true).
      - Users who have their own C(remote.yaml) do not get this setting from the global file. They need it in their own file too.
      - If not set, a URI with C(https://) sets it to V(false). Otherwise the stored setting does not change.
    type: bool
  default:
    description:
      - Whether the endpoint is the default. V(true) makes it the default. V(false) removes the default from the file if it is this endpoint.
      - If not set, the default does not change.
    type: bool
  exclusive:
    description:
      - Whether users may use only this endpoint. V(true) also makes it the default, and no other endpoint stays exclusive.
      - If not set, the stored setting does not change. If the file has several exclusive endpoints, only the default one stays exclusive.
      - This can only be set in the global file.
    type: bool
  keyservers:
    description:
      - The keyservers of the endpoint, in the order in which Apptainer asks them. Keyservers that are not listed are removed.
      - An empty list restores the endpoint's built-in keyserver. If not set, the keyservers do not change.
      - This can only be set in the global file.
    type: list
    elements: dict
    suboptions:
      uri:
        description: The URI of the keyserver. Its scheme is C(https), C(http), C(hkps) or C(hkp).
        type: str
        required: true
        aliases: [url]
      insecure:
        description: Whether Apptainer skips the verification of the keyserver's certificate. If not set, the stored setting does not change.
        type: bool
      builtin:
        description:
          - Whether this is the endpoint's built-in keyserver. Apptainer sends it the endpoint's token.
            To any other keyserver, Apptainer sends the login that the user has stored for it.
          - If not set, the stored setting does not change. A new keyserver is not the built-in one, except that
            C(https://keys.openpgp.org) is that of C(cloud.apptainer.org).
        type: bool
  services:
    description:
      - The services that the endpoint must offer. They are verified before a new endpoint is written, or one that moves to another URI.
      - List V(library) if users pull images from the endpoint, V(keyserver) if they search for keys there, and V(token) if they log in to it.
      - If not set, the endpoint is contacted only when a token for it has to be verified.
    type: list
    elements: str
    choices: [library, keyserver, token]
  token:
    description:
      - The access token with which this user is logged in to the endpoint. A new token is verified before it is stored.
      - This can only be set in a user's file. The token for a global endpoint is stored in the user's copy of the endpoint, as Apptainer does.
      - A value that is not text (a mapping, a list, a number or a boolean) is refused. Quote it, or end its template with C(| string).
    type: str
  token_file:
    description:
      - A file on the managed node whose first line is the token. It should have mode V(0600).
      - Only one of O(token), O(token_file) and O(logout) can be given.
    type: path
    aliases: [tokenfile]
  logout:
    description:
      - Remove the stored token.
    type: bool
    default: false
  force:
    description:
      - With O(state=absent), remove the endpoint even if it is exclusive.
    type: bool
    default: false
"""

    # The same, for each element of a list. Annotated, because ansible-test takes only literals in plain assignments.
    LIST: str = "options:\n  remotes:\n    suboptions:\n" + suboptions(DOCUMENTATION, 4, "remotes")
