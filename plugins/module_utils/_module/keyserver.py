# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The module for one keyserver of one global endpoint."""

from typing import Any, Dict, Optional, Sequence, Tuple

from ansible.module_utils.basic import AnsibleModule

from .._errors import ApptainerError, NetworkError, quoted
from .._options import ALIASES
from .._rules.keyservers import PlacedKeyserver, needs_discovery, owning_endpoint, place_keyserver, predict_new_endpoint
from .._values.claims import Claim
from .._values.remote_config import Remote, RemoteConfig
from .._values.results import remote_result
from .asking import http_options
from .common import root_of
from .endpoints import file_result
from .files import Plan, Target, update_files
from .scope import remote_yaml

PLACED_KEYSERVER_SPEC: Dict[str, Any] = {
    "remote": {"type": "str"},
    "uri": {"type": "str", "required": True, "aliases": ALIASES["uri"]},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "order": {"type": "int"},
    "insecure": {"type": "bool"},
    "builtin_uri": {"type": "str"},
}


def converge_keyserver(module: AnsibleModule) -> Dict[str, Any]:
    """Put one keyserver, options of PLACED_KEYSERVER_SPEC, into the global file.

    Raises RuleError for what cannot be declared, NetworkError if the endpoint must be asked and does not answer, and whatever update_files() raises.
    """
    params = module.params
    wanted = PlacedKeyserver(
        uri=params["uri"], present=params["state"] == "present", order=params["order"], insecure=params["insecure"],
        remote=params["remote"] or "", builtin_uri=params["builtin_uri"], flavor=params["flavor"])
    discovered: Dict[Tuple[str, bool], str] = {}

    def builtin_keyserver(config: RemoteConfig) -> Optional[str]:
        """The endpoint's built-in keyserver if it must be known: as declared, or asked of the endpoint, once."""
        remote = needs_discovery(config, wanted)
        if remote is None:
            return wanted.builtin_uri
        place = (remote.uri, remote.insecure)
        if place not in discovered:
            discovered[place] = _discover(module, owning_endpoint(config, wanted), remote)
        return discovered[place]

    def plan(values: Sequence[RemoteConfig], _failed: Sequence[Claim]) -> Plan:
        desired = predict_new_endpoint(values[0], wanted) if module.check_mode else None
        desired = desired or place_keyserver(values[0], wanted, builtin_keyserver(values[0]))
        return Plan([desired.config], desired.warnings)

    root = root_of(params)
    path = remote_yaml(params, is_global=True, root=root)
    update = update_files(module, [Target(path, is_global=True)], plan, root=root)
    config: RemoteConfig = update.values[0]
    return dict(file_result(path, update), remote=remote_result(config, wanted.remote or config.active))


def _discover(module: AnsibleModule, name: str, remote: Remote) -> str:
    """The built-in keyserver of an endpoint, asked of the endpoint.

    Raises NetworkError with the endpoint's name and the way without asking, ApptainerError if the option `verify` says not to ask.
    """
    if module.params["verify"] == "never":
        raise ApptainerError(f"endpoint {quoted(name)}: a list of keyservers begins with the endpoint's built-in one, for which verify: never does not "
                             "ask; set builtin_uri, or verify: changed")
    try:
        return _discovered_keyserver(module, remote.uri, remote.insecure)
    except NetworkError as error:
        raise NetworkError(f"endpoint {quoted(name)}: a list of keyservers begins with the endpoint's built-in one, which is not known: {error} (or "
                           "set builtin_uri, then the endpoint is not asked)") from None


def _discovered_keyserver(module: AnsibleModule, uri: str, insecure: bool) -> str:
    """The built-in keyserver of the endpoint with this stored URI, asked of the endpoint. Raises NetworkError."""
    options = http_options(module)
    from .._network.client import Client
    from .._network.discovery import builtin_keyserver

    with Client(options) as client:
        return builtin_keyserver(client, uri, insecure, module.params["flavor"])
