# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The docker-config.json in which Apptainer keeps the secrets of OCI registries: its values, its bytes, and logins in it.

It is the config file of docker/cli (C(cli/config/configfile/file.go), C(cli/config/credentials)), which Apptainer 1.3.1 and later use as a
library; the recorded runs of logins.json.gz show what they make of it. Unlike them we keep every key that we don't know.
"""

import base64
import json
import re
from typing import Any, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Set, Tuple

from ansible_collections.hpc.apptainer.plugins.module_utils._errors import FormatError, RuleError, quoted
from ansible_collections.hpc.apptainer.plugins.module_utils._remote_config import HIDDEN, HIDDEN_CHANGED
from ansible_collections.hpc.apptainer.plugins.module_utils._secrets import basic
from ansible_collections.hpc.apptainer.plugins.module_utils._uri import parse, without_login

HUB = "docker.io"  # Docker Hub, as results and messages name it
HUB_HOSTS = (HUB, "index.docker.io", "registry-1.docker.io")
NOT_SHOWN = "(not shown)"

_HUB_KEY = "https://index.docker.io/v1/"
_FILE_KEYS = ("auths", "credHelpers", "credsStore")
_ENTRY_KEYS = ("auth", "username", "password", "email", "serveraddress", "identitytoken", "registrytoken")
_SHOWN_KEYS = ("username", "email", "serveraddress")
_LOGIN_KEYS = ("auth", "username", "password", "serveraddress", "identitytoken", "registrytoken")
_DEEPEST = 100  # levels; docker's own file has 4

_BASE_64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?\Z")
_OWN_KEY = re.compile(r"(?:https?://(?:[^/@]*@)?)?([^/@]+)(?:/(?:v[12]/?)?)?\Z", re.IGNORECASE)
# In JSON only a key stands before a colon.
_TOKEN = re.compile(r'("[^"\\]*(?:\\.[^"\\]*)*")([ \t\r\n]*:)?|[\[\]{}]|NaN|-?Infinity')
_NO_BREAKS = {ord("\r"): None, ord("\n"): None}
_ESCAPED = {ord(character): "\\u%04x" % ord(character) for character in "<>&\u2028\u2029"}  # by Go's json.Marshal
_SURROGATE = re.compile("[\\ud800-\\udfff]")


class Number(NamedTuple):
    """A number exactly as it was written: Python's own would not survive."""

    text: str


class DockerConfig(NamedTuple):
    """A whole docker-config.json: its JSON object, in the order of the file. C(has_data) is false if there are no bytes or only white space."""

    tree: Mapping[str, Any] = {}
    has_data: bool = False

    def __repr__(self) -> str:
        return "DockerConfig(auths=%r, has_data=%r)" % ([_shown_key(key) for key in _auths(self)], self.has_data)


class StoredLogin(NamedTuple):
    """A user name and password found in a file, under C(key), for C(host)."""

    key: str
    host: str
    username: str
    password: str

    def __repr__(self) -> str:
        return "StoredLogin(key=%r, host=%r, username=%r, password=%s)" % (_shown_key(self.key), self.host, self.username, HIDDEN)


def _auths(config: DockerConfig) -> Mapping[str, Any]:
    auths: Mapping[str, Any] = config.tree.get("auths") or {}
    return auths


def _shown_key(key: str) -> str:
    return without_login(key, HIDDEN)


def decode(data: bytes, path: str) -> DockerConfig:
    """The contents C(data) of the file C(path), which is used in messages only.

    Raises FormatError, with line and column and never a value, for what Apptainer refuses: no JSON, no object, an C(auth) that can't be
    decoded. Refused though Apptainer reads it, because writing it back would lose or change something: bytes that aren't UTF-8, text
    behind the object, a key that stands twice, a key that Go takes for another (it ignores case), and nesting of more than 100 levels.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[:error.start].decode("utf-8")
        raise _Reader(before, path).error(len(before), "the file is not UTF-8 text; save it as UTF-8") from None
    if not text.strip(" \t\r\n"):
        return DockerConfig()
    return DockerConfig(_Reader(text, path).read(), True)


class _Reader:
    """One JSON text, with the places of its keys."""

    def __init__(self, text: str, path: str) -> None:
        self.text = text
        self.path = path
        self.places: Dict[Tuple[str, ...], int] = {}

    def read(self) -> Mapping[str, Any]:
        try:
            tree = json.loads(self.text, parse_int=Number, parse_float=Number)
        except ValueError as error:
            raise self.error(getattr(error, "pos", 0), "this is not JSON; mend the file, or remove it and log in again") from None
        except RecursionError:
            raise self.error(0, "the values are nested too deeply; mend the file, or remove it and log in again") from None
        for offset, problem in self._walk():
            raise self.error(offset, problem)
        if not isinstance(tree, dict):
            raise self.error(len(self.text) - len(self.text.lstrip(" \t\r\n")), 'the file must hold one JSON object, like {"auths": {}}')
        self._check_file(tree)
        return tree

    def error(self, offset: int, problem: str) -> FormatError:
        line, column = self.text.count("\n", 0, offset) + 1, offset - self.text.rfind("\n", 0, offset)
        return FormatError("%s, line %d, column %d: %s" % (self.path, line, column, problem))

    def _walk(self) -> Iterator[Tuple[int, str]]:
        """Remember where each key stands; yield what json.loads lets pass and Go, or we, don't."""
        above: List[str] = []
        seen: List[Set[str]] = []
        for token in _TOKEN.finditer(self.text):
            word = token.group()
            if word in "[{":
                above.append("")
                seen.append(set())
                if len(above) > _DEEPEST:
                    yield token.start(), "the values are nested more than %d levels deep; remove what nobody needs" % _DEEPEST
            elif word in "]}":
                above.pop()
                seen.pop()
            elif token.group(2):
                key = above[-1] = json.loads(token.group(1))
                if key in seen[-1]:
                    yield token.start(), "the key %s stands twice here; remove one of the two" % quoted(_shown_key(key))
                seen[-1].add(key)
                self.places[tuple(above)] = token.start()
            elif not token.group(1):
                yield token.start(), "%s is not JSON; write a number" % word

    def _check_file(self, tree: Mapping[str, Any]) -> None:
        self._check_spelling(tree, _FILE_KEYS, ())
        self._check_type(tree, ("credsStore",), str)
        for key in ("auths", "credHelpers"):
            self._check_type(tree, (key,), dict)
            for host in tree.get(key) or ():
                self._check_type(tree[key], (key, host), str if key == "credHelpers" else dict)
        for host, entry in (tree.get("auths") or {}).items():
            self._check_entry(entry or {}, ("auths", host))

    def _check_entry(self, entry: Mapping[str, Any], above: Tuple[str, ...]) -> None:
        self._check_spelling(entry, _ENTRY_KEYS, above)
        for key in _ENTRY_KEYS:
            self._check_type(entry, above + (key,), str)
        if entry.get("auth") and _decoded(entry["auth"]) is None:
            raise self._at(above + ("auth",), "must be user:password in Base64; log in again after removing this entry")

    def _check_spelling(self, values: Mapping[str, Any], known: Tuple[str, ...], above: Tuple[str, ...]) -> None:
        by_folding = {name.casefold(): name for name in known}
        for key in values:
            meant = by_folding.get(key.casefold(), key)
            if key != meant:
                raise self._at(above + (key,), "is read as %s, whatever its case; write it so" % quoted(meant))

    def _check_type(self, values: Mapping[str, Any], keys: Tuple[str, ...], kind: type) -> None:
        """As Go: null is as if the key were not there."""
        value = values.get(keys[-1])
        if value is not None and not isinstance(value, kind):
            raise self._at(keys, "must be %s" % ("text in quotes" if kind is str else "an object in braces"))

    def _at(self, keys: Tuple[str, ...], problem: str) -> FormatError:
        return self.error(self.places[keys], "%s %s" % (" in ".join(quoted(_shown_key(key)) for key in reversed(keys)), problem))


def encode(config: DockerConfig) -> bytes:
    """The bytes that docker/cli writes for these values: tabs, logins sorted, no line break at the end (C(SaveToWriter), json.MarshalIndent).

    All other keys stay where they stood, while docker/cli has an order of its own and drops the unknown ones.
    """
    tree = dict(config.tree)
    if tree.get("auths"):
        tree["auths"] = dict(sorted(tree["auths"].items()))
    text = _json(tree, "\n").translate(_ESCAPED)
    return _SURROGATE.sub(lambda match: "\\u%04x" % ord(match.group()), text).encode("utf-8")


def _json(value: Any, indent: str) -> str:
    inner = indent + "\t"
    if isinstance(value, Number):
        return value.text
    if isinstance(value, Mapping):
        items, brackets = ["%s: %s" % (_json(key, ""), _json(item, inner)) for key, item in value.items()], "{}"
    elif isinstance(value, list):
        items, brackets = [_json(item, inner) for item in value], "[]"
    else:
        return json.dumps(value, ensure_ascii=False)
    return brackets[0] + inner + ("," + inner).join(items) + indent + brackets[1] if items else brackets


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
    return host or key.partition("/")[0]


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


def namespaced(config: DockerConfig, host: str) -> List[str]:
    """Every key for a part of a host, like C(host/org). Apptainer from 1.4 uses any of them for the whole host if it has no login."""
    return Hosts(config).namespaced.get(canonical(host), [])


def helper(config: DockerConfig, host: str) -> Optional[str]:
    """The name of the credential helper that manages a host, or None."""
    return Hosts(config).helper(host)


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


def _decoded(auth: str) -> Optional[Tuple[str, str]]:
    """User name and password, or None, as C(decodeAuth) of docker/cli; bytes that aren't UTF-8 become surrogates, which basic() takes."""
    auth = auth.translate(_NO_BREAKS)
    if not _BASE_64.match(auth):
        return None
    username, colon, password = base64.b64decode(auth).decode("utf-8", "surrogateescape").partition(":")
    return (username, password.strip("\0")) if colon and username else None


def login(config: DockerConfig, host: str, username: str, password: str) -> DockerConfig:
    """Exactly one login to a host, under the key that every version reads; its other keys, with old secrets, are removed.

    Fields that we don't know stay in the entry. An identity token in it goes, as it would win over the password. Raises RuleError for a
    host that a credential helper manages: Apptainer would not look here.
    """
    return change(config, {host: (username, password)})


def logout(config: DockerConfig, host: str) -> DockerConfig:
    """No login to a host, under whatever key (Apptainer leaves that of Docker Hub: recorded runs reg-logout-hub-*)."""
    return change(config, {host: None})


def change(config: DockerConfig, logins: Mapping[str, Optional[Tuple[str, str]]]) -> DockerConfig:
    """Many times login(), with user name and password, and logout(), with None, in linear time."""
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
        pair = _decoded(entry["auth"]) if entry.get("auth") else (entry.get("username"), entry.get("password"))
        if pair and pair[0] and pair[1] and not entry.get("identitytoken") and not entry.get("registrytoken"):
            found.append(StoredLogin(key, _own_host(key) or canonical(hostname_of(key)), pair[0], pair[1]))
    return found


def secrets_of(config: DockerConfig) -> Set[str]:
    """Every text in the logins that must not be shown, encoded and decoded."""
    found: Set[str] = set()
    for key, entry in _auths(config).items():
        entry = entry or {}
        found.update(value for name, value in entry.items() if name not in _SHOWN_KEYS and isinstance(value, str))
        found.update((_decoded(entry.get("auth") or "") or ())[1:])
        found.add(key.rpartition("@")[0].rpartition("/")[2].partition(":")[2])  # a password in the key
    return found - {""}


def redacted(config: DockerConfig, before: Optional[DockerConfig] = None) -> DockerConfig:
    """I(config) as a diff may show it: words in place of secrets, and of every value that we don't know (headers and proxies have passwords).

    A secret that differs from the one in I(before) is said to be changed.
    """
    old = _auths(config if before is None else before)
    tree: Dict[str, Any] = {key: value if key == "credsStore" else NOT_SHOWN for key, value in config.tree.items()}
    if "auths" in tree:
        tree["auths"] = {_shown_key(key): _redacted_entry(entry or {}, old.get(key) or {}) for key, entry in _auths(config).items()}
    if "credHelpers" in tree:
        tree["credHelpers"] = {_shown_key(key): name for key, name in (config.tree["credHelpers"] or {}).items()}
    return DockerConfig(tree, config.has_data)


def _redacted_entry(entry: Mapping[str, Any], before: Mapping[str, Any]) -> Dict[str, Any]:
    shown: Dict[str, Any] = {}
    for key, value in entry.items():
        if isinstance(value, str) and value and key not in _SHOWN_KEYS:
            value = HIDDEN if before.get(key) in (None, "", value) else HIDDEN_CHANGED
        shown[key] = value if key in _SHOWN_KEYS or isinstance(value, str) else NOT_SHOWN
    return shown
