# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What the role's variables declare for one host: known names, lists merged and checked, texts such as "false" as what they mean. Pure rules.

`meta/argument_specs.yml` of the role is the one place that knows the variables. Ansible would validate it too, but once for each host and entry
point, which takes the controller longer than everything else in the role.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import yaml
from ansible_collections.hpc.apptainer.plugins.module_utils._options import ALIASES
from ansible_collections.hpc.apptainer.plugins.module_utils._redaction import without_login
from ansible_collections.hpc.apptainer.plugins.plugin_utils._checked import Checker, as_list, nearest, with_defaults
from ansible_collections.hpc.apptainer.plugins.plugin_utils._layers import LayerError, layered

PREFIX = "apptainer_fleet_"

# What tasks of the role and of the playbooks register.
RESULTS = ("apptainer_fleet_result", "apptainer_fleet_verify_result", "apptainer_fleet_health_result", "apptainer_fleet_report_result",
           "apptainer_fleet_progress")

_SPECS = os.path.join(os.path.dirname(__file__), "..", "..", "roles", "apptainer_fleet", "meta", "argument_specs.yml")
_LAYERS = ("apptainer_fleet_{}", "apptainer_fleet_group_{}", "apptainer_fleet_host_{}")
_NESTED = {"remotes": "name", "keyservers": "uri", "registries": "uri"}
_LISTS: Mapping[str, tuple[str, str, Mapping[str, str]]] = {"remotes": ("name", "endpoint", {}), "logins": ("user", "account", _NESTED)}
_PARTS: Mapping[str, list[tuple[str, ...]]] = {
    "remotes": [("token", "token_file")], "keyservers": [("password",)], "registries": [("username",), ("password",)]}  # that a login must have
_SECRETS = ("token", "password")
_NETWORK = ("timeout", "validate_certs", "ca_path", "client_cert", "client_key")
_NEVER_EMPTY = (f"{PREFIX}config_root",)


class DeclarationError(Exception):
    """The variables of a host declare something that makes no sense. The message says which, in whole sentences, and shows no secret."""


class Declaration(NamedTuple):
    """What is declared for one host."""

    host: str
    remotes: list[dict[str, Any]]
    logins: list[dict[str, Any]]
    """All accounts, each with its logins, also those whose files another host writes."""
    options: dict[str, Any]
    """The other variables of the role, without the prefix, as their types say."""

    @property
    def own_logins(self) -> list[dict[str, Any]]:
        """The accounts whose files this host writes."""
        return [entry for entry in self.logins if self._writer(entry) == self.host]

    @property
    def user_hosts(self) -> dict[str, list[str]]:
        """The hosts that write the files of accounts, and the names of these accounts. `apptainer_fleet_user_host` is one of them in any case."""
        found: dict[str, list[str]] = {self.options["user_host"]: []} if self.options["user_host"] else {}
        for entry in self.logins:
            found.setdefault(self._writer(entry), []).append(entry["user"])
        return found

    @property
    def is_empty(self) -> bool:
        """Whether nothing is declared for this host to look at."""
        return not self.remotes and not self.own_logins

    def _writer(self, entry: Mapping[str, Any]) -> str:
        return str(entry.get("user_host") or self.options["user_host"] or self.host)

    def claims(self) -> dict[str, Any]:
        """What servers can be asked about, as an element of `declarations` of apptainer_verify."""
        logins = {kind: [login for entry in self.logins for login in entry.get(kind, ())] for kind in _NESTED}
        return {"flavor": self.options["flavor"], "remotes": self.remotes, "logins": logins}

    def network(self) -> dict[str, Any]:
        """The options for a module that asks servers."""
        return {name: self.options[name] for name in _NETWORK if self.options[name] is not None}

    def module_options(self) -> dict[str, Any]:
        """The options for the module apptainer_fleet."""
        audits = self.options["audit_users"] and not self.options["config_root"] and self.host == (self.options["user_host"] or self.host)
        names = ("prune", "unreadable", "flavor", "sysconfdir", "backup", "check", "audited_users", "audited_homes")
        return {
            **{name: self.options[name] for name in names if self.options[name] is not None},
            "root": self.options["config_root"],
            "remotes": self.remotes,
            "prune": self.options["prune"] and not self.is_empty,
            "logins": [{name: value for name, value in entry.items() if name != "user_host"} for entry in self.own_logins],
            "audit_users": audits,
        }

    def inspection(self, users: Iterable[str]) -> dict[str, Any]:
        """The options for the module apptainer_fleet to look at the host, at the declared accounts and at `users`. There is no secret in them."""
        files = {entry["user"]: {name: entry[name] for name in ("config_file", "auth_file") if name in entry} for entry in self.own_logins}
        accounts = [] if self.options["config_root"] else dict.fromkeys([*files, *users])
        where = {name: self.options[name] for name in ("flavor", "sysconfdir") if self.options[name] is not None}
        return {**where, "inspect": True, "root": self.options["config_root"], "logins": [{"user": user, **files.get(user, {})} for user in accounts]}


def distinct_claims(declared: Iterable[Declaration]) -> list[dict[str, Any]]:
    """The option `declarations` of apptainer_verify, in which each distinct one is once: a thousand hosts declare the same."""
    return list({json.dumps(claims, sort_keys=True): claims for claims in (item.claims() for item in declared)}.values())


def _read_specs() -> Mapping[str, Mapping[str, Any]]:
    with open(_SPECS, encoding="utf-8") as stream:
        loaded = yaml.load(stream, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return {name: _as_checked(entry["options"]) for name, entry in loaded["argument_specs"].items()}


def _as_checked(options: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """The options, with a type of their own for passwords and tokens, and the other names of the keys of entries: ansible-lint allows none in the file."""
    found = {}
    for name, option in options.items():
        more: dict[str, Any] = {"type": "secret"} if name in _SECRETS else {}
        aliases = ALIASES.get("uri of a registry" if (above, name) == ("registries", "uri") else name)
        if above and aliases:
            more["aliases"] = aliases
        if "options" in option:
            more["options"] = _as_checked(option["options"], name)
        found[name] = {**option, **more}
    return found


# The options of each entry point of the role. Read on import, which Ansible does once, before it forks a process for each host.
SPECS = _read_specs()
VARIABLES = SPECS["converge"]


def declaration(host: str, values: Mapping[str, Any], names: Iterable[str] = ()) -> Declaration:
    """What `values`, the role's variables that are set for the host, declare. `names` are those of all variables of the host.

    Raises DeclarationError that lists all that is wrong.
    """
    problems = list(_unknown_variables(names))
    options = {name[len(PREFIX):]: _option(name, spec, values.get(name), problems) for name, spec in VARIABLES.items() if "options" not in spec}
    remotes = _merged("remotes", values, problems)
    logins = [] if options["config_root"] else _merged("logins", values, problems)
    problems.extend(_incomplete_logins(logins))
    if problems:
        raise DeclarationError(_sentences(problems))
    return Declaration(host, remotes, logins, options)


def playbook_options(entry: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The variables of an entry point of the role as their types say, with the defaults of those that are not set, among `values`.

    An empty path stays so: it means no file. Raises DeclarationError that lists all that is wrong.
    """
    problems: list[str] = []
    options = {name: "" if value == "" and SPECS[entry][name]["type"] == "path" else _option(name, SPECS[entry][name], value, problems)
               for name, value in values.items()}
    if problems:
        raise DeclarationError(_sentences(problems))
    return options


def _sentences(problems: Iterable[str]) -> str:
    return " ".join(problem if problem.endswith("?") else f"{problem}." for problem in problems)


def _unknown_variables(names: Iterable[str]) -> Iterator[str]:
    """Names that start like the role's variables but are none: who misspells one would believe that it is in effect."""
    known = {name for options in SPECS.values() for name in options}.union(RESULTS)
    others = {f"{PREFIX}{other}": f"{PREFIX}{name}" for name, aliases in ALIASES.items() for other in aliases}
    for name in sorted(name for name in names if name.startswith(PREFIX) and name not in known):
        meant = f"; did you mean {others[name]}?" if others.get(name) in known else nearest(name, known)
        yield f"{name} is not a variable of the role{meant}"


def _option(name: str, spec: Mapping[str, Any], value: Any, problems: list[str]) -> Any:
    """A value as its type says, or its default. Empty text counts as none, as surveys give it, but not where that would mean another system."""
    if value == "" and name in _NEVER_EMPTY:
        problems.append(f"{name} is empty, but must be an absolute path; leave it undefined if the files of the host itself are meant")
    checked = None if value == "" else Checker(problems).value(name, value, spec)
    return spec.get("default") if checked is None else checked


def _merged(kind: str, values: Mapping[str, Any], problems: list[str]) -> list[dict[str, Any]]:
    """The entries of one list, merged from its layers and checked."""
    key, noun, nested = _LISTS[kind]
    options = VARIABLES[f"{PREFIX}{kind}"]["options"]
    layers: list[list[Mapping[str, Any]] | None] = []
    for name in (layer.format(kind) for layer in _LAYERS):
        try:
            entries = layered([Checker(problems).with_own_names(name, _list(values.get(name)), options)], key, nested)
        except LayerError as error:
            problems.append(f"{name}: {error}")
            continue
        checker = Checker(problems, is_secret=kind == "logins")
        layers.append([checker.entry(f"{name}: {noun} {entry[key]}", entry, options) for entry in entries])
    return [] if problems else [with_defaults(entry, options) for entry in layered(layers, key, nested)]


def _incomplete_logins(logins: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Logins that lack a part in all layers."""
    for account in logins:
        for kind, parts in _PARTS.items():
            for login in account.get(kind, ()):
                place = f"account {account['user']}: {kind}: {without_login(login[_NESTED[kind]])}"
                if login["state"] == "present":
                    yield from (f"{place} has no {' or '.join(names)}; set it, or state: absent" for names in parts if not any(map(login.get, names)))
                if login.get("token") and login.get("token_file"):
                    yield f"{place} has both token and token_file; remove one of them"


def _list(value: Any) -> Any:
    try:
        return as_list(None if value == "" else value, "dict")
    except ValueError:
        raise LayerError("this is a text that is neither YAML nor JSON; write a list of dictionaries") from None
