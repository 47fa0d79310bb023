# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The module that verifies what a whole fleet declares: gathered, each distinct thing asked once, reported in one result."""

import re
from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Mapping, Tuple

from ansible.module_utils.basic import AnsibleModule

from .._errors import quoted
from .._values.claims import Claim, EndpointKeyserver, EndpointServices, EndpointToken, KeyserverLogin, RegistryLogin, claim_name, username_of
from .._values.uri import keyserver_identity, requested_url
from .asking import http_options
from .declarations import TOKEN_NOT_SENT, Endpoint, Gathered, gather
from .verifier import NamedVerdict, Verification

if TYPE_CHECKING:
    from .._network.http_options import HttpOptions
    from .._network.parallel import ServerMemory
    from .._network.verdict import Verdict

FIXED = "not asked, because what it offers is built into Apptainer"


def verify_declarations(module: AnsibleModule) -> Dict[str, Any]:
    """Verify all that the option of DECLARATIONS_SPEC declares. Raises VerificationError that lists every problem."""
    gathered = gather(module.params["declarations"])
    named = {*gathered.unplaced, *gathered.unasked, *gathered.refused, *_asked(module, gathered)}
    verification = Verification(tuple(sorted(named, key=lambda item: (item.name, item.reason))))
    if verification.result["verified"] is False:
        raise verification.refusal({}, "")
    for warning in verification.warnings:
        module.warn(warning)
    return dict(verification.result, changed=False)


def _asked(module: AnsibleModule, gathered: Gathered) -> List[NamedVerdict]:
    """What servers say. Needs the libraries for that only if there is something to ask."""
    fixed = [NamedVerdict(str(endpoint), None, FIXED, counts=False) for endpoint in gathered.endpoints.values() if endpoint.claim() is None]
    if not gathered.has_questions:
        return fixed
    options = http_options(module)
    from .._network.parallel import ServerMemory

    verdicts = ask_gathered(gathered, options, ServerMemory())
    names = claim_names(verdicts, gathered.endpoints)
    return fixed + [NamedVerdict(names[item], verdict.verified, verdict.reason, warning=verdict.warning) for item, verdict in verdicts.items()]


def ask_gathered(gathered: Gathered, options: "HttpOptions", memory: "ServerMemory") -> "Dict[Claim, Verdict]":
    """What servers say about all that was gathered and can be asked. Raises NetworkError for options that cannot be used."""
    from .._network.http_options import check_options
    from .._network.parallel import verify_all
    from .._network.verdict import Verdict

    check_options(options)
    services = {url: endpoint.claim() for url, endpoint in gathered.endpoints.items()}
    claims = [*filter(None, services.values()), *gathered.claims,
              *(item._replace(insecure=insecure) for item, insecure in gathered.registries.items())]
    verdicts = verify_all(claims, options, memory)
    accepted = {keyserver_identity(item.uri) for item in verdicts if isinstance(item, KeyserverLogin) and verdicts[item].verified}
    for item in claims:
        if isinstance(item, EndpointKeyserver) and verdicts[item].verified is None and keyserver_identity(item.uri) in accepted:
            verdicts[item] = Verdict(True, "it demands a login, and accepts one that is declared")
    failed = {url for url, claim in services.items() if claim and verdicts[claim].verified is False}
    verdicts.update(verify_all([item for item in gathered.tokens if item.name not in failed], options, memory))
    verdicts.update((item, Verdict(None, TOKEN_NOT_SENT)) for item in gathered.tokens if item.name in failed)
    return verdicts


def claim_names(claims: Iterable[Claim], endpoints: Mapping[str, Endpoint]) -> Dict[Claim, str]:
    """What results call the claims. Different secrets of one account are told apart by their number, in the order in which they are declared."""
    named: Dict[Tuple[str, str], List[Claim]] = {}
    for claim in claims:
        named.setdefault(_name(claim, endpoints), []).append(claim)
    names = {}
    for (name, secret), items in named.items():
        for number, item in enumerate(items, 1):
            names[item] = name if len(items) == 1 else f"{name} ({secret} {number} of {len(items)} that are declared)"
    return names


def _name(claim: Claim, endpoints: Mapping[str, Endpoint]) -> Tuple[str, str]:
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
    shown = user if re.match(r"[\w.@+-]+\Z", user) else quoted(user)
    return f"{claim_name(claim)} as user {shown}{unsafe}", "password"
