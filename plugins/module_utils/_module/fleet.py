# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The module that does everything the role needs on a node, in one run: the global file, its check, accounts' logins, the audit of users.

Each of them is a part, done by the same functions as in the module for it.
"""

from typing import Any, Dict, Mapping

from ansible.module_utils.basic import AnsibleModule

from .common import LOCATION_SPEC, ROOT_SPEC
from .endpoints import WHOLE_LIST_SPEC, converge_remotes
from .fleet_parts import Run, options_of_part
from .login_specs import AUTH_FILE_SPEC, LOGINS_SPEC


def _with_texts(spec: Mapping[str, Any]) -> Dict[str, Any]:
    """The options with paths as texts. Ansible would take "~" in a path for root's home, before there is a process of the account's."""
    texts = {name: dict(option, type="str") if option["type"] == "path" else option for name, option in spec.items()}
    return {name: dict(option, options=_with_texts(option["options"])) if "options" in option else option for name, option in texts.items()}


_ACCOUNT: Dict[str, Any] = {
    "type": "list",
    "elements": "dict",
    "default": [],
    "options": _with_texts(dict(
        {name: option for name, option in LOGINS_SPEC.items() if name != "keep_verified"},
        **AUTH_FILE_SPEC, user={"type": "str", "required": True}, config_file={"type": "path"})),
}
FLEET_SPEC: Dict[str, Any] = dict(
    LOCATION_SPEC,
    **ROOT_SPEC,
    **dict(WHOLE_LIST_SPEC, remotes=dict(WHOLE_LIST_SPEC["remotes"], required=False, default=[])),
    backup={"type": "bool", "default": False},
    check={"type": "bool", "default": False},
    inspect={"type": "bool", "default": False},
    collect={"type": "bool", "default": False},  # for the action, as the next two
    probe={"type": "bool", "default": False},
    users={"type": "list", "elements": "str", "default": []},
    logins=_ACCOUNT,
    audit_users={"type": "bool", "default": False},
    audited_users={"type": "list", "elements": "str"},
    audited_homes={"type": "list", "elements": "path", "default": []},
)


def converge_node(module: AnsibleModule) -> Dict[str, Any]:
    """Do all parts that the options of FLEET_SPEC ask for, or only look at what is there.

    Nothing is verified at servers: the role does that once for the fleet. A result with `failures` is that of a failed task; `msg` says why.
    What only some nodes need is imported where it is used: a node compiles all that it imports, on each run.
    """
    params = module.params
    if params["inspect"]:
        from .fleet_inspect import inspect_node

        return inspect_node(module)
    run = Run(module)
    if params["remotes"] or params["prune"]:
        with run.part("global"), options_of_part(module, scope="global"):
            written = converge_remotes(module, ask=None)
            run.add("global", written)
        if params["check"] and not module.check_mode and not run.result["failures"]:
            with run.part("check"):
                from .fleet_check import read_back

                read_back(module, written)
    if params["logins"] and not run.result["failures"]:  # logins to endpoints that are not there would only add noise
        from .fleet_accounts import converge_accounts

        converge_accounts(run)
    if params["audit_users"]:
        from .users import USERS_SPEC, audit

        options = {"users": params["audited_users"], "homes": params["audited_homes"], "global_config_file": None}
        with run.part("audit of users"), options_of_part(module, **options, timeout=USERS_SPEC["timeout"]["default"]):
            found = audit(module)
            run.result.update(checked=found["checked"], users=found["users"])
    if run.result["failures"]:
        run.result.update(failed=True, msg="; ".join(map(_sentence, run.result["failures"])))
    return run.result


def _sentence(failure: Mapping[str, Any]) -> str:
    about_account = failure["subject"].startswith("account ")
    return f"{failure['subject']}: {failure['msg']}" if about_account else str(failure["msg"])
