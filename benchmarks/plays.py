# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whole plays, controller and nodes together, with what a user would write instead: over the local connection, and on ssh hosts."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from support.fleet import Fleet, NoFleetError, fleet
from support.servers.certificates import certificates
from support.servers.daemons import MissingProgramError
from support.servers.library import Library, library

from .measuring import Case, Cost, Options, beyond, interleaved, median, ratio, table
from .site import COPY, EMPTY, PING, Row, endpoints, inventory, play, registries, role

LOCAL_HOSTS, SSH_HOSTS = 8, 16
LOOP = {"loop": "{{ range(10) | list }}"}
ONE_CALL, LOGIN_LOOP = "apptainer_logins (5 registries)", "loop of 5 apptainer_registry_login"
TEMPLATE = "{{ apptainer_fleet_remotes | to_nice_yaml }}"  # what a user would write instead


def rows(place: str, served: Library, source: Path) -> Iterator[Row]:
    """What is compared. On the hosts, all of it is below `place`."""
    remotes = {"scope": "global", "config_file": f"{place}/module.yaml", "verify": "never"}
    login = {"config_file": f"{place}/user.yaml", "auth_file": f"{place}/docker-config.json", "verify": "never"}
    live = [{"name": "site", "uri": f"https://{served.uri('good')}", "exclusive": True}]
    proven = {"apptainer_fleet_remotes": live, "apptainer_fleet_ca_path": str(served.ca), "apptainer_fleet_verify": True,
              "apptainer_fleet_config_root": f"{place}/proven"}
    no_files = {f"apptainer_fleet_{kind}": "" for kind in ("report_json", "report_html", "health_json", "health_html")}
    yield Row(EMPTY, [])
    yield Row(PING, [{PING: None}])
    yield Row(COPY, [{COPY: {"src": str(source), "dest": f"{place}/copied", "mode": "0644"}}])
    yield Row("ansible.builtin.template", [{"ansible.builtin.template": {"src": str(source), "dest": f"{place}/templated", "mode": "0644"}}])
    yield Row("loop of 10 commands", [{"ansible.builtin.command": "true", **LOOP}])
    yield Row("loop of 10 apptainer_remote", [{"hpc.apptainer.apptainer_remote": {
        **remotes, "name": "site-{{ item }}", "uri": "https://library-{{ item }}.example.org", "config_file": f"{place}/looped.yaml"}, **LOOP}])
    yield Row("apptainer_remotes", [{"hpc.apptainer.apptainer_remotes": {**remotes, "remotes": endpoints(10)}}])
    yield Row(LOGIN_LOOP, [{"hpc.apptainer.apptainer_registry_login": {
        **login, **registries(1)[0], "uri": "docker://registry-{{ item }}.example.org"}, "loop": "{{ range(5) | list }}"}])
    yield Row(ONE_CALL, [{"hpc.apptainer.apptainer_logins": {**login, "registries": registries(5)}}])
    yield Row("role", role())
    yield Row("rollout, nothing verified", "rollout", no_files)
    yield Row("rollout", "rollout", {**no_files, **proven})
    yield Row("drift", "drift", no_files)
    yield Row("show", "show", no_files)
    yield Row("health", "health", {**no_files, **proven})


def variables(place: str) -> dict[str, Any]:
    """What all hosts have."""
    return {"apptainer_fleet_remotes": endpoints(10), "apptainer_fleet_prune": True, "apptainer_fleet_verify": False,
            "apptainer_fleet_config_root": f"{place}/root", "apptainer_fleet_batches": ["100%"]}


def compared(title: str, hosts: int, cases: Mapping[str, Case], rounds: int) -> Iterator[str]:
    """The table of these plays on so many hosts."""
    costs = interleaved(title, cases, rounds)
    yield from table(title, [f"beyond an empty play, per host of {hosts}", "CPU ms", "pings", "copies", "wall ms, whole play", "of the CPU, on nodes"], (
        [name, f"{1000 * beyond(costs, name, EMPTY) / hosts:.0f}", f"{ratio(costs, name, PING, EMPTY):.2f}", f"{ratio(costs, name, COPY, EMPTY):.2f}",
         f"{1000 * median(cost.wall for cost in own):.0f}", f"{100 * median(cost.nodes / cost.total for cost in own):.0f} %"]
        for name, own in costs.items() if name != EMPTY))
    yield f"Five logins: a loop costs {ratio(costs, LOGIN_LOOP, ONE_CALL, EMPTY):.1f} x one call.\n"


@contextlib.contextmanager
def started() -> Iterator[tuple[Path, Library]]:
    """A directory, and a server of endpoints."""
    with certificates() as made, library(made) as served, tempfile.TemporaryDirectory() as directory:
        yield Path(directory), served


def source_in(scratch: Path) -> Path:
    (scratch / "source").write_text(TEMPLATE)
    return scratch / "source"


def measure_local(options: Options) -> Iterator[str]:
    try:
        with started() as (scratch, served):
            yield from _local(options, scratch, served, min(LOCAL_HOSTS, *options.hosts))
    except MissingProgramError as exc:
        yield f"Not measured: {exc}\n"


def _local(options: Options, scratch: Path, served: Library, hosts: int) -> Iterator[str]:
    site = scratch / "site"
    site.mkdir()
    place = f"{site}/{{{{ inventory_hostname }}}}"
    for number in range(1, hosts + 1):
        for name in ("root", "proven"):
            (site / f"node{number}" / name).mkdir(parents=True)
    file = inventory(site, hosts, {**variables(place), "ansible_connection": "local", "ansible_python_interpreter": str(options.node)})
    cases = {row.name: functools.partial(play, row, options.core, file, SSH_HOSTS) for row in rows(place, served, source_in(scratch))}
    yield from compared("Local connection", hosts, cases, options.rounds)


def measure_ssh(options: Options) -> Iterator[str]:
    try:
        with started() as (scratch, served), fleet(min(SSH_HOSTS, *options.hosts), [options.node]) as hosts:
            for host in hosts.hosts:
                host.run("mkdir -p /srv/bench/root /srv/bench/proven")
            inventory(scratch, 0, variables("/srv/bench"))
            file = scratch / "inventory.json"
            file.write_text(hosts.inventory.read_text())
            cases = {row.name: functools.partial(_with_nodes, hosts, functools.partial(play, row, options.core, file, SSH_HOSTS))
                     for row in rows("/srv/bench", served, source_in(scratch))}
            yield from compared("ssh hosts", len(hosts.hosts), cases, options.rounds)
    except (NoFleetError, MissingProgramError) as exc:
        yield f"Not measured: {exc}\n"


def _with_nodes(hosts: Fleet, case: Callable[[], Cost]) -> Cost:
    """The cost of a run, with what the processes of the hosts took meanwhile."""
    before = hosts.cpu_time()
    cost = case()
    return cost._replace(nodes=hosts.cpu_time() - before)
