# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reports are replaced in one step, through links of trusted owners only, and what fails is said and leaves nothing behind."""

import os

from ansible_collections.hpc.apptainer.plugins.plugin_utils._writing import write_file


def test_a_file_is_replaced(tmp_path):
    path = tmp_path / "report.json"
    for text in ("one", "two"):
        assert write_file(str(path), text, 0o640) == ""
        assert (path.read_text(), path.stat().st_mode & 0o777) == (text, 0o640)
    assert os.listdir(tmp_path) == ["report.json"]


def test_a_link_is_followed_if_its_owner_is_trusted(tmp_path, monkeypatch):
    target, link = tmp_path / "target", tmp_path / "link"
    link.symlink_to(target)
    assert write_file(str(link), "one", 0o644) == ""
    assert link.is_symlink()
    if os.geteuid() == 0:
        os.lchown(link, 65534, 65534)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 65534)
    assert "(a symbolic link of another user)" in write_file(str(link), "two", 0o644)
    assert target.read_text() == "one"


def test_what_cannot_be_written_is_said_and_leaves_nothing(tmp_path):
    (tmp_path / "directory").mkdir()
    assert "(Is a directory)" in write_file(str(tmp_path / "directory"), "text", 0o644)
    assert "(No such file or directory)" in write_file(str(tmp_path / "missing" / "file"), "text", 0o644)
    assert "(not a valid file name)" in write_file(f"{tmp_path}/\0", "text", 0o644)
    assert os.listdir(tmp_path) == ["directory"]
