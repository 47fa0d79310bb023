# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report: what is the same is one row, and nothing is lost."""

import json

import pytest
from ansible_collections.hpc.apptainer.plugins.plugin_utils._outcomes import STATES, Difference, Finding, Outcome, outcome
from ansible_collections.hpc.apptainer.plugins.plugin_utils._page import page
from ansible_collections.hpc.apptainer.plugins.plugin_utils._prometheus import exposition
from ansible_collections.hpc.apptainer.plugins.plugin_utils._report import as_dict, counts, lines, printable, report, untouched
from hypothesis import given, settings
from hypothesis import strategies as st

MODE = Difference("global: remote.yaml", "/etc/apptainer/remote.yaml", ("mode is 0600, should be 0644",), "mode: 0600", "mode: 0644")
MISSING = Difference("global: remote.yaml", "/etc/apptainer/remote.yaml", ("the file is missing or empty",), "", "Active: a")
LONG = Difference("account ci: remote.yaml", "/home/ci/remote.yaml", tuple("abcde"), "x", "y")
STALE = Finding("stale-copy", "warning", "bob", "m", "/home/bob/r")


def drifted(name, *differences):
    return Outcome(name, "drifted", "", differences)


def made(*outcomes):
    return report("Drift", "2026-11-23T18:00:00Z", outcomes)


@pytest.mark.parametrize(("outcomes", "status", "said"), [
    ([], 4, "No host was looked at"),
    ([Outcome("n1", "in_state")], 0, "1 host: 1 in state"),
    ([Outcome("n1", "in_state", "", (), (STALE,))], 0, "1 host: 1 in state"),
    ([Outcome("n1", "in_state"), drifted("n2", MODE)], 2, "2 hosts: 1 drifted, 1 in state"),
    ([Outcome("n1", "failed", "no"), drifted("n2", MODE)], 4, "2 hosts: 1 drifted, 1 failed"),
    ([Outcome("n1", "unreachable", "no")], 4, "1 host: 1 unreachable"),
])
def test_status(outcomes, status, said):
    found = made(*outcomes)
    assert found.status == status
    assert said in lines(found)[0]


def test_the_same_on_many_hosts_is_one_row():
    hosts = [drifted(f"n{number}", MODE._replace(path=f"/srv/n{number}/etc/remote.yaml")) for number in range(1, 1801)]
    found = made(drifted("a", LONG), *hosts, drifted("b", MISSING), drifted("c", MISSING._replace(after="Active: b")))
    assert [(len(group.hosts), group.title, group.file) for group in found.groups] == [
        (1800, "mode is 0600, should be 0644", "/srv/{host}/etc/remote.yaml"),
        (1, "a; b; c; and 2 more", "/home/ci/remote.yaml"),
        (1, "the file is missing or empty", "/etc/apptainer/remote.yaml"),
        (1, "the file is missing or empty", "/etc/apptainer/remote.yaml"),
    ]
    assert lines(found)[1] == "Drift on 1800 hosts (n[1-1800]): global: remote.yaml: mode is 0600, should be 0644"


def test_paths_that_have_nothing_in_common():
    found = made(drifted("n1", MODE._replace(path="/srv/b/r")), drifted("n2", MODE._replace(path="/srv/a/r")))
    assert [group.file for group in found.groups] == ["/srv/a/r and other paths"]


def test_the_same_reason_is_one_row():
    lost = [outcome(f"n{number}", {"apptainer_fleet_global_result": {"unreachable": True, "msg": f"connect to host {address} port 22: refused"}})
            for number, address in enumerate(("n0", "n1"))]
    failed = [outcome(f"m{number}", {"apptainer_fleet_failure": f"/srv/m{number}/etc/r:3:1: bad"}) for number in range(3)]
    found = made(*lost, *failed)
    assert [(problem.reason, problem.hosts) for problem in found.failures] == [("/srv/{host}/etc/r:3:1: bad", ("m0", "m1", "m2"))]
    assert [problem.reason for problem in found.unreachable] == ["connect to host {host} port 22: refused"]


def test_lines_name_the_top_only():
    found = lines(made(*(drifted(f"n{number}", MODE._replace(sentences=(f"sentence {number}",))) for number in range(7)),
                       Outcome("f", "failed", "why"), Outcome("u", "unreachable", "gone", (), (STALE, STALE._replace(severity="error")))))
    assert found[0] == "9 hosts: 7 drifted, 1 failed, 1 unreachable"
    assert len([line for line in found if line.startswith("Drift on 1 host (n")]) == 5
    assert "Drift: 2 more" in found
    assert found[-4:] == ["Failed on 1 host (f): why", "Unreachable on 1 host (u): gone",
                          "Users' files on 1 host (u): stale-copy (error) of 1 user", "Users' files on 1 host (u): stale-copy (warning) of 1 user"]


def test_users_are_counted_once_and_the_worst_is_first():
    """A home that hosts share is seen on each of them."""
    found = [STALE._replace(severity=severity) for severity in ("info", "", "warning", "error")]
    shown = lines(made(*(Outcome(name, "in_state", "", (), tuple(found)) for name in ("n1", "n2"))))
    assert shown[1:] == [f"Users' files on 2 hosts (n[1-2]): stale-copy ({severity}) of 1 user" for severity in ("error", "warning", "info", "")]


@pytest.mark.parametrize(("differed", "said"), [
    ("changed", ["2 hosts: 1 changed, 1 in state", "Changed on 1 host (n1): global: remote.yaml: mode is 0600, should be 0644"]),
    ("to be changed", ["2 hosts: 1 to be changed, 1 in state",
                       "To be changed on 1 host (n1): global: remote.yaml: mode is 0600, should be 0644"]),
    ("", ["2 hosts: 1 drifted, 1 in state", "Drift on 1 host (n1): global: remote.yaml: mode is 0600, should be 0644"]),
])
def test_what_became_of_those_that_differed(differed, said):
    assert lines(made(drifted("n1", MODE), Outcome("n2", "in_state")), differed) == said


def test_all_that_was_changed_is_said():
    hosts = [drifted(f"n{number}", MODE._replace(sentences=(f"sentence {number}",))) for number in range(7)]
    assert len(lines(made(*hosts), "changed")) == 8
    assert counts(made(*hosts), "changed") == "7 hosts: 7 changed"


@pytest.mark.parametrize(("hosts", "said"), [
    ([], "The rollout stops here. It had come to all hosts"),
    (["n3"], "The rollout stops here. 1 host was not touched: n3"),
    (["n3", "n4"], "The rollout stops here. 2 hosts were not touched: n[3-4]"),
])
def test_untouched(hosts, said):
    assert untouched(hosts) == said


@pytest.mark.parametrize(("text", "shown"), [
    ("a\tb\nc \u00e9 \u05d0 \U0001f600", "a\tb\nc \u00e9 \u05d0 \U0001f600"),
    ("\x1b[2J\x00\r\x7f\x9b", "\\u001b[2J\\u0000\\u000d\\u007f\\u009b"),
    ("\u202etxt.exe\u2066\u2028", "\\u202etxt.exe\\u2066\\u2028"),
    ("\ud800", "\\ud800"),
])
def test_printable(text, shown):
    assert printable(text) == shown


def test_a_line_is_one_line_that_does_nothing_to_a_terminal():
    (_counts, line) = lines(made(drifted("n\x1b1", MODE._replace(sentences=("is \x1b[2J\n" + "x" * 2000,)))))
    assert line.startswith("Drift on 1 host (n\\u001b1): global: remote.yaml: is \\u001b[2J xxx")
    assert line.endswith("xxx ...")
    assert len(line) < 600


@pytest.mark.parametrize(("alike", "alone", "shown"), [(0, 9, 9), (0, 30, 10), (15, 30, 15), (40, 0, 25)])
def test_a_long_tail_of_differences_is_behind_a_click(alike, alone, shown):
    hosts = [drifted(f"n{number}", MODE._replace(sentences=(f"sentence {number if number < alike + alone else number - alike - alone}",)))
             for number in range(alike + alone + alike)]
    text = page(made(*hosts))
    assert text.partition('<details class="more">')[0].count('<details class="row drifted">') == shown
    assert text.count('<details class="row drifted">') == alike + alone


def test_the_page_names_no_more_users_than_somebody_reads():
    found = tuple(STALE._replace(user=f"u{number}") for number in range(5000))
    text = page(made(Outcome("n1", "in_state", "", (), found)))
    assert "u19 on n1; and 4980 more" in text
    assert "u20 on n1" not in text


OUTCOMES = st.lists(
    st.builds(Outcome, st.text(min_size=1, max_size=8), st.sampled_from(STATES), st.text(max_size=5),
              st.lists(st.sampled_from([MODE, MISSING, LONG]), max_size=3).map(tuple), st.lists(st.just(STALE), max_size=2).map(tuple)),
    unique_by=lambda one: one.host, max_size=12)


@given(OUTCOMES)
def test_no_host_is_lost_and_each_is_in_one_state(outcomes):
    found = made(*outcomes)
    shown = as_dict(found)
    assert sum(shown["summary"][state] for state in STATES) == shown["summary"]["hosts"] == len(outcomes)
    assert {host["name"]: host["state"] for host in shown["hosts"]} == {one.host: one.state for one in outcomes}
    for kind, state in (("failures", "failed"), ("unreachable", "unreachable")):
        assert sorted(host for row in shown[kind] for host in row["hosts"]) == sorted(one.host for one in outcomes if one.state == state)
    for host in shown["hosts"]:
        assert host["groups"] == [group["id"] for group in shown["groups"] if host["name"] in group["hosts"]]
    assert {(host, name) for group in shown["groups"] for host in group["hosts"] for name in group["sentences"]} == {
        (one.host, name) for one in outcomes for difference in one.differences for name in difference.sentences}
    assert json.loads(json.dumps(shown)) == shown


@settings(max_examples=20)
@given(OUTCOMES)
def test_every_report_has_a_page(outcomes):
    text = page(made(*outcomes))
    data = json.loads(text.split('<script type="application/json" id="data">')[1].split("</script>")[0])
    assert sorted(name for name, _state, _lots in data["hosts"]) == sorted(one.host for one in outcomes)


@given(OUTCOMES)
def test_metrics_are_read_back_by_prometheus(outcomes):
    parser = pytest.importorskip("prometheus_client.parser")
    found = made(*outcomes)
    families = {family.name: family for family in parser.text_string_to_metric_families(exposition(found, 1763925000.1234))}
    assert all(family.type == "gauge" and family.documentation for family in families.values())
    samples = {name: [(sample.labels, sample.value) for sample in family.samples] for name, family in families.items()}
    assert samples["apptainer_fleet_hosts"] == [({"state": state}, found.count(state)) for state in STATES]
    assert samples["apptainer_fleet_host_state"] == [({"host": one.host, "state": one.state}, 1) for one in found.outcomes if one.state != "in_state"]
    assert samples["apptainer_fleet_drift_groups"] == [({}, len(found.groups))]
    assert sum(value for _labels, value in samples["apptainer_fleet_user_findings"]) == sum(len(one.findings) for one in outcomes)
    assert samples["apptainer_fleet_report_timestamp_seconds"] == [({}, 1763925000.123)]


def test_metrics_escape_labels():
    text = exposition(made(Outcome('a"b\\c\nd', "failed", "x")), 1)
    assert 'apptainer_fleet_host_state{host="a\\"b\\\\c\\nd",state="failed"} 1\n' in text
