# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The values in a remote.yaml: immutable, without rules, I/O or Ansible.

The keys are those of Apptainer 1.1 to 1.5 (C(internal/pkg/remote/remote.go), C(endpoint/config.go), C(credential/config.go)).
"""

from typing import Mapping, NamedTuple, Optional, Tuple

HIDDEN = "(hidden)"
HIDDEN_CHANGED = "(hidden, changed)"


class Keyserver(NamedTuple):
    """One entry of an endpoint's C(Keyservers) list.

    C(external) is false for the endpoint's own keyserver, found by service discovery: that one gets the endpoint's token, an external
    one the login stored for it. C(skip) is how Apptainer remembers that the own keyserver was removed.
    """

    uri: str
    skip: bool = False
    external: bool = False
    insecure: bool = False


class Remote(NamedTuple):
    """One endpoint. C(system) marks an entry of the global file, or a copy of one in a user's file."""

    uri: str = ""
    token: str = ""
    system: bool = False
    exclusive: bool = False
    insecure: bool = False
    keyservers: Tuple[Keyserver, ...] = ()

    def __repr__(self) -> str:
        return "Remote(uri=%r, token=%s, system=%r, exclusive=%r, insecure=%r, keyservers=%r)" % (
            self.uri, bool(self.token) and HIDDEN, self.system, self.exclusive, self.insecure, self.keyservers)


class Credential(NamedTuple):
    """One login of a user. C(auth) holds a keyserver's secret; it is empty for an OCI registry (that secret is in docker-config.json)."""

    uri: str
    auth: str = ""
    insecure: bool = False

    def __repr__(self) -> str:
        return "Credential(uri=%r, auth=%s, insecure=%r)" % (self.uri, bool(self.auth) and HIDDEN, self.insecure)


class RemoteConfig(NamedTuple):
    """A whole remote.yaml. C(active) names the default endpoint, or is empty."""

    active: str = ""
    remotes: Mapping[str, Remote] = {}
    credentials: Tuple[Credential, ...] = ()


def with_remote(config: RemoteConfig, name: str, remote: Optional[Remote]) -> RemoteConfig:
    """The configuration with the endpoint I(name) added or replaced, or without it if I(remote) is None."""
    remotes = {key: value for key, value in config.remotes.items() if key != name}
    if remote is not None:
        remotes[name] = remote
    return config._replace(remotes=remotes)
