# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many recorded runs of each version of Apptainer and SingularityCE the tests compare with, for README. As a script (`make docs`), it writes the table.

A feature has no number of its own where only other versions were recorded: the cell is then "none", and nothing is claimed.
"""

import sys
from collections import Counter
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import golden
from support.envs import ROOT

README = ROOT / "README.md"
BEGIN, END = "<!-- Written by make docs. -->\n", "<!-- End of what make docs writes. -->\n"
FEATURES = {
    "accept": "files it accepts and refuses",
    "format": "same bytes",
    "remote_ops": "endpoints, default, exclusive",
    "keyserver_ops": "keyservers",
    "merge": "global and user file",
    "logins": "logins",
}


def readme() -> str:
    """The text of README as it should be."""
    before, begin, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    return "".join([before, begin, "\n", table(), "\n", END, rest.partition(END)[2]])


def table() -> str:
    """One row for each recorded version, the oldest first, in Markdown."""
    counts = {feature: Counter(map(_program, golden.all_cases(feature))) for feature in FEATURES}
    programs = sorted({program for count in counts.values() for program in count}, key=lambda program: (program[0], list(map(int, program[1].split(".")))))
    rows = [["", *FEATURES.values()], ["---", *["---:"] * len(FEATURES)]]
    for program in programs:
        rows.append([" ".join(program), *(str(counts[feature][program] or "none") for feature in FEATURES)])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _program(case: dict[str, str]) -> tuple[str, str]:
    return ("SingularityCE" if golden.flavor_of(case) == "singularity" else "Apptainer"), case["version"]


if __name__ == "__main__":
    README.write_text(readme(), encoding="utf-8")
