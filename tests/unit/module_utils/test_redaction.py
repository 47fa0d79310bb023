# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._redaction import (
    HIDDEN_CHANGED,
    option_secrets,
    redacted,
    redacted_docker_tree,
    safe_part,
    without_login,
)
from ansible_collections.hpc.apptainer.plugins.module_utils._values.remote_config import Credential, Keyserver, Remote, RemoteConfig
from ansible_collections.hpc.apptainer.plugins.module_utils._values.results import config_result, remote_result
from hypothesis import example, given
from hypothesis import strategies as st
from support import docker_configs
from support.growth import assert_linear
from support.tables import table
from support.uris import PASSWORDS
from support.values import tuples, values


def config(token="", auth="", **fields):
    return RemoteConfig("a", {"a": Remote("a.example", token=token, **fields)}, (Credential("https://k", auth),))


NONE = RemoteConfig()
KEPT = "(hidden)"
CHANGED = "(hidden, changed)"

REDACTED = [  # what, before, after, the words for token and auth
    ("by itself", None, config("t", "a"), config(KEPT, KEPT)),
    ("by itself, without secrets", None, config(), config()),
    ("by itself, empty", None, NONE, NONE),
    ("unchanged", config("t", "a"), config("t", "a"), config(KEPT, KEPT)),
    ("both changed", config("t", "a"), config("u", "b"), config(CHANGED, CHANGED)),
    ("one changed", config("t", "a"), config("t", "b"), config(KEPT, CHANGED)),
    ("removed", config("t", "a"), config(), config()),
    ("added", config(), config("t", "a"), config(KEPT, KEPT)),
    ("all added", NONE, config("t", "a"), config(KEPT, KEPT)),
    ("all removed", config("t", "a"), NONE, NONE),
    ("another field changed", config("t", insecure=True), config("t"), config(KEPT)),
]


@pytest.mark.parametrize(("before", "after", "shown"), table(REDACTED))
def test_redacted(before, after, shown):
    assert redacted(after, before) == shown


NAMES = st.sampled_from(["a", "b"])
MARKS = [False, True]
SECRETS = ["", "hunter2", "hunter3", "hunter4"]
DRAWN_SECRETS = st.sampled_from(SECRETS)
KEYSERVERS = [(), *tuples(values(Keyserver, ["https://k", "https://u:hunter2@k", "https://u:hunter3@k"], MARKS, MARKS, MARKS), 1)]
REMOTES = st.builds(
    lambda remote, keyservers: remote._replace(keyservers=keyservers),
    st.sampled_from(values(Remote, ["h", "i", "//u:hunter2@h", "//u:hunter3@h"], SECRETS, MARKS, MARKS, MARKS)), st.sampled_from(KEYSERVERS))
LOGIN_URIS = ["https://k", "docker://r", "docker://u:hunter2@r", "docker://u:hunter3@r"]
CREDENTIALS = st.sampled_from(tuples(values(Credential, LOGIN_URIS, SECRETS, MARKS), 3))
CONFIGS = st.builds(RemoteConfig, NAMES | st.just(""), st.dictionaries(NAMES, REMOTES), CREDENTIALS)


def without_userinfo(uri):
    return re.sub(r"//.*@", "//", uri)


def without_secrets(value):
    return (
        value.active,
        {name: remote._replace(uri=without_userinfo(remote.uri), token=bool(remote.token), keyservers=[
            server._replace(uri=without_userinfo(server.uri)) for server in remote.keyservers]) for name, remote in value.remotes.items()},
        [credential._replace(uri=without_userinfo(credential.uri), auth=bool(credential.auth)) for credential in value.credentials])


@st.composite
def changed(draw):
    """A configuration, and one that differs in some of its secrets only, or in anything."""
    before = draw(CONFIGS)
    if draw(st.booleans()):
        return before, draw(CONFIGS)
    return before, before._replace(
        remotes={name: remote._replace(token=draw(DRAWN_SECRETS)) for name, remote in before.remotes.items()},
        credentials=tuple(credential._replace(auth=draw(DRAWN_SECRETS)) for credential in before.credentials))


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


# docker-config.json

AUTH = "YWxpY2U6czNjcmV0"  # alice:s3cret
OLD = "b2xkOm9sZA=="  # old:old


def test_redacted_docker_tree():
    shown = redacted_docker_tree(docker_configs.FULL.tree, docker_configs.FULL.tree)
    assert shown == {
        "credsStore": "s", "credHelpers": {"https://(hidden)@h": "x"}, "HttpHeaders": "(not shown)", "proxies": "(not shown)",
        "auths": {
            "https://(hidden)@h/": {"auth": "(hidden)", "email": "e"},
            "i": {"username": "u", **dict.fromkeys(("password", "identitytoken", "registrytoken", "odd"), "(hidden)"), "n": "(not shown)"},
            "j": {}, "k": {"auth": "", "serveraddress": "(hidden)"},
        },
    }  # fmt: skip
    assert "hunter2" not in str(shown)
    assert list(shown) == list(docker_configs.FULL.tree)


def test_keys_that_differ_in_a_password_only_stay_apart():
    keys = ["https://u:hunter2@h", "i", "https://u:hunter3@h", "https://u:hunter4@h", "https://v:hunter2@i"]
    shown = ["https://(hidden)@h", "i", "https://(hidden)@h (2)", "https://(hidden)@h (3)", "https://(hidden)@i"]
    value = docker_configs.config({key: {"auth": AUTH, "email": "e"} for key in keys}, credHelpers=dict.fromkeys(keys, "x"))
    tree = redacted_docker_tree(value.tree, docker_configs.config({keys[2]: {"auth": OLD}}).tree)
    assert list(tree["auths"]) == list(tree["credHelpers"]) == shown
    assert [entry["auth"] == HIDDEN_CHANGED for entry in tree["auths"].values()] == [False, False, True, False, False]


def test_keys_that_look_like_numbered_ones_stay_apart():
    keys = ["u:hunter2@h (2)", "u:hunter2@h", "u:hunter3@h", "(hidden)@h (3)", "u:hunter4@h"]
    tree = redacted_docker_tree(docker_configs.config({key: {"n": 1} for key in keys}).tree, {})
    assert list(tree["auths"]) == ["(hidden)@h (2)", "(hidden)@h", "(hidden)@h (3)", "(hidden)@h (3) (2)", "(hidden)@h (4)"]


@pytest.mark.parametrize("key", ["u:{}@h", "u:x@h ({})", "h{}"], ids=["differ in the password", "look numbered", "differ"])
def test_what_a_diff_shows_takes_linear_time(key):
    def prepared(size):
        return {"auths": {key.format(number): {"auth": AUTH} for number in range(20 * size)}}

    assert_linear(lambda tree: redacted_docker_tree(tree, tree), prepared)
    large = prepared(400)
    assert len(str(redacted_docker_tree(large, large))) < 2 * len(str(large))


def test_redacted_docker_tree_shows_what_changed():
    before = docker_configs.config({"a": {"auth": OLD}, "b": {"auth": OLD}, "c": None, "d": {"password": "x"}})
    after = docker_configs.config({"a": {"auth": AUTH}, "b": {"auth": OLD}, "c": {"auth": AUTH}, "d": {"auth": AUTH}, "e": {"auth": AUTH}})
    assert {key: entry["auth"] for key, entry in redacted_docker_tree(after.tree, before.tree)["auths"].items()} == {
        "a": HIDDEN_CHANGED, "b": "(hidden)", "c": "(hidden)", "d": "(hidden)", "e": "(hidden)"}
    assert redacted_docker_tree({}, before.tree) == {}
    assert redacted_docker_tree({"auths": None, "credHelpers": None}, {}) == {"auths": {}, "credHelpers": {}}


@given(docker_configs.CONFIGS, docker_configs.CONFIGS)
def test_no_secret_is_left_after_redaction(value, before):
    shown = redacted_docker_tree(value.tree, before.tree)["auths"]
    assert len(shown) == len(value.tree["auths"])
    for entry in shown.values():
        assert {key: word for key, word in entry.items() if key not in ("username", "email")
                and word not in ("", "(hidden)", HIDDEN_CHANGED, "(not shown)")} == {}  # fmt: skip


# URIs

WITHOUT_LOGIN = [
    ("", ""),
    ("h.example/a", "h.example/a"),
    ("h.example/a?b#c", "h.example/a?***"),
    ("h.example/a#b?c", "h.example/a#***"),
    ("h.example/a?\nb", "h.example/a?***"),
    ("h.example/?", "h.example/?"),
    ("https://u:p@h.example?token=t", "https://***@h.example?***"),
    ("https://h.example?user=u@example.org&token=t", "https://***"),
    ("https://h.example:8443", "https://h.example:8443"),
    ("https://u:p@h.example/a", "https://***@h.example/a"),
    ("//u@h.example", "//***@h.example"),
    ("u:p@h.example", "***@h.example"),
    ("docker://u:p@h.example", "docker://***@h.example"),
    ("https:u:p@h.example", "***@h.example"),
    ("https://u:p/q@r@h.example", "https://***@h.example"),
    ("https://@h.example", "https://***@h.example"),
]


@pytest.mark.parametrize(("uri", "shown"), WITHOUT_LOGIN)
def test_without_login(uri, shown):
    assert without_login(uri, "***") == shown


@pytest.mark.parametrize("uri", PASSWORDS)
def test_without_login_leaves_no_part_of_a_password(uri):
    for part in ("hun", "ter2", "user:"):
        assert part not in without_login(uri, "***")


OPTION_SECRETS = table([
    ("nothing", {"name": "x", "uri": "https://h.example:8443/a", "force": True, "order": 3, "mode": None}, set()),
    ("a password", {"uri": "https://u:hunter2@h"}, {"hunter2"}),
    ("an escaped one", {"uri": "https://u:hunter%402@h"}, {"hunter%402", "hunter@2"}),
    ("with a colon", {"uri": "https://u:hun:ter2@h"}, {"hun:ter2"}),
    ("a user name alone", {"uri": "https://hunter2@h"}, {"hunter2"}),
    ("a user name and a colon", {"uri": "https://hunter2:@h"}, {"hunter2"}),
    ("a query", {"uri": "https://h?token=hunter2"}, {"token=hunter2"}),
    ("a query and a fragment", {"uri": "https://u:p@h?token=hunter2#x\ny"}, {"p", "token=hunter2#x\ny"}),
    ("a fragment", {"uri": "https://h#hunter2"}, {"hunter2"}),
    ("only a question mark", {"uri": "https://h?"}, set()),
    ("a question mark in the password, or an @ in the query", {"uri": "https://u:hun?ter2@h"}, {"u:hun?ter2@h"}),
    ("without a scheme", {"builtin_uri": " u:hunter2@h "}, {"hunter2"}),
    ("under another name", {"url": "u:hunter2@h", "name": "alice@example.org", "owner": "a:b"}, {"hunter2"}),
    ("as a key", {"https://u:hunter2@h": None}, {"hunter2"}),
    ("in a list in a list", {"a": [[{"uri": "u:hunter2@h"}], ("//u:hunter3@h",)]}, {"hunter2", "hunter3"}),
    ("a list of uris", {"uri": ["u:hunter2@h"]}, {"hunter2"}),
    ("in a text", {"a": '[{"uri": "https://u:hunter2@h"}, "https://h?hunter3"] at //u:hunter4@h'}, {"hunter2", "hunter3", "hunter4"}),
    ("options for secrets", {"password": "hunter2", "token": "hunter3", "token_file": "/etc/t", "auth_file": "/etc/a", "client_key": "/k"},
     {"hunter2", "hunter3"}),
    ("misspelt", {"pasword": "a", "Passwd": "b", "tokn": "c", "toke": "c", "secret": "d", "credentials": "e", "pw": "f"}, set("abcdef")),
    ("of other types", {"password": ["a", {"b": "c"}], "token": 123456, "secret": 0, "passwd": True}, {"a", "c", "123456"}),
])


@pytest.mark.parametrize(("options", "found"), OPTION_SECRETS)
def test_option_secrets(options, found):
    assert set(option_secrets(options)) - {""} == found


@pytest.mark.parametrize("uri", PASSWORDS)
def test_with_its_secrets_replaced_a_uri_shows_no_part_of_the_password(uri):
    for order in (sorted, lambda found: sorted(found, reverse=True)):
        shown = uri
        for secret in order(set(option_secrets({"uri": uri})) - {""}):
            shown = shown.replace(secret, "***")
        assert not re.search("hun|ter2", shown)


SAFE_PARTS = [
    ("docker://r.example/s3cret", "docker://r.example"),
    ("docker://r.example:5000/s3cret", "docker://r.example:5000"),
    ("docker://alice:s3cret", "docker://alice"),
    ("docker://[::1]:50/x", "docker://[::1]:50"),
    ("docker://alice:s3cret@r", "docker://(hidden)"),
    ("alice:s3cret@r.example", "(hidden)"),
    (" r.example\n", "r.example"),
    ("", ""),
]


@pytest.mark.parametrize(("uri", "shown"), SAFE_PARTS)
def test_safe_part(uri, shown):
    assert safe_part(uri) == shown


@pytest.mark.parametrize("uri", PASSWORDS)
def test_safe_part_has_no_part_of_a_password(uri):
    for part in ("hun", "ter2", "user:"):
        assert part not in safe_part(uri)
