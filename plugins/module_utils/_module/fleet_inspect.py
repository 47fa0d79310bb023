# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What is there on a node, for the playbooks that show and adopt a fleet: the global file, and the logins of accounts. Nothing is changed."""

import functools
from typing import Any, Dict, List, Mapping

from ansible.module_utils.basic import AnsibleModule

from .._errors import ApptainerError
from .._files.locations import global_file, user_file
from .._inspection.inspect import inspect
from .._inspection.users import own_findings
from .accounts import ask_accounts
from .common import root_of
from .processes import answer_of

_ACCOUNT_SECONDS = 60  # for the files of one account, which may be on a slow file server
_CUT_SHORT = "what the process of this account answered makes no sense; run apptainer_remote_info as this account (become_user)"


def inspect_node(module: AnsibleModule) -> Dict[str, Any]:
    """The result of the module if it is only to look: `inspected` has the global file, and each account of the option `logins`."""
    params = module.params
    flavor, root = params["flavor"], root_of(params)
    path = global_file(flavor, params["sysconfdir"], root)
    found = inspect(path, None, flavor, root=root, include=["declared"])
    kept = ("table", "findings", "declared", "undeclared")
    shown = dict({name: found[name] for name in kept}, path=found["global"]["path"], source=found["effective"]["source"])
    return {"changed": False, "parts": [], "failures": [], "inspected": dict(shown, accounts=_accounts(params["logins"], path, flavor, found["table"]))}


def _accounts(entries: List[Dict[str, Any]], path: str, flavor: str, table: List[str]) -> List[Dict[str, Any]]:
    """What each account has, read by a process that has become it."""
    found = []
    for entry, reply in ask_accounts(entries, functools.partial(_own_files, path, flavor), _ACCOUNT_SECONDS):
        shown: Dict[str, Any] = {"user": entry["user"], "error": None, "table": [], "logins": [], "findings": []}
        try:
            shown.update(_believed(answer_of(reply), table))
        except ApptainerError as error:
            shown["error"] = str(error)
        found.append(shown)
    return found


def _own_files(path: str, flavor: str, entry: Mapping[str, Any]) -> Dict[str, Any]:
    """In the account's own process."""
    found = inspect(path, entry["config_file"] or user_file(flavor), flavor, entry["auth_file"])
    mine = [finding for finding in found["findings"] if finding["path"] != path]  # the others are about the node
    return {"table": found["table"], "logins": found["logins"], "findings": mine}


def _believed(answer: Any, table: List[str]) -> Dict[str, Any]:
    """An account's answer. Of the endpoints only what is not the same for everyone: its `table` has those that it has in common. Raises ApptainerError."""
    try:
        lines = [str(line) for line in answer["table"]]
        logins = [{name: login[name] for name in ("kind", "name", "username")} for login in answer["logins"]]
        findings = own_findings(answer["findings"])
    except (KeyError, TypeError):
        raise ApptainerError(_CUT_SHORT) from None
    own = lines[len(table) + 1:] if lines[:len(table)] == table else lines
    return {"table": own, "logins": logins, "findings": findings}
