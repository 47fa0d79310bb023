# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Many checks in parallel, each bounded in time."""

import collections
import queue
import threading
import time
from typing import Callable, Deque, Dict, List, Optional, Sequence, Tuple, TypeVar, Union

from .._errors import NetworkError
from .errors import DeadlineError

_T = TypeVar("_T")


def run_all(checks: Sequence[Callable[[], _T]], timeout: float, workers: int = 64, groups: Optional[Sequence[object]] = None,
            per_group: int = 1) -> List[Union[_T, NetworkError]]:
    """Run checks, `workers` at a time, each for at most `timeout` seconds from its start; results in the order of the checks.

    `groups` names for each check the group that it belongs to, of which `per_group` run at a time; by default each is on its own.
    A check that raises NetworkError gives that error, one that is not finished in time DeadlineError; any other exception is raised here.
    Each check has its own thread, which is abandoned when its time is over: nothing else ends a name lookup, or a server that sends a
    byte now and then. These threads do not keep the process from exiting.
    """
    results: List[Union[_T, NetworkError]] = [DeadlineError(f"not finished within {timeout:g} seconds")] * len(checks)
    finished: "queue.Queue[Tuple[int, Optional[_T], Optional[BaseException]]]" = queue.Queue()

    def work(number: int) -> None:
        try:
            finished.put((number, checks[number](), None))
        except BaseException as error:  # whatever it is, the waiting thread must hear of it
            finished.put((number, None, error))

    group_of = range(len(checks)) if groups is None else groups
    waiting: Dict[object, Deque[int]] = {}
    for number, group in enumerate(group_of):
        waiting.setdefault(group, collections.deque()).append(number)
    ready = collections.deque(numbers.popleft() for numbers in waiting.values() for _slot in range(min(per_group, len(numbers))))
    deadlines: Dict[int, float] = {}  # of the running ones, the earliest first
    while deadlines or ready:
        while ready and len(deadlines) < workers:
            deadlines[ready[0]] = time.monotonic() + timeout
            threading.Thread(target=work, args=(ready.popleft(),), daemon=True).start()
        oldest = next(iter(deadlines))
        try:
            number, result, error = finished.get(timeout=max(0.0, deadlines[oldest] - time.monotonic()))
        except queue.Empty:
            number = oldest
        else:
            if number not in deadlines:
                continue  # too late
            if error is not None and not isinstance(error, NetworkError):
                raise error
            results[number] = error if error is not None else result  # type: ignore[assignment]
        del deadlines[number]
        if waiting[group_of[number]]:
            ready.append(waiting[group_of[number]].popleft())
    return results
