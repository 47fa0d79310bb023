# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tables of cases, each row with its name first."""

import pytest


def table(rows):
    """The rows for `pytest.mark.parametrize`, with their names as ids. Two rows of one name would get numbers that say nothing: refused."""
    rows = list(rows)
    names = [row[0] for row in rows]
    assert len(set(names)) == len(names), f"used twice: {sorted({name for name in names if names.count(name) > 1})}"
    return [pytest.param(*row[1:], id=row[0]) for row in rows]


def by_text(rows):
    """The rows for `pytest.mark.parametrize`, with ids of the short texts and truth values in them; for all else pytest would only count."""
    return [pytest.param(*row, id=" | ".join(map(str, filter(_is_readable, row)))) for row in rows]


def _is_readable(value):
    return isinstance(value, str | bytes | bool | type(None)) and len(str(value)) <= 80
