# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import ApptainerError
from ansible_collections.hpc.apptainer.plugins.module_utils._inspection import users
from ansible_collections.hpc.apptainer.plugins.module_utils._inspection.findings import Finding
from ansible_collections.hpc.apptainer.plugins.module_utils._inspection.replies import decode_reply, encode_reply
from hypothesis import example, given
from hypothesis import strategies as st

FINDING = dict(Finding("mode", "error", "/p", "message")._asdict(), refused_by=["1.0"])


@given(st.binary() | st.recursive(
    st.none() | st.integers() | st.text() | st.just(FINDING), lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["answer", "error", *FINDING]), inner), max_leaves=5).map(encode_reply))  # fmt: skip
@example(b"")
@example(b"[" * 100000)
@example(b"\xff")
@example(b"[]")
@example(b'{"answer": [], "error": "both"}')
@example(b'{"error": 1}')
def test_whatever_comes_back_is_findings_or_an_error(data):
    for rule in (users.own_findings, users.uids):
        try:
            answer = rule(decode_reply(data))
        except ApptainerError:
            continue
        assert isinstance(answer, list)
        if rule is users.own_findings:
            assert all(set(finding) == set(FINDING) for finding in answer)


@pytest.mark.parametrize("change", [{}, {"line": 3, "remote": "site"}, {"refused_by": []}], ids=["as it is", "line and remote", "no versions"])
def test_findings(change):
    assert users.own_findings([{**FINDING, **change}]) == [{**FINDING, **change}]


def test_what_a_terminal_would_obey_does_not_come_through():
    assert users.own_findings([{**FINDING, "message": "a\x1b[2J\x9b\u202eb\u00e4 c\n"}]) == [{**FINDING, "message": "a?[2J??b\u00e4 c?"}]


@pytest.mark.parametrize("change", [{"id": 1}, {"message": None}, {"line": "3"}, {"line": True}, {"remote": 1}, {"refused_by": "1.0"},
                                    {"refused_by": [1]}, {"more": ""}], ids=str)  # fmt: skip
def test_no_findings(change):
    with pytest.raises(ApptainerError, match="the check was cut short"):
        users.own_findings([{**FINDING, **change}])


@pytest.mark.parametrize("answer", [None, {}, "text", ["text"], [None]], ids=str)
def test_neither_findings_nor_uids(answer):
    for rule in (users.own_findings, users.uids):
        with pytest.raises(ApptainerError, match="the check was cut short"):
            rule(answer)


def test_uids():
    assert users.uids([0, 1000]) == [0, 1000]
    with pytest.raises(ApptainerError):
        users.uids([True])


def test_an_entry_is_plain_data():
    assert users.user_entry("b\udce4r", "/home/b\udce4r", [FINDING]) == {"user": "b?r", "home": "/home/b?r", "error": None, "findings": [FINDING]}
    unknown = users.unknown_user('x"\n')
    assert (unknown["user"], unknown["home"], unknown["findings"]) == ('x"?', None, [])
    assert unknown["error"].startswith('"x\\"?" is neither a user name nor a uid on this node. Correct it')
