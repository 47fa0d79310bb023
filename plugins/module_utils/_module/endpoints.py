# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The glue of the modules that declare endpoints and their keyservers."""

import os
from typing import Any, Dict, List, Optional, Sequence, Set, Tuple

from ansible.module_utils.basic import AnsibleModule

from .._apptainer.effective import endpoint_tokens, sync
from .._errors import ApptainerError, quoted
from .._files.config_file import read, real_path
from .._files.locations import global_file, user_file
from .._formats.remote_yaml_reader import decode
from .._rules.endpoints import WantedKeyserver, WantedRemote, converge, unplaced_endpoints
from .._values.claims import Claim, EndpointServices, EndpointToken, claim_name
from .._values.remote_config import RemoteConfig
from .._values.results import config_result, remote_result
from .common import FILE_SPEC, ROOT_SPEC, read_token, root_of
from .files import Plan, Target, Update, update_files
from .verifier import Verifier

SCOPED_FILE_SPEC: Dict[str, Any] = dict(FILE_SPEC, **ROOT_SPEC, scope={"type": "str", "choices": ["user", "global"], "default": "user"})
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
    "services": {"type": "list", "elements": "str", "choices": ["library", "keyserver", "token"]},
    "token": {"type": "str", "no_log": True},
    "token_file": {"type": "path", "no_log": False},
    "logout": {"type": "bool", "default": False},
    "force": {"type": "bool", "default": False},
}
REMOTE_MUTUALLY_EXCLUSIVE = [("token", "token_file")]
WHOLE_LIST_SPEC: Dict[str, Any] = {
    "remotes": {"type": "list", "elements": "dict", "required": True, "options": REMOTE_SPEC, "mutually_exclusive": REMOTE_MUTUALLY_EXCLUSIVE},
    "prune": {"type": "bool", "default": False},
    "retire": {"type": "bool", "default": False},
}


def converge_remotes(module: AnsibleModule, entries: Sequence[Dict[str, Any]]) -> Dict[str, Any]:
    """Put the declared endpoints, options of REMOTE_SPEC each, into the file that SCOPED_FILE_SPEC's options name.

    With the options of WHOLE_LIST_SPEC they are all that the task has to say, otherwise one of several tasks.
    """
    params = module.params
    whole_list = "remotes" in params
    prune, retire = whole_list and params["prune"], whole_list and params["retire"]
    if prune and not entries:
        raise ApptainerError("prune: true with an empty list of remotes would remove every endpoint; list those that should stay")
    for entry in entries:
        hide_passwords(module, [entry["uri"], *(item["uri"] for item in entry["keyservers"] or [])])
    wanted = [_wanted_remote(module, entry) for entry in entries]
    services = {entry["name"]: tuple(entry["services"]) for entry in entries if entry["services"] and entry["state"] == "present"}
    declared = set(services) | {item.name for item in wanted if item.present and item.token}
    is_global = params["scope"] == "global"
    system, system_known = (None, True) if is_global else read_global(module)
    verifier = Verifier(module)

    def plan(values: Sequence[RemoteConfig]) -> Plan:
        outcome = converge(values[0], wanted, system, prune, system_known, module.check_mode, retire, keep_default=whole_list)
        return Plan([outcome.config], outcome.warnings)

    def verify_claim(before: Sequence[RemoteConfig], after: Sequence[RemoteConfig]) -> bool:
        if not declared:
            return False
        names = unplaced_endpoints(before[0], after[0], system or RemoteConfig())
        verifier.foreseen = {claim_name(item) for name in names for item in (EndpointToken(name, "", False, ""), EndpointServices(name, "", False, ()))}
        if verifier.verify_claim(_provable(before[0], system, services, declared, True), _provable(after[0], system, services, declared)):
            raise verifier.refusal({}, "Nothing was changed.")
        return False

    path = remote_yaml(module, is_global)
    update = update_files(module, [Target(path, is_global)], plan, verify_claim)
    config: RemoteConfig = update.values[0]
    result = dict(file_result(path, update), **verifier.result())
    if whole_list:
        return dict(result, **config_result(config))
    # for a user a global endpoint exists without a copy in the user's file; what is the default, the file says
    shown = config if system is None or not wanted[0].present else sync(config, system)._replace(active=config.active)
    return dict(result, remote=remote_result(shown, wanted[0].name))


def _provable(config: RemoteConfig, system: Optional[RemoteConfig], services: Dict[str, Tuple[str, ...]], names: Set[str],
              as_stored: bool = False) -> List[Claim]:
    """What a file says of some endpoints that a server could confirm: their tokens, and that they offer the demanded services."""
    remotes = (sync(config, system) if system else config).remotes
    places = [EndpointServices(name, remotes[name].uri, remotes[name].insecure, services[name]) for name in services if name in remotes]
    return [*places, *(item for item in endpoint_tokens(config, system or RemoteConfig(), as_stored) if item.name in names)]


def remote_yaml(module: AnsibleModule, is_global: bool = False) -> str:
    """The path of the remote.yaml that the options name; below another root that of the real file, as links mean something else there."""
    params = module.params
    root = root_of(module, needs_home=not is_global and not params["config_file"])
    shared = global_file(params["flavor"], params["sysconfdir"], root)
    path = os.path.abspath(str(params["config_file"] or (shared if is_global else user_file(params["flavor"]))))
    if root != "/":
        path = real_path(path, root)
    if not is_global and _is_same_file(path, shared, root):
        raise ApptainerError(f"{path} is the global file, and what belongs into a user's would be in there for everyone; correct config_file")
    return path


def _is_same_file(path: str, other: str, root: str) -> bool:
    try:
        return real_path(path, root) == real_path(other, root)
    except ApptainerError:  # one of them can't be followed, which is told when it matters
        return path == os.path.abspath(other)


def file_result(path: str, update: Update) -> Dict[str, Any]:
    """The part of a result that is about one changed file."""
    backup = {"backup_file": update.backups[0]} if update.backups else {}
    return dict(update.result, config_file=path, **backup)


def hide_passwords(module: AnsibleModule, uris: Sequence[Optional[str]]) -> None:
    """A password in a URI is not asked for, but must not show up in the invocation either."""
    for uri in uris:
        if uri and "@" in uri:
            module.no_log_values.add(uri.rpartition("@")[0].rpartition("/")[2].partition(":")[2] or uri)


def _wanted_remote(module: AnsibleModule, entry: Dict[str, Any]) -> WantedRemote:
    token = entry["token"]
    if entry["token_file"] and entry["state"] == "present":
        token = read_token(module, entry["token_file"])
    if token is not None and not token.strip():
        raise ApptainerError(f"endpoint {quoted(entry['name'])}: the token is empty; use logout: true to remove a stored one")
    if token is not None and entry["logout"]:
        raise ApptainerError(f"endpoint {quoted(entry['name'])}: logout: true and a token contradict each other; drop one of the two")
    keyservers = entry["keyservers"]
    return WantedRemote(
        entry["name"], entry["state"] == "present", entry["uri"], entry["insecure"], entry["default"], entry["exclusive"],
        "" if entry["logout"] else token,
        None if keyservers is None else tuple(WantedKeyserver(item["uri"], item["insecure"], item["builtin"]) for item in keyservers),
        entry["force"])


def read_global(module: AnsibleModule) -> Tuple[RemoteConfig, bool]:
    """What the global file says, for a user's, and whether that is known."""
    root = root_of(module)
    path = global_file(module.params["flavor"], module.params["sysconfdir"], root)
    try:
        data = read(real_path(path, root)).data
        return RemoteConfig() if data is None else decode(data, path).config, True
    except ApptainerError as error:
        module.warn(f"the global file is ignored, by Apptainer too: {error}")
        return RemoteConfig(), False
