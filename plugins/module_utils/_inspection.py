# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Reading a node's files without changing them, and saying what Apptainer makes of them."""

import os
import pwd
from typing import Any, Callable, Dict, Optional, Sequence

from ansible_collections.hpc.apptainer.plugins.module_utils._apptainer import effective, exclusives
from ansible_collections.hpc.apptainer.plugins.module_utils._config_file import mode_of, owner_of, read, resolve
from ansible_collections.hpc.apptainer.plugins.module_utils._docker_config import DockerConfig, hosts
from ansible_collections.hpc.apptainer.plugins.module_utils._docker_json import decode as decode_docker_config
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import ApptainerError
from ansible_collections.hpc.apptainer.plugins.module_utils._findings import ReadFile, findings
from ansible_collections.hpc.apptainer.plugins.module_utils._locations import DOCKER_CONFIG, cached_discoveries, docker_fallback
from ansible_collections.hpc.apptainer.plugins.module_utils._output import config_result, login_result
from ansible_collections.hpc.apptainer.plugins.module_utils._remote_config import RemoteConfig
from ansible_collections.hpc.apptainer.plugins.module_utils._remote_yaml import decode
from ansible_collections.hpc.apptainer.plugins.module_utils._secrets import Secret
from ansible_collections.hpc.apptainer.plugins.module_utils._stored import secrets

Checks = Callable[[RemoteConfig, Sequence[Secret]], Dict[str, Any]]


def read_file(path: str, expected_uid: int, reader: Callable[[bytes, str], Any] = decode) -> ReadFile:
    """Read one file. What is wrong with it is in the answer; nothing is raised."""
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
        return found._replace(document=reader(state.data, path))
    except ApptainerError as error:
        return found._replace(error=str(error))


def inspect(
    global_path: str, user_path: str, flavor: str = "apptainer", auth_path: Optional[str] = None, checks: Optional[Checks] = None
) -> Dict[str, Any]:
    """Everything about the files: what each holds, what Apptainer computes from them, and findings.

    I(auth_path) is by default the file that Apptainer would use. I(checks) may add what servers say: it gets the configuration that Apptainer
    works with and the stored logins.
    """
    global_path, user_path = os.path.abspath(global_path), os.path.abspath(user_path)
    auth_path = os.path.abspath(auth_path or _auth_file(user_path, flavor))
    directory_uid = _directory_uid(global_path)
    shared = read_file(global_path, directory_uid if directory_uid == os.geteuid() else 0)  # root's, but for who builds an image without root
    user = read_file(user_path, _directory_uid(user_path))
    auth = read_file(auth_path, _directory_uid(auth_path), decode_docker_config)
    docker: DockerConfig = auth.document or DockerConfig()
    result = effective(user.config, shared.config, flavor)
    ruling = exclusives(result.config.remotes)
    stored = secrets(user.config or RemoteConfig(), docker, shared.config or RemoteConfig())
    return dict({
        "global": dict(config_result(shared.config or RemoteConfig()), **_file_result(shared)),
        "user": dict(config_result(user.config or RemoteConfig()), **_file_result(user)),
        "auth_file": dict(_file_result(auth), registries=hosts(docker)),
        "logins": [login_result(item) for item in stored],
        "effective": dict(config_result(result.config), source=result.source, problem=result.problem, exclusive=ruling[0] if ruling else None),
        "findings": [dict(finding._asdict(), refused_by=list(finding.refused_by))
                     for finding in findings(shared, user, cached_discoveries(os.path.dirname(user_path)), flavor, auth)],
    }, **(checks(result.config, stored) if checks else {}))


def _auth_file(user_path: str, flavor: str) -> str:
    """The file that Apptainer from 1.4 looks for logins in."""
    usual, fallback = os.path.join(os.path.dirname(user_path), DOCKER_CONFIG), docker_fallback(user_path)
    return fallback if flavor == "apptainer" and not os.path.lexists(usual) and os.path.lexists(fallback) else usual


def _directory_uid(path: str) -> int:
    try:
        return owner_of(os.path.realpath(os.path.dirname(path)))
    except ApptainerError:
        return os.geteuid()  # it can't be read either, which is the finding


def _file_result(found: ReadFile) -> Dict[str, Any]:
    return {
        "path": found.path,
        "exists": found.exists,
        "error": found.error,
        "mode": None if found.mode is None else "%04o" % found.mode,
        "owner": None if found.uid is None else _user_name(found.uid),
    }


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
