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
      - The time limit, in seconds, for everything that is asked about one credential, endpoint or keyserver, including name lookups and retries.
    type: float
    default: 10
  validate_certs:
    description:
      - Whether to verify the TLS certificates of servers.
      - With V(false), a password may be sent to somebody who impersonates the server.
    type: bool
    default: true
    aliases: [tls_verify, tlsverify]
  ca_path:
    description:
      - The CA certificates to trust, for servers whose certificate is issued by a private CA.
        The path is that of a file on the managed node, or of a directory that was prepared with C(openssl rehash).
      - By default, those in E(REQUESTS_CA_BUNDLE) or E(CURL_CA_BUNDLE) if one of these is set, otherwise those that Apptainer trusts (the system's
        store, or E(SSL_CERT_FILE) and E(SSL_CERT_DIR)), and those of the Python library C(requests) only where the system has none.
    type: path
    aliases: [ca_cert]
  client_cert:
    description:
      - A file on the managed node with the TLS client certificate to present to servers. It may also contain the key.
    type: path
  client_key:
    description:
      - A file on the managed node with the key for O(client_cert).
    type: path
notes:
  - Proxies are taken from the environment variables that Apptainer reads, E(HTTP_PROXY), E(HTTPS_PROXY) and E(NO_PROXY), also in lower case. Use
    the C(environment) keyword of the task to set them. E(ALL_PROXY) and SOCKS proxies are not used. A loopback address is asked directly.
requirements:
  - requests 2.20 or newer and jsonschema 2.6 or newer on the managed node, if servers are contacted
"""

    # What VERIFY_SPEC has beside them
    VERIFY = r"""
options:
  verify:
    description:
      - When to verify the declared credentials and endpoints with their servers. This happens before anything is written, and in check mode too.
      - V(changed) verifies what is new or differs from what is stored. A task that changes nothing needs no network.
      - V(always) also verifies what is declared and stored already, and fails if the server now rejects it.
      - V(never) verifies nothing, for nodes that cannot reach the servers. The node then needs neither requests nor jsonschema.
      - If a server rejects a credential or cannot be asked, the task fails and changes nothing.
      - If a server accepts everyone, its answer verifies nothing. The credential is stored, with a warning.
    type: str
    choices: [changed, always, never]
    default: changed
"""
