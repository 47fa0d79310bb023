# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What tests see of a module is the same whether its process is a new interpreter or a fork of one that has Ansible imported."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time

import pytest
from support import forked, processes

TOKEN = "tok-" + "s3cretS3CRET" * 20
# One run after another, each on what the one before left: module, options, and how it ends.
RUNS = [
    ("apptainer_remotes", {"scope": "global", "remotes": [{"name": "site", "uri": "https://localhost:1", "exclusive": True}]}, 0),
    ("apptainer_remote", {"name": "site", "token": TOKEN, "verify": "never"}, 0),
    ("apptainer_remote", {"name": "site", "token": TOKEN, "verify": "never"}, 0),
    ("apptainer_remote", {"name": "other", "uri": "ftp://h.example.org"}, 1),
    ("apptainer_remote", {"name": "other", "nonsense": True}, 1),
    ("apptainer_keyserver", {"remote": "site", "uri": "https://keys.example.org", "builtin_uri": "https://own.example.org"}, 0),
    ("apptainer_keyserver_login", {"uri": "https://keys.example.org", "username": "alice", "password": "pa55-of-alice", "verify": "never"}, 0),
    ("apptainer_registry_login", {"uri": "docker://r.example.org", "username": "alice", "password": "pa55-of-alice", "verify": "never"}, 0),
    ("apptainer_registry_login", {"uri": "docker://localhost:1", "username": "alice", "password": "pa55-of-alice"}, 1),
    ("apptainer_logins", {"prune": True, "registries": [{"uri": "docker://r.example.org", "state": "absent"}]}, 0),
    ("apptainer_remote_info", {"program": True}, 0),
    ("apptainer_remote_info", {"check": ["services"]}, 0),
    ("apptainer_users_info", {"users": []}, 0),
    ("apptainer_verify", {"remotes": [{"name": "site", "uri": "https://localhost:1"}]}, 1),
]
# Says all that it can about its process, and ends as it is told.
PROBE = """
import atexit, json, os, signal, sys, threading
from ansible.module_utils import basic
atexit.register(lambda: open("ended", "w").close())
stream = {name: [file.encoding, file.errors, file.line_buffering, file.isatty()] for name, file in
          (("stdin", sys.stdin), ("stdout", sys.stdout), ("stderr", sys.stderr))}
umask = os.umask(0)
signals = [str(signal.getsignal(number)) for number in range(1, 32)]
loaded = [name for name, module in sys.modules.items() if name.startswith("ansible_collections") and getattr(module, "__file__", None)]
print(json.dumps([os.getcwd(), dict(os.environ), sys.argv, sys.path, sys.executable, sys.flags, umask, stream, signals, __name__, _module_fqn,
                  os.getsid(0), os.getpgid(0), len(os.listdir("/proc/self/fd")), threading.active_count(), loaded, os.path.exists("ended"),
                  basic._ANSIBLE_ARGS.decode()]))
sys.stderr.write("said before the end")
if os.environ["LEAVE"] == "exit":
    sys.exit(3)
if os.environ["LEAVE"] == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
raise ValueError("the end")
"""


def outcome(run_module, node, tmp_path, fresh):
    """What a series of runs says and leaves in an empty directory."""
    said = []
    for name, args, rc in RUNS:
        done = run_module(name, {**args, "sysconfdir": str(tmp_path / "etc")}, diff=True, python=node, fresh=fresh)
        assert done.rc == rc, done.stdout + done.stderr
        said.append((name, done.stdout, done.stderr))
    files = {}
    for directory in (tmp_path / "etc", tmp_path / "home"):
        for path in sorted(directory.rglob("*")):
            files[str(path)] = (oct(path.stat().st_mode), path.read_bytes() if path.is_file() else None)
        shutil.rmtree(directory)
    return said, files


def test_modules_say_and_leave_the_same(run_module, verify_node, tmp_path):
    assert outcome(run_module, verify_node, tmp_path, fresh=True) == outcome(run_module, verify_node, tmp_path, fresh=False)


@pytest.fixture
def probe(node_python, tmp_path):
    """Run the probe in both ways, and twice in the forked one; the answers are without what differs, the part of a traceback above the probe."""
    (tmp_path / "probe.py").write_text(PROBE)
    modlib = node_python.core / "modlib"

    def run(leave):
        env = {**processes.clean_env(tmp_path / "home"), "LEAVE": leave}
        command = [node_python.python, "-c", processes.LAUNCHER, modlib, "probe"]
        answers = [processes.run(*command, env=env, cwd=tmp_path, stdin="given\n")]
        ended = [(tmp_path / "ended").exists()]
        for _run in range(2):
            (tmp_path / "ended").unlink(missing_ok=True)
            answers.append(forked.run(node_python.python, modlib, "probe", env=env, cwd=tmp_path, stdin="given\n"))
            ended.append((tmp_path / "ended").exists())
        return [(done.returncode, done.stdout, re.sub(r'(?s)Traceback.*(?=File ".*/probe)', "", done.stderr), end)
                for done, end in zip(answers, ended, strict=True)]

    return run


@pytest.mark.parametrize(("leave", "returncode"), [("exit", 3), ("raise", 1), ("kill", -9)])
def test_a_process_is_like_any_other(probe, leave, returncode):
    umask = os.umask(0o037)
    try:
        new, *forks = probe(leave)
    finally:
        os.umask(umask)
    assert forks == [new] * 2
    assert (new[0], new[3]) == (returncode, leave != "kill")
    assert json.loads(new[1])[6] == 0o037 if leave != "kill" else new[1] == ""


def test_who_keeps_the_output_open_is_waited_for(node_python, tmp_path):
    """As Ansible would."""
    (tmp_path / "probe.py").write_text("import subprocess\nsubprocess.Popen(['sh', '-c', 'sleep 0.3; echo last'])\n")
    done = forked.run(node_python.python, node_python.core / "modlib", "probe", env=processes.clean_env(tmp_path), cwd=tmp_path, stdin="")
    assert done.stdout == "last\n"


def test_it_takes_turns(node_python, tmp_path):
    """Two runs after each other have different hashes, as those of two interpreters: what depends on them is not the same by chance."""
    (tmp_path / "probe.py").write_text("print(hash('a text'))\n")
    env, modlib = processes.clean_env(tmp_path), node_python.core / "modlib"
    seen = [forked.run(node_python.python, modlib, "probe", env=env, cwd=tmp_path, stdin="").stdout for _run in range(4)]
    assert len(set(seen)) == 2
    assert all(one != other for one, other in zip(seen, seen[1:], strict=False))


def test_an_end_of_the_server_is_an_error(node_python, tmp_path):
    env = processes.clean_env(tmp_path)
    server = forked.Server(node_python.python, node_python.core / "modlib", env)
    (tmp_path / "probe.py").write_text("print('well')\n")
    assert server.run("probe", env=env, cwd=tmp_path, stdin="").stdout == "well\n"
    server.process.kill()
    server.process.wait()
    with pytest.raises(ConnectionError):
        server.run("probe", env=env, cwd=tmp_path, stdin="")


# Runs a module, names the server that did it, and waits to be killed.
OWNER = """
import sys
from pathlib import Path
from support import forked, processes
python, modlib, home = map(Path, sys.argv[1:])
server = forked.Server(python, modlib, processes.clean_env(home))
assert server.run("probe", env=processes.clean_env(home), cwd=home, stdin="").stdout
print(server.process.pid, flush=True)
sys.stdin.read()
"""


def test_a_server_ends_with_who_started_it(node_python, tmp_path):
    (tmp_path / "probe.py").write_text("print('well')\n")
    env = {**processes.clean_env(tmp_path), "PYTHONPATH": str(processes.ROOT / "tests")}
    command = [sys.executable, "-c", OWNER, node_python.python, node_python.core / "modlib", tmp_path]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        server = int(owner.stdout.readline())
        assert os.path.exists(f"/proc/{server}")
        owner.kill()
    while os.path.exists(f"/proc/{server}"):
        time.sleep(0.01)
