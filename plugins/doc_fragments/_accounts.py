# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

from __future__ import annotations

from ansible_collections.hpc.apptainer.plugins.doc_fragments._logins import ModuleDocFragment as Logins
from ansible_collections.hpc.apptainer.plugins.doc_fragments._suboptions import suboptions


class ModuleDocFragment:
    # The option `logins` of FLEET_SPEC in module_utils/_module/fleet.py.
    # Annotated, because ansible-test takes only literals in plain assignments.
    DOCUMENTATION: str = """
options:
  logins:
    description:
      - The logins of accounts of the node. The files of each are read and written by a process that has only this account's rights.
    type: list
    elements: dict
    default: []
    suboptions:
      user:
        description:
          - The name of the account. Its files are in the home that the node's user database has for it.
        type: str
        required: true
      remotes:
        description:
          - The endpoints to log in to, as in O(hpc.apptainer.apptainer_logins#module:remotes).
        type: list
        elements: dict
        suboptions:
""" + suboptions(Logins.TOKEN, 8, "logins[].remotes", ("token_file",)) + """\
          token_file:
            description:
              - The path of a file on the managed node whose first line is the token. The account must be able to read it. C(~) is its home.
            type: str
            aliases: [tokenfile]
      keyservers:
        description:
          - The keyservers to log in to.
        type: list
        elements: dict
        suboptions:
""" + suboptions(Logins.KEYSERVER, 8, "logins[].keyservers") + """\
      registries:
        description:
          - The OCI registries to log in to.
        type: list
        elements: dict
        suboptions:
""" + suboptions(Logins.REGISTRY, 8, "logins[].registries") + """\
      prune:
        description:
          - Remove the logins that are not listed, of the kinds for which a list is given.
        type: bool
        default: false
      config_file:
        description:
          - The path of the account's C(remote.yaml), if it is not in the account's home.
        type: str
      auth_file:
        description:
          - The path of the file with the account's logins to registries, if it is not beside C(remote.yaml).
        type: str
        aliases: [authfile]
"""
