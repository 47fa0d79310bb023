# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules that write, as real processes: what they write, twice, in check mode, and when they must refuse."""

from __future__ import annotations

import json
import os
import re
import stat
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import envs, processes

TOKEN = "tok-" + "s3cretS3CRET" * 20
OLD_TOKEN = "old-" + "0therS3CRET0" * 20

SITE = """\
Active: site
Remotes:
    DefaultRemote:
        URI: cloud.apptainer.org
        System: true
        Exclusive: false
    site:
        URI: library.example.org
        System: true
        Exclusive: true
"""


def snapshot(path):
    """All that must not change when nothing is to be done."""
    status = path.stat()
    return path.read_bytes(), status.st_mtime_ns, status.st_ino, stat.S_IMODE(status.st_mode)


@pytest.fixture
def etc(tmp_path):
    """The global remote.yaml of a node of its own."""
    (tmp_path / "etc" / "apptainer").mkdir(parents=True)
    return tmp_path / "etc" / "apptainer" / "remote.yaml"


@pytest.fixture
def user(tmp_path):
    """The remote.yaml of a user of its own."""
    (tmp_path / "home" / ".apptainer").mkdir(parents=True, mode=0o700)
    return tmp_path / "home" / ".apptainer" / "remote.yaml"


@pytest.fixture
def four_times(run_module):
    """Run a module in check mode, for real, again, and in check mode again; the answers of the first two must be the same."""

    def run(name, args, path):
        before = path.read_bytes() if path.exists() else None
        foreseen = run_module(name, args, check=True, diff=True)
        assert (path.read_bytes() if path.exists() else None) == before
        done = run_module(name, args, diff=True)
        assert done.rc == 0, done.stdout + done.stderr
        for transient in ("backup_file", "invocation"):
            foreseen.result.pop(transient, None)
            done.result.pop(transient, None)
        assert foreseen.result == done.result
        assert done.result["changed"] == ((path.read_bytes() if path.exists() else None) != before)
        if path.exists():
            state = snapshot(path)
            again, after = run_module(name, args, diff=True), run_module(name, args, check=True, diff=True)
            assert not again.result["changed"]
            assert not after.result["changed"]
            assert all(entry["before"] == entry["after"] for entry in again.result["diff"] + after.result["diff"])
            assert snapshot(path) == state
        return done.result

    return run


def test_the_exclusive_endpoint_of_a_clean_node(four_times, tmp_path):
    args = {"scope": "global", "sysconfdir": str(tmp_path / "new" / "etc"), "name": "site", "uri": "https://library.example.org", "exclusive": True}
    path = tmp_path / "new" / "etc" / "apptainer" / "remote.yaml"
    result = four_times("apptainer_remote", args, path)
    assert path.read_text() == SITE.replace(SITE[SITE.index("    Def"):SITE.index("    site")], "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755
    assert result["config_file"] == str(path)
    assert result["remote"] == {"name": "site", "uri": "library.example.org", "insecure": False, "default": True, "exclusive": True,
                                "system": True, "logged_in": False, "keyservers": []}


def test_the_whole_list(four_times, etc):
    etc.write_text(SITE.replace("site", "old").replace("Exclusive: true", "Exclusive: false"))
    args = {"scope": "global", "config_file": str(etc), "prune": True, "remotes": [
        {"name": "site", "uri": "https://[2001:db8::1]:8443/library", "exclusive": True,
         "keyservers": [{"uri": "https://keys.example.org"}, {"uri": "hkps://keys.openpgp.org", "insecure": True}]},
        {"name": "DefaultRemote", "keyservers": [{"uri": "https://keys.openpgp.org"}]},
    ]}
    result = four_times("apptainer_remotes", args, etc)
    assert (result["default"], [remote["name"] for remote in result["remotes"]]) == ("site", ["DefaultRemote", "site"])
    assert etc.read_text() == """\
Active: site
Remotes:
    DefaultRemote:
        URI: cloud.apptainer.org
        System: true
        Exclusive: false
        Keyservers:
            - URI: https://keys.openpgp.org
              Skip: false
              External: false
              Insecure: false
    site:
        URI: //[2001:db8::1]:8443/library
        System: true
        Exclusive: true
        Keyservers:
            - URI: https://keys.example.org
              Skip: false
              External: true
              Insecure: false
            - URI: hkps://keys.openpgp.org
              Skip: false
              External: true
              Insecure: true
"""


def test_removal_of_an_endpoint_that_is_not_there_creates_nothing(four_times, tmp_path):
    args = {"scope": "global", "sysconfdir": str(tmp_path / "etc"), "name": "site", "state": "absent"}
    assert four_times("apptainer_remote", args, tmp_path / "etc" / "apptainer" / "remote.yaml")["remote"] is None
    assert not (tmp_path / "etc").exists()


def test_login_to_a_global_endpoint_and_logout(four_times, etc, user, tmp_path):
    etc.write_text(SITE)
    args = {"name": "site", "sysconfdir": str(tmp_path / "etc")}
    result = four_times("apptainer_remote", dict(args, token=TOKEN, verify="never"), user)
    assert result["remote"]["logged_in"]
    assert user.read_text() == f"""\
Active: ""
Remotes:
    site:
        URI: library.example.org
        Token: {TOKEN}
        System: true
        Exclusive: true
"""
    assert stat.S_IMODE(user.stat().st_mode) == 0o600
    assert not four_times("apptainer_remote", dict(args, logout=True), user)["remote"]["logged_in"]
    assert "Token" not in user.read_text()
    assert etc.read_text() == SITE


def test_login_to_an_endpoint_that_an_earlier_task_may_make(run_module, user, tmp_path):
    args = {"name": "site", "sysconfdir": str(tmp_path / "etc"), "token": TOKEN, "verify": "never"}
    foreseen = run_module("apptainer_remote", args, check=True, diff=True)
    assert foreseen.rc == 0 and foreseen.result["changed"] and foreseen.result["remote"]["logged_in"]
    assert 'endpoint "site": it does not exist yet; a real run fails unless an earlier task adds it' in foreseen.result["warnings"]
    assert TOKEN not in foreseen.stdout
    assert 'endpoint "site": it does not exist yet; set uri to add it' in run_module("apptainer_remote", args).result["msg"]
    for refused in ({"scope": "global"}, {"token": None, "default": True}):
        assert run_module("apptainer_remote", {**args, **refused}, check=True).rc != 0
    assert not user.exists()


def test_logout_from_an_endpoint_that_is_nowhere(four_times, user, tmp_path):
    result = four_times("apptainer_remote", {"name": "site", "sysconfdir": str(tmp_path / "etc"), "logout": True}, user)
    assert (result["changed"], result["remote"]) == (False, None)
    assert not user.exists()


def test_login_to_a_global_endpoint_that_moved(four_times, etc, user, tmp_path):
    """The copy says for what place the token is."""
    etc.write_text(SITE)
    user.write_text(SITE.replace("library.example.org", f"old.example.org\n        Token: {OLD_TOKEN}"))
    user.chmod(0o600)
    args = {"name": "site", "sysconfdir": str(tmp_path / "etc")}
    four_times("apptainer_remote", args, user)
    assert "URI: old.example.org\n" in user.read_text()
    four_times("apptainer_remote", dict(args, token=TOKEN, verify="never"), user)
    assert f"URI: library.example.org\n        Token: {TOKEN}\n" in user.read_text()


@pytest.mark.parametrize("link", [False, True])
def test_the_global_file_is_no_user_s(run_module, etc, user, tmp_path, link):
    etc.write_text(SITE)
    user.symlink_to(etc)
    state = snapshot(etc)
    args = {"name": "mine", "uri": "h.example.org", "sysconfdir": str(tmp_path / "etc"), "config_file": str(user if link else etc)}
    for check in (True, False):
        refused = run_module("apptainer_remote", args, check=check).result["msg"]
        assert refused.startswith(f"{args['config_file']} is the global file, which everyone can read, so ")
        assert refused.endswith("; correct config_file, or set scope: global")
    assert snapshot(etc) == state


def test_token_file_of_the_node(four_times, user, tmp_path):
    (tmp_path / "token").write_bytes(TOKEN.encode() + b"\r\nsecond line\n")
    (tmp_path / "token").chmod(0o644)
    args = {"name": "mine", "uri": "h.example.org", "token_file": str(tmp_path / "token"), "sysconfdir": str(tmp_path), "verify": "never"}
    result = four_times("apptainer_remote", args, user)
    assert f"Token: {TOKEN}\n" in user.read_text()
    assert "set its mode to 0600" in result["warnings"][0]


def test_a_token_is_not_sent_to_another_place(run_module, user, tmp_path):
    args = {"name": "mine", "uri": "a.example.org", "sysconfdir": str(tmp_path)}
    run_module("apptainer_remote", dict(args, token=TOKEN, verify="never"))
    moved = run_module("apptainer_remote", dict(args, uri="b.example.org"), diff=True).result
    assert "log in again" in moved["warnings"][0]
    assert TOKEN not in user.read_text()


def test_new_directories_and_files_whatever_the_umask(run_module, tmp_path):
    for umask in (0o000, 0o077):
        old = os.umask(umask)
        try:
            for scope, modes in (("global", (0o755, 0o644)), ("user", (0o700, 0o600))):
                path = tmp_path / f"{scope}-{umask}" / "remote.yaml"
                done = run_module("apptainer_remote", {"scope": scope, "config_file": str(path), "name": "x", "uri": "h.example.org"},
                                  fresh=True)
                assert done.rc == 0, done.stdout
                assert (stat.S_IMODE(path.parent.stat().st_mode), stat.S_IMODE(path.stat().st_mode)) == modes
        finally:
            os.umask(old)


def test_drift_in_mode_is_drift(run_module, etc):
    etc.write_text(SITE)
    etc.chmod(0o600)
    args = {"scope": "global", "config_file": str(etc), "name": "site"}
    foreseen = run_module("apptainer_remote", args, check=True, diff=True).result
    assert foreseen["changed"]
    assert foreseen["diff"][1] == {"before_header": f"{etc} (attributes)", "after_header": f"{etc} (attributes)",
                                   "before": "mode: 0600\n", "after": "mode: 0644\n"}
    done = run_module("apptainer_remote", args, diff=True).result
    assert (done["changed"], done["diff"]) == (True, foreseen["diff"])
    assert stat.S_IMODE(etc.stat().st_mode) == 0o644
    assert etc.read_text() == SITE
    assert not run_module("apptainer_remote", args).result["changed"]


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to other users: needs root")
@pytest.mark.parametrize(("scope", "directory"), [("global", 0), ("user", 65534)])
def test_drift_in_owner_is_drift(run_module, user, scope, directory):
    """Root keeps a file with the owner of its directory: of a file that root had made, a user's Apptainer could not even set the mode."""
    user.write_text(SITE)
    user.chmod(0o644 if scope == "global" else 0o600)
    os.chown(user.parent, directory, directory)
    os.chown(user, 65534 - directory, 0)
    args = {"scope": scope, "config_file": str(user), "name": "mine", "uri": "h.example.org"}
    foreseen = run_module("apptainer_remote", args, check=True, diff=True).result
    done = run_module("apptainer_remote", args, diff=True).result
    assert done["diff"] == foreseen["diff"]
    assert done["diff"][1]["after"] == f"owner: {directory}\n"
    assert user.stat().st_uid == directory
    os.chown(user, 65534 - directory, 0)
    assert run_module("apptainer_remote", args).result["changed"]
    assert user.stat().st_uid == directory
    assert not run_module("apptainer_remote", args).result["changed"]


def test_mode_and_content_at_once(four_times, etc):
    etc.write_text(SITE)
    etc.chmod(0o604)
    result = four_times("apptainer_remote", {"scope": "global", "config_file": str(etc), "name": "b", "uri": "b.example.org", "mode": "0640"}, etc)
    assert result["diff"][1]["after"] == "mode: 0640\n"
    assert stat.S_IMODE(etc.stat().st_mode) == 0o640


def test_comments_on_top_stay_and_a_file_in_state_is_not_touched(four_times, etc):
    etc.write_text("# managed by hand until 2026\n\nActive: site # the default\n"
                   "Remotes: {site: {URI: library.example.org, System: yes, Exclusive: yes}}\n")
    args = {"scope": "global", "config_file": str(etc), "name": "site"}
    assert not four_times("apptainer_remote", dict(args, uri="https://library.example.org/", exclusive=True), etc)["changed"]
    four_times("apptainer_remote", dict(args, exclusive=False), etc)
    assert etc.read_text().startswith("# managed by hand until 2026\n\nActive: site\nRemotes:\n    site:\n")


@pytest.mark.parametrize("text", ["\n", "# nothing yet\n", "\ufeff"])
def test_a_file_without_data_is_repaired(four_times, etc, text):
    etc.write_text(text)
    result = four_times("apptainer_remote", {"scope": "global", "config_file": str(etc), "name": "site", "state": "absent"}, etc)
    assert result["changed"]
    assert etc.read_text() == (text if "#" in text else "") + 'Active: ""\nRemotes: {}\n'
    assert result["diff"][0]["before"] != result["diff"][0]["after"]


def test_backup_keeps_the_old_file(run_module, etc):
    etc.write_text(SITE)
    args = {"scope": "global", "config_file": str(etc), "name": "site", "exclusive": False, "backup": True}
    backup = run_module("apptainer_remote", args).result["backup_file"]
    with open(backup, encoding="utf-8") as stream:
        assert stream.read() == SITE
    assert "backup_file" not in run_module("apptainer_remote", args).result


def test_a_link_is_followed(four_times, etc):
    real = etc.parent / "remote.yaml.real"
    real.write_text(SITE)
    etc.symlink_to(real.name)
    four_times("apptainer_remote", {"scope": "global", "config_file": str(etc), "name": "site", "exclusive": False}, etc)
    assert etc.is_symlink()
    assert "Exclusive: true" not in real.read_text()


def test_two_exclusive_endpoints_are_repaired_and_reported(four_times, etc):
    etc.write_text(SITE.replace("Exclusive: false", "Exclusive: true"))
    result = four_times("apptainer_remote", {"scope": "global", "config_file": str(etc), "name": "site"}, etc)
    assert etc.read_text() == SITE
    assert "were all exclusive" in result["warnings"][0]


def test_a_broken_global_file(run_module, etc, user, tmp_path):
    """What a user has can be changed, but nothing is added or removed that a global endpoint may be concerned by."""
    etc.write_text("Active: [\n")
    user.write_text(SITE.replace("    DefaultRemote:", "    mine: {URI: h.example.org, System: false}\n    DefaultRemote:"))
    args = {"remotes": [{"name": "mine", "token": TOKEN}], "prune": True, "verify": "never", "sysconfdir": str(tmp_path / "etc")}
    done = run_module("apptainer_remotes", args)
    assert done.rc == 0, done.stdout
    assert "the global file is ignored" in done.result["warnings"][0]
    assert str(etc) in done.result["warnings"][0]
    assert [remote["name"] for remote in done.result["remotes"]] == ["DefaultRemote", "mine", "site"]
    refused = run_module("apptainer_remote", {"name": "new", "uri": "h.example.org", "sysconfdir": str(tmp_path / "etc")})
    assert f"fix the global file first: {etc}, line 2, column 1: " in refused.result["msg"]


def test_a_symbolic_mode_is_that_of_the_file(four_times, etc):
    """Not that of the temporary file, which is 0600: a global file like that fails open."""
    etc.write_text(SITE)
    etc.chmod(0o664)
    args = {"scope": "global", "config_file": str(etc), "name": "site", "exclusive": False, "mode": "go-w"}
    four_times("apptainer_remote", args, etc)
    assert stat.S_IMODE(etc.stat().st_mode) == 0o644
    new = etc.with_name("new.yaml")
    four_times("apptainer_remote", dict(args, config_file=str(new), uri="h", default=True), new)
    assert stat.S_IMODE(new.stat().st_mode) == 0o644


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_is_not_writable(run_module, etc):
    etc.write_text(SITE)
    etc.chmod(0o644)
    etc.parent.chmod(0o555)
    args = {"scope": "global", "config_file": str(etc), "name": "site"}
    assert not run_module("apptainer_remote", args).result["changed"]
    for check in (True, False):
        assert "cannot write: Permission denied" in run_module("apptainer_remote", dict(args, exclusive=False), check=check).result["msg"]


def test_a_dozen_processes_lose_nothing(run_module, etc):
    from concurrent.futures import ThreadPoolExecutor

    names = [f"r{number}" for number in range(12)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda name: run_module("apptainer_remote", {"scope": "global", "config_file": str(etc), "name": name, "uri": name}), names))
    assert all(f"    {name}:\n" in etc.read_text() for name in names)


# Forks so many processes at a time, in so many rounds. They all begin when the last one is there, and each moves its own endpoint in the one file.
# After each round it says how they ended, what each printed, and all different contents that the file was seen with.
CROWD = """
import gc, importlib, json, os, sys, time
modlib, path, count, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
sys.path.insert(0, modlib)
from ansible.module_utils import basic
module = importlib.import_module("ansible_collections.hpc.apptainer.plugins.modules.apptainer_remote")
basic._ANSIBLE_PROFILE = "legacy"
directory = os.path.dirname(path)
gc.freeze()

def move(number, turn, start):
    args = {"scope": "global", "config_file": path, "name": "r%d" % number, "uri": "round%d.example.org" % turn}
    basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": args}).encode()
    os.dup2(os.open("%s/said-%d" % (directory, number), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
    os.read(start, 1)
    module.main()

for turn in range(rounds):
    start, begin = os.pipe()
    pids = {}
    for number in range(count):
        pid = os.fork()
        if not pid:
            os.close(begin)
            try:
                move(number, turn, start)
            except SystemExit as exc:
                sys.stdout.flush()
                os._exit(exc.code or 0)
            finally:
                os._exit(99)
        pids[pid] = number
    os.close(start)
    os.close(begin)
    ended, seen = {}, set()
    while len(ended) < count:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid:
            ended[pids[pid]] = status
        else:
            time.sleep(0.002)
        if os.path.exists(path):
            with open(path) as file:
                seen.add(file.read())
    with open(path) as file:
        last = file.read()
    said = [open("%s/said-%d" % (directory, number)).read() for number in range(count)]
    print(json.dumps([[ended[number] for number in range(count)], said, sorted(seen), last]), flush=True)
"""


def test_32_processes_lose_nothing(etc):
    """Each change is there after its round, or its process said that it gave up; and whoever reads meanwhile sees a whole file.

    RACE_ROUNDS=20 makes it 640 changes.
    """
    count, rounds = 32, int(os.environ.get("RACE_ROUNDS", "5"))
    command = [sys.executable, "-c", CROWD, envs.core("running") / "modlib", etc, count, rounds]
    done = processes.run(*command, env=processes.clean_env(etc.parent / "home"))
    assert (done.returncode, done.stderr) == (0, "")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == rounds
    places = dict.fromkeys((f"r{number}" for number in range(count)), -1)
    for turn, (statuses, said, seen, last) in enumerate(answers):
        for name, status, text in zip(list(places), statuses, said, strict=True):
            result = json.loads(text)
            if status == 0:
                assert result["changed"], text
                places[name] = turn
            else:
                assert "was changed by others each of 100 times" in result["msg"], text
        assert endpoints(last) == {name: place for name, place in places.items() if place >= 0}
        for text in seen:
            found = endpoints(text)
            assert set(found.values()) <= {turn - 1, turn} or min(places.values()) < turn - 1
            assert turn == 0 or found.keys() == places.keys()


def endpoints(text):
    """The endpoints of a file that is whole, each with the number of the round that it is from."""
    entry = r"    (r\d+):\n        URI: round(\d+)\.example\.org\n        System: true\n        Exclusive: false\n"
    assert re.fullmatch(f'Active: ""\nRemotes:\n({entry})+', text), text
    return {name: int(turn) for name, turn in re.findall(entry, text)}


# Bad input: one sentence, the file untouched

GLOBAL = {"scope": "global", "name": "site"}
REFUSED_OPTIONS = [
    (dict(GLOBAL, state="absent"), 'endpoint "site": it is exclusive'),
    (dict(GLOBAL, default=False, exclusive=True), "an exclusive endpoint is always the default"),
    (dict(GLOBAL, token=TOKEN), "log in with scope: user"),
    (dict(GLOBAL, uri="http://h.example.org"), "or set insecure: true"),
    (dict(GLOBAL, uri="https://h.example.org", insecure=True), "remove one of the two"),
    (dict(GLOBAL, uri="https://"), "uri has no host name"),
    (dict(GLOBAL, uri="ftp://h.example.org"), "has the scheme ftp"),
    (dict(GLOBAL, uri="https://h.example.org:port"), 'invalid port ":port"'),
    (dict(GLOBAL, uri="https://h.example.org/%25"), "Apptainer would change when it reads it back"),
    (dict(GLOBAL, name=" ", uri="h.example.org"), "the name is blank"),
    (dict(GLOBAL, name="<<", uri="h.example.org"), "choose another"),
    (dict(GLOBAL, name="new"), "does not exist yet; set uri to add it"),
    (dict(GLOBAL, name="new", uri="h.example.org", default=True), 'cannot be the default, because "site" is exclusive'),
    (dict(GLOBAL, keyservers=[{"uri": "ftp://k.example.org"}]), "a scheme that Apptainer cannot use"),
    (dict(GLOBAL, keyservers=[{"uri": "https://k.example.org"}, {"uri": "https://k.example.org/2"}]), "listed twice"),
    (dict(GLOBAL, token=TOKEN, token_file="/x"), "mutually exclusive"),
    (dict(GLOBAL, scope="user", exclusive=True), "use scope: global"),
    (dict(GLOBAL, scope="user", keyservers=[]), "use scope: global"),
    (dict(GLOBAL, scope="user", token=""), "the token is empty"),
    (dict(GLOBAL, scope="user", token="a b"), "white space"),
    (dict(GLOBAL, scope="user", token=TOKEN, logout=True), "contradict each other"),
    (dict(GLOBAL, scope="user", token_file="/does/not/exist"), "does not exist on this node"),
    ({"scope": "global"}, "missing required arguments: name"),
    (dict(GLOBAL, mode="rubbish"), "mode must be"),
    (dict(GLOBAL, mode=True), "mode must be"),
    (dict(GLOBAL, owner="no-such-user"), "failed to look up user no-such-user"),
    (dict(GLOBAL, group="no-such-group"), "failed to look up group no-such-group"),
]


@pytest.mark.parametrize(("args", "words"), REFUSED_OPTIONS)
def test_refused_options(run_module, etc, args, words):
    etc.write_text(SITE)
    state = snapshot(etc)
    for check in (True, False):
        done = run_module("apptainer_remote", dict(args, config_file=str(etc)), check=check)
        assert done.rc != 0
        assert done.result["failed"]
        assert words in done.result["msg"]
        assert "Traceback" not in done.stdout + done.stderr
        assert TOKEN not in done.stdout + done.stderr
    assert snapshot(etc) == state


@pytest.mark.parametrize("args", [{"mode": "rubbish"}, {"owner": "no-such-user"}, {"group": "no-such-group"}, {"token": TOKEN}])
@pytest.mark.parametrize("check", [True, False])
def test_refused_options_make_nothing(run_module, tmp_path, args, check):
    done = run_module("apptainer_remote", {"scope": "global", "sysconfdir": str(tmp_path / "etc"), "name": "a", "uri": "h", **args}, check=check)
    assert done.rc != 0
    assert not (tmp_path / "etc").exists()


REFUSED_LISTS = [
    ({"remotes": [{"name": "a", "uri": "a"}, {"name": "a"}]}, "listed twice"),
    ({"remotes": [{"name": "a", "uri": "a", "exclusive": True}, {"name": "b", "uri": "b", "exclusive": True}]},
     "only one endpoint can have exclusive: true"),
    ({"remotes": [{"name": "a", "uri": "a", "default": True}, {"name": "b", "uri": "b", "default": True}]},
     "only one endpoint can have default: true"),
    ({"remotes": [{"name": "DefaultRemote"}], "prune": True}, 'endpoint "site": it is not listed, so prune would remove it, but it is exclusive'),
    ({"remotes": [{"name": "a", "uri": "a"}, {"name": "b", "uri": "//"}]}, 'endpoint "b": uri has no host name'),
    ({"remotes": [], "prune": True}, "would remove every endpoint"),
    ({"remotes": [{"uri": "a"}]}, "missing required arguments: name found in remotes"),
]


@pytest.mark.parametrize(("args", "words"), REFUSED_LISTS)
def test_refused_lists(run_module, etc, args, words):
    etc.write_text(SITE)
    state = snapshot(etc)
    done = run_module("apptainer_remotes", dict(args, scope="global", config_file=str(etc)))
    assert done.rc != 0
    assert words in done.result["msg"]
    assert snapshot(etc) == state


MALFORMED = [
    ("Active: [\n", "line 2, column 1: "),
    ("Active: a\nColour: red\n", 'line 2, column 1: key "Colour"'),
    ("Active: a\nActive: b\n", 'line 2, column 1: key "Active" is used twice'),
    ("Remotes:\n  a:\n", 'line 2, column 3: endpoint "a" has no value'),
    ("Remotes:\n", "line 1, column 1: Remotes has no value"),
    ('Remotes:\n  a: {System: "true"}\n', "line 2, column 15: the value of System must be true or false"),
    ("- a\n", "line 1, column 1: the file must be a mapping"),
    ("\tActive: a\n", "line 1, column 1: "),
    ("Active: \x07\n", "line 1, column 9: there is a character U+0007"),
    (b"Active: \xff\n", "line 1, column 9: the file is not UTF-8 text"),
    ("Remotes: {a: {Token: " + OLD_TOKEN + ", Bogus: 1}}\n", "Bogus"),
    ("Remotes: {a: {Token: [" + OLD_TOKEN + "]}}\n", "Token"),
    ("Remotes: {a: {Token: " + OLD_TOKEN + "\n", "line 2, column 1: "),
]


@pytest.mark.parametrize(("text", "words"), MALFORMED)
def test_a_file_that_is_not_understood_is_never_overwritten(run_module, etc, text, words):
    etc.write_bytes(text if isinstance(text, bytes) else text.encode())
    state = snapshot(etc)
    args = {"scope": "global", "config_file": str(etc), "name": "b", "uri": "b.example.org"}
    for check in (True, False):
        done = run_module("apptainer_remote", args, check=check, diff=True)
        assert done.rc != 0
        assert done.result["msg"].startswith(str(etc))
        assert words in done.result["msg"]
        assert "\n" not in done.result["msg"]
        assert "Traceback" not in done.stdout + done.stderr
        assert OLD_TOKEN not in done.stdout + done.stderr
    assert snapshot(etc) == state


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: os.symlink(path, path)], ids=["a directory", "a pipe", "a circle of links"])
def test_what_is_no_file(run_module, etc, make):
    make(etc)
    done = run_module("apptainer_remote", {"scope": "global", "config_file": str(etc), "name": "b", "uri": "b.example.org"})
    assert done.rc != 0
    assert str(etc) in done.result["msg"]
    assert "Traceback" not in done.stdout + done.stderr


# Check mode predicts, whatever is declared and whatever is there

NAMES = st.sampled_from(["a", "b", "c", "yes", "10"])
PLACES = st.sampled_from([None, "https://a.example.org", "b.example.org:8443", "https://[::1]/x", "http://c"])
FLAGS = st.sampled_from([None, None, True, False])
RARELY = st.sampled_from([False, False, False, True])
KEYSERVERS = st.none() | st.lists(
    st.fixed_dictionaries({"uri": st.sampled_from(["https://k", "https://l", "hkp://k"]), "insecure": FLAGS, "builtin": FLAGS}), max_size=2)
COMMON = {"name": NAMES, "state": st.sampled_from(["present", "present", "absent"]), "uri": PLACES, "insecure": FLAGS, "default": FLAGS}
DECLARED = {
    "global": {**COMMON, "exclusive": FLAGS, "keyservers": KEYSERVERS, "force": st.booleans()},
    "user": {**COMMON, "token": st.none() | st.sampled_from([TOKEN, OLD_TOKEN])},
}
SERVERS = ", Keyservers: [{URI: https://k, External: false}, {URI: https://m, External: true, Skip: true}]"
FILES = st.none() | st.builds(
    lambda active, remotes: "\n".join([f"Active: {active}", "Remotes:" if remotes else "Remotes: {}"] + [
        f"  '{name}': {{URI: {uri}, Token: {token}, System: {system}, Exclusive: {exclusive}{servers}}}"
        for name, (uri, token, system, exclusive, servers) in remotes.items()] + [""]),
    NAMES, st.dictionaries(NAMES, st.tuples(st.sampled_from(["a.example.org", "h:8443"]), st.sampled_from(["null", OLD_TOKEN]), st.booleans(), RARELY,
                                            st.sampled_from(["", SERVERS])), max_size=3)) | st.sampled_from(["# nothing\n", "Active: [\n"])


@st.composite
def declarations(draw):
    scope = draw(st.sampled_from(["global", "user"]))
    entries = st.lists(st.fixed_dictionaries(DECLARED[scope]), max_size=3, unique_by=lambda entry: entry["name"])
    return {"scope": scope, "remotes": draw(entries), "prune": draw(st.booleans()), "mode": draw(st.sampled_from([None, "go-w", "0640"]))}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(args=declarations(), own=FILES, shared=FILES, mode=st.sampled_from([0o644, 0o600, 0o664]))
def test_check_mode_predicts_the_real_run(run_module, etc, user, tmp_path, args, own, shared, mode):
    for path, text in ((etc, shared), (user, own)):
        path.unlink(missing_ok=True)
        if text is not None:
            path.write_text(text)
            path.chmod(mode)
            os.utime(path, (0, 0))  # nobody may still be writing it
    path, text = (etc, shared) if args["scope"] == "global" else (user, own)
    args = dict(args, sysconfdir=str(tmp_path / "etc"), verify="never")
    before = text if text is None else snapshot(path)
    foreseen = run_module("apptainer_remotes", args, check=True, diff=True)
    assert (snapshot(path) if path.exists() else None) == before
    done = run_module("apptainer_remotes", args, diff=True)
    after = snapshot(path) if path.exists() else None
    nowhere = re.fullmatch(r'endpoint "(\w+)": it does not exist yet; set uri to add it', done.result.get("msg", ""))
    declared = {entry["name"]: entry for entry in args["remotes"]}
    if nowhere and args["scope"] == "user" and declared[nowhere.group(1)]["token"]:  # the one thing that an earlier task may change
        said = f"{nowhere.group()[:-len('; set uri to add it')]}; a real run fails unless an earlier task adds it"
        assert said in foreseen.result["warnings"] if foreseen.rc == 0 else foreseen.result["msg"] != done.result["msg"]
        assert (done.rc, after) == (1, before)
        return
    assert (done.rc, done.result) == (foreseen.rc, {**foreseen.result, "invocation": done.result["invocation"]})
    if done.rc:
        assert after == before
        return
    assert done.result["changed"] == (after != before)
    assert done.result["changed"] == any(entry["before"] != entry["after"] for entry in done.result["diff"])
    assert all(secret not in done.stdout for secret in (TOKEN, OLD_TOKEN))
    assert args["scope"] == "user" or after is None or path.read_text().count("Exclusive: true") <= 1
    assert not run_module("apptainer_remotes", args).result["changed"]
    assert (snapshot(path) if path.exists() else None) == after
