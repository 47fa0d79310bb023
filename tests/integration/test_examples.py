# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every example in the documentation runs, with the files of a scratch directory in place of the node's."""

from __future__ import annotations

import getpass
import importlib
import json
import re

import pytest
import yaml
from support import envs, processes

MODULES = sorted(path.stem for path in (envs.ROOT / "plugins" / "modules").glob("apptainer_*.py"))
PAGES = ["README.md", "docs/guide.md", "docs/coming-from.md", "roles/apptainer_fleet/README.md"]  # docs/pull.md and docs/awx.md have tests of their own


# What the examples take for granted: the endpoints are there. (Nobody listens where the servers that are asked should be.)
GLOBAL = """\
Active: site
Remotes:
    DefaultRemote: {URI: cloud.apptainer.org, System: true}
    site: {URI: library.example.org, System: true}
"""
GLOBAL_FILES = {
    "apptainer_remote": "",
    "apptainer_remotes": "",
    "apptainer_remote_info": "Active: site\nRemotes: {site: {URI: //localhost:1, System: true, Exclusive: true}}\n",
}


def module(name):
    return importlib.import_module(f"ansible_collections.hpc.apptainer.plugins.modules.{name}")


# What can only fail here, and how: nobody listens where the servers should be, and there is no host of a fleet.
FAILING = {"apptainer_verify": "cannot be resolved", "apptainer_fleet_outcome": "No host was checked"}
SECRETS = re.compile(r"\bvault_\w+")


def blocks(page):
    return [yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```", (envs.ROOT / page).read_text(), re.MULTILINE | re.DOTALL)]


@pytest.fixture
def play(tmp_path, quick_python):
    """Run plays on `localhost`, as the user who runs the tests."""
    for name in ("etc/apptainer", "images/compute", "var/www/html", "var/lib/prometheus/node-exporter"):
        (tmp_path / name).mkdir(parents=True)

    core = envs.core("running")
    python = quick_python(core)

    def run(plays):
        for entry in plays:
            # the examples' servers don't exist, so nothing can be verified
            entry["module_defaults"] = {"group/hpc.apptainer.apptainer": {"sysconfdir": str(tmp_path / "etc"), "verify": "never"}}
        text = json.dumps(plays).replace("/srv/images", f"{tmp_path}/images").replace('"/var/', f'"{tmp_path}/var/').replace("login1", "localhost")
        # the account of the examples is the one that runs the tests, with its files elsewhere
        account = json.dumps({"user": getpass.getuser(), "config_file": str(tmp_path / "account" / "remote.yaml")}).strip("{}")
        text = text.replace('"user": "ci"', account)
        (tmp_path / "play.json").write_text(text)
        variables = {"apptainer_fleet_sysconfdir": str(tmp_path / "etc"), "ansible_python_interpreter": str(python),
                     "ansible_become": False, "apptainer_fleet_verify": False,
                     **dict.fromkeys(SECRETS.findall(text), "x" * 200)}
        done = processes.run(core / "bin" / "ansible-playbook", "-i", "localhost,", "-c", "local", "-e", json.dumps(variables),
                             tmp_path / "play.json", env=processes.clean_env(tmp_path / "home"))
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_a_module(play, tmp_path, name):
    (tmp_path / "etc" / "apptainer" / "remote.yaml").write_text(GLOBAL_FILES.get(name, GLOBAL))
    plays = yaml.safe_load(module(name).EXAMPLES)
    if "hosts" not in plays[0]:
        assert all(any(word.startswith(("hpc.apptainer.", "ansible.builtin.")) for word in task) for task in plays)
        plays = [{"gather_facts": False, "tasks": plays}]
    for entry in plays:
        entry["hosts"] = "localhost"
    if name in FAILING:
        plays[0]["ignore_errors"] = True
    if name == "apptainer_fleet_verify":
        plays[0]["vars"] = {"apptainer_fleet_remotes": [{"name": "site", "uri": "https://library.example.org"}]}
    said = play(plays)
    assert FAILING.get(name, "") in said


@pytest.mark.parametrize("page", PAGES)
def test_examples_of_a_page(play, tmp_path, page):
    """A block of a page is a play, the variables of the role, its endpoints, or tasks; they build on each other."""
    found = blocks(page)
    assert found
    for block in found:
        if isinstance(block, dict):
            block = [{"hosts": "localhost", "gather_facts": False, "vars": block, "roles": ["hpc.apptainer.apptainer_fleet"]}]
        elif "hosts" in block[0]:
            block[0]["hosts"] = "localhost"
            block[0].setdefault("vars", {"apptainer_fleet_remotes": [{"name": "site", "uri": "https://library.example.org"}]})
        elif "name" in block[0]:
            variables = {"apptainer_fleet_remotes": block}
            block = [{"hosts": "localhost", "gather_facts": False, "vars": variables, "roles": ["hpc.apptainer.apptainer_fleet"]}]
        else:
            block = [{"hosts": "localhost", "gather_facts": False, "tasks": block}]
        play(block)
