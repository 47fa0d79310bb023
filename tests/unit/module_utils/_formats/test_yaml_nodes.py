# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The syntax of a file: encodings, characters, and what is not YAML to Go's parser, with both parsers of PyYAML."""

from __future__ import annotations

import importlib.util
import sys

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import FormatError
from ansible_collections.hpc.apptainer.plugins.module_utils._formats import yaml_nodes
from ansible_collections.hpc.apptainer.plugins.module_utils._formats.remote_yaml_reader import decode
from hypothesis import given
from hypothesis import strategies as st
from support.tables import by_text

pytestmark = pytest.mark.usefixtures("parser")

FILE = "Active: wiv\nRemotes:\n  wiv:\n    URI: é.example\n"


def refusal(data):
    with pytest.raises(FormatError) as caught:
        decode(data if isinstance(data, bytes) else data.encode(), "/etc/apptainer/remote.yaml")
    message = str(caught.value)
    assert message.startswith("/etc/apptainer/remote.yaml")
    return message[len("/etc/apptainer/remote.yaml"):]


def uri(data):
    return decode(data if isinstance(data, bytes) else data.encode(), "remote.yaml").config.remotes["wiv"].uri


# Text

@pytest.mark.parametrize("data", [
    FILE.encode(), b"\xef\xbb\xbf" + FILE.encode(), b"\xff\xfe" + FILE.encode("utf-16-le"), b"\xfe\xff" + FILE.encode("utf-16-be"),
], ids=["utf-8", "with mark", "utf-16-le", "utf-16-be"])
def test_encodings(data):
    assert uri(data) == "é.example"


@pytest.mark.parametrize(("data", "message"), by_text([
    (b"Active: a\nRemotes: \xe9\n", ", line 2, column 10: the file is not UTF-8 text"),
    (b"\xef\xbb\xbfActive: \xe9\n", ", line 1, column 9: the file is not UTF-8 text"),
    (b"Active: \xed\xa0\xbd\n", ", line 1, column 9: the file is not UTF-8 text"),
    (b"\xff\xfeA\x00\n\x00\x00\xd8", ", line 2, column 1: the file is not UTF-16 text"),
    ("a\r\nb\rc\x85\u2028d\u2029é\x07", ", line 6, column 2: there is a character U+0007, which YAML forbids"),
    ("Active: a\x7f\n", ", line 1, column 10: there is a character U+007F"),
    ("Active: a\x00\n", ", line 1, column 10: there is a character U+0000"),
    ("Active: a\x80\n", ", line 1, column 10: there is a character U+0080"),
    ("Active: a\uffff\n", ", line 1, column 10: there is a character U+FFFF"),
    ("\ufeff\ufeffActive: a\n", ", line 1, column 1: there is a character U+FEFF"),
    ("Active: a\n\ufeffRemotes: {}\n", ", line 2, column 1: there is a character U+FEFF"),
]))
def test_not_text(data, message):
    assert refusal(data).startswith(message)


@pytest.mark.parametrize("header", [
    "# a\n", "# a\n# b\n", "#a\n\n# b\n\n", "\n  # a\n", "# a\r\n\r\n", "#a\r", "# ---\n", "# a\u2028", "#\n", "# a\x85# b\u2029",
])
def test_header(header):
    assert decode((header + FILE).encode(), "remote.yaml").header == header


@pytest.mark.parametrize("text", [FILE, "\n\n" + FILE, "---\n# a\n" + FILE, "Active: a # b\n", "{} # a\n", "%YAML 1.1\n---\n# a\n{}\n"])
def test_no_header(text):
    assert decode(text.encode(), "remote.yaml").header == ""


def test_header_before_a_marker():
    assert decode(("# a\n---\n" + FILE).encode(), "remote.yaml").header == "# a\n"


@pytest.mark.parametrize(("text", "header"), [
    ("# a", "# a\n"), ("# a\n\n  # b", "# a\n\n  # b\n"), ("\n", ""), (" \n ", ""), ("\ufeff", ""), ("\ufeff# a\n", "# a\n"),
])
def test_only_comments_or_white_space(text, header):
    document = decode(text.encode(), "remote.yaml")
    assert (document.header, document.has_data, document.config.remotes) == (header, False, {})
    assert [quirk.refused_by for quirk in document.quirks] == [("1.3", "1.4", "1.5", "1.6")]
    assert document.refused == document.quirks[0]


def test_no_bytes():
    document = decode(b"", "remote.yaml")
    assert (document.header, document.has_data, document.quirks, document.config.remotes) == ("", True, (), {})


# Syntax

@pytest.mark.parametrize(("text", "message"), by_text([
    ("\tActive: a\n", ", line 1, column 1: a character is here that cannot begin a value: a tab as indentation"),
    ("Active: @a\n", ", line 1, column 9: a character is here that cannot begin a value"),
    ("Active: a: b\n", ", line 1, column 10: this colon cannot end a key"),
    ("Active: a\n Remotes: {}\n", ", line 2, column 9: this colon cannot end a key"),
    ("Active: - a\n", ", line 1, column 9: a list item (- ) cannot be here: put it on a new line"),
    ("Active: ? a\n", ", line 1, column 9: a key (? ) cannot be here: quote the value"),
    ("Active: a\nb\nRemotes: {}\n", ", line 3, column 1: a key has no colon after it"),
    ("Active: 'a\n", ", line 2, column 1: a closing quote is missing"),
    ('Active: "a\n--- b"\n', ", line 2, column 1: a closing quote is missing"),
    ("Active: *a\n", ", line 1, column 9: an alias (*name) has no anchor (&name) before it"),
    ("Remotes: &a\n  wiv: *a\n", ", line 2, column 8: an alias is inside the value that it names"),
    ("Remotes: &a [*a]\n", ", line 1, column 14: an alias is inside the value"),
    ('Active: "\\q"\n', ", line 1, column 1"),
    ('Active: "\\/"\n', ", line 1, column 9: there is a backslash sequence in double quotes that Apptainer does not know"),
    ('Active: "a\\\\\\/"\n', ", line 1, column 9: there is a backslash sequence"),
    ('Active: "\\ud83d\\ude00"\n', ", line 1, column "),
    ('Active: "\\U00110000"\n', ""),
    ('Active: "\\UFFFFFFFF"\n', ""),
    ("Remotes: {wiv: {URI: a?b}}\n", " needs quotes"),
    ("Remotes: {wiv:{URI: a}}\n", " needs quotes"),
    ("Remotes: {wiv: {URI: a:[}}\n", " needs quotes"),
    ("Remotes:\n  wiv:\n    URI: a\n   Token: b\n", ", line 4, column 4: the indentation is wrong"),
    ("Remotes: [a\n", ", line 2, column 1: a [ list ] is not closed"),
    ("Remotes: {a\n", ", line 2, column 1: a { mapping } is not closed"),
    ("...\n", ", line 1, column 1: a value is missing or in the wrong place"),
    ("%YAML 1.2\n---\n{}\n", ", line 1, column 1: the %YAML directive asks for a version other than 1.1"),
    ("%YAML 2.0\n---\n{}\n", ", line 1, column 1: the %YAML directive asks for a version other than 1.1"),
    ("%FOO 1.2\n---\n{}\n", ": a directive (%NAME) is neither %YAML nor %TAG"),
    ("Active: !a!b c\n", ", line 1, column 9: this is not YAML"),
    ("{}\n}\n", ", line 2, column 1: text follows the end of the document"),
    ("  Active: a\nRemotes: {}\n", ", line 2, column 1: "),
    ("{}\n--- a\n b: c\n", ", line 3, column 3: this colon cannot end a key"),
    ("{}\n...\n@", ", line 3, column 1: a character is here"),
    ("{}\n---\n@", ", line 3, column 1: a character is here"),
    ("[" * 101, ", line 1, column 100: more than 100 levels are nested here"),
]))
def test_not_yaml(text, message):
    refused = refusal(text)
    assert message in refused
    assert "; Apptainer refuses the whole file. " in refused


def test_escape_errors_do_not_show_the_text():
    for text in ('Remotes:\n  wiv:\n    Token: "s3cret\\q"\n', "Active: *s3cret\n", "Active: !s3cret!s3cret x\n"):
        assert "s3cret" not in refusal(text)


@pytest.mark.parametrize(("text", "value"), [
    (r'"\"\\\x41\u00e9\U0001f600\t\N\L"', "\"\\Aé\U0001f600\t\x85\u2028"),
    (r'"a\\/b"', "a\\/b"),
    (r'"\\" # \/', "\\"),
    ("a\tb \t# c", "a\tb"),
    ("a\t", "a"),
    ("\ta", "a"),
    ("a\n      b\n\n      c", "a b\nc"),
    ("a\t\n      b", "a b"),
    ("a \t b", "a \t b"),
    ("'a?b'", "a?b"),
    ("a?b", "a?b"),
    ("&x y", "y"),
])
def test_scalars(text, value):
    assert uri(f"Remotes:\n  wiv:\n    URI: {text}\n") == value


@pytest.mark.parametrize("beyond", [
    "---\nBogus: [\n", "...\nfoo: [bar\n", "---\n]\n", "---\n- a: b: c\n", "...\n", "---\n[a\n", "# é\n", "--- 'a'\n", "%YAML 1.1\n---\na\n",
])
def test_later_documents_are_ignored(beyond):
    assert uri(FILE + beyond) == "é.example"


def test_tabs_in_json():
    assert uri('{\n\t"Remotes":\t{\n\t\t"wiv": {"URI":\t"a"}\t,\n\t}\n}\n') == "a"


def test_anchors_may_be_used_again():
    config = decode(b"Active: &a b\nRemotes:\n  *a :\n    URI: &a c\n    Token: *a\n", "remote.yaml").config
    assert (list(config.remotes), config.remotes["b"].token) == (["b"], "c")


@given(st.text(st.sampled_from("aA: -#\n\t'\"[]{},&*!|>?%@~<\\/.xyURI\u2028\ufeff\x07\xff"), max_size=40))
@pytest.mark.parametrize("parser_class", [yaml_nodes._PythonParser, yaml_nodes.yaml.CBaseLoader], ids=["python", "c"])
def test_any_text_is_read_or_refused(parser_class, text):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yaml_nodes, "_parser", parser_class)
        try:
            decode(text.encode(), "remote.yaml")
        except FormatError as error:
            assert str(error).startswith("remote.yaml")


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(data):
    try:
        decode(data, "remote.yaml")
    except FormatError as error:
        assert str(error).startswith("remote.yaml")


# Without PyYAML, and without its C parser

def loaded_with(monkeypatch, **modules):
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    spec = importlib.util.spec_from_file_location(yaml_nodes.__name__, yaml_nodes.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_without_pyyaml(monkeypatch):
    module = loaded_with(monkeypatch, yaml=None)
    assert not module.HAS_YAML
    assert "ModuleNotFoundError" in module.YAML_IMPORT_ERROR


@pytest.mark.parametrize("has_c_parser", [True, False])
def test_chooses_the_c_parser(monkeypatch, has_c_parser):
    monkeypatch.setattr("yaml.__with_libyaml__", has_c_parser)
    module = loaded_with(monkeypatch)
    assert module.HAS_YAML
    assert module.YAML_IMPORT_ERROR is None
    assert module._parser is (module.yaml.CBaseLoader if has_c_parser else module._PythonParser)
