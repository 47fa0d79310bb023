# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The one exception family below the modules, and how its messages show what a user or a file named."""

import json
from typing import Any, Mapping


def quoted(text: str) -> str:
    """A name in quotes, in one line whatever is in it."""
    return json.dumps(text, ensure_ascii=False)


def shortened(text: str, most: int = 200) -> str:
    """A text that may be of any length, as a message or result shows it: at most so many characters of it, and then dots."""
    return text if len(text) <= most else f"{text[:most]}..."


class ApptainerError(Exception):
    """Something the user must hear about, as one sentence: what is wrong, where, and what to do.

    The message never holds a secret. Only the glue (`_module/`) turns it into a failed task.
    """


class RuleError(ApptainerError):
    """A rule of Apptainer, or of ours, forbids the wanted change.

    `subject` is what the error is about (`endpoint "site"`), or empty; `reason` is the rest of the message.
    """

    def __init__(self, reason: str, subject: str = "") -> None:
        super().__init__(f"{subject}: {reason}" if subject else reason)
        self.reason = reason
        self.subject = subject

    def about(self, subject: str) -> "RuleError":
        """The same error, now about `subject`. A subject that it already has stays in the reason."""
        return RuleError(str(self), subject)


class FormatError(ApptainerError):
    """A file is not what Apptainer would read: `problem` names file, line and column; in the message, the `remedy` follows."""

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(f"{problem}. {remedy}" if remedy else problem)
        self.problem = problem


class UnreadableError(ApptainerError):
    """A global file that is there, but that Apptainer cannot read: it silently ignores it, with its default and its exclusive endpoint."""


class StoreError(ApptainerError):
    """A file cannot be read, locked or written."""


class ConflictError(StoreError):
    """A file is no longer as it was when a change to it was planned: someone else has written it. It has not been touched."""


class NetworkError(ApptainerError):
    """A server cannot be reached, or what it answers is not what Apptainer needs; the message names the server and what it did."""


class VerificationError(ApptainerError):
    """A server did not accept what was verified. `result` is what the task returns beside the message."""

    def __init__(self, message: str, result: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.result = dict(result)
