# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import functools
import json
import os
import pwd
import stat

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._inspection import inspect as inspection
from ansible_collections.hpc.apptainer.plugins.module_utils._inspection.inspect import read_file
from ansible_collections.hpc.apptainer.plugins.module_utils._inspection.program import ListedRemote, ProgramAnswer
from ansible_collections.hpc.apptainer.plugins.module_utils._values.remote_config import Remote, RemoteConfig
from support.tables import table

ME = os.geteuid()

inspect = functools.partial(inspection.inspect, include=["files"])

SYSTEM = """\
Active: lab
Remotes:
    lab:
        URI: lab.example
        System: true
        Exclusive: true
"""
USER = """\
Active: mine
Remotes:
    mine:
        URI: own.example
        Token: hunter2
        System: false
        Exclusive: false
Credentials:
    - URI: https://keys.example
      Auth: Basic aHVudGVyMg==
      Insecure: false
"""
LAB = {"name": "lab", "uri": "lab.example", "insecure": False, "exclusive": True, "system": True, "logged_in": False, "keyservers": []}
MINE = {"name": "mine", "uri": "own.example", "insecure": False, "exclusive": False, "system": False, "logged_in": True, "keyservers": []}
LOGIN = {"uri": "https://keys.example", "insecure": False, "has_secret": True}
NOTHING = {"default": "", "remotes": [], "credentials": []}
ABSENT = {**NOTHING, "exists": False, "error": None, "mode": None, "owner": None}


DOCKER = {"auths": {
    "r.example": {"auth": "YWxpY2U6aHVudGVyMg=="},
    "docker.io": {"username": "bob", "password": "hunter2"},
}, "credHelpers": {"h.example": "pass"}}  # fmt: skip


@pytest.fixture(autouse=True)
def names(monkeypatch, tmp_path):  # tmp_path first: pytest asks for the name of its user when it makes that
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: pwd.struct_passwd(("alice" if uid == ME else "bob", "x", uid, uid, "", "/", "/bin/sh")))


@pytest.fixture
def system(tmp_path):
    return tmp_path / "etc" / "remote.yaml"


@pytest.fixture
def user(tmp_path):
    return tmp_path / "home" / ".apptainer" / "remote.yaml"


def write(path, text, mode):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def ids(answer):
    return [found["id"] for found in answer["findings"]]


def test_read_file(user):
    write(user, USER, 0o640)
    found = read_file(str(user), ME + 1)
    assert found[:2] == (str(user), True)
    assert found[3:] == (None, 0o640, ME, ME + 1, str(user.parent), stat.S_IMODE(user.parent.stat().st_mode), False)
    assert found.document.config.remotes == {"mine": Remote("own.example", "hunter2")}


def test_the_directory_of_a_linked_global_file_is_that_of_its_target(tmp_path):
    link, real = tmp_path / "etc" / "remote.yaml", tmp_path / "srv" / "conf" / "remote.yaml"
    write(real, SYSTEM, 0o644)
    link.parent.mkdir()
    link.symlink_to(real)
    real.parent.chmod(0o700)
    found = inspect(str(link), None)["findings"]
    assert [(item["id"], item["path"]) for item in found if item["id"] == "mode"] == [("mode", str(real.parent))]
    assert f"run: chmod 0755 {real.parent}" in found[0]["message"]


def test_read_file_absent(user):
    assert read_file(str(user), 0) == (str(user), False, None, None, None, None, 0, "", None, False)


def test_read_file_in_the_working_directory(user, monkeypatch):
    write(user, USER, 0o600)
    monkeypatch.chdir(user.parent)
    assert read_file("remote.yaml", ME)[:2] == ("remote.yaml", True)


def test_read_file_empty(user):
    write(user, "", 0o600)
    found = read_file(str(user), ME)
    assert found.exists
    assert found.document.config == RemoteConfig()


def test_read_file_that_apptainer_would_refuse(user):
    write(user, "Active: lab\nActiv: hunter2\n", 0o604)
    found = read_file(str(user), ME)
    assert (found.exists, found.document, found.mode, found.uid, found.expected_uid) == (True, None, 0o604, ME, ME)
    assert str(user) in found.error
    assert "line 2" in found.error
    assert "hunter2" not in found.error


def test_read_file_that_is_none(user):
    user.mkdir(parents=True)
    found = read_file(str(user), ME)
    assert (found.exists, found.document) == (True, None)
    assert found.error.startswith(str(user))


def test_inspect_a_new_node(system, user):
    answer = inspect(str(system), str(user))
    assert answer["global"] == {**ABSENT, "path": str(system)}
    assert answer["user"] == {**ABSENT, "path": str(user)}
    assert answer["effective"]["source"] == "built-in"
    assert answer["effective"]["default"] == "DefaultRemote"
    assert [remote["uri"] for remote in answer["effective"]["remotes"]] == ["cloud.apptainer.org"]
    assert (answer["effective"]["problem"], answer["effective"]["exclusive"]) == (None, None)
    assert answer["findings"] == []


def test_inspect_both_files(system, user):
    write(system, SYSTEM, 0o644)
    write(user, USER, 0o600)
    answer = inspect(str(system), str(user))
    assert answer["global"] == {
        "path": str(system), "exists": True, "error": None, "mode": "0644", "owner": "alice",
        "default": "lab", "remotes": [{**LAB, "default": True}], "credentials": [],
    }  # fmt: skip
    assert answer["user"] == {
        "path": str(user), "exists": True, "error": None, "mode": "0600", "owner": "alice",
        "default": "mine", "remotes": [{**MINE, "default": True}], "credentials": [LOGIN],
    }  # fmt: skip
    assert answer["effective"] == {
        "source": "user and global", "problem": None, "exclusive": "lab",
        "default": "lab", "remotes": [{**LAB, "default": True}, {**MINE, "default": False}], "credentials": [LOGIN],
    }  # fmt: skip
    assert ids(answer) == []


def test_inspect_expects_the_global_file_to_belong_to_the_owner_of_its_directory(system, user):
    write(system, SYSTEM, 0o644)
    assert inspect(str(system), str(user))["findings"] == []


def test_inspect_is_plain_data_without_secrets(system, user):
    write(system, SYSTEM.replace("Exclusive", "Token: hunter2\n        Exclusive"), 0o600)
    write(user, USER, 0o644)
    text = json.dumps(inspect(str(system), str(user)))
    assert "hunter2" not in text
    assert "aHVudGVyMg" not in text


def test_inspect_says_what_is_wrong(system, user):
    write(system, SYSTEM.replace("URI: lab.example", "URI: lab.example\n        Insecure: true"), 0o600)
    write(user, USER, 0o644)
    (user.parent / "remote-cache").mkdir()
    (user.parent / "remote-cache" / "https-lab-example.json").touch()
    answer = inspect(str(system), str(user))
    assert ids(answer) == ["mode", "mode", "seeded-cache", "refused-by-versions", "insecure-not-synced"]
    quirk = next(found for found in answer["findings"] if found["id"] == "refused-by-versions")
    assert quirk["refused_by"] == ["1.0"]
    assert set(quirk) == {"id", "severity", "path", "message", "remote", "line", "refused_by"}


def test_inspect_a_broken_global_file_as_apptainer_would(system, user):
    write(system, SYSTEM + "    unknown: 1\n", 0o644)
    write(user, USER, 0o600)
    answer = inspect(str(system), str(user))
    assert "line 7" in answer["global"]["error"]
    assert {**answer["global"], "error": None} == {**NOTHING, "path": str(system), "exists": True, "error": None, "mode": "0644", "owner": "alice"}
    assert (answer["effective"]["source"], answer["effective"]["default"], answer["effective"]["exclusive"]) == ("user", "mine", None)
    assert ids(answer) == ["unreadable"]


def test_inspect_does_not_invent_the_mode_of_what_it_could_not_read(system, user):
    user.mkdir(parents=True)
    answer = inspect(str(system), str(user))
    assert answer["user"]["mode"] is None
    assert ids(answer) == ["unreadable"]


def test_inspect_compares_the_owner_of_a_users_file_with_that_of_its_directory(system, user, monkeypatch):
    write(user, USER, 0o600)
    stat = os.stat

    def stat_of_another(path, **options):
        found = stat(path, **options)
        return os.stat_result((*found[:4], ME + 1, *found[5:])) if path == str(user.parent) else found

    monkeypatch.setattr(os, "stat", stat_of_another)
    answer = inspect(str(system), str(user))
    assert ids(answer) == ["owner"]
    assert f"it belongs to uid {ME}, but its directory to uid {ME + 1}" in answer["findings"][0]["message"]


def test_inspect_an_owner_without_a_name(system, user, monkeypatch):
    def unknown(uid):
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    write(system, SYSTEM, 0o644)
    assert inspect(str(system), str(user))["global"]["owner"] == str(ME)


def test_inspect_writes_nothing(system, user, tmp_path):
    write(system, SYSTEM, 0o644)
    before = sorted(tmp_path.rglob("*"))
    inspect(str(system), str(user))
    assert sorted(tmp_path.rglob("*")) == before


def test_inspect_below_a_file(system, tmp_path):
    (tmp_path / "file").touch()
    answer = inspect(str(system), str(tmp_path / "file" / ".apptainer" / "remote.yaml"))
    assert (answer["user"]["mode"], answer["user"]["owner"], ids(answer)) == (None, None, ["unreadable", "unreadable"])


def test_inspect_knows_the_built_in_endpoint_of_each_program(system, user):
    answers = [inspect(str(system), str(user), flavor) for flavor in ("apptainer", "singularity")]
    assert [answer["effective"]["default"] for answer in answers] == ["DefaultRemote", "SylabsCloud"]


def test_inspect_the_file_with_registry_logins(system, user):
    auth = user.parent / "docker-config.json"
    write(auth, json.dumps(DOCKER), 0o644)
    answer = inspect(str(system), str(user))
    assert answer["auth_file"] == {
        "path": str(auth), "exists": True, "error": None, "mode": "0644", "owner": "alice", "registries": ["docker.io", "r.example"],
    }  # fmt: skip
    assert {(entry["kind"], entry["name"], entry["username"]) for entry in answer["logins"]} == {
        ("registry", "r.example", "alice"), ("registry", "docker.io", "bob")}
    assert ids(answer) == ["mode", "unused-login"]
    assert "hunter2" not in json.dumps(answer)


NAMES = table([  # what, names, the endpoints that are shown
    ("none", (), ["lab", "mine"]),
    ("one", ["mine"], ["mine"]),
    ("one that does not exist", ["lab", "nowhere"], ["lab"]),
    ("only one that does not exist", ["nowhere"], []),
])


@pytest.mark.parametrize(("names", "shown"), NAMES)
def test_inspect_only_some_endpoints(system, user, names, shown):
    """What is about a file as a whole stays."""
    write(system, SYSTEM, 0o644)
    write(user, USER, 0o600)
    write(user.parent / "docker-config.json", json.dumps(DOCKER), 0o600)
    asked = []

    def ask_servers(config, stored):
        asked.extend([*sorted(config.remotes), *(type(item).__name__ for item in stored)])
        return {}

    listed = tuple(LISTED._replace(name=name, default=name == "lab") for name in ("lab", "mine"))
    answers = [inspection.inspect(
        str(system), str(user), include=["files", "declared"], ask_servers=ask_servers, names=some,
        ask_program=lambda _question: ProgramAnswer("a", remotes=listed)) for some in ((), names)]
    whole, answer = answers
    found = [[entry["name"] for entry in remotes] for remotes in (
        answer["effective"]["remotes"], answer["global"]["remotes"] + answer["user"]["remotes"], answer["program"]["remotes"])]
    assert found == [shown] * 3
    assert [name for name in ("lab", "mine") if f"\n{name} " in "\n".join(answer["table"])] == shown
    tokens = [name for name in shown if name == "mine"]
    assert [login["name"] for login in answer["logins"]] == [*tokens, "https://keys.example", "r.example", "docker.io"]
    assert asked[-len(shown) - len(tokens) - 3:] == [*shown, *["EndpointToken"] * len(tokens), "KeyserverLogin", "RegistryLogin", "RegistryLogin"]
    same = ("findings", "declared", "undeclared", "auth_file")
    assert {name: answer[name] for name in same} == {name: whole[name] for name in same}
    assert {name: value for name, value in answer["effective"].items() if name != "remotes"} == {
        name: value for name, value in whole["effective"].items() if name != "remotes"}


def test_inspect_another_file_with_registry_logins(system, user, tmp_path):
    auth = tmp_path / "auth.json"
    write(auth, json.dumps(DOCKER), 0o600)
    assert inspect(str(system), str(user))["auth_file"]["exists"] is False
    answer = inspect(str(system), str(user), auth_path=str(auth))
    assert (answer["auth_file"]["path"], answer["auth_file"]["exists"]) == (str(auth), True)
    assert len(answer["logins"]) == 2


def test_inspect_a_broken_file_with_registry_logins(system, user):
    write(user, USER, 0o600)
    write(user.parent / "docker-config.json", '{"auths": {"r": hunter2}}', 0o600)
    answer = inspect(str(system), str(user))
    assert "line 1" in answer["auth_file"]["error"]
    assert answer["auth_file"]["registries"] == []
    assert [entry["kind"] for entry in answer["logins"]] == ["endpoint", "keyserver"]
    assert ids(answer) == ["unreadable"]
    assert "hunter2" not in json.dumps(answer)


def test_inspect_lists_the_logins_of_the_user(system, user):
    write(system, SYSTEM, 0o644)
    write(user, USER, 0o600)
    assert inspect(str(system), str(user))["logins"] == [
        {"kind": "endpoint", "name": "mine", "username": None}, {"kind": "keyserver", "name": "https://keys.example", "username": None}]


def test_checks_get_what_apptainer_works_with_and_add_what_they_found(system, user):
    write(system, SYSTEM, 0o644)
    write(user, USER, 0o600)
    seen = []

    def ask_servers(config, stored):
        seen.append((sorted(config.remotes), [type(item).__name__ for item in stored]))
        return {"logins": [checked], "services": []}

    checked = {"kind": "endpoint", "name": "mine", "username": None, "verified": True, "reason": "it accepts it"}
    answer = inspect(str(system), str(user), ask_servers=ask_servers)
    assert seen == [(["lab", "mine"], ["EndpointToken", "KeyserverLogin"])]
    assert (answer["logins"], answer["services"]) == ([checked], [])
    assert answer["table"][-2:] == ["LOGIN  KIND      USERNAME  ACCEPTED?", "mine   endpoint            \u2713"]


@pytest.mark.parametrize(("existing", "flavor", "used"), table([
    ("both files", [".apptainer/docker-config.json", ".docker/config.json"], "apptainer", ".apptainer/docker-config.json"),
    ("Docker's", [".docker/config.json"], "apptainer", ".docker/config.json"),
    ("Docker's, for SingularityCE", [".docker/config.json"], "singularity", ".apptainer/docker-config.json"),
    ("neither", [], "apptainer", ".apptainer/docker-config.json"),
]))
def test_registry_logins_are_looked_for_where_apptainer_looks(system, user, existing, flavor, used):
    home = user.parents[1]
    for name in existing:
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(json.dumps({"auths": {f"{name}.example": {}}}))
    found = inspect(str(system), str(user), flavor)["auth_file"]
    assert found["path"] == str(home / used)
    assert found["registries"] == [used.partition("/")[0]] * (used in existing)


def test_inspect_a_user_without_files(system, user):
    write(system, SYSTEM, 0o644)
    write(user, USER, 0o600)
    answer = inspect(str(system), None)
    assert answer["user"] == {**ABSENT, "path": None}
    assert answer["auth_file"] == {"path": None, "exists": False, "error": None, "mode": None, "owner": None, "registries": []}
    assert (answer["logins"], answer["findings"]) == ([], [])
    assert (answer["effective"]["source"], answer["effective"]["default"]) == ("global", "lab")


LISTED = ListedRemote("mine", "https://u:hunter2@own.example", True, False, False, False)


def test_inspect_what_the_program_says(system, user):
    write(system, SYSTEM, 0o644)
    write(user, USER, 0o600)
    asked = []

    def ask_program(question):
        asked.append(question.user)
        return ProgramAnswer("/usr/bin/apptainer", remotes=(LISTED,))

    answer = inspect(str(system), str(user), ask_program=ask_program)
    assert [sorted(config.remotes) for config in asked] == [["mine"]]
    assert answer["program"] == {"path": "/usr/bin/apptainer", "error": None, "active": "mine", "exclusive": None, "remotes": [
        {"name": "mine", "uri": "https://(hidden)@own.example", "default": True, "global": False, "exclusive": False, "insecure": False}]}
    assert ids(answer) == ["program-differs"]
    assert inspect(str(system), str(user))["program"] is None
    assert inspect(str(system), str(user), ask_program=lambda config: None)["program"] is None


def test_inspect_the_exclusive_endpoint_of_the_program(system):
    write(system, SYSTEM, 0o644)
    lab = ListedRemote("lab", "lab.example", True, True, True)
    answer = inspect(str(system), None, ask_program=lambda config: ProgramAnswer("a", remotes=(lab,)))
    assert (answer["program"]["exclusive"], ids(answer)) == ("lab", [])


@pytest.mark.parametrize("broken", ["system", "user"])
def test_the_program_is_not_asked_about_a_file_that_cannot_be_read(system, user, broken):
    write(system, "x: 1" if broken == "system" else SYSTEM, 0o644)
    write(user, "x: 1" if broken == "user" else USER, 0o600)
    answer = inspect(str(system), str(user), ask_program=lambda config: pytest.fail("asked"))
    assert (answer["program"], ids(answer)) == (None, ["unreadable"])


def test_inspect_below_a_root(tmp_path):
    root = tmp_path / "root"
    write(root / "srv" / "apptainer" / "remote.yaml", SYSTEM, 0o644)
    (root / "etc").symlink_to("/srv")
    write(root / "data" / "alice" / ".apptainer" / "remote.yaml", USER, 0o600)
    write(root / "data" / "alice" / ".docker" / "config.json", json.dumps(DOCKER), 0o600)
    (root / "home").symlink_to("/data")
    write(tmp_path / "outside" / "docker-config.json", json.dumps({"auths": {"outside.example": {"auth": "YTpi"}}}), 0o600)
    user = root / "home" / "alice" / ".apptainer" / "remote.yaml"
    answer = inspect(f"{root}/etc/apptainer/remote.yaml", str(user), root=str(root))
    assert [remote["name"] for remote in answer["effective"]["remotes"]] == ["lab", "mine"]
    assert answer["auth_file"]["path"] == f"{root}/home/alice/.docker/config.json"
    assert answer["auth_file"]["registries"] == ["docker.io", "r.example"]
    assert ids(answer) == ["unused-login"]
    (root / "data/alice/.apptainer/docker-config.json").symlink_to(tmp_path / "outside" / "docker-config.json")
    answer = inspect(f"{root}/etc/apptainer/remote.yaml", str(user), root=str(root))
    assert (answer["auth_file"]["path"], answer["auth_file"]["exists"]) == (f"{user.parent}/docker-config.json", False)


def test_inspect_a_circle_below_a_root(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "etc").symlink_to("/etc")
    (root / "home").symlink_to("home")
    answer = inspect(f"{root}/etc/apptainer/remote.yaml", f"{root}/home/.apptainer/remote.yaml", root=str(root))
    assert ids(answer) == ["unreadable"] * 3
    assert "form a loop" in answer["global"]["error"]


# links, and SingularityCE

MINE_ONLY = USER.partition("Credentials")[0]


def linked(path, text, mode):
    """The file, elsewhere, and a link to it in its place."""
    target = path.parent / "elsewhere"
    write(target, text, mode)
    path.symlink_to(target)


def test_a_linked_global_file_is_no_file_to_singularity(system, user):
    linked(system, SYSTEM, 0o644)
    answer = inspect(str(system), None, "singularity")
    assert ids(answer) == ["symbolic-link"]
    assert answer["global"]["remotes"] == [dict(LAB, default=True)]
    assert (answer["effective"]["source"], answer["effective"]["default"], answer["effective"]["exclusive"]) == ("built-in", "SylabsCloud", None)
    write(user, MINE_ONLY, 0o600)
    answer = inspect(str(system), str(user), "singularity")
    assert (answer["effective"]["source"], answer["effective"]["default"]) == ("user", "mine")
    assert inspect(str(system), None)["effective"]["exclusive"] == "lab"
    assert ids(inspect(str(system), None)) == []


def test_a_users_linked_file_makes_every_command_of_singularity_fail(system, user):
    write(system, SYSTEM, 0o644)
    linked(user, MINE_ONLY, 0o600)
    answer = inspect(str(system), str(user), "singularity")
    assert ids(answer) == ["symbolic-link"]
    assert answer["effective"]["problem"] == f"this user's {user} is a symbolic link: too many levels of symbolic links"
    assert answer["user"]["remotes"] == [dict(MINE, default=True)]
    assert inspect(str(system), str(user))["effective"]["problem"] is None


def test_a_users_dangling_link_is_harmless_until_its_target_is_made(system, user):
    write(system, SYSTEM, 0o644)
    user.parent.mkdir(parents=True)
    user.symlink_to("nothing")
    answer = inspect(str(system), str(user), "singularity")
    assert [(found["id"], found["severity"]) for found in answer["findings"]] == [("symbolic-link", "warning")]
    assert (answer["user"]["exists"], answer["effective"]["problem"], answer["effective"]["exclusive"]) == (False, None, "lab")


def test_linked_directories_and_a_linked_docker_config_are_fine(system, user):
    write(system.parent.parent / "etc.real" / "remote.yaml", SYSTEM, 0o644)
    system.parent.symlink_to("etc.real")
    write(user.parent.parent / "real" / "remote.yaml", MINE_ONLY, 0o600)
    user.parent.symlink_to("real")
    write(user.parent.parent / "docker.json", json.dumps(DOCKER), 0o600)
    (user.parent / "docker-config.json").symlink_to("../docker.json")
    answer = inspect(str(system), str(user), "singularity")
    assert "symbolic-link" not in ids(answer)
    assert "r.example" in answer["auth_file"]["registries"]


def test_a_linked_file_below_a_root(tmp_path):
    write(tmp_path / "root" / "data" / "remote.yaml", SYSTEM, 0o644)
    (tmp_path / "root" / "etc").mkdir()
    (tmp_path / "root" / "etc" / "remote.yaml").symlink_to("/data/remote.yaml")
    answer = inspect(str(tmp_path / "root" / "etc" / "remote.yaml"), None, "singularity", root=str(tmp_path / "root"))
    assert ids(answer) == ["symbolic-link"]


def test_the_program_is_asked_about_the_link_that_there_is(system, user):
    write(system, SYSTEM, 0o644)
    linked(user, MINE_ONLY, 0o600)
    asked = []
    inspect(str(system), str(user), "singularity", ask_program=asked.append)
    assert [(question.is_link, sorted(question.user.remotes), question.is_torn) for question in asked] == [(True, ["mine"], False)]


@pytest.mark.parametrize("text", [MINE_ONLY.replace("mine:", '"a\\tb":'), MINE_ONLY.replace("own.example", '"own\\nexample"')], ids=["name", "uri"])
def test_the_program_hears_of_what_tears_its_table(system, user, text):
    write(user, text, 0o600)
    asked = []
    inspect(str(system), str(user), ask_program=asked.append)
    assert [question.is_torn for question in asked] == [True]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a home of another user")
def test_a_directory_that_root_has_made_in_a_home(tmp_path):
    """As after `sudo apptainer`: the cure is chown."""
    home = tmp_path / "home"
    (home / ".apptainer").mkdir(parents=True)
    os.chown(home, 12345, 12345)
    answer = inspect(str(tmp_path / "none" / "remote.yaml"), str(home / ".apptainer" / "remote.yaml"))
    (finding,) = [finding for finding in answer["findings"] if finding["id"] == "owner"]
    assert (finding["severity"], finding["path"]) == ("error", f"{home}/.apptainer")
    assert finding["message"].endswith(f"give it back: chown -R 12345 {home}/.apptainer")


# what is only there if it is asked for

TABLE = """\
NAME  URI          DEFAULT?  GLOBAL?  EXCLUSIVE?  SECURE?
lab   lab.example  \u2713         \u2713        \u2713           \u2713
mine  own.example                                 \u2713

lab *^
   (the endpoint's built-in keyserver)

mine
   (the endpoint's built-in keyserver)

(* = system endpoint, ^ = default endpoint)

LOGIN                 KIND       USERNAME
mine                  endpoint
https://keys.example  keyserver"""


def test_the_table_is_what_a_person_reads(system, user):
    write(system, SYSTEM, 0o644)
    write(user, USER, 0o600)
    answer = inspection.inspect(str(system), str(user))
    assert "\n".join(answer["table"]) == TABLE
    assert set(answer["global"]) == set(answer["user"]) == {"path", "exists", "error", "mode", "owner"}
    assert not {"declared", "undeclared"} & set(answer)


def test_how_to_declare_the_global_file_or_the_users(system, user):
    write(system, SYSTEM, 0o644)
    write(user, USER, 0o600)
    answer = inspection.inspect(str(system), None, include=["declared"])
    lab = {"name": "lab", "uri": "https://lab.example", "keyservers": [], "default": True, "exclusive": True}
    assert (answer["declared"], answer["undeclared"]) == ({"scope": "global", "remotes": [lab], "prune": True}, [])
    answer = inspection.inspect(str(system), str(user), include=["declared"])
    mine = {"name": "mine", "uri": "https://own.example", "default": True}
    assert (answer["declared"], answer["undeclared"]) == ({"scope": "user", "remotes": [mine], "prune": True}, [])
    write(user, "x: [", 0o600)
    answer = inspection.inspect(str(system), str(user), include=["declared"])
    assert (answer["declared"], answer["undeclared"]) == (None, [answer["user"]["error"]])


@pytest.mark.parametrize(("text", "mode", "words"), table([
    ("the mode", SYSTEM, 0o600, "its mode is 0600, and a run sets it to 0644"),
    ("a file that is refused", SYSTEM.replace("Active: lab", "Active: 2024-01-01"), 0o644, "a run writes it anew, because SingularityCE refuses it: "),
]))
def test_what_a_run_changes_nevertheless(system, text, mode, words):
    write(system, text, mode)
    assert inspection.inspect(str(system), None, "singularity", include=["declared"])["undeclared"][0].startswith(f"{system}: {words}")


def test_a_run_replaces_a_link_and_gives_a_file_back(system, user, monkeypatch):
    linked(system, SYSTEM, 0o644)
    assert "symbolic link" in inspection.inspect(str(system), None, "singularity", include=["declared"])["undeclared"][0]
    write(user, USER, 0o600)
    monkeypatch.setattr(inspection, "_directory_uid", lambda path, root: ME + 1)
    assert f"it belongs to uid {ME}, and a run as root gives it to uid {ME + 1}" in inspection.inspect(
        str(system), str(user), include=["declared"])["undeclared"][0]
