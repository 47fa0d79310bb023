# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Many claims verified in parallel, those of one account and those of a fleet."""

from __future__ import annotations

import collections
import threading

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import NetworkError
from ansible_collections.hpc.apptainer.plugins.module_utils._network.client import Client, Response
from ansible_collections.hpc.apptainer.plugins.module_utils._network.discovery import DOCUMENT
from ansible_collections.hpc.apptainer.plugins.module_utils._network.http_options import HttpOptions, check_options
from ansible_collections.hpc.apptainer.plugins.module_utils._network.parallel import ServerMemory, verify_all
from ansible_collections.hpc.apptainer.plugins.module_utils._network.verdict import Verdict
from ansible_collections.hpc.apptainer.plugins.module_utils._values.claims import (
    EndpointKeyserver,
    EndpointServices,
    EndpointToken,
    KeyserverLogin,
    RegistryLogin,
    basic,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import web
from support.asking import LATE, LOGIN, PASSWORD
from support.web import Reply, guarded, json_reply, routes, serve

DEMANDS = guarded(json_reply({}), LOGIN)
NOT_ASKED = Verdict(None, "not asked, because its server did not answer another question (see there); run again when it does")


# One account

def test_each_distinct_claim_is_verified_once():
    with serve(routes({"/v2/": guarded(json_reply({}), LOGIN), "/k/": DEMANDS})) as server:
        good, bad = RegistryLogin(server.host, "alice", PASSWORD), RegistryLogin(server.host, "alice", "wrong")
        keys = KeyserverLogin(server.url + "/k/", LOGIN)
        verdicts = verify_all([good, bad, good, keys, good], HttpOptions())
        assert [(claim, verdict.verified) for claim, verdict in verdicts.items()] == [(good, True), (bad, False), (keys, True)]
        assert len(server.requests) == 6
    assert verify_all([], HttpOptions()) == {}


def test_each_claim_is_bounded():
    def slow(request):
        yield b"HTTP/1.1 200 OK\r\n"
        while stuck.pause(0.05):
            yield b"x"

    with serve(slow) as stuck, serve(DEMANDS) as server:
        verdicts = verify_all([KeyserverLogin(stuck.url, LOGIN), KeyserverLogin(server.url, LOGIN)], HttpOptions(timeout=2))
        assert list(verdicts.values()) == [
            Verdict(False, f"{stuck.url} did not answer within 2 seconds{LATE}"), Verdict(True, f"{server.url} accepts the login")]


def test_each_claim_is_bounded_in_all_its_requests():
    def slow(request):
        server.pause(0.3)
        return Reply(404)

    with serve(slow) as server:  # in two requests of 0.3 seconds
        assert list(verify_all([KeyserverLogin(server.url, LOGIN)], HttpOptions(timeout=0.5)).values()) == [
            Verdict(False, f"{server.url} did not answer within 0.5 seconds{LATE}")]


@pytest.mark.parametrize("memory", [None, ServerMemory()], ids=["one account", "a fleet"])
def test_files_that_cannot_be_used(tmp_path, memory):
    options = HttpOptions(ca_path=str(tmp_path / "missing"))
    reason = f'ca_path "{options.ca_path}" cannot be read: No such file or directory'
    claims = [KeyserverLogin(f"https://{name}.example", LOGIN) for name in "kl"]
    assert verify_all(claims, options, memory) == dict.fromkeys(claims, Verdict(False, reason))
    with pytest.raises(NetworkError) as caught:
        check_options(options)
    assert str(caught.value) == reason


# A fleet

def fleet(*claims, timeout=10.0):
    verdicts = verify_all(claims, HttpOptions(timeout=timeout), ServerMemory())
    assert list(verdicts) == list(dict.fromkeys(claims))
    return verdicts


def accounts(host, number):
    return [RegistryLogin(host, f"user{index}", f"{PASSWORD}{index}") for index in range(number)]


def test_who_asks_for_many_accounts_is_polite():
    running, most, lock = 0, 0, threading.Lock()

    def answers(request):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        server.pause(0.01)
        with lock:
            running -= 1
        return Reply(200 if request.authorization else 401, b"{}", [("WWW-Authenticate", 'Basic realm="x"')])

    with serve(answers) as server:
        assert {verdict.verified for verdict in fleet(*accounts(server.host, 20)).values()} == {True}
        assert 1 < most <= 4
        sent = [request.authorization for request in server.requests if request.authorization]
        assert len(sent) == len(set(sent)) == 20
        assert len(server.requests) <= 20 + 4  # those that began together asked without a login too


def test_a_rejected_login_goes_nowhere_else():
    """Also not to servers of another kind: all may have their accounts from one directory."""
    with serve(guarded(json_reply({}), "other")) as one, serve(guarded(json_reply({}), "other")) as other:
        claims = [RegistryLogin(one.host, "alice", PASSWORD), RegistryLogin(other.host, "alice", PASSWORD), KeyserverLogin(other.url, LOGIN),
                  RegistryLogin(other.host, "bob", PASSWORD)]
        verdicts = fleet(*claims)
        assert [verdicts[claim].verified for claim in claims] == [False, None, None, False]
        assert "not asked, as the same login was rejected elsewhere" in verdicts[claims[1]].reason
        sent = collections.Counter(request.authorization for server in (one, other) for request in server.requests if request.authorization)
        assert sent == {LOGIN: 1, basic("bob", PASSWORD): 1}


def test_a_login_that_is_accepted_goes_to_all():
    with serve(guarded(json_reply({}), LOGIN)) as one, serve(guarded(json_reply({}), LOGIN)) as other:
        verdicts = fleet(RegistryLogin(one.host, "alice", PASSWORD), RegistryLogin(other.host, "alice", PASSWORD), KeyserverLogin(other.url, LOGIN))
        assert [verdict.verified for verdict in verdicts.values()] == [True] * 3


def test_a_login_whose_server_is_not_there_goes_to_the_next():
    with serve(guarded(json_reply({}), LOGIN)) as server:
        verdicts = fleet(RegistryLogin(f"localhost:{web.free_port()}", "alice", PASSWORD), RegistryLogin(server.host, "alice", PASSWORD))
        assert [verdict.verified for verdict in verdicts.values()] == [False, True]


def test_a_silent_server_takes_the_time_of_few_claims():
    def silent(request):
        server.pause(20)
        return []

    with serve(silent) as server, serve(guarded(json_reply({}), LOGIN)) as other:
        claims = [KeyserverLogin(server.url, basic(f"user{number}", PASSWORD)) for number in range(60)]
        verdicts = fleet(*claims, RegistryLogin(other.host, "alice", PASSWORD), timeout=1)
        assert len(server.requests) <= 20  # and not all 60, 4 a second
        said = collections.Counter(verdicts.values())
        late, not_asked = said.pop(Verdict(False, f"{server.url} did not answer within 1 second{LATE}")), said.pop(NOT_ASKED)
        assert late + not_asked == 60
        assert len({request.authorization for request in server.requests} - {""}) <= late  # who was not asked is not said to have failed
        assert said == {Verdict(True, f"http://{other.host} accepts the login"): 1}


def test_a_token_whose_server_dropped_another_question_has_not_failed():
    """The server is fine but for its keyserver, so the token was not asked for; that is no failure of the token."""
    def answers(request):
        if request.path == DOCUMENT:
            return json_reply({"tokenAPI": {"uri": server.url}})
        return [] if request.path.startswith("/pks") else json_reply({})

    with serve(answers) as server:
        options, memory, token = HttpOptions(), ServerMemory(), EndpointToken("a", f"//{server.host}", True, PASSWORD)
        keyserver = EndpointKeyserver(server.url, insecure=True)
        assert verify_all([keyserver], options, memory)[keyserver].verified is False
        sent = len(server.requests)
        assert verify_all([token], options, memory) == {token: NOT_ASKED}
        assert len(server.requests) == sent


def test_a_document_is_read_once():
    def answers(request):
        if request.path == DOCUMENT:
            return json_reply({"tokenAPI": {"uri": server.url}})
        return json_reply({}) if request.authorization == f"Bearer {PASSWORD}" else json_reply({"error": {"code": 401}}, 401)

    with serve(answers) as server:
        uri = f"//{server.host}"
        options, memory = HttpOptions(), ServerMemory()
        assert verify_all([EndpointServices("a", uri, True, ("token",))], options, memory).popitem()[1].verified
        verdicts = verify_all([EndpointToken("a", uri, True, PASSWORD), EndpointToken("a", uri, True, "wr0ng")], options, memory)
        assert [verdict.verified for verdict in verdicts.values()] == [True, False]
        assert server.asked.count(DOCUMENT) == 1
        assert sum(request.authorization == "Bearer wr0ng" for request in server.requests) == 1


def test_a_rejected_login_is_remembered_from_call_to_call():
    with serve(guarded(json_reply({}), "other")) as one, serve(DEMANDS) as other:
        options, memory = HttpOptions(), ServerMemory()
        first, second = (verify_all([KeyserverLogin(server.url, LOGIN)], options, memory).popitem()[1] for server in (one, other))
        assert (first.verified, second.verified) == (False, None)
        assert not other.requests


def test_what_cannot_be_asked_has_a_verdict_too():
    (verdict,) = fleet(EndpointKeyserver("k.example")).values()
    assert verdict.verified is False


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from("abc"), st.sampled_from("xyz")), max_size=12))
def test_no_wrong_password_is_tried_twice(monkeypatch, tried):
    """Whatever is declared, and however often: `x` is right at both servers, `y` at the first, `z` at none."""
    hosts = "first.example", "second.example"
    good = [{basic(user, password) for user in "abc" for password in passwords} for passwords in ("xy", "x")]
    wrong = collections.Counter()

    def follow(client, url, authorization, validate, same_server):
        client.reached = True
        right = good[hosts.index(url.split("/")[2])]
        if authorization and authorization not in right:
            wrong[authorization] += 1
        return Response(url, 200 if authorization in right else 401, "", 'Basic realm="x"', b"{}")

    monkeypatch.setattr(Client, "_follow", follow)  # requests and their answers, without a network
    claims = [RegistryLogin(hosts[place], user, password) for place, user, password in tried]
    verdicts = fleet(*claims)
    assert not wrong or max(wrong.values()) == 1
    for (place, user, password), claim in zip(tried, claims, strict=True):
        header = basic(user, password)
        assert verdicts[claim].verified in ((True, None) if header in good[place] else (False, None))
        assert verdicts[claim].verified is not None or header in wrong
