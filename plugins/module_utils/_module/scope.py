# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Which remote.yaml the options mean, and what the global file holds."""

import os
from typing import Any, Dict, Tuple

from ansible.module_utils.basic import AnsibleModule

from .._errors import ApptainerError
from .._files.config_file import link_at, read, real_path
from .._files.locations import global_file, user_file
from .._formats.remote_yaml_reader import decode
from .._values.flavors import FLAVORS
from .._values.remote_config import RemoteConfig
from .common import warn


def remote_yaml(params: Dict[str, Any], is_global: bool = False, root: str = "/") -> str:
    """The path of the remote.yaml that the options of FILE_SPEC name; below another root that of the real file, as links mean something else there.

    (Of a link that the program does not follow, the link's own.)

    Raises ApptainerError if a user's file is the global one, StoreError if a path cannot be followed.
    """
    system_path = global_file(params["flavor"], params["sysconfdir"], root)
    path = os.path.abspath(str(params["config_file"] or (system_path if is_global else user_file(params["flavor"]))))
    if root != "/":
        path = (None if FLAVORS[params["flavor"]].follows_links else link_at(path, root)) or real_path(path, root)
    if not is_global and _is_same_file(path, system_path, root):
        raise ApptainerError(f"{path} is the global file, which everyone can read, so a user's settings and secrets must not go there; correct "
                             "config_file, or set scope: global")
    return path


def _is_same_file(path: str, other: str, root: str) -> bool:
    try:
        return real_path(path, root) == real_path(other, root)
    except ApptainerError:  # one of them can't be followed, which is reported when it is read
        return path == os.path.abspath(other)


def read_system(module: AnsibleModule, root: str = "/") -> Tuple[RemoteConfig, bool]:
    """What the global file holds, for a change to a user's, and whether that is known. Warns if it can't be read."""
    flavor = module.params["flavor"]
    path = global_file(flavor, module.params["sysconfdir"], root)
    try:
        data = read(real_path(path, root)).data
        if data is not None and not FLAVORS[flavor].follows_links and link_at(path, root):
            warn(module, f"{path} is a symbolic link, so {FLAVORS[flavor].program} {FLAVORS[flavor].newest} and newer ignore the global file; "
                         "declare it with scope: global, which puts a file in its place")
        return RemoteConfig() if data is None else decode(data, path, flavor).config, True
    except ApptainerError as error:
        warn(module, f"the global file is ignored, by Apptainer too: {error}")
        return RemoteConfig(), False
