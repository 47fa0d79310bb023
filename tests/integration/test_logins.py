# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All logins of an account in one task, at live servers: proven side by side, written at once, or not at all."""

import base64
import concurrent.futures
import json
import os
import re
import shutil
import sys
import threading

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import envs
from support.files import snapshot
from support.servers.python import Answer, serve
from support.servers.recorded import account

WRONG = "wr0ng-pa55word-of-alice"
WRONG_TOKEN = "wr0ng-t0ken-" * 20
NEVER = {"verify": "never"}


@pytest.fixture
def home(tmp_path):
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def user(home):
    """The directory with both files."""
    return home / ".apptainer"


@pytest.fixture
def logins(run_module, tmp_path):
    def run(check=False, python=None, **options):
        return run_module("apptainer_logins", {"sysconfdir": str(tmp_path / "etc"), **options}, check=check, diff=True, python=python)

    return run


@pytest.fixture
def four_times(logins, home):
    """In check mode, for real, again, and in check mode again: each pair says the same, and the second leaves all as it is."""

    def run(rc=0, **options):
        answers = []
        for _run in range(2):
            before = snapshot(home)
            foreseen = logins(check=True, **options)
            assert snapshot(home) == before
            done = logins(**options)
            for one in (foreseen, done):
                assert one.rc == rc, one.stdout + one.stderr
                one.result.pop("invocation", None)
            assert foreseen.result == done.result
            assert done.result.get("changed", False) == (before != snapshot(home))
            answers.append(done.result)
        assert not answers[1].get("changed")
        return answers[0]

    return run


@pytest.fixture
def servers(library, keyserver, registry_basic, registry_token):
    return library, keyserver, registry_basic, registry_token


def forget(servers):
    for server in servers:
        server.forget()


def asked(servers):
    return [request for server in servers for request in [*server.requests(), *getattr(server, "tokens", ())]]


@pytest.fixture
def declared(servers, tmp_path):
    """A node with an endpoint that has two keyservers, and an account's logins for all."""
    library, keyserver, registry_basic, registry_token = servers
    (tmp_path / "etc" / "apptainer").mkdir(parents=True)
    external = [{"URI": uri, "Skip": False, "External": True} for uri in (keyserver.protected, keyserver.bearer)]
    (tmp_path / "etc" / "apptainer" / "remote.yaml").write_text(yaml.safe_dump(
        {"Active": "site", "Remotes": {"site": {"URI": "//" + library.uri("good"), "System": True, "Keyservers": external}}}))
    password = registry_token.account.password
    return {
        "ca_path": str(library.ca),
        "remotes": [{"name": "site", "token": library.account.token}],
        "keyservers": [{"uri": keyserver.protected, "username": "alice", "password": keyserver.account.password},
                       {"uri": keyserver.bearer, "password": keyserver.account.token}],
        "registries": [{"uri": f"docker://{registry_basic.host}", "username": "alice", "password": registry_basic.account.password},
                       {"uri": f"docker://{registry_token.host}", "username": "alice", "password": password},
                       {"uri": f"oras://{registry_token.host}", "username": "alice", "password": password}],
    }


def with_wrong(declared, *kinds):
    """The same with a wrong secret in the last entry of some lists (of the registries, two share one)."""
    wrong = json.loads(json.dumps(declared))
    for kind in kinds:
        for entry in wrong[kind][-2 if kind == "registries" else -1:]:
            entry["token" if kind == "remotes" else "password"] = WRONG if kind == "registries" else WRONG_TOKEN
    return wrong


def auths(user):
    return json.loads((user / "docker-config.json").read_text())["auths"]


def auth(password, username="alice"):
    return base64.b64encode(f"{username}:{password}".encode()).decode()


def test_everything_is_proven_written_and_then_left_alone_without_a_request(four_times, logins, declared, servers, user):
    library, keyserver, *registries = servers
    result = four_times(**declared)
    assert result["verified"] is True and result["warnings"] == []
    assert {entry["name"] for entry in result["verification"]} == {
        'endpoint "site"', f"keyserver {keyserver.protected}", f"keyserver {keyserver.bearer}", *(f"registry {one.host}" for one in registries)}
    assert [(login["kind"], login["username"]) for login in result["logins"]] == [
        ("endpoint", None), *sorted([("keyserver", "alice"), ("keyserver", None)], key=lambda pair: [
            keyserver.protected, keyserver.bearer][pair[1] is None]), ("registry", "alice"), ("registry", "alice")]
    remotes = yaml.safe_load((user / "remote.yaml").read_text())
    assert remotes["Remotes"]["site"]["Token"] == library.account.token
    assert [(item["URI"], item.get("Auth")) for item in remotes["Credentials"]] == [
        (keyserver.protected, keyserver.account.basic), (keyserver.bearer, keyserver.account.bearer),
        *((entry["uri"], None) for entry in declared["registries"])]
    assert auths(user) == {one.host: {"auth": auth(one.account.password)} for one in registries}
    assert {path.stat().st_mode & 0o7777 for path in user.iterdir()} == {0o600}
    forget(servers)
    assert not logins(**declared).result["changed"]
    assert asked(servers) == []
    always = logins(verify="always", **declared).result
    assert (always["changed"], always["verified"]) == (False, True)
    assert all(any(request.right for request in server.requests()) for server in (library, keyserver, registries[0]))


def test_slow_servers_are_asked_side_by_side(logins, certificates):
    """None of the five answers before all are asked."""
    user, together = account(), threading.Barrier(5)

    def answer(asked):
        try:
            together.wait(100)
        except threading.BrokenBarrierError:
            return Answer.html(500)
        right = asked.authorization == user.basic
        return Answer.json({}, 200 if right else 401, {"WWW-Authenticate": 'Basic realm="slow"'})

    sites = {str(number): certificates.server for number in range(5)}
    with serve(sites, answer, lambda *seen: None) as ports:
        registries = [{"uri": f"docker://localhost:{port}", "username": "alice", "password": user.password} for port in ports.values()]
        done = logins(registries=registries, ca_path=str(certificates.ca), timeout=200)
    assert done.rc == 0, done.stdout + done.stderr
    assert done.result["verified"]


def test_each_file_is_written_once(logins, declared, tmp_path):
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nexec strace -f -qq -e signal=none -e trace=/^rename -o {tmp_path}/trace {sys.executable} "$@"\n')
    script.chmod(0o755)
    done = logins(python=envs.Node(envs.core("running"), script), **declared, **NEVER)
    assert done.rc == 0, done.stdout + done.stderr
    renamed = re.findall(r'"(docker-config\.json|remote\.yaml)"', (tmp_path / "trace").read_text())
    assert renamed == ["docker-config.json", "remote.yaml"]


# A wrong one among good ones

@pytest.mark.parametrize("kind", ["registries", "keyservers", "remotes"])
def test_one_wrong_credential_and_nothing_is_written(logins, declared, home, kind):
    for check in (True, False):
        result = logins(check, **with_wrong(declared, kind)).result
        assert result["msg"].count("401 Unauthorized") == 1
        assert result["msg"].endswith(". Nothing was changed.")
        assert [entry["verified"] for entry in result["verification"]].count(False) == 1
        assert snapshot(home) == {}


def test_all_failures_are_in_one_message_and_the_old_logins_stay(four_times, logins, declared, servers, home):
    _library, keyserver, _registry_basic, registry_token = servers
    assert logins(**declared).rc == 0
    result = four_times(rc=1, **with_wrong(declared, "remotes", "keyservers", "registries"))
    for name in ('endpoint "site"', f"keyserver {keyserver.bearer}", f"registry {registry_token.host}"):
        assert re.search(re.escape(name) + ": [^;]*https://[^;]*401 Unauthorized", result["msg"]), result["msg"]
    assert result["verified"] is False


@pytest.mark.parametrize("before", [False, True])
def test_keep_verified_writes_the_good_ones_and_leaves_the_old_ones(four_times, logins, declared, servers, user, before):
    library, keyserver, registry_basic, registry_token = servers
    old = {**declared, "registries": declared["registries"][1:2], "keyservers": declared["keyservers"][1:]}
    if before:
        assert logins(**old).rc == 0
    result = four_times(rc=1, keep_verified=True, prune=True, **with_wrong(declared, "remotes", "keyservers", "registries"))
    assert result["changed"]
    assert result["msg"].count("401 Unauthorized") == 3
    assert result["msg"].endswith("The logins named above were not changed; all others are as declared.")
    stored = {registry_basic.host: registry_basic, **({registry_token.host: registry_token} if before else {})}
    assert auths(user) == {host: {"auth": auth(one.account.password)} for host, one in stored.items()}
    remotes = yaml.safe_load((user / "remote.yaml").read_text())
    assert {item["URI"]: item.get("Auth") for item in remotes["Credentials"]} == {
        keyserver.protected: keyserver.account.basic, f"docker://{registry_basic.host}": None,
        **({keyserver.bearer: keyserver.account.bearer, f"docker://{registry_token.host}": None} if before else {})}
    assert remotes["Remotes"].get("site", {}).get("Token") == (library.account.token if before else None)
    assert WRONG not in json.dumps(result) and WRONG_TOKEN not in json.dumps(result)


def test_each_warning_is_given_once(logins, declared, registry_open):
    """Also where one of the logins is rejected, and the rest is planned again without it."""
    wrong = with_wrong(declared, "registries")
    wrong["registries"].insert(0, {"uri": f"docker://{registry_open.host}", "username": "alice", "password": "any"})
    for check in (True, False):
        result = logins(check, keep_verified=True, **wrong).result
        assert [entry["verified"] for entry in result["verification"] if registry_open.host in entry["name"]] == [None]
        assert [warning for warning in result["warnings"] if registry_open.host in warning] == [
            f"registry {entry['name'].split()[-1]}: {entry['reason']}" for entry in result["verification"] if registry_open.host in entry["name"]]
        assert len(result["warnings"]) == len(set(result["warnings"]))


# Prune

STORED = {
    "remote.yaml": {"Active": "mine", "Remotes": {"mine": {"URI": "h.example.org", "Token": "old-t0ken"}, "two": {"URI": "i.example.org"}},
                    "Credentials": [{"URI": "https://keys.example.org", "Auth": "Bearer old"}, {"URI": "docker://a.example.org"},
                                    {"URI": "oras://b.example.org"}, {"URI": "rubbish"}]},
    "docker-config.json": {"auths": {"a.example.org": {"auth": auth("old")}, "a.example.org/org": {"auth": auth("old")},
                                     "b.example.org": {"identitytoken": "old"}}, "credHelpers": {"c.example.org": "pass"}},
}


@pytest.fixture
def stored(user):
    user.mkdir(mode=0o700)
    for name, content in STORED.items():
        (user / name).write_text(json.dumps(content))
        (user / name).chmod(0o600)
    return user


LISTED = [{"uri": "docker://a.example.org", "username": "alice", "password": "old"}]


def test_prune_leaves_what_is_listed_and_every_endpoint(four_times, stored):
    result = four_times(prune=True, remotes=[], keyservers=[], registries=LISTED)
    assert result["logins"] == [{"kind": "registry", "name": "a.example.org", "username": "alice"}]
    remotes = yaml.safe_load((stored / "remote.yaml").read_text())
    assert {name: remote.get("Token") for name, remote in remotes["Remotes"].items()} == {"mine": None, "two": None}
    assert [item["URI"] for item in remotes["Credentials"]] == ["docker://a.example.org"]
    docker = json.loads((stored / "docker-config.json").read_text())
    assert docker == {"auths": {"a.example.org": {"auth": auth("old")}}, "credHelpers": {"c.example.org": "pass"}}


def test_prune_leaves_the_kinds_of_which_no_list_is_given(four_times, stored):
    result = four_times(prune=True, registries=LISTED)
    assert {(login["kind"], login["name"]) for login in result["logins"]} == {
        ("registry", "a.example.org"), ("endpoint", "mine"), ("keyserver", "https://keys.example.org")}
    remotes = yaml.safe_load((stored / "remote.yaml").read_text())
    assert remotes["Remotes"]["mine"]["Token"] == "old-t0ken"
    assert [item["URI"] for item in remotes["Credentials"]] == ["https://keys.example.org", "docker://a.example.org", "rubbish"]
    assert auths(stored).keys() == {"a.example.org"}


@pytest.mark.parametrize("other", [{"remotes": [{"name": "mine", "token": "old-t0ken"}]},
                                   {"keyservers": [{"uri": "https://keys.example.org", "password": "old"}]}])
def test_prune_with_an_empty_list_removes_all_of_that_kind(four_times, stored, other):
    result = four_times(prune=True, registries=[], **other, **NEVER)
    assert {login["kind"] for login in result["logins"]} == {"endpoint", "keyserver"}
    assert auths(stored) == {}
    remotes = yaml.safe_load((stored / "remote.yaml").read_text())
    assert remotes["Remotes"]["mine"]["Token"] == "old-t0ken"
    rubbish = [] if "keyservers" in other else ["rubbish"]
    assert [item["URI"] for item in remotes["Credentials"]] == ["https://keys.example.org", *rubbish]


def test_prune_without_that_list_leaves_the_registries_alone(four_times, stored):
    before = (stored / "docker-config.json").read_text()
    assert not four_times(prune=True, remotes=[{"name": "mine", "token": "old-t0ken"}], **NEVER)["changed"]
    assert (stored / "docker-config.json").read_text() == before


def test_without_prune_what_is_not_listed_stays(four_times, stored):
    result = four_times(registries=[{"uri": "docker://a.example.org", "state": "absent"}], remotes=[{"name": "mine", "state": "absent"}])
    assert json.loads((stored / "docker-config.json").read_text())["auths"].keys() == {"a.example.org/org", "b.example.org"}
    assert [item["URI"] for item in yaml.safe_load((stored / "remote.yaml").read_text())["Credentials"]] == [
        "https://keys.example.org", "oras://b.example.org", "rubbish"]
    assert "remove them with apptainer_logins and prune: true" in result["warnings"][0]


LOGIN = {"username": "alice", "password": "s3cret-number-one"}
REFUSED = [
    ({"prune": True}, "would remove all logins; list those to keep"),
    ({"prune": True, "registries": []}, "would remove all logins; list those to keep"),
    ({"prune": True, "remotes": [], "keyservers": [], "registries": []}, "would remove all logins; list those to keep"),
    ({"remotes": [{"name": "mine", "token": ""}]}, 'endpoint "mine": the token is empty'),
    ({"remotes": [{"name": "mine"}]}, "state is present but any of the following are missing: token, token_file found in remotes"),
    ({"remotes": [{"name": "mine", "token": WRONG_TOKEN}, {"name": "mine", "token": WRONG}]}, "listed twice"),
    ({"remotes": [{"name": "mine", "token": WRONG_TOKEN, "token_file": "/x"}]}, "mutually exclusive"),
    ({"remotes": [{"name": "mine", "token_file": "/does/not/exist"}]}, "does not exist on this node"),
    ({"keyservers": [{"uri": "hkps://keys.example.org", **LOGIN}]}, "cannot log in with the scheme hkps; write https://keys.example.org"),
    ({"keyservers": [{"uri": "https://keys.example.org"}]}, "state is present but all of the following are missing: password found in keyservers"),
    ({"keyservers": [{"uri": "https://keys.example.org", "password": ""}]}, "the password is empty"),
    ({"keyservers": [{"uri": "https://keys.example.org", **LOGIN, "username": ""}]},
     'keyserver "https://keys.example.org": the username is empty; leave it out if the password is a token'),
    ({"keyservers": [{"uri": "https://u:s3cret-in-it@keys.example.org", **LOGIN, "username": ""}]}, "the username is empty"),
    ({"keyservers": [{"uri": "https://keys.example.org?x", **LOGIN}]}, "has a query or fragment"),
    ({"registries": [{"uri": "docker://h", "username": "alice"}]}, "are missing: password found in registries"),
    ({"registries": [{"uri": "docker://h", "password": WRONG}]}, "are missing: username found in registries"),
    ({"keyservers": [{"uri": "https://keys.example.org", **LOGIN}, {"uri": "https://keys.example.org/2", **LOGIN}]}, "listed twice"),
    ({"registries": [{"uri": "docker://h", **LOGIN}, {"uri": "DOCKER://h/", **LOGIN}]}, "listed twice"),
    ({"registries": [{"uri": "docker://h", **LOGIN}, {"uri": "oras://h", **LOGIN, "password": WRONG}]}, "it shares one login with docker://h"),
    ({"registries": [{"uri": "docker://h", **LOGIN}, {"uri": "docker://c.example.org", **LOGIN}]}, 'credential helper "pass" manages its logins'),
    ({"registries": [{**LOGIN}]}, "missing required arguments: uri found in registries"),
]


@pytest.mark.parametrize(("options", "words"), REFUSED)
def test_what_is_refused_as_a_whole(logins, stored, home, options, words):
    before = snapshot(home)
    for check in (True, False):
        done = logins(check, **options)
        assert done.rc != 0
        assert words in done.result["msg"]
        assert "Traceback" not in done.stdout + done.stderr
        assert "s3cret-in-it" not in done.stdout
        assert snapshot(home) == before


def test_an_endpoint_that_does_not_exist(logins, stored, home):
    """In check mode an earlier task may make it."""
    before = snapshot(home)
    options = {"remotes": [{"name": "other", "token": WRONG_TOKEN}], **NEVER}
    foreseen = logins(check=True, **options)
    assert foreseen.rc == 0 and foreseen.result["changed"]
    assert foreseen.result["warnings"] == ['endpoint "other": it does not exist yet; a real run fails unless an earlier task adds it']
    assert 'endpoint "other": it does not exist, so there is nothing to log in to' in logins(**options).result["msg"]
    assert not logins(remotes=[{"name": "other", "state": "absent"}]).result["changed"]
    assert snapshot(home) == before


@pytest.mark.parametrize("kind", ["same", "link"])
def test_a_file_that_belongs_to_somebody_or_something_else(logins, stored, home, tmp_path, kind):
    shared = tmp_path / "etc" / "apptainer" / "remote.yaml"
    shared.parent.mkdir(parents=True)
    shared.write_text("Active: site\nRemotes: {site: {URI: s.example.org, System: true}}\n")
    (stored / "shared.yaml").symlink_to(shared)
    (stored / "auth.json").symlink_to("remote.yaml")
    before = snapshot(home), shared.read_text()
    registries = [{"uri": "docker://h", **LOGIN}]
    config_file = shared if kind == "same" else stored / "shared.yaml"
    auth_file = stored / ("remote.yaml" if kind == "same" else "auth.json")
    for check in (True, False):
        for lists in ({"registries": registries}, {"keyservers": [{"uri": "https://keys.example.org", "state": "absent"}]}):
            assert f"{config_file} is the global file" in logins(check, config_file=str(config_file), **lists, **NEVER).result["msg"]
            assert f"{auth_file} cannot be both the remote.yaml and" in logins(check, auth_file=str(auth_file), **lists, **NEVER).result["msg"]
        assert (snapshot(home), shared.read_text()) == before


def test_insecure_said_to_be_false_is_written(four_times, user):
    entry = {"uri": "docker://r.example.org", **LOGIN}

    def insecure():
        return yaml.safe_load((user / "remote.yaml").read_text())["Credentials"][0]["Insecure"]

    for said, stored in ((True, True), (None, True), (False, False), (None, False)):
        declared = {**entry, **({} if said is None else {"insecure": said})}
        assert four_times(registries=[declared], **NEVER)["changed"] == (said is not None)
        assert insecure() is stored


def test_a_token_file_of_the_node(logins, declared, library, user, tmp_path):
    (tmp_path / "token").write_text(library.account.token + "\n")
    (tmp_path / "token").chmod(0o600)
    done = logins(remotes=[{"name": "site", "token_file": str(tmp_path / "token")}], ca_path=declared["ca_path"])
    assert done.result["verified"], done.stdout
    assert library.account.token in (user / "remote.yaml").read_text()
    assert library.account.token not in done.stdout


def test_a_dozen_processes_lose_nothing(run_module, tmp_path, user):
    hosts = [f"r{number}.example.org" for number in range(12)]

    def log_in(host):
        args = {"uri": f"docker://{host}", **LOGIN, **NEVER, "sysconfdir": str(tmp_path)}
        return run_module("apptainer_registry_login", args)

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        assert all(done.result["changed"] for done in pool.map(log_in, hosts))
    assert auths(user).keys() == set(hosts)
    assert {item["URI"] for item in yaml.safe_load((user / "remote.yaml").read_text())["Credentials"]} == {f"docker://{host}" for host in hosts}


# Check mode predicts, whatever is declared and whatever is there

SECRETS = ["s3cret-number-one", "s3cret-number-two"]
HOSTS = ["a.example.org", "b.example.org:5000", "docker.io", "index.docker.io"]
STATE = st.sampled_from(["present", "present", "present", "absent"])
PASSWORD = st.sampled_from([*SECRETS, *SECRETS, ""])
USERNAME = st.sampled_from(["alice", "alice", "bob", None])
KEYSERVERS = st.sampled_from(["https://k.example.org", "https://k.example.org/pks", "http://l.example.org:11371"])
DECLARED = st.fixed_dictionaries({
    "remotes": st.lists(st.fixed_dictionaries({"name": st.sampled_from(["mine", "site", "x"]), "state": STATE, "token": PASSWORD}),
                        max_size=2, unique_by=lambda entry: entry["name"]),
    "keyservers": st.lists(st.fixed_dictionaries({"uri": KEYSERVERS, "state": STATE, "username": USERNAME, "password": PASSWORD}), max_size=2),
    "registries": st.lists(st.fixed_dictionaries({
        "uri": st.builds("{}://{}".format, st.sampled_from(["docker", "oras"]), st.sampled_from(HOSTS)), "state": STATE,
        "username": st.sampled_from(["alice", "alice", "bob"]), "password": PASSWORD, "insecure": st.sampled_from([None, True, False])}), max_size=3),
    "prune": st.booleans(),
    "auth_file": st.sampled_from([None, None, "auth.json"]),
    "mode": st.sampled_from([None, None, "0640"]),
})
SECRET_ENTRIES = st.sampled_from([{}, {"identitytoken": SECRETS[0]}, {"auth": auth(SECRETS[0])}, {"auth": auth(SECRETS[1], "bob")}, {"a": [1]}])
DOCKER = st.none() | st.sampled_from(["", "{", "[]"]) | st.builds(
    lambda found, more: json.dumps({**more, "auths": found}),
    st.dictionaries(st.sampled_from([*HOSTS, "https://index.docker.io/v1/", "a.example.org/org", "https://a.example.org/v2/"]), SECRET_ENTRIES),
    st.sampled_from([{}, {}, {"unknown": [1.0]}, {"credHelpers": {"b.example.org:5000": "pass"}}]))
CREDENTIALS = st.lists(st.fixed_dictionaries({
    "URI": st.sampled_from(["docker://a.example.org", "oras://docker.io", "https://k.example.org/pks", "http://l.example.org:11371", "rubbish"]),
    "Auth": st.sampled_from([None, f"Bearer {SECRETS[0]}", f"Basic {auth(SECRETS[1])}"]), "Insecure": st.booleans()}), max_size=4)
REMOTES = st.none() | st.sampled_from(["# nothing\n", "Active: [\n"]) | st.builds(
    lambda token, credentials: yaml.safe_dump({"Active": "mine", "Credentials": credentials,
                                               "Remotes": {"mine": {"URI": "h.example.org", "Token": token, "System": False}}}),
    st.sampled_from([None, *SECRETS]), CREDENTIALS)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(args=DECLARED, docker=DOCKER, remotes=REMOTES, mode=st.sampled_from([0o600, 0o600, 0o644]))
def test_check_mode_predicts_the_real_run(logins, home, user, tmp_path, args, docker, remotes, mode):
    shutil.rmtree(user, ignore_errors=True)
    (tmp_path / "etc" / "apptainer").mkdir(parents=True, exist_ok=True)
    (tmp_path / "etc" / "apptainer" / "remote.yaml").write_text("Active: site\nRemotes:\n  site: {URI: s.example.org, System: true}\n")
    args = {name: value for name, value in {**args, **NEVER}.items() if value is not None}
    name = args.get("auth_file", "docker-config.json")
    if "auth_file" in args:
        args["auth_file"] = str(user / name)
    for path, text in ((user / name, docker), (user / "remote.yaml", remotes)):
        if text is not None:
            user.mkdir(mode=0o700, exist_ok=True)
            path.write_text(text)
            path.chmod(mode)
            os.utime(path, (0, 0))  # nobody may still be writing it
    before = snapshot(home)
    foreseen = logins(check=True, **args)
    assert snapshot(home) == before
    done = logins(**args)
    assert done.result is not None, done.stderr
    after = snapshot(home)
    if "it does not exist, so there is nothing to log in to" in done.result.get("msg", ""):  # the one thing that an earlier task may change
        assert any("a real run fails unless an earlier task adds it" in text for text in foreseen.result["warnings"]) or foreseen.rc
        assert (done.rc, after) == (1, before)
        return
    assert (done.rc, done.result) == (foreseen.rc, {**foreseen.result, "invocation": done.result["invocation"]})
    shown = foreseen.stdout + done.stdout + done.stderr
    assert not [secret for secret in SECRETS for form in (secret, auth(secret), auth(secret, "bob")) if form in shown]
    if done.rc:
        assert after == before
        return
    assert done.result["changed"] == (after != before)
    assert done.result["changed"] == any(entry["before"] != entry["after"] for entry in done.result["diff"])
    assert not logins(**args).result["changed"]
    assert snapshot(home) == after
