# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Lists of host names in the short form of pdsh, Slurm and ClusterShell: node[1-3,7]."""

from __future__ import annotations

import re
from collections.abc import Iterable

_NUMBER = re.compile("[0-9]+")


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key that puts `node2` before `node10`."""
    return tuple((0, *_value(part)) if part.isdigit() and part.isascii() else (1, 0, part) for part in re.split(r"([0-9]+)", name) if part)


def _value(number: str) -> tuple[int, str]:
    """What orders numbers by their value, however many digits they have: Python refuses to convert more than 4,300."""
    digits = number.lstrip("0")
    return len(digits), digits


def _next(number: str) -> str:
    """The number that follows, with as many leading zeros as still fit."""
    kept = number.rstrip("9")
    return (f"{kept[:-1]}{int(kept[-1]) + 1}" if kept else "1") + "0" * (len(number) - len(kept))


def folded(names: Iterable[str]) -> str:
    """The names, sorted, with runs of numbers as ranges: `node[1-3,7],login`.

    Only one number in a name becomes a range: the last one before the first dot (17 in `node17.cluster2`), or the last one in the whole name if
    there is none before the dot or the name is an IPv4 address. Leading zeros are kept, as in `node[08-12]`.
    """
    families: dict[tuple[str, str], dict[str, None]] = {}
    for name in sorted(set(names), key=lambda name: (natural_key(name), name)):
        start, end = _number_span(name)
        families.setdefault((name[:start], name[end:]), {})[name[start:end]] = None
    return ",".join(_folded_family(prefix, suffix, list(numbers)) for (prefix, suffix), numbers in families.items())


def shortened(names: Iterable[str], width: int = 60) -> str:
    """Like `folded()`, but cut to `width` characters after a whole name or range, with dots. The first name or range is never cut."""
    text = folded(names)
    if len(text) <= width:
        return text
    cut = text.rfind(",", 0, width - 3)
    if cut < 0:
        cut = text.find(",")
    if cut < 0:
        return text
    kept = text[:cut]
    return kept + (",...]" if kept.count("[") > kept.count("]") else ",...")


def _number_span(name: str) -> tuple[int, int]:
    """The start and the end of the number that becomes a range. Both are the end of the name if it has no number or contains brackets or commas."""
    short_name = name.partition(".")[0]
    numbers = [] if short_name.isdigit() else list(_NUMBER.finditer(short_name))
    numbers = numbers or list(_NUMBER.finditer(name))
    return numbers[-1].span() if numbers and not set(name) & set("[],") else (len(name), len(name))


def _folded_family(prefix: str, suffix: str, numbers: list[str]) -> str:
    """Names that differ only in the number between `prefix` and `suffix`."""
    widths = {len(number) for number in numbers if number.startswith("0") and len(number) > 1}
    ranges: list[list[str]] = []
    for number in sorted(numbers, key=lambda text: (len(text) if len(text) in widths else 0, _value(text))):
        last = ranges[-1][-1] if ranges else ""
        if last and number == _next(last) and (len(number) == len(last) or not {len(number), len(last)} & widths):
            ranges[-1][1:] = [number]
        else:
            ranges.append([number])
    if len(numbers) == 1:
        return prefix + numbers[0] + suffix
    return f"{prefix}[{','.join('-'.join(ends) for ends in ranges)}]{suffix}"
