# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every linter is a test, so that one run tells everything. How each is set up is in its own file, or in pyproject.toml."""

import os
import re
import shutil
import sys
import warnings
from pathlib import Path

import pytest
from support import envs, processes
from support.sanity import pythons, sanity

LINTERS = {
    "ruff": "ruff check",
    "mypy": "mypy",
    # What runs on nodes is for Python 3.6 and newer, where annotations are evaluated.
    "vermin": "vermin --target=3.6- --violations --no-tips --eval-annotations plugins/modules plugins/module_utils",
    "yamllint": "yamllint --strict .",
    "ansible-lint": "ansible-lint --offline --profile production",
    "docs": "antsibull-docs lint-collection-docs --plugin-docs --check-extra-docs-refs --validate-collection-refs=all --disallow-unknown-collection-refs .",
    "changelog": "antsibull-changelog lint",
    "reuse": "reuse lint --lines",
}


def succeed(done) -> None:
    """Fail with all that a linter said, and nothing else."""
    if done.returncode:
        pytest.fail(f"{done.stdout}\n{done.stderr}".strip(), pytrace=False)


@pytest.mark.parametrize("name", LINTERS)
def test_linter(name: str, tmp_path: Path) -> None:
    env = processes.clean_env(tmp_path, {"ANSIBLE_COLLECTIONS_PATH": envs.ROOT / ".collections"})
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    command, *arguments = LINTERS[name].split()
    succeed(processes.run(shutil.which(command, path=env["PATH"]), *arguments, env=env))


@pytest.mark.parametrize("core", [envs.OLD_CORE, "newest"])
def test_ansible_test_sanity(core: str, tmp_path: Path) -> None:
    """A clone passes ansible-test: on the oldest ansible-core, with all its Pythons, and on the newest. `make sanity` has those between.

    pylint takes as long as all others together, and the newest ansible-core has the newest.
    """
    try:
        environment = envs.core(core)
    except envs.MissingInterpreterError as exc:
        pytest.skip(str(exc))
    minors = pythons(environment) if core == envs.OLD_CORE else []
    if minors and minors[0] != envs.OLD_NODE_MINOR:
        warnings.warn(f"no Python 3.{envs.OLD_NODE_MINOR} is here: nothing shows that it can import the modules", stacklevel=1)
    done = sanity(environment, tmp_path, *(["--skip-test", "pylint"] if core == envs.OLD_CORE else []), minors=minors)
    succeed(done)
    for skipped in re.findall(r"^WARNING: .*(?:[Ss]kipp|slow).*$", done.stdout + done.stderr, re.MULTILINE):
        warnings.warn(skipped, stacklevel=1)
    left = processes.run("git", "status", "--short", "--untracked-files=all", env=os.environ, cwd=tmp_path / "ansible_collections" / "hpc" / "apptainer")
    assert "??" not in left.stdout, "ansible-test leaves files that .gitignore doesn't know"


def test_galaxy_importer(collection_tarball: Path, tmp_path: Path) -> None:
    """Galaxy and Automation Hub would take the tarball: this is what judges it there."""
    # It would run the same ansible-lint again that is among LINTERS.
    options = {"check_required_tags": True, "require_v1_or_greater": True, "run_ansible_lint": False}
    env = processes.clean_env(tmp_path / "home", {f"GALAXY_IMPORTER_{name.upper()}": str(value).lower() for name, value in options.items()})
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    del env["ANSIBLE_CONFIG"]  # the checkout's, which leads Ansible to the checkout
    done = processes.run(sys.executable, "-m", "galaxy_importer.main", collection_tarball, env=env, cwd=tmp_path)
    succeed(done)
    assert "Importer processing completed successfully" in done.stdout
    assert re.findall(r"^(?:WARNING|ERROR): .*", done.stdout, re.MULTILINE) == []
