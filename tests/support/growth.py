# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the time that something takes grows with its size, whatever else runs on the machine."""

import time

TIMES = 8  # the larger size is so many times the smaller one


def assert_linear(work, prepared):
    """`work(prepared(size))` takes TIMES the CPU time for TIMES the size, or at most three times that; quadratic work takes TIMES * TIMES.

    `prepared` makes the input of a size; its own time does not count. The least of three measurements counts.
    """
    small, large = (min(_cpu_time(work, prepared(size)) for _measurement in range(3)) for size in (_SIZE, _SIZE * TIMES))
    assert large < 3 * TIMES * small, f"{TIMES} times the size takes {large / small:.0f} times the CPU time"


_SIZE = 50


def _cpu_time(work, value):
    begin = time.process_time()
    work(value)
    return time.process_time() - begin
