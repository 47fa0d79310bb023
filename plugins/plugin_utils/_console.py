# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What a person sees of a run on a fleet: how far it is, and the same message of many hosts once. Pure rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ansible.utils.helpers import pct_to_int
from ansible_collections.hpc.apptainer.plugins.plugin_utils._nodeset import folded, shortened
from ansible_collections.hpc.apptainer.plugins.plugin_utils._outcomes import cleaned, without_names
from ansible_collections.hpc.apptainer.plugins.plugin_utils._text import plural, printable

# What a line is about, and its first word
FAILED, UNREACHABLE, CHANGED, OUTPUT, DIFFERENCE, WARNING = "Failed", "Unreachable", "Changed", "Output", "Difference", "Warning"

_MOST_GROUPS = 10
_LONGEST_MESSAGE = 1000
_LONGEST_HOSTS = 80
_LONGEST_RECAP = 800
_FEW = 3

_TERMINAL_SECONDS = 0.1
_LINES_SECONDS = 30.0
_LINES_SHARE = 0.25


class Message(NamedTuple):
    """What some hosts have in common. `text` is what the first of them said; the others may have said it with their own names."""

    kind: str
    text: str
    hosts: tuple[str, ...]
    same: bool


class Messages:
    """Collects what hosts say, in the order in which it was said first."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str], tuple[str, dict[str, str]]] = {}

    def add(self, kind: str, host: str, text: str, key: str | None = None) -> None:
        """`key` is what messages must have in common to be the same. By default it is the text."""
        _first, texts = self._groups.setdefault((kind, text if key is None else key), (text, {}))
        texts[host] = text

    def __iter__(self) -> Iterator[Message]:
        for (kind, _key), (first, texts) in self._groups.items():
            yield Message(kind, first, tuple(texts), set(texts.values()) == {first})

    def __bool__(self) -> bool:
        return bool(self._groups)


def one_line(message: str, host: str, addresses: Sequence[str] = ()) -> tuple[str, str]:
    """A message of a host as one line, safe for a terminal, and its key: the line without what names this host.

    `addresses` are other names of the host that messages may contain.
    """
    text = printable(cleaned(message))
    if len(text) > _LONGEST_MESSAGE:
        text = f"{text[:_LONGEST_MESSAGE]} ... (-v shows all)"
    return text, without_names(text, host, addresses)


def failure_text(result: Mapping[str, Any]) -> str:
    """Why a task failed: its message, and the last line of what a program or a module that crashed said. Hidden results say that they are."""
    message = str(result.get("msg") or result.get("censored") or result.get("reason") or "no reason was given")
    for name in ("module_stderr", "module_stdout", "stderr", "stdout"):
        lines = str(result.get(name) or "").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        if last and last not in message:
            return f"{message.rstrip('.')}: {last}"
    return message


def message_lines(messages: Iterable[Message]) -> Iterator[tuple[str, str]]:
    """The kind and the line of each message. Of many messages of a kind, only those of the most hosts are shown."""
    of_kind: dict[str, list[Message]] = {}
    for message in messages:
        of_kind.setdefault(message.kind, []).append(message)
    for kind, group in of_kind.items():
        group.sort(key=lambda message: len(message.hosts), reverse=True)
        for message in group[:_MOST_GROUPS]:
            example = "" if message.same else f", for example on {message.hosts[0]}"
            yield kind, f"{kind} on {counted(message.hosts)}{example}:{'' if message.text.startswith(chr(10)) else ' '}{message.text}"
        if others := [host for message in group[_MOST_GROUPS:] for host in message.hosts]:
            yield kind, f"{kind} on {counted(others, 'more host')}: rerun with -v to see all"


def counted(hosts: Sequence[str], noun: str = "host") -> str:
    """How many hosts, and which, but not all of very many: `3 hosts (node[1-3])`."""
    return f"{plural(len(hosts), noun)} ({printable(shortened(hosts, _LONGEST_HOSTS))})"


def recap_lines(summaries: Mapping[str, Mapping[str, int]], complete: bool) -> list[tuple[str, str]]:
    """What the run did, from Ansible's statistics of each host: the counts, then the hosts with failures and changes. With the kind of each line.

    Unless it is `complete`, it does not name all of very many hosts.
    """
    having = {name: [host for host, summary in summaries.items() if summary[name]] for name in ("failures", "unreachable", "changed", "ignored")}
    failed, unreachable, changed, ignored = having.values()
    fine = len(summaries) - len({*failed, *unreachable})
    parts = [f"{fine} ok", *(f"{len(hosts)} {label}" for label, hosts in (
        ("failed", failed), ("unreachable", unreachable), ("changed", changed), ("with ignored errors", ignored)) if hosts)]
    lines = [("", f"{plural(len(summaries), 'host')}: {', '.join(parts)}")]
    for kind, hosts, width in ((FAILED, failed, _LONGEST_RECAP), (UNREACHABLE, unreachable, _LONGEST_RECAP), (CHANGED, changed, _LONGEST_HOSTS)):
        if hosts:
            lines.append((kind, f"{kind}: {printable(folded(hosts) if complete else shortened(hosts, width))}"))
    return lines


def batch_count(hosts: int, serial: Sequence[int | str]) -> int:
    """How many batches ansible-core makes of so many hosts, as `PlaybookExecutor._get_serialized_batches()` does it."""
    sizes = [pct_to_int(size, hosts) for size in serial] or [0]
    left, count = hosts, 0
    while left > 0:
        size = sizes[min(count, len(sizes) - 1)]
        left = left - size if size > 0 else 0
        count += 1
    return count


def batch_label(number: int, hosts: int, serial: Sequence[int | str]) -> str:
    """Which batch of how many this is, as far as that can be known; empty if there are no batches.

    A play that goes on one by one after its first batches, as that for the canaries does, ends when it has done enough, so their number is not known.
    """
    count = batch_count(hosts, serial)
    if count < 2:
        return ""
    goes_on = len(serial) > 1 and count > len(serial) and pct_to_int(serial[-1], hosts) == 1
    return f"batch {number}" if goes_on else f"batch {number} of {count}"


class Progress:
    """How far a run is, in one line, and when to show it.

    On a terminal the line is shown in place, ten times a second at most. Elsewhere it is one more line of a file, so it is shown only when a quarter
    more of the hosts is done, and nothing was shown for half a minute. `clock` gives seconds.
    """

    def __init__(self, clock: Callable[[], float], terminal: bool) -> None:
        self._clock = clock
        self._terminal = terminal
        self._last_shown = clock()
        self._last_share = 0.0
        self._lost: dict[str, str] = {}
        self.start_play("", ())

    def start_play(self, label: str, hosts: Iterable[str]) -> None:
        """`label` is what comes first in the line, such as the batch. Hosts that failed in an earlier play do not take part."""
        self._label = label
        self._hosts = set(hosts)
        self.start_task("", False)

    def start_task(self, name: str, once: bool) -> None:
        """`once`: it runs on one of the hosts only."""
        self._task = name
        self._total = 1 if once else len(self._hosts - self._lost.keys())
        self._running: set[str] = set()
        self._done: set[str] = set()
        self._last_share = 0.0

    def host_started(self, host: str) -> None:
        self._running.add(host)

    def host_done(self, host: str, lost_by: str = "") -> None:
        """`lost_by` is `FAILED` or `UNREACHABLE` if the host takes no further part."""
        self._running.discard(host)
        self._done.add(host)
        if lost_by:
            self._lost[host] = lost_by
        else:
            self._lost.pop(host, None)  # if it was rescued

    def shown(self) -> None:
        """Something was shown, so that there is no need of a sign of life."""
        self._last_shown = self._clock()

    def due(self) -> bool:
        """Whether to show the line now."""
        passed = self._clock() - self._last_shown
        if self._terminal:
            return passed >= _TERMINAL_SECONDS or 0 < len(self._awaited()) <= _FEW
        share = len(self._done) / max(self._total, 1)
        if passed < _LINES_SECONDS or not self._last_share + _LINES_SHARE <= share < 1:
            return False
        self._last_share = share
        return True

    def line(self) -> str:
        total = max(self._total, len(self._done))
        lost = [self._lost[host] for host in self._hosts & self._lost.keys()]
        counts = [f"{lost.count(kind)} {kind.lower()}" for kind in (FAILED, UNREACHABLE) if kind in lost]
        awaited = self._awaited()
        waiting = [f"waiting for {folded(awaited)}"] if 0 < len(awaited) <= _FEW else []
        progress = ", ".join([f"{len(self._done)} of {plural(total, 'host')} done", *counts, *waiting])
        return printable(": ".join(filter(None, [self._label, self._task, progress])))

    def _awaited(self) -> set[str]:
        """The hosts that are still at work, if no others will follow."""
        return self._running if len(self._done) + len(self._running) >= self._total else set()
