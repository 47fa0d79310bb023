# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Declared endpoints, and what is refused of a declaration whatever the files hold."""

from typing import NamedTuple, Optional, Sequence, Tuple

from .._apptainer.effective import tears_table
from .._errors import RuleError, quoted
from .._redaction import safe_repr
from .._values.claims import fits_header


class WantedKeyserver(NamedTuple):
    """One keyserver of a declared list. An option that is None stays as it is; for a new keyserver it is false."""

    uri: str
    insecure: Optional[bool] = None
    builtin: Optional[bool] = None


class WantedRemote(NamedTuple):
    """One declared endpoint. An option that is None is left alone; an empty `token` logs out.

    `state` is "present", "absent" or "retired": kept if it is there, and neither exclusive nor the default.
    """

    name: str
    state: str = "present"
    uri: Optional[str] = None
    insecure: Optional[bool] = None
    default: Optional[bool] = None
    exclusive: Optional[bool] = None
    token: Optional[str] = None
    keyservers: Optional[Tuple[WantedKeyserver, ...]] = None
    force: bool = False

    @property
    def present(self) -> bool:
        """Whether the endpoint should exist, with all that is declared for it."""
        return self.state == "present"

    @property
    def only_logs_out(self) -> bool:
        """Whether nothing is wanted but that the file holds no token for it."""
        return self._replace(force=False) == WantedRemote(self.name, token="")

    def __repr__(self) -> str:
        return safe_repr(self)


def endpoint_subject(name: str) -> str:
    """What an error or warning about an endpoint is about."""
    return f"endpoint {quoted(name)}"


def listed(names: Sequence[str]) -> str:
    """Names in a sentence, sorted."""
    return ", ".join(quoted(name) for name in sorted(names))


def check_list(wanted: Sequence[WantedRemote]) -> None:
    """Raises RuleError for endpoints that contradict each other: two of one name, two defaults, two exclusive ones."""
    seen = set()
    for item in wanted:
        if item.name in seen:
            raise RuleError("it is listed twice; merge the two entries", endpoint_subject(item.name))
        seen.add(item.name)
    for option in ("default", "exclusive"):
        chosen = [item.name for item in wanted if getattr(item, option) and item.present]
        if len(chosen) > 1:
            raise RuleError(f"only one endpoint can have {option}: true, but these have it: {listed(chosen)}; keep it for one of them")


def check_remote(item: WantedRemote, is_global: bool) -> None:
    """Raises RuleError for what Apptainer refuses too, and for what would do harm; `is_global` is about the file that the endpoint goes into.

    A blank name: `internal/app/apptainer/remote_add.go`. exclusive of a user: SetDefault in `internal/pkg/remote/remote.go`. Keyservers of a
    user: `internal/app/apptainer/keyserver_add.go`. TAB, VT, FF and LF in a name: `remote_list.go` there gives names as they are to Go's
    text/tabwriter. (To log out is no harm.) A token in the global file reaches only users without a file (SyncFrom in remote.go). The name
    `<<` is a merge key to the YAML library, which writes it without quotes before 1.5 (recorded runs of format).
    """
    if not item.name.strip():
        raise RuleError("the name is blank, which Apptainer refuses; choose another")
    if tears_table(item.name) and not item.only_logs_out:
        raise RuleError("the name has a tab or a line break, which tears the table of apptainer remote list; choose another")
    if item.name == "<<":
        raise RuleError("with the name <<, Apptainer before 1.5 writes a file that no version can read; choose another")
    if item.exclusive and item.default is False:
        raise RuleError("an exclusive endpoint is always the default; remove default: false or exclusive: true")
    if is_global and item.token:
        raise RuleError("everyone could read a token in the global file, and it would work only for users without a file of their own; "
                        "log in with scope: user")
    if item.token and not fits_header(item.token):
        raise RuleError("the token has white space or characters that an HTTP header cannot carry; correct it")
    if not is_global and item.exclusive is not None:
        raise RuleError("exclusive can only be set in the global file; use scope: global")
    if not is_global and item.keyservers is not None:
        raise RuleError("keyservers can only be set in the global file; use scope: global")
