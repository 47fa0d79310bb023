# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Whether endpoints offer what they should, and whether their token services accept tokens."""

import contextlib
import time
from typing import Callable, Collection, List, Mapping, NamedTuple, Optional, Tuple, Union

from .._apptainer.services import USED_SERVICES, service_hazard
from .._errors import NetworkError, shortened
from .._redaction import without_login
from .._values.claims import EndpointServices, EndpointToken
from .._values.uri import hardcoded_keyserver
from .client import Client, Response
from .discovery import Services, discover, is_web_page, read_json, service_uri
from .errors import DeadlineError, ElsewhereError, shown_url, status_text, timed_out
from .keyservers import keyserver_problem
from .threads import run_all
from .verdict import Verdict

_MOST_SERVICES = 32
_LONGEST_VERSION = 100  # characters
_TOKEN_REJECTED = "the token is rejected; it is wrong, expired or revoked, so create a new one"
_TOKEN_ANSWERS: Mapping[int, str] = {
    401: _TOKEN_REJECTED,
    403: _TOKEN_REJECTED,
    404: "the token is unknown, or this is not a token service; create a new token, or check the endpoint's tokenAPI uri",
    406: "the token is malformed; check that it is complete and that nothing else is in it",
    429: "it is rate limiting, so the token could not be verified; try again later",
}


def verify_services(claim: EndpointServices, client: Client) -> Verdict:
    """By the discovery document. Raises NetworkError.

    Of `cloud.apptainer.org` Apptainer asks for neither library nor keyserver: it has no library and a fixed keyserver there. SingularityCE
    asks for both.
    Source: `internal/pkg/remote/endpoint/service.go`.
    """
    uri = without_login(claim.uri)
    is_fixed = bool(hardcoded_keyserver(claim.uri, claim.flavor))
    if is_fixed and "library" in claim.services:
        return Verdict(False, f"Apptainer has no library at {uri}, whatever that server answers (this is fixed in Apptainer); use another endpoint")
    fixed = ("keyserver",) if is_fixed else ()
    to_ask = [name for name in claim.services if name not in fixed]
    warning = ""
    if to_ask or not claim.services:
        services = discover(client, claim.uri, claim.insecure)
        for name in to_ask:
            service_uri(services, name)
        refused, warned = _hazards(services, claim, to_ask)
        if refused:
            return Verdict(False, f"{'; '.join(refused)}: correct that in the document")
        warning = "; ".join(warned)
    if not claim.services:
        return Verdict(True, f"{uri} has a discovery document", warning)
    return Verdict(True, f"{uri} offers the required services ({', '.join(claim.services)})", warning)


def _hazards(services: Services, endpoint: Union[EndpointServices, EndpointToken], demanded: Collection[str]) -> Tuple[List[str], List[str]]:
    """What is dangerous about the demanded services of an endpoint, and about the others that Apptainer uses."""
    refused: List[str] = []
    warned: List[str] = []
    for name in USED_SERVICES:
        uri = services.uris.get(name, "")
        hazard = service_hazard(endpoint.uri, endpoint.insecure, uri)
        if hazard:
            text = f"{services.url} offers a {name} service at {shown_url(uri)}, which {hazard}"
            (refused if name in demanded else warned).append(text)
    return refused, warned


def verify_token(claim: EndpointToken, client: Client) -> Verdict:
    """By the token service that the endpoint names. Raises NetworkError.

    Apptainer (`internal/pkg/util/auth/token.go`) takes any 200 for a yes. Here it must be JSON without an error, as real services answer
    unknown addresses with 200 and a web page; and a request without a token must not get the same answer. An answer without content, as
    Singularity Registry Server gives it, says less: it counts only if others are refused.
    """
    services = discover(client, claim.uri, claim.insecure)
    url = f"{service_uri(services, 'token')}/v1/token-status"
    subject = f"the token service {shown_url(url)}"
    if url.lower().startswith("http:") and not claim.insecure:
        return Verdict(False, f"{subject} uses plain http, so the token was not sent: give the service an https uri (tokenAPI in the endpoint's "
                              "discovery document), or use verify: never")
    hazard = service_hazard(claim.uri, claim.insecure, services.uris["token"])
    if hazard:
        return Verdict(False, f"{subject} {hazard}, so the token was not sent: correct tokenAPI in the endpoint's discovery document")
    warned = _hazards(services, claim, ("token",))[1]  # Apptainer sends the token to these, too
    warning = "; ".join(f"{text}, and Apptainer sends the token there" for text in warned)
    return _verdict_on_token(claim, url, subject, client)._replace(warning=warning)


def _verdict_on_token(claim: EndpointToken, url: str, subject: str, client: Client) -> Verdict:
    """From what the token service answers at `url`."""
    answer = client.get(url, f"Bearer {claim.token}")
    if answer.status == 200 and not answer.body.strip() and not is_web_page(answer):
        return _verdict_without_content(subject, url, client)
    if _confirms(answer):
        with contextlib.suppress(ElsewhereError):  # to be redirected to another server, to log in there, is no confirmation
            if _confirms(client.get(url, same_server=True)):
                return Verdict(None, f"{subject} gives the same answer without a token, so the token could not be verified")
        return Verdict(True, f"{subject} accepts the token")
    if answer.status == 200:
        content = "a web page" if is_web_page(answer) else "something other than a token status"
        return Verdict(False, f"{subject} answers with {content}, so it is not a token service; check the endpoint's tokenAPI uri")
    unknown = "server error, so the token could not be verified; see its log" if answer.status >= 500 else "the token is not accepted; check it"
    return Verdict(False, f"{subject} answers {status_text(answer.status)}: {_TOKEN_ANSWERS.get(answer.status, unknown)}")


def _verdict_without_content(subject: str, url: str, client: Client) -> Verdict:
    """For a token that a service answers with 200 and nothing else: from what it answers to whoever shows no token."""
    refused = True  # also by being sent to another server, to log in there
    with contextlib.suppress(ElsewhereError):
        status = client.get(url, same_server=True).status
        refused = 400 <= status < 500 and status != 429
    if refused:
        return Verdict(True, f"{subject} accepts the token")
    return Verdict(None, f"{subject} answers without content, and does not refuse requests without a token either, "
                         "so the token could not be verified")


def _confirms(answer: Response) -> bool:
    """Whether a token service's answer says that all is well."""
    try:
        document = read_json(answer)
    except ValueError:
        return False
    return answer.status == 200 and isinstance(document, dict) and not document.get("error") and not document.get("errors")


class ServiceStatus(NamedTuple):
    """One service of an endpoint: its `version`, or the `error` that occurred in asking for it."""

    name: str
    uri: str
    version: Optional[str]
    error: Optional[str]


def services_of_endpoint(uri: str, insecure: bool, client: Client) -> List[ServiceStatus]:
    """The services of the endpoint with the stored `uri`, all in the client's time. Raises NetworkError if it does not say which they are."""
    begin = time.monotonic()
    services = discover(client, uri, insecure)
    # a little less than the time left, so that a silent service is named in the answer and does not end the whole question
    left = 0.8 * (client.options.timeout - (time.monotonic() - begin))
    with client.hurried(max(0.1, round(left, 1))) as hurried:
        return service_statuses(services, hurried)


def service_statuses(services: Services, client: Client) -> List[ServiceStatus]:
    """The version of every service, asked in parallel, sorted by name.

    As `apptainer remote status` (`internal/app/apptainer/remote_status.go`): `/version`, without a credential. Of a document that names
    more than `_MOST_SERVICES` services only so many are asked, so that nobody makes this machine ask half the world.
    """
    names = sorted(services.uris)[:_MOST_SERVICES]

    def check(name: str) -> Callable[[], Optional[str]]:
        if name == "keyserver":
            return lambda: _version_of_keyserver(service_uri(services, name), client)
        return lambda: _version(service_uri(services, name), client)

    statuses = []
    for name, outcome in zip(names, run_all([check(name) for name in names], client.options.timeout)):
        error = str(outcome) if isinstance(outcome, NetworkError) else None
        if isinstance(outcome, DeadlineError):
            error = str(timed_out(f"the {shortened(name)} service", client.options.timeout))
        statuses.append(ServiceStatus(shortened(name), shown_url(services.uris[name]), None if isinstance(outcome, NetworkError) else outcome, error))
    return statuses


def _version_of_keyserver(uri: str, client: Client) -> Optional[str]:
    """The version of a keyserver, None if it has none, as HKP servers, of which Apptainer says N/A. Raises NetworkError if it is no keyserver."""
    try:
        return _version(uri, client)
    except NetworkError as error:
        if client.reached and keyserver_problem(uri, False, "", client) is None:
            return None
        raise error


def _version(uri: str, client: Client) -> str:
    answer = client.get(f"{uri}/version")
    url = shown_url(f"{uri}/version")
    if answer.status != 200:
        raise NetworkError(f"{url} answers {status_text(answer.status)}")
    try:
        document = read_json(answer)
    except ValueError:
        document = None
    # Singularity Registry Server has the version at the top level
    data = document.get("data", document) if isinstance(document, dict) else None
    version = data.get("version") if isinstance(data, dict) else None
    if not isinstance(version, str) or not version:
        raise NetworkError(f"{url} answers with something other than a version")
    return version[:_LONGEST_VERSION]
