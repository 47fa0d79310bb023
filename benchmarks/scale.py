# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long a module takes, by the number of endpoints in the file: .venv/main/bin/python benchmarks/scale.py [NUMBER ...]

Each row: a first run that writes them all, one that finds nothing to do, and one that changes one endpoint of them, as whole processes,
in milliseconds (the best of three). The first row, without endpoints, is the price of Python and AnsibleModule.
"""

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from support import envs, processes

NODE = envs.Node(envs.core("running"), Path(sys.executable))


def run(name, args, home):
    begin = time.perf_counter()
    done = processes.run_module(NODE, name, args, check=False, diff=False, home=home, env=None)
    assert done.rc == 0, done.stdout + done.stderr
    return (time.perf_counter() - begin) * 1000, done.result["changed"]


def measure(number, scratch):
    path = scratch / "etc" / "remote.yaml"
    remotes = [{"name": f"site-{index}", "uri": f"https://library-{index}.example.org"} for index in range(number)]
    every = {"scope": "global", "config_file": str(path), "remotes": remotes}
    one = {"scope": "global", "config_file": str(path), "name": "site-0", "uri": "https://library-0.example.org"}
    first, again, changed = [], [], []
    for _round in range(3):
        path.unlink(missing_ok=True)
        first.append(run("apptainer_remotes", every, scratch))
        again.append(run("apptainer_remotes", every, scratch))
        changed.append(run("apptainer_remote", dict(one, default=True), scratch))
    assert {answer for _time, answer in again} == {False}
    return [min(time for time, _changed in runs) for runs in (first, again, changed)]


def main():
    numbers = [int(word) for word in sys.argv[1:]] or [0, 10, 1000, 10000, 20000]
    print(f"{'endpoints':>10} {'write all':>10} {'nothing':>10} {'change one':>10}")
    for number in numbers:
        with tempfile.TemporaryDirectory() as scratch:
            print(f"{number:>10} " + " ".join(f"{value:>10.0f}" for value in measure(number, Path(scratch))), flush=True)


if __name__ == "__main__":
    main()
