# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The connections that requests makes for us: they trust whom we say, note certificates, and take no answer of which the head is cut off.

Used by the client alone, and only where there is requests.
"""

import http.client
from typing import Any, Callable, Dict, Sequence, Tuple

from .trust import trust

try:
    import urllib3.util.ssl_
    from requests.adapters import HTTPAdapter
except ImportError:  # the client says so
    HTTPAdapter = object  # type: ignore[assignment,misc]


class _Lines:
    """A stream that remembers the last line that was read from it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.last = b""

    def readline(self, *limit: int) -> bytes:
        """As that of the stream."""
        self.last = self._stream.readline(*limit)
        return self.last

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _WholeHead(http.client.HTTPResponse):
    """An answer whose head must end in an empty line: http.client takes the end of the connection for one.

    So a challenge or an address could be cut short, and a status alone be a proof.
    """

    def begin(self) -> None:
        """Read the head. Raises IncompleteRead if it has no end."""
        stream: Any = self.fp
        lines: Any = _Lines(stream)
        self.fp = lines
        try:
            super().begin()
        finally:
            self.fp = self.fp and stream  # it is None once it is closed
        if lines.last.strip(b"\r\n") or not lines.last.endswith(b"\n"):
            raise http.client.IncompleteRead(b"")


Certificates = Dict[Tuple[str, int], bytes]
"""The certificates that servers showed, in DER, by host name (in lower case, of IPv6 without brackets) and port."""


def _connect_and_note(connection_class: Any, certificates: Certificates) -> Callable[[Any], None]:
    """The method `connect()` for a class of connections, which also notes the server's certificate. Plain http has none."""

    def connect(self: Any) -> None:
        connection_class.connect(self)
        certificate = self.sock.getpeercert(True) if hasattr(self.sock, "getpeercert") else None
        if certificate:
            host, port = (self._tunnel_host, self._tunnel_port) if self._tunnel_host else (self.host, self.port)
            certificates[host.strip("[]").lower(), port or http.client.HTTPS_PORT] = certificate

    return connect


def _with_our_connections(manager: Any, certificates: Certificates) -> Any:
    """A pool manager of urllib3 whose answers are whole, as above, and whose connections note certificates."""
    pools = {}
    for scheme, pool in manager.pool_classes_by_scheme.items():
        connect = _connect_and_note(pool.ConnectionCls, certificates)
        connection = type("Connection", (pool.ConnectionCls,), {"response_class": _WholeHead, "connect": connect})
        pools[scheme] = type("Pool", (pool,), {"ConnectionCls": connection})
    manager.pool_classes_by_scheme = pools
    return manager


class Adapter(HTTPAdapter):
    """As that of requests, but for the answers, and for certificates.

    If there are `authorities`, in PEM, no others are trusted. `certificates` are noted there.
    """

    def __init__(self, certificates: Certificates, authorities: Sequence[str] = ()) -> None:
        self._certificates = certificates
        self._context = None
        if authorities:
            self._context = urllib3.util.ssl_.create_urllib3_context()
            trust(self._context, authorities)
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """What makes connections to servers."""
        super().init_poolmanager(*args, **self._with_context(options))
        _with_our_connections(self.poolmanager, self._certificates)

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        """What makes those through a proxy."""
        known = len(self.proxy_manager)
        manager = super().proxy_manager_for(*args, **self._with_context(options))
        return _with_our_connections(manager, self._certificates) if len(self.proxy_manager) > known else manager

    def _with_context(self, options: Any) -> Any:
        return dict(options, ssl_context=self._context) if self._context else options

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Leave the authorities to the context."""
        super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]
        if self._context:
            conn.ca_certs = conn.ca_cert_dir = None
