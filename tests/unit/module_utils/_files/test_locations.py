# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import os
import pwd

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import ApptainerError
from ansible_collections.hpc.apptainer.plugins.module_utils._files import locations
from support.tables import table

PASSWD_HOME = "/passwd/home"


@pytest.fixture(autouse=True)
def node(monkeypatch, tmp_path):
    """No variable but HOME, which is this user's; a user database; and two directories in place of /etc and /usr/local/etc."""
    for variable in ("APPTAINER_CONFIGDIR", "SINGULARITY_CONFIGDIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(pwd, "getpwuid", lambda _uid: pwd.struct_passwd(("alice", "x", 1000, 1000, "", PASSWD_HOME, "/bin/sh")))
    monkeypatch.setattr(locations, "_SYSCONFDIRS", (str(tmp_path / "etc"), str(tmp_path / "local")))
    return tmp_path


GLOBAL_FILES = [  # what, what is there, flavor, the file
    ("nothing is there", [], "apptainer", "etc/apptainer/remote.yaml"),
    ("from a package", ["etc/apptainer"], "apptainer", "etc/apptainer/remote.yaml"),
    ("from make install", ["local/apptainer"], "apptainer", "local/apptainer/remote.yaml"),
    ("from both", ["etc/apptainer", "local/apptainer"], "apptainer", "etc/apptainer/remote.yaml"),
    ("of the other flavor", ["local/apptainer"], "singularity", "etc/singularity/remote.yaml"),
    ("singularity from make install", ["local/singularity"], "singularity", "local/singularity/remote.yaml"),
]

CONFIGDIRS = [  # what, flavor, variables, the directory
    ("apptainer's", "apptainer", {"APPTAINER_CONFIGDIR": "/a"}, "/a"),
    ("singularity's for apptainer", "apptainer", {"SINGULARITY_CONFIGDIR": "/s"}, "/s"),
    ("both for apptainer", "apptainer", {"APPTAINER_CONFIGDIR": "/a", "SINGULARITY_CONFIGDIR": "/s"}, "/a"),
    ("an empty one for apptainer", "apptainer", {"APPTAINER_CONFIGDIR": "", "SINGULARITY_CONFIGDIR": "/s"}, "/s"),
    ("both for singularity", "singularity", {"APPTAINER_CONFIGDIR": "/a", "SINGULARITY_CONFIGDIR": "/s"}, "/s"),
    ("apptainer's for singularity", "singularity", {"APPTAINER_CONFIGDIR": "/a"}, PASSWD_HOME + "/.singularity"),
    ("none for singularity", "singularity", {}, PASSWD_HOME + "/.singularity"),
]


@pytest.mark.parametrize(("existing", "flavor", "path"), table(GLOBAL_FILES))
def test_global_file_is_where_the_program_was_installed(node, existing, flavor, path):
    for directory in existing:
        (node / directory).mkdir(parents=True)
    assert locations.global_file(flavor) == str(node / path)


def test_global_file_below_a_given_sysconfdir(node):
    (node / "etc/apptainer").mkdir(parents=True)
    assert locations.global_file("apptainer", "/opt/etc") == "/opt/etc/apptainer/remote.yaml"


@pytest.mark.parametrize(("flavor", "variables", "directory"), table(CONFIGDIRS))
def test_user_directory_by_variable(monkeypatch, flavor, variables, directory):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert locations.user_directory(flavor) == directory
    assert locations.user_file(flavor) == directory + "/remote.yaml"


def test_user_directory_in_the_home_of_the_environment(node):
    assert locations.user_directory("apptainer") == str(node / ".apptainer")


@pytest.mark.parametrize("home", [None, "", "/does/not/exist", os.devnull], ids=["unset", "empty", "missing", "not a directory"])
def test_user_directory_without_a_usable_home(monkeypatch, home):
    if home is None:
        monkeypatch.delenv("HOME")
    else:
        monkeypatch.setenv("HOME", home)
    assert locations.user_directory("apptainer") == PASSWD_HOME + "/.apptainer"


def test_a_home_that_su_left_behind_is_not_believed(monkeypatch, node):
    stranger = node.stat().st_uid + 1
    monkeypatch.setattr(os, "geteuid", lambda: stranger)
    assert locations.user_directory("apptainer") == PASSWD_HOME + "/.apptainer"


def test_a_user_without_an_entry_is_told_so(monkeypatch):
    def unknown(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setenv("HOME", "/does/not/exist")
    with pytest.raises(ApptainerError):
        locations.user_directory("apptainer")


def test_cached_discoveries(node):
    cache = node / "remote-cache"
    cache.mkdir()
    for name in ("https-b.json", "https-a.json", "notes.txt"):
        (cache / name).touch()
    assert locations.cached_discoveries(str(node)) == ["https-a.json", "https-b.json"]


def test_cached_discoveries_without_a_cache(node):
    assert locations.cached_discoveries(str(node)) == []
    (node / "remote-cache").touch()
    assert locations.cached_discoveries(str(node)) == []


FALLBACKS = [  # the user's remote.yaml, the docker configuration that is read without a docker-config.json
    ("/home/alice/.apptainer/remote.yaml", "/home/alice/.docker/config.json"),
    ("/srv/alice/remote.yaml", "/srv/alice/config.json"),  # APPTAINER_CONFIGDIR
    ("/remote.yaml", "/config.json"),
]


@pytest.mark.parametrize(("remote_yaml", "fallback"), FALLBACKS)
def test_docker_fallback(remote_yaml, fallback):
    assert locations.docker_fallback(remote_yaml, "apptainer") == fallback


def test_singularity_has_no_docker_fallback():
    assert locations.docker_fallback("/home/alice/.singularity/remote.yaml", "singularity") is None


ROOTED_FILES = [  # what, what is there (links with their targets), flavor, sysconfdir, the file
    ("nothing is there", {}, "apptainer", None, "etc/apptainer/remote.yaml"),
    ("from a package", {"etc/apptainer": None}, "apptainer", None, "etc/apptainer/remote.yaml"),
    ("from make install", {"usr/local/etc/apptainer": None}, "apptainer", None, "usr/local/etc/apptainer/remote.yaml"),
    ("from both", {"usr/local/etc/apptainer": None, "etc/apptainer": None}, "apptainer", None, "etc/apptainer/remote.yaml"),
    ("of the other flavor", {"usr/local/etc/apptainer": None}, "singularity", None, "etc/singularity/remote.yaml"),
    ("a link", {"usr/local/etc/apptainer": "/opt/apptainer", "opt/apptainer": None}, "apptainer", None, "usr/local/etc/apptainer/remote.yaml"),
    ("a link to what is missing there", {"usr/local/etc/apptainer": "/opt/apptainer"}, "apptainer", None, "etc/apptainer/remote.yaml"),
    ("a link to what only exists here", {"usr/local/etc/apptainer": os.path.dirname(__file__)}, "apptainer", None, "etc/apptainer/remote.yaml"),
    ("a link to itself", {"etc/apptainer": "apptainer"}, "apptainer", None, "etc/apptainer/remote.yaml"),
    ("sysconfdir", {"etc/apptainer": None}, "apptainer", "/opt/etc", "opt/etc/apptainer/remote.yaml"),
    ("sysconfdir without a slash", {}, "apptainer", "opt/etc/", "opt/etc/apptainer/remote.yaml"),
]


@pytest.mark.parametrize(("tree", "flavor", "sysconfdir", "path"), table(ROOTED_FILES))
@pytest.mark.parametrize("slash", ["", "/"], ids=["root", "root/"])
def test_global_file_below_a_root(tmp_path, monkeypatch, tree, flavor, sysconfdir, path, slash):
    monkeypatch.setattr(locations, "_SYSCONFDIRS", ("/etc", "/usr/local/etc"))
    root = tmp_path / "root"
    root.mkdir()
    for name, target in tree.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if target is None:
            (root / name).mkdir()
        else:
            (root / name).symlink_to(target)
    assert locations.global_file(flavor, sysconfdir, str(root) + slash) == str(root / path)


@pytest.mark.parametrize("root", ["", "relative", "./x"])
def test_a_root_is_an_absolute_path(root):
    with pytest.raises(ApptainerError, match=f'^root is "{root}", but must be an absolute path; leave it out'):
        locations.checked_root(root)


def test_a_root_exists(tmp_path):
    for name in (None, "/", "//", "/.", "/proc/.."):
        assert locations.checked_root(name) == "/"
    assert locations.checked_root(str(tmp_path)) == str(tmp_path)
    (tmp_path / "file").touch()
    for name in ("imagse", "file"):
        with pytest.raises(ApptainerError, match=r"is not a directory on this node; create it, or correct the path$"):
            locations.checked_root(str(tmp_path / name))


def test_cached_discoveries_below_a_root(node):
    (node / "root/home").mkdir(parents=True)
    (node / "outside").mkdir()
    (node / "outside/secret.json").touch()
    (node / "root/home/remote-cache").symlink_to(node / "outside")
    assert locations.cached_discoveries(str(node / "root/home"), str(node / "root")) == []
    assert locations.cached_discoveries(str(node / "root/home")) == ["secret.json"]
    (node / "root/inside").mkdir()
    (node / "root/inside/x.json").touch()
    (node / "root/home/remote-cache").unlink()
    (node / "root/home/remote-cache").symlink_to("/inside")
    assert locations.cached_discoveries(str(node / "root/home"), str(node / "root")) == ["x.json"]
    (node / "root/inside").rename(node / "root/home/sub")
    (node / "root/home/remote-cache").unlink()
    (node / "root/home/remote-cache").symlink_to("remote-cache")
    assert locations.cached_discoveries(str(node / "root/home"), str(node / "root")) == []


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE], ids=errno.errorcode.get)
@pytest.mark.parametrize("root", ["/", "below"])
def test_what_the_system_does_not_show_is_not_missing(node, monkeypatch, number, root):
    """Else the file would be looked for, and made, in another place."""
    def fail(*_args, **_options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "stat", fail)
    for locate in (lambda: locations.global_file("apptainer", root=root if root == "/" else str(node)), lambda: locations.user_directory("apptainer"),
                   lambda: locations.checked_root(str(node))):
        with pytest.raises(ApptainerError, match=f": cannot find .*: {os.strerror(number)}\\. "):
            locate()


def test_where_a_user_may_not_look_his_apptainer_finds_nothing_either(node, monkeypatch):
    def fail(*_args, **_options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "stat", fail)
    assert locations.global_file("apptainer") == str(node / "etc/apptainer/remote.yaml")
