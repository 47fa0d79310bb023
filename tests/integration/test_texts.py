# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets that are not text, as YAML and templates make them, are refused, and never shown; and what text hardly meant to hold is said."""

import base64
import json
import os
import pwd
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from support import envs, leaks, processes
from support.files import snapshot
from support.tables import table

INNER = "inner-s3cret-of-a-key"
AS_KEY = "s3cret-as-a-key"
VALUES = [  # what, a value, its kind in the message
    ("a mapping", {AS_KEY: None, "private_key": {"more": [INNER]}}, "a mapping"),
    ("a list", [INNER, {AS_KEY: 42798}], "a list"),
    ("an empty mapping", {}, "a mapping"),
    ("a number", 42798, "a number"),
    ("zero", 0, "a number"),
    ("a fraction", 0.5, "a number"),
    ("a boolean", True, "a boolean"),
    ("false", False, "a boolean"),
]
CHARACTERS = [  # what, a secret, what is said of it
    ("a line break at the end", "s3cret-text\n", ["ends with a line break"]),
    ("of Windows", "s3cret-text\r\n", ["ends with a line break"]),
    ("a tab", "s3cret\ttext", ["holds a control character"]),
    ("a line break inside", "s3cret\ntext", ["holds a control character"]),
    ("both", "s3cret\x07text\n", ["ends with a line break", "holds a control character"]),
    ("spaces and letters of all kinds", " s3cret \u00e4\u20ac\U0001f600 ", []),
]


def places(value):
    """Each module with a secret: its options, and how the message names the place of `value`."""
    login = {"username": "u", "password": value}
    endpoint = {"name": "site", "uri": "https://h.example", "token": value}
    declared = {"logins": {"remotes": [{"name": "a", "token": value}], "keyservers": [], "registries": [{"uri": "oras://r", **login}]}}
    return [
        ("apptainer_registry_login", {"uri": "docker://h.example", **login}, ["password (of docker://h.example)"]),
        ("apptainer_keyserver_login", {"uri": "https://h.example", **login}, ["password (of https://h.example)"]),
        ("apptainer_remote", endpoint, ["token (of https://h.example)"]),
        ("apptainer_remotes", {"remotes": [{"name": "a", "uri": "a.example"}, {"name": "b b", "token": value}]}, ['remotes[1].token (of "b b")']),
        ("apptainer_logins", {"registries": [{"uri": "docker://r", **login}], "keyservers": [{"uri": "https://k", "password": value}]},
         ["keyservers[0].password (of https://k)", "registries[0].password (of docker://r)"]),
        ("apptainer_verify", {"declarations": [declared]},
         ['declarations[0].logins.remotes[0].token (of "a")', "declarations[0].logins.registries[0].password (of oras://r)"]),
    ]


@pytest.fixture
def run(run_module, tmp_path):
    def run(name, args, **options):
        verify = {} if name == "apptainer_verify" else {"verify": "never"}
        done = run_module(name, {"sysconfdir": str(tmp_path / "etc"), **verify, **args} if verify else args, **options)
        assert done.result is not None and "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
        return done

    return run


@pytest.mark.parametrize(("value", "kind"), table(VALUES))
def test_a_secret_that_is_not_text_is_refused(run, node_python, tmp_path, value, kind):
    (tmp_path / "home").mkdir()
    for name, args, where in places(value):
        for check in (True, False):
            before = snapshot(tmp_path / "home")
            done = run(name, args, check=check, python=node_python)
            assert done.rc != 0
            for place in where:
                assert f"{place} is {kind}" in done.result["msg"]
            assert done.result["msg"].endswith(
                ", but must be text, or something else would be stored; quote it, or use | string in its template")
            assert not leaks.leaked([done.stdout, done.stderr], {INNER, AS_KEY, "42798"})
            assert snapshot(tmp_path / "home") == before


def test_nothing_of_it_is_shown_where_another_check_comes_first(run, node_python):
    """Ansible's own, or that of a URI with a password."""
    token = {"name": "a", "token": {AS_KEY: INNER}, "token_file": "/x"}
    login = {"uri": "docker://alice:pa55-in-the-uri@r", "username": "u", "password": {AS_KEY: INNER}}
    for name, args in (("apptainer_remote", token), ("apptainer_logins", {"remotes": [token]}), ("apptainer_registry_login", login),
                       ("apptainer_logins", {"registries": [login], "keyservers": [{"uri": "https://alice:pa55-in-the-uri@k", "state": "absent"}]})):
        done = run(name, args, python=node_python)
        assert done.rc != 0
        assert not leaks.leaked([done.stdout, done.stderr], {INNER, AS_KEY, "pa55-in-the-uri"})


def test_the_system_s_log_does_not_have_it(run, syslog):
    for name, args, _where in places({AS_KEY: INNER}):
        run(name, args)
    assert not leaks.leaked(syslog.texts(), {INNER, AS_KEY})


@pytest.mark.parametrize(("secret", "words"), table(CHARACTERS))
def test_what_a_secret_hardly_means_to_hold_is_said(run, node_python, secret, words):
    done = run("apptainer_registry_login", {"uri": "docker://h.example", "username": "u", "password": secret}, python=node_python)
    text = json.dumps(done.result.get("warnings", []))
    assert text.count("password (of docker://h.example) ") == len(words)
    assert all(f"password (of docker://h.example) {word}" in text for word in words)
    assert done.rc == 0
    assert "s3cret" not in text


@pytest.mark.parametrize(("username", "stored"), table([("text", "alice", "alice"), ("a number", 1000, "1000"), ("a boolean", True, None),
                                                        ("a mapping", {"a": "b"}, None)]))
def test_a_user_name_may_be_a_number(run, tmp_path, username, stored):
    done = run("apptainer_registry_login", {"uri": "docker://h.example", "username": username, "password": "s3cret"})
    if stored is None:
        assert "username (of docker://h.example) is a" in done.result["msg"]
        return
    tree = json.loads((tmp_path / "home" / ".apptainer" / "docker-config.json").read_text())
    assert base64.b64decode(tree["auths"]["h.example"]["auth"]).decode() == f"{stored}:s3cret"


KEY = json.dumps({"type": "service_account", "private_key": INNER})
TEMPLATES = [  # what, the password in YAML, what is stored by the oldest and by the newest ansible-core; None: refused
    ("a lookup of JSON text", "\"{{ lookup('file', '%s') }}\"", (None, KEY)),
    ("| string", "\"{{ lookup('file', '%s') | string }}\"", (KEY, KEY)),
    ("an octal number", "0123456", (None, None)),
    ("a quoted number", "'0123456'", ("0123456", "0123456")),
    ("a word for true", "yes", (None, None)),
]


def test_what_yaml_and_templates_make_of_a_secret(node_python, tmp_path):
    """Each in a task of its own, for a registry of its own."""
    key = tmp_path / "key.json"
    key.write_text(KEY)
    (tmp_path / "home").mkdir()
    play = "- hosts: localhost\n  gather_facts: false\n  tasks:\n"
    for number, (_what, password, _stored) in enumerate(TEMPLATES):
        task = yaml.safe_dump({"uri": f"docker://h{number}", "username": "u", "verify": "never", "sysconfdir": str(tmp_path)})
        lines = [*task.splitlines(), f"password: {password.replace('%s', str(key))}"]
        play += f"    - name: to h{number}\n      ignore_errors: true\n      hpc.apptainer.apptainer_registry_login:\n"
        play += "".join(f"        {line}\n" for line in lines)
    (tmp_path / "play.yml").write_text(play)
    done = _playbook(node_python, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not leaks.leaked([done.stdout, done.stderr], {INNER, "42798"})
    logins = json.loads((tmp_path / "home" / ".apptainer" / "docker-config.json").read_text())["auths"]
    said = dict(re.findall(r"TASK \[to (h\d)\](.*?)(?=TASK|PLAY)", " ".join(done.stdout.split())))
    for number, (what, _password, stored) in enumerate(TEMPLATES):
        wanted = stored["newest" in str(node_python.core)]
        login = logins.get(f"h{number}")
        assert (base64.b64decode(login["auth"]).decode() if login else None) == (wanted and f"u:{wanted}"), what
        assert ("quote it, or use | string in its template" in said[f"h{number}"]) == (wanted is None), what


@pytest.mark.parametrize("verify", [True, False])
def test_the_role_refuses_it_too(node_python, tmp_path, verify):
    """Where what all hosts declare is verified, and on the nodes."""
    password = "0123456" if "newest" in str(node_python.core) else "\"{{ lookup('file', '%s') }}\""  # to the newest ansible-core that is text
    key = tmp_path / "key.json"
    key.write_text(KEY)
    (tmp_path / "home").mkdir()
    (tmp_path / "play.yml").write_text(f"""
- hosts: localhost
  gather_facts: false
  roles: [hpc.apptainer.apptainer_fleet]
  vars:
    apptainer_fleet_verify: {str(verify).lower()}
    apptainer_fleet_logins:
      - user: {pwd.getpwuid(os.geteuid()).pw_name}
        registries:
          - uri: docker://127.0.0.1:1
            username: u
            password: {password.replace("%s", str(key))}
""")
    done = _playbook(node_python, tmp_path)
    assert done.returncode
    assert "account root: registries: docker://127.0.0.1:1: password must be a text, in quotes".replace(
        "root", pwd.getpwuid(os.geteuid()).pw_name) in " ".join(done.stdout.split())
    assert not leaks.leaked([done.stdout, done.stderr], {INNER, "42798"})


def _playbook(node: envs.Node, directory: Path) -> "subprocess.CompletedProcess[str]":
    env = processes.clean_env(directory / "home", {"ANSIBLE_LOCALHOST_WARNING": "false", "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false"})
    return processes.run(node.core / "bin" / "ansible-playbook", directory / "play.yml", "-e", f"ansible_python_interpreter={node.python}", env=env)
