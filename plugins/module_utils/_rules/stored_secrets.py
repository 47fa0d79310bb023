# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""All credentials that an account's two files hold."""

import re
from typing import Dict, List, Tuple

from .._apptainer.effective import endpoint_tokens, sync
from .._values.claims import KeyserverLogin, RegistryLogin, Secret
from .._values.docker_config import DockerConfig, canonical_host, hostname_of, stored_logins
from .._values.remote_config import RemoteConfig
from .._values.uri import keyserver_identity


def stored_secrets(remotes: RemoteConfig, docker: DockerConfig, system: RemoteConfig, as_stored: bool = False) -> List[Secret]:
    """Every credential in a user's two files; `system` is the content of the global file, empty if there is none or it cannot be read.

    `as_stored` is as for endpoint_tokens().
    """
    found: List[Secret] = [*endpoint_tokens(remotes, system, as_stored), *_keyserver_logins(remotes, system)]
    # Our option insecure is kept there, under either scheme; Apptainer itself only lists it (`apptainer registry list`)
    insecure = {canonical_host(hostname_of(item.uri)) for item in remotes.credentials
                if item.insecure and re.match("(?:docker|oras)://", item.uri, re.IGNORECASE)}
    return found + [RegistryLogin(item.host, item.username, item.password, item.host in insecure) for item in stored_logins(docker)]


def _keyserver_logins(remotes: RemoteConfig, system: RemoteConfig) -> List[KeyserverLogin]:
    """Logins to keyservers. `insecure` is that of the keyserver: of the default endpoint's if that has it, else of the first one's by name."""
    config = sync(remotes, system)
    insecure: Dict[Tuple[str, str], bool] = {}
    for name in sorted(config.remotes, key=lambda name: (name != config.active, name)):
        for server in config.remotes[name].keyservers:
            identity = keyserver_identity(server.uri)
            if identity:
                insecure.setdefault(identity, server.insecure)
    found = []
    for item in remotes.credentials:
        identity = keyserver_identity(item.uri) if re.match("https?://", item.uri, re.IGNORECASE) else None
        if identity and item.auth:
            found.append(KeyserverLogin(item.uri, item.auth, insecure.get(identity, False)))
    return found
