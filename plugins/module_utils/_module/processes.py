# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Processes of which nothing is expected: they may hang, say too much, lie, or leave others behind, and whoever asked them goes on.

They are forked. `multiprocessing` has no way to bound what is read from a process, to leave behind one that cannot be killed, or to see
that it inherits nothing; and it fails where /dev/shm is missing. `AnsibleModule.run_command` passes on the environment, keeps all that a
program prints, and waits for it as long as it takes. This must not be used after threads were started.
"""

import contextlib
import fcntl
import functools
import itertools
import os
import select
import selectors
import signal
import time
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

from .._errors import ApptainerError
from .._inspection.users import MAX_REPLY, decode_reply, encode_reply

MAX_OUTPUT = 1024 * 1024

_AT_ONCE = 64  # more than there are processors: those who wait for a file server don't need one

Reply = Union[Any, ApptainerError]


class _Child(NamedTuple):
    """A process that was asked. It writes its answer to the other end of `pipe`."""

    number: int
    pid: int
    pipe: int
    deadline: float
    data: bytearray


def replies(questions: Sequence[Callable[[], Any]], timeout: float) -> List[Reply]:
    """The answer of each question, or an ApptainerError that says why there is none; each from a process of its own, in `timeout` seconds.

    A process that is late is killed. One that does not even die, as it waits for a dead file server, is left behind. There are never
    more than _AT_ONCE: if all of these hang like that, the rest is not asked.
    """
    not_asked = ApptainerError("was not looked at, as %d processes wait for file servers and cannot be killed. Look which one does not answer."
                               % _AT_ONCE)
    late = ApptainerError(f"nothing came back within {timeout:g} seconds. Look whether the file server of the home answers, or give more timeout.")
    found: List[Reply] = [not_asked] * len(questions)
    dead: List[int] = []
    with selectors.PollSelector() as running:
        for child, in_time in _ended(questions, timeout, running, dead):
            os.close(child.pipe)
            try:
                found[child.number] = decode_reply(bytes(child.data)) if in_time else late
            except ApptainerError as error:
                found[child.number] = error
            _kill(child.pid)
            dead.append(child.pid)
            _bury(dead)
    _bury(dead, 1.0)
    return found


def output_of(arguments: Sequence[str], environment: Mapping[str, str], directory: str, timeout: float) -> Tuple[bytes, Optional[int]]:
    """What a program prints, and its exit status: negative for a signal, 127 if it cannot be run, None if it did not end in time.

    It is told to say no more after MAX_OUTPUT bytes, by being killed. It has nothing to read, no terminal, and nothing of ours. What it
    leaves behind in its session is killed, what has left that is not waited for.
    """

    def execute(pipe: int) -> None:
        os.dup2(pipe, 1)
        os.chdir(directory)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and what is ignored is inherited
        os.execve(arguments[0], list(arguments), dict(environment))

    child = _start(0, execute, timeout)
    is_over = False
    while not is_over and len(child.data) <= MAX_OUTPUT and time.monotonic() < child.deadline:
        # a look first, so that all it has printed is read afterwards; without burying it, as its number is still needed
        is_over = os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        if not _has_read(child, 0.0 if is_over else 0.02):
            time.sleep(0.005)  # it has closed its output, but goes on
    os.close(child.pipe)
    _kill(child.pid)
    if is_over:
        _pid, status = os.waitpid(child.pid, 0)
        return bytes(child.data), os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
    _bury([child.pid], 1.0)
    return bytes(child.data), None


def _has_read(child: _Child, patience: float) -> bool:
    """Read what there is, up to MAX_OUTPUT bytes and some more. Returns whether there may be more to come."""
    while len(child.data) <= MAX_OUTPUT and select.select([child.pipe], [], [], patience)[0]:
        data = os.read(child.pipe, 65536)
        if not data:
            return False
        child.data.extend(data)
        patience = 0.0
    return True


def _ended(questions: Sequence[Callable[[], Any]], timeout: float, running: selectors.BaseSelector, dead: List[int]) -> Iterator[Any]:
    """Start one process after another; each comes out, with whether it was in time, when it has answered or is late."""
    waiting = iter(enumerate(questions))
    children: Dict[int, _Child] = {}
    while True:
        _bury(dead, 0.0 if children else 1.0)
        for number, question in itertools.islice(waiting, _AT_ONCE - len(children) - len(dead)):
            child = _start(number, functools.partial(_send_reply, question), timeout)
            children[number] = child
            running.register(child.pipe, selectors.EVENT_READ, child)
        if not children:
            return
        earliest = min(child.deadline for child in children.values())
        for key, _events in running.select(max(0.0, earliest - time.monotonic())):
            data = os.read(key.fd, 65536)
            key.data.data.extend(data)
            if not data or len(key.data.data) > MAX_REPLY:
                running.unregister(key.fd)
                yield children.pop(key.data.number), True
        for child in [child for child in children.values() if child.deadline <= time.monotonic()]:
            running.unregister(child.pipe)
            yield children.pop(child.number), False


def _start(number: int, life: Callable[[int], None], timeout: float) -> _Child:
    """A new process, which lives `life` with the pipe for its answer, and has nothing else of ours."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # if it was ignored, numbers of the dead would be given to others before they are buried
    try:
        ours, theirs = os.pipe()
        pid = os.fork()
    except OSError as error:
        raise ApptainerError(f"no process can be started: {error.strerror}. Look what uses up this node.") from None
    if pid == 0:
        try:
            life(_alone(theirs))
        finally:
            os._exit(127)
    os.close(theirs)
    return _Child(number, pid, ours, time.monotonic() + timeout, bytearray())


def _kill(pid: int) -> None:
    """Kill a process that is not buried yet, and all others in its session, which it may not have begun yet."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)


def _bury(pids: List[int], patience: float = 0.0) -> None:
    """Take those off the list who are dead; wait for them for some seconds."""
    end = time.monotonic() + patience
    while True:
        pids[:] = [pid for pid in pids if os.waitpid(pid, os.WNOHANG)[0] == 0]
        if not pids or time.monotonic() >= end:
            return
        time.sleep(0.005)


def _send_reply(question: Callable[[], Any], pipe: int) -> None:
    try:
        answer = {"answer": question()}
    except ApptainerError as error:
        answer = {"error": str(error)}
    except OSError as error:
        answer = {"error": f"the system does not let it be read: {error.strerror}. Run again, or look into the kernel log of this node."}
    except BaseException as error:  # its text might show what is in a file
        answer = {"error": "reading ended with %s. Run apptainer_remote_info as this user (become_user), and if that fails as well, "
                           "report it." % type(error).__name__}
    with os.fdopen(pipe, "wb") as stream:
        stream.write(encode_reply(answer))


def _alone(pipe: int) -> int:
    """Give up all that the process has from its parent, but for the pipe, which is returned: a new descriptor."""
    os.setsid()
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
    return pipe
