# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.hpc.apptainer.plugins.plugin_utils._checked import Checker, as_list, nearest, with_defaults

BOOL, FLOAT, STR, PATH, SECRET = ({"type": name} for name in ("bool", "float", "str", "path", "secret"))
CHOICE = {"type": "str", "choices": ["a", "b"]}
TEXTS, CHOICES = {"type": "list", "elements": "str"}, {"type": "list", "elements": "str", "choices": ["a", "b"]}
OPTIONS = {"uri": {"type": "str", "required": True}, "insecure": BOOL, "state": {"type": "str", "default": "present"}}
ENTRIES = {"type": "list", "elements": "dict", "options": OPTIONS}

# (spec, the value as people and tools write it, the value)
ACCEPTED = [
    *[(BOOL, value, True) for value in (True, "true", "True", "yes", "on", "1", 1, "y", "t")],
    *[(BOOL, value, False) for value in (False, "false", "no", "off", "0", 0, "n", "f", "FALSE")],
    *[(FLOAT, value, 2.5) for value in (2.5, "2.5")],
    *[(FLOAT, value, 10.0) for value in (10, "10", " 10 ", "1e1")],
    *[(STR, value, "5") for value in ("5", 5)],
    (STR, "", ""),
    (STR, None, None),
    (PATH, "~/x", "~/x"),
    (PATH, "$HOME", "$HOME"),
    (SECRET, "0123", "0123"),
    (CHOICE, "b", "b"),
    *[(TEXTS, value, ["a", "5"]) for value in (["a", 5], ("a", "5"), "a,5", " a, 5,", '["a", 5]', "[a, 5]")],
    (TEXTS, [], []),
    (TEXTS, 5, ["5"]),
    (CHOICES, "a,b", ["a", "b"]),
    *[(ENTRIES, value, [{"uri": "h", "insecure": True}]) for value in (
        [{"uri": "h", "insecure": "yes"}], '[{"uri": "h", "insecure": true}]', "[{uri: h, insecure: on}]", "- uri: h\n  insecure: 1")],
    (ENTRIES, [{"uri": "h", "insecure": None}], [{"uri": "h", "insecure": None}]),
]


@pytest.mark.parametrize(("spec", "value", "expected"), ACCEPTED)
def test_what_is_accepted(spec, value, expected):
    checker = Checker([])
    found = checker.value("x", value, spec)
    assert (found, type(found), checker.problems) == (expected, type(expected), [])


A_BOOLEAN, A_NUMBER, A_TEXT = "but must be a boolean, true or false", "but must be a number", "but must be a text"
REFUSED = [
    *[(BOOL, value, f"x is {value!r}, {A_BOOLEAN}") for value in ("maybe", 2, [], {}, "")],
    *[(FLOAT, value, f"x is {value!r}, {A_NUMBER}") for value in ("ten", "nan", "inf", True, [1], {})],
    *[(STR, value, f"x is {value!r}, {A_TEXT}") for value in (True, ["a"], {"a": 1})],
    (PATH, ["/a"], "x is ['/a'], but must be a path"),
    *[(SECRET, value, f"x is {value!r}, but must be a text, in quotes") for value in (123, True, ["a"])],
    (CHOICE, "c", "x is 'c', but must be one of a, b"),
    (CHOICE, ["a"], f"x is ['a'], {A_TEXT}"),
    *[(TEXTS, value, f"x is {value!r}, but must be a list") for value in ({"a": 1}, "[a", "[{a: 1}")],
    (TEXTS, ["a", ["b"]], f"x: entry 2 is ['b'], {A_TEXT}"),
    (TEXTS, ["a", None], "x: entry 2 is empty; remove it, or give it a value"),
    (CHOICES, "a,c", "x: entry 2 is 'c', but must be one of a, b"),
    *[(ENTRIES, value, f"x is {value!r}, but must be a list") for value in ({"uri": "h"}, 5, True, "text", "uri: h", "[", "a: b: c")],
    (ENTRIES, ["h"], "x: entry 1 is 'h', but must be a dictionary"),
    (ENTRIES, [None], "x: entry 1 is empty; remove it, or give it a value"),
    (ENTRIES, [{"insecure": True}], "x: entry 1: the key uri is missing"),
    (ENTRIES, [{"uri": None}], "x: entry 1: the key uri is missing"),
    (ENTRIES, [{"url": "h"}], "x: entry 1: the key url does not exist; did you mean uri?"),
    (ENTRIES, [{"uri": "h", 5: 5}], "x: h: the key 5 does not exist; remove it, or correct its name"),
    (ENTRIES, [{"uri": "https://u:secret@h", "insecure": "x"}], f"x: https://(hidden)@h: insecure is 'x', {A_BOOLEAN}"),
    (STR, ["y" * 200], f"x is ['{'y' * 98}, {A_TEXT}"),
]


@pytest.mark.parametrize(("spec", "value", "sentence"), REFUSED)
def test_what_is_refused(spec, value, sentence):
    checker = Checker([])
    checker.value("x", value, spec)
    assert checker.problems == [sentence]


@pytest.mark.parametrize(("spec", "value", "sentence"), REFUSED)
def test_secrets_are_not_quoted(spec, value, sentence):
    checker = Checker([], is_secret=True)
    checker.value("x", value, spec)
    (problem,) = checker.problems
    before, _is, after = sentence.partition(" is ")
    assert problem == (f"{before} {after.partition(', but ')[2]}" if ", but " in after else sentence)


def test_all_that_is_wrong_is_said():
    checker = Checker([])
    checker.value("x", [{"uri": ["h"], "insecure": "x"}, {"uri": "k", "state": {}}, {}], ENTRIES)
    assert checker.problems == [
        f"x: entry 1: uri is ['h'], {A_TEXT}", f"x: entry 1: insecure is 'x', {A_BOOLEAN}", f"x: k: state is {{}}, {A_TEXT}",
        "x: entry 3: the key uri is missing"]


def test_defaults():
    options = {**OPTIONS, "keyservers": ENTRIES, "force": {"type": "bool", "default": False}}
    assert with_defaults({"uri": "h", "insecure": None, "keyservers": [{"uri": "k"}], "force": True}, options) == {
        "uri": "h", "state": "present", "force": True, "keyservers": [{"uri": "k", "state": "present"}]}


def test_a_syntax_error_does_not_quote_the_text():
    with pytest.raises(ValueError) as caught:
        as_list("[{token: 's3cret", "dict")
    assert str(caught.value) == "" and caught.value.__suppress_context__


@pytest.mark.parametrize(("name", "end"), [("url", "; did you mean uri?"), ("xyz", "; remove it, or correct its name")])
def test_the_nearest_name(name, end):
    assert nearest(name, {"uri": 1, "state": 2}) == end
