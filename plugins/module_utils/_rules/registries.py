# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The declared logins to OCI registries, put onto a docker-config.json and Credentials by rules that are safe to write with.

`docker://h` and `oras://h` are two entries in Credentials, but one secret in docker-config.json. Unlike docker/cli, the library that
Apptainer from 1.3.1 on writes docker-config.json with, we keep every key that we do not know. What is not declared is left alone, unless
pruned.
"""

import re
from typing import Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from .._errors import RuleError, quoted
from .._redaction import safe_part, safe_repr, without_login
from .._values.claims import basic
from .._values.docker_config import (
    DOCKER_CONFIG,
    HUB,
    HUB_HOSTS,
    DockerConfig,
    HostKeys,
    canonical_host,
    hostname_of,
    old_logins,
    other_system,
    registry_key,
    whole_host,
    with_auths,
)
from .._values.remote_config import Credential
from .._values.uri import names_host, parse
from .credentials import REGISTRY_SCHEMES, CredentialKey, Credentials
from .uris import check_port

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[\w.-]+)(?::([0-9]{1,5}))?\Z")
_HUB_ADDRESS = re.compile(r"(?:([a-z]+)://)?((?:[a-z0-9-]+\.)*docker\.(?:io|com))(?::443)?(/[^@?#]*)?\Z", re.IGNORECASE)
_HUB_PAGES = ("docker.com", "www.docker.com", "hub.docker.com")  # no registries
_EXAMPLE = "write it like docker://registry.example.org or docker://registry.example.org:5000"
_LOGIN_KEYS = ("auth", "username", "password", "serveraddress", "identitytoken", "registrytoken")


class Registry(NamedTuple):
    """The address of an OCI registry: `scheme` is docker or oras, `host` has the port if there is one."""

    scheme: str
    host: str

    @property
    def uri(self) -> str:
        """As Apptainer stores it."""
        return f"{self.scheme}://{self.host}"


class WantedRegistry(NamedTuple):
    """A declared login to a registry. `insecure` of None: as it is, else false. `keep`: leave it as it is, but do not prune it."""

    uri: str
    present: bool = True
    username: str = ""
    password: str = ""
    insecure: Optional[bool] = None
    keep: bool = False

    def __repr__(self) -> str:
        return safe_repr(self)


def checked_registry_uri(uri: str) -> Registry:
    """A declared registry URI: `docker://` or `oras://`, then a host with or without port, as it is written, and no path.

    The case of a host means nothing to servers, but Apptainer stores a login, and looks for it, under the spelling that it is given (runs of
    1.4.5 and 1.5.3). Trailing slashes are dropped, which Apptainer refuses (recorded run reg-slash), as it does a path (reg-path) or no
    scheme (reg-noscheme). Raises RuleError, which never quotes what may be a password.
    """
    text = uri.strip()
    scheme = _SCHEME.match(text)
    if _is_hub_address(text):
        raise RuleError(f"uri is an address of Docker Hub, but Apptainer knows its registry as docker://{HUB}; write that")
    if not scheme:
        raise RuleError(f"uri has no scheme; {_example(text)}")
    if scheme.group(1).lower() not in REGISTRY_SCHEMES:
        raise RuleError(f"uri has the scheme {scheme.group(1)}, but a registry needs docker or oras; {_example(text[scheme.end():])}")
    rest = text[scheme.end():]
    if "@" in rest:
        raise RuleError("uri has a user name or password; use the options username and password instead")
    if "?" in rest or "#" in rest:
        raise RuleError(f"uri has a query or fragment, which Apptainer cannot store; {_EXAMPLE}")
    host = rest.rstrip("/")
    if "/" in host:
        raise RuleError(f"uri has a path, but a login is for a whole registry, and Apptainer from 1.3 on refuses a path; {_EXAMPLE}")
    match = _HOST.match(host)
    if not match or not names_host(parse(f"//{host}")):
        raise RuleError(f"uri has no valid host name; {_EXAMPLE}")
    if match.group(1):
        check_port(match.group(1))
    return Registry(scheme.group(1).lower(), host)


def _example(host: str) -> str:
    """How to write the URI of this host, if it is certainly one, and not a user name and password."""
    host = host.rstrip("/")
    return f"write docker://{host}" if "." in host.partition(":")[0] and _HOST.match(host) else _EXAMPLE


def _is_hub_address(text: str) -> bool:
    """Whether a declared URI is how docker and people call Docker Hub, but not how Apptainer names the registry."""
    match = _HUB_ADDRESS.match(text)
    if not match:
        return False
    scheme, host, path = (part or "" for part in match.groups())
    return host.lower() in (*HUB_HOSTS, *_HUB_PAGES) and (scheme.lower() not in REGISTRY_SCHEMES or host.lower() in _HUB_PAGES or bool(path.strip("/")))


def encode_login(username: str, password: str) -> str:
    """The Base64 of a user name and password that are to be stored, as HTTP and docker-config.json want it.

    Raises RuleError for what they cannot carry: in the recorded run reg-colon-username Apptainer stores another login than was meant.
    Line breaks are legal in it (reg-multiline-pw).
    """
    if not username:
        raise RuleError("the username is empty; set one")
    if ":" in username:
        raise RuleError("the username has a colon, at which servers split it: the rest would become part of the password; use one without a colon")
    if not password:
        raise RuleError("the password is empty; set one, or remove the login with state: absent")
    if password.strip("\0") != password:
        raise RuleError("the password begins or ends with a NUL character, which Apptainer drops; use one without it")
    try:
        return basic(username, password).partition(" ")[2]
    except UnicodeEncodeError:
        raise RuleError("the username or password has a lone surrogate, half of a character, which cannot be sent; correct it") from None


def set_logins(config: DockerConfig, logins: Mapping[str, Optional[Tuple[str, str]]], path: str = DOCKER_CONFIG) -> DockerConfig:
    """For each host exactly one login, with this user name and password, or none. Linear in the number of logins.

    A login is stored under the key that every version reads. All other keys of its host, with old secrets, are removed (Apptainer leaves
    that of Docker Hub: recorded runs reg-logout-hub-*); a host in another case is another host. With the login to Docker Hub goes what
    docker's clients keep beside it. Fields that we do not know stay in the entry; an identity token is removed, because docker/cli would use
    it in place of the password. `path` is that of the file, for messages. Raises RuleError for a login to a host that a credential helper
    manages: Apptainer would not look for it here.
    """
    keys = HostKeys(config)
    auths = dict(config.auths)
    for host, login in logins.items():
        new_key = registry_key(host)
        unknown_fields = {name: value for name, value in (auths.get(new_key) or {}).items() if name not in _LOGIN_KEYS}
        for key in keys.whole.get(canonical_host(host), ()):
            auths.pop(key, None)
        for key in keys.hub_clients if login is None and canonical_host(host) == HUB else ():
            auths.pop(key, None)
        helper = keys.helper(host)
        if login is not None and helper and other_system(helper):
            raise RuleError(_helper_of_another_system(keys, host, helper, path), f"registry {host}")
        if login is not None and helper:
            raise RuleError(f"the credential helper {quoted(helper)} manages its logins (credHelpers or credsStore), so a login stored in this file "
                            f"would not be used; log in with docker login {host}, or use another auth_file", f"registry {host}")
        if login is not None:
            auths[new_key] = {"auth": encode_login(*login), **unknown_fields}
    return with_auths(config, auths)


def _helper_of_another_system(keys: HostKeys, host: str, helper: str, path: str) -> str:
    return (f"the credential helper {quoted(helper)} manages its logins, but it is for {other_system(helper)}, so Apptainer finds no login on this "
            f"node; {keys.remove_helper(host, path)}")


def only_hosts(config: DockerConfig, hosts: Iterable[str]) -> DockerConfig:
    """Only the logins for these whole hosts, without any other or namespaced key."""
    listed = {canonical_host(host) for host in hosts}
    return with_auths(config, {key: entry for key, entry in config.auths.items() if whole_host(key) in listed})


class DesiredRegistries(NamedTuple):
    """The docker-config.json to write, the keys in Credentials of what is declared, and what the user should hear about it."""

    docker: DockerConfig
    listed: Set[CredentialKey]
    warnings: Tuple[str, ...]


def converge_registries(
    docker: DockerConfig, credentials: Credentials, wanted: Sequence[WantedRegistry], prune: bool, with_credentials: bool,
    path: str = DOCKER_CONFIG
) -> DesiredRegistries:
    """Put the declared logins onto `docker`, and onto `credentials`, which is changed, if `with_credentials`.

    `prune` removes what is not listed from `docker`; `path` is where that is, for messages. Raises RuleError about the registry.
    """
    listed: Dict[Registry, WantedRegistry] = {}
    by_host: Dict[str, WantedRegistry] = {}
    for item in wanted:
        try:
            _add(item, listed, by_host)
        except RuleError as error:
            raise error.about(f"registry {quoted(safe_part(item.uri))}") from None
    kept = {canonical_host(registry.host) for registry, item in listed.items() if item.keep}
    changed = {host: item for host, item in by_host.items() if host not in kept}
    absent = [host for host, item in changed.items() if not item.present]
    warnings = _managed_elsewhere(docker, absent, path)
    docker = set_logins(docker, {host: (item.username, item.password) if item.present else None for host, item in changed.items()}, path)
    warnings += _other_spellings(docker, by_host, prune)
    if prune:
        docker = only_hosts(docker, by_host)
    warnings += _left_for_parts(docker, absent) + _left_at_top_level(docker, absent, path)
    if with_credentials:
        for registry, item in listed.items():
            if canonical_host(registry.host) not in kept:
                _set_credential(credentials, registry, item)
    return DesiredRegistries(docker, set(listed), tuple(warnings))


def _add(item: WantedRegistry, listed: Dict[Registry, WantedRegistry], by_host: Dict[str, WantedRegistry]) -> None:
    registry = checked_registry_uri(item.uri)
    if item.present and not item.keep:
        encode_login(item.username, item.password)
    if registry in listed:
        raise RuleError("it is listed twice; merge the two entries")
    listed[registry] = item
    other = by_host.setdefault(canonical_host(registry.host), item)
    if (other.present, other.username, other.password) != (item.present, item.username, item.password):
        raise RuleError(f"it shares one login with {checked_registry_uri(other.uri).uri}, but the two are declared differently; "
                        "give both the same state, username and password")


def _other_spellings(docker: DockerConfig, by_host: Mapping[str, WantedRegistry], prune: bool) -> List[str]:
    """A warning for each declared host that Apptainer does not take for the one that was probably meant, or of which there is another.

    Source: docker/cli (`file_store.go`) compares keys with case, and the host in the name of an image keeps its case.
    """
    keys = HostKeys(docker)
    warnings = []
    for host, item in by_host.items():
        usual = canonical_host(host.lower())
        others = keys.other_spellings(host)
        if item.present and host != usual and usual not in others and not (usual in by_host and by_host[usual].present):
            warnings.append(f"registry {host}: Apptainer finds this login only for images that are named with {host}, and not in a pull of "
                            f"{usual}/...; declare {usual} in place of it, or as well")
        undeclared = [other for other in others if other not in by_host]
        if undeclared:
            names = ", ".join(undeclared)
            what = ("is not listed, so prune removes it; list it if it is needed" if prune else
                    "stays; if it is not needed, remove it with that spelling in uri and state: absent")
            warnings.append(f"registry {host}: the login under the spelling {names}, which to Apptainer is another registry, {what}")
    return warnings


def _managed_elsewhere(docker: DockerConfig, absent: Sequence[str], path: str) -> List[str]:
    """A warning for each host without login that a credential helper may still have one for."""
    keys = HostKeys(docker)
    warnings = []
    for host in absent:
        helper = keys.helper(host)
        if helper and other_system(helper):
            warnings.append(f"registry {host}: {_helper_of_another_system(keys, host, helper, path)}")
        elif helper:
            warnings.append(f"registry {host}: the credential helper {quoted(helper)} manages its logins, so one may still be stored there; "
                            f"remove it with docker logout {host}")
    return warnings


def _left_at_top_level(docker: DockerConfig, absent: Sequence[str], path: str) -> List[str]:
    """A warning for each host without login of which the file holds one in the old form, which Apptainer does not see."""
    by_host: Dict[str, List[str]] = {}
    for key in old_logins(docker):
        by_host.setdefault(whole_host(key) or canonical_host(hostname_of(key)), []).append(key)
    return [f"registry {host}: a login in the old form of .dockercfg stays at the top level of {path}; Apptainer does not see it, but its secret is "
            f"there; remove {', '.join(quoted(without_login(key)) for key in by_host[host])} from the file" for host in absent if host in by_host]


def _left_for_parts(docker: DockerConfig, absent: Sequence[str]) -> List[str]:
    """A warning for each host without login of which namespaced logins are left."""
    namespaced = HostKeys(docker).namespaced
    warnings = []
    for host in absent:
        if host in namespaced:
            keys = ", ".join(quoted(without_login(key)) for key in sorted(namespaced[host]))
            warnings.append(f"registry {host}: logins for parts of it remain ({keys}), and Apptainer from 1.4 on uses any of them for the whole "
                            "registry; remove them with apptainer_logins and prune: true, which also removes all other logins that are not listed")
    return warnings


def _set_credential(credentials: Credentials, registry: Registry, item: WantedRegistry) -> None:
    """What `apptainer registry list` shows of it."""
    if item.present:
        stored = credentials.matching(registry)
        insecure = bool(stored) and all(entry.insecure for entry in stored) if item.insecure is None else item.insecure
        credentials.replace(registry, Credential(registry.uri, insecure=insecure))
        return
    for host in HUB_HOSTS if canonical_host(registry.host) == HUB else (registry.host,):
        for scheme in REGISTRY_SCHEMES:
            credentials.remove((scheme, host))
