# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Nginx in front of another server: TLS, passwords, and a log of what was asked with which credential."""

import contextlib
import json
import os
import re
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from support.servers.certificates import Certificates
from support.servers.daemons import run, running
from support.servers.recorded import Account, Request

CONFIG = """
{user}
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr crit;
events {{ worker_connections 200; }}
http {{
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    types {{ text/html html; }}
    ssl_certificate {server.certificate};
    ssl_certificate_key {server.key};
    ssl_protocols TLSv1.2 TLSv1.3;
    map_hash_bucket_size 1024;
    map $http_authorization $credential {{
        "" "";
        "~^(?<word>[A-Za-z]+) " $word;
        default "?";
    }}
    map $http_authorization $right {{
        "~^{basic}$" basic;
        "~^{bearer}$" bearer;
        default "";
    }}
    log_format seen escape=json
        '{{"site":"$server_name","method":"$request_method","path":"$request_uri","status":$status,"scheme":"$credential","right":"$right"}}';
    access_log seen.log seen;
    proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-Proto $scheme;
    {servers}
}}
"""
MARKER = "marker"


class Site(NamedTuple):
    """One port. `config` is what nginx does there; it may ask for `$right` to be `basic` or `bearer`.

    With `client_ca`, clients without a certificate of that authority get an answer, as nginx does: 400.
    """

    config: str
    tls: bool = True
    client_ca: Path | None = None

    def server(self, name: str, port: int) -> str:
        """The whole server block."""
        client = f"ssl_verify_client on; ssl_client_certificate {self.client_ca};" if self.client_ca else ""
        return f"server {{ listen 127.0.0.1:{port}{' ssl' * self.tls}; server_name {name}; {client}\n{self.config}\n}}"


class Front:
    """A running nginx: the `ports` of its sites, and what it saw."""

    def __init__(self, ports: Mapping[str, int], log: Path) -> None:
        self.ports = ports
        self._log = log
        self._begin = 0

    def requests(self) -> list[Request]:
        self._settle()
        seen = [json.loads(line) for line in self._log.read_bytes()[self._begin :].splitlines()]
        return [Request(**{**entry, "right": bool(entry["right"])}) for entry in seen if entry["site"] != MARKER]

    def forget(self) -> None:
        self._settle()
        self._begin = self._log.stat().st_size

    def _settle(self) -> None:
        """Wait until all that was answered is in the log: the only worker logs in order, so a request of ours comes last."""
        before = self._log.stat().st_size
        with socket.create_connection(("127.0.0.1", self.ports[MARKER]), timeout=300) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            while client.recv(1000):
                pass
        while f'{{"site":"{MARKER}"'.encode() not in self._log.read_bytes()[before:]:
            time.sleep(0.001)


@contextlib.contextmanager
def nginx(home: Path, certificates: Certificates, account: Account, sites: Mapping[str, Site]) -> Iterator[Front]:
    """Run it. The ports are open before it starts, and handed to it as to a new version of itself: nothing can take them in between."""
    sites = {**sites, MARKER: Site("location / { return 204; }", tls=False)}
    with contextlib.ExitStack() as stack:
        listening = {name: stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=511)) for name in sites}
        ports = {name: server.getsockname()[1] for name, server in listening.items()}
        servers = [site.server(name, ports[name]) for name, site in sites.items()]
        config = home / "nginx.conf"
        config.write_text(
            CONFIG.format(
                user="user root;" if os.geteuid() == 0 else "",
                server=certificates.server,
                basic=re.escape(account.basic),
                bearer=re.escape(account.bearer),
                servers="\n".join(servers),
            )
        )
        log = home / "seen.log"
        log.touch()
        command = ["nginx", "-p", f"{home}/", "-e", "stderr", "-c", config]
        sockets = tuple(server.fileno() for server in listening.values())
        inherited = {"NGINX": "".join(f"{number};" for number in sockets)}
        front = Front(ports, log)
        with running(command, home, (home / "nginx.pid").exists, inherited, sockets):
            for server in listening.values():
                server.close()
            front.forget()
            yield front


def htpasswd(home: Path, account: Account) -> Path:
    """A file with the account, its password hashed with bcrypt (at its cheapest)."""
    path = home / "htpasswd"
    path.write_bytes(run("htpasswd", "-niB", "-C", "4", account.username, stdin=account.password.encode()))
    return path
