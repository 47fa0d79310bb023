# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the measured sites declare, and one run of ansible-playbook on them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from support import envs, processes

from .measuring import Cost, cost_of

# Like bin/ansible-playbook, and leaves the peak memory (KB) and the CPU time of this process, without those of its workers, in the file.
LAUNCHER = """
import json, resource, sys
from ansible.cli.playbook import main
file = sys.argv.pop(1)
try:
    main()
finally:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    with open(file, "w") as out:
        json.dump([usage.ru_maxrss, usage.ru_utime + usage.ru_stime], out)
"""
KEYSERVERS = [{"uri": f"https://keys-{number}.example.org"} for number in range(3)]
EMPTY, PING, COPY = "empty play", "ansible.builtin.ping", "ansible.builtin.copy"


class Row(NamedTuple):
    """A run: what to play (the tasks of a play, or the name of a playbook), and its variables."""

    name: str
    play: list[dict[str, Any]] | str
    variables: Mapping[str, Any] = {}


def endpoints(number: int) -> list[dict[str, Any]]:
    """So many endpoints. The first one is exclusive and has three keyservers."""
    remotes: list[dict[str, Any]] = [{"name": f"site-{index}", "uri": f"https://library-{index}.example.org"} for index in range(number)]
    remotes[0].update(exclusive=True, keyservers=KEYSERVERS)
    return remotes


def registries(number: int) -> list[dict[str, Any]]:
    """Logins to so many registries."""
    return [{"uri": f"docker://registry-{index}.example.org", "username": "ci", "password": "bench-password"} for index in range(number)]


def role(entry: str = "main") -> list[dict[str, Any]]:
    return [{"ansible.builtin.import_role": {"name": "hpc.apptainer.apptainer_fleet", "tasks_from": entry}}]


def inventory(directory: Path, hosts: int, variables: Mapping[str, Any]) -> Path:
    """An inventory of so many hosts, with variables that all of them have, in a directory."""
    (directory / "group_vars").mkdir(exist_ok=True)
    (directory / "group_vars" / "all.json").write_text(json.dumps(variables))
    (directory / "hosts").write_text(f"node[1:{hosts}]\n")
    return directory / "hosts"


def play(row: Row, core: Path, inventory: Path, forks: int, env: Mapping[str, object] | None = None) -> Cost:
    """Run it once. All that it writes is beside the inventory."""
    place = inventory.parent
    if isinstance(row.play, str):
        playbook = f"hpc.apptainer.{row.play}"
    else:
        (place / "play.yml").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": row.play}]))
        playbook = str(place / "play.yml")
    (place / "variables.json").write_text(json.dumps(dict(row.variables)))
    given = processes.clean_env(place / "home", {
        "ANSIBLE_CONFIG": envs.ROOT / "ansible.cfg", "ANSIBLE_PIPELINING": True, "ANSIBLE_FORKS": forks, **(env or {})})
    command = [core / "bin" / "python", "-c", LAUNCHER, place / "usage", "-i", inventory, "-e", f"@{place / 'variables.json'}", playbook]
    cost = cost_of(*command, env=given, cwd=place)
    memory, main = json.loads((place / "usage").read_text())
    return cost._replace(memory=memory / 1024, main=main)
