# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Asking the servers of a whole configuration at once. What doesn't work is in the answer; nothing is raised but for wrong options."""

import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence

from .._errors import NetworkError
from .._network.client import Client, HttpOptions, run_all
from .._network.discovery import discover, own_keyserver
from .._network.errors import DeadlineError, timed_out
from .._network.verification import check_services, keyserver_problem, verify_claim
from .._redaction import without_login
from .._values.claims import EndpointToken, KeyserverLogin, RegistryLogin, Secret
from .._values.remote_config import Keyserver, Remote, RemoteConfig
from .._values.results import login_result
from .._values.uri import keyserver_identity, same_keyserver

_KINDS = {EndpointToken: "tokens", KeyserverLogin: "keyservers", RegistryLogin: "registries"}

_Entry = Dict[str, Any]


class _Question(NamedTuple):
    """`ask` gives what a server's answer adds to `entry`; `failed` what a NetworkError adds."""

    entry: _Entry
    ask: Callable[[Client], _Entry]
    failed: Callable[[NetworkError], _Entry]


class _UsedKeyserver(NamedTuple):
    """A keyserver of an endpoint; without `server` the endpoint's own one, which the endpoint itself must be asked for."""

    name: str
    remote: Remote
    server: Optional[Keyserver]


def ask_servers(topics: Sequence[str], config: RemoteConfig, stored: Sequence[Secret], options: HttpOptions) -> Dict[str, Any]:
    """What servers say of a configuration and of the stored logins.

    `topics`: `services` and `keyservers` are about the servers themselves; `tokens`, `keyservers` and `registries` about the logins.
    All questions are asked side by side, each for at most `options.timeout` seconds. Raises NetworkError for options that cannot be used.
    """
    questions = {"logins": [_login_question(item) for item in stored if _KINDS[type(item)] in topics]}
    if "services" in topics:
        questions["services"] = [_services_question(name, remote) for name, remote in sorted(config.remotes.items())]
    if "keyservers" in topics:
        logins = [item for item in stored if isinstance(item, KeyserverLogin)]
        questions["keyservers"] = [_keyserver_question(place, logins) for place in _used_keyservers(config)]
    answers = iter(_ask_all([question for asked in questions.values() for question in asked], options))
    found: Dict[str, Any] = {topic: [next(answers) for _question in asked] for topic, asked in questions.items()}
    checked = iter(found["logins"])
    return dict(found, logins=[next(checked) if _KINDS[type(item)] in topics else login_result(item) for item in stored])


def _ask_all(questions: Sequence[_Question], options: HttpOptions) -> List[_Entry]:
    """The entries with what was answered, in order."""
    clients = [Client(options) for _question in questions]

    def asking(question: _Question, client: Client) -> Callable[[], _Entry]:
        def run() -> _Entry:
            with client:
                return question.ask(client)

        return run

    entries = []
    outcomes = run_all([asking(*pair) for pair in zip(questions, clients)], options.timeout)
    for question, client, outcome in zip(questions, clients, outcomes):
        if isinstance(outcome, DeadlineError):
            outcome = timed_out(client.asking, options.timeout)
        entries.append(dict(question.entry, **(question.failed(outcome) if isinstance(outcome, NetworkError) else outcome)))
    return entries


def _login_question(secret: Secret) -> _Question:
    """Whether the server knows a login."""
    return _Question(
        login_result(secret),
        lambda client: dict(verify_claim(secret, client)._asdict()),
        lambda error: {"verified": False, "reason": str(error)})


def _services_question(name: str, remote: Remote) -> _Question:
    """The services of an endpoint with their versions, as `apptainer remote status` shows them."""

    def ask(client: Client) -> _Entry:
        begin = time.monotonic()
        offered = discover(client, remote.uri, remote.insecure)
        # a little less than what is left, so that a silent service is the answer and not the end of it
        left = 0.9 * (client.options.timeout - (time.monotonic() - begin))
        with Client(client.options._replace(timeout=max(0.1, round(left, 1)))) as hurried:
            return {"services": [dict(status._asdict()) for status in check_services(offered, hurried)]}

    return _Question({"remote": name, "error": None, "services": []}, ask, lambda error: {"error": str(error)})


def _used_keyservers(config: RemoteConfig) -> List[_UsedKeyserver]:
    """The keyservers that Apptainer would use."""
    places: List[_UsedKeyserver] = []
    for name, remote in sorted(config.remotes.items()):
        used = [server for server in remote.keyservers if not server.skip]
        places += [_UsedKeyserver(name, remote, server) for server in used or (None,)]
    return places


def _keyserver_question(place: _UsedKeyserver, logins: Sequence[KeyserverLogin]) -> _Question:
    """Whether a keyserver answers, with the credential that Apptainer would send: the user's login, or the endpoint's token."""

    def ask(client: Client) -> _Entry:
        server = place.server or Keyserver(own_keyserver(client, place.remote.uri, place.remote.insecure))
        error = keyserver_problem(server.uri, server.insecure, _authorization(place.remote, server, logins), client)
        return {"uri": without_login(server.uri), "error": error}

    known = without_login(place.server.uri) if place.server else None
    return _Question({"remote": place.name, "uri": known, "error": None}, ask, lambda error: {"error": str(error)})


def _authorization(remote: Remote, server: Keyserver, logins: Sequence[KeyserverLogin]) -> str:
    """What Apptainer sends to a keyserver; but a token goes nowhere in clear. Source: `internal/pkg/remote/endpoint/client.go`."""
    if server.external:
        return next((item.auth for item in logins if same_keyserver(item.uri, server.uri)), "")
    identity = keyserver_identity(server.uri)
    return f"Bearer {remote.token}" if remote.token and identity and identity[0] == "https" else ""
