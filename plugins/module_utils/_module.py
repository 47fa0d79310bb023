# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The glue between AnsibleModule and the layers below: the only module_utils that knows Ansible.

Options become wanted values, a file is read, a rule is applied, the file is written unless in check mode, and one shape of result leaves.
The documentation of the options here is in C(plugins/doc_fragments).
"""

import os
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.common.respawn import has_respawned, probe_interpreters_for_module, respawn_module
from ansible_collections.hpc.apptainer.plugins.module_utils._apptainer import sync
from ansible_collections.hpc.apptainer.plugins.module_utils._config_file import locked, make_directory, owner_of, read, replace, resolve
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
    _hide_passwords(module, entries)
    wanted = [_wanted_remote(module, entry) for entry in entries]
    system = None if module.params["scope"] == "global" else _read_global(module)

    def plan(config: RemoteConfig) -> Outcome:
        return converge(config, wanted, system, prune)

    path = config_file(module)
    update = update_file(module, path, plan)
    result = dict(update.result, config_file=path)
    if "remotes" in module.params:
        return dict(result, **config_result(update.config))
    name = entries[0]["name"]
    shown = update.config if system is None or entries[0]["state"] == "absent" else sync(update.config, system)
    return dict(result, remote=remote_result(shown._replace(active=update.config.active or shown.active), name))


def config_file(module: AnsibleModule) -> str:
    """The path of the remote.yaml that the options name."""
    params = module.params
    given: Optional[str] = params["config_file"]
    if given:
        return os.path.abspath(given)
    return global_file(params["flavor"], params["sysconfdir"]) if params["scope"] == "global" else user_file(params["flavor"])


def _hide_passwords(module: AnsibleModule, entries: Sequence[Dict[str, Any]]) -> None:
    """A password in a URI is not asked for, but must not show up in the invocation either."""
    for entry in entries:
        for uri in [entry["uri"], *(item["uri"] for item in entry["keyservers"] or [])]:
            if uri and "@" in uri:
                module.no_log_values.add(uri.rpartition("@")[0].rpartition("/")[2].partition(":")[2] or uri)


def _wanted_remote(module: AnsibleModule, entry: Dict[str, Any]) -> WantedRemote:
    token = entry["token"]
    if entry["token_file"]:
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


def _read_global(module: AnsibleModule) -> RemoteConfig:
    path = global_file(module.params["flavor"], module.params["sysconfdir"])
    try:
        document = read_document(path)
    except ApptainerError as error:
        module.warn("the global file is ignored, by Apptainer too: %s" % error)
        document = None
    return document.config if document else RemoteConfig()


class Update(NamedTuple):
    """What became of a file, or would in a real run."""

    config: RemoteConfig
    result: Dict[str, Any]


def update_file(module: AnsibleModule, path: str, plan: Callable[[RemoteConfig], Outcome]) -> Update:
    """Apply a rule to a remote.yaml: read, plan, write what differs. In check mode the same, short of writing.

    Raises ApptainerError where the file can't be read, understood, locked or written, or the rule refuses; the file is then as it was.
    """
    path = resolve(path)
    directory = os.path.dirname(path)
    if module.check_mode or not os.path.isdir(directory):
        update = _Step(module, path, plan).run(write=False)
        if module.check_mode or not update.result["changed"]:
            return update
        make_directory(directory, 0o755 if module.params["scope"] == "global" else 0o700)
    with locked(path):
        return _Step(module, path, plan).run(write=True)


class _Step:
    """One read-modify-write of a remote.yaml."""

    def __init__(self, module: AnsibleModule, path: str, plan: Callable[[RemoteConfig], Outcome]) -> None:
        self.module = module
        self.path = path
        self.plan = plan
        self.attributes: Dict[str, Any] = dict(module.load_file_common_arguments(module.params, path=path))
        if self.attributes["mode"] is None:
            self.attributes["mode"] = "0644" if module.params["scope"] == "global" else "0600"
        if self.attributes["owner"] is None and os.geteuid() == 0:
            self.attributes["owner"] = str(owner_of(os.path.dirname(path)))

    def run(self, write: bool) -> Update:
        state = read(self.path)
        document = decode(state.data or b"", self.path)
        outcome = self.plan(document.config)
        for warning in outcome.warnings if write or self.module.check_mode else ():
            self.module.warn(warning)
        differs = outcome.config != document.config or not document.has_data
        attribute_diff = self._attribute_changes() if state.data is not None else {}
        result: Dict[str, Any] = {"changed": differs or bool(attribute_diff)}
        if differs:
            data = self._encoded(outcome.config, document.header)
            if write:
                if self.module.params["backup"] and state.data is not None:
                    result["backup_file"] = self.module.backup_local(self.path)
                replace(self.path, data, self._set_attributes, state)
        elif attribute_diff and write:
            self._set_attributes(self.path)
        if self.module._diff:
            before = document.config if state.data is not None and document.has_data else None
            result["diff"] = self._diff(before, outcome.config if differs or before is not None else None, attribute_diff)
        return Update(outcome.config, result)

    def _encoded(self, config: RemoteConfig, header: str) -> bytes:
        """The bytes to write, proven to read back as the same: a file that Apptainer refuses would fail open."""
        data = encode(config, header)
        if decode(data, self.path).config != config:
            raise FormatError("%s: what would be written does not read back as meant; the file is unchanged. Please report this" % self.path)
        return data

    def _attribute_changes(self) -> Dict[str, Dict[str, Any]]:
        """What is to change in the file's mode, owner and context: asked of Ansible as in check mode, so that both modes say the same."""
        diff: Dict[str, Dict[str, Any]] = {}
        check_mode, self.module.check_mode = self.module.check_mode, True
        try:
            changed = self._set_attributes(self.path, diff)
        finally:
            self.module.check_mode = check_mode
        return diff if changed else {}

    def _set_attributes(self, path: str, diff: Optional[Dict[str, Any]] = None) -> bool:
        return bool(self.module.set_fs_attributes_if_different(dict(self.attributes, path=path), False, diff=diff))

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
