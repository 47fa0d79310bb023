# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Many questions to servers in parallel: those about one account, or politely those about a whole fleet."""

import collections
import functools
from typing import Callable, Counter, Dict, Iterable, List, Optional, Sequence, Set, Tuple, TypeVar, Union

from .._errors import NetworkError, RuleError
from .._values.claims import (
    Claim,
    EndpointServices,
    EndpointToken,
    KeyserverLogin,
    RegistryLogin,
    basic,
)
from .._values.uri import keyserver_identity, parse, requested_url
from .client import Client, KnownResponses
from .errors import DeadlineError, timed_out
from .http_options import HttpOptions
from .threads import run_all
from .verdict import Verdict
from .verification import verify_claim

_MOST_AT_ONCE = 64
_MOST_OF_A_FLEET = 32
_MOST_AT_ONE_SERVER = 4
_REJECTED_ELSEWHERE = ("not asked, as the same login was rejected elsewhere (see there): repeated attempts with a wrong password can lock the "
                       "account")
_NO_ANSWER = "not asked, because its server did not answer another question (see there); run again when it does"

_T = TypeVar("_T")
_Server = Tuple[str, str, bool]


class ServerMemory:
    """What servers answered so far; calls of `verify_all` about one fleet share it.

    Without it, a server is asked everything at once. With it, `verify_all` is polite to servers that a whole fleet asks about
    many accounts: at most `_MOST_AT_ONE_SERVER` questions at a time go to one server; what is asked without a credential is asked once; a
    server that cannot be reached is not tried again for every claim, so that the others are not asked, and have not failed. A credential that
    was rejected goes to no other server, which may well have the same accounts and lock them: so one credential is at one server at a time.

    What is asked of all servers of one account shares only `responses`: no question is asked twice, and no credential is sent again to a
    server that rejected it.
    """

    def __init__(self) -> None:
        self.responses = KnownResponses()
        self.rejected: Set[str] = set()  # Authorization headers
        self.unreached: Set[_Server] = set()


def verify_all(claims: Sequence[Claim], options: HttpOptions, memory: Optional[ServerMemory] = None) -> Dict[Claim, Verdict]:
    """Verify claims in parallel, each distinct one once and in `options.timeout` seconds at most; in their order.

    With `memory`, in the polite way of ServerMemory; the URIs in the claims must then be such as the rules allow to write. Never fails: if
    the options cannot be used, that is the verdict on each claim.
    """
    verdicts: Dict[Claim, Verdict] = {claim: Verdict(False, "") for claim in claims}
    for batch in [list(verdicts)] if memory is None else _one_credential_each(verdicts):
        try:
            outcomes = _verify(batch, options, memory)
        except NetworkError as error:
            outcomes = [error] * len(batch)
        for claim, outcome in zip(batch, outcomes):
            verdicts[claim] = outcome if isinstance(outcome, Verdict) else Verdict(False, str(outcome))
    return verdicts


def _verify(claims: Sequence[Claim], options: HttpOptions, memory: Optional[ServerMemory]) -> List[Union[Verdict, NetworkError]]:
    if memory is None:
        return ask_all([functools.partial(verify_claim, claim) for claim in claims], options)
    questions = [functools.partial(_verify_politely, claim, memory) for claim in claims]
    servers = [_server(claim) for claim in claims]
    return ask_all(questions, options, memory.responses, _MOST_OF_A_FLEET, servers, _MOST_AT_ONE_SERVER)


def verify_and_remember(claim: Claim, client: Client) -> Verdict:
    """The verdict on a claim. A credential that was rejected is not sent to that server again by clients that share what they know."""
    verdict = verify_claim(claim, client)
    if verdict.verified is False:
        client.remember_rejection()
    return verdict


def _verify_politely(claim: Claim, memory: ServerMemory, client: Client) -> Verdict:
    credential, server = credential_of(claim), _server(claim)
    if credential in memory.rejected:
        return Verdict(None, _REJECTED_ELSEWHERE)
    if server in memory.unreached:
        return Verdict(None, _NO_ANSWER)
    verdict = verify_and_remember(claim, client)
    if verdict.verified is False and client.refused:
        memory.rejected.add(credential)
    if verdict.verified is False and not client.reached:
        memory.unreached.add(server)
    return verdict


def ask_all(questions: Sequence[Callable[[Client], _T]], options: HttpOptions, responses: Optional[KnownResponses] = None,
            workers: int = _MOST_AT_ONCE, groups: Optional[Sequence[object]] = None, per_group: int = 1) -> List[Union[_T, NetworkError]]:
    """Run questions as `run_all` does, each with a client of its own; an error for a late one names the server that was being asked.

    The clients share `responses`, if given. Raises NetworkError if the options cannot be used.
    """
    clients = [Client(options, responses) for _question in questions]

    def check(question: Callable[[Client], _T], client: Client) -> Callable[[], _T]:
        def run() -> _T:
            with client:
                return question(client)

        return run

    checks = [check(question, client) for question, client in zip(questions, clients)]
    outcomes = run_all(checks, options.timeout, workers, groups, per_group)
    return [timed_out(client.asking, options.timeout) if isinstance(outcome, DeadlineError) else outcome
            for client, outcome in zip(clients, outcomes)]


def _one_credential_each(claims: Iterable[Claim]) -> List[List[Claim]]:
    """Batches, in each of which a credential occurs once at most; in the first all that needs none."""
    batches: Dict[int, List[Claim]] = {}
    times: Counter[str] = collections.Counter()
    for claim in claims:
        credential = credential_of(claim)
        batches.setdefault(times[credential] if credential else 0, []).append(claim)
        times[credential] += 1
    return [batches[number] for number in sorted(batches)]


def account_of(claim: Claim) -> Optional[Tuple[str, str]]:
    """The server and the credential of a claim: who is asked in turn, so that a credential that is wrong is sent once.

    None if there are none, or if it is stored in a way that it cannot be sent.
    """
    try:
        credential = credential_of(claim)
        return (_server(claim)[1].lower(), credential) if credential else None
    except (UnicodeError, RuleError):
        return None


def credential_of(claim: Claim) -> str:
    """The Authorization header that verifies a claim, or nothing if none does."""
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
