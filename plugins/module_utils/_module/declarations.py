# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What a whole fleet declares, gathered: each distinct thing that servers can be asked about once."""

import json
from typing import Any, Dict, List, Mapping, Optional, Sequence

from .._errors import RuleError, quoted
from .._rules.endpoints import converge
from .._rules.logins import Files, WantedKeyserverLogin, WantedToken, converge_logins
from .._rules.registries import WantedRegistry
from .._rules.stored_secrets import stored_secrets
from .._rules.wanted import WantedKeyserver, WantedRemote
from .._values.claims import (
    Claim,
    EndpointKeyserver,
    EndpointServices,
    EndpointToken,
    KeyserverLogin,
    RegistryLogin,
    Secret,
)
from .._values.docker_config import DockerConfig
from .._values.flavors import FLAVORS
from .._values.remote_config import Remote, RemoteConfig
from .._values.uri import DEFAULT_ENDPOINT_URI, hardcoded_keyserver, keyserver_identity, requested_url
from .common import LOCATION_SPEC
from .endpoints import REMOTE_SPEC
from .login_specs import KINDS, LOGINS_SPEC
from .verifier import NamedVerdict

_DECLARATION: Dict[str, Any] = {
    "remotes": {
        "type": "list",
        "elements": "dict",
        "options": {name: option for name, option in REMOTE_SPEC.items() if name not in ("token", "token_file", "logout")},
    },
    "logins": {"type": "dict", "options": {kind: LOGINS_SPEC[kind] for kind in KINDS}},
    "flavor": LOCATION_SPEC["flavor"],
}
DECLARATIONS_SPEC: Dict[str, Any] = {"declarations": {"type": "list", "elements": "dict", "required": True, "options": _DECLARATION}}

_NO_URI = "not asked, because no uri is declared for it"
_TOKEN_NO_URI = ("not verified, because no uri is declared for its endpoint; declare the uri beside the token, or let the nodes that have the "
                 "endpoint verify it")
_TOKEN_ON_NODES = "not verified here, because its token_file is on the nodes, which verify it"
TOKEN_NOT_SENT = "not verified, because its endpoint failed, so the token was not sent there"
_MOST_NAMES = 3


class Endpoint:
    """One endpoint, whatever names it is declared by; it must offer all the services that any declaration demands."""

    def __init__(self, remote: Remote) -> None:
        self.remote = remote
        self.names: Dict[str, None] = {}
        self.services: Dict[str, None] = {}
        self.flavor = "apptainer"  # where hosts differ, the one that asks more

    def __str__(self) -> str:
        names = ", ".join(map(quoted, list(self.names)[:_MOST_NAMES])) + (", ..." if len(self.names) > _MOST_NAMES else "")
        return f"endpoint {names} at {requested_url(self.remote.uri, self.remote.insecure)}"

    def claim(self) -> Optional[EndpointServices]:
        """What can be asked, if anything."""
        if hardcoded_keyserver(self.remote.uri, self.flavor) and not self.services:
            return None
        return EndpointServices(
            name=next(iter(self.names)), uri=self.remote.uri, insecure=self.remote.insecure, services=tuple(sorted(self.services)),
            flavor=self.flavor)


def gather(declarations: Sequence[Mapping[str, Any]]) -> "Gathered":
    """What the option of DECLARATIONS_SPEC declares."""
    gathered = Gathered()
    for item in {json.dumps(item, sort_keys=True): item for item in declarations}.values():  # a thousand hosts declare the same
        remotes, logins = _present(item["remotes"]), {kind: _present((item["logins"] or {}).get(kind)) for kind in KINDS}
        gathered.add(remotes, logins, item["flavor"])
    return gathered


def _present(entries: Optional[Sequence[Dict[str, Any]]]) -> List[Dict[str, Any]]:
    return [entry for entry in entries or () if entry["state"] == "present"]


class Gathered:
    """What is declared, each distinct thing once; and what no server can be asked about, with the reason.

    These are `unplaced` endpoints, `unasked` tokens, and what the rules for writing have `refused`.
    """

    def __init__(self) -> None:
        self.endpoints: Dict[str, Endpoint] = {}  # by the URL at which Apptainer asks them
        self.claims: Dict[Claim, None] = {}
        self.tokens: Dict[EndpointToken, None] = {}  # with the URL in place of a name
        self.registries: Dict[RegistryLogin, bool] = {}  # whether all say insecure, so that a password is sent once
        self.unplaced: List[NamedVerdict] = []
        self.unasked: List[NamedVerdict] = []
        self.refused: List[NamedVerdict] = []

    @property
    def has_questions(self) -> bool:
        """Whether there is anything to ask a server."""
        return bool(self.claims or self.registries or self.tokens or any(endpoint.claim() for endpoint in self.endpoints.values()))

    def add_keyservers_of_logins(self) -> None:
        """Also ask the keyservers that have a login but belong to no endpoint."""
        known = {keyserver_identity(item.uri) for item in self.claims if isinstance(item, EndpointKeyserver)}
        for item in [item for item in self.claims if isinstance(item, KeyserverLogin) and keyserver_identity(item.uri) not in known]:
            self.claims[EndpointKeyserver(item.uri, item.insecure)] = None

    def add(self, remotes: Sequence[Mapping[str, Any]], logins: Mapping[str, Sequence[Mapping[str, Any]]], flavor: str) -> None:
        """Add one declaration. What the rules for writing refuse is not asked either."""
        default = next((entry["name"] for entry in remotes if entry["default"] or entry["exclusive"]), "")
        placed: Dict[str, Remote] = {}
        for entry in remotes:
            remote = self._add_endpoint(entry, flavor)
            if remote:
                placed[entry["name"]] = remote
        refused = {entry["name"] for entry in remotes if entry["uri"] is not None and entry["name"] not in placed}
        config = RemoteConfig(default if default in placed else "", placed)
        for entry in logins["remotes"]:
            self._add_token(entry, config, entry["name"] in refused)
        for entry in logins["keyservers"]:
            login = WantedKeyserverLogin(uri=entry["uri"], username=entry["username"] or "", password=entry["password"])
            self.claims.update(dict.fromkeys(self._secrets_of(config, keyservers=[login])))
        self._add_registries(logins["registries"])

    def _add_endpoint(self, entry: Mapping[str, Any], flavor: str) -> Optional[Remote]:
        """The endpoint as the global file would have it, if its uri is declared and can be used."""
        name = entry["name"]
        # an entry without a uri changes an endpoint that the nodes have; its keyservers can be asked nevertheless
        uri = DEFAULT_ENDPOINT_URI if entry["uri"] is None else entry["uri"]
        wanted = WantedRemote(name=name, uri=uri, insecure=None if entry["uri"] is None else entry["insecure"], keyservers=tuple(
            WantedKeyserver(uri=item["uri"], insecure=item["insecure"], builtin=item["builtin"]) for item in entry["keyservers"] or ()))
        try:
            remote = converge(RemoteConfig(), [wanted]).config.remotes[name]
        except RuleError as error:
            self._refuse(error)
            return None
        self.claims.update((EndpointKeyserver(server.uri, server.insecure), None) for server in remote.keyservers)
        if entry["uri"] is None:
            self.unplaced.append(NamedVerdict(f"endpoint {quoted(name)}", None, _NO_URI, counts=bool(entry["services"])))
            return None
        endpoint = self.endpoints.setdefault(requested_url(remote.uri, remote.insecure), Endpoint(remote))
        endpoint.names[name] = None
        endpoint.flavor = endpoint.flavor if FLAVORS[flavor].has_fixed_services else flavor
        endpoint.services.update(dict.fromkeys(entry["services"] or ()))
        return remote._replace(system=False)

    def _add_token(self, entry: Mapping[str, Any], config: RemoteConfig, endpoint_refused: bool) -> None:
        remote = config.remotes.get(entry["name"])
        reason = _TOKEN_ON_NODES if entry["token_file"] else TOKEN_NOT_SENT if endpoint_refused else "" if remote else _TOKEN_NO_URI
        if reason or remote is None:
            name = f"token of endpoint {quoted(entry['name'])}"
            self.unasked.append(NamedVerdict(name, None, reason, counts=not entry["token_file"]))
            return
        url = requested_url(remote.uri, remote.insecure)
        secrets = self._secrets_of(RemoteConfig("", {entry["name"]: remote}), tokens=[WantedToken(name=entry["name"], token=entry["token"])])
        place = self.endpoints[url].remote
        self.tokens.update((EndpointToken(name=url, uri=place.uri, insecure=place.insecure, token=item.token), None)
                           for item in secrets if isinstance(item, EndpointToken))

    def _add_registries(self, entries: Sequence[Mapping[str, Any]]) -> None:
        declared: Dict[RegistryLogin, List[bool]] = {}
        for entry in entries:
            login = WantedRegistry(uri=entry["uri"], username=entry["username"], password=entry["password"])
            for item in self._secrets_of(RemoteConfig(), registries=[login]):
                if isinstance(item, RegistryLogin):
                    declared.setdefault(item, []).extend(() if entry["insecure"] is None else (entry["insecure"],))
        for item, insecure in declared.items():
            self.registries[item] = bool(insecure) and all(insecure) and self.registries.get(item, True)

    def _secrets_of(self, config: RemoteConfig, tokens: Sequence[WantedToken] = (), keyservers: Sequence[WantedKeyserverLogin] = (),
                    registries: Sequence[WantedRegistry] = ()) -> List[Secret]:
        """What the files of an account would hold with these logins, where the endpoints are those of `config`."""
        nobody = RemoteConfig()
        try:
            files = converge_logins(Files(config, DockerConfig()), nobody, tokens=tokens, keyservers=keyservers, registries=registries).files
        except RuleError as error:
            self._refuse(error)
            return []
        return stored_secrets(files.remotes, files.docker, nobody)

    def _refuse(self, error: RuleError) -> None:
        self.refused.append(NamedVerdict(error.subject, False, error.reason))
