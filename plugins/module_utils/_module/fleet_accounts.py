# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The logins of accounts, as the role's module writes them."""

import functools
import os
from typing import Any, Callable, Dict, List, Mapping

from ansible.module_utils.basic import AnsibleModule

from .._errors import ApptainerError, quoted
from .._inspection.users import Account
from .fleet_parts import Run, options_of_part
from .logins import converge_account
from .processes import replies
from .users import account_of, become, with_paths

_ACCOUNT_SECONDS = 300  # for the files of one account, which may be on a slow file server


def converge_accounts(run: Run) -> None:
    """Each account's logins, by a process that has become the account: so it works in homes on NFS, and root follows nobody's links."""
    entries = run.module.params["logins"]
    found = {entry["user"]: account_of(entry["user"]) for entry in entries}
    known = [entry for entry in entries if found[entry["user"]]]
    questions: List[Callable[[], Any]] = [functools.partial(_account_result, run.module, found[entry["user"]], entry) for entry in known]
    answers = dict(zip((entry["user"] for entry in known), replies(questions, _ACCOUNT_SECONDS)))
    for entry in entries:
        with run.part(f"account {entry['user']}"):
            if entry["user"] not in answers:
                raise ApptainerError(f"there is no account {quoted(entry['user'])} on this host. Create it, or correct user; a host that should not "
                                     "have its logins needs another user_host or a group of its own")
            answer = answers[entry["user"]]
            if isinstance(answer, ApptainerError):
                raise answer
            for warning in answer["warnings"]:
                run.module.warn(f"account {entry['user']}: {warning}")
            run.add(f"account {entry['user']}", answer["result"])


def _account_result(module: AnsibleModule, account: Account, entry: Mapping[str, Any]) -> Dict[str, Any]:
    """The result for one account. In a process of its own, which is the account's afterwards."""
    become(account)
    os.environ["HOME"] = account.home
    warnings: List[str] = []
    module.warn = warnings.append
    with options_of_part(module, keep_verified=False, **with_paths(entry)):
        result = converge_account(module, ask=None)
    return {"result": result, "warnings": warnings}
