# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Where Apptainer and SingularityCE look for their files, on this node or in the file tree of another one."""

import os
import pwd
from typing import List, Optional

from .._errors import StoreError
from .._values.flavors import FLAVORS
from .access import explained, is_directory
from .paths import real_path

REMOTE_YAML = "remote.yaml"
DISCOVERY_CACHE = "remote-cache"
_SYSCONFDIRS = ("/etc", "/usr/local/etc")
_CONFIGDIR_VARIABLES = {"apptainer": ("APPTAINER_CONFIGDIR", "SINGULARITY_CONFIGDIR"), "singularity": ("SINGULARITY_CONFIGDIR",)}


def checked_root(root: Optional[str]) -> str:
    """The root of the file tree that is meant, "/" for None. Raises StoreError unless it is the absolute path of a directory.

    It must exist, because what is missing below it is created: a mistyped root would be, too.
    """
    if root is None:
        return "/"
    if not root.startswith("/"):
        raise StoreError(f'root is "{root}", but must be an absolute path; leave it out for the file system of this node')
    with explained(root, "find this root"):
        if not is_directory(root):
            raise StoreError(f"root {root} is not a directory on this node; create it, or correct the path")
        return "/" if os.path.samefile(root, "/") else root


def global_file(flavor: str, sysconfdir: Optional[str] = None, root: str = "/") -> str:
    """The path of the global remote.yaml. Without `sysconfdir`: where packages put it, or where `make install` does if only that exists.

    All of that is below `root`. Source: `internal/pkg/remote/remote.go` SystemConfigPath; no environment variable moves it.
    """
    if not sysconfdir:
        installed = [base for base in _SYSCONFDIRS if _is_directory(os.path.join(_below(root, base), flavor), root)]
        sysconfdir = (installed or _SYSCONFDIRS)[0]
    return os.path.join(_below(root, sysconfdir), flavor, REMOTE_YAML)


def _below(root: str, path: str) -> str:
    return path if root == "/" else os.path.join(root, path.lstrip("/"))


def _is_directory(path: str, root: str) -> bool:
    """Whether Apptainer may be configured there: not where this user may not look, or where links lead nowhere."""
    try:
        with explained(path, "find this directory"):
            return is_directory(path if root == "/" else real_path(path, root, is_file=False))
    except StoreError as error:
        if isinstance(error.__cause__, OSError) and not isinstance(error.__cause__, PermissionError):
            raise
        return False


def user_directory(flavor: str) -> str:
    """The directory of this user's own files.

    `APPTAINER_CONFIGDIR` comes first (from 1.2 on), then `$HOME` (from 1.1 on). A `$HOME` that belongs to somebody else, as `sudo` and
    `su` may leave it behind, is ignored: then, and always for SingularityCE, the user database counts. Raises StoreError if it does not know the
    user, or if the system does not say whose `$HOME` is. Source: `pkg/syfs/syfs.go`.
    """
    for variable in _CONFIGDIR_VARIABLES[flavor]:
        if os.environ.get(variable):
            return os.environ[variable]
    home = os.environ.get("HOME", "") if flavor == "apptainer" else ""
    with explained(home, "find this home"):
        is_own = bool(home) and is_directory(home) and os.stat(home).st_uid == os.geteuid()
    if not is_own:
        try:
            home = pwd.getpwuid(os.geteuid()).pw_dir
        except KeyError:
            raise StoreError(f"user {os.geteuid()} is not in the user database of this node, so it has no home; set config_file") from None
    return os.path.join(home, f".{flavor}")


def user_file(flavor: str) -> str:
    """The path of this user's remote.yaml. Raises StoreError as user_directory() does."""
    return os.path.join(user_directory(flavor), REMOTE_YAML)


def docker_fallback(user_remote_yaml: str, flavor: str) -> Optional[str]:
    """The docker configuration that Apptainer from 1.4 on reads, and writes, for a user without a docker-config.json beside remote.yaml.

    None for SingularityCE, which has no fallback.
    Source: `pkg/syfs/syfs.go` SearchDockerConf; with `APPTAINER_CONFIGDIR` it is in the same directory.
    """
    if not FLAVORS[flavor].has_docker_fallback:
        return None
    directory = os.path.dirname(user_remote_yaml)
    if os.path.basename(directory) == ".apptainer":
        directory = os.path.join(os.path.dirname(directory), ".docker")
    return os.path.join(directory, "config.json")


def cached_discoveries(directory: str, root: str = "/") -> List[str]:
    """Names of the discovery documents cached beside a user's remote.yaml.

    Apptainer from 1.1 on reads them but never writes any, so somebody put such a file there by hand: it redirects an endpoint, even an
    exclusive one.
    Source: `internal/pkg/remote/endpoint/service.go`.
    """
    cache = os.path.join(directory, DISCOVERY_CACHE)
    try:
        return sorted(name for name in os.listdir(cache if root == "/" else real_path(cache, root, is_file=False)) if name.endswith(".json"))
    except (OSError, StoreError):
        return []
