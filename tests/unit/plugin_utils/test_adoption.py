# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.hpc.apptainer.plugins.plugin_utils._adoption import Layers, adopted
from ansible_collections.hpc.apptainer.plugins.plugin_utils._declaration import declaration
from hypothesis import given
from hypothesis import strategies as st
from support.tables import table


def entry(name, **more):
    return {"name": name, "uri": f"https://{name}.example", "default": False, "exclusive": False, "keyservers": [], **more}


def state(*entries, prune=True):
    return {"remotes": list(entries), "prune": prune}


A, B, C = entry("a"), entry("b"), entry("c")
USUAL = state(entry("a", default=True), B)
OTHER = state(A, entry("b", default=True))
SHORT_B = {key: value for key, value in B.items() if key != "default"}
EVERYONE = [entry("a", default=True), SHORT_B]
SWAPPED = [{"name": "a", "default": False}, {"name": "b", "default": True}]


@pytest.mark.parametrize(("states", "groups", "layers"), table([
    ("nobody", {}, {}, Layers([], {}, {})),
    ("no file anywhere", {"n1": state(), "n2": state()}, {"g": ["n1"]}, Layers([], {}, {})),
    ("all are equal", {"n1": USUAL, "n2": USUAL}, {"g": ["n1"]}, Layers(EVERYONE, {}, {})),
    ("the commonest first", {"n1": OTHER, "n2": USUAL, "n3": USUAL}, {}, Layers(EVERYONE, {}, {"n1": SWAPPED})),
    ("of two that are as common that of the first host", {"n10": OTHER, "n2": USUAL}, {}, Layers(EVERYONE, {}, {"n10": SWAPPED})),
    ("no file is declared absent", {"n1": state(), "n2": state(), "n3": state(A)}, {},
     Layers([{key: value for key, value in A.items() if key != "default"}], {}, {host: [{"name": "a", "state": "absent"}] for host in ("n1", "n2")})),
    ("a group", {"n1": USUAL, "n2": USUAL, "n3": USUAL, "g1": OTHER, "g2": OTHER}, {"g": ["g1", "g2", "unread"]},
     Layers(EVERYONE, {"g": SWAPPED}, {})),
    ("a group of one is a host", {"n1": USUAL, "n2": USUAL, "g1": OTHER}, {"g": ["g1"]}, Layers(EVERYONE, {}, {"g1": SWAPPED})),
    ("one that differs from its group", {"n1": USUAL, "n2": USUAL, "n3": USUAL, "n4": USUAL, "g1": OTHER, "g2": OTHER, "g3": OTHER, "g4": USUAL},
     {"g": ["g1", "g2", "g3", "g4"]},
     Layers(EVERYONE, {"g": SWAPPED}, {"g4": [{"name": "a", "default": True}, {"name": "b", "default": False}]})),
    ("of groups that share hosts the one that saves more", {"n1": USUAL, "n2": USUAL, "n3": USUAL, "n4": USUAL, "g1": OTHER, "g2": OTHER, "g3": OTHER},
     {"small": ["g1", "g2"], "large": ["g1", "g2", "g3"]}, Layers(EVERYONE, {"large": SWAPPED}, {})),
    ("an absent one is back", {"n1": USUAL, "n2": USUAL, "n3": USUAL, "n4": USUAL, "g1": state(A), "g2": state(A), "g3": state(A), "g4": state(A, C, B)},
     {"g": ["g1", "g2", "g3", "g4"]},
     Layers(EVERYONE, {"g": [{"name": "a", "default": False}, {"name": "b", "state": "absent"}]},
            {"g4": [{"name": "b", "state": "present"}, {key: value for key, value in C.items() if key != "default"}]})),
    ("what cannot be declared is taken back", {"n1": USUAL, "n2": USUAL, "n3": state({"name": "a", "keyservers": []}, B)}, {},
     Layers(EVERYONE, {}, {"n3": [{"name": "a", "uri": None, "default": None, "exclusive": None}]})),
    ("what cannot be listed is not pruned", {"n1": USUAL, "n2": USUAL, "n3": {**USUAL, "prune": False}}, {}, Layers(EVERYONE, {}, {}, ("n3",))),
]))
def test_adopted(states, groups, layers):
    assert adopted(states, groups) == layers


OPTIONS = {"uri": ["https://x.example", "https://y.example"], "default": [True, False], "exclusive": [True, False],
           "keyservers": [[], [{"uri": "https://k.example", "insecure": False}]], "insecure": [True]}
ENTRIES = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in OPTIONS.items()})
STATES = st.builds(lambda entries, prune: state(*({"name": name, **options} for name, options in entries.items()), prune=prune),
                   st.dictionaries(st.sampled_from(["a", "b", "5", "{{ c }}"]), ENTRIES, max_size=3), st.booleans())
HOSTS = [f"n{number}" for number in range(6)]
FLEETS = st.lists(STATES, min_size=1, max_size=3).flatmap(
    lambda few: st.dictionaries(st.sampled_from(HOSTS), st.sampled_from(few), min_size=1))
GROUPS = st.dictionaries(st.sampled_from(["g", "h", "i"]), st.lists(st.sampled_from([*HOSTS, "unread"]), unique=True))


@given(FLEETS, GROUPS)
def test_each_host_gets_its_own_state_back(states, groups):
    """By the very function that reads the variables, with Ansible's rule that a host has the variable of one group."""
    layers = adopted(states, groups)
    for host, wanted in states.items():
        own = [entries for group, entries in layers.groups.items() if host in groups[group]]
        assert len(own) < 2
        values = {"apptainer_fleet_remotes": layers.everyone, "apptainer_fleet_group_remotes": own[0] if own else [],
                  "apptainer_fleet_host_remotes": layers.hosts.get(host, [])}
        declared = {entry["name"]: entry for entry in declaration(host, values).remotes}
        present = {name: {key: value for key, value in entry.items() if key in OPTIONS} for name, entry in declared.items() if entry["state"] == "present"}
        expected = {entry["name"]: {key: value for key, value in entry.items() if key != "name"} for entry in wanted["remotes"]}
        for entries in (present, expected):  # that another one is the default says as much as false does
            for options in entries.values():
                if options.get("default") is False:
                    del options["default"]
        assert present == expected
        assert (host in layers.unpruned) is not wanted["prune"]
