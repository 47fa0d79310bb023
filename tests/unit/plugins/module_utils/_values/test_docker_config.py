# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import time

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import RuleError
from ansible_collections.hpc.apptainer.plugins.module_utils._values import docker_config as docker
from ansible_collections.hpc.apptainer.plugins.module_utils._values.docker_config import (
    DockerConfig,
    HostKeys,
    StoredLogin,
    encode_login,
    hostname_of,
    keys_for_host,
    login_hosts,
    only_hosts,
    registry_key,
    set_logins,
    stored_logins,
)
from hypothesis import given
from support.docker_configs import CONFIGS, HOSTS, NAMES, PASSWORDS, config

HUB_KEY = "https://index.docker.io/v1/"
AUTH = "YWxpY2U6czNjcmV0"  # alice:s3cret
OLD = "b2xkOm9sZA=="  # old:old


def login(value, host, username, password):
    return set_logins(value, {host: (username, password)})


def logout(value, host):
    return set_logins(value, {host: None})


# keys

@pytest.mark.parametrize(("host", "key"), [
    ("reg.example", "reg.example"), ("REG.example:5000", "reg.example:5000"), ("docker.io", HUB_KEY), ("index.docker.io", HUB_KEY),
    ("Registry-1.docker.io", HUB_KEY), ("hub.docker.com", "hub.docker.com"), ("docker.io:443", "docker.io:443"),
])  # fmt: skip
def test_registry_key(host, key):
    assert registry_key(host) == key


@pytest.mark.parametrize(("key", "host"), [
    ("reg.example", "reg.example"), ("reg.example:5000/org", "reg.example:5000"), (HUB_KEY, "index.docker.io"), ("http://h:80/x", "h:80"),
    ("https://u:p@h/x", "h"), ("u:p@h:80/x", "h:80"), ("u:p@w@h", "h"), ("h/u:p@x", "h"),
    ("https://[::1]:5000/v1/", "[::1]:5000"), ("", ""), ("https://%zz/x", "https:"), ("https:///x", "https:"),
])  # fmt: skip
def test_hostname_of(key, host):
    assert hostname_of(key) == host


OWN = ["reg.example", "reg.example/", "REG.EXAMPLE", "http://reg.example", "https://reg.example", "https://reg.example/", "https://reg.example/v1/",
       "HTTPS://Reg.Example/V2", "reg.example/v1", "https://u:p@reg.example/v2/"]
HUB = ["docker.io", "index.docker.io", "https://registry-1.docker.io/v2/", HUB_KEY, "https://index.docker.io/v1"]
PARTS = ["reg.example/org", "https://reg.example/org/app", "REG.example/v3", "reg.example/v1/x"]
FOREIGN = ["reg.example:5000", "x.reg.example", "docker.io/library", "", "https://"]
ALL = config({key: {"auth": OLD} for key in [*OWN, *HUB, *PARTS, *FOREIGN]})


def test_aliases():
    assert keys_for_host(ALL, "reg.example") == keys_for_host(ALL, "Reg.example") == OWN
    for host in docker.HUB_HOSTS:
        assert keys_for_host(ALL, host) == HUB
    assert keys_for_host(ALL, "other.example") == []
    assert keys_for_host(DockerConfig(), "reg.example") == []


def test_namespaced():
    assert HostKeys(ALL).namespaced["reg.example"] == PARTS
    assert HostKeys(ALL).namespaced["docker.io"] == ["docker.io/library"]
    assert "other.example" not in HostKeys(ALL).namespaced


def test_hosts():
    assert login_hosts(ALL) == sorted(["docker.io", "reg.example", "reg.example:5000", "x.reg.example", "", "https:"])


@pytest.mark.parametrize(("others", "host", "name"), [
    ({}, "h", None),
    ({"credsStore": ""}, "h", None),
    ({"credsStore": None, "credHelpers": None}, "h", None),
    ({"credsStore": "s"}, "h", "s"),
    ({"credHelpers": {"h": "x"}}, "h", "x"),
    ({"credHelpers": {"https://H/v1/": "x"}}, "h", "x"),
    ({"credHelpers": {"h": "x"}, "credsStore": "s"}, "i", "s"),
    ({"credHelpers": {"h": "x"}, "credsStore": "s"}, "h", "x"),
    ({"credHelpers": {"h": ""}, "credsStore": "s"}, "h", None),
    ({"credHelpers": {"h": "x", "https://h": ""}}, "h", "x"),
    ({"credHelpers": {"docker.io": "x"}}, "index.docker.io", "x"),
    ({"credHelpers": {HUB_KEY: "x"}}, "docker.io", "x"),
])  # fmt: skip
def test_helper(others, host, name):
    value = config(**others)
    assert HostKeys(value).helper(host) == name
    assert logout(value, host) == value
    if name is None:
        assert keys_for_host(login(value, host, "u", "p"), host) == [registry_key(host)]
    else:
        with pytest.raises(RuleError) as caught:
            login(value, host, "alice", "s3cret")
        message = str(caught.value)
        assert message.startswith(f'registry {host}: the credential helper "{name}" manages its logins')
        assert message.endswith(f"(docker login {host}), or use another auth_file")
        assert "s3cret" not in message


# logins

NEW = {"auth": AUTH}
LOGINS = [  # before, after
    (DockerConfig(), config({"reg.example": NEW})),
    (DockerConfig({"a": 1}, True), config({"reg.example": NEW}, a=1)),
    (DockerConfig({"a": 1, "auths": None}, True), config({"reg.example": NEW}, a=1)),
    (config({"reg.example": {"auth": OLD}}), config({"reg.example": NEW})),
    (config({"reg.example": None}), config({"reg.example": NEW})),
    (config({"reg.example": {"username": "alice", "password": "s3cret", "serveraddress": "x", "email": "e", "more": [1]}}),
     config({"reg.example": {"auth": AUTH, "email": "e", "more": [1]}})),
    (config({"reg.example": {"auth": AUTH, "identitytoken": "t", "registrytoken": "t"}}), config({"reg.example": NEW})),
    (config({key: {"auth": OLD} for key in OWN}), config({"reg.example": NEW})),
    (config({"REG.example": {"auth": OLD}, "reg.example:5000": {"identitytoken": "t"}, "reg.example/org": {"username": "u", "password": "p"}}),
     config({"reg.example": NEW, "reg.example:5000": {"identitytoken": "t"}, "reg.example/org": {"username": "u", "password": "p"}})),
]


@pytest.mark.parametrize(("before", "after"), LOGINS)
def test_login(before, after):
    assert login(before, "reg.example", "alice", "s3cret") == after
    assert login(after, "Reg.example", "alice", "s3cret") == after


def test_a_new_list_of_logins_comes_first():
    assert list(login(DockerConfig({"a": 1}, True), "h", "alice", "s3cret").tree) == ["auths", "a"]


def test_login_and_logout_on_docker_hub():
    before = config({key: {"auth": OLD} for key in [*HUB, "docker.io/library"]})
    after = login(before, "registry-1.docker.io", "alice", "s3cret")
    assert after == config({HUB_KEY: NEW, "docker.io/library": {"auth": OLD}})
    assert logout(before, "docker.io") == config({"docker.io/library": {"auth": OLD}})


def test_logout_of_nobody_changes_nothing():
    for value in (DockerConfig(), DockerConfig({"auths": None}, True), ALL):
        assert logout(value, "nobody.example") is value


@pytest.mark.parametrize(("username", "password", "reason"), [
    ("", "s3cret", "needs a username"),
    ("a:b", "s3cret", "has a colon"),
    ("a", "", "the password is empty"),
    ("a", "s3cret\0", "NUL"),
    ("a", "\0s3cret", "NUL"),
    ("a", "s3cret\ud800", "lone surrogate"),
])  # fmt: skip
def test_what_basic_cannot_carry(username, password, reason):
    with pytest.raises(RuleError, match=reason) as caught:
        encode_login(username, password)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


STORED = [  # an entry, the user name and password in it
    ({"auth": AUTH}, ("alice", "s3cret")),
    ({"auth": "YTpiOmM="}, ("a", "b:c")),
    ({"auth": "YTpiAA=="}, ("a", "b")),
    ({"auth": "YTr/"}, ("a", "\udcff")),
    ({"auth": AUTH, "username": "u", "password": "p"}, ("alice", "s3cret")),
    ({"username": "u", "password": "p"}, ("u", "p")),
    ({"auth": "", "username": "u", "password": "p"}, ("u", "p")),
    ({"username": "u"}, None),
    ({"password": "p"}, None),
    ({"auth": "YTo="}, None),
    ({"auth": "dTo=", "identitytoken": "t"}, None),
    ({"auth": AUTH, "identitytoken": "t"}, None),
    ({"auth": AUTH, "registrytoken": "t"}, None),
    ({"identitytoken": "t"}, None),
    ({"auth": "not base64"}, None),
    ({}, None),
    (None, None),
]


@pytest.mark.parametrize(("entry", "pair"), STORED)
def test_stored(entry, pair):
    assert stored_logins(config({"REG.example/v1/": entry})) == ([("REG.example/v1/", "reg.example", *pair)] if pair else [])


def test_hosts_of_stored_logins():
    value = config({HUB_KEY: NEW, "Reg.example/org": NEW})
    assert [item.host for item in stored_logins(value)] == ["docker.io", "reg.example"]


def test_bytes_that_are_no_text_survive():
    (item,) = stored_logins(config({"h": {"auth": "YTr/"}}))
    assert encode_login(item.username, item.password) == "YTr/"


def test_pruned():
    assert keys_for_host(only_hosts(ALL, ["reg.example", "index.docker.io"]), "reg.example") == OWN
    assert list(only_hosts(ALL, ["docker.io"]).tree["auths"]) == HUB
    assert only_hosts(config({"h": NEW}), ["H"]) == config({"h": NEW})
    assert only_hosts(ALL, []) == config()


# secrets

FULL = DockerConfig({
    "credsStore": "s", "credHelpers": {"https://u:hunter2@h": "x"}, "HttpHeaders": {"Authorization": "hunter2"}, "proxies": "hunter2",
    "auths": {
        "https://u:hunter2@h/": {"auth": base64.b64encode(b"alice:hunter2").decode(), "email": "e"},
        "i": {"username": "u", "password": "hunter2", "identitytoken": "hunter2i", "registrytoken": "hunter2r", "odd": "hunter2o", "n": ["hunter2"]},
        "j": None, "k": {"auth": "", "serveraddress": "https://hunter2"},
    },
}, True)  # fmt: skip


def test_no_text_form_shows_a_secret():
    for value in (FULL, stored_logins(FULL), docker.stored_logins(FULL)[0], StoredLogin("u:hunter2@h", "h", "u", "hunter2")):
        assert "hunter2" not in f"{value!r} {value}"
    assert repr(FULL) == "DockerConfig(auths=['https://(hidden)@h/', 'i', 'j', 'k'], has_data=True)"
    assert repr(StoredLogin("h", "h", "u", "p")) == "StoredLogin(key='h', host='h', username='u', password='(hidden)')"


# properties

@given(CONFIGS, HOSTS, NAMES, PASSWORDS)
def test_login_twice_is_login_once(before, host, username, password):
    once = login(before, host, username, password)
    assert login(once, host, username, password) == once
    assert keys_for_host(once, host) == [registry_key(host)]
    assert (registry_key(host), docker.canonical_host(host), username, password) in stored_logins(once)


@given(CONFIGS, HOSTS, NAMES, PASSWORDS)
def test_logout_after_login_is_logout(before, host, username, password):
    without = logout(before, host)
    assert logout(login(before, host, username, password), host) == without
    assert logout(without, host) == without
    assert not keys_for_host(without, host)
    assert all(item.host != docker.canonical_host(host) or item.key in HostKeys(before).namespaced[item.host] for item in stored_logins(without))


@given(CONFIGS, HOSTS)
def test_all_the_rest_is_left_alone(before, host):
    after = login(before, host, "alice", "s3cret")
    mine = {*keys_for_host(before, host), registry_key(host)}
    assert {key: entry for key, entry in after.tree["auths"].items() if key not in mine} == {
        key: entry for key, entry in before.tree["auths"].items() if key not in mine}
    assert {**after.tree, "auths": None} == {**before.tree, "auths": None}
    assert HostKeys(after).namespaced == HostKeys(before).namespaced


def test_time_is_linear():
    many = {f"r{number}.example": ("alice", f"s3cret{number}") for number in range(2000)}
    start = time.perf_counter()
    value = set_logins(config(), many)
    assert set_logins(value, dict.fromkeys(many)) == config()
    assert len(stored_logins(value)) == 2000
    assert time.perf_counter() - start < 5
