# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Good and bad logins at registries that answer as real ones do, and at some that do not."""

from __future__ import annotations

import base64
import json

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import NetworkError
from ansible_collections.hpc.apptainer.plugins.module_utils._network.client import Client, Response
from ansible_collections.hpc.apptainer.plugins.module_utils._network.errors import NotTlsError
from ansible_collections.hpc.apptainer.plugins.module_utils._network.http_options import HttpOptions
from ansible_collections.hpc.apptainer.plugins.module_utils._network.registries import may_use_http, registry_problem
from ansible_collections.hpc.apptainer.plugins.module_utils._network.verdict import Verdict
from ansible_collections.hpc.apptainer.plugins.module_utils._network.verification import verify_claim
from ansible_collections.hpc.apptainer.plugins.module_utils._values.claims import RegistryLogin
from support import web
from support.asking import LOGIN, PASSWORD, REFUSES, verdict
from support.tables import table
from support.web import HTML, Reply, guarded, json_reply, routes, serve


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
    """The verdict on a login to a plain http registry (nothing there speaks TLS), and what was asked of it."""
    with serve(routes({"/v2/": v2})) as server:
        verified, reason, _warning = verdict(RegistryLogin(server.host, "alice", PASSWORD))
    return verified, reason.replace(server.host, "HOST"), server.asked


@pytest.mark.parametrize(("v2", "verified", "words", "asked"), table([
    ("accepted", guarded(json_reply({}), LOGIN), True, "accepts the login", ["/v2/", "/v2/ Basic"]),
    ("accepted without a word", guarded(Reply(200), LOGIN), True, "accepts the login", ["/v2/", "/v2/ Basic"]),
    ("accepted, other kinds offered too", guarded(json_reply({}), LOGIN, 'Negotiate, Digest realm="a, Bearer b", BASIC'), True,
     "accepts the login", ["/v2/", "/v2/ Basic"]),
    ("rejected", guarded(json_reply({}), "other"), False, "rejects the login (401 Unauthorized): check user name and password",
     ["/v2/", "/v2/ Basic"]),
    ("rejected by 403", guarded(json_reply({}), "other", wrong=403), False, "rejects the login (403 Forbidden)", ["/v2/", "/v2/ Basic"]),
    ("a web page with the login", guarded(HTML, LOGIN), False, "answers the login with a web page, so it is not an OCI registry; check the host",
     ["/v2/", "/v2/ Basic"]),
    ("an error with the login", guarded(Reply(500), LOGIN), False,
     "answers the login with 500 Internal Server Error, so it could not be verified; see that server's log", ["/v2/", "/v2/ Basic"]),
    ("open", json_reply({}), None, "lets everyone in, so the login could not be verified", ["/v2/", "/v2/ Basic"]),
    ("open, but not with it", guarded(json_reply({}), ""), False, "rejects the login (401 Unauthorized)", ["/v2/", "/v2/ Basic"]),
    ("a web page", HTML, False, "answers /v2/ with a web page, so it is not an OCI registry; check the host", ["/v2/"]),
    ("404", Reply(404), False, "answers /v2/ with 404 Not Found, so it is probably not an OCI registry; check the host", ["/v2/"]),
    ("400", Reply(400), False,
     "answers /v2/ with 400 Bad Request (it may require a client certificate: set client_cert), so Apptainer cannot log in; check", ["/v2/"]),
    ("403", Reply(403), False, "answers /v2/ with 403 Forbidden, so Apptainer cannot log in; check the host", ["/v2/"]),
    ("429", Reply(429), False, "answers /v2/ with 429 Too Many Requests: it is rate limiting; try again later", ["/v2/"]),
    ("500", Reply(500), False, "answers /v2/ with 500 Internal Server Error: server error; see its log", ["/v2/"]),
    ("open, but Digest with it", guarded(json_reply({}), "", 'Digest realm="x"'), False, "rejects the login (401 Unauthorized)",
     ["/v2/", "/v2/ Basic"]),
    ("open, but 403 with it", guarded(json_reply({}), "", 'Bearer realm="x"', wrong=403), False, "rejects the login (403 Forbidden)",
     ["/v2/", "/v2/ Basic"]),
    ("open, but Bearer with it", guarded(json_reply({}), "", "Bearer"), False, "requires a token but does not say where to get one",
     ["/v2/", "/v2/ Basic"]),
    ("401 and no kind", Reply(401), False, "answers /v2/ with 401 Unauthorized and does not say how to log in (it has no WWW-Authenticate header): a "
     "proxy in front of the registry may drop that header; correct its configuration", ["/v2/"]),
    ("502", Reply(502), False, "answers /v2/ with 502 Bad Gateway: it is a proxy, and the server behind it does not answer; check that one",
     ["/v2/"] * 3),
    ("401 and another kind", Reply(401, headers=[("WWW-Authenticate", "Negotiate")]), False, "requires a kind of login that Apptainer does "
     "not support (neither Basic nor Bearer)", ["/v2/"]),
]))
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
        verified, reason, _warning = verdict(RegistryLogin(server.host, "alice", PASSWORD))
    return verified, reason.replace(server.url, "URL"), server.asked


TOKEN = json_reply({"token": "abc.def"})


@pytest.mark.parametrize(("v2", "words"), [
    (guarded(json_reply({}), LOGIN), ""), (json_reply({}), ""), (HTML, "answers /v2/ with a web page, so it is not an OCI registry; check the host"),
    (Reply(404), "answers /v2/ with 404 Not Found, so it is probably not an OCI registry; check the host"),
], ids=["it wants a login", "open", "a web page", "not found"])
def test_a_registry_as_such(v2, words):
    """Whether it is one, without a login: one that rejects everybody works."""
    with serve(routes({"/v2/": v2})) as server, Client(HttpOptions()) as client:
        problem = registry_problem(server.host, False, client)
        assert server.asked == ["/v2/"]
    assert problem == (f"{server.url} {words}" if words else None)


def test_a_registry_that_is_not_there():
    with Client(HttpOptions()) as client:
        assert registry_problem(f"localhost:{web.free_port()}", False, client).endswith(REFUSES)


@pytest.mark.parametrize("host", ["169.254.169.254", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "[fe80::1]", "[::ffff:169.254.169.254]"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_realm_at_an_address_for_no_secret(host, scheme):
    """Also where `insecure` lets the password go anywhere by plain http."""
    with serve(lambda request: Reply(401, headers=[("WWW-Authenticate", f'Bearer realm="{scheme}://{host}/token"')])) as server:
        verified, reason, _warning = verdict(RegistryLogin(server.host, "alice", PASSWORD, insecure=True))
    assert (verified, server.asked) == (False, ["/v2/"])
    assert f"requires a token, but {scheme}://{host} was not asked: no password or token is sent to a link-local address" in reason


LONG = "x" * 60_000


@pytest.mark.parametrize(("challenge", "words"), table([
    ("a host", f'Bearer realm="http://{LONG}.invalid/"', f"http://{LONG[:200]}... has a host name that is not valid: correct the address"),
    ("a host by https", f'Bearer realm="https://{LONG}.invalid/"', f"https://{LONG[:200]}..."),
    ("a path", f'Bearer realm="{{url}}/{LONG}"', f"/{LONG[:100]}"),
    ("no address", f'Bearer realm="http://a b{LONG}/"', f'"http://a b{LONG[:190]}..." is not a valid address'),
    ("a service", f'Bearer realm="{{url}}/token",service="{LONG}"', "404 Not Found"),
    ("a scheme", f"{LONG} realm=x", "requires a kind of login that Apptainer does not support"),
]))
def test_what_a_registry_says_is_cut(challenge, words):
    def v2(_request):
        return Reply(401, headers=[("WWW-Authenticate", challenge.replace("{url}", server.url))])

    with serve(routes({"/v2/": v2})) as server:
        verified, reason, _warning = verdict(RegistryLogin(server.host, "alice", PASSWORD, insecure=True))
    assert verified is False
    assert words in reason
    assert len(reason) < 1000


def test_another_login_of_a_long_name_is_cut():
    def v2(request):
        return Reply(401, headers=[("WWW-Authenticate", f"{LONG} realm=x" if request.authorization else "Basic realm=front")])

    verified, reason, _asked = registry(v2)
    assert verified is False
    assert f"demanding another one (X{LONG[:39]}...)" in reason
    assert len(reason) < 1000


ASKED_TWICE = [*ASKED, ASKED[1][:-6]]
REALM = "so it could not be verified: the realm of URL is set up wrongly; correct it in the registry's configuration"
UNDECIDED = "so it could not be verified; see that server's log"


@pytest.mark.parametrize(("token", "accepted", "verified", "words", "asked"), table([
    ("accepted", guarded(TOKEN, LOGIN), [GOOD_TOKEN], True, "accepts the login, through the token service URL", ASKED_TWICE),
    ("everyone gets this token", TOKEN, [GOOD_TOKEN], None, "the token service URL issues tokens to everyone and the registry accepts them all, so "
     "the login could not be verified", ASKED_TWICE),
    ("access_token", guarded(json_reply({"access_token": "abc.def"}), LOGIN), [GOOD_TOKEN], True, "accepts the login", ASKED_TWICE),
    ("rejected", guarded(TOKEN, "other"), [GOOD_TOKEN], False, "the token service URL rejects the login (401 Unauthorized): check", ASKED[:2]),
    ("rejected by 403", guarded(TOKEN, "other", wrong=403), [GOOD_TOKEN], False, "the token service URL rejects the login (403 Forbidden): check",
     ASKED[:2]),
    ("404", guarded(Reply(404), LOGIN), [], False, f"the token service URL/token answers the login with 404 Not Found, {REALM}", ASKED[:2]),
    ("405", guarded(json_reply({}, 405), LOGIN), [], False, f"URL/token answers the login with 405 Method Not Allowed, {REALM}", ASKED[:2]),
    ("422", guarded(Reply(422), LOGIN), [], False, f"URL/token answers the login with 422 Unprocessable Entity, {REALM}", ASKED[:2]),
    ("429", guarded(Reply(429), LOGIN), [], False, "answers the login with 429 Too Many Requests: it is rate limiting; try again later", ASKED[:2]),
    ("500", guarded(Reply(500), LOGIN), [], False, f"answers the login with 500 Internal Server Error, {UNDECIDED}", ASKED[:2]),
    ("a web page", HTML, [], False, f"the token service URL/token answers the login with a web page, {REALM}", ASKED[:2]),
    ("no token", json_reply({}), [], False, f"answers the login with something other than a token, {UNDECIDED}", ASKED[:2]),
    ("a number", json_reply({"token": 5}), [], False, "something other than a token", ASKED[:2]),
    ("a line break in the token", json_reply({"token": "a\r\nb"}), [], False, "something other than a token", ASKED[:2]),
    ("a list", json_reply(["token"]), [], False, "something other than a token", ASKED[:2]),
    ("nothing", Reply(200), [], False, "something other than a token", ASKED[:2]),
    # the registry does not accept the token
    ("only the login opens /v2/, as at Harbor", TOKEN, [LOGIN], True, "accepts the login", [*ASKED, "/v2/ Basic"]),
    ("only the token service accepts the login", guarded(TOKEN, LOGIN), [], True,
     "accepts the login, although the registry does not accept a token without a scope for /v2/", [*ASKED, "/v2/ Basic", ASKED[1][:-6]]),
    ("nobody checks the login", TOKEN, [], None, "issues tokens to everyone and the registry does not accept them for /v2/, so the login could not",
     [*ASKED, "/v2/ Basic", ASKED[1][:-6]]),
]))
def test_registry_with_tokens(token, accepted, verified, words, asked):
    result, reason, seen = token_registry(token, accepted)
    assert result is verified, reason
    assert reason.startswith(("URL", "the token service URL"))
    assert words in reason
    assert seen == asked


LARGE = 10 ** 4000  # in base64 still an HTTP header; Python converts no more than 4,300 digits


def jwt(**claims):
    """A JSON Web Token, with a signature that nobody checks here."""
    return "e30." + base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=") + ".c2ln"


HUB = {"iss": "auth.docker.io", "aud": "registry.docker.io", "access": []}
EVERYONE = "issues tokens to everyone and the registry accepts them all, so the login could not be verified"


@pytest.mark.parametrize(("mine", "anonymous", "accepted", "verified", "words"), table([
    ("Docker Hub", jwt(**HUB, sub="0f5d9f64-5b5e", jti="a"), jwt(**HUB, sub="", jti="b"), "both", True, "accepts the login, through the token"),
    ("Quay", jwt(sub="alice"), jwt(sub="(anonymous)"), "both", True, "accepts the login"),
    ("Gitea", jwt(UserID=7, exp=1), jwt(UserID=-1, exp=2), "both", True, "accepts the login"),
    ("a number beyond all bounds", jwt(uid=LARGE), jwt(uid=0), "both", True, "accepts the login"),
    ("only the time differs", jwt(sub="", exp=1), jwt(sub="", exp=2), "both", None, EVERYONE),
    ("Nexus", "DockerToken.1", "DockerToken.2", "both", None, EVERYONE),
    ("Nexus, whatever the password", "DockerToken.1", "DockerToken.1", "both", None, EVERYONE),
    ("no JSON in it", "a.b.c", "a.b.d", "both", None, EVERYONE),
    ("a list in it", "a.W10.c", "a.W10.d", "both", None, EVERYONE),
    ("anonymous tokens open nothing", "t1", "t2", "mine", True, "accepts the login, through the token service"),
    ("no token opens /v2/", "t1", "t2", "none", None, "issues tokens to everyone and the registry does not accept them for /v2/, so the login"),
    ("no token opens /v2/, but they name somebody", jwt(sub="alice"), jwt(sub=""), "none", True, "accepts the login, although the registry"),
]))
def test_a_token_service_that_gives_tokens_to_everyone(mine, anonymous, accepted, verified, words):
    """Whether that says anything of a login shows in the tokens, and in what the registry makes of them; no wrong password is sent."""
    good = {"both": [mine, anonymous], "mine": [mine], "none": []}[accepted]
    result, reason, seen = token_registry(lambda request: json_reply({"token": mine if request.authorization else anonymous}),
                                          [f"Bearer {token}" for token in good])
    assert result is verified, reason
    assert words in reason
    assert len(seen) <= 5


@pytest.mark.parametrize(("anonymous", "verified"), table([
    ("401", Reply(401), True),
    ("403", Reply(403), True),
    ("400", Reply(400), True),
    ("no token", json_reply({"details": "log in"}), True),
    ("a web page", HTML, True),
    ("a redirect elsewhere", Reply(302, headers=[("Location", "http://sso.invalid/")]), True),
    ("429", Reply(429), None),
    ("500", Reply(500), None),
]))
def test_a_token_service_that_gives_nobody_a_token(anonymous, verified):
    assert token_registry(lambda request: TOKEN if request.authorization else anonymous)[0] is verified


@pytest.mark.parametrize(("realm", "verified"), [
    ("https://auth.docker.io/token", True), ("https://ghcr.io/token", True), ("https://quay.io/v2/auth", True),
    ("https://tokens.example/token", None),
])
def test_token_services_that_are_known_to_refuse_wrong_logins(realm, verified):
    """GHCR gives anonymous users a token that looks no different."""
    def get(url, authorization="", *args, **options):
        if url.startswith(realm):
            return Response(url, 200, "", "", json.dumps({"token": "t1" if authorization else "t2"}).encode())
        return Response(url, 200 if authorization else 401, "", f'Bearer realm="{realm}"', b"")

    with Client(HttpOptions()) as client:
        client.get = get
        assert verify_claim(RegistryLogin("r.example", "alice", PASSWORD), client).verified is verified


@pytest.mark.parametrize(("behind", "kind"), [('Bearer realm="https://x.example/token"', "Bearer"), ('Basic realm="registry"', "Basic")])
def test_a_login_in_front_of_another_one(behind, kind):
    """As nginx with Basic authentication in front of a registry with its own."""
    def answer(request):
        return Reply(401, headers=[("WWW-Authenticate", behind if request.authorization == LOGIN else 'Basic realm="front"')])

    words = (f"http://HOST answers the login by demanding another one ({kind}): something in front of it seems to accept this login, and Apptainer "
             "can send only one of the two; remove the login in front, or use the address behind it")
    assert registry(answer)[:2] == (False, words)
    assert registry(lambda request: Reply(401, headers=[("WWW-Authenticate", 'Basic realm="front"')]))[1].endswith("check user name and password")


def test_registry_that_fails_with_the_token():
    assert token_registry(TOKEN, (), 500)[:2] == (
        False, f"URL answers the login with 500 Internal Server Error, {UNDECIDED}")


@pytest.mark.parametrize(("challenge", "verified", "words", "asked"), table([
    ("none", "Bearer service=x", False, "its realm is missing or not a URL", None),
    ("a path", 'Bearer realm="/token"', False, "its realm is missing or not a URL", None),
    ("another scheme", 'Bearer realm="ftp://x/token"', False, "its realm is missing or not a URL", None),
    ("no host", 'Bearer realm="https://"', False, "its realm is missing or not a URL", None),
    ("half an address", 'Bearer realm="https://[x"', False, "its realm is missing or not a URL", None),
    ("a space", 'Bearer realm="https://a b/"', False, 'URL requires a token, but "https://a b/" is not a valid address', None),
    ("a space, by http", 'Bearer realm="http://a b/"', False, "over plain http, so it was not sent; its realm must use https", None),
    ("a query", 'Bearer realm="{url}/token?x=y&amp=&service=old",service="new=&"', True, "accepts", "/token?x=y&amp=&service=new%3D%26"),
    ("after another kind", 'Negotiate, Bearer realm={url}/token', True, "accepts", "/token"),
    ("a user name and a fragment", 'Bearer realm="http://joe@{host}/token#x", Basic', True, "accepts", "/token"),
]))
def test_realms(challenge, verified, words, asked):
    result, reason, seen = token_registry(guarded(TOKEN, LOGIN), challenge=challenge)
    assert result is verified, reason
    assert words in reason
    assert seen[1:2] == ([f"{asked} Basic"] if asked else [])


@pytest.mark.parametrize(("token", "verified", "words", "asked"), table([
    ("right", guarded(TOKEN, LOGIN), True, "accepts the login, through the token service URL", ASKED),
    ("wrong", guarded(TOKEN, "other"), False, "the token service URL rejects the login (401 Unauthorized): check user name and password", ASKED[:2]),
]))
def test_an_open_registry_that_sends_a_login_to_its_token_service(token, verified, words, asked):
    result, reason, seen = token_registry(token, ("", GOOD_TOKEN))
    assert result is verified, reason
    assert words in reason
    assert seen == ["/v2/", "/v2/ Basic", *asked[1:], *([ASKED[1][:-6]] if verified else [])]


def test_a_registry_that_sends_to_another_server(authority):
    """Who stands between the client and some server that redirects shall not name the place that gets the password."""
    def demands(request):
        return Reply(401, headers=[("WWW-Authenticate", f'Bearer realm="{other.url}/token"')])

    def to_other(request):
        return json_reply({}) if request.authorization else Reply(302, headers=[("Location", other.url + "/v2/")])

    for context in (None, authority.context()):
        with serve(demands, context) as other, serve(to_other, context) as server:
            assert verdict(RegistryLogin(server.host, "alice", PASSWORD), ca_path=authority.ca) == Verdict(
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
    assert reason == f"URL requires a token, but {url} {REFUSES}"


def test_realm_on_another_host(authority):
    with serve(guarded(TOKEN, LOGIN), authority.context()) as realm:
        challenge = f'Bearer realm="https://127.0.0.1:{realm.port}/token"'
        with serve(routes({"/v2/": guarded(json_reply({}), GOOD_TOKEN, challenge)}), authority.context()) as server:
            assert verdict(RegistryLogin(server.host, "alice", PASSWORD), ca_path=authority.ca) == Verdict(
                True, f"{server.url} accepts the login, through the token service https://127.0.0.1:{realm.port}")


def test_realm_by_plain_http(authority):
    with serve(guarded(TOKEN, LOGIN)) as realm:
        challenge = f'Bearer realm="{realm.url}/token"'
        with serve(routes({"/v2/": guarded(json_reply({}), GOOD_TOKEN, challenge)}), authority.context()) as server:
            for insecure in (False, True):
                verified, reason, _warning = verdict(RegistryLogin(server.host, "alice", PASSWORD, insecure), ca_path=authority.ca)
                assert verified is False
                assert reason == (f"{server.url} wants the password sent to its token service {realm.url} over plain http, "
                                  "so it was not sent; its realm must use https (insecure: true does not change that, as the registry itself uses "
                                  "https)")
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
        verified, reason, _warning = verify_claim(RegistryLogin("r.local", "alice", PASSWORD, insecure), client)
    assert verified is False
    assert ("over plain http, so it was not sent; its realm must use https (or, where everybody on the network may see the password, set "
            "insecure: true)" in reason) != allowed
    assert asked == [("https://r.local/v2/", ""), ("http://r.local/v2/", ""), (realm, LOGIN)][:3 if allowed else 2]


def test_no_plain_http_after_a_redirect(authority):
    """What a redirect leads to speaks no TLS: that says nothing of the registry itself."""
    port = web.free_port()
    with serve(lambda request: Reply(302, headers=[("Location", f"https://localhost:{port}/v2/")]), authority.context()) as server, \
            Client(HttpOptions(ca_path=authority.ca)) as client:
        ask, asked = client.get, []
        client.get = lambda url, **options: asked.append(url) or ask(url)  # which follows
        verified, reason, _warning = verify_claim(RegistryLogin(server.host, "alice", PASSWORD, True), client)
    assert (verified, asked) == (False, [f"{server.url}/v2/"])
    assert reason == f"{server.url} redirects, and https://localhost:{port} {REFUSES}"


def test_no_plain_http_after_a_certificate_error(authority):
    with serve(guarded(json_reply({}), LOGIN), authority.context()) as server:
        verified, reason, _warning = verdict(RegistryLogin(server.host, "alice", PASSWORD, True))
        assert verified is False
        assert reason.startswith(f"https://{server.host} has a certificate from an authority that is not trusted here")
        assert not server.requests


def test_plain_http_only_where_allowed():
    def refuse(url, **_options):
        raise NotTlsError(f"{url} refuses")

    port = web.free_port()
    assert verdict(RegistryLogin(f"localhost:{port}", "alice", PASSWORD)) == Verdict(
        False, f"https://localhost:{port} {REFUSES}")
    with Client(HttpOptions()) as client:
        client.get = refuse
        assert verify_claim(RegistryLogin("r.example", "alice", PASSWORD), client) == Verdict(
            False, "https://r.example/v2/ refuses (plain http is only tried for local addresses, or with insecure: true)")
        assert verify_claim(RegistryLogin("r.example", "alice", PASSWORD, True), client) == Verdict(False, "https://r.example/v2/ refuses")


@pytest.mark.parametrize("host", ["docker.io", "index.docker.io", "registry-1.docker.io"])
def test_docker_hub(host):
    asked = []

    def get(url, **options):
        asked.append(url)
        raise NetworkError("no network")

    with Client(HttpOptions()) as client:
        client.get = get
        assert verify_claim(RegistryLogin(host, "alice", PASSWORD), client) == Verdict(False, "no network")
    assert asked == ["https://registry-1.docker.io/v2/"]
