# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._apptainer.effective import sync, tears_table
from ansible_collections.hpc.apptainer.plugins.module_utils._formats.remote_yaml_reader import decode
from ansible_collections.hpc.apptainer.plugins.module_utils._inspection.tables import config_lines, login_lines
from ansible_collections.hpc.apptainer.plugins.module_utils._values.remote_config import Keyserver, Remote, RemoteConfig
from support.golden import all_cases, flavor_of
from support.tables import table

SINCE_1_3 = ("1.3", "1.4", "1.5", "1.6", "4.5")


def listings(command):
    """Each recorded output of a list command of the versions with these tables, with what the two files hold at that moment."""
    for recording in ("remote_ops", "keyserver_ops", "merge"):
        for case in all_cases(recording):
            files = dict(case["before"])
            for step in case["steps"]:
                files.update(step["after"])
                plain = not case.get("nondeterministic") and all(isinstance(files[name], str | None) for name in ("system", "user"))
                if case["version"].startswith(SINCE_1_3) and step["argv"] == [command, "list"] and step.get("stdout") and plain:
                    configs = [decode((files[name] or "").encode(), name, flavor_of(case)).config for name in ("user", "system")]
                    yield case, sync(*configs), step["stdout"]


def readable(config):
    """Whether no table has to show anything else than what is there."""
    uris = [uri for remote in config.remotes.values() for uri in (remote.uri, *(server.uri for server in remote.keyservers))]
    return all(text.isprintable() and not tears_table(text) for text in (*config.remotes, *uris)) and not any("@" in uri for uri in uris)


def test_the_endpoints_are_listed_as_the_program_lists_them():
    compared = 0
    for case, config, output in listings("remote"):
        if readable(config):
            expected = [line.rstrip() for line in output.strip("\n").split("\n")]
            assert config_lines(config)[:len(config.remotes) + 1] == expected, case["id"]
            compared += 1
    assert compared > 2000


def blocks(lines):
    """The keyservers of each endpoint by its heading, in words that both programs share, but for those that only the endpoint knows."""
    text = "\n".join(re.sub(" +(no TLS| TLS|TLS|\U0001f512)? *$", lambda found: " secure" if found[1] in ("TLS", " TLS", "\U0001f512") else "", line)
                     for line in lines)
    found = (block.split("\n") for block in text.strip("\n").split("\n\n") if not block.startswith("(*"))
    return {heading: [re.sub(" +", " ", row) for row in rows if not row.strip().startswith("(")] for heading, *rows in found}


def test_the_keyservers_are_listed_as_the_program_lists_them():
    compared = 0
    for case, config, output in listings("keyserver"):
        if readable(config) and config.remotes:
            shown = config_lines(config, flavor_of(case))[len(config.remotes) + 2:]
            assert blocks(shown) == blocks(output.split("\n")), case["id"]
            compared += 1
    assert compared > 300


KEYS = (Keyserver("https://gone.example", skip=True), Keyserver("https://u:hunter2@keys.example", external=True),
        Keyserver("https://other.keys.example", external=True, insecure=True))


@pytest.mark.parametrize(("config", "lines"), table([
    ("nothing", RemoteConfig(), ["NAME  URI  DEFAULT?  GLOBAL?  EXCLUSIVE?  SECURE?"]),
    ("one that would tear the table, and a login in a uri", RemoteConfig("a\tb", {"a\tb": Remote("u:hunter2@h.example", insecure=True)}), [
        "NAME  URI                 DEFAULT?  GLOBAL?  EXCLUSIVE?  SECURE?",
        "a?b   (hidden)@h.example  \u2713                              \u2717!",
        "",
        "a?b ^",
        "   (the endpoint's built-in keyserver)",
        "",
        "(* = system endpoint, ^ = default endpoint)"]),
    ("names that look like a login or a query", RemoteConfig("me@site", {"me@site": Remote("h.example"), "lab?#2": Remote("h.example")}), [
        "NAME     URI        DEFAULT?  GLOBAL?  EXCLUSIVE?  SECURE?",
        "lab?#2   h.example                                 \u2713",
        "me@site  h.example  \u2713                              \u2713",
        "",
        "lab?#2",
        "   (the endpoint's built-in keyserver)",
        "",
        "me@site ^",
        "   (the endpoint's built-in keyserver)",
        "",
        "(* = system endpoint, ^ = default endpoint)"]),
    ("keyservers", RemoteConfig("", {"a": Remote("h.example", system=True, exclusive=True, keyservers=KEYS)}), [
        "NAME  URI        DEFAULT?  GLOBAL?  EXCLUSIVE?  SECURE?",
        "a     h.example            \u2713        \u2713           \u2713",
        "",
        "a *",
        "   #1  https://(hidden)@keys.example  \U0001f512",
        "   #2  https://other.keys.example",
        "",
        "(* = system endpoint, ^ = default endpoint)"]),
]))
def test_config_lines(config, lines):
    assert config_lines(config) == lines


@pytest.mark.parametrize(("logins", "lines"), table([
    ("none", [], []),
    ("not asked", [{"kind": "endpoint", "name": "site", "username": None}, {"kind": "registry", "name": "r.example", "username": "ci\x1b[0m"}], [
        "LOGIN      KIND      USERNAME",
        "site       endpoint",
        "r.example  registry  ci?[0m"]),
    ("a user name with an @", [{"kind": "registry", "name": "r.example", "username": "ci@site.example"}], [
        "LOGIN      KIND      USERNAME",
        "r.example  registry  ci@site.example"]),
    ("asked", [{"kind": "endpoint", "name": "site", "username": None, "verified": True}, {"kind": "registry", "name": "a", "username": "ci"},
               {"kind": "registry", "name": "b", "username": "ci", "verified": False},
               {"kind": "keyserver", "name": "https://k", "username": "ci", "verified": None}], [
        "LOGIN      KIND       USERNAME  ACCEPTED?",
        "site       endpoint             \u2713",
        "a          registry   ci",
        "b          registry   ci        no",
        "https://k  keyserver  ci        ?"]),
]))
def test_login_lines(logins, lines):
    assert login_lines(logins) == lines
