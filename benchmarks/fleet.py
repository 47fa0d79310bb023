# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measures the playbooks on sixteen ssh hosts of this machine (as root): .venv/main/bin/python benchmarks/fleet.py [HOSTS]

Each row shows the time of a whole run of ansible-playbook, in seconds, and the time for each host. Here all hosts share the cores of one machine;
in a fleet, each host has its own. The first row is ansible.builtin.ping, the minimum that Ansible itself needs.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from support import envs, processes
from support.fleet import fleet

REMOTES = [{"name": "site", "uri": "https://library.example.org", "exclusive": True, "keyservers": [{"uri": "https://keys.example.org"}]},
           {"name": "spare", "uri": "https://spare.example.org"}]
PING = [{"hosts": "all", "gather_facts": False, "tasks": [{"ansible.builtin.ping": None}]}]


def main(count):
    with fleet(count) as hosts, tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        (home / "ping.yml").write_text(json.dumps(PING))
        variables = json.dumps({"apptainer_fleet_verify": False, "apptainer_fleet_remotes": REMOTES, "apptainer_fleet_batches": [1, "100%"],
                                "apptainer_fleet_report_json": "", "apptainer_fleet_report_html": f"{scratch}/drift.html"})
        env = processes.clean_env(home, {"ANSIBLE_FORKS": 16})

        def run(name, playbook):
            started = time.perf_counter()
            command = [envs.core("running") / "bin" / "ansible-playbook", "-i", hosts.inventory, "-e", variables, playbook]
            done = processes.run(*command, env=env)
            assert done.returncode == 0, done.stdout + done.stderr
            seconds = time.perf_counter() - started
            print(f"{name:24} {seconds:8.2f} s   {1000 * seconds / count:8.0f} ms per host", flush=True)

        run("ping", home / "ping.yml")
        for name in ("rollout, first", "rollout, rerun"):
            run(name, envs.ROOT / "playbooks" / "rollout.yml")
        run("drift", envs.ROOT / "playbooks" / "drift.yml")


main(int(sys.argv[1]) if len(sys.argv) > 1 else 16)
