# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The glue between AnsibleModule and the layers below: the only module_utils that knows Ansible.

Options become wanted values, a file is read, a rule is applied, the file is written unless in check mode, and one shape of result leaves.
The documentation of the options here is in C(plugins/doc_fragments).
"""

import os
import stat
import tempfile
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.common.respawn import has_respawned, probe_interpreters_for_module, respawn_module
from ansible_collections.hpc.apptainer.plugins.module_utils._apptainer import sync
from ansible_collections.hpc.apptainer.plugins.module_utils._config_file import (
    FileState,
    check_writable,
    locked,
    make_directory,
    owner_of,
    read,
    replace,
    resolve,
)
from ansible_collections.hpc.apptainer.plugins.module_utils._declared import Outcome, WantedKeyserver, WantedRemote, converge
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import ApptainerError, FormatError, quoted
from ansible_collections.hpc.apptainer.plugins.module_utils._go_yaml import encode
from ansible_collections.hpc.apptainer.plugins.module_utils._locations import global_file, user_file
from ansible_collections.hpc.apptainer.plugins.module_utils._output import config_result, redacted, remote_result
from ansible_collections.hpc.apptainer.plugins.module_utils._remote_config import RemoteConfig
from ansible_collections.hpc.apptainer.plugins.module_utils._remote_yaml import HAS_YAML, YAML_IMPORT_ERROR, Document, decode

LOCATION_SPEC: Dict[str, Any] = {
    "flavor": {"type": "str", "choices": ["apptainer", "singularity"], "default": "apptainer"},
    "sysconfdir": {"type": "path"},
}
FILE_SPEC: Dict[str, Any] = dict(
    LOCATION_SPEC,
    scope={"type": "str", "choices": ["user", "global"], "default": "user"},
    config_file={"type": "path"},
    backup={"type": "bool", "default": False},
    owner={"type": "str"},
    group={"type": "str"},
    mode={"type": "raw"},
    seuser={"type": "str"},
    serole={"type": "str"},
    setype={"type": "str"},
    selevel={"type": "str"},
)
KEYSERVER_SPEC: Dict[str, Any] = {
    "uri": {"type": "str", "required": True},
    "insecure": {"type": "bool"},
    "builtin": {"type": "bool"},
}
REMOTE_SPEC: Dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "uri": {"type": "str"},
    "insecure": {"type": "bool"},
    "default": {"type": "bool"},
    "exclusive": {"type": "bool"},
    "keyservers": {"type": "list", "elements": "dict", "options": KEYSERVER_SPEC},
    "token": {"type": "str", "no_log": True},
    "token_file": {"type": "path", "no_log": False},
    "logout": {"type": "bool", "default": False},
    "force": {"type": "bool", "default": False},
}
REMOTE_MUTUALLY_EXCLUSIVE = [("token", "token_file")]

_PYTHONS_WITH_YAML = ("/usr/libexec/platform-python", "/usr/bin/python3", "/usr/bin/python")


def run(module: AnsibleModule, work: Callable[[], Dict[str, Any]]) -> None:
    """Do the module's work and leave with its result, or with one sentence that says why not."""
    _require_yaml(module)
    try:
        result = work()
    except ApptainerError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


def _require_yaml(module: AnsibleModule) -> None:
    if HAS_YAML:
        return
    interpreter = None if has_respawned() else probe_interpreters_for_module(_PYTHONS_WITH_YAML, "yaml")
    if interpreter:
        respawn_module(interpreter)
    module.fail_json(msg=missing_required_lib("PyYAML"), exception=YAML_IMPORT_ERROR)


def converge_remotes(module: AnsibleModule, entries: Sequence[Dict[str, Any]], prune: bool = False) -> Dict[str, Any]:
    """Put the declared endpoints, options of REMOTE_SPEC each, into the file that FILE_SPEC's options name."""
    if prune and not entries:
        raise ApptainerError("prune: true with an empty list of remotes would remove every endpoint; list those that should stay")
    _hide_passwords(module, entries)
    wanted = [_wanted_remote(module, entry) for entry in entries]
    system, system_known = (None, True) if module.params["scope"] == "global" else _read_global(module)

    def plan(config: RemoteConfig) -> Outcome:
        return converge(config, wanted, system, prune, system_known)

    path = config_file(module)
    update = update_file(module, path, plan)
    result = dict(update.result, config_file=path)
    if "remotes" in module.params:
        return dict(result, **config_result(update.config))
    name, state = entries[0]["name"], entries[0]["state"]
    # for a user a global endpoint exists without a copy in the user's file; what is the default, the file says
    shown = update.config if system is None or state == "absent" else sync(update.config, system)._replace(active=update.config.active)
    return dict(result, remote=remote_result(shown, name))


def config_file(module: AnsibleModule) -> str:
    """The path of the remote.yaml that the options name."""
    params = module.params
    usual = global_file(params["flavor"], params["sysconfdir"]) if params["scope"] == "global" else user_file(params["flavor"])
    return os.path.abspath(str(params["config_file"] or usual))


def _hide_passwords(module: AnsibleModule, entries: Sequence[Dict[str, Any]]) -> None:
    """A password in a URI is not asked for, but must not show up in the invocation either."""
    for entry in entries:
        for uri in [entry["uri"], *(item["uri"] for item in entry["keyservers"] or [])]:
            if uri and "@" in uri:
                module.no_log_values.add(uri.rpartition("@")[0].rpartition("/")[2].partition(":")[2] or uri)


def _wanted_remote(module: AnsibleModule, entry: Dict[str, Any]) -> WantedRemote:
    token = entry["token"]
    if entry["token_file"] and entry["state"] == "present":
        token = _read_token(module, entry["token_file"])
    if token is not None and not token.strip():
        raise ApptainerError("endpoint %s: the token is empty; use logout: true to remove a stored one" % quoted(entry["name"]))
    if token is not None and entry["logout"]:
        raise ApptainerError("endpoint %s: logout: true and a token contradict each other; drop one of the two" % quoted(entry["name"]))
    keyservers = entry["keyservers"]
    return WantedRemote(
        entry["name"], entry["state"] == "present", entry["uri"], entry["insecure"], entry["default"], entry["exclusive"],
        "" if entry["logout"] else token,
        None if keyservers is None else tuple(WantedKeyserver(item["uri"], item["insecure"], item["builtin"]) for item in keyservers),
        entry["force"])


def _read_token(module: AnsibleModule, path: str) -> str:
    """The first line of a token file on this node, as C(apptainer remote login --tokenfile) takes it, but without a CR."""
    state = read(resolve(path))
    if state.data is None:
        raise ApptainerError("token_file %s does not exist on this node" % path)
    if (state.mode or 0) & 0o077:
        module.warn("token_file %s has mode %04o: others can read the token; it should be 0600" % (path, state.mode or 0))
    token = state.data.partition(b"\n")[0].decode("utf-8", "replace").strip()
    if token:
        module.no_log_values.add(token)
    return token


def read_document(path: str) -> Optional[Document]:
    """The content of a remote.yaml, or None if there is no such file. Raises ApptainerError if it can't be read or understood."""
    data = read(resolve(path)).data
    return None if data is None else decode(data, path)


def _read_global(module: AnsibleModule) -> Tuple[RemoteConfig, bool]:
    """What the global file says, for a user's, and whether that is known."""
    path = global_file(module.params["flavor"], module.params["sysconfdir"])
    try:
        document = read_document(path)
    except ApptainerError as error:
        module.warn("the global file is ignored, by Apptainer too: %s" % error)
        return RemoteConfig(), False
    return document.config if document else RemoteConfig(), True


class Update(NamedTuple):
    """What became of a file, or would in a real run."""

    config: RemoteConfig
    result: Dict[str, Any]
    warnings: Tuple[str, ...]


def update_file(module: AnsibleModule, path: str, plan: Callable[[RemoteConfig], Outcome]) -> Update:
    """Apply a rule to a remote.yaml: read, plan, write what differs. In check mode the same, short of writing.

    Raises ApptainerError where the file can't be read, understood, locked or written, or the rule refuses; the file is then as it was.
    """
    path = resolve(path)
    update = _Step(module, path, plan).run(write=False)
    if update.result["changed"] and not module.check_mode:
        make_directory(os.path.dirname(path), 0o755 if module.params["scope"] == "global" else 0o700)
        with locked(path):
            update = _Step(module, path, plan).run(write=True)
    for warning in update.warnings:
        module.warn(warning)
    return update


class _Step:
    """One read-modify-write of a remote.yaml."""

    def __init__(self, module: AnsibleModule, path: str, plan: Callable[[RemoteConfig], Outcome]) -> None:
        self.module = module
        self.path = path
        self.plan = plan
        self.is_global: bool = module.params["scope"] == "global"

    def run(self, write: bool) -> Update:
        state = read(self.path)
        document = decode(state.data or b"", self.path)
        outcome = self.plan(document.config)
        differs = outcome.config != document.config or not document.has_data
        data = self._encoded(outcome.config, document.header) if differs else state.data
        attributes = self._attributes(state)
        attribute_diff: Dict[str, Any] = {}
        if state.data is not None:
            self._in_check_mode(True, self._set_attributes, self.path, attributes, attribute_diff)
        result: Dict[str, Any] = {"changed": differs or bool(attribute_diff)}
        if result["changed"]:
            check_writable(self.path)
        if result["changed"] and write and data is not None:
            backup = ""
            if self.module.params["backup"] and state.data is not None:
                backup = "%s.%d.%s~" % (os.path.basename(self.path), os.getpid(), time.strftime("%Y-%m-%d@%H:%M:%S"))
                result["backup_file"] = os.path.join(os.path.dirname(self.path), backup)
            replace(self.path, data, lambda temporary: self._set_attributes(temporary, attributes), state, backup)
        if self.module._diff:
            before = document.config if state.data is not None and document.has_data else None
            result["diff"] = self._diff(before, outcome.config if differs or before is not None else None, attribute_diff)
        return Update(outcome.config, result, outcome.warnings)

    def _attributes(self, state: FileState) -> Dict[str, Any]:
        """Mode, owner and context as they should be, proven on a file of our own: what can't be is refused before anything is made.

        A symbolic mode is resolved against that of the file, or what it would be without one, and not against that of a temporary file.
        """
        attributes: Dict[str, Any] = dict(self.module.load_file_common_arguments(self.module.params, path=self.path))
        usual = 0o644 if self.is_global else 0o600
        mode = attributes["mode"] or "%04o" % usual
        if isinstance(mode, bool):
            raise ApptainerError("mode must be like '0644' in quotes, or symbolic like 'go-w'")
        with tempfile.NamedTemporaryFile() as probe:
            os.chmod(probe.name, usual if state.mode is None else state.mode)
            self._in_check_mode(False, self.module.set_mode_if_different, probe.name, mode, False)
            attributes["mode"] = "%04o" % stat.S_IMODE(os.stat(probe.name).st_mode)
            self._in_check_mode(True, self._set_attributes, probe.name, attributes)
        directory_uid = owner_of(os.path.dirname(self.path))
        if attributes["owner"] is None and os.geteuid() == 0 and (directory_uid or self.is_global):
            attributes["owner"] = str(directory_uid)
        return attributes

    def _in_check_mode(self, check_mode: bool, ask: Callable[..., object], *arguments: object) -> None:
        """Ask Ansible something as in check mode, or not: in both modes the same way, so that both say the same."""
        usual, self.module.check_mode = self.module.check_mode, check_mode
        try:
            ask(*arguments)
        finally:
            self.module.check_mode = usual

    def _set_attributes(self, path: str, attributes: Dict[str, Any], diff: Optional[Dict[str, Any]] = None) -> None:
        self.module.set_fs_attributes_if_different(dict(attributes, path=path), False, diff=diff)

    def _encoded(self, config: RemoteConfig, header: str) -> bytes:
        """The bytes to write, proven to read back as the same: a file that Apptainer refuses would fail open."""
        data = encode(config, header)
        if decode(data, self.path).config != config:
            raise FormatError("%s: what would be written does not read back as meant; the file is unchanged. Please report this" % self.path)
        return data

    def _diff(self, before: Optional[RemoteConfig], after: Optional[RemoteConfig], attributes: Dict[str, Any]) -> List[Dict[str, str]]:
        """What C(--diff) shows: the contents, without secrets (None: no file, or one without data), and what changes in mode and owner."""
        shown = [{
            "before_header": self.path,
            "after_header": self.path,
            "before": "" if before is None else encode(redacted(before)).decode("utf-8"),
            "after": "" if after is None else encode(redacted(after, before)).decode("utf-8"),
        }]
        if attributes:
            header = self.path + " (attributes)"
            words = {side: "".join("%s: %s\n" % item for item in sorted(attributes[side].items())) for side in ("before", "after")}
            shown.append(dict(words, before_header=header, after_header=header))
        return shown
