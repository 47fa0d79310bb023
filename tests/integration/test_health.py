# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""apptainer_health_info at live servers: what works, which logins are accepted, and when each certificate expires, also of one that is rejected.

And the playbooks health and drift, which report it.
"""

import contextlib
import json
import re
import select
import socket
import socketserver
import ssl
import threading
import time

import jsonschema
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from support import envs, leaks, processes
from support.web import free_port

WRONG = "wr0ng-pa55word-of-alice"


def date_of(pair):
    """Until when a certificate is valid, as the module returns it."""
    decoded = ssl._ssl._test_decode_cert(str(pair.certificate))["notAfter"]
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ssl.cert_time_to_seconds(decoded)))


@pytest.fixture
def health(run_module, library):
    def run(*declarations, python=None, rc=0, env=None, **options):
        done = run_module("apptainer_health_info", {"declarations": list(declarations), "ca_path": str(library.ca), **options}, python=python, env=env)
        assert done.rc == rc, done.stdout[-3000:] + done.stderr[-3000:]
        assert done.stderr == ""
        return done.result

    return run


def up(result):
    return {row["name"]: row["up"] for row in result["services"]}


def valid(result):
    return {row["name"]: row["valid"] for row in result["logins"]}


def endpoint(library, site="https", scenario="good", name="site", scheme="https"):
    return {"name": name, "uri": f"{scheme}://{library.uri(scenario, site)}"}


def test_all_is_well(health, library, keyserver, registry_basic, registry_token, certificates, verify_node):
    url = f"https://{library.uri('good')}"
    declared = {
        "remotes": [{**endpoint(library), "keyservers": [{"uri": keyserver.open}, {"uri": keyserver.protected}]},
                    {"name": "DefaultRemote", "uri": "https://cloud.apptainer.org"}],
        "logins": {
            "remotes": [{"name": "site", "token": library.account.token}],
            "keyservers": [{"uri": keyserver.protected, "username": "alice", "password": keyserver.account.password},
                           {"uri": keyserver.bearer, "password": keyserver.account.token}],
            "registries": [{"uri": f"docker://{one.host}", "username": "alice", "password": one.account.password}
                           for one in (registry_basic, registry_token)],
        },
    }
    result = health(declared, declared, python=verify_node)
    assert up(result) == {
        f'endpoint "site" at {url}': True,
        'endpoint "DefaultRemote" at https://cloud.apptainer.org': None,
        **{f'{name} service of endpoint "site" at {url}': True for name in ("library", "token", "keyserver")},
        f"keyserver {keyserver.open}": True,
        f"keyserver {keyserver.protected}": True,
        f"keyserver {keyserver.bearer}": True,
        f"registry {registry_basic.host}": True,
        f"registry {registry_token.host}": True,
    }
    assert {row["service"]: row["version"] for row in result["services"] if row["kind"] == "service"} == {
        "library": "v1.0.0", "token": "v1.0.0", "keyserver": "v1.0.0"}
    assert valid(result) == {
        f'token of endpoint "site" at {url}': True,
        f"keyserver {keyserver.protected} as user alice": True,
        f"keyserver {keyserver.bearer} with a token": True,
        f"registry {registry_basic.host} as user alice": True,
        f"registry {registry_token.host} as user alice": True,
    }
    assert {(row["trusted"], row["expires"], row["reason"]) for row in result["certificates"]} == {(True, date_of(certificates.server), "")}
    servers = {row["server"] for row in result["certificates"]}
    assert {f"https://localhost:{library.ports['https']}", f"https://{registry_basic.host}", f"https://{registry_token.host}"} <= servers
    assert len(servers) == len(result["certificates"])
    assert result["refused"] == []
    for place, request in (("tokens", "/token/v1/token-status"), ("versions", "/library/version"), ("documents", "config.prod.json")):
        asked = [item for item in library.seen if item.path.endswith(request)]
        assert len(asked) == (2 if place == "tokens" else 1), place  # a token is asked about with and without it


def test_what_does_not_work_is_said_and_fails_nothing(health, library, registry_basic, verify_node):
    port = free_port()
    result = health({
        "remotes": [endpoint(library, scenario="library-500"), endpoint(library, scenario="discovery-404", name="gone"),
                    {"name": "dead", "uri": f"https://localhost:{port}", "keyservers": [{"uri": f"https://localhost:{port}"}]},
                    {"name": "no uri", "default": True}, {"name": "bad", "uri": "https://a b"}],
        "logins": {
            "remotes": [{"name": "site", "token": "wr0ng-t0ken-of-site"}, {"name": "gone", "token": "t0ken-of-gone"},
                        {"name": "no uri", "token": "t0ken-of-nowhere"}, {"name": "site2", "token_file": "/root/token"}],
            "keyservers": [{"uri": f"https://localhost:{port}", "password": "t0ken-of-keys"}],
            "registries": [{"uri": f"docker://{registry_basic.host}", "username": "alice", "password": WRONG},
                           {"uri": f"docker://localhost:{port}", "username": "bob", "password": "pa55word-of-bob"}]},
    }, python=verify_node)
    url, gone, dead = (f"https://{place}" for place in (library.uri("library-500"), library.uri("discovery-404"), f"localhost:{port}"))
    assert up(result) == {
        f'endpoint "site" at {url}': True, f'endpoint "gone" at {gone}': False, f'endpoint "dead" at {dead}': False, 'endpoint "no uri"': None,
        f'library service of endpoint "site" at {url}': False, f'token service of endpoint "site" at {url}': True,
        f'keyserver service of endpoint "site" at {url}': True,
        f"keyserver {dead}": False, f"registry {registry_basic.host}": True, f"registry localhost:{port}": False}
    assert valid(result) == {
        f'token of endpoint "site" at {url}': False, f'token of endpoint "gone" at {gone}': None, 'token of endpoint "no uri"': None,
        'token of endpoint "site2"': None, f"keyserver {dead} with a token": None,
        f"registry {registry_basic.host} as user alice": False, f"registry localhost:{port} as user bob": None}
    (refused,) = result["refused"]
    assert refused["name"] == 'endpoint "bad"'
    certificates = {row["server"]: row for row in result["certificates"]}
    assert (certificates[dead]["expires"], certificates[dead]["trusted"]) == (None, None)
    assert "refuses the connection" in certificates[dead]["reason"]


@pytest.mark.parametrize(("site", "reason"), [
    ("soon", ""), ("expired", "expired certificate|cannot be verified"), ("other_host", "for another host name"),
])
def test_a_certificate_that_is_not_accepted_has_a_date_too(health, library, certificates, verify_node, site, reason):
    result = health({"remotes": [endpoint(library, site)]}, python=verify_node)
    (row,) = result["certificates"]
    assert row["server"] == f"https://localhost:{library.ports[site]}"
    assert row["expires"] == date_of(getattr(certificates, site))
    assert row["trusted"] is (not reason)
    assert any(text in row["reason"] for text in reason.split("|"))
    assert not any(request.scheme for request in library.seen)  # no credential


def test_a_certificate_from_an_authority_that_is_not_trusted(health, library, certificates, verify_node):
    (row,) = health({"remotes": [endpoint(library)]}, python=verify_node, ca_path=str(certificates.other_ca))["certificates"]
    assert (row["expires"], row["trusted"]) == (date_of(certificates.server), False)
    assert "ca_path" in row["reason"]
    assert [request.path for request in library.seen] == ["/"]


def test_a_certificate_that_is_not_validated(health, library, certificates, verify_node):
    (row,) = health({"remotes": [endpoint(library, "expired")]}, python=verify_node, validate_certs=False)["certificates"]
    assert row == {"server": f"https://localhost:{library.ports['expired']}", "expires": date_of(certificates.expired), "trusted": None, "reason": ""}


def test_a_server_that_wants_a_client_certificate(health, library, certificates, verify_node):
    pair = {"client_cert": str(certificates.client.certificate), "client_key": str(certificates.client.key)}
    (row,) = health({"remotes": [endpoint(library, "client")]}, python=verify_node, **pair)["certificates"]
    assert (row["expires"], row["trusted"], row["reason"]) == (date_of(certificates.server), True, "")
    result = health({"remotes": [endpoint(library, "client")]}, python=verify_node)
    (row,) = result["certificates"]
    assert False in up(result).values()
    assert row["expires"] in (None, date_of(certificates.server))  # with TLS 1.2, the server shows nothing that requests would keep
    assert (row["reason"] == "") is (row["expires"] is not None)


def test_plain_http_has_no_certificate(health, library, registry_http):
    result = health({"remotes": [{**endpoint(library, "http", scheme="http"), "insecure": True}],
                     "logins": {"registries": [{"uri": f"docker://{registry_http.host}", "username": "alice",
                                                "password": registry_http.account.password}]}})
    assert result["certificates"] == []
    assert set(up(result).values()) == set(valid(result).values()) == {True}


@contextlib.contextmanager
def tunnels():
    """A proxy that takes every host name for this machine. Gives its URL."""

    class Tunnel(socketserver.StreamRequestHandler):
        def handle(self):
            port = int(self.rfile.readline().split()[1].rpartition(b":")[2])
            while self.rfile.readline().strip():
                pass
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            with socket.create_connection(("127.0.0.1", port)) as server:
                while ready := select.select([self.connection, server], [], [])[0]:
                    data = ready[0].recv(1 << 16)
                    if not data:
                        return
                    (server if ready[0] is self.connection else self.connection).sendall(data)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Tunnel) as proxy:
        proxy.daemon_threads = True
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{proxy.server_address[1]}"
        proxy.shutdown()


@pytest.mark.parametrize(("name", "trusted"), [("elsewhere.example.org", True), ("another.example.org", False)])
def test_behind_a_proxy_it_is_the_certificate_of_the_server(health, library, certificates, verify_node, name, trusted):
    host = f"{name}:{library.ports['other_host']}"
    with tunnels() as proxy:
        result = health({"remotes": [{"name": "site", "uri": f"https://{host}/good"}]}, python=verify_node, env={"https_proxy": proxy})
    assert up(result)[f'endpoint "site" at https://{host}/good'] is trusted, result
    row = next(row for row in result["certificates"] if row["server"] == f"https://{host}")
    assert (row["expires"], row["trusted"]) == (date_of(certificates.other_host), trusted)


def test_no_secret_leaks(health, library, registry_basic, keyserver):
    secrets = [WRONG, "wr0ng-t0ken-of-site", "pa55word-of-keys"]
    result = health({"remotes": [endpoint(library)],
                     "logins": {"remotes": [{"name": "site", "token": secrets[1]}],
                                "keyservers": [{"uri": keyserver.protected, "username": "alice", "password": secrets[2]}],
                                "registries": [{"uri": f"docker://{registry_basic.host}", "username": "alice", "password": WRONG}]}})
    result.pop("invocation")
    assert set(valid(result).values()) == {False}
    assert leaks.leaked(json.dumps(result), set().union(*(leaks.forms("alice", secret) for secret in secrets))) == []


def test_nothing_declared_needs_no_library(health, tmp_path):
    for name in ("requests", "jsonschema"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('not here')")
    env = {"PYTHONPATH": str(tmp_path)}
    result = health({}, env=env)
    assert (result["services"], result["logins"], result["certificates"], result["refused"]) == ([], [], [], [])
    assert health({"remotes": [{"name": "site", "uri": "https://library.example.org"}]}, env=env, rc=1)["missing_libraries"] == [
        "requests", "jsonschema"]


# The playbooks

@pytest.fixture(params=[envs.OLD_CORE, "newest"])
def controller(request):
    try:
        return envs.node(request.param, verify=True)
    except envs.MissingInterpreterError as exc:
        pytest.skip(str(exc))


@pytest.fixture
def playbook(controller, library, tmp_path, quick_python):
    """Run one of the playbooks on hosts that are directories. Returns the process, the report and the metrics, if there are any."""

    quick = quick_python(*controller)

    def run(name, hosts, *arguments, python=quick, **variables):
        place = {"ansible_connection": "local", "ansible_become": False}
        inventory = {"all": {"hosts": {host: {**place, "apptainer_fleet_config_root": str(tmp_path / host), **more} for host, more in hosts.items()},
                             "vars": {"apptainer_fleet_ca_path": str(library.ca), **variables}}}
        (tmp_path / "inventory.yml").write_text(yaml.safe_dump(inventory))
        for host in hosts:
            (tmp_path / host / "etc").mkdir(parents=True, exist_ok=True)
        kind = "health" if name == "health" else "report"
        files = {f"apptainer_fleet_{kind}_{form}": str(tmp_path / f"report.{form}") for form in ("json", "html", "prometheus")}
        done = processes.run(
            controller.core / "bin" / "ansible-playbook", "-i", tmp_path / "inventory.yml", "-e", f"ansible_python_interpreter={python}",
            "-e", json.dumps(files), *arguments, f"hpc.apptainer.{name}", env=processes.clean_env(tmp_path / "home"), cwd=envs.ROOT)
        report = json.loads((tmp_path / "report.json").read_text())
        jsonschema.Draft7Validator(json.loads((envs.ROOT / "docs" / "report.schema.json").read_text())).validate(report)
        families = text_string_to_metric_families((tmp_path / "report.prometheus").read_text()) if (tmp_path / "report.prometheus").exists() else ()
        return done, report, {family.name: {tuple(sample.labels.values()): sample.value for sample in family.samples} for family in families}

    return run


def test_the_playbook_asks_once_for_all_hosts(playbook, library, certificates, tmp_path):
    token = [{"user": "ci", "remotes": [{"name": "site", "token": library.account.token}]}]
    hosts = {f"n{number}": {"apptainer_fleet_config_root": None, "apptainer_fleet_sysconfdir": str(tmp_path)} for number in range(1, 9)}
    done, report, metrics = playbook("health", hosts, apptainer_fleet_remotes=[endpoint(library)], apptainer_fleet_logins=token)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (report["kind"], report["status"], report["health"]["state"], report["hosts"]) == ("health", 0, "ok", [])
    assert "Servers and logins, asked from localhost: 4 services up; 1 login accepted; 1 certificate trusted; the next certificate expires in 29 days" \
        in " ".join(done.stdout.split())
    assert sum(request.path.endswith("config.prod.json") for request in library.seen) == 1
    url = f"https://{library.uri('good')}"
    assert metrics["apptainer_fleet_service_up"] == {("endpoint", url, ""): 1, **{("service", f"{url}/{path}", name): 1 for path, name in (
        ("library", "library"), ("token", "token"), ("keystore", "keyserver"))}}
    assert metrics["apptainer_fleet_login_valid"] == {("token", url, ""): 1}
    expires = metrics["apptainer_fleet_certificate_expires_seconds"][(f"https://localhost:{library.ports['https']}",)]
    assert time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(expires)) == date_of(certificates.server)
    assert "apptainer_fleet_hosts" not in metrics
    assert leaks.leaked([done.stdout, done.stderr, *(path.read_text() for path in tmp_path.glob("report.*"))], {library.account.token}) == []


@pytest.mark.newest
def test_the_playbook_blames_the_controller(playbook, library):
    remotes = [endpoint(library, "soon"), endpoint(library, "expired", name="old")]
    done, report, _metrics = playbook("health", {"n1": {}, "n2": {}}, apptainer_fleet_remotes=remotes)
    assert done.returncode == report["status"] == 2, done.stdout + done.stderr
    assert {row["state"] for row in report["health"]["certificates"]} == {"error"}
    assert "localhost" in done.stdout.rpartition("PLAY RECAP")[2]
    assert "n1 " not in done.stdout.rpartition("PLAY RECAP")[2]
    done, report, _metrics = playbook("health", {"n1": {}, "n2": {}}, "--limit", "n2", apptainer_fleet_remotes=remotes[:1],
                                      apptainer_fleet_certificate_error_days="1", apptainer_fleet_certificate_warning_days=4)
    assert (done.returncode, report["health"]["state"]) == (0, "ok"), done.stdout + done.stderr
    done, report, _metrics = playbook("health", {"n1": {}, "n2": {}}, "--limit", "n2", apptainer_fleet_remotes=remotes[1:])
    assert done.returncode == 2
    assert "n2 " in done.stdout.rpartition("PLAY RECAP")[2]


@pytest.mark.parametrize(("hosts", "variables", "error"), [
    ({}, {}, "No host was checked"),
    ({"n1": {}}, {}, "nothing is declared for n1"),
    ({"n1": {"apptainer_fleet_remote": []}}, {}, "n1: apptainer_fleet_remote is not a variable of the role; did you mean apptainer_fleet_remotes?"),
    ({"n1": {}}, {"apptainer_fleet_remotes": [{"name": "site", "uri": "https://x"}], "apptainer_fleet_ca_path": "/no/such/file"}, "ca_path"),
    ({"n1": {}}, {"apptainer_fleet_remotes": [{"name": "site", "uri": "https://x"}], "apptainer_fleet_verify_from": "lost"},
     "nothing was asked from lost: it cannot be reached"),
], ids=["no host", "nothing declared", "a slip", "a wrong option", "a host that is lost"])
@pytest.mark.newest
def test_what_cannot_be_asked_is_an_error_of_the_run(playbook, hosts, variables, error):
    lost = {"lost": {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}} if "apptainer_fleet_verify_from" in variables else {}
    done, report, _metrics = playbook("health", {**hosts, **lost}, **variables)
    assert done.returncode == 2, done.stdout + done.stderr
    assert (report["status"], report["health"]["status"]) == (2, 2)
    assert any(error in text for text in report["health"]["errors"]), report["health"]


def without_libraries(tmp_path, python):
    """The interpreter of a controller that has neither requests nor jsonschema."""
    (tmp_path / "bare").mkdir()
    for name in ("requests", "jsonschema"):
        (tmp_path / "bare" / f"{name}.py").write_text("raise ImportError('not here')")
    interpreter = tmp_path / "python"
    interpreter.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path / "bare"}${{PYTHONPATH:+:$PYTHONPATH}} exec {python} "$@"\n')
    interpreter.chmod(0o755)
    return interpreter


def recap(done):
    """The hosts that failed."""
    return set(re.findall(r"^(\S+) +: ok=.* failed=[1-9]", done.stdout, re.MULTILINE))


@pytest.mark.newest
def test_drift_asks_only_if_it_is_told_to(playbook, library, controller, tmp_path):
    """By default, the comparison needs no server, and the controller no library to ask one."""
    python = without_libraries(tmp_path, controller.python)
    remotes = [endpoint(library, "expired")]
    done, report, metrics = playbook("drift", {"n1": {}}, python=python, apptainer_fleet_remotes=remotes)
    assert (done.returncode, recap(done)) == (2, {"n1"}), done.stdout + done.stderr
    assert (report["health"], "apptainer_fleet_service_up" in metrics, library.seen) == (None, False, [])

    done, report, metrics = playbook("drift", {"n1": {}}, "-e", "apptainer_fleet_health=yes", apptainer_fleet_remotes=remotes)
    assert (done.returncode, recap(done)) == (2, {"n1", "localhost"}), done.stdout + done.stderr
    assert (report["kind"], report["status"], report["health"]["status"]) == ("drift", 2, 2)
    assert [host["state"] for host in report["hosts"]] == ["drifted"]
    assert {"apptainer_fleet_hosts", "apptainer_fleet_service_up", "apptainer_fleet_certificate_expires_seconds"} <= set(metrics)

    done, report, _metrics = playbook("drift", {"n1": {}}, python=python, apptainer_fleet_remotes=remotes, apptainer_fleet_health=True)
    assert [host["state"] for host in report["hosts"]] == ["drifted"], done.stdout + done.stderr
    (error,) = report["health"]["errors"]
    assert "requests and jsonschema" in error
    assert "apptainer_fleet_verify_from" in error


@pytest.mark.newest
def test_a_fleet_in_state_with_a_login_that_is_rejected(playbook, library, tmp_path):
    """The status of the hosts is 0, that of the servers is 2, and so is that of the run: only the controller is to blame."""
    remotes = [endpoint(library)]
    logins = [{"user": "ci", "user_host": "n1", "remotes": [{"name": "site", "token": "wr0ng-t0ken-of-site"}]}]
    host = tmp_path / "n1" / "etc" / "apptainer"
    host.mkdir(parents=True)
    (host / "remote.yaml").write_text(f"Active: site\nRemotes:\n    site:\n        URI: //{library.uri('good')}\n        System: true\n"
                                      "        Exclusive: false\n")
    (host / "remote.yaml").chmod(0o644)
    hosts = {"n1": {}, "n2": {"apptainer_fleet_config_root": None, "apptainer_fleet_sysconfdir": str(tmp_path / "n1" / "etc")}}
    done, report, metrics = playbook("drift", hosts, apptainer_fleet_remotes=remotes, apptainer_fleet_logins=logins, apptainer_fleet_health=True)
    assert (done.returncode, report["status"], report["health"]["status"], recap(done)) == (2, 0, 2, {"localhost"}), done.stdout + done.stderr
    assert set(metrics["apptainer_fleet_login_valid"].values()) == {0}
    assert "Login rejected: token of endpoint" in done.stdout
