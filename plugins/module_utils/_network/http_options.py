# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""How to ask servers, and whether what the options name can be used."""

import functools
import os
import ssl
import stat
from typing import NamedTuple, Optional

from .._errors import NetworkError, quoted
from .trust import bundle_of_environment


class HttpOptions(NamedTuple):
    """How to ask: `timeout` in seconds, for all of one request or check; paths of PEM files, for `ca_path` also of a directory of CAs."""

    timeout: float = 10.0
    validate_certs: bool = True
    ca_path: Optional[str] = None
    client_cert: Optional[str] = None
    client_key: Optional[str] = None


def check_options(options: HttpOptions) -> None:
    """Raises NetworkError if a file cannot be used that an option names, or the environment in place of `ca_path`."""
    bundle = "" if options.ca_path else bundle_of_environment(os.environ)
    problem = _problem_with_files(options.ca_path, bundle if options.validate_certs else "", options.client_cert, options.client_key)
    if problem:
        raise NetworkError(problem)


@functools.lru_cache(maxsize=16)
def _problem_with_files(ca_path: Optional[str], bundle: str, client_cert: Optional[str], client_key: Optional[str]) -> str:
    """What is wrong with the files that options and the environment name, or nothing."""
    if client_key and not client_cert:
        return "client_key is set without client_cert; set both"
    files = (("ca_path", ca_path), ("the CA bundle of the environment (REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE)", bundle),
             ("client_cert", client_cert), ("client_key", client_key))
    for name, path in files:
        try:
            if path and not (os.path.isdir(path) and not name.startswith("client")):
                if not stat.S_ISREG(os.stat(path).st_mode):
                    return f"{name} {quoted(path)} is not a regular file"
                with open(path, "rb") as file:
                    file.read(1)
        except (OSError, ValueError) as error:
            return f"{name} {quoted(path or '')} cannot be read: {getattr(error, 'strerror', 'it is not a valid path')}"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for name, path in files[:2]:
        try:
            if path and not os.path.isdir(path):
                context.load_verify_locations(cafile=path)
        except (OSError, ValueError):
            return f"{name} {quoted(path or '')} holds no certificate in PEM format"
    try:
        if client_cert:
            # Without a password, OpenSSL would ask the terminal for that of an encrypted key.
            context.load_cert_chain(client_cert, client_key, password="")
    except (OSError, ValueError):
        key = f"client_key {quoted(client_key)}" if client_key else "client_key, or in the same file"
        return (f"client_cert {quoted(client_cert or '')} and its key ({key}) cannot be used: both must be in PEM format and belong together, "
                "and the key must not be encrypted")
    return ""
