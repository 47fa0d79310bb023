# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Whose files an audit looks at, and what is believed of the answers of those who look: pure rules, but for the user database."""

import json
import pwd
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from .._errors import ApptainerError, quoted
from .findings import Finding

LOGIN_DEFS = "/etc/login.defs"
MAX_REPLY = 1024 * 1024

_BROKEN = "what was read did not come back whole. Run again, and look who kills processes of this user."


class Account(NamedTuple):
    """A user, as the user database of the node says."""

    name: str
    uid: int
    gid: int
    home: str


class Limits(NamedTuple):
    """The uids of people, both inclusive; all others are for the system."""

    first: int = 1000
    last: int = 60000


def limits(login_defs: str) -> Limits:
    """UID_MIN and UID_MAX in the text of a `login.defs`, decimal, octal or hexadecimal; the last one counts, a broken one does not.

    Source: `lib/getdef.c` of shadow-utils.
    """
    found = {}
    for line in login_defs.splitlines():
        name, _space, value = line.strip().replace("\t", " ").partition(" ")
        number = _number(value.strip(' "'))
        if number is not None:
            found[name] = number
    return Limits(found.get("UID_MIN", Limits().first), found.get("UID_MAX", Limits().last))


def _number(text: str) -> Optional[int]:
    """As C's `strtol` with base 0."""
    octal = text.startswith("0") and text.isdigit()
    try:
        return int(text, 8 if octal else 0)
    except ValueError:
        return None


def accounts(wanted: Optional[Sequence[str]], owners: Iterable[int], people: Limits) -> Tuple[List[Account], List[str]]:
    """The users to look at, and which of `wanted`, names or uids, nobody knows.

    Without `wanted`, all `people` of the user database. `owners` are uids of owners of homes; those of the system and those without a
    name are left out. Two names of one user with one home count once.
    """
    if wanted is None:
        found = [account for account in map(_account, pwd.getpwall()) if people.first <= account.uid <= people.last]
        unknown = []
    else:
        known = {text: _find(text) for text in wanted}
        found = [account for account in known.values() if account]
        unknown = sorted(text for text, account in known.items() if account is None)
    seen = {account.uid for account in found}
    for uid in owners:
        account = _with_uid(uid) if uid >= people.first and uid not in seen else None
        found += [account] if account else []
    return sorted({(account.uid, account.home): account for account in reversed(found)}.values()), unknown


def _find(text: str) -> Optional[Account]:
    """A user by name, or if nobody has that name, by uid."""
    try:
        return _account(pwd.getpwnam(text))
    except (KeyError, ValueError):  # a null byte in it, or a letter that Python 3.6 cannot encode in the C locale
        return _with_uid(int(text)) if text.isdigit() else None


def _with_uid(uid: int) -> Optional[Account]:
    try:
        return _account(pwd.getpwuid(uid))
    except (KeyError, OverflowError):
        return None


def _account(user_entry: pwd.struct_passwd) -> Account:
    return Account(user_entry.pw_name, user_entry.pw_uid, user_entry.pw_gid, user_entry.pw_dir)


def encode_reply(answer: Any) -> bytes:
    """An answer on its way to whoever asked for it. What is no Unicode, as in a file's name, becomes question marks."""
    return json.dumps(answer, ensure_ascii=False).encode("utf-8", "replace")


def decode_reply(data: bytes) -> Any:
    """The answer again. Raises ApptainerError if it is none, is an error, or has more than MAX_ANSWER bytes.

    It comes from a process that belongs to the user, so nothing in it is taken for granted.
    """
    if len(data) > MAX_REPLY:
        raise ApptainerError("there is more to say than fits into %d KiB. Run apptainer_remote_info as this user (become_user)."
                             % (MAX_REPLY >> 10))
    try:
        answer = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        raise ApptainerError(_BROKEN) from None
    if not isinstance(answer, dict) or len(answer) != 1:
        raise ApptainerError(_BROKEN)
    error = answer.get("error")
    if isinstance(error, str):
        raise ApptainerError(_shown(error))
    return answer.get("answer")


def own_findings(answer: Any) -> List[Dict[str, Any]]:
    """Findings as another process gave them. Raises ApptainerError if they are none."""
    if not isinstance(answer, list) or not all(_is_finding(finding) for finding in answer):
        raise ApptainerError(_BROKEN)
    return [{name: _shown(value) if isinstance(value, str) else value for name, value in finding.items()} for finding in answer]


def uids(answer: Any) -> List[int]:
    """Uids as another process gave them. Raises ApptainerError if they are none."""
    if not isinstance(answer, list) or not all(_is(uid, int) for uid in answer):
        raise ApptainerError(_BROKEN)
    return answer


def _is(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _is_finding(found: Any) -> bool:
    if not isinstance(found, dict) or set(found) != set(Finding._fields):
        return False
    optional = [(found["remote"], str), (found["line"], int)]
    versions = found["refused_by"]
    return (all(isinstance(found[name], str) for name in ("id", "severity", "path", "message"))
            and all(value is None or _is(value, kind) for value, kind in optional)
            and isinstance(versions, list) and all(isinstance(version, str) for version in versions))


def user_entry(name: str, home: Optional[str], findings: Sequence[Dict[str, Any]] = (), error: Optional[str] = None) -> Dict[str, Any]:
    """What an audit says of one user."""
    return {"user": _shown(name), "home": None if home is None else _shown(home), "error": error, "findings": list(findings)}


def unknown_user(name: str) -> Dict[str, Any]:
    """What an audit says of a user who is not there."""
    return user_entry(name, None, error="%s is neither the name nor the uid of a user of this node. Correct it, or look into the node's "
                 "user database (getent passwd)." % quoted(_shown(name)))


def _shown(text: str) -> str:
    """Text with question marks in place of what cannot be seen or what a terminal would obey: users choose names of files and links."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
