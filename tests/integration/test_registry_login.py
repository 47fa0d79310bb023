# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The registry login module at live servers: what is proven before it is written, and what is said when it is not."""

import base64
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support import envs
from support.files import snapshot
from support.servers.python import Answer, serve
from support.servers.recorded import account

REGISTRIES = ("basic", "token")
SCHEMES = ("docker", "oras")
WRONG = "wr0ng-pa55word-of-alice"


def entry(registry, password=None):
    """What docker writes for a login, to the byte."""
    login = base64.b64encode(f"{registry.account.username}:{password or registry.account.password}".encode()).decode()
    return f'{{\n\t"auths": {{\n\t\t"{registry.host}": {{\n\t\t\t"auth": "{login}"\n\t\t}}\n\t}}\n}}'


def asked(registry):
    """The requests that a registry and its token server saw."""
    return [*registry.requests(), *getattr(registry, "tokens", ())]


@pytest.fixture
def home(tmp_path):
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def docker_config(home):
    return home / ".apptainer" / "docker-config.json"


@pytest.fixture
def registry(request):
    return request.getfixturevalue(f"registry_{request.param}")


@pytest.fixture
def log_in(run_module, tmp_path):
    """Run the module for a registry; options override."""

    def run(registry, check=False, python=None, env=None, **options):
        args = {"uri": f"docker://{registry.host}", "username": "alice", "password": registry.account.password, "ca_path": str(registry.ca)}
        args = {name: value for name, value in {**args, "sysconfdir": str(tmp_path), **options}.items() if value is not None}
        return run_module("apptainer_registry_login", args, check=check, diff=True, python=python, env=env)

    return run


@pytest.fixture
def refused(log_in, home):
    """Run it in check mode and for real: it must fail in the same way, in one line, and leave no trace."""

    def run(registry, timeout=60, **options):
        before, messages = snapshot(home), set()
        for check in (True, False):
            done = log_in(registry, check, timeout=timeout, **options)
            assert done.rc != 0 and done.result["failed"] and done.result["verified"] is False, done.stdout + done.stderr
            assert snapshot(home) == before
            messages.add(done.result["msg"])
            assert "Traceback" not in done.stdout and not done.stderr
        (message,) = messages
        assert re.match(r"registry [^ ]+: [^\n]+\. Nothing was changed\.\Z", message), message
        return message

    return run


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_host_in_upper_case_is_verified_and_stored_as_it_is_written(log_in, registry_basic, docker_config, scheme):
    """As `apptainer registry login docker://LocalHost:5000` stores it; a login that is there under the usual spelling is another one."""
    host = registry_basic.host.replace("localhost", "LocalHost")
    assert host != registry_basic.host
    log_in(registry_basic)
    usual = entry(registry_basic)
    assert docker_config.read_text() == usual
    for changed in (True, False):
        done = log_in(registry_basic, uri=f"{scheme}://{host}", verify="always")
        assert (done.result["changed"], done.result["verified"]) == (changed, True), done.result
        assert list(json.loads(docker_config.read_text())["auths"]) == sorted([host, registry_basic.host])
    assert f"{scheme}://{host}" in docker_config.with_name("remote.yaml").read_text()
    log_in(registry_basic, uri=f"{scheme}://{host}", state="absent", username=None, password=None)
    assert docker_config.read_text() == usual


class AnyServer:
    """Sites that answer as a test says, and a memory of what they were asked."""

    def __init__(self, ca, account):
        self.ca = ca
        self.account = account
        self.ports = {}
        self.reset()

    def reset(self):
        self.answer = lambda asked: Answer.json({}, 401, {"WWW-Authenticate": 'Basic realm="any"'})
        self.seen = []

    def reply(self, asked):
        return self.answer(asked)

    @property
    def host(self):
        return f"localhost:{self.ports['https']}"

    def url(self, site, path):
        return f"http{'s' * (site != 'http')}://localhost:{self.ports[site]}{path}"


@pytest.fixture(scope="module")
def any_servers(certificates):
    server = AnyServer(certificates.ca, account())
    sites = {"https": certificates.server, "elsewhere": certificates.server, "http": None}
    with serve(sites, server.reply, lambda asked, _: server.seen.append(asked)) as server.ports:
        yield server


@pytest.fixture
def any_server(any_servers):
    any_servers.reset()
    return any_servers


# What is written

@pytest.mark.parametrize("registry", [*REGISTRIES, "http"], indirect=True)
def test_a_good_login_is_proven_and_written_as_docker_writes_it_and_then_left_alone(log_in, home, docker_config, registry):
    foreseen = log_in(registry, check=True)
    assert snapshot(home) == {}
    done = log_in(registry)
    assert done.rc == 0, done.stdout + done.stderr
    foreseen.result.pop("invocation")
    done.result.pop("invocation")
    assert foreseen.result == done.result
    assert (done.result["changed"], done.result["verified"]) == (True, True)
    assert done.result["login"] == {"kind": "registry", "name": registry.host, "username": "alice"}
    assert "accepts the login" in done.result["verification"][0]["reason"]
    assert docker_config.read_text() == entry(registry)
    remotes = docker_config.with_name("remote.yaml")
    assert remotes.read_text() == f'Active: ""\nRemotes: {{}}\nCredentials:\n    - URI: docker://{registry.host}\n      Insecure: false\n'
    assert [path.stat().st_mode & 0o7777 for path in (docker_config, remotes, home / ".apptainer")] == [0o600, 0o600, 0o700]

    state = snapshot(home)
    registry.forget()
    for verify, check, verified, reason in (
        ("changed", False, None, "not verified, because it did not change"),
        ("changed", True, None, "not verified, because it did not change"),
        ("never", False, None, "not verified, because verify is never"),
    ):
        again = log_in(registry, check, verify=verify).result
        assert (again["changed"], again["verified"], asked(registry)) == (False, verified, [])
        assert again["verification"][0]["reason"].startswith(reason)
        assert all(shown["before"] == shown["after"] for shown in again["diff"])
    always = log_in(registry, verify="always").result
    assert (always["changed"], always["verified"]) == (False, True)
    assert any(request.right for request in asked(registry))
    assert snapshot(home) == state


def test_never_verified_is_written_without_a_request_and_says_so(log_in, docker_config, registry_basic):
    done = log_in(registry_basic, password=WRONG, verify="never").result
    assert (done["changed"], done["verified"], done["verification"][0]["reason"]) == (True, None, "not verified, because verify is never")
    assert docker_config.read_text() == entry(registry_basic, WRONG)
    assert registry_basic.requests() == []


def test_an_open_registry_proves_nothing_and_a_warning_says_so(log_in, docker_config, registry_open):
    foreseen, done = log_in(registry_open, check=True).result, log_in(registry_open).result
    assert done["verified"] is None and done["changed"]
    assert done["warnings"] == foreseen["warnings"] == [
        f"registry {registry_open.host}: https://{registry_open.host} lets everyone in, so the login could not be verified"]
    assert docker_config.read_text() == entry(registry_open)


def test_both_schemes_share_one_login(log_in, docker_config, registry_basic):
    log_in(registry_basic)
    registry_basic.forget()
    done = log_in(registry_basic, uri=f"oras://{registry_basic.host}/").result
    assert (done["changed"], registry_basic.requests()) == (True, [])
    assert docker_config.read_text() == entry(registry_basic)
    listed = docker_config.with_name("remote.yaml").read_text()
    assert re.findall(r"URI: (.*)", listed) == [f"docker://{registry_basic.host}", f"oras://{registry_basic.host}"]


# A wrong password

@pytest.mark.parametrize("registry", REGISTRIES, indirect=True)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_wrong_password_never_replaces_a_good_one(log_in, refused, registry, scheme):
    assert log_in(registry).rc == 0
    registry.forget()
    registry.anonymous = scheme == "oras"  # a token server that gives tokens also to who does not log in
    message = refused(registry, uri=f"{scheme}://{registry.host}", password=WRONG)
    assert message.startswith(f"registry {registry.host}: ")
    assert "401 Unauthorized" in message and "check user name and password" in message
    assert asked(registry)


@pytest.mark.parametrize("registry", REGISTRIES, indirect=True)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_first_login_with_a_wrong_password_makes_nothing(refused, home, registry, scheme):
    refused(registry, uri=f"{scheme}://{registry.host}", password=WRONG)
    assert snapshot(home) == {}


@pytest.mark.parametrize("registry", REGISTRIES, indirect=True)
def test_a_stored_password_that_is_not_accepted_any_more_is_reported_and_replaced(log_in, refused, docker_config, registry):
    log_in(registry, password=WRONG, verify="never")
    assert "401 Unauthorized" in refused(registry, password=WRONG, verify="always")
    done = log_in(registry).result
    assert (done["changed"], done["verified"]) == (True, True)
    assert done["diff"][0]["after"].count("(hidden, changed)") == 1, done["diff"]
    assert docker_config.read_text() == entry(registry)


def test_a_login_for_a_part_of_a_registry_is_not_taken_for_its_own(log_in, docker_config, registry_basic):
    """Apptainer up to 1.3 uses a key like host/org for docker://host/org alone; here it holds the right password, or a wrong one."""
    for password in (WRONG, registry_basic.account.password):
        log_in(registry_basic, password=password, verify="never")
        parts = docker_config.read_text().replace(f'"{registry_basic.host}"', f'"{registry_basic.host}/org"')
        docker_config.write_text(parts)
        registry_basic.forget()
        done = log_in(registry_basic, verify="changed").result
        assert (done["changed"], done["verified"]) == (True, True)
        assert any(request.right for request in registry_basic.requests())
        assert log_in(registry_basic, verify="always").result["verified"]
        absent = log_in(registry_basic, state="absent", username=None, password=None, verify="always").result
        assert (absent["login"], absent["verification"]) == (None, [])
        assert "logins for parts of it remain" in absent["warnings"][0]
        docker_config.unlink()


def test_of_two_stored_passwords_the_declared_one_is_proven_before_the_other_goes(log_in, refused, docker_config, registry_basic):
    log_in(registry_basic)
    wrong = base64.b64encode(f"alice:{WRONG}".encode()).decode()
    both = docker_config.read_text().replace('"auths": {', f'"auths": {{"https://{registry_basic.host}/v1/": {{"auth": "{wrong}"}},')
    docker_config.write_text(both)
    assert "401 Unauthorized" in refused(registry_basic, password=WRONG)
    registry_basic.forget()
    assert log_in(registry_basic).result["verified"]
    assert docker_config.read_text() == entry(registry_basic)


# What goes wrong on the way

FAILURES = {
    "connection refused": ({}, "refuses the connection: check that it is running"),
    "unknown name": ({"uri": "docker://no-such-host.invalid"}, "https://no-such-host.invalid (has a host name that cannot|did not answer)"),
    "unknown authority": ({"ca_path": None}, "an authority that is not trusted here: set ca_path to the CA's certificate"),
    "other authority": ({"ca_path": "other"}, "an authority that is not trusted here: set ca_path to the CA's certificate"),
    "missing ca_path": ({"ca_path": "/does/not/exist"}, 'ca_path "/does/not/exist" cannot be read: No such file'),
    "expired": ({"site": "expired"}, "an expired certificate: renew it there"),
    "other host": ({"site": "other_host"}, "a certificate for another host name: use a name that is in it"),
    "web page": ({"site": "https"}, "answers /v2/ with a web page, so it is not an OCI registry; check the host"),
    "client certificate": ({"site": "client"}, "requires a client certificate"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_failure_is_named_and_nothing_is_written(refused, library, certificates, case):
    options, words = FAILURES[case]
    options = dict(options)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = library.ports[options.pop("site", "https")] if case != "connection refused" else closed.getsockname()[1]
        library.host = f"localhost:{port}"
        if options.get("ca_path") == "other":
            options["ca_path"] = str(certificates.other_ca)
        message = refused(library, **options)
    assert re.search(words, message), message
    assert options.get("uri", f"docker://{library.host}").partition("://")[2] in message


def redirect(any_server, site, only_login=False):
    def answer(asked):
        if (only_login and not asked.authorization) or asked.site != "https":
            return Answer.json({}, 401, {"WWW-Authenticate": 'Basic realm="any"'})
        return Answer(302, b"", {"Location": any_server.url(site, "/v2/") + "?" + asked.authorization})

    return answer


def realm_elsewhere(any_server):
    """The registry redirects, and where that leads to would have the password for itself."""
    def answer(asked):
        if asked.site == "https":
            return Answer(302, b"", {"Location": any_server.url("elsewhere", asked.path)})
        return Answer.json({"token": "x"}, 200 if asked.authorization else 401,
                           {"WWW-Authenticate": f'Bearer realm="{any_server.url("elsewhere", "/token")}"'})

    return answer


ANSWERS = {
    "404": (lambda server: lambda asked: Answer.html(404), "answers /v2/ with 404 Not Found, so it is probably not an OCI registry; check the host"),
    "500": (lambda server: lambda asked: Answer.html(500), "500 Internal Server Error: server error; see its log"),
    "slow": (lambda server: lambda asked: time.sleep(2), "did not answer within 1 second"),
    "closes": (lambda server: lambda asked: None, "closed the connection without answering"),
    "other scheme": (lambda server: lambda asked: Answer.json({}, 401, {"WWW-Authenticate": "Negotiate"}), "neither Basic nor Bearer"),
    "web page for a login": (lambda server: lambda asked: Answer.html(200 if asked.authorization else 401)._replace(
        headers={"Content-Type": "text/html", "WWW-Authenticate": "Basic"}), "answers the login with a web page"),
    "token by http": (lambda server: lambda asked: Answer.json({}, 401, {"WWW-Authenticate": f'Bearer realm="{server.url("http", "/")}"'}),
                      "over plain http, so it was not sent"),
    "token from nowhere": (lambda server: lambda asked: Answer.json({}, 401, {"WWW-Authenticate": "Bearer"}), "does not say where to get one"),
    "429": (lambda server: lambda asked: Answer.json({}, 429), "429 Too Many Requests: it is rate limiting; try again later"),
    "token from elsewhere": (realm_elsewhere, "redirects to https://localhost:"),
    "token from nobody": (lambda server: lambda asked: Answer.json({}, 401, {"WWW-Authenticate": 'Bearer realm="https://localhost:1/"'}),
                          "requires a token, but https://localhost:1 refuses the connection"),
    "open but elsewhere": (lambda server: lambda asked: Answer.json({}) if asked.authorization else redirect(server, "elsewhere")(asked),
                           "redirects to https://localhost:"),
    "redirect": (lambda server: redirect(server, "elsewhere"), "redirects to https://localhost:"),
    "redirect of a login": (lambda server: redirect(server, "elsewhere", True), "redirects to https://localhost:"),
    "redirect to http": (lambda server: redirect(server, "http"), "redirects to http://localhost:"),
    "redirect of a login to http": (lambda server: redirect(server, "http", True), "redirects to http://localhost:"),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_an_answer_that_is_no_proof_is_named_and_the_password_goes_nowhere_else(refused, any_server, case):
    make, words = ANSWERS[case]
    any_server.answer = make(any_server)
    message = refused(any_server, timeout=1 if case == "slow" else 60)
    assert words in message and any_server.host in message
    assert any_server.account.password not in message
    assert [asked for asked in any_server.seen if asked.authorization and asked.site != "https"] == []


@pytest.mark.parametrize("insecure", [None, True])
def test_a_certificate_error_never_falls_back_to_plain_http(refused, library, insecure):
    """Whatever connects is recorded: nothing but TLS comes, and inside of that no request."""
    received = []

    def forward(front):
        while True:
            try:
                client, _address = front.accept()
            except OSError:
                return
            with client, socket.create_connection(("127.0.0.1", library.ports["expired"])) as server, contextlib.suppress(OSError):
                client.settimeout(5)
                first = client.recv(1 << 16)
                received.append(first)
                server.sendall(first)
                while data := server.recv(1 << 16):
                    client.sendall(data)
                    received.append(client.recv(1 << 16))
                    server.sendall(received[-1])

    with socket.create_server(("127.0.0.1", 0)) as front:
        threading.Thread(target=forward, args=(front,), daemon=True).start()
        library.host = f"localhost:{front.getsockname()[1]}"
        assert "an expired certificate" in refused(library, insecure=insecure)
        front.shutdown(socket.SHUT_RDWR)
    assert received and all(data[:1] in (b"", b"\x14", b"\x15", b"\x16") for data in received)  # change_cipher_spec, alert, handshake
    assert library.requests() == []


@pytest.mark.parametrize("insecure", [None, False, True])
@pytest.mark.parametrize("auth_file", [None, "auth.json"])
def test_plain_http_of_a_host_that_is_not_local_only_if_the_user_says_so(log_in, refused, registry_http, tmp_path, insecure, auth_file):
    """::ffff:127.0.0.1 leads to 127.0.0.1, but is not among the local addresses for which Apptainer tries plain http."""
    options = {"uri": "docker://" + registry_http.host.replace("127.0.0.1", "[::ffff:127.0.0.1]"), "insecure": insecure}
    if auth_file:
        options["auth_file"] = str(tmp_path / auth_file)
    if not insecure:
        assert "plain http is only tried for local addresses, or with insecure: true" in refused(registry_http, **options)
        assert all(request.method == "" for request in registry_http.requests())  # TLS is none
        return
    assert log_in(registry_http, **options).result["verified"]
    registry_http.forget()
    assert not log_in(registry_http, **options).result["changed"]
    assert registry_http.requests() == []


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("auth_file", [None, "auth.json"])
def test_what_the_task_says_of_plain_http_wins_over_what_is_stored_for_the_other_scheme(log_in, refused, registry_http, tmp_path, scheme, auth_file):
    host = registry_http.host.replace("127.0.0.1", "[::ffff:127.0.0.1]")
    other = SCHEMES[scheme == "docker"]
    options = {"auth_file": str(tmp_path / auth_file)} if auth_file else {}
    assert log_in(registry_http, uri=f"{other}://{host}", insecure=True, verify="never", **options).rc == 0
    assert auth_file or "Insecure: true" in (tmp_path / "home" / ".apptainer" / "remote.yaml").read_text()
    registry_http.forget()
    for verify, password in (("always", registry_http.account.password), ("changed", WRONG)):
        message = refused(registry_http, uri=f"{scheme}://{host}", insecure=False, verify=verify, password=password, **options)
        assert "plain http is only tried for local addresses, or with insecure: true" in message
    assert all(request.method == "" for request in registry_http.requests())  # TLS is none
    assert log_in(registry_http, uri=f"{scheme}://{host}", insecure=True, verify="always", **options).result["verified"]


def test_an_open_registry_may_send_a_login_to_its_token_service(log_in, refused, any_server):
    """As some do: everyone is let in, but who has a password is to show it at the token service."""
    def answer(asked):
        if asked.path == "/token":
            return Answer.json({"token": "t0ken"}, 200 if asked.authorization == any_server.account.basic else 401)
        bearer = {"WWW-Authenticate": f'Bearer realm="{any_server.url("https", "/token")}"'}
        return Answer.json({}, 401, bearer) if asked.scheme == "Basic" else Answer.json({})

    any_server.answer = answer
    assert "rejects the login (401 Unauthorized)" in refused(any_server, password=WRONG)
    assert log_in(any_server).result["verified"] is True


# Nodes

def test_old_and_new_nodes_log_in(log_in, docker_config, registry_basic, registry_token, verify_node):
    for registry in (registry_basic, registry_token):
        for changed in (True, False):
            done = log_in(registry, python=verify_node)
            assert done.rc == 0, done.stdout + done.stderr
            assert (done.result["changed"], done.result["verified"]) == (changed, changed or None)
        assert log_in(registry, password=WRONG, python=verify_node).rc != 0
    logins = [(registry.host, entry(registry)) for registry in (registry_basic, registry_token)]
    assert docker_config.read_text() == (
        '{\n\t"auths": {\n' + ",\n".join(text[len('{\n\t"auths": {\n'):-len("\n\t}\n}")] for _host, text in sorted(logins)) + "\n\t}\n}")


def test_a_node_without_requests_needs_it_for_proofs_only(log_in, home, registry_basic, node_python):
    for check in (True, False):
        missing = log_in(registry_basic, check, python=node_python)
        assert missing.rc != 0
        assert "Failed to import the required Python library (requests and jsonschema)" in missing.result["msg"]
        assert "verify: never skips this" in missing.result["msg"]
        assert snapshot(home) == {}
    assert log_in(registry_basic, python=node_python, verify="never").result["changed"]
    assert not log_in(registry_basic, python=node_python).result["changed"]
    assert log_in(registry_basic, python=node_python, verify="always").rc != 0
    assert log_in(registry_basic, python=node_python, state="absent").result["changed"]


def test_nothing_heavy_is_imported_where_nothing_is_proven(log_in, registry_basic, tmp_path):
    (tmp_path / "watch").mkdir()
    modules = tmp_path / "modules"
    (tmp_path / "watch" / "sitecustomize.py").write_text(
        f"import atexit, sys\natexit.register(lambda: open({str(modules)!r}, 'w').write('\\n'.join(sys.modules)))\n")
    heavy = {"requests", "jsonschema", "urllib3", "http.client", "ssl"}
    for options, expected in (({"verify": "never"}, set()), ({}, set()), ({"state": "absent"}, set()), ({}, heavy)):
        assert log_in(registry_basic, env={"PYTHONPATH": tmp_path / "watch"}, **options).rc == 0
        assert heavy & set(modules.read_text().splitlines()) == expected


@pytest.fixture
def system_store(tmp_path):
    """`system_store(files)` is an interpreter for a node whose certificate store holds these files alone; what makes that is seen by nobody else."""
    place = next((path for path in ("/etc/ssl/certs", "/etc/pki/tls/certs") if Path(path).is_dir()), "/etc/ssl/certs")
    command = ["unshare", "--mount", "--propagation", "private", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed")
    tried = subprocess.run([*command, "mount", "--bind", "/tmp", place], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"{' '.join(command)}: {(tried.stderr.strip() or 'failed').splitlines()[-1]}")

    def make(files, python=None):
        store = tmp_path / "store"
        store.mkdir()
        for name, source in files.items():
            shutil.copy(source, store / name)
        script = tmp_path / "python-with-store"
        node = python or envs.Node(envs.core("running"), Path(sys.executable))
        script.write_text(f"#!/bin/sh\nexec {' '.join(command)} sh -ec 'mount --bind {store} {place}; exec {node.python} \"$@\"' sh \"$@\"\n")
        script.chmod(0o755)
        return envs.Node(node.core, script)

    return make


BUNDLE = "ca-certificates.crt" if Path("/etc/ssl/certs").is_dir() else "ca-bundle.crt"


@pytest.mark.parametrize("registry", ["basic"], indirect=True)
@pytest.mark.parametrize("files", [{BUNDLE: True}, {BUNDLE: False, "site.crt": True}], ids=["in the bundle", "as a file of any name beside it"])
def test_an_authority_in_the_systems_store_is_trusted_as_apptainer_does_it(log_in, registry, certificates, system_store, verify_node, files):
    """Without any variable in the environment; requests is from pip, which brings a store of its own."""
    store = {name: certificates.ca if right else certificates.other_ca for name, right in files.items()}
    done = log_in(registry, python=system_store(store, verify_node), ca_path=None)
    assert done.result["verified"] is True, done.stdout


@pytest.mark.parametrize("registry", ["basic"], indirect=True)
def test_an_authority_that_is_not_in_the_systems_store_is_not_trusted(log_in, registry, certificates, system_store):
    done = log_in(registry, python=system_store({BUNDLE: certificates.other_ca}), ca_path=None)
    assert "an authority that is not trusted here: set ca_path" in done.result["msg"]


def test_a_right_login_where_anonymous_users_get_tokens_too(log_in, registry_token):
    """As at Docker Hub: the tokens say for whom they are. Nobody shows a wrong password to find that out."""
    registry_token.anonymous = True
    done = log_in(registry_token)
    assert done.result["verified"] is True, done.stdout
    assert [(request.status, request.scheme, request.right) for request in registry_token.tokens] == [(200, "Basic", True), (200, "", False)]


@pytest.mark.parametrize("same", [True, False], ids=["always the same token", "another token each time"])
def test_a_token_service_that_gives_tokens_to_any_password(run_module, certificates, same):
    """As that of Nexus does where anonymous users may pull: a wrong password looks like a right one, so neither is verified."""
    asked = []

    def answer(request):
        asked.append((request.path.partition("?")[0], request.scheme))
        if request.path.startswith("/token"):
            return Answer.json({"token": f"DockerToken.{0 if same else len(asked)}"})
        if request.scheme == "Bearer":
            return Answer.json({})
        return Answer(401, b"", {"WWW-Authenticate": f'Bearer realm="https://localhost:{ports["https"]}/token",service="x"'})

    with serve({"https": certificates.server}, answer, lambda *_: None) as ports:
        args = {"uri": f"docker://localhost:{ports['https']}", "username": "alice", "password": WRONG, "ca_path": str(certificates.ca)}
        done = run_module("apptainer_registry_login", args)
    assert done.result["verified"] is None, done.stdout
    assert any("issues tokens to everyone" in warning for warning in done.result["warnings"])
    assert asked == [("/v2/", ""), ("/token", "Basic"), ("/v2/", "Bearer"), ("/token", "")] + ([] if same else [("/v2/", "Bearer")])
