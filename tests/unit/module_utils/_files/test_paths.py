# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which links are followed. Where it matters who runs it, the test needs root, and acts as root and as somebody else."""

import errno
import os
import pwd
from pathlib import Path

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._files import config_file as store
from support.filesystem import ALICE, BOB, ROOT, USERS, acting_as, directory_of, file_of, link_of, message_of, needs_root, raiser
from support.tables import table


class TestRealPath:
    @pytest.mark.parametrize(
        "path, expected",
        [
            ("remote.yaml", "remote.yaml"),
            ("./sub//../remote.yaml", "remote.yaml"),
            ("missing/remote.yaml", "missing/remote.yaml"),
            ("missing/../remote.yaml", "remote.yaml"),
            ("beside", "remote.yaml"),
            ("below", "sub/file"),
            ("chain", "remote.yaml"),
            ("absolute", "remote.yaml"),
            ("dangling", "sub/missing/remote.yaml"),
            ("directory/file", "sub/file"),
            ("directory/../remote.yaml", "remote.yaml"),
            ("directory/", "sub"),
            ("directory/missing", "sub/missing"),
        ],
    )
    def test_finds_the_real_file(self, tmp_path, monkeypatch, path, expected):
        tmp_path = Path(os.path.realpath(str(tmp_path)))
        file_of(directory_of(tmp_path / "sub") / "file")
        file_of(tmp_path / "remote.yaml")
        for name, target in (
            ("beside", "remote.yaml"),
            ("below", "sub/file"),
            ("chain", "./beside"),
            ("absolute", "//" + str(tmp_path / "remote.yaml")),
            ("dangling", "sub/missing/remote.yaml"),
            ("directory", "sub"),
        ):
            link_of(tmp_path / name, target)
        monkeypatch.chdir(str(tmp_path))
        assert store.real_path(path) == str(tmp_path / expected)
        assert store.real_path(str(tmp_path) + "/" + path) == str(tmp_path / expected)
        assert store.real_path(store.real_path(path)) == store.real_path(path)

    def test_the_root_directory_is_itself(self):
        assert store.real_path("/") == store.real_path("/..") == "/"

    @pytest.mark.parametrize("links", [{"a": "a"}, {"a": "b", "b": "a"}, {"a": "b/x", "b": "a/x"}, {"a": "./b", "b": "./a"}], ids=str)
    def test_a_loop_of_links(self, tmp_path, links):
        for name, target in links.items():
            link_of(tmp_path / name, target)
        message = message_of(store.real_path, str(tmp_path / "a"))
        assert message.endswith("/a: its symbolic links form a loop. Remove one of them.")

    def test_links_that_multiply_end_soon(self, tmp_path):
        """Each doubles the number of links to follow: 2 to the power of 30 in all."""
        for number in range(30):
            link_of(tmp_path / f"l{number}", f"l{number + 1}/../l{number + 1}")
        (tmp_path / "l30").mkdir()
        assert "form a loop" in message_of(store.real_path, str(tmp_path / "l0"))

    def test_forty_links_are_followed_as_linux_does(self, tmp_path):
        for number in range(40):
            link_of(tmp_path / f"l{number}", f"l{number + 1}")
        file_of(tmp_path / "l40")
        (tmp_path / "l0").read_bytes()
        assert store.real_path(str(tmp_path / "l0")).endswith("/l40")

    @pytest.mark.parametrize("path", ["/a\0b", "/tmp/\ud800"])
    def test_an_impossible_path(self, path):
        assert "not a possible path" in message_of(store.real_path, path)

    def test_a_file_where_a_directory_should_be(self, tmp_path):
        file_of(tmp_path / "file")
        path = str(tmp_path / "file" / "remote.yaml")
        assert message_of(store.real_path, path) == (
            f"{path}: cannot find the file: Not a directory. A directory on its path is a file, or became a symbolic link while this task ran: "
            "find out what changes it."
        )

    @needs_root
    def test_a_directory_that_may_not_be_searched(self, place):
        directory_of(place / "alice", ALICE, 0o700)
        path = str(place / "alice" / "remote.yaml")
        with acting_as(BOB):
            assert message_of(store.real_path, path) == (
                f"{path}: cannot find the file: Permission denied. Run the task as root or as the owner (become_user)."
            )


# what, who owns the link, its directory's mode, where it leads, who owns what is there; is it followed?
FILE_LINKS = [
    ("root's to root's, beside it", ROOT, 0o755, "/beside", ROOT, True),
    ("root's to bob's, beside it", ROOT, 0o755, "/beside", BOB, True),
    ("bob's to root's, beside it", BOB, 0o755, "/beside", ROOT, True),
    ("bob's to root's, below its directory", BOB, 0o755, "/sub/below", ROOT, True),
    ("bob's to root's, in a sticky directory", BOB, 0o1777, "/beside", ROOT, False),
    ("bob's to bob's, in a sticky directory", BOB, 0o1777, "/beside", BOB, True),
    ("root's to root's, outside", ROOT, 0o755, "/../outside", ROOT, True),
    ("root's to bob's, outside", ROOT, 0o755, "/../outside", BOB, False),
    ("bob's to root's, outside", BOB, 0o755, "/../outside", ROOT, False),
    ("bob's to alice's, outside", BOB, 0o755, "/../outside", ALICE, False),
    ("bob's to bob's, outside", BOB, 0o755, "/../outside", BOB, True),
    ("bob's to alice's, in a directory whose name begins the same", BOB, 0o755, "/../home-and-more/outside", ALICE, False),
    ("bob's to root's, outside by another link", BOB, 0o755, "/directory/outside", ROOT, False),
]


@needs_root
class TestWhoseLinksAreFollowed:
    @pytest.mark.parametrize("runs_as", [ROOT, BOB], **USERS)
    @pytest.mark.parametrize("link_owner, mode, target, target_owner, followed", table(FILE_LINKS))
    def test_of_a_file(self, place, runs_as, link_owner, mode, target, target_owner, followed):
        home = directory_of(place / "home", link_owner, mode)
        directory_of(home / "sub")
        directory_of(place / "home-and-more")
        link_of(home / "directory", "..", link_owner)
        file_of(Path(os.path.realpath(str(home) + target)), target_owner)
        link = link_of(home / "remote.yaml", str(home) + target, link_owner)
        with acting_as(runs_as):
            if followed:
                assert store.real_path(str(link)) == os.path.realpath(str(home) + target)
            else:
                message_of(store.real_path, str(link))

    def test_the_refusal_says_what_and_who(self, place, monkeypatch):
        monkeypatch.setattr(pwd, "getpwuid", lambda uid: {BOB: type("", (), {"pw_name": "bob"})}[uid])
        link = link_of(directory_of(place / "home", BOB) / "remote.yaml", "../shadow", BOB)
        file_of(place / "shadow", ALICE)
        assert message_of(store.real_path, str(link)) == (
            "{}: is a symbolic link that belongs to bob, but {} belongs to user 54321, so it is not followed. "
            "Give both the same owner (chown -h), or name the target as the file to manage.".format(link, place / "shadow")
        )

    @pytest.mark.parametrize("parent_owner, followed", table([("bob's", BOB, True), ("alice's", ALICE, False), ("root's", ROOT, False)]))
    def test_to_nowhere_counts_by_the_nearest_directory(self, place, parent_owner, followed):
        directory_of(place / "scratch", parent_owner)
        link = link_of(directory_of(place / "home", BOB) / "remote.yaml", str(place / "scratch/a/b/remote.yaml"), BOB)
        if followed:
            assert store.real_path(str(link)) == str(place / "scratch/a/b/remote.yaml")
        else:
            assert f"but {place}/scratch/a/b/remote.yaml belongs to" in message_of(store.real_path, str(link))

    def test_every_link_of_a_chain_counts(self, place):
        """Bob's link to his link to a file of root; and root's link to bob's link to a file of root."""
        home = directory_of(place / "home", BOB)
        shadow = file_of(place / "shadow", ROOT)
        link_of(directory_of(place / "scratch", BOB) / "second", str(shadow), BOB)
        for name, owner in (("first", BOB), ("third", ROOT)):
            link = link_of(home / name, str(place / "scratch/second"), owner)
            assert message_of(store.real_path, str(link)).startswith(f"{place}/scratch/second: is a symbolic link that belongs to ")

    @pytest.mark.parametrize(
        "runs_as, link_owner, target_owner, followed",
        table([
            ("as root, root's to bob's", ROOT, ROOT, BOB, True),  # /home/bob -> /lustre/bob
            ("as root, bob's to bob's", ROOT, BOB, BOB, True),
            ("as root, bob's to root's", ROOT, BOB, ROOT, False),
            ("as root, bob's to alice's", ROOT, BOB, ALICE, False),
            ("as bob, root's to alice's", BOB, ROOT, ALICE, True),
            ("as bob, bob's to alice's", BOB, BOB, ALICE, True),  # the kernel says what bob may do there
            ("as bob, alice's to root's", BOB, ALICE, ROOT, False),
        ]),
    )
    def test_of_a_directory(self, place, runs_as, link_owner, target_owner, followed):
        directory_of(place / "target", target_owner)
        link = link_of(directory_of(place / "home") / ".apptainer", str(place / "target"), link_owner)
        with acting_as(runs_as):
            if followed:
                assert store.real_path(str(link / "remote.yaml")) == str(place / "target/remote.yaml")
            else:
                message_of(store.real_path, str(link / "remote.yaml"))


def test_mode_of(place, monkeypatch):
    place.chmod(0o751)
    assert store.mode_of(str(file_of(place / "token", mode=0o640))) == 0o640
    monkeypatch.chdir(place)
    assert store.mode_of("") == 0o751
    assert message_of(store.mode_of, str(place / "gone")).startswith(f"{place}/gone: cannot read the mode: No such file or directory.")


def test_the_link_itself(place):
    (place / "real").mkdir()
    (place / "directory").symlink_to("real")
    (place / "real" / "target").write_text("x")
    (place / "real" / "link").symlink_to("target")
    (place / "real" / "dangling").symlink_to("nothing")
    assert store.link_at(str(place / "directory" / "link")) == str(place / "real" / "link")
    assert store.link_at(str(place / "directory" / "dangling")) == str(place / "real" / "dangling")
    assert store.link_at(str(place / "directory" / "target")) is None
    assert store.link_at(str(place / "directory" / "missing")) is None
    assert store.link_at(f"{place}/real/link", str(place)) == str(place / "real" / "link")


def test_the_link_itself_in_the_working_directory(place, monkeypatch):
    (place / "link").symlink_to("target")
    monkeypatch.chdir(place)
    assert store.link_at("link") == str(place / "link")


def test_the_text_of_a_link(place, link):
    assert store.link_text(str(link)) == str(place / "target")
    assert store.link_text(str(place / "target")) == store.link_text(str(place / "missing")) == ""


ERRORS = pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES], ids=errno.errorcode.get)


@ERRORS
def test_a_link_that_the_system_does_not_show(place, link, monkeypatch, number):
    path = str(link)
    monkeypatch.setattr(os, "readlink", raiser(OSError(number, os.strerror(number))))
    assert message_of(store.link_text, path).startswith(f"{path}: cannot read this symbolic link: {os.strerror(number)}. ")
    real = os.stat
    monkeypatch.setattr(os, "stat", lambda name, **options: raiser(OSError(number, os.strerror(number)))() if name == path else real(name, **options))
    assert message_of(store.link_at, path).startswith(f"{path}: cannot find the file: {os.strerror(number)}. ")


@ERRORS
def test_whether_there_is_a_directory(place, monkeypatch, number):
    assert [store.has_directory(str(place / name)) for name in ("f", "missing/f", "a/b/f")] == [True, False, False]
    monkeypatch.setattr(os, "stat", raiser(OSError(number, os.strerror(number))))
    assert message_of(store.has_directory, str(place / "f")).startswith(f"{place}/f: cannot find its directory: {os.strerror(number)}. ")
