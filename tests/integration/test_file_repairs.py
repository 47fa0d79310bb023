# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What runs that were killed, administrators and other users leave around a file: put right, cleaned up or refused, in check mode as for real."""

from __future__ import annotations

import json
import os
import sys
import time

import pytest
from support import envs, processes
from support.files import snapshot
from support.filesystem import ALICE, BOB, directory_of, file_of, ids, mode_of, names, needs_root

SITE = "Active: site\nRemotes:\n    site:\n        URI: library.example.org\n        System: true\n        Exclusive: false\n"
MINE = "Active: mine\nRemotes:\n    mine:\n        URI: library.example.org\n        System: false\n        Exclusive: false\n"
LOCK = ".ansible-hpc.apptainer.lock"
GLOBAL = {"scope": "global", "name": "site", "uri": "https://library.example.org", "default": True}
USER = {"name": "mine", "uri": "https://library.example.org", "default": True}


@pytest.fixture
def etc(tmp_path):
    """A global file in state, and its directory in a sysconfdir."""
    file_of(directory_of(tmp_path / "etc" / "apptainer") / "remote.yaml", data=SITE.encode(), mode=0o644)
    return tmp_path / "etc"


@pytest.fixture
def both(run_module, tmp_path):
    """Run the module in check mode, which must not change anything, and for real, with the same result; then again, without a change."""

    def run(args, **options):
        before = all_but_home(tmp_path)
        foreseen = run_module("apptainer_remote", args, check=True, diff=True, **options).result
        assert all_but_home(tmp_path) == before
        done = run_module("apptainer_remote", args, diff=True, **options).result
        for result in (foreseen, done):
            result.pop("invocation")
        assert foreseen == done
        if not done.get("failed"):
            assert not run_module("apptainer_remote", args, **options).result["changed"]
        return done

    return run


def all_but_home(directory):
    """That of the account that runs the module, in which Ansible works."""
    return {path: state for path, state in snapshot(directory).items() if path.split("/")[0] != "home"}


def attributes(result, path):
    return {side: shown[side] for shown in result["diff"] if shown["before_header"] == f"{path} (attributes)" for side in ("before", "after")}


class TestDirectory:
    @pytest.mark.parametrize(("mode", "after"), [(0o700, 0o755), (0o750, 0o755), (0o777, 0o755), (0o711, 0o711)])
    @pytest.mark.parametrize("exists", [True, False], ids=["file", "no file"])
    def test_of_a_global_file(self, both, etc, mode, after, exists):
        """As mkdir leaves it that was killed before it could set the mode: the file is in state, and no user sees it."""
        (etc / "apptainer").chmod(mode)
        if not exists:
            (etc / "apptainer" / "remote.yaml").unlink()
        done = both({"sysconfdir": str(etc), **GLOBAL})
        assert done["changed"] == (mode != after or not exists)
        assert attributes(done, etc / "apptainer") == (
            {} if mode == after else {"before": f"mode: {mode:04o}\n", "after": f"mode: {after:04o}\n"})
        assert mode_of(etc / "apptainer") == after

    def test_the_file_in_it_is_not_touched(self, both, etc):
        before = os.stat(etc / "apptainer" / "remote.yaml")
        (etc / "apptainer").chmod(0o700)
        assert both({"sysconfdir": str(etc), **GLOBAL})["changed"]
        after = os.stat(etc / "apptainer" / "remote.yaml")
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)

    def test_where_there_is_no_file_and_is_to_be_none(self, both, etc):
        (etc / "apptainer").chmod(0o700)
        (etc / "apptainer" / "remote.yaml").unlink()
        assert not both({"sysconfdir": str(etc), "scope": "global", "name": "site", "state": "absent"})["changed"]
        assert mode_of(etc / "apptainer") == 0o700

    @needs_root
    def test_of_another_owner(self, both, etc):
        os.chown(etc / "apptainer", BOB, BOB)
        done = both({"sysconfdir": str(etc), **GLOBAL})
        assert attributes(done, etc / "apptainer") == {"before": f"group: {BOB}\nowner: {BOB}\n", "after": "group: 0\nowner: 0\n"}
        assert ids(etc / "apptainer") == ids(etc / "apptainer" / "remote.yaml") == (0, 0)

    def test_who_lets_a_group_write_the_file_lets_it_write_there(self, both, etc):
        (etc / "apptainer").chmod(0o2775)
        (etc / "apptainer" / "remote.yaml").chmod(0o664)
        assert not both({"sysconfdir": str(etc), "mode": "0664", **GLOBAL})["changed"]

    @pytest.mark.parametrize("mode", [0o700, 0o1777])
    def test_one_that_is_not_apptainers_stays(self, both, tmp_path, mode):
        path = file_of(directory_of(tmp_path / "any", mode=mode) / "remote.yaml", data=SITE.encode(), mode=0o644)
        assert not both({"config_file": str(path), **GLOBAL})["changed"]
        assert mode_of(tmp_path / "any") == mode

    def test_one_behind_a_link_is_warned_of(self, both, etc, tmp_path):
        file_of(directory_of(tmp_path / "any", mode=0o700) / "remote.yaml", data=SITE.encode(), mode=0o644)
        (etc / "apptainer" / "remote.yaml").unlink()
        (etc / "apptainer" / "remote.yaml").symlink_to(tmp_path / "any" / "remote.yaml")
        assert both({"sysconfdir": str(etc), **GLOBAL})["warnings"] == [
            f"users cannot search {tmp_path}/any, where a link leads to (mode 0700), so Apptainer ignores the global file for them; set its mode to "
            "0755"]

    @needs_root
    @pytest.mark.parametrize("inside", [[], [LOCK]], ids=["empty", "with a lock"])
    def test_an_empty_one_of_root_in_a_home(self, both, tmp_path, inside):
        path = directory_of(directory_of(tmp_path / "bob", BOB, 0o700) / ".apptainer", mode=0o700)
        for name in inside:
            file_of(path / name, data=b"")
        done = both({"config_file": str(path / "remote.yaml"), "sysconfdir": str(tmp_path / "etc"), **USER})
        assert attributes(done, path) == {"before": "group: 0\nowner: 0\n", "after": f"group: {BOB}\nowner: {BOB}\n"}
        assert {ids(path), ids(path / "remote.yaml"), ids(path / LOCK)} == {(BOB, BOB)}

    @needs_root
    def test_roots_own_file_in_a_home_stays_roots(self, both, tmp_path):
        path = directory_of(directory_of(tmp_path / "bob", BOB, 0o700) / ".apptainer", mode=0o700)
        file_of(path / "remote.yaml", data=MINE.encode())
        assert not both({"config_file": str(path / "remote.yaml"), "sysconfdir": str(tmp_path / "etc"), **USER})["changed"]
        assert ids(path) == (0, 0)


@needs_root
def test_a_lock_that_a_killed_run_of_root_left_goes_to_its_owner(run_module, tmp_path):
    path = directory_of(directory_of(tmp_path / "bob", BOB, 0o700) / ".apptainer", BOB, 0o700)
    file_of(path / LOCK, data=b"")
    assert run_module("apptainer_remote", {"config_file": str(path / "remote.yaml"), "sysconfdir": str(tmp_path / "etc"), **USER}).result["changed"]
    assert (ids(path / LOCK), mode_of(path / LOCK)) == ((BOB, BOB), 0o600)


@pytest.mark.parametrize(("make", "kind"), [
    (os.mkdir, "a directory"), (lambda path: path.symlink_to("x"), "a symbolic link"), (os.mkfifo, "a FIFO (named pipe)"),
], ids=["directory", "link", "fifo"])
def test_what_is_in_place_of_a_lock(run_module, etc, make, kind):
    make(etc / "apptainer" / LOCK)
    done = run_module("apptainer_remote", {"sysconfdir": str(etc), **GLOBAL, "exclusive": True})
    assert done.result["msg"] == (
        f"{etc}/apptainer/{LOCK}: is {kind}, where these modules keep their lock, an empty regular file. Remove it, and run again.")
    assert (etc / "apptainer" / "remote.yaml").read_text() == SITE


class TestLeftOvers:
    @pytest.fixture
    def left(self, etc):
        paths = [etc / "apptainer" / f".remote.yaml.ansible-0123456789abcdef{end}" for end in ("", "~")]
        for path in paths:
            file_of(path, data=b"old secrets")
            os.utime(path, (0, time.time() - 3700))
        return paths

    @pytest.mark.parametrize("change", [{}, {"exclusive": True}], ids=["no change", "a change"])
    def test_they_are_removed_and_it_is_said(self, both, etc, left, change):
        done = both({"sysconfdir": str(etc), **GLOBAL, **change})
        assert done["changed"]
        assert attributes(done, etc / "apptainer" / "remote.yaml") == {
            "before": "number of files left by interrupted runs: 2\n", "after": "number of files left by interrupted runs: 0\n"}
        assert names(etc / "apptainer") == [LOCK, "remote.yaml"]

    def test_the_file_beside_them_is_not_touched(self, both, etc, left):
        before = os.stat(etc / "apptainer" / "remote.yaml")
        assert both({"sysconfdir": str(etc), **GLOBAL})["changed"]
        assert os.stat(etc / "apptainer" / "remote.yaml").st_ino == before.st_ino

    def test_without_any_there_is_no_lock(self, both, etc):
        assert not both({"sysconfdir": str(etc), **GLOBAL})["changed"]
        assert names(etc / "apptainer") == ["remote.yaml"]

    def test_one_that_cannot_be_removed_is_an_error(self, run_module, etc, left):
        left[0].unlink()
        left[0].mkdir()
        os.utime(left[0], (0, time.time() - 3700))
        done = run_module("apptainer_remote", {"sysconfdir": str(etc), **GLOBAL})
        assert done.result["msg"].startswith(f"{left[0]}: cannot remove: Is a directory. ")
        assert done.result["msg"].endswith("It was left by an interrupted run, and may hold secrets; the files themselves are as declared.")


@needs_root
@pytest.mark.parametrize("change", [{}, {"token": "tok-" + "s3cretS3CRET" * 20, "verify": "never"}], ids=["no change", "a change"])
@pytest.mark.parametrize(("victim", "words"), [
    (ALICE, f"belongs to user {ALICE}, but its directory to nobody, so it may be a hard link to a file of user {ALICE} that somebody else put there"),
    (0, "belongs to root and has 2 hard links, so it may be another file of root that nobody, the owner of its directory, gave this name"),
])
def test_a_hard_link_to_the_file_of_another(both, tmp_path, change, victim, words):
    """As Bob could have made it where the kernel lets him: its content would be Bob's."""
    secret = file_of(directory_of(tmp_path / "victim", victim, 0o700) / "remote.yaml", victim, MINE.encode())
    home = directory_of(directory_of(tmp_path / "bob", BOB) / ".apptainer", BOB)
    os.link(secret, home / "remote.yaml")
    done = both({"config_file": str(home / "remote.yaml"), "sysconfdir": str(tmp_path / "etc"), **USER, **change})
    assert words in done["msg"]
    assert (ids(secret), secret.read_text()) == ((victim, victim), MINE)


@needs_root
def test_a_hard_link_in_place_of_a_token_file(run_module, tmp_path):
    secret = file_of(tmp_path / "secret", data=b"root:secret\n")
    os.link(secret, directory_of(tmp_path / "bob", BOB) / "token")
    args = {"sysconfdir": str(tmp_path / "etc"), **USER, "token_file": str(tmp_path / "bob" / "token"), "verify": "never"}
    done = run_module("apptainer_remote", args)
    assert "belongs to root and has 2 hard links" in done.result["msg"]
    assert "root:secret" not in done.stdout


# Runs the module once for each time that it asks about a path below a directory, in a process of its own: that question gets no answer. It says
# how each ended, what it printed, and what it left in the file.
FAILING = """
import errno, importlib, json, os, shutil, sys
modlib, directory, args = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
sys.path.insert(0, modlib)
from ansible.module_utils import basic
module = importlib.import_module("ansible_collections.hpc.apptainer.plugins.modules.apptainer_remote")
basic._ANSIBLE_PROFILE = "legacy"
file = os.path.join(directory, "etc/apptainer/remote.yaml")

def failing(number, code):
    asked = [0]
    def wrap(really):
        def ask(path, *args, **options):
            if isinstance(path, (str, bytes)) and (os.fsdecode(path).startswith(directory) or options.get("dir_fd") is not None):
                asked[0] += 1
                if asked[0] == number:
                    raise OSError(code, os.strerror(code))
            return really(path, *args, **options)
        return ask
    for name in ("stat", "lstat", "readlink", "access"):
        setattr(os, name, wrap(getattr(os, name)))
    return asked

def run(number, code):
    out, into = os.pipe()
    pid = os.fork()
    if not pid:
        os.dup2(into, 1)
        os.dup2(into, 2)
        asked = failing(number, code)
        basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": args}).encode()
        status = 99
        try:
            module.main()
        except SystemExit as exc:
            status = exc.code or 0
        except BaseException as exc:
            print(repr(exc))
        sys.stdout.flush()
        os._exit(status if asked[0] >= number else 98)
    os.close(into)
    with open(out) as stream:
        said = stream.read()
    return os.WEXITSTATUS(os.waitpid(pid, 0)[1]), said

shutil.copytree(os.path.join(directory, "etc"), os.path.join(directory, "saved"))
for code in (errno.EIO, errno.ESTALE, errno.EACCES):
    number, status = 0, 0
    while status != 98:
        number += 1
        shutil.rmtree(os.path.join(directory, "etc"))
        shutil.copytree(os.path.join(directory, "saved"), os.path.join(directory, "etc"))
        status, said = run(number, code)
        with open(file) as stream:
            print(json.dumps([errno.errorcode[code], number, status, said, stream.read(), os.stat(file).st_mode & 0o777]), flush=True)
"""


@pytest.mark.parametrize(("mode", "changes"), [(0o600, {}), (0o644, {"exclusive": True})], ids=["mode", "content"])
def test_what_the_system_does_not_say_is_an_error_or_does_no_harm(etc, tmp_path, mode, changes):
    """Never a traceback, and never a success that is none."""
    (etc / "apptainer" / "remote.yaml").chmod(mode)
    os.utime(etc / "apptainer" / "remote.yaml", (0, time.time() - 3600))
    args = {"sysconfdir": str(etc), **GLOBAL, **changes}
    command = [sys.executable, "-c", FAILING, envs.core("running") / "modlib", str(tmp_path), json.dumps(args)]
    done = processes.run(*command, env=processes.clean_env(tmp_path / "home"))
    assert (done.returncode, done.stderr) == (0, "")
    cases = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(cases) > 30
    new = SITE.replace("Exclusive: false", "Exclusive: true") if changes else SITE
    failed = 0
    for code, number, status, said, text, left in cases:
        case = f"{code} {number}: {said}"
        result = json.loads(said)
        if status in (0, 98):
            assert result["changed"], case
            assert (text, left) == (new, 0o644), case
        else:
            failed += 1
            assert status == 1, case
            assert result["msg"], case
            assert ": cannot " in result["msg"] or "no temporary file" in result["msg"], case
            assert (text, left) in ((SITE, mode), (new, 0o644)), case
    assert failed > 10
