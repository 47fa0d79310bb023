# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The servers of the tests are what they claim to be, and leaks are found where some are planted."""

import base64
import json
import re
import shlex
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
import yaml
from support import envs, leaks, processes
from support.servers import library as libraries
from support.servers.keyserver import FINGERPRINT
from support.servers.recorded import account

STATS, TOKEN_STATUS = "/pks/lookup?op=stats", "token/v1/token-status"


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments):
        return None


def get(url, ca=None, authorization=None, client=None, timeout=100.0):
    """Status, headers and body; a URLError when it doesn't come to that."""
    context = ssl.create_default_context(cafile=ca)
    if client:
        context.load_cert_chain(*client)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context), NoRedirect)
    request = urllib.request.Request(url, headers={"Authorization": authorization} if authorization else {})
    try:
        with opener.open(request, timeout=timeout) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.headers, answer.read()


def basic(username, password):
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


@pytest.mark.parametrize("kind", ["basic", "http"])
def test_registry_with_a_password(kind, request):
    registry = request.getfixturevalue(f"registry_{kind}")
    url = f"{'https' if kind == 'basic' else 'http'}://{registry.host}/v2/"
    assert registry.host.startswith("localhost:" if kind == "basic" else "127.0.0.1:")
    status, headers, _body = get(url, registry.ca)
    assert (status, headers["WWW-Authenticate"]) == (401, 'Basic realm="registry"')
    assert get(url, registry.ca, basic("alice", "wrong"))[0] == 401
    assert get(url, registry.ca, registry.account.basic)[0] == 200
    seen = [(asked.method, asked.path, asked.status, asked.scheme, asked.right) for asked in registry.requests()]
    assert seen == [("GET", "/v2/", 401, "", False), ("GET", "/v2/", 401, "Basic", False), ("GET", "/v2/", 200, "Basic", True)]
    registry.forget()
    assert registry.requests() == []


def test_open_registry(registry_open):
    status, headers, body = get(f"https://{registry_open.host}/v2/", registry_open.ca)
    assert (status, body, headers["Docker-Distribution-Api-Version"]) == (200, b"{}", "registry/2.0")
    assert [asked.scheme for asked in registry_open.requests()] == [""]


def test_registry_with_tokens(registry_token):
    registry, ca = registry_token, registry_token.ca
    url = f"https://{registry.host}/v2/"
    status, headers, _body = get(url, ca)
    realm, service = re.fullmatch('Bearer realm="(.*)",service="(.*)"', headers["WWW-Authenticate"]).groups()
    asked = f"{realm}?service={service}"
    assert status == 401
    for wrong in (None, basic("alice", "wrong"), basic("mallory", registry.account.password)):
        assert get(asked, ca, wrong)[0] == 401
    registry.anonymous = True
    tokens = [json.loads(get(asked, ca, authorization)[2])["token"] for authorization in (registry.account.basic, None)]
    assert [get(url, ca, f"Bearer {token}")[0] for token in (*tokens, tokens[0][:-4] + "AAAA")] == [200, 200, 401]
    assert [(request.status, request.scheme, request.right) for request in registry.tokens] == [
        (401, "", False),
        (401, "Basic", False),
        (401, "Basic", False),
        (200, "Basic", True),
        (200, "", False),
    ]
    assert [request.scheme for request in registry.requests()] == ["", "Bearer", "Bearer", "Bearer"]


def test_keyserver(keyserver):
    user, ca = keyserver.account, keyserver.ca
    shown = {
        # at /pks/: nothing, a wrong password, the password, the token; and the same at /
        "protected": ([401, 401, 200, 401], [401, 401, 200, 401]),
        "plain": ([401, 401, 200, 401], [401, 401, 200, 401]),
        "half_open": ([401, 401, 200, 401], [200] * 4),
        "bearer": ([401, 401, 401, 200], [401, 401, 401, 200]),
        "open": ([200] * 4, [200] * 4),
    }
    for name, expected in shown.items():
        uri = getattr(keyserver, name)
        credentials = (None, basic("alice", "wrong"), user.basic, user.bearer)
        assert tuple([get(uri + path, ca, shown)[0] for shown in credentials] for path in (STATS, "/")) == expected, name
        seen = [(asked.path, asked.status, asked.scheme) for asked in keyserver.requests(name)]
        schemes = ("", "Basic", "Basic", "Bearer")
        assert seen == [(path, *pair) for path, row in zip((STATS, "/"), expected, strict=True) for pair in zip(row, schemes, strict=True)]
        assert [asked.right for asked in keyserver.requests(name)] == [False, False, True, True] * 2
    status, _headers, body = get(f"{keyserver.open}/pks/lookup?op=get&search=0x{FINGERPRINT}", ca)
    assert status == 200 and b"BEGIN PGP PUBLIC KEY BLOCK" in body
    assert b"statistics" in get(keyserver.open + STATS, ca)[2].lower()  # in other words from three o'clock on, when it has counted its keys


def test_certificates(certificates, registry_basic, keyserver, library):
    """Each is refused for its own reason, and the server names what it is."""

    def refusal(url, ca, client=None):
        with pytest.raises((OSError, urllib.error.URLError)) as caught:
            get(url, ca, client=client)
        return str(caught.value)

    for url in (f"https://{registry_basic.host}/v2/", keyserver.protected, library.url("good")):
        assert "unable to get local issuer certificate" in refusal(url, certificates.other_ca)
    assert "certificate has expired" in refusal(library.url("good", site="expired"), certificates.ca)
    assert "Hostname mismatch" in refusal(library.url("good", site="other_host"), certificates.ca)
    good = library.url("good", "library/version", "client")
    assert "certificate required" in refusal(good, certificates.ca).replace("_", " ").lower()
    assert get(good, certificates.ca, client=certificates.client)[0] == 200
    assert get(library.url("good").replace("localhost", "127.0.0.1"), certificates.ca)[0] == 200
    for url, user in ((f"https://{registry_basic.client_host}/v2/", registry_basic.account), (keyserver.client + STATS, keyserver.account)):
        asked = [get(url, certificates.ca, user.basic, client) for client in (None, certificates.client)]
        assert [status for status, *_more in asked] == [400, 200]


def test_good_library(library):
    def tokens(authorization):
        status, _headers, body = get(library.url("good", TOKEN_STATUS), library.ca, authorization)
        return status, json.loads(body)

    status, headers, body = get(library.url("good") + libraries.DISCOVERY, library.ca)
    assert (status, headers.get_content_type()) == (200, "application/json")
    document = json.loads(body)
    assert document.pop("params") == {"default_arch": "amd64"}
    assert document == {f"{name}API": {"uri": library.url("good", name)} for name in ("library", "token", "keystore")}
    for service in document.values():
        assert json.loads(get(service["uri"] + "/version", library.ca)[2])["data"]["version"] == "v1.0.0"
    status, answer = tokens(library.account.bearer)
    assert (status, answer["status"], answer["data"]["username"]) == (200, "welcome", "alice")
    for wrong in (None, "Bearer wrong"):
        status, answer = tokens(wrong)
        assert (status, answer["errors"][0]["code"], answer["errors"][0]["detail"]) == (401, 401, "Not Authorized")
    status, answer = tokens(library.account.token)
    assert status == 406 and library.account.token in answer["message"]
    assert get(library.url("good", "keystore" + STATS), library.ca)[0] == 200
    status, headers, _body = get(library.url("good", "token/v1/unknown", "http"))
    assert (status, headers.get_content_type()) == (200, "text/html")
    asked = library.of("good")
    assert [request.site for request in asked] == ["https"] * 9 + ["http"]
    assert [(request.scheme, request.right) for request in asked[4:8]] == [("Bearer", True), ("", False), ("Bearer", False), ("?", False)]


def shown(answer):
    status, headers, body = answer
    return status, headers.get_content_type(), body[:100]


def test_broken_services(library):
    """Each fault, of the token service; and one of the discovery."""

    def fault(name, **options):
        return get(library.url(f"token-{name}", TOKEN_STATUS), library.ca, library.account.bearer, **options)

    good = get(library.url("good", TOKEN_STATUS), library.ca, library.account.bearer)
    for status in (404, 406, 429, 500, 503):
        answer = fault(status)
        assert answer[0] == status and library.account.token.encode() in answer[2]
    assert [fault("502-once")[0] for _request in range(3)] == [502, 200, 200]
    assert fault("reason")[0] == 403
    assert len(fault("huge")[2]) > 64 << 20
    packed = fault("packed")
    assert (packed[1]["Content-Encoding"], packed[2][:2]) == ("gzip", b"\x1f\x8b") and len(packed[2]) < 1 << 20
    for name, expected in {
        "html": (200, "text/html", b"<!DOCTYPE html>"),
        "type": (200, "text/plain", good[2]),
        "json": (200, "application/json", b'{"data": {'),
        "latin1": (200, "application/json", '{"data": {"name": "\u00e9"}}'.encode("latin-1")),
        "empty": (200, "application/json", b""),
        "shape": (200, "application/json", b'["welcome"]'),
        "error": (200, "application/json", b'{"errors": '),
    }.items():
        status, kind, body = shown(fault(name))
        assert (status, kind, body[: len(expected[2])]) == (*expected[:2], expected[2][:100]) and bool(body) == bool(expected[2]), name
    for name, target in {
        "redirect": library.url("good", TOKEN_STATUS),
        "redirect-elsewhere": library.url("good", TOKEN_STATUS, "elsewhere"),
        "redirect-http": library.url("good", TOKEN_STATUS, "http"),
        "redirect-loop": library.url("token-redirect-loop", TOKEN_STATUS),
    }.items():
        status, headers, _body = fault(name)
        assert (status, headers["Location"]) == (302, target)
    with pytest.raises(OSError):
        fault("close")
    assert library.of("token-close")[0].status == 0
    with pytest.raises(TimeoutError):
        fault("slow", timeout=0.2)
    library.delay = 0.1
    assert fault("slow")[2] == good[2]
    assert get(library.url("token-404") + libraries.DISCOVERY, library.ca)[0] == 200
    assert get(library.url("discovery-404") + libraries.DISCOVERY, library.ca)[0] == 404


def test_dripping_service(library):
    """Every read brings something, none brings the end."""
    with socket.create_connection(("127.0.0.1", library.ports["http"])) as client:
        client.sendall(f"GET /token-drip/{TOKEN_STATUS} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        read = b""
        while not re.search(rb"\r\n\r\n {3,}$", read):
            received = client.recv(1000)
            assert received
            read += received


def test_broken_documents(library):
    def document(variant, site="https"):
        return json.loads(get(library.url(f"document-{variant}", site=site) + libraries.DISCOVERY, library.ca)[2])

    assert document("slashes")["libraryAPI"]["uri"] == library.url("document-slashes", "library") + "/"
    assert document("slashes")["params"] == {"default_arch": "amd64"}
    assert document("http")["tokenAPI"]["uri"] == library.url("document-http", "token", "http")
    assert document("http")["libraryAPI"]["uri"].startswith("https://")
    assert document("elsewhere")["tokenAPI"]["uri"] == library.url("document-elsewhere", "token", "elsewhere")
    assert get(document("elsewhere")["tokenAPI"]["uri"] + "/v1/token-status", library.ca, library.account.bearer)[0] == 200
    assert "tokenAPI" not in document("no-token") and "libraryAPI" in document("no-token")
    assert document("empty") == {}
    assert [document(name)["tokenAPI"]["uri"] for name in ("empty-uri", "ftp", "number")] == ["", "ftp://localhost/token", 5]
    assert isinstance(document("flat")["tokenAPI"], str)
    assert document("version")["version"] == "1"
    assert isinstance(document("list"), list)
    assert document("version", "http")["tokenAPI"]["uri"] == library.url("document-version", "token", "http")


def test_verify_node(verify_node):
    """What verifying wants is there: in the versions of EL8, or in new ones."""
    script = "import sys, yaml, requests, jsonschema; print(sys.version_info[1], yaml.__version__, requests.__version__, jsonschema.__version__)"
    done = subprocess.run([verify_node.python, "-c", script], capture_output=True, text=True, check=True)
    minor, *versions = done.stdout.split()
    if minor == str(envs.OLD_NODE_MINOR):
        assert versions == ["3.12", "2.20.0", "2.6.0"]
    else:
        assert [int(version.split(".")[0]) for version in versions] > [5, 2, 3]


SECRET = account().password


FORMS = {
    "itself": SECRET,
    "json": json.dumps({"password": SECRET}),
    "json-utf8": json.dumps({"password": SECRET}, ensure_ascii=False),
    "yaml": yaml.safe_dump({"password": SECRET}),
    "yaml-folded": yaml.safe_dump({"password": SECRET}, allow_unicode=True, width=20),
    "python": repr({"password": SECRET}),
    "shell": shlex.join(["login", SECRET]),
    "url": f"https://alice:{urllib.parse.quote(SECRET)}@localhost/",
    "form": urllib.parse.urlencode({"password": SECRET}),
    **{f"base64-{length}": base64.b64encode(b"before"[:length] + SECRET.encode() + b"after").decode() for length in range(3)},
    "base64-folded": base64.encodebytes(f"{'alice' * 10}:{SECRET}".encode()).decode(),
    "base64-url": base64.urlsafe_b64encode(f"alice:{SECRET}".encode()).decode(),
    "base64-latin1": base64.b64encode(f"alice:{SECRET}".encode("latin-1")).decode(),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_a_secret(form):
    text, wanted = FORMS[form], leaks.forms("alice", SECRET)
    assert leaks.leaked(["harmless", text], wanted) == [text]
    assert not leaks.leaked(FORMS[form], leaks.forms("alice", account().password))


def test_watched_processes(tmp_path):
    shown, exported, hidden = (account().password for _account in range(3))
    with leaks.watched_processes() as seen:
        env = processes.clean_env(tmp_path, {"PLANTED": exported})
        subprocess.run(
            [sys.executable, "-c", "import sys, time; sys.stdin.read(); time.sleep(0.1)", shown], env=env, input=hidden, text=True, check=True
        )
    assert leaks.leaked(seen, leaks.forms("alice", shown))
    assert leaks.leaked(seen, leaks.forms("alice", exported))
    assert not leaks.leaked(seen, leaks.forms("alice", hidden))


def test_captured_syslog(syslog, tmp_path):
    planted = account().password
    script = "import sys, syslog; syslog.openlog('ansible-planted'); syslog.syslog('Invoked with ' + sys.stdin.read())"
    subprocess.run([sys.executable, "-c", script], input=planted, text=True, check=True)
    found = leaks.leaked(syslog.texts(), leaks.forms("alice", planted))
    assert len(found) == 1 and "ansible-planted" in found[0]
