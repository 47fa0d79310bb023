# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the servers saw, and credentials to show them."""

import base64
import secrets
from collections.abc import Callable
from typing import NamedTuple


class Request(NamedTuple):
    """A request that was answered. `scheme` is that of its Authorization header, `""` without one; `right` is that it was the right one."""

    site: str
    method: str
    path: str
    status: int
    scheme: str
    right: bool


class Account(NamedTuple):
    """Who may: with characters that are wrongly quoted somewhere, and never the same twice, so that nothing else on the machine looks like it."""

    username: str
    password: str
    token: str

    @property
    def basic(self) -> str:
        """The Authorization header with the password."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()

    @property
    def bearer(self) -> str:
        """The Authorization header with the token."""
        return "Bearer " + self.token


def account() -> Account:
    """A new account: its password has a colon, a quote, a space and an umlaut; its token is of the length that Apptainer takes."""
    return Account("alice", f"pa:ss'w\u00f6rd {secrets.token_hex(12)}", secrets.token_urlsafe(300))


class Server:
    """What tests may ask of every server: what it saw since `forget()`, which each test starts with."""

    def __init__(self, seen: Callable[[], list[Request]], forget: Callable[[], None]) -> None:
        self._seen = seen
        self._forget = forget

    def requests(self, site: str | None = None) -> list[Request]:
        """What was seen, in order; at one site, or at all."""
        return [request for request in self._seen() if site in (None, request.site)]

    def forget(self) -> None:
        self._forget()
