# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What goes wrong in asking a server, in words that hold no secret: the kind of error and the names of servers, never the error's own text."""

import errno
import http.client
import os
import re
import socket
import ssl
import zlib
from typing import Callable, List, NamedTuple, Optional, Tuple
from urllib.parse import urlsplit

from .._errors import NetworkError, shortened
from .._redaction import without_login

_LONGEST = 200  # characters of a URL that are shown
_UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN)
_IN_TLS = re.compile(r"\b(?:handshake|read|write) operation timed out")  # `_ssl.c` of Python; of a plain socket it is "timed out"
_TUNNEL = re.compile(r"Tunnel connection failed: ([0-9]{3})\b")

# By the verify code of OpenSSL (x509_vfy.h).
_UNKNOWN_CA = "has a certificate from an authority that is not trusted here: set ca_path to the CA's certificate"
_STILL_UNKNOWN_CA = (f"{_UNKNOWN_CA}. If it is that already, the server does not send the intermediate certificate between the two: "
                     "add that there, or to ca_path")
_MISSING_ISSUER = (2, 20, 21)
_OTHER_NAME = "has a certificate for another host name: use a name that is in it, or correct the certificate"
_CERTIFICATE = {
    2: _UNKNOWN_CA, 18: _UNKNOWN_CA, 19: _UNKNOWN_CA, 20: _UNKNOWN_CA, 21: _UNKNOWN_CA, 62: _OTHER_NAME, 64: _OTHER_NAME,
    9: "has a certificate that is not valid yet: check this machine's clock",
    10: "has an expired certificate: renew it there, or check this machine's clock",
}
# Python 3.6 does not tell the code.
_NO_CODE = "has a certificate that cannot be verified: its authority is not trusted here (then set ca_path), or it has expired"
_CLOSED = "closed the connection without answering"
# By OpenSSL's reason; the first that fits.
_NO_TLS = re.compile(r"WRONG_VERSION_NUMBER|UNKNOWN_PROTOCOL|HTTP_REQUEST|RECORD_LAYER_FAILURE|PACKET_LENGTH")
_TLS = (
    (re.compile(r"ALERT_(?:\w*CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED)"),
     "requires a client certificate, or rejects the one that was sent: check client_cert"),
    (re.compile(r"ALERT_HANDSHAKE"),
     "refuses the TLS handshake: it shares no cipher with this machine, or requires a client certificate (client_cert)"),
    (re.compile(r"PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL"), "shares no TLS version with this machine: enable TLS 1.2 or newer there"),
)


class Proxy(NamedTuple):
    """A proxy that the environment names in `variable`. `url` may hold a login; `shown` is for messages, as `http://host:3128`."""

    url: str
    shown: str
    variable: str
    has_login: bool

    def __repr__(self) -> str:
        return f"Proxy({self.shown!r})"


class NotTlsError(NetworkError):
    """Nothing there speaks TLS: the connection is refused, or something else answers. It may be a plain http server."""


class UntrustedError(NetworkError):
    """A server's certificate is not accepted here: expired, for another name, or from an authority that is not trusted."""


class ElsewhereError(NetworkError):
    """A server redirects to where nothing was sent: to another server, or in a circle."""


class DeadlineError(NetworkError):
    """A check was not finished in its time."""


def status_text(status: int) -> str:
    """A status as `404 Not Found`, in the standard's words: the server's own may hold anything."""
    return f"{status} {http.client.responses.get(status, '')}".strip()


def server_of(url: str) -> str:
    """The server of a URL for messages, as `https://host:8443`: no user name, no path."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{shortened(parts.netloc.rpartition('@')[2])}"


def shown_url(url: str) -> str:
    """A URL that may come from a server, as a message or result shows it: without login and query, and no longer than anyone reads."""
    shown = without_login(url)
    return shown if len(shown) <= _LONGEST else f"{re.sub('%.?$', '', shown[:_LONGEST])}..."


def timed_out(subject: str, timeout: float) -> NetworkError:
    """The error for a server, named by `subject`, that did not answer in `timeout` seconds."""
    seconds = "second" if timeout == 1 else "seconds"
    return NetworkError(f"{subject} did not answer within {timeout:g} {seconds}: check that it is running and reachable from here, or raise timeout")


def _chain(error: BaseException) -> List[BaseException]:
    """An exception with all that it wraps, which urllib3 and requests do in five ways."""
    chain: List[BaseException] = []
    waiting: List[object] = [error]
    while waiting:
        item = waiting.pop(0)
        if isinstance(item, BaseException) and not any(item is earlier for earlier in chain):
            chain.append(item)
            waiting += [item.__cause__, item.__context__, getattr(item, "reason", None), getattr(item, "original_error", None)]
            waiting += item.args
    return chain


def asked_proxy(url: str, proxy: Proxy) -> str:
    """A proxy as the subject of a message about asking `url`."""
    return f"the proxy {proxy.shown} (set in the environment for {server_of(url)})"


def asked_through(url: str, proxy: Proxy) -> str:
    """A server behind a proxy as the subject of a message."""
    return f"{server_of(url)} (asked through the proxy {proxy.shown})"


def refused_by_proxy(proxy: Proxy) -> str:
    """What 407 from a proxy means, as the rest of a sentence."""
    if proxy.has_login:
        return f"rejects the login that {proxy.variable} holds ({status_text(407)}): check user name and password in it"
    return (f"requires a login ({status_text(407)}), and {proxy.variable} holds none: write it like "
            "http://user:password@host.example.org:3128")


def is_behind_proxy(error: BaseException) -> bool:
    """Whether a proxy had connected to the server when this happened: there was TLS."""
    return any(isinstance(item, ssl.SSLError) or _IN_TLS.search(str(item)) for item in _chain(error))


def explain(error: BaseException, url: str, proxy: Optional[Proxy], timeout: float, has_ca_path: bool = False,
            behind_proxy: bool = False) -> Tuple[NetworkError, bool]:
    """What went wrong in asking `url`, through `proxy` if there is one, and whether another attempt may do better.

    A proxy that does not answer is told apart from the server behind it: nobody answers before there is TLS with the server, but the proxy.
    `behind_proxy`: an earlier attempt got that far.
    """
    chain = _chain(error)
    subject = server_of(url)
    of_proxy = proxy and any(type(item).__name__ == "ProxyError" for item in chain)
    is_late = any(isinstance(item, (socket.timeout, TimeoutError)) for item in chain)
    if proxy and (of_proxy or (is_late and not behind_proxy)):
        subject = asked_proxy(url, proxy)
    elif proxy:
        subject = asked_through(url, proxy)
    if is_late:
        return timed_out(subject, timeout), True  # in connecting, which gets only a part of the time; else there is none left
    kind, text, again = _explain_tls(chain, has_ca_path) or _explain_connection(chain, proxy)
    kind = NetworkError if proxy and (of_proxy or kind is not UntrustedError) else kind
    return kind(f"{subject} {text}"), again


_Explanation = Tuple[Callable[[str], NetworkError], str, bool]


def _explain_tls(chain: List[BaseException], has_ca_path: bool) -> Optional[_Explanation]:
    for item in chain:
        if type(item).__name__ == "CertificateError":  # from Python 3.6 or urllib3 2
            return UntrustedError, _OTHER_NAME, False
        if not isinstance(item, ssl.SSLError):
            continue
        reason = item.reason or ""
        if reason == "CERTIFICATE_VERIFY_FAILED":
            code = getattr(item, "verify_code", None)
            text = _NO_CODE if code is None else f"has a certificate that is not acceptable ({getattr(item, 'verify_message', '')}): replace it there"
            if has_ca_path and code in _MISSING_ISSUER:
                return UntrustedError, _STILL_UNKNOWN_CA, False
            if has_ca_path and code is None:
                return UntrustedError, f"{_NO_CODE}, or the server does not send the intermediate certificate between the two", False
            return UntrustedError, _CERTIFICATE.get(code or 0, text), False
        facts = reason + " " + re.sub(r"\W+", "_", str(item)).upper()  # Python 3.6 does not know OpenSSL 3's reasons, but has the text
        if isinstance(item, (ssl.SSLEOFError, ssl.SSLZeroReturnError)) or "UNEXPECTED_EOF" in facts:
            # The exception is the same after the handshake, so it does not show that nothing there speaks TLS.
            return NetworkError, f"{_CLOSED}: it requires a client certificate (client_cert), does not speak TLS, or failed; see its log", False
        if _NO_TLS.search(facts):
            return NotTlsError, "does not speak TLS: it is a plain http server, or another service uses that port; check the address", False
        for pattern, text in _TLS:
            if pattern.search(facts):
                return NetworkError, text, False
        return NetworkError, f"causes a TLS error ({reason or type(item).__name__}): check its TLS settings", False
    return None


def _has_bad_length(chain: List[BaseException]) -> bool:
    """Whether an answer, or a piece of it, announces a length that is no number, or not possible, or another one than elsewhere in it."""
    in_the_body = any(isinstance(item, http.client.IncompleteRead) for item in chain)
    if in_the_body and any(type(item) in (ValueError, OverflowError) and not str(item).endswith("b''") for item in chain):
        return True  # (b'': where the connection ends, there is no number either.)
    return type(chain[0]).__name__ == "InvalidHeader"


def _explain_connection(chain: List[BaseException], proxy: Optional[Proxy]) -> _Explanation:
    if _has_bad_length(chain):
        return NetworkError, "announces an impossible length in its answer: see its log, and that of a proxy in front of it", False
    for item in chain:
        tunnel = _TUNNEL.match(str(item.args[0])) if item.args else None
        if type(item).__name__ in ("LocationParseError", "InvalidURL") or isinstance(item, UnicodeError):
            return NetworkError, "has a host name that is not valid: correct the address", False
        if isinstance(item, socket.gaierror):
            return NetworkError, f"has a host name that cannot be resolved ({item.strerror}): check the name, and DNS on this machine", False
        if isinstance(item, ConnectionRefusedError):
            return NotTlsError, "refuses the connection: check that it is running, and the port", True
        if tunnel and proxy and tunnel.group(1) == "407":
            return NetworkError, refused_by_proxy(proxy), False
        if tunnel:
            return NetworkError, f"does not connect to it: it answers {status_text(int(tunnel.group(1)))}; check the proxy's settings", False
        if isinstance(item, (ConnectionError, http.client.RemoteDisconnected)):
            return NetworkError, f"{_CLOSED}: see its log", True
        if isinstance(item, http.client.IncompleteRead):
            return NetworkError, "broke off in the middle of its answer: see its log", True
        if isinstance(item, http.client.HTTPException):
            return NetworkError, "does not answer in HTTP: another service uses that port, or it expects https; check the address", False
        if isinstance(item, zlib.error):
            return NetworkError, "answers with content that does not match its Content-Encoding: correct that server", False
        if isinstance(item, OSError) and isinstance(item.errno, int):
            return NetworkError, f"cannot be reached ({os.strerror(item.errno)}): check the network and this machine", item.errno in _UNREACHABLE
    return NetworkError, f"cannot be asked ({type(chain[0]).__name__}): check the address", False
