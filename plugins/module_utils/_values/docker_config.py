# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The docker-config.json in which Apptainer keeps the secrets of OCI registries: its values, and the rules for the logins in it.

It is the config file of docker/cli (C(cli/config/configfile/file.go), C(cli/config/credentials)), which Apptainer 1.3.1 and later use as a
library; the recorded runs of logins.json.gz show what they make of it. Unlike them we keep every key that we don't know.
"""

import base64
import re
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple

from .._errors import RuleError, quoted
from .claims import basic
from .remote_config import HIDDEN, HIDDEN_CHANGED
from .uri import parse, without_login

HUB = "docker.io"  # Docker Hub, as results and messages name it
HUB_HOSTS = (HUB, "index.docker.io", "registry-1.docker.io")
NOT_SHOWN = "(not shown)"

_HUB_KEY = "https://index.docker.io/v1/"
_SHOWN_KEYS = ("username", "email")
_LOGIN_KEYS = ("auth", "username", "password", "serveraddress", "identitytoken", "registrytoken")

_BASE_64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?\Z")
_OWN_KEY = re.compile(r"(?:https?://(?:[^/@]*@)?)?([^/@]+)(?:/(?:v[12]/?)?)?\Z", re.IGNORECASE)
_NO_BREAKS = {ord("\r"): None, ord("\n"): None}


class Number(NamedTuple):
    """A number exactly as it was written: Python's own would not survive."""

    text: str


class DockerConfig(NamedTuple):
    """A whole docker-config.json: its JSON object, in the order of the file. C(has_data) is false if there are no bytes or only white space."""

    tree: Mapping[str, Any] = {}
    has_data: bool = False

    def __repr__(self) -> str:
        return "DockerConfig(auths=%r, has_data=%r)" % ([shown_key(key) for key in _auths(self)], self.has_data)


class StoredLogin(NamedTuple):
    """A user name and password found in a file, under C(key), for C(host)."""

    key: str
    host: str
    username: str
    password: str

    def __repr__(self) -> str:
        return "StoredLogin(key=%r, host=%r, username=%r, password=%s)" % (shown_key(self.key), self.host, self.username, HIDDEN)


def _auths(config: DockerConfig) -> Mapping[str, Any]:
    auths: Mapping[str, Any] = config.tree.get("auths") or {}
    return auths


def shown_key(key: str) -> str:
    """A key of the file as messages show it: Apptainer takes one with a password in it."""
    return without_login(key, HIDDEN)


def canonical(host: str) -> str:
    """A registry's host in one spelling: lower case, and C(docker.io) for each name of Docker Hub."""
    host = host.lower()
    return HUB if host in HUB_HOSTS else host


def registry_key(host: str) -> str:
    """The key of a registry's login that every version reads: the host itself, but for Docker Hub the address of its old API.

    1.0 to 1.2 and 1.4 and later map names of Docker Hub to it when they read (recorded runs reg-logout-hub-*).
    """
    return _HUB_KEY if canonical(host) == HUB else host.lower()


def hostname_of(key: str) -> str:
    """The host that docker/cli finds in a key (C(ConvertToHostname) in C(file_store.go)), but an IPv6 address keeps its brackets."""
    try:
        host = parse(key).host if "://" in key else ""
    except RuleError:
        host = ""
    return host or key.partition("/")[0].rpartition("@")[2]


class Hosts:
    """The keys of a configuration by the host (canonical) that they are for, found once: a thousand logins take a thousand steps.

    C(own) are a host's login in any spelling that docker/cli, Apptainer or containers/image ever used, with C(/v1/) and the like. What
    names more, as C(host/org), is in C(namespaced): it was a login for that part alone up to 1.3, but since 1.4 any of them is used for
    the whole host if it has no key of its own (C(fileStore.Get)).
    """

    def __init__(self, config: DockerConfig) -> None:
        self.own: Dict[str, List[str]] = {}
        self.namespaced: Dict[str, List[str]] = {}
        for key in _auths(config):
            host = _own_host(key)
            if host is not None:
                self.own.setdefault(host, []).append(key)
            else:
                self.namespaced.setdefault(canonical(hostname_of(key)), []).append(key)
        self._store: str = config.tree.get("credsStore") or ""
        self._helpers: Dict[str, str] = {}
        for key, name in sorted((config.tree.get("credHelpers") or {}).items()):
            host = canonical(hostname_of(key))
            self._helpers[host] = name or self._helpers.get(host, "")

    def helper(self, host: str) -> Optional[str]:
        """The credential helper that manages a host. One of no name exempts it from C(credsStore) (C(getConfiguredCredentialStore))."""
        return self._helpers.get(canonical(host), self._store) or None


def _own_host(key: str) -> Optional[str]:
    match = _OWN_KEY.match(key)
    return canonical(match.group(1)) if match else None


def hosts(config: DockerConfig) -> List[str]:
    """The hosts that have a login of any kind, namespaced ones included, sorted."""
    found = Hosts(config)
    return sorted({*found.own, *found.namespaced})


def aliases(config: DockerConfig, host: str) -> List[str]:
    """Every key under which a login to this very host is stored."""
    return Hosts(config).own.get(canonical(host), [])


def encoded(username: str, password: str) -> str:
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


def decoded(auth: str) -> Optional[Tuple[str, str]]:
    """User name and password, or None, as C(decodeAuth) of docker/cli; bytes that aren't UTF-8 become surrogates, which basic() takes."""
    auth = auth.translate(_NO_BREAKS)
    if not _BASE_64.match(auth):
        return None
    username, colon, password = base64.b64decode(auth).decode("utf-8", "surrogateescape").partition(":")
    return (username, password.strip("\0")) if colon and username else None


def change(config: DockerConfig, logins: Mapping[str, Optional[Tuple[str, str]]]) -> DockerConfig:
    """For each host exactly one login, with this user name and password, or none, in linear time.

    A login is under the key that every version reads. All other keys of its host, with old secrets, are removed (Apptainer leaves that of
    Docker Hub: recorded runs reg-logout-hub-*). Fields that we don't know stay in the entry; an identity token goes, as it would win over
    the password. Raises RuleError for a login to a host that a credential helper manages: Apptainer would not look here.
    """
    found = Hosts(config)
    auths = dict(_auths(config))
    for host, secret in logins.items():
        key = registry_key(host)
        kept = {name: value for name, value in (auths.get(key) or {}).items() if name not in _LOGIN_KEYS}
        for alias in found.own.get(canonical(host), ()):
            auths.pop(alias, None)
        manager = found.helper(host)
        if secret is not None and manager:
            raise RuleError("registry %s: the credential helper %s manages its logins (credHelpers or credsStore), so one stored beside it would "
                            "not be used; log in through the helper (docker login %s), or use another auth_file" % (host, quoted(manager), host))
        if secret is not None:
            auths[key] = dict({"auth": encoded(*secret)}, **kept)
    return _with_auths(config, auths)


def pruned(config: DockerConfig, hosts: Iterable[str]) -> DockerConfig:
    """Only the hosts' own logins, without any other or namespaced key."""
    listed = {canonical(host) for host in hosts}
    return _with_auths(config, {key: entry for key, entry in _auths(config).items() if _own_host(key) in listed})


def _with_auths(config: DockerConfig, auths: Mapping[str, Any]) -> DockerConfig:
    if auths == _auths(config):
        return config
    tree = config.tree if "auths" in config.tree else dict({"auths": {}}, **config.tree)
    return DockerConfig({key: auths if key == "auths" else value for key, value in tree.items()}, True)


def stored(config: DockerConfig) -> List[StoredLogin]:
    """The user names and passwords in a configuration, also as Apptainer 1.3.0 wrote them. An entry with a token has none: that wins."""
    found = []
    for key, entry in _auths(config).items():
        entry = entry or {}
        pair = decoded(entry["auth"]) if entry.get("auth") else (entry.get("username"), entry.get("password"))
        if pair and pair[0] and pair[1] and not entry.get("identitytoken") and not entry.get("registrytoken"):
            found.append(StoredLogin(key, _own_host(key) or canonical(hostname_of(key)), pair[0], pair[1]))
    return found


def redacted(config: DockerConfig, before: Optional[DockerConfig] = None) -> DockerConfig:
    """I(config) as a diff may show it: words in place of secrets, and of every value that we don't know (headers and proxies have passwords).

    A secret that differs from the one in I(before) is said to be changed.
    """
    old = _auths(config if before is None else before)
    tree: Dict[str, Any] = {key: value if key == "credsStore" else NOT_SHOWN for key, value in config.tree.items()}
    if "auths" in tree:
        tree["auths"] = _by_shown_key((key, _redacted_entry(entry or {}, old.get(key) or {})) for key, entry in _auths(config).items())
    if "credHelpers" in tree:
        tree["credHelpers"] = _by_shown_key((config.tree["credHelpers"] or {}).items())
    return DockerConfig(tree, config.has_data)


def _by_shown_key(items: Iterable[Tuple[str, Any]]) -> Dict[str, Any]:
    """Keys that differ in a password only stay apart."""
    shown: Dict[str, Any] = {}
    for key, value in items:
        name = shown_key(key)
        shown[name + " again" * sum(other.partition(" again")[0] == name for other in shown if HIDDEN in name)] = value
    return shown


def _redacted_entry(entry: Mapping[str, Any], before: Mapping[str, Any]) -> Dict[str, Any]:
    shown: Dict[str, Any] = {}
    for key, value in entry.items():
        if isinstance(value, str) and value and key not in _SHOWN_KEYS:
            value = HIDDEN if before.get(key) in (None, "", value) else HIDDEN_CHANGED
        shown[key] = value if key in _SHOWN_KEYS or isinstance(value, str) else NOT_SHOWN
    return shown
