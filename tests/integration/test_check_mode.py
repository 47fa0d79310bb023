# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A whole playbook on a clean node, first in check mode: what its tasks make for each other is not there then, and is foreseen."""

from __future__ import annotations

import json
import re
import stat

import pytest
import yaml
from support import processes

TOKEN = "tok-" + "s3cretS3CRET" * 20
PASSWORD = "pa55-of-alice"
UNCERTAIN = "a real run fails, unless an earlier task makes it"
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
ORDER = ["endpoints", "keyserver", "token", "keyserver login", "registry login"]


@pytest.fixture
def play(tmp_path, node_python):
    """Run tasks by their names: the answer is what each was (ok, changed or failed), how the play ended, and its output."""

    def run(names, *arguments):
        tasks = []
        for name in names:
            module, args = TASKS[name]
            verify = {"verify": "never"} if name in VERIFIED else {}
            tasks.append({"name": name, f"hpc.apptainer.{module}": {"sysconfdir": str(tmp_path / "etc"), **verify, **args}})
        (tmp_path / "play.json").write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
        done = processes.run(node_python.core / "bin" / "ansible-playbook", "-i", "localhost,", "-c", "local", "--diff", *arguments,
                             "-e", f"ansible_python_interpreter={node_python.python}", tmp_path / "play.json",
                             env=processes.clean_env(tmp_path / "home"))
        for secret in (TOKEN, TOKEN[::-1], PASSWORD):
            assert secret not in done.stdout + done.stderr
        said = re.findall(r"^TASK \[(.*?)\] .*?^(ok|changed|fatal): \[localhost\]", done.stdout, re.MULTILINE | re.DOTALL)
        return dict(said), done.returncode, done.stdout + done.stderr

    return run


@pytest.mark.parametrize("login", ["token", "logins"])
def test_a_clean_node(play, tmp_path, login):
    names = [login if name == "token" else name for name in ORDER]
    everything = dict.fromkeys(names, "changed"), 0
    said, rc, output = play(names, "--check")
    assert (said, rc) == everything, output
    words = " ".join(output.split())
    assert f'endpoint "site": it is not in the global file yet; {UNCERTAIN}' in words
    assert f'endpoint "site": it does not exist yet; {UNCERTAIN}' in words
    user = tmp_path / "home" / ".apptainer"
    assert not (tmp_path / "etc").exists()
    assert not user.exists()
    said, rc, output = play(names)
    assert (said, rc) == everything, output
    assert UNCERTAIN not in output
    files = [tmp_path / "etc" / "apptainer" / "remote.yaml", user / "remote.yaml", user / "docker-config.json"]
    shared, mine = [yaml.safe_load(path.read_text()) for path in files[:2]]
    assert json.loads(files[2].read_text())["auths"].keys() == {"registry.example.org"}
    assert [server["URI"] for server in shared["Remotes"]["site"]["Keyservers"]] == ["https://own.example.org", "https://keys.example.org"]
    assert mine["Remotes"]["site"]["Token"] in (TOKEN, TOKEN[::-1])
    assert [stat.S_IMODE(path.stat().st_mode) for path in files] == [0o644, 0o600, 0o600]
    state = [(path.read_bytes(), path.stat().st_ino, path.stat().st_mtime_ns) for path in files]
    for arguments in ((), ("--check",)):
        said, rc, output = play(names, *arguments)
        assert (said, rc) == (dict.fromkeys(names, "ok"), 0), output
        assert UNCERTAIN not in output
    assert [(path.read_bytes(), path.stat().st_ino, path.stat().st_mtime_ns) for path in files] == state


@pytest.mark.parametrize("name", ["keyserver", "token", "logins"])
def test_without_the_earlier_task_only_check_mode_believes_in_it(play, tmp_path, name):
    said, rc, output = play([name], "--check")
    assert (said, rc) == ({name: "changed"}, 0)
    assert UNCERTAIN in " ".join(output.split())
    said, rc, output = play([name])
    assert (said, rc) == ({name: "fatal"}, 2)
    assert not (tmp_path / "etc").exists()
    assert not (tmp_path / "home" / ".apptainer").exists()
