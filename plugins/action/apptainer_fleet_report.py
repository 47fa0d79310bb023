# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Builds the report from the variables of the hosts, writes its files, and sets the exit status of ansible-playbook."""

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
from ansible_collections.hpc.apptainer.plugins.plugin_utils._outcomes import VARIABLES, HostResult, host_result
from ansible_collections.hpc.apptainer.plugins.plugin_utils._page import page
from ansible_collections.hpc.apptainer.plugins.plugin_utils._prometheus import exposition
from ansible_collections.hpc.apptainer.plugins.plugin_utils._report import (
    STATUS_DRIFT,
    STATUS_IN_STATE,
    STATUS_UNKNOWN,
    Report,
    as_dict,
    build_report,
    headline,
    printable,
    stop_sentence,
    summary_counts,
    summary_lines,
)

ARGUMENTS = {
    "hosts": {"type": "list", "elements": "str"},
    "applied": {"type": "bool", "default": False},
    "title": {"type": "str", "default": "Apptainer drift"},
    "json": {"type": "path"},
    "html": {"type": "path"},
    "prometheus": {"type": "path"},
}
# The page and the JSON show the weaknesses of hosts, so they are for the admins only. The collector, which reads the metrics, is another user.
MODES = {"json": 0o640, "html": 0o640, "prometheus": 0o644}


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible has no types
    """The action. Its documentation is in the module of the same name."""

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
        changed = options["applied"] and not self._task.check_mode
        results = list(_host_results(hosts, variables["hostvars"], changed))
        report = build_report(options["title"], now.strftime("%Y-%m-%dT%H:%M:%SZ"), results)
        files = {kind: os.path.abspath(options[kind]) for kind in MODES if options[kind]}
        contents = {files[kind]: (_content(kind, report, now.timestamp()), MODES[kind]) for kind in files}
        write_errors = list(filter(None, (_write_file(path, text, mode) for path, (text, mode) in contents.items())))
        differed_label = "changed" if changed else "to be changed" if options["applied"] else ""
        known = report.status != STATUS_UNKNOWN and not write_errors
        sentences = [headline(report, differed_label), *write_errors]
        if options["applied"]:  # what was changed is not drift; and unreachable hosts have to fail the task, because the play may ignore them
            status = STATUS_IN_STATE if known else STATUS_DRIFT
            sentences += [] if known else [stop_sentence(_untouched_hosts(variables))]
        else:
            status = report.status if known else STATUS_UNKNOWN
            result.update(counts=summary_counts(report), status=report.status)
        if status:
            result["failed" if status == STATUS_DRIFT else "unreachable"] = True
        summary = summary_lines(report, differed_label) + sentences[1:]
        result.update(changed=False, files=files, summary=summary, msg=". ".join(sentences), _ansible_verbose_always=True)
        return result


def _untouched_hosts(variables: Mapping[str, Any]) -> list[str]:
    """The hosts of the play on which the role has not run in this playbook."""
    hostvars = variables["hostvars"]
    return [host for host in variables["ansible_play_hosts_all"] if not any(map(hostvars.raw_get(host).get, VARIABLES))]


def _host_results(hosts: list[str], hostvars: Any, changed: bool) -> Iterator[HostResult]:
    """The result of each host. Registered variables contain no templates, so raw ones are used: templating them takes a second longer."""
    for host in dict.fromkeys(map(str, hosts)):
        if host not in hostvars:
            raise AnsibleActionFail(f"hosts: {host} is not in the inventory; use the names that the inventory has")
        variables = hostvars.raw_get(host)
        address = variables.get("ansible_host")
        addresses = [address] if isinstance(address, str) else []
        yield host_result(host, {name: variables[name] for name in VARIABLES if name in variables}, addresses, changed)


def _content(kind: str, report: Report, timestamp: float) -> str:
    if kind == "prometheus":
        return exposition(report, timestamp)
    return page(report) if kind == "html" else f"{json.dumps(as_dict(report), indent=1)}\n"


def _write_file(path: str, text: str, mode: int) -> str:
    """Replace the file, or the target of a symbolic link, in one step. Returns an error message, or an empty string.

    A link is followed only if it belongs to root or this account. Otherwise others who can write to the directory could choose what is replaced.
    """
    temporary = ""
    try:
        if os.path.islink(path) and os.lstat(path).st_uid not in (0, os.geteuid()):
            return _write_error(path, "a symbolic link of another user")
        target = os.path.realpath(path)
        with tempfile.NamedTemporaryFile(dir=os.path.dirname(target), prefix=".apptainer-drift.", delete=False) as file:
            temporary = file.name
            file.write(text.encode("utf-8", "replace"))
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except (OSError, ValueError) as error:  # ValueError: the name has a NUL, or a character that the file system's encoding does not have
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        return _write_error(path, getattr(error, "strerror", None) or "not a valid file name")
    return ""


def _write_error(path: str, reason: str) -> str:
    return f"The report could not be written to {printable(path)} ({reason}): set a path in an existing directory that is writable"
