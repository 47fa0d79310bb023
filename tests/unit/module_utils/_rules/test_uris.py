# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Declared URIs: the accepted ones as they are stored, and the refused ones with the reason."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import RuleError
from ansible_collections.hpc.apptainer.plugins.module_utils._rules.uris import EndpointUri, checked_endpoint_uri, checked_keyserver_uri
from ansible_collections.hpc.apptainer.plugins.module_utils._values.uri import requested_url, same_keyserver
from hypothesis import assume, example, given
from hypothesis import strategies as st
from support.tables import by_text
from support.uris import PASSWORDS, TEXTS

DROPPED = "uri has a %s, which Apptainer does not store; remove it from uri"

DECLARED = [
    # the scheme and `insecure` together
    ("h.example", None, EndpointUri("h.example", None)),
    ("h.example", False, EndpointUri("h.example", False)),
    ("h.example", True, EndpointUri("h.example", True)),
    ("//h.example", None, EndpointUri("h.example", None)),
    ("https://h.example", None, EndpointUri("h.example", False)),
    ("https://h.example", False, EndpointUri("h.example", False)),
    ("HTTPS://h.example", None, EndpointUri("h.example", False)),
    ("http://h.example", True, EndpointUri("h.example", True)),
    ("Http://h.example", True, EndpointUri("h.example", True)),
    # what remote add would store, where that works
    ("  h.example\n", None, EndpointUri("h.example", None)),
    ("H.example", None, EndpointUri("H.example", None)),
    ("h.example/", None, EndpointUri("h.example", None)),
    ("h.example/sub/path/", None, EndpointUri("h.example/sub/path", None)),
    ("https://h.example//a//b/../c/", None, EndpointUri("h.example/a/c", False)),
    ("https://h.example/%41b", None, EndpointUri("h.example/Ab", False)),
    ("https://h.example/a%2Fb", None, EndpointUri("h.example/a/b", False)),
    ("https://h.example/é", None, EndpointUri("h.example/é", False)),
    ("https://é.example", None, EndpointUri("é.example", False)),
    ("https://1.2.3.4", None, EndpointUri("1.2.3.4", False)),
    ("localhost", None, EndpointUri("localhost", None)),
    # .. does not eat the host
    ("https://h.example/..", None, EndpointUri("h.example", False)),
    ("https://h.example/../../a", None, EndpointUri("h.example/a", False)),
    # // where only that works
    ("h.example:8443", None, EndpointUri("//h.example:8443", None)),
    ("localhost:18080", True, EndpointUri("//localhost:18080", True)),
    ("127.0.0.1:18080", None, EndpointUri("//127.0.0.1:18080", None)),
    ("//h.example:8443/y", None, EndpointUri("//h.example:8443/y", None)),
    ("https://h.example:8443/x/", None, EndpointUri("//h.example:8443/x", False)),
    ("[::1]", None, EndpointUri("//[::1]", None)),
    ("https://[2001:db8::1]/x", None, EndpointUri("//[2001:db8::1]/x", False)),
    ("http://[2001:db8::1]:8080", True, EndpointUri("//[2001:db8::1]:8080", True)),
    # parts without a declared are dropped, and said
    ("https://u:p@h.example/a?x=1#f", None, EndpointUri("h.example/a", False, (
        DROPPED % "user name or password", DROPPED % "query", DROPPED % "fragment"))),
    ("u:p@h.example", None, EndpointUri("h.example", None, (DROPPED % "user name or password",))),
    ("h.example?x", None, EndpointUri("h.example", None, (DROPPED % "query",))),
    ("h.example#f", None, EndpointUri("h.example", None, (DROPPED % "fragment",))),
    ("h.example?#", None, EndpointUri("h.example", None)),
]

NO_HOST = "uri has no host name; write it like https://library.example.org"
NO_SLASHES = "uri has a scheme without //; write it like https://library.example.org"
PLAIN_PATH = "uri has a path that Apptainer would change when it reads it back; use a path of plain characters without escapes"

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
    ("ftp://h.example", None, "uri has the scheme ftp, but an endpoint needs https, or http with insecure: true; change the scheme"),
    ("docker://h.example", None, "uri has the scheme docker, but an endpoint needs https, or http with insecure: true; change the scheme"),
    ("https://h.example", True, "uri says https, but insecure: true means http; remove one of the two"),
    ("http://h.example", None, "uri says http, which is not secure; use https, or set insecure: true"),
    ("http://h.example", False, "uri says http, which is not secure; use https, or set insecure: true"),
    ("%zz", None, 'uri cannot be parsed: invalid URL escape "%zz"; write it like https://library.example.org'),
    ("https://h.example:port", None, 'uri cannot be parsed: invalid port ":port" after host; write it like https://library.example.org'),
    ("https://[::1", None, "uri cannot be parsed: missing ']' in host; write it like https://library.example.org"),
    ("h.example h", None, 'uri cannot be parsed: invalid character " " in host name; write it like https://library.example.org'),
    ("https://h.example/%ff", None, "uri cannot be parsed: the escape %ff is not UTF-8; write it like https://library.example.org"),
    ("https://h.example/a b", None, PLAIN_PATH),
    ("https://h.example/a%20b", None, PLAIN_PATH),
    ("https://h.example/a%3Fb", None, PLAIN_PATH),
    ("https://h.example/a%23b", None, PLAIN_PATH),
    ("https://h.example/a%2541", None, PLAIN_PATH),
    ("https://h.example/a%01b", None, PLAIN_PATH),
    ("https://h.example/a\u00a0b", None, PLAIN_PATH),
]

AMBIGUOUS_IPV6 = ["2001:db8::1", "https://2001:db8::1", "::1", "https://h.example:80:90"]  # Go dials the text before the last colon

KEYSERVERS = [
    "https://keys.example.org",
    "https://keys.example.org:8443/pks/",
    "HTTPS://keys.example.org",
    "http://keys.example.org",
    "hkp://keys.example.org",
    "hkps://[::1]:8443",
]

USELESS_KEYSERVER = (
    "keyserver uri has no host, or a scheme that Apptainer cannot use (it can use http, https, hkp, hkps); write it like https://keys.example.org")
UNREADABLE_KEYSERVER = "keyserver uri cannot be parsed; write it like https://keys.example.org"

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
    ("https://user:hunter2@keys.example.org",
     "keyserver uri has a user name or password, but everyone can read the global file; remove it from the uri"),
]


@pytest.mark.parametrize(("uri", "insecure", "declared"), by_text(DECLARED))
def test_checked_endpoint_uri(uri, insecure, declared):
    assert checked_endpoint_uri(uri, insecure) == declared


@pytest.mark.parametrize(("uri", "insecure", "message"), by_text(UNUSABLE))
def test_checked_endpoint_uri_refuses(uri, insecure, message):
    with pytest.raises(RuleError) as caught:
        checked_endpoint_uri(uri, insecure)
    assert str(caught.value) == message


@pytest.mark.parametrize("uri", AMBIGUOUS_IPV6)
def test_checked_endpoint_uri_refuses_a_host_with_colons_outside_of_brackets(uri):
    with pytest.raises(RuleError):
        checked_endpoint_uri(uri)


@pytest.mark.parametrize("uri", PASSWORDS)
def test_checked_endpoint_uri_never_shows_or_stores_a_part_of_a_password(uri):
    try:
        said = repr(checked_endpoint_uri(uri))
    except RuleError as error:
        said = str(error)
    for part in ("hun", "ter2", "user:"):
        assert part not in said


@pytest.mark.parametrize("uri", KEYSERVERS)
def test_checked_keyserver_uri(uri):
    assert checked_keyserver_uri(uri) == uri


@pytest.mark.parametrize(("uri", "message"), by_text(UNUSABLE_KEYSERVERS))
def test_checked_keyserver_uri_refuses(uri, message):
    with pytest.raises(RuleError) as caught:
        checked_keyserver_uri(uri)
    assert str(caught.value) == message


@pytest.mark.parametrize(("uri", "words"), [
    ("https://h.example:99999", "the port 99999, which is out of range"),
    ("h.example:0", "the port 0, which is out of range"),
    ("h.example:" + "1" * 5000, "the port 11111111111111111111..., which is out of range"),
    ("h.example:" + "0" * 5000, "the port 00000000000000000000..., which is out of range"),
    ("https://user:12/hunter2@h", "an @ after the host; remove any user name and password from it"),
    ("https://h/?q=a@b", "an @ after the host; remove any user name and password from it"),
    ("user:12#hunter2@h", "an @ after the host; remove any user name and password from it"),
])  # fmt: skip
def test_checked_endpoint_uri_refuses_what_nobody_means(uri, words):
    with pytest.raises(RuleError, match=words) as caught:
        checked_endpoint_uri(uri)
    assert "hunter2" not in str(caught.value)


def test_checked_keyserver_uri_refuses_an_address_without_brackets():
    with pytest.raises(RuleError, match="without brackets"):
        checked_keyserver_uri("https://2001:db8::1")


# for all texts

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
        return checked_endpoint_uri(uri, insecure)
    except RuleError:
        assume(False)


@given(TEXTS)
def test_every_keyserver_is_accepted_or_refused(text):
    try:
        assert checked_keyserver_uri(text) == text.strip()
    except RuleError as error:
        assert str(error)


@given(ENDPOINTS, INSECURE)
@example("https://h.example/../..", None)
@example("h.example:8443/a/../b", True)
def test_apptainer_reaches_the_host_of_every_accepted_endpoint(uri, insecure):
    declared = accepted(uri, insecure)
    scheme = "http" if declared.insecure else "https"
    url = requested_url(declared.uri, bool(declared.insecure))
    assert re.match(re.escape(f"{scheme}://{host_in(uri)}") + r"(/|\Z)", url)


@given(ENDPOINTS, INSECURE)
@example("https://h.example:8443/a/../b", None)
def test_an_accepted_endpoint_is_stored_as_one_that_would_be_declared_so(uri, insecure):
    declared = accepted(uri, insecure)
    assert checked_endpoint_uri(declared.uri, declared.insecure) == EndpointUri(declared.uri, declared.insecure)


@given(TEXTS, TEXTS, TEXTS, INSECURE)
def test_no_message_about_an_endpoint_holds_a_part_of_its_userinfo(before, after, rest, insecure):
    try:
        said = checked_endpoint_uri(f"https://u:{before}hunter2{after}@{rest}", insecure).warnings
    except RuleError as error:
        said = (str(error),)
    assert "hunter2" not in " ".join(said)


@given(KEYSERVER_URIS)
def test_an_accepted_keyserver_can_be_told_apart_and_removed(uri):
    try:
        stored = checked_keyserver_uri(uri)
    except RuleError:
        assume(False)
    assert same_keyserver(stored, stored)
