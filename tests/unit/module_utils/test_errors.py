# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import ApptainerError, RuleError, VerificationError, quoted


@pytest.mark.parametrize(("text", "shown"), [("a", '"a"'), ('a"b', '"a\\"b"'), ("a\nb", '"a\\nb"'), ("müller", '"müller"')])
def test_names_are_shown_in_one_line(text, shown):
    assert quoted(text) == shown


def test_a_refused_credential_brings_the_rest_of_the_result():
    result = {"verified": False}
    error = VerificationError("rejected", result)
    result.clear()
    assert isinstance(error, ApptainerError)
    assert (str(error), error.result) == ("rejected", {"verified": False})


def test_a_refusal_knows_what_it_is_about():
    error = RuleError("it is listed twice")
    assert (str(error), error.reason, error.subject) == ("it is listed twice", "it is listed twice", "")
    about = error.about('endpoint "a: b"')
    assert (str(about), about.reason, about.subject) == ('endpoint "a: b": it is listed twice', "it is listed twice", 'endpoint "a: b"')
    assert (about.about("x").reason, about.about("x").subject) == (str(about), "x")
    assert str(RuleError("no", "y")) == "y: no"
