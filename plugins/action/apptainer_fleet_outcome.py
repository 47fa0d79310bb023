# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lets a host fail, or be unreachable, for what the report has found: so the recap, AWX and ara blame it and nobody else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.hpc.apptainer.plugins.plugin_utils._outcomes import PROGRESS, VARIABLE
from ansible_collections.hpc.apptainer.plugins.plugin_utils._summary import NO_HOST


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible has no types
    """The action. Its documentation is in the module of the same name."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: Mapping[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        self.validate_argument_spec(argument_spec={})
        progress = variables["hostvars"].raw_get("localhost").get("ansible_facts", {}).get(PROGRESS, {})
        reason = progress.get("reasons", {}).get(variables["inventory_hostname"])
        if reason is None:  # the controller, or the host in its place
            reason = ". ".join(progress.get("errors", [NO_HOST]))
            if progress.get("unreachable"):
                return {**result, "unreachable": True, "msg": reason}
        elif variables.get(VARIABLE, {}).get("unreachable_reason"):
            return {**result, "unreachable": True, "msg": reason}
        return {**result, "failed": bool(reason), "msg": reason or "nothing is wrong with this host"}
