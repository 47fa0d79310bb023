# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks hpc.apptainer.show and hpc.apptainer.adopt: what they print and write, and that an adopted fleet is in state, byte for byte.

Hosts are directories on this machine.
"""

from __future__ import annotations

import getpass
import json
import re

import pytest
import yaml
from support import envs, leaks, processes
from support.files import snapshot

TOKEN = "tok-s3cretS3CRET"
LOST = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
OWN_URI = "library.example.org"


def keyserver(uri):
    return f"        Keyservers:\n            - URI: {uri}\n              Skip: false\n              External: true\n              Insecure: false\n"


def endpoint(name, uri, exclusive="false", more=""):
    return f"    {name}:\n        URI: {uri}\n        System: true\n        Exclusive: {exclusive}\n{more}"


KEYS = keyserver("https://keys.example.org")
DEFAULT, SITE = endpoint("DefaultRemote", "cloud.apptainer.org"), endpoint("site", OWN_URI, "true", KEYS)
USUAL = f"Active: site\nRemotes:\n{DEFAULT}{SITE}"
SHARED = USUAL.replace("Exclusive: true", "Exclusive: false")

FLEET = {
    **{f"node{number}": USUAL for number in range(1, 5)},
    **{f"gpu{number}": SHARED.replace("Active: site", "Active: DefaultRemote") for number in range(1, 4)},  # another default
    "gpu4": SHARED,  # not exclusive, but like the others
    "less": f"Active: site\nRemotes:\n{SITE}",
    "keys": USUAL.replace("keys.example.org", "keys.other.example.org"),
    "other-exclusive": USUAL.replace("Active: site", "Active: DefaultRemote").replace("Exclusive: true", "X").replace("Exclusive: false", "Exclusive: true")
    .replace("X", "Exclusive: false"),
    "uri": USUAL.replace(OWN_URI, "//old.example.org:8443"),
    "none": None,
    "more": USUAL + endpoint("\"{{ lookup('pipe', 'touch {marker}') }}\"", "jinja.example.org") + endpoint('"5"', "five.example.org"),
    "hand-made": f"# by hand\nActive: site\nRemotes:\n  site: {{URI: 'https://{OWN_URI}', System: true, Exclusive: true}}\n",
    "token": USUAL.replace("        System: true\n        Exclusive: true", f"        Token: {TOKEN}\n        System: true\n        Exclusive: true"),
    "singularity": f"Active: SylabsCloud\nRemotes:\n{endpoint('SylabsCloud', 'cloud.sylabs.io')}",
}
GROUPS = {"gpu": [f"gpu{number}" for number in range(1, 5)], "odd": ["less", "keys", "node1"]}


@pytest.fixture(scope="module", params=[envs.OLD_CORE, "newest"])
def core(request):
    try:
        return envs.core(request.param)
    except envs.MissingInterpreterError as exc:
        pytest.skip(str(exc))


@pytest.fixture
def file(tmp_path):
    """The global file of a host."""
    return lambda host: tmp_path / "hosts" / host / "etc" / ("singularity" if host == "singularity" else "apptainer") / "remote.yaml"


@pytest.fixture
def play(core, tmp_path, quick_python, file):
    """`play(name, hosts, *arguments, rooted=True, vars=None)`: a playbook on hosts with these files (`LOST`: a host that cannot be reached)."""
    python = quick_python(core)

    def run(name, hosts, *arguments, rooted=True, **variables):
        inventory = {}
        for host, text in hosts.items():
            place = {"apptainer_fleet_config_root": str(tmp_path / "hosts" / host)} if rooted else {
                "apptainer_fleet_sysconfdir": str(tmp_path / "hosts" / host / "etc")}
            own = {"apptainer_fleet_flavor": "singularity"} if host == "singularity" else {}
            (tmp_path / "hosts" / host).mkdir(parents=True, exist_ok=True)
            inventory[host] = LOST if text is LOST else {"ansible_connection": "local", **place, **own}
            if isinstance(text, str) and not file(host).exists():
                file(host).parent.mkdir(parents=True)
                file(host).write_text(text.replace("{marker}", str(tmp_path / "executed")))
                file(host).chmod(0o644)
        groups = {group: {"hosts": {host: None for host in members if host in hosts}} for group, members in GROUPS.items()}
        (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": inventory, "children": groups}}))
        (tmp_path / "cwd").mkdir(exist_ok=True)
        return processes.run(core / "bin" / "ansible-playbook", "-i", tmp_path / "hosts.yml", "-e", f"ansible_python_interpreter={python}",
                             "-e", json.dumps(variables), *arguments, f"hpc.apptainer.{name}", env=processes.clean_env(tmp_path / "home"),
                             cwd=tmp_path / "cwd")

    return run


@pytest.fixture
def adopted(tmp_path):
    """The files with variables, as data by path."""
    directory = tmp_path / "cwd" / "apptainer-adopted"
    return lambda: {str(path.relative_to(directory)): path.read_text() for path in directory.rglob("*.yml")}


def test_an_adopted_fleet_is_in_state_byte_for_byte(play, tmp_path, file, adopted):
    done = play("adopt", FLEET)
    assert done.returncode == 0, done.stdout + done.stderr
    before = snapshot(tmp_path / "hosts")
    again = ("-i", tmp_path / "cwd" / "apptainer-adopted")
    done = play("drift", FLEET, *again, "hpc.apptainer.rollout", apptainer_fleet_verify=False)  # a rollout, and then a drift run
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PLAY [Roll out to the canaries]") == 1
    assert f"{len(FLEET)} hosts: {len(FLEET)} in state" in done.stdout
    assert not re.search("changed=[1-9]", done.stdout)
    assert snapshot(tmp_path / "hosts") == before
    assert not (tmp_path / "executed").exists()
    # and it is a declaration: what somebody changes is drift
    changed = {"node1": ("Exclusive: false", "Exclusive: true"), "gpu2": ("Active: DefaultRemote", "Active: site"),
               "less": ("https://keys.example.org", "https://keys.evil.example.org"), "singularity": ("cloud.sylabs.io", "evil.example.org")}
    for host, change in changed.items():
        file(host).write_text(file(host).read_text().replace(*change))
    file("none").parent.mkdir(parents=True)
    file("none").write_text(USUAL)
    file("none").chmod(0o644)
    done = play("drift", FLEET, *again, "--limit", ",".join([*changed, "none", "node2"]))
    assert done.returncode == 2
    report = json.loads((tmp_path / "cwd" / "apptainer-drift.json").read_text())
    assert [host["name"] for host in report["hosts"] if host["state"] == "in_state"] == ["node2"]
    assert {host["name"] for host in report["hosts"]} == {*changed, "none", "node2"}


@pytest.mark.newest
def test_what_is_written(play, adopted):
    done = play("adopt", {host: FLEET[host] for host in ("node1", "node2", "node3", "gpu1", "gpu2", "gpu3", "gpu4", "less", "token")})
    files = adopted()
    assert set(files) == {"group_vars/all/apptainer_fleet.yml", "group_vars/gpu/apptainer_fleet.yml", "host_vars/gpu4/apptainer_fleet.yml",
                          "host_vars/less/apptainer_fleet.yml"}
    site = {"name": "site", "uri": f"https://{OWN_URI}", "default": True, "exclusive": True,
            "keyservers": [{"uri": "https://keys.example.org", "insecure": False}]}
    assert yaml.safe_load(files["group_vars/all/apptainer_fleet.yml"]) == {"apptainer_fleet_prune": True, "apptainer_fleet_remotes": [
        {"name": "DefaultRemote", "uri": "https://cloud.apptainer.org", "exclusive": False, "keyservers": []}, site]}
    assert yaml.safe_load(files["group_vars/gpu/apptainer_fleet.yml"]) == {"apptainer_fleet_group_remotes": [
        {"name": "DefaultRemote", "default": True}, {"name": "site", "default": False, "exclusive": False}]}
    assert yaml.safe_load(files["host_vars/gpu4/apptainer_fleet.yml"]) == {"apptainer_fleet_host_remotes": [
        {"name": "DefaultRemote", "default": False}, {"name": "site", "default": True}]}
    assert yaml.safe_load(files["host_vars/less/apptainer_fleet.yml"]) == {
        "apptainer_fleet_host_remotes": [{"name": "DefaultRemote", "state": "absent"}]}
    assert "9 hosts are declared: 4 as in group_vars/all, 3 as in group gpu, 2 with differences of their own" in done.stdout
    assert "# - token: " in files["group_vars/all/apptainer_fleet.yml"]
    assert "a token in the global file is readable by everyone" in done.stdout
    assert leaks.leaked([done.stdout, *files.values()], {TOKEN}) == []


UNDECLARABLE = {"node1": USUAL, "node2": USUAL, "bad": f"{TOKEN}: [", "lost": LOST,
                "both": USUAL.replace("Exclusive: false", "Exclusive: true"), "torn": USUAL + endpoint('"a\\tb"', "torn.example.org")}


@pytest.mark.newest
def test_what_cannot_be_declared_is_said(play, adopted, tmp_path):
    done = play("adopt", UNDECLARABLE)
    assert done.returncode == 4
    files = adopted()
    assert yaml.safe_load(files["host_vars/torn/apptainer_fleet.yml"]) == {"apptainer_fleet_prune": False}
    comment = files["group_vars/all/apptainer_fleet.yml"]
    for words in ("bad: ", 'both: the endpoints "DefaultRemote", "site" are all exclusive', 'torn: endpoint "a\\tb": it cannot be listed',
                  "lost, unreachable: Failed to connect to the host via ssh"):
        assert f"# - {words}" in comment
        assert words in done.stdout
    assert leaks.leaked([done.stdout, *files.values()], {TOKEN}) == []
    recap = {line.split()[0]: line for line in done.stdout.splitlines() if " ok=" in line}
    assert [host for host, line in recap.items() if "unreachable=0" not in line or "failed=0" not in line] == ["lost"]
    # the others of these hosts are in state, also with an endpoint that no declaration can have
    done = play("drift", {host: UNDECLARABLE[host] for host in ("node1", "node2", "torn")}, "-i", tmp_path / "cwd" / "apptainer-adopted")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.newest
def test_no_file_is_replaced(play, tmp_path, adopted):
    hosts = {"node1": USUAL, "node2": USUAL, "less": FLEET["less"]}
    assert play("adopt", hosts, "--check").returncode == 0
    assert not (tmp_path / "cwd" / "apptainer-adopted").exists()
    variables = tmp_path / "cwd" / "mine" / "host_vars"
    variables.mkdir(parents=True)
    (variables / "less.yml").write_text("mine: true\n")
    done = play("adopt", hosts, apptainer_fleet_adopt_directory="mine")
    assert done.returncode == 2
    assert "Nothing was written: mine/host_vars/less.yml exists, and Ansible would not read it beside a directory" in " ".join(done.stdout.split())
    assert sorted(path.name for path in (tmp_path / "cwd" / "mine").rglob("*")) == ["host_vars", "less.yml"]
    (variables / "less.yml").unlink()
    assert play("adopt", hosts, apptainer_fleet_adopt_directory="mine").returncode == 0
    before = snapshot(tmp_path / "cwd" / "mine")
    done = play("adopt", hosts, apptainer_fleet_adopt_directory="mine")
    assert done.returncode == 2
    assert "exists already" in done.stdout
    assert snapshot(tmp_path / "cwd" / "mine") == before


@pytest.mark.newest
def test_what_is_declared_is_not_adopted(play, adopted):
    remotes = [{"name": "site", "uri": f"https://{OWN_URI}"}]
    done = play("adopt", {"node1": USUAL, "node2": USUAL}, apptainer_fleet_remotes=remotes)
    assert done.returncode == 2
    assert "endpoints are declared already for node[1-2]" in " ".join(done.stdout.split())
    assert adopted() == {}


@pytest.mark.newest
def test_nothing_to_adopt(play, adopted):
    done = play("adopt", {"node1": None, "node2": None})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No host has a global file with endpoints" in done.stdout
    assert adopted() == {}


@pytest.mark.newest
def test_limited(play, adopted):
    done = play("adopt", FLEET, "--limit", "node1,node2")
    assert "also those of hosts that were not looked at: gpu[1-4],hand-made,keys" in done.stdout
    assert set(adopted()) == {"group_vars/all/apptainer_fleet.yml"}


SHOWN = f"""\
node[1-4] (4 hosts):
  {{path}}
  NAME           URI                  DEFAULT?  GLOBAL?  EXCLUSIVE?  SECURE?
  DefaultRemote  cloud.apptainer.org            \u2713                    \u2713
  site           {OWN_URI}  \u2713         \u2713        \u2713           \u2713

  DefaultRemote *
     #1  https://keys.openpgp.org  \U0001f512

  site *^
     #1  https://keys.example.org  \U0001f512

  (* = system endpoint, ^ = default endpoint)
"""


def test_show(play, tmp_path, file):
    done = play("show", {**FLEET, "bad": "x: [", "lost": LOST})
    assert done.returncode == 4
    assert SHOWN.format(path=file("{host}")) in done.stdout
    assert "bad:\n  no global file that Apptainer uses, so its built-in endpoint\n" in done.stdout
    assert f"  error: {file('bad')}, line 2, column 1: " in done.stdout
    assert "  error: " + str(file("token")) + ": endpoint site: a token in the global file is readable by everyone" in done.stdout
    assert "\nlost, unreachable: Failed to connect to the host via ssh" in done.stdout
    assert "cloud.sylabs.io" in done.stdout
    assert TOKEN not in done.stdout
    recap = {line.split()[0]: line for line in done.stdout.splitlines() if " ok=" in line}
    assert [host for host, line in recap.items() if "unreachable=0" not in line or "failed=0" not in line] == ["lost"]


@pytest.mark.newest
def test_a_screenful_for_many_hosts(play):
    done = play("show", {f"node{number:03}": None for number in range(1, 25)})
    assert done.returncode == 0, done.stdout + done.stderr
    shown = done.stdout.partition("Show it]")[2].partition("PLAY RECAP")[0]
    assert "node[001-024] (24 hosts):" in shown
    assert len(shown.splitlines()) < 24


def account(tmp_path):
    """The files of the account that runs the tests, elsewhere."""
    place = tmp_path / "account"
    place.mkdir(mode=0o700)
    (place / "remote.yaml").write_text(
        f"Remotes:\n    site: {{URI: {OWN_URI}, Token: {TOKEN}, System: true}}\n"
        f"Credentials:\n    - {{URI: https://keys.example.org, Auth: Basic {TOKEN}}}\n")
    (place / "docker-config.json").write_text(json.dumps({"auths": {"registry.example.org": {"username": "ci", "password": TOKEN}}}))
    for path in place.iterdir():
        path.chmod(0o600)
    return {"user": getpass.getuser(), "config_file": str(place / "remote.yaml"), "auth_file": str(place / "docker-config.json")}


@pytest.mark.newest
def test_logins_of_accounts(play, tmp_path, adopted):
    name = getpass.getuser()
    login = {**account(tmp_path), "registries": [{"uri": "docker://registry.example.org", "username": "ci", "password": TOKEN}]}
    variables = {"apptainer_fleet_logins": [login], "apptainer_fleet_login_users": "nobody-of-this-name"}
    done = play("show", {"node1": USUAL, "node2": USUAL}, rooted=False, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (f"  account {name}:\n    LOGIN                     KIND       USERNAME\n    site                      endpoint\n"
            "    https://keys.example.org  keyserver\n    registry.example.org      registry   ci\n") in done.stdout
    assert '  account nobody-of-this-name: there is no account "nobody-of-this-name" on this host\n' in done.stdout
    adopt = play("adopt", {"node1": USUAL, "node2": USUAL}, rooted=False, **variables)
    assert adopt.returncode == 0, adopt.stdout + adopt.stderr
    text = adopted()["group_vars/all/apptainer_fleet.yml"]
    commented = "\n".join(line[2:] for line in text.partition("# apptainer_fleet_logins:")[2].splitlines())
    assert yaml.safe_load("logins:" + commented)["logins"] == [
        {"user": name, "remotes": [{"name": "site", "token": "SECRET"}], "keyservers": [{"uri": "https://keys.example.org", "password": "SECRET"}],
         "registries": [{"uri": "docker://registry.example.org", "username": "ci", "password": "SECRET"}]}]
    assert leaks.leaked([done.stdout, adopt.stdout, text], leaks.forms("ci", TOKEN)) == []
