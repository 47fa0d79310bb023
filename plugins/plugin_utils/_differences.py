# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What differs on a host, in sentences that say what is there and what should be: pure rules over the diffs of the modules' results.

The diffs hold no secrets any more: where one was, a word stands, and another one where the declared secret is not the one that is stored.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml
from ansible_collections.hpc.apptainer.plugins.module_utils._redaction import HIDDEN_CHANGED

ATTRIBUTES = " (attributes)"

_MISSING = object()
_CLAUSES = {"Active": "default endpoint", "URI": "URI", "System": "system", "Exclusive": "exclusive", "Insecure": "insecure", "Skip": "skip",
            "External": "external", "Auth": "password", "Token": "token", "auth": "password", "identitytoken": "token", "registrytoken": "token"}
_SECRETS = ("password", "token")
_LONGEST = 200_000


@functools.lru_cache(maxsize=1000)
def sentences(before: str, after: str) -> tuple[str, ...]:
    """What is different between a file as it is and as it should be, one sentence for each thing, the same for the same difference.

    `before` and `after` are one entry of a `diff`: a `remote.yaml`, a `docker-config.json`, or the lines of mode and owner. Neither has
    to be understood: text that is none of these "differs", and so does text that is longer than anybody declares.
    """
    if before == after:
        return ()
    if not before.strip():
        return ("the file is missing or empty",)
    if is_long(before, after):
        return ("the content differs",)
    try:
        found = tuple(_documents(_parsed(before), _parsed(after)))
    except (ValueError, TypeError, AttributeError, RecursionError, yaml.YAMLError):
        found = ()
    return found or ("the content differs",)


def is_long(before: str, after: str) -> bool:
    """Whether to compare the two would take so long that a host could hold up the report for all others."""
    return len(before) + len(after) > _LONGEST


@functools.lru_cache(maxsize=1000)
def _parsed(text: str) -> dict[str, Any]:
    """JSON is not quite YAML: Apptainer indents it with tabs."""
    parsed = json.loads(text) if text.startswith("{") else yaml.load(text, Loader=_Loader)
    if not isinstance(parsed, dict):
        raise ValueError("not a mapping")
    return parsed


class _Loader(yaml.SafeLoader):
    """Text stays text, but for true and false: a mode is not a number. Aliases are refused: no module writes one, and a few make gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias")
        return super().compose_node(parent, index)


_Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] == "tag:yaml.org,2002:bool"]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _documents(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for key in _keys(before, after):
        old, new = before.get(key, _MISSING), after.get(key, _MISSING)
        if key == "Remotes":
            yield from _named("endpoint", _mapping(old), _mapping(new))
        elif key == "Credentials":
            yield from _logins("login", _listed(old), _listed(new))
        elif key == "auths":
            yield from _named("registry login", _mapping(old), _mapping(new))
        elif old != new:
            yield _value(_CLAUSES.get(key, key), old, new)


def _named(kind: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Things that are there by name: missing ones first, then those too many, then those that differ."""
    yield from (f"{kind} {name}: is missing" for name in after if name not in before)
    yield from (f"{kind} {name}: is there, should be removed" for name in before if name not in after)
    for name in after:
        yield from _fields(f"{kind} {name}", before.get(name, after[name]), after[name])


def _fields(subject: str, before: Any, after: Any) -> Iterator[str]:
    before, after = _mapping(before), _mapping(after)
    for key in _keys(before, after):
        old, new = before.get(key, _MISSING), after.get(key, _MISSING)
        if key == "Keyservers":
            yield from _keyservers(subject, _listed(old), _listed(new))
        elif old != new:
            yield f"{subject}: {_value(_CLAUSES.get(key, key), old, new)}"


def _keyservers(subject: str, before: Sequence[Any], after: Sequence[Any]) -> Iterator[str]:
    old, new = ([str(_mapping(server).get("URI", "")) for server in servers] for servers in (before, after))
    if old != new:
        yield f"{subject}: keyservers are {', '.join(old) or 'its own ones'}, should be {', '.join(new) or 'its own ones'}"
        return
    for uri, was, wanted in zip(new, before, after, strict=True):
        yield from _fields(f"{subject}, keyserver {uri}", was, wanted)


def _logins(kind: str, before: Sequence[Any], after: Sequence[Any]) -> Iterator[str]:
    """A list as Apptainer writes it, of things that have a URI: by that."""
    old, new = ({str(_mapping(item).get("URI", "")): item for item in items} for items in (before, after))
    found = tuple(_named(kind, old, new))
    yield from found
    if not found and before != after:
        yield f"{kind}s: the order differs"


def _value(clause: str, old: Any, new: Any) -> str:
    if clause in _SECRETS:
        if new == HIDDEN_CHANGED:
            return f"{clause} is another one than declared"
        return f"{clause} {'is missing' if old in (_MISSING, '') else 'is stored, should be removed'}"
    return f"{clause} is {_shown(old)}, should be {_shown(new)}"


def _shown(value: Any) -> str:
    if value is _MISSING or value is None or value == "":
        return "not set"
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _mapping(value: Any) -> Mapping[str, Any]:
    """What should be a mapping, and may be missing or null."""
    return value if isinstance(value, dict) else {}


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _keys(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys([*before, *after]))
