# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The client against real servers, most of them bad ones."""

from __future__ import annotations

import collections
import contextlib
import gzip
import http.client
import importlib.util
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import pytest
import requests
import urllib3
import yaml
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import NetworkError
from ansible_collections.hpc.apptainer.plugins.module_utils._network import client as _http
from ansible_collections.hpc.apptainer.plugins.module_utils._network.client import Client, HttpOptions, Response, run_all
from ansible_collections.hpc.apptainer.plugins.module_utils._network.errors import DeadlineError, NotTlsError, explain, status_text
from ansible_collections.hpc.apptainer.plugins.module_utils._values.claims import basic
from support import web
from support.envs import ROOT
from support.web import Reply, json_reply, serve

PASSWORD = "S3cretPassw0rd"
LOGIN = basic("alice", PASSWORD)
LATE = ": check that it runs and can be reached from here, or give it more time (timeout)"
ENCODED = LOGIN.partition(" ")[2]


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    web.settle(monkeypatch)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return web.Authority(tmp_path_factory.mktemp("ca"))


def get(url, authorization="", options=None, validate_certs=None, same_server=False):
    with Client(options or HttpOptions()) as client:
        return client.get(url, authorization, validate_certs, same_server)


def refused(url, authorization="", options=None, same_server=False):
    """The error, which must be one line, with no secret and no other exception in it."""
    with pytest.raises(NetworkError) as caught:
        get(url, authorization, options, same_server=same_server)
    error = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None
    assert "\n" not in str(error)
    assert not any(secret in repr(error) for secret in (PASSWORD, ENCODED))
    return error


# Asking

def test_the_request():
    with serve(lambda request: json_reply({}, headers=[("WWW-Authenticate", "Basic"), ("WWW-Authenticate", "Bearer")])) as server:
        answer = get(server.url + "/a?b=c", LOGIN)
        assert answer == Response(server.url + "/a?b=c", 200, "application/json", "Basic, Bearer", b"{}")
        (request,) = server.requests
    assert (request.method, request.path, request.authorization) == ("GET", "/a?b=c", LOGIN)
    assert request.headers["accept"] == "application/json, */*"
    assert request.headers["user-agent"] == _http.AGENT


def test_version_is_that_of_the_collection():
    assert yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"] == _http.VERSION


@pytest.mark.parametrize(("sent", "seen"), [("Text/HTML; charset=x", "text/html"), ("nonsense", ""), ("text/" + "x" * 41, "")])
def test_content_type(sent, seen):
    with serve(lambda request: Reply(headers=[("Content-Type", sent)])) as server:
        assert get(server.url).content_type == seen


def test_repr_of_a_response_shows_only_facts():
    answer = Response("https://x.example/?" + ENCODED, 401, "text/html", f'Basic realm="{PASSWORD}"', PASSWORD.encode())
    assert repr(answer) == "Response(server='https://x.example', status=401)"


def test_connections_are_used_again():
    with serve(lambda request: json_reply({})) as server, Client(HttpOptions()) as client:
        assert [client.get(server.url).status for _count in range(3)] == [200] * 3
        assert client.asking == server.url
        assert server.connections == 1


def test_cookies_are_not_kept():
    with serve(lambda request: Reply(headers=[("Set-Cookie", "a=b; Path=/")])) as server, Client(HttpOptions()) as client:
        client.get(server.url)
        client.get(server.url)
        assert not any("cookie" in request.headers for request in server.requests)


@pytest.mark.parametrize("authorization", ["", LOGIN])
def test_netrc_is_not_used(authorization, monkeypatch, tmp_path):
    (tmp_path / ".netrc").write_text("machine localhost login mallory password wrong\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    assert requests.utils.get_netrc_auth("http://localhost/")
    with serve(lambda request: json_reply({})) as server:
        get(server.url, authorization)
        assert [request.authorization for request in server.requests] == [authorization]


@pytest.mark.parametrize(("authorization", "sent"), [("", basic("jo e", "p")), ("Bearer t", "Bearer t")])
def test_a_login_in_the_url_is_sent_as_go_does(authorization, sent):
    with serve(lambda request: json_reply({})) as server:
        answer = get(server.url.replace("//", "//jo%20e:p@"), authorization)
        assert [request.authorization for request in server.requests] == [sent]
        assert answer.url == server.url + "/"


def test_a_header_beyond_ascii_is_sent_as_utf8():
    with serve(lambda request: json_reply({})) as server:
        get(server.url, "Bearer tök")
        assert server.requests[0].authorization.encode("latin-1").decode() == "Bearer tök"


@pytest.mark.parametrize("token", [PASSWORD + "\n", PASSWORD + "\r\nX: y", "\0" + PASSWORD])
def test_a_header_that_http_cannot_carry(token):
    with serve(lambda request: json_reply({})) as server:
        assert str(refused(server.url, "Bearer " + token)).startswith(f"{server.url} cannot be asked: the credential has a line break")
        assert not server.requests


@pytest.mark.parametrize("url", ["https://a b/", "ftp://x", "https://:443/", "https://[::1", "https://x:99999/", "http://x:0", "x", "https://x\\y/",
                                 f"https://alice:{PASSWORD}@/", f"gopher://{PASSWORD}@x"])
def test_what_cannot_be_asked(url):
    assert "is not an address that can be asked; it must be like https://host" in str(refused(url))


@pytest.mark.parametrize("host", ["a" * 70 + ".example", ".example"])
def test_names_that_only_requests_refuses(host):
    assert str(refused(f"https://{host}")).startswith(f"https://{host} cannot be asked (")


# Certificates

def test_certificate_of_our_authority(authority, monkeypatch):
    with serve(lambda request: json_reply({}), authority.context()) as server:
        assert get(server.url, options=HttpOptions(ca_path=authority.ca)).status == 200
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", authority.ca)
        assert get(server.url).status == 200


@pytest.mark.parametrize(("made", "words"), [
    ({"name": "other.example"}, "has a certificate for another name"),
    ({"days": (-5, -2)}, "has a certificate that has expired"),
    ({"days": (2, 5)}, "has a certificate that is not valid yet: check the clock"),
])
def test_bad_certificates(authority, made, words):
    with serve(lambda request: json_reply({}), authority.context(**made)) as server:
        error = refused(server.url, LOGIN, HttpOptions(ca_path=authority.ca))
        assert str(error).startswith(f"{server.url} {words}")
        assert not isinstance(error, NotTlsError)
        assert not server.requests
        assert server.connections == 1


def test_certificate_of_an_unknown_authority(authority, monkeypatch, tmp_path):
    other = tmp_path / "other.pem"
    other.write_bytes(Path(web.Authority(tmp_path).ca).read_bytes())
    with serve(lambda request: json_reply({}), authority.context()) as server:
        error = refused(server.url)
        assert str(error) == f"{server.url} has a certificate of an authority that is not known here: give the CA's certificate as ca_path"
        assert not isinstance(error, NotTlsError)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other))
        refused(server.url)
        assert get(server.url, options=HttpOptions(validate_certs=False)).status == 200
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "missing"))
        assert get(server.url, options=HttpOptions(validate_certs=False)).status == 200
        assert "the CA bundle of the environment (REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE)" in str(refused(server.url))


def test_validation_can_be_left_out_for_one_request(authority, recwarn):
    with serve(lambda request: json_reply({}), authority.context()) as server, Client(HttpOptions()) as client:
        assert client.get(server.url, validate_certs=False).status == 200
        with pytest.raises(NetworkError):
            client.get(server.url)
    assert not [warning for warning in recwarn if "Insecure" in type(warning.message).__name__]


def test_client_certificates(authority):
    with serve(lambda request: json_reply({}), authority.context(clients=True)) as server:
        cert, key = authority.files("me")
        both = Path(cert).with_suffix(".both")
        both.write_text(Path(cert).read_text() + Path(key).read_text())
        assert get(server.url, options=HttpOptions(10, True, authority.ca, cert, key)).status == 200
        assert get(server.url, options=HttpOptions(10, True, authority.ca, str(both))).status == 200
        error = refused(server.url, LOGIN, HttpOptions(ca_path=authority.ca))
        assert not isinstance(error, NotTlsError)


def test_files_that_cannot_be_used(authority, tmp_path):
    cert, key = authority.files("me")
    sealed = authority.files("me", password="x")
    junk = tmp_path / "junk.pem"
    junk.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    missing, fifo = str(tmp_path / "missing"), str(tmp_path / "fifo")
    os.mkfifo(fifo)
    for options, words in [
        ({"ca_path": missing}, f'ca_path "{missing}" cannot be read: No such file or directory'),
        ({"ca_path": key}, f'ca_path "{key}" holds no certificate in PEM form'),
        ({"ca_path": str(junk)}, f'ca_path "{junk}" holds no certificate in PEM form'),
        ({"client_cert": missing}, f'client_cert "{missing}" cannot be read: No such file or directory'),
        ({"client_cert": str(tmp_path)}, f'client_cert "{tmp_path}" is no regular file'),
        ({"client_cert": cert, "client_key": str(tmp_path)}, f'client_key "{tmp_path}" is no regular file'),
        ({"ca_path": fifo}, f'ca_path "{fifo}" is no regular file'),
        ({"client_cert": fifo}, f'client_cert "{fifo}" is no regular file'),
        ({"client_cert": cert, "client_key": fifo}, f'client_key "{fifo}" is no regular file'),
        ({"ca_path": "/dev/zero"}, 'ca_path "/dev/zero" is no regular file'),
        ({"ca_path": "a\0b"}, 'ca_path "a\\u0000b" cannot be read: no such path is possible here'),
        ({"client_cert": "a\0b"}, 'client_cert "a\\u0000b" cannot be read: no such path is possible here'),
        ({"ca_path": "a\ud800b"}, "cannot be read: no such path is possible here"),
        ({"client_cert": cert, "client_key": "a\ud800b"}, "cannot be read: no such path is possible here"),
        ({"ca_path": "x" * 5000}, "cannot be read: File name too long"),
        ({"client_cert": cert, "client_key": missing}, f'client_key "{missing}" cannot be read'),
        ({"client_key": key}, "client_key is given without client_cert; give both"),
        ({"client_cert": cert}, f'client_cert "{cert}" and its key (client_key, or in the same file) cannot be used'),
        ({"client_cert": cert, "client_key": str(junk)}, f'its key (client_key "{junk}") cannot be used'),
        ({"client_cert": cert, "client_key": sealed[1]}, "and the key not be encrypted"),
    ]:
        with pytest.raises(NetworkError) as caught:
            Client(HttpOptions(**options))
        assert words in str(caught.value)
        assert caught.value.__context__ is None
    Client(HttpOptions(ca_path=str(tmp_path)))  # a directory of certificates


# Redirects

def redirecting(target, status=302):
    def answers(request):
        return json_reply({}) if request.path == "/end" else Reply(status, headers=[("Location", target)])

    return answers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("authorization", ["", LOGIN])
def test_redirects_on_the_same_server_are_followed(status, authorization):
    with serve(redirecting("/end", status)) as server:
        assert get(server.url + "/start", authorization).url == server.url + "/end"
        assert [request.authorization for request in server.requests] == [authorization] * 2


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_a_credential_is_not_sent_to_where_a_redirect_leads(name):
    with serve(lambda request: json_reply({})) as other:
        target = f"http://{name}:{other.port}"
        with serve(redirecting(f"http://joe@{name}:{other.port}/{ENCODED}?x={PASSWORD}")) as server:
            error = str(refused(server.url, LOGIN))
            assert error == f"{server.url} redirects to {target}; the credential was not sent there: if that is the right server, use its address"
            assert not other.requests
            assert get(server.url).status == 200
            assert [request.authorization for request in other.requests] == [""]


@pytest.mark.parametrize("host", [f"{PASSWORD}.example", f"x{ENCODED.rstrip('=')}.example"])
def test_a_redirect_to_a_host_named_like_the_credential(host):
    with serve(redirecting(f"https://{host.lower()}/")) as server:
        assert "redirects to another server; the credential was not sent" in str(refused(server.url, LOGIN))


def test_a_redirect_with_a_token_that_is_not_base64():
    with serve(redirecting("https://to_ken.example/")) as server:
        assert "redirects to another server; the credential was not sent" in str(refused(server.url, "Bearer to_ken"))


def test_a_redirect_to_https_on_the_same_host_is_named(authority):
    with serve(lambda request: json_reply({}), authority.context()) as other, serve(redirecting(other.url + "/end")) as server:
        assert f"redirects to {other.url}; the credential was not sent there" in str(refused(server.url, LOGIN))
        assert get(server.url, options=HttpOptions(ca_path=authority.ca)).status == 200


def test_who_stays_is_not_sent_to_another_server(authority):
    with serve(lambda request: json_reply({}), authority.context()) as other, serve(lambda request: json_reply({})) as third:
        options = HttpOptions(ca_path=authority.ca)
        for context, target in ((authority.context(), other.url), (authority.context(), f"https://127.0.0.1:{other.port}"), (None, other.url),
                                (None, third.url), (None, f"http://127.0.0.1:{third.port}")):
            with serve(redirecting(target + "/x"), context) as server:
                words = f"{server.url} redirects to {target}: if that is the right server, use its address"
                assert str(refused(server.url, options=options, same_server=True)) == words
                assert "the credential was not sent there" in str(refused(server.url, LOGIN, options, same_server=True))
        with serve(redirecting(third.url), authority.context()) as server:
            assert "where nothing protects what is sent; nothing was sent there" in str(refused(server.url, options=options, same_server=True))
        assert not other.requests
        assert not third.requests


@pytest.mark.parametrize("target", ["/end", "HTTP://LOCALHOST:{port}/end", "http://joe@localhost:{port}/end", "//localhost:{port}/end"])
def test_who_stays_follows_on_the_same_server(target):
    def answers(request):
        return redirecting(target.format(port=server.port))(request)

    with serve(answers) as server:
        assert get(server.url + "/start", same_server=True).status == 200
        assert [request.authorization for request in server.requests] == ["", ""]


def test_an_error_after_a_redirect_names_who_redirected(authority):
    """And is none of the first server's: so nobody tries plain http there."""
    gone = f"http://localhost:{web.free_port()}"
    with serve(redirecting(gone)) as server:
        error = refused(server.url)
        assert type(error) is NetworkError
        assert str(error) == f"{server.url} redirects: {gone} refuses the connection: check that the server runs, and its port"
    with serve(lambda request: json_reply({})) as other, serve(redirecting(f"https://{other.host}/"), authority.context()) as server:
        error = refused(server.url, options=HttpOptions(ca_path=authority.ca))
        assert type(error) is NetworkError
        assert str(error).startswith(f"{server.url} redirects: https://{other.host} does not speak TLS")
    with serve(lambda request: Reply(302, headers=[("Location", "/end")]) if request.path == "/" else []) as server:
        assert str(refused(server.url, LOGIN)).startswith(f"{server.url} redirects: {server.url} closes the connection without an answer")


def test_a_redirect_from_https_to_http(authority):
    with serve(lambda request: json_reply({})) as other, serve(redirecting(other.url), authority.context()) as server:
        error = str(refused(server.url, options=HttpOptions(ca_path=authority.ca)))
        assert error == f"{server.url} redirects to {other.url}, where nothing protects what is sent; nothing was sent there"
        error = str(refused(server.url, LOGIN, options=HttpOptions(ca_path=authority.ca)))
        assert error.endswith(f"{other.url}, where nothing protects what is sent; nothing was sent there, so not the credential either")
        assert not other.requests


@pytest.mark.parametrize("target", ["ftp://x/", "https://[::1/", "javascript:alert(1)", "https://a\\@b/", "http://x:99999/", "http://\xff\xfe"])
def test_a_redirect_to_nowhere(target):
    with serve(lambda request: [f"HTTP/1.1 302 x\r\nLocation: {target}\r\n\r\n".encode("latin-1")]) as server:
        assert str(refused(server.url)).startswith(f"{server.url} redirects to an address that cannot be asked")


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
        assert str(refused(server.url)) == f"{server.url} redirects more than 5 times; use the address at which it answers"
        assert len(server.requests) == 6


# Failures

def test_a_busy_server_is_asked_again():
    statuses = iter([503, 502, 200])
    with serve(lambda request: Reply(next(statuses))) as server:
        assert get(server.url, LOGIN).status == 200
        assert len(server.requests) == 3


@pytest.mark.parametrize(("status", "count"), [(503, 3), (504, 3), (500, 1), (429, 1)])
def test_but_not_for_ever(status, count):
    with serve(lambda request: Reply(status, headers=[("Retry-After", "60")])) as server:
        assert get(server.url).status == status
        assert len(server.requests) == count


def test_not_again_if_there_is_no_time(monkeypatch):
    monkeypatch.setattr(_http, "_PAUSES", (100.0, 100.0))
    with serve(lambda request: Reply(503)) as server:
        assert get(server.url).status == 503
        assert len(server.requests) == 1


def test_a_connection_that_was_closed_meanwhile_is_made_again():
    answers = iter([[b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"], [], json_reply({})])
    with serve(lambda request: next(answers)) as server, Client(HttpOptions()) as client:
        assert client.get(server.url).status == 200
        assert client.get(server.url).status == 200


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_nothing_listens(scheme):
    url = f"{scheme}://localhost:{web.free_port()}"
    error = refused(url, LOGIN)
    assert isinstance(error, NotTlsError)
    assert str(error) == f"{url} refuses the connection: check that the server runs, and its port"


def test_connecting_has_a_part_of_the_time_and_then_all_that_is_left(monkeypatch):
    """So a name with several addresses, the first of them dead, is no reason to give up; nor is a server that is slow."""
    found = []

    def ask(session, url, timeout, **options):
        found.append(timeout)
        raise requests.exceptions.ConnectTimeout(urllib3.exceptions.ConnectTimeoutError(TimeoutError(PASSWORD)))

    monkeypatch.setattr(requests.Session, "get", ask)
    assert str(refused("https://x.example", LOGIN, HttpOptions(timeout=8))) == f"https://x.example did not answer within 8 seconds{LATE}"
    assert [connect if connect == 3 else connect / read for connect, read in found] == [3, 1, 1]
    assert all(7 < read <= 8 for _connect, read in found)


def test_a_tls_server_that_takes_its_time_to_connect(authority, monkeypatch):
    """It would be too late in the time that a first attempt has for connecting."""
    monkeypatch.setattr(_http, "_SOON_CONNECTED", 0.5)
    with serve(lambda request: json_reply({}), authority.context()) as server, socket.create_server(("127.0.0.1", 0)) as front:
        def forward():
            with contextlib.suppress(OSError):
                while True:
                    client, _address = front.accept()
                    threading.Thread(target=pump, args=(client,), daemon=True).start()

        def pump(client):
            time.sleep(0.8)
            with contextlib.suppress(OSError), client, socket.create_connection(("127.0.0.1", server.port)) as target:
                threading.Thread(target=copy, args=(target, client), daemon=True).start()
                copy(client, target)

        def copy(source, target):
            with contextlib.suppress(OSError):
                while data := source.recv(65536):
                    target.sendall(data)

        threading.Thread(target=forward, daemon=True).start()
        url = f"https://localhost:{front.getsockname()[1]}"
        assert get(url, options=HttpOptions(timeout=3, ca_path=authority.ca)).status == 200


def test_an_unknown_name():
    assert str(refused("https://nothing-here.invalid")).startswith("https://nothing-here.invalid has a name that cannot be resolved (")


def raw_server(data):
    """A port where `data` is the answer to anything at all."""
    listener = socket.create_server(("127.0.0.1", 0))

    def run():
        while True:
            connection, _address = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(data)

    threading.Thread(target=run, daemon=True).start()
    return f"localhost:{listener.getsockname()[1]}"


def test_a_plain_http_server_where_tls_should_be():
    with serve(lambda request: json_reply({})) as server:
        url = f"https://{server.host}"
        error = refused(url, LOGIN)
    assert isinstance(error, NotTlsError)
    assert str(error) == f"{url} does not speak TLS: it is a plain http server, or the port is another service's"


def test_a_server_that_closes_in_the_handshake():
    error = refused("https://" + raw_server(b""), LOGIN)
    assert "closes the connection" in str(error)
    assert not isinstance(error, NotTlsError)


@pytest.mark.parametrize(("data", "words"), [
    ([], "closes the connection without an answer"),
    ([b"220 smtp.example ESMTP\r\n\r\n"], "answers with something that is not HTTP"),
    ([b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n"], "answers with something that is not HTTP"),
    ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc"], "breaks off in the middle of its answer"),
    ([b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nthis is not compressed"], "answers with content that is not compressed as it says"),
    ([b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n\r\nabc"], "answers with content in an encoding that was not asked for"),
    ([b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip, gzip\r\n\r\nabc"], "answers with content in an encoding that was not asked for"),
])
def test_what_is_no_answer(data, words):
    with serve(lambda request: data) as server:
        assert str(refused(server.url, LOGIN)).startswith(f"{server.url} {words}")


# Limits

def encoded(body, encoding):
    return Reply(200, body, [("Content-Encoding", encoding)])


@pytest.mark.parametrize("reply", [
    Reply(body=b"x" * 1048576), encoded(gzip.compress(b"x" * 1048576), "gzip"), encoded(zlib.compress(b"x" * 1048576), "deflate"),
    encoded(b"x" * 1048576, "identity")])
def test_a_body_of_a_megabyte(reply):
    with serve(lambda request: reply) as server:
        assert get(server.url).body == b"x" * 1048576


@pytest.mark.parametrize("reply", [Reply(body=b"x" * 1048577), encoded(gzip.compress(b"\0" * (64 << 20), 1), "X-GZIP")])
def test_a_body_of_more(reply):
    with serve(lambda request: reply) as server:
        assert str(refused(server.url, LOGIN)).startswith(f"{server.url} answers with more than 1048576 bytes")


def test_a_body_without_end():
    def answers(request):
        yield b"HTTP/1.1 200 OK\r\n\r\n"
        while True:
            yield b"x" * 65536

    with serve(answers) as server:
        assert "answers with more than 1048576 bytes" in str(refused(server.url))


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nX-", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"])
def test_a_server_that_takes_its_time(start):
    def answers(request):
        yield start
        while server.pause(0.05):
            yield b"x"

    with serve(answers) as server:
        begin = time.monotonic()
        assert str(refused(server.url, LOGIN, HttpOptions(timeout=0.3))) == f"{server.url} did not answer within 0.3 seconds{LATE}"
        assert time.monotonic() - begin < 3


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_silent_server(scheme):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url, begin = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}", time.monotonic()
        assert str(refused(url, options=HttpOptions(timeout=0.8))) == f"{url} did not answer within 0.8 seconds{LATE}"
        assert 0.7 < time.monotonic() - begin < 3
    assert str(_http.timed_out("it", 1)) == f"it did not answer within 1 second{LATE}"


def test_the_body_is_not_read_after_the_deadline():
    with serve(lambda request: json_reply({})) as server, requests.get(server.url, stream=True, timeout=10) as response, \
            pytest.raises(socket.timeout):
        _http._read_response(response, time.monotonic() - 1)


# Proxies

@pytest.mark.parametrize("value", ["http://joe:{password}@localhost:{port}", "127.0.0.1:{port}"])
def test_the_proxy_of_the_environment_is_asked(value, monkeypatch):
    with serve(lambda request: json_reply({})) as proxy:
        monkeypatch.setenv("http_proxy", value.format(password=PASSWORD, port=proxy.port))
        assert get("http://example.invalid/a", "Bearer t").status == 200
        assert [request.path for request in proxy.requests] == ["http://example.invalid/a"]
        monkeypatch.setenv("no_proxy", "example.invalid")
        assert "cannot be resolved" in str(refused("http://example.invalid/a"))


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_not_there(scheme, monkeypatch):
    address = f"localhost:{web.free_port()}"
    monkeypatch.setenv(f"{scheme}_proxy", f"http://joe:{PASSWORD}@{address}")
    error = refused(f"{scheme}://example.invalid")
    assert str(error) == (f"the proxy http://{address}, which the environment names for {scheme}://example.invalid, refuses the connection: "
                          "check that the server runs, and its port")
    assert not isinstance(error, NotTlsError)


def test_a_proxy_that_does_not_connect(monkeypatch):
    with serve(lambda request: Reply(407, reason=PASSWORD)) as proxy:
        monkeypatch.setenv("https_proxy", f"http://joe:{PASSWORD}@{proxy.host}")
        assert str(refused("https://example.invalid")).endswith("for https://example.invalid, does not connect: it answers 407 "
                                                                "Proxy Authentication Required")


def test_a_server_behind_a_proxy_fails(monkeypatch):
    data = {"http://a.invalid/": b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n\r\nabc", "http://b.invalid/": b"nonsense\r\n"}
    with serve(lambda request: [data[request.path]]) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert "http://a.invalid answers with content" in str(refused("http://a.invalid"))
        assert str(refused("http://b.invalid")).startswith(f"http://b.invalid, asked through the proxy {proxy.url}, answers with something")


@pytest.mark.parametrize("value", [f"http://:{PASSWORD}@", f"http://joe:{PASSWORD}@[x", f"http://joe:{PASSWORD}@x:0", f"http://joe:{PASSWORD}@x:y"])
def test_a_proxy_that_is_no_url(value, monkeypatch):
    monkeypatch.setenv("http_proxy", value)
    assert str(refused("http://example.invalid")) == ("http://example.invalid cannot be asked: the proxy that the environment names for it is not "
                                                      "like http://host.example.org:3128")


# Secrets

@pytest.mark.parametrize("status", [200, 302, 401, 403, 407, 500])
def test_a_server_that_says_the_credential_everywhere(status):
    with serve(web.echo(status)) as server:
        try:
            shown = repr(get(server.url, LOGIN))
        except NetworkError as error:
            shown = repr(error)
        assert not any(secret in shown for secret in (PASSWORD, ENCODED))


# Exceptions that no server here causes

def tls_error(reason, kind=ssl.SSLError, text="[SSL]", **attributes):
    error = kind(1, f"{text} {PASSWORD}")
    error.reason = reason
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


class CertificateError(ValueError):
    """As ssl's in Python 3.6."""


@pytest.mark.parametrize(("error", "words"), [
    (CertificateError("hostname 'a' doesn't match 'b'"), "has a certificate for another name"),
    (tls_error("CERTIFICATE_VERIFY_FAILED"), "has a certificate that cannot be verified: its authority is not known here (then give ca_path)"),
    (tls_error("CERTIFICATE_VERIFY_FAILED", verify_code=23, verify_message="certificate revoked"), "cannot be accepted (certificate revoked)"),
    (tls_error("TLSV13_ALERT_CERTIFICATE_REQUIRED"), "demands a client certificate, or refuses the one it got: check client_cert"),
    (tls_error("TLSV1_ALERT_UNKNOWN_CA"), "demands a client certificate"),
    (tls_error("SSLV3_ALERT_HANDSHAKE_FAILURE"), "refuses the TLS handshake"),
    (tls_error("UNSUPPORTED_PROTOCOL"), "has no version of TLS in common"),
    (tls_error("TLSV1_ALERT_PROTOCOL_VERSION"), "has no version of TLS in common"),
    (tls_error("DH_KEY_TOO_SMALL"), "fails in TLS (DH_KEY_TOO_SMALL)"),
    (tls_error(None), "fails in TLS (SSLError)"),
    (tls_error(None, ssl.SSLZeroReturnError), "closes the connection without an answer: it demands a client_cert"),
    (tls_error(None, ssl.SSLEOFError), "closes the connection without an answer: it demands a client_cert, is no TLS server, or has a problem that"),
    (tls_error("UNEXPECTED_EOF_WHILE_READING"), "closes the connection without an answer: it demands a client_cert, is no TLS server, or has a"),
    # Python 3.6 with OpenSSL 3, which it does not know
    (tls_error(None, text="[SSL] unexpected eof while reading (_ssl.c:897)"), "closes the connection without an answer: it demands a client_cert"),
    (tls_error("", text="[SSL] record layer failure (_ssl.c:897)"), "does not speak TLS: it is a plain http server"),
    (tls_error(None, text="[SSL: UNKNOWN] wrong version number (_ssl.c:897)"), "does not speak TLS"),
    (tls_error(None, text="[SSL] tlsv13 alert certificate required (_ssl.c:897)"), "demands a client certificate"),
    (tls_error(None, text="[SSL] ssl/tls alert handshake failure (_ssl.c:897)"), "refuses the TLS handshake"),
    (tls_error(None, text="[SSL] tlsv1 alert protocol version (_ssl.c:897)"), "has no version of TLS in common"),
    (tls_error(None, text="[SSL] unknown error (_ssl.c:897)"), "fails in TLS (SSLError)"),
    (OSError(113, PASSWORD), "cannot be reached (No route to host)"),
    (OSError(24, PASSWORD), "cannot be reached (Too many open files)"),
    (ConnectionResetError(104, PASSWORD), "closes the connection without an answer"),
    (http.client.RemoteDisconnected(PASSWORD), "closes the connection without an answer"),
    (TimeoutError(110, PASSWORD), "did not answer within 10 seconds"),
    (OSError(PASSWORD), "cannot be asked (OSError)"),
    (ValueError(), "cannot be asked (ValueError)"),
])
def test_explanations(error, words):
    wrapper = requests.exceptions.ConnectionError(ValueError(PASSWORD), error)
    problem, _again = explain(error if type(error) in (OSError, ValueError) else wrapper, "https://x.example/p", "", 10)
    assert str(problem).startswith("https://x.example ")
    assert words in str(problem)
    assert PASSWORD not in str(problem)
    assert isinstance(problem, NotTlsError) == ("does not speak TLS" in words)


@pytest.mark.parametrize(("error", "again"), [
    (requests.exceptions.ConnectTimeout(urllib3.exceptions.ConnectTimeoutError(TimeoutError())), True), (TimeoutError(), True),
    (ConnectionRefusedError(), True), (ConnectionResetError(), True), (OSError(113, ""), True), (OSError(24, ""), False),
    (tls_error(None, ssl.SSLEOFError), False), (tls_error("CERTIFICATE_VERIFY_FAILED"), False), (ValueError(), False),
])
def test_what_is_worth_another_attempt(error, again):
    assert explain(error, "https://x.example/p", "", 10)[1] is again


@pytest.mark.parametrize(("status", "text"), [(404, "404 Not Found"), (299, "299"), (799, "799")])
def test_status_text(status, text):
    assert status_text(status) == text


# run_all

def test_results_are_in_order():
    assert run_all([lambda number=number: number * number for number in range(10000)], 60) == [number * number for number in range(10000)]
    assert run_all([], 1) == []


def test_checks_run_side_by_side():
    barrier = threading.Barrier(5, timeout=30)
    assert sorted(run_all([barrier.wait] * 5, 30, workers=5)) == [0, 1, 2, 3, 4]


def test_all_questions_of_a_usual_configuration_run_side_by_side():
    barrier = threading.Barrier(64, timeout=30)
    assert sorted(run_all([barrier.wait] * 64, 30)) == list(range(64))


def test_but_not_all_of_any():
    running, most = set(), []

    def check():
        running.add(threading.get_ident())
        most.append(len(running))
        time.sleep(0.01)
        running.discard(threading.get_ident())

    run_all([check] * 300, 30)
    assert 1 < max(most) <= 64


def test_errors_are_results():
    def fail():
        raise error

    error = NetworkError("no")
    assert run_all([fail, lambda: 1], 10) == [error, 1]


@pytest.mark.parametrize("error", [KeyError("x"), SystemExit(3)])
def test_other_exceptions_are_raised(error):
    def fail():
        raise error

    with pytest.raises(type(error)) as caught:
        run_all([lambda: 1, fail, lambda: 2], 10)
    assert caught.value is error


def test_a_stuck_check_holds_nobody_up():
    stuck, begin = threading.Event(), time.monotonic()
    results = run_all([stuck.wait, lambda: 1, stuck.wait, lambda: 2], 0.5, workers=1)
    stuck.set()
    assert [result if isinstance(result, int) else type(result) for result in results] == [DeadlineError, 1, DeadlineError, 2]
    assert time.monotonic() - begin < 8


def test_what_comes_too_late_does_not_count():
    late = threading.Event()

    def last():
        late.set()
        time.sleep(0.1)  # the first check ends meanwhile
        return 2

    first, second = run_all([lambda: late.wait(20), last], 0.5, workers=1)
    assert isinstance(first, DeadlineError)
    assert second == 2


def test_a_stuck_check_does_not_keep_the_process():
    code = ("import time; from ansible_collections.hpc.apptainer.plugins.module_utils._network.client import run_all; "
            "print(run_all([lambda: time.sleep(100)], 0.1))")
    done = subprocess.run([sys.executable, "-c", code], env=dict(os.environ, PYTHONPATH=str(ROOT / ".collections")), capture_output=True, text=True,
                          timeout=50, check=True)
    assert done.stdout == "[DeadlineError('not done within 0.1 seconds')]\n"
    assert not done.stderr


def test_a_line_is_not_crowded_and_holds_up_no_other():
    running, most, order, lock = collections.Counter(), collections.Counter(), [], threading.Lock()

    def check(place):
        def run():
            with lock:
                running[place] += 1
                most[place] = max(most[place], running[place])
                order.append(place)
            time.sleep(0.005)
            with lock:
                running[place] -= 1
            return place

        return run

    places = ["crowded"] * 50 + ["other"] * 2
    assert run_all([check(place) for place in places], 30, workers=4, groups=places, per_group=2) == places
    assert most == {"crowded": 2, "other": 2}
    assert "other" in order[:6]


def test_time_in_the_line_does_not_count():
    results = run_all([lambda: time.sleep(0.3)] * 6 + [threading.Event().wait, lambda: 7], 1, groups=[0] * 8, per_group=2)
    assert results[:6] == [None] * 6
    assert isinstance(results[6], DeadlineError)
    assert results[7] == 7


# What a client remembers

def test_clients_that_share_what_they_know_ask_once():
    with serve(lambda request: Reply(401 if request.authorization else 200)) as server:
        known = {}
        for _ in range(2):
            with Client(HttpOptions(), known=known) as client:
                assert client.get(server.url).status == 200
                assert not client.refused
                assert client.get(server.url, LOGIN).status == 401
                assert client.refused
        assert server.asked == ["/", "/ Basic", "/ Basic"]
        get(server.url)
        get(server.url)
        assert len(server.asked) == 5


def test_whether_the_last_server_was_reached():
    with serve(lambda request: Reply()) as server, Client(HttpOptions()) as client:
        assert client.reached
        with pytest.raises(NetworkError):
            client.get(f"http://localhost:{web.free_port()}")
        assert not client.reached
        client.get(server.url)
        assert client.reached


# Without requests

def test_without_requests(monkeypatch):
    monkeypatch.setitem(sys.modules, "requests", None)
    spec = importlib.util.spec_from_file_location(_http.__name__, _http.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert _http.HAS_REQUESTS
    assert _http.REQUESTS_IMPORT_ERROR is None
    assert not module.HAS_REQUESTS
    assert "ModuleNotFoundError" in module.REQUESTS_IMPORT_ERROR
    with module.Client(module.HttpOptions()):
        pass
