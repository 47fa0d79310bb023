# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tables hold what gopkg.in/yaml.v3 3.0.1 itself wrote for these texts; they are not our opinion."""

from __future__ import annotations

from functools import cmp_to_key

import pytest
import yaml
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import FormatError
from ansible_collections.hpc.apptainer.plugins.module_utils._formats import remote_yaml_writer, yaml_nodes
from ansible_collections.hpc.apptainer.plugins.module_utils._formats.remote_yaml_reader import decode
from ansible_collections.hpc.apptainer.plugins.module_utils._formats.remote_yaml_writer import encode, natural_order, scalar_kind
from ansible_collections.hpc.apptainer.plugins.module_utils._values.remote_config import Credential, Keyserver, Remote, RemoteConfig
from hypothesis import assume, example, given
from hypothesis import strategies as st
from support.tables import table

PLAIN = (
    "nULL", "tRUE", "YeS", "=", "<", "a<<", "_1", "0xg", "0b2", "0o8", "0b", "0x", "+", "--1", "1-2", "0b-9223372036854775809", "-0b2",
    ".5__0", "._5", ".e5", "1e", "1.5.2", "1e400", "-1e400", ".1e400", "1.7976931348623157e309", ".Nan", "-.nan", "inf", ".", "2023-02-29",
    "1900-02-29", "2024-13-01", "2024-00-01", "2024-01-32", "2024-01-00", "24-01-01", "2024-001-01", "2024-01-01T01:02:03",
    "2024-01-01T01:02:03z", "2024-01-01 24:00:00", "2024-01-01 23:60:00", "2024-01-01 23:59:60", "2024-01-01T01:02Z",
    "2024-01-01 01:02:03.", "2024-01-01x", "1:60", "a:1", "a b", "a  b", "a:b", ":a", "a#b", "-a", "?a", "..a", ".a", "a,b", "a]", "it's",
    'a"b', 'a\\b', '\xa0', 'a\xa0b', '\xe9', '\u65e5\u672c', '\ufffd', '\ue000',
)
DOUBLE = (
    "", "~", "null", "Null", "NULL", "true", "TRUE", "False", "y", "Y", "yes", "on", "ON", "n", "No", "off", "OFF", "0", "123", "+1", "-1",
    "1_000", "0x1F", "0X1f", "0x_1", "0b101", "0o17", "0O17", "017", "08", "09.5", "-0x1", "+0b1", "-0o7", "0b-1", "0o+7",
    "9223372036854775807", "18446744073709551615", "18446744073709551616", "-9223372036854775808", "-9223372036854775809", "1.0", "1.",
    "1.e5", ".5", "+.5", ".5_0", ".5e3_0", "1e3", "1E+3", "1e-400", "1.7976931348623157e308", ".nan", ".NaN", ".NAN", ".inf", "-.Inf",
    "+.INF", "2024-01-01", "2024-1-1", "2024-02-29", "2000-02-29", "2024-01-01T01:02:03Z", "2024-01-01t1:2:3.5+01:00",
    "2024-01-01 01:02:03", "2024-01-01   1:2:3,5", "12:30", "12:30:45", "12:30:45.5_", "+1:20", "1_0:20",
)
SINGLE = (
    "-", "2024-01-01 01:02:03 ", "1:2:", " a", "a ", "a: b", "a:", " :", ":", ": a", "a #b", "#a", "- a", "? a", "?", "--- a", "---a",
    "...", ",a", "[a", "{", "}", "&a", "*a", "!a", "|a", ">a", '"', "%a", "@a", "`a", '\u2028', 'a\u2028',
)
OTHER = {
    "'": "''''",
    "a'b: c": "'a''b: c'",
    '\t': '"\\t"',
    'a\tb': '"a\\tb"',
    'a\t': '"a\\t"',
    'a\x00': '"a\\0"',
    '\x07\x08\x0b\x0c\x1b\x7f': '"\\a\\b\\v\\f\\e\\x7F"',
    '\x80\x85\x9f': '"\\x80\\N\\x9F"',
    '\U0001f600': '"\\U0001F600"',
    '\ufeff': '"\\uFEFF"',
    '\ufeffa \xe9': '"\\uFEFF\\x61\\x20\\xE9"',
    'a\ufeff': '"a\\uFEFF"',
    '\ufffe': '"\\uFFFE"',
    '\uffff': '"\\uFFFF"',
    '\r': '"\\r"',
    'a\rb': '"a\\rb"',
    'a\u2028b': "'a\u2028    b'",
    'a\u2029\u2028b': "'a\u2029\u2028    b'",
    "it's\u2028": "'it''s\u2028'",
    'a\u2028 b': '"a\\L b"',
    'a \u2028b': '"a \\Lb"',
    '\u2028: a': "'\u2028    : a'",
    'a\nb': '|-\n    a\n    b\n',
    'a\n': '|\n    a\n',
    'a\n\n': '|+\n    a\n\n',
    'a\n\nb\n': '|\n    a\n\n    b\n',
    'a \nb': '"a \\nb"',
    'a\nb ': '"a\\nb "',
    'a\n b': '|-\n    a\n     b\n',
    'a\n\tb': '|-\n    a\n    \tb\n',
    'a\tb\nc': '|-\n    a\tb\n    c\n',
    '#a\nb': '|-\n    #a\n    b\n',
    'a\r\nb': '"a\\r\\nb"',
    'a\u2028\nb': '|-\n    a\u2028\n    b\n',
    'a\n\u2028': '|+\n    a\n\u2028',
    'a\nb\u2028': '|\n    a\n    b\u2028',
    'a\n\x00': '"a\\n\\0"',
    '\ufeff\n': '"\\uFEFF\\n"',
    ' a\nb': '|4-\n     a\n    b\n',
}


@pytest.mark.parametrize("text", PLAIN)
def test_plain(text):
    assert active(text) == text + "\n"


@pytest.mark.parametrize("text", DOUBLE)
def test_double_quoted(text):
    assert active(text) == f'"{text}"\n'


@pytest.mark.parametrize("text", SINGLE)
def test_single_quoted(text):
    assert active(text) == f"'{text}'\n"


@pytest.mark.parametrize("text", OTHER)
def test_other_style(text):
    assert active(text) == OTHER[text] + ("" if OTHER[text].startswith("|") else "\n")


def active(text):
    """What is written for a text that is the name of the default endpoint."""
    written = encode(RemoteConfig(text)).decode("utf-8")
    assert written.startswith("Active: ")
    assert written.endswith("Remotes: {}\n")
    return written[len("Active: "):-len("Remotes: {}\n")]


# Here we do not write what 1.3 and 1.4, or all versions, write: they can't read it back.
@pytest.mark.parametrize(("text", "written"), [
    ("\na", "|-\n\n    a\n"),
    ("\n", "|+\n\n"),
    ("\n\n", "|+\n\n\n"),
    ("\u2028a\nb", "|-\n\u2028    a\n    b\n"),
    ("\n a", '"\\n a"\n'),
    ("\ta\nb", '"\\ta\\nb"\n'),
    ("\n\ta", '"\\n\\ta"\n'),
    ("<<", '"<<"\n'),
])
def test_deviations(text, written):
    assert active(text) == written


def test_whole_file():
    keyservers = (Keyserver("https://own.example", skip=True), Keyserver(" a\nb", external=True, insecure=True), Keyserver(""))
    config = RemoteConfig("lab", {
        "lab": Remote("lab.example", "t\n", system=True, exclusive=True, insecure=True, keyservers=keyservers),
        "empty": Remote(),
        "l" * 128: Remote("u"),
        "é" * 65: Remote(token="a\u2028b"),
        "two\nlines\n": Remote("u", keyservers=(Keyserver("a\nb"),)),
        "a\u2028b": Remote("u"),
    }, (Credential("docker://x", insecure=True), Credential("https://own.example", "a\nb\n")))
    assert encode(config, header="# ours\n\n").decode("utf-8") == """\
# ours

Active: lab
Remotes:
    ? 'a\u2028        b'
    :   URI: u
        System: false
        Exclusive: false
    empty:
        System: false
        Exclusive: false
    lab:
        URI: lab.example
        Token: |
            t
        System: true
        Exclusive: true
        Insecure: true
        Keyservers:
            - URI: https://own.example
              Skip: true
              External: false
              Insecure: false
            - URI: " a\\nb"
              Skip: false
              External: true
              Insecure: true
            - URI: ""
              Skip: false
              External: false
              Insecure: false
    {}:
        URI: u
        System: false
        Exclusive: false
    ? |
        two
        lines
    :   URI: u
        System: false
        Exclusive: false
        Keyservers:
            - URI: |-
                a
                b
              Skip: false
              External: false
              Insecure: false
    ? {}
    :   Token: 'a\u2028            b'
        System: false
        Exclusive: false
Credentials:
    - URI: docker://x
      Insecure: true
    - URI: https://own.example
      Auth: |
        a
        b
      Insecure: false
""".format("l" * 128, "é" * 65)


def test_empty_file():
    assert encode(RemoteConfig()) == b'Active: ""\nRemotes: {}\n'


@pytest.mark.parametrize(("text", "kind"), [
    ("", "null"), ("True", "true"), ("false", "false"), ("<<", "merge"), ("-1", "int"), ("18446744073709551615", "uint"), ("1e3", "float"),
    ("2024-01-01", "timestamp"), ("yes", "str"), ("12:30", "str"), ("-18446744073709551615", "float"), ("-0b1_1", "int"),
])
def test_scalar_kind(text, kind):
    assert scalar_kind(text) == kind


@pytest.mark.parametrize(("text", "kind"), table([
    ("decimal", "1" * 5000, "str"),  # beyond float64, too
    ("negative", "-" + "1" * 5000, "str"),
    ("with underscores", "1_" * 5000 + "1", "str"),
    ("hexadecimal", "0x" + "f" * 5000, "str"),
    ("binary", "0b" + "1" * 5000, "str"),
    ("zeros before a small one", "0" * 5000 + "7", "int"),
    ("an exponent", "1e" + "1" * 5000, "str"),
    ("a fraction", "0." + "1" * 5000, "float"),
    ("a second's fraction", "2024-01-01T01:02:03." + "1" * 5000 + "Z", "timestamp"),
]))
def test_scalar_kind_of_thousands_of_digits(text, kind):
    """Python refuses to convert more than 4,300 decimal digits to a number."""
    assert scalar_kind(text) == kind
    config = RemoteConfig(text, {text: Remote(text, text)}, (Credential(text, text),))
    assert decode(encode(config), "file").config == config or len(text) > 1024  # as a name it is longer than a key can be


@pytest.mark.parametrize("year", ["0000", "0001", "9999"])
def test_years_that_python_does_not_know(year):
    assert scalar_kind(f"{year}-02-29") == ("timestamp" if year == "0000" else "str")


def test_scalar_kind_with_another_tag():
    assert scalar_kind("2024-01-01", timestamps=False) == "str"


# Order

ORDER = [
    ":", "_", "1", "1r", "01", "9", "10", "\u0661", "R", "Z", "a", "a\U0001f600", "a0", "a0-", "a00", "a1b", "a1-", "a01b", "a10", "r",
    "r9223372036854775808", "r 1", "r-1", "r_1", "r1", "r1a", "r01", "r2", "r2-1", "r02", "r10", "r10-1", "r9223372036854775807", "é", "日本",
]
SHORT = [name for name in ORDER if not remote_yaml_writer._NEEDS_COMPARING.search(name)]


@pytest.mark.parametrize("names", [ORDER, SHORT], ids=["with unusual names", "without"])
def test_natural_order(names):
    assert natural_order(reversed(names)) == names


NAMES = st.text(st.sampled_from("0129aZé-: \U0001f600"), max_size=8)


@given(NAMES, NAMES)
def test_sort_key_orders_as_the_comparison(a, b):
    """The comparison is Go's, rune by rune; the key is faster."""
    assume(a != b)
    assert (remote_yaml_writer._sort_key(a) < remote_yaml_writer._sort_key(b)) == (remote_yaml_writer._compare(a, b) < 0)


@given(st.lists(st.text(st.sampled_from("01\u0661a-"), max_size=30), unique=True))
def test_order_does_not_depend_on_the_order_before(names):
    assert natural_order(names) == natural_order(names[::-1])


@given(st.lists(NAMES, unique=True))
def test_order_is_the_same_with_names_that_need_comparing(names):
    assert natural_order(names) == sorted(names, key=cmp_to_key(remote_yaml_writer._compare))


# Whatever is written can be read

AWKWARD = st.text(st.sampled_from("a1 :#-?\t\n\r\x85\u2028\u2029\ufeff'\"\\<|&*!%@`[]{},~=.\x00\x7f\U0001f600"), max_size=12)
TEXTS = st.text(max_size=20) | AWKWARD | st.sampled_from((*PLAIN, *DOUBLE, *SINGLE, *OTHER, "<<", "k" * 129, "h.example/x"))
KEYSERVERS = st.lists(st.builds(Keyserver, TEXTS, st.booleans(), st.booleans(), st.booleans()), max_size=2).map(tuple)
REMOTES = st.dictionaries(TEXTS, st.builds(Remote, TEXTS, TEXTS, st.booleans(), st.booleans(), st.booleans(), KEYSERVERS), max_size=4)
CREDENTIALS = st.lists(st.builds(Credential, TEXTS, TEXTS, st.booleans()), max_size=2).map(tuple)
CONFIGS = st.builds(RemoteConfig, TEXTS, REMOTES, CREDENTIALS)
HEADERS = st.lists(st.sampled_from(("# made by ours\n", "#\r\n", "\n", "  # é: {\n", "# Active: x\r", "#\u2028")), max_size=3).map("".join)

BEFORE_1_5 = ("1.0", "1.1", "1.2", "1.3", "1.4")


@pytest.mark.parametrize("parser", [yaml.CBaseLoader, yaml_nodes._PythonParser], ids=["c", "python"])
@given(CONFIGS, HEADERS)
@example(RemoteConfig("\u2028a\n"), "")
def test_what_is_written_can_be_read(parser, config, header):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yaml_nodes, "_parser", parser)
        data = encode(config, header)
        document = decode(data, "remote.yaml")
    assert document.config == config
    assert document.header == (header if "#" in header else "")
    assert document.has_data
    assert encode(document.config, document.header) == (data if "#" in header else encode(config))
    assert {quirk.refused_by for quirk in document.quirks} <= {("1.0",)} | ({BEFORE_1_5} if "<<" in config.remotes else set())


HALF = "\ud83d"


@pytest.mark.parametrize(("config", "what"), table([
    ("the default", RemoteConfig(HALF), "the name of the default endpoint"),
    ("a name", RemoteConfig("", {"a" + HALF: Remote()}), "an endpoint's name"),
    ("a URI", RemoteConfig("", {"a": Remote("é" + HALF + "\n")}), 'the URI of endpoint "a"'),
    ("a token", RemoteConfig("", {"a": Remote("", "s3cret" + HALF)}), 'the token of endpoint "a"'),
    ("a keyserver", RemoteConfig("", {"a": Remote("", "", keyservers=(Keyserver(HALF),))}), "a keyserver's URI of endpoint \"a\""),
    ("a login", RemoteConfig("", {}, (Credential("a"), Credential(HALF))), "the URI of a login"),
    ("a password", RemoteConfig("", {}, (Credential("a", "s3cret" + HALF),)), "the secret of a login"),
]))
def test_half_a_character_is_refused(config, what):
    with pytest.raises(FormatError, match=rf"^{what} has a lone surrogate, half of a character, .*; correct the value$") as caught:
        encode(config)
    assert "s3cret" not in str(caught.value)


def test_half_a_character_in_the_header_is_refused():
    with pytest.raises(FormatError, match=r"^the comment at the top has a lone surrogate"):
        encode(RemoteConfig(), f"# {HALF}\n")
