# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A module is killed, or refused, at each of its calls to the system. Whatever happens, this must hold:

* each file is the old or the new one, whole, with its mode and owner; and what is new with a secret in it, nobody else reads;
* a module that reports success has done everything, and its result is as always;
* one that fails says why in one sentence, without a secret, and what it says of the file is true;
* the next run, hours later and without a fault, heals all: then nothing tells this directory from one in which there was no fault.
"""

import collections
import errno
import itertools
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from support import leaks
from support.injector import Call, Fault, Injector
from support.processes import Run

from attack import trees
from attack.scenarios import SECRETS, Scenario

CHANGING = "cwmsl"
# What file systems say at such a call.
_FULL, _LOST = (errno.ENOSPC, errno.EDQUOT), (errno.EIO, errno.ESTALE)
ERRORS = {
    "c": (*_LOST, *_FULL, errno.EACCES, errno.EROFS),
    "w": (*_LOST, *_FULL),
    "m": (*_LOST, *_FULL, errno.EACCES, errno.EPERM, errno.EROFS),
    "s": (*_LOST, *_FULL),
    "l": (*_LOST, errno.ENOLCK, errno.EACCES),
    "q": (*_LOST, errno.EACCES),
    "d": (*_LOST, errno.EACCES),
    "z": (*_LOST, *_FULL),
}
# Faults that last: of which classes all later calls fail, too.
LASTING = {errno.EIO: "cwmslqdz", errno.ESTALE: "cwmslqdz", errno.ENOSPC: "cw", errno.EDQUOT: "cw", errno.EROFS: "cwm", errno.EACCES: "cm"}
FORMS = set().union(*(leaks.forms(user, secret) for user, secrets in SECRETS.items() for secret in secrets))


class Failure(NamedTuple):
    """What must not be: in which scenario, after which fault, and what was seen."""

    scenario: str
    fault: str
    seen: str

    def __str__(self) -> str:
        return f"{self.scenario}: {self.fault}: {self.seen}"


class Count(NamedTuple):
    """What an attack came to."""

    cases: int
    states: int
    failures: list[Failure]


class _Undisturbed(NamedTuple):
    before: trees.Tree
    after: trees.Tree
    result: dict[str, Any]
    calls: list[Call]


def all_faults(calls: list[Call], lasting: bool = True) -> Iterator[Fault]:
    """Everything that may happen at these calls."""
    for call in calls:
        if call.kind in CHANGING:
            yield Fault(call.number, "before")
            yield Fault(call.number, "after")
        if call.kind == "w":
            yield Fault(call.number, "inside")
            yield Fault(call.number, "short")
        for number in ERRORS[call.kind]:
            yield Fault(call.number, str(number))
            if lasting and number in LASTING:
                yield Fault(call.number, str(number), LASTING[number])


def quick_faults(calls: list[Call]) -> Iterator[Fault]:
    """Everything that may happen once at calls that change something; one error at the first and the last call that asks the same."""
    at = {(call.name, call.path): call.number for call in reversed(calls)}, {(call.name, call.path): call.number for call in calls}
    asking = set(at[0].values()) | set(at[1].values())
    for fault in all_faults(calls, lasting=False):
        call = calls[fault.number - 1]
        if (call.kind in CHANGING and not call.path.startswith("tmp/")) or (fault.what == str(errno.EIO) and call.number in asking):
            yield fault


class Attack:
    """All cases of one scenario, in directories below `place`, a real path."""

    def __init__(self, injector: Injector, scenario: Scenario, place: Path) -> None:
        self._injector, self._scenario, self._place = injector, scenario, place
        self._numbers = itertools.count()
        self._healed: dict[frozenset[Any], list[str]] = {}
        self._usual = self._run_undisturbed()

    @property
    def calls(self) -> list[Call]:
        """The calls of a run without a fault."""
        return self._usual.calls

    def count(self, faults: Iterator[Fault]) -> Count:
        """Run a case for each fault."""
        cases, failures = 0, []
        for fault in faults:
            cases += 1
            failures += [Failure(self._scenario.name, self._words(fault), seen) for seen in self._case(fault)]
        return Count(cases, len(self._healed), failures)

    def _words(self, fault: Fault) -> str:
        call = self.calls[fault.number - 1]
        what = errno.errorcode[int(fault.what)] if fault.what.isdigit() else f"killed {fault.what}" if fault.what != "short" else "short"
        lasts = f" from then on ({fault.also})" if fault.also else ""
        return f"{what}{lasts} at call {call.number}, {call.name} {trees.usual(call.path)}"

    def _new_case(self) -> Path:
        base = self._place / str(next(self._numbers))
        self._scenario.make(base)
        return base

    def _run(self, base: Path, fault: Fault | None = None, traced: bool = True) -> tuple[Run, list[Call]]:
        scenario = self._scenario
        return self._injector.run(scenario.module, scenario.given(base), home=base / "home", below=base if traced else None, fault=fault)

    def _run_undisturbed(self) -> _Undisturbed:
        base = self._new_case()
        before = trees.tree(base)
        run, calls = self._run(base)
        assert run.rc == 0 and run.result is not None, run.stdout + run.stderr
        after = trees.tree(base)
        trees.age(base)
        again, _calls = self._run(base, traced=False)
        assert again.result is not None and not again.result["changed"], again.stdout + again.stderr
        assert trees.tree(base) == after
        shutil.rmtree(base)
        relative = [call._replace(path=str(Path(call.path).relative_to(base))) for call in calls]
        return _Undisturbed(before, after, _said(run.result, base), relative)

    def _case(self, fault: Fault) -> list[str]:
        base = self._new_case()
        run, calls = self._run(base, fault)
        end = trees.tree(base)
        usual = self.calls[fault.number - 1]
        hit = [call for call in calls if call.hit and (call.kind, call.name) == (usual.kind, usual.name)]
        wrong = [] if hit else ["the fault hit nothing: two runs do not make the same calls"]
        wrong += [*self._wrong_in_files(end), *self._wrong_in_words(run, end, base), *_wrong_in_locks(calls)]
        state = frozenset(end.items())
        if state not in self._healed:
            self._healed[state] = self._wrong_after_next_run(base)
        shutil.rmtree(base)
        return wrong + self._healed[state]

    def _wrong_in_files(self, end: trees.Tree) -> Iterator[str]:
        before, after = self._usual.before, self._usual.after
        for name in before.keys() | after.keys():
            expected = {_content(entry) for tree in (before, after) for entry in tree.get(name, ()) if entry.data}
            found = {_content(entry) for entry in end.get(name, ())}
            if expected and found - expected and not (name not in before and found == set()):
                yield f"{name} is neither the old nor the new one"
            if not found and name in before and name in after:
                yield f"{name} is lost"
        for name, entries in end.items():
            for entry in entries - before.get(name, frozenset()):
                if entry.mode & 0o077 and any(form.encode() in entry.data for form in FORMS):
                    yield f"{name} holds a secret, and its mode is {entry.mode:04o}"

    def _wrong_in_words(self, run: Run, end: trees.Tree, base: Path) -> Iterator[str]:
        if leaks.leaked([run.stdout, run.stderr], FORMS):
            yield "a secret is in the output"
        if run.rc == -9:
            return
        if run.result is None or run.stderr:
            yield f"no result, or more than a result: {(run.stderr or run.stdout).strip()[-300:]}"
        elif run.rc == 0:
            for difference in trees.differences(self._usual.after, end):
                if not any(str((base / difference.split(" is ")[0]).parent) in warning for warning in run.result["warnings"]):
                    yield f"reports success, but {difference}"
            if _said(run.result, base) != self._usual.result:
                yield f"reports success, but not the usual result: {_said(run.result, base)}"
        else:
            yield from self._wrong_in_message(run.result, end, base)

    def _wrong_in_message(self, result: dict[str, Any], end: trees.Tree, base: Path) -> Iterator[str]:
        message = str(result["msg"])
        shown = message.replace(str(base), "")
        if "exception" in result or re.search(r"Traceback|Errno|Error\(|Exception|\n|<\w", message) or len(message) > 600:
            yield f"the message is not for people: {shown[:300]}"
        if str(base) not in message and "temporary file" not in message:
            yield f"the message names no file: {shown}"
        named = message.partition(":")[0].removeprefix(f"{base}/")
        if "The file is unchanged" in message and end.get(named) != self._usual.before.get(named):
            yield f"the file is not unchanged: {shown}"
        if "The new file is in place" in message and end.get(named) != self._usual.after.get(named):
            yield f"the new file is not in place: {shown}"

    def _wrong_after_next_run(self, base: Path) -> list[str]:
        trees.age(base)
        run, _calls = self._run(base, traced=False)
        if run.result is None or run.rc:
            said = run.stderr.strip()[-300:] if run.result is None else run.result["msg"]
            return [f"the next run fails: {said.replace(str(base), '')}"]
        return [f"after the next run, {difference}" for difference in trees.differences(self._usual.after, trees.tree(base))]


def _wrong_in_locks(calls: list[Call]) -> Iterator[str]:
    """Whoever gives a file its name holds a lock."""
    locked = False
    for call in calls:
        locked = locked or (call.kind == "l" and not call.hit)
        if call.name.startswith(("rename", "link")) and call.path.endswith((".yaml", ".json")) and not locked:
            yield "a file is replaced without a lock"


def _content(entry: trees.Entry) -> trees.Entry:
    return entry._replace(links=0)


def _said(result: dict[str, Any], base: Path) -> dict[str, Any]:
    """A result without what is not the same in two runs."""
    text: dict[str, Any] = {key: value for key, value in result.items() if key not in ("warnings", "invocation", "backup_file", "backup_files")}
    return _without(str(base), text)


def _without(text: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without(text, item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without(text, item) for item in value]
    return value.replace(text, "") if isinstance(value, str) else value


def kinds(failures: list[Failure]) -> list[str]:
    """What was seen, how often, and an example of each."""
    seen = collections.Counter((failure.scenario, failure.seen) for failure in failures)
    example = {(failure.scenario, failure.seen): failure.fault for failure in reversed(failures)}
    return [f"{number} x {scenario}: {what}\n      e.g. {example[scenario, what]}" for (scenario, what), number in seen.most_common()]
