# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._redaction import HIDDEN
from ansible_collections.hpc.apptainer.plugins.module_utils._values.remote_config import (
    Credential,
    Keyserver,
    Remote,
    RemoteConfig,
    with_remote,
)
from support.tables import table

SECRET = "hunter2"

SECRETS = [
    Remote("lib.example.org", token=SECRET),
    Credential("https://keys.example.org", auth=SECRET),
    RemoteConfig("lab", {"lab": Remote("lib.example.org", token=SECRET)}, (Credential("https://keys.example.org", auth=SECRET),)),
]

SHOWN = [  # what, the value, its text form
    ("a whole endpoint", Remote("lib.example.org", SECRET, True, False, True, (Keyserver("hkp://k"),)),
     "Remote(uri='lib.example.org', token='(hidden)', system=True, exclusive=False, insecure=True, "
     "keyservers=(Keyserver(uri='hkp://k', skip=False, external=False, insecure=False),))"),
    ("an endpoint without a token", Remote("lib.example.org"),
     "Remote(uri='lib.example.org', token='', system=False, exclusive=False, insecure=False, keyservers=())"),
    ("a whole login", Credential("docker://reg", SECRET, True), "Credential(uri='docker://reg', auth='(hidden)', insecure=True)"),
    ("a login without a secret", Credential("docker://reg"), "Credential(uri='docker://reg', auth='', insecure=False)"),
]


@pytest.mark.parametrize("value", SECRETS, ids=lambda value: type(value).__name__)
def test_no_text_form_shows_a_secret(value):
    for text in (repr(value), str(value), f"{value}", repr([value]), repr({"value": value})):
        assert SECRET not in text
        assert HIDDEN in text


@pytest.mark.parametrize(("value", "text"), table(SHOWN))
def test_repr_shows_all_the_rest_and_whether_there_is_a_secret(value, text):
    assert repr(value) == text


@pytest.mark.parametrize("value", [Keyserver("k"), Remote(), Credential("c"), RemoteConfig()], ids=lambda value: type(value).__name__)
def test_values_are_immutable(value):
    for field in value._fields:
        with pytest.raises(AttributeError):
            setattr(value, field, None)


def test_secrets_count_when_values_are_compared():
    assert Remote("h", token="a") != Remote("h", token="b")
    assert Credential("h", auth="a") != Credential("h", auth="b")


def test_the_order_of_endpoints_does_not_count():
    assert RemoteConfig(remotes={"a": Remote("a"), "b": Remote("b")}) == RemoteConfig(remotes={"b": Remote("b"), "a": Remote("a")})


def test_with_remote_adds_replaces_and_removes():
    a, b, other = Remote("a.example"), Remote("b.example"), Remote("other.example")
    both = RemoteConfig("a", {"a": a, "b": b})
    assert with_remote(RemoteConfig(), "a", a) == RemoteConfig(remotes={"a": a})
    assert with_remote(both, "a", other) == RemoteConfig("a", {"a": other, "b": b})
    assert with_remote(both, "a", None) == RemoteConfig("a", {"b": b})
    assert with_remote(RemoteConfig(), "a", None) == RemoteConfig()
