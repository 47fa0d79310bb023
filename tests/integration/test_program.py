# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""apptainer_remote_info with scope and program. The program is a script that prints what a real one printed, as none can be installed here."""

from __future__ import annotations

import json
import os

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._inspection.program import parse_list
from support.files import snapshot
from support.golden import cases

TOKEN = "tok-" + "s3cretS3CRET" * 20


def recorded(version):
    """A recorded list of a user with a file, with the files at that moment."""
    for case in cases("merge"):
        files = dict(case["before"])
        for step in case["steps"]:
            files.update(step["after"])
            texts = [files["system"], files["user"]]
            plain = all(isinstance(text, str) and text for text in texts) and not case.get("nondeterministic")
            if case["version"] == version and plain and step["argv"] == ["remote", "list"] and any(
                    item.default for item in parse_list(step["stdout"])):
                return files, step["stdout"]
    raise AssertionError(version)


@pytest.fixture
def node(tmp_path):
    """A node with both files and a program beside its sysconfdir."""

    def make(files, output, version):
        etc, user = tmp_path / "prefix/etc/apptainer/remote.yaml", tmp_path / "home/.apptainer/remote.yaml"
        for path, text, mode in ((etc, files["system"], 0o644), (user, files["user"], 0o600)):
            path.parent.mkdir(parents=True, exist_ok=True)
            if text is not None:
                path.write_text(text)
                path.chmod(mode)
        (tmp_path / "table").write_text(output)
        program = tmp_path / "prefix/bin/apptainer"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\necho \"$HOME $APPTAINER_CONFIGDIR $*\" >> {tmp_path}/asked\n"
                           f"[ \"$1\" = --version ] && echo 'apptainer version {version}' && exit\n"
                           f"cat $HOME/.apptainer/remote.yaml > {tmp_path}/given; cat {tmp_path}/table\n")
        program.chmod(0o755)
        return {"sysconfdir": str(tmp_path / "prefix/etc")}

    return make


@pytest.mark.parametrize("version", ["1.1.9", "1.3.6", "1.5.3"])
def test_the_recorded_program_agrees_with_its_files(run_module, node, node_python, tmp_path, version):
    files, output = recorded(version)
    args = node(files, output, version)
    before = snapshot(tmp_path / "home")
    result = run_module("apptainer_remote_info", {**args, "program": True}, python=node_python).result
    assert snapshot(tmp_path / "home") == before
    assert result["program"]["path"] == str(tmp_path / "prefix/bin/apptainer")
    assert result["program"]["error"] is None
    assert result["program"]["active"] == result["effective"]["default"]
    assert result["program"]["exclusive"] == result["effective"]["exclusive"]
    assert [remote["name"] for remote in result["program"]["remotes"]] == [remote["name"] for remote in result["effective"]["remotes"]]
    assert [item for item in result["findings"] if item["id"] == "program-differs"] == []
    assert str(tmp_path / "home") not in (tmp_path / "asked").read_text()


SITE = "Active: site\nRemotes:\n    site:\n        URI: site.example\n        System: true\n        Exclusive: false\n"
MINE = f"Active: mine\nRemotes:\n    mine:\n        URI: mine.example\n        Token: {TOKEN}\n        System: false\n        Exclusive: false\n"
TABLE = "\nNAME   URI            DEFAULT?  GLOBAL?  EXCLUSIVE?  SECURE?\nother  other.example  ✓         ✓        ✓           ✓\n"


def test_a_program_that_reads_another_file(run_module, node, tmp_path):
    args = {**node({"system": SITE, "user": MINE}, TABLE, "1.4.5"), "scope": "global", "program": True}
    done = run_module("apptainer_remote_info", args, check=True)
    (found,) = done.result["findings"]
    assert (found["id"], found["severity"], found["path"]) == ("program-differs", "error", str(tmp_path / "prefix/etc/apptainer/remote.yaml"))
    assert found["message"].endswith("set sysconfdir to that")
    assert (tmp_path / "given").read_text() == ""  # this user's file is not shown to it


def test_no_secret_is_given_to_the_program(run_module, node, tmp_path):
    args = node({"system": SITE, "user": MINE}, TABLE, "1.4.5")
    done = run_module("apptainer_remote_info", {**args, "program": True})
    assert "mine.example" in (tmp_path / "given").read_text()
    assert TOKEN not in (tmp_path / "given").read_text() + done.stdout + done.stderr


@pytest.mark.parametrize("files", [{"system": SITE, "user": MINE}, {"system": None, "user": "broken: ["}])
def test_scope_global_reads_no_users_file(run_module, node, files, tmp_path):
    result = run_module("apptainer_remote_info", {**node(files, TABLE, "1.4.5"), "scope": "global"}).result
    assert (result["user"]["exists"], result["user"]["path"], result["auth_file"]["exists"], result["logins"]) == (False, None, False, [])
    assert (result["program"], result["findings"]) == (None, [])
    assert result["effective"]["default"] == ("site" if files["system"] else "DefaultRemote")
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize("option", ["config_file", "auth_file"])
def test_a_users_file_contradicts_scope_global(run_module, tmp_path, option):
    done = run_module("apptainer_remote_info", {"scope": "global", option: str(tmp_path / "x")})
    assert done.result["msg"].startswith("config_file and auth_file are a user's files, and scope: global shows no user's files")


def test_where_none_is_installed(run_module, tmp_path):
    if any(os.access(f"{place}/singularity", os.X_OK) for place in ("/usr/bin", "/usr/local/bin", "/opt/singularity/bin")):
        pytest.skip("SingularityCE is installed here")
    result = run_module("apptainer_remote_info", {"sysconfdir": str(tmp_path), "flavor": "singularity", "program": True}).result
    assert result["program"] is None
    assert "failed" not in json.dumps(result)
