# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import re

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import NetworkError
from ansible_collections.hpc.apptainer.plugins.module_utils._network.client import Client
from ansible_collections.hpc.apptainer.plugins.module_utils._network.http_options import HttpOptions, check_options


def test_files_that_cannot_be_used(authority, tmp_path):
    cert, key = authority.files("me")
    sealed = authority.files("me", password="x")
    junk = tmp_path / "junk.pem"
    junk.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    missing, fifo = str(tmp_path / "missing"), str(tmp_path / "fifo")
    os.mkfifo(fifo)
    for options, words in [
        ({"ca_path": missing}, f'ca_path "{missing}" cannot be read: No such file or directory'),
        ({"ca_path": key}, f'ca_path "{key}" holds no certificate in PEM format'),
        ({"ca_path": str(junk)}, f'ca_path "{junk}" holds no certificate in PEM format'),
        ({"client_cert": missing}, f'client_cert "{missing}" cannot be read: No such file or directory'),
        ({"client_cert": str(tmp_path)}, f'client_cert "{tmp_path}" is not a regular file'),
        ({"client_cert": cert, "client_key": str(tmp_path)}, f'client_key "{tmp_path}" is not a regular file'),
        ({"ca_path": fifo}, f'ca_path "{fifo}" is not a regular file'),
        ({"client_cert": fifo}, f'client_cert "{fifo}" is not a regular file'),
        ({"client_cert": cert, "client_key": fifo}, f'client_key "{fifo}" is not a regular file'),
        ({"ca_path": "/dev/zero"}, 'ca_path "/dev/zero" is not a regular file'),
        ({"ca_path": "a\0b"}, 'ca_path "a\\u0000b" cannot be read: it is not a valid path'),
        ({"client_cert": "a\0b"}, 'client_cert "a\\u0000b" cannot be read: it is not a valid path'),
        ({"ca_path": "a\ud800b"}, "cannot be read: it is not a valid path"),
        ({"client_cert": cert, "client_key": "a\ud800b"}, "cannot be read: it is not a valid path"),
        ({"ca_path": "x" * 5000}, "cannot be read: File name too long"),
        ({"client_cert": cert, "client_key": missing}, f'client_key "{missing}" cannot be read'),
        ({"client_key": key}, "client_key is set without client_cert; set both"),
        ({"client_cert": cert}, f'client_cert "{cert}" and its key (client_key, or in the same file) cannot be used'),
        ({"client_cert": cert, "client_key": str(junk)}, f'its key (client_key "{junk}") cannot be used'),
        ({"client_cert": cert, "client_key": sealed[1]}, "and the key must not be encrypted"),
    ]:
        with pytest.raises(NetworkError) as caught:
            check_options(HttpOptions(**options))
        assert words in str(caught.value)
        assert caught.value.__context__ is None
        with pytest.raises(NetworkError, match=re.escape(str(caught.value))):
            Client(HttpOptions(**options))
    check_options(HttpOptions(ca_path=str(tmp_path)))  # a directory of certificates
