# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tables hold what Go's net/url answers to these texts, or what the recorded runs show; they are not our opinion."""

from __future__ import annotations

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import RuleError
from ansible_collections.hpc.apptainer.plugins.module_utils._values.uri import (
    Url,
    hardcoded_keyserver,
    is_usable,
    keyserver_identity,
    parse,
    requested_url,
    same_keyserver,
    same_place,
    same_requested_url,
)
from hypothesis import given
from support.tables import by_text
from support.uris import TEXTS

PARSED = [
    ("", Url()),
    ("*", Url(path="*")),
    ("*#f", Url(path="*", fragment="f")),
    ("h.example", Url(path="h.example")),
    ("h.example/a/b", Url(path="h.example/a/b")),
    ("/", Url(path="/")),
    ("-", Url(path="-")),
    ("../x", Url(path="../x")),
    ("#frag", Url(fragment="frag")),
    ("?q=1", Url(query="q=1")),
    ("//h", Url(host="h")),
    ("//h:8443/y", Url(host="h:8443", path="/y")),
    ("///h", Url(path="///h")),
    ("https:///h", Url("https", path="/h")),
    ("https:////h", Url("https", path="//h")),
    ("https://", Url("https")),
    ("https://h", Url("https", host="h")),
    ("HTTPS://H", Url("https", host="H")),
    ("ftp://h", Url("ftp", host="h")),
    ("a+b-c.1://h", Url("a+b-c.1", host="h")),
    ("https:/h", Url("https", path="/h")),
    ("https:h", Url("https", opaque="h")),
    ("https:%zz", Url("https", opaque="%zz")),
    ("localhost:18080", Url("localhost", opaque="18080")),
    ("a:b:c", Url("a", opaque="b:c")),
    ("a:b?x#y", Url("a", opaque="b", query="x", fragment="y")),
    ("h.example:8443/x", Url("h.example", opaque="8443/x")),
    ("1/2:3", Url(path="1/2:3")),
    ("1h/a:b", Url(path="1h/a:b")),
    ("https://u:p@h/a?x=1#f", Url("https", userinfo="u:p", host="h", path="/a", query="x=1", fragment="f")),
    ("https://u@h", Url("https", userinfo="u", host="h")),
    ("https://u@v:p@h", Url("https", userinfo="u@v:p", host="h")),
    ("https://u:p%40q@h", Url("https", userinfo="u:p%40q", host="h")),
    ("https://@h", Url("https", host="h")),
    ("https://h?a?b", Url("https", host="h", query="a?b")),
    ("https://h?%zz", Url("https", host="h", query="%zz")),
    ("https://h?a#b?c#d", Url("https", host="h", query="a", fragment="b?c#d")),
    ("https://[::1]/", Url("https", host="[::1]", path="/")),
    ("https://[::1]:8443", Url("https", host="[::1]:8443")),
    ("https://[fe80::1%25en0]", Url("https", host="[fe80::1%en0]")),
    ("https://::1", Url("https", host="::1")),
    ("https://h:", Url("https", host="h:")),
    ("https://:80", Url("https", host=":80")),
    ("https://h%C3%A9", Url("https", host="hé")),
    ("https://h%25", Url("https", host="h%")),
    ("https://h%C2%80", Url("https", host="h\x80")),
    ("https://h\x80", Url("https", host="h\x80")),
    ("https://é.example", Url("https", host="é.example")),
    ("https://a_b.example", Url("https", host="a_b.example")),
    ("https://h/%41b", Url("https", host="h", path="/Ab")),
    ("https://h/a%2Fb", Url("https", host="h", path="/a/b")),
    ("https://h/%C3%A9", Url("https", host="h", path="/é")),
    ("https://h/a b", Url("https", host="h", path="/a b")),
    ("https://h/a+b", Url("https", host="h", path="/a+b")),
    ("  h.example ", Url(path="  h.example ")),
]

UNPARSABLE = [
    ("127.0.0.1:18080", "first path segment in URL cannot contain colon"),
    ("[::1]", "first path segment in URL cannot contain colon"),
    ("1:/2", "first path segment in URL cannot contain colon"),
    ("é:8443", "first path segment in URL cannot contain colon"),
    (" https://h", "first path segment in URL cannot contain colon"),
    (":8443", "missing protocol scheme"),
    ("://h", "missing protocol scheme"),
    ("%zz", 'invalid URL escape "%zz"'),
    ("%", 'invalid URL escape "%"'),
    ("a%4", 'invalid URL escape "%4"'),
    ("https://h/%4x/y", 'invalid URL escape "%4x"'),
    ("https://h%zz/", 'invalid URL escape "%zz"'),
    ("https://h%41/", 'invalid URL escape "%41"'),
    ("https://h%7F", 'invalid URL escape "%7F"'),
    ("https://h%2Fx", 'invalid URL escape "%2F"'),
    ("h#%zz", 'invalid URL escape "%zz"'),
    ("https://u:%zz@h", 'invalid URL escape "%zz"'),
    ("https:// h", 'invalid character " " in host name'),
    ("https://h h/", 'invalid character " " in host name'),
    ("https://{h}", 'invalid character "{" in host name'),
    ("https://h:port", 'invalid port ":port" after host'),
    ("https://:x", 'invalid port ":x" after host'),
    ("https://h:80x/", 'invalid port ":80x" after host'),
    ("https://[::1]8443", 'invalid port "8443" after host'),
    ("https://[::1", "missing ']' in host"),
    ("https://u p@h", "invalid userinfo"),
    ("https://ü@h", "invalid userinfo"),
    ("h\n", "invalid control character in URL"),
    ("h\x00", "invalid control character in URL"),
    ("https://h/\x7f", "invalid control character in URL"),
]

REQUESTED = [
    ("h.example", False, "https://h.example"),
    ("h.example", True, "http://h.example"),
    ("h.example/a/b", False, "https://h.example/a/b"),
    ("h.example:8443", False, "https:8443"),
    ("h.example:8443", True, "http:8443"),
    ("h.example:8443/x", False, "https:8443/x"),
    ("//h.example:8443", False, "https://h.example:8443"),
    ("//h.example:8443/x", True, "http://h.example:8443/x"),
    ("https://h.example:8443", False, "https://h.example:8443"),
    ("https://h.example:8443", True, "http://h.example:8443"),
    ("http://h.example", False, "https://h.example"),
    ("ftp://h.example", False, "https://h.example"),
    ("//[::1]", False, "https://[::1]"),
    ("//[::1]:8443/x", True, "http://[::1]:8443/x"),
    ("/h.example", False, "https:///h.example"),
    ("h.example?x=1", False, "https://h.example?x=1"),
    (".", False, "https://."),
]

NOT_REQUESTED = ["127.0.0.1:8080", "[::1]", "[::1]:8443", ":8443", "%zz"]

USABLE = [
    ("h.example", True),
    ("h.example/a", True),
    ("//h.example:8443", True),
    ("https://h.example:8443", True),
    ("//[::1]", True),
    ("", False),
    (".", False),
    ("/h.example", False),
    ("//:8443", False),
    ("h.example:8443", False),
    ("127.0.0.1:8443", False),
    ("%zz", False),
]

SAME_REQUESTED_URL = [
    (("h.example", False), ("h.example", False), True),
    (("h.example", False), ("h.example", True), False),
    (("h.example", False), ("other.example", False), False),
    (("h.example", False), ("H.example", False), False),
    (("h.example", False), ("h.example/a", False), False),
    (("//h.example", False), ("h.example", False), True),
    (("https://h.example:8443", False), ("//h.example:8443", False), True),
    (("http://h.example", True), ("h.example", True), True),
    (("h.example:8443", False), ("//h.example:8443", False), False),
    (("127.0.0.1:8443", False), ("//127.0.0.1:8443", False), False),
    (("127.0.0.1:8443", False), ("127.0.0.1:8443", False), True),
    (("127.0.0.1:8443", False), ("127.0.0.1:8443", True), False),
    (("h.example?x=1", False), ("h.example", False), False),
    # Go keeps these parts and appends /assets/config/config.prod.json to the whole
    (("h.example#f", False), ("h.example", False), False),
    (("h.example?", False), ("h.example", False), False),
    (("//u:p@h.example", False), ("h.example", False), False),
]

KEYSERVER_IDENTITY = [
    ("https://keys.example.org", ("https", "keys.example.org")),
    ("https://keys.example.org/", ("https", "keys.example.org")),
    ("https://keys.example.org/pks?x#y", ("https", "keys.example.org")),
    ("HTTPS://keys.example.org", ("https", "keys.example.org")),
    ("https://Keys.example.org", ("https", "Keys.example.org")),
    ("https://keys.example.org:443", ("https", "keys.example.org:443")),
    ("https://u:p@keys.example.org", ("https", "keys.example.org")),
    ("http://keys.example.org", ("http", "keys.example.org")),
    ("hkp://keys.example.org", ("http", "keys.example.org:11371")),
    ("hkp://keys.example.org:80", ("http", "keys.example.org:80")),
    ("hkp://[::1]", ("http", "[::1]:11371")),
    ("hkp://[::1]:80", ("http", "[::1]:80")),
    ("hkps://keys.example.org", ("https", "keys.example.org")),
    ("hkps://keys.example.org:8443", ("https", "keys.example.org:8443")),
    ("ftp://keys.example.org", None),
    ("keys.example.org", None),
    ("//keys.example.org", None),
    ("keys.example.org:11371", None),
    ("https://keys.example.org:port", None),
    ("", None),
]

SAME_KEYSERVER = [
    ("https://keys.example.org", "https://keys.example.org/pks", True),
    ("https://keys.example.org", "hkps://keys.example.org", True),
    ("http://keys.example.org:11371", "hkp://keys.example.org", True),
    ("http://keys.example.org", "hkp://keys.example.org", False),
    ("http://keys.example.org", "https://keys.example.org", False),
    ("https://keys.example.org", "https://keys.example.org:443", False),
    ("https://keys.example.org", "https://KEYS.example.org", False),
    ("ftp://keys.example.org", "ftp://keys.example.org", False),
    ("keys.example.org", "keys.example.org", False),
]


@pytest.mark.parametrize(("text", "url"), by_text(PARSED))
def test_parse(text, url):
    assert parse(text) == url


@pytest.mark.parametrize(("text", "reason"), by_text(UNPARSABLE))
def test_parse_refuses_with_the_reason_of_go(text, reason):
    with pytest.raises(RuleError) as caught:
        parse(text)
    assert str(caught.value) == reason


def test_parse_refuses_a_path_that_yaml_cannot_hold():
    with pytest.raises(RuleError, match=r"the escape %41%ff is not UTF-8"):
        parse("https://h/%41%ff/x")


@pytest.mark.parametrize(("stored", "insecure", "url"), by_text(REQUESTED))
def test_requested_url(stored, insecure, url):
    assert requested_url(stored, insecure) == url


@pytest.mark.parametrize("stored", NOT_REQUESTED)
def test_requested_url_refuses_what_apptainer_fails_to_parse(stored):
    with pytest.raises(RuleError):
        requested_url(stored, False)


@pytest.mark.parametrize("insecure", [False, True])
@pytest.mark.parametrize(("stored", "usable"), by_text(USABLE))
def test_is_usable(stored, usable, insecure):
    assert is_usable(stored, insecure) is usable


@pytest.mark.parametrize(("one", "other", "same"), SAME_REQUESTED_URL, ids=str)
def test_same_requested_url(one, other, same):
    assert same_requested_url(*one, *other) is same
    assert same_requested_url(*other, *one) is same


@pytest.mark.parametrize(("uri", "identity"), by_text(KEYSERVER_IDENTITY))
def test_keyserver_identity(uri, identity):
    assert keyserver_identity(uri) == identity


@pytest.mark.parametrize(("one", "other", "same"), by_text(SAME_KEYSERVER))
def test_same_keyserver(one, other, same):
    for first, second in ((one, other), (other, one)):
        assert same_keyserver(first, second) is same


# for all texts

@given(TEXTS)
def test_every_text_is_read_or_refused(text):
    for read in (parse, lambda stored: requested_url(stored, False)):
        try:
            read(text)
        except RuleError as error:
            assert str(error)
    keyserver_identity(text)
    assert same_requested_url(text, False, text, False)
    assert not same_requested_url(text, False, text, True)


@pytest.mark.parametrize(("one", "other", "same"), [
    ("h.example:8443", "//h.example:8443", True),
    ("https://H.example/x/", "h.example/x", True),
    ("h.example", "h.example/x", False),
    ("%zz", "%zz", True),
    ("%zz", "h.example", False),
])  # fmt: skip
def test_same_place(one, other, same):
    assert same_place(one, False, other, False) is same
    assert not same_place(one, False, other, True)


@pytest.mark.parametrize("stored", ["h.example?x=1", "h.example#f", "?x"])
def test_a_query_or_fragment_is_not_usable(stored):
    assert not is_usable(stored, False)


@pytest.mark.parametrize(("uri", "flavor", "keyserver"), [
    ("cloud.apptainer.org", "apptainer", "https://keys.openpgp.org"), ("cloud.apptainer.org", "singularity", ""), ("lib.example", "apptainer", "")])
def test_keyservers_that_nobody_is_asked_for(uri, flavor, keyserver):
    assert hardcoded_keyserver(uri, flavor) == keyserver
