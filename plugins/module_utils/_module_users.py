# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Reading the files of many users, each in a process that has become that user for good.

So it works where root has no rights (homes on NFS with root_squash), and root follows nobody's links. These processes are forked, not
started: nothing is imported as the user, and one costs some milliseconds. (C(multiprocessing) has no way to bound what is read from a
process, to leave behind one that cannot be killed, or to see that it inherits nothing; and it fails where /dev/shm is missing.)
"""

import contextlib
import ctypes
import fcntl
import functools
import itertools
import os
import resource
import selectors
import signal
import time
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Sequence, Union

from ansible_collections.hpc.apptainer.plugins.module_utils._config_file import read, resolve
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import ApptainerError
from ansible_collections.hpc.apptainer.plugins.module_utils._inspection import inspect
from ansible_collections.hpc.apptainer.plugins.module_utils._locations import global_file, user_file
from ansible_collections.hpc.apptainer.plugins.module_utils._module import LOCATION_SPEC
from ansible_collections.hpc.apptainer.plugins.module_utils._users import (
    LOGIN_DEFS,
    MAX_ANSWER,
    Account,
    accounts,
    decoded,
    encoded,
    entry,
    limits,
    own_findings,
    uids,
    unknown_user,
)

USERS_SPEC: Dict[str, Any] = dict(
    LOCATION_SPEC,
    users={"type": "list", "elements": "str"},
    homes={"type": "list", "elements": "path", "default": []},
    global_config_file={"type": "path"},
    timeout={"type": "float", "default": 10.0},
)

_AT_ONCE = 64  # more than there are processors: those who wait for a file server don't need one
_MAX_MEMORY = 1 << 30  # of one process, in bytes: no user's file makes root use up the node's
_PR_SET_DUMPABLE = 4

_Answer = Union[Any, ApptainerError]


def audit(params: Dict[str, Any]) -> Dict[str, Any]:
    """What is wrong with the files of users: the whole work of C(apptainer_users_info). Raises ApptainerError for options without sense."""
    timeout = params["timeout"]
    if not 0 < timeout <= 3600:
        raise ApptainerError("timeout is %g, but must be more than 0 and at most 3600 seconds" % timeout)
    path = os.path.abspath(params["global_config_file"] or global_file(params["flavor"], params["sysconfdir"]))
    login_defs = (read(resolve(LOGIN_DEFS)).data or b"").decode("utf-8", "replace")
    found, unknown = accounts(params["users"], _owners(params["homes"], timeout), limits(login_defs))
    entries = [unknown_user(name) for name in unknown]
    checked = 0
    answers = _ask([functools.partial(_findings, account, path, params["flavor"]) for account in found], timeout)
    for account, answer in zip(found, answers):
        try:
            findings = own_findings(_or_raise(answer))
        except ApptainerError as error:
            entries.append(entry(account.name, account.home, error=str(error)))
            continue
        checked += 1
        if findings:
            entries.append(entry(account.name, account.home, findings))
    return {"changed": False, "checked": checked, "users": sorted(entries, key=lambda item: (item["user"], item["home"] or ""))}


def _owners(homes: Sequence[str], timeout: float) -> List[int]:
    homes = [os.path.abspath(home) for home in homes]
    found: List[int] = []
    for home, answer in zip(homes, _ask([functools.partial(_owners_in, home) for home in homes], timeout)):
        try:
            found += uids(_or_raise(answer))
        except ApptainerError as error:
            raise ApptainerError("homes: %s: its owners cannot be found: %s" % (home, error)) from None
    return found


def _owners_in(directory: str) -> List[int]:
    """The owners of the directories in one, none if there is no such. In a process of its own, as it may hang."""
    found = set()
    with contextlib.suppress(FileNotFoundError), os.scandir(directory) as entries:
        for item in entries:
            with contextlib.suppress(OSError):  # it is gone, or leads nowhere
                if item.is_dir():
                    found.add(item.stat().st_uid)
    return sorted(found)


def _findings(account: Account, global_path: str, flavor: str) -> List[Dict[str, Any]]:
    """What is wrong with the user's own files. In a process of its own, which is this user's afterwards."""
    _become(account)
    os.environ["HOME"] = account.home
    shared = (global_path, os.path.dirname(global_path))
    return [finding for finding in inspect(global_path, user_file(flavor), flavor)["findings"] if finding["path"] not in shared]


def _become(account: Account) -> None:
    """This process is the user's for good: no id is left with which to go back, and nobody but root may look into its memory.

    Raises ApptainerError if that is not possible. An id of -1, which the system takes for "as it is", does not pass.
    """
    ids, groups = (account.uid,) * 3, (account.gid,) * 3
    if os.geteuid() not in (0, account.uid):
        raise ApptainerError("only root may read the files of others. Run the task with become: true.")
    if os.geteuid() != account.uid:
        os.initgroups(account.name, account.gid)
        os.setresgid(*groups)
        os.setresuid(*ids)
        if os.getresuid() != ids or os.getresgid() != groups:
            raise ApptainerError("uid %d and gid %d are not possible for a process. Correct the user database." % (account.uid, account.gid))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)  # as the kernel does it, unless fs.suid_dumpable says otherwise


class _Child(NamedTuple):
    """A process that was asked. It writes its answer to the other end of I(pipe)."""

    number: int
    pid: int
    pipe: int
    deadline: float
    data: bytearray


def _ask(questions: Sequence[Callable[[], Any]], timeout: float) -> List[_Answer]:
    """The answer of each question, or an ApptainerError that says why there is none; each from a process of its own, in I(timeout) seconds.

    A process that is late is killed. One that does not even die, as it waits for a dead file server, is left behind.
    """
    answers: List[_Answer] = [None] * len(questions)
    dead: List[int] = []
    late = ApptainerError("nothing came back within %g seconds. Look whether the file server of the home answers, or give more timeout." % timeout)
    with selectors.PollSelector() as running:
        for child, in_time in _ended(questions, timeout, running):
            os.close(child.pipe)
            try:
                answers[child.number] = decoded(bytes(child.data)) if in_time else late
            except ApptainerError as error:
                answers[child.number] = error
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)
            dead = _unburied(dead + [child.pid])
    patience = time.monotonic() + 1
    while dead and time.monotonic() < patience:
        time.sleep(0.005)
        dead = _unburied(dead)
    return answers


def _ended(questions: Sequence[Callable[[], Any]], timeout: float, running: selectors.BaseSelector) -> Iterator[Any]:
    """Start one process after another; each comes out, with whether it was in time, when it has answered or is late."""
    waiting = iter(enumerate(questions))
    children: Dict[int, _Child] = {}
    while True:
        for number, question in itertools.islice(waiting, _AT_ONCE - len(children)):
            child = _start(number, question, timeout)
            children[number] = child
            running.register(child.pipe, selectors.EVENT_READ, child)
        if not children:
            return
        earliest = min(child.deadline for child in children.values())
        for key, _events in running.select(max(0.0, earliest - time.monotonic())):
            data = os.read(key.fd, 65536)
            key.data.data.extend(data)
            if not data or len(key.data.data) > MAX_ANSWER:
                running.unregister(key.fd)
                yield children.pop(key.data.number), True
        for child in [child for child in children.values() if child.deadline <= time.monotonic()]:
            running.unregister(child.pipe)
            yield children.pop(child.number), False


def _start(number: int, question: Callable[[], Any], timeout: float) -> _Child:
    try:
        ours, theirs = os.pipe()
        pid = os.fork()
    except OSError as error:
        raise ApptainerError("no process can be started to read files: %s. Look what uses up this node." % error.strerror) from None
    if pid == 0:
        _answer(question, theirs)
    os.close(theirs)
    return _Child(number, pid, ours, time.monotonic() + timeout, bytearray())


def _unburied(pids: Sequence[int]) -> List[int]:
    """Those of our dead that are not dead yet."""
    left = []
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(pid, os.WNOHANG)[0] == 0:
                left.append(pid)
    return left


def _answer(question: Callable[[], Any], pipe: int) -> None:
    """The whole life of a process that was asked. It does not come back."""
    try:
        pipe = _alone(pipe)
        try:
            answer = {"answer": question()}
        except ApptainerError as error:
            answer = {"error": str(error)}
        except OSError as error:
            answer = {"error": "the system does not let it be read: %s. Run again, or look into the kernel log of this node." % error.strerror}
        except BaseException as error:  # its text might show what is in a file
            answer = {"error": "reading ended with %s. Run apptainer_remote_info as this user (become_user), and if that fails as well, "
                               "report it." % type(error).__name__}
        with os.fdopen(pipe, "wb") as stream:
            stream.write(encoded(answer))
    finally:
        os._exit(0)


def _alone(pipe: int) -> int:
    """Give up all that the process has from its parent, but for the pipe, which is returned: a new descriptor."""
    os.chdir("/")
    os.umask(0o077)
    os.environ.clear()
    pipe = fcntl.fcntl(pipe, fcntl.F_DUPFD_CLOEXEC, 3)
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nothing, number)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) != pipe:
            with contextlib.suppress(OSError):  # that of the listing itself
                os.close(int(name))
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    memory = _MAX_MEMORY if hard == resource.RLIM_INFINITY else min(hard, _MAX_MEMORY)
    resource.setrlimit(resource.RLIMIT_AS, (memory, hard))
    return pipe


def _or_raise(answer: _Answer) -> Any:
    if isinstance(answer, ApptainerError):
        raise answer
    return answer
