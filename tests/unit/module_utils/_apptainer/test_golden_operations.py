# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every recorded sequence of commands, replayed on the model: the same files, exit and reason after each step.

One thing is not modelled: Apptainer opens files with O_CREAT, so commands that fail or only read leave empty files behind; an absent
and an empty file count as the same here.
"""

from __future__ import annotations

import re

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._apptainer import effective as apptainer
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import FormatError, RuleError
from ansible_collections.hpc.apptainer.plugins.module_utils._formats.remote_yaml_writer import encode
from ansible_collections.hpc.apptainer.plugins.module_utils._rules.endpoints import converge
from ansible_collections.hpc.apptainer.plugins.module_utils._rules.wanted import WantedRemote
from ansible_collections.hpc.apptainer.plugins.module_utils._values.flavors import FLAVORS
from ansible_collections.hpc.apptainer.plugins.module_utils._values.remote_config import RemoteConfig
from support.apptainer_commands import Command, DiscoveryFailed, NameCollision, check_names, content, use_remote
from support.golden import PROGRAMS, V4, all_cases, cases, check_all, flavor_of, versions, without_quotes

RECORDINGS = ("remote_ops", "keyserver_ops", "merge")
# Every outcome that was seen counts as a case of its own.
CASES = {f"{case['id']}-{number}" if number else case["id"]: {**case, "steps": steps}
         for name in RECORDINGS for case in all_cases(name) for number, steps in enumerate([case["steps"], *case.get("alternatives", [])])}

BROKEN = ("Active: [broken", "Remotes: 3")  # what some of the files hold at the start, that no version reads
SAME_BYTES = ("1.3", "1.4", "1.5")  # versions whose bytes ours equal; of the others the content, and the bytes without quotes if they are among V4


def rulers(configs, is_global):
    """The exclusive endpoints that a command sees. If there are several, Apptainer's outcome is random."""
    return apptainer.exclusives((configs["system"] if is_global else apptainer.sync(configs["user"], configs["system"])).remotes)


def listed(stdout):
    """The table of `remote list`: rows of name, uri, default, global, exclusive."""
    lines = stdout.split("\n")
    start = next(number for number, line in enumerate(lines) if re.match(r"NAME +URI", line))
    columns = [match.start() for match in re.finditer(r"\S+", lines[start])] + [None]
    rows = []
    for line in lines[start + 1:]:
        if not line.strip():
            break
        name, uri, *flags = (line[begin:end].rstrip() for begin, end in zip(columns, columns[1:], strict=False))
        rows.append((name, uri, *(flag in ("✓", "YES") for flag in flags[:3])))
    return sorted(rows)


def expected_list(configs):
    merged = apptainer.sync(configs["user"], configs["system"])
    return sorted((name.rstrip(), remote.uri.rstrip(), name == merged.active, remote.system, remote.exclusive)
                  for name, remote in merged.remotes.items())


def check_fatal_list(step, configs, flavor):
    """Nothing but a name in both files makes `remote list` fail on files that can be read, and only in SingularityCE: `effective` says so."""
    problem = apptainer.effective(configs["user"], configs["system"], flavor).problem
    with pytest.raises(NameCollision) as collision:
        check_names(configs, flavor)
    assert step["stderr_last"].endswith(tuple(f"name collision while syncing: {name}" for name in collision.value.names))
    assert problem == f"name collision while syncing: {collision.value.names[0]}"


def check_list(step, configs, flavor):
    if step["argv"][0] != "remote":
        return
    check_names(configs, flavor)
    got, want = listed(step["stdout"]), expected_list(configs)
    if len(rulers(configs, is_global=False)) > 1:
        chosen = [row[0] for row in got if row[2]]
        assert set(chosen) <= {*rulers(configs, is_global=False), configs["user"].active or configs["system"].active}
        got, want = (sorted(row[:2] + row[3:] for row in table) for table in (got, want))
    assert got == want


def outcomes(command, configs):
    """What a user's command may lead to if several global endpoints are exclusive: Apptainer obeys any of them, and refusals name any."""
    merged = apptainer.sync(configs["user"], configs["system"])
    ruling = rulers_of(command, configs)
    synced = [name for name in apptainer.exclusives(configs["system"].remotes) if merged.remotes[name].system] or [merged.active]
    for chosen in synced:
        chance = merged._replace(active=chosen) if command.verb == "use" else configs["user"]
        try:
            yield use_remote(chance, *command.words, system=False) if command.verb == "use" else command.apply(configs)
        except RuleError as error:
            yield from (str(error).replace(f"remote {ruling[0]} has", f"remote {name} has") for name in ruling)


def check_by_chance(step, command, configs, recorded):
    """The recorded outcome is a possible one by our prediction."""
    possible = list(outcomes(command, configs))
    if step["exit"] == 0:
        assert content(recorded["user"]) in possible
    else:
        assert any(isinstance(outcome, str) and outcome in step["stderr_last"] for outcome in possible)


def rulers_of(command, configs):
    """The exclusive endpoints that a user's command sees: only `use` looks at the global file."""
    return rulers(configs, is_global=False) if command.verb == "use" else apptainer.exclusives(configs["user"].remotes)


def is_by_chance(command, configs):
    """Whether several exclusive endpoints make the outcome random; a name in both files ends `remote use` of SingularityCE before that."""
    if command.is_global or len(rulers_of(command, configs)) < 2:
        return False
    is_fatal = FLAVORS[command.flavor].same_name_is_fatal and apptainer.shadows(configs["user"], configs["system"])
    return command.verb != "use" or not is_fatal


def check_what_we_write(config):
    """Of several exclusive endpoints one stays, or we refuse and say what to do; if told which, it is that one."""
    ruling = apptainer.exclusives(config.remotes)
    told = converge(config, [WantedRemote(ruling[-1], exclusive=True)]).config
    assert (apptainer.exclusives(told.remotes), told.active) == (ruling[-1:], ruling[-1])
    try:
        kept = converge(config, []).config
    except RuleError as error:
        assert config.active not in ruling
        assert "set exclusive: true for the right one" in str(error)
    else:
        assert apptainer.exclusives(kept.remotes) == [config.active]


@versions(CASES.values())
@pytest.mark.parametrize("recording", RECORDINGS)
def test_sequences(recording, version):
    check_all(check_sequence, {name: case for name, case in CASES.items() if (name.partition("-")[0], case["version"]) == (recording, version)})


def check_sequence(case):
    texts = {name: case["before"][name] for name in ("system", "user")}
    for step in case["steps"]:
        recorded = dict(texts, **{name: text for name, text in step["after"].items() if name in texts})
        command = Command(step["argv"], case["version"], case.get("served"), flavor_of(case))
        try:
            configs = {name: content(text) for name, text in texts.items()}
        except FormatError:
            # only some commands read the broken file; which, is not modelled
            assert any(text and text.startswith(BROKEN) for text in texts.values())
            texts = recorded
            continue
        if len(rulers(configs, is_global=True)) > 1:
            check_what_we_write(configs["system"])
        if command.verb == "list":
            if step["exit"] == 0:
                check_list(step, configs, flavor_of(case))
            elif step["argv"][0] == "remote":
                check_fatal_list(step, configs, flavor_of(case))
            texts = {name: text or recorded[name] for name, text in texts.items()}
        elif is_by_chance(command, configs):
            check_by_chance(step, command, configs, recorded)
            texts = recorded
        else:
            texts = replay(step, command, configs, texts, case["version"])
        same = case["version"].startswith(SAME_BYTES + V4)
        form = without_quotes if case["version"].startswith(V4) else str
        assert not same or {name: form(text or "") for name, text in texts.items()} == {
            name: form(text or "") for name, text in recorded.items()}
        assert {name: content(text) for name, text in texts.items()} == {name: content(text) for name, text in recorded.items()}


def replay(step, command, configs, texts, version):
    try:
        config = command.apply(configs)
    except DiscoveryFailed:
        assert step["exit"] != 0
        return texts
    except NameCollision as error:
        assert step["exit"] != 0
        assert step["stderr_last"].endswith(tuple(f"{error}: {name}" for name in error.names))
        return texts
    except RuleError as error:
        assert step["exit"] != 0
        assert str(error) in step["stderr_last"]
        return texts
    assert step["exit"] == 0, step["stderr_last"]
    return dict(texts, **{command.file: encode(config).decode()})


def test_the_recordings_are_whole():
    assert {name: len(cases(name)) for name in RECORDINGS} == {"remote_ops": 620, "keyserver_ops": 480, "merge": 390}
    assert {name: len(cases(name, program)) for name in RECORDINGS for program in PROGRAMS} == {
        "remote_ops": 120, "keyserver_ops": 80, "merge": 100}


def test_a_config_without_data_is_empty():
    assert content(None) == content("") == RemoteConfig()
