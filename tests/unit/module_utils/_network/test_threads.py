# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks in parallel, some of which never end."""

from __future__ import annotations

import collections
import os
import subprocess
import sys
import threading
import time

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import NetworkError
from ansible_collections.hpc.apptainer.plugins.module_utils._network.errors import DeadlineError
from ansible_collections.hpc.apptainer.plugins.module_utils._network.threads import run_all


def test_results_are_in_order():
    assert run_all([lambda number=number: number * number for number in range(1000)], 60) == [number * number for number in range(1000)]
    assert run_all([], 1) == []


def test_checks_run_in_parallel():
    barrier = threading.Barrier(5, timeout=30)
    assert sorted(run_all([barrier.wait] * 5, 30, workers=5)) == [0, 1, 2, 3, 4]


def test_all_questions_of_a_usual_configuration_run_in_parallel():
    barrier = threading.Barrier(64, timeout=30)
    assert sorted(run_all([barrier.wait] * 64, 30)) == list(range(64))


def test_but_not_all_of_any():
    running, most = set(), []

    def check():
        running.add(threading.get_ident())
        most.append(len(running))
        time.sleep(0.01)
        running.discard(threading.get_ident())

    run_all([check] * 300, 30)
    assert 1 < max(most) <= 64


def test_errors_are_results():
    def fail():
        raise error

    error = NetworkError("no")
    assert run_all([fail, lambda: 1], 10) == [error, 1]


@pytest.mark.parametrize("error", [KeyError("x"), SystemExit(3)], ids=["KeyError", "SystemExit"])
def test_other_exceptions_are_raised(error):
    def fail():
        raise error

    with pytest.raises(type(error)) as caught:
        run_all([lambda: 1, fail, lambda: 2], 10)
    assert caught.value is error


def test_a_stuck_check_holds_nobody_up():
    """It never ends by itself, so it is its time that ended."""
    stuck = threading.Event()
    results = run_all([stuck.wait, lambda: 1, stuck.wait, lambda: 2], 0.5, workers=1)
    stuck.set()
    assert [result if isinstance(result, int) else type(result) for result in results] == [DeadlineError, 1, DeadlineError, 2]


def test_what_comes_too_late_does_not_count():
    begun, late = threading.Event(), threading.Event()

    def first():
        begun.wait(60)
        late.set()
        return 1

    def second():
        begun.set()
        late.wait(60)
        return 2

    one, other = run_all([first, second], 1, workers=1)
    assert isinstance(one, DeadlineError)
    assert other == 2


def test_a_stuck_check_does_not_keep_the_process():
    code = ("import time; from ansible_collections.hpc.apptainer.plugins.module_utils._network.threads import run_all; "
            "print(run_all([lambda: time.sleep(100)], 0.1))")
    done = subprocess.run([sys.executable, "-c", code], env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)), capture_output=True, text=True,
                          timeout=50, check=True)
    assert done.stdout == "[DeadlineError('not finished within 0.1 seconds')]\n"
    assert not done.stderr


def test_a_group_is_not_crowded_and_holds_up_no_other():
    running, most, order, lock = collections.Counter(), collections.Counter(), [], threading.Lock()

    def check(group):
        def run():
            with lock:
                running[group] += 1
                most[group] = max(most[group], running[group])
                order.append(group)
            time.sleep(0.005)
            with lock:
                running[group] -= 1
            return group

        return run

    groups = ["crowded"] * 50 + ["other"] * 2
    assert run_all([check(group) for group in groups], 30, workers=4, groups=groups, per_group=2) == groups
    assert most == {"crowded": 2, "other": 2}
    assert "other" in order[:6]


def test_time_spent_in_waiting_for_the_group_does_not_count():
    """The last two begin when a second is over, which is all that each of them has."""
    results = run_all([lambda: time.sleep(0.2)] * 12 + [threading.Event().wait, lambda: 7], 1, groups=[0] * 14, per_group=2)
    assert results[:12] == [None] * 12
    assert isinstance(results[12], DeadlineError)
    assert results[13] == 7
