# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._values import docker_config as docker
from ansible_collections.hpc.apptainer.plugins.module_utils._values.docker_config import (
    DockerConfig,
    HostKeys,
    StoredLogin,
    hostname_of,
    keys_for_host,
    login_hosts,
    registry_key,
    stored_logins,
    whole_host,
    with_auths,
)
from hypothesis import given
from support.docker_configs import LOGINS, config
from support.tables import table

HUB_KEY = "https://index.docker.io/v1/"
AUTH = "YWxpY2U6czNjcmV0"  # alice:s3cret
OLD = "b2xkOm9sZA=="  # old:old


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


WHOLE = ["reg.example", "reg.example/", "REG.EXAMPLE", "http://reg.example", "https://reg.example", "https://reg.example/", "https://reg.example/v1/",
         "HTTPS://Reg.Example/V2", "reg.example/v1", "https://u:p@reg.example/v2/"]
HUB = ["docker.io", "index.docker.io", "https://registry-1.docker.io/v2/", HUB_KEY, "https://index.docker.io/v1"]
PARTS = ["reg.example/org", "https://reg.example/org/app", "REG.example/v3", "reg.example/v1/x"]
FOREIGN = ["reg.example:5000", "x.reg.example", "docker.io/library", "", "https://"]
ALL = config({key: {"auth": OLD} for key in [*WHOLE, *HUB, *PARTS, *FOREIGN]})


def test_keys_for_host():
    assert keys_for_host(ALL, "reg.example") == keys_for_host(ALL, "Reg.example") == WHOLE
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


HELPERS = [  # what, the other keys of the file, a host, the helper that manages it
    ("nobody", {}, "h", None),
    ("a store without a name", {"credsStore": ""}, "h", None),
    ("null", {"credsStore": None, "credHelpers": None}, "h", None),
    ("the store of all hosts", {"credsStore": "s"}, "h", "s"),
    ("a helper of this host", {"credHelpers": {"h": "x"}}, "h", "x"),
    ("under another spelling", {"credHelpers": {"https://H/v1/": "x"}}, "h", "x"),
    ("the store, if the helper is of another host", {"credHelpers": {"h": "x"}, "credsStore": "s"}, "i", "s"),
    ("the helper before the store", {"credHelpers": {"h": "x"}, "credsStore": "s"}, "h", "x"),
    ("a helper without a name exempts from the store", {"credHelpers": {"h": ""}, "credsStore": "s"}, "h", None),
    ("one with a name beside it", {"credHelpers": {"h": "x", "https://h": ""}}, "h", "x"),
    ("Docker Hub under another name", {"credHelpers": {"docker.io": "x"}}, "index.docker.io", "x"),
    ("Docker Hub under its key", {"credHelpers": {HUB_KEY: "x"}}, "docker.io", "x"),
]


@pytest.mark.parametrize(("others", "host", "name"), table(HELPERS))
def test_helper(others, host, name):
    assert HostKeys(config(**others)).helper(host) == name


STORED = [  # what, an entry, the user name and password in it
    ("auth", {"auth": AUTH}, ("alice", "s3cret")),
    ("a password with a colon", {"auth": "YTpiOmM="}, ("a", "b:c")),
    ("a password that ends with NUL", {"auth": "YTpiAA=="}, ("a", "b")),
    ("a password that is not UTF-8", {"auth": "YTr/"}, ("a", "\udcff")),
    ("auth before username and password", {"auth": AUTH, "username": "u", "password": "p"}, ("alice", "s3cret")),
    ("username and password, as 1.3.0 wrote them", {"username": "u", "password": "p"}, ("u", "p")),
    ("beside an empty auth", {"auth": "", "username": "u", "password": "p"}, ("u", "p")),
    ("no password", {"username": "u"}, None),
    ("no username", {"password": "p"}, None),
    ("an empty password in auth", {"auth": "YTo="}, None),
    ("an identity token", {"auth": "dTo=", "identitytoken": "t"}, None),
    ("an identity token beside a password", {"auth": AUTH, "identitytoken": "t"}, None),
    ("a registry token beside a password", {"auth": AUTH, "registrytoken": "t"}, None),
    ("an identity token alone", {"identitytoken": "t"}, None),
    ("no Base64", {"auth": "not base64"}, None),
    ("an empty entry", {}, None),
    ("null", None, None),
]


@pytest.mark.parametrize(("entry", "pair"), table(STORED))
def test_stored(entry, pair):
    assert stored_logins(config({"REG.example/v1/": entry})) == ([("REG.example/v1/", "reg.example", *pair)] if pair else [])


def test_hosts_of_stored_logins():
    value = config({HUB_KEY: {"auth": AUTH}, "Reg.example/org": {"auth": AUTH}})
    assert [item.host for item in stored_logins(value)] == ["docker.io", "reg.example"]


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


# other logins

def test_a_new_list_of_logins_comes_first():
    assert list(with_auths(DockerConfig({"a": 1}, True), {"h": {}}).tree) == ["auths", "a"]
    assert list(with_auths(DockerConfig({"a": 1, "auths": None}, True), {"h": {}}).tree) == ["a", "auths"]


@given(LOGINS)
def test_every_login_is_for_a_whole_host_or_for_a_part(value):
    keys = HostKeys(value)
    assert sorted(key for found in (keys.whole, keys.namespaced) for entries in found.values() for key in entries) == sorted(value.auths)
    assert {key for entries in keys.whole.values() for key in entries} == {key for key in value.auths if whole_host(key) is not None}
    assert login_hosts(value) == sorted({*keys.whole, *keys.namespaced})
