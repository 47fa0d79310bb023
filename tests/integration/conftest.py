# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures of the tests that run the role and the playbooks where every host is a directory of this machine."""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest
import yaml
from support import envs, processes

HOSTS = ("n1", "n2", "n3")


class Done(NamedTuple):
    rc: int
    output: str

    @property
    def words(self):
        """The output as one line, as Ansible folds it anywhere."""
        return " ".join(self.output.split())

    @property
    def blamed(self):
        """The hosts that the recap blames."""
        return {host for host, unreachable, failed in re.findall(r"^(\S+) +: .* unreachable=(\d+) +failed=(\d+)", self.output, re.M)
                if int(unreachable) + int(failed)}

    @property
    def changed(self):
        """The hosts that were changed, in each batch."""
        batches = self.output.split("TASK [hpc.apptainer.apptainer_fleet : Configure ")[1:]
        return [set(re.findall(r"^changed: \[(\w+)\]", batch, re.M)) for batch in batches]


class Vaulted(str):
    """A text that the inventory holds as `!vault`."""


class Dumper(yaml.SafeDumper):
    """Of inventories."""


Dumper.add_representer(Vaulted, lambda dumper, text: dumper.represent_scalar("!vault", text, style="|"))


@pytest.fixture(scope="module", params=[envs.OLD_CORE, "newest"])
def core(request):
    """The environment with the oldest ansible-core, and the one with the newest."""
    try:
        return envs.core(request.param)
    except envs.MissingInterpreterError as exc:
        pytest.skip(str(exc))


@pytest.fixture
def play(core, tmp_path, quick_python):
    """`play(playbook, *arguments, host_vars=None, env=None, **variables)`: a name or plays, on HOSTS; variables as of all hosts' group."""
    python = quick_python(core)

    def run(playbook, *arguments, host_vars=None, env=None, **variables):
        if not isinstance(playbook, str):
            (tmp_path / "play.yml").write_text(yaml.safe_dump(playbook))
            playbook = tmp_path / "play.yml"
        hosts = {name: {"apptainer_fleet_sysconfdir": str(tmp_path / name), **(host_vars or {}).get(name, {})} for name in HOSTS}
        inventory = {"all": {"hosts": hosts, "vars": {"ansible_connection": "local", **variables}}}
        (tmp_path / "hosts.yml").write_text(yaml.dump(inventory, Dumper=Dumper))
        done = processes.run(core / "bin" / "ansible-playbook", "-i", tmp_path / "hosts.yml", "-e", f"ansible_python_interpreter={python}",
                             *arguments, playbook, env=processes.clean_env(tmp_path / "home", env))
        return Done(done.returncode, done.stdout + done.stderr)

    return run


@pytest.fixture
def written(tmp_path):
    """The hosts that have a global file."""
    return lambda: [name for name in HOSTS if (tmp_path / name / "apptainer" / "remote.yaml").exists()]


@pytest.fixture
def vaulted(core, tmp_path):
    """`vaulted(text)`: the text as it is vaulted in place with the password in the file `.password`."""
    password = tmp_path / "vault_password"
    password.write_text("the-vault-pa55word")

    def encrypt(text):
        done = processes.run(core / "bin" / "ansible-vault", "encrypt_string", "--vault-password-file", password, stdin=text,
                             env=processes.clean_env(tmp_path / "home"))
        assert done.returncode == 0, done.stderr
        return Vaulted(done.stdout.partition("\n")[2].replace(" ", ""))

    encrypt.password = password
    return encrypt
