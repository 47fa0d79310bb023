# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The parts of documents that a make target writes: each stands between two comments that name the target."""

from collections.abc import Iterable
from pathlib import Path


def _comments(target: str) -> tuple[str, str]:
    return f"<!-- Written by make {target}. -->\n", f"<!-- End of what make {target} writes. -->\n"


def renewed(document: Path, target: str, *made: str) -> str:
    """The text of the document, with `made` as all that this target writes in it, in this order."""
    begin, end = _comments(target)
    before, *rest = document.read_text(encoding="utf-8").split(begin)
    if len(rest) != len(made) or not all(end in after for after in rest):
        raise RuntimeError(f"{document} needs {len(made)} times the comments {begin!r} and {end!r}")
    return before + "".join(f"{begin}\n{text.strip()}\n\n{end}{after.partition(end)[2]}" for text, after in zip(made, rest, strict=True))


def written(document: Path, target: str) -> str:
    """What the target has written in the document, if it writes there once."""
    begin, end = _comments(target)
    return document.read_text(encoding="utf-8").partition(begin)[2].partition(end)[0]


def table(*rows: Iterable[str]) -> str:
    """A table of Markdown; the first row is its head."""
    head, *others = map(list, rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *others])
