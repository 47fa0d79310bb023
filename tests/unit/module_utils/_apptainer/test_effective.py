# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every rule and hazard by itself; the commands themselves are in tests/support/apptainer_commands.py."""

from __future__ import annotations

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._apptainer.effective import BUILT_IN, effective, endpoint_tokens, exclusives, sync
from ansible_collections.hpc.apptainer.plugins.module_utils._rules.stored_secrets import stored_secrets
from ansible_collections.hpc.apptainer.plugins.module_utils._values.claims import EndpointToken
from ansible_collections.hpc.apptainer.plugins.module_utils._values.docker_config import DockerConfig
from ansible_collections.hpc.apptainer.plugins.module_utils._values.remote_config import Credential, Keyserver, Remote, RemoteConfig
from hypothesis import given
from hypothesis import strategies as st
from support.tables import table
from support.values import tuples, values


def config(active="", credentials=(), **remotes):
    return RemoteConfig(active, remotes, tuple(credentials))


def shared(uri="lib.example", **fields):
    return Remote(uri, system=True, **fields)


def own(uri="own.example", **fields):
    return Remote(uri, **fields)


KEYS = (Keyserver("https://keys.example"),)
LOGIN = Credential("docker://registry.example")

EMPTY = config()
TWO = config("a", a=shared("a.example"), b=shared("b.example"))
RULED = config("a", a=shared("a.example", exclusive=True), b=shared("b.example"))
OVERRULED = config("b", a=shared("a.example", exclusive=True), b=shared("b.example"))


def test_exclusives_are_sorted():
    assert exclusives({"b": shared(exclusive=True), "c": shared(), "a": own(exclusive=True)}) == ["a", "b"]


# a user's file and the global one together

SYNC = [
    ("the default and the endpoints of the global file arrive", EMPTY, TWO, TWO),
    ("the user's default stays", config("mine", mine=own()), TWO, config("mine", mine=own(), **TWO.remotes)),
    ("nor does it matter whether it exists", config("gone"), TWO, config("gone", **TWO.remotes)),
    ("an exclusive endpoint overrules it", config("mine", mine=own()), RULED, config("a", mine=own(), **RULED.remotes)),
    ("even if it is not the global default", config("b"), OVERRULED, config("a", **RULED.remotes)),
    ("Token and Insecure do not arrive", EMPTY, config("a", a=shared(token="t", insecure=True, keyservers=KEYS)),
     config("a", a=shared(keyservers=KEYS))),
    ("System does, whatever the global file says", EMPTY, config("a", a=own("a.example")), config("a", a=shared("a.example"))),
    ("logins do not arrive", config(credentials=[LOGIN]), config("a", a=shared(), credentials=[Credential("docker://other.example")]),
     config("a", a=shared(), credentials=[LOGIN])),
    ("a copy is refreshed, but keeps its Token and Insecure", config("a", a=shared("old.example", token="t", insecure=True, exclusive=True)),
     config("a", a=shared("new.example", keyservers=KEYS)), config("a", a=shared("new.example", token="t", insecure=True, keyservers=KEYS))),
    ("hazard: a copy of a global one that is gone stays, with its mark", config("gone", gone=shared(exclusive=True)), TWO,
     config("gone", gone=shared(exclusive=True), **TWO.remotes)),
    ("hazard: an own endpoint hides the global one and its mark", config("", a=own()), RULED, config("a", a=own(), b=shared("b.example"))),
    ("and the user's default then stays", config("b", a=own()), RULED, config("b", a=own(), b=shared("b.example"))),
    ("of several exclusive ones the last by name", EMPTY, config("x", x=shared(), a=shared(exclusive=True), b=shared(exclusive=True)),
     config("b", x=shared(), a=shared(exclusive=True), b=shared(exclusive=True))),
]

NO_DEFAULT = "no default endpoint set: use 'apptainer remote use …'"
NOT_A_REMOTE = "unable to load remote configuration: gone is not a remote"

DEFAULT = config("DefaultRemote", DefaultRemote=shared("cloud.apptainer.org"))

SINGULARITY = [
    ("no files", None, None, (BUILT_IN["singularity"], "built-in", None)),
    ("empty files", EMPTY, EMPTY, (BUILT_IN["singularity"], "built-in", None)),
    ("different names", config("mine", mine=own()), TWO, (config("mine", mine=own(), **TWO.remotes), "user and global", None)),
    ("the same name", config("a", a=own(), b=own()), RULED, (config("a", a=own(), b=own()), "user and global", "name collision while syncing: a")),
    ("only the user's", config("a", a=own()), None, (config("a", a=own()), "user", None)),
    ("a copy", config("a", a=shared("old.example")), TWO, (TWO, "user and global", None)),
]

EFFECTIVE = [
    ("no files", None, None, DEFAULT, "built-in", None),
    ("empty files", EMPTY, EMPTY, DEFAULT, "built-in", None),
    ("only logins", config(credentials=[LOGIN]), None, DEFAULT, "built-in", None),
    ("only the user's", config("a", a=own()), None, config("a", a=own()), "user", None),
    ("only the global one, as it is", None, config("a", a=shared(token="t", insecure=True)), config("a", a=shared(token="t", insecure=True)),
     "global", None),
    ("hazard: an empty file of the user is enough to lose them", EMPTY, config("a", a=shared(token="t", insecure=True)), config("a", a=shared()),
     "user and global", None),
    ("both", config("", mine=own()), TWO, config("a", mine=own(), **TWO.remotes), "user and global", None),
    ("no default", config(a=own()), None, config(a=own()), "user", NO_DEFAULT),
    ("no default in either", config(mine=own()), config(a=shared()), config(mine=own(), a=shared()), "user and global", NO_DEFAULT),
    ("a default that is gone", None, config("gone", a=shared()), config("gone", a=shared()), "global", NOT_A_REMOTE),
    ("a default without any endpoint", config("gone"), None, config("gone"), "user", NOT_A_REMOTE),
    ("an exclusive one takes its place", config("gone", mine=own()), RULED, config("a", mine=own(), **RULED.remotes), "user and global", None),
]


def test_the_built_in_configurations():
    assert {"apptainer": DEFAULT, "singularity": config("SylabsCloud", SylabsCloud=shared("cloud.sylabs.io"))} == BUILT_IN


@pytest.mark.parametrize(("user", "system", "answer"), table(SINGULARITY))
def test_effective_for_singularity(user, system, answer):
    assert effective(user, system, "singularity") == answer


@pytest.mark.parametrize(("user", "system", "merged"), table(SYNC))
def test_sync(user, system, merged):
    assert sync(user, system) == merged


@pytest.mark.parametrize(("user", "system", "merged", "source", "problem"), table(EFFECTIVE))
def test_effective(user, system, merged, source, problem):
    assert effective(user, system) == (merged, source, problem)


# tokens

TOKENS = [  # what, the user's endpoint, the global one, the URI to which Apptainer sends the token, and that for which it was stored
    ("the user's own", own("own.example", token="t"), None, "own.example", "own.example"),
    ("the user's own, which hides a global one", own("own.example", token="t"), shared("lib.example"), "own.example", "own.example"),
    ("a copy", shared("lib.example", token="t"), shared("lib.example"), "lib.example", "lib.example"),
    ("a copy in another spelling", shared("https://LIB.example/", token="t"), shared("lib.example"), "lib.example", "lib.example"),
    ("a copy of an insecure one", shared("lib.example", token="t"), shared("lib.example", insecure=True), "lib.example", "lib.example"),
    ("a copy of one that moved", shared("old.example", token="t"), shared("lib.example"), "lib.example", "old.example"),
    ("a copy of one that moved to another path", shared("lib.example", token="t"), shared("lib.example/x"), "lib.example/x", "lib.example"),
    ("a copy of one that is gone", shared("old.example", token="t"), None, "old.example", "old.example"),
    ("a copy without a URI", shared("", token="t"), shared("lib.example"), "lib.example", ""),
]


@pytest.mark.parametrize("insecure", [False, True], ids=["https", "http"])
@pytest.mark.parametrize(("mine", "theirs", "sent", "stored"), table(TOKENS))
def test_endpoint_tokens(mine, theirs, sent, stored, insecure):
    user = config("a", a=mine._replace(insecure=insecure), b=shared("b.example"))
    system = config("a", **({"a": theirs} if theirs else {}), c=shared(token="theirs"))
    for as_stored, uri in ((False, sent), (True, stored)):
        tokens = [EndpointToken("a", uri, insecure, "t")]
        assert endpoint_tokens(user, system, as_stored) == tokens
        assert stored_secrets(user, DockerConfig(), system, as_stored) == tokens
    assert endpoint_tokens(user, system) == endpoint_tokens(user, system, False)


# for all files

NAMES = st.sampled_from(["a", "b", "c", ""])
MARKS = [False, True]
KEYSERVERS = tuples(values(Keyserver, ["https://k.example", "hkp://k.example", "ftp://k.example"], MARKS, MARKS, MARKS), 2)
REMOTES = st.builds(
    lambda remote, keyservers: remote._replace(keyservers=keyservers),
    st.sampled_from(values(Remote, ["a.example", "//b.example:8443", "c.example:8443", ""], ["", "t"], MARKS, MARKS, MARKS)),
    st.just(()) | st.sampled_from(KEYSERVERS))
CONFIGS = st.builds(RemoteConfig, NAMES, st.dictionaries(NAMES, REMOTES), st.sampled_from([(), (LOGIN,)]))


@given(CONFIGS, CONFIGS)
def test_sync_twice_is_sync_once(user, system):
    once = sync(user, system)
    assert sync(once, system) == once


@given(CONFIGS, CONFIGS)
def test_sync_takes_nothing_away_from_the_user(user, system):
    merged = sync(user, system)
    assert merged.credentials == user.credentials
    assert set(merged.remotes) == set(user.remotes) | set(system.remotes)
    for name, mine in user.remotes.items():
        assert (merged.remotes[name].token, merged.remotes[name].insecure) == (mine.token, mine.insecure)
        assert merged.remotes[name] == mine or mine.system


@given(st.none() | CONFIGS, st.none() | CONFIGS)
def test_effective_always_answers_with_a_usable_default_or_a_problem(user, system):
    answer = effective(user, system)
    assert (answer.config.active in answer.config.remotes and answer.config.active != "") == (answer.problem is None)
