# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Which certificate authorities are trusted: what an option or the user of requests says, else those that Apptainer trusts.

Go trusts the authorities of the system: the first file that can be read of those where distributions keep them (or SSL_CERT_FILE), and all
files in its directories (or in those of SSL_CERT_DIR), whatever their names. OpenSSL, and with it requests, finds only hashed names there,
and requests from pip brings authorities of its own. Source: Go's `crypto/x509/root_unix.go` and `root_linux.go`.
"""

import contextlib
import functools
import os
import re
import ssl
from typing import Iterator, Mapping, Sequence, Tuple

_FILES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Arch, Gentoo
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, EL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",  # Alpine
)
_DIRECTORIES = ("/etc/ssl/certs", "/etc/pki/tls/certs")
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_LARGEST = 1 << 24  # bytes of a file


def bundle_of_environment(environ: Mapping[str, str]) -> str:
    """The file or directory that users of requests expect to be trusted in place of all else, if they have set one."""
    return environ.get("REQUESTS_CA_BUNDLE") or environ.get("CURL_CA_BUNDLE") or ""


def system_authorities(environ: Mapping[str, str]) -> Tuple[str, ...]:
    """The certificates that Go programs trust on this machine, in PEM; empty if it has none."""
    file, directories = environ.get("SSL_CERT_FILE", ""), environ.get("SSL_CERT_DIR", "")
    return _authorities((file,) if file else _FILES, tuple(directories.split(":")) if directories else _DIRECTORIES)


@functools.lru_cache(maxsize=4)
def _authorities(files: Sequence[str], directories: Sequence[str]) -> Tuple[str, ...]:
    found = [next(filter(None, map(_certificates, files)), ())]
    found += [_certificates(path) for directory in directories for path in _paths_in(directory)]
    return tuple(dict.fromkeys(certificate for certificates in found for certificate in certificates))


def _paths_in(directory: str) -> Iterator[str]:
    """The files in a directory, without those that are links to another of them."""
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(directory)):
            path = os.path.join(directory, name)
            if not (os.path.islink(path) and "/" not in os.readlink(path)) and os.path.isfile(path):
                yield path


def _certificates(path: str) -> Tuple[str, ...]:
    """The certificates in a file, none if it cannot be read."""
    try:
        if not os.path.isfile(path):
            return ()
        with open(path, "rb") as file:
            data = file.read(_LARGEST)
    except (OSError, ValueError):
        return ()
    return tuple(match.decode("ascii", "replace") for match in _CERTIFICATE.findall(data))


def trust(context: ssl.SSLContext, certificates: Sequence[str]) -> None:
    """Make a context trust certificates. One that OpenSSL cannot read is left out, as Go does it."""
    try:
        context.load_verify_locations(cadata="\n".join(certificates))
    except (OSError, ValueError):
        for certificate in certificates:
            with contextlib.suppress(OSError, ValueError):
                context.load_verify_locations(cadata=certificate)
