# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How servers and logins are: states, thresholds, lines, metrics and the page, from results that are written by hand."""

import datetime

import pytest
from ansible_collections.hpc.apptainer.plugins.plugin_utils._health import Limits, health_of
from ansible_collections.hpc.apptainer.plugins.plugin_utils._outcomes import HostResult
from ansible_collections.hpc.apptainer.plugins.plugin_utils._page import page
from ansible_collections.hpc.apptainer.plugins.plugin_utils._prometheus import exposition
from ansible_collections.hpc.apptainer.plugins.plugin_utils._report import HEALTH, build_report
from ansible_collections.hpc.apptainer.plugins.plugin_utils._summary import drift_lines
from prometheus_client.parser import text_string_to_metric_families

NOW = datetime.datetime(2026, 11, 1, 12, tzinfo=datetime.UTC)
SERVICE = {"kind": "endpoint", "name": 'endpoint "site" at https://x', "uri": "https://x", "service": "", "version": None, "up": True,
           "reason": "it has a discovery document", "warning": ""}
LIBRARY = {**SERVICE, "kind": "service", "name": "library service of endpoint", "uri": "https://x/l", "service": "library", "version": "v1"}
LOGIN = {"kind": "registry", "name": "registry r as user ci", "uri": "r", "user": "ci", "valid": True, "reason": "r accepts the login", "warning": ""}
CERTIFICATE = {"server": "https://x", "expires": "2027-11-01T12:00:00Z", "trusted": True, "reason": ""}
LIMITS = Limits()
NOTHING = {"from": "admin", "services": [], "logins": [], "certificates": [], "refused": [], "errors": [], "undeclared": []}


def health(limits=LIMITS, hosts=False, **found):
    return health_of({**NOTHING, **found}, NOW, limits, hosts)


def report(found, *hosts):
    return build_report("Health", "2026-11-01T12:00:00Z", hosts, "drifted" if hosts else HEALTH, health=found)


@pytest.mark.parametrize(("row", "state", "status"), [
    ({}, "ok", 0), ({"up": None}, "ok", 0), ({"warning": "it uses plain http"}, "warning", 0), ({"up": False}, "error", 2),
    ({"service": "builder", "up": False}, "warning", 0), ({"service": "library", "up": False}, "error", 2),
], ids=["up", "not known", "dangerous", "down", "a service that Apptainer does not use", "one that it uses"])
def test_services(row, state, status):
    found = health(services=[SERVICE, {**SERVICE, **row}])
    assert (found.state, found.status) == (state, status)


@pytest.mark.parametrize(("row", "state"), [({}, "ok"), ({"valid": None}, "ok"), ({"valid": False}, "error"), ({"warning": "plain http"}, "warning")])
def test_logins(row, state):
    assert health(logins=[{**LOGIN, **row}]).state == state


@pytest.mark.parametrize(("expires", "limits", "days", "state"), [
    ("2026-11-22T12:00:01Z", LIMITS, 21, "ok"),
    ("2026-11-22T12:00:00Z", LIMITS, 21, "warning"),
    ("2026-11-08T12:00:01Z", LIMITS, 7, "warning"),
    ("2026-11-08T12:00:00Z", LIMITS, 7, "error"),
    ("2026-11-01T11:59:59Z", LIMITS, -1, "error"),
    ("2020-11-01T12:00:00Z", Limits(0, 0), -2191, "error"),
    ("2026-11-22T12:00:00Z", Limits(60, 30), 21, "error"),
    ("2026-11-22T12:00:00Z", Limits(1, 0), 21, "ok"),
], ids=str)
def test_certificates(expires, limits, days, state):
    (row,) = health(limits, certificates=[{**CERTIFICATE, "expires": expires}]).certificates
    assert (row["days"], row["state"]) == (days, state)


@pytest.mark.parametrize(("row", "state"), [
    ({"trusted": False, "reason": "it has expired"}, "error"),
    ({"trusted": None}, "unknown"),  # nobody has to renew what nobody looks at
    ({"trusted": None, "expires": "2020-01-01T00:00:00Z"}, "unknown"),
    ({"trusted": None, "expires": None, "reason": "it refuses the connection"}, "unknown"),
], ids=["not trusted", "not validated", "not validated and expired", "not known"])
def test_certificates_without_trust(row, state):
    assert health(certificates=[{**CERTIFICATE, **row}]).certificates[0]["state"] == state


def test_all_in_a_few_lines():
    down = [{**SERVICE, "name": f"keyserver https://k{number}", "up": False, "reason": "it is silent"} for number in range(7)]
    found = health(services=[SERVICE, *down], logins=[LOGIN, {**LOGIN, "valid": False, "reason": "401"}, {**LOGIN, "valid": None}],
                   certificates=[CERTIFICATE, {**CERTIFICATE, "server": "https://y", "expires": "2026-11-02T13:00:00Z"}])
    assert found.lines() == [
        "Servers and logins, asked from admin: 1 service up, 7 down; 1 login accepted, 1 rejected, 1 not known; 2 certificates trusted; the next "
        "certificate expires in 1 day",
        *[f"Down: keyserver https://k{number}: it is silent" for number in range(5)],
        "2 more like these: see the report",
        "Login rejected: registry r as user ci: 401",
        "Certificate of https://y: it expires in 1 day, on 2026-11-02",
    ]
    assert [row["state"] for row in found.services] == ["error"] * 7 + ["ok"]
    assert drift_lines(report(found)) == found.lines()
    assert health().headline == "Servers and logins, asked from admin: nothing was asked"


def test_what_could_not_be_asked_is_an_error():
    found = health(errors=["nothing was asked from admin: no requests"], refused=[{"name": 'endpoint "a b"', "reason": "its uri is wrong"}],
                   undeclared=["n1: a slip"])
    assert (found.state, found.status) == ("error", 2)
    assert found.errors == ("nothing was asked from admin: no requests", 'endpoint "a b": its uri is wrong', "n1: a slip")
    assert health(hosts=True, undeclared=["n1: a slip"]).state == "ok"  # n1 has failed for it


@pytest.mark.parametrize("result", [{"a": 1}, {**NOTHING, "services": [1]}, {**NOTHING, "certificates": [{**CERTIFICATE, "expires": "x"}]},
                                    {**NOTHING, "errors": None}], ids=str)
def test_another_result_is_said_to_be_one(result):
    found = health_of(result, NOW, LIMITS, hosts_are_reported=False)
    assert found.errors == ("the answer is not that of apptainer_fleet_health; give its registered result",)


def test_no_host_is_called_drifted_for_it():
    found = health(services=[{**SERVICE, "up": False}])
    whole = report(found, HostResult("n1", "in_state"))
    assert (whole.kind, whole.status, whole.problem_hosts, whole.health.status) == ("drift", 0, (), 2)
    assert (report(found).kind, report(found).status) == ("health", 2)
    assert drift_lines(whole)[0] == "1 host: 1 in state"


def samples(text):
    return {family.name: {tuple(sample.labels.values()): sample.value for sample in family.samples} for family in text_string_to_metric_families(text)}


def test_metrics():
    hostile = 'https://x/"\\\n'
    found = health(
        services=[SERVICE, {**LIBRARY, "up": False}, {**SERVICE, "uri": hostile, "up": True}, {**SERVICE, "uri": "unknown", "up": None}],
        logins=[LOGIN, {**LOGIN, "valid": False}, {**LOGIN, "user": "", "valid": None}, {**LOGIN, "kind": "token", "user": ""}],
        certificates=[CERTIFICATE, {**CERTIFICATE, "server": "https://y", "trusted": None}, {**CERTIFICATE, "server": "https://z", "expires": None}])
    assert samples(exposition(report(found), 12.5)) == {
        "apptainer_fleet_service_up": {("endpoint", "https://x", ""): 1, ("service", "https://x/l", "library"): 0, ("endpoint", hostile, ""): 1},
        "apptainer_fleet_login_valid": {("registry", "r", "ci"): 0, ("token", "r", ""): 1},
        "apptainer_fleet_certificate_expires_seconds": {("https://x",): datetime.datetime(2027, 11, 1, 12, tzinfo=datetime.UTC).timestamp()},
        "apptainer_fleet_health_errors": {(): 0},
        "apptainer_fleet_health_timestamp_seconds": {(): 12.5},
    }
    both = samples(exposition(report(found, HostResult("n1", "in_state")), 12.5))
    assert {"apptainer_fleet_hosts", "apptainer_fleet_report_timestamp_seconds", "apptainer_fleet_service_up"} <= set(both)
    assert "apptainer_fleet_service_up" not in exposition(report(None, HostResult("n1", "in_state")), 1)


@pytest.mark.parametrize(("found", "verdict"), [
    (health(services=[SERVICE]), "All that could be asked is well"),
    (health(services=[{**SERVICE, "warning": "plain http"}]), "There are warnings about servers or logins"),
    (health(services=[{**SERVICE, "up": False}]), "Servers or logins have errors"),
])
def test_the_page_of_health_alone(found, verdict):
    text = page(report(found))
    assert verdict in text
    assert found.headline.replace('"', "&#34;") in text
    assert 'id="hosts"' not in text


def test_the_page_shows_what_is_wrong_first_and_what_is_hostile_as_text():
    found = health(services=[SERVICE, {**SERVICE, "name": "<b>bad</b>", "up": False, "reason": "<script>\u202e"}],
                   certificates=[{**CERTIFICATE, "expires": "2026-10-01T00:00:00Z", "trusted": False, "reason": "it is old"},
                                 {**CERTIFICATE, "server": "https://y", "trusted": False, "reason": "another name"},
                                 {**CERTIFICATE, "server": "https://z", "expires": None, "trusted": None, "reason": "no TLS"}],
                   errors=["nothing <i>"])
    text = page(report(found, HostResult("n1", "in_state")))
    assert "&lt;script&gt;\\u202e" in text
    assert "&lt;b&gt;bad&lt;/b&gt;" in text
    assert "nothing &lt;i&gt;" in text
    for word in (">expired<", ">not trusted<", ">not known<", "it expired on 2026-10-01; it is old"):
        assert word in text, word
    assert "All hosts are in state" in text
