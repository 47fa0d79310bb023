# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The declaration under which a remote.yaml stays as it is: what adopting a node starts with. The inverse of `_rules/endpoints.py`.

The rules themselves are asked, one option at a time, whether they would change anything; so nothing of them is repeated here.
"""

import re
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

from .._apptainer.effective import exclusives
from .._errors import RuleError, quoted
from .._rules.endpoints import converge
from .._rules.wanted import WantedKeyserver, WantedRemote, endpoint_subject, listed
from .._values.remote_config import Remote, RemoteConfig
from .._values.uri import hardcoded_keyserver, same_keyserver

_WOULD_CHANGE = "declaring it would change it"


class Declared(NamedTuple):
    """Options of apptainer_remotes; `prune` is false if an endpoint cannot be listed, and so would be removed.

    `undeclared` says, a sentence each, what they leave alone because it cannot be declared, and what a run would change nevertheless, because the
    rules never leave it so.
    """

    remotes: Tuple[Dict[str, Any], ...] = ()
    prune: bool = False
    undeclared: Tuple[str, ...] = ()


def declared(config: RemoteConfig, system: Optional[RemoteConfig] = None, system_problem: str = "", flavor: str = "apptainer") -> Declared:
    """The options that declare all of `config`, and change nothing in it. `system`, `system_problem` and `flavor` are those of converge().

    Tokens and logins are not declared, and stay. An endpoint that cannot be listed at all is left out, and then nothing may be pruned.
    """
    return _Declaration(config, system, system_problem, flavor).run()


class _Declaration:
    """One run of declared()."""

    def __init__(self, config: RemoteConfig, system: Optional[RemoteConfig], system_problem: str, flavor: str) -> None:
        self.config = config
        self.system = system
        self.system_problem = system_problem
        self.flavor = flavor
        self.undeclared: List[str] = []

    def run(self) -> Declared:
        entries = [entry for name, remote in sorted(self.config.remotes.items()) for entry in self._endpoint(name, remote)]
        self._choose(entries)
        is_complete = len(entries) == len(self.config.remotes)
        entries += self._global_default()
        return Declared(tuple(entries), is_complete, tuple(self.undeclared))

    def _global_default(self) -> Iterator[Dict[str, Any]]:
        """The entry of an endpoint that is a user's default and only in the global file."""
        name = self.config.active
        if self.system is None or name in self.config.remotes or name not in self.system.remotes:
            return
        refused = self._changes(WantedRemote(name, default=True), None)
        if refused:
            self._cannot(name, f"it cannot be listed: {refused}")
        else:
            yield {"name": name, "default": True}

    def _endpoint(self, name: str, remote: Remote) -> Iterator[Dict[str, Any]]:
        """The entry of one endpoint, without what concerns several; none if it cannot be listed."""
        if self.system is None and not remote.system:
            self._cannot(name, "its System is false, and a run sets it to true, because keyserver commands refuse it in the global file otherwise")
            remote = remote._replace(system=True)
        refused = self._changes(WantedRemote(name), remote)
        if refused:
            self._cannot(name, f"it cannot be listed: {refused}")
            return
        entry: Dict[str, Any] = {"name": name}
        if remote.insecure:
            entry["insecure"] = True
        if self.system is None or not remote.system:  # of a global endpoint, only insecure is a user's
            self._add(entry, remote, uri=_full_uri(remote))
        if self.system is None:
            self._add(entry, remote, keyservers=self._keyservers(remote))
        yield entry

    def _add(self, entry: Dict[str, Any], remote: Remote, **option: Any) -> None:
        """The option, if it can be declared."""
        name, value = next(iter(option.items()))
        refused = self._changes(WantedRemote(entry["name"], insecure=entry.get("insecure"), **option), remote)
        if refused:
            self._cannot(entry["name"], f"its {name} cannot be declared: {refused}")
        else:
            entry[name] = [_options(item) for item in value] if isinstance(value, tuple) else value

    def _changes(self, wanted: WantedRemote, remote: Optional[Remote]) -> str:
        """Why a file with this endpoint alone, or with none, would not stay as it is if this were declared; empty if it would."""
        alone = RemoteConfig(self.config.active if wanted.default else "", {wanted.name: remote} if remote else {})
        try:
            after = converge(alone, [wanted], self.system, system_problem=self.system_problem, flavor=self.flavor).config
        except RuleError as error:
            return error.reason
        return "" if after == alone else _WOULD_CHANGE

    def _keyservers(self, remote: Remote) -> Tuple[WantedKeyserver, ...]:
        own = hardcoded_keyserver(remote.uri, self.flavor)
        return tuple(WantedKeyserver(server.uri, server.insecure, None if server.external != same_keyserver(server.uri, own) else not server.external)
                     for server in remote.keyservers if not server.skip)

    def _choose(self, entries: List[Dict[str, Any]]) -> None:
        """The default and the exclusive endpoint: what is true of one, and in the global file what is false of all others."""
        active, exclusive = self.config.active, exclusives(self.config.remotes)
        known = set(self.config.remotes).union(self.system.remotes if self.system else ())
        if active and active not in known:
            self._cannot(active, "it is the default, but it is in no file that can be read; this is left as it is. Set default: true for one that is")
        if self.system is not None:
            for entry in entries:
                entry.update({"default": True} if entry["name"] == active else {})
            return
        if len(exclusive) > 1:
            self.undeclared.append(f"the endpoints {listed(exclusive)} are all exclusive, and a run leaves that to the default one only, "
                                   "or refuses; set exclusive: true for the right one")
        elif exclusive and exclusive[0] != active:
            self._cannot(exclusive[0], f"it is exclusive, but {quoted(active) if active else 'nothing'} is the default; neither is declared. Set exclusive: "
                                       "true for the right one")
        is_clear = len(exclusive) < 2 and exclusive in ([], [active]) and (not active or active in known)
        for entry in entries:
            if is_clear:
                entry["default"] = entry["name"] == active
            if is_clear or entry["name"] not in exclusive:
                entry["exclusive"] = entry["name"] in exclusive

    def _cannot(self, name: str, reason: str) -> None:
        self.undeclared.append(f"{endpoint_subject(name)}: {reason}")


def _full_uri(remote: Remote) -> str:
    """The URI with its scheme, as people write it."""
    rest = re.sub(r"\A(?:[A-Za-z][A-Za-z0-9+.-]*:)?//", "", remote.uri)
    return f"{'http' if remote.insecure else 'https'}://{rest}"


def _options(wanted: WantedKeyserver) -> Dict[str, Any]:
    return {name: value for name, value in wanted._asdict().items() if value is not None}
