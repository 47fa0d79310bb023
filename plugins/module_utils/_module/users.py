# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Reading the files of many users, each in a process that has become that user for good."""

import contextlib
import functools
import os
import resource
import stat
from typing import Any, Dict, List, Sequence

from ansible.module_utils.basic import AnsibleModule

from .._errors import ApptainerError
from .._files.config_file import read, real_path
from .._files.locations import global_file, user_file
from .._inspection.accounts import LOGIN_DEFS, Account, accounts, limits
from .._inspection.inspect import inspect
from .._inspection.users import own_findings, uids, unknown_user, user_entry
from .accounts import become
from .common import LOCATION_SPEC, checked_timeout
from .processes import answer_of, replies

USERS_SPEC: Dict[str, Any] = dict(
    LOCATION_SPEC,
    users={"type": "list", "elements": "str"},
    homes={"type": "list", "elements": "path", "default": []},
    global_config_file={"type": "path"},
    timeout={"type": "float", "default": 10.0},
)

_MAX_MEMORY = 1 << 30  # of one process, in bytes: no user's file makes root use up the node's


def audit(module: AnsibleModule) -> Dict[str, Any]:
    """What is wrong with the files of the users that the options of USERS_SPEC name. Raises ApptainerError for options that make no sense."""
    params = module.params
    timeout = checked_timeout(params)
    path = os.path.abspath(params["global_config_file"] or global_file(params["flavor"], params["sysconfdir"]))
    login_defs = (read(real_path(LOGIN_DEFS)).data or b"").decode("utf-8", "replace")
    found, unknown = accounts(params["users"], _owners(params["homes"], timeout), limits(login_defs))
    entries = [unknown_user(name) for name in unknown]
    checked = 0
    questions = [functools.partial(_findings, account, path, params["flavor"]) for account in found]
    for account, reply in zip(found, replies(questions, timeout)):
        try:
            findings = own_findings(answer_of(reply))
        except ApptainerError as error:
            entries.append(user_entry(account.name, account.home, error=str(error)))
            continue
        checked += 1
        if findings:
            entries.append(user_entry(account.name, account.home, findings))
    return {"changed": False, "checked": checked, "users": sorted(entries, key=lambda item: (item["user"], item["home"] or ""))}


def _owners(homes: Sequence[str], timeout: float) -> List[int]:
    homes = [os.path.abspath(home) for home in homes]
    found: List[int] = []
    for home, reply in zip(homes, replies([functools.partial(_owners_in, home) for home in homes], timeout)):
        try:
            found += uids(answer_of(reply))
        except ApptainerError as error:
            raise ApptainerError(f"homes: {home}: its owners cannot be found: {error}") from None
    return found


def _owners_in(directory: str) -> List[int]:
    """The owners of the directories in one, none if it does not exist. In a process of its own, because it may hang."""
    found = set()
    with contextlib.suppress(FileNotFoundError), os.scandir(directory) as entries:
        for item in entries:
            with contextlib.suppress(OSError):  # it is gone, or leads nowhere
                status = item.stat(follow_symlinks=False)
                if stat.S_ISLNK(status.st_mode) and status.st_uid == 0:  # a user's link may lead to a dead file server
                    status = item.stat()
                if not stat.S_ISREG(status.st_mode):
                    found.add(status.st_uid)
    return sorted(found)


def _findings(account: Account, global_path: str, flavor: str) -> List[Dict[str, Any]]:
    """What is wrong with the user's own files. In a process of its own, which is this user's afterwards."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    memory = _MAX_MEMORY if hard == resource.RLIM_INFINITY else min(hard, _MAX_MEMORY)
    resource.setrlimit(resource.RLIMIT_AS, (memory, hard))
    become(account)
    system = (global_path, os.path.dirname(global_path), os.path.dirname(os.path.realpath(global_path)))
    return [finding for finding in inspect(global_path, user_file(flavor), flavor)["findings"] if finding["path"] not in system]
