# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The addresses that hosts are written as. The old forms are those that name lookups here know."""

from __future__ import annotations

import socket

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._values.hosts import address_of, no_place_for_secrets
from hypothesis import given
from hypothesis import strategies as st

OLD = ["127.1", "0x7f.1", "2130706433", "0x7f000001", "0X7F.0.0.1", "0177.0.0.01", "017700000001", "127.0.257", "0"]
NAMES = ["", "localhost", "library.example.org", "1.2.3.4.5", "256.1.1.1", "99999999999", "08.1.1.1", "1e100.net", "0xfacade.example", "[x", "a:b",
         "feed"]


@pytest.mark.parametrize("host", OLD)
def test_old_forms(host):
    address = address_of(host)
    assert str(address) == socket.getaddrinfo(host, 80, socket.AF_INET, socket.SOCK_STREAM)[0][4][0]
    assert no_place_for_secrets(host)


@pytest.mark.parametrize("host", NAMES)
def test_names(host):
    assert address_of(host) is None
    assert no_place_for_secrets(host) == ""


@pytest.mark.parametrize(("host", "address"), [
    ("10.0.0.1", "10.0.0.1"), ("[::1]", "::1"), ("[::]", "::"), ("[FE80::1%25eth0]", "fe80::1"), ("2001:db8::1", "2001:db8::1"),
    ("[::ffff:10.0.0.1]", "10.0.0.1"), ("[::10.0.0.1]", "10.0.0.1"), ("[64:ff9b::10.0.0.1]", "10.0.0.1"), ("[::ffff:0:10.0.0.1]", "10.0.0.1"),
    ("[2002:a00:1::5]", "10.0.0.1"), ("\uff11\uff10.0.0.1", "10.0.0.1"),
])  # fmt: skip
def test_addresses(host, address):
    assert str(address_of(host)) == address


@given(st.ip_addresses(v=4))
def test_the_usual_form_is_no_old_one(address):
    assert address_of(str(address)) == address_of(f"[::ffff:{address}]") == address
    assert bool(no_place_for_secrets(str(address))) == (address.is_link_local or address.is_unspecified)
    assert bool(no_place_for_secrets(f"[::ffff:{address}]")) == (address.is_link_local or address.is_unspecified)
