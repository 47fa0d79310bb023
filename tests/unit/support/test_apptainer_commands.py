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
from support.apptainer_commands import (
    add_keyserver,
    add_remote,
    added_insecure,
    added_uri,
    keyserver_owner,
    remove_keyserver,
    remove_remote,
    use_remote,
)
from support.tables import table
from support.uris import TEXTS
from support.values import tuples, values


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

# what `remote add` stores

ADDED = [  # the command line's own tests and remote_ops.json
    ("cloud.apptainer.org", "cloud.apptainer.org"),
    ("https://cloud.apptainer.org/", "cloud.apptainer.org"),
    ("  h.example ", "  h.example "),
    ("h.example#f", "h.example"),
    ("h.example?q", "h.example"),
    ("h.example/", "h.example"),
    ("h.example/sub/path", "h.example/sub/path"),
    ("//h.example", "h.example"),
    ("//h.example:8443/y", "h.example:8443/y"),
    ("HTTPS://H.EXAMPLE", "H.EXAMPLE"),
    ("Http://h.example", "h.example"),
    ("ftp://h.example", "h.example"),
    ("https://h.example/%41b", "h.example/Ab"),
    ("https://h.example/..", "."),
    ("https://h.example//a//b/../c/", "h.example/a/c"),
    ("https://h.example/a b", "h.example/a b"),
    ("https://h.example/a%2Fb", "h.example/a/b"),
    ("https://h.example/é", "h.example/é"),
    ("https://h.example:8443", "h.example:8443"),
    ("https://h.example:8443/x/", "h.example:8443/x"),
    ("https://u:p@h.example/a?x=1#f", "h.example/a"),
    ("https://é.example", "é.example"),
    ("https://[::1]/", "[::1]"),
    ("https:/h.example", "/h.example"),
    ("https:////h.example", "/h.example"),
    ("https:h.example", ""),
    ("h.example:8443", ""),
    ("localhost:18080", ""),
    ("a:b:c", ""),
    ("https://", ""),
    ("#frag", ""),
    ("?q=1", ""),
    ("/", "/"),
    ("-", "-"),
    ("..", ".."),
    ("../x", "../x"),
]

ADDED_INSECURE = [  # the prefixes are compared with case
    ("h.example", False, False),
    ("h.example", True, True),
    ("https://h.example", False, False),
    ("https://h.example", True, False),
    ("HTTPS://h.example", True, True),
    ("http://h.example", True, True),
    ("Http://h.example", False, False),
    ("Http://h.example", True, True),
    ("https:/h.example", True, True),
]


@pytest.mark.parametrize(("uri", "stored"), ADDED)
def test_added_uri(uri, stored):
    assert added_uri(uri) == stored


@pytest.mark.parametrize(("uri", "flag", "stored"), ADDED_INSECURE)
def test_added_insecure(uri, flag, stored):
    assert added_insecure(uri, flag) is stored


@pytest.mark.parametrize("uri", ["http://", "http://h.example/"])
def test_adding_an_http_uri_needs_the_flag(uri):
    with pytest.raises(RuleError, match=r"http URI requires --insecure or APPTAINER_ADD_INSECURE=true"):
        added_insecure(uri, False)


@given(TEXTS)
def test_every_uri_is_stored_or_refused(text):
    try:
        added_uri(text)
    except RuleError as error:
        assert str(error)


# endpoints

ADD = [
    ("the first", EMPTY, {"name": "a", "uri": "https://a.example/"}, config("a", a=own("a.example"))),
    ("not as the default", EMPTY, {"name": "a", "uri": "a.example", "make_default": False}, config("", a=own("a.example"))),
    ("a global one", EMPTY, {"name": "a", "uri": "a.example", "system": True}, config("a", a=shared("a.example"))),
    ("insecure", EMPTY, {"name": "a", "uri": "a.example", "insecure": True}, config("a", a=own("a.example", insecure=True))),
    ("insecure, by http", EMPTY, {"name": "a", "uri": "http://a.example", "insecure": True}, config("a", a=own("a.example", insecure=True))),
    ("https overrules insecure", EMPTY, {"name": "a", "uri": "https://a.example", "insecure": True}, config("a", a=own("a.example"))),
    ("names and URIs as they are", EMPTY, {"name": " a ", "uri": " a.example "}, RemoteConfig(" a ", {" a ": own(" a.example ")})),
    ("hazard: nothing usable is stored", EMPTY, {"name": "a", "uri": "localhost:18080"}, config("a", a=own(""))),  # hazard: nothing usable is stored
    ("a second, not as the default", TWO, {"name": "c", "uri": "c.example", "make_default": False}, config("a", c=own("c.example"), **TWO.remotes)),
    ("a second", TWO, {"name": "c", "uri": "c.example"}, config("c", c=own("c.example"), **TWO.remotes)),
    ("beside an exclusive one, not as the default", RULED, {"name": "c", "uri": "c.example", "make_default": False},
     config("a", c=own("c.example"), **RULED.remotes)),
    ("a global one beside an exclusive one", RULED, {"name": "c", "uri": "c.example", "system": True},
     config("c", c=shared("c.example"), **RULED.remotes)),
    ("logins stay", config(a=own(), credentials=[LOGIN]), {"name": "b", "uri": "b.example"},
     config("b", a=own(), b=own("b.example"), credentials=[LOGIN])),
]

NOT_ADDED = [
    ("no name", EMPTY, {"name": "", "uri": "a.example"}, "invalid name: cannot have empty name"),
    ("a blank name", EMPTY, {"name": " \u2028", "uri": "a.example"}, "invalid name: cannot have empty name"),
    ("a blank URI", EMPTY, {"name": "a", "uri": "\t"}, "invalid URI: cannot have empty URI"),
    ("neither", EMPTY, {"name": "", "uri": ""}, "invalid name: cannot have empty name"),
    ("no name, and http", EMPTY, {"name": "", "uri": "http://a.example"}, "http URI requires --insecure or APPTAINER_ADD_INSECURE=true"),
    ("a URI that Go cannot parse", EMPTY, {"name": "a", "uri": "127.0.0.1:8080"}, "first path segment in URL cannot contain colon"),
    ("an escape that Go cannot parse", TWO, {"name": "a", "uri": "%zz"}, 'invalid URL escape "%zz"'),
    ("the same name", TWO, {"name": "a", "uri": "a.example"}, "a is already a remote"),
    ("beside an exclusive one", RULED, {"name": "c", "uri": "c.example"},
     "could not use c: remote a has been set exclusive by the system administrator"),
]

USE = [
    ("a global one", TWO, "b", {"system": True}, TWO._replace(active="b")),
    ("a user's", TWO, "b", {"system": False}, TWO._replace(active="b")),
    ("the default already", TWO, "a", {"system": True}, TWO),
    ("made exclusive", TWO, "b", {"system": True, "exclusive": True}, config("b", a=shared("a.example"), b=shared("b.example", exclusive=True))),
    ("made exclusive in place of another", RULED, "b", {"system": True, "exclusive": True},
     config("b", a=shared("a.example"), b=shared("b.example", exclusive=True))),
    ("exclusive already", RULED, "a", {"system": True, "exclusive": True}, RULED),
    ("made exclusive, the default is gone", config("gone", a=shared()), "a", {"system": True, "exclusive": True},
     config("a", a=shared(exclusive=True))),
    ("made exclusive, there was no default", config("", a=shared()), "a", {"system": True, "exclusive": True}, config("a", a=shared(exclusive=True))),
    # without --exclusive it is taken from the exclusive one itself, but not from another
    ("without --exclusive it loses the mark", RULED, "a", {"system": True}, TWO),
    ("another one keeps the mark", RULED, "b", {"system": True}, OVERRULED),
    # hazard: the second of two commands leaves two exclusive endpoints
    ("hazard: the second of two commands leaves two exclusive endpoints", OVERRULED, "b", {"system": True, "exclusive": True},
     config("b", a=shared("a.example", exclusive=True), b=shared("b.example", exclusive=True))),
    # a user's default that is exclusive can be used again, but loses the mark
    ("a user's default that is exclusive loses the mark", RULED, "a", {"system": False}, TWO),
]

NOT_USED = [
    ("an unknown one", TWO, "c", {"system": True}, "c is not a remote"),
    ("an empty name", EMPTY, "", {"system": False}, " is not a remote"),
    ("made exclusive by a user", TWO, "b", {"system": False, "exclusive": True}, "exclusive can't be set by user"),
    ("beside an exclusive one", RULED, "b", {"system": False}, "could not use b: remote a has been set exclusive by the system administrator"),
    ("the exclusive one that is not the default", OVERRULED, "a", {"system": False},
     "could not use a: remote a has been set exclusive by the system administrator"),
]

REMOVE = [
    ("another one", TWO, "b", True, config("a", a=shared("a.example"))),
    ("the default", TWO, "a", True, config("", b=shared("b.example"))),  # nothing else becomes the default
    ("an exclusive one", RULED, "a", True, config("", b=shared("b.example"))),
    ("the user's own", config("a", a=own()), "a", False, EMPTY),
    ("logins stay", config("", a=own(), credentials=[LOGIN]), "a", False, config(credentials=[LOGIN])),
]

NOT_REMOVED = [
    ("an unknown one", TWO, "c", True, "c is not a remote"),
    ("a global one by a user", TWO, "a", False, "a is global and can't be removed"),
]


@pytest.mark.parametrize(("before", "arguments", "after"), table(ADD))
def test_add(before, arguments, after):
    assert add_remote(before, **arguments) == after


@pytest.mark.parametrize(("before", "arguments", "message"), table(NOT_ADDED))
def test_add_refuses_in_the_words_of_apptainer(before, arguments, message):
    with pytest.raises(RuleError) as caught:
        add_remote(before, **arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize(("before", "name", "arguments", "after"), table(USE))
def test_use(before, name, arguments, after):
    assert use_remote(before, name, **arguments) == after


@pytest.mark.parametrize(("before", "name", "arguments", "message"), table(NOT_USED))
def test_use_refuses_in_the_words_of_apptainer(before, name, arguments, message):
    with pytest.raises(RuleError) as caught:
        use_remote(before, name, **arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize(("before", "name", "system", "after"), table(REMOVE))
def test_remove(before, name, system, after):
    assert remove_remote(before, name, system) == after


@pytest.mark.parametrize(("before", "name", "system", "message"), table(NOT_REMOVED))
def test_remove_refuses_in_the_words_of_apptainer(before, name, system, message):
    with pytest.raises(RuleError) as caught:
        remove_remote(before, name, system)
    assert str(caught.value) == message


def test_nothing_changes_the_configuration_it_was_given():
    before = config("a", **RULED.remotes)
    add_remote(before, "c", "c.example", make_default=False)
    use_remote(before, "b", system=True, exclusive=True)
    remove_remote(before, "a", system=True)
    sync(before, config("b", a=shared("moved.example"), b=shared(exclusive=True)))
    with_remote(before, "a", None)
    assert before == RULED


def test_hazard_users_with_a_copy_of_a_removed_exclusive_endpoint_are_locked_out():
    synced = sync(EMPTY, RULED)
    stale = sync(synced, remove_remote(RULED, "a", system=True))
    assert effective(synced, remove_remote(RULED, "a", system=True)).config.active == "a"
    with pytest.raises(RuleError, match="set exclusive by the system administrator"):
        use_remote(stale, "b", system=False)
    with pytest.raises(RuleError, match="is global and can't be removed"):
        remove_remote(stale, "a", system=False)
    released = sync(synced, use_remote(RULED, "a", system=True))
    assert use_remote(released, "b", system=False).active == "b"


# keyservers

OWNER = [
    ("the default", TWO, "", "a"),
    ("a named one", TWO, "b", "b"),
    ("a named one without a default", config(a=shared()), "a", "a"),
]

NO_OWNER = [
    ("no file", EMPTY, "", "no endpoint found: no default remote"),
    ("no default", config(a=shared()), "", "no endpoint found: no default remote"),
    ("a default that is gone", config("gone", a=shared()), "", "no endpoint found: gone is not a remote"),
    ("an unknown name", TWO, "c", "no endpoint found: c is not a remote"),
    ("one that is not global", config("a", a=own()), "", "current endpoint is not a system defined endpoint"),
]

BUILTIN = Keyserver("https://own.example")
SKIPPED = BUILTIN._replace(skip=True)
X = Keyserver("https://x.example", external=True)
Y = Keyserver("hkp://y.example", external=True)
NEW = Keyserver("https://new.example", external=True)

ADD_KEYSERVER = [
    ("the only one", (), {}, (NEW,)),
    ("the second", (BUILTIN,), {}, (BUILTIN, NEW)),
    ("order 0", (BUILTIN,), {"order": 0}, (BUILTIN, NEW)),
    ("order 1", (BUILTIN,), {"order": 1}, (NEW, BUILTIN)),
    ("order 2", (BUILTIN,), {"order": 2}, (BUILTIN, NEW)),
    ("in the middle", (BUILTIN, X), {"order": 2}, (BUILTIN, NEW, X)),
    ("insecure", (BUILTIN, X), {"insecure": True}, (BUILTIN, X, NEW._replace(insecure=True))),
    # hazard: behind a skipped first entry an append lands before the last one
    ("hazard: behind a skipped first entry an append lands before the last one", (SKIPPED, X, Y), {}, (SKIPPED, X, NEW, Y)),
    ("before a skipped last one", (X, Y, SKIPPED), {}, (X, Y, NEW, SKIPPED)),
    # a skipped one comes back, moved; insecure is as it was
    ("a skipped one comes back as the last", (SKIPPED, X), {"uri": SKIPPED.uri}, (X, BUILTIN)),
    ("a skipped one comes back as the first, its insecure as it was", (X, SKIPPED), {"uri": SKIPPED.uri, "order": 1, "insecure": True}, (BUILTIN, X)),
]

KEYSERVER_NOT_ADDED = [
    ("order beyond the end", (BUILTIN,), {"order": 3}, "order is out of range: maximum is 2"),
    ("order beyond the end, without the skipped one", (SKIPPED, X), {"order": 3}, "order is out of range: maximum is 2"),
    ("the built-in one with another path", (BUILTIN,), {"uri": "https://own.example/pks"}, "https://own.example/pks is already configured"),
    ("an external one with another scheme", (BUILTIN, X), {"uri": "hkps://x.example"}, "hkps://x.example is already configured"),
    ("a skipped external one", (X._replace(skip=True),), {"uri": X.uri}, "https://x.example is already configured"),
    ("of two the last one decides", (SKIPPED, X._replace(uri=SKIPPED.uri)), {"uri": SKIPPED.uri}, "https://own.example is already configured"),
]

REMOVE_KEYSERVER = [
    ("an external one, with another path", (BUILTIN, X), "https://x.example/pks", (BUILTIN,)),
    ("the built-in one", (BUILTIN, X), BUILTIN.uri, (SKIPPED, X)),
    ("an external one, with another scheme", (SKIPPED, X, Y), "http://y.example:11371", (SKIPPED, X)),
    ("the one in use of two", (SKIPPED, BUILTIN, X), BUILTIN.uri, (SKIPPED, SKIPPED, X)),
]

KEYSERVER_NOT_REMOVED = [
    ("the only one", (BUILTIN,), BUILTIN.uri, "the primary keyserver https://own.example can't be removed"),
    ("the only one in use", (SKIPPED, X), X.uri, "the primary keyserver https://x.example can't be removed"),
    ("a skipped one", (SKIPPED, X), SKIPPED.uri, "keyserver https://own.example is not configured"),
    ("an unknown one", (BUILTIN,), NEW.uri, "keyserver https://new.example is not configured"),
    ("an unknown one of an empty list", (), NEW.uri, "keyserver https://new.example is not configured"),
    # hazard: what Apptainer can't tell apart can be added twice and never removed
    ("hazard: what Apptainer cannot tell apart is never removed", (X, Keyserver("ftp://z.example", external=True)), "ftp://z.example",
     "keyserver ftp://z.example is not configured"),
]


@pytest.mark.parametrize(("system", "name", "owner"), table(OWNER))
def test_keyserver_owner(system, name, owner):
    assert keyserver_owner(system, name) == owner


@pytest.mark.parametrize(("system", "name", "message"), table(NO_OWNER))
def test_keyserver_owner_refuses_in_the_words_of_apptainer(system, name, message):
    with pytest.raises(RuleError) as caught:
        keyserver_owner(system, name)
    assert str(caught.value) == message


@pytest.mark.parametrize(("before", "arguments", "after"), table(ADD_KEYSERVER))
def test_add_keyserver(before, arguments, after):
    assert add_keyserver(before, **{"uri": NEW.uri, **arguments}) == after


def test_hazard_a_keyserver_that_apptainer_cannot_use_is_added_again_and_again():
    useless = Keyserver("ftp://z.example", external=True)
    assert add_keyserver(add_keyserver((X,), useless.uri), useless.uri) == (X, useless, useless)


@pytest.mark.parametrize(("before", "arguments", "message"), table(KEYSERVER_NOT_ADDED))
def test_add_keyserver_refuses_in_the_words_of_apptainer(before, arguments, message):
    with pytest.raises(RuleError) as caught:
        add_keyserver(before, **{"uri": NEW.uri, **arguments})
    assert str(caught.value) == message


@pytest.mark.parametrize(("before", "uri", "after"), table(REMOVE_KEYSERVER))
def test_remove_keyserver(before, uri, after):
    assert remove_keyserver(before, uri) == after


@pytest.mark.parametrize(("before", "uri", "message"), table(KEYSERVER_NOT_REMOVED))
def test_remove_keyserver_refuses_in_the_words_of_apptainer(before, uri, message):
    with pytest.raises(RuleError) as caught:
        remove_keyserver(before, uri)
    assert str(caught.value) == message


# for all files

NAMES = st.sampled_from(["a", "b", "c", ""])
MARKS = [False, True]
KEYSERVERS = tuples(values(Keyserver, ["https://k.example", "hkp://k.example", "ftp://k.example"], MARKS, MARKS, MARKS), 2)
REMOTES = st.builds(
    lambda remote, keyservers: remote._replace(keyservers=keyservers),
    st.sampled_from(values(Remote, ["a.example", "//b.example:8443", "c.example:8443", ""], ["", "t"], MARKS, MARKS, MARKS)),
    st.just(()) | st.sampled_from(KEYSERVERS))
CONFIGS = st.builds(RemoteConfig, NAMES, st.dictionaries(NAMES, REMOTES), st.sampled_from([(), (LOGIN,)]))


@given(CONFIGS, NAMES, st.booleans(), st.booleans())
def test_use_leaves_everything_but_the_default_and_the_marks(before, name, system, exclusive):
    try:
        after = use_remote(before, name, system, exclusive)
    except RuleError:
        return
    assert after.active == name
    assert after.remotes[name].exclusive is exclusive
    assert after.credentials == before.credentials
    assert {key: remote._replace(exclusive=False) for key, remote in after.remotes.items()} == {
        key: remote._replace(exclusive=False) for key, remote in before.remotes.items()}
