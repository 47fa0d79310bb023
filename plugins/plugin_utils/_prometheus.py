# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The report as metrics for Prometheus: a file for the textfile collector of the node exporter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ansible_collections.hpc.apptainer.plugins.plugin_utils._outcomes import IN_STATE, STATES
from ansible_collections.hpc.apptainer.plugins.plugin_utils._report import Report, summary_counts

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


def exposition(report: Report, timestamp: float) -> str:
    """The metrics in Prometheus' text exposition format, version 0.0.4. `timestamp` is in seconds since 1970.

    A host has a series of its own only while it is not in state. So a healthy fleet of thousands costs no more than one of ten.
    """
    return "".join((
        _metric("apptainer_fleet_hosts", "Number of hosts in each state.", [({"state": state}, report.count(state)) for state in STATES]),
        _metric("apptainer_fleet_host_state", "1 for each host that is not in state. Other hosts have no series.",
                [({"host": result.host, "state": result.state}, 1) for result in report.results if result.state != IN_STATE]),
        _metric("apptainer_fleet_unreadable_files", "Number of hosts with a global file that cannot be read, and so is ignored.",
                [({}, summary_counts(report)["unreadable"])]),
        _metric("apptainer_fleet_drift_groups", "Number of different kinds of drift.", [({}, len(report.groups))]),
        _metric("apptainer_fleet_user_findings", "Number of findings of the audit of users' files.",
                [({"finding": group.id, "severity": group.severity}, len(group.places)) for group in report.findings]),
        _metric("apptainer_fleet_locked_out_users", "Number of users who would be locked out if the endpoint were removed now.",
                [({"remote": locked_out.remote}, len(locked_out.users)) for locked_out in report.locked_out]),
        _metric("apptainer_fleet_report_timestamp_seconds", "Time at which the report was made.", [({}, round(timestamp, 3))]),
    ))


def _metric(name: str, text: str, samples: Iterable[tuple[Mapping[str, str], float]]) -> str:
    rows = [f"{name}{_labels(labels)} {value}" for labels, value in samples]
    return "\n".join([f"# HELP {name} {text}", f"# TYPE {name} gauge", *rows, ""])


def _labels(labels: Mapping[str, str]) -> str:
    pairs = ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items())
    return f"{{{pairs}}}" if pairs else ""
