# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller alone: the nodes cost nothing, because their Python is a shell script that prints a finished result.

"Main" is the CPU time of the one process that hands out tasks and takes in results: it bounds what more cores and more forks can do. "MB a host" is
how much the peak memory of that process grows from the smallest number of hosts to the largest, for each host.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from support import stubs

from .measuring import Case, Costs, Options, beyond, interleaved, median, ratio, table
from .site import EMPTY, KEYSERVERS, PING, Row, endpoints, inventory, play, registries, role

FORKS = 10
SUDO = '#!/bin/sh\nwhile [ "$1" != /bin/sh ]; do shift; done\nexec "$@"\n'  # becomes nobody, so that no account and no rights are needed
LOGINS = [{"user": "ci", "remotes": [{"name": "site-0", "token": "bench-token"}],
           "keyservers": [{**KEYSERVERS[0], "username": "ci", "password": "bench-password"}], "registries": registries(1)}]
FILE = "/etc/apptainer/remote.yaml"
FINDING = {"id": "stale-copy", "severity": "warning", "remote": "old", "message": "endpoint old is a copy that Apptainer does not update"}
OFF, LOGIN = {"apptainer_fleet_verify": False}, {"apptainer_fleet_logins": LOGINS}
TASK = {"hpc.apptainer.apptainer_remotes": {"scope": "global", "remotes": "{{ apptainer_fleet_remotes }}", "verify": "never"}}
ROWS = [
    Row(EMPTY, []),
    Row("ansible.builtin.debug", [{"ansible.builtin.debug": {"msg": "hello"}}]),
    Row(PING, [{PING: None}]),
    Row("apptainer_remotes", [TASK]),
    Row("role", role()),
    Row("role, with a login", role(), LOGIN),
    Row("rollout, nothing verified", "rollout", OFF),
    Row("rollout, with a login", "rollout", LOGIN),
    Row("drift", "drift", OFF),
    Row("drift, with a login", "drift", {**OFF, **LOGIN}),
    Row("show", "show"),
]
FIRST = [row for row in ROWS if row.name in (EMPTY, PING)]
FLEET = [row for row in ROWS if row.name in ("role", "rollout, with a login", "drift", "show")]


def result(number: int = 3, users: int = 0) -> dict[str, Any]:
    """What every module finds: all is in state, and a finding in the files of each user. It has the keys of all modules together."""
    found = [{"name": remote["name"], "uri": remote["uri"], "insecure": False, "global": True, "default": not index, "exclusive": not index,
              "keyservers": [{**item, "order": order, "insecure": False} for order, item in enumerate(remote.get("keyservers", ()))],
              "logged_in": False} for index, remote in enumerate(endpoints(number))]
    lines = [f"{remote['name']:<12} {remote['uri']:<40} yes" for remote in found]
    return {
        "changed": False, "ping": "pong", "config_file": FILE, "default": "site-0", "remotes": found, "verified": True, "verification": [],
        "declared": True, "failures": [], "diff": [], "checked": users, "warnings": [],
        "users": [{"user": f"user{index}", "home": f"/home/user{index}", "error": None,
                   "findings": [{**FINDING, "path": f"/home/user{index}/.apptainer/remote.yaml"}]} for index in range(users)],
        "parts": [{"subject": "global", "changed": False, "config_file": FILE}],
        "inspected": {"path": FILE, "source": "global", "table": ["NAME URI GLOBAL", *lines], "findings": [], "undeclared": [], "accounts": [],
                      "declared": [{"name": remote["name"], "uri": remote["uri"]} for remote in found]},
    }


def site(scratch: Path, hosts: int, number: int = 3, users: int = 0) -> Path:
    """The inventory of so many hosts with so many endpoints, on the first of which so many users have a finding."""
    directory = Path(tempfile.mkdtemp(dir=scratch))
    sudo = directory / "sudo"
    sudo.write_text(SUDO)
    sudo.chmod(0o755)
    given = result(number)
    inspected = given.pop("inspected")
    for name, answer in (("python", given), ("inspecting", {**given, "inspected": inspected}), ("auditing", result(number, users))):
        stubs.interpreter(directory / name, answer)
    variables = {
        "ansible_connection": "local", "ansible_python_interpreter": str(directory / "python"), "ansible_become_exe": str(sudo),
        "apptainer_fleet_remotes": endpoints(number), "apptainer_fleet_prune": True, "apptainer_fleet_verify_from": "node1"}
    return inventory(directory, hosts, variables)


def cases(rows: list[Row], file: Path, options: Options, forks: int = FORKS) -> dict[str, Case]:
    """These plays on these hosts."""
    found = {}
    for row in rows:
        stub = file.with_name("inspecting" if row.name == "show" else "python")
        variables = {"ansible_python_interpreter": str(stub), **row.variables}
        found[row.name] = functools.partial(play, row._replace(variables=variables), options.core, file, forks)
    return found


def cells(costs: Costs, name: str, hosts: int) -> list[str]:
    """The cells of one row for one number of hosts."""
    main = median(own.main - less.main for own, less in zip(costs[name], costs[EMPTY], strict=True))
    return [f"{1000 * beyond(costs, name, EMPTY) / hosts:.0f}", f"{ratio(costs, name, PING, EMPTY):.2f}", f"{1000 * main / hosts:.1f}"]


def measure(options: Options) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        for case in cases(ROWS, site(scratch, 1), options).values():  # all works, and everything is compiled
            case()
        yield from _by_hosts(options, scratch)
        yield from _by_forks(options, scratch)
        for what, rows in (("endpoints", FLEET), ("users", [_audit()])):
            yield from _by_size(what, rows, options, scratch)


def _by_hosts(options: Options, scratch: Path) -> Iterator[str]:
    costs = {hosts: interleaved(f"{hosts:,} hosts", cases(ROWS, site(scratch, hosts), options), options.rounds, warm=False) for hosts in options.hosts}
    first, last = options.hosts[0], options.hosts[-1]
    rows = []
    for name in (row.name for row in ROWS if row.name != EMPTY):
        memory = [median(cost.memory for cost in costs[hosts][name]) for hosts in (first, last)]
        growth = f"{(memory[1] - memory[0]) / (last - first):.3f}" if last > first else ""
        rows.append([name, *(cell for hosts in options.hosts for cell in cells(costs[hosts], name, hosts)), growth])
    columns = [f"{hosts:,} hosts: {column}" for hosts in options.hosts for column in ("ms a host", "pings", "main, ms")]
    yield from table(f"By the number of hosts, forks {FORKS}", ["CPU beyond an empty play", *columns, "MB a host"], rows)


def _by_forks(options: Options, scratch: Path) -> Iterator[str]:
    hosts = min(400, options.hosts[-1])
    file = site(scratch, hosts)
    rows = []
    for forks in options.forks:
        costs = interleaved(f"forks {forks}", cases(FIRST + FLEET, file, options, forks), 1, warm=False)
        rows += [[f"{forks}: {row.name}", *cells(costs, row.name, hosts), f"{median(cost.wall for cost in costs[row.name]):.1f}"]
                 for row in FIRST + FLEET if row.name != EMPTY]
    yield from table(f"By forks, {hosts} hosts, one round", ["forks: play", "ms a host", "pings", "main, ms", "wall s"], rows)


def _audit() -> Row:
    return Row("drift", "drift", {**OFF, "apptainer_fleet_audit_users": True, "apptainer_fleet_user_host": "node1"})


def _by_size(what: str, rows: list[Row], options: Options, scratch: Path) -> Iterator[str]:
    """Ten hosts with more and more endpoints, or with more and more users with a finding on one of them."""
    hosts = min(10, options.hosts[0])
    cells: list[list[str]] = []
    for number in options.sizes:
        file = site(scratch, hosts, number if what == "endpoints" else 3, number if what == "users" else 0)
        if what == "users":
            (file.parent / "host_vars").mkdir()
            (file.parent / "host_vars" / "node1.json").write_text(f'{{"ansible_python_interpreter": "{file.with_name("auditing")}"}}')
        plays = {row.name: functools.partial(play, row, options.core, file, FORKS) for row in [ROWS[0], *rows]} if what == "users" else cases(
            [ROWS[0], *rows], file, options)
        costs: Mapping[str, Any] = interleaved(f"{number:,} {what}", plays, options.rounds, warm=False)
        cells.append([f"{number:,}", *(cell for row in rows for cell in (
            f"{beyond(costs, row.name, EMPTY):.2f}", f"{median(cost.memory for cost in costs[row.name]):.0f}"))])
    columns = [f"{row.name}: {column}" for row in rows for column in ("CPU s", "MB")]
    yield from table(f"By the number of {what}, {hosts} hosts", [what, *columns], cells)
