# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fixtures of tests with many hosts."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from support import envs, processes
from support import fleet as fleets
from support.servers import daemons

ROLE = [{"hosts": "all", "gather_facts": False, "roles": ["hpc.apptainer.apptainer_fleet"]}]


class Played(NamedTuple):
    """What a playbook did.

    `output` is all that it printed; `recap` the counts of each host, as `{"ok": 1, "changed": 0, "failures": 0, "unreachable": 0 ...}`;
    `records` what each task gave, in the order of time: `host`, `task`, `action`, `status` (ok, failed, ignored, skipped, unreachable)
    and `result`.
    """

    rc: int
    output: str
    recap: dict[str, dict[str, int]]
    records: list[dict[str, Any]]

    def results(self, action: str) -> dict[str, dict[str, Any]]:
        """What this action (`hpc.apptainer.apptainer_remotes`) gave last on each host, with its `status`."""
        return {record["host"]: {**record["result"], "status": record["status"]} for record in self.records if record["action"] == action}

    def hosts(self, count: str) -> set[str]:
        """The hosts whose count of this (`changed`, `failures`, `unreachable`) is not 0."""
        return {host for host, counts in self.recap.items() if counts[count]}


@pytest.fixture(scope="session")
def _started() -> Iterator[fleets.Fleet]:
    """One fleet for each process that runs tests: starting it takes less than sharing it would."""
    with contextlib.ExitStack() as stack:
        try:
            started = stack.enter_context(fleets.fleet())
        except (fleets.NoFleetError, daemons.MissingProgramError, envs.MissingInterpreterError) as exc:
            pytest.skip(f"no ssh hosts: {exc}")
        yield started


@pytest.fixture
def fleet(_started: fleets.Fleet) -> fleets.Fleet:
    """Sixteen ssh hosts, all new."""
    _started.reset()
    return _started


@pytest.fixture
def play(fleet: fleets.Fleet, tmp_path: Path) -> Callable[..., Played]:
    """`play(*arguments, plays=None, node=None, env=None, **variables)`: run `ansible-playbook` on the hosts, from the checkout.

    `plays` are plays or the file of a playbook, the role of the fleet if they aren't given; `node` is a `node_python`. Variables go
    through a file, as their secrets must not be in arguments. A failure is the caller's to judge.
    """
    playbook, variables_file, recorded = (tmp_path / name for name in ("play.yml", "variables.json", "recorded"))

    def run(*arguments, plays=None, node=None, env=None, **variables):
        core = node.core if node else envs.core("running")
        if isinstance(plays, Path):
            file = plays
        else:
            file = playbook
            file.write_text(yaml.safe_dump(ROLE if plays is None else plays))
        variables_file.write_text(json.dumps({**variables, **({"ansible_python_interpreter": str(node.python)} if node else {})}))
        recorded.write_text("")
        settings = {
            "ANSIBLE_CALLBACK_PLUGINS": Path(__file__).parent / "callbacks",
            "ANSIBLE_CALLBACKS_ENABLED": "recorder",
            "ANSIBLE_FORKS": 16,
            "ANSIBLE_REMOTE_TEMP": "~/.ansible/tmp",
            "RECORDED": recorded,
        }
        command = [core / "bin" / "ansible-playbook", "-i", fleet.inventory, "-e", f"@{variables_file}", *arguments, file]
        done = processes.run(*command, env=processes.clean_env(tmp_path / "home", {**settings, **(env or {})}))
        records = [json.loads(line) for line in recorded.read_text().splitlines()]
        recap = {record["host"]: record["recap"] for record in records if "recap" in record}
        return Played(done.returncode, done.stdout + done.stderr, recap, [record for record in records if "recap" not in record])

    return run
