# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""When the certificates of servers expire, also of those that are not accepted. Python's ssl decodes only those that it accepts."""

import calendar
import contextlib
import datetime
import functools
import re
from typing import List, NamedTuple, Optional, Tuple

from .._errors import NetworkError
from .client import Client, KnownResponses, Response
from .errors import NotTlsError, UntrustedError
from .http_options import HttpOptions
from .parallel import ask_all

_SEQUENCE, _VERSION, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0xA0, 0x17, 0x18
_NOT_SHOWN = "its certificate is not known: the connection did not show it"
_UNREADABLE = "it shows a certificate whose dates cannot be read: replace it there"

_Server = Tuple[str, int]


class ServerCertificate(NamedTuple):
    """The certificate of one server, at `address` (`https://host:8443`).

    `expires` is in seconds since 1970, None if it is not known. `trusted` is None if it was not validated. `reason` says why the certificate is not
    trusted, or why it is not known; otherwise it is empty.
    """

    address: str
    expires: Optional[int]
    trusted: Optional[bool]
    reason: str


def server_certificates(known: KnownResponses, options: HttpOptions) -> List[ServerCertificate]:
    """The certificates of all servers that were asked by https, each server once, in the order of their addresses.

    They were noted while the servers were asked. A server whose certificate was not accepted is asked once more, without validation, for nothing and
    without a credential. Servers that only answer plain http are left out.
    """
    asked, shown = dict(known.over_tls), dict(known.certificates)
    again, hidden = KnownResponses(), [server for server, problem in asked.items() if isinstance(problem, UntrustedError) and server not in shown]
    ask_all([functools.partial(_ask_for_nothing, server) for server in hidden], options, again)
    shown.update((server, certificate) for server, certificate in again.certificates.items() if server in hidden)
    return [_certificate(server, problem, shown.get(server), server in known.validated)
            for server, problem in sorted(asked.items(), key=lambda item: item[0]) if not _is_plain(server, problem, known)]


def _ask_for_nothing(server: _Server, client: Client) -> None:
    with contextlib.suppress(NetworkError):
        client.get(f"{_address(server)}/", validate_certs=False, same_server=True)


def _certificate(server: _Server, problem: Optional[NetworkError], shown: Optional[bytes], validated: bool) -> ServerCertificate:
    address = _address(server)
    trusted = False if isinstance(problem, UntrustedError) else True if validated else None
    reason = str(problem) if problem is not None and (trusted is False or not shown) else "" if shown else _NOT_SHOWN
    if reason.startswith(f"{address} "):  # which is said already
        reason = f"it{reason[len(address):]}"
    expires = None
    if shown:
        try:
            expires = expiry(shown)
        except ValueError:
            reason = reason or _UNREADABLE
    return ServerCertificate(address, expires, trusted, reason)


def _is_plain(server: _Server, problem: Optional[NetworkError], known: KnownResponses) -> bool:
    """Whether a server does not speak TLS, but answers plain http, as some registries do."""
    start = _address(server).replace("https:", "http:", 1) + "/"
    answered = [question[0].lower() for question, (outcome, _reached) in list(known.items()) if isinstance(outcome, Response)]
    return isinstance(problem, NotTlsError) and any(url.startswith(start) for url in answered)


def _address(server: _Server) -> str:
    host, port = server
    return f"https://{f'[{host}]' if ':' in host else host}{'' if port == 443 else f':{port}'}"


def expiry(certificate: bytes) -> int:
    """The last second in which a certificate (X.509, in DER) is valid, in seconds since 1970. Raises ValueError if it is none.

    Source: RFC 5280, section 4.1: `Certificate`, `TBSCertificate`, `Validity` and the two forms of time.
    """
    _tag, content, _rest = _element(certificate)
    _tag, signed, _rest = _element(content)
    tag, _version, rest = _element(signed)
    fields = rest if tag == _VERSION else signed
    for _field in ("serial number", "signature", "issuer"):
        _tag, _content, fields = _element(fields)
    tag, validity, _rest = _element(fields)
    if tag != _SEQUENCE:
        raise ValueError("no validity")
    _tag, _from, rest = _element(validity)
    tag, until, _rest = _element(rest)
    return _seconds(tag, until.decode("ascii"))


def _element(data: bytes) -> Tuple[int, bytes, bytes]:
    """The tag and the content of the first element in DER, and what follows it. Raises ValueError if it is not whole."""
    if len(data) < 2:
        raise ValueError("cut off")
    length, start = data[1], 2
    if length >= 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[2:start], "big")
    if len(data) < start + length:
        raise ValueError("cut off")
    return data[0], data[start:start + length], data[start + length:]


def _seconds(tag: int, text: str) -> int:
    match = re.match(r"([0-9]{2}|[0-9]{4})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})Z\Z", text)
    if not match or len(match.group(1)) != {_UTC_TIME: 2, _GENERALIZED_TIME: 4}.get(tag):
        raise ValueError("no time")
    year, month, day, hour, minute, second = map(int, match.groups())
    if tag == _UTC_TIME:
        year += 1900 if year >= 50 else 2000
    return calendar.timegm(datetime.datetime(year, month, day, hour, minute, second).timetuple())
