# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Asking the servers of a whole configuration at once. What does not work is in the answer; nothing is raised but for wrong options."""

from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from .._errors import NetworkError
from .._network.client import Client
from .._network.discovery import builtin_keyserver
from .._network.endpoints import services_of_endpoint
from .._network.errors import shown_url
from .._network.http_options import HttpOptions
from .._network.keyservers import keyserver_problem
from .._network.parallel import ServerMemory, account_of, ask_all, verify_and_remember
from .._redaction import without_login
from .._values.claims import EndpointToken, KeyserverLogin, RegistryLogin, Secret
from .._values.remote_config import Keyserver, Remote, RemoteConfig
from .._values.results import login_result
from .._values.uri import keyserver_identity, same_keyserver

_TOPIC_OF_LOGIN = {EndpointToken: "tokens", KeyserverLogin: "keyservers", RegistryLogin: "registries"}

_Entry = Dict[str, Any]


class _Question(NamedTuple):
    """`ask` gives what a server's answer adds to `entry`; `failed` what a NetworkError adds.

    Of questions with the same `account`, a server and a credential, one is asked at a time.
    """

    entry: _Entry
    ask: Callable[[Client], _Entry]
    failed: Callable[[NetworkError], _Entry]
    account: Optional[Tuple[str, str]] = None


class _UsedKeyserver(NamedTuple):
    """A keyserver of the endpoint `name`; None stands for the endpoint's built-in one, for which the endpoint itself must be asked."""

    name: str
    remote: Remote
    keyserver: Optional[Keyserver]


def ask_servers(topics: Sequence[str], config: RemoteConfig, stored: Sequence[Secret], options: HttpOptions,
                flavor: str = "apptainer") -> Dict[str, Any]:
    """What servers say about a configuration and the stored logins.

    `topics`: `services` and `keyservers` are about the servers themselves; `tokens`, `keyservers` and `registries` about the logins.
    All questions are asked in parallel, but for those with one credential at one server, each for at most `options.timeout` seconds; what is
    the same is asked once. Raises NetworkError for options that cannot be used.
    """
    questions = {"logins": [_login_question(login) for login in stored if _TOPIC_OF_LOGIN[type(login)] in topics]}
    if "services" in topics:
        questions["services"] = [_services_question(name, remote) for name, remote in sorted(config.remotes.items())]
    if "keyservers" in topics:
        logins = [login for login in stored if isinstance(login, KeyserverLogin)]
        questions["keyservers"] = [_keyserver_question(used, logins, flavor) for used in _used_keyservers(config)]
    entries = iter(_entries([question for of_topic in questions.values() for question in of_topic], options))
    result: Dict[str, Any] = {topic: [next(entries) for _question in of_topic] for topic, of_topic in questions.items()}
    verified = iter(result["logins"])
    return dict(result, logins=[next(verified) if _TOPIC_OF_LOGIN[type(login)] in topics else login_result(login) for login in stored])


def _entries(questions: Sequence[_Question], options: HttpOptions) -> List[_Entry]:
    """The entries with what was answered, in order."""
    accounts = [question.account or number for number, question in enumerate(questions)]
    outcomes = ask_all([question.ask for question in questions], options, ServerMemory().responses, groups=accounts)
    return [dict(question.entry, **(question.failed(outcome) if isinstance(outcome, NetworkError) else outcome))
            for question, outcome in zip(questions, outcomes)]


def _login_question(login: Secret) -> _Question:
    """Whether the server accepts a login; `rejected` is false if it could not be asked."""

    def ask(client: Client) -> _Entry:
        verdict = verify_and_remember(login, client)
        return {"verified": verdict.verified, "reason": verdict.reason, "rejected": verdict.verified is False and client.refused}

    return _Question(login_result(login), ask, lambda error: {"verified": False, "reason": str(error), "rejected": False}, account_of(login))


def _services_question(name: str, remote: Remote) -> _Question:
    """The services of an endpoint with their versions, as `apptainer remote status` shows them."""

    def ask(client: Client) -> _Entry:
        return {"services": [dict(status._asdict()) for status in services_of_endpoint(remote.uri, remote.insecure, client)]}

    return _Question({"remote": name, "error": None, "services": []}, ask, lambda error: {"error": str(error)})


def _used_keyservers(config: RemoteConfig) -> List[_UsedKeyserver]:
    """The keyservers that Apptainer would use: those not skipped, else the endpoint's built-in one (`internal/pkg/remote/endpoint/keyserver.go`)."""
    used: List[_UsedKeyserver] = []
    for name, remote in sorted(config.remotes.items()):
        keyservers = [keyserver for keyserver in remote.keyservers if not keyserver.skip]
        used += [_UsedKeyserver(name, remote, keyserver) for keyserver in keyservers or (None,)]
    return used


def _keyserver_question(used: _UsedKeyserver, logins: Sequence[KeyserverLogin], flavor: str) -> _Question:
    """Whether a keyserver answers, with the credential that Apptainer would send: the user's login, or the endpoint's token."""

    def ask(client: Client) -> _Entry:
        keyserver = used.keyserver or Keyserver(builtin_keyserver(client, used.remote.uri, used.remote.insecure, flavor))
        authorization = _authorization(used.remote, keyserver, logins)
        identity = keyserver_identity(keyserver.uri)
        if identity and client.has_rejected(f"//{identity[1]}", authorization):
            authorization = ""  # the login's own entry says so; here it is the keyserver that counts
        error = keyserver_problem(keyserver.uri, keyserver.insecure, authorization, client)
        if error:
            client.remember_rejection()
        return {"uri": shown_url(keyserver.uri), "error": error}

    uri = without_login(used.keyserver.uri) if used.keyserver else None
    return _Question({"remote": used.name, "uri": uri, "error": None}, ask, lambda error: {"error": str(error)}, _account(used, logins))


def _account(used: _UsedKeyserver, logins: Sequence[KeyserverLogin]) -> Optional[Tuple[str, str]]:
    """Who is asked with which credential, as far as it is known before the endpoint is asked."""
    if used.keyserver is None:
        return account_of(EndpointToken(used.name, used.remote.uri, used.remote.insecure, used.remote.token))
    return account_of(KeyserverLogin(used.keyserver.uri, _authorization(used.remote, used.keyserver, logins)))


def _authorization(remote: Remote, keyserver: Keyserver, logins: Sequence[KeyserverLogin]) -> str:
    """The Authorization header that Apptainer sends to a keyserver (`internal/pkg/remote/endpoint/client.go`); but here no token goes by http."""
    if keyserver.external:
        return next((login.auth for login in logins if same_keyserver(login.uri, keyserver.uri)), "")
    identity = keyserver_identity(keyserver.uri)
    return f"Bearer {remote.token}" if remote.token and identity and identity[0] == "https" else ""
