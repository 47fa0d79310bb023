# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The declared logins of one account, put onto its remote.yaml and docker-config.json by rules that are safe to write with.

What is not declared is left alone, unless pruned. The logins to registries are in `_rules/registries.py`.
"""

from typing import Collection, List, NamedTuple, Sequence, Set, Tuple

from .._apptainer.effective import BUILT_IN, sync
from .._errors import RuleError, quoted
from .._redaction import safe_part, safe_repr
from .._values.claims import fits_header
from .._values.docker_config import DOCKER_CONFIG, DockerConfig
from .._values.remote_config import Credential, Keyserver, RemoteConfig
from .._values.uri import hardcoded_keyserver, parse
from .credentials import REGISTRY_SCHEMES, CredentialKey, Credentials, credential_key
from .endpoints import Desired, converge
from .registries import WantedRegistry, converge_registries, encode_login
from .uris import checked_keyserver_uri
from .wanted import WantedRemote, endpoint_subject


class WantedToken(NamedTuple):
    """A declared token of an endpoint. `keep`: leave it as it is, but do not prune it; so in WantedKeyserverLogin and WantedRegistry."""

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


class Files(NamedTuple):
    """The two files of an account."""

    remotes: RemoteConfig
    docker: DockerConfig


class DesiredLogins(NamedTuple):
    """The files to write, and what the user should hear about it."""

    files: Files
    warnings: Tuple[str, ...]


def converge_logins(
    files: Files,
    system: RemoteConfig,
    *,
    tokens: Sequence[WantedToken] = (),
    keyservers: Sequence[WantedKeyserverLogin] = (),
    registries: Sequence[WantedRegistry] = (),
    prune: Collection[str] = (),
    system_problem: str = "",
    with_credentials: bool = True,
    check_mode: bool = False,
    flavor: str = "apptainer",
    docker_path: str = DOCKER_CONFIG
) -> DesiredLogins:
    """Put the declared logins onto an account's two files.

    `system` is the content of the global file: empty if there is none, or if it cannot be read for the reason `system_problem`. `prune` names
    the kinds (`remotes`, `keyservers`, `registries`) of which all logins are removed that are not listed. `with_credentials` is false for
    an explicit auth file: its logins are not listed in remote.yaml (as Apptainer from 1.4 on does it with `--authfile`: recorded run
    authfile-existing). In `check_mode` a token for an endpoint that no file has yet is not refused, as an earlier task may create the
    endpoint in a real run. `flavor` is that of the program that reads the files; `docker_path` is where the docker-config.json is, for messages.
    Raises RuleError about the login, with the reason and the way out. Linear in the number of logins.
    """
    if prune and not (tokens or keyservers or registries):
        raise RuleError("prune: true with no login in any list would remove all logins; list those to keep")
    remotes, warnings = _with_tokens(files.remotes, system, tokens, "remotes" in prune, system_problem, check_mode, flavor)
    credentials = Credentials(remotes.credentials)
    listed = _set_keyserver_logins(credentials, keyservers)
    if not system_problem:
        warnings += _never_sent(keyservers, remotes, system, flavor)
    desired = converge_registries(files.docker, credentials, registries, "registries" in prune, with_credentials, docker_path)
    listed |= desired.listed
    if "keyservers" in prune:
        credentials.prune(listed, lambda scheme: scheme not in REGISTRY_SCHEMES)
    if "registries" in prune and with_credentials:
        credentials.prune(listed, lambda scheme: scheme in REGISTRY_SCHEMES)
    remotes = remotes._replace(credentials=credentials.result())
    warnings += desired.warnings
    if files.remotes == RemoteConfig() and remotes != RemoteConfig():
        warnings += _lost_with_an_own_file(remotes, system)
    return DesiredLogins(Files(remotes, desired.docker), warnings)


# tokens


def _with_tokens(
    remotes: RemoteConfig,
    system: RemoteConfig,
    wanted: Sequence[WantedToken],
    prune: bool,
    system_problem: str,
    check_mode: bool,
    flavor: str
) -> Desired:
    """The user's file with the declared tokens."""
    listed: Set[str] = set()
    changes: List[WantedRemote] = []
    for item in wanted:
        try:
            if item.name in listed:
                raise RuleError("it is listed twice; merge the two entries")
            listed.add(item.name)
            if item.present and not item.keep:
                _check_token(item, item.name in remotes.remotes or item.name in system.remotes, system_problem, check_mode)
        except RuleError as error:
            raise error.about(endpoint_subject(item.name)) from None
        if item.present and not item.keep:
            changes.append(WantedRemote(item.name, token=item.token))
        elif item.name in remotes.remotes and not item.keep:
            changes.append(WantedRemote(item.name, token=""))
    if prune:
        changes += [WantedRemote(name, token="") for name, remote in remotes.remotes.items() if remote.token and name not in listed]
    return converge(remotes, changes, system, system_problem=system_problem, check_mode=check_mode, flavor=flavor) if changes else Desired(remotes)


def _check_token(item: WantedToken, exists: bool, system_problem: str, check_mode: bool) -> None:
    if not item.token:
        raise RuleError("the token is empty; set one, or remove the stored one with state: absent")
    if exists:
        return
    if system_problem:
        raise RuleError(f"this user's file does not have it, and the global file cannot be read; fix the global file first: {system_problem}")
    if not check_mode:
        raise RuleError("it does not exist, so there is nothing to log in to; add it first with apptainer_remote")


# keyservers


def checked_keyserver_login_uri(uri: str, present: bool = True) -> str:
    """The URI of a declared keyserver login, without white space around it.

    Raises RuleError for hkp and hkps, with which Apptainer cannot log in (recorded run ks-hkp) but out; for other schemes than http and
    https; and for a URI with a user name or password.
    """
    if "@" in uri:
        raise RuleError("uri has a user name or password; use the options username and password instead")
    uri = checked_keyserver_uri(uri)
    url = parse(uri)
    if url.query or url.fragment:
        raise RuleError("uri has a query or fragment, which no keyserver needs; write it like https://keys.example.org")
    if present and url.scheme not in ("http", "https"):
        scheme, host = credential_key(uri)
        raise RuleError(f"Apptainer cannot log in with the scheme {url.scheme}; write {scheme}://{host}{url.path}")
    return uri


def _set_keyserver_logins(credentials: Credentials, wanted: Sequence[WantedKeyserverLogin]) -> Set[CredentialKey]:
    """Put the declared logins into `credentials`. Returns the keys of what is declared."""
    listed: Set[CredentialKey] = set()
    for item in wanted:
        try:
            uri = checked_keyserver_login_uri(item.uri, item.present)
            key = credential_key(uri)
            if key in listed:
                raise RuleError("it is listed twice (Apptainer compares scheme and host only); merge the two entries")
            listed.add(key)
            if item.keep:
                continue
            if not item.present:
                credentials.remove(key)
                continue
            stored = credentials.matching(key)
            credentials.replace(key, Credential(uri, _authorization(item), len(stored) == 1 and stored[0].insecure))
        except RuleError as error:
            raise error.about(f"keyserver {quoted(safe_part(item.uri))}") from None
    return listed


def _never_sent(wanted: Sequence[WantedKeyserverLogin], remotes: RemoteConfig, system: RemoteConfig, flavor: str) -> Tuple[str, ...]:
    """A warning for each declared login that no endpoint has a use for."""
    uris = [item.uri.strip() for item in wanted if item.present and not item.keep]
    if not uris:
        return ()
    external, builtin = _configured_keyservers(sync(remotes, system), flavor)
    warnings = []
    for uri in uris:
        key = credential_key(uri)
        if key not in external:
            why = ("it is an endpoint's built-in keyserver, which gets the endpoint's token instead; log in to the endpoint" if key in builtin
                   else "no endpoint has this keyserver; add it to one with apptainer_keyserver")
            warnings.append(f"keyserver {uri}: Apptainer never sends this login, because {why}")
    return tuple(warnings)


def _configured_keyservers(config: RemoteConfig, flavor: str) -> Tuple[Set[CredentialKey], Set[CredentialKey]]:
    """The external and the built-in keyservers of all endpoints, as Apptainer looks for one (recorded runs ks-user-remote, ks-not-external)."""
    remotes = config.remotes or BUILT_IN[flavor].remotes
    servers = [server for remote in remotes.values() for server in remote.keyservers]
    implied = [hardcoded_keyserver(remote.uri, flavor) for remote in remotes.values() if not remote.keyservers]
    servers += [Keyserver(uri) for uri in implied if uri]
    return ({credential_key(server.uri) for server in servers if server.external},
            {credential_key(server.uri) for server in servers if not server.external})


def _authorization(item: WantedKeyserverLogin) -> str:
    """The header to store as `Auth`. Raises RuleError for a login that cannot be sent."""
    if item.username:
        return f"Basic {encode_login(item.username, item.password)}"
    if not item.password:
        raise RuleError("the password is empty; set one, or remove the login with state: absent")
    if not fits_header(item.password):
        raise RuleError("without a username the password is a token, and it has white space or characters that an HTTP header cannot carry; "
                        "set username, or correct the token")
    return f"Bearer {item.password}"


# the whole


def _lost_with_an_own_file(remotes: RemoteConfig, system: RemoteConfig) -> Tuple[str, ...]:
    """What a user who gets a file loses: Apptainer then takes over the global endpoints without Insecure and Token (`SyncFrom` in remote.go)."""
    system_remotes = [(name, remote) for name, remote in sorted(system.remotes.items()) if name not in remotes.remotes]
    insecure = [name for name, remote in system_remotes if remote.insecure]
    tokens = [name for name, remote in system_remotes if remote.token]
    return tuple(
        f"this user now gets a remote.yaml, and then Apptainer ignores what the global file says of {lost} for the endpoints "
        f"{', '.join(map(quoted, names))}; declare them for this user with apptainer_remote"
        for names, lost in ((insecure, "insecure (http)"), (tokens, "the token")) if names)
