# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The report as metrics for Prometheus: a file for the textfile collector of the node exporter."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping

from ansible_collections.hpc.apptainer.plugins.plugin_utils._health import Health
from ansible_collections.hpc.apptainer.plugins.plugin_utils._outcomes import DRIFTED, IN_STATE, STATES
from ansible_collections.hpc.apptainer.plugins.plugin_utils._report import HEALTH, Report, summary_counts

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


def exposition(report: Report, timestamp: float) -> str:
    """The metrics in Prometheus' text exposition format, version 0.0.4. `timestamp` is in seconds since 1970.

    A host has a series of its own only while it is not in state. So a healthy fleet of thousands costs no more than one of ten.
    """
    return "".join((*([] if report.kind == HEALTH else _of_hosts(report, timestamp)), *_of_health(report.health, timestamp)))


def _of_hosts(report: Report, timestamp: float) -> Iterator[str]:
    words = {state: state for state in STATES} | {DRIFTED: report.differed.replace(" ", "_")}  # a node that has changed itself has not drifted
    yield _metric("apptainer_fleet_hosts", "Number of hosts in each state.", [({"state": words[state]}, report.count(state)) for state in STATES])
    yield _metric("apptainer_fleet_host_state", "1 for each host that is not in state. Other hosts have no series.",
                  [({"host": result.host, "state": words[result.state]}, 1) for result in report.results if result.state != IN_STATE])
    yield _metric("apptainer_fleet_unreadable_files", "Number of hosts with a global file that cannot be read, and so is ignored.",
                  [({}, summary_counts(report)["unreadable"])])
    yield _metric("apptainer_fleet_drift_groups", "Number of different kinds of drift.", [({}, len(report.groups))])
    yield _metric("apptainer_fleet_user_findings", "Number of findings of the audit of users' files.",
                  [({"finding": group.id, "severity": group.severity}, len(group.places)) for group in report.findings])
    yield _metric("apptainer_fleet_locked_out_users", "Number of users who would be locked out if the endpoint were removed now.",
                  [({"remote": locked_out.remote}, len(locked_out.users)) for locked_out in report.locked_out])
    yield _metric("apptainer_fleet_report_timestamp_seconds", "Time at which the report was made.", [({}, round(timestamp, 3))])


def _of_health(health: Health | None, timestamp: float) -> Iterator[str]:
    """What is not known has no series. Of what would have the same labels, such as two passwords of one account, the worst has one."""
    if health is None:
        return
    yield _metric("apptainer_fleet_service_up", "Whether an endpoint, one of its services, a keyserver or a registry works (1) or not (0).", _worst(
        ({"kind": row["kind"], "uri": row["uri"], "service": row["service"]}, int(row["up"])) for row in health.services if row["up"] is not None))
    yield _metric("apptainer_fleet_login_valid", "Whether a server accepts a login (1) or rejects it (0).", _worst(
        ({"kind": row["kind"], "uri": row["uri"], "user": row["user"]}, int(row["valid"])) for row in health.logins if row["valid"] is not None))
    yield _metric("apptainer_fleet_certificate_expires_seconds", "Time until which the certificate of a server is valid, in seconds since 1970.", _worst(
        ({"server": row["server"]}, _seconds(row["expires"])) for row in health.certificates if row["expires"] and row["trusted"] is not None))
    yield _metric("apptainer_fleet_health_errors", "Number of reasons for which something could not be asked at all.", [({}, len(health.errors))])
    yield _metric("apptainer_fleet_health_timestamp_seconds", "Time at which the servers were asked.", [({}, round(timestamp, 3))])


def _seconds(time: str) -> int:
    return round(datetime.datetime.fromisoformat(time.replace("Z", "+00:00")).timestamp())


def _worst(samples: Iterable[tuple[Mapping[str, str], int]]) -> list[tuple[Mapping[str, str], int]]:
    found: dict[tuple[tuple[str, str], ...], int] = {}
    for labels, value in samples:
        key = tuple(labels.items())
        found[key] = min(value, found.get(key, value))
    return [(dict(key), value) for key, value in found.items()]


def _metric(name: str, text: str, samples: Iterable[tuple[Mapping[str, str], float]]) -> str:
    rows = [f"{name}{_labels(labels)} {value}" for labels, value in samples]
    return "\n".join([f"# HELP {name} {text}", f"# TYPE {name} gauge", *rows, ""])


def _labels(labels: Mapping[str, str]) -> str:
    pairs = ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items())
    return f"{{{pairs}}}" if pairs else ""
