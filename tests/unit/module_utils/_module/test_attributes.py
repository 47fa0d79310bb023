# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is said where modes and owners cannot be tried."""

import errno
import os
import tempfile

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import StoreError
from ansible_collections.hpc.apptainer.plugins.module_utils._files.config_file import FileState
from ansible_collections.hpc.apptainer.plugins.module_utils._module.attributes import wanted_attributes
from support.filesystem import message_of, raiser


class Module:
    params = None
    check_mode = False

    @staticmethod
    def load_file_common_arguments(_params, path):
        return {"path": path, "mode": None, "owner": None, "group": None}


def wanted():
    wanted_attributes(Module, "/etc/apptainer/remote.yaml", True, FileState())


@pytest.mark.parametrize(("number", "advice"), [
    (errno.ENOSPC, "Free some space there, and run again."), (errno.EDQUOT, "Free some space there, and run again."),
    *((number, "Let the user of this task write there, or set TMPDIR to another directory.") for number in (errno.EACCES, errno.EPERM, errno.EROFS)),
    (errno.EIO, "See the kernel logs of the node.")], ids=str)
def test_no_temporary_file(monkeypatch, tmp_path, number, advice):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", raiser(OSError(number, os.strerror(number))))
    assert message_of(wanted) == f"{tmp_path}: no temporary file can be made there: {os.strerror(number)}. {advice}"


def test_no_directory_for_temporary_files(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/none/tmp"])
    with pytest.raises(StoreError) as caught:
        wanted()
    assert str(caught.value) == ("no temporary file can be made on this node: No usable temporary directory found in ['/none/tmp']. "
                                 "Let the user of this task write in one of them.")
