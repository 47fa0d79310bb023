# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the pages promise is there: the demo runs, the guides quote what the code says, and the evidence that they name exists."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import yaml
from ansible.module_utils import basic
from support import envs, golden, pages, processes, recorded_table, return_docs, role_readme


def test_the_demo(tmp_path):
    env = processes.clean_env(tmp_path, {"ANSIBLE_CONFIG": ""})
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    done = processes.run(envs.ROOT / "demo" / "run", env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\d+ services up.*; 1 certificate trusted; the next certificate expires in 14 days", done.stdout)
    recaps = re.findall(r"^node\d .*changed=(\d).*failed=(\d)", done.stdout, re.MULTILINE)
    rolled_out, shown, again, drift, fixed, adopted = ["10"] * 3, ["00"] * 3, ["00"] * 3, ["00", "11", "00"], ["00", "10", "00"], ["10", "00", "00"]
    assert ["".join(recap) for recap in recaps] == [*rolled_out, *shown, *again, *drift, *fixed, *adopted, "10", "01", "00"]
    assert re.search(r"^\+ +Exclusive: true$", done.stdout, re.MULTILINE)
    assert "endpoint site: exclusive is false" in done.stdout


def test_the_guide_quotes_what_the_modules_say():
    sources = [envs.ROOT / "plugins", Path(basic.__file__).parent]
    code = "".join(path.read_text() for source in sources for path in source.rglob("*.py"))
    code = re.sub(r'"\s+f?"', "", code)
    messages = [row[0] for row in pages.table(pages.guide("guide_troubleshooting"), "message")]
    unknown = [words for message in messages for words in re.findall(r'"([^"]+)"', message) if words not in code]
    assert len(messages) > 40
    assert all('"' in message for message in messages)
    assert unknown == []


def test_the_guide_knows_every_finding():
    code = "".join(path.read_text() for path in (envs.ROOT / "plugins" / "module_utils" / "_inspection").glob("*.py"))
    explained = [name for row in pages.table(pages.guide("guide_troubleshooting"), "finding") for name in re.findall(r"``([a-z0-9.-]+)``", row[0])]
    assert sorted(explained) == sorted(set(re.findall(r'Finding\("([a-z0-9.-]+)"', code)))


def test_the_evidence_for_each_hazard_exists():
    for hazard, _done, evidence in pages.table(pages.guide("guide_hazards"), "hazard"):
        named = re.findall(r"``([^`]+)``", evidence)
        assert named, hazard
        for name in named:
            file, _colon, test = name.partition(": ")
            path = envs.ROOT / (file if "/" in file else f"tests/golden/{file}")
            assert path.is_file(), name
            assert not test or f"def {test}(" in path.read_text(), name


def test_the_evidence_of_the_checklists_exists():
    named = re.findall(r"`((?:[\w.-]+/)+[\w.-]*(?:::\w+)?)`", (envs.ROOT / "docs" / "checklists.md").read_text())
    assert len(named) > 15
    for name in named:
        file, _colons, test = name.partition("::")
        assert (envs.ROOT / file).exists(), name
        assert not test or f"def {test}(" in (envs.ROOT / file).read_text(), name


def test_links_lead_to_files():
    """Those into the repository. README and SECURITY are shown elsewhere, too, so they have whole addresses only."""
    address = "https://github.com/hpc-apptainer/ansible-collection-apptainer/"
    texts = {path: path.read_text() for suffix in ("md", "rst") for folder in ("", "docs/**/", "roles/**/", ".github/")
             for path in envs.ROOT.glob(f"{folder}*.{suffix}")}
    whole = [(path, name) for path, text in texts.items() for name in re.findall(rf"{address}(?:blob|tree)/main/([^\s)>#`]+)", text)]
    relative = [(path, name) for path, text in texts.items() if path.suffix == ".md" for name in re.findall(r"\]\((?!https:|#)([^)#]+)", text)]
    assert len(whole) > 30
    assert [(str(path), name) for path, name in whole if not (envs.ROOT / name).exists()] == []
    assert [(str(path), name) for path, name in relative if not (path.parent / name).exists()] == []
    assert [str(path) for path, _name in relative if path.name in {"README.md", "SECURITY.md"}] == []


def test_each_command_that_was_recorded_has_a_task():
    recorded = {" ".join(step["argv"][:2]) for name in ("remote_ops", "keyserver_ops", "logins") for case in golden.cases(name) for step in case["steps"]}
    commands = " ".join(row[0] for row in pages.table(pages.guide("guide_coming_from"), "command"))
    assert len(recorded) > 15
    assert [command for command in recorded if command not in commands] == []


def test_every_guide_is_listed_once():
    sections = yaml.safe_load((pages.GUIDES.parent / "extra-docs.yml").read_text())["sections"]
    assert sorted(name for section in sections for name in section["toctree"]) == pages.names()


def test_the_readme_of_the_role_is_that_of_its_argument_specs():
    assert (role_readme.ROLE / "README.md").read_text() == role_readme.readme(), "make docs"
    specs = yaml.safe_load((role_readme.ROLE / "meta" / "argument_specs.yml").read_text())["argument_specs"]
    defaults = yaml.safe_load((role_readme.ROLE / "defaults" / "main.yml").read_text())
    declared = {name: spec["default"] for entry in specs.values() for name, spec in entry["options"].items() if "default" in spec}
    assert {name: declared[name] for name in defaults} == defaults


def test_all_says_since_which_version_it_is_there():
    """An option has the version of its module, plugin or entry point, unless it says another."""
    paths = [path for kind in ("modules", "callback") for path in sorted((envs.ROOT / "plugins" / kind).glob("*.py"))]
    texts = {path.name: re.search(r'^DOCUMENTATION = r"""\n(.*?)^"""', path.read_text(), re.MULTILINE | re.DOTALL)[1] for path in paths}
    entries = {name: yaml.safe_load(text) for name, text in texts.items()}
    entries.update(yaml.safe_load((role_readme.ROLE / "meta" / "argument_specs.yml").read_text())["argument_specs"])
    assert len(entries) > 20
    assert [name for name, entry in entries.items() if not re.fullmatch(r"\d+\.\d+\.\d+", str(entry.get("version_added")))] == []


def test_the_tables_of_compatibility_are_those_of_the_recordings():
    for path, text in recorded_table.pages().items():
        assert path.read_text(encoding="utf-8") == text, "make docs"


@pytest.mark.parametrize("name", return_docs.SHARED)
def test_shared_return_values_are_those_of_their_source(name):
    assert return_docs.path(name).read_text() == return_docs.module(name), "make docs"


def test_return_values_that_modules_share_have_one_source():
    modules = [path.stem for path in return_docs.MODULES.glob("apptainer_*.py")]
    own = [f"{value}: {documentation}" for name in modules for value, documentation in return_docs.own_values(name).items()]
    assert sorted(set(own)) == sorted(own), "move it to tests/support/return_docs.yml"
