# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Services that an endpoint must not lead to."""

from __future__ import annotations

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._apptainer.services import is_local, service_hazard, token_warnings
from ansible_collections.hpc.apptainer.plugins.module_utils._values.remote_config import Keyserver, Remote, RemoteConfig
from ansible_collections.hpc.apptainer.plugins.module_utils._values.uri import parse

HTTP = "uses plain http, although the endpoint uses https"
LOCAL = "is at a loopback or link-local address, where each node finds only itself"


@pytest.mark.parametrize(("endpoint", "insecure", "service", "hazard"), [
    ("library.example.org", False, "https://library.example.org/l", ""),
    ("library.example.org", False, "https://other.example.org", ""),
    ("library.example.org", False, "http://library.example.org", HTTP),
    ("library.example.org", False, "http://127.0.0.1:15001", HTTP),
    ("library.example.org", False, "https://127.0.0.1:15001", LOCAL),
    ("library.example.org", True, "http://library.example.org", ""),
    ("library.example.org", True, "http://127.0.0.1:15001", LOCAL),
    ("//localhost:8443/x", False, "https://localhost:15001", ""),
    ("//LOCALHOST:8443", False, "https://localhost", ""),
    ("//localhost:8443", False, "http://localhost:15001", HTTP),
    ("//localhost:8443", False, "https://127.0.0.1:15001", LOCAL),
    ("//[::1]:8443", False, "https://[::1]/", ""),
    ("library.example.org", False, "https://[x", ""),
    ("//[x", False, "https://127.0.0.1", ""),
    ("library.example.org", False, "", ""),
])
def test_service_hazard(endpoint, insecure, service, hazard):
    assert service_hazard(endpoint, insecure, service) == hazard


@pytest.mark.parametrize(("host", "local"), [
    ("localhost", True), ("LocalHost:80", True), ("localhost.", True), ("a.localhost", True), ("localhost.localdomain", True), ("ip6-loopback", True),
    ("127.0.0.1", True), ("127.9.9.9:1", True), ("127.1", True), ("2130706433", True), ("0x7f.1", True), ("0.0.0.0", True), ("169.254.169.254", True),
    ("[::1]:443", True), ("[fe80::1%25eth0]", True), ("[::ffff:127.0.0.1]", True), ("[::]", True),
    ("10.0.0.1", False), ("192.168.1.1", False), ("8.8.8.8", False), ("[2001:db8::1]", False), ("[::ffff:8.8.8.8]", False),
    ("library.example.org", False), ("notlocalhost", False), ("localhost.example.org", False), ("1.2.3.4.5", False), ("127.0.0.1.example.org", False),
    ("", False),
])  # fmt: skip
def test_is_local(host, local):
    assert is_local(parse(f"https://{host}/x")) is local


@pytest.mark.parametrize(("keyserver", "warned"), [
    (Keyserver("http://keys.example.org"), True),
    (Keyserver("hkp://keys.example.org"), True),
    (Keyserver("https://127.0.0.1"), True),
    (Keyserver("https://keys.example.org"), False),
    (Keyserver("http://keys.example.org", external=True), False),
    (Keyserver("http://keys.example.org", skip=True), False),
    (Keyserver("ftp://keys.example.org"), False),
])
def test_token_warnings(keyserver, warned):
    """What the files say is known without asking; once is enough."""
    system = RemoteConfig("site", {"site": Remote("library.example.org", system=True, keyservers=(keyserver,)), "other": Remote("o.example.org")})
    after = RemoteConfig("", {"site": Remote("library.example.org", system=True, token="t")})
    warnings = token_warnings(RemoteConfig(), after, system)
    assert bool(warnings) is warned
    assert not warned or "and Apptainer sends the token there" in warnings[0]
    assert token_warnings(after, after, system) == ()
