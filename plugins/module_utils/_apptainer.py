# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What Apptainer itself does to a remote.yaml, hazards included.

Every function is "as Apptainer" 1.1.6 to 1.5: it predicts the real command (recorded runs remote_ops, keyserver_ops and merge). What our
modules write is decided in C(_declared.py), by safer rules; of these here they call what computes the effective configuration, and the
commands are the reference that the recordings judge. Messages of RuleError here are Apptainer's own.
"""

from typing import List, Mapping, NamedTuple, Optional, Tuple

from ansible_collections.hpc.apptainer.plugins.module_utils._errors import RuleError
from ansible_collections.hpc.apptainer.plugins.module_utils._remote_config import Keyserver, Remote, RemoteConfig
from ansible_collections.hpc.apptainer.plugins.module_utils._secrets import EndpointToken
from ansible_collections.hpc.apptainer.plugins.module_utils._uri import DEFAULT_ENDPOINT_URI, added_insecure, added_uri, same_keyserver, same_place

# What is used where no file says anything, by flavor
BUILT_IN = {
    "apptainer": RemoteConfig("DefaultRemote", {"DefaultRemote": Remote(uri=DEFAULT_ENDPOINT_URI, system=True)}),
    "singularity": RemoteConfig("SylabsCloud", {"SylabsCloud": Remote(uri="cloud.sylabs.io", system=True)}),
}


def exclusives(remotes: Mapping[str, Remote]) -> List[str]:
    """Names of the endpoints marked exclusive, sorted. More than one is a hazard: Apptainer then obeys any of them, by chance."""
    return sorted(name for name, remote in remotes.items() if remote.exclusive)


def put(config: RemoteConfig, name: str, remote: Optional[Remote]) -> RemoteConfig:
    """The configuration with the endpoint I(name) added or replaced, or without it if I(remote) is None."""
    remotes = {key: value for key, value in config.remotes.items() if key != name}
    if remote is not None:
        remotes[name] = remote
    return config._replace(remotes=remotes)


def add(config: RemoteConfig, name: str, uri: str, system: bool = False, insecure: bool = False, make_default: bool = True) -> RemoteConfig:
    """C(apptainer remote add), to the global file if I(system). I(make_default): from 1.3 unless C(--no-default), before never.

    Source: C(internal/app/apptainer/remote_add.go); a user's file is not synced with the global one here.
    """
    insecure = added_insecure(uri, insecure)
    if not name.strip():
        raise RuleError("invalid name: cannot have empty name")
    if not uri.strip():
        raise RuleError("invalid URI: cannot have empty URI")
    remote = Remote(uri=added_uri(uri), system=system, insecure=insecure)
    if name in config.remotes:
        raise RuleError("%s is already a remote" % name)
    config = put(config, name, remote)
    return use(config, name, system) if make_default else config


def use(config: RemoteConfig, name: str, system: bool, exclusive: bool = False) -> RemoteConfig:
    """C(apptainer remote use) on the file itself; for a user it comes after sync().

    Hazard: it clears Exclusive only on the previous default, so a second exclusive endpoint is two commands away.
    Source: C(internal/pkg/remote/remote.go) SetDefault.
    """
    if name not in config.remotes:
        raise RuleError("%s is not a remote" % name)
    if exclusive and not system:
        raise RuleError("exclusive can't be set by user")
    others = exclusives(config.remotes)
    if name != config.active and others and not system:
        raise RuleError("could not use %s: remote %s has been set exclusive by the system administrator" % (name, others[0]))
    if exclusive and config.active in config.remotes:
        config = put(config, config.active, config.remotes[config.active]._replace(exclusive=False))
    config = put(config, name, config.remotes[name]._replace(exclusive=exclusive))
    return config._replace(active=name)


def remove(config: RemoteConfig, name: str, system: bool) -> RemoteConfig:
    """C(apptainer remote remove). Nothing else becomes the default.

    Hazard: users who hold a copy of a removed exclusive endpoint are locked out. Source: C(internal/pkg/remote/remote.go) Remove.
    """
    if name not in config.remotes:
        raise RuleError("%s is not a remote" % name)
    if config.remotes[name].system and not system:
        raise RuleError("%s is global and can't be removed" % name)
    config = put(config, name, None)
    return config._replace(active="") if config.active == name else config


def sync(user: RemoteConfig, system: RemoteConfig) -> RemoteConfig:
    """What Apptainer makes of a user's file where a global file exists too.

    Entries of the global file are added or refreshed, without Token and Insecure; an own entry of the same name hides the global one and
    its Exclusive; copies whose original is gone stay. With several exclusive endpoints Apptainer picks one at random, here the last by
    name. Source: C(internal/pkg/remote/remote.go) SyncFrom since 1.1.6 (earlier a name collision was fatal).
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
    Source: C(cmd/internal/cli/apptainer.go) getRemote, the same from 1.0.3 to 1.5.3.
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
        return Effective(config, source, "name collision while syncing: %s" % shadows(user, system)[0])
    if not config.active:
        return Effective(config, source, "no default endpoint set: use 'apptainer remote use …'")
    if config.active not in config.remotes:
        return Effective(config, source, "unable to load remote configuration: %s is not a remote" % config.active)
    return Effective(config, source)


def keyserver_owner(config: RemoteConfig, name: str) -> str:
    """The endpoint that C(apptainer keyserver add) and C(remove) work on: the named one, or the default one; it must be a global one."""
    if not name and not config.active:
        raise RuleError("no endpoint found: no default remote")
    owner = name or config.active
    if owner not in config.remotes:
        raise RuleError("no endpoint found: %s is not a remote" % owner)
    if not config.remotes[owner].system:
        raise RuleError("current endpoint is not a system defined endpoint")
    return owner


def add_keyserver(servers: Tuple[Keyserver, ...], uri: str, order: Optional[int] = None, insecure: bool = False) -> Tuple[Keyserver, ...]:
    """C(apptainer keyserver add) to a list that already holds the endpoint's own keyserver.

    Hazard: I(order) counts the servers in use, but is applied to the list with the skipped ones, so an append behind a skipped first
    entry lands before the last one. Source: C(internal/pkg/remote/endpoint/keyserver.go) AddKeyserver.
    """
    last = sum(not server.skip for server in servers) + 1
    if order is not None and order > last:
        raise RuleError("order is out of range: maximum is %d" % last)
    new = Keyserver(uri, external=True, insecure=insecure)
    rest = list(servers)
    known = [index for index, server in enumerate(servers) if same_keyserver(server.uri, uri)]
    if known:  # of several the last one decides
        match = rest.pop(known[-1])
        if match.external or not match.skip:
            raise RuleError("%s is already configured" % uri)
        new = match._replace(skip=False)
    rest.insert((order or last) - 1, new)
    return tuple(rest)


def remove_keyserver(servers: Tuple[Keyserver, ...], uri: str) -> Tuple[Keyserver, ...]:
    """C(apptainer keyserver remove) from a list that already holds the endpoint's own keyserver, which is only marked as skipped.

    Source: C(internal/pkg/remote/endpoint/keyserver.go) RemoveKeyserver.
    """
    for index, server in enumerate(servers):
        if server.skip or not same_keyserver(server.uri, uri):
            continue
        if sum(not other.skip for other in servers) == 1:
            raise RuleError("the primary keyserver %s can't be removed" % uri)
        skipped = () if server.external else (server._replace(skip=True),)
        return servers[:index] + skipped + servers[index + 1:]
    raise RuleError("keyserver %s is not configured" % uri)


def endpoint_tokens(remotes: RemoteConfig, system: RemoteConfig, as_stored: bool = False) -> List[EndpointToken]:
    """The tokens in a user's file, for the URIs that Apptainer takes from the global file where it has the endpoint, and Insecure as here.

    With I(as_stored), for the place that they were stored for: another one if the global endpoint moved since.
    """
    seen = sync(remotes, system).remotes
    found = []
    for name, remote in remotes.remotes.items():
        moved = as_stored and not same_place(remote.uri, False, seen[name].uri, False)
        if remote.token:
            found.append(EndpointToken(name, (remote if moved else seen[name]).uri, remote.insecure, remote.token))
    return found
