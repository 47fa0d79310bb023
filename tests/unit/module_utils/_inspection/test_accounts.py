# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pwd

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._inspection.accounts import Account, Limits, accounts, limits
from support.tables import table

DATABASE = [("root", 0, "/root"), ("bob", 1001, "/home/bob"), ("alice", 1000, "/home/alice"), ("alias", 1000, "/home/alice"),
            ("other", 1000, "/srv/alice"), ("nobody", 65534, "/nonexistent"), ("1001", 1500, "/home/1001"), ("far", 100000, "/home/far")]
PEOPLE = Limits()


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
    assert limits(text) == expected


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
    found, missing = accounts(wanted, owners, PEOPLE)
    assert [account.name for account in found] == names
    assert missing == unknown


def test_an_account():
    assert accounts(["bob"], [], PEOPLE)[0] == [Account("bob", 1001, 100, "/home/bob")]


@pytest.mark.parametrize("text", ["9" * 40, "-99999999999999999999"], ids=["too large", "negative"])
def test_a_uid_that_is_none(text, monkeypatch):
    def too_large(uid):
        raise OverflowError("uid is greater than maximum")

    monkeypatch.setattr(pwd, "getpwuid", too_large)
    assert accounts([text], [], PEOPLE) == ([], [text])
