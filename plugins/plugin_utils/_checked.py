# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Values as an argument specification wants them, and one sentence for each that is wrong. Pure rules.

Ansible's own validation has other sentences, which are made for programmers and may quote a password, and it ignores that a text is no list.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import yaml
from ansible.module_utils.common.validation import check_type_bool
from ansible_collections.hpc.apptainer.plugins.module_utils._options import advice
from ansible_collections.hpc.apptainer.plugins.module_utils._redaction import without_login

_LONGEST_VALUE = 100  # that a sentence quotes


class Checker(NamedTuple):
    """Collects in `problems` what is wrong. `is_secret` values are never quoted."""

    problems: list[str]
    is_secret: bool = False

    def value(self, place: str, value: Any, spec: Mapping[str, Any]) -> Any:
        """`value` as the type in `spec` says. `place` says where it is. A value that is not set (None) stays so."""
        kind = spec["type"]
        if value is None:
            return value
        if kind == "list":
            return self._list(place, value, spec)
        if kind == "dict":
            return self.entry(place, value, spec["options"]) if isinstance(value, Mapping) else self._refused(place, value, "a dictionary")
        convert, wanted = _SCALARS[kind]
        try:
            converted = convert(value)
        except (TypeError, ValueError):
            return self._refused(place, value, wanted)
        if converted not in spec.get("choices", (converted,)):
            return self._refused(place, value, f"one of {', '.join(spec['choices'])}")
        return converted

    def entry(self, place: str, entry: Mapping[str, Any], options: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """A dictionary with these options, without the defaults of those that are not set."""
        entry = self._with_own_names(place, entry, options)
        unknown = [name for name in entry if name not in options]
        missing = [name for name, option in options.items() if option.get("required") and entry.get(name) is None]
        self.problems.extend(f"{place}: the key {name} does not exist{_instead(str(name), options)}" for name in unknown)
        if not unknown:  # one of them may be the missing one
            self.problems.extend(f"{place}: the key {name} is missing" for name in missing)
        return {name: self.value(f"{place}: {name}", value, options[name]) for name, value in entry.items() if name in options}

    def with_own_names(self, place: str, entries: Any, options: Mapping[str, Mapping[str, Any]]) -> Any:
        """The entries of a list with the own names of options in place of others (`aliases`), also in lists in them. What is none stays as it is."""
        if not isinstance(entries, list):
            return entries
        found = [self._with_own_names(f"{place}: {_named(number, entry)}", entry, options) if isinstance(entry, Mapping) else entry
                 for number, entry in enumerate(entries, 1)]
        for name, option in options.items():
            for entry in found if "options" in option else ():
                if isinstance(entry, dict) and name in entry:
                    entry[name] = self.with_own_names(f"{place}: {name}", entry[name], option["options"])
        return found

    def _with_own_names(self, place: str, entry: Mapping[str, Any], options: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        others = {other: name for name, option in options.items() for other in option.get("aliases", ())}
        found = {name: value for name, value in entry.items() if name not in others}
        for other, value in entry.items():
            if other in others:
                name = others[other]
                if found.get(name) is not None:
                    self.problems.append(f"{place}: the key {other} is another name of {name}; remove one of the two")
                found[name] = value
        return found

    def _list(self, place: str, value: Any, spec: Mapping[str, Any]) -> Any:
        try:
            items = as_list(value, spec["elements"])
        except ValueError:
            items = None
        if not isinstance(items, (list, tuple)):
            return self._refused(place, value, "a list")
        empty = [number for number, item in enumerate(items, 1) if item is None]
        self.problems.extend(f"{place}: entry {number} is empty; remove it, or give it a value" for number in empty)
        element = {**spec, "type": spec["elements"]}
        return [self.value(f"{place}: {_named(number, item)}", item, element) for number, item in enumerate(items, 1)]

    def _refused(self, place: str, value: Any, wanted: str) -> Any:
        self.problems.append(f"{place} must be {wanted}" if self.is_secret else f"{place} is {value!r:.{_LONGEST_VALUE}}, but must be {wanted}")
        return value


def with_defaults(entry: Mapping[str, Any], options: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A checked entry with the defaults of its options, and without what is not set: a module would take null for a value."""
    found = {name: option["default"] for name, option in options.items() if "default" in option}
    for name, value in entry.items():
        if value is not None:
            has_entries = "options" in options[name]
            found[name] = [with_defaults(item, options[name]["options"]) for item in value] if has_entries else value
    return found


def as_list(value: Any, elements: str) -> Any:
    """A list also if it is written as text, as `-e k=v`, INI inventories and surveys do: as YAML, as JSON, or if its elements are texts as a,b.

    Raises ValueError if the text has a syntax error. What is no list is returned as it is.
    """
    if isinstance(value, str) and (elements == "dict" or value.lstrip().startswith("[")):
        try:
            return yaml.safe_load(value)
        except yaml.YAMLError:
            raise ValueError from None  # its message has parts of the text
    if isinstance(value, str):
        return [item.strip() for item in value.split(",") if item.strip()]
    return [value] if elements != "dict" and isinstance(value, (int, float)) else value


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence on a name that does not exist."""
    close = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {close[0]}?" if close else "; remove it, or correct its name"


def _instead(name: str, options: Mapping[str, Any]) -> str:
    """The same, for the key of an entry."""
    known = advice(name, options)
    return f"; {known}" if known else nearest(name, options)


def _named(number: int, item: Any) -> str:
    """What a sentence calls an element of a list."""
    name = (item.get("name") or item.get("uri")) if isinstance(item, Mapping) else None
    return without_login(name) if isinstance(name, str) else f"entry {number}"


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise TypeError
    return str(value)


def _secret(value: Any) -> str:
    """Numbers are refused: as text, the number 0123456 would be 42798."""
    if not isinstance(value, str):
        raise TypeError
    return value


def _number(value: Any) -> float:
    number = float(_text(value))
    if not math.isfinite(number):
        raise ValueError
    return number


# A path stays as it is, because "~" is that of the host and of the account that works with it.
_SCALARS: Mapping[str, tuple[Callable[[Any], Any], str]] = {
    "bool": (check_type_bool, "a boolean, true or false"),
    "float": (_number, "a number"),
    "path": (_text, "a path"),
    "secret": (_secret, "a text, in quotes"),
    "str": (_text, "a text"),
}
