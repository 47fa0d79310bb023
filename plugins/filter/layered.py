# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lists of an inventory in layers: what a group or a host says is merged into what all say. Runs on the controller."""

DOCUMENTATION = r"""
name: layered
short_description: Merge lists of dictionaries by what names their entries
description:
  - Merges lists of dictionaries, of which each layer may add entries and change those of the layers before it. So the variables of a
    group or of a host need not repeat what all hosts have.
  - Entries that have the same name are one entry, and what a later layer says of it wins, key by key. The order is that in which the
    entries are first named.
author:
  - The hpc.apptainer contributors (@hpc-apptainer)
positional: key
options:
  _input:
    description: The layers, the most general one first. A layer that is null counts as empty.
    type: list
    elements: list
    required: true
  key:
    description: The key that names an entry, for instance V(name).
    type: str
    required: true
  nested:
    description:
      - The keys of an entry that hold such lists themselves, and the key that names an entry in them. Any other list of a later layer
        takes the place of the earlier one.
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
    """The entries of all layers. Raises AnsibleFilterError for what is no list of dictionaries, and for an entry that is named twice in a layer."""
    merged: dict[str, dict[str, Any]] = {}
    for layer in layers:
        named: set[str] = set()
        for entry in _entries(layer, key):
            name = entry[key]
            if name in named:
                raise AnsibleFilterError(f"{key} {name} is listed twice in one list; merge the two entries")
            named.add(name)
            known = merged.setdefault(name, {})
            lists = {inner: layered([known.get(inner), entry[inner]], by) for inner, by in (nested or {}).items() if inner in entry}
            known.update({**entry, **lists})
    return list(merged.values())


def _entries(layer: Any, key: str) -> list[Entry]:
    if layer is None:
        return []
    if not isinstance(layer, list) or not all(isinstance(entry, Mapping) for entry in layer):
        raise AnsibleFilterError(f"a list of dictionaries is needed, each with the key {key}")
    for number, entry in enumerate(layer, 1):
        name = entry.get(key)
        if isinstance(name, (int, float)):  # nothing else of an entry may be shown
            raise AnsibleFilterError("entry %d of the list has the %s %s, which YAML does not read as text; put it in quotes" % (number, key, name))
        if not isinstance(name, str) or not name:
            raise AnsibleFilterError("entry %d of the list needs the key %s, a text that is not empty" % (number, key))
    return layer


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Any]:
        return {"layered": layered}
