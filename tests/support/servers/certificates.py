# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A certificate authority of our own, and what servers need of it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from support.servers.daemons import directory, run

CONFIG = """
[ca]
default_ca = ours
[ours]
database = {home}/index
new_certs_dir = {home}
rand_serial = yes
unique_subject = no
certificate = {home}/ca.pem
private_key = {home}/ca.key
default_md = sha256
default_days = 30
policy = any
copy_extensions = copy
x509_extensions = leaf
[any]
commonName = supplied
[leaf]
basicConstraints = critical, CA:FALSE
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[req]
distinguished_name = empty
[empty]
"""
EC_KEY = ("-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
LOCAL = "DNS:localhost, IP:127.0.0.1, IP:::1"


class Pair(NamedTuple):
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path


class Certificates(NamedTuple):
    """`server` is for localhost, 127.0.0.1 and ::1; `expired` was, long ago; `soon` is, for five days more; `other_host` is for another name.

    All are signed by `ca`, as `client` is; `other_ca` has signed nothing.
    """

    ca: Path
    other_ca: Path
    server: Pair
    expired: Pair
    soon: Pair
    other_host: Pair
    client: Pair


@contextlib.contextmanager
def certificates() -> Iterator[Certificates]:
    """New ones, all with fast keys."""
    with directory() as home:
        (home / "index").touch()
        config = home / "openssl.cnf"
        config.write_text(CONFIG.format(home=home))
        ca, other_ca = (_authority(home, name, config) for name in ("ca", "other_ca"))
        yield Certificates(
            ca,
            other_ca,
            server=_signed(home, "server", LOCAL, config),
            expired=_signed(home, "expired", LOCAL, config, "-startdate", "20200101000000Z", "-enddate", "20200201000000Z"),
            soon=_signed(home, "soon", LOCAL, config, "-days", "5"),
            other_host=_signed(home, "other_host", "DNS:elsewhere.example.org", config),
            client=_signed(home, "client", "email:alice@example.org", config),
        )


def _authority(home: Path, name: str, config: Path) -> Path:
    pair = Pair(home / f"{name}.pem", home / f"{name}.key")
    extensions = ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign", "subjectKeyIdentifier=hash")
    added = [word for extension in extensions for word in ("-addext", extension)]
    names = ("-subj", f"/CN=hpc.apptainer tests {name}")
    run("openssl", "req", "-x509", "-config", config, *EC_KEY, *names, "-days", 30, "-keyout", pair.key, "-out", pair.certificate, *added)
    return pair.certificate


def _signed(home: Path, name: str, alternatives: str, config: Path, *dates: str) -> Pair:
    pair, request = Pair(home / f"{name}.pem", home / f"{name}.key"), home / f"{name}.csr"
    names = ("-subj", f"/CN={name}", "-addext", f"subjectAltName={alternatives}")
    run("openssl", "req", "-new", "-config", config, *EC_KEY, *names, "-keyout", pair.key, "-out", request)
    run("openssl", "ca", "-batch", "-notext", "-config", config, "-in", request, "-out", pair.certificate, *dates)
    return pair
