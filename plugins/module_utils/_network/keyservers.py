# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Whether keyservers answer, and whether they accept logins."""

import re
from typing import List, Optional, Tuple

from .._errors import NetworkError, quoted
from .._redaction import without_login
from .._values.claims import EndpointKeyserver, KeyserverLogin, username_of
from .._values.uri import keyserver_identity, parse
from .client import Client, Response
from .discovery import is_web_page
from .errors import ElsewhereError, server_of, status_text
from .verdict import (
    REFUSED,
    Verdict,
    another_login,
    certificate_hint,
    login_not_verified,
    login_rejected,
    status_advice,
)

# HKP: `op=index` with `options=mr` is in draft-shaw-openpgp-hkp-00; `op=stats` is what its servers (SKS, Hockeypuck) have besides
_STATISTICS = "/pks/lookup?op=stats"
_INDEX_OF_NOBODY = f"/pks/lookup?op=index&options=mr&search=0x{40 * '0'}"
_UNABLE = (429, 502, 503, 504)  # statuses that say nothing of what was asked
_KEY_OF_NOBODY = f"/pks/lookup?op=get&options=mr&search=0x{40 * '0'}"


def verify_keyserver_login(claim: KeyserverLogin, client: Client) -> Verdict:
    """By the URI itself, which is all that Apptainer's login asks (and needs 200 of), and by the statistics that HKP servers have.

    Each is asked without the credential first: only where that is refused, to be let in with it verifies the credential. 403 may be a
    page that nobody may see, so it decides nothing; nor does a front page on another server. Raises NetworkError.
    Source: `internal/pkg/remote/credential/login_handler.go`; recorded runs of logins.
    """
    url = _keyserver_url(claim.uri)
    validate = False if claim.insecure else None
    subject = server_of(url)
    credential = "user name and password" if username_of(claim.auth) else "the token"
    answers: List[str] = []  # to the URI and to the statistics, in words
    is_open = is_refused = False
    for address in (url, url.rstrip("/") + _STATISTICS):
        try:
            answer = client.get(address, "", validate, same_server=True)
        except ElsewhereError:
            if answers:
                raise
            answers.append("a redirect")
            continue
        status, challenge = answer.status, answer.challenge
        needs_login = status in REFUSED
        if needs_login or _is_success(status):
            answer = client.get(address, claim.auth, validate)
            status = answer.status
            if needs_login and (_is_success(status) or (answers and _has_no_statistics(url, status, claim.auth, validate, client))):
                if not answers or is_open:
                    return Verdict(True, f"{subject} accepts the login")
                return Verdict(True, f"{subject} accepts the login, but answers its uri with {answers[0]}, so the command apptainer keyserver "
                                     "login would fail")
            if status == 401:
                return another_login(subject, challenge, answer.challenge) or login_rejected(subject, status, credential)
            is_open = is_open or _is_success(status)
            is_refused = is_refused or status in REFUSED
        answers.append(status_text(status))
    if is_open and not is_refused:
        return login_not_verified(subject)
    if status in _UNABLE:
        return Verdict(False, f"{subject} does not answer the login: its uri answered {answers[0]}, {_STATISTICS} answered "
                              f"{answers[1]}{status_advice(status)}")
    return Verdict(False, f"{subject} rejects the login: its uri answered {answers[0]}, {_STATISTICS} answered "
                          f"{answers[1]}{certificate_hint(status)}; check the uri, and {credential}")


def verify_keyserver(claim: EndpointKeyserver, client: Client) -> Verdict:
    """As anyone would be answered: which login it accepts is a claim of its own. Raises NetworkError."""
    status, problem = _ask_keyserver(claim.uri, claim.insecure, "", client)
    if status in REFUSED:
        return Verdict(None, f"{problem}: it requires a login, so without one it could not be verified that it is a keyserver")
    return Verdict(not problem, problem or f"the keyserver {without_login(claim.uri)} answers")


def keyserver_problem(uri: str, insecure: bool, authorization: str, client: Client) -> Optional[str]:
    """Why a keyserver cannot be used, or None if it answers HKP."""
    try:
        return _ask_keyserver(uri, insecure, authorization, client)[1] or None
    except NetworkError as error:
        return str(error)


def _ask_keyserver(uri: str, insecure: bool, authorization: str, client: Client) -> Tuple[int, str]:
    """The status that a keyserver answers with, and what is wrong with it; nothing, if it answers HKP. Raises NetworkError.

    A web site may answer every address with its page, so a keyserver is also asked for a key that nobody has.
    """
    validate = False if insecure else None
    url = _keyserver_url(uri)
    subject = f"the keyserver {server_of(url)}"
    status = client.get(url.rstrip("/") + _STATISTICS, authorization, validate).status
    if _is_success(status):
        answer = _answer_to_nobodys_key(url, authorization, validate, client)
        if _says_that_there_is_none(answer):
            return status, ""
        if _is_success(answer.status):
            page = "with a web page" if is_web_page(answer) else "in the same way"
            return status, (f"{subject} answers every address {page}, also when asked for a key that nobody has, so it is not a keyserver: "
                            "check its uri")
        return answer.status, f"{subject} answers /pks/lookup with {status_text(answer.status)}{_advice(answer.status)}"
    if _has_no_statistics(url, status, authorization, validate, client):
        return status, ""
    return status, f"{subject} answers {_STATISTICS} with {status_text(status)}{_advice(status)}"


def _advice(status: int) -> str:
    return status_advice(status) or certificate_hint(status)


def _has_no_statistics(url: str, status: int, authorization: str, validate: Optional[bool], client: Client) -> bool:
    """Whether a keyserver answers HKP, but not `op=stats`, which is optional: Hagrid, which runs keys.openpgp.org, answers it with 400.

    So a server that refuses the operation is asked for a key that nobody has; if it answers that there is none, it is a keyserver.
    """
    return status in (400, 501) and _says_that_there_is_none(_answer_to_nobodys_key(url, authorization, validate, client))


def _answer_to_nobodys_key(url: str, authorization: str, validate: Optional[bool], client: Client) -> Response:
    """The answer to a search for a key that nobody has; that to `op=get` where the search is not understood or shows nothing."""
    answer = client.get(url.rstrip("/") + _INDEX_OF_NOBODY, authorization, validate)
    if _says_that_there_is_none(answer) or not (_is_success(answer.status) or answer.status in (400, 501)):
        return answer
    return client.get(url.rstrip("/") + _KEY_OF_NOBODY, authorization, validate)


def _says_that_there_is_none(answer: Response) -> bool:
    """Whether a keyserver answers that it does not have a key: with 404, or a machine-readable index with no key in it."""
    return answer.status == 404 or (answer.status == 200 and re.match(rb"info:[0-9]+:0\s*\Z", answer.body) is not None)


def _keyserver_url(uri: str) -> str:
    """The URL to ask for a keyserver's URI: hkp is http on port 11371, hkps https. Raises NetworkError if it is none that can be asked."""
    identity = keyserver_identity(uri)
    if identity is None:
        raise NetworkError(f"the keyserver uri {quoted(without_login(uri))} cannot be used; write it like https://keys.example.org")
    return f"{identity[0]}://{identity[1]}{parse(uri).path}" if uri[:3].lower() == "hkp" else uri


def _is_success(status: int) -> bool:
    return 200 <= status < 300
