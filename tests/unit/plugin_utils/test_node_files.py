# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The reports of nodes that pull: what is believed, what is not, and ten thousand of them."""

import datetime
import json
import os

import pytest
from ansible_collections.hpc.apptainer.plugins.plugin_utils._node_files import gather, leave
from ansible_collections.hpc.apptainer.plugins.plugin_utils._node_report import FILES, LARGEST, node_state, time_text
from ansible_collections.hpc.apptainer.plugins.plugin_utils._outcomes import Difference, HostResult
from ansible_collections.hpc.apptainer.plugins.plugin_utils._page import page
from ansible_collections.hpc.apptainer.plugins.plugin_utils._prometheus import exposition
from ansible_collections.hpc.apptainer.plugins.plugin_utils._report import CHANGE, DRIFT, as_dict, build_report
from ansible_collections.hpc.apptainer.plugins.plugin_utils._summary import drift_lines
from jsonschema import Draft7Validator
from support.envs import ROOT

NOW = datetime.datetime(2026, 11, 23, 18, tzinfo=datetime.UTC)
SCHEMA = Draft7Validator(json.loads((ROOT / "docs" / "report.schema.json").read_text()))
MODE = Difference("global: remote.yaml", "/etc/apptainer/remote.yaml", ("mode was 0600, is 0644",), "mode: 0600", "mode: 0644")
VERSIONS = {"collection": "0.1.0", "ansible_core": "2.19.1"}


def report_of(host, state="in_state", reason="", differences=(), applied=True, **run):
    """A node's report as its unit puts it together."""
    left = node_state(HostResult(host, state, reason, differences, (), reason), applied, time_text(NOW), "a1", None, VERSIONS)
    return {"schema": 1, "ended": time_text(NOW), "result": "success", "exit_status": "0", "invocation": "a1", "commit": "c0ffee", "node": left, **run}


def write(directory, host, content):
    (directory / f"{host}.json").write_text(content if isinstance(content, str) else json.dumps(content))


def made(directory, hosts=None):
    gathered = gather(str(directory), hosts, NOW, 3)
    report = build_report("t", time_text(NOW), gathered.results, CHANGE if gathered.applied else DRIFT, gathered=gathered)
    SCHEMA.validate(as_dict(report))
    return report


GOOD = report_of("n1")
# (content, state, a part of the reason)
CONTENTS = {
    "in state": (GOOD, "in_state", ""),
    "changed": (report_of("n1", "drifted", differences=(MODE,)), "drifted", ""),
    "failed": (report_of("n1", "failed", "no space left"), "failed", "no space left"),
    "old": ({**GOOD, "ended": "2026-11-23T14:59:59Z"}, "unreachable", "too old"),
    "of the future": ({**GOOD, "ended": "2026-11-23T19:00:01Z"}, "unreachable", "of the future"),
    "failed before the role": ({**GOOD, "invocation": "a2", "result": "timeout", "exit_status": "TERM"}, "failed", "before the role ran (timeout, TERM)"),
    "without the role": ({**GOOD, "invocation": "a2"}, "failed", "has not run the role"),
    "no id of the run": ({**GOOD, "invocation": "", "node": {**GOOD["node"], "invocation": ""}}, "failed", "has not run the role"),
    "the role has never run": ({**GOOD, "node": None, "result": "exit-code", "exit_status": "1"}, "failed", "has never succeeded"),
    "another node": (report_of("n2"), "unreachable", "of another node"),
    "newer": ({**GOOD, "schema": 2}, "unreachable", "newer version"),
    "older": ({**GOOD, "schema": 0}, "unreachable", "not one that"),
    "empty": ("", "unreachable", "not one that"),
    "a list": ([], "unreachable", "not one that"),
    "deep": ("[" * 100_000, "unreachable", "not one that"),
    "a long number": ('{"schema": ' + "1" * 5000 + "}", "unreachable", "not one that"),
    "a truth for a number": ({**GOOD, "schema": True}, "unreachable", "not one that"),
    "no time": ({**GOOD, "ended": "yesterday"}, "unreachable", "not one that"),
    "a short time": ({**GOOD, "ended": "2026-11-23T18:0:00Z"}, "unreachable", "not one that"),
    "a bad word": ({**GOOD, "commit": "<script>"}, "unreachable", "not one that"),
    "a bad state": ({**GOOD, "node": {**GOOD["node"], "state": "fine"}}, "unreachable", "not one that"),
    "a bad success": ({**GOOD, "node": {**GOOD["node"], "succeeded": "always"}}, "unreachable", "not one that"),
    "a bad sentence": ({**GOOD, "node": {**GOOD["node"], "differences": [{**MODE._asdict(), "sentences": [{}]}]}}, "unreachable", "not one that"),
    "a bad finding": ({**GOOD, "node": {**GOOD["node"], "findings": [1]}}, "unreachable", "not one that"),
    "huge": (" " * (LARGEST + 1), "unreachable", "larger than"),
}


@pytest.mark.parametrize(("content", "state", "reason"), CONTENTS.values(), ids=CONTENTS)
def test_what_is_believed(tmp_path, content, state, reason):
    write(tmp_path, "n1", content)
    (result,) = made(tmp_path).results
    assert (result.host, result.state) == ("n1", state)
    assert reason in result.reason


def test_what_is_no_file_is_not_read(tmp_path):
    """A link, a FIFO (which would wait for ever) and a directory; a missing file; and a file that nobody declares."""
    write(tmp_path, "real", GOOD)
    (tmp_path / "link.json").symlink_to("real.json")
    os.mkfifo(tmp_path / "fifo.json")
    (tmp_path / "directory.json").mkdir()
    report = made(tmp_path, ["link", "fifo", "directory", "missing"])
    reasons = {result.host: (result.state, result.reason.partition(":")[0]) for result in report.results}
    no_file = ("unreachable", "its report was not read, because it is not a regular file (but a link, a directory or a pipe)")
    assert reasons == {"link": no_file, "fifo": no_file, "directory": no_file, "missing": ("unreachable", "there is no report of this node")}
    assert report.status == 4
    assert drift_lines(report)[-1] == "Ignored 1 file with a name that no node has: real"


def test_names_that_are_no_host(tmp_path):
    for name in ("n1\nn2 is well", "-x", ".hidden"):
        write(tmp_path, name, GOOD)
    report = made(tmp_path)
    assert (report.results, report.status, report.gathered.strangers) == ((), 2, ("-x", "n1\nn2 is well"))
    assert all(line.isprintable() for line in drift_lines(report))


def test_nodes_that_only_compare(tmp_path):
    """Beside them, one that has changed itself is in state."""
    write(tmp_path, "n1", report_of("n1", "drifted", differences=(MODE,), applied=False))
    write(tmp_path, "n2", report_of("n2", "drifted", differences=(MODE,)))
    report = made(tmp_path)
    assert [(result.host, result.state) for result in report.results] == [("n1", "drifted"), ("n2", "in_state")]
    assert (report.kind, report.status) == ("drift", 2)


@pytest.mark.parametrize(("contents", "verdict"), [
    ([report_of("n1", "drifted", differences=(MODE,)), GOOD], "1 of 2 hosts changed"),
    ([{**GOOD, "invocation": "a2"}, {**GOOD, "invocation": "a2"}, report_of("n1", "drifted", differences=(MODE,))], "Of 3 hosts: 2 failed; 1 changed"),
    ([{**GOOD, "ended": "2026-11-23T10:00:00Z"}], "Of 1 host: 1 unknown"),
    ([report_of("n1", "failed", "no space left"), ""], "Of 2 hosts: 1 failed, 1 unknown"),
])
def test_verdict(tmp_path, contents, verdict):
    """No host was checked from here, so none "could not be checked"."""
    for number, content in enumerate(contents, 1):
        write(tmp_path, f"n{number}", json.loads(json.dumps(content).replace('"n1"', f'"n{number}"')))
    assert f"</span>{verdict}</p>" in page(made(tmp_path))


def test_problems_are_above_what_was_changed_and_no_time_of_one_node_is_said_of_all(tmp_path):
    write(tmp_path, "n1", report_of("n1", "drifted", differences=(MODE,)))
    for number in (2, 3, 4):
        write(tmp_path, f"n{number}", {**report_of(f"n{number}"), "ended": f"2026-11-23T10:00:0{number}Z"})
    write(tmp_path, "n5", {**report_of("n5"), "invocation": "a2"})
    write(tmp_path, "stranger", GOOD)
    report = made(tmp_path, ["n1", "n2", "n3", "n4", "n5"])
    text = page(report)
    assert text.index('<section id="failed">') < text.index('<section id="unreachable">') < text.index('<section id="drift">')
    assert "The last pull failed on these hosts." in text
    assert "older than 3 hours" in text
    assert "ignored: <code>stranger</code>." in text
    (old,) = report.unreachable
    assert (old.reason.endswith("still come here"), old.hosts) == (True, ("n2", "n3", "n4"))
    (failed,) = report.failures
    assert failed.reason.endswith("(the role last succeeded on 2026-11-23 18:00:00 UTC)")


def test_ten_thousand_nodes(tmp_path):
    names = [f"node{number:05}" for number in range(10_000)]
    for number, name in enumerate(names[:-10]):
        content = (report_of(name, "drifted", differences=(MODE,)) if number < 100 else report_of(name, "failed", "no space left") if number < 120
                   else report_of(name, commit="0ld") if number < 150 else report_of(name))
        write(tmp_path, name, {**content, "ended": "2026-11-20T00:00:00Z"} if 150 <= number < 155 else content)
    report = made(tmp_path, names)
    assert {state: report.count(state) for state in report.labels} == {
        "drifted": 100, "failed": 20, "unreachable": 15, "undeclared": 0, "in_state": 9865}
    assert [(commit, len(hosts)) for commit, hosts in report.gathered.commits()] == [("c0ffee", 9960), ("0ld", 30)]
    assert report.status == 4
    assert "apptainer_fleet_hosts{state=\"in_state\"} 9865\n" in exposition(report, 0.0)
    text = page(report)
    assert "There is no report of these nodes that is fresh" in text
    assert "node09999" in text


@pytest.mark.parametrize("metrics", ["", "apptainer.prom"])
def test_a_node_that_pulls_leaves_its_state(tmp_path, monkeypatch, metrics):
    monkeypatch.setenv("INVOCATION_ID", "a1")
    files = {"state": str(tmp_path / "state.json"), "prometheus": metrics and str(tmp_path / metrics)}
    result = {"changed": False, "declared": True, "parts": [], "failures": []}
    succeeded = []
    for failures in ([], [{"subject": "global", "msg": "no space left", "unreadable": ""}]):
        leave({**result, "failures": failures, "failed": bool(failures)}, {FILES: files, "inventory_hostname": "n1"}, applied=True)
        state = json.loads((tmp_path / "state.json").read_text())
        succeeded.append(state["succeeded"])
        assert (state["host"], state["invocation"], state["state"]) == ("n1", "a1", "failed" if failures else "in_state")
    assert succeeded[0] == succeeded[1] != ""
    assert sorted(os.listdir(tmp_path)) == sorted(filter(None, ["state.json", metrics]))


def test_a_state_that_cannot_be_written_is_a_warning(tmp_path, capfd):
    files = {"state": str(tmp_path / "missing" / "state.json"), "prometheus": ""}
    leave({"changed": False, "declared": True, "parts": [], "failures": []}, {FILES: files, "inventory_hostname": "n1"}, applied=True)
    assert "could not be written" in "".join(capfd.readouterr())


def test_a_host_that_does_not_pull_leaves_nothing(tmp_path):
    leave({}, {"inventory_hostname": "n1"}, applied=True)
    assert os.listdir(tmp_path) == []


def test_a_report_that_cannot_be_read_is_not_believed(tmp_path, monkeypatch):
    """As on a file server that has lost it: root can read everything on a local disk."""
    def refuse(path, *arguments, really=os.open, **named):
        if str(path).endswith(".json"):
            raise PermissionError(13, "Permission denied")
        return really(path, *arguments, **named)

    write(tmp_path, "n1", GOOD)
    monkeypatch.setattr(os, "open", refuse)
    (result,) = gather(str(tmp_path), None, NOW, 3).results
    assert (result.state, result.reason) == ("unreachable", "its report cannot be read (Permission denied)")
