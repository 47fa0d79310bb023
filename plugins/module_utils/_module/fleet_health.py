# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The module that says how the servers and logins are that a whole fleet declares. Whatever is wrong with them is in its result."""

import functools
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Set, Tuple

from ansible.module_utils.basic import AnsibleModule

from .._errors import NetworkError
from .._redaction import without_login
from .._values.claims import (
    Claim,
    EndpointKeyserver,
    EndpointServices,
    EndpointToken,
    KeyserverLogin,
    RegistryLogin,
    Secret,
    username_of,
)
from .._values.uri import keyserver_identity, requested_url
from .asking import http_options
from .declarations import Gathered, gather
from .fleet_verify import FIXED, ask_gathered, claim_names

if TYPE_CHECKING:
    from .._network.client import Client
    from .._network.http_options import HttpOptions
    from .._network.verdict import Verdict

_Row = Dict[str, Any]


def health_of_declarations(module: AnsibleModule) -> Dict[str, Any]:
    """How everything is that the option of DECLARATIONS_SPEC declares. Raises NetworkError for options that cannot be used."""
    gathered = gather(module.params["declarations"])
    gathered.add_keyservers_of_logins()
    services = [_service("endpoint", str(endpoint), url, None, FIXED) for url, endpoint in gathered.endpoints.items() if endpoint.claim() is None]
    services += [_service("endpoint", item.name, "", None, item.reason) for item in gathered.unplaced]
    logins = [_login("token", item.name, "", "", None, item.reason) for item in gathered.unasked]
    certificates: List[_Row] = []
    if gathered.has_questions:
        asked = _Asked(gathered, http_options(module))
        services += asked.services
        logins += asked.logins()
        certificates = asked.certificates()
    refused = sorted({(item.name, item.reason) for item in gathered.refused})
    return {
        "changed": False,
        "services": sorted(services, key=lambda row: (row["kind"], row["name"], row["service"])),
        "logins": sorted(logins, key=lambda row: (row["kind"], row["name"])),
        "certificates": certificates,
        "refused": [{"name": name, "reason": reason} for name, reason in refused],
    }


def _service(kind: str, name: str, uri: str, up: Optional[bool], reason: str, service: str = "", version: Optional[str] = None,
             warning: str = "") -> _Row:
    return {"kind": kind, "name": name, "uri": uri, "service": service, "version": version, "up": up, "reason": reason, "warning": warning}


def _login(kind: str, name: str, uri: str, user: str, valid: Optional[bool], reason: str, warning: str = "") -> _Row:
    return {"kind": kind, "name": name, "uri": uri, "user": user, "valid": valid, "reason": reason, "warning": warning}


class _Asked:
    """What servers answered; with the rows for `services`, and in `_down` the kinds and places of those that do not work."""

    def __init__(self, gathered: Gathered, options: "HttpOptions") -> None:
        from .._network.parallel import ServerMemory

        self._options = options
        self._memory = ServerMemory()
        self._verdicts = ask_gathered(gathered, options, self._memory)
        self._names = claim_names(self._verdicts, gathered.endpoints)
        self._down: Set[Tuple[str, object]] = set()
        self.services: List[_Row] = []
        for claim, verdict in self._verdicts.items():
            self._add_service(claim, verdict)
        self._ask_more()

    def _add_service(self, claim: Claim, verdict: "Verdict") -> None:
        """An endpoint, by its discovery document, or a keyserver."""
        if isinstance(claim, EndpointServices):
            kind, uri = "endpoint", requested_url(claim.uri, claim.insecure)
        elif isinstance(claim, EndpointKeyserver):
            kind, uri = "keyserver", without_login(claim.uri)
        else:
            return
        if verdict.verified is False and isinstance(claim, EndpointKeyserver):
            self._down.add((kind, keyserver_identity(claim.uri)))
        self.services.append(_service(kind, self._names[claim], uri, verdict.verified, verdict.reason, warning=verdict.warning))

    def _ask_more(self) -> None:
        """The versions of the endpoints' services, and registries as such."""
        from .._network.endpoints import services_of_endpoint
        from .._network.parallel import ask_all
        from .._network.registries import registry_problem

        endpoints = [claim for claim, verdict in self._verdicts.items() if isinstance(claim, EndpointServices) and verdict.verified is not False]
        registries = {claim.host: claim.insecure for claim in self._verdicts if isinstance(claim, RegistryLogin)}
        questions: List[Callable[["Client"], Any]] = [functools.partial(services_of_endpoint, claim.uri, claim.insecure) for claim in endpoints]
        questions += [functools.partial(registry_problem, host, insecure) for host, insecure in registries.items()]
        outcomes = ask_all(questions, self._options, self._memory.responses)
        for claim, outcome in zip(endpoints, outcomes):
            for item in [] if isinstance(outcome, NetworkError) else outcome:  # its document was read a moment ago
                if item.error and item.name == "token":
                    self._down.add(("token", requested_url(claim.uri, claim.insecure)))
                self.services.append(_service("service", f"{item.name} service of {self._names[claim]}", item.uri, not item.error,
                                              item.error or "it answers", item.name, item.version))
        for host, outcome in zip(registries, outcomes[len(endpoints):]):
            if outcome:
                self._down.add(("registry", host))
            self.services.append(_service("registry", f"registry {host}", host, not outcome, str(outcome or f"{host} answers as an OCI registry")))

    def logins(self) -> List[_Row]:
        """Whether each login is still accepted."""
        return [self._login(claim, verdict) for claim, verdict in self._verdicts.items()
                if isinstance(claim, (EndpointToken, KeyserverLogin, RegistryLogin))]

    def _login(self, claim: Secret, verdict: "Verdict") -> _Row:
        """It is not known if the server does not work. A server that rejects the login works."""
        from .._network.parallel import credential_of

        place: object
        if isinstance(claim, EndpointToken):
            kind, uri, user, place = "token", claim.name, "", claim.name
        elif isinstance(claim, KeyserverLogin):
            kind, uri, user, place = "keyserver", without_login(claim.uri), username_of(claim.auth) or "", keyserver_identity(claim.uri)
        else:
            kind, uri, user, place = "registry", claim.host, claim.username, claim.host
        is_unknown = verdict.verified is False and (kind, place) in self._down and credential_of(claim) not in self._memory.rejected
        return _login(kind, self._names[claim], uri, user, None if is_unknown else verdict.verified, verdict.reason, verdict.warning)

    def certificates(self) -> List[_Row]:
        """The certificates of all servers that were asked over TLS."""
        from .._network.certificates import server_certificates

        return [{"server": item.address, "expires": None if item.expires is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(item.expires)),
                 "trusted": item.trusted, "reason": item.reason} for item in server_certificates(self._memory.responses, self._options)]
