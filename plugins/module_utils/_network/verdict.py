# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What became of one verification, and the words that all kinds of servers share."""

from typing import NamedTuple, Optional

from .._errors import shortened
from .challenges import challenges
from .errors import status_text

REFUSED = (401, 403)


class Verdict(NamedTuple):
    """`verified`: True is verified; False is rejected, or cannot be verified; None means that the server's answer shows neither.

    `reason` says why, by what server, and what to do; `warning` what must be said although the verdict stands.
    """

    verified: Optional[bool]
    reason: str
    warning: str = ""


def login_rejected(subject: str, status: int, credential: str = "user name and password") -> Verdict:
    """The verdict for a server, named by `subject`, that answered a login with 401 or 403."""
    return Verdict(False, f"{subject} rejects the login ({status_text(status)}): check {credential}")


def login_not_verified(subject: str) -> Verdict:
    """The verdict for a server that lets in whoever comes, and so says nothing about a login."""
    return Verdict(None, f"{subject} lets everyone in, so the login could not be verified")


def another_login(subject: str, before: str, after: str) -> Optional[Verdict]:
    """The verdict for a login that was let in by something in front of a server, behind which another login is demanded; None if it was not.

    `before` and `after` are the challenges of the answers without and with the login: who rejects a login repeats the first.
    """
    offered = {(item.scheme, item.parameters.get("realm")) for item in challenges(before)}
    kinds = [item.scheme.capitalize() for item in challenges(after) if (item.scheme, item.parameters.get("realm")) not in offered]
    if not kinds or not offered:
        return None
    return Verdict(False, f"{subject} answers the login by demanding another one ({shortened(kinds[0], 40)}): something in front of it seems to accept "
                          "this login, and Apptainer can send only one of the two; remove the login in front, or use the address behind it")


def status_advice(status: int) -> str:
    """What a status means that says that a server does not work now; nothing, if it is another one."""
    if status == 429:
        return ": it is rate limiting; try again later"
    if status in (502, 504):
        return ": it is a proxy, and the server behind it does not answer; check that one"
    if status >= 500:
        return ": server error; see its log"
    return ""


def certificate_hint(status: int) -> str:
    """What 400 may mean: it is how nginx asks for a client certificate (`ssl_verify_client on`)."""
    return " (it may require a client certificate: set client_cert)" if status == 400 else ""
