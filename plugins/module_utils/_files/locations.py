# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Where Apptainer and SingularityCE look for their files, on this node or in the file tree of another one."""

import os
import pwd
from typing import List, Optional

from .._errors import StoreError
from .config_file import real_path

REMOTE_YAML = "remote.yaml"
DOCKER_CONFIG = "docker-config.json"
DISCOVERY_CACHE = "remote-cache"
_SYSCONFDIRS = ("/etc", "/usr/local/etc")
_CONFIGDIR_VARIABLES = {"apptainer": ("APPTAINER_CONFIGDIR", "SINGULARITY_CONFIGDIR"), "singularity": ("SINGULARITY_CONFIGDIR",)}


def checked_root(root: Optional[str]) -> str:
    """The root of the file tree that is meant, "/" for None. Raises StoreError unless it is an absolute path of a directory.

    It must exist, as whatever is missing below it is made: a mistyped one would be, too.
    """
    if root is None:
        return "/"
    if not root.startswith("/"):
        raise StoreError(f'root must be an absolute path, and it is "{root}"; leave it out for the file system of this node itself')
    if not os.path.isdir(root):
        raise StoreError(f"root {root} is no directory on this node; make it, or correct the path")
    return "/" if os.path.samefile(root, "/") else root


def global_file(flavor: str, sysconfdir: Optional[str] = None, root: str = "/") -> str:
    """The path of the global remote.yaml. Without `sysconfdir`: where packages put it, or else where `make install` does, by what exists.

    All that is below `root`, also `sysconfdir`. Source: `internal/pkg/remote/remote.go` SystemConfigPath; no environment variable moves it.
    """
    if not sysconfdir:
        installed = [base for base in _SYSCONFDIRS if _is_directory(os.path.join(_below(root, base), flavor), root)]
        sysconfdir = (installed or _SYSCONFDIRS)[0]
    return os.path.join(_below(root, sysconfdir), flavor, REMOTE_YAML)


def _below(root: str, path: str) -> str:
    return path if root == "/" else os.path.join(root, path.lstrip("/"))


def _is_directory(path: str, root: str) -> bool:
    if root == "/":
        return os.path.isdir(path)
    try:
        return os.path.isdir(real_path(path, root, is_file=False))
    except StoreError:  # which is told when the file is looked for there
        return False


def user_directory(flavor: str) -> str:
    """The directory of this user's own files.

    `APPTAINER_CONFIGDIR` wins (from 1.2), then `$HOME` (from 1.1). A `$HOME` that belongs to somebody else, as `sudo` and `su` may
    leave it behind, is not believed: then, and always for SingularityCE, the user database says it. Source: `pkg/syfs/syfs.go`.
    """
    for variable in _CONFIGDIR_VARIABLES[flavor]:
        if os.environ.get(variable):
            return os.environ[variable]
    home = os.environ.get("HOME", "") if flavor == "apptainer" else ""
    if not (home and os.path.isdir(home) and os.stat(home).st_uid == os.geteuid()):
        try:
            home = pwd.getpwuid(os.geteuid()).pw_dir
        except KeyError:
            raise StoreError("user %d is not in the user database of this node, so it has no home; give config_file" % os.geteuid()) from None
    return os.path.join(home, f".{flavor}")


def user_file(flavor: str) -> str:
    """The path of this user's remote.yaml."""
    return os.path.join(user_directory(flavor), REMOTE_YAML)


def docker_fallback(user_remote_yaml: str) -> str:
    """The docker configuration that Apptainer from 1.4 reads, and writes, for a user without a docker-config.json beside remote.yaml.

    Source: `pkg/syfs/syfs.go` SearchDockerConf; with `APPTAINER_CONFIGDIR` it is in the same directory.
    """
    directory = os.path.dirname(user_remote_yaml)
    if os.path.basename(directory) == ".apptainer":
        directory = os.path.join(os.path.dirname(directory), ".docker")
    return os.path.join(directory, "config.json")


def cached_discoveries(directory: str, root: str = "/") -> List[str]:
    """Names of the discovery documents cached beside a user's remote.yaml.

    Apptainer from 1.1 never writes there but reads, so such a file was put there by hand: it redirects an endpoint, even an exclusive one.
    Source: `internal/pkg/remote/endpoint/service.go`.
    """
    cache = os.path.join(directory, DISCOVERY_CACHE)
    try:
        return sorted(name for name in os.listdir(cache if root == "/" else real_path(cache, root, is_file=False)) if name.endswith(".json"))
    except (OSError, StoreError):
        return []
