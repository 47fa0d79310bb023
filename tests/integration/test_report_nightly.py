# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The guide "Looking for drift every night": the line for cron and the units for systemd, run as cron and systemd run them, whatever goes wrong.

Neither of the two runs here. So the words of both are taken from the page, and started in the directory and with the environment that cron and
systemd give them. cron mails what a job prints; systemd starts the unit in OnFailure= if the status is not 0.
"""

from __future__ import annotations

import configparser
import os
import re
import resource
import shlex
import shutil
import stat
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from ansible_collections.hpc.apptainer.plugins.plugin_utils._health import Health
from ansible_collections.hpc.apptainer.plugins.plugin_utils._prometheus import exposition
from ansible_collections.hpc.apptainer.plugins.plugin_utils._report import build_report
from support import envs, pages, processes

PAGE = pages.guide("guide_nightly")
GOOD = "Active: site\nRemotes:\n    site:\n        URI: library.example.org\n        System: true\n        Exclusive: true\n"
PROGRAM = "/usr/bin/ansible-playbook"
# What `ansible-vault encrypt` makes of "vault_site_token: t0ken" with the password below.
VAULT_PASSWORD = "the-vault-pa55word"
VAULTED = """\
$ANSIBLE_VAULT;1.1;AES256
31653665643339336132396432666632633361643162343231336639373130373635623264616465
3465623537613530636262303066333938646230306635380a383830326334326231386663653737
64393334636464626231623334323962326336646434666361333836303331633532393933343434
6463653537616632650a353535333631396136393330366133646339373963396636396265633432
34656631303034653730393031333832306163663962663032326337383663373861
"""


def page_file(name):
    """A file as the page shows it, with its path in the first line."""
    return pages.file(PAGE, name)


def unit(name):
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str
    parser.read_string(page_file(name))
    return parser


class Job(NamedTuple):
    """How a job that somebody started for the night ended: whether that makes a mail, and what is in it."""

    mails: bool
    text: str


class Site:
    """A controller as the page says, in a directory, with one host that is another directory."""

    def __init__(self, tmp_path, environment, collection, python):
        self.path, self.home, self.host = tmp_path / "srv" / "ansible", tmp_path / "home", tmp_path / "node1"
        self.program, self.preparation = environment / "bin" / "ansible-playbook", None
        for directory in (self.path / "inventory" / "group_vars" / "all", self.home, self.host / "etc" / "apptainer", tmp_path / "var"):
            directory.mkdir(parents=True, exist_ok=True)
        self.write("ansible.cfg", page_file("ansible.cfg").replace("/srv/ansible/collections", str(collection.parents[2])))
        self.write("vault-password", f"{VAULT_PASSWORD}\n")
        self.write("inventory/group_vars/all/report.yml", page_file("report.yml").replace("/var/www/html", str(tmp_path / "var")).replace(
            "/var/lib/prometheus/node-exporter", str(tmp_path / "var")))
        self.write("inventory/group_vars/all/remotes.yml", yaml.safe_dump({
            "apptainer_fleet_prune": True, "apptainer_fleet_remotes": [{"name": "site", "uri": "https://library.example.org", "exclusive": True}]}))
        self.write("inventory/hosts.yml", yaml.safe_dump({"all": {"hosts": {"node1": {
            "ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": str(python),
            "apptainer_fleet_config_root": str(self.host)}}}}))
        self.file = self.host / "etc" / "apptainer" / "remote.yaml"
        self.file.write_text(GOOD)
        self.file.chmod(0o644)
        self.write("inventory/group_vars/all/vault.yml", VAULTED)

    def write(self, name, text):
        (self.path / name).write_text(text.replace("/srv/ansible", str(self.path)))
        (self.path / name).chmod(0o600)

    def here(self, text):
        assert PROGRAM in text or "/srv/ansible" in text
        return text.replace(PROGRAM, str(self.program)).replace("/srv/ansible", str(self.path))

    def run(self, words, directory, path):
        """What a job's environment has: nothing of ours."""
        env = {"HOME": str(self.home), "LOGNAME": "fleet", "USER": "fleet", "SHELL": "/bin/sh", "PATH": path}
        return subprocess.run(words, cwd=directory, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False, preexec_fn=self.preparation)

    def cron(self):
        """Source: crontab(5): the command goes to /bin/sh, in the home directory; a % would be a line break."""
        mailto, line = page_file("apptainer-drift").splitlines()
        schedule, account, command = re.fullmatch(r"((?:[0-9*]+ ){5})(\w+) (.*)", line).groups()
        assert (mailto.partition("=")[0], account, "%" in command, len(schedule.split())) == ("MAILTO", "fleet", False, 5)
        done = self.run(["/bin/sh", "-c", self.here(command)], self.home, "/usr/bin:/bin")
        return Job(bool(done.stdout), done.stdout)

    def systemd(self):
        """Source: systemd.exec(5): a directory or program that is not there makes the unit fail, as does any other status than 0."""
        service = unit("apptainer-drift.service")
        assert service["Unit"]["OnFailure"] == "apptainer-drift-failed.service"
        words = shlex.split(self.here(service["Service"]["ExecStart"]))
        directory = Path(self.here(service["Service"]["WorkingDirectory"]))
        if not directory.is_dir() or not os.access(words[0], os.X_OK):
            return Job(mails=True, text="Failed at step CHDIR or EXEC")
        done = self.run(words, directory, "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        return Job(done.returncode != 0, done.stdout)


@pytest.fixture(params=[envs.OLD_CORE, "newest"])
def site(request, tmp_path, installed_collection, quick_python):
    try:
        environment = envs.core(request.param)
    except envs.MissingInterpreterError as exc:
        pytest.skip(str(exc))
    return Site(tmp_path, environment, installed_collection, quick_python(environment))


def stub(site, text):
    site.program = site.home / "ansible-playbook"
    site.program.write_text(f"#!/bin/sh\n{text}\n")
    site.program.chmod(0o755)


def full_disk(site):
    """What comes next to a full disk everywhere: no file may grow."""
    site.preparation = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


DRIFT = "Drift on 1 host (node1): global: remote.yaml: endpoint site: exclusive is false, should be true"
# What goes wrong, and what must be in the mail. For the job of cron, the shell says with which status Ansible ended; so where that is not 0, systemd's
# job, which runs the same command, needs to be run only where something else than Ansible fails.
SITUATIONS = {
    "drift": (lambda site: site.file.write_text(GOOD.replace("Exclusive: true", "Exclusive: false")), DRIFT),
    "no such program": (lambda site: setattr(site, "program", site.home / "ansible-playbook"), ""),
    "no such directory": (lambda site: shutil.rmtree(site.path), ""),
    "no such collection": (lambda site: site.write("ansible.cfg", page_file("ansible.cfg")), "hpc.apptainer.drift"),
    "no vault password": (lambda site: (site.path / "vault-password").unlink(), "vault-password"),
    "wrong vault password": (lambda site: site.write("vault-password", "another\n"), "ecrypt"),
    "a slip in YAML": (lambda site: site.write("inventory/group_vars/all/remotes.yml", "apptainer_fleet_remotes:\n- name: [\n"), "YAML"),
    "a slip in ansible.cfg": (lambda site: site.write("ansible.cfg", "forks = 50\n"), "ansible.cfg"),
    "no inventory": (lambda site: shutil.rmtree(site.path / "inventory"), "No host was checked"),
    "a misspelt variable": (lambda site: site.write("inventory/group_vars/all/remotes.yml", "apptainer_fleet_remote: []\n"),
                            "apptainer_fleet_remotes"),
    "nothing declared": (lambda site: site.write("inventory/group_vars/all/remotes.yml", "a: 1\n"), "Nothing is declared for any host"),
    "killed": (lambda site: stub(site, "kill -9 $$"), ""),
    "an error that says nothing": (lambda site: stub(site, "exit 1"), ""),
    "the disk is full": (full_disk, ""),
}


OF_ANSIBLE = {"no such collection", "wrong vault password", "a slip in YAML", "a slip in ansible.cfg", "no inventory", "nothing declared"}


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name == "a misspelt variable" else pytest.mark.newest) for name in SITUATIONS])
def test_what_goes_wrong_makes_a_mail(site, name):
    prepare, said = SITUATIONS[name]
    prepare(site)
    job = site.cron()
    assert job.mails, job.text
    assert said in " ".join(job.text.split())
    if name in OF_ANSIBLE:
        assert re.match(r"Exit status [1-9]", job.text), job.text
        return
    job = site.systemd()
    assert job.mails, job.text
    assert said in " ".join(job.text.split())


def test_all_is_well_makes_no_mail(site):
    for job in (site.cron(), site.systemd()):
        assert not job.mails, job.text
    assert (site.path / "drift.log").read_text()
    assert stat.S_IMODE((site.path / "apptainer-drift.json").stat().st_mode) == 0o640


@pytest.mark.newest
def test_a_log_that_cannot_be_written_makes_a_mail(site):
    (site.path / "drift.log").mkdir()
    assert "drift.log" in site.cron().text


@pytest.mark.newest
def test_a_job_that_hangs_makes_a_mail(site):
    stub(site, "echo working; exec sleep 600")
    line = page_file("apptainer-drift")
    assert line.count("timeout 6h ") == unit("apptainer-drift.service")["Service"]["TimeoutStartSec"].count("6h") == 1
    command = line.splitlines()[1].partition(" fleet ")[2].replace("timeout 6h", "timeout 0.5")
    assert site.run(["/bin/sh", "-c", site.here(command)], site.home, "/usr/bin:/bin").stdout == "Exit status 124\nworking\n"


def test_the_unit_that_mails(tmp_path):
    """With programs in place of journalctl and mail that say how they were called."""
    for name, text in (("journalctl", 'echo "journal: $*"'), ("mail", 'echo "mail: $*"; cat')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    words = shlex.split(unit("apptainer-drift-failed.service")["Service"]["ExecStart"].replace("%H", "head1"))
    done = subprocess.run(words, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=True)
    assert done.stdout == ("mail: -s Apptainer drift, seen from head1 hpc-admins@example.org\n"
                           "journal: --unit=apptainer-drift.service --since=-7h --output=cat\n")


def test_systemd_accepts_the_units(tmp_path):
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("needs systemd-analyze")
    names = ["apptainer-drift.service", "apptainer-drift.timer", "apptainer-drift-failed.service"]
    for name in names:
        (tmp_path / name).write_text(page_file(name).replace(PROGRAM, "/bin/true"))
    done = processes.run(analyze, "verify", "--man=no", *(tmp_path / name for name in names), env=processes.clean_env(tmp_path / "home"))
    assert [line for line in (done.stdout + done.stderr).splitlines() if "apptainer-drift" in line] == []


def test_the_alerts_are_on_metrics_that_exist():
    rules = [rule for group in yaml.safe_load(page_file("apptainer-drift.rules.yml"))["groups"] for rule in group["rules"]]
    known = set(re.findall(r"^# TYPE (\S+)", exposition(build_report("", "", [], health=Health("", ())), 1), re.MULTILINE))
    used = {name for rule in rules for name in re.findall(r"apptainer_\w+", rule["expr"])}
    assert len(rules) == 7
    assert used <= known
    assert any("26 * 3600" in rule["expr"] for rule in rules)  # as long as the page waits before it says that it is stale
