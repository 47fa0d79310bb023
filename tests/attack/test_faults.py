# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The part of the attack that is quick enough to run with each change: `make attack` has the rest, see CONTRIBUTING.md."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.injector import Fault, Injector, NoInjectorError

from attack import faults, scenarios


@pytest.fixture(scope="module")
def injector():
    try:
        return Injector()
    except NoInjectorError as exc:
        pytest.skip(f"faults cannot be injected: {exc}")


@pytest.fixture
def attack(injector, tmp_path):
    """`attack(scenario)`, under a umask that must not show in any result."""
    umask = os.umask(0o077)
    yield lambda scenario: faults.Attack(injector, scenario, Path(os.path.realpath(tmp_path)))
    os.umask(umask)


@pytest.mark.parametrize("scenario", scenarios.quick(), ids=lambda scenario: scenario.name)
def test_killed_or_refused_at_each_call(attack, scenario):
    """What must hold is said in attack/faults.py."""
    attacked = attack(scenario)
    count = attacked.count(faults.quick_faults(attacked.calls))
    if count.failures:
        seen = "\n".join(faults.kinds(count.failures))
        pytest.fail(f"{len(count.failures)} failures in {count.cases} cases with {count.states} end states:\n{seen}", pytrace=False)
    assert set("cwmslqdz") - {call.kind for call in attacked.calls} <= {"d"}
    assert count.cases > 100 and count.states > 5


class TestTheInjector:
    """What it is said to do, it does: or nothing above could fail."""

    @pytest.fixture
    def run(self, injector, tmp_path):
        """Run the first scenario with a fault at its first call of a name (and path); the text of the file, and what was left."""
        scenario = scenarios.quick()[2]
        base = Path(os.path.realpath(tmp_path)) / "base"

        def run(name=None, end="", what="", also=""):
            scenario.make(base)
            _done, calls = injector.run(scenario.module, scenario.given(base), home=base / "home", below=base)
            fault = None
            if name:
                base.rename(base.with_name("undisturbed"))
                scenario.make(base)
                number = next(call.number for call in calls if call.name == name and "/etc/apptainer/" in call.path and call.path.endswith(end))
                fault = Fault(number, what, also)
            done, calls = injector.run(scenario.module, scenario.given(base), home=base / "home", below=base, fault=fault)
            return done, [call for call in calls if call.hit], sorted(path.name for path in (base / "etc").rglob("*.yaml*"))

        return run

    def test_without_a_fault(self, run):
        done, hit, names = run()
        assert (done.rc, hit, names) == (0, [], ["remote.yaml"])

    @pytest.mark.parametrize("what, names", [("before", ()), ("after", ("remote.yaml",))])
    def test_killed_at_the_rename(self, run, what, names):
        done, (hit,), found = run("renameat", "remote.yaml", what)
        assert (done.rc, done.stdout, hit.kind) == (-9, "", "m")
        assert tuple(name for name in found if name == "remote.yaml") == names

    def test_killed_inside(self, run, tmp_path):
        done, _hit, (name,) = run("write", "", "inside")
        whole = (tmp_path / "undisturbed" / "etc" / "apptainer" / "remote.yaml").stat().st_size
        assert done.rc == -9
        assert (tmp_path / "base" / "etc" / "apptainer" / name).stat().st_size == (whole + 1) // 2

    def test_an_error(self, run):
        done, (hit,), names = run("renameat", "remote.yaml", "28")
        assert hit.name == "renameat"
        assert "No space left on device" in done.result["msg"]
        assert names == []

    def test_an_error_that_lasts(self, run):
        done, hit, _names = run("openat64", ".lock", "30", "cwm")
        assert [call.kind for call in hit[:2]] == ["c", "c"]  # without a lock file the directory is locked, but nothing can be made in it
        assert "Read-only file system" in done.result["msg"]
