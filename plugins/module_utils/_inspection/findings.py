# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What is wrong with the files of a node, or soon will be: pure rules over what was read."""

import posixpath
import re
from typing import Any, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from .._apptainer.effective import effective, exclusives, sync
from .._errors import quoted
from .._files.locations import DISCOVERY_CACHE
from .._formats.remote_yaml_reader import Document
from .._redaction import without_login
from .._values.docker_config import HUB, DockerConfig, keys_for_host, login_hosts, registry_key
from .._values.remote_config import Remote, RemoteConfig
from .._values.uri import is_usable, keyserver_identity, same_place
from .program import ProgramAnswer


class ReadFile(NamedTuple):
    """One file as it was found. `document`, a Document or DockerConfig, is None if it is absent or, with `error`, unreadable; `mode`
    and `uid` if unknown."""

    path: str
    exists: bool = False
    document: Any = None
    error: Optional[str] = None
    mode: Optional[int] = None
    uid: Optional[int] = None
    expected_uid: int = 0
    directory_mode: Optional[int] = None

    @property
    def config(self) -> Optional[RemoteConfig]:
        """What Apptainer reads in a remote.yaml, or None if it ignores the file or there is none."""
        document: Optional[Document] = self.document
        return document.config if document and document.has_data else None


class Finding(NamedTuple):
    """One thing to mend. `severity`: `error` breaks something or opens a hole now, `warning` will for some users or versions."""

    id: str
    severity: str
    path: str
    message: str
    remote: Optional[str] = None
    line: Optional[int] = None
    refused_by: Tuple[str, ...] = ()


def findings(
    shared: ReadFile,
    user: ReadFile,
    cached: Sequence[str] = (),
    flavor: str = "apptainer",
    auth: Optional[ReadFile] = None,
    program: Optional[ProgramAnswer] = None,
) -> List[Finding]:
    """All findings for the global file `shared`, a user's file, the names of its cached discovery documents, its docker-config.json
    `auth` and what the installed program says; errors first."""
    found: List[Finding] = []
    for read in (shared, user):
        found += _reading(read)
    found += _global_mode(shared)
    found += _user_mode(user, _has_secret(user.document.config if user.document else RemoteConfig()), "every apptainer command of that user fails")
    found += _auth_file(auth) if auth else ()
    system, own = shared.config, user.config
    if system is not None:
        found += _global_content(shared.path, system)
    if own is not None:
        found += _user_content(user.path, own, None if shared.error else system or RemoteConfig())
    found += _cache(posixpath.join(posixpath.dirname(user.path), DISCOVERY_CACHE), cached, system)
    found += _program(shared.path, program, sync(own or RemoteConfig(), system or RemoteConfig())) if program and program.asked else ()
    problem = effective(own, system, flavor).problem
    if problem:
        found.append(Finding("no-usable-default", "error", user.path if own is not None else shared.path, f"Apptainer refuses to work: {problem}"))
    return sorted(found, key=lambda finding: finding.severity != "error")


def _reading(read: ReadFile) -> Iterator[Finding]:
    if read.error:
        yield Finding("unreadable", "error", read.path, read.error)
    for quirk in read.document.quirks if read.document else ():
        severity = "error" if "1.5" in quirk.refused_by else "warning"
        yield Finding("refused-by-versions", severity, read.path, "Apptainer %s cannot read this file: %s"
                      % (", ".join(quirk.refused_by), quirk.message), line=quirk.line, refused_by=quirk.refused_by)


def _global_mode(read: ReadFile) -> Iterator[Finding]:
    if read.mode is None or read.uid is None:
        return
    directory_mode = 0o755 if read.directory_mode is None else read.directory_mode
    if directory_mode & 0o011 != 0o011:
        yield Finding("mode", "error", posixpath.dirname(read.path), "mode %04o: users cannot reach the global file in it, so Apptainer ignores "
                      "that for them; it should be 0755" % directory_mode)
    if directory_mode & 0o022:
        yield Finding("mode", "error", posixpath.dirname(read.path), "mode %04o: others than its owner can replace the global file in it; "
                      "it should be 0755" % directory_mode)
    if read.mode & 0o444 != 0o444:
        yield Finding("mode", "error", read.path, f"mode {read.mode:04o}: users cannot read it, so Apptainer ignores it for them; it should be 0644")
    if read.mode & 0o022:
        yield Finding("mode", "error", read.path, f"mode {read.mode:04o}: others than its owner can change it for everyone; it should be 0644")
    if read.uid != read.expected_uid:
        yield Finding("owner", "error", read.path, "it belongs to uid %d, who can change it for everyone; it should belong to uid %d"
                      % (read.uid, read.expected_uid))


def _has_secret(config: RemoteConfig) -> bool:
    return any(remote.token for remote in config.remotes.values()) or any(credential.auth for credential in config.credentials)


def _user_mode(read: ReadFile, secret: bool, consequence: str) -> Iterator[Finding]:
    if read.mode is None or read.uid is None:
        return
    if read.mode & 0o077:
        yield Finding("mode", "error" if secret else "warning", read.path, "mode %04o%s; it should be 0600"
                      % (read.mode, ": others can read the secrets in it" if secret else ""))
    if read.uid != read.expected_uid:
        yield Finding("owner", "error", read.path, "it belongs to uid %d, its directory to uid %d; %s"
                      % (read.uid, read.expected_uid, consequence))


def _auth_file(read: ReadFile) -> Iterator[Finding]:
    if read.error:
        yield Finding("unreadable", "error", read.path, read.error)
    config: DockerConfig = read.document or DockerConfig()
    yield from _user_mode(read, bool(login_hosts(config)), "that user may not be able to use it")
    keys = keys_for_host(config, HUB)
    if keys and registry_key(HUB) not in keys:
        yield Finding("unused-login", "error", read.path, "the login for Docker Hub is under a name (%s) at which Apptainer from 1.4 does not look; "
                      "declare it anew" % ", ".join(quoted(without_login(key)) for key in keys))


def _global_content(path: str, config: RemoteConfig) -> Iterator[Finding]:
    ruling = exclusives(config.remotes)
    if len(ruling) > 1:
        yield Finding("two-exclusives", "error", path, "the endpoints %s are all exclusive; Apptainer obeys any of them, by chance"
                      % ", ".join(map(quoted, ruling)))
    elif ruling and config.active != ruling[0]:
        yield Finding("exclusive-not-default", "error", path, "users without a file get %s, the others the exclusive one"
                      % quoted(config.active), ruling[0])
    for name, remote in sorted(config.remotes.items()):
        for finding in _global_endpoint(path, remote):
            yield finding._replace(remote=name)
    if config.credentials:
        yield Finding("global-secret", "error" if any(item.auth for item in config.credentials) else "warning", path,
                      "credentials in the global file are readable by everyone and work only for users without a file")


def _global_endpoint(path: str, remote: Remote) -> Iterator[Finding]:
    yield from _address(path, remote)
    if remote.insecure:
        yield Finding("insecure-not-synced", "warning", path, "insecure (http) does not reach users who have a file; Apptainer uses https for them")
    if remote.token:
        yield Finding("global-secret", "error", path,
                      "a token in the global file is readable by everyone; remove it (logout: true), revoke it, and log in per user")
    if not remote.system:
        yield Finding("not-system", "warning", path, "System is false in the global file, so keyserver commands refuse this endpoint")
    for server in remote.keyservers:
        if keyserver_identity(server.uri) is None:
            yield Finding("unusable-keyserver", "error", path, f"Apptainer can neither use nor remove the keyserver {without_login(server.uri)}")


def _address(path: str, remote: Remote) -> Iterator[Finding]:
    if not is_usable(remote.uri, remote.insecure):
        yield Finding("unusable-uri", "error", path, "Apptainer from 1.1 cannot use the URI %s; declare the endpoint anew"
                      % quoted(without_login(remote.uri)))
    elif re.match(r"([A-Za-z][A-Za-z0-9+.-]*:)?//", remote.uri):
        yield Finding("uri-not-for-1.0", "warning", path, "Apptainer 1.0 cannot use the URI %s, which 1.1 and later need for a port"
                      % without_login(remote.uri))


def _user_content(path: str, config: RemoteConfig, system: Optional[RemoteConfig]) -> Iterator[Finding]:
    """`system` is None if nobody knows what the global file holds."""
    shared = system.remotes if system else {}
    for name, remote in sorted(config.remotes.items()):
        original = shared.get(name)
        if original is not None and not remote.system:
            hides = "an own endpoint hides the global one of the same name"
            if original.exclusive:
                yield Finding("shadowed-exclusive", "error", path, f"{hides}, so exclusive is not obeyed", name)
            else:
                yield Finding("shadowed", "warning", path, hides, name)
        if original is not None and remote.system and remote.token and not same_place(remote.uri, False, original.uri, False):
            yield Finding("moved-token", "warning", path, "the token was stored for %s, but the global endpoint is now at %s, "
                          "where Apptainer sends it; log in again" % (without_login(remote.uri), without_login(original.uri)), name)
        if original is not None and remote.system and remote.exclusive and not original.exclusive:
            yield Finding("unreleased-copy", "warning", path, "a copy of a global endpoint still says that it is exclusive; keep the endpoint in "
                          "the global file until this user has run a command like apptainer remote use, or it would lock this user out", name)
        if system is not None and original is None and remote.system:
            yield Finding("stale-copy", "error" if remote.exclusive else "warning", path, "a copy of a global endpoint that is gone" + (
                "; it is still exclusive here and locks this user out" if remote.exclusive else "") + "; remove it with state: absent", name)
        if remote.exclusive and not remote.system:
            yield Finding("own-exclusive", "error", path, "an own endpoint is marked exclusive, so Apptainer refuses to use another; "
                          "remove it and add it again", name)
        if not remote.system:
            yield from (finding._replace(remote=name) for finding in _address(path, remote))


def _cache(path: str, cached: Sequence[str], system: Optional[RemoteConfig]) -> Iterator[Finding]:
    if cached:
        ruled = bool(system and exclusives(system.remotes))
        yield Finding("seeded-cache", "error" if ruled else "warning", path,
                      "discovery documents were put here by hand (%s); Apptainer believes them%s"
                      % (", ".join(cached), ", also for the exclusive endpoint" if ruled else ""))


def _program(path: str, program: ProgramAnswer, files: RemoteConfig) -> Iterator[Finding]:
    """`files` is what they hold together: `remote list` shows that, and not the built-in endpoint, also to users without a file."""
    if program.error:
        yield Finding("program-differs", "error", path, f"{program.path} remote list: {program.error}; run it by hand to see why")
        return
    ruling = exclusives(files.remotes)
    if len(ruling) > 1:  # then it says anything
        return
    active = files.active.rstrip(" ") if files.active in files.remotes else ""  # the table cannot show spaces at the end
    ruling = [name.rstrip(" ") for name in ruling]
    if (active, ruling) != (program.active, program.exclusives):
        yield Finding("program-differs", "error", path, "%s remote list says %s, but the files that were read here say %s; if it reads another "
                      "global file (its buildcfg SYSCONFDIR tells), set sysconfdir to that"
                      % (program.path, _rule(program.active, program.exclusives), _rule(active, ruling)))


def _rule(active: str, ruling: Sequence[str]) -> str:
    return f"default {quoted(active) if active else 'none'}, exclusive {', '.join(map(quoted, ruling)) or 'none'}"
