# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asks from one place how the servers and logins are that all hosts declare. Whatever goes wrong is in the result, for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.hpc.apptainer.plugins.plugin_utils._declaration import Declaration, distinct_claims
from ansible_collections.hpc.apptainer.plugins.plugin_utils._host_variables import all_declared, hosts_of
from ansible_collections.hpc.apptainer.plugins.plugin_utils._summary import NO_HOST

MODULE = "hpc.apptainer.apptainer_health_info"
FOUND = ("services", "logins", "certificates", "refused")


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible has no types
    """The action. Its documentation is in the module of the same name."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: Mapping[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        hostvars = variables["hostvars"]
        pattern = self.validate_argument_spec(argument_spec={"hosts": {"type": "str"}})[1]["hosts"]
        hosts = variables["ansible_play_hosts_all"] if pattern is None else hosts_of(pattern, hostvars)
        declared, problems = all_declared(hosts, self._task, self._loader, hostvars)
        place = str(self._task.delegate_to or variables["inventory_hostname"])
        found: dict[str, Any] = {**{name: [] for name in FOUND}, "errors": [], "undeclared": problems if hosts else [NO_HOST]}
        if any(item.remotes or item.logins for item in declared):
            found.update(self._asked(declared, place, variables))
        return {**result, "changed": False, "from": place, **found}

    def _asked(self, declared: Sequence[Declaration], place: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """What the module found, or why it could not ask."""
        options = {"declarations": distinct_claims(declared), **declared[0].network()}
        try:
            answer: dict[str, Any] = self._execute_module(module_name=MODULE, module_args=options, task_vars=variables)
        except AnsibleError as error:  # a connection of a host that is none of those that Ansible would blame
            answer = {"failed": True, "msg": f"it cannot be reached: {error}"}
        if not answer.get("failed") and not answer.get("unreachable"):
            return {name: answer[name] for name in FOUND}
        message = str(answer.get("msg") or answer.get("module_stderr") or "no reason was given").strip().rstrip(".")
        if answer.get("missing_libraries"):
            message += ". To ask from another host, set apptainer_fleet_verify_from to one whose Python has them"
        return {"errors": [f"nothing was asked from {place}: {message}"]}
