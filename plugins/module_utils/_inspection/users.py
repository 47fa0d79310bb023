# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What an audit says of users, and what it believes of the replies of the processes that checked their files: pure rules."""

from typing import Any, Dict, List, Optional, Sequence

from .._errors import ApptainerError, quoted
from .findings import Finding
from .replies import CUT_SHORT, printable


def own_findings(answer: Any) -> List[Dict[str, Any]]:
    """Findings as another process gave them. Raises ApptainerError if they are none."""
    if not isinstance(answer, list) or not all(_is_finding(item) for item in answer):
        raise ApptainerError(CUT_SHORT)
    return [{name: printable(value) if isinstance(value, str) else value for name, value in finding.items()} for finding in answer]


def uids(answer: Any) -> List[int]:
    """Uids as another process gave them. Raises ApptainerError if they are none."""
    if not isinstance(answer, list) or not all(_is(uid, int) for uid in answer):
        raise ApptainerError(CUT_SHORT)
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
    return {"user": printable(name), "home": None if home is None else printable(home), "error": error, "findings": list(findings)}


def unknown_user(name: str) -> Dict[str, Any]:
    """What an audit's result says about a user who does not exist."""
    return user_entry(name, None, error=f"{quoted(printable(name))} is neither a user name nor a uid on this node. Correct it, or check the "
                                        "node's user database (getent passwd).")
