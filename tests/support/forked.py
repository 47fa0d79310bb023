# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Processes of modules that begin with Ansible imported: most of the time of such a process goes into imports that are the same every time.

A server for each interpreter imports what modules import of others (of this collection it keeps nothing) and forks for each run. That process
is a real one: its input, output, directory, environment and umask are its own, it loads and runs the module as a new interpreter would, and
ends as one ends. What is not its own are the command line and the environment that /proc shows, and what an interpreter reads when it starts.

`run()` runs a module so, and `interpreter()` makes an `ansible_python_interpreter` for playbooks whose hosts are directories.
"""

import functools
import itertools
import json
import os
import re
import secrets
import selectors
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

POSSIBLE = sys.platform == "linux"

# For each connection it forks twice: a process that waits, and says what happens, and the one that runs what the message says, with the files that
# come with it as 0, 1 and 2. That one leaves the loop, so that it ends like any other: with a traceback, flushed files, and what is registered
# with atexit. Of this collection, only the directories stay known: a module that comes in a zip file finds here, compiled, what it shares with
# the others.
SERVER = """
import gc, importlib, json, os, pkgutil, runpy, select, signal, socket, struct, sys
modlib, listener, keep = sys.argv[1], socket.socket(fileno=int(sys.argv[2])), sys.argv[3:] == ["keep"]
del sys.argv[1:]
sys.path.insert(0, modlib)
from ansible.module_utils import basic
import ansible_collections.hpc.apptainer.plugins.modules as modules
for _, name, _ in pkgutil.iter_modules(modules.__path__):
    importlib.import_module(modules.__name__ + "." + name)
for name in ("yaml",) if keep else ("yaml", "requests", "jsonschema"):
    try:
        importlib.import_module(name)
    except ImportError:
        pass
kept = "ansible_collections.hpc.apptainer.plugins.module_utils" if keep else "-"
for name, module in list(sys.modules.items()):
    if name.startswith("ansible_collections.") and getattr(module, "__file__", None) and not name.startswith(kept):
        del sys.modules[name]
        delattr(sys.modules[name.rpartition(".")[0]], name.rpartition(".")[2])
del modules, module
gc.collect()
if hasattr(gc, "freeze"):
    gc.freeze()
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while True:
    if 0 in select.select([0, listener], [], [])[0]:  # its owner has ended
        os._exit(0)
    connection = listener.accept()[0]
    if not os.fork():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        message, ancillary, _, _ = connection.recvmsg(1 << 20, socket.CMSG_SPACE(12))
        files = struct.unpack("3i", ancillary[0][2])
        pid = os.fork()
        if not pid:
            break
        for file in files:
            os.close(file)
        connection.send(str(pid).encode())
        connection.send(str(os.waitpid(pid, 0)[1]).encode())
        os._exit(0)
    connection.close()
connection.close()
listener.close()
for number, file in enumerate(files):
    os.dup2(file, number)
    os.close(file)
run = json.loads(message.decode())
os.umask(run["umask"])
os.chdir(run["cwd"])
os.environ.clear()
os.environ.update(run["env"])
if run["module"]:
    basic._ANSIBLE_ARGS = sys.stdin.buffer.read()
    basic._ANSIBLE_PROFILE = "legacy"
    try:
        runpy.run_module(run["module"], init_globals={"_module_fqn": run["module"], "_modlib_path": modlib}, run_name="__main__", alter_sys=True)
    except SystemExit as exc:
        if not keep:
            raise
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exc.code or 0)
else:
    sys.argv = run["script"]
    sys.path.remove(modlib)
    sys.path[0] = os.path.dirname(sys.argv[0])
    runpy.run_path(sys.argv[0], run_name="__main__")
"""
# Takes the place of an interpreter that runs a script, until the script ends, and ends like it.
CLIENT = """
import json, os, socket, sys
umask = os.umask(0)
os.umask(umask)
run = {"module": None, "script": sys.argv[2:], "env": dict(os.environ), "cwd": os.getcwd(), "umask": umask}
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
    server.connect("\\0" + sys.argv[1])
    socket.send_fds(server, [json.dumps(run).encode()], [0, 1, 2])
    pid, status = server.recv(100), int(server.recv(100))
sys.stdin = sys.stdout = sys.stderr = None
if os.WIFSIGNALED(status):
    os.kill(os.getpid(), os.WTERMSIG(status))
os._exit(os.WEXITSTATUS(status))
"""


class Server:
    """One of those servers. It ends with this process. With `keep`, what modules share of this collection stays imported, too."""

    def __init__(self, python: Path, modlib: Path, env: Mapping[str, str], keep: bool = False) -> None:
        self.name = f"hpc-apptainer-{os.getpid()}-{secrets.token_hex(8)}"  # abstract: there is no file
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind("\0" + self.name)
            listener.listen(100)
            command = [python, "-c", SERVER, modlib, str(listener.fileno()), *(["keep"] if keep else [])]
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=env, pass_fds=[listener.fileno()])

    def run(self, module: str, *, stdin: str, env: Mapping[str, str], cwd: Path, timeout: float | None = None) -> subprocess.CompletedProcess[str]:
        """Run a module in a process of its own, to its end. Raises TimeoutError if it says nothing for so many seconds; it is killed then."""
        (umask,) = re.findall(r"^Umask:\s*(\d+)$", Path("/proc/self/status").read_text(), re.MULTILINE)
        message = json.dumps({"module": module, "env": dict(env), "cwd": str(cwd), "umask": int(umask, 8)})
        (out, their_out), (err, their_err) = os.pipe(), os.pipe()
        with (
            open(out, "rb", 0) as stdout,
            open(err, "rb", 0) as stderr,
            tempfile.TemporaryFile() as file,
            socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server,
        ):
            try:
                file.write(stdin.encode())
                file.seek(0)
                server.connect("\0" + self.name)
                socket.send_fds(server, [message.encode()], [file.fileno(), their_out, their_err])
            finally:
                os.close(their_out)
                os.close(their_err)
            pid = self._answer(server)
            try:
                texts = _read(stdout, stderr, timeout=timeout)
                status = self._answer(server)
            except BaseException:
                os.kill(pid, signal.SIGKILL)
                raise
        return subprocess.CompletedProcess([module], os.waitstatus_to_exitcode(status), *texts)

    def _answer(self, server: socket.socket) -> int:
        data = server.recv(100)
        if not data:
            raise RuntimeError(f"the server of {self.process.args[0]} has failed; what it said is in this process's own stderr")
        return int(data)


def _read(*pipes: IO[bytes], timeout: float | None) -> list[str]:
    """What comes until all who could write have closed their end."""
    found: dict[IO[bytes], bytes] = dict.fromkeys(pipes, b"")
    with selectors.DefaultSelector() as selector:
        for pipe in pipes:
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(timeout)
            if not ready:
                raise TimeoutError
            for key, _events in ready:
                data = key.fileobj.read(1 << 16)
                found[key.fileobj] += data
                if not data:
                    selector.unregister(key.fileobj)
    return [data.decode() for data in found.values()]


_TURNS = itertools.cycle((0, 1))


@functools.cache
def _server(python: Path, modlib: Path, number: int) -> Server:
    return Server(python, modlib, {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"})


def run(python: Path, modlib: Path, module: str, **given: Any) -> subprocess.CompletedProcess[str]:
    """Run a module by an interpreter, with the ansible of `modlib`, as `Server.run()` does it. Safe to call from several threads.

    Two servers take turns: what depends on the seed of an interpreter's hashes is not the same in two runs.
    """
    return _server(python, modlib, next(_TURNS)).run(module, **given)


def interpreter(python: Path, modlib: Path, directory: Path) -> Path:
    """Make in this directory what runs modules of the ansible of `modlib` as this interpreter would, and is it in all else."""
    client = directory / "client.py"
    client.write_text(CLIENT)
    command = shlex.join([sys.executable, "-I", "-S", str(client), _server(python, modlib, 0).name])
    script = directory / "python"
    script.write_text(f'#!/bin/sh\ncase "$1" in */AnsiballZ_*.py) exec {command} "$@";; esac\nexec {shlex.quote(str(python))} "$@"\n')
    script.chmod(0o755)
    return script
