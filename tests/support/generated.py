# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The parts of documents that a make target writes: each stands between two comments that name the target."""

from collections.abc import Iterable
from pathlib import Path


def renewed(document: Path, target: str, made: str) -> str:
    """The text of the document, with `made` as what that target writes in it."""
    begin, end = f"<!-- Written by make {target}. -->\n", f"<!-- End of what make {target} writes. -->\n"
    before, found, rest = document.read_text(encoding="utf-8").partition(begin)
    _old, also_found, after = rest.partition(end)
    if not (found and also_found):
        raise RuntimeError(f"{document} doesn't have the comments {begin!r} and {end!r}")
    return "".join([before, begin, "\n", made.strip("\n"), "\n\n", end, after])


def table(*rows: Iterable[str]) -> str:
    """A table of Markdown; the first row is its head."""
    head, *others = map(list, rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *others])
