# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pages that show what somebody typed and saw: their files and commands in order, and whether a real output is what they show."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from support import pages

LEFT_OUT = "..."


class Step(NamedTuple):
    """A file to write, or a command to run in a shell, with the output that the page shows (`None`: none is shown, and any will do)."""

    file: str | None
    command: str | None
    text: str | None


def steps(page: str) -> Iterator[Step]:
    """What the text of a page has its reader do, in order: blocks that begin with a path in a comment are files, and those of `console` are commands."""
    for block in pages.blocks(page):
        if block.language == "console":
            for entry in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
                command, _newline, shown = entry.partition("\n")
                yield Step(None, command, shown or None)
        elif block.file:
            yield Step(block.file, None, block.text)


def missing(shown: str, output: str) -> str | None:
    """The first lines that a page shows and that the output does not have, in this order; `None` if it has all. `...` stands for any lines.

    What is shown without such a line between is one piece of the output. Blanks count as one, so that the widths of columns may differ.
    """
    rest = _lines(output)
    for piece in "\n".join(_lines(shown)).split(f"\n{LEFT_OUT}"):
        wanted = [line for line in piece.splitlines() if line not in ("", LEFT_OUT)]
        places = (place for place in range(len(rest) - len(wanted) + 1) if rest[place:place + len(wanted)] == wanted)
        place = next(places, None)
        if place is None:
            return "\n".join(wanted)
        rest = rest[place + len(wanted):]
    return None


def _lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]
