# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._network.challenges import Challenge, challenges
from hypothesis import given
from hypothesis import strategies as st
from support.growth import assert_linear
from support.tables import table

HUB = 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io"'


@pytest.mark.parametrize(("header", "expected"), table([
    ("as Docker Hub", HUB, [("bearer", {"realm": "https://auth.docker.io/token", "service": "registry.docker.io"})]),
    ("only a scheme", "Basic", [("basic", {})]),
    ("in capitals", 'BASIC Realm="x y"', [("basic", {"realm": "x y"})]),
    ("several, with quoted commas and equals signs",
     'Negotiate, Basic realm="a, b=c", charset="UTF-8", Bearer realm="https://x/t?a=b",scope="repository:a/b:pull,push"',
     [("negotiate", {}), ("basic", {"realm": "a, b=c", "charset": "UTF-8"}),
      ("bearer", {"realm": "https://x/t?a=b", "scope": "repository:a/b:pull,push"})]),
    ("escapes", r'Basic realm="say \"hi\" \\ or not"', [("basic", {"realm": 'say "hi" \\ or not'})]),
    ("the example of RFC 7235, 4.1", 'Newauth realm="apps", type=1, title="Login to \\"apps\\"", Basic realm="simple"',
     [("newauth", {"realm": "apps", "type": "1", "title": 'Login to "apps"'}), ("basic", {"realm": "simple"})]),
    ("token68", "Negotiate YWJj==, NTLM TlRM", [("negotiate", {}), ("ntlm", {})]),
    ("unquoted, with spaces", "Bearer realm=https://x/token , service = y", [("bearer", {"realm": "https://x/token", "service": "y"})]),
    ("empty items", ', ,Bearer ,realm="z",, ', [("bearer", {"realm": "z"})]),
    ("a tab", 'Bearer\trealm = "z"', [("bearer", {"realm": "z"})]),
    # malformed
    ("nothing", "", []),
    ("a parameter of no scheme", 'realm="of nobody"', []),
    ("a quote", '"', []),
    ("an equals sign", "=", []),
    ("not closed", 'Basic realm="not closed, a=b', [("basic", {"realm": "not closed, a=b"})]),
    ("ends in an escape", 'Basic realm="ends in escape\\', [("basic", {"realm": "ends in escape"})]),
    ("no comma between parameters", 'Basic realm="a" charset="UTF-8"', [("basic", {"realm": "a"})]),
    ("a parameter twice", 'Basic realm="first", realm="second"', [("basic", {"realm": "first"})]),
    ("a parameter without a value", "Basic realm=", [("basic", {})]),
    ("question marks", "Basic ???", [("basic", {})]),
    ("a space in a value", "Basic realm=a b", [("basic", {"realm": "a b"})]),
]))
def test_challenges(header, expected):
    assert challenges(header) == [Challenge(*each) for each in expected]


TOKENS = st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyz0189-"), min_size=1, max_size=8).map("x{}".format)
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


@pytest.mark.parametrize("piece", ['"', "\\", '"\\', "a", " ", "a ", "a =,", 'a  ",', "é", "="], ids=repr)
def test_takes_no_longer_than_the_header_is(piece):
    assert_linear(challenges, lambda size: piece * 20 * size)
