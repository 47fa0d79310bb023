# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The client against real servers, most of them bad ones."""

from __future__ import annotations

import contextlib
import gzip
import importlib.util
import socket
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
from ansible_collections.hpc.apptainer.plugins.module_utils._network import client as _client
from ansible_collections.hpc.apptainer.plugins.module_utils._network.client import Client, KnownResponses, Response
from ansible_collections.hpc.apptainer.plugins.module_utils._network.errors import ElsewhereError, NotTlsError
from ansible_collections.hpc.apptainer.plugins.module_utils._network.http_options import HttpOptions
from ansible_collections.hpc.apptainer.plugins.module_utils._values.claims import basic
from support import web
from support.asking import ENCODED, LATE, LOGIN, PASSWORD, REFUSES, get, get_error
from support.envs import ROOT
from support.tables import table
from support.web import Reply, json_reply, serve

# Asking


def test_the_request():
    with serve(lambda request: json_reply({}, headers=[("WWW-Authenticate", "Basic"), ("WWW-Authenticate", "Bearer")])) as server:
        answer = get(server.url + "/a?b=c", LOGIN)
        assert answer == Response(server.url + "/a?b=c", 200, "application/json", "Basic, Bearer", b"{}")
        (request,) = server.requests
    assert (request.method, request.path, request.authorization) == ("GET", "/a?b=c", LOGIN)
    assert request.headers["accept"] == "application/json, */*"
    assert request.headers["user-agent"] == _client.AGENT


def test_version_is_that_of_the_collection():
    assert yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"] == _client.VERSION


@pytest.mark.parametrize(("sent", "seen"), table([
    ("with parameters", "Text/HTML; charset=x", "text/html"),
    ("nonsense", "nonsense", ""),
    ("too long", "text/" + "x" * 41, ""),
]))
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


@pytest.mark.parametrize("authorization", ["", LOGIN], ids=["anonymous", "with a login"])
def test_netrc_is_not_used(authorization, monkeypatch, tmp_path):
    (tmp_path / ".netrc").write_text("machine localhost login mallory password wrong\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    assert requests.utils.get_netrc_auth("http://localhost/")
    with serve(lambda request: json_reply({})) as server:
        get(server.url, authorization)
        assert [request.authorization for request in server.requests] == [authorization]


@pytest.mark.parametrize(("authorization", "sent"), [("", basic("jo e", "p")), ("Bearer t", "Bearer t")], ids=["alone", "beside another one"])
def test_a_login_in_the_url_is_sent_as_go_does(authorization, sent):
    with serve(lambda request: json_reply({})) as server:
        answer = get(server.url.replace("//", "//jo%20e:p@"), authorization)
        assert [request.authorization for request in server.requests] == [sent]
        assert answer.url == server.url + "/"


def test_a_header_beyond_ascii_is_sent_as_utf8():
    with serve(lambda request: json_reply({})) as server:
        get(server.url, "Bearer tök")
        assert server.requests[0].authorization.encode("latin-1").decode() == "Bearer tök"


@pytest.mark.parametrize("token", [PASSWORD + "\n", PASSWORD + "\r\nX: y", "\0" + PASSWORD], ids=["a line break", "another header", "a null byte"])
def test_a_header_that_http_cannot_carry(token):
    with serve(lambda request: json_reply({})) as server:
        assert str(get_error(server.url, "Bearer " + token)).startswith(f"{server.url} was not asked: the credential has a line break")
        assert not server.requests


@pytest.mark.parametrize("url", table([
    ("a space", "https://a b/"),
    ("another scheme", "ftp://x"),
    ("no host", "https://:443/"),
    ("half an address", "https://[::1"),
    ("a port that is too large", "https://x:99999/"),
    ("port 0", "http://x:0"),
    ("no scheme", "x"),
    ("a backslash", "https://x\\y/"),
    ("only a login", f"https://alice:{PASSWORD}@/"),
    ("another scheme and a login", f"gopher://{PASSWORD}@x"),
]))
def test_what_cannot_be_asked(url):
    assert str(get_error(url)).endswith(" is not a valid address; write it like https://host.example.org:8443/path")


@pytest.mark.parametrize("host", ["a" * 70 + ".example", ".example"], ids=["too long", "an empty part"])
def test_names_that_only_requests_refuses(host):
    assert str(get_error(f"https://{host}")) == f"https://{host} has a host name that is not valid: correct the address"


# Certificates

def test_certificate_of_our_authority(authority, monkeypatch):
    with serve(lambda request: json_reply({}), authority.context()) as server:
        assert get(server.url, options=HttpOptions(ca_path=authority.ca)).status == 200
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", authority.ca)
        assert get(server.url).status == 200


@pytest.mark.parametrize(("made", "words"), table([
    ("another name", {"name": "other.example"}, "has a certificate for another host name: use a name that is in it, or correct the certificate"),
    ("expired", {"days": (-5, -2)}, "has an expired certificate: renew it there, or check this machine's clock"),
    ("not valid yet", {"days": (2, 5)}, "has a certificate that is not valid yet: check this machine's clock"),
]))
def test_bad_certificates(authority, made, words):
    with serve(lambda request: json_reply({}), authority.context(**made)) as server:
        error = get_error(server.url, LOGIN, HttpOptions(ca_path=authority.ca))
        assert str(error).startswith(f"{server.url} {words}")
        assert not isinstance(error, NotTlsError)
        assert not server.requests
        assert server.connections == 1


def test_certificate_of_an_unknown_authority(authority, monkeypatch, tmp_path):
    other = tmp_path / "other.pem"
    other.write_bytes(Path(web.Authority(tmp_path).ca).read_bytes())
    with serve(lambda request: json_reply({}), authority.context()) as server:
        error = get_error(server.url)
        assert str(error) == f"{server.url} has a certificate from an authority that is not trusted here: set ca_path to the CA's certificate"
        assert not isinstance(error, NotTlsError)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other))
        get_error(server.url)
        assert get(server.url, options=HttpOptions(validate_certs=False)).status == 200
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "missing"))
        assert get(server.url, options=HttpOptions(validate_certs=False)).status == 200
        assert "the CA bundle of the environment (REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE)" in str(get_error(server.url))


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
        error = get_error(server.url, LOGIN, HttpOptions(ca_path=authority.ca))
        assert not isinstance(error, NotTlsError)


def test_the_authorities_that_go_trusts(authority, monkeypatch, tmp_path):
    """A file, and all files of a directory, whatever their names; behind what people set for requests."""
    with serve(lambda request: json_reply({}), authority.context()) as server:
        unknown = "has a certificate from an authority that is not trusted here: set ca_path to the CA's certificate"
        assert str(get_error(server.url)) == f"{server.url} {unknown}"
        monkeypatch.setenv("SSL_CERT_FILE", authority.ca)
        assert get(server.url).status == 200
        other = web.Authority(tmp_path)
        monkeypatch.setenv("SSL_CERT_FILE", other.ca)
        assert unknown in str(get_error(server.url))
        monkeypatch.setenv("SSL_CERT_DIR", f"/does/not/exist:{authority.directory}")
        assert get(server.url).status == 200
        assert unknown in str(get_error(server.url, options=HttpOptions(ca_path=other.ca)))
        monkeypatch.setenv("CURL_CA_BUNDLE", other.ca)
        assert unknown in str(get_error(server.url))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", authority.ca)
        assert get(server.url).status == 200


def test_where_the_system_has_no_authorities(monkeypatch):
    """Then those that requests brings count."""
    monkeypatch.setenv("SSL_CERT_FILE", "/does/not/exist")
    monkeypatch.setenv("SSL_CERT_DIR", "/does/not/exist")
    with Client(HttpOptions()) as client:
        assert client._verify() is True


def test_a_server_without_its_intermediate_certificate(authority, tmp_path):
    with serve(lambda request: json_reply({}), authority.context()) as server:
        other = web.Authority(tmp_path)
        error = str(get_error(server.url, options=HttpOptions(ca_path=other.ca)))
        assert error.endswith("set ca_path to the CA's certificate. If it is that already, the server does not send the intermediate certificate "
                              "between the two: add that there, or to ca_path")


def test_by_a_proxy_the_same_authorities_count(authority, monkeypatch):
    """A tunnel to a real TLS server."""
    def connect(request):
        yield b"HTTP/1.1 200 Connection established\r\n\r\n"
        proxy.pause(0.1)

    monkeypatch.setenv("SSL_CERT_FILE", authority.ca)
    with serve(connect) as proxy, Client(HttpOptions()) as client:
        adapter = client._session(True).get_adapter("https://x")
        pool = adapter.proxy_manager_for(proxy.url).connection_from_url("https://x.invalid")
        adapter.cert_verify(pool, "https://x.invalid", client._verify(), None)
        assert (pool.ca_certs, pool.ca_cert_dir, pool.cert_reqs) == (None, None, "CERT_REQUIRED")


# Failures

def test_a_busy_server_is_asked_again():
    statuses = iter([503, 502, 200])
    with serve(lambda request: Reply(next(statuses))) as server:
        assert get(server.url, LOGIN).status == 200
        assert len(server.requests) == 3


@pytest.mark.parametrize(("status", "count"), [(503, 3), (504, 3), (500, 1), (429, 1)], ids=["503", "504", "500", "429"])
def test_but_not_for_ever(status, count):
    with serve(lambda request: Reply(status, headers=[("Retry-After", "60")])) as server:
        assert get(server.url).status == status
        assert len(server.requests) == count


def test_not_again_if_there_is_no_time(monkeypatch):
    monkeypatch.setattr(_client, "_PAUSES", (100.0, 100.0))
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
    error = get_error(url, LOGIN)
    assert isinstance(error, NotTlsError)
    assert str(error) == f"{url} {REFUSES}"


def test_connecting_has_a_part_of_the_time_and_then_all_that_is_left(monkeypatch):
    """So a name with several addresses, the first of them dead, is no reason to give up; nor is a server that is slow."""
    found = []

    def ask(session, url, timeout, **options):
        found.append(timeout)
        raise requests.exceptions.ConnectTimeout(urllib3.exceptions.ConnectTimeoutError(TimeoutError(PASSWORD)))

    monkeypatch.setattr(requests.Session, "get", ask)
    assert str(get_error("https://x.example", LOGIN, HttpOptions(timeout=500))) == f"https://x.example did not answer within 500 seconds{LATE}"
    assert [connect if connect == 3 else connect / read for connect, read in found] == [3, 1, 1]
    assert all(400 < read <= 500 for _connect, read in found)


def test_a_tls_server_that_takes_its_time_to_connect(authority, monkeypatch):
    """It would be too late in the time that a first attempt has for connecting."""
    monkeypatch.setattr(_client, "_SOON_CONNECTED", 0.5)
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
        assert get(url, options=HttpOptions(timeout=20, ca_path=authority.ca)).status == 200


def test_an_unknown_name():
    assert str(get_error("https://nothing-here.invalid")).startswith("https://nothing-here.invalid has a host name that cannot be resolved (")


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
        error = get_error(url, LOGIN)
    assert isinstance(error, NotTlsError)
    assert str(error) == f"{url} does not speak TLS: it is a plain http server, or another service uses that port; check the address"


def test_a_server_that_closes_in_the_handshake():
    error = get_error("https://" + raw_server(b""), LOGIN)
    assert "closed the connection without answering" in str(error)
    assert not isinstance(error, NotTlsError)


HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
BROKE_OFF = "broke off in the middle of its answer: see its log"
BAD_LENGTH = "announces an impossible length in its answer: see its log, and that of a proxy in front of it"


@pytest.mark.parametrize(("data", "words"), table([
    ("nothing", [], "closed the connection without answering: see its log"),
    ("a mail server", [b"220 smtp.example ESMTP\r\n\r\n"], "does not answer in HTTP: another service uses that port, or it expects https"),
    ("too many headers", [HEAD + b"A: b\r\n" * 200 + b"\r\n"], "does not answer in HTTP"),
    ("half an answer", [HEAD + b"Content-Length: 9\r\n\r\nabc"], BROKE_OFF),
    ("half a piece", [CHUNKED + b"9\r\nabc"], BROKE_OFF),
    ("the first of several pieces", [CHUNKED + b"3\r\nabc\r\n"], BROKE_OFF),
    ("half of what is compressed", [HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"abc")[:-1]], BROKE_OFF),
    ("only a status", [b"HTTP/1.1 200 OK"], BROKE_OFF),
    ("only a whole line", [HEAD], BROKE_OFF),
    ("half a header", [b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"registry\", Bea"], BROKE_OFF),
    ("half an address", [b"HTTP/1.1 302 Found\r\nLocation: /v"], BROKE_OFF),
    ("half of the empty line", [HEAD + b"Content-Type: text/plain\r\n\r"], BROKE_OFF),
    ("half a head after another", [b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD], BROKE_OFF),
    ("letters as the size of a piece", [CHUNKED + b"zz\r\nabc"], BAD_LENGTH),
    ("a negative size", [CHUNKED + b"-5\r\nabc"], BAD_LENGTH),
    ("an empty size", [CHUNKED + b"\r\nabc"], BAD_LENGTH),
    ("two lengths", [HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nabc"], BAD_LENGTH),
    ("not compressed", [HEAD + b"Content-Encoding: gzip\r\n\r\nthis is not compressed"],
     "answers with content that does not match its Content-Encoding: correct that server"),
    ("another compression", [HEAD + b"Content-Encoding: br\r\n\r\nabc"], "answers in a Content-Encoding that was not asked for: correct that server"),
    ("compressed twice", [HEAD + b"Content-Encoding: gzip, gzip\r\n\r\nabc"], "answers in a Content-Encoding that was not asked for"),
]))
def test_what_is_no_answer(data, words, monkeypatch):
    monkeypatch.setattr(_client, "_PAUSES", (0.0, 0.0))
    with serve(lambda request: data) as server:
        assert str(get_error(server.url, LOGIN)).startswith(f"{server.url} {words}")


@pytest.mark.parametrize(("data", "body"), table([
    ("no headers", [b"HTTP/1.1 200 OK\r\n\r\n"], b""),
    ("line feeds", [b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc"], b"abc"),
    ("another head before", [b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\n" + HEAD + b"\r\nabc"], b"abc"),
    ("pieces", [CHUNKED + b"2;x=y\r\nab\r\n1\r\nc\r\n0\r\n\r\n"], b"abc"),
    ("nothing that is compressed", [HEAD + b"Content-Encoding: gzip\r\nContent-Length: 0\r\n\r\n"], b""),
]))
def test_what_is_an_answer(data, body):
    with serve(lambda request: data) as server:
        assert get(server.url, LOGIN).body == body


# Limits

def encoded(body, encoding):
    return Reply(200, body, [("Content-Encoding", encoding)])


@pytest.mark.parametrize("reply", table([
    ("plain", Reply(body=b"x" * 1048576)),
    ("gzip", encoded(gzip.compress(b"x" * 1048576), "gzip")),
    ("deflate", encoded(zlib.compress(b"x" * 1048576), "deflate")),
    ("identity", encoded(b"x" * 1048576, "identity")),
]))
def test_a_body_of_a_megabyte(reply):
    with serve(lambda request: reply) as server:
        assert get(server.url).body == b"x" * 1048576


@pytest.mark.parametrize("reply", [Reply(body=b"x" * 1048577), encoded(gzip.compress(b"\0" * (64 << 20), 1), "X-GZIP")], ids=["plain", "gzip"])
def test_a_body_of_more(reply):
    with serve(lambda request: reply) as server:
        error = get_error(server.url, LOGIN)
        assert str(error) == f"{server.url} answers with more than 1048576 bytes, too much for this service: check the address"


def test_a_body_without_end():
    def answers(request):
        yield b"HTTP/1.1 200 OK\r\n\r\n"
        while True:
            yield b"x" * 65536

    with serve(answers) as server:
        assert "answers with more than 1048576 bytes" in str(get_error(server.url))


@pytest.mark.parametrize("start", table([
    ("from the start", b""),
    ("in a header", HEAD + b"X-"),
    ("in the body", HEAD + b"Content-Length: 1000\r\n\r\n"),
]))
def test_a_server_that_takes_its_time(start):
    """It never ends by itself, so it is the client that ended it."""
    def answers(request):
        yield start
        while server.pause(0.05):
            yield b"x"

    with serve(answers) as server:
        assert str(get_error(server.url, LOGIN, HttpOptions(timeout=0.3))) == f"{server.url} did not answer within 0.3 seconds{LATE}"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_silent_server(scheme):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
        assert str(get_error(url, options=HttpOptions(timeout=0.8))) == f"{url} did not answer within 0.8 seconds{LATE}"


def test_the_body_is_not_read_after_the_deadline():
    with serve(lambda request: json_reply({})) as server, requests.get(server.url, stream=True, timeout=10) as response, \
            pytest.raises(socket.timeout):
        _client._read_response(response, time.monotonic() - 1)


# Proxies

@pytest.mark.parametrize("value", ["http://joe:{password}@localhost:{port}", "127.0.0.1:{port}"], ids=["a URL", "only host and port"])
def test_the_proxy_of_the_environment_is_asked(value, monkeypatch):
    with serve(lambda request: json_reply({})) as proxy:
        monkeypatch.setenv("http_proxy", value.format(password=PASSWORD, port=proxy.port))
        assert get("http://example.invalid/a", "Bearer t").status == 200
        assert [request.path for request in proxy.requests] == ["http://example.invalid/a"]
        monkeypatch.setenv("no_proxy", "example.invalid")
        assert "cannot be resolved" in str(get_error("http://example.invalid/a"))


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_not_there(scheme, monkeypatch):
    address = f"localhost:{web.free_port()}"
    monkeypatch.setenv(f"{scheme}_proxy", f"http://joe:{PASSWORD}@{address}")
    error = get_error(f"{scheme}://example.invalid")
    assert str(error) == f"the proxy http://{address} (set in the environment for {scheme}://example.invalid) {REFUSES}"
    assert not isinstance(error, NotTlsError)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(("login", "words"), [
    (f"joe:{PASSWORD}@", "rejects the login that {variable} holds (407 Proxy Authentication Required): check user name and password in it"),
    ("", "requires a login (407 Proxy Authentication Required), and {variable} holds none: write it like http://user:password@host.example.org:3128"),
], ids=["a wrong login", "no login"])
def test_a_proxy_that_wants_a_login(scheme, login, words, monkeypatch):
    with serve(lambda request: Reply(407, reason=PASSWORD)) as proxy:
        monkeypatch.setenv(f"{scheme}_proxy", f"http://{login}{proxy.host}")
        words = words.format(variable=f"{scheme}_proxy")
        assert str(get_error(f"{scheme}://x.invalid")) == f"the proxy {proxy.url} (set in the environment for {scheme}://x.invalid) {words}"


def test_a_proxy_that_does_not_connect(monkeypatch):
    with serve(lambda request: Reply(403, reason=PASSWORD)) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        assert str(get_error("https://example.invalid")).endswith("for https://example.invalid) does not connect to it: it answers 403 Forbidden; "
                                                                  "check the proxy's settings")


def test_a_login_to_a_proxy_without_a_scheme(monkeypatch):
    """As curl and Go take it: http:// is meant."""
    def answers(request):
        right = basic("joe", PASSWORD)
        return json_reply({}) if request.headers.get("proxy-authorization") == right else Reply(407)

    with serve(answers) as proxy:
        monkeypatch.setenv("http_proxy", f"joe:{PASSWORD}@127.0.0.1:{proxy.port}")
        assert get("http://example.invalid/a").status == 200


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("timeout", [0.8, 4])
def test_a_proxy_that_is_silent(scheme, timeout, monkeypatch):
    """It is the one that did not answer, and not the server behind it: in the first attempt and in the next."""
    monkeypatch.setattr(_client, "_SOON_CONNECTED", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        monkeypatch.setenv(f"{scheme}_proxy", address)
        assert str(get_error(f"{scheme}://example.invalid", options=HttpOptions(timeout=timeout))) == (
            f"the proxy http://{address} (set in the environment for {scheme}://example.invalid) did not answer within {timeout:g} seconds{LATE}")


def test_a_server_behind_a_proxy_is_silent(monkeypatch):
    def answers(request):
        yield b"HTTP/1.1 200 Connection established\r\n\r\n"
        proxy.pause(20)

    with serve(answers) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        error = str(get_error("https://example.invalid", options=HttpOptions(timeout=6)))
        assert error == f"https://example.invalid (asked through the proxy {proxy.url}) did not answer within 6 seconds{LATE}"


@pytest.mark.parametrize("variable", ["all_proxy", "ALL_PROXY"])
def test_what_go_does_not_read_is_not_followed(variable, monkeypatch):
    monkeypatch.setenv(variable, f"socks5h://127.0.0.1:{web.free_port()}")
    assert "cannot be resolved" in str(get_error("http://example.invalid/a"))
    assert "cannot be resolved" in str(get_error("https://example.invalid/a"))


def test_a_server_behind_a_proxy_fails(monkeypatch):
    data = {"http://a.invalid/": b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n\r\nabc", "http://b.invalid/": b"nonsense\r\n"}
    with serve(lambda request: [data[request.path]]) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert "http://a.invalid answers in a Content-Encoding" in str(get_error("http://a.invalid"))
        assert str(get_error("http://b.invalid")).startswith(f"http://b.invalid (asked through the proxy {proxy.url}) does not answer in HTTP")


@pytest.mark.parametrize("value", table([
    ("no host", f"http://:{PASSWORD}@"),
    ("half an address", f"http://joe:{PASSWORD}@[x"),
    ("port 0", f"http://joe:{PASSWORD}@x:0"),
    ("a port that is none", f"http://joe:{PASSWORD}@x:y"),
]))
def test_a_proxy_that_is_no_url(value, monkeypatch):
    monkeypatch.setenv("http_proxy", value)
    assert str(get_error("http://example.invalid")) == ("http://example.invalid was not asked: the proxy set for it in the environment is not valid; "
                                                        "write it like http://host.example.org:3128")


# Secrets

@pytest.mark.parametrize("status", [200, 302, 401, 403, 407, 500])
def test_a_server_that_says_the_credential_everywhere(status):
    with serve(web.echo(status)) as server:
        try:
            shown = repr(get(server.url, LOGIN))
        except NetworkError as error:
            shown = repr(error)
        assert not any(secret in shown for secret in (PASSWORD, ENCODED))


# What a client remembers

def test_clients_that_share_what_they_know_ask_once():
    with serve(lambda request: Reply(401 if request.authorization else 200)) as server:
        known = KnownResponses()
        for _attempt in range(2):
            with Client(HttpOptions(), known=known) as client:
                assert client.get(server.url).status == 200
                assert client.get(server.url, same_server=True).status == 200
                assert not client.refused
                assert client.get(server.url, LOGIN).status == 401
                assert client.refused
        assert server.asked == ["/", "/ Basic"]
        get(server.url)
        get(server.url)
        assert len(server.asked) == 4


def test_what_redirects_elsewhere_is_not_the_same_for_who_may_not_follow():
    with serve(lambda request: Reply(200)) as other, serve(lambda request: Reply(302, headers=[("Location", other.url)])) as server:
        with Client(HttpOptions(), known=KnownResponses()) as client:
            assert client.get(server.url).status == 200
            for _attempt in range(2):
                with pytest.raises(ElsewhereError):
                    client.get(server.url, same_server=True)
        assert (len(server.asked), len(other.asked)) == (2, 1)


def test_clients_that_ask_the_same_at_the_same_time_ask_once():
    def slow(request):
        server.pause(0.3)
        return Reply(200)

    with serve(slow) as server:
        known, found = KnownResponses(), []

        def ask():
            with Client(HttpOptions(), known=known) as client:
                found.append(client.get(server.url).status)

        threads = [threading.Thread(target=ask) for _thread in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [200] * 5
        assert server.asked == ["/"]


def test_who_waits_for_another_one_waits_no_longer_than_the_time():
    known = KnownResponses()
    with Client(HttpOptions(timeout=0.1), known=known) as client, known.lock(("http://x.invalid", "", True, False)), \
            pytest.raises(NetworkError, match=r"^http://x\.invalid did not answer within 0\.1 seconds"):
        client.get("http://x.invalid")


def test_a_server_that_is_not_there_is_not_tried_again():
    url, known = f"http://localhost:{web.free_port()}", KnownResponses()
    for _attempt in range(2):
        with Client(HttpOptions(), known=known) as client:
            with pytest.raises(NotTlsError, match="refuses the connection"):
                client.get(url)
            assert not client.reached
    assert len(known) == 1


def test_a_rejected_credential_is_not_sent_again():
    with serve(lambda request: Reply(401)) as server:
        known = KnownResponses()
        with Client(HttpOptions(), known=known) as client:
            client.get(server.url, LOGIN)
            client.get(server.url + "/a", LOGIN)  # the same claim: what this means is not clear yet
            client.remember_rejection()
        with Client(HttpOptions(), known=known) as client:
            for path in ("", "/b"):
                with pytest.raises(NetworkError) as caught:
                    client.get(server.url + path, LOGIN)
                assert str(caught.value) == f"{server.url} has rejected this login already (401 Unauthorized), so it was not sent again: check it"
            client.get(server.url + "/b", "Basic other")
            assert client.has_rejected(server.url, LOGIN)
            assert not client.has_rejected("http://[", LOGIN)
        assert server.asked == ["/ Basic", "/a Basic", "/b Basic"]
        with Client(HttpOptions()) as client:
            client.get(server.url, LOGIN)
            client.remember_rejection()  # for nobody


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
    for name in ("requests", "requests.adapters"):
        monkeypatch.setitem(sys.modules, name, None)
    spec = importlib.util.spec_from_file_location(_client.__name__, _client.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert _client.REQUESTS_IMPORT_ERROR is None
    spec = importlib.util.spec_from_file_location(_client.connections.__name__, _client.connections.__file__)
    connections = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(connections)
    assert connections.HTTPAdapter is object
    assert "ModuleNotFoundError" in module.REQUESTS_IMPORT_ERROR
    with module.Client(module.HttpOptions()):
        pass
