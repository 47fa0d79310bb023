# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Replies of processes that belong to users: what they say is not believed, only passed on."""

import json
from typing import Any

from .._errors import ApptainerError

MAX_REPLY = 1024 * 1024  # bytes
CUT_SHORT = "the check was cut short. Run it again; if that happens again, find out what kills this user's processes."


def encode_reply(reply: Any) -> bytes:
    """A reply on its way to the process that asked for it. What is not Unicode, as in a file's name, becomes question marks."""
    return json.dumps(reply, ensure_ascii=False).encode("utf-8", "replace")


def decode_reply(data: bytes) -> Any:
    """The answer in a reply. Raises ApptainerError if there is none, if it is an error, or if it has more than MAX_REPLY bytes.

    It comes from a process that belongs to the user, so nothing in it is taken for granted.
    """
    if len(data) > MAX_REPLY:
        raise ApptainerError(f"the result is larger than {MAX_REPLY >> 10} KiB. Run apptainer_remote_info as this user (become_user).")
    try:
        reply = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        raise ApptainerError(CUT_SHORT) from None
    if not isinstance(reply, dict) or len(reply) != 1:
        raise ApptainerError(CUT_SHORT)
    error = reply.get("error")
    if isinstance(error, str):
        raise ApptainerError(printable(error))
    return reply.get("answer")


def printable(text: str) -> str:
    """Text with question marks in place of what cannot be seen or what a terminal would obey: users choose names of files and links."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
