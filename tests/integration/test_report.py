# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report on results that are written by hand, and the playbook hpc.apptainer.drift: what they say, whom they blame, and the files they write.

Hosts are directories on this machine.
"""

import getpass
import json
import os
import re
import resource
import shlex
import signal
import stat
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from ansible_collections.hpc.apptainer.plugins.plugin_utils._writing import write_file
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
        return done, valid(report) if report.exists() else None

    return run


def valid(path):
    """The JSON report in a file, which must be as the schema says that the collection ships."""
    report = json.loads(path.read_text())
    jsonschema.Draft7Validator(json.loads((envs.ROOT / "docs" / "report.schema.json").read_text())).validate(report)
    return report


def write(root, text):
    file = root / "etc" / "apptainer" / "remote.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    if text:
        file.write_text(text)
        file.chmod(0o644)


def blamed(done):
    """The hosts that the recap says failed or were not reached."""
    rows = re.findall(r"^(\S+) +: ok=.* unreachable=(\d) +failed=(\d)", done.stdout, re.MULTILINE)
    return {host: "failed" if failed != "0" else "unreachable" for host, lost, failed in rows if (lost, failed) != ("0", "0")}


def states(report):
    return {host["name"]: host["state"] for host in report["hosts"]}


@pytest.mark.parametrize("core", [envs.OLD_CORE, "newest"])
@pytest.mark.parametrize(("hosts", "status", "said"), [
    ({"n1": GOOD, "n2": GOOD}, 0, "2 hosts: 2 in state"),
    ({"n1": GOOD, "n2": DRIFTED, "n3": DRIFTED}, 2,
     "Drift on 2 hosts (n[2-3]): global: remote.yaml: endpoint site: exclusive is false, should be true"),
], ids=["in state", "drifted"])
@pytest.mark.newest
def test_status(drift, tmp_path, core, hosts, status, said):
    done, report = drift(hosts, core=core)
    assert done.returncode == status, done.stdout + done.stderr
    assert said in " ".join(done.stdout.split())
    assert (report["schema"], report["status"], len(report["hosts"])) == (2, status, len(hosts))
    for name, text in hosts.items():
        if text is not None:
            assert (tmp_path / name / "etc" / "apptainer" / "remote.yaml").read_text() == text


@pytest.mark.parametrize("core", [envs.OLD_CORE, "newest"])
def test_all_that_can_happen_in_one_run(drift, core):
    done, report = drift({"n1": GOOD, "n2": DRIFTED, "n3": "", "n4": "\tbad", "n5": None, "n6": None}, core=core)
    assert done.returncode == 4
    assert states(report) == {"n1": "in_state", "n2": "drifted", "n3": "drifted", "n4": "drifted", "n5": "unreachable", "n6": "unreachable"}
    assert blamed(done) == {"n2": "failed", "n3": "failed", "n4": "failed", "n5": "unreachable", "n6": "unreachable"}, done.stdout
    first, *groups = report["groups"]
    assert {(group["title"], group["nodes"]) for group in groups} == {
        ("endpoint site: exclusive is false, should be true", "n2"), ("the file is missing or empty", "n3")}
    for words in ("6 hosts: 3 drifted, 2 unreachable, 1 in state", "Drift on 1 host (n4): global: remote.yaml: the file is ignored, because it cannot be "
                  "read: the exclusive and the default endpoint no longer "):
        assert words in " ".join(done.stdout.split())
    assert (first["nodes"], first["unreadable"], "/n4/etc/apptainer/remote.yaml" in first["title"]) == ("n4", True, True)
    (lost,) = report["unreachable"]
    assert (lost["nodes"], lost["reason"].split(": ", 1)[0]) == ("n[5-6]", "Failed to connect to the host via ssh")
    assert report["failures"] == []


@pytest.mark.parametrize("core", [envs.OLD_CORE, "newest"])
@pytest.mark.newest
def test_limit(drift, core):
    done, report = drift({"n1": None, "n2": DRIFTED, "n3": GOOD}, "--limit", "n2,n3", core=core)
    assert (done.returncode, states(report)) == (2, {"n2": "drifted", "n3": "in_state"})
    done, report = drift({"n1": None, "n3": GOOD}, "--limit", "n3", core=core)
    assert (done.returncode, states(report)) == (0, {"n3": "in_state"})


@pytest.mark.parametrize("core", [envs.OLD_CORE, "newest"])
@pytest.mark.parametrize(("hosts", "limit", "found"), [
    ({"localhost": DRIFTED, "n1": GOOD}, None, {"localhost": "drifted", "n1": "in_state"}),
    ({"localhost": None, "n1": GOOD}, None, {"localhost": "unreachable", "n1": "in_state"}),
    ({"127.0.0.1": DRIFTED, "n1": GOOD}, None, {"127.0.0.1": "drifted", "n1": "in_state"}),
    ({"localhost": DRIFTED, "127.0.0.1": DRIFTED, "n1": GOOD}, "n1", {"n1": "in_state"}),
    ({"n1": None, "n2": DRIFTED}, "n1,n2", {"n1": "unreachable", "n2": "drifted"}),
    ({"2001:db8::1": DRIFTED, "x:y": DRIFTED}, "all", {"2001:db8::1": "drifted", "x:y": "drifted"}),
], ids=["localhost", "localhost is lost", "127.0.0.1", "limit", "the first is lost", "no patterns"])
@pytest.mark.newest
def test_wherever_the_report_is_made(drift, core, hosts, limit, found):
    done, report = drift(hosts, *(["--limit", limit] if limit else []), core=core)
    assert states(report) == found, done.stdout + done.stderr
    assert done.returncode == (4 if "unreachable" in found.values() else 2 if "drifted" in found.values() else 0)


@pytest.mark.parametrize("core", [envs.OLD_CORE, "newest"])
@pytest.mark.parametrize("limit", ["n1", "@{}/limit", "!n2", None])
@pytest.mark.newest
def test_no_host_is_no_good_news(drift, tmp_path, core, limit):
    """A pattern that matches nothing, or nothing within the limit, must not look like a fleet that is in state."""
    (tmp_path / "limit").write_text("n1\n")
    arguments = ["--limit", limit.format(tmp_path)] if limit else []
    done, report = drift({"n1": GOOD, "n2": GOOD}, *arguments, core=core, apptainer_fleet_hosts="n2" if limit else "nobody")
    assert (done.returncode, report["hosts"], report["status"]) == (2, [], 2)
    assert "No host was checked" in done.stdout


def test_variables_that_the_role_refuses(drift):
    done, report = drift({"n1": GOOD, "n2": GOOD}, apptainer_fleet_prune="perhaps")
    assert done.returncode == 2
    assert blamed(done) == {"n1": "failed", "n2": "failed"}
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
    assert (done.returncode, blamed(done)) == (2, {"localhost": "failed"})
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
    assert states(report) == {"n1": "drifted", "n2": "drifted"}
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
        said = write_file(f"{tmp_path}/out/{name}", "text", 0o640)
        assert f"({reason}): set a path" in said
        assert said.isprintable()
    assert sorted(os.listdir(tmp_path / "out")) == ["directory", "loop"]
    assert os.listdir(tmp_path / "out" / "directory") == []


def test_a_full_disk_keeps_the_old_report(tmp_path):
    """A file that must not grow is what can be had of a full disk everywhere."""
    file = tmp_path / "drift.html"
    assert write_file(str(file), "old", 0o640) == ""
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        said = write_file(str(file), "x" * 100_000, 0o640)
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
    said = write_file(str(link), "report", 0o640)
    assert ("(a symbolic link of another user)" in said) is not followed
    assert elsewhere.read_text() == ("report" if followed else "theirs")
    assert link.is_symlink()


PART = {"subject": "global", "changed": True, "config_file": "/etc/apptainer/remote.yaml"}
DIFF = {"subject": "global", "before": DRIFTED, "after": GOOD, "after_header": "/etc/apptainer/remote.yaml"}
SAME = {"changed": False, "declared": True, "parts": [{**PART, "changed": False}]}
CHANGED = {"changed": True, "declared": True, "parts": [PART], "diff": [DIFF]}
NOTHING = {"changed": False, "declared": False}
BAD = {**SAME, "failures": [{"subject": "global", "msg": "no space left"}]}
GONE = {"changed": False, "unreachable_reason": "Connection refused"}
IGNORED = {**SAME, "failures": [{"subject": "global", "msg": "/etc/apptainer/remote.yaml, line 3: bad", "unreadable": True}]}
AUDITED = {**SAME, "users": [{"user": "alice", "home": "/home/alice", "error": None, "findings": [
    {"id": "unreleased-copy", "severity": "warning", "path": "/home/alice/.apptainer/remote.yaml", "message": "m", "remote": "old"}]}]}


@pytest.fixture(params=[envs.OLD_CORE, "newest"])
def playbook(request, tmp_path):
    """Run these plays on hosts `n1`, `n2` and so on that have these variables. Nothing connects to a host."""
    try:
        environment = envs.core(request.param)
    except envs.MissingInterpreterError as exc:
        pytest.skip(str(exc))

    def run(hosts, plays, *arguments, env=None):
        inventory = {f"n{number}": variables for number, variables in enumerate(hosts, 1)}
        (tmp_path / "inventory.yml").write_text(yaml.safe_dump({"all": {"hosts": inventory}}))
        (tmp_path / "play.yml").write_text(yaml.safe_dump(plays))
        return processes.run(environment / "bin" / "ansible-playbook", "-i", tmp_path / "inventory.yml", *arguments, tmp_path / "play.yml",
                             env=processes.clean_env(tmp_path / "home", env), cwd=tmp_path)

    return run


@pytest.fixture
def reported(playbook, tmp_path):
    """Report on hosts with these results, once for each of these options. Returns the process, and (what the task returned, the report's JSON) of
    each; the files are `report0.json` and so on."""

    def run(results, *cases, env=None):
        plays = []
        for number, case in enumerate(cases or ({},)):
            files = {"json": f"report{number}.json", "html": f"report{number}.html", "prometheus": f"report{number}.prom"}
            keep = {"content": "{{ answer | to_json }}", "dest": str(tmp_path / f"answer{number}.json")}
            plays.append({"hosts": "localhost", "gather_facts": False, "tasks": [
                {"name": "Report", "hpc.apptainer.apptainer_fleet_report": {"hosts": "{{ groups['all'] }}", **files, **case}, "register": "answer"},
                {"name": "Keep", "ansible.builtin.copy": keep, "check_mode": False},
            ]})
        done = playbook([{} if result is None else {"apptainer_fleet_result": result} for result in results], plays, env=env)
        assert done.returncode == 0, done.stdout + done.stderr
        return done, *((json.loads((tmp_path / f"answer{number}.json").read_text()), valid(tmp_path / f"report{number}.json"))
                       for number in range(len(plays)))

    return run


def test_every_state_and_whom_to_blame(reported, tmp_path):
    """The task does not fail for them; it prints lines for a person, and says whom to let fail, and why."""
    done, (answer, report) = reported([SAME, CHANGED, BAD, GONE, NOTHING, IGNORED, AUDITED, None, {"rc": 0, "users": 1}])
    assert states(report) == {"n1": "in_state", "n2": "drifted", "n3": "failed", "n4": "unreachable", "n5": "undeclared", "n6": "drifted",
                              "n7": "in_state", "n8": "failed", "n9": "failed"}
    lines = [
        "9 hosts: 2 drifted, 3 failed, 1 unreachable, 1 undeclared, 2 in state",
        "Drift on 1 host (n6): global: remote.yaml: the file is ignored, because it cannot be read: the exclusive and the default endpoint no longer "
        "apply to anyone; /etc/apptainer/remote.yaml, line 3: bad",
        "Drift on 1 host (n2): global: remote.yaml: endpoint site: exclusive is false, should be true",
        "Failed on 1 host (n3): no space left",
        "Failed on 1 host (n8): there are no results: the role did not run on this host",
        "Failed on 1 host (n9): the results from this host are not those of this collection's modules; check what runs there in their place",
        "Unreachable on 1 host (n4): Connection refused",
        "Undeclared on 1 host (n5): nothing is declared, so nothing was looked at",
        "1 user would be locked out if the endpoint old were removed now: alice",
        "Users' files on 1 host (n7): unreleased-copy (warning): alice",
        "To rerun only what failed or was not reached: --limit n3,n4,n8,n9",
    ]
    assert answer["summary"] == lines
    assert "\n".join(lines) in done.stdout
    assert (answer["status"], answer["stop"], answer["errors"], answer["limit"]) == (4, False, [], report["limit"]) == (4, False, [], "n3,n4,n8,n9")
    assert answer["problems"] == list(answer["reasons"]) == ["n2", "n3", "n4", "n6", "n8", "n9"]
    assert answer["reasons"]["n3"] == "no space left"
    assert answer["counts"] == report["summary"]
    metrics = (tmp_path / "report0.prom").read_text()
    assert 'apptainer_fleet_hosts{state="undeclared"} 1\n' in metrics
    assert "apptainer_fleet_unreadable_files 1\n" in metrics
    assert 'apptainer_fleet_locked_out_users{remote="old"} 1\n' in metrics


@pytest.mark.newest
def test_a_fleet_without_declarations_is_no_fleet_in_state(reported):
    expected = [
        (["n1", "n2"], 2, "Nothing is declared for any host: set apptainer_fleet_remotes or apptainer_fleet_logins"),
        ([], 2, "No host was checked"),
        (["n1", "n3"], 0, ""),
    ]
    done, *found = reported([NOTHING, NOTHING, SAME], *({"hosts": hosts} for hosts, _status, _error in expected))
    for (answer, report), (_hosts, status, error) in zip(found, expected, strict=True):
        assert (answer["status"], report["status"], len(answer["errors"])) == (status, status, 1 if error else 0)
        assert error in " ".join(answer["errors"])
        assert error in done.stdout


@pytest.mark.newest
def test_values_that_are_texts(reported):
    """As -e k=v, INI files and surveys give them."""
    _done, (answer, _report), (other, report) = reported(
        [CHANGED, GONE], {"applied": "yes", "max_unreachable": 1, "max_age": "30"},
        {"applied": "false", "max_unreachable": "0", "max_age": "0", "hosts": "n1,n2", "prometheus": ""})
    assert (answer["problems"], answer["stop"], answer["status"]) == (["n2"], False, 4)
    assert (other["problems"], other["stop"], report["due"]) == (["n1", "n2"], False, "")
    assert set(other["files"]) == {"json", "html"}


SLIPS = [
    ({"max_unreachable": "some"}, "apptainer_fleet_max_unreachable is some, but must be a number of hosts (3), or a percentage of all hosts (10%)"),
    ({"max_unreachable": "-1"}, "apptainer_fleet_max_unreachable is -1"),
    ({"max_age": "nan"}, "max_age: give a number of hours"),
    ({"max_age": -1}, "max_age: give a number of hours"),
    ({"hosts": ["n7"]}, "hosts: n7 is not in the inventory"),
    ({"applied": "perhaps"}, "perhaps"),
]


def test_a_slip_in_an_option_is_refused(playbook):
    tasks = [{"name": f"slip {number}", "hpc.apptainer.apptainer_fleet_report": {"hosts": ["n1"], **option}, "ignore_errors": True}
             for number, (option, _said) in enumerate(SLIPS)]
    done = playbook([{"apptainer_fleet_result": SAME}], [{"hosts": "localhost", "gather_facts": False, "tasks": tasks}])
    found = dict(re.findall(r"TASK \[slip (\d)\](.*?)(?=TASK|PLAY)", " ".join(done.stdout.split())))
    assert "ok=6 changed=0 unreachable=0 failed=0 skipped=0 rescued=0 ignored=6" in " ".join(done.stdout.split()), done.stdout
    assert [said for number, (_option, said) in enumerate(SLIPS) if said not in found[str(number)]] == [], done.stdout


def test_options_from_the_variables_of_a_playbook(playbook, tmp_path):
    """Those of the task count, then those of the play, then those of the first host, then the defaults of the role. Empty text is no file."""
    hosts = [{"apptainer_fleet_result": SAME, "apptainer_fleet_hosts": "all", "apptainer_fleet_report_html": "{{ word }}.html", "word": "first",
              "apptainer_fleet_report_title": "Of the first host", "apptainer_fleet_report_prometheus": ""},
             {"apptainer_fleet_result": SAME, "apptainer_fleet_report_html": "second.html"}]
    task = {"name": "Report", "hpc.apptainer.apptainer_fleet_report": {"entry_point": "drift", "hosts": ["n1", "n2"], "title": "Of the task"}}
    play = {"hosts": "localhost", "gather_facts": False, "vars": {"apptainer_fleet_findings_fail": "error"}, "tasks": [task]}
    done = playbook(hosts, [play])
    assert done.returncode == 0, done.stdout + done.stderr
    report = valid(tmp_path / "apptainer-drift.json")
    assert (report["title"], report["findings_fail"]) == ("Of the task", "error")
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix in (".json", ".html", ".prom")) == ["apptainer-drift.json", "first.html"]
    done = playbook(hosts, [play], "-e", "apptainer_fleet_findings_fail=always")
    assert done.returncode == 2
    assert "apptainer_fleet_findings_fail is 'always', but must be one of never, error, warning." in " ".join(done.stdout.split())


@pytest.mark.parametrize("env", [{"ANSIBLE_DISPLAY_OK_HOSTS": "no"}, *(pytest.param({"ANSIBLE_STDOUT_CALLBACK": name}, marks=pytest.mark.newest) for name in (
    "minimal", "oneline"))])
def test_the_lines_are_printed_whatever_else_is_not(reported, env):
    done, (answer, _report) = reported([CHANGED, SAME], env=env)
    assert "\n".join(answer["summary"]) in done.stdout


def test_output_for_programs_stays_whole(reported, tmp_path):
    (tmp_path / "callbacks").mkdir()
    (tmp_path / "callbacks" / "all_json.py").write_text("""
import json
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = "name: all_json\\ntype: stdout\\nshort_description: x\\ndescription: x"

class CallbackModule(CallbackBase):
    CALLBACK_VERSION, CALLBACK_TYPE, CALLBACK_NAME = 2.0, "stdout", "all_json"

    def v2_playbook_on_stats(self, stats):
        self._display.display(json.dumps({"ok": stats.ok}))
""")
    done, _reported = reported([CHANGED], env={"ANSIBLE_STDOUT_CALLBACK": "all_json", "ANSIBLE_CALLBACK_PLUGINS": tmp_path / "callbacks"})
    assert json.loads(done.stdout) == {"ok": {"localhost": 2}}


@pytest.mark.newest
def test_a_run_that_never_ends_leaves_no_fresh_report(reported, playbook, tmp_path):
    """The metrics stay, as they have the time of the last report."""
    reported([SAME])
    old = {kind: (tmp_path / f"report0.{kind}").read_text() for kind in ("json", "html", "prom")}
    options = {"state": "begun", "json": "report0.json", "html": "report0.html", "prometheus": "report0.prom"}

    def kept(directory):
        return {"ansible.builtin.command": {"argv": ["cp", "-r", "--parents", "report0.json", "report0.html", "report0.prom", f"{directory}/"],
                                            "chdir": str(tmp_path)}}

    for name in ("begun", "finished"):
        (tmp_path / name).mkdir()
    report = {name: value for name, value in options.items() if name != "state"}
    begin = [{"hpc.apptainer.apptainer_fleet_report": options}, kept("begun"),
             {"hpc.apptainer.apptainer_fleet_report": {**report, "hosts": "{{ groups['all'] }}"}}, kept("finished"),
             {"hpc.apptainer.apptainer_fleet_report": {**options, "pattern": "nobody"}}]
    done = playbook([{"apptainer_fleet_result": SAME}], [{"hosts": "localhost", "gather_facts": False, "tasks": begin}])
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "begun" / "report0.prom").read_text() == old["prom"]
    begun = valid(tmp_path / "begun" / "report0.json")
    assert begun["made_by"]["playbooks"] == [str(tmp_path / "play.yml")]
    assert (begun["state"], begun["status"], "hosts" in begun) == ("begun", None, False)
    assert "and has not finished" in (tmp_path / "begun" / "report0.html").read_text()
    assert "In state" not in (tmp_path / "begun" / "report0.html").read_text()
    assert json.loads((tmp_path / "finished" / "report0.json").read_text())["state"] == "finished"
    assert "and has not finished" not in (tmp_path / "finished" / "report0.html").read_text()
    assert json.loads((tmp_path / "report0.json").read_text())["hosts"] == []
    assert "No host was checked" in (tmp_path / "report0.html").read_text()


def batches(name, answers, allowed):
    """The plays of a rollout as the playbook does it, with answers as the role would have left them on n1, n2 and so on."""
    hosts = [f"n{number}" for number in range(1, len(answers) + 1)]
    common = {"gather_facts": False, "vars": {"answers": dict(zip(hosts, answers, strict=True)), "allowed": str(allowed)}}
    return [
        {"name": f"Case {name}", "hosts": "localhost", **common, "tasks": [
            {"hpc.apptainer.apptainer_fleet_report": {"state": "begun", "pattern": ",".join(hosts), "max_unreachable": "{{ allowed }}"},
             "delegate_facts": True, "delegate_to": "localhost"}]},
        {"hosts": ",".join(hosts), "serial": 2, **common, "tasks": [
            {"ansible.builtin.set_fact": {"apptainer_fleet_result": "{{ answers[inventory_hostname] | combine({'at': now().timestamp()}) }}"}},
            {"hpc.apptainer.apptainer_fleet_report": {"hosts": "{{ ansible_play_batch }}", "applied": True}, "run_once": True,
             "delegate_to": "localhost", "delegate_facts": True, "register": "report"},
            {"ansible.builtin.meta": "end_play", "when": "report.stop"}]},
        {"hosts": "localhost", **common, "tasks": [
            {"ansible.builtin.debug": {"msg": "end: {{ ansible_facts.apptainer_fleet_progress.problems }}"}}]},
    ]


# The hosts' answers, how many may be unreachable, what is said of it, and what is not.
ENDS = {
    "changed": (
        [CHANGED, SAME, CHANGED], "10%",
        ["2 hosts: 1 changed, 1 in state (2 of 3 hosts done)", "Changed on 1 host (n1): global: remote.yaml: endpoint site: exclusive was false, is now "
         "true", "1 host: 1 changed (3 of 3 hosts done)", "In all batches, 3 hosts: 2 changed, 1 in state", "end: []"], ["--limit", "stops"]),
    "no diff": (
        [{**CHANGED, "diff": []}, SAME], 0,
        ["Changed on 1 host (n1): global: remote.yaml: the file was changed; with --diff, the report says what"], ["should be"]),
    "failed": (
        [CHANGED, BAD, SAME], "100%",
        ["2 hosts: 1 changed, 1 failed", "The rollout stops here. 1 host was not touched: n3", "Failed on 1 host (n2)", "--limit n2", "end: ['n2']"],
        ["1 host: 1 in state"]),
    "unreadable": ([IGNORED, SAME, SAME], 0, ["Failed on 1 host (n1): /etc/apptainer/remote.yaml, line 3: bad", "The rollout stops here."], ["Drift"]),
    "one lost": (
        [SAME, GONE, SAME], "10%",
        ["2 hosts: 1 unreachable, 1 in state (2 of 3", "1 host: 1 in state (3 of 3", "--limit n2", "end: ['n2']"], ["stops"]),
    "none may be lost": (
        [SAME, GONE, SAME], 0,
        ["because 1 host is unreachable and apptainer_fleet_max_unreachable allows none. 1 host was not touched: n3"], []),
    "two lost": (
        [SAME, GONE, SAME, GONE, SAME], 1,
        ["because 2 hosts are unreachable and apptainer_fleet_max_unreachable allows 1. 1 host was not touched: n5", "--limit n2,n4"], []),
    "the last is lost": (
        [CHANGED, SAME, GONE], 1,
        ["1 host: 1 unreachable (3 of 3", "In all batches, 3 hosts: 1 changed, 1 unreachable, 1 in state"], ["stops"]),
    "nothing declared": ([NOTHING, NOTHING, NOTHING], 1, ["Nothing is declared for any host"], []),
    "nothing declared at first": ([NOTHING, NOTHING, SAME], 1, ["2 hosts: 2 undeclared (2 of 3 hosts done)"], ["Nothing is declared for any host"]),
}


def text_of(done):
    assert done.returncode == 0, done.stdout + done.stderr
    return " ".join(done.stdout.replace("''", "'").split())


@pytest.mark.newest
def test_the_end_of_a_batch(playbook):
    """One run for all."""
    plays = [play for name, (answers, allowed, _said, _unsaid) in ENDS.items() for play in batches(name, answers, allowed)]
    text = text_of(playbook([{"ansible_connection": "local"}] * 5, plays))
    for name, (_answers, _allowed, said, unsaid) in ENDS.items():
        part = text.partition(f"PLAY [Case {name}] ")[2].partition("PLAY [Case ")[0].partition("PLAY RECAP")[0]
        assert [words for words in said if words not in part] == [], (name, part)
        assert [words for words in unsaid if words in part] == [], (name, part)


@pytest.mark.newest
def test_the_end_of_a_batch_of_some_hosts_in_check_mode(playbook):
    text = text_of(playbook([{"ansible_connection": "local"}] * 3, batches("limit", [CHANGED, SAME, SAME], 0), "--limit", "localhost,n1,n3", "--check"))
    for words in ("2 hosts: 1 to be changed, 1 in state", "To be changed on 1 host (n1): global: remote.yaml: endpoint site: exclusive is false, "
                  "should be true"):
        assert words in text
    assert "done)" not in text


ASKED = {"from": "admin", "services": [], "logins": [], "certificates": [], "refused": [], "errors": [], "undeclared": []}
DOWN = {"kind": "keyserver", "name": "keyserver https://k", "uri": "https://k", "service": "", "version": None, "up": False, "reason": "silent",
        "warning": ""}


@pytest.mark.newest
def test_health_is_no_state_of_a_host(reported, tmp_path):
    """It has a section and a status of its own, and the controller is to blame."""
    asked = {**ASKED, "services": [DOWN]}
    _done, (answer, report), (alone, only), (without, skipped) = reported(
        [SAME], {"health": asked}, {"hosts": [], "health": asked}, {"health": {"skipped": True, "changed": False}})
    line = "Servers and logins, asked from admin: 1 service down"
    assert (answer["status"], answer["problems"], answer["errors"], answer["health"]) == (0, [], [line], {"state": "error", "status": 2})
    assert answer["summary"] == ["1 host: 1 in state", line, "Down: keyserver https://k: silent"]
    assert (report["kind"], report["status"], report["health"]["status"], states(report)) == ("drift", 0, 2, {"n1": "in_state"})
    assert 'apptainer_fleet_service_up{kind="keyserver",uri="https://k",service=""} 0\n' in (tmp_path / "report0.prom").read_text()
    assert (only["kind"], only["status"], only["hosts"], alone["status"]) == ("health", 2, [], 2)
    assert "apptainer_fleet_hosts" not in (tmp_path / "report1.prom").read_text()
    assert (skipped["health"], "health" in without, without["errors"]) == (None, False, [])


@pytest.mark.newest
def test_thresholds_may_be_texts(reported, playbook):
    certificate = {"server": "https://k", "expires": "2100-01-01T00:00:00Z", "trusted": True, "reason": ""}
    _done, (answer, _report) = reported([SAME], {"health": {**ASKED, "certificates": [certificate]}, "certificate_warning_days": "100000",
                                                 "certificate_error_days": "0"})
    assert answer["health"] == {"state": "warning", "status": 0}
    done = playbook([{}], [{"hosts": "localhost", "gather_facts": False, "tasks": [
        {"hpc.apptainer.apptainer_fleet_report": {"hosts": [], "certificate_error_days": "nan"}}]}])
    assert "certificate_error_days: give a number of days" in done.stdout + done.stderr


@pytest.mark.newest
def test_findings_that_count(reported):
    expected = {"never": ([], 0), "error": ([], 0), "warning": (["n2"], 2)}
    _done, *found = reported([SAME, AUDITED], *({"findings_fail": fail} for fail in expected))
    for (answer, report), (blamed_hosts, status) in zip(found, expected.values(), strict=True):
        assert (answer["problems"], answer["status"], report["status"]) == (blamed_hosts, status, status)
        assert states(report)["n2"] == "in_state"
        assert "Users' files on 1 host (n2): unreleased-copy (warning): alice" in answer["summary"]
        assert answer["reasons"] == ({"n2": "users' files: unreleased-copy (warning): alice"} if blamed_hosts else {})


def test_who_made_it_and_what_repairs_it(drift, tmp_path, quick_python):
    """The commands in the report repair the hosts that they are for, and no other."""
    done, report = drift({"n1": GOOD, "n2": DRIFTED, "n3": DRIFTED, "n4": ""})
    inventory = str(tmp_path / "inventory.yml")
    assert (report["made_by"]["playbooks"], report["made_by"]["inventory"]) == (["hpc.apptainer.drift"], [inventory]), done.stdout
    assert report["made_by"]["collection"] == yaml.safe_load((envs.ROOT / "galaxy.yml").read_text())["version"]
    assert report["groups"][0]["hosts"] == ["n2", "n3"]
    environment = envs.core("running")
    options = {**VARIABLES, "apptainer_fleet_verify": False, "ansible_python_interpreter": str(quick_python(environment))}
    for group in report["groups"]:
        before = files_of(tmp_path)
        program, *words = shlex.split(group["repair"])
        assert (program, words[:3]) == ("ansible-playbook", ["-i", inventory, "hpc.apptainer.rollout"])
        repaired = processes.run(environment / "bin" / program, *words, "-e", json.dumps(options), env=processes.clean_env(tmp_path / "home"))
        assert repaired.returncode == 0, repaired.stdout + repaired.stderr
        after = files_of(tmp_path)
        assert {name for name in after if after[name] != before[name]} == set(group["hosts"])
    assert set(after.values()) == {GOOD}


def files_of(tmp_path):
    return {name: file.read_text() if (file := tmp_path / name / "etc" / "apptainer" / "remote.yaml").exists() else "" for name in ("n1", "n2", "n3", "n4")}
