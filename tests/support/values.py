# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All values with certain fields, made once, for Hypothesis to draw as a whole: to draw them field by field takes more time than the tests."""

import itertools
import random


def values(kind, *fields):
    """All values of a kind whose fields, in order, are among these."""
    return [kind(*row) for row in itertools.product(*fields)]


def tuples(items, longest):
    """All tuples of two or fewer of `items`, and of each greater length up to `longest` as many, chosen at random, as there are pairs."""
    chosen = random.Random(0)
    found = [row for length in range(min(2, longest) + 1) for row in itertools.product(items, repeat=length)]
    return found + [tuple(chosen.choices(items, k=length)) for length in range(3, longest + 1) for _number in range(len(items) ** 2)]
