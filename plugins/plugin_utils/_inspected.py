# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What was found on hosts that were only looked at, and the same for people: one table for all hosts that have the same. Pure rules."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.hpc.apptainer.plugins.plugin_utils._nodeset import folded, natural_key, shortened
from ansible_collections.hpc.apptainer.plugins.plugin_utils._outcomes import (
    FAILED,
    UNREACHABLE,
    VARIABLE,
    HostResult,
    addresses_of,
    host_result,
    without_names,
)
from ansible_collections.hpc.apptainer.plugins.plugin_utils._summary import NO_HOST
from ansible_collections.hpc.apptainer.plugins.plugin_utils._text import printable

_SOURCES = {"built-in": "no global file that Apptainer uses, so its built-in endpoint"}
_KEYS = {"path", "source", "table", "findings", "accounts", "declared", "undeclared"}
_WIDTH = 100


class Inspected(NamedTuple):
    """One host. `found` is `inspected` of its result, or nothing if it was not reached or failed: then `result` says why.

    `is_declared`: its variables declare endpoints.
    """

    host: str
    result: HostResult
    found: Mapping[str, Any] | None
    addresses: tuple[str, ...] = ()
    is_declared: bool = False


def inspected(hosts: Iterable[str], hostvars: Any) -> list[Inspected]:
    """The hosts in natural order, from the variable that the role registered on each."""
    found = []
    for host in sorted(hosts, key=natural_key):
        variables = hostvars.raw_get(host)
        result, addresses = variables.get(VARIABLE), addresses_of(variables)
        state = host_result(host, result, addresses)
        is_read = state.state not in (FAILED, UNREACHABLE) and isinstance(result, Mapping) and set(result.get("inspected") or ()) >= _KEYS
        if not is_read and not state.reason:
            state = state._replace(state=FAILED, reason="the host did not say what is there")
        plain = json.loads(json.dumps(result["inspected"])) if is_read else None  # without Ansible's types for what comes from hosts
        found.append(Inspected(host, state, plain, addresses, is_read and bool(result.get("declared"))))
    return found


def show_lines(hosts: Sequence[Inspected]) -> list[str]:
    """The tables, the most frequent first, each with the problems that were found below it; then the hosts that could not be read."""
    if not hosts:
        return [NO_HOST]
    groups: dict[tuple[str, ...], list[Inspected]] = {}
    for item in hosts:
        if item.found is not None:
            groups.setdefault(tuple(_common(item, line) for line in _host_lines(item.found)), []).append(item)
    lines = []
    for text, items in sorted(groups.items(), key=lambda group: -len(group[1])):
        shown = text if len(items) > 1 else map(printable, _host_lines(items[0].found or {}))
        lines += [heading([item.host for item in items]), *(f"  {line}".rstrip() for line in shown), ""]
    return [*lines, *unread_lines(hosts)] if any(item.found is None for item in hosts) else lines[:-1]


def unread_lines(hosts: Iterable[Inspected]) -> list[str]:
    """Why hosts could not be read, one line for all with the same reason."""
    reasons: dict[tuple[str, str], list[Inspected]] = {}
    for item in hosts:
        if item.found is None:
            reasons.setdefault((item.result.state, item.result.common_reason or item.result.reason), []).append(item)
    return [f"{heading([item.host for item in items])[:-1]}, {state}: {printable(items[0].result.reason)}" for (state, _reason), items in reasons.items()]


def heading(hosts: Sequence[str]) -> str:
    """Hosts in a line of their own."""
    names = printable(shortened(hosts, _WIDTH))
    return f"{names}:" if len(hosts) == 1 else f"{names} ({len(hosts)} hosts):"


def _host_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The lines about one host."""
    yield _SOURCES.get(found["source"], found["path"])
    yield from found["table"]
    yield from _finding_lines(found["findings"])
    for account in found["accounts"]:
        yield ""
        yield f"account {account['user']}: {account['error'] or ('' if account['logins'] else 'no logins')}".rstrip()
        yield from (f"  {line}" for line in account["table"])
        yield from _finding_lines(account["findings"])


def _finding_lines(findings: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if findings:
        yield ""
    for finding in findings:
        place = "" if finding["message"].startswith(finding["path"]) else f"{finding['path']}: "
        endpoint = f"endpoint {finding['remote']}: " if finding["remote"] else ""
        yield f"{finding['severity']}: {place}{endpoint}{finding['message']}"


def _common(item: Inspected, text: str) -> str:
    """A line without what names the host. Only a long one is: a table keeps its columns."""
    return printable(without_names(text, item.host, item.addresses)) if item.host in text else printable(text)


def names_of(hosts: Iterable[str]) -> str:
    """All hosts, however many, as they may stand in a comment of one line."""
    return printable(folded(hosts))
