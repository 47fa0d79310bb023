# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

from __future__ import annotations

from ansible_collections.hpc.apptainer.plugins.doc_fragments._logins import ModuleDocFragment as Logins
from ansible_collections.hpc.apptainer.plugins.doc_fragments._remote import ModuleDocFragment as Remote
from ansible_collections.hpc.apptainer.plugins.doc_fragments._suboptions import suboptions


class ModuleDocFragment:
    # The options of DECLARATIONS_SPEC in module_utils/_module/declarations.py.
    # Annotated, because ansible-test takes only literals in plain assignments.
    DOCUMENTATION: str = """
options:
  declarations:
    description:
      - What is declared for the hosts of a fleet. Hosts with the same declaration can share one element.
      - Equal elements, and equal entries of different elements, are verified only once.
    type: list
    elements: dict
    required: true
    suboptions:
      remotes:
        description:
          - The endpoints, as in O(hpc.apptainer.apptainer_remotes#module:remotes).
          - Only O(declarations[].remotes[].name), O(declarations[].remotes[].state), O(declarations[].remotes[].uri),
            O(declarations[].remotes[].insecure), O(declarations[].remotes[].keyservers) and O(declarations[].remotes[].services) affect what is
            verified.
          - An endpoint with O(declarations[].remotes[].uri) is asked for its discovery document even if O(declarations[].remotes[].services)
            is not set.
        type: list
        elements: dict
        suboptions:
""" + suboptions(Remote.DOCUMENTATION, 8, "declarations[].remotes", ("token", "token_file", "logout")) + """\
      flavor:
        description:
          - The program on these hosts. Apptainer asks C(cloud.apptainer.org) for nothing; SingularityCE does.
        type: str
        choices: [apptainer, singularity]
        default: apptainer
      logins:
        description:
          - The logins of accounts, as in M(hpc.apptainer.apptainer_logins). The lists may contain the logins of several accounts.
        type: dict
        suboptions:
          remotes:
            description:
              - The tokens for endpoints. Each is verified with the endpoint of the same name in O(declarations[].remotes) of the same element.
            type: list
            elements: dict
            suboptions:
              name:
                description:
                  - The name of the endpoint.
                type: str
                required: true
              state:
                description:
                  - Whether the token should be stored. With V(absent), nothing is verified.
                type: str
                choices: [present, absent]
                default: present
              token:
                description:
                  - The access token.
                type: str
              token_file:
                description:
                  - A file on the managed nodes. It is not read here. The nodes verify the token in it.
                type: path
                aliases: [tokenfile]
          keyservers:
            description:
              - The logins to keyservers.
            type: list
            elements: dict
            suboptions:
""" + suboptions(Logins.KEYSERVER, 12, "declarations[].logins.keyservers") + """\
          registries:
            description:
              - The logins to OCI registries.
            type: list
            elements: dict
            suboptions:
""" + suboptions(Logins.REGISTRY, 12, "declarations[].logins.registries") + """\
requirements:
  - Python 3.6 or newer and PyYAML 3.12 or newer on the managed node
"""
