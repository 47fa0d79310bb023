# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Whether OCI registries accept logins."""

import base64
import ipaddress
import json
import re
from typing import Mapping, Optional, Tuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from .._errors import NetworkError
from .._values.claims import RegistryLogin, basic, fits_header
from .._values.docker_config import HUB_HOSTS
from .challenges import challenges
from .client import Client, Response
from .discovery import is_web_page, read_json
from .errors import ElsewhereError, NotTlsError, server_of, shown_url, status_text
from .verdict import (
    REFUSED,
    Verdict,
    another_login,
    certificate_hint,
    login_not_verified,
    login_rejected,
    status_advice,
)

_DOCKER_HUB_HOST = "registry-1.docker.io"  # as go-containerregistry (`pkg/name/registry.go`)
_LOCAL_NAME = re.compile(r"localhost\Z|.*\.local(?:host)?\Z", re.IGNORECASE)
_LOCAL_NETWORKS = [ipaddress.ip_network(text) for text in ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")]
_WRONG_ADDRESS = (404, 405, 406, 410, 415, 422, 501)  # statuses of a token service that is not at this address, or not for this question
# Docker Hub, GHCR, Quay: they answer a wrong login with 401 or 403, and nobody's question with a token.
_KNOWN_TOKEN_SERVICES = ("auth.docker.io", "ghcr.io", "quay.io")
# `sub` of most services; `UserID` of Gitea and Forgejo
_USER_CLAIMS = ("sub", "preferred_username", "username", "user", "email", "uid", "UserID")


def verify_registry_login(claim: RegistryLogin, client: Client) -> Verdict:
    """By `/v2/` with the credential if the registry wants Basic, by its token service if it wants Bearer; the first of the two that it names.

    Source: the OCI distribution specification; go-containerregistry (`pkg/v1/remote/transport/ping.go`), with which Apptainer since 1.3
    logs in. (That stores any password for a registry with Basic: recorded runs of logins.) Raises NetworkError.
    """
    url, answer = _ping(claim.host, claim.insecure, client)
    subject = server_of(url)
    problem = _problem(subject, answer)
    if problem:
        return Verdict(False, problem)
    if answer.status == 200:
        answer = client.get(url, basic(claim.username, claim.password))
        if answer.status == 401 and any(challenge.scheme == "bearer" for challenge in challenges(answer.challenge)):
            return _verify_by_challenge(claim, url, answer, client)
        if answer.status in REFUSED:
            return login_rejected(subject, answer.status)
        return login_not_verified(subject)
    return _verify_by_challenge(claim, url, answer, client)


def registry_problem(host: str, insecure: bool, client: Client) -> Optional[str]:
    """Why there is no registry that can be used at `host` (as in RegistryLogin), or None if there is one. Nothing is said about logins."""
    try:
        url, answer = _ping(host, insecure, client)
    except NetworkError as error:
        return str(error)
    return _problem(server_of(url), answer) or None


def _problem(subject: str, answer: Response) -> str:
    """Why a server that answers /v2/ like this to anyone is not a registry that can be used, or nothing."""
    if answer.status == 200 and is_web_page(answer):
        return f"{subject} answers /v2/ with a web page, so it is not an OCI registry; check the host"
    return "" if answer.status in (200, 401) else f"{subject} answers /v2/ with {status_text(answer.status)}{_advice(answer.status)}"


def _ping(host: str, insecure: bool, client: Client) -> Tuple[str, Response]:
    """The registry's base URL, and its answer without a credential. https first; http only where nothing speaks TLS, and it is allowed."""
    host = _DOCKER_HUB_HOST if host in HUB_HOSTS else host
    url = f"https://{host}/v2/"
    problem = ""
    try:
        return url, client.get(url, same_server=True)
    except NotTlsError as error:
        problem = str(error)
    if not may_use_http(host, insecure):
        raise NetworkError(f"{problem} (plain http is only tried for local addresses, or with insecure: true)")
    url = f"http://{host}/v2/"
    try:
        return url, client.get(url, same_server=True)
    except NotTlsError:
        pass
    raise NetworkError(problem)


def may_use_http(host: str, insecure: bool) -> bool:
    """Whether plain http may be tried for a registry that does not speak TLS: if the user allows it, or the host is local.

    Local are `localhost`, names in `.local` and `.localhost`, loopback and RFC 1918 addresses, with any port. Source: go-containerregistry
    (`pkg/name/registry.go`, Scheme), which also takes parts of names and addresses for that.
    """
    name = re.sub(r":[0-9]*\Z", "", host) if host.startswith("[") or host.count(":") == 1 else host
    if insecure or _LOCAL_NAME.match(name):
        return True
    try:
        address = ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return any(address in network for network in _LOCAL_NETWORKS)


def _advice(status: int) -> str:
    if status == 404:
        return ", so it is probably not an OCI registry; check the host"
    return status_advice(status) or f"{certificate_hint(status)}, so Apptainer cannot log in; check the host"


def _verify_by_challenge(claim: RegistryLogin, url: str, answer: Response, client: Client) -> Verdict:
    """In the way that a refusal names, the first of two."""
    for challenge in challenges(answer.challenge):
        if challenge.scheme == "basic":
            answered = client.get(url, basic(claim.username, claim.password))
            other = another_login(server_of(url), answer.challenge, answered.challenge) if answered.status == 401 else None
            return other or _verdict_on_basic(server_of(url), answered)
        if challenge.scheme == "bearer":
            return _verify_by_token(claim, url, challenge.parameters, client)
    if not answer.challenge.strip():
        return Verdict(False, f"{server_of(url)} answers /v2/ with {status_text(answer.status)} and does not say how to log in (it has no "
                              "WWW-Authenticate header): a proxy in front of the registry may drop that header; correct its configuration")
    return Verdict(False, f"{server_of(url)} requires a kind of login that Apptainer does not support (neither Basic nor Bearer); "
                          "enable one of these on the registry")


def _verdict_on_basic(subject: str, answer: Response) -> Verdict:
    """From the answer to `/v2/` with the credential, where it is refused without one."""
    if answer.status in REFUSED:
        return login_rejected(subject, answer.status)
    if answer.status == 200 and is_web_page(answer):
        return Verdict(False, f"{subject} answers the login with a web page, so it is not an OCI registry; check the host")
    if answer.status == 200:
        return Verdict(True, f"{subject} accepts the login")
    return _undecided(subject, status_text(answer.status))


def _undecided(subject: str, answer: str) -> Verdict:
    return Verdict(False, f"{subject} answers the login with {answer}, so it could not be verified; see that server's log")


def _verdict_on_no_token(registry: str, token_url: str, answer: Response) -> Verdict:
    """For an answer of a token service, asked at `token_url`, that is neither a token nor a refusal."""
    subject = f"the token service {shown_url(urlunsplit(urlsplit(token_url)._replace(query='')))}"
    if answer.status == 429 or answer.status in (502, 504):
        return Verdict(False, f"{subject} answers the login with {status_text(answer.status)}{status_advice(answer.status)}")
    content = "a web page" if is_web_page(answer) else "something other than a token"
    words = content if answer.status == 200 else status_text(answer.status)
    if answer.status in _WRONG_ADDRESS or (answer.status == 200 and is_web_page(answer)):
        return Verdict(False, f"{subject} answers the login with {words}, so it could not be verified: the realm of {server_of(registry)} is set up "
                              "wrongly; correct it in the registry's configuration")
    return _undecided(subject, words)


def _verify_by_token(claim: RegistryLogin, registry: str, parameters: Mapping[str, str], client: Client) -> Verdict:
    """By the token service, and by `/v2/` (the URL `registry`) with the token that it issues.

    A login that is sent but wrong must be refused (distribution's token specification), and Docker Hub, GHCR and Quay do. But some services
    give a token to anyone with any password (Nexus, if it lets anonymous users pull), so their token is a proof only if nobody else gets one
    like it: see `_is_for_everyone`. Where the registry does not accept the token, it may accept the login itself (Harbor does).
    """
    subject, login = server_of(registry), basic(claim.username, claim.password)
    token_url = _token_url(registry, parameters, claim.insecure)
    token_service = f"the token service {server_of(token_url)}"
    try:
        answer = client.get(token_url, login)
    except NetworkError as error:
        return Verdict(False, f"{subject} requires a token, but {error}")
    if answer.status in REFUSED:
        return login_rejected(token_service, answer.status)
    token = _token_in(answer) if answer.status == 200 else ""
    if not token:
        return _verdict_on_no_token(registry, token_url, answer)
    status = client.get(registry, f"Bearer {token}").status
    if status == 200 and _refuses_wrong_logins(token_url):
        return Verdict(True, f"{subject} accepts the login, through {token_service}")
    if status not in (200, *REFUSED):
        return _undecided(subject, status_text(status))
    if status != 200 and _verdict_on_basic(subject, client.get(registry, login)).verified:
        return Verdict(True, f"{subject} accepts the login")
    if _is_for_everyone(token, status, token_url, registry, client):
        then = "accepts them all" if status == 200 else "does not accept them for /v2/"
        return Verdict(None, f"{token_service} issues tokens to everyone and the registry {then}, so the login could not be verified")
    if status == 200:
        return Verdict(True, f"{subject} accepts the login, through {token_service}")
    return Verdict(True, f"{token_service} accepts the login, although the registry does not accept a token without a scope for /v2/")


def _refuses_wrong_logins(token_url: str) -> bool:
    """Whether a token service is known to refuse a wrong login, although it gives tokens to anonymous users, too."""
    parts = urlsplit(token_url)
    return parts.scheme == "https" and parts.netloc.rpartition("@")[2].lower() in _KNOWN_TOKEN_SERVICES


def _is_for_everyone(token: str, status: int, token_url: str, registry: str, client: Client) -> bool:
    """Whether a token that was given for a login may be one that anybody gets: to know this, the service is asked without a login.

    It is not if whoever shows no login gets no token, or one that names somebody else (JSON Web Tokens do), or one that the registry treats
    differently. `status` is how it treats the token. No wrong password is sent to find out, as that looks like an attack.
    """
    try:
        answer = client.get(token_url, same_server=True)
    except ElsewhereError:  # to be redirected to another server, to log in there, is no token
        return False
    other = _token_in(answer) if answer.status == 200 else ""
    if not other:
        return answer.status == 429 or answer.status >= 500
    if other == token:
        return True
    if _user_in(token) and _user_in(token) != _user_in(other):
        return False
    return status != 200 or client.get(registry, f"Bearer {other}").status == status


def _user_in(token: str) -> Tuple[str, ...]:
    """Whom a JSON Web Token is for (RFC 7519), in the claims that registries use for it; empty if it does not say, or is none."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)).decode("utf-8"), parse_int=str)
    except (IndexError, ValueError, RecursionError):
        return ()
    if not isinstance(claims, dict):
        return ()
    return tuple(f"{name}={claims[name]}" for name in _USER_CLAIMS if claims.get(name) not in (None, "", "0", "-1"))


def _token_url(registry: str, parameters: Mapping[str, str], insecure: bool) -> str:
    """Where to ask for a token. Raises NetworkError for a realm that must not see a password.

    The realm is often on another host (Docker Hub's is auth.docker.io): whom the registry trusts is for it to say, and it said so over
    https. No scope and no account is asked for, as Apptainer's login does not either: some registries (Harbor: goharbor/harbor issue
    11632) issue a token for a public repository to anyone, with any password, but without a scope the only question is who asks.
    """
    subject = server_of(registry)
    realm = parameters.get("realm", "")
    try:
        parts = urlsplit(realm)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise NetworkError(f"{subject} requires a token but does not say where to get one (its realm is missing or not a URL); "
                           "correct the registry's configuration")
    if parts.scheme == "http" and not (registry.startswith("http:") and may_use_http(parts.netloc.rpartition("@")[2], insecure)):
        choice = ("insecure: true does not change that, as the registry itself uses https" if registry.startswith("https:") else
                  "or, where everybody on the network may see the password, set insecure: true")
        raise NetworkError(f"{subject} wants the password sent to its token service {server_of(realm)} over plain http, so it was not sent; "
                           f"its realm must use https ({choice})")
    query = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] != "service"]
    if parameters.get("service"):
        query.append(("service", parameters["service"]))
    return urlunsplit(parts._replace(query=urlencode(query), fragment=""))


def _token_in(answer: Response) -> str:
    """The token in a token service's answer; empty if it has none that a header could carry."""
    try:
        document = read_json(answer)
    except ValueError:
        return ""
    token = (document.get("token") or document.get("access_token")) if isinstance(document, dict) else None
    return token if isinstance(token, str) and fits_header(token) else ""
