# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Imports go down. The one list of the layers stands in CONTRIBUTING.md; every import counts, also lazy ones and those for type checking."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from support.envs import ROOT

PLUGINS = ROOT / "plugins"
PACKAGE = ("ansible_collections", "hpc", "apptainer", "plugins")
LISTED = re.findall(r"^\| `(plugins/[\w/]+(?:\.py)?)` \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
LAYERS = [layer.removeprefix("plugins/") for layer in LISTED]
FILES = sorted(path.relative_to(PLUGINS) for path in PLUGINS.rglob("*.py"))


def layer_of(path: Path) -> str:
    """The layer of a file below plugins/: the file itself, or its nearest listed folder."""
    return next(str(part) for part in (path, *path.parents) if str(part) in LAYERS)


def imports(path: Path, text: str) -> set[Path]:
    """The files of this collection that a file below plugins/ imports anywhere, as paths below plugins/."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            start = ("ansible_collections.hpc.apptainer.plugins", *path.parts)[:-node.level] if node.level else ()
            module = ".".join([*start, *filter(None, [node.module])])
            names = [f"{module}.{alias.name}" for alias in node.names] + [module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            parts = tuple(name.split("."))
            target = Path(*parts[len(PACKAGE):]).with_suffix(".py") if parts[:len(PACKAGE)] == PACKAGE and len(parts) > len(PACKAGE) else None
            if target and (PLUGINS / target).is_file():
                found.add(target)
    return found


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_go_down(path):
    """To a layer below, or within the same one."""
    own = LAYERS.index(layer_of(path))
    wrong = [str(target) for target in imports(path, (PLUGINS / path).read_text()) if LAYERS.index(layer_of(target)) < own]
    assert wrong == []


def test_no_file_imports_itself_by_a_detour():
    arrows = {path: imports(path, (PLUGINS / path).read_text()) for path in FILES}
    while leaves := {path for path, targets in arrows.items() if not targets & set(arrows)}:
        arrows = {path: targets for path, targets in arrows.items() if path not in leaves}
    assert arrows == {}


def test_every_layer_is_there_and_listed_once():
    assert len(LAYERS) == len(set(LAYERS)) > 10
    assert [layer for layer in LAYERS if not (PLUGINS / layer).exists()] == []


@pytest.mark.parametrize(("path", "text", "target"), [
    ("module_utils/_rules/x.py", "from .._values.uri import parse", "module_utils/_values/uri.py"),
    ("module_utils/_rules/x.py", "from .._values import uri", "module_utils/_values/uri.py"),
    ("module_utils/_rules/x.py", "from .logins import Files", "module_utils/_rules/logins.py"),
    ("module_utils/x.py", "from ._errors import quoted", "module_utils/_errors.py"),
    ("module_utils/_rules/x.py", "def f():\n    from .._errors import quoted", "module_utils/_errors.py"),
    ("module_utils/_rules/x.py", "if TYPE_CHECKING:\n    from .._errors import quoted", "module_utils/_errors.py"),
    ("modules/x.py", "from ansible_collections.hpc.apptainer.plugins.module_utils._errors import quoted", "module_utils/_errors.py"),
    ("modules/x.py", "import ansible_collections.hpc.apptainer.plugins.module_utils._errors as e", "module_utils/_errors.py"),
], ids=["parent's module", "module of the parent", "neighbour", "neighbour of the root", "lazy", "type checking", "absolute", "import as"])
def test_imports_are_found(path, text, target):
    assert imports(Path(path), text) == {Path(target)}
