# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The files of nodes that pull: what the role leaves on a node, and what is read where the reports of all nodes are gathered.

Whoever can write a file there is not trusted: it is read if it is a regular file of a sensible size, and says something about no other node.
"""

from __future__ import annotations

import datetime
import errno
import json
import os
import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible.release import __version__ as ansible_version
from ansible.utils.display import Display
from ansible_collections.hpc.apptainer.plugins.module_utils._version import VERSION
from ansible_collections.hpc.apptainer.plugins.plugin_utils._node_report import (
    FILES,
    LARGEST,
    MISSING,
    NOT_A_FILE,
    TOO_LARGE,
    Gathered,
    NodeReport,
    NotTrusted,
    node_report,
    node_state,
    time_text,
)
from ansible_collections.hpc.apptainer.plugins.plugin_utils._outcomes import DRIFTED, IN_STATE, UNREACHABLE, HostResult, host_result
from ansible_collections.hpc.apptainer.plugins.plugin_utils._prometheus import exposition
from ansible_collections.hpc.apptainer.plugins.plugin_utils._report import CHANGE, DRIFT, build_report
from ansible_collections.hpc.apptainer.plugins.plugin_utils._writing import write_file

_SUFFIX = ".json"
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,254}")


def leave(result: Any, variables: Mapping[str, Any], applied: bool) -> None:
    """Write the state of the host for its report, and its metrics, if it is a node that pulls. The run itself does not fail for this."""
    files = variables.get(FILES)
    if not files:
        return
    host, now = str(variables["inventory_hostname"]), datetime.datetime.now(datetime.timezone.utc)
    own = host_result(host, result, applied=applied, changed=applied)
    state = node_state(own, applied, time_text(now), os.environ.get("INVOCATION_ID", ""), _before(files["state"]),
                       {"collection": VERSION, "ansible_core": ansible_version})
    errors = [write_file(files["state"], f"{json.dumps(state)}\n", 0o640)]
    if files["prometheus"]:
        report = build_report("", time_text(now), [own], CHANGE if applied else DRIFT)
        errors.append(write_file(files["prometheus"], exposition(report, now.timestamp()), 0o644))
    for error in filter(None, errors):
        Display().warning(error)


def _before(path: str) -> Any:
    """What the role has left the last time, if there is anything."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def gather(directory: str, hosts: Sequence[str] | None, now: datetime.datetime, max_age: float) -> Gathered:
    """What the files `NAME.json` in the directory say of these hosts, or of all that have one. Raises OSError if the directory cannot be read."""
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        names = {name[:-len(_SUFFIX)] for name in os.listdir(opened) if name.endswith(_SUFFIX) and not name.startswith(".")}
        wanted = sorted(filter(_HOST.fullmatch, names)) if hosts is None else hosts
        results, nodes = _evaluated(opened, wanted, names, now, datetime.timedelta(hours=max_age))
    finally:
        os.close(opened)
    return Gathered(directory, max_age, results, nodes, tuple(sorted(names.difference(wanted))))


def _evaluated(directory: int, hosts: Iterable[str], names: Iterable[str], now: datetime.datetime,
               max_age: datetime.timedelta) -> tuple[tuple[HostResult, ...], tuple[NodeReport, ...]]:
    nodes, unknown = [], []
    for host in hosts:
        try:
            if host not in names:
                raise NotTrusted(MISSING)
            nodes.append(node_report(host, _content(directory, f"{host}{_SUFFIX}"), now, max_age))
        except NotTrusted as error:
            unknown.append(HostResult(host, UNREACHABLE, str(error)))
    results = [node.result for node in nodes]
    if len({node.applied for node in nodes}) > 1:  # beside nodes that only compare, one that has changed itself is in state
        results = [node.result._replace(state=IN_STATE, differences=()) if node.applied and node.result.state == DRIFTED else node.result for node in nodes]
    return (*results, *unknown), tuple(nodes)


def _content(directory: int, name: str) -> bytes:
    """The content of a regular file that is no larger than reports are. Raises NotTrusted."""
    try:
        opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
        try:
            if not stat.S_ISREG(os.fstat(opened).st_mode):
                raise NotTrusted(NOT_A_FILE)
            with open(opened, "rb", closefd=False) as file:
                data = file.read(LARGEST + 1)
        finally:
            os.close(opened)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link, a socket
            raise NotTrusted(NOT_A_FILE) from None
        raise NotTrusted(f"its report cannot be read ({error.strerror})") from None
    if len(data) > LARGEST:
        raise NotTrusted(TOO_LARGE)
    return data
