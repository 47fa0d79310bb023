# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Changing files: read, plan, have what is new verified, and write what differs; in check mode the same, short of writing."""

import functools
import os
import random
import time
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Type

from ansible.module_utils.basic import AnsibleModule

from .._errors import ApptainerError, ConflictError, FormatError, StoreError
from .._files.config_file import (
    DirectoryDrift,
    FileState,
    Replacement,
    Room,
    check_room,
    check_writable,
    has_directory,
    left_overs,
    link_at,
    link_text,
    locked,
    make_directory,
    read,
    real_path,
    remove_left_overs,
    repair_directory,
    replace,
    settled,
)
from .._values.claims import Claim
from .._values.flavors import FLAVORS
from .attributes import attribute_diff, directory_drift, owner_ids, reach_warning, wanted_attributes, with_owner
from .common import warn
from .contents import RemoteYaml, UnreadableYaml, file_expected, ignored_file
from .verifier import Verification

_LEFT_OVERS = "number of files left by interrupted runs"
_MOST_ATTEMPTS = 100  # each one that fails means that somebody else has written meanwhile


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
    """One file, read and planned; what is wrong with its directory, and what interrupted runs left beside it."""

    target: Target
    state: FileState
    content: Any
    value: Any
    data: Optional[bytes]
    attributes: Dict[str, Any]
    attribute_diff: Dict[str, Any]
    directory_drift: Optional[DirectoryDrift]
    left_overs: Sequence[str]

    @property
    def differs(self) -> bool:
        """Whether other bytes are to be written."""
        return self.data != self.state.data

    @property
    def is_replaced(self) -> bool:
        """Whether a new file takes its place, also only to have another mode, owner or context."""
        return self.differs or bool(self.attribute_diff)

    @property
    def changed(self) -> bool:
        return self.is_replaced or self.directory_drift is not None or bool(self.left_overs)


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


def update_files(module: AnsibleModule, targets: Sequence[Target], plan: Planner, verify: Optional[Verify] = None, root: str = "/",
                 has_changed: Optional[Callable[[], bool]] = None) -> Update:
    """Apply a rule to files below `root`: read, plan, verify what is new, write what differs, in the given order.

    Nothing is planned and nobody is asked under a lock. Once it is held, all files are compared with what was read; if one has changed,
    the lock is released and everything starts again, but what servers have answered is not asked again. It also starts again if a file was
    half-written by another program when it was read. `has_changed` says so of another file on which the plan depends, and the next plan is
    made from what that holds now. A run that has nothing to change does not check this.
    `verify` raises VerificationError if nothing may be written; if it returns failed claims, the plan is made once more without them.
    Raises ApptainerError if a file can't be read, understood, locked or written, if the rule refuses, or if others keep writing: the files
    are then as they were.
    """
    def was_unfinished(targets: Sequence[Target], states: Sequence[FileState]) -> bool:
        """Whether one of them is another, now that nobody is writing them any more."""
        again = [settled(target.source, state) for target, state in zip(targets, states)]
        return bool(has_changed and has_changed()) or again != states

    known: Mapping[Claim, Any] = {}
    for attempt in range(_MOST_ATTEMPTS):
        placed = [_placed(module, target, root) for target in targets]
        states = [_read(target) for target in placed]
        try:
            planned = _planned(module, placed, states, plan, verify, known)
        except ApptainerError:
            if not was_unfinished(placed, states):
                raise
            continue
        if planned.changed and was_unfinished(placed, states):
            known = planned.verification.verdicts
            continue
        if module.check_mode:  # a real run is told by the system
            check_room(*(_room(module, draft) for draft in planned.drafts if draft.is_replaced))
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
    with file_expected(target.path, target.is_global):
        real = real_path(target.path, root)
    link = None if target.content.follows_links or FLAVORS[module.params["flavor"]].follows_links else link_at(target.path, root)
    return target._replace(path=link or real, source=real, link=link_text(link) if link else "")


def _read(target: Target) -> FileState:
    with file_expected(target.path, target.is_global):
        return read(target.source, refuse_foreign=True)


def _content(module: AnsibleModule, target: Target, data: bytes) -> Any:
    return target.content(data, target.path, module.params["flavor"])


def _old_content(module: AnsibleModule, target: Target, data: bytes) -> Any:
    """What a file holds. Raises UnreadableError for a global one that cannot be parsed, FormatError for another; `unreadable: replace` takes both."""
    try:
        return _content(module, target, data)
    except FormatError as error:
        if module.params.get("unreadable") == "replace":
            return UnreadableYaml(error, target.path, module.params["flavor"])
        if not target.is_global:
            raise
        raise ignored_file(error, can_be_replaced=bool(module.params.get("prune"))) from error


def _planned(module: AnsibleModule, targets: Sequence[Target], states: Sequence[FileState], plan: Planner, verify: Optional[Verify],
             known: Mapping[Claim, Any]) -> _Planned:
    contents = [_old_content(module, target, state.data or b"") for target, state in zip(targets, states)]
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
    unreadable = tuple(_replaced_file(draft, backups) for draft in planned.drafts if isinstance(draft.content, UnreadableYaml))
    more = tuple(filter(None, (_warning_of_nothing(module, draft) for draft in planned.drafts)))
    more += tuple(filter(None, (reach_warning(module, draft.target.path) for draft in planned.drafts if draft.target.is_global and draft.data)))
    for warning in dict.fromkeys(unreadable + planned.warnings + planned.verification.warnings + links + more):
        warn(module, warning)
    result: Dict[str, Any] = {"changed": planned.changed}
    problems = [draft.content.problem for draft in planned.drafts if isinstance(draft.content, UnreadableYaml)]
    if problems:
        result["unreadable"] = problems[0]
    if module._diff:
        result["diff"] = [shown for draft in planned.drafts for shown in _diff(draft)]
    return Update([draft.value for draft in planned.drafts], result, backups, planned.verification)


def _replaced_link(module: AnsibleModule, target: Target) -> str:
    flavor = FLAVORS[module.params["flavor"]]
    return (f"{target.path} was a symbolic link to {target.source}, which {flavor.program} {flavor.newest} and newer do not open, so a file takes "
            f"its place; {target.source} stays as it is and is no longer used, so remove it if nothing else uses it or if it holds secrets")


def _replaced_file(draft: _Draft, backups: Sequence[str]) -> str:
    """What was lost with a file that could not be read, and where it is. `backups` are empty in check mode."""
    path = draft.target.path
    copy = next((backup for backup in backups if backup.startswith(path)), f"{path}.*~")
    lost = ("Until now, Apptainer ignored it for everyone: no endpoint was exclusive, and its default did not count. Endpoints that only it held are "
            "gone; users whose files hold exclusive copies of them are locked out (finding stale-copy)." if draft.target.is_global
            else "The tokens and logins that only it held are gone; log in again.")
    return f"{draft.content.problem}. It is replaced, and the old file is kept as {copy}. {lost}"


def _warning_of_nothing(module: AnsibleModule, draft: _Draft) -> str:
    """For an empty file into which secrets are to go, or of which a backup is wanted: somebody may miss what was in it."""
    if draft.state.data != b"" or not draft.differs:
        return ""
    backup = ", and so is its backup" if module.params["backup"] else ""
    if not backup and not draft.content.has_secrets(draft.value):
        return ""
    return (f"{draft.target.path} was there, but empty (0 bytes){backup}: Apptainer leaves such a file where it only wanted to read it, but so do "
            "a full disk and an interrupted command; if endpoints or logins are missing now, restore them")


def _draft(module: AnsibleModule, target: Target, state: FileState, content: Any, value: Any) -> _Draft:
    differs = value != content.value or not content.has_data or bool(content.refusal)
    data = _new_data(module, target, content, value) if differs else state.data
    attributes = wanted_attributes(module, target.path, target.is_global, state)
    drift = None if data is None else directory_drift(module, target.path, target.is_global, attributes)
    attributes = with_owner(attributes, target.path, target.is_global, drift)
    differences = {} if state.data is None else attribute_diff(module, target.source, state, attributes)
    if target.link and data is not None:
        for side, kind in (("before", "symbolic link"), ("after", "file")):
            differences.setdefault(side, {})["type"] = kind
    draft = _Draft(
        target=target, state=state, content=content, value=value, data=data, attributes=attributes, attribute_diff=differences,
        directory_drift=drift, left_overs=left_overs(target.path))
    if draft.changed:
        check_writable(target.path)
    return draft


def _room(module: AnsibleModule, draft: _Draft) -> Room:
    kept = [draft.state.data] if _is_kept(module, draft) else []
    return Room(draft.target.path, [len(data) for data in [draft.data, *kept] if data is not None])


def _is_kept(module: AnsibleModule, draft: _Draft) -> bool:
    """Whether a copy of the old file stays beside the new one: always, if nobody knows what was in it."""
    return draft.state.data is not None and bool(module.params["backup"] or isinstance(draft.content, UnreadableYaml))


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
    replaced = [draft for draft in drafts if draft.is_replaced]
    for draft in replaced:
        make_directory(os.path.dirname(draft.target.path), 0o755 if draft.target.is_global else 0o700)
    suffix = f".{os.getpid()}.{time.strftime('%Y-%m-%d@%H:%M:%S')}~"
    kept = [draft.target.path for draft in replaced if _is_kept(module, draft)]
    with locked(*(draft.target.path for draft in drafts if draft.changed or has_directory(draft.target.path))):
        for draft in drafts:
            if read(draft.target.source, refuse_foreign=True) != draft.state:
                raise ConflictError(f"{draft.target.path}: was changed by someone else while this task ran. Run again.")
            drift = draft.directory_drift
            if drift and directory_drift(module, draft.target.path, draft.target.is_global, draft.attributes) != drift:
                raise ConflictError(f"{drift.path}: was changed by someone else while this task ran. Run again.")
        for drift in dict.fromkeys(draft.directory_drift for draft in drafts if draft.directory_drift):
            repair_directory(drift)
        replace(*(
            _replacement(module, draft, draft.data, os.path.basename(draft.target.path) + suffix if draft.target.path in kept else "")
            for draft in replaced if draft.data is not None))
        for draft in drafts:
            remove_left_overs(draft.left_overs)
    return [path + suffix for path in kept]


def _replacement(module: AnsibleModule, draft: _Draft, data: bytes, backup: str) -> Replacement:
    """What to write. Ansible sets modes and owners by path, which is not for root in a directory of others, so only the context is left to it."""
    attributes = draft.attributes
    return Replacement(
        path=draft.target.path, data=data, prepare=functools.partial(_set_context, module, attributes["secontext"]), before=draft.state,
        backup=backup, mode=int(attributes["mode"], 8), owner=owner_ids(attributes), source=draft.target.source, link=draft.target.link)


def _set_context(module: AnsibleModule, context: Sequence[Optional[str]], path: str) -> None:
    module.set_context_if_different(path, context, False)


def _diff(draft: _Draft) -> List[Dict[str, str]]:
    """What `--diff` shows: the contents, without secrets (empty: no file, or one without data), and what changes in mode and owner."""
    path = draft.target.path
    before = draft.content.value if draft.state.data is not None and draft.content.has_data else None
    refusal = f"# {draft.content.refusal}\n" if draft.content.refusal and (before is not None or isinstance(draft.content, UnreadableYaml)) else ""
    shown = [{
        "before_header": path,
        "after_header": path,
        "before": refusal + ("" if before is None else draft.content.redacted_text(before)),
        "after": "" if before is None and not draft.differs else draft.content.redacted_text(draft.value, before),
    }]
    differences = {side: dict(draft.attribute_diff.get(side, {})) for side in ("before", "after")}
    if draft.left_overs:
        differences["before"][_LEFT_OVERS], differences["after"][_LEFT_OVERS] = len(draft.left_overs), 0
    shown += _attributes_shown(path, differences)
    if draft.directory_drift:
        drift = draft.directory_drift
        shown += _attributes_shown(drift.path, {"before": drift.before.shown(), "after": drift.after.shown()})
    return shown


def _attributes_shown(path: str, differences: Mapping[str, Mapping[str, Any]]) -> List[Dict[str, str]]:
    """Only what differs; nothing if that is nothing."""
    before, after = differences["before"], differences["after"]
    if before == after:
        return []
    header = f"{path} (attributes)"
    words = {side: "".join(f"{name}: {value}\n" for name, value in sorted(found.items()) if before.get(name) != after.get(name))
             for side, found in differences.items()}
    return [dict(words, before_header=header, after_header=header)]
