# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The recorded runs of the real Apptainer; tests/golden/README.md says what is in them."""

import functools
import gzip
import json

from support.envs import ROOT


@functools.cache
def cases(name):
    """All cases of one recording."""
    with gzip.open(ROOT / "tests" / "golden" / f"{name}.json.gz", "rt", encoding="utf-8") as stream:
        return json.load(stream)
