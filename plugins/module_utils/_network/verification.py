# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Whether servers accept credentials, and are what they should be. Read-only: nothing but GET.

A claim is verified by an answer that a server would not give without the credential, or that its protocol forbids it to give to a wrong
one. What Apptainer's own logins accept is less: they store a wrong password for most registries (recorded runs of logins).
"""

from .._errors import NetworkError
from .._values.claims import (
    Claim,
    EndpointKeyserver,
    EndpointServices,
    EndpointToken,
    KeyserverLogin,
)
from .client import Client
from .endpoints import verify_services, verify_token
from .keyservers import verify_keyserver, verify_keyserver_login
from .registries import verify_registry_login
from .verdict import Verdict


def verify_claim(claim: Claim, client: Client) -> Verdict:
    """Ask the server that a claim is about. What keeps it from answering, or a secret from being sent, is a reason, not an error."""
    try:
        if isinstance(claim, EndpointToken):
            return verify_token(claim, client)
        if isinstance(claim, EndpointServices):
            return verify_services(claim, client)
        if isinstance(claim, EndpointKeyserver):
            return verify_keyserver(claim, client)
        if isinstance(claim, KeyserverLogin):
            return verify_keyserver_login(claim, client)
        return verify_registry_login(claim, client)
    except NetworkError as error:
        return Verdict(False, str(error))
    except UnicodeError:
        return Verdict(False, "the stored login has characters that cannot be sent; log in again")
