# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The callback hpc.apptainer.fleet, in real runs of ansible-playbook. Nodes are stubs that answer each module with the same result."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time

import pytest
from support import envs, leaks, processes, stubs

CORES = [envs.OLD_CORE, "newest"]
LOST = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
FILE = "/etc/apptainer/remote.yaml"
SECRET = "s3cret-S3CRET-in-a-task"
PART = {"subject": "global", "changed": False, "config_file": FILE}
IN_STATE = {"changed": False, "ping": "pong", "declared": True, "failures": [], "parts": [PART]}
DRIFTED = {**IN_STATE, "changed": True, "parts": [{**PART, "changed": True}],
           "diff": [{"subject": "global", "before": "Active: a\n", "after": "Active: b\n", "before_header": FILE, "after_header": FILE}]}
BROKEN = {"failed": True, "msg": "no space left"}
WARNING = {**IN_STATE, "warnings": ["this node is old"]}


@pytest.fixture
def site(tmp_path):
    """`site(tasks, hosts, **play)`: write a play (or take a playbook's name) and an inventory (each host: its result, or its variables).

    Returns the command and its environment.
    """

    def make(play, hosts, *arguments, core="running", callback="hpc.apptainer.fleet", **environment):
        try:
            programs = envs.core(core) / "bin"
        except envs.MissingInterpreterError as exc:
            pytest.skip(str(exc))
        kinds = {json.dumps(result): result for result in hosts.values()}
        pythons = {kind: stubs.interpreter(tmp_path / f"python{number}", kinds[kind]) for number, kind in enumerate(kinds)}
        local = {kind: {"ansible_connection": "local", "ansible_python_interpreter": str(python)} for kind, python in pythons.items()}
        variables = {host: LOST if result is LOST else local[json.dumps(result)] for host, result in hosts.items()}
        (tmp_path / "inventory.json").write_text(json.dumps({"all": {"hosts": variables}}))
        if not isinstance(play, str):
            (tmp_path / "play.yml").write_text(json.dumps([{"hosts": "all", "gather_facts": False, **part} for part in play]))
            play = tmp_path / "play.yml"
        env = processes.clean_env(tmp_path / "home", {
            "ANSIBLE_STDOUT_CALLBACK": callback, "ANSIBLE_PIPELINING": True, "ANSIBLE_FORKS": 20, **environment})
        return [programs / "ansible-playbook", "-i", tmp_path / "inventory.json", *arguments, play], env

    return make


@pytest.fixture
def play(site, tmp_path):
    """The same, and run it: the process, and what it printed to both, without the lines of stars."""

    def run(*args, **options):
        command, env = site(*args, **options)
        done = processes.run(*command, env=env, cwd=tmp_path)
        assert "Callback dispatch" not in done.stdout + done.stderr
        return done, re.sub(r" \*\*\*+$", "", done.stdout, flags=re.MULTILINE)

    return run


def nodes(number, **others):
    return {f"node{index}": IN_STATE for index in range(1, number + 1)} | others


PING = {"name": "Ping", "ansible.builtin.ping": None}


@pytest.mark.parametrize("core", CORES)
def test_hosts_that_are_fine_are_only_counted(play, core):
    done, said = play([{"name": "All", "tasks": [PING, {"ansible.builtin.command": "true", "when": False}, PING]}], nodes(12), core=core)
    assert (done.returncode, done.stderr) == (0, "")
    assert said.strip() == "PLAY [All] (12 hosts)\n\nPLAY RECAP\n12 hosts: 12 ok"


@pytest.mark.parametrize("core", CORES)
def test_failures_are_folded(play, core):
    hosts = nodes(6, node3=BROKEN, node5=BROKEN, node7=LOST, node8=LOST)
    done, said = play([{"name": "All", "tasks": [PING, {"name": "Again", "ansible.builtin.ping": None}]}], hosts, core=core)
    assert done.returncode == 4  # as with any callback
    _start, task, recap = re.split("TASK|PLAY RECAP", said)
    assert task.startswith(" [Ping]\n")
    assert "\nFailed on 2 hosts (node[3,5]): no space left\n" in task
    assert re.search(r"\nUnreachable on (2 hosts \(node\[7-8\]\)|1 host \(node7\)): .*127\.0\.0\.1", task)
    assert recap.strip().split("\n") == ["8 hosts: 4 ok, 2 failed, 2 unreachable", "Failed: node[3,5]", "Unreachable: node[7-8]"]


TASKS = [
    {"name": "Own names", "ansible.builtin.fail": {"msg": "{{ inventory_hostname }} is full"}, "ignore_errors": True},
    {"name": "Items", "ansible.builtin.fail": {"msg": "no {{ item }}"}, "loop": ["a", "b"], "ignore_errors": True},
    {"name": "Hidden", "ansible.builtin.fail": {"msg": SECRET}, "no_log": True, "ignore_errors": True},
    {"name": "Hidden items", "ansible.builtin.fail": {"msg": "{{ item }}"}, "loop": [SECRET], "no_log": True, "ignore_errors": True},
    {"name": "Say", "ansible.builtin.debug": {"msg": "hello"}},
    {"name": "Say items", "ansible.builtin.debug": {"msg": "hello {{ item }}"}, "loop": ["a", "b"]},
    {"name": "Say nothing", "ansible.builtin.debug": {"msg": "{{ inventory_hostname }}", "verbosity": 1}},
    {"name": "Mend", "block": [{"name": "Break", "ansible.builtin.fail": {"msg": "broken"}, "when": "inventory_hostname == 'node2'"}],
     "rescue": [{"name": "Repair", "ansible.builtin.ping": None}]},
    {"name": "Change", "ansible.builtin.set_fact": {"a": 1}, "changed_when": "inventory_hostname != 'node1'", "notify": "Restart"},
    {"name": "Include", "ansible.builtin.include_tasks": "more.yml"},
]
HANDLERS = [{"name": "Restart", "ansible.builtin.fail": {"msg": "no service"}, "ignore_errors": True}]


@pytest.mark.parametrize("core", CORES)
def test_everything_that_tasks_can_say(play, tmp_path, core):
    (tmp_path / "more.yml").write_text(json.dumps([PING]))
    done, said = play([{"name": "All", "tasks": TASKS, "handlers": HANDLERS}], nodes(3), core=core, ANSIBLE_FORKS=1)  # the first of them is the example
    blocks = dict(re.findall(r"^(?:TASK|RUNNING HANDLER) \[(.*)\]\n((?:.+\n)+)", said, re.MULTILINE))
    hidden = "Failed (ignored) on 3 hosts (node[1-3]): the output has been hidden due to the fact that 'no_log: true' was specified for this result\n"
    assert (done.returncode, blocks) == (0, {
        "Own names": "Failed (ignored) on 3 hosts (node[1-3]), for example on node1: node1 is full\n",
        "Items": "Failed (ignored) on 3 hosts (node[1-3]): (item=a) no a\nFailed (ignored) on 3 hosts (node[1-3]): (item=b) no b\n",
        "Hidden": hidden,
        "Hidden items": hidden,
        "Say": "Output on 3 hosts (node[1-3]):\n    msg: hello\n",
        "Say items": blocks["Say items"],
        "Break": "Failed on 1 host (node2): broken\n",
        "Restart": "Failed (ignored) on 2 hosts (node[2-3]): no service\n",
    })
    assert re.findall("hello .", blocks["Say items"]) == ["hello a", "hello b"]
    assert said.endswith("PLAY RECAP\n3 hosts: 3 ok, 2 changed, 3 with ignored errors\nChanged: node[2-3]\n\n")
    assert leaks.leaked([done.stdout, done.stderr], leaks.forms("", SECRET)) == []


@pytest.mark.parametrize("core", CORES)
def test_warnings_say_on_which_hosts(play, core):
    done, _said = play([{"tasks": [PING]}], nodes(2, node3=WARNING, node4=WARNING), core=core)
    assert " ".join(done.stderr.split()) == "[WARNING]: on 2 hosts (node[3-4]): this node is old"


@pytest.mark.parametrize("core", CORES)
def test_differences(play, core):
    """Only with --diff, also if the play asks for them, as drift does for its report; the same difference once."""
    hosts = nodes(2, node3=DRIFTED, node4=DRIFTED)
    for arguments, found in (((), 0), (("--diff",), 1)):
        _done, said = play([{"tasks": [PING], "diff": True}], hosts, *arguments, core=core)
        assert said.count("+Active: b\n") == found
        assert said.count("Difference on 2 hosts (node[3-4]):\n--- before: /etc/apptainer/remote.yaml\n") == found
        assert "4 hosts: 4 ok, 2 changed\nChanged: node[3-4]\n" in said


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("level", ["-v", pytest.param("-vvv", marks=pytest.mark.newest)])
def test_verbose_is_what_the_default_callback_prints(play, tmp_path, core, level):
    (tmp_path / "more.yml").write_text(json.dumps([PING]))
    texts = []
    for callback in ("ansible.builtin.default", "hpc.apptainer.fleet"):
        done, _said = play([{"name": "All", "serial": [1, 2], "tasks": [PING, *TASKS], "handlers": HANDLERS}], nodes(2, node3=BROKEN),
                           level, "--diff", core=core, callback=callback, ANSIBLE_FORKS=1)
        texts.append([line for line in done.stdout.split("\n") if not re.search("PID|^<|allback|ansible-playbook|<stdin>|tmp|Time", line)])
    assert texts[0] == texts[1]
    assert any(line.startswith("ok: [node1] => ") for line in texts[1])


@pytest.mark.parametrize("core", CORES)
def test_batches(play, core):
    _done, said = play([{"name": "In batches", "serial": [1, "50%"], "tasks": [PING]}, {"name": "Together", "tasks": [PING]},
                        {"name": "Here", "hosts": "localhost", "tasks": [{"ansible.builtin.debug": {"msg": "hello"}}]}], nodes(6), core=core)
    assert re.findall("PLAY .*", said) == [
        "PLAY [In batches] (batch 1 of 3, 1 host)", "PLAY [In batches] (batch 2 of 3, 3 hosts)", "PLAY [In batches] (batch 3 of 3, 2 hosts)",
        "PLAY [Together] (6 hosts)", "PLAY [Here]", "PLAY RECAP"]
    assert "\n6 hosts: 6 ok\n" in said, "the implicit localhost is none of the fleet"


@pytest.mark.parametrize("core", CORES)
def test_hosts_that_do_not_wait_for_each_other(play, core):
    _done, said = play([{"strategy": "ansible.builtin.free", "tasks": [PING, {"name": "Say", "ansible.builtin.debug": {"msg": "hello"}}]}],
                       nodes(5, node6=BROKEN), core=core)
    assert said.count("TASK") == 2
    assert "Output on 5 hosts (node[1-5]):\n" in said
    assert "TASK [Ping]\nFailed on 1 host (node6): no space left\n" in said


def test_settings_of_the_default_callback(play):
    done, said = play([{"name": "All", "tasks": [{"name": "Stat", "ansible.builtin.set_stats": {"data": {"a": 1}}}, PING]}], nodes(1, node2=BROKEN),
                      "--check", ANSIBLE_SHOW_CUSTOM_STATS=1, ANSIBLE_CHECK_MODE_MARKERS=1, ANSIBLE_DISPLAY_FAILED_STDERR=1,
                      ANSIBLE_SHOW_TASK_PATH_ON_FAILURE=1)
    assert "PLAY [All] (2 hosts) [CHECK MODE]\n" in said
    assert re.search(r"TASK \[Ping\] \[CHECK MODE\]\ntask path: .*play\.yml:1\n", said)
    assert done.stderr == "Failed on 1 host (node2): no space left\n"
    assert "CUSTOM STATS:\n\tRUN: a: 2\n" in said
    assert said.count("DRY RUN") == 2


def terminal(command, env, cwd):
    """Run it on a terminal of 60 columns; returns all that was written to it."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(list(map(str, command)), cwd=cwd, env={**env, "TERM": "xterm", "COLUMNS": "60"}, stdin=follower, stdout=follower,
                               stderr=follower)
    os.close(follower)
    written = b""
    while True:
        try:
            data = os.read(leader, 1 << 16)
        except OSError:  # the other end is closed
            break
        written += data
    os.close(leader)
    assert process.wait() == 2
    return written.decode()


@pytest.mark.parametrize("core", CORES)
def test_progress_on_a_terminal(site, tmp_path, core):
    """One line in place, that is gone when anything else is printed, and never longer than the terminal is wide."""
    command, env = site([{"name": "All", "tasks": [{"name": f"Ping {'slowly ' * 10}", "ansible.builtin.ping": None}, PING]}],
                        nodes(29, node30=BROKEN), core=core)
    written = terminal(command, env, tmp_path)
    drawn = re.findall(r"\r\x1b\[K([^\r\n]+)\r", written)
    assert any(re.fullmatch(r"Ping: \d+ of 29 hosts done, 1 failed(, waiting for \S+)?", line) for line in drawn), written
    assert max(map(len, drawn)) == 59
    left = re.sub(r"\r\x1b\[K[^\r\n]*(?=\r)", "", written).replace("\r", "")
    assert "of 29 hosts" not in re.sub(r"\x1b\[[0-9;]*[mK]", "", left)
    assert "Failed on 1 host (node30): no space left" in left


@pytest.mark.parametrize("core", CORES)
def test_what_was_said_before_an_interrupt_is_not_lost(site, tmp_path, core):
    begun = tmp_path / "begun"
    commands = {"node1": "echo broken >&2; exit 1", "node2": f"touch {begun}; sleep 600"}
    task = {"name": "Wait", "ansible.builtin.shell": "{{ commands[inventory_hostname] }}", "vars": {"ansible_python_interpreter": sys.executable}}
    command, env = site([{"tasks": [task], "vars": {"commands": commands}}], nodes(2), core=core, ANSIBLE_FORKS=1)
    command = ["env", "--default-signal=INT", *command]  # a job in a shell's background ignores it, and so would all that it starts
    process = subprocess.Popen(list(map(str, command)), cwd=tmp_path, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, start_new_session=True)
    while not begun.exists():  # by the second host, after the first
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate()[0]
    assert process.returncode in (99, 2)  # 2 if Ansible hears of the command that was interrupted before it is interrupted itself
    assert re.search(r"Failed on 1 host \(node1\): .*non-zero return code: broken\n", said)


@pytest.mark.parametrize("count", [200, pytest.param(2000, marks=pytest.mark.full)])
def test_thousands_of_hosts_on_a_screen(play, tmp_path, count):
    """Some have drifted, some fail, some are lost, and the report is there in full."""
    hosts = {f"node{number:04}": IN_STATE for number in range(1, count + 1)}
    hosts |= {f"node{number:04}": DRIFTED for number in range(3, count + 1, 7)}
    hosts |= {f"node{number:04}": BROKEN for number in range(51, 91)} | {f"node{number:04}": LOST for number in range(1, count + 1, count // 8)}
    variables = {"apptainer_fleet_remotes": [{"name": "b", "uri": "https://library.example.org"}], "apptainer_fleet_report_html": ""}
    done, said = play("hpc.apptainer.drift", hosts, "-e", json.dumps(variables), ANSIBLE_FORKS=40,
                      ANSIBLE_LOG_PATH=tmp_path / "log")
    assert done.returncode == 4
    report = json.loads((tmp_path / "apptainer-drift.json").read_text())
    assert report["summary"]["hosts"] == count
    broken, lost = (sum(result is kind for result in hosts.values()) for kind in (BROKEN, LOST))
    assert (lost, broken > 30) == (8, True)
    assert re.search(rf"^{count} hosts: \d+ drifted, {broken} failed, 8 unreachable, \d+ in state$", said, re.MULTILINE)
    assert re.search(r"^Drift on \d+ hosts \(node\[0003,.*default endpoint", said, re.MULTILINE)
    assert re.search(r"Failed: node\[0003,0010,.*0052-0075,0077-0090,", (tmp_path / "log").read_text(), re.MULTILINE)
    wrapped = sum(max(1, -(-len(line) // 80)) for line in done.stdout.split("\n"))
    assert wrapped <= 60, f"two screens of 30 lines and 80 columns:\n{done.stdout}"
