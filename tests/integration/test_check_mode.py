# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tasks of a playbook on a clean node, first in check mode: what they make for each other is not there then, and is foreseen."""

from __future__ import annotations

import json
import re
import stat

import pytest
import yaml
from support import envs, processes

TOKEN = "tok-" + "s3cretS3CRET" * 20
PASSWORD = "pa55-of-alice"
UNCERTAIN = "a real run fails unless an earlier task adds it"
LOGIN = {"username": "alice", "password": PASSWORD}
TASKS = {
    "endpoints": ("apptainer_remotes", {"scope": "global", "remotes": [{"name": "site", "uri": "https://library.example.org", "default": True}]}),
    "keyserver": ("apptainer_keyserver", {"remote": "site", "uri": "https://keys.example.org", "builtin_uri": "https://own.example.org"}),
    "token": ("apptainer_remote", {"name": "site", "token": TOKEN}),
    "logins": ("apptainer_logins", {"remotes": [{"name": "site", "token": TOKEN[::-1]}]}),
    "keyserver login": ("apptainer_keyserver_login", {"uri": "https://keys.example.org", **LOGIN}),
    "registry login": ("apptainer_registry_login", {"uri": "docker://registry.example.org", **LOGIN}),
}
VERIFIED = ("token", "logins", "keyserver login", "registry login")
REAL, CHECK = False, True
ORDER = ["endpoints", "keyserver", "token", "keyserver login", "registry login"]


@pytest.fixture
def tasks(tmp_path):
    """Tasks by their names: each a module and its options."""

    def tasks(names):
        for name in names:
            module, args = TASKS[name]
            yield name, module, {"sysconfdir": str(tmp_path / "etc"), **({"verify": "never"} if name in VERIFIED else {}), **args}

    return tasks


@pytest.fixture
def run(tasks, run_module, node_python):
    """Run tasks as their modules, until one fails: what each was (ok, changed or failed), and their messages; again for each mode."""

    def run(names, *checks):
        return [once(names, check) for check in checks]

    def once(names, check):
        outcomes, messages = {}, []
        for name, module, args in tasks(names):
            done = run_module(module, args, check=check, diff=True, python=node_python)
            assert_no_secret(done.stdout + done.stderr)
            outcomes[name] = "failed" if done.rc else "changed" if done.result["changed"] else "ok"
            messages += [*done.result["warnings"], done.result.get("msg", "")]
            if done.rc:
                break
        return outcomes, " ".join(messages)

    return run


@pytest.fixture
def play(tasks, tmp_path, quick_python):
    """The same as a playbook of the newest ansible; the messages are all that it says."""
    node = envs.node("newest")
    python = quick_python(*node)

    def play(names, *checks):
        listed = [{"name": name, f"hpc.apptainer.{module}": args} for name, module, args in tasks(names)]
        plays = [{"hosts": "localhost", "gather_facts": False, "check_mode": check, "tasks": listed} for check in checks]
        (tmp_path / "play.json").write_text(json.dumps(plays))
        done = processes.run(node.core / "bin" / "ansible-playbook", "-i", "localhost,", "-c", "local", "--diff",
                             "-e", f"ansible_python_interpreter={python}", tmp_path / "play.json",
                             env=processes.clean_env(tmp_path / "home"))
        output = done.stdout + done.stderr
        assert_no_secret(output)
        said = [re.findall(r"^TASK \[(.*?)\] .*?^(ok|changed|fatal): \[localhost\]", text, re.MULTILINE | re.DOTALL)
                for text in done.stdout.split("\nPLAY [")[1:len(checks) + 1]]
        return [({name: "failed" if outcome == "fatal" else outcome for name, outcome in outcomes}, " ".join(output.split())) for outcomes in said]

    return play


def assert_no_secret(output):
    for secret in (TOKEN, TOKEN[::-1], PASSWORD):
        assert secret not in output


def assert_clean_node(run, names, tmp_path):
    """Check mode on a clean node foresees all and makes nothing; a real run does that, and there is nothing to do after it."""
    ((said, messages),) = run(names, CHECK)
    assert said == dict.fromkeys(names, "changed"), messages
    assert f'endpoint "site": it is not in the global file yet; {UNCERTAIN}' in messages
    assert f'endpoint "site": it does not exist yet; {UNCERTAIN}' in messages
    user = tmp_path / "home" / ".apptainer"
    assert not (tmp_path / "etc").exists()
    assert not user.exists()
    ((said, messages),) = run(names, REAL)
    assert said == dict.fromkeys(names, "changed"), messages
    assert UNCERTAIN not in messages
    files = [tmp_path / "etc" / "apptainer" / "remote.yaml", user / "remote.yaml", user / "docker-config.json"]
    shared, mine = [yaml.safe_load(path.read_text()) for path in files[:2]]
    assert json.loads(files[2].read_text())["auths"].keys() == {"registry.example.org"}
    assert [server["URI"] for server in shared["Remotes"]["site"]["Keyservers"]] == ["https://own.example.org", "https://keys.example.org"]
    assert mine["Remotes"]["site"]["Token"] in (TOKEN, TOKEN[::-1])
    assert [stat.S_IMODE(path.stat().st_mode) for path in files] == [0o644, 0o600, 0o600]
    state = [(path.read_bytes(), path.stat().st_ino, path.stat().st_mtime_ns) for path in files]
    for said, messages in run(names, REAL, CHECK):
        assert said == dict.fromkeys(names, "ok"), messages
        assert UNCERTAIN not in messages
    assert [(path.read_bytes(), path.stat().st_ino, path.stat().st_mtime_ns) for path in files] == state


@pytest.mark.parametrize("login", ["token", "logins"])
def test_a_clean_node(run, tmp_path, login):
    assert_clean_node(run, [login if name == "token" else name for name in ORDER], tmp_path)


def test_a_clean_node_and_a_playbook(play, tmp_path):
    assert_clean_node(play, ORDER, tmp_path)


@pytest.mark.parametrize("name", ["keyserver", "token", "logins"])
def test_without_the_earlier_task_only_check_mode_believes_in_it(run, tmp_path, name):
    ((said, messages),) = run([name], CHECK)
    assert said == {name: "changed"}
    assert UNCERTAIN in messages
    ((said, messages),) = run([name], REAL)
    assert said == {name: "failed"}, messages
    assert not (tmp_path / "etc").exists()
    assert not (tmp_path / "home" / ".apptainer").exists()
