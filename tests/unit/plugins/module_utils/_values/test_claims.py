# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._apptainer.effective import endpoint_tokens
from ansible_collections.hpc.apptainer.plugins.module_utils._rules.stored_secrets import stored_secrets
from ansible_collections.hpc.apptainer.plugins.module_utils._values.claims import (
    EndpointKeyserver,
    EndpointServices,
    EndpointToken,
    KeyserverLogin,
    RegistryLogin,
    basic,
    claim_name,
    username_of,
)
from ansible_collections.hpc.apptainer.plugins.module_utils._values.docker_config import DockerConfig, encode_login
from ansible_collections.hpc.apptainer.plugins.module_utils._values.remote_config import Credential, Keyserver, Remote, RemoteConfig

NONE = RemoteConfig()
NO_LOGINS = DockerConfig()


@pytest.mark.parametrize(("secret", "name", "text"), [
    (EndpointToken("si\nte", "h", True, "hunter2"), 'endpoint "si\\nte"', "EndpointToken(name='si\\nte', uri='h', insecure=True, token='(hidden)')"),
    (KeyserverLogin("https://k", "hunter2"), "keyserver https://k", "KeyserverLogin(uri='https://k', auth='(hidden)', insecure=False)"),
    (RegistryLogin("r:5000", "u", "hunter2"), "registry r:5000",
     "RegistryLogin(host='r:5000', username='u', password='(hidden)', insecure=False)"),
    (EndpointServices("a", "h", False, ("library",)), 'services of endpoint "a"',
     "EndpointServices(name='a', uri='h', insecure=False, services=('library',))"),
    (EndpointKeyserver("https://k"), "keyserver https://k", "EndpointKeyserver(uri='https://k', insecure=False)"),
])  # fmt: skip
def test_what_is_shown(secret, name, text):
    assert claim_name(secret) == name
    assert repr(secret) == str(secret) == text


def test_a_password_in_a_stored_uri_is_not_shown():
    assert claim_name(KeyserverLogin("https://u:hunter2@k", "x")) == "keyserver https://(hidden)@k"
    for uri in ("https://u:hunter2@k", "//u:hunter2@k:80/p", "u:hunter2@k"):
        for secret in (EndpointToken("a", uri, False, "x"), KeyserverLogin(uri, "x"), EndpointServices("a", uri, False, ()), EndpointKeyserver(uri)):
            assert "uri='" in repr(secret)
            assert "(hidden)@k" in repr(secret)
            assert "hunter2" not in repr([secret])


def test_endpoint_tokens():
    user = RemoteConfig("", {
        "own": Remote("own.example", "t1", insecure=True), "none": Remote("none.example"),
        "copy": Remote("old.example", "t2", system=True, insecure=True), "stale": Remote("stale.example", "t3", system=True),
    })  # fmt: skip
    system = RemoteConfig("", {"copy": Remote("new.example", "theirs", system=True), "other": Remote("other.example", "theirs", system=True)})
    tokens = [EndpointToken("own", "own.example", True, "t1"), EndpointToken("copy", "new.example", True, "t2"),
              EndpointToken("stale", "stale.example", False, "t3")]
    assert endpoint_tokens(user, system) == tokens
    assert stored_secrets(user, NO_LOGINS, system) == tokens
    assert endpoint_tokens(user, NONE)[1].uri == "old.example"


def endpoint(*keyservers):
    return Remote("e.example", system=True, keyservers=keyservers)


K = "https://k.example"
SYSTEMS = [  # the global file, whether the keyserver is insecure
    (NONE, False),
    (RemoteConfig("", {"a": endpoint(Keyserver("https://other"), Keyserver("ftp://k.example", insecure=True))}), False),
    (RemoteConfig("", {"a": endpoint(Keyserver(K + "/pks", insecure=True))}), True),
    (RemoteConfig("", {"a": endpoint(Keyserver("hkps://k.example", insecure=True))}), True),
    (RemoteConfig("", {"b": endpoint(Keyserver(K)), "a": endpoint(Keyserver(K, insecure=True))}), True),
    (RemoteConfig("b", {"b": endpoint(Keyserver(K)), "a": endpoint(Keyserver(K, insecure=True))}), False),
]


@pytest.mark.parametrize(("system", "insecure"), SYSTEMS)
def test_keyserver_logins(system, insecure):
    user = RemoteConfig(credentials=(
        Credential(K + "/x", "Basic YTpi", True), Credential("https://no-secret"), Credential("docker://r", "Basic old"),
        Credential("hkp://k.example", "Basic old"), Credential("https://%zz", "Basic old")))
    assert stored_secrets(user, NO_LOGINS, system) == [KeyserverLogin(K + "/x", "Basic YTpi", insecure)]


@pytest.mark.parametrize(("credentials", "insecure"), [
    ([], False),
    ([Credential("docker://r.example")], False),
    ([Credential("docker://r.example", insecure=True)], True),
    ([Credential("docker://R.example/v2", insecure=True)], True),
    ([Credential("docker://r.example"), Credential("oras://r.example", insecure=True)], True),
    ([Credential("https://r.example", insecure=True), Credential("docker://x", insecure=True)], False),
])  # fmt: skip
def test_registry_logins(credentials, insecure):
    docker = DockerConfig({"auths": {"r.example": {"auth": encode_login("alice", "s3cret")}, "t.example": {"identitytoken": "t"}}}, True)
    assert stored_secrets(RemoteConfig(credentials=tuple(credentials)), docker, NONE) == [RegistryLogin("r.example", "alice", "s3cret", insecure)]


def test_docker_hub_has_one_name():
    docker = DockerConfig({"auths": {"https://index.docker.io/v1/": {"auth": encode_login("alice", "s3cret")}}}, True)
    user = RemoteConfig(credentials=(Credential("docker://registry-1.docker.io", insecure=True),))
    assert stored_secrets(user, docker, NONE) == [RegistryLogin("docker.io", "alice", "s3cret", True)]


def test_what_is_new_is_found_by_comparing():
    before = DockerConfig({"auths": {"r": {"auth": encode_login("a", "old")}, "s": {"auth": encode_login("a", "same")}}}, True)
    after = DockerConfig({"auths": {"r": {"auth": encode_login("a", "new")}, "s": {"auth": encode_login("a", "same")}}}, True)
    assert set(stored_secrets(NONE, after, NONE)) - set(stored_secrets(NONE, before, NONE)) == {RegistryLogin("r", "a", "new")}


@pytest.mark.parametrize(("auth", "name"), [
    ("Basic " + encode_login("alice", "a:b"), "alice"), ("basic " + encode_login("müller", "p"), "müller"),
    ("Bearer YTpi", None), ("", None), ("Basic Y", None),
])  # fmt: skip
def test_username_of(auth, name):
    assert username_of(auth) == name


def test_services_are_no_secret():
    assert claim_name(EndpointServices("site", "h", False, ("library",))) == 'services of endpoint "site"'


@pytest.mark.parametrize(("username", "password"), [("alice", "s3cret"), ("álice", "pä:ss"), ("", "token"), ("a", "\udc80")])
def test_basic(username, password):
    scheme, _space, word = basic(username, password).partition(" ")
    assert scheme == "Basic"
    assert base64.b64decode(word).decode("utf-8", "surrogateescape") == f"{username}:{password}"
