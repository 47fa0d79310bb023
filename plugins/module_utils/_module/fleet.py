# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The module that does everything the role needs on a node, in one run: the global file, its check, accounts' logins, the audit of users.

Each of them is a part, done by the same functions as in the module for it. A part that fails does not hide what the others found.
"""

import contextlib
import functools
import os
from typing import Any, Callable, Dict, Iterator, List, Mapping

from ansible.module_utils.basic import AnsibleModule

from .._errors import ApptainerError, UnreadableError, quoted
from .._files.locations import global_file
from .._inspection.inspect import inspect
from .._inspection.program import ask_program
from .._inspection.users import Account, accounts, limits
from .._values.flavors import FLAVORS, in_words_of
from .common import FILE_SPEC, LOCATION_SPEC, ROOT_SPEC, root_of
from .endpoints import WHOLE_LIST_SPEC, converge_remotes
from .logins import AUTH_FILE_SPEC, LOGINS_SPEC, converge_account
from .processes import output_of, replies
from .users import audit, become


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

_ACCOUNT_SECONDS = 300  # for the files of one account, which may be on a slow file server
_AUDIT_SECONDS = 10.0  # for the files of one user, as the default of apptainer_users_info
_PROGRAM_SECONDS = 10.0
_PATHS = ("config_file", "auth_file", "token_file")
_FOR_ONE_PART = ("changed", "config_file", "auth_file", "default", "unreadable", "backup_file", "backup_files")


class _Run:
    """What the parts have done so far; `result` is the module's result."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.result: Dict[str, Any] = {"changed": False, "parts": [], "failures": []}

    def add(self, subject: str, result: Mapping[str, Any]) -> None:
        """A part that succeeded."""
        self.result["parts"].append(dict({name: result[name] for name in _FOR_ONE_PART if name in result}, subject=subject))
        self.result["changed"] = self.result["changed"] or result["changed"]
        if "diff" in result:  # what is the same would only cost the controller's memory, for each host
            differing = [dict(item, subject=subject) for item in result["diff"] if item["before"] != item["after"]]
            self.result.setdefault("diff", []).extend(differing)

    @contextlib.contextmanager
    def part(self, subject: str) -> Iterator[None]:
        """An error in this block is one of the part."""
        try:
            yield
        except ApptainerError as error:
            message = in_words_of(self.module.params["flavor"], str(error))
            problem = in_words_of(self.module.params["flavor"], str(error.__cause__)) if isinstance(error, UnreadableError) else ""
            self.result["failures"].append({"subject": subject, "msg": message, "unreadable": problem})


def converge_node(module: AnsibleModule) -> Dict[str, Any]:
    """Do all parts that the options of FLEET_SPEC ask for.

    Nothing is verified at servers: the role does that once for the fleet. A result with `failures` is that of a failed task; `msg` says why.
    """
    params = module.params
    run = _Run(module)
    if params["remotes"] or params["prune"]:
        with run.part("global"), _options(module, scope="global"):
            written = converge_remotes(module, ask=None)
            run.add("global", written)
        if params["check"] and not module.check_mode and not run.result["failures"]:
            with run.part("check"):
                _check(module, written)
    if not run.result["failures"]:  # logins to endpoints that are not there would only add noise
        _converge_accounts(run)
    if params["audit_users"]:
        with run.part("audit of users"), _options(module, users=params["audited_users"], homes=params["audited_homes"], global_config_file=None,
                                                  timeout=_AUDIT_SECONDS):
            found = audit(module)
            run.result.update(checked=found["checked"], users=found["users"])
    if run.result["failures"]:
        run.result.update(failed=True, msg="; ".join(map(_sentence, run.result["failures"])))
    return run.result


def _sentence(failure: Mapping[str, Any]) -> str:
    about_account = failure["subject"].startswith("account ")
    return f"{failure['subject']}: {failure['msg']}" if about_account else str(failure["msg"])


@contextlib.contextmanager
def _options(module: AnsibleModule, **options: Any) -> Iterator[None]:
    """The module's options as those of the module for a part: what the role does not offer has its default, and nothing is verified."""
    mine = module.params
    module.params = dict({name: option.get("default") for name, option in FILE_SPEC.items()}, **mine)
    module.params.update(options, verify="never")
    try:
        yield
    finally:
        module.params = mine


def _check(module: AnsibleModule, written: Mapping[str, Any]) -> None:
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


def _converge_accounts(run: _Run) -> None:
    """Each account's logins, by a process that has become the account: so it works in homes on NFS, and root follows nobody's links."""
    entries = run.module.params["logins"]
    found = {entry["user"]: account_of(entry["user"]) for entry in entries}
    known = [entry for entry in entries if found[entry["user"]]]
    questions: List[Callable[[], Any]] = [functools.partial(_account_result, run.module, found[entry["user"]], entry) for entry in known]
    answers = dict(zip((entry["user"] for entry in known), replies(questions, _ACCOUNT_SECONDS)))
    for entry in entries:
        with run.part(f"account {entry['user']}"):
            if entry["user"] not in answers:
                raise ApptainerError(f"there is no account {quoted(entry['user'])} on this host. Create it, or correct user; a host that should not "
                                     "have its logins needs another user_host or a group of its own")
            answer = answers[entry["user"]]
            if isinstance(answer, ApptainerError):
                raise answer
            for warning in answer["warnings"]:
                run.module.warn(f"account {entry['user']}: {warning}")
            run.add(f"account {entry['user']}", answer["result"])


def account_of(name: str) -> Any:
    """The Account of this name, or None."""
    return next(iter(accounts([name], (), limits(""))[0]), None)


def _account_result(module: AnsibleModule, account: Account, entry: Mapping[str, Any]) -> Dict[str, Any]:
    """The result for one account. In a process of its own, which is the account's afterwards."""
    become(account)
    os.environ["HOME"] = account.home
    warnings: List[str] = []
    module.warn = warnings.append
    with _options(module, keep_verified=False, **with_paths(entry)):
        result = converge_account(module, ask=None)
    return {"result": result, "warnings": warnings}


def with_paths(entry: Mapping[str, Any]) -> Dict[str, Any]:
    """The entry with its paths as the account means them."""
    found = {name: os.path.expanduser(os.path.expandvars(value)) if name in _PATHS and value else value for name, value in entry.items()}
    tokens = entry.get("remotes")
    return dict(found, remotes=[with_paths(token) for token in tokens]) if tokens else found
