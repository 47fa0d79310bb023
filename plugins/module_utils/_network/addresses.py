# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""URLs that can be asked, and where a redirect may lead, with a credential or without."""

import base64
import contextlib
import re
from typing import Optional, Tuple
from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

from .._errors import quoted, shortened
from .errors import ElsewhereError, server_of

PORTS = {"http": 80, "https": 443}  # where a URL names none

_HOST = re.compile(r"(?:[\w.~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?\Z")


def parts_of(url: str) -> Optional[SplitResult]:
    """The parts of an http or https URL that can be asked, None for any other."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in PORTS and has_host(parts) and "\\" not in url
    except ValueError:
        return None
    return parts if usable else None


def has_host(parts: SplitResult) -> bool:
    """Whether there is a host to connect to, with a possible port. Raises ValueError for a port that is none."""
    return parts.port != 0 and _HOST.match(parts.netloc.rpartition("@")[2]) is not None


def quoted_without_login(url: str) -> str:
    """Any text that should be a URL, for messages."""
    shown = re.sub(r"([?#]).+", r"\1...", url.rpartition("@")[2], flags=re.DOTALL)
    return quoted(shortened(f"...{shown}" if "@" in url else shown))


def redirected(parts: SplitResult, location: str, authorization: str, same_server: bool) -> SplitResult:
    """Where a redirect from `parts` to `location` leads. Raises ElsewhereError if it must not be followed.

    A credential stays on its server (scheme, host and port); so does every question with `same_server`; no other goes from https to http.
    """
    here = server_of(urlunsplit(parts))
    target = None
    with contextlib.suppress(ValueError):
        target = parts_of(urljoin(urlunsplit(parts), location))
    if target is None:
        raise ElsewhereError(f"{here} redirects to an invalid address: correct that server")
    if _authority(parts) == _authority(target):
        return target
    there = server_of(urlunsplit(target))
    there = "another server" if _echoes(there, authorization) else there
    if (parts.scheme, target.scheme) == ("https", "http"):
        unsent = "the credential was not sent there" if authorization else "nothing was sent there"
        raise ElsewhereError(f"{here} redirects to {there}, which is plain http, so {unsent}: make it redirect to https")
    if authorization:
        raise ElsewhereError(f"{here} redirects to {there}; the credential was not sent there: if that is the right server, use its address")
    if same_server:
        raise ElsewhereError(f"{here} redirects to {there}: if that is the right server, use its address")
    return target


def _authority(parts: SplitResult) -> Tuple[str, Optional[str], int]:
    return parts.scheme, parts.hostname, parts.port or PORTS[parts.scheme]


def _echoes(text: str, authorization: str) -> bool:
    """Whether a text from a server holds the credential that was sent to it, or the password in that."""
    secret = authorization.rpartition(" ")[2].rstrip("=")
    login = ""
    with contextlib.suppress(ValueError):
        login = base64.b64decode(secret + "=" * (-len(secret) % 4)).decode("utf-8")
    return any(part and part.lower() in text.lower() for part in (secret, login.partition(":")[2]))
