# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What goes wrong in asking a server, told in words that hold no secret: the kind of error and the names of servers, never its text."""

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
_UNKNOWN_CA = "has a certificate of an authority that is not known here: give the CA's certificate as ca_path"
_OTHER_NAME = "has a certificate for another name: use the name that is in it, or correct the server"
_CERTIFICATE = {
    2: _UNKNOWN_CA, 18: _UNKNOWN_CA, 19: _UNKNOWN_CA, 20: _UNKNOWN_CA, 21: _UNKNOWN_CA, 62: _OTHER_NAME, 64: _OTHER_NAME,
    9: "has a certificate that is not valid yet: check the clock of this machine",
    10: "has a certificate that has expired: renew it there, or check the clock of this machine",
}
# Python 3.6 doesn't tell the code.
_CLOSED = "closes the connection without an answer"
_NO_CODE = "has a certificate that cannot be verified: its authority is not known here (then give ca_path), or it has expired"
# By OpenSSL's reason; the first that fits.
_NO_TLS = re.compile(r"WRONG_VERSION_NUMBER|UNKNOWN_PROTOCOL|HTTP_REQUEST|RECORD_LAYER_FAILURE|PACKET_LENGTH")
_TLS = (
    (re.compile(r"ALERT_(?:\w*CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED)"), "demands a client certificate, or refuses the one it got: check client_cert"),
    (re.compile(r"ALERT_HANDSHAKE"), "refuses the TLS handshake: it has no cipher in common with this machine, or demands a client_cert"),
    (re.compile(r"PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL"), "has no version of TLS in common with this machine"),
)


class NotTlsError(NetworkError):
    """Nothing there speaks TLS: the connection is refused, or what answers is something else. A plain http server may be there."""


class ElsewhereError(NetworkError):
    """A server redirects to where nothing was sent: to another one, or in a circle."""


class DeadlineError(NetworkError):
    """A check was not done in its time."""


def status_text(status: int) -> str:
    """A status as `404 Not Found`, in the standard's words: the server's own may hold anything."""
    return ("%d %s" % (status, http.client.responses.get(status, ""))).strip()


def server(url: str) -> str:
    """The server of a URL for messages, as `https://host:8443`: no user name, no path."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def timed_out(place: str, timeout: float) -> NetworkError:
    """The error for a server that didn't answer in `timeout` seconds."""
    return NetworkError("%s did not answer within %g second%s: check that it runs and can be reached from here, or give it more time (timeout)"
                        % (place, timeout, "" if timeout == 1 else "s"))


def _chain(error: BaseException) -> List[BaseException]:
    """An exception with all that it wraps, which urllib3 and requests do in five ways."""
    found: List[BaseException] = []
    waiting: List[object] = [error]
    while waiting:
        item = waiting.pop(0)
        if isinstance(item, BaseException) and not any(item is known for known in found):
            found.append(item)
            waiting += [item.__cause__, item.__context__, getattr(item, "reason", None), getattr(item, "original_error", None)]
            waiting += item.args
    return found


def explain(error: BaseException, url: str, proxy: str, timeout: float) -> Tuple[NetworkError, bool]:
    """What went wrong, in words that hold nothing but facts, and whether another attempt may do better. `proxy` is asked, if one is."""
    chain = _chain(error)
    subject = server(url)
    if proxy and any(type(item).__name__ == "ProxyError" for item in chain):
        subject = f"the proxy {proxy}, which the environment names for {subject},"
    elif proxy:
        subject = f"{subject}, asked through the proxy {proxy},"
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
            text = _NO_CODE if code is None else f"has a certificate that cannot be accepted ({getattr(item, 'verify_message', '')})"
            return NetworkError, _CERTIFICATE.get(code or 0, text), False
        facts = "%s %s" % (reason, re.sub(r"\W+", "_", str(item)).upper())  # Python 3.6 doesn't know OpenSSL 3's reasons, but has the text
        if isinstance(item, (ssl.SSLEOFError, ssl.SSLZeroReturnError)) or "UNEXPECTED_EOF" in facts:
            # Also after the handshake, which the exception doesn't tell: so it is no sign that nothing speaks TLS.
            return NetworkError, f"{_CLOSED}: it demands a client_cert, is no TLS server, or has a problem that its log tells", False
        if _NO_TLS.search(facts):
            return NotTlsError, "does not speak TLS: it is a plain http server, or the port is another service's", False
        for pattern, text in _TLS:
            if pattern.search(facts):
                return NetworkError, text, False
        return NetworkError, "fails in TLS (%s)" % (reason or type(item).__name__), False
    return None


def _explain_connection(chain: List[BaseException]) -> _Explanation:
    for item in chain:
        tunnel = _TUNNEL.match(str(item.args[0])) if item.args else None
        if isinstance(item, socket.gaierror):
            return NetworkError, f"has a name that cannot be resolved ({item.strerror}): check the name, and DNS on this machine", False
        if isinstance(item, ConnectionRefusedError):
            return NotTlsError, "refuses the connection: check that the server runs, and its port", True
        if tunnel:
            return NetworkError, f"does not connect: it answers {status_text(int(tunnel.group(1)))}", False
        if isinstance(item, (ConnectionError, http.client.RemoteDisconnected)):
            return NetworkError, f"{_CLOSED}: look into its log", True
        if isinstance(item, http.client.IncompleteRead):
            return NetworkError, "breaks off in the middle of its answer", True
        if isinstance(item, http.client.HTTPException):
            return NetworkError, "answers with something that is not HTTP: the port is another service's, or wants https", False
        if isinstance(item, zlib.error):
            return NetworkError, "answers with content that is not compressed as it says", False
        if isinstance(item, OSError) and isinstance(item.errno, int):
            return NetworkError, f"cannot be reached ({os.strerror(item.errno)})", item.errno in _UNREACHABLE
    return NetworkError, f"cannot be asked ({type(chain[0]).__name__})", False
