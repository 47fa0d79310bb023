# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Words for people: text that does nothing to a terminal or a page, and numbers of things. Pure rules."""

from __future__ import annotations

import re

# Control characters except tab and line feed, line separators, marks of direction, and halves of surrogate pairs.
_ACTIVE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Text for a terminal or a page: active characters (escapes, changes of direction, half characters) become harmless text, as `\\u001b`."""
    return _ACTIVE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def readable_time(text: str) -> str:
    """A time in UTC (`2026-11-23T18:00:00Z`) as people read it."""
    return text.replace("T", " ").replace("Z", " UTC")


def plural(number: int, singular: str, plural: str = "", form: str = "") -> str:
    """`1 host`, `2 hosts`. `form` is how the number is written, as in format strings (`,`)."""
    return f"{number:{form}} {singular if number == 1 else plural or f'{singular}s'}"
