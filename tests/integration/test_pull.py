# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Nodes that pull: the units as the role writes them, and the very command in them, with real git repositories and ansible-pull.

systemd itself does not run here: `systemd-analyze` judges the units.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import stat
import uuid
from pathlib import Path
from typing import NamedTuple

import jsonschema
import pytest
import yaml
from ansible_collections.hpc.apptainer.plugins.plugin_utils._text import readable_time
from support import envs, leaks, pages, processes

PAGE = pages.guide("guide_pull")
TOKEN = "pull-t0ken-" + "s3cretS3CRET" * 4
VAULT_PASSWORD = "the-vault-pa55word"
NODE = "node17"
REPORT_SCHEMA = json.loads((envs.ROOT / "docs" / "report.schema.json").read_text())
SCHEMA = jsonschema.Draft7Validator(REPORT_SCHEMA)
NODE_SCHEMA = jsonschema.Draft7Validator({"$ref": "#/definitions/node", "definitions": REPORT_SCHEMA["definitions"]})
UNITS = Path("etc/systemd/system")
REAL, CHECK = False, True


def page_file(name):
    """A file as the guide shows it."""
    return pages.file(PAGE, name)


class Done(NamedTuple):
    rc: int
    output: str

    @property
    def changed(self):
        (recap,) = re.findall(rf"^{NODE} .*changed=(\d+) .*failed=0", self.output, re.MULTILINE)
        return int(recap)

    @property
    def changes(self):
        """The count of tasks that changed something, of each play."""
        plays = re.split(r"^PLAY \[", self.output, flags=re.MULTILINE)[1:]
        assert self.rc == 0, self.output
        return [sum(bool(re.search(r"^changed: ", task, re.MULTILINE)) for task in re.split(r"^TASK \[", play, flags=re.MULTILINE)) for play in plays]


@pytest.fixture(scope="module", params=[envs.OLD_CORE, "newest"])
def core(request):
    try:
        return envs.core(request.param)
    except envs.MissingInterpreterError as exc:
        pytest.skip(str(exc))


@pytest.fixture
def install(core, tmp_path, quick_python):
    """Run the guide's play for a node that is a directory."""
    hosts = {"compute": {"hosts": {NODE: {"ansible_connection": "local", "ansible_python_interpreter": str(quick_python(core))}}}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(hosts))
    (play,) = yaml.safe_load(page_file("install-pull.yml"))
    del play["become"]

    def named(variables):
        return {f"apptainer_fleet_pull_{name}": value for name, value in variables.items()}

    def run(*arguments, more=(), **variables):
        """With `more`, the play follows again, once for each of these variables; with `check` among them, in check mode."""
        plays = [play, *({**play, "check_mode": check, "vars": named(given)} for given, check in more)]
        (tmp_path / "install-pull.yml").write_text(yaml.safe_dump(plays))
        given = json.dumps({"apptainer_fleet_config_root": str(tmp_path / NODE), **named(variables)})
        done = processes.run(core / "bin" / "ansible-playbook", "-i", tmp_path / "hosts.yml", tmp_path / "install-pull.yml", "-e", given, *arguments,
                             env=processes.clean_env(tmp_path / "home"))
        return Done(done.returncode, done.stdout + done.stderr)

    return run


def unit(tmp_path, kind):
    return (tmp_path / NODE / UNITS / f"apptainer-fleet-pull.{kind}").read_text()


def setting(text, name):
    """The value of a setting of a unit, its lines joined as systemd.syntax(7) says."""
    (value,) = settings(text, name)
    return value


def settings(text, name):
    return re.findall(rf"^{name}=(.*)$", text.replace("\\\n", " "), re.MULTILINE)


def words(line):
    """A command line as systemd splits it: like a shell's, but for quotes within quotes and doubled characters."""
    return [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(line.replace(r"\'", "'\"'\"'"))]


def tree(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file() and not path.is_symlink()}


@pytest.mark.newest
def test_install_again_and_remove(install, tmp_path):
    foreseen = install("--check", "--diff")
    assert foreseen.changed > 0
    assert not (tmp_path / NODE).exists()
    checkout = tmp_path / NODE / "var" / "lib" / "apptainer-fleet-pull" / "checkout"
    checkout.mkdir(parents=True)
    installed = install(more=[({}, REAL), ({"schedule": "daily"}, CHECK), ({"state": "absent"}, CHECK)])
    assert installed.changes == [3, 0, 1, 1]
    units = tmp_path / NODE / UNITS
    link = units / "timers.target.wants" / "apptainer-fleet-pull.timer"
    assert str(link.readlink()) == "/etc/systemd/system/apptainer-fleet-pull.timer"
    assert [(units / f"apptainer-fleet-pull.{kind}").stat().st_mode & 0o7777 for kind in ("service", "timer")] == [0o644, 0o644]
    assert checkout.exists()
    removed = install(schedule="daily", more=[({"state": "absent"}, REAL), ({"state": "absent"}, REAL), ({"state": "absent"}, CHECK)])
    assert removed.changes == [1, 1, 0, 0]  # the first: check mode has not changed it
    assert list((tmp_path / NODE).rglob("*apptainer-fleet-pull*")) == []


def test_what_the_units_say(install, tmp_path):
    done = install(on_failure="tell@%n.service", verify_commit=True, vault_password_file="/etc/site/vault", host="n17", splay=60, schedule="daily",
                   arguments=["--private-key", "/etc/my keys/$a%b'c"])
    assert done.changed == 3
    service, timer = unit(tmp_path, "service"), unit(tmp_path, "timer")
    assert setting(service, "OnFailure") == "tell@%n.service"
    assert (setting(timer, "RandomizedDelaySec"), setting(timer, "OnCalendar")) == ("60", "daily")
    assert r"'/etc/my keys/$$a%%b\'c'" in service
    fixed = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}", "apptainer_fleet_verify": False,
             "__apptainer_fleet_node_files": {"state": "/var/lib/apptainer-fleet-report/state.json", "prometheus": ""}}
    assert words(setting(service, "ExecStart")) == [
        "/usr/bin/ansible-pull", "--url", "https://git.example.org/site.git", "--checkout", "main", "--clean", "--verify-commit",
        "--directory", "/var/lib/apptainer-fleet-pull/checkout", "--inventory", "inventory", "--limit", "n17",
        "--vault-password-file", "/etc/site/vault", "--extra-vars", json.dumps(fixed), "--private-key", "/etc/my keys/$a%b'c", "site.yml",
    ]


@pytest.mark.newest
def test_systemd_accepts_the_units(install, core, tmp_path):
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("needs systemd-analyze")
    assert install(command=str(core / "bin" / "ansible-pull"), arguments=["-e", "a='$HOME' \"%h\""], on_failure="tell.service").changed == 3
    for kind in ("service", "timer"):
        path = tmp_path / NODE / UNITS / f"apptainer-fleet-pull.{kind}"
        done = processes.run(analyze, "verify", "--man=no", path, env=processes.clean_env(tmp_path / "home"))
        complaints = [line for line in (done.stdout + done.stderr).splitlines() if "apptainer-fleet-pull" in line]
        assert complaints == []
    refused = install(schedule="every full moon")
    assert refused.rc != 0
    assert "Failed to parse" in refused.output


SLIPS = [
    ({"url": "https://ci:hunter2secret@git.example.org/site.git"}, "without a password or token"),
    ({"url": "https://hunter2secret@git.example.org/site.git"}, "without a password or token"),
    ({"url": "ssh://git:hunter2secret@git.example.org/site.git"}, "without a password or token"),
    ({"url": "https://git.example.org/a b.git"}, "must be one word"),
    ({"playbook": "site.yml\nUser=nobody"}, "must be one word"),
    ({"arguments": ["-e", "a\nUser=nobody"]}, "must be one line each"),
    ({"schedule": "daily\nUnit=other.service"}, "must be one line each"),
    ({"directory": "/"}, "at least two levels deep"),
    ({"directory": "/var/../.."}, "at least two levels deep"),
    ({"directory": "/home", "state": "absent"}, "at least two levels deep"),
    ({"state": "gone"}, "must be one of"),
    ({"splay": "soon"}, "splay"),
]


def test_a_slip_is_refused(core, tmp_path):
    """One run for all, each on a host of its own."""
    given = {"url": "https://git.example.org/site.git"}
    hosts = {f"slip{number}": {f"apptainer_fleet_pull_{name}": value for name, value in {**given, **variables}.items()}
             for number, (variables, _message) in enumerate(SLIPS)}
    common = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}",
              "apptainer_fleet_config_root": f"{tmp_path}/root"}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": {**hosts, "nothing": {}}, "vars": common}}))
    role = {"name": "hpc.apptainer.apptainer_fleet", "tasks_from": "pull"}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": [{"ansible.builtin.import_role": role}]}]))
    done = processes.run(core / "bin" / "ansible-playbook", "-i", tmp_path / "hosts.yml", tmp_path / "play.yml",
                         env=processes.clean_env(tmp_path / "home", {"ANSIBLE_CALLBACK_RESULT_FORMAT": "json"}))
    said = dict(re.findall(r"^fatal: \[(\w+)\]: FAILED! => (.*?)(?=^\S)", done.stdout + "\n.", re.MULTILINE | re.DOTALL))
    expected = {**{f"slip{number}": message for number, (_variables, message) in enumerate(SLIPS)}, "nothing": "must be the URL"}
    assert {name: message for name, message in expected.items() if message not in said.get(name, "")} == {}, said
    assert not (tmp_path / "root").exists()
    assert "hunter2secret" not in done.stdout + done.stderr


class Site:
    """The site's repository, as the guide says, for a node that is a directory."""

    def __init__(self, tmp_path, collection):
        self.path, self.home, self.node = tmp_path / "site", tmp_path / "home", tmp_path / NODE
        self.path.mkdir()
        self.git("init", "-q", "-b", "main")
        self.write("site.yml", page_file("site.yml").replace("  become: true\n", ""))
        self.write("inventory/hosts.yml", page_file("inventory/hosts.yml"))
        self.variables = yaml.safe_load(page_file("inventory/group_vars/compute.yml"))
        # A site that also pushes says how: that must not count for those who pull.
        self.variables.update(apptainer_fleet_config_root=str(self.node), ansible_connection="ssh", ansible_python_interpreter="/nonexistent/python")
        self.commit()
        shutil.copytree(collection.parents[2] / "ansible_collections", self.path / "collections" / "ansible_collections")
        self.git("add", "-A")
        self.git("commit", "-qm", "collection")

    def git(self, *arguments):
        env = processes.clean_env(self.home, {"GIT_CONFIG_NOSYSTEM": "1"})
        done = processes.run("git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments, env=env, cwd=self.path)
        assert done.returncode == 0, done.stderr

    def write(self, name, text):
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def commit(self, **variables):
        self.variables.update(variables)
        self.write("inventory/group_vars/compute.yml", yaml.safe_dump(self.variables))
        self.git("add", "-A")
        self.git("commit", "-qm", "change")


@pytest.fixture
def site(tmp_path, installed_collection):
    if shutil.which("git") is None:
        pytest.skip("needs git")
    return Site(tmp_path, installed_collection)


@pytest.fixture
def pull(install, core, tmp_path, site):
    """Install the units, and run what they hold as systemd would: the same command, directory and environment (but for the home)."""

    installed = []

    def run(**variables):
        directory = str(tmp_path / "var" / "pull")
        given = {"host": NODE, "url": f"file://{site.path}", "command": str(core / "bin" / "ansible-pull"), "directory": directory,
                 "report_directory": str(tmp_path / "var" / "report"), "prometheus": str(tmp_path / "node.prom"), **variables}
        if installed != [given]:
            assert install(**given).rc == 0
            installed[:] = [given]
        service = unit(tmp_path, "service")
        env = {"HOME": str(site.home), "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin",
               **dict(word.split("=", 1) for word in words(setting(service, "Environment")))}
        env["INVOCATION_ID"] = uuid.uuid4().hex
        cwd = Path(setting(service, "WorkingDirectory"))
        for line in [*settings(service, "ExecStartPre"), setting(service, "ExecStart")]:
            done = processes.run(*words(line), env=env, cwd=cwd)
            if done.returncode:
                break
        env.update(SERVICE_RESULT="exit-code" if done.returncode else "success", EXIT_STATUS=str(done.returncode))
        after = processes.run(*words(setting(service, "ExecStopPost")), env=env, cwd=cwd)
        assert (after.returncode, after.stderr) == (0, "")
        return Done(done.returncode, done.stdout + done.stderr)

    return run


@pytest.fixture
def reported(core, site, tmp_path):
    """Gather the report of the node, and make the report of it with the inventory of the site. Returns the exit status, and the JSON."""
    (tmp_path / "gathered").mkdir()

    def run():
        file = tmp_path / "var" / "report" / "report.json"
        assert stat.S_IMODE(file.stat().st_mode) == 0o640
        shutil.copy(file, tmp_path / "gathered" / f"{NODE}.json")
        given = {"apptainer_fleet_reports": str(tmp_path / "gathered"), "apptainer_fleet_report_json": str(tmp_path / "all.json"),
                 "apptainer_fleet_report_html": "", "apptainer_fleet_hosts": NODE}
        done = processes.run(core / "bin" / "ansible-playbook", "-i", f"{NODE},", "-e", json.dumps(given), "hpc.apptainer.report_from",
                             env=processes.clean_env(site.home))
        report = json.loads((tmp_path / "all.json").read_text())
        SCHEMA.validate(report)
        NODE_SCHEMA.validate(json.loads(file.read_text()))
        return done.returncode, report

    return run


def test_a_node_pulls_itself_into_state(pull, reported, site, tmp_path):
    global_file = site.node / "etc" / "apptainer" / "remote.yaml"
    first = pull()
    assert first.rc == 0, first.output
    assert first.changed == 1
    assert "library.example.org" in global_file.read_text()
    assert (tmp_path / "var" / "pull").stat().st_mode & 0o7777 == 0o700
    before = global_file.read_bytes(), global_file.stat().st_mtime_ns
    status, report = reported()
    assert (status, report["kind"], report["hosts"][0]["state"], len(report["groups"])) == (0, "rollout", "drifted", 1)
    assert 'apptainer_fleet_hosts{state="changed"} 1\n' in (tmp_path / "node.prom").read_text()
    assert pull().changed == 0
    assert (global_file.read_bytes(), global_file.stat().st_mtime_ns) == before
    status, report = reported()
    (node,) = report["gathered"]["nodes"]
    assert (status, report["hosts"][0]["state"], len(node["commit"])) == (0, "in_state", 40)

    site.commit(apptainer_fleet_remotes=[{"name": "site", "uri": "https://moved.example.org", "exclusive": True}])
    assert pull().changed == 1
    assert "moved.example.org" in global_file.read_text()


@pytest.mark.newest
def test_what_is_wrong_changes_nothing(pull, reported, site, tmp_path):
    assert pull().rc == 0
    good = tree(site.node / "etc" / "apptainer")
    site.commit(apptainer_fleet_remotes=[{"name": "site", "uri": "https://moved.example.org", "exclusiv": True}])
    assert pull().rc != 0
    status, report = reported()
    assert (status, report["hosts"][0]["state"]) == (2, "failed")
    assert "exclusiv" in report["hosts"][0]["reason"]
    site.write("inventory/group_vars/compute.yml", "apptainer_fleet_remotes: [\n")
    site.git("commit", "-qam", "broken")
    assert pull().rc != 0
    site.path.rename(tmp_path / "elsewhere")
    assert pull().rc != 0
    status, report = reported()
    assert (status, report["hosts"][0]["state"]) == (2, "failed")
    assert "the pull ended before the role ran (exit-code, " in report["hosts"][0]["reason"]
    assert f"the role last succeeded on {readable_time(report['gathered']['nodes'][0]['succeeded'])})" in report["hosts"][0]["reason"]
    assert tree(site.node / "etc" / "apptainer") == good


@pytest.mark.newest
def test_a_node_that_nobody_declares(pull, site):
    done = pull(host="node4711")
    assert done.rc != 0
    assert not (site.node / "etc" / "apptainer").exists()


@pytest.mark.newest
def test_vaulted_variables_and_nothing_leaks(pull, site, core, tmp_path):
    """The whole file is vaulted, which the fetch, that has no vault password, must not mind."""
    password = tmp_path / "vault_password"
    password.write_text(VAULT_PASSWORD)
    password.chmod(0o600)
    site.write("inventory/group_vars/all.yml", yaml.safe_dump({"vault_token": TOKEN, "vault_uri": "https://vaulted.example.org"}))
    done = processes.run(core / "bin" / "ansible-vault", "encrypt", "--vault-password-file", password, site.path / "inventory/group_vars/all.yml",
                         env=processes.clean_env(site.home))
    assert done.returncode == 0, done.stderr
    site.commit(apptainer_fleet_remotes=[{"name": "site", "uri": "{{ vault_uri }}"}], unused="{{ vault_token }}")
    # The second time, the checkout with the vaulted file is there when it is fetched.
    with leaks.watched_processes(interval=0.02) as seen:
        runs = [pull(vault_password_file=str(password), arguments=["--diff", "-vvv"]) for _again in range(2)]
    assert [done.changed for done in runs] == [1, 0], runs
    assert "vaulted.example.org" in (site.node / "etc" / "apptainer" / "remote.yaml").read_text()
    wanted = leaks.forms("root", TOKEN) | leaks.forms("root", VAULT_PASSWORD)
    left = [path.read_text() for path in (tmp_path / "var" / "report").iterdir()]
    assert len(left) == 2
    assert leaks.leaked([unit(tmp_path, "service"), *left, *(done.output for done in runs), *seen], wanted) == []
