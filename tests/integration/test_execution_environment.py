# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Execution environments for AWX: what ansible-builder makes of the collection, and of the definition that the guide of AWX shows."""

import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from support import envs, pages, processes


@pytest.fixture
def builder(tmp_path):
    """Run ansible-builder to its end, without a network or containers."""
    found = shutil.which("ansible-builder", path=Path(sys.executable).parent) or shutil.which("ansible-builder")
    if found is None:
        pytest.skip("needs ansible-builder")

    def run(*arguments, cwd=tmp_path):
        done = processes.run(found, *arguments, env=processes.clean_env(tmp_path / "home"), cwd=cwd)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def required(text):
    """{package: the oldest version} of a requirements file."""
    return dict(re.findall(r"^([a-z]+)>=([\d.]+)", text.lower(), re.MULTILINE))


def page_file(name):
    """A file as the guide shows it."""
    return pages.file(pages.guide("guide_awx"), name)


# PyYAML comes with ansible-core, and ansible-builder leaves it out.
ASKS_SERVERS = {"requests": "2.20", "jsonschema": "2.6"}


def test_the_installed_collection_says_what_it_needs(builder, installed_collection, tmp_path):
    builder("introspect", installed_collection.parents[2], "--write-pip", tmp_path / "pip.txt", "--write-bindep", tmp_path / "bindep.txt")
    assert required((tmp_path / "pip.txt").read_text()) == ASKS_SERVERS
    assert not (tmp_path / "bindep.txt").exists()


def test_the_metadata_is_a_definition_too(builder, installed_collection, tmp_path):
    builder("create", "-f", installed_collection / "meta" / "execution-environment.yml", "-c", tmp_path / "context")
    built = tmp_path / "context" / "_build"
    assert (built / "requirements.txt").read_text() == (envs.ROOT / "meta" / "requirements.txt").read_text()
    assert required((built / "requirements.txt").read_text()) == {"pyyaml": "3.12", **ASKS_SERVERS}
    assert yaml.safe_load((built / "requirements.yml").read_text()) == {"collections": [{"name": "hpc.apptainer"}]}


def test_the_definition_of_the_page(builder, collection_tarball, tmp_path):
    text = page_file("execution-environment.yml")
    (tmp_path / "execution-environment.yml").write_text(text)
    shutil.copy(collection_tarball, tmp_path)
    assert collection_tarball.name in text
    builder("create")
    built = tmp_path / "context" / "_build"
    (collection,) = yaml.safe_load((built / "requirements.yml").read_text())["collections"]
    assert collection == {"name": collection_tarball.name, "type": "file"}
    # What the build does in that directory.
    galaxy = envs.core("running") / "bin" / "ansible-galaxy"
    installed = tmp_path / "collections"
    env = processes.clean_env(tmp_path / "home", {"ANSIBLE_COLLECTIONS_PATH": installed})
    done = processes.run(galaxy, "collection", "install", "--offline", "-r", "requirements.yml", "-p", installed, env=env, cwd=built)
    assert done.returncode == 0, done.stdout + done.stderr
    builder("introspect", installed, "--write-pip", tmp_path / "pip.txt")
    assert required((tmp_path / "pip.txt").read_text()) == ASKS_SERVERS


@pytest.mark.parametrize("name", ["rollout.yml", "drift.yml"])
def test_the_playbooks_of_a_project(installed_collection, tmp_path, name):
    (tmp_path / name).write_text(page_file(name))
    env = processes.clean_env(tmp_path / "home", {"ANSIBLE_COLLECTIONS_PATH": installed_collection.parents[2]})
    done = processes.run(envs.core("running") / "bin" / "ansible-playbook", "-i", "localhost,", "--syntax-check", name, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
