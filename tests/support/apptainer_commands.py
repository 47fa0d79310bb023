# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the commands of Apptainer itself do to a remote.yaml, hazards included: the reference that the recorded runs judge.

Every function predicts the real command of Apptainer 1.1.6 to 1.6; messages of RuleError here are Apptainer's own. A `flavor` is that of
SingularityCE where its commands do something else. What our modules write is decided by safer rules, in `plugins/module_utils/_rules`.
"""

from __future__ import annotations

import functools
import json

from ansible_collections.hpc.apptainer.plugins.module_utils._apptainer.effective import exclusives, shadows, sync
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import RuleError
from ansible_collections.hpc.apptainer.plugins.module_utils._formats.remote_yaml_reader import decode
from ansible_collections.hpc.apptainer.plugins.module_utils._values.flavors import FLAVORS
from ansible_collections.hpc.apptainer.plugins.module_utils._values.remote_config import Keyserver, Remote, RemoteConfig, with_remote
from ansible_collections.hpc.apptainer.plugins.module_utils._values.uri import (
    clean_path,
    hardcoded_keyserver,
    parse,
    requested_url,
    same_keyserver,
)


def added_insecure(uri: str, insecure: bool, flavor: str = "apptainer") -> bool:
    """The Insecure that `apptainer remote add` stores, as Apptainer: `https://` overrules the flag, `http://` needs it.

    SingularityCE stores the flag as it is: for `https://` too; and takes `http://` without it for https.
    Source: `cmd/internal/cli/remote.go`; both prefixes are compared with case there.
    """
    if flavor == "singularity":
        return insecure
    if uri.startswith("http://") and not insecure:
        raise RuleError("http URI requires --insecure or APPTAINER_ADD_INSECURE=true")
    return insecure and not uri.startswith("https://")


def added_uri(uri: str) -> str:
    """The URI that `apptainer remote add` stores, as Apptainer.

    Scheme, userinfo, query and fragment are dropped and the path is cleaned, even where nothing usable is left (`localhost:18080` gives
    an empty URI). Raises RuleError with Go's reason. Source: `internal/app/apptainer/remote_add.go`, recorded runs of remote_ops.
    """
    parsed = parse(uri)
    return clean_path(parsed.host + parsed.path)


def add_remote(
    config: RemoteConfig, name: str, uri: str, system: bool = False, insecure: bool = False, make_default: bool = True, flavor: str = "apptainer"
) -> RemoteConfig:
    """`apptainer remote add`, to the global file if `system`. `make_default`: from 1.3 unless `--no-default`, before never.

    Source: `internal/app/apptainer/remote_add.go`; a user's file is not synced with the global one here.
    """
    insecure = added_insecure(uri, insecure, flavor)
    if not name.strip():
        raise RuleError("invalid name: cannot have empty name")
    if not uri.strip():
        raise RuleError("invalid URI: cannot have empty URI")
    remote = Remote(uri=added_uri(uri), system=system, insecure=insecure)
    if name in config.remotes:
        raise RuleError(f"{name} is already a remote")
    config = with_remote(config, name, remote)
    return use_remote(config, name, system) if make_default else config


def use_remote(config: RemoteConfig, name: str, system: bool, exclusive: bool = False) -> RemoteConfig:
    """`apptainer remote use` on the file itself; for a user it comes after sync().

    Hazard: it clears Exclusive only on the previous default, so a second exclusive endpoint is two commands away.
    Source: `internal/pkg/remote/remote.go` SetDefault.
    """
    if name not in config.remotes:
        raise RuleError(f"{name} is not a remote")
    if exclusive and not system:
        raise RuleError("exclusive can't be set by user")
    others = exclusives(config.remotes)
    if name != config.active and others and not system:
        raise RuleError(f"could not use {name}: remote {others[0]} has been set exclusive by the system administrator")
    if exclusive and config.active in config.remotes:
        config = with_remote(config, config.active, config.remotes[config.active]._replace(exclusive=False))
    config = with_remote(config, name, config.remotes[name]._replace(exclusive=exclusive))
    return config._replace(active=name)


def remove_remote(config: RemoteConfig, name: str, system: bool) -> RemoteConfig:
    """`apptainer remote remove`. Nothing else becomes the default.

    Hazard: users who hold a copy of a removed exclusive endpoint are locked out. Source: `internal/pkg/remote/remote.go` Remove.
    """
    if name not in config.remotes:
        raise RuleError(f"{name} is not a remote")
    if config.remotes[name].system and not system:
        raise RuleError(f"{name} is global and can't be removed")
    config = with_remote(config, name, None)
    return config._replace(active="") if config.active == name else config


def keyserver_owner(config: RemoteConfig, name: str) -> str:
    """The endpoint that `apptainer keyserver add` and `remove` work on: the named one, or the default one; it must be a global one."""
    if not name and not config.active:
        raise RuleError("no endpoint found: no default remote")
    owner = name or config.active
    if owner not in config.remotes:
        raise RuleError(f"no endpoint found: {owner} is not a remote")
    if not config.remotes[owner].system:
        raise RuleError("current endpoint is not a system defined endpoint")
    return owner


def add_keyserver(servers: tuple[Keyserver, ...], uri: str, order: int | None = None, insecure: bool = False) -> tuple[Keyserver, ...]:
    """`apptainer keyserver add` to a list that already holds the endpoint's built-in keyserver.

    Hazard: `order` counts the servers in use, but is applied to the list with the skipped ones, so an append behind a skipped first
    entry lands before the last one. Source: `internal/pkg/remote/endpoint/keyserver.go` AddKeyserver.
    """
    last = sum(not server.skip for server in servers) + 1
    if order is not None and order > last:
        raise RuleError(f"order is out of range: maximum is {last}")
    new = Keyserver(uri, external=True, insecure=insecure)
    rest = list(servers)
    matching = [index for index, server in enumerate(servers) if same_keyserver(server.uri, uri)]
    if matching:  # of several the last one decides
        match = rest.pop(matching[-1])
        if match.external or not match.skip:
            raise RuleError(f"{uri} is already configured")
        new = match._replace(skip=False)
    rest.insert((order or last) - 1, new)
    return tuple(rest)


def remove_keyserver(servers: tuple[Keyserver, ...], uri: str) -> tuple[Keyserver, ...]:
    """`apptainer keyserver remove` from a list that already holds the endpoint's built-in keyserver, which is only marked as skipped.

    Source: `internal/pkg/remote/endpoint/keyserver.go` RemoveKeyserver.
    """
    for index, server in enumerate(servers):
        if server.skip or not same_keyserver(server.uri, uri):
            continue
        if sum(not other.skip for other in servers) == 1:
            raise RuleError(f"the primary keyserver {uri} can't be removed")
        skipped = () if server.external else (server._replace(skip=True),)
        return servers[:index] + skipped + servers[index + 1:]
    raise RuleError(f"keyserver {uri} is not configured")


class DiscoveryFailed(RuleError):
    """Apptainer could not find the endpoint's built-in keyserver; its words depend on the server and are not modelled."""

    def __init__(self) -> None:
        super().__init__("discovery failed")


def builtin_keyserver(remote, served, flavor="apptainer"):
    """The endpoint's built-in keyserver, from what the loopback web server answered when the case was recorded."""
    if hardcoded_keyserver(remote.uri, flavor):
        return hardcoded_keyserver(remote.uri, flavor)
    url = requested_url(remote.uri, remote.insecure).replace("http://localhost:80/", "http://localhost/")
    answer = (served or {}).get(url + "/assets/config/config.prod.json")
    if answer is None or answer["status"] != 200:
        raise DiscoveryFailed
    try:
        services = json.loads(answer["body"])
    except ValueError as error:
        raise DiscoveryFailed from error
    if not isinstance(services, dict) or not all(isinstance(entry, dict) for entry in services.values()):
        raise DiscoveryFailed
    uri = services.get("keystoreAPI", {}).get("uri")
    if not isinstance(uri, str):
        raise DiscoveryFailed
    return uri


def check_names(configs, flavor):
    """What SingularityCE does about a user's endpoint with the name of a global one (SyncFrom); of several it names any."""
    same = shadows(configs["user"], configs["system"])
    if same and FLAVORS[flavor].same_name_is_fatal:
        raise NameCollision(same)


class NameCollision(RuleError):
    """A name is in both files; the words name one of `names`, at random."""

    def __init__(self, names) -> None:
        super().__init__("name collision while syncing")
        self.names = names


class Command:
    """One recorded command line, and what the model makes of it."""

    def __init__(self, argv, version, served, flavor="apptainer"):
        options, self.words = (argv[2:argv.index("--")], argv[argv.index("--") + 1:]) if "--" in argv else (argv[2:], [])
        group, verb = argv[:2]
        self.verb = verb.split("-")[0]
        self.on_keyservers = group == "keyserver" or verb.endswith("-keyserver")
        self.exclusive = "--exclusive" in options
        self.is_global = self.exclusive or self.on_keyservers or "--global" in options
        self.insecure = "--insecure" in options
        self.make_default = version >= "1.3" and "--no-default" not in options
        self.order = int(options[options.index("--order") + 1]) if "--order" in options else None
        self.served = served
        self.flavor = flavor

    @property
    def file(self):
        return "system" if self.is_global else "user"

    def apply(self, configs):
        """The new content of self.file."""
        if self.on_keyservers:
            return self.keyserver(configs["system"])
        config = configs[self.file]
        if self.verb == "add":
            return add_remote(config, *self.words, system=self.is_global, insecure=self.insecure, make_default=self.make_default,
                              flavor=self.flavor)
        if self.verb == "remove":
            return remove_remote(config, *self.words, system=self.is_global)
        if not self.is_global:
            check_names(configs, self.flavor)
            config = sync(config, configs["system"])
        return use_remote(config, *self.words, system=self.is_global, exclusive=self.exclusive)

    def keyserver(self, config):
        name, uri = self.words if len(self.words) == 2 else ("", *self.words)
        if self.order == 0:
            raise RuleError("order must be > 0")
        if not uri.strip():
            raise RuleError("invalid URI: cannot have empty URI")
        name = keyserver_owner(config, name)
        remote = config.remotes[name]
        servers = remote.keyservers or (Keyserver(builtin_keyserver(remote, self.served, self.flavor)),)
        if self.verb == "add":
            servers = add_keyserver(servers, uri, self.order, self.insecure)
        else:
            servers = remove_keyserver(servers, uri)
        return with_remote(config, name, remote._replace(keyservers=servers))


def content(text):
    """What a recorded file says; None if there is no file. Read once, however many steps leave it as it is."""
    return _content(text or "")


@functools.cache
def _content(text):
    return decode(text.encode(), "remote.yaml").config
