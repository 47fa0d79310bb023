# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each command of Apptainer's own by itself, in the words of Apptainer; whole recorded sequences are in test_golden_operations.py."""

from __future__ import annotations

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._apptainer.effective import effective, sync
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import RuleError
from ansible_collections.hpc.apptainer.plugins.module_utils._values.remote_config import Credential, Keyserver, Remote, RemoteConfig, with_remote
from hypothesis import given
from hypothesis import strategies as st
from support.apptainer_commands import add, add_keyserver, keyserver_owner, remove, remove_keyserver, use


def config(active="", credentials=(), **remotes):
    return RemoteConfig(active, remotes, tuple(credentials))


def shared(uri="lib.example", **fields):
    return Remote(uri, system=True, **fields)


def own(uri="own.example", **fields):
    return Remote(uri, **fields)


LOGIN = Credential("docker://registry.example")

EMPTY = config()
TWO = config("a", a=shared("a.example"), b=shared("b.example"))
RULED = config("a", a=shared("a.example", exclusive=True), b=shared("b.example"))
OVERRULED = config("b", a=shared("a.example", exclusive=True), b=shared("b.example"))

# endpoints

ADD = [
    (EMPTY, {"name": "a", "uri": "https://a.example/"}, config("a", a=own("a.example"))),
    (EMPTY, {"name": "a", "uri": "a.example", "make_default": False}, config("", a=own("a.example"))),
    (EMPTY, {"name": "a", "uri": "a.example", "system": True}, config("a", a=shared("a.example"))),
    (EMPTY, {"name": "a", "uri": "a.example", "insecure": True}, config("a", a=own("a.example", insecure=True))),
    (EMPTY, {"name": "a", "uri": "http://a.example", "insecure": True}, config("a", a=own("a.example", insecure=True))),
    (EMPTY, {"name": "a", "uri": "https://a.example", "insecure": True}, config("a", a=own("a.example"))),
    (EMPTY, {"name": " a ", "uri": " a.example "}, RemoteConfig(" a ", {" a ": own(" a.example ")})),
    (EMPTY, {"name": "a", "uri": "localhost:18080"}, config("a", a=own(""))),  # hazard: nothing usable is stored
    (TWO, {"name": "c", "uri": "c.example", "make_default": False}, config("a", c=own("c.example"), **TWO.remotes)),
    (TWO, {"name": "c", "uri": "c.example"}, config("c", c=own("c.example"), **TWO.remotes)),
    (RULED, {"name": "c", "uri": "c.example", "make_default": False}, config("a", c=own("c.example"), **RULED.remotes)),
    (RULED, {"name": "c", "uri": "c.example", "system": True}, config("c", c=shared("c.example"), **RULED.remotes)),
    (config(a=own(), credentials=[LOGIN]), {"name": "b", "uri": "b.example"}, config("b", a=own(), b=own("b.example"), credentials=[LOGIN])),
]

NOT_ADDED = [
    (EMPTY, {"name": "", "uri": "a.example"}, "invalid name: cannot have empty name"),
    (EMPTY, {"name": " \u2028", "uri": "a.example"}, "invalid name: cannot have empty name"),
    (EMPTY, {"name": "a", "uri": "\t"}, "invalid URI: cannot have empty URI"),
    (EMPTY, {"name": "", "uri": ""}, "invalid name: cannot have empty name"),
    (EMPTY, {"name": "", "uri": "http://a.example"}, "http URI requires --insecure or APPTAINER_ADD_INSECURE=true"),
    (EMPTY, {"name": "a", "uri": "127.0.0.1:8080"}, "first path segment in URL cannot contain colon"),
    (TWO, {"name": "a", "uri": "%zz"}, 'invalid URL escape "%zz"'),
    (TWO, {"name": "a", "uri": "a.example"}, "a is already a remote"),
    (RULED, {"name": "c", "uri": "c.example"}, "could not use c: remote a has been set exclusive by the system administrator"),
]

USE = [
    (TWO, "b", {"system": True}, TWO._replace(active="b")),
    (TWO, "b", {"system": False}, TWO._replace(active="b")),
    (TWO, "a", {"system": True}, TWO),
    (TWO, "b", {"system": True, "exclusive": True}, config("b", a=shared("a.example"), b=shared("b.example", exclusive=True))),
    (RULED, "b", {"system": True, "exclusive": True}, config("b", a=shared("a.example"), b=shared("b.example", exclusive=True))),
    (RULED, "a", {"system": True, "exclusive": True}, RULED),
    (config("gone", a=shared()), "a", {"system": True, "exclusive": True}, config("a", a=shared(exclusive=True))),
    (config("", a=shared()), "a", {"system": True, "exclusive": True}, config("a", a=shared(exclusive=True))),
    # without --exclusive it is taken from the exclusive one itself, but not from another
    (RULED, "a", {"system": True}, TWO),
    (RULED, "b", {"system": True}, OVERRULED),
    # hazard: the second of two commands leaves two exclusive endpoints
    (OVERRULED, "b", {"system": True, "exclusive": True},
     config("b", a=shared("a.example", exclusive=True), b=shared("b.example", exclusive=True))),
    # a user's default that is exclusive can be used again, but loses the mark
    (RULED, "a", {"system": False}, TWO),
]

NOT_USED = [
    (TWO, "c", {"system": True}, "c is not a remote"),
    (EMPTY, "", {"system": False}, " is not a remote"),
    (TWO, "b", {"system": False, "exclusive": True}, "exclusive can't be set by user"),
    (RULED, "b", {"system": False}, "could not use b: remote a has been set exclusive by the system administrator"),
    (OVERRULED, "a", {"system": False}, "could not use a: remote a has been set exclusive by the system administrator"),
]

REMOVE = [
    (TWO, "b", True, config("a", a=shared("a.example"))),
    (TWO, "a", True, config("", b=shared("b.example"))),  # nothing else becomes the default
    (RULED, "a", True, config("", b=shared("b.example"))),
    (config("a", a=own()), "a", False, EMPTY),
    (config("", a=own(), credentials=[LOGIN]), "a", False, config(credentials=[LOGIN])),
]

NOT_REMOVED = [
    (TWO, "c", True, "c is not a remote"),
    (TWO, "a", False, "a is global and can't be removed"),
]


@pytest.mark.parametrize(("before", "arguments", "after"), ADD)
def test_add(before, arguments, after):
    assert add(before, **arguments) == after


@pytest.mark.parametrize(("before", "arguments", "message"), NOT_ADDED)
def test_add_refuses_in_the_words_of_apptainer(before, arguments, message):
    with pytest.raises(RuleError) as caught:
        add(before, **arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize(("before", "name", "arguments", "after"), USE)
def test_use(before, name, arguments, after):
    assert use(before, name, **arguments) == after


@pytest.mark.parametrize(("before", "name", "arguments", "message"), NOT_USED)
def test_use_refuses_in_the_words_of_apptainer(before, name, arguments, message):
    with pytest.raises(RuleError) as caught:
        use(before, name, **arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize(("before", "name", "system", "after"), REMOVE)
def test_remove(before, name, system, after):
    assert remove(before, name, system) == after


@pytest.mark.parametrize(("before", "name", "system", "message"), NOT_REMOVED)
def test_remove_refuses_in_the_words_of_apptainer(before, name, system, message):
    with pytest.raises(RuleError) as caught:
        remove(before, name, system)
    assert str(caught.value) == message


def test_nothing_changes_the_configuration_it_was_given():
    before = config("a", **RULED.remotes)
    add(before, "c", "c.example", make_default=False)
    use(before, "b", system=True, exclusive=True)
    remove(before, "a", system=True)
    sync(before, config("b", a=shared("moved.example"), b=shared(exclusive=True)))
    with_remote(before, "a", None)
    assert before == RULED


def test_hazard_users_with_a_copy_of_a_removed_exclusive_endpoint_are_locked_out():
    synced = sync(EMPTY, RULED)
    stale = sync(synced, remove(RULED, "a", system=True))
    assert effective(synced, remove(RULED, "a", system=True)).config.active == "a"
    with pytest.raises(RuleError, match="set exclusive by the system administrator"):
        use(stale, "b", system=False)
    with pytest.raises(RuleError, match="is global and can't be removed"):
        remove(stale, "a", system=False)
    released = sync(synced, use(RULED, "a", system=True))
    assert use(released, "b", system=False).active == "b"


# keyservers

OWNER = [
    (TWO, "", "a"),
    (TWO, "b", "b"),
    (config(a=shared()), "a", "a"),
]

NO_OWNER = [
    (EMPTY, "", "no endpoint found: no default remote"),
    (config(a=shared()), "", "no endpoint found: no default remote"),
    (config("gone", a=shared()), "", "no endpoint found: gone is not a remote"),
    (TWO, "c", "no endpoint found: c is not a remote"),
    (config("a", a=own()), "", "current endpoint is not a system defined endpoint"),
]

BUILTIN = Keyserver("https://own.example")
SKIPPED = BUILTIN._replace(skip=True)
X = Keyserver("https://x.example", external=True)
Y = Keyserver("hkp://y.example", external=True)
NEW = Keyserver("https://new.example", external=True)

ADD_KEYSERVER = [
    ((), {}, (NEW,)),
    ((BUILTIN,), {}, (BUILTIN, NEW)),
    ((BUILTIN,), {"order": 0}, (BUILTIN, NEW)),
    ((BUILTIN,), {"order": 1}, (NEW, BUILTIN)),
    ((BUILTIN,), {"order": 2}, (BUILTIN, NEW)),
    ((BUILTIN, X), {"order": 2}, (BUILTIN, NEW, X)),
    ((BUILTIN, X), {"insecure": True}, (BUILTIN, X, NEW._replace(insecure=True))),
    # hazard: behind a skipped first entry an append lands before the last one
    ((SKIPPED, X, Y), {}, (SKIPPED, X, NEW, Y)),
    ((X, Y, SKIPPED), {}, (X, Y, NEW, SKIPPED)),
    # a skipped one comes back, moved; insecure is as it was
    ((SKIPPED, X), {"uri": SKIPPED.uri}, (X, BUILTIN)),
    ((X, SKIPPED), {"uri": SKIPPED.uri, "order": 1, "insecure": True}, (BUILTIN, X)),
]

KEYSERVER_NOT_ADDED = [
    ((BUILTIN,), {"order": 3}, "order is out of range: maximum is 2"),
    ((SKIPPED, X), {"order": 3}, "order is out of range: maximum is 2"),
    ((BUILTIN,), {"uri": "https://own.example/pks"}, "https://own.example/pks is already configured"),
    ((BUILTIN, X), {"uri": "hkps://x.example"}, "hkps://x.example is already configured"),
    ((X._replace(skip=True),), {"uri": X.uri}, "https://x.example is already configured"),
    ((SKIPPED, X._replace(uri=SKIPPED.uri)), {"uri": SKIPPED.uri}, "https://own.example is already configured"),
]

REMOVE_KEYSERVER = [
    ((BUILTIN, X), "https://x.example/pks", (BUILTIN,)),
    ((BUILTIN, X), BUILTIN.uri, (SKIPPED, X)),
    ((SKIPPED, X, Y), "http://y.example:11371", (SKIPPED, X)),
    ((SKIPPED, BUILTIN, X), BUILTIN.uri, (SKIPPED, SKIPPED, X)),
]

KEYSERVER_NOT_REMOVED = [
    ((BUILTIN,), BUILTIN.uri, "the primary keyserver https://own.example can't be removed"),
    ((SKIPPED, X), X.uri, "the primary keyserver https://x.example can't be removed"),
    ((SKIPPED, X), SKIPPED.uri, "keyserver https://own.example is not configured"),
    ((BUILTIN,), NEW.uri, "keyserver https://new.example is not configured"),
    ((), NEW.uri, "keyserver https://new.example is not configured"),
    # hazard: what Apptainer can't tell apart can be added twice and never removed
    ((X, Keyserver("ftp://z.example", external=True)), "ftp://z.example", "keyserver ftp://z.example is not configured"),
]


@pytest.mark.parametrize(("system", "name", "owner"), OWNER)
def test_keyserver_owner(system, name, owner):
    assert keyserver_owner(system, name) == owner


@pytest.mark.parametrize(("system", "name", "message"), NO_OWNER)
def test_keyserver_owner_refuses_in_the_words_of_apptainer(system, name, message):
    with pytest.raises(RuleError) as caught:
        keyserver_owner(system, name)
    assert str(caught.value) == message


@pytest.mark.parametrize(("before", "arguments", "after"), ADD_KEYSERVER)
def test_add_keyserver(before, arguments, after):
    assert add_keyserver(before, **{"uri": NEW.uri, **arguments}) == after


def test_hazard_a_keyserver_that_apptainer_cannot_use_is_added_again_and_again():
    useless = Keyserver("ftp://z.example", external=True)
    assert add_keyserver(add_keyserver((X,), useless.uri), useless.uri) == (X, useless, useless)


@pytest.mark.parametrize(("before", "arguments", "message"), KEYSERVER_NOT_ADDED)
def test_add_keyserver_refuses_in_the_words_of_apptainer(before, arguments, message):
    with pytest.raises(RuleError) as caught:
        add_keyserver(before, **{"uri": NEW.uri, **arguments})
    assert str(caught.value) == message


@pytest.mark.parametrize(("before", "uri", "after"), REMOVE_KEYSERVER)
def test_remove_keyserver(before, uri, after):
    assert remove_keyserver(before, uri) == after


@pytest.mark.parametrize(("before", "uri", "message"), KEYSERVER_NOT_REMOVED)
def test_remove_keyserver_refuses_in_the_words_of_apptainer(before, uri, message):
    with pytest.raises(RuleError) as caught:
        remove_keyserver(before, uri)
    assert str(caught.value) == message


# for all files

NAMES = st.sampled_from(["a", "b", "c", ""])
MARK = st.booleans()
KEYSERVERS = st.builds(Keyserver, st.sampled_from(["https://k.example", "hkp://k.example", "ftp://k.example"]), MARK, MARK, MARK)
REMOTES = st.builds(
    Remote, st.sampled_from(["a.example", "//b.example:8443", "c.example:8443", ""]), st.sampled_from(["", "t"]), MARK, MARK, MARK,
    st.lists(KEYSERVERS, max_size=2).map(tuple))
CONFIGS = st.builds(RemoteConfig, NAMES, st.dictionaries(NAMES, REMOTES), st.lists(st.just(LOGIN), max_size=1).map(tuple))


@given(CONFIGS, NAMES, st.booleans(), st.booleans())
def test_use_leaves_everything_but_the_default_and_the_marks(before, name, system, exclusive):
    try:
        after = use(before, name, system, exclusive)
    except RuleError:
        return
    assert after.active == name
    assert after.remotes[name].exclusive is exclusive
    assert after.credentials == before.credentials
    assert {key: remote._replace(exclusive=False) for key, remote in after.remotes.items()} == {
        key: remote._replace(exclusive=False) for key, remote in before.remotes.items()}
