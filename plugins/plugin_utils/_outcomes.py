# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""From what Ansible registered for a host to what became of it: in state, drifted, failed or unreachable, and what differs. Pure rules."""

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

# The variables that the role leaves on each host.
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
    """One file of a host that is not as declared, or its mode and owner."""

    subject: str
    """What the file is for: the same on all hosts, wherever it is there."""
    path: str
    sentences: tuple[str, ...]
    before: str = ""
    after: str = ""

    def unified(self) -> str:
        """The difference as C(--diff) shows it: C(-) is on the host, C(+) is what is declared."""
        return _unified(self.before, self.after)


@functools.lru_cache(maxsize=10_000)
def _unified(before: str, after: str) -> str:
    if is_long(before, after):
        return "--- on the host\n+++ declared\n@@ too long to be compared @@"
    return "\n".join(difflib.unified_diff(before.splitlines(), after.splitlines(), "on the host", "declared", lineterm=""))


class Finding(NamedTuple):
    """Something that the audit found in a user's files."""

    id: str
    severity: str
    user: str
    message: str
    path: str


class Outcome(NamedTuple):
    """What became of a host. C(reason) is why its state is unknown, without its name, so that the same reason is the same text."""

    host: str
    state: str
    reason: str = ""
    differences: tuple[Difference, ...] = ()
    findings: tuple[Finding, ...] = ()


def outcome(host: str, variables: Mapping[str, Any], addresses: Sequence[str] = ()) -> Outcome:
    """Judge a host by its VARIABLES, those of them that it has. I(addresses) are other names of it that messages may have in them.

    A host is unreachable or failed if anything is: what else is known of it is said nevertheless. Nothing known is a failure, never "in state",
    and so is a result that no module of this collection makes: one host must not keep the others from being reported.
    """
    try:
        return _judged(host, variables, addresses)
    except (AttributeError, TypeError, ValueError):
        return Outcome(host, FAILED, "what the host answered is not what the modules of this collection answer: see what runs there in their place")


def _judged(host: str, variables: Mapping[str, Any], addresses: Sequence[str]) -> Outcome:
    results = list(_results(variables))
    differences = tuple(difference for subject, result in results for difference in _differences(subject, result))
    lost = next((result for _subject, result in results if result.get("unreachable")), None)
    failures = [("%s: %s" % (subject, _message(result)) if subject.startswith(_ACCOUNT) else _message(result))
                for subject, result in results if result.get("failed")] or [
        str(variables[name]) for name in ["apptainer_fleet_failure"] if name in variables]
    state, reason = IN_STATE, ""
    if lost is not None:
        state, reason = UNREACHABLE, _IPV4.sub("{address}", without_names(_message(lost), host, addresses))
    elif failures:
        state, reason = FAILED, without_names("; ".join(failures), host, addresses)
    elif not any("changed" in result for _subject, result in results):
        state, reason = FAILED, "nothing is known of it: the tasks of the role did not run there"
    elif differences:
        state = DRIFTED
    return Outcome(host, state, reason, differences, tuple(_findings(variables.get("apptainer_fleet_users_result"))))


def without_names(message: str, host: str, addresses: Sequence[str] = ()) -> str:
    """A message in one line, with C({host}) in place of the host's names, and without what differs between any two runs. A long one is cut."""
    left = len(message) - _LONGEST_REASON
    message = message[:_LONGEST_REASON] + (" ... and %d characters more" % left if left > 0 else "")
    for pattern, word in _NOISE:
        message = pattern.sub(word, message)
    for name in sorted({host, *addresses} - {""}, key=len, reverse=True):
        message = re.sub(r"(?<![\w.-])%s(?![\w-])" % re.escape(name), HOST, message)
    return message.strip() or "no reason was given"


def _results(variables: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each call of a module, with what it was for; of a loop, its items."""
    for name, subject in (("global", "global"), ("logins", "logins"), ("users", "audit of users")):
        result = variables.get("apptainer_fleet_%s_result" % name)
        if not isinstance(result, dict) or result.get("skipped"):
            continue
        items = result.get("results") if name == "logins" else None
        if not isinstance(items, list):
            yield subject, result
            continue
        for item in items:
            if not item.get("skipped"):
                yield "%s%s" % (_ACCOUNT, item.get(item.get("ansible_loop_var", "item"), "?")), item


def _message(result: Mapping[str, Any]) -> str:
    return str(result.get("msg") or "")


def _differences(subject: str, result: Mapping[str, Any]) -> Iterator[Difference]:
    if not result.get("changed"):
        return
    found = False
    diffs = result.get("diff") or []
    for diff in diffs if isinstance(diffs, list) else [diffs]:
        before, after, header = (str(diff.get(key) or "") for key in ("before", "after", "after_header"))
        said = sentences(before, after)
        if said:
            found = True
            path = header.removesuffix(ATTRIBUTES)
            yield Difference("%s: %s" % (subject, os.path.basename(path) or "a file"), path, said, before, after)
    if not found:
        path = str(result.get("config_file") or "")
        yield Difference("%s: %s" % (subject, os.path.basename(path) or "a file"), path, ("--diff shows what",))


def _findings(result: Any) -> Iterator[Finding]:
    users = result.get("users") if isinstance(result, dict) else None
    for user in users or ():
        name = str(user.get("user") or "?")
        if user.get("error"):
            yield Finding("not-audited", "warning", name, str(user["error"]), str(user.get("home") or ""))
        for finding in user.get("findings") or ():
            text = {key: str(finding.get(key) or "") for key in ("id", "severity", "message", "path")}
            yield Finding(text["id"], text["severity"], name, text["message"], text["path"])
