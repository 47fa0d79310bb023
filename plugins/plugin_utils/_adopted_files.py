# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The files of variables that declare what was found on a fleet, with what cannot be declared and which logins there are, as comments. Pure rules.

Everything in them comes from files on nodes, so nothing of it may be a template for Ansible, or more than a comment where it is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import yaml
from ansible_collections.hpc.apptainer.plugins.plugin_utils._adoption import Layers, adopted
from ansible_collections.hpc.apptainer.plugins.plugin_utils._inspected import Inspected, heading, names_of, unread_lines
from ansible_collections.hpc.apptainer.plugins.plugin_utils._outcomes import without_names
from ansible_collections.hpc.apptainer.plugins.plugin_utils._text import printable

FILE = "apptainer_fleet.yml"
NOTHING = "No host has a global file with endpoints, so there is nothing to declare, and no file was written"
_ALL = f"group_vars/all/{FILE}"
_SECRETS = {"endpoint": ("remotes", "name", "token"), "keyserver": ("keyservers", "uri", "password"), "registry": ("registries", "uri", "password")}


class Adoption(NamedTuple):
    """The text of each file by its path, and what to tell people: how many hosts are declared where, and then what is not declared."""

    files: dict[str, str]
    summary: list[str]


def adoption(hosts: Sequence[Inspected], groups: Mapping[str, Iterable[str]], when: str) -> Adoption:
    """The files that declare what was found. `groups` are those of the inventory without `all`; `when` is the time, for the files' first line."""
    read = {item.host: item for item in hosts if item.found is not None}
    states = {host: item.found["declared"] for host, item in read.items() if item.found and item.found["declared"]}
    layers = adopted(states, groups)
    notes = _notes(hosts)
    if not layers.everyone:
        return Adoption({}, [NOTHING, *notes])
    origin = f"Written by the playbook hpc.apptainer.adopt at {when}, from what is on {names_of(states)}."
    brief = f"Written by the playbook hpc.apptainer.adopt at {when}: how these hosts differ from group_vars/all."
    files = {_ALL: _text([origin, "It is what most of these hosts have. What is different on some of them is in files for groups and hosts."],
                         {"apptainer_fleet_prune": True, "apptainer_fleet_remotes": layers.everyone},
                         [*_commented("What is not declared:", notes), *_login_lines(read.values())])}
    for group, entries in layers.groups.items():
        files[f"group_vars/{group}/{FILE}"] = _text([brief], {"apptainer_fleet_group_remotes": entries})
    for host in states:
        own: dict[str, Any] = {"apptainer_fleet_prune": False} if host in layers.unpruned else {}
        own.update({"apptainer_fleet_host_remotes": layers.hosts[host]} if host in layers.hosts else {})
        if own:
            files[f"host_vars/{host}/{FILE}"] = _text([brief], own)
    return Adoption(files, [_counts(states, layers, groups), *notes])


def _counts(states: Mapping[str, Any], layers: Layers, groups: Mapping[str, Iterable[str]]) -> str:
    """Where how many hosts are declared, in one sentence."""
    counts = {group: len((set(states) - set(layers.hosts)).intersection(groups[group])) for group in layers.groups}
    alone = len(layers.hosts)
    parts = [f"{len(states) - alone - sum(counts.values())} as in group_vars/all"]
    parts += [f"{count} as in group {printable(group)}" for group, count in counts.items()]
    parts += [f"{alone} with differences of their own"] if alone else []
    return f"{_hosts(len(states))} declared: {', '.join(parts)}"


def _hosts(number: int) -> str:
    return "1 host is" if number == 1 else f"{number} hosts are"


def _notes(hosts: Sequence[Inspected]) -> list[str]:
    """What is not declared, or will not stay as it is, a line for all hosts with the same."""
    found: dict[str, list[tuple[str, str]]] = {}
    for item in hosts:
        if item.found is not None:
            secrets = [f"{finding['path']}: {finding['message']}" for finding in item.found["findings"] if finding["id"] == "global-secret"]
            for text in [*item.found["undeclared"], *secrets]:
                found.setdefault(without_names(text, item.host, item.addresses), []).append((item.host, " ".join(text.split())))
    lines = [f"{heading([host for host, _text in places])} {printable(text if len(places) > 1 else places[0][1])}" for text, places in found.items()]
    return lines + unread_lines(hosts)


def _login_lines(hosts: Iterable[Inspected]) -> list[str]:
    """Which logins accounts have, as they would be declared: the same accounts of all hosts that have them once."""
    found: dict[tuple[str, ...], list[str]] = {}
    for item in hosts:
        for account in (item.found or {})["accounts"]:
            if account["logins"]:
                found.setdefault(tuple(_account_lines(account)), []).append(item.host)
    if not found:
        return []
    lines = ["", "These logins exist. They are not declared, because their secrets are not shown: to declare one, remove the # and fill in the secret, "
                 "encrypted by ansible-vault.", "apptainer_fleet_logins:"]
    for account, names in found.items():
        lines += [f"  # on {names_of(names)}", *account]
    return lines


def _account_lines(account: Mapping[str, Any]) -> list[str]:
    entry: dict[str, Any] = {"user": account["user"]}
    for login in account["logins"]:
        kind, key, secret = _SECRETS[login["kind"]]
        name = f"docker://{login['name']}" if login["kind"] == "registry" else login["name"]
        username = {"username": login["username"]} if login["username"] else {}
        entry.setdefault(kind, []).append({key: name, **username, secret: "SECRET"})
    return [f"  {line}" for line in _yaml([entry]).splitlines()]


def _commented(title: str, lines: Sequence[str]) -> list[str]:
    return ["", title, *(f"- {line}" for line in lines)] if lines else []


def _text(header: Sequence[str], variables: Mapping[str, Any], footer: Sequence[str] = ()) -> str:
    comments = [[f"# {line}".rstrip() for line in lines] for lines in (header, footer)]
    return "\n".join(["---", *comments[0], "", _yaml(variables).rstrip("\n"), *[line if line != "#" else "" for line in comments[1]], ""])


class _Dumper(yaml.SafeDumper):
    """As people write YAML: lists are indented, and nothing is an alias. What could be a template is marked as none."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - that is what it is for
        super().increase_indent(flow, False)

    def ignore_aliases(self, _data: Any) -> bool:
        return True

    def represent_text(self, text: str) -> yaml.Node:
        is_template = re.search(r"[{]|\A#jinja2:", text)
        return self.represent_scalar("!unsafe", text, style="'") if is_template else self.represent_str(text)


_Dumper.add_representer(str, _Dumper.represent_text)


def _yaml(value: Any) -> str:
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000))
