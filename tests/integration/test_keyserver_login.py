# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Logins to keyservers, proven at a real one that is protected in several ways."""

from __future__ import annotations

import base64
import json

import pytest
import yaml
from support import leaks

WRONG = "wr0ng-pa55word-of-nobody"


@pytest.fixture
def user(tmp_path):
    """The user's remote.yaml."""
    (tmp_path / "home" / ".apptainer").mkdir(parents=True, mode=0o700)
    return tmp_path / "home" / ".apptainer" / "remote.yaml"


@pytest.fixture
def etc(tmp_path, keyserver):
    """A global remote.yaml whose endpoint has all these keyservers; and one of its own."""
    path = tmp_path / "etc" / "apptainer" / "remote.yaml"
    path.parent.mkdir(parents=True)
    servers = [{"URI": getattr(keyserver, name), "External": True, "Skip": False, "Insecure": False}
               for name in ("protected", "half_open", "bearer", "open", "plain")]
    servers.append({"URI": "https://own.example.org", "External": False, "Skip": False, "Insecure": False})
    path.write_text(json.dumps({"Active": "site", "Remotes": {"site": {"URI": "library.example.org", "System": True, "Keyservers": servers}}}))
    return path


@pytest.fixture
def run(run_module, keyserver, etc, tmp_path):
    """Run the module with the keyserver's CA. No secret may come out of it, nor anything on stderr."""
    account = keyserver.account
    secrets = leaks.forms("alice", account.password) | leaks.forms("alice", account.token) | leaks.forms("alice", WRONG)

    def run(args, **options):
        known = {"sysconfdir": str(tmp_path / "etc"), "ca_path": str(keyserver.ca), "timeout": 5}
        given = {name: value for name, value in {**known, **args}.items() if value is not None}
        done = run_module("apptainer_keyserver_login", given, **options)
        assert done.result is not None and done.stderr == "", done.stdout + done.stderr
        assert not leaks.leaked(done.stdout, secrets)
        done.result.pop("invocation", None)
        return done.result

    return run


def state(path):
    return (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) if path.exists() else None


def stored(path):
    return [tuple(entry.values()) for entry in yaml.safe_load(path.read_text()).get("Credentials", [])] if path.exists() else []


def write(path, *credentials):
    entries = [{"URI": uri, "Auth": auth, "Insecure": False} for uri, auth in credentials]
    path.write_text(json.dumps({"Active": "", "Remotes": {}, "Credentials": entries}))
    path.chmod(0o600)


def basic(password):
    return "Basic " + base64.b64encode(f"alice:{password}".encode()).decode()


KINDS = {  # kind of keyserver: whether a token is wanted, and what is asked to prove a login: path, status, scheme
    "protected": (False, [("/", 401, ""), ("/", 200, "Basic")]),
    "plain": (False, [("/", 401, ""), ("/", 200, "Basic")]),
    "half_open": (False, [("/", 200, ""), ("/", 200, "Basic"), ("/pks/lookup?op=stats", 401, ""), ("/pks/lookup?op=stats", 200, "Basic")]),
    "bearer": (True, [("/", 401, ""), ("/", 200, "Bearer")]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_login_is_proven_and_stored_and_then_nobody_is_asked(run, keyserver, user, kind):
    bearer, proof = KINDS[kind]
    uri, account = getattr(keyserver, kind), keyserver.account
    args = {"uri": uri, "password": account.token} if bearer else {"uri": uri, "username": "alice", "password": account.password}
    results = []
    for check, requests in ((True, proof), (False, proof), (False, []), (True, [])):
        keyserver.forget()
        results.append(run(args, check=check, diff=True))
        assert [(request.path, request.status, request.scheme) for request in keyserver.requests(kind)] == requests
        assert user.exists() == (len(results) > 1)
    assert results[0] == results[1]
    assert [(result["changed"], result["verified"]) for result in results] == [(True, True), (True, True), (False, None), (False, None)]
    assert results[0]["login"] == {"kind": "keyserver", "name": uri, "username": None if bearer else "alice"}
    assert results[0]["verification"] == [{"name": f"keyserver {uri}", "verified": True, "reason": f"{uri} accepts the login"}]
    assert [result["warnings"] for result in results] == [[]] * 4
    assert stored(user) == [(uri, account.bearer if bearer else account.basic, False)]
    assert user.stat().st_mode & 0o777 == 0o600
    assert user.read_text().startswith('Active: ""\nRemotes: {}\nCredentials:\n    - URI: ')
    assert "Auth: (hidden)\n" in results[0]["diff"][0]["after"]
    before = state(user)
    always = run(dict(args, verify="always"))
    assert (always["changed"], always["verified"], state(user)) == (False, True, before)


def test_old_and_new_nodes_prove_the_same(run, keyserver, user, verify_node):
    args = {"uri": keyserver.half_open, "username": "alice"}
    assert run({**args, "password": keyserver.account.password}, python=verify_node)["verified"] is True
    before = state(user)
    assert "401 Unauthorized" in run({**args, "password": WRONG}, python=verify_node)["msg"]
    assert state(user) == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_secret_never_replaces_a_good_one(run, keyserver, user, kind):
    uri, bearer = getattr(keyserver, kind), KINDS[kind][0]
    write(user, (uri, keyserver.account.bearer if bearer else keyserver.account.basic))
    before = state(user)
    for check in (True, False):
        refused = run({"uri": uri, "password": WRONG, "username": None if bearer else "alice"}, check=check)
        assert f"{uri} rejects the login (401 Unauthorized): check" in refused["msg"]
        assert refused["msg"].endswith(". Nothing was changed.")
        assert refused["verified"] is False
        assert state(user) == before


def test_a_stored_login_that_is_rejected_now_is_only_reported_if_that_is_wanted(run, keyserver, user):
    write(user, (keyserver.protected, basic(WRONG)))
    args = {"uri": keyserver.protected, "username": "alice", "password": WRONG}
    run(dict(args, verify="never"))
    before = state(user)
    quiet = run(args)
    assert (quiet["changed"], quiet["verified"], keyserver.requests()) == (False, None, [])
    assert "401 Unauthorized" in run(dict(args, verify="always"))["msg"]
    assert state(user) == before


def test_a_keyserver_that_lets_everyone_in_proves_nothing(run, keyserver, user):
    args = {"uri": keyserver.open, "username": "alice", "password": WRONG}
    foreseen, done = run(args, check=True), run(args)
    assert foreseen == done
    assert (done["changed"], done["verified"]) == (True, None)
    assert "lets everyone in, so the login could not be verified" in done["verification"][0]["reason"]
    assert len(done["warnings"]) == 1 and "lets everyone in" in done["warnings"][0]
    assert stored(user) == [(keyserver.open, basic(WRONG), False)]
    assert run(args)["warnings"] == []


SPELLINGS = [  # options, what the refusal names
    ({"uri": "hkp://keys.example.org"}, "write http://keys.example.org:11371"),
    ({"uri": "hkp://keys.example.org:80"}, "write http://keys.example.org:80"),
    ({"uri": "hkps://keys.example.org"}, "write https://keys.example.org"),
    ({"uri": "ftp://keys.example.org"}, "a scheme that Apptainer cannot use"),
    ({"uri": "docker://keys.example.org"}, "a scheme that Apptainer cannot use"),
    ({"uri": f"https://alice:{WRONG}@keys.example.org"}, "use the options username and password"),
    ({"password": None}, "state is present but all of the following are missing: password"),
    ({"password": ""}, "the password is empty"),
    ({"username": None, "password": WRONG + " x"}, "without a username the password is a token, and it has white space"),
    ({"uri": None}, "missing required arguments: uri"),
]


@pytest.mark.parametrize(("options", "words"), SPELLINGS)
def test_what_cannot_be_a_login_is_refused(run, keyserver, user, options, words):
    write(user, (keyserver.protected, keyserver.account.basic))
    before = state(user)
    refused = run({"uri": "https://keys.example.org", "username": "alice", "password": WRONG, **options})
    assert refused["failed"] and words in refused["msg"]
    assert "\n" not in refused["msg"]
    assert state(user) == before


@pytest.mark.parametrize(("uri", "words"), [
    ("https://keys.example.org", "no endpoint has this keyserver; add it to one with apptainer_keyserver"),
    ("https://own.example.org", "it is an endpoint's built-in keyserver, which gets the endpoint's token instead"),
])
def test_a_login_that_apptainer_would_never_send_is_warned_of(run, user, uri, words):
    args = {"uri": uri, "username": "alice", "password": WRONG, "verify": "never"}
    for check in (True, False, False):
        (warning,) = run(args, check=check)["warnings"]
        assert words in warning
    assert stored(user) == [(uri, basic(WRONG), False)]


def test_the_warning_stays_away_where_the_global_file_cannot_be_read(run, user, etc):
    etc.write_text("Active: [\n")
    (warning,) = run({"uri": "https://keys.example.org", "username": "alice", "password": WRONG, "verify": "never"})["warnings"]
    assert "the global file is ignored" in warning


def test_logging_out_removes_the_login_in_any_spelling_and_asks_nobody(run, keyserver, user):
    others = [("https://other.example.org", basic(WRONG)), ("docker://localhost", "")]
    write(user, (keyserver.protected, keyserver.account.basic), others[0], (keyserver.protected + "/path/", basic(WRONG)), others[1])
    args = {"uri": keyserver.protected + "/", "state": "absent", "verify": "always"}
    foreseen, done, again = run(args, check=True, diff=True), run(args, diff=True), run(args)
    assert foreseen == done
    assert (done["changed"], done["login"], done["verification"], again["changed"]) == (True, None, [], False)
    assert [uri for uri, *_login in stored(user)] == [uri for uri, _auth in others]
    assert keyserver.requests() == []


def test_logging_out_is_possible_by_the_spelling_with_hkps(run, user):
    write(user, ("https://keys.example.org", basic(WRONG)))
    assert run({"uri": "hkps://keys.example.org", "state": "absent"})["changed"]
    assert stored(user) == []


def test_logging_out_where_nothing_is_makes_no_file(run, user):
    assert not run({"uri": "https://keys.example.org", "state": "absent"})["changed"]
    assert not user.exists()


def test_several_entries_of_one_keyserver_become_one(run, keyserver, user):
    account, uri = keyserver.account, keyserver.protected
    write(user, (uri, basic(WRONG)), ("https://other.example.org", basic(WRONG)), (uri + "/path", account.basic))
    done = run({"uri": uri, "username": "alice", "password": account.password})
    assert (done["changed"], done["verified"]) == (True, True)
    assert stored(user) == [("https://other.example.org", basic(WRONG), False), (uri, account.basic, False)]


def test_another_spelling_is_proven_and_replaces_the_old_one(run, keyserver, user):
    account, uri = keyserver.account, keyserver.protected
    write(user, (uri, account.basic))
    done = run({"uri": uri + "/", "username": "alice", "password": account.password})
    assert (done["changed"], done["verified"], stored(user)) == (True, True, [(uri + "/", account.basic, False)])
    before = state(user)
    refused = run({"uri": keyserver.half_open + "/nothing-here", "username": "alice", "password": account.password})
    assert "rejects the login: its uri answered" in refused["msg"] and "404 Not Found" in refused["msg"]
    assert state(user) == before


@pytest.mark.parametrize("spelling", ["https", "hkps"])
def test_a_certificate_is_not_looked_at_if_the_endpoint_says_that_the_keyserver_is_insecure(run, keyserver, user, etc, spelling):
    args = {"uri": keyserver.protected, "username": "alice", "password": keyserver.account.password, "ca_path": None}
    refused = run(args)
    assert "not trusted here" in refused["msg"] and "ca_path" in refused["msg"]
    assert not user.exists()
    content = json.loads(etc.read_text())
    content["Remotes"]["site"]["Keyservers"][0].update(Insecure=True, URI=keyserver.protected.replace("https", spelling))
    etc.write_text(json.dumps(content))
    assert run(args)["verified"] is True
    assert run({**args, "uri": keyserver.half_open})["failed"]


def test_the_ways_to_trust_a_keyserver(run, keyserver, certificates, user):
    args = {"username": "alice", "password": keyserver.account.password}
    assert run({**args, "uri": keyserver.protected, "ca_path": None, "validate_certs": False})["verified"] is True
    assert run({**args, "uri": keyserver.client})["failed"]
    pair = {"client_cert": str(certificates.client.certificate), "client_key": str(certificates.client.key)}
    assert run({**args, "uri": keyserver.client, **pair})["verified"] is True


def test_a_keyserver_that_is_not_there_is_named(run, user):
    for check in (True, False):
        refused = run({"uri": "https://localhost:1", "username": "alice", "password": WRONG}, check=check)
        assert "https://localhost:1 refuses the connection" in refused["msg"]
    assert not user.exists()
