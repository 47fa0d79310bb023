# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What is wrong with the files of a node, or soon will be: pure rules over what was read.

Each rule names its source: a file of Apptainer, a recorded run (tests/golden) by its id, or an upstream issue.
"""

import posixpath
import re
import shlex
from typing import Any, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from .._apptainer.effective import effective, exclusives, same_name_does, shadows, sync, tears_table
from .._apptainer.services import USED_SERVICES, service_hazard
from .._errors import quoted
from .._files.locations import DISCOVERY_CACHE
from .._formats.remote_yaml_reader import Document
from .._redaction import without_login
from .._values.docker_config import (
    HUB,
    DockerConfig,
    HostKeys,
    canonical_host,
    keys_for_host,
    login_hosts,
    old_logins,
    other_system,
    registry_key,
)
from .._values.flavors import FLAVORS
from .._values.remote_config import Remote, RemoteConfig
from .._values.uri import is_usable, keyserver_identity, same_place
from .program import ProgramAnswer

SEVERITIES = ("error", "warning", "info")  # the most severe first


class ReadFile(NamedTuple):
    """One file as it was found. `document`, a Document or DockerConfig, is None if the file is absent or, with `error`, unreadable; `mode`,
    `uid` and `directory_mode` are None if unknown. `directory` is the real one that it is in. `expected_uid` should own it. `unopened_link`: it
    is a symbolic link (then all else is about its target), which the program does not open."""

    path: str
    exists: bool = False
    document: Any = None
    error: Optional[str] = None
    mode: Optional[int] = None
    uid: Optional[int] = None
    expected_uid: int = 0
    directory: str = ""
    directory_mode: Optional[int] = None
    unopened_link: bool = False

    @property
    def config(self) -> Optional[RemoteConfig]:
        """What the newest version of the program reads in a remote.yaml, or None if it ignores the file or there is none."""
        document: Optional[Document] = self.document
        return document.config if document and document.has_data and not document.refused and not self.unopened_link else None

    @property
    def held(self) -> RemoteConfig:
        """What a remote.yaml holds, whoever reads it; empty if there is none or it cannot be read."""
        return self.document.config if self.document else RemoteConfig()


class Finding(NamedTuple):
    """One thing to fix or to know.

    `severity`: `error` breaks something or opens a hole now, `warning` will for some users or versions, `info` is as it should be nowadays.
    """

    id: str
    severity: str
    path: str
    message: str
    remote: Optional[str] = None
    line: Optional[int] = None
    refused_by: Tuple[str, ...] = ()


def findings(
    system_file: ReadFile,
    user_file: ReadFile,
    cached: Sequence[str] = (),
    flavor: str = "apptainer",
    auth_file: Optional[ReadFile] = None,
    program: Optional[ProgramAnswer] = None,
) -> List[Finding]:
    """All findings for the global file, a user's file, the names of its `cached` discovery documents, its docker-config.json and what the
    installed program says; the most severe first."""
    found: List[Finding] = []
    for file in (system_file, user_file):
        found += _reading(file, flavor)
    found += _links(system_file, user_file, flavor)
    found += _global_mode(system_file)
    has_secret = _has_secret(user_file.held)
    # `cmd/internal/cli/apptainer.go` handleRemoteConf: Apptainer opens the file to write and sets its mode, which only its owner may
    found += _user_mode(user_file, has_secret, "so every apptainer command of that user fails")
    found += _auth_file(auth_file) if auth_file else ()
    system, user = system_file.config, user_file.config
    # what is in them counts for versions that read them, and for all when they are repaired
    found += _global_content(system_file.path, system_file.held)
    found += _user_content(user_file.path, user_file.held, None if system_file.error else system_file.held, flavor)
    found += _cache(posixpath.join(posixpath.dirname(user_file.path), DISCOVERY_CACHE), cached, system)
    if program and program.asked:
        found += _program(system_file.path, program, sync(user_file.held, system_file.held))
    # `cmd/internal/cli/apptainer.go` getRemote, `internal/pkg/remote/remote.go` GetDefault
    problem = effective(user, system, flavor).problem
    is_fatal_name = FLAVORS[flavor].same_name_is_fatal and shadows(user or RemoteConfig(), system or RemoteConfig())  # there is a finding for it
    if problem and not is_fatal_name:
        path = user_file.path if user is not None else system_file.path
        found.append(Finding("no-usable-default", "error", path, f"Apptainer refuses every command that needs an endpoint: {problem}"))
    return by_severity(found)


def by_severity(found: Iterable[Finding]) -> List[Finding]:
    """Findings, the most severe first, otherwise in their order."""
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


def root_owned(directory: str, owner: Optional[int]) -> List[Finding]:
    """A user's directory that belongs to root, though the home that it is in belongs to the uid `owner`; nothing, if that is None.

    Source: `cmd/internal/cli/apptainer.go` handleConfDir and handleRemoteConf, which need to write there.
    """
    if owner is None:
        return []
    return [Finding("owner", "error", directory, f"it belongs to root, perhaps after a sudo, but the home that it is in to uid {owner}, whose "
                                                 f"apptainer commands need to write there; give it back: chown -R {owner} {directory}")]


def service_findings(system_path: str, user_path: str, config: RemoteConfig, services: Iterable[Mapping[str, Any]]) -> List[Finding]:
    """What is dangerous about the services that the endpoints of the effective configuration lead to. `services` is what servers were asked."""
    found: List[Finding] = []
    for endpoint in services:
        remote = config.remotes[endpoint["remote"]]
        for service in endpoint["services"]:
            hazard = service_hazard(remote.uri, remote.insecure, service["uri"])
            if hazard and service["name"] in USED_SERVICES:
                path = system_path if remote.system else user_path
                text = f"the discovery document offers a {service['name']} service at {service['uri']}, which {hazard}; correct it in that document"
                found.append(Finding("insecure-service", "error", path, text, endpoint["remote"]))
    return found


def _reading(file: ReadFile, flavor: str) -> Iterator[Finding]:
    """Source: the recorded runs of accept, in which each version of each program reads or refuses 264 variants of a file."""
    if file.error:
        yield Finding("unreadable", "error", file.path, file.error)
    for quirk in file.document.quirks if file.document else ():
        severity = "error" if FLAVORS[flavor].newest in quirk.refused_by else "warning"
        message = f"{FLAVORS[flavor].program} {', '.join(quirk.refused_by)} cannot read this file: {quirk.message}"
        yield Finding("refused-by-versions", severity, file.path, message, line=quirk.line, refused_by=quirk.refused_by)


def _links(system_file: ReadFile, user_file: ReadFile, flavor: str) -> Iterator[Finding]:
    """Source: SingularityCE from 4.5.0 opens remote.yaml with O_NOFOLLOW (runs of 4.5.1, 4.4.2 and 4.0.3 by hand).

    A global file that is a link is ignored without a word, except by `remote list`, `remote use` and `remote add --global`, which fail. A
    user's makes every command fail, unless its target does not exist yet.
    """
    words = f"it is a symbolic link, which {FLAVORS[flavor].program} {FLAVORS[flavor].newest} and newer do not open"
    if system_file.unopened_link:
        yield Finding("symbolic-link", "error", system_file.path,
                      f"{words}, so they ignore the global file for everyone, with its default and its exclusive endpoint; declare an endpoint with "
                      "scope: global, which puts a file in its place")
    if user_file.unopened_link:
        consequence = "so every command of this user fails" if user_file.exists else "so every command of this user will fail once its target exists"
        yield Finding("symbolic-link", "error" if user_file.exists else "warning", user_file.path,
                      f"{words}, {consequence}; replace it by a copy of its target, or declare an endpoint or login of this user, which does that")


def _global_mode(file: ReadFile) -> Iterator[Finding]:
    """Source: `cmd/internal/cli/apptainer.go` getRemote, which goes on without a global file that it cannot open, and without a word."""
    if file.mode is None or file.uid is None:
        return
    directory = file.directory or posixpath.dirname(file.path)
    directory_mode = 0o755 if file.directory_mode is None else file.directory_mode
    if directory_mode & 0o011 != 0o011:
        yield _mode(directory, directory_mode, 0o755, "users cannot reach the global file in this directory, so Apptainer ignores that file for them")
    if directory_mode & 0o022:
        yield _mode(directory, directory_mode, 0o755, "users other than its owner can replace the global file in this directory")
    if file.mode & 0o444 != 0o444:
        yield _mode(file.path, file.mode, 0o644, "users cannot read it, so Apptainer ignores it for them")
    if file.mode & 0o022:
        yield _mode(file.path, file.mode, 0o644, "users other than its owner can change it for everyone")
    if file.uid != file.expected_uid:
        yield _owner(file, "who can change it for everyone")


def _mode(path: str, mode: int, wanted: int, consequence: str, severity: str = "error") -> Finding:
    """What a wrong mode does, and the command that sets it right: some readers see the message alone."""
    return Finding("mode", severity, path, f"mode {mode:04o}: {consequence}; run: chmod {wanted:04o} {shlex.quote(path)}")


def _owner(file: ReadFile, consequence: str) -> Finding:
    return Finding("owner", "error", file.path,
                   f"it belongs to uid {file.uid}, {consequence}; run: chown {file.expected_uid} {shlex.quote(file.path)}")


def _has_secret(config: RemoteConfig) -> bool:
    return any(remote.token for remote in config.remotes.values()) or any(credential.auth for credential in config.credentials)


def _user_mode(file: ReadFile, has_secret: bool, consequence: str) -> Iterator[Finding]:
    if file.mode is None or file.uid is None:
        return
    if file.mode & 0o077:
        readable = "other users can read the secrets in it" if has_secret else "other users can read it, and a secret that is stored there later"
        yield _mode(file.path, file.mode, 0o600, readable, "error" if has_secret else "warning")
    if file.uid != file.expected_uid:
        yield _owner(file, f"but its directory to uid {file.expected_uid}, {consequence}")


def _auth_file(file: ReadFile) -> Iterator[Finding]:
    """Source of `unused-login`: Apptainer 1.3 stores a login for Docker Hub as `docker.io` (sylabs/singularity issue 2778 is the same error),
    from 1.4 it is looked up by its old address only, as docker/cli does (`registry_key`). Case counts in a key, and only `auths` is read
    (`file_store.go` and `config.go` of docker/cli).
    """
    if file.error:
        yield Finding("unreadable", "error", file.path, file.error)
    config: DockerConfig = file.document or DockerConfig()
    old = ", ".join(quoted(without_login(key)) for key in old_logins(config))
    yield from _user_mode(file, bool(login_hosts(config) or old), "so that user may not be able to use it")
    keys = keys_for_host(config, HUB)
    if keys and registry_key(HUB) not in keys:
        names = ", ".join(quoted(without_login(key)) for key in keys)
        yield Finding("unused-login", "error", file.path, f"the login for Docker Hub is stored as {names}, where Apptainer 1.4 and newer do not "
                                                          "look; declare it again")
    if old:
        yield Finding("unused-login", "error", file.path, f"logins are at the top level of the file ({old}), as in the old .dockercfg: Apptainer "
                                                          "does not see them, but their secrets are there; remove them from there, and declare them")
    yield from _spellings(file.path, HostKeys(config))
    yield from _other_systems(file.path, config)


def _spellings(path: str, keys: HostKeys) -> Iterator[Finding]:
    for host in sorted(keys.whole):
        usual = canonical_host(host.lower())
        if host != usual and usual not in keys.whole:
            yield Finding("unused-login", "warning", path, f"the login is stored for {host}, and Apptainer, which compares with case, does not find "
                                                           f"it in a pull of {usual}/...; declare it for {usual} if images are named so")


def _other_systems(path: str, config: DockerConfig) -> Iterator[Finding]:
    """Source: docker/cli (`native_store.go`) runs `docker-credential-NAME`, and fails without it."""
    helpers = [("credsStore", config.tree.get("credsStore"))]
    helpers += [(f"{quoted(without_login(key))} in credHelpers", name) for key, name in sorted((config.tree.get("credHelpers") or {}).items())]
    for key, name in helpers:
        if name and other_system(name):
            yield Finding("foreign-helper", "error", path, f"{key} is {quoted(name)}, a credential helper for {other_system(name)}, so Apptainer "
                                                           f"finds no login on this node; remove {key} from the file, and declare the logins")


def _global_content(path: str, config: RemoteConfig) -> Iterator[Finding]:
    exclusive = exclusives(config.remotes)
    if len(exclusive) > 1:
        # `internal/pkg/remote/remote.go` SyncFrom walks a map, so the last one wins; merge-1.5.3-0021 names another one each time
        yield Finding("two-exclusives", "error", path, f"the endpoints {', '.join(map(quoted, exclusive))} are all exclusive, so Apptainer picks one "
                                                       "at random; set exclusive: true for the right one")
    elif exclusive and config.active != exclusive[0]:
        # `cmd/internal/cli/apptainer.go` getRemote: Exclusive counts only in SyncFrom, for users who have a file;
        # `use --exclusive` and then `use --global` of another one lead to it (remote_ops-1.5.3-0328)
        others = quoted(config.active) if config.active else "no endpoint"
        yield Finding("exclusive-not-default", "error", path, f"users without their own file get {others}, all others this exclusive endpoint; "
                                                              "set exclusive: true for it again", remote=exclusive[0])
    for name, remote in sorted(config.remotes.items()):
        for finding in _global_endpoint(path, name, remote):
            yield finding._replace(remote=name)
    if config.credentials:
        # `internal/pkg/remote/remote.go` SyncFrom copies no Credentials
        severity = "error" if any(credential.auth for credential in config.credentials) else "warning"
        yield Finding("global-secret", severity, path, "credentials in the global file are readable by everyone and work only for users without "
                                                       "their own file; remove them, and log in per user")


def _global_endpoint(path: str, name: str, remote: Remote) -> Iterator[Finding]:
    yield from _name(path, name)
    yield from _address(path, remote)
    if remote.insecure:
        # SyncFrom copies URI, Exclusive and Keyservers only (merge-1.5.3-0026); likewise for the token below (merge-1.5.3-0055)
        yield Finding("insecure-not-synced", "warning", path, "insecure (http) does not reach users who have their own file, so Apptainer uses https "
                                                              "for them; serve the endpoint by https")
    if remote.token:
        yield Finding("global-secret", "error", path,
                      "a token in the global file is readable by everyone; remove it (logout: true), revoke it, and log in per user")
    if not remote.system:
        # `internal/app/apptainer/keyserver_add.go`: "current endpoint is not a system defined endpoint" (keyserver_ops-1.5.3-0005)
        yield Finding("not-system", "warning", path, "System is false in the global file, so keyserver commands refuse this endpoint; "
                                                     "declare it again")
    for keyserver in remote.keyservers:
        if keyserver_identity(keyserver.uri) is None:
            # added without a check, found by no command afterwards: `internal/pkg/remote/util/util.go`; recorded runs of keyserver_ops
            yield Finding("unusable-keyserver", "error", path, f"Apptainer can neither use nor remove the keyserver {without_login(keyserver.uri)}; "
                                                               "remove it with state: absent")


def _name(path: str, name: str) -> Iterator[Finding]:
    """Source: `internal/app/apptainer/remote_list.go` writes names as they are to Go's text/tabwriter."""
    if tears_table(name):
        yield Finding("torn-name", "warning", path, "its name has a tab or a line break, which tears the table of apptainer remote list, so that "
                                                    "people and programs read endpoints there that do not exist; give it another name")


def _address(path: str, remote: Remote) -> Iterator[Finding]:
    """Source: `internal/pkg/remote/endpoint/config.go` GetURL, which since 1.1.0 parses the stored URI; 1.0 put `https://` in front of it."""
    uri = without_login(remote.uri)
    if not is_usable(remote.uri, remote.insecure):
        yield Finding("unusable-uri", "error", path, f"Apptainer 1.1 and newer cannot use the uri {quoted(uri)}; declare the endpoint again")
    elif re.match(r"([A-Za-z][A-Za-z0-9+.-]*:)?//", remote.uri):
        yield Finding("uri-not-for-1.0", "info", path, f"Apptainer 1.0 cannot use the uri {uri}, which 1.1 and newer need for a port; upgrade "
                                                       "nodes that still have 1.0")


def _user_content(path: str, config: RemoteConfig, system: Optional[RemoteConfig], flavor: str) -> Iterator[Finding]:
    """`system` is None if nobody knows what the global file holds.

    Source: `internal/pkg/remote/remote.go` SyncFrom, SetDefault and Remove; one recorded run for each finding.
    """
    for name, remote in sorted(config.remotes.items()):
        system_remote = system.remotes.get(name) if system else None
        if not remote.system:
            yield from (finding._replace(remote=name) for finding in _own_endpoint(path, name, remote, system_remote, flavor))
        elif system_remote is not None:
            yield from (finding._replace(remote=name) for finding in _copy(path, remote, system_remote))
        elif system is not None:
            # "is global and can't be removed" (merge-1.5.3-0054), "has been set exclusive by the system administrator" (merge-1.5.3-0014)
            consequence = "; it is still exclusive here and locks this user out" if remote.exclusive else ""
            yield Finding("stale-copy", "error" if remote.exclusive else "warning", path,
                          f"this is a copy of a global endpoint that no longer exists{consequence}; remove it with state: absent", remote=name)


def _own_endpoint(path: str, name: str, remote: Remote, system_remote: Optional[Remote], flavor: str) -> Iterator[Finding]:
    """An endpoint of the user's own, and the global one that it hides, if any."""
    if system_remote is not None:
        hides, is_fatal = same_name_does(flavor), FLAVORS[flavor].same_name_is_fatal
        if system_remote.exclusive:
            unheeded = "" if is_fatal else ", so that is not exclusive for this user"
            yield Finding("shadowed-exclusive", "error", path, f"{hides}{unheeded}; remove it with state: absent")
        else:
            yield Finding("shadowed", "error" if is_fatal else "warning", path, f"{hides}; remove it with state: absent, or give it another name")
    if remote.exclusive:
        # SetDefault asks only whether any endpoint is exclusive (merge-1.5.3-0025)
        yield Finding("own-exclusive", "error", path, "this user's own endpoint is marked exclusive, so Apptainer refuses to use another; "
                                                      "remove it and add it again")
    yield from _name(path, name)
    yield from _address(path, remote)


def _copy(path: str, remote: Remote, system_remote: Remote) -> Iterator[Finding]:
    """A user's copy of a global endpoint."""
    if remote.token and not same_place(remote.uri, False, system_remote.uri, False):
        # SyncFrom replaces the URI and keeps the token (merge-1.5.3-0056)
        yield Finding("moved-token", "warning", path, f"the token was stored for {without_login(remote.uri)}, but the global endpoint is now at "
                                                      f"{without_login(system_remote.uri)}, and Apptainer sends it there; log in again")
    if remote.exclusive and not system_remote.exclusive:
        # SyncFrom clears the mark when the next command writes the file (merge-1.5.3-0032); if the endpoint is removed before, it stays
        yield Finding("unreleased-copy", "warning", path, "this user would be locked out if the endpoint were removed from the global file, because "
                                                          "this copy of it is still marked exclusive; keep it there (state: retired) until the "
                                                          "user has run a command such as apptainer remote use")


def _cache(path: str, cached: Sequence[str], system: Optional[RemoteConfig]) -> Iterator[Finding]:
    """Source: `internal/pkg/remote/endpoint/service.go`: since 1.1 the cache is read by one name and written by another, which always fails."""
    if cached:
        bypassed = bool(system and exclusives(system.remotes))
        yield Finding("seeded-cache", "error" if bypassed else "warning", path,
                      f"discovery documents were put here by hand ({', '.join(cached)}), and Apptainer follows them"
                      f"{', even past the exclusive endpoint' if bypassed else ''}; remove them")


def _program(path: str, program: ProgramAnswer, files: RemoteConfig) -> Iterator[Finding]:
    """`files` is what both files hold together, and not the built-in endpoint: that is what `remote list` shows, also to users without a file.

    Source: `internal/app/apptainer/remote_list.go`; the recorded lists of seven versions.
    """
    if program.error:
        yield Finding("program-differs", "error", path, f"{program.path} remote list: {program.error}; run it by hand to see why")
        return
    exclusive = exclusives(files.remotes)
    if len(exclusive) > 1:  # then it may list any of them
        return
    active = files.active.rstrip(" ") if files.active in files.remotes else ""  # the table cannot show spaces at the end
    exclusive = [name.rstrip(" ") for name in exclusive]
    if (active, exclusive) != (program.active, program.exclusives):
        yield Finding("program-differs", "error", path,
                      f"{program.path} remote list shows {_choice(program.active, program.exclusives)}, but the files that were read here give "
                      f"{_choice(active, exclusive)}; if the program reads another global file (see its buildcfg SYSCONFDIR), set sysconfdir to that")


def _choice(active: str, exclusive: Sequence[str]) -> str:
    return f"default {quoted(active) if active else 'none'}, exclusive {', '.join(map(quoted, exclusive)) or 'none'}"
