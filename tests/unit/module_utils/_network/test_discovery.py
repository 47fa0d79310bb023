# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import importlib.util
import json
import sys

import jsonschema
import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import NetworkError
from ansible_collections.hpc.apptainer.plugins.module_utils._network import discovery as _discovery
from ansible_collections.hpc.apptainer.plugins.module_utils._network.client import Client, Response
from ansible_collections.hpc.apptainer.plugins.module_utils._network.discovery import (
    DOCUMENT,
    Services,
    builtin_keyserver,
    discover,
    read_json,
    service_uri,
)
from ansible_collections.hpc.apptainer.plugins.module_utils._network.http_options import HttpOptions
from hypothesis import given
from hypothesis import strategies as st
from support.tables import table
from support.web import HTML, Reply, free_port, json_reply, routes, serve

REAL = {"libraryAPI": {"uri": "http://lib.example/"}, "tokenAPI": {"uri": "https://lib.example/token"}, "keystoreAPI": {"uri": "https://keys.example/"},
        "builderAPI": {"uri": ""}, "params": {"session_lifetime": 3600}}


@pytest.fixture
def client():
    with Client(HttpOptions()) as client:
        yield client


def discovered(client, reply):
    with serve(routes({"/ep" + DOCUMENT: reply})) as server:
        return discover(client, f"//{server.host}/ep", True), server


def test_a_real_document(client):
    services, server = discovered(client, json_reply(REAL))
    assert services.url == f"{server.url}/ep{DOCUMENT}"
    assert services.uris == {"library": "http://lib.example/", "token": "https://lib.example/token", "keyserver": "https://keys.example/",
                             "builder": ""}
    assert server.asked == [f"/ep{DOCUMENT}"]


@pytest.mark.parametrize(("body", "uris"), table([
    ("nothing", "{}", {}),
    ("entries without a uri", '{"libraryAPI": null, "x": {}, "y": {"uri": 5}, "API": {"uri": "u"}}', {"": "u"}),
    ("the same key twice", '{"libraryAPI": {"uri": "a"}, "libraryAPI": {"uri": "b"}}', {"library": "b"}),
    ("a large number", '{"a": {"uri": "b", "n": 123456789012345678901234567890}}', {"a": "b"}),
    ("no UTF-8", b'{"a": {"uri": "\xff"}}', {"a": "\ufffd"}),
]))
def test_what_go_can_decode(client, body, uris):
    data = body if isinstance(body, bytes) else body.encode()
    assert discovered(client, Reply(200, data, [("Content-Type", "text/plain")]))[0].uris == uris


@pytest.mark.parametrize(("reply", "words"), table([
    ("404", Reply(404), "answers 404 Not Found, so there is probably no library endpoint at this address: check uri"),
    ("401", Reply(401), "answers 401 Unauthorized, but Apptainer reads the discovery document without logging in: make it readable without"),
    ("403", Reply(403), "answers 403 Forbidden, but"),
    ("429", Reply(429), "answers 429 Too Many Requests: it is rate limiting; try again later"),
    ("500", Reply(500), "answers 500 Internal Server Error: server error; see its log"),
    ("204", Reply(204), "answers 204 No Content instead of a discovery document: check uri"),
    ("a web page", HTML, "answers with a web page instead of a discovery document: check that uri is that of a library endpoint"),
    ("a web page without a type", Reply(body=b" <!DOCTYPE HTML><p>hi"), "answers with a web page instead"),
    ("text", Reply(body=b"hello", headers=[("Content-Type", "text/plain")]), "answers with text/plain that is not JSON instead"),
    ("text without a type", Reply(body=b"hello"), "answers with something that is not JSON instead"),
    ("half a document", Reply(body=b'{"a": ', headers=[("Content-Type", "application/json")]), "answers with invalid JSON instead"),
    ("an empty body", Reply(body=b""), "something that is not JSON"),
    ("too deep", Reply(body=b"[" * 200000), "something that is not JSON"),
    ("not a number", Reply(body=b'{"a": {"uri": NaN}}'), "something that is not JSON"),
    ("a byte order mark", Reply(body=b'\xef\xbb\xbf{}'), "something that is not JSON"),
    ("a list", json_reply([]), "JSON of the wrong shape (an array where an object like"),
    ("null", json_reply(None), "(null where"),
    ("a text", json_reply("SECRET"), "(text where"),
    ("a text as a service", json_reply({"libraryAPI": "SECRET"}),
     '(text at "libraryAPI", where an object with a uri is expected) instead of a discovery document'),
    ("a boolean as a service", json_reply({"x": True}), "(a boolean at"),
    ("a number as a service with a long name", json_reply({"x" * 100: 5}), '(a number at "' + "x" * 40 + '...", where'),
]))
def test_what_is_no_document(client, reply, words):
    with pytest.raises(NetworkError) as caught:
        discovered(client, reply)
    assert words in str(caught.value)
    assert str(caught.value).startswith("http://localhost:")
    assert f"/ep{DOCUMENT} answers" in str(caught.value)
    assert "SECRET" not in repr(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("uri", table([
    ("a port", "host.example:8443"),
    ("empty", ""),
    ("a bad escape", "a b%zz"),
    ("a query", "host/?x"),
    ("no host, and a login", "https://joe:SECRET@:8443"),
]))
def test_uris_that_apptainer_cannot_use(client, uri):
    with pytest.raises(NetworkError, match=r'^Apptainer cannot look for services at the endpoint uri ".*"; write it like') as caught:
        discover(client, uri, False)
    assert "SECRET" not in str(caught.value)


def test_a_login_in_the_uri_is_not_shown(client):
    with serve(lambda request: Reply(404)) as server, pytest.raises(NetworkError) as caught:
        discover(client, f"//joe:SECRET@{server.host}", True)
    assert str(caught.value).startswith(f"http://(hidden)@{server.host}{DOCUMENT} answers 404")


SERVICES = Services("https://e.example" + DOCUMENT, {
    "library": "https://l.example//", "token": " ", "keyserver": "ftp://k.example", "builder": "l.example", "consent": "https://:80",
    "x": "https://x.example:port", "long": "https://l.example/" + 2031 * "x", "most": "https://l.example/" + 2030 * "x"})


@pytest.mark.parametrize(("name", "words"), table([
    ("not offered", "y", 'offers no y service (it offers: "builder", "consent", "keyserver", "library", "long", "most", "token", "x"); check'),
    ("white space", "token", "offers a token service, but its uri is empty; correct it in that document"),
    ("another scheme", "keyserver", "offers a keyserver service, but its uri is not an http or https address; correct it in that document"),
    ("no scheme", "builder", "but its uri is not an http or https address"),
    ("no host", "consent", "but its uri is not an http or https address"),
    ("a port that is none", "x", "but its uri is not an http or https address"),
    ("too long", "long", "offers a long service, but its uri has 2049 characters, which is too long; correct it in that document"),
]))
def test_services_that_cannot_be_used(name, words):
    with pytest.raises(NetworkError) as caught:
        service_uri(SERVICES, name)
    assert str(caught.value).startswith(f"https://e.example{DOCUMENT} ")
    assert words in str(caught.value)


def test_service_uri():
    assert service_uri(SERVICES, "library") == "https://l.example"
    assert len(service_uri(SERVICES, "most")) == 2048
    with pytest.raises(NetworkError, match=r"offers no token service \(it offers: nothing\)"):
        service_uri(Services("https://e.example", {}), "token")


def test_the_keyserver_of_an_endpoint(client):
    with serve(routes({DOCUMENT: json_reply(REAL)})) as server:
        assert builtin_keyserver(client, f"//{server.host}", True) == "https://keys.example/"


def test_what_apptainer_knows_without_asking(client, monkeypatch):
    monkeypatch.setattr(client, "get", None)
    assert builtin_keyserver(client, "cloud.apptainer.org", False) == "https://keys.openpgp.org"


def test_an_endpoint_without_keyserver(client):
    with serve(routes({DOCUMENT: json_reply({})})) as server, pytest.raises(NetworkError, match="offers no keyserver service"):
        builtin_keyserver(client, f"//{server.host}", True)


def test_an_endpoint_with_a_keyserver_that_nobody_could_store(client):
    document = {"keystoreAPI": {"uri": "https://k.example/" + "k" * 500000}}
    with serve(routes({DOCUMENT: json_reply(document)})) as server, pytest.raises(NetworkError) as caught:
        builtin_keyserver(client, f"//{server.host}", True)
    assert len(str(caught.value)) < 200


def test_the_schema_is_of_draft_4():
    jsonschema.Draft4Validator.check_schema(_discovery.SCHEMA)


@given(st.recursive(st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
                    lambda item: st.lists(item, max_size=3) | st.dictionaries(st.text(max_size=5), item, max_size=3), max_leaves=6))
def test_any_value_is_read_and_judged(value):
    answer = Response("https://x.example", 200, "", "", json.dumps(value).encode())
    assert read_json(answer) == value
    fits = isinstance(value, dict) and all(entry is None or isinstance(entry, dict) for entry in value.values())
    assert (_discovery._problem(value) == "") == fits


def test_without_jsonschema(monkeypatch):
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    spec = importlib.util.spec_from_file_location(_discovery.__name__, _discovery.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert _discovery.JSONSCHEMA_IMPORT_ERROR is None
    assert "ModuleNotFoundError" in module.JSONSCHEMA_IMPORT_ERROR


def test_an_endpoint_by_plain_http():
    """What to write is said where that would do."""
    with serve(lambda request: json_reply({})) as server, Client(HttpOptions()) as client, pytest.raises(NetworkError) as caught:
        discover(client, f"//{server.host}", False)
    assert str(caught.value).endswith("check the address. If the endpoint is served by plain http, write its uri with http:// and set insecure: true")
    with Client(HttpOptions()) as client, pytest.raises(NetworkError) as caught:
        discover(client, f"//localhost:{free_port()}", False)
    assert "insecure" not in str(caught.value)
