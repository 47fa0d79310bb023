# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules at work on the file tree of an image: all below its root, wherever its links lead."""

from __future__ import annotations

import os
import stat
import subprocess
import sys

import pytest
from support import envs
from support.files import snapshot

SITE = {"name": "site", "uri": "https://library.example.org", "default": True}
CONTENT = "Active: site\nRemotes:\n    site:\n        URI: library.example.org\n        System: true\n        Exclusive: false\n"
TASKS = {
    "apptainer_remotes": {"scope": "global", "remotes": [SITE]},
    "apptainer_remote": {"scope": "global", **SITE},
    "apptainer_keyserver": {"remote": "site", "uri": "https://keys.example.org", "builtin_uri": "https://own.example.org"},
    "apptainer_remote_info": {"scope": "global"},
}


@pytest.fixture
def root(tmp_path):
    path = tmp_path / "srv" / "images" / "n1"
    path.mkdir(parents=True)
    return path


def link(root, name, target):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).symlink_to(target)


@pytest.mark.parametrize(("links", "where"), [
    ({}, "etc/apptainer/remote.yaml"),
    ({"etc/apptainer": "/opt/etc"}, "opt/etc/remote.yaml"),
    ({"etc": "opt/etc"}, "opt/etc/apptainer/remote.yaml"),
    ({"etc": "../../../../opt"}, "opt/apptainer/remote.yaml"),
    ({"etc/apptainer/remote.yaml": "/srv/remote.yaml"}, "srv/remote.yaml"),
])  # fmt: skip
def test_an_image(run_module, node_python, root, tmp_path, links, where):
    for name, target in links.items():
        link(root, name, target)
    before = snapshot(root)
    foreseen = run_module("apptainer_remotes", {**TASKS["apptainer_remotes"], "root": str(root)}, check=True, diff=True, python=node_python)
    assert snapshot(root) == before
    done = run_module("apptainer_remotes", {**TASKS["apptainer_remotes"], "root": str(root)}, diff=True, python=node_python)
    for answer in (foreseen.result, done.result):
        answer.pop("invocation", None)
    assert foreseen.result == done.result
    assert done.result["config_file"] == str(root / where)
    assert (root / where).read_text() == CONTENT
    assert stat.S_IMODE((root / where).stat().st_mode) == 0o644
    again = run_module("apptainer_remotes", {**TASKS["apptainer_remotes"], "root": str(root)}, python=node_python)
    assert not again.result["changed"]
    shown = run_module("apptainer_remote_info", {**TASKS["apptainer_remote_info"], "root": str(root), "program": True}, python=node_python)
    assert (shown.result["effective"]["default"], shown.result["findings"], shown.result["program"]) == ("site", [], None)
    assert {path.name for path in tmp_path.iterdir()} <= {"srv", "home"}


def test_all_modules_take_it(run_module, root):
    for name in ("apptainer_remote", "apptainer_remotes", "apptainer_keyserver"):
        done = run_module(name, {**TASKS[name], "root": str(root)})
        assert done.rc == 0, done.stdout
        assert done.result["config_file"] == str(root / "etc/apptainer/remote.yaml")
    assert "https://keys.example.org" in (root / "etc/apptainer/remote.yaml").read_text()


@pytest.mark.parametrize(("made", "options", "where"), [
    (["usr/local/etc/apptainer"], {}, "usr/local/etc/apptainer/remote.yaml"),
    (["usr/local/etc/apptainer", "etc/apptainer"], {}, "etc/apptainer/remote.yaml"),
    (["etc/apptainer"], {"sysconfdir": "/opt/etc"}, "opt/etc/apptainer/remote.yaml"),
    ([], {"flavor": "singularity"}, "etc/singularity/remote.yaml"),
])  # fmt: skip
def test_where_the_file_is(run_module, root, made, options, where):
    for name in made:
        (root / name).mkdir(parents=True)
    done = run_module("apptainer_remotes", {**TASKS["apptainer_remotes"], **options, "root": str(root)})
    assert done.result["config_file"] == str(root / where)
    assert (root / where).read_text() == CONTENT


@pytest.mark.parametrize("module", sorted(TASKS))
@pytest.mark.parametrize(("path", "words"), [
    ("", 'root is "", but must be an absolute path; leave it out for the file system of this node'),
    ("srv", 'root is "srv", but must be an absolute path; leave it out'),
    ("/srv/imagse/n1", "root /srv/imagse/n1 is not a directory on this node; create it, or correct the path"),
])  # fmt: skip
def test_an_impossible_root(run_module, module, path, words):
    done = run_module(module, {**TASKS[module], "root": path})
    assert done.result["failed"]
    assert done.result["msg"].startswith(words)
    assert not os.path.exists("/srv/imagse")


@pytest.mark.parametrize("module", ["apptainer_remotes", "apptainer_remote_info"])
def test_a_circle_is_refused_by_who_writes_and_found_by_who_looks(run_module, root, module):
    link(root, "etc/apptainer", "apptainer")
    result = run_module(module, {**TASKS[module], "root": str(root)}).result
    said = result.get("msg") or result["findings"][0]["message"]
    assert "its symbolic links form a loop" in said
    assert bool(result.get("failed")) == (module == "apptainer_remotes")


@pytest.mark.parametrize("module", ["apptainer_remote", "apptainer_remote_info"])
def test_a_users_home_in_an_image_is_not_known(run_module, root, module):
    args = {**TASKS[module], "root": str(root), "scope": "user"}
    done = run_module(module, args)
    assert done.result["msg"] == f"with root {root}, the user's home is ambiguous; set config_file, or scope: global"
    (root / "data/ci").mkdir(parents=True)
    link(root, "home", "/data")
    done = run_module(module, {**args, "config_file": str(root / "home/ci/.apptainer/remote.yaml")})
    assert done.rc == 0, done.stdout
    assert (root / "data/ci/.apptainer/remote.yaml").exists() == (module == "apptainer_remote")


def test_a_users_file_is_seen_with_the_global_file_of_its_image(run_module, root):
    run_module("apptainer_remotes", {**TASKS["apptainer_remotes"], "root": str(root)})
    link(root, "root/.apptainer/remote.yaml", "/etc/apptainer/remote.yaml")
    args = {"name": "site", "uri": "https://other.example", "root": str(root), "config_file": str(root / "root/other/remote.yaml")}
    assert "it is a global endpoint (library.example.org)" in run_module("apptainer_remote", args).result["msg"]
    args["config_file"] = str(root / "root/.apptainer/remote.yaml")
    refused = run_module("apptainer_remote", args).result["msg"]
    assert "is the global file, which everyone can read, so a user's settings and secrets must not go there" in refused


@pytest.mark.parametrize("option", ["config_file", "sysconfdir"])
def test_a_path_elsewhere_is_refused(run_module, root, tmp_path, option):
    elsewhere = str(tmp_path / "other/remote.yaml") if option == "config_file" else "../other"
    done = run_module("apptainer_remotes", {**TASKS["apptainer_remotes"], "root": str(root), option: elsewhere})
    assert f"is not below the root {root}" in done.result["msg"]
    assert snapshot(root) == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_files_belong_to_who_builds_the_image(run_module, root):
    (root / "etc").mkdir()
    os.chown(root / "etc", 4711, 4712)
    done = run_module("apptainer_remotes", {**TASKS["apptainer_remotes"], "root": str(root)})
    assert done.rc == 0, done.stdout
    for name in ("etc/apptainer", "etc/apptainer/remote.yaml"):
        assert ((root / name).stat().st_uid, (root / name).stat().st_gid) == (4711, 4712)
    result = run_module("apptainer_remote_info", {**TASKS["apptainer_remote_info"], "root": str(root)}).result
    assert result["findings"] == []


def test_the_root_of_this_node_is_no_other(run_module, tmp_path):
    args = {"root": "/", "sysconfdir": str(tmp_path / "etc"), **TASKS["apptainer_remotes"]}
    assert run_module("apptainer_remotes", args).result["config_file"] == str(tmp_path / "etc/apptainer/remote.yaml")


@pytest.mark.parametrize("path", ["//", "/.", "link"])
def test_other_names_of_this_nodes_root(run_module, tmp_path, path):
    (tmp_path / "link").symlink_to("/")
    path = str(tmp_path / path) if path == "link" else path
    args = {**TASKS["apptainer_remotes"], "root": path, "config_file": str(tmp_path / "etc/remote.yaml")}
    assert run_module("apptainer_remotes", args).result["config_file"] == str(tmp_path / "etc/remote.yaml")


@pytest.mark.parametrize("name", ["link", "link/", "n1//", "x/../n1"])
def test_other_names_of_an_images_root(run_module, root, name):
    (root.parent / "link").symlink_to("n1")
    (root.parent / "x").mkdir()
    done = run_module("apptainer_remotes", {**TASKS["apptainer_remotes"], "root": f"{root.parent}/{name}"})
    assert done.result["config_file"] == str(root / "etc/apptainer/remote.yaml")
    shown = run_module("apptainer_remote_info", {**TASKS["apptainer_remote_info"], "root": f"{root.parent}/{name}"}).result
    assert (shown["effective"]["default"], shown["findings"]) == ("site", [])
    names = {"", "etc", "etc/apptainer", "etc/apptainer/remote.yaml", "etc/apptainer/.ansible-hpc.apptainer.lock"}
    assert {str(path.relative_to(root)) for path in root.rglob("*")} <= names


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts in a private mount namespace: needs root")
@pytest.mark.parametrize("check", [False, True])
def test_a_read_only_image(run_module, root, tmp_path, check):
    script = tmp_path / "python"
    mount = f"mount --bind {root} {root} && mount -o remount,bind,ro {root}"
    script.write_text(f"#!/bin/sh\nexec unshare --mount --propagation private sh -c '{mount} && exec \"$@\"' sh {sys.executable} \"$@\"\n")
    script.chmod(0o755)
    if subprocess.run([script, "-c", ""], check=False).returncode:
        pytest.skip("no private mount namespaces here")
    args = {**TASKS["apptainer_remotes"], "root": str(root)}
    done = run_module("apptainer_remotes", args, check=check, python=envs.Node(envs.core("running"), script))
    assert done.result["msg"].endswith("cannot write: Read-only file system. Mount the file system writable, or make the change where its image "
                                       "is built. The file is unchanged.")
