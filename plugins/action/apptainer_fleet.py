# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One trip to a host: what its variables declare is merged, checked and templated once, and one run of the module of this name does the rest."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.hpc.apptainer.plugins.plugin_utils._declaration import PREFIX, VARIABLES, DeclarationError
from ansible_collections.hpc.apptainer.plugins.plugin_utils._host_variables import declared_for
from ansible_collections.hpc.apptainer.plugins.plugin_utils._node_files import leave

MODULE = "hpc.apptainer.apptainer_fleet"
LOST = "the connection was lost while the module ran, so it is not known how far it came; run again when the host is reachable: "
_NO_DIRECTORY = "Failed to create temporary directory"  # which Ansible takes for an unreachable host
# Which of two sentences Ansible has for a host that is down depends on the moment. Hosts with the same reason should be together in the report.
_SAME_REASON = re.compile(r"Data could not be sent to remote host .*?\. Make sure this host can be reached over ssh: (.)", re.S)
ARGUMENTS = {
    "collect": {"type": "bool", "default": False},
    "probe": {"type": "bool", "default": False},
    "inspect": {"type": "bool", "default": False},
    "users": {"type": "list", "elements": "str", "default": []},
}


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible has no types
    """The action. Its documentation is in the module of the same name."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: Mapping[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        foreign = [f"{name} is no option of this task; set the variable {PREFIX}{name}" for name in self._task.args if f"{PREFIX}{name}" in VARIABLES]
        if foreign:
            return {**result, "failed": True, "msg": ". ".join(foreign)}
        options = self.validate_argument_spec(argument_spec=ARGUMENTS)[1]
        try:
            result.update(self._visited(variables, options))
        except AnsibleError as error:
            leave({"failed": True, "msg": str(error)}, variables, not self._task.check_mode)
            raise
        leave(result, variables, not self._task.check_mode)
        return _without_error(result) if options["collect"] else result

    def _visited(self, variables: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
        """The result of the host. With `collect`, also if it cannot be reached."""
        nothing: dict[str, Any] = {"changed": False, "declared": False, "parts": [], "failures": [], "at": time.time()}
        try:
            declared = declared_for(variables["inventory_hostname"], variables, self._templar)
        except DeclarationError as error:
            return {**nothing, "failures": [{"subject": "declaration", "msg": str(error)}], "failed": True, "msg": str(error)}
        module_options = declared.inspection(options["users"]) if options["inspect"] else declared.module_options()
        if declared.is_empty and not options["inspect"] and not module_options["audit_users"]:
            return nothing
        shows_diff, self._task.diff = self._task.diff, options["collect"] or self._task.diff  # the report says what was done, also without --diff
        is_reached = False
        try:
            if options["probe"]:
                self._low_level_execute_command("exit 0")
                is_reached = True
            answer = self._execute_module(module_name=MODULE, module_args=module_options, task_vars=variables)
        except AnsibleError as error:
            if not options["collect"]:
                raise
            message = str(error)
            is_lost = isinstance(error, AnsibleConnectionFailure) and not message.startswith(_NO_DIRECTORY)
            if is_lost and not is_reached:
                return {**nothing, "declared": True, "unreachable_reason": _SAME_REASON.sub(r"Failed to connect to the host via ssh: \1", message)}
            return {**nothing, "declared": True, "failures": [{"subject": "connection", "msg": f"{LOST}{message}" if is_lost else message}]}
        if not shows_diff and "diff" in answer:
            answer["differences"] = answer.pop("diff")
        answer.pop("invocation", None)  # as large as all the rest, and kept for each host
        answer.pop("_ansible_parsed", None)
        return {**nothing, "declared": bool(declared.remotes) if options["inspect"] else not declared.is_empty, **answer}


def _without_error(result: dict[str, Any]) -> dict[str, Any]:
    """The result of a task that has not failed, with all that makes Ansible take it for failed, or show an error, in `failures`."""
    failed, _rc, _exception, message, error, _output = (
        result.pop(name, "") for name in ("failed", "rc", "exception", "msg", "module_stderr", "module_stdout"))
    if failed and not result["failures"]:  # what ran there was not our module, or it crashed
        said = [line.strip(" .") for line in (*str(message).splitlines()[:1], *str(error).splitlines()[-1:]) if line.strip()]
        result["failures"] = [{"subject": "connection", "msg": ": ".join(said) or "the module failed and did not say why"}]
    return result
