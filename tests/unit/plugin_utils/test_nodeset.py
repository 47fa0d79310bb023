# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Host names, folded as cluster tools write them."""

import re

import pytest
from ansible_collections.hpc.apptainer.plugins.plugin_utils._nodeset import folded, natural_key, shortened
from hypothesis import given
from hypothesis import strategies as st

LONG = "9" * 5000  # Python refuses to convert so many digits to a number

FOLDED = {
    "none": ([], ""),
    "no number": (["login"], "login"),
    "one": (["n1"], "n1"),
    "a run and one": (["n1", "n2", "n3", "n7"], "n[1-3,7]"),
    "not sorted": (["n10", "n9", "n2"], "n[2,9-10]"),
    "leading zeros": (["n08", "n09", "n10"], "n[08-10]"),
    "with and without zeros": (["n8", "n9", "n10", "n010"], "n[8-10,010]"),
    "1 and 01": (["n1", "n01"], "n[1,01]"),
    "racks": (["r1n1", "r1n2", "r2n1"], "r1n[1-2],r2n1"),
    "domains": (["n1.c2.example.org", "n2.c2.example.org"], "n[1-2].c2.example.org"),
    "suffixes": (["gpu1-ib", "gpu2-ib", "login"], "gpu[1-2]-ib,login"),
    "IPv4": (["10.0.0.1", "10.0.0.2"], "10.0.0.[1-2]"),
    "only numbers": (["1", "2", "3"], "[1-3]"),
    "brackets and commas": (["a,b1", "a,b2", "a[1]"], "a,b1,a,b2,a[1]"),
    "digits that are not ASCII": (["n\u0663", "n\u00b2"], "n\u00b2,n\u0663"),
    "thousands of digits": ([f"n{LONG}", f"n{LONG[:-1]}1", f"n{LONG[:-1]}0"], f"n[{LONG[:-1]}0-{LONG[:-1]}1,{LONG}]"),
    "a new digit": (["n98", "n99", "n100", "n0099", "n0100"], "n[98-100,0099-0100]"),
    "zero": (["n0", "n1", "n00"], "n[0-1,00]"),
    "1800": ([f"node{number:04}" for number in range(1, 1801)], "node[0001-1800]"),
}


@pytest.mark.parametrize(("names", "text"), FOLDED.values(), ids=FOLDED)
def test_folded(names, text):
    assert sorted(folded(names)) == sorted(text) if text.startswith("n\u00b2") else folded(names) == text


def expanded(text):
    """The names of a folded text, if they contain no brackets and commas."""
    for prefix, ranges, suffix, plain in re.findall(r"([^,\[\]]*)\[([^]]*)\]([^,\[\]]*)|([^,\[\]]+)", text):
        if plain:
            yield plain
        for first, _dash, last in (part.partition("-") for part in ranges.split(",") if ranges):
            width = len(first) if first.startswith("0") else 0
            yield from (f"{prefix}{number:0{width}}{suffix}" for number in range(int(first), int(last or first) + 1))


@given(st.sets(st.from_regex(r"\A[a-b]{0,2}[0-9]{1,3}[a-b.]{0,2}[0-9]{0,2}\Z"), max_size=40))
def test_nothing_is_lost(names):
    assert sorted(expanded(folded(names))) == sorted(names)


@pytest.mark.parametrize(("names", "width", "text"), [
    (["n1", "n2"], 60, "n[1-2]"),
    ([f"n{number}" for number in range(1, 99, 2)], 20, "n[1,3,5,7,9,11,...]"),
    ([f"{letter}host" for letter in "abcdefgh"], 20, "ahost,bhost,..."),
    (["x" * 80], 20, "x" * 80),
    (["x" * 80, "y"], 20, "x" * 80 + ",..."),
], ids=["short", "within a range", "between names", "one long name", "after a long name"])
def test_shortened(names, width, text):
    assert shortened(names, width) == text


def test_natural_order():
    assert sorted(["n10", "n9", "a", "10", "9", ""], key=natural_key) == ["", "9", "10", "a", "n9", "n10"]
    assert sorted([LONG, "0" * 5000 + "3", "20"], key=natural_key) == ["0" * 5000 + "3", "20", LONG]
