# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The drift report: the outcomes of all hosts, with what is the same on many of them as one row. Pure rules."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from ansible_collections.hpc.apptainer.plugins.plugin_utils._nodeset import folded, natural, shortened
from ansible_collections.hpc.apptainer.plugins.plugin_utils._outcomes import (
    DRIFTED,
    FAILED,
    HOST,
    IN_STATE,
    STATES,
    UNREACHABLE,
    Difference,
    Finding,
    Outcome,
)

SCHEMA = 1

# What ansible-playbook ends with.
STATUS_IN_STATE, STATUS_DRIFT, STATUS_UNKNOWN = 0, 2, 4

_TOP = 5
_SENTENCES = 3
_LINE = 500
_SEVERITIES = ("error", "warning")  # and then all others

# Control characters but tab and line feed, line separators, marks of direction, and halves of surrogate pairs.
_ACTIVE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

_Item = TypeVar("_Item")


class Group(NamedTuple):
    """The same difference on some hosts. `difference` is that of the first of them; `file` has `{host}` where its name would be."""

    difference: Difference
    file: str
    hosts: tuple[str, ...]

    @property
    def title(self) -> str:
        """All of it in one line."""
        said = self.difference.sentences
        more = "; and %d more" % (len(said) - _SENTENCES) if len(said) > _SENTENCES else ""
        return "; ".join(said[:_SENTENCES]) + more


class Problem(NamedTuple):
    """The same reason why the state of some hosts is unknown."""

    reason: str
    hosts: tuple[str, ...]


class Audit(NamedTuple):
    """The same finding in the files of some users. `places`: host and finding."""

    id: str
    severity: str
    places: tuple[tuple[str, Finding], ...]

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(host for host, _finding in self.places))

    @property
    def users(self) -> tuple[str, ...]:
        """Each once: with a home that hosts share, it is found on all of them."""
        return tuple(dict.fromkeys(finding.user for _host, finding in self.places))


class Report(NamedTuple):
    """All that is known; the groups with the most hosts are first."""

    title: str
    generated: str
    outcomes: tuple[Outcome, ...]
    groups: tuple[Group, ...]
    failures: tuple[Problem, ...]
    unreachable: tuple[Problem, ...]
    findings: tuple[Audit, ...]

    def count(self, state: str) -> int:
        return sum(outcome.state == state for outcome in self.outcomes)

    @property
    def status(self) -> int:
        """What ansible-playbook should end with. No host at all is no good news either: a pattern that matches none."""
        if not self.outcomes or self.failures or self.unreachable:
            return STATUS_UNKNOWN
        return STATUS_DRIFT if self.groups else STATUS_IN_STATE


def report(title: str, generated: str, outcomes: Iterable[Outcome]) -> Report:
    """Put together what is the same. `generated`: the time, in UTC, as text."""
    ordered = tuple(sorted(outcomes, key=lambda outcome: (natural(outcome.host), outcome.host)))
    differences = [(outcome.host, difference) for outcome in ordered for difference in outcome.differences]
    findings = [(outcome.host, finding) for outcome in ordered for finding in outcome.findings]
    return Report(
        title, generated, ordered,
        tuple(Group(members[0][1], _common_path(members), tuple(dict.fromkeys(host for host, _difference in members)))
              for members in _alike(differences, lambda item: _sameness(item[1]))),
        _problems(ordered, FAILED),
        _problems(ordered, UNREACHABLE),
        tuple(sorted((Audit(members[0][1].id, members[0][1].severity, tuple(members))
                      for members in _alike(findings, lambda item: (item[1].id, item[1].severity))), key=lambda audit: _rank(audit.severity))),
    )


def _rank(severity: str) -> int:
    return _SEVERITIES.index(severity) if severity in _SEVERITIES else len(_SEVERITIES)


def _sameness(difference: Difference) -> Hashable:
    """What two hosts must have in common to be in one row: what is said of it, and of a file that is missing also what should be in it."""
    return difference.subject, difference.sentences, "" if difference.before else difference.after


def _problems(outcomes: Iterable[Outcome], state: str) -> tuple[Problem, ...]:
    found = _alike([outcome for outcome in outcomes if outcome.state == state], lambda outcome: outcome.reason)
    return tuple(Problem(members[0].reason, tuple(outcome.host for outcome in members)) for members in found)


def _alike(items: Iterable[_Item], key: Callable[[_Item], Hashable]) -> list[list[_Item]]:
    """Items of the same key together, the largest lot first."""
    lots: dict[Hashable, list[_Item]] = {}
    for item in items:
        lots.setdefault(key(item), []).append(item)
    return sorted(lots.values(), key=len, reverse=True)


def _common_path(members: Iterable[tuple[str, Difference]]) -> str:
    """The path on all hosts; with `{host}` for a host's name if it is the same then; or one of them, and that there are others."""
    paths = {(host, difference.path) for host, difference in members}
    same = {path for _host, path in paths}
    general = {path.replace(host, HOST) for host, path in paths}
    if len(same) == 1:
        return same.pop()
    return general.pop() if len(general) == 1 else f"{min(same)} and other paths"


def summary(made: Report) -> dict[str, int]:
    """How many hosts are in which state, and how many differences and findings there are."""
    return {"hosts": len(made.outcomes), **{state: made.count(state) for state in STATES},
            "groups": len(made.groups), "findings": sum(len(audit.places) for audit in made.findings)}


def as_dict(made: Report) -> dict[str, Any]:
    """The report as JSON has it: see the documentation of the module for what each key means."""
    group_of: dict[str, list[int]] = {}
    for number, group in enumerate(made.groups):
        for host in group.hosts:
            group_of.setdefault(host, []).append(number)
    return {
        "schema": SCHEMA,
        "title": made.title,
        "generated": made.generated,
        "status": made.status,
        "summary": summary(made),
        "groups": [{"id": number, "title": group.title, "subject": group.difference.subject, "file": group.file,
                    "sentences": list(group.difference.sentences), "diff": group.difference.unified(), **_hosts(group.hosts)}
                   for number, group in enumerate(made.groups)],
        "failures": [{"reason": problem.reason, **_hosts(problem.hosts)} for problem in made.failures],
        "unreachable": [{"reason": problem.reason, **_hosts(problem.hosts)} for problem in made.unreachable],
        "findings": [{"finding": audit.id, "severity": audit.severity, **_hosts(audit.hosts),
                      "places": [{"host": host, "user": found.user, "path": found.path, "message": found.message} for host, found in audit.places]}
                     for audit in made.findings],
        "hosts": [{"name": outcome.host, "state": outcome.state, "reason": outcome.reason, "groups": group_of.get(outcome.host, [])}
                  for outcome in made.outcomes],
    }


def _hosts(hosts: tuple[str, ...]) -> dict[str, Any]:
    return {"count": len(hosts), "nodes": folded(hosts), "hosts": list(hosts)}


def counts(made: Report, differed: str = "") -> str:
    """How many hosts are in which state, in one sentence. `differed`: what became of those that differed, if they did not just drift."""
    if not made.outcomes:
        return "No host was looked at: the pattern or the limit matches none"
    words = dict(WORDS, **{DRIFTED: differed}) if differed else WORDS
    parts = ["%d %s" % (made.count(state), words[state]) for state in words if made.count(state)]
    return f"{_plural(len(made.outcomes), 'host')}: {', '.join(parts)}"


WORDS = {DRIFTED: "drifted", FAILED: "failed", UNREACHABLE: "unreachable", IN_STATE: "in state"}


def lines(made: Report, differed: str = "") -> list[str]:
    """What somebody reads who gets it by mail, the most important first. With `differed`, as in counts(), all of it, with all hosts."""
    everything = bool(differed)
    found = [counts(made, differed)]
    found += _rows((differed or "drift").capitalize(), [(group.hosts, f"{group.difference.subject}: {group.title}") for group in made.groups],
                   everything)
    found += _rows("Failed", [(problem.hosts, problem.reason) for problem in made.failures], everything)
    found += _rows("Unreachable", [(problem.hosts, problem.reason) for problem in made.unreachable], everything)
    found += _rows("Users' files", [(audit.hosts, f"{audit.id} ({audit.severity}) of {_plural(len(audit.users), 'user')}")
                                    for audit in made.findings])
    return found


def untouched(hosts: Sequence[str]) -> str:
    """What a rollout that stops says of the hosts that it had not come to."""
    return "The rollout stops here. %s" % (
        "%s not touched: %s" % (_plural(len(hosts), "host was", "hosts were"), printable(folded(hosts))) if hosts else "It had come to all hosts")


def printable(text: str) -> str:
    """Text for a terminal or a page: what would act on it (escapes, turned direction, half characters) is seen, as `\\u001b`, and does nothing."""
    return _ACTIVE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _rows(kind: str, rows: list[tuple[tuple[str, ...], str]], everything: bool = False) -> list[str]:
    top = len(rows) if everything else _TOP
    names = folded if everything else shortened
    shown = [f"{kind} on {_plural(len(hosts), 'host')} ({printable(names(hosts))}): {_line(text)}" for hosts, text in rows[:top]]
    more = ["%s: %d more" % (kind, len(rows) - top)] if len(rows) > top else []
    return shown + more


def _line(text: str) -> str:
    text = printable(" ".join(text.split()))
    return text if len(text) <= _LINE else f"{text[:_LINE]} ..."


def _plural(number: int, noun: str, plural: str = "") -> str:
    return "%d %s" % (number, noun if number == 1 else plural or f"{noun}s")
