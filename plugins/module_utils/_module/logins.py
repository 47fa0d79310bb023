# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The modules that declare the logins of one account: tokens, keyservers and registries."""

import collections
import os
from typing import Any, Collection, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

from ansible.module_utils.basic import AnsibleModule

from .._apptainer.services import token_warnings
from .._errors import ApptainerError, quoted
from .._files.config_file import read, real_path
from .._files.locations import docker_fallback
from .._formats.docker_json import MAX_BYTES, decode, encode
from .._redaction import redacted_docker_tree, without_login
from .._rules.endpoints import unplaced_endpoints
from .._rules.logins import Files, WantedKeyserverLogin, WantedToken, converge_logins
from .._rules.registries import WantedRegistry, checked_registry_uri, only_hosts
from .._rules.stored_secrets import stored_secrets
from .._values.claims import Claim, EndpointToken, KeyserverLogin, RegistryLogin, Secret, claim_name
from .._values.docker_config import DOCKER_CONFIG, DockerConfig, canonical_host, login_hosts
from .._values.remote_config import RemoteConfig
from .._values.results import login_result
from .common import read_token
from .files import Plan, Target, Update, update_files
from .login_specs import KINDS
from .scope import System, remote_yaml
from .verifier import Ask, Verification, verify_declared

_Wanted = Union[WantedToken, WantedKeyserverLogin, WantedRegistry]


class _DockerJson:
    """What a docker-config.json holds; a content class as RemoteYaml."""

    max_bytes = MAX_BYTES
    has_data = True  # an empty file is as good as none to every version
    refusal = ""
    follows_links = True  # docker/cli reads and replaces it behind any link, also for SingularityCE

    def __init__(self, data: bytes, path: str, _flavor: str) -> None:
        self.value = decode(data, path)

    def bytes_of(self, value: DockerConfig) -> bytes:
        """The bytes to write."""
        return encode(value)

    @staticmethod
    def has_secrets(value: DockerConfig) -> bool:
        """Whether there is a login in it."""
        return bool(value.auths)

    @staticmethod
    def redacted_text(value: DockerConfig, before: Optional[DockerConfig] = None) -> str:
        """What a diff shows: no secrets, but whether they changed."""
        tree = redacted_docker_tree(value.tree, (before or value).tree)
        return encode(DockerConfig(tree, value.has_data)).decode("utf-8") + "\n"


class _Logins(NamedTuple):
    """Declared logins by kind; with the kinds to prune."""

    tokens: Sequence[WantedToken] = ()
    keyservers: Sequence[WantedKeyserverLogin] = ()
    registries: Sequence[WantedRegistry] = ()
    prune: Collection[str] = ()

    def claim_names(self) -> List[str]:
        """The names of the claims that the declared logins become."""
        return [_claim_name(item) for items in (self.tokens, self.keyservers, self.registries) for item in items]

    def keeping(self, names: Collection[str]) -> "_Logins":
        """The same, but what the claims of these names say stays as it is in the files."""
        def kept(item: Any) -> Any:
            return item._replace(keep=True) if _claim_name(item) in names else item

        return self._replace(
            tokens=[kept(item) for item in self.tokens], keyservers=[kept(item) for item in self.keyservers],
            registries=[kept(item) for item in self.registries])


class _Converged(NamedTuple):
    """What became of an account's logins: the files, the declared logins as they stand in them, and the result."""

    files: Files
    declared: Sequence[Secret]
    result: Dict[str, Any]


def converge_keyserver_login(module: AnsibleModule, ask: Ask) -> Dict[str, Any]:
    """The one login that the options of KEYSERVER_LOGIN_SPEC declare."""
    account = _Account(module, ask, _Logins(keyservers=[_wanted_keyserver_login(module.params)]))
    return _with_login(account.converge())


def converge_registry_login(module: AnsibleModule, ask: Ask) -> Dict[str, Any]:
    """The one login that the options of REGISTRY_LOGIN_SPEC and AUTH_FILE_SPEC declare."""
    logins = _Logins(registries=[_wanted_registry(module.params)])
    auth_file = module.params["auth_file"]
    account = _Account(module, ask, logins, auth_file=auth_file, uses_auth_file=True, uses_config_file=not auth_file)
    return _with_login(account.converge())


def _with_login(converged: _Converged) -> Dict[str, Any]:
    return dict(converged.result, login=next(map(login_result, converged.declared), None))


def converge_account(module: AnsibleModule, ask: Ask) -> Dict[str, Any]:
    """All logins that the options of LOGINS_SPEC and AUTH_FILE_SPEC declare."""
    params = module.params
    given = [kind for kind in KINDS if params[kind] is not None]
    logins = _Logins(
        tokens=[_wanted_token(module, entry) for entry in params["remotes"] or ()],
        keyservers=[_wanted_keyserver_login(entry) for entry in params["keyservers"] or ()],
        registries=[_wanted_registry(entry) for entry in params["registries"] or ()],
        prune=(given or KINDS) if params["prune"] else ())  # no list at all is refused
    account = _Account(module, ask, logins, auth_file=params["auth_file"], uses_auth_file=True)
    return account.converge(keep_verified=params["keep_verified"], show_all=True).result


class _Account:
    """The declared logins of one account, and what becomes of its files."""

    def __init__(self, module: AnsibleModule, ask: Ask, logins: _Logins, auth_file: Optional[str] = None, uses_auth_file: bool = False,
                 uses_config_file: bool = True) -> None:
        self.module = module
        self._ask = ask
        self._logins = logins
        self._system = System(module)
        self._config_file = remote_yaml(module.params)
        self._auth_file = os.path.abspath(auth_file or os.path.join(os.path.dirname(self._config_file), DOCKER_CONFIG))
        self._listed_in_config = not auth_file  # registries, as Apptainer does
        self._uses_auth_file = uses_auth_file
        if uses_auth_file and real_path(self._auth_file) == real_path(self._config_file):
            raise ApptainerError(f"{self._auth_file} cannot be both the remote.yaml and the file for registry logins; correct auth_file or "
                                 "config_file")
        # the secret first: without it the entry in remote.yaml would promise too much
        self._targets = [Target(self._auth_file, content=_DockerJson)] if uses_auth_file else []
        self._targets += [Target(self._config_file)] if uses_config_file else []

    def converge(self, keep_verified: bool = False, show_all: bool = False) -> _Converged:
        """Read, plan, verify and write. Raises VerificationError if a server rejects a login; with `keep_verified` the others are written first."""

        def verify(before: Sequence[Any], after: Sequence[Any], known: Mapping[Claim, Any]) -> Verification:
            unplaced = unplaced_endpoints(_files(before).remotes, _files(after).remotes, self._system.config)
            stored = _unambiguous(self._declared_secrets(before, as_stored=True))
            verification = verify_declared(self.module, self._ask, self._declared_secrets(after), stored, unplaced, known)
            if verification.failed and not keep_verified:
                raise verification.refusal({}, "Nothing was changed.")
            return verification

        update = update_files(self.module, self._targets, self._plan, verify, has_changed=self._system.has_changed)
        result = self._result(update, show_all)
        if update.verification.failed:
            raise update.verification.refusal(result, "The logins named above were not changed; all others are as declared.")
        return _Converged(_files(update.values), self._declared_secrets(update.values), dict(result, **update.verification.result))

    def _plan(self, values: Sequence[Any], failed: Sequence[Claim]) -> Plan:
        before = _files(values)
        logins = self._logins.keeping([claim_name(item) for item in failed]) if failed else self._logins
        after, warnings = converge_logins(
            before, self._system.config, tokens=logins.tokens, keyservers=logins.keyservers, registries=logins.registries, prune=logins.prune,
            system_problem=self._system.problem, with_credentials=self._listed_in_config, check_mode=self.module.check_mode,
            flavor=self.module.params["flavor"], docker_path=self._auth_file)
        warnings += token_warnings(before.remotes, after.remotes, self._system.config)
        if self._listed_in_config and not before.docker.has_data and after.docker.has_data:
            warnings += self._hidden_logins(after.docker)
        return Plan([after.docker if isinstance(value, DockerConfig) else after.remotes for value in values], warnings)

    def _result(self, update: Update, show_all: bool) -> Dict[str, Any]:
        result = dict(update.result, config_file=self._config_file)
        if self._uses_auth_file:
            result["auth_file"] = self._auth_file
        if update.backups:
            result["backup_files"] = list(update.backups)
        if show_all:
            files = _files(update.values)
            result["logins"] = [login_result(item) for item in sorted(stored_secrets(files.remotes, files.docker, self._system.config), key=claim_name)]
        return result

    def _declared_secrets(self, values: Sequence[Any], as_stored: bool = False) -> List[Secret]:
        """What the files hold of the declared logins; of a registry only its own, and not those for parts of it, which nobody declared."""
        insecure: Dict[str, bool] = {}  # what the task says of plain http is what counts, whatever the file says of the other scheme
        for item in self._logins.registries:
            if item.insecure is not None:
                insecure[_claim_name(item)] = item.insecure and insecure.get(_claim_name(item), True)
        remotes, docker = _files(values)
        docker = only_hosts(docker, [checked_registry_uri(item.uri).host for item in self._logins.registries])
        names = set(self._logins.claim_names())
        found = [item for item in stored_secrets(remotes, docker, self._system.config, as_stored) if claim_name(item) in names]
        return [item._replace(insecure=insecure.get(claim_name(item), item.insecure)) if isinstance(item, RegistryLogin) else item for item in found]

    def _hidden_logins(self, docker: DockerConfig) -> Tuple[str, ...]:
        """A warning if the new docker-config.json hides logins that Apptainer from 1.4 has found in docker's own file until now."""
        path = docker_fallback(self._config_file, self.module.params["flavor"])
        try:
            data = read(real_path(path)).data if path else None
            hidden = sorted(set(login_hosts(decode(data, path))) - set(login_hosts(docker))) if path and data else []
        except ApptainerError:
            return ()  # Apptainer can't use it either
        return (f"the logins for {', '.join(hidden)} in {path} are no longer used by Apptainer, because {self._auth_file} now exists; declare them "
                "as well if they are needed",) if hidden else ()


def _files(values: Sequence[Any]) -> Files:
    """The values of the targets, whichever there are."""
    docker, remotes = DockerConfig(), RemoteConfig()
    for value in values:
        if isinstance(value, DockerConfig):
            docker = value
        else:
            remotes = value
    return Files(remotes, docker)


def _unambiguous(found: Sequence[Secret]) -> Collection[Secret]:
    """Without those of a host that has different logins under several names: whichever of them stays, it replaces another."""
    distinct = set(found)
    times = collections.Counter(map(claim_name, distinct))
    return {item for item in distinct if times[claim_name(item)] == 1}


def _wanted_token(module: AnsibleModule, entry: Mapping[str, Any]) -> WantedToken:
    present = entry["state"] == "present"
    token = read_token(module, entry["token_file"]) if entry["token_file"] and present else entry["token"] or ""
    return WantedToken(name=entry["name"], present=present, token=token)


def _wanted_keyserver_login(entry: Mapping[str, Any]) -> WantedKeyserverLogin:
    """One entry of KEYSERVER_LOGIN_SPEC. Raises ApptainerError for an empty user name."""
    present = entry["state"] == "present"
    if entry["username"] == "" and present:
        raise ApptainerError(f"keyserver {quoted(without_login(entry['uri']))}: the username is empty; leave it out if the password is a token")
    return WantedKeyserverLogin(uri=entry["uri"], present=present, username=entry["username"] or "", password=entry["password"] or "")


def _wanted_registry(entry: Mapping[str, Any]) -> WantedRegistry:
    """One entry of REGISTRY_LOGIN_SPEC."""
    return WantedRegistry(
        uri=entry["uri"], present=entry["state"] == "present", username=entry["username"] or "", password=entry["password"] or "",
        insecure=entry["insecure"])


def _claim_name(item: _Wanted) -> str:
    """The name of the claim that a declared login becomes."""
    if isinstance(item, WantedToken):
        return claim_name(EndpointToken(name=item.name, uri="", insecure=False, token=""))
    if isinstance(item, WantedKeyserverLogin):
        return claim_name(KeyserverLogin(uri=item.uri.strip(), auth=""))
    return claim_name(RegistryLogin(host=canonical_host(checked_registry_uri(item.uri).host), username="", password=""))
