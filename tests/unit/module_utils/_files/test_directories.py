# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Making directories, and putting them right. Where it matters who runs it, the test needs root, and acts as root and as somebody else."""

import contextlib
import errno
import os
import time

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import ConflictError
from ansible_collections.hpc.apptainer.plugins.module_utils._files import config_file as store
from ansible_collections.hpc.apptainer.plugins.module_utils._files import directories
from support.filesystem import ALICE, BOB, ROOT, acting_as, directory_of, file_of, ids, link_of, message_of, mode_of, names, needs_root, raiser, umask
from support.tables import table


class TestMakeDirectory:
    @pytest.mark.parametrize("mask", [0o000, 0o077], ids=oct)
    @pytest.mark.parametrize("mode", [0o700, 0o755], ids=oct)
    def test_the_mode_does_not_depend_on_the_umask(self, tmp_path, mask, mode):
        with umask(mask):
            assert store.make_directory(str(tmp_path / "a/b/c"), mode) is True
        assert [mode_of(tmp_path / path) for path in ("a", "a/b", "a/b/c")] == [0o755, 0o755, mode]

    def test_what_exists_is_left_alone(self, tmp_path):
        path = directory_of(tmp_path / "a", mode=0o777)
        assert store.make_directory(str(path), 0o700) is False
        assert mode_of(path) == 0o777
        assert store.make_directory("/", 0o700) is False

    def test_a_file_in_the_way(self, tmp_path):
        file_of(tmp_path / "a")
        for path in (tmp_path / "a", tmp_path / "a/b"):
            assert "Not a directory. A directory on its path is a file" in message_of(store.make_directory, str(path), 0o755)

    @pytest.mark.parametrize("name", ["link", "link/below"])
    def test_a_link_that_was_not_there_when_the_path_was_resolved_is_not_followed(self, tmp_path, name):
        directory_of(tmp_path / "real")
        link_of(tmp_path / "link", "real")
        assert "became a symbolic link while this task ran: find out what changes it" in message_of(store.make_directory, str(tmp_path / name), 0o700)
        assert names(tmp_path / "real") == []

    def test_it_has_its_lock_before_it_has_its_name(self, tmp_path, monkeypatch):
        """So nobody can rename an empty one over it, which others may hold open already."""
        seen, rename = [], os.rename

        def renamed(*args, **options):
            seen.append([mode_of(path) for path in (tmp_path / ".a.ansible-new", tmp_path / ".a.ansible-new/b")])
            assert names(tmp_path / ".a.ansible-new/b") == [store.LOCK_FILE]
            rename(*args, **options)

        monkeypatch.setattr(os, "rename", renamed)
        assert store.make_directory(str(tmp_path / "a/b"), 0o700)
        assert seen == [[0o755, 0o700]]
        assert names(tmp_path) == ["a"]

    @pytest.mark.parametrize("function", ["mkdir", "fchown", "fchmod", "rename"])
    @pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
    @pytest.mark.parametrize("when", [1, 2])
    def test_the_next_run_goes_on_with_what_a_killed_one_left(self, tmp_path, monkeypatch, function, before, when):
        calls, really = [], getattr(os, function)

        class Killed(BaseException):
            pass

        def kill(*args, **options):
            calls.append(args)
            if len(calls) == when and before:
                raise Killed
            really(*args, **options)
            if len(calls) == when:
                raise Killed

        monkeypatch.setattr(os, function, kill)
        with contextlib.suppress(Killed):
            store.make_directory(str(tmp_path / "a/b"), 0o750)
        monkeypatch.undo()
        assert "a" not in names(tmp_path) or mode_of(tmp_path / "a/b") == 0o750
        store.make_directory(str(tmp_path / "a/b"), 0o750)
        assert names(tmp_path) == ["a"]
        assert [mode_of(tmp_path / path) for path in ("a", "a/b")] == [0o755, 0o750]
        assert names(tmp_path / "a/b") == [store.LOCK_FILE]

    @pytest.mark.parametrize("function", ["mkdir", "listdir", "fchmod", "rename"])
    def test_another_task_is_faster(self, tmp_path, monkeypatch, function):
        """At any moment: it makes the same, under the same name, and renames it."""
        calls, really = [], getattr(os, function)

        def late(*args, **options):
            calls.append(args)
            if len(calls) == 1:
                assert store.make_directory(str(tmp_path / "a"), 0o700)
            return really(*args, **options)

        monkeypatch.setattr(os, function, late)
        assert store.make_directory(str(tmp_path / "a"), 0o700) is False
        assert (names(tmp_path), names(tmp_path / "a"), mode_of(tmp_path / "a")) == (["a"], [store.LOCK_FILE], 0o700)

    @pytest.mark.parametrize("path", ["a", "a/b"])
    def test_another_program_is_faster(self, tmp_path, monkeypatch, path):
        really = os.rename

        def rename(*args, **options):
            file_of(directory_of(tmp_path / path, mode=0o711) / "remote.yaml")
            really(*args, **options)

        monkeypatch.setattr(os, "rename", rename)
        assert store.make_directory(str(tmp_path / path), 0o700) is False
        assert mode_of(tmp_path / path) == 0o711
        assert names(tmp_path) == ["a"]

    def test_it_is_there_when_its_parent_is_looked_for(self, tmp_path, monkeypatch):
        monkeypatch.setattr(directories, "nearest", lambda path: (path, []))
        assert store.make_directory(str(tmp_path / "a"), 0o700) is False

    def test_its_parent_is_gone_meanwhile(self, tmp_path, monkeypatch):
        directory_of(tmp_path / "a")
        monkeypatch.setattr(directories, "nearest", lambda path, really=directories.nearest: (
            (tmp_path / "a").rmdir() if (tmp_path / "a").exists() else None, (str(tmp_path / "a"), ["b"]))[1] if not (tmp_path / "x").exists()
            else really(path))
        monkeypatch.setattr(time, "sleep", lambda _seconds: (tmp_path / "x").touch())
        assert store.make_directory(str(tmp_path / "a/b"), 0o700) is True

    @pytest.mark.parametrize("make", table([
        ("a file", file_of), ("a link", lambda path: link_of(path, "elsewhere")), ("a FIFO", os.mkfifo),
        ("a directory with something in it", lambda path: file_of(directory_of(path, mode=0o750) / "secret")),
    ]))
    def test_something_else_in_its_place(self, tmp_path, monkeypatch, make):
        """Nor is a directory given away that somebody else put there."""
        other, path = tmp_path / ".a.ansible-new", tmp_path / "a"
        make(other)
        before = os.lstat(other)
        monkeypatch.setattr(time, "sleep", lambda _seconds: None)
        assert message_of(store.make_directory, str(path), 0o755) == (
            f"{path}: cannot create this directory: {other} is in the way. Remove it, and run again.")
        assert (os.lstat(other).st_mode, ids(other)) == (before.st_mode, (before.st_uid, before.st_gid))
        assert names(tmp_path) == [other.name]

    @pytest.mark.parametrize("function", ["mkdir", "rename"])
    def test_what_the_system_refuses(self, tmp_path, monkeypatch, function):
        monkeypatch.setattr(os, function, raiser(OSError(errno.ENOSPC, "No space left on device")))
        assert message_of(store.make_directory, str(tmp_path / "a"), 0o755) == (
            f"{tmp_path}/a: cannot create this directory: No space left on device. Free some space, and run again.")

    @needs_root
    def test_a_user_is_not_locked_out_by_what_root_left(self, place):
        home = directory_of(place / "bob", BOB)
        directory_of(home / ".a.ansible-new", ROOT, 0o700)
        with acting_as(BOB):
            assert store.make_directory(str(home / "a"), 0o700) is True
        assert (names(home), ids(home / "a")) == (["a"], (BOB, BOB))

    @needs_root
    def test_what_root_makes_for_a_user_is_the_users(self, place):
        home = directory_of(place / "home/bob", BOB)
        assert store.make_directory(str(home / ".config/.apptainer"), 0o700) is True
        assert (ids(home / ".config"), ids(home / ".config/.apptainer")) == ((BOB, BOB), (BOB, BOB))
        assert store.make_directory(str(place / "etc/apptainer"), 0o755) is True
        assert ids(place / "etc/apptainer") == (ROOT, ROOT)

    @needs_root
    def test_what_a_user_makes_is_the_users(self, place):
        path = directory_of(place / "shared", ALICE, 0o777) / "bob"
        with acting_as(BOB):
            assert store.make_directory(str(path), 0o700) is True
        assert ids(path) == (BOB, BOB)

    @needs_root
    def test_where_a_user_may_not(self, place):
        with acting_as(BOB):
            assert message_of(store.make_directory, str(place / "etc"), 0o755) == (
                f"{place}/etc: cannot create this directory: Permission denied. Run the task as root or as the owner (become_user)."
            )


def drift(path, before, after):
    return store.DirectoryDrift(str(path), directories.Attributes(*before), directories.Attributes(*after))


class TestGlobalDirectory:
    @pytest.mark.parametrize(("mode", "group_may_write", "expected"), table([
        ("usual", 0o755, False, 0o755), ("only searched", 0o711, False, 0o711), ("left by a killed run", 0o700, False, 0o755),
        ("not for others", 0o750, False, 0o755), ("with its special bits", 0o2700, False, 0o2755), ("for the group", 0o775, False, 0o755),
        ("for the group that may write the file", 0o2775, True, 0o2775), ("for all", 0o777, True, 0o775), ("both", 0o722, False, 0o755),
    ]))
    def test_its_mode(self, tmp_path, mode, group_may_write, expected):
        path = directory_of(tmp_path / "apptainer", mode=mode)
        found = store.global_directory_drift(str(path), group_may_write)
        assert found == (None if mode == expected else drift(path, (mode, *ids(path)), (expected, *ids(path))))
        if found:
            store.repair_directory(found)
        assert mode_of(path) == expected
        assert store.global_directory_drift(str(path), group_may_write) is None

    @needs_root
    @pytest.mark.parametrize(("above", "owner", "expected"), table([
        ("root's", ROOT, ROOT, ROOT), ("bob's in root's", ROOT, BOB, ROOT), ("root's in alice's", ALICE, ROOT, ROOT),
        ("alice's in hers", ALICE, ALICE, ALICE), ("bob's in alice's", ALICE, BOB, ALICE),
    ]))
    def test_its_owner(self, place, above, owner, expected):
        path = directory_of(directory_of(place / "etc", above) / "apptainer", owner)
        lock = file_of(path / store.LOCK_FILE, owner, b"")
        found = store.global_directory_drift(str(path))
        assert found == (None if owner == expected else drift(path, (0o755, owner, owner), (0o755, expected, expected)))
        if found:
            store.repair_directory(found)
        assert ids(path) == ids(lock) == (expected, expected)

    def test_there_is_none(self, tmp_path):
        assert store.global_directory_drift(str(tmp_path / "none")) is None

    @needs_root
    def test_who_may_not_repair_it_is_told_before(self, place):
        path = directory_of(place / "apptainer", mode=0o775)
        with acting_as(BOB):
            assert message_of(store.global_directory_drift, str(path)) == (
                f"{path}: cannot set the mode 0755: Operation not permitted. Run the task as root or as the owner (become_user).")
            assert store.global_directory_drift(str(path), group_may_write=True) is None

    @needs_root
    def test_an_owner_who_is_not_root_sets_the_mode_only(self, place):
        path = directory_of(place / "apptainer", BOB, 0o700)
        with acting_as(BOB):
            store.repair_directory(store.global_directory_drift(str(path)))
        assert (mode_of(path), ids(path)) == (0o755, (BOB, BOB))

    @pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE], ids=errno.errorcode.get)
    @pytest.mark.parametrize("function", ["fstat", "stat"])
    def test_what_the_system_does_not_say(self, tmp_path, monkeypatch, number, function):
        monkeypatch.setattr(os, function, raiser(OSError(number, os.strerror(number))))
        message = message_of(store.global_directory_drift, str(tmp_path))
        monkeypatch.undo()
        assert message.startswith(f"{tmp_path}: cannot find its mode and owner: {os.strerror(number)}.")

    def test_who_changed_it_meanwhile_is_not_undone(self, tmp_path):
        path = directory_of(tmp_path / "apptainer", mode=0o700)
        found = store.global_directory_drift(str(path))
        path.chmod(0o711)
        with pytest.raises(ConflictError, match="was changed by someone else"):
            store.repair_directory(found)
        assert mode_of(path) == 0o711

    def test_a_diff_shows(self, tmp_path):
        path = directory_of(tmp_path / "apptainer", mode=0o700)
        assert store.global_directory_drift(str(path)).after.shown() == {"mode": "0755", "owner": ids(path)[0], "group": ids(path)[1]}


@needs_root
class TestUsersDirectory:
    @pytest.mark.parametrize("inside", [[], [store.LOCK_FILE]], ids=["empty", "with its lock"])
    def test_an_empty_one_of_root_goes_to_the_owner_of_the_home(self, place, inside):
        path = directory_of(directory_of(place / "home", BOB) / ".apptainer", ROOT, 0o700)
        for name in inside:
            file_of(path / name, ROOT, b"")
        found = store.users_directory_drift(str(path))
        assert found == drift(path, (0o700, ROOT, ROOT), (0o700, BOB, BOB))
        store.repair_directory(found)
        assert ids(path) == ids(path / store.LOCK_FILE) == (BOB, BOB)
        assert store.users_directory_drift(str(path)) is None

    @pytest.mark.parametrize(("name", "home", "owner", "inside"), table([
        ("with something in it", ".apptainer", BOB, ROOT, ["remote.yaml"]), ("the user's own", ".apptainer", BOB, BOB, []),
        ("in a home of root", ".apptainer", ROOT, ROOT, []), ("another one", "data", BOB, ROOT, []), ("of alice", ".singularity", BOB, ALICE, []),
    ]))
    def test_others_stay(self, place, name, home, owner, inside):
        path = directory_of(directory_of(place / "home", home) / name, owner, 0o700)
        for file in inside:
            file_of(path / file)
        assert store.users_directory_drift(str(path)) is None

    def test_there_is_none(self, place):
        assert store.users_directory_drift(str(place / ".apptainer")) is None

    def test_only_root_can_give_it(self, place):
        path = directory_of(directory_of(place / "home", BOB) / ".apptainer", ROOT)
        with acting_as(BOB):
            assert store.users_directory_drift(str(path)) is None
