# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The users of a node, as its user database has them, and whose files an audit checks."""

import pwd
import re
from typing import Iterable, List, NamedTuple, Optional, Sequence, Tuple

LOGIN_DEFS = "/etc/login.defs"


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
