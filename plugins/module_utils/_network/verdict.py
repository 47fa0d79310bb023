# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What became of one verification, and the words that all kinds of servers share."""

from typing import NamedTuple, Optional

from .errors import status_text

REFUSED = (401, 403)


class Verdict(NamedTuple):
    """`verified`: True is verified; False is rejected, or cannot be verified; None means that the server's answer shows neither.

    `reason` says why, by what server, and what to do.
    """

    verified: Optional[bool]
    reason: str

    @property
    def warning(self) -> str:
        """What must be said although the verdict stands."""
        return ""


class WarningVerdict(Verdict):
    """A verdict with something to be said beside it."""

    warning = ""


def with_warning(verdict: Verdict, warning: str) -> Verdict:
    """The same verdict with a warning, if there is one."""
    if not warning:
        return verdict
    warned = WarningVerdict(*verdict)
    warned.warning = warning
    return warned


def login_rejected(subject: str, status: int, credential: str = "user name and password") -> Verdict:
    """The verdict for a server, named by `subject`, that answered a login with 401 or 403."""
    return Verdict(False, f"{subject} rejects the login ({status_text(status)}): check {credential}")


def login_not_verified(subject: str) -> Verdict:
    """The verdict for a server that lets in whoever comes, and so says nothing about a login."""
    return Verdict(None, f"{subject} lets everyone in, so the login could not be verified")


def certificate_hint(status: int) -> str:
    """What 400 may mean: it is how nginx asks for a client certificate (`ssl_verify_client on`)."""
    return " (it may require a client certificate: set client_cert)" if status == 400 else ""
