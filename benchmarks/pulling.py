# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One node that pulls, as docs/docsite/rst/guide_pull.rst has it: what it costs the git server, and the node."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from support import envs, processes

from .measuring import Cost, Options, cost_of, median, table
from .site import endpoints, role

# Instead of ssh: runs on this machine what git asks the server for, and keeps what that took.
SERVER = """#!{python}
import json, resource, subprocess, sys
status = subprocess.call(sys.argv[-1], shell=True)
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
with open({log!r}, "a") as log:
    print(json.dumps(usage.ru_utime + usage.ru_stime), file=log)
sys.exit(status)
"""
KINDS = ("first pull", "nothing new", "one new commit")


class Pulled(NamedTuple):
    """What a pull took on the node, and the CPU time of each connection on the server."""

    cost: Cost
    connections: list[float]


def committed(site: Path, env: dict[str, str], number: int) -> None:
    """Commit a change to what is declared."""
    variables = {"apptainer_fleet_remotes": endpoints(10 + number), "apptainer_fleet_verify": False, "ansible_connection": "local"}
    (site / "inventory" / "group_vars" / "all.json").write_text(json.dumps(variables))
    for command in (["add", "--all"], ["-c", "user.name=site", "-c", "user.email=site@example.org", "commit", "--quiet", "--message", str(number)]):
        done = processes.run("git", *command, env=env, cwd=site)
        if done.returncode:
            sys.exit(done.stderr)


def made(scratch: Path, env: dict[str, str]) -> Path:
    """The site's repository, with the collection in it."""
    site = scratch / "site"
    collection = site / "collections" / "ansible_collections" / "hpc" / "apptainer"
    for name in ("meta", "playbooks", "plugins", "roles"):
        shutil.copytree(envs.ROOT / name, collection / name, ignore=shutil.ignore_patterns("__pycache__"))
    (site / "inventory" / "group_vars").mkdir(parents=True)
    (site / "inventory" / "hosts").write_text("node1\n")
    (site / "site.yml").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": role()}]))
    processes.run("git", "init", "--quiet", "--initial-branch", "main", site, env=env)
    committed(site, env, 0)
    return site


def measure(options: Options) -> Iterator[str]:
    if not shutil.which("git"):
        yield "Not measured: no git\n"
        return
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        log, server = scratch / "log", scratch / "server"
        server.write_text(SERVER.format(python=sys.executable, log=str(log)))
        server.chmod(0o755)
        (scratch / "root").mkdir()
        (scratch / "none.cfg").write_text("")  # not the checkout's
        env = processes.clean_env(scratch / "home", {
            "GIT_SSH_COMMAND": server, "GIT_SSH_VARIANT": "simple", "ANSIBLE_CONFIG": scratch / "none.cfg", "ANSIBLE_PYTHON_INTERPRETER": options.node,
            "PATH": f"{options.core / 'bin'}:/usr/bin:/bin"})
        site = made(scratch, env)
        root = json.dumps({"apptainer_fleet_config_root": str(scratch / "root")})
        found: dict[str, list[Pulled]] = {kind: [] for kind in KINDS}
        for turn in range(options.rounds):
            for kind in KINDS:
                if kind == "one new commit":
                    committed(site, env, turn + 1)
                log.write_text("")
                command = [options.core / "bin" / "ansible-pull", "--url", f"git@server:{site}", "--checkout", "main", "--clean", "--limit", "node1",
                           "--directory", scratch / f"checkout{turn}", "--inventory", "inventory/hosts", "--extra-vars", root, "site.yml"]
                cost = cost_of(*command, env=env, cwd=scratch)
                found[kind].append(Pulled(cost, json.loads(f"[{','.join(log.read_text().split())}]")))
                print(f"pull, round {turn + 1}: {kind}: {found[kind][-1]}", file=sys.stderr, flush=True)
        yield from table("A node that pulls", ["pull", "connections to the server", "CPU of the server, ms", "CPU of the node, s", "wall s"], (
            [kind, f"{median(len(pulled.connections) for pulled in own):.0f}", f"{1000 * median(sum(pulled.connections) for pulled in own):.0f}",
             f"{median(pulled.cost.cpu for pulled in own):.1f}", f"{median(pulled.cost.wall for pulled in own):.1f}"] for kind, own in found.items()))
