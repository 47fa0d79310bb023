# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tarball holds what users need and nothing else, and installs."""

import json
import re
import tarfile
from pathlib import Path

ALLOWED = re.compile(
    r"""
    ((README | SECURITY | CODE_OF_CONDUCT)\.md | LICENSE | REUSE\.toml | CHANGELOG\.rst | requirements\.txt | MANIFEST\.json | FILES\.json)
    | LICENSES(/.+)?
    | changelogs(/changelog\.yaml | /config\.yaml | /fragments(/[^/]+)?)?
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


def test_tarball_holds_only_what_users_need(collection_tarball: Path) -> None:
    with tarfile.open(collection_tarball) as tarball:
        names = [name.removeprefix("./") for name in tarball.getnames()]
    assert [name for name in names if not ALLOWED.fullmatch(name) or UNWANTED.search(name)] == []
    assert {"README.md", "LICENSE", "CHANGELOG.rst", "meta/runtime.yml", "plugins/module_utils/_errors.py"} <= set(names)


def test_tarball_installs(installed_collection: Path) -> None:
    manifest = json.loads((installed_collection / "MANIFEST.json").read_text())["collection_info"]
    assert (manifest["namespace"], manifest["name"], manifest["license"]) == ("hpc", "apptainer", ["GPL-3.0-or-later"])
    assert (installed_collection / "plugins" / "module_utils" / "_errors.py").is_file()
