# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Host names, folded as cluster tools write them."""

import itertools
import re

import pytest
from ansible_collections.hpc.apptainer.plugins.plugin_utils._nodeset import folded, natural_key, shortened
from hypothesis import given
from hypothesis import strategies as st
from support.growth import assert_linear

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
    "a number that does not vary": (["n1-ib0", "n2-ib0", "n3-ib0"], "n[1-3]-ib0"),
    "the number that varies most": ([*(f"n{number}-ib0" for number in range(1, 101)), "n5-ib1"], "n[1-100]-ib0,n5-ib1"),
    "Cray": ([f"x1000c0s{slot}b0n{node}" for slot in (0, 1) for node in (0, 1)], "x1000c0s[0-1]b0n[0-1]"),
    "a product with a hole": ([f"r{r}n{n:02}" for r in range(1, 4) for n in range(8, 12) if (r, n) != (2, 9)], "r[1,3]n[08-11],r2n[08,10-11]"),
    "numbers that vary together": (["a1b1", "a2b2"], "a1b1,a2b2"),
    "widths in several numbers": (["a1b01", "a01b01", "a1b1", "a01b1"], "a[1,01]b[1,01]"),
    "an interface beside its host": (["n1", "n2", "n1-ib0", "n2-ib0"], "n[1-2],n[1-2]-ib0"),
    "domains that vary": (["n1.c1", "n2.c1", "n1.c2", "n2.c2"], "n[1-2].c[1-2]"),
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
    """The names of a folded text, if they contain no brackets and commas. Dots stand for none."""
    for item in re.findall(r"(?:[^,\[\]]|\[[^]]*\])+", text):
        parts = re.split(r"\[([^]]*)\]", item)
        yield from map("".join, itertools.product(*(numbers(part) if place % 2 else [part] for place, part in enumerate(parts)) if item != "..." else ()))


def numbers(ranges):
    for first, _dash, last in (part.partition("-") for part in ranges.split(",") if part != "..."):
        width = len(first) if first.startswith("0") else 0
        yield from (f"{number:0{width}}" for number in range(int(first), int(last or first) + 1))


NAMES = st.sets(st.from_regex(r"\A[a-b]{0,2}[0-9]{1,3}[a-b.]{0,2}[0-9]{0,2}\Z") | st.from_regex(r"\Ac[0-2]{1,2}s[01]{1,2}(n[0-3])?\Z"), min_size=1, max_size=40)


@given(NAMES)
def test_nothing_is_lost(names):
    assert sorted(expanded(folded(names))) == sorted(names)


@given(NAMES, st.integers(0, 80))
def test_no_shortened_name_is_changed(names, width):
    shown = [name for name in expanded(shortened(names, width)) if name]
    assert set(shown) <= names
    assert len(shown) == len(set(shown)) > 0


def test_all_hosts_of_a_large_machine():
    names = {f"x{cabinet}c{chassis}s{slot}b{board}n{node}" for cabinet in range(1000, 1004) for chassis in range(8) for slot in range(4)
             for board in range(4) for node in range(4)}
    assert folded(names) == "x[1000-1003]c[0-7]s[0-3]b[0-3]n[0-3]"
    assert sorted(expanded(folded(names - {"x1002c1s2b3n0"}))) == sorted(names - {"x1002c1s2b3n0"})


def test_time_grows_with_the_hosts():
    assert_linear(folded, lambda size: [f"r{number % 7}n{number}-ib{number * 31 % 5}" for number in range(6 * size)])


@pytest.mark.parametrize(("names", "width", "text"), [
    (["n1", "n2"], 60, "n[1-2]"),
    ([f"n{number}" for number in range(1, 99, 2)], 20, "n[1,3,5,7,9,11,...]"),
    ([f"{letter}host" for letter in "abcdefgh"], 20, "ahost,bhost,..."),
    ([f"n{number}-ib0" for number in range(1, 99, 2)], 20, "n[1,3,5,7,9,...]-ib0"),
    ([f"a{number}b{node}" for number in range(1, 99, 2) for node in range(9)], 20, "a[1,3,5,7,...]b[0-8]"),
    (["login", *(f"n{number}" for number in range(1, 99, 2))], 20, "login,n[1,3,5,7,...]"),
    ([*(f"n{number}" for number in range(1, 99, 2)), "o"], 20, "n[1,3,5,7,9,...],..."),
    ([f"{'x' * 20}{number}" for number in range(1, 99, 2)], 20, f"{'x' * 20}[1,...]"),
    (["login", *(f"{'x' * 20}{number}" for number in range(1, 99, 2))], 20, "login,..."),
    (["login", "n1", "n2", "n3"], 13, "login,n[1-3]"),
    (["x" * 80], 20, "x" * 80),
    (["x" * 80, "y"], 20, "x" * 80 + ",..."),
], ids=[
    "short", "within a range", "between names", "before a suffix", "before a range", "within a later range", "before a later name",
    "within the first range", "no room for a range", "just fits", "one long name", "after a long name"])
def test_shortened(names, width, text):
    assert shortened(names, width) == text


def test_natural_order():
    assert sorted(["n10", "n9", "a", "10", "9", ""], key=natural_key) == ["", "9", "10", "a", "n9", "n10"]
    assert sorted([LONG, "0" * 5000 + "3", "20"], key=natural_key) == ["0" * 5000 + "3", "20", LONG]
