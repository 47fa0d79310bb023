# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The bytes of a docker-config.json as values, and back.

It reads what Go's encoding/json and docker/cli read, except what would be lost in writing it back; it writes as docker/cli does.
"""

import json
import re
from typing import Any, Dict, Iterator, List, Mapping, Set, Tuple

from .._errors import FormatError, quoted
from .._redaction import without_login
from .._values.docker_config import DockerConfig, Number, decode_login

_FILE_KEYS = ("auths", "credHelpers", "credsStore")
_ENTRY_KEYS = ("auth", "username", "password", "email", "serveraddress", "identitytoken", "registrytoken")
_LARGEST = 1 << 20  # bytes: thousands of logins
_DEEPEST = 100  # levels; docker's own file has 4

# In JSON only a key stands before a colon.
_TOKEN = re.compile(r'("[^"\\]*(?:\\.[^"\\]*)*")([ \t\r\n]*:)?|[\[\]{}]|NaN|-?Infinity')
_ESCAPED = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}  # by Go's json.Marshal
_SURROGATE = re.compile("[\\ud800-\\udfff]")


def decode(data: bytes, path: str) -> DockerConfig:
    """The content `data` of the file `path`, which is used in messages only.

    Raises FormatError, with line and column and never a value, for what Apptainer refuses: no JSON, no object, an `auth` that cannot be
    decoded (recorded runs of logins). Some of what Apptainer reads is refused too, because writing it back would lose or change something:
    bytes that are not UTF-8, text after the object, the same key twice, a key that Go takes for another (it ignores case), and nesting of
    more than 100 levels.
    """
    if len(data) > _LARGEST:
        raise FormatError(f"{path}: is larger than {_LARGEST >> 10} KiB, so it is not a file of logins; find out what wrote it")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[:error.start].decode("utf-8")
        raise _Reader(before, path).error(len(before), "the file is not UTF-8 text; save it as UTF-8") from None
    if not text.strip(" \t\r\n"):
        return DockerConfig()
    return DockerConfig(_Reader(text, path).read(), True)


class _Reader:
    """One JSON text, with the offsets of its keys."""

    def __init__(self, text: str, path: str) -> None:
        self.text = text
        self.path = path
        self.offsets: Dict[Tuple[str, ...], int] = {}

    def read(self) -> Mapping[str, Any]:
        try:
            tree = json.loads(self.text, parse_int=Number, parse_float=Number)
        except ValueError as error:
            raise self.error(getattr(error, "pos", 0), "this is not JSON; fix the file, or remove it and log in again") from None
        except RecursionError:
            raise self.error(0, "the values are nested too deeply; fix the file, or remove it and log in again") from None
        for offset, problem in self._walk():
            raise self.error(offset, problem)
        if not isinstance(tree, dict):
            raise self.error(len(self.text) - len(self.text.lstrip(" \t\r\n")), 'the file must hold one JSON object, like {"auths": {}}')
        self._check_file(tree)
        return tree

    def error(self, offset: int, problem: str) -> FormatError:
        line, column = self.text.count("\n", 0, offset) + 1, offset - self.text.rfind("\n", 0, offset)
        return FormatError(f"{self.path}, line {line}, column {column}: {problem}")

    def _walk(self) -> Iterator[Tuple[int, str]]:
        """Remember where each key is; yield what json.loads accepts, but Go or this module does not."""
        above: List[str] = []
        seen: List[Set[str]] = []
        for token in _TOKEN.finditer(self.text):
            text = token.group()
            if text in "[{":
                above.append("")
                seen.append(set())
                if len(above) > _DEEPEST:
                    yield token.start(), f"the values are nested more than {_DEEPEST} levels deep; remove what is not needed"
            elif text in "]}":
                above.pop()
                seen.pop()
            elif token.group(2):
                key = above[-1] = json.loads(token.group(1))
                if key in seen[-1]:
                    yield token.start(), f"the key {quoted(without_login(key))} is used twice; remove one of the two"
                seen[-1].add(key)
                self.offsets[tuple(above)] = token.start()
            elif not token.group(1):
                yield token.start(), f"{text} is not JSON; write a number"

    def _check_file(self, tree: Mapping[str, Any]) -> None:
        self._check_spelling(tree, _FILE_KEYS, ())
        self._check_type(tree, ("credsStore",), str)
        for key in ("auths", "credHelpers"):
            self._check_type(tree, (key,), dict)
            for host in tree.get(key) or ():
                self._check_type(tree[key], (key, host), str if key == "credHelpers" else dict)
        for host, entry in (tree.get("auths") or {}).items():
            self._check_entry(entry or {}, ("auths", host))

    def _check_entry(self, entry: Mapping[str, Any], above: Tuple[str, ...]) -> None:
        self._check_spelling(entry, _ENTRY_KEYS, above)
        for key in _ENTRY_KEYS:
            self._check_type(entry, above + (key,), str)
        if entry.get("auth") and decode_login(entry["auth"]) is None:
            raise self._at(above + ("auth",), "must be user:password in Base64; remove this entry, then log in again")

    def _check_spelling(self, values: Mapping[str, Any], known: Tuple[str, ...], above: Tuple[str, ...]) -> None:
        by_folding = {name.casefold(): name for name in known}
        for key in values:
            meant = by_folding.get(key.casefold(), key)
            if key != meant:
                raise self._at(above + (key,), f"is read as {quoted(meant)}, because case is ignored; write it like that")

    def _check_type(self, values: Mapping[str, Any], keys: Tuple[str, ...], kind: type) -> None:
        """As in Go, null counts as if the key were not there."""
        value = values.get(keys[-1])
        if value is not None and not isinstance(value, kind):
            raise self._at(keys, f"must be {'text in quotes' if kind is str else 'an object in braces'}")

    def _at(self, keys: Tuple[str, ...], problem: str) -> FormatError:
        return self.error(self.offsets[keys], f"{' in '.join((quoted(without_login(key)) for key in reversed(keys)))} {problem}")


def encode(config: DockerConfig) -> bytes:
    """The bytes that docker/cli writes for these values: tabs, logins sorted, no line break at the end (`SaveToWriter`, json.MarshalIndent).

    All other keys stay where they are in the file; docker/cli has an order of its own, and drops the unknown ones.
    """
    tree = dict(config.tree)
    if tree.get("auths"):
        tree["auths"] = dict(sorted(tree["auths"].items()))
    text = _json(tree, "\n").translate(_ESCAPED)
    return _SURROGATE.sub(lambda match: f"\\u{ord(match.group()):04x}", text).encode("utf-8")


def _json(value: Any, indent: str) -> str:
    inner = f"{indent}\t"
    if isinstance(value, Number):
        return value.text
    if isinstance(value, Mapping):
        items, brackets = [f"{_json(key, '')}: {_json(item, inner)}" for key, item in value.items()], "{}"
    elif isinstance(value, list):
        items, brackets = [_json(item, inner) for item in value], "[]"
    else:
        return json.dumps(value, ensure_ascii=False)
    return brackets[0] + inner + f",{inner}".join(items) + indent + brackets[1] if items else brackets
