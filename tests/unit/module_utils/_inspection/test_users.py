# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import pwd

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import ApptainerError
from ansible_collections.hpc.apptainer.plugins.module_utils._inspection import users
from ansible_collections.hpc.apptainer.plugins.module_utils._inspection.findings import Finding
from hypothesis import example, given
from hypothesis import strategies as st
from support.tables import table

DATABASE = [("root", 0, "/root"), ("bob", 1001, "/home/bob"), ("alice", 1000, "/home/alice"), ("alias", 1000, "/home/alice"),
            ("other", 1000, "/srv/alice"), ("nobody", 65534, "/nonexistent"), ("1001", 1500, "/home/1001"), ("far", 100000, "/home/far")]
PEOPLE = users.Limits()
FINDING = dict(Finding("mode", "error", "/p", "message")._asdict(), refused_by=["1.0"])


@pytest.fixture(autouse=True)
def database(monkeypatch, tmp_path):  # tmp_path first: pytest asks for the name of its user when it makes that
    entries = [pwd.struct_passwd((name, "x", uid, 100, "", home, "/bin/sh")) for name, uid, home in DATABASE]

    def by(field):
        def find(wanted):
            if "\0" in str(wanted):
                raise ValueError("embedded null byte")
            return next(user_entry for user_entry in entries if getattr(user_entry, field) == wanted)

        def get(wanted):
            try:
                return find(wanted)
            except StopIteration:
                raise KeyError(wanted) from None

        return get

    monkeypatch.setattr(pwd, "getpwall", lambda: entries)
    monkeypatch.setattr(pwd, "getpwnam", by("pw_name"))
    monkeypatch.setattr(pwd, "getpwuid", by("pw_uid"))


@pytest.mark.parametrize(("text", "expected"), table([
    ("empty", "", (1000, 60000)),
    ("tabs", "UID_MIN 500\nUID_MAX\t\t70000\n", (500, 70000)),
    ("spaces", "  UID_MIN   500  \n", (500, 60000)),
    ("hexadecimal and octal", "UID_MIN 0x1f4\nUID_MAX 0200000\n", (500, 65536)),
    ("quotes", 'UID_MIN "500"\n', (500, 60000)),
    ("twice", "UID_MIN 500\nUID_MIN 600\n", (600, 60000)),
    ("comments, other names, no numbers", "#UID_MIN 500\nSYS_UID_MIN 100\nUID_MIN\nUID_MAX many\nUID_MAX 08\n", (1000, 60000)),
]))
def test_limits(text, expected):
    assert users.limits(text) == expected


@pytest.mark.parametrize(("wanted", "owners", "names", "unknown"), table([
    ("all people", None, [], ["1001", "alice", "bob", "other"], []),
    ("nobody", [], [], [], []),
    ("two names", ["root", "bob"], [], ["bob", "root"], []),
    ("uids; but a name is looked for first", ["1001", "1000"], [], ["1001", "alice"], []),
    ("two names of one user", ["alias", "alice"], [], ["alias"], []),
    ("unknown ones", ["bob", "bob", "nosuch", "nosuch", "4711", "a\0b", ""], [], ["bob"], ["", "4711", "a\0b", "nosuch"]),
    ("no uids", ["1" * 5000, "\u0661\u0660\u0660\u0660", "\u00b2"], [], [], ["1" * 5000, "\u00b2", "\u0661\u0660\u0660\u0660"]),
    ("owners of homes", [], [1000, 1000, 0, 999, 4711, 100000], ["alice", "far"], []),
    ("an owner, and not somebody whose name looks like that", [], [1001], ["bob"], []),
    ("a name and owners", ["alice"], [1000, 100000], ["alice", "far"], []),
    ("all people and owners", None, [100000], ["1001", "alice", "bob", "far", "other"], []),
]))
def test_accounts(wanted, owners, names, unknown):
    found, missing = users.accounts(wanted, owners, PEOPLE)
    assert [account.name for account in found] == names
    assert missing == unknown


def test_an_account():
    assert users.accounts(["bob"], [], PEOPLE)[0] == [users.Account("bob", 1001, 100, "/home/bob")]


@pytest.mark.parametrize("text", ["9" * 40, "-99999999999999999999"], ids=["too large", "negative"])
def test_a_uid_that_is_none(text, monkeypatch):
    def too_large(uid):
        raise OverflowError("uid is greater than maximum")

    monkeypatch.setattr(pwd, "getpwuid", too_large)
    assert users.accounts([text], [], PEOPLE) == ([], [text])


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
                    max_leaves=5))
def test_an_answer_comes_back(answer):
    assert users.decode_reply(users.encode_reply({"answer": answer})) == json.loads(json.dumps(answer).encode("utf-8", "replace"))


def test_what_is_no_unicode_comes_back_as_question_marks():
    assert users.decode_reply(users.encode_reply({"answer": "b\udce4r"})) == "b?r"


def test_an_error_comes_back():
    with pytest.raises(ApptainerError, match=r"^no\. Do that\.$"):
        users.decode_reply(users.encode_reply({"error": "no. Do that."}))


@given(st.binary() | st.recursive(
    st.none() | st.integers() | st.text() | st.just(FINDING), lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["answer", "error", *FINDING]), inner), max_leaves=5).map(users.encode_reply))  # fmt: skip
@example(b"")
@example(b"[" * 100000)
@example(b"\xff")
@example(b"[]")
@example(b'{"answer": [], "error": "both"}')
@example(b'{"error": 1}')
def test_whatever_comes_back_is_findings_or_an_error(data):
    for rule in (users.own_findings, users.uids):
        try:
            answer = rule(users.decode_reply(data))
        except ApptainerError:
            continue
        assert isinstance(answer, list)
        if rule is users.own_findings:
            assert all(set(finding) == set(FINDING) for finding in answer)


def test_an_answer_without_end():
    with pytest.raises(ApptainerError, match=r"^the result is larger than 1024 KiB\. Run apptainer_remote_info as this user \(become_user\)\.$"):
        users.decode_reply(b" " * (users.MAX_REPLY + 1))


@pytest.mark.parametrize("change", [{}, {"line": 3, "remote": "site"}, {"refused_by": []}], ids=["as it is", "line and remote", "no versions"])
def test_findings(change):
    assert users.own_findings([{**FINDING, **change}]) == [{**FINDING, **change}]


def test_what_a_terminal_would_obey_does_not_come_through():
    assert users.own_findings([{**FINDING, "message": "a\x1b[2J\x9b\u202eb\u00e4 c\n"}]) == [{**FINDING, "message": "a?[2J??b\u00e4 c?"}]
    with pytest.raises(ApptainerError, match=r"^a\?b$"):
        users.decode_reply(users.encode_reply({"error": "a\x1bb"}))


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
