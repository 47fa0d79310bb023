# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The compatibility matrix: every ansible-core by every Python that it manages, each cell run. As a program (`make matrix`), it writes the table.

A cell is a node: a directory of this machine with an interpreter of its own, managed over the local connection by a real ansible-playbook. All
nodes of one ansible-core are the hosts of one inventory. `matrix.yml` is what is done on each; then a file is edited by hand, and the drift run
must find it.
"""

import contextlib
import datetime
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from support import envs, generated, processes
from support.servers import certificates, daemons, library, registry

DOCUMENT = envs.ROOT / "docs" / "compatibility.md"
SCENARIO = Path(__file__).with_name("matrix.yml")
SITE = {"name": "site", "uri": "https://library.example.org", "exclusive": True, "keyservers": [{"uri": "https://keys.example.org"}]}
DRIFT = "endpoint site: exclusive is false, should be true"
UNMANAGED, ABSENT = "\u2013", "not run"


class Row(NamedTuple):
    """One Python of nodes, its libraries, and what its cell came to under each ansible-core: "" if all held, or why not; None: not managed."""

    python: str
    libraries: str
    cells: Mapping[str, str | None]


def servers_of(oci: registry.Registry, services: library.Library) -> dict[str, str]:
    """What the scenario wants to know of a registry with a password and of an endpoint, which have their certificates from the same authority."""
    user = oci.account
    return {"registry": oci.host, "username": user.username, "password": user.password, "ca": str(oci.ca), "endpoint": services.url("good")}


def outcomes(core: Path, nodes: Mapping[str, Path], servers: Mapping[str, str], place: Path) -> dict[str, str]:
    """What each node (its name and its interpreter) comes to under the ansible-core of that environment: "", or what failed, and why."""
    hosts = {name: {"ansible_python_interpreter": str(python), "apptainer_fleet_config_root": str(place / name)} for name, python in nodes.items()}
    report = place / "drift.json"
    variables = {
        "ansible_connection": "local", "apptainer_fleet_verify": False, "apptainer_fleet_prune": True, "apptainer_fleet_remotes": [SITE],
        "apptainer_fleet_report_json": str(report), "apptainer_fleet_report_html": "", "servers": dict(servers)}
    (place / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts, "vars": variables}}))
    for name in nodes:
        (place / name).mkdir()

    def play(playbook: object) -> subprocess.CompletedProcess[str]:
        return processes.run(core / "bin" / "ansible-playbook", "-i", place / "hosts.json", playbook, env=processes.clean_env(place / "home"))

    done = play(SCENARIO)
    ended = f"ansible-playbook ended with {done.returncode}: {_end(done.stdout + done.stderr)}" if done.returncode else ""
    found = {name: _said(place / name / "outcome") or ended for name in nodes}
    for name in (name for name, why in found.items() if not why):
        file = place / name / "etc" / "apptainer" / "remote.yaml"
        file.write_text(file.read_text().replace("Exclusive: true", "Exclusive: false"))
    done = play("hpc.apptainer.drift")
    reported = json.loads(report.read_text()) if report.exists() else {"hosts": [], "groups": []}
    states = {host["name"]: host["state"] for host in reported["hosts"]}
    edited = [group["title"] for group in reported["groups"] if DRIFT in group["title"]]
    for name in (name for name, why in found.items() if not why):
        if states.get(name) != "drifted" or not edited:
            found[name] = f"Look for drift: the host is {states.get(name, 'not in the report')}: {_end(done.stdout + done.stderr)}"
    return found


def _said(outcome: Path) -> str:
    """The task that failed on a node, and the end of why."""
    task, _newline, why = outcome.read_text().partition("\n") if outcome.exists() else ("", "", "")
    return f"{task}: {_end(why)}" if task else ""


def _end(text: str) -> str:
    """The last lines that say something, on one line."""
    return " ".join(" ".join(line for line in text.splitlines()[-12:] if line.strip()).split())[-600:]


def table(cores: Mapping[str, str], rows: list[Row], date: datetime.date) -> str:
    """The part of the document that is made. `cores` are the versions of each ansible-core and of the Python that ran it, as they are shown."""
    reasons: list[str] = []

    def cell(outcome: str | None) -> str:
        if not outcome or outcome == ABSENT:
            return UNMANAGED if outcome is None else outcome or "ok"
        if outcome not in reasons:
            reasons.append(outcome)
        return f"failed ({reasons.index(outcome) + 1})"

    heads = ["Python", "with", *cores.values()]
    made = generated.table(heads, *([row.python, row.libraries, *(cell(row.cells[core]) for core in cores)] for row in rows))
    notes = [f"{number}. {reason}" for number, reason in enumerate(reasons, 1)]
    return "\n".join([f"Run on {date.isoformat()}.", "", made, *([""] if notes else []), *notes, ""])


@contextlib.contextmanager
def _servers() -> Iterator[dict[str, str]]:
    with certificates.certificates() as made, registry.basic(made) as oci, library.library(made) as services:
        yield servers_of(oci, services)


def _versions(python: Path) -> tuple[str, dict[str, str]]:
    """The version of an interpreter, and those of what is installed for it."""
    listed = subprocess.check_output([python, "-m", "pip", "--disable-pip-version-check", "list", "--format=json"], text=True, stderr=subprocess.DEVNULL)
    version = subprocess.check_output([python, "-c", "import platform; print(platform.python_version())"], text=True).strip()
    return version, {package["name"]: package["version"] for package in json.loads(listed)}


def _row(minor: int, newest: bool, python: Path | None) -> Row:
    """A row without cells."""
    system = "newest libraries" if newest else envs.SYSTEMS[minor][0]
    if python is None:
        return Row(f"3.{minor}", system, {})
    version, installed = _versions(python)
    return Row(version, f"{system}: " + ", ".join(f"{name} {installed[name]}" for name in envs.NODE_VERIFY), {})


def main() -> int:
    """Run all cells, and write the table."""
    made = {kind: envs.core(kind) for kind in envs.cores()}
    managed = {kind: envs.managed_minors(core)[1] for kind, core in made.items()}
    minors = range(envs.OLD_NODE_MINOR, max(set().union(*managed.values())) + 1)
    kinds = [(minor, newest) for minor in minors for newest in (False, True) if newest or minor in envs.SYSTEMS]
    nodes = {kind: envs.system_node(*kind) for kind in kinds}
    cells: dict[tuple[int, bool], dict[str, Any]] = {kind: {} for kind in kinds}
    with _servers() as servers:
        for core, environment in made.items():
            names = {f"python3-{minor}-{'newest' if newest else 'system'}": (minor, newest) for minor, newest in kinds if minor in managed[core]}
            here = {name: python for name, kind in names.items() if (python := nodes[kind])}
            with tempfile.TemporaryDirectory() as place:
                found = outcomes(environment, here, servers, Path(place))
            for name, kind in names.items():
                cells[kind][core] = found.get(name, ABSENT)
            failed = [f"    {name}: {why}" for name, why in found.items() if why]
            print(f"ansible-core {core}: {len(found)} nodes, {len(failed)} failed", *failed, sep="\n", flush=True)
    rows = [_row(*kind, nodes[kind])._replace(cells={core: cells[kind].get(core) for core in made}) for kind in kinds]
    heads = {kind: core_and_python(core) for kind, core in made.items()}
    shown = table(heads, rows, datetime.datetime.now(datetime.UTC).date())
    DOCUMENT.write_text(generated.renewed(DOCUMENT, "matrix", shown))
    return 1 if any(why and why != ABSENT for row in rows for why in row.cells.values()) else 0


def core_and_python(core: Path) -> str:
    """The head of a column: the versions of an ansible-core and of the Python that runs it."""
    python, installed = _versions(core / "bin" / "python")
    return f"{installed['ansible-core']} on {python}"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (daemons.MissingProgramError, envs.MissingInterpreterError, RuntimeError) as exc:
        sys.exit(f"make matrix: {exc}")
