# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Modes and owners as they should be: of files, as Ansible's own modules understand the options for them, and of the directories that hold them."""

import errno
import grp
import os
import pwd
import re
import stat
import tempfile
from typing import Any, Callable, Dict, Optional, Tuple

from ansible.module_utils.basic import AnsibleModule

from .._errors import ApptainerError, StoreError, shortened
from .._files.config_file import DirectoryDrift, FileState, global_directory_drift, has_directory, mode_of, owner_of, users_directory_drift

_NO_ID = 0xFFFFFFFF  # the largest number of 32 bits means "as it is"


def wanted_attributes(module: AnsibleModule, path: str, is_global: bool, state: FileState) -> Dict[str, Any]:
    """Mode, owner and context as they should be, tried on a temporary file, so that what is impossible is refused before anything is written.

    A symbolic mode is resolved against that of the file, or what it would be without one, and not against that of a temporary file.
    Raises ApptainerError; for what Ansible refuses, the task fails with Ansible's message.
    """
    attributes: Dict[str, Any] = dict(module.load_file_common_arguments(module.params, path=path))
    usual = 0o644 if is_global else 0o600
    mode = attributes["mode"] or f"{usual:04o}"
    for name in ("owner", "group"):
        if re.match(r"[0-9]+\Z", attributes[name] or "") and (len(attributes[name]) > 10 or int(attributes[name]) >= _NO_ID):
            raise ApptainerError(f"{name} {shortened(attributes[name], 20)} is neither a name nor an id that Linux has; correct it")
    if isinstance(mode, bool):
        raise ApptainerError("mode must be like '0644' in quotes, or symbolic like 'go-w'")
    try:
        with tempfile.NamedTemporaryFile() as trial:
            os.chmod(trial.name, usual if state.mode is None else state.mode)
            _in_check_mode(module, False, module.set_mode_if_different, trial.name, mode, False)
            attributes["mode"] = f"{stat.S_IMODE(os.stat(trial.name).st_mode):04o}"
            _in_check_mode(module, True, module.set_fs_attributes_if_different, dict(attributes, path=trial.name), False)
    except OSError as error:
        raise _no_temporary_file(error) from None
    return attributes


def _no_temporary_file(error: OSError) -> StoreError:
    """What to do about that."""
    try:
        directory = tempfile.gettempdir()
    except OSError as exc:  # says which directories Python has tried
        return StoreError(f"no temporary file can be made on this node: {exc.strerror}. Let the user of this task write in one of them.")
    advice = "See the kernel logs of the node."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        advice = "Free some space there, and run again."
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        advice = "Let the user of this task write there, or set TMPDIR to another directory."
    return StoreError(f"{directory}: no temporary file can be made there: {error.strerror}. {advice}")


def _in_check_mode(module: AnsibleModule, check_mode: bool, ask: Callable[..., object], *arguments: object) -> None:
    """Ask Ansible something as in check mode, or not: in both modes the same way, so that both give the same answer."""
    usual, module.check_mode = module.check_mode, check_mode
    try:
        ask(*arguments)
    finally:
        module.check_mode = usual


def with_owner(attributes: Dict[str, Any], path: str, is_global: bool, drift: Optional[DirectoryDrift]) -> Dict[str, Any]:
    """The attributes with the owner that a file has if the task names none: as root, that of its directory, once that is right."""
    if attributes["owner"] is not None or os.geteuid():
        return attributes
    directory_uid = drift.after.uid if drift else owner_of(os.path.dirname(path))
    return dict(attributes, owner=str(directory_uid)) if directory_uid or is_global else attributes


def attribute_diff(module: AnsibleModule, path: str, state: FileState, attributes: Dict[str, Any]) -> Dict[str, Any]:
    """What is to change of what has been read of the file at `path`, before and after; empty if nothing is.

    Only the context is left to Ansible: to it, a file that the system does not let it examine is one that is missing, with nothing to change.
    """
    differences: Dict[str, Any] = {}
    uid, gid = owner_ids(attributes)
    for name, old, new in (("mode", state.mode, int(attributes["mode"], 8)), ("owner", state.uid, uid), ("group", state.gid, gid)):
        if new not in (-1, old):
            for side, value in (("before", old), ("after", new)):
                differences.setdefault(side, {})[name] = f"{value:04o}" if name == "mode" else value
    _in_check_mode(module, True, module.set_context_if_different, path, attributes["secontext"], False, differences)
    return differences


def owner_ids(attributes: Dict[str, Any]) -> Tuple[int, int]:
    """The uid and gid that Ansible would give a file; -1 for one that is to stay."""
    return _id(attributes["owner"], lambda name: pwd.getpwnam(name).pw_uid), _id(attributes["group"], lambda name: grp.getgrnam(name).gr_gid)


def _id(text: Optional[str], find: Callable[[str], int]) -> int:
    """The id for a name, known to exist, or for a number."""
    try:
        return -1 if text is None else int(text)
    except ValueError:
        return find(text or "")


def directory_drift(module: AnsibleModule, path: str, is_global: bool, attributes: Dict[str, Any]) -> Optional[DirectoryDrift]:
    """What is wrong with the directory that holds the file, if it is Apptainer's own; None if nothing is.

    Other directories may have other purposes: a temporary directory, a home, or where a link leads. If the mode of the file lets its group
    write it, the group may write in the directory, too.
    """
    directory = os.path.dirname(path)
    if not is_global:
        return users_directory_drift(directory)
    if os.path.basename(directory) != module.params["flavor"]:
        return None
    return global_directory_drift(directory, group_may_write=bool(int(attributes["mode"], 8) & 0o020))


def reach_warning(module: AnsibleModule, path: str) -> str:
    """For a global file that is elsewhere, behind a link, in a directory that users cannot search; empty if that is not so."""
    directory = os.path.dirname(path)
    if module.params["config_file"] or os.path.basename(directory) == module.params["flavor"] or not has_directory(path):
        return ""
    mode = mode_of(directory)
    if mode & 0o011 == 0o011:
        return ""
    return (f"users cannot search {directory}, where a link leads to (mode {mode:04o}), so Apptainer ignores the global file for them; set its mode "
            "to 0755")
