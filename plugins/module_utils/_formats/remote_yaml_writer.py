# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""A RemoteConfig as the bytes that Apptainer 1.3 to 1.5 write for it.

Those versions marshal their structs with Go's yaml v3 and v4; this is a writer for that one schema with the same choice of quotes,
the same order of names and the same indentation. Where their own bytes cannot be read back, this writer quotes instead: see `_block`.
The tests compare it with every recorded run of format.
"""

import re
import unicodedata
from functools import cmp_to_key
from typing import Any, Callable, Dict, Iterable, Iterator, List, Tuple

from .._errors import FormatError
from .._values.remote_config import Remote, RemoteConfig

# What a plain scalar means to Go (resolve.go): text by text, ...
WORDS: Dict[str, str] = {}
for _kind, _words in (
        ("null", ("", "~", "null", "Null", "NULL")),
        ("true", ("true", "True", "TRUE")),
        ("false", ("false", "False", "FALSE")),
        ("float", (".nan", ".NaN", ".NAN", ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF")),
        ("merge", ("<<",))):
    WORDS.update(dict.fromkeys(_words, _kind))
# ... the booleans of YAML 1.1, which a boolean field still takes and which are quoted for old readers (isOldBool in encode.go), ...
OLD_TRUE = frozenset(("y", "Y", "yes", "Yes", "YES", "on", "On", "ON"))
OLD_FALSE = frozenset(("n", "N", "no", "No", "NO", "off", "Off", "OFF"))
# ... and by form. time.Parse takes several spaces for one, a comma for a decimal point, and fields of one digit.
_TIME = r"([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?:[.,][0-9]+)?"
_TIMESTAMP = re.compile(r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})(?:[Tt]%s(?:Z|[-+]([0-9]{2}):([0-9]{2}))| +%s)?\Z" % (_TIME, _TIME))
_INTEGER = re.compile(r"[-+]?(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))\Z|0b([-+][01]+)\Z|0o([-+][0-7]+)\Z")
_BASES = (16, 2, 8, 10, 2, 8)
_MOST_DIGITS = 64  # of a 64-bit number, in base 2; Python refuses to convert more than 4,300 decimal ones
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_POINT_FLOAT = re.compile(r"\.[0-9]+(?:_[0-9]+)*(?:[eE][-+]?[0-9]+(?:_[0-9]+)*)?\Z")
_BASE_60 = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?\Z")

# What the emitter looks at (yaml_emitter_analyze_scalar): most text matches _SAFE and needs no closer look.
_SAFE = re.compile(r"[A-Za-z_/][-A-Za-z0-9_./+=~@]*(?::[-A-Za-z0-9_./+=~@]+)*\Z")
_NOT_PLAIN = re.compile(r"""(?:---|\.\.\.|[-?:](?: |\Z)|[#,\[\]{}&*!|>'"%@` ])|(?s:.*?)(?::(?: |\Z)| \#| \Z)""")
_BREAKS = "\n\r\x85\u2028\u2029"
_BREAK = re.compile(f"[{_BREAKS}]")
_LINE_START = re.compile(f"(?<=[{_BREAKS}])(?=[^{_BREAKS}])")
_SPACE_BREAK = re.compile(f" [{_BREAKS}]")
_BREAK_SPACE = re.compile(f"[{_BREAKS}] ")
# (These two are compiled if needed: each takes 5 ms.)
_SPECIAL = "[^\t\n -~\xa0-\ufefe\uff00-\ufffd]"  # lone surrogates pass, to fail when the file is encoded
_ESCAPED = "[^ !#-\\[\\]-~\xa0-\u2027\u202a-\ufefe\uff00-\ufffd]"
_ESCAPES = {"\0": "0", "\a": "a", "\b": "b", "\t": "t", "\n": "n", "\v": "v", "\f": "f", "\r": "r", "\x1b": "e", '"': '"', "\\": "\\",
            "\x85": "N", "\xa0": "_", "\u2028": "L", "\u2029": "P"}
_LONGEST_SIMPLE_KEY = 128  # bytes; a longer name is written as "? name"


def scalar_kind(text: str, timestamps: bool = True) -> str:
    """What a plain scalar is to Go's yaml v3: null, true, false, int, float, timestamp, merge or str (`resolve` in resolve.go).

    `timestamps=False` is for text with an explicit tag other than `!!timestamp`. An unsigned integer beyond 63 bits is `uint`.
    """
    if text in WORDS:
        return WORDS[text]
    if text[0] == ".":
        return "float" if _POINT_FLOAT.match(text) and abs(float(text.replace("_", ""))) != float("inf") else "str"
    if text[0] not in "+-0123456789":
        return "str"
    if timestamps and _is_timestamp(text):
        return "timestamp"
    plain = text.replace("_", "")
    return _integer(plain) or ("float" if _FLOAT.match(plain) and abs(float(plain)) != float("inf") else "str")


def _integer(plain: str) -> str:
    """`int`, `uint` or nothing: what strconv.ParseInt and ParseUint make of it with base 0 and 64 bits."""
    match = _INTEGER.match(plain)
    if not match:
        return ""
    digits = match.group(match.lastindex or 0)
    if len(digits.lstrip("+-0")) > _MOST_DIGITS:
        return ""
    value = int(digits, _BASES[(match.lastindex or 0) - 1])
    if plain[0] == "-":
        value = -value
    if -(1 << 63) <= value < 1 << 63:
        return "int"
    return "uint" if plain[0] not in "+-" and 0 <= value < 1 << 64 else ""


def _is_timestamp(text: str) -> bool:
    """Whether time.Parse accepts it with one of the four layouts of `allowedTimestampFormats` in resolve.go."""
    match = _TIMESTAMP.match(text)
    if not match:
        return False
    fields = [int(field) for field in match.groups() if field]
    year, month, day = fields[:3]
    if not 1 <= month <= 12:
        return False
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    days = 29 if leap and month == 2 else (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[month - 1]
    return 1 <= day <= days and all(field <= most for field, most in zip(fields[3:], (23, 59, 59, 24, 60)))


# The order of names is written down twice: `_compare`, as Go has it, and `_sort_key`, which orders all but unusual names in the same way.
# With `_compare` alone, writing 10,000 endpoints takes almost three times as long (141 ms, not 50; with Python 3.6 247 ms, not 70).

def _compare(a: str, b: str) -> int:
    """Compare two names rune by rune as `keyList.Less` does (sorter.go of yaml v2 to v4): the order of a Go map's keys when written."""
    after_digit = False
    for i, (x, y) in enumerate(zip(a, b)):
        if x == y:
            after_digit = unicodedata.category(x) == "Nd"
            continue
        x_letter, y_letter = _is_letter(x), _is_letter(y)
        if x_letter != y_letter:
            return -1 if x_letter == after_digit else 1
        if not x_letter:
            start = int("0" in (x, y) and bool(a[:i][_first_of_number(a, i):].strip("0")))
            x_number, y_number = _number(a, i, start), _number(b, i, start)
            if x_number != y_number:
                return -1 if x_number < y_number else 1
        return -1 if x < y else 1
    return len(a) - len(b)


def _is_letter(char: str) -> bool:
    return unicodedata.category(char)[0] == "L"


def _first_of_number(text: str, end: int) -> int:
    """Where the run of digits begins that ends before `end`."""
    while end and unicodedata.category(text[end - 1]) == "Nd":
        end -= 1
    return end


def _number(text: str, begin: int, value: int) -> Tuple[int, int]:
    """The number at `begin`, appended to `value` in Go's int64, which wraps, and where it ends."""
    end = begin
    while end < len(text) and unicodedata.category(text[end]) == "Nd":
        value = (value * 10 + ord(text[end]) - ord("0") + (1 << 63)) % (1 << 64) - (1 << 63)
        end += 1
    return value, end


class _ClassMarks(Dict[int, str]):
    """A str.translate table that puts a mark before each character: `letter` before letters, `other` before all others."""

    def __init__(self, letter: str, other: str) -> None:
        super().__init__()
        self.marks = (other, letter)

    def __missing__(self, code: int) -> str:
        self[code] = self.marks[_is_letter(chr(code))] + chr(code)
        return self[code]


_NUMBER_MARK = "\2"
_MARKS = _ClassMarks(letter="\3", other="\1")  # in order: other characters, numbers, letters
_MARKS_AFTER_NUMBER = _ClassMarks(letter="\0", other="\1")  # right after a number in order: letters, other characters
_NUMBERS = re.compile("([0-9]+)")
_NEEDS_COMPARING = re.compile(r"[0-9]{19}|(?![0-9])\d")  # beyond int64, or digits that are not ASCII


def _sort_key(name: str) -> List[Any]:
    """A sort key in the order of `_compare`, for names without numbers that overflow and without digits that are not ASCII."""
    parts = _NUMBERS.split(name)
    key: List[Any] = [parts[0].translate(_MARKS)]
    for number, text in zip(parts[1::2], parts[2::2]):
        key[-1] += _NUMBER_MARK
        key += int(number), len(number)
        if text:
            key.append(text[0].translate(_MARKS_AFTER_NUMBER) + text[1:].translate(_MARKS))
    return key


def natural_order(names: Iterable[str]) -> List[str]:
    """Names in the order in which Go's yaml writes a map: numbers count as numbers (`r2` before `r10`).

    With numbers that overflow, Go's order is not transitive (a before b before c before a), and its result is random; ours is not.
    """
    names = sorted(names)
    key: Callable[[str], Any] = cmp_to_key(_compare) if any(map(_NEEDS_COMPARING.search, names)) else _sort_key
    return sorted(names, key=key)


def _quoted(text: str) -> str:
    """In double quotes (yaml_emitter_write_double_quoted_scalar). Go escapes all of a text that begins with a byte order mark."""
    if text.startswith("\ufeff"):
        return f"\"{''.join(map(_escape, text))}\""
    return f'"{re.sub(_ESCAPED, lambda match: _escape(match.group()), text)}"'


def _escape(char: str) -> str:
    code = ord(char)
    if char in _ESCAPES:
        return "\\" + _ESCAPES[char]
    return ("\\x%02X" if code <= 0xff else "\\u%04X" if code <= 0xffff else "\\U%08X") % code


def _block(text: str, indent: int, in_item: bool) -> str:
    """A text with line feeds as a literal block, or in quotes where that is not possible (`yaml_emitter_write_literal_scalar`).

    Line breaks at the beginning are written as 1.5 does (1.3 and 1.4 drop the first). Two kinds of text are quoted that all versions write
    as a block which they then cannot read: the first line that is not blank begins with a tab, or it begins with a space and is inside a
    list or after a blank line (the indentation hint is wrong, or missing).
    """
    begin = text.lstrip(_BREAKS)[:1]
    unreadable = begin == "\t" or (begin == " " and (in_item or text[0] != " "))
    if unreadable or re.search(_SPECIAL, text) or _SPACE_BREAK.search(text) or text[-1] == " ":
        return _quoted(text)
    tail = _BREAK.sub("\n", text[-2:])
    chomp = "-" if tail[-1] != "\n" else "+" if tail in ("\n", "\n\n") else ""
    hint = "4" if text[0] == " " else ""
    indented = _LINE_START.sub(" " * indent, f"\n{text}")
    return f"|{hint}{chomp}{indented}"


def _scalar(text: str, indent: int, in_item: bool = False) -> str:
    """A string as Go's yaml v3 writes it (`stringv` in encode.go, yaml_emitter_select_scalar_style in emitterc.go).

    `indent` is that of further lines. `<<` is quoted as 1.5 does; 1.3 and 1.4 write it plain, which no version can read as a name.
    """
    if _SAFE.match(text) and text not in WORDS and text not in OLD_TRUE and text not in OLD_FALSE:
        return text
    if "\n" in text:
        return _block(text, indent, in_item)
    if scalar_kind(text) != "str" or text in OLD_TRUE or text in OLD_FALSE or _BASE_60.match(text):
        return _quoted(text)
    if "\t" in text or re.search(_SPECIAL, text) or _SPACE_BREAK.search(text) or _BREAK_SPACE.search(text):
        return _quoted(text)
    if _NOT_PLAIN.match(text) or _BREAK.search(text):
        indented = _LINE_START.sub(" " * indent, text.replace("'", "''"))
        return f"'{indented}'"
    return text


def _field(key: str, text: str, indent: int, in_item: bool = False) -> str:
    """`key: text` and the end of the line, which a block that ends in a line break has already."""
    scalar = _scalar(text, indent, in_item)
    end = "" if scalar[-1] in _BREAKS else "\n"
    return f"{key}: {scalar}{end}"


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _remote(name: str, remote: Remote) -> Iterator[str]:
    """An endpoint, line by line (`endpoint.Config` in internal/pkg/remote/endpoint/config.go)."""
    key = _scalar(name, 8)
    if _BREAK.search(name) or len(name.encode("utf-8", "replace")) > _LONGEST_SIMPLE_KEY:
        end = "" if key[-1] in _BREAKS else "\n"
        yield f"    ? {key}{end}    :   "
    else:
        yield f"    {key}:\n        "
    if remote.uri:
        yield f"{_field('URI', remote.uri, 12)}        "
    if remote.token:
        yield f"{_field('Token', remote.token, 12)}        "
    yield f"System: {_bool(remote.system)}\n        Exclusive: {_bool(remote.exclusive)}\n"
    if remote.insecure:
        yield "        Insecure: true\n"
    if remote.keyservers:
        yield "        Keyservers:\n"
    for keyserver in remote.keyservers:
        yield f"            - {_field('URI', keyserver.uri, 16, in_item=True)}"
        yield f"              Skip: {_bool(keyserver.skip)}\n"
        yield f"              External: {_bool(keyserver.external)}\n"
        yield f"              Insecure: {_bool(keyserver.insecure)}\n"


def _lines(config: RemoteConfig) -> Iterator[str]:
    """A configuration, line by line (`Config` in internal/pkg/remote/remote.go)."""
    yield _field("Active", config.active, 4)
    yield "Remotes:\n" if config.remotes else "Remotes: {}\n"
    for name in natural_order(config.remotes):
        yield from _remote(name, config.remotes[name])
    if config.credentials:
        yield "Credentials:\n"
    for credential in config.credentials:
        yield f"    - {_field('URI', credential.uri, 8, in_item=True)}"
        if credential.auth:
            yield f"      {_field('Auth', credential.auth, 8, in_item=True)}"
        yield f"      Insecure: {_bool(credential.insecure)}\n"


def _strings(config: RemoteConfig) -> Iterator[Tuple[str, str]]:
    """Every string of a configuration, with what it is."""
    yield "the name of the default endpoint", config.active
    for name, remote in config.remotes.items():
        yield "an endpoint's name", name
        yield f'the URI of endpoint "{name}"', remote.uri
        yield f'the token of endpoint "{name}"', remote.token
        for keyserver in remote.keyservers:
            yield f'a keyserver\'s URI of endpoint "{name}"', keyserver.uri
    for credential in config.credentials:
        yield "the URI of a login", credential.uri
        yield "the secret of a login", credential.auth


def encode(config: RemoteConfig, header: str = "") -> bytes:
    """The bytes of a remote.yaml: `header`, which is comments or empty, and `config` as Apptainer 1.3 to 1.5 write it.

    Source: `yaml.Marshal` of gopkg.in/yaml.v3 3.0.1 on the structs above; the recorded runs of format are equal byte for byte, except for
    the values that `_block` and `_scalar` name. Raises FormatError for text that no file can hold.
    """
    try:
        return (header + "".join(_lines(config))).encode("utf-8")
    except UnicodeEncodeError:
        strings = [("the comment at the top", header), *_strings(config)]
        what = next(what for what, text in strings if text != text.encode("utf-8", "ignore").decode("utf-8"))
        what = what.encode("utf-8", "replace").decode("utf-8")
        raise FormatError(f"{what} has a lone surrogate, half of a character, which cannot be written to a file; correct the value") from None
