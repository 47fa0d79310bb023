# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""264 variants of a file, each given to all versions of Apptainer: we read what all of 1.3 to 1.5 read, and know who refuses the rest.

The main branch of Apptainer and SingularityCE 4.5 got the same variants, with other names in them, and each as another one of the two files.
"""

from __future__ import annotations

import base64
import functools
import re

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import FormatError
from ansible_collections.hpc.apptainer.plugins.module_utils._formats.remote_yaml_reader import decode
from ansible_collections.hpc.apptainer.plugins.module_utils._values.flavors import refusing_versions
from ansible_collections.hpc.apptainer.plugins.module_utils._values.remote_config import Remote
from support.golden import PROGRAMS, cases, check_all, flavor_of

pytestmark = pytest.mark.usefixtures("parser")

# Refused by 1.3 and later, which then ignore the file; read here as empty, to be repaired by the next write.
WITHOUT_DATA = {"only-newline", "only-spaces", "only-comment", "comment-no-newline", "bom-only"}
# Read by all versions, but before 1.5 they write it in a way that none can read, so that the third command fails.
RUINED_BY_ADD = {"name-merge-quoted"}
# Refused by yaml v4 from rc.6 on: Apptainer 1.6, SingularityCE 4.5.
DATES = {"active-date", "name-date", "uri-date"}
# Read by yaml v4, and refused by v3, so that all versions of Apptainer together do not read them.
ONLY_FROM_1_5 = {"del-char", "long-key-1030"}

VARIANTS: dict[str, dict[str, dict]] = {}
for _case in [*cases("accept"), *(_case for _program in PROGRAMS for _case in cases("accept", _program))]:
    VARIANTS.setdefault(re.sub("-(user|system)$", "", _case["id"].split("-", 2)[2]), {})[_case["version"]] = _case


def content(recorded):
    """A recorded file's bytes."""
    return base64.b64decode(recorded["base64"]) if isinstance(recorded, dict) else recorded.encode()


def failed(step):
    return bool(step["exit"] or step.get("panic"))


def refused_by(name):
    """The minor versions that refuse a file, or crash on it, at `remote list` or the `remote add` that follows."""
    steps = 3 if name in RUINED_BY_ADD else 2
    return {version.rpartition(".")[0] for version, case in VARIANTS[name].items() if any(map(failed, case["steps"][:steps]))}


def data_of(case):
    """The file's bytes."""
    (data,) = (content(case["before"][kind]) for kind in ("system", "user") if case["before"][kind] is not None)
    return data


def test_variants():
    check_all(check_variant, dict(zip(VARIANTS, VARIANTS, strict=True)))


def check_variant(name):
    case = VARIANTS[name]["1.5.3"]
    data = data_of(case)
    refusing = refused_by(name) - {"4.5"}
    if refusing & {"1.3", "1.4", "1.5"} and name not in WITHOUT_DATA | RUINED_BY_ADD:
        with pytest.raises(FormatError, match=r"^remote\.yaml, line \d+, column \d+: .*; Apptainer refuses the whole file\. \w"):
            decode(data, "remote.yaml")
        return
    document = decode(data, "remote.yaml")
    assert {version for quirk in document.quirks for version in quirk.refused_by} == refusing
    assert bool(document.refused) == ("1.5" in refusing)
    assert document.has_data == (name not in WITHOUT_DATA)
    if document.has_data:
        check_content(case, document.config)


@pytest.mark.parametrize("version", ["1.6.0", "4.5.1"])
def test_variants_of_another_program(version):
    check_all(functools.partial(check_variant_of_another_program, version=version), dict(zip(VARIANTS, VARIANTS, strict=True)))


def check_variant_of_another_program(name, version):
    """The newest version of a flavor reads what we read for it, refuses what we call refused, and writes the same content."""
    case = VARIANTS[name][version]
    data = data_of(case)
    flavor = flavor_of(case)
    minor = version.rpartition(".")[0]
    is_refused = any(map(failed, case["steps"][:2]))
    if is_refused and name not in WITHOUT_DATA | DATES:
        with pytest.raises(FormatError):
            decode(data, "remote.yaml", flavor)
        return
    if flavor == "apptainer" and name in ONLY_FROM_1_5:
        with pytest.raises(FormatError):
            decode(data, "remote.yaml", flavor)
        assert refused_by(name) & {"1.3", "1.4"}
        return
    document = decode(data, "remote.yaml", flavor)
    assert (minor in {version for quirk in document.quirks for version in quirk.refused_by}) == is_refused
    assert bool(document.refused) == (is_refused and (flavor == "singularity" or name in WITHOUT_DATA))
    assert {version for quirk in document.quirks for version in quirk.refused_by} == {
        *refusing_versions(tuple(refused_by(name)), flavor)}
    if not is_refused:
        check_content(case, document.config)


def check_content(case, config):
    """The file after `remote add` holds what we read from the file before, and the new endpoint."""
    add = case["steps"][1]
    name, uri = add["argv"][-2:]
    ((kind, after),) = add["after"].items()
    added = Remote(uri.replace("https://", ""), system=kind == "system")
    assert decode(content(after), "remote.yaml").config == config._replace(active=name, remotes={**config.remotes, name: added})
