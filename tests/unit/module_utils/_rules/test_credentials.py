# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._rules.credentials import Credentials, credential_key
from ansible_collections.hpc.apptainer.plugins.module_utils._values.remote_config import Credential
from support.tables import by_text

A = Credential("https://a.example")
B = Credential("docker://b.example")
C = Credential("https://c.example")


@pytest.mark.parametrize(("uri", "key"), by_text([
    ("Docker://R.example/v2", ("docker", "R.example")), ("ORAS://r:1", ("oras", "r:1")), ("HTTPS://k/x", ("https", "k")),
    ("hkp://k", ("http", "k:11371")),
    ("ftp://k", ("", "ftp://k")), ("docker://%zz", ("", "docker://%zz")), ("", ("", "")),
]))  # fmt: skip
def test_credential_key(uri, key):
    assert credential_key(uri) == key


def test_one_that_is_replaced_goes_to_the_end_unless_it_is_the_same():
    credentials = Credentials([A, B, C])
    credentials.replace(credential_key(B.uri), B)
    assert credentials.result() == (A, B, C)
    credentials.replace(credential_key(A.uri), A._replace(auth="x"))
    assert credentials.result() == (B, C, A._replace(auth="x"))


def test_all_that_match_are_replaced_and_removed():
    other = A._replace(uri="https://a.example/x")
    credentials = Credentials([A, other, B])
    assert credentials.matching(credential_key(A.uri)) == [A, other]
    credentials.replace(credential_key(A.uri), other)
    assert credentials.result() == (B, other)
    credentials.remove(credential_key(A.uri))
    credentials.remove(credential_key(C.uri))
    assert credentials.result() == (B,)
    assert credentials.matching(credential_key(A.uri)) == []


def test_prune_removes_what_is_not_listed_of_some_schemes():
    credentials = Credentials([A, B, C])
    credentials.prune({credential_key(A.uri)}, lambda scheme: scheme == "https")
    assert credentials.result() == (A, B)
