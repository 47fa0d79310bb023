# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The global file, for a change to a user's: another program may be writing it."""

import os
import time

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._module.scope import System

WHOLE = "Active: site\nRemotes:\n    site: {URI: site.example.org, System: true}\n    old: {URI: old.example.org, System: true}\n"
HALF = WHOLE.partition("    old")[0]


class Module:
    def __init__(self, etc):
        self.params = {"flavor": "apptainer", "sysconfdir": str(etc)}
        self.warnings = []
        self.warn = self.warnings.append


@pytest.fixture
def path(tmp_path):
    (tmp_path / "apptainer").mkdir()
    return tmp_path / "apptainer" / "remote.yaml"


@pytest.fixture
def module(tmp_path):
    return Module(tmp_path)


@pytest.fixture
def written_meanwhile(monkeypatch, path):
    """What is in the file after each pause, until the last that is named here."""
    def written(*texts):
        left = list(texts)
        monkeypatch.setattr(time, "sleep", lambda _: left and path.write_text(left.pop(0)))

    return written


def test_what_cannot_be_read_is_read_again(path, module, written_meanwhile):
    path.write_text("Active: [")
    written_meanwhile("Active", WHOLE)
    system = System(module)
    assert (set(system.config.remotes), system.problem, module.warnings) == ({"site", "old"}, "", [])


@pytest.mark.parametrize("half", ["", HALF])
def test_what_can_be_read_may_be_half_of_it(path, module, written_meanwhile, half):
    path.write_text(half)
    written_meanwhile()
    system = System(module)
    written_meanwhile(HALF, WHOLE)
    assert system.has_changed()
    assert set(system.config.remotes) == {"site", "old"}
    assert not system.has_changed()


@pytest.mark.parametrize("text", [None, "Active: [", WHOLE])
def test_what_is_old_is_not_read_again(path, module, monkeypatch, text):
    if text is not None:
        path.write_text(text)
        os.utime(path, (0, 0))
    monkeypatch.delattr(time, "sleep")
    system = System(module)
    assert not system.has_changed()
    assert bool(system.problem) == bool(module.warnings) == (text == "Active: [")
    if system.problem:
        assert system.problem.startswith(f"{path}, line 2, column 1: ")
        assert module.warnings == [f"the global file is ignored, by Apptainer too: {system.problem}"]


def test_what_cannot_be_opened(path, module):
    path.mkdir()
    system = System(module)
    assert system.problem.startswith(f"{path}: is a directory")
    assert not system.has_changed()
