# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Defaults of the action group: what all its members share works with each of them."""

from __future__ import annotations

import functools
import importlib
import re

import yaml
from support import envs
from support.specs import MODULES, module, spec

RUNTIME = (envs.ROOT / "meta" / "runtime.yml").read_text()
MEMBERS = yaml.safe_load(RUNTIME)["action_groups"]["apptainer"]
FRAGMENT = importlib.import_module("ansible_collections.hpc.apptainer.plugins.doc_fragments._attributes").ModuleDocFragment.ACTIONGROUP
OUTSIDE = set(MODULES) - set(MEMBERS)

# What makes each member run; the endpoint "site" is there.
TASKS = {
    "apptainer_remote": {"scope": "global", "name": "new", "uri": "https://new.example.org"},
    "apptainer_remotes": {"scope": "global", "remotes": [{"name": "other", "uri": "https://other.example.org", "services": ["library"]}]},
    "apptainer_keyserver": {"remote": "site", "uri": "https://keys.example.org", "builtin_uri": "https://own.example.org"},
    "apptainer_keyserver_login": {"uri": "https://keys.example.org", "password": "p"},
    "apptainer_registry_login": {"uri": "docker://registry.example.org", "username": "u", "password": "p"},
    "apptainer_logins": {"remotes": [{"name": "site", "token": "t"}]},
    "apptainer_remote_info": {},
}
OF_A_USER = ("apptainer_keyserver_login", "apptainer_registry_login", "apptainer_logins", "apptainer_remote_info")


def shared():
    """The options that all members have. config_file is not the same file for all, and the documentation says so."""
    return functools.reduce(set.__and__, (set(spec(name)) for name in MEMBERS)) - {"config_file"}


def test_the_documentation_lists_what_members_share():
    said = yaml.safe_load(FRAGMENT)["attributes"]["action_group"]["details"]
    assert set(re.findall(r"O\((\w+)\)", said[0])) == shared() != set()
    assert "O(config_file)" in said[1]
    assert all(name in RUNTIME.partition("group.\n")[0] for name in shared())
    assert all(spec(name)["config_file"] for name in MEMBERS)


def test_members_are_documented_as_such_and_others_have_a_reason():
    documented = {name for name in MODULES if "hpc.apptainer._attributes.actiongroup" in module(name).DOCUMENTATION}
    assert documented == set(MEMBERS)
    comment = "".join(line for line in RUNTIME.splitlines() if line.lstrip().startswith("#"))
    assert set(re.findall(r"\bapptainer_\w+", comment)) == OUTSIDE
    assert [name for name in OUTSIDE if shared() <= set(spec(name))] == []


def test_each_shared_option_can_be_a_default_of_the_group(play, tmp_path):
    """All of them at once, none with its own default. Whoever asked a server would fail: these files are not there."""
    etc, user = tmp_path / "etc" / "singularity" / "remote.yaml", tmp_path / "user" / "remote.yaml"
    etc.parent.mkdir(parents=True)
    etc.write_text("Active: site\nRemotes: {site: {URI: site.example.org, System: true}}")
    defaults = {"flavor": "singularity", "sysconfdir": str(tmp_path / "etc"), "timeout": 4, "validate_certs": False, "verify": "never",
                **{name: str(tmp_path / "none") for name in ("ca_path", "client_cert", "client_key")}}
    assert set(defaults) == shared()
    assert set(TASKS) == set(MEMBERS)
    # SingularityCE's home is that of the user database
    tasks = [{f"hpc.apptainer.{name}": {**options, **({"config_file": str(user)} if name in OF_A_USER else {})}, "register": name}
             for name, options in TASKS.items()]
    asserted = [f"{name} is {'changed' if name != 'apptainer_remote_info' else 'not changed'}" for name in TASKS]
    asserted += ["apptainer_remote_info.effective.remotes | map(attribute='name') == ['new', 'other', 'site']",
                 "apptainer_remote_info.logins | map(attribute='name') | sort == ['https://keys.example.org', 'registry.example.org', 'site']"]
    done = play([{"hosts": "n1", "gather_facts": False, "module_defaults": {"group/hpc.apptainer.apptainer": defaults},
                  "tasks": [*tasks, {"ansible.builtin.assert": {"that": asserted}}]}])
    assert done.rc == 0, done.output
