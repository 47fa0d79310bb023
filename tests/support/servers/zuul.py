# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A registry with a token service that nobody here wrote: zuul-registry, on 127.0.0.1 without TLS."""

import contextlib
import json
import socket
from collections.abc import Iterator

from support.envs import foreign_registry
from support.servers.daemons import directory, listens, running
from support.servers.recorded import Account, account

# It imports its drivers for stores that are not used here, and a hash that only uploads want; what those import is not installed.
START = """
import sys, types
sys.modules.update((name, types.ModuleType(name)) for name in ("boto3", "botocore", "keystoneauth1", "openstack", "sha256"))
from zuul_registry.main import main
main()
"""


@contextlib.contextmanager
def zuul(access: str) -> Iterator[tuple[str, Account]]:
    """The host of one, and who may log in. With the `access` "write" everybody may read; with "read" only who logs in."""
    user = account()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with directory() as home:
        (home / "storage").mkdir()
        settings = {
            "address": "127.0.0.1",
            "port": port,
            "public-url": f"http://127.0.0.1:{port}",
            "secret": "a-secret-of-the-registry-that-is-long-enough",
            "users": [{"name": user.username, "pass": user.password, "access": access}],
            "storage": {"driver": "filesystem", "root": str(home / "storage")},
        }
        (home / "registry.yaml").write_text(json.dumps({"registry": settings}))
        command = ["env", foreign_registry() / "bin" / "python", "-c", START, "-c", home / "registry.yaml", "serve"]
        with running(command, home, lambda: listens(("127.0.0.1", port))):
            yield f"127.0.0.1:{port}", user
