# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Our rule for one keyserver, beside every recorded keyserver command: the same keyservers in use, or a named deviation.

`--insecure` is taken as insecure: true, its absence as insecure not said. test_golden_operations.py has the commands themselves.
"""

from __future__ import annotations

import functools
import re
from collections import Counter

from ansible_collections.hpc.apptainer.plugins.module_utils._errors import RuleError
from ansible_collections.hpc.apptainer.plugins.module_utils._rules.keyservers import (
    PlacedKeyserver,
    needs_discovery,
    owning_endpoint,
    place_keyserver,
)
from ansible_collections.hpc.apptainer.plugins.module_utils._values.remote_config import Keyserver, with_remote
from ansible_collections.hpc.apptainer.plugins.module_utils._values.uri import keyserver_identity, same_keyserver
from support.apptainer_commands import Command, DiscoveryFailed, builtin_keyserver, content
from support.golden import all_cases, cases, check_all, flavor_of, versions

# Why we do something else where the command succeeded, or found nothing to do
DEVIATIONS = {
    "position": "order counts the keyservers in use; Apptainer applies it to the list with the skipped ones (its hazard)",
    "text": "the declared text is stored; Apptainer keeps that of an entry with the same scheme and host",
    "white space": "white space around the uri is dropped; Apptainer stores it, and can neither use nor remove that",
    "insecure": "insecure is set; Apptainer ignores it for a known keyserver",
    "moved": "a known keyserver is moved; Apptainer says that it is already configured",
    "restored": "a skipped external keyserver is in use again; Apptainer says that it is already configured",
    "purged": "what Apptainer cannot remove is removed: an unusable text, or a skipped external keyserver",
    "several": "several entries of the keyserver become one, or go together; Apptainer takes one of them",
    "unusable": "what no Apptainer can use is refused",
    "out of range": "the order of a known keyserver can be no more than there are",
    "primary": "several entries of the only keyserver in use are one; Apptainer removes one of them",
}

# What Apptainer says, what we do, and in how many commands. Both refuse what is wrong in two ways, not always for the same one.
COMPARED = {
    "done": {"the same": 612, "position": 47, "unusable": 27, "several": 9, "white space": 9, "text": 4, "insecure": 1, "primary": 1,
             "insecure and position and text": 1},
    "known": {"the same": 116, "text": 23, "insecure": 18, "moved": 14, "restored": 12, "out of range": 7, "several": 6,
              "insecure and text": 6, "insecure and moved": 4, "moved and text": 4, "insecure and moved and text": 2},
    "not there": {"the same": 480, "purged": 22},
    # nothing: where there is no endpoint there is no keyserver to remove, so state: absent is so already, and a cleaned node stays green
    "no default": {"no default": 118, "nothing": 100},
    "unknown": {"unknown": 37, "nothing": 30},
    "not global": {"not global": 64},
    "unusable": {"unusable": 11, "nothing": 8, "no default": 4, "not global": 1},  # nothing: the empty text is not there, or no endpoint
    "order": {"order": 47, "no default": 5, "unusable": 4, "not global": 1, "unknown": 1},
    "out of range": {"out of range": 125, "unusable": 6},
    "primary": {"primary": 45, "nothing": 1},  # nothing: a built-in keyserver that nobody asked for
    "discovery": {"discovery": 115, "nothing": 85, "unusable": 4},  # nothing: to remove one, nobody is asked
}

# Words of a refusal, theirs or ours
WORDS = {
    "no default": "no default (remote|endpoint)",
    "unknown": "is not a remote|is not in the global file",
    "not global": "not a system defined endpoint|does not mark it as global",
    "unusable": "cannot have empty URI|keyserver uri (has no host|cannot be|has a user name)",
    "order": r"order must be > 0|it counts the keyservers in use from 1",
    "out of range": "out of range",
    "primary": "the primary keyserver .* can't be removed|does not remove the last one",
    "known": "is already configured",
    "not there": "is not configured",
    "discovery": "error response from server|error making request to server|jsonresp: |keyserver is not a service",
}


def kind_of(words):
    """The kind of a refusal."""
    (kind,) = [kind for kind, pattern in WORDS.items() if re.search(pattern, words)]
    return kind


def commands(case):
    """Every keyserver command of a case: the step, what we would declare, the global file before and after, what the endpoint answers."""
    text = case["before"]["system"]
    for step in case["steps"]:
        before, text = text, step["after"].get("system", text)
        command = Command(step["argv"], case["version"], case.get("served"), flavor_of(case))
        if command.on_keyservers and command.verb in ("add", "remove"):
            name, uri = command.words if len(command.words) == 2 else ("", *command.words)
            wanted = PlacedKeyserver(
                uri=uri, present=command.verb == "add", order=command.order, insecure=command.insecure or None, remote=name,
                flavor=command.flavor)
            yield step, wanted, content(before), content(text), command.served


def converged(config, wanted, served):
    """What we write, or the kind of our refusal."""
    try:
        remote = needs_discovery(config, wanted)
        builtin = builtin_keyserver(remote, served, wanted.flavor) if remote else None
        return place_keyserver(config, wanted, builtin).config
    except DiscoveryFailed:
        return "discovery"
    except RuleError as error:
        return kind_of(str(error))


def in_use(servers):
    return [server for server in servers if not server.skip]


def deviations(wanted, remote, ours, theirs):
    """Names of all that differs in two new lists, each difference checked to be what its name says."""

    def matching(servers):
        return [server for server in servers
                if same_keyserver(server.uri, wanted.uri) or (not wanted.present and server.uri == wanted.uri)]

    def others(servers):
        return [server for server in servers if server not in matching(servers)]

    if in_use(ours) == in_use(theirs) and set(ours) == set(theirs):
        return set()
    if wanted.present and wanted.uri != wanted.uri.strip():
        assert keyserver_identity(wanted.uri) is None
        assert wanted.uri.strip() in [server.uri for server in in_use(ours)]
        return {"white space"}
    if not theirs:  # its built-in keyserver, not written down
        assert ours == (Keyserver(wanted.uri, insecure=True),)
        return {"insecure"}
    before = matching(remote.keyservers)
    assert others(in_use(ours)) == others(in_use(theirs))
    assert set(others(ours)) == set(others(theirs))
    assert len(matching(in_use(ours))) == wanted.present
    if len(before) > 1:
        assert len(matching(ours)) <= 1
        return {"several"}
    if not wanted.present:
        assert before[0].external
        assert before[0].skip or keyserver_identity(before[0].uri) is None
        return {"purged"}
    if not matching(in_use(theirs)):
        assert before[0].external
        return {"restored"}
    (new,), (old,) = matching(in_use(ours)), matching(in_use(theirs))
    found = set()
    if new.uri != old.uri:
        assert new.uri == wanted.uri
        found.add("text")
    assert new.external == old.external
    if new.insecure != old.insecure:
        assert new.insecure
        assert wanted.insecure
        found.add("insecure")
    position = in_use(ours).index(new)
    if position != in_use(theirs).index(old):
        assert position + 1 == (wanted.order or len(in_use(ours)))
        assert theirs == remote.keyservers or len(in_use(remote.keyservers)) < len(remote.keyservers)
        found.add("moved" if theirs == remote.keyservers else "position")
    return found


@functools.cache
def answers(number):
    """For each keyserver command of a case what Apptainer said, and how ours compares."""
    return tuple(_answers(CASES[number]))


def _answers(case):
    for step, wanted, before, theirs, served in commands(case):
        said = kind_of(step["stderr_last"]) if step["exit"] else "done"
        ours = converged(before, wanted, served)
        assert theirs == before or said == "done"
        if isinstance(ours, str):
            yield said, ours
        elif said in ("done", "known", "not there"):
            name = owning_endpoint(before, wanted)
            lists = [config.remotes[name].keyservers for config in (ours, theirs)]
            assert ours == with_remote(theirs, name, theirs.remotes[name]._replace(keyservers=lists[0]))
            found = deviations(wanted, before.remotes[name], *lists)
            yield said, " and ".join(sorted(found)) or "the same"
        else:
            assert ours is before
            assert not wanted.present or said == "discovery"
            yield said, "nothing"


CASES = all_cases("keyserver_ops")


@versions(CASES)
def test_commands(version):
    def check(number):
        for said, ours in answers(number):
            assert ours in COMPARED[said]

    check_all(check, {case["id"]: number for number, case in enumerate(CASES) if case["version"] == version})


def test_every_deviation_has_a_reason():
    seven_versions = range(len(cases("keyserver_ops")))  # the two other programs, behind them, differ in nothing that is not named here
    assert Counter(answer for number in seven_versions for answer in answers(number)) == {
        (said, ours): count for said, row in COMPARED.items() for ours, count in row.items()}
    named = [name for said in ("done", "known", "not there") for row in COMPARED[said] for name in row.split(" and ")]
    assert set(named) == {"the same", *DEVIATIONS}
