# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A cell of the table of compatibility says what was recorded, and nothing that was not, unless it has a mark."""

import pytest
from support.golden import all_cases
from support.recorded_table import COLUMNS, FEATURES, RECORDINGS, Feature, Step, _series, ansible_cores, cell, done, first, said, succeeds, unrecorded

ADDED = Step("one", 0, ["remote", "add", "--global", "x", "uri"], 0, "", {}, {})
FAILED = ADDED._replace(case="two", exit=255)


def test_every_recorded_version_has_a_column():
    assert {_series(case["version"]) for recording in RECORDINGS for case in all_cases(recording)} == set(COLUMNS)


@pytest.mark.parametrize(("answer", "steps", "expected"), [
    (done(("remote add",)), [ADDED], "yes"),
    (done(("remote add", "--global")), [FAILED, ADDED], "yes"),
    (done(("remote add", "--exclusive")), [ADDED], None),
    (done(("remote add",), ("remote use",)), [ADDED], None),
    (done(("remote add",)), [FAILED], None),
    (first("two", succeeds("yes", "no")), [ADDED, FAILED, FAILED._replace(number=1, exit=0)], "no"),
    (first("three", succeeds("yes", "no")), [ADDED, FAILED], None),
])
def test_what_runs_say(answer, steps, expected):
    assert answer(steps) == expected


def test_runs_that_disagree_are_no_answer():
    with pytest.raises(ValueError, match="no, yes"):
        said(succeeds("yes", "no"))([ADDED, FAILED])


@pytest.mark.parametrize("documented", [{}, {"1.5": "no"}])
def test_a_cell_needs_one_source(documented):
    """Without any, nothing is known; with both, what the sources say is out of date."""
    answer = done(("remote add",)) if documented else unrecorded
    with pytest.raises(ValueError, match=r"^feature, 1\.5: recorded: "):
        cell(Feature("feature", ("accept",), answer, documented), "1.5")


def test_what_was_not_recorded_has_a_mark():
    assert cell(Feature("feature", (), unrecorded, {"1.5": "no"}), "1.5") == "no\\*"
    assert [cell(FEATURES[0], column) for column in COLUMNS] == ["yes"] * len(COLUMNS)


def test_pythons_that_failed_are_not_in_the_short_table_of_ansible_core():
    made = """
| Python | with | 2.16.1 on 3.12.1 | 2.20.0 on 3.13.2 |
| --- | --- | --- | --- |
| 3.8.1 | old | ok | \u2013 |
| 3.8.1 | new | ok | \u2013 |
| 3.9.2 | new | ok | ok |
| 3.10.3 | old | ok | failed (1) |
| 3.10.3 | new | ok | ok |
| 3.11.4 | new | \u2013 | ok |
| 3.12 | new | \u2013 | not run |
"""
    assert ansible_cores(made).splitlines()[2:] == ["| its own Python | 3.12.1 | 3.13.2 |", "| Python of nodes | 3.8 to 3.10 | 3.9, 3.11 |"]
