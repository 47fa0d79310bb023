# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tokens of endpoints: proven at the endpoint before they replace anything, and never sent, written or shown where they must not be."""

from __future__ import annotations

import json
import os
import re
import socket

import pytest
from support import leaks, patience
from support.servers.python import Answer, serve

WRONG = "wrong-" + "t0ken" * 60


@pytest.fixture
def user(tmp_path):
    """The user's remote.yaml."""
    (tmp_path / "home" / ".apptainer").mkdir(parents=True, mode=0o700)
    return tmp_path / "home" / ".apptainer" / "remote.yaml"


@pytest.fixture
def etc(tmp_path):
    """The global remote.yaml."""
    (tmp_path / "etc" / "apptainer").mkdir(parents=True)
    return tmp_path / "etc" / "apptainer" / "remote.yaml"


@pytest.fixture
def run(run_module, library, tmp_path):
    """Run a module, by default `apptainer_remote`, with the library's CA. No token may come out of it, nor anything on stderr."""
    secrets = leaks.forms("alice", library.account.token) | leaks.forms("alice", WRONG)

    def run(args, name="apptainer_remote", **options):
        known = {"sysconfdir": str(tmp_path / "etc"), "ca_path": str(library.ca), "timeout": 60}
        done = run_module(name, {option: value for option, value in {**known, **args}.items() if value is not None}, **options)
        assert done.result is not None, done.stdout + done.stderr
        assert not leaks.leaked([done.stdout, done.stderr], secrets)
        assert done.stderr == ""
        assert (done.rc != 0) == bool(done.result.get("failed"))
        done.result.pop("invocation", None)
        return done.result

    return run


def state(path):
    return (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) if path.exists() else None


def stored(path, name, uri, token, **fields):
    """A user's file with a token that was stored somehow."""
    path.write_text(json.dumps({"Active": name, "Remotes": {name: {"URI": uri, "Token": token, "System": False, **fields}}}))
    path.chmod(0o600)


def seen(library):
    """The requests, but for those to slow services: they are recorded when they are answered, perhaps in the next test."""
    return [request for request in library.seen if "-slow/" not in request.path]


def asked(library):
    """The requests since the last time: service, status, and whether the token went with them."""
    found = [(request.path.split("/")[2], request.status, request.scheme) for request in seen(library)]
    library.seen.clear()
    return found


GOOD = [("assets", 200, ""), ("token", 200, "Bearer"), ("token", 401, "")]  # the last: whether everyone is welcome


@pytest.mark.parametrize("kind", ["own", "global"])
def test_a_new_token_is_verified_and_stored_and_then_nobody_is_asked(run, library, user, etc, kind, verify_node):
    token, uri = library.account.token, "//" + library.uri("good")
    etc.write_text(f"Active: site\nRemotes:\n    site:\n        URI: {uri}\n        System: true\n        Exclusive: false\n")
    before = etc.read_bytes()
    args = {"name": "site", "token": token} if kind == "global" else {"name": "mine", "uri": "https:" + uri, "default": True, "token": token}
    results = []
    for check, requests in ((True, GOOD), (False, GOOD), (False, []), (True, [])):
        results.append(run(args, check=check, diff=True, python=verify_node))
        assert asked(library) == requests
        assert user.exists() == (len(results) > 1)
    assert results[0] == results[1]
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert [result["verified"] for result in results] == [True, True, None, None]
    (entry,) = results[0]["verification"]
    assert entry == {"name": f'endpoint "{args["name"]}"', "verified": True,
                     "reason": f"the token service https:{uri}/token/v1/token-status accepts the token"}
    assert "it did not change" in results[2]["verification"][0]["reason"]
    active, system = ('""', "true") if kind == "global" else ("mine", "false")
    assert user.read_text() == (f"Active: {active}\nRemotes:\n    {args['name']}:\n        URI: {uri}\n        Token: {token}\n"
                                f"        System: {system}\n        Exclusive: false\n")
    assert "Token: (hidden)\n" in results[0]["diff"][0]["after"]
    assert etc.read_bytes() == before
    after = state(user)
    always = run(dict(args, verify="always"), python=verify_node)
    assert (asked(library), always["changed"], always["verified"], state(user)) == (GOOD, False, True, after)


@pytest.mark.parametrize("check", [True, False])
def test_a_wrong_token_never_replaces_a_good_one(run, library, user, check):
    stored(user, "mine", "//" + library.uri("good"), library.account.token)
    before = state(user)
    refused = run({"name": "mine", "token": WRONG}, check=check, diff=True)
    assert refused["msg"].startswith('endpoint "mine": the token service https://localhost:')
    assert "answers 401 Unauthorized" in refused["msg"] and "create a new one" in refused["msg"] and "Nothing was changed." in refused["msg"]
    assert refused["verified"] is False
    assert state(user) == before


def test_a_stored_token_that_is_rejected_now_is_only_reported_if_that_is_wanted(run, library, user):
    stored(user, "mine", "//" + library.uri("good"), WRONG)
    args = {"name": "mine", "token": WRONG}
    run(dict(args, verify="never"))
    before = state(user)
    quiet = run(args)
    assert (quiet["changed"], quiet["verified"], asked(library)) == (False, None, [])
    for check in (True, False):
        refused = run(dict(args, verify="always"), check=check)
        assert "401 Unauthorized" in refused["msg"]
        assert (refused["verified"], asked(library)) == (False, [GOOD[0], ("token", 401, "Bearer")])
    assert state(user) == before


# scenario: what the sentence must name, and whether the token may have been sent
REFUSALS = {
    "token-401": ("answers 401 Unauthorized: .*rejected.*create a new one", True),
    "token-403": ("answers 403 Forbidden: .*rejected", True),
    "token-404": ("answers 404 Not Found: .*check the endpoint's tokenAPI uri", True),
    "token-406": ("answers 406 Not Acceptable: .*malformed", True),
    "token-429": ("answers 429 Too Many Requests", True),
    "token-500": ("answers 500 Internal Server Error: .*could not be verified; see its log", True),
    "token-503": ("answers 503 Service Unavailable", True),
    "token-reason": ("answers 403 Forbidden: ", True),
    "token-slow": ("did not answer within SECONDS seconds", True),
    "token-drip": ("did not answer within SECONDS seconds", True),
    "token-huge": ("answers with more than 1048576 bytes", True),
    "token-packed": ("answers with more than 1048576 bytes", True),
    "token-close": ("closed the connection without answering|causes a TLS error", True),
    "token-html": ("a web page, .*check the endpoint's tokenAPI uri", True),
    "token-json": ("something other than a token status", True),
    "token-shape": ("something other than a token status", True),
    "token-error": ("something other than a token status", True),
    "token-redirect-elsewhere": ("redirects to https://localhost:.*not sent there", True),
    "token-redirect-http": ("redirects to http://localhost:", True),
    "token-redirect-loop": ("redirects more than 5 times", True),
    "discovery-401": ("answers 401 Unauthorized.* without logging in", False),
    "discovery-404": ("answers 404 Not Found.*check uri", False),
    "discovery-500": ("answers 500 Internal Server Error.* its log", False),
    "discovery-html": ("a web page instead of a discovery document", False),
    "discovery-slow": ("did not answer within SECONDS seconds", False),
    "discovery-redirect-http": ("redirects to http://localhost:", False),
    "document-no-token": (r'offers no token service \(it offers: "keyserver", "library"\)', False),
    "document-empty-uri": ("offers a token service, but its uri is empty", False),
    "document-ftp": ("uri is not an http or https address", False),
    "document-version": ('JSON of the wrong shape .*"version"', False),
    "document-http": ("plain http, so the token was not sent", False),
}


def test_what_keeps_a_token_from_being_proven_is_said_in_one_sentence_and_nothing_is_written(run, library, user, verify_node):
    """All at once, as apptainer_remotes does it: the slow ones are waited for together."""
    timeout = patience.seconds(3)
    library.delay = timeout + 0.5
    stored(user, "old", "old.example.org", WRONG)
    before = state(user)
    remotes = [{"name": name, "uri": library.url(name), "token": library.account.token} for name in REFUSALS]
    results = []
    for check in (True, False):
        results.append(run({"remotes": remotes, "timeout": timeout}, "apptainer_remotes", check=check, python=verify_node))
        assert state(user) == before
    result = results[0]
    assert results[1] == result
    assert library.most_at_once > 1
    assert result["msg"].endswith("Nothing was changed.")
    assert "\n" not in result["msg"]
    reasons = {entry["name"].split('"')[1]: entry for entry in result["verification"]}
    assert set(reasons) == set(REFUSALS)
    for name, (words, _sent) in REFUSALS.items():
        assert reasons[name]["verified"] is False
        assert re.search(words.replace("SECONDS", str(timeout)), reasons[name]["reason"]), reasons[name]
        assert f"localhost:{library.ports['http' if name == 'document-http' else 'https']}" in reasons[name]["reason"]
        assert f'endpoint "{name}"' in result["msg"] and reasons[name]["reason"] in result["msg"]
    sent = {request.path.split("/")[1] for request in library.seen if request.scheme}
    assert sent == {name for name, (_words, sent) in REFUSALS.items() if sent}
    assert {request.site for request in seen(library) if request.scheme} == {"https"}


ACCEPTED = ["token-502-once", "token-redirect", "token-type", "token-latin1", "discovery-redirect", "discovery-type", "document-slashes",
            "document-elsewhere"]


def test_what_is_odd_but_proves_a_token(run, library, user, verify_node):
    remotes = [{"name": name, "uri": library.url(name), "token": library.account.token} for name in ACCEPTED]
    result = run({"remotes": remotes}, "apptainer_remotes", python=verify_node)
    assert result["verified"] is True, result
    assert user.read_text().count(library.account.token) == len(ACCEPTED)
    assert [request.status for request in library.of("token-502-once")] == [200, 502, 200, 401]


@pytest.fixture
def lax(certificates):
    """The URL of an endpoint whose token service welcomes everyone, and what it was asked."""
    asked = []

    def answer(request):
        uri = f"https://localhost:{ports['lax']}"
        return Answer.json({"tokenAPI": {"uri": uri}} if request.path.startswith("/assets") else {"status": "welcome"})

    with serve({"lax": certificates.server}, answer, lambda request, _status: asked.append((request.path, request.scheme))) as ports:
        yield f"https://localhost:{ports['lax']}", asked


def test_a_token_service_that_says_yes_to_everyone_proves_nothing(run, lax, user, verify_node):
    url, asked = lax
    args = {"name": "mine", "uri": url, "token": WRONG}
    for check in (True, False):
        done = run(args, check=check, python=verify_node)
        assert asked == [("/assets/config/config.prod.json", ""), ("/v1/token-status", "Bearer"), ("/v1/token-status", "")]
        assert (done["changed"], done["verified"]) == (True, None)
        reason = f"the token service {url}/v1/token-status gives the same answer without a token, so the token could not be verified"
        assert done["verification"] == [{"name": 'endpoint "mine"', "verified": None, "reason": reason}]
        assert f'endpoint "mine": {reason}' in done["warnings"]
        asked.clear()
    assert f"Token: {WRONG}\n" in user.read_text()
    again = run(args, python=verify_node)
    assert (again["changed"], again["verified"], asked) == (False, None, [])


def test_what_is_not_asked_does_not_count_and_equal_reasons_are_told_once(run, library, user):
    token, good, bad = library.account.token, library.url("good"), library.url("discovery-404")
    assert run({"remotes": [{"name": "a", "uri": good, "token": token}]}, "apptainer_remotes")["verified"] is True
    done = run({"remotes": [{"name": "a", "token": token}, {"name": "b", "uri": good, "token": token}]}, "apptainer_remotes")
    assert ([entry["verified"] for entry in done["verification"]], done["verified"]) == ([None, True], True)
    remotes = [*({"name": name, "uri": bad, "token": token} for name in "cde"), {"name": "f", "uri": library.url("token-401"), "token": token},
               {"name": "a", "token": token}]
    refused = run({"remotes": remotes}, "apptainer_remotes")
    assert refused["verified"] is False
    assert [entry["verified"] for entry in refused["verification"]] == [None, False, False, False, False]
    reasons = {entry["name"]: entry["reason"] for entry in refused["verification"]}
    assert refused["msg"] == (f'endpoint "c", endpoint "d", endpoint "e": {reasons[endpoint("c")]}. {endpoint("f")}: {reasons[endpoint("f")]}. '
                              "Nothing was changed.")


def endpoint(name):
    return f'endpoint "{name}"'


def test_a_reason_that_ends_with_a_question_gets_no_period(run, library):
    refused = run({"name": "mine", "uri": library.url("discovery-html"), "token": WRONG})
    assert "check that uri is that of a library endpoint. Nothing was changed." in refused["msg"]


@pytest.mark.parametrize("timeout", [0, -1, "nan", "inf", 1e10, 3600.1])
@pytest.mark.parametrize("name", ["apptainer_remote", "apptainer_remote_info"])
def test_a_timeout_that_is_none_is_refused(run, library, user, name, timeout):
    args = {"check": ["tokens"]} if name.endswith("info") else {"name": "mine", "uri": library.url("good"), "token": WRONG}
    refused = run({**args, "timeout": timeout}, name)
    assert re.fullmatch(r"timeout is \S+, but must be more than 0 and at most 3600 seconds", refused["msg"]), refused
    assert seen(library) == []
    assert not user.exists()


@pytest.mark.parametrize(("site", "options", "words"), [
    ("https", {"ca_path": None}, "authority .*not trusted here.* ca_path"),
    ("expired", {}, "expired"),
    ("other_host", {}, "has a certificate for another host name"),
    ("client", {}, "client_cert|causes a TLS error"),
    ("http", {}, "does not speak TLS"),
    ("https", {"ca_path": "/does/not/exist"}, 'ca_path "/does/not/exist" cannot be read'),
    ("https", {"client_key": "/does/not/exist"}, "client_key is set without client_cert"),
])
def test_who_cannot_be_trusted_gets_no_token(run, library, user, verify_node, site, options, words):
    args = {"name": "mine", "uri": library.url("good", site=site).replace("http:", "https:"), "token": library.account.token, **options}
    refused = run(args, python=verify_node)
    assert re.search(words, refused["msg"]), refused["msg"]
    assert refused["msg"].startswith('endpoint "mine": ') and refused["msg"].endswith(". Nothing was changed.")
    assert not user.exists()
    assert not any(request.scheme for request in seen(library))


def test_nobody_listens(run, user, library):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    refused = run({"name": "mine", "uri": f"https://localhost:{port}", "token": WRONG})
    assert f"https://localhost:{port} refuses the connection: check that it is running, and the port. Nothing was changed." in refused["msg"]
    assert not user.exists()


def test_the_ways_to_trust_a_server(run, library, user, certificates):
    client = {"client_cert": str(certificates.client.certificate), "client_key": str(certificates.client.key)}
    for name, options in {"expired": {"validate_certs": False}, "other_host": {"validate_certs": False, "ca_path": None}, "client": client}.items():
        done = run({"name": name, "uri": library.url("good", site=name), "token": library.account.token, **options})
        assert done["verified"] is True, done
        assert [request.site for request in seen(library)] == [name] * 3
        library.seen.clear()


def test_an_insecure_endpoint_is_asked_by_http(run, library, user, etc):
    uri = "//" + library.uri("good", "http")
    own = run({"name": "mine", "uri": "http:" + uri, "insecure": True, "token": library.account.token})
    assert (own["verified"], own["remote"]["insecure"]) == (True, True)
    # a global one only for who says so himself, as Apptainer takes https for users with a file
    etc.write_text(f"Active: site\nRemotes:\n  site: {{URI: {uri}, System: true, Insecure: true}}\n")
    refused = run({"name": "site", "token": library.account.token})
    assert "does not speak TLS" in refused["msg"]
    (warning,) = refused["warnings"]
    assert "the global endpoint is insecure (http)" in warning and "set insecure: true here, too" in warning
    assert run({"name": "site", "insecure": True, "token": library.account.token})["verified"] is True
    assert {request.site for request in seen(library)} == {"http"}


def test_a_token_in_the_global_file_is_refused_before_anyone_is_asked(run, library, etc):
    for check in (True, False):
        refused = run({"scope": "global", "name": "site", "uri": library.url("good"), "token": library.account.token}, check=check)
        assert "everyone could read a token in the global file" in refused["msg"] and "scope: user" in refused["msg"]
    assert not etc.exists()
    assert seen(library) == []


@pytest.mark.parametrize(("first_line", "verified"), [("right", True), ("wrong", False)])
def test_the_token_of_a_file_is_verified_too(run, library, user, tmp_path, first_line, verified):
    path = tmp_path / "token"
    path.write_text((library.account.token if verified else WRONG) + "\r\nmore\n")
    path.chmod(0o600)
    done = run({"name": "mine", "uri": library.url("good"), "token_file": str(path), "default": True})
    assert (done["verified"], done["warnings"]) == (verified, [])
    assert user.exists() == verified
    if verified:
        assert f"Token: {library.account.token}\n" in user.read_text()


def test_an_endpoint_that_moves_is_asked_at_its_new_place(run, library, user):
    stored(user, "mine", "//" + library.uri("document-slashes"), library.account.token)
    args = {"name": "mine", "token": library.account.token}
    before = state(user)
    refused = run(dict(args, uri=library.url("discovery-404")))
    assert "404 Not Found" in refused["msg"]
    assert state(user) == before
    moved = run(dict(args, uri=library.url("good", site="elsewhere")))
    assert (moved["changed"], moved["verified"]) == (True, True)
    assert [request.site for request in seen(library) if request.scheme] == ["elsewhere"]
    assert library.of("document-slashes") == []


@pytest.mark.parametrize("module", ["apptainer_remote", "apptainer_logins"])
def test_a_global_endpoint_that_moved_is_asked_at_its_new_place(run, library, user, etc, verify_node, module):
    def glob(uri):
        etc.write_text(f"Active: site\nRemotes:\n  site: {{URI: //{uri}, System: true}}\n")

    token, old, new = library.account.token, library.uri("good"), library.uri("good", site="elsewhere")
    args = {"name": "site", "token": token} if module == "apptainer_remote" else {"remotes": [{"name": "site", "token": token}]}
    glob(old)
    assert run(args, module, python=verify_node)["verified"] is True
    asked(library)
    glob(library.uri("token-403", site="elsewhere"))
    before = state(user)
    for check in (True, False):
        refused = run(args, module, check=check, python=verify_node)
        assert "answers 403 Forbidden: the token is rejected" in refused["msg"] and refused["verified"] is False
        assert asked(library) == [GOOD[0], ("token", 403, "Bearer")]
        assert state(user) == before
    glob(new)
    for check in (True, False):
        moved = run(args, module, check=check, python=verify_node)
        assert (moved["changed"], moved["verified"]) == (True, True)
        assert {request.site for request in library.seen} == {"elsewhere"}
        assert asked(library) == GOOD
    assert f"URI: //{new}\n" in user.read_text() and old not in user.read_text()
    after = state(user)
    again = run(args, module, python=verify_node)
    assert (again["changed"], asked(library), state(user)) == (False, [], after)


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("args", [{"token": WRONG}, {"services": ["library"], "verify": "always"}])
def test_an_endpoint_without_a_place_is_no_excuse(run, user, args, check):
    """Apptainer itself stores an empty URI for some; nothing is foreseen about that."""
    stored(user, "mine", "", "", System=False)
    before = state(user)
    refused = run({"name": "mine", **args}, check=check)
    assert "Apptainer cannot look for services at the endpoint uri" in refused["msg"]
    assert state(user) == before


def test_a_global_file_that_cannot_be_followed_is_ignored(run, library, user, etc):
    etc.symlink_to(etc)
    stored(user, "mine", "//" + library.uri("good"), WRONG)
    result = run({"name": "mine", "token": library.account.token})
    assert result["verified"] is True
    assert any("the global file is ignored" in warning for warning in result["warnings"])


def test_verify_never_asks_nobody(run, library, user):
    done = run({"name": "mine", "uri": library.url("token-401"), "token": library.account.token, "verify": "never", "default": True})
    assert (done["changed"], done["verified"], seen(library)) == (True, None, [])
    assert done["verification"] == [{"name": 'endpoint "mine"', "verified": None, "reason": "not verified, because verify is never"}]


def test_logging_out_asks_nobody(run, library, user):
    stored(user, "mine", "//" + library.uri("good"), library.account.token)
    done = run({"name": "mine", "logout": True, "verify": "always"})
    assert (done["changed"], done["remote"]["logged_in"], done["verification"], seen(library)) == (True, False, [], [])
    assert "Token" not in user.read_text()


HEAVY = {"requests", "jsonschema", "urllib3", "http.client", "ssl"}
LIGHT = [  # module, options, whether the user's file already has the token
    ("apptainer_remote", {"name": "mine", "uri": "h.example.org"}),
    ("apptainer_remote", {"name": "mine", "token": WRONG}),
    ("apptainer_remotes", {"remotes": [{"name": "mine", "token": WRONG}, {"name": "other", "uri": "h.example.org"}]}),
    ("apptainer_remotes", {"remotes": [{"name": "mine", "services": ["library"]}]}),
    ("apptainer_keyserver_login", {"uri": "https://k.example.org", "state": "absent"}),
    ("apptainer_remote_info", {}),
    ("apptainer_keyserver", {"uri": "https://k.example.org", "remote": "DefaultRemote"}),
]


@pytest.mark.parametrize(("name", "args"), LIGHT)
def test_what_needs_no_network_imports_nothing_for_it(run, user, etc, tmp_path, name, args):
    etc.write_text("Remotes: {DefaultRemote: {URI: cloud.apptainer.org, System: true}}\n")
    stored(user, "mine", "m.example.org", WRONG)
    (tmp_path / "watch").mkdir()
    (tmp_path / "watch" / "sitecustomize.py").write_text(
        f"import atexit, sys\natexit.register(lambda: open({str(tmp_path / 'modules')!r}, 'w').write('\\n'.join(sys.modules)))\n")
    for _count in range(2):
        assert "msg" not in run(args, name, env={"PYTHONPATH": tmp_path / "watch"})
        imported = (tmp_path / "modules").read_text().splitlines()
        os.unlink(tmp_path / "modules")
        assert "yaml" in imported
        assert not HEAVY & set(imported)
