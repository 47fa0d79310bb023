# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The parts of a run of the role's module, and what they have done. A part that fails does not hide what the others found."""

import contextlib
from typing import Any, Dict, Iterator, Mapping

from ansible.module_utils.basic import AnsibleModule

from .._errors import ApptainerError, UnreadableError
from .._values.flavors import in_words_of
from .common import FILE_SPEC

_FOR_ONE_PART = ("changed", "config_file", "auth_file", "default", "unreadable", "backup_file", "backup_files")


class Run:
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


@contextlib.contextmanager
def options_of_part(module: AnsibleModule, **options: Any) -> Iterator[None]:
    """The module's options as those of the module for a part: what the role does not offer has its default, and nothing is verified."""
    mine = module.params
    module.params = dict({name: option.get("default") for name, option in FILE_SPEC.items()}, **mine)
    module.params.update(options, verify="never")
    try:
        yield
    finally:
        module.params = mine
