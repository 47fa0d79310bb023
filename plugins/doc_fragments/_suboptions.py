# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

from __future__ import annotations

import re
from textwrap import indent


def suboptions(documentation: str, depth: int, path: str, without: tuple[str, ...] = ()) -> str:
    """The options of another fragment, but for some, as suboptions at `path`."""
    options = re.split(r"(?m)^  (?=\w+:$)", documentation.partition("options:\n")[2].rstrip() + "\n")
    text = "".join("  " + option for option in options[1:] if option.partition(":")[0] not in without)
    return indent(re.sub(r"\bO\((?=\w)", "O(%s[]." % path, text), " " * depth)
