# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What several action plugins do in the same way: ask servers from one place about what all hosts declare, and print lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible import constants
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.hpc.apptainer.plugins.plugin_utils._declaration import Declaration
from ansible_collections.hpc.apptainer.plugins.plugin_utils._host_variables import all_declared, hosts_of
from ansible_collections.hpc.apptainer.plugins.plugin_utils._summary import NO_HOST


def print_lines(lines: Iterable[str], color: str | None = None) -> None:
    """Print the lines as they are, whatever the callbacks make of results. Where they make JSON of all output, the lines are in there anyway."""
    if "json" not in constants.DEFAULT_STDOUT_CALLBACK:
        for line in lines:
            Display().display(line, color=color)


class AskingAction(ActionBase):  # type: ignore[misc]  # ansible has no types
    """An action that runs once for all hosts, on the one host that asks the servers."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def place(self, variables: Mapping[str, Any]) -> str:
        """The name of the host that asks."""
        return str(self._task.delegate_to or variables["inventory_hostname"])

    def declared(self, variables: Mapping[str, Any], default: str) -> tuple[list[Declaration], list[str]]:
        """What the hosts of the option `hosts` declare, or those of the variable `default`; and what is wrong with it, in sentences."""
        pattern = self.validate_argument_spec(argument_spec={"hosts": {"type": "str"}})[1]["hosts"]
        hosts: Sequence[str] = variables[default] if pattern is None else hosts_of(pattern, variables["hostvars"])
        found, problems = all_declared(hosts, self._task, self._loader, variables["hostvars"])
        return found, problems if hosts else [NO_HOST]

    def asked(self, module: str, claims: list[dict[str, Any]], network: Mapping[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        """The answer of the module. Raises AnsibleError if the host that asks cannot be reached: Ansible would blame another host for that."""
        answer: dict[str, Any] = self._execute_module(module_name=module, module_args={"declarations": claims, **network}, task_vars=variables)
        answer.pop("invocation", None)
        if answer.get("missing_libraries"):
            answer["msg"] += ". To ask from another host, set apptainer_fleet_verify_from to one whose Python has them"
        return answer
