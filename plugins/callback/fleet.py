# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The quiet console: ansible's default output without a line for each host."""

from __future__ import annotations

DOCUMENTATION = r"""
name: fleet
type: stdout
short_description: Screen output for thousands of hosts
version_added: 1.0.0
description:
  - Shows how far a play is and what went wrong, without a line for each host, so that the output of a run on thousands of hosts fits on a screen.
  - On a terminal, one line shows the batch, the task and how many hosts are done. Elsewhere, for example in the log of a cron job, a long task
    writes such a line now and then.
  - Failures, unreachable hosts, warnings, differences (with C(--diff)) and the output of C(debug) are shown once for all hosts that have the same.
    This is when the task has ended on all hosts of the batch.
  - The recap counts the hosts, and lists only those that failed, were unreachable or were changed. If they are too many to be listed on a screen,
    the log still has them all (C(log_path) in C(ansible.cfg)).
  - With C(-v) or more, the output is that of P(ansible.builtin.default#callback).
author:
  - The hpc.apptainer contributors (@hpc-apptainer)
extends_documentation_fragment:
  - default_callback
  - result_format_callback
requirements:
  - The environment variable E(ANSIBLE_STDOUT_CALLBACK) or C(stdout_callback) in C(ansible.cfg) is V(hpc.apptainer.fleet).
"""

import atexit
import functools
import os
import shutil
import sys
import time
from collections.abc import Callable
from typing import Any

from ansible import constants, context
from ansible.plugins.callback.default import CallbackModule as Default
from ansible_collections.hpc.apptainer.plugins.plugin_utils._console import (
    CHANGED,
    DIFFERENCE,
    FAILED,
    OUTPUT,
    UNREACHABLE,
    WARNING,
    Messages,
    Progress,
    batch_label,
    counted,
    failure_text,
    message_lines,
    one_line,
    recap_lines,
)
from ansible_collections.hpc.apptainer.plugins.plugin_utils._outcomes import addresses_of
from ansible_collections.hpc.apptainer.plugins.plugin_utils._text import plural

IGNORED = " (ignored)"
COLORS = {FAILED: constants.COLOR_ERROR, UNREACHABLE: constants.COLOR_UNREACHABLE, CHANGED: constants.COLOR_CHANGED, OUTPUT: constants.COLOR_OK}


def quiet(method: Callable[..., None]) -> Callable[..., None]:
    """With -v, the default callback's method of the same name takes the place of this one."""
    default = getattr(Default, method.__name__)

    @functools.wraps(method)
    def chosen(self: CallbackModule, *args: Any, **kwargs: Any) -> None:
        (default if self._display.verbosity else method)(self, *args, **kwargs)

    return chosen


class CallbackModule(Default):  # type: ignore[misc]  # ansible has no types
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "hpc.apptainer.fleet"

    def __init__(self) -> None:
        super().__init__()
        self._in_place = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._progress = Progress(time.monotonic, self._in_place)
        self._play_uuid, self._batch = None, 0
        self._hosts: set[str] = set()
        self._messages: dict[str, tuple[Any, str, Messages]] = {}  # by the task: the task, its title, and what its hosts said
        self._titles: dict[str, str] = {}
        # What was collected must not be lost if the run is interrupted. Workers, which are forks of this process, end without this.
        atexit.register(self._show_messages)

    @quiet
    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._show_messages()
        self._play = play
        self._batch = self._batch + 1 if play._uuid == self._play_uuid else 1
        self._play_uuid = play._uuid
        variables = play.get_variable_manager().get_vars(play=play, include_hostvars=False)
        hosts, every = (variables.get(f"ansible_play_{name}") or [] for name in ("batch", "hosts_all"))
        batch = batch_label(self._batch, len(every), play.serial)
        self._progress.start_play(batch, hosts)
        self._hosts.update(hosts)
        size = ", ".join(filter(None, [batch, plural(len(hosts), 'host') if hosts else ""]))  # a play on the implicit localhost has none
        self._banner(f"PLAY [{play.get_name().strip()}]{f' ({size})' if size else ''}", play)

    @quiet
    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:  # noqa: ARG002
        self._begin(task, "TASK")

    @quiet
    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        self._begin(task, "RUNNING HANDLER")

    @quiet
    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        super().v2_runner_on_start(host, task)
        self._progress.host_started(host.get_name())
        self._show_progress()

    @quiet
    def v2_runner_on_ok(self, result: Any) -> None:
        self._note_output(result)
        self._done(result)

    @quiet
    def v2_runner_on_skipped(self, result: Any) -> None:
        self._note_warnings(result)
        self._done(result)

    @quiet
    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        _host, task, content = parts(result)
        if not (task.loop and "results" in content):  # whose items have said it
            self._note_failure(FAILED, result, ignore_errors)
        self._done(result, "" if ignore_errors else FAILED)

    @quiet
    def v2_runner_on_unreachable(self, result: Any) -> None:
        _host, task, _content = parts(result)
        self._note_failure(UNREACHABLE, result, bool(task.ignore_unreachable))
        self._done(result, "" if task.ignore_unreachable else UNREACHABLE)

    @quiet
    def v2_runner_item_on_ok(self, result: Any) -> None:
        self._note_output(result)

    @quiet
    def v2_runner_item_on_skipped(self, result: Any) -> None:
        self._note_warnings(result)

    @quiet
    def v2_runner_item_on_failed(self, result: Any) -> None:
        _host, task, content = parts(result)
        label = "" if "censored" in content else f"(item={self._get_item_label(content)}) "
        self._note_failure(FAILED, result, task.ignore_errors is True, label)

    @quiet
    def v2_on_file_diff(self, result: Any) -> None:
        if not context.CLIARGS["diff"]:  # the play alone has asked for differences: for its report
            return
        host, task, content = parts(result)
        for item in content["results"] if task.loop and "results" in content else [content]:
            if item.get("diff") and item.get("changed") and (text := self._get_diff(item["diff"])):
                self._said(task).add(DIFFERENCE, host.get_name(), text)

    @quiet
    def v2_playbook_on_include(self, included_file: Any) -> None:
        pass

    @quiet
    def v2_runner_retry(self, result: Any) -> None:
        pass

    @quiet
    def v2_runner_on_async_poll(self, result: Any) -> None:
        pass

    @quiet
    def v2_runner_on_async_ok(self, result: Any) -> None:
        pass

    @quiet
    def v2_runner_on_async_failed(self, result: Any) -> None:
        pass  # v2_runner_on_failed follows

    @quiet
    def v2_playbook_on_no_hosts_remaining(self) -> None:
        self._show_messages()
        super().v2_playbook_on_no_hosts_remaining()

    @quiet
    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._show_messages()
        summaries = {host: stats.summarize(host) for host in stats.processed}
        summaries = {host: summary for host, summary in summaries.items()
                     if host in self._hosts or summary["failures"] or summary["unreachable"]}  # else the implicit localhost is none of the hosts
        if summaries:
            self._display.banner("PLAY RECAP")
            for complete in (False, True):  # for the screen, and for the log
                for kind, line in recap_lines(summaries, complete):
                    self._display.display(line, color=COLORS.get(kind), screen_only=not complete, log_only=complete)
            self._display.display("", screen_only=True)
        if stats.custom and self.get_option("show_custom_stats"):
            self._display.banner("CUSTOM STATS: ")
            for name, value in sorted(stats.custom.items()):
                self._display.display(f"\t{'RUN' if name == '_run' else name}: {' '.join(self._dump_results(value, indent=1).split())}")
        if context.CLIARGS["check"] and self.get_option("check_mode_markers"):
            self._display.banner("DRY RUN")

    def _begin(self, task: Any, prefix: str) -> None:
        if self._play.strategy.rpartition(".")[2] not in ("free", "host_pinned"):  # with which hosts do not wait for each other
            self._show_messages()
        self._titles[task._uuid] = f"{prefix} [{task.get_name().strip()}]"
        self._progress.start_task((task.name or task.get_name()).strip(), bool(task.run_once))
        self._show_progress()

    def _said(self, task: Any) -> Messages:
        return self._messages.setdefault(task._uuid, (task, self._titles.get(task._uuid) or f"TASK [{task.get_name().strip()}]", Messages()))[2]

    def _done(self, result: Any, lost_by: str = "") -> None:
        self._progress.host_done(parts(result)[0].get_name(), lost_by)
        self._show_progress()

    def _note_failure(self, kind: str, result: Any, ignored: bool, prefix: str = "") -> None:
        self._note_warnings(result)
        host, task, content = parts(result)
        text = prefix + failure_text(content)
        self._said(task).add(kind + (IGNORED if ignored else ""), host.get_name(), *self._one_line(text, host))

    def _note_output(self, result: Any) -> None:
        """What debug and others show without -v."""
        self._note_warnings(result)
        host, task, content = parts(result)
        if self._run_is_verbose(result):
            self._clean_results(content, task.action)
            self._said(task).add(OUTPUT, host.get_name(), self._dump_results(content))

    def _note_warnings(self, result: Any) -> None:
        host, task, content = parts(result)
        for warning in content.pop("warnings", None) or () if constants.ACTION_WARNINGS else ():
            self._said(task).add(WARNING, host.get_name(), *self._one_line(str(warning), host))
        self._handle_warnings(content)  # deprecations, which never name a host

    @staticmethod
    def _one_line(text: str, host: Any) -> tuple[str, str]:
        return one_line(text, host.get_name(), addresses_of(host.vars))

    def _show_messages(self) -> None:
        self._clear()
        waiting, self._messages = self._messages, {}
        for task, title, messages in waiting.values():
            self._banner(title, task)
            kinds = {message.kind for message in messages}
            if not kinds.isdisjoint((FAILED, UNREACHABLE)) and self.get_option("show_task_path_on_failure"):
                self._print_task_path(task)
            for message in messages:
                if message.kind == DIFFERENCE:
                    self._display.display(f"{DIFFERENCE} on {counted(message.hosts)}:\n{message.text}")
            for kind, line in message_lines(message for message in messages if message.kind != DIFFERENCE):
                self._show_line(kind, line)

    def _show_line(self, kind: str, line: str) -> None:
        if kind == WARNING:
            self._display.warning(line.removeprefix(f"{WARNING} "))
        else:
            kind = kind.removesuffix(IGNORED)
            self._display.display(line, color=COLORS[kind], stderr=kind in (FAILED, UNREACHABLE) and self.get_option("display_failed_stderr"))

    def _banner(self, text: str, about: Any) -> None:
        marked = about.check_mode and self.get_option("check_mode_markers")
        self._display.banner(f"{text} [CHECK MODE]" if marked else text)
        self._progress.shown()

    def _show_progress(self) -> None:
        if not self._progress.due():
            return
        line = self._progress.line()
        if self._in_place:
            # The cursor stays at the start of the line, so that whatever comes next overwrites it.
            width = shutil.get_terminal_size().columns - 1
            self._display.display(f"\r\x1b[K{line[:width]}\r", newline=False, screen_only=True)
            sys.stdout.flush()
        else:
            self._display.display(line)
        self._progress.shown()

    def _clear(self) -> None:
        if self._in_place:
            self._display.display("\r\x1b[K", newline=False, screen_only=True)


def parts(result: Any) -> tuple[Any, Any, dict[str, Any]]:
    """The host, the task and the content of a result. ansible-core 2.19 gave these names without an underscore, and will remove the old ones."""
    if hasattr(result, "result"):
        return result.host, result.task, result.result
    return result._host, result._task, result._result
