# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The recorded runs of the real Apptainer and of SingularityCE; tests/golden/README.md says what is in them."""

import functools
import gzip
import json
import re

import pytest

from support.envs import ROOT

PROGRAMS = {"apptainer-main": "apptainer", "singularityce-4.5.1": "singularity"}  # recorded later, each in a folder; with their flavors
V4 = ("1.6", "4.5")  # versions of both that write single quotes where Apptainer 1.3 to 1.5 write double ones, and read no plain dates

_QUOTED = re.compile(r"""(['"])([^'"\\\n]*)\1(?=:?$)""", re.MULTILINE)


@functools.cache
def cases(name, program=""):
    """All cases of one recording: of the seven versions of Apptainer, or of another `program`."""
    with gzip.open(ROOT / "tests" / "golden" / program / f"{name}.json.gz", "rt", encoding="utf-8") as stream:
        return json.load(stream)


def all_cases(name):
    """All cases of one recording, of all programs."""
    return [case for program in ("", *PROGRAMS) for case in cases(name, program)]


def versions(recorded):
    """A decorator: a test of the cases that one version of a program gave, for each version. (A test for each case would cost more than they do.)"""
    return pytest.mark.parametrize("version", sorted({case["version"] for case in recorded}))


def check_all(check, recorded):
    """Check each case, given by its id: a failure names all that failed, and begins with the first of them."""
    assert recorded
    failed = {}
    for name, case in recorded.items():
        try:
            check(case)
        except (Exception, pytest.fail.Exception) as exc:
            failed[name] = exc
    if failed:
        raise AssertionError(f"{len(failed)} of {len(recorded)} cases failed: {', '.join(failed)}") from next(iter(failed.values()))


def flavor_of(case):
    """The flavor of the program that was recorded."""
    return "singularity" if case["version"].startswith("4") else "apptainer"


def without_quotes(text):
    """A file with one kind of quotes, to compare what else is in it."""
    return _QUOTED.sub(r'"\2"', text)
