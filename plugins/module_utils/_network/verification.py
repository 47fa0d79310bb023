# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Whether servers accept credentials. Read-only: nothing but GET.

A proof is an answer that a server would not give without the credential, or that its protocol forbids it to give to a wrong one. What
Apptainer's own logins accept is less: it stores a wrong password for most registries (recorded in logins.json of tests/golden).
"""

import contextlib
import ipaddress
import re
from typing import Callable, List, Mapping, NamedTuple, Optional, Tuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from .._errors import NetworkError, quoted
from .._redaction import without_login
from .._values.claims import (
    Claim,
    EndpointKeyserver,
    EndpointServices,
    EndpointToken,
    KeyserverLogin,
    RegistryLogin,
    basic,
    username_of,
)
from .._values.docker_config import HUB_HOSTS
from .._values.uri import (
    DEFAULT_ENDPOINT_URI,
    fixed_keyserver,
    keyserver_identity,
    parse,
)
from .challenges import challenges
from .client import Client, Response, run_all
from .discovery import Services, discover, is_web_page, read_json, service
from .errors import (
    DeadlineError,
    ElsewhereError,
    NotTlsError,
    server,
    status_text,
    timed_out,
)

_DOCKER_HUB_HOST = "registry-1.docker.io"
_STATS = "/pks/lookup?op=stats"
_NO_KEY = f"/pks/lookup?op=index&options=mr&search=0x{40 * '0'}"
_LOCAL_NAME = re.compile(r"localhost\Z|.*\.local(?:host)?\Z", re.IGNORECASE)
_LOCAL_NETWORKS = [ipaddress.ip_network(text) for text in ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")]
_REFUSED = (401, 403)
_MOST_SERVICES = 32


class Verdict(NamedTuple):
    """`verified`: True is proven; False is rejected, or cannot be proven; None means that the server's answer proves nothing.

    `reason` says which, by what server, and what to do.
    """

    verified: Optional[bool]
    reason: str


class ServiceStatus(NamedTuple):
    """One service of an endpoint: its `version`, or the `error` that was met in asking for it."""

    name: str
    uri: str
    version: Optional[str]
    error: Optional[str]


def verify_claim(secret: Claim, client: Client) -> Verdict:
    """Ask the server that a secret is for. What keeps it from answering, or the secret from being sent, is a reason, not an error."""
    try:
        if isinstance(secret, EndpointToken):
            return _verify_token(secret, client)
        if isinstance(secret, EndpointServices):
            return _verify_services(secret, client)
        if isinstance(secret, EndpointKeyserver):
            return _verify_keyserver(secret, client)
        if isinstance(secret, KeyserverLogin):
            return _verify_keyserver_login(secret, client)
        return _verify_registry_login(secret, client)
    except NetworkError as error:
        return Verdict(False, str(error))
    except UnicodeError:
        return Verdict(False, "what is stored has characters that cannot be sent; log in again")


# Endpoints

def _verify_services(claim: EndpointServices, client: Client) -> Verdict:
    """By the discovery document. Of `cloud.apptainer.org` Apptainer asks nothing: it has a keyserver and no library, by definition."""
    known = ("keyserver",) if fixed_keyserver(claim.uri) else ()
    if claim.uri == DEFAULT_ENDPOINT_URI and "library" in claim.services:
        return Verdict(False, f"{claim.uri} has no library, whatever it answers: that is fixed in Apptainer")
    asked = [name for name in claim.services if name not in known]
    if asked or not claim.services:
        services = discover(client, claim.uri, claim.insecure)
        for name in asked:
            service(services, name)
    if not claim.services:
        return Verdict(True, f"{without_login(claim.uri)} has a discovery document")
    return Verdict(True, f"{without_login(claim.uri)} offers the services demanded ({', '.join(claim.services)})")


_TOKEN_ANSWERS: Mapping[int, str] = {
    401: "the token is rejected; it is wrong, has expired, or was withdrawn, so get a new one",
    403: "the token is rejected; it is wrong, has expired, or was withdrawn, so get a new one",
    404: "it does not know the token, or is no token service; get a new token, or check the endpoint's tokenAPI uri",
    406: "the token is malformed; see that all of it was given, and nothing else",
    429: "it has too much to do, so the token could not be checked; try again later",
}


def _verify_token(secret: EndpointToken, client: Client) -> Verdict:
    """By the token service that the endpoint names, as Apptainer (`internal/pkg/util/auth/token.go`), which takes any 200 for a yes.

    Here it must be JSON without an error, as real services answer unknown addresses with 200 and a web page; and whoever shows no token
    must not be told the same.
    """
    place = f"{service(discover(client, secret.uri, secret.insecure), 'token')}/v1/token-status"
    name = f"the token service {without_login(place)}"
    if place.lower().startswith("http:") and not secret.insecure:
        return Verdict(False, "%s is reached by plain http, so the token was not sent: give the service an https uri (tokenAPI in the endpoint's "
                            "discovery document), or use verify: never" % name)
    answer = client.get(place, f"Bearer {secret.token}")
    if _says_yes(answer):
        with contextlib.suppress(ElsewhereError):  # to be sent elsewhere, to log in, is no yes
            if _says_yes(client.get(place, same_server=True)):
                return Verdict(None, f"{name} says yes to everyone, so nothing checks the token")
        return Verdict(True, f"{name} accepts the token")
    if answer.status == 200:
        what = "a web page" if is_web_page(answer) else "something else than the state of a token"
        return Verdict(False, f"{name} answers with {what}, so it is not a token service; check the endpoint's tokenAPI uri")
    unknown = "the service failed, so the token could not be checked; see its log" if answer.status >= 500 else "the token is not accepted"
    text = _TOKEN_ANSWERS.get(answer.status, unknown)
    return Verdict(False, f"{name} answers {status_text(answer.status)}: {text}")


def _says_yes(answer: Response) -> bool:
    try:
        document = read_json(answer)
    except ValueError:
        return False
    return answer.status == 200 and isinstance(document, dict) and not document.get("error") and not document.get("errors")


# Keyservers

def _rejected(name: str, status: int, parts: str = "user name and password") -> Verdict:
    return Verdict(False, f"{name} rejects the login ({status_text(status)}): check {parts}")


def _keyserver_url(uri: str) -> str:
    """The URL that is asked for a keyserver's URI: hkp is http at port 11371, hkps https. Raises NetworkError if nothing can be asked."""
    identity = keyserver_identity(uri)
    if identity is None:
        raise NetworkError(f"the keyserver uri {quoted(without_login(uri))} cannot be asked; write it like https://keys.example.org")
    return f"{identity[0]}://{identity[1]}{parse(uri).path}" if uri[:3].lower() == "hkp" else uri


def _verify_keyserver_login(secret: KeyserverLogin, client: Client) -> Verdict:
    """By the URI itself, which is all that Apptainer's login asks (and needs 200 of), and by the statistics that HKP servers have.

    Each is asked without the credential first: only where that is refused is it a proof that the credential is let in. 403 may be a page
    that nobody may see, so it decides nothing; nor does a front page that is elsewhere.
    """
    url = _keyserver_url(secret.uri)
    validate = False if secret.insecure else None
    name = server(url)
    parts = "user name and password" if username_of(secret.auth) else "the token"
    statuses: List[str] = []
    is_open = refused = False
    for place in (url, url.rstrip("/") + _STATS):
        try:
            status = client.get(place, "", validate, same_server=True).status
        except ElsewhereError:
            if statuses:
                raise
            statuses.append("a redirect")
            continue
        demanded = status in _REFUSED
        if demanded or _is_fine(status):
            status = client.get(place, secret.auth, validate).status
            if demanded and (_is_fine(status) or (statuses and _has_no_statistics(url, status, secret.auth, validate, client))):
                if statuses and not is_open:
                    name = f"{name} answers {statuses[0]} to its uri, which apptainer keyserver login does not accept, but"
                return Verdict(True, f"{name} accepts the login")
            if status == 401:
                return _rejected(name, status, parts)
            is_open = is_open or _is_fine(status)
            refused = refused or status in _REFUSED
        statuses.append(status_text(status))
    if is_open and not refused:
        return Verdict(None, f"{name} lets everyone in, so nothing checks the login")
    return Verdict(False, "%s accepts the login nowhere: it answers %s to its uri, %s to %s%s; check uri and %s"
                 % (name, statuses[0], statuses[1], _STATS, _certificate_hint(status), parts))


def _has_no_statistics(url: str, status: int, authorization: str, validate: Optional[bool], client: Client) -> bool:
    """Whether a keyserver answers HKP, but not op=stats, which is optional: Hagrid says 400 to it, which runs keys.openpgp.org.

    So a server that refuses the operation is asked for a key that nobody has; if it says that it hasn't, it is one.
    """
    return status in (400, 501) and client.get(url.rstrip("/") + _NO_KEY, authorization, validate).status in (200, 404)


def _certificate_hint(status: int) -> str:
    return " (perhaps for want of a client certificate: client_cert)" if status == 400 else ""  # nginx's way to demand one


def _is_fine(status: int) -> bool:
    return 200 <= status < 300


def _ask_keyserver(uri: str, insecure: bool, authorization: str, client: Client) -> Tuple[int, str]:
    """The status that a keyserver answers with, and what is wrong with that; nothing, if it answers HKP. Raises NetworkError."""
    validate = False if insecure else None
    url = _keyserver_url(uri)
    status = client.get(url.rstrip("/") + _STATS, authorization, validate).status
    if _is_fine(status) or _has_no_statistics(url, status, authorization, validate, client):
        return status, ""
    return status, f"the keyserver {server(url)} answers {status_text(status)} to {_STATS}{_certificate_hint(status)}"


def keyserver_problem(uri: str, insecure: bool, authorization: str, client: Client) -> Optional[str]:
    """Why a keyserver can't be used, or None if it answers HKP."""
    try:
        return _ask_keyserver(uri, insecure, authorization, client)[1] or None
    except NetworkError as error:
        return str(error)


def _verify_keyserver(claim: EndpointKeyserver, client: Client) -> Verdict:
    """As anyone would be answered: which login it takes is a claim of its own."""
    status, problem = _ask_keyserver(claim.uri, claim.insecure, "", client)
    if status in _REFUSED:
        return Verdict(None, f"{problem}: it wants a login, and only one that it accepts could show that it is a keyserver")
    return Verdict(not problem, problem or f"the keyserver {without_login(claim.uri)} answers")


# Registries

def may_use_http(host: str, insecure: bool) -> bool:
    """Whether plain http may be tried for a registry when https is not there: if the user says so, or the host is local.

    Local are localhost, names in .local and .localhost, loopback and RFC 1918 addresses; a port does not matter. As go-containerregistry
    (`pkg/name/registry.go`, Scheme), but for whole names and addresses only.
    """
    name = re.sub(r":[0-9]*\Z", "", host) if host.startswith("[") or host.count(":") == 1 else host
    if insecure or _LOCAL_NAME.match(name):
        return True
    try:
        address = ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return any(address in network for network in _LOCAL_NETWORKS)


def _ping(secret: RegistryLogin, client: Client) -> Tuple[str, Response]:
    """The registry's base URL, and what it answers without a credential. https first; http only where nothing speaks TLS, and it is allowed."""
    host = _DOCKER_HUB_HOST if secret.host in HUB_HOSTS else secret.host
    url = f"https://{host}/v2/"
    problem = ""
    try:
        return url, client.get(url, same_server=True)
    except NotTlsError as error:
        problem = str(error)
    if not may_use_http(host, secret.insecure):
        raise NetworkError(f"{problem} (plain http is only tried for local addresses, or with insecure: true)")
    url = f"http://{host}/v2/"
    try:
        return url, client.get(url, same_server=True)
    except NotTlsError:
        pass
    raise NetworkError(problem)


def _verify_registry_login(secret: RegistryLogin, client: Client) -> Verdict:
    """By `/v2/` with the credential if the registry wants Basic, by its token service if it wants Bearer; the first of the two that it names.

    Source: the OCI distribution specification; go-containerregistry (`transport/ping.go`), by which Apptainer since 1.3 logs in.
    """
    url, answer = _ping(secret, client)
    name = server(url)
    login = basic(secret.username, secret.password)
    if answer.status == 200:
        if is_web_page(answer):
            return Verdict(False, f"{name} answers /v2/ with a web page, so it is not an OCI registry; check the host")
        answer = client.get(url, login)
        if answer.status == 401 and any(challenge.scheme == "bearer" for challenge in challenges(answer.challenge)):
            return _verify_by_challenge(secret, url, answer, client)
        if answer.status in _REFUSED:
            return _rejected(name, answer.status)
        return Verdict(None, f"{name} lets everyone in, so nothing checks the login")
    if answer.status != 401:
        return Verdict(False, f"{name} answers /v2/ with {status_text(answer.status)}{_advice(answer.status)}")
    return _verify_by_challenge(secret, url, answer, client)


def _verify_by_challenge(secret: RegistryLogin, url: str, answer: Response, client: Client) -> Verdict:
    """In the way that a refusal names, the first of two."""
    for challenge in challenges(answer.challenge):
        if challenge.scheme == "basic":
            return _verify_by_basic(server(url), client.get(url, basic(secret.username, secret.password)))
        if challenge.scheme == "bearer":
            return _verify_by_token(secret, url, challenge.parameters, client)
    return Verdict(False, f"{server(url)} demands a login of a kind that Apptainer does not have (neither Basic nor Bearer)")


def _advice(status: int) -> str:
    if status == 404:
        return ", so it is probably not an OCI registry; check the host"
    if status == 429:
        return ": it has too much to do; try again later"
    hint = f"{_certificate_hint(status)}, with which Apptainer cannot log in; check the host"
    return ": it has a problem of its own, to be found in its log" if status >= 500 else hint


def _verify_by_basic(name: str, answer: Response) -> Verdict:
    """From the answer to `/v2/` with the credential, where it is refused without one."""
    if answer.status in _REFUSED:
        return _rejected(name, answer.status)
    if answer.status == 200 and is_web_page(answer):
        return Verdict(False, f"{name} answers a login with a web page, so it is not an OCI registry; check the host")
    if answer.status == 200:
        return Verdict(True, f"{name} accepts the login")
    return Verdict(False, f"{name} answers a login with {status_text(answer.status)}, so it could not be checked")


def _token_url(registry: str, parameters: Mapping[str, str], insecure: bool) -> str:
    """Where to ask for a token. Raises NetworkError for a realm that must not see a password.

    The realm is often on another host (Docker Hub's is auth.docker.io): whom the registry trusts is for it to say, and it said so over
    https. No scope and no account is asked for, as Apptainer's login doesn't: some registries (Harbor) give a token for a public
    repository to whoever asks, with any password, but without a scope the only question is who asks.
    """
    name = server(registry)
    realm = parameters.get("realm", "")
    try:
        parts = urlsplit(realm)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise NetworkError(f"{name} demands a token, but does not say from where (its realm is missing or not a URL); it is set up wrongly")
    if parts.scheme == "http" and not (registry.startswith("http:") and may_use_http(parts.netloc.rpartition("@")[2], insecure)):
        raise NetworkError("%s wants the password sent to its token service %s by plain http, so it was not; its realm must be https"
                           % (name, server(realm)))
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
    found = (document.get("token") or document.get("access_token")) if isinstance(document, dict) else None
    return found if isinstance(found, str) and re.match(r"[!-~]+\Z", found) else ""


def _verify_by_token(secret: RegistryLogin, url: str, parameters: Mapping[str, str], client: Client) -> Verdict:
    """By the token service, and by `/v2/` with the token that it gives.

    The token service's word is what counts. That it gives tokens to anonymous users too (Docker Hub, Quay) does not matter: a login that
    is there but wrong must be refused (distribution's token specification; they do). Only where the registry then doesn't want the token
    is there doubt, and two more questions are asked: whether the registry knows the login itself (Harbor does), and else whether the
    token service gives such tokens to everyone.
    """
    name, login = server(url), basic(secret.username, secret.password)
    place = _token_url(url, parameters, secret.insecure)
    realm = f"the token service {server(place)}"
    try:
        answer = client.get(place, login)
    except NetworkError as error:
        return Verdict(False, f"{name} sends for a token to its token service: {error}")
    if answer.status in _REFUSED:
        return _rejected(realm, answer.status)
    token = _token_in(answer) if answer.status == 200 else ""
    if not token:
        what = "a web page" if is_web_page(answer) else "something else than a token"
        said = what if answer.status == 200 else status_text(answer.status)
        return Verdict(False, f"{realm} answers a login with {said}, so it could not be checked")
    status = client.get(url, f"Bearer {token}").status
    if status == 200:
        return Verdict(True, f"{name} accepts the login, by {realm}")
    if status not in _REFUSED:
        return Verdict(False, f"{name} answers a login with {status_text(status)}, so it could not be checked")
    if _verify_by_basic(name, client.get(url, login)).verified:
        return Verdict(True, f"{name} accepts the login")
    refused = True
    with contextlib.suppress(ElsewhereError):
        refused = client.get(place, same_server=True).status in _REFUSED
    if refused:
        return Verdict(True, f"{realm} accepts the login, though a token without a scope does not open /v2/")
    return Verdict(None, f"{realm} gives tokens to everyone and the registry does not accept them for /v2/, so nothing checks the login")


# What an endpoint says of its services

def check_services(services: Services, client: Client) -> List[ServiceStatus]:
    """The version of every service, side by side, by name. As `apptainer remote status`: `/version`, without a credential.

    Of a document that names more than `_MOST_SERVICES`, only so many: it shall not make this machine ask half the world.
    """
    names = sorted(services.uris)[:_MOST_SERVICES]

    def check(name: str) -> Callable[[], str]:
        return lambda: _version(service(services, name), client)

    found = []
    for name, outcome in zip(names, run_all([check(name) for name in names], client.options.timeout)):
        error = str(outcome) if isinstance(outcome, NetworkError) else None
        if isinstance(outcome, DeadlineError):
            error = str(timed_out(f"the {name} service", client.options.timeout))
        found.append(ServiceStatus(name, without_login(services.uris[name]), None if error else str(outcome), error))
    return found


def _version(uri: str, client: Client) -> str:
    answer = client.get(f"{uri}/version")
    place = f"{without_login(uri)}/version"
    if answer.status != 200:
        raise NetworkError(f"{place} answers {status_text(answer.status)}")
    try:
        document = read_json(answer)
    except ValueError:
        document = None
    data = document.get("data") if isinstance(document, dict) else None
    version = data.get("version") if isinstance(data, dict) else None
    if not isinstance(version, str) or not version:
        raise NetworkError(f"{place} answers with something else than a version")
    return version[:100]
