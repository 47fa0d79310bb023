# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Merges the layers of a list in the inventory, for all hosts, for a group and for a host, by the names of their entries. Pure rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.hpc.apptainer.plugins.module_utils._redaction import without_login

Entry = Mapping[str, Any]


class LayerError(Exception):
    """A layer is not a list of dictionaries, or contains a name twice. The message has no value of an entry but its name, as others may be secret."""


def layered(layers: Iterable[Sequence[Entry] | None], key: str, nested: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """The merged entries of all layers, the most general one first, in the order in which their names first appear.

    Entries with the same value of `key` become one. If several layers set a key of it, the value in the last of them counts. `nested` are the keys of
    an entry whose lists are merged in the same way, each with the key of its names; any other list in a later layer replaces the earlier one.
    """
    merged: dict[str, dict[str, Any]] = {}
    for layer in layers:
        names: set[str] = set()
        for entry in _entries(layer, key):
            name = entry[key]
            if name in names:
                raise LayerError(f"{key} {without_login(name)} is listed twice in one list; merge the two entries")
            names.add(name)
            earlier = merged.setdefault(name, {})
            lists = {inner: _inner(f"{key} {without_login(name)}: {inner}", [earlier.get(inner), entry[inner]], by)
                     for inner, by in (nested or {}).items() if inner in entry}
            earlier.update({**entry, **lists})
    return list(merged.values())


def _inner(place: str, layers: list[Any], key: str) -> list[dict[str, Any]]:
    try:
        return layered(layers, key)
    except LayerError as error:
        raise LayerError(f"{place}: {error}") from None


def _entries(layer: Any, key: str) -> list[Entry]:
    if layer is None:
        return []
    if not isinstance(layer, list) or not all(isinstance(entry, Mapping) for entry in layer):
        raise LayerError(f"this must be a list of dictionaries, each with the key {key}")
    for number, entry in enumerate(layer, 1):
        name = entry.get(key)
        if isinstance(name, (int, float)):  # a boolean too
            raise LayerError(f"entry {number} of the list has the {key} {name}, which YAML does not read as text; put it in quotes")
        if not isinstance(name, str) or not name:
            raise LayerError(f"entry {number} of the list has no {key}; set the key {key} to a text that is not empty")
    return layer
