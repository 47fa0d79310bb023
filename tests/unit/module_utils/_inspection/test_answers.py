# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._inspection.answers import answer_findings
from ansible_collections.hpc.apptainer.plugins.module_utils._values.remote_config import Remote, RemoteConfig
from support.tables import table

CONFIG = RemoteConfig("site", {"site": Remote("site.example", system=True), "mine": Remote("own.example")})
GOOD = {"name": "library", "uri": "https://l.example", "version": "1", "error": None}


def service(name):
    return {"name": name, "uri": "https://s.example", "version": None, "error": "silence"}


def login(kind, name, **answer):
    return {"kind": kind, "name": name, "username": "ci", **answer}


@pytest.mark.parametrize(("answers", "expected"), table([
    ("nothing was asked", {"logins": [login("registry", "r.example")]}, []),
    ("all is well", {"services": [{"remote": "site", "error": None, "services": [GOOD]}],
                     "keyservers": [{"remote": "site", "uri": "https://k.example", "error": None}],
                     "logins": [login("registry", "r.example", verified=True, reason="")]}, []),
    ("a dead endpoint", {"services": [{"remote": "site", "error": "silence", "services": []}]},
     [("dead-endpoint", "/etc", "site", "its services cannot be found: silence")]),
    ("a dead endpoint of the user's own", {"services": [{"remote": "mine", "error": "silence", "services": []}]},
     [("dead-endpoint", "/user", "mine", "its services cannot be found: silence")]),
    ("a dead service, and one that is not used", {"services": [{"remote": "site", "error": None, "services": [GOOD, service("library"), service("x")]}]},
     [("dead-service", "/etc", "site", "its library service at https://s.example does not answer as it should: silence")]),
    ("a dead keyserver", {"keyservers": [{"remote": "site", "uri": "https://k.example", "error": "silence"}]},
     [("dead-keyserver", "/etc", "site", "its keyserver https://k.example cannot be used: silence")]),
    ("a built-in keyserver that nobody knows", {"keyservers": [{"remote": "mine", "uri": None, "error": "silence"}]},
     [("dead-keyserver", "/user", "mine", "its built-in keyserver cannot be used: silence")]),
    ("rejected logins", {"logins": [login(kind, "n", verified=False, reason="no", rejected=True) for kind in ("endpoint", "keyserver", "registry")]}, [
        ("rejected-login", "/user", "n", 'the login to endpoint "n" is not accepted: no'),
        ("rejected-login", "/user", None, "the login to keyserver n is not accepted: no"),
        ("rejected-login", "/auth", None, "the login to registry n is not accepted: no")]),
    ("a login of which its server could not be asked", {"logins": [login("registry", "n", verified=False, reason="silence", rejected=False)]}, [
        ("unverified-login", "/auth", None, "the login to registry n could not be verified: silence")]),
    ("a login of which nobody knows", {"logins": [login("registry", "r.example", verified=None, reason="all are let in")]}, []),
]))
def test_answer_findings(answers, expected):
    found = list(answer_findings(answers, CONFIG, "/etc", "/user", "/auth"))
    assert [(item.id, item.path, item.remote, item.message) for item in found] == expected
    assert all(item.severity == ("warning" if item.id == "unverified-login" else "error") for item in found)
