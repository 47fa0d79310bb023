# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Reading the files of many users, each in a process that has become that user for good.

So it works where root has no rights (homes on NFS with root_squash), and root follows nobody's links. These processes are forked, not
started: nothing is imported as the user, and one costs some milliseconds.
"""

import contextlib
import ctypes
import functools
import os
import resource
import stat
from typing import Any, Dict, List, Mapping, Sequence

from ansible.module_utils.basic import AnsibleModule

from .._errors import ApptainerError
from .._files.config_file import read, real_path
from .._files.locations import global_file, user_file
from .._inspection.inspect import inspect
from .._inspection.users import (
    LOGIN_DEFS,
    Account,
    accounts,
    limits,
    own_findings,
    uids,
    unknown_user,
    user_entry,
)
from .common import LOCATION_SPEC, checked_timeout
from .processes import Reply, replies

USERS_SPEC: Dict[str, Any] = dict(
    LOCATION_SPEC,
    users={"type": "list", "elements": "str"},
    homes={"type": "list", "elements": "path", "default": []},
    global_config_file={"type": "path"},
    timeout={"type": "float", "default": 10.0},
)

_MAX_MEMORY = 1 << 30  # of one process, in bytes: no user's file makes root use up the node's
_PR_SET_DUMPABLE = 4
_PATHS = ("config_file", "auth_file", "token_file")


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
            findings = own_findings(_or_raise(reply))
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
            found += uids(_or_raise(reply))
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
    os.environ["HOME"] = account.home
    system = (global_path, os.path.dirname(global_path), os.path.dirname(os.path.realpath(global_path)))
    return [finding for finding in inspect(global_path, user_file(flavor), flavor)["findings"] if finding["path"] not in system]


def become(account: Account) -> None:
    """Turn this process into the user's, for good: no id is left to return with, and only root may inspect its memory.

    Raises ApptainerError if that is not possible. An id of -1, which the system takes for "as it is", does not pass.
    """
    ids, groups = (account.uid,) * 3, (account.gid,) * 3
    if os.geteuid() not in (0, account.uid):
        raise ApptainerError("only root may work on other users' files. Run the task with become: true.")
    if os.geteuid() != account.uid:
        os.initgroups(account.name, account.gid)
        os.setresgid(*groups)
        os.setresuid(*ids)
        if os.getresuid() != ids or os.getresgid() != groups:
            raise ApptainerError(f"uid {account.uid} and gid {account.gid} are not possible for a process. Correct the user database.")
        with open("/proc/self/status", encoding="utf-8", errors="replace") as status:
            if any(line.startswith("CapPrm:") and int(line.split()[1], 16) for line in status):
                raise ApptainerError("this node lets processes keep root's capabilities (securebits), so nothing can be read with the user's own "
                                     "rights. Run the task without that.")
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)  # as the kernel does it, unless fs.suid_dumpable says otherwise


def _or_raise(reply: Reply) -> Any:
    if isinstance(reply, ApptainerError):
        raise reply
    return reply


def account_of(name: str) -> Any:
    """The Account of this name, or None."""
    return next(iter(accounts([name], (), limits(""))[0]), None)


def with_paths(entry: Mapping[str, Any]) -> Dict[str, Any]:
    """The entry with its paths as the account means them."""
    found = {name: os.path.expanduser(os.path.expandvars(value)) if name in _PATHS and value else value for name, value in entry.items()}
    tokens = entry.get("remotes")
    return dict(found, remotes=[with_paths(token) for token in tokens]) if tokens else found
