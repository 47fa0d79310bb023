# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The values in a remote.yaml: immutable, without rules, I/O or Ansible.

The keys are those of Apptainer 1.1 to 1.5 (`internal/pkg/remote/remote.go`, `endpoint/config.go`, `credential/config.go`).
"""

from typing import Mapping, NamedTuple, Optional, Tuple

from .._redaction import safe_repr


class Keyserver(NamedTuple):
    """One entry of an endpoint's `Keyservers` list.

    `external` is false for the endpoint's built-in keyserver, which service discovery names: Apptainer sends it the endpoint's token, and
    to an external one the login stored for that. `skip` is how Apptainer remembers that the built-in keyserver was removed
    (`endpoint/keyserver.go` UpdateKeyserversConfig, RemoveKeyserver).
    """

    uri: str
    skip: bool = False
    external: bool = False
    insecure: bool = False

    def __repr__(self) -> str:
        return safe_repr(self)


class Remote(NamedTuple):
    """One endpoint. `system` marks an entry of the global file, or a copy of one in a user's file."""

    uri: str = ""
    token: str = ""
    system: bool = False
    exclusive: bool = False
    insecure: bool = False
    keyservers: Tuple[Keyserver, ...] = ()

    def __repr__(self) -> str:
        return safe_repr(self)


class Credential(NamedTuple):
    """One login of a user. `auth` holds a keyserver's secret; it is empty for an OCI registry (that secret is in docker-config.json)."""

    uri: str
    auth: str = ""
    insecure: bool = False

    def __repr__(self) -> str:
        return safe_repr(self)


class RemoteConfig(NamedTuple):
    """A whole remote.yaml. `active` names the default endpoint, or is empty."""

    active: str = ""
    remotes: Mapping[str, Remote] = {}
    credentials: Tuple[Credential, ...] = ()


def with_remote(config: RemoteConfig, name: str, remote: Optional[Remote]) -> RemoteConfig:
    """The configuration with the endpoint `name` added or replaced, or without it if `remote` is None."""
    remotes = {key: value for key, value in config.remotes.items() if key != name}
    if remote is not None:
        remotes[name] = remote
    return config._replace(remotes=remotes)
