# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The report for Prometheus, as a file for the textfile collector of its node exporter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ansible_collections.hpc.apptainer.plugins.plugin_utils._outcomes import IN_STATE, STATES
from ansible_collections.hpc.apptainer.plugins.plugin_utils._report import Report

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


def exposition(made: Report, timestamp: float) -> str:
    """The metrics in the text format, version 0.0.4. `timestamp`: seconds since 1970.

    A host has a series of its own only while it is not in state, so that a healthy fleet of thousands costs no more than one of ten.
    """
    return "".join((
        _metric("apptainer_fleet_hosts", "How many hosts are in which state.", [({"state": state}, made.count(state)) for state in STATES]),
        _metric("apptainer_fleet_host_state", "1 for each host that is not in state; no series for the others.",
                [({"host": outcome.host, "state": outcome.state}, 1) for outcome in made.outcomes if outcome.state != IN_STATE]),
        _metric("apptainer_fleet_drift_groups", "How many different kinds of drift there are.", [({}, len(made.groups))]),
        _metric("apptainer_fleet_user_findings", "What the audit of users' files found.",
                [({"finding": audit.id, "severity": audit.severity}, len(audit.places)) for audit in made.findings]),
        _metric("apptainer_fleet_report_timestamp_seconds", "When the report was made.", [({}, round(timestamp, 3))]),
    ))


def _metric(name: str, text: str, samples: Iterable[tuple[Mapping[str, str], float]]) -> str:
    rows = [f"{name}{_labels(labels)} {value}" for labels, value in samples]
    return "\n".join([f"# HELP {name} {text}", f"# TYPE {name} gauge", *rows, ""])


def _labels(labels: Mapping[str, str]) -> str:
    shown = ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items())
    return "{%s}" % shown if shown else ""
