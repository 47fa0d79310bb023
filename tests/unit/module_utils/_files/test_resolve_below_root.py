# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Symbolic links in the file tree of an image: they mean what they mean there, and never lead out of it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import StoreError
from ansible_collections.hpc.apptainer.plugins.module_utils._files import config_file as store
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.tables import table

WANTED = "etc/apptainer/remote.yaml"


def make(root, tree):
    """Links where a target is given, else directories."""
    root.mkdir(exist_ok=True)
    for name, target in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if target is None:
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.symlink_to(target)
    return str(root)


TREES = [  # what, what is there, where the wanted file is
    ("nothing", {}, WANTED),
    ("no links", {"etc/apptainer": None}, WANTED),
    ("an absolute link on the way", {"etc/apptainer": "/opt/etc"}, "opt/etc/remote.yaml"),
    ("an absolute link to something that exists", {"etc/apptainer": "/opt/etc", "opt/etc": None}, "opt/etc/remote.yaml"),
    ("an absolute link at the beginning", {"etc": "/opt/etc"}, "opt/etc/apptainer/remote.yaml"),
    ("a relative link", {"etc/apptainer": "../opt/etc"}, "opt/etc/remote.yaml"),
    ("a link of the file", {WANTED: "/srv/remote.yaml"}, "srv/remote.yaml"),
    ("a relative link of the file", {WANTED: "../../srv/remote.yaml"}, "srv/remote.yaml"),
    ("a link to a link", {"etc": "/a", "a": "b", "b/apptainer": "/c", "c/remote.yaml": "d"}, "c/d"),
    (".. stops at the root, as it does there", {"etc": "../../../../opt"}, "opt/apptainer/remote.yaml"),
    (".. stops at the root, also in the middle", {"etc/apptainer": "/a/../../../b"}, "b/remote.yaml"),
    ("a link to the root", {"etc": "/"}, "apptainer/remote.yaml"),
    ("a link to what is above it", {"etc": ".."}, "apptainer/remote.yaml"),
]


@pytest.mark.parametrize(("tree", "real"), table(TREES))
def test_links_of_an_image(tmp_path, monkeypatch, tree, real):
    root = make(tmp_path / "root", tree)
    assert store.real_path(f"{root}/{WANTED}", root) == f"{root}/{real}"
    assert store.real_path(f"{root}/{WANTED}", root + "/") == f"{root}/{real}"
    assert store.real_path(os.path.dirname(f"{root}/{WANTED}"), root, is_file=False) == os.path.dirname(
        store.real_path(f"{root}/etc/apptainer/other", root))
    monkeypatch.chdir(tmp_path)
    assert store.real_path("root/" + WANTED, "root") == f"{root}/{real}"


def test_the_root_itself_may_be_behind_a_link_of_this_machine(tmp_path):
    root = make(tmp_path / "root", {"etc": "/opt"})
    (tmp_path / "link").symlink_to(root)
    assert store.real_path(f"{tmp_path}/link/{WANTED}", f"{tmp_path}/link") == f"{root}/opt/apptainer/remote.yaml"


def test_the_root_of_this_machine(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert store.real_path(f"{tmp_path}/link", "/") == store.real_path(f"{tmp_path}/link")


@pytest.mark.parametrize("tree", [{"etc": "/etc"}, {"etc": "b", "b": "/etc"}, {WANTED: "remote.yaml"}, {"etc": "../../etc"}], ids=str)
def test_a_loop(tmp_path, tree):
    root = make(tmp_path / "root", tree)
    with pytest.raises(StoreError, match="form a loop"):
        store.real_path(f"{root}/{WANTED}", root)


@pytest.mark.parametrize("path", ["/etc/apptainer/remote.yaml", "{}", "{}/../other/x", "{}2/x", "{}/etc/../../x"])
def test_a_path_elsewhere_is_refused(tmp_path, path):
    root = make(tmp_path / "root", {})
    path = path.format(root)
    if path == root:
        assert store.real_path(path, root) == root
        return
    with pytest.raises(StoreError, match=f"is not below the root {root}"):
        store.real_path(path, root)


NAMES = st.sampled_from(["a", "b", "c"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
TARGETS = st.tuples(st.sampled_from(["", "/"]), st.lists(NAMES | st.just(".."), min_size=1, max_size=4).map("/".join)).map("".join)


@contextlib.contextmanager
def kernel_below(root):
    """A function that tells what the kernel and Python make of a path below a root: the real path, or nothing for a loop; and if it exists.

    One child, whose root it is, answers for all paths: forking the whole test costs more than all the rest.
    """
    (paths, ask), (answers, tell) = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(ask)
            os.chroot(root)
            os.chdir("/")
            for line in os.fdopen(paths):
                os.write(tell, "{} {}\n".format(*real_path_here(line[:-1])).encode())
        finally:
            os._exit(0)
    os.close(paths)
    os.close(tell)
    with os.fdopen(ask, "w", buffering=1) as questions, os.fdopen(answers) as replies:

        def answer(path):
            questions.write(f"{path}\n")
            exists, _space, found = replies.readline()[:-1].partition(" ")
            return found, exists == "True"

        yield answer
    os.waitpid(child, 0)


def real_path_here(path):
    try:
        os.stat(path)
    except FileNotFoundError:
        return False, os.path.realpath(path)
    except OSError:
        return False, ""
    return True, os.path.realpath(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change its root to compare")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
@settings(deadline=None)
@given(st.lists(st.tuples(PATHS, TARGETS), max_size=5), PATHS)
@example([("a", "/b"), ("b/c", "../../../x")], "a/c")
def test_the_kernel_agrees(links, wanted):
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "root"
        root.mkdir()
        with kernel_below(root) as kernel:
            for name, target in links:
                with contextlib.suppress(StoreError, OSError):  # a loop, or a link or file in the way
                    path = Path(store.real_path(str(root / name), str(root)))
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.symlink_to(target)
            found, exists = kernel("/" + wanted)
        if not found:
            with pytest.raises(StoreError):
                store.real_path(str(root / wanted), str(root))
            return
        try:
            assert store.real_path(str(root / wanted), str(root)) == os.path.normpath(f"{root}/{found}")
        except StoreError:
            assert not exists  # at a name that is missing the kernel stops, before it gets into a loop behind that
