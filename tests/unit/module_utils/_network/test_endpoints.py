# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Endpoints with token services and without, good and bad tokens, versions of services."""

from __future__ import annotations

import time

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._apptainer.services import service_hazard
from ansible_collections.hpc.apptainer.plugins.module_utils._network.client import Client
from ansible_collections.hpc.apptainer.plugins.module_utils._network.discovery import DOCUMENT, Services, discover
from ansible_collections.hpc.apptainer.plugins.module_utils._network.endpoints import ServiceStatus, service_statuses
from ansible_collections.hpc.apptainer.plugins.module_utils._network.http_options import HttpOptions
from ansible_collections.hpc.apptainer.plugins.module_utils._network.verdict import Verdict
from ansible_collections.hpc.apptainer.plugins.module_utils._network.verification import verify_claim
from ansible_collections.hpc.apptainer.plugins.module_utils._values.claims import EndpointServices, EndpointToken
from support.asking import LATE, PASSWORD, verdict
from support.tables import table
from support.web import HTML, Reply, guarded, json_reply, routes, serve

STATUS = "/t/v1/token-status"
RIGHT = f"Bearer {PASSWORD}"


def endpoint(table, uri="{url}/t"):
    """An endpoint with a token service, and `table` of what else there is."""
    def answers(request):
        if request.path == DOCUMENT:
            return json_reply({"tokenAPI": {"uri": uri.format(url=server.url)}})
        return routes(table)(request)

    with serve(answers) as server:
        verified, reason, _warning = verdict(EndpointToken("site", f"//{server.host}", True, PASSWORD))
    assert server.asked[0] == DOCUMENT
    return verified, reason.replace(server.url, "URL"), server.asked[1:]


@pytest.mark.parametrize(("reply", "verified", "words"), table([
    ("welcome", json_reply({"data": {"username": "alice"}, "status": "welcome"}), True, "accepts the token"),
    ("an empty object", json_reply({}), True, "accepts the token"),
    ("no error", json_reply({"data": {}, "error": None}), True, "accepts the token"),
    ("an error", json_reply({"error": {"code": 401, "message": PASSWORD}}), False, "answers with something other than a token status"),
    ("several errors", json_reply({"errors": [{"code": 401, "detail": PASSWORD}]}), False, "answers with something other than a token status"),
    ("a list", json_reply([]), False, "answers with something other"),
    ("null", json_reply(None), False, "answers with something other"),
    ("nothing, as Singularity Registry Server", Reply(200, headers=[("Content-Type", "application/json")]), True, "accepts the token"),
    ("a line break", Reply(200, b"\r\n"), True, "accepts the token"),
    ("an empty web page", Reply(200, headers=[("Content-Type", "text/html")]), False, "answers with a web page, so it is not a token service"),
    ("text", Reply(body=PASSWORD.encode()), False, "answers with something other"),
    ("a web page", HTML, False, "answers with a web page, so it is not a token service; check the endpoint's tokenAPI uri"),
    ("401", Reply(401), False, "answers 401 Unauthorized: the token is rejected; it is wrong, expired or revoked, so create a new one"),
    ("403", Reply(403), False, "answers 403 Forbidden: the token is rejected; it is wrong, expired or revoked, so create a new one"),
    ("429", Reply(429), False, "answers 429 Too Many Requests: it is rate limiting, so the token could not be verified; try again later"),
    ("404", Reply(404), False, "answers 404 Not Found: the token is unknown, or this is not a token service"),
    ("406", Reply(406), False, "answers 406 Not Acceptable: the token is malformed"),
    ("500", Reply(500), False, "answers 500 Internal Server Error: server error, so the token could not be verified; see its log"),
    ("501", Reply(501), False, "answers 501 Not Implemented: server error"),
    ("418", Reply(418, reason=PASSWORD), False, "answers 418"),
    ("204", Reply(204), False, "answers 204 No Content: the token is not accepted; check it"),
]))
def test_token(reply, verified, words):
    result, reason, asked = endpoint({STATUS: guarded(reply, RIGHT)})
    assert result is verified
    assert reason.startswith(f"the token service URL{STATUS} ")
    assert words in reason
    assert asked == [f"{STATUS} Bearer"] + [STATUS] * (verified is True)


@pytest.mark.parametrize(("anonymous", "verified", "words"), table([
    ("the same", json_reply({"status": "welcome"}), None, "gives the same answer without a token, so the token could not be verified"),
    ("a web page", HTML, True, "accepts the token"),
    ("401", Reply(401), True, "accepts the token"),
    ("403", Reply(403), True, "accepts the token"),
    ("404", Reply(404), True, "accepts the token"),
    ("500", Reply(500), True, "accepts the token"),
    ("a redirect to where 404 is", Reply(302, headers=[("Location", "/login")]), True, "accepts the token"),
    ("a redirect elsewhere", Reply(302, headers=[("Location", "https://sso.invalid/")]), True, "accepts the token"),
]))
def test_a_token_service_that_answers_without_a_token_too(anonymous, verified, words):
    result, reason, asked = endpoint({STATUS: lambda request: json_reply({}) if request.authorization else anonymous})
    assert result is verified, reason
    assert words in reason
    assert asked[:2] == [f"{STATUS} Bearer", STATUS]


UNCLEAR = "answers without content, and does not refuse requests without a token either, so the token could not be verified"


@pytest.mark.parametrize(("anonymous", "verified", "words"), table([
    ("the same", Reply(200), None, UNCLEAR),
    ("JSON", json_reply({}), None, UNCLEAR),
    ("a web page", HTML, None, UNCLEAR),
    ("500", Reply(500), None, UNCLEAR),
    ("429", Reply(429), None, UNCLEAR),
    ("401", Reply(401), True, "accepts the token"),
    ("404", Reply(404), True, "accepts the token"),
    ("a redirect elsewhere", Reply(302, headers=[("Location", "https://sso.invalid/")]), True, "accepts the token"),
]))
def test_a_token_service_that_answers_without_content(anonymous, verified, words):
    result, reason, asked = endpoint({STATUS: lambda request: Reply(200) if request.authorization else anonymous})
    assert result is verified, reason
    assert words in reason
    assert asked == [f"{STATUS} Bearer", STATUS]


def test_singularity_registry_server():
    """What version 2 answers: a document with more in it than services, 200 without content to a good token, 404 to all others."""
    def answers(request):
        path = request.path
        if path == DOCUMENT:
            services = {name: {"uri": server.url} for name in ("libraryAPI", "keystoreAPI", "tokenAPI")}
            return json_reply({"env": {"name": "prod"}, "logging": {"console": True}, **services, "auth": {"type": "oauth2"}})
        if path == "/version":
            return json_reply({"version": "v1.0.0", "apiVersion": "2.0.0-alpha.1"})
        return Reply(200 if path == "/v1/token-status" and request.authorization == RIGHT else 404, headers=[("Content-Type", "application/json")])

    with serve(answers) as server, Client(HttpOptions()) as client:
        uri = f"//{server.host}"
        assert verdict(EndpointToken("site", uri, True, PASSWORD)) == Verdict(True, f"the token service {server.url}/v1/token-status accepts the token")
        assert verdict(EndpointToken("site", uri, True, "wrong")).verified is False
        assert [status.version for status in service_statuses(discover(client, uri, True), client)][1:] == ["v1.0.0"] * 2


def test_the_right_token_is_sent():
    assert endpoint({STATUS: guarded(json_reply({}), RIGHT)}, "{url}/t//")[0] is True
    assert endpoint({STATUS: guarded(json_reply({}), "Bearer other")})[0] is False


def test_an_endpoint_without_token_service():
    with serve(routes({DOCUMENT: json_reply({"libraryAPI": {"uri": "https://l"}})})) as server:
        assert verdict(EndpointToken("site", f"//{server.host}", True, PASSWORD)) == Verdict(
            False, f'{server.url}{DOCUMENT} offers no token service (it offers: "library"); check uri, or add the service to that document')


def test_the_token_is_not_sent_in_clear_for_a_secure_endpoint(authority):
    with serve(lambda request: json_reply({})) as service, \
            serve(lambda request: json_reply({"tokenAPI": {"uri": service.url}}), authority.context()) as server:
        verified, reason, _warning = verdict(EndpointToken("site", f"//{server.host}", False, PASSWORD), ca_path=authority.ca)
        assert verified is False
        assert reason.startswith(f"the token service {service.url}/v1/token-status uses plain http, so the token was not sent: give")
        assert not service.requests


HTTP = "which uses plain http, although the endpoint uses https"
LOCAL = "which is at a loopback or link-local address, where each node finds only itself"


@pytest.mark.parametrize(("uri", "hazard"), [("http://127.0.0.1:15001", HTTP), ("https://127.0.0.1:15001", LOCAL)])
def test_an_endpoint_that_leads_to_where_no_node_should_go(authority, uri, hazard):
    """What is demanded is refused, of the rest there is a warning."""
    with serve(lambda request: json_reply({"libraryAPI": {"uri": uri}, "keystoreAPI": {"uri": server.url}}), authority.context()) as server:
        place = f"//{server.host}"
        text = f"{server.url}{DOCUMENT} offers a library service at {uri}, {hazard}"
        assert verdict(EndpointServices("site", place, False, ("keyserver", "library")), ca_path=authority.ca) == Verdict(
            False, f"{text}: correct that in the document")
        for services in ((), ("keyserver",)):
            result = verdict(EndpointServices("site", place, False, services), ca_path=authority.ca)
            assert (result.verified, result.warning) == (True, text)


def test_a_token_for_an_endpoint_that_leads_elsewhere(authority):
    """Apptainer sends the token to all services of the endpoint."""
    def answers(request):
        return json_reply(document) if request.path == DOCUMENT else guarded(json_reply({}), RIGHT)(request)

    with serve(answers, authority.context()) as server:
        claim = EndpointToken("site", f"//{server.host}", False, PASSWORD)
        document = {"tokenAPI": {"uri": server.url}}
        assert verdict(claim, ca_path=authority.ca).warning == ""
        document = {"libraryAPI": {"uri": "http://l.example"}, "tokenAPI": {"uri": server.url}}
        assert verdict(claim, ca_path=authority.ca) == Verdict(
            True, f"the token service {server.url}/v1/token-status accepts the token",
            f"{server.url}{DOCUMENT} offers a library service at http://l.example, {HTTP}, and Apptainer sends the token there")
        document = {"tokenAPI": {"uri": f"https://127.0.0.1:{server.port}"}}
        assert verdict(claim, ca_path=authority.ca) == Verdict(
            False, f"the token service https://127.0.0.1:{server.port}/v1/token-status {LOCAL[6:]}, so the token was not sent: correct tokenAPI in "
                   "the endpoint's discovery document")
        assert server.asked.count("/v1/token-status Bearer") == 2


def test_a_token_by_https(authority):
    def answers(request):
        return json_reply({"tokenAPI": {"uri": server.url}}) if request.path == DOCUMENT else guarded(json_reply({}), RIGHT)(request)

    with serve(answers, authority.context()) as server:
        assert verdict(EndpointToken("site", f"//{server.host}", False, PASSWORD), ca_path=authority.ca)[0] is True
        assert server.asked == [DOCUMENT, "/v1/token-status Bearer", "/v1/token-status"]


def test_a_token_that_no_header_can_carry():
    with serve(lambda request: json_reply({"tokenAPI": {"uri": server.url}})) as server:
        assert "the credential has a line break" in verdict(EndpointToken("site", f"//{server.host}", True, "x\r")).reason


@pytest.mark.parametrize(("services", "verified", "words"), table([
    ("there", ("library",), True, "offers the required services (library)"),
    ("one of two", ("library", "token"), False, 'offers no token service (it offers: "library")'),
]))
def test_required_services(services, verified, words):
    with serve(routes({DOCUMENT: json_reply({"libraryAPI": {"uri": "https://l"}})})) as server:
        result, reason, _warning = verdict(EndpointServices("site", f"//{server.host}", True, services))
    assert result is verified
    assert words in reason


def test_an_endpoint_of_which_no_service_is_required_must_be_one():
    with serve(routes({DOCUMENT: json_reply({})})) as server:
        assert verdict(EndpointServices("site", f"//{server.host}", True, ())) == Verdict(True, f"//{server.host} has a discovery document")
        assert server.asked == [DOCUMENT]
    with serve(lambda request: HTML) as server:
        verified, reason, _warning = verdict(EndpointServices("site", f"//{server.host}", True, ()))
        assert verified is False
        assert "a web page instead of a discovery document" in reason


def test_services_of_the_default_endpoint_are_not_asked_for():
    client = Client(HttpOptions())
    client.get = None
    assert verify_claim(EndpointServices("site", "cloud.apptainer.org", False, ("keyserver",)), client).verified is True
    assert verify_claim(EndpointServices("site", "cloud.apptainer.org", False, ("library",)), client) == Verdict(
        False, "Apptainer has no library at cloud.apptainer.org, whatever that server answers (this is fixed in Apptainer); use another endpoint")


NO_BUILDER = "https://e.example offers a builder service, but its uri is empty"
OTHER = "answers with something other than a version"


@pytest.mark.parametrize(("reply", "version", "error"), table([
    ("a version", json_reply({"data": {"version": "v1.0.0", "apiVersion": "2.0.0-alpha.2"}}), "v1.0.0", None),
    ("a long version", json_reply({"data": {"version": "v" * 200}}), "v" * 100, None),
    ("404", Reply(404), None, "answers 404 Not Found"),
    ("a web page", HTML, None, OTHER),
    ("a list", json_reply([]), None, OTHER),
    ("text", json_reply({"data": "x"}), None, OTHER),
    ("an empty version", json_reply({"data": {"version": ""}}), None, OTHER),
]))
def test_service_statuses(reply, version, error):
    with serve(routes({"/l/version": reply})) as server, Client(HttpOptions()) as client:
        found = service_statuses(Services("https://e.example", {"library": f"{server.url}/l/", "builder": ""}), client)
        assert server.asked == ["/l/version"]
    assert found == [ServiceStatus("builder", "", None, f"{NO_BUILDER}; correct it in that document"),
                     ServiceStatus("library", f"{server.url}/l/", version, error and f"{server.url}/l/version {error}")]


@pytest.mark.parametrize(("key", "error"), [(Reply(404), None), (HTML, "answers 404 Not Found")])
def test_a_keyserver_without_a_version(key, error):
    """Apptainer shows N/A for it. A web page of an HKP server is no version either."""
    def answers(request):
        return Reply(404) if request.path == "/version" else Reply(200) if "op=stats" in request.path else key

    with serve(answers) as server, Client(HttpOptions()) as client:
        (found,) = service_statuses(Services("", {"keyserver": server.url}), client)
    assert found == ServiceStatus("keyserver", server.url, None, error and f"{server.url}/version {error}")


def test_service_statuses_is_bounded():
    def slow(request):
        server.pause(5)
        return Reply(200)

    with serve(slow) as server, Client(HttpOptions(timeout=0.2)) as client:
        assert "did not answer within 0.2 seconds" in service_statuses(Services("", {"library": server.url}), client)[0].error
        client.get = lambda url: time.sleep(1)
        (status,) = service_statuses(Services("", {"library": server.url}), client)
        assert status.error == f"the library service did not answer within 0.2 seconds{LATE}"
        found = service_statuses(Services("", {f"s{number}": "" for number in range(100)}), client)
        assert len(found) == 32


LONG = "x" * 60_000


@pytest.mark.parametrize(("name", "uri", "shown"), table([
    ("a uri", "library", f"https://{LONG}.invalid/", "https://" + LONG[:192] + "..."),
    ("a uri that is cut within an escape", "library", "https://127.0.0.1/" + "x" * 180 + "%41" * 10_000, "https://127.0.0.1/" + "x" * 180 + "..."),
    ("a path", "token", "{url}/" + LONG, None),
    ("a name", LONG, "{url}/t", None),
    ("a query", "library", "{url}/t?token=" + PASSWORD, "{url}/t?(hidden)"),
]))
def test_what_a_document_says_is_cut(name, uri, shown):
    with serve(lambda request: json_reply({name: {"uri": uri.replace("{url}", server.url)}} if request.path == DOCUMENT else {}, 200)) as server, \
            Client(HttpOptions()) as client:
        (status,) = service_statuses(discover(client, f"//{server.host}", True), client)
    assert len(repr(status)) < 2000
    assert PASSWORD not in repr(status)
    assert shown is None or status.uri == shown.replace("{url}", server.url)
    if "%" in uri:  # what is cut can still be looked at
        assert service_hazard(f"//{server.host}", False, status.uri)


def test_halves_of_surrogate_pairs_are_no_characters():
    """As Go's encoding/json reads them; nothing could print or encode such a result."""
    body = b'{"a\\ud800": {"uri": "https://h.example/\\udfff"}, "b\\ud83d\\ude00": {"uri": "https://h.example/"}, "n": null}'
    with serve(lambda request: Reply(200, body)) as server, Client(HttpOptions()) as client:
        services = discover(client, f"//{server.host}", True)
    assert services.uris == {"a\ufffd": "https://h.example/\ufffd", "b\U0001f600": "https://h.example/"}
