# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the quiet console says: progress, messages that many hosts share, the recap."""

import pytest
from ansible.executor.playbook_executor import PlaybookExecutor
from ansible_collections.hpc.apptainer.plugins.plugin_utils._console import (
    FAILED,
    UNREACHABLE,
    Messages,
    Progress,
    batch_count,
    batch_label,
    failure_text,
    message_lines,
    one_line,
    recap_lines,
)

NODES = [f"node{number}" for number in range(1, 201)]


def lines(*said, kind=FAILED, addresses=()):
    messages = Messages()
    for host, text in said:
        messages.add(kind, host, *one_line(text, host, addresses))
    return [line for _kind, line in message_lines(messages)]


@pytest.mark.parametrize(("said", "expected"), [
    ([("node1", "no space left")], ["Failed on 1 host (node1): no space left"]),
    ([("node2", "full"), ("node1", "full"), ("node3", "full")], ["Failed on 3 hosts (node[1-3]): full"]),
    ([("node7", "node7 is full"), ("node8", "node8 is full")], ["Failed on 2 hosts (node[7-8]), for example on node7: node7 is full"]),
    ([("node7", "node7 is full")], ["Failed on 1 host (node7): node7 is full"]),
    ([("node7", "node70 is full"), ("node8", "node70 is full")], ["Failed on 2 hosts (node[7-8]): node70 is full"]),
    ([("node1", "10.0.0.1: no route"), ("node2", "10.0.0.2: no route")], ["Failed on 2 hosts (node[1-2]), for example on node1: 10.0.0.1: no route"]),
    ([("node1", "full"), ("node2", "lost"), ("node3", "lost")], ["Failed on 2 hosts (node[2-3]): lost", "Failed on 1 host (node1): full"]),
    ([("node1", "one\n  two\t\x1b[31mred\x1b[0m \x07 bell")], ["Failed on 1 host (node1): one two red \\u0007 bell"]),
], ids=["one", "the same", "own names", "its own name", "another's name", "addresses", "the most first", "several lines"])
def test_messages(said, expected):
    assert lines(*said) == expected


def test_a_message_with_the_host_s_other_name():
    said = [("node1", "n1.example.org is full"), ("node2", "node2 is full")]
    assert lines(*said, addresses=["n1.example.org"]) == ["Failed on 2 hosts (node[1-2]), for example on node1: n1.example.org is full"]


def test_very_many_and_very_long_messages():
    """Two hundred hosts with a message each are no more than eleven lines, and none is longer than a few lines of a terminal."""
    found = lines(*((node, f"{'A' * number} {'x ' * 2000}") for number, node in enumerate(NODES)))
    assert len(found) == 11
    assert found[0].endswith(" ... (-v shows all)")
    assert found[-1] == "Failed on 190 more hosts (node[11-200]): rerun with -v to see all"
    assert max(map(len, found)) < 1100


def test_many_hosts_without_a_pattern():
    (found,) = lines(*((node, "full") for node in NODES[::2]))
    assert found.startswith("Failed on 100 hosts (node[1,3,5,")
    assert found.endswith(",...]): full")
    assert len(found) < 130


def test_messages_of_several_lines_begin_on_their_own():
    messages = Messages()
    assert not messages
    messages.add("Output", "node1", "\n    msg: hello")
    assert messages
    assert list(message_lines(messages)) == [("Output", "Output on 1 host (node1):\n    msg: hello")]


@pytest.mark.parametrize(("result", "text"), [
    ({"msg": "no"}, "no"),
    ({"msg": ["a", 1]}, "['a', 1]"),
    ({"msg": "non-zero return code", "stderr": "first\nlast\n", "stdout": "out"}, "non-zero return code: last"),
    ({"msg": "non-zero return code", "stderr": "", "stdout": "out\n"}, "non-zero return code: out"),
    ({"msg": "MODULE FAILURE.", "module_stderr": "Traceback\nValueError: x\n", "module_stdout": ""}, "MODULE FAILURE: ValueError: x"),
    ({"msg": "it said so", "stderr": "so"}, "it said so"),
    ({"censored": "the output has been hidden"}, "the output has been hidden"),
    ({"reason": "No such file"}, "No such file"),
    ({}, "no reason was given"),
], ids=["message", "list", "stderr", "stdout", "crash", "said already", "hidden", "include", "nothing"])
def test_failure_text(result, text):
    assert failure_text(result) == text


def summary(**numbers):
    return {"ok": 1, "changed": 0, "failures": 0, "unreachable": 0, "skipped": 0, "rescued": 0, "ignored": 0, **numbers}


def test_recap():
    summaries = {node: summary() for node in NODES} | {
        "node7": summary(failures=1), "node8": summary(failures=1, unreachable=1), "node9": summary(unreachable=1), "node10": summary(ignored=2)}
    summaries |= {node: summary(changed=1) for node in NODES[100::2]}
    assert [line for _kind, line in recap_lines(summaries, complete=False)][:3] == [
        "200 hosts: 197 ok, 2 failed, 2 unreachable, 50 changed, 1 with ignored errors", "Failed: node[7-8]", "Unreachable: node[8-9]"]
    assert recap_lines(summaries, complete=False)[3][1].startswith("Changed: node[101,103,")
    assert recap_lines({"node1": summary()}, complete=False) == [("", "1 host: 1 ok")]


@pytest.mark.parametrize("name", ["failures", "unreachable", "changed"])
def test_the_log_has_all_hosts_and_the_screen_only_as_many_as_fit(name):
    many = {f"node{number}": summary(**{name: 1}) for number in range(1, 1001, 2)}
    (_counts, (_kind, screen)), (_counts, (_kind, log)) = (recap_lines(many, complete) for complete in (False, True))
    assert len(screen) < 820
    assert screen.endswith(",...]")
    assert log.count(",") == 499


BATCHES = [
    (10, [], 1), (10, [4], 3), (10, [1, "50%"], 3), (10, [1, "10%", "100%"], 3), (2000, ["10%", "100%"], 2), (2000, [5], 400), (1, ["10%"], 1),
    (10, ["100%"], 1), (0, [3], 0), (7, [1, 0], 2), (3, ["1", "1"], 3),
]


@pytest.mark.parametrize(("hosts", "serial", "count"), BATCHES)
def test_batch_count(hosts, serial, count):
    """As ansible-core itself."""
    executor = object.__new__(PlaybookExecutor)
    executor._inventory = type("Inventory", (), {"get_hosts": lambda self, pattern, order: NODES[:hosts] if hosts <= 200 else list(range(hosts))})()
    play = type("Play", (), {"hosts": "all", "order": None, "serial": serial})()
    assert batch_count(hosts, serial) == count == len(executor._get_serialized_batches(play))


@pytest.mark.parametrize(("number", "hosts", "serial", "label"), [
    (1, 10, [], ""),
    (1, 10, ["100%"], ""),
    (2, 10, [1, "100%"], "batch 2 of 2"),
    (17, 2000, [5], "batch 17 of 400"),
    (17, 2000, [1], "batch 17 of 2000"),
    (1, 2000, [3, 1], "batch 1"),
    (1, 2, [1, 1], "batch 1 of 2"),
], ids=["no serial", "all", "two", "fives", "ones", "canaries and substitutes", "two canaries"])
def test_batch_label(number, hosts, serial, label):
    assert batch_label(number, hosts, serial) == label


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def begun(terminal, hosts=NODES, once=False):
    clock = Clock()
    progress = Progress(clock, terminal)
    progress.start_play("batch 2 of 3", hosts)
    progress.start_task("Configure", once)
    return progress, clock


def test_progress_on_a_terminal():
    progress, clock = begun(True)
    assert not progress.due(), "the headline has just been shown"
    clock.now += 0.2
    assert progress.due()
    progress.shown()
    assert not progress.due()
    for node in NODES[:7]:
        progress.host_started(node)
    progress.host_done("node1")
    progress.host_done("node2", FAILED)
    progress.host_done("node3", UNREACHABLE)
    assert not progress.due()
    assert progress.line() == "batch 2 of 3: Configure: 3 of 200 hosts done, 1 failed, 1 unreachable"


def test_the_last_hosts_are_named_at_once():
    progress, _clock = begun(True, NODES[:5])
    for node in NODES[:5]:
        progress.host_started(node)
    assert not progress.due()
    progress.host_done("node1")
    progress.host_done("node3")
    assert progress.due()
    assert progress.line() == "batch 2 of 3: Configure: 2 of 5 hosts done, waiting for node[2,4-5]"
    for node in ("node2", "node4", "node5"):
        progress.host_done(node)
    assert not progress.due()
    assert progress.line() == "batch 2 of 3: Configure: 5 of 5 hosts done"


def test_hosts_that_were_lost_are_not_waited_for():
    progress, _clock = begun(True, NODES[:3])
    progress.host_done("node1", FAILED)
    progress.host_done("node2", UNREACHABLE)
    progress.start_task("Check", False)
    progress.host_done("node3")
    assert progress.line() == "batch 2 of 3: Check: 1 of 1 host done, 1 failed, 1 unreachable"
    progress.host_done("node1")  # in a rescue
    assert progress.line() == "batch 2 of 3: Check: 2 of 2 hosts done, 1 unreachable"
    progress.start_play("", ["node2", "node4"])
    progress.start_task("Go on", False)
    assert progress.line() == "Go on: 0 of 1 host done, 1 unreachable"


def test_a_task_that_runs_once():
    progress, _clock = begun(False, once=True)
    assert progress.line() == "batch 2 of 3: Configure: 0 of 1 host done"


def test_progress_in_a_file_is_sparse():
    """A fast task writes nothing. A slow one writes at most three lines, however many hosts there are."""
    for seconds, most in ((0.01, 0), (2, 3), (60, 3)):
        progress, clock = begun(False)
        shown = []
        for node in NODES:
            clock.now += seconds
            progress.host_started(node)
            progress.host_done(node)
            if progress.due():
                shown.append(progress.line())
                progress.shown()
        assert len(shown) == most, shown
        assert [line.split(": ")[-1] for line in shown[:1]] == ["50 of 200 hosts done"][:most]
