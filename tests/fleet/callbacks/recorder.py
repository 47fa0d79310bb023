# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes what each task gave on each host to the file that RECORDED names, a JSON object a line: a callback for the tests."""

from __future__ import annotations

import json
import os

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: recorder
type: aggregate
short_description: Record the results of tasks
description: A JSON object a line.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "recorder"
    CALLBACK_NEEDS_ENABLED = True

    def v2_runner_on_ok(self, result):
        self._task("ok", result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._task("ignored" if ignore_errors else "failed", result)

    def v2_runner_on_skipped(self, result):
        self._task("skipped", result)

    def v2_runner_on_unreachable(self, result):
        self._task("unreachable", result)

    def v2_playbook_on_stats(self, stats):
        for host in stats.processed:
            self._write({"recap": stats.summarize(host), "host": host})

    def _task(self, status, result):
        # ansible-core 2.19 gave these names without an underscore, and warns of the old ones some day
        host, task = (getattr(result, name, None) or getattr(result, "_" + name) for name in ("host", "task"))
        content = result.result if hasattr(result, "result") else result._result
        self._write({"status": status, "host": host.name, "task": task.name, "action": task.action, "result": content})

    def _write(self, record):
        with open(os.environ["RECORDED"], "a") as file:
            file.write(json.dumps(record, default=str) + "\n")
