# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
import yaml
from ansible_collections.hpc.apptainer.plugins.plugin_utils._adopted_files import NOTHING, adoption
from ansible_collections.hpc.apptainer.plugins.plugin_utils._inspected import inspected, show_lines
from ansible_collections.hpc.apptainer.plugins.plugin_utils._summary import NO_HOST
from support.tables import table

PATH = "/etc/apptainer/remote.yaml"
A = {"name": "a", "uri": "https://a.example", "default": True, "exclusive": False, "keyservers": []}
LOGINS = [{"kind": "endpoint", "name": "a", "username": None}, {"kind": "keyserver", "name": "https://k.example", "username": "ci"},
          {"kind": "registry", "name": "r.example:5000", "username": "ci"}]


def finding(message, remote=None, line=None, severity="error", kind="x"):
    return {"id": kind, "severity": severity, "path": PATH, "line": line, "remote": remote, "message": message, "refused_by": []}


def account(user="ci", error=None, logins=(), findings=()):
    return {"user": user, "error": error, "table": ["LOGIN"] if logins else [], "logins": list(logins), "findings": list(findings)}


def found(*table, path=PATH, source="global", findings=(), accounts=(), remotes=(A,), prune=True, undeclared=(), is_declared=False):
    declared = None if remotes is None else {"scope": "global", "remotes": list(remotes), "prune": prune}
    return {"changed": False, "declared": is_declared, "failures": [], "parts": [], "inspected": {
        "path": path, "source": source, "table": list(table), "findings": list(findings), "accounts": list(accounts), "declared": declared,
        "undeclared": list(undeclared)}}


class Hostvars(dict):
    """As of Ansible."""

    def raw_get(self, host):
        return {"apptainer_fleet_result": self[host], "ansible_host": f"10.0.0.{len(host)}" if host != "plain" else 5}


def hosts(**results):
    return inspected(results, Hostvars(results))


LOST = {"changed": False, "declared": False, "failures": [], "unreachable_reason": "no route to n9"}
BROKEN = {"changed": False, "failures": [{"subject": "global", "msg": "it broke"}]}


@pytest.mark.parametrize(("results", "lines"), table([
    ("nobody", {}, [NO_HOST]),
    ("one", {"n1": found("A", "B")}, ["n1:", f"  {PATH}", "  A", "  B"]),
    ("equal ones, and one more", {"n10": found("A"), "n2": found("A"), "n1": found("B"), "n3": found("A")},
     ["n[2-3,10] (3 hosts):", f"  {PATH}", "  A", "", "n1:", f"  {PATH}", "  B"]),
    ("no file", {"n1": found("A", source="built-in")}, ["n1:", "  no global file that Apptainer uses, so its built-in endpoint", "  A"]),
    ("problems", {"n1": found("A", findings=[finding("bad", "a"), finding("worse", severity="warning"), finding(f"{PATH}, line 3: wrong", line=3)])},
     ["n1:", f"  {PATH}", "  A", "", f"  error: {PATH}: endpoint a: bad", f"  warning: {PATH}: worse", f"  error: {PATH}, line 3: wrong"]),
    ("the same but for the hosts' names", {"n1": found("A", path="/srv/n1/x"), "n2": found("A", path="/srv/n2/x")},
     ["n[1-2] (2 hosts):", "  /srv/{host}/x", "  A"]),
    ("accounts", {"n1": found("A", accounts=[account(logins=LOGINS), account("x", error="gone"), account("y", findings=[finding("bad")])])},
     ["n1:", f"  {PATH}", "  A", "", "  account ci:", "    LOGIN", "", "  account x: gone", "", "  account y: no logins", "",
      f"  error: {PATH}: bad"]),
    ("what a terminal would obey", {"n1": found("A\x1b[31m")}, ["n1:", f"  {PATH}", "  A\\u001b[31m"]),
    ("not read", {"n1": found("A"), "n9": LOST, "n8": BROKEN, "n7": BROKEN, "n6": None, "plain": {"changed": False, "inspected": {}}, "n5": "nonsense"},
     ["n1:", f"  {PATH}", "  A", "", "n5, failed: the results from this host are not those of this collection's modules; check what runs there in "
      "their place", "n6, failed: there are no results: the role did not run on this host", "n[7-8] (2 hosts), failed: it broke",
      "n9, unreachable: no route to n9", "plain, failed: the host did not say what is there"]),
    ("nobody was read", {"n9": LOST}, ["n9, unreachable: no route to n9"]),
]))
def test_show_lines(results, lines):
    assert show_lines(hosts(**results)) == lines


def test_what_is_declared_already():
    assert [item.is_declared for item in hosts(n1=found("A", is_declared=True), n2=found("A"), n3=LOST)] == [True, False, False]


# files

ALL, HOST = "group_vars/all/apptainer_fleet.yml", "host_vars/n3/apptainer_fleet.yml"


def test_the_files_of_a_fleet():
    b = {**A, "uri": "https://b.example"}
    made = adoption(hosts(n1=found(), n2=found(), n3=found(remotes=[b]), g1=found(remotes=[b]), g2=found(remotes=[b]), n4=found(), n5=found(),
                          n6=found(prune=False), n9=LOST),
                    {"g": ["g1", "g2", "g3"]}, "today")
    assert {path: yaml.safe_load(text) for path, text in made.files.items()} == {
        ALL: {"apptainer_fleet_prune": True, "apptainer_fleet_remotes": [A]},
        "group_vars/g/apptainer_fleet.yml": {"apptainer_fleet_group_remotes": [{"name": "a", "uri": "https://b.example"}]},
        HOST: {"apptainer_fleet_host_remotes": [{"name": "a", "uri": "https://b.example"}]},
        "host_vars/n6/apptainer_fleet.yml": {"apptainer_fleet_prune": False},
    }
    assert made.summary == ["8 hosts are declared: 5 as in group_vars/all, 2 as in group g, 1 with differences of their own",
                            "n9, unreachable: no route to n9"]
    assert made.files[ALL].startswith(
        "---\n# Written by the playbook hpc.apptainer.adopt at today, from what is on g[1-2],n[1-6].\n"
        "# It is what most of these hosts have. What is different on some of them is in files for groups and hosts.\n\napptainer_fleet_prune: true\n")
    assert made.files[ALL].endswith("\n\n# What is not declared:\n# - n9, unreachable: no route to n9\n")


def test_the_text_for_a_simple_fleet():
    made = adoption(hosts(n1=found()), {}, "today")
    assert made.files == {ALL: """\
---
# Written by the playbook hpc.apptainer.adopt at today, from what is on n1.
# It is what most of these hosts have. What is different on some of them is in files for groups and hosts.

apptainer_fleet_prune: true
apptainer_fleet_remotes:
  - name: a
    uri: https://a.example
    default: true
    exclusive: false
    keyservers: []
"""}
    assert made.summary == ["1 host is declared: 1 as in group_vars/all"]


def test_nothing_to_declare():
    made = adoption(hosts(n1=found(remotes=[]), n2=found(remotes=None, undeclared=["it is broken"])), {}, "today")
    assert made == ({}, [NOTHING, "n2: it is broken"])


def test_what_is_not_declared_is_said_once():
    secret = finding("a token is there", kind="global-secret")
    made = adoption(hosts(n1=found(undeclared=["/srv/n1: x\ny"]), n2=found(undeclared=["/srv/n2: x\ny"]), n3=found(findings=[secret, finding("no matter")])),
                    {}, "today")
    assert made.summary[1:] == ["n[1-2] (2 hosts): /srv/{host}: x y", f"n3: {PATH}: a token is there"]
    assert made.files[ALL].endswith("\n# - n[1-2] (2 hosts): /srv/{host}: x y\n# - n3: " + PATH + ": a token is there\n")


def test_logins_are_placeholders():
    made = adoption(hosts(n1=found(accounts=[account(logins=LOGINS), account("x")]), n2=found(accounts=[account(logins=LOGINS)]), n9=LOST), {}, "today")
    lines = made.files[ALL].splitlines()
    start = lines.index("# apptainer_fleet_logins:")
    assert lines[start + 1] == "#   # on n[1-2]"
    assert yaml.safe_load("\n".join(line[2:] for line in lines[start:])) == {"apptainer_fleet_logins": [{
        "user": "ci", "remotes": [{"name": "a", "token": "SECRET"}],
        "keyservers": [{"uri": "https://k.example", "username": "ci", "password": "SECRET"}],
        "registries": [{"uri": "docker://r.example:5000", "username": "ci", "password": "SECRET"}]}]}


@pytest.mark.parametrize("name", ["{{ lookup('pipe', 'id') }}", "{% x %}", "{# x #}", "#jinja2: variable_start_string: '[['", "5", "yes", "a: b",
                                  "\u2028", "é"])
def test_no_text_of_a_node_is_a_template_or_another_value(name):
    text = adoption(hosts(n1=found(remotes=[{**A, "name": name}])), {}, "today").files[ALL]

    class Loader(yaml.SafeLoader):
        pass

    marked = []
    Loader.add_constructor("!unsafe", lambda loader, node: marked.append(node.value) or node.value)
    assert yaml.load(text, Loader)["apptainer_fleet_remotes"][0]["name"] == name
    assert bool(marked) == ("{" in name or "#" in name)


@pytest.mark.parametrize("text", ["a\nb: c", "a\u2028b: c", "a\x85b: c", "a\rb: c"])
def test_a_comment_stays_one(text):
    made = adoption(hosts(n1=found(undeclared=[text], accounts=[account(text, logins=[{"kind": "registry", "name": text, "username": text}])])), {}, "today")
    assert set(yaml.safe_load(made.files[ALL])) == {"apptainer_fleet_prune", "apptainer_fleet_remotes"}
