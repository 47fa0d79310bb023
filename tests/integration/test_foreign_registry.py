# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Logins to a registry with a token service that nobody here wrote."""

import pytest
from support.servers.zuul import zuul

WRONG = "wr0ng-pa55word"


@pytest.fixture
def log_in(run_module, tmp_path):
    def run(host, username, password):
        args = {"uri": f"docker://{host}", "username": username, "password": password, "config_file": str(tmp_path / "remote.yaml")}
        return run_module("apptainer_registry_login", args).result

    return run


@pytest.mark.parametrize("access", ["write", "read"])
def test_a_login_is_verified_by_its_token_service(log_in, tmp_path, access):
    with zuul(access) as (host, user):
        refused = log_in(host, user.username, WRONG)
        assert (refused["verified"], list(tmp_path.glob("*.*"))) == (False, [])
        assert f"the token service http://{host} rejects the login (401 Unauthorized)" in refused["msg"]
        stored = log_in(host, user.username, user.password)
        assert (stored["changed"], stored["verified"]) == (True, True)
        assert log_in(host, user.username, WRONG)["verified"] is False
