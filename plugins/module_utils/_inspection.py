# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Reading a node's files without changing them, and saying what Apptainer makes of them."""

import os
import pwd
from typing import Any, Dict

from ansible_collections.hpc.apptainer.plugins.module_utils._apptainer import effective, exclusives
from ansible_collections.hpc.apptainer.plugins.module_utils._config_file import mode_of, owner_of, read, resolve
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import ApptainerError
from ansible_collections.hpc.apptainer.plugins.module_utils._findings import ReadFile, findings
from ansible_collections.hpc.apptainer.plugins.module_utils._locations import cached_discoveries
from ansible_collections.hpc.apptainer.plugins.module_utils._output import config_result
from ansible_collections.hpc.apptainer.plugins.module_utils._remote_config import RemoteConfig
from ansible_collections.hpc.apptainer.plugins.module_utils._remote_yaml import decode


def read_file(path: str, expected_uid: int) -> ReadFile:
    """Read one remote.yaml. What is wrong with it is in the answer; nothing is raised."""
    try:
        real = resolve(path)
        state = read(real)
        directory_mode = None if state.data is None else mode_of(os.path.dirname(real))
    except ApptainerError as error:
        return ReadFile(path, exists=True, error=str(error), expected_uid=expected_uid)
    if state.data is None:
        return ReadFile(path)
    found = ReadFile(path, True, None, None, state.mode, state.uid, expected_uid, directory_mode)
    try:
        return found._replace(document=decode(state.data, path))
    except ApptainerError as error:
        return found._replace(error=str(error))


def inspect(global_path: str, user_path: str, flavor: str = "apptainer") -> Dict[str, Any]:
    """Everything about the two files: what each holds, what Apptainer computes from both, and findings."""
    global_path, user_path = os.path.abspath(global_path), os.path.abspath(user_path)
    directory_uid = _directory_uid(global_path)
    shared = read_file(global_path, directory_uid if directory_uid == os.geteuid() else 0)  # root's, but for who builds an image without root
    user = read_file(user_path, _directory_uid(user_path))
    result = effective(user.config, shared.config, flavor)
    ruling = exclusives(result.config.remotes)
    return {
        "global": _file_result(shared),
        "user": _file_result(user),
        "effective": dict(config_result(result.config), source=result.source, problem=result.problem, exclusive=ruling[0] if ruling else None),
        "findings": [dict(finding._asdict(), refused_by=list(finding.refused_by))
                     for finding in findings(shared, user, cached_discoveries(os.path.dirname(user_path)), flavor)],
    }


def _directory_uid(path: str) -> int:
    try:
        return owner_of(os.path.realpath(os.path.dirname(path)))
    except ApptainerError:
        return os.geteuid()  # it can't be read either, which is the finding


def _file_result(found: ReadFile) -> Dict[str, Any]:
    return dict(
        config_result(found.config or RemoteConfig()),
        path=found.path,
        exists=found.exists,
        error=found.error,
        mode=None if found.mode is None else "%04o" % found.mode,
        owner=None if found.uid is None else _user_name(found.uid),
    )


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
