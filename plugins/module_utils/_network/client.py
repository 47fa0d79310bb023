# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Asking servers: GET by requests, bounded in time and size, with credentials that go nowhere else and errors that hold no secret.

What a server says (body, reason, headers, where it redirects to) may echo the credential, and the text of an exception may hold a
proxy's password. So messages are made of facts only: the status, the kind of error, and the names of servers. For the same reason errors
are raised outside `except` blocks, so that they keep no other exception.
"""

import contextlib
import http.client
import http.cookiejar
import os
import re
import socket
import threading
import time
import traceback
import zlib
from typing import Dict, Iterator, NamedTuple, Optional, Set, Tuple, Union
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from .._errors import NetworkError
from .._values.claims import basic
from .._values.hosts import no_place_for_secrets
from .._version import VERSION
from .addresses import parts_of, quoted_without_login, redirected
from .errors import (
    DeadlineError,
    ElsewhereError,
    UntrustedError,
    asked_proxy,
    asked_through,
    explain,
    is_behind_proxy,
    refused_by_proxy,
    server_of,
    status_text,
    timed_out,
)
from .http_options import HttpOptions, check_options
from .proxies import proxy_for
from .threads import run_all
from .trust import bundle_of_environment, system_authorities

try:
    import requests
    import urllib3

    from . import connections
except ImportError:
    REQUESTS_IMPORT_ERROR: Optional[str] = traceback.format_exc()
else:
    REQUESTS_IMPORT_ERROR = None

AGENT = f"hpc.apptainer/{VERSION} (Ansible collection)"

_LARGEST = 1 << 20  # bytes of a body; a discovery document has a few hundred
_PIECE = 1 << 14
_MOST_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_BUSY = (502, 503, 504)
_SOON_CONNECTED = 3.0  # seconds
_PAUSES = (0.1, 0.4)  # seconds before a second and a third attempt
_SHARE_OF_PROXY = 0.8  # of the time left, so that it shows before its end whether it is the proxy that is silent
_BY_ADAPTER = "/"  # a directory that exists; requests wants a path where nothing but the adapter's context shall count
_HEADER = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*\Z")
_MEDIA_TYPE = re.compile(r"[a-z0-9.+-]{1,40}/[a-z0-9.+-]{1,40}\Z")


class Response(NamedTuple):
    """What a server answered, after redirects.

    `content_type` is in lower case and without parameters, empty if it does not look like one; `challenge` is all of WWW-Authenticate,
    joined by commas; `body` has at most 1 MiB. The repr() shows nothing that could echo a credential.
    """

    url: str
    status: int
    content_type: str
    challenge: str
    body: bytes

    def __repr__(self) -> str:
        return f"Response(server={server_of(self.url)!r}, status={self.status!r})"


_Question = Tuple[str, str, bool, bool]  # the arguments of Client.get()


class KnownResponses(Dict[_Question, Tuple[Union[Response, NetworkError], bool]]):
    """What clients that share it have asked, each question once: its answer or error, and whether the server was reached.

    `rejected` has the status with which a server rejected a credential, by server and Authorization header. By host name and port, `certificates`
    are those that servers showed, in DER; `over_tls` is what kept each server that was asked by https from answering, or None; and `validated`
    are the servers whose certificate was validated.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rejected: Dict[Tuple[str, str], int] = {}
        self.certificates: Dict[Tuple[str, int], bytes] = {}
        self.over_tls: Dict[Tuple[str, int], Optional[NetworkError]] = {}
        self.validated: Set[Tuple[str, int]] = set()
        self._locks: Dict[Tuple[str, str, bool], threading.Lock] = {}

    def lock(self, question: _Question) -> threading.Lock:
        """What whoever asks holds meanwhile, so that the others wait for the answer."""
        return self._locks.setdefault(question[:3], threading.Lock())

    def note(self, url: str, validate: bool, problem: Optional[NetworkError]) -> None:
        """How asking `url` ended. A certificate that is not accepted stays noted: other questions may not validate it."""
        parts = urlsplit(url)
        server = parts.hostname or "", parts.port or http.client.HTTPS_PORT
        if parts.scheme != "https" or isinstance(self.over_tls.get(server), UntrustedError):
            return
        self.over_tls[server] = problem
        if validate and problem is None:
            self.validated.add(server)


class _Attempt(NamedTuple):
    """The outcome of one attempt: an answer, where it redirects to, or an error; and whether another attempt may do better."""

    answer: Optional[Response] = None
    location: str = ""
    error: Optional[NetworkError] = None
    again: bool = False


class Client:
    """Asks servers. A context manager; may be used without requests until the first `get`.

    `asking` names the server that is being asked; `reached` is false if the last one asked gave no answer; `refused` is true once one
    answered 401 or 403 to a credential. Clients that share `known` do not ask again what one of them asked, nor send a credential to a server that
    has rejected it.
    Raises NetworkError if a file that an option names cannot be used.
    """

    def __init__(self, options: HttpOptions, known: Optional[KnownResponses] = None) -> None:
        check_options(options)
        self.options = options
        self.asking = "the server"
        self.reached = True
        self.refused = False
        self._known = known
        self._refusals: Dict[Tuple[str, str], int] = {}
        self._behind_proxy = False  # whether the proxy has made a connection: then it is the server that is late
        # By whether certificates are validated: requests before 2.32 may reuse a connection that was not (CVE-2024-35195).
        self._sessions: Dict[bool, "requests.Session"] = {}

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_exception: object) -> None:
        for session in self._sessions.values():
            session.close()

    def get(self, url: str, authorization: str = "", validate_certs: Optional[bool] = None, same_server: bool = False) -> Response:
        """What is at `url`, whatever the status, in `options.timeout` seconds at most.

        `authorization` is a whole Authorization header; without one, a user name and password in the URL are sent, as Go's net/http does.
        `validate_certs` overrides the option. Redirects are followed: with a credential or with `same_server` only on the same server,
        otherwise anywhere but from https to http. Attempts are repeated if the connection fails or the server is busy (502, 503, 504).
        Raises NetworkError.
        """
        validate = self.options.validate_certs if validate_certs is None else validate_certs
        question = (url, authorization, validate, same_server)
        outcome = self._ask(question) if self._known is None else self._ask_once(question, self._known)
        if isinstance(outcome, NetworkError):
            raise outcome
        if authorization and outcome.status in (401, 403):
            self.refused = True
            self._refusals[_place(url), authorization] = outcome.status
        return outcome

    def remember_rejection(self) -> None:
        """The credential that was sent is wrong: clients that share what they know do not send it again to the servers that refused it."""
        if self._known is not None:
            self._known.rejected.update(self._refusals)

    def has_rejected(self, url: str, authorization: str) -> bool:
        """Whether this server is known to have rejected this credential."""
        return self._known is not None and (_place(url), authorization) in self._known.rejected

    def hurried(self, timeout: float) -> "Client":
        """Another client that shares what this one knows, with a timeout of its own."""
        return Client(self.options._replace(timeout=timeout), self._known)

    def _ask_once(self, question: _Question, known: KnownResponses) -> Union[Response, NetworkError]:
        url, authorization, validate, same_server = question
        status = known.rejected.get((_place(url), authorization), 0)
        if status:
            return NetworkError(f"{server_of(url)} has rejected this login already ({status_text(status)}), so it was not sent again: check it")
        self.asking = server_of(url)
        lock = known.lock(question)
        if not lock.acquire(timeout=self.options.timeout):
            return timed_out(self.asking, self.options.timeout)
        try:
            if question not in known:
                outcome = self._ask(question)
                known[question] = outcome, self.reached
                if isinstance(outcome, Response) and _place(outcome.url) == _place(url):  # then it is the same for both
                    known[url, authorization, validate, not same_server] = outcome, self.reached
            outcome, self.reached = known[question]
        finally:
            lock.release()
        return type(outcome)(str(outcome)) if isinstance(outcome, NetworkError) else outcome

    def _ask(self, question: _Question) -> Union[Response, NetworkError]:
        outcome = run_all([lambda: self._follow(*question)], self.options.timeout)[0]
        return timed_out(self.asking, self.options.timeout) if isinstance(outcome, DeadlineError) else outcome

    def _follow(self, url: str, authorization: str, validate: bool, same_server: bool) -> Response:
        deadline = time.monotonic() + self.options.timeout
        parts = parts_of(url)
        if parts is None:
            raise NetworkError(f"{quoted_without_login(url)} is not a valid address; write it like https://host.example.org:8443/path")
        if not authorization and parts.username:
            authorization = basic(unquote(parts.username), unquote(parts.password or ""))
        hazard = no_place_for_secrets(parts.hostname or "") if authorization else ""
        if hazard:
            raise NetworkError(f"{server_of(url)} was not asked: no password or token is sent to {hazard}; use the server's name, or another address")
        if not _HEADER.match(authorization):
            raise NetworkError(f"{server_of(url)} was not asked: the credential has a line break or another control character in it; correct it")
        for hop in range(_MOST_REDIRECTS + 1):
            self._behind_proxy = False
            outcome = self._with_retries(parts, authorization, validate, deadline)
            if outcome.error and hop:
                raise NetworkError(f"{server_of(url)} redirects, and {outcome.error}")
            if outcome.error:
                raise outcome.error
            if outcome.answer:
                return outcome.answer
            parts = redirected(parts, outcome.location, authorization, same_server)
        raise ElsewhereError(f"{server_of(url)} redirects more than {_MOST_REDIRECTS} times: correct that server, or use the address at which it "
                             "answers")

    def _with_retries(self, parts: SplitResult, authorization: str, validate: bool, deadline: float) -> _Attempt:
        connecting = _SOON_CONNECTED  # one dead address of several must not use up the time; a slow server gets all of it in the next attempt
        for pause in _PAUSES:
            outcome = self._once(parts, authorization, validate, deadline, connecting)
            if not outcome.again or time.monotonic() + pause > deadline:
                return outcome
            time.sleep(pause)
            connecting = self.options.timeout
        return self._once(parts, authorization, validate, deadline, connecting)

    def _once(self, parts: SplitResult, authorization: str, validate: bool, deadline: float, connecting: float) -> _Attempt:
        """One attempt, with at most so many seconds to connect to one address, TLS included."""
        url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], path=parts.path or "/", fragment=""))
        self.asking = server_of(url)
        self.reached = False
        options = self.options
        self._note(url, validate, timed_out(self.asking, options.timeout))  # which stays if this thread is abandoned
        cert = (options.client_cert, options.client_key) if options.client_cert and options.client_key else options.client_cert
        proxy = proxy_for(url, os.environ)
        left = max(0.004, deadline - time.monotonic())  # more than nothing, which would be an error of its own
        if proxy:
            left *= _SHARE_OF_PROXY
            self.asking = asked_through(url, proxy) if self._behind_proxy else asked_proxy(url, proxy)
        try:
            session = self._session(validate)
            with session.get(url, auth=_Authorization(authorization), verify=validate and self._verify(), cert=cert,
                             proxies={urlsplit(url).scheme: proxy.url} if proxy else {},
                             timeout=(min(left, connecting), left), allow_redirects=False, stream=True) as response:
                if proxy and response.status_code == 407:
                    return _Attempt(error=NetworkError(f"{asked_proxy(url, proxy)} {refused_by_proxy(proxy)}"))
                self._note(url, validate, None)
                outcome = _read_response(response, deadline)
                self.reached = True
                return outcome
        except (OSError, ValueError, http.client.HTTPException, urllib3.exceptions.HTTPError, zlib.error) as error:
            self._behind_proxy = self._behind_proxy or is_behind_proxy(error)
            problem, again = explain(error, url, proxy, options.timeout, bool(options.ca_path), self._behind_proxy)
            self._note(url, validate, problem)
            return _Attempt(error=problem, again=again)

    def _note(self, url: str, validate: bool, problem: Optional[NetworkError]) -> None:
        if self._known is not None:
            self._known.note(url, validate, problem)

    def _verify(self) -> Union[str, bool]:
        """What requests shall verify certificates with: a path, the authorities of our adapter, or its own ones."""
        return self.options.ca_path or bundle_of_environment(os.environ) or (_BY_ADAPTER if system_authorities(os.environ) else True)

    def _session(self, validate: bool) -> "requests.Session":
        """A session that keeps no cookies and asks for no compression."""
        if validate not in self._sessions:
            urllib3.disable_warnings()  # validate_certs: false was the user's choice, and a module has nobody to warn on stderr
            session = requests.Session()
            certificates = {} if self._known is None else self._known.certificates
            session.trust_env = False  # what it would read of the environment is read here, as Go does it
            session.mount("http://", connections.Adapter(certificates))
            by_adapter = validate and self._verify() == _BY_ADAPTER
            session.mount("https://", connections.Adapter(certificates, system_authorities(os.environ) if by_adapter else ()))
            session.headers.update({"User-Agent": AGENT, "Accept": "application/json, */*", "Accept-Encoding": "identity"})
            session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
            # Even if told not to follow redirects, requests would prepare the next request, and read all of the answer for that.
            session.get_redirect_target = _no_redirect  # type: ignore[assignment, method-assign]
            self._sessions[validate] = session
        return self._sessions[validate]


def _place(url: str) -> str:
    """The server of a URL, as `host:8443`, whatever its scheme; empty if it has none."""
    with contextlib.suppress(ValueError):
        return urlsplit(url).netloc.rpartition("@")[2].lower()
    return ""


def _no_redirect(_response: "requests.Response") -> None:
    """Where an answer redirects to, as requests shall see it: nowhere."""


class _Authorization:
    """Sets the Authorization header, or removes it. (Without this, requests would take a login from ~/.netrc.)"""

    def __init__(self, value: str) -> None:
        self._value = value

    def __call__(self, request: "requests.PreparedRequest") -> "requests.PreparedRequest":
        request.headers.pop("Authorization", None)
        if self._value:
            request.headers["Authorization"] = self._value.encode("utf-8", "surrogatepass").decode("latin-1")  # http.client's encoding
        return request


def _read_response(response: "requests.Response", deadline: float) -> _Attempt:
    subject = server_of(response.url)
    if response.status_code in _REDIRECTS and response.headers.get("Location"):
        return _Attempt(location=response.headers["Location"].encode("latin-1", "replace").decode("utf-8", "replace"))
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
        return _Attempt(error=NetworkError(f"{subject} answers in a Content-Encoding that was not asked for: correct that server"))
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 32) if encoding not in ("", "identity") else None
    body, has_content = bytearray(), False
    for piece in _pieces(response):
        has_content = True
        body += inflate.decompress(piece, _LARGEST + 1 - len(body)) if inflate else piece
        if len(body) > _LARGEST:
            return _Attempt(error=NetworkError(f"{subject} answers with more than {_LARGEST} bytes, too much for this service: check the address"))
        if time.monotonic() > deadline:
            raise socket.timeout()
    if inflate and has_content and not inflate.eof:
        raise http.client.IncompleteRead(b"")
    content_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    answer = Response(
        url=response.url,
        status=response.status_code,
        content_type=content_type if _MEDIA_TYPE.match(content_type) else "",
        challenge=response.headers.get("WWW-Authenticate", ""),
        body=bytes(body))
    return _Attempt(answer, again=answer.status in _BUSY)


def _pieces(response: "requests.Response") -> Iterator[bytes]:
    """The body as it is sent. (requests would decompress it, and so make gigabytes of a small piece that is compressed twice.)"""
    while True:
        try:
            piece: bytes = response.raw.read(_PIECE, decode_content=False)
        except (ValueError, OverflowError) as error:  # for a length that http.client does not check
            raise http.client.IncompleteRead(b"") from error
        if not piece:
            return
        yield piece
