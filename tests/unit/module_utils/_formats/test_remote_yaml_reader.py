# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a file means by Apptainer's schema. The tables hold what yaml v3 3.0.1 itself reads or refuses, and the quirks what v2 2.4.0 does.

Where we refuse what they read, it is one of the deviations that decode names.
"""

from __future__ import annotations

import gc

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import FormatError
from ansible_collections.hpc.apptainer.plugins.module_utils._formats.remote_yaml_reader import Quirk, decode
from ansible_collections.hpc.apptainer.plugins.module_utils._formats.remote_yaml_writer import encode
from ansible_collections.hpc.apptainer.plugins.module_utils._values.remote_config import Credential, Keyserver, Remote, RemoteConfig
from support.tables import by_text, table

pytestmark = pytest.mark.usefixtures("parser")

BEFORE_1_3 = ("1.0", "1.1", "1.2")


def read(text):
    return decode(text.encode(), "remote.yaml")


def endpoint(fields):
    """An endpoint with these fields, and the quirks of the file."""
    document = read(f"Remotes:\n  wiv: {{{fields}}}\n" if not fields.endswith("\n") else "Remotes:\n  wiv:\n    " + fields)
    return document.config.remotes["wiv"], document.quirks


def refusal(text):
    with pytest.raises(FormatError) as caught:
        decode(text.encode(), "/etc/apptainer/remote.yaml")
    message = str(caught.value)
    assert message.startswith("/etc/apptainer/remote.yaml, line ")
    assert "; Apptainer refuses the whole file. " in message
    return message[len("/etc/apptainer/remote.yaml, "):]


def test_whole_file():
    assert read("""\
# ours
Active: lab
Remotes:
  lab:
    URI: lab.example
    Token: t
    System: yes
    Exclusive: true
    Insecure: on
    Keyservers:
    - URI: https://keys.example
      Skip: true
    - {External: true, Insecure: true}
  other: {}
Credentials:
- URI: docker://x
  Auth: Basic eA==
  Insecure: True
- {}
""") == (
        RemoteConfig("lab", {
            "lab": Remote("lab.example", "t", True, True, True, (Keyserver("https://keys.example", True), Keyserver("", False, True, True))),
            "other": Remote(),
        }, (Credential("docker://x", "Basic eA==", True), Credential(""))),
        "# ours\n", True, (Quirk(9, "the endpoint key Insecure", ("1.0",)),), None)


# Strings

@pytest.mark.parametrize(("written", "text"), [
    ("a b", "a b"), ("yes", "yes"), ("true", "true"), ("123", "123"), ("1e3", "1e3"), ("0x10", "0x10"), ("<<", "<<"),
    ("~", ""), ("null", ""), ("NULL", ""), ("", ""), ("'null'", "null"), ("'~'", "~"), ("!!null ''", ""), ("!!null NULL", ""), ("!", ""),
    ("! x", "x"),
    ("!!str 12", "12"), ("!!str ~", "~"), ("!!str", ""), ("!foo bar", "bar"), ("!foo ~", "~"), ("!!seq x", "x"), ("!!merge x", "x"),
    ("!!int 12", "12"), ("!!int '0x1F'", "0x1F"), ("!!int 18446744073709551615", "18446744073709551615"), ("!!bool TRUE", "TRUE"),
    ("!!float 1", "1"), ("!!float 1.5", "1.5"), ("!!float .inf", ".inf"),
    ("!<tag:yaml.org,2002:int> 7", "7"),
    ("!!binary aGVsbG8=", "hello"), ("!!binary ''", ""), ('!!binary "aGVs\\nbG8="', "hello"), ("!!binary w6k=", "é"),
])
def test_strings(written, text):
    assert endpoint(f"URI: {written}\n") == (Remote(text), ())


@pytest.mark.parametrize(("written", "tag"), [
    ("!!int a", "int"), ("!!int 1.5", "int"), ("!!int ~", "int"), ("!!int 2024-01-01", "int"), ("!!float a", "float"),
    ("!!float 18446744073709551615", "float"),
    ("!!bool yes", "bool"), ("!!null x", "null"), ("!!timestamp 12", "timestamp"), ("!!binary aGVsbG8", "binary"), ("!!binary '%%%'", "binary"),
    ("!!binary //8=", "binary"),
])
def test_tags_that_do_not_fit(written, tag):
    assert refusal(f"Active: {written}\n").startswith(f"line 1, column 9: the value does not fit its tag !!{tag}; ")


# Booleans

@pytest.mark.parametrize(("written", "value", "quirk"), [
    ("true", True, False), ("True", True, False), ("TRUE", True, False), ("false", False, False), ("False", False, False), ("FALSE", False, False),
    *((word, True, False) for word in ("y", "Y", "yes", "Yes", "YES", "on", "On", "ON")),
    *((word, False, False) for word in ("n", "N", "no", "No", "NO", "off", "Off", "OFF")),
    ("~", False, False), ("", False, False), ("!!null ~", False, False), ("!!bool true", True, False), ("!!bool 'true'", True, False),
    ("'yes'", True, True), ('"off"', False, True), ("!!str yes", True, True), ("!foo on", True, True), ("! yes", True, True),
    ("!!binary eWVz", True, True),
])
def test_booleans(written, value, quirk):
    remote, quirks = endpoint(f"System: {written}\n")
    assert remote.system is value
    assert [(found.line, found.refused_by) for found in quirks] == [(3, BEFORE_1_3)] * quirk


@pytest.mark.parametrize("written", ["tRUE", "1", "0", "1.0", "maybe", "'true'", "!!str true", "!foo true", "!!int 1", "[true]", "{a: true}", "yES"])
def test_not_booleans(written):
    assert refusal(f"Remotes:\n  wiv:\n    System: {written}\n") == (
        "line 3, column 13: the value of System must be true or false, without quotes; Apptainer refuses the whole file. Write true or false.")


# Shape

@pytest.mark.parametrize(("text", "message"), by_text([
    ("wiv\n", "line 1, column 1: the file must be a mapping; "),
    ("- wiv\n", "line 1, column 1: the file must be a mapping; "),
    ("!!null {}\n", "line 1, column 1: the file must be a mapping; "),
    ("Remotes:\n- URI: a\n", "line 2, column 1: Remotes must be a mapping; "),
    ("Remotes: wiv\n", "line 1, column 10: Remotes must be a mapping; "),
    ("Remotes: ''\n", "line 1, column 10: Remotes must be a mapping; "),
    ("Active: a\nRemotes:\n", "line 2, column 1: Remotes has no value, and some commands crash on that; "),
    ("Remotes: ~\n", "line 1, column 1: Remotes has no value, "),
    ("Remotes:\n  wiv:\n", 'line 2, column 3: endpoint "wiv" has no value, and commands crash on that; '),
    ("Remotes:\n  a secret:\n", "line 2, column 3: an endpoint has no value, "),
    ("Remotes: !!set {wiv}\n", 'line 1, column 17: endpoint "wiv" has no value, '),
    ("Remotes:\n  wiv: a\n", "line 2, column 8: an endpoint must be a mapping; "),
    ("Remotes:\n  wiv: [a]\n", "line 2, column 8: an endpoint must be a mapping; "),
    ("Remotes:\n  wiv:\n    Keyservers: {}\n", "line 3, column 17: the value of Keyservers must be a list; "),
    ("Remotes:\n  wiv:\n    Keyservers: a\n", "line 3, column 17: the value of Keyservers must be a list; "),
    ("Remotes:\n  wiv:\n    Keyservers: !!null []\n", "line 3, column 17: the value of Keyservers must be a list; "),
    ("Remotes:\n  wiv:\n    Keyservers:\n    - https://a\n", "line 4, column 7: a keyserver must be a mapping; "),
    ("Credentials:\n- a\n", "line 2, column 3: a login must be a mapping; "),
    ("Active: [a]\n", "line 1, column 9: the value of Active must be text, not a list or mapping; "),
    ("Remotes:\n  wiv:\n    URI: {a: b}\n", "line 3, column 10: the value of URI must be text, "),
    ("Remotes:\n  [a, b]: {}\n", "line 2, column 3: a list or mapping is in the place of a key; "),
    ("Remotes:\n  <<:\n    URI: a\n", "line 3, column 10: an endpoint must be a mapping; "),
]))
def test_wrong_shape(text, message):
    assert refusal(text).startswith(message)


@pytest.mark.parametrize(("text", "message"), by_text([
    ("Version: 1\n", 'line 1, column 1: key "Version" is not one that Apptainer knows for the file (Active, Remotes, Credentials); '),
    ("active: a\n", 'line 1, column 1: key "active" is not one that Apptainer knows for the file (Active, Remotes, Credentials); '
                    'Apptainer refuses the whole file. Write it as "Active".'),
    ("Remotes:\n  wiv:\n    URI: a\n    Colour: red\n",
     'line 4, column 5: key "Colour" is not one that Apptainer knows for an endpoint (URI, Token, System, Exclusive, Insecure, Keyservers); '
     "Apptainer refuses the whole file. Remove or correct the key."),
    ("Remotes:\n  wiv:\n    Keyservers:\n    - Order: 1\n",
     'line 4, column 7: key "Order" is not one that Apptainer knows for a keyserver (URI, Skip, External, Insecure); '),
    ("Credentials:\n- User: x\n", 'line 2, column 3: key "User" is not one that Apptainer knows for a login (URI, Auth, Insecure); '),
    ("Credentials:\n- Auth Basic eA==: x\n", "line 2, column 3: a key is not one that Apptainer knows for a login "),
    ("'': x\n", 'line 1, column 1: key "" is not one that '),
    ("1: x\n", 'line 1, column 1: key "1" is not one that '),
    ('"<<": {}\n', 'line 1, column 1: key "<<" is not one that '),
    ("!!str <<: {}\n", 'line 1, column 1: key "<<" is not one that '),
    ("!foo <<: {}\n", 'line 1, column 1: key "<<" is not one that '),
    ("<<: {Bogus: 1}\n", 'line 1, column 6: key "Bogus" is not one that '),
    ("Active: a\nActive: b\n", 'line 2, column 1: key "Active" is used twice, first in line 1; Apptainer refuses the whole file. Remove one.'),
    ("Remotes:\n  wiv: {}\n\n  'wiv': {}\n", 'line 4, column 3: key "wiv" is used twice, first in line 2; '),
    ("Remotes:\n  1: {}\n  1: {}\n", 'line 3, column 3: key "1" is used twice, first in line 2; '),
    ("Remotes:\n  ~: {}\n  ~: {}\n", 'line 3, column 3: key "~" is used twice, first in line 2; '),
    ("Remotes:\n  ~: {}\n  '~': {}\n", 'line 3, column 3: key "~" is used twice, first in line 2; '),
    ("Remotes:\n  hi: {}\n  !!binary aGk=: {}\n", 'line 3, column 3: key "hi" is used twice, first in line 2; '),
    ("Active: &a wiv\nRemotes:\n  wiv: {}\n  *a : {}\n", 'line 1, column 9: key "wiv" is used twice, first in line 3; '),
    ("<<: {}\n<<: {}\n", 'line 2, column 1: key "<<" is used twice, first in line 1; '),
]))
def test_wrong_keys(text, message):
    assert refusal(text).startswith(message)


def test_secrets_are_not_shown():
    secret = "eyJhbGciOiJSUzI1NiJ9" * 12
    for text in ("Remotes:\n  wiv:\n    Token: [%s]\n", "Remotes:\n  wiv:\n    Token: !!int %s\n", "Remotes:\n  wiv:\n    %s: x\n",
                 "Remotes:\n  wiv:\n    Token: {%s: x, %s: y}\n", "Remotes:\n  wiv:\n    System: %s\n", "Credentials:\n- %s\n",
                 "%s\n", "Active: '%s\n", "Active: *%s\n", "Active: &%s\n]"):
        assert secret not in refusal(text.replace("%s", secret))


# Names, nulls, aliases

def test_names_are_their_text():
    names = ("1", "0x1", "yes", "true", "1.0", "2024-01-01", "12:30", "=", "a b", "?x", "-x", "é")
    text = "Remotes:\n" + "".join(f"  {name}: {{}}\n" for name in names) + "  '': {}\n  ' ': {}\n  !!int 7: {}\n  !!binary aGk=: {}\n  &x y: {}\n"
    assert list(read(text).config.remotes) == [*names, "", " ", "7", "hi", "y"]


@pytest.mark.parametrize(("root", "line"), [
    ("---\n", 2), ("null\n", 1), ("~\n", 1), ("NULL\n", 1), ("!!null ''\n", 1), ("---\n---\nActive: x\n", 2), ("---\n# a\nnull\n", 3),
])
def test_null_document(root, line):
    assert read(root) == (RemoteConfig(), "", True, (Quirk(line, "an empty document", BEFORE_1_3),), None)


@pytest.mark.parametrize("text", [
    "{}\n", "Active:\n", "Remotes: {}\n", "Credentials: ~\n", "Credentials: []\n", "Credentials: [~, NULL]\n", "<<: {}\n", "<<: []\n",
])
def test_empty(text):
    assert read(text) == (RemoteConfig(), "", True, (), None)


@pytest.mark.parametrize(("keyservers", "found", "quirk"), by_text([
    ("~", (), False), ("[]", (), False), ("[~]", (), True), ("[null, {URI: a}]", (Keyserver("a"),), True), ("[!!null '']", (), True),
    ("[NULL]", (), False),
]))
def test_null_keyservers(keyservers, found, quirk):
    remote, quirks = endpoint("Keyservers: " + keyservers)
    assert remote.keyservers == found
    assert list(quirks) == [Quirk(2, "an empty item of Keyservers", BEFORE_1_3)] * quirk


@pytest.mark.parametrize(("text", "lines"), by_text([
    ("Active: a\n~: [x, {y: z}]\n", [2]),
    ("Remotes: {wiv: {~: x, URI: a, null: y}}\n", [1]),
    ("Credentials:\n- null: {}\n", [2]),
    ("Remotes:\n  ~: {URI: a}\n", []),
    ("Remotes:\n  ~: {}\n  null: {}\n", [3]),
    ("Remotes:\n  '': {}\n  null: {}\n", [3]),
    ("Remotes:\n  null:\n", [2]),
    ("Remotes:\n  null: {Bogus: 1}\n", [2]),
]))
def test_null_keys_are_skipped(text, lines):
    document = read(text)
    assert set(document.config.remotes) <= {"", "wiv"}
    assert [(quirk.line, quirk.refused_by) for quirk in document.quirks] == [(line, BEFORE_1_3) for line in lines]


def test_name_that_old_versions_ruin():
    assert read('Remotes:\n  "<<": {URI: a}\n') == (RemoteConfig("", {"<<": Remote("a")}), "", True, (Quirk(
        2, "an endpoint named <<, with which Apptainer before 1.5 writes a file that no version can read",
        ("1.0", "1.1", "1.2", "1.3", "1.4")),), None)


def test_aliases():
    document = read("Active: &a wiv\nRemotes:\n  *a : &e\n    URI: *a\n    Insecure: &t yes\n    System: *t\n    Keyservers: &k [{URI: x}]\n"
                    "  b: *e\n  c: {Keyservers: *k}\n")
    remote = Remote("wiv", "", True, False, True, (Keyserver("x"),))
    assert document.config == RemoteConfig("wiv", {"wiv": remote, "b": remote, "c": Remote(keyservers=(Keyserver("x"),))})
    assert document.quirks == (Quirk(5, "the endpoint key Insecure", ("1.0",)),)


# Merge keys

BASE = "Remotes:\n  e: &e {URI: x, Token: t}\n  f: &f {URI: y, System: true}\n  wiv:\n"


@pytest.mark.parametrize(("merged", "remote"), table([
    ("one mapping", "    <<: *e\n", Remote("x", "t")),
    ("with its tag", "    !!merge <<: *e\n", Remote("x", "t")),
    ("with the tag !", "    ! <<: *e\n", Remote("x", "t")),
    ("an own key after it", "    <<: *e\n    URI: z\n", Remote("z", "t")),
    ("an own key before it", "    URI: z\n    <<: *e\n", Remote("z", "t")),
    ("an own null", "    URI: ~\n    <<: *e\n", Remote("", "t")),
    ("a list", "    <<: [*e, *f]\n", Remote("x", "t", True)),
    ("a list in the other order", "    <<: [*f, *e]\n", Remote("y", "t", True)),
    ("the same twice, and a mapping", "    <<: [*e, *e, {URI: z, Exclusive: true}]\n", Remote("x", "t", False, True)),
    ("nested mappings", "    <<: {<<: {<<: *e, URI: z}, System: true}\n", Remote("z", "t", True)),
    ("nested in a list", "    <<: [{<<: *e}, {Token: u, System: true}]\n", Remote("x", "t", True)),
]))
def test_merge(merged, remote):
    assert read(BASE + merged).config.remotes["wiv"] == remote
    assert read(BASE + merged).quirks == ()


@pytest.mark.parametrize("merged", ["x", "~", "[x]", "*x", "[[]]"])
def test_merge_needs_mappings(merged):
    assert ": what << merges must be a mapping or a list of mappings; " in refusal(f"Active: &x y\n<<: {merged}\n")


def test_merge_of_whole_files():
    assert read("<<: {Active: a, Remotes: {b: {}}}\nActive: c\n").config == RemoteConfig("c", {"b": Remote()})


def test_merge_of_endpoints():
    document = read("Remotes:\n  <<: [&m {a: {URI: x}, b: {URI: y}}, {b: {URI: z}, ~: {}}]\n  a: {URI: w}\n")
    assert document.config.remotes == {"a": Remote("w"), "b": Remote("y")}
    assert [(quirk.line, quirk.refused_by) for quirk in document.quirks] == [(2, BEFORE_1_3)]
    assert read("Remotes:\n  <<: {a: {URI: x}}\n  b: {}\n").quirks == ()


def test_merge_of_endpoints_whose_names_are_numbers():
    """There Go takes the merged one, which nobody would expect."""
    message = refusal("Remotes:\n  1: {URI: a}\n  <<: {1: {URI: b}}\n")
    assert message.startswith('line 3, column 8: endpoint "1" is in two of the mappings that << merges; ')


# Size

def test_chains_of_merges_take_no_exponential_time():
    chain = "Remotes:\n  a0: &a0 {URI: x}\n" + "".join(f"  a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 30))
    assert set(read(chain).config.remotes.values()) == {Remote("x")}


@pytest.mark.parametrize(("first", "more", "times"), table([
    ("a token of 150 KB", "{Token: &t " + 150_000 * "t" + "}", "{Token: *t}", 138),
    ("a list of empty keyservers", f"{{Keyservers: &k [{', '.join(['{}'] * 2000)}]}}", "{Keyservers: *k}", 95),
    ("a keyserver in many lists", "{Keyservers: [&s {URI: " + 100 * "u" + "}]}", f"{{Keyservers: [{', '.join(['*s'] * 99)}]}}", 60),
    ("a text in many places", "{URI: &u " + 1000 * "u" + "}", "{URI: *u, Token: *u, Keyservers: [{URI: *u}]}", 400),
    ("whole endpoints, as Go's yaml refuses them", f"&a {{Keyservers: [{', '.join(['{URI: a, Skip: true}'] * 100)}]}}", "*a", 200),
    ("what is merged", "&a {URI: x, Token: " + 100_000 * "t" + "}", "{<<: *a}", 20),
]))
def test_aliases_that_repeat_much_text(first, more, times):
    """Go's yaml reads these: it counts nodes, not the text in them. Here they are refused before they cost time and memory."""
    def text(size):
        return f"Remotes:\n  a: {first}\n" + "".join(f"  b{number}: {more}\n" for number in range(size))

    assert len(read(text(times // 20)).config.remotes) == times // 20 + 1
    with pytest.raises(FormatError, match=r"^remote.yaml, line [0-9]+, column [0-9]+: the aliases \(\*name\) up to here repeat more than 1024 KiB; "
                                          r"so large a file is not read\. Write the values out"):
        read(text(times))


def test_some_aliases():
    text = "Remotes:\n  a: &a {URI: a, Token: b}\n" + "".join(f"  b{number}: *a\n" for number in range(2000))
    assert len(read(text).config.remotes) == 2001


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_collector_is_left_as_it_was(enabled):
    before = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        read("Active: a\n")
        assert gc.isenabled() == enabled
        refusal("a\n")
        assert gc.isenabled() == enabled
    finally:
        (gc.enable if before else gc.disable)()


def test_many_endpoints():
    config = RemoteConfig("r1", {f"r{number}": Remote(f"h{number}.example", "t" * 300) for number in range(300)})
    assert decode(encode(config), "remote.yaml").config == config


# What the versions of the flavors read

PLAIN_DATES = [  # the first two were seen in use; all are timestamps to `allowedTimestampFormats`
    "2024-01-01", "2001-12-14t21:59:43.10-05:00", "2001-12-14T21:59:43Z", "2001-12-14 21:59:43.10", "2024-1-1",
]
NO_DATES = ["'2024-01-01'", '"2024-01-01"', "!!str 2024-01-01", "2024-01-32", "2024-01", "12:30", "2024-01-01x"]


@pytest.mark.parametrize("place", ["Active: {}\n", "Remotes: {{? {} : {{URI: a}}}}\n", "Remotes: {{a: {{URI: {}}}}}\n",
                                   "Remotes: {{a: {{Keyservers: [{{URI: {}}}]}}}}\n", "Credentials: [{{URI: a, Auth: {}}}]\n"])
@pytest.mark.parametrize("text", [*PLAIN_DATES, "!!timestamp 2024-01-01"])
def test_plain_dates_are_refused_by_yaml_v4(place, text):
    data = place.format(text).encode()
    assert [(quirk.line, quirk.refused_by) for quirk in decode(data, "x").quirks] == [(1, ("1.6",))]
    assert decode(data, "x").refused is None
    document = decode(data, "x", "singularity")
    assert document.refused == document.quirks[0] == Quirk(1, "a date or timestamp is no text without quotes", ("4.5",))


@pytest.mark.parametrize("text", NO_DATES)
def test_other_texts_are_no_dates(text):
    for flavor in ("apptainer", "singularity"):
        assert decode(f"Active: {text}\n".encode(), "x", flavor).quirks == ()


OLD_SINGULARITY = ("3.8", "3.9", "3.10", "3.11", "4.0", "4.1", "4.2", "4.3", "4.4")
ONLY_NEW = [  # what yaml v4 reads and v3 does not, the endpoint's name, the line of the quirk
    ("a raw DEL", "Active: a\nRemotes:\n  'a\x7fb': {URI: c}\n", "a\x7fb", 3),
    ("a long key", f"Active: a\nRemotes:\n  {'k' * 1030}:\n    URI: c\n", "k" * 1030, 3),
    ("a long key in a flow mapping", f"Remotes: {{{'k' * 1030}: {{URI: c}}}}\n", "k" * 1030, 1),
    ("a long key with a long value", f"Remotes:\n  {'k' * 1030}: {{URI: c}}\n  'd': {{Token: {'t' * 2000}}}\n", "k" * 1030, 2),
]


@pytest.mark.parametrize(("text", "name", "line"), table(ONLY_NEW))
def test_what_singularity_reads_beside(text, name, line):
    with pytest.raises(FormatError):
        decode(text.encode(), "x")
    document = decode(text.encode(), "x", "singularity")
    assert document.config.remotes[name].uri == "c"
    assert document.quirks == (Quirk(line, "a DEL character, or a key of more than 1,024 characters", OLD_SINGULARITY),)
    assert document.refused is None


@pytest.mark.parametrize("text", ["Active: a\x01b\n", "Remotes:\n  a\n  b: {}\n", f"{'k' * 1030}\nActive: b\n", "[a\n"])
def test_what_singularity_refuses_too(text):
    with pytest.raises(FormatError, match=r"^x, line \d, column"):
        decode(text.encode(), "x", "singularity")


def test_only_a_plain_key_of_one_line_is_one():
    """A scalar that goes on in another line is no key, however long keys may be."""
    with pytest.raises(FormatError):
        decode(f"Remotes: {{'{'k' * 1030}\n  l': {{}}, x\n y: z}}\n[\n".encode(), "x", "singularity")


def test_the_versions_of_a_flavor():
    quirks = {flavor: decode(b"Remotes:\n  a: {Insecure: true}\n  '<<': {URI: b}\n", "x", flavor).quirks for flavor in ("apptainer", "singularity")}
    assert [quirk.refused_by for quirk in quirks["apptainer"]] == [("1.0",), ("1.0", "1.1", "1.2", "1.3", "1.4")]
    assert [quirk.refused_by for quirk in quirks["singularity"]] == [("3.8",), OLD_SINGULARITY]
