# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Model values as results, info output and diffs show them: the only place where they leave, and no secret passes it."""

from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple, TypeVar

from .claims import EndpointToken, KeyserverLogin, Secret, username_of
from .remote_config import (
    HIDDEN,
    HIDDEN_CHANGED,
    Credential,
    Keyserver,
    Remote,
    RemoteConfig,
)
from .uri import without_login

_Item = TypeVar("_Item", Keyserver, Credential)


def redacted(config: RemoteConfig, before: Optional[RemoteConfig] = None) -> RemoteConfig:
    """I(config) with words in place of its secrets; a secret that differs from the one in I(before) is said to be changed."""
    before = before or config
    remotes = {name: _redacted_remote(remote, before.remotes.get(name, remote)) for name, remote in config.remotes.items()}
    return config._replace(remotes=remotes, credentials=tuple(
        credential._replace(uri=_place(credential.uri, old.uri), auth=_word(credential.auth, old.auth))
        for credential, old in _paired(config.credentials, before.credentials)))


def _redacted_remote(remote: Remote, before: Remote) -> Remote:
    keyservers = tuple(server._replace(uri=_place(server.uri, old.uri)) for server, old in _paired(remote.keyservers, before.keyservers))
    return remote._replace(uri=_place(remote.uri, before.uri), token=_word(remote.token, before.token), keyservers=keyservers)


def _paired(items: Sequence[_Item], before: Sequence[_Item]) -> Iterator[Tuple[_Item, _Item]]:
    """Each item with the one of the same URI, but for a password, that was there before, in order; a new one with itself."""
    waiting: Dict[str, List[_Item]] = {}
    for old in reversed(before):
        waiting.setdefault(without_login(old.uri, ""), []).append(old)
    for item in items:
        known = waiting.get(without_login(item.uri, ""))
        yield item, known.pop() if known else item


def _place(uri: str, before: str) -> str:
    """A URI without the password that somebody may have written into it by hand."""
    return without_login(uri, HIDDEN if uri == before or "@" not in before else HIDDEN_CHANGED)


def _word(secret: str, before: str) -> str:
    if not secret:
        return ""
    return HIDDEN if not before or secret == before else HIDDEN_CHANGED


def remote_result(config: RemoteConfig, name: str) -> Optional[Dict[str, Any]]:
    """One endpoint as results and info show it, or None if there is none of that name."""
    remote = config.remotes.get(name)
    return None if remote is None else _remote(name, _redacted_remote(remote, remote), config.active)


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
        return {"kind": "keyserver", "name": without_login(secret.uri, HIDDEN), "username": username_of(secret.auth)}
    return {"kind": "registry", "name": secret.host, "username": secret.username}
