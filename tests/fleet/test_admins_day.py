# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""docs/admins-day.md, from the first command to the last, on ssh hosts and with real servers: each output is what the page shows."""

import re

import pytest
import yaml
from support import envs, leaks, processes, transcripts

PAGE = envs.ROOT / "docs" / "admins-day.md"
COUNT = 6
FOUND = """\
Active: site
Remotes:
    DefaultRemote:
        URI: cloud.apptainer.org
        System: true
        Exclusive: false
    site:
        URI: library.example.org
        System: true
        Exclusive: false
"""
SHADOW = "Active: site\nRemotes:\n    site:\n        URI: elsewhere.example.org\n        System: false\n        Exclusive: false\n"


class Day:
    """A directory of the admin, in which the page's names stand for servers of this machine, and its programs are those of an environment."""

    def __init__(self, path, fleet, collection, core, names):
        self.path = path / "admin"
        self.names = names
        self.collection = collection
        (self.path / "inventory" / "group_vars" / "all").mkdir(parents=True)
        self.status = 0
        (path / "bin").mkdir()
        self.env = processes.clean_env(path / "home", {
            "ANSIBLE_CONFIG": self.path / "ansible.cfg", "ANSIBLE_REMOTE_TEMP": "~/.ansible/tmp", "COLUMNS": 160})
        self.env["PATH"] = f"{path / 'bin'}:{core / 'bin'}:{self.env['PATH']}"

    def here(self, text):
        """A text of the page, with what the names stand for."""
        for name, actual in self.names.items():
            text = text.replace(name, actual)
        return text

    def page(self, text):
        """A text of here, as the page has it."""
        for name, actual in self.names.items():
            text = text.replace(actual, name)
        return text

    def write(self, name, text):
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).write_text(self.here(text))

    def run(self, command):
        """The output of a command, as the page would show it. `$?` is the status of the last one."""
        command = command.replace("collection install hpc.apptainer", f"collection install --offline {self.collection}")
        done = processes.run("bash", "-c", f"(exit {self.status}); {self.here(command)}", env=self.env, cwd=self.path)
        self.status = done.returncode
        return self.page(done.stdout + done.stderr)


@pytest.fixture
def day(tmp_path, fleet, library, keyserver, registry_basic, collection_tarball):
    names = {
        "https://library.example.org": f"https://{library.uri('good')}",
        "https://staging.example.org": f"https://{library.uri('good', 'soon')}",
        "https://keys.example.org": keyserver.open,
        "docker://registry.example.org": f"docker://{registry_basic.host}",
    }
    names |= {name.partition("//")[2]: actual.partition("//")[2] for name, actual in names.items()}
    made = Day(tmp_path, fleet, collection_tarball, envs.core("running"), names)
    hosts = [f"node{number}" for number in range(1, COUNT + 1)]
    known = yaml.safe_load(fleet.inventory.read_text())["all"]
    ssh = {"all": {"hosts": {name: known["hosts"][name] for name in hosts}, "vars": {
        **known["vars"], "apptainer_fleet_ca_path": str(library.ca)}}}
    made.write("inventory/zz-ssh.yml", yaml.safe_dump(ssh))  # what the page's reader has in ~/.ssh/config
    made.write("vault-password", "the-vault-pa55word\n")
    made.write("inventory/group_vars/all/vault.yml", yaml.safe_dump({"vault_registry_password": registry_basic.account.password}))
    for name in hosts:
        fleet[name].write("/etc/apptainer/remote.yaml", made.here(FOUND.replace("Active: site", "Active: DefaultRemote") if name == "node6" else FOUND))
    fleet["node2"].write("/home/alice/.apptainer/remote.yaml", SHADOW, mode=0o600, owner="alice")
    fleet["node2"].run("chown -R alice: /home/alice/.apptainer && chmod 700 /home/alice/.apptainer")
    options = " ".join(["-p", str(known["vars"]["ansible_port"]), "-i", known["vars"]["ansible_ssh_private_key_file"], known["vars"]["ansible_ssh_args"]])
    config = "".join(f"{name}) host={known['hosts'][name]['ansible_host']};; " for name in hosts)
    program = tmp_path / "bin" / "ssh"
    program.write_text(f'#!/bin/sh\ncase $1 in root@*) name=${{1#root@}};; *) exec /usr/bin/ssh "$@";; esac\nshift\n'
                       f'case $name in {config} esac\nexec /usr/bin/ssh {options} root@$host "$@"\n')
    program.chmod(0o755)
    return made


def test_the_whole_day(day, registry_basic):
    outputs = []
    ended = []
    for step in transcripts.steps(PAGE):
        if step.file:
            day.write(step.file, step.text)
            continue
        output = day.run(step.command)
        outputs.append(f"$ {step.command}\n{output}")
    open("/tmp/w/p/out/day.txt", "w").write("\n".join(outputs))
