# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The modules that declare endpoints and their keyservers."""

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

from ansible.module_utils.basic import AnsibleModule

from .._apptainer.effective import endpoint_tokens, sync
from .._apptainer.services import USED_SERVICES, token_warnings
from .._errors import ApptainerError
from .._options import ALIASES
from .._rules.endpoints import converge, unplaced_endpoints
from .._rules.wanted import WantedKeyserver, WantedRemote, endpoint_subject
from .._values.claims import Claim, EndpointServices
from .._values.remote_config import RemoteConfig
from .._values.results import config_result, remote_result
from .common import FILE_SPEC, ROOT_SPEC, SECRET, read_token, root_of
from .files import Plan, Target, Update, update_files
from .scope import System, remote_yaml
from .verifier import Ask, Verification, verify_declared

SCOPED_FILE_SPEC: Dict[str, Any] = dict(FILE_SPEC, **ROOT_SPEC, scope={"type": "str", "choices": ["user", "global"], "default": "user"})
KEYSERVER_SPEC: Dict[str, Any] = {
    "uri": {"type": "str", "required": True, "aliases": ALIASES["uri"]},
    "insecure": {"type": "bool"},
    "builtin": {"type": "bool"},
}
REMOTE_SPEC: Dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent", "retired"], "default": "present"},
    "uri": {"type": "str", "aliases": ALIASES["uri"]},
    "insecure": {"type": "bool"},
    "default": {"type": "bool"},
    "exclusive": {"type": "bool"},
    "keyservers": {"type": "list", "elements": "dict", "options": KEYSERVER_SPEC},
    "services": {"type": "list", "elements": "str", "choices": list(USED_SERVICES)},
    "token": {"type": SECRET, "no_log": True},
    "token_file": {"type": "path", "no_log": False, "aliases": ALIASES["token_file"]},
    "logout": {"type": "bool", "default": False},
    "force": {"type": "bool", "default": False},
}
REMOTE_MUTUALLY_EXCLUSIVE = [("token", "token_file")]
WHOLE_LIST_SPEC: Dict[str, Any] = {
    "remotes": {"type": "list", "elements": "dict", "required": True, "options": REMOTE_SPEC, "mutually_exclusive": REMOTE_MUTUALLY_EXCLUSIVE},
    "prune": {"type": "bool", "default": False},
    "unreadable": {"type": "str", "choices": ["fail", "replace"], "default": "fail"},
}


class _Converged(NamedTuple):
    """The file as it is now, or would be in a real run. `system` is what the global file holds, None if it is this very file."""

    config: RemoteConfig
    system: Optional[RemoteConfig]
    result: Dict[str, Any]


def converge_remote(module: AnsibleModule, ask: Ask) -> Dict[str, Any]:
    """Put the endpoint that the options of REMOTE_SPEC declare into the file that those of SCOPED_FILE_SPEC name: one of several tasks.

    Raises ApptainerError for options that contradict each other, and whatever update_files() raises.
    """
    entry = module.params
    config, system, result = _converge(module, ask, [entry])
    # for a user a global endpoint exists without a copy in the user's file; what is the default, the file says
    shown = config if system is None or entry["state"] == "absent" else sync(config, system)._replace(active=config.active)
    return dict(result, remote=remote_result(shown, entry["name"]))


def converge_remotes(module: AnsibleModule, ask: Ask) -> Dict[str, Any]:
    """Put the endpoints that the options of WHOLE_LIST_SPEC declare into the file that those of SCOPED_FILE_SPEC name: all in one task.

    Raises ApptainerError for options that contradict each other, and whatever update_files() raises.
    """
    params = module.params
    if params["prune"] and not params["remotes"]:
        raise ApptainerError("prune: true with an empty list of remotes would remove every endpoint; list those that should stay")
    if params["unreadable"] == "replace" and not params["prune"]:
        raise ApptainerError("unreadable: replace needs prune: true, because only then the list of remotes is all that the new file has to hold; set "
                             "both, or neither")
    config, _system, result = _converge(module, ask, params["remotes"], prune=params["prune"], keep_default=True)
    return dict(result, **config_result(config))


def _converge(module: AnsibleModule, ask: Ask, entries: Sequence[Dict[str, Any]], **whole_list: bool) -> _Converged:
    """`whole_list` are the options of converge() that only a task has which declares the whole list."""
    wanted = [_wanted_remote(module, entry) for entry in entries]
    services = {entry["name"]: tuple(entry["services"]) for entry in entries if entry["services"] and entry["state"] == "present"}
    tokens = {item.name for item in wanted if item.present and item.token}
    is_global = module.params["scope"] == "global"
    root = root_of(module.params, needs_home=not is_global and not module.params["config_file"])
    global_file = None if is_global else System(module, root)

    def system() -> Optional[RemoteConfig]:
        return global_file.config if global_file else None

    def plan(values: Sequence[RemoteConfig], _failed: Sequence[Claim]) -> Plan:
        desired = converge(
            values[0], wanted, system(), system_problem=global_file.problem if global_file else "", check_mode=module.check_mode,
            flavor=module.params["flavor"], **whole_list)
        return Plan([desired.config], (*desired.warnings, *token_warnings(values[0], desired.config, system() or RemoteConfig())))

    def claims(config: RemoteConfig, as_stored: bool = False) -> List[Claim]:
        """What the file says of the declared endpoints that a server could confirm: the demanded services, and the tokens."""
        known = system()
        remotes = (sync(config, known) if known else config).remotes
        found = endpoint_tokens(config, known or RemoteConfig(), as_stored)
        return [*(EndpointServices(name=name, uri=remotes[name].uri, insecure=remotes[name].insecure, services=services[name],
                                   flavor=module.params["flavor"])
                  for name in services if name in remotes),
                *(item for item in found if item.name in tokens or item.name in services)]

    def verify(before: Sequence[RemoteConfig], after: Sequence[RemoteConfig], known: Mapping[Claim, Any]) -> Verification:
        unplaced = unplaced_endpoints(before[0], after[0], system() or RemoteConfig())
        verification = verify_declared(module, ask, claims(after[0]), set(claims(before[0], as_stored=True)), unplaced, known)
        if verification.failed:
            raise verification.refusal({}, "Nothing was changed.")
        return verification

    path = remote_yaml(module.params, is_global, root)
    update = update_files(module, [Target(path, is_global)], plan, verify, root, has_changed=global_file.has_changed if global_file else None)
    return _Converged(update.values[0], system(), dict(file_result(path, update), **update.verification.result))


def file_result(path: str, update: Update) -> Dict[str, Any]:
    """The part of a result that is about one changed file."""
    backup = {"backup_file": update.backups[0]} if update.backups else {}
    return dict(update.result, config_file=path, **backup)


def _wanted_remote(module: AnsibleModule, entry: Mapping[str, Any]) -> WantedRemote:
    """One entry of REMOTE_SPEC. Raises ApptainerError for options that contradict each other."""
    token, keyservers = entry["token"], entry["keyservers"]
    if entry["state"] == "present":  # else all this is ignored
        if entry["token_file"]:
            token = read_token(module, entry["token_file"])
        if token is not None and not token.strip():
            raise ApptainerError(f"{endpoint_subject(entry['name'])}: the token is empty; use logout: true to remove a stored one")
        if token is not None and entry["logout"]:
            raise ApptainerError(f"{endpoint_subject(entry['name'])}: logout: true and a token contradict each other; remove one of the two")
    return WantedRemote(
        name=entry["name"],
        state=entry["state"],
        uri=entry["uri"],
        insecure=entry["insecure"],
        default=entry["default"],
        exclusive=entry["exclusive"],
        token="" if entry["logout"] else token,
        keyservers=None if keyservers is None else tuple(
            WantedKeyserver(uri=item["uri"], insecure=item["insecure"], builtin=item["builtin"]) for item in keyservers),
        force=entry["force"])
