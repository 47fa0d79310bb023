# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The guide "A day with the collection", from the first command to the last, on ssh hosts and with real servers: each output is what the page shows."""

import re

import pytest
import yaml
from support import envs, leaks, pages, processes, transcripts
from support.servers import daemons

PAGE = pages.guide("guide_day")
HOSTS = [f"node{number}" for number in range(1, 7)]
USUAL = """\
Active: site
Remotes:
    DefaultRemote:
        URI: cloud.apptainer.org
        System: true
        Exclusive: false
    site:
        URI: //library.example.org
        System: true
        Exclusive: false
"""
ODD = USUAL.replace("Active: site", "Active: DefaultRemote")
SHADOW = "Active: site\nRemotes:\n    site:\n        URI: elsewhere.example.org\n        System: false\n        Exclusive: false\n"
SSH = """\
#!/bin/sh
case $1 in {case} *) exec {ssh} "$@";; esac
shift
exec {ssh} -p {port} -i {key} {options} root@$host "$@"
"""
# Dates, and the version of the collection.
CHANGING = re.compile(r"\d{4}-\d\d-\d\d|(?<=hpc\.apptainer:)[\d.]+\b")


class Day:
    """A directory of the admin. There, the names of the page's servers stand for servers of this machine, and its programs are those of an environment."""

    def __init__(self, path, core, collection, names):
        self.path, self.names, self.collection = path / "admin", names, collection
        self.status = 0
        self.path.mkdir()
        self.env = processes.clean_env(path / "home", {"ANSIBLE_CONFIG": self.path / "ansible.cfg", "ANSIBLE_REMOTE_TEMP": "~/.ansible/tmp"})
        self.env["PATH"] = f"{path / 'bin'}:{core / 'bin'}:{self.env['PATH']}"

    def write(self, name, text):
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).write_text(self.here(text))

    def run(self, command):
        """The output of a command, as the page would show it. `$?` is the status of the last one. (Galaxy has no build of this checkout.)"""
        command = self.here(command).replace("install hpc.apptainer", f"install --offline {self.collection}")
        done = processes.run("bash", "-c", f"(exit {self.status}); {command}", env=self.env, cwd=self.path)
        self.status = done.returncode
        return self.as_shown(done.stdout + done.stderr)

    def here(self, text):
        for name, actual in self.names.items():
            text = text.replace(name, actual)
        return text.replace("/srv/ansible", str(self.path))

    def as_shown(self, text):
        text = text.replace(str(self.path), "/srv/ansible")
        for name, actual in self.names.items():
            text = text.replace(f"https://{actual}", f"https://{name}").replace(f"//{actual}", name)
        for name, actual in self.names.items():  # what is said of a whole server
            text = text.replace(actual.partition("/")[0], name)
        return text


@pytest.fixture
def day(tmp_path, fleet, library, keyserver, registry_basic, collection_tarball):
    made = Day(tmp_path, envs.core("running"), collection_tarball, {
        "library.example.org": library.uri("good"),
        "staging.example.org": library.uri("good", "soon"),
        "keys.example.org": keyserver.open.partition("//")[2],
        "registry.example.org": registry_basic.host,
    })
    known = yaml.safe_load(fleet.inventory.read_text())["all"]
    hosts = {name: known["hosts"][name] for name in HOSTS}
    # What the page's reader has in ~/.ssh/config and in the system's store of certificates.
    made.write("inventory/ours.yml", yaml.safe_dump({"all": {"hosts": hosts, "vars": {**known["vars"], "apptainer_fleet_ca_path": str(library.ca)}}}))
    made.write("vault-password", "the-vault-pa55word\n")
    made.write("inventory/group_vars/all/vault.yml", yaml.safe_dump({"vault_registry_password": registry_basic.account.password}))
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "ssh"
    case = " ".join(f"root@{name}) host={host['ansible_host']};;" for name, host in hosts.items())
    program.write_text(SSH.format(ssh=daemons.program("ssh"), port=known["vars"]["ansible_port"], key=known["vars"]["ansible_ssh_private_key_file"],
                                  options=known["vars"]["ansible_ssh_args"], case=case))
    program.chmod(0o755)
    for name in HOSTS:
        fleet[name].write("/etc/apptainer/remote.yaml", made.here(ODD if name == HOSTS[-1] else USUAL))
    fleet["node2"].write("/home/alice/.apptainer/remote.yaml", SHADOW, mode=0o600, owner="alice")
    fleet["node2"].run("chown -R alice: /home/alice/.apptainer && chmod 700 /home/alice/.apptainer")
    return made


def test_the_whole_day(day, registry_basic):
    todo = list(transcripts.steps(PAGE))
    outputs = []
    for step, following in zip(todo, [*todo[1:], None], strict=True):
        if step.file:
            day.write(step.file, step.text)
            continue
        output = day.run(step.command)
        outputs.append(output)
        lacking = transcripts.missing(CHANGING.sub("_", step.text or ""), CHANGING.sub("_", output))
        assert lacking is None, f"$ {step.command}\n{output}\n\nThis is not what the page shows:\n{lacking}"
        assert day.status == 0 or following.command == "echo $?", f"$ {step.command}\n{output}"
    assert leaks.leaked(outputs, leaks.forms("alice", registry_basic.account.password)) == []
