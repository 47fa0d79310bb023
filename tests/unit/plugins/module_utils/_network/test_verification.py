# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Good and bad credentials at servers that answer as real ones do, and at some that do not."""

from __future__ import annotations

import time

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import NetworkError
from ansible_collections.hpc.apptainer.plugins.module_utils._network import verification as _verification
from ansible_collections.hpc.apptainer.plugins.module_utils._network.client import Client, HttpOptions, Response
from ansible_collections.hpc.apptainer.plugins.module_utils._network.discovery import DOCUMENT, Services
from ansible_collections.hpc.apptainer.plugins.module_utils._network.errors import NotTlsError
from ansible_collections.hpc.apptainer.plugins.module_utils._network.verification import (
    ServiceStatus,
    check_services,
    keyserver_problem,
    may_use_http,
    verify_claim,
)
from ansible_collections.hpc.apptainer.plugins.module_utils._values.claims import (
    EndpointKeyserver,
    EndpointServices,
    EndpointToken,
    KeyserverLogin,
    RegistryLogin,
    basic,
)
from support import web
from support.web import HTML, Reply, guarded, json_reply, routes, serve

PASSWORD = "S3cretPassw0rd"
LOGIN = basic("alice", PASSWORD)
LATE = ": check that it runs and can be reached from here, or give it more time (timeout)"
SECRETS = (PASSWORD, LOGIN.partition(" ")[2])
STATUS = "/t/v1/token-status"
STATS = "/pks/lookup"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    web.settle(monkeypatch)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return web.Authority(tmp_path_factory.mktemp("ca"))


def proof(secret, **options):
    with Client(HttpOptions(**options)) as client:
        verified, reason = verify_claim(secret, client)
    assert "\n" not in reason
    assert not any(word in reason for word in SECRETS)
    return verified, reason


# Endpoint tokens

def endpoint(table, uri="{url}/t"):
    """An endpoint with a token service, and `table` of what else there is."""
    def answers(request):
        if request.path == DOCUMENT:
            return json_reply({"tokenAPI": {"uri": uri.format(url=server.url)}})
        return routes(table)(request)

    with serve(answers) as server:
        verified, reason = proof(EndpointToken("site", f"//{server.host}", True, PASSWORD))
    assert server.asked[0] == DOCUMENT
    return verified, reason.replace(server.url, "URL"), server.asked[1:]


RIGHT = f"Bearer {PASSWORD}"


@pytest.mark.parametrize(("reply", "verified", "words"), [
    (json_reply({"data": {"username": "alice"}, "status": "welcome"}), True, "accepts the token"),
    (json_reply({}), True, "accepts the token"),
    (json_reply({"data": {}, "error": None}), True, "accepts the token"),
    (json_reply({"error": {"code": 401, "message": PASSWORD}}), False, "answers with something else than the state of a token"),
    (json_reply({"errors": [{"code": 401, "detail": PASSWORD}]}), False, "answers with something else than the state of a token"),
    (json_reply([]), False, "answers with something else"),
    (json_reply(None), False, "answers with something else"),
    (Reply(200), False, "answers with something else"),
    (Reply(body=PASSWORD.encode()), False, "answers with something else"),
    (HTML, False, "answers with a web page, so it is not a token service; check the endpoint's tokenAPI uri"),
    (Reply(401), False, "answers 401 Unauthorized: the token is rejected"),
    (Reply(403), False, "answers 403 Forbidden: the token is rejected"),
    (Reply(429), False, "answers 429 Too Many Requests: it has too much to do, so the token could not be checked; try again later"),
    (Reply(404), False, "answers 404 Not Found: it does not know the token, or is no token service"),
    (Reply(406), False, "answers 406 Not Acceptable: the token is malformed"),
    (Reply(500), False, "answers 500 Internal Server Error: the service failed, so the token could not be checked"),
    (Reply(501), False, "answers 501 Not Implemented: the service failed"),
    (Reply(418, reason=PASSWORD), False, "answers 418"),
    (Reply(204), False, "answers 204 No Content: the token is not accepted"),
])
def test_token(reply, verified, words):
    result, reason, asked = endpoint({STATUS: guarded(reply, RIGHT)})
    assert result is verified
    assert reason.startswith(f"the token service URL{STATUS} ")
    assert words in reason
    assert asked == [f"{STATUS} Bearer"] + [STATUS] * (verified is True)


@pytest.mark.parametrize(("anonymous", "verified", "words"), [
    (json_reply({"status": "welcome"}), None, "says yes to everyone, so nothing checks the token"),
    (HTML, True, "accepts the token"),
    (Reply(401), True, "accepts the token"),
    (Reply(403), True, "accepts the token"),
    (Reply(404), True, "accepts the token"),
    (Reply(500), True, "accepts the token"),
    (Reply(302, headers=[("Location", "/login")]), True, "accepts the token"),  # where 404 is
    (Reply(302, headers=[("Location", "https://sso.invalid/")]), True, "accepts the token"),
])
def test_a_token_service_that_answers_without_a_token_too(anonymous, verified, words):
    result, reason, asked = endpoint({STATUS: lambda request: json_reply({}) if request.authorization else anonymous})
    assert result is verified, reason
    assert words in reason
    assert asked[:2] == [f"{STATUS} Bearer", STATUS]


def test_the_right_token_is_sent():
    assert endpoint({STATUS: guarded(json_reply({}), RIGHT)}, "{url}/t//")[0] is True
    assert endpoint({STATUS: guarded(json_reply({}), "Bearer other")})[0] is False


def test_an_endpoint_without_token_service():
    with serve(routes({DOCUMENT: json_reply({"libraryAPI": {"uri": "https://l"}})})) as server:
        assert proof(EndpointToken("site", f"//{server.host}", True, PASSWORD)) == (
            False, f'{server.url}{DOCUMENT} offers no token service (it offers: "library")')


def test_the_token_is_not_sent_in_clear_for_a_secure_endpoint(authority):
    with serve(lambda request: json_reply({})) as service, \
            serve(lambda request: json_reply({"tokenAPI": {"uri": service.url}}), authority.context()) as server:
        verified, reason = proof(EndpointToken("site", f"//{server.host}", False, PASSWORD), ca_path=authority.ca)
        assert verified is False
        assert reason.startswith(f"the token service {service.url}/v1/token-status is reached by plain http, so the token was not sent: give")
        assert not service.requests


def test_a_token_by_https(authority):
    def answers(request):
        return json_reply({"tokenAPI": {"uri": server.url}}) if request.path == DOCUMENT else guarded(json_reply({}), RIGHT)(request)

    with serve(answers, authority.context()) as server:
        assert proof(EndpointToken("site", f"//{server.host}", False, PASSWORD), ca_path=authority.ca)[0] is True
        assert server.asked == [DOCUMENT, "/v1/token-status Bearer", "/v1/token-status"]


def test_a_token_that_no_header_can_carry():
    assert "the credential has a line break" in prove_token_with("x\r")


def prove_token_with(token):
    with serve(lambda request: json_reply({"tokenAPI": {"uri": server.url}})) as server:
        return proof(EndpointToken("site", f"//{server.host}", True, token))[1]


# Services

@pytest.mark.parametrize(("services", "verified", "words"), [
    (("library",), True, "offers the services demanded (library)"),
    (("library", "token"), False, 'offers no token service (it offers: "library")'),
])
def test_services_demanded(services, verified, words):
    with serve(routes({DOCUMENT: json_reply({"libraryAPI": {"uri": "https://l"}})})) as server:
        result, reason = proof(EndpointServices("site", f"//{server.host}", True, services))
    assert result is verified
    assert words in reason


def test_an_endpoint_of_which_no_service_is_demanded_must_be_one():
    with serve(routes({DOCUMENT: json_reply({})})) as server:
        assert proof(EndpointServices("site", f"//{server.host}", True, ())) == (True, f"//{server.host} has a discovery document")
        assert server.asked == [DOCUMENT]
    with serve(lambda request: HTML) as server:
        verified, reason = proof(EndpointServices("site", f"//{server.host}", True, ()))
        assert verified is False
        assert "a web page instead of a discovery document" in reason


def test_services_of_the_default_endpoint_are_not_asked_for():
    client = Client(HttpOptions())
    client.get = None
    assert verify_claim(EndpointServices("site", "cloud.apptainer.org", False, ("keyserver",)), client).verified is True
    assert verify_claim(EndpointServices("site", "cloud.apptainer.org", False, ("library",)), client) == (
        False, "cloud.apptainer.org has no library, whatever it answers: that is fixed in Apptainer")


# Keyservers

OPEN = Reply(200)
DEMANDS = guarded(OPEN, LOGIN)
FORBIDS = guarded(OPEN, LOGIN, anonymous=403, wrong=403)


def rejects_all(status):
    return guarded(OPEN, "nothing", anonymous=status, wrong=status)


@pytest.mark.parametrize(("root", "stats", "verified", "words", "count"), [
    (DEMANDS, OPEN, True, "accepts the login", 2),
    (FORBIDS, OPEN, True, "accepts the login", 2),
    (OPEN, DEMANDS, True, "accepts the login", 4),
    (Reply(404), DEMANDS, True, "answers 404 Not Found to its uri, which apptainer keyserver login does not accept, but accepts the login", 3),
    (rejects_all(403), DEMANDS, True, "answers 403 Forbidden to its uri", 4),
    (guarded(Reply(404), LOGIN), DEMANDS, True, "answers 404 Not Found to its uri", 4),
    (OPEN, OPEN, None, "lets everyone in, so nothing checks the login", 4),
    (OPEN, Reply(404), None, "lets everyone in", 3),
    (Reply(404), OPEN, None, "lets everyone in", 3),
    (rejects_all(401), OPEN, False, "rejects the login (401 Unauthorized): check user name and password", 2),
    (guarded(OPEN, "nothing", wrong=403), OPEN, False, "accepts the login nowhere: it answers 403 Forbidden to its uri, 200 OK to /pks", 4),
    (guarded(OPEN, "nothing", wrong=403), guarded(OPEN, "nothing", wrong=403), False, "accepts the login nowhere: it answers 403 Forbidden", 4),
    (guarded(OPEN, "nothing", wrong=403), DEMANDS, True, "answers 403 Forbidden to its uri, which apptainer keyserver login does not accept", 4),
    (guarded(OPEN, "", wrong=401), OPEN, False, "rejects the login (401 Unauthorized)", 2),
    (guarded(OPEN, "", wrong=403), OPEN, False, "accepts the login nowhere: it answers 403 Forbidden to its uri, 200 OK", 4),
    (guarded(OPEN, "nothing", anonymous=403), DEMANDS, False, "rejects the login (401 Unauthorized)", 2),
    (OPEN, rejects_all(401), False, "rejects the login (401 Unauthorized)", 4),
    (rejects_all(403), rejects_all(403), False, "accepts the login nowhere: it answers 403 Forbidden to its uri, 403 Forbidden to /pks", 4),
    # what is no yes: 400 and 404 may be the answer to any login
    (OPEN, guarded(Reply(400), LOGIN), None, "lets everyone in", 5),
    (guarded(Reply(404), LOGIN), guarded(Reply(404), LOGIN), False, "accepts the login nowhere", 4),
    (Reply(404), guarded(Reply(501), LOGIN), False, "accepts the login nowhere", 4),
    (Reply(404), guarded(Reply(400), LOGIN, anonymous=403, wrong=403), False, "accepts the login nowhere", 4),
    (Reply(404), guarded(Reply(500), LOGIN), False, "accepts the login nowhere: it answers 404 Not Found to its uri, 500 Internal", 3),
    (Reply(404), guarded(Reply(400), "nothing"), False, "rejects the login (401 Unauthorized)", 3),
    (rejects_all(403), OPEN, False, "accepts the login nowhere: it answers 403 Forbidden to its uri, 200 OK to /pks/lookup?op=stats", 4),
    (Reply(404), Reply(404), False, "accepts the login nowhere: it answers 404 Not Found to its uri, 404 Not Found to /pks", 2),
    (Reply(500), Reply(400), False, "it answers 500 Internal Server Error to its uri, 400 Bad Request to", 2),
    (guarded(Reply(500), ""), Reply(404), False, "accepts the login nowhere", 2),
])
def test_keyserver_login(root, stats, verified, words, count):
    with serve(routes({"/k/": root, "/k" + STATS: stats})) as server:
        result, reason = proof(KeyserverLogin(f"{server.url}/k/", LOGIN))
    assert result is verified, reason
    assert reason.startswith(f"{server.url} ")
    assert words in reason
    assert len(server.asked) == count
    assert server.asked[:2][0] == "/k/"


@pytest.mark.parametrize(("stats", "words"), [
    (rejects_all(401), "rejects the login (401 Unauthorized): check the token"),
    (rejects_all(403),
     "accepts the login nowhere: it answers 404 Not Found to its uri, 403 Forbidden to /pks/lookup?op=stats; check uri and the token"),
])
def test_a_keyserver_that_takes_a_token(stats, words):
    with serve(routes({STATS: stats})) as server:
        assert proof(KeyserverLogin(server.url, RIGHT)) == (False, f"{server.url} {words}")
    with serve(routes({STATS: guarded(OPEN, RIGHT)})) as server:
        assert proof(KeyserverLogin(server.url, RIGHT))[0] is True


@pytest.mark.parametrize("status", [400, 501])
@pytest.mark.parametrize("found", [200, 404])
def test_a_keyserver_without_statistics_behind_a_login(status, found):
    """Hagrid behind a proxy that asks who it is: whoever is let in is told that nobody has such a key."""
    keys = guarded(Reply(404), LOGIN), guarded(Reply(status), LOGIN), guarded(Reply(found), LOGIN)
    with serve(lambda request: keys[("op=stats" in request.path) + 2 * ("op=index" in request.path)](request)) as server:
        verified, reason = proof(KeyserverLogin(server.url, LOGIN))
        assert verified is True, reason
        assert proof(KeyserverLogin(server.url, basic("alice", "wrong")))[0] is False


def test_a_keyserver_with_a_front_page_elsewhere():
    with serve(routes({"/": Reply(302, headers=[("Location", "https://www.invalid/")]), STATS: DEMANDS})) as server:
        assert proof(KeyserverLogin(server.url, LOGIN))[0] is True
        assert proof(KeyserverLogin(server.url, basic("alice", "wrong")))[0] is False
    with serve(routes({"/": Reply(302, headers=[("Location", "https://www.invalid/")])})) as server:
        assert "it answers a redirect to its uri, 404 Not Found to" in proof(KeyserverLogin(server.url, LOGIN))[1]


def test_a_keyserver_that_sends_to_another_server():
    with serve(DEMANDS) as other, serve(lambda request: OPEN if request.authorization else Reply(302, headers=[("Location", other.url)])) as server:
        assert proof(KeyserverLogin(server.url, LOGIN)) == (
            False, f"{server.url} redirects to {other.url}: if that is the right server, use its address")
        assert server.asked == ["/", f"{STATS}?op=stats"]
        assert not other.requests


def test_keyserver_login_by_tls(authority):
    with serve(DEMANDS, authority.context()) as server:
        assert proof(KeyserverLogin(server.url, LOGIN, insecure=True))[0] is True
        verified, reason = proof(KeyserverLogin(server.url, LOGIN))
        assert verified is False
        assert "give the CA's certificate as ca_path" in reason


@pytest.mark.parametrize(("uri", "url"), [
    ("hkp://k.example", "http://k.example:11371"), ("HKP://k.example:80/a", "http://k.example:80/a"), ("hkps://k.example/a/", "https://k.example/a/"),
    ("http://k.example/a/", "http://k.example/a/"),
])
def test_keyserver_urls(uri, url):
    assert _verification._keyserver_url(uri) == url


def test_a_keyserver_that_cannot_be_asked():
    assert proof(KeyserverLogin("ftp://joe:S3cret@k.example", LOGIN)) == (
        False, 'the keyserver uri "ftp://(hidden)@k.example" cannot be asked; write it like https://keys.example.org')


@pytest.mark.parametrize(("reply", "words"), [
    (OPEN, None), (Reply(204), None), (DEMANDS, None),
    (Reply(400), "answers 400 Bad Request to /pks/lookup?op=stats (perhaps for want of a client certificate: client_cert)"),
    (Reply(501), "answers 501 Not Implemented to /pks"),
    (Reply(404), "answers 404 Not Found to /pks/lookup?op=stats"), (rejects_all(401), "answers 401 Unauthorized to"),
])
def test_keyserver_problem(reply, words):
    with serve(routes({STATS: reply})) as server, Client(HttpOptions()) as client:
        reason = keyserver_problem(server.url + "/", False, LOGIN, client)
        assert reason == (f"the keyserver {server.url} {words}" + reason.partition(words)[2] if words else None)
        assert server.asked[0] == "/pks/lookup?op=stats Basic"


@pytest.mark.parametrize(("reply", "verified", "words"), [
    (HTML, True, "the keyserver URL answers"),
    (Reply(401), None, "answers 401 Unauthorized to /pks/lookup?op=stats: it wants a login"),
    (Reply(403), None, "answers 403 Forbidden to /pks/lookup?op=stats: it wants a login"),
    (Reply(404), False, "answers 404 Not Found"),
])  # fmt: skip
def test_a_keyserver_as_anyone_sees_it(reply, verified, words):
    with serve(lambda request: reply) as server:
        result, reason = proof(EndpointKeyserver(server.url))
        assert (result, server.asked) == (verified, ["/pks/lookup?op=stats"])
        assert words in reason.replace(server.url, "URL")
    assert "cannot be asked" in proof(EndpointKeyserver("k.example"))[1]


@pytest.mark.parametrize("status", [400, 501])
def test_keyserver_problem_without_statistics(status):
    """As keys.openpgp.org (Hagrid) answers."""
    with serve(lambda request: Reply(404 if "op=index" in request.path else status)) as server, Client(HttpOptions()) as client:
        assert keyserver_problem(server.url, False, "", client) is None
        assert len(server.asked) == 2


def test_keyserver_problem_that_is_not_there(authority):
    with Client(HttpOptions()) as client:
        assert "refuses the connection" in keyserver_problem(f"http://localhost:{web.free_port()}", False, "", client)
        assert "cannot be asked" in keyserver_problem("k.example", False, "", client)
        with serve(OPEN_ALL, authority.context()) as server:
            assert keyserver_problem(server.url, True, "", client) is None
            assert "ca_path" in keyserver_problem(server.url, False, "", client)


def OPEN_ALL(request):  # noqa: N802
    return OPEN


# Registries

@pytest.mark.parametrize(("host", "allowed"), [
    ("localhost", True), ("localhost:5000", True), ("LOCALHOST", True), ("127.0.0.1", True), ("127.1.2.3:5000", True), ("::1", True),
    ("[::1]:5000", True), ("[::1]", True), ("node.local", True), ("node.local:5000", True), ("x.localhost", True), ("10.1.2.3", True),
    ("172.31.0.1:443", True), ("192.168.0.1", True),
    ("registry.example", False), ("127.0.0.1.example", False), ("localhost.example:5000", False), ("172.32.0.1", False), ("8.8.8.8", False),
    ("[2001:db8::1]:5000", False), ("2001:db8::1", False), ("node.local.example", False), ("", False), ("notlocalhost", False),
])
def test_may_use_http(host, allowed):
    assert may_use_http(host, False) is allowed
    assert may_use_http(host, True) is True


def registry(v2):
    """What is proven at a plain http registry (nothing else speaks there), and what it was asked."""
    with serve(routes({"/v2/": v2})) as server:
        verified, reason = proof(RegistryLogin(server.host, "alice", PASSWORD))
    return verified, reason.replace(server.host, "HOST"), server.asked


@pytest.mark.parametrize(("v2", "verified", "words", "asked"), [
    (guarded(json_reply({}), LOGIN), True, "accepts the login", ["/v2/", "/v2/ Basic"]),
    (guarded(Reply(200), LOGIN), True, "accepts the login", ["/v2/", "/v2/ Basic"]),
    (guarded(json_reply({}), LOGIN, 'Negotiate, Digest realm="a, Bearer b", BASIC'), True, "accepts the login", ["/v2/", "/v2/ Basic"]),
    (guarded(json_reply({}), "other"), False, "rejects the login (401 Unauthorized): check user name and password", ["/v2/", "/v2/ Basic"]),
    (guarded(json_reply({}), "other", wrong=403), False, "rejects the login (403 Forbidden)", ["/v2/", "/v2/ Basic"]),
    (guarded(HTML, LOGIN), False, "answers a login with a web page, so it is not an OCI registry", ["/v2/", "/v2/ Basic"]),
    (guarded(Reply(500), LOGIN), False, "answers a login with 500 Internal Server Error, so it could not be checked", ["/v2/", "/v2/ Basic"]),
    (json_reply({}), None, "lets everyone in, so nothing checks the login", ["/v2/", "/v2/ Basic"]),
    (guarded(json_reply({}), ""), False, "rejects the login (401 Unauthorized)", ["/v2/", "/v2/ Basic"]),
    (HTML, False, "answers /v2/ with a web page, so it is not an OCI registry; check the host", ["/v2/"]),
    (Reply(404), False, "answers /v2/ with 404 Not Found, so it is probably not an OCI registry; check the host", ["/v2/"]),
    (Reply(400), False, "answers /v2/ with 400 Bad Request (perhaps for want of a client certificate: client_cert), with which", ["/v2/"]),
    (Reply(403), False, "answers /v2/ with 403 Forbidden, with which Apptainer cannot log in", ["/v2/"]),
    (Reply(429), False, "answers /v2/ with 429 Too Many Requests: it has too much to do; try again later", ["/v2/"]),
    (Reply(500), False, "answers /v2/ with 500 Internal Server Error: it has a problem of its own", ["/v2/"]),
    (guarded(json_reply({}), "", 'Digest realm="x"'), False, "rejects the login (401 Unauthorized)", ["/v2/", "/v2/ Basic"]),
    (guarded(json_reply({}), "", 'Bearer realm="x"', wrong=403), False, "rejects the login (403 Forbidden)", ["/v2/", "/v2/ Basic"]),
    (guarded(json_reply({}), "", "Bearer"), False, "demands a token, but does not say from where", ["/v2/", "/v2/ Basic"]),
    (Reply(401), False, "demands a login of a kind that Apptainer does not have", ["/v2/"]),
    (Reply(401, headers=[("WWW-Authenticate", "Negotiate")]), False, "demands a login of a kind", ["/v2/"]),
])
def test_registry(v2, verified, words, asked):
    result, reason, seen = registry(v2)
    assert result is verified, reason
    assert reason.startswith("http://HOST ")
    assert words in reason
    assert seen == asked


GOOD_TOKEN = "Bearer abc.def"
ASKED = ["/v2/", "/token?service=my+registry Basic", "/v2/ Bearer"]


CHALLENGE = 'Bearer realm="{url}/token",service="my registry",scope="repository:a:pull,push"'


def token_registry(token, accepted=(GOOD_TOKEN,), status=401, challenge=CHALLENGE):
    """A registry with a token service at itself."""
    def v2(request):
        if request.authorization in accepted:
            return json_reply({})
        return Reply(status if request.authorization else 401, headers=[("WWW-Authenticate", challenge.format(url=server.url, host=server.host))])

    with serve(routes({"/v2/": v2, "/token": token})) as server:
        verified, reason = proof(RegistryLogin(server.host, "alice", PASSWORD))
    return verified, reason.replace(server.url, "URL"), server.asked


TOKEN = json_reply({"token": "abc.def"})


@pytest.mark.parametrize(("token", "accepted", "verified", "words", "asked"), [
    (guarded(TOKEN, LOGIN), [GOOD_TOKEN], True, "accepts the login, by the token service URL", ASKED),
    (TOKEN, [GOOD_TOKEN], True, "accepts the login", ASKED),  # as Docker Hub, where everyone gets one
    (guarded(json_reply({"access_token": "abc.def"}), LOGIN), [GOOD_TOKEN], True, "accepts the login", ASKED),
    (guarded(TOKEN, "other"), [GOOD_TOKEN], False, "the token service URL rejects the login (401 Unauthorized): check", ASKED[:2]),
    (guarded(TOKEN, "other", wrong=403), [GOOD_TOKEN], False, "the token service URL rejects the login (403 Forbidden): check", ASKED[:2]),
    (guarded(Reply(404), LOGIN), [], False, "the token service URL answers a login with 404 Not Found, so it could not be checked", ASKED[:2]),
    (HTML, [], False, "answers a login with a web page", ASKED[:2]),
    (json_reply({}), [], False, "answers a login with something else than a token", ASKED[:2]),
    (json_reply({"token": 5}), [], False, "something else than a token", ASKED[:2]),
    (json_reply({"token": "a\r\nb"}), [], False, "something else than a token", ASKED[:2]),
    (json_reply(["token"]), [], False, "something else than a token", ASKED[:2]),
    (Reply(200), [], False, "something else than a token", ASKED[:2]),
    # the registry does not want the token
    (TOKEN, [LOGIN], True, "accepts the login", [*ASKED, "/v2/ Basic"]),  # as Harbor
    (guarded(TOKEN, LOGIN), [], True, "accepts the login, though a token without a scope does not open /v2/", [*ASKED, "/v2/ Basic", ASKED[1][:-6]]),
    (TOKEN, [], None, "gives tokens to everyone and the registry does not accept them for /v2/", [*ASKED, "/v2/ Basic", ASKED[1][:-6]]),
])
def test_registry_with_tokens(token, accepted, verified, words, asked):
    result, reason, seen = token_registry(token, accepted)
    assert result is verified, reason
    assert reason.startswith(("URL", "the token service URL"))
    assert words in reason
    assert seen == asked


def test_registry_that_fails_with_the_token():
    assert token_registry(TOKEN, (), 500)[:2] == (
        False, "URL answers a login with 500 Internal Server Error, so it could not be checked")


@pytest.mark.parametrize(("challenge", "verified", "words", "asked"), [
    ("Bearer service=x", False, "its realm is missing or not a URL", None),
    ('Bearer realm="/token"', False, "its realm is missing or not a URL", None),
    ('Bearer realm="ftp://x/token"', False, "its realm is missing or not a URL", None),
    ('Bearer realm="https://"', False, "its realm is missing or not a URL", None),
    ('Bearer realm="https://[x"', False, "its realm is missing or not a URL", None),
    ('Bearer realm="https://a b/"', False, "URL sends for a token to its token service: \"https://a b/", None),
    ('Bearer realm="https://a b/"', False, "is not an address that can be asked", None),
    ('Bearer realm="http://a b/"', False, "by plain http, so it was not; its realm must be https", None),
    ('Bearer realm="{url}/token?x=y&amp=&service=old",service="new=&"', True, "accepts", "/token?x=y&amp=&service=new%3D%26"),
    ('Negotiate, Bearer realm={url}/token', True, "accepts", "/token"),
    ('Bearer realm="http://joe@{host}/token#x", Basic', True, "accepts", "/token"),
])
def test_realms(challenge, verified, words, asked):
    result, reason, seen = token_registry(guarded(TOKEN, LOGIN), challenge=challenge)
    assert result is verified, reason
    assert words in reason
    assert seen[1:2] == ([f"{asked} Basic"] if asked else [])


@pytest.mark.parametrize(("token", "verified", "words", "asked"), [
    (guarded(TOKEN, LOGIN), True, "accepts the login, by the token service URL", ASKED),
    (guarded(TOKEN, "other"), False, "the token service URL rejects the login (401 Unauthorized): check user name and password", ASKED[:2]),
])
def test_an_open_registry_that_sends_a_login_to_its_token_service(token, verified, words, asked):
    result, reason, seen = token_registry(token, ("", GOOD_TOKEN))
    assert result is verified, reason
    assert words in reason
    assert seen == ["/v2/", "/v2/ Basic", *asked[1:]]


def test_a_registry_that_sends_to_another_server(authority):
    """Who stands between the client and some server that redirects shall not name the place that gets the password."""
    def demands(request):
        return Reply(401, headers=[("WWW-Authenticate", f'Bearer realm="{other.url}/token"')])

    def to_other(request):
        return json_reply({}) if request.authorization else Reply(302, headers=[("Location", other.url + "/v2/")])

    for context in (None, authority.context()):
        with serve(demands, context) as other, serve(to_other, context) as server:
            assert proof(RegistryLogin(server.host, "alice", PASSWORD), ca_path=authority.ca) == (
                False, f"{server.url} redirects to {other.url}: if that is the right server, use its address")
            assert server.asked == ["/v2/"]
            assert not other.requests


def test_a_token_service_that_sends_others_to_another_server():
    """To a log-in page: so it does not give tokens to everyone."""
    def token(request):
        return TOKEN if request.authorization else Reply(302, headers=[("Location", "http://sso.invalid/")])

    assert token_registry(token, ())[0] is True


def test_a_token_service_that_cannot_be_reached():
    url = f"http://localhost:{web.free_port()}"
    verified, reason, asked = token_registry(TOKEN, challenge=f'Bearer realm="{url}/token"')
    assert (verified, asked) == (False, ["/v2/"])
    assert reason == f"URL sends for a token to its token service: {url} refuses the connection: check that the server runs, and its port"


def test_realm_on_another_host(authority):
    with serve(guarded(TOKEN, LOGIN), authority.context()) as realm:
        challenge = f'Bearer realm="https://127.0.0.1:{realm.port}/token"'
        with serve(routes({"/v2/": guarded(json_reply({}), GOOD_TOKEN, challenge)}), authority.context()) as server:
            assert proof(RegistryLogin(server.host, "alice", PASSWORD), ca_path=authority.ca) == (
                True, f"{server.url} accepts the login, by the token service https://127.0.0.1:{realm.port}")


def test_realm_by_plain_http(authority):
    with serve(guarded(TOKEN, LOGIN)) as realm:
        challenge = f'Bearer realm="{realm.url}/token"'
        with serve(routes({"/v2/": guarded(json_reply({}), GOOD_TOKEN, challenge)}), authority.context()) as server:
            for insecure in (False, True):
                verified, reason = proof(RegistryLogin(server.host, "alice", PASSWORD, insecure), ca_path=authority.ca)
                assert verified is False
                assert reason == (f"{server.url} wants the password sent to its token service {realm.url} by plain http, "
                                  "so it was not; its realm must be https")
            assert not realm.requests


@pytest.mark.parametrize(("realm", "insecure", "allowed"), [
    ("http://tokens.example/", False, False), ("http://tokens.example/", True, True), ("http://joe@tokens.example:80/", False, False),
    ("http://localhost@tokens.example/", False, False), ("http://10.0.0.1:5001/", False, True), ("http://joe@localhost/", False, True),
    ("https://tokens.example/", False, True),
])
def test_realm_by_plain_http_of_a_registry_by_plain_http(realm, insecure, allowed):
    asked = []

    def get(url, authorization="", *args, **options):
        asked.append((url, authorization))
        if url.startswith("https://r.local"):
            raise NotTlsError("no TLS")
        return Response(url, 401, "", f'Bearer realm="{realm}"', b"")

    with Client(HttpOptions()) as client:
        client.get = get
        verified, reason = verify_claim(RegistryLogin("r.local", "alice", PASSWORD, insecure), client)
    assert verified is False
    assert ("by plain http, so it was not; its realm must be https" in reason) != allowed
    assert asked == [("https://r.local/v2/", ""), ("http://r.local/v2/", ""), (realm, LOGIN)][:3 if allowed else 2]


def test_no_plain_http_after_a_redirect(authority):
    """What a redirect leads to speaks no TLS: that says nothing of the registry itself."""
    port = web.free_port()
    with serve(lambda request: Reply(302, headers=[("Location", f"https://localhost:{port}/v2/")]), authority.context()) as server, \
            Client(HttpOptions(ca_path=authority.ca)) as client:
        ask, asked = client.get, []
        client.get = lambda url, **options: asked.append(url) or ask(url)  # which follows
        verified, reason = verify_claim(RegistryLogin(server.host, "alice", PASSWORD, True), client)
    assert (verified, asked) == (False, [f"{server.url}/v2/"])
    assert reason == f"{server.url} redirects: https://localhost:{port} refuses the connection: check that the server runs, and its port"


def test_no_plain_http_after_a_certificate_error(authority):
    with serve(guarded(json_reply({}), LOGIN), authority.context()) as server:
        verified, reason = proof(RegistryLogin(server.host, "alice", PASSWORD, True))
        assert verified is False
        assert reason.startswith(f"https://{server.host} has a certificate of an authority that is not known here")
        assert not server.requests


def test_plain_http_only_where_allowed():
    port = web.free_port()
    assert proof(RegistryLogin(f"localhost:{port}", "alice", PASSWORD)) == (
        False, f"https://localhost:{port} refuses the connection: check that the server runs, and its port")
    with Client(HttpOptions()) as client:
        client.get = lambda url, **options: (_ for _ in ()).throw(NotTlsError(f"{url} refuses"))
        assert verify_claim(RegistryLogin("r.example", "alice", PASSWORD), client) == (
            False, "https://r.example/v2/ refuses (plain http is only tried for local addresses, or with insecure: true)")
        assert verify_claim(RegistryLogin("r.example", "alice", PASSWORD, True), client) == (False, "https://r.example/v2/ refuses")


@pytest.mark.parametrize("host", ["docker.io", "index.docker.io", "registry-1.docker.io"])
def test_docker_hub(host):
    asked = []

    def get(url, **options):
        asked.append(url)
        raise NetworkError("no network")

    with Client(HttpOptions()) as client:
        client.get = get
        assert verify_claim(RegistryLogin(host, "alice", PASSWORD), client) == (False, "no network")
    assert asked == ["https://registry-1.docker.io/v2/"]


@pytest.mark.parametrize("status", [200, 302, 401, 403, 500])
def test_servers_that_say_the_secret_everywhere(status):
    def answers(request):
        if request.path == DOCUMENT:
            return json_reply({"tokenAPI": {"uri": server.url}})
        return web.echo(status)(request) if request.authorization else Reply(401, headers=[("WWW-Authenticate", f'Bearer realm="{server.url}/t"')])

    with serve(answers) as server:
        for secret in (EndpointToken("x", f"//{server.host}", True, PASSWORD), KeyserverLogin(server.url, LOGIN),
                       RegistryLogin(server.host, "alice", PASSWORD)):
            proof(secret)  # which looks at the reason


@pytest.mark.parametrize("word", ["\ud800", "a\udfff", "\U0001f600\ud83d"])
def test_what_is_stored_as_half_a_character_cannot_be_sent(word):
    with serve(guarded(json_reply({}), "other")) as server:
        unsent = (False, "what is stored has characters that cannot be sent; log in again")
        assert proof(RegistryLogin(server.host, word, PASSWORD)) == unsent
        assert proof(RegistryLogin(server.host, "alice", word)) == unsent
        assert not any(request.authorization for request in server.requests)
        # such a header or address is no more than wrong
        for secret in (KeyserverLogin(server.url, "Bearer " + word), EndpointToken("x", f"//{server.host}", True, word),
                       KeyserverLogin(server.url.replace("//", f"//{word}@"), LOGIN), RegistryLogin(word, "alice", PASSWORD),
                       EndpointToken("x", f"//{word}@{server.host}", True, PASSWORD)):
            assert proof(secret)[0] is False


# Services of an endpoint

@pytest.mark.parametrize(("reply", "version", "error"), [
    (json_reply({"data": {"version": "v1.0.0", "apiVersion": "2.0.0-alpha.2"}}), "v1.0.0", None),
    (json_reply({"data": {"version": "v" * 200}}), "v" * 100, None),
    (Reply(404), None, "answers 404 Not Found"),
    (HTML, None, "answers with something else than a version"),
    (json_reply([]), None, "answers with something else than a version"),
    (json_reply({"data": "x"}), None, "answers with something else than a version"),
    (json_reply({"data": {"version": ""}}), None, "answers with something else than a version"),
])
def test_check_services(reply, version, error):
    with serve(routes({"/l/version": reply})) as server, Client(HttpOptions()) as client:
        found = check_services(Services("https://e.example", {"library": f"{server.url}/l/", "builder": ""}), client)
        assert server.asked == ["/l/version"]
    assert found == [ServiceStatus("builder", "", None, "https://e.example offers a builder service, but its uri is empty"),
                     ServiceStatus("library", f"{server.url}/l/", version, error and f"{server.url}/l/version {error}")]


def test_check_services_is_bounded():
    def slow(request):
        server.pause(5)
        return Reply(200)

    with serve(slow) as server, Client(HttpOptions(timeout=0.2)) as client:
        assert "did not answer within 0.2 seconds" in check_services(Services("", {"library": server.url}), client)[0].error
        client.get = lambda url: time.sleep(1)
        (status,) = check_services(Services("", {"library": server.url}), client)
        assert status.error == f"the library service did not answer within 0.2 seconds{LATE}"
        found = check_services(Services("", {f"s{number}": "" for number in range(100)}), client)
        assert len(found) == 32
