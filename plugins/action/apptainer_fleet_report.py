# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the hosts of a drift run have in their variables, made into a report, its files, and what ansible-playbook ends with."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.hpc.apptainer.plugins.plugin_utils._outcomes import VARIABLES, Outcome, outcome
from ansible_collections.hpc.apptainer.plugins.plugin_utils._page import page
from ansible_collections.hpc.apptainer.plugins.plugin_utils._prometheus import exposition
from ansible_collections.hpc.apptainer.plugins.plugin_utils._report import (
    STATUS_DRIFT,
    STATUS_IN_STATE,
    STATUS_UNKNOWN,
    Report,
    as_dict,
    counts,
    lines,
    printable,
    report,
    summary,
    untouched,
)

ARGUMENTS = {
    "hosts": {"type": "list", "elements": "str"},
    "applied": {"type": "bool", "default": False},
    "title": {"type": "str", "default": "Apptainer drift"},
    "json": {"type": "path"},
    "html": {"type": "path"},
    "prometheus": {"type": "path"},
}
# The page and the JSON say what is wrong with which machine: for the admins. The metrics are for the collector, which is another user.
MODES = {"json": 0o640, "html": 0o640, "prometheus": 0o644}


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible has no types
    """The action; the documentation is that of the module of this name."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: Mapping[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        options = self.validate_argument_spec(argument_spec=ARGUMENTS)[1]
        hosts = variables["ansible_play_hosts_all"] if options["hosts"] is None else options["hosts"]
        now = datetime.datetime.now(datetime.timezone.utc)
        made = report(options["title"], now.strftime("%Y-%m-%dT%H:%M:%SZ"), list(_outcomes(hosts, variables["hostvars"])))
        files = {kind: os.path.abspath(options[kind]) for kind in MODES if options[kind]}
        contents = {files[kind]: (_content(kind, made, now.timestamp()), MODES[kind]) for kind in files}
        unwritten = list(filter(None, (_written(path, text, mode) for path, (text, mode) in contents.items())))
        differed = ("to be changed" if self._task.check_mode else "changed") if options["applied"] else ""
        known = made.status != STATUS_UNKNOWN and not unwritten
        said = [counts(made, differed), *unwritten]
        if options["applied"]:  # what was changed is no drift, and what is unreachable the play may ignore
            status = STATUS_IN_STATE if known else STATUS_DRIFT
            said += [] if known else [untouched(_not_begun(variables))]
        else:
            status = made.status if known else STATUS_UNKNOWN
            result.update(counts=summary(made), status=made.status)
        if status:
            result["failed" if status == STATUS_DRIFT else "unreachable"] = True
        result.update(changed=False, files=files, summary=lines(made, differed) + said[1:], msg=". ".join(said), _ansible_verbose_always=True)
        return result


def _not_begun(variables: Mapping[str, Any]) -> list[str]:
    """The hosts of the play on which the role has not run."""
    return [host for host in variables["ansible_play_hosts_all"] if not set(VARIABLES).intersection(variables["hostvars"].raw_get(host))]


def _outcomes(hosts: list[str], hostvars: Any) -> Iterator[Outcome]:
    """What became of each host. Raw variables are enough, as what is registered holds no templates; to template them costs a second more."""
    for host in dict.fromkeys(map(str, hosts)):
        if host not in hostvars:
            raise AnsibleActionFail("hosts: %s is not in the inventory" % host)
        variables = hostvars.raw_get(host)
        address = variables.get("ansible_host")
        yield outcome(host, {name: variables[name] for name in VARIABLES if name in variables}, [address] if isinstance(address, str) else [])


def _content(kind: str, made: Report, timestamp: float) -> str:
    if kind == "prometheus":
        return exposition(made, timestamp)
    return page(made) if kind == "html" else json.dumps(as_dict(made), indent=1) + "\n"


def _written(path: str, text: str, mode: int) -> str:
    """Replace the file, or a symbolic link's target, in one step; the answer is what went wrong, or nothing.

    A link is followed if it is root's or this account's. Who else may write in the directory doesn't get to choose what is replaced.
    """
    temporary = ""
    try:
        if os.path.islink(path) and os.lstat(path).st_uid not in (0, os.geteuid()):
            return _unwritten(path, "a symbolic link of another user")
        target = os.path.realpath(path)
        with tempfile.NamedTemporaryFile(dir=os.path.dirname(target), prefix=".apptainer-drift.", delete=False) as file:
            temporary = file.name
            file.write(text.encode("utf-8", "replace"))
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except (OSError, ValueError) as error:  # a name with a NUL, or that the file system's encoding does not have
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        return _unwritten(path, getattr(error, "strerror", None) or "no name that a file can have")
    return ""


def _unwritten(path: str, reason: str) -> str:
    return "The report could not be written to %s (%s): give a file in a directory that is there and can be written to" % (printable(path), reason)
