# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers that answer what they must not, in a network namespace that leads nowhere: loopback has the addresses that a realm may name.

A module that asks them ends in time and without a traceback, believes nothing, writes nothing, says it in a few words, and shows its secret to
nobody. Run as a script, this is what runs in the namespace.
"""

import concurrent.futures
import contextlib
import gzip
import itertools
import json
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from support import envs, forked, leaks, patience, processes

from attack.faults import Count, Failure
from attack.scenarios import PASSWORD, TOKEN

TIMEOUT = 2  # seconds for each question; more on a busy machine
LINK_LOCAL, OTHER = "169.254.169.254", "127.0.0.2"
INTEGERS = ("2852039166", "2130706434", "0x7f000002", "0251.0376.0251.0376")
FORMS = leaks.forms("alice", PASSWORD) | leaks.forms("", TOKEN)

Answer = bytes | Callable[[socket.socket, bytes], None]


def _http(status: int | str, body: bytes = b"", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "Connection: close", "", ""]).encode("latin-1") + body


def _json(text: str, status: int = 200) -> bytes:
    return _http(status, text.encode("utf-8", "surrogatepass"), Content_Type="application/json")


def _slowly(head: bytes, piece: bytes, pause: float) -> Callable[[socket.socket, bytes], None]:
    def answer(connection: socket.socket, _request: bytes) -> None:
        connection.sendall(head)
        with contextlib.suppress(OSError):
            for _piece in range(1000000):
                connection.sendall(piece)
                time.sleep(pause)

    return answer


def _echo(wrap: Callable[[str], bytes]) -> Callable[[socket.socket, bytes], None]:
    """Sends back, in some place, the credential that it was sent; else it asks for one."""

    def answer(connection: socket.socket, request: bytes) -> None:
        sent = re.search(rb"(?i)^authorization: *\w+ +(\S+)", request, re.MULTILINE)
        connection.sendall(wrap(sent[1].decode("latin-1")) if sent else _http(401, WWW_Authenticate='Basic realm="r"'))

    return answer


def _realm_here(then: Answer) -> Callable[[socket.socket, bytes], None]:
    """A registry with a token service at an address of 50,000 characters, which answers so."""

    def answer(connection: socket.socket, request: bytes) -> None:
        host = re.search(rb"(?i)^host: *(\S+)", request, re.MULTILINE)
        if request.startswith(b"GET /v2/ ") and host:
            connection.sendall(_http(401, WWW_Authenticate=f'Bearer realm="http://{host[1].decode()}/{"x" * 50000}"'))
        elif isinstance(then, bytes):
            connection.sendall(then)

    return answer


def _with_a_wrong_body(head: str, body: bytes) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{head}\r\n\r\n".encode() + body


CHUNKED = "Transfer-Encoding: chunked"
PLAIN: Mapping[str, Answer] = {
    "closes": b"",
    "a status line without an end": b"HTTP/1.1 200 OK",
    "a head without an end": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.2p1\r\n",
    "no head": b'{"libraryAPI": {"uri": "https://library.example.org"}}',
    "random bytes": bytes(range(256)) * 16,
    "NULs": b"\0" * 100000,
    "a status in words": b"HTTP/1.1 OK Fine\r\n\r\n",
    "status 0": _http(0),
    "status 99": _http(99),
    "status 1000": _http(1000),
    "a status of 5,000 digits": _http("9" * 5000),
    "status 100 for ever": b"HTTP/1.1 100 Continue\r\n\r\n" * 10000,
    "status 101": _http(101, Upgrade="websocket", Connection="Upgrade"),
    "status 204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "status 304": b"HTTP/1.1 304 Not Modified\r\n\r\n",
    "status 429": _http(429, Retry_After="9" * 5000),
    "status 500": _http(500, b"x" * 100000),
    "a reason of 60,000 characters": b"HTTP/1.1 500 " + b"x" * 60000 + b"\r\n\r\n",
    "a length below 0": _with_a_wrong_body("Content-Length: -1", b"{}"),
    "a length of 5,000 digits": _with_a_wrong_body("Content-Length: " + "9" * 5000, b"{}"),
    "a length in words": _with_a_wrong_body("Content-Length: many", b"{}"),
    "more length than body": _with_a_wrong_body("Content-Length: 1000", b"{}"),
    "a bad chunk size": _with_a_wrong_body(CHUNKED, b"zz\r\n{}\r\n0\r\n\r\n"),
    "a chunk size below 0": _with_a_wrong_body(CHUNKED, b"-5\r\n{}\r\n0\r\n\r\n"),
    "a chunk size of 5,000 digits": _with_a_wrong_body(CHUNKED, b"f" * 5000 + b"\r\n{}\r\n0\r\n\r\n"),
    "no last chunk": _with_a_wrong_body(CHUNKED, b"2\r\n{}\r\n"),
    "half a chunk": _with_a_wrong_body(CHUNKED, b"ffff\r\n{}"),
    "not gzip": _with_a_wrong_body("Content-Encoding: gzip", b"{}"),
    "half of gzip": _with_a_wrong_body("Content-Encoding: gzip", gzip.compress(b"{}" * 1000)[:20]),
    "a gzip bomb": _with_a_wrong_body("Content-Encoding: gzip", gzip.compress(bytes(300_000_000), 1)),
    "an unknown encoding": _with_a_wrong_body("Content-Encoding: rot13", b"{}"),
    "10,000 headers": b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(10000)) + b"\r\n{}",
    "a header of a megabyte": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1000000 + b"\r\n\r\n{}",
    "headers that are none": b"HTTP/1.1 200 OK\r\n:\r\n\0: \xff\r\n no\r\n\r\n{}",
    "nothing": _http(200),
    "a web page": _http(200, b"<!DOCTYPE html><html>welcome</html>", Content_Type="text/html"),
    "JSON: null": _json("null"),
    "JSON: an array": _json("[]"),
    "JSON: an object": _json("{}"),
    "JSON: text": _json('"token"'),
    "JSON: NaN": _json('{"token": NaN}'),
    "JSON: a number of 5,000 digits": _json('{"status": ' + "9" * 5000 + ', "token": ' + "9" * 5000 + "}"),
    "JSON: 100,000 deep": _json("[" * 100000),
    "JSON: objects, 100,000 deep": _json('{"a":' * 100000),
    "JSON: a lone surrogate": _json('{"token": "\\ud800", "\\udfff": {"uri": "\\ud800"}}'),
    "JSON: UTF-16": _http(200, "{}".encode("utf-16"), Content_Type="application/json"),
    "JSON: a megabyte of keys": _json("{" + ",".join(f'"k{number}": {{"uri": "https://h/"}}' for number in range(35000)) + "}"),
    "services of 0.9 MB": _json('{"libraryAPI": {"uri": "https://' + "x" * 900000 + '"}, "tokenAPI": {"uri": "https://' + "y" * 90000 + '"}}'),
    "services that are no web addresses": _json(json.dumps({f"{name}API": {"uri": uri} for name, uri in zip(
        ("library", "token", "keystore", "builder"), ("file:///etc/passwd", "", "gopher://x", "https://[::1"), strict=True)})),
    "services of the wrong kind": _json('{"libraryAPI": 1, "tokenAPI": {"uri": {"uri": []}}, "keystoreAPI": [{}], "": null}'),
    "401 without a challenge": _http(401),
    "a challenge of 60,000 characters": _http(401, WWW_Authenticate="Basic " + "x" * 60000),
    "a realm of 60,000 characters": _http(401, WWW_Authenticate='Bearer realm="http://localhost/' + "x" * 60000 + '"'),
    "10,000 challenges": _http(401, WWW_Authenticate=", ".join(f'New{number} realm="x"' for number in range(7000))),
    "a challenge of quotes": _http(401, WWW_Authenticate='Bearer realm="' + '\\"' * 20000),
    "a challenge of another kind": _http(401, WWW_Authenticate="Negotiate"),
    "a redirect without an address": _http(302),
    "a redirect of 60,000 characters": _http(302, Location="/" + "x" * 60000),
    "a redirect to a control character": _http(302, Location="/\t\x0b\x7f"),
    "the credential in the body": _echo(lambda sent: _http(500, f'{{"errors": [{{"detail": "{sent}"}}], "message": "{sent}"}}'.encode())),
    "the credential in the reason": _echo(lambda sent: f"HTTP/1.1 500 {sent}\r\n\r\n".encode("latin-1")),
    "the credential in a status line that is none": _echo(lambda sent: f"{sent}\r\n\r\n".encode("latin-1")),
    "the credential in a realm": _echo(lambda sent: _http(401, WWW_Authenticate=f'Bearer realm="https://{sent}.example.org/{sent}"')),
    "the credential in a redirect": _echo(lambda sent: _http(302, Location=f"https://{sent}.example.org/{sent}")),
    "the credential in the content type": _echo(lambda sent: _http(200, b"{}", Content_Type=sent)),
    "the credential in a service": _echo(lambda sent: _json(json.dumps({"libraryAPI": {"uri": f"https://{sent}"}, sent: {"uri": sent}}))),
    "silence": _slowly(b"", b"", 1),
    "a slow head": _slowly(b"", b"H", 0.5),
    "endless headers": _slowly(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 1000, 0.01),
    "a slow body": _slowly(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", b" ", 0.5),
    "an endless body": _slowly(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", b" " * 65536, 0),
    "endless chunks": _slowly(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n", 0.001),
}
_PLACES = (LINK_LOCAL, *INTEGERS, f"[::ffff:{LINK_LOCAL}]", "[fe80::1]", f"alice:x@{LINK_LOCAL}", f"{LINK_LOCAL}.", "metadata")
REALMS: Mapping[str, Answer] = {
    **{f"a realm at {place}": _http(401, WWW_Authenticate=f'Bearer realm="http://{place}/token",service="r"') for place in _PLACES},
    **{f"a realm {realm[:20]!r}": _http(401, WWW_Authenticate=f'Bearer realm="{realm}"')
       for realm in ("", "/token", "file:///etc/passwd", "http://", "http:///x", "http://[::1", "http://127.0.0.2:99999/", "https://\x7f\t",
                     "javascript:x")},
}
REDIRECTS: Mapping[str, Answer] = {
    f"a redirect to {place}": _http(302, Location=f"{scheme}//{place}/v2/")
    for scheme, place in itertools.product(("http:", ""), (OTHER, LINK_LOCAL, INTEGERS[1]))
} | {"a redirect to a file": _http(302, Location="file:///etc/passwd")}
REALMS_HERE: Mapping[str, Answer] = {
    "a token service with a long address: 404": _realm_here(_http(404)),
    "a token service with a long address: 500": _realm_here(_http(500)),
    "a token service with a long address: a web page": _realm_here(PLAIN["a web page"]),
    "a token service with a long address: a list": _realm_here(PLAIN["JSON: an array"]),
    "a token service with a long address: a bad chunk size": _realm_here(PLAIN["a bad chunk size"]),
}
# Who refuses everybody without a login, and takes this one, may be believed, whatever the text.
BELIEVED = {kind: {"the credential in a service", "the credential in the content type"} for kind in ("registry", "keyserver")}


def _asked(kind: str, port: int) -> tuple[str, dict[str, Any]]:
    timeout = patience.seconds(TIMEOUT)
    login = {"username": "alice", "password": PASSWORD, "timeout": timeout}
    if kind.startswith("registry"):
        return "apptainer_registry_login", {"uri": f"docker://127.0.0.1:{port}", "insecure": kind != "registry", **login}
    if kind == "keyserver":
        return "apptainer_keyserver_login", {"uri": f"http://127.0.0.1:{port}", **login}
    more = {"services": ["library"]} if kind == "services" else {"token": TOKEN}
    return "apptainer_remote", {"name": "site", "uri": f"http://127.0.0.1:{port}", "insecure": True, "timeout": timeout, **more}


class Server:
    """Answers every request in the same way, and remembers them. It does not speak TLS, as an http server does not."""

    def __init__(self, answer: Answer, address: str = "127.0.0.1", port: int = 0) -> None:
        self._answer = answer
        self.requests: list[bytes] = []
        self._listener = socket.create_server((address, port), backlog=50)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _address = self._listener.accept()
                threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(30)
            request = connection.recv(65536)
            if request[:1] == b"\x16":
                connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")
                return
            self.requests.append(request)
            if callable(self._answer):
                self._answer(connection, request)
            else:
                connection.sendall(self._answer)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(65536)

    def close(self) -> None:
        self._listener.close()


def _run(kind: str, name: str, answer: Answer, place: Path) -> list[str]:
    """Ask such a server; what was wrong."""
    server = Server(answer)
    home = place / re.sub(r"\W+", "-", f"{kind}-{name}")[:100]
    module, args = _asked(kind, server.port)
    stdin = processes.input_of(module, {**args, "sysconfdir": str(home / "etc")}, check=False, diff=True, home=home)
    hangs = 20 * args["timeout"] + 30
    modlib, env = envs.core("running") / "modlib", processes.clean_env(home)
    try:
        done = forked.run(Path(sys.executable), modlib, processes.MODULES + module, stdin=stdin, env=env, cwd=home, timeout=hangs)
    except TimeoutError:
        wrong = [f"does not end within {hangs} seconds"]
        print(f"{kind}: {name}: {wrong}", file=sys.stderr, flush=True)
        return wrong
    finally:
        server.close()
    run, wrong = processes.finished(done), []
    message = run.result.get("msg", "") if run.result else ""
    if not server.requests:
        wrong.append(f"was never asked: {message}")
    if run.result is None or "exception" in run.result or run.stderr or "Traceback" in run.stdout:
        wrong.append(f"no result, or more than a result: {(run.stderr or run.stdout)[-300:]}")
    if len(run.stdout) > 20000 or len(message) > 1500:
        wrong.append(f"a result of {len(run.stdout)} characters, with a message of {len(message)}")
    if leaks.leaked([run.stdout, run.stderr], FORMS):
        wrong.append("a secret is in the output")
    if run.result and run.result.get("verified") and name not in BELIEVED.get(kind, ()):
        wrong.append("believes it")
    if run.rc and (list(home.rglob("remote.yaml")) or list(home.rglob("docker-config.json"))):
        wrong.append("fails, but has written something")
    shutil.rmtree(home)
    print(f"{kind}: {name}: {wrong or 'as it must be'}", file=sys.stderr, flush=True)
    return wrong


def _attack(place: Path) -> Count:
    """All that is above, here: only for a network namespace of its own."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["ip", "address", "add", f"{LINK_LOCAL}/32", "dev", "lo"], check=True)
    thieves = {address: Server(_json('{"token": "t0ken"}'), address, 80) for address in (LINK_LOCAL, OTHER)}
    answers = {**PLAIN, **REDIRECTS}
    cases = [(kind, name, answer) for kind in ("registry", "keyserver", "endpoint", "services") for name, answer in answers.items()]
    cases += [(kind, name, answer) for kind in ("registry", "registry, insecure") for name, answer in {**REALMS, **REALMS_HERE}.items()]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        seen = list(pool.map(lambda case: _run(*case, place), cases))
    failures = [Failure(kind, name, what) for (kind, name, _answer), found in zip(cases, seen, strict=True) for what in found]
    for address, thief in thieves.items():
        stolen = leaks.leaked([request.decode("latin-1") for request in thief.requests], FORMS)
        failures += [Failure("all", address, f"was sent a secret: {text.splitlines()[0]}") for text in stolen]
    return Count(len(cases), len({(name, *found) for (_kind, name, _answer), found in zip(cases, seen, strict=True)}), failures)


def hostile(place: Path) -> Count | str:
    """Run all that in a network namespace, or say why there can be none."""
    isolated = ["unshare", "--net", "--map-root-user"]
    for program in ("unshare", "ip"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    probe = processes.run(*isolated, "ip", "link", "set", "lo", "up", env=processes.clean_env(place))
    if probe.returncode:
        return f"no network namespace: {probe.stderr.strip()}"
    env = processes.clean_env(place, {"PYTHONPATH": f"{envs.ROOT}/tests:{envs.ROOT}/.collections"})
    done = processes.run(*isolated, sys.executable, "-m", "attack.hostile", place, env=env)
    if done.returncode:
        raise RuntimeError(done.stderr)
    cases, states, failures = json.loads(done.stdout)
    return Count(cases, states, [Failure(*failure) for failure in failures])


def _lines(count: Count) -> Iterator[str]:
    yield json.dumps([count.cases, count.states, count.failures])


if __name__ == "__main__":
    print(*_lines(_attack(Path(sys.argv[1]))))
