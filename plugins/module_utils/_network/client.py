# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Asking servers: GET by requests, bounded in time and size, with credentials that go nowhere else and errors that hold no secret.

What a server says (body, reason, headers, where it redirects to) may echo the credential, and the text of an exception may hold a
proxy's password. So messages are made of facts only: the status, the kind of error, and the names of servers. For the same reason errors
are raised outside of `except` blocks: they keep no other exception.
"""

import base64
import collections
import contextlib
import functools
import http.client
import http.cookiejar
import os
import queue
import re
import socket
import ssl
import stat
import threading
import time
import traceback
import zlib
from typing import Callable, Deque, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple, TypeVar, Union
from urllib.parse import SplitResult, unquote, urljoin, urlsplit, urlunsplit

from .._errors import NetworkError, quoted
from .._values.claims import basic
from .errors import DeadlineError, ElsewhereError, explain, server, timed_out

try:
    import requests
    import urllib3
except ImportError:
    HAS_REQUESTS = False
    REQUESTS_IMPORT_ERROR: Optional[str] = traceback.format_exc()
else:
    HAS_REQUESTS = True
    REQUESTS_IMPORT_ERROR = None

VERSION = "0.1.0"  # as in galaxy.yml
AGENT = f"hpc.apptainer/{VERSION} (Ansible collection)"

_T = TypeVar("_T")
KnownResponses = Dict[Tuple[str, bool, bool], "Response"]  # what was answered, by the arguments of Client.get() without a credential
_Authority = Tuple[str, Optional[str], Optional[int]]

_LARGEST = 1 << 20  # bytes of a body; a discovery document has a few hundred
_PIECE = 1 << 14
_MOST_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_BUSY = (502, 503, 504)
_SOON_CONNECTED = 3.0  # seconds
_PAUSES = (0.1, 0.4)  # seconds before a second and a third attempt
_HOST = re.compile(r"(?:[\w.~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?\Z")
_HEADER = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*\Z")
_MEDIA_TYPE = re.compile(r"[a-z0-9.+-]{1,40}/[a-z0-9.+-]{1,40}\Z")


class HttpOptions(NamedTuple):
    """How to ask: `timeout` in seconds, for all of one request or check; paths of PEM files, `ca_path` also of a directory of CAs."""

    timeout: float = 10.0
    validate_certs: bool = True
    ca_path: Optional[str] = None
    client_cert: Optional[str] = None
    client_key: Optional[str] = None


class Response(NamedTuple):
    """What a server answered, after redirects.

    `content_type` is in lower case and without parameters, empty if it is not like one; `challenge` all of WWW-Authenticate, joined by
    commas; `body` at most 1 MiB. The repr() shows nothing that could echo a credential.
    """

    url: str
    status: int
    content_type: str
    challenge: str
    body: bytes

    def __repr__(self) -> str:
        return f"Response(server={server(self.url)!r}, status={self.status!r})"


class _Attempt(NamedTuple):
    """What one attempt gave: an answer, where it redirects to, or an error; and whether another attempt may do better."""

    answer: Optional[Response] = None
    location: str = ""
    error: Optional[NetworkError] = None
    again: bool = False


class Client:
    """Asks servers. A context manager; may be used without requests until the first `get`.

    `asking` names the server that is being asked; `reached` is false if the last one asked gave no answer; `refused` true once one answered
    401 or 403 to a credential. Clients that share `known` don't ask again, without a credential, what one of them asked.
    Raises NetworkError if a file that an option names cannot be used.
    """

    def __init__(self, options: HttpOptions, agent: str = AGENT, known: Optional[KnownResponses] = None) -> None:
        self.options = options
        self.asking = "the server"
        self.reached = True
        self.refused = False
        self._known = known
        self._agent = agent
        # By whether certificates are validated: requests before 2.32 may reuse a connection that was not.
        self._sessions: Dict[bool, "requests.Session"] = {}
        bundle = "" if options.ca_path else os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or ""
        problem = _problem_with_files(options.ca_path, bundle if options.validate_certs else "", options.client_cert, options.client_key)
        if problem:
            raise NetworkError(problem)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_exception: object) -> None:
        for session in self._sessions.values():
            session.close()

    def get(self, url: str, authorization: str = "", validate_certs: Optional[bool] = None, same_server: bool = False) -> Response:
        """What is at `url`, whatever the status, in `options.timeout` seconds at most.

        `authorization` is a whole Authorization header; without one, a user name and password in the URL are sent as Go does.
        `validate_certs` overrides the option. Redirects are followed, with a credential or with `stay` only on the same server, without
        either anywhere but from https to http. Attempts are repeated if the connection fails or the server is busy (502, 503, 504).
        Raises NetworkError.
        """
        validate = self.options.validate_certs if validate_certs is None else validate_certs
        question = (url, validate, same_server)
        if self._known is not None and not authorization and question in self._known:
            return self._known[question]
        outcome = run_all([lambda: self._follow(url, authorization, validate, same_server)], self.options.timeout)[0]
        if isinstance(outcome, DeadlineError):
            outcome = timed_out(self.asking, self.options.timeout)
        if isinstance(outcome, NetworkError):
            raise outcome
        if self._known is not None and not authorization:
            self._known[question] = outcome
        self.refused = self.refused or (bool(authorization) and outcome.status in (401, 403))
        return outcome

    def _follow(self, url: str, authorization: str, validate: bool, same_server: bool) -> Response:
        deadline = time.monotonic() + self.options.timeout
        parts = _parts(url)
        if parts is None:
            raise NetworkError(f"{_shown(url)} is not an address that can be asked; it must be like https://host.example.org:8443/path")
        if not authorization and parts.username:
            authorization = basic(unquote(parts.username), unquote(parts.password or ""))
        if not _HEADER.match(authorization):
            raise NetworkError(f"{server(url)} cannot be asked: the credential has a line break or another control character in it")
        for hop in range(_MOST_REDIRECTS + 1):
            outcome = self._with_retries(parts, authorization, validate, deadline)
            if outcome.error and hop:
                raise NetworkError(f"{server(url)} redirects: {outcome.error}")
            if outcome.error:
                raise outcome.error
            if outcome.answer:
                return outcome.answer
            parts = _redirected(parts, outcome.location, authorization, same_server)
        raise ElsewhereError("%s redirects more than %d times; use the address at which it answers" % (server(url), _MOST_REDIRECTS))

    def _with_retries(self, parts: SplitResult, authorization: str, validate: bool, deadline: float) -> _Attempt:
        connecting = _SOON_CONNECTED  # one dead address of several must not use all of the time; but who is slow gets it then
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
        self.asking = server(url)
        self.reached = False
        options = self.options
        cert = (options.client_cert, options.client_key) if options.client_cert and options.client_key else options.client_cert
        proxy = _proxy(url)
        left = max(0.004, deadline - time.monotonic())
        try:
            session = self._session(validate)
            with session.get(url, auth=_Authorization(authorization), verify=validate and (options.ca_path or True), cert=cert,
                             timeout=(min(left, connecting), left), allow_redirects=False, stream=True) as response:
                outcome = _read_response(response, deadline)
                self.reached = True
                return outcome
        except (OSError, ValueError, http.client.HTTPException, urllib3.exceptions.HTTPError, zlib.error) as error:
            problem, again = explain(error, url, proxy, options.timeout)
            return _Attempt(error=problem, again=again)

    def _session(self, validate: bool) -> "requests.Session":
        """A session that keeps no cookies and asks for no compression."""
        if validate not in self._sessions:
            urllib3.disable_warnings()  # validate_certs: false was the user's choice, and a module's stderr is no place to discuss it
            session = requests.Session()
            session.headers.update({"User-Agent": self._agent, "Accept": "application/json, */*", "Accept-Encoding": "identity"})
            session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
            # Even told not to follow redirects, requests would prepare the next request, and read all of the answer for that.
            session.get_redirect_target = _no_redirect  # type: ignore[assignment, method-assign]
            self._sessions[validate] = session
        return self._sessions[validate]


def _no_redirect(_response: "requests.Response") -> None:
    """What requests is told of where an answer leads to."""


class _Authorization:
    """Sets the Authorization header, or sees to it that there is none. (Given none, requests would look into ~/.netrc.)"""

    def __init__(self, value: str) -> None:
        self._value = value

    def __call__(self, request: "requests.PreparedRequest") -> "requests.PreparedRequest":
        request.headers.pop("Authorization", None)
        if self._value:
            request.headers["Authorization"] = self._value.encode("utf-8", "surrogatepass").decode("latin-1")  # http.client's encoding
        return request


def _read_response(response: "requests.Response", deadline: float) -> _Attempt:
    place = server(response.url)
    if response.status_code in _REDIRECTS and response.headers.get("Location"):
        return _Attempt(location=response.headers["Location"].encode("latin-1", "replace").decode("utf-8", "replace"))
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
        return _Attempt(error=NetworkError(f"{place} answers with content in an encoding that was not asked for"))
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 32) if encoding not in ("", "identity") else None
    body = bytearray()
    for piece in _pieces(response):
        body += inflate.decompress(piece, _LARGEST + 1 - len(body)) if inflate else piece
        if len(body) > _LARGEST:
            return _Attempt(error=NetworkError("%s answers with more than %d bytes, which is no answer of the service wanted" % (place, _LARGEST)))
        if time.monotonic() > deadline:
            raise socket.timeout()
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    answer = Response(response.url, response.status_code, kind if _MEDIA_TYPE.match(kind) else "", response.headers.get("WWW-Authenticate", ""),
                    bytes(body))
    return _Attempt(answer, again=answer.status in _BUSY)


def _pieces(response: "requests.Response") -> Iterator[bytes]:
    """The body as it is sent. (requests would decode it, and so make gigabytes of a small piece that is compressed twice.)"""
    while True:
        piece: bytes = response.raw.read(_PIECE, decode_content=False)
        if not piece:
            return
        yield piece


def _parts(url: str) -> Optional[SplitResult]:
    """The parts of a URL that can be asked, None for any other."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.port != 0 and _HOST.match(parts.netloc.rpartition("@")[2]) and "\\" not in url
    except ValueError:
        return None
    return parts if usable else None


def _proxy(url: str) -> str:
    """The proxy that the environment names for a URL, as `http://host:3128`, or nothing. Raises NetworkError for what requests fails on."""
    proxy = requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url, None))
    if not proxy:
        return ""
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    with contextlib.suppress(ValueError):
        parts = urlsplit(proxy)
        if parts.port != 0 and _HOST.match(parts.netloc.rpartition("@")[2]):
            return server(proxy)
    raise NetworkError(f"{server(url)} cannot be asked: the proxy that the environment names for it is not like http://host.example.org:3128")


def _shown(url: str) -> str:
    return quoted(f"...{url.rpartition('@')[2]}" if "@" in url else url)


def _authority(parts: SplitResult) -> _Authority:
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme]


def _redirected(parts: SplitResult, location: str, authorization: str, same_server: bool) -> SplitResult:
    """Where a redirect leads to. Raises NetworkError if it must not be followed."""
    here = server(urlunsplit(parts))
    target = None
    with contextlib.suppress(ValueError):
        target = _parts(urljoin(urlunsplit(parts), location))
    if target is None:
        raise ElsewhereError(f"{here} redirects to an address that cannot be asked")
    if _authority(parts) == _authority(target):
        return target
    there = server(urlunsplit(target))
    there = "another server" if _echoes(there, authorization) else there
    if (parts.scheme, target.scheme) == ("https", "http"):
        raise ElsewhereError("%s redirects to %s, where nothing protects what is sent; nothing was sent there%s"
                             % (here, there, ", so not the credential either" if authorization else ""))
    if authorization:
        raise ElsewhereError(f"{here} redirects to {there}; the credential was not sent there: if that is the right server, use its address")
    if same_server:
        raise ElsewhereError(f"{here} redirects to {there}: if that is the right server, use its address")
    return target


def _echoes(text: str, authorization: str) -> bool:
    """Whether a text from a server holds the credential that was sent to it."""
    word = authorization.rpartition(" ")[2].rstrip("=")
    login = ""
    with contextlib.suppress(ValueError):
        login = base64.b64decode(word + "=" * (-len(word) % 4)).decode("utf-8")
    return any(part and part.lower() in text.lower() for part in (word, login.partition(":")[2]))


@functools.lru_cache(maxsize=16)
def _problem_with_files(ca_path: Optional[str], bundle: str, client_cert: Optional[str], client_key: Optional[str]) -> str:
    """What is wrong with the files that options and the environment name, or nothing."""
    if client_key and not client_cert:
        return "client_key is given without client_cert; give both"
    files = (("ca_path", ca_path), ("the CA bundle of the environment (REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE)", bundle),
             ("client_cert", client_cert), ("client_key", client_key))
    for name, path in files:
        try:
            if path and not (os.path.isdir(path) and not name.startswith("client")):
                if not stat.S_ISREG(os.stat(path).st_mode):
                    return f"{name} {quoted(path)} is no regular file"
                with open(path, "rb") as file:
                    file.read(1)
        except (OSError, ValueError) as error:
            return f"{name} {quoted(path or '')} cannot be read: {getattr(error, 'strerror', 'no such path is possible here')}"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for name, path in files[:2]:
        try:
            if path and not os.path.isdir(path):
                context.load_verify_locations(cafile=path)
        except (OSError, ValueError):
            return f"{name} {quoted(path or '')} holds no certificate in PEM form"
    try:
        if client_cert:
            # Without a password given, OpenSSL would ask the terminal for that of an encrypted key.
            context.load_cert_chain(client_cert, client_key, password="")
    except (OSError, ValueError):
        return ("client_cert %s and its key (client_key%s) cannot be used: they must be PEM, belong together, and the key not be encrypted"
                % (quoted(client_cert or ""), f" {quoted(client_key)}" if client_key else ", or in the same file"))
    return ""


def run_all(checks: Sequence[Callable[[], _T]], timeout: float, workers: int = 64, groups: Optional[Sequence[object]] = None,
            per_group: int = 1) -> List[Union[_T, NetworkError]]:
    """Run checks, `workers` at a time, each for at most `timeout` seconds from its start; results in the order of the checks.

    `lines` has for each check the line that it stands in, of which `abreast` run at a time; by default each has its own.
    A check that raises NetworkError gives that error, one that is not done in time DeadlineError; any other exception is raised here.
    Each check has a thread of its own, which is left alone when its time is over: nothing else ends a name lookup, or a server that
    sends a byte now and then. These threads don't keep the process from exiting.
    """
    results: List[Union[_T, NetworkError]] = [DeadlineError(f"not done within {timeout:g} seconds")] * len(checks)
    done: "queue.Queue[Tuple[int, Optional[_T], Optional[BaseException]]]" = queue.Queue()

    def work(number: int) -> None:
        try:
            done.put((number, checks[number](), None))
        except BaseException as error:  # whatever it is, the waiting thread must hear of it
            done.put((number, None, error))

    places = range(len(checks)) if groups is None else groups
    waiting: Dict[object, Deque[int]] = {}
    for number, place in enumerate(places):
        waiting.setdefault(place, collections.deque()).append(number)
    ready = collections.deque(line.popleft() for line in waiting.values() for _number in range(min(per_group, len(line))))
    deadlines: Dict[int, float] = {}  # of those that run, the earliest first
    while deadlines or ready:
        while ready and len(deadlines) < workers:
            deadlines[ready[0]] = time.monotonic() + timeout
            threading.Thread(target=work, args=(ready.popleft(),), daemon=True).start()
        oldest = next(iter(deadlines))
        try:
            number, result, error = done.get(timeout=max(0.0, deadlines[oldest] - time.monotonic()))
        except queue.Empty:
            number = oldest
        else:
            if number not in deadlines:
                continue  # too late
            if error is not None and not isinstance(error, NetworkError):
                raise error
            results[number] = error if error is not None else result  # type: ignore[assignment]
        del deadlines[number]
        if waiting[places[number]]:
            ready.append(waiting[places[number]].popleft())
    return results
