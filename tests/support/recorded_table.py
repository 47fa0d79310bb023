# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What each version of Apptainer and SingularityCE has, by feature, in the words of an admin. As a program (`make docs`), it writes the tables.

A cell is what the recorded runs of these versions say (tests/golden). Where none says anything, it is what Apptainer's sources and documentation
say, with a mark; a cell that a recording has come to fill is an error, and so is a feature about which the runs of one column disagree.
The table of ansible-core in README is a short form of the one that `make matrix` writes.
"""

import functools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from support import generated, golden, matrix
from support.envs import ROOT

README = ROOT / "README.md"
OWN, DOCKERS = "own", "Docker's"
RECORDINGS = ("accept", "format", "remote_ops", "keyserver_ops", "merge", "logins")
MARK = "\\*"


class Step(NamedTuple):
    """One recorded command: the case it is from and its number there, its words, how it ended, and what it changed."""

    case: str
    number: int
    argv: list[str]
    exit: int
    said: str
    after: dict[str, str | None]
    modes: dict[str, str]

    def did(self, command: str, *options: str) -> bool:
        """Whether this is the command, with these options, and it succeeded."""
        return self.exit == 0 and self.argv[:2] == command.split() and set(options) <= set(self.argv)


Answer = Callable[[Iterable[Step]], str | None]


class Feature(NamedTuple):
    """A row. `answer` tells from the steps of one column what is in the cell, None if they do not say; `documented` is what is in such cells."""

    title: str
    recordings: tuple[str, ...]
    answer: Answer
    documented: Mapping[str, str] = {}
    in_readme: bool = False


def unrecorded(_steps: Iterable[Step]) -> None:
    """Nothing: no run shows this."""


def done(*commands: tuple[str, ...]) -> Answer:
    """"yes" if each of the commands succeeded at least once."""
    return lambda steps: "yes" if all(any(step.did(*command) for step in steps) for command in commands) else None


def said(word: Callable[[Step], str | None]) -> Answer:
    """The word that all steps agree about that say one. Raises: ValueError if they do not."""
    def answer(steps: Iterable[Step]) -> str | None:
        words = {word(step) for step in steps} - {None}
        if len(words) > 1:
            raise ValueError(", ".join(sorted(map(str, words))))
        return words.pop() if words else None
    return answer


def first(name: str, word: Callable[[Step], str | None]) -> Answer:
    """The word of the first command of one case."""
    return said(lambda step: word(step) if (step.case, step.number) == (name, 0) else None)


def succeeds(yes: str, no: str) -> Callable[[Step], str]:
    """One word for a command that succeeds, another for one that fails."""
    return lambda step: no if step.exit else yes


def _new_default(step: Step) -> str | None:
    if step.argv[-2:-1] != ["added"] or step.exit:
        return None
    return "yes" if any(text and text.startswith("Active: added\n") for text in step.after.values()) else "no"


def _same_name(step: Step) -> str | None:
    if "name collision" in step.said:
        return "error"
    return "user's wins" if "using individual" in step.said else None


def _command(step: Step) -> str | None:
    return None if step.exit else f"`{' '.join(step.argv[:2])}`"


def _keyserver_command(step: Step) -> str | None:
    return _command(step) if {"--order", "--insecure"} <= set(step.argv) else None


def _logins_file(steps: Iterable[Step]) -> str | None:
    """The file of a first login, and that of one on a node that has both files already."""
    new = first("reg-basic-good", lambda step: DOCKERS if "home_docker_config" in step.after else OWN)(steps)
    both = first("reg-both-configs", lambda step: OWN if "docker_config" in step.after else DOCKERS)(steps)
    return new if new == both else f"{both}, else {new}"


def _hub_logout(step: Step) -> str:
    if step.exit:
        return "error"
    return "removed" if "docker_config" in step.after else "kept"


def _mode(kind: str, *commands: str) -> Answer:
    return said(lambda step: step.modes.get(kind) if " ".join(step.argv[:2]) in commands else None)


def _documented(since: Mapping[str, str]) -> dict[str, str]:
    """The words of all columns, given by the first that has each: SingularityCE's is the last one."""
    words: dict[str, str] = {}
    for column in COLUMNS:
        words[column] = since.get(column) or words[max(words)]
    return words


COLUMNS = ("1.0", "1.1", "1.2", "1.3", "1.4", "1.5", "1.6", "4.5")
HEADS = {"1.6": "main branch (1.6)", "4.5": "SingularityCE 4.5"}
ENDPOINTS = [(f"remote {verb}", *options) for verb in ("add", "use", "remove") for options in ((), ("--global",))]
READ = succeeds("read", "rejected")
FEATURES = (
    Feature("endpoints, global and of users: `remote add`, `use`, `remove`", RECORDINGS, done(*ENDPOINTS), in_readme=True),
    Feature("exclusive endpoint", RECORDINGS, done(("remote use", "--exclusive")), in_readme=True),
    Feature("endpoint with `insecure`", ("accept",), first("insecure-true", succeeds("yes", "file rejected")), in_readme=True),
    Feature("keyservers, with order and `insecure`", ("keyserver_ops",), said(lambda step: _keyserver_command(step) and "yes"),
            {"1.0": "yes", "1.2": "yes", "1.4": "yes"}, in_readme=True),
    Feature("token of an endpoint, verified at the service that discovery names", ("logins",), first("token-eptok200", succeeds("yes", "no")),
            {"1.0": "yes", "1.1": "yes"}, in_readme=True),
    Feature("login to a keyserver", ("logins",), first("ks-basic-good", succeeds("yes", "no")), {"1.0": "yes", "1.1": "yes"}, in_readme=True),
    Feature("file of registry logins: `docker-config.json` (own) or `~/.docker/config.json` (Docker's)", ("logins",), _logins_file,
            {"1.0": OWN, "1.1": OWN}, in_readme=True),
    Feature("login to a registry with `--authfile`", ("logins",), first("authfile-new", succeeds("yes", "no")),
            {"1.0": "no", "1.1": "no", "1.2": "no", "1.3": "no"}, in_readme=True),
    Feature("`registry login` with a wrong password, Basic authentication", ("logins",), first("reg-basic-bad", succeeds("stored", "refused")),
            {"1.0": "refused", "1.1": "refused"}, in_readme=True),
    Feature("`remote add` makes the new endpoint the default", ("accept",), said(_new_default), in_readme=True),
    Feature("a user's endpoint has the name of a global one", ("merge",), said(_same_name),
            {"1.0": "error", "1.2": "user's wins", "1.4": "user's wins"}, in_readme=True),
    Feature("command that adds a keyserver", ("keyserver_ops",), said(_keyserver_command),
            {"1.0": "`remote add-keyserver`", "1.2": "`remote add-keyserver`", "1.4": "`keyserver add`"}),
    Feature("command that logs in to a keyserver", ("logins",), first("ks-basic-good", _command), {"1.0": "`remote login`", "1.1": "`remote login`"}),
    Feature("command that logs in to a registry", ("logins",), first("reg-basic-good", _command), {"1.0": "`remote login`", "1.1": "`remote login`"}),
    Feature("login to a registry with a path in its URI", ("logins",), first("reg-path", succeeds("stored", "refused")), {"1.0": "stored", "1.1": "stored"}),
    Feature("logout from `docker://docker.io`: the password in the file is", ("logins",), first("reg-logout-hub-docker.io", _hub_logout),
            {"1.0": "removed", "1.1": "removed"}),
    Feature("logout without a login", ("logins",), first("reg-logout-missing", succeeds("exit status 0", "error")), {"1.0": "error", "1.1": "error"}),
    Feature("mode of a user's new file, with umask 022", RECORDINGS, _mode("user", "remote add", "remote use", "remote list")),
    Feature("mode of a new global file, with umask 022", RECORDINGS, _mode("system", "remote add", "remote use"),
            {"1.0": "0644", "1.2": "0644", "1.4": "0644"}),
    Feature("the same, if `remote remove --global` makes it", RECORDINGS, _mode("system", "remote remove"), {"1.0": "0600", "1.2": "0600", "1.4": "0600"}),
    Feature("file with an unknown key", ("accept",), first("unknown-endpoint-key", READ)),
    Feature("file with only comments", ("accept",), first("only-comment", READ)),
    Feature("name that looks like a date, without quotes", ("accept",), first("name-date", READ)),
    Feature("endpoint with a port", (), unrecorded, _documented({"1.0": "`host:port`", "1.1": "`//host:port`"})),
    Feature("directory of a user's files from the environment", (), unrecorded,
            _documented({"1.0": "no", "1.2": "`APPTAINER_CONFIGDIR`", "4.5": "`SINGULARITY_CONFIGDIR`"})),
    Feature("home of a user", (), unrecorded, _documented({"1.0": "user database", "1.1": "`$HOME`", "4.5": "user database"})),
    Feature("`remote.yaml` that is a symbolic link", (), unrecorded, _documented({"1.0": "followed", "4.5": "not opened"})),
)


@functools.cache
def steps(recording: str) -> dict[str, list[Step]]:
    """All steps of a recording, of each column (the first two numbers of the version). Cases whose outcome is random say nothing."""
    found: dict[str, list[Step]] = {}
    for one in golden.all_cases(recording):
        if one.get("nondeterministic"):
            continue
        name = one["id"].removeprefix(f"{recording}-{one['version']}-").removesuffix("-user").removesuffix("-system")
        found.setdefault(_series(one["version"]), []).extend(_step(name, number, step) for number, step in enumerate(one["steps"]))
    return found


def _step(name: str, number: int, step: dict[str, Any]) -> Step:
    said = "\n".join([*step.get("stderr", ()), step["stderr_last"]])
    return Step(name, number, step["argv"], step["exit"], said, step["after"], step.get("modes", {}))


def _series(version: str) -> str:
    return ".".join(version.split(".")[:2])


def versions(column: str) -> list[str]:
    """The recorded versions of a column."""
    return sorted({one["version"] for one in golden.all_cases("accept") if _series(one["version"]) == column})


def cell(feature: Feature, column: str) -> str:
    """What is in a cell.

    Raises: ValueError if nothing is known, or if what the sources say has been recorded by now.
    """
    recorded = feature.answer([step for recording in feature.recordings for step in steps(recording).get(column, [])])
    documented = feature.documented.get(column)
    if (recorded is None) == (documented is None):
        raise ValueError(f"{feature.title}, {column}: recorded: {recorded}, documented: {documented}")
    return recorded or f"{documented}{MARK}"


def features(short: bool) -> str:
    """The table of all features, or of those for README."""
    shown = [feature for feature in FEATURES if feature.in_readme or not short]
    rows = [["Apptainer", *(HEADS.get(column, column) for column in COLUMNS)],
            *([feature.title, *(cell(feature, column) for column in COLUMNS)] for feature in shown)]
    if not short:
        cases = [case for recording in RECORDINGS for case in golden.all_cases(recording)]
        rows[1:1] = [["recorded versions", *(", ".join(versions(column)) for column in COLUMNS)],
                     ["recorded cases", *(str(sum(_series(case["version"]) == column for case in cases)) for column in COLUMNS)]]
    return generated.table(*rows)


def ansible_cores(matrix_table: str) -> str:
    """Of the table of `make matrix`: each ansible-core, the Python that ran it, and the Pythons of the nodes that it managed without a failure."""
    lines = [[part.strip() for part in line.strip("|").split("|")] for line in matrix_table.splitlines() if line.startswith("|")]
    (_python, _with, *cores), rows = lines[0], lines[2:]
    outcomes = {_series(row[0]): [other[2:] for other in rows if _series(other[0]) == _series(row[0])] for row in rows}
    managed = [[python for python, found in outcomes.items() if {row[number] for row in found} == {"ok"}] for number in range(len(cores))]
    return generated.table(["ansible-core", *(core.split(" on ")[0] for core in cores)],
                           ["its own Python", *(core.split(" on ")[1] for core in cores)],
                           ["Python of nodes", *(_span(found, list(outcomes)) for found in managed)])


def _span(some: list[str], of: list[str]) -> str:
    """The first and the last, if no other is between them."""
    begin = of.index(some[0])
    return f"{some[0]} to {some[-1]}" if of[begin:begin + len(some)] == some else ", ".join(some)


def pages() -> dict[Path, str]:
    """All pages with a table, and their text as it should be."""
    cores = ansible_cores(generated.written(matrix.DOCUMENT, "matrix"))
    return {matrix.DOCUMENT: generated.renewed(matrix.DOCUMENT, "docs", features(short=False)),
            README: generated.renewed(README, "docs", features(short=True), cores)}


if __name__ == "__main__":
    for written, text in pages().items():
        written.write_text(text, encoding="utf-8")
