# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where redirects lead, and where nothing is sent to."""

from __future__ import annotations

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import NetworkError
from ansible_collections.hpc.apptainer.plugins.module_utils._network.client import Client, Response, _Attempt
from ansible_collections.hpc.apptainer.plugins.module_utils._network.http_options import HttpOptions
from support import web
from support.asking import ENCODED, LOGIN, PASSWORD, REFUSES, get, get_error
from support.tables import table
from support.web import Reply, json_reply, serve

NO_PLACE = {
    "a link-local address": [
        "169.254.169.254", "169.254.0.1", "2852039166", "0xa9fea9fe", "0XA9FEA9FE", "0251.0376.0251.0376", "025177524776", "169.254.43518",
        "169.16689662",
        "0xa9.254.0251.254", "[fe80::1]", "[febf::]", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[::169.254.169.254]",
        "[::ffff:0:169.254.169.254]", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::1]", "\uff11\uff16\uff19.254.169.254",
        "\u2460\u2465\u2468.254.169.254", "169.254.169.254.",
    ],
    "an address that stands for no machine": ["0.0.0.0", "0", "0x0", "[::]"],
    "an address that is not written as four decimal numbers": [
        "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.0.1", "017700000001", "10.1", "167772161", "010.0.0.1", "134744072",
        "\uff11\uff12\uff17.0.0.1"],
}
A_PLACE = ["127.0.0.1", "10.0.0.1", "192.168.1.1", "8.8.8.8", "[::1]", "[2001:db8::1]", "[fd00::1]", "[::ffff:127.0.0.1]", "[::ffff:8.8.8.8]",
           "localhost", "registry.example.org", "1e100.net", "1.cafe", "169.254.169.254.example.org", "0xa9fea9fe.example.org", "1.2.3.4.5",
           "256.0.0.1",
           "99999999999", "feed"]


@pytest.mark.parametrize(("host", "hazard"), [(host, hazard) for hazard, hosts in NO_PLACE.items() for host in hosts])
@pytest.mark.parametrize("form", ["https://{}/", "http://{}:8443/v2/?a=b", "https://alice:" + PASSWORD + "@{}/"], ids=["https", "a port", "a login"])
def test_no_credential_is_sent_to_such_addresses(host, hazard, form, monkeypatch):
    """Whoever names them: a realm, a document of services, a file, or a task."""
    monkeypatch.setattr(Client, "_once", lambda *_arguments: pytest.fail("it was asked"))
    error = str(get_error(form.format(host), "" if "@" in form else LOGIN))
    assert error.endswith(f" was not asked: no password or token is sent to {hazard}; use the server's name, or another address")


@pytest.mark.parametrize("host", A_PLACE)
def test_credentials_are_sent_to_others(host, monkeypatch):
    monkeypatch.setattr(Client, "_once", lambda *_arguments: _Attempt(Response("", 200, "", "", b"it was asked")))
    assert get(f"https://{host}/", LOGIN).body == b"it was asked"


def test_without_a_credential_such_addresses_are_asked(monkeypatch):
    monkeypatch.setattr(Client, "_once", lambda *_arguments: _Attempt(Response("", 200, "", "", b"it was asked")))
    assert get("https://169.254.169.254/").body == b"it was asked"


def redirecting(target, status=302):
    def answers(request):
        return json_reply({}) if request.path == "/end" else Reply(status, headers=[("Location", target)])

    return answers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("authorization", ["", LOGIN], ids=["anonymous", "with a login"])
def test_redirects_on_the_same_server_are_followed(status, authorization):
    with serve(redirecting("/end", status)) as server:
        assert get(server.url + "/start", authorization).url == server.url + "/end"
        assert [request.authorization for request in server.requests] == [authorization] * 2


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_a_credential_is_not_sent_to_where_a_redirect_leads(name):
    with serve(lambda request: json_reply({})) as other:
        target = f"http://{name}:{other.port}"
        with serve(redirecting(f"http://joe@{name}:{other.port}/{ENCODED}?x={PASSWORD}")) as server:
            error = str(get_error(server.url, LOGIN))
            assert error == f"{server.url} redirects to {target}; the credential was not sent there: if that is the right server, use its address"
            assert not other.requests
            assert get(server.url).status == 200
            assert [request.authorization for request in other.requests] == [""]


@pytest.mark.parametrize("host", [f"{PASSWORD}.example", f"x{ENCODED.rstrip('=')}.example"], ids=["the password", "the whole login"])
def test_a_redirect_to_a_host_named_like_the_credential(host):
    with serve(redirecting(f"https://{host.lower()}/")) as server:
        assert "redirects to another server; the credential was not sent" in str(get_error(server.url, LOGIN))


def test_a_redirect_with_a_token_that_is_not_base64():
    with serve(redirecting("https://to_ken.example/")) as server:
        assert "redirects to another server; the credential was not sent" in str(get_error(server.url, "Bearer to_ken"))


def test_a_redirect_to_https_on_the_same_host_is_named(authority):
    with serve(lambda request: json_reply({}), authority.context()) as other, serve(redirecting(other.url + "/end")) as server:
        assert f"redirects to {other.url}; the credential was not sent there" in str(get_error(server.url, LOGIN))
        assert get(server.url, options=HttpOptions(ca_path=authority.ca)).status == 200


def test_a_question_for_the_same_server_is_not_sent_to_another(authority):
    with serve(lambda request: json_reply({}), authority.context()) as other, serve(lambda request: json_reply({})) as third:
        options = HttpOptions(ca_path=authority.ca)
        for context, target in ((authority.context(), other.url), (authority.context(), f"https://127.0.0.1:{other.port}"), (None, other.url),
                                (None, third.url), (None, f"http://127.0.0.1:{third.port}")):
            with serve(redirecting(target + "/x"), context) as server:
                words = f"{server.url} redirects to {target}: if that is the right server, use its address"
                assert str(get_error(server.url, options=options, same_server=True)) == words
                assert "the credential was not sent there" in str(get_error(server.url, LOGIN, options, same_server=True))
        with serve(redirecting(third.url), authority.context()) as server:
            error = get_error(server.url, options=options, same_server=True)
            assert "which is plain http, so nothing was sent there: make it redirect to https" in str(error)
        assert not other.requests
        assert not third.requests


@pytest.mark.parametrize("target", table([
    ("a path", "/end"),
    ("in capitals", "HTTP://LOCALHOST:{port}/end"),
    ("with a user name", "http://joe@localhost:{port}/end"),
    ("without a scheme", "//localhost:{port}/end"),
]))
def test_a_question_for_the_same_server_follows_there(target):
    def answers(request):
        return redirecting(target.format(port=server.port))(request)

    with serve(answers) as server:
        assert get(server.url + "/start", same_server=True).status == 200
        assert [request.authorization for request in server.requests] == ["", ""]


def test_an_error_after_a_redirect_names_who_redirected(authority):
    """And is none of the first server's: so nobody tries plain http there."""
    gone = f"http://localhost:{web.free_port()}"
    with serve(redirecting(gone)) as server:
        error = get_error(server.url)
        assert (type(error), str(error)) == (NetworkError, f"{server.url} redirects, and {gone} {REFUSES}")
    with serve(lambda request: json_reply({})) as other, serve(redirecting(f"https://{other.host}/"), authority.context()) as server:
        error = get_error(server.url, options=HttpOptions(ca_path=authority.ca))
        assert (type(error), str(error).partition(" TLS")[0]) == (NetworkError, f"{server.url} redirects, and https://{other.host} does not speak")
    with serve(lambda request: Reply(302, headers=[("Location", "/end")]) if request.path == "/" else []) as server:
        assert str(get_error(server.url, LOGIN)).startswith(f"{server.url} redirects, and {server.url} closed the connection without answering")


def test_a_redirect_from_https_to_http(authority):
    with serve(lambda request: json_reply({})) as other, serve(redirecting(other.url), authority.context()) as server:
        error = str(get_error(server.url, options=HttpOptions(ca_path=authority.ca)))
        assert error == f"{server.url} redirects to {other.url}, which is plain http, so nothing was sent there: make it redirect to https"
        error = str(get_error(server.url, LOGIN, options=HttpOptions(ca_path=authority.ca)))
        assert error.endswith(f"{other.url}, which is plain http, so the credential was not sent there: make it redirect to https")
        assert not other.requests


@pytest.mark.parametrize("target", table([
    ("another scheme", "ftp://x/"),
    ("half an address", "https://[::1/"),
    ("a script", "javascript:alert(1)"),
    ("a backslash", "https://a\\@b/"),
    ("a port that cannot be", "http://x:99999/"),
    ("no UTF-8", "http://\xff\xfe"),
]))
def test_a_redirect_to_nowhere(target):
    with serve(lambda request: [f"HTTP/1.1 302 x\r\nLocation: {target}\r\n\r\n".encode("latin-1")]) as server:
        assert str(get_error(server.url)).startswith(f"{server.url} redirects to an invalid address: correct that server")


def test_a_redirect_without_location_is_an_answer():
    with serve(lambda request: Reply(302)) as server:
        assert get(server.url).status == 302


def test_the_body_of_a_redirect_is_not_read():
    def answers(request):
        if request.path == "/end":
            yield json_reply({}).encoded()
            return
        yield b"HTTP/1.1 302 Found\r\nLocation: /end\r\nContent-Encoding: gzip\r\n\r\n"
        while server.pause(0):
            yield b"x" * 65536

    with serve(answers) as server:
        assert get(server.url).status == 200


def test_redirects_have_an_end():
    with serve(redirecting("/start")) as server:
        assert str(get_error(server.url)) == f"{server.url} redirects more than 5 times: correct that server, or use the address at which it answers"
        assert len(server.requests) == 6
