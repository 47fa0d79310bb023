# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measures what a fleet costs the controller alone: .venv/main/bin/python benchmarks/controller.py [--hosts 100 400]

The nodes cost nothing: their Python is a shell script that swallows what it is sent and prints a finished result. Each row is a whole run of
ansible-playbook; its figures are CPU time (user and system, all processes) and so stay true on a busy machine, unlike wall time. "ms a host"
is the time beyond that of an empty play on the same hosts, and "pings" is that time divided by the one of ansible.builtin.ping. Rows take turns
within a round, and figures are medians over the rounds. "MB a host" is how much the peak memory of the main process grows from the smallest number of
hosts to the largest, for each host.

With several checkouts, for example one before a change and one after it, each of them is measured in each round.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from support import envs, processes, stubs

KEYS = {"uri": "https://keys.example.org", "order": 0, "insecure": False}
REMOTES = [{"name": "site", "uri": "https://library.example.org", "exclusive": True, "keyservers": [{"uri": KEYS["uri"]}]},
           {"name": "spare", "uri": "https://spare.example.org"},
           {"name": "old", "state": "absent"}]
LOGINS = [{"user": "ci",
           "remotes": [{"name": "site", "token": "bench-token"}],
           "keyservers": [{"uri": KEYS["uri"], "username": "ci", "password": "bench-password"}],
           "registries": [{"uri": "docker://registry.example.org", "username": "ci", "password": "bench-password"}]}]

# What every module finds: all is in state. The keys are those of all modules of this collection and of ansible.builtin.ping together.
FOUND = [{"name": name, "uri": f"https://{host}.example.org", "insecure": False, "global": True, "default": name == "site",
          "exclusive": name == "site", "keyservers": [KEYS] if name == "site" else [], "logged_in": False}
         for name, host in (("site", "library"), ("spare", "spare"))]
GLOBAL_FILE = {"path": "/etc/apptainer/remote.yaml", "exists": True, "error": None, "mode": "0644", "owner": "root", "default": "site",
               "remotes": FOUND, "credentials": []}
RESULT = {
    "changed": False, "ping": "pong", "config_file": GLOBAL_FILE["path"], "default": "site", "remotes": FOUND, "credentials": [],
    "verified": True, "verification": [], "global": GLOBAL_FILE, "findings": [], "program": None,
    "effective": {"source": "global", "problem": None, "exclusive": "site", "default": "site", "remotes": FOUND, "credentials": []},
    "declared": True, "failures": [], "diff": [], "checked": 0, "users": [], "warnings": [],
    "parts": [{"subject": subject, "changed": False, "config_file": path}
              for subject, path in (("global", GLOBAL_FILE["path"]), ("account ci", "/home/ci/.apptainer/remote.yaml"))],
}
SUDO = '#!/bin/sh\nwhile [ "$1" != /bin/sh ]; do shift; done\nexec "$@"\n'  # becomes nobody, so that no account and no rights are needed

# Like bin/ansible-playbook, and leaves the peak memory of this process (KB), without that of its workers, in the file.
LAUNCHER = """
import resource, sys
from ansible.cli.playbook import main
file = sys.argv.pop(1)
try:
    main()
finally:
    with open(file, "w") as out:
        out.write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
"""
VERSIONS = 'import ansible.release, platform; print(f"ansible-core {ansible.release.__version__}, Python {platform.python_version()}")'


class Row(NamedTuple):
    """A run: what to play (the tasks of a play, or the name of a playbook), and its variables."""

    name: str
    play: list[dict[str, Any]] | str
    variables: Mapping[str, Any] = {}
    ours: bool = True
    """Whether it uses this collection: then it is measured for each checkout."""


ROLE = [{"ansible.builtin.import_role": {"name": "hpc.apptainer.apptainer_fleet"}}]
OFF = {"apptainer_fleet_verify": False}
EMPTY, PING = "empty play", "ansible.builtin.ping"
ROWS = [
    Row(EMPTY, [], ours=False),
    Row("ansible.builtin.debug", [{"ansible.builtin.debug": {"msg": "hello"}}], ours=False),
    Row(PING, [{"ansible.builtin.ping": None}], ours=False),
    Row("apptainer_remotes", [{"hpc.apptainer.apptainer_remotes": {"scope": "global", "remotes": REMOTES, "verify": "never"}}]),
    Row("role, without proofs", ROLE, OFF),
    Row("role", ROLE),
    Row("role, with a login", ROLE, {"apptainer_fleet_logins": LOGINS}),
    Row("rollout, without proofs", "rollout", OFF),
    Row("rollout, with a login", "rollout", {"apptainer_fleet_logins": LOGINS}),
    Row("drift", "drift"),
    Row("drift, with a login", "drift", {"apptainer_fleet_logins": LOGINS}),
]


class Cost(NamedTuple):
    """CPU time in seconds, and peak memory in MB."""

    cpu: float
    memory: float


def site(directory: Path, hosts: int) -> Path:
    """Write an inventory and what it needs into an empty directory. Returns the inventory."""
    sudo = directory / "sudo"
    sudo.write_text(SUDO)
    sudo.chmod(0o755)
    python = stubs.interpreter(directory / "python", RESULT)
    variables = {
        "ansible_connection": "local", "ansible_python_interpreter": str(python), "ansible_become_exe": str(sudo),
        "apptainer_fleet_remotes": REMOTES, "apptainer_fleet_prune": True, "apptainer_fleet_verify_from": "node1"}
    (directory / "group_vars").mkdir()
    (directory / "group_vars" / "all.json").write_text(json.dumps(variables))
    (directory / "hosts").write_text(f"node[1:{hosts}]\n")
    return directory / "hosts"


def measured(row: Row, inventory: Path, checkout: Path, core: Path) -> Cost:
    """Run it once."""
    place = inventory.parent
    if isinstance(row.play, str):
        playbook = f"hpc.apptainer.{row.play}"
    else:
        (place / "play.yml").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": row.play}]))
        playbook = str(place / "play.yml")
    env = processes.clean_env(place / "home", {
        "ANSIBLE_CONFIG": checkout / "ansible.cfg", "ANSIBLE_PIPELINING": True, "ANSIBLE_FORKS": 10})
    command = [core / "bin" / "python", "-c", LAUNCHER, place / "memory", "-i", inventory, "-e", json.dumps(dict(row.variables)), playbook]
    with (place / "output").open("w+") as output:
        process = subprocess.Popen(list(map(str, command)), cwd=place, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        _pid, status, usage = os.wait4(process.pid, 0)  # of the process and all that it has waited for
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            text = output.read()
            sys.exit(f"{row.name} ended with {process.returncode}:\n{text[:3000]}\n...\n{text[-1000:]}")
    return Cost(usage.ru_utime + usage.ru_stime, int((place / "memory").read_text()) / 1024)


def runs(rows: list[Row], checkouts: list[Path]) -> Iterator[tuple[str, Row, Path]]:
    """The name, the row and the checkout of each run of a round."""
    for row in rows:
        for checkout in checkouts if row.ours else checkouts[:1]:
            yield (f"{row.name} ({checkout})" if row.ours and len(checkouts) > 1 else row.name), row, checkout


def table(numbers: list[int], rounds: Mapping[int, list[dict[str, Cost]]]) -> Iterator[str]:
    """The lines of the table, in Markdown."""
    names = [name for name in rounds[numbers[0]][0] if name != EMPTY]
    yield "| on the controller | " + " | ".join(f"{hosts:,} hosts: ms a host | pings" for hosts in numbers) + " | MB a host |"
    yield "| --- |" + " ---: |" * (2 * len(numbers) + 1)
    for name in names:
        cells = []
        for hosts in numbers:
            beyond = [(costs[name].cpu - costs[EMPTY].cpu, costs[PING].cpu - costs[EMPTY].cpu) for costs in rounds[hosts]]
            cells += [f"{1000 * statistics.median(own for own, _ping in beyond) / hosts:.0f}",
                      f"{statistics.median(own / ping for own, ping in beyond):.2f}"]
        peaks = [statistics.median(costs[name].memory for costs in rounds[hosts]) for hosts in (numbers[0], numbers[-1])]
        cells.append(f"{(peaks[1] - peaks[0]) / (numbers[-1] - numbers[0]):.3f}" if len(numbers) > 1 else "")
        yield f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, nargs="+", default=[100, 400], help="numbers of hosts (default: 100 400)")
    parser.add_argument("--rounds", type=int, default=3, help="how often (default: 3)")
    parser.add_argument("--core", default="running", choices=[envs.OLD_CORE, "running", "newest"], help="which ansible-core (default: running)")
    parser.add_argument("--rows", nargs="+", metavar="ROW", default=[""], help="only rows whose names begin so, and what they are compared with")
    parser.add_argument("--checkout", nargs="+", type=Path, default=[envs.ROOT], metavar="DIR", help="checkouts (default: this one)")
    options = parser.parse_args()
    numbers = sorted(set(options.hosts))
    rows = [row for row in ROWS if row.name in (EMPTY, PING) or row.name.startswith(tuple(options.rows))]
    core = envs.core(options.core)
    version = subprocess.check_output([core / "bin" / "python", "-c", VERSIONS], text=True).strip()
    rounds: dict[int, list[dict[str, Cost]]] = {hosts: [] for hosts in numbers}
    checkouts = [path.resolve() for path in options.checkout]
    with tempfile.TemporaryDirectory() as scratch:
        for _name, row, checkout in runs(rows, checkouts):  # once unmeasured: all works, and everything is compiled
            measured(row, site(Path(tempfile.mkdtemp(dir=scratch)), 1), checkout, core)
        for turn in range(1, options.rounds + 1):
            for hosts in numbers:
                inventory = site(Path(tempfile.mkdtemp(dir=scratch)), hosts)
                costs = {}
                for name, row, checkout in runs(rows, checkouts):
                    costs[name] = measured(row, inventory, checkout, core)
                    print(f"round {turn}, {hosts} hosts, {name}: {costs[name].cpu:.1f} s, {costs[name].memory:.0f} MB", file=sys.stderr, flush=True)
                rounds[hosts].append(costs)
    print(f"{version}, {os.cpu_count()} cores ({platform.machine()}), forks 10, median of {options.rounds}\n")
    print("\n".join(table(numbers, rounds)))


if __name__ == "__main__":
    main()
