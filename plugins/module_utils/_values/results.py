# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Values as results and info show them."""

from typing import Any, Dict, List, Optional

from .._redaction import redacted, without_login
from .claims import EndpointToken, KeyserverLogin, Secret, username_of
from .remote_config import Keyserver, Remote, RemoteConfig


def remote_result(config: RemoteConfig, name: str) -> Optional[Dict[str, Any]]:
    """One endpoint as results and info show it, or None if there is none of that name."""
    remote = config.remotes.get(name)
    return None if remote is None else _remote(name, redacted(remote), config.active)


def _remote(name: str, remote: Remote, active: str) -> Dict[str, Any]:
    return {
        "name": name,
        "uri": remote.uri,
        "insecure": remote.insecure,
        "default": name == active,
        "exclusive": remote.exclusive,
        "system": remote.system,
        "logged_in": bool(remote.token),
        "keyservers": [_keyserver(server) for server in remote.keyservers],
    }


def _keyserver(server: Keyserver) -> Dict[str, Any]:
    return {"uri": server.uri, "insecure": server.insecure, "builtin": not server.external, "skip": server.skip}


def config_result(config: RemoteConfig) -> Dict[str, Any]:
    """A whole configuration as results and info show it."""
    config = redacted(config)
    remotes: List[Dict[str, Any]] = [_remote(name, config.remotes[name], config.active) for name in sorted(config.remotes)]
    credentials = [{"uri": item.uri, "insecure": item.insecure, "has_secret": bool(item.auth)} for item in config.credentials]
    return {"default": config.active, "remotes": remotes, "credentials": credentials}


def login_result(secret: Secret) -> Dict[str, Any]:
    """One login as results and info show it."""
    if isinstance(secret, EndpointToken):
        return {"kind": "endpoint", "name": secret.name, "username": None}
    if isinstance(secret, KeyserverLogin):
        return {"kind": "keyserver", "name": without_login(secret.uri), "username": username_of(secret.auth)}
    return {"kind": "registry", "name": secret.host, "username": secret.username}
