# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Words for people."""

import pytest
from ansible_collections.hpc.apptainer.plugins.plugin_utils._text import plural, printable


@pytest.mark.parametrize(("text", "expected"), [
    ("a\tb\nc \u00e9 \u05d0 \U0001f600", "a\tb\nc \u00e9 \u05d0 \U0001f600"),
    ("\x1b[2J\x00\r\x7f\x9b", "\\u001b[2J\\u0000\\u000d\\u007f\\u009b"),
    ("\u202etxt.exe\u2066\u2028", "\\u202etxt.exe\\u2066\\u2028"),
    ("\ud800", "\\ud800"),
], ids=["harmless", "control characters", "direction and line marks", "half a character"])
def test_printable(text, expected):
    assert printable(text) == expected


@pytest.mark.parametrize(("arguments", "text"), [
    ((1, "host"), "1 host"), ((0, "host"), "0 hosts"), ((2000, "host"), "2000 hosts"), ((2000, "host", "", ","), "2,000 hosts"),
    ((2, "host is", "hosts are"), "2 hosts are"),
])
def test_plural(arguments, text):
    assert plural(*arguments) == text
