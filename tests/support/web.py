# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Small loopback web servers in threads, with TLS of a throw-away authority, that answer whatever a unit test wants, also what no server should."""

import base64
import contextlib
import datetime
import ipaddress
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._network import client as _http
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


class Request(NamedTuple):
    """What a client sent; header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]

    @property
    def authorization(self) -> str:
        return self.headers.get("authorization", "")


class Reply(NamedTuple):
    status: int = 200
    body: bytes = b""
    headers: Iterable[tuple[str, str]] = ()
    reason: str = "Whatever"

    def encoded(self) -> bytes:
        lines = [f"HTTP/1.1 {self.status} {self.reason}", *(f"{name}: {value}" for name, value in self.headers), f"Content-Length: {len(self.body)}"]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


def json_reply(value: object, status: int = 200, headers: Iterable[tuple[str, str]] = ()) -> Reply:
    return Reply(status, json.dumps(value).encode(), [("Content-Type", "application/json"), *headers])


HTML = Reply(200, b"<!DOCTYPE html><title>Welcome</title>", [("Content-Type", "text/html; charset=utf-8")])

# A Reply, or bytes to be sent as they are before the connection is closed.
Answers = Callable[[Request], "Reply | Iterable[bytes]"]


class Web:
    """A running server. `requests` are those it got, in order; `connections` is their count."""

    def __init__(self, answers: Answers, context: ssl.SSLContext | None) -> None:
        self.answers = answers
        self.requests: list[Request] = []
        self.connections = 0
        self._context = context
        self._stopping = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        self.host = f"localhost:{self.port}"
        self.url = f"{'https' if context else 'http'}://{self.host}"
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def asked(self) -> list[str]:
        """The paths that were asked for, with the scheme of the credential if there was one."""
        return [f"{request.path} {request.authorization.partition(' ')[0]}".strip() for request in self.requests]

    def stop(self) -> None:
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._listener.close()

    def pause(self, seconds: float) -> bool:
        """Wait, but not longer than the server lives. Returns whether it still does."""
        return not self._stopping.wait(seconds)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _address = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(20)
        with contextlib.suppress(OSError), connection, contextlib.ExitStack() as stack:
            stream = stack.enter_context(self._context.wrap_socket(connection, server_side=True)) if self._context else connection
            while self._answer(stream):
                pass
            if isinstance(stream, ssl.SSLSocket):
                stream.unwrap()

    def _answer(self, stream: socket.socket) -> bool:
        """Answer one request; returns whether another may follow on the connection."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            piece = stream.recv(1)
            if not piece:
                return False
            if piece == b"\x16" and not head:  # a TLS client; what real servers say to it
                stream.recv(65536)
                stream.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTPS request to an HTTP server.\n")
                return False
            head += piece
        first, *lines = head.decode("latin-1").strip().split("\r\n")
        method, path, _version = first.split(" ")
        request = Request(method, path, {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)})
        self.requests.append(request)
        answer = self.answers(request)
        if isinstance(answer, Reply):
            stream.sendall(answer.encoded())
            return True
        for piece in answer:
            stream.sendall(piece)
        return False


@contextlib.contextmanager
def serve(answers: Answers, context: ssl.SSLContext | None = None) -> Iterator[Web]:
    """A server on a free port of 127.0.0.1, by TLS if there is a `context`."""
    web = Web(answers, context)
    try:
        yield web
    finally:
        web.stop()


def routes(table: dict[str, "Reply | Callable[[Request], Reply]"]) -> Answers:
    """Answers by path (without query); 404 for all others."""

    def answers(request: Request) -> Reply:
        reply = table.get(request.path.partition("?")[0], Reply(404))
        return reply if isinstance(reply, Reply) else reply(request)

    return answers


def guarded(reply: Reply, accepted: str, challenge: str = 'Basic realm="x"', anonymous: int = 401, wrong: int = 401) -> Callable[[Request], Reply]:
    """`reply` for the Authorization header `accepted`, a refusal for others."""

    def answer(request: Request) -> Reply:
        if request.authorization == accepted:
            return reply
        return Reply(wrong if request.authorization else anonymous, headers=[("WWW-Authenticate", challenge)])

    return answer


def echo(status: int) -> Callable[[Request], Reply]:
    """An answer that says the credential in every place where a server can say something."""

    def answer(request: Request) -> Reply:
        word = request.authorization.rpartition(" ")[2]
        with contextlib.suppress(ValueError):
            word += " " + base64.b64decode(word).decode()
        location = [("Location", "/?" + word.replace(" ", "%20"))] if status in (301, 302, 307) else []
        return Reply(status, f'{{"error": "{word}", "detail": "{request.authorization}"}}'.encode(),
                     [("WWW-Authenticate", f'Bearer realm="{word}", error="{request.authorization}"'), ("Content-Type", f"text/{word}"), *location],
                     reason=request.authorization)

    return answer


def settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what of the developer's environment would change how servers are asked, and nearly all pauses between attempts."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR",
                 "NETRC"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(_http, "_PAUSES", (0.0, 0.01))


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Authority:
    """A certificate authority whose files are in `directory`; `ca` is the path of its certificate."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Tests")])
        self.ca = str(self._write("ca.pem", self._certificate(self.name, self.key.public_key(), [], is_ca=True)))

    def context(self, name: str = "localhost", days: tuple[int, int] = (-1, 30), clients: bool = False) -> ssl.SSLContext:
        """For a server with a certificate for `name`, valid for `days` from now; with `clients` it demands one of them too."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.files(name, days))
        if clients:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.ca)
        return context

    def files(self, name: str, days: tuple[int, int] = (-1, 30), password: str = "") -> tuple[str, str]:
        """The paths of a certificate for `name` and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.DNSName(name)]
        if name == "localhost":
            names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        certificate = self._certificate(subject, key.public_key(), names, days)
        encryption = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
        data = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
        stem = f"{name}{days[0]}{days[1]}{password}"
        path = self.directory / f"{stem}.key"
        path.write_bytes(data)
        return str(self._write(f"{stem}.pem", certificate)), str(path)

    def _write(self, name: str, certificate: x509.Certificate) -> Path:
        path = self.directory / name
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return path

    def _certificate(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, names: list[x509.GeneralName], days: tuple[int, int] = (-1, 30),
                     is_ca: bool = False) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        usage = x509.KeyUsage(not is_ca, False, False, False, False, is_ca, is_ca, False, False)
        builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key).serial_number(x509.random_serial_number())
                   .not_valid_before(now + datetime.timedelta(days[0])).not_valid_after(now + datetime.timedelta(days[1]))
                   .add_extension(x509.BasicConstraints(is_ca, None), critical=True).add_extension(usage, critical=True)
                   .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
                   .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False))
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, hashes.SHA256())
