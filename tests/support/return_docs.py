# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The return values that several modules document, made from return_docs.yml. Run as a script (`make docs` does), it writes them.

Ansible has documentation fragments for options, but none for return values.
"""

import re
from pathlib import Path
from typing import Any

import yaml

MODULES = Path(__file__).resolve().parents[2] / "plugins" / "modules"
# The values that come from the source, by module and name
SHARED: dict[str, dict[str, Any]] = yaml.safe_load(Path(__file__).with_suffix(".yml").read_text())["modules"]
BEGIN, END = 'RETURN = r"""\n', '"""\n'


class _Dumper(yaml.SafeDumper):
    """Lists are indented, and what is used twice is written twice: `ansible-doc` has no use for anchors."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def module(name: str) -> str:
    """The text of a module as it should be: with the shared values in its RETURN, in the places where they are, or else at the end."""
    before, begin, rest = path(name).read_text().partition(BEGIN)
    values, end, after = rest.partition(END)
    texts = {text.partition(":")[0]: text for text in re.split(r"(?m)^(?=\w+:)", values) if text}
    texts.update((value, _text({value: documentation})) for value, documentation in SHARED[name].items())
    return "".join([before, begin, *texts.values(), end, after])


def path(name: str) -> Path:
    """The file of a module."""
    return MODULES / f"{name}.py"


def own_values(name: str) -> dict[str, Any]:
    """What a module documents of its return values itself."""
    values = path(name).read_text().partition(BEGIN)[2].partition(END)[0]
    return {value: documentation for value, documentation in yaml.safe_load(values).items() if value not in SHARED.get(name, {})}


def _text(documentation: dict[str, Any]) -> str:
    return yaml.dump(documentation, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=140)


if __name__ == "__main__":
    for changed in SHARED:
        path(changed).write_text(module(changed))
