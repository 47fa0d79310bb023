# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The glue of the module for one keyserver of one global endpoint."""

from typing import Any, Dict, Optional, Sequence, Tuple

from ansible.module_utils.basic import AnsibleModule

from .._errors import NetworkError, quoted
from .._rules.keyservers import PlacedKeyserver, needs_discovery, owning_endpoint, place_keyserver, predict_new_endpoint
from .._values.remote_config import Remote, RemoteConfig
from .._values.results import remote_result
from .endpoints import file_result, hide_passwords, remote_yaml
from .files import Plan, Target, update_files
from .verifier import discovered_keyserver

KEYSERVER_PLACE_SPEC: Dict[str, Any] = {
    "remote": {"type": "str"},
    "uri": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "order": {"type": "int"},
    "insecure": {"type": "bool"},
    "builtin_uri": {"type": "str"},
}


def converge_keyserver(module: AnsibleModule) -> Dict[str, Any]:
    """Put one keyserver, options of KEYSERVER_PLACE_SPEC, into the global file."""
    params = module.params
    hide_passwords(module, [params["uri"], params["builtin_uri"]])
    wanted = PlacedKeyserver(
        params["uri"], params["state"] == "present", params["order"], params["insecure"], params["remote"] or "", params["builtin_uri"])
    discovered: Dict[Tuple[str, bool], str] = {}

    def plan(values: Sequence[RemoteConfig]) -> Plan:
        outcome = predict_new_endpoint(values[0], wanted) if module.check_mode else None
        if outcome is not None:
            return Plan([outcome.config], outcome.warnings)
        builtin: Optional[str] = params["builtin_uri"]
        remote = needs_discovery(values[0], wanted)
        if remote is not None:
            place = (remote.uri, remote.insecure)
            if place not in discovered:
                discovered[place] = _asked(module, owning_endpoint(values[0], wanted), remote)
            builtin = discovered[place]
        outcome = place_keyserver(values[0], wanted, builtin)
        return Plan([outcome.config], outcome.warnings)

    path = remote_yaml(module, is_global=True)
    update = update_files(module, [Target(path, is_global=True)], plan)
    config: RemoteConfig = update.values[0]
    return dict(file_result(path, update), remote=remote_result(config, wanted.remote or config.active))


def _asked(module: AnsibleModule, name: str, remote: Remote) -> str:
    """The own keyserver of an endpoint, asked of the endpoint. Raises NetworkError with the endpoint's name and the way without asking."""
    try:
        return discovered_keyserver(module, remote.uri, remote.insecure)
    except NetworkError as error:
        raise NetworkError("endpoint %s: to begin its list of keyservers its own one must be known, but %s (or give it as builtin_uri: then "
                           "nothing is asked)" % (quoted(name), error)) from None
