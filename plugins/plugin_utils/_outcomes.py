# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The state of each host and what differs on it, from the one variable that the role registered for it. Pure rules."""

from __future__ import annotations

import difflib
import functools
import os.path
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.hpc.apptainer.plugins.plugin_utils._differences import ATTRIBUTES, is_long, sentences

IN_STATE, UNDECLARED, DRIFTED, FAILED, UNREACHABLE = STATES = ("in_state", "undeclared", "drifted", "failed", "unreachable")

# The variable that the role leaves on each host. It is empty if an earlier playbook of the same run has left it.
VARIABLE = "apptainer_fleet_result"

# The fact of the controller with what later tasks of the same run have to know.
PROGRESS = "apptainer_fleet_progress"

# The finding on a user who is locked out if the endpoint is removed now.
LOCKED_OUT = "unreleased-copy"

# What a global file that cannot be read costs. Source: `cmd/internal/cli/apptainer.go` getRemote, which goes on without it and says nothing.
IGNORED = "the file is ignored, because it cannot be read: the exclusive and the default endpoint no longer apply to anyone"

_HOST, _ADDRESS = "{host}", "{address}"
_NAMED_SUBJECTS = ("account ", "audit of users")  # whose messages do not say what they are about
_IPV4 = re.compile(r"(?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w.]*\w)")
_LONGEST_REASON = 2000
_NOISE = (
    (re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]"), ""),  # a terminal's colours
    (re.compile(r"^Task failed: "), ""),
    (re.compile(r"Warning: Permanently added .* to the list of known hosts\.\s*"), ""),
    (re.compile(r"ansible-tmp-[0-9.-]+"), "ansible-tmp"),
    (re.compile(r"\s+"), " "),
)
_NO_RESULT = "there are no results: the role did not run on this host"
_FOREIGN = "the results from this host are not those of this collection's modules; check what runs there in their place"


def addresses_of(variables: Mapping[str, Any]) -> tuple[str, ...]:
    """What messages may call a host besides its name. `variables` are raw: what is no text is a template."""
    address = variables.get("ansible_host")
    return (address,) if isinstance(address, str) else ()


def blamed(progress: Mapping[str, Any], variables: Mapping[str, Any]) -> list[str]:
    """The hosts that must fail at the end of a playbook, of which the task with these `variables` has made this `progress`, as patterns for a play.

    Nobody but the controller is to blame for an error of the run as a whole. As `--limit` excludes it, the task's own host then takes its place.
    """
    culprit = str(variables["inventory_hostname"]) if "ansible_limit" in variables else "localhost"
    names = dict.fromkeys([*progress["problems"], *([culprit] if progress["errors"] else [])])
    # A colon separates patterns, unless there is a comma. Source: split_host_pattern in ansible-core's inventory/manager.py
    return [f"{name}," if ":" in name else name for name in names]


class Difference(NamedTuple):
    """One file on a host that is not as declared, or its mode and owner."""

    subject: str
    """What the file is for. This is the same on all hosts, wherever the file is there."""
    path: str
    sentences: tuple[str, ...]
    before: str = ""
    after: str = ""
    ignored: str = ""
    """Why a global file cannot be read, and so is ignored, without what names this host; empty for all other differences."""
    refused: bool = False
    """Whether a rollout would refuse to write the file."""

    @property
    def key(self) -> Hashable:
        """What two hosts must have in common to have the same difference: the sentences and, if the file is missing, also what it should contain."""
        return self.subject, self.ignored or self.sentences, "" if self.before else self.after

    def unified(self) -> str:
        """The difference as `--diff` shows it: `-` is on the host, `+` is what is declared."""
        return _unified(self.before, self.after) if self.before != self.after else ""


@functools.lru_cache(maxsize=10_000)
def _unified(before: str, after: str) -> str:
    if is_long(before, after):
        return "--- on the host\n+++ declared\n@@ too long to compare @@"
    return "\n".join(difflib.unified_diff(before.splitlines(), after.splitlines(), "on the host", "declared", lineterm=""))


class UserFinding(NamedTuple):
    """A problem that the audit found in a user's files. `remote` is the endpoint that it is about, or empty."""

    id: str
    severity: str
    user: str
    message: str
    path: str
    remote: str = ""


class HostResult(NamedTuple):
    """The state of a host. `reason` says why it failed or is unreachable; `common_reason` is the same without what names this host."""

    host: str
    state: str
    reason: str = ""
    differences: tuple[Difference, ...] = ()
    findings: tuple[UserFinding, ...] = ()
    common_reason: str = ""


class _Host(NamedTuple):
    """What messages may call a host, and whether its results are of a play that changes hosts."""

    name: str
    addresses: Sequence[str]
    applied: bool
    changed: bool

    def common(self, message: str) -> str:
        return without_names(message, self.name, self.addresses)


def host_result(host: str, result: Any, addresses: Sequence[str] = (), applied: bool = False, changed: bool = False) -> HostResult:
    """The state of a host, from the value of its `VARIABLE`.

    `addresses` are other names of the host that messages may contain. With `applied`, the play does not only compare hosts: then a global file
    that cannot be read is a failure, and otherwise drift. With `changed`, it has changed them, and the sentences say so.

    A host is unreachable or failed if any part of it is; the differences and findings of its other parts are kept. A host without a result has
    failed, and so has one with a result that no module of this collection returns: a single host must not prevent the report on the others.
    """
    try:
        return _evaluated(_Host(host, addresses, applied, changed), result)
    except (AttributeError, TypeError, ValueError):
        return HostResult(host, FAILED, _FOREIGN)


def _evaluated(host: _Host, result: Any) -> HostResult:
    if not result or result.get("skipped"):
        return HostResult(host.name, FAILED, _NO_RESULT)
    failures = list(_failures(result))
    differences = (*_ignored_files(host, result, failures), *_differences(host, result))
    fatal = [failure for failure in failures if host.applied or not failure.get("unreadable")]
    state, message = IN_STATE, ""
    if result.get("unreachable_reason") or result.get("unreachable"):  # the role's own word, or Ansible's
        state, message = UNREACHABLE, str(result.get("unreachable_reason") or _message(result))
    elif fatal:
        state, message = FAILED, "; ".join(map(_failure_text, fatal))
    elif differences:
        state = DRIFTED
    elif not result.get("declared", True):
        state = UNDECLARED
    elif "changed" not in result:
        state, message = FAILED, _NO_RESULT
    reason = cleaned(message) if state in (UNREACHABLE, FAILED) else ""
    common = host.common(message) if reason else ""
    return HostResult(host.name, state, reason, differences, tuple(_user_findings(result)), common)


def _failures(result: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What the role says that failed, or what Ansible itself says if it could not even run the role's task."""
    yield from result.get("failures") or ()
    if result.get("failed") and not result.get("failures") and not result.get("unreachable"):
        yield {"subject": "", "msg": _message(result)}


def _failure_text(failure: Mapping[str, Any]) -> str:
    subject = str(failure.get("subject") or "")
    return f"{subject}: {_message(failure)}" if subject.startswith(_NAMED_SUBJECTS) else _message(failure)


def cleaned(message: str) -> str:
    """A message in one line, without what differs between any two runs. A long one is cut."""
    left = len(message) - _LONGEST_REASON
    message = message[:_LONGEST_REASON] + (f" ... and {left} more characters" if left > 0 else "")
    for pattern, replacement in _NOISE:
        message = pattern.sub(replacement, message)
    return message.strip() or "no reason was given"


def without_names(message: str, host: str, addresses: Sequence[str] = ()) -> str:
    """A cleaned message with placeholders for the host's names and for addresses, so that the same problem on two hosts has the same text."""
    message = cleaned(message)
    for name in sorted({host, *addresses} - {""}, key=len, reverse=True):
        message = re.sub(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", _HOST, message)
    return _IPV4.sub(_ADDRESS, message)


def _message(result: Mapping[str, Any]) -> str:
    return str(result.get("msg") or "")


def _ignored_files(host: _Host, result: Mapping[str, Any], failures: Sequence[Mapping[str, Any]]) -> Iterator[Difference]:
    """Global files that cannot be read, and that stay as they are. `unreadable` of a failure is the problem alone, without what to do about it."""
    paths = {part.get("subject"): str(part.get("config_file") or "") for part in result.get("parts") or ()}
    for failure in [] if host.applied else failures:
        problem = failure.get("unreadable")
        if problem:
            message = problem if isinstance(problem, str) else _message(failure)
            subject, path = str(failure.get("subject") or "global"), paths.get(failure.get("subject"), "")
            yield Difference(_subject(subject, path or "remote.yaml"), path, (IGNORED, cleaned(message)), ignored=host.common(message), refused=True)


def _differences(host: _Host, result: Mapping[str, Any]) -> Iterator[Difference]:
    """What differs by the diffs; and each part that differs without one, because of `no_log`, or because the role ran without `--diff`."""
    if not result.get("changed"):
        return
    explained = set()
    unread = {str(part.get("subject")): cleaned(str(part["unreadable"])) for part in result.get("parts") or () if part.get("unreadable")}
    diffs = result.get("diff") or result.get("differences") or []  # the latter are the same, but not for callbacks to print
    for diff in diffs if isinstance(diffs, list) else [diffs]:
        subject, before, after, header = (str(diff.get(key) or "") for key in ("subject", "before", "after", "after_header"))
        differing = sentences(before, after, host.changed)
        if differing:
            explained.add(subject or "global")
            path = header.removesuffix(ATTRIBUTES)
            difference = Difference(_subject(subject, path), path, differing, before, after)
            yield _replaced(host, difference, unread[subject]) if subject in unread and path == header else difference
    differing_parts = [part for part in result.get("parts") or () if part.get("changed")]
    if not differing_parts and not explained:
        differing_parts = [{}]
    hint = "the file was changed; with --diff, the report says what" if host.changed else "the file differs; with --diff, the report says in what"
    for part in differing_parts:
        subject, path = str(part.get("subject") or "global"), str(part.get("config_file") or "")
        if subject not in explained:
            difference = Difference(_subject(subject, path), path, (hint,))
            yield _replaced(host, difference, unread[subject]) if subject in unread else difference


def _replaced(host: _Host, difference: Difference, problem: str) -> Difference:
    """The difference of a global file that cannot be read, and that is replaced as a whole (`unreadable: replace`)."""
    if host.changed:
        return difference._replace(sentences=("the file could not be read, and was replaced", problem))
    return difference._replace(sentences=(IGNORED, problem, "it is to be replaced"), ignored=host.common(problem))


def _subject(subject: str, path: str) -> str:
    return f"{subject or 'global'}: {os.path.basename(path) or 'a file'}"


def _user_findings(result: Mapping[str, Any]) -> Iterator[UserFinding]:
    for user in result.get("users") or ():
        name = str(user.get("user") or "?")
        if user.get("error"):
            yield UserFinding("not-audited", "warning", name, str(user["error"]), str(user.get("home") or ""))
        for finding in user.get("findings") or ():
            text = {key: str(finding.get(key) or "") for key in ("id", "severity", "message", "path", "remote")}
            yield UserFinding(text["id"], text["severity"], name, text["message"], text["path"], text["remote"])
