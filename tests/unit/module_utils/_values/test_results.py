# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._values.claims import EndpointToken, KeyserverLogin, RegistryLogin
from ansible_collections.hpc.apptainer.plugins.module_utils._values.remote_config import Credential, Keyserver, Remote, RemoteConfig
from ansible_collections.hpc.apptainer.plugins.module_utils._values.results import config_result, login_result, remote_result
from support.tables import table

NONE = RemoteConfig()
KEPT = "(hidden)"
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


@pytest.mark.parametrize(("name", "shown"), [("lab", LAB), ("site", SITE), ("gone", None)], ids=["a full one", "an empty one", "none"])
def test_remote_result(name, shown):
    assert remote_result(FULL, name) == shown


@pytest.mark.parametrize(("value", "shown"), table([
    ("a full file", FULL, {"default": "lab", "remotes": [LAB, SITE], "credentials": LOGINS}),
    ("an empty file", NONE, {"default": "", "remotes": [], "credentials": []}),
]))
def test_config_result(value, shown):
    assert config_result(value) == shown


SECRET_LOGINS = [  # what, a login, and how it is shown: kind, name, user name
    ("a token", EndpointToken("lab", "lab.example", False, "hunter2"), ("endpoint", "lab", None)),
    ("a password", KeyserverLogin("https://k", "Basic YWxpY2U6aHVudGVyMg=="), ("keyserver", "https://k", "alice")),
    ("a password without a user", KeyserverLogin("https://k", "Basic aHVudGVyMg=="), ("keyserver", "https://k", None)),
    ("a token of a keyserver", KeyserverLogin("https://k", "Bearer hunter2"), ("keyserver", "https://k", None)),
    ("a password in the URI", KeyserverLogin("https://u:hunter2@k", "hunter2"), ("keyserver", f"https://{KEPT}@k", None)),
    ("a registry", RegistryLogin("r:5000", "alice", "hunter2", True), ("registry", "r:5000", "alice")),
]


@pytest.mark.parametrize(("secret", "shown"), table(SECRET_LOGINS))
def test_login_result_shows_whose_it_is_and_no_secret(secret, shown):
    assert login_result(secret) == dict(zip(("kind", "name", "username"), shown, strict=True))
