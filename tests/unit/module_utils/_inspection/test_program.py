# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the installed program says. The tables are recorded; the programs that print them are scripts, as no real one can be installed here."""

from __future__ import annotations

import base64
import functools
import os
import re
import shutil
import stat
import tempfile

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._apptainer.effective import sync
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import ApptainerError, FormatError
from ansible_collections.hpc.apptainer.plugins.module_utils._formats.remote_yaml_reader import Document, decode
from ansible_collections.hpc.apptainer.plugins.module_utils._inspection import program
from ansible_collections.hpc.apptainer.plugins.module_utils._inspection.findings import ReadFile, findings
from ansible_collections.hpc.apptainer.plugins.module_utils._inspection.program import (
    ListedRemote,
    ProgramAnswer,
    Question,
    ask_program,
    find_program,
    parse_list,
    who_can_replace,
)
from ansible_collections.hpc.apptainer.plugins.module_utils._module.processes import output_of
from ansible_collections.hpc.apptainer.plugins.module_utils._values.remote_config import Credential, Remote, RemoteConfig
from support.golden import cases
from support.tables import table

TABLE = "\nNAME  URI                DEFAULT?  GLOBAL?  EXCLUSIVE?  SECURE?\nlab   lab.example        ✓         ✓        ✓           ✓\n"
LAB = ListedRemote("lab", "lab.example", True, True, True, False)

# the recordings


def config(text):
    return RemoteConfig() if text is None else decoded(base64.b64decode(text["base64"]) if isinstance(text, dict) else text.encode())


@functools.cache
def decoded(data):
    return decode(data, "remote.yaml").config


def recorded():
    """Every recorded list, with the user's and the global file of that moment."""
    for recording in ("accept", "keyserver_ops", "logins", "merge", "remote_ops"):
        for case in cases(recording):
            files = dict(case["before"])
            for step in case["steps"]:
                files.update(step["after"])
                if step["argv"][:2] == ["remote", "list"] and step["exit"] == 0:
                    try:
                        yield case, step["stdout"], config(files["user"]), config(files["system"])
                    except ApptainerError:  # null entries, for instance, which some versions read
                        continue


def finding_of(answer, system, user=None):
    files = [ReadFile(path, exists=True, document=Document(content, "", True, ()), mode=0o644, uid=0) if content else ReadFile(path)
             for path, content in (("/etc/apptainer/remote.yaml", system), ("/home/alice/.apptainer/remote.yaml", user))]
    return [item for item in findings(*files, program=answer) if item.id == "program-differs"]


# what versions up to 1.2 read in another way than our reader and 1.5: which entry a merge key overrides, and a null name
READ_IN_ANOTHER_WAY = re.compile(r"accept-1\.[0-2]\.\d-(merge-override-first|name-null|name-tilde)-")
# a line break in a URI
TORN = re.compile(r"accept-.*-uri-(literal|escape)-")


def test_every_recorded_list():
    seen = {}
    for case, output, user, system in recorded():
        if TORN.match(case["id"]):
            with pytest.raises(FormatError, match="a row in its table of endpoints is torn"):
                parse_list(output)
            continue
        listed, files = parse_list(output), sync(user, system)
        seen[case["version"]] = seen.get(case["version"], 0) + 1
        expected = sorted((name.rstrip(" "), remote.uri.rstrip(" "), name == files.active, remote.system, remote.exclusive,
                           None if case["version"] == "1.0.3" else remote.insecure) for name, remote in files.remotes.items())
        if case.get("nondeterministic"):  # which one is the default is chance
            expected, listed = ([(*row[:2], False, *row[3:]) for row in rows] for rows in (expected, listed))
        else:
            assert finding_of(ProgramAnswer("apptainer", remotes=listed), system, user) == [], case["id"]
        if not READ_IN_ANOTHER_WAY.match(case["id"]):
            assert sorted(map(tuple, listed)) == sorted(expected), case["id"]
    assert {version: number > 100 for version, number in seen.items()} == dict.fromkeys(
        ["1.0.3", "1.1.9", "1.2.5", "1.3.0", "1.3.6", "1.4.5", "1.5.3"], True)


@pytest.mark.parametrize("text", ["", "\n", "Cloud Services Endpoints\n========================\n\n", "usage: apptainer"],
                         ids=["nothing", "an empty line", "a title", "other text"])
def test_no_table(text):
    with pytest.raises(FormatError, match="there is no table of endpoints in its output"):
        parse_list(text)


def test_the_last_line_may_end_the_text():
    assert parse_list(TABLE) == parse_list(TABLE.rstrip("\n")) == (LAB,)


def test_no_endpoints():
    assert parse_list(TABLE.partition("lab")[0]) == ()


# the rule

RULED = RemoteConfig("lab", {"lab": Remote("lab.example", system=True, exclusive=True)})
SITE = RemoteConfig("site", {"site": Remote("site.example", system=True)})
RULES = [  # what the global file holds, what the program lists, the words of the finding
    ("the same", RULED, (LAB,), None),
    ("another one is exclusive", SITE, (LAB,),
     'remote list shows default "lab", exclusive "lab", but the files that were read here give default "site", exclusive none; '
     "if the program reads another global file (see its buildcfg SYSCONFDIR), set sysconfdir to that"),
    ("nothing is listed", RULED, (), 'shows default none, exclusive none, but the files that were read here give default "lab", exclusive "lab"'),
    ("not exclusive", RULED, (LAB._replace(exclusive=False),), 'shows default "lab", exclusive none, but'),
    ("the files hold nothing", RemoteConfig(), (LAB,), "the files that were read here give default none, exclusive none"),
    ("nothing on both sides", RemoteConfig(), (), None),
    ("exclusive goes before default", RULED._replace(active="gone"), (LAB,), None),
    ("no default on both sides", SITE._replace(active="gone"), (LAB._replace(name="site", default=False, exclusive=False),), None),
    ("two are exclusive, so any may be listed",
     RemoteConfig("lab", {"lab": RULED.remotes["lab"], "b": Remote(exclusive=True, system=True)}), (), None),
]


@pytest.mark.parametrize(("files", "listed", "words"), table(RULES))
def test_another_answer_than_the_files_is_a_finding(files, listed, words):
    found = finding_of(ProgramAnswer("/usr/bin/apptainer", remotes=listed), files)
    assert [(item.severity, item.path) for item in found] == [("error", "/etc/apptainer/remote.yaml")] * bool(words)
    if words:
        assert words in found[0].message
        assert found[0].message.startswith("/usr/bin/apptainer remote list shows ")


def test_a_failure_is_a_finding_but_not_what_was_not_asked():
    failed = ProgramAnswer("/usr/bin/apptainer", "it failed with exit status 255")
    (found,) = finding_of(failed, RULED)
    assert found.message == "/usr/bin/apptainer remote list: it failed with exit status 255; run it by hand to see why"
    assert finding_of(failed._replace(asked=False), RULED) == []


# the program

VERSIONS = {"apptainer": "apptainer version 1.4.5-1.el9", "singularity": "singularity-ce version 4.5.1"}


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Make a script the installed program; anything else on this machine is not seen. It notes what it was given in the directory `notes`."""
    monkeypatch.setattr(program, "_USUAL_PLACES", ())
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    for name in ("bin", "tmp", "notes"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")

    def write(script, flavor="apptainer", version=None, directory=tmp_path / "bin"):
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / flavor
        path.write_text(f"#!/bin/sh\nif [ \"$1\" = --version ]; then echo '{version or VERSIONS[flavor]}'; exit; fi\n{script}\n")
        path.chmod(0o755)
        return str(path)

    return write


def printing(tmp_path, text=TABLE):
    (tmp_path / "table").write_text(text)
    return f"cat {tmp_path}/table"


def test_no_program(install):
    assert ask_program("apptainer", None, 5, output_of, Question()) is None


def test_the_program_is_asked(install, tmp_path):
    path = install(printing(tmp_path))
    assert ask_program("apptainer", None, 5, output_of, Question()) == ProgramAnswer(path, remotes=(LAB,))
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("flavor", ["apptainer", "singularity"])
def test_what_the_program_is_given(install, tmp_path, monkeypatch, flavor):
    monkeypatch.setenv("APPTAINER_DOCKER_PASSWORD", "hunter2")
    monkeypatch.setenv("HOME", "/home/alice")
    notes = tmp_path / "notes"
    install(f"""
        cat > {notes}/stdin; env > {notes}/env; pwd > {notes}/pwd; echo "$@" > {notes}/argv
        find "$HOME" -type f > {notes}/files; cp "$HOME/.{flavor}/remote.yaml" {notes}/user; chmod 0700 "$HOME/.{flavor}"
        stat -c %a "$HOME" "$HOME/.{flavor}" "$HOME/.{flavor}/remote.yaml" > {notes}/modes; touch "$HOME/left-behind"
        {printing(tmp_path)}""", flavor)
    user = RemoteConfig("mine", {"mine": Remote("mine.example", token="hunter2")}, (Credential("https://k", "hunter2"),))
    assert ask_program(flavor, None, 5, output_of, Question(user)).remotes == (LAB,)
    given = {path.name: path.read_text() for path in notes.iterdir()}
    home = given["pwd"].strip()
    assert given["argv"] == "remote list\n"
    assert (given["stdin"], given["modes"]) == ("", "700\n700\n600\n")
    assert given["files"] == f"{home}/.{flavor}/remote.yaml\n"
    environment = {line for line in given["env"].splitlines() if not line.startswith(("PWD=", "_=", "OLDPWD=", "SHLVL="))}
    assert environment == {f"HOME={home}", f"{flavor.upper()}_CONFIGDIR={home}/.{flavor}", "LC_ALL=C", f"PATH={os.environ['PATH']}"}
    assert decode(given["user"].encode(), "x").config == RemoteConfig("mine", {"mine": Remote("mine.example")})
    assert "hunter2" not in str(given)
    assert not os.path.exists(home)


def test_a_user_without_a_file_has_none_there(install, tmp_path):
    install(f'[ -e "$HOME/.apptainer/remote.yaml" ] && exit 1; [ -d "$HOME/.apptainer" ] && {printing(tmp_path)}')
    assert ask_program("apptainer", None, 5, output_of, Question()).error is None


ENDLESS = "it did not finish within 0.5 seconds, or its output did not end"
FAILURES = [
    ("it fails", "echo hunter2 >&2; exit 255", "it failed with exit status 255"),
    ("it is killed", "kill -9 $$", "it failed with exit status -9"),
    ("it prints something else", "echo hello", "there is no table of endpoints in its output"),
    ("it sleeps, and so does a child", "sleep 60 & sleep 60", ENDLESS),
    ("it sleeps, and so does one of another session", "setsid sleep 2; sleep 60", ENDLESS),
    ("it sleeps, its output closed", "exec >&-; sleep 60", ENDLESS),
    ("it prints for ever", "yes", ENDLESS),
    ("it prints much", "head -c 900000 /dev/urandom", "there is no table of endpoints in its output"),
    ("it asks the terminal", "read answer < /dev/tty || exit 3", "it failed with exit status 3"),
    ("it leaves what nobody can read", 'mkdir "$HOME/x"; touch "$HOME/x/y"; chmod 0 "$HOME/x" "$HOME"; exit 1', "it failed with exit status 1"),
]


@pytest.mark.parametrize(("script", "words"), table(FAILURES))
def test_a_program_that_fails(install, tmp_path, script, words):
    """One that sleeps ends only if it is ended; the others have the time that they need on a busy machine."""
    path = install(script)
    assert ask_program("apptainer", None, 0.5 if words == ENDLESS else 60, output_of, Question()) == ProgramAnswer(path, words)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_program_that_leaves_another_behind_is_not_waited_for(install, tmp_path):
    """To wait for either of the two would take more than the time that there is."""
    path = install(f"setsid sleep 12 & sleep 60 & {printing(tmp_path)}")
    assert ask_program("apptainer", None, 10, output_of, Question()) == ProgramAnswer(path, remotes=(LAB,))


def test_nowhere_to_ask_it(install, tmp_path, monkeypatch):
    path = install(printing(tmp_path))
    (tmp_path / "tmp").rmdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    assert ask_program("apptainer", None, 5, output_of, Question()) == ProgramAnswer(path, "it cannot be run: No such file or directory", asked=False)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
class TestRoot:
    """What root runs, nobody else must be able to replace."""

    @pytest.fixture
    def place(self, tmp_path):
        (tmp_path / "opt/bin").mkdir(parents=True)
        (tmp_path / "opt/bin/apptainer").touch()
        return tmp_path

    def test_what_only_root_can_replace(self, place):
        os.chown(place / "opt", 0, 4711)
        (place / "opt").chmod(0o2775)
        (place / "opt/bin").chmod(0o1777)
        (place / "link").symlink_to("opt/bin/apptainer")
        assert [who_can_replace(str(place / name)) for name in ("opt/bin/apptainer", "link")] == [None, None]

    @pytest.mark.parametrize("name", ["opt", "opt/bin", "opt/bin/apptainer"])
    @pytest.mark.parametrize("asked", ["opt/bin/apptainer", "link"])
    def test_what_others_can_replace(self, place, name, asked):
        (place / "link").symlink_to("opt/bin/apptainer")
        (place / name).chmod(0o777)
        assert who_can_replace(str(place / asked)) == f"everyone can write to {place / name}"
        (place / name).chmod(0o755)
        os.chown(place / name, 4711, 0)
        assert who_can_replace(str(place / asked)) == f"{place / name} belongs to uid 4711"

    def test_a_link_of_a_user(self, place):
        (place / "link").symlink_to("opt/bin/apptainer")
        os.lchown(place / "link", 4711, 0)
        assert who_can_replace(str(place / "link")) == f"{place}/link belongs to uid 4711"

    def test_root_does_not_run_it(self, install, tmp_path, monkeypatch):
        path = install(f"touch {tmp_path}/ran")
        shutil.chown(tmp_path / "bin", 4711)
        words = f"{tmp_path}/bin belongs to uid 4711, so root does not run it; run the task as another user (become: false)"
        assert ask_program("apptainer", None, 5, output_of, Question()) == ProgramAnswer(path, words, asked=False)
        assert not (tmp_path / "ran").exists()
        monkeypatch.setattr(program.os, "geteuid", lambda: 4711)
        assert ask_program("apptainer", None, 5, output_of, Question()).error != words


def test_a_program_that_cannot_be_run(install):
    path = install("")
    with open(path, "w", encoding="utf-8") as stream:
        stream.write("#!/does/not/exist\n")
    assert ask_program("apptainer", None, 5, output_of, Question()) == ProgramAnswer(path, "it failed with exit status 127")


@pytest.mark.parametrize(("flavor", "version", "asked"), [
    ("apptainer", "apptainer version 1.0.3", False),
    ("apptainer", "apptainer version 1.1.0-rc.2", True),
    ("apptainer", "apptainer version 1.10.0", True),
    ("apptainer", "apptainer version 1." + "1" * 5000, True),
    ("apptainer", "no idea", True),
    ("singularity", "singularity version 3.8.7", False),
    ("singularity", "singularity-ce version 3.11.4", False),
    ("singularity", "singularity-ce version 4.0.0", True),
    ("singularity", "singularity-pro version 4.1.6", True),
])
def test_what_would_look_into_the_users_home_is_not_asked(install, tmp_path, flavor, version, asked):
    path = install(f"touch {tmp_path}/ran; {printing(tmp_path)}", flavor, version)
    answer = ask_program(flavor, None, 5, output_of, Question())
    assert (answer.path, answer.asked, (tmp_path / "ran").exists()) == (path, asked, asked)
    assert answer.error == (None if asked else f"{version} would use the user's own home and leave files there, so it was not run")


def test_apptainer_under_the_name_of_singularity_is_not_it(install, tmp_path):
    install(printing(tmp_path), "singularity", "apptainer version 1.4.5")
    assert ask_program("singularity", None, 5, output_of, Question()) is None


def test_where_the_program_is(install, tmp_path, monkeypatch):
    in_path = install("")
    beside = install("", directory=tmp_path / "prefix" / "bin")
    usual = install("", directory=tmp_path / "usual")
    monkeypatch.setattr(program, "_USUAL_PLACES", (str(tmp_path / "usual"),))
    assert find_program("apptainer") == find_program("apptainer", "/nowhere/etc") == in_path
    assert find_program("apptainer", str(tmp_path / "prefix/etc")) == find_program("apptainer", str(tmp_path / "prefix/etc/")) == beside
    monkeypatch.setenv("PATH", ":.:bin")
    monkeypatch.chdir(tmp_path)
    assert find_program("apptainer") == usual
    monkeypatch.delenv("PATH")
    assert find_program("apptainer") == usual
    os.chmod(usual, stat.S_IRUSR)
    assert find_program("apptainer") is None


def test_a_link_is_given_as_a_link(install, tmp_path):
    """SingularityCE 4.5 refuses it, older ones follow it: the program says which it does."""
    install(f'file="$HOME/.singularity/remote.yaml"; [ -L "$file" ] && grep -q mine "$file" && exit 255; {printing(tmp_path)}', "singularity")
    question = Question(RemoteConfig("mine", {"mine": Remote("mine.example")}), is_link=True)
    assert ask_program("singularity", None, 5, output_of, question).error == "it failed with exit status 255"
    assert ask_program("singularity", None, 5, output_of, question._replace(is_link=False)).error is None


def test_a_torn_table_is_not_asked_for(install, tmp_path):
    """A recorded name with a tab: `remote list` shows its second half as a URI, and so an exclusive endpoint that is not there."""
    path = install(f"touch {tmp_path}/ran")
    answer = ask_program("apptainer", None, 5, output_of, Question(is_torn=True))
    assert (answer.path, answer.asked, (tmp_path / "ran").exists()) == (path, False, False)
    assert "tears the table of its remote list, so it was not run and nothing was compared" in answer.error
    assert finding_of(answer, RULED) == []
