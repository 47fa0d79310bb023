# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import itertools

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import RuleError
from ansible_collections.hpc.apptainer.plugins.module_utils._rules.endpoints import keyserver_list
from ansible_collections.hpc.apptainer.plugins.module_utils._rules.keyservers import (
    PlacedKeyserver,
    needs_discovery,
    owning_endpoint,
    place_keyserver,
    predict_new_endpoint,
)
from ansible_collections.hpc.apptainer.plugins.module_utils._rules.wanted import WantedKeyserver
from ansible_collections.hpc.apptainer.plugins.module_utils._values.remote_config import Keyserver, Remote, RemoteConfig
from ansible_collections.hpc.apptainer.plugins.module_utils._values.uri import keyserver_identity, same_keyserver
from hypothesis import assume, given
from hypothesis import strategies as st
from support.apptainer_commands import add_keyserver
from support.tables import table
from support.values import values

BUILT_IN, OPENPGP = "cloud.apptainer.org", "https://keys.openpgp.org"
OWN = Keyserver("https://own.example")
SKIPPED = OWN._replace(skip=True)
X = Keyserver("https://x.example", external=True)
Y = Keyserver("https://y.example", external=True)
N = Keyserver("https://n.example", external=True)
JUNK = Keyserver("ftp://junk.example", external=True)
DEFAULT = Keyserver(OPENPGP)


def shared(*keyservers, uri="lib.example"):
    return Remote(uri, system=True, keyservers=keyservers)


def config(remote, **others):
    """A global file whose default is the endpoint a."""
    return RemoteConfig("a", {"a": remote, **others})


def present(keyserver, order=None, insecure=None, **fields):
    return PlacedKeyserver(getattr(keyserver, "uri", keyserver), True, order, insecure, **fields)


def absent(keyserver, **fields):
    return PlacedKeyserver(getattr(keyserver, "uri", keyserver), False, **fields)


def after(remote, wanted, builtin=None):
    """The new list; nothing else changes, and nothing at all in a second run."""
    before = config(remote, b=shared(X), c=Remote("own.example"))
    desired = place_keyserver(before, wanted, builtin)
    servers = desired.config.remotes["a"].keyservers
    assert desired == (before._replace(remotes={**before.remotes, "a": remote._replace(keyservers=servers)}), ())
    again = place_keyserver(desired.config, wanted, builtin).config
    assert again is desired.config
    return list(servers)


# the endpoint

LOCAL = Remote("lib.example", keyservers=(OWN,))


@pytest.mark.parametrize(("before", "name", "found"), table([
    ("the default one", config(shared()), "", "a"),
    ("a named one", config(shared(), b=shared()), "b", "b"),
    ("no default is needed for a named one", RemoteConfig("", {"b": shared()}), "b", "b"),
]))
def test_owner(before, name, found):
    assert owning_endpoint(before, present(X, remote=name)) == found


@pytest.mark.parametrize(("before", "name", "words"), table([
    ("no file", RemoteConfig(), "", "the global file has no default endpoint; set remote to the endpoint that has the keyserver"),
    ("no default", RemoteConfig("", {"b": shared()}), "", "or make one the default with apptainer_remote"),
    ("an unknown name", config(shared()), "b", 'endpoint "b": it is not in the global file; add it first with apptainer_remote (scope: global)'),
    ("an unknown default", RemoteConfig("gone", {}), "", 'endpoint "gone": it is the default, but is not in the global file; add it first'),
    ("System: false", config(LOCAL), "", 'endpoint "a": the global file does not mark it as global (System: true)'),
    ("System: false, named", config(shared(), b=LOCAL), "b", "declare it with apptainer_remote (scope: global), which fixes that"),
]))
def test_owner_refused(before, name, words):
    for function in (owning_endpoint, needs_discovery, place_keyserver):
        with pytest.raises(RuleError) as caught:
            function(before, present(X, remote=name))
        assert words in str(caught.value)


@pytest.mark.parametrize(("before", "name"), table([
    ("no file", RemoteConfig(), ""),
    ("no file, named", RemoteConfig(), "a"),
    ("no default", RemoteConfig("", {"b": shared(X)}), ""),
    ("an unknown name", config(shared(X)), "b"),
    ("an unknown default", RemoteConfig("gone", {"b": shared(X)}), ""),
]))
@pytest.mark.parametrize("uri", [X.uri, "", "ftp://x.example", "%zz"])
def test_without_an_endpoint_there_is_nothing_to_remove(before, name, uri):
    wanted = absent(uri, remote=name, order=-7, builtin_uri="ftp://x")
    assert needs_discovery(before, wanted) is None
    assert place_keyserver(before, wanted) == (before, ())
    assert predict_new_endpoint(before, wanted) is None


@pytest.mark.parametrize("name", ["", "a"])
def test_removal_from_an_endpoint_that_is_no_global_one(name):
    assert needs_discovery(config(LOCAL), absent(OWN, remote=name)) is None
    with pytest.raises(RuleError, match="which fixes that"):
        place_keyserver(config(LOCAL), absent(OWN, remote=name))


# check mode

UNCERTAIN = 'endpoint "b": it is not in the global file yet; a real run fails unless an earlier task adds it'


@pytest.mark.parametrize(("before", "wanted", "server"), table([
    ("beside another endpoint", config(shared(X)), present(N, remote="b"), N),
    ("without a file", RemoteConfig(), present(N, remote="b"), N),
    ("insecure", RemoteConfig(), present(N, insecure=True, remote="b"), N._replace(insecure=True)),
    ("as Apptainer stores it", RemoteConfig(), present(" https://n.example ", insecure=False, remote="b"), N),
    ("an order that may be one", RemoteConfig(), present(N, order=2, remote="b"), N),
]))
def test_an_endpoint_that_an_earlier_task_may_add(before, wanted, server):
    desired = predict_new_endpoint(before, wanted)
    assert desired == (before._replace(remotes={**before.remotes, "b": Remote("", system=True, keyservers=(server,))}), (UNCERTAIN,))


@pytest.mark.parametrize(("before", "wanted"), table([
    ("it is there", config(shared(), b=shared()), present(N, remote="b")),
    ("it is there, though not as a global one", config(LOCAL), present(N, remote="a")),
    ("no name, no default", RemoteConfig(), present(N)),
    ("no name, a broken default", RemoteConfig("gone"), present(N)),
    ("removed", RemoteConfig(), absent(N, remote="b")),
]))
def test_what_is_not_foreseen(before, wanted):
    assert predict_new_endpoint(before, wanted) is None


def test_an_endpoint_that_an_earlier_task_may_add_with_builtin_uri():
    for order, servers in ((None, (OWN, N)), (2, (OWN, N)), (1, (N, OWN))):
        desired = predict_new_endpoint(RemoteConfig(), present(N, order=order, remote="b", builtin_uri=OWN.uri))
        assert desired.config.remotes["b"].keyservers == servers


@pytest.mark.parametrize(("uri", "order", "words"), table([
    ("ftp", "ftp://n.example", None, "keyserver uri has no host, or a scheme that Apptainer cannot use"),
    ("a password", "https://u:hunter2@n.example", None, "keyserver uri has a user name or password"),
    ("order 0", N, 0, "order is 0, but it counts the keyservers in use from 1"),
    ("order 7", N, 7, "order 7 is out of range (1-2, counting"),
]))
def test_what_fails_whatever_an_earlier_task_adds(uri, order, words):
    with pytest.raises(RuleError) as caught:
        predict_new_endpoint(RemoteConfig(), present(uri, order=order, remote="b", builtin_uri=OWN.uri if order else None))
    assert str(caught.value).startswith('endpoint "b": ' + words)
    assert "hunter2" not in str(caught.value)


# discovery

@pytest.mark.parametrize(("remote", "wanted", "needed"), table([
    ("an empty list", shared(), present(X), True),
    ("even for what may be the built-in one", shared(), present(OWN), True),
    ("the built-in endpoint's is known", shared(uri=BUILT_IN), present(X), False),
    ("the built-in endpoint is known only by that very text", shared(uri="//" + BUILT_IN), present(X), True),
    ("the user named it", shared(), present(X, builtin_uri=OWN.uri), False),
    ("the list holds it", shared(OWN), present(X), False),
    ("a list without it stays without it", shared(Y), present(X), False),
    ("to remove one it need not be known", shared(), absent(X), False),
    ("to remove what nobody could add it need not be known", shared(), absent("ftp://x.example"), False),
]))
def test_needs_discovery(remote, wanted, needed):
    assert needs_discovery(config(remote), wanted) == (remote if needed else None)


@pytest.mark.parametrize("wanted", table([("ftp", present("ftp://x.example")), ("order 0", present(X, order=0))]))
def test_nobody_is_asked_for_what_will_be_refused(wanted):
    for function in (needs_discovery, place_keyserver):
        with pytest.raises(RuleError, match=r'^endpoint "a": (keyserver uri has no host|order is 0)'):
            function(config(shared()), wanted)


# state: present

LOUD = X._replace(insecure=True)
SLASH = "https://x.example/"
X_SLASH = X._replace(uri=SLASH)
PRESENT = table([
    # the built-in keyserver is written down before another one joins it
    ("the first", (), present(X), [OWN, X]),
    ("the first, before the built-in one", (), present(X, order=1), [X, OWN]),
    ("the built-in one is in use already", (), present(OWN), []),
    ("the built-in one is the first already", (), present(OWN, order=1, insecure=False), []),
    ("the built-in one is in use, in whatever spelling", (), present("hkps://own.example/"), []),
    ("the built-in one with another path is another address", (), present("https://own.example/p"), [Keyserver("https://own.example/p")]),
    ("the built-in one becomes insecure", (), present("https://own.example/", insecure=True), [Keyserver("https://own.example/", insecure=True)]),
    # where
    ("a new one goes to the end", (OWN, X), present(N), [OWN, X, N]),
    ("a new one goes where it is wanted", (OWN, X), present(N, order=2), [OWN, N, X]),
    ("a new one goes where it is wanted, at the end", (OWN, X), present(N, order=3), [OWN, X, N]),
    ("a known one stays where it is", (OWN, X, Y), present(X), [OWN, X, Y]),
    ("a known one moves up", (OWN, X, Y), present(Y, order=1), [Y, OWN, X]),
    ("a known one moves down", (OWN, X, Y), present(OWN, order=3), [X, Y, OWN]),
    ("a known one is where it is wanted", (OWN, X, Y), present(X, order=2), [OWN, X, Y]),
    ("skipped ones do not count for a new one", (SKIPPED, X, Y), present(N, order=2), [X, N, Y, SKIPPED]),
    ("skipped ones go behind a new one", (X, SKIPPED, Y), present(N), [X, Y, N, SKIPPED]),
    ("skipped ones do not count for a move", (SKIPPED, X, Y), present(Y, order=1), [Y, X, SKIPPED]),
    ("skipped ones stay where they are if nothing moves", (SKIPPED, X, Y), present(X, order=1), [SKIPPED, X, Y]),
    ("a new one where all are skipped", (SKIPPED,), present(N, order=1), [N, SKIPPED]),
    # restored
    ("a skipped built-in one is restored as the last", (SKIPPED, X, Y), present(OWN), [X, Y, OWN]),
    ("a skipped built-in one is restored where it is wanted", (X, SKIPPED, Y), present(OWN, order=1), [OWN, X, Y]),
    ("a skipped one is restored with its insecure", (SKIPPED._replace(insecure=True), X), present(OWN), [X, OWN._replace(insecure=True)]),
    ("a skipped one is restored with another insecure", (SKIPPED._replace(insecure=True), X), present(OWN, insecure=False), [X, OWN]),
    ("a skipped external one, which Apptainer cannot restore", (X._replace(skip=True), OWN), present(X), [OWN, X]),
    ("the only one is restored", (SKIPPED,), present(OWN), [OWN]),
    # insecure
    ("insecure not set for a new one", (OWN,), present(N, insecure=None), [OWN, N]),
    ("insecure: false for a new one", (OWN,), present(N, insecure=False), [OWN, N]),
    ("insecure: true for a new one", (OWN,), present(X, insecure=True), [OWN, LOUD]),
    ("insecure not set for a known one", (OWN, LOUD), present(X), [OWN, LOUD]),
    ("insecure: false for a known one", (OWN, LOUD), present(X, insecure=False), [OWN, X]),
    ("insecure: true for a known one", (OWN, X), present(X, insecure=True), [OWN, LOUD]),
    # the text
    ("the declared text is stored", (OWN, X, Y), present(SLASH), [OWN, X_SLASH, Y]),
    ("the declared text is stored without white space", (OWN,), present(" https://x.example\n"), [OWN, X]),
    ("the declared scheme is stored", (OWN, X), present("hkps://x.example"), [OWN, X._replace(uri="hkps://x.example")]),
    ("another port is another keyserver", (OWN, X), present("https://x.example:443"), [OWN, X, X._replace(uri="https://x.example:443")]),
    ("another case is another keyserver", (OWN, X), present("https://X.example"), [OWN, X, X._replace(uri="https://X.example")]),
    # several entries of the same keyserver, which only a hand can write
    ("the first in use counts", (OWN, LOUD, Y, X), present(X), [OWN, LOUD, Y]),
    ("the wanted text is that of a later one", (OWN, X, Y, X_SLASH), present(SLASH), [OWN, X_SLASH, Y]),
    ("equal ones become one", (X, X, OWN), present(X, order=2), [OWN, X]),
    ("the built-in one stays the built-in one", (X, OWN._replace(uri=SLASH)), present(X), [OWN._replace(uri=X.uri)]),
    ("the built-in one stays the built-in one if it is skipped", (Y, X, SKIPPED._replace(uri=SLASH)), present(X, order=1),
     [OWN._replace(uri=X.uri), Y]),
    ("one in use counts more than a skipped one", (LOUD._replace(skip=True), X, OWN), present(X, order=2), [OWN, X]),
    ("of skipped ones the first", (SKIPPED._replace(insecure=True), X, SKIPPED), present(OWN), [X, OWN._replace(insecure=True)]),
    # what is not declared is left alone
    ("what Apptainer cannot use", (JUNK, OWN, JUNK._replace(skip=True)), present(X), [JUNK, OWN, X, JUNK._replace(skip=True)]),
])


@pytest.mark.parametrize(("before", "wanted", "expected"), PRESENT)
def test_present(before, wanted, expected):
    assert after(shared(*before), wanted, OWN.uri) == expected


@pytest.mark.parametrize(("remote", "wanted", "builtin", "expected"), table([
    ("discovered", shared(X), present(N), N.uri, [X, N._replace(external=False)]),
    ("named by the user", shared(X), present(N, builtin_uri="hkps://n.example/p"), None, [X, N._replace(external=False)]),
    ("builtin_uri counts more than discovery", shared(), present(N, builtin_uri=OWN.uri), Y.uri, [OWN, N]),
    ("unknown", shared(X), present(N), None, [X, N]),
    ("that of the built-in endpoint", shared(X, uri=BUILT_IN), present(OPENPGP), None, [X, DEFAULT]),
    ("of another endpoint it is an external one", shared(X), present(OPENPGP), None, [X, DEFAULT._replace(external=True)]),
    ("there can be only one", shared(OWN, X), present(N), N.uri, [OWN, X, N]),
    ("a skipped one counts as one", shared(X, SKIPPED), present(N), N.uri, [X, N, SKIPPED]),
    ("what the file says of a known one stays", shared(X), present(X, order=1), X.uri, [X]),
    ("an empty list of the built-in endpoint", shared(uri=BUILT_IN), present(X), None, [DEFAULT, X]),
    ("an empty list of the built-in endpoint, to which its own one is added", shared(uri=BUILT_IN), present("hkps://keys.openpgp.org"), None, []),
]))
def test_the_builtin_keyserver(remote, wanted, builtin, expected):
    assert after(remote, wanted, builtin) == expected


@pytest.mark.parametrize(("before", "wanted", "builtin", "words"), table([
    ("order 0", (OWN,), present(X, order=0), None, "order is 0, but it counts the keyservers in use from 1; leave it out to put a new one last"),
    ("order -1", (OWN,), present(OWN, order=-1), None, "order is -1, but it counts"),
    ("order of a new one", (OWN, X), present(N, order=4), None,
     "order 4 is out of range (1-3, counting the keyservers that are then in use); leave it out to put a new one last"),
    ("order of a known one", (OWN, X), present(X, order=3), None, "order 3 is out of range (1-2, "),
    ("order of a restored one", (SKIPPED, X), present(OWN, order=3), None, "order 3 is out of range (1-2, "),
    ("order among skipped ones", (SKIPPED, X), present(N, order=3), None, "order 3 is out of range (1-2, "),
    ("order of the built-in one alone", (), present(OWN, order=2), OWN.uri, "order 2 is out of range (1-1, "),
    ("order of a doubled one", (X, X), present(X, order=2), None, "order 2 is out of range (1-1, "),
    ("ftp", (OWN,), present("ftp://x.example"), None, "keyserver uri has no host, or a scheme that Apptainer cannot use"),
    ("ftp that is there", (OWN, JUNK), present(JUNK), None, "keyserver uri has no host, or a scheme that Apptainer cannot use"),
    ("no scheme", (OWN,), present("x.example"), None, "keyserver uri has no host, or a scheme that Apptainer cannot use"),
    ("unreadable", (OWN,), present("https://x.example:port"), None, "keyserver uri cannot be parsed"),
    ("a password", (OWN,), present("https://u:hunter2@x.example"), None, "keyserver uri has a user name or password"),
    ("an unknown built-in one", (), present(X), None, "its built-in keyserver is unknown and would be dropped; set builtin_uri"),
    ("an unusable built-in one", (), present(X), "keys.example", "its built-in keyserver cannot be stored (keyserver uri has no host"),
    ("a built-in one with a password", (), present(X), "https://u:hunter2@own.example",
     "its built-in keyserver cannot be stored (keyserver uri has a user name"),
    ("an unusable builtin_uri", (), present(X, builtin_uri="ftp://x"), OWN.uri, "); set builtin_uri to one that works"),
]))
def test_present_refused(before, wanted, builtin, words):
    with pytest.raises(RuleError) as caught:
        place_keyserver(config(shared(*before)), wanted, builtin)
    assert str(caught.value).startswith('endpoint "a": ')
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)


# state: absent

@pytest.mark.parametrize(("before", "wanted", "builtin", "expected"), table([
    ("an external one goes", (OWN, X, Y), absent(X), None, [OWN, Y]),
    ("the built-in one is skipped, behind the others", (OWN, X, Y), absent(OWN), None, [X, Y, SKIPPED]),
    ("one is removed in any spelling", (OWN, X), absent(" hkps://x.example/p "), None, [OWN]),
    ("one that is not there", (SKIPPED, X), absent(N), None, [SKIPPED, X]),
    ("one that is skipped already", (SKIPPED, X), absent(OWN), None, [SKIPPED, X]),
    ("nothing but the built-in one is there", (), absent(X), OWN.uri, []),
    ("nothing but an unknown built-in one is there", (), absent(X), None, []),
    ("order and insecure do not matter", (OWN, X), absent(X, order=-7, insecure=True), None, [OWN]),
    ("a bad builtin_uri does not matter", (OWN, X), absent(X, builtin_uri="ftp://x"), None, [OWN]),
    ("other skipped ones go behind", (SKIPPED, X, Y), absent(X), None, [Y, SKIPPED]),
    # written by hand
    ("all of several", (OWN, X, Y, X_SLASH), absent(X), None, [OWN, Y]),
    ("the built-in one among several is skipped", (X, OWN._replace(uri=SLASH), Y), absent(X), None, [Y, X._replace(external=False, skip=True)]),
    ("a skipped external one, which Apptainer cannot remove", (X._replace(skip=True), OWN), absent(X), None, [OWN]),
    ("a skipped external one that is all there is", (X._replace(skip=True),), absent(X), None, []),
    ("ftp, by its exact text", (OWN, JUNK), absent(JUNK), None, [OWN]),
    ("ftp is not removed by another text", (OWN, JUNK), absent(JUNK.uri + "/"), None, [OWN, JUNK]),
    ("skipped ftp", (OWN, JUNK._replace(skip=True)), absent(JUNK), None, [OWN]),
    ("ftp twice", (JUNK, OWN, JUNK), absent(JUNK), None, [OWN]),
    ("ftp as the built-in one", (JUNK._replace(external=False), X), absent(JUNK), None, [X, JUNK._replace(external=False, skip=True)]),
    ("white space", (OWN, X._replace(uri="https://x.example ")), absent("https://x.example "), None, [OWN]),
    ("no text", (OWN, X._replace(uri="")), absent(""), None, [OWN]),
    ("a password", (OWN, X._replace(uri="https://u:p@x.example")), absent("https://u:p@x.example"), None, [OWN]),
]))
def test_absent(before, wanted, builtin, expected):
    assert after(shared(*before), wanted, builtin) == expected


@pytest.mark.parametrize(("remote", "wanted", "builtin"), table([
    ("the last one", shared(X), absent(X), None),
    ("the last one in use", shared(SKIPPED, X), absent(X), None),
    ("the built-in one", shared(OWN), absent("https://own.example/p"), None),
    ("the last one, twice", shared(X, X_SLASH), absent(X), None),
    ("the built-in one of an empty list, discovered", shared(), absent(OWN), OWN.uri),
    ("the built-in one of an empty list, named by the user", shared(), absent(OWN, builtin_uri="hkps://own.example"), None),
    ("that of the built-in endpoint", shared(uri=BUILT_IN), absent(OPENPGP), None),
    ("ftp", shared(JUNK), absent(JUNK), None),
]))
def test_the_primary_keyserver_stays(remote, wanted, builtin):
    with pytest.raises(RuleError) as caught:
        place_keyserver(config(remote), wanted, builtin)
    assert str(caught.value) == (f'endpoint "a": the keyserver "{wanted.uri}" is the only one in use, and Apptainer does not remove the last one; '
                                 "add another one first, or remove the endpoint")


def test_a_password_is_not_shown():
    with pytest.raises(RuleError, match=r'"https://\(hidden\)@x\.example" is the only one') as caught:
        place_keyserver(config(shared(X)), absent("https://u:hunter2@x.example"))
    assert "hunter2" not in str(caught.value)


def test_apptainers_hazard_is_avoided():
    # an append behind a skipped first entry lands before the last one
    assert add_keyserver((SKIPPED, X, Y), N.uri) == (SKIPPED, X, N, Y)
    assert after(shared(SKIPPED, X, Y), present(N)) == [X, Y, N, SKIPPED]
    # and what we write is a list in which it cannot happen any more
    assert add_keyserver((X, Y, N, SKIPPED), "https://z.example")[:4] == (X, Y, N, Keyserver("https://z.example", external=True))


def test_the_named_endpoint_is_changed():
    before = config(shared(OWN), b=shared(X))
    assert place_keyserver(before, present(Y, remote="b")).config == config(shared(OWN), b=shared(X, Y))


# any list

MARKS = [False, True]
GOOD_URIS = ["{}://{}{}".format(*parts) for parts in itertools.product(
    ["https", "hkps", "hkp"], ["x.example", "y.example", "z.example", "keys.openpgp.org"], ["", "/", "/p"])]
BAD_URIS = ["ftp://x.example", "x.example", "%zz", "https://x.example ", ""]
GOOD = st.sampled_from(GOOD_URIS)
SERVERS = st.sampled_from(values(Keyserver, GOOD_URIS, MARKS, MARKS, MARKS))
ANY_LIST = st.lists(SERVERS | st.sampled_from(values(Keyserver, BAD_URIS, MARKS, MARKS, MARKS)), max_size=5)
NO_DOUBLES = st.lists(SERVERS, max_size=5, unique_by=lambda server: keyserver_identity(server.uri))
ENDPOINTS = st.sampled_from(["lib.example", BUILT_IN])
DECLARED_URIS = [*GOOD_URIS, *GOOD_URIS, *map(str.strip, BAD_URIS)]
WANTED = st.builds(lambda wanted, builtin_uri: wanted._replace(builtin_uri=builtin_uri),
                   st.sampled_from(values(PlacedKeyserver, DECLARED_URIS, MARKS, [None, *range(7)], [None, *MARKS])), st.none() | GOOD)


def key(uri):
    """What makes a keyserver the same; the text, where Apptainer can't tell."""
    return keyserver_identity(uri) or uri


def in_use(servers):
    return [server for server in servers if not server.skip]


def placed(remote, wanted, builtin):
    """The new list; refusals end the example."""
    try:
        return after(remote, wanted, builtin)
    except RuleError as error:
        assert str(error).startswith('endpoint "a": ')
        assume(False)


@given(ANY_LIST, ENDPOINTS, WANTED, st.none() | GOOD)
def test_any_list(before, uri, wanted, builtin):
    remote = shared(*before, uri=uri)
    servers = placed(remote, wanted, builtin)
    mine = key(wanted.uri)
    old, new = ([key(server.uri) for server in in_use(entries)] for entries in (before, servers))
    if before:  # the others are as they were, in use or skipped
        for kept in (in_use, lambda entries: [server for server in entries if server.skip]):
            others, unchanged = ([server for server in kept(entries) if key(server.uri) != mine] for entries in (servers, before))
            assert others == unchanged
        assert {key(server.uri) for server in before if not server.external} <= {key(server.uri) for server in servers if not server.external}
    assert new.count(mine) == wanted.present or not servers
    assert new or not old  # Apptainer needs one
    if servers != before:  # no hazard is left, nor what is not needed
        assert [server.skip for server in servers] == sorted(server.skip for server in servers)
        assert len([server for server in servers if key(server.uri) == mine]) <= 1
        assert in_use(servers) != in_use(before) or not wanted.present


@given(NO_DOUBLES, WANTED, st.none() | GOOD)
def test_order_is_that_of_a_simple_list(before, wanted, builtin):
    assume(before)
    servers = placed(shared(*before), wanted, builtin)
    mine = key(wanted.uri)
    model = [key(server.uri) for server in in_use(before)]
    position = wanted.order - 1 if wanted.order else model.index(mine) if mine in model else len(model)
    if mine in model:
        model.remove(mine)
    if wanted.present:
        model.insert(position, mine)
    assert [key(server.uri) for server in in_use(servers)] == model
    assert len({key(server.uri) for server in servers}) == len(servers)
    assert sum(not server.external for server in servers) <= max(1, sum(not server.external for server in before))


@given(NO_DOUBLES, st.data())
def test_absent_then_present_restores(before, data):
    assume(len(in_use(before)) > 1)
    chosen = data.draw(st.sampled_from(in_use(before)))
    remote = shared(*before)
    without = after(remote, absent(chosen))
    assert chosen not in without
    position = in_use(before).index(chosen) + 1
    restored = after(shared(*without), present(chosen, position, chosen.insecure))
    assert in_use(restored) == in_use(before)
    assert set(restored) == set(before)


@given(NO_DOUBLES, WANTED)
def test_the_list_module_agrees(before, wanted):
    # what is declared one by one is, declared as a list, already so
    servers = tuple(placed(shared(*before), wanted, OWN.uri))
    used = in_use(servers)
    assume(used and sum(not server.external for server in used) <= 1)
    assert keyserver_list(shared(*servers), [WantedKeyserver(server.uri) for server in used]) == servers


@given(ANY_LIST, ENDPOINTS, WANTED, GOOD)
def test_what_is_asked_is_what_is_needed(before, uri, wanted, discovered):
    try:
        asked = needs_discovery(config(shared(*before, uri=uri)), wanted)
    except RuleError as error:
        with pytest.raises(RuleError) as caught:
            place_keyserver(config(shared(*before, uri=uri)), wanted, discovered)
        assert str(caught.value) == str(error)
        return
    try:
        place_keyserver(config(shared(*before, uri=uri)), wanted)
    except RuleError as error:
        assert ("its built-in keyserver is unknown" in str(error)) == (asked is not None)
    else:
        assert asked is None


def test_identity_of_the_test_urls():
    assert same_keyserver("https://x.example/p", "hkps://x.example")
    assert not same_keyserver("https://x.example", "hkp://x.example")


def test_singularity_asks_cloud_apptainer_org_for_its_keyserver():
    system = RemoteConfig("a", {"a": Remote("cloud.apptainer.org", system=True)})
    wanted = PlacedKeyserver("https://k.example", remote="a")
    assert needs_discovery(system, wanted) is None
    assert needs_discovery(system, wanted._replace(flavor="singularity")) == system.remotes["a"]
