# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.hpc.apptainer.plugins.filter import layered as plugin
from ansible_collections.hpc.apptainer.plugins.filter.layered import layered
from hypothesis import given
from hypothesis import strategies as st

SITE = {"name": "site", "uri": "https://library.example.org", "default": True}
TEST = {"name": "test", "uri": "https://test.example.org"}
KEYS = {"remotes": "name", "registries": "uri"}
CI = {"user": "ci", "registries": [{"uri": "docker://a", "username": "ci", "password": "x"}]}


# (layers, nested, merged)
LAYERS = {
    "no layers": ([], None, []),
    "empty layers": ([[], None], None, []),
    "entries are added": ([[SITE], [TEST]], None, [SITE, TEST]),
    "entries are changed": ([[SITE, TEST], [{"name": "test", "default": True}, {"name": "site", "default": False}]], None,
                            [{**SITE, "default": False}, {**TEST, "default": True}]),
    "the last layer wins": ([[SITE], [{"name": "site", "state": "absent"}], [{"name": "site", "state": "present"}]], None,
                            [{**SITE, "state": "present"}]),
    "a list is replaced": ([[{"name": "a", "keyservers": [{"uri": "k"}]}], [{"name": "a", "keyservers": []}]], None,
                           [{"name": "a", "keyservers": []}]),
    "null replaces": ([[{"name": "a", "uri": "h"}], [{"name": "a", "uri": None}]], None, [{"name": "a", "uri": None}]),
    "a nested list is merged": ([[{"name": "ci", "registries": [{"uri": "a", "username": "x"}]}],
                                 [{"name": "ci", "registries": [{"uri": "b"}, {"uri": "a", "state": "absent"}], "prune": True}]], KEYS,
                                [{"name": "ci", "registries": [{"uri": "a", "username": "x", "state": "absent"}, {"uri": "b"}], "prune": True}]),
    "a nested list is added": ([[{"name": "ci"}], [{"name": "ci", "remotes": [{"name": "site"}]}]], KEYS,
                               [{"name": "ci", "remotes": [{"name": "site"}]}]),
    "a nested list that is null": ([[{"name": "ci", "remotes": [{"name": "site"}]}], [{"name": "ci", "remotes": None}]], KEYS,
                                   [{"name": "ci", "remotes": [{"name": "site"}]}]),
}


@pytest.mark.parametrize(("layers", "nested", "merged"), LAYERS.values(), ids=LAYERS)
def test_layers(layers, nested, merged):
    given_layers = copy.deepcopy(layers)
    assert layered(layers, "name", nested) == merged
    assert layers == given_layers


REFUSED = {
    "a name twice": ([[SITE, SITE]], "name site is listed twice in one list; merge the two entries"),
    "a dictionary": ([[SITE], {"name": "site"}], "this must be a list of dictionaries, each with the key name"),
    "a list of texts": ([["site"]], "this must be a list of dictionaries, each with the key name"),
    "a text": (["site"], "this must be a list of dictionaries, each with the key name"),
    "no name": ([[SITE, {"uri": "h"}]], "entry 2 of the list has no name; set the key name to a text that is not empty"),
    "an empty name": ([[{"name": ""}]], "entry 1 of the list has no name; set the key name to a text that is not empty"),
    "a list as the name": ([[{"name": ["secret"]}]], "entry 1 of the list has no name; set the key name to a text that is not empty"),
    "a number as the name": ([[{"name": 5}]], "entry 1 of the list has the name 5, which YAML does not read as text; put it in quotes"),
    "a boolean as the name": ([[{"name": True}]], "entry 1 of the list has the name True, which YAML does not read as text; put it in quotes"),
    "a nested name twice": ([[{"name": "ci", "registries": [{"uri": "a"}, {"uri": "a"}]}]],
                            "uri a is listed twice in one list; merge the two entries"),
}


@pytest.mark.parametrize(("layers", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(layers, message):
    with pytest.raises(AnsibleFilterError, match=message):
        layered(layers, "name", KEYS)


ENTRIES = st.dictionaries(st.sampled_from("abcd"), st.dictionaries(st.sampled_from(["uri", "default", "state"]), st.integers(0, 2))).map(
    lambda named: [{"name": name, **rest} for name, rest in named.items()])


@given(st.lists(ENTRIES, max_size=4))
def test_merging_at_once_or_one_after_the_other_is_the_same(layers):
    merged: list[dict] = []
    for layer in layers:
        merged = layered([merged, layer], "name")
    assert merged == layered(layers, "name")
    assert layered([merged], "name") == merged
    assert {entry["name"] for entry in merged} == {entry["name"] for layer in layers for entry in layer}


def test_the_example_of_the_documentation():
    example = yaml.safe_load(plugin.EXAMPLES)
    wanted = yaml.safe_load(plugin.EXAMPLES.splitlines()[1].removeprefix("# "))
    assert plugin.FilterModule().filters()["layered"]([example["base"], example["group"]], "name") == wanted
