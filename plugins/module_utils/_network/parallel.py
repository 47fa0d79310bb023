# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Many proofs side by side: those of one account, or those of a whole fleet."""

import collections
from typing import Callable, Counter, Dict, List, Sequence, Set, Tuple, Union

from .._errors import NetworkError
from .._values.claims import (
    Claim,
    EndpointServices,
    EndpointToken,
    KeyserverLogin,
    RegistryLogin,
    basic,
)
from .._values.uri import keyserver_identity, parse, requested_url
from .client import Client, HttpOptions, KnownResponses, run_all
from .errors import DeadlineError, timed_out
from .verification import Verdict, verify_claim

_MOST_AT_ONCE = 32
_MOST_AT_ONE_SERVER = 4
_SAID_ALREADY = ("not asked, as the same login is rejected elsewhere (see there): tried again and again, a wrong password can lock the account")

_Server = Tuple[str, str, bool]


def verify_all(secrets: Sequence[Claim], options: HttpOptions) -> List[Verdict]:
    """Prove secrets side by side, each distinct one once and in `options.timeout` seconds at most. In their order. Never fails."""
    distinct = list(dict.fromkeys(secrets))
    try:
        clients = [Client(options) for _secret in distinct]
    except NetworkError as error:
        return [Verdict(False, str(error))] * len(secrets)

    def check(secret: Claim, client: Client) -> Callable[[], Verdict]:
        def run() -> Verdict:
            with client:
                return verify_claim(secret, client)

        return run

    outcomes = run_all([check(secret, client) for secret, client in zip(distinct, clients)], options.timeout)
    proofs = {secret: _as_proof(outcome, client) for secret, client, outcome in zip(distinct, clients, outcomes)}
    return [proofs[secret] for secret in secrets]


def _as_proof(outcome: Union[Verdict, NetworkError], client: Client) -> Verdict:
    if isinstance(outcome, DeadlineError):
        outcome = timed_out(client.asking, client.options.timeout)
    return outcome if isinstance(outcome, Verdict) else Verdict(False, str(outcome))


class FleetProver:
    """Proves the claims of a whole fleet from one place, where each server is asked for many. They must be safe to write.

    It is polite: `_MOST_AT_ONE_SERVER` questions at a time to one server; what is asked without a credential is asked once; a server that
    cannot be reached is not tried for every claim. A credential that is rejected goes to no other place, which may well have the same
    accounts and lock them: so one credential is in one place at a time. Raises NetworkError for options that cannot be used.
    """

    def __init__(self, options: HttpOptions) -> None:
        self._options = options
        self._known: KnownResponses = {}
        self._rejected: Set[str] = set()
        self._unreached: Dict[_Server, Verdict] = {}
        Client(options)

    def verify_claim(self, claims: Sequence[Claim]) -> Dict[Claim, Verdict]:
        """A proof for each claim, each distinct one asked once and in `timeout` seconds at most. Never fails."""
        turns: Dict[int, List[Claim]] = {}
        seen: Counter[str] = collections.Counter()
        for claim in dict.fromkeys(claims):
            credential = _credential(claim)
            turns.setdefault(seen[credential] if credential else 0, []).append(claim)
            seen[credential] += 1
        return {claim: proof for _turn, batch in sorted(turns.items()) for claim, proof in zip(batch, self._side_by_side(batch))}

    def _side_by_side(self, claims: Sequence[Claim]) -> List[Verdict]:
        clients = [Client(self._options, known=self._known) for _claim in claims]
        checks = [self._check(claim, client) for claim, client in zip(claims, clients)]
        servers = [_server(claim) for claim in claims]
        outcomes = run_all(checks, self._options.timeout, _MOST_AT_ONCE, servers, _MOST_AT_ONE_SERVER)
        return [_as_proof(outcome, client) for outcome, client in zip(outcomes, clients)]

    def _check(self, claim: Claim, client: Client) -> Callable[[], Verdict]:
        credential, place = _credential(claim), _server(claim)

        def run() -> Verdict:
            if credential in self._rejected:
                return Verdict(None, _SAID_ALREADY)
            if place in self._unreached:
                return self._unreached[place]
            with client:
                proof = verify_claim(claim, client)
            if proof.verified is False and client.refused:
                self._rejected.add(credential)
            if proof.verified is False and not client.reached:
                self._unreached[place] = proof
            return proof

        return run


def _credential(claim: Claim) -> str:
    """The Authorization header that proves a claim, or nothing if none does."""
    if isinstance(claim, EndpointToken):
        return f"Bearer {claim.token}"
    if isinstance(claim, KeyserverLogin):
        return claim.auth
    return basic(claim.username, claim.password) if isinstance(claim, RegistryLogin) else ""


def _server(claim: Claim) -> _Server:
    """What tells the servers of claims apart: the scheme as far as it is known, the host with its port, and `insecure`."""
    if isinstance(claim, RegistryLogin):
        return "", claim.host, claim.insecure
    if isinstance(claim, (EndpointServices, EndpointToken)):
        url = parse(requested_url(claim.uri, claim.insecure))
        return url.scheme, url.host, claim.insecure
    return (keyserver_identity(claim.uri) or ("", claim.uri)) + (claim.insecure,)
