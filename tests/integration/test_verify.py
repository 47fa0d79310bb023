# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a whole fleet declares, proven at live servers from one place: each thing once, and nothing written."""

from __future__ import annotations

import copy
import json
import sys

import pytest
from support import envs, leaks, processes
from support.files import snapshot
from support.web import free_port

WRONG = "wr0ng-pa55word-of-alice"
WRONG_TOKEN = "wr0ng-t0ken-" * 20
REJECTED = "check user name and password"


@pytest.fixture
def verify(run_module, library):
    def run(*declarations, rc=0, python=None, check=False, env=None, **options):
        done = run_module("apptainer_verify", {"declarations": list(declarations), "ca_path": str(library.ca), **options},
                          python=python, check=check, env=env)
        assert done.rc == rc, done.stdout[-3000:] + done.stderr[-3000:]
        assert done.stderr == ""
        return done.result

    return run


@pytest.fixture
def servers(library, keyserver, registry_basic, registry_token):
    return library, keyserver, registry_basic, registry_token


@pytest.fixture
def declared(servers):
    """What one group of hosts is to get, with all that the module may not mind."""
    library, keyserver, registry_basic, registry_token = servers
    return {
        "remotes": [
            {"name": "site", "uri": f"https://{library.uri('good')}", "exclusive": True, "services": ["library", "token"], "force": True,
             "keyservers": [{"uri": keyserver.protected}, {"uri": keyserver.open}]},
            {"name": "DefaultRemote", "uri": "https://cloud.apptainer.org"},
            {"name": "gone", "state": "absent", "uri": "https://gone.invalid"},
        ],
        "logins": {
            "remotes": [{"name": "site", "token": library.account.token}, {"name": "gone", "state": "absent"}],
            "keyservers": [{"uri": keyserver.protected, "username": "alice", "password": keyserver.account.password},
                           {"uri": keyserver.bearer, "password": keyserver.account.token},
                           {"uri": "https://gone.invalid", "state": "absent"}],
            "registries": [{"uri": f"{scheme}://{one.host}", "username": "alice", "password": one.account.password, "insecure": insecure}
                           for scheme, insecure in (("docker", None), ("oras", True)) for one in (registry_basic, registry_token)],
        },
    }


def said(result):
    return {entry["name"]: entry["verified"] for entry in result["verification"]}


def reasons(result):
    return {entry["name"]: entry["reason"] for entry in result["verification"]}


def asked(servers):
    """All requests, in any order, as the servers were asked side by side."""
    return sorted(str(request) for server in servers for request in [*server.requests(), *getattr(server, "tokens", ())])


def forget(servers):
    for server in servers:
        server.forget()


def test_everything_is_proven_and_nothing_written(verify, declared, servers, tmp_path, verify_node):
    library, keyserver, registry_basic, registry_token = servers
    before = snapshot(tmp_path / "home")
    url = f"https://{library.uri('good')}"
    results = [verify(declared, python=verify_node, check=check) for check in (True, False)]
    for result in results:
        result.pop("invocation", None)
    assert results[0] == results[1]
    assert (result["changed"], result["verified"], result["warnings"]) == (False, True, [])
    assert said(result) == {
        f'endpoint "site" at {url}': True,
        'endpoint "DefaultRemote" at https://cloud.apptainer.org': None,
        f'token of endpoint "site" at {url}': True,
        f"keyserver {keyserver.protected}": True,
        f"keyserver {keyserver.open}": True,
        f"keyserver {keyserver.protected} as user alice": True,
        f"keyserver {keyserver.bearer} with a token": True,
        f"registry {registry_basic.host} as user alice": True,
        f"registry {registry_token.host} as user alice": True,
    }
    assert "built into Apptainer" in reasons(result)['endpoint "DefaultRemote" at https://cloud.apptainer.org']
    assert snapshot(tmp_path / "home") == before


def test_five_hundred_hosts_cause_the_requests_of_one(verify, declared, servers):
    requests = []
    for declarations in ([declared], [declared] * 500, [{**declared, "logins": {**declared["logins"], "registries": list(reversed(
            declared["logins"]["registries"]))}}, {"remotes": declared["remotes"]}, declared]):
        forget(servers)
        assert verify(*declarations)["verified"] is True
        requests.append(asked(servers))
    assert requests[0] == requests[1] == requests[2]
    library = servers[0]
    assert sum(request.path.endswith("config.prod.json") for request in library.seen) == 1


def test_nothing_is_asked_where_nothing_is_declared(verify):
    for declarations in ([], [{}], [{"remotes": [], "logins": {}}], [{"remotes": None, "logins": None}]):
        result = verify(*declarations)
        assert (result["verified"], result["verification"], result["warnings"]) == (None, [], [])


def test_nothing_to_ask_needs_no_library(verify, declared, tmp_path):
    """Neither requests nor jsonschema, if for instance all endpoints are absent."""
    for name in ("requests", "jsonschema"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('not here')")
    env = {"PYTHONPATH": str(tmp_path)}
    assert verify({"remotes": [{"name": "site", "state": "absent"}, declared["remotes"][1]]}, env=env)["verified"] is None
    assert "requests" in verify(declared, env=env, rc=1)["msg"]


# What cannot be asked

def test_an_endpoint_without_a_uri(verify, library):
    entry = {"name": "site", "default": True, "insecure": True}
    tokens = [{"name": "site", "token": library.account.token}, {"name": "x", "token": "t0ken-of-x"}]
    result = verify({"remotes": [entry], "logins": {"remotes": tokens}})
    assert said(result) == {'endpoint "site"': None, 'token of endpoint "site"': None, 'token of endpoint "x"': None}
    assert result["verified"] is None
    assert result["warnings"] == [f'token of endpoint "{name}": {reasons(result)["token of endpoint " + json.dumps(name)]}' for name in ("site", "x")]
    assert "because no uri is declared for its endpoint; " in result["warnings"][0]
    assert library.seen == []
    assert verify({"remotes": [{**entry, "services": ["library"]}]})["warnings"] == ['endpoint "site": not asked, because no uri is declared for it']


def test_a_keyserver_of_an_endpoint_without_a_uri(verify, keyserver):
    result = verify({"remotes": [{"name": "site", "keyservers": [{"uri": keyserver.open}]}]})
    assert said(result) == {'endpoint "site"': None, f"keyserver {keyserver.open}": True}
    assert (result["verified"], result["warnings"]) == (True, [])


def test_a_token_file_is_the_nodes_business(verify, library):
    result = verify({"remotes": [{"name": "site", "uri": library.uri("good")}],
                     "logins": {"remotes": [{"name": "site", "token_file": "/nowhere/token"}]}})
    assert "on the nodes" in reasons(result)['token of endpoint "site"']
    assert (result["verified"], result["warnings"]) == (True, [])


def test_what_nobody_checks(verify, registry_open, keyserver):
    """A registry that lets everyone in; a keyserver that lets nobody in, and no login for it is declared."""
    result = verify({"remotes": [{"name": "site", "keyservers": [{"uri": keyserver.protected}]}],
                     "logins": {"registries": [{"uri": f"docker://{registry_open.host}", "username": "alice", "password": "a-passw0rd"}]}})
    assert result["verified"] is None
    assert len(result["warnings"]) == 2
    assert "it requires a login" in result["warnings"][0]
    assert "lets everyone in" in result["warnings"][1]


# What fails

def test_all_problems_are_in_one_message(verify, declared, servers):
    library, keyserver, registry_basic, _registry_token = servers
    wrong = copy.deepcopy(declared)
    wrong["logins"]["remotes"][0]["token"] = WRONG_TOKEN
    wrong["logins"]["keyservers"][0]["password"] = WRONG
    wrong["logins"]["registries"][0]["password"] = wrong["logins"]["registries"][2]["password"] = WRONG + "2"
    wrong["remotes"] += [{"name": "html", "uri": library.uri("discovery-html")}, {"name": "dead", "uri": f"localhost:{free_port()}"},
                         {"name": "bad", "uri": "ftp://user:hunter2hunter2@example.org"}]
    result = verify(wrong, rc=1)
    message, verdicts = result["msg"], said(result)
    failed = [name for name, verified in verdicts.items() if verified is False]
    assert len(failed) == 6
    assert all(name + ": " in message for name in failed)
    assert f'endpoint "html" at https://{library.uri("discovery-html")}: ' in message
    assert 'endpoint "bad": uri has the scheme ftp' in message
    assert f"registry {registry_basic.host} as user alice: https://{registry_basic.host} rejects the login (401 Unauthorized): {REJECTED}" in message
    assert (result["verified"], result["warnings"], message[-1]) == (False, [], ".")
    assert verdicts[f"keyserver {keyserver.open}"] is True
    said_all = json.dumps(result)
    assert not leaks.leaked([said_all], leaks.forms("alice", WRONG) | leaks.forms("alice", WRONG_TOKEN) | {"hunter2"}
                            | leaks.forms("alice", library.account.token))


def test_a_token_is_not_sent_to_an_endpoint_that_fails(verify, library):
    for scenario, remote in (("discovery-html", {}), ("document-no-token", {"services": ["token"]}), ("good", {"uri": "ftp://localhost"})):
        library.forget()
        result = verify({"remotes": [{"name": "site", "uri": library.uri(scenario), **remote}],
                         "logins": {"remotes": [{"name": "site", "token": library.account.token}]}}, rc=1)
        (verdict,) = (entry for entry in result["verification"] if entry["name"].startswith("token"))
        assert (verdict["verified"], verdict["reason"]) == (None, "not verified, because its endpoint failed, so the token was not sent there")
        assert "token of" not in result["msg"]
        assert not any(request.scheme for request in library.seen)


def test_equal_names_of_different_groups(verify, library):
    """Each group's token goes to its own endpoint, and an endpoint that several name is asked once."""
    groups = [{"remotes": [{"name": "site", "uri": library.uri(place)}], "logins": {"remotes": [{"name": "site", "token": library.account.token}]}}
              for place in ("good", "document-elsewhere")]
    groups.append({"remotes": [{"name": "other", "uri": library.url("good"), "services": ["library"]}]})
    result = verify(*groups)
    assert said(result) == {f"{kind}endpoint {name} at https://{library.uri(place)}": True for kind in ("", "token of ")
                            for place, name in (("good", '"site", "other"'), ("document-elsewhere", '"site"'))}
    assert len([request for request in library.of("good") if request.path.endswith(".json")]) == 1


def test_two_passwords_of_one_account_are_two_claims(verify, registry_basic, registry_token):
    """Neither is shown, and the wrong one is tried once, also at another server."""
    entry = {"uri": f"docker://{registry_basic.host}", "username": "alice"}
    groups = [{"logins": {"registries": [{**entry, "password": password}, {**entry, "uri": f"oras://{registry_basic.host}", "password": password}]}}
              for password in (registry_basic.account.password, WRONG)]
    groups.append({"logins": {"registries": [{**entry, "uri": f"docker://{registry_token.host}", "password": WRONG}]}})
    result = verify(*groups, rc=1)
    name = f"registry {registry_basic.host} as user alice"
    assert said(result) == {f"{name} (password 1 of 2 that are declared)": True, f"{name} (password 2 of 2 that are declared)": False,
                            f"registry {registry_token.host} as user alice": None}
    assert result["msg"] == (f"{name} (password 2 of 2 that are declared): https://{registry_basic.host} rejects the login "
                             f"(401 Unauthorized): {REJECTED}.")
    tries = [request for request in registry_basic.requests() if request.scheme and not request.right]
    assert len(tries) == 1
    assert not any(request.scheme == "Basic" for request in registry_token.tokens)


def test_one_password_is_sent_once_whatever_is_said_of_plain_http(verify, registry_http):
    entry = {"uri": f"docker://{registry_http.host}", "username": "alice", "password": registry_http.account.password}
    groups = [{"logins": {"registries": [{**entry, "insecure": insecure}]}} for insecure in (True, False, None)]
    assert verify(*groups)["verified"] is True
    assert sum(request.right for request in registry_http.requests()) == 1


def test_a_keyserver_login_is_sent_as_the_endpoint_says(verify, keyserver, certificates):
    """Without verification of the certificate if the keyserver of the endpoint is declared so; which is another claim than the same with."""
    login = {"logins": {"keyservers": [{"uri": keyserver.protected, "username": "alice", "password": keyserver.account.password}]}}
    place = {"name": "site", "uri": "https://cloud.apptainer.org", "keyservers": [{"uri": keyserver.protected, "insecure": True}]}
    result = verify({"remotes": [place], **login}, ca_path=str(certificates.other_ca))
    assert result["verified"] is True
    assert f"keyserver {keyserver.protected} as user alice without verification of its certificate" in said(result)
    result = verify({"remotes": [place], **login}, login)
    assert sum("as user alice" in name for name in said(result)) == 2


@pytest.mark.parametrize(("declaration", "words"), [
    ({"remotes": [{"name": "x", "uri": "localhost:1:2"}]}, 'endpoint "x": uri has an IPv6 address without brackets'),
    ({"remotes": [{"name": "x", "keyservers": [{"uri": "ftp://k"}]}]},
     'endpoint "x": keyserver uri has no host, or a scheme that Apptainer cannot use'),
    ({"logins": {"registries": [{"uri": "registry.example.org", "username": "u", "password": "p-a-s-s"}]}},
     'registry "registry.example.org": uri has no scheme'),
    ({"logins": {"keyservers": [{"uri": "hkp://k.invalid", "username": "u", "password": "p-a-s-s"}]}},
     'keyserver "hkp://k.invalid": Apptainer cannot'),
    ({"remotes": [{"name": "x", "uri": "https://cloud.apptainer.org"}], "logins": {"remotes": [{"name": "x", "token": "p-a-s-s p-a-s-s"}]}},
     'endpoint "x": the token has white space'),
    ({"logins": {"registries": [{"uri": "docker://r.invalid", "username": "", "password": "p-a-s-s"}]}}, "the username is empty"),
])  # fmt: skip
def test_what_the_nodes_would_refuse_is_refused_here(verify, declaration, words):
    result = verify(declaration, declaration, rc=1)
    assert result["msg"].count(words) == 1
    assert "p-a-s-s" not in json.dumps(result)


def test_options_are_checked_first(verify, declared, library, tmp_path):
    assert "must be more than 0" in verify(declared, timeout=0, rc=1)["msg"]
    assert "cannot be read" in verify(declared, ca_path=str(tmp_path / "missing"), rc=1)["msg"]
    assert "unsupported" in verify({"remotes": [{"name": "x", "token": WRONG_TOKEN}]}, rc=1)["msg"].lower()
    assert library.seen == []


def test_in_a_play_no_secret_is_shown(declared, servers, tmp_path):
    """At the highest verbosity, whether it succeeds or fails."""
    library, keyserver, *registries = servers
    wrong = copy.deepcopy(declared)
    wrong["logins"]["registries"][0]["password"] = wrong["logins"]["registries"][2]["password"] = WRONG
    task = {"hpc.apptainer.apptainer_verify": {"declarations": [declared, wrong], "ca_path": str(library.ca)}, "ignore_errors": True}
    (tmp_path / "play.json").write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]))
    done = processes.run(envs.core("running") / "bin" / "ansible-playbook", "-vvvvv", "-i", "localhost,", "-c", "local",
                         "-e", f"ansible_python_interpreter={sys.executable}", tmp_path / "play.json", env=processes.clean_env(tmp_path / "home"))
    assert "password 2 of 2 that are declared): " in done.stdout, done.stdout + done.stderr
    passwords = {WRONG, keyserver.account.password, *(one.account.password for one in registries)}
    forms = set().union(*(leaks.forms("alice", secret) for secret in [*passwords, library.account.token, keyserver.account.token]))
    assert not leaks.leaked([done.stdout, done.stderr], forms)


@pytest.mark.parametrize(("flavors", "verified", "words"), [
    (["apptainer"], None, "built into Apptainer"),
    (["singularity"], False, "did not answer within 0.001 seconds"),
    (["apptainer", "singularity"], False, "did not answer within 0.001 seconds"),
])
def test_only_apptainer_asks_cloud_apptainer_org_for_nothing(verify, flavors, verified, words):
    remotes = [{"name": "c", "uri": "https://cloud.apptainer.org"}]
    result = verify(*({"flavor": flavor, "remotes": remotes} for flavor in flavors), rc=int(verified is False), timeout=0.001)
    assert result["verified"] is verified
    assert words in reasons(result)['endpoint "c" at https://cloud.apptainer.org']
