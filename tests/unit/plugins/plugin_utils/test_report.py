# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report: the same difference on several hosts is one row, and nothing is lost."""

import json

import pytest
from ansible_collections.hpc.apptainer.plugins.plugin_utils._outcomes import STATES, Difference, HostResult, UserFinding, host_result
from ansible_collections.hpc.apptainer.plugins.plugin_utils._page import page
from ansible_collections.hpc.apptainer.plugins.plugin_utils._prometheus import exposition
from ansible_collections.hpc.apptainer.plugins.plugin_utils._report import (
    as_dict,
    build_report,
    headline,
    printable,
    stop_sentence,
    summary_lines,
)
from hypothesis import given, settings
from hypothesis import strategies as st

MODE = Difference("global: remote.yaml", "/etc/apptainer/remote.yaml", ("mode is 0600, should be 0644",), "mode: 0600", "mode: 0644")
MISSING = Difference("global: remote.yaml", "/etc/apptainer/remote.yaml", ("the file is missing or empty",), "", "Active: a")
LONG = Difference("account ci: remote.yaml", "/home/ci/remote.yaml", tuple("abcde"), "x", "y")
STALE = UserFinding("stale-copy", "warning", "bob", "m", "/home/bob/r")


def drifted(name, *differences):
    return HostResult(name, "drifted", "", differences)


def report_on(*results):
    return build_report("Drift", "2026-11-23T18:00:00Z", results)


@pytest.mark.parametrize(("results", "status", "first_line"), [
    ([], 4, "No host was checked: no host matches the pattern and the limit"),
    ([HostResult("n1", "in_state")], 0, "1 host: 1 in state"),
    ([HostResult("n1", "in_state", "", (), (STALE,))], 0, "1 host: 1 in state"),
    ([HostResult("n1", "in_state"), drifted("n2", MODE)], 2, "2 hosts: 1 drifted, 1 in state"),
    ([HostResult("n1", "failed", "no"), drifted("n2", MODE)], 4, "2 hosts: 1 drifted, 1 failed"),
    ([HostResult("n1", "unreachable", "no")], 4, "1 host: 1 unreachable"),
], ids=["no hosts", "in state", "in state with a finding", "drifted", "failed", "unreachable"])
def test_status(results, status, first_line):
    report = report_on(*results)
    assert report.status == status
    assert summary_lines(report)[0] == first_line


def test_the_same_on_many_hosts_is_one_row():
    hosts = [drifted(f"n{number}", MODE._replace(path=f"/srv/n{number}/etc/remote.yaml")) for number in range(1, 1801)]
    report = report_on(drifted("a", LONG), *hosts, drifted("b", MISSING), drifted("c", MISSING._replace(after="Active: b")))
    assert [(len(group.hosts), group.title, group.file) for group in report.groups] == [
        (1800, "mode is 0600, should be 0644", "/srv/{host}/etc/remote.yaml"),
        (1, "a; b; c; and 2 more", "/home/ci/remote.yaml"),
        (1, "the file is missing or empty", "/etc/apptainer/remote.yaml"),
        (1, "the file is missing or empty", "/etc/apptainer/remote.yaml"),
    ]
    assert summary_lines(report)[1] == "Drift on 1800 hosts (n[1-1800]): global: remote.yaml: mode is 0600, should be 0644"


def test_paths_that_have_nothing_in_common():
    report = report_on(drifted("n1", MODE._replace(path="/srv/b/r")), drifted("n2", MODE._replace(path="/srv/a/r")))
    assert [group.file for group in report.groups] == ["/srv/a/r and other paths"]


def test_the_same_reason_is_one_row():
    unreachable = [
        host_result(f"n{number}", {"apptainer_fleet_global_result": {"unreachable": True, "msg": f"connect to host {address} port 22: refused"}})
        for number, address in enumerate(("n0", "n1"))]
    failed = [host_result(f"m{number}", {"apptainer_fleet_failure": f"/srv/m{number}/etc/r:3:1: bad"}) for number in range(3)]
    report = report_on(*unreachable, *failed)
    assert [(group.reason, group.hosts) for group in report.failures] == [("/srv/{host}/etc/r:3:1: bad", ("m0", "m1", "m2"))]
    assert [group.reason for group in report.unreachable] == ["connect to host {host} port 22: refused"]


def test_lines_name_only_the_largest_groups():
    lines = summary_lines(report_on(
        *(drifted(f"n{number}", MODE._replace(sentences=(f"sentence {number}",))) for number in range(7)),
        HostResult("f", "failed", "why"), HostResult("u", "unreachable", "gone", (), (STALE, STALE._replace(severity="error")))))
    assert lines[0] == "9 hosts: 7 drifted, 1 failed, 1 unreachable"
    assert len([line for line in lines if line.startswith("Drift on 1 host (n")]) == 5
    assert "Drift: 2 more" in lines
    assert lines[-4:] == ["Failed on 1 host (f): why", "Unreachable on 1 host (u): gone",
                          "Users' files on 1 host (u): stale-copy (error), 1 user", "Users' files on 1 host (u): stale-copy (warning), 1 user"]


def test_users_are_counted_once_and_errors_are_first():
    """A home that hosts share is found on each of them."""
    findings = tuple(STALE._replace(severity=severity) for severity in ("info", "", "warning", "error"))
    lines = summary_lines(report_on(*(HostResult(name, "in_state", "", (), findings) for name in ("n1", "n2"))))
    assert lines[1:] == [f"Users' files on 2 hosts (n[1-2]): stale-copy ({severity}), 1 user" for severity in ("error", "warning", "info", "")]


@pytest.mark.parametrize(("differed_label", "lines"), [
    ("changed", ["2 hosts: 1 changed, 1 in state", "Changed on 1 host (n1): global: remote.yaml: mode is 0600, should be 0644"]),
    ("to be changed", ["2 hosts: 1 to be changed, 1 in state",
                       "To be changed on 1 host (n1): global: remote.yaml: mode is 0600, should be 0644"]),
    ("", ["2 hosts: 1 drifted, 1 in state", "Drift on 1 host (n1): global: remote.yaml: mode is 0600, should be 0644"]),
], ids=["changed", "to be changed", "drifted"])
def test_label_of_the_hosts_that_differed(differed_label, lines):
    assert summary_lines(report_on(drifted("n1", MODE), HostResult("n2", "in_state")), differed_label) == lines


def test_nothing_that_was_changed_is_left_out():
    hosts = [drifted(f"n{number}", MODE._replace(sentences=(f"sentence {number}",))) for number in range(7)]
    assert len(summary_lines(report_on(*hosts), "changed")) == 8
    assert headline(report_on(*hosts), "changed") == "7 hosts: 7 changed"


@pytest.mark.parametrize(("untouched", "sentence"), [
    ([], "The rollout stops here. There were no further hosts"),
    (["n3"], "The rollout stops here. 1 host was not touched: n3"),
    (["n3", "n4"], "The rollout stops here. 2 hosts were not touched: n[3-4]"),
], ids=["none", "one", "two"])
def test_stop_sentence(untouched, sentence):
    assert stop_sentence(untouched) == sentence


@pytest.mark.parametrize(("text", "expected"), [
    ("a\tb\nc \u00e9 \u05d0 \U0001f600", "a\tb\nc \u00e9 \u05d0 \U0001f600"),
    ("\x1b[2J\x00\r\x7f\x9b", "\\u001b[2J\\u0000\\u000d\\u007f\\u009b"),
    ("\u202etxt.exe\u2066\u2028", "\\u202etxt.exe\\u2066\\u2028"),
    ("\ud800", "\\ud800"),
], ids=["harmless", "control characters", "direction and line marks", "half a character"])
def test_printable(text, expected):
    assert printable(text) == expected


def test_a_line_is_one_line_that_does_nothing_to_a_terminal():
    (_headline, line) = summary_lines(report_on(drifted("n\x1b1", MODE._replace(sentences=("is \x1b[2J\n" + "x" * 2000,)))))
    assert line.startswith("Drift on 1 host (n\\u001b1): global: remote.yaml: is \\u001b[2J xxx")
    assert line.endswith("xxx ...")
    assert len(line) < 600


@pytest.mark.parametrize(("on_two_hosts", "on_one_host", "visible"), [(0, 9, 9), (0, 30, 10), (15, 30, 15), (40, 0, 25)],
                         ids=["few", "many of single hosts", "those of two hosts", "many of two hosts"])
def test_a_long_tail_of_differences_is_behind_a_click(on_two_hosts, on_one_host, visible):
    groups = on_two_hosts + on_one_host
    hosts = [drifted(f"n{number}", MODE._replace(sentences=(f"sentence {number % groups}",))) for number in range(groups + on_two_hosts)]
    text = page(report_on(*hosts))
    assert text.partition('<details class="more">')[0].count('<details class="row drifted">') == visible
    assert text.count('<details class="row drifted">') == groups


def test_the_page_does_not_name_thousands_of_users():
    findings = tuple(STALE._replace(user=f"u{number}") for number in range(5000))
    text = page(report_on(HostResult("n1", "in_state", "", (), findings)))
    assert "u19 on n1; and 4980 more" in text
    assert "u20 on n1" not in text


RESULTS = st.lists(
    st.builds(HostResult, st.text(min_size=1, max_size=8), st.sampled_from(STATES), st.text(max_size=5),
              st.lists(st.sampled_from([MODE, MISSING, LONG]), max_size=3).map(tuple), st.lists(st.just(STALE), max_size=2).map(tuple)),
    unique_by=lambda result: result.host, max_size=12)


@given(RESULTS)
def test_no_host_is_lost_and_each_is_in_one_state(results):
    content = as_dict(report_on(*results))
    assert sum(content["summary"][state] for state in STATES) == content["summary"]["hosts"] == len(results)
    assert {host["name"]: host["state"] for host in content["hosts"]} == {result.host: result.state for result in results}
    for kind, state in (("failures", "failed"), ("unreachable", "unreachable")):
        assert sorted(host for row in content[kind] for host in row["hosts"]) == sorted(result.host for result in results if result.state == state)
    for host in content["hosts"]:
        assert host["groups"] == [group["id"] for group in content["groups"] if host["name"] in group["hosts"]]
    assert {(host, sentence) for group in content["groups"] for host in group["hosts"] for sentence in group["sentences"]} == {
        (result.host, sentence) for result in results for difference in result.differences for sentence in difference.sentences}
    assert json.loads(json.dumps(content)) == content


@settings(max_examples=20)
@given(RESULTS)
def test_every_report_has_a_page(results):
    text = page(report_on(*results))
    data = json.loads(text.split('<script type="application/json" id="data">')[1].split("</script>")[0])
    assert sorted(name for name, _state, _keys in data["hosts"]) == sorted(result.host for result in results)


@given(RESULTS)
def test_metrics_are_read_back_by_prometheus(results):
    parser = pytest.importorskip("prometheus_client.parser")
    report = report_on(*results)
    families = {family.name: family for family in parser.text_string_to_metric_families(exposition(report, 1763925000.1234))}
    assert all(family.type == "gauge" and family.documentation for family in families.values())
    samples = {name: [(sample.labels, sample.value) for sample in family.samples] for name, family in families.items()}
    assert samples["apptainer_fleet_hosts"] == [({"state": state}, report.count(state)) for state in STATES]
    assert samples["apptainer_fleet_host_state"] == [
        ({"host": result.host, "state": result.state}, 1) for result in report.results if result.state != "in_state"]
    assert samples["apptainer_fleet_drift_groups"] == [({}, len(report.groups))]
    assert sum(value for _labels, value in samples["apptainer_fleet_user_findings"]) == sum(len(result.findings) for result in results)
    assert samples["apptainer_fleet_report_timestamp_seconds"] == [({}, 1763925000.123)]


def test_metrics_escape_labels():
    text = exposition(report_on(HostResult('a"b\\c\nd', "failed", "x")), 1)
    assert 'apptainer_fleet_host_state{host="a\\"b\\\\c\\nd",state="failed"} 1\n' in text
