# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Logins to registries in a docker-config.json; with Credentials, and beside other logins, in test_logins.py."""

from __future__ import annotations

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import RuleError
from ansible_collections.hpc.apptainer.plugins.module_utils._rules.credentials import Credentials
from ansible_collections.hpc.apptainer.plugins.module_utils._rules.registries import (
    Registry,
    WantedRegistry,
    checked_registry_uri,
    converge_registries,
    encode_login,
    only_hosts,
    set_logins,
)
from ansible_collections.hpc.apptainer.plugins.module_utils._values.docker_config import (
    DockerConfig,
    HostKeys,
    canonical_host,
    keys_for_host,
    registry_key,
    stored_logins,
)
from ansible_collections.hpc.apptainer.plugins.module_utils._values.remote_config import Credential
from hypothesis import given
from support import docker_configs
from support.docker_configs import HOSTS, NAMES, PASSWORDS, config
from support.growth import assert_linear
from support.tables import by_text, table

HUB_KEY = "https://index.docker.io/v1/"
AUTH = "YWxpY2U6czNjcmV0"  # alice:s3cret
OLD = "b2xkOm9sZA=="  # old:old


def login(value, host, username, password):
    return set_logins(value, {host: (username, password)})


def logout(value, host):
    return set_logins(value, {host: None})


# URIs

@pytest.mark.parametrize(("uri", "address"), by_text([
    ("docker://r.example", ("docker", "r.example")), ("oras://r.example:5000", ("oras", "r.example:5000")),
    (" DOCKER://R.example// ", ("docker", "R.example")), ("docker://[::1]:5000/", ("docker", "[::1]:5000")),
    ("oras://[FE80::1]", ("oras", "[FE80::1]")),
    ("docker://localhost:1", ("docker", "localhost:1")), ("docker://reg_1.example:65535", ("docker", "reg_1.example:65535")),
    ("docker://ä.example", ("docker", "ä.example")),
]))  # fmt: skip
def test_checked_registry_uri(uri, address):
    found = checked_registry_uri(uri)
    assert found == address
    assert found.uri == f"{address[0]}://{address[1]}"
    assert checked_registry_uri(found.uri) == found


@pytest.mark.parametrize(("uri", "reason"), [
    ("r.example", r"no scheme; write docker://r\.example\Z"), ("r.example:5000/", r"no scheme; write docker://r\.example:5000\Z"),
    ("https://r.example/", r"the scheme https.*; write docker://r\.example\Z"), ("r.example/s3cret", "no scheme; write it like docker://registry"),
    ("localhost:5000", "no scheme"), ("//r.example", "no scheme"), ("", "no scheme"), ("docker:r.example", "no scheme"),
    ("alice:s3cret@r.example", "no scheme"), ("https://r.example", "the scheme https"), ("library://r.example", "the scheme library"),
    ("docker://alice:s3cret@r.example", "user name or password"), ("docker://r.example/s3cret@x", "user name or password"),
    ("docker://r.example?s3cret", "query or fragment"), ("docker://r.example#s3cret", "query or fragment"),
    ("docker://r.example/s3cret", "has a path"), ("docker://r.example/a/", "has a path"), ("docker://", "no valid host name"),
    ("docker:///", "no valid host name"),
    ("docker://:5000", "no valid host name"), ("docker://r.example:", "no valid host name"), ("docker://alice:s3cret", "no valid host name"),
    ("docker://r example", "no valid host name"), ("docker://r\texample", "no valid host name"), ("docker://::1", "no valid host name"),
    ("docker://[::1", "no valid host name"), ("docker://[::]", "no valid host name"), ("docker://r%41", "no valid host name"),
    ("docker://r.example:123456", "no valid host name"),
    ("docker://r.example:0", "the port 0"), ("docker://r.example:65536", "the port 65536"), ("docker://...", "no valid host name"),
])  # fmt: skip
def test_checked_registry_uri_refuses(uri, reason):
    with pytest.raises(RuleError, match=reason) as caught:
        checked_registry_uri(uri)
    assert "s3cret" not in str(caught.value)


HUB_NAMES = ["docker.io", "index.docker.io", "registry-1.docker.io"]
HUB_ADDRESSES = [
    *HUB_NAMES, HUB_KEY, " HTTPS://Index.Docker.io/v1 ", "https://docker.io", "http://docker.io/", "https://registry-1.docker.io:443/v2/", "docker.io/library",
    "hub.docker.com", "https://hub.docker.com/r/library/alpine", "https://www.docker.com", "docker://hub.docker.com", "docker://docker.io/library/alpine",
    "docker://index.docker.io/v1/", "oras://docker.io/s3cret", "library://docker.io",
]


@pytest.mark.parametrize("uri", HUB_ADDRESSES)
def test_other_addresses_of_docker_hub(uri):
    """As docker_login and docker's files have them."""
    with pytest.raises(RuleError, match=r"an address of Docker Hub.* docker://docker\.io; write that\Z"):
        checked_registry_uri(uri)


@pytest.mark.parametrize("uri", [f"{scheme}://{host}{end}" for scheme in ("docker", "oras") for host in HUB_NAMES for end in ("", "/")] + [
    "docker://registry.hub.docker.com", "docker://mydocker.io", "docker://docker.io.example.org", "docker://docker.io:443", "docker://eu.docker.io"])
def test_what_is_accepted_beside_them(uri):
    assert checked_registry_uri(uri).uri == uri.rstrip("/")


def test_the_text_form_of_a_registry():
    assert repr(Registry("docker", "h")) == "Registry(scheme='docker', host='h')"


# logins

SPELLINGS = ["reg.example", "reg.example/", "http://reg.example", "https://reg.example", "https://reg.example/", "https://reg.example/v1/",
             "HTTPS://reg.example/V2", "reg.example/v1", "https://u:p@reg.example/v2/"]
HUB = ["docker.io", "index.docker.io", "https://registry-1.docker.io/v2/", HUB_KEY, "https://index.docker.io/v1"]
PARTS = ["reg.example/org", "https://reg.example/org/app", "reg.example/v3", "reg.example/v1/x"]
FOREIGN = ["REG.EXAMPLE", "https://Reg.example/v1/", "reg.example:5000", "x.reg.example", "docker.io/library", "", "https://"]
ALL = config({key: {"auth": OLD} for key in [*SPELLINGS, *HUB, *PARTS, *FOREIGN]})
NEW = {"auth": AUTH}
LOGINS = [  # what, before, after
    ("no file", DockerConfig(), config({"reg.example": NEW})),
    ("no list of logins", DockerConfig({"a": 1}, True), config({"reg.example": NEW}, a=1)),
    ("null in place of the list", DockerConfig({"a": 1, "auths": None}, True), config({"reg.example": NEW}, a=1)),
    ("another login", config({"reg.example": {"auth": OLD}}), config({"reg.example": NEW})),
    ("null in place of a login", config({"reg.example": None}), config({"reg.example": NEW})),
    ("a login as 1.3.0 wrote it, with unknown fields",
     config({"reg.example": {"username": "alice", "password": "s3cret", "serveraddress": "x", "email": "e", "more": [1]}}),
     config({"reg.example": {"auth": AUTH, "email": "e", "more": [1]}})),
    ("tokens", config({"reg.example": {"auth": AUTH, "identitytoken": "t", "registrytoken": "t"}}), config({"reg.example": NEW})),
    ("all spellings of the host", config({key: {"auth": OLD} for key in SPELLINGS}), config({"reg.example": NEW})),
    ("other hosts, one in another case, and a part of this one",
     config({"REG.example": {"auth": OLD}, "reg.example:5000": {"identitytoken": "t"}, "reg.example/org": {"username": "u", "password": "p"}}),
     config({"REG.example": {"auth": OLD}, "reg.example": NEW, "reg.example:5000": {"identitytoken": "t"},
             "reg.example/org": {"username": "u", "password": "p"}})),
]


@pytest.mark.parametrize(("before", "after"), table(LOGINS))
def test_login(before, after):
    assert login(before, "reg.example", "alice", "s3cret") == after
    assert login(after, "reg.example", "alice", "s3cret") == after


def test_login_and_logout_on_docker_hub():
    before = config({key: {"auth": OLD} for key in [*HUB, "docker.io/library"]})
    after = login(before, "registry-1.docker.io", "alice", "s3cret")
    assert after == config({HUB_KEY: NEW, "docker.io/library": {"auth": OLD}})
    assert logout(before, "docker.io") == config({"docker.io/library": {"auth": OLD}})


@pytest.mark.parametrize("name", ["docker.io", "index.docker.io", "registry-1.docker.io"])
def test_what_docker_s_clients_store_for_docker_hub_goes_with_the_logout_and_stays_else(name):
    tokens = {key: {"auth": OLD} for key in [f"{HUB_KEY}access-token", f"{HUB_KEY}refresh-token", "hub-tool", "hub-tool-token",
                                             "hub-tool-refresh-token"]}
    before = config({HUB_KEY: {"auth": OLD}, **tokens, "reg.example": NEW, "docker.io/library": NEW})
    assert logout(before, name) == config({"reg.example": NEW, "docker.io/library": NEW})
    assert login(before, name, "alice", "s3cret") == config({**before.auths, HUB_KEY: NEW})
    assert logout(before, "reg.example") == config({key: entry for key, entry in before.auths.items() if key != "reg.example"})
    assert only_hosts(before, ["docker.io"]) == config({HUB_KEY: {"auth": OLD}})


def test_case_counts_in_a_host():
    before = config({"localhost:5000": {"auth": OLD}, "https://LOCALHOST:5000": {"auth": OLD}})
    after = login(before, "LocalHost:5000", "alice", "s3cret")
    assert after == config({**before.auths, "LocalHost:5000": NEW})
    assert logout(after, "LocalHost:5000") == before
    assert logout(after, "localhost:5000") == config({"https://LOCALHOST:5000": {"auth": OLD}, "LocalHost:5000": NEW})


def wanted(uri, present=True, **rest):
    return WantedRegistry(uri, present, "alice" if present else "", "s3cret" if present else "", **rest)


UPPER, LOWER = "docker://LocalHost:5000", "docker://localhost:5000"
NOT_FOUND = ("registry LocalHost:5000: Apptainer finds this login only for images that are named with LocalHost:5000, and not in a pull of "
             "localhost:5000/...; declare localhost:5000 in place of it, or as well")
STAYS = ("registry localhost:5000: the login under the spelling LocalHost:5000, which to Apptainer is another registry, stays; if it is not needed, "
         "remove it with that spelling in uri and state: absent")
PRUNED = ("registry localhost:5000: the login under the spelling LocalHost:5000, which to Apptainer is another registry, is not listed, so prune "
          "removes it; list it if it is needed")
CASES = [  # what, hosts with logins, what is declared, prune, hosts with logins afterwards, the warnings
    ("as it is written", [], [wanted(UPPER)], False, ["LocalHost:5000"], [NOT_FOUND]),
    ("beside the usual spelling", ["localhost:5000"], [wanted(UPPER)], False, ["LocalHost:5000", "localhost:5000"],
     [STAYS.replace("localhost", "#").replace("LocalHost", "localhost").replace("#", "LocalHost")]),
    ("both declared", [], [wanted(UPPER), wanted(LOWER)], False, ["LocalHost:5000", "localhost:5000"], []),
    ("the usual one to be removed", ["localhost:5000"], [wanted(UPPER), wanted(LOWER, False)], False, ["LocalHost:5000"], [NOT_FOUND]),
    ("another one is there", ["LocalHost:5000"], [wanted(LOWER)], False, ["LocalHost:5000", "localhost:5000"], [STAYS]),
    ("another one is left by a logout", ["LocalHost:5000"], [wanted(LOWER, False)], False, ["LocalHost:5000"], [STAYS]),
    ("logout", ["LocalHost:5000", "x"], [wanted(UPPER, False)], False, ["x"], []),
    ("another one is pruned", ["LocalHost:5000", "x"], [wanted(LOWER)], True, ["localhost:5000"], [PRUNED]),
    ("Docker Hub's old name", [], [wanted("docker://Docker.io")], False, ["Docker.io"],
     [NOT_FOUND.replace("LocalHost:5000", "Docker.io").replace("localhost:5000", "docker.io")]),
]


@pytest.mark.parametrize(("before", "declared", "prune", "after", "warnings"), table(CASES))
def test_spellings(before, declared, prune, after, warnings):
    found = converge_registries(config(dict.fromkeys(before, NEW)), Credentials([]), declared, prune, True)
    assert sorted(found.docker.auths) == after
    assert list(found.warnings) == warnings


def test_a_spelling_is_kept_in_the_list_of_credentials():
    credentials = Credentials([Credential(LOWER, insecure=True)])
    converge_registries(config(), credentials, [wanted(UPPER)], False, True)
    assert credentials.result() == (Credential(LOWER, insecure=True), Credential(UPPER))


def test_a_login_in_the_old_form_stays_and_is_named():
    docker = DockerConfig({HUB_KEY: {"auth": OLD}, "https://u:s3cret@h/v1/": {"username": "u", "password": "s3cret"}}, True)
    found = converge_registries(docker, Credentials([]), [wanted("docker://docker.io", False), wanted("docker://h", False)], False, True, "/x/f.json")
    assert list(found.warnings) == [
        f"registry {host}: a login in the old form of .dockercfg stays at the top level of /x/f.json; Apptainer does not see it, but its secret is "
        f'there; remove "{key}" from the file' for host, key in (("docker.io", HUB_KEY), ("h", "https://(hidden)@h/v1/"))]
    assert found.docker == docker


OTHER_SYSTEMS = [  # what, the other keys of the file, the reason
    ("a store", {"credsStore": "osxkeychain"},
     'the credential helper "osxkeychain" manages its logins, but it is for macOS, so Apptainer finds no login on this node; '
     "remove credsStore from /x/f.json"),
    ("a helper", {"credHelpers": {"https://u:s3cret@h": "wincred.exe"}},
     'the credential helper "wincred.exe" manages its logins, but it is for Windows, so Apptainer finds no login on this node; '
     'remove "https://(hidden)@h" from credHelpers in /x/f.json'),
]


@pytest.mark.parametrize(("others", "reason"), table(OTHER_SYSTEMS))
def test_a_helper_of_another_system(others, reason):
    docker = config(**others)
    with pytest.raises(RuleError) as caught:
        set_logins(docker, {"h": ("alice", "s3cret")}, "/x/f.json")
    assert str(caught.value) == f"registry h: {reason}"
    found = converge_registries(docker, Credentials([]), [wanted("docker://h", False)], False, True, "/x/f.json")
    assert found.warnings == (f"registry h: {reason}",)


def test_logout_of_nobody_changes_nothing():
    for value in (DockerConfig(), DockerConfig({"auths": None}, True), ALL):
        assert logout(value, "nobody.example") is value


@pytest.mark.parametrize(("username", "password", "reason"), table([
    ("no username", "", "s3cret", "the username is empty; set one"),
    ("a colon in the username", "a:b", "s3cret", "the username has a colon, at which servers split it"),
    ("no password", "a", "", "the password is empty; set one, or remove the login with state: absent"),
    ("NUL at the end", "a", "s3cret\0", "NUL character, which Apptainer drops; use one without it"),
    ("NUL at the beginning", "a", "\0s3cret", "NUL character"),
    ("half a character", "a", "s3cret\ud800", "lone surrogate"),
]))
def test_what_basic_cannot_carry(username, password, reason):
    with pytest.raises(RuleError, match=reason) as caught:
        encode_login(username, password)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


HELPERS = [  # what, the other keys of the file, a host, the helper that manages it
    ("a helper", {"credHelpers": {"h": "x"}}, "h", "x"),
    ("a store", {"credsStore": "s"}, "h", "s"),
    ("Docker Hub under another name", {"credHelpers": {"docker.io": "x"}}, "index.docker.io", "x"),
]


@pytest.mark.parametrize(("others", "host", "name"), table(HELPERS))
def test_a_login_that_a_helper_manages_is_refused(others, host, name):
    value = config(**others)
    assert logout(value, host) == value
    with pytest.raises(RuleError) as caught:
        login(value, host, "alice", "s3cret")
    error = caught.value
    assert error.subject == f"registry {host}"
    assert error.reason.startswith(f'the credential helper "{name}" manages its logins (credHelpers or credsStore)')
    assert error.reason.endswith(f"log in with docker login {host}, or use another auth_file")
    assert "s3cret" not in str(error)


@pytest.mark.parametrize("others", table([
    ("the host is exempt", {"credHelpers": {"h": ""}, "credsStore": "s"}),
    ("of another host", {"credHelpers": {"other": "x"}}),
]))
def test_a_login_that_no_helper_manages_is_stored(others):
    assert keys_for_host(login(config(**others), "h", "u", "p"), "h") == ["h"]


def test_bytes_that_are_no_text_survive():
    (item,) = stored_logins(config({"h": {"auth": "YTr/"}}))
    assert encode_login(item.username, item.password) == "YTr/"


def test_only_hosts():
    assert keys_for_host(only_hosts(ALL, ["reg.example", "index.docker.io"]), "reg.example") == SPELLINGS
    assert list(only_hosts(ALL, ["docker.io"]).tree["auths"]) == HUB
    assert only_hosts(config({"h": NEW, "H": NEW}), ["H"]) == config({"H": NEW})
    assert only_hosts(ALL, []) == config()


# properties

@given(docker_configs.LOGINS, HOSTS, NAMES, PASSWORDS)
def test_login_twice_is_login_once(before, host, username, password):
    once = login(before, host, username, password)
    assert login(once, host, username, password) == once
    assert keys_for_host(once, host) == [registry_key(host)]
    assert (registry_key(host), canonical_host(host), username, password) in stored_logins(once)


@given(docker_configs.LOGINS, HOSTS, NAMES, PASSWORDS)
def test_logout_after_login_is_logout(before, host, username, password):
    without = logout(before, host)
    assert logout(login(before, host, username, password), host) == without
    assert logout(without, host) == without
    assert not keys_for_host(without, host)
    assert all(item.host != canonical_host(host) or item.key in HostKeys(before).namespaced[item.host] for item in stored_logins(without))


@given(docker_configs.LOGINS, HOSTS)
def test_all_the_rest_is_left_alone(before, host):
    after = login(before, host, "alice", "s3cret")
    mine = {*keys_for_host(before, host), registry_key(host)}
    assert {key: entry for key, entry in after.tree["auths"].items() if key not in mine} == {
        key: entry for key, entry in before.tree["auths"].items() if key not in mine}
    assert {**after.tree, "auths": None} == {**before.tree, "auths": None}
    assert HostKeys(after).namespaced == HostKeys(before).namespaced


def test_the_time_grows_with_the_number_of_logins():
    def work(logins):
        value = set_logins(config(), logins)
        assert set_logins(value, dict.fromkeys(logins)) == config()
        assert len(stored_logins(value)) == len(logins)

    assert_linear(work, lambda size: {f"r{number}.example": ("alice", f"s3cret{number}") for number in range(size)})
