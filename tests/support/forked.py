# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Processes of modules that begin with Ansible imported: most of the 0.2 s of such a process goes into imports that are the same every time.

A server for each interpreter imports what modules import of others (of this collection it keeps nothing) and forks for each run. That process
is a real one: its input, output, directory, environment and umask are its own, it loads and runs the module as a new interpreter would, and
ends as one ends. What is not its own are command line and environment as /proc shows them, and what interpreters read when they start.
"""

import collections
import json
import os
import re
import selectors
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO

# Waits for a run, as a message with the files that are to be 0, 1 and 2, and forks; answers the process and, when it has ended, its status.
# The process leaves the loop, so that it ends like any other: with a traceback, flushed files, and what is registered with atexit.
SERVER = """
import gc, importlib, json, os, pkgutil, runpy, socket, struct, sys
modlib, channel = sys.argv[1], socket.socket(fileno=int(sys.argv[2]))
del sys.argv[1:]
sys.path.insert(0, modlib)
from ansible.module_utils import basic
import ansible_collections.hpc.apptainer.plugins.modules as package
for found in pkgutil.iter_modules(package.__path__):
    importlib.import_module(package.__name__ + "." + found.name)
for name in ("yaml", "requests", "jsonschema"):
    try:
        importlib.import_module(name)
    except ImportError:
        pass
for name in [name for name in sys.modules if name.startswith("ansible_collections")]:
    del sys.modules[name]
del package, found
importlib.invalidate_caches()
gc.collect()
if hasattr(gc, "freeze"):
    gc.freeze()
while True:
    message, ancillary, _, _ = channel.recvmsg(1 << 20, socket.CMSG_SPACE(12))
    if not message:
        os._exit(0)
    files = struct.unpack("3i", ancillary[0][2])
    pid = os.fork()
    if not pid:
        break
    for file in files:
        os.close(file)
    channel.send(str(pid).encode())
    channel.send(str(os.waitpid(pid, 0)[1]).encode())
channel.close()
for number, file in enumerate(files):
    os.dup2(file, number)
    os.close(file)
run = json.loads(message.decode())
os.umask(run["umask"])
os.chdir(run["cwd"])
os.environ.clear()
os.environ.update(run["env"])
basic._ANSIBLE_ARGS = sys.stdin.buffer.read()
basic._ANSIBLE_PROFILE = "legacy"
runpy.run_module(run["module"], init_globals={"_module_fqn": run["module"], "_modlib_path": modlib}, run_name="__main__", alter_sys=True)
"""


class Server:
    """One of those servers. It ends with this process."""

    def __init__(self, python: Path, modlib: Path, env: Mapping[str, str]) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [python, "-c", SERVER, modlib, str(theirs.fileno())]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=env, pass_fds=[theirs.fileno()])

    @property
    def pid(self) -> int:
        return self._process.pid

    def run(self, module: str, *, stdin: str, env: Mapping[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run a module in a process of its own, to its end."""
        (umask,) = re.findall(r"^Umask:\s*(\d+)$", Path("/proc/self/status").read_text(), re.MULTILINE)
        message = json.dumps({"module": module, "env": dict(env), "cwd": str(cwd), "umask": int(umask, 8)})
        (out, their_out), (err, their_err) = os.pipe(), os.pipe()
        with tempfile.TemporaryFile() as file, open(out, "rb", 0) as stdout, open(err, "rb", 0) as stderr:
            try:
                file.write(stdin.encode())
                file.seek(0)
                socket.send_fds(self._channel, [message.encode()], [file.fileno(), their_out, their_err])
            finally:
                os.close(their_out)
                os.close(their_err)
            pid = self._answer()
            try:
                texts = _read(stdout, stderr)
                status = self._answer()
            except BaseException:
                os.kill(pid, signal.SIGKILL)
                raise
        return subprocess.CompletedProcess([module], os.waitstatus_to_exitcode(status), *texts)

    def stop(self) -> None:
        self._channel.close()
        self._process.wait()

    def _answer(self) -> int:
        data = self._channel.recv(100)
        if not data:
            raise RuntimeError(f"the server of {self._process.args[0]} has ended with {self._process.wait()}; what it said is above")
        return int(data)


def _read(*pipes: IO[bytes]) -> list[str]:
    """What comes until all who could write have closed their end."""
    found: dict[IO[bytes], bytes] = dict.fromkeys(pipes, b"")
    with selectors.DefaultSelector() as selector:
        for pipe in pipes:
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                data = key.fileobj.read(1 << 16)
                found[key.fileobj] += data
                if not data:
                    selector.unregister(key.fileobj)
    return [data.decode() for data in found.values()]


class Pool:
    """Servers by interpreter. Each has two or more, which take turns: what depends on the seed of their hashes is not the same twice."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: dict[tuple[Path, Path], collections.deque[Server]] = collections.defaultdict(collections.deque)

    def run(self, python: Path, modlib: Path, module: str, *, stdin: str, env: Mapping[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
        """As `Server.run`, by a server that has nothing to do. Safe to call from several threads."""
        with self._lock:
            servers = self._idle[python, modlib]
            server = servers.popleft() if len(servers) > 1 else None
        if server is None:
            server = Server(python, modlib, env)
        try:
            done = server.run(module, stdin=stdin, env=env, cwd=cwd)
        except BaseException:
            server.stop()
            raise
        with self._lock:
            servers.append(server)
        return done


POOL = Pool()
