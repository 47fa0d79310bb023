# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The authorities that Go trusts: in a file, and in directories."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._network.trust import _paths_in, system_authorities, trust
from support import web


@pytest.fixture(scope="module")
def pems(tmp_path_factory):
    """Three certificates of authorities."""
    return [Path(web.Authority(tmp_path_factory.mktemp("ca")).ca).read_text().strip() for _authority in range(3)]


def test_a_file_and_all_files_in_directories(tmp_path, pems):
    directory = tmp_path / "certs"
    directory.mkdir()
    (tmp_path / "bundle").write_text(f"# one\n{pems[0]}\n\ntext\n{pems[1]}\n")
    (directory / "site.crt").write_text(pems[2])
    (directory / "again").write_text(pems[0])
    (directory / "abcdef01.0").symlink_to("site.crt")
    (directory / "elsewhere.pem").symlink_to(tmp_path / "bundle")
    (directory / "gone").symlink_to(tmp_path / "nothing")
    (directory / "below").mkdir()
    os.mkfifo(directory / "pipe")
    assert [os.path.basename(path) for path in _paths_in(str(directory))] == ["again", "elsewhere.pem", "site.crt"]
    environ = {"SSL_CERT_FILE": str(tmp_path / "bundle"), "SSL_CERT_DIR": f"{tmp_path}/none:{directory}"}
    assert list(system_authorities(environ)) == pems
    assert list(system_authorities(dict(environ, SSL_CERT_FILE=str(directory)))) == [pems[0], pems[1], pems[2]]
    assert system_authorities({"SSL_CERT_FILE": "a\0b", "SSL_CERT_DIR": str(tmp_path / "none")}) == ()


def test_a_file_that_cannot_be_read(tmp_path, pems, monkeypatch):
    (tmp_path / "bundle").write_text(pems[0])
    environ = {"SSL_CERT_FILE": str(tmp_path / "bundle"), "SSL_CERT_DIR": "/does/not/exist"}

    def refuse(*_arguments):
        raise PermissionError

    monkeypatch.setattr("builtins.open", refuse)
    assert system_authorities(environ) == ()


def test_one_that_is_broken_is_left_out(pems):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust(context, [pems[0], "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", pems[1]])
    assert len(context.get_ca_certs()) == 2
