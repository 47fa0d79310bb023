# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What the role's variables declare for one host: known names, lists merged and checked, texts such as "false" as what they mean. Pure rules.

`meta/argument_specs.yml` of the role is the one place that knows the variables. Ansible would validate it too, but once for each host and entry point,
which takes the controller longer than everything else in the role.
"""

from __future__ import annotations

import difflib
import functools
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.hpc.apptainer.plugins.plugin_utils._layers import LayerError, layered

PREFIX = "apptainer_fleet_"

# What tasks of the role and of the playbooks register.
RESULTS = ("apptainer_fleet_result", "apptainer_fleet_verify_result", "apptainer_fleet_progress")

_SPECS = os.path.join(os.path.dirname(__file__), "..", "..", "roles", "apptainer_fleet", "meta", "argument_specs.yml")
_LAYERS = ("apptainer_fleet_{}", "apptainer_fleet_group_{}", "apptainer_fleet_host_{}")
_NESTED = {"remotes": "name", "keyservers": "uri", "registries": "uri"}
_SECRETS = ("token", "password")  # for the module, which refuses what is not text: as text, 0123456 would be 42798
_WORDS = {"bool": "a boolean, true or false", "int": "a number", "float": "a number", "list": "a list", "path": "a path", "str": "a text"}


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
        """The hosts that write the files of accounts with a `user_host`, and the names of these accounts."""
        found: dict[str, list[str]] = {}
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


@functools.lru_cache(maxsize=None)
def specs() -> Mapping[str, Mapping[str, Any]]:
    """The options of each entry point of the role, from its argument specification."""
    with open(_SPECS, encoding="utf-8") as stream:
        loaded = yaml.load(stream, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    return {name: entry["options"] for name, entry in loaded["argument_specs"].items()}


@functools.lru_cache(maxsize=None)
def variables() -> Mapping[str, Mapping[str, Any]]:
    """The variables of the role's main entry point."""
    return specs()["converge"]


def check_names(names: Iterable[str]) -> None:
    """Raises DeclarationError for a name that starts like the role's variables but is none: whoever misspells one would believe that it is in effect."""
    known = {name for options in specs().values() for name in options}.union(RESULTS)
    unknown = sorted(name for name in names if name.startswith(PREFIX) and name not in known)
    if unknown:
        raise DeclarationError(". ".join(f"{name} is not a variable of the role{_nearest(name, known)}" for name in unknown))


def declaration(host: str, values: Mapping[str, Any]) -> Declaration:
    """What `values`, the role's variables that are set for the host, declare. Raises DeclarationError that lists all that is wrong."""
    problems: list[str] = []
    options = {name[len(PREFIX):]: _checked_value(name, spec, values.get(name), problems)
               for name, spec in variables().items() if "options" not in spec}
    remotes = _merged("remotes", "name", "endpoint", values, problems)
    logins = [] if options["config_root"] else _merged("logins", "user", "account", values, problems, _NESTED)
    if problems:
        raise DeclarationError(". ".join(problems))
    return Declaration(host, remotes, logins, options)


def _checked_value(name: str, spec: Mapping[str, Any], value: Any, problems: list[str]) -> Any:
    """A value as its type says, or its default. Empty text counts as none, as surveys give it."""
    if value is None or value == "":
        return spec.get("default")
    checked = ArgumentSpecValidator({name: _plain(spec)}).validate({name: value})
    if checked.error_messages:
        wanted = f"one of {', '.join(spec['choices'])}" if "choices" in spec else _WORDS[spec["type"]]
        problems.append(f"{name} is {value!r}, but must be {wanted}")
    return checked.validated_parameters[name]


def _merged(kind: str, key: str, noun: str, values: Mapping[str, Any], problems: list[str], nested: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """The entries of one list, merged from its layers and checked."""
    names = [layer.format(kind) for layer in _LAYERS]
    spec = variables()[names[0]]["options"]
    layers: dict[str, Any] = {}
    for name in names:
        try:
            layers[name] = _list(values.get(name))
            layered([layers[name]], key, nested)
        except LayerError as error:
            problems.append(f"{name}: {error}")
            return []
    entries = layered(layers.values(), key, nested)
    found = []
    for entry in entries:
        place = f"{', '.join(name for name in names if any(item[key] == entry[key] for item in layers[name] or ()))}: {noun} {entry[key]}"
        wrong = list(_unknown_keys(entry, spec))
        if not wrong:
            checked = ArgumentSpecValidator(_plain({"options": spec})["options"]).validate(entry)
            wrong = [_without_python(message) for message in checked.error_messages]
            found.append(_given(checked.validated_parameters))
        problems += [f"{place}: {message}" for message in wrong]
    return found


def _given(value: Any) -> Any:
    """Without the options that are not set. The module would take null for a value."""
    if isinstance(value, dict):
        return {name: _given(item) for name, item in value.items() if item is not None}
    return [_given(item) for item in value] if isinstance(value, list) else value


def _list(value: Any) -> Any:
    """A list, also if it is written as text (`-e k=v`, INI files, surveys)."""
    if not isinstance(value, str):
        return value
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        raise LayerError("this is a text that is neither YAML nor JSON; write a list of dictionaries") from None


def _unknown_keys(entry: Mapping[str, Any], spec: Mapping[str, Any], where: str = "") -> Iterable[str]:
    for name, value in entry.items():
        if name not in spec:
            yield f"{where}the key {name} does not exist{_nearest(str(name), spec)}"
        elif "options" in spec[name] and isinstance(value, Sequence) and not isinstance(value, str):
            for number, item in enumerate(value, 1):
                if isinstance(item, Mapping):
                    yield from _unknown_keys(item, spec[name]["options"], f"{where}entry {number} of {name}: ")


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {close[0]}?" if close else "; remove it, or correct its name"


def _without_python(message: str) -> str:
    """Ansible's message, without what only a programmer needs."""
    return message.partition(", found:")[0].replace("<class '", "").replace("'>", "")


def _plain(spec: Mapping[str, Any]) -> dict[str, Any]:
    """An option as Ansible's validation takes it."""
    plain = {name: value for name, value in spec.items() if name not in ("description", "options")}
    if "options" in spec:
        plain["options"] = {name: {**_plain(option), **({"type": "raw"} if name in _SECRETS else {})} for name, option in spec["options"].items()}
    return plain
