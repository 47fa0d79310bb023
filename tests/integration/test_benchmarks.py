# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The benchmarks still run, with the smallest sizes, and their figures are what they say. What they measure is not judged."""

import json
import sys
from pathlib import Path

import pytest
from support import envs, processes

from benchmarks import controller, modules, plays, reporting
from benchmarks.measuring import Cost, Options, beyond, cost_of, ratio, table
from benchmarks.site import COPY, EMPTY, PING, inventory, play

OPTIONS = Options(rounds=1, hosts=[1], forks=[1], sizes=[1], core=envs.core("running"), node=Path(sys.executable))
SPIN = "import time\nwhile time.process_time() < {}: pass"


class Served:
    """A server that no play of these tests asks."""

    ca = "/nonexistent"

    def uri(self, scenario):
        return f"{scenario}.example.org"


def test_figures_are_of_each_round():
    costs = {EMPTY: [Cost(1.0, 9, 9), Cost(2.0, 9, 9), Cost(1.0, 9, 9)],
             PING: [Cost(2.0, 9, 9), Cost(4.0, 9, 9), Cost(1.5, 9, 9)],
             "role": [Cost(3.0, 9, 9), Cost(4.0, 9, 9, nodes=1.0), Cost(9.0, 9, 9)]}
    assert ratio(costs, "role", PING, EMPTY) == 2.0
    assert ratio(costs, "role", EMPTY) == 3.0
    assert beyond(costs, "role", EMPTY) == 3.0


def test_a_command_costs_what_its_processes_use(tmp_path):
    code = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {SPIN.format(0.2)!r}])"
    cost = cost_of(sys.executable, "-c", code, env=processes.clean_env(tmp_path), cwd=tmp_path)
    assert cost.cpu >= 0.2
    assert cost.memory > 1
    with pytest.raises(SystemExit, match="ended with 3"):
        cost_of(sys.executable, "-c", "raise SystemExit(3)", env=processes.clean_env(tmp_path), cwd=tmp_path)


def test_tables_are_markdown():
    assert list(table("Title", ["name", "ms"], [["a", 1]])) == ["### Title", "", "| name | ms |", "| --- | ---: |", "| a | 1 |", ""]


def test_modules_run_as_they_are_sent(tmp_path):
    tasks = {name: task for name, task in modules.tasks_of(tmp_path).items() if name in (PING, modules.ROLE)}
    cases, payloads = modules.cases_of(tasks, OPTIONS, tmp_path)
    for case in cases.values():
        assert case().cpu > 0
    assert (tmp_path / "apptainer" / "remote.yaml").read_text().count("URI") > 10
    assert modules.sent(payloads[PING])[1:] == (0, 0, 0)
    whole, files, packed, plain = modules.sent(payloads[modules.ROLE])
    assert whole > packed
    assert plain > packed > files > 1
    times = modules.import_times(payloads[modules.ROLE], OPTIONS)
    assert times["this collection"] >= times["- module_utils._module.fleet"] > 0
    assert "this collection" not in modules.import_times(payloads[PING], OPTIONS)


def test_files_are_put_back_before_each_run(tmp_path):
    cases = modules.scaled(2, OPTIONS, tmp_path)
    (written,) = tmp_path.glob("*/written")
    for kind in ("changes one", "no change"):
        cases[f"2 endpoints, {kind}"]()
        assert ("changed.example.org" in written.with_name("remote.yaml").read_text()) == (kind == "changes one")


def test_plays_on_real_nodes(tmp_path):
    (tmp_path / "node1" / "root").mkdir(parents=True)
    place = f"{tmp_path}/{{{{ inventory_hostname }}}}"
    file = inventory(tmp_path, 1, {**plays.variables(place), "ansible_connection": "local", "ansible_python_interpreter": sys.executable})
    rows = {row.name: row for row in plays.rows(place, Served(), plays.source_in(tmp_path))}
    assert {EMPTY, PING, COPY, plays.ONE_CALL, plays.LOGIN_LOOP, "role", "drift", "show", "health"} <= set(rows)
    play(rows["ansible.builtin.template"], OPTIONS.core, file, 1)
    assert "library-9.example.org" in (tmp_path / "node1" / "templated").read_text()


@pytest.mark.parametrize("name", ["rollout, with a login", "drift, with a login", "show"])
def test_controller_takes_the_canned_results(tmp_path, name):
    file = controller.site(tmp_path, 2)
    cost = controller.cases([row for row in controller.ROWS if row.name == name], file, OPTIONS)[name]()
    assert 0 < cost.main < cost.cpu


def test_report_of_each_kind_of_host(tmp_path, capsys):
    reporting.make(100, tmp_path / "page.html")
    figures = json.loads(capsys.readouterr().out)
    assert len(figures) == len(reporting.FIGURES)
    assert all(figure > 0 for figure in figures)
    assert {reporting.outcome(number).state for number in range(100)} == {"drifted", "unreachable", "failed", "in_state"}
    assert "node00093.example.org" in (tmp_path / "page.html").read_text()
