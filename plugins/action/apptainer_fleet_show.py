# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shows people what the hosts said of themselves, or writes it as variables that declare it."""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible import constants
from ansible.plugins.action import ActionBase
from ansible_collections.hpc.apptainer.plugins.plugin_utils._actions import print_lines
from ansible_collections.hpc.apptainer.plugins.plugin_utils._adopted_files import adoption
from ansible_collections.hpc.apptainer.plugins.plugin_utils._inspected import Inspected, inspected, names_of, show_lines
from ansible_collections.hpc.apptainer.plugins.plugin_utils._outcomes import PROGRESS, blamed
from ansible_collections.hpc.apptainer.plugins.plugin_utils._summary import NO_HOST
from ansible_collections.hpc.apptainer.plugins.plugin_utils._text import printable

ARGUMENTS = {
    "hosts": {"type": "list", "elements": "str", "required": True},
    "adopt": {"type": "bool", "default": False},
    "directory": {"type": "path", "default": "apptainer-adopted"},
}
NOTHING_WRITTEN = "Nothing was written"
_MOST_NAMED = 5


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible has no types
    """The action. Its documentation is in the module of the same name."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: Mapping[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        options = self.validate_argument_spec(argument_spec=ARGUMENTS)[1]
        variables = task_vars or {}
        hostvars = variables["hostvars"]
        hosts = inspected(dict.fromkeys(options["hosts"]), hostvars)
        errors = [] if hosts else [NO_HOST]
        files: dict[str, str] = {}
        if options["adopt"] and hosts:
            lines, errors, files = self._adopted(hosts, hostvars, options["directory"])
        else:
            lines = show_lines(hosts)
        print_lines([*lines, *(error for error in errors if error not in lines)])
        reasons = {item.host: item.result.reason for item in hosts if item.found is None}
        progress: dict[str, Any] = {"problems": list(reasons), "reasons": reasons, "errors": errors}
        return {**result, "changed": bool(files) and not errors, "lines": lines, "files": sorted(files),
                "ansible_facts": {PROGRESS: {**progress, "blamed": blamed(progress, variables)}}, **progress, "msg": ". ".join([*lines[:1], *errors])}

    def _adopted(self, hosts: Sequence[Inspected], hostvars: Any, directory: str) -> tuple[list[str], list[str], dict[str, str]]:
        """The lines, the errors, and the files that were written, or would be in a real run."""
        declared = [item.host for item in hosts if item.is_declared]
        if declared:
            return [], [f"{NOTHING_WRITTEN}: endpoints are declared already for {names_of(declared)}. Leave these hosts out (apptainer_fleet_hosts, or "
                        "--limit), or remove apptainer_fleet_remotes, _group_remotes and _host_remotes where they are set for them, and adopt them "
                        "anew"], {}
        inventory = hostvars._inventory  # there is no public way, in any ansible-core
        groups = {str(name): [str(host.name) for host in group.get_hosts()] for name, group in inventory.groups.items() if name not in ("all", "ungrouped")}
        made = adoption(hosts, groups, datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"))
        files = {os.path.join(directory, path): text for path, text in made.files.items()}
        errors = [problem for path in made.files for problem in _in_the_way(directory, path)]
        if errors:
            more = f", and {len(errors) - _MOST_NAMED} more" if len(errors) > _MOST_NAMED else ""
            errors = [f"{NOTHING_WRITTEN}: {'; '.join(errors[:_MOST_NAMED])}{more}. Set apptainer_fleet_adopt_directory to another directory, or move "
                      "these files away"]
        elif not self._task.check_mode:
            errors = _write(files)
        written = {} if errors else files
        others = {str(host.name) for host in inventory.get_hosts("all", ignore_limits=True, ignore_restrictions=True)} - {item.host for item in hosts}
        return [*made.summary, *_closing(written, directory, self._task.check_mode, sorted(others))], errors, written


def _closing(files: Mapping[str, str], directory: str, check_mode: bool, others: Sequence[str]) -> list[str]:
    """What comes last: what was written, and what to do now."""
    if not files:
        return []
    kind = "would be written" if check_mode else "were written"
    lines = [f"{len(files)} files {kind} to {printable(directory)}. Read them, then compare: ansible-playbook -i INVENTORY -i {printable(directory)} "
             "hpc.apptainer.drift"]
    if others:
        lines.append(f"Variables in group_vars are also those of hosts that were not looked at: {names_of(others)}")
    return lines


def _in_the_way(directory: str, path: str) -> Iterable[str]:
    """Why a file of variables must not be made: it is there already, or Ansible would no longer read another one for its directory."""
    folder = os.path.dirname(path)
    if os.path.lexists(os.path.join(directory, path)):
        yield f"{printable(os.path.join(directory, path))} exists already"
    if len(path.split("/")) != 3 or os.path.basename(folder).startswith("."):
        yield f"{printable(path)} cannot be a file, because of the name of its group or host"
    for extension in ("", *constants.YAML_FILENAME_EXTENSIONS):
        other = os.path.join(directory, folder) + extension
        if os.path.isfile(other):
            yield f"{printable(other)} exists, and Ansible would not read it beside a directory of that name: move it into that directory"


def _write(files: Mapping[str, str]) -> list[str]:
    """Write new files, all of them or none. Returns what went wrong."""
    made: list[str] = []
    try:
        for path, text in files.items():
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "x", encoding="utf-8") as file:
                made.append(path)
                file.write(text)
    except (OSError, ValueError) as error:
        for written in made:
            with contextlib.suppress(OSError):
                os.unlink(written)
        return [f"{NOTHING_WRITTEN}: {printable(path)} cannot be written ({getattr(error, 'strerror', None) or 'not a valid file name'}): set "
                "apptainer_fleet_adopt_directory to a directory that is writable"]
    return []
