# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What differs on a host, in sentences that say what is there and what should be there: pure rules over the diffs in the modules' results.

The diffs contain no secrets: a placeholder stands for each, and another placeholder for one that differs from the declared secret.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import yaml
from ansible_collections.hpc.apptainer.plugins.module_utils._redaction import HIDDEN_CHANGED

ATTRIBUTES = " (attributes)"

_MISSING = object()
_LABELS = {"Active": "default endpoint", "URI": "URI", "System": "system", "Exclusive": "exclusive", "Insecure": "insecure", "Skip": "skip",
           "External": "external", "Auth": "password", "Token": "token", "auth": "password", "identitytoken": "token", "registrytoken": "token",
           "type": "file type"}
_SECRETS = ("password", "token")
_LONGEST = 200_000

# Each kind of change in two wordings: while the host still differs, and after it was changed.
_WORDINGS = {
    "no file": ("the file is missing or empty", "the file was missing or empty"),
    "content": ("the content differs", "the content was changed"),
    "missing": ("{name} is missing", "{name} was added"),
    "extra": ("{name} is present, should be absent", "{name} was removed"),
    "value": ("{name} is {old}, should be {new}", "{name} was {old}, is now {new}"),
    "list": ("{name} are {old}, should be {new}", "{name} were {old}, are now {new}"),
    "secret": ("{name} differs from the declared one", "{name} was changed"),
    "order": ("{name}: the order differs", "{name}: the order was changed"),
}


class _Change(NamedTuple):
    """One thing that differs. `kind` is a key of `_WORDINGS`."""

    kind: str
    name: str = ""
    old: str = ""
    new: str = ""


@functools.lru_cache(maxsize=1000)
def sentences(before: str, after: str, changed: bool = False) -> tuple[str, ...]:
    """What is different between a file as it is and as it should be, one sentence for each thing, and the same sentence for the same difference.

    `before` and `after` are one entry of a `diff`: a `remote.yaml`, a `docker-config.json`, or the lines for mode and owner. With `changed`, the
    file has been changed from one to the other, and the sentences say so. Text that cannot be parsed as one of these, and text that is longer
    than anybody declares, only "differs".
    """
    return tuple(_WORDINGS[change.kind][changed].format(**change._asdict()) for change in _changes(before, after))


def is_long(before: str, after: str) -> bool:
    """Whether comparing the two would take so long that one host could hold up the report for all others."""
    return len(before) + len(after) > _LONGEST


def _changes(before: str, after: str) -> tuple[_Change, ...]:
    if before == after:
        return ()
    if not before.strip():
        return (_Change("no file"),)
    if is_long(before, after):
        return (_Change("content"),)
    try:
        found = tuple(_document_changes(_parsed(before), _parsed(after)))
    except (ValueError, TypeError, AttributeError, ArithmeticError, RecursionError, yaml.YAMLError):
        found = ()
    return found or (_Change("content"),)


@functools.lru_cache(maxsize=1000)
def _parsed(text: str) -> dict[str, Any]:
    """JSON has to be parsed as JSON, because Apptainer indents it with tabs, which YAML does not allow."""
    parsed = json.loads(text) if text.startswith("{") else yaml.load(text, Loader=_Loader)
    if not isinstance(parsed, dict):
        raise ValueError("not a mapping")
    return parsed


class _Loader(yaml.SafeLoader):
    """Reads everything as text except true and false: a mode is not a number. Rejects aliases: no module writes any, and a few make gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias")
        return super().compose_node(parent, index)


_Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] == "tag:yaml.org,2002:bool"]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _document_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[_Change]:
    for key in _keys(before, after):
        old, new = before.get(key, _MISSING), after.get(key, _MISSING)
        if key == "Remotes":
            yield from _entry_changes("endpoint", _mapping_or_empty(old), _mapping_or_empty(new))
        elif key == "Credentials":
            yield from _list_changes("login", _list_or_empty(old), _list_or_empty(new))
        elif key == "auths":
            yield from _entry_changes("registry login", _mapping_or_empty(old), _mapping_or_empty(new))
        elif old != new:
            yield _value_change("", _LABELS.get(key, key), old, new)


def _entry_changes(kind: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[_Change]:
    """Entries that have a name: first those that are missing, then those that should be absent, then those that differ."""
    yield from (_Change("missing", f"{kind} {name}") for name in after if name not in before)
    yield from (_Change("extra", f"{kind} {name}") for name in before if name not in after)
    for name in after:
        yield from _field_changes(f"{kind} {name}", before.get(name, after[name]), after[name])


def _field_changes(entry: str, before: Any, after: Any) -> Iterator[_Change]:
    before, after = _mapping_or_empty(before), _mapping_or_empty(after)
    for key in _keys(before, after):
        old, new = before.get(key, _MISSING), after.get(key, _MISSING)
        if key == "Keyservers":
            yield from _keyserver_changes(entry, _list_or_empty(old), _list_or_empty(new))
        elif old != new:
            yield _value_change(f"{entry}: ", _LABELS.get(key, key), old, new)


def _keyserver_changes(endpoint: str, before: Sequence[Any], after: Sequence[Any]) -> Iterator[_Change]:
    old, new = ([str(_mapping_or_empty(server).get("URI", "")) for server in servers] for servers in (before, after))
    if old != new:
        yield _Change("list", f"{endpoint}: keyservers", *(", ".join(uris) or "the built-in one" for uris in (old, new)))
        return
    for uri, old_server, new_server in zip(new, before, after, strict=True):
        yield from _field_changes(f"{endpoint}, keyserver {uri}", old_server, new_server)


def _list_changes(kind: str, before: Sequence[Any], after: Sequence[Any]) -> Iterator[_Change]:
    """A list of things that have a URI, compared by that URI."""
    old, new = ({str(_mapping_or_empty(item).get("URI", "")): item for item in items} for items in (before, after))
    found = tuple(_entry_changes(kind, old, new))
    yield from found
    if not found and before != after:
        yield _Change("order", f"{kind}s")


def _value_change(prefix: str, label: str, old: Any, new: Any) -> _Change:
    if label in _SECRETS:
        kind = "secret" if new == HIDDEN_CHANGED else "missing" if old in (_MISSING, "") else "extra"
        return _Change(kind, f"{prefix}{label}")
    return _Change("value", f"{prefix}{label}", _value_text(old), _value_text(new))


def _value_text(value: Any) -> str:
    if value is _MISSING or value is None or value == "":
        return "not set"
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _mapping_or_empty(value: Any) -> Mapping[str, Any]:
    """For what should be a mapping, but may be missing or null."""
    return value if isinstance(value, dict) else {}


def _list_or_empty(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _keys(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys([*before, *after]))
