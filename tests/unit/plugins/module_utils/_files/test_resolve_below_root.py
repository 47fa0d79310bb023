# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Symbolic links in the file tree of an image: they mean what they mean there, and never lead out of it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import StoreError
from ansible_collections.hpc.apptainer.plugins.module_utils._files import config_file as store
from hypothesis import example, given, settings
from hypothesis import strategies as st

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
    ("to something that exists", {"etc/apptainer": "/opt/etc", "opt/etc": None}, "opt/etc/remote.yaml"),
    ("at the beginning", {"etc": "/opt/etc"}, "opt/etc/apptainer/remote.yaml"),
    ("a relative link", {"etc/apptainer": "../opt/etc"}, "opt/etc/remote.yaml"),
    ("a link of the file", {WANTED: "/srv/remote.yaml"}, "srv/remote.yaml"),
    ("a relative one", {WANTED: "../../srv/remote.yaml"}, "srv/remote.yaml"),
    ("a link to a link", {"etc": "/a", "a": "b", "b/apptainer": "/c", "c/remote.yaml": "d"}, "c/d"),
    (".. stops at the root, as it does there", {"etc": "../../../../opt"}, "opt/apptainer/remote.yaml"),
    ("also in the middle", {"etc/apptainer": "/a/../../../b"}, "b/remote.yaml"),
    ("a link to the root", {"etc": "/"}, "apptainer/remote.yaml"),
    ("a link to what is above it", {"etc": ".."}, "apptainer/remote.yaml"),
]


@pytest.mark.parametrize(("tree", "real"), [pytest.param(*row[1:], id=row[0]) for row in TREES])
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


@pytest.mark.parametrize("tree", [{"etc": "/etc"}, {"etc": "b", "b": "/etc"}, {WANTED: "remote.yaml"}, {"etc": "../../etc"}])
def test_a_circle(tmp_path, tree):
    root = make(tmp_path / "root", tree)
    with pytest.raises(StoreError, match="in a circle"):
        store.real_path(f"{root}/{WANTED}", root)


@pytest.mark.parametrize("path", ["/etc/apptainer/remote.yaml", "{}", "{}/../other/x", "{}2/x", "{}/etc/../../x"])
def test_a_path_elsewhere_is_refused(tmp_path, path):
    root = make(tmp_path / "root", {})
    place = path.format(root)
    if place == root:
        assert store.real_path(place, root) == root
        return
    with pytest.raises(StoreError, match=f"is not below the root {root}"):
        store.real_path(place, root)


NAMES = st.sampled_from(["a", "b", "c"])
PLACES = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
TARGETS = st.tuples(st.sampled_from(["", "/"]), st.lists(NAMES | st.just(".."), min_size=1, max_size=4).map("/".join)).map("".join)


def in_chroot(root, path):
    """What the kernel and Python make of a path below a root: the real path, or nothing for a circle."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.chroot(root)
            os.chdir("/")
            answer = os.path.realpath(path)
            try:
                os.stat(path)
            except FileNotFoundError:
                pass
            except OSError:
                answer = ""
            os.write(writer, answer.encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        answer = stream.read()
    os.waitpid(child, 0)
    return answer


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change its root to compare")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
@settings(deadline=None)
@given(st.lists(st.tuples(PLACES, TARGETS), max_size=5), PLACES)
@example([("a", "/b"), ("b/c", "../../../x")], "a/c")
def test_the_kernel_agrees(links, wanted):
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "root"
        root.mkdir()
        for place, target in links:
            path = Path(store.real_path(str(root / place), str(root))) if in_chroot(root, "/" + place) else None
            if path is not None and not os.path.lexists(path):
                try:
                    path.parent.mkdir(parents=True, exist_ok=True)
                except OSError:
                    continue
                path.symlink_to(target)
        kernel = in_chroot(root, "/" + wanted)
        if not kernel:
            with pytest.raises(StoreError):
                store.real_path(str(root / wanted), str(root))
        else:
            assert store.real_path(str(root / wanted), str(root)) == os.path.normpath(f"{root}/{kernel}")
