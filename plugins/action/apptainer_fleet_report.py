# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Builds the report from the variable of each host, prints it, writes its files, and says which hosts are to blame."""

from __future__ import annotations

import datetime
import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible import constants, context
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.release import __version__ as ansible_version
from ansible_collections.hpc.apptainer.plugins.module_utils._version import VERSION
from ansible_collections.hpc.apptainer.plugins.plugin_utils._actions import print_lines
from ansible_collections.hpc.apptainer.plugins.plugin_utils._checked import Checker
from ansible_collections.hpc.apptainer.plugins.plugin_utils._declaration import PREFIX, SPECS, DeclarationError
from ansible_collections.hpc.apptainer.plugins.plugin_utils._health import Health, Limits, health_of
from ansible_collections.hpc.apptainer.plugins.plugin_utils._host_variables import hosts_of, inventory_sources, playbook_variables
from ansible_collections.hpc.apptainer.plugins.plugin_utils._node_files import gather
from ansible_collections.hpc.apptainer.plugins.plugin_utils._node_report import time_text
from ansible_collections.hpc.apptainer.plugins.plugin_utils._origin import Origin
from ansible_collections.hpc.apptainer.plugins.plugin_utils._outcomes import (
    PROGRESS,
    UNREACHABLE,
    VARIABLE,
    HostResult,
    addresses_of,
    blamed,
    host_result,
)
from ansible_collections.hpc.apptainer.plugins.plugin_utils._page import begun_page, page
from ansible_collections.hpc.apptainer.plugins.plugin_utils._prometheus import exposition
from ansible_collections.hpc.apptainer.plugins.plugin_utils._report import (
    CHANGE,
    DRIFT,
    FINDINGS_FAIL,
    HEALTH,
    PREDICTION,
    STATUS_FAILED,
    STATUS_IN_STATE,
    STATUS_UNREACHABLE,
    Report,
    as_dict,
    begun_dict,
    build_report,
    summary_counts,
)
from ansible_collections.hpc.apptainer.plugins.plugin_utils._summary import (
    NO_HOST,
    NOTHING_DECLARED,
    Progress,
    drift_lines,
    problem,
    rollout_lines,
)
from ansible_collections.hpc.apptainer.plugins.plugin_utils._writing import write_file

MAX_UNREACHABLE = "10%"
BATCHES = ["10%", "100%"]
MAX_HOURS = 100_000
ENTRY_POINTS = ("rollout", "drift", "health", "report_from")
ARGUMENTS = {
    "entry_point": {"type": "str", "choices": list(ENTRY_POINTS)},
    "state": {"type": "str", "choices": ["begun", "finished"], "default": "finished"},
    "hosts": {"type": "list", "elements": "str"},
    "pattern": {"type": "str"},
    "canaries": {"type": "raw"},  # Ansible takes JSON that is text for names
    "batches": {"type": "list", "elements": "str", "default": BATCHES},
    "applied": {"type": "bool", "default": False},
    "max_unreachable": {"type": "str", "default": MAX_UNREACHABLE},
    "max_age": {"type": "float", "default": 26},
    "reports": {"type": "path"},
    "reports_max_age": {"type": "float", "default": 3},
    "health": {"type": "dict"},
    "certificate_warning_days": {"type": "float", "default": Limits().warning},
    "certificate_error_days": {"type": "float", "default": Limits().error},
    "findings_fail": {"type": "str", "choices": list(FINDINGS_FAIL), "default": "never"},
    "title": {"type": "str", "default": "Apptainer drift"},
    "json": {"type": "path"},
    "html": {"type": "path"},
    "prometheus": {"type": "path"},
}
# With `entry_point`, these are in the variables of that name, or with report_ or health_ before it.
IN_VARIABLES = ("title", "json", "html", "prometheus", "findings_fail", "certificate_warning_days", "certificate_error_days", "reports",
                "reports_max_age", "canaries", "batches", "max_unreachable")
# The page and the JSON show the weaknesses of hosts, so they are for the admins only. The collector, which reads the metrics, is another user.
MODES = {"json": 0o640, "html": 0o640, "prometheus": 0o644}
COLORS = {STATUS_IN_STATE: constants.COLOR_OK, STATUS_FAILED: constants.COLOR_ERROR, STATUS_UNREACHABLE: constants.COLOR_UNREACHABLE}


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible has no types
    """The action. Its documentation is in the module of the same name."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: Mapping[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        try:
            return {**result, **self._answer(self._options(task_vars or {}), task_vars or {})}
        except AnsibleActionFail as error:  # raised, ansible-core 2.16 would show an exception too
            return {**result, "failed": True, "msg": str(error)}

    def _options(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """The options of the task; those that are not set may be in the variables of the playbook."""
        if self._task.args.get("entry_point") in ENTRY_POINTS:
            self._task.args = {**self._in_variables(self._task.args["entry_point"], variables), **self._task.args}
        options: dict[str, Any] = self.validate_argument_spec(argument_spec=ARGUMENTS)[1]
        if not math.isfinite(options["max_age"]) or options["max_age"] < 0:
            raise AnsibleActionFail("max_age: give a number of hours, or 0 for a report that never becomes stale")
        for name in ("certificate_warning_days", "certificate_error_days"):
            if not math.isfinite(options[name]):
                raise AnsibleActionFail(f"{name}: give a number of days")
        if not 0 < options["reports_max_age"] < MAX_HOURS:
            raise AnsibleActionFail(f"reports_max_age: give a number of hours between 0 and {MAX_HOURS}")
        if options["entry_point"] == "report_from" and not options["reports"]:
            raise AnsibleActionFail("apptainer_fleet_reports is not set; set it to the directory in which the reports of the nodes are")
        return options

    def _in_variables(self, entry_point: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        names = {f"{PREFIX}{kind}{option}": option for option in IN_VARIABLES for kind in ("", "report_", "health_")}
        known = [name for name in names if name in SPECS[entry_point]]
        try:
            values = playbook_variables(entry_point, known, variables, self._templar, self._task, self._loader)
        except DeclarationError as error:
            raise AnsibleActionFail(str(error)) from None
        return {names[name]: value for name, value in values.items() if value is not None}

    def _answer(self, options: Mapping[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        files = {kind: os.path.abspath(options[kind]) for kind in MODES if options[kind]}
        now = datetime.datetime.now(datetime.timezone.utc)
        has_begun = options["state"] == "begun"
        if has_begun:
            progress = _first_progress(options, now, variables["hostvars"])
        else:
            progress = variables["hostvars"].raw_get("localhost").get("ansible_facts", {}).get(PROGRESS, {})
        if has_begun and progress.get("all_hosts", ["any"]):
            answer, texts = _begun(options["title"], now, files, _origin(variables))
        elif options["reports"]:
            answer, texts = self._gathered(options, now, files, variables)
        else:  # a run without hosts is over when it begins
            answer, texts = self._finished({**options, "hosts": []} if has_begun else options, now, files, variables, progress)
        answer["errors"] += filter(None, (write_file(files[kind], text, MODES[kind]) for kind, text in texts.items()))
        answer["summary"] += [error for error in answer["errors"] if error not in answer["summary"]]
        print_lines(answer["summary"], COLORS[answer.get("status") or (STATUS_FAILED if answer["errors"] else STATUS_IN_STATE)])
        known: dict[str, Any] = {name: answer[name] for name in ("problems", "reasons", "stop", "untouched", "errors") if name in answer}
        if options["reports"] and not has_begun:  # no host has taken part, so only the controller can be to blame
            known.update(problems=[], unreachable=answer["status"] == STATUS_UNREACHABLE)
        progress = {**progress, **known}
        facts = {PROGRESS: {**progress, "blamed": blamed(progress, variables)}}
        message = ". ".join(dict.fromkeys([*answer["summary"][:1], *answer["errors"]]))
        return {**answer, "changed": False, "files": files, "msg": message, "ansible_facts": facts}

    def _finished(self, options: Mapping[str, Any], now: datetime.datetime, files: Iterable[str], variables: Mapping[str, Any],
                  before: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
        """What the action answers, and the text of each of the files."""
        applied = options["applied"]
        differed = DRIFT if not applied else PREDICTION if self._task.check_mode else CHANGE
        hosts = _names(variables["ansible_play_hosts_all"] if options["hosts"] is None else options["hosts"])
        all_hosts = _names([*before.get("all_hosts", variables["ansible_play_hosts_all"]), *hosts]) if applied else hosts
        max_unreachable = before.get("max_unreachable", 0) if before else _max_unreachable(options["max_unreachable"], len(all_hosts))
        results, untouched = _results(hosts, all_hosts, variables["hostvars"], differed, before.get("began", 0.0))
        health = _health(options, now, bool(hosts))
        report = build_report(options["title"], time_text(now), results.values(), differed if hosts or not health else HEALTH, _due(options, now),
                              health=health, origin=_origin(variables), findings_fail=options["findings_fail"])
        errors = [health.headline] if health and health.status else []
        if applied:
            of_batch = {*hosts, *before.get("untouched", ())}
            hosts = tuple(host for host in results if host in of_batch)
            progress = Progress(all_hosts, untouched, max_unreachable)
            batch = build_report("", "", [results[host] for host in hosts], differed)
            summary, stop = rollout_lines(batch, report, progress), progress.stops(report)
        else:
            summary, stop = drift_lines(report), False
        if report.kind == HEALTH:
            pass
        elif not report.results:
            errors.append(NO_HOST)
            summary.clear()  # it says nothing else
        elif report.is_empty and not untouched:
            errors.append(NOTHING_DECLARED)
        answer = {**_facts(report, summary, errors), "reached": sum(results[host].state != UNREACHABLE for host in hosts), "stop": stop,
                  "untouched": list(untouched)}
        if health:
            answer["health"] = {"state": health.state, "status": health.status}
        return answer, {kind: _content(kind, report, now.timestamp()) for kind in files}

    def _gathered(self, options: Mapping[str, Any], now: datetime.datetime, files: Iterable[str],
                  variables: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
        """What the action answers, and the text of each of the files, from the reports of nodes that pull."""
        hostvars = variables["hostvars"]
        has_inventory = bool(hosts_of("all", hostvars, ignore_limit=True))
        hosts = hosts_of(options["pattern"] or "all", hostvars) if has_inventory else None
        if hosts == []:
            raise AnsibleActionFail(NO_HOST)
        try:
            gathered = gather(os.path.abspath(options["reports"]), hosts, now, options["reports_max_age"])
        except OSError as error:
            raise AnsibleActionFail(f"The directory of the reports, {options['reports']}, cannot be read ({error.strerror})") from None
        report = build_report(options["title"], time_text(now), gathered.results, CHANGE if gathered.applied else DRIFT, _due(options, now),
                              origin=_origin(variables), findings_fail=options["findings_fail"], gathered=gathered)
        summary = drift_lines(report)
        errors = [NOTHING_DECLARED] if report.results and report.is_empty else [summary[0]] if report.status else []
        answer = {**_facts(report, summary, errors), "reached": len(report.results) - report.count(UNREACHABLE), "stop": False, "untouched": []}
        return answer, {kind: _content(kind, report, now.timestamp()) for kind in files}


def _facts(report: Report, summary: list[str], errors: list[str]) -> dict[str, Any]:
    """What the action answers in any case."""
    results = {result.host: result for result in report.results}
    problems = report.problem_hosts
    return {"problems": list(problems), "reasons": {host: problem(results[host], report) for host in problems}, "limit": report.limit,
            "status": report.status, "counts": summary_counts(report), "summary": summary, "errors": errors}


def _due(options: Mapping[str, Any], now: datetime.datetime) -> str:
    return time_text(now + datetime.timedelta(hours=options["max_age"])) if options["max_age"] else ""


def _first_progress(options: Mapping[str, Any], now: datetime.datetime, hostvars: Any) -> dict[str, Any]:
    """What later tasks of this run have to know, as a fact of the controller. Until there is a report, there must be no further batch."""
    batches = options["batches"] or BATCHES
    if not all(re.fullmatch("[1-9][0-9]*%?", batch) for batch in batches):
        raise AnsibleActionFail(f"apptainer_fleet_batches is {','.join(batches)}, but must be a list of numbers of hosts or percentages, such as 10%,100%")
    progress: dict[str, Any] = {"began": now.timestamp(), "batches": batches, "problems": [], "reasons": {}, "stop": True, "untouched": [], "errors": []}
    if options["pattern"] is None:
        return progress
    all_hosts = hosts_of(options["pattern"], hostvars)
    problems: list[str] = []
    canaries = Checker(problems).value("apptainer_fleet_canaries", options["canaries"] or [], {"type": "list", "elements": "str"})
    if problems:
        raise AnsibleActionFail(". ".join(problems))
    if canaries and not hosts_of(canaries, hostvars, ignore_limit=True):
        raise AnsibleActionFail(f"apptainer_fleet_canaries is {', '.join(canaries)}, but no host of the inventory matches it; correct it")
    progress["canaries"] = list(filter(set(all_hosts).__contains__, hosts_of(canaries, hostvars)))
    max_unreachable = _max_unreachable(options["max_unreachable"], len(all_hosts))
    return {**progress, "all_hosts": all_hosts, "untouched": all_hosts, "max_unreachable": max_unreachable}


def _health(options: Mapping[str, Any], now: datetime.datetime, hosts_are_reported: bool) -> Health | None:
    """How servers and logins are, if they were asked. (Otherwise the task that asks was skipped.)"""
    result = options["health"]
    if not result or result.get("skipped"):
        return None
    return health_of(result, now, Limits(options["certificate_warning_days"], options["certificate_error_days"]), hosts_are_reported)


def _origin(variables: Mapping[str, Any]) -> Origin:
    """What makes this report. The arguments of ansible-playbook are playbooks, those of ansible are hosts."""
    playbooks = () if "module_name" in context.CLIARGS else tuple(map(str, context.CLIARGS.get("args", ())))
    return Origin(playbooks, tuple(inventory_sources(variables["hostvars"])), VERSION, ansible_version, variables["groups"])


def _begun(title: str, now: datetime.datetime, files: Iterable[str], origin: Origin) -> tuple[dict[str, Any], dict[str, str]]:
    """Should this run never end, the files of the last one must not look like its own. The metrics stay: they have the time of their report."""
    texts = {"json": f"{json.dumps(begun_dict(title, time_text(now), origin), indent=1)}\n", "html": begun_page(title, time_text(now), origin)}
    return {"summary": [], "errors": []}, {kind: texts[kind] for kind in files if kind in texts}


def _names(hosts: Iterable[Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(str, hosts)))


def _max_unreachable(value: str, hosts: int) -> int:
    """A number of hosts. A percentage is rounded up, so that it allows one host of a few, and only 0 allows none."""
    number = value.strip() or MAX_UNREACHABLE
    if not re.fullmatch(r"[0-9]+|[0-9]+(\.[0-9]+)?%", number):
        raise AnsibleActionFail(f"apptainer_fleet_max_unreachable is {value}, but must be a number of hosts (3), or a percentage of all hosts (10%)")
    return math.ceil(round(float(number[:-1]) * hosts / 100, 6)) if number.endswith("%") else int(number)


def _results(hosts: Iterable[str], all_hosts: Iterable[str], hostvars: Any, differed: str,
             began: float) -> tuple[dict[str, HostResult], tuple[str, ...]]:
    """The results of all hosts that were begun so far, and the hosts that were not. What is older than `began` is of an earlier playbook.

    Registered variables contain no templates, so raw ones are used: templating them takes a second longer.
    """
    results, untouched, wanted = {}, [], set(hosts)
    for host in all_hosts:
        if host not in hostvars:
            raise AnsibleActionFail(f"hosts: {host} is not in the inventory; use the names that the inventory has")
        variables = hostvars.raw_get(host)
        result = variables.get(VARIABLE)
        if isinstance(result, Mapping) and result.get("at", began) < began:
            result = None
        if not result and host not in wanted:
            untouched.append(host)
            continue
        results[host] = host_result(host, result, addresses_of(variables), applied=differed != DRIFT, changed=differed == CHANGE)
    return results, tuple(untouched)


def _content(kind: str, report: Report, timestamp: float) -> str:
    if kind == "prometheus":
        return exposition(report, timestamp)
    return page(report) if kind == "html" else f"{json.dumps(as_dict(report), indent=1)}\n"
