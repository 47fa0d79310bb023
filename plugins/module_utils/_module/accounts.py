# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Work on the files of accounts, each by a process that has become the account for good.

So it works where root has no rights (homes on NFS with root_squash), and root follows nobody's links. These processes are forked, not
started: nothing is imported as the user, and one costs some milliseconds.
"""

import ctypes
import functools
import os
from typing import Any, Callable, Dict, List, Mapping, Sequence, Tuple

from .._errors import ApptainerError, quoted
from .._inspection.accounts import Account, accounts, limits
from .processes import Reply, replies

_PR_SET_DUMPABLE = 4
_PATHS = ("config_file", "auth_file", "token_file")

Entry = Mapping[str, Any]


def ask_accounts(entries: Sequence[Entry], question: Callable[[Entry], Any], timeout: float, advice: str = "") -> List[Tuple[Entry, Reply]]:
    """What `question` gives for each entry of an option like `logins`, in a process of the account that the entry names in `user`.

    The question gets the entry with its paths as the account means them. In place of an answer is an ApptainerError that says why there is none,
    as in replies(); `advice` is what to do about an account that does not exist.
    """
    found = [next(iter(accounts([entry["user"]], (), limits(""))[0]), None) for entry in entries]
    answers = iter(replies([functools.partial(_as_account, account, question, entry) for account, entry in zip(found, entries) if account], timeout))
    return [(entry, next(answers) if account else ApptainerError(f"there is no account {quoted(entry['user'])} on this host{advice}"))
            for account, entry in zip(found, entries)]


def _as_account(account: Account, question: Callable[[Entry], Any], entry: Entry) -> Any:
    become(account)
    return question(_with_paths(entry))


def _with_paths(entry: Entry) -> Dict[str, Any]:
    """The entry with its paths as this process's account means them."""
    found = {name: os.path.expanduser(os.path.expandvars(value)) if name in _PATHS and value else value for name, value in entry.items()}
    tokens = entry.get("remotes")
    return dict(found, remotes=[_with_paths(token) for token in tokens]) if tokens else found


def become(account: Account) -> None:
    """Turn this process into the user's, with the home of that, for good: no id is left to return with, and only root may inspect its memory.

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
    os.environ["HOME"] = account.home
