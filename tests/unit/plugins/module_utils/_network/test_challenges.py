# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._network.challenges import Challenge, challenges
from hypothesis import given
from hypothesis import strategies as st

HUB = 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io"'


@pytest.mark.parametrize(("header", "expected"), [
    (HUB, [("bearer", {"realm": "https://auth.docker.io/token", "service": "registry.docker.io"})]),
    ("Basic", [("basic", {})]),
    ('BASIC Realm="x y"', [("basic", {"realm": "x y"})]),
    # several, with quoted commas, escapes and equals signs
    ('Negotiate, Basic realm="a, b=c", charset="UTF-8", Bearer realm="https://x/t?a=b",scope="repository:a/b:pull,push"',
     [("negotiate", {}), ("basic", {"realm": "a, b=c", "charset": "UTF-8"}),
      ("bearer", {"realm": "https://x/t?a=b", "scope": "repository:a/b:pull,push"})]),
    (r'Basic realm="say \"hi\" \\ or not"', [("basic", {"realm": 'say "hi" \\ or not'})]),
    ('Newauth realm="apps", type=1, title="Login to \\"apps\\"", Basic realm="simple"',  # RFC 7235, 4.1
     [("newauth", {"realm": "apps", "type": "1", "title": 'Login to "apps"'}), ("basic", {"realm": "simple"})]),
    # token68
    ("Negotiate YWJj==, NTLM TlRM", [("negotiate", {}), ("ntlm", {})]),
    # unquoted, spaces, empty items
    ("Bearer realm=https://x/token , service = y", [("bearer", {"realm": "https://x/token", "service": "y"})]),
    (', ,Bearer ,realm="z",, ', [("bearer", {"realm": "z"})]),
    ('Bearer\trealm = "z"', [("bearer", {"realm": "z"})]),
    # malformed
    ("", []),
    ('realm="of nobody"', []),
    ('"', []),
    ("=", []),
    ('Basic realm="not closed, a=b', [("basic", {"realm": "not closed, a=b"})]),
    ('Basic realm="ends in escape\\', [("basic", {"realm": "ends in escape"})]),
    ('Basic realm="a" charset="UTF-8"', [("basic", {"realm": "a"})]),
    ('Basic realm="first", realm="second"', [("basic", {"realm": "first"})]),
    ("Basic realm=", [("basic", {})]),
    ("Basic ???", [("basic", {})]),
    ("Basic realm=a b", [("basic", {"realm": "a b"})]),
])
def test_challenges(header, expected):
    assert challenges(header) == [Challenge(*each) for each in expected]


TOKENS = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,8}", fullmatch=True).map(str.lower)
PARAMETERS = st.dictionaries(TOKENS, st.text(st.characters(exclude_categories=["C"]), max_size=12), max_size=3)


@given(st.lists(st.tuples(TOKENS, PARAMETERS), max_size=3), st.sampled_from([",", ", ", " , ,\t"]))
def test_what_is_formatted_is_read(offered, comma):
    def item(scheme, parameters):
        escaped = {name: value.replace("\\", "\\\\").replace('"', '\\"') for name, value in parameters.items()}
        return f"{scheme.title()} " + comma.join(f'{name}="{value}"' for name, value in escaped.items())

    assert challenges(comma.join(item(*each) for each in offered)) == [Challenge(*each) for each in offered]


@given(st.text(st.sampled_from('aB=",\\ \t/;?\n\0é')) | st.text())
def test_never_fails(header):
    for scheme, parameters in challenges(header):
        assert scheme == scheme.lower()
        assert all(isinstance(value, str) for value in parameters.values())


@pytest.mark.parametrize("piece", ['"', "\\", '"\\', "a", " ", "a ", "a =,", 'a  ",', "é", "="])
def test_takes_no_longer_than_the_header_is(piece):
    begin = time.process_time()
    challenges(piece * 65536)
    assert time.process_time() - begin < 2
