# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report: the same difference on several hosts is one row, and nothing is lost."""

import json

import pytest
from ansible_collections.hpc.apptainer.plugins.plugin_utils._origin import Origin
from ansible_collections.hpc.apptainer.plugins.plugin_utils._outcomes import STATES, Difference, HostResult, UserFinding, host_result
from ansible_collections.hpc.apptainer.plugins.plugin_utils._page import begun_page, page
from ansible_collections.hpc.apptainer.plugins.plugin_utils._prometheus import exposition
from ansible_collections.hpc.apptainer.plugins.plugin_utils._report import as_dict, begun_dict, build_report, summary_counts
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from support.envs import ROOT

MODE = Difference("global: remote.yaml", "/etc/apptainer/remote.yaml", ("mode is 0600, should be 0644",), "mode: 0600", "mode: 0644")
MISSING = Difference("global: remote.yaml", "/etc/apptainer/remote.yaml", ("the file is missing or empty",), "", "Active: a")
IGNORED = Difference("global: remote.yaml", "/etc/apptainer/remote.yaml", ("ignored", "bad"), ignored="bad", refused=True)
LONG = Difference("account ci: remote.yaml", "/home/ci/remote.yaml", tuple("abcde"), "x", "y")
STALE = UserFinding("stale-copy", "warning", "bob", "m", "/home/bob/r")
COPY = UserFinding("unreleased-copy", "warning", "bob", "m", "/home/bob/r", "old")

ORIGIN = Origin(("hpc.apptainer.drift",), ("/srv/inventory",), "0.1.0", "2.19.1", {"ns": ["n1", "n2"]})
REPORT_SCHEMA = Draft7Validator(json.loads((ROOT / "docs" / "report.schema.json").read_text()))


def drifted(name, *differences):
    return HostResult(name, "drifted", "", differences)


def report_on(*results, differed="drifted"):
    return build_report("Drift", "2026-11-23T18:00:00Z", results, differed)


@pytest.mark.parametrize(("results", "drift", "rollout"), [
    ([], 2, 2),
    ([HostResult("n1", "in_state")], 0, 0),
    ([HostResult("n1", "in_state", "", (), (STALE,))], 0, 0),
    ([HostResult("n1", "in_state"), drifted("n2", MODE)], 2, 0),
    ([HostResult("n1", "failed", "no"), drifted("n2", MODE)], 2, 2),
    ([HostResult("n1", "unreachable", "no"), HostResult("n2", "failed", "no")], 4, 4),
    ([HostResult("n1", "undeclared"), HostResult("n2", "in_state")], 0, 0),
    ([HostResult("n1", "undeclared"), HostResult("n2", "undeclared")], 2, 2),
], ids=["no hosts", "in state", "in state with a finding", "drifted", "failed", "unreachable", "some undeclared", "all undeclared"])
def test_status(results, drift, rollout):
    assert report_on(*results).status == drift
    assert report_on(*results, differed="changed").status == rollout


def test_the_same_on_many_hosts_is_one_row():
    hosts = [drifted(f"n{number}", MODE._replace(path=f"/srv/n{number}/etc/remote.yaml")) for number in range(1, 1801)]
    report = report_on(drifted("a", LONG), *hosts, drifted("b", MISSING), drifted("c", MISSING._replace(after="Active: b")))
    assert [(len(group.hosts), group.title, group.file) for group in report.groups] == [
        (1800, "mode is 0600, should be 0644", "/srv/n1/etc/remote.yaml and other paths"),
        (1, "a; b; c; and 2 more", "/home/ci/remote.yaml"),
        (1, "the file is missing or empty", "/etc/apptainer/remote.yaml"),
        (1, "the file is missing or empty", "/etc/apptainer/remote.yaml"),
    ]


def test_files_that_are_ignored_are_first():
    report = report_on(drifted("a", MODE), drifted("b", MODE), drifted("c", MODE, IGNORED), drifted("d", IGNORED._replace(ignored="worse")))
    assert [(group.hosts, bool(group.difference.ignored)) for group in report.groups] == [(("c",), True), (("d",), True), (("a", "b", "c"), False)]
    assert [group["unreadable"] for group in as_dict(report)["groups"]] == [True, True, False]
    assert summary_counts(report)["unreadable"] == 2


def test_the_same_reason_is_one_row_in_the_words_of_the_first():
    """No placeholder is ever shown, and a host's own row has its own words."""
    lost = [host_result(f"n{number}", {"unreachable_reason": f"connect to host {address} port 22: refused"}, [address])
            for number, address in enumerate(("n0", "10.0.0.1"))]
    other = host_result("n2", {"unreachable_reason": "connect to host n2 port 22: refused via 10.0.0.9"})
    failed = [host_result(name, {"failures": [{"subject": "global", "msg": f"/srv/{name}/etc/r:3:1: bad"}]}) for name in ("m0", "m1", "m2")]
    bad = [host_result(name, {"failures": [{"subject": "global", "msg": f"/srv/{name}/etc/r: bad", "unreadable": True}]}) for name in ("u0", "u1")]
    report = report_on(*lost, other, *failed, *bad)
    assert [(group.reason, group.hosts) for group in report.failures] == [("/srv/m0/etc/r:3:1: bad", ("m0", "m1", "m2"))]
    assert [(group.reason, group.hosts) for group in report.unreachable] == [
        ("connect to host n0 port 22: refused", ("n0", "n1")), ("connect to host n2 port 22: refused via 10.0.0.9", ("n2",))]
    (unreadable,) = report.groups
    assert (unreadable.hosts, unreadable.difference.sentences[1]) == (("u0", "u1"), "/srv/u0/etc/r: bad")
    reasons = {host["name"]: host["reason"] for host in as_dict(report)["hosts"]}
    assert (reasons["n1"], reasons["m2"]) == ("connect to host 10.0.0.1 port 22: refused", "/srv/m2/etc/r:3:1: bad")
    for text in (json.dumps(as_dict(report)), page(report), exposition(report, 1)):
        assert "{host}" not in text
        assert "{address}" not in text


def test_paths_that_have_nothing_in_common():
    report = report_on(drifted("n1", MODE._replace(path="/srv/b/r")), drifted("n2", MODE._replace(path="/srv/a/r")))
    assert [group.file for group in report.groups] == ["/srv/b/r and other paths"]


@pytest.mark.parametrize(("names", "pattern"), [
    ([], ""), (["n10", "n2"], "n2,n10"), (["2001:db8::1"], "2001:db8::1,"), (["a", "x:y"], "a,x:y"),
])
def test_limit_is_a_pattern_for_ansible(names, pattern):
    hosts = [HostResult(name, state, "x") for name, state in zip(names, ("failed", "unreachable"), strict=False)]
    report = report_on(*hosts, drifted("d", MODE), HostResult("i", "in_state"), HostResult("u", "undeclared"))
    assert report.limit == as_dict(report)["limit"] == pattern


def test_who_would_be_locked_out_by_which_endpoint():
    findings = [(COPY, STALE), (COPY, COPY._replace(user="alice10"), COPY._replace(user="alice9", remote="older")), (COPY._replace(user="alice9"),)]
    report = report_on(*(HostResult(f"n{number}", "in_state", "", (), found) for number, found in enumerate(findings)))
    assert report.locked_out == (("old", ("alice9", "alice10", "bob"), ("n0", "n1", "n2")), ("older", ("alice9",), ("n1",)))
    assert summary_counts(report)["locked_out"] == 3
    assert as_dict(report)["locked_out"][1] == {"remote": "older", "users": ["alice9"], "count": 1, "nodes": "n1", "hosts": ["n1"]}
    assert "3 users would be locked out if the endpoint old were removed now: alice9, alice10, bob" in page(report)


def test_a_run_that_has_begun_has_no_status_and_says_nothing_of_hosts():
    found = begun_dict("Drift", "2026-11-23T18:00:00Z", ORIGIN)
    assert found == {"schema": 2, "title": "Drift", "state": "begun", "made_by": ORIGIN.as_dict(), "begun": "2026-11-23T18:00:00Z", "status": None}
    REPORT_SCHEMA.validate(found)
    text = begun_page("<Drift>\u202e", "2026-11-23T18:00:00Z", ORIGIN)
    assert "Begun by <code>hpc.apptainer.drift</code> for the inventory <code>/srv/inventory</code>" in text
    assert "A run began on <time datetime=\"2026-11-23T18:00:00Z\">2026-11-23 18:00:00 UTC</time> and has not finished" in text
    assert "<h1>&lt;Drift&gt;\\u202e</h1>" in text


@pytest.mark.parametrize(("fail", "status", "blamed"), [("never", 0, ()), ("error", 2, ("n3",)), ("warning", 2, ("n2", "n3"))])
def test_findings_that_count(fail, status, blamed):
    """They change whom the run blames, and not the state of a host."""
    severities = ("info", "warning", "error", "")
    hosts = [HostResult(f"n{number}", "in_state", "", (), (STALE._replace(severity=severity),)) for number, severity in enumerate(severities, 1)]
    report = build_report("Drift", "2026-11-23T18:00:00Z", hosts, findings_fail=fail)
    assert (report.status, report.problem_hosts, report.count("in_state")) == (status, blamed, 4)
    assert {finding["severity"]: finding["fails"] for finding in as_dict(report)["findings"]} == {
        "info": False, "warning": fail == "warning", "error": fail != "never", "": False}
    assert ("findings that count" in page(report)) is bool(blamed)
    assert report._replace(results=(*report.results, HostResult("n5", "unreachable"))).status == 4


def test_each_group_says_what_repairs_it():
    hosts = [drifted(name, MODE) for name in ("n1", "n2")] + [drifted("n3", IGNORED, MISSING), HostResult("f", "failed", "why"),
                                                              HostResult("u", "unreachable", "gone", (), (STALE,))]
    report = build_report("Drift", "2026-11-23T18:00:00Z", hosts, origin=ORIGIN)
    found = as_dict(report)
    REPORT_SCHEMA.validate(found)
    start = "ansible-playbook -i /srv/inventory hpc.apptainer"
    assert {group["nodes"]: group["repair"] for group in found["groups"] if not group["unreadable"]} == {
        "n[1-2]": f"{start}.rollout --limit ns", "n3": f"{start}.rollout --limit n3"}
    (unreadable,) = [group for group in found["groups"] if group["unreadable"]]
    assert unreadable["repair"] is None
    assert "apptainer_fleet_unreadable: replace" in unreadable["instead"]
    assert found["failures"][0]["instead"].endswith(f"again: {start}.drift --limit f")
    assert found["unreachable"][0]["instead"].endswith(f"again: {start}.drift --limit u")
    assert "docs/docsite/rst/guide_troubleshooting.rst" in found["findings"][0]["instead"]
    text = page(report)
    assert f"<code>{start}.rollout --limit ns</code>" in text
    assert "<code>hpc.apptainer.drift</code> for the inventory <code>/srv/inventory</code>, with hpc.apptainer 0.1.0 and ansible-core 2.19" in text
    changed = as_dict(build_report("", "2026-11-23T18:00:00Z", hosts, "changed", origin=ORIGIN))
    REPORT_SCHEMA.validate(changed)
    assert {(group["repair"], group["instead"]) for group in changed["groups"] if not group["unreadable"]} == {(None, None)}
    assert changed["failures"][0]["instead"].endswith(f"again: {start}.rollout --limit f")


def test_a_file_that_is_to_be_replaced_is_repaired_by_a_rollout():
    part = {"subject": "global", "changed": True, "config_file": "/etc/apptainer/remote.yaml", "unreadable": "line 3: bad"}
    diff = {"subject": "global", "before": "\tbad", "after": "Active: a", "after_header": "/etc/apptainer/remote.yaml"}
    replaced = host_result("n1", {"changed": True, "declared": True, "parts": [part], "diff": [diff]})
    refused = host_result("n2", {"changed": False, "declared": True, "parts": [{**part, "changed": False}],
                                 "failures": [{"subject": "global", "msg": "bad", "unreadable": "bad"}]})
    repairs = {group["nodes"]: group["repair"] for group in as_dict(build_report("", "2026-11-23T18:00:00Z", [replaced, refused]))["groups"]}
    assert repairs == {"n1": "ansible-playbook hpc.apptainer.rollout --limit n1", "n2": None}


def test_a_page_leaves_out_thousands_of_names_in_a_command():
    report = build_report("", "", [drifted(f"n{number}", MODE) for number in range(300)], origin=ORIGIN)
    assert "<code>ansible-playbook -i /srv/inventory hpc.apptainer.rollout --limit HOSTS</code>" in page(report)
    assert as_dict(report)["groups"][0]["repair"].count(",") == 299


def test_the_schema_describes_every_key():
    """Without a description, nobody knows what a key means; with other keys allowed, the tests would not notice one that is new."""
    Draft7Validator.check_schema(REPORT_SCHEMA.schema)

    def objects(node):
        if isinstance(node, dict):
            if "properties" in node:
                yield node
            for value in node.values():
                yield from objects(value)
        elif isinstance(node, list):
            for value in node:
                yield from objects(value)

    found = list(objects(REPORT_SCHEMA.schema))
    assert len(found) > 10
    for node in found:
        assert node["additionalProperties"] is False
        assert node["required"] == list(node["properties"])
    for text in ({"schema": 2}, {**begun_dict("a", "2026-11-23T18:00:00Z", ORIGIN), "more": 1}, as_dict(report_on()) | {"status": 3}):
        assert not REPORT_SCHEMA.is_valid(text)
    assert REPORT_SCHEMA.is_valid(as_dict(report_on()))


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
              st.lists(st.sampled_from([MODE, MISSING, LONG, IGNORED]), max_size=3).map(tuple),
              st.lists(st.sampled_from([STALE, COPY]), max_size=2).map(tuple)),
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
    assert samples["apptainer_fleet_unreadable_files"] == [({}, sum(any(found.ignored for found in result.differences) for result in report.results))]
    assert samples["apptainer_fleet_drift_groups"] == [({}, len(report.groups))]
    assert samples["apptainer_fleet_locked_out_users"] == [({"remote": "old"}, 1) for _remote in report.locked_out]
    assert sum(value for _labels, value in samples["apptainer_fleet_user_findings"]) == sum(len(result.findings) for result in results)
    assert samples["apptainer_fleet_report_timestamp_seconds"] == [({}, 1763925000.123)]


def test_metrics_escape_labels():
    text = exposition(report_on(HostResult('a"b\\c\nd', "failed", "x")), 1)
    assert 'apptainer_fleet_host_state{host="a\\"b\\\\c\\nd",state="failed"} 1\n' in text
