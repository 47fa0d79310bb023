# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The options that declare logins. Apart from what the modules do with them, so that a node for which no login is declared does not load that."""

from typing import Any, Dict

from .._options import ALIASES
from .common import NAME, SECRET

KINDS = ("remotes", "keyservers", "registries")
_STATE: Dict[str, Any] = {"type": "str", "choices": ["present", "absent"], "default": "present"}
KEYSERVER_LOGIN_SPEC: Dict[str, Any] = {
    "uri": {"type": "str", "required": True, "aliases": ALIASES["uri"]},
    "state": _STATE,
    "username": {"type": NAME},
    "password": {"type": SECRET, "no_log": True},
}
REGISTRY_LOGIN_SPEC: Dict[str, Any] = dict(
    KEYSERVER_LOGIN_SPEC, uri=dict(KEYSERVER_LOGIN_SPEC["uri"], aliases=ALIASES["uri of a registry"]), insecure={"type": "bool"})
_TOKEN_SPEC: Dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "state": _STATE,
    "token": {"type": SECRET, "no_log": True},
    "token_file": {"type": "path", "no_log": False, "aliases": ALIASES["token_file"]},
}
KEYSERVER_LOGIN_REQUIRED = [("state", "present", ("password",))]
REGISTRY_LOGIN_REQUIRED = [("state", "present", ("username", "password"))]
AUTH_FILE_SPEC: Dict[str, Any] = {"auth_file": {"type": "path", "aliases": ALIASES["auth_file"]}}
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
