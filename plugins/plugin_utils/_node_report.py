# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The report of one node that pulls: what its run leaves, and what to believe of it where reports are gathered. Pure rules.

The role leaves the state of the node (`node_state`). When the run has ended, its systemd unit puts that into the report, below what systemd knows of
the run. So a run that fails before the role has a report too, and the role's state, which is then of an earlier run, cannot look fresh.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ansible_collections.hpc.apptainer.plugins.plugin_utils._differences import is_long
from ansible_collections.hpc.apptainer.plugins.plugin_utils._nodeset import folded
from ansible_collections.hpc.apptainer.plugins.plugin_utils._outcomes import FAILED, STATES, UNREACHABLE, Difference, HostResult, UserFinding, cleaned
from ansible_collections.hpc.apptainer.plugins.plugin_utils._text import readable_time

SCHEMA = 1
LARGEST = 1 << 22  # bytes. A report has about 500, and some thousand if much differs.

# The variable with the files that the role writes on a node that pulls. Only the unit that pulls sets it.
FILES = "__apptainer_fleet_node_files"

_ADVANCE = datetime.timedelta(hours=1)  # of a clock that is not set yet
_RUN: dict[str, type] = {"schema": int, "ended": str, "result": str, "exit_status": str, "invocation": str, "commit": str}
_STATE: dict[str, type] = {
    **dict.fromkeys(("host", "invocation", "succeeded", "collection", "ansible_core", "state", "reason", "common_reason"), str),
    "applied": bool, "differences": list, "findings": list}
_DIFFERENCE: dict[str, type] = {**dict.fromkeys(("subject", "path", "before", "after", "ignored"), str), "sentences": list, "refused": bool}
_FINDING: dict[str, type] = dict.fromkeys(UserFinding._fields, str)
_NO_STATE = {**{name: kind() for name, kind in _STATE.items()}, "state": FAILED, "applied": True}  # of a node on which the role has never run
_WORD = re.compile(r"[A-Za-z0-9-]{0,64}")  # what systemd says, and the id of a commit
_TIME = "%Y-%m-%dT%H:%M:%SZ"

MISSING = "there is no report of this node: it does not pull, or nothing brings its report here"
NOT_A_FILE = "its report was not read, because it is not a regular file (but a link, a directory or a pipe)"
TOO_LARGE = "its report was not read, because it is larger than any node writes"
_FOREIGN = "its report is not one that this collection writes"
_NEWER = "its report is of a newer version of this collection; install that version here"
_OTHER_HOST = "its report says that it is of another node: each file must have the name that its node has in the inventory"
_FUTURE = "its report is of the future: check the clock of the node"
_STALE = "its report is too old: see whether the node still pulls, and whether its reports still come here"
_NOT_RUN = "the playbook has not run the role on this node"
_LOG = "journalctl -u apptainer-fleet-pull.service says why"


class NotTrusted(Exception):
    """Why a report says nothing about a node. The text contains nothing of the report."""


class NodeReport(NamedTuple):
    """A report that is what a node wrote, and what it says."""

    host: str
    ended: str
    succeeded: str
    """When the role last ran to its end, in UTC, or empty."""
    commit: str
    collection: str
    ansible_core: str
    applied: bool
    """Whether the node was changed, and not only compared."""
    result: HostResult


class Gathered(NamedTuple):
    """The reports that were gathered: the state of each node, and what each report says that is to be believed."""

    directory: str
    max_age: float
    """In hours. An older report says nothing about its node."""
    results: tuple[HostResult, ...]
    nodes: tuple[NodeReport, ...]
    strangers: tuple[str, ...]
    """The names of files that are not of a node of the inventory, or of no possible node."""

    @property
    def applied(self) -> bool:
        """Whether the nodes change themselves, and do not only compare."""
        return any(node.applied for node in self.nodes) and not self.compared

    @property
    def compared(self) -> bool:
        return any(not node.applied for node in self.nodes)

    def commits(self) -> list[tuple[str, list[str]]]:
        """The commits on which the nodes are, that of most nodes first."""
        found: dict[str, list[str]] = {}
        for node in self.nodes:
            found.setdefault(node.commit, []).append(node.host)
        return sorted(found.items(), key=lambda item: len(item[1]), reverse=True)

    def as_dict(self) -> dict[str, Any]:
        """The key `gathered` of the JSON report."""
        return {
            "directory": self.directory,
            "max_age": self.max_age,
            "commits": [{"commit": commit, "count": len(hosts), "nodes": folded(hosts), "hosts": hosts}
                        for commit, hosts in self.commits()],
            "nodes": [{"name": node.host, "ended": node.ended, "succeeded": node.succeeded, "commit": node.commit, "collection": node.collection,
                       "ansible_core": node.ansible_core} for node in self.nodes],
            "strangers": list(self.strangers),
        }


def time_text(time: datetime.datetime) -> str:
    """A time in UTC as reports have it."""
    return time.strftime(_TIME)


def node_state(result: HostResult, applied: bool, at: str, invocation: str, before: Any, versions: Mapping[str, str]) -> dict[str, Any]:
    """What the role leaves about its host. `before` is what it left the last time, and `invocation` systemd's id of the run."""
    succeeded = at if result.state not in (FAILED, UNREACHABLE) else before.get("succeeded", "") if isinstance(before, Mapping) else ""
    return {"host": result.host, "invocation": invocation, "succeeded": succeeded, **versions, "applied": applied, "state": result.state,
            "reason": result.reason, "common_reason": result.common_reason,
            "differences": [_short(difference)._asdict() for difference in result.differences],
            "findings": [finding._asdict() for finding in result.findings]}


def _short(difference: Difference) -> Difference:
    """Without the contents of a file that is so large that no report shows them."""
    return difference._replace(before="", after="") if is_long(difference.before, difference.after) else difference


def node_report(host: str, data: bytes, now: datetime.datetime, max_age: datetime.timedelta) -> NodeReport:
    """What the file of a node says. `host` is the node of which it is said to be. Raises NotTrusted."""
    run = _checked(_loaded(data), _RUN)
    if run["schema"] != SCHEMA:
        raise NotTrusted(_NEWER if run["schema"] > SCHEMA else _FOREIGN)
    if not all(_WORD.fullmatch(run[name]) for name in ("result", "exit_status", "invocation", "commit")):
        raise NotTrusted(_FOREIGN)
    ended = _moment(run["ended"])
    state = _checked({**_NO_STATE, "host": host} if run.get("node") is None else run["node"], _STATE)
    if state["host"] != host:
        raise NotTrusted(_OTHER_HOST)
    if state["succeeded"]:
        _moment(state["succeeded"])
    if ended > now + _ADVANCE:
        raise NotTrusted(_FUTURE)
    result = _host_result(state)
    if ended < now - max_age:
        result = HostResult(host, UNREACHABLE, f"{_STALE} (it is of {readable_time(run['ended'])})", common_reason=_STALE)
    elif not run["invocation"] or run["invocation"] != state["invocation"]:
        result = _not_run(host, run, state["succeeded"])
    return NodeReport(host, run["ended"], state["succeeded"], run["commit"], state["collection"], state["ansible_core"], state["applied"], result)


def _not_run(host: str, run: Mapping[str, Any], succeeded: str) -> HostResult:
    """A node on which the last run did not come to the role."""
    reason = _NOT_RUN if run["result"] == "success" else f"the pull ended before the role ran ({run['result']}, {run['exit_status']}); {_LOG}"
    last = f"the role last succeeded on {readable_time(succeeded)}" if succeeded else "the role has never succeeded"
    return HostResult(host, FAILED, f"{reason} ({last})", common_reason=reason)


def _host_result(state: Mapping[str, Any]) -> HostResult:
    differences = [_checked(item, _DIFFERENCE) for item in state["differences"]]
    findings = [_checked(item, _FINDING) for item in state["findings"]]
    if state["state"] not in STATES or not all(isinstance(sentence, str) for item in differences for sentence in item["sentences"]):
        raise NotTrusted(_FOREIGN)
    reason, common_reason = (cleaned(state[name]) if state["state"] in (FAILED, UNREACHABLE) else "" for name in ("reason", "common_reason"))
    return HostResult(
        state["host"], state["state"], reason,
        tuple(Difference(**{**{name: item[name] for name in _DIFFERENCE}, "sentences": tuple(item["sentences"])}) for item in differences),
        tuple(UserFinding(**{name: item[name] for name in _FINDING}) for item in findings),
        common_reason)


def _loaded(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):  # ValueError: no JSON, no UTF-8, or a number that Python refuses to convert
        raise NotTrusted(_FOREIGN) from None


def _checked(value: Any, fields: Mapping[str, type]) -> dict[str, Any]:
    """A dictionary in which each of these fields has exactly its type."""
    if not isinstance(value, dict) or {name: type(value.get(name)) for name in fields} != fields:
        raise NotTrusted(_FOREIGN)
    return value


def _moment(text: str) -> datetime.datetime:
    try:
        moment = datetime.datetime.strptime(text, _TIME)
    except ValueError:
        raise NotTrusted(_FOREIGN) from None
    if time_text(moment) != text:  # strptime takes less than what a report may contain
        raise NotTrusted(_FOREIGN)
    return moment.replace(tzinfo=datetime.timezone.utc)
