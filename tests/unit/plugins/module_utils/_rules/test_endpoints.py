# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import itertools

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._apptainer.effective import effective, exclusives, sync
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import RuleError
from ansible_collections.hpc.apptainer.plugins.module_utils._rules.endpoints import (
    WantedKeyserver,
    WantedRemote,
    converge,
    keyserver_list,
    unplaced_endpoints,
)
from ansible_collections.hpc.apptainer.plugins.module_utils._values.remote_config import Credential, Keyserver, Remote, RemoteConfig
from hypothesis import assume, example, given
from hypothesis import strategies as st
from support.apptainer_commands import use


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
    return WantedRemote(name, present=False, **fields)


def table(rows):
    return [pytest.param(*row[1:], id=row[0]) for row in rows]


def settled(before, wanted, system=None, prune=False):
    """The outcome, proven to be one that a second run leaves alone."""
    outcome = converge(before, wanted, system, prune)
    assert converge(outcome.config, wanted, system, prune).config == outcome.config
    return outcome


def assert_said(words, warnings):
    """Each warning is the expected one, and there is no other."""
    assert len(warnings) == len(words), warnings
    for phrase, warning in zip(words, warnings, strict=True):
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
HTTP_FOR_SOME = 'endpoint "a": insecure does not reach users who have a remote.yaml of their own: for them Apptainer uses https'
KEYSERVER_LOST = 'endpoint "a": it moves to another URI, so the own keyserver of the old one is removed from its keyservers'
STAYS = 'endpoint "lab": it stays the default, because the global file says so'
LOGGED_OUT = 'endpoint "a": it moves to another URI, so the token stored for the old one is removed; log in again'

GLOBAL = [  # what, before, wanted, after, words of each warning
    # uri
    ("an endpoint is added", config("b", **OTHER), [present(uri="https://a.example/x/")], config("b", a=shared("a.example/x"), **OTHER), []),
    ("the file of a new node", EMPTY, [present(uri="a.example", default=True)], one("a.example"), []),
    ("logins stay", config("b", [LOGIN], **OTHER), [present(uri="a.example")], config("b", [LOGIN], a=shared("a.example"), **OTHER), []),
    ("a port gets //", config("b", **OTHER), [present(uri="https://h.example:8443")], config("b", a=shared("//h.example:8443"), **OTHER), []),
    ("a URI is changed", one(keyservers=KEYS), [present(uri="new.example")], one("new.example", keyservers=KEYS), []),
    ("a spelling that works is left", one("https://h.example:80"), [present(uri="h.example:80")], one("https://h.example:80"), []),
    ("one that doesn't is mended", one("h.example:80"), [present(uri="h.example:80")], one("//h.example:80"), []),
    ("nor does this one", one("127.0.0.1:80"), [present(uri="127.0.0.1:80")], one("//127.0.0.1:80"), []),
    ("what can't be stored is said", config("b", **OTHER), [present(uri="u:p@a.example?q")], config("b", a=shared("a.example"), **OTHER),
     ['endpoint "a": Apptainer has no place for the user name and password in uri, so it is not stored',
      'endpoint "a": Apptainer has no place for the query in uri, so it is not stored']),
    ("System is mended", config("a", a=own("a.example", keyservers=KEYS)), [present()], one("a.example", keyservers=KEYS), []),
    # insecure
    ("added as insecure", config("b", **OTHER), [present(uri="http://a.example", insecure=True)],
     config("b", a=shared("a.example", insecure=True), **OTHER), [HTTP_FOR_SOME]),
    ("made insecure", one(), [present(insecure=True)], one(insecure=True), [HTTP_FOR_SOME]),
    ("made insecure, with its URI", one(), [present(uri="lib.example", insecure=True)], one(insecure=True), [HTTP_FOR_SOME]),
    ("made secure", one(insecure=True), [present(insecure=False)], one(), []),
    ("made secure by the scheme", one(insecure=True), [present(uri="https://lib.example")], one(), []),
    ("insecure stays if the URI doesn't say", one(insecure=True), [present(uri="lib.example")], one(insecure=True), [HTTP_FOR_SOME]),
    ("nor after //", one(insecure=True), [present(uri="//lib.example")], one(insecure=True), [HTTP_FOR_SOME]),
    ("nor if it changes", one(insecure=True), [present(uri="new.example")], one("new.example", insecure=True), [HTTP_FOR_SOME]),
    # a token that should not be there
    ("a move drops it", one(token="t"), [present(uri="new.example")], one("new.example"), [LOGGED_OUT]),
    ("so does http", one(token="t"), [present(uri="lib.example", insecure=True)], one(insecure=True), [LOGGED_OUT, HTTP_FOR_SOME]),
    ("a token for everyone can be removed", one(token="t"), [present(token="")], one(), []),
    ("even from what does not exist", one(), [present("x", token="", force=True)], one(), []),
    ("also if only that is declared", one(token="t"), [present(insecure=True)], one(insecure=True), [LOGGED_OUT, HTTP_FOR_SOME]),
    ("a mere other spelling doesn't", one(token="t"), [present(uri="https://lib.example/")], one(token="t"), []),
    # an own keyserver that is the old place's
    ("a move drops it", one(keyservers=OLD_KEYS), [present(uri="new.example")], one("new.example", keyservers=KEYS), [KEYSERVER_LOST]),
    ("if it was the only one", one(keyservers=OLD_KEYS[:1]), [present(uri="new.example")], one("new.example"), [KEYSERVER_LOST]),
    ("not said if the new ones are declared", one(keyservers=OLD_KEYS), [present(uri="new.example", keyservers=(WantedKeyserver(KEYS[0].uri),))],
     one("new.example", keyservers=KEYS), []),
    ("a mere other spelling keeps it", one(keyservers=OLD_KEYS), [present(uri="https://lib.example/")], one(keyservers=OLD_KEYS), []),
    # default
    ("made the default", TWO, [present("b", default=True)], TWO._replace(active="b"), []),
    ("added as the default", TWO, [present("c", uri="c.example", default=True)], config("c", c=shared("c.example"), **TWO.remotes), []),
    ("nothing becomes it by being added", TWO, [present("c", uri="c.example")], config("a", c=shared("c.example"), **TWO.remotes), []),
    ("not the default any more", TWO, [present(default=False)], TWO._replace(active=""), [NO_DEFAULT]),
    ("it never was", TWO, [present("b", default=False)], TWO, []),
    ("another one in its place", TWO, [present(default=False), present("b", default=True)], TWO._replace(active="b"), []),
    ("in any order", TWO, [present("b", default=True), present(default=False)], TWO._replace(active="b"), []),
    ("a broken default is said", config("gone", a=shared()), [present()], config("gone", a=shared()),
     ['the default endpoint "gone" does not exist, and Apptainer refuses to work without one; set default: true for one']),
    ("a broken default is mended", config("gone", a=shared()), [present(default=True)], one(), []),
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
    ("that is left alone if not declared", OVERRULED, [present()], OVERRULED, []),
    ("two are repaired by the default", BOTH, [], config("b", a=shared("a.example"), b=shared("b.example", exclusive=True)),
     ['the endpoints "a", "b" were all exclusive; only the default one, "b", still is']),
    ("two are repaired by releasing one", BOTH, [present("b", exclusive=False)], OVERRULED, []),
    ("two are repaired by removing one", BOTH, [absent("a", force=True)], config("b", b=shared("b.example", exclusive=True)), []),
    # absent
    ("removed", TWO, [absent("b")], one("a.example"), []),
    ("was absent", TWO, [absent("c")], TWO, []),
    ("an impossible name was absent", TWO, [absent(" ")], TWO, []),
    ("even that can be removed", RemoteConfig("a", {"a": shared(), "<<": shared()}), [absent("<<")], one(), []),
    ("other options don't count then", TWO, [absent("b", uri="%zz", default=True, exclusive=True, token="t")], one("a.example"), []),
    ("nor beside another one's", TWO, [present(default=True, exclusive=True), absent("b", default=True, exclusive=True)],
     one("a.example", exclusive=True), []),
    ("the default is removed", TWO, [absent("a")], config("", b=shared("b.example")), [NO_DEFAULT]),
    ("the last one is removed", one(), [absent("a")], EMPTY, []),
    ("exclusive, by force", RULED, [absent("a", force=True)], config("", b=shared("b.example")), [NO_DEFAULT]),
    ("by force, with a new default", RULED, [absent("a", force=True), present("b", default=True)], config("b", b=shared("b.example")), []),
]

PRUNED = [
    ("of the global file all that is not listed", config("a", [LOGIN], a=shared(), **OTHER), [present()], None, config("a", [LOGIN], a=shared()), []),
    ("also the default", TWO, [present("b")], None, config("", b=shared("b.example")), [NO_DEFAULT]),
    ("everything", TWO, [], None, EMPTY, []),
    ("listed as absent", TWO, [present("a"), absent("b")], None, one("a.example"), []),
    ("an exclusive one that is released first", RULED, [present("a", exclusive=False)], None, one("a.example"), []),
    ("of a user's file the own ones", config("a", [LOGIN], a=own(), b=own(), c=own()), [present("b")], EMPTY, config("", [LOGIN], b=own()),
     [NO_DEFAULT]),
    ("and copies without an original", config("b", b=own(), gone=shared(exclusive=True)), [present("b")], TWO._replace(remotes={}),
     config("b", b=own()), []),
    ("but not the other copies", config("a", a=shared(token="t"), c=own()), [], TWO, one(token="t"), []),
    ("an own one that hides a global one", config("a", a=own()), [], TWO, EMPTY, []),
]

SYSTEM = config("lab", lab=shared(keyservers=KEYS), site=shared("//site.example:8443", insecure=True))
EXCLUSIVE = config("lab", lab=shared(exclusive=True), site=shared("site.example"))
SHADOWS = 'endpoint "lab": it hides the global endpoint of the same name, and its exclusive setting, from this user'

USER = [  # what, before, wanted, system, after, words of each warning
    ("an own endpoint", EMPTY, [present(uri="a.example")], SYSTEM, config(a=own("a.example")), []),
    ("without a global file", EMPTY, [present(uri="a.example", default=True)], EMPTY, config("a", a=own("a.example")), []),
    ("insecure, without the global file's trouble", EMPTY, [present(uri="a.example", insecure=True)], SYSTEM,
     config(a=own("a.example", insecure=True)), []),
    ("with its token", EMPTY, [present(uri="a.example", token="t")], SYSTEM, config(a=own("a.example", token="t")), []),
    ("a new token", config(a=own(token="t")), [present(token="u")], SYSTEM, config(a=own(token="u")), []),
    ("logged out", config(a=own(token="t")), [present(token="")], SYSTEM, config(a=own()), []),
    ("a move drops the token", config(a=own(token="t")), [present(uri="new.example")], SYSTEM, config(a=own("new.example")), [LOGGED_OUT]),
    ("but not the new one", config(a=own(token="t")), [present(uri="new.example", token="u")], SYSTEM, config(a=own("new.example", token="u")), []),
    ("nor the same one, if that is declared", config(a=own(token="t")), [present(uri="new.example", token="t")], SYSTEM,
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
    ("also with its URI", EMPTY, [present("lab", uri="https://lib.example/")], SYSTEM, EMPTY, []),
    ("whatever its spelling", EMPTY, [present("site", uri="site.example:8443")], SYSTEM, EMPTY, []),
    ("a copy is left alone", config(lab=shared("old.example", token="t")), [present("lab", uri="lib.example")], SYSTEM,
     config(lab=shared("old.example", token="t")), []),
    ("two exclusive copies are left alone", config("a", a=own(), x=shared(exclusive=True), y=shared(exclusive=True)), [present()], SYSTEM,
     config("a", a=own(), x=shared(exclusive=True), y=shared(exclusive=True)), []),
    ("login to a global endpoint leaves a copy", EMPTY, [present("lab", token="t")], SYSTEM, config(lab=shared(token="t", keyservers=KEYS)), []),
    ("of its exclusive mark too", EMPTY, [present("lab", token="t")], EXCLUSIVE, config(lab=shared(token="t", exclusive=True)), []),
    ("login where there is a copy, of another place", config(lab=shared("old.example", insecure=True)), [present("lab", token="t")], SYSTEM,
     config(lab=shared(insecure=True, token="t")), []),
    ("with the token of the old place", config(lab=shared("old.example", token="t", exclusive=True)), [present("lab", token="t")], SYSTEM,
     config(lab=shared(token="t", exclusive=True)), []),
    ("in another spelling", config(lab=shared("https://LIB.example/")), [present("lab", token="t")], SYSTEM,
     config(lab=shared("https://LIB.example/", token="t")), []),
    ("logout is for any place", config(lab=shared("old.example", token="t")), [present("lab", token="")], SYSTEM,
     config(lab=shared("old.example")), []),
    ("insecure needs no place", config(lab=shared("old.example")), [present("lab", insecure=True)], SYSTEM,
     config(lab=shared("old.example", insecure=True)), []),
    ("logout from what does not exist", config("a", a=own(token="t")), [present("x", token="")], SYSTEM, config("a", a=own(token="t")), []),
    ("logout keeps the copy", config(lab=shared(token="t")), [present("lab", token="")], SYSTEM, config(lab=shared()), []),
    ("logout where nobody was logged in", config(lab=shared()), [present("lab", token="")], SYSTEM, config(lab=shared()), []),
    ("logout where there is no copy", EMPTY, [present("lab", token="")], SYSTEM, EMPTY, []),
    ("login on a copy without an original", config(gone=shared()), [present("gone", token="t")], SYSTEM, config(gone=shared(token="t")), []),
    ("a copy can be removed", config("lab", lab=shared(token="t", exclusive=True)), [absent("lab")], SYSTEM, EMPTY, []),
    ("also one without an original", config("gone", gone=shared(exclusive=True), a=own()), [absent("gone")], EMPTY, config("", a=own()),
     [NO_DEFAULT]),
    ("a global endpoint is not in the file", config("lab", a=own()), [absent("lab")], SYSTEM, config("lab", a=own()),
     ["it is a global endpoint, which a user cannot remove"]),
    ("a shadow that exists is kept, and said", config(lab=own()), [present("lab", uri="other.example")], SYSTEM, config(lab=own("other.example")),
     [SHADOWS]),
]

TOKEN_FOR_ALL = "a token in the global file would be readable by everyone and work only for users without a file of their own; " \
                "log in with scope: user"

REFUSED = [  # what, before, wanted, system, words of the message
    ("the same name twice", TWO, [present(), present("b"), absent()], None, 'endpoint "a" is listed twice; merge the two entries'),
    ("two defaults", TWO, [present("b", default=True), present(default=True)], None,
     'only one endpoint can be default, but "a", "b" are; keep one of them'),
    ("two exclusives", TWO, [present("b", exclusive=True), present(exclusive=True)], None,
     'only one endpoint can be exclusive, but "a", "b" are; keep one of them'),
    ("no name", TWO, [present("", uri="a.example")], None, 'endpoint "": a name must not be blank; Apptainer refuses it'),
    ("a blank name", TWO, [present(" \u2028", uri="a.example")], None, "a name must not be blank; Apptainer refuses it"),
    ("a name that breaks the file", TWO, [present("<<", uri="a.example")], None,
     'endpoint "<<": the name << makes Apptainer before 1.5 write a file that no version can read; choose another'),
    ("a new endpoint without a uri", TWO, [present("c")], None, 'endpoint "c": it does not exist yet, so it needs a uri'),
    ("also in a user's file", TWO, [present("c", token="t")], EMPTY, 'endpoint "c": it does not exist yet, so it needs a uri'),
    ("a logout that declares more", TWO, [present("c", token="", default=True)], EMPTY, 'endpoint "c": it does not exist yet, so it needs a uri'),
    ("an exclusive one", TWO, [present("c", token="", exclusive=True)], None, 'endpoint "c": it does not exist yet, so it needs a uri'),
    ("an unusable uri", TWO, [present(uri="https://")], None, 'endpoint "a": uri names no host; write it like https://library.example.org'),
    ("two schemes at once", TWO, [present(uri="https://a.example", insecure=True)], None,
     'endpoint "a": uri says https, insecure: true says http; drop one of the two'),
    ("http without consent", TWO, [present(uri="http://a.example")], None, 'endpoint "a": uri says http, which needs insecure: true'),
    ("exclusive, but not the default", TWO, [present(exclusive=True, default=False)], None,
     'endpoint "a": an exclusive endpoint is the default; drop default: false or exclusive: true'),
    ("exclusive in the file, but not the default", RULED, [present(default=False)], None, "exclusive"),
    ("a default beside an exclusive one", RULED, [present("b", default=True)], None,
     'endpoint "b" cannot be the default: "a" is exclusive; release that one first (exclusive: false)'),
    ("both declared", TWO, [present(exclusive=True), present("b", default=True)], None, 'endpoint "b" cannot be the default: "a" is exclusive'),
    ("two exclusives, neither the default", BOTH._replace(active=""), [], None,
     'the endpoints "a", "b" are all exclusive, so Apptainer obeys any of them, by chance. Say which one it is: exclusive: true'),
    ("a token for everyone", TWO, [present(token="t")], None, 'endpoint "a": ' + TOKEN_FOR_ALL),
    ("an exclusive one removed", RULED, [absent()], None,
     'endpoint "a": it is exclusive, and users who hold a copy would be locked out if it were removed now. '
     "Set exclusive: false and let that reach the users, then remove it "
     "(retire: true of apptainer_remotes does so in two runs; force: true at once)"),
    ("even beside its successor", RULED, [absent(), present("b", exclusive=True)], None, 'endpoint "a": it is exclusive'),
    ("a user's exclusive one", config(a=own()), [present(exclusive=True)], EMPTY,
     'endpoint "a": exclusive can only be set in the global file; use scope: global'),
    ("or not", config(a=own()), [present(exclusive=False)], EMPTY, "exclusive can only be set in the global file; use scope: global"),
    ("a user's keyservers", config(a=own()), [present(keyservers=())], EMPTY,
     'endpoint "a": keyservers can only be set in the global file; use scope: global'),
    ("a user's default beside an exclusive one", config(a=own()), [present(default=True)], EXCLUSIVE,
     'endpoint "a" cannot be the default: "lab" is exclusive'),
    ("or a global one", EMPTY, [present("site", default=True)], EXCLUSIVE, 'endpoint "site" cannot be the default: "lab" is exclusive'),
    ("a new shadow", EMPTY, [present("lab", uri="other.example")], SYSTEM,
     'endpoint "lab": it is a global endpoint (lib.example); an own one of the same name would hide it and its exclusive setting. '
     "Choose another name, or change it with scope: global"),
    ("a copy with another URI", config(lab=shared()), [present("lab", uri="other.example")], SYSTEM, "it is a global endpoint (lib.example)"),
]

# check mode

UNCERTAIN = 'endpoint "a": it does not exist yet; a real run fails, unless an earlier task makes it'


@pytest.mark.parametrize("before", [EMPTY, config("b", b=own("b.example", token="u"))])
def test_a_login_to_what_an_earlier_task_makes_is_foreseen(before):
    outcome = converge(before, [present(token="t")], SYSTEM, check_mode=True)
    assert outcome.config == before._replace(remotes={**before.remotes, "a": Remote("", "t", system=True)})
    assert outcome.warnings == (UNCERTAIN,)
    assert converge(outcome.config, [present(token="t")], SYSTEM, check_mode=True) == (outcome.config, ())
    assert unplaced_endpoints(before, outcome.config, SYSTEM) == ["a"]
    assert unplaced_endpoints(outcome.config, outcome.config, SYSTEM) == unplaced_endpoints(EMPTY, config("c", c=own("c.example")), SYSTEM) == []
    assert converge(before, [present(token="t", insecure=True)], SYSTEM, check_mode=True).config.remotes["a"].insecure
    with pytest.raises(RuleError, match="it does not exist yet, so it needs a uri"):
        converge(before, [present(token="t")], SYSTEM)


@pytest.mark.parametrize(("wanted", "system", "words"), [
    (present(), EMPTY, "so it needs a uri"),
    (present(default=True), EMPTY, "so it needs a uri"),
    (present(insecure=True), EMPTY, "so it needs a uri"),
    (present(), None, "so it needs a uri"),
    (present(token="t"), None, "log in with scope: user"),
    (present(token="to ken"), EMPTY, "no HTTP header"),
    (present(" ", token="t"), EMPTY, "must not be blank"),
])  # fmt: skip
def test_nothing_else_is_foreseen(wanted, system, words):
    with pytest.raises(RuleError, match=words):
        converge(EMPTY, [wanted], system, check_mode=True)


def test_a_logout_from_what_an_earlier_task_may_make_changes_nothing():
    for system in (None, EMPTY):
        assert converge(EMPTY, [present(token="")], system, check_mode=True) == (EMPTY, ())


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize("wanted", [present("lab"), present("lab", token="t"), present("lab", uri="lib.example", token="t")])
def test_what_to_mend_is_said_before_what_to_declare(wanted, check_mode):
    with pytest.raises(RuleError, match="mend that file first"):
        converge(EMPTY, [wanted], EMPTY, system_known=False, check_mode=check_mode)


UNFIT_TOKENS = ["to ken", "token\n", "tok\ten", "t\x00", "tökèn", "\u2028", "\x7f"]


@pytest.mark.parametrize(("before", "wanted", "after", "words"), table(GLOBAL))
def test_in_the_global_file(before, wanted, after, words):
    outcome = settled(before, wanted)
    assert outcome.config == after
    assert_said(words, outcome.warnings)


@pytest.mark.parametrize(("before", "wanted", "system", "after", "words"), table(USER))
def test_in_a_users_file(before, wanted, system, after, words):
    outcome = settled(before, wanted, system)
    assert outcome.config == after
    assert_said(words, outcome.warnings)


@pytest.mark.parametrize(("before", "wanted", "system", "after", "words"), table(PRUNED))
def test_prune(before, wanted, system, after, words):
    outcome = settled(before, wanted, system, prune=True)
    assert outcome.config == after
    assert_said(words, outcome.warnings)


@pytest.mark.parametrize(("before", "wanted", "system", "words"), table(REFUSED))
def test_refused(before, wanted, system, words):
    with pytest.raises(RuleError) as caught:
        converge(before, wanted, system)
    assert words in str(caught.value)


def test_prune_does_not_remove_an_exclusive_endpoint():
    with pytest.raises(RuleError) as caught:
        converge(RULED, [present("b")], prune=True)
    assert str(caught.value).startswith('endpoint "a" is not listed, but it is exclusive, and users who hold a copy would be locked out')


@pytest.mark.parametrize("token", UNFIT_TOKENS)
def test_a_token_that_no_header_can_carry_is_refused_and_not_said(token):
    with pytest.raises(RuleError) as caught:
        converge(config(a=own()), [present(token=token)], EMPTY)
    assert str(caught.value) == 'endpoint "a": the token holds white space or characters that no HTTP header can carry'


def test_a_token_is_not_in_the_text_form_of_what_is_wanted():
    assert repr(present(token="hunter2")) == (
        "WantedRemote(name='a', present=True, uri=None, insecure=None, default=None, exclusive=None, token='(hidden)', keyservers=None, force=False)")
    assert "uri='h', insecure=None, default=None, exclusive=None, token=None" in repr(present(uri="h"))


@pytest.mark.parametrize("system", [None, EMPTY, SYSTEM], ids=["global", "user without a global file", "user"])
def test_what_is_not_declared_is_left_alone(system):
    before = config("a", [LOGIN], a=FULL._replace(system=system is None, insecure=False), **OTHER)
    assert settled(before, [], system) == (before, ())
    assert settled(before, [present()], system) == (before, ())


@pytest.mark.parametrize(("wanted", "changed"), [
    (present(uri="new.example", insecure=False), {"uri": "new.example", "insecure": False, "token": ""}),
    (present(exclusive=False), {"exclusive": False}),
    (present(exclusive=True), {}),
    (present(keyservers=()), {"keyservers": ()}),
    (present(default=True), {}),
])  # fmt: skip
def test_an_option_changes_only_what_it_names(wanted, changed):
    outcome = settled(config("a", [LOGIN], a=FULL, **OTHER), [wanted])
    assert outcome.config == config("a", [LOGIN], a=FULL._replace(**changed), **OTHER)


@pytest.mark.parametrize("system", [None, EMPTY], ids=["global", "user"])
def test_the_first_endpoint_without_a_default_is_warned_of(system):
    # without any endpoint Apptainer uses its built-in one; with one that is not the default it refuses to work
    outcome = settled(config(credentials=[LOGIN]), [present(uri="a.example")], system)
    assert effective(outcome.config, None).problem
    assert_said(["set default: true"], outcome.warnings)


INSECURE_COPIES = [  # what, before, wanted; Apptainer never syncs Insecure: what the copy says counts
    ("a secure copy made insecure", config(lab=shared()), present("lab", insecure=True)),
    ("no copy, but made insecure", EMPTY, present("lab", insecure=True)),
    ("an insecure copy made secure", config(lab=shared(insecure=True)), present("lab", insecure=False)),
    ("the same with the global setting", config(site=shared("//site.example:8443")), present("site", insecure=True)),
]


@pytest.mark.parametrize(("before", "wanted"), table(INSECURE_COPIES))
def test_insecure_of_a_users_copy_is_the_users(before, wanted):
    outcome = converge(before, [wanted], SYSTEM)
    assert sync(outcome.config, SYSTEM).remotes[wanted.name].insecure is wanted.insecure


def test_the_input_is_not_changed():
    before, system = config("b", **OVERRULED.remotes), config("lab", **SYSTEM.remotes)
    converge(before, [present("c", uri="c.example", exclusive=True), absent("a", force=True)], prune=True)
    converge(before, [present("lab", token="t"), absent("a")], system, prune=True)
    assert (before, system) == (OVERRULED, SYSTEM)


def test_a_released_endpoint_does_not_lock_out_users_with_a_copy():
    copy = sync(EMPTY, RULED)
    released = converge(RULED, [present(exclusive=False)]).config
    assert use(sync(copy, released), "b", system=False).active == "b"


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
    ("the endpoint's own one alone", (SKIPPED, X), [], ()),
    ("as it was", (), [], ()),
    ("external ones, in order", (), [K(X.uri), K(Y.uri)], (X, Y)),
    ("turned round", (X, Y), [K(Y.uri), K(X.uri)], (Y, X)),
    ("one removed", (X, Y), [K(Y.uri)], (Y,)),
    ("one added in front", (X,), [K(Y.uri), K(X.uri)], (Y, X)),
    ("the own one", (), [K(BUILTIN.uri, builtin=True), K(X.uri)], (BUILTIN, X)),
    ("it is still known as that", (BUILTIN, X), [K(X.uri), K(BUILTIN.uri)], (X, BUILTIN)),
    ("also while it is skipped", (SKIPPED, X), [K(BUILTIN.uri), K(X.uri)], (BUILTIN, X)),
    ("declared otherwise", (BUILTIN, X), [K(BUILTIN.uri, builtin=False)], (BUILTIN._replace(external=True),)),
    ("declared as the own one", (X,), [K(X.uri, builtin=True)], (X._replace(external=False),)),
    ("not wanted, it is skipped, behind the others", (BUILTIN, X), [K(X.uri), K(Y.uri)], (X, Y, SKIPPED)),
    ("a skipped one goes behind the others", (SKIPPED, X), [K(Y.uri), K(X.uri)], (Y, X, SKIPPED)),
    ("but not only for that", (SKIPPED, X, Y), [K(X.uri), K(Y.uri)], (SKIPPED, X, Y)),
    ("the same server, in other words", (X,), [K("hkps://x.example/pks")], (X._replace(uri="hkps://x.example/pks"),)),
    ("insecure", (X,), [K(X.uri, insecure=True)], (X._replace(insecure=True),)),
    ("insecure as it was", (X._replace(insecure=True),), [K(X.uri), K(Y.uri)], (X._replace(insecure=True), Y)),
    ("not insecure any more", (X._replace(insecure=True),), [K(X.uri, insecure=False)], (X,)),
    ("an unusable one disappears", (Keyserver("ftp://z.example", external=True), X), [K(X.uri)], (X,)),
    ("a skipped external one too", (X._replace(skip=True), Y), [K(Y.uri, insecure=True)], (Y._replace(insecure=True),)),
]

KEYSERVERS_REFUSED = [
    ("ftp", [K("ftp://x.example")], "keyserver uri must be like https://keys.example.org"),
    ("no scheme", [K("x.example")], "keyserver uri must be like https://keys.example.org"),
    ("unreadable", [K("https://x.example:port")], "keyserver uri cannot be read"),
    ("a password", [K("https://u:hunter2@x.example")], "keyserver uri holds a user name or password"),
    ("twice", [K(X.uri), K(Y.uri), K("hkps://x.example/pks")],
     "the keyserver hkps://x.example/pks is listed twice (Apptainer compares scheme and host only)"),
    ("two own ones", [K(X.uri, builtin=True), K(Y.uri, builtin=True)], "only one keyserver can be the endpoint's own (builtin: true)"),
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
def test_the_own_keyserver_of_the_built_in_endpoint_is_known(uri, keyserver, external):
    assert keyserver_list(shared(uri), [K(keyserver)]) == (Keyserver(keyserver, external=external),)


@pytest.mark.parametrize(("wanted", "words"), table(KEYSERVERS_REFUSED))
def test_keyservers_refused(wanted, words):
    with pytest.raises(RuleError) as caught:
        converge(TWO, [present(keyservers=tuple(wanted))])
    assert str(caught.value).startswith('endpoint "a": ' + words)
    assert "hunter2" not in str(caught.value)


def test_keyservers_are_those_of_the_new_uri():
    outcome = settled(one(), [present(uri="cloud.apptainer.org", keyservers=(K(OPENPGP),))])
    assert outcome.config.remotes["a"].keyservers == (Keyserver(OPENPGP),)


def test_a_moved_endpoint_does_not_send_its_token_to_the_old_own_keyserver():
    # Apptainer gives the endpoint's token to every keyserver that is not external
    outcome = converge(one(keyservers=(BUILTIN, X)), [present(uri="new.example")])
    assert outcome.config.remotes["a"].keyservers == (X,)
    assert_said(["the own keyserver of the old one is removed"], outcome.warnings)


# what is to go, in the module for a whole list

TO_B = config("b", a=shared("a.example"), b=shared("b.example"))
B_RULES = config("b", a=shared("a.example"), b=shared("b.example", exclusive=True))
ONLY_B_RULES = config("b", b=shared("b.example", exclusive=True))
RELEASED = ('endpoint "a": it was exclusive, so it is released now and kept until a later run removes it; '
            "users who hold a copy would be locked out if it were removed now")

RETIRED = [  # what, before, wanted, prune, after one run, after the next
    ("for another default", RULED, [absent(), present("b", default=True)], False, TO_B, config("b", b=shared("b.example"))),
    ("for another exclusive one", RULED, [absent(), present("b", exclusive=True)], False, B_RULES, ONLY_B_RULES),
    ("declared before it", RULED, [present("b", exclusive=True), absent()], False, B_RULES, ONLY_B_RULES),
    ("by prune", RULED, [present("b", exclusive=True)], True, B_RULES, ONLY_B_RULES),
    ("not the default anyway", OVERRULED, [absent()], False, TO_B, config("b", b=shared("b.example"))),
    ("the last one", one(exclusive=True), [absent()], False, one(), EMPTY),
    ("and all others too", RULED, [absent(), absent("b")], False, one("a.example"), EMPTY),
    ("one of two exclusives", BOTH, [absent()], False, B_RULES, ONLY_B_RULES),
]


@pytest.mark.parametrize(("before", "wanted", "prune", "between", "after"), table(RETIRED))
def test_an_exclusive_endpoint_is_retired_in_two_runs(before, wanted, prune, between, after):
    runs = [converge(before, wanted, prune=prune, retire=True, keep_default=True)]
    for _run in range(2):
        runs.append(converge(runs[-1].config, wanted, prune=prune, retire=True, keep_default=True))
    assert [run.config for run in runs] == [between, after, after]
    assert [run.warnings for run in runs] == [(RELEASED,), (), ()]


def test_what_is_not_exclusive_needs_no_second_run():
    assert converge(TWO, [absent("b")], retire=True, keep_default=True) == (one("a.example"), ())


def test_by_force_nothing_is_kept():
    outcome = converge(RULED, [absent(force=True)], retire=True, keep_default=True)
    assert outcome.config == config("", b=shared("b.example"))
    assert_said([NO_DEFAULT], outcome.warnings)


def test_a_copy_in_a_users_file_is_not_retired_but_removed():
    assert converge(config("", lab=shared(exclusive=True)), [absent("lab")], EMPTY, retire=True).config == EMPTY


@pytest.mark.parametrize(("before", "wanted", "prune", "retire"), [
    (TWO, [absent()], False, False),
    (TWO, [absent(), present("b")], False, False),
    (TWO, [present("b")], True, False),
    (RULED, [absent()], False, True),
    (RULED, [present("b")], True, True),
    (RULED, [absent(), present("b", default=False)], False, True),
    (OVERRULED._replace(active="b"), [absent("b"), absent("a")], False, True),
])  # fmt: skip
def test_the_default_is_not_taken_from_everyone_without_a_successor(before, wanted, prune, retire):
    with pytest.raises(RuleError, match=r'^endpoint "[ab]" is the default and is to go, .* set default: true for another one$'):
        converge(before, wanted, prune=prune, retire=retire, keep_default=True)


@pytest.mark.parametrize(("before", "wanted", "system", "after"), [
    (TWO, [absent(), present("b", default=True)], None, config("b", b=shared("b.example"))),
    (one(), [absent()], None, EMPTY),  # then Apptainer has its built-in one
    (TWO._replace(active=""), [absent()], None, config("", b=shared("b.example"))),
    (TWO, [present(default=False)], None, TWO._replace(active="")),  # as it was said
    (config("a", a=own(), b=own()), [absent()], EMPTY, config("", b=own())),  # a user's own affair
])  # fmt: skip
def test_what_is_not_refused_for_that(before, wanted, system, after):
    assert converge(before, wanted, system, keep_default=True).config == after


# for all files and declarations

NAMES = st.sampled_from("abcd")
URIS = st.sampled_from(["a.example", "b.example/x", "//b.example:8443", "c.example:8443", "127.0.0.1:80", "https://[::1]", ""])
TOKENS = st.sampled_from(["", "", "t", "u"])
KEYSERVER_URIS = st.sampled_from(["https://k.example", "https://k.example/pks", "hkp://k.example", "https://l.example", OPENPGP])
KEYSERVERS = st.builds(Keyserver, KEYSERVER_URIS | st.just("ftp://k.example"), st.booleans(), st.booleans(), st.booleans())
RARELY = st.sampled_from([False, False, True])
REMOTES = st.builds(Remote, URIS, TOKENS, st.booleans(), RARELY, st.booleans(), st.lists(KEYSERVERS, max_size=3).map(tuple))
CONFIGS = st.builds(RemoteConfig, NAMES | st.just(""), st.dictionaries(NAMES, REMOTES), st.lists(st.just(LOGIN), max_size=1).map(tuple))
NOT_SAID = st.none()
MAYBE = st.sampled_from([None, None, False, True])
WANTED_KEYSERVERS = st.lists(st.builds(WantedKeyserver, KEYSERVER_URIS, MAYBE, MAYBE), max_size=3).map(tuple)
GOOD_URIS = st.none() | st.sampled_from(
    ["a.example", "https://a.example/", "b.example/x", "b.example:8443", "//c.example:8443", "cloud.apptainer.org"])


def lists(exclusive=NOT_SAID, token=NOT_SAID, keyservers=NOT_SAID):
    present_or_not = st.sampled_from([True, True, True, False])
    one = st.builds(WantedRemote, NAMES, present_or_not, GOOD_URIS, MAYBE, MAYBE, exclusive, token, keyservers, st.booleans())
    return st.lists(one, max_size=3, unique_by=lambda item: item.name)


RUNS = st.one_of(
    st.tuples(CONFIGS, lists(exclusive=MAYBE, keyservers=st.none() | WANTED_KEYSERVERS), st.none(), st.booleans()),
    st.tuples(CONFIGS, lists(token=st.none() | TOKENS), CONFIGS, st.booleans()))


def accepted(run):
    try:
        return converge(*run)
    except RuleError:
        assume(False)


@given(RUNS)
def test_a_second_run_changes_nothing_and_is_not_refused(run):
    once = accepted(run)
    assert converge(once.config, *run[1:]).config == once.config


@given(RUNS)
def test_a_refusal_names_an_endpoint(run):
    try:
        converge(*run)
    except RuleError as error:
        assert str(error).startswith(('endpoint "', 'only one endpoint can be ', 'the endpoints "'))


@given(RUNS)
def test_the_global_file_never_holds_two_exclusive_endpoints(run):
    after = accepted(run).config
    if run[2] is None:
        assert len(exclusives(after.remotes)) <= 1


@given(RUNS)
def test_without_prune_what_is_not_listed_is_left_alone(run):
    before, wanted, system, _prune = run
    after = accepted((before, wanted, system, False)).config
    ruled = len(exclusives(before.remotes)) > 1 or any(item.exclusive for item in wanted)  # then marks are taken from others
    names = {item.name for item in wanted}
    assert set(before.remotes) - names == set(after.remotes) - names
    for name in set(before.remotes) - names:
        assert after.remotes[name] == before.remotes[name]._replace(exclusive=after.remotes[name].exclusive)
        assert after.remotes[name].exclusive == before.remotes[name].exclusive or (ruled and system is None)


@given(RUNS)
def test_with_prune_only_what_is_listed_stays(run):
    before, wanted, system, _prune = run
    after = accepted((before, wanted, system, True)).config
    copies = {name for name in before.remotes if system and name in system.remotes and before.remotes[name].system}
    assert set(after.remotes) - {item.name for item in wanted} == copies - {item.name for item in wanted}


@given(RUNS)
def test_logins_are_left_alone(run):
    assert accepted(run).config.credentials == run[0].credentials


@given(RUNS)
def test_nothing_becomes_the_default_unasked(run):
    before, wanted, _system, _prune = run
    asked = {item.name for item in wanted if item.present and (item.default or item.exclusive)}
    assert accepted(run).config.active in {before.active, ""} | asked


@given(RUNS)
@example((config("gone", a=own()), [], EXCLUSIVE, False))
@example((config("a"), [], None, False))
def test_warned_if_and_only_if_apptainer_would_refuse_to_work(run):
    system = run[2]
    outcome = accepted(run)
    problem = effective(None, outcome.config).problem if system is None else effective(outcome.config, system).problem
    assert any("Apptainer refuses to work" in warning for warning in outcome.warnings) == bool(problem)


@given(RUNS)
def test_what_is_declared_is_so(run):
    _before, wanted, system, _prune = run
    after = accepted(run).config
    known = after if system is None else sync(after, system)
    for item in wanted:
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


@given(CONFIGS, lists(exclusive=MAYBE), st.booleans())
@example(RULED, [absent(), present("b", exclusive=True)], False)
@example(BOTH, [present("b", default=True)], True)
def test_retirement_takes_at_most_two_runs_and_removes_nothing_exclusive(before, wanted, prune):
    forced = {item.name for item in wanted if item.force}
    states = [before]
    for _run in range(3):
        try:
            states.append(converge(states[-1], wanted, None, prune, retire=True, keep_default=True).config)
        except RuleError:
            assume(len(states) > 1)
            raise
    for old, new in itertools.pairwise(states):
        assert not {name for name in exclusives(old.remotes) if name not in new.remotes} - forced
        if old.active in old.remotes and old.active not in forced and new.remotes:
            assert new.active in new.remotes or any(item.default is False for item in wanted)
    assert states[2] == states[3]


@given(RUNS)
@example((EMPTY, [present(token="t")], EMPTY, False))
def test_check_mode_foresees_nothing_but_logins_to_what_does_not_exist(run):
    """With no such login it says what the real run says."""
    config_, wanted, system, prune = run

    def said(check_mode):
        try:
            return converge(config_, wanted, system, prune, check_mode=check_mode)
        except RuleError as error:
            return str(error)

    unplaced_endpoints, real = said(True), said(False)
    nowhere = system is not None and any(
        item.present and item.token and item.uri is None and item.name not in {**config_.remotes, **system.remotes} for item in wanted)
    assert unplaced_endpoints == real or (nowhere and "it does not exist yet, so it needs a uri" in real)


class Name(str):
    """Counts how often a name is looked up."""

    steps = 0
    __slots__ = ()

    def __hash__(self):
        Name.steps += 1
        return super().__hash__()


@pytest.mark.parametrize("system", [None, EMPTY], ids=["global", "user"])
def test_ten_thousand_endpoints_take_some_ten_thousand_steps(system):
    number = 10_000
    before = RemoteConfig("", {Name(index): shared(f"{index}.example") for index in range(2 * number)})
    wanted = [WantedRemote(Name(index), uri=f"{index}.example") for index in range(number, 3 * number)]
    Name.steps = 0
    outcome = converge(before, wanted, system, prune=True)
    assert len(outcome.config.remotes) == 2 * number
    assert Name.steps < 30 * number


def test_a_new_endpoint_is_refused_where_nobody_knows_whether_it_is_global():
    with pytest.raises(RuleError, match="mend that file first"):
        converge(EMPTY, [present("lab", uri="lib.example")], EMPTY, system_known=False)


def test_prune_keeps_copies_where_nobody_knows_whether_they_are_stale():
    before = config("a", a=own(), lab=shared(token="t"))
    assert converge(before, [present()], EMPTY, prune=True, system_known=False).config == before


@pytest.mark.parametrize("stored", ["h.example:8443", "https://h.example:8443/", "//H.example:8443"])
def test_another_spelling_of_the_same_place_keeps_the_token(stored):
    outcome = converge(config("a", a=own(stored, token="t")), [present(uri="https://h.example:8443")], EMPTY)
    assert outcome.config.remotes["a"].token == "t"


def test_a_stale_copy_cannot_be_moved():
    with pytest.raises(RuleError, match="a copy of a global endpoint that is gone"):
        converge(config("gone", gone=shared()), [present("gone", uri="new.example")], EMPTY)
