# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy

import pytest
from ansible_collections.hpc.apptainer.plugins.plugin_utils._layers import LayerError, layered
from hypothesis import given
from hypothesis import strategies as st

SITE = {"name": "site", "uri": "https://library.example.org", "default": True}
TEST = {"name": "test", "uri": "https://test.example.org"}
KEYS = {"remotes": "name", "registries": "uri"}


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
    "a nested name twice": ([[{"name": "ci", "registries": [{"uri": "https://u:secret@a"}] * 2}]],
                            "name ci: registries: uri https://(hidden)@a is listed twice in one list; merge the two entries"),
    "no nested name": ([[{"name": "ci", "remotes": [{"token": "secret"}]}]],
                       "name ci: remotes: entry 1 of the list has no name; set the key name to a text that is not empty"),
    "nested texts": ([[{"name": "ci", "registries": ["secret"]}]], "name ci: registries: this must be a list of dictionaries, each with the key uri"),
}


@pytest.mark.parametrize(("layers", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(layers, message):
    with pytest.raises(LayerError) as caught:
        layered(layers, "name", KEYS)
    assert str(caught.value) == message


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
