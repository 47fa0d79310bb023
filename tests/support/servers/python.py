# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HTTP servers in this process, for what no program offers: they can be as wrong as a test wants."""

import contextlib
import json
import os
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from support.servers.certificates import Pair


class Asked(NamedTuple):
    """A request, at one of the sites."""

    site: str
    method: str
    path: str
    authorization: str

    @property
    def scheme(self) -> str:
        """The scheme of the credential, `""` without one, and `"?"` where there is only a credential."""
        first, space, _secret = self.authorization.partition(" ")
        return first if space else "?" * bool(first)


class Answer(NamedTuple):
    """What is sent back. A `body` in several pieces has no announced length, unless `headers` have one."""

    status: int
    body: bytes | Iterable[bytes]
    headers: Mapping[str, str]
    reason: str | None = None

    @classmethod
    def json(cls, value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> "Answer":
        return cls(status, json.dumps(value).encode(), {"Content-Type": "application/json; charset=utf-8", **(headers or {})})

    @classmethod
    def html(cls, status: int = 200) -> "Answer":
        return cls(status, b"<!DOCTYPE html><title>Welcome</title><p>There is an application here.", {"Content-Type": "text/html; charset=utf-8"})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    def _reply(self) -> None:
        asked = Asked(self.server.site, self.command, self.path, self.headers.get("Authorization") or "")
        answer = self.server.answer(asked)
        self.server.record(asked, answer.status if answer else 0)
        if answer is None:
            self.close_connection = True
            return
        self.send_response(answer.status, answer.reason)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        pieces = [answer.body] if isinstance(answer.body, bytes) else answer.body
        if isinstance(answer.body, bytes):
            self.send_header("Content-Length", str(len(answer.body)))
        elif "Content-Length" not in answer.headers:
            self.send_header("Connection", "close")
        self.end_headers()
        for piece in pieces:
            self.wfile.write(piece)

    do_GET = do_POST = do_PUT = do_DELETE = _reply  # noqa: N815

    def do_HEAD(self) -> None:
        self.send_error(405)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        """Say nothing: what is asked is recorded."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, site: str, context: ssl.SSLContext | None, answer: Any, record: Any) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.site = site
        self.context = context
        self.answer = answer
        self.record = record

    def get_request(self) -> Any:
        connection, address = super().get_request()
        if self.context is not None:
            # The handshake comes with the first read, in the thread of the connection.
            connection = self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, ssl.SSLError):
            # Take what the client still sends: were it left unread, our alert, which tells why, could get lost.
            with contextlib.suppress(OSError):
                request.setblocking(True)
                request.shutdown(socket.SHUT_WR)
                while os.read(request.fileno(), 1 << 16):
                    pass
        elif not isinstance(error, OSError):  # a client that has enough of it is no error
            super().handle_error(request, client_address)


@contextlib.contextmanager
def serve(
    sites: Mapping[str, Pair | None],
    answer: Callable[[Asked], Answer | None],
    record: Callable[[Asked, int], None],
    client_cas: Mapping[str, Any] | None = None,
) -> Iterator[dict[str, int]]:
    """Serve at all sites, each with its certificate or without TLS; gives their ports. An `answer` of None closes the connection without one.

    Clients of the sites in `client_cas` must show a certificate of that authority. What was answered is recorded before it is sent.
    """
    with contextlib.ExitStack() as stack:
        ports = {}
        for site, pair in sites.items():
            context = None
            if pair is not None:
                context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
                context.load_cert_chain(*pair)
                if client_cas and site in client_cas:
                    context.verify_mode = ssl.CERT_REQUIRED
                    context.load_verify_locations(client_cas[site])
            server = _Server(site, context, answer, record)
            stack.callback(server.server_close)
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
            stack.callback(server.shutdown)
            ports[site] = server.server_port
        yield ports
