# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The glue of the modules that declare the logins of one account: tokens, keyservers and registries."""

import collections
import os
from typing import Any, Dict, List, Mapping, Optional, Sequence, Set, Tuple

from ansible.module_utils.basic import AnsibleModule

from .._errors import ApptainerError, quoted
from .._files.config_file import read, real_path
from .._files.locations import DOCKER_CONFIG, docker_fallback
from .._formats.docker_json import decode, encode
from .._redaction import redacted_docker_tree, without_login
from .._rules.endpoints import unplaced_endpoints
from .._rules.logins import (
    Files,
    WantedKeyserverLogin,
    WantedRegistry,
    WantedToken,
    converge_logins,
    registry,
)
from .._rules.stored_secrets import stored_secrets
from .._values.claims import EndpointToken, KeyserverLogin, RegistryLogin, Secret, claim_name
from .._values.docker_config import DockerConfig, canonical_host, login_hosts, only_hosts
from .._values.remote_config import RemoteConfig
from .._values.results import login_result
from .common import read_token
from .endpoints import hide_passwords, read_global, remote_yaml
from .files import Plan, Target, update_files
from .verifier import Verifier

_KINDS = ("remotes", "keyservers", "registries")
_STATE: Dict[str, Any] = {"type": "str", "choices": ["present", "absent"], "default": "present"}
KEYSERVER_LOGIN_SPEC: Dict[str, Any] = {
    "uri": {"type": "str", "required": True},
    "state": _STATE,
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
}
REGISTRY_LOGIN_SPEC: Dict[str, Any] = dict(KEYSERVER_LOGIN_SPEC, insecure={"type": "bool"})
_TOKEN_SPEC: Dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "state": _STATE,
    "token": {"type": "str", "no_log": True},
    "token_file": {"type": "path", "no_log": False},
}
KEYSERVER_LOGIN_REQUIRED = [("state", "present", ("password",))]
REGISTRY_LOGIN_REQUIRED = [("state", "present", ("username", "password"))]
AUTH_FILE_SPEC: Dict[str, Any] = {"auth_file": {"type": "path"}}
LOGINS_SPEC: Dict[str, Any] = {
    "remotes": {
        "type": "list",
        "elements": "dict",
        "options": _TOKEN_SPEC,
        "mutually_exclusive": [("token", "token_file")],
        "required_if": [("state", "present", ("token", "token_file"), True)],
    },
    "keyservers": {"type": "list", "elements": "dict", "options": KEYSERVER_LOGIN_SPEC, "required_if": KEYSERVER_LOGIN_REQUIRED},
    "registries": {"type": "list", "elements": "dict", "options": REGISTRY_LOGIN_SPEC, "required_if": REGISTRY_LOGIN_REQUIRED},
    "prune": {"type": "bool", "default": False},
    "keep_verified": {"type": "bool", "default": False},
}


class _DockerJson:
    """What a docker-config.json holds; a content class as RemoteYaml."""

    has_data = True  # an empty file is as good as none to every version

    def __init__(self, data: bytes, path: str) -> None:
        self.value = decode(data, path)

    def encode_login(self, value: DockerConfig) -> bytes:
        """The bytes to write."""
        return encode(value)

    @staticmethod
    def shown(value: DockerConfig, before: Optional[DockerConfig] = None) -> str:
        """What a diff shows: no secrets, but whether they changed."""
        tree = redacted_docker_tree(value.tree, (before or value).tree)
        return f"{encode(DockerConfig(tree, value.has_data)).decode('utf-8')}\n"


def converge_one_login(module: AnsibleModule, kind: str) -> Dict[str, Any]:
    """The login that the module's own options declare; `kind` is the list in LOGINS_SPEC that it could stand in."""
    account = _Account(module, {kind: [module.params]})
    result = account.converge()
    return dict(result, login=next(map(login_result, account.stored), None))


def converge_account(module: AnsibleModule) -> Dict[str, Any]:
    """All logins that LOGINS_SPEC's options declare."""
    params = module.params
    given = [kind for kind in _KINDS if params[kind] is not None]
    account = _Account(module, {kind: params[kind] or [] for kind in _KINDS})
    return account.converge((given or _KINDS) if params["prune"] else (), params["keep_verified"])  # no list at all is refused


class _Account:
    """The declared logins of one account, and what becomes of its files."""

    def __init__(self, module: AnsibleModule, entries: Mapping[str, Sequence[Dict[str, Any]]]) -> None:
        self.module = module
        self.stored: List[Secret] = []  # the declared logins, as they now stand
        self._verifier = Verifier(module)
        self._aside: Set[str] = set()
        self._system, self._system_known = read_global(module)
        hide_passwords(module, [entry["uri"] for kind in ("keyservers", "registries") for entry in entries.get(kind, ())])
        self._tokens = [_token(module, entry) for entry in entries.get("remotes", ())]
        for entry in entries.get("keyservers", ()):
            if entry["username"] == "" and entry["state"] == "present":
                raise ApptainerError("keyserver %s: the username is empty; leave it out if the password is a token"
                                     % quoted(without_login(entry["uri"])))
        self._keyservers = [WantedKeyserverLogin(**_login(entry)) for entry in entries.get("keyservers", ())]
        self._registries = [WantedRegistry(insecure=entry["insecure"], **_login(entry)) for entry in entries.get("registries", ())]
        self._config_file = remote_yaml(module)
        auth_file = module.params.get("auth_file")
        self._auth_file = os.path.abspath(auth_file or os.path.join(os.path.dirname(self._config_file), DOCKER_CONFIG))
        self._listed_in_config = not auth_file  # registries, as Apptainer does
        if "registries" in entries and real_path(self._auth_file) == real_path(self._config_file):
            raise ApptainerError("%s cannot be both the remote.yaml and the file for registry logins; correct auth_file or config_file"
                                 % self._auth_file)
        # the secret first: without it the entry in remote.yaml would promise too much
        self._targets = [Target(self._auth_file, content=_DockerJson)] if "registries" in entries else []
        if not auth_file or set(entries) != {"registries"}:
            self._targets.append(Target(self._config_file))

    def converge(self, prune: Sequence[str] = (), keep_verified: bool = False) -> Dict[str, Any]:
        """Read, plan, verify and write."""

        def plan(values: Sequence[Any]) -> Plan:
            before = _files(values)
            tokens, keyservers, registries = self._wanted()
            after, warnings = converge_logins(
                before, tokens, keyservers, registries, self._system, prune, self._system_known, self._listed_in_config, self.module.check_mode)
            if self._listed_in_config and not before.docker.has_data and after.docker.has_data:
                warnings += self._hidden_logins(after.docker)
            return Plan([after.docker if isinstance(value, DockerConfig) else after.remotes for value in values], warnings)

        def verify_claim(before: Sequence[Any], after: Sequence[Any]) -> bool:
            names = unplaced_endpoints(_files(before).remotes, _files(after).remotes, self._system)
            self._verifier.foreseen = {claim_name(EndpointToken(name, "", False, "")) for name in names}
            failed = self._verifier.verify_claim(_unambiguous(self._declared_secrets(before, True)), self._declared_secrets(after))
            if failed and not keep_verified:
                raise self._verifier.refusal({}, "Nothing was changed.")
            self._aside.update(map(claim_name, failed))
            return bool(failed)

        update = update_files(self.module, self._targets, plan, verify_claim)
        self.stored = self._declared_secrets(update.values)
        result = dict(update.result, config_file=self._config_file, **self._verifier.result())
        if self._targets[0].content is _DockerJson:
            result["auth_file"] = self._auth_file
        if update.backups:
            result["backup_files"] = list(update.backups)
        if "keep_verified" in self.module.params:
            files = _files(update.values)
            result["logins"] = [login_result(item) for item in sorted(stored_secrets(files.remotes, files.docker, self._system), key=claim_name)]
        if self._aside:
            raise self._verifier.refusal(result, "These logins were left as they are; the others are as declared.")
        return result

    def _wanted(self) -> Sequence[Any]:
        """What is declared, with a mark at what did not pass its proof."""
        lists = (self._tokens, self._keyservers, self._registries)
        return [[item._replace(keep=True) if self._aside and _claim_name(item) in self._aside else item for item in items] for items in lists]

    def _declared_secrets(self, values: Sequence[Any], as_stored: bool = False) -> List[Secret]:
        """What the files hold of the declared logins; of a registry only its own, and not those for parts of it, which nobody declared."""
        labels = {_claim_name(item) for item in [*self._tokens, *self._keyservers, *self._registries]}
        insecure: Dict[str, bool] = {}  # what the task says of plain http is what counts, whatever the file says of the other scheme
        for item in self._registries:
            if item.insecure is not None:
                insecure[_claim_name(item)] = item.insecure and insecure.get(_claim_name(item), True)
        remotes, docker = _files(values)
        docker = only_hosts(docker, [registry(item.uri).host for item in self._registries])
        return [item._replace(insecure=insecure.get(claim_name(item), item.insecure)) if isinstance(item, RegistryLogin) else item
                for item in stored_secrets(remotes, docker, self._system, as_stored) if claim_name(item) in labels]

    def _hidden_logins(self, docker: DockerConfig) -> Tuple[str, ...]:
        """A warning if the new docker-config.json hides logins that Apptainer from 1.4 has found in docker's own file until now."""
        path = docker_fallback(self._config_file)
        try:
            data = read(real_path(path)).data
            hidden = sorted(set(login_hosts(decode(data, path))) - set(login_hosts(docker))) if data else []
        except ApptainerError:
            return ()  # Apptainer can't use it either
        return ("logins for %s in %s are not used by Apptainer any more, as %s now exists; declare them, too, if they are needed"
                % (", ".join(hidden), path, self._auth_file),) if hidden else ()


def _files(values: Sequence[Any]) -> Files:
    """The values of the targets, whichever there are."""
    docker, remotes = DockerConfig(), RemoteConfig()
    for value in values:
        if isinstance(value, DockerConfig):
            docker = value
        else:
            remotes = value
    return Files(remotes, docker)


def _unambiguous(found: Sequence[Secret]) -> List[Secret]:
    """Without those of a host that has different logins under several names: whichever of them stays, it replaces another."""
    distinct = set(found)
    times = collections.Counter(map(claim_name, distinct))
    return [item for item in distinct if times[claim_name(item)] == 1]


def _token(module: AnsibleModule, entry: Mapping[str, Any]) -> WantedToken:
    present = entry["state"] == "present"
    token = read_token(module, entry["token_file"]) if entry["token_file"] and present else entry["token"] or ""
    return WantedToken(entry["name"], present, token)


def _login(entry: Mapping[str, Any]) -> Dict[str, Any]:
    """What the options of KEYSERVER_LOGIN_SPEC mean, by the names of the fields of wanted values."""
    return {
        "uri": entry["uri"],
        "present": entry["state"] == "present",
        "username": entry["username"] or "",
        "password": entry["password"] or "",
    }


def _claim_name(item: Any) -> str:
    """The label of the secret that a declared login becomes."""
    if isinstance(item, WantedToken):
        return claim_name(EndpointToken(item.name, "", False, ""))
    if isinstance(item, WantedKeyserverLogin):
        return claim_name(KeyserverLogin(item.uri.strip(), ""))
    return claim_name(RegistryLogin(canonical_host(registry(item.uri).host), "", ""))
