# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The logins of accounts, as the role's module writes them."""

import functools
from typing import Any, Dict, List, Mapping

from ansible.module_utils.basic import AnsibleModule

from .accounts import ask_accounts
from .fleet_parts import Run, options_of_part
from .logins import converge_account
from .processes import answer_of

_ACCOUNT_SECONDS = 300  # for the files of one account, which may be on a slow file server
_ADVICE = ". Create it, or correct user; a host that should not have its logins needs another user_host or a group of its own"


def converge_accounts(run: Run) -> None:
    """Each account's logins, written by a process that has become the account."""
    work = functools.partial(_account_result, run.module)
    for entry, reply in ask_accounts(run.module.params["logins"], work, _ACCOUNT_SECONDS, _ADVICE):
        subject = f"account {entry['user']}"
        with run.part(subject):
            answer = answer_of(reply)
            for warning in answer["warnings"]:
                run.module.warn(f"{subject}: {warning}")
            run.add(subject, answer["result"])


def _account_result(module: AnsibleModule, entry: Mapping[str, Any]) -> Dict[str, Any]:
    """The result for one account, in its own process, where nobody else sees the module."""
    warnings: List[str] = []
    module.warn = warnings.append
    with options_of_part(module, keep_verified=False, **entry):
        result = converge_account(module, ask=None)
    return {"result": result, "warnings": warnings}
