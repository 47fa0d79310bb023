# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What a server can verify: a credential together with the endpoint, keyserver or registry that it is for, and two claims without one.

Immutable values. Their repr() never shows a secret, so that a traceback or a failed assertion does not show one either.
"""

import base64
import re
from typing import NamedTuple, Optional, Tuple, Union

from .._errors import quoted
from .._redaction import safe_repr, without_login


class EndpointToken(NamedTuple):
    """A token for an endpoint with the stored URI. `insecure`: service discovery uses plain http."""

    name: str
    uri: str
    insecure: bool
    token: str

    def __repr__(self) -> str:
        return safe_repr(self)


class KeyserverLogin(NamedTuple):
    """A login to a keyserver; `auth` is the whole Authorization header. `insecure`: its certificate is not verified."""

    uri: str
    auth: str
    insecure: bool = False

    def __repr__(self) -> str:
        return safe_repr(self)


class RegistryLogin(NamedTuple):
    """A login to an OCI registry at `host`, with port if it has one; `docker.io` is Docker Hub. `insecure`: plain http may be used."""

    host: str
    username: str
    password: str
    insecure: bool = False

    def __repr__(self) -> str:
        return safe_repr(self)


class EndpointServices(NamedTuple):
    """A claim without a secret: an endpoint offers the services of these names or, if there are none, it is an endpoint.

    `flavor` is that of the program that will look for them.
    """

    name: str
    uri: str
    insecure: bool
    services: Tuple[str, ...]
    flavor: str = "apptainer"

    def __repr__(self) -> str:
        return safe_repr(self)


class EndpointKeyserver(NamedTuple):
    """A claim without a secret: there is a keyserver, and it answers. `insecure`: its certificate is not verified."""

    uri: str
    insecure: bool = False

    def __repr__(self) -> str:
        return safe_repr(self)


Secret = Union[EndpointToken, KeyserverLogin, RegistryLogin]
Claim = Union[Secret, EndpointServices, EndpointKeyserver]


def basic(username: str, password: str) -> str:
    """The Authorization header for a user name and password, in UTF-8 as Go sends it (RFC 7617).

    It is also the `Auth` that Apptainer stores for a keyserver (`internal/pkg/remote/credential/login_handler.go`). Bytes of a file that
    are not UTF-8 and were read as surrogates become the same bytes again.
    """
    return f"Basic {base64.b64encode(f'{username}:{password}'.encode('utf-8', 'surrogateescape')).decode('ascii')}"


def fits_header(token: str) -> bool:
    """Whether an Authorization header can carry a token as it is: visible ASCII characters (RFC 6750), at least one."""
    return re.match(r"[!-~]+\Z", token) is not None


def username_of(auth: str) -> Optional[str]:
    """The user name in an Authorization header, or None if it holds none."""
    scheme, _space, value = auth.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        username, colon, _password = base64.b64decode(value).decode("utf-8", "replace").partition(":")
    except ValueError:
        return None
    return username if colon else None  # without a colon it may be the secret itself


def claim_name(claim: Claim) -> str:
    """What a claim is about, as messages name it: `endpoint "site"`, `keyserver https://keys.example.org`, `registry registry.example.org`."""
    if isinstance(claim, EndpointServices):
        return f"services of endpoint {quoted(claim.name)}"
    if isinstance(claim, EndpointToken):
        return f"endpoint {quoted(claim.name)}"
    if isinstance(claim, (KeyserverLogin, EndpointKeyserver)):
        return f"keyserver {without_login(claim.uri)}"
    return f"registry {claim.host}"
