# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Many proofs side by side, of one account and of a fleet."""

from __future__ import annotations

import collections
import threading
import time

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import NetworkError
from ansible_collections.hpc.apptainer.plugins.module_utils._network.client import HttpOptions
from ansible_collections.hpc.apptainer.plugins.module_utils._network.discovery import DOCUMENT
from ansible_collections.hpc.apptainer.plugins.module_utils._network.parallel import FleetProver, verify_all
from ansible_collections.hpc.apptainer.plugins.module_utils._network.verification import Verdict
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
from support.web import Reply, guarded, json_reply, routes, serve

PASSWORD = "S3cretPassw0rd"
LOGIN = basic("alice", PASSWORD)
LATE = ": check that it runs and can be reached from here, or give it more time (timeout)"
DEMANDS = guarded(json_reply({}), LOGIN)


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    web.settle(monkeypatch)


def test_prove_all():
    with serve(routes({"/v2/": guarded(json_reply({}), LOGIN), "/k/": DEMANDS})) as server:
        good, bad = RegistryLogin(server.host, "alice", PASSWORD), RegistryLogin(server.host, "alice", "wrong")
        keys = KeyserverLogin(server.url + "/k/", LOGIN)
        proofs = verify_all([good, bad, good, keys, good], HttpOptions())
        assert [proof.verified for proof in proofs] == [True, False, True, True, True]
        assert len(server.requests) == 6
    assert verify_all([], HttpOptions()) == []


def test_prove_all_is_bounded_for_each():
    def slow(request):
        yield b"HTTP/1.1 200 OK\r\n"
        while stuck.pause(0.05):
            yield b"x"

    with serve(slow) as stuck, serve(DEMANDS) as server:
        begin = time.monotonic()
        proofs = verify_all([KeyserverLogin(stuck.url, LOGIN), KeyserverLogin(server.url, LOGIN)], HttpOptions(timeout=2))
        assert time.monotonic() - begin < 8
        assert proofs == [Verdict(False, f"{stuck.url} did not answer within 2 seconds{LATE}"), Verdict(True, f"{server.url} accepts the login")]


def test_prove_all_is_bounded_in_all():
    def slow(request):
        server.pause(0.3)
        return Reply(404)

    with serve(slow) as server:  # in two requests of 0.3 seconds
        assert verify_all([KeyserverLogin(server.url, LOGIN)], HttpOptions(timeout=0.5)) == [
            Verdict(False, f"{server.url} did not answer within 0.5 seconds{LATE}")]


def test_prove_all_with_files_that_cannot_be_used(tmp_path):
    missing = str(tmp_path / "missing")
    assert verify_all([KeyserverLogin("https://k.example", LOGIN)] * 2, HttpOptions(ca_path=missing)) == [
        Verdict(False, f'ca_path "{missing}" cannot be read: No such file or directory')] * 2


# A fleet

def fleet(*claims, timeout=10.0):
    proofs = FleetProver(HttpOptions(timeout=timeout)).verify_claim(claims)
    assert set(claims) == set(proofs)
    return proofs


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
        assert {proof.verified for proof in fleet(*accounts(server.host, 40)).values()} == {True}
        assert 1 < most <= 4
        sent = [request.authorization for request in server.requests if request.authorization]
        assert len(sent) == len(set(sent)) == 40
        assert len(server.requests) <= 40 + 4  # what the registry demands, those asked who began together


def test_a_rejected_login_goes_nowhere_else():
    """Also not to servers of another kind: all may have their accounts from one directory."""
    with serve(guarded(json_reply({}), "other")) as one, serve(guarded(json_reply({}), "other")) as other:
        claims = [RegistryLogin(one.host, "alice", PASSWORD), RegistryLogin(other.host, "alice", PASSWORD), KeyserverLogin(other.url, LOGIN),
                  RegistryLogin(other.host, "bob", PASSWORD)]
        proofs = fleet(*claims)
        assert [proofs[claim].verified for claim in claims] == [False, None, None, False]
        assert "not asked, as the same login is rejected elsewhere" in proofs[claims[1]].reason
        sent = collections.Counter(request.authorization for server in (one, other) for request in server.requests if request.authorization)
        assert sent == {LOGIN: 1, basic("bob", PASSWORD): 1}


def test_a_login_that_is_accepted_goes_to_all():
    with serve(guarded(json_reply({}), LOGIN)) as one, serve(guarded(json_reply({}), LOGIN)) as other:
        proofs = fleet(RegistryLogin(one.host, "alice", PASSWORD), RegistryLogin(other.host, "alice", PASSWORD), KeyserverLogin(other.url, LOGIN))
        assert [proof.verified for proof in proofs.values()] == [True] * 3


def test_a_login_whose_server_is_not_there_goes_to_the_next():
    with serve(guarded(json_reply({}), LOGIN)) as server:
        proofs = fleet(RegistryLogin(f"localhost:{web.free_port()}", "alice", PASSWORD), RegistryLogin(server.host, "alice", PASSWORD))
        assert [proof.verified for proof in proofs.values()] == [False, True]


def test_a_silent_server_takes_the_time_of_few_claims():
    def silent(request):
        server.pause(20)
        return []

    with serve(silent) as server, serve(guarded(json_reply({}), LOGIN)) as other:
        begin = time.monotonic()
        claims = [KeyserverLogin(server.url, basic(f"user{number}", PASSWORD)) for number in range(60)]
        proofs = fleet(*claims, RegistryLogin(other.host, "alice", PASSWORD), timeout=1)
        assert time.monotonic() - begin < 8  # not 60 / 4 seconds
        late = Verdict(False, f"{server.url} did not answer within 1 second{LATE}")
        assert collections.Counter(proofs.values()) == {late: 60, Verdict(True, f"http://{other.host} accepts the login"): 1}


def test_a_document_is_read_once():
    def answers(request):
        if request.path == DOCUMENT:
            return json_reply({"tokenAPI": {"uri": server.url}})
        return json_reply({}) if request.authorization == f"Bearer {PASSWORD}" else json_reply({"error": {"code": 401}}, 401)

    with serve(answers) as server:
        uri = f"//{server.host}"
        prover = FleetProver(HttpOptions())
        assert prover.verify_claim([EndpointServices("a", uri, True, ("token",))]).popitem()[1].verified
        proofs = prover.verify_claim([EndpointToken("a", uri, True, PASSWORD), EndpointToken("a", uri, True, "wr0ng")])
        assert [proof.verified for proof in proofs.values()] == [True, False]
        assert server.asked.count(DOCUMENT) == 1
        assert sum(request.authorization == "Bearer wr0ng" for request in server.requests) == 1


def test_what_cannot_be_asked_is_a_proof_too():
    (proof,) = fleet(EndpointKeyserver("k.example")).values()
    assert proof.verified is False


def test_files_that_cannot_be_used_are_an_error(tmp_path):
    with pytest.raises(NetworkError, match="cannot be read"):
        FleetProver(HttpOptions(ca_path=str(tmp_path / "missing")))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from("abc"), st.sampled_from("xyz")), max_size=12))
def test_no_wrong_password_is_tried_twice(tried):
    """Whatever is declared, and however often: `x` is right everywhere, `y` at the first server, `z` nowhere."""
    def answers(right):
        def answer(request):
            return Reply(200 if request.authorization in right else 401, b"{}", [("WWW-Authenticate", 'Basic realm="x"')])

        return answer

    good = [{basic(user, password) for user in "abc" for password in passwords} for passwords in ("xy", "x")]
    with serve(answers(good[0])) as one, serve(answers(good[1])) as other:
        servers = one, other
        claims = [RegistryLogin(servers[place].host, user, password) for place, user, password in tried]
        proofs = fleet(*claims)
        wrong = collections.Counter(request.authorization for server, right in zip(servers, good, strict=True) for request in server.requests
                                    if request.authorization and request.authorization not in right)
        assert not wrong or max(wrong.values()) == 1
        for (place, user, password), claim in zip(tried, claims, strict=True):
            header = basic(user, password)
            assert proofs[claim].verified in ((True, None) if header in good[place] else (False, None))
            assert proofs[claim].verified is not None or header in wrong
