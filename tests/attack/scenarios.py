# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What modules are given to do under attack: options, and the files that are there before."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from attack import trees

TOKEN, PASSWORD = "tok-s3cretS3CRET" * 3, "pa55-of-alice-s3cret"
OLD_TOKEN, OLD_PASSWORD = "tok-0ldS3CRETof" * 3, "pa55-of-alice-0ld"
SECRETS = {"alice": (TOKEN, PASSWORD, OLD_TOKEN, OLD_PASSWORD)}

USER, GLOBAL = "home/.apptainer/remote.yaml", "etc/apptainer/remote.yaml"
DOCKER = "home/.apptainer/docker-config.json"
OLD = {
    USER: f"""Active: old
Remotes:
    old:
        URI: old.example.org
        Token: {OLD_TOKEN}
        System: false
        Exclusive: false
Credentials:
    - URI: https://keys.example.org
      Auth: Bearer {OLD_TOKEN}
      Insecure: false
""",
    GLOBAL: """Active: old
Remotes:
    old:
        URI: old.example.org
        System: true
        Exclusive: false
    site:
        URI: site.example.org
        System: true
        Exclusive: false
        Keyservers:
            - URI: https://keys.example.org
              Skip: false
              External: true
              Insecure: false
""",
    DOCKER: '{"auths": {"old.example.org": {"auth": "YWxpY2U6cGE1NS1vZi1hbGljZS0wbGQ="}}, "HttpHeaders": {"X": "kept"}}\n',
}
MODES = {USER: 0o600, GLOBAL: 0o644, DOCKER: 0o600}


class Scenario(NamedTuple):
    """A module with its options, in which {base} is the directory of the case; and what is there: modes of files, links."""

    name: str
    module: str
    args: Mapping[str, Any]
    files: Mapping[str, int] = {}
    links: Mapping[str, str] = {}
    owner: int | None = None  # whose home and files it is, if not the own: for root only

    def make(self, base: Path) -> None:
        """Make the directory of a case."""
        for directory in ("home", "account", "etc", "tmp"):
            (base / directory).mkdir(parents=True)
        for name, target in self.links.items():
            (base / name).parent.mkdir(parents=True, exist_ok=True)
            (base / name).symlink_to(target)
        for name, mode in self.files.items():
            path = base / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(OLD[name])
            path.chmod(mode)
        for directory, mode in (("home", 0o700), ("account", 0o700), ("home/.apptainer", 0o700), ("etc", 0o755), ("etc/apptainer", 0o755)):
            if (base / directory).is_dir() and directory not in self.links:
                (base / directory).chmod(mode)
        if self.owner is not None:
            for directory, names, files in os.walk(base / "home"):
                for name in [".", *names, *files]:
                    os.chown(os.path.join(directory, name), self.owner, self.owner, follow_symlinks=False)
        trees.age(base)

    def given(self, base: Path) -> dict[str, Any]:
        """The options."""
        own = {"sysconfdir": str(base / "etc")}
        if self.owner is not None:
            own["config_file"] = str(base / "home/.apptainer/remote.yaml")
        return {**own, **self.args}


def _pair(name: str, module: str, args: Mapping[str, Any], *files: str) -> list[Scenario]:
    """Without any files, and with old ones that are to be kept as backups."""
    return [
        Scenario(f"{name}, new", module, args),
        Scenario(f"{name}, with backup", module, {**args, "backup": True}, {file: MODES[file] for file in files}),
    ]


_REGISTRY = {"uri": "docker://r.example.org", "username": "alice", "password": PASSWORD, "verify": "never"}
_SITE = {"name": "site", "uri": "https://library.example.org"}
_KEYS = {"uri": "https://keys.example.org", "username": "alice", "password": PASSWORD}
_REMOTES = {"scope": "global", "prune": True, "verify": "never", "remotes": [{**_SITE, "exclusive": True, "keyservers": [
    {"uri": "https://keys.example.org"}, {"uri": "https://keys.openpgp.org"}]}]}
_LOGINS = {"verify": "never", "remotes": [{"name": "old", "token": TOKEN}], "keyservers": [_KEYS], "registries": [
    {"uri": "docker://r.example.org", "username": "alice", "password": PASSWORD}]}

QUICK = [
    *_pair("a user's login", "apptainer_registry_login", _REGISTRY, USER, DOCKER),
    *_pair("the global endpoints", "apptainer_remotes", _REMOTES, GLOBAL),
]
OTHERS = [
    *_pair("a user's endpoint", "apptainer_remote", {**_SITE, "token": TOKEN, "verify": "never"}, USER),
    *_pair("the global endpoint", "apptainer_remote", {**_SITE, "scope": "global", "exclusive": True, "verify": "never"}, GLOBAL),
    *_pair("a user's endpoints", "apptainer_remotes", {"verify": "never", "remotes": [{**_SITE, "token": TOKEN}]}, USER),
    *_pair("a keyserver login", "apptainer_keyserver_login", {**_KEYS, "verify": "never"}, USER),
    _pair("a keyserver", "apptainer_keyserver", {"remote": "site", "uri": "https://keys.openpgp.org"}, GLOBAL)[1],
    _pair("all logins", "apptainer_logins", {**_LOGINS, "prune": True}, USER, DOCKER)[1],
    Scenario("all logins, without backup", "apptainer_logins", _LOGINS, {USER: 0o600, DOCKER: 0o600}),
    Scenario("a user's logout", "apptainer_registry_login", {"uri": "docker://old.example.org", "state": "absent"}, {USER: 0o600, DOCKER: 0o600}),
    Scenario("an endpoint removed", "apptainer_remote", {"scope": "global", "name": "old", "state": "absent"}, {GLOBAL: 0o644}),
    Scenario("an endpoint in state", "apptainer_remote", {"name": "old"}, {USER: 0o600}),
    Scenario("a user's mode in drift", "apptainer_remote", {"name": "old"}, {USER: 0o644}),
    Scenario("a global mode in drift", "apptainer_remote", {"scope": "global", "name": "old"}, {GLOBAL: 0o600}),
    Scenario("a directory behind a link", "apptainer_remote", {**_SITE, "token": TOKEN, "verify": "never"}, {}, {"home/.apptainer": "."}),
    Scenario("a file behind a link", "apptainer_remote", {**_SITE, "scope": "global", "verify": "never"}, {}, {GLOBAL: "real.yaml"}),
    Scenario("SingularityCE", "apptainer_remote", {**_SITE, "flavor": "singularity", "scope": "global", "verify": "never"}),
]
# Root, in the home of somebody else.
OF_ROOT = [
    Scenario("root in a user's home, new", "apptainer_registry_login", _REGISTRY, owner=65534),
    Scenario("root in a user's home, with backup", "apptainer_registry_login", {**_REGISTRY, "backup": True}, {USER: 0o600, DOCKER: 0o600},
             owner=65534),
]


def quick() -> list[Scenario]:
    """A user's and a global one, new and with backup."""
    return QUICK


def every() -> list[Scenario]:
    """Each writing module, and each way through the store."""
    return QUICK + OTHERS + (OF_ROOT if os.geteuid() == 0 else [])
