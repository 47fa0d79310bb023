# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Lists of host names in the short form of pdsh, Slurm and ClusterShell: node[1-3,7]."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Union

_DOTS = "..."
_Item = list[Union[str, list[str]]]  # texts and single numbers; lists are ranges


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
    """The names, sorted, with the numbers that vary as ranges, as ClusterShell folds them: `login,n[1-3,7]-ib0,x1000c0s[0-1]b0n[0-1]`.

    Several ranges in one name mean all combinations of them. Leading zeros are kept, as in `node[08-12]`. The text stands for exactly these names.
    """
    return ",".join(map(_text, _items(names)))


def shortened(names: Iterable[str], width: int = 60) -> str:
    """Like `folded()`, but cut to `width` characters after a whole name or range, with dots. The first name or range is never cut.

    What is behind the brackets in which it is cut stays, so that no name changes: `n[1,3,...]-ib0,...`.
    """
    items = list(_items(names))
    texts = list(map(_text, items))
    if len(",".join(texts)) <= width:
        return ",".join(texts)
    number, used = 0, 0
    while number < len(texts) and used + len(texts[number]) + len(",...") <= width:
        used += len(texts[number]) + 1
        number += 1
    end = [_DOTS] if number < len(items) - 1 else []
    room = width - used - len(",...") * len(end)
    part = _cut(items[number], room)
    if number and len(part or texts[number]) > room:
        return ",".join([*texts[:number], _DOTS])
    return ",".join([*texts[:number], part or texts[number], *end])


def _cut(item: _Item, room: int) -> str:
    """As much of the longest list of ranges as there is room for, but at least one of them. Empty if there is none to cut."""
    longest: list[str] = max((part for part in item if isinstance(part, list)), key=len, default=[])
    if len(longest) < 2:
        return ""

    def first(number: int) -> str:
        return _text([[*longest[:number], _DOTS] if part is longest else part for part in item])

    number, length = 1, len(first(1))
    while number < len(longest) - 1 and length + len(longest[number]) + 1 <= room:
        length += len(longest[number]) + 1
        number += 1
    return first(number)


def _text(item: _Item) -> str:
    return "".join(f"[{','.join(part)}]" if isinstance(part, list) else part for part in item)


def _items(names: Iterable[str]) -> Iterator[_Item]:
    """What stands between the outer commas of a folded text. Names with brackets or commas are not folded."""
    families: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for name in sorted(set(names), key=lambda name: (natural_key(name), name)):
        parts = [name] if set(name) & set("[],") else re.split(r"([0-9]+)", name)
        families.setdefault(tuple(parts[::2]), []).append(tuple(parts[1::2]))
    for texts, numbers in families.items():
        for ranges in _products(numbers):
            yield [texts[0], *(part for pair in zip(ranges, texts[1:], strict=True) for part in pair)]


def _products(points: Sequence[tuple[str, ...]]) -> list[list[str | list[str]]]:
    """The numbers of names that differ in nothing else, as products of ranges: each name is in exactly one of them.

    They are merged along one number after the other, from the last to the first, or from the one that varies most, whichever gives fewer products and
    ranges. This takes time in proportion to the names; the fewest possible would take exponential time.
    """
    variety = [len(set(values)) for values in zip(*points, strict=True)]
    from_the_last = [place for place in reversed(range(len(variety))) if variety[place] > 1]
    by_variety = sorted(from_the_last, key=lambda place: -variety[place])
    orders = [from_the_last] if by_variety == from_the_last else [from_the_last, by_variety]
    found = [[[next(iter(values)) if len(values) == 1 else _ranges(values) for values in product] for product in _merged(points, order)]
             for order in orders]
    return min(found, key=lambda products: (len(products), sum(len(part) for product in products for part in product if isinstance(part, list))))


def _merged(points: Sequence[tuple[str, ...]], order: Iterable[int]) -> list[tuple[frozenset[str], ...]]:
    products = [tuple(frozenset([number]) for number in point) for point in points]
    for place in order:
        found: dict[tuple[frozenset[str], ...], set[str]] = {}
        for product in products:
            found.setdefault((*product[:place], *product[place + 1:]), set()).update(product[place])
        products = [(*others[:place], frozenset(values), *others[place:]) for others, values in found.items()]
    return products


def _ranges(numbers: Iterable[str]) -> list[str]:
    """Runs of numbers as their first and last one."""
    numbers = set(numbers)
    widths = {len(number) for number in numbers if number.startswith("0") and len(number) > 1}
    ranges: list[list[str]] = []
    for number in sorted(numbers, key=lambda text: (len(text) if len(text) in widths else 0, _value(text))):
        last = ranges[-1][-1] if ranges else ""
        if last and number == _next(last) and (len(number) == len(last) or not {len(number), len(last)} & widths):
            ranges[-1][1:] = [number]
        else:
            ranges.append([number])
    return ["-".join(ends) for ends in ranges]
