# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

from __future__ import annotations


class ModuleDocFragment:
    # The options of NETWORK_SPEC in module_utils/_module/common.py
    DOCUMENTATION = r"""
options:
  timeout:
    description:
      - How long to wait, in seconds, for all the answers about one credential or endpoint together, with name lookup and retries.
    type: float
    default: 10
  validate_certs:
    description:
      - Whether to verify the certificates of servers.
        With V(false) a password may be sent to somebody else who claims to be the server.
    type: bool
    default: true
  ca_path:
    description:
      - A file with the certificates of the authorities to trust, on the managed node, for servers with a certificate of a private one.
        Or a directory of such files, prepared with C(openssl rehash).
      - By default those that the Python library C(requests) trusts, or that C(REQUESTS_CA_BUNDLE) names. Proxies are taken from the
        environment, too, as from C(https_proxy) and C(no_proxy). Use C(environment) of the task to set them.
    type: path
  client_cert:
    description:
      - A file with a certificate that this node shows to servers. It may hold the key, too.
    type: path
  client_key:
    description:
      - A file with the key of O(client_cert).
    type: path
requirements:
  - To ask servers, requests 2.20 or newer and jsonschema 2.6 or newer on the managed node
"""

    # What VERIFY_SPEC has beside them
    VERIFY = r"""
options:
  verify:
    description:
      - When to ask the server whether a credential is good, before it is stored. Also in check mode.
      - V(changed) asks about what is new or replaces something, so that a task that changes nothing needs no network.
      - V(always) also asks about what is declared and stored already, and fails if the server rejects it now.
      - V(never) asks nothing, for a node without a way to the server. It then needs neither requests nor jsonschema.
      - If the server rejects a credential or cannot be asked, the task fails and nothing is changed.
        If the server lets everyone in, nothing is proven, and a warning says so.
    type: str
    choices: [changed, always, never]
    default: changed
"""
