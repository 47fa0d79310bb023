# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The argument specifications of modules, as main() gives them to Ansible."""

from __future__ import annotations

import importlib
from typing import Any

from support import envs

MODULES = sorted(path.stem for path in (envs.ROOT / "plugins" / "modules").glob("apptainer_*.py"))


class _Given(Exception):
    """What main() wanted to begin with."""


def _raise(**arguments: Any) -> None:
    raise _Given(arguments["argument_spec"])


def module(name: str) -> Any:
    return importlib.import_module(f"ansible_collections.hpc.apptainer.plugins.modules.{name}")


def spec(name: str) -> dict[str, dict[str, Any]]:
    """The options of a module. Empty for one that is only the documentation of an action."""
    found = module(name)
    if not hasattr(found, "main"):
        return {}
    own, found.Module = found.Module, _raise
    try:
        found.main()
    except _Given as given:
        options: dict[str, dict[str, Any]] = given.args[0]
        return options
    finally:
        found.Module = own
    raise AssertionError(name)
