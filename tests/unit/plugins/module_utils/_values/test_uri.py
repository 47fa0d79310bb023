# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tables "as Apptainer" hold what Go's net/url answers to these texts, or what the recorded runs show; they are not our opinion."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import RuleError
from ansible_collections.hpc.apptainer.plugins.module_utils._redaction import without_login
from ansible_collections.hpc.apptainer.plugins.module_utils._values.uri import (
    Endpoint,
    Url,
    check_keyserver,
    endpoint,
    is_usable,
    keyserver_identity,
    parse,
    requested_url,
    same_endpoint,
    same_keyserver,
    same_place,
)
from hypothesis import assume, example, given
from hypothesis import strategies as st
from support.apptainer_commands import added_insecure, added_uri

# as Apptainer

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

ADDED = [  # the command line's own tests and remote_ops.json
    ("cloud.apptainer.org", "cloud.apptainer.org"),
    ("https://cloud.apptainer.org/", "cloud.apptainer.org"),
    ("  h.example ", "  h.example "),
    ("h.example#f", "h.example"),
    ("h.example?q", "h.example"),
    ("h.example/", "h.example"),
    ("h.example/sub/path", "h.example/sub/path"),
    ("//h.example", "h.example"),
    ("//h.example:8443/y", "h.example:8443/y"),
    ("HTTPS://H.EXAMPLE", "H.EXAMPLE"),
    ("Http://h.example", "h.example"),
    ("ftp://h.example", "h.example"),
    ("https://h.example/%41b", "h.example/Ab"),
    ("https://h.example/..", "."),
    ("https://h.example//a//b/../c/", "h.example/a/c"),
    ("https://h.example/a b", "h.example/a b"),
    ("https://h.example/a%2Fb", "h.example/a/b"),
    ("https://h.example/é", "h.example/é"),
    ("https://h.example:8443", "h.example:8443"),
    ("https://h.example:8443/x/", "h.example:8443/x"),
    ("https://u:p@h.example/a?x=1#f", "h.example/a"),
    ("https://é.example", "é.example"),
    ("https://[::1]/", "[::1]"),
    ("https:/h.example", "/h.example"),
    ("https:////h.example", "/h.example"),
    ("https:h.example", ""),
    ("h.example:8443", ""),
    ("localhost:18080", ""),
    ("a:b:c", ""),
    ("https://", ""),
    ("#frag", ""),
    ("?q=1", ""),
    ("/", "/"),
    ("-", "-"),
    ("..", ".."),
    ("../x", "../x"),
]

ADDED_INSECURE = [  # the prefixes are compared with case
    ("h.example", False, False),
    ("h.example", True, True),
    ("https://h.example", False, False),
    ("https://h.example", True, False),
    ("HTTPS://h.example", True, True),
    ("http://h.example", True, True),
    ("Http://h.example", False, False),
    ("Http://h.example", True, True),
    ("https:/h.example", True, True),
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

SAME_ENDPOINT = [
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


@pytest.mark.parametrize(("text", "url"), PARSED)
def test_parse(text, url):
    assert parse(text) == url


@pytest.mark.parametrize(("text", "reason"), UNPARSABLE)
def test_parse_refuses_with_the_reason_of_go(text, reason):
    with pytest.raises(RuleError) as caught:
        parse(text)
    assert str(caught.value) == reason


def test_parse_refuses_a_path_that_yaml_cannot_hold():
    with pytest.raises(RuleError, match=r"the escape %41%ff is not UTF-8"):
        parse("https://h/%41%ff/x")


@pytest.mark.parametrize(("uri", "stored"), ADDED)
def test_added_uri(uri, stored):
    assert added_uri(uri) == stored


@pytest.mark.parametrize(("uri", "flag", "stored"), ADDED_INSECURE)
def test_added_insecure(uri, flag, stored):
    assert added_insecure(uri, flag) is stored


@pytest.mark.parametrize("uri", ["http://", "http://h.example/"])
def test_adding_an_http_uri_needs_the_flag(uri):
    with pytest.raises(RuleError, match=r"http URI requires --insecure or APPTAINER_ADD_INSECURE=true"):
        added_insecure(uri, False)


@pytest.mark.parametrize(("stored", "insecure", "url"), REQUESTED)
def test_requested_url(stored, insecure, url):
    assert requested_url(stored, insecure) == url


@pytest.mark.parametrize("stored", NOT_REQUESTED)
def test_requested_url_refuses_what_apptainer_fails_to_parse(stored):
    with pytest.raises(RuleError):
        requested_url(stored, False)


@pytest.mark.parametrize("insecure", [False, True])
@pytest.mark.parametrize(("stored", "usable"), USABLE)
def test_is_usable(stored, usable, insecure):
    assert is_usable(stored, insecure) is usable


@pytest.mark.parametrize(("one", "other", "same"), SAME_ENDPOINT, ids=str)
def test_same_endpoint(one, other, same):
    assert same_endpoint(*one, *other) is same
    assert same_endpoint(*other, *one) is same


@pytest.mark.parametrize(("uri", "identity"), KEYSERVER_IDENTITY)
def test_keyserver_identity(uri, identity):
    assert keyserver_identity(uri) == identity


@pytest.mark.parametrize(("one", "other", "same"), SAME_KEYSERVER)
def test_same_keyserver(one, other, same):
    assert same_keyserver(one, other) is same
    assert same_keyserver(other, one) is same


# safe

DROPPED = "Apptainer has no place for the %s in uri, so it is not stored"

DECLARED = [
    # the scheme and `insecure` together
    ("h.example", None, Endpoint("h.example", None)),
    ("h.example", False, Endpoint("h.example", False)),
    ("h.example", True, Endpoint("h.example", True)),
    ("//h.example", None, Endpoint("h.example", None)),
    ("https://h.example", None, Endpoint("h.example", False)),
    ("https://h.example", False, Endpoint("h.example", False)),
    ("HTTPS://h.example", None, Endpoint("h.example", False)),
    ("http://h.example", True, Endpoint("h.example", True)),
    ("Http://h.example", True, Endpoint("h.example", True)),
    # what remote add would store, where that works
    ("  h.example\n", None, Endpoint("h.example", None)),
    ("H.example", None, Endpoint("H.example", None)),
    ("h.example/", None, Endpoint("h.example", None)),
    ("h.example/sub/path/", None, Endpoint("h.example/sub/path", None)),
    ("https://h.example//a//b/../c/", None, Endpoint("h.example/a/c", False)),
    ("https://h.example/%41b", None, Endpoint("h.example/Ab", False)),
    ("https://h.example/a%2Fb", None, Endpoint("h.example/a/b", False)),
    ("https://h.example/é", None, Endpoint("h.example/é", False)),
    ("https://é.example", None, Endpoint("é.example", False)),
    ("https://1.2.3.4", None, Endpoint("1.2.3.4", False)),
    ("localhost", None, Endpoint("localhost", None)),
    # .. does not eat the host
    ("https://h.example/..", None, Endpoint("h.example", False)),
    ("https://h.example/../../a", None, Endpoint("h.example/a", False)),
    # // where only that works
    ("h.example:8443", None, Endpoint("//h.example:8443", None)),
    ("localhost:18080", True, Endpoint("//localhost:18080", True)),
    ("127.0.0.1:18080", None, Endpoint("//127.0.0.1:18080", None)),
    ("//h.example:8443/y", None, Endpoint("//h.example:8443/y", None)),
    ("https://h.example:8443/x/", None, Endpoint("//h.example:8443/x", False)),
    ("[::1]", None, Endpoint("//[::1]", None)),
    ("https://[2001:db8::1]/x", None, Endpoint("//[2001:db8::1]/x", False)),
    ("http://[2001:db8::1]:8080", True, Endpoint("//[2001:db8::1]:8080", True)),
    # parts without a place are dropped, and said
    ("https://u:p@h.example/a?x=1#f", None, Endpoint("h.example/a", False, (
        DROPPED % "user name and password", DROPPED % "query", DROPPED % "fragment"))),
    ("u:p@h.example", None, Endpoint("h.example", None, (DROPPED % "user name and password",))),
    ("h.example?x", None, Endpoint("h.example", None, (DROPPED % "query",))),
    ("h.example#f", None, Endpoint("h.example", None, (DROPPED % "fragment",))),
    ("h.example?#", None, Endpoint("h.example", None)),
]

NO_HOST = "uri names no host; write it like https://library.example.org"
NO_SLASHES = "uri has a scheme without //; write it like https://library.example.org"
PLAIN_PATH = "uri has a path that Apptainer would read differently when it uses it; use one of plain characters without escapes"

UNUSABLE = [
    ("", None, NO_HOST),
    (" \t", None, NO_HOST),
    ("https://", None, NO_HOST),
    ("https:///path", None, NO_HOST),
    ("/path", None, NO_HOST),
    ("#frag", None, NO_HOST),
    ("?q=1", None, NO_HOST),
    ("..", None, NO_HOST),
    ("../x", None, NO_HOST),
    ("-", None, NO_HOST),
    ("_", None, NO_HOST),
    ("[]", None, NO_HOST),
    ("https://u:p@", None, NO_HOST),
    ("https://:8443", None, NO_HOST),
    ("https:h.example", None, NO_SLASHES),
    ("https:/h.example", None, NO_SLASHES),
    ("HTTP:h.example", True, NO_SLASHES),
    ("ftp://h.example", None, "uri has the scheme ftp; an endpoint is reached by https (or http, with insecure: true)"),
    ("docker://h.example", None, "uri has the scheme docker; an endpoint is reached by https (or http, with insecure: true)"),
    ("https://h.example", True, "uri says https, insecure: true says http; drop one of the two"),
    ("http://h.example", None, "uri says http, which needs insecure: true; better use https"),
    ("http://h.example", False, "uri says http, which needs insecure: true; better use https"),
    ("%zz", None, 'uri cannot be read: invalid URL escape "%zz"; write it like https://library.example.org'),
    ("https://h.example:port", None, 'uri cannot be read: invalid port ":port" after host; write it like https://library.example.org'),
    ("https://[::1", None, "uri cannot be read: missing ']' in host; write it like https://library.example.org"),
    ("h.example h", None, 'uri cannot be read: invalid character " " in host name; write it like https://library.example.org'),
    ("https://h.example/%ff", None, "uri cannot be read: the escape %ff is not UTF-8; write it like https://library.example.org"),
    ("https://h.example/a b", None, PLAIN_PATH),
    ("https://h.example/a%20b", None, PLAIN_PATH),
    ("https://h.example/a%3Fb", None, PLAIN_PATH),
    ("https://h.example/a%23b", None, PLAIN_PATH),
    ("https://h.example/a%2541", None, PLAIN_PATH),
    ("https://h.example/a%01b", None, PLAIN_PATH),
    ("https://h.example/a\u00a0b", None, PLAIN_PATH),
]

AMBIGUOUS_IPV6 = ["2001:db8::1", "https://2001:db8::1", "::1", "https://h.example:80:90"]  # Go dials the text before the last colon

PASSWORDS = [  # "hun" and "ter2" are the two halves of it
    "https://user:hunter2@h.example/a?x#y",
    "https://user:hunter2@",
    "https://user:hunter2@h.example:port",
    "https://user:hunter2@h.example/a b",
    "https://user:hun/ter2@h.example",
    "https://user:hun?ter2@h.example",
    "https://user:hun#ter2@h.example",
    "https://user:hun ter2@h.example",
    "https://user:hun%zzter2@h.example",
    "https://user:hun@ter2@h.example",
    "https://user:hun[ter2@h.example",
    "https://[user:hun]ter2@h.example",
    "https:user:hunter2@h.example",
    "ftp://user:hunter2@h.example",
    "http://user:hunter2@h.example",
    "user:hunter2@h.example",
    "user:hun/ter2@h.example",
    "user:hun//ter2@h.example",
    "user:hun\x01ter2@h.example",
]

WITHOUT_LOGIN = [
    ("", ""),
    ("h.example/a?b#c", "h.example/a?b#c"),
    ("https://h.example:8443", "https://h.example:8443"),
    ("https://u:p@h.example/a", "https://***@h.example/a"),
    ("//u@h.example", "//***@h.example"),
    ("u:p@h.example", "***@h.example"),
    ("docker://u:p@h.example", "docker://***@h.example"),
    ("https:u:p@h.example", "***@h.example"),
    ("https://u:p/q@r@h.example", "https://***@h.example"),
    ("https://@h.example", "https://***@h.example"),
]

KEYSERVERS = [
    "https://keys.example.org",
    "https://keys.example.org:8443/pks/",
    "HTTPS://keys.example.org",
    "http://keys.example.org",
    "hkp://keys.example.org",
    "hkps://[::1]:8443",
]

USELESS_KEYSERVER = "keyserver uri must be like https://keys.example.org (schemes: http, https, hkp, hkps); Apptainer can use no other"
UNREADABLE_KEYSERVER = "keyserver uri cannot be read; write it like https://keys.example.org"

UNUSABLE_KEYSERVERS = [
    ("", USELESS_KEYSERVER),
    ("keys.example.org", USELESS_KEYSERVER),
    ("//keys.example.org", USELESS_KEYSERVER),
    ("ftp://keys.example.org", USELESS_KEYSERVER),
    ("keys.example.org:11371", USELESS_KEYSERVER),
    ("https:keys.example.org", USELESS_KEYSERVER),
    ("https:/keys.example.org", USELESS_KEYSERVER),
    ("https://", USELESS_KEYSERVER),
    ("https:///path", USELESS_KEYSERVER),
    ("https://:443", USELESS_KEYSERVER),
    ("127.0.0.1:11371", UNREADABLE_KEYSERVER),
    ("https://keys.example.org:port", UNREADABLE_KEYSERVER),
    ("https://user:hun/ter2@keys.example.org", UNREADABLE_KEYSERVER),
    ("https://user:hunter2@keys.example.org", "keyserver uri holds a user name or password, and the global file is readable by everyone"),
]


@pytest.mark.parametrize(("uri", "insecure", "place"), DECLARED)
def test_endpoint(uri, insecure, place):
    assert endpoint(uri, insecure) == place


@pytest.mark.parametrize(("uri", "insecure", "message"), UNUSABLE)
def test_endpoint_refuses(uri, insecure, message):
    with pytest.raises(RuleError) as caught:
        endpoint(uri, insecure)
    assert str(caught.value) == message


@pytest.mark.parametrize("uri", AMBIGUOUS_IPV6)
def test_endpoint_refuses_a_host_with_colons_outside_of_brackets(uri):
    with pytest.raises(RuleError):
        endpoint(uri)


@pytest.mark.parametrize("uri", PASSWORDS)
def test_endpoint_never_says_or_stores_a_part_of_a_password(uri):
    try:
        said = repr(endpoint(uri))
    except RuleError as error:
        said = str(error)
    for part in ("hun", "ter2", "user:"):
        assert part not in said


@pytest.mark.parametrize(("uri", "shown"), WITHOUT_LOGIN)
def test_without_login(uri, shown):
    assert without_login(uri, "***") == shown


@pytest.mark.parametrize("uri", PASSWORDS)
def test_without_login_leaves_no_part_of_a_password(uri):
    for part in ("hun", "ter2", "user:"):
        assert part not in without_login(uri, "***")


@pytest.mark.parametrize("uri", KEYSERVERS)
def test_check_keyserver(uri):
    assert check_keyserver(uri) == uri


@pytest.mark.parametrize(("uri", "message"), UNUSABLE_KEYSERVERS)
def test_check_keyserver_refuses(uri, message):
    with pytest.raises(RuleError) as caught:
        check_keyserver(uri)
    assert str(caught.value) == message


# for all texts

PIECES = [
    "https://", "http://", "ftp://", "https:", "//", "/", ":", "@", "?", "#", "[", "]", "[::1]", "::", ":8443", ":x", "..", ".", "a", "Z9",
    "h.example", "_", "-", "*", "%41", "%2F", "%25", "%3f", "%zz", "%", "%C3%A9", "%ff", "é", " ", "\t", "\x01", "\u2028", "\\", '"', "<", "{",
]  # fmt: skip
TEXTS = st.one_of(st.lists(st.sampled_from(PIECES), max_size=8).map("".join), st.text(max_size=12))
PREFIXES = st.sampled_from(["", "", "//", "https://", "http://", "https://u:p@", " HTTPS://"])
HOSTS = st.sampled_from(["h.example", "h.example:8443", "127.0.0.1:80", "[::1]", "[::1]:8443", "é.example", "%C3%A9", "h_1", "1"])
TAILS = st.one_of(TEXTS, st.tuples(st.sampled_from("/?#"), TEXTS).map("".join))
ENDPOINTS = st.one_of(TEXTS, st.tuples(PREFIXES, HOSTS, TAILS).map("".join))
KEYSERVER_URIS = st.tuples(st.sampled_from(["https://", "http://", "hkp://", "HKPS://"]), HOSTS, TAILS).map("".join)
INSECURE = st.sampled_from([None, False, True])


def host_in(uri):
    rest = re.sub(r"\A([A-Za-z][A-Za-z0-9+.-]*:)?//", "", uri.strip())
    return unquote(re.split(r"[/?#]", rest)[0].rpartition("@")[2])


def accepted(uri, insecure):
    try:
        return endpoint(uri, insecure)
    except RuleError:
        assume(False)


@given(TEXTS)
def test_every_text_is_read_or_refused(text):
    for read in (parse, added_uri, check_keyserver, lambda stored: requested_url(stored, False)):
        try:
            read(text)
        except RuleError as error:
            assert str(error)
    keyserver_identity(text)
    assert same_endpoint(text, False, text, False)
    assert not same_endpoint(text, False, text, True)


@given(ENDPOINTS, INSECURE)
@example("https://h.example/../..", None)
@example("h.example:8443/a/../b", True)
def test_apptainer_reaches_the_host_of_every_accepted_endpoint(uri, insecure):
    place = accepted(uri, insecure)
    scheme = "http" if place.insecure else "https"
    url = requested_url(place.uri, bool(place.insecure))
    assert re.match(re.escape(f"{scheme}://{host_in(uri)}") + r"(/|\Z)", url)


@given(ENDPOINTS, INSECURE)
@example("https://h.example:8443/a/../b", None)
def test_an_accepted_endpoint_is_stored_as_one_that_would_be_declared_so(uri, insecure):
    place = accepted(uri, insecure)
    assert endpoint(place.uri, place.insecure) == Endpoint(place.uri, place.insecure)


@given(TEXTS, TEXTS, TEXTS, INSECURE)
def test_no_message_about_an_endpoint_holds_a_part_of_its_userinfo(before, after, rest, insecure):
    try:
        said = endpoint(f"https://u:{before}hunter2{after}@{rest}", insecure).warnings
    except RuleError as error:
        said = (str(error),)
    assert "hunter2" not in " ".join(said)


@given(KEYSERVER_URIS)
def test_an_accepted_keyserver_can_be_told_apart_and_removed(uri):
    try:
        stored = check_keyserver(uri)
    except RuleError:
        assume(False)
    assert same_keyserver(stored, stored)


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


@pytest.mark.parametrize(("uri", "words"), [
    ("https://h.example:99999", "the port 99999"),
    ("h.example:0", "the port 0"),
    ("https://user:12/hunter2@h", "an @ behind the host"),
    ("https://h/?q=a@b", "an @ behind the host"),
    ("user:12#hunter2@h", "an @ behind the host"),
])  # fmt: skip
def test_endpoint_refuses_what_cannot_be_meant(uri, words):
    with pytest.raises(RuleError, match=words) as caught:
        endpoint(uri)
    assert "hunter2" not in str(caught.value)


def test_check_keyserver_refuses_an_address_without_brackets():
    with pytest.raises(RuleError, match="without brackets"):
        check_keyserver("https://2001:db8::1")


@pytest.mark.parametrize("stored", ["h.example?x=1", "h.example#f", "?x"])
def test_a_query_or_fragment_is_not_usable(stored):
    assert not is_usable(stored, False)
