# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Modules run with a fault at the n-th call of the C library that concerns files below a directory: without root, without a tracer.

`injector.c` says what the faults are. All modules run in forks of one process in which it is loaded, which costs a fifth of a new interpreter.
"""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from support import envs, forked, processes

SOURCE = Path(__file__).with_suffix(".c")
BUILT = envs.ROOT / ".cache" / "injector"


class NoInjectorError(Exception):
    """Faults cannot be injected here; the message says why."""


class Call(NamedTuple):
    """One call: its number in the process, its class (see injector.c), its name, the path that it concerns, and whether the fault hit it."""

    number: int
    kind: str
    name: str
    path: str
    hit: bool


class Fault(NamedTuple):
    """What happens at a call: a word that injector.c knows, or the number of an error; with `also`, later calls of these classes fail, too."""

    number: int
    what: str
    also: str = ""


def _library() -> Path:
    """Compiled once for each source and compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise NoInjectorError("cc is not installed")
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True).stdout
    library = BUILT / f"{hashlib.sha256(SOURCE.read_bytes() + version).hexdigest()[:16]}.so"
    if not library.exists():
        BUILT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILT) as directory:
            made = Path(directory) / library.name
            done = processes.run(compiler, "-shared", "-fPIC", "-O1", "-o", made, SOURCE, "-ldl", env=os.environ)
            if done.returncode:
                raise NoInjectorError(f"cc fails: {(done.stderr.strip() or 'no word why').splitlines()[-1]}")
            made.replace(library)
    return library


class Injector:
    """Runs modules of this checkout with the interpreter and the ansible of the tests. Raises NoInjectorError."""

    def __init__(self) -> None:
        if not forked.POSSIBLE:
            raise NoInjectorError("only Linux")
        env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "LD_PRELOAD": str(_library()), "PYTHONHASHSEED": "0"}
        self._server = forked.Server(Path(sys.executable), envs.core("running") / "modlib", env, keep=True)

    def run(
        self, name: str, args: Mapping[str, Any], *, home: Path, below: Path | None = None, fault: Fault | None = None,
        meanwhile: Iterator[None] | None = None,
    ) -> tuple[processes.Run, list[Call]]:
        """Run a module: what became of it, and its calls below a directory.

        `below` is a real path, in which there are `tmp` for temporary files, and `account`: the home that is meant where `home` isn't.
        At the fault "pause", what `meanwhile` does until it first yields is done before the call, and the rest beside the module.
        """
        with tempfile.TemporaryDirectory() as directory:
            log, wait = Path(directory) / "log", Path(directory) / "wait"
            env = processes.clean_env(home, self._variables(below, log, wait, fault))
            stdin = processes.input_of(name, args, check=False, diff=True, home=home)
            with contextlib.nullcontext() if meanwhile is None else _beside(wait, meanwhile):
                done = processes.finished(self._server.run(processes.MODULES + name, stdin=stdin, env=env, cwd=home))
            lines = log.read_text().splitlines() if log.exists() else []
        return done, [Call(int(number.lstrip("!")), *rest, number[0] == "!") for number, *rest in (line.split(" ", 3) for line in lines)]

    @staticmethod
    def _variables(below: Path | None, log: Path, wait: Path, fault: Fault | None) -> dict[str, object]:
        if below is None:
            return {}
        variables: dict[str, object] = {
            "INJECT_BELOW": below, "INJECT_LOG": log, "INJECT_WAIT": wait, "INJECT_HOME": below / "account", "TMPDIR": below / "tmp"}
        if fault is not None:
            variables.update(INJECT_AT=fault.number, INJECT_FAULT=fault.what, INJECT_ALSO=fault.also)
        return variables


@contextlib.contextmanager
def _beside(wait: Path, meanwhile: Iterator[None]) -> Iterator[None]:
    """Until the end of the block, wait in a thread for that file; once it is there, take the first step, remove it, and take the others."""
    ended = threading.Event()

    def steps() -> None:
        while not wait.exists():
            if ended.wait(0.0005):
                return
        next(meanwhile, None)
        wait.unlink()
        for _step in meanwhile:
            pass

    thread = threading.Thread(target=steps)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
