# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is said about homes."""

import errno
import os

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import StoreError
from ansible_collections.hpc.apptainer.plugins.module_utils._files import access
from ansible_collections.hpc.apptainer.plugins.module_utils._files import config_file as store
from support.filesystem import raiser


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a home of another user")
def test_what_root_has_made_in_a_home_is_to_be_given_back(tmp_path):
    directory = tmp_path / "home" / ".apptainer"
    directory.mkdir(parents=True)
    assert store.of_root_in_a_home(str(directory)) is None
    os.chown(directory.parent, 12345, 12345)
    assert store.of_root_in_a_home(str(directory)) == 12345
    with pytest.raises(StoreError) as caught, access.explained(str(directory / "remote.yaml"), "write"):
        raise PermissionError(13, "Permission denied")
    assert str(caught.value).endswith(f"{directory} belongs to root, perhaps after a sudo. Give it back as root: chown -R 12345 {directory}")


@pytest.mark.parametrize("name", [".apptainer", ".singularity/remote.yaml"])
def test_a_home_that_does_not_exist(tmp_path, name):
    with pytest.raises(StoreError) as caught, access.explained(f"{tmp_path}/none/{name}", "write"):
        raise PermissionError(13, "Permission denied")
    assert str(caught.value).endswith(
        f"Permission denied. The home {tmp_path}/none does not exist on this node. Create it, or run the task where it is.")


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES], ids=errno.errorcode.get)
def test_a_directory_that_the_system_does_not_show_is_not_missing(tmp_path, monkeypatch, number):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    assert all(access.is_directory(str(tmp_path / name)) for name in ("", "link"))
    assert not any(access.is_directory(str(tmp_path / name)) for name in ("missing", "loop", "file", "file/x", "a\0b"))
    monkeypatch.setattr(os, "stat", raiser(OSError(number, os.strerror(number))))
    with pytest.raises(OSError, match=os.strerror(number)):
        access.is_directory(str(tmp_path))


def test_the_nearest_directory(tmp_path):
    assert access.nearest(str(tmp_path)) == (str(tmp_path), [])
    assert access.nearest(str(tmp_path / "a/b")) == (str(tmp_path), ["a", "b"])
    assert access.nearest("/no-such-directory") == ("/", ["no-such-directory"])


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOSPC, errno.EDQUOT], ids=errno.errorcode.get)
def test_what_closing_a_file_says_has_been_said_before(tmp_path, monkeypatch, number):
    path, closed, really = str(tmp_path / "remote.yaml"), [], os.close

    def close(fd):
        really(fd)
        closed.append(fd)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "close", close)
    with store.locked(path):
        store.replace(store.Replacement(path, b"new", lambda _: None))
    with pytest.raises(OSError, match="what was wrong"), access.open_nofollow(path, os.O_RDONLY):
        raise OSError("what was wrong")
    monkeypatch.undo()
    assert store.read(path).data == b"new"
    assert len(closed) > 5
