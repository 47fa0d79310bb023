# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts are what the other tests here take them for."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import envs, processes
from support import fleet as fleets
from support.servers.daemons import listens

NAMES = {f"node{n}" for n in range(1, 17)}
PING = [{"hosts": "all", "gather_facts": False, "tasks": [{"ansible.builtin.ping": {}}]}]
WHO = [{"hosts": "all", "gather_facts": False, "tasks": [{"ansible.builtin.command": "id -un", "changed_when": False}]}]
# Starts two hosts, says where they are, and waits to be stopped or killed.
STARTER = """
import sys
from support.fleet import fleet
with fleet(2) as hosts:
    hosts["node1"].read_only("/etc")
    print(hosts.home, hosts["node1"].address.rpartition(".")[0], flush=True)
    sys.stdin.read()
"""


def test_all_answer(play):
    played = play(plays=PING)
    assert played.rc == 0, played.output
    assert {name: result["ping"] for name, result in played.results("ansible.builtin.ping").items()} == dict.fromkeys(NAMES, "pong")
    assert {name for name, counts in played.recap.items() if counts["ok"] == 1} == NAMES


def test_old_and_new_pythons(play, node_python):
    version = [{"ansible.builtin.command": "{{ ansible_python_interpreter }} -V", "changed_when": False}]
    played = play("--limit", "node1,node2", plays=[{"hosts": "all", "gather_facts": False, "tasks": version}], node=node_python)
    expected = subprocess.check_output([node_python.python, "-V"], text=True).strip()
    assert {result["stdout"] for result in played.results("ansible.builtin.command").values()} == {expected}
    assert set(played.results("ansible.builtin.command")) == {"node1", "node2"}


def test_each_has_its_own(fleet):
    assert {host.run("hostname").stdout.strip() for host in fleet.hosts} == NAMES
    one, *others = fleet.hosts
    paths = [f"{directory}/hpc-apptainer-test" for directory in ("/etc/apptainer", "/root", "/home", "/tmp", "/run", "/usr/bin", "/var/lib")]
    for path in paths:
        one.write(path, "mine")
    one.run("useradd mallory && (sleep 1000 >/dev/null 2>&1 &)")
    assert [one.read(path) for path in paths] == ["mine"] * len(paths)
    assert "mallory" in one.read("/etc/passwd")
    assert "sleep" in one.run("cat /proc/[0-9]*/cmdline", check=False).stdout
    for host in others:
        assert host.run(f"ls {' '.join(paths)}", check=False).stdout == ""
        assert "mallory" not in host.read("/etc/passwd")
        assert "sleep" not in host.run("cat /proc/[0-9]*/cmdline", check=False).stdout
    assert not [path for path in paths if os.path.lexists(path)]
    assert "mallory" not in Path("/etc/passwd").read_text()


def test_nothing_of_this_machine_is_changed_or_private(fleet):
    """But for the checkout and the Pythons, which are there to read."""
    host = fleet.hosts[0]
    names = host.run("ls -A /home /run /tmp /var/tmp | grep -v :").stdout.split()
    assert [name for name in names if name not in envs.ROOT.parts] == ["alice", "ci", "sshd"]  # the checkout may be in one of these
    assert host.run("ls -A /root").stdout.strip() in ("", ".pyenv")
    assert host.run("ls /etc/apptainer /usr/bin/apptainer /etc/singularity", check=False).stdout == ""
    assert host.run(f"ls '{envs.ROOT}/galaxy.yml'").stdout
    assert "Read-only file system" in host.run(f"touch '{envs.ROOT}/galaxy.yml'", check=False).stderr


def test_stop_and_start(fleet, play):
    """A host that is off is unreachable at once; the others don't mind; afterwards it is as it was, and reached again."""
    host = fleet["node2"]
    host.write("/etc/apptainer/kept", "kept")
    assert play("--limit", "node1,node2", plays=PING).rc == 0
    host.stop()
    assert not listens((host.address, fleets.PORT))
    with pytest.raises(RuntimeError, match="node2 is stopped"):
        host.run("true")
    played = play("--limit", "node1,node2", plays=PING)
    assert (played.hosts("unreachable"), played.hosts("ok")) == ({"node2"}, {"node1"})
    host.start()
    assert host.read("/etc/apptainer/kept") == "kept"
    assert play("--limit", "node1,node2", plays=PING).hosts("ok") == {"node1", "node2"}


def test_reset(fleet):
    one, two, three = fleet.hosts[:3]
    inventory = fleet.inventory.read_text()
    one.write("/etc/apptainer/remote.yaml", "changed")
    one.run("rm /etc/passwd")
    one.variables["name"] = "value"
    two.read_only("/etc")
    two.run("mkdir /tmp/made")
    three.stop()
    assert fleet.inventory.read_text() != inventory
    fleet.reset()
    assert fleet.inventory.read_text() == inventory
    assert one.run("ls /etc/apptainer; id alice", check=False).stdout == "uid=2000(alice) gid=2000(alice) groups=2000(alice)\n"
    assert two.run("touch /etc/written; ls -d /tmp/made", check=False).stdout == ""
    assert three.run("true").returncode == 0


def error_of(host, path):
    """The number of the error that writing a new file on the host raises; 0 for none."""
    code = f"import errno\ntry:\n  with open({path!r}, 'w') as file: file.write('x' * 10000)\nexcept OSError as exc: print(exc.errno)\nelse: print(0)"
    return int(host.run(f"'{host.interpreter}' -", stdin=code).stdout)


def test_faults_are_real(fleet):
    read_only, full, bare, fine = fleet.hosts[:4]
    full.write("/etc/apptainer/remote.yaml", "kept")
    read_only.read_only("/etc")
    full.full("/etc/apptainer")
    bare.without_yaml()
    fine.run("mkdir /etc/apptainer")
    assert error_of(read_only, "/etc/new") == errno.EROFS
    assert error_of(full, "/etc/apptainer/new") == errno.ENOSPC
    assert full.read("/etc/apptainer/remote.yaml") == "kept"
    assert error_of(full, "/etc/new") == error_of(fine, "/etc/apptainer/new") == 0
    assert "No module named 'yaml'" in bare.run(f"{bare.interpreter} -c 'import yaml'", check=False).stderr
    assert bare.run("/usr/libexec/platform-python -c 'import yaml'").stdout == ""


def test_accounts(fleet, play):
    """Ansible can become a service account that nobody can log in to."""
    assert fleet["node1"].run("id -un", user="alice").stdout == "alice\n"
    assert fleet["node1"].run("getent passwd ci").stdout == "ci:x:2001:2001::/home/ci:/usr/sbin/nologin\n"
    become = {"ansible_become_method": "su", "ansible_become_flags": "-s /bin/sh"}
    plays = [{**WHO[0], "become": True, "become_user": "ci"}]
    played = play("--limit", "node1", plays=plays, **become)
    assert played.results("ansible.builtin.command")["node1"]["stdout"] == "ci", played.output


@pytest.mark.parametrize("killed", [False, True])
def test_nothing_is_left(killed, fleet, tmp_path):
    """Neither when it ends, nor when the process that started it is killed."""
    env = {**processes.clean_env(tmp_path), "PYTHONPATH": str(envs.ROOT / "tests")}
    starter = subprocess.Popen([sys.executable, "-c", STARTER], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    home, network = starter.stdout.readline().split()
    try:
        assert seen(home, network) >= {"cmdline", "mountinfo"}
        if killed:
            starter.send_signal(signal.SIGKILL)
        starter.communicate()
        while killed and seen(home, network):  # it takes the kernel a moment
            time.sleep(0.02)
        assert seen(home, network) == set()
        assert os.path.lexists(home) == killed
    finally:
        starter.kill()
        shutil.rmtree(home, ignore_errors=True)


def seen(home, network):
    """Where in /proc there still is something of that fleet: its addresses in command lines, its directory in mounts."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        for name, wanted in (("cmdline", f"{network}."), ("mountinfo", home)):
            try:
                if wanted.encode() in (process / name).read_bytes():
                    found.add(name)
            except OSError:
                continue
    return found
