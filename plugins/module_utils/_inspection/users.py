# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Whose files an audit checks, and what is believed of the replies of the processes that do it: pure rules, except for the user database."""

import json
import pwd
import re
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from .._errors import ApptainerError, quoted
from .findings import Finding

LOGIN_DEFS = "/etc/login.defs"
MAX_REPLY = 1024 * 1024

_CUT_SHORT = "the check was cut short. Run it again; if that happens again, find out what kills this user's processes."


class Account(NamedTuple):
    """A user, as the node's user database has it."""

    name: str
    uid: int
    gid: int
    home: str


class Limits(NamedTuple):
    """The first and the last uid of people; all others are the system's."""

    first: int = 1000
    last: int = 60000


def limits(login_defs: str) -> Limits:
    """UID_MIN and UID_MAX in the text of a `login.defs`, decimal, octal or hexadecimal; the last one counts, a broken one does not.

    Source: `lib/getdef.c` of shadow-utils.
    """
    numbers = {}
    for line in login_defs.splitlines():
        name, _space, value = line.strip().replace("\t", " ").partition(" ")
        number = _number(value.strip(' "'))
        if number is not None:
            numbers[name] = number
    return Limits(numbers.get("UID_MIN", Limits().first), numbers.get("UID_MAX", Limits().last))


def _number(text: str) -> Optional[int]:
    """As C's `strtol` with base 0."""
    octal = text.startswith("0") and text.isdigit()
    try:
        return int(text, 8 if octal else 0)
    except ValueError:
        return None


def accounts(wanted: Optional[Sequence[str]], owners: Iterable[int], people: Limits) -> Tuple[List[Account], List[str]]:
    """The users to check, and which of `wanted`, names or uids, are unknown on this node.

    Without `wanted`, all `people` of the user database. `owners` are the uids of the owners of homes; those of the system and those
    without a name are left out. Two names of one user with one home count once.
    """
    if wanted is None:
        chosen = [account for account in map(_account, pwd.getpwall()) if people.first <= account.uid <= people.last]
        unknown = []
    else:
        known = {text: _find(text) for text in wanted}
        chosen = [account for account in known.values() if account]
        unknown = sorted(text for text, account in known.items() if account is None)
    chosen_uids = {account.uid for account in chosen}
    for uid in owners:
        account = _with_uid(uid) if uid >= people.first and uid not in chosen_uids else None
        chosen += [account] if account else []
    return sorted({(account.uid, account.home): account for account in reversed(chosen)}.values()), unknown


def _find(text: str) -> Optional[Account]:
    """A user by name, or if nobody has that name, by uid."""
    try:
        return _account(pwd.getpwnam(text))
    except (KeyError, ValueError):  # a null byte in it, or a letter that Python 3.6 cannot encode in the C locale
        return _with_uid(int(text)) if re.match(r"[0-9]{1,10}\Z", text) else None


def _with_uid(uid: int) -> Optional[Account]:
    try:
        return _account(pwd.getpwuid(uid))
    except (KeyError, OverflowError):
        return None


def _account(entry: pwd.struct_passwd) -> Account:
    return Account(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid, home=entry.pw_dir)


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
        raise ApptainerError(_CUT_SHORT) from None
    if not isinstance(reply, dict) or len(reply) != 1:
        raise ApptainerError(_CUT_SHORT)
    error = reply.get("error")
    if isinstance(error, str):
        raise ApptainerError(_printable(error))
    return reply.get("answer")


def own_findings(answer: Any) -> List[Dict[str, Any]]:
    """Findings as another process gave them. Raises ApptainerError if they are none."""
    if not isinstance(answer, list) or not all(_is_finding(item) for item in answer):
        raise ApptainerError(_CUT_SHORT)
    return [{name: _printable(value) if isinstance(value, str) else value for name, value in finding.items()} for finding in answer]


def uids(answer: Any) -> List[int]:
    """Uids as another process gave them. Raises ApptainerError if they are none."""
    if not isinstance(answer, list) or not all(_is(uid, int) for uid in answer):
        raise ApptainerError(_CUT_SHORT)
    return answer


def _is(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _is_finding(value: Any) -> bool:
    if not isinstance(value, dict) or set(value) != set(Finding._fields):
        return False
    optional = [(value["remote"], str), (value["line"], int)]
    versions = value["refused_by"]
    return (all(isinstance(value[name], str) for name in ("id", "severity", "path", "message"))
            and all(item is None or _is(item, kind) for item, kind in optional)
            and isinstance(versions, list) and all(isinstance(version, str) for version in versions))


def user_entry(name: str, home: Optional[str], findings: Sequence[Dict[str, Any]] = (), error: Optional[str] = None) -> Dict[str, Any]:
    """What an audit's result says about one user."""
    return {"user": _printable(name), "home": None if home is None else _printable(home), "error": error, "findings": list(findings)}


def unknown_user(name: str) -> Dict[str, Any]:
    """What an audit's result says about a user who does not exist."""
    return user_entry(name, None, error=f"{quoted(_printable(name))} is neither a user name nor a uid on this node. Correct it, or check the "
                                        "node's user database (getent passwd).")


def _printable(text: str) -> str:
    """Text with question marks in place of what cannot be seen or what a terminal would obey: users choose names of files and links."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
