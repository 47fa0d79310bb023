# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asks from one place how the servers and logins are that all hosts declare. Whatever goes wrong is in the result, for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleError
from ansible_collections.hpc.apptainer.plugins.plugin_utils._actions import AskingAction
from ansible_collections.hpc.apptainer.plugins.plugin_utils._declaration import Declaration, distinct_claims

MODULE = "hpc.apptainer.apptainer_health_info"
FOUND = ("services", "logins", "certificates", "refused")


class ActionModule(AskingAction):
    """The action. Its documentation is in the module of the same name."""

    def run(self, tmp: str | None = None, task_vars: Mapping[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        declared, problems = self.declared(variables, "ansible_play_hosts_all")
        found: dict[str, Any] = {**{name: [] for name in FOUND}, "errors": [], "undeclared": problems}
        if any(item.remotes or item.logins for item in declared):
            found.update(self._found(declared, variables))
        return {**result, "changed": False, "from": self.place(variables), **found}

    def _found(self, declared: Sequence[Declaration], variables: Mapping[str, Any]) -> dict[str, Any]:
        """What the module found, or why it could not ask."""
        try:
            answer = self.asked(MODULE, distinct_claims(declared), declared[0].network(), variables)
        except AnsibleError as error:
            answer = {"failed": True, "msg": f"it cannot be reached: {error}"}
        if not answer.get("failed") and not answer.get("unreachable"):
            return {name: answer[name] for name in FOUND}
        message = str(answer.get("msg") or answer.get("module_stderr") or "no reason was given").strip().rstrip(".")
        return {"errors": [f"nothing was asked from {self.place(variables)}: {message}"]}
