# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The drift report: the results of all hosts, with everything that is the same on several hosts in one group. Pure rules."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from ansible_collections.hpc.apptainer.plugins.plugin_utils._nodeset import folded, natural_key, shortened
from ansible_collections.hpc.apptainer.plugins.plugin_utils._outcomes import (
    DRIFTED,
    FAILED,
    HOST,
    IN_STATE,
    STATES,
    UNREACHABLE,
    Difference,
    HostResult,
    UserFinding,
)

SCHEMA = 1

# The exit statuses of ansible-playbook.
STATUS_IN_STATE, STATUS_DRIFT, STATUS_UNKNOWN = 0, 2, 4

STATE_LABELS = {DRIFTED: "drifted", FAILED: "failed", UNREACHABLE: "unreachable", IN_STATE: "in state"}

_MOST_LINES = 5  # of a kind, in a mail
_TITLE_SENTENCES = 3
_LONGEST_LINE = 500
_SEVERITIES = ("error", "warning")  # and then all others

# Control characters except tab and line feed, line separators, marks of direction, and halves of surrogate pairs.
_ACTIVE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

_Item = TypeVar("_Item")


class DifferenceGroup(NamedTuple):
    """The hosts with the same difference. `difference` is that of the first of them; `file` has `{host}` in place of the host's name."""

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
    """The hosts that failed, or are unreachable, for the same reason."""

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


class Report(NamedTuple):
    """The results of all hosts, and their groups, the largest first."""

    title: str
    generated: str
    results: tuple[HostResult, ...]
    groups: tuple[DifferenceGroup, ...]
    failures: tuple[ReasonGroup, ...]
    unreachable: tuple[ReasonGroup, ...]
    findings: tuple[FindingGroup, ...]

    def count(self, state: str) -> int:
        return sum(result.state == state for result in self.results)

    @property
    def status(self) -> int:
        """The exit status for ansible-playbook. A report without hosts has an unknown status, because a pattern that matches nothing is an error."""
        if not self.results or self.failures or self.unreachable:
            return STATUS_UNKNOWN
        return STATUS_DRIFT if self.groups else STATUS_IN_STATE


def build_report(title: str, generated: str, results: Iterable[HostResult]) -> Report:
    """Group what is the same on several hosts. `generated` is the time, in UTC, as text."""
    ordered = tuple(sorted(results, key=lambda result: (natural_key(result.host), result.host)))
    differences = [(result.host, difference) for result in ordered for difference in result.differences]
    findings = [(result.host, finding) for result in ordered for finding in result.findings]
    return Report(
        title, generated, ordered,
        tuple(DifferenceGroup(members[0][1], _common_path(members), tuple(dict.fromkeys(host for host, _difference in members)))
              for members in _grouped(differences, lambda item: _difference_key(item[1]))),
        _reason_groups(ordered, FAILED),
        _reason_groups(ordered, UNREACHABLE),
        tuple(sorted((FindingGroup(members[0][1].id, members[0][1].severity, tuple(members))
                      for members in _grouped(findings, lambda item: (item[1].id, item[1].severity))),
                     key=lambda group: _severity_rank(group.severity))),
    )


def _severity_rank(severity: str) -> int:
    return _SEVERITIES.index(severity) if severity in _SEVERITIES else len(_SEVERITIES)


def _difference_key(difference: Difference) -> Hashable:
    """What two hosts must have in common to be in one group: the sentences and, if the file is missing, also what it should contain."""
    return difference.subject, difference.sentences, "" if difference.before else difference.after


def _reason_groups(results: Iterable[HostResult], state: str) -> tuple[ReasonGroup, ...]:
    groups = _grouped([result for result in results if result.state == state], lambda result: result.reason)
    return tuple(ReasonGroup(members[0].reason, tuple(result.host for result in members)) for members in groups)


def _grouped(items: Iterable[_Item], key: Callable[[_Item], Hashable]) -> list[list[_Item]]:
    """Groups of the items with the same key, the largest group first."""
    groups: dict[Hashable, list[_Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return sorted(groups.values(), key=len, reverse=True)


def _common_path(members: Iterable[tuple[str, Difference]]) -> str:
    """The path on all hosts, with `{host}` for a host's name if that makes it the same. Otherwise one of the paths, and that there are others."""
    paths = {(host, difference.path) for host, difference in members}
    same = {path for _host, path in paths}
    general = {path.replace(host, HOST) for host, path in paths}
    if len(same) == 1:
        return same.pop()
    return general.pop() if len(general) == 1 else f"{min(same)} and other paths"


def summary_counts(report: Report) -> dict[str, int]:
    """How many hosts are in which state, and how many groups of differences and how many findings there are."""
    return {"hosts": len(report.results), **{state: report.count(state) for state in STATES},
            "groups": len(report.groups), "findings": sum(len(group.places) for group in report.findings)}


def as_dict(report: Report) -> dict[str, Any]:
    """The report as JSON has it. The documentation of the module explains the keys."""
    groups_of_host: dict[str, list[int]] = {}
    for number, group in enumerate(report.groups):
        for host in group.hosts:
            groups_of_host.setdefault(host, []).append(number)
    return {
        "schema": SCHEMA,
        "title": report.title,
        "generated": report.generated,
        "status": report.status,
        "summary": summary_counts(report),
        "groups": [{"id": number, "title": group.title, "subject": group.difference.subject, "file": group.file,
                    "sentences": list(group.difference.sentences), "diff": group.difference.unified(), **_hosts(group.hosts)}
                   for number, group in enumerate(report.groups)],
        "failures": [{"reason": group.reason, **_hosts(group.hosts)} for group in report.failures],
        "unreachable": [{"reason": group.reason, **_hosts(group.hosts)} for group in report.unreachable],
        "findings": [{"finding": group.id, "severity": group.severity, **_hosts(group.hosts),
                      "places": [{"host": host, "user": finding.user, "path": finding.path, "message": finding.message}
                                 for host, finding in group.places]}
                     for group in report.findings],
        "hosts": [{"name": result.host, "state": result.state, "reason": result.reason, "groups": groups_of_host.get(result.host, [])}
                  for result in report.results],
    }


def _hosts(hosts: tuple[str, ...]) -> dict[str, Any]:
    return {"count": len(hosts), "nodes": folded(hosts), "hosts": list(hosts)}


def headline(report: Report, differed_label: str = "") -> str:
    """How many hosts are in which state, in one sentence. `differed_label` is for the hosts with differences, if "drifted" is not right."""
    if not report.results:
        return "No host was checked: no host matches the pattern and the limit"
    labels = dict(STATE_LABELS, **{DRIFTED: differed_label}) if differed_label else STATE_LABELS
    parts = [f"{report.count(state)} {label}" for state, label in labels.items() if report.count(state)]
    return f"{_plural(len(report.results), 'host')}: {', '.join(parts)}"


def summary_lines(report: Report, differed_label: str = "") -> list[str]:
    """The report as text, for example for a mail, the most important lines first.

    With `differed_label` (see `headline()`), nothing is left out and all hosts are named.
    """
    complete = bool(differed_label)
    lines = [headline(report, differed_label)]
    lines += _group_lines((differed_label or "drift").capitalize(),
                          [(group.hosts, f"{group.difference.subject}: {group.title}") for group in report.groups], complete)
    lines += _group_lines("Failed", [(group.hosts, group.reason) for group in report.failures], complete)
    lines += _group_lines("Unreachable", [(group.hosts, group.reason) for group in report.unreachable], complete)
    lines += _group_lines("Users' files", [(group.hosts, f"{group.id} ({group.severity}), {_plural(len(group.users), 'user')}")
                                           for group in report.findings])
    return lines


def stop_sentence(untouched: Sequence[str]) -> str:
    """What a rollout that stops says about the hosts that it has not reached."""
    if not untouched:
        return "The rollout stops here. There were no further hosts"
    return f"The rollout stops here. {_plural(len(untouched), 'host was', 'hosts were')} not touched: {printable(folded(untouched))}"


def printable(text: str) -> str:
    """Text for a terminal or a page: active characters (escapes, changes of direction, half characters) become harmless text, as `\\u001b`."""
    return _ACTIVE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _group_lines(kind: str, groups: list[tuple[tuple[str, ...], str]], complete: bool = False) -> list[str]:
    most = len(groups) if complete else _MOST_LINES
    names = folded if complete else shortened
    lines = [f"{kind} on {_plural(len(hosts), 'host')} ({printable(names(hosts))}): {_one_line(text)}" for hosts, text in groups[:most]]
    return lines + ([f"{kind}: {len(groups) - most} more"] if len(groups) > most else [])


def _one_line(text: str) -> str:
    text = printable(" ".join(text.split()))
    return text if len(text) <= _LONGEST_LINE else f"{text[:_LONGEST_LINE]} ..."


def _plural(number: int, singular: str, plural: str = "") -> str:
    return f"{number} {singular if number == 1 else plural or f'{singular}s'}"
