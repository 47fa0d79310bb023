# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every recorded sequence of commands, replayed on the model: the same files, exit and reason after each step.

One thing is not modelled: Apptainer opens files with O_CREAT, so commands that fail or only read leave empty files behind; an absent
and an empty file count as the same here.
"""

from __future__ import annotations

import json
import re

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils import _apptainer as apptainer
from ansible_collections.hpc.apptainer.plugins.module_utils._declared import WantedRemote, converge
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import FormatError, RuleError
from ansible_collections.hpc.apptainer.plugins.module_utils._go_yaml import encode
from ansible_collections.hpc.apptainer.plugins.module_utils._remote_config import Keyserver, RemoteConfig
from ansible_collections.hpc.apptainer.plugins.module_utils._remote_yaml import decode
from ansible_collections.hpc.apptainer.plugins.module_utils._uri import DEFAULT_ENDPOINT_URI, DEFAULT_KEYSERVER_URI, requested_url
from support.golden import cases

RECORDINGS = ("remote_ops", "keyserver_ops", "merge")
# Every outcome that was seen counts as a case of its own.
CASES = [pytest.param({**case, "steps": steps}, id=f"{case['id']}-{number}" if number else case["id"])
         for name in RECORDINGS for case in cases(name) for number, steps in enumerate([case["steps"], *case.get("alternatives", [])])]

BROKEN = ("Active: [broken", "Remotes: 3")  # what some of the files hold at the start, that no version reads
SAME_BYTES = ("1.3", "1.4", "1.5")  # versions whose bytes ours equal; of the others the content


class DiscoveryFailed(RuleError):
    """Apptainer could not find the endpoint's own keyserver; its words depend on the server and are not modelled."""


def own_keyserver(remote, served):
    """The endpoint's own keyserver, from what the loopback web server answered when the case was recorded."""
    if remote.uri == DEFAULT_ENDPOINT_URI:
        return DEFAULT_KEYSERVER_URI
    url = requested_url(remote.uri, remote.insecure).replace("http://localhost:80/", "http://localhost/")
    answer = (served or {}).get(url + "/assets/config/config.prod.json")
    if answer is None or answer["status"] != 200:
        raise DiscoveryFailed
    try:
        services = json.loads(answer["body"])
    except ValueError as error:
        raise DiscoveryFailed from error
    if not isinstance(services, dict) or not all(isinstance(entry, dict) for entry in services.values()):
        raise DiscoveryFailed
    uri = services.get("keystoreAPI", {}).get("uri")
    if not isinstance(uri, str):
        raise DiscoveryFailed
    return uri


class Command:
    """One recorded command line, and what the model makes of it."""

    def __init__(self, argv, version, served):
        options, self.words = (argv[2:argv.index("--")], argv[argv.index("--") + 1:]) if "--" in argv else (argv[2:], [])
        group, verb = argv[:2]
        self.verb = verb.split("-")[0]
        self.on_keyservers = group == "keyserver" or verb.endswith("-keyserver")
        self.exclusive = "--exclusive" in options
        self.is_global = self.exclusive or self.on_keyservers or "--global" in options
        self.insecure = "--insecure" in options
        self.make_default = version >= "1.3" and "--no-default" not in options
        self.order = int(options[options.index("--order") + 1]) if "--order" in options else None
        self.served = served

    @property
    def file(self):
        return "system" if self.is_global else "user"

    def apply(self, configs):
        """The new content of self.file."""
        if self.on_keyservers:
            return self.keyserver(configs["system"])
        config = configs[self.file]
        if self.verb == "add":
            return apptainer.add(config, *self.words, system=self.is_global, insecure=self.insecure, make_default=self.make_default)
        if self.verb == "remove":
            return apptainer.remove(config, *self.words, system=self.is_global)
        if not self.is_global:
            config = apptainer.sync(config, configs["system"])
        return apptainer.use(config, *self.words, system=self.is_global, exclusive=self.exclusive)

    def keyserver(self, config):
        name, uri = self.words if len(self.words) == 2 else ("", *self.words)
        if self.order == 0:
            raise RuleError("order must be > 0")
        if not uri.strip():
            raise RuleError("invalid URI: cannot have empty URI")
        name = apptainer.keyserver_owner(config, name)
        remote = config.remotes[name]
        servers = remote.keyservers or (Keyserver(own_keyserver(remote, self.served)),)
        if self.verb == "add":
            servers = apptainer.add_keyserver(servers, uri, self.order, self.insecure)
        else:
            servers = apptainer.remove_keyserver(servers, uri)
        return apptainer.put(config, name, remote._replace(keyservers=servers))


def content(text):
    return decode((text or "").encode(), "remote.yaml").config


def rulers(configs, is_global):
    """The exclusive endpoints that a command sees. If there are several, Apptainer's outcome is random."""
    return apptainer.exclusives((configs["system"] if is_global else apptainer.sync(configs["user"], configs["system"])).remotes)


def listed(stdout):
    """The table of C(remote list): rows of name, uri, default, global, exclusive."""
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


def check_list(step, configs):
    if step["argv"][0] != "remote":
        return
    got, want = listed(step["stdout"]), expected_list(configs)
    if len(rulers(configs, is_global=False)) > 1:
        chosen = [row[0] for row in got if row[2]]
        assert set(chosen) <= {*rulers(configs, is_global=False), configs["user"].active or configs["system"].active}
        got, want = (sorted(row[:2] + row[3:] for row in table) for table in (got, want))
    assert got == want


def outcomes(command, configs):
    """What a user's command may lead to if several global endpoints are exclusive: Apptainer obeys any of them, and refusals name any."""
    merged = apptainer.sync(configs["user"], configs["system"])
    ruling = rulers(configs, is_global=False)
    synced = [name for name in apptainer.exclusives(configs["system"].remotes) if merged.remotes[name].system] or [merged.active]
    for chosen in synced:
        chance = merged._replace(active=chosen) if command.verb == "use" else configs["user"]
        try:
            yield apptainer.use(chance, *command.words, system=False) if command.verb == "use" else command.apply(configs)
        except RuleError as error:
            yield from (str(error).replace(f"remote {ruling[0]} has", f"remote {name} has") for name in ruling)


def check_by_chance(step, command, configs, recorded):
    """The recorded outcome is a possible one by our prediction."""
    possible = list(outcomes(command, configs))
    if step["exit"] == 0:
        assert content(recorded["user"]) in possible
    else:
        assert any(isinstance(outcome, str) and outcome in step["stderr_last"] for outcome in possible)


def check_what_we_write(config):
    """Of several exclusive endpoints one stays, or we refuse and say what to do; if told which, it is that one."""
    ruling = apptainer.exclusives(config.remotes)
    told = converge(config, [WantedRemote(ruling[-1], exclusive=True)]).config
    assert (apptainer.exclusives(told.remotes), told.active) == (ruling[-1:], ruling[-1])
    try:
        kept = converge(config, []).config
    except RuleError as error:
        assert config.active not in ruling
        assert "Say which one it is" in str(error)
    else:
        assert apptainer.exclusives(kept.remotes) == [config.active]


@pytest.mark.parametrize("case", CASES)
def test_sequence(case):
    texts = {name: case["before"][name] for name in ("system", "user")}
    for step in case["steps"]:
        recorded = dict(texts, **{name: text for name, text in step["after"].items() if name in texts})
        command = Command(step["argv"], case["version"], case.get("served"))
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
                check_list(step, configs)
            texts = {name: text or recorded[name] for name, text in texts.items()}
        elif not command.is_global and len(rulers(configs, is_global=False)) > 1:
            check_by_chance(step, command, configs, recorded)
            texts = recorded
        else:
            texts = replay(step, command, configs, texts, case["version"])
        assert {name: text or "" for name, text in texts.items()} == {name: text or "" for name, text in recorded.items()} \
            or not case["version"].startswith(SAME_BYTES)
        assert {name: content(text) for name, text in texts.items()} == {name: content(text) for name, text in recorded.items()}


def replay(step, command, configs, texts, version):
    try:
        config = command.apply(configs)
    except DiscoveryFailed:
        assert step["exit"] != 0
        return texts
    except RuleError as error:
        assert step["exit"] != 0
        assert str(error) in step["stderr_last"]
        return texts
    assert step["exit"] == 0, step["stderr_last"]
    return dict(texts, **{command.file: encode(config).decode()})


def test_the_recordings_are_whole():
    assert {name: len(cases(name)) for name in RECORDINGS} == {"remote_ops": 620, "keyserver_ops": 480, "merge": 390}


def test_a_config_without_data_is_empty():
    assert content(None) == content("") == RemoteConfig()
