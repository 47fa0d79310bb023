# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import ast
import re

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._values.flavors import FLAVORS, in_words_of, refusing_versions
from support.envs import ROOT
from support.tables import table

WORDS = [
    ("the program", "so Apptainer ignores it", "so SingularityCE ignores it"),
    ("at the begin", "Apptainer sends it there", "SingularityCE sends it there"),
    ("before a comma", "Apptainer, too; by Apptainer.", "SingularityCE, too; by SingularityCE."),
    ("a first version", "Apptainer 1.1 and newer cannot use the uri", "SingularityCE 3.9 and newer cannot use the uri"),
    ("an old version", "Apptainer 1.0 cannot use the uri //h:1, which 1.1 and newer need for a port; upgrade nodes that still have 1.0",
     "SingularityCE 3.8 cannot use the uri //h:1, which 3.9 and newer need for a port; upgrade nodes that still have 3.8"),
    ("before a version", "with which Apptainer before 1.5 writes", "with which SingularityCE before 4.5 writes"),
    ("a version that is not known", "and Apptainer from 1.3 on refuses a path", "and SingularityCE refuses a path"),
    ("not known, and not", "where Apptainer 1.4 and newer do not look", "where SingularityCE does not look"),
    ("several versions", "which Apptainer 1.1 to 1.5 can use", "which SingularityCE can use"),
    ("commands", "apptainer remote use, apptainer keyserver add, every apptainer command",
     "singularity remote use, singularity keyserver add, every singularity command"),
    ("our modules", "add it with apptainer_remote (apptainer_fleet_remotes)", "add it with apptainer_remote (apptainer_fleet_remotes)"),
    ("a name",
     'endpoint "Apptainer 1.1 and newer \\" Apptainer": Apptainer does',
     'endpoint "Apptainer 1.1 and newer \\" Apptainer": SingularityCE does'),
    ("paths and hosts", "/opt/Apptainer/x, /etc/apptainer/remote.yaml, cloud.apptainer.org, https://apptainer remote",
     "/opt/Apptainer/x, /etc/apptainer/remote.yaml, cloud.apptainer.org, https://apptainer remote"),
    ("one quote", 'a " alone: Apptainer', 'a " alone: SingularityCE'),
]


@pytest.mark.parametrize(("message", "words"), table(WORDS))
def test_words(message, words):
    assert in_words_of("singularity", message) == words
    assert in_words_of("apptainer", message) == message
    assert in_words_of("singularity", words) == words


def messages():
    """Every text in the code on nodes that is not a docstring, formatted values left out."""
    for path in sorted((ROOT / "plugins" / "module_utils").rglob("*.py")):
        if path.name == "flavors.py":
            continue
        tree = ast.parse(path.read_text())
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                yield node.value


def test_no_message_keeps_words_of_apptainer():
    seen = [text for text in messages() if re.search(r"\bApptainer\b", text)]
    assert len(seen) > 40
    left = [text for text in seen if re.search(r"\bApptainer\b|\b1\.[0-6]\b", in_words_of("singularity", text.replace('"', "")))]
    assert left == []


def test_versions():
    assert refusing_versions(("1.0", "1.6"), "apptainer") == ("1.0", "1.6")
    assert refusing_versions(("1.0", "1.6"), "singularity") == ("3.8", "4.5")
    assert refusing_versions(("1.5",), "singularity") == ()


@pytest.mark.parametrize("flavor", FLAVORS)
def test_the_newest_is_one_of_the_versions(flavor):
    assert FLAVORS[flavor].newest in [version for same in FLAVORS[flavor].versions.values() for version in same]
