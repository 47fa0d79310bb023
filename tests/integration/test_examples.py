# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every example in the documentation runs, with the files of a scratch directory in place of the node's. Some pages have tests of their own."""

from __future__ import annotations

import getpass
import importlib
import json
import re

import pytest
import yaml
from support import envs, pages, processes, transcripts

MODULES = sorted(path.stem for path in (envs.ROOT / "plugins" / "modules").glob("apptainer_*.py"))
READMES = ["README.md", "roles/apptainer_fleet/README.md"]
OF_OTHER_TESTS = ["guide_awx", "guide_day", "guide_nightly", "guide_other_tools", "guide_pull"]
# What other tests run: besides all commands of guide_day (test_admins_day.py), make itself (test_documentation.py) and test_show_and_adopt.py.
RUN_ELSEWHERE = {"make demo", "make test", "ansible-playbook -i apptainer-adopted hpc.apptainer.drift"}
# All other commands, with the exit status and what they say. (Nobody listens where the servers that are asked should be.)
INFO = "-m hpc.apptainer.apptainer_remote_info"
COMMANDS = {
    "ansible-galaxy collection install -r requirements.yml": (0, "was installed successfully"),
    "ansible-galaxy collection install --upgrade hpc.apptainer": (0, "was installed successfully"),
    "ansible-playbook hpc.apptainer.rollout --check --diff --limit node1": (0, "+    site:"),
    "ANSIBLE_STDOUT_CALLBACK=hpc.apptainer.fleet ansible-playbook hpc.apptainer.rollout": (0, "In all batches, 2 hosts: 2 changed"),
    "ansible-playbook hpc.apptainer.show -e apptainer_fleet_login_users=ci,builder": (0, "//localhost:1"),
    "ansible-playbook hpc.apptainer.drift -e apptainer_fleet_health=true": (2, "refuses the connection"),
    f"ansible node17 -b {INFO}": (0, '"name": "mine"'),
    f"ansible node17 -b --become-user alice {INFO}": (0, '"name": "mine"'),
    f"ansible node17 -b --become-user ci {INFO} -a 'check=services,tokens,keyservers,registries'": (0, "refuses the connection"),
}
PAGES = [*READMES, *(name for name in pages.names() if name not in OF_OTHER_TESTS)]

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


def source(page):
    return (envs.ROOT / page).read_text() if page in READMES else pages.guide(page)


def examples(page):
    found = (block for block in pages.blocks(source(page)) if block.language == "yaml" and block.file != "requirements.yml")
    return [yaml.safe_load(block.text) for block in found]


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


def as_play(example):
    """The play of an example: it is a play, the variables of the role, its endpoints, or tasks."""
    play = {"gather_facts": False}
    if isinstance(example, dict):
        play.update(vars=example, roles=["hpc.apptainer.apptainer_fleet"])
    elif "hosts" in example[0]:
        (play,) = example
        play.setdefault("vars", {"apptainer_fleet_remotes": [{"name": "site", "uri": "https://library.example.org"}]})
    elif "name" in example[0]:
        play.update(vars={"apptainer_fleet_remotes": example}, roles=["hpc.apptainer.apptainer_fleet"])
    else:
        play["tasks"] = example
    return {**play, "hosts": "localhost"}


@pytest.mark.parametrize("page", [page for page in PAGES if examples(page)])
def test_examples_of_a_page(play, tmp_path, page):
    """All examples of a page in one run; they build on each other."""
    (tmp_path / "etc" / "apptainer" / "remote.yaml").write_text(GLOBAL)
    play(list(map(as_play, examples(page))))


def test_the_task_for_each_command_of_apptainer(play, tmp_path):
    """The table of what replaces Apptainer's commands, from the first row to the last, on a node as Apptainer was installed."""
    (tmp_path / "etc" / "apptainer" / "remote.yaml").write_text("Active: DefaultRemote\nRemotes: {DefaultRemote: {URI: cloud.apptainer.org, System: true}}\n")
    (tmp_path / "token").write_text("y" * 200)
    (tmp_path / "logins").write_text("{}")
    places = {"uri: URI": "uri: https://library.example.org", "token_file: FILE": f"token_file: {tmp_path}/token",
              "auth_file: FILE": f"auth_file: {tmp_path}/logins"}
    tasks = []
    for command, task in pages.table(pages.guide("guide_coming_from"), "command"):
        text = re.match(r"``(.+?)``", task)[1]
        for shown, actual in places.items():
            text = text.replace(shown, actual)
        tasks.append({"name": command, **{f"hpc.apptainer.{name}": options for name, options in yaml.safe_load(text).items()}})
    said = play([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}])
    # the second row is the first with two flags that change nothing here
    unchanged = [task["name"] for task in tasks if "hpc.apptainer.apptainer_remote_info" in task] + [tasks[1]["name"]]
    assert said.count("\nok: ") == len(unchanged) == 3, said
    assert said.count("\nchanged: ") == len(tasks) - len(unchanged) > 15, said


def commands(page):
    """The commands that a page shows, without the inventory, which is the usual one here, and without comments."""
    return {re.sub(r" -i inventory\b|\s+# .*", "", step.command) for step in transcripts.steps(source(page)) if step.command}


def test_every_command_of_the_pages_is_run():
    assert set().union(*map(commands, PAGES)) - commands("guide_day") - RUN_ELSEWHERE == COMMANDS.keys()


def test_commands_of_the_pages(tmp_path, collection_tarball):
    """In the order above, on two nodes that are directories. (Galaxy has no build of this checkout.)"""
    core = envs.core("running")
    user = tmp_path / "home" / ".apptainer" / "remote.yaml"
    user.parent.mkdir(parents=True, mode=0o700)
    user.write_text("Active: mine\nRemotes: {mine: {URI: //localhost:1, System: false, Exclusive: false}}\n")
    user.chmod(0o600)
    for node in ("node1", "node17"):
        (tmp_path / node).mkdir()
    (tmp_path / "inventory").write_text(yaml.safe_dump({"all": {"hosts": {"node1": {}, "node17": {}}, "vars": {
        "ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        "apptainer_fleet_config_root": f"{tmp_path}/{{{{ inventory_hostname }}}}", "apptainer_fleet_verify": False,
        "apptainer_fleet_remotes": [{"name": "site", "uri": "https://localhost:1", "exclusive": True}]}}}))
    (required,) = (block.text for block in pages.blocks(source("README.md")) if block.file == "requirements.yml")
    (tmp_path / "requirements.yml").write_text(required.replace("hpc.apptainer", str(collection_tarball)).replace('version: ">=1.0.0,<2.0.0"', "type: file"))
    env = processes.clean_env(tmp_path / "home", {"ANSIBLE_CONFIG": "", "ANSIBLE_INVENTORY": tmp_path / "inventory",
                                                  "ANSIBLE_COLLECTIONS_PATH": tmp_path / "collections"})
    env["PATH"] = f"{core / 'bin'}:{env['PATH']}"
    for command, (status, words) in COMMANDS.items():
        run = re.sub(r"(collection install.*) hpc\.apptainer", rf"\1 --offline {collection_tarball}", command)
        done = processes.run("bash", "-c", run, env=env, cwd=tmp_path)
        said = done.stdout + done.stderr
        assert (done.returncode, words in said) == (status, True), f"$ {command}\n{said}"
