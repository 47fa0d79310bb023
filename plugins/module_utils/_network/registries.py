# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Whether OCI registries accept logins."""

import contextlib
import ipaddress
import re
from typing import Mapping, Tuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from .._errors import NetworkError
from .._values.claims import RegistryLogin, basic
from .._values.docker_config import HUB_HOSTS
from .challenges import challenges
from .client import Client, Response
from .discovery import is_web_page, read_json
from .errors import ElsewhereError, NotTlsError, server_of, status_text
from .verdict import REFUSED, Verdict, certificate_hint, login_not_verified, login_rejected

_DOCKER_HUB_HOST = "registry-1.docker.io"  # as go-containerregistry (`pkg/name/registry.go`)
_LOCAL_NAME = re.compile(r"localhost\Z|.*\.local(?:host)?\Z", re.IGNORECASE)
_LOCAL_NETWORKS = [ipaddress.ip_network(text) for text in ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")]
_TOKEN = re.compile(r"[!-~]+\Z")


def verify_registry_login(claim: RegistryLogin, client: Client) -> Verdict:
    """By `/v2/` with the credential if the registry wants Basic, by its token service if it wants Bearer; the first of the two that it names.

    Source: the OCI distribution specification; go-containerregistry (`pkg/v1/remote/transport/ping.go`), with which Apptainer since 1.3
    logs in. (That stores any password for a registry with Basic: recorded runs of logins.) Raises NetworkError.
    """
    url, answer = _ping(claim, client)
    subject = server_of(url)
    if answer.status == 200:
        if is_web_page(answer):
            return Verdict(False, f"{subject} answers /v2/ with a web page, so it is not an OCI registry; check the host")
        answer = client.get(url, basic(claim.username, claim.password))
        if answer.status == 401 and any(challenge.scheme == "bearer" for challenge in challenges(answer.challenge)):
            return _verify_by_challenge(claim, url, answer, client)
        if answer.status in REFUSED:
            return login_rejected(subject, answer.status)
        return login_not_verified(subject)
    if answer.status != 401:
        return Verdict(False, f"{subject} answers /v2/ with {status_text(answer.status)}{_advice(answer.status)}")
    return _verify_by_challenge(claim, url, answer, client)


def _ping(claim: RegistryLogin, client: Client) -> Tuple[str, Response]:
    """The registry's base URL, and its answer without a credential. https first; http only where nothing speaks TLS, and it is allowed."""
    host = _DOCKER_HUB_HOST if claim.host in HUB_HOSTS else claim.host
    url = f"https://{host}/v2/"
    problem = ""
    try:
        return url, client.get(url, same_server=True)
    except NotTlsError as error:
        problem = str(error)
    if not may_use_http(host, claim.insecure):
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
    if status == 429:
        return ": it is rate limiting; try again later"
    if status >= 500:
        return ": server error; see its log"
    return f"{certificate_hint(status)}, so Apptainer cannot log in; check the host"


def _verify_by_challenge(claim: RegistryLogin, url: str, answer: Response, client: Client) -> Verdict:
    """In the way that a refusal names, the first of two."""
    for challenge in challenges(answer.challenge):
        if challenge.scheme == "basic":
            return _verdict_on_basic(server_of(url), client.get(url, basic(claim.username, claim.password)))
        if challenge.scheme == "bearer":
            return _verify_by_token(claim, url, challenge.parameters, client)
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


def _verify_by_token(claim: RegistryLogin, registry: str, parameters: Mapping[str, str], client: Client) -> Verdict:
    """By the token service, and by `/v2/` (the URL `registry`) with the token that it issues.

    The token service's answer is what counts. That it issues tokens to anonymous users too (Docker Hub, Quay) does not matter: a login
    that is sent but wrong must be refused (distribution's token specification; they do). Only where the registry then does not accept the
    token is there doubt, and two more questions are asked: whether the registry accepts the login itself (Harbor does), and else whether
    the token service issues such tokens to everyone.
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
        content = "a web page" if is_web_page(answer) else "something other than a token"
        return _undecided(token_service, content if answer.status == 200 else status_text(answer.status))
    status = client.get(registry, f"Bearer {token}").status
    if status == 200:
        return Verdict(True, f"{subject} accepts the login, through {token_service}")
    if status not in REFUSED:
        return _undecided(subject, status_text(status))
    if _verdict_on_basic(subject, client.get(registry, login)).verified:
        return Verdict(True, f"{subject} accepts the login")
    refuses_others = True
    with contextlib.suppress(ElsewhereError):
        refuses_others = client.get(token_url, same_server=True).status in REFUSED
    if refuses_others:
        return Verdict(True, f"{token_service} accepts the login, although the registry does not accept a token without a scope for /v2/")
    return Verdict(None, f"{token_service} issues tokens to everyone and the registry does not accept them for /v2/, "
                         "so the login could not be verified")


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
        raise NetworkError(f"{subject} wants the password sent to its token service {server_of(realm)} over plain http, so it was not sent; "
                           "its realm must use https")
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
    return token if isinstance(token, str) and _TOKEN.match(token) else ""
