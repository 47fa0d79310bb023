# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The process of a module on a node: the very bytes that Ansible sends, run by the node's Python as Ansible runs them."""

from __future__ import annotations

import base64
import collections
import functools
import getpass
import io
import itertools
import re
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from support import processes

from .measuring import Case, Cost, Options, cost_of, interleaved, median, ratio, table
from .site import PING, Row, endpoints, inventory, play, registries

# What any module that reads this file must do: be a module, and load it.
FLOOR = """
from ansible.module_utils.basic import AnsibleModule
import yaml
module = AnsibleModule({"config_file": {"type": "path"}}, supports_check_mode=True)
with open(module.params["config_file"], "rb") as file:
    yaml.load(file, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
module.exit_json(changed=False)
"""
CATCHER = "#!/bin/sh\ncat > {file}\necho '{{\"changed\": false, \"parts\": [], \"failures\": []}}'\n"
# Python compiles what it imports from the archive on each run, as it cannot keep the result.
COMPILER = """
import zipfile
archive = zipfile.ZipFile({path!r})
for name in archive.namelist():
    compile(archive.read(name), name, "exec")
"""
PYTHON, MINIMUM, COMPILED = "python -c pass", "module that only loads the file", "only compiling the own files of apptainer_remotes"
LIST, ROLE = "apptainer_remotes, no change", "apptainer_fleet (the role), no change"
ARCHIVE = re.compile(rb"""['"]([A-Za-z0-9+/=\n]{1000,})['"]""")
IMPORTED = re.compile(r"import time: +(\d+) \| +\d+ \| +(\S+)")
GROUPS = (("ansible_collections.", "this collection"), ("ansible", "ansible"), ("yaml", "PyYAML"), ("", "Python's own"))


class Task(NamedTuple):
    """A module with its options, and the files that are put in place before each run: copies of others, or None for none there."""

    action: str
    options: Mapping[str, Any]
    found: Mapping[Path, Path | None] = {}


def payload(task: Task, options: Options, place: Path) -> Path:
    """The file with what Ansible sends to a node. It is caught by an interpreter that only keeps it."""
    place.mkdir()
    sent, catcher, library = place / "payload", place / "catcher", place / "library"
    catcher.write_text(CATCHER.format(file=sent))
    catcher.chmod(0o755)
    library.mkdir()
    (library / "floor.py").write_text(FLOOR)
    hosts = inventory(place, 1, {"ansible_connection": "local", "ansible_python_interpreter": str(catcher)})
    if task.action == "apptainer_fleet":  # its options are the role's variables
        row = Row("", [{"hpc.apptainer.apptainer_fleet": None}], task.options)
    else:
        name = task.action if "." in task.action or task.action == "floor" else f"hpc.apptainer.{task.action}"
        row = Row("", [{name: dict(task.options)}])
    play(row, options.core, hosts, 1, {"ANSIBLE_LIBRARY": library})
    return sent


def run(sent: Path, task: Task, options: Options, *flags: str) -> Cost:
    """Run the module once."""
    for path, copied in task.found.items():
        path.unlink(missing_ok=True)
        if copied:
            shutil.copyfile(copied, path)
    return cost_of(options.node, *flags, env=processes.clean_env(sent.parent / "home"), cwd=sent.parent, stdin=sent)


def cases_of(tasks: Mapping[str, Task], options: Options, scratch: Path) -> tuple[dict[str, Case], dict[str, Path]]:
    """What runs each of them, and its payload."""
    payloads = {name: payload(task, options, Path(tempfile.mkdtemp(dir=scratch)) / "p") for name, task in tasks.items()}
    return {name: functools.partial(run, payloads[name], task, options) for name, task in tasks.items()}, payloads


def global_file(scratch: Path, number: int) -> tuple[Task, Task]:
    """A file of so many endpoints: the whole list declared, and the same with one of them changed."""
    path = Path(tempfile.mkdtemp(dir=scratch)) / "remote.yaml"
    remotes = endpoints(number)
    task = Task("apptainer_remotes", {"scope": "global", "config_file": str(path), "remotes": remotes, "prune": True, "verify": "never"})
    changed = [*remotes[:-1], {**remotes[-1], "uri": "https://changed.example.org"}]
    return task, task._replace(options={**task.options, "remotes": changed})


def tasks_of(scratch: Path) -> dict[str, Task]:
    """What is compared with ping, all of it with ten endpoints."""
    same, _changed = global_file(scratch, 10)
    path = Path(same.options["config_file"])
    first = {name: same.options[name] for name in ("scope", "config_file", "verify")}
    user, auth = scratch / "user.yaml", scratch / "docker-config.json"
    logins = {"config_file": str(user), "auth_file": str(auth), "registries": registries(5)}
    account = {"apptainer_fleet_logins": [{**logins, "user": getpass.getuser()}]}
    role = {"apptainer_fleet_remotes": same.options["remotes"], "apptainer_fleet_prune": True, "apptainer_fleet_check": True,
            "apptainer_fleet_sysconfdir": str(scratch)}
    (scratch / "apptainer").mkdir()
    return {
        PING: Task(PING, {}),
        LIST: same,
        "apptainer_remotes, writes all": same._replace(found={path: None}),
        MINIMUM: Task("floor", {"config_file": str(path)}),
        "apptainer_remote, no change": Task("apptainer_remote", {**first, "name": "site-1", "uri": "https://library-1.example.org"}),
        "apptainer_logins (5 registries), no change": Task("apptainer_logins", {**logins, "verify": "never"}),
        "apptainer_logins (5 registries), writes all": Task("apptainer_logins", {**logins, "verify": "never"}, {user: None, auth: None}),
        ROLE: Task("apptainer_fleet", role),
        "apptainer_fleet with an account's logins, no change": Task("apptainer_fleet", {**role, **account}),
    }


def scaled(number: int, options: Options, scratch: Path) -> dict[str, Case]:
    """The runs with so many endpoints: nothing to do, one to change, and all to write."""
    same, changed = global_file(scratch, number)
    path = Path(same.options["config_file"])
    _cases, payloads = cases_of({"same": same, "changed": changed}, options, scratch)
    run(payloads["same"], same, options)
    written = shutil.copyfile(path, path.with_name("written"))
    kinds = {"no change": ("same", written), "changes one": ("changed", written), "writes all": ("same", None)}
    return {f"{number:,} endpoints, {kind}": functools.partial(run, payloads[name], same._replace(found={path: found}), options)
            for kind, (name, found) in kinds.items()}


def archive_in(path: Path) -> tuple[zipfile.ZipFile, list[zipfile.ZipInfo]]:
    """The archive in a payload, and which files in it are this collection's."""
    archive = zipfile.ZipFile(io.BytesIO(base64.b64decode(max(ARCHIVE.findall(path.read_bytes()), key=len))))
    return archive, [item for item in archive.infolist() if "/hpc/apptainer/" in item.filename]


def sent(path: Path) -> tuple[int, int, int, int]:
    """Of a payload: its bytes, and the number, the compressed and the plain bytes of the files that are this collection's."""
    ours = archive_in(path)[1]
    return path.stat().st_size, len(ours), sum(item.compress_size for item in ours), sum(item.file_size for item in ours)


def without_module(path: Path, scratch: Path) -> dict[str, Path]:
    """Scripts that do only a part of what a module does."""
    place = Path(tempfile.mkdtemp(dir=scratch))
    archive, ours = archive_in(path)
    with zipfile.ZipFile(place / "ours.zip", "w", zipfile.ZIP_DEFLATED) as copied:
        for item in ours:
            copied.writestr(item.filename, archive.read(item))
    (place / "nothing").write_text("pass\n")
    (place / "compiler").write_text(COMPILER.format(path=str(place / "ours.zip")))
    return {PYTHON: place / "nothing", COMPILED: place / "compiler"}


def import_times(sent: Path, options: Options) -> dict[str, float]:
    """The time of the imports themselves, in ms, by who wrote them, and of the slowest of this collection's files."""
    env = processes.clean_env(sent.parent / "home")
    with sent.open("rb") as given:
        done = subprocess.run([options.node, "-X", "importtime"], stdin=given, env=env, cwd=sent.parent, capture_output=True, text=True, check=True)
    found: dict[str, float] = collections.Counter()
    for line in done.stderr.splitlines():
        if match := IMPORTED.match(line):
            group = next(group for prefix, group in GROUPS if match[2].startswith(prefix))
            found[group] += int(match[1]) / 1000
            if group == "this collection":
                found[f"- {match[2].partition('.plugins.')[2]}"] += int(match[1]) / 1000
    return found


def measure(options: Options) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        tasks = tasks_of(scratch)
        cases, payloads = cases_of(tasks, options, scratch)
        cases |= {name: functools.partial(run, script, Task("", {}), options) for name, script in without_module(payloads[LIST], scratch).items()}
        costs = interleaved("modules", cases, 3 * options.rounds)
        yield from table("The process of a module", ["10 endpoints, 3 keyservers", "CPU ms", "pings", "wall ms", "peak MB"], (
            [name, f"{1000 * median(cost.cpu for cost in own):.0f}", f"{ratio(costs, name, PING):.2f}",
             f"{1000 * median(cost.wall for cost in own):.0f}", f"{median(cost.memory for cost in own):.0f}"] for name, own in costs.items()))
        names = [name for name in tasks if "writes" not in name]
        sizes = {name: sent(payloads[name]) for name in names}
        yield from table("What is sent", ["module", "bytes", "pings", "own files", "own bytes", "compressed"], (
            [name, f"{whole:,}", f"{whole / sizes[PING][0]:.2f}", files, f"{plain:,}", f"{packed:,}"]
            for name, (whole, files, packed, plain) in sizes.items()))
        yield from _imports({name: payloads[name] for name in (PING, MINIMUM, LIST, ROLE)}, options)
        yield from _growth(options, scratch)


def _imports(payloads: Mapping[str, Path], options: Options) -> Iterator[str]:
    times: dict[str, list[dict[str, float]]] = {name: [] for name in payloads}
    for _turn, (name, sent) in itertools.product(range(3 * options.rounds), payloads.items()):
        times[name].append(import_times(sent, options))
    least = {name: {key: min(one[key] for one in own if key in one) for key in own[0]} for name, own in times.items()}
    groups = [group for _prefix, group in GROUPS]
    slowest = sorted({key for own in least.values() for key in own if key not in groups}, key=lambda key: -max(own.get(key, 0) for own in least.values()))
    yield from table(f"Imports (-X importtime, compiling included; wall ms, the least of {3 * options.rounds})", ["of", *payloads], (
        [key, *(f"{own[key]:.1f}" if key in own else "" for own in least.values())] for key in [*groups, *slowest[:20]]))


def _growth(options: Options, scratch: Path) -> Iterator[str]:
    numbers = options.sizes
    cases = {name: case for number in numbers for name, case in scaled(number, options, scratch).items()}
    costs = interleaved("endpoints", cases, options.rounds)
    kinds = ("no change", "changes one", "writes all")
    columns = [f"{kind}: {what}" for kind in kinds for what in ("CPU ms", "MB")]
    rows = []
    for number in numbers:
        own = [costs[f"{number:,} endpoints, {kind}"] for kind in kinds]
        rows.append([f"{number:,}", *itertools.chain.from_iterable(
            (f"{1000 * median(cost.cpu for cost in one):,.0f}", f"{median(cost.memory for cost in one):.0f}") for one in own)])
    yield from table("By the number of endpoints in the file", ["endpoints", *columns], rows)
