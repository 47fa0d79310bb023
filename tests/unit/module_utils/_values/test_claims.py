# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._values.claims import (
    EndpointKeyserver,
    EndpointServices,
    EndpointToken,
    KeyserverLogin,
    RegistryLogin,
    basic,
    claim_name,
    fits_header,
    username_of,
)
from support.tables import table


@pytest.mark.parametrize(("claim", "name", "text"), table([
    ("a token, for a name with a line break", EndpointToken("si\nte", "h", True, "hunter2"), 'endpoint "si\\nte"',
     "EndpointToken(name='si\\nte', uri='h', insecure=True, token='(hidden)')"),
    ("a keyserver login", KeyserverLogin("https://k", "hunter2"), "keyserver https://k",
     "KeyserverLogin(uri='https://k', auth='(hidden)', insecure=False)"),
    ("a registry login", RegistryLogin("r:5000", "u", "hunter2"), "registry r:5000",
     "RegistryLogin(host='r:5000', username='u', password='(hidden)', insecure=False)"),
    ("services", EndpointServices("a", "h", False, ("library",)), 'services of endpoint "a"',
     "EndpointServices(name='a', uri='h', insecure=False, services=('library',), flavor='apptainer')"),
    ("a keyserver", EndpointKeyserver("https://k"), "keyserver https://k", "EndpointKeyserver(uri='https://k', insecure=False)"),
]))
def test_what_is_shown(claim, name, text):
    assert claim_name(claim) == name
    assert repr(claim) == str(claim) == text


def test_a_password_in_a_stored_uri_is_not_shown():
    assert claim_name(KeyserverLogin("https://u:hunter2@k", "x")) == "keyserver https://(hidden)@k"
    for uri in ("https://u:hunter2@k", "//u:hunter2@k:80/p", "u:hunter2@k"):
        for secret in (EndpointToken("a", uri, False, "x"), KeyserverLogin(uri, "x"), EndpointServices("a", uri, False, ()), EndpointKeyserver(uri)):
            assert "uri='" in repr(secret)
            assert "(hidden)@k" in repr(secret)
            assert "hunter2" not in repr([secret])


@pytest.mark.parametrize(("auth", "name"), table([
    ("a password with a colon", basic("alice", "a:b"), "alice"),
    ("a name beyond ASCII, the scheme in lower case", basic("müller", "p").replace("Basic", "basic"), "müller"),
    ("a token", "Bearer YTpi", None),
    ("nothing", "", None),
    ("no Base64", "Basic Y", None),
]))
def test_username_of(auth, name):
    assert username_of(auth) == name


def test_services_are_no_secret():
    assert claim_name(EndpointServices("site", "h", False, ("library",))) == 'services of endpoint "site"'


@pytest.mark.parametrize(("username", "password"), [("alice", "s3cret"), ("álice", "pä:ss"), ("", "token"), ("a", "\udc80")])
def test_basic(username, password):
    scheme, _space, word = basic(username, password).partition(" ")
    assert scheme == "Basic"
    assert base64.b64decode(word).decode("utf-8", "surrogateescape") == f"{username}:{password}"


@pytest.mark.parametrize(("token", "fits"), [
    ("a", True), ("!~", True), ("a.b-c_d~e+f/g==", True), ("", False), ("a b", False), ("a\n", False), ("\x7f", False), ("\xe4", False),
])  # fmt: skip
def test_tokens_that_a_header_can_carry(token, fits):
    assert fits_header(token) is fits
