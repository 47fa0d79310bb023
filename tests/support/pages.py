# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pages of the documentation, as the tests read them: the guides of the docsite, in RST, and the READMEs, in Markdown."""

import re
import textwrap
from collections.abc import Iterator
from typing import NamedTuple

from support import envs

GUIDES = envs.ROOT / "docs" / "docsite" / "rst"

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$|^\.\. code-block:: (\S+)\n\n((?: {4}[^\n]*\n|\n)+)", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# (?=\S*[./])([\w./-]+)\n")
_TABLE = re.compile(r"^\.\. list-table::\n   :header-rows: 1\n\n((?: {3}.*\n)+)", re.MULTILINE)
_SECTION = re.compile(r"^(.+)\n(-+)\n", re.MULTILINE)


class Block(NamedTuple):
    """An example: its language, and its text. A file begins with its path in a comment, which is not part of the text."""

    language: str
    file: str | None
    text: str


def guide(name: str) -> str:
    """The source of a guide."""
    return (GUIDES / f"{name}.rst").read_text()


def names() -> list[str]:
    """All guides."""
    return sorted(path.stem for path in GUIDES.glob("*.rst"))


def blocks(page: str) -> Iterator[Block]:
    """All examples of a page, in order."""
    for in_markdown, fenced, in_rst, indented in _BLOCK.findall(page):
        text = fenced or textwrap.dedent(indented).strip("\n") + "\n"
        named = _FILE.match(text) if (in_markdown or in_rst) != "console" else None
        yield Block(in_markdown or in_rst, named and named[1], text[named.end():] if named else text)


def file(page: str, name: str) -> str:
    """The file of a page that has this name, in whatever directory."""
    (text,) = (block.text for block in blocks(page) if block.file and f"/{block.file}".endswith(f"/{name}"))
    return text


def table(page: str, header: str) -> list[list[str]]:
    """The rows of all tables whose first column has this title, without the titles; each cell on one line."""
    found = [rows[1:] for rows in map(_rows, _TABLE.findall(page)) if rows[0][0] == header]
    assert found, f"no table begins with {header}"
    return [row for rows in found for row in rows]


def _rows(text: str) -> list[list[str]]:
    return [[" ".join(cell.split()) for cell in re.split(r"^ {5}-(?: |$)", row, flags=re.MULTILINE)]
            for row in re.split(r"^ {3}\* -(?: |$)", text, flags=re.MULTILINE)[1:]]


def section(page: str, title: str) -> str:
    """What is below a title of a page, to the next one."""
    found = list(_SECTION.finditer(page))
    (number,) = (number for number, one in enumerate(found) if one[1] == title)
    return page[found[number].end():found[number + 1].start() if number + 1 < len(found) else len(page)]
