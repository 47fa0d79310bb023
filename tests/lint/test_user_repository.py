# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A site's own repository that uses the collection: linters and Ansible have nothing to say of it that comes from the collection."""

from __future__ import annotations

import re
import sys
from importlib import resources
from pathlib import Path

import pytest
import yaml
from support import envs, processes

BIN = Path(sys.executable).parent
PLAYBOOKS = sorted(path.stem for path in (envs.ROOT / "playbooks").glob("*.yml"))
FILES = {
    "ansible.cfg": "[defaults]\ninventory = inventory.yml\ncollections_path = .\n",
    "requirements.yml": {"collections": [{"name": "hpc.apptainer", "version": ">=1.0.0,<2.0.0"}]},
    "inventory.yml": {"compute": {"hosts": {"n[1:3]": None}}},
    "group_vars/all.yml": {
        "apptainer_fleet_canaries": ["n1"],
        "apptainer_fleet_batches": ["10%", "100%"],
        "apptainer_fleet_report_html": "/var/www/html/drift.html",
        "apptainer_fleet_remotes": [{"name": "site", "uri": "https://library.example.org", "exclusive": True}],
        "apptainer_fleet_logins": [{"user": "ci", "user_host": "n1", "registries": [
            {"uri": "docker://registry.example.org", "username": "ci", "password": "{{ vault_registry_password }}"}]}],
    },
    "group_vars/compute.yml": {"apptainer_fleet_group_remotes": [{"name": "site", "default": True}]},
    "site.yml": [{"name": "Roll out", "ansible.builtin.import_playbook": "hpc.apptainer.rollout"}],
    **{f"{name}.yml": [{"name": f"Run {name}", "ansible.builtin.import_playbook": f"hpc.apptainer.{name}"}] for name in PLAYBOOKS if name != "rollout"},
    "role.yml": [{"name": "Configure Apptainer", "hosts": "compute", "become": True, "gather_facts": False, "roles": ["hpc.apptainer.apptainer_fleet"]}],
}
# What ansible-lint says in any repository with a requirements.yml, and at the end.
ITS_OWN = re.compile(r"WARNING  Skipped installing collection dependencies due to running in offline mode\.|Passed: 0 failure\(s\), 0 warning\(s\) .*")


class Dumper(yaml.SafeDumper):
    """As ansible-lint wants YAML: lists are indented."""

    def increase_indent(self, flow=False, indentless=False):
        super().increase_indent(flow, False)


@pytest.fixture
def repository(installed_collection, tmp_path):
    """`repository(program, *arguments)` runs a program of the tests' environment in a repository that has the collection in it, as AWX wants that."""
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content if isinstance(content, str) else yaml.dump(content, Dumper=Dumper, explicit_start=True, sort_keys=False))
    env = processes.clean_env(tmp_path / "home", {"ANSIBLE_CONFIG": tmp_path / "ansible.cfg", "NO_COLOR": "1"})
    env["PATH"] = f"{BIN}:{env['PATH']}"

    def run(program, *arguments):
        return processes.run(BIN / program, *arguments, env=env, cwd=tmp_path)

    return run


def test_ansible_lint_says_nothing(repository):
    """Without a profile it has all its rules, and it lints the collection too."""
    done = repository("ansible-lint", "--offline")
    said = "\n".join(line for line in (done.stdout + done.stderr).splitlines() if line.strip() and not ITS_OWN.fullmatch(line))
    assert (said, done.returncode) == ("", 0)


def test_ansible_says_nothing(repository):
    playbooks = [name for name, content in FILES.items() if isinstance(content, list)]
    done = repository("ansible-playbook", "--syntax-check", *playbooks)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, [word for name in playbooks for word in ("playbook:", name)], "")
    done = repository("ansible-inventory", "--list")
    assert (done.returncode, done.stderr) == (0, "")


# As in community.dns and others.
COMMUNITY = """\
extends: default
rules:
  braces: {max-spaces-inside: 1}
  comments: {min-spaces-from-content: 1}
  comments-indentation: false
  document-start: disable
  indentation: {spaces: 2, indent-sequences: true}
  line-length: disable
  octal-values: {forbid-implicit-octal: true, forbid-explicit-octal: true}
"""
CONFIGURATIONS = {
    "relaxed": "extends: relaxed\nrules: {line-length: disable}\n",
    "ansible-lint's own": (resources.files("ansiblelint") / "data" / ".yamllint").read_text(),
    "community collections'": COMMUNITY,
}


@pytest.mark.parametrize("configuration", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_yamllint_as_others_run_it(configuration, tmp_path):
    done = processes.run(BIN / "yamllint", "--strict", "-d", configuration, "changelogs", "galaxy.yml", "meta", "playbooks", "roles",
                         env=processes.clean_env(tmp_path))
    assert (done.returncode, done.stdout) == (0, "")
