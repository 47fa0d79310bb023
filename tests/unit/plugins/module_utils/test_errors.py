# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import ApptainerError, VerificationError, quoted


@pytest.mark.parametrize(("text", "shown"), [("a", '"a"'), ('a"b', '"a\\"b"'), ("a\nb", '"a\\nb"'), ("müller", '"müller"')])
def test_names_are_shown_in_one_line(text, shown):
    assert quoted(text) == shown


def test_a_refused_credential_brings_the_rest_of_the_result():
    result = {"verified": False}
    error = VerificationError("rejected", result)
    result.clear()
    assert isinstance(error, ApptainerError)
    assert (str(error), error.result) == ("rejected", {"verified": False})
