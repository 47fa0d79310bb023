# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The declared state of endpoints, put onto a remote.yaml by rules that are safe to write with.

What is not declared is left alone. Apptainer's own hazards (two exclusive endpoints, locked-out users, endpoints nobody can reach) are
refused or repaired here; what Apptainer would do is in `_apptainer/effective.py`.
"""

import re
from typing import Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

from .._apptainer.effective import effective, exclusives
from .._errors import RuleError, quoted
from .._redaction import safe_repr, without_login
from .._values.remote_config import Keyserver, Remote, RemoteConfig
from .._values.uri import (
    check_keyserver,
    endpoint,
    fixed_keyserver,
    same_endpoint,
    same_keyserver,
    same_place,
)


class WantedKeyserver(NamedTuple):
    """One keyserver of a declared list. None: as it is, else false."""

    uri: str
    insecure: Optional[bool] = None
    builtin: Optional[bool] = None


class WantedRemote(NamedTuple):
    """One declared endpoint. None: leave alone. `token`: the empty string logs out."""

    name: str
    present: bool = True
    uri: Optional[str] = None
    insecure: Optional[bool] = None
    default: Optional[bool] = None
    exclusive: Optional[bool] = None
    token: Optional[str] = None
    keyservers: Optional[Tuple[WantedKeyserver, ...]] = None
    force: bool = False

    def __repr__(self) -> str:
        return safe_repr(self)


class Desired(NamedTuple):
    """The configuration to write, and what the user should hear about it."""

    config: RemoteConfig
    warnings: Tuple[str, ...] = ()


def converge(
    config: RemoteConfig,
    wanted: Sequence[WantedRemote],
    system: Optional[RemoteConfig] = None,
    prune: bool = False,
    system_known: bool = True,
    check_mode: bool = False,
    retire: bool = False,
    keep_default: bool = False,
) -> Desired:
    """Put the declared endpoints onto `config`.

    `config` is the global file's content if `system` is None, else a user's, and `system` what the global file says: empty if there is
    none, or, with `system_known` false, if it can't be read. `prune` removes what is not listed; copies of global endpoints in a user's
    file stay, as Apptainer would make them anew. `foresee` is for check mode: a login to an endpoint that no file has yet is not refused,
    as an earlier task may make it in a real run. `retire` releases exclusive endpoints of the global file that are to go, and keeps them
    until a later run. `keep_default` refuses to remove the global default without a successor; not for one task of several, of which
    another may name it.
    Raises RuleError with the endpoint's name, the reason and the way out. Linear in the number of endpoints.
    """
    return _Convergence(config, wanted, system, system_known, check_mode, retire and system is None).run(prune, keep_default and system is None)


def unplaced_endpoints(before: RemoteConfig, after: RemoteConfig, system: RemoteConfig) -> List[str]:
    """The endpoints that converge() foresaw: no file had them, and nobody knows where they will be."""
    return [name for name in after.remotes if name not in before.remotes and name not in system.remotes and not after.remotes[name].uri]


class _Convergence:
    """One run of converge(): working copies of what changes, so that ten thousand endpoints cost ten thousand steps."""

    def __init__(
        self, config: RemoteConfig, wanted: Sequence[WantedRemote], system: Optional[RemoteConfig], system_known: bool, check_mode: bool, retire: bool
    ) -> None:
        self.before = config
        self.wanted = wanted
        self.is_global = system is None
        self.system = system or RemoteConfig()
        self.system_known = system_known
        self.check_mode = check_mode
        self.retire = retire
        self.to_be_removed: Set[str] = set()  # by this run or, if they were released now, by a later one; not those removed by force
        self.remotes: Dict[str, Remote] = dict(config.remotes)
        self.active = config.active
        self.warnings: List[str] = []

    def run(self, prune: bool, keep_default: bool) -> Desired:
        self._check_list()
        for item in self.wanted:
            try:
                if item.present:
                    self._ensure(item)
                else:
                    self._remove(item.name, item.force)
            except RuleError as error:
                raise RuleError(f"endpoint {quoted(item.name)}: {error}") from None
        if prune:
            self._prune()
        self._set_exclusive()
        self._set_default()
        if keep_default:
            self._check_successor()
        config = self.before._replace(active=self.active, remotes=self.remotes)
        self._check_usable(config)
        return Desired(config, tuple(self.warnings))

    def _check_list(self) -> None:
        seen = set()
        for item in self.wanted:
            if item.name in seen:
                raise RuleError(f"endpoint {quoted(item.name)} is listed twice; merge the two entries")
            seen.add(item.name)
        for option in ("default", "exclusive"):
            chosen = [item.name for item in self.wanted if getattr(item, option) and item.present]
            if len(chosen) > 1:
                raise RuleError(f"only one endpoint can be {option}, but {_listed(chosen)} are; keep one of them")

    # one endpoint

    def _ensure(self, item: WantedRemote) -> None:
        self._check_options(item)
        current = self.remotes.get(item.name)
        shared = self.system.remotes.get(item.name)
        is_copy = shared is not None if current is None else current.system and not self.is_global
        remote = self._copy(item, current, shared) if is_copy else self._own(item, current)
        if remote is not None:
            self.remotes[item.name] = remote

    def _check_options(self, item: WantedRemote) -> None:
        if not item.name.strip():
            raise RuleError("a name must not be blank; Apptainer refuses it")
        if item.name == "<<":
            raise RuleError("the name << makes Apptainer before 1.5 write a file that no version can read; choose another")
        if item.exclusive and item.default is False:
            raise RuleError("an exclusive endpoint is the default; drop default: false or exclusive: true")
        if self.is_global and item.token:
            raise RuleError("a token in the global file would be readable by everyone and work only for users without a file of their own; "
                            "log in with scope: user")
        if item.token and not re.match(r"[\x21-\x7e]+\Z", item.token):
            raise RuleError("the token holds white space or characters that no HTTP header can carry")
        if not self.is_global and item.exclusive is not None:
            raise RuleError("exclusive can only be set in the global file; use scope: global")
        if not self.is_global and item.keyservers is not None:
            raise RuleError("keyservers can only be set in the global file; use scope: global")

    def _own(self, item: WantedRemote, current: Optional[Remote]) -> Optional[Remote]:
        """An endpoint that belongs to this very file."""
        if current is None and item._replace(force=False) == WantedRemote(item.name, token=""):
            return None
        if current is None and not self.system_known:
            raise RuleError("the global file cannot be read, so nobody knows whether it is a global endpoint, which an own one would hide; "
                            "mend that file first")
        if current is None and item.uri is None and self.check_mode and item.token and not self.is_global:
            self._warn(item, ["it does not exist yet; a real run fails, unless an earlier task makes it"])
            return Remote(system=True, token=item.token, insecure=bool(item.insecure))
        if current is None and item.uri is None:
            raise RuleError("it does not exist yet, so it needs a uri")
        remote = (current or Remote())._replace(system=self.is_global)
        uri, insecure = remote.uri, remote.insecure if item.insecure is None else item.insecure
        if item.uri is not None:
            place = endpoint(item.uri, item.insecure)
            self._warn(item, place.warnings)
            uri, insecure = place.uri, insecure if place.insecure is None else place.insecure
        if not same_endpoint(remote.uri, remote.insecure, uri, insecure):
            stays = same_place(remote.uri, remote.insecure, uri, insecure)
            remote = (remote if stays else self._moved(item, remote))._replace(uri=uri, insecure=insecure)
        if item.token is not None:
            remote = remote._replace(token=item.token)
        if item.keyservers is not None:
            remote = remote._replace(keyservers=keyserver_list(remote, item.keyservers))
        if item.name in self.system.remotes:
            self._warn(item, ["it hides the global endpoint of the same name, and its exclusive setting, from this user"])
        if remote.insecure and self.is_global:
            self._warn(item, ["insecure does not reach users who have a remote.yaml of their own: for them Apptainer uses https"])
        return remote

    def _moved(self, item: WantedRemote, remote: Remote) -> Remote:
        """The endpoint without what belongs to its old place: the token, and the own keyserver, which Apptainer would send the token."""
        external = tuple(server for server in remote.keyservers if server.external)
        if external != remote.keyservers and item.keyservers is None:
            self._warn(item, ["it moves to another URI, so the own keyserver of the old one is removed from its keyservers; "
                              "declare keyservers to add that of the new one"])
        return self._logged_out(item, remote)._replace(keyservers=external)

    def _logged_out(self, item: WantedRemote, remote: Remote) -> Remote:
        if remote.token and item.token is None:
            self._warn(item, ["it moves to another URI, so the token stored for the old one is removed; log in again"])
        return remote._replace(token="")

    def _copy(self, item: WantedRemote, current: Optional[Remote], shared: Optional[Remote]) -> Optional[Remote]:
        """A global endpoint, seen from a user's file: only token and insecure are this user's; Apptainer takes the rest from the global file."""
        known = shared or current or Remote()
        place = None if item.uri is None else endpoint(item.uri, item.insecure)
        self._warn(item, place.warnings if place else ())
        if place and not same_place(known.uri, False, place.uri, False):
            if shared is None:
                raise RuleError("it is a copy of a global endpoint that is gone; remove it first (state: absent)")
            raise RuleError("it is a global endpoint (%s); an own one of the same name would hide it and its exclusive setting. "
                            "Choose another name, or change it with scope: global" % without_login(known.uri))
        if current is None and not item.token and not item.insecure:
            return None
        # a new copy is what Apptainer's own login leaves in a user's file; for a login an old one must say what place the token is for
        copy = current or Remote(known.uri, system=True, exclusive=known.exclusive, keyservers=known.keyservers)
        if item.token and not same_place(copy.uri, False, known.uri, False):
            copy = copy._replace(uri=known.uri)
        if known.insecure and not copy.insecure and item.insecure is None:
            self._warn(item, ["the global endpoint is insecure (http), but Apptainer uses https for users with a file; set insecure: true here too"])
        if item.insecure not in (None, copy.insecure):
            copy = self._logged_out(item, copy)._replace(insecure=bool(item.insecure))
        return copy if item.token is None else copy._replace(token=item.token)

    def _warn(self, item: WantedRemote, warnings: Sequence[str]) -> None:
        self.warnings.extend(f"endpoint {quoted(item.name)}: {warning}" for warning in warnings)

    # removal

    def _remove(self, name: str, force: bool) -> None:
        if name not in self.remotes:
            if name in self.system.remotes:
                self.warnings.append(f"endpoint {quoted(name)}: it is a global endpoint, which a user cannot remove")
            return
        if not force:
            self.to_be_removed.add(name)
        if self.is_global and self.remotes[name].exclusive and not force:
            if self.retire:
                self._mark(name, False)
                self.warnings.append("endpoint %s: it was exclusive, so it is released now and kept until a later run removes it; "
                                     "users who hold a copy would be locked out if it were removed now" % quoted(name))
                return
            raise RuleError("it is exclusive, and users who hold a copy would be locked out if it were removed now. "
                            "Set exclusive: false and let that reach the users, then remove it "
                            "(retire: true of apptainer_remotes does so in two runs; force: true at once)")
        del self.remotes[name]
        if self.active == name:
            self.active = ""

    def _prune(self) -> None:
        listed = {item.name for item in self.wanted}
        for name in [name for name in self.remotes if name not in listed]:
            if self.remotes[name].system and not self.is_global and (name in self.system.remotes or not self.system_known):
                continue
            try:
                self._remove(name, False)
            except RuleError as error:
                raise RuleError(f"endpoint {quoted(name)} is not listed, but {error}") from None

    # the whole file

    def _set_exclusive(self) -> None:
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
        many = exclusives(self.remotes)
        if len(many) < 2:
            return
        if self.active not in many:
            raise RuleError("the endpoints %s are all exclusive, so Apptainer obeys any of them, by chance. "
                            "Say which one it is: exclusive: true" % _listed(many))
        for name in many:
            self._mark(name, name == self.active)
        self.warnings.append(f"the endpoints {_listed(many)} were all exclusive; only the default one, {quoted(self.active)}, still is")

    def _mark(self, name: str, exclusive: bool) -> None:
        self.remotes[name] = self.remotes[name]._replace(exclusive=exclusive)

    def _set_default(self) -> None:
        for item in self.wanted:
            if item.present and item.default:
                self._check_default(item.name)
                self.active = item.name
            elif item.present and item.default is False and self.active == item.name:
                if self.is_global and self.remotes[item.name].exclusive:
                    raise RuleError(f"endpoint {quoted(item.name)}: it is exclusive, and so the default; drop default: false or set exclusive: false")
                self.active = ""
            if item.present and item.default is False and not self.active and self.system.active == item.name:
                self.warnings.append(f"endpoint {quoted(item.name)}: it stays the default, because the global file says so")

    def _check_usable(self, config: RemoteConfig) -> None:
        """Warn if Apptainer would refuse to work."""
        seen = effective(None, config) if self.is_global else effective(config, self.system)
        if seen.problem:
            missing = f"the default endpoint {quoted(seen.config.active)} does not exist" if seen.config.active else "no endpoint is the default"
            self.warnings.append(f"{missing}, and Apptainer refuses to work without one; set default: true for one")

    def _check_successor(self) -> None:
        """Refuse to take the default endpoint away from everyone while there are others, of which nobody says which one it should be."""
        old = self.before.active
        others = set(self.remotes) - (self.to_be_removed if self.active else set())  # one that is only released still needs a default beside it
        if old in self.to_be_removed and self.active in ("", old) and others:
            raise RuleError("endpoint %s is the default and is to go, and then Apptainer would refuse to work for users without a default "
                            "of their own; set default: true for another one" % quoted(old))

    def _check_default(self, name: str) -> None:
        ruling = exclusives(self.remotes if self.is_global else self.system.remotes)
        if ruling and name not in ruling:
            raise RuleError("endpoint %s cannot be the default: %s is exclusive; release that one first (exclusive: false)"
                            % (quoted(name), quoted(ruling[0])))


def keyserver_list(remote: Remote, wanted: Sequence[WantedKeyserver]) -> Tuple[Keyserver, ...]:
    """The Keyservers of an endpoint whose declared keyservers, in order, are `wanted`. An empty list restores the endpoint's own one.

    The endpoint's own keyserver, if not wanted, is kept as skipped and behind the others, where `apptainer keyserver add` does not
    trip over it. A list already in that order is not touched. Raises RuleError for keyservers that Apptainer could not use.
    """
    if not wanted:
        return ()
    used: List[Keyserver] = []
    for item in wanted:
        uri = check_keyserver(item.uri)
        if any(same_keyserver(uri, server.uri) for server in used):
            raise RuleError(f"the keyserver {uri} is listed twice (Apptainer compares scheme and host only)")
        known = next((server for server in remote.keyservers if same_keyserver(uri, server.uri)), None)
        builtin = item.builtin
        if builtin is None:
            builtin = not known.external if known else same_keyserver(uri, fixed_keyserver(remote.uri))
        insecure = item.insecure if item.insecure is not None else bool(known and known.insecure)
        used.append(Keyserver(uri, False, not builtin, insecure))
    if sum(not server.external for server in used) > 1:
        raise RuleError("only one keyserver can be the endpoint's own (builtin: true)")
    if used == [server for server in remote.keyservers if not server.skip]:
        return remote.keyservers
    skipped = [server._replace(skip=True) for server in remote.keyservers
               if not server.external and not any(same_keyserver(server.uri, other.uri) for other in used)]
    return tuple(used + skipped)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(quoted(name) for name in sorted(names))
