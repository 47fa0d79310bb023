# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Changing files: read, plan, have what is new verified, and write what differs; in check mode the same, short of writing."""

import functools
import grp
import os
import pwd
import random
import re
import stat
import tempfile
import time
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Type

from ansible.module_utils.basic import AnsibleModule

from .._errors import ApptainerError, ConflictError, FormatError, StoreError, shortened
from .._files.config_file import (
    MAX_BYTES,
    FileState,
    Replacement,
    Room,
    check_room,
    check_writable,
    link_at,
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
from .._values.claims import Claim
from .._values.flavors import FLAVORS
from .._values.remote_config import RemoteConfig
from .common import warn
from .verifier import Verification

_NO_ID = 0xFFFFFFFF  # the largest number of 32 bits means "as it is"
_MOST_ATTEMPTS = 100  # each one that fails means that somebody else has written meanwhile


class RemoteYaml:
    """What a remote.yaml holds; a content class. `value` is what plans work on; without `has_data` there is nothing in it.

    `refusal` says why the newest version of the program refuses the file, so that it has to be written anew, whatever is in it.
    """

    max_bytes = MAX_BYTES  # that are read of a file
    follows_links = False  # not every program does

    def __init__(self, data: bytes, path: str, flavor: str) -> None:
        document = decode(data, path, flavor)
        self.refusal = f"refused by {FLAVORS[flavor].program} {FLAVORS[flavor].newest}: {document.refused.message}" if document.refused else ""
        self.value = document.config
        self.has_data = document.has_data
        self._header = document.header

    def bytes_of(self, value: RemoteConfig) -> bytes:
        """The bytes to write."""
        return encode(value, self._header)

    @staticmethod
    def redacted_text(value: RemoteConfig, before: Optional[RemoteConfig] = None) -> str:
        """What a diff shows: no secrets, but whether they changed."""
        return encode(redacted(value, before)).decode("utf-8")


class Target(NamedTuple):
    """One file to change, and the class of its content. A user's files are for nobody else, the global one is for everyone.

    `source` is where it is read: `path`, or the target of the symbolic link there that it is to replace, which says `link`.
    """

    path: str
    is_global: bool = False
    content: Type[Any] = RemoteYaml
    source: str = ""
    link: str = ""


class Plan(NamedTuple):
    """What a rule made of the files: their new values, in the order of the targets, and what the user should hear."""

    values: Sequence[Any]
    warnings: Tuple[str, ...] = ()


class Update(NamedTuple):
    """What became of the files, or would in a real run; and what servers said of what is new in them."""

    values: Sequence[Any]
    result: Dict[str, Any]
    backups: Sequence[str]
    verification: Verification


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


class _Planned(NamedTuple):
    """All files, read and planned, and what is new in them verified."""

    drafts: Sequence[_Draft]
    warnings: Tuple[str, ...]
    verification: Verification

    @property
    def changed(self) -> bool:
        return any(draft.changed for draft in self.drafts)


# Both get the values before. A planner also gets the claims that were rejected and that it must leave out; a verifier gets the values after,
# and the verdicts of an earlier attempt.
Planner = Callable[[Sequence[Any], Sequence[Claim]], Plan]
Verify = Callable[[Sequence[Any], Sequence[Any], Mapping[Claim, Any]], Verification]


def update_files(module: AnsibleModule, targets: Sequence[Target], plan: Planner, verify: Optional[Verify] = None, root: str = "/") -> Update:
    """Apply a rule to files below `root`: read, plan, verify what is new, write what differs, in the given order.

    Nothing is planned and nobody is asked under a lock. Once it is held, all files are compared with what was read; if one has changed,
    the lock is given back and all begins again, but for questions that servers have answered.
    `verify` raises VerificationError if nothing may be written; if it returns failed claims, the plan is made once more without them.
    Raises ApptainerError if a file can't be read, understood, locked or written, if the rule refuses, or if others keep writing: the files
    are then as they were.
    """
    known: Mapping[Claim, Any] = {}
    for attempt in range(_MOST_ATTEMPTS):
        planned = _planned(module, [_placed(module, target, root) for target in targets], plan, verify, known)
        if module.check_mode:  # a real run is told by the system
            check_room(*(_room(module, draft) for draft in planned.drafts if draft.changed))
        if module.check_mode or not planned.changed:
            return _update(module, planned, [])
        try:
            return _update(module, planned, _write(module, planned.drafts))
        except ConflictError:
            known = planned.verification.verdicts
            time.sleep(random.uniform(0.0, min(0.25, 0.002 * attempt)))  # many at a time would only get into each other's way again
    raise StoreError(f"{targets[0].path}: was changed by others each of {_MOST_ATTEMPTS} times that this task was about to write it, so nothing "
                     "was written. Find out what keeps writing it, and run again.")


def _placed(module: AnsibleModule, target: Target, root: str) -> Target:
    """Where the file is. A symbolic link is followed, unless its program does not (SingularityCE 4.5): then a file takes the place of the link."""
    real = real_path(target.path, root)
    link = None if target.content.follows_links or FLAVORS[module.params["flavor"]].follows_links else link_at(target.path, root)
    return target._replace(path=link or real, source=real, link=os.readlink(link) if link else "")


def _content(module: AnsibleModule, target: Target, data: bytes) -> Any:
    return target.content(data, target.path, module.params["flavor"])


def _planned(module: AnsibleModule, targets: Sequence[Target], plan: Planner, verify: Optional[Verify], known: Mapping[Claim, Any]) -> _Planned:
    states = [read(target.source) for target in targets]
    contents = [_content(module, target, state.data or b"") for target, state in zip(targets, states)]
    before = [content.value for content in contents]

    def drafted(failed: Sequence[Claim]) -> Tuple[Plan, List[_Draft]]:
        made = plan(before, failed)
        return made, [_draft(module, *parts) for parts in zip(targets, states, contents, made.values)]

    wanted, drafts = drafted(())
    if verify is None:
        return _Planned(drafts, wanted.warnings, Verification())
    try:
        verification = verify(before, wanted.values, known)
    except ApptainerError:
        for warning in wanted.warnings:  # they may be the reason
            warn(module, warning)
        raise
    if verification.failed:
        wanted, drafts = drafted(verification.failed)
    return _Planned(drafts, wanted.warnings, verification)


def _update(module: AnsibleModule, planned: _Planned, backups: Sequence[str]) -> Update:
    links = tuple(_replaced_link(module, draft.target) for draft in planned.drafts if draft.target.link and draft.changed)
    for warning in dict.fromkeys(planned.warnings + planned.verification.warnings + links):
        warn(module, warning)
    result: Dict[str, Any] = {"changed": planned.changed}
    if module._diff:
        result["diff"] = [shown for draft in planned.drafts for shown in _diff(draft)]
    return Update([draft.value for draft in planned.drafts], result, backups, planned.verification)


def _replaced_link(module: AnsibleModule, target: Target) -> str:
    flavor = FLAVORS[module.params["flavor"]]
    return (f"{target.path} was a symbolic link to {target.source}, which {flavor.program} {flavor.newest} and newer do not open, so a file takes "
            f"its place; {target.source} stays as it is and is no longer used, so remove it if nothing else uses it or if it holds secrets")


def _draft(module: AnsibleModule, target: Target, state: FileState, content: Any, value: Any) -> _Draft:
    differs = value != content.value or not content.has_data or bool(content.refusal)
    data = _new_data(module, target, content, value) if differs else state.data
    attributes = _attributes(module, target, state)
    attribute_diff: Dict[str, Any] = {}
    if state.data is not None:
        _in_check_mode(module, True, _set_attributes, module, target.source, attributes, attribute_diff)
    if target.link and data is not None:
        for side, kind in (("before", "symbolic link"), ("after", "file")):
            attribute_diff.setdefault(side, {})["type"] = kind
    draft = _Draft(
        target=target, state=state, content=content, value=value, data=data, attributes=attributes, attribute_diff=attribute_diff)
    if draft.changed:
        check_writable(target.path)
    return draft


def _room(module: AnsibleModule, draft: _Draft) -> Room:
    kept = [draft.state.data] if module.params["backup"] else []
    return Room(draft.target.path, [len(data) for data in [draft.data, *kept] if data is not None])


def _new_data(module: AnsibleModule, target: Target, content: Any, value: Any) -> bytes:
    """The bytes to write, known to read back as the same: a file that Apptainer refuses would fail open."""
    data: bytes = content.bytes_of(value)
    if len(data) > content.max_bytes:
        raise FormatError(f"{target.path}: would have {len(data) >> 10} KiB after this change, but no more than {content.max_bytes >> 10} KiB are "
                          "read of it, so it is unchanged. Remove what is not needed from it")
    written = _content(module, target, data)
    if written.value != value or written.refusal:
        raise FormatError(f"{target.path}: what would be written does not read back as meant, so the file is unchanged. Please report this")
    return data


def _write(module: AnsibleModule, drafts: Sequence[_Draft]) -> List[str]:
    """Replace the files that change, all at once as far as that can be. Returns the paths of the backups.

    Raises ConflictError if one of all the files is no longer as it was read.
    """
    changed = [draft for draft in drafts if draft.changed]
    for draft in changed:
        make_directory(os.path.dirname(draft.target.path), 0o755 if draft.target.is_global else 0o700)
    suffix = f".{os.getpid()}.{time.strftime('%Y-%m-%d@%H:%M:%S')}~"
    kept = [draft.target.path for draft in changed if module.params["backup"] and draft.state.data is not None]
    with locked(*(draft.target.path for draft in drafts if os.path.isdir(os.path.dirname(draft.target.path)))):
        for draft in drafts:
            if read(draft.target.source) != draft.state:
                raise ConflictError(f"{draft.target.path}: was changed by someone else while this task ran. Run again.")
        replace(*(
            _replacement(module, draft, draft.data, os.path.basename(draft.target.path) + suffix if draft.target.path in kept else "")
            for draft in changed if draft.data is not None))
    return [path + suffix for path in kept]


def _replacement(module: AnsibleModule, draft: _Draft, data: bytes, backup: str) -> Replacement:
    """What to write. Ansible sets modes and owners by path, which is not for root in a directory of others, so only the context is left to it."""
    attributes = draft.attributes
    owner = _id(attributes["owner"], lambda name: pwd.getpwnam(name).pw_uid), _id(attributes["group"], lambda name: grp.getgrnam(name).gr_gid)
    return Replacement(
        path=draft.target.path, data=data, prepare=functools.partial(_set_context, module, attributes["secontext"]), before=draft.state,
        backup=backup, mode=int(attributes["mode"], 8), owner=owner, source=draft.target.source, link=draft.target.link)


def _id(text: Optional[str], find: Callable[[str], int]) -> int:
    """The id that Ansible would give a file for this name, known to exist, or number."""
    try:
        return -1 if text is None else int(text)
    except ValueError:
        return find(text or "")


def _set_context(module: AnsibleModule, context: Sequence[Optional[str]], path: str) -> None:
    module.set_context_if_different(path, context, False)


def _attributes(module: AnsibleModule, target: Target, state: FileState) -> Dict[str, Any]:
    """Mode, owner and context as they should be, tried on a file of our own: what can't be is refused before anything is written.

    A symbolic mode is resolved against that of the file, or what it would be without one, and not against that of a temporary file.
    """
    attributes: Dict[str, Any] = dict(module.load_file_common_arguments(module.params, path=target.path))
    usual = 0o644 if target.is_global else 0o600
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
            _in_check_mode(module, True, _set_attributes, module, trial.name, attributes)
    except OSError as error:
        raise StoreError(f"no temporary file can be made on this node ({error.strerror}); make room in /tmp") from None
    directory_uid = owner_of(os.path.dirname(target.path))
    if attributes["owner"] is None and os.geteuid() == 0 and (directory_uid or target.is_global):
        attributes["owner"] = str(directory_uid)
    return attributes


def _in_check_mode(module: AnsibleModule, check_mode: bool, ask: Callable[..., object], *arguments: object) -> None:
    """Ask Ansible something as in check mode, or not: in both modes the same way, so that both give the same answer."""
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
    refusal = f"# {draft.content.refusal}\n" if draft.content.refusal and before is not None else ""
    shown = [{
        "before_header": path,
        "after_header": path,
        "before": "" if before is None else refusal + draft.content.redacted_text(before),
        "after": "" if before is None and not draft.differs else draft.content.redacted_text(draft.value, before),
    }]
    if draft.attribute_diff:
        header = f"{path} (attributes)"
        words = {side: "".join(f"{name}: {value}\n" for name, value in sorted(draft.attribute_diff[side].items())) for side in ("before", "after")}
        shown.append(dict(words, before_header=header, after_header=header))
    return shown
