# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import ApptainerError
from ansible_collections.hpc.apptainer.plugins.module_utils._inspection.replies import MAX_REPLY, decode_reply, encode_reply
from hypothesis import given
from hypothesis import strategies as st


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
                    max_leaves=5))
def test_an_answer_comes_back(answer):
    assert decode_reply(encode_reply({"answer": answer})) == json.loads(json.dumps(answer).encode("utf-8", "replace"))


def test_what_is_no_unicode_comes_back_as_question_marks():
    assert decode_reply(encode_reply({"answer": "b\udce4r"})) == "b?r"


def test_an_error_comes_back():
    with pytest.raises(ApptainerError, match=r"^no\. Do that\.$"):
        decode_reply(encode_reply({"error": "no. Do that."}))


def test_an_answer_without_end():
    with pytest.raises(ApptainerError, match=r"^the result is larger than 1024 KiB\. Run apptainer_remote_info as this user \(become_user\)\.$"):
        decode_reply(b" " * (MAX_REPLY + 1))


def test_what_a_terminal_would_obey_does_not_come_through():
    with pytest.raises(ApptainerError, match=r"^a\?b$"):
        decode_reply(encode_reply({"error": "a\x1bb"}))
