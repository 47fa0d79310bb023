# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the report of a node that pulls gets to the machine that makes one of all: the very command and the configuration of the guide."""

import os
import shlex
import shutil
import socket

import pytest
from support import pages, processes
from support.servers import daemons

PAGE = pages.guide("guide_pull")


@pytest.fixture
def reports(tmp_path):
    """The rsync daemon of the guide, for a directory of this user: its address, and the directory."""
    if shutil.which("rsync") is None:
        pytest.skip("needs rsync")
    place = tmp_path / "reports"
    place.mkdir()
    configuration = pages.file(PAGE, "etc/rsyncd.conf")
    own = {"/srv/apptainer-reports": str(place), "uid = fleet\ngid = fleet\n": "uid = root\ngid = root\n" if os.getuid() == 0 else ""}  # only root can choose
    for shown, actual in own.items():
        assert shown in configuration
        configuration = configuration.replace(shown, actual)
    (tmp_path / "rsyncd.conf").write_text(configuration)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
    command = ["rsync", "--daemon", "--no-detach", "--address=127.0.0.1", f"--port={address[1]}", f"--config={tmp_path}/rsyncd.conf"]
    with daemons.running(command, tmp_path, lambda: daemons.listens(address)):
        yield f"127.0.0.1:{address[1]}", place


def test_a_node_sends_its_report(reports, tmp_path):
    address, place = reports
    report = tmp_path / "report.json"
    report.write_text('{"state": "in_state"}')
    (line,) = (line for line in pages.file(PAGE, "report.conf").splitlines() if line.startswith("ExecStopPost=-"))
    command = line.partition("=-")[2]
    for shown, actual in {"/var/lib/apptainer-fleet-report/report.json": str(report), "reports.example.org": address, "$$": "$"}.items():
        assert shown in command
        command = command.replace(shown, actual)
    for _pull in range(2):  # the second replaces what the first has sent
        report.write_text(report.read_text() + "\n")
        done = processes.run(*shlex.split(command), env=processes.clean_env(tmp_path / "home"))
        assert (done.returncode, done.stdout + done.stderr) == (0, "")
        (sent,) = place.iterdir()
        assert sent.name == f"{socket.gethostname().partition('.')[0]}.json"
        assert sent.read_text() == report.read_text()
