# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The declared logins of one account, put onto its remote.yaml and docker-config.json by rules that are safe to write with.

Apptainer compares the entries of Credentials by scheme and host (recorded runs reg-duplicate-credentials, ks-path-mismatch, ks-logout-path in
logins.json.gz) and replaces one by removing all that match and appending the new one; so do we. `docker://h` and `oras://h` are two
entries, but one secret in docker-config.json. What is not declared is left alone, unless pruned.
"""

import re
from typing import Callable, Collection, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from .._apptainer.effective import BUILT_IN, sync
from .._errors import RuleError, quoted
from .._redaction import safe_repr, without_login
from .._values.docker_config import (
    HUB,
    HUB_HOSTS,
    DockerConfig,
    HostKeys,
    canonical_host,
    encode_login,
    only_hosts,
    set_logins,
)
from .._values.remote_config import Credential, Keyserver, RemoteConfig
from .._values.uri import (
    check_keyserver,
    fixed_keyserver,
    keyserver_identity,
    names_host,
    parse,
)
from .endpoints import WantedRemote, converge

REGISTRY_SCHEMES = ("docker", "oras")

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[\w.-]+)(?::([0-9]{1,5}))?\Z")
_NAMED = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*://)?(?:\[[0-9A-Fa-f:.]*\])?[^:/?#@\s]*(?::[0-9]{1,5}(?![^/]))?")
_EXAMPLE = "; write it like docker://registry.example.org or docker://registry.example.org:5000"


class Registry(NamedTuple):
    """An OCI registry's place: `scheme` is docker or oras, `host` has the port if there is one."""

    scheme: str
    host: str

    @property
    def uri(self) -> str:
        """As Apptainer stores it."""
        return "%s://%s" % self


class WantedToken(NamedTuple):
    """A declared token of an endpoint. `keep`: leave it as it stands, but don't prune it; so in the other two."""

    name: str
    present: bool = True
    token: str = ""
    keep: bool = False

    def __repr__(self) -> str:
        return safe_repr(self)


class WantedKeyserverLogin(NamedTuple):
    """A declared login to a keyserver. Without `username`, `password` is a bearer token, as for `apptainer keyserver login`."""

    uri: str
    present: bool = True
    username: str = ""
    password: str = ""
    keep: bool = False

    def __repr__(self) -> str:
        return safe_repr(self)


class WantedRegistry(NamedTuple):
    """A declared login to a registry. `insecure` of None: as it is, else false."""

    uri: str
    present: bool = True
    username: str = ""
    password: str = ""
    insecure: Optional[bool] = None
    keep: bool = False

    def __repr__(self) -> str:
        return safe_repr(self)


class Files(NamedTuple):
    """The two files of an account."""

    remotes: RemoteConfig
    docker: DockerConfig


class DesiredLogins(NamedTuple):
    """The files to write, and what the user should hear about it."""

    files: Files
    warnings: Tuple[str, ...]


def registry(uri: str) -> Registry:
    """A declared registry URI, safe: `docker://` or `oras://`, then a host with or without port, in lower case, and no path.

    The case of a host means nothing to servers, but all to the key under which Apptainer looks for a login. Trailing slashes are dropped,
    which Apptainer refuses (recorded run reg-slash), as it does a path (reg-path) or no scheme (reg-noscheme). Raises RuleError with the
    reason; it never quotes what may be a password.
    """
    text = uri.strip()
    scheme = _SCHEME.match(text)
    if not scheme:
        raise RuleError(f"uri has no scheme{_EXAMPLE}")
    if scheme.group(1).lower() not in REGISTRY_SCHEMES:
        raise RuleError(f"uri has the scheme {scheme.group(1)}, but a registry has docker or oras{_EXAMPLE}")
    rest = text[scheme.end():]
    if "@" in rest:
        raise RuleError(f"uri holds a user name or password, which belong into username and password{_EXAMPLE}")
    if "?" in rest or "#" in rest:
        raise RuleError(f"uri has a query or fragment, for which Apptainer has no place{_EXAMPLE}")
    host = rest.rstrip("/").lower()
    if "/" in host:
        raise RuleError(f"uri has a path, but a login is for a whole registry, and Apptainer from 1.3 refuses one{_EXAMPLE}")
    match = _HOST.match(host)
    if not match or not names_host(parse(f"//{host}")):
        raise RuleError(f"uri names no host, or one that cannot be{_EXAMPLE}")
    if match.group(1) and not 0 < int(match.group(1)) < 65536:
        raise RuleError(f"uri has the port {match.group(1)}, which cannot be")
    return Registry(scheme.group(1).lower(), host)


def keyserver_login_uri(uri: str, present: bool = True) -> str:
    """The URI of a declared keyserver login, without white space around it, safe.

    Raises RuleError for hkp and hkps, with which Apptainer can't log in (recorded run ks-hkp), though it may be logged out of; for other
    schemes than http and https; and for what holds a password.
    """
    if "@" in uri:
        raise RuleError("uri holds a user name or password, which belong into username and password; write it like https://keys.example.org")
    uri = check_keyserver(uri)
    url = parse(uri)
    if url.query or url.fragment:
        raise RuleError("uri has a query or fragment, which no keyserver needs; write it like https://keys.example.org")
    if present and url.scheme not in ("http", "https"):
        raise RuleError("Apptainer cannot log in with the scheme %s; write %s://%s%s" % ((url.scheme,) + credential_key(uri) + (url.path,)))
    return uri


def converge_logins(
    files: Files,
    tokens: Sequence[WantedToken],
    keyservers: Sequence[WantedKeyserverLogin],
    registries: Sequence[WantedRegistry],
    system: RemoteConfig,
    prune: Collection[str] = (),
    system_known: bool = True,
    with_credentials: bool = True,
    check_mode: bool = False,
) -> DesiredLogins:
    """Put the declared logins onto an account's two files.

    `system` is what the global file says: empty if there is none, or, with `system_known` false, if it can't be read. `prune` names the
    kinds (`remotes`, `keyservers`, `registries`) of which logins that are not listed are removed. `with_credentials` is false for an
    explicit auth file: its logins are not listed in remote.yaml (as Apptainer from 1.4 does with `--authfile`). `foresee` is for check
    mode: a login to an endpoint that no file has yet is not refused, as an earlier task may make it in a real run.
    Raises RuleError that names the login, the reason and the way out. Linear in the number of logins.
    """
    if prune and not (tokens or keyservers or registries):
        raise RuleError("prune: true without a login in any list would remove them all; list those that should stay")
    run = _LoginConvergence(files, system, system_known, with_credentials, check_mode)
    run.tokens(tokens, "remotes" in prune)
    listed = run.keyservers(keyservers) | run.registries(registries, "registries" in prune)
    if "keyservers" in prune:
        run.credentials.prune(listed, lambda scheme: scheme not in REGISTRY_SCHEMES)
    if "registries" in prune and with_credentials:
        run.credentials.prune(listed, lambda scheme: scheme in REGISTRY_SCHEMES)
    remotes = run.remotes._replace(credentials=run.credentials.result())
    run.warn_of_new_file(remotes)
    return DesiredLogins(Files(remotes, run.docker), tuple(run.warnings))


_CredentialKey = Tuple[str, str]


def credential_key(uri: str) -> _CredentialKey:
    """Scheme and host by which the entries of Credentials are told apart; what can be neither a registry nor a keyserver is itself."""
    try:
        url = parse(uri)
    except RuleError:
        return "", uri
    if url.scheme in REGISTRY_SCHEMES:
        return url.scheme, url.host.lower()
    return keyserver_identity(uri) or ("", uri)


class _Credentials:
    """A working copy of Credentials, by place, so that a thousand logins take a thousand steps."""

    def __init__(self, credentials: Iterable[Credential]) -> None:
        self._items: Dict[_CredentialKey, List[Tuple[int, Credential]]] = {}
        self._last = 0
        for item in credentials:
            self._append(credential_key(item.uri), item)

    def _append(self, place: _CredentialKey, item: Credential) -> None:
        self._last += 1
        self._items.setdefault(place, []).append((self._last, item))

    def at(self, place: _CredentialKey) -> List[Credential]:
        return [item for _number, item in self._items.get(place, ())]

    def remove(self, place: _CredentialKey) -> None:
        self._items.pop(place, None)

    def put(self, place: _CredentialKey, item: Credential) -> None:
        if self.at(place) != [item]:
            self.remove(place)
            self._append(place, item)

    def prune(self, listed: Set[_CredentialKey], concerns: Callable[[str], bool]) -> None:
        """Remove what is not listed, of the schemes that this is about."""
        for place in set(self._items) - listed:
            if concerns(place[0]):
                self.remove(place)

    def result(self) -> Tuple[Credential, ...]:
        return tuple(item for _number, item in sorted(pair for pairs in self._items.values() for pair in pairs))


class _LoginConvergence:
    """One run of converge_logins()."""

    def __init__(self, files: Files, system: RemoteConfig, system_known: bool, with_credentials: bool, check_mode: bool) -> None:
        self.before = files.remotes
        self.remotes = files.remotes
        self.docker = files.docker
        self.system = system
        self.system_known = system_known
        self.with_credentials = with_credentials
        self.check_mode = check_mode
        self.credentials = _Credentials(files.remotes.credentials)
        self.warnings: List[str] = []

    # tokens

    def tokens(self, wanted: Sequence[WantedToken], prune: bool) -> None:
        listed: Set[str] = set()
        changes: List[WantedRemote] = []
        for item in wanted:
            name = quoted(item.name)
            if item.name in listed:
                raise RuleError(f"endpoint {name} is listed twice; merge the two entries")
            listed.add(item.name)
            if item.keep:
                continue
            if item.present:
                self._check_token(item)
                changes.append(WantedRemote(item.name, token=item.token))
            elif item.name in self.before.remotes:
                changes.append(WantedRemote(item.name, token=""))
        if prune:
            changes += [WantedRemote(name, token="") for name, remote in self.before.remotes.items() if remote.token and name not in listed]
        if changes:
            outcome = converge(self.remotes, changes, self.system, system_known=self.system_known, check_mode=self.check_mode)
            self.remotes = outcome.config
            self.warnings += outcome.warnings

    def _check_token(self, item: WantedToken) -> None:
        name = quoted(item.name)
        if not item.token:
            raise RuleError(f"endpoint {name}: the token is empty; give one, or remove the stored one with state: absent")
        if item.name in self.before.remotes or item.name in self.system.remotes:
            return
        if not self.system_known:
            raise RuleError(f"endpoint {name}: this user has none of that name, and the global file cannot be read; mend that file first")
        if self.check_mode:
            return
        raise RuleError(f"endpoint {name} does not exist, so there is nothing to log in to; add it first, with apptainer_remote")

    # keyservers

    def keyservers(self, wanted: Sequence[WantedKeyserverLogin]) -> Set[_CredentialKey]:
        """Returns the places of those listed."""
        listed: Set[_CredentialKey] = set()
        external, builtin = self._configured_keyservers() if wanted else (set(), set())
        for item in wanted:
            try:
                uri = keyserver_login_uri(item.uri, item.present)
                place = credential_key(uri)
                if place in listed:
                    raise RuleError("it is listed twice (Apptainer compares scheme and host only); merge the two entries")
                listed.add(place)
                if item.present and not item.keep:
                    self._log_in_to_keyserver(item, uri, place)
                elif not item.present and not item.keep:
                    self.credentials.remove(place)
            except RuleError as error:
                raise RuleError(f"keyserver {_named(item.uri)}: {error}") from None
            if item.present and not item.keep and self.system_known and place not in external:
                self.warnings.append("keyserver %s: Apptainer would never send this login, because %s" % (uri, (
                    "it is an endpoint's own keyserver, which gets the endpoint's token instead" if place in builtin
                    else "no endpoint has this keyserver; add it to one with apptainer_keyserver")))
        return listed

    def _configured_keyservers(self) -> Tuple[Set[_CredentialKey], Set[_CredentialKey]]:
        """The external and the built-in keyservers of all endpoints, as Apptainer looks for one (recorded runs ks-user-remote, ks-not-external)."""
        remotes = sync(self.remotes, self.system).remotes or BUILT_IN["apptainer"].remotes
        servers = [server for remote in remotes.values() for server in remote.keyservers]
        implied = [fixed_keyserver(remote.uri) for remote in remotes.values() if not remote.keyservers]
        servers += [Keyserver(uri) for uri in implied if uri]
        return ({credential_key(server.uri) for server in servers if server.external},
                {credential_key(server.uri) for server in servers if not server.external})

    def _log_in_to_keyserver(self, item: WantedKeyserverLogin, uri: str, place: _CredentialKey) -> None:
        if not item.username and not re.match(r"[\x21-\x7e]+\Z", item.password):
            raise RuleError("the password is empty; give one, or remove the login with state: absent" if not item.password else
                            "without a username the password is a token, and it holds white space or characters that no HTTP header can carry")
        auth = f"Basic {encode_login(item.username, item.password)}" if item.username else f"Bearer {item.password}"
        stored = self.credentials.at(place)
        self.credentials.put(place, Credential(uri, auth, len(stored) == 1 and stored[0].insecure))

    # registries

    def registries(self, wanted: Sequence[WantedRegistry], prune: bool) -> Set[_CredentialKey]:
        """Returns the places of those listed."""
        listed: Dict[_CredentialKey, WantedRegistry] = {}
        by_host: Dict[str, WantedRegistry] = {}
        kept: Set[str] = set()
        for item in wanted:
            try:
                self._check_registry(item, listed, by_host)
            except RuleError as error:
                raise RuleError(f"registry {_named(item.uri)}: {error}") from None
            if item.keep:
                kept.add(canonical_host(registry(item.uri).host))
        self._change_docker({host: item for host, item in by_host.items() if host not in kept})
        if prune:
            self.docker = only_hosts(self.docker, by_host)
        self._warn_of_rest([host for host, item in by_host.items() if not item.present and host not in kept])
        if self.with_credentials:
            for place, item in listed.items():
                if canonical_host(place[1]) not in kept:
                    self._list_registry(place, item)
        return set(listed)

    def _check_registry(self, item: WantedRegistry, listed: Dict[_CredentialKey, WantedRegistry], by_host: Dict[str, WantedRegistry]) -> None:
        place = registry(item.uri)
        if item.present and not item.keep:
            encode_login(item.username, item.password)
        if place in listed:
            raise RuleError("it is listed twice; merge the two entries")
        listed[place] = item
        other = by_host.setdefault(canonical_host(place.host), item)
        if (other.present, other.username, other.password) != (item.present, item.username, item.password):
            raise RuleError("it shares one login with %s, but they are declared differently; make state, username and password the same"
                            % registry(other.uri).uri)

    def _change_docker(self, wanted: Mapping[str, WantedRegistry]) -> None:
        found = HostKeys(self.docker)
        for host, item in wanted.items():
            manager = found.helper(host)
            if manager and not item.present:
                self.warnings.append("registry %s: the credential helper %s manages its logins, so one may still be there; remove it with "
                                     "docker logout %s" % (host, quoted(manager), host))
        self.docker = set_logins(self.docker, {host: (item.username, item.password) if item.present else None for host, item in wanted.items()})

    def _warn_of_rest(self, absent: Sequence[str]) -> None:
        found = HostKeys(self.docker)
        for host in absent:
            if host in found.namespaced:
                self.warnings.append("registry %s: logins for parts of it are left (%s), and Apptainer from 1.4 uses any of them for all of it; "
                                     "apptainer_logins with prune: true removes them, and whatever else is not listed" % (host, ", ".join(
                                         quoted(without_login(key)) for key in sorted(found.namespaced[host]))))

    def _list_registry(self, place: _CredentialKey, item: WantedRegistry) -> None:
        """What `apptainer registry list` shows of it."""
        if item.present:
            stored = self.credentials.at(place)
            insecure = bool(stored) and all(one.insecure for one in stored) if item.insecure is None else item.insecure
            self.credentials.put(place, Credential("%s://%s" % place, insecure=insecure))
            return
        for host in HUB_HOSTS if canonical_host(place[1]) == HUB else (place[1],):
            for scheme in REGISTRY_SCHEMES:
                self.credentials.remove((scheme, host))

    # the whole

    def warn_of_new_file(self, after: RemoteConfig) -> None:
        """A user with a file gets the global endpoints without Insecure and Token (`SyncFrom` in remote.go)."""
        if self.before != RemoteConfig() or after == self.before:
            return
        shared = [(name, remote) for name, remote in sorted(self.system.remotes.items()) if name not in after.remotes]
        insecure = [name for name, remote in shared if remote.insecure]
        tokens = [name for name, remote in shared if remote.token]
        for names, loss in ((insecure, "insecure (http)"), (tokens, "the token")):
            if names:
                self.warnings.append("this user gets a remote.yaml, and for users with one Apptainer takes %s not from the global file; this "
                                     "concerns the endpoints %s, so declare them with apptainer_remote" % (loss, ", ".join(map(quoted, names))))


def _named(uri: str) -> str:
    """A declared URI as messages name it, up to where a password may stand, as it may be broken."""
    return quoted(_NAMED.findall(without_login(uri.strip()))[0])
