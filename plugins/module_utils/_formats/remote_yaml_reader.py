# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The bytes of a remote.yaml as a RemoteConfig: what every Apptainer from 1.3 to 1.6 reads, and nothing else.

Apptainer silently ignores a whole file that it cannot read, so what any of these versions refuses is refused here, with file, line and
column. The rules are those of Go's yaml v3 when it decodes into Apptainer's structs with KnownFields (`decode.go`); the tests compare
them with the recorded runs of accept. What 1.0 to 1.2 (yaml v2) or 1.6 (yaml v4) refuse of the rest is reported as quirks. SingularityCE has
the same code and the same libraries in other versions, of which the newest reads a little more.
"""

import contextlib
import gc
import re
from typing import Callable, Dict, List, NamedTuple, Optional, Set, Tuple, TypeVar

from .._errors import FormatError
from .._values.base64_text import decode_base64
from .._values.flavors import FLAVORS, refusing_versions
from .._values.remote_config import Credential, Keyserver, Remote, RemoteConfig
from .remote_yaml_writer import OLD_FALSE, OLD_TRUE, WORDS, scalar_kind
from .yaml_nodes import Collection, Node, SourceFile, first_document, header_of, text_of

# Minor versions of Apptainer; Quirk.refused_by has those of the flavor.
_V1_0 = ("1.0",)
_BEFORE_1_3 = ("1.0", "1.1", "1.2")
_BEFORE_1_5 = ("1.0", "1.1", "1.2", "1.3", "1.4")
_FROM_1_3 = ("1.3", "1.4", "1.5", "1.6")
_FROM_1_6 = ("1.6",)

_FILE_KEYS = ("Active", "Remotes", "Credentials")
_ENDPOINT_KEYS = ("URI", "Token", "System", "Exclusive", "Insecure", "Keyservers")
_KEYSERVER_KEYS = ("URI", "Skip", "External", "Insecure")
_CREDENTIAL_KEYS = ("URI", "Auth", "Insecure")

_TAG_PREFIX = "tag:yaml.org,2002:"
# An explicit tag, and what `resolve` must say of the text (the deferred function in resolve.go).
_FITTING = {"bool": ("true", "false"), "int": ("int", "uint"), "float": ("float", "int"), "null": ("null",), "timestamp": ("timestamp",)}
_ONLY_FROM_1_5 = re.compile(r"\x7f|[^\n]{1024}")
_SHOWN = re.compile(r"[\w.:<~-]{0,32}\Z")  # a word that may be shown in a message; longer ones could be a misplaced secret
_MOST_REPEATED = 1 << 20  # bytes that all aliases of a file may stand for: ten thousand endpoints
_LEAST_WRITTEN = 100  # bytes of an empty endpoint or keyserver, as it is written

_Item = TypeVar("_Item")


class Quirk(NamedTuple):
    """Something in `line` that is read here, but that the minor versions `refused_by` of the program (as `"1.0"`) refuse or crash on."""

    line: int
    message: str
    refused_by: Tuple[str, ...]


class Document(NamedTuple):
    """The content of a file.

    `header` is the comment block at its top, with blank lines, which the next write keeps. `has_data` is false for a file with nothing but
    comments, white space or a byte order mark: Apptainer 1.3 and later refuse it, and the next write repairs it. A file of no bytes has
    data in this sense, as every version reads it. `refused` is the first quirk for which the newest released version of the program
    refuses the whole file; the next write repairs that, too.
    """

    config: RemoteConfig
    header: str
    has_data: bool
    quirks: Tuple[Quirk, ...]
    refused: Optional[Quirk] = None


def decode(data: bytes, path: str, flavor: str = "apptainer") -> Document:
    """The content `data` of the file `path`, which is used in messages only, as the programs of this flavor read it.

    Raises FormatError for what Apptainer 1.3, 1.4 or 1.5 refuses or crashes on; its message never holds a token or another secret. Of
    SingularityCE the newest version (4.5) counts: it reads DEL and keys of more than 1,024 characters, as Apptainer 1.5 does.
    Deviations: a file without data is read as empty (1.3 and later refuse it); null items of `Keyservers` and `Credentials` are dropped
    (Apptainer keeps them). Refused though Apptainer may read it: the same name or key twice in two spellings (by alias or `!!binary`),
    `!!binary` that is not UTF-8, `!!null` on a collection, an alias inside what it names, aliases that repeat more than 1 MiB (of 8 KB they
    made a result of 24 MB), a byte order mark in the middle, text after the
    document without `---`, and an endpoint named by a number that `<<` merges in again.
    """
    if not data:
        return Document(RemoteConfig(), "", True, ())
    collecting = gc.isenabled()
    gc.disable()  # nothing here becomes garbage, and looking for it takes longer than parsing
    try:
        document = _decode(data, SourceFile(path))
    except FormatError:
        if not FLAVORS[flavor].only_newest_counts:
            raise
        document = _decode(data, SourceFile(path), lenient=True)
    finally:
        if collecting:
            gc.enable()
    quirks = [quirk._replace(refused_by=refusing_versions(quirk.refused_by, flavor)) for quirk in document.quirks]
    newest = FLAVORS[flavor].newest
    return document._replace(
        quirks=tuple(quirk for quirk in quirks if quirk.refused_by),
        refused=next((quirk for quirk in quirks if newest in quirk.refused_by), None))


def _decode(data: bytes, file: SourceFile, lenient: bool = False) -> Document:
    """As decode(), with the versions of Apptainer in the quirks. `lenient`: with what Apptainer 1.5 reads and 1.3 and 1.4 do not."""
    text = text_of(data, file, with_del=lenient)
    has_data, root = first_document(text, file, lenient)
    header = header_of(text)
    if not has_data:
        return Document(RemoteConfig(), header, False, (Quirk(1, "nothing but comments or white space", _FROM_1_3),))
    reader = _Reader(file, has_aliases="*" in text)
    config = reader.config(root)
    if lenient:
        found = _ONLY_FROM_1_5.search(text)
        line = text.count("\n", 0, found.start()) + 1 if found else 1
        reader.quirks.add(Quirk(line, "a DEL character, or a key of more than 1,024 characters", _BEFORE_1_5))
    return Document(config, header, True, tuple(sorted(reader.quirks)))


def _tag(node: Node) -> str:
    """The short name of a node's explicit tag, as `int` for `!!int`; empty without one and for `!`; other tags whole."""
    tag: Optional[str] = (node.event if isinstance(node, Collection) else node).tag
    if not tag or tag == "!":
        return ""
    return tag[len(_TAG_PREFIX):] if tag.startswith(_TAG_PREFIX) else tag


def _is_merge(key: Node) -> bool:
    """Whether a key is the merge key `<<` (`isMerge` in decode.go)."""
    return bool(key.value == "<<" and (_tag(key) == "merge" or (not key.style and not _tag(key))))


def _named(kind: str, text: str) -> str:
    """As `key "URI"` for a message, or `a key` if the text may be a misplaced secret."""
    if _SHOWN.match(text):
        return f'{kind} "{text}"'
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


class _Entries(NamedTuple):
    """A mapping: pairs of key and value nodes by the key's text, pairs with a null key, and what its `<<` merges in, if it has one."""

    named: Dict[str, Tuple[Node, Node]]
    unnamed: List[Tuple[Node, Node]]
    merge: Optional[Node]


class _Reader:
    """Nodes as values, by the schema of Apptainer's structs. Collects quirks."""

    def __init__(self, file: SourceFile, has_aliases: bool) -> None:
        self.file = file
        self.has_aliases = has_aliases
        self.quirks: Set[Quirk] = set()
        self.visited: Set[int] = set()
        self.repeated = 0

    def config(self, root: Node) -> RemoteConfig:
        """The whole file (`remote.Config`). A null document counts as empty."""
        if self._is_null(root):
            self._quirk(root, "an empty document", _BEFORE_1_3)
            return RemoteConfig()
        fields = self._fields(root, "the file", _FILE_KEYS)
        return RemoteConfig(
            active=self._text(fields, "Active"), remotes=self._remotes(fields), credentials=self._list(fields, "Credentials", self._credential))

    def _remotes(self, fields: Dict[str, Tuple[Node, Node]]) -> Dict[str, Remote]:
        """`Remotes`, by name. Raises FormatError for null values, on which every version crashes."""
        if "Remotes" not in fields:
            return {}
        key, node = fields["Remotes"]
        if self._is_null(node):
            raise self.file.at(key, "Remotes has no value, and some commands crash on that", 'Write "Remotes: {}" if there is no endpoint.')
        entries = self._entries(node, "Remotes", None)
        remotes = {}
        for name, (key, value) in entries.named.items():
            if self._is_null(value):
                raise self.file.at(key, f"{_named('endpoint', name)} has no value, and commands crash on that", "Write its URI, or remove it.")
            if name == "<<":
                self._quirk(key, "an endpoint named <<, with which Apptainer before 1.5 writes a file that no version can read", _BEFORE_1_5)
            self._note_date(key)
            remotes[name] = self._remote(value)
        self._quirks_of_unnamed(entries)
        return remotes

    def _quirks_of_unnamed(self, entries: _Entries) -> None:
        """Endpoints with a null name: skipped, with whatever they hold, from 1.3; named "" before, and then read like all others."""
        for count, (key, value) in enumerate(entries.unnamed, "" in entries.named):
            try:
                self._remote(value)
                refused = count > 0
            except FormatError:
                refused = True
            if refused:
                self._quirk(key, "an endpoint with an empty name", _BEFORE_1_3)

    def _remote(self, node: Node) -> Remote:
        fields = self._fields(node, "an endpoint", _ENDPOINT_KEYS)
        if "Insecure" in fields:
            self._quirk(fields["Insecure"][0], "the endpoint key Insecure", _V1_0)
        return Remote(
            uri=self._text(fields, "URI"), token=self._text(fields, "Token"), system=self._bool(fields, "System"),
            exclusive=self._bool(fields, "Exclusive"), insecure=self._bool(fields, "Insecure"),
            keyservers=self._list(fields, "Keyservers", self._keyserver))

    def _keyserver(self, node: Node) -> Optional[Keyserver]:
        """One item of `Keyservers`. Null is read from 1.3; before, yaml v2 leaves a nil pointer for some spellings (`prepare`)."""
        if self._is_null(node):
            if _tag(node) or node.value in ("", "~", "null"):
                self._quirk(node, "an empty item of Keyservers", _BEFORE_1_3)
            return None
        fields = self._fields(node, "a keyserver", _KEYSERVER_KEYS)
        return Keyserver(
            uri=self._text(fields, "URI"), skip=self._bool(fields, "Skip"), external=self._bool(fields, "External"),
            insecure=self._bool(fields, "Insecure"))

    def _credential(self, node: Node) -> Optional[Credential]:
        if self._is_null(node):
            return None
        fields = self._fields(node, "a login", _CREDENTIAL_KEYS)
        return Credential(uri=self._text(fields, "URI"), auth=self._text(fields, "Auth"), insecure=self._bool(fields, "Insecure"))

    def _fields(self, node: Node, what: str, known_keys: Tuple[str, ...]) -> Dict[str, Tuple[Node, Node]]:
        """The keys and values of a struct. Null keys are skipped from 1.3 and refused before."""
        entries = self._entries(node, what, known_keys)
        for key, _value in entries.unnamed:
            self._quirk(key, "an empty key", _BEFORE_1_3)
        return entries.named

    def _entries(self, node: Node, what: str, known_keys: Optional[Tuple[str, ...]]) -> _Entries:
        """A mapping with all that it merges: its own keys win, then the first that is merged (`merge` in decode.go of yaml v3).

        Raises FormatError for keys other than `known_keys`, unless that is None: for endpoints' names. Those are refused before 1.3 if two
        maps have the same; and Go's bookkeeping takes the wrong one if the name is a number, a date and so on, so that is refused here.
        """
        entries = self._own_entries(node, what, known_keys)
        stack = self._merged(entries.merge)
        done: Set[int] = set()
        while stack:
            merged = stack.pop()
            more = self._own_entries(merged, what, known_keys)
            for name, pair in more.named.items():
                if name in entries.named and known_keys is None:
                    if scalar_kind(name) != "str":
                        raise self.file.at(pair[0], f"{_named('endpoint', name)} is in two of the mappings that << merges", "Remove one.")
                    self._quirk(pair[0], "an endpoint that is in two of the mappings that << merges", _BEFORE_1_3)
                entries.named.setdefault(name, pair)
            entries.unnamed.extend(more.unnamed)
            if id(merged) not in done:
                stack.extend(self._merged(more.merge))
            done.add(id(merged))
        return entries

    def _merged(self, node: Optional[Node]) -> List[Node]:
        """The mappings that the value of `<<` stands for, last first."""
        if node is None:
            return []
        nodes = [node] if not isinstance(node, Collection) or node.is_mapping else node.items[::-1]
        for item in nodes:
            if not isinstance(item, Collection) or not item.is_mapping:
                raise self.file.at(item, "what << merges must be a mapping or a list of mappings", "Correct it, or quote << if it is a name.")
        return nodes

    def _own_entries(self, node: Node, what: str, known_keys: Optional[Tuple[str, ...]]) -> _Entries:
        """A mapping without what it merges. Raises FormatError for what is not one, unknown keys, and keys that are used twice."""
        if not isinstance(node, Collection) or not node.is_mapping or _tag(node) == "null":
            raise self.file.at(node, f"{what} must be a mapping", 'Write "key: value" lines, indented.')
        self._count(node)
        texts: Dict[str, Node] = {}
        named: Dict[str, Tuple[Node, Node]] = {}
        unnamed = []
        merge = None
        for pair in zip(node.items[::2], node.items[1::2]):
            key = pair[0]
            if isinstance(key, Collection):
                raise self.file.at(key, "a list or mapping is in the place of a key", "Quote it if it is text.")
            kind, name = self._scalar(key)
            if key.value in texts or name in named:
                first = texts[key.value] if key.value in texts else named[name][0]
                raise self.file.at(key, f"{_named('key', name)} is used twice, first in line {first.start_mark.line + 1}", "Remove one.")
            texts[key.value] = key
            if _is_merge(key):
                merge = pair[1]
            elif kind == "null":
                unnamed.append(pair)
            elif known_keys is None or name in known_keys:
                named[name] = pair
            else:
                raise self._unknown(key, name, what, known_keys)
        return _Entries(named, unnamed, merge)

    def _unknown(self, key: Node, name: str, what: str, known_keys: Tuple[str, ...]) -> FormatError:
        meant = [word for word in known_keys if word.lower() == name.lower()]
        return self.file.at(key, f"{_named('key', name)} is not one that Apptainer knows for {what} ({', '.join(known_keys)})",
                            f'Write it as "{meant[0]}".' if meant else "Remove or correct the key.")

    def _count(self, node: Collection) -> None:
        """Refuse aliases that repeat more text than anyone means. What Go's yaml refuses ("excessive aliasing") repeats more than that.

        Go counts nodes, not the text in them: it refuses from 400,000 on, or from 1,000 if 99 % of them are repeated.
        """
        if not self.has_aliases:
            return
        self.repeated += _LEAST_WRITTEN if id(node) in self.visited else 0
        self.visited.add(id(node))
        for item in node.items:
            if not isinstance(item, Collection):
                self.repeated += len(item.value) if id(item) in self.visited else 0
                self.visited.add(id(item))
        if self.repeated > _MOST_REPEATED:
            raise self.file.at(node, f"the aliases (*name) up to here repeat more than {_MOST_REPEATED >> 10} KiB",
                               "Write the values out, or leave out what is not needed.", outcome="so large a file is not read")

    def _list(self, fields: Dict[str, Tuple[Node, Node]], key: str, item: Callable[[Node], Optional[_Item]]) -> Tuple[_Item, ...]:
        """A field that is a list of structs; null counts as empty."""
        node = fields[key][1] if key in fields else None
        if node is None or self._is_null(node):
            return ()
        if not isinstance(node, Collection) or node.is_mapping or _tag(node) == "null":
            raise self.file.at(node, f"the value of {key} must be a list", 'Write each item in a line that begins with "- ".')
        self._count(node)
        return tuple(value for value in map(item, node.items) if value is not None)

    def _text(self, fields: Dict[str, Tuple[Node, Node]], key: str) -> str:
        """A field that is a string: any scalar as it is written, whatever it would be elsewhere; null counts as empty."""
        if key not in fields:
            return ""
        node = fields[key][1]
        if isinstance(node, Collection):
            raise self.file.at(node, f"the value of {key} must be text, not a list or mapping", "Quote it if it is text.")
        kind, text = self._scalar(node)
        self._note_date(node)
        return "" if kind == "null" else text

    def _note_date(self, node: Node) -> None:
        """Yaml v4 (from rc.6) takes no date or timestamp without quotes for text (`construct` there; Apptainer 1.6, SingularityCE 4.5)."""
        tag = _tag(node)
        plain = not node.style and not node.tag and node.value[:1].isdigit()
        if tag == "timestamp" or (plain and scalar_kind(node.value) == "timestamp"):
            self._quirk(node, "a date or timestamp is no text without quotes", _FROM_1_6)

    def _bool(self, fields: Dict[str, Tuple[Node, Node]], key: str) -> bool:
        """A field that is a boolean; null counts as false. From 1.3 the words of YAML 1.1 may be quoted (`scalar` in decode.go)."""
        if key not in fields:
            return False
        node = fields[key][1]
        kind, text = ("", "") if isinstance(node, Collection) else self._scalar(node)
        if kind == "str" and (text in OLD_TRUE or text in OLD_FALSE):
            kind = "true" if text in OLD_TRUE else "false"
            if node.style or node.tag:
                self._quirk(node, "a boolean in quotes or with a tag", _BEFORE_1_3)
        if kind not in ("true", "false", "null"):
            raise self.file.at(node, f"the value of {key} must be true or false, without quotes", "Write true or false.")
        return kind == "true"

    def _is_null(self, node: Node) -> bool:
        return not isinstance(node, Collection) and self._scalar(node)[0] == "null"

    def _scalar(self, node: Node) -> Tuple[str, str]:
        """What a scalar is to Go's yaml, of the kinds of `resolve`, and its text. Without a tag only words are looked up, not numbers.

        Raises FormatError if an explicit tag does not fit the text (`scalar` in decode.go, `resolve` in resolve.go).
        """
        tag = _tag(node)
        text: str = node.value
        if not tag:
            return ("str" if node.style else WORDS.get(text, "str")), text
        if tag == "binary":
            data = decode_base64(text)
            with contextlib.suppress(UnicodeDecodeError):
                if data is not None:
                    return "str", data.decode("utf-8")
        elif tag not in _FITTING:
            return "str", text
        else:
            kind = scalar_kind(text, timestamps=tag == "timestamp")
            if kind in _FITTING[tag]:
                return kind, text
        raise self.file.at(node, f"the value does not fit its tag !!{tag}", "Remove the tag.")

    def _quirk(self, node: Node, message: str, refused_by: Tuple[str, ...]) -> None:
        self.quirks.add(Quirk(node.start_mark.line + 1, message, refused_by))
