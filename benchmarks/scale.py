# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measures a module by the number of endpoints in the file: .venv/main/bin/python benchmarks/scale.py [NUMBER ...]

Each row shows a first run that writes all endpoints, a run that has nothing to do, and a run that changes one endpoint. Each is a whole process,
in milliseconds, and the best of three. The first row, without endpoints, shows what Python and AnsibleModule themselves need.
"""

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from support import envs, processes

NODE = envs.Node(envs.core("running"), Path(sys.executable))


def run(name, args, home):
    started = time.perf_counter()
    done = processes.run_module(NODE, name, args, check=False, diff=False, home=home, env=None)
    assert done.rc == 0, done.stdout + done.stderr
    return (time.perf_counter() - started) * 1000, done.result["changed"]


def measure(number, scratch):
    path = scratch / "etc" / "remote.yaml"
    remotes = [{"name": f"site-{index}", "uri": f"https://library-{index}.example.org"} for index in range(number)]
    all_endpoints = {"scope": "global", "config_file": str(path), "remotes": remotes}
    one_endpoint = {"scope": "global", "config_file": str(path), "name": "site-0", "uri": "https://library-0.example.org"}
    first, rerun, changed = [], [], []
    for _round in range(3):
        path.unlink(missing_ok=True)
        first.append(run("apptainer_remotes", all_endpoints, scratch))
        rerun.append(run("apptainer_remotes", all_endpoints, scratch))
        changed.append(run("apptainer_remote", dict(one_endpoint, default=True), scratch))
    assert {was_changed for _time, was_changed in rerun} == {False}
    return [min(milliseconds for milliseconds, _changed in runs) for runs in (first, rerun, changed)]


def main():
    numbers = [int(word) for word in sys.argv[1:]] or [0, 10, 1000, 10000, 20000]
    print(f"{'endpoints':>10} {'write all':>10} {'nothing':>10} {'change one':>10}")
    for number in numbers:
        with tempfile.TemporaryDirectory() as scratch:
            print(f"{number:>10} " + " ".join(f"{value:>10.0f}" for value in measure(number, Path(scratch))), flush=True)


if __name__ == "__main__":
    main()
