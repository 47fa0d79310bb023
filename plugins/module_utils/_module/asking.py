# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Asking servers. The network's libraries are imported here, inside functions, and so only when a server is asked."""

import sys
from typing import TYPE_CHECKING, Any, Mapping, Sequence

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from .._values.claims import Claim
from .common import checked_timeout

if TYPE_CHECKING:
    from .._network.http_options import HttpOptions


def ask_claims(module: AnsibleModule, claims: Sequence[Claim]) -> Mapping[Claim, Any]:
    """What servers say of claims: the Ask of the modules that have the option `verify`. Raises NetworkError for options that cannot be used."""
    options = http_options(module, can_skip=True)
    from .._network.parallel import verify_all

    return verify_all(claims, options)


def http_options(module: AnsibleModule, can_skip: bool = False) -> "HttpOptions":
    """The options of NETWORK_SPEC. Fails with Ansible's usual message if libraries are missing on this node.

    With `can_skip`, the module has the option `verify`, and the message says so.
    """
    from .._network import client, discovery
    from .._network.http_options import HttpOptions

    why = "to ask servers" + (" (verify: never skips this)" if can_skip else "")
    errors = {"requests": client.REQUESTS_IMPORT_ERROR, "jsonschema": discovery.JSONSCHEMA_IMPORT_ERROR}
    missing = [name for name, error in errors.items() if error]
    if missing:
        module.fail_json(
            msg=f"{missing_required_lib(' and '.join(missing), reason=why)} For example: {sys.executable} -m pip install {' '.join(missing)}",
            exception="\n".join(filter(None, errors.values())), missing_libraries=missing)
    params = module.params
    return HttpOptions(
        timeout=checked_timeout(params), validate_certs=params["validate_certs"], ca_path=params["ca_path"],
        client_cert=params["client_cert"], client_key=params["client_key"])
