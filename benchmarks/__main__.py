# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measures what the collection costs, and prints tables in Markdown. `make bench` runs it.

What is compared takes turns within a round, and figures are medians over the rounds. CPU time (user and system, of all processes) stays true on a
busy machine, wall time does not: compare ratios of CPU time in one run.
"""

import sys

from . import controller, measuring, modules, plays, pulling, reporting

PARTS = {
    "modules": modules.measure,
    "local": plays.measure_local,
    "ssh": plays.measure_ssh,
    "controller": controller.measure,
    "report": reporting.measure,
    "pull": pulling.measure,
}


def main() -> None:
    options, parts = measuring.arguments(__doc__ or "", PARTS)
    for part in parts:
        print(f"## {part}\n")
        for line in PARTS[part](options):
            print(line, flush=True)
    print(measuring.machine(options))


if __name__ == "__main__":
    sys.exit(main())
