# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report in a few lines: what a person reads in a terminal or a mail."""

import pytest
from ansible_collections.hpc.apptainer.plugins.plugin_utils._outcomes import Difference, HostResult, UserFinding
from ansible_collections.hpc.apptainer.plugins.plugin_utils._report import build_report
from ansible_collections.hpc.apptainer.plugins.plugin_utils._summary import Progress, drift_lines, headline, problem, rollout_lines
from support.growth import assert_linear

MODE = Difference("global: remote.yaml", "/etc/apptainer/remote.yaml", ("mode is 0600, should be 0644",), "mode: 0600", "mode: 0644")
STALE = UserFinding("stale-copy", "warning", "bob", "m", "/home/bob/r")
COPY = UserFinding("unreleased-copy", "warning", "bob", "m", "/home/bob/r", "old")
OK = HostResult("n9", "in_state")


def drifted(name, *sentences):
    return HostResult(name, "drifted", "", (MODE._replace(sentences=sentences or MODE.sentences),))


def failed(name, reason="no"):
    return HostResult(name, "failed", reason)


def lost(name):
    return HostResult(name, "unreachable", "gone")


def report_on(*results, differed="drifted"):
    return build_report("Drift", "2026-11-23T18:00:00Z", results, differed)


def batch(results, untouched=(), earlier=(), max_unreachable=0, differed="changed"):
    """The lines at the end of a batch with these results, and whether it is the last one."""
    so_far = report_on(*earlier, *results, differed=differed)
    progress = Progress(tuple(result.host for result in so_far.results) + tuple(untouched), tuple(untouched), max_unreachable)
    return rollout_lines(report_on(*results, differed=differed), so_far, progress), progress.stops(so_far)


@pytest.mark.parametrize(("results", "line"), [
    ([], "No host was checked: no host of the inventory matches the pattern and --limit; check them, and the inventory (-i)"),
    ([OK], "1 host: 1 in state"),
    ([OK, HostResult("n1", "undeclared"), drifted("n2"), failed("n3"), lost("n4")],
     "5 hosts: 1 drifted, 1 failed, 1 unreachable, 1 undeclared, 1 in state"),
], ids=["no hosts", "in state", "all states"])
def test_headline(results, line):
    assert headline(report_on(*results)) == drift_lines(report_on(*results))[0] == line


def test_lines_name_only_the_largest_groups():
    lines = drift_lines(report_on(
        *(drifted(f"n{number}", f"sentence {number}") for number in range(7)), *(HostResult(f"x{number}", "undeclared") for number in range(3)),
        failed("f", "why"), HostResult("u", "unreachable", "gone", (), (STALE, STALE._replace(severity="error")))))
    assert lines[0] == "12 hosts: 7 drifted, 1 failed, 1 unreachable, 3 undeclared"
    assert len([line for line in lines if line.startswith("Drift on 1 host (n")]) == 5
    assert "Drift: 2 more" in lines
    assert lines[-6:] == ["Failed on 1 host (f): why", "Unreachable on 1 host (u): gone",
                          "Undeclared on 3 hosts (x[0-2]): nothing is declared, so nothing was looked at",
                          "Users' files on 1 host (u): stale-copy (error): bob", "Users' files on 1 host (u): stale-copy (warning): bob",
                          "To rerun only what failed or was not reached: --limit f,u"]


def test_users_are_counted_once_and_what_only_informs_is_left_out():
    """A home that hosts share is found on each of them."""
    findings = tuple(STALE._replace(severity=severity) for severity in ("info", "", "warning", "error"))
    lines = drift_lines(report_on(*(HostResult(name, "in_state", "", (), findings) for name in ("n1", "n2"))))
    assert lines[1:] == [f"Users' files on 2 hosts (n[1-2]): stale-copy ({severity}): bob" for severity in ("error", "warning", "")]


@pytest.mark.parametrize("differed", ["drifted", "changed", "to be changed"])
def test_who_would_be_locked_out_is_named(differed):
    few = [COPY, COPY._replace(user="alice"), COPY._replace(remote="")]
    results = [HostResult("n1", "in_state", "", (), tuple(few))]
    said = drift_lines(report_on(*results)) if differed == "drifted" else batch(results, differed=differed)[0]
    assert said[1:3] == ["2 users would be locked out if the endpoint old were removed now: alice, bob",
                         "1 user would be locked out if the endpoint were removed now: bob"]
    many = tuple(COPY._replace(user=f"u{number}\x1b") for number in range(25))
    line = drift_lines(report_on(HostResult("n1", "in_state", "", (), many)))[1]
    assert line.startswith("25 users would be locked out if the endpoint old were removed now: u0\\u001b, u1\\u001b, ")
    assert line.endswith(", u19\\u001b and 5 more")


@pytest.mark.parametrize(("differed", "lines"), [
    ("changed", ["2 hosts: 1 changed, 1 in state", "Changed on 1 host (n1): global: remote.yaml: mode is 0600, should be 0644"]),
    ("to be changed", ["2 hosts: 1 to be changed, 1 in state",
                       "To be changed on 1 host (n1): global: remote.yaml: mode is 0600, should be 0644"]),
])
def test_label_of_the_hosts_that_differed(differed, lines):
    assert batch([drifted("n1"), OK], differed=differed) == (lines, False)


def test_nothing_that_was_changed_is_left_out():
    lines, _stop = batch([drifted(f"n{number}", f"sentence {number}") for number in range(7)])
    assert (len(lines), lines[0]) == (8, "7 hosts: 7 changed")


BATCHES = {
    "the first of two": (batch([drifted("n1"), OK], ["n3", "n4"]), False,
                         ["2 hosts: 1 changed, 1 in state (2 of 4 hosts done)"], ["In all batches", "stops", "--limit"]),
    "the last of two": (batch([OK], (), [drifted("n1")]), False,
                        ["1 host: 1 in state (2 of 2 hosts done)", "In all batches, 2 hosts: 1 changed, 1 in state"],
                        ["stops", "--limit"]),
    "failed": (batch([drifted("n1"), failed("n2")], ["n3"]), True,
               ["Failed on 1 host (n2): no", "The rollout stops here. 1 host was not touched: n3", "--limit n2"], ["In all batches"]),
    "failed before": (batch([OK], ["n3", "n4"], [failed("n1")]), True,
                      ["In all batches, 2 hosts: 1 failed, 1 in state", "The rollout stops here. 2 hosts were not touched: n[3-4]"], []),
    "the last failed": (batch([failed("n1")]), True, ["1 host: 1 failed", "--limit n1"], ["stops here"]),
    "as many lost as allowed": (batch([lost("n1"), OK], ["n3"], max_unreachable=1), False,
                                ["Unreachable on 1 host (n1): gone"], ["stops", "--limit"]),
    "one lost too many": (batch([lost("n1"), OK], ["n3"], [lost("n2")], max_unreachable=1), True,
                          ["The rollout stops here, because 2 hosts are unreachable and apptainer_fleet_max_unreachable allows 1. "
                           "1 host was not touched: n3", "--limit n1,n2"], []),
    "none may be lost": (batch([lost("n1")], ["n3"]), True, ["because 1 host is unreachable and apptainer_fleet_max_unreachable allows none."], []),
    "lost at the end": (batch([OK], (), [lost("n1")], max_unreachable=1), False, [
                        "In all batches, 2 hosts: 1 unreachable, 1 in state", "To rerun only what failed or was not reached: --limit n1"], ["stops"]),
}


@pytest.mark.parametrize(("answer", "stop", "said", "unsaid"), BATCHES.values(), ids=BATCHES)
def test_the_end_of_a_batch(answer, stop, said, unsaid):
    lines, stops = answer
    assert stops == stop
    assert [words for words in said if words not in "\n".join(lines)] == [], lines
    assert [words for words in unsaid if words in "\n".join(lines)] == [], lines


def test_a_pattern_for_a_shell_that_fits_on_a_screen():
    assert drift_lines(report_on(lost("it's"), failed("n1")))[-1] == "To rerun only what failed or was not reached: --limit 'it'\"'\"'s,n1'"
    line = drift_lines(report_on(*(lost(f"node{number:04}") for number in range(2000))))[-1]
    assert line == "2000 hosts failed or were not reached: the key limit of the JSON report has them for --limit"


def test_a_line_is_one_line_that_does_nothing_to_a_terminal():
    (_headline, line) = drift_lines(report_on(drifted("n\x1b1", "is \x1b[2J\n" + "x" * 2000)))
    assert line.startswith("Drift on 1 host (n\\u001b1): global: remote.yaml: is \\u001b[2J xxx")
    assert line.endswith("xxx ...")
    assert len(line) < 600


@pytest.mark.parametrize(("result", "text"), [
    (failed("n1", "why\x1b"), "why\\u001b"),
    (drifted("n1", "a", "b")._replace(differences=(*drifted("n1", "a", "b").differences, MODE._replace(subject="account ci: r"))),
     "global: remote.yaml: a; b; account ci: r: mode is 0600, should be 0644"),
], ids=["failed", "drifted"])
def test_why_a_host_is_to_blame(result, text):
    assert problem(result, report_on(result)) == text


def test_a_host_is_to_blame_for_findings_that_count():
    findings = (STALE._replace(severity="error", user="eve"), STALE, STALE._replace(severity="error"))
    result = drifted("n1", "a")._replace(findings=findings)
    report = build_report("Drift", "", [result, HostResult("n2", "in_state", "", (), (STALE,)), HostResult("n3", "failed", "why", (), findings)],
                          findings_fail="error")
    assert problem(result, report) == "global: remote.yaml: a; users' files: stale-copy (error): eve, bob"
    assert problem(report.results[2], report) == "why; users' files: stale-copy (error): eve, bob"
    many = tuple(STALE._replace(user=f"u{number}") for number in range(30))
    assert drift_lines(report_on(HostResult("n1", "in_state", "", (), many)))[1].endswith("u18, u19 and 10 more")


def test_the_time_for_all_hosts_with_findings_grows_with_the_hosts():
    def report(size):
        return build_report("", "", [HostResult(f"n{number}", "in_state", "", (), (STALE, COPY)) for number in range(4 * size)], findings_fail="warning")

    assert_linear(lambda report: [problem(result, report) for result in report.results], report)
