# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What people call options who come from elsewhere: other names for the same, and what to do about those that mean something else.

Sources: the flags of `apptainer remote`, `keyserver` and `registry` (`cmd/internal/cli` of Apptainer and SingularityCE), and the options of
community.docker's docker_login and of containers.podman's podman_login and podman_logout.
"""

from typing import Collection, Dict, List, Mapping

# Names with the same meaning, values included, by the name of the option.
ALIASES: Dict[str, List[str]] = {
    "auth_file": ["authfile"],
    "ca_path": ["ca_cert"],
    "token_file": ["tokenfile"],
    "uri": ["url"],
    "uri of a registry": ["registry", "registry_url", "url"],
    "validate_certs": ["tls_verify", "tlsverify"],
}

_AUTH_FILE = {"auth_file": "set auth_file instead, or nothing: by default it is Apptainer's own docker-config.json"}
_TOKEN = {"token": "set token instead; a user name and password are for keyservers and registries"}
_VERIFY_ALWAYS = {"verify": "set verify: always to have a stored login verified again"}

# What to do about a name that is no option, where one of these is: the first of them counts. What is not here, Ansible refuses with a list of all options.
_ADVICE: Dict[str, Mapping[str, str]] = {
    "all": {
        "registries": "set prune: true and registries: [] to remove all logins to registries",
        "password": "to remove all logins to registries, use apptainer_logins with prune: true and registries: []",
    },
    "certdir": {"ca_path": "set ca_path, client_cert and client_key to the files in that directory"},
    "config": {"config_file": "set config_file instead"},
    "config_path": _AUTH_FILE,
    "dockercfg_path": _AUTH_FILE,
    "email": {"password": "remove it, because no server asks for it"},
    "global": {
        "scope": "set scope: global instead, or scope: user for the user's own file",
        "builtin_uri": "remove it, because keyservers are always in the global file",
        "exclusive": "remove it from the entry, because all entries of the list go into the same file",
        "password": "remove it, because logins are always in the user's own file",
        "token": "remove it, because logins are always in the user's own file",
        "registries": "remove it, because logins are always in the user's own file",
    },
    "no_default": {"default": "remove it, because an endpoint becomes the default only with default: true"},
    "no_login": {"logout": "remove it, because a task logs in only with token or token_file"},
    "password": _TOKEN,
    "password_stdin": {"password": "set password instead; it is in no command line either"},
    "reauth": _VERIFY_ALWAYS,
    "reauthorize": _VERIFY_ALWAYS,
    "token": {"password": "set password to the token"},
    "username": _TOKEN,
}


def advice(name: str, options: Collection[str]) -> str:
    """What to do in place of the option `name`, which is not among `options`. Empty if nothing better is known than a list of all options."""
    return next((text for option, text in _ADVICE.get(name, {}).items() if option in options), "")
