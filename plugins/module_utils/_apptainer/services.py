# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Where the discovery document of an endpoint leads Apptainer, which follows it wherever that is."""

import re
from typing import Tuple

from .._errors import RuleError, quoted
from .._redaction import without_login
from .._values.hosts import address_of
from .._values.remote_config import RemoteConfig
from .._values.uri import Url, keyserver_identity, parse, requested_url
from .effective import sync

USED_SERVICES = ("library", "keyserver", "token")  # by Apptainer; a document may name others

_LOCAL_NAME = re.compile(r"(?:.*\.)?localhost6?(?:\.localdomain6?)?\.?\Z|ip6-(?:localhost|loopback)\Z")


def service_hazard(endpoint_uri: str, insecure: bool, service_uri: str) -> str:
    """What is dangerous about a service of the endpoint with this stored URI, as the rest of a sentence; nothing, if nothing is.

    An https endpoint must not lead to plain http: Apptainer sends its token there, and runs what it gets from there. No endpoint must lead
    to a loopback or link-local address, which is another machine on each node, unless it is itself at that host.
    Source: `internal/pkg/remote/endpoint/service.go` and `client.go`, which take any URI of the document.
    """
    try:
        service = parse(service_uri)
        endpoint = parse(requested_url(endpoint_uri, insecure))
    except RuleError:
        return ""  # it cannot be used at all, which is reported elsewhere
    if service.scheme == "http" and not insecure:
        return "uses plain http, although the endpoint uses https"
    if is_local(service) and _host(service) != _host(endpoint):
        return "is at a loopback or link-local address, where each node finds only itself"
    return ""


def token_warnings(before: RemoteConfig, after: RemoteConfig, system: RemoteConfig) -> Tuple[str, ...]:
    """What is known, without asking, of where Apptainer sends the tokens that are new in a user's file: also to the endpoint's built-in keyservers.

    Source: `internal/pkg/remote/endpoint/client.go`, which sends the token to all keyservers that are not external.
    """
    warnings = []
    for name, remote in sync(after, system).remotes.items():
        token = after.remotes[name].token if name in after.remotes else ""
        if not token or (name in before.remotes and before.remotes[name].token == token):
            continue
        for keyserver in remote.keyservers:
            hazard = "" if keyserver.external or keyserver.skip else service_hazard(remote.uri, remote.insecure, _normalized(keyserver.uri))
            if hazard:
                shown = without_login(keyserver.uri)
                warnings.append(f"endpoint {quoted(name)}: its keyserver {shown} {hazard}, and Apptainer sends the token there; give the keyserver "
                                "another uri, or do not log in")
    return tuple(warnings)


def _normalized(uri: str) -> str:
    identity = keyserver_identity(uri)
    return f"{identity[0]}://{identity[1]}" if identity else ""


def is_local(url: Url) -> bool:
    """Whether the host of a URL is this machine, or one on the same cable, for whoever asks."""
    host = _host(url)
    address = address_of(host)
    if address is None:
        return _LOCAL_NAME.match(host) is not None
    return address.is_loopback or address.is_link_local or address.is_unspecified


def _host(url: Url) -> str:
    """The host without its port, in lower case."""
    return re.sub(r":[0-9]*\Z", "", url.host).strip("[]").lower()
