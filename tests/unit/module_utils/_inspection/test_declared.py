# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import RuleError
from ansible_collections.hpc.apptainer.plugins.module_utils._inspection.declared import Declared, declared
from ansible_collections.hpc.apptainer.plugins.module_utils._rules.endpoints import converge
from ansible_collections.hpc.apptainer.plugins.module_utils._rules.wanted import WantedKeyserver, WantedRemote
from ansible_collections.hpc.apptainer.plugins.module_utils._values.remote_config import Credential, Keyserver, Remote, RemoteConfig
from hypothesis import given, settings
from hypothesis import strategies as st
from support import leaks
from support.tables import table
from support.uris import PASSWORDS, TEXTS
from support.values import tuples, values

TOKEN = "tok-s3cretS3CRET"
LOGIN = Credential("https://keys.example", "Basic aHVudGVyMg==")
SYSTEM = RemoteConfig("lab", {"lab": Remote("lab.example", system=True), "site": Remote("site.example", system=True, exclusive=True),
                              "<<": Remote("h.example", system=True)})


def config(active="", **remotes):
    return RemoteConfig(active, remotes, (LOGIN,))


def shared(uri="a.example", **fields):
    return Remote(uri, system=True, **fields)


def wanted(found):
    """The declaration as the module reads it."""
    for entry in found.remotes:
        keyservers = entry.get("keyservers")
        yield WantedRemote(**{**entry, "keyservers": None if keyservers is None else tuple(WantedKeyserver(**item) for item in keyservers)})


def applied(found, before, system=None, **options):
    """What the declaration makes of a file."""
    return converge(before, list(wanted(found)), system, prune=found.prune, keep_default=True, **options).config


def entry(name="a", uri="https://a.example", *, default=False, exclusive=False, keyservers=(), **more):
    return {"name": name, "uri": uri, "keyservers": list(keyservers), "default": default, "exclusive": exclusive, **more}


OPENPGP = "https://keys.openpgp.org"
X = Keyserver("https://x.example", external=True)

DECLARED = [  # what, the file, entries, whether to prune, words of what cannot be declared
    ("no endpoint", config(), [], True, []),
    ("one", config("a", a=shared()), [entry(default=True)], True, []),
    ("a token and logins stay, and are not declared", config("a", a=shared(token=TOKEN)), [entry(default=True)], True, []),
    ("no default", config(a=shared()), [entry()], True, []),
    ("an exclusive one", config("b", a=shared(), b=shared("b.example", exclusive=True)),
     [entry(), entry("b", "https://b.example", default=True, exclusive=True)], True, []),
    ("insecure", config("a", a=shared(insecure=True)), [entry(uri="http://a.example", default=True, insecure=True)], True, []),
    ("a port", config("a", a=shared("//a.example:8443")), [entry(uri="https://a.example:8443", default=True)], True, []),
    ("a scheme that was written by hand", config("a", a=shared("https://a.example/x")), [entry(uri="https://a.example/x", default=True)], True, []),
    ("keyservers", config("a", a=shared(keyservers=(X, Keyserver("hkps://y.example", external=True, insecure=True)))),
     [entry(default=True, keyservers=[{"uri": X.uri, "insecure": False}, {"uri": "hkps://y.example", "insecure": True}])], True, []),
    ("the built-in keyserver that is known", config("a", a=shared("cloud.apptainer.org", keyservers=(Keyserver(OPENPGP), X))),
     [entry(uri="https://cloud.apptainer.org", default=True, keyservers=[{"uri": OPENPGP, "insecure": False}, {"uri": X.uri, "insecure": False}])],
     True, []),
    ("a built-in keyserver that is not known", config("a", a=shared(keyservers=(Keyserver(X.uri),))),
     [entry(default=True, keyservers=[{"uri": X.uri, "insecure": False, "builtin": True}])], True, []),
    ("a built-in keyserver that is taken for another", config("a", a=shared("cloud.apptainer.org", keyservers=(Keyserver(OPENPGP, external=True),))),
     [entry(uri="https://cloud.apptainer.org", default=True, keyservers=[{"uri": OPENPGP, "insecure": False, "builtin": False}])], True, []),
    ("a keyserver that is skipped", config("a", a=shared(keyservers=(Keyserver(OPENPGP, skip=True), X))),
     [entry(default=True, keyservers=[{"uri": X.uri, "insecure": False}])], True, []),

    # what cannot be declared
    ("a uri that no program can use", config("a", a=shared("a.example:8443")),
     [{"name": "a", "keyservers": [], "default": True, "exclusive": False}], True, ['endpoint "a": its uri cannot be declared: declaring it would change it']),
    ("a uri with a password", config("a", a=shared("//u:hunter2@a.example")),
     [{"name": "a", "keyservers": [], "default": True, "exclusive": False}], True, ['endpoint "a": its uri cannot be declared: declaring it would change it']),
    ("all keyservers are skipped", config("a", a=shared(keyservers=(Keyserver(OPENPGP, skip=True),))),
     [{"name": "a", "uri": "https://a.example", "default": True, "exclusive": False}], True,
     ['endpoint "a": its keyservers cannot be declared: declaring it would change it']),
    ("a keyserver that Apptainer cannot use", config("a", a=shared(keyservers=(Keyserver("ftp://x.example", external=True),))),
     [{"name": "a", "uri": "https://a.example", "default": True, "exclusive": False}], True,
     ['endpoint "a": its keyservers cannot be declared: keyserver uri has no host']),
    ("a name that no declaration can have", config("a", **{"a": shared(), "<<": shared(), "b\tc": shared()}), [entry(default=True)], False,
     ['endpoint "<<": it cannot be listed: with the name <<', 'endpoint "b\\tc": it cannot be listed: the name has a tab']),
    ("a default that does not exist", config("gone", a=shared()), [{"name": "a", "uri": "https://a.example", "keyservers": [], "exclusive": False}], True,
     ['endpoint "gone": it is the default, but it is in no file']),
    ("an exclusive one that is not the default", config("b", a=shared(exclusive=True), b=shared("b.example")),
     [{"name": "a", "uri": "https://a.example", "keyservers": []}, {"name": "b", "uri": "https://b.example", "keyservers": [], "exclusive": False}], True,
     ['endpoint "a": it is exclusive, but "b" is the default; neither is declared']),
    ("an exclusive one, and no default", config(a=shared(exclusive=True)), [{"name": "a", "uri": "https://a.example", "keyservers": []}], True,
     ['endpoint "a": it is exclusive, but nothing is the default']),
]  # fmt: skip


@pytest.mark.parametrize(("before", "entries", "prune", "words"), table(DECLARED))
def test_of_the_global_file(before, entries, prune, words):
    found = declared(before)
    assert found._replace(undeclared=()) == Declared(tuple(entries), prune)
    assert len(found.undeclared) == len(words)
    assert all(sentence.startswith(start) for sentence, start in zip(found.undeclared, words, strict=True)), found.undeclared
    assert applied(found, before) == before


def test_what_a_run_changes_nevertheless():
    found = declared(config("a", a=Remote("a.example")))
    assert (found.remotes, found.prune) == ((entry(default=True),), True)
    assert found.undeclared == ('endpoint "a": its System is false, and a run sets it to true, because keyserver commands refuse it in the global file '
                                "otherwise",)
    several = config("a", a=shared(exclusive=True), b=shared("b.example", exclusive=True), c=shared("c.example"))
    found = declared(several)
    assert [item.get("exclusive") for item in found.remotes] == [None, None, False]
    assert found.undeclared == ('the endpoints "a", "b" are all exclusive, and a run leaves that to the default one only, or refuses; set exclusive: true '
                                "for the right one",)
    assert applied(found, several) == config("a", a=shared(exclusive=True), b=shared("b.example"), c=shared("c.example"))


@pytest.mark.parametrize(("before", "entries", "prune", "words"), table([
    ("nothing", config(), [], True, 0),
    ("one of the user's own", config("mine", mine=Remote("m.example", token=TOKEN)),
     [{"name": "mine", "uri": "https://m.example", "default": True}], True, 0),
    ("a copy of a global one", config("lab", lab=shared("lab.example", token=TOKEN)), [{"name": "lab", "default": True}], True, 0),
    ("a copy with insecure", config("", lab=shared("lab.example", insecure=True)), [{"name": "lab", "insecure": True}], True, 0),
    ("a copy of one that is gone", config("", old=shared("old.example", exclusive=True)), [{"name": "old"}], True, 0),
    ("a global one is the default", config("lab", mine=Remote("m.example")),
     [{"name": "mine", "uri": "https://m.example"}, {"name": "lab", "default": True}], True, 0),
    ("only a default", config("lab"), [{"name": "lab", "default": True}], True, 0),
    ("one of the user's own is exclusive", config("", mine=Remote("m.example", exclusive=True)), [{"name": "mine", "uri": "https://m.example"}], True, 0),
    ("a default that does not exist", config("gone"), [], True, 1),
    ("a global default that cannot be listed", config("<<", mine=Remote("m.example")), [{"name": "mine", "uri": "https://m.example"}], True, 1),
]))
def test_of_a_users_file(before, entries, prune, words):
    found = declared(before, SYSTEM)
    assert found._replace(undeclared=()) == Declared(tuple(entries), prune)
    assert len(found.undeclared) == words
    assert applied(found, before, SYSTEM) == before


def test_of_a_users_file_beside_a_global_one_that_cannot_be_read():
    before = config("mine", mine=Remote("m.example"), lab=shared("lab.example"))
    found = declared(before, RemoteConfig(), system_problem="/etc/broken")
    assert found == Declared(({"name": "lab"}, {"name": "mine", "uri": "https://m.example", "default": True}), True)
    assert applied(found, before, RemoteConfig(), system_problem="/etc/broken") == before


@pytest.mark.parametrize("uri", PASSWORDS)
def test_no_password_of_a_uri_is_declared(uri):
    found = declared(config("a", a=shared(uri, token=TOKEN, keyservers=(Keyserver(uri),))))
    assert leaks.leaked([json.dumps(found)], {"hunter2", "hun/ter2", "ter2", TOKEN}) == []


NAMES = ["a", "b", "5", " ", "<<", "x\ty", "{{ z }}"]
URIS = [
    "a.example", "//a.example:8443", "a.example:80", "cloud.apptainer.org", "https://a.example/p/", "http://a.example", "", "ftp://a.example", "a.example/?q",
]
KEYSERVERS = tuples([*values(Keyserver, [OPENPGP, X.uri, "hkp://x.example"], [False, True], [False, True], [False, True]), Keyserver("ftp://x.example")], 3)
REMOTES = st.builds(Remote, st.one_of(st.sampled_from(URIS), TEXTS), st.sampled_from(["", TOKEN]), st.booleans(), st.booleans(), st.booleans(),
                    st.one_of(st.just(()), st.sampled_from(KEYSERVERS)))
CONFIGS = st.builds(RemoteConfig, st.sampled_from(["", *NAMES]), st.dictionaries(st.sampled_from(NAMES), REMOTES, max_size=4), st.just((LOGIN,)))
FLAVORS = st.sampled_from(["apptainer", "singularity"])


@given(CONFIGS, FLAVORS)
@settings(max_examples=200)
def test_any_global_file_stays_as_it_is(before, flavor):
    found = declared(before, flavor=flavor)
    several = sum(remote.exclusive for remote in before.remotes.values()) > 1
    try:
        after = applied(found, before, flavor=flavor)
    except RuleError:
        assert several
        return
    if several:
        assert any("are all exclusive" in sentence for sentence in found.undeclared)
        return
    listed = {item["name"] for item in found.remotes}
    assert after == before._replace(remotes={name: remote._replace(system=remote.system or name in listed) for name, remote in before.remotes.items()})
    if not found.undeclared and all(not keyserver.skip for remote in before.remotes.values() for keyserver in remote.keyservers):
        assert declared(applied(found, RemoteConfig(), flavor=flavor), flavor=flavor) == found  # a new node becomes the same


@given(CONFIGS, CONFIGS, st.booleans(), FLAVORS)
@settings(max_examples=200)
def test_any_users_file_stays_as_it_is(before, system, known, flavor):
    system = system if known else RemoteConfig()
    problem = "" if known else "it is broken"
    found = declared(before, system, problem, flavor)
    assert applied(found, before, system, system_problem=problem, flavor=flavor) == before
