# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._values.base64_text import decode_base64
from hypothesis import given
from hypothesis import strategies as st
from support.tables import table


@pytest.mark.parametrize(("text", "data"), table([
    ("nothing", "", b""),
    ("padded", "YTpi", b"a:b"),
    ("one padding character", "YTo=", b"a:"),
    ("two padding characters", "YQ==", b"a"),
    ("line breaks anywhere", "\nY\r\nT\npi\n", b"a:b"),
    ("a space", "YT pi", None),
    ("no padding", "YQ", None),
    ("too much padding", "YTpi=", None),
    ("padding in the middle", "YQ==YQ==", None),
    ("the alphabet of URLs", "-_-_", None),
    ("other digits", "YTp\u0661", None),
]))
def test_as_go_decodes_it(text, data):
    assert decode_base64(text) == data


@given(st.binary())
def test_what_is_encoded_comes_back(data):
    assert decode_base64(base64.encodebytes(data).decode()) == data
