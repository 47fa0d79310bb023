# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tarball holds what users need and nothing else, installs, and is the same wherever it is built."""

import json
import os
import re
import shutil
import tarfile
from pathlib import Path

import pytest
from support import envs, processes, release

ALLOWED = re.compile(
    r"""
    ((README | SECURITY)\.md | LICENSE | LICENSES(/[^/]+)? | REUSE\.toml | CHANGELOG\.rst | requirements\.txt | MANIFEST\.json | FILES\.json)
    | changelogs(/changelog\.yaml | /config\.yaml)?
    | meta(/[a-z-]+\.yml | /requirements\.txt)?
    | plugins(/(action|callback|doc_fragments|modules|module_utils(/_[a-z]+)?|plugin_utils)(/[a-z0-9_]+\.py)?)?
    | plugins/plugin_utils/(begun\.html|report\.(css|html|js))
    | playbooks(/[a-z_]+\.yml)?
    | roles(/apptainer_fleet(/.+)?)?
    | docs(/.+)?
    """,
    re.VERBOSE,
)
UNWANTED = re.compile(r"(^|/)(\.|__pycache__|tests?(/|$))|\.(pyc|retry|orig|rej|tar\.gz)$")
# What ade, ansible-test, antsibull-nox, molecule, pytest-ansible, tox-ansible and virtual environments leave in a checkout.
LEFT = [
    ".ansible/roles/x", ".cache/molecule/x", ".coverage", ".coverage.node.1", ".mypy_cache/x", ".nox/x", ".pytest_cache/x", ".ruff_cache/x", ".tox/x",
    ".venv/x", "apptainer.egg-info/x", "collections/ansible_collections/x", "coverage.xml", "dist/x", "hpc-apptainer-1.0.0.tar.gz", "htmlcov/x",
    "plugins/.pytest_cache/x", "plugins/modules/__pycache__/x.pyc", "rollout.retry", "roles/apptainer_fleet/.ansible/x", "tests/output/x", "venv/x",
]


def test_tarball_holds_only_what_users_need(collection_tarball: Path) -> None:
    with tarfile.open(collection_tarball) as tarball:
        names = [name.removeprefix("./") for name in tarball.getnames()]
    assert [name for name in names if not ALLOWED.fullmatch(name) or UNWANTED.search(name)] == []
    assert {"README.md", "LICENSE", "CHANGELOG.rst", "meta/runtime.yml", "plugins/module_utils/_errors.py"} <= set(names)


def test_tarball_installs(installed_collection: Path) -> None:
    manifest = json.loads((installed_collection / "MANIFEST.json").read_text())["collection_info"]
    assert (manifest["namespace"], manifest["name"], manifest["license"]) == ("hpc", "apptainer", ["GPL-3.0-or-later"])
    assert (installed_collection / "plugins" / "module_utils" / "_errors.py").is_file()


def test_same_bytes_from_files_of_other_dates_and_modes(collection_tarball: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in [*_listed(collection_tarball, "file"), "galaxy.yml"]:
        copy = source / name
        copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copyfile(envs.ROOT / name, copy)
        copy.chmod(0o600)
        os.utime(copy, (1, 1))
    again = release.build(source, tmp_path / "dist")
    assert (again.name, again.read_bytes()) == (collection_tarball.name, collection_tarball.read_bytes())


def test_order_is_that_of_the_names(collection_tarball: Path) -> None:
    """A directory's own order differs from file system to file system, so the test above may not see it."""
    listed = _listed(collection_tarball, "file", "dir")
    with tarfile.open(collection_tarball) as tarball:
        assert tarball.getnames() == ["MANIFEST.json", "FILES.json", *listed[1:]]
    assert listed == sorted(listed)


def test_notes_are_the_changelogs_of_one_version() -> None:
    notes = release.notes(envs.ROOT, "1.0.0")
    assert notes.startswith("v1.0.0\n======\n")
    assert "The first release." in notes
    with pytest.raises(release.ReleaseError, match=r"nothing about version 0\.1:"):
        release.notes(envs.ROOT, "0.1")


def _listed(tarball: Path, *types: str) -> list[str]:
    """The names in FILES.json of what is of these types."""
    with tarfile.open(tarball) as archive:
        files = json.load(archive.extractfile("FILES.json"))["files"]
    return [entry["name"] for entry in files if entry["ftype"] in types]


def test_what_tools_leave_is_neither_committed_nor_in_the_tarball(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    kept = {".gitignore", "galaxy.yml", "README.md"}
    for name in [*LEFT, *kept]:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_bytes((envs.ROOT / name).read_bytes() if name in kept else b"")
    env = processes.clean_env(tmp_path / "home")
    processes.run("git", "init", "-q", cwd=checkout, env=env)
    seen = processes.run("git", "ls-files", "--others", "--exclude-standard", cwd=checkout, env=env)
    assert set(seen.stdout.split()) == kept
    galaxy = envs.core("running") / "bin" / "ansible-galaxy"
    built = processes.run(galaxy, "collection", "build", checkout, "--output-path", tmp_path, env=env)
    assert built.returncode == 0, built.stdout + built.stderr
    (file,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(file) as tarball:
        found = {member.name for member in tarball.getmembers() if member.isfile()}
    assert found == {"README.md", "MANIFEST.json", "FILES.json"}
