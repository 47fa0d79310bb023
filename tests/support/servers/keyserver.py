# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An HKP keyserver, SKS, behind nginx, which protects it in several ways."""

import base64
import contextlib
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from support.servers.certificates import Certificates
from support.servers.daemons import directory, listens, run, running
from support.servers.nginx import Site, htpasswd, nginx
from support.servers.recorded import Account, Server, account

# The public key of Test <test@example.org>, made for this: SKS wants one to begin with.
FINGERPRINT = "6B0261B7594F4A8C9C6560D2BE7565A29A0D2110"
KEY = base64.b64decode(
    "mDMEawRVDBYJKwYBBAHaRw8BAQdAJ47eZSwxct6Tf7F1WOA6YHbNnIy3z3Oi0TcXemrxLe+0F1Rlc3QgPHRlc3RAZXhhbXBsZS5vcmc+iJAEExYIADgWIQRr"
    "AmG3WU9KjJxlYNK+dWWimg0hEAUCawRVDAIbAwULCQgHAgYVCgkICwIEFgIDAQIeAQIXgAAKCRC+dWWimg0hEJrtAPwMTdZogJr1Lhjt78bHmxIGGEc3NXmM"
    "qr4CUmbhditkkgD9Gk9ONs3n+OHVH7qVuhiTtaijT/lKXD2ntgVs6omtSQ0="
)


class Keyserver(Server):
    """One keyserver with several URIs, without a slash at the end.

    `protected` wants the password for everything, `plain` does so without TLS, `half_open` wants it only below `/pks/` (any client sees
    the page at `/`), `bearer` wants the token for everything, `open` wants nothing; `client` wants a client's certificate and the password.
    """

    def __init__(self, uris: Mapping[str, str], ca: Path, account: Account, *recorded: Any) -> None:
        super().__init__(*recorded)
        self.ca = ca
        self.account = account
        self.protected = uris["protected"]
        self.plain = uris["plain"]
        self.half_open = uris["half_open"]
        self.bearer = uris["bearer"]
        self.open = uris["open"]
        self.client = uris["client"]


@contextlib.contextmanager
def keyserver(certificates: Certificates) -> Iterator[Keyserver]:
    """It holds one key, see `FINGERPRINT`."""
    user = account()
    with directory() as home, _sks(home) as address:
        (home / "www").mkdir()
        (home / "www" / "index.html").write_text("<title>Keys</title>")
        page = f"location / {{ root {home}/www; }}"
        keys, basic = f"proxy_pass http://{address};", f'auth_basic keys; auth_basic_user_file "{htpasswd(home, user)}";'
        bearer = "if ($right != bearer) { return 401; } add_header WWW-Authenticate 'Bearer realm=\"keys\"' always;"
        sites = {
            "protected": Site(f"{basic} {page} location /pks/ {{ {keys} }}"),
            "plain": Site(f"{basic} {page} location /pks/ {{ {keys} }}", tls=False),
            "half_open": Site(f"{page} location /pks/ {{ {basic} {keys} }}"),
            "bearer": Site(f"{bearer} {page} location /pks/ {{ {keys} }}"),
            "open": Site(f"{page} location /pks/ {{ {keys} }}"),
            "client": Site(f"{basic} {page} location /pks/ {{ {keys} }}", client_ca=certificates.ca),
        }
        with nginx(home, certificates, user, sites) as front:
            uris = {name: f"http{'s' * site.tls}://localhost:{front.ports[name]}" for name, site in sites.items()}
            yield Keyserver(uris, certificates.ca, user, front.requests, front.forget)


@contextlib.contextmanager
def _sks(home: Path) -> Iterator[str]:
    """Run SKS, which can't be told to take any free port, on an address of its own: all of 127/8 is this machine."""
    for name in ("var/run/sks", "var/log/sks", "var/lib/sks/dump"):
        (home / name).mkdir(parents=True)
    dump = home / "var/lib/sks/dump/dump.pgp"
    dump.write_bytes(KEY)
    run("sks", "build", "-basedir", home, dump, "-n", 10, "-cache", 10)
    host = ".".join(["127", *(str(1 + secrets.randbelow(254)) for _part in range(3))])
    command = ["sks", "db", "-basedir", home, "-hkp_address", host, "-hkp_port", 11371, "-stdoutlog"]
    with running(command, home, lambda: listens((host, 11371))):
        yield f"{host}:11371"
