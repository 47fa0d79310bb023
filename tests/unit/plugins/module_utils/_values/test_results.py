# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._values.claims import EndpointToken, KeyserverLogin, RegistryLogin
from ansible_collections.hpc.apptainer.plugins.module_utils._values.remote_config import Credential, Keyserver, Remote, RemoteConfig
from ansible_collections.hpc.apptainer.plugins.module_utils._values.results import config_result, login_result, redacted, remote_result
from hypothesis import example, given
from hypothesis import strategies as st


def config(token="", auth="", **fields):
    return RemoteConfig("a", {"a": Remote("a.example", token=token, **fields)}, (Credential("https://k", auth),))


NONE = RemoteConfig()
KEPT = "(hidden)"
CHANGED = "(hidden, changed)"

REDACTED = [  # before, after, the words for token and auth
    (None, config("t", "a"), config(KEPT, KEPT)),
    (None, config(), config()),
    (None, NONE, NONE),
    (config("t", "a"), config("t", "a"), config(KEPT, KEPT)),
    (config("t", "a"), config("u", "b"), config(CHANGED, CHANGED)),
    (config("t", "a"), config("t", "b"), config(KEPT, CHANGED)),
    (config("t", "a"), config(), config()),
    (config(), config("t", "a"), config(KEPT, KEPT)),
    (NONE, config("t", "a"), config(KEPT, KEPT)),
    (config("t", "a"), NONE, NONE),
    (config("t", insecure=True), config("t"), config(KEPT)),
]

FULL = RemoteConfig("lab", {
    "site": Remote("site.example", insecure=True, exclusive=True),
    "lab": Remote("lab.example", "hunter2", True, keyservers=(
        Keyserver("https://own", skip=True), Keyserver("hkp://k", external=True, insecure=True))),
}, (Credential("docker://r", insecure=True), Credential("https://k", "hunter2")))  # fmt: skip

LAB = {
    "name": "lab", "uri": "lab.example", "insecure": False, "default": True, "exclusive": False, "system": True, "logged_in": True,
    "keyservers": [
        {"uri": "https://own", "insecure": False, "builtin": True, "skip": True},
        {"uri": "hkp://k", "insecure": True, "builtin": False, "skip": False},
    ],
}  # fmt: skip
SITE = {
    "name": "site", "uri": "site.example", "insecure": True, "default": False, "exclusive": True, "system": False, "logged_in": False,
    "keyservers": [],
}  # fmt: skip
LOGINS = [
    {"uri": "docker://r", "insecure": True, "has_secret": False},
    {"uri": "https://k", "insecure": False, "has_secret": True},
]


@pytest.mark.parametrize(("before", "after", "shown"), REDACTED)
def test_redacted(before, after, shown):
    assert redacted(after, before) == shown


@pytest.mark.parametrize(("name", "shown"), [("lab", LAB), ("site", SITE), ("gone", None)])
def test_remote_result(name, shown):
    assert remote_result(FULL, name) == shown


@pytest.mark.parametrize(("value", "shown"), [
    (FULL, {"default": "lab", "remotes": [LAB, SITE], "credentials": LOGINS}),
    (NONE, {"default": "", "remotes": [], "credentials": []}),
])  # fmt: skip
def test_config_result(value, shown):
    assert config_result(value) == shown


SECRET_LOGINS = [  # a login, and how it is shown: kind, name, user name
    (EndpointToken("lab", "lab.example", False, "hunter2"), ("endpoint", "lab", None)),
    (KeyserverLogin("https://k", "Basic YWxpY2U6aHVudGVyMg=="), ("keyserver", "https://k", "alice")),
    (KeyserverLogin("https://k", "Basic aHVudGVyMg=="), ("keyserver", "https://k", None)),
    (KeyserverLogin("https://k", "Bearer hunter2"), ("keyserver", "https://k", None)),
    (KeyserverLogin("https://u:hunter2@k", "hunter2"), ("keyserver", f"https://{KEPT}@k", None)),
    (RegistryLogin("r:5000", "alice", "hunter2", True), ("registry", "r:5000", "alice")),
]


@pytest.mark.parametrize(("secret", "shown"), SECRET_LOGINS)
def test_login_result_shows_whose_it_is_and_no_secret(secret, shown):
    assert login_result(secret) == dict(zip(("kind", "name", "username"), shown, strict=True))


NAMES = st.sampled_from(["a", "b"])
SECRETS = st.sampled_from(["", "hunter2", "hunter3", "hunter4"])
MARK = st.booleans()
KEYSERVERS = st.builds(Keyserver, st.sampled_from(["https://k", "https://u:hunter2@k", "https://u:hunter3@k"]), MARK, MARK, MARK)
REMOTES = st.builds(
    Remote, st.sampled_from(["h", "i", "//u:hunter2@h", "//u:hunter3@h"]), SECRETS, MARK, MARK, MARK, st.lists(KEYSERVERS, max_size=1).map(tuple))
LOGIN_URIS = st.sampled_from(["https://k", "docker://r", "docker://u:hunter2@r", "docker://u:hunter3@r"])
CREDENTIALS = st.lists(st.builds(Credential, LOGIN_URIS, SECRETS, st.booleans()), max_size=3).map(tuple)
CONFIGS = st.builds(RemoteConfig, NAMES | st.just(""), st.dictionaries(NAMES, REMOTES), CREDENTIALS)


def place(uri):
    return re.sub(r"//.*@", "//", uri)


def without_secrets(value):
    return (
        value.active,
        {name: remote._replace(uri=place(remote.uri), token=bool(remote.token), keyservers=[
            server._replace(uri=place(server.uri)) for server in remote.keyservers]) for name, remote in value.remotes.items()},
        [credential._replace(uri=place(credential.uri), auth=bool(credential.auth)) for credential in value.credentials])


@st.composite
def changed(draw):
    """A configuration, and one that differs in some of its secrets only, or in anything."""
    before = draw(CONFIGS)
    if draw(st.booleans()):
        return before, draw(CONFIGS)
    return before, before._replace(
        remotes={name: remote._replace(token=draw(SECRETS)) for name, remote in before.remotes.items()},
        credentials=tuple(credential._replace(auth=draw(SECRETS)) for credential in before.credentials))


@given(changed())
def test_no_form_of_the_output_holds_a_secret(pair):
    before, after = pair
    shown = [redacted(before), redacted(after, before), config_result(after), [remote_result(after, name) for name in after.remotes]]
    for value in shown[:2]:  # repr() hides tokens by itself, so look at the fields
        shown += [remote._asdict() for remote in value.remotes.values()] + [credential._asdict() for credential in value.credentials]
    assert "hunter" not in repr(shown)


@given(changed())
def test_redacted_keeps_all_the_rest(pair):
    before, after = pair
    assert without_secrets(redacted(after)) == without_secrets(after)
    assert without_secrets(redacted(after, before)) == without_secrets(after)


def two_logins(*secrets):
    """Files of old versions may hold several for one URI."""
    return RemoteConfig(credentials=tuple(Credential("https://k", secret) for secret in secrets))


@given(CONFIGS)
@example(two_logins("hunter2", "hunter3"))
def test_what_did_not_change_is_not_called_changed(value):
    assert redacted(value, value) == redacted(value)
    words = [remote.token for remote in redacted(value).remotes.values()] + [credential.auth for credential in redacted(value).credentials]
    assert CHANGED not in words


def one_keyserver(uri):
    return RemoteConfig(remotes={"a": Remote("h", keyservers=(Keyserver(uri),))})


@given(changed())
@example((two_logins("hunter2", "hunter3"), two_logins("hunter4", "hunter3")))
@example((one_keyserver("https://u:hunter2@k"), one_keyserver("https://u:hunter3@k")))
def test_what_changed_and_only_that_is_in_the_diff(pair):
    before, after = pair
    assert (redacted(after, before) == redacted(before)) == (after == before)
