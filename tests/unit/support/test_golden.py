# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Many recorded cases in one test: each is checked, and each that fails is named."""

import pytest
from support.golden import check_all


def test_all_that_fail_are_named():
    checked = []

    def check(number):
        checked.append(number)
        if number == 2:
            with pytest.raises(ValueError):
                int("2")
        assert number != 3

    with pytest.raises(AssertionError, match=r"^2 of 4 cases failed: two, three$") as failure:
        check_all(check, {"one": 1, "two": 2, "three": 3, "four": 4})
    assert checked == [1, 2, 3, 4]
    assert isinstance(failure.value.__cause__, pytest.fail.Exception), "the first of them"


def test_no_case_is_a_failure():
    with pytest.raises(AssertionError):
        check_all(print, {})
