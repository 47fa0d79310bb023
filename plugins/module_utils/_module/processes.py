# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Processes that are not trusted: they may hang, print without end, lie, or leave other processes behind, and the module goes on.

They are forked. `multiprocessing` cannot bound what is read from a process, abandon one that cannot be killed, or ensure that it inherits
nothing; and it fails where /dev/shm is missing. `AnsibleModule.run_command` passes on the environment, keeps all that a program prints,
and waits for it as long as it takes. This must not be used after threads were started.
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
from .._inspection.replies import MAX_REPLY, decode_reply, encode_reply

MAX_OUTPUT = 1024 * 1024

_AT_ONCE = 64  # more than there are processors: those who wait for a file server don't need one

Reply = Union[Any, ApptainerError]


class _Child(NamedTuple):
    """A process that was asked. It writes its reply to the other end of `pipe`."""

    number: int
    pid: int
    pipe: int
    deadline: float
    data: bytearray


def replies(questions: Sequence[Callable[[], Any]], timeout: float) -> List[Reply]:
    """The reply to each question, or an ApptainerError that says why there is none; each from a process of its own, within `timeout` seconds.

    A late process is killed. One that cannot even be killed, because it waits for a dead file server, is abandoned. There are never
    more than _AT_ONCE: if all of these hang like that, the remaining questions are not asked.
    """
    not_asked = ApptainerError(f"was not checked, because {_AT_ONCE} processes hang on file servers and cannot be killed. Find out which file server "
                               "does not answer.")
    late = ApptainerError(f"there was no reply within {timeout:g} seconds. Check that the file server of the home answers, or raise timeout.")
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
            _reap(dead)
    _reap(dead, 1.0)
    return found


def answer_of(reply: Reply) -> Any:
    """What was replied. Raises ApptainerError if that is an error."""
    if isinstance(reply, ApptainerError):
        raise reply
    return reply


def output_of(arguments: Sequence[str], environment: Mapping[str, str], directory: str, timeout: float) -> Tuple[bytes, Optional[int]]:
    """What a program prints, and its exit status: negative for a signal, 127 if it cannot be run, None if it did not end in time.

    It is killed after MAX_OUTPUT bytes of output. It has nothing to read, no terminal, and inherits nothing. What it leaves behind in its
    session is killed; what has left the session is not waited for.
    """

    def execute(pipe: int) -> None:
        os.dup2(pipe, 1)
        os.chdir(directory)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and what is ignored is inherited
        os.execve(arguments[0], list(arguments), dict(environment))

    child = _start(0, execute, timeout)
    is_over = False
    while not is_over and len(child.data) <= MAX_OUTPUT and time.monotonic() < child.deadline:
        # before the read, so that all it has printed is read afterwards; without reaping it, because its pid is still needed
        is_over = os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        if not _has_read(child, 0.0 if is_over else 0.02):
            time.sleep(0.005)  # it has closed its output, but goes on
    os.close(child.pipe)
    _kill(child.pid)
    if is_over:
        _pid, status = os.waitpid(child.pid, 0)
        return bytes(child.data), os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
    _reap([child.pid], 1.0)
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
    """Start one process after another; yield each, with whether it was in time, once it has replied or is late."""
    waiting = iter(enumerate(questions))
    children: Dict[int, _Child] = {}
    while True:
        _reap(dead, 0.0 if children else 1.0)
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
    """A new process that runs `life` with the pipe for its reply, and inherits nothing else."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # if it was ignored, pids of dead children could be reused before they are reaped
    try:
        ours, theirs = os.pipe()
        pid = os.fork()
    except OSError as error:
        raise ApptainerError(f"no process can be started: {error.strerror}. Check this node for exhausted process ids or memory.") from None
    if pid == 0:
        try:
            life(_isolated(theirs))
        finally:
            os._exit(127)
    os.close(theirs)
    return _Child(number, pid, ours, time.monotonic() + timeout, bytearray())


def _kill(pid: int) -> None:
    """Kill a process that is not reaped yet, and all others in its session, which it may not have started yet."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)


def _reap(pids: List[int], patience: float = 0.0) -> None:
    """Remove the dead from the list, after waiting for them for at most `patience` seconds."""
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
        answer = {"error": f"it cannot be read: {error.strerror}. Retry; if it persists, see the kernel logs of the node and of the file server."}
    except BaseException as error:  # its text might show what is in a file
        answer = {"error": f"reading failed with {type(error).__name__}. Run apptainer_remote_info as this user (become_user), and if that fails "
                           "too, please report it."}
    with os.fdopen(pipe, "wb") as stream:
        stream.write(encode_reply(answer))


def _isolated(pipe: int) -> int:
    """Give up all that the process inherited, except the pipe, which is returned as a new descriptor."""
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
