# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Others write the same files: as Apptainer does, and many of our own modules at once. Nobody's endpoints and logins may be lost."""

import base64
import concurrent.futures
import itertools
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support import envs, processes
from support.injector import Fault, Injector

from attack import trees
from attack.faults import Attack, Count, Failure
from attack.scenarios import DOCKER, GLOBAL, MODES, OLD, PASSWORD, TOKEN, USER, Scenario

PROCESSES = 32
_WRITTEN = {
    USER: OLD[USER].replace("Remotes:\n", "Remotes:\n    apptainer:\n        URI: apptainer.example.org\n        System: false\n"),
    GLOBAL: OLD[GLOBAL].replace("Remotes:\n", "Remotes:\n    apptainer:\n        URI: apptainer.example.org\n        System: true\n"),
    DOCKER: OLD[DOCKER].replace('{"auths": {', '{"auths": {"apptainer.example.org": {"auth": "YTpi"}, '),
}
# What is lost if it is not in the file at the end.
_KEPT = {USER: ("old.example.org", "keys.example.org"), GLOBAL: ("old.example.org",), DOCKER: ("old.example.org", "HttpHeaders")}
# The file that Apptainer writes, and what a module has to do at the same time.
_ADDS = [
    (USER, "apptainer_remote", {"name": "site", "uri": "https://library.example.org", "token": TOKEN, "verify": "never"}),
    (GLOBAL, "apptainer_remote", {"name": "new", "uri": "https://new.example.org", "scope": "global", "verify": "never"}),
    (DOCKER, "apptainer_registry_login", {"uri": "docker://r.example.org", "username": "alice", "password": PASSWORD, "verify": "never"}),
    (GLOBAL, "apptainer_remote", {"name": "site", "token": TOKEN, "verify": "never"}),  # an endpoint that is only there
]


def _apptainer(path: Path, text: str, left: int, pause: float) -> Iterator[None]:
    """What Apptainer does: it has read the file, truncates it, and writes it. `left` bytes are in it when it is interrupted for `pause` seconds."""
    with path.open("r+b", buffering=0) as file:
        file.truncate(0)
        file.write(text.encode()[:left])
        yield
        time.sleep(pause)
        file.write(text.encode()[left:])


def beside_apptainer(injector: Injector, place: Path) -> Iterator[tuple[str, Count]]:
    """At each call of a module, Apptainer begins to write, and ends a moment later: it has written nothing yet, or the first half of the lines."""
    for part, (name, module, args) in enumerate(_ADDS):
        scope = args.get("scope", "user")
        files = {USER: 0o600, DOCKER: 0o600} if scope == "user" else {}
        scenario = Scenario(f"beside Apptainer, {name}, scope {scope}", module, args, {**files, name: MODES[name]})
        calls = Attack(injector, scenario, place / str(part)).calls
        text = _WRITTEN[name]
        half = text.index("\n", len(text) // 2) + 1 if name != DOCKER else len(text) // 2
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            jobs = [pool.submit(_beside_apptainer, injector, scenario, place / f"{part}-{number}-{left}", number, name, left)
                    for number in range(1, len(calls) + 1) for left in (0, half)]
            found = [job.result() for job in jobs]
        failures = [Failure(scenario.name, f"{left} bytes written at call {number}", seen) for number, left, wrong, _state in found for seen in wrong]
        yield scenario.name, Count(len(found), len({state for *_place, state in found}), failures)


def _beside_apptainer(injector: Injector, scenario: Scenario, base: Path, number: int, name: str, left: int) -> tuple[int, int, list[str], Any]:
    scenario.make(base)
    writer = _apptainer(base / name, _WRITTEN[name], left, 0.01)
    run, _calls = injector.run(scenario.module, scenario.given(base), home=base / "home", below=base, fault=Fault(number, "pause"), meanwhile=writer)
    text = (base / name).read_text()
    wrong = [f"{kept} is lost from {name}" for kept in _KEPT[name] if kept not in text]
    if run.result is None or "exception" in run.result:
        wrong.append(f"no result: {run.stderr[-300:]}")
    elif run.rc:
        wrong.append("fails: " + run.result["msg"].replace(str(base), ""))
    state = frozenset(trees.tree(base).items())
    shutil.rmtree(base)
    return number, left, wrong, state


def _racers(kind: str) -> Iterator[tuple[str, dict[str, Any], str, str]]:
    """Modules that run at once: name, options, the file that each changes, and what must be in it if it reports success."""
    for number in range(PROCESSES):
        host, secret = f"h{number}.example.org", f"s3cret-of-{number:03d}-s3cret"
        login = {"username": "alice", "password": secret, "verify": "never"}
        auth = base64.b64encode(f"alice:{secret}".encode()).decode()
        turn = {"mixed": ("user", "registries", "keyservers", "logins")[number % 4]}.get(kind, kind)
        if turn == "user":
            yield "apptainer_remote", {"name": f"n{number}", "uri": f"https://{host}", "token": secret, "verify": "never"}, USER, secret
        elif turn == "global":
            yield "apptainer_remote", {"name": f"n{number}", "uri": f"https://{host}", "scope": "global", "verify": "never"}, GLOBAL, host
        elif turn == "registries":
            yield "apptainer_registry_login", {"uri": f"docker://{host}", **login}, DOCKER, auth
        elif turn == "keyservers":
            yield "apptainer_keyserver_login", {"uri": f"https://{host}", **login}, USER, auth
        else:
            keyservers = [{"uri": f"https://{host}", "username": "alice", "password": secret}]
            yield "apptainer_logins", {"keyservers": keyservers, "verify": "never"}, USER, auth


def races(place: Path, rounds: int = 20) -> Iterator[tuple[str, Count]]:
    """PROCESSES modules at once, all of which have something to add to the same files; these are there before in every second round."""
    node = envs.Node(envs.core("running"), envs.MAIN / "bin" / "python")
    kinds = itertools.cycle(("user", "global", "registries", "mixed"))
    with concurrent.futures.ThreadPoolExecutor(PROCESSES) as pool:
        for number, kind in zip(range(rounds), kinds, strict=False):
            base = place / f"race-{number}"
            files = {} if number // 4 % 2 else {USER: 0o600, DOCKER: 0o600, GLOBAL: 0o644}
            scenario = Scenario(f"race {number + 1}, {kind}", "", {}, files)
            scenario.make(base)
            racers = list(_racers(kind))
            runs = pool.map(lambda racer, base=base, scenario=scenario: processes.run_module(
                node, racer[0], {**scenario.given(base), **racer[1]}, check=False, diff=False, home=base / "home", env=None), racers)
            failures = [Failure(scenario.name, racer[0], seen) for racer, run in zip(racers, runs, strict=True) for seen in _lost(run, racer, base)]
            left = [name for name in trees.tree(base) if ".ansible-X" in name]
            kept = [kept for file in files for kept in _KEPT[file] if kept not in (base / file).read_text()]
            failures += [Failure(scenario.name, "at the end", f"{name} is left over") for name in left]
            failures += [Failure(scenario.name, "at the end", f"{name} is lost") for name in kept]
            yield scenario.name, Count(len(racers), 1, failures)
            shutil.rmtree(base)


def _lost(run: processes.Run, racer: tuple[str, dict[str, Any], str, str], base: Path) -> Iterator[str]:
    _module, _args, file, text = racer
    if run.result is None:
        yield f"no result: {run.stderr[-300:]}"
    elif run.rc:
        yield "fails: " + run.result["msg"].replace(str(base), "")
    elif not os.path.exists(base / file) or text not in (base / file).read_text():
        yield "reports success, but what it wrote is lost"
