# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Beside a program that truncates a file and then writes it, as Apptainer does: what that program has written is never lost.

The writer begins, then the module starts, and goes on only when the module has read what there is: so each run really is in the gap.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import ctypes
import json
import os
import struct
import time

import pytest

TOKEN = "tok-" + "s3cretS3CRET" * 20
REMOTES = f"""\
Active: mine
Remotes:
    mine:
        URI: library.example.org
        Token: {TOKEN}
        System: false
        Exclusive: false
    other:
        URI: other.example.org
        System: false
        Exclusive: false
"""
LOGINS = json.dumps({"auths": {"mine.example.org": {"auth": "YWxpY2U6cGFzc3dvcmQ="}}}, indent="\t")
SECRET = {"username": "bob", "password": "pa55-of-bob", "verify": "never"}
NEW = ("apptainer_remote", {"name": "new", "uri": "https://new.example.org"}, "remote.yaml", REMOTES, "new.example.org")
KEYS = ("apptainer_keyserver_login", {"uri": "https://new.example.org", **SECRET}, "remote.yaml", REMOTES, "new.example.org")
REGISTRY = ("apptainer_registry_login", {"uri": "docker://new.example.org", **SECRET}, "docker-config.json", LOGINS, "new.example.org")
LOGIN = ("apptainer_remote", {"name": "mine", "token": TOKEN[::-1], "verify": "never"}, "remote.yaml", REMOTES, TOKEN[::-1])
TASKS = pytest.mark.parametrize(("module", "args", "name", "text", "added"), [NEW, KEYS, REGISTRY], ids=["endpoint", "keyserver", "registry"])

CLOSED_UNWRITTEN = 0x10  # IN_CLOSE_NOWRITE of inotify(7)


@contextlib.contextmanager
def reads(path):
    """A descriptor that can be read once for each time that somebody has read the file."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(0)
    if fd < 0 or libc.inotify_add_watch(fd, os.fsencode(path), CLOSED_UNWRITTEN) < 0:
        pytest.skip(f"no inotify: {os.strerror(ctypes.get_errno())}")
    try:
        yield fd
    finally:
        os.close(fd)


def count(fd):
    """How many events of 16 bytes are there."""
    os.set_blocking(fd, False)
    try:
        return len(os.read(fd, 1 << 16)) // struct.calcsize("iIII")
    except BlockingIOError:
        return 0


@pytest.fixture
def beside(run_module, tmp_path):
    """Run a module beside a writer, a generator that yields where it waits for the module to have read the file; returns the module's answer."""

    def run(module, args, path, writer, **options):
        path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
        path.touch(mode=0o600)
        with open(path, "r+b", buffering=0) as stream, reads(path) as fd, concurrent.futures.ThreadPoolExecutor(1) as pool:
            steps = writer(stream)
            next(steps)
            done = pool.submit(run_module, module, dict(args, sysconfdir=str(tmp_path / "etc")), **options)
            os.read(fd, 1 << 16)
            for _step in steps:
                pass
            return done.result()

    return run


def truncating(text, gap, written=0):
    """Truncates, writes the first bytes, and after the gap all the others."""

    def write(stream):
        stream.truncate(0)
        stream.write(text[:written].encode())
        yield
        time.sleep(gap)
        stream.write(text[written:].encode())
        os.fsync(stream.fileno())

    return write


def bytewise(text, size, pause):
    def write(stream):
        stream.truncate(0)
        yield
        data = text.encode()
        for begin in range(0, len(data), size):
            stream.write(data[begin:begin + size])
            time.sleep(pause)

    return write


@pytest.fixture
def user(tmp_path):
    return tmp_path / "home" / ".apptainer"


@TASKS
@pytest.mark.parametrize("gap", [0.01, 0.5])
def test_nothing_is_lost_in_the_gap(beside, user, module, args, name, text, added, gap):
    done = beside(module, args, user / name, truncating(text, gap))
    assert done.rc == 0, done.stdout
    assert done.result["changed"]
    after = (user / name).read_text()
    assert added in after
    assert all(word in after for word in (TOKEN, "other.example.org") * (text is REMOTES) + ("YWxpY2U6cGFzc3dvcmQ=",) * (text is LOGINS))


@pytest.mark.parametrize("next_line", ["    mine:", "        Token", "    other:", "        System: false\n        Excl"])
def test_a_beginning_is_not_taken_for_the_whole(beside, user, next_line):
    """Each ends with a line, and is a valid file, or refused as one that is not."""
    module, args, name, text, added = NEW
    done = beside(module, args, user / name, truncating(text, 0.05, text.index(next_line)))
    assert done.rc == 0, done.stdout
    after = (user / name).read_text()
    assert all(word in after for word in (TOKEN, "other.example.org", added))


@TASKS
@pytest.mark.parametrize(("size", "pause"), [(1, 0.0005), (64, 0.05)])
def test_nothing_is_lost_to_a_slow_writer(beside, user, module, args, name, text, added, size, pause):
    done = beside(module, args, user / name, bytewise(text, size, pause))
    assert done.rc == 0, done.stdout
    after = (user / name).read_text()
    assert added in after
    assert "other.example.org" in after if text is REMOTES else "YWxpY2U6cGFzc3dvcmQ=" in after


def test_what_a_plan_refuses_in_the_gap_is_planned_again(beside, user):
    """In the empty file there is no such endpoint to log in to."""
    module, args, name, text, added = LOGIN
    done = beside(module, args, user / name, truncating(text, 0.05))
    assert done.rc == 0, done.stdout
    assert added in (user / name).read_text()


@pytest.mark.parametrize("check", [False, True])
def test_a_run_without_a_change_reads_once(run_module, user, tmp_path, check):
    """However new the file is: it never pauses."""
    user.mkdir(parents=True, mode=0o700)
    (user / "remote.yaml").write_text(REMOTES)
    (user / "remote.yaml").chmod(0o600)
    args = {"name": "other", "uri": "https://other.example.org", "sysconfdir": str(tmp_path / "etc")}
    with reads(user / "remote.yaml") as fd:
        done = run_module("apptainer_remote", args, check=check)
        assert not done.result["changed"]
        assert count(fd) == 1


def test_check_mode_does_not_foresee_what_is_only_half_of_a_file(beside, user):
    args = {"name": "other", "uri": "https://other.example.org"}
    done = beside("apptainer_remote", args, user / "remote.yaml", truncating(REMOTES, 0.05), check=True)
    assert not done.result["changed"]


EMPTY = "remote.yaml was there, but empty (0 bytes)"


@pytest.mark.parametrize(("module", "args", "words"), [
    ("apptainer_keyserver_login", {"uri": "https://k.example.org", **SECRET}, f"{EMPTY}: Apptainer leaves such a file"),
    ("apptainer_keyserver_login", {"uri": "https://k.example.org", "backup": True, **SECRET}, f"{EMPTY}, and so is its backup: Apptainer"),
    ("apptainer_remote", {"name": "new", "uri": "h.example.org", "backup": True}, f"{EMPTY}, and so is its backup: Apptainer"),
    ("apptainer_remote", {"name": "new", "uri": "h.example.org"}, ""),
    ("apptainer_registry_login", {"uri": "docker://r.example.org", **SECRET}, EMPTY.replace("remote.yaml", "docker-config.json")),
], ids=["credential", "credential and backup", "backup", "neither", "registry"])
def test_an_empty_file_deserves_a_word(run_module, user, tmp_path, module, args, words):
    user.mkdir(parents=True, mode=0o700)
    for name in ("remote.yaml", "docker-config.json"):
        (user / name).touch(mode=0o600)
        os.utime(user / name, (0, time.time() - 3600))
    args = {**args, "sysconfdir": str(tmp_path / "etc")}
    foreseen, done = run_module(module, args, check=True).result, run_module(module, args).result
    assert foreseen["warnings"] == done["warnings"]
    said = [warning for warning in done["warnings"] if "0 bytes" in warning]
    assert bool(said) == bool(words)
    assert words in " ".join(said)
    assert "0 bytes" not in run_module(module, args).stdout


def test_the_writer_of_these_tests_is_as_apptainer(tmp_path):
    """The old content is gone before the new one is there, in the same file."""
    path = tmp_path / "remote.yaml"
    path.write_text("old")
    inode = path.stat().st_ino
    with open(path, "r+b", buffering=0) as stream:
        steps = truncating(REMOTES, 0.0)(stream)
        next(steps)
        assert path.read_text() == ""
        list(steps)
    assert (path.read_text(), path.stat().st_ino) == (REMOTES, inode)
