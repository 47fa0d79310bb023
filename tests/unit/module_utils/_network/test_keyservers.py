# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Good and bad logins at keyservers that answer as real ones do, and at some that do not."""

from __future__ import annotations

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._network.client import Client
from ansible_collections.hpc.apptainer.plugins.module_utils._network.http_options import HttpOptions
from ansible_collections.hpc.apptainer.plugins.module_utils._network.keyservers import _keyserver_url, keyserver_problem
from ansible_collections.hpc.apptainer.plugins.module_utils._network.verdict import Verdict
from ansible_collections.hpc.apptainer.plugins.module_utils._values.claims import EndpointKeyserver, KeyserverLogin, basic
from support import web
from support.asking import LOGIN, PASSWORD, verdict
from support.tables import table
from support.web import HTML, Reply, guarded, routes, serve

STATS = "/pks/lookup"
TOKEN = f"Bearer {PASSWORD}"


OPEN = Reply(200)
EMPTY_INDEX = Reply(200, b"info:1:0\n")
DEMANDS = guarded(OPEN, LOGIN)
FORBIDS = guarded(OPEN, LOGIN, anonymous=403, wrong=403)


def DEMANDS_ANOTHER(request):  # noqa: N802
    return Reply(401, headers=[("WWW-Authenticate", "Bearer" if request.authorization == LOGIN else 'Basic realm="x"')])


def rejects_all(status):
    return guarded(OPEN, "nothing", anonymous=status, wrong=status)


ALSO_ANSWERS = "accepts the login, but answers its uri with {}, so the command apptainer keyserver login would fail"
ANYONE = "lets everyone in, so the login could not be verified"
REJECTS = "rejects the login (401 Unauthorized): check user name and password"


@pytest.mark.parametrize(("root", "stats", "verified", "words", "count"), table([
    ("the uri requires it", DEMANDS, OPEN, True, "accepts the login", 2),
    ("the uri requires it by 403", FORBIDS, OPEN, True, "accepts the login", 2),
    ("the statistics require it", OPEN, DEMANDS, True, "accepts the login", 4),
    ("the statistics require it, the uri is not there", Reply(404), DEMANDS, True, ALSO_ANSWERS.format("404 Not Found"), 3),
    ("the statistics require it, the uri is forbidden", rejects_all(403), DEMANDS, True, ALSO_ANSWERS.format("403 Forbidden"), 4),
    ("both require it, the uri is not there", guarded(Reply(404), LOGIN), DEMANDS, True, ALSO_ANSWERS.format("404 Not Found"), 4),
    ("both are open", OPEN, OPEN, None, ANYONE, 4),
    ("the uri is open", OPEN, Reply(404), None, ANYONE, 3),
    ("the statistics are open", Reply(404), OPEN, None, ANYONE, 3),
    ("the uri rejects it", rejects_all(401), OPEN, False, REJECTS, 2),
    ("the uri rejects it by 403", guarded(OPEN, "nothing", wrong=403), OPEN, False,
     "rejects the login: its uri answered 403 Forbidden, /pks/lookup?op=stats answered 200 OK; check the uri, and user name and password", 4),
    ("both reject it by 403", guarded(OPEN, "nothing", wrong=403), guarded(OPEN, "nothing", wrong=403), False,
     "rejects the login: its uri answered 403 Forbidden, /pks/lookup?op=stats answered 403 Forbidden", 4),
    ("the uri rejects it by 403, the statistics accept it", guarded(OPEN, "nothing", wrong=403), DEMANDS, True,
     ALSO_ANSWERS.format("403 Forbidden"), 4),
    ("the uri is open, but not with it", guarded(OPEN, "", wrong=401), OPEN, False, REJECTS, 2),
    ("the uri is open, but not with it, by 403", guarded(OPEN, "", wrong=403), OPEN, False,
     "rejects the login: its uri answered 403 Forbidden, /pks/lookup?op=stats answered 200 OK", 4),
    ("the uri is forbidden, and rejects it", guarded(OPEN, "nothing", anonymous=403), DEMANDS, False, REJECTS, 2),
    ("the statistics reject it", OPEN, rejects_all(401), False, REJECTS, 4),
    ("both are forbidden", rejects_all(403), rejects_all(403), False,
     "rejects the login: its uri answered 403 Forbidden, /pks/lookup?op=stats answered 403 Forbidden", 4),
    # what is no yes: 400 and 404 may be the answer to any login
    ("the uri is open, the statistics answer it with 400", OPEN, guarded(Reply(400), LOGIN), None, ANYONE, 6),
    ("both answer it with 404", guarded(Reply(404), LOGIN), guarded(Reply(404), LOGIN), False, "rejects the login: its uri answered 404", 4),
    ("no keyserver answers it with 501", Reply(404), guarded(Reply(501), LOGIN), False, "rejects the login: its uri answered 404", 5),
    ("no keyserver answers it with 400", Reply(404), guarded(Reply(400), LOGIN, anonymous=403, wrong=403), False, "rejects the login: its uri", 5),
    ("the statistics are behind a proxy", Reply(404), Reply(502), False, "does not answer the login: its uri answered 404 Not Found, "
     "/pks/lookup?op=stats answered 502 Bad Gateway: it is a proxy, and the server behind it does not answer; check that one", 4),
    ("another login is demanded behind the first", DEMANDS_ANOTHER, OPEN, False, "answers the login by demanding another one (Bearer)", 2),
    ("the statistics fail with it", Reply(404), guarded(Reply(500), LOGIN), False,
     "rejects the login: its uri answered 404 Not Found, /pks/lookup?op=stats answered 500 Internal Server Error", 3),
    ("the uri is not there, the statistics reject it", Reply(404), guarded(Reply(400), "nothing"), False, REJECTS, 3),
    ("the uri is forbidden, the statistics are open", rejects_all(403), OPEN, False,
     "rejects the login: its uri answered 403 Forbidden, /pks/lookup?op=stats answered 200 OK", 4),
    ("nothing is there", Reply(404), Reply(404), False,
     "rejects the login: its uri answered 404 Not Found, /pks/lookup?op=stats answered 404 Not Found", 2),
    ("a client certificate is missing", Reply(500), Reply(400), False,
     "/pks/lookup?op=stats answered 400 Bad Request (it may require a client certificate: set client_cert); check the uri", 2),
    ("the uri fails for anyone", guarded(Reply(500), ""), Reply(404), False, "rejects the login: its uri answered 500", 2),
]))
def test_keyserver_login(root, stats, verified, words, count):
    with serve(routes({"/k/": root, "/k" + STATS: stats})) as server:
        result, reason, _warning = verdict(KeyserverLogin(f"{server.url}/k/", LOGIN))
    assert result is verified, reason
    assert reason.startswith(f"{server.url} ")
    assert words in reason
    assert len(server.asked) == count
    assert server.asked[0] == "/k/"


@pytest.mark.parametrize(("stats", "words"), table([
    ("401", rejects_all(401), "rejects the login (401 Unauthorized): check the token"),
    ("403", rejects_all(403),
     "rejects the login: its uri answered 404 Not Found, /pks/lookup?op=stats answered 403 Forbidden; check the uri, and the token"),
]))
def test_a_keyserver_that_takes_a_token(stats, words):
    with serve(routes({STATS: stats})) as server:
        assert verdict(KeyserverLogin(server.url, TOKEN)) == Verdict(False, f"{server.url} {words}")
    with serve(routes({STATS: guarded(OPEN, TOKEN)})) as server:
        assert verdict(KeyserverLogin(server.url, TOKEN))[0] is True


@pytest.mark.parametrize("status", [400, 501])
@pytest.mark.parametrize("found", [200, 404])
def test_a_keyserver_without_statistics_behind_a_login(status, found):
    """Hagrid behind a proxy that asks who it is: whoever is let in is told that nobody has such a key."""
    keys = guarded(Reply(404), LOGIN), guarded(Reply(status), LOGIN), guarded(EMPTY_INDEX if found == 200 else Reply(404), LOGIN)
    with serve(lambda request: keys[("op=stats" in request.path) + 2 * ("op=index" in request.path)](request)) as server:
        verified, reason, _warning = verdict(KeyserverLogin(server.url, LOGIN))
        assert verified is True, reason
        assert verdict(KeyserverLogin(server.url, basic("alice", "wrong")))[0] is False


def test_a_keyserver_with_a_front_page_elsewhere():
    with serve(routes({"/": Reply(302, headers=[("Location", "https://www.invalid/")]), STATS: DEMANDS})) as server:
        assert verdict(KeyserverLogin(server.url, LOGIN))[0] is True
        assert verdict(KeyserverLogin(server.url, basic("alice", "wrong")))[0] is False
    with serve(routes({"/": Reply(302, headers=[("Location", "https://www.invalid/")])})) as server:
        assert "its uri answered a redirect, /pks/lookup?op=stats answered 404 Not Found;" in verdict(KeyserverLogin(server.url, LOGIN))[1]


def test_a_keyserver_that_sends_to_another_server():
    with serve(DEMANDS) as other, serve(lambda request: OPEN if request.authorization else Reply(302, headers=[("Location", other.url)])) as server:
        assert verdict(KeyserverLogin(server.url, LOGIN)) == Verdict(
            False, f"{server.url} redirects to {other.url}: if that is the right server, use its address")
        assert server.asked == ["/", f"{STATS}?op=stats"]
        assert not other.requests


def test_keyserver_login_by_tls(authority):
    with serve(DEMANDS, authority.context()) as server:
        assert verdict(KeyserverLogin(server.url, LOGIN, insecure=True))[0] is True
        verified, reason, _warning = verdict(KeyserverLogin(server.url, LOGIN))
        assert verified is False
        assert "set ca_path to the CA's certificate" in reason


@pytest.mark.parametrize(("uri", "url"), [
    ("hkp://k.example", "http://k.example:11371"), ("HKP://k.example:80/a", "http://k.example:80/a"), ("hkps://k.example/a/", "https://k.example/a/"),
    ("http://k.example/a/", "http://k.example/a/"),
])
def test_keyserver_urls(uri, url):
    assert _keyserver_url(uri) == url


def test_a_keyserver_that_cannot_be_asked():
    assert verdict(KeyserverLogin("ftp://joe:S3cret@k.example", LOGIN)) == Verdict(
        False, 'the keyserver uri "ftp://(hidden)@k.example" cannot be used; write it like https://keys.example.org')


@pytest.mark.parametrize(("reply", "words"), table([
    ("rate limiting", Reply(429, headers=[("Denial-Reason", "x")]), "429 Too Many Requests: it is rate limiting; try again later"),
    ("behind a proxy", Reply(502, b"<html>"),
     "502 Bad Gateway: it is a proxy, and the server behind it does not answer; check that one"),
    ("a client certificate is missing", Reply(400), "400 Bad Request (it may require a client certificate: set client_cert)"),
    ("no statistics and no keys", Reply(501), "501 Not Implemented: server error; see its log"),
    ("no keyserver", Reply(404), "404 Not Found"),
    ("another login", rejects_all(401), "401 Unauthorized"),
]))
def test_keyserver_problem(reply, words):
    with serve(routes({STATS: reply})) as server, Client(HttpOptions()) as client:
        problem = keyserver_problem(server.url + "/", False, LOGIN, client)
        assert problem == (f"the keyserver {server.url} answers /pks/lookup?op=stats with {words}" if words else None)
        assert server.asked[0] == "/pks/lookup?op=stats Basic"


WANTS_A_LOGIN = "it requires a login, so without one it could not be verified that it is a keyserver"


@pytest.mark.parametrize(("reply", "verified", "words"), table([
    ("200", HTML, False,
     "the keyserver URL answers every address with a web page, also when asked for a key that nobody has, so it is not a keyserver: check its uri"),
    ("200 without content", OPEN, False, "the keyserver URL answers every address in the same way, also when asked for a key that nobody has"),
    ("401", Reply(401), None, f"answers /pks/lookup?op=stats with 401 Unauthorized: {WANTS_A_LOGIN}"),
    ("403", Reply(403), None, f"answers /pks/lookup?op=stats with 403 Forbidden: {WANTS_A_LOGIN}"),
    ("404", Reply(404), False, "answers /pks/lookup?op=stats with 404 Not Found"),
]))
def test_a_keyserver_as_anyone_sees_it(reply, verified, words):
    with serve(lambda request: reply) as server:
        result, reason, _warning = verdict(EndpointKeyserver(server.url))
        assert result is verified
        assert len(server.asked) == (3 if reply.status == 200 else 1)
        assert words in reason.replace(server.url, "URL")
    assert "cannot be used" in verdict(EndpointKeyserver("k.example"))[1]


@pytest.mark.parametrize("status", [400, 501])
def test_keyserver_problem_without_statistics(status):
    """As keys.openpgp.org (Hagrid) answers."""
    with serve(lambda request: Reply(404 if "op=index" in request.path else status)) as server, Client(HttpOptions()) as client:
        assert keyserver_problem(server.url, False, "", client) is None
        assert len(server.asked) == 2


@pytest.mark.parametrize(("index", "get", "words"), table([
    ("404, as SKS and Hockeypuck", Reply(404, HTML.body), None, None),
    ("an empty index", EMPTY_INDEX, None, None),
    ("an index with keys of everything", Reply(200, b"info:1:1\npub:00:1:2048:1::\n"), HTML, "answers every address with a web page"),
    ("a page, but op=get is right", HTML, Reply(404), None),
    ("op=get is all it has", Reply(501), Reply(404), None),
    ("op=get is all it has, by 400", Reply(400), Reply(404), None),
    ("nothing else", Reply(501), Reply(501), "answers /pks/lookup with 501 Not Implemented"),
    ("it demands a login", Reply(401), None, "answers /pks/lookup with 401 Unauthorized"),
    ("it fails", Reply(502), None, "answers /pks/lookup with 502 Bad Gateway: it is a proxy, and the server behind it does not answer"),
]))
def test_a_keyserver_is_asked_for_a_key_that_nobody_has(index, get, words):
    """Where its statistics answer."""
    def answers(request):
        return index if "op=index" in request.path else get if "op=get" in request.path else HTML

    with serve(answers) as server, Client(HttpOptions()) as client:
        problem = keyserver_problem(server.url, False, "", client)
        assert words in problem if words else problem is None
        assert len(set(server.asked)) == (2 if get is None else 3)


def test_a_keyserver_with_an_open_page_of_statistics_and_a_login_for_keys():
    with serve(lambda request: HTML if "op=stats" in request.path else Reply(401)) as server:
        verified, reason, _warning = verdict(EndpointKeyserver(server.url))
    assert verified is None
    assert "401 Unauthorized: it requires a login" in reason


def test_keyserver_problem_that_is_not_there(authority):
    with Client(HttpOptions()) as client:
        assert "refuses the connection" in keyserver_problem(f"http://localhost:{web.free_port()}", False, "", client)
        assert "cannot be used" in keyserver_problem("k.example", False, "", client)
        with serve(OPEN_ALL, authority.context()) as server:
            assert keyserver_problem(server.url, True, "", client) is None
            assert "ca_path" in keyserver_problem(server.url, False, "", client)


def OPEN_ALL(request):  # noqa: N802
    return OPEN if "op=stats" in request.path else Reply(404)
