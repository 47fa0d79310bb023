# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What Apptainer itself makes of the global file and a user's: the configuration with which its commands work, hazards included.

Every function predicts Apptainer 1.1.6 to 1.6 (recorded runs of remote_ops and merge). What our modules write is decided in `_rules`, by
safer rules.
"""

import re
from typing import List, Mapping, NamedTuple, Optional

from .._values.claims import EndpointToken
from .._values.flavors import FLAVORS, in_words_of
from .._values.remote_config import Remote, RemoteConfig
from .._values.uri import DEFAULT_ENDPOINT_URI, same_place

# What is used where no file says anything, by flavor (DefaultRemoteConfig in `internal/pkg/remote/remote.go`)
BUILT_IN = {
    "apptainer": RemoteConfig(active="DefaultRemote", remotes={"DefaultRemote": Remote(uri=DEFAULT_ENDPOINT_URI, system=True)}),
    "singularity": RemoteConfig(active="SylabsCloud", remotes={"SylabsCloud": Remote(uri="cloud.sylabs.io", system=True)}),
}


def exclusives(remotes: Mapping[str, Remote]) -> List[str]:
    """Names of the endpoints marked exclusive, sorted. More than one is a hazard: Apptainer then picks one of them at random (sync())."""
    return sorted(name for name, remote in remotes.items() if remote.exclusive)


def sync(user: RemoteConfig, system: RemoteConfig) -> RemoteConfig:
    """What Apptainer makes of a user's file if there is a global file, too.

    Endpoints of the global file are added or refreshed, without Token and Insecure; one of the user's own with the same name hides the global
    one and its Exclusive; copies of global ones that are gone stay. Of several exclusive endpoints Apptainer picks one at random (Go's map
    order), this function the last one by name.
    Source: `internal/pkg/remote/remote.go` SyncFrom since 1.1.6 (earlier the same name in both was fatal); recorded runs of merge.
    """
    remotes = dict(user.remotes)
    active = user.active
    for name, system_remote in sorted(system.remotes.items()):
        remote = remotes.get(name, Remote(system=True))
        if not remote.system:
            continue
        remotes[name] = remote._replace(uri=system_remote.uri, exclusive=system_remote.exclusive, keyservers=system_remote.keyservers)
        if system_remote.exclusive:
            active = name
    return user._replace(active=active or system.active, remotes=remotes)


class Effective(NamedTuple):
    """What an Apptainer command of one user works with.

    `source` tells which files count: "user and global", "user", "global" or "built-in". `problem` is Apptainer's reason to refuse every
    command that needs an endpoint.
    """

    config: RemoteConfig
    source: str
    problem: Optional[str] = None


def shadows(user: RemoteConfig, system: RemoteConfig) -> List[str]:
    """Names of a user's own endpoints that hide global ones, sorted."""
    return sorted(name for name, remote in user.remotes.items() if name in system.remotes and not remote.system)


def same_name_does(flavor: str) -> str:
    """What an endpoint of the user's own does that has the name of a global one, as `SyncFrom` of this program sees it.

    Source: Apptainer since 1.1.6 "defined both globally and individually, using individual" (merge-1.5.3-0004; apptainer/apptainer issue 1018);
    SingularityCE "name collision while syncing" (merge-4.5.1-0001).
    """
    if FLAVORS[flavor].same_name_is_fatal:
        return (f"this user's own endpoint has the name of a global one, so {FLAVORS[flavor].program} refuses every command of this user that needs "
                "an endpoint (name collision while syncing)")
    return "this user's own endpoint hides the global one of the same name"


def tears_table(text: str) -> bool:
    """Whether a name or URI tears the table of `remote list`: these characters end a cell or a row for Go's text/tabwriter."""
    return re.search("[\\t\\v\\f\\n]", text) is not None


def effective(user: Optional[RemoteConfig], system: Optional[RemoteConfig], flavor: str = "apptainer") -> Effective:
    """The configuration that Apptainer computes. None stands for a file that does not exist or that it silently ignores.

    SingularityCE (4.5) does the same, but has another built-in endpoint, and there the same name in both files is fatal.
    Source: `cmd/internal/cli/apptainer.go` getRemote, the same from 1.0.3 to 1.6; recorded runs of merge.
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
    if FLAVORS[flavor].same_name_is_fatal and user is not None and system is not None and shadows(user, system):
        return Effective(config, source, f"name collision while syncing: {shadows(user, system)[0]}")
    if not config.active:
        return Effective(config, source, in_words_of(flavor, "no default endpoint set: use 'apptainer remote use …'"))
    if config.active not in config.remotes:
        return Effective(config, source, f"unable to load remote configuration: {config.active} is not a remote")
    return Effective(config, source)


def endpoint_tokens(remotes: RemoteConfig, system: RemoteConfig, as_stored: bool = False) -> List[EndpointToken]:
    """The tokens in a user's file with the URIs to which Apptainer sends them: for a global endpoint that of the global file (sync()).

    With `as_stored` they have the URIs for which they were stored: another one if the global endpoint has moved since. Insecure is always
    that of the user's file.
    """
    synced = sync(remotes, system).remotes
    found = []
    for name, remote in remotes.remotes.items():
        if remote.token:
            has_moved = not same_place(remote.uri, False, synced[name].uri, False)
            uri = remote.uri if as_stored and has_moved else synced[name].uri
            found.append(EndpointToken(name=name, uri=uri, insecure=remote.insecure, token=remote.token))
    return found
