# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What a person wants to see of a configuration: the tables of `apptainer remote list` and `apptainer keyserver list`, and one of the logins.

Sources: `internal/app/apptainer/remote_list.go` and `keyserver_list.go` since 1.3; the recorded lists.
"""

from typing import Any, List, Mapping, Sequence

from .._redaction import without_login
from .._values.remote_config import Remote, RemoteConfig
from .._values.uri import hardcoded_keyserver

_YES = "\u2713"  # a check mark
_NOT_SECURE = "\u2717!"  # a cross
_LOCK = "\U0001f512"
_ENDPOINT_TITLES = ("NAME", "URI", "DEFAULT?", "GLOBAL?", "EXCLUSIVE?", "SECURE?")
_LOGIN_TITLES = ("LOGIN", "KIND", "USERNAME")
_ANSWERS = {True: _YES, False: "no", None: "?"}


def config_lines(config: RemoteConfig, flavor: str = "apptainer") -> List[str]:
    """The endpoints, and below them the keyservers of each. SingularityCE gets the same table, though it prints words in place of the lock."""
    rows = [(_shown(name), _shown(without_login(remote.uri)), *map(_mark, (name == config.active, remote.system, remote.exclusive)),
             _NOT_SECURE if remote.insecure else _YES)
            for name, remote in sorted(config.remotes.items())]
    lines = _table([_ENDPOINT_TITLES, *rows])
    for name, remote in sorted(config.remotes.items()):
        marks = ("*" if remote.system else "") + ("^" if name == config.active else "")
        lines += ["", f"{_shown(name)} {marks}".rstrip(), *_keyserver_lines(remote, flavor)]
    return lines + (["", "(* = system endpoint, ^ = default endpoint)"] if rows else [])


def _keyserver_lines(remote: Remote, flavor: str) -> List[str]:
    """The keyservers in use. Which one is an endpoint's built-in keyserver only the endpoint itself knows, and it is not asked here."""
    used = [(server.uri, server.insecure) for server in remote.keyservers if not server.skip]
    builtin = hardcoded_keyserver(remote.uri, flavor)
    if not used and not builtin:
        return ["   (the endpoint's built-in keyserver)"]
    rows = [(f"   #{number}", _shown(without_login(uri)), "" if insecure else _LOCK) for number, (uri, insecure) in enumerate(used or [(builtin, False)], 1)]
    return _table(rows)


def login_lines(logins: Sequence[Mapping[str, Any]]) -> List[str]:
    """The logins of a user, as results show them; with a column for what the servers said, if they were asked."""
    if not logins:
        return []
    asked = any("verified" in login for login in logins)
    rows = [(_shown(login["name"]), login["kind"], _shown(login["username"] or ""),
             *((_ANSWERS[login["verified"]] if "verified" in login else "",) if asked else ())) for login in logins]
    return _table([(*_LOGIN_TITLES, *(("ACCEPTED?",) if asked else ())), *rows])


def _mark(is_set: bool) -> str:
    return _YES if is_set else ""


def _shown(text: str) -> str:
    """A cell, with question marks in place of what would tear the table, or what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _table(rows: Sequence[Sequence[str]]) -> List[str]:
    """Columns as Go's text/tabwriter aligns them here, two spaces apart; without spaces at the ends of lines."""
    widths = [max(map(len, column)) + 2 for column in zip(*rows)]
    return ["".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
