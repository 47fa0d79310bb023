# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What Apptainer itself does to a remote.yaml, hazards included.

Every function is "as Apptainer" 1.1.6 to 1.5: it predicts the real command (recorded runs remote_ops, keyserver_ops and merge). What our
modules write is decided in `_rules/endpoints.py`, by safer rules; of these here they call what computes the effective configuration, and the
commands are the reference that the recordings judge. Messages of RuleError here are Apptainer's own.
"""

from typing import List, Mapping, NamedTuple, Optional

from .._values.claims import EndpointToken
from .._values.remote_config import Remote, RemoteConfig
from .._values.uri import DEFAULT_ENDPOINT_URI, same_place

# What is used where no file says anything, by flavor
BUILT_IN = {
    "apptainer": RemoteConfig("DefaultRemote", {"DefaultRemote": Remote(uri=DEFAULT_ENDPOINT_URI, system=True)}),
    "singularity": RemoteConfig("SylabsCloud", {"SylabsCloud": Remote(uri="cloud.sylabs.io", system=True)}),
}


def exclusives(remotes: Mapping[str, Remote]) -> List[str]:
    """Names of the endpoints marked exclusive, sorted. More than one is a hazard: Apptainer then obeys any of them, by chance."""
    return sorted(name for name, remote in remotes.items() if remote.exclusive)


def sync(user: RemoteConfig, system: RemoteConfig) -> RemoteConfig:
    """What Apptainer makes of a user's file where a global file exists too.

    Entries of the global file are added or refreshed, without Token and Insecure; an own entry of the same name hides the global one and
    its Exclusive; copies whose original is gone stay. With several exclusive endpoints Apptainer picks one at random, here the last by
    name. Source: `internal/pkg/remote/remote.go` SyncFrom since 1.1.6 (earlier a name collision was fatal).
    """
    remotes = dict(user.remotes)
    active = user.active
    for name, original in sorted(system.remotes.items()):
        mine = remotes.get(name, Remote(system=True))
        if not mine.system:
            continue
        remotes[name] = mine._replace(uri=original.uri, exclusive=original.exclusive, keyservers=original.keyservers)
        if original.exclusive:
            active = name
    return user._replace(active=active or system.active, remotes=remotes)


class Effective(NamedTuple):
    """What an Apptainer command of one user works with."""

    config: RemoteConfig
    source: str  # which files count: "user and global", "user", "global" or "built-in"
    problem: Optional[str] = None  # Apptainer's reason to refuse every command that needs an endpoint


def shadows(user: RemoteConfig, system: RemoteConfig) -> List[str]:
    """Names of a user's own endpoints that global ones have too, sorted."""
    return sorted(name for name, remote in user.remotes.items() if name in system.remotes and not remote.system)


def effective(user: Optional[RemoteConfig], system: Optional[RemoteConfig], flavor: str = "apptainer") -> Effective:
    """The configuration that Apptainer computes; None stands for a file that is absent or that it silently ignores.

    SingularityCE (4.5) does the same, but for its built-in endpoint and for a name in both files, which is fatal there.
    Source: `cmd/internal/cli/apptainer.go` getRemote, the same from 1.0.3 to 1.5.3.
    """
    if user is not None and system is not None:
        config, source = sync(user, system), "user and global"
    elif user is not None:
        config, source = user, "user"
    elif system is not None:
        config, source = system, "global"
    else:
        config, source = BUILT_IN[flavor], "built-in"
    if not config.active and not config.remotes:
        return Effective(BUILT_IN[flavor], "built-in")
    if flavor == "singularity" and user is not None and system is not None and shadows(user, system):
        return Effective(config, source, f"name collision while syncing: {shadows(user, system)[0]}")
    if not config.active:
        return Effective(config, source, "no default endpoint set: use 'apptainer remote use …'")
    if config.active not in config.remotes:
        return Effective(config, source, f"unable to load remote configuration: {config.active} is not a remote")
    return Effective(config, source)


def endpoint_tokens(remotes: RemoteConfig, system: RemoteConfig, as_stored: bool = False) -> List[EndpointToken]:
    """The tokens in a user's file, for the URIs that Apptainer takes from the global file where it has the endpoint, and Insecure as here.

    With `as_stored`, for the place that they were stored for: another one if the global endpoint moved since.
    """
    seen = sync(remotes, system).remotes
    found = []
    for name, remote in remotes.remotes.items():
        moved = as_stored and not same_place(remote.uri, False, seen[name].uri, False)
        if remote.token:
            found.append(EndpointToken(name, (remote if moved else seen[name]).uri, remote.insecure, remote.token))
    return found
