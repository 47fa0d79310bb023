# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._options import advice


@pytest.mark.parametrize(("name", "options", "start"), [
    ("global", ["exclusive", "scope"], "set scope: global"),
    ("global", ["exclusive", "name"], "remove it from the entry"),
    ("global", ["builtin_uri"], "remove it, because keyservers"),
    ("global", ["timeout"], ""),
    ("reauth", ["verify", "password"], "set verify: always"),
    ("token", ["password"], "set password"),
    ("emial", ["password"], ""),
])
def test_advice_is_for_the_options_that_there_are(name, options, start):
    assert advice(name, options)[:len(start) or None] == start
