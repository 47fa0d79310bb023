# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Which remote.yaml the options mean, and what the global file holds."""

import os
from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from .._errors import ApptainerError
from .._files.config_file import FileState, link_at, read, real_path, settled
from .._files.locations import global_file, user_file
from .._formats.remote_yaml_reader import decode
from .._values.flavors import FLAVORS
from .._values.remote_config import RemoteConfig
from .common import warn


def remote_yaml(params: Dict[str, Any], is_global: bool = False, root: str = "/") -> str:
    """The path of the remote.yaml that the options of FILE_SPEC name.

    Below another root, where links mean something else, it is that of the real file, or of a link itself that the program does not follow.
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


class System:
    """The global file, for a change to a user's: `config` is what it holds; `problem` says why that is not known, and is empty if it is."""

    def __init__(self, module: AnsibleModule, root: str = "/") -> None:
        """Reads it, and warns if it can't be read. Raises StoreError if it cannot be found out where it is."""
        self._flavor = module.params["flavor"]
        self._path = global_file(self._flavor, module.params["sysconfdir"], root)
        self._real, self._state = "", FileState()
        self.config, self.problem = RemoteConfig(), ""
        try:
            self._real = real_path(self._path, root)
            self._state = read(self._real)
            program = FLAVORS[self._flavor]
            if self._state.data is not None and not program.follows_links and link_at(self._path, root):
                warn(module, f"{self._path} is a symbolic link, so {program.program} {program.newest} and newer ignore the global file; declare it "
                             "with scope: global, which puts a file in its place")
        except ApptainerError as error:
            self.problem = str(error)
        else:
            self._understand()
            if self.problem:
                self.has_changed()
        if self.problem:
            warn(module, f"the global file is ignored, by Apptainer too: {self.problem}")

    def has_changed(self) -> bool:
        """Whether the file, now that nobody is writing it, holds something else than `config`: it may have been half-written. `config` is then new.

        Raises StoreError as settled() does.
        """
        before = self.config, self.problem
        if self._state.data is not None:
            state = settled(self._real, self._state)
            if state != self._state:
                self._state = state
                self._understand()
        return before != (self.config, self.problem)

    def _understand(self) -> None:
        self.config, self.problem = RemoteConfig(), ""
        try:
            self.config = decode(self._state.data or b"", self._path, self._flavor).config
        except ApptainerError as error:
            self.problem = str(error)
