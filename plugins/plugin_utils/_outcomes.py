# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The state of each host (in state, drifted, failed or unreachable) and what differs on it, from what Ansible registered for it. Pure rules."""

from __future__ import annotations

import difflib
import functools
import os.path
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.hpc.apptainer.plugins.plugin_utils._differences import ATTRIBUTES, is_long, sentences

IN_STATE, DRIFTED, FAILED, UNREACHABLE = "in_state", "drifted", "failed", "unreachable"
STATES = (IN_STATE, DRIFTED, FAILED, UNREACHABLE)

HOST = "{host}"

# The variables that the role leaves on each host. They are empty if an earlier playbook of the same run has left them.
VARIABLES = ("apptainer_fleet_global_result", "apptainer_fleet_logins_result", "apptainer_fleet_users_result", "apptainer_fleet_failure")

_ACCOUNT = "account "
_IPV4 = re.compile(r"(?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w.]*\w)")
_LONGEST_REASON = 2000
_NOISE = (
    (re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]"), ""),  # a terminal's colours
    (re.compile(r"^Task failed: "), ""),
    (re.compile(r"Warning: Permanently added .* to the list of known hosts\.\s*"), ""),
    (re.compile(r"ansible-tmp-[0-9.-]+"), "ansible-tmp"),
    (re.compile(r"\s+"), " "),
)


class Difference(NamedTuple):
    """One file on a host that is not as declared, or its mode and owner."""

    subject: str
    """What the file is for. This is the same on all hosts, wherever the file is there."""
    path: str
    sentences: tuple[str, ...]
    before: str = ""
    after: str = ""

    def unified(self) -> str:
        """The difference as `--diff` shows it: `-` is on the host, `+` is what is declared."""
        return _unified(self.before, self.after)


@functools.lru_cache(maxsize=10_000)
def _unified(before: str, after: str) -> str:
    if is_long(before, after):
        return "--- on the host\n+++ declared\n@@ too long to compare @@"
    return "\n".join(difflib.unified_diff(before.splitlines(), after.splitlines(), "on the host", "declared", lineterm=""))


class UserFinding(NamedTuple):
    """A problem that the audit found in a user's files."""

    id: str
    severity: str
    user: str
    message: str
    path: str


class HostResult(NamedTuple):
    """The state of a host. `reason` says why it failed or is unreachable, with `{host}` for its name, so that equal reasons are equal texts."""

    host: str
    state: str
    reason: str = ""
    differences: tuple[Difference, ...] = ()
    findings: tuple[UserFinding, ...] = ()


def host_result(host: str, variables: Mapping[str, Any], addresses: Sequence[str] = (), changed: bool = False) -> HostResult:
    """The state of a host, from those of `VARIABLES` that it has.

    `addresses` are other names of the host that messages may contain. With `changed`, the play did not only compare the host but changed it.

    A host is unreachable or failed if any result is; the differences and findings of its other results are kept. A host without results has failed,
    and so has one with a result that no module of this collection returns: a single host must not prevent the report on the others.
    """
    try:
        return _evaluated(host, variables, addresses, changed)
    except (AttributeError, TypeError, ValueError):
        return HostResult(host, FAILED, "the results from this host are not those of this collection's modules; check what runs there in their place")


def _evaluated(host: str, variables: Mapping[str, Any], addresses: Sequence[str], changed: bool) -> HostResult:
    results = list(_module_results(variables))
    differences = tuple(difference for subject, result in results for difference in _differences(subject, result, changed))
    unreachable = next((result for _subject, result in results if result.get("unreachable")), None)
    failures = [(f"{subject}: {_message(result)}" if subject.startswith(_ACCOUNT) else _message(result))
                for subject, result in results if result.get("failed")] or [
        str(variables[name]) for name in ["apptainer_fleet_failure"] if variables.get(name)]
    state, reason = IN_STATE, ""
    if unreachable is not None:
        state, reason = UNREACHABLE, _IPV4.sub("{address}", without_names(_message(unreachable), host, addresses))
    elif failures:
        state, reason = FAILED, without_names("; ".join(failures), host, addresses)
    elif not any("changed" in result for _subject, result in results):
        state, reason = FAILED, "there are no results: the role did not run on this host"
    elif differences:
        state = DRIFTED
    return HostResult(host, state, reason, differences, tuple(_user_findings(variables.get("apptainer_fleet_users_result"))))


def without_names(message: str, host: str, addresses: Sequence[str] = ()) -> str:
    """A message in one line, with `{host}` in place of the host's names, and without what differs between any two runs. A long one is cut."""
    left = len(message) - _LONGEST_REASON
    message = message[:_LONGEST_REASON] + (f" ... and {left} more characters" if left > 0 else "")
    for pattern, replacement in _NOISE:
        message = pattern.sub(replacement, message)
    for name in sorted({host, *addresses} - {""}, key=len, reverse=True):
        message = re.sub(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", HOST, message)
    return message.strip() or "no reason was given"


def _module_results(variables: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The subject and the result of each module call. A loop has a result for each of its items."""
    for name, subject in (("global", "global"), ("logins", "logins"), ("users", "audit of users")):
        result = variables.get(f"apptainer_fleet_{name}_result")
        if not isinstance(result, dict) or result.get("skipped"):
            continue
        items = result.get("results") if name == "logins" else None
        if not isinstance(items, list):
            yield subject, result
            continue
        for item in items:
            if not item.get("skipped"):
                yield f"{_ACCOUNT}{item.get(item.get('ansible_loop_var', 'item'), '?')}", item


def _message(result: Mapping[str, Any]) -> str:
    return str(result.get("msg") or "")


def _differences(subject: str, result: Mapping[str, Any], changed: bool) -> Iterator[Difference]:
    if not result.get("changed"):
        return
    found = False
    diffs = result.get("diff") or []
    for diff in diffs if isinstance(diffs, list) else [diffs]:
        before, after, header = (str(diff.get(key) or "") for key in ("before", "after", "after_header"))
        differing = sentences(before, after, changed)
        if differing:
            found = True
            path = header.removesuffix(ATTRIBUTES)
            yield Difference(f"{subject}: {os.path.basename(path) or 'a file'}", path, differing, before, after)
    if not found:
        path = str(result.get("config_file") or "")
        hint = "details are shown only with --diff" if changed else "rerun with --diff for details"
        yield Difference(f"{subject}: {os.path.basename(path) or 'a file'}", path, (hint,))


def _user_findings(result: Any) -> Iterator[UserFinding]:
    users = result.get("users") if isinstance(result, dict) else None
    for user in users or ():
        name = str(user.get("user") or "?")
        if user.get("error"):
            yield UserFinding("not-audited", "warning", name, str(user["error"]), str(user.get("home") or ""))
        for finding in user.get("findings") or ():
            text = {key: str(finding.get(key) or "") for key in ("id", "severity", "message", "path")}
            yield UserFinding(text["id"], text["severity"], name, text["message"], text["path"])
