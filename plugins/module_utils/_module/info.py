# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The module that shows what is there."""

import functools
from typing import Any, Dict, Optional, Sequence

from ansible.module_utils.basic import AnsibleModule

from .._errors import ApptainerError
from .._files.locations import global_file, user_file
from .._inspection.inspect import AskProgram, AskServers, inspect
from .._inspection.program import ask_program
from .._options import ALIASES
from .asking import http_options
from .common import ROOT_SPEC, checked_timeout, root_of
from .processes import output_of

INFO_SPEC: Dict[str, Any] = dict(
    ROOT_SPEC,
    name={"type": "list", "elements": "str", "default": []},
    scope={"type": "str", "choices": ["user", "global"], "default": "user"},
    config_file={"type": "path"},
    global_config_file={"type": "path"},
    auth_file={"type": "path", "aliases": ALIASES["auth_file"]},
    check={"type": "list", "elements": "str", "choices": ["services", "tokens", "keyservers", "registries"], "default": []},
    program={"type": "bool", "default": False},
    include={"type": "list", "elements": "str", "choices": ["files", "declared"], "default": []},
)
_WHERE = ("flavor", "sysconfdir", "root")  # options of apptainer_remotes that say which file it is about


def inspect_files(module: AnsibleModule) -> Dict[str, Any]:
    """Show what the options of INFO_SPEC name. Raises ApptainerError for options that contradict each other or cannot be used."""
    params = module.params
    flavor = params["flavor"]
    is_global = params["scope"] == "global"
    if is_global and (params["config_file"] or params["auth_file"]):
        raise ApptainerError("config_file and auth_file are a user's files, and scope: global shows no user's files; remove them, or scope")
    root = root_of(params, needs_home=not is_global and not params["config_file"])
    program: Optional[AskProgram] = None
    if params["program"] and root == "/":
        program = functools.partial(ask_program, flavor, params["sysconfdir"], checked_timeout(params), output_of)
    found = inspect(
        global_path=params["global_config_file"] or global_file(flavor, params["sysconfdir"], root),
        user_path=None if is_global else params["config_file"] or user_file(flavor),
        flavor=flavor,
        auth_path=params["auth_file"],
        ask_servers=_server_questions(module, params["check"]) if params["check"] else None,
        root=root,
        ask_program=program,
        include=params["include"],
        names=params["name"])
    if found.get("declared"):
        path = params["global_config_file"] if is_global else params["config_file"]
        found["declared"]["prune"] = found["declared"]["prune"] and bool(found["declared"]["remotes"])  # which apptainer_remotes insists on
        found["declared"].update({name: params[name] for name in _WHERE if params[name]}, **({"config_file": path} if path else {}))
    return found


def _server_questions(module: AnsibleModule, topics: Sequence[str]) -> AskServers:
    """What is asked of servers."""
    options = http_options(module)
    from .._inspection.servers import ask_servers

    return lambda config, stored: ask_servers(topics, config, stored, options, module.params["flavor"])
