# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The check of the role's module: how Apptainer interprets the global file that was written."""

import functools
from typing import Any, Mapping

from ansible.module_utils.basic import AnsibleModule

from .._errors import ApptainerError
from .._files.locations import global_file
from .._inspection.inspect import inspect
from .._inspection.program import ask_program
from .._values.flavors import FLAVORS
from .common import root_of
from .processes import output_of

_PROGRAM_SECONDS = 10.0


def read_back(module: AnsibleModule, written: Mapping[str, Any]) -> None:
    """Read back how Apptainer interprets the global file, and ask the program if it is installed.

    Raises ApptainerError if Apptainer does not use what was written. Errors in endpoints that are not declared do not count.
    """
    params = module.params
    flavor, root = params["flavor"], root_of(params)
    program = functools.partial(ask_program, flavor, params["sysconfdir"], _PROGRAM_SECONDS, output_of)
    found = inspect(
        global_path=global_file(flavor, params["sysconfdir"], root), user_path=None, flavor=flavor, root=root,
        ask_program=program if root == "/" else None)
    effective = found["effective"]
    problems = []
    is_empty = not written["default"] and not written["remotes"]  # then Apptainer has its built-in endpoint
    if not is_empty and (effective["default"], effective["remotes"]) != (written["default"], written["remotes"]):
        exclusive = f"the exclusive endpoint is {effective['exclusive']}" if effective["exclusive"] else "no endpoint is exclusive"
        default = f"the default is {effective['default']}" if effective["default"] else "there is no default"
        problems.append(f"for users without a file of their own, {exclusive} and {default}")
    about = {None, *(entry["name"] for entry in params["remotes"])}
    problems += [item["message"] for item in found["findings"]
                 if item["severity"] == "error" and item["remote"] in about and item["id"] != "global-secret"]
    if problems:
        raise ApptainerError(f"{FLAVORS[flavor].program} does not use {written['config_file']} as it was written: {'; '.join(problems)}. For "
                             "details, run the module hpc.apptainer.apptainer_remote_info on the host")
