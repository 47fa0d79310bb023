# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`declared` of apptainer_remote_info, given to apptainer_remotes as it is: nothing changes, byte for byte, and a new node becomes the same."""

from __future__ import annotations

import pytest
from support import leaks
from support.files import snapshot
from support.golden import cases
from support.tables import table

TOKEN = "tok-s3cretS3CRET"
FILE = "etc/apptainer/remote.yaml"

SITE = f"""\
# Ask the HPC group before you edit this.
Active: site
Remotes:
    5:
        URI: five.example.org
        System: true
    "{{{{ lookup('pipe', 'false') }}}}":
        URI: jinja.example.org
        System: true
    old:
        URI: //old.example.org:8443
        Token: {TOKEN}
        System: true
    site:
        URI: library.example.org
        System: true
        Exclusive: true
        Keyservers:
            - {{URI: "https://keys.openpgp.org", Skip: true}}
            - {{URI: "hkps://keys.example.org", External: true, Insecure: true}}
Credentials:
    - URI: https://keys.example.org
      Auth: Basic {TOKEN}
"""


def texts():
    """Recorded global files, each once."""
    return list(dict.fromkeys(
        text for name in ("remote_ops", "keyserver_ops", "merge", "format") for case in cases(name) if case["version"] == "1.5.3"
        for text in [case["before"]["system"]] if isinstance(text, str)))


@pytest.fixture
def place(tmp_path):
    """Put a file onto a node, and return the options of both modules for this node."""

    def put(text, node="node", mode=0o644):
        file = tmp_path / node / FILE
        file.parent.mkdir(parents=True, exist_ok=True)
        if text is not None:
            file.write_text(text)
            file.chmod(mode)
        return {"scope": "global", "sysconfdir": str(tmp_path / node / "etc")}

    return put


@pytest.mark.parametrize(("text", "words"), table([
    ("no file", None, []),
    ("an empty file", "", []),
    ("all kinds of things", SITE, []),
    ("two defaults of nothing", SITE.replace("Active: site", "Active: gone").replace("Exclusive: true", "Exclusive: false"), ['endpoint "gone": ']),
]))
def test_what_is_declared_is_in_state(run_module, place, node_python, tmp_path, text, words):
    options = place(text)
    before = snapshot(tmp_path / "node")
    found = run_module("apptainer_remote_info", {**options, "include": ["declared"]}, python=node_python)
    assert leaks.leaked([found.stdout], {TOKEN}) == []
    assert [sentence[:len(word)] for sentence, word in zip(found.result["undeclared"], words, strict=True)] == words
    assert found.result["declared"]["sysconfdir"] == options["sysconfdir"]
    done = run_module("apptainer_remotes", found.result["declared"], diff=True, python=node_python)
    assert (done.result.get("msg"), done.result["changed"]) == (None, False)
    assert snapshot(tmp_path / "node") == before


def test_a_new_node_becomes_the_same(run_module, place, tmp_path):
    place(SITE)
    declared = run_module("apptainer_remote_info", {**place(SITE), "include": ["declared"]}).result["declared"]
    new = {**declared, **place(None, "new")}
    assert run_module("apptainer_remotes", new).result["changed"] is True
    again = run_module("apptainer_remote_info", {**place(None, "new"), "include": ["declared"]}).result
    assert ({**again["declared"], "sysconfdir": ""}, again["undeclared"]) == ({**declared, "sysconfdir": ""}, [])


def test_of_a_user(run_module, place, tmp_path):
    place(SITE)
    file = tmp_path / "home" / ".apptainer" / "remote.yaml"
    file.parent.mkdir(parents=True, mode=0o700)
    file.write_text(f"Active: mine\nRemotes:\n    mine: {{URI: m.example.org, Token: {TOKEN}}}\n    site: {{URI: s, Token: {TOKEN}, System: true}}\n")
    file.chmod(0o600)
    before = file.read_bytes()
    found = run_module("apptainer_remote_info", {"sysconfdir": place(SITE)["sysconfdir"], "include": ["declared"]}).result
    assert found["declared"]["remotes"] == [{"name": "mine", "uri": "https://m.example.org", "default": True}, {"name": "site"}]
    assert run_module("apptainer_remotes", found["declared"]).result["changed"] is False
    assert file.read_bytes() == before


def test_recorded_files(run_module, place, tmp_path):
    """A sample of the files that the real program met or wrote. Who says that a run would change something must be right, too."""
    checked = changed = 0
    for text in texts()[::12]:
        options = place(text)
        before = snapshot(tmp_path / "node")
        found = run_module("apptainer_remote_info", {**options, "include": ["declared"]}).result
        if found["declared"] is None:
            assert found["undeclared"]
            continue
        done = run_module("apptainer_remotes", found["declared"]).result
        foretold = any(" a run " in sentence for sentence in found["undeclared"])
        assert foretold or (done.get("failed", False), done["changed"]) == (False, False), (text, found["undeclared"], done)
        assert done.get("failed") or done["changed"] or snapshot(tmp_path / "node") == before
        checked, changed = checked + 1, changed + (done.get("failed", False) or done["changed"])
    assert checked > 20
    assert changed < checked / 2


def test_a_file_that_cannot_be_read_is_not_declared(run_module, place):
    found = run_module("apptainer_remote_info", {**place("x: ["), "include": ["declared"]}).result
    assert (found["declared"], len(found["undeclared"])) == (None, 1)
