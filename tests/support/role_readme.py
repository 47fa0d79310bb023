# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The reference part of the role's README, made from its argument_specs. As a program (`make docs`), it writes it.

Entry points and lists that share their options (by an anchor in the YAML) get one table; a general tool would repeat it.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from support import generated

ROLE = Path(__file__).resolve().parents[2] / "roles" / "apptainer_fleet"


def readme() -> str:
    """The README as it should be: its hand-written part, and the reference."""
    entries = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())["argument_specs"]
    defaults = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
    return generated.renewed(ROLE / "README.md", "docs", "".join(_reference(entries, defaults)))


def _reference(entries: Mapping[str, Any], defaults: Mapping[str, Any]) -> Iterator[str]:
    shown: dict[int, str] = {}
    for name, entry in entries.items():
        yield f"\n### {'Variables' if name == 'converge' else f'Entry point `{name}`'}\n"
        yield from (f"\n{_text(paragraph)}\n" for paragraph in entry["description"])
        if id(entry["options"]) in shown:
            yield f"\nThe variables are those of `{shown[id(entry['options'])]}`.\n"
            continue
        shown[id(entry["options"])] = name
        yield from _tables(entry["options"], defaults, shown)
    yield "\n"


def _tables(options: Mapping[str, Any], defaults: Mapping[str, Any], shown: dict[int, str], of: str = "") -> Iterator[str]:
    """A table of options, then those of the lists in it."""
    if of:
        yield f"\n#### An entry of `{of}`\n"
    yield f"\n| {'key' if of else 'variable'} | type | default | |\n| --- | --- | --- | --- |\n"
    inner = []
    for name, spec in options.items():
        nested = spec.get("options")
        same = shown.get(id(nested)) if nested else None
        if nested and not same:
            shown[id(nested)] = name
            inner.append((name, nested))
        words = _text(spec["description"]) + (f" Its keys are those of `{same}`." if same else "")
        yield f"| `{name}` | {_type(spec)} | {_default(name, spec, defaults)} | {words} |\n"
    for name, nested in inner:
        yield from _tables(nested, {}, shown, f"{name}` of `{of}" if of else name)


def _type(spec: Mapping[str, Any]) -> str:
    if "choices" in spec and spec["type"] != "list":
        return " or ".join(f"`{choice}`" for choice in spec["choices"])
    elements = " or ".join(f"`{choice}`" for choice in spec.get("choices", ())) or spec.get("elements")
    return f"list of {elements}" if spec["type"] == "list" else spec["type"]


def _default(name: str, spec: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    if spec.get("required"):
        return "(required)"
    value = spec.get("default", defaults.get(name))
    return "" if value is None else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _text(description: str | list[str]) -> str:
    """Ansible's markup as Markdown, on one line."""
    def code(found: re.Match[str]) -> str:
        return f"`{found[2] + '` of `' if found[2] else ''}{found[1].strip(':')}`"

    words = description if isinstance(description, str) else " ".join(description)
    return re.sub(r"\b[CVOM]\(([^)#]*)(?:#module:([^)]*))?\)", code, words)


if __name__ == "__main__":
    (ROLE / "README.md").write_text(readme())
