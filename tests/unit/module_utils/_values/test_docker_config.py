# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

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
from support.docker_configs import FULL, LOGINS, config
from support.tables import table

HUB_KEY = "https://index.docker.io/v1/"
AUTH = "YWxpY2U6czNjcmV0"  # alice:s3cret
OLD = "b2xkOm9sZA=="  # old:old


# keys

@pytest.mark.parametrize(("host", "key"), [
    ("reg.example", "reg.example"), ("REG.example:5000", "REG.example:5000"), ("docker.io", HUB_KEY), ("index.docker.io", HUB_KEY),
    ("registry-1.docker.io", HUB_KEY), ("Docker.io", "Docker.io"), ("hub.docker.com", "hub.docker.com"), ("docker.io:443", "docker.io:443"),
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


WHOLE = ["reg.example", "reg.example/", "http://reg.example", "https://reg.example", "https://reg.example/", "https://reg.example/v1/",
         "HTTPS://reg.example/V2", "reg.example/v1", "https://u:p@reg.example/v2/"]
HUB = ["docker.io", "index.docker.io", "https://registry-1.docker.io/v2/", HUB_KEY, "https://index.docker.io/v1"]
PARTS = ["reg.example/org", "https://reg.example/org/app", "reg.example/v3", "reg.example/v1/x"]
FOREIGN = ["REG.EXAMPLE", "Reg.example/org", "reg.example:5000", "x.reg.example", "docker.io/library", "", "https://"]
ALL = config({key: {"auth": OLD} for key in [*WHOLE, *HUB, *PARTS, *FOREIGN]})


def test_keys_for_host():
    assert keys_for_host(ALL, "reg.example") == WHOLE
    assert keys_for_host(ALL, "REG.EXAMPLE") == ["REG.EXAMPLE"]
    for host in docker.HUB_HOSTS:
        assert keys_for_host(ALL, host) == HUB
    assert keys_for_host(ALL, "other.example") == []
    assert keys_for_host(DockerConfig(), "reg.example") == []


def test_namespaced():
    assert HostKeys(ALL).namespaced["reg.example"] == PARTS
    assert HostKeys(ALL).namespaced["docker.io"] == ["docker.io/library"]
    assert "other.example" not in HostKeys(ALL).namespaced


def test_hosts():
    assert login_hosts(ALL) == sorted(["docker.io", "REG.EXAMPLE", "Reg.example", "reg.example", "reg.example:5000", "x.reg.example", "", "https:"])


HELPERS = [  # what, the other keys of the file, a host, the helper that manages it
    ("nobody", {}, "h", None),
    ("a store without a name", {"credsStore": ""}, "h", None),
    ("null", {"credsStore": None, "credHelpers": None}, "h", None),
    ("the store of all hosts", {"credsStore": "s"}, "h", "s"),
    ("a helper of this host", {"credHelpers": {"h": "x"}}, "h", "x"),
    ("under its address", {"credHelpers": {"https://h/v1/": "x"}}, "h", "x"),
    ("another case is another host", {"credHelpers": {"H": "x"}}, "h", None),
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
    assert stored_logins(config({"REG.example/v1/": entry})) == ([("REG.example/v1/", "REG.example", *pair)] if pair else [])


def test_hosts_of_stored_logins():
    value = config({HUB_KEY: {"auth": AUTH}, "Reg.example/org": {"auth": AUTH}})
    assert [item.host for item in stored_logins(value)] == ["docker.io", "Reg.example"]


@pytest.mark.parametrize(("key", "is_client"), [
    (f"{HUB_KEY}access-token", True), (f"{HUB_KEY}refresh-token", True), ("https://registry-1.docker.io/v2/x", True), ("hub-tool", True),
    ("hub-tool-refresh-token", True), (HUB_KEY, False), ("https://index.docker.io/v1", False), ("docker.io/v1/x", False), ("hub-tools", False),
    ("https://reg.example/v1/refresh-token", False),
])  # fmt: skip
def test_what_docker_s_clients_store_for_docker_hub_is_no_login(key, is_client):
    value = config({key: {"auth": AUTH}})
    assert HostKeys(value).hub_clients == ([key] if is_client else [])
    assert bool(stored_logins(value)) != is_client
    assert not is_client or (whole_host(key) is None and login_hosts(value) == ["docker.io"])


def test_other_spellings():
    keys = HostKeys(config(dict.fromkeys(["h:1", "H:1/org", "https://h:1", "h", "Index.docker.io", HUB_KEY])))
    assert [keys.other_spellings(host) for host in ("h:1", "H:1", "h", "x")] == [["H:1"], ["h:1"], [], []]
    assert keys.other_spellings("index.docker.io") == []
    assert HostKeys(config({"Docker.io": {}})).other_spellings("registry-1.docker.io") == ["Docker.io"]


OLD_FORM = [  # what, a key and its value at the top level, whether it is a login
    ("auth", HUB_KEY, {"auth": AUTH, "email": "e"}, True),
    ("a password", "reg.example", {"username": "u", "password": "p"}, True),
    ("a token", "localhost", {"identitytoken": "t"}, True),
    ("no secret", HUB_KEY, {"email": "e", "auth": ""}, False),
    ("no text", HUB_KEY, {"auth": 1}, False),
    ("another key of docker", "HttpHeaders", {"auth": "x"}, False),
    ("no object", "reg.example", "auth", False),
    ("the logins of today", "auths", {"auth": {}}, False),
]


@pytest.mark.parametrize(("key", "value", "is_login"), table(OLD_FORM))
def test_logins_at_the_top_level(key, value, is_login):
    assert docker.old_logins(DockerConfig({key: value}, True)) == ([key] if is_login else [])


@pytest.mark.parametrize(("name", "system"), [
    ("osxkeychain", "macOS"), ("wincred", "Windows"), ("desktop.exe", "Windows"), ("desktop", ""), ("pass", ""),
])  # fmt: skip
def test_other_system(name, system):
    assert docker.other_system(name) == system


# secrets

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
    assert sorted([*(key for found in (keys.whole, keys.namespaced) for entries in found.values() for key in entries),
                   *keys.hub_clients]) == sorted(value.auths)
    assert {key for entries in keys.whole.values() for key in entries} == {key for key in value.auths if whole_host(key) is not None}
    assert login_hosts(value) == sorted({*keys.whole, *keys.namespaced, *(["docker.io"] if keys.hub_clients else [])})
