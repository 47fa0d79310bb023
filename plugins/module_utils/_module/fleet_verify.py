# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The glue of the module that proves what a whole fleet declares: gathered, each distinct thing asked once, told in one result."""

import json
import re
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible.module_utils.basic import AnsibleModule

from .._errors import RuleError, VerificationError, quoted
from .._rules.endpoints import WantedKeyserver, WantedRemote, converge
from .._rules.logins import (
    Files,
    WantedKeyserverLogin,
    WantedRegistry,
    WantedToken,
    converge_logins,
)
from .._rules.stored_secrets import stored_secrets
from .._values.claims import (
    Claim,
    EndpointKeyserver,
    EndpointServices,
    EndpointToken,
    KeyserverLogin,
    RegistryLogin,
    claim_name,
    username_of,
)
from .._values.docker_config import DockerConfig
from .._values.remote_config import Remote, RemoteConfig
from .._values.uri import DEFAULT_ENDPOINT_URI, keyserver_identity, requested_url
from .endpoints import REMOTE_SPEC, hide_passwords
from .logins import LOGINS_SPEC
from .verifier import http_options, sentences

_KINDS = ("remotes", "keyservers", "registries")
_DECLARATION: Dict[str, Any] = {
    "remotes": {
        "type": "list",
        "elements": "dict",
        "options": {name: option for name, option in REMOTE_SPEC.items() if name not in ("token", "token_file", "logout")},
    },
    "logins": {"type": "dict", "options": {kind: LOGINS_SPEC[kind] for kind in _KINDS}},
}
DECLARATIONS_SPEC: Dict[str, Any] = {"declarations": {"type": "list", "elements": "dict", "required": True, "options": _DECLARATION}}

_FIXED = "not asked, as what it offers is fixed in Apptainer"
_NO_URI = "not asked, as no uri is declared for it"
_TOKEN_NO_URI = "not verified, as no uri is declared for it; declare the endpoint's uri beside the token, or the nodes that have it must verify it"
_TOKEN_ON_NODES = "not verified here, as its token_file is on the nodes, which verify it"
_TOKEN_NOT_SENT = "not verified, as its endpoint failed, so it was not sent there"
_MOST_NAMES = 3


class _Verdict(NamedTuple):
    """What a result says of one thing; `counts` is false if nothing was to be asked about it."""

    name: str
    verified: Optional[bool]
    reason: str
    counts: bool = True


class _Endpoint:
    """One place, whatever it is called; of which all the services are demanded that any declaration demands."""

    def __init__(self, remote: Remote) -> None:
        self.remote = remote
        self.names: Dict[str, None] = {}
        self.services: Dict[str, None] = {}

    def __str__(self) -> str:
        names = ", ".join(map(quoted, list(self.names)[:_MOST_NAMES])) + (", ..." if len(self.names) > _MOST_NAMES else "")
        return f"endpoint {names} at {requested_url(self.remote.uri, self.remote.insecure)}"

    def claim(self) -> Optional[EndpointServices]:
        """What can be asked, if anything."""
        if self.remote.uri == DEFAULT_ENDPOINT_URI and not self.services:
            return None
        return EndpointServices(next(iter(self.names)), self.remote.uri, self.remote.insecure, tuple(sorted(self.services)))


def verify(module: AnsibleModule) -> Dict[str, Any]:
    """Have all proven that DECLARATIONS_SPEC's option declares. Raises VerificationError that lists every problem."""
    # a thousand hosts say the same
    declarations = list({json.dumps(item, sort_keys=True): item for item in module.params["declarations"]}.values())
    gathered = _Gathered()
    for item in declarations:
        remotes, logins = _present(item["remotes"]), {kind: _present((item["logins"] or {}).get(kind)) for kind in _KINDS}
        hide_passwords(module, [entry["uri"] for entry in [*remotes, *logins["keyservers"], *logins["registries"]]])
        hide_passwords(module, [server["uri"] for entry in remotes for server in entry["keyservers"] or ()])
        gathered.add(remotes, logins)
    verdicts = sorted({*gathered.unasked, *_asked(module, gathered)}, key=lambda item: (item.name, item.reason))
    result = _result(verdicts)
    if result["verified"] is False:
        raise VerificationError(sentences((item.name, item.reason) for item in verdicts if item.verified is False), result)
    for item in verdicts:
        if item.verified is None and item.counts:
            module.warn(f"{item.name}: {item.reason}")
    return dict(result, changed=False)


def _present(entries: Optional[Sequence[Dict[str, Any]]]) -> List[Dict[str, Any]]:
    return [entry for entry in entries or () if entry["state"] == "present"]


def _result(verdicts: Sequence[_Verdict]) -> Dict[str, Any]:
    counted = {item.verified for item in verdicts if item.counts}
    return {
        "verified": False if False in counted else True if counted == {True} else None,
        "verification": [{"name": item.name, "verified": item.verified, "reason": item.reason} for item in verdicts],
    }


class _Gathered:
    """What is declared, each distinct thing once; and `unasked`, what no server can be asked about, with the reason."""

    def __init__(self) -> None:
        self.endpoints: Dict[str, _Endpoint] = {}  # by the URL at which Apptainer asks them
        self.claims: Dict[Claim, None] = {}
        self.tokens: Dict[EndpointToken, None] = {}  # with the URL in place of a name
        self.registries: Dict[RegistryLogin, bool] = {}  # whether all say insecure, so that a password is sent once
        self.unasked: List[_Verdict] = []

    def add(self, remotes: Sequence[Mapping[str, Any]], logins: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """Add one declaration. What the rules for writing refuse is not asked either."""
        default = next((entry["name"] for entry in remotes if entry["default"] or entry["exclusive"]), "")
        known: Dict[str, Remote] = {}
        for entry in remotes:
            remote = self._endpoint(entry)
            if remote:
                known[entry["name"]] = remote
        failed = {entry["name"] for entry in remotes if entry["uri"] is not None and entry["name"] not in known}
        config = RemoteConfig(default if default in known else "", known)
        for entry in logins["remotes"]:
            self._token(entry, config, entry["name"] in failed)
        for entry in logins["keyservers"]:
            login = WantedKeyserverLogin(entry["uri"], True, entry["username"] or "", entry["password"])
            self.claims.update(dict.fromkeys(self._login(config, keyservers=[login])))
        self._registries(logins["registries"])

    def _endpoint(self, entry: Mapping[str, Any]) -> Optional[Remote]:
        """The endpoint as the global file would have it, if it is known where it is."""
        name, servers = entry["name"], [WantedKeyserver(item["uri"], item["insecure"], item["builtin"]) for item in entry["keyservers"] or ()]
        # an entry without a uri changes an endpoint that is there; its keyservers are said all the same
        uri = DEFAULT_ENDPOINT_URI if entry["uri"] is None else entry["uri"]
        wanted = WantedRemote(name, True, uri, None if entry["uri"] is None else entry["insecure"], keyservers=tuple(servers))
        try:
            remote = converge(RemoteConfig(), [wanted]).config.remotes[name]
        except RuleError as error:
            self._refuse(error)
            return None
        self.claims.update((EndpointKeyserver(server.uri, server.insecure), None) for server in remote.keyservers)
        if entry["uri"] is None:
            self.unasked.append(_Verdict(f"endpoint {quoted(name)}", None, _NO_URI, bool(entry["services"])))
            return None
        place = self.endpoints.setdefault(requested_url(remote.uri, remote.insecure), _Endpoint(remote))
        place.names[name] = None
        place.services.update(dict.fromkeys(entry["services"] or ()))
        return remote._replace(system=False)

    def _token(self, entry: Mapping[str, Any], config: RemoteConfig, failed: bool) -> None:
        remote = config.remotes.get(entry["name"])
        reason = _TOKEN_ON_NODES if entry["token_file"] else _TOKEN_NOT_SENT if failed else "" if remote else _TOKEN_NO_URI
        if reason or remote is None:
            self.unasked.append(_Verdict(f"token of endpoint {quoted(entry['name'])}", None, reason, not entry["token_file"]))
            return
        url = requested_url(remote.uri, remote.insecure)
        found = self._login(RemoteConfig("", {entry["name"]: remote}), tokens=[WantedToken(entry["name"], True, entry["token"])])
        place = self.endpoints[url].remote
        self.tokens.update((EndpointToken(url, place.uri, place.insecure, item.token), None) for item in found if isinstance(item, EndpointToken))

    def _registries(self, entries: Sequence[Mapping[str, Any]]) -> None:
        found: Dict[RegistryLogin, List[bool]] = {}
        for entry in entries:
            login = WantedRegistry(entry["uri"], True, entry["username"], entry["password"])
            for item in self._login(RemoteConfig(), registries=[login]):
                if isinstance(item, RegistryLogin):
                    found.setdefault(item, []).extend(() if entry["insecure"] is None else (entry["insecure"],))
        for item, said in found.items():
            self.registries[item] = bool(said) and all(said) and self.registries.get(item, True)

    def _login(self, config: RemoteConfig, tokens: Sequence[WantedToken] = (), keyservers: Sequence[WantedKeyserverLogin] = (),
               registries: Sequence[WantedRegistry] = ()) -> List[Claim]:
        """The secret that the files of an account would hold, where the endpoints are those of `config`."""
        nobody = RemoteConfig()
        try:
            files = converge_logins(Files(config, DockerConfig()), tokens, keyservers, registries, nobody).files
        except RuleError as error:
            self._refuse(error)
            return []
        return list(stored_secrets(files.remotes, files.docker, nobody))

    def _refuse(self, error: RuleError) -> None:
        name, _colon, reason = str(error).partition(": ")
        self.unasked.append(_Verdict(name, False, reason))


def _asked(module: AnsibleModule, gathered: _Gathered) -> List[_Verdict]:
    """What servers say. Needs the libraries for that only if there is something to ask."""
    places = {url: place.claim() for url, place in gathered.endpoints.items()}
    claims = [*filter(None, places.values()), *gathered.claims,
              *(item._replace(insecure=insecure) for item, insecure in gathered.registries.items())]
    if not claims and not gathered.tokens:
        return [_Verdict(str(place), None, _FIXED, False) for place in gathered.endpoints.values()]
    options = http_options(module)
    from .._network.parallel import FleetProver
    from .._network.verification import Verdict

    prover = FleetProver(options)
    proofs = prover.verify_claim(claims)
    accepted = {keyserver_identity(item.uri) for item in proofs if isinstance(item, KeyserverLogin) and proofs[item].verified}
    for item in claims:
        if isinstance(item, EndpointKeyserver) and proofs[item].verified is None and keyserver_identity(item.uri) in accepted:
            proofs[item] = Verdict(True, "it wants a login, and accepts one that is declared")
    failed = {url for url, claim in places.items() if claim and proofs[claim].verified is False}
    proofs.update(prover.verify_claim([item for item in gathered.tokens if item.name not in failed]))
    proofs.update((item, Verdict(None, _TOKEN_NOT_SENT)) for item in gathered.tokens if item.name in failed)
    names = _names([*claims, *gathered.tokens], gathered.endpoints)
    fixed = [_Verdict(str(gathered.endpoints[url]), None, _FIXED, False) for url, claim in places.items() if claim is None]
    return fixed + [_Verdict(names[item], proof.verified, proof.reason) for item, proof in proofs.items()]


def _names(claims: Iterable[Claim], endpoints: Mapping[str, _Endpoint]) -> Dict[Claim, str]:
    """What results call the claims. Different secrets of one account are told apart by their number, in the order in which they are declared."""
    named: Dict[Tuple[str, str], List[Claim]] = {}
    for claim in claims:
        named.setdefault(_name(claim, endpoints), []).append(claim)
    names = {}
    for (name, secret), items in named.items():
        for number, item in enumerate(items, 1):
            names[item] = name if len(items) == 1 else "%s (%s %d of %d that are declared)" % (name, secret, number, len(items))
    return names


def _name(claim: Claim, endpoints: Mapping[str, _Endpoint]) -> Tuple[str, str]:
    """The name of a claim but for the number of its secret, and what the secret is."""
    if isinstance(claim, EndpointToken):
        return f"token of {endpoints[claim.name]}", "token"
    if isinstance(claim, EndpointServices):
        return str(endpoints[requested_url(claim.uri, claim.insecure)]), ""
    unsafe = "" if isinstance(claim, RegistryLogin) or not claim.insecure else " without verification of its certificate"
    if isinstance(claim, EndpointKeyserver):
        return claim_name(claim) + unsafe, ""
    user = claim.username if isinstance(claim, RegistryLogin) else username_of(claim.auth)
    if user is None:
        return f"{claim_name(claim)} with a token{unsafe}", "token"
    return "%s as user %s%s" % (claim_name(claim), user if re.match(r"[\w.@+-]+\Z", user) else quoted(user), unsafe), "password"
