# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The docker-config.json in which Apptainer keeps the secrets of OCI registries: its values, and the rules for the logins in it.

It is the config file of docker/cli (`cli/config/configfile/file.go`, `cli/config/credentials`), which Apptainer 1.3.1 and later use as a
library; the recorded runs of logins.json.gz show what they make of it. Unlike them we keep every key that we don't know.
"""

import base64
import re
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple

from .._errors import RuleError, quoted
from .._redaction import safe_repr, without_login
from .claims import basic
from .uri import parse

HUB = "docker.io"  # Docker Hub, as results and messages name it
HUB_HOSTS = (HUB, "index.docker.io", "registry-1.docker.io")

_HUB_KEY = "https://index.docker.io/v1/"
_LOGIN_KEYS = ("auth", "username", "password", "serveraddress", "identitytoken", "registrytoken")

_BASE_64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?\Z")
_OWN_KEY = re.compile(r"(?:https?://(?:[^/@]*@)?)?([^/@]+)(?:/(?:v[12]/?)?)?\Z", re.IGNORECASE)
_NO_BREAKS = {ord("\r"): None, ord("\n"): None}


class Number(NamedTuple):
    """A number exactly as it was written: Python's own would not survive."""

    text: str


class DockerConfig(NamedTuple):
    """A whole docker-config.json: its JSON object, in the order of the file. `has_data` is false if there are no bytes or only white space."""

    tree: Mapping[str, Any] = {}
    has_data: bool = False

    def __repr__(self) -> str:
        return f"DockerConfig(auths={[without_login(key) for key in _auths(self)]!r}, has_data={self.has_data!r})"


class StoredLogin(NamedTuple):
    """A user name and password found in a file, under `key`, for `host`."""

    key: str
    host: str
    username: str
    password: str

    def __repr__(self) -> str:
        return safe_repr(self)


def _auths(config: DockerConfig) -> Mapping[str, Any]:
    auths: Mapping[str, Any] = config.tree.get("auths") or {}
    return auths


def canonical_host(host: str) -> str:
    """A registry's host in one spelling: lower case, and `docker.io` for each name of Docker Hub."""
    host = host.lower()
    return HUB if host in HUB_HOSTS else host


def registry_key(host: str) -> str:
    """The key of a registry's login that every version reads: the host itself, but for Docker Hub the address of its old API.

    1.0 to 1.2 and 1.4 and later map names of Docker Hub to it when they read (recorded runs reg-logout-hub-*).
    """
    return _HUB_KEY if canonical_host(host) == HUB else host.lower()


def hostname_of(key: str) -> str:
    """The host that docker/cli finds in a key (`ConvertToHostname` in `file_store.go`), but an IPv6 address keeps its brackets."""
    try:
        host = parse(key).host if "://" in key else ""
    except RuleError:
        host = ""
    return host or key.partition("/")[0].rpartition("@")[2]


class HostKeys:
    """The keys of a configuration by the host (canonical) that they are for, found once: a thousand logins take a thousand steps.

    `own` are a host's login in any spelling that docker/cli, Apptainer or containers/image ever used, with `/v1/` and the like. What
    names more, as `host/org`, is in `namespaced`: it was a login for that part alone up to 1.3, but since 1.4 any of them is used for
    the whole host if it has no key of its own (`fileStore.Get`).
    """

    def __init__(self, config: DockerConfig) -> None:
        self.own: Dict[str, List[str]] = {}
        self.namespaced: Dict[str, List[str]] = {}
        for key in _auths(config):
            host = _own_host(key)
            if host is not None:
                self.own.setdefault(host, []).append(key)
            else:
                self.namespaced.setdefault(canonical_host(hostname_of(key)), []).append(key)
        self._store: str = config.tree.get("credsStore") or ""
        self._helpers: Dict[str, str] = {}
        for key, name in sorted((config.tree.get("credHelpers") or {}).items()):
            host = canonical_host(hostname_of(key))
            self._helpers[host] = name or self._helpers.get(host, "")

    def helper(self, host: str) -> Optional[str]:
        """The credential helper that manages a host. One of no name exempts it from `credsStore` (`getConfiguredCredentialStore`)."""
        return self._helpers.get(canonical_host(host), self._store) or None


def _own_host(key: str) -> Optional[str]:
    match = _OWN_KEY.match(key)
    return canonical_host(match.group(1)) if match else None


def login_hosts(config: DockerConfig) -> List[str]:
    """The hosts that have a login of any kind, namespaced ones included, sorted."""
    found = HostKeys(config)
    return sorted({*found.own, *found.namespaced})


def keys_for_host(config: DockerConfig, host: str) -> List[str]:
    """Every key under which a login to this very host is stored."""
    return HostKeys(config).own.get(canonical_host(host), [])


def encode_login(username: str, password: str) -> str:
    """The Base64 of a user name and password that are to be stored, as HTTP and docker-config.json want it.

    Raises RuleError for what they can't carry: recorded run reg-colon-username shows Apptainer storing another login than was meant.
    Line breaks are legal in it (reg-multiline-pw).
    """
    if not username:
        raise RuleError("a login needs a username; give one")
    if ":" in username:
        raise RuleError("the username has a colon, which would end it: what follows would become part of the password; use one without")
    if not password:
        raise RuleError("the password is empty; give one, or remove the login with state: absent")
    if password.strip("\0") != password:
        raise RuleError("the password begins or ends with a NUL character, which Apptainer drops; use one without")
    try:
        return basic(username, password).partition(" ")[2]
    except UnicodeEncodeError:
        raise RuleError("the username or password holds half a character (a lone surrogate), which cannot be sent; use whole ones") from None


def decode_login(auth: str) -> Optional[Tuple[str, str]]:
    """User name and password, or None, as `decodeAuth` of docker/cli; bytes that aren't UTF-8 become surrogates, which basic() takes."""
    auth = auth.translate(_NO_BREAKS)
    if not _BASE_64.match(auth):
        return None
    username, colon, password = base64.b64decode(auth).decode("utf-8", "surrogateescape").partition(":")
    return (username, password.strip("\0")) if colon and username else None


def set_logins(config: DockerConfig, logins: Mapping[str, Optional[Tuple[str, str]]]) -> DockerConfig:
    """For each host exactly one login, with this user name and password, or none, in linear time.

    A login is under the key that every version reads. All other keys of its host, with old secrets, are removed (Apptainer leaves that of
    Docker Hub: recorded runs reg-logout-hub-*). Fields that we don't know stay in the entry; an identity token goes, as it would win over
    the password. Raises RuleError for a login to a host that a credential helper manages: Apptainer would not look here.
    """
    found = HostKeys(config)
    auths = dict(_auths(config))
    for host, secret in logins.items():
        key = registry_key(host)
        kept = {name: value for name, value in (auths.get(key) or {}).items() if name not in _LOGIN_KEYS}
        for alias in found.own.get(canonical_host(host), ()):
            auths.pop(alias, None)
        manager = found.helper(host)
        if secret is not None and manager:
            raise RuleError("registry %s: the credential helper %s manages its logins (credHelpers or credsStore), so one stored beside it would "
                            "not be used; log in through the helper (docker login %s), or use another auth_file" % (host, quoted(manager), host))
        if secret is not None:
            auths[key] = dict({"auth": encode_login(*secret)}, **kept)
    return _with_auths(config, auths)


def only_hosts(config: DockerConfig, hosts: Iterable[str]) -> DockerConfig:
    """Only the hosts' own logins, without any other or namespaced key."""
    listed = {canonical_host(host) for host in hosts}
    return _with_auths(config, {key: entry for key, entry in _auths(config).items() if _own_host(key) in listed})


def _with_auths(config: DockerConfig, auths: Mapping[str, Any]) -> DockerConfig:
    if auths == _auths(config):
        return config
    tree = config.tree if "auths" in config.tree else dict({"auths": {}}, **config.tree)
    return DockerConfig({key: auths if key == "auths" else value for key, value in tree.items()}, True)


def stored_logins(config: DockerConfig) -> List[StoredLogin]:
    """The user names and passwords in a configuration, also as Apptainer 1.3.0 wrote them. An entry with a token has none: that wins."""
    found = []
    for key, entry in _auths(config).items():
        entry = entry or {}
        pair = decode_login(entry["auth"]) if entry.get("auth") else (entry.get("username"), entry.get("password"))
        if pair and pair[0] and pair[1] and not entry.get("identitytoken") and not entry.get("registrytoken"):
            found.append(StoredLogin(key, _own_host(key) or canonical_host(hostname_of(key)), pair[0], pair[1]))
    return found
