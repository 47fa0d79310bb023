# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Processes that hang: killed where that helps, and never more than a bound where it does not. What they say is tested with the modules."""

from __future__ import annotations

import os
import signal
import time

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import ApptainerError
from ansible_collections.hpc.apptainer.plugins.module_utils._module import processes


def hang():
    time.sleep(60)


def test_the_answers_come_in_the_order_of_the_questions():
    questions = [lambda number=number: time.sleep(0.1 * (number % 3)) or number for number in range(100)]
    assert processes.replies(questions, 10) == list(range(100))


def test_those_that_hang_do_not_hold_up_the_others():
    found = processes.replies([hang, lambda: 1, hang, lambda: 2] * 10, 5)
    assert (found[1::4], found[3::4]) == ([1] * 10, [2] * 10)
    assert {str(error)[:36] for error in found[::2]} == {"there was no reply within 5 seconds."}


def test_those_that_cannot_even_be_killed_are_never_more_than_a_bound(monkeypatch):
    """As when they wait for a dead file server, which cannot be had here: so it is the killing that does not work."""
    started = []

    def start(*args, really=processes._start):
        started.append(really(*args))
        return started[-1]

    monkeypatch.setattr(processes, "_start", start)
    monkeypatch.setattr(processes, "_kill", lambda pid: None)
    try:
        found = processes.replies([hang] * 100 + [lambda: 1], 0.2)
        assert len(started) == 64
        assert str(found[99]) == str(found[100]) == ("was not checked, because 64 processes hang on file servers and cannot be killed. "
                                                     "Find out which file server does not answer.")
        assert all(isinstance(error, ApptainerError) for error in found)
    finally:
        for child in started:
            os.kill(child.pid, signal.SIGKILL)
            os.waitpid(child.pid, 0)


def test_what_a_program_leaves_in_its_session_is_killed(tmp_path):
    environment = {"PATH": os.environ["PATH"]}
    output, status = processes.output_of(["/bin/sh", "-c", "sleep 300 & echo $!"], environment, str(tmp_path), 5)
    assert status == 0
    deadline = time.monotonic() + 600  # to end what hangs
    while time.monotonic() < deadline:
        try:
            with open(f"/proc/{int(output)}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":  # nobody buries it here
                    return
        except FileNotFoundError:
            return
        time.sleep(0.01)
    pytest.fail("it lives")


def test_what_a_program_has_of_ours(tmp_path):
    script = "ls -l /proc/self/fd | wc -l; cat; pwd; env"
    output, status = processes.output_of(["/bin/sh", "-c", script], {"PATH": os.environ["PATH"]}, str(tmp_path), 5)
    lines = output.decode().splitlines()
    assert (status, lines[0], lines[1]) == (0, "5", str(tmp_path))  # its title, three, and that of the listing itself
    assert {line.partition("=")[0] for line in lines[2:] if "=" in line} <= {"PATH", "PWD", "_", "OLDPWD", "SHLVL"}


@pytest.mark.parametrize(("script", "expected"), [("exit 255", 255), ("kill -9 $$", -9), ("exec /does/not/exist", 127)])
def test_how_a_program_ends(tmp_path, script, expected):
    assert processes.output_of(["/bin/sh", "-c", script], {"PATH": os.environ["PATH"]}, str(tmp_path), 5)[1] == expected
    assert processes.output_of(["/does/not/exist"], {}, str(tmp_path), 5) == (b"", 127)
