# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs that run while a test needs them, and never longer."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

SEARCHED = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])


class MissingProgramError(Exception):
    """A program is not installed; the message says which."""


def program(name: str) -> str:
    """Where a program is, though it be where only root looks."""
    path = shutil.which(name, path=SEARCHED)
    if path is None:
        raise MissingProgramError(f"{name} is not installed")
    return path


@contextlib.contextmanager
def directory() -> Iterator[Path]:
    """A new directory with a short name (a Unix socket's path has at most 107 bytes)."""
    path = Path(tempfile.mkdtemp(prefix="hpc-", dir="/tmp"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def run(*command: object, stdin: bytes = b"") -> bytes:
    """What a program prints; it must succeed."""
    name, *arguments = map(str, command)
    done = subprocess.run([program(name), *arguments], input=stdin, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"failed: {name} {' '.join(arguments)}\n{(done.stdout + done.stderr).decode(errors='replace')}")
    return done.stdout


@contextlib.contextmanager
def running(
    command: list[object], home: Path, ready: Callable[[], bool], environment: Mapping[str, str] | None = None, sockets: tuple[int, ...] = ()
) -> Iterator[None]:
    """A program that listens, once it is `ready`. It is stopped at the end, with its children; and it stops if this process is killed."""
    name, *arguments = map(str, command)
    log = home / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program("setpriv"), "--pdeathsig", "TERM", "--", program(name), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=home,
            env={"PATH": SEARCHED, "HOME": str(home), **(environment or {})},
            pass_fds=sockets,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 300  # to end what hangs, on a busy machine too
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{name} does not run:\n{log.read_text(errors='replace')}")
            time.sleep(0.005)
        yield
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(2)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def listens(address: str | tuple[str, int]) -> bool:
    """Whether something accepts connections at this path or address."""
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as client:
        client.settimeout(5)
        return client.connect_ex(address) == 0
