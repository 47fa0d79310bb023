# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The values in a docker-config.json, in which Apptainer keeps the secrets of OCI registries, and how docker/cli finds a login in it.

It is the config file of docker/cli (`cli/config/configfile/file.go`, `cli/config/credentials`), which Apptainer 1.3.1 and later use as a
library; the recorded runs of logins.json.gz show what they make of it. What we write to it is decided in `_rules/registries.py`.
"""

import re
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from .._errors import RuleError, quoted
from .._redaction import safe_repr, without_login
from .base64_text import decode_base64
from .uri import parse

DOCKER_CONFIG = "docker-config.json"  # the name of the file
HUB = "docker.io"  # Docker Hub, as results and messages name it
HUB_HOSTS = (HUB, "index.docker.io", "registry-1.docker.io")

_HUB_KEY = "https://index.docker.io/v1/"

# Not registries: docker's clients keep their tokens of Docker Hub's web login beside its login (docker/cli, `internal/oauth/manager/manager.go`;
# docker/hub-tool, `pkg/credentials/store.go`). No pull looks there.
_HUB_CLIENT_KEY = re.compile(r"https?://(?:index\.|registry-1\.)?docker\.io/v[12]/.+|hub-tool(?:-token|-refresh-token)?\Z")
_OTHER_SYSTEMS = {"osxkeychain": "macOS", "wincred": "Windows"}  # whose credential helpers these are (docker-credential-helpers)
_SECRET_KEYS = ("auth", "password", "identitytoken", "registrytoken")
_WHOLE_HOST_KEY = re.compile(r"(?:https?://(?:[^/@]*@)?)?([^/@]+)(?:/(?:v[12]/?)?)?\Z", re.IGNORECASE)


class Number(NamedTuple):
    """A number exactly as it was written, which a Python number would not keep."""

    text: str


class DockerConfig(NamedTuple):
    """A whole docker-config.json: its JSON object, in the order of the file. `has_data` is false if there are no bytes or only white space."""

    tree: Mapping[str, Any] = {}
    has_data: bool = False

    @property
    def auths(self) -> Mapping[str, Any]:
        """The logins by their key. An entry may be None, as in the file."""
        auths: Mapping[str, Any] = self.tree.get("auths") or {}
        return auths

    def __repr__(self) -> str:
        return f"DockerConfig(auths={[without_login(key) for key in self.auths]!r}, has_data={self.has_data!r})"


class StoredLogin(NamedTuple):
    """A user name and password found in a file, under `key`, for `host`."""

    key: str
    host: str
    username: str
    password: str

    def __repr__(self) -> str:
        return safe_repr(self)


def with_auths(config: DockerConfig, auths: Mapping[str, Any]) -> DockerConfig:
    """The configuration with these logins. A new list of logins comes first, all other keys stay where they are."""
    if auths == config.auths:
        return config
    tree = config.tree if "auths" in config.tree else {"auths": {}, **config.tree}
    return DockerConfig({key: auths if key == "auths" else value for key, value in tree.items()}, has_data=True)


def canonical_host(host: str) -> str:
    """A registry's host, and `docker.io` for each name of Docker Hub.

    The case counts: docker/cli (`file_store.go`), and with it Apptainer, finds a login only under the spelling that an image is named with.
    """
    return HUB if host in HUB_HOSTS else host


def registry_key(host: str) -> str:
    """The key of a registry's login that every version reads: the host itself, but for Docker Hub the address of its old API.

    Apptainer 1.0 to 1.2 and from 1.4 on map the names of Docker Hub to it when they read (recorded runs reg-logout-hub-*).
    """
    return _HUB_KEY if canonical_host(host) == HUB else host


def hostname_of(key: str) -> str:
    """The host that docker/cli finds in a key (`ConvertToHostname` in `file_store.go`); here an IPv6 address keeps its brackets."""
    try:
        host = parse(key).host if "://" in key else ""
    except RuleError:
        host = ""
    return host or key.partition("/")[0].rpartition("@")[2]


class HostKeys:
    """The keys of a configuration by the canonical host that they are for, found once: a thousand logins take a thousand steps.

    `whole` holds the keys for a whole host, in any form that docker/cli, Apptainer or containers/image ever used, with `/v1/` and the
    like. `namespaced` holds those that name more, as `host/org`. Up to Apptainer 1.3 such a login was for that part alone; from 1.4 any of
    them is used for the whole host if that has no key of its own (`fileStore.Get` in `file_store.go`). `hub_clients` holds those of
    docker's own clients for Docker Hub, which are not for pulls.
    """

    def __init__(self, config: DockerConfig) -> None:
        self.whole: Dict[str, List[str]] = {}
        self.namespaced: Dict[str, List[str]] = {}
        self.hub_clients: List[str] = []
        for key in config.auths:
            host = whole_host(key)
            if _is_hub_client_key(key):
                self.hub_clients.append(key)
            elif host is not None:
                self.whole.setdefault(host, []).append(key)
            else:
                self.namespaced.setdefault(canonical_host(hostname_of(key)), []).append(key)
        self._spellings: Dict[str, List[str]] = {}
        for host in sorted({*self.whole, *self.namespaced}):
            self._spellings.setdefault(host.lower(), []).append(host)
        self._store: str = config.tree.get("credsStore") or ""
        self._helpers: Dict[str, str] = {}
        self._helper_keys: Dict[str, str] = {}
        for key, name in sorted((config.tree.get("credHelpers") or {}).items()):
            host = canonical_host(hostname_of(key))
            self._helpers[host] = name or self._helpers.get(host, "")
            if name:
                self._helper_keys[host] = key

    def helper(self, host: str) -> Optional[str]:
        """The credential helper that manages a host. A helper without a name exempts the host from `credsStore`.

        Source: `getConfiguredCredentialStore` in `file.go`.
        """
        return self._helpers.get(canonical_host(host), self._store) or None

    def remove_helper(self, host: str, path: str) -> str:
        """What to do to the file `path` so that no helper manages a host any more, for a message."""
        key = self._helper_keys.get(canonical_host(host))
        return f"remove credsStore from {path}" if key is None else f"remove {quoted(without_login(key))} from credHelpers in {path}"

    def other_spellings(self, host: str) -> List[str]:
        """The hosts with a login that differ from this one in case only: to Apptainer, others."""
        host = canonical_host(host)
        return [other for other in self._spellings.get(host.lower(), ()) if other != host]


def other_system(helper: str) -> str:
    """The system that a credential helper is for, if that is not Linux; else an empty text."""
    return "Windows" if helper.endswith(".exe") else _OTHER_SYSTEMS.get(helper, "")


def old_logins(config: DockerConfig) -> List[str]:
    """The keys of logins at the top level, as in the old `.dockercfg`: Apptainer, as docker/cli (`config.go`), looks in `auths` only."""
    return [key for key, entry in config.tree.items() if key not in ("auths", "credHelpers") and isinstance(entry, Mapping)
            and _looks_like_a_host(key) and any(entry.get(name) and isinstance(entry[name], str) for name in _SECRET_KEYS)]


def _looks_like_a_host(key: str) -> bool:
    return re.search(r"[.:]|localhost\Z", key) is not None


def _is_hub_client_key(key: str) -> bool:
    """Whether one of docker's own clients keeps a token of Docker Hub under a key (`https://index.docker.io/v1/refresh-token`)."""
    return _HUB_CLIENT_KEY.match(key) is not None


def whole_host(key: str) -> Optional[str]:
    """The canonical host that a key is for, or None if it is only for a part of one, or for no registry."""
    match = None if _is_hub_client_key(key) else _WHOLE_HOST_KEY.match(key)
    return canonical_host(match.group(1)) if match else None


def login_hosts(config: DockerConfig) -> List[str]:
    """The hosts that have a login of any kind, namespaced ones included, sorted."""
    found = HostKeys(config)
    return sorted({*found.whole, *found.namespaced, *([HUB] if found.hub_clients else ())})


def keys_for_host(config: DockerConfig, host: str) -> List[str]:
    """Every key under which a login for this whole host is stored."""
    return HostKeys(config).whole.get(canonical_host(host), [])


def decode_login(auth: str) -> Optional[Tuple[str, str]]:
    """The user name and password in the `auth` of an entry, or None if there are none, as `decodeAuth` in `file.go`.

    Bytes that are not UTF-8 become surrogates, which basic() turns back into the same bytes.
    """
    data = decode_base64(auth)
    username, colon, password = (data or b"").decode("utf-8", "surrogateescape").partition(":")
    return (username, password.strip("\0")) if colon and username else None


def stored_logins(config: DockerConfig) -> List[StoredLogin]:
    """The user names and passwords in a configuration, also those without `auth`, as Apptainer 1.3.0 wrote them.

    An entry with a token counts as none: docker/cli then uses the token.
    """
    found = []
    for key, entry in config.auths.items():
        entry = {} if _is_hub_client_key(key) else entry or {}
        pair = decode_login(entry["auth"]) if entry.get("auth") else (entry.get("username"), entry.get("password"))
        if pair and pair[0] and pair[1] and not entry.get("identitytoken") and not entry.get("registrytoken"):
            found.append(StoredLogin(key, whole_host(key) or canonical_host(hostname_of(key)), pair[0], pair[1]))
    return found
