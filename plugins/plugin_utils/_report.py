# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The report: the results of all hosts, with everything that is the same on several hosts in one group. Pure rules."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from ansible_collections.hpc.apptainer.plugins.plugin_utils._health import Health
from ansible_collections.hpc.apptainer.plugins.plugin_utils._node_report import Gathered
from ansible_collections.hpc.apptainer.plugins.plugin_utils._nodeset import folded, natural_key
from ansible_collections.hpc.apptainer.plugins.plugin_utils._origin import DRIFT_PLAYBOOK, ROLLOUT, Origin, limit_pattern
from ansible_collections.hpc.apptainer.plugins.plugin_utils._outcomes import (
    DRIFTED,
    FAILED,
    IN_STATE,
    LOCKED_OUT,
    STATES,
    UNDECLARED,
    UNREACHABLE,
    Difference,
    HostResult,
    UserFinding,
)

SCHEMA = 2

# The exit statuses of ansible-playbook. Source: RUN_FAILED_HOSTS and RUN_UNREACHABLE_HOSTS in ansible-core's executor/task_queue_manager.py.
STATUS_IN_STATE, STATUS_FAILED, STATUS_UNREACHABLE = 0, 2, 4

# What a host with differences is: in a play that only compares, after a change, and in the check mode of a play that changes.
DRIFT, CHANGE, PREDICTION = "drifted", "changed", "to be changed"
# What a report is on, by that; and one on servers and logins alone.
KINDS = {DRIFT: "drift", CHANGE: "rollout", PREDICTION: "rollout in check mode"}
HEALTH = "health"

# Which findings in users' files a run fails for: none, or those of this severity and worse.
FINDINGS_FAIL = {"never": (), "error": ("error",), "warning": ("error", "warning")}

_REFUSED = ("a rollout refuses this file, because nothing of it can be kept. Correct it on the hosts, or set apptainer_fleet_prune: true and "
            "apptainer_fleet_unreadable: replace, so that a rollout replaces it and keeps a copy")
_OF_USERS = ("these files belong to their users, and a rollout leaves them alone. The guide docs/docsite/rst/guide_troubleshooting.rst "
             "says what each finding means and what to do")
_PULL = "these nodes pull again by themselves; to make one pull at once, run on it: systemctl start apptainer-fleet-pull.service"
_COMPARED = "these nodes only compare, and change nothing (--check); let them pull without it, or run the playbook hpc.apptainer.rollout"
_AGAIN = "correct what the reason says; then, to look at these hosts again: "

_TITLE_SENTENCES = 3
_SEVERITIES = ("error", "warning", "info")  # and then all others

_Item = TypeVar("_Item")


class DifferenceGroup(NamedTuple):
    """The hosts with the same difference. `difference` is that of the first of them, and so is `file`, which says if other hosts have other paths."""

    difference: Difference
    file: str
    hosts: tuple[str, ...]

    @property
    def title(self) -> str:
        """The sentences in one line."""
        sentences = self.difference.sentences
        more = f"; and {len(sentences) - _TITLE_SENTENCES} more" if len(sentences) > _TITLE_SENTENCES else ""
        return "; ".join(sentences[:_TITLE_SENTENCES]) + more


class ReasonGroup(NamedTuple):
    """The hosts that failed, or are unreachable, for the same reason. It is in the words of the first of them, whose name may be in it; what
    follows the reason is left out if it is not the same for all."""

    reason: str
    hosts: tuple[str, ...]


class FindingGroup(NamedTuple):
    """The same finding in the files of several users. `places` are the hosts with their findings."""

    id: str
    severity: str
    places: tuple[tuple[str, UserFinding], ...]

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(host for host, _finding in self.places))

    @property
    def users(self) -> tuple[str, ...]:
        """Each user once: a finding in a home that hosts share is found on all of them."""
        return tuple(dict.fromkeys(finding.user for _host, finding in self.places))


class LockedOut(NamedTuple):
    """The users who would be locked out if the endpoint `remote` were removed now."""

    remote: str
    users: tuple[str, ...]
    hosts: tuple[str, ...]


class Report(NamedTuple):
    """The results of all hosts, and their groups: ignored global files first, then the largest. `differed` is `DRIFT`, or its alternative."""

    title: str
    generated: str
    results: tuple[HostResult, ...]
    groups: tuple[DifferenceGroup, ...]
    failures: tuple[ReasonGroup, ...]
    unreachable: tuple[ReasonGroup, ...]
    findings: tuple[FindingGroup, ...]
    differed: str = DRIFT
    due: str = ""
    """When the next report should be there, in UTC. After that, this one is stale. Empty: nobody says when."""
    health: Health | None = None
    """How the servers and logins are, if they were asked."""
    origin: Origin = Origin()
    findings_fail: str = "never"
    """One of FINDINGS_FAIL."""
    gathered: Gathered | None = None
    """Where the results come from, if not from this run, but from nodes that pull."""

    @property
    def kind(self) -> str:
        """What the report is on. One without hosts to look at is on servers and logins."""
        return KINDS.get(self.differed, HEALTH)

    def count(self, state: str) -> int:
        return sum(result.state == state for result in self.results)

    def hosts(self, *states: str) -> tuple[str, ...]:
        """The names of the hosts in these states, in natural order."""
        return tuple(result.host for result in self.results if result.state in states)

    @property
    def labels(self) -> dict[str, str]:
        """The words for the states, the most important first."""
        lost = "unknown" if self.gathered else "unreachable"
        return {DRIFTED: self.differed, FAILED: "failed", UNREACHABLE: lost, UNDECLARED: "undeclared", IN_STATE: "in state"}

    @property
    def problem_states(self) -> tuple[str, ...]:
        """The states of hosts that something has to be done about. What was changed is not among them."""
        return (DRIFTED, FAILED, UNREACHABLE) if self.differed == DRIFT else (FAILED, UNREACHABLE)

    @property
    def failing_findings(self) -> tuple[FindingGroup, ...]:
        """The findings in users' files for which the run fails."""
        return tuple(group for group in self.findings if group.severity in FINDINGS_FAIL[self.findings_fail])

    @property
    def problem_hosts(self) -> tuple[str, ...]:
        """The hosts to blame, in natural order: those in a problem state, and those with findings for which the run fails."""
        found = {host for group in self.failing_findings for host in group.hosts}
        return tuple(result.host for result in self.results if result.state in self.problem_states or result.host in found)

    @property
    def status(self) -> int:
        """The exit status for ansible-playbook, as Ansible itself has it. Without any host, or with nothing declared for any, nothing is known.

        How servers and logins are is a status of its own, except in a report on nothing else.
        """
        if self.kind == HEALTH and self.health:
            return self.health.status
        if self.hosts(UNREACHABLE):
            return STATUS_UNREACHABLE
        return STATUS_FAILED if self.problem_hosts or self.is_empty else STATUS_IN_STATE

    @property
    def is_empty(self) -> bool:
        """Whether there is no host, or nothing declared for any host. That must not look like a fleet that is in state."""
        return self.count(UNDECLARED) == len(self.results)

    @property
    def limit(self) -> str:
        """The hosts that failed or were not reached, as a pattern for `--limit`."""
        return limit_pattern(self.hosts(FAILED, UNREACHABLE))

    @property
    def locked_out(self) -> tuple[LockedOut, ...]:
        """Who would be locked out by the removal of which endpoint."""
        places = [place for group in self.findings if group.id == LOCKED_OUT for place in group.places]
        return tuple(LockedOut(members[0][1].remote, tuple(sorted({finding.user for _host, finding in members}, key=natural_key)),
                               tuple(dict.fromkeys(host for host, _finding in members)))
                     for members in _grouped(places, lambda place: place[1].remote))


def build_report(title: str, generated: str, results: Iterable[HostResult], differed: str = DRIFT, due: str = "", **more: Any) -> Report:
    """Group what is the same on several hosts. `generated` and `due` are times in UTC, as text (`2026-11-23T18:00:00Z`); `more` are fields of Report."""
    ordered = tuple(sorted(results, key=lambda result: (natural_key(result.host), result.host)))
    differences = [(result.host, difference) for result in ordered for difference in result.differences]
    findings = [(result.host, finding) for result in ordered for finding in result.findings]
    groups = [DifferenceGroup(members[0][1], _common_path(members), tuple(dict.fromkeys(host for host, _difference in members)))
              for members in _grouped(differences, lambda item: item[1].key)]
    return Report(
        title, generated, ordered,
        tuple(sorted(groups, key=lambda group: not group.difference.ignored)),
        _reason_groups(ordered, FAILED),
        _reason_groups(ordered, UNREACHABLE),
        tuple(sorted((FindingGroup(members[0][1].id, members[0][1].severity, tuple(members))
                      for members in _grouped(findings, lambda item: (item[1].id, item[1].severity))),
                     key=lambda group: _severity_rank(group.severity))),
        differed, due, **more,
    )


def _severity_rank(severity: str) -> int:
    return _SEVERITIES.index(severity) if severity in _SEVERITIES else len(_SEVERITIES)


def _reason_groups(results: Iterable[HostResult], state: str) -> tuple[ReasonGroup, ...]:
    groups = _grouped([result for result in results if result.state == state], lambda result: result.common_reason or result.reason)
    return tuple(ReasonGroup(_common_reason(members), tuple(result.host for result in members)) for members in groups)


def _common_reason(members: Sequence[HostResult]) -> str:
    first = members[0]
    differs = any(result.reason != first.reason for result in members)
    return first.common_reason if differs and first.reason.startswith(first.common_reason) and first.common_reason else first.reason


def _grouped(items: Iterable[_Item], key: Callable[[_Item], Hashable]) -> list[list[_Item]]:
    """Groups of the items with the same key, the largest group first."""
    groups: dict[Hashable, list[_Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return sorted(groups.values(), key=len, reverse=True)


def _common_path(members: Sequence[tuple[str, Difference]]) -> str:
    """The path on all hosts, or that on the first of them, and that there are others."""
    paths = list(dict.fromkeys(difference.path for _host, difference in members))
    return paths[0] if len(paths) == 1 else f"{paths[0]} and other paths"


def summary_counts(report: Report) -> dict[str, int]:
    """How many hosts are in which state, and how many of the rest there are."""
    ignored = {host for group in report.groups if group.difference.ignored for host in group.hosts}
    return {"hosts": len(report.results), **{state: report.count(state) for state in STATES},
            "unreadable": len(ignored), "groups": len(report.groups), "findings": sum(len(group.places) for group in report.findings),
            "locked_out": len({user for locked_out in report.locked_out for user in locked_out.users})}


def as_dict(report: Report) -> dict[str, Any]:
    """The report as JSON has it. The documentation of the module explains the keys."""
    groups_of_host: dict[str, list[int]] = {}
    for number, group in enumerate(report.groups):
        for host in group.hosts:
            groups_of_host.setdefault(host, []).append(number)
    return {
        "schema": SCHEMA,
        "title": report.title,
        "state": "finished",
        "kind": report.kind,
        "made_by": report.origin.as_dict(),
        "generated": report.generated,
        "due": report.due,
        "status": report.status,
        "summary": summary_counts(report),
        "limit": report.limit,
        "groups": [{"id": number, "title": group.title, "subject": group.difference.subject, "file": group.file,
                    "unreadable": bool(group.difference.ignored), "sentences": list(group.difference.sentences),
                    "diff": group.difference.unified(), **_repair(report, group), **_hosts(group.hosts)}
                   for number, group in enumerate(report.groups)],
        "failures": [{"reason": group.reason, **_again(report, group), **_hosts(group.hosts)} for group in report.failures],
        "unreachable": [{"reason": group.reason, **_again(report, group), **_hosts(group.hosts)} for group in report.unreachable],
        "findings_fail": report.findings_fail,
        "findings": [{"finding": group.id, "severity": group.severity, "fails": group in report.failing_findings, "users": list(group.users),
                      "repair": None, "instead": _OF_USERS, **_hosts(group.hosts),
                      "places": [{"host": host, "user": finding.user, "path": finding.path, "message": finding.message}
                                 for host, finding in group.places]}
                     for group in report.findings],
        "locked_out": [{"remote": locked_out.remote, "users": list(locked_out.users), **_hosts(locked_out.hosts)}
                       for locked_out in report.locked_out],
        "health": report.health.as_dict() if report.health else None,
        "gathered": report.gathered.as_dict() if report.gathered else None,
        "hosts": [{"name": result.host, "state": result.state, "reason": result.reason, "groups": groups_of_host.get(result.host, [])}
                  for result in report.results],
    }


def begun_dict(title: str, begun: str, origin: Origin) -> dict[str, Any]:
    """What JSON has while a run has begun and not finished: no status and no host, so that nobody takes an older run's for this one's."""
    return {"schema": SCHEMA, "title": title, "state": "begun", "made_by": origin.as_dict(), "begun": begun, "status": None}


def _repair(report: Report, group: DifferenceGroup) -> dict[str, Any]:
    """The command that repairs a difference, or what to do instead."""
    if group.difference.refused:
        return {"repair": None, "instead": _REFUSED}
    if report.gathered:
        return {"repair": None, "instead": None if report.differed == CHANGE else _COMPARED}
    return {"repair": None if report.differed == CHANGE else report.origin.command(ROLLOUT, group.hosts), "instead": None}


def _again(report: Report, group: ReasonGroup) -> dict[str, Any]:
    """What to do about hosts that nobody knows the state of."""
    if report.gathered:
        return {"repair": None, "instead": f"correct what the reason says; {_PULL}"}
    playbook = DRIFT_PLAYBOOK if report.differed == DRIFT else ROLLOUT
    return {"repair": None, "instead": f"{_AGAIN}{report.origin.command(playbook, group.hosts)}"}


def _hosts(hosts: tuple[str, ...]) -> dict[str, Any]:
    return {"count": len(hosts), "nodes": folded(hosts), "hosts": list(hosts)}
