# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The connections that requests makes for us: they trust whom we say, and take no answer of which the head is cut off.

Imported by the client alone, and only where there is requests.
"""

import functools
import http.client
from typing import Any, Sequence

import requests.adapters
import urllib3.util.ssl_

from .trust import trust


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


class WholeHead(http.client.HTTPResponse):
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
            if self.fp is lines:  # not closed
                self.fp = stream
        if lines.last.strip(b"\r\n") or not lines.last.endswith(b"\n"):
            raise http.client.IncompleteRead(b"")


@functools.lru_cache(maxsize=8)
def _pool_of_whole_heads(pool: Any) -> Any:
    """A class as urllib3's pool of connections, for answers as above."""
    connection = type("Connection", (pool.ConnectionCls,), {"response_class": WholeHead})
    return type("Pool", (pool,), {"ConnectionCls": connection})


def _with_whole_heads(manager: Any) -> Any:
    manager.pool_classes_by_scheme = {scheme: _pool_of_whole_heads(pool) for scheme, pool in manager.pool_classes_by_scheme.items()}
    return manager


class Adapter(requests.adapters.HTTPAdapter):
    """As that of requests, but for the answers; and for the certificates if there are `authorities`, in PEM: then no others are trusted."""

    def __init__(self, authorities: Sequence[str] = ()) -> None:
        self._context = None
        if authorities:
            self._context = urllib3.util.ssl_.create_urllib3_context()
            trust(self._context, authorities)
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """What makes connections to servers."""
        super().init_poolmanager(*args, **self._with_context(options))
        _with_whole_heads(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        """What makes those through a proxy."""
        known = len(self.proxy_manager)
        manager = super().proxy_manager_for(*args, **self._with_context(options))
        return _with_whole_heads(manager) if len(self.proxy_manager) > known else manager

    def _with_context(self, options: Any) -> Any:
        return dict(options, ssl_context=self._context) if self._context else options

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Leave the authorities to the context."""
        super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]
        if self._context:
            conn.ca_certs = conn.ca_cert_dir = None
