# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options that the documentation says are ignored, and files that a program does not read."""

from __future__ import annotations

import json

import pytest
import yaml
from support.tables import table

SITE = "Active: \"\"\nRemotes:\n    site:\n        URI: site.example.org\n        System: true\n        Exclusive: false\n"


@pytest.mark.parametrize("state", ["absent", "retired"])
@pytest.mark.parametrize("options", table([
    ("an empty token", {"token": ""}),
    ("a token and logout", {"token": "t0ken", "logout": True}),
    ("a token file that is not there", {"token_file": "/does/not/exist"}),
]))
def test_of_an_endpoint_that_is_to_go_the_login_is_ignored(run_module, tmp_path, state, options):
    path = tmp_path / "remote.yaml"
    path.write_text(SITE)
    done = run_module("apptainer_remote", {"scope": "global", "config_file": str(path), "name": "site", "state": state, "verify": "never", **options})
    assert done.rc == 0, done.stdout
    assert list(yaml.safe_load(path.read_text())["Remotes"]) == (["site"] if state == "retired" else [])


@pytest.mark.parametrize(("flavor", "words"), [("apptainer", "the logins for other.example.org in "), ("singularity", "")])
def test_only_apptainer_loses_the_logins_in_dockers_file(run_module, tmp_path, flavor, words):
    (tmp_path / "config.json").write_text(json.dumps({"auths": {"other.example.org": {"auth": "YTpi"}}}))
    done = run_module("apptainer_registry_login", {
        "flavor": flavor, "uri": "docker://registry.example.org", "username": "a", "password": "S3cret-word", "verify": "never",
    }, env={f"{flavor.upper()}_CONFIGDIR": str(tmp_path)})
    assert done.rc == 0, done.stdout
    warnings = done.result.get("warnings", [])
    assert len(warnings) == bool(words)
    assert all(warning.startswith(words) for warning in warnings)
