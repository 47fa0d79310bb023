# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What all modules share between AnsibleModule and the layers below. Only this folder knows Ansible.

Options become wanted values, files are read, a rule is applied, what is new is verified, the files are written unless in check mode, and
one shape of result leaves. The documentation of the options here is in `plugins/doc_fragments`.
"""

import re
from typing import Any, Callable, Dict, Iterator, Mapping, MutableMapping, NamedTuple

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.common.parameters import remove_values
from ansible.module_utils.common.respawn import has_respawned, probe_interpreters_for_module, respawn_module

from .._errors import ApptainerError, VerificationError, quoted
from .._files.config_file import read, real_path
from .._files.locations import checked_root
from .._formats.yaml_nodes import HAS_YAML, YAML_IMPORT_ERROR
from .._options import ALIASES, advice
from .._redaction import option_secrets, safe_part
from .._values.flavors import FLAVORS, in_words_of


class _NotText(str):
    """Stands in place of a value that is not text; says what that was."""


class _Text(str):
    """The type of an option that must be text: Ansible's own `str` takes anything, and makes its repr() of it.

    A templated JSON text is a mapping in ansible-core 2.16, and an unquoted 0123456 is 42798. `raw` would hand such a value on into the
    system's log, where the keys of a mapping are no secrets to Ansible; so this type replaces it, and _check_texts() refuses it. To Ansible
    it is a function; to ansible-test, which compares it with the documentation, the word `str`.
    """

    def __call__(self, value: Any) -> str:
        if isinstance(value, bytes):
            return value.decode("utf-8", "surrogateescape")
        if isinstance(value, str):
            return value
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if number and self is NAME:
            return str(value)
        return _NotText("a boolean" if isinstance(value, bool) else "a number" if number else "a mapping" if isinstance(value, Mapping) else "a list")


SECRET = _Text("str")
NAME = _Text("str")  # a number is as good as text

LOCATION_SPEC: Dict[str, Any] = {
    "flavor": {"type": "str", "choices": list(FLAVORS), "default": "apptainer"},
    "sysconfdir": {"type": "path"},
}
ROOT_SPEC: Dict[str, Any] = {"root": {"type": "path"}}
FILE_SPEC: Dict[str, Any] = dict(
    LOCATION_SPEC,
    config_file={"type": "path"},
    backup={"type": "bool", "default": False},
    owner={"type": "str"},
    group={"type": "str"},
    mode={"type": "raw"},
    seuser={"type": "str"},
    serole={"type": "str"},
    setype={"type": "str"},
    selevel={"type": "str"},
)
NETWORK_SPEC: Dict[str, Any] = {
    "timeout": {"type": "float", "default": 10.0},
    "validate_certs": {"type": "bool", "default": True, "aliases": ALIASES["validate_certs"]},
    "ca_path": {"type": "path", "aliases": ALIASES["ca_path"]},
    "client_cert": {"type": "path"},
    "client_key": {"type": "path", "no_log": False},
}
# The modules of the action group have these, so that each can be a default of the group.
VERIFY_SPEC: Dict[str, Any] = dict(
    NETWORK_SPEC,
    verify={"type": "str", "choices": ["changed", "always", "never"], "default": "changed"},
)

_PYTHONS_WITH_YAML = ("/usr/libexec/platform-python", "/usr/bin/python3", "/usr/bin/python")
_LONGEST_TIMEOUT = 3600  # seconds
_SENTENCES = ("error", "message", "reason")  # keys of results
_MOST_DIGITS = 19  # of a number of 64 bits
_SURROGATE = re.compile("[\ud800-\udfff]")


class Module(AnsibleModule):  # type: ignore[misc]  # ansible has no types
    """AnsibleModule, but secrets are hidden before anything can fail or be logged, and what Ansible cannot log is refused.

    Ansible hides the values of options with `no_log` where it finds them: not in a list in a list, not under a misspelt name, not in a URI.
    ansible-core 2.16 to 2.21 have these methods. If another version did not call them, tests/integration/test_secrets.py would show it.
    """

    params: Dict[str, Any]

    def _load_params(self) -> None:
        super()._load_params()
        given = {name: value for name, value in self.params.items() if not name.startswith("_ansible_")}
        self.no_log_values.update(secret for secret in option_secrets(given) if secret)

    def _set_internal_properties(self, *arguments: Any, **more: Any) -> None:
        super()._set_internal_properties(*arguments, **more)
        foreign = list(_foreign(self.argument_spec, self.params))
        if foreign:
            self.fail_json(msg=". ".join(foreign))

    def warn(self, warning: str, **more: Any) -> None:
        """Warn without the secrets that a name or address may be by a slip: Ansible hides them in results only."""
        super().warn(remove_values(warning, self.no_log_values), **more)

    def _log_invocation(self) -> None:
        for name, value in self.params.items():
            if isinstance(value, str) and _SURROGATE.search(value):
                self.fail_json(msg=f"{name} has a lone surrogate, half of a character, which cannot be written to a file or log; correct the value")
            if isinstance(value, int) and abs(value) >= 10 ** _MOST_DIGITS:
                self.params[name] = None
                self.fail_json(msg=f"{name} is a number of more than {_MOST_DIGITS} digits; correct it")
        params, self.params = self.params, remove_values(self.params, self.no_log_values)  # before Ansible makes guesses that cut secrets in two
        try:
            super()._log_invocation()
        finally:
            self.params = params


def _foreign(spec: Mapping[str, Any], values: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """A sentence for each option, as given, that is none of ours, but known from elsewhere; also in lists."""
    for name, value in values.items():
        if name not in spec:
            text = advice(str(name), spec)
            if text:
                yield f"{above}{name} is not an option here; {text}"
        elif "options" in spec[name]:
            for number, item in enumerate(value if isinstance(value, list) else [value]):
                if isinstance(item, Mapping):
                    yield from _foreign(spec[name]["options"], item, f"{above}{name}[{number}]." if isinstance(value, list) else f"{above}{name}.")


def run(module: AnsibleModule, work: Callable[[AnsibleModule], Dict[str, Any]]) -> None:
    """Do the module's work and exit with its result, or fail with one sentence that says why not."""
    _require_yaml(module)
    flavor = _flavor(module)
    try:
        _check_texts(module)
        result = work(module)
    except VerificationError as error:
        module.fail_json(msg=in_words_of(flavor, str(error)), **_in_words_of(flavor, error.result))
    except ApptainerError as error:
        module.fail_json(msg=in_words_of(flavor, str(error)))
    module.exit_json(**_in_words_of(flavor, result))


def warn(module: AnsibleModule, message: str) -> None:
    """Warn in the words of the program that the option `flavor` names."""
    module.warn(in_words_of(_flavor(module), message))


def _flavor(module: AnsibleModule) -> str:
    return str(module.params.get("flavor") or "apptainer")


def _in_words_of(flavor: str, value: Any) -> Any:
    """A result, its sentences in the words of the program. All else in it is data."""
    if not FLAVORS[flavor].words:
        return value
    if isinstance(value, dict):
        return {key: in_words_of(flavor, item) if key in _SENTENCES and isinstance(item, str) else _in_words_of(flavor, item)
                for key, item in value.items()}
    return [_in_words_of(flavor, item) for item in value] if isinstance(value, (list, tuple)) else value


class _Given(NamedTuple):
    """An option that is given: `values[name]`, its specification, and where it is, for messages."""

    values: MutableMapping[str, Any]
    name: str
    option: Mapping[str, Any]
    above: str

    @property
    def value(self) -> Any:
        return self.values[self.name]

    @property
    def place(self) -> str:
        uri, name = self.values.get("uri"), self.values.get("name")
        subject = safe_part(uri) if uri else quoted(name) if name else ""
        return f"{self.above}{self.name}" + (f" (of {subject})" if subject else "")


def _check_texts(module: AnsibleModule) -> None:
    """Raises ApptainerError for a secret or user name that is not text, and warns of one with characters that are hardly meant."""
    wrong = []
    for item in _given(module.argument_spec, module.params):
        if isinstance(item.value, _NotText):
            wrong.append(f"{item.place} is {item.value}")
            item.values[item.name] = "(not text)"
        elif isinstance(item.option.get("type"), _Text):
            if item.value.endswith(("\n", "\r")):
                module.warn(f"{item.place} ends with a line break, which is part of it; if it is not meant to be, remove it with the filter trim")
            if re.search(r"[\x00-\x1f\x7f-\x9f]", item.value.rstrip("\r\n")):
                module.warn(f"{item.place} holds a control character, such as a tab or a line break, which is part of it; check where it comes from")
    if wrong:
        raise ApptainerError(f"{' and '.join(wrong)}, but must be text, or something else would be stored; quote it, or use | string in its template")


def _given(spec: Mapping[str, Any], values: MutableMapping[str, Any], above: str = "") -> Iterator[_Given]:
    """All options that are given, also in lists."""
    for name, option in spec.items():
        value = values.get(name)
        if value is None:
            continue
        yield _Given(values, name, option, above)
        if "options" in option:
            single = isinstance(value, Mapping)
            for number, item in enumerate([value] if single else value):
                yield from _given(option["options"], item, f"{above}{name}." if single else f"{above}{name}[{number}].")


def _require_yaml(module: AnsibleModule) -> None:
    if HAS_YAML:
        return
    interpreter = None if has_respawned() else probe_interpreters_for_module(_PYTHONS_WITH_YAML, "yaml")
    if interpreter:
        respawn_module(interpreter)
    module.fail_json(msg=missing_required_lib("PyYAML"), exception=YAML_IMPORT_ERROR)


def checked_timeout(params: Dict[str, Any]) -> float:
    """The option `timeout`, in seconds. Raises ApptainerError if nothing could be done in it, or if it is longer than anyone waits."""
    timeout: float = params["timeout"]
    if not 0 < timeout <= _LONGEST_TIMEOUT:
        raise ApptainerError(f"timeout is {timeout:g}, but must be more than 0 and at most {_LONGEST_TIMEOUT} seconds")
    return timeout


def root_of(params: Dict[str, Any], needs_home: bool = False) -> str:
    """The root of the file tree to work on, from the option of ROOT_SPEC. With `needs_home` it must be this node's own.

    Raises ApptainerError if a user's home below another root is asked for, StoreError if there is no such directory.
    """
    root = checked_root(params["root"])
    if needs_home and root != "/":
        raise ApptainerError(f"with root {root}, the user's home is ambiguous; set config_file, or scope: global")
    return root


def read_token(module: AnsibleModule, path: str) -> str:
    """The first line of a token file on this node, as `apptainer remote login --tokenfile` takes it, but without a CR.

    Source: `internal/app/apptainer/remote_login.go`. Raises StoreError if the file cannot be read, ApptainerError if it does not exist.
    """
    state = read(real_path(path), refuse_foreign=True)
    if state.data is None:
        raise ApptainerError(f"token_file {path} does not exist on this node; correct the path, or create the file first")
    if (state.mode or 0) & 0o077:
        warn(module, f"token_file {path} has mode {state.mode or 0:04o}, so others can read the token; set its mode to 0600")
    token = state.data.partition(b"\n")[0].decode("utf-8", "replace").strip()
    if token:
        module.no_log_values.add(token)
    return token
