# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What answers as a Library API service does, after recordings of Hinkskalle 4.6; and as a broken one does, in many ways."""

import contextlib
import gzip
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from support.servers.certificates import Certificates
from support.servers.python import Answer, Asked, serve
from support.servers.recorded import Account, Request, Server, account

MIB = bytes(1 << 20).replace(b"\0", b" ")
DISCOVERY = "/assets/config/config.prod.json"
SERVICES = ("discovery", "library", "token", "keystore")
USER = {"username": "alice", "email": "alice@example.org", "id": "1", "isActive": True, "isAdmin": False}


class Library(Server):
    """Endpoints, one for each scenario: `uri(scenario)` is what goes into remote.yaml. Scenarios:

    * `good`;
    * `<service>-<fault>`: all is good but for one of `SERVICES`, see `FAULTS`;
    * `document-<variant>`: all is good but for the discovery document, see `VARIANTS`.

    The sites: `https`, `http`; `elsewhere`, where redirections lead; `expired`, `soon` and `other_host`, with such certificates; `client`, for
    clients with a certificate. `delay` is how long, in seconds, the slow ones take; `most_at_once` is how many of these were waiting together.
    """

    def __init__(self, certificates: Certificates) -> None:
        super().__init__(lambda: list(self.seen), self._forget)
        self.ca: Path = certificates.ca
        self.account: Account = account()
        self.ports: Mapping[str, int] = {}
        self.seen: list[Request] = []
        self.delay = 10.0
        self.stopping = threading.Event()
        self.most_at_once = 0
        self._waiting = 0
        self._counting = threading.Lock()

    def uri(self, scenario: str, site: str = "https") -> str:
        """The URI of an endpoint, as Apptainer wants it: without a scheme."""
        return f"localhost:{self.ports[site]}/{scenario}"

    def url(self, scenario: str, service: str = "", site: str = "https") -> str:
        """The URL of an endpoint or of one of its services."""
        return f"http{'s' * (site != 'http')}://{self.uri(scenario, site)}" + (f"/{service}" if service else "")

    def of(self, scenario: str) -> list[Request]:
        """The requests for one scenario."""
        return [request for request in self.seen if request.path.startswith(f"/{scenario}/")]

    def _forget(self) -> None:
        self.seen.clear()
        self.delay = 10.0
        self.most_at_once = 0

    def wait(self) -> None:
        """Be slow."""
        with self._counting:
            self._waiting += 1
            self.most_at_once = max(self.most_at_once, self._waiting)
        self.stopping.wait(self.delay)
        with self._counting:
            self._waiting -= 1

    def record(self, asked: Asked, status: int) -> None:
        right = asked.authorization == self.account.bearer
        self.seen.append(Request(asked.site, asked.method, asked.path, status, asked.scheme, right))

    def answer(self, asked: Asked) -> Answer | None:
        _root, scenario, service, *rest = (asked.path.partition("?")[0] + "/").split("/")[:-1] + [""] * 2
        path = "/" + "/".join(part for part in (service, *rest) if part)
        good = self._good(asked, scenario, path)
        faulty, _hyphen, fault = scenario.partition("-")
        wanted = "discovery" if path == DISCOVERY else service
        if faulty != wanted or not fault:
            return good
        return _status(int(fault), asked) if fault.isdigit() else FAULTS[fault](self, asked, good)

    def _good(self, asked: Asked, scenario: str, path: str) -> Answer:
        if path == DISCOVERY:
            return Answer.json(self._document(asked.site, scenario))
        if path in ("/library/version", "/token/version", "/keystore/version"):
            return Answer.json({"data": {"apiVersion": "2.0.0-alpha.2", "version": "v1.0.0"}})
        if path == "/token/v1/token-status":
            return self._token_status(asked)
        if path == "/keystore/pks/lookup" and "op=stats" in asked.path:
            return Answer(200, b"<title>SKS OpenPGP Keyserver statistics</title>", {"Content-Type": "text/html; charset=UTF-8"})
        if path == "/keystore/pks/lookup":
            return Answer(404, b"Not found\n", {"Content-Type": "text/plain"})
        return Answer.html()

    def _token_status(self, asked: Asked) -> Answer:
        if asked.authorization == self.account.bearer:
            return Answer.json({"data": USER, "status": "welcome"})
        if asked.scheme in ("", "Bearer"):
            error = {"code": 401, "detail": "Not Authorized", "title": "401 Unauthorized"}
            return Answer.json({"errors": [error], "status": "error"}, 401)
        return _status(406, asked)

    def _document(self, site: str, scenario: str) -> Any:
        uris = {name: {"uri": self.url(scenario, name, site)} for name in SERVICES[1:]}
        document = {f"{name}API": service for name, service in uris.items()}
        document["params"] = {"default_arch": "amd64"}
        variant = scenario.removeprefix("document-")
        return VARIANTS[variant](self, scenario, document) if variant != scenario else document


@contextlib.contextmanager
def library(certificates: Certificates) -> Iterator[Library]:
    """Serve all scenarios at all sites."""
    server = Library(certificates)
    good = certificates.server
    wrong = {name: getattr(certificates, name) for name in ("expired", "soon", "other_host")}
    sites = {"https": good, "elsewhere": good, "client": good, "http": None, **wrong}
    with serve(sites, server.answer, server.record, {"client": certificates.ca}) as server.ports:
        try:
            yield server
        finally:
            server.stopping.set()


def _status(status: int, asked: Asked) -> Answer:
    """An error that repeats the credential, as Hinkskalle does for 406."""
    return Answer.json({"message": f"Cannot process {asked.authorization!r}", "status": "error"}, status)


def _redirect(site: str, scenario: str = "good") -> Callable[[Library, Asked, Answer], Answer]:
    def answer(library: Library, asked: Asked, _good: Answer) -> Answer:
        own, _slash, rest = asked.path[1:].partition("/")
        return Answer(302, b"", {"Location": library.url(scenario or own, rest, site)})

    return answer


def _once(status: int) -> Callable[[Library, Asked, Answer], Answer]:
    """An error for the first request of a kind since `forget()`."""

    def answer(library: Library, asked: Asked, good: Answer) -> Answer:
        return good if any(request.path == asked.path for request in library.seen) else _status(status, asked)

    return answer


def _slow(library: Library, asked: Asked, good: Answer) -> Answer:
    library.wait()
    return good


def _drip(library: Library, asked: Asked, good: Answer) -> Answer:
    """The right answer, but for its end: every read brings something, and the whole takes hours."""

    def body() -> Iterable[bytes]:
        while not library.stopping.wait(0.05):
            yield b" "

    return good._replace(body=body(), headers={**good.headers, "Content-Length": "100000"})


def _packed(library: Library, asked: Asked, good: Answer) -> Answer:
    return good._replace(body=gzip.compress(MIB * 64 + good.body, 1), headers={**good.headers, "Content-Encoding": "gzip"})


FAULTS: dict[str, Callable[[Library, Asked, Answer], Answer | None]] = {
    # Beside these, any status as a number: its body repeats the Authorization header.
    "502-once": _once(502),
    "reason": lambda library, asked, good: Answer(403, b"", {}, f"Forbidden for {asked.authorization}"),
    "slow": _slow,
    "drip": _drip,
    "huge": lambda library, asked, good: good._replace(body=(piece for piece in [*[MIB] * 64, good.body])),
    "packed": _packed,  # 64 MiB too, in a few KiB of gzip
    "close": lambda library, asked, good: None,
    "html": lambda library, asked, good: Answer.html(),
    "type": lambda library, asked, good: good._replace(headers={"Content-Type": "text/plain"}),
    "json": lambda library, asked, good: good._replace(body=b'{"data": {'),
    "latin1": lambda library, asked, good: good._replace(body='{"data": {"name": "\u00e9"}}'.encode("latin-1")),
    "empty": lambda library, asked, good: good._replace(body=b""),
    "shape": lambda library, asked, good: Answer.json(["welcome"]),
    "error": lambda library, asked, good: Answer.json({"errors": [{"code": 401, "detail": "Not Authorized"}], "status": "error"}),
    "redirect": _redirect("https"),  # the same host, the path of `good`
    "redirect-elsewhere": _redirect("elsewhere"),
    "redirect-http": _redirect("http"),
    "redirect-loop": _redirect("https", ""),
}

VARIANTS: dict[str, Callable[[Library, str, dict[str, Any]], Any]] = {
    "slashes": lambda library, scenario, document: json.loads(json.dumps(document).replace('"}', '/"}').replace('amd64/"', 'amd64"')),
    "http": lambda library, scenario, document: {**document, "tokenAPI": {"uri": library.url(scenario, "token", "http")}},
    "library-http": lambda library, scenario, document: {**document, "libraryAPI": {"uri": "http://127.0.0.1:15001"}},
    "loopback": lambda library, scenario, document: {**document, "libraryAPI": {"uri": "https://127.0.0.1:15001"}},
    "elsewhere": lambda library, scenario, document: {**document, "tokenAPI": {"uri": library.url(scenario, "token", "elsewhere")}},
    "no-token": lambda library, scenario, document: {name: value for name, value in document.items() if name != "tokenAPI"},
    "empty": lambda library, scenario, document: {},
    "empty-uri": lambda library, scenario, document: {**document, "tokenAPI": {"uri": ""}},
    "ftp": lambda library, scenario, document: {**document, "tokenAPI": {"uri": "ftp://localhost/token"}},
    "number": lambda library, scenario, document: {**document, "tokenAPI": {"uri": 5}},
    "flat": lambda library, scenario, document: {**document, "tokenAPI": library.url(scenario, "token")},
    "version": lambda library, scenario, document: {"version": "1", **document},  # not an object: Apptainer refuses the whole document
    "list": lambda library, scenario, document: [document],
}
