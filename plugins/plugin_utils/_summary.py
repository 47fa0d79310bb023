# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The report in a few lines, for a terminal or a mail. Pure rules."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import NamedTuple

from ansible_collections.hpc.apptainer.plugins.plugin_utils._node_report import Gathered
from ansible_collections.hpc.apptainer.plugins.plugin_utils._nodeset import folded, shortened
from ansible_collections.hpc.apptainer.plugins.plugin_utils._outcomes import FAILED, UNDECLARED, UNREACHABLE, HostResult
from ansible_collections.hpc.apptainer.plugins.plugin_utils._report import DRIFT, HEALTH, FindingGroup, Report
from ansible_collections.hpc.apptainer.plugins.plugin_utils._text import plural, printable

_MOST_LINES = 5  # of a kind, in a mail
_MOST_USERS = 20  # that a line names
_LONGEST_LINE = 500
_LONGEST_LIMIT = 5000  # some 500 hosts

NO_HOST = "No host was checked: no host of the inventory matches the pattern and --limit; check them, and the inventory (-i)"
NO_REPORT = "There is no report of any node: no file NAME.json is in the directory of the reports; check the directory, and what brings reports there"
NOTHING_DECLARED = ("Nothing is declared for any host: set apptainer_fleet_remotes or apptainer_fleet_logins (with an s) in group_vars or host_vars, "
                    "beside the inventory that -i names")


class Progress(NamedTuple):
    """How far a rollout is: the hosts of the whole run, those of them that it has not touched yet, and how many may be unreachable."""

    all_hosts: tuple[str, ...]
    untouched: tuple[str, ...]
    max_unreachable: int

    def stops(self, so_far: Report) -> bool:
        """Whether there must be no further batch."""
        return bool(so_far.hosts(FAILED)) or self.too_many(so_far)

    def too_many(self, so_far: Report) -> bool:
        return so_far.count(UNREACHABLE) > self.max_unreachable

    def is_over(self, so_far: Report) -> bool:
        return not self.untouched or self.stops(so_far)


def headline(report: Report) -> str:
    """How many hosts are in which state, in one sentence."""
    if not report.results:
        return NO_REPORT if report.gathered else NO_HOST
    parts = [f"{report.count(state)} {label}" for state, label in report.labels.items() if report.count(state)]
    return f"{plural(len(report.results), 'host')}: {', '.join(parts)}"


def drift_lines(report: Report) -> list[str]:
    """The lines for a play that compares, the most important first: a few of each kind, with shortened lists of hosts."""
    health = report.health.lines() if report.health else []
    hosts = [] if report.kind == HEALTH else [headline(report), *_group_lines(report), *_user_lines(report)]
    return [*hosts, *(_one_line(line) for line in health), *(_gathered_lines(report.gathered) if report.gathered else _limit_lines(report))]


def rollout_lines(batch: Report, so_far: Report, progress: Progress) -> list[str]:
    """The lines for the end of a batch, with all changes and all hosts, because no file has them. At the end of the run, they say how it ended."""
    done, total = len(progress.all_hosts) - len(progress.untouched), len(progress.all_hosts)
    lines = [headline(batch) + (f" ({done} of {total} hosts done)" if len(batch.results) < total else "")]
    lines += [*_group_lines(batch), *_user_lines(batch)]
    if progress.is_over(so_far):
        lines += [f"In all batches, {headline(so_far)}"] if len(batch.results) < len(so_far.results) else []
        lines += [*_stop_lines(so_far, progress), *_limit_lines(so_far)]
    return lines


def problem(result: HostResult, report: Report) -> str:
    """Why a host is to blame, in one line."""
    texts = [result.reason] if result.reason else [f"{difference.subject}: {'; '.join(difference.sentences)}" for difference in result.differences]
    users: dict[tuple[str, str], dict[str, None]] = {}
    for finding in result.findings:
        users.setdefault((finding.id, finding.severity), {})[finding.user] = None
    texts += [f"users' files: {_finding(group, list(users[group.id, group.severity]))}"
              for group in report.failing_findings if (group.id, group.severity) in users]
    return _one_line("; ".join(texts))


def _finding(group: FindingGroup, users: Sequence[str]) -> str:
    return f"{group.id} ({group.severity}): {_user_names(users)}"


def _user_names(users: Sequence[str]) -> str:
    return ", ".join(users[:_MOST_USERS]) + (f" and {len(users) - _MOST_USERS} more" if len(users) > _MOST_USERS else "")


def _stop_lines(so_far: Report, progress: Progress) -> list[str]:
    if not progress.stops(so_far) or not progress.untouched:
        return []
    unreachable, allowed = so_far.count(UNREACHABLE), progress.max_unreachable
    because = (f", because {plural(unreachable, 'host is', 'hosts are')} unreachable and apptainer_fleet_max_unreachable allows {allowed or 'none'}"
               if progress.too_many(so_far) else "")
    untouched = f"{plural(len(progress.untouched), 'host was', 'hosts were')} not touched: {printable(folded(progress.untouched))}"
    return [f"The rollout stops here{because}. {untouched}"]


def _group_lines(report: Report) -> list[str]:
    is_drift = report.differed == DRIFT
    is_short = is_drift or report.gathered is not None  # a file has all of it
    undeclared = report.hosts(UNDECLARED)
    return [
        *_lines("Drift" if is_drift else report.differed.capitalize(), is_short,
                [(group.hosts, f"{group.difference.subject}: {group.title}") for group in report.groups]),
        *_lines("Failed", is_short, [(group.hosts, group.reason) for group in report.failures]),
        *_lines(report.labels[UNREACHABLE].capitalize(), is_short, [(group.hosts, group.reason) for group in report.unreachable]),
        *_lines("Undeclared", is_short, [(undeclared, "nothing is declared, so nothing was looked at")] if undeclared else []),
    ]


def _gathered_lines(gathered: Gathered) -> list[str]:
    """On which commits the nodes are, if not all on the same, and which files say nothing."""
    commits = gathered.commits()
    lines = [f"Commit {commit[:12] or 'not known'} on {plural(len(hosts), 'host')} ({shortened(hosts)})" for commit, hosts in commits]
    strangers = len(gathered.strangers)
    names = _one_line(shortened(gathered.strangers)) if strangers else ""
    return [*(lines[:_MOST_LINES] if len(lines) > 1 else []),
            *([f"Ignored {plural(strangers, 'file')} with a name that no node has: {names}"] if strangers else [])]


def locked_out_sentences(report: Report) -> list[str]:
    """Whom the removal of an endpoint would lock out, by name, one sentence for each endpoint."""
    found = []
    for remote, users, _hosts in report.locked_out:
        endpoint = f"the endpoint {remote}" if remote else "the endpoint"
        found.append(printable(f"{plural(len(users), 'user')} would be locked out if {endpoint} were removed now: {_user_names(users)}"))
    return found


def _user_lines(report: Report) -> list[str]:
    """Whom the removal of an endpoint would lock out; and findings, except those that only inform."""
    findings = [(group.hosts, _finding(group, group.users))
                for group in report.findings if group.severity != "info"]
    return locked_out_sentences(report) + _lines("Users' files", True, findings)


def _limit_lines(report: Report) -> list[str]:
    """What to give to `--limit`, if that is not too much for a command line and a screen."""
    pattern = printable(report.limit)
    if not pattern:
        return []
    if len(pattern) > _LONGEST_LIMIT:
        return [f"{len(report.hosts(FAILED, UNREACHABLE))} hosts failed or were not reached: the key limit of the JSON report has them for --limit"]
    return [f"To rerun only what failed or was not reached: --limit {shlex.quote(pattern)}"]


def _lines(kind: str, short: bool, groups: Sequence[tuple[tuple[str, ...], str]]) -> list[str]:
    most = _MOST_LINES if short else len(groups)
    names = shortened if short else folded
    lines = [f"{kind} on {plural(len(hosts), 'host')} ({printable(names(hosts))}): {_one_line(text)}" for hosts, text in groups[:most]]
    return lines + ([f"{kind}: {len(groups) - most} more"] if len(groups) > most else [])


def _one_line(text: str) -> str:
    text = printable(" ".join(text.split()))
    return text if len(text) <= _LONGEST_LINE else f"{text[:_LONGEST_LINE]} ..."
