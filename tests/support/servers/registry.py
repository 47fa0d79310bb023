# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""OCI registries: Docker's own, behind nginx as Harbor's and GitLab's are (its own log doesn't say which credential came)."""

import base64
import contextlib
import json
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support.servers.certificates import Certificates
from support.servers.daemons import directory, listens, run, running
from support.servers.nginx import Site, htpasswd, nginx
from support.servers.python import Answer, Asked, serve
from support.servers.recorded import Account, Request, Server, account

SERVICE, ISSUER = "registry.example.org", "tokens.example.org"


class Registry(Server):
    """A registry: its `host` as in `docker://host`, what trusts it, who may use it (`account.token` is of no use here).

    At `client_host`, the same registry also wants the certificate of a client.
    """

    def __init__(self, hosts: tuple[str, str], ca: Path, account: Account, *recorded: Any) -> None:
        super().__init__(*recorded)
        self.host, self.client_host = hosts
        self.ca = ca
        self.account = account


class TokenRegistry(Registry):
    """A registry that sends clients to a token server. With `anonymous`, that gives tokens for nothing (and good for nothing) to who
    shows no login, which name nobody, as Docker Hub's."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.anonymous = False
        self.tokens: list[Request] = []

    def forget(self) -> None:
        super().forget()
        self.anonymous = False
        self.tokens.clear()


@contextlib.contextmanager
def basic(certificates: Certificates, tls: bool = True) -> Iterator[Registry]:
    """A registry with a password; without `tls`, on 127.0.0.1."""
    user = account()
    with directory() as home:
        rule = {"htpasswd": {"realm": "registry", "path": str(htpasswd(home, user))}}
        with _registry(home, certificates, user, rule, tls) as (hosts, *recorded):
            yield Registry(hosts, certificates.ca, user, *recorded)


@contextlib.contextmanager
def unprotected(certificates: Certificates) -> Iterator[Registry]:
    """A registry that asks nobody."""
    user = account()
    with directory() as home, _registry(home, certificates, user, {}) as (hosts, *recorded):
        yield Registry(hosts, certificates.ca, user, *recorded)


@contextlib.contextmanager
def token(certificates: Certificates) -> Iterator[TokenRegistry]:
    """A registry that takes the tokens of a server of ours. `requests()` has what the registry saw, `tokens` what the token server saw."""
    user = account()
    registry: TokenRegistry | None = None

    def answer(asked: Asked) -> Answer:
        if asked.authorization == user.basic or (registry.anonymous and not asked.authorization):
            return Answer.json({"token": _signed_token(home, user.username if asked.authorization else ""), "expires_in": 60})
        detail = {"code": "UNAUTHORIZED", "message": "authentication required"}
        return Answer.json({"errors": [detail]}, 401, {"WWW-Authenticate": 'Basic realm="tokens"'})

    def record(asked: Asked, status: int) -> None:
        registry.tokens.append(Request("tokens", asked.method, asked.path, status, asked.scheme, asked.authorization == user.basic))

    with directory() as home, serve({"tokens": certificates.server}, answer, record) as ports:
        names = ("-subj", "/CN=tokens", "-days", 30, "-keyout", home / "token.key", "-out", home / "token.pem")
        run("openssl", "req", "-x509", "-nodes", "-newkey", "rsa:2048", *names)
        rule = {
            "token": {
                "realm": f"https://localhost:{ports['tokens']}/token",
                "service": SERVICE,
                "issuer": ISSUER,
                "rootcertbundle": str(home / "token.pem"),
            }
        }
        with _registry(home, certificates, user, rule) as (hosts, *recorded):
            registry = TokenRegistry(hosts, certificates.ca, user, *recorded)
            yield registry


@contextlib.contextmanager
def _registry(home: Path, certificates: Certificates, user: Account, rule: dict[str, Any], tls: bool = True) -> Iterator[tuple[Any, ...]]:
    unix = str(home / "registry.sock")
    config = home / "registry.yml"
    config.write_text(
        json.dumps(
            {
                "version": 0.1,
                "log": {"level": "warn", "accesslog": {"disabled": True}},
                "storage": {"inmemory": {}},
                "http": {"net": "unix", "addr": unix, "secret": secrets.token_hex()},
                **({"auth": rule} if rule else {}),
            }
        )
    )
    with running(["docker-registry", "serve", config], home, lambda: listens(unix)):
        proxy = f"location / {{ proxy_pass http://unix:{unix}:; }}"
        sites = {"registry": Site(proxy, tls), "client": Site(proxy, client_ca=certificates.ca)}
        with nginx(home, certificates, user, sites) as front:
            name = "localhost" if tls else "127.0.0.1"
            yield (f"{name}:{front.ports['registry']}", f"localhost:{front.ports['client']}"), front.requests, front.forget


def _signed_token(home: Path, username: str) -> str:
    """A token that the registry accepts, with no rights in it."""
    now = int(time.time())
    certificate = "".join((home / "token.pem").read_text().splitlines()[1:-1])
    header = {"typ": "JWT", "alg": "RS256", "x5c": [certificate]}
    times = {"iat": now, "nbf": now - 10, "exp": now + 60}
    claims = {"iss": ISSUER, "aud": SERVICE, "sub": username, "jti": secrets.token_hex(8), "access": [], **times}
    signed = b".".join(_base64url(json.dumps(part).encode()) for part in (header, claims))
    return b".".join([signed, _base64url(run("openssl", "dgst", "-sha256", "-sign", home / "token.key", stdin=signed))]).decode()


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
