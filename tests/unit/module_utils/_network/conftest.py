# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

import pytest
from support import web


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    web.settle(monkeypatch)


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return web.Authority(tmp_path_factory.mktemp("ca"))
