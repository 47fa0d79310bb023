# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
import yaml
from ansible_collections.hpc.apptainer.plugins.module_utils._formats import yaml_nodes

PARSERS = {"c": yaml.CBaseLoader, "python": yaml_nodes._PythonParser}


@pytest.fixture(params=PARSERS)
def parser(request, monkeypatch):
    """Both parsers of PyYAML, in turn: nodes have one or the other."""
    monkeypatch.setattr(yaml_nodes, "_parser", PARSERS[request.param])
    return request.param
