# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The role's variables of hosts, templated once. The only place that knows how Ansible keeps variables: no ansible-core has a public way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible import errors
from ansible.template import Templar
from ansible_collections.hpc.apptainer.plugins.plugin_utils._declaration import VARIABLES, Declaration, DeclarationError, declaration, playbook_options
from ansible_collections.hpc.apptainer.plugins.plugin_utils._nodeset import folded

_OMITTED: Any = getattr(errors, "AnsibleValueOmittedError", ())


def declared_for(host: str, available: Mapping[str, Any], templar: Any) -> Declaration:
    """What the variables of the host declare. Raises DeclarationError."""
    values = {name: _templated(name, available[name], templar) for name in VARIABLES if name in available}
    return declaration(host, values, available)


def playbook_variables(entry: str, names: Sequence[str], available: Mapping[str, Any], templar: Any, task: Any, loader: Any) -> dict[str, Any]:
    """These variables of an entry point of the role, which are the same for all hosts: those of the task, or else of the first host.

    Raises DeclarationError.
    """
    hostvars = available["hostvars"]
    pattern = _templated("apptainer_fleet_hosts", available.get("apptainer_fleet_hosts"), templar) or "all"
    first = hosts_of(pattern, hostvars)[:1] or ["localhost"]
    values: dict[str, Any] = dict.fromkeys(names)
    for host_variables, host_templar in [*((found, own) for _host, found, own in variables_of(first, task, loader, hostvars)), (available, templar)]:
        values.update({name: _templated(name, host_variables[name], host_templar) for name in names if name in host_variables})
    return playbook_options(entry, values)


def all_declared(hosts: Sequence[str], task: Any, loader: Any, hostvars: Any) -> tuple[list[Declaration], list[str]]:
    """What is declared for each host, and each problem once, in a sentence with all hosts that have it."""
    found: list[Declaration] = []
    problems: dict[str, list[str]] = {}
    for host, variables, templar in variables_of(hosts, task, loader, hostvars):
        try:
            found.append(declared_for(host, variables, templar))
        except DeclarationError as error:
            problems.setdefault(str(error), []).append(host)
    for item in found:
        for name in item.user_hosts:
            if name not in hostvars:
                problem = f"user_host (or apptainer_fleet_user_host) is {name}, a host that is not in the inventory; set it to one that is."
                problems.setdefault(problem, []).append(item.host)
    sentences = [f"{folded(on)}: {message}" for message, on in problems.items()]
    if not problems and hosts and all(not item.remotes and not item.logins for item in found):
        sentences = [f"nothing is declared for {folded(hosts)}; set apptainer_fleet_remotes or apptainer_fleet_logins in the inventory, and check that "
                     "these hosts get them (ansible-inventory --host)"]
    return found, sentences


def variables_of(hosts: Sequence[str], task: Any, loader: Any, hostvars: Any) -> Iterator[tuple[str, Mapping[str, Any], Any]]:
    """Each host with its variables as this task would see them there, defaults of the role and `vars` of the play included, and their templar.

    `hostvars` alone has neither of these.
    """
    manager, inventory = hostvars._variable_manager, hostvars._inventory
    for host in hosts:
        found = manager.get_vars(play=task.get_play(), host=inventory.get_host(host), task=task, _hosts=hosts, _hosts_all=hosts)
        yield host, found, Templar(loader=loader, variables=found)


def hosts_of(pattern: str | list[str], hostvars: Any, ignore_limit: bool = False) -> list[str]:
    """The names of the hosts that match, within `--limit` if it is not ignored, in the order of the inventory."""
    hosts = hostvars._inventory.get_hosts(pattern, ignore_limits=ignore_limit, ignore_restrictions=True) if pattern else ()
    return [str(host.name) for host in hosts]


def inventory_sources(hostvars: Any) -> list[str]:
    """What the inventory was read from: the values of `-i`, or of ansible.cfg."""
    return [str(source) for source in hostvars._inventory._sources]


def _templated(name: str, value: Any, templar: Any) -> Any:
    """The value, or None if its template says `omit`. Raises DeclarationError with the reason, but without the template, which may have a secret."""
    try:
        return _plain(templar.template(value))
    except _OMITTED:
        return None
    except Exception as error:  # templates and lookups raise what they like
        reason = str(error).partition(". String: ")[0].rpartition("original message: ")[2]  # as ansible-core 2.16 has it
        reason = ". ".join(dict.fromkeys(reason.rstrip(".").split(". ")))
        raise DeclarationError(f"{name} cannot be templated: {reason}.") from None


def _plain(value: Any) -> Any:
    """Without the types that Ansible has for values that are vaulted in place, and without what is omitted."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items() if not _is_omitted(item)}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value if not _is_omitted(item)]
    if value is None or _is_omitted(value):
        return None
    return value if isinstance(value, (str, bool, int, float)) else str(value)


def _is_omitted(value: Any) -> bool:
    """Whether the value is what `omit` is in ansible-core 2.16. (Newer ones leave it out themselves, or raise an error.)"""
    return isinstance(value, str) and value.startswith("__omit_place_holder__")
