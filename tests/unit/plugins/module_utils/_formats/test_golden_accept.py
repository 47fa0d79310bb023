# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""264 variants of a file, each given to all versions of Apptainer: we read what all of 1.3 to 1.5 read, and know who refuses the rest."""

from __future__ import annotations

import base64

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import FormatError
from ansible_collections.hpc.apptainer.plugins.module_utils._formats.remote_yaml_reader import decode
from ansible_collections.hpc.apptainer.plugins.module_utils._values.remote_config import Remote
from support.golden import cases

pytestmark = pytest.mark.usefixtures("parser")

# Refused by 1.3 and later, which then ignore the file; read here as empty, to be repaired by the next write.
WITHOUT_DATA = {"only-newline-system", "only-spaces-user", "only-comment-user", "comment-no-newline-system", "bom-only-user"}
# Read by all versions, but before 1.5 they write it in a way that none can read, so that the third command fails.
RUINED_BY_ADD = {"name-merge-quoted-user"}

VARIANTS: dict[str, dict[str, dict]] = {}
for _case in cases("accept"):
    VARIANTS.setdefault(_case["id"].split("-", 2)[2], {})[_case["version"]] = _case


def content(recorded):
    """A recorded file's bytes."""
    return base64.b64decode(recorded["base64"]) if isinstance(recorded, dict) else recorded.encode()


def failed(step):
    return bool(step["exit"] or step.get("panic"))


def refused_by(name):
    """The minor versions that refuse a file, or crash on it, at `remote list` or the `remote add` that follows."""
    steps = 3 if name in RUINED_BY_ADD else 2
    return {version.rpartition(".")[0] for version, case in VARIANTS[name].items() if any(map(failed, case["steps"][:steps]))}


@pytest.mark.parametrize("name", VARIANTS)
def test_variant(name):
    case = VARIANTS[name]["1.5.3"]
    (data,) = (content(case["before"][kind]) for kind in ("system", "user") if case["before"][kind] is not None)
    refusing = refused_by(name)
    if refusing & {"1.3", "1.4", "1.5"} and name not in WITHOUT_DATA | RUINED_BY_ADD:
        with pytest.raises(FormatError, match=r"^remote\.yaml, line \d+, column \d+: .*; Apptainer refuses the whole file\. \w"):
            decode(data, "remote.yaml")
        return
    document = decode(data, "remote.yaml")
    assert {version for quirk in document.quirks for version in quirk.refused_by} == refusing
    assert document.has_data == (name not in WITHOUT_DATA)
    if document.has_data:
        check_content(case, document.config)


def check_content(case, config):
    """The file after `remote add` holds what we read from the file before, and the new endpoint."""
    add = case["steps"][1]
    name, uri = add["argv"][-2:]
    ((kind, after),) = add["after"].items()
    added = Remote(uri.replace("https://", ""), system=kind == "system")
    assert decode(content(after), "remote.yaml").config == config._replace(active=name, remotes={**config.remotes, name: added})
