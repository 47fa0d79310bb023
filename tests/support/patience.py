# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long something that never comes is waited for, where all the rest must come in that time: longer on a busy machine."""

import math
import os


def seconds(least: int) -> int:
    """At least so many seconds; more if more processes want to run than two for each processor."""
    return max(least, math.ceil(least * os.getloadavg()[0] / (os.cpu_count() or 1) / 2))
