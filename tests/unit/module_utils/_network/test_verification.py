# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Claims of every kind, at servers and with credentials that no one should have."""

from __future__ import annotations

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._network.discovery import DOCUMENT
from ansible_collections.hpc.apptainer.plugins.module_utils._network.verdict import Verdict
from ansible_collections.hpc.apptainer.plugins.module_utils._values.claims import EndpointToken, KeyserverLogin, RegistryLogin
from support import web
from support.asking import LOGIN, PASSWORD, verdict
from support.web import Reply, guarded, json_reply, serve


@pytest.mark.parametrize("status", [200, 302, 401, 403, 500])
def test_servers_that_say_the_secret_everywhere(status):
    def answers(request):
        if request.path == DOCUMENT:
            return json_reply({"tokenAPI": {"uri": server.url}})
        return web.echo(status)(request) if request.authorization else Reply(401, headers=[("WWW-Authenticate", f'Bearer realm="{server.url}/t"')])

    with serve(answers) as server:
        for secret in (EndpointToken("x", f"//{server.host}", True, PASSWORD), KeyserverLogin(server.url, LOGIN),
                       RegistryLogin(server.host, "alice", PASSWORD)):
            verdict(secret)  # which looks at the reason


@pytest.mark.parametrize("word", ["\ud800", "a\udfff", "\U0001f600\ud83d"], ids=["the first half", "the second half", "half of a pair"])
def test_what_is_stored_as_half_a_character_cannot_be_sent(word):
    with serve(guarded(json_reply({}), "other")) as server:
        unsent = Verdict(False, "the stored login has characters that cannot be sent; log in again")
        assert verdict(RegistryLogin(server.host, word, PASSWORD)) == unsent
        assert verdict(RegistryLogin(server.host, "alice", word)) == unsent
        assert not any(request.authorization for request in server.requests)
        # such a header or address is no more than wrong
        for secret in (KeyserverLogin(server.url, "Bearer " + word), EndpointToken("x", f"//{server.host}", True, word),
                       KeyserverLogin(server.url.replace("//", f"//{word}@"), LOGIN), RegistryLogin(word, "alice", PASSWORD),
                       EndpointToken("x", f"//{word}@{server.host}", True, PASSWORD)):
            assert verdict(secret)[0] is False
