# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a whole configuration's servers say, against real servers on loopback, some of them silent."""

from __future__ import annotations

import json
import re

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import NetworkError
from ansible_collections.hpc.apptainer.plugins.module_utils._inspection.servers import ask_servers
from ansible_collections.hpc.apptainer.plugins.module_utils._network import parallel
from ansible_collections.hpc.apptainer.plugins.module_utils._network.http_options import HttpOptions
from ansible_collections.hpc.apptainer.plugins.module_utils._values.claims import EndpointToken, KeyserverLogin, RegistryLogin, basic
from ansible_collections.hpc.apptainer.plugins.module_utils._values.remote_config import Keyserver, Remote, RemoteConfig
from support import web
from support.asking import LATE
from support.tables import table
from support.web import Reply, guarded, json_reply, routes, serve

TOKEN, PASSWORD = "tok-s3cretS3CRET", "pa55-s3cretS3CRET"
LOGIN = basic("alice", PASSWORD)
DOCUMENT, STATS = "/assets/config/config.prod.json", "/pks/lookup"
ALL = ("services", "tokens", "keyservers", "registries")
VERSION = json_reply({"data": {"version": "v1.2.3"}})


NOBODY = f"op=index&options=mr&search=0x{40 * '0'}"


def statistics(request):
    """A keyserver that has statistics, and no key at all."""
    return Reply() if "op=stats" in request.path else Reply(404)


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    web.settle(monkeypatch)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return web.Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def endpoint():
    """A server that is an endpoint with all its services, a keyserver and a registry; `.silent` are the paths at which it says nothing."""

    def answers(request):
        path = request.path.partition("?")[0]
        if path in server.silent:
            server.pause(30)
            return []
        return table(request)

    with serve(answers) as server:
        services = {"libraryAPI": {"uri": server.url + "/library"}, "tokenAPI": {"uri": server.url + "/token"}, "keystoreAPI": {"uri": server.url}}
        table = routes({
            DOCUMENT: json_reply(services),
            "/library/version": VERSION,
            "/token/version": Reply(500),
            "/version": VERSION,
            "/token/v1/token-status": guarded(json_reply({"status": "welcome"}), "Bearer " + TOKEN),
            STATS: guarded(Reply(), LOGIN),
            "/": guarded(Reply(), LOGIN),
            "/v2/": guarded(json_reply({}), LOGIN),
        })  # fmt: skip
        server.silent = ()
        yield server


def site(server, **fields):
    """The configuration with that endpoint alone."""
    return RemoteConfig("site", {"site": Remote("//" + server.host, insecure=True, system=True, **fields)})


def stored(server, token=TOKEN, auth=LOGIN, password=PASSWORD):
    registry = RegistryLogin(server.host, "alice", password, True)
    return [EndpointToken("site", "//" + server.host, True, token), KeyserverLogin(server.url, auth), registry]


def test_services_with_their_versions_and_what_is_wrong_with_them(endpoint):
    (found,) = ask_servers(["services"], site(endpoint), [], HttpOptions())["services"]
    assert (found["remote"], found["error"]) == ("site", None)
    assert found["services"] == [
        {"name": "keyserver", "uri": endpoint.url, "version": "v1.2.3", "error": None},
        {"name": "library", "uri": endpoint.url + "/library", "version": "v1.2.3", "error": None},
        {"name": "token", "uri": endpoint.url + "/token", "version": None,
         "error": f"{endpoint.url}/token/version answers 500 Internal Server Error"},
    ]  # fmt: skip


def test_an_endpoint_that_is_none_is_data(endpoint):
    config = RemoteConfig(remotes={"a": Remote("//" + endpoint.host + "/nothing", insecure=True), "b": Remote("h:80"), "c": Remote("")})
    found = ask_servers(["services", "keyservers"], config, [], HttpOptions())
    for topic in ("services", "keyservers"):
        assert [entry["remote"] for entry in found[topic]] == ["a", "b", "c"]
        assert "404 Not Found" in found[topic][0]["error"]
        assert "Apptainer cannot look for services at the endpoint uri" in found[topic][1]["error"]
    assert [entry["services"] for entry in found["services"]] == [[]] * 3
    assert [entry["uri"] for entry in found["keyservers"]] == [None] * 3


TOPICS = [  # what is checked: of a token, a keyserver's and a registry's login
    ("none", [], [False, False, False]),
    ("services", ["services"], [False, False, False]),
    ("tokens", ["tokens"], [True, False, False]),
    ("keyservers", ["keyservers"], [False, True, False]),
    ("registries", ["registries"], [False, False, True]),
    ("all", ALL, [True, True, True]),
]


@pytest.mark.parametrize(("topics", "checked"), table(TOPICS))
def test_only_the_logins_that_were_asked_about_are_checked(endpoint, topics, checked):
    found = ask_servers(topics, site(endpoint), stored(endpoint), HttpOptions())
    assert [entry["kind"] for entry in found["logins"]] == ["endpoint", "keyserver", "registry"]
    assert ["verified" in entry for entry in found["logins"]] == checked
    assert all(entry.get("verified", True) is True for entry in found["logins"])
    assert set(found) == {"logins", *(topic for topic in ("services", "keyservers") if topic in topics)}


def test_logins_that_are_wrong(endpoint):
    wrong = stored(endpoint, "wrong", basic("alice", "wrong"), "wrong")
    found = ask_servers(ALL, site(endpoint), wrong, HttpOptions())["logins"]
    assert [entry["verified"] for entry in found] == [False] * 3
    assert ["401 Unauthorized" in entry["reason"] for entry in found] == [True] * 3
    assert [entry["name"] for entry in found] == ["site", endpoint.url, endpoint.host]


def test_nothing_is_asked_twice(authority):
    """Two endpoints of the same services, whose keyserver they share, and the logins for all of that: it took 26 requests once."""
    with serve(routes({}), authority.context()) as server:
        services = {name: {"uri": server.url} for name in ("libraryAPI", "tokenAPI", "keystoreAPI")}
        server.answers = routes({
            DOCUMENT: json_reply(services), "/version": VERSION, "/": guarded(Reply(), LOGIN), "/v2/": guarded(json_reply({}), LOGIN),
            "/v1/token-status": guarded(json_reply({}), "Bearer " + TOKEN), STATS: statistics,
        })  # fmt: skip
        keyservers = (Keyserver(server.url, external=True),)
        remotes = {name: Remote("//" + server.host, system=True, keyservers=keyservers) for name in "ab"}
        remotes["c"] = Remote("//" + server.host, system=True)
        logins = [EndpointToken(name, "//" + server.host, False, TOKEN) for name in "ab"]
        logins += [KeyserverLogin(server.url, LOGIN), RegistryLogin(server.host, "alice", PASSWORD)]
        found = ask_servers(ALL, RemoteConfig("a", remotes), logins, HttpOptions(ca_path=authority.ca))
        assert [entry["verified"] for entry in found["logins"]] == [True] * 4
        assert [entry["error"] for entry in found["keyservers"] + found["services"]] == [None] * 6
        assert sorted(server.asked) == sorted([
            DOCUMENT, "/version", "/v1/token-status", "/v1/token-status Bearer", "/", "/ Basic", "/v2/", "/v2/ Basic",
            *(f"{STATS}?{operation}{login}" for operation in ("op=stats", NOBODY) for login in ("", " Basic"))])


def test_a_wrong_login_is_sent_to_a_server_once(endpoint):
    """By three names of one endpoint, and by all that asks its keyserver."""
    wrong = basic("alice", "wrong")
    remotes = {name: Remote("//" + endpoint.host, insecure=True, keyservers=(Keyserver(endpoint.url, external=True),)) for name in "abc"}
    logins = [EndpointToken(name, "//" + endpoint.host, True, "wrong") for name in "abc"]
    logins += [KeyserverLogin(endpoint.url, wrong), RegistryLogin(endpoint.host, "alice", "wrong", True)]
    found = ask_servers(ALL, RemoteConfig("a", remotes), logins, HttpOptions())
    assert [entry["verified"] for entry in found["logins"]] == [False] * 5
    assert all("401 Unauthorized" in entry["reason"] for entry in found["logins"])
    assert all("401 Unauthorized" in entry["error"] for entry in found["keyservers"])
    sent = [request.authorization for request in endpoint.requests if request.authorization]
    assert sorted(sent) == ["Basic " + wrong.partition(" ")[2], "Bearer wrong"]


def test_a_silent_service_does_not_hide_the_others(endpoint):
    endpoint.silent = ("/library/version",)
    (found,) = ask_servers(["services"], site(endpoint), [], HttpOptions(4))["services"]
    assert found["error"] is None
    assert [(entry["name"], entry["version"]) for entry in found["services"]] == [("keyserver", "v1.2.3"), ("library", None), ("token", None)]
    assert re.search("did not answer within [0-3][.]", found["services"][1]["error"])


def test_silent_servers_are_named_and_cost_their_time_once(endpoint, monkeypatch):
    """All questions are asked at once: 8 of services, 8 of keyservers and 10 of logins."""
    endpoint.silent = (DOCUMENT, STATS, "/", "/v2/")
    remotes = {f"r{number}": Remote("//" + endpoint.host, insecure=True) for number in range(8)}
    logins = [EndpointToken(name, remote.uri, True, TOKEN) for name, remote in remotes.items()] + stored(endpoint)[1:]
    counts, run_all = [], parallel.run_all
    monkeypatch.setattr(parallel, "run_all", lambda checks, *args: counts.append(len(checks)) or run_all(checks, *args))
    found = ask_servers(ALL, RemoteConfig("r1", remotes), logins, HttpOptions(1))
    assert counts == [26]
    late = f"{endpoint.url} did not answer within 1 second{LATE}"
    assert [entry["error"] for entry in found["services"] + found["keyservers"]] == [late] * 16
    assert [entry["reason"] for entry in found["logins"][:-1]] == [late] * 9
    assert [entry["verified"] for entry in found["logins"]] == [False] * 10


KEYSERVERS = [  # a keyserver of the endpoint, its token, whether a login is stored, the credential that is sent
    ("external", Keyserver("", external=True), "", True, LOGIN),
    ("external, with a slash", Keyserver("/", external=True), "", True, LOGIN),
    ("external, without a login", Keyserver("", external=True), TOKEN, False, ""),
    ("its own, with a token", Keyserver("", external=False), TOKEN, True, "Bearer " + TOKEN),
    ("its own, without a token", Keyserver("", external=False), "", True, ""),
]


@pytest.mark.parametrize(("server", "token", "has_login", "sent"), table(KEYSERVERS))
def test_a_keyserver_is_asked_with_what_apptainer_would_send(authority, server, token, has_login, sent):
    with serve(routes({STATS: statistics}), authority.context()) as web:
        config = site(web, token=token, keyservers=(server._replace(uri=web.url + server.uri), Keyserver("https://skipped.invalid", skip=True)))
        logins = [KeyserverLogin(web.url, LOGIN)] if has_login else []
        found = ask_servers(["keyservers"], config, logins, HttpOptions(ca_path=authority.ca))
        assert found["keyservers"] == [{"remote": "site", "uri": web.url + server.uri, "error": None}]
        assert sent in [request.authorization for request in web.requests if request.path.startswith(STATS)]
        assert {request.authorization for request in web.requests} <= {sent, "", LOGIN}


def test_the_builtin_keyserver_is_asked_for_and_gets_no_token_in_clear(endpoint):
    (found,) = ask_servers(["keyservers"], site(endpoint, token=TOKEN), [], HttpOptions())["keyservers"]
    error = f"the keyserver {endpoint.url} answers /pks/lookup?op=stats with 401 Unauthorized"
    assert found == {"remote": "site", "uri": endpoint.url, "error": error}
    assert endpoint.asked == [DOCUMENT, STATS + "?op=stats"]


@pytest.mark.parametrize(("scheme", "sent"), [("hkp", ""), ("hkps", "Bearer")], ids=["hkp", "hkps"])
def test_a_builtin_keyserver_with_the_scheme_of_hkp(authority, scheme, sent):
    with serve(routes({STATS: statistics}), authority.context() if sent else None) as web:
        config = site(web, token=TOKEN, keyservers=(Keyserver(f"{scheme}://{web.host}"),))
        ask_servers(["keyservers"], config, [], HttpOptions(ca_path=authority.ca))
        assert [request.authorization.partition(" ")[0] for request in web.requests] == [sent] * 2


def test_a_certificate_is_not_looked_at_where_the_keyserver_is_insecure(authority):
    with serve(routes({STATS: statistics}), authority.context()) as web:
        servers = [Keyserver(web.url, external=True, insecure=insecure) for insecure in (True, False)]
        found = ask_servers(["keyservers"], site(web, keyservers=tuple(servers)), [], HttpOptions())["keyservers"]
    assert found[0]["error"] is None
    assert "an authority that is not trusted here" in found[1]["error"]


@pytest.mark.parametrize("uri", ["ftp://k.example.org", "k.example.org", "https://[", "https://u:%zz@k", ""], ids=repr)
def test_a_keyserver_that_cannot_be_asked_is_data(endpoint, uri):
    (found,) = ask_servers(["keyservers"], site(endpoint, token=TOKEN, keyservers=(Keyserver(uri),)), stored(endpoint), HttpOptions())["keyservers"]
    assert found["error"]


@pytest.mark.parametrize("word", ["\ud800", "a\udfff:b"], ids=["the first half", "the second half"])
def test_what_is_stored_as_half_a_character_is_data(endpoint, word):
    """docker-config.json can hold that, and so do files that were not read as UTF-8."""
    uri = f"http://{word}@{endpoint.host}"
    config = site(endpoint, token=word, keyservers=(Keyserver(uri, external=True), Keyserver(endpoint.url, external=True)))
    config = config._replace(remotes=dict(config.remotes, odd=Remote(f"//{word}@{endpoint.host}", insecure=True)))
    logins = [*stored(endpoint, word, "Bearer " + word, word), KeyserverLogin(uri, LOGIN), RegistryLogin(endpoint.host, word, PASSWORD)]
    found = ask_servers(ALL, config, logins, HttpOptions())
    assert [entry["verified"] for entry in found["logins"]] == [False] * 5
    assert found["logins"][2]["reason"] == "the stored login has characters that cannot be sent; log in again"
    assert all(entry["error"] for entry in found["keyservers"])
    assert [bool(entry["error"]) for entry in found["services"]] == [True, False]


def test_a_token_that_nobody_checks_is_told_apart(endpoint):
    document = json_reply({"tokenAPI": {"uri": endpoint.url + "/lax"}})
    endpoint.answers = routes({DOCUMENT: document, "/lax/v1/token-status": json_reply({"status": "welcome"})})
    (found,) = ask_servers(["tokens"], site(endpoint), stored(endpoint)[:1], HttpOptions())["logins"]
    assert found["verified"] is None
    assert found["reason"].endswith("gives the same answer without a token, so the token could not be verified")
    assert endpoint.asked == [DOCUMENT, "/lax/v1/token-status Bearer", "/lax/v1/token-status"]


def test_no_secret_is_in_the_answer(endpoint):
    servers = (Keyserver(f"http://u:{PASSWORD}@{endpoint.host}", external=True), Keyserver(endpoint.url))
    config = site(endpoint, token=TOKEN, keyservers=servers)
    config = config._replace(remotes=dict(config.remotes, odd=Remote(f"//u:{PASSWORD}@{endpoint.host}", insecure=True)))
    found = ask_servers(ALL, config, [*stored(endpoint), KeyserverLogin(servers[0].uri, LOGIN)], HttpOptions())
    text = json.dumps(found)
    assert "(hidden)" in text
    assert not any(secret in text for secret in (TOKEN, PASSWORD, LOGIN.partition(" ")[2]))


def test_an_option_that_cannot_be_used_is_an_error_and_no_verdict_on_logins(endpoint):
    with pytest.raises(NetworkError, match=r"^ca_path .+ cannot be read"):
        ask_servers(ALL, site(endpoint), stored(endpoint), HttpOptions(ca_path="/does/not/exist"))
    assert endpoint.requests == []


def test_nothing_to_ask():
    assert ask_servers(ALL, RemoteConfig(), [], HttpOptions()) == {"logins": [], "services": [], "keyservers": []}
