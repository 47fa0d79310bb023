# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The registry login module and its two files: what stays, what is refused, who may read them, and what a kill leaves. Nothing is verified."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import envs
from support.files import snapshot

HOST = "registry.example.org"
PASSWORD, OLD_PASSWORD = "new-s3cret-of-alice", "old-s3cret-of-alice"
HUB_KEY = "https://index.docker.io/v1/"
IDENTITY = "identity-t0ken-of-bob"


def auth(password, username="alice"):
    return base64.b64encode(f"{username}:{password}".encode()).decode()


OWN = {"auths": {HOST: {"auth": auth(PASSWORD)}}}
OLD = {"auths": {HOST: {"auth": auth(OLD_PASSWORD)}}}
LISTED = f'Active: ""\nRemotes: {{}}\nCredentials:\n    - URI: docker://{HOST}\n      Insecure: false\n'
NOTHING = 'Active: ""\nRemotes: {}\n'


def docker_json(tree):
    """As docker writes it."""
    return json.dumps(tree, indent="\t")


@pytest.fixture
def home(tmp_path):
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def user(home):
    """The directory with both files."""
    (home / ".apptainer").mkdir(mode=0o700)
    return home / ".apptainer"


@pytest.fixture
def files(user):
    """Write both files, `None` is none."""

    def write(docker, remotes=None, mode=0o600):
        for name, content in (("docker-config.json", docker), ("remote.yaml", remotes)):
            if content is not None:
                (user / name).write_text(content if isinstance(content, str) else docker_json(content))
                (user / name).chmod(mode)
                os.utime(user / name, (0, 0))  # nobody may still be writing it
        return user / "docker-config.json"

    return write


@pytest.fixture
def registry_login(run_module, tmp_path):
    def run(check=False, python=None, **options):
        args = {"uri": f"docker://{HOST}", "sysconfdir": str(tmp_path), "verify": "never", **options}
        if args.get("state") != "absent":
            args = {"username": "alice", "password": PASSWORD, **args}
        done = run_module("apptainer_registry_login", args, check=check, diff=True, python=python)
        for secret in (PASSWORD, OLD_PASSWORD, IDENTITY):
            assert not {secret, auth(secret)} & set(re.split(r'[^\w.=+/-]', done.stdout + done.stderr))
        return done

    return run


@pytest.fixture
def four_times(registry_login, home):
    """In check mode, for real, again, and in check mode again: the first two say the same, the others leave all as it is."""

    def run(**options):
        before = snapshot(home)
        foreseen = registry_login(check=True, **options)
        assert snapshot(home) == before
        done = registry_login(**options)
        assert done.rc == 0, done.stdout + done.stderr
        for transient in ("backup_files", "invocation"):
            foreseen.result.pop(transient, None)
            done.result.pop(transient, None)
        assert foreseen.result == done.result
        after = snapshot(home)
        assert done.result["changed"] == (before != after)
        for check in (False, True):
            again = registry_login(check, **options).result
            assert not again["changed"]
            assert all(shown["before"] == shown["after"] for shown in again["diff"])
        assert snapshot(home) == after
        return done.result

    return run


def test_what_is_not_ours_stays_in_its_order_and_its_form(four_times, files):
    others = {"other.example.org": {"auth": auth("x"), "email": "a@example.org"}, "z.example.org": {"identitytoken": IDENTITY}}
    before = {"psFormat": "{{.ID}}", "HttpHeaders": {"X": "\u00e9"}, "credHelpers": {"gcr.example.org": "gcloud"}, "auths": others,
              "detachKeys": "ctrl-e", "number": 1.50, "unknown": [{"a": None}, []]}
    path = files(docker_json(before).replace("1.5", "1.50").replace("\\u00e9", "\u00e9"))
    result = four_times()
    after = docker_json({**before, "auths": {"other.example.org": others["other.example.org"], **OWN["auths"],
                                             "z.example.org": others["z.example.org"]}})
    assert path.read_text() == after.replace("1.5", "1.50").replace("\\u00e9", "\u00e9")
    assert "ctrl-e" not in json.dumps(result)  # what we don't know is not shown
    four_times(state="absent")
    assert json.loads(path.read_text()) == before


def test_fields_that_apptainer_does_not_know_stay_in_the_entry_and_other_secrets_go(four_times, files):
    entry = {"auth": auth(OLD_PASSWORD), "identitytoken": IDENTITY, "username": "alice", "password": OLD_PASSWORD, "email": "a@example.org", "x": 1}
    path = files({"auths": {f"https://{HOST}/v1/": {"auth": auth(OLD_PASSWORD)}, HOST: entry}})
    assert four_times()["diff"][0]["after"].count("(hidden, changed)") == 1
    assert json.loads(path.read_text()) == {"auths": {HOST: {"auth": auth(PASSWORD), "email": "a@example.org", "x": 1}}}


@pytest.mark.parametrize("changed", [True, False])
def test_drift_in_mode_is_drift_and_repaired(four_times, files, changed):
    path = files(OLD if changed else OWN, LISTED, 0o644)
    result = four_times()
    shown = [(entry["after_header"], entry["before"], entry["after"]) for entry in result["diff"] if "attributes" in entry["after_header"]]
    assert shown == [(f"{file} (attributes)", "mode: 0644\n", "mode: 0600\n") for file in (path, path.with_name("remote.yaml"))]
    assert path.stat().st_mode & 0o7777 == path.with_name("remote.yaml").stat().st_mode & 0o7777 == 0o600
    assert json.loads(path.read_text()) == OWN


@pytest.mark.parametrize("text", ["", " \n", "{}", '{"auths": null}', '{"auths": {}}'])
def test_a_file_without_logins_is_as_good_as_none(four_times, files, text):
    path = files(text)
    assert not four_times(state="absent")["changed"]
    assert path.read_text() == text
    four_times()
    assert path.read_text() == docker_json(OWN)


REFUSED = [
    ({"credHelpers": {HOST: "pass"}}, {}, 'credential helper "pass" manages its logins'),
    ({"credsStore": "secretservice"}, {}, 'credential helper "secretservice" manages its logins'),
    ({"credsStore": "desktop"}, {"uri": "docker://docker.io"}, "docker login docker.io"),
    ('{"auths": {\n\t"h": {"auth": "' + auth(OLD_PASSWORD) + '"\n}', {}, "line 3, column 2: this is not JSON; fix the file"),
    ('{"auths": {\n\t"h": {"auth": "' + OLD_PASSWORD + '"}}}', {}, 'line 2, column 8: "auth" in "h" in "auths" must be user:password in Base64'),
    ('{"auths": {}, "auths": {}}', {}, 'line 1, column 15: the key "auths" is used twice'),
    ('{"Auths": {}, "auths": {}}', {}, 'line 1, column 15: "auths" is the same key as "Auths", because case is ignored; put all that they hold into'),
    ('\ufeff{"auths": {"ghcr.io": {"auth": "dTpw"}}}', {}, "line 1, column 1: the file begins with a byte order mark (BOM)"),
    ({"auths": {"repo.example.org": {}}, "HttpHeaders": {"User-Agent": "Docker-Client/18.03.0-ce (darwin)"}, "credsStore": "osxkeychain"}, {},
     "Apptainer finds no login on this node; remove credsStore from /"),
    ("[]", {}, "line 1, column 1: the file must hold one JSON object"),
    ("{", {"state": "absent"}, "line 1, column 2: this is not JSON"),
    ("{}", {"uri": "docker://registry.example.org/project"}, "uri has a path"),
    ("{}", {"uri": "https://registry.example.org"}, "uri has the scheme https"),
    ("{}", {"uri": "registry.example.org"}, "uri has no scheme"),
    ("{}", {"uri": f"docker://alice:{PASSWORD}@{HOST}"}, "uri has a user name or password"),
    ("{}", {"uri": "docker://"}, "uri has no valid host name"),
    ("{}", {"uri": "docker://h:99999"}, "uri has the port 99999"),
    ("{}", {"username": ""}, "the username is empty"),
    ("{}", {"username": "a:b"}, "the username has a colon"),
    ("{}", {"password": ""}, "the password is empty"),
    ("{}", {"mode": "rubbish"}, "mode must be"),
    ("{}", {"owner": "no-such-user"}, "no-such-user"),
]


@pytest.mark.parametrize(("content", "options", "words"), REFUSED)
def test_what_is_refused_and_left_untouched(registry_login, files, home, content, options, words):
    path = files(content)
    before = snapshot(home)
    for check in (True, False):
        done = registry_login(check, **options)
        assert done.rc != 0 and done.result["failed"]
        assert words in done.result["msg"]
        assert "line" not in words or done.result["msg"].startswith(f"{path}, line ")
        assert "\n" not in done.result["msg"] and "Traceback" not in done.stdout + done.stderr
        assert snapshot(home) == before


def test_a_helper_of_another_registry_and_logout_beside_a_helper(four_times, files):
    path = files({"auths": {HOST: {}}, "credHelpers": {HOST: "pass"}}, LISTED)
    result = four_times(state="absent")
    assert 'the credential helper "pass" manages its logins, so one may still be stored there' in result["warnings"][0]
    assert f"remove it with docker logout {HOST}" in result["warnings"][0]
    assert json.loads(path.read_text()) == {"auths": {}, "credHelpers": {HOST: "pass"}}
    four_times(uri="docker://other.example.org")


def test_a_login_in_the_spelling_that_the_task_has(four_times, files):
    """As `apptainer registry login` stores it; a lower-case one that is there is another login."""
    real = {"auths": {"LocalHost:5000": {"auth": auth(OLD_PASSWORD)}}}
    path = files(real)
    result = four_times(uri="docker://LocalHost:5000")
    assert json.loads(path.read_text()) == {"auths": {"LocalHost:5000": {"auth": auth(PASSWORD)}}}
    assert "docker://LocalHost:5000" in path.with_name("remote.yaml").read_text()
    assert result["login"]["name"] == "LocalHost:5000"
    assert "not in a pull of localhost:5000/..." in result["warnings"][0]
    result = four_times(uri="docker://localhost:5000", state="absent")
    assert list(json.loads(path.read_text())["auths"]) == ["LocalHost:5000"] and not result["changed"]
    assert "the login under the spelling LocalHost:5000, which to Apptainer is another registry, stays" in result["warnings"][0]
    four_times(uri="docker://LocalHost:5000", state="absent")
    assert json.loads(path.read_text()) == {"auths": {}}


def test_keys_in_other_case_are_read_as_apptainer_reads_them(four_times, files):
    path = files({"Auths": {HOST: {"Auth": auth(PASSWORD)}}, "credHelpers": {}}, LISTED)
    before = path.read_text()
    assert not four_times()["changed"]
    assert path.read_text() == before
    path = files({"credSstore": "", "Auths": {HOST: {"AUTH": auth(OLD_PASSWORD)}}}, LISTED)
    assert four_times()["diff"][0]["after"].count("(hidden, changed)") == 1
    assert json.loads(path.read_text()) == {"credsStore": "", **OWN}


def test_docker_hub_s_own_tokens_go_with_the_logout(four_times, files):
    path = files({"auths": {key: {"auth": auth(OLD_PASSWORD)} for key in (HUB_KEY, f"{HUB_KEY}access-token", f"{HUB_KEY}refresh-token")}})
    assert four_times(uri="docker://docker.io", state="absent").get("warnings", []) == []
    assert json.loads(path.read_text()) == {"auths": {}}


def test_a_link_is_followed_and_not_replaced(four_times, user, tmp_path):
    (tmp_path / "dotfiles").mkdir()
    real = tmp_path / "dotfiles" / "docker.json"
    real.write_text(docker_json(OLD))
    real.chmod(0o600)
    (user / "docker-config.json").symlink_to(real)
    four_times()
    assert (user / "docker-config.json").is_symlink()
    assert real.read_text() == docker_json(OWN)


def test_an_auth_file_of_its_own_leaves_remote_yaml_alone(four_times, files, home):
    path = files(OLD, NOTHING)
    result = four_times(auth_file=str(home / "sub" / "auth.json"))
    assert result["auth_file"] == str(home / "sub" / "auth.json")
    assert (home / "sub" / "auth.json").read_text() == docker_json(OWN)
    assert (home / "sub" / "auth.json").stat().st_mode & 0o7777 == 0o600
    assert (path.read_text(), path.with_name("remote.yaml").read_text()) == (docker_json(OLD), NOTHING)


@pytest.mark.parametrize("link", [False, True])
def test_one_file_cannot_be_both(registry_login, files, user, home, link):
    path = user / "remote.yaml"
    if link:
        files(None, NOTHING)
        (user / "auth.json").symlink_to("remote.yaml")
        path = user / "auth.json"
    before = snapshot(home)
    for check in (True, False):
        done = registry_login(check, auth_file=str(path))
        assert done.result["msg"] == f"{path} cannot be both the remote.yaml and the file for registry logins; correct auth_file or config_file"
        assert snapshot(home) == before


def test_the_global_file_is_no_user_s(registry_login, home, tmp_path):
    path = tmp_path / "apptainer" / "remote.yaml"  # sysconfdir is tmp_path
    path.parent.mkdir()
    (home / "link.yaml").symlink_to(path)
    for config_file in (path, home / "link.yaml"):
        for check in (True, False):
            message = registry_login(check, config_file=str(config_file)).result["msg"]
            assert message.startswith(f"{config_file} is the global file, which everyone") and message.endswith(", or set scope: global")
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(("options", "missing"), [
    ({"username": "alice"}, "password"), ({"password": PASSWORD}, "username"), ({"state": "present"}, "username, password"),
])
def test_what_is_missing_is_said(run_module, home, options, missing):
    done = run_module("apptainer_registry_login", {"uri": f"docker://{HOST}", **options})
    assert done.rc != 0
    assert done.result["msg"] == f"state is present but all of the following are missing: {missing}"
    assert snapshot(home) == {}


def test_a_new_file_that_hides_logins_of_docker_says_which(four_times, home):
    (home / ".docker").mkdir()
    (home / ".docker" / "config.json").write_text(docker_json({"auths": {
        HOST: {"auth": auth(OLD_PASSWORD)}, "other.example.org": {"identitytoken": IDENTITY}, HUB_KEY: {"auth": auth(OLD_PASSWORD)}}}))
    warnings = four_times()["warnings"]
    assert [warning.partition(" are no longer used by Apptainer")[0] for warning in warnings] == [
        f"the logins for docker.io, other.example.org in {home}/.docker/config.json"]
    assert four_times(uri="docker://new.example.org")["warnings"] == []


# Docker Hub

@pytest.mark.parametrize(("host", "stored"), [
    ("docker.io", None), ("index.docker.io", None), ("registry-1.docker.io", None),
    ("docker.io", "docker.io"), ("docker.io", "index.docker.io"), ("index.docker.io", "https://registry-1.docker.io/v2/"), ("docker.io", HUB_KEY),
])
def test_docker_hub_has_one_key_whatever_name_is_declared_or_was_stored(registry_login, files, user, host, stored):
    path = files(None if stored is None else {"auths": {stored: {"auth": auth(OLD_PASSWORD)}}})
    done = registry_login(uri=f"docker://{host}").result
    assert path.read_text() == docker_json({"auths": {HUB_KEY: {"auth": auth(PASSWORD)}}})
    assert done["login"] == {"kind": "registry", "name": "docker.io", "username": "alice"}
    assert f"URI: docker://{host}\n" in (user / "remote.yaml").read_text()
    assert not registry_login(uri=f"docker://{host}").result["changed"]


def test_logout_of_docker_hub_removes_every_name_of_it_from_both_files(four_times, files, user):
    keys = ["docker.io", "index.docker.io", "registry-1.docker.io", HUB_KEY, "https://index.docker.io/v2/"]
    listed = [f"{scheme}://{host}" for scheme in ("docker", "oras") for host in keys[:3]]
    other = "    - URI: oras://other.example.org\n      Insecure: true\n"
    entries = "".join(f"    - URI: {uri}\n      Insecure: false\n" for uri in listed)
    path = files({"auths": {**{key: {"auth": auth(OLD_PASSWORD)} for key in keys}, **OLD["auths"]}}, f"{NOTHING}Credentials:\n{entries}{other}")
    result = four_times(uri="oras://index.docker.io", state="absent")
    assert (result["changed"], result["login"]) == (True, None)
    assert path.read_text() == docker_json(OLD)
    assert (user / "remote.yaml").read_text() == f"{NOTHING}Credentials:\n{other}"


@pytest.mark.parametrize("uri", ["docker://docker.io", f"oras://{HOST}"])
def test_logout_of_who_is_not_logged_in_makes_nothing(four_times, home, uri):
    assert not four_times(uri=uri, state="absent")["changed"]
    assert snapshot(home) == {}


# Who may read the files

@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_a_backup_and_all_modes_whatever_the_umask(registry_login, files, umask):
    path = files(OLD, NOTHING)
    path.chmod(0o644)
    old = os.umask(umask)
    try:
        done = registry_login(backup=True).result
    finally:
        os.umask(old)
    backups = [Path(backup) for backup in done["backup_files"]]
    assert [backup.read_text() for backup in backups] == [docker_json(OLD), NOTHING]
    assert "backup_files" not in registry_login(backup=True).result
    assert {file.stat().st_mode & 0o7777 for file in path.parent.iterdir()} == {0o600}
    assert len(list(path.parent.iterdir())) == 5  # with the lock


def test_an_old_secret_that_all_could_read_is_private_in_the_backup(registry_login, files):
    path = files(OLD, LISTED, 0o644)
    done = registry_login(backup=True).result
    assert [Path(backup).read_text() for backup in done["backup_files"]] == [docker_json(OLD), LISTED]
    assert {(file.stat().st_mode & 0o7777, file.stat().st_nlink) for file in path.parent.iterdir()} == {(0o600, 1)}


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to other users: needs root")
def test_what_root_makes_in_a_users_directory_is_the_users(registry_login, home):
    """All of it, or the user's own Apptainer could not even set the mode."""
    os.chown(home, 12345, 23456)
    config_file = home / "sub" / ".apptainer" / "remote.yaml"
    assert registry_login(config_file=str(config_file)).result["changed"]
    made = [path for path in home.glob("**/*") if ".ansible" not in path.relative_to(home).parts]
    assert len(made) == 5
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(12345, 23456)}
    docker = config_file.with_name("docker-config.json")
    os.chown(docker, 0, 0)
    foreseen, done = (registry_login(check, config_file=str(config_file)).result for check in (True, False))
    assert done["changed"] and done["diff"] == foreseen["diff"]
    assert docker.stat().st_uid == 12345
    assert registry_login(config_file=str(config_file), owner="root", group="root").result["changed"]
    assert (docker.stat().st_uid, docker.stat().st_gid) == (0, 0)


# What a kill leaves

@pytest.fixture
def traced(tmp_path):
    """A node whose Python runs under strace, which may inject faults."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    probe = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync", "-e", "inject=fsync:error=EIO", "true"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("strace may not trace here")

    def node(number, *options):
        script = tmp_path / f"python-{number}"
        script.write_text(f'#!/bin/sh\nexec strace -f -qq -e signal=none -o {tmp_path}/trace-{number} {" ".join(options)} {sys.executable} "$@"\n')
        script.chmod(0o755)
        return envs.Node(envs.core("running"), script)

    return node


WRITES = [*(("fsync", number) for number in range(1, 7)), ("renameat", 1), ("renameat", 2), ("flock", 1), ("linkat", 1), ("linkat", 2)]


@pytest.mark.parametrize(("call", "when"), WRITES)
def test_a_kill_leaves_old_or_new_files_and_the_next_run_finishes(registry_login, files, user, traced, call, when):
    path = files(OLD, NOTHING)
    pattern = f"/^{call}"
    killed = registry_login(python=traced(1, "-e", f"trace={pattern}", "-e", f"inject={pattern}:signal=KILL:when={when}"), backup=True)
    assert killed.result is None, killed.stdout
    assert path.read_text() in (docker_json(OLD), docker_json(OWN))
    assert (user / "remote.yaml").read_text() in (NOTHING, LISTED)
    # the secret first: an entry in remote.yaml without one would promise too much
    assert (user / "remote.yaml").read_text() == NOTHING or path.read_text() == docker_json(OWN)
    assert {file.stat().st_mode & 0o7777 for file in user.iterdir()} == {0o600}
    assert registry_login().result["changed"] == (when < 5 or call != "fsync")  # from the fifth on those of the directories
    assert (path.read_text(), (user / "remote.yaml").read_text()) == (docker_json(OWN), LISTED)


def test_a_full_disk_leaves_both_files_as_they_were(registry_login, files, user, traced):
    """The fourth flush is that of the second file's backup."""
    path = files(OLD, NOTHING)
    before = snapshot(user)
    for when, name in ((1, "docker-config.json"), (2, "docker-config.json"), (3, "remote.yaml"), (4, "remote.yaml")):
        node = traced(when, "-e", "trace=fsync", "-e", f"inject=fsync:error=ENOSPC:when={when}")
        message = registry_login(python=node, backup=True).result["msg"]
        assert message == f"{user}/{name}: cannot write: No space left on device. Free some space, and run again. The file is unchanged."
        assert {file: state for file, state in snapshot(user).items() if ".lock" not in file} == before
    assert path.read_text() == docker_json(OLD)


def test_a_second_file_that_cannot_be_replaced_is_said_with_the_first_that_was(registry_login, files, user, traced):
    path = files(OLD, NOTHING)
    node = traced(1, "-e", "'trace=/^rename'", "-e", "'inject=/^rename:error=EBUSY:when=2'")
    message = registry_login(python=node).result["msg"]
    assert message == (f"{user}/remote.yaml: cannot write: Device or resource busy. If it is a mount point, as in a container, change the file that "
                       f"is mounted there. The file is unchanged, but not {path}.")
    assert (path.read_text(), (user / "remote.yaml").read_text()) == (docker_json(OWN), NOTHING)
    assert sorted(file.name for file in user.iterdir() if ".lock" not in file.name) == ["docker-config.json", "remote.yaml"]
    assert registry_login().result["changed"]
    assert (user / "remote.yaml").read_text() == LISTED


def test_at_no_instant_may_others_read_a_secret(registry_login, traced, home, tmp_path):
    """Every mode that a file is made with or given."""
    old = os.umask(0)
    try:
        assert registry_login(python=traced(1, "-e", "'trace=/^(open|creat|mkdir|.*chmod)'")).rc == 0
    finally:
        os.umask(old)
    calls = [line for line in (tmp_path / "trace-1").read_text().splitlines() if ".json" in line or ".yaml" in line or "fchmod" in line]
    modes = {int(mode, 8) for line in calls for mode in re.findall(r"(?:O_CREAT.*|chmod.*), (0\d+)(?:, \w+)?\) ", line)}
    assert any("O_CREAT" in line and ".docker-config.json.ansible-" in line for line in calls)
    assert modes <= {0o600, 0o700}, calls
    assert 0o600 in modes
