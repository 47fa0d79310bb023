# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._apptainer.effective import endpoint_tokens
from ansible_collections.hpc.apptainer.plugins.module_utils._rules.registries import encode_login
from ansible_collections.hpc.apptainer.plugins.module_utils._rules.stored_secrets import stored_secrets
from ansible_collections.hpc.apptainer.plugins.module_utils._values.claims import EndpointToken, KeyserverLogin, RegistryLogin
from ansible_collections.hpc.apptainer.plugins.module_utils._values.docker_config import DockerConfig
from ansible_collections.hpc.apptainer.plugins.module_utils._values.remote_config import Credential, Keyserver, Remote, RemoteConfig
from support.tables import table

NONE = RemoteConfig()
NO_LOGINS = DockerConfig()


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
SYSTEMS = [  # what, the global file, whether the keyserver is insecure
    ("no global file", NONE, False),
    ("other keyservers", RemoteConfig("", {"a": endpoint(Keyserver("https://other"), Keyserver("ftp://k.example", insecure=True))}), False),
    ("with another path", RemoteConfig("", {"a": endpoint(Keyserver(K + "/pks", insecure=True))}), True),
    ("with another scheme", RemoteConfig("", {"a": endpoint(Keyserver("hkps://k.example", insecure=True))}), True),
    ("of two endpoints the first by name", RemoteConfig("", {"b": endpoint(Keyserver(K)), "a": endpoint(Keyserver(K, insecure=True))}), True),
    ("of two endpoints the default one", RemoteConfig("b", {"b": endpoint(Keyserver(K)), "a": endpoint(Keyserver(K, insecure=True))}), False),
]


@pytest.mark.parametrize(("system", "insecure"), table(SYSTEMS))
def test_keyserver_logins(system, insecure):
    user = RemoteConfig(credentials=(
        Credential(K + "/x", "Basic YTpi", True), Credential("https://no-secret"), Credential("docker://r", "Basic old"),
        Credential("hkp://k.example", "Basic old"), Credential("https://%zz", "Basic old")))
    assert stored_secrets(user, NO_LOGINS, system) == [KeyserverLogin(K + "/x", "Basic YTpi", insecure)]


@pytest.mark.parametrize(("credentials", "insecure"), table([
    ("no entry", [], False),
    ("not insecure", [Credential("docker://r.example")], False),
    ("insecure", [Credential("docker://r.example", insecure=True)], True),
    ("with a path", [Credential("docker://r.example/v2", insecure=True)], True),
    ("another case is another registry", [Credential("docker://R.example", insecure=True)], False),
    ("one of the two schemes", [Credential("docker://r.example"), Credential("oras://r.example", insecure=True)], True),
    ("other entries", [Credential("https://r.example", insecure=True), Credential("docker://x", insecure=True)], False),
]))
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
