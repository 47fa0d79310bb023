# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The whole attack (`make attack`): prints what each part came to, and ends with 1 if anything that must hold did not."""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from support.injector import Injector, NoInjectorError

from attack import faults, fuzz, hostile, scenarios, writers
from attack.faults import Count

Part = Callable[[Path, int], Iterator[tuple[str, Count | str]]]


def _faults(place: Path, _seconds: int) -> Iterator[tuple[str, Count | str]]:
    try:
        injector = Injector()
    except NoInjectorError as exc:
        yield "all", f"faults cannot be injected: {exc}"
        return
    for scenario in scenarios.every():
        attacked = faults.Attack(injector, scenario, place)
        yield scenario.name, attacked.count(faults.all_faults(attacked.calls))


def _apptainer(place: Path, _seconds: int) -> Iterator[tuple[str, Count | str]]:
    try:
        yield from writers.beside_apptainer(Injector(), place)
    except NoInjectorError as exc:
        yield "all", f"nothing can be done at each call: {exc}"


def _races(place: Path, _seconds: int) -> Iterator[tuple[str, Count | str]]:
    yield from writers.races(place)


def _fuzz(place: Path, seconds: int) -> Iterator[tuple[str, Count | str]]:
    by, cases, found = fuzz.fuzz(seconds, place)
    yield by, Count(cases, len(found), [faults.Failure(by, f"{seconds} seconds", what) for what in found])


def _hostile(place: Path, _seconds: int) -> Iterator[tuple[str, Count | str]]:
    yield "all", hostile.hostile(place)


PARTS: dict[str, Part] = {"faults": _faults, "apptainer": _apptainer, "races": _races, "fuzz": _fuzz, "hostile": _hostile}


def main() -> int:
    """Run the parts that are named, or all."""
    parser = argparse.ArgumentParser(prog="make attack", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help="which parts; without any, all")
    parser.add_argument("--seconds", type=int, default=60, help="how long to fuzz")
    given = parser.parse_args()
    os.umask(0o077)  # must not show in what others are to read
    cases = states = failed = 0
    for part in given.parts or PARTS:
        with tempfile.TemporaryDirectory() as directory:
            place = Path(os.path.realpath(directory))
            place.chmod(0o711)
            for name, count in PARTS[part](place, given.seconds):
                if isinstance(count, str):
                    print(f"{part}: {name}: skipped: {count}", flush=True)
                    continue
                cases, states, failed = cases + count.cases, states + count.states, failed + len(count.failures)
                print(f"{part}: {name}: {count.cases} cases, {count.states} end states, {len(count.failures)} failures", flush=True)
                for line in faults.kinds(count.failures):
                    print(f"    {line}", flush=True)
    print(f"all: {cases} cases, {states} end states, {failed} failures")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
