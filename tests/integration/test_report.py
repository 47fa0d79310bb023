# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook hpc.apptainer.drift, and the task that ends a batch of a rollout: what they end with, what they say, and the files they write.

Hosts are directories on this machine.
"""

import getpass
import json
import os
import resource
import signal
import stat
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.hpc.apptainer.plugins.action.apptainer_fleet_report import _write_file
from support import envs, leaks, processes

SITE = {"name": "site", "uri": "https://library.example.org", "exclusive": True}
VARIABLES = {"apptainer_fleet_remotes": [SITE], "apptainer_fleet_prune": True}
GOOD = "Active: site\nRemotes:\n    site:\n        URI: library.example.org\n        System: true\n        Exclusive: true\n"
DRIFTED = GOOD.replace("Exclusive: true", "Exclusive: false")
LOST = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
TOKEN = "tok-on-disk-s3cretS3CRET"
FILES = ("json", "html", "prometheus")


@pytest.fixture
def drift(tmp_path, quick_python):
    """Run the playbook on hosts with these files (`None`: a host that is unreachable). Returns the process and the JSON report, if there is one.

    Without `rooted`, the only host is this machine, with its global file below tmp_path.
    """
    (tmp_path / "out").mkdir()
    variables = {**VARIABLES, **{f"apptainer_fleet_report_{kind}": str(tmp_path / "out" / f"drift.{kind}") for kind in FILES}}

    def run(hosts, *arguments, core="running", env=None, rooted=True, **more):
        inventory = {}
        for name, text in hosts.items():
            place = {"apptainer_fleet_config_root": str(tmp_path / name)} if rooted else {"apptainer_fleet_sysconfdir": str(tmp_path / name / "etc")}
            inventory[name] = LOST if text is None else {"ansible_connection": "local", "ansible_become": False, **place}
            if text is not None:
                write(tmp_path / name, text)
        (tmp_path / "inventory.yml").write_text(yaml.safe_dump({"all": {"hosts": inventory}}))
        try:
            environment = envs.core(core)
        except envs.MissingInterpreterError as exc:
            pytest.skip(str(exc))
        done = processes.run(
            environment / "bin" / "ansible-playbook", "-i", tmp_path / "inventory.yml",
            "-e", f"ansible_python_interpreter={quick_python(environment)}", "-e", json.dumps({**variables, **more}), *arguments,
            "hpc.apptainer.drift", env=processes.clean_env(tmp_path / "home", env))
        report = tmp_path / "out" / "drift.json"
        return done, json.loads(report.read_text()) if report.exists() else None

    return run


def write(root, text):
    file = root / "etc" / "apptainer" / "remote.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    if text:
        file.write_text(text)
        file.chmod(0o644)


def states(report):
    return {host["name"]: host["state"] for host in report["hosts"]}


@pytest.mark.parametrize("core", [envs.OLD_CORE, "newest"])
@pytest.mark.parametrize(("hosts", "status", "said"), [
    ({"n1": GOOD, "n2": GOOD}, 0, "2 hosts: 2 in state"),
    ({"n1": GOOD, "n2": DRIFTED, "n3": DRIFTED}, 2,
     "Drift on 2 hosts (n[2-3]): global: remote.yaml: endpoint site: exclusive is false, should be true"),
    ({"n1": None, "n2": DRIFTED}, 4, "2 hosts: 1 drifted, 1 unreachable"),
    ({"n1": GOOD, "n2": "\tbad"}, 4, "Failed on 1 host (n2): "),
], ids=["in state", "drifted", "unreachable", "failed"])
def test_status(drift, tmp_path, core, hosts, status, said):
    done, report = drift(hosts, core=core)
    assert done.returncode == status, done.stdout + done.stderr
    assert said in " ".join(done.stdout.split())
    assert (report["schema"], report["status"], len(report["hosts"])) == (1, status, len(hosts))
    for name, text in hosts.items():
        if text is not None:
            assert (tmp_path / name / "etc" / "apptainer" / "remote.yaml").read_text() == text


@pytest.mark.parametrize("core", [envs.OLD_CORE, "newest"])
def test_all_that_can_happen_in_one_run(drift, core):
    done, report = drift({"n1": GOOD, "n2": DRIFTED, "n3": "", "n4": "\tbad", "n5": None, "n6": None}, core=core)
    assert done.returncode == 4
    assert states(report) == {"n1": "in_state", "n2": "drifted", "n3": "drifted", "n4": "failed", "n5": "unreachable", "n6": "unreachable"}
    assert {(group["title"], group["nodes"]) for group in report["groups"]} == {
        ("endpoint site: exclusive is false, should be true", "n2"), ("the file is missing or empty", "n3")}
    (lost,) = report["unreachable"]
    assert (lost["nodes"], lost["reason"].split(": ", 1)[0]) == ("n[5-6]", "Failed to connect to the host via ssh")
    (failed,) = report["failures"]
    assert "/{host}/etc/apptainer/remote.yaml" in failed["reason"]


@pytest.mark.parametrize("core", [envs.OLD_CORE, "newest"])
def test_limit(drift, core):
    done, report = drift({"n1": None, "n2": DRIFTED, "n3": GOOD}, "--limit", "n2,n3", core=core)
    assert (done.returncode, states(report)) == (2, {"n2": "drifted", "n3": "in_state"})
    done, report = drift({"n1": None, "n3": GOOD}, "--limit", "n3", core=core)
    assert (done.returncode, states(report)) == (0, {"n3": "in_state"})


@pytest.mark.parametrize("core", [envs.OLD_CORE, "newest"])
@pytest.mark.parametrize(("hosts", "limit", "found"), [
    ({"localhost": DRIFTED, "n1": GOOD}, None, {"localhost": "drifted", "n1": "in_state"}),
    ({"localhost": None, "n1": GOOD}, None, {"localhost": "unreachable", "n1": "in_state"}),
    ({"localhost": DRIFTED, "n1": GOOD}, "n1", {"n1": "in_state"}),
    ({"127.0.0.1": DRIFTED, "n1": GOOD}, None, {"127.0.0.1": "drifted", "n1": "in_state"}),
    ({"127.0.0.1": DRIFTED, "n1": GOOD}, "n1", {"n1": "in_state"}),
    ({"n1": None, "n2": DRIFTED}, "n1,n2", {"n1": "unreachable", "n2": "drifted"}),
    ({"2001:db8::1": DRIFTED}, "all", {"2001:db8::1": "drifted"}),
    ({"x:y": DRIFTED}, "all", {"x:y": "drifted"}),
], ids=["localhost", "localhost is lost", "localhost, limit", "127.0.0.1", "127.0.0.1, limit", "the first is lost", "IPv6", "not a pattern"])
def test_wherever_the_report_is_made(drift, core, hosts, limit, found):
    done, report = drift(hosts, *(["--limit", limit] if limit else []), core=core)
    assert states(report) == found, done.stdout + done.stderr
    assert done.returncode == (4 if "unreachable" in found.values() else 2 if "drifted" in found.values() else 0)


@pytest.mark.parametrize("core", [envs.OLD_CORE, "newest"])
@pytest.mark.parametrize("limit", ["n1", "@{}/limit", "!n2", None])
def test_no_host_is_no_good_news(drift, tmp_path, core, limit):
    """A pattern that matches nothing, or nothing within the limit, must not look like a fleet that is in state."""
    (tmp_path / "limit").write_text("n1\n")
    arguments = ["--limit", limit.format(tmp_path)] if limit else []
    done, report = drift({"n1": GOOD, "n2": GOOD}, *arguments, core=core, apptainer_fleet_hosts="n2" if limit else "nobody")
    assert (done.returncode, report["hosts"]) == (4, [])
    assert "No host was checked" in done.stdout


def test_variables_that_the_role_refuses(drift):
    done, report = drift({"n1": GOOD, "n2": GOOD}, apptainer_fleet_prune="perhaps")
    assert done.returncode == 4
    (failed,) = report["failures"]
    assert failed["nodes"] == "n[1-2]"
    assert "apptainer_fleet_prune" in failed["reason"]


def test_logins_of_accounts(drift, tmp_path):
    account = getpass.getuser()
    files = {"config_file": str(tmp_path / "account" / "remote.yaml"), "auth_file": str(tmp_path / "account" / "docker-config.json")}
    login = {"user": account, **files, "registries": [{"uri": "docker://registry.example.org", "username": "ci", "password": TOKEN}]}
    done, report = drift({"n1": GOOD}, rooted=False, apptainer_fleet_logins=[login])
    assert done.returncode == 2, done.stdout + done.stderr
    assert {group["subject"] for group in report["groups"]} == {f"account {account}: docker-config.json"}
    assert not (tmp_path / "account").exists()


@pytest.mark.parametrize("arguments", [(), ("--check",)])
def test_files(drift, tmp_path, arguments):
    (tmp_path / "linked.html").write_text("old")
    (tmp_path / "out" / "drift.html").symlink_to(tmp_path / "linked.html")
    done, _report = drift({"n1": DRIFTED}, *arguments)
    assert done.returncode == 2
    modes = {kind: stat.S_IMODE((tmp_path / "out" / f"drift.{kind}").stat().st_mode) for kind in FILES}
    assert modes == {"json": 0o640, "html": 0o640, "prometheus": 0o644}
    assert (tmp_path / "out" / "drift.html").is_symlink()
    assert sorted(os.listdir(tmp_path / "out")) == ["drift.html", "drift.json", "drift.prometheus"]
    assert 'apptainer_fleet_hosts{state="drifted"} 1\n' in (tmp_path / "out" / "drift.prometheus").read_text()


def test_a_file_that_cannot_be_written(drift, tmp_path):
    done, report = drift({"n1": GOOD}, apptainer_fleet_report_html=str(tmp_path / "nowhere" / "drift.html"))
    assert done.returncode == 4
    assert "nowhere/drift.html (No such file or directory): set a path in an existing directory" in " ".join(done.stdout.split())
    assert report["status"] == 0


def test_where_the_files_are_by_default(tmp_path):
    (tmp_path / "inventory").write_text(f"n1 ansible_connection=local apptainer_fleet_config_root={tmp_path}/n1\n")
    write(tmp_path / "n1", GOOD)
    (tmp_path / "cwd").mkdir()
    done = processes.run(envs.core("running") / "bin" / "ansible-playbook", "-i", tmp_path / "inventory", "-e", json.dumps(VARIABLES),
                         "-e", f"ansible_python_interpreter={sys.executable}", "hpc.apptainer.drift",
                         env=processes.clean_env(tmp_path / "home"), cwd=tmp_path / "cwd")
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(os.listdir(tmp_path / "cwd")) == ["apptainer-drift.html", "apptainer-drift.json"]


@pytest.mark.parametrize("core", [envs.OLD_CORE, "newest"])
def test_no_secret_leaks(drift, tmp_path, core):
    text = DRIFTED.replace("        System", f"        Token: {TOKEN}\n        System") + (
        f"Credentials:\n    - URI: https://someone:{TOKEN}@keys.example.org\n      Auth: Basic {TOKEN}\n")
    done, report = drift({"n1": text, "n2": f"{TOKEN}: ["}, "-vvvv", core=core, env={"ANSIBLE_LOG_PATH": tmp_path / "log"})
    assert set(states(report).values()) == {"drifted", "failed"}
    texts = [done.stdout, done.stderr, (tmp_path / "log").read_text(), *(file.read_text() for file in Path(tmp_path / "out").iterdir())]
    assert leaks.leaked(texts, leaks.forms("someone", TOKEN)) == []


@pytest.fixture
def elsewhere(tmp_path):
    """A file of somebody else's choice."""
    (tmp_path / "elsewhere").write_text("theirs")
    return tmp_path / "elsewhere"


def test_what_cannot_be_written_is_said_and_leaves_nothing(tmp_path, elsewhere):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "directory").mkdir()
    (tmp_path / "out" / "loop").symlink_to("loop")
    for name, reason in (("directory", "Is a directory"), ("nowhere/file", "No such file or directory"), ("../elsewhere/file", "Not a directory"),
                         ("a\0b", "not a valid file name"), ("x" * 300, "File name too long"), ("\ud800", "not a valid file name")):
        said = _write_file(f"{tmp_path}/out/{name}", "text", 0o640)
        assert f"({reason}): set a path" in said
        assert said.isprintable()
    assert sorted(os.listdir(tmp_path / "out")) == ["directory", "loop"]
    assert os.listdir(tmp_path / "out" / "directory") == []


def test_a_full_disk_keeps_the_old_report(tmp_path):
    """A file that must not grow is what can be had of a full disk everywhere."""
    file = tmp_path / "drift.html"
    assert _write_file(str(file), "old", 0o640) == ""
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        said = _write_file(str(file), "x" * 100_000, 0o640)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert "(File too large)" in said
    assert (file.read_text(), os.listdir(tmp_path)) == ("old", ["drift.html"])


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make a link that is another user's")
@pytest.mark.parametrize(("owner", "followed"), [(0, True), (2000, False)])
def test_whose_links_are_followed(tmp_path, elsewhere, owner, followed):
    link = tmp_path / "drift.html"
    link.symlink_to(elsewhere)
    os.lchown(link, owner, owner)
    said = _write_file(str(link), "report", 0o640)
    assert ("(a symbolic link of another user)" in said) is not followed
    assert elsewhere.read_text() == ("report" if followed else "theirs")
    assert link.is_symlink()


CHANGED = {"changed": True, "diff": [{"before": DRIFTED, "after": GOOD, "after_header": "/etc/apptainer/remote.yaml"}]}
SAME = {"changed": False}
BAD = {"changed": False, "failed": True, "msg": "no space left"}
BATCHES = [{
    "hosts": "all", "gather_facts": False, "serial": 2, "ignore_unreachable": True,
    "tasks": [
        {"ansible.builtin.raw": "true", "when": "answer is none", "register": "apptainer_fleet_global_result"},
        {"ansible.builtin.set_fact": {"apptainer_fleet_global_result": "{{ answer }}"}, "when": "answer is not none"},
        {"hpc.apptainer.apptainer_fleet_report": {"hosts": "{{ ansible_play_batch }}", "applied": True},
         "run_once": True, "delegate_to": "localhost"},
    ],
}]


@pytest.mark.parametrize("core", [envs.OLD_CORE, "newest"])
@pytest.mark.parametrize(("answers", "arguments", "status", "said"), [
    ([CHANGED, SAME, CHANGED], [], 0, ["2 hosts: 1 changed, 1 in state", "Changed on 1 host (n1): global: remote.yaml: endpoint site: exclusive was "
                                       "false, is now true", "1 host: 1 changed"]),
    ([CHANGED, SAME, SAME], ["--check"], 0, ["2 hosts: 1 to be changed, 1 in state", "To be changed on 1 host (n1): global", "1 host: 1 in state"]),
    ([CHANGED, BAD, SAME], [], 2, ["2 hosts: 1 changed, 1 failed. The rollout stops here. 1 host was not touched: n3", "Failed on 1 host (n2)"]),
    ([None, None, SAME], [], 2, ["2 hosts: 2 unreachable. The rollout stops here. 1 host was not touched: n3", "Unreachable on 2 hosts (n[1-2])"]),
    ([SAME, None, SAME], [], 2, ["2 hosts: 1 unreachable, 1 in state. The rollout stops here. 1 host was not touched: n3"]),
    ([CHANGED, SAME, None], [], 2, ["1 host: 1 unreachable. The rollout stops here. There were no further hosts"]),
    ([CHANGED, SAME, SAME], ["--limit", "n1,n3"], 0, ["2 hosts: 1 changed, 1 in state"]),
], ids=["changed", "check", "failed", "all lost", "one lost", "the last is lost", "limit"])
def test_the_end_of_a_batch(tmp_path, core, answers, arguments, status, said):
    """Answers are what the role would have left on the hosts `n1`, `n2`, `n3`; `None` is a host that is unreachable."""
    hosts = {f"n{number}": {"answer": answer, **(LOST if answer is None else {"ansible_connection": "local"})}
             for number, answer in enumerate(answers, 1)}
    (tmp_path / "inventory.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
    (tmp_path / "play.yml").write_text(yaml.safe_dump(BATCHES))
    try:
        environment = envs.core(core)
    except envs.MissingInterpreterError as exc:
        pytest.skip(str(exc))
    done = processes.run(environment / "bin" / "ansible-playbook", "-i", tmp_path / "inventory.yml", *arguments, tmp_path / "play.yml",
                         env=processes.clean_env(tmp_path / "home"))
    text = " ".join(done.stdout.replace("''", "'").split())
    assert done.returncode == status, done.stdout + done.stderr
    assert [words for words in said if words not in text] == []
