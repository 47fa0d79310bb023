# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The nodes of a YAML file: its syntax, as Go's yaml v3 reads it, parsed by PyYAML; not yet what it means.

PyYAML's C parser is used if there is one, its Python parser otherwise. Nodes are its events: scalars keep their text, because PyYAML's
own types are not those of Go.
"""

import re
import traceback
from typing import Any, Dict, List, Optional, Tuple

from .._errors import FormatError

try:
    import yaml
    from yaml.events import AliasEvent, MappingStartEvent, ScalarEvent, SequenceStartEvent, StreamEndEvent
    from yaml.parser import Parser
    from yaml.reader import Reader
    from yaml.scanner import Scanner
except ImportError:
    HAS_YAML = False
    YAML_IMPORT_ERROR: Optional[str] = traceback.format_exc()
else:
    HAS_YAML = True
    YAML_IMPORT_ERROR = None

_BREAKS = "\r\n\x85\u2028\u2029"
_ENCODINGS = ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"), (b"\xef\xbb\xbf", "utf-8"), (b"", "utf-8"))
# What Apptainer 1.3 and 1.4 refuse anywhere in a file (readerc.go of yaml v3), though yaml v4 (Apptainer 1.5, SingularityCE 4.5) lets DEL
# pass; and a byte order mark that is not the first character, which is a letter to Go's yaml and nothing to PyYAML.
_ASCII_CONTROL = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f]")
_CONTROL = "[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"  # compiled if needed: that takes 5 ms
_HEADER = re.compile(f"(?: *(?:#[^{_BREAKS}]*)?(?:\r\n|[{_BREAKS}]))*(?: *#[^{_BREAKS}]*\\Z)?")
_LINE = re.compile(f"\r\n|[{_BREAKS}]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_SLASH_ESCAPE = re.compile(r'"(?:[^\\]|\\[^/])*\\/')
_COLON_AT_BRACKET = re.compile(r":[\[\]{},]")
_DEEPEST = 100  # levels; a remote.yaml has five, and more only through nested merges

# What PyYAML says (its C or its Python parser), and what we say. Nothing of the file's own text is shown: a broken line may hold a secret.
_PROBLEMS = (
    ("cannot start any token", "a character is here that cannot begin a value: a tab as indentation, or @, ` or % without quotes"),
    ("mapping values are not allowed", "this colon cannot end a key: the lines above are wrongly indented, or the value needs quotes"),
    ("sequence entries are not allowed", "a list item (- ) cannot be here: put it on a new line, or quote the value"),
    ("mapping keys are not allowed", "a key (? ) cannot be here: quote the value"),
    ("could not find expected ':'", "a key has no colon after it, or is longer than 1,024 characters"),
    ("unexpected end of stream", "a closing quote is missing"),
    ("unexpected document", "a closing quote is missing"),
    ("undefined alias", "an alias (*name) has no anchor (&name) before it"),
    ("escape", "there is a backslash sequence in double quotes that YAML does not know"),
    ("directive name", "a directive (%NAME) is neither %YAML nor %TAG"),
    ("<document start>", "text follows the end of the document: it is indented less than the first line, or there is a closing bracket too many"),
    ("incompatible", "the %YAML directive asks for a version other than 1.1"),
    ("expected the node content", "a value is missing or in the wrong place"),
    ("did not find expected node content", "a value is missing or in the wrong place"),
    ("indentation", "the indentation is wrong"),
    ("expected <block end>", "the indentation is wrong"),
    ("did not find expected key", "the indentation is wrong"),
    ("did not find expected '-' indicator", "the indentation is wrong"),
    ("unexpected ':'", "a text in brackets needs quotes, because of its ? or :"),
    (" or ']'", "a [ list ] is not closed, or a text in it needs quotes"),
    (" or '}'", "a { mapping } is not closed, or a text in it needs quotes"),
)


class Collection:
    """A mapping (`items`: key, value, key, value, ...) or a sequence; `event` is its first event, which has tag and place."""

    __slots__ = ("event", "is_mapping", "items")

    def __init__(self, event: Any, is_mapping: bool) -> None:
        self.event = event
        self.is_mapping = is_mapping
        self.items: List[Any] = []


# A scalar's event of PyYAML (value, tag, style, start_mark), or a Collection. An alias is the node itself that it names.
Node = Any


class SourceFile:
    """A file, for error messages."""

    def __init__(self, path: str) -> None:
        self.path = path

    def error(self, line: int, column: int, problem: str, remedy: str, outcome: str = "Apptainer refuses the whole file") -> FormatError:
        """The error `problem` at a line and column that count from 1, or for the whole file if `line` is 0. No text may hold a secret."""
        at = f", line {line}, column {column}" if line else ""
        return FormatError(f"{self.path}{at}: {problem}; {outcome}", remedy)

    def at(self, node: Node, problem: str, remedy: str, **outcome: str) -> FormatError:
        """The error `problem` where `node` begins."""
        mark = (node.event if isinstance(node, Collection) else node).start_mark
        return self.error(mark.line + 1, mark.column + 1, problem, remedy, **outcome)


def text_of(data: bytes, file: SourceFile, with_del: bool = False) -> str:
    """The text, without its byte order mark: UTF-8, or UTF-16 with such a mark (`yaml_parser_determine_encoding` in readerc.go).

    Raises FormatError for bytes that are not such text, and for the control characters that Apptainer refuses; `with_del` lets DEL pass.
    """
    mark, encoding = next(pair for pair in _ENCODINGS if data.startswith(pair[0]))
    try:
        text = data[len(mark):].decode(encoding)
    except UnicodeDecodeError as exc:
        before = data[len(mark):len(mark) + exc.start].decode(encoding)
        raise file.error(*_position(before), problem=f"the file is not {encoding[:6].upper()} text", remedy="Save it as UTF-8.") from None
    checked = text.replace("\x7f", " ") if with_del else text
    control = _ASCII_CONTROL.search(checked) if len(text) == len(data) else re.search(_CONTROL, checked)
    if control:
        raise file.error(*_position(text[:control.start()]), problem=f"there is a character U+{ord(control.group()):04X}, which YAML forbids",
                         remedy="Remove it, or write it as an escape in double quotes.")
    return text


def _position(before: str) -> Tuple[int, int]:
    """The line and column, from 1, after the text `before`."""
    lines = _LINE.split(before)
    return len(lines), len(lines[-1]) + 1


def header_of(text: str) -> str:
    """The comment block at the top, with the blank lines in it and after it; empty if there is no comment."""
    match = _HEADER.match(text)
    header = match.group() if match else ""
    if "#" not in header:
        return ""
    return header if header[-1] in _BREAKS else f"{header}\n"


if HAS_YAML:

    class _PythonParser(Reader, Scanner, Parser):
        """PyYAML's Python parser, which here treats tabs between tokens as Go's yaml and the C parser do."""

        def __init__(self, text: str) -> None:
            Reader.__init__(self, text)
            Scanner.__init__(self)
            Parser.__init__(self)

        def check_printable(self, data: Any) -> None:
            """Not needed: `text_of` has looked already, and old PyYAML refuses characters beyond U+FFFF."""

        def scan_to_next_token(self) -> None:
            super().scan_to_next_token()
            while (self.flow_level or not self.allow_simple_key) and self.peek() == "\t":
                self.forward()
                super().scan_to_next_token()

        def scan_directive(self) -> Any:
            token = super().scan_directive()
            if token.name not in ("YAML", "TAG"):
                raise yaml.scanner.ScannerError(None, None, "found unknown directive name", token.start_mark)
            return token

        def scan_plain_spaces(self, indent: Any, start_mark: Any) -> Any:
            length = 0
            while self.peek(length) in " \t":
                length += 1
            blanks = self.prefix(length)
            self.forward(length)
            return [blanks] if blanks and self.peek() not in _BREAKS else super().scan_plain_spaces(indent, start_mark)

    class _LenientParser(_PythonParser):
        """One for which a key may be longer than 1,024 characters, as for yaml v4; and which lets DEL pass, as that and unlike libyaml."""

        def stale_possible_simple_keys(self) -> None:
            for level, key in list(self.possible_simple_keys.items()):
                if key.line != self.line:
                    if key.required:
                        raise yaml.scanner.ScannerError(None, None, "could not find expected ':'", self.get_mark())
                    del self.possible_simple_keys[level]

    _parser: Any = yaml.CBaseLoader if yaml.__with_libyaml__ else _PythonParser


def first_document(text: str, file: SourceFile, lenient: bool = False) -> Tuple[bool, Node]:
    """Whether there is a document in `text`, and the root node of the first one.

    Later documents are ignored, but Go's scanner has looked at their first tokens by then. With `lenient`, what yaml v4 reads beside v3 is
    read, too: DEL and keys of more than 1,024 characters. Raises FormatError for what is not YAML 1.1.
    """
    try:
        return _Composer(text, file, _LenientParser if lenient else _parser).compose()
    except yaml.YAMLError as exc:
        raise _syntax_error(exc, file) from None
    except (ValueError, OverflowError):  # an escape beyond U+10FFFF in PyYAML's Python parser
        raise file.error(0, 0, "a \\U escape in double quotes is not a character", "Correct it.") from None


def _syntax_error(exc: Exception, file: SourceFile) -> FormatError:
    """An error of PyYAML as one of ours."""
    their_problem = str(getattr(exc, "problem", ""))
    mark = getattr(exc, "problem_mark", None) or getattr(exc, "context_mark", None)
    problem = next((ours for theirs, ours in _PROBLEMS if theirs in their_problem), "this is not YAML")
    return file.error(mark.line + 1 if mark else 0, mark.column + 1 if mark else 0, problem, "Correct the file by hand.")


class _Composer:
    """The nodes of one text."""

    def __init__(self, text: str, file: SourceFile, parser: Any) -> None:
        self.file = file
        self.text = text
        self.parser = parser(text)
        self.anchors: Dict[str, Node] = {}
        self.has_slash_escape = "\\/" in text

    def compose(self) -> Tuple[bool, Node]:
        """See `first_document`."""
        parser = self.parser
        parser.get_event()
        start = parser.get_event()
        if isinstance(start, StreamEndEvent):
            return False, None
        if start.version not in (None, (1, 1)):
            raise self.file.error(start.start_mark.line + 1, 1, "the %YAML directive asks for a version other than 1.1", "Remove it.")
        root = self._node()
        self._look_beyond()
        return True, root

    def _look_beyond(self) -> None:
        """Scan what Go's scanner has seen of the next document when the first one ends: three tokens (`fetch_more_tokens` in scannerc.go).

        Its parser sees nothing of them, so only text without `---` or `...` before it is refused: Apptainer reads some such files.
        """
        marked = self.parser.get_event().explicit
        try:
            if isinstance(self.parser.get_event(), StreamEndEvent):
                return
            marked = True
            if getattr(self.parser.get_event(), "flow_style", True):
                self.parser.peek_event()
        except yaml.parser.ParserError:
            if not marked:
                raise

    def _node(self) -> Node:
        """The next node, whole. Without recursion: a file can nest as deeply as it likes."""
        get_event = self.parser.get_event
        root = Collection(None, False)
        stack = [root]
        while True:
            event = get_event()
            kind = type(event)
            if kind is ScalarEvent:
                self._check_scalar(event, stack[-1].event)
                stack[-1].items.append(event)
                self._anchor(event, event)
            elif kind is MappingStartEvent or kind is SequenceStartEvent:
                node = Collection(event, kind is MappingStartEvent)
                stack[-1].items.append(node)
                self._anchor(event, node)
                stack.append(node)
                if len(stack) > _DEEPEST:
                    raise self.file.at(node, f"more than {_DEEPEST} levels are nested here", "Correct the file by hand.")
            elif kind is AliasEvent:
                stack[-1].items.append(self._aliased(event, stack))
            else:
                stack.pop()
            if len(stack) == 1:
                return root.items[0]

    def _anchor(self, event: Any, node: Node) -> None:
        if event.anchor:
            self.anchors[event.anchor] = node

    def _aliased(self, event: Any, stack: List[Collection]) -> Node:
        """What an alias names. Raises FormatError if there is no such anchor, or if the alias is inside what it names."""
        node = self.anchors.get(event.anchor)
        if node is None:
            raise self.file.at(event, "an alias (*name) has no anchor (&name) before it", "Correct the name, or quote the text.")
        if any(node is outer for outer in stack):
            raise self.file.at(event, "an alias is inside the value that it names", "Write the value out.")
        return node

    def _check_scalar(self, event: Any, parent: Any) -> None:
        """Refuse what PyYAML accepts and Go's yaml does not.

        In double quotes: the escape `\\/`, and halves of a surrogate pair (Python parser only). Without quotes in a flow collection:
        a question mark, and a colon right before a bracket or comma (Python parser only).
        """
        if event.style == '"':
            source = self.text[event.start_mark.index:event.end_mark.index] if self.has_slash_escape else ""
            if _SLASH_ESCAPE.match(source) or _SURROGATE.search(event.value):
                raise self.file.at(event, "there is a backslash sequence in double quotes that Apptainer does not know", "Correct it.")
        elif not event.style and getattr(parent, "flow_style", False):
            end = event.end_mark.index
            if "?" in event.value or _COLON_AT_BRACKET.match(self.text, end):
                raise self.file.at(event, "a text in brackets needs quotes, because of its ? or :", "Quote it.")
