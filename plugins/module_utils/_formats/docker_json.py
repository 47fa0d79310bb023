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
MAX_BYTES = 1 << 20  # thousands of logins
_DEEPEST = 100  # levels; docker's own file has 4

# In JSON only a key stands before a colon.
_TOKEN = re.compile(r'("[^"\\]*(?:\\.[^"\\]*)*")([ \t\r\n]*:)?|[\[\]{}]|NaN|-?Infinity')
_ESCAPED = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}  # by Go's json.Marshal
_SURROGATE = re.compile("[\\ud800-\\udfff]")


def decode(data: bytes, path: str) -> DockerConfig:
    """The content `data` of the file `path`, which is used in messages only.

    A known key in another case gets docker's spelling: Go ignores case (`foldName` in encoding/json), so it is the same key to Apptainer.
    Raises FormatError, with line and column and never a value, for what Apptainer refuses: a byte order mark, no JSON, no object, an `auth`
    that cannot be decoded (recorded runs of logins). Some of what Apptainer reads is refused too, because writing it back would lose or
    change something: bytes that are not UTF-8, text after the object, the same key twice, in one spelling or in several, and nesting of more
    than 100 levels.
    """
    if len(data) > MAX_BYTES:
        raise FormatError(f"{path}: is larger than {MAX_BYTES >> 10} KiB, so it is not a file of logins; find out what wrote it")
    if data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise _Reader("", path).error(0, "the file begins with a byte order mark (BOM), with which Apptainer cannot read it; save it as UTF-8 "
                                         "without BOM")
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
        """The object in the text, with docker's spelling of its keys. Raises FormatError."""
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
        return self._checked_file(tree)

    def error(self, offset: int, problem: str) -> FormatError:
        """The error `problem` at an offset in the text."""
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

    def _checked_file(self, tree: Mapping[str, Any]) -> Dict[str, Any]:
        checked: Dict[str, Any] = {}
        for key, meant in self._meant(tree, _FILE_KEYS, ()):
            value = tree[key]
            if meant in _FILE_KEYS:
                self._check_type(value, (key,), str if meant == "credsStore" else dict)
            for host in value or () if meant in ("auths", "credHelpers") else ():
                self._check_type(value[host], (key, host), str if meant == "credHelpers" else dict)
            if value and meant == "auths":
                value = {host: entry and self._checked_entry(entry, (key, host)) for host, entry in value.items()}
            checked[meant] = value
        return checked

    def _checked_entry(self, entry: Mapping[str, Any], above: Tuple[str, ...]) -> Dict[str, Any]:
        checked: Dict[str, Any] = {}
        for key, meant in self._meant(entry, _ENTRY_KEYS, above):
            value = checked[meant] = entry[key]
            if meant in _ENTRY_KEYS:
                self._check_type(value, above + (key,), str)
            if meant == "auth" and value and decode_login(value) is None:
                raise self._at(above + (key,), "must be user:password in Base64; remove this entry, then log in again")
        return checked

    def _meant(self, values: Mapping[str, Any], known: Tuple[str, ...], above: Tuple[str, ...]) -> List[Tuple[str, str]]:
        """Each key, with the known one that Go takes it for, or itself."""
        by_folding = {_folded(name): name for name in known}
        found = [(key, by_folding.get(_folded(key), key)) for key in values]
        spellings: Dict[str, List[str]] = {}
        for key, meant in found:
            spellings.setdefault(meant, []).append(key)
        for meant, keys in spellings.items():
            if len(keys) > 1:
                others = " and ".join(quoted(key) for key in keys[:-1])
                advice = "keep the right value" if meant not in ("auths", "credHelpers") else "put all that they hold into one object"
                raise self._at(above + (keys[-1],), f"is the same key as {others}, because case is ignored; {advice}, under {quoted(meant)}, and "
                                                    "remove the other spellings")
        return found

    def _check_type(self, value: Any, keys: Tuple[str, ...], kind: type) -> None:
        """As in Go, null counts as if the key were not there."""
        if value is not None and not isinstance(value, kind):
            raise self._at(keys, f"must be {'text in quotes' if kind is str else 'an object in braces'}")

    def _at(self, keys: Tuple[str, ...], problem: str) -> FormatError:
        return self.error(self.offsets[keys], f"{' in '.join((quoted(without_login(key)) for key in reversed(keys)))} {problem}")


def _folded(key: str) -> str:
    """A key without its case, letter by letter, as Go folds it."""
    return "".join(letter.casefold() if len(letter.casefold()) == 1 else letter for letter in key)


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
