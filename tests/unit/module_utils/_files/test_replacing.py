# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Replacing files, on real ones. Where it matters who runs it, the test needs root, and acts as root and as somebody else."""

import errno
import os
import pwd
import stat
import time
from pathlib import Path

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import ConflictError, StoreError
from ansible_collections.hpc.apptainer.plugins.module_utils._files import config_file as store
from ansible_collections.hpc.apptainer.plugins.module_utils._files import replacing
from support.filesystem import (
    ALICE,
    BOB,
    LAB,
    ROOT,
    USERS,
    acting_as,
    directory_of,
    file_of,
    ids,
    link_of,
    message_of,
    mode_of,
    names,
    needs_root,
    nothing,
    raiser,
    umask,
)
from support.tables import table


class TestReplace:
    @pytest.mark.parametrize("data", table([("no bytes", b""), ("a line", b"new\n"), ("no text", b"\0\xff" * 1000000)]))
    @pytest.mark.parametrize("exists", [True, False], ids=["in an old file", "in a new file"])
    def test_the_data_arrives(self, tmp_path, data, exists):
        path = tmp_path / "remote.yaml"
        if exists:
            file_of(path)
        store.replace(store.Replacement(str(path), data, nothing))
        assert path.read_bytes() == data
        assert names(tmp_path) == ["remote.yaml"]

    @pytest.mark.parametrize("mask", [0o000, 0o077], ids=oct)
    @pytest.mark.parametrize("exists", [True, False], ids=["an old file", "a new file"])
    def test_it_is_private_until_prepared(self, tmp_path, mask, exists):
        path = tmp_path / "remote.yaml"
        if exists:
            file_of(path, mode=0o666)
        seen = []

        def prepare(temporary):
            seen.append((mode_of(temporary), Path(temporary).read_bytes(), path.exists() and path.read_bytes()))
            seen.append(temporary)
            os.chmod(temporary, 0o644)

        with umask(mask):
            store.replace(store.Replacement(str(path), b"new\n", prepare))
        assert seen[0] == (0o600, b"new\n", b"old\n" if exists else False)
        assert seen[1].startswith(f"{tmp_path}/.remote.yaml.ansible-")
        assert mode_of(path) == 0o644

    def test_without_a_mode_it_stays_private(self, tmp_path):
        path = file_of(tmp_path / "remote.yaml", mode=0o666)
        store.replace(store.Replacement(str(path), b"new\n", nothing))
        assert mode_of(path) == 0o600

    @pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), ValueError("no"), StoreError("no")], ids=repr)
    def test_whatever_prepare_raises_changes_nothing(self, tmp_path, error):
        path = file_of(tmp_path / "remote.yaml")
        with pytest.raises(type(error)) as caught:
            store.replace(store.Replacement(str(path), b"new\n", raiser(error)))
        assert caught.value is error
        assert names(tmp_path) == ["remote.yaml"]
        assert path.read_bytes() == b"old\n"

    def test_a_system_error_of_prepare_is_explained(self, tmp_path):
        path = file_of(tmp_path / "remote.yaml")
        message = message_of(store.replace, store.Replacement(str(path), b"new\n", raiser(OSError("chown went wrong"))))
        assert message == (
            f"{path}: cannot write: chown went wrong. Retry; if it persists, see the kernel logs of the node and of the file server."
            " The file is unchanged."
        )
        assert names(tmp_path) == ["remote.yaml"]

    @pytest.mark.parametrize(
        "function, number, advice",
        table([
            ("a full disk", "fsync", errno.ENOSPC, "Free some space, and run again."),
            ("a quota", "fsync", errno.EDQUOT, "The disk quota is used up: free some space, and run again."),
            ("a mount point", "replace", errno.EBUSY, "If it is a mount point, as in a container, change the file that is mounted there."),
            ("a read-only disk", "replace", errno.EROFS, "Mount the file system writable, or make the change where its image is built."),
        ]),
    )
    def test_system_errors_change_nothing(self, tmp_path, monkeypatch, function, number, advice):
        path = file_of(tmp_path / "remote.yaml")
        monkeypatch.setattr(os, function, raiser(OSError(number, os.strerror(number))))
        message = message_of(store.replace, store.Replacement(str(path), b"secret\n", nothing))
        assert message == f"{path}: cannot write: {os.strerror(number)}. {advice} The file is unchanged."
        assert names(tmp_path) == ["remote.yaml"]
        assert path.read_bytes() == b"old\n"

    def test_the_data_is_on_disk_before_it_is_visible_and_the_name_after(self, tmp_path, monkeypatch):
        path = file_of(tmp_path / "remote.yaml")
        order = []
        really = {name: getattr(os, name) for name in ("fsync", "replace")}

        def fsync(fd):
            order.append("fsync directory" if stat.S_ISDIR(os.fstat(fd).st_mode) else f"fsync {os.fstat(fd).st_size} bytes")
            really["fsync"](fd)

        def rename(*args, **kwargs):
            order.append("rename")
            really["replace"](*args, **kwargs)

        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(os, "replace", rename)
        store.replace(store.Replacement(str(path), b"new\n", lambda _: order.append("prepare")))
        assert order == ["prepare", "fsync 4 bytes", "rename", "fsync directory"]

    @pytest.mark.parametrize("number, fails", table([("EINVAL", errno.EINVAL, False), ("EBADF", errno.EBADF, False), ("EIO", errno.EIO, True)]))
    def test_a_directory_that_cannot_be_flushed(self, tmp_path, monkeypatch, number, fails):
        path = file_of(tmp_path / "remote.yaml")
        really = os.fsync

        def fsync(fd):
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                raise OSError(number, os.strerror(number))
            really(fd)

        monkeypatch.setattr(os, "fsync", fsync)
        if fails:
            message = message_of(store.replace, store.Replacement(str(path), b"new\n", nothing))
            assert "cannot flush its directory to disk" in message
            assert message.endswith("The new file is in place, but a power failure may undo that.")
        else:
            store.replace(store.Replacement(str(path), b"new\n", nothing))
        assert path.read_bytes() == b"new\n"

    def test_a_directory_in_the_way(self, tmp_path):
        path = directory_of(tmp_path / "remote.yaml")
        assert "cannot write: Is a directory." in message_of(store.replace, store.Replacement(str(path), b"new\n", nothing))
        assert names(tmp_path) == ["remote.yaml"]

    def test_a_missing_directory(self, tmp_path):
        missing = store.Replacement(str(tmp_path / "a/remote.yaml"), b"", nothing)
        assert "cannot write: No such file or directory." in message_of(store.replace, missing)

    def test_a_name_that_leaves_no_room_for_a_temporary_one(self, tmp_path):
        path = file_of(tmp_path / ("x" * 250))
        assert "File name too long" in message_of(store.replace, store.Replacement(str(path), b"", nothing))
        assert path.read_bytes() == b"old\n"

    def test_a_temporary_file_that_was_planted(self, tmp_path, monkeypatch):
        """Nobody can guess its name; if somebody did, root would not write into what he put there."""
        path, victim = file_of(tmp_path / "remote.yaml"), file_of(tmp_path / "victim")
        monkeypatch.setattr(os, "urandom", bytes)
        os.link(str(victim), str(tmp_path / (".remote.yaml.ansible-" + "00" * 8)))
        assert "cannot write: File exists." in message_of(store.replace, store.Replacement(str(path), b"new\n", nothing))
        assert (path.read_bytes(), victim.read_bytes()) == (b"old\n", b"old\n")

    def test_what_is_unchanged_since_it_was_read_is_replaced(self, tmp_path):
        path = tmp_path / "remote.yaml"
        store.replace(store.Replacement(str(path), b"one\n", nothing, store.read(str(path))))
        store.replace(store.Replacement(str(path), b"two\n", nothing, before=store.read(str(path))))
        assert path.read_bytes() == b"two\n"

    @pytest.mark.parametrize(
        "before, intruder",
        table([
            ("written", b"old\n", lambda path: path.write_bytes(b"theirs\n")),
            ("mode changed", b"old\n", lambda path: path.chmod(0o666)),
            ("removed", b"old\n", lambda path: path.unlink()),
            ("created", None, lambda path: path.write_bytes(b"theirs\n")),
        ]),
    )
    def test_what_somebody_changed_meanwhile_is_kept(self, tmp_path, before, intruder):
        path = tmp_path / "remote.yaml"
        if before is not None:
            file_of(path, data=before)
        state = store.read(str(path))
        message = message_of(store.replace, store.Replacement(str(path), b"ours\n", lambda _: intruder(path), state))
        assert message == f"{path}: was changed by someone else while this task ran, so it is left as it is now. Run again."
        assert not path.exists() or path.read_bytes() != b"ours\n"
        assert [name for name in names(tmp_path) if "ansible" in name] == []

    def test_no_message_contains_the_data(self, tmp_path, monkeypatch):
        path = file_of(tmp_path / "remote.yaml", data=b"old-token")
        for number in range(1, 134):
            monkeypatch.setattr(os, "replace", raiser(OSError(number, os.strerror(number))))
            with pytest.raises(StoreError) as caught:
                store.replace(store.Replacement(str(path), b"new-token", nothing, store.read(str(path))))
            assert "-token" not in f"{caught.value!r} {caught.value.__cause__!r}"


@needs_root
class TestOwners:
    @pytest.mark.parametrize("uid, gid", table([
        ("root's", ROOT, ROOT), ("root's and the lab's", ROOT, LAB), ("bob's", BOB, BOB), ("bob's and the lab's", BOB, LAB)]))
    def test_root_keeps_those_of_the_file(self, place, uid, gid):
        path = file_of(directory_of(place / "d", ALICE) / "remote.yaml", uid, gid=gid)
        store.replace(store.Replacement(str(path), b"new\n", nothing))
        assert ids(path) == (uid, gid)

    def test_prepare_may_change_them(self, place):
        path = file_of(place / "remote.yaml", BOB)
        store.replace(store.Replacement(str(path), b"new\n", lambda temporary: os.chown(temporary, ALICE, LAB)))
        assert ids(path) == (ALICE, LAB)

    @pytest.mark.parametrize(("owner", "is_given"), table([
        ("both", (ALICE, LAB), (ALICE, LAB)), ("the owner", (ALICE, -1), (ALICE, BOB)), ("the group", (-1, LAB), (BOB, LAB))]))
    def test_they_can_be_given(self, place, owner, is_given):
        path = file_of(place / "remote.yaml", BOB)
        store.replace(store.Replacement(str(path), b"new\n", nothing, mode=0o640, owner=owner))
        assert (ids(path), mode_of(path)) == (is_given, 0o640)

    def test_nothing_is_given_to_a_file_that_was_put_in_place_of_the_temporary_one(self, place, monkeypatch):
        home, secret = directory_of(place / "home", BOB), file_of(place / "shadow")
        before = (ids(secret), mode_of(secret))

        def exchanged(fd, *owner, really=os.fchown):
            (temporary,) = home.glob(".remote.yaml.ansible-*")
            temporary.unlink(missing_ok=True)
            temporary.symlink_to(secret)
            really(fd, *owner)

        monkeypatch.setattr(os, "fchown", exchanged)
        store.replace(store.Replacement(str(home / "remote.yaml"), b"new\n", nothing, mode=0o644, owner=(BOB, BOB)))
        assert (ids(secret), mode_of(secret)) == before

    def test_prepare_sees_them(self, place):
        path = file_of(place / "remote.yaml", BOB)
        seen = []
        store.replace(store.Replacement(str(path), b"new\n", lambda temporary: seen.append(ids(temporary))))
        assert seen == [(BOB, BOB)]

    @pytest.mark.parametrize("uid", [ROOT, BOB], **USERS)
    def test_a_new_file_of_root_belongs_to_the_owner_of_the_directory(self, place, uid):
        path = directory_of(place / "d", uid) / "remote.yaml"
        store.replace(store.Replacement(str(path), b"new\n", nothing))
        assert ids(path) == (uid, uid)

    def test_a_new_file_of_a_user_is_the_users(self, place):
        path = directory_of(place / "d", ALICE, 0o777) / "remote.yaml"
        with acting_as(BOB):
            store.replace(store.Replacement(str(path), b"new\n", nothing))
        assert ids(path) == (BOB, BOB)

    def test_a_user_cannot_take_over_a_file(self, place):
        path = file_of(directory_of(place / "d", mode=0o777) / "remote.yaml", ALICE, mode=0o666)
        with acting_as(BOB):
            message = message_of(store.replace, store.Replacement(str(path), b"new\n", nothing))
        assert message.startswith(f"{path}: belongs to user 54321 and group 54321, which nobody may not give to a new file.")
        assert "become_user); the file is unchanged." in message
        assert (names(place / "d"), ids(path), path.read_bytes()) == (["remote.yaml"], (ALICE, ALICE), b"old\n")

    @pytest.mark.parametrize(
        "mode, groups, gid",
        table([
            ("he is in it, and it has no rights", 0o600, [LAB], LAB),
            ("he is in it, and it may read", 0o640, [LAB], LAB),
            ("he is not in it, and it has no rights", 0o600, [], BOB),
            ("he is not in it, and it has everybody's rights", 0o644, [], BOB),
            ("refused: it may read, others may not", 0o640, [], None),
            ("refused: others may read, it may not", 0o604, [], None),
        ]),
    )
    def test_a_user_keeps_the_group_where_it_means_something(self, place, mode, groups, gid):
        path = file_of(directory_of(place / "d", BOB) / "remote.yaml", BOB, mode=mode, gid=LAB)
        with acting_as(BOB, groups):
            if gid is None:
                assert "group 54399" in message_of(store.replace, store.Replacement(str(path), b"new\n", nothing))
                assert ids(path) == (BOB, LAB)
            else:
                store.replace(store.Replacement(str(path), b"new\n", nothing))
                assert ids(path) == (BOB, gid)

    def test_a_directory_that_may_not_be_written(self, place):
        path = file_of(place / "remote.yaml", BOB)
        with acting_as(BOB):
            message = message_of(store.replace, store.Replacement(str(path), b"new\n", nothing))
        assert message == (f"{path}: cannot write: Permission denied. Run the task as root or as the owner (become_user). The file is unchanged.")


class TestOwnersWithoutRoot:
    """What the tests above show with several users, in so far as one user can."""

    @pytest.mark.parametrize("name", ["bob", None], ids=["with a name", "without"])
    def test_a_link_to_a_file_of_the_system(self, tmp_path, monkeypatch, name):
        link = link_of(tmp_path / "remote.yaml", "/etc/passwd", BOB if os.geteuid() == ROOT else None)
        monkeypatch.setattr(pwd, "getpwuid", raiser(KeyError()) if name is None else lambda _: type("", (), {"pw_name": name}))
        message = message_of(store.real_path, str(link))
        who, root = (name, name) if name else (f"user {ids(link)[0]}", "user 0")
        assert message.startswith(f"{link}: is a symbolic link that belongs to {who}, but /etc/passwd belongs to {root}, so it is not followed.")

    def test_a_new_file_of_root(self, tmp_path, monkeypatch):
        given = []
        monkeypatch.setattr(os, "geteuid", lambda: ROOT)
        monkeypatch.setattr(os, "fchown", lambda _, uid, gid: given.append((uid, gid)))
        store.replace(store.Replacement(str(tmp_path / "remote.yaml"), b"new\n", nothing))
        assert given == [ids(tmp_path)]

    @pytest.mark.parametrize("mode, fails", [(0o600, False), (0o644, False), (0o640, True), (0o660, True)], ids=["0600", "0644", "0640", "0660"])
    def test_a_group_that_may_not_be_kept(self, tmp_path, monkeypatch, mode, fails):
        path = file_of(tmp_path / "remote.yaml", mode=mode)
        monkeypatch.setattr(os, "fchown", raiser(PermissionError()))
        if fails:
            assert "may not give to a new file" in message_of(store.replace, store.Replacement(str(path), b"new\n", nothing))
        else:
            store.replace(store.Replacement(str(path), b"new\n", nothing))
        assert (names(tmp_path), path.read_bytes()) == (["remote.yaml"], b"old\n" if fails else b"new\n")


@needs_root
class TestAUserWhoExchangesTheDirectory:
    """After real_path, bob puts a link to /etc in the place of his directory; root must notice."""

    @pytest.fixture
    def path(self, place):
        file_of(directory_of(place / "etc") / "remote.yaml", ROOT, b"global\n", 0o644)
        path = store.real_path(str(file_of(directory_of(place / "home/.apptainer", BOB) / "remote.yaml", BOB)))
        (place / "home/.apptainer").rename(place / "home/moved")
        link_of(place / "home/.apptainer", str(place / "etc"), BOB)
        yield path
        assert (place / "etc/remote.yaml").read_bytes() == b"global\n"
        assert ids(place / "etc/remote.yaml") == (ROOT, ROOT)
        assert names(place / "etc") == ["remote.yaml"]

    def test_read(self, path):
        assert "became a symbolic link" in message_of(store.read, path)

    def test_replace(self, path):
        assert "became a symbolic link" in message_of(store.replace, store.Replacement(path, b"new\n", nothing))

    def test_replace_when_it_happens_in_between(self, path, place):
        """The temporary file is in the directory that was opened, so the link leads nowhere."""
        (place / "home/.apptainer").unlink()
        (place / "home/moved").rename(place / "home/.apptainer")

        def prepare(_temporary):
            (place / "home/.apptainer").rename(place / "home/moved")
            link_of(place / "home/.apptainer", str(place / "etc"), BOB)

        store.replace(store.Replacement(path, b"new\n", prepare))
        assert (place / "home/moved/remote.yaml").read_bytes() == b"new\n"

    def test_lock(self, path):
        with pytest.raises(StoreError, match="became a symbolic link"), store.locked(path):
            pass

    def test_make_directory(self, path):
        assert "became a symbolic link" in message_of(store.make_directory, os.path.dirname(path) + "/new", 0o755)


def test_replace_keeps_the_old_file_as_a_backup(place):
    path = place / "remote.yaml"
    path.write_bytes(b"old")
    path.chmod(0o644)
    store.replace(store.Replacement(str(path), b"new", lambda temporary: os.chmod(temporary, 0o640), store.read(str(path)), "remote.yaml.1~"))
    assert {name: (place / name).read_bytes() for name in names(place)} == {"remote.yaml": b"new", "remote.yaml.1~": b"old"}
    assert {stat.S_IMODE((place / name).stat().st_mode) for name in names(place)} == {0o640}


def test_replace_overwrites_nothing_with_a_backup(place):
    for name in ("remote.yaml", "remote.yaml.1~"):
        (place / name).write_bytes(name.encode())
    with pytest.raises(StoreError, match="File exists"):
        path = str(place / "remote.yaml")
        store.replace(store.Replacement(path, b"new", lambda temporary: None, store.read(path), "remote.yaml.1~"))
    assert {path.name: path.read_bytes() for path in place.iterdir()} == {name: name.encode() for name in ("remote.yaml", "remote.yaml.1~")}


def test_a_backup_is_a_copy_as_private_as_the_new_file(place):
    """A link would keep the mode and, for whoever has the file open, the content."""
    path = file_of(place / "remote.yaml", mode=0o644)
    prepared = []
    store.replace(store.Replacement(str(path), b"new\n", prepared.append, store.read(str(path)), "remote.yaml.1~"))
    assert (mode_of(path), mode_of(place / "remote.yaml.1~")) == (0o600, 0o600)
    assert {(place / name).stat().st_nlink for name in names(place)} == {1}
    assert prepared == [prepared[0], prepared[0] + "~"]


@needs_root
def test_a_backup_belongs_to_the_owner_of_the_file(place):
    path = file_of(place / "remote.yaml", BOB)
    store.replace(store.Replacement(str(path), b"new\n", nothing, store.read(str(path)), "remote.yaml.1~"))
    assert ids(place / "remote.yaml.1~") == (BOB, BOB)


def test_there_is_no_backup_of_nothing(place):
    path = place / "remote.yaml"
    store.replace(store.Replacement(str(path), b"one\n", nothing, store.read(str(path)), "remote.yaml.1~"))
    store.replace(store.Replacement(str(path), b"two\n", nothing, None, "remote.yaml.2~"))
    assert names(place) == ["remote.yaml"]


def test_a_backup_that_cannot_be_prepared_changes_nothing(place):
    path = file_of(place / "remote.yaml")

    def prepare(temporary):
        if temporary.endswith("~"):
            raise OSError(errno.ENOSPC, "full")

    assert message_of(store.replace, store.Replacement(str(path), b"new\n", prepare, store.read(str(path)), "remote.yaml.1~")) == (
        f"{path}: cannot write: full. Free some space, and run again. The file is unchanged.")
    assert (names(place), path.read_bytes()) == (["remote.yaml"], b"old\n")


OLD_ABC = [["old", name] for name in "abc"]


NEW_ABC = [["new", name] for name in "abc"]


class TestReplaceSeveral:
    @pytest.fixture
    def three(self, place):
        return [file_of(directory_of(place / name) / "file", data=b"old " + name.encode()) for name in "abc"]

    def changes(self, three, prepare=nothing, backup=""):
        return [store.Replacement(str(path), b"new " + path.parent.name.encode(), prepare, store.read(str(path)), backup) for path in three]

    def contents(self, three):
        return [path.read_text().split() for path in three]

    def test_all(self, three):
        store.replace(*self.changes(three, backup="file~"))
        assert self.contents(three) == NEW_ABC
        assert self.contents([path.with_name("file~") for path in three]) == OLD_ABC
        assert [names(path.parent) for path in three] == [["file", "file~"]] * 3

    def test_none(self):
        store.replace()

    def test_in_one_directory(self, place):
        paths = [place / name for name in "ab"]
        store.replace(*(store.Replacement(str(path), path.name.encode(), nothing) for path in paths))
        assert [path.read_text() for path in paths] == names(place) == ["a", "b"]

    def test_all_are_on_disk_before_the_first_is_replaced(self, three, monkeypatch):
        order = []
        fsync, rename, link = os.fsync, os.replace, os.link
        monkeypatch.setattr(os, "fsync", lambda fd: order.append("d" if stat.S_ISDIR(os.fstat(fd).st_mode) else "f") or fsync(fd))
        monkeypatch.setattr(os, "replace", lambda *names, **options: order.append("r") or rename(*names, **options))
        monkeypatch.setattr(os, "link", lambda *names, **options: order.append("l") or link(*names, **options))
        store.replace(*self.changes(three, backup="file~"))
        assert "".join(order) == "ff" * 3 + "lr" * 3 + "d" * 3

    @pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 6])
    def test_a_disk_that_gets_full_meanwhile_keeps_all_as_they_were(self, three, monkeypatch, number):
        calls, fsync = [], os.fsync

        def full(fd):
            calls.append(fd)
            return raiser(OSError(errno.ENOSPC, "full"))() if len(calls) == number else fsync(fd)

        monkeypatch.setattr(os, "fsync", full)
        path = three[(number - 1) // 2]
        assert message_of(store.replace, *self.changes(three, backup="file~")) == (
            f"{path}: cannot write: full. Free some space, and run again. The file is unchanged.")
        assert self.contents(three) == OLD_ABC
        assert [names(path.parent) for path in three] == [["file"]] * 3

    @pytest.mark.parametrize("error", [SystemExit(1), ValueError("no")], ids=repr)
    def test_whatever_a_later_prepare_raises_keeps_all_as_they_were(self, three, error):
        *good, last = self.changes(three)
        with pytest.raises(type(error)):
            store.replace(*good, last._replace(prepare=raiser(error)))
        assert self.contents(three) == OLD_ABC
        assert [names(path.parent) for path in three] == [["file"]] * 3

    @pytest.mark.parametrize("number", [0, 1, 2])
    def test_what_somebody_changed_meanwhile_keeps_all_as_they_were(self, three, number):
        changes = self.changes(three)
        three[number].write_bytes(b"their own")
        assert message_of(store.replace, *changes) == (
            f"{three[number]}: was changed by someone else while this task ran, so it is left as it is now. Run again.")
        assert self.contents(three) == [["their", "own"] if index == number else old for index, old in enumerate(OLD_ABC)]
        assert [names(path.parent) for path in three] == [["file"]] * 3

    @pytest.mark.parametrize("number", [0, 1, 2])
    def test_a_later_rename_that_fails_is_said_with_what_is_done_already(self, three, monkeypatch, number):
        calls, rename = [], os.replace

        def fail(*names, **options):
            calls.append(names)
            return raiser(OSError(errno.EBUSY, "busy"))() if len(calls) == number + 1 else rename(*names, **options)

        monkeypatch.setattr(os, "replace", fail)
        done = ["", f", but not {three[0]}", f", but not {three[0]}, {three[1]}"][number]
        assert message_of(store.replace, *self.changes(three)) == (
            f"{three[number]}: cannot write: busy. If it is a mount point, as in a container, change the file that is mounted there. "
            f"The file is unchanged{done}.")
        assert self.contents(three) == NEW_ABC[:number] + OLD_ABC[number:]
        assert [names(path.parent) for path in three] == [["file"]] * 3


def replaced_link(place, said, before=None):
    """Put a file in place of the link, which says `said` as far as the plan knows."""
    link, source = place / "home" / "link", place / "target"
    before = before or store.read(str(source))
    store.replace(store.Replacement(str(link), b"new\n", nothing, before, backup="kept", mode=0o640, source=str(source), link=said))
    return link


def test_a_file_takes_the_place_of_a_link(place, link):
    replaced_link(place, os.readlink(link))
    assert not link.is_symlink()
    assert (link.read_bytes(), stat.S_IMODE(link.stat().st_mode)) == (b"new\n", 0o640)
    assert (place / "target").read_bytes() == (place / "home" / "kept").read_bytes() == b"old\n"


@pytest.mark.parametrize("change", [
    pytest.param(lambda link: link.unlink(), id="gone"),
    pytest.param(lambda link: (link.unlink(), link.symlink_to("other")), id="another target"),
    pytest.param(lambda link: (link.unlink(), link.write_text("by hand")), id="a file"),
    pytest.param(lambda link: link.resolve().write_text("by hand"), id="another content"),
])
def test_a_link_that_has_changed_is_left_alone(place, link, change):
    said, before = os.readlink(link), store.read(str(place / "target"))
    change(link)
    with pytest.raises(StoreError, match="was changed by someone else while this task ran"):
        replaced_link(place, said, before)
    assert not link.exists() or "new" not in link.read_text()


@needs_root
def test_the_new_file_belongs_to_the_owner_of_the_directory(place, link):
    os.chown(place / "home", ALICE, LAB)
    os.lchown(link, ALICE, LAB)
    os.chown(place / "target", ALICE, LAB)
    replaced_link(place, os.readlink(link))
    assert (link.stat().st_uid, link.stat().st_gid) == (ALICE, LAB)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES], ids=errno.errorcode.get)
def test_a_link_that_cannot_be_read_is_no_conflict(place, link, monkeypatch, number):
    said = os.readlink(link)
    monkeypatch.setattr(os, "readlink", raiser(OSError(number, os.strerror(number))))
    with pytest.raises(StoreError, match="cannot read this symbolic link") as caught:
        replaced_link(place, said)
    assert not isinstance(caught.value, ConflictError)
    assert names(place / "home") == ["link"]


class TestLeftOvers:
    """`.NAME.ansible-` and 16 hexadecimal digits; with a ~ a backup that did not get its name."""

    HEX = "0123456789abcdef"

    def left(self, path, name, ago=3700.0):
        file_of(path.with_name(name))
        os.utime(path.with_name(name), (0, time.time() - ago))
        return str(path.with_name(name))

    def test_those_an_hour_old_are_found_and_removed(self, tmp_path):
        path = file_of(tmp_path / "remote.yaml")
        old = [self.left(path, f".remote.yaml.ansible-{self.HEX}{end}") for end in ("", "~")]
        others = [self.left(path, name) for name in (
            f".docker-config.json.ansible-{self.HEX}", ".remote.yaml.ansible-notes", f".remote.yaml.ansible-{self.HEX}.bak", "remote.yaml.1~",
            store.LOCK_FILE)]
        young = self.left(path, f".remote.yaml.ansible-{self.HEX[::-1]}", 3500.0)
        assert store.left_overs(str(path)) == old
        store.remove_left_overs(old)
        assert store.left_overs(str(path)) == []
        assert names(tmp_path) == sorted(os.path.basename(name) for name in [*others, young, str(path)])

    def test_where_there_can_be_none(self, tmp_path):
        assert store.left_overs(str(tmp_path / "missing" / "remote.yaml")) == []

    @needs_root
    def test_where_one_may_not_look(self, place):
        path = file_of(directory_of(place / "etc", ROOT, 0o711) / "remote.yaml")
        self.left(path, f".remote.yaml.ansible-{self.HEX}")
        with acting_as(BOB):
            assert store.left_overs(str(path)) == []
        assert len(store.left_overs(str(path))) == 1

    def test_what_the_system_does_not_say(self, tmp_path, monkeypatch):
        monkeypatch.setattr(os, "listdir", raiser(OSError(errno.EIO, "Input/output error")))
        assert message_of(store.left_overs, str(tmp_path / "f")).startswith(
            f"{tmp_path}: cannot look for what interrupted runs left there: Input/output error. ")

    def test_one_that_is_gone_when_it_is_looked_at(self, tmp_path, monkeypatch):
        monkeypatch.setattr(os, "listdir", lambda _fd: [f".f.ansible-{self.HEX}"])
        assert store.left_overs(str(tmp_path / "f")) == []
        store.remove_left_overs([str(tmp_path / f".f.ansible-{self.HEX}")])

    def test_one_that_cannot_be_removed_is_said(self, tmp_path, monkeypatch):
        path = self.left(tmp_path / "f", f".f.ansible-{self.HEX}")
        monkeypatch.setattr(os, "unlink", raiser(OSError(errno.EIO, "Input/output error")))
        assert message_of(store.remove_left_overs, [path]) == (
            f"{path}: cannot remove: Input/output error. Retry; if it persists, see the kernel logs of the node and of the file server. "
            "It was left by an interrupted run, and may hold secrets; the files themselves are as declared.")


class TestTemporaryFilesThatStay:
    """Where unlink fails, their secrets are there for good: the result is an error that names them, whatever else there is to say."""

    @pytest.fixture(autouse=True)
    def unlink(self, place, monkeypatch):
        really = os.unlink
        monkeypatch.setattr(os, "unlink", lambda name, dir_fd: raiser(OSError(errno.EIO, "Input/output error"))() if os.path.lexists(
            f"/proc/self/fd/{dir_fd}/{name}") else really(name, dir_fd=dir_fd))

    def left(self, directory):
        return [name for name in names(directory) if ".ansible-" in name]

    def test_after_a_backup(self, place):
        path = file_of(place / "f")
        message = message_of(store.replace, store.Replacement(str(path), b"new\n", nothing, store.read(str(path)), "f.1~"))
        assert path.read_bytes() == b"new\n"
        (left,) = self.left(place)
        assert left.endswith("~")
        assert message == (f"{place / left}: this temporary file may hold secrets, but cannot be removed: Input/output error. Remove it. "
                           "The files are as declared.")

    def test_after_another_error(self, place, monkeypatch):
        path = file_of(place / "f")
        monkeypatch.setattr(os, "replace", raiser(OSError(errno.ENOSPC, "full")))
        message = message_of(store.replace, store.Replacement(str(path), b"new\n", nothing))
        (left,) = self.left(place)
        assert message == (f"{path}: cannot write: full. Free some space, and run again. The file is unchanged. Besides: {place / left}: this "
                           "temporary file may hold secrets, but cannot be removed: Input/output error. Remove it.")

    def test_one_that_never_was(self, place, monkeypatch):
        monkeypatch.setattr(os, "unlink", raiser(OSError(errno.EROFS, "Read-only file system")))
        store.replace(store.Replacement(str(place / "f"), b"new\n", nothing))
        assert names(place) == ["f"]

    def test_one_that_cannot_even_be_looked_at(self, place, monkeypatch):
        path = file_of(place / "f")
        monkeypatch.setattr(os, "unlink", raiser(OSError(errno.EIO, "Input/output error")))
        monkeypatch.setattr(replacing, "status_of", lambda name, parent: raiser(OSError(errno.EIO, "no"))() if "ansible-" in name else None)
        assert "cannot be removed: Input/output error. Remove it." in message_of(store.replace, store.Replacement(str(path), b"new\n", nothing))

    def test_several_after_another_error(self, place, monkeypatch):
        """What is the same for all is said once."""
        path = file_of(place / "f")
        monkeypatch.setattr(os, "replace", raiser(OSError(errno.ENOSPC, "full")))
        message = message_of(store.replace, store.Replacement(str(path), b"new\n", nothing, store.read(str(path)), "f.1~"))
        new, old = sorted(self.left(place), key=lambda name: name.endswith("~"))
        assert message == (f"{path}: cannot write: full. Free some space, and run again. The file is unchanged. Besides: {place}: the temporary "
                           f"files {old}, {new} may hold secrets, but cannot be removed: Input/output error. Remove them.")

    def test_after_a_conflict_nobody_tries_again(self, place):
        path = file_of(place / "f")
        state = store.read(str(path))
        path.write_bytes(b"theirs\n")
        with pytest.raises(StoreError) as caught:
            store.replace(store.Replacement(str(path), b"new\n", nothing, state))
        assert not isinstance(caught.value, ConflictError)


def test_a_file_system_that_takes_no_times(place, monkeypatch):
    monkeypatch.setattr(os, "utime", raiser(OSError(errno.EPERM, "no")))
    store.replace(store.Replacement(str(place / "f"), b"new\n", nothing))
    assert (place / "f").read_bytes() == b"new\n"
