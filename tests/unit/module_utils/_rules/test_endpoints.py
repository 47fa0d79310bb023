# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import itertools

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._apptainer.effective import effective, exclusives, sync
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import RuleError
from ansible_collections.hpc.apptainer.plugins.module_utils._rules.endpoints import converge, keyserver_list, unplaced_endpoints
from ansible_collections.hpc.apptainer.plugins.module_utils._rules.wanted import WantedKeyserver, WantedRemote
from ansible_collections.hpc.apptainer.plugins.module_utils._values.remote_config import Credential, Keyserver, Remote, RemoteConfig
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from support.apptainer_commands import use_remote
from support.tables import table
from support.values import tuples, values


def config(active="", credentials=(), **remotes):
    return RemoteConfig(active, remotes, tuple(credentials))


def shared(uri="lib.example", **fields):
    return Remote(uri, system=True, **fields)


def one(uri="lib.example", **fields):
    """A global file with one endpoint, a, its default."""
    return config("a", a=shared(uri, **fields))


def own(uri="own.example", **fields):
    return Remote(uri, **fields)


def present(name="a", **fields):
    return WantedRemote(name, **fields)


def absent(name="a", **fields):
    return WantedRemote(name, "absent", **fields)


def retired(name="a", **fields):
    return WantedRemote(name, "retired", **fields)


def settled(before, wanted, system=None, prune=False):
    """What is desired; a second run changes nothing in it."""
    desired = converge(before, wanted, system, prune=prune)
    assert converge(desired.config, wanted, system, prune=prune).config == desired.config
    return desired


def assert_warned(phrases, warnings):
    """Each warning has its phrase, and there is no other warning."""
    assert len(warnings) == len(phrases), warnings
    for phrase, warning in zip(phrases, warnings, strict=True):
        assert phrase in warning


KEYS = (Keyserver("https://keys.example", external=True),)
OLD_KEYS = (Keyserver("https://old.example"), *KEYS)
LOGIN = Credential("docker://registry.example", "c2VjcmV0")
FULL = shared(token="t", exclusive=True, insecure=True, keyservers=KEYS)
OTHER = {"b": shared("b.example"), "c": own("c.example:80", token="t")}

EMPTY = config()
TWO = config("a", a=shared("a.example"), b=shared("b.example"))
RULED = config("a", a=shared("a.example", exclusive=True), b=shared("b.example"))
OVERRULED = config("b", a=shared("a.example", exclusive=True), b=shared("b.example"))
BOTH = config("b", a=shared("a.example", exclusive=True), b=shared("b.example", exclusive=True))

NO_DEFAULT = "no endpoint is the default, and Apptainer refuses to work without one; set default: true for one"
HTTP_FOR_SOME = ('endpoint "a": insecure has no effect for users who have a remote.yaml of their own: Apptainer uses https for them; '
                 "declare it for them with scope: user, too")
KEYSERVER_LOST = ('endpoint "a": its URL changes, so the built-in keyserver of the old one is removed from its keyservers; '
                  "declare keyservers to add that of the new one")
STAYS = 'endpoint "lab": it stays the default, because the global file says so; set default: true for another one'
LOGGED_OUT = 'endpoint "a": its URL changes, so the token stored for the old one is removed; log in again'

GLOBAL = [  # what, before, wanted, after, words of each warning
    # uri
    ("an endpoint is added", config("b", **OTHER), [present(uri="https://a.example/x/")], config("b", a=shared("a.example/x"), **OTHER), []),
    ("the file of a new node", EMPTY, [present(uri="a.example", default=True)], one("a.example"), []),
    ("logins stay", config("b", [LOGIN], **OTHER), [present(uri="a.example")], config("b", [LOGIN], a=shared("a.example"), **OTHER), []),
    ("a port gets //", config("b", **OTHER), [present(uri="https://h.example:8443")], config("b", a=shared("//h.example:8443"), **OTHER), []),
    ("a URI is changed", one(keyservers=KEYS), [present(uri="new.example")], one("new.example", keyservers=KEYS), []),
    ("a spelling that works is left", one("https://h.example:80"), [present(uri="h.example:80")], one("https://h.example:80"), []),
    ("one that does not work is fixed", one("h.example:80"), [present(uri="h.example:80")], one("//h.example:80"), []),
    ("so is one without a host for Go", one("127.0.0.1:80"), [present(uri="127.0.0.1:80")], one("//127.0.0.1:80"), []),
    ("what cannot be stored is warned of", config("b", **OTHER), [present(uri="u:p@a.example?q")], config("b", a=shared("a.example"), **OTHER),
     ['endpoint "a": uri has a user name or password, which Apptainer does not store; remove it from uri',
      'endpoint "a": uri has a query, which Apptainer does not store; remove it from uri']),
    ("System is fixed", config("a", a=own("a.example", keyservers=KEYS)), [present()], one("a.example", keyservers=KEYS), []),
    # insecure
    ("added as insecure", config("b", **OTHER), [present(uri="http://a.example", insecure=True)],
     config("b", a=shared("a.example", insecure=True), **OTHER), [HTTP_FOR_SOME]),
    ("made insecure", one(), [present(insecure=True)], one(insecure=True), [HTTP_FOR_SOME]),
    ("made insecure, with its URI", one(), [present(uri="lib.example", insecure=True)], one(insecure=True), [HTTP_FOR_SOME]),
    ("made secure", one(insecure=True), [present(insecure=False)], one(), []),
    ("made secure by the scheme", one(insecure=True), [present(uri="https://lib.example")], one(), []),
    ("insecure stays if the URI does not say", one(insecure=True), [present(uri="lib.example")], one(insecure=True), [HTTP_FOR_SOME]),
    ("insecure stays if the URI begins with //", one(insecure=True), [present(uri="//lib.example")], one(insecure=True), [HTTP_FOR_SOME]),
    ("insecure stays if the URI changes", one(insecure=True), [present(uri="new.example")], one("new.example", insecure=True), [HTTP_FOR_SOME]),
    # a token that should not be there
    ("a move drops the token", one(token="t"), [present(uri="new.example")], one("new.example"), [LOGGED_OUT]),
    ("a change to http drops the token", one(token="t"), [present(uri="lib.example", insecure=True)], one(insecure=True),
     [LOGGED_OUT, HTTP_FOR_SOME]),
    ("a token for everyone can be removed", one(token="t"), [present(token="")], one(), []),
    ("a token can be removed from what does not exist", one(), [present("x", token="", force=True)], one(), []),
    ("a change to http alone drops the token", one(token="t"), [present(insecure=True)], one(insecure=True), [LOGGED_OUT, HTTP_FOR_SOME]),
    ("a mere other spelling keeps the token", one(token="t"), [present(uri="https://lib.example/")], one(token="t"), []),
    # a built-in keyserver of the old URL
    ("a move drops the built-in keyserver", one(keyservers=OLD_KEYS), [present(uri="new.example")],
     one("new.example", keyservers=KEYS), [KEYSERVER_LOST]),
    ("a move drops the built-in keyserver if it was the only one", one(keyservers=OLD_KEYS[:1]), [present(uri="new.example")],
     one("new.example"), [KEYSERVER_LOST]),
    ("no warning of that if the new ones are declared", one(keyservers=OLD_KEYS),
     [present(uri="new.example", keyservers=(WantedKeyserver(KEYS[0].uri),))],
     one("new.example", keyservers=KEYS), []),
    ("a mere other spelling keeps the built-in keyserver", one(keyservers=OLD_KEYS), [present(uri="https://lib.example/")],
     one(keyservers=OLD_KEYS), []),
    # default
    ("made the default", TWO, [present("b", default=True)], TWO._replace(active="b"), []),
    ("added as the default", TWO, [present("c", uri="c.example", default=True)], config("c", c=shared("c.example"), **TWO.remotes), []),
    ("nothing becomes it by being added", TWO, [present("c", uri="c.example")], config("a", c=shared("c.example"), **TWO.remotes), []),
    ("not the default any more", TWO, [present(default=False)], TWO._replace(active=""), [NO_DEFAULT]),
    ("it never was the default", TWO, [present("b", default=False)], TWO, []),
    ("another one in its place", TWO, [present(default=False), present("b", default=True)], TWO._replace(active="b"), []),
    ("another one in its place, listed first", TWO, [present("b", default=True), present(default=False)], TWO._replace(active="b"), []),
    ("a broken default is warned of", config("gone", a=shared()), [present()], config("gone", a=shared()),
     ['the default endpoint "gone" does not exist, and Apptainer refuses to work without one; set default: true for one']),
    ("a broken default is fixed", config("gone", a=shared()), [present(default=True)], one(), []),
    # exclusive
    ("made exclusive, and so the default", TWO, [present("b", exclusive=True)],
     config("b", a=shared("a.example"), b=shared("b.example", exclusive=True)), []),
    ("added as exclusive", TWO, [present("c", uri="c.example", exclusive=True)], config("c", c=shared("c.example", exclusive=True), **TWO.remotes),
     []),
    ("taken from all others", BOTH, [present("c", uri="c.example", exclusive=True, default=True)],
     config("c", c=shared("c.example", exclusive=True), **TWO.remotes), []),
    ("of two it is the declared one", BOTH, [present(exclusive=True)], config("a", a=shared("a.example", exclusive=True), b=shared("b.example")), []),
    ("released", RULED, [present(exclusive=False)], TWO, []),
    ("released for another default", RULED, [present(exclusive=False), present("b", default=True)], TWO._replace(active="b"), []),
    ("released, after that default", RULED, [present("b", default=True), present(exclusive=False)], TWO._replace(active="b"), []),
    ("handed over", RULED, [present(exclusive=False), present("b", exclusive=True)],
     config("b", a=shared("a.example"), b=shared("b.example", exclusive=True)), []),
    ("it never was exclusive", RULED, [present("b", exclusive=False)], RULED, []),
    ("exclusive, but not the default", OVERRULED, [present(exclusive=True)], RULED, []),
    ("an exclusive one that is not the default is left alone", OVERRULED, [present()], OVERRULED, []),
    ("two are repaired by the default", BOTH, [], config("b", a=shared("a.example"), b=shared("b.example", exclusive=True)),
     ['the endpoints "a", "b" were all exclusive; now only the default one is, "b". Set exclusive: true for another one if that is wrong']),
    ("two are repaired by releasing one", BOTH, [present("b", exclusive=False)], OVERRULED, []),
    ("two are repaired by removing one", BOTH, [absent("a", force=True)], config("b", b=shared("b.example", exclusive=True)), []),
    # absent
    ("removed", TWO, [absent("b")], one("a.example"), []),
    ("was absent", TWO, [absent("c")], TWO, []),
    ("an impossible name was absent", TWO, [absent(" ")], TWO, []),
    ("an impossible name can be removed", RemoteConfig("a", {"a": shared(), "<<": shared()}), [absent("<<")], one(), []),
    ("other options of an absent one do not count", TWO, [absent("b", uri="%zz", default=True, exclusive=True, token="t")], one("a.example"), []),
    ("nor do they beside those of another one", TWO, [present(default=True, exclusive=True), absent("b", default=True, exclusive=True)],
     one("a.example", exclusive=True), []),
    ("the default is removed", TWO, [absent("a")], config("", b=shared("b.example")), [NO_DEFAULT]),
    ("the last one is removed", one(), [absent("a")], EMPTY, []),
    ("exclusive, by force", RULED, [absent("a", force=True)], config("", b=shared("b.example")), [NO_DEFAULT]),
    ("by force, with a new default", RULED, [absent("a", force=True), present("b", default=True)], config("b", b=shared("b.example")), []),
]

PRUNED = [
    ("all of the global file that is not listed", config("a", [LOGIN], a=shared(), **OTHER), [present()], None, config("a", [LOGIN], a=shared()), []),
    ("the default too", TWO, [present("b")], None, config("", b=shared("b.example")), [NO_DEFAULT]),
    ("everything", TWO, [], None, EMPTY, []),
    ("listed as absent", TWO, [present("a"), absent("b")], None, one("a.example"), []),
    ("an exclusive one that is released first", RULED, [present("a", exclusive=False)], None, one("a.example"), []),
    ("the own ones of a user's file", config("a", [LOGIN], a=own(), b=own(), c=own()), [present("b")], EMPTY, config("", [LOGIN], b=own()),
     [NO_DEFAULT]),
    ("copies of global ones that are gone", config("b", b=own(), gone=shared(exclusive=True)), [present("b")], TWO._replace(remotes={}),
     config("b", b=own()), []),
    ("not the other copies", config("a", a=shared(token="t"), c=own()), [], TWO, one(token="t"), []),
    ("an own one that hides a global one", config("a", a=own()), [], TWO, EMPTY, []),
]

SYSTEM = config("lab", lab=shared(keyservers=KEYS), site=shared("//site.example:8443", insecure=True))
EXCLUSIVE = config("lab", lab=shared(exclusive=True), site=shared("site.example"))
SHADOWS = ('endpoint "lab": it hides the global endpoint of the same name, and its exclusive setting, from this user; '
           "remove it (state: absent), or choose another name")

USER = [  # what, before, wanted, system, after, words of each warning
    ("an own endpoint", EMPTY, [present(uri="a.example")], SYSTEM, config(a=own("a.example")), []),
    ("without a global file", EMPTY, [present(uri="a.example", default=True)], EMPTY, config("a", a=own("a.example")), []),
    ("insecure, without the warning of the global file", EMPTY, [present(uri="a.example", insecure=True)], SYSTEM,
     config(a=own("a.example", insecure=True)), []),
    ("with its token", EMPTY, [present(uri="a.example", token="t")], SYSTEM, config(a=own("a.example", token="t")), []),
    ("a new token", config(a=own(token="t")), [present(token="u")], SYSTEM, config(a=own(token="u")), []),
    ("logged out", config(a=own(token="t")), [present(token="")], SYSTEM, config(a=own()), []),
    ("a move drops the token", config(a=own(token="t")), [present(uri="new.example")], SYSTEM, config(a=own("new.example")), [LOGGED_OUT]),
    ("a move keeps a declared new token", config(a=own(token="t")), [present(uri="new.example", token="u")], SYSTEM,
     config(a=own("new.example", token="u")), []),
    ("a move keeps the same token if that is declared", config(a=own(token="t")), [present(uri="new.example", token="t")], SYSTEM,
     config(a=own("new.example", token="t")), []),
    ("an own default", config(a=own()), [present(default=True)], SYSTEM, config("a", a=own()), []),
    ("a global default, without a copy", config("a", a=own()), [present("lab", default=True)], SYSTEM, config("lab", a=own()), []),
    ("no own default: the global one counts", config("a", a=own()), [present(default=False)], SYSTEM, config("", a=own()), []),
    ("a global default without a copy is given up", config("lab"), [present("lab", default=False)], SYSTEM, EMPTY, [STAYS]),
    ("a copy is given up, whatever its mark", config("lab", lab=shared(exclusive=True)), [present("lab", default=False)], SYSTEM,
     config("", lab=shared(exclusive=True)), [STAYS]),
    ("no default at all", config("a", a=own()), [present(default=False)], EMPTY, config("", a=own()), [NO_DEFAULT]),
    ("the exclusive default", config("a", a=own()), [present("lab", default=True)], EXCLUSIVE, config("lab", a=own()), []),
    ("a global endpoint is simply there", EMPTY, [present("lab")], SYSTEM, EMPTY, []),
    ("a global endpoint is simply there, with its URI", EMPTY, [present("lab", uri="https://lib.example/")], SYSTEM, EMPTY, []),
    ("a global endpoint is simply there, in another spelling", EMPTY, [present("site", uri="site.example:8443")], SYSTEM, EMPTY, []),
    ("a copy is left alone", config(lab=shared("old.example", token="t")), [present("lab", uri="lib.example")], SYSTEM,
     config(lab=shared("old.example", token="t")), []),
    ("two exclusive copies are left alone", config("a", a=own(), x=shared(exclusive=True), y=shared(exclusive=True)), [present()], SYSTEM,
     config("a", a=own(), x=shared(exclusive=True), y=shared(exclusive=True)), []),
    ("login to a global endpoint leaves a copy", EMPTY, [present("lab", token="t")], SYSTEM, config(lab=shared(token="t", keyservers=KEYS)), []),
    ("login to an exclusive endpoint leaves an exclusive copy", EMPTY, [present("lab", token="t")], EXCLUSIVE,
     config(lab=shared(token="t", exclusive=True)), []),
    ("login where the copy has another URI", config(lab=shared("old.example", insecure=True)), [present("lab", token="t")], SYSTEM,
     config(lab=shared(insecure=True, token="t")), []),
    ("login with the token of the old URI", config(lab=shared("old.example", token="t", exclusive=True)), [present("lab", token="t")], SYSTEM,
     config(lab=shared(token="t", exclusive=True)), []),
    ("login where the copy has another spelling", config(lab=shared("https://LIB.example/")), [present("lab", token="t")], SYSTEM,
     config(lab=shared("https://LIB.example/", token="t")), []),
    ("logout where the copy has another URI", config(lab=shared("old.example", token="t")), [present("lab", token="")], SYSTEM,
     config(lab=shared("old.example")), []),
    ("insecure where the copy has another URI", config(lab=shared("old.example")), [present("lab", insecure=True)], SYSTEM,
     config(lab=shared("old.example", insecure=True)), []),
    ("logout from what does not exist", config("a", a=own(token="t")), [present("x", token="")], SYSTEM, config("a", a=own(token="t")), []),
    ("logout keeps the copy", config(lab=shared(token="t")), [present("lab", token="")], SYSTEM, config(lab=shared()), []),
    ("logout where nobody was logged in", config(lab=shared()), [present("lab", token="")], SYSTEM, config(lab=shared()), []),
    ("logout where there is no copy", EMPTY, [present("lab", token="")], SYSTEM, EMPTY, []),
    ("login on a copy of a global one that is gone", config(gone=shared()), [present("gone", token="t")], SYSTEM, config(gone=shared(token="t")), []),
    ("a copy can be removed", config("lab", lab=shared(token="t", exclusive=True)), [absent("lab")], SYSTEM, EMPTY, []),
    ("a copy of a global one that is gone can be removed", config("gone", gone=shared(exclusive=True), a=own()), [absent("gone")],
     EMPTY, config("", a=own()), [NO_DEFAULT]),
    ("a global endpoint is not in the file", config("lab", a=own()), [absent("lab")], SYSTEM, config("lab", a=own()),
     ["it is a global endpoint, which a user cannot remove; remove it with scope: global"]),
    ("an own one that hides a global one is kept, and warned of", config(lab=own()), [present("lab", uri="other.example")],
     SYSTEM, config(lab=own("other.example")), [SHADOWS]),
]

TOKEN_FOR_ALL = ("everyone could read a token in the global file, and it would work only for users without a file of their own; "
                 "log in with scope: user")
NO_URI = 'endpoint "c": it does not exist yet; set uri to add it'

REFUSED = [  # what, before, wanted, system, words of the message
    ("the same name twice", TWO, [present(), present("b"), absent()], None, 'endpoint "a": it is listed twice; merge the two entries'),
    ("two defaults", TWO, [present("b", default=True), present(default=True)], None,
     'only one endpoint can have default: true, but these have it: "a", "b"; keep it for one of them'),
    ("two exclusives", TWO, [present("b", exclusive=True), present(exclusive=True)], None,
     'only one endpoint can have exclusive: true, but these have it: "a", "b"; keep it for one of them'),
    ("no name", TWO, [present("", uri="a.example")], None, 'endpoint "": the name is blank, which Apptainer refuses; choose another'),
    ("a blank name", TWO, [present(" \u2028", uri="a.example")], None, "the name is blank, which Apptainer refuses; choose another"),
    ("a name that breaks the file", TWO, [present("<<", uri="a.example")], None,
     'endpoint "<<": with the name <<, Apptainer before 1.5 writes a file that no version can read; choose another'),
    ("a new endpoint without a uri", TWO, [present("c")], None, NO_URI),
    ("a user's new endpoint without a uri", TWO, [present("c", token="t")], EMPTY, NO_URI),
    ("a logout that declares a default", TWO, [present("c", token="", default=True)], EMPTY, NO_URI),
    ("a logout that declares an exclusive one", TWO, [present("c", token="", exclusive=True)], None, NO_URI),
    ("an unusable uri", TWO, [present(uri="https://")], None, 'endpoint "a": uri has no host name; write it like https://library.example.org'),
    ("two schemes at once", TWO, [present(uri="https://a.example", insecure=True)], None,
     'endpoint "a": uri says https, but insecure: true means http; remove one of the two'),
    ("http without consent", TWO, [present(uri="http://a.example")], None, 'endpoint "a": uri says http, which is not secure'),
    ("exclusive, but not the default", TWO, [present(exclusive=True, default=False)], None,
     'endpoint "a": an exclusive endpoint is always the default; remove default: false or exclusive: true'),
    ("exclusive in the file, but not the default", RULED, [present(default=False)], None,
     'endpoint "a": it is exclusive and therefore the default; remove default: false, or set exclusive: false'),
    ("a default beside an exclusive one", RULED, [present("b", default=True)], None,
     'endpoint "b": it cannot be the default, because "a" is exclusive; release that one first (exclusive: false with scope: global)'),
    ("a default and an exclusive one, both declared", TWO, [present(exclusive=True), present("b", default=True)], None,
     'endpoint "b": it cannot be the default, because "a" is exclusive'),
    ("two exclusives, neither the default", BOTH._replace(active=""), [], None,
     'the endpoints "a", "b" are all exclusive, and Apptainer picks one of them at random; set exclusive: true for the right one'),
    ("a token for everyone", TWO, [present(token="t")], None, 'endpoint "a": ' + TOKEN_FOR_ALL),
    ("an exclusive one removed", RULED, [absent()], None,
     'endpoint "a": it is exclusive, and removing it now would lock out users who have a copy; declare it with state: retired first, and remove it '
     "when apptainer_users_info finds no unreleased-copy any more (force: true removes it at once)"),
    ("an exclusive one removed beside its successor", RULED, [absent(), present("b", exclusive=True)], None, 'endpoint "a": it is exclusive'),
    ("a user's exclusive one", config(a=own()), [present(exclusive=True)], EMPTY,
     'endpoint "a": exclusive can only be set in the global file; use scope: global'),
    ("a user's endpoint that is not exclusive", config(a=own()), [present(exclusive=False)], EMPTY,
     "exclusive can only be set in the global file; use scope: global"),
    ("a user's keyservers", config(a=own()), [present(keyservers=())], EMPTY,
     'endpoint "a": keyservers can only be set in the global file; use scope: global'),
    ("a user's default beside an exclusive one", config(a=own()), [present(default=True)], EXCLUSIVE,
     'endpoint "a": it cannot be the default, because "lab" is exclusive'),
    ("a global default beside an exclusive one", EMPTY, [present("site", default=True)], EXCLUSIVE,
     'endpoint "site": it cannot be the default, because "lab" is exclusive'),
    ("one that would hide a global one", EMPTY, [present("lab", uri="other.example")], SYSTEM,
     'endpoint "lab": it is a global endpoint (lib.example), and one of this user with the same name would hide it and its exclusive setting; '
     "choose another name, or change the global one with scope: global"),
    ("a copy with another URI", config(lab=shared()), [present("lab", uri="other.example")], SYSTEM, "it is a global endpoint (lib.example)"),
]

# check mode

UNCERTAIN = 'endpoint "a": it does not exist yet; a real run fails unless an earlier task adds it'


@pytest.mark.parametrize("before", table([("no file", EMPTY), ("another endpoint", config("b", b=own("b.example", token="u")))]))
def test_a_login_to_what_an_earlier_task_may_add_is_foreseen(before):
    desired = converge(before, [present(token="t")], SYSTEM, check_mode=True)
    assert desired.config == before._replace(remotes={**before.remotes, "a": Remote("", "t", system=True)})
    assert desired.warnings == (UNCERTAIN,)
    assert converge(desired.config, [present(token="t")], SYSTEM, check_mode=True) == (desired.config, ())
    assert unplaced_endpoints(before, desired.config, SYSTEM) == ["a"]
    assert unplaced_endpoints(desired.config, desired.config, SYSTEM) == unplaced_endpoints(EMPTY, config("c", c=own("c.example")), SYSTEM) == []
    assert converge(before, [present(token="t", insecure=True)], SYSTEM, check_mode=True).config.remotes["a"].insecure
    with pytest.raises(RuleError, match="it does not exist yet; set uri to add it"):
        converge(before, [present(token="t")], SYSTEM)


@pytest.mark.parametrize(("wanted", "system", "words"), table([
    ("nothing", present(), EMPTY, "set uri to add it"),
    ("a default", present(default=True), EMPTY, "set uri to add it"),
    ("insecure", present(insecure=True), EMPTY, "set uri to add it"),
    ("nothing, in the global file", present(), None, "set uri to add it"),
    ("a token, in the global file", present(token="t"), None, "log in with scope: user"),
    ("a token that cannot be sent", present(token="to ken"), EMPTY, "an HTTP header cannot carry"),
    ("a blank name", present(" ", token="t"), EMPTY, "the name is blank"),
]))
def test_nothing_else_is_foreseen(wanted, system, words):
    with pytest.raises(RuleError, match=words):
        converge(EMPTY, [wanted], system, check_mode=True)


def test_a_logout_from_what_an_earlier_task_may_add_changes_nothing():
    for system in (None, EMPTY):
        assert converge(EMPTY, [present(token="")], system, check_mode=True) == (EMPTY, ())


@pytest.mark.parametrize("check_mode", [False, True], ids=["real run", "check mode"])
@pytest.mark.parametrize("wanted", table([
    ("no uri", present("lab")),
    ("a token without a uri", present("lab", token="t")),
    ("a uri and a token", present("lab", uri="lib.example", token="t")),
]))
def test_what_to_fix_is_said_before_what_to_declare(wanted, check_mode):
    with pytest.raises(RuleError, match=r"fix the global file first: /etc/broken$"):
        converge(EMPTY, [wanted], EMPTY, system_problem="/etc/broken", check_mode=check_mode)


UNFIT_TOKENS = ["to ken", "token\n", "tok\ten", "t\x00", "tökèn", "\u2028", "\x7f"]


@pytest.mark.parametrize(("before", "wanted", "after", "words"), table(GLOBAL))
def test_in_the_global_file(before, wanted, after, words):
    desired = settled(before, wanted)
    assert desired.config == after
    assert_warned(words, desired.warnings)


@pytest.mark.parametrize(("before", "wanted", "system", "after", "words"), table(USER))
def test_in_a_users_file(before, wanted, system, after, words):
    desired = settled(before, wanted, system)
    assert desired.config == after
    assert_warned(words, desired.warnings)


@pytest.mark.parametrize(("before", "wanted", "system", "after", "words"), table(PRUNED))
def test_prune(before, wanted, system, after, words):
    desired = settled(before, wanted, system, prune=True)
    assert desired.config == after
    assert_warned(words, desired.warnings)


@pytest.mark.parametrize(("before", "wanted", "system", "words"), table(REFUSED))
def test_refused(before, wanted, system, words):
    with pytest.raises(RuleError) as caught:
        converge(before, wanted, system)
    assert words in str(caught.value)


def test_prune_does_not_remove_an_exclusive_endpoint():
    with pytest.raises(RuleError) as caught:
        converge(RULED, [present("b")], prune=True)
    assert str(caught.value).startswith('endpoint "a": it is not listed, so prune would remove it, but it is exclusive, and removing it now')


@pytest.mark.parametrize("token", UNFIT_TOKENS)
def test_a_token_that_no_header_can_carry_is_refused_and_not_said(token):
    with pytest.raises(RuleError) as caught:
        converge(config(a=own()), [present(token=token)], EMPTY)
    assert str(caught.value) == 'endpoint "a": the token has white space or characters that an HTTP header cannot carry; correct it'


def test_a_token_is_not_in_the_text_form_of_what_is_wanted():
    assert repr(present(token="hunter2")) == (
        "WantedRemote(name='a', state='present', uri=None, insecure=None, default=None, exclusive=None, token='(hidden)', keyservers=None, "
        "force=False)")
    assert "uri='h', insecure=None, default=None, exclusive=None, token=None" in repr(present(uri="h"))


@pytest.mark.parametrize("system", [None, EMPTY, SYSTEM], ids=["global", "user without a global file", "user"])
def test_what_is_not_declared_is_left_alone(system):
    before = config("a", [LOGIN], a=FULL._replace(system=system is None, insecure=False), **OTHER)
    assert settled(before, [], system) == (before, ())
    assert settled(before, [present()], system) == (before, ())


@pytest.mark.parametrize(("wanted", "changed"), table([
    ("uri and insecure", present(uri="new.example", insecure=False), {"uri": "new.example", "insecure": False, "token": ""}),
    ("exclusive: false", present(exclusive=False), {"exclusive": False}),
    ("exclusive: true", present(exclusive=True), {}),
    ("keyservers", present(keyservers=()), {"keyservers": ()}),
    ("default", present(default=True), {}),
]))
def test_an_option_changes_only_what_it_names(wanted, changed):
    desired = settled(config("a", [LOGIN], a=FULL, **OTHER), [wanted])
    assert desired.config == config("a", [LOGIN], a=FULL._replace(**changed), **OTHER)


@pytest.mark.parametrize("system", [None, EMPTY], ids=["global", "user"])
def test_the_first_endpoint_without_a_default_is_warned_of(system):
    # without any endpoint Apptainer uses its built-in one; with one that is not the default it refuses to work
    desired = settled(config(credentials=[LOGIN]), [present(uri="a.example")], system)
    assert effective(desired.config, None).problem
    assert_warned(["set default: true"], desired.warnings)


INSECURE_COPIES = [  # what, before, wanted; Apptainer never syncs Insecure: what the copy says counts
    ("a secure copy made insecure", config(lab=shared()), present("lab", insecure=True)),
    ("no copy, but made insecure", EMPTY, present("lab", insecure=True)),
    ("an insecure copy made secure", config(lab=shared(insecure=True)), present("lab", insecure=False)),
    ("the same with the global setting", config(site=shared("//site.example:8443")), present("site", insecure=True)),
]


@pytest.mark.parametrize(("before", "wanted"), table(INSECURE_COPIES))
def test_insecure_of_a_users_copy_is_the_users(before, wanted):
    desired = converge(before, [wanted], SYSTEM)
    assert sync(desired.config, SYSTEM).remotes[wanted.name].insecure is wanted.insecure


def test_the_input_is_not_changed():
    before, system = config("b", **OVERRULED.remotes), config("lab", **SYSTEM.remotes)
    converge(before, [present("c", uri="c.example", exclusive=True), absent("a", force=True)], prune=True)
    converge(before, [present("lab", token="t"), absent("a")], system, prune=True)
    assert (before, system) == (OVERRULED, SYSTEM)


def test_a_released_endpoint_does_not_lock_out_users_with_a_copy():
    copy = sync(EMPTY, RULED)
    released = converge(RULED, [present(exclusive=False)]).config
    assert use_remote(sync(copy, released), "b", system=False).active == "b"


def test_a_copy_made_by_a_login_is_the_one_that_apptainer_makes():
    assert converge(EMPTY, [present("lab", token="t")], SYSTEM).config.remotes["lab"] == sync(EMPTY, SYSTEM).remotes["lab"]._replace(token="t")


# keyservers

K = WantedKeyserver
BUILTIN = Keyserver("https://own.example")
SKIPPED = BUILTIN._replace(skip=True)
X = Keyserver("https://x.example", external=True)
Y = Keyserver("hkp://y.example", external=True)
OPENPGP = "https://keys.openpgp.org"

KEYSERVER_LISTS = [  # what, before, wanted, after
    ("the built-in one alone", (SKIPPED, X), [], ()),
    ("as it was", (), [], ()),
    ("external ones, in order", (), [K(X.uri), K(Y.uri)], (X, Y)),
    ("turned round", (X, Y), [K(Y.uri), K(X.uri)], (Y, X)),
    ("one removed", (X, Y), [K(Y.uri)], (Y,)),
    ("one added in front", (X,), [K(Y.uri), K(X.uri)], (Y, X)),
    ("the built-in one", (), [K(BUILTIN.uri, builtin=True), K(X.uri)], (BUILTIN, X)),
    ("it stays the built-in one", (BUILTIN, X), [K(X.uri), K(BUILTIN.uri)], (X, BUILTIN)),
    ("it stays the built-in one while it is skipped", (SKIPPED, X), [K(BUILTIN.uri), K(X.uri)], (BUILTIN, X)),
    ("declared as an external one", (BUILTIN, X), [K(BUILTIN.uri, builtin=False)], (BUILTIN._replace(external=True),)),
    ("declared as the built-in one", (X,), [K(X.uri, builtin=True)], (X._replace(external=False),)),
    ("not wanted, it is skipped, behind the others", (BUILTIN, X), [K(X.uri), K(Y.uri)], (X, Y, SKIPPED)),
    ("a skipped one goes behind the others", (SKIPPED, X), [K(Y.uri), K(X.uri)], (Y, X, SKIPPED)),
    ("a skipped one stays in front if nothing else changes", (SKIPPED, X, Y), [K(X.uri), K(Y.uri)], (SKIPPED, X, Y)),
    ("the same server, in other words", (X,), [K("hkps://x.example/pks")], (X._replace(uri="hkps://x.example/pks"),)),
    ("insecure", (X,), [K(X.uri, insecure=True)], (X._replace(insecure=True),)),
    ("insecure as it was", (X._replace(insecure=True),), [K(X.uri), K(Y.uri)], (X._replace(insecure=True), Y)),
    ("not insecure any more", (X._replace(insecure=True),), [K(X.uri, insecure=False)], (X,)),
    ("an unusable one disappears", (Keyserver("ftp://z.example", external=True), X), [K(X.uri)], (X,)),
    ("a skipped external one too", (X._replace(skip=True), Y), [K(Y.uri, insecure=True)], (Y._replace(insecure=True),)),
]

USELESS = "keyserver uri has no host, or a scheme that Apptainer cannot use"
KEYSERVERS_REFUSED = [
    ("ftp", [K("ftp://x.example")], USELESS),
    ("no scheme", [K("x.example")], USELESS),
    ("unreadable", [K("https://x.example:port")], "keyserver uri cannot be parsed"),
    ("a password", [K("https://u:hunter2@x.example")], "keyserver uri has a user name or password"),
    ("twice", [K(X.uri), K(Y.uri), K("hkps://x.example/pks")],
     "the keyserver hkps://x.example/pks is listed twice (Apptainer compares scheme and host only); merge the two entries"),
    ("two built-in ones", [K(X.uri, builtin=True), K(Y.uri, builtin=True)],
     "only one keyserver can be the endpoint's built-in one; keep builtin: true for one of them"),
]


@pytest.mark.parametrize(("before", "wanted", "after"), table(KEYSERVER_LISTS))
def test_keyserver_list(before, wanted, after):
    remote = shared(keyservers=before)
    assert keyserver_list(remote, wanted) == after
    assert keyserver_list(remote._replace(keyservers=after), wanted) == after


@pytest.mark.parametrize(("uri", "keyserver", "external"), [
    ("cloud.apptainer.org", OPENPGP, False),
    ("cloud.apptainer.org", OPENPGP + "/", False),
    ("cloud.apptainer.org", X.uri, True),
    ("lib.example", OPENPGP, True),
])  # fmt: skip
def test_the_builtin_keyserver_of_the_built_in_endpoint_is_known(uri, keyserver, external):
    assert keyserver_list(shared(uri), [K(keyserver)]) == (Keyserver(keyserver, external=external),)


@pytest.mark.parametrize(("wanted", "words"), table(KEYSERVERS_REFUSED))
def test_keyservers_refused(wanted, words):
    with pytest.raises(RuleError) as caught:
        converge(TWO, [present(keyservers=tuple(wanted))])
    assert str(caught.value).startswith('endpoint "a": ' + words)
    assert "hunter2" not in str(caught.value)


def test_keyservers_are_those_of_the_new_uri():
    desired = settled(one(), [present(uri="cloud.apptainer.org", keyservers=(K(OPENPGP),))])
    assert desired.config.remotes["a"].keyservers == (Keyserver(OPENPGP),)


def test_a_moved_endpoint_does_not_send_its_token_to_the_old_builtin_keyserver():
    # Apptainer gives the endpoint's token to every keyserver that is not external
    desired = converge(one(keyservers=(BUILTIN, X)), [present(uri="new.example")])
    assert desired.config.remotes["a"].keyservers == (X,)
    assert_warned([KEYSERVER_LOST], desired.warnings)


# what is to go, in the module for a whole list

TO_B = config("b", a=shared("a.example"), b=shared("b.example"))
B_RULES = config("b", a=shared("a.example"), b=shared("b.example", exclusive=True))
ONLY_B_RULES = config("b", b=shared("b.example", exclusive=True))
RETIRED = [  # what, before, wanted, prune, after
    ("for another default", RULED, [retired(), present("b", default=True)], False, TO_B),
    ("for another exclusive one", RULED, [retired(), present("b", exclusive=True)], False, B_RULES),
    ("declared before it", RULED, [present("b", exclusive=True), retired()], False, B_RULES),
    ("with prune it stays", RULED, [retired(), present("b", exclusive=True)], True, B_RULES),
    ("not the default anyway", OVERRULED, [retired()], False, TO_B),
    ("one of two exclusives", BOTH, [retired()], False, B_RULES),
    ("all others are pruned", TO_B, [retired()], True, config("", a=shared("a.example"))),
    ("not there", ONLY_B_RULES, [retired(), present("b")], True, ONLY_B_RULES),
    ("not there, on a new node", EMPTY, [retired()], False, EMPTY),
    ("all else that it has stays", config("b", a=FULL, b=shared("b.example")), [retired(uri="%zz", insecure=False, keyservers=(), token="")], False,
     config("b", a=FULL._replace(exclusive=False), b=shared("b.example"))),
    ("false says the same", RULED, [retired(default=False, exclusive=False), present("b", default=True)], False, TO_B),
]


@pytest.mark.parametrize(("before", "wanted", "prune", "after"), table(RETIRED))
def test_a_retired_endpoint_is_kept_and_released(before, wanted, prune, after):
    for start in (before, after):  # the second run changes nothing
        desired = converge(start, wanted, prune=prune, keep_default=after.active in after.remotes)
        assert desired.config == after


def test_a_released_endpoint_can_go():
    for wanted, prune in (([absent(), present("b", exclusive=True)], False), ([present("b", exclusive=True)], True)):
        with pytest.raises(RuleError, match="declare it with state: retired first"):
            converge(RULED, wanted, prune=prune, keep_default=True)
        released = converge(RULED, [retired(), present("b", exclusive=True)], prune=prune, keep_default=True).config
        assert converge(released, wanted, prune=prune, keep_default=True) == (ONLY_B_RULES, ())


def test_one_task_of_several_may_retire_the_default():
    desired = converge(RULED, [retired()])
    assert desired.config == TWO._replace(active="")
    assert_warned([NO_DEFAULT], desired.warnings)
    assert converge(desired.config, [present("b", default=True)]) == (TO_B, ())


@pytest.mark.parametrize(("options", "words"), [
    ({"exclusive": True}, "remove exclusive: true, or"),
    ({"default": True}, "remove default: true, or"),
    ({"exclusive": True, "default": True}, "remove exclusive: true and default: true, or"),
])
def test_a_retired_endpoint_is_neither_exclusive_nor_the_default(options, words):
    for before in (RULED, EMPTY):  # whether it is there or not
        with pytest.raises(RuleError, match=f'^endpoint "a": a retired endpoint is neither exclusive nor the default; {words} set false where '):
            converge(before, [retired(**options)])


def test_in_a_users_file_nothing_is_retired():
    for before in (EMPTY, config("a", a=own()), config("lab", lab=shared(exclusive=True))):
        with pytest.raises(RuleError, match=r'^endpoint "a": only an endpoint of the global file can be retired; use scope: global, or state: '):
            converge(before, [retired()], EMPTY)


def test_by_force_nothing_is_kept():
    desired = converge(RULED, [absent(force=True)], keep_default=True)
    assert desired.config == config("", b=shared("b.example"))
    assert_warned([NO_DEFAULT], desired.warnings)


def test_an_exclusive_copy_in_a_users_file_is_removed():
    assert converge(config("", lab=shared(exclusive=True)), [absent("lab")], EMPTY).config == EMPTY


@pytest.mark.parametrize(("before", "wanted", "prune"), table([
    ("removed", TWO, [absent()], False),
    ("removed beside one that is declared", TWO, [absent(), present("b")], False),
    ("pruned", TWO, [present("b")], True),
    ("retired", RULED, [retired()], False),
    ("retired, and it is the only one", one(exclusive=True), [retired()], False),
    ("retired, and it was not exclusive", TWO, [retired(), present("b")], True),
    ("retired beside one that shall not be it", RULED, [retired(), present("b", default=False)], False),
    ("removed, and what stays is retired", OVERRULED, [absent("b"), retired("a")], False),
]))
def test_the_default_is_not_taken_from_everyone_without_a_successor(before, wanted, prune):
    with pytest.raises(RuleError, match=r'^endpoint "[ab]": it is the default, and (removing|retiring) it breaks Apptainer .*; set default: true for '
                                        r'another one$'):
        converge(before, wanted, prune=prune, keep_default=True)


@pytest.mark.parametrize(("before", "wanted", "system", "after"), table([
    ("with a successor", TWO, [absent(), present("b", default=True)], None, config("b", b=shared("b.example"))),
    ("the last one: then Apptainer has its built-in one", one(), [absent()], None, EMPTY),
    ("no default was set", TWO._replace(active=""), [absent()], None, config("", b=shared("b.example"))),
    ("default: false says so", TWO, [present(default=False)], None, TWO._replace(active="")),
    ("a user's own affair", config("a", a=own(), b=own()), [absent()], EMPTY, config("", b=own())),
]))
def test_where_the_default_may_be_removed(before, wanted, system, after):
    assert converge(before, wanted, system, keep_default=True).config == after


# for all files and declarations

NAMES = st.sampled_from("abcd")
TOKENS = ["", "", "t", "u"]
BOOLS = [False, True]
RARELY = [False, False, True]
MAYBE = [None, None, False, True]
KEYSERVER_URIS = ["https://k.example", "https://k.example/pks", "hkp://k.example", "https://l.example", OPENPGP]
KEYSERVERS = tuples(values(Keyserver, [*KEYSERVER_URIS, "ftp://k.example"], BOOLS, BOOLS, BOOLS), 3)
URIS = ["a.example", "b.example/x", "//b.example:8443", "c.example:8443", "127.0.0.1:80", "https://[::1]", ""]
REMOTES = st.builds(lambda remote, keyservers: remote._replace(keyservers=keyservers),
                    st.sampled_from(values(Remote, URIS, TOKENS, BOOLS, RARELY, BOOLS)), st.just(()) | st.sampled_from(KEYSERVERS))
CONFIGS = st.builds(RemoteConfig, NAMES | st.just(""), st.dictionaries(NAMES, REMOTES), st.sampled_from([(), (LOGIN,)]))
WANTED_KEYSERVERS = tuples(values(WantedKeyserver, KEYSERVER_URIS, MAYBE[1:], MAYBE[1:]), 3)
GOOD_URIS = [None, None, "a.example", "https://a.example/", "b.example/x", "b.example:8443", "//c.example:8443", "cloud.apptainer.org"]
WANTED = st.sampled_from(values(WantedRemote, ["a"], ["present", "present", "present", "absent", "retired"], GOOD_URIS, MAYBE, MAYBE))


def lists(exclusive=(None,), token=(None,), keyservers=None):
    """Lists of declared endpoints with some of these options."""
    one = st.builds(
        lambda wanted, name, options, keyservers: wanted._replace(
            name=name, exclusive=options[0], token=options[1], force=options[2], keyservers=keyservers),
        WANTED, NAMES, st.sampled_from(list(itertools.product(exclusive, token, BOOLS))),
        st.none() if keyservers is None else st.none() | st.sampled_from(keyservers))
    return st.lists(one, max_size=3, unique_by=lambda item: item.name)


RUNS = st.one_of(
    st.tuples(CONFIGS, lists(exclusive=MAYBE, keyservers=WANTED_KEYSERVERS), st.none(), st.booleans()),
    st.tuples(CONFIGS, lists(token=[None, None, *TOKENS]), CONFIGS, st.booleans()))


def converged(run, **options):
    """What is desired in a run: the file, what is declared, the global file if it is a user's, and whether the rest is pruned."""
    before, wanted, system, prune = run
    return converge(before, wanted, system, prune=prune, **options)


# Invariants: what holds for every run that is not refused

def a_second_run_changes_nothing_and_is_not_refused(run, desired):
    assert converged((desired.config, *run[1:])).config == desired.config


def the_global_file_never_holds_two_exclusive_endpoints(run, desired):
    assert run[2] is not None or len(exclusives(desired.config.remotes)) <= 1


def without_prune_what_is_not_listed_is_left_alone(run, desired):
    before, wanted, system, prune = run
    after = desired.config
    if prune:
        return
    marks_may_change = system is None and (len(exclusives(before.remotes)) > 1 or any(item.exclusive for item in wanted))
    names = {item.name for item in wanted}
    assert set(before.remotes) - names == set(after.remotes) - names
    for name in set(before.remotes) - names:
        assert after.remotes[name] == before.remotes[name]._replace(exclusive=after.remotes[name].exclusive)
        assert after.remotes[name].exclusive == before.remotes[name].exclusive or marks_may_change


def with_prune_only_what_is_listed_stays(run, desired):
    before, wanted, system, prune = run
    copies = {name for name in before.remotes if system and name in system.remotes and before.remotes[name].system}
    names = {item.name for item in wanted}
    assert not prune or set(desired.config.remotes) - names == copies - names


def only_what_is_absent_or_pruned_goes(run, desired):
    before, wanted, _system, prune = run
    kept = {item.name for item in wanted if item.state != "absent"}
    gone = {item.name for item in wanted if item.state == "absent"}
    assert not set(before.remotes) - set(desired.config.remotes) - gone - (set(before.remotes) - kept if prune else set())


def logins_are_left_alone(run, desired):
    assert desired.config.credentials == run[0].credentials


def nothing_becomes_the_default_unasked(run, desired):
    before, wanted, _system, _prune = run
    asked = {item.name for item in wanted if item.present and (item.default or item.exclusive)}
    assert desired.config.active in {before.active, ""} | asked


def warned_if_and_only_if_apptainer_would_refuse_to_work(run, desired):
    system = run[2]
    problem = effective(None, desired.config).problem if system is None else effective(desired.config, system).problem
    assert any("Apptainer refuses to work" in warning for warning in desired.warnings) == bool(problem)


def what_is_declared_is_so(run, desired):
    _before, wanted, system, _prune = run
    after = desired.config
    known = after if system is None else sync(after, system)
    for item in wanted:
        if item.state == "retired":
            assert system is None
            assert (item.name in after.remotes) == (item.name in run[0].remotes)
            assert item.name != after.active or item.name not in after.remotes
            assert item.name not in exclusives(after.remotes)
            continue
        if not item.present:
            assert item.name not in after.remotes
            continue
        if item.name not in known.remotes:
            assert item._replace(force=False) == WantedRemote(item.name, token="")  # logged out already
            continue
        remote = known.remotes[item.name]
        assert item.exclusive is None or remote.exclusive is item.exclusive
        assert item.token is None or remote.token == item.token
        assert item.default is None or (after.active == item.name) is item.default
        assert item.insecure is None or remote.insecure is item.insecure
        assert item.uri is None or remote.uri.lstrip("/") == item.uri.removeprefix("https://").strip("/")
        if item.keyservers is not None:
            assert [server.uri for server in remote.keyservers if not server.skip] == [server.uri for server in item.keyservers]


INVARIANTS = [
    a_second_run_changes_nothing_and_is_not_refused,
    the_global_file_never_holds_two_exclusive_endpoints,
    without_prune_what_is_not_listed_is_left_alone,
    with_prune_only_what_is_listed_stays,
    only_what_is_absent_or_pruned_goes,
    logins_are_left_alone,
    nothing_becomes_the_default_unasked,
    warned_if_and_only_if_apptainer_would_refuse_to_work,
    what_is_declared_is_so,
]


@settings(max_examples=250)
@given(RUNS)
@example((config("gone", a=own()), [], EXCLUSIVE, False))
@example((config("a"), [], None, False))
def test_a_run_is_refused_for_an_endpoint_or_keeps_all_invariants(run):
    try:
        desired = converged(run)
    except RuleError as error:
        assert error.subject.startswith('endpoint "') or error.reason.startswith(("only one endpoint can have ", 'the endpoints "'))
        return
    for invariant in INVARIANTS:
        invariant(run, desired)


@given(CONFIGS, lists(exclusive=MAYBE), st.booleans())
@example(RULED, [retired(), present("b", exclusive=True)], False)
@example(BOTH, [present("b", default=True)], True)
def test_nothing_exclusive_is_removed_and_the_default_has_a_successor(before, wanted, prune):
    forced = {item.name for item in wanted if item.force}
    try:
        after = converge(before, wanted, prune=prune, keep_default=True).config
    except RuleError:
        assume(False)
    assert not set(exclusives(before.remotes)) - set(after.remotes) - forced
    if before.active in before.remotes and before.active not in forced and after.remotes:
        assert after.active in after.remotes or any(item.default is False for item in wanted)
    assert converge(after, wanted, prune=prune, keep_default=True).config == after


@given(RUNS)
@example((EMPTY, [present(token="t")], EMPTY, False))
def test_check_mode_foresees_nothing_but_logins_to_what_does_not_exist(run):
    """Without such a login the outcome is that of the real run."""
    before, wanted, system, _prune = run

    def outcome(check_mode):
        try:
            return converged(run, check_mode=check_mode)
        except RuleError as error:
            return str(error)

    foreseen, real = outcome(True), outcome(False)
    is_login_to_nowhere = system is not None and any(
        item.present and item.token and item.uri is None and item.name not in {**before.remotes, **system.remotes} for item in wanted)
    assert foreseen == real or (is_login_to_nowhere and "it does not exist yet; set uri to add it" in real)


class Name(str):
    """Counts how often a name is looked up."""

    steps = 0
    __slots__ = ()

    def __hash__(self):
        Name.steps += 1
        return super().__hash__()


@pytest.mark.parametrize("system", [None, EMPTY], ids=["global", "user"])
def test_a_thousand_endpoints_take_some_thousand_steps(system):
    number = 1_000
    before = RemoteConfig("", {Name(index): shared(f"{index}.example") for index in range(2 * number)})
    wanted = [WantedRemote(Name(index), uri=f"{index}.example") for index in range(number, 3 * number)]
    Name.steps = 0
    desired = converge(before, wanted, system, prune=True)
    assert len(desired.config.remotes) == 2 * number
    assert Name.steps < 30 * number


def test_a_new_endpoint_is_refused_where_nobody_knows_whether_it_is_global():
    with pytest.raises(RuleError, match=r"fix the global file first: /etc/broken$"):
        converge(EMPTY, [present("lab", uri="lib.example")], EMPTY, system_problem="/etc/broken")


def test_prune_keeps_copies_where_nobody_knows_whether_they_are_stale():
    before = config("a", a=own(), lab=shared(token="t"))
    assert converge(before, [present()], EMPTY, prune=True, system_problem="/etc/broken").config == before


@pytest.mark.parametrize("stored", ["h.example:8443", "https://h.example:8443/", "//H.example:8443"])
def test_another_spelling_of_the_same_place_keeps_the_token(stored):
    desired = converge(config("a", a=own(stored, token="t")), [present(uri="https://h.example:8443")], EMPTY)
    assert desired.config.remotes["a"].token == "t"


def test_a_stale_copy_cannot_be_moved():
    with pytest.raises(RuleError, match="a copy of a global endpoint that no longer exists; remove it first"):
        converge(config("gone", gone=shared()), [present("gone", uri="new.example")], EMPTY)


# names that tear a table, a default that has no effect, SingularityCE

@pytest.mark.parametrize("name", ["a\tb", "a\vb", "a\fb", "a\nb", "\ta"])
def test_names_that_tear_the_table_of_remote_list(name):
    for before in (EMPTY, RemoteConfig("", {name: own()})):
        with pytest.raises(RuleError, match=r'^endpoint ".*": the name has a tab or a line break, which tears the table'):
            converge(before, [present(name, uri="a.example")])
    assert converge(RemoteConfig("", {name: own()}), [absent(name)]).config == EMPTY
    assert converge(RemoteConfig(name, {name: own(token="t")}), [present(name, token="")], EMPTY).config.remotes == {name: own()}


def test_a_default_without_effect_that_the_file_has_already_is_a_warning():
    before = config("mine", mine=own())
    desired = settled(before, [present("mine", default=True)], RULED)
    assert desired.config == before
    assert_warned(['endpoint "mine": this user\'s file makes it the default, but that has no effect while "a" is exclusive'], desired.warnings)
    with pytest.raises(RuleError, match='it cannot be the default, because "a" is exclusive'):
        converge(before._replace(active=""), [present("mine", default=True)], RULED)


def test_no_default_beside_an_exclusive_one_in_the_global_file():
    with pytest.raises(RuleError, match='it cannot be the default, because "a" is exclusive'):
        converge(OVERRULED, [present("b", default=True)])


def test_a_name_in_both_files_is_fatal_to_singularity():
    before = config("a", a=own())
    desired = converge(before, [present("a")], RULED, flavor="singularity")
    assert desired.config == before
    assert_warned(["this user's own endpoint has the name of a global one, so SingularityCE refuses every command of this user"], desired.warnings)
    for flavor, words in (("singularity", "would make SingularityCE refuse every command"), ("apptainer", "would hide it and its exclusive setting")):
        with pytest.raises(RuleError, match=words):
            converge(EMPTY, [present("a", uri="https://other.example")], RULED, flavor=flavor)


def test_no_default_is_warned_of_for_singularity_too():
    desired = converge(config("", mine=own()), [present("mine")], EMPTY, flavor="singularity")
    assert_warned(["no endpoint is the default"], desired.warnings)


def test_singularity_has_no_built_in_keyserver_of_cloud_apptainer_org():
    """As its built-in one it would get the endpoint's token."""
    remote = shared("cloud.apptainer.org")
    wanted = [WantedKeyserver("https://keys.openpgp.org"), WantedKeyserver("https://k.example")]
    assert [server.external for server in keyserver_list(remote, wanted)] == [False, True]
    assert [server.external for server in keyserver_list(remote, wanted, "singularity")] == [True, True]
