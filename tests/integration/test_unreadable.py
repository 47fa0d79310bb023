# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A file that cannot be parsed, which Apptainer ignores without a word: named so, and replaced where all that it has to hold is declared."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

SECRET = "s3cret-t0ken"
GOOD = """\
Active: site
Remotes:
    site:
        URI: library.example.org
        System: true
        Exclusive: true
"""
BROKEN = {  # what, the content, what is wrong with it
    "indentation": (f"Active: site\nRemotes:\n  site:\n   URI: h\n  Token: {SECRET}\n    System: true\n",
                    "line 6, column 11: this colon cannot end a key"),
    "a secret as a key": (f"{SECRET * 4}: x\n", "line 1, column 1: a key is not one that Apptainer knows for the file"),
    "not text": (b"\xff\xfe\x00", "line 1, column 1: the file is not UTF-16 text"),
    "half a file": (GOOD[:40] + "'", "line 4, column 10: a closing quote is missing"),
}
SITE = {"name": "site", "uri": "https://library.example.org", "exclusive": True}
IGNORED = "Until then, Apptainer ignores it for everyone: no endpoint is exclusive, and its default does not count."
WAS_IGNORED = "Until now, Apptainer ignored it for everyone: no endpoint was exclusive, and its default did not count."


@pytest.fixture
def etc(tmp_path):
    path = tmp_path / "etc" / "apptainer" / "remote.yaml"
    path.parent.mkdir(parents=True)
    return path


def write(path, content, mode=0o644):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)


@pytest.fixture
def converge(run_module, etc):
    def run(check=False, python=None, **options):
        args = {"scope": "global", "sysconfdir": str(etc.parents[1]), "remotes": [SITE], "prune": True, **options}
        done = run_module("apptainer_remotes", args, check=check, diff=True, python=python)
        assert SECRET not in done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        return done.result

    return run


def kept(path):
    return sorted(set(path.parent.iterdir()) - {path, path.parent / ".ansible-hpc.apptainer.lock"})


@pytest.mark.parametrize(("content", "words"), BROKEN.values(), ids=BROKEN)
def test_it_is_replaced_and_kept(converge, etc, content, words, node_python):
    write(etc, content)
    before = etc.read_bytes()
    failed = converge(python=node_python)
    assert f"{etc}, {words}" in failed["msg"]
    assert failed["msg"].endswith(f" {IGNORED} With unreadable: replace, a new file takes its place, and a copy of it is kept.")
    assert (etc.read_bytes(), kept(etc)) == (before, [])

    foreseen = converge(check=True, unreadable="replace", python=node_python)
    assert (etc.read_bytes(), kept(etc)) == (before, [])
    done = converge(unreadable="replace", python=node_python)
    (copy,) = kept(etc)
    assert (etc.read_text(), copy.read_bytes()) == (GOOD, before)
    assert done["backup_file"] == str(copy)
    for result, where in ((foreseen, f"{etc}.*~"), (done, str(copy))):
        assert result["changed"]
        (diff,) = result["diff"]
        assert diff["before"].startswith(f"# cannot be read as YAML: {etc}, {words}")
        assert re.fullmatch(r"# [^\n]*; Apptainer refuses the whole file\n", diff["before"])
        assert diff["after"] == GOOD
        (warning,) = result["warnings"]
        assert warning.startswith(f"{etc}, {words}")
        assert f"It is replaced, and the old file is kept as {where}. {WAS_IGNORED} Endpoints that only it held are gone; " in warning
    for transient in ("backup_file", "warnings", "invocation"):
        foreseen.pop(transient, None), done.pop(transient, None)
    assert foreseen == done

    again = converge(unreadable="replace")
    assert (again["changed"], again["warnings"]) == (False, [])
    assert kept(etc) == [copy]


@pytest.mark.parametrize("old", [0o600, 0o640, 0o644, 0o666])
def test_nobody_can_read_more_of_the_copy_than_of_the_old_file(converge, etc, old):
    write(etc, BROKEN["indentation"][0], old)
    copy = Path(converge(unreadable="replace")["backup_file"])
    assert (stat.S_IMODE(etc.stat().st_mode), stat.S_IMODE(copy.stat().st_mode)) == (0o644, old & 0o644)


def test_a_good_file_is_not_replaced_for_it(converge, etc):
    write(etc, GOOD)
    assert converge(unreadable="replace")["changed"] is False
    write(etc, GOOD.replace("library", "other"))
    done = converge(unreadable="replace")
    assert (done["changed"], kept(etc), "backup_file" in done) == (True, [], False)
    etc.unlink()
    assert converge(unreadable="replace")["changed"]
    assert kept(etc) == []


def test_all_must_be_declared(converge, etc):
    write(etc, BROKEN["indentation"][0])
    before = etc.read_bytes()
    assert converge(unreadable="replace", prune=False)["msg"] == (
        "unreadable: replace needs prune: true, because only then the list of remotes is all that the new file has to hold; set both, or neither")
    assert etc.read_bytes() == before
    assert converge(prune=False)["msg"].endswith(IGNORED)  # without a way out that would be refused


def test_what_the_rules_refuse_is_not_replaced_either(converge, etc):
    write(etc, BROKEN["indentation"][0])
    assert "remove exclusive: true" in converge(unreadable="replace", remotes=[{**SITE, "state": "retired"}])["msg"]
    assert kept(etc) == []


def test_a_users_file(run_module, tmp_path):
    path = tmp_path / "home" / ".apptainer" / "remote.yaml"
    path.parent.mkdir(parents=True, mode=0o700)
    write(path, BROKEN["indentation"][0], 0o600)
    args = {"sysconfdir": str(tmp_path / "etc"), "remotes": [{"name": "mine", "uri": "https://library.example.org", "default": True}], "prune": True}
    failed = run_module("apptainer_remotes", args)
    assert "line 6, column 11" in failed.result["msg"]
    assert "for everyone" not in failed.result["msg"]  # it is this user's alone
    done = run_module("apptainer_remotes", {**args, "unreadable": "replace"}, diff=True)
    assert SECRET not in done.stdout + done.stderr
    assert done.result["warnings"][0].endswith("The tokens and logins that only it held are gone; log in again.")
    assert stat.S_IMODE(os.stat(done.result["backup_file"]).st_mode) == 0o600
    assert SECRET in Path(done.result["backup_file"]).read_text()


def test_in_the_words_of_singularity(run_module, tmp_path):
    path = tmp_path / "etc" / "singularity" / "remote.yaml"
    path.parent.mkdir(parents=True)
    write(path, BROKEN["indentation"][0])
    args = {"scope": "global", "sysconfdir": str(tmp_path / "etc"), "flavor": "singularity", "remotes": [SITE], "prune": True}
    failed = run_module("apptainer_remotes", args).result["msg"]
    done = run_module("apptainer_remotes", {**args, "unreadable": "replace"}, diff=True).result
    for text in (failed, done["diff"][0]["before"], done["warnings"][0]):
        assert "SingularityCE refuses the whole file" in text
        assert "Apptainer" not in text


# Other ways in which Apptainer ignores the global file; a caller tells them apart by the class of the error

MODULES = {
    "apptainer_remotes": {"scope": "global", "remotes": [SITE], "prune": True},
    "apptainer_remote": {"scope": "global", **SITE},
    "apptainer_keyserver": {"remote": "site", "uri": "https://keys.example.org"},
}


@pytest.mark.parametrize(("module", "place"), [
    *((module, "broken") for module in MODULES), *(("apptainer_remotes", place) for place in ("directory", "loop", "no directory"))])
def test_what_apptainer_ignores_is_said_to_be_ignored(run_module, tmp_path, module, place):
    path = tmp_path / "etc" / "apptainer" / "remote.yaml"
    if place == "no directory":
        path.parent.parent.mkdir()
        path.parent.write_text("")
    elif place == "directory":
        path.mkdir(parents=True)
    else:
        path.parent.mkdir(parents=True)
        if place == "loop":
            path.symlink_to(path)
        else:
            write(path, BROKEN["indentation"][0])
    done = run_module(module, {"sysconfdir": str(tmp_path / "etc"), **MODULES[module]})
    assert IGNORED in done.result["msg"]
    assert str(path) in done.result["msg"]


def test_what_apptainer_reads_is_not_said_to_be_ignored(run_module, tmp_path):
    """It cannot be written, but it counts."""
    path = tmp_path / "etc" / "apptainer" / "remote.yaml"
    path.parent.mkdir(parents=True)
    write(path, GOOD + "#" * (17 << 20))
    done = run_module("apptainer_remotes", {"scope": "global", "sysconfdir": str(tmp_path / "etc"), "remotes": [SITE]})
    assert "larger than 16 MiB" in done.result["msg"]
    assert "ignores it" not in done.result["msg"]
