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
from typing import Callable, List, Optional, Tuple
from urllib.parse import urlsplit

from .._errors import NetworkError

_UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN)
_TUNNEL = re.compile(r"Tunnel connection failed: ([0-9]{3})\b")

# By the verify code of OpenSSL (x509_vfy.h).
_UNKNOWN_CA = "has a certificate from an authority that is not trusted here: set ca_path to the CA's certificate"
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


class NotTlsError(NetworkError):
    """Nothing there speaks TLS: the connection is refused, or something else answers. It may be a plain http server."""


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
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


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


def explain(error: BaseException, url: str, proxy: str, timeout: float) -> Tuple[NetworkError, bool]:
    """What went wrong in asking `url`, through `proxy` if there is one, and whether another attempt may do better."""
    chain = _chain(error)
    subject = server_of(url)
    if proxy and any(type(item).__name__ == "ProxyError" for item in chain):
        subject = f"the proxy {proxy} (set in the environment for {subject})"
    elif proxy:
        subject = f"{subject} (asked through the proxy {proxy})"
    if any(isinstance(item, (socket.timeout, TimeoutError)) for item in chain):
        return timed_out(subject, timeout), True  # in connecting, which gets only a part of the time; else there is none left
    kind, text, again = _explain_tls(chain) or _explain_connection(chain)
    return (NetworkError if proxy else kind)(f"{subject} {text}"), again


_Explanation = Tuple[Callable[[str], NetworkError], str, bool]


def _explain_tls(chain: List[BaseException]) -> Optional[_Explanation]:
    for item in chain:
        if type(item).__name__ == "CertificateError":  # from Python 3.6 or urllib3 2
            return NetworkError, _OTHER_NAME, False
        if not isinstance(item, ssl.SSLError):
            continue
        reason = item.reason or ""
        if reason == "CERTIFICATE_VERIFY_FAILED":
            code = getattr(item, "verify_code", None)
            text = _NO_CODE if code is None else f"has a certificate that is not acceptable ({getattr(item, 'verify_message', '')}): replace it there"
            return NetworkError, _CERTIFICATE.get(code or 0, text), False
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


def _explain_connection(chain: List[BaseException]) -> _Explanation:
    for item in chain:
        tunnel = _TUNNEL.match(str(item.args[0])) if item.args else None
        if isinstance(item, socket.gaierror):
            return NetworkError, f"has a host name that cannot be resolved ({item.strerror}): check the name, and DNS on this machine", False
        if isinstance(item, ConnectionRefusedError):
            return NotTlsError, "refuses the connection: check that it is running, and the port", True
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
