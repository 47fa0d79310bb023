# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What `apptainer_remote_info` finds out from servers: good ones, bad ones and silent ones, all at the same time, and no secret in it."""

from __future__ import annotations

import base64
import json
import socket

import pytest
from support import leaks, patience

WRONG = "wr0ng-pa55word-of-nobody"
ALL = ["services", "tokens", "keyservers", "registries"]


def basic(password):
    return base64.b64encode(f"alice:{password}".encode()).decode()


@pytest.fixture
def silent():
    """The port of a server that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield server.getsockname()[1]


@pytest.fixture
def node(tmp_path, library, keyserver, registry_basic, registry_token, silent):
    """A node whose files name all these servers: the paths of its global file and of the user's directory."""
    etc, home = tmp_path / "etc" / "apptainer" / "remote.yaml", tmp_path / "home" / ".apptainer"
    etc.parent.mkdir(parents=True)
    home.mkdir(parents=True, mode=0o700)
    keyservers = [
        {"URI": library.url("good", "keystore"), "External": False, "Skip": True},
        {"URI": keyserver.protected, "External": True, "Skip": False},
        {"URI": keyserver.half_open, "External": True, "Skip": False, "Insecure": True},
        {"URI": keyserver.open, "External": True, "Skip": False},
        {"URI": "https://localhost:1", "External": True, "Skip": False},
        {"URI": f"https://localhost:{silent}", "External": True, "Skip": False},
    ]
    uris = {"site": library.uri("good"), "broken": library.uri("library-500"), "gone": library.uri("discovery-404"),
            "slow": library.uri("discovery-slow"), "slow-token": library.uri("token-slow"), "silent": f"localhost:{silent}", "dead": "localhost:1"}
    remotes = {name: {"URI": "//" + uri, "System": True, "Exclusive": False} for name, uri in uris.items()}
    remotes["site"]["Keyservers"] = keyservers
    etc.write_text(json.dumps({"Active": "site", "Remotes": remotes}))
    token = library.account.token
    own = {name: {**remotes[name], "Token": token} for name in ("site", "gone", "slow-token", "silent")}
    own["mine"] = {"URI": "//" + library.uri("good"), "Token": WRONG, "System": False, "Exclusive": False}
    credentials = [
        {"URI": keyserver.protected + "/", "Auth": keyserver.account.basic, "Insecure": False},
        {"URI": keyserver.half_open, "Auth": "Basic " + basic(WRONG), "Insecure": False},
        {"URI": keyserver.open, "Auth": "Bearer " + keyserver.account.token, "Insecure": False},
        {"URI": f"docker://{registry_basic.host}", "Insecure": False},
    ]
    (home / "remote.yaml").write_text(json.dumps({"Active": "site", "Remotes": own, "Credentials": credentials}))
    auths = {registry_basic.host: basic(registry_basic.account.password), registry_token.host: basic(WRONG),
             "localhost:1": basic(WRONG), f"localhost:{silent}": basic(WRONG)}
    (home / "docker-config.json").write_text(json.dumps({"auths": {host: {"auth": auth} for host, auth in auths.items()}}))
    for name in ("remote.yaml", "docker-config.json"):
        (home / name).chmod(0o600)
    return etc, home


@pytest.fixture
def info(run_module, node, library, keyserver, registry_basic, tmp_path):
    """Run the module. No secret of any server may come out of it."""
    secrets = set().union(*(leaks.forms("alice", secret) for server in (library, keyserver, registry_basic)
                            for secret in (server.account.password, server.account.token)), leaks.forms("alice", WRONG))

    def run(check=None, **options):
        args = {"sysconfdir": str(tmp_path / "etc"), "ca_path": str(library.ca), "timeout": patience.seconds(3)}
        nodes = {name: options.pop(name) for name in ("python", "env") if name in options}
        args = {name: value for name, value in {**args, **options, "check": check}.items() if value is not None}
        library.delay = args["timeout"] + 0.5  # the slow ones are too slow
        done = run_module("apptainer_remote_info", args, **nodes)
        assert done.result is not None and done.stderr == "", done.stdout + done.stderr
        assert not leaks.leaked(done.stdout, secrets)
        done.result.pop("invocation", None)
        return done.result

    return run


def words(entries, name, value):
    """The entries by their names; what they say is shortened to what a test needs."""
    return {entry[name]: entry[value] for entry in entries}


def test_everything_is_asked_at_once_and_what_is_wrong_is_data(info, node, library, keyserver, registry_basic, registry_token, silent, verify_node):
    before = {path: path.read_bytes() for path in (node[0], node[1] / "remote.yaml", node[1] / "docker-config.json")}
    timeout = patience.seconds(3)
    result = info(ALL, python=verify_node, timeout=timeout)
    assert "msg" not in result
    assert library.most_at_once > 1  # of 7 endpoints, 7 keyservers and 12 logins
    assert {path: path.read_bytes() for path in before} == before
    assert not result.get("changed")
    late = f"did not answer within {timeout} seconds"

    errors = words(result["services"], "remote", "error")
    assert list(errors) == ["broken", "dead", "gone", "mine", "silent", "site", "slow", "slow-token"]
    assert [errors[name] for name in ("broken", "mine", "site", "slow-token")] == [None] * 4
    reasons = {"dead": "https://localhost:1 refuses the connection", "gone": "404 Not Found", "silent": f"https://localhost:{silent} {late}",
               "slow": f"https://localhost:{library.ports['https']} {late}"}
    for name, reason in reasons.items():
        assert reason in errors[name], name
    found = [(finding["id"], finding["remote"]) for finding in result["findings"]]
    assert [name for kind, name in found if kind == "dead-endpoint"] == list(reasons)
    dead = [entry["remote"] for entry in result["keyservers"] if entry["error"]]
    assert [name for kind, name in found if kind == "dead-keyserver"] == dead != []
    rejected = [login["name"] for login in result["logins"] if login["verified"] is False]
    assert len(rejected) == sum(kind in ("rejected-login", "unverified-login") for kind, _name in found)
    assert [finding["message"].split(": ")[0] for finding in result["findings"] if finding["id"] == "rejected-login"] == [
        'the login to endpoint "mine" is not accepted', f"the login to keyserver {keyserver.half_open} is not accepted",
        f"the login to registry {registry_token.host} is not accepted"]
    assert [name for kind, name in found if kind == "dead-service"] == ["broken", "slow-token"]
    assert any(line.startswith("mine ") and line.endswith(" no") for line in result["table"])

    services = {entry["remote"]: {service["name"]: service for service in entry["services"]} for entry in result["services"]}
    versions = {name: [service["version"] for service in found.values()] for name, found in services.items()}
    assert [name for name, found in services.items() if found] == ["broken", "mine", "site", "slow-token"]
    assert services["site"]["library"] == {"name": "library", "uri": library.url("good", "library"), "version": "v1.0.0", "error": None}
    assert list(services["broken"]) == ["keyserver", "library", "token"]
    assert (versions["broken"], versions["slow-token"]) == (["v1.0.0", None, "v1.0.0"], ["v1.0.0", "v1.0.0", None])
    assert "500 Internal Server Error" in services["broken"]["library"]["error"]
    assert "did not answer within" in services["slow-token"]["token"]["error"]

    servers = words((entry for entry in result["keyservers"] if entry["remote"] == "site"), "uri", "error")
    assert list(servers) == [keyserver.protected, keyserver.half_open, keyserver.open, "https://localhost:1", f"https://localhost:{silent}"]
    assert servers[keyserver.protected] is servers[keyserver.open] is None
    assert "401 Unauthorized" in servers[keyserver.half_open]
    assert "refuses the connection" in servers["https://localhost:1"]
    assert late in servers[f"https://localhost:{silent}"]
    own = {entry["remote"]: (entry["uri"], entry["error"]) for entry in result["keyservers"] if entry["remote"] != "site"}
    assert own["mine"] == (library.url("good", "keystore"), None)
    assert own["gone"][0] is None and "404 Not Found" in own["gone"][1]
    assert own["silent"] == (
        None, f"https://localhost:{silent} {late}: check that it is running and reachable from here, or raise timeout")

    logins = {(entry["kind"], entry["name"]): entry for entry in result["logins"]}
    verified = {key: entry["verified"] for key, entry in logins.items()}
    assert verified == {
        ("endpoint", "site"): True, ("endpoint", "gone"): False, ("endpoint", "slow-token"): False, ("endpoint", "silent"): False,
        ("endpoint", "mine"): False,
        ("keyserver", keyserver.protected + "/"): True, ("keyserver", keyserver.half_open): False, ("keyserver", keyserver.open): None,
        ("registry", registry_basic.host): True, ("registry", registry_token.host): False, ("registry", "localhost:1"): False,
        ("registry", f"localhost:{silent}"): False,
    }  # fmt: skip
    for key, reason in {("endpoint", "mine"): "401 Unauthorized", ("endpoint", "slow-token"): late, ("keyserver", keyserver.open): "lets everyone in",
                        ("registry", registry_token.host): "rejects the login", ("registry", "localhost:1"): "refuses the connection",
                        ("registry", f"localhost:{silent}"): late}.items():
        assert reason in logins[key]["reason"], key
    assert logins["keyserver", keyserver.protected + "/"]["username"] == "alice"


TOPICS = [  # what is checked, the kinds of logins that have a verdict, the lists that are there, which servers were asked
    (["tokens"], ["endpoint"], [], {"library"}),
    (["registries"], ["registry"], [], {"registry"}),
    (["keyservers"], ["keyserver"], ["keyservers"], {"library", "keyserver"}),
    (["services"], [], ["services"], {"library"}),
    ([], [], [], set()),
    (None, [], [], set()),
]


@pytest.mark.parametrize(("check", "kinds", "lists", "asked"), TOPICS)
def test_only_what_is_wanted_is_asked(info, node, library, keyserver, registry_basic, check, kinds, lists, asked):
    etc = json.loads(node[0].read_text())
    for name in ("slow", "slow-token", "silent"):
        del etc["Remotes"][name]
    etc["Remotes"]["site"]["Keyservers"].pop()
    node[0].write_text(json.dumps(etc))
    own = json.loads((node[1] / "remote.yaml").read_text())
    for name in ("slow-token", "silent"):
        del own["Remotes"][name]
    (node[1] / "remote.yaml").write_text(json.dumps(own))
    auths = json.loads((node[1] / "docker-config.json").read_text())
    auths["auths"] = {host: login for host, login in auths["auths"].items() if host == registry_basic.host}
    (node[1] / "docker-config.json").write_text(json.dumps(auths))
    result = info(check)
    assert sorted({entry["kind"] for entry in result["logins"] if "verified" in entry}) == kinds
    assert sorted({entry["kind"] for entry in result["logins"]}) == ["endpoint", "keyserver", "registry"]
    assert [name for name in ("services", "keyservers") if name in result] == lists
    seen = {"library": [request for request in library.seen if "-slow/" not in request.path], "keyserver": keyserver.requests(),
            "registry": registry_basic.requests()}
    assert {name for name, requests in seen.items() if requests} == asked
    assert all(request.method == "GET" for requests in seen.values() for request in requests)


def test_only_the_endpoints_of_the_given_names_are_asked(info, node, library):
    result = info(["services", "tokens"], name=["mine", "nowhere"])
    assert [entry["remote"] for entry in result["services"]] == ["mine"]
    assert [entry["name"] for entry in result["logins"] if entry["kind"] == "endpoint"] == ["mine"]
    assert {finding["remote"] for finding in result["findings"] if finding["id"].startswith(("dead", "rejected", "unverified"))} == {"mine"}
    assert library.seen and all("/good/" in request.path for request in library.seen)


def test_an_option_that_cannot_be_used_fails_the_task_rather_than_every_login(info, node):
    result = info(ALL, ca_path="/does/not/exist")
    assert result["failed"]
    assert 'ca_path "/does/not/exist" cannot be read' in result["msg"]


@pytest.mark.parametrize("missing", ["requests", "jsonschema"])
def test_a_library_that_is_missing_is_named_and_only_if_servers_are_to_be_asked(info, node, tmp_path, missing):
    (tmp_path / "empty" / missing).mkdir(parents=True)
    (tmp_path / "empty" / missing / "__init__.py").write_text("raise ImportError('not here')\n")
    env = {"PYTHONPATH": tmp_path / "empty"}
    assert f"Failed to import the required Python library ({missing})" in info(["tokens"], env=env)["msg"]
    assert "msg" not in info(env=env)


def test_half_a_character_in_a_stored_login_is_data(info, node, registry_basic, verify_node):
    auths = {registry_basic.host: {"username": "alice", "password": "\ud800"}, "half\ud800.invalid": {"auth": basic(WRONG)},
             "localhost:1": {"auth": base64.b64encode(b"alice:\xff\xfe").decode()}}
    (node[1] / "docker-config.json").write_text(json.dumps({"auths": auths}))
    result = info(["registries"], python=verify_node)
    assert "msg" not in result
    logins = [entry for entry in result["logins"] if entry["kind"] == "registry"]
    assert len(logins) == 3
    assert [entry["verified"] for entry in logins] == [False] * 3
    reasons = {entry["name"]: entry["reason"] for entry in logins}
    assert reasons[registry_basic.host] == "the stored login has characters that cannot be sent; log in again"
    assert "is not a valid address" in reasons["half\ud800.invalid"]
    assert "refuses the connection" in reasons["localhost:1"]


def test_files_that_cannot_be_read_are_findings_and_the_rest_is_checked(info, node, keyserver):
    (node[1] / "docker-config.json").write_text('{"auths": {"h": {"auth": "' + basic(WRONG) + '"}')
    node[0].write_text("Active: [\n")
    result = info(["keyservers", "registries"])
    assert [finding["id"] for finding in result["findings"]][:2] == ["unreadable", "unreadable"]
    assert {entry["name"]: entry["verified"] for entry in result["logins"] if entry["kind"] == "keyserver"}[keyserver.protected + "/"] is True
