# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SingularityCE's files: what its newest version does not open or read is drift, and is written so that it does. And what is left alone."""

from __future__ import annotations

import os
import re
import stat

import pytest

SITE = "Active: site\nRemotes:\n    site:\n        URI: library.example.org\n        System: true\n        Exclusive: true\n"
MINE = "Active: mine\nRemotes:\n    mine:\n        URI: own.example.org\n        System: false\n        Exclusive: false\n"
DECLARED = {"flavor": "singularity", "verify": "never"}
GLOBAL = {**DECLARED, "scope": "global", "name": "site", "uri": "https://library.example.org", "exclusive": True}


@pytest.fixture
def etc(tmp_path):
    """The directory of the global file, and the option that names it."""
    (tmp_path / "etc" / "singularity").mkdir(parents=True)
    return tmp_path / "etc" / "singularity"


@pytest.fixture
def home(tmp_path):
    """The directory of the user's files, which a variable names."""
    (tmp_path / "configdir").mkdir(mode=0o700)
    return tmp_path / "configdir"


@pytest.fixture
def run(run_module, etc, home):
    """Run a module for SingularityCE, of this node."""

    def run(name, args, **options):
        return run_module(name, {"flavor": "singularity", "sysconfdir": str(etc.parent), **args},
                          env={"SINGULARITY_CONFIGDIR": str(home)}, **options)

    return run


def twice(run, name, args, **options):
    """Foreseen, done, and then in state; what was done."""
    foreseen, done, again = (
        run(name, args, diff=True, **options, **check) for check in ({"check": True}, {}, {}))
    assert done.rc == 0, done.stdout + done.stderr
    for result in (foreseen.result, done.result, again.result):
        result.pop("invocation", None)
    assert foreseen.result == done.result
    assert not again.result["changed"], again.result
    assert all(entry["before"] == entry["after"] for entry in again.result["diff"])
    return done.result


def linked(path, text, mode):
    """A file elsewhere and a link to it."""
    target = path.parent.parent / f"target-of-{path.parent.name}"
    target.write_text(text)
    target.chmod(mode)
    path.symlink_to(target)
    return target


def test_a_linked_global_file_is_replaced(run, etc, node_python):
    target = linked(etc / "remote.yaml", SITE, 0o644)
    info = run("apptainer_remote_info", {"scope": "global", "include": ["files"]}).result
    assert [(found["id"], found["severity"]) for found in info["findings"]] == [("symbolic-link", "error")]
    assert (info["effective"]["source"], info["effective"]["exclusive"]) == ("built-in", None)
    assert [remote["name"] for remote in info["global"]["remotes"]] == ["site"]
    done = twice(run, "apptainer_remote", GLOBAL, python=node_python)
    assert done["changed"]
    assert done["diff"][-1]["before"] == "type: symbolic link\n"
    assert done["diff"][-1]["after"] == "type: file\n"
    (warning,) = done["warnings"]
    assert warning.startswith(f"{etc}/remote.yaml was a symbolic link to {target}, which SingularityCE 4.5 and newer do not open, so a file takes")
    assert not (etc / "remote.yaml").is_symlink()
    assert (etc / "remote.yaml").read_text() == target.read_text() == SITE
    assert stat.S_IMODE((etc / "remote.yaml").stat().st_mode) == 0o644
    info = run("apptainer_remote_info", {"scope": "global"}).result
    assert (info["findings"], info["effective"]["exclusive"]) == ([], "site")


def test_apptainer_follows_its_link(run, etc):
    (etc.parent / "apptainer").mkdir()
    target = linked(etc.parent / "apptainer" / "remote.yaml", SITE, 0o644)
    done = twice(run, "apptainer_remote", {**GLOBAL, "flavor": "apptainer", "exclusive": False})
    assert (done["changed"], (etc.parent / "apptainer" / "remote.yaml").is_symlink()) == (True, True)
    assert target.read_text() == SITE.replace("Exclusive: true", "Exclusive: false")


def test_the_whole_list_and_a_backup(run, etc):
    linked(etc / "remote.yaml", SITE, 0o600)
    args = {**DECLARED, "scope": "global", "backup": True, "remotes": [{"name": "site", "exclusive": False}]}
    done = run("apptainer_remotes", args).result
    assert not (etc / "remote.yaml").is_symlink()
    assert (etc / "remote.yaml").read_text() == SITE.replace("Exclusive: true", "Exclusive: false")
    assert stat.S_IMODE((etc / "remote.yaml").stat().st_mode) == 0o644
    with open(done["backup_file"], encoding="utf-8") as stream:
        assert stream.read() == SITE
    assert not os.path.islink(done["backup_file"])


def test_a_linked_file_of_an_image(run, tmp_path):
    root = tmp_path / "image"
    (root / "etc" / "singularity").mkdir(parents=True)
    (root / "data").mkdir()
    (root / "data" / "remote.yaml").write_text(SITE)
    (root / "etc" / "singularity" / "remote.yaml").symlink_to("/data/remote.yaml")
    done = twice(run, "apptainer_remote", {**GLOBAL, "root": str(root), "sysconfdir": None})
    assert done["changed"]
    assert not (root / "etc" / "singularity" / "remote.yaml").is_symlink()


def test_a_users_linked_file_is_replaced_by_a_login(run, etc, home):
    (etc / "remote.yaml").write_text(SITE)
    target = linked(home / "remote.yaml", MINE, 0o600)
    info = run("apptainer_remote_info", {}).result
    assert [(found["id"], found["severity"]) for found in info["findings"]] == [("symbolic-link", "error")]
    assert "is a symbolic link" in info["effective"]["problem"]
    done = twice(run, "apptainer_logins", {"verify": "never", "remotes": [{"name": "site", "token": "s3cretTOKEN"}]})
    assert done["changed"]
    assert not (home / "remote.yaml").is_symlink()
    assert "s3cretTOKEN" in (home / "remote.yaml").read_text()
    assert target.read_text() == MINE
    assert stat.S_IMODE((home / "remote.yaml").stat().st_mode) == 0o600
    assert run("apptainer_remote_info", {}).result["findings"] == []


def test_a_login_does_not_make_the_target_of_a_dangling_link(run, home, tmp_path):
    (home / "remote.yaml").symlink_to(tmp_path / "missing")
    twice(run, "apptainer_registry_login", {"verify": "never", "uri": "docker://r.example.org", "username": "alice", "password": "s3cret"})
    assert not (tmp_path / "missing").exists()
    assert "docker://r.example.org" in (home / "remote.yaml").read_text()
    assert not (home / "remote.yaml").is_symlink()


def test_linked_directories_and_a_linked_docker_config_stay(run, home, tmp_path):
    home.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    home.symlink_to("elsewhere")
    (tmp_path / "docker.json").write_text('{"auths": {}}')
    (tmp_path / "docker.json").chmod(0o600)
    (tmp_path / "elsewhere" / "docker-config.json").symlink_to(tmp_path / "docker.json")
    twice(run, "apptainer_registry_login", {"verify": "never", "uri": "docker://r.example.org", "username": "alice", "password": "s3cret"})
    assert home.is_symlink()
    assert (home / "docker-config.json").is_symlink()
    assert "r.example.org" in (tmp_path / "docker.json").read_text()
    assert (home / "remote.yaml").is_file()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_link_to_what_another_user_owns_is_not_read(run, home, tmp_path):
    (tmp_path / "others").write_text(MINE)
    os.chown(tmp_path / "others", 4711, 4711)
    home.chmod(0o1777)
    (home / "remote.yaml").symlink_to(tmp_path / "others")
    done = run("apptainer_remote", {**DECLARED, "name": "mine", "default": True})
    assert done.rc != 0
    assert "is a symbolic link that belongs to root, but" in done.result["msg"]
    assert (home / "remote.yaml").is_symlink()


def test_a_global_link_is_told_to_whoever_changes_a_users_file(run, etc):
    linked(etc / "remote.yaml", SITE, 0o644)
    done = run("apptainer_remote", {**DECLARED, "name": "mine", "uri": "https://own.example.org"})
    assert done.result["warnings"][0].startswith(f"{etc}/remote.yaml is a symbolic link, so SingularityCE 4.5 and newer ignore the global file; ")


# a program that opens no link, as 4.5 does

PROGRAM = """#!/bin/sh
for file in "{etc}/remote.yaml" "$SINGULARITY_CONFIGDIR/remote.yaml"; do [ -L "$file" ] && echo 'too many levels of symbolic links' && exit 255; done
[ "$1" = --version ] && echo 'singularity-ce version 4.5.1' && exit
cat {table}
"""
TABLE = "\nNAME  URI                  DEFAULT?  GLOBAL?  EXCLUSIVE?  SECURE?\nsite  library.example.org  ✓         ✓        ✓           ✓\n"


@pytest.fixture
def program(etc, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "table").write_text(TABLE)
    (tmp_path / "bin" / "singularity").write_text(PROGRAM.format(etc=etc, table=tmp_path / "table"))
    (tmp_path / "bin" / "singularity").chmod(0o755)


@pytest.mark.usefixtures("program")
def test_the_program_is_not_asked_about_a_file_that_it_would_open(run, etc, home):
    (etc / "remote.yaml").write_text(SITE)
    linked(home / "remote.yaml", "", 0o600)
    info = run("apptainer_remote_info", {"program": True}).result
    assert sorted(found["id"] for found in info["findings"]) == ["program-differs", "symbolic-link"]
    assert info["program"]["error"] == "it failed with exit status 255"
    (home / "remote.yaml").unlink()
    assert run("apptainer_remote_info", {"program": True}).result["findings"] == []


@pytest.mark.usefixtures("program")
def test_a_name_that_tears_the_table_is_not_compared(run, etc):
    (etc / "remote.yaml").write_text(SITE + '    "a\\tb":\n        URI: x.example.org\n        System: true\n        Exclusive: false\n')
    info = run("apptainer_remote_info", {"scope": "global", "program": True}).result
    assert [(found["id"], found["remote"]) for found in info["findings"]] == [("torn-name", "a\tb")]
    assert "tears the table of singularity remote list" in info["findings"][0]["message"]
    assert "so it was not run and nothing was compared" in info["program"]["error"]
    done = run("apptainer_remote", {**GLOBAL, "name": "c\td", "exclusive": None})
    assert done.result["msg"].startswith('endpoint "c\\td": the name has a tab or a line break, which tears the table of singularity remote list')


# what is in the files

DATES = """\
Active: 2024-01-01
Remotes:
  2024-01-01:
    URI: 2024-01-02
    System: true
    Exclusive: true
  2001-12-14t21:59:43.10-05:00:
    URI: library.example.org
    System: true
    Exclusive: false
"""


@pytest.mark.parametrize(("flavor", "version", "rewritten"), [("singularity", "4.5", True), ("apptainer", "1.6", False)])
def test_plain_dates(run, etc, flavor, version, rewritten):
    (etc.parent / flavor).mkdir(exist_ok=True)
    file = etc.parent / flavor / "remote.yaml"
    file.write_text(DATES)
    file.chmod(0o644)
    info = run("apptainer_remote_info", {"scope": "global", "flavor": flavor}).result
    assert {(found["id"], found["severity"], *found["refused_by"]) for found in info["findings"]} == {
        ("refused-by-versions", "error" if rewritten else "warning", version)}
    assert info["effective"]["exclusive"] == (None if rewritten else "2024-01-01")
    done = twice(run, "apptainer_remotes", {**DECLARED, "scope": "global", "flavor": flavor, "remotes": [{"name": "2024-01-01", "exclusive": True}]})
    assert done["changed"] == rewritten
    if rewritten:
        assert file.read_text().startswith('Active: "2024-01-01"\nRemotes:\n    "2001-12-14t21:59:43.10-05:00":\n')
        assert '    "2024-01-01":\n        URI: "2024-01-02"\n' in file.read_text()
        (entry,) = [entry for entry in done["diff"] if entry["before"] != entry["after"]]
        assert entry["before"] == "# refused by SingularityCE 4.5: a date or timestamp is no text without quotes\n" + entry["after"]
    else:
        assert file.read_text() == DATES


QUOTES = "Active: 'yes'\nRemotes:\n    '12:30':\n        URI: 'no'\n        System: true\n        Exclusive: false\n" \
         "    'yes':\n        URI: library.example.org\n        System: true\n        Exclusive: false\n"


@pytest.mark.parametrize("flavor", ["singularity", "apptainer"])
def test_no_file_is_rewritten_for_its_quotes(run, etc, flavor):
    (etc.parent / flavor).mkdir(exist_ok=True)
    file = etc.parent / flavor / "remote.yaml"
    file.write_text(QUOTES)
    file.chmod(0o644)
    args = {**DECLARED, "scope": "global", "flavor": flavor, "prune": True, "remotes": [
        {"name": "yes", "uri": "https://library.example.org", "default": True}, {"name": "12:30"}]}
    assert not twice(run, "apptainer_remotes", args)["changed"]
    assert file.read_text() == QUOTES


def test_what_only_its_newest_version_reads(run, etc):
    (etc / "remote.yaml").write_text(SITE + f"    {'k' * 1030}:\n        URI: 'a\x7fb'\n        System: true\n        Exclusive: false\n")
    info = run("apptainer_remote_info", {"scope": "global"}).result
    assert info["effective"]["exclusive"] == "site"
    assert [found["severity"] for found in info["findings"] if found["id"] == "refused-by-versions"] == ["warning"]
    assert not run("apptainer_remote", GLOBAL).result["changed"]


def test_a_name_in_both_files_is_fatal(run, etc, home):
    (etc / "remote.yaml").write_text(SITE)
    (home / "remote.yaml").write_text(MINE.replace("mine", "site"))
    (home / "remote.yaml").chmod(0o600)
    info = run("apptainer_remote_info", {}).result
    assert info["effective"]["problem"] == "name collision while syncing: site"
    assert [(found["id"], found["severity"]) for found in info["findings"]] == [("shadowed-exclusive", "error")]
    assert "SingularityCE refuses every command of this user" in info["findings"][0]["message"]
    (warning,) = run("apptainer_remote", {**DECLARED, "name": "site"}).result["warnings"]
    assert "SingularityCE refuses every command of this user" in warning


def test_messages_speak_of_singularity(run, etc):
    (etc / "remote.yaml").write_text(SITE.replace("library.example.org", "library.example.org:8443").replace("site", "Apptainer"))
    (etc / "remote.yaml").chmod(0o600)
    info = run("apptainer_remote_info", {"scope": "global"}).result
    words = " ".join(found["message"] for found in info["findings"])
    assert "SingularityCE 3.9 and newer cannot use the uri" in words
    assert "so SingularityCE ignores it for them" in words
    assert not re.search(r"\bApptainer\b", words)
    assert info["effective"]["default"] == "Apptainer"  # data stays
    (etc / "remote.yaml").write_text("Active: [\n")
    failed = run("apptainer_remote", GLOBAL)
    assert "; SingularityCE refuses the whole file. " in failed.result["msg"]
    blank = run("apptainer_remote", {**DECLARED, "name": " ", "uri": "https://h.example.org", "config_file": str(etc / "other.yaml")})
    assert "the name is blank, which SingularityCE refuses" in blank.result["msg"]


def test_cloud_apptainer_org_has_no_keyserver_of_its_own_there(run, etc):
    """As the built-in one, keys.openpgp.org would get this endpoint's token."""
    args = {**DECLARED, "scope": "global", "name": "c", "uri": "https://cloud.apptainer.org", "keyservers": [{"uri": "https://keys.openpgp.org"}]}
    twice(run, "apptainer_remote", args)
    assert "External: true" in (etc / "remote.yaml").read_text()


# apptainer

def test_a_users_default_without_effect_is_a_warning(run_module, tmp_path):
    (tmp_path / "etc" / "apptainer").mkdir(parents=True)
    (tmp_path / "etc" / "apptainer" / "remote.yaml").write_text(SITE)
    (tmp_path / "home" / ".apptainer").mkdir(parents=True)
    (tmp_path / "home" / ".apptainer" / "remote.yaml").write_text(MINE)
    (tmp_path / "home" / ".apptainer" / "remote.yaml").chmod(0o600)
    done = run_module("apptainer_remote", {"sysconfdir": str(tmp_path / "etc"), "name": "mine", "default": True, "verify": "never"})
    assert (done.rc, done.result["changed"]) == (0, False)
    assert done.result["warnings"] == [
        'endpoint "mine": this user\'s file makes it the default, but that has no effect while "site" is exclusive; release that one '
        "(exclusive: false with scope: global), or remove default: true"]
