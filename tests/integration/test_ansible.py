# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The collection under real ansible: from a checkout, on the oldest and the newest nodes, the role, and what leaks (nothing)."""

from __future__ import annotations

import base64
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from support import envs, processes

TOKEN = "tok-" + "s3cretS3CRET" * 20
OLD_TOKEN = "old-" + "0therS3CRET0" * 20
PASSWORD = "pa55-in-the-uri"
OLD_PASSWORD = "0ld-pa55-in-the-uri"

SITE = {"name": "site", "uri": "https://library.example.org", "exclusive": True, "keyservers": [{"uri": "https://keys.example.org"}]}


@pytest.fixture
def ansible(tmp_path, quick_python):
    """Run one of ansible's commands from the checkout, on `localhost` with the given interpreter, or with a `quick` one in its place."""

    def run(command, *arguments, node=None, quick=False, check=True, **extra):
        node = node or envs.Node(envs.core("running"), Path(sys.executable))
        python = quick_python(*node) if quick else node.python
        env = processes.clean_env(tmp_path / "home", {"ANSIBLE_LOCALHOST_WARNING": "false", "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false", **extra})
        done = processes.run(node.core / "bin" / command, *arguments, "-e", f"ansible_python_interpreter={python}", env=env)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    return run


def test_ad_hoc_from_the_checkout(ansible, tmp_path):
    arguments = f"scope=global sysconfdir={tmp_path}/etc name=site uri=https://library.example.org default=true"
    done = ansible("ansible", "localhost", "-m", "apptainer_remote", "-a", arguments)
    assert "changed: true" in done.stdout
    assert "uri: library.example.org" in done.stdout
    assert done.stderr == ""


SLIPS = [
    ({"apptainer_fleet_remotes": [{"uri": "https://h.example.org"}]}, "entry 1 of the list has no name"),
    ({"apptainer_fleet_remotes": [{"name": "a", "exclusiv": True}]}, "exclusiv"),
    ({"apptainer_fleet_prune": "perhaps"}, "is 'perhaps', but must be a boolean"),
    ({"apptainer_fleet_flavor": "docker"}, "must be one of"),
    ({"apptainer_fleet_prune": True, "apptainer_fleet_remote": [SITE]}, "apptainer_fleet_remote is not a variable of the role"),
    ({"apptainer_fleet_remotes": [SITE], "apptainer_fleet_config_root": ""}, "must be an absolute path"),
    ({"apptainer_fleet_remotes": [SITE], "apptainer_fleet_config_root": "images/n1"}, "must be an absolute path"),
]


def test_role_refuses_a_slip_before_it_does_anything(ansible, tmp_path):
    """One run for all, each on a host of its own."""
    (tmp_path / "images").mkdir()
    hosts = {f"slip{number}": {"apptainer_fleet_config_root": f"{tmp_path}/images/slip{number}", **variables}
             for number, (variables, _words) in enumerate(SLIPS)}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts, "vars": {"ansible_connection": "local", "apptainer_fleet_verify": False}}}))
    play = [{"hosts": "all", "gather_facts": False, "tasks": [
        {"ansible.builtin.import_role": {"name": "hpc.apptainer.apptainer_fleet"}, "ignore_errors": True, "register": "done"}]}]
    (tmp_path / "play.yml").write_text(yaml.safe_dump(play))
    done = ansible("ansible-playbook", "-i", tmp_path / "hosts.yml", tmp_path / "play.yml", quick=True, check=False, ANSIBLE_CALLBACK_RESULT_FORMAT="json")
    said = dict(re.findall(r"^fatal: \[(\w+)\]: FAILED! => (.*?)(?=^\S)", done.stdout + "\n.", re.MULTILINE | re.DOTALL))
    assert {name: said.get(name) for number, (_variables, words) in enumerate(SLIPS) if words not in said.get(name := f"slip{number}", "")} == {}
    assert not any((tmp_path / "images").iterdir())


def forms(secret):
    """A secret in clear and in base64, at each of the three offsets that base64 knows."""
    encoded = [base64.b64encode(b"x" * pad + secret.encode()).decode()[4:-4] for pad in range(3)]
    return [secret, *encoded]


def test_nothing_leaks(ansible, tmp_path, node_python):
    user = tmp_path / "home" / ".apptainer" / "remote.yaml"
    user.parent.mkdir(parents=True)
    auth = base64.b64encode(OLD_TOKEN.encode()).decode()
    user.write_text(f"# {OLD_TOKEN}\nActive: mine\nRemotes:\n  mine: {{URI: h.example.org, Token: {OLD_TOKEN}}}\n"
                    f"  old: {{URI: 'https://u:{OLD_PASSWORD}@h.example.org', Keyservers: [{{URI: 'https://u:{OLD_PASSWORD}@k.example.org'}}]}}\n"
                    f"Credentials:\n- URI: https://keys.example.org\n  Auth: Basic {auth}\n  Insecure: false\n")
    user.chmod(0o644)
    (tmp_path / "token").write_text(TOKEN)
    secrets = tmp_path / "secrets.yml"
    secrets.write_text(yaml.safe_dump({"token": TOKEN, "password": PASSWORD, "sysconfdir": str(tmp_path), "token_file": str(tmp_path / "token")}))
    uri = "https://someone:{{ password }}@h.example.org"
    runs = [
        ("apptainer_remote", {"name": "mine", "uri": "other.example.org", "token": "{{ token }}"}),
        ("apptainer_remote", {"name": "mine", "uri": uri}),
        ("apptainer_remote", {"name": "mine", "uri": uri.replace("@", "/@")}),
        ("apptainer_remote", {"name": "mine", "uri": uri.replace("@", "%zz@")}),
        ("apptainer_remote", {"name": "mine", "uri": uri.replace("https", "ftp")}),
        ("apptainer_remotes", {"remotes": [{"name": "mine", "token": "{{ token }}"}, {"name": "b", "uri": "h", "token_file": "{{ token_file }}"}]}),
        ("apptainer_remotes", {"remotes": [{"name": "mine", "token": "{{ token }}", "exclusive": True}]}),
        ("apptainer_remotes", {"remotes": [{"name": "mine", "token": "{{ token }}", "uri": uri, "keyservers": [{"uri": uri}]}], "scope": "global"}),
        ("apptainer_remote", {"name": "mine", "token": "{{ token }}", "scope": "global"}),
        ("apptainer_remote", {"name": "mine", "token": "{{ token }} x"}),
        ("apptainer_remote", {"name": "mine", "logout": True}),
        ("apptainer_remote", {"name": "old", "uri": "h.example.org"}),
        ("apptainer_remote", {"name": "old", "state": "absent"}),
        ("apptainer_remote", {"name": "mine", "state": "absent"}),
        ("apptainer_remote_info", {}),
    ]
    never = {"apptainer_remote": {"verify": "never"}, "apptainer_remotes": {"verify": "never"}}
    tasks = [{f"hpc.apptainer.{module}": {"sysconfdir": "{{ sysconfdir }}", **never.get(module, {}), **arguments}, "ignore_errors": True}
             for module, arguments in runs]
    plays = [{"hosts": "localhost", "gather_facts": False, "check_mode": check, "tasks": tasks} for check in (True, False)]
    (tmp_path / "leak.yml").write_text(yaml.safe_dump(plays))
    done = ansible("ansible-playbook", "-i", "localhost,", "-c", "local", "-e", f"@{secrets}", "-vvvv", "--diff", tmp_path / "leak.yml",
                   node=node_python, quick=True)
    assert [play.count("...ignoring") for play in done.stdout.split("PLAY [")[1:3]] == [7, 7], done.stdout
    for secret in (TOKEN, OLD_TOKEN, PASSWORD, OLD_PASSWORD):
        for form in forms(secret):
            assert form not in done.stdout + done.stderr


def test_nothing_heavy_is_imported(run_module, tmp_path):
    (tmp_path / "watch").mkdir()
    (tmp_path / "watch" / "sitecustomize.py").write_text(
        f"import atexit, sys\natexit.register(lambda: open({str(tmp_path / 'modules')!r}, 'w').write('\\n'.join(sys.modules)))\n")
    args = {"sysconfdir": str(tmp_path), "name": "mine", "uri": "h.example.org", "token": TOKEN, "verify": "never"}
    done = run_module("apptainer_remote", args, env={"PYTHONPATH": tmp_path / "watch"})
    assert done.rc == 0
    imported = (tmp_path / "modules").read_text().splitlines()
    assert "yaml" in imported
    assert not {"requests", "jsonschema", "urllib3", "http.client", "ssl"} & set(imported)


def test_without_pyyaml(run_module, tmp_path):
    (tmp_path / "empty" / "yaml").mkdir(parents=True)
    (tmp_path / "empty" / "yaml" / "__init__.py").write_text("raise ImportError('no PyYAML here')\n")
    done = run_module("apptainer_remote", {"name": "mine", "uri": "h", "sysconfdir": str(tmp_path)}, env={"PYTHONPATH": tmp_path / "empty"})
    assert done.rc != 0
    assert "Failed to import the required Python library (PyYAML)" in done.result["msg"]


def test_respawn_into_a_python_with_pyyaml(run_module, tmp_path):
    """The Python that Ansible found has no PyYAML, the system's (on a node of our own making) has: the module moves there."""
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("puts an interpreter into /usr/libexec of a private mount namespace: needs root and unshare")
    processes.run(sys._base_executable, "-m", "venv", "--without-pip", tmp_path / "bare", env=processes.clean_env(tmp_path / "home"))
    system = tmp_path / "platform-python"
    system.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    mount = f"mount -t tmpfs none /usr/libexec && cp -p {system} /usr/libexec/"
    found = tmp_path / "python"
    found.write_text(f"#!/bin/sh\nexec unshare --mount sh -c '{mount} && exec \"$@\"' sh {tmp_path}/bare/bin/python \"$@\"\n")
    for script in (system, found):
        script.chmod(0o755)
    args = {"name": "mine", "uri": "h.example.org", "token": TOKEN, "sysconfdir": str(tmp_path), "verify": "never"}
    done = run_module("apptainer_remote", args, python=envs.Node(envs.core("running"), found))
    assert done.result["changed"], done.stdout + done.stderr
    assert TOKEN in (tmp_path / "home" / ".apptainer" / "remote.yaml").read_text()
