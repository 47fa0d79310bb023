# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Merges the layers of a list in the inventory: for all hosts, for a group and for a host. Runs on the controller."""

DOCUMENTATION = r"""
name: layered
short_description: Merge lists of dictionaries by the names of their entries
description:
  - Merges several lists of dictionaries, called layers, into one. Each layer can add entries, and change entries of the layers before it.
    So the variables of a group or a host do not have to repeat what applies to all hosts.
  - Entries with the same name become one entry. If several layers set the same key, the value in the last of them is used. The merged entries
    are in the order in which their names first appear.
author:
  - The hpc.apptainer contributors (@hpc-apptainer)
positional: key
options:
  _input:
    description: The layers, the most general one first. V(null) counts as an empty layer.
    type: list
    elements: list
    required: true
  key:
    description: The key that contains the name of an entry, for example V(name).
    type: str
    required: true
  nested:
    description:
      - The keys of an entry whose lists are merged in the same way, each with the key that contains the name in that list. Any other list
        in a later layer replaces the earlier one.
    type: dict
    default: {}
"""

EXAMPLES = r"""
# [{name: site, uri: https://library.example.org, default: true}, {name: test, uri: https://test.example.org}]
remotes: "{{ [base, group] | hpc.apptainer.layered('name') }}"
base:
  - name: site
    uri: https://library.example.org
group:
  - name: test
    uri: https://test.example.org
  - name: site
    default: true
"""

RETURN = r"""
_value:
  description: The merged list.
  type: list
  elements: dict
"""

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

Entry = Mapping[str, Any]


def layered(layers: list[list[Entry] | None], key: str, nested: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """The merged entries of all layers.

    Raises AnsibleFilterError if a layer is not a list of dictionaries, or contains a name twice.
    """
    merged: dict[str, dict[str, Any]] = {}
    for layer in layers:
        names: set[str] = set()
        for entry in _entries(layer, key):
            name = entry[key]
            if name in names:
                raise AnsibleFilterError(f"{key} {name} is listed twice in one list; merge the two entries")
            names.add(name)
            earlier = merged.setdefault(name, {})
            lists = {inner: layered([earlier.get(inner), entry[inner]], by) for inner, by in (nested or {}).items() if inner in entry}
            earlier.update({**entry, **lists})
    return list(merged.values())


def _entries(layer: Any, key: str) -> list[Entry]:
    if layer is None:
        return []
    if not isinstance(layer, list) or not all(isinstance(entry, Mapping) for entry in layer):
        raise AnsibleFilterError(f"this must be a list of dictionaries, each with the key {key}")
    for number, entry in enumerate(layer, 1):
        name = entry.get(key)
        if isinstance(name, (int, float)):  # the rest of an entry may contain secrets, so it is not shown
            raise AnsibleFilterError(f"entry {number} of the list has the {key} {name}, which YAML does not read as text; put it in quotes")
        if not isinstance(name, str) or not name:
            raise AnsibleFilterError(f"entry {number} of the list has no {key}; set the key {key} to a text that is not empty")
    return layer


class FilterModule:
    """The filters of this file, for Ansible."""

    def filters(self) -> dict[str, Any]:
        return {"layered": layered}
