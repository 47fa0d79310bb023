# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The guide "With other tools": each section runs as the page shows it, with the real tools, on hosts that are directories of this machine.

ansible-vault, Molecule, ansible-navigator, ara and the two lookup plugins are the real ones, from the package index; what cannot be installed is skipped.
Two things behind the lookups are stand-ins: the program `sops`, which is in no package index, and the server that answers as Vault's KV store does.
"""

from __future__ import annotations

import base64
import contextlib
import getpass
import http.server
import json
import re
import sys
import threading

import pytest
import yaml
from support import envs, leaks, pages, processes, transcripts

PAGE = pages.guide("guide_other_tools")
VAULT_TOKEN = "vault-t0ken-s3cretS3CRET"
SOPS = """\
#!{python}
import base64, json, sys
if "--version" in sys.argv:
    sys.exit(print("sops 3.11.0 (latest)"))
*options, path = sys.argv[1:]
open(path + ".asked", "a").write("asked\\n")
assert options == ["decrypt", "--extract", '["registry_password"]'], options
print(base64.b64decode(json.load(open(path))["registry_password"]).decode())
"""


def section(title):
    """One section of the page."""
    return pages.section(PAGE, title)


class Site:
    """A directory of an admin with an inventory of two nodes, and the page's names with what they stand for here."""

    def __init__(self, path, registry):
        self.path, self.registry = path / "admin", registry
        self.env = processes.clean_env(path / "home", {"ANSIBLE_COLLECTIONS_PATH": envs.ROOT / ".collections", "VAULT_TOKEN": VAULT_TOKEN,
                                                       "ANSIBLE_CONFIG": "", "ARA_BASE_DIR": path / "ara"})
        place = str(path / "{{ inventory_hostname }}")
        self.hosts = {"all": {"hosts": {"node1": None, "node2": None}, "vars": {
            "ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            "apptainer_fleet_sysconfdir": place, "apptainer_fleet_ca_path": str(registry.ca)}}}
        self.account = f"user: {getpass.getuser()}\n    config_file: {json.dumps(place + '/account/remote.yaml')}"
        self.write("inventory/hosts.yml", yaml.safe_dump(self.hosts))
        self.write("inventory/group_vars/all/remotes.yml", yaml.safe_dump({
            "apptainer_fleet_remotes": [{"name": "site", "uri": "https://library.example.org", "exclusive": True}]}))
        self.write("vault-password", "the-vault-pa55word\n")

    def write(self, name, text):
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("user: ci", self.account).replace("registry.example.org", self.registry.host).replace("username: ci", "username: alice")
                        .replace("correct horse battery staple", json.dumps(self.registry.account.password)))

    def do(self, text, environment, **more):
        """Write the files and run the commands of a section, and compare what they print. Returns all outputs."""
        outputs = []
        path = f"{self.path.parent / 'bin'}:{environment / 'bin'}:{self.env['PATH']}"
        for step in transcripts.steps(text):
            if step.file:
                self.write(step.file, step.text)
                continue
            done = processes.run("bash", "-c", step.command, env={**self.env, "PATH": path, **more}, cwd=self.path)
            # without colours, and without the data that ansible-runner hides from a terminal among them
            output = re.sub(r"\x1b\[K(?:[\w+/=]*\x1b\[\d+D)+\x1b\[K|\x1b\[[\d;]*m", "", done.stdout + done.stderr)
            lacking = transcripts.missing(step.text or "", output)
            assert lacking is None, f"$ {step.command}\n{output}\n\nThis is not what the page shows:\n{lacking}"
            assert done.returncode in ((0, 2) if "Drift on" in (step.text or "") else (0,)), output
            outputs.append(output)
        assert outputs
        return outputs

    def logged_in(self, name):
        """Whether a node has the account's login, with the right password."""
        stored = json.loads((self.path.parent / name / "account" / "docker-config.json").read_text())["auths"][self.registry.host]["auth"]
        return base64.b64decode(stored).decode() == f"alice:{self.registry.account.password}"


@pytest.fixture
def site(tmp_path, registry_basic):
    return Site(tmp_path, registry_basic)


@pytest.fixture
def unverified(site):
    """The endpoint of the examples does not exist, so only the sections about logins, which declare none, can verify what they declare."""
    site.write("inventory/group_vars/all/verify.yml", "apptainer_fleet_verify: false\n")
    return site


@pytest.fixture
def secrets_only(site):
    """Only logins are declared, so that all that is declared can be verified."""
    (site.path / "inventory/group_vars/all/remotes.yml").unlink()
    return site


@pytest.fixture(scope="session")
def tools():
    try:
        return envs.tools()
    except RuntimeError as exc:
        pytest.skip(f"the tools cannot be installed here: {exc}")


def assert_logged_in(site, outputs):
    assert [site.logged_in(name) for name in ("node1", "node2")] == [True, True]
    assert site.registry.requests()
    assert leaks.leaked(outputs, leaks.forms("alice", site.registry.account.password) | {VAULT_TOKEN}) == []


def test_ansible_vault(secrets_only):
    outputs = secrets_only.do(section("ansible-vault"), envs.core("running"))
    assert_logged_in(secrets_only, outputs)
    assert (secrets_only.path / "inventory/group_vars/all/vault.yml").read_text().startswith("$ANSIBLE_VAULT;")


def test_sops(secrets_only, tools, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sops").write_text(SOPS.format(python=sys.executable))
    (tmp_path / "bin" / "sops").chmod(0o755)
    encrypted = base64.b64encode(secrets_only.registry.account.password.encode()).decode()
    (secrets_only.path / "inventory" / "secrets.sops.yml").write_text(json.dumps({"registry_password": encrypted}))
    outputs = secrets_only.do(section("SOPS"), tools)
    assert_logged_in(secrets_only, outputs)
    asked = (secrets_only.path / "inventory" / "secrets.sops.yml.asked").read_text().splitlines()
    assert len(asked) >= 4  # each host, in each task, as the page says


@contextlib.contextmanager
def vault(password):
    """A KV store of version 2 with one secret, for one token; gives its URL and the paths that it was asked for."""
    asked = []

    class Vault(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            right = self.headers.get("X-Vault-Token") == VAULT_TOKEN
            secret = {"data": {"password": password}, "metadata": {"version": 1}} if self.path == "/v1/secret/data/apptainer/registry" else {}
            body = json.dumps({"data": secret} if right else {"errors": ["permission denied"]}).encode()
            self.send_response(200 if right else 403)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Vault) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def test_hashi_vault(secrets_only, tools):
    with vault(secrets_only.registry.account.password) as (address, asked):
        outputs = secrets_only.do(section("HashiCorp Vault and OpenBao"), tools, VAULT_ADDR=address)
    assert_logged_in(secrets_only, outputs)
    assert "/v1/secret/data/apptainer/registry" in asked


def test_molecule(unverified, tools):
    outputs = unverified.do(section("Molecule"), tools)
    assert "Idempotence" in outputs[0] or "idempotence] Executed: Successful" in outputs[0]
    site = unverified.path
    (site / "molecule/default/verify.yml").write_text(  # and the scenario fails if something differs
        f"- hosts: node1\n  gather_facts: false\n  tasks: [{{ansible.builtin.file: {{state: absent, path: "
        f"'{{{{ apptainer_fleet_config_root }}}}/etc/apptainer/remote.yaml'}}}}]\n{(site / 'molecule/default/verify.yml').read_text()}")
    with pytest.raises(AssertionError, match="Drift on 1 host"):
        unverified.do("```console\n$ molecule verify\n```\n", tools)


def test_ansible_navigator(unverified, tools, tmp_path):
    unverified.do(section("ansible-navigator"), tools)
    assert all("Exclusive: true" in (tmp_path / name / "apptainer/remote.yaml").read_text() for name in ("node1", "node2"))


def test_ara(unverified, tools, tmp_path):
    unverified.do("```console\n$ ansible-playbook -i inventory hpc.apptainer.rollout\n```\n", tools)
    file = tmp_path / "node1" / "apptainer" / "remote.yaml"
    file.write_text(file.read_text().replace("Exclusive: true", "Exclusive: false"))
    unverified.do(section("ara"), tools)
