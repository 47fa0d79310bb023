# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The declared state of endpoints, put onto a remote.yaml by rules that are safe to write with.

What is not declared is left alone. The hazards of Apptainer's own commands (two exclusive endpoints, locked-out users, endpoints that
nobody can reach) are refused or repaired here; what is refused of a declaration whatever the files hold is in `_rules/wanted.py`, and what
Apptainer makes of the files in `_apptainer/effective.py`.

Where a rule relies on what Apptainer does, its source is named: a function in `internal/pkg/remote/remote.go` unless another file is
named, and the recorded runs of remote_ops and merge, in which it can be seen.
"""

from typing import Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

from .._apptainer.effective import effective, exclusives, same_name_does, shadows
from .._errors import RuleError, quoted
from .._redaction import without_login
from .._values.flavors import FLAVORS
from .._values.remote_config import Keyserver, Remote, RemoteConfig
from .._values.uri import hardcoded_keyserver, same_keyserver, same_place, same_requested_url
from .uris import checked_endpoint_uri, checked_keyserver_uri
from .wanted import WantedKeyserver, WantedRemote, check_list, check_remote, endpoint_subject, listed


class Desired(NamedTuple):
    """The configuration to write, and what the user should hear about it."""

    config: RemoteConfig
    warnings: Tuple[str, ...] = ()


def converge(
    config: RemoteConfig,
    wanted: Sequence[WantedRemote],
    system: Optional[RemoteConfig] = None,
    *,
    prune: bool = False,
    system_problem: str = "",
    check_mode: bool = False,
    keep_default: bool = False,
    flavor: str = "apptainer"
) -> Desired:
    """Put the declared endpoints onto `config`.

    `config` is the content of the global file if `system` is None. Otherwise it is that of a user's file, and `system` that of the global
    file: empty if there is none, or if it cannot be read for the reason `system_problem`. `prune` removes what is not listed; copies of global
    endpoints in a user's file stay, as Apptainer would make them anew. In `check_mode` a login to an endpoint that no file has yet is not
    refused, as an earlier task may create it in a real run. `keep_default` refuses to remove or retire the global default without a
    successor; it is not for one task of several, of which another may name the successor. `flavor` is that of the program that reads the file.
    Raises RuleError about the endpoint, with the reason and the way out. Linear in the number of endpoints.
    """
    convergence = _Convergence(
        config, wanted, system, system_problem=system_problem, check_mode=check_mode, keep_default=keep_default, flavor=flavor)
    return convergence.run(prune)


def unplaced_endpoints(before: RemoteConfig, after: RemoteConfig, system: RemoteConfig) -> List[str]:
    """The endpoints that converge() foresaw in check mode: no file had them, so their URI is unknown."""
    return [name for name in after.remotes if name not in before.remotes and name not in system.remotes and not after.remotes[name].uri]


class _Convergence:
    """One run of converge(): working copies of what changes, so that ten thousand endpoints cost ten thousand steps."""

    def __init__(
        self,
        config: RemoteConfig,
        wanted: Sequence[WantedRemote],
        system: Optional[RemoteConfig],
        *,
        system_problem: str,
        check_mode: bool,
        keep_default: bool,
        flavor: str
    ) -> None:
        self.before = config
        self.wanted = wanted
        self.is_global = system is None
        self.system = system or RemoteConfig()
        self.system_problem = system_problem
        self.flavor = flavor
        self.check_mode = check_mode
        self.keep_default = keep_default and self.is_global
        self.given_up: Set[str] = set()  # removed, though not by force, or retired
        self.remotes: Dict[str, Remote] = dict(config.remotes)
        self.active = config.active
        self.warnings: List[str] = []

    def run(self, prune: bool) -> Desired:
        """The outcome. `prune` as in converge()."""
        check_list(self.wanted)
        for item in self.wanted:
            try:
                if item.present:
                    self._ensure(item)
                elif item.state == "retired":
                    self._retire(item)
                else:
                    self._remove(item.name, item.force)
            except RuleError as error:
                raise error.about(endpoint_subject(item.name)) from None
        if prune:
            self._prune()
        self._set_exclusive()
        self._set_default()
        self._check_successor()
        config = self.before._replace(active=self.active, remotes=self.remotes)
        self._check_usable(config)
        return Desired(config, tuple(self.warnings))

    # one endpoint

    def _ensure(self, item: WantedRemote) -> None:
        check_remote(item, self.is_global)
        current = self.remotes.get(item.name)
        system_remote = self.system.remotes.get(item.name)
        if current is None:
            remote = self._add(item) if system_remote is None else self._add_copy(item, system_remote)
        elif current.system and not self.is_global:
            remote = self._change_copy(item, current, system_remote)
        else:
            remote = self._change(item, current)
        if remote is not None:
            self.remotes[item.name] = remote

    def _add(self, item: WantedRemote) -> Optional[Remote]:
        """A new endpoint of this very file; None if it is only to be logged out."""
        if item.only_logs_out:
            return None
        if self.system_problem:
            raise RuleError("the global file cannot be read, so it may have an endpoint of this name, which one of this user would hide; "
                            f"fix the global file first: {self.system_problem}")
        if item.uri is None:
            if self.check_mode and item.token and not self.is_global:
                self._warn(item, "it does not exist yet; a real run fails unless an earlier task adds it")
                return Remote(system=True, token=item.token, insecure=bool(item.insecure))
            raise RuleError("it does not exist yet; set uri to add it")
        declared = checked_endpoint_uri(item.uri, item.insecure)
        self._warn(item, *declared.warnings)
        return self._with_options(item, Remote(uri=declared.uri, system=self.is_global, insecure=bool(declared.insecure)))

    def _change(self, item: WantedRemote, current: Remote) -> Remote:
        """An endpoint that this very file has already."""
        remote = current._replace(system=self.is_global)
        uri, insecure = current.uri, current.insecure if item.insecure is None else item.insecure
        if item.uri is not None:
            declared = checked_endpoint_uri(item.uri, item.insecure)
            self._warn(item, *declared.warnings)
            uri, insecure = declared.uri, insecure if declared.insecure is None else declared.insecure
        if not same_requested_url(current.uri, current.insecure, uri, insecure):
            if not same_place(current.uri, current.insecure, uri, insecure):
                remote = self._moved(item, remote)
            remote = remote._replace(uri=uri, insecure=insecure)
        return self._with_options(item, remote)

    def _with_options(self, item: WantedRemote, remote: Remote) -> Remote:
        """An endpoint of this very file with its declared token and keyservers.

        A user's own endpoint hides a global one of the same name, and its Exclusive; Insecure is not copied to users (SyncFrom from 1.1.6
        on; apptainer issue #1018).
        """
        if item.token is not None:
            remote = remote._replace(token=item.token)
        if item.keyservers is not None:
            remote = remote._replace(keyservers=keyserver_list(remote, item.keyservers, self.flavor))
        if item.name in self.system.remotes:  # then it is one that this file had already
            does = (same_name_does(self.flavor) if FLAVORS[self.flavor].same_name_is_fatal
                    else "it hides the global endpoint of the same name, and its exclusive setting, from this user")
            self._warn(item, f"{does}; remove it (state: absent), or choose another name")
        if remote.insecure and self.is_global:
            self._warn(item, "insecure has no effect for users who have a remote.yaml of their own: Apptainer uses https for them; "
                             "declare it for them with scope: user, too")
        return remote

    def _moved(self, item: WantedRemote, remote: Remote) -> Remote:
        """The endpoint without what belongs to its old URL: the token, and the built-in keyserver, to which Apptainer would send the token.

        Source: UpdateKeyserversConfig in `internal/pkg/remote/endpoint/keyserver.go`.
        """
        external = tuple(server for server in remote.keyservers if server.external)
        if external != remote.keyservers and item.keyservers is None:
            self._warn(item, "its URL changes, so the built-in keyserver of the old one is removed from its keyservers; "
                             "declare keyservers to add that of the new one")
        return self._logged_out(item, remote)._replace(keyservers=external)

    def _logged_out(self, item: WantedRemote, remote: Remote) -> Remote:
        if remote.token and item.token is None:
            self._warn(item, "its URL changes, so the token stored for the old one is removed; log in again")
        return remote._replace(token="")

    # a global endpoint, seen from a user's file: only token and insecure are this user's, Apptainer takes the rest from the global file (SyncFrom)

    def _add_copy(self, item: WantedRemote, system_remote: Remote) -> Optional[Remote]:
        """The copy that Apptainer's own login leaves in a user's file; None if there is nothing of this user's to keep in it."""
        self._check_global_uri(item, system_remote, is_stale=False)
        if not item.token and not item.insecure:
            return None
        copy = Remote(uri=system_remote.uri, system=True, exclusive=system_remote.exclusive, keyservers=system_remote.keyservers)
        return self._with_user_options(item, copy, system_remote)

    def _change_copy(self, item: WantedRemote, copy: Remote, system_remote: Optional[Remote]) -> Remote:
        """A copy in a user's file; `system_remote` is None if the global endpoint is gone."""
        self._check_global_uri(item, system_remote or copy, is_stale=system_remote is None)
        return self._with_user_options(item, copy, system_remote or copy)

    def _check_global_uri(self, item: WantedRemote, known: Remote, is_stale: bool) -> None:
        if item.uri is None:
            return
        declared = checked_endpoint_uri(item.uri, item.insecure)
        self._warn(item, *declared.warnings)
        if same_place(known.uri, False, declared.uri, False):
            return
        if is_stale:
            raise RuleError("it is a copy of a global endpoint that no longer exists; remove it first (state: absent)")
        would = ("make SingularityCE refuse every command" if FLAVORS[self.flavor].same_name_is_fatal
                 else "hide it and its exclusive setting")
        raise RuleError(f"it is a global endpoint ({without_login(known.uri)}), and one of this user with the same name would {would}; "
                        "choose another name, or change the global one with scope: global")

    def _with_user_options(self, item: WantedRemote, copy: Remote, system_remote: Remote) -> Remote:
        if system_remote.insecure and not copy.insecure and item.insecure is None:
            self._warn(item, "the global endpoint is insecure (http), but Apptainer uses https for users who have a file; "
                             "set insecure: true here, too")
        if item.insecure not in (None, copy.insecure):
            copy = self._logged_out(item, copy)._replace(insecure=bool(item.insecure))
        if item.token and not same_place(copy.uri, False, system_remote.uri, False):
            copy = copy._replace(uri=system_remote.uri)  # the copy says for which URI its token is
        return copy if item.token is None else copy._replace(token=item.token)

    def _warn(self, item: WantedRemote, *warnings: str) -> None:
        self.warnings.extend(f"{endpoint_subject(item.name)}: {warning}" for warning in warnings)

    # removal

    def _remove(self, name: str, force: bool) -> None:
        """Remove an endpoint. One that is exclusive is refused.

        Users keep the copy of a removed endpoint with its mark: SyncFrom removes nothing, and then SetDefault refuses all other endpoints
        and Remove refuses to remove a global one (recorded runs of merge). One that is retired first is released for them, too.
        """
        if name not in self.remotes:
            if name in self.system.remotes:
                self.warnings.append(f"{endpoint_subject(name)}: it is a global endpoint, which a user cannot remove; remove it with scope: global")
            return
        if self.is_global and self.remotes[name].exclusive and not force:
            raise RuleError("it is exclusive, and removing it now would lock out users who have a copy; declare it with state: retired first, and "
                            "remove it when apptainer_users_info finds no unreleased-copy any more (force: true removes it at once)")
        if not force:
            self.given_up.add(name)
        del self.remotes[name]
        self._resign(name)

    def _retire(self, item: WantedRemote) -> None:
        """Keep an endpoint as it is, if it is there, but neither exclusive nor the default: so SyncFrom releases the users' copies of it.

        Raises RuleError for options that contradict this, and in a user's file: only the global one makes an endpoint exclusive.
        """
        if not self.is_global:
            raise RuleError("only an endpoint of the global file can be retired; use scope: global, or state: absent to remove it from this user's "
                            "file")
        contradicting = [option for option in ("exclusive", "default") if getattr(item, option)]
        if contradicting:
            given = " and ".join(f"{option}: true" for option in contradicting)
            raise RuleError(f"a retired endpoint is neither exclusive nor the default; remove {given}, or set false where another list of the "
                            "inventory says so")
        if item.name in self.remotes:
            self.given_up.add(item.name)
            self._mark(item.name, False)
            self._resign(item.name)

    def _resign(self, name: str) -> None:
        """Not the default any more."""
        if self.active == name:
            self.active = ""

    def _prune(self) -> None:
        names = {item.name for item in self.wanted}
        for name in [name for name in self.remotes if name not in names]:
            if self.remotes[name].system and not self.is_global and (name in self.system.remotes or self.system_problem):
                continue
            try:
                self._remove(name, force=False)
            except RuleError as error:
                raise RuleError(f"it is not listed, so prune would remove it, but {error.reason}", endpoint_subject(name)) from None

    # the whole file

    def _set_exclusive(self) -> None:
        """Exclusive as declared, and never for two: with two, SyncFrom lets one of them win at random (recorded runs of merge).

        Apptainer's own `remote use` leaves two (SetDefault clears only that of the previous default).
        """
        if not self.is_global:
            return
        for item in self.wanted:
            if item.present and item.exclusive:
                self.active = item.name
                for name in exclusives(self.remotes):
                    self._mark(name, False)
                self._mark(item.name, True)
            elif item.present and item.exclusive is False and self.remotes[item.name].exclusive:
                self._mark(item.name, False)
        several = exclusives(self.remotes)
        if len(several) < 2:
            return
        if self.active not in several:
            raise RuleError(f"the endpoints {listed(several)} are all exclusive, and Apptainer picks one of them at random; "
                            "set exclusive: true for the right one")
        for name in several:
            self._mark(name, name == self.active)
        self.warnings.append(f"the endpoints {listed(several)} were all exclusive; now only the default one is, {quoted(self.active)}. "
                             "Set exclusive: true for another one if that is wrong")

    def _mark(self, name: str, exclusive: bool) -> None:
        self.remotes[name] = self.remotes[name]._replace(exclusive=exclusive)

    def _set_default(self) -> None:
        """Active as declared. A user without one has that of the global file (SyncFrom)."""
        for item in self.wanted:
            if item.present and item.default:
                self._check_default(item)
                self.active = item.name
            elif item.present and item.default is False and self.active == item.name:
                if self.is_global and self.remotes[item.name].exclusive:
                    raise RuleError("it is exclusive and therefore the default; remove default: false, or set exclusive: false",
                                    endpoint_subject(item.name))
                self.active = ""
            if item.present and item.default is False and not self.active and self.system.active == item.name:
                self._warn(item, "it stays the default, because the global file says so; set default: true for another one")

    def _check_usable(self, config: RemoteConfig) -> None:
        """Warn if Apptainer would refuse to work."""
        seen = effective(None, config, self.flavor) if self.is_global else effective(config, self.system, self.flavor)
        if seen.problem and not (FLAVORS[self.flavor].same_name_is_fatal and shadows(config, self.system)):
            missing = f"the default endpoint {quoted(seen.config.active)} does not exist" if seen.config.active else "no endpoint is the default"
            self.warnings.append(f"{missing}, and Apptainer refuses to work without one; set default: true for one")

    def _check_successor(self) -> None:
        """Refuse to take the default endpoint away from everyone while there are endpoints, of which nobody says which one it should be.

        Without any, Apptainer has its built-in one.
        """
        old = self.before.active
        if self.keep_default and old in self.given_up and not self.active and self.remotes:
            doing = "retiring" if old in self.remotes else "removing"
            raise RuleError(f"it is the default, and {doing} it breaks Apptainer for users without a default of their own; "
                            "set default: true for another one", endpoint_subject(old))

    def _check_default(self, item: WantedRemote) -> None:
        """Raises RuleError if another endpoint is exclusive: SyncFrom makes that the default of all users, and SetDefault refuses others.

        What a user's file says already may stay there: it counts again when the exclusive endpoint is released.
        """
        exclusive = exclusives(self.remotes if self.is_global else self.system.remotes)
        if not exclusive or item.name in exclusive:
            return
        if not self.is_global and item.name == self.before.active:
            self._warn(item, f"this user's file makes it the default, but that has no effect while {quoted(exclusive[0])} is exclusive; "
                             "release that one (exclusive: false with scope: global), or remove default: true")
            return
        raise RuleError(f"it cannot be the default, because {quoted(exclusive[0])} is exclusive; release that one first "
                        "(exclusive: false with scope: global)", endpoint_subject(item.name))


def keyserver_list(remote: Remote, wanted: Sequence[WantedKeyserver], flavor: str = "apptainer") -> Tuple[Keyserver, ...]:
    """The Keyservers of an endpoint whose declared keyservers, in order, are `wanted`. An empty list restores the built-in one alone.

    The endpoint's built-in keyserver, if not wanted, is kept as skipped and behind the others: in front of them it would make
    `apptainer keyserver add` insert at the wrong place (AddKeyserver in `internal/pkg/remote/endpoint/keyserver.go`, recorded runs of
    keyserver_ops). A list already in that order is not touched. Raises RuleError for keyservers that Apptainer could not use.
    """
    if not wanted:
        return ()
    used: List[Keyserver] = []
    for item in wanted:
        uri = checked_keyserver_uri(item.uri)
        if any(same_keyserver(uri, server.uri) for server in used):
            raise RuleError(f"the keyserver {uri} is listed twice (Apptainer compares scheme and host only); merge the two entries")
        current = next((server for server in remote.keyservers if same_keyserver(uri, server.uri)), None)
        builtin = item.builtin
        if builtin is None:
            builtin = not current.external if current else same_keyserver(uri, hardcoded_keyserver(remote.uri, flavor))
        insecure = item.insecure if item.insecure is not None else bool(current and current.insecure)
        used.append(Keyserver(uri, external=not builtin, insecure=insecure))
    if sum(not server.external for server in used) > 1:
        raise RuleError("only one keyserver can be the endpoint's built-in one; keep builtin: true for one of them")
    if used == [server for server in remote.keyservers if not server.skip]:
        return remote.keyservers
    skipped = [server._replace(skip=True) for server in remote.keyservers
               if not server.external and not any(same_keyserver(server.uri, other.uri) for other in used)]
    return tuple(used + skipped)
