# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report of a fleet: making it from the hosts' results, its files, and its page in a browser."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible_collections.hpc.apptainer.plugins.plugin_utils._outcomes import HostResult, host_result
from ansible_collections.hpc.apptainer.plugins.plugin_utils._page import page
from ansible_collections.hpc.apptainer.plugins.plugin_utils._prometheus import exposition
from ansible_collections.hpc.apptainer.plugins.plugin_utils._report import as_dict, build_report
from support import envs, processes

from .measuring import Options, median, table

HOSTS = 10_000
FILE = "/etc/apptainer/remote.yaml"
FIGURES = ("CPU s", "peak MB", "page MB", "JSON MB", "metrics MB")
BROWSED = ("to load, ms", "to filter, ms", "to show all hosts, ms")
FILTER = """
    const search = document.getElementById("search"), start = performance.now();
    search.value = arguments[0];
    search.dispatchEvent(new Event("input"));
    document.body.offsetHeight;
    return performance.now() - start;
"""
SHOW_ALL = "const start = performance.now(); document.getElementById('all').click(); document.body.offsetHeight; return performance.now() - start;"
LOADED = "const entry = performance.getEntriesByType('navigation')[0]; return entry.loadEventEnd - entry.startTime;"


def outcome(number: int) -> HostResult:
    """Of a hundred hosts, ninety have drifted in the same way, five each in their own, and one is in each other state; two are in state."""
    name, kind = f"node{number:05}", number % 100
    result: dict[str, Any] = {"changed": False, "declared": True, "failures": [], "parts": [{"subject": "global", "changed": False, "config_file": FILE}]}
    if kind < 95:
        uri = "https://old.example.org" if kind < 90 else f"https://{name}.example.org"
        before, after = (f"Active: site\nRemotes:\n  site:\n    URI: {text}\n" for text in (uri, "https://library.example.org"))
        result.update(changed=True, diff=[{"subject": "global", "before": before, "after": after, "before_header": FILE, "after_header": FILE}])
    elif kind == 95:
        result = {"unreachable_reason": "Connection refused"}
    elif kind == 96:
        result["failures"] = [{"subject": "global", "msg": f"{FILE} is not valid YAML", "unreadable": ""}]
    elif kind == 97:
        result["users"] = [{"user": "alice", "home": "/home/alice", "error": None, "findings": [
            {"id": "stale-copy", "severity": "warning", "remote": "old", "message": "endpoint old is a copy", "path": "/home/alice/remote.yaml"}]}]
    return host_result(name, result)


def make(hosts: int, file: Path) -> None:
    """Make the report's files, and print what that took."""
    before = time.process_time()
    report = build_report("Drift", "2026-11-23T18:00:00Z", map(outcome, range(hosts)))
    texts = [page(report), json.dumps(as_dict(report), indent=1), exposition(report, 0.0)]
    used = time.process_time() - before
    file.write_text(texts[0], encoding="utf-8")
    print(json.dumps([used, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, *(len(text.encode()) / 1e6 for text in texts)]))


def browse(file: Path, scratch: Path) -> list[float]:
    """Load the page in a new browser, filter its list, and show all of it. Raises ImportError and FileNotFoundError for want of a browser."""
    from selenium import webdriver  # not wanted for the other benchmarks

    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    if not all(programs.values()):
        raise FileNotFoundError("no chromium with chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = programs["chromium"] or ""
    for flag in ("headless=new", "no-sandbox", "disable-gpu", "disable-background-networking", f"user-data-dir={tempfile.mkdtemp(dir=scratch)}"):
        options.add_argument(f"--{flag}")
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(programs["chromedriver"]))
    try:
        browser.get(file.as_uri())
        loaded = browser.execute_script(LOADED)
        filtered = median(browser.execute_script(FILTER, text) for text in ("n", "node01", "nothing", "old.example"))
        browser.execute_script(FILTER, "")
        return [loaded, filtered, browser.execute_script(SHOW_ALL)]
    finally:
        browser.quit()


def measure(options: Options) -> Iterator[str]:
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        file = scratch / "report.html"
        for hosts in (HOSTS // 10, HOSTS) if max(options.hosts) >= 100 else options.hosts:
            env = processes.clean_env(scratch / "home", {"PYTHONPATH": f"{envs.ROOT}:{envs.ROOT / 'tests'}:{envs.ROOT / '.collections'}"})
            made, browsed = [], []
            for _round in range(options.rounds):  # in a process of its own, for its peak memory
                done = subprocess.run([sys.executable, "-m", __name__, str(hosts), str(file)], env=env, capture_output=True, text=True, check=True)
                made.append(json.loads(done.stdout))
                try:
                    browsed.append(browse(file, scratch))
                except (ImportError, FileNotFoundError) as exc:
                    print(f"The page is not measured: {exc}", file=sys.stderr)
            rows.append([f"{hosts:,}", *(f"{median(values):.2f}" for values in zip(*made, strict=True)),
                         *([f"{median(values):.0f}" for values in zip(*browsed, strict=True)] or ["not measured"] * len(BROWSED))])
    yield from table("The report", ["hosts", *FIGURES, *BROWSED], rows)


if __name__ == "__main__":
    make(int(sys.argv[1]), Path(sys.argv[2]))
