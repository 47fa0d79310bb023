# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asking servers as the modules do, with a credential that must not show up in any error or reason."""

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import NetworkError
from ansible_collections.hpc.apptainer.plugins.module_utils._network.client import Client, Response
from ansible_collections.hpc.apptainer.plugins.module_utils._network.http_options import HttpOptions
from ansible_collections.hpc.apptainer.plugins.module_utils._network.verdict import Verdict
from ansible_collections.hpc.apptainer.plugins.module_utils._network.verification import verify_claim
from ansible_collections.hpc.apptainer.plugins.module_utils._values.claims import Claim, basic

PASSWORD = "S3cretPassw0rd"
LOGIN = basic("alice", PASSWORD)
ENCODED = LOGIN.partition(" ")[2]

# How messages end
LATE = ": check that it is running and reachable from here, or raise timeout"
REFUSES = "refuses the connection: check that it is running, and the port"


def get(url: str, authorization: str = "", options: HttpOptions | None = None, validate_certs: bool | None = None,
        same_server: bool = False) -> Response:
    with Client(options or HttpOptions()) as client:
        return client.get(url, authorization, validate_certs, same_server)


def get_error(url: str, authorization: str = "", options: HttpOptions | None = None, same_server: bool = False) -> NetworkError:
    """The error, which must be one line, with no secret and no other exception in it."""
    with pytest.raises(NetworkError) as caught:
        get(url, authorization, options, same_server=same_server)
    error = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None
    assert "\n" not in str(error)
    assert not any(secret in repr(error) for secret in (PASSWORD, ENCODED))
    return error


def verdict(claim: Claim, **options: object) -> Verdict:
    """The verdict on a claim, whose reason must be one line with no secret in it."""
    with Client(HttpOptions(**options)) as client:  # type: ignore[arg-type]
        result = verify_claim(claim, client)
    assert "\n" not in result.reason
    assert not any(secret in result.reason for secret in (PASSWORD, ENCODED))
    return result
