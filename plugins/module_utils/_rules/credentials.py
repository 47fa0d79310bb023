# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The list `Credentials` of a remote.yaml, changed by the rules of Apptainer.

Apptainer compares its entries by scheme and host, with case (`internal/pkg/remote/util/util.go` Equal), and replaces one by removing all that
match and appending the new one (recorded runs reg-duplicate-credentials, ks-path-mismatch and ks-logout-path in logins.json.gz); so do we.
"""

from typing import Callable, Collection, Dict, Iterable, List, Tuple

from .._errors import RuleError
from .._values.remote_config import Credential
from .._values.uri import keyserver_identity, parse

REGISTRY_SCHEMES = ("docker", "oras")

CredentialKey = Tuple[str, str]


def credential_key(uri: str) -> CredentialKey:
    """Scheme and host by which the entries of Credentials are told apart. A URI of neither a registry nor a keyserver is its own key."""
    try:
        url = parse(uri)
    except RuleError:
        return "", uri
    if url.scheme in REGISTRY_SCHEMES:
        return url.scheme, url.host
    return keyserver_identity(uri) or ("", uri)


class Credentials:
    """A working copy of Credentials, by key, so that a thousand logins take a thousand steps."""

    def __init__(self, credentials: Iterable[Credential]) -> None:
        self._entries: Dict[CredentialKey, List[Tuple[int, Credential]]] = {}  # with the number by which they are sorted in the end
        self._last_number = 0
        for entry in credentials:
            self._append(credential_key(entry.uri), entry)

    def _append(self, key: CredentialKey, entry: Credential) -> None:
        self._last_number += 1
        self._entries.setdefault(key, []).append((self._last_number, entry))

    def matching(self, key: CredentialKey) -> List[Credential]:
        """All entries of a key, in the order of the file."""
        return [entry for _number, entry in self._entries.get(key, ())]

    def remove(self, key: CredentialKey) -> None:
        """Remove all entries of a key."""
        self._entries.pop(key, None)

    def replace(self, key: CredentialKey, entry: Credential) -> None:
        """Make `entry` the only one of its key: at the end of the list, unless it is the only one already."""
        if self.matching(key) != [entry]:
            self.remove(key)
            self._append(key, entry)

    def prune(self, listed: Collection[CredentialKey], has_kind: Callable[[str], bool]) -> None:
        """Remove the entries that are not listed, of the schemes for which `has_kind` is true."""
        for key in [key for key in self._entries if key not in listed and has_kind(key[0])]:
            self.remove(key)

    def result(self) -> Tuple[Credential, ...]:
        """The changed list."""
        return tuple(entry for _number, entry in sorted(pair for pairs in self._entries.values() for pair in pairs))
