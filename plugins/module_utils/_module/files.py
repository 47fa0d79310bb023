# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The glue that changes files: read, plan, have what is new proven, and write what differs; in check mode the same, short of writing."""

import functools
import grp
import os
import pwd
import stat
import tempfile
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple, Type

from ansible.module_utils.basic import AnsibleModule

from .._errors import ApptainerError, FormatError, StoreError
from .._files.config_file import (
    FileState,
    Replacement,
    check_writable,
    locked,
    make_directory,
    owner_of,
    read,
    real_path,
    replace,
)
from .._formats.remote_yaml_reader import decode
from .._formats.remote_yaml_writer import encode
from .._redaction import redacted
from .._values.remote_config import RemoteConfig
from .common import root_of


class RemoteYaml:
    """What a remote.yaml holds; a content class. `value` is what plans work on; without `has_data` there is nothing in it."""

    def __init__(self, data: bytes, path: str) -> None:
        document = decode(data, path)
        self.value = document.config
        self.has_data = document.has_data
        self._header = document.header

    def encoded(self, value: RemoteConfig) -> bytes:
        """The bytes to write."""
        return encode(value, self._header)

    @staticmethod
    def shown(value: RemoteConfig, before: Optional[RemoteConfig] = None) -> str:
        """What a diff shows: no secrets, but whether they changed."""
        return encode(redacted(value, before)).decode("utf-8")


class Target(NamedTuple):
    """One file to change, and the class of its content. A user's files are for nobody else, the global one is for everyone."""

    path: str
    is_global: bool = False
    content: Type[Any] = RemoteYaml


class Plan(NamedTuple):
    """What a rule made of the files: their new values, in the order of the targets, and what the user should hear."""

    values: Sequence[Any]
    warnings: Tuple[str, ...] = ()


class Update(NamedTuple):
    """What became of the files, or would in a real run."""

    values: Sequence[Any]
    result: Dict[str, Any]
    backups: Sequence[str]


class _Draft(NamedTuple):
    """One file, read and planned."""

    target: Target
    state: FileState
    content: Any
    value: Any
    data: Optional[bytes]
    attributes: Dict[str, Any]
    attribute_diff: Dict[str, Any]

    @property
    def differs(self) -> bool:
        return self.data != self.state.data

    @property
    def changed(self) -> bool:
        return self.differs or bool(self.attribute_diff)


Planner = Callable[[Sequence[Any]], Plan]
Prover = Callable[[Sequence[Any], Sequence[Any]], bool]


def update_files(module: AnsibleModule, targets: Sequence[Target], plan: Planner, verify_claim: Optional[Prover] = None) -> Update:
    """Apply a rule to files: read, plan, prove what is new, write what differs, all files under one lock and in the given order.

    `prove` gets the values before and after. It raises ApptainerError if something must not be written, and returns whether the plan
    has to be made once more, without what it has set aside. It runs before anything is locked, and must then know its answers by heart.
    Raises ApptainerError where a file can't be read, understood, locked or written, or the rule refuses; the files are then as they were.
    """
    root = root_of(module)
    targets = [target._replace(path=real_path(target.path, root)) for target in targets]
    drafts, warnings = _planned(module, targets, plan, verify_claim)
    backups: List[str] = []
    if any(draft.changed for draft in drafts) and not module.check_mode:
        for draft in drafts:
            if draft.changed:
                make_directory(os.path.dirname(draft.target.path), 0o755 if draft.target.is_global else 0o700)
        with locked(*(target.path for target in targets if os.path.isdir(os.path.dirname(target.path)))):
            drafts, warnings = _planned(module, targets, plan, verify_claim)
            backups = _write(module, [draft for draft in drafts if draft.changed])
    for warning in warnings:
        module.warn(warning)
    result: Dict[str, Any] = {"changed": any(draft.changed for draft in drafts)}
    if module._diff:
        result["diff"] = [shown for draft in drafts for shown in _diff(draft)]
    return Update([draft.value for draft in drafts], result, backups)


def _planned(module: AnsibleModule, targets: Sequence[Target], plan: Planner, verify_claim: Optional[Prover]) -> Tuple[List[_Draft], Tuple[str, ...]]:
    states = [read(target.path) for target in targets]
    contents = [target.content(state.data or b"", target.path) for target, state in zip(targets, states)]
    before = [content.value for content in contents]
    planned = plan(before)
    drafts = [_draft(module, *parts) for parts in zip(targets, states, contents, planned.values)]
    if verify_claim is not None and _proven(module, verify_claim, before, planned):
        planned = plan(before)
        drafts = [_draft(module, *parts) for parts in zip(targets, states, contents, planned.values)]
    return drafts, planned.warnings


def _proven(module: AnsibleModule, verify_claim: Prover, before: Sequence[Any], planned: Plan) -> bool:
    """Whether the plan has to be made once more. If proving fails, what the rule warned of may be the reason."""
    try:
        return verify_claim(before, planned.values)
    except ApptainerError:
        for warning in planned.warnings:
            module.warn(warning)
        raise


def _draft(module: AnsibleModule, target: Target, state: FileState, content: Any, value: Any) -> _Draft:
    differs = value != content.value or not content.has_data
    data = _encoded(target, content, value) if differs else state.data
    attributes = _attributes(module, target, state)
    attribute_diff: Dict[str, Any] = {}
    if state.data is not None:
        _in_check_mode(module, True, _set_attributes, module, target.path, attributes, attribute_diff)
    draft = _Draft(target, state, content, value, data, attributes, attribute_diff)
    if draft.changed:
        check_writable(target.path)
    return draft


def _encoded(target: Target, content: Any, value: Any) -> bytes:
    """The bytes to write, proven to read back as the same: a file that Apptainer refuses would fail open."""
    data: bytes = content.encoded(value)
    if target.content(data, target.path).value != value:
        raise FormatError(f"{target.path}: what would be written does not read back as meant; the file is unchanged. Please report this")
    return data


def _write(module: AnsibleModule, drafts: Sequence[_Draft]) -> List[str]:
    """Replace the files, all at once as far as that can be. Returns the paths of the backups."""
    suffix = ".%d.%s~" % (os.getpid(), time.strftime("%Y-%m-%d@%H:%M:%S"))
    kept = [draft.target.path for draft in drafts if module.params["backup"] and draft.state.data is not None]
    replace(*(
        _replacement(module, draft, draft.data, os.path.basename(draft.target.path) + suffix if draft.target.path in kept else "")
        for draft in drafts if draft.data is not None))
    return [path + suffix for path in kept]


def _replacement(module: AnsibleModule, draft: _Draft, data: bytes, backup: str) -> Replacement:
    """What to write. Ansible sets modes and owners by path, which is not for root in a directory of others, so only the context is left to it."""
    attributes = draft.attributes
    owner = _id(attributes["owner"], lambda name: pwd.getpwnam(name).pw_uid), _id(attributes["group"], lambda name: grp.getgrnam(name).gr_gid)
    prepare = functools.partial(_set_context, module, attributes["secontext"])
    return Replacement(draft.target.path, data, prepare, draft.state, backup, int(attributes["mode"], 8), owner)


def _id(text: Optional[str], find: Callable[[str], int]) -> int:
    """The id that Ansible would give a file for this name, known to exist, or number."""
    try:
        return -1 if text is None else int(text)
    except ValueError:
        return find(text or "")


def _set_context(module: AnsibleModule, context: Sequence[Optional[str]], path: str) -> None:
    module.set_context_if_different(path, context, False)


def _attributes(module: AnsibleModule, target: Target, state: FileState) -> Dict[str, Any]:
    """Mode, owner and context as they should be, proven on a file of our own: what can't be is refused before anything is made.

    A symbolic mode is resolved against that of the file, or what it would be without one, and not against that of a temporary file.
    """
    attributes: Dict[str, Any] = dict(module.load_file_common_arguments(module.params, path=target.path))
    usual = 0o644 if target.is_global else 0o600
    mode = attributes["mode"] or f"{usual:04o}"
    if isinstance(mode, bool):
        raise ApptainerError("mode must be like '0644' in quotes, or symbolic like 'go-w'")
    try:
        with tempfile.NamedTemporaryFile() as probe:
            os.chmod(probe.name, usual if state.mode is None else state.mode)
            _in_check_mode(module, False, module.set_mode_if_different, probe.name, mode, False)
            attributes["mode"] = f"{stat.S_IMODE(os.stat(probe.name).st_mode):04o}"
            _in_check_mode(module, True, _set_attributes, module, probe.name, attributes)
    except OSError as error:
        raise StoreError(f"no file could be made in a directory for temporary files ({error.strerror}); make room in /tmp") from None
    directory_uid = owner_of(os.path.dirname(target.path))
    if attributes["owner"] is None and os.geteuid() == 0 and (directory_uid or target.is_global):
        attributes["owner"] = str(directory_uid)
    return attributes


def _in_check_mode(module: AnsibleModule, check_mode: bool, ask: Callable[..., object], *arguments: object) -> None:
    """Ask Ansible something as in check mode, or not: in both modes the same way, so that both say the same."""
    usual, module.check_mode = module.check_mode, check_mode
    try:
        ask(*arguments)
    finally:
        module.check_mode = usual


def _set_attributes(module: AnsibleModule, path: str, attributes: Dict[str, Any], diff: Optional[Dict[str, Any]] = None) -> None:
    module.set_fs_attributes_if_different(dict(attributes, path=path), False, diff=diff)


def _diff(draft: _Draft) -> List[Dict[str, str]]:
    """What `--diff` shows: the contents, without secrets (empty: no file, or one without data), and what changes in mode and owner."""
    path = draft.target.path
    before = draft.content.value if draft.state.data is not None and draft.content.has_data else None
    shown = [{
        "before_header": path,
        "after_header": path,
        "before": "" if before is None else draft.content.shown(before),
        "after": "" if before is None and not draft.differs else draft.content.shown(draft.value, before),
    }]
    if draft.attribute_diff:
        header = f"{path} (attributes)"
        words = {side: "".join("%s: %s\n" % item for item in sorted(draft.attribute_diff[side].items())) for side in ("before", "after")}
        shown.append(dict(words, before_header=header, after_header=header))
    return shown
