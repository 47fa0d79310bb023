# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a command costs, what is compared taking turns, and the tables of it."""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from support import envs

VERSIONS = 'import ansible.release, platform; print(f"ansible-core {ansible.release.__version__} and Python {platform.python_version()}")'


class Cost(NamedTuple):
    """What one run took: CPU time (user and system, of all its processes) and wall time in seconds, and peak memory in MB.

    The memory is that of the largest process, and never less than that of the process that measures.
    """

    cpu: float
    wall: float
    memory: float
    main: float = 0.0
    """CPU time of the first process of ansible-playbook, without its workers."""
    nodes: float = 0.0
    """CPU time of ssh hosts, which is not in `cpu`."""

    @property
    def total(self) -> float:
        return self.cpu + self.nodes


class Options(NamedTuple):
    """What to measure, and how often. `core` is the environment of ansible-core, `node` the Python that runs modules."""

    rounds: int
    hosts: list[int]
    forks: list[int]
    sizes: list[int]
    core: Path
    node: Path


Case = Callable[[], Cost]
Costs = dict[str, list[Cost]]


def cost_of(*command: object, env: Mapping[str, str], cwd: Path, stdin: Path | None = None) -> Cost:
    """Run a command to its end. It must succeed."""
    words = [str(word) for word in command]
    with tempfile.TemporaryFile("w+") as output, Path(stdin or os.devnull).open("rb") as given:
        started = time.perf_counter()
        process = subprocess.Popen(words, cwd=cwd, env=env, stdin=given, stdout=output, stderr=subprocess.STDOUT)
        _pid, status, usage = os.wait4(process.pid, 0)  # of the process and all that it has waited for
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            text = output.read()
            sys.exit(f"{' '.join(words)[:1000]} ended with {process.returncode}:\n{text[:3000]}\n...\n{text[-1000:]}")
    return Cost(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024)


def interleaved(about: str, cases: Mapping[str, Case], rounds: int, warm: bool = True) -> Costs:
    """The costs of each case, which take turns, so that what else the machine does meets all of them. With `warm`, each first runs unmeasured."""
    costs: Costs = {name: [] for name in cases}
    for turn in range(0 if warm else 1, rounds + 1):
        for name, case in cases.items():
            cost = case()
            print(f"{about}, round {turn}: {name}: {cost.total:.3f} s of CPU, {cost.wall:.3f} s, {cost.memory:.0f} MB", file=sys.stderr, flush=True)
            if turn:
                costs[name].append(cost)
    return costs


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def ratio(costs: Costs, name: str, unit: str, base: str = "") -> float:
    """How often the CPU time of `unit` goes into that of `name`, both without that of `base`: the median over the rounds."""
    empty = [cost.total for cost in costs[base]] if base else [0.0] * len(costs[name])
    return median((own.total - less) / (one.total - less) for own, one, less in zip(costs[name], costs[unit], empty, strict=True))


def beyond(costs: Costs, name: str, base: str) -> float:
    """The CPU time of `name` without that of `base`, in seconds: the median over the rounds."""
    return median(own.total - less.total for own, less in zip(costs[name], costs[base], strict=True))


def table(title: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> Iterator[str]:
    """The lines of a table in Markdown, with a heading. The first column has names, all others have numbers."""
    columns = list(columns)
    yield from (f"### {title}", "", f"| {' | '.join(columns)} |", f"| --- |{' ---: |' * (len(columns) - 1)}")
    for row in rows:
        yield f"| {' | '.join(map(str, row))} |"
    yield ""


def machine(options: Options) -> str:
    """What this was measured with."""
    versions = subprocess.check_output([options.core / "bin" / "python", "-c", VERSIONS], text=True).strip()
    node = subprocess.check_output([options.node, "-c", "import platform; print(platform.python_version())"], text=True).strip()
    load = " ".join(f"{number:.1f}" for number in os.getloadavg())
    rounds = f"medians of {options.rounds} rounds" if options.rounds > 1 else "one round"
    return f"{versions}, nodes with Python {node}, {os.cpu_count()} cores ({platform.machine()}), load {load} at the end, {rounds}"


def arguments(description: str, parts: Iterable[str]) -> tuple[Options, list[str]]:
    """The options of the command line, and the parts that were asked for."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers = {"hosts": "100 400 1600", "forks": "10 100 500", "sizes": "1 10 100 1000 10000"}
    for name, default in numbers.items():
        what = "endpoints, and of users" if name == "sizes" else name
        parser.add_argument(f"--{name}", type=_numbers, default=_numbers(default), help=f"numbers of {what} (default: {default})")
    parser.add_argument("--rounds", type=int, default=3, help="how often (default: 3)")
    parser.add_argument("--core", default="running", choices=[envs.OLD_CORE, "running", "newest"], help="which ansible-core (default: running)")
    parser.add_argument("parts", nargs="*", choices=[[], *parts], metavar="PART", help=f"only these of {', '.join(parts)}")
    given = vars(parser.parse_args())
    wanted, kind = given.pop("parts") or list(parts), given.pop("core")
    node = envs.node(kind, verify=True)
    return Options(**given, core=node.core, node=node.python), wanted


def _numbers(text: str) -> list[int]:
    return sorted({int(word) for word in text.split()})
