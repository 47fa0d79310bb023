# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts for tests: each an sshd with its own disk, users, processes and name, on an address of its own on loopback. For root only.

A host is an overlay of this machine's root file system that is seen by the host's processes alone. The disks are in the memory of one process,
the keeper: once it is gone, so are they. Keeper and hosts are killed with the process that started them, even when that is killed itself.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from support import envs
from support.servers.daemons import SEARCHED, directory, listens, program, run

PORT = 2222
USERS = {"alice": (2000, "/bin/bash"), "ci": (2001, "/usr/sbin/nologin")}
# What hosts don't see of this machine: these directories are empty, these names don't exist.
EMPTY = {"home": 0o755, "root": 0o711, "run": 0o755, "tmp": 0o1777, "var/tmp": 0o1777}
ABSENT = [f"{prefix}/{name}" for prefix in ("etc", "usr/bin", "usr/local/bin", "usr/local/etc") for name in ("apptainer", "singularity")]
SSHD_CONFIG = """\
UsePAM no
StrictModes no
AuthorizedKeysFile /etc/ssh/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
MaxStartups 200
MaxSessions 200
UseDNS no
PidFile none
Subsystem sftp internal-sftp
"""

# The overlay is only to see that hosts can have one.
KEEPER = """
mount -t tmpfs -o mode=755 tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
options=lowerdir=/,upperdir=$1/upper,workdir=$1/work
unshare --mount --uts --pid --fork --propagation private -- mount -t overlay -o "$options" overlay "$1/root"
echo ready
exec sleep infinity
"""
# The first line's /proc still is this machine's.
HOST = """
read -r pid rest </proc/self/stat
name=$1 listen=$2 base=$3 disk=$4 sshd=$5
shift 5
root=$disk/root
mount -t overlay -o "lowerdir=$base:/,upperdir=$disk/upper,workdir=$disk/work" overlay "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
for path; do mount --bind -o ro "$path" "$root$path"; done
hostname "$name"
echo "$pid"
exec chroot "$root" "$sshd" -D -e -f /etc/ssh/sshd_config -h "/etc/ssh/$name.key" -o "ListenAddress=$listen"
"""


class NoFleetError(Exception):
    """This machine or this user can't have such hosts; the message says why."""


class Host:
    """One host. It keeps its disk from `stop()` to `start()`, but not its mounts."""

    def __init__(self, fleet: "Fleet", name: str, address: str, interpreter: Path) -> None:
        self.name = name
        self.address = address
        self.interpreter = self._first_interpreter = interpreter
        self.variables: dict[str, Any] = {}
        self._fleet = fleet
        self._process: subprocess.Popen[str] | None = None
        self._pid = 0

    def run(self, command: str, *, user: str = "root", stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a shell command on the host. Unless `check` is false, it must succeed."""
        if not self.running:
            raise RuntimeError(f"{self.name} is stopped")
        enter = ["nsenter", f"--target={self._pid}", "--mount", "--uts", "--pid", "--root", "--wd"]
        shell = ["sh", "-c", command] if user == "root" else ["su", "-s", "/bin/sh", user, "-c", command]
        env = {"PATH": SEARCHED, "HOME": "/root", "LC_ALL": "C.UTF-8"}
        done = subprocess.run([*enter, *shell], input=stdin, capture_output=True, text=True, env=env, check=False)
        if check and done.returncode:
            raise RuntimeError(f"failed on {self.name}: {command}\n{done.stdout}{done.stderr}")
        return done

    def read(self, path: str) -> str:
        """The content of a file on the host."""
        return self.run(f"cat '{path}'").stdout

    def write(self, path: str, text: str, mode: int = 0o644, owner: str = "root") -> None:
        """Put a file on the host, with the directories that it wants."""
        self.run(f"mkdir -p \"$(dirname '{path}')\" && cat >'{path}' && chown {owner}: '{path}' && chmod {mode:o} '{path}'", stdin=text)

    def read_only(self, path: str) -> None:
        """Nothing below this directory can be changed (EROFS), until the host is stopped or `path` is unmounted."""
        self.run(f"mkdir -p '{path}' && mount --bind '{path}' '{path}' && mount -o remount,bind,ro '{path}'")

    def full(self, path: str) -> None:
        """This directory is on a disk of its own, which keeps what is there and has no room for more (ENOSPC)."""
        self.run(
            f"mkdir -p '{path}' && mkdir /mnt/full && mount -t tmpfs -o size=64k,mode=755 tmpfs /mnt/full && cp -a '{path}/.' /mnt/full"
            f" && mount --move /mnt/full '{path}' && rmdir /mnt/full && ! cat /dev/zero 2>/dev/null >'{path}/filler'"
        )

    def without_yaml(self) -> None:
        """Ansible's interpreter has no PyYAML from now on; the system's own, as EL8 calls it, does."""
        self.run(f"'{self.interpreter}' -m venv --without-pip /opt/bare && mkdir -p /usr/libexec")
        self.write("/usr/libexec/platform-python", f'#!/bin/sh\nexec {self.interpreter} "$@"\n', mode=0o755)
        self.interpreter = Path("/opt/bare/bin/python")

    def start(self) -> None:
        """Start the host; it listens on return."""
        self.launch()
        self.wait()

    def stop(self) -> None:
        """Kill the host: connections are cut, new ones refused. On return nothing of it is left but its disk."""
        self.kill()
        self.bury()

    # The halves of start() and stop(), for all hosts at a time.

    @property
    def running(self) -> bool:
        return self._process is not None

    @property
    def process_id(self) -> int:
        """Its first process, as this machine numbers it."""
        return self._pid

    def launch(self) -> None:
        if self.running:
            return
        with self._log.open("wb") as log:
            self._process = _dies_with_us(*self._fleet.command(self), stderr=log)

    def wait(self) -> None:
        if self._process is None or self._process.stdout is None:
            raise RuntimeError(f"{self.name} was not started")
        line = self._process.stdout.readline()
        self._pid = int(line or 0)
        deadline = time.monotonic() + 300  # to end what hangs, on a busy machine too
        while not (line and listens((self.address, PORT))):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} does not start: {self._log.read_text(errors='replace').strip()}")
            time.sleep(0.005)

    def kill(self) -> None:
        if self._pid:
            # The first process of the host: with it, the kernel ends all others there, and only then it is gone itself.
            os.kill(self._pid, signal.SIGKILL)
        elif self._process is not None:
            self._process.kill()

    def bury(self) -> None:
        if self._process is not None:
            self._process.communicate()
            self._process, self._pid = None, 0
            self._fleet.forget_connections(self)

    def forget(self) -> None:
        self.interpreter = self._first_interpreter
        self.variables.clear()

    @property
    def _log(self) -> Path:
        return self._fleet.home / f"{self.name}.log"


class Fleet:
    """`hosts` are node1, node2 ...; `fleet["node3"]` is one of them."""

    def __init__(self, home: Path, disks: Path, keeper: int, count: int, interpreters: Sequence[Path]) -> None:
        self.home = home
        self._disks = disks
        self._keeper = keeper
        self._connections = home / "ssh"
        self._connections.mkdir()
        network = f"127.{random.randint(1, 254)}.{random.randint(1, 254)}"
        self.hosts = [Host(self, f"node{n}", f"{network}.{n}", interpreters[(n - 1) % len(interpreters)]) for n in range(1, count + 1)]
        self._mounted = _mounted(interpreters)
        self._make_base()

    def __getitem__(self, name: str) -> Host:
        return next(host for host in self.hosts if host.name == name)

    @property
    def inventory(self) -> Path:
        """An inventory of all hosts, with their `interpreter` and `variables` of this moment."""
        hosts = {
            host.name: {"ansible_host": host.address, "ansible_python_interpreter": str(host.interpreter), **host.variables} for host in self.hosts
        }
        shared = {
            "ansible_user": "root",
            "ansible_port": PORT,
            "ansible_ssh_private_key_file": str(self.home / "key"),
            "ansible_ssh_args": " ".join(self._ssh_options()),
            "ansible_ssh_pipelining": True,
        }
        path = self.home / "inventory.json"
        path.write_text(json.dumps({"all": {"hosts": hosts, "vars": shared}}))
        return path

    def cpu_time(self) -> float:
        """The CPU time that all processes of the running hosts have taken so far, in seconds."""
        return sum(_cpu_time(host.process_id) for host in self.hosts if host.running)

    def start(self) -> None:
        """Start the hosts that are stopped."""
        stopped = [host for host in self.hosts if not host.running]
        for host in stopped:
            host.launch()
        for host in stopped:
            host.wait()

    def stop(self) -> None:
        """Stop all hosts."""
        for host in self.hosts:
            host.kill()
        for host in self.hosts:
            host.bury()

    def reset(self) -> None:
        """All hosts are as they were in the beginning, whatever happened to them."""
        self.stop()
        for host in self.hosts:
            shutil.rmtree(self._seen(self._disks / host.name), ignore_errors=True)
            host.forget()
        self.start()

    def forget_connections(self, host: Host) -> None:
        """Wait until ssh has seen that its connection is cut; else the next command would meet the old one."""
        deadline = time.monotonic() + 60
        while (self._connections / host.address).exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        (self._connections / host.address).unlink(missing_ok=True)

    def command(self, host: Host) -> list[str]:
        """What starts a host."""
        disk = self._disks / host.name
        for name in ("upper", "work", "root"):
            self._seen(disk / name).mkdir(parents=True, exist_ok=True)
        enter = ["nsenter", f"--target={self._keeper}", "--mount", "--"]
        unshare = ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--propagation", "private", "--"]
        arguments = [host.name, f"{host.address}:{PORT}", self._disks / "base", disk, program("sshd"), *self._mounted]
        return [*enter, *unshare, "sh", "-ec", HOST, "host", *map(str, arguments)]

    def _ssh_options(self) -> Iterator[str]:
        yield from ("-F", "none")
        options = {
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "LogLevel": "ERROR",
            "ConnectTimeout": "5",
            "ControlMaster": "auto",
            "ControlPersist": "30",
            "ControlPath": f"{self._connections}/%h",
        }
        for name, value in options.items():
            yield from ("-o", f"{name}={value}")

    def _seen(self, path: Path) -> Path:
        """Where a path on the keeper's disks is for us."""
        return Path(f"/proc/{self._keeper}/root{path}")

    def _make_base(self) -> None:
        """The layer that all hosts share, between this machine's files and their own."""
        base = self._seen(self._disks / "base")
        for name, mode in {**EMPTY, "run/sshd": 0o755, "etc/ssh": 0o755}.items():
            (base / name).mkdir(parents=True, exist_ok=True)
            (base / name).chmod(mode)
        for name in EMPTY:
            os.setxattr(base / name, "trusted.overlay.opaque", b"y")
        for name in ABSENT:
            (base / name).parent.mkdir(parents=True, exist_ok=True)
            os.mknod(base / name, 0o600 | 0o020000, os.makedev(0, 0))  # a whiteout
        for path in self._mounted:
            (base / path.relative_to("/")).mkdir(parents=True, exist_ok=True)
        _add_users(base)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.home / "key")
        (base / "etc/ssh/authorized_keys").write_text((self.home / "key.pub").read_text())
        (base / "etc/ssh/sshd_config").write_text(f"Port {PORT}\n{SSHD_CONFIG}")
        for host in self.hosts:
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", host.name, "-f", base / f"etc/ssh/{host.name}.key")


def _cpu_time(pid: int) -> float:
    """The CPU time of a process, of all that it started, and of all that has ended among them."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):  # it has just ended, and its parent has its time
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK") + sum(_cpu_time(int(child)) for child in children)


def _add_users(base: Path) -> None:
    """This machine's accounts, and those of `USERS`, whose numbers and names nobody else has."""
    entries = {
        "passwd": [f"{name}:x:{uid}:{uid}::/home/{name}:{shell}" for name, (uid, shell) in USERS.items()],
        "group": [f"{name}:x:{uid}:" for name, (uid, _shell) in USERS.items()],
        "shadow": [f"{name}:*:20000:0:99999:7:::" for name in USERS],
    }
    for file, added in entries.items():
        kept = [line for line in Path("/etc", file).read_text().splitlines() if line.split(":")[0] not in USERS]
        (base / "etc" / file).write_text("\n".join([*kept, *added, ""]))
        shutil.copystat(Path("/etc", file), base / "etc" / file)
    for name, (uid, _shell) in USERS.items():
        (base / "home" / name).mkdir(mode=0o700)
        os.chown(base / "home" / name, uid, uid)


def _mounted(interpreters: Iterable[Path]) -> list[Path]:
    """Of this machine, read-only: the checkout with its environments, and where their Pythons are if that is not /usr."""
    prefixes = [Path(os.path.realpath(interpreter)).parent.parent for interpreter in interpreters]
    found = {envs.ROOT, *(prefix for prefix in prefixes if not prefix.is_relative_to("/usr"))}
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    if pyenv.is_dir():
        found.add(pyenv)
    return sorted(path for path in found if not any(path.is_relative_to(other) for other in found - {path}))


def _dies_with_us(*command: object, stderr: Any) -> subprocess.Popen[str]:
    """Start a program that the kernel kills when the thread ends that called this."""
    words = [program("setpriv"), "--pdeathsig", "KILL", "--", *map(str, command)]
    env = {"PATH": SEARCHED}
    return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, text=True, env=env, start_new_session=True)


@contextlib.contextmanager
def _keeper(home: Path) -> Iterator[tuple[Path, int]]:
    """A process that has a file system in memory, which nobody else sees: where it is there, and the process."""
    disks = home / "disks"
    disks.mkdir()
    with (home / "keeper.log").open("wb") as log:
        process = _dies_with_us("unshare", "--mount", "--propagation", "private", "--", "sh", "-ec", KEEPER, "keeper", disks, stderr=log)
    try:
        if process.stdout is None or process.stdout.readline() != "ready\n":
            raise NoFleetError("can't mount: " + (home / "keeper.log").read_text(errors="replace").strip())
        yield disks, process.pid
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def fleet(count: int = 16, interpreters: Sequence[Path] = ()) -> Iterator[Fleet]:
    """Start hosts, which run modules with these interpreters in turn (all with the newest, if none is given).

    Raises NoFleetError, and MissingProgramError for want of a program.
    """
    if os.geteuid() != 0:
        raise NoFleetError("needs root")
    for name in ("hostname", "mount", "nsenter", "setpriv", "ssh", "ssh-keygen", "sshd", "unshare"):
        program(name)
    with directory() as home, _keeper(home) as (disks, keeper):
        hosts = Fleet(home, disks, keeper, count, list(interpreters) or [envs.node("newest").python])
        try:
            hosts.start()
            yield hosts
        finally:
            hosts.stop()
