# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The layers of the inventory that declare what is on a fleet: what most hosts have, and how groups and hosts differ from it. Pure rules.

What the layers mean is in `_layers.py`, and this is its inverse.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.hpc.apptainer.plugins.plugin_utils._layers import layered
from ansible_collections.hpc.apptainer.plugins.plugin_utils._nodeset import natural_key

_KEYS = ("name", "state", "uri", "insecure", "default", "exclusive", "keyservers")
_Entries = list[dict[str, Any]]


class Layers(NamedTuple):
    """The endpoints for all hosts, for groups and for hosts: only what differs from the layers before. `unpruned` hosts keep what is not declared.

    `groups` have no host in common, because Ansible would use the variable of only one of them.
    """

    everyone: _Entries
    groups: dict[str, _Entries]
    hosts: dict[str, _Entries]
    unpruned: tuple[str, ...] = ()


def adopted(states: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Iterable[str]]) -> Layers:
    """The layers under which each host has its own state again. A state is `declared` of apptainer_remote_info, or the part of it that counts here,
    `remotes` and `prune`. `groups` are those of the inventory without `all`; hosts that are not in `states` count for nothing.

    The state of most hosts comes first; if it is "no file", that of most others, because only what is listed somewhere can be declared absent.
    """
    texts = {host: json.dumps(state["remotes"], sort_keys=True) for host, state in states.items()}
    remotes = {texts[host]: list(state["remotes"]) for host, state in states.items()}
    names = sorted(states, key=natural_key)
    common = _commonest(texts[host] for host in names if states[host]["remotes"])
    everyone = _difference([], remotes.get(common, []))
    own_layer = _own_layers({host: texts[host] for host in names}, groups, common)
    of_groups = {group: _difference(everyone, remotes[text]) for group, (text, _hosts) in own_layer.items()}
    base = {host: layered([everyone, of_groups[group]], "name") for group, (_text, hosts) in own_layer.items() for host in hosts}
    of_hosts = {host: _difference(base.get(host, everyone), remotes[texts[host]]) for host in names}
    return Layers(everyone, of_groups, {host: entries for host, entries in of_hosts.items() if entries},
                  tuple(host for host in names if not states[host]["prune"]))


def _commonest(texts: Iterable[str]) -> str:
    """The most frequent one, of several the first; nothing of none."""
    counts = Counter(texts)
    return max(counts, key=lambda text: counts[text], default="")


def _own_layers(texts: Mapping[str, str], groups: Mapping[str, Iterable[str]], common: str) -> dict[str, tuple[str, list[str]]]:
    """The groups that get a layer, each with its commonest state and its hosts: those that save the most hosts one of their own come first."""
    found: dict[str, tuple[str, list[str]]] = {}
    members = {group: [host for host in hosts if host in texts] for group, hosts in groups.items()}
    commonest = {group: _commonest(texts[host] for host in sorted(hosts, key=natural_key)) for group, hosts in members.items()}
    counts = {group: Counter(texts[host] for host in hosts) for group, hosts in members.items()}
    saved = {group: counts[group][commonest[group]] - counts[group][common] for group in members}
    taken: set[str] = set()
    for group in sorted(members, key=lambda group: (-saved[group], natural_key(group))):
        if saved[group] > 1 and not taken.intersection(members[group]):
            found[group] = commonest[group], members[group]
            taken.update(members[group])
    return found


def _difference(base: Sequence[Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]]) -> _Entries:
    """The layer that makes `wanted` of the merged layers before, `base`."""
    before = {entry["name"]: entry for entry in base}
    after = {entry["name"]: entry for entry in wanted}
    entries = [_entry(before.get(name, {}), {"state": "present", **after[name]} if name in after else {"name": name, "state": "absent"})
               for name in dict.fromkeys([*before, *after])]
    return [entry for entry in entries if len(entry) > 1 or entry["name"] not in before]


def _entry(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The keys in which an endpoint differs. null takes back what an earlier layer says of it; an absent endpoint is nothing but absent."""
    keys = ("name", "state") if after["state"] == "absent" else _KEYS
    entry = {key: after.get(key) for key in keys if after.get(key) != before.get(key) or key == "name"}
    if not before or before.get("state", "present") == "present":
        entry = {key: value for key, value in entry.items() if (key, value) != ("state", "present")}
    if before.get("default") is None:  # false would say nothing: another endpoint is the default, or none
        entry = {key: value for key, value in entry.items() if (key, value) != ("default", False)}
    return entry
