# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import RuleError
from ansible_collections.hpc.apptainer.plugins.module_utils._formats import docker_json as _docker_json
from ansible_collections.hpc.apptainer.plugins.module_utils._formats.remote_yaml_reader import Document, Quirk
from ansible_collections.hpc.apptainer.plugins.module_utils._inspection.findings import ReadFile, findings
from ansible_collections.hpc.apptainer.plugins.module_utils._rules.endpoints import WantedRemote, converge
from ansible_collections.hpc.apptainer.plugins.module_utils._values.remote_config import Credential, Keyserver, Remote, RemoteConfig
from hypothesis import assume, given
from hypothesis import strategies as st

SHARED = "/etc/apptainer/remote.yaml"
USER = "/home/alice/.apptainer/remote.yaml"
CACHE = "/home/alice/.apptainer/remote-cache"
AUTH = "/home/alice/.apptainer/docker-config.json"
ALICE = 1000
SECRET = "hunter2"


def config(active="", credentials=(), **remotes):
    return RemoteConfig(active, remotes, tuple(credentials))


def document(content, *quirks):
    return None if content is None else Document(content, "", True, quirks)


def shared_file(content=None, *quirks, error=None, mode=0o644, uid=0):
    exists = content is not None or error is not None
    return ReadFile(SHARED, exists, document(content, *quirks), error, mode if exists else None, uid if exists else None, 0)


def user_file(content=None, *quirks, error=None, mode=0o600, uid=ALICE):
    exists = content is not None or error is not None
    return ReadFile(USER, exists, document(content, *quirks), error, mode if exists else None, uid if exists else None, ALICE if exists else 0)


def shared(uri="lib.example", **fields):
    return Remote(uri, system=True, **fields)


def own(uri="own.example", **fields):
    return Remote(uri, **fields)


def error(kind, path, words, remote=None):
    return kind, "error", path, remote, words


def warning(kind, path, words, remote=None):
    return kind, "warning", path, remote, words


GOOD = config("a", a=shared("a.example"), b=shared("b.example"))
RULED = config("a", a=shared("a.example", exclusive=True), b=shared("b.example"))
NO_FILE = shared_file()
NO_USER = user_file()


def of_shared(**fields):
    """A good global file but for one endpoint, x."""
    return shared_file(config("a", a=shared("a.example"), x=shared(**fields)))


def of_user(**fields):
    """A good user's file but for one endpoint, x."""
    return user_file(config("mine", mine=own(), x=Remote(**fields)))


def with_keyserver(uri):
    return of_shared(keyservers=(Keyserver(uri, external=True),))


UNUSABLE = 'Apptainer from 1.1 cannot use the URI "%s"; declare the endpoint anew'
ONLY_FROM_1_1 = "Apptainer 1.0 cannot use the URI %s, which 1.1 and later need for a port"
NO_DEFAULT = "Apptainer refuses to work: no default endpoint set: use 'apptainer remote use …'"
IN_THE_GLOBAL_FILE = "credentials in the global file are readable by everyone and work only for users without a file"

FINDINGS = [  # what, global file, user's file, cached documents, the findings
    ("a new node", NO_FILE, NO_USER, [], []),
    ("empty files", shared_file(config()), user_file(config()), [], []),
    ("good files", shared_file(RULED),
     user_file(config("a", [Credential("https://k", SECRET)], a=shared("a.example", exclusive=True, token=SECRET), own=own())), [], []),
    # reading
    ("an unreadable global file", shared_file(error="line 3, column 1: broken"), NO_USER, [],
     [error("unreadable", SHARED, "line 3, column 1: broken")]),
    ("an unreadable user's file", NO_FILE, user_file(error="broken"), [],
     [error("unreadable", USER, "broken")]),
    ("refused by some versions",
     shared_file(GOOD, Quirk(4, "a quoted boolean", ("1.0", "1.1", "1.2")), Quirk(9, "the endpoint key Insecure", ("1.0",))), NO_USER, [],
     [warning("refused-by-versions", SHARED, "Apptainer 1.0, 1.1, 1.2 cannot read this file: a quoted boolean"),
      warning("refused-by-versions", SHARED, "Apptainer 1.0 cannot read this file: the endpoint key Insecure")]),
    ("a user's file too", NO_FILE, user_file(config(), Quirk(1, "no data", ("1.3",))), [],
     [warning("refused-by-versions", USER, "Apptainer 1.3 cannot read this file: no data")]),
    # mode and owner of the global file
    ("0444 is enough", shared_file(GOOD, mode=0o444), NO_USER, [], []),
    ("0755 is odd, but harmless", shared_file(GOOD, mode=0o755), NO_USER, [], []),
    ("users can't read it", shared_file(GOOD, mode=0o600), NO_USER, [],
     [error("mode", SHARED, "mode 0600: users cannot read it, so Apptainer ignores it for them; it should be 0644")]),
    ("its group can, but not all", shared_file(GOOD, mode=0o640), NO_USER, [], [error("mode", SHARED, "mode 0640: users cannot read it")]),
    ("all but its group can", shared_file(GOOD, mode=0o604), NO_USER, [], [error("mode", SHARED, "mode 0604: users cannot read it")]),
    ("its group can write", shared_file(GOOD, mode=0o664), NO_USER, [],
     [error("mode", SHARED, "mode 0664: others than its owner can change it for everyone; it should be 0644")]),
    ("all can write", shared_file(GOOD, mode=0o646), NO_USER, [], [error("mode", SHARED, "mode 0646: others than its owner can change it")]),
    ("both", shared_file(GOOD, mode=0o622), NO_USER, [],
     [error("mode", SHARED, "mode 0622: users cannot read it"), error("mode", SHARED, "mode 0622: others than its owner can change it")]),
    ("somebody else's", shared_file(GOOD, uid=ALICE), NO_USER, [],
     [error("owner", SHARED, "it belongs to uid 1000, who can change it for everyone; it should belong to uid 0")]),
    ("unreadable and open", shared_file(error="broken", mode=0o666), NO_USER, [],
     [error("unreadable", SHARED, "broken"), error("mode", SHARED, "mode 0666: others than its owner can change it")]),
    # mode and owner of the user's file
    ("others can read it", NO_FILE, user_file(config(), mode=0o644), [], [warning("mode", USER, "mode 0644; it should be 0600")]),
    ("with a token", NO_FILE, user_file(config("mine", mine=own(token=SECRET)), mode=0o640), [],
     [error("mode", USER, "mode 0640: others can read the secrets in it; it should be 0600")]),
    ("with a password", NO_FILE, user_file(config(credentials=[Credential("https://k", SECRET)]), mode=0o604), [],
     [error("mode", USER, "mode 0604: others can read the secrets in it; it should be 0600")]),
    ("with a login without its secret", NO_FILE, user_file(config(credentials=[Credential("docker://r")]), mode=0o604), [],
     [warning("mode", USER, "mode 0604; it should be 0600")]),
    ("not even readable, and open", NO_FILE, user_file(error="broken", mode=0o644), [],
     [error("unreadable", USER, "broken"), warning("mode", USER, "mode 0644; it should be 0600")]),
    ("made by root", NO_FILE, user_file(config(), uid=0), [],
     [error("owner", USER, "it belongs to uid 0, its directory to uid 1000; every apptainer command of that user fails")]),
    # the whole global file
    ("two exclusive endpoints", shared_file(config("b", a=shared(exclusive=True), b=shared(exclusive=True))), NO_USER, [],
     [error("two-exclusives", SHARED, 'the endpoints "a", "b" are all exclusive; Apptainer obeys any of them, by chance')]),
    ("exclusive, but not the default", shared_file(RULED._replace(active="b")), NO_USER, [],
     [error("exclusive-not-default", SHARED, 'users without a file get "b", the others the exclusive one', "a")]),
    ("a password for everyone", shared_file(config("a", [Credential("https://k", SECRET)], a=shared())), NO_USER, [],
     [error("global-secret", SHARED, IN_THE_GLOBAL_FILE)]),
    ("a login for everyone", shared_file(config("a", [Credential("docker://r")], a=shared())), NO_USER, [],
     [warning("global-secret", SHARED, IN_THE_GLOBAL_FILE)]),
    # its endpoints
    ("insecure", of_shared(insecure=True), NO_USER, [],
     [warning("insecure-not-synced", SHARED, "insecure (http) does not reach users who have a file; Apptainer uses https for them", "x")]),
    ("a token for everyone", of_shared(token=SECRET), NO_USER, [],
     [error("global-secret", SHARED, "a token in the global file is readable by everyone; remove it (logout: true), revoke it", "x")]),
    ("not System", shared_file(config("x", x=own())), NO_USER, [],
     [warning("not-system", SHARED, "System is false in the global file, so keyserver commands refuse this endpoint", "x")]),
    ("an ftp keyserver", with_keyserver("ftp://k"), NO_USER, [],
     [error("unusable-keyserver", SHARED, "Apptainer can neither use nor remove the keyserver ftp://k", "x")]),
    ("a keyserver without a scheme", with_keyserver("k"), NO_USER, [], [error("unusable-keyserver", SHARED, "the keyserver k", "x")]),
    ("a good keyserver", with_keyserver("hkp://k"), NO_USER, [], []),
    ("no URI", of_shared(uri=""), NO_USER, [], [error("unusable-uri", SHARED, UNUSABLE % "", "x")]),
    ("a port", of_shared(uri="h:8443"), NO_USER, [], [error("unusable-uri", SHARED, UNUSABLE % "h:8443", "x")]),
    ("a port of an address", of_shared(uri="127.0.0.1:8443"), NO_USER, [], [error("unusable-uri", SHARED, UNUSABLE % "127.0.0.1:8443", "x")]),
    ("only a port", of_shared(uri="//:8443"), NO_USER, [], [error("unusable-uri", SHARED, UNUSABLE % "//:8443", "x")]),
    ("only a dot", of_shared(uri="."), NO_USER, [], [error("unusable-uri", SHARED, UNUSABLE % ".", "x")]),
    ("only a path", of_shared(uri="/h"), NO_USER, [], [error("unusable-uri", SHARED, UNUSABLE % "/h", "x")]),
    ("only a query", of_shared(uri="?h"), NO_USER, [], [error("unusable-uri", SHARED, UNUSABLE % "?h", "x")]),
    ("a port with //", of_shared(uri="//h:8443"), NO_USER, [], [warning("uri-not-for-1.0", SHARED, ONLY_FROM_1_1 % "//h:8443", "x")]),
    ("a port with a scheme", of_shared(uri="https://h:8443"), NO_USER, [],
     [warning("uri-not-for-1.0", SHARED, ONLY_FROM_1_1 % "https://h:8443", "x")]),
    ("all endpoints, by name", shared_file(config("a", b=shared(token=SECRET), a=shared(insecure=True), c=shared(uri=""))), NO_USER, [],
     [error("global-secret", SHARED, "", "b"), error("unusable-uri", SHARED, "", "c"), warning("insecure-not-synced", SHARED, "", "a")]),
    # the user's endpoints
    ("a shadow", shared_file(GOOD), user_file(config("b", b=own())), [],
     [warning("shadowed", USER, "an own endpoint hides the global one of the same name", "b")]),
    ("a shadow of the exclusive one", shared_file(RULED), user_file(config("a", a=own())), [],
     [error("shadowed-exclusive", USER, "an own endpoint hides the global one of the same name, so exclusive is not obeyed", "a")]),
    ("a stale copy", shared_file(GOOD), user_file(config("a", gone=shared())), [],
     [warning("stale-copy", USER, "a copy of a global endpoint that is gone; remove it with state: absent", "gone")]),
    ("a stale exclusive copy", shared_file(GOOD), user_file(config("a", gone=shared(exclusive=True))), [],
     [error("stale-copy", USER, "a copy of a global endpoint that is gone; it is still exclusive here and locks this user out; "
            "remove it with state: absent", "gone")]),
    ("a stale copy without a global file", NO_FILE, user_file(config("gone", gone=shared())), [],
     [warning("stale-copy", USER, "that is gone", "gone")]),
    ("a copy of a released endpoint", shared_file(GOOD), user_file(config("a", a=shared("a.example", exclusive=True))), [],
     [warning("unreleased-copy", USER, "keep the endpoint in the global file until this user has run a command", "a")]),
    ("a copy, and another one is exclusive now", shared_file(RULED), user_file(config("a", b=shared("b.example", exclusive=True))), [],
     [warning("unreleased-copy", USER, "still says that it is exclusive", "b")]),
    ("an old copy of one that is exclusive now", shared_file(RULED), user_file(config("a", a=shared("a.example"))), [], []),
    ("a mark of an unknown time", shared_file(error="broken"), user_file(config("a", a=shared("a.example", exclusive=True))), [],
     [error("unreadable", SHARED, "broken")]),
    ("a copy of an unreadable file is not stale", shared_file(error="broken"), user_file(config("a", a=shared())), [],
     [error("unreadable", SHARED, "broken")]),
    ("an own endpoint that can't be used", shared_file(GOOD), of_user(uri="h:80"), [], [error("unusable-uri", USER, UNUSABLE % "h:80", "x")]),
    ("an own endpoint with //", shared_file(GOOD), of_user(uri="//h:80"), [], [warning("uri-not-for-1.0", USER, ONLY_FROM_1_1 % "//h:80", "x")]),
    ("a token for another place", shared_file(GOOD), user_file(config("a", a=shared("old.example", token=SECRET))), [],
     [warning("moved-token", USER, "the token was stored for old.example, but the global endpoint is now at a.example, where Apptainer sends it; "
              "log in again", "a")]),
    ("without its passwords", shared_file(config("a", a=shared("https://u:hunter2@a.example"))),
     user_file(config("a", a=shared("https://u:hunter2@old.example", token=SECRET))), [],
     [warning("uri-not-for-1.0", SHARED, "", "a"),
      warning("moved-token", USER, "stored for https://(hidden)@old.example, but the global endpoint is now at https://(hidden)@a.example", "a")]),
    ("the same place in other words", shared_file(GOOD), user_file(config("a", a=shared("https://A.example/", token=SECRET))), [], []),
    ("http there doesn't reach the user", shared_file(config("a", a=shared("a.example"))),
     user_file(config("a", a=shared("a.example", insecure=True, token=SECRET))), [], []),
    ("another place without a token", shared_file(GOOD), user_file(config("a", a=shared("old.example"))), [], []),
    ("an own endpoint doesn't move", shared_file(GOOD), user_file(config("a", a=own("old.example", token=SECRET))), [],
     [warning("shadowed", USER, "", "a")]),
    ("nobody knows where", shared_file(error="broken"), user_file(config("a", a=shared("old.example", token=SECRET))), [],
     [error("unreadable", SHARED, "broken")]),
    ("the URI of a copy is the global file's affair", shared_file(GOOD), user_file(config("a", a=shared("h:80"))), [], []),
    ("an own endpoint may be insecure and hold a token", shared_file(GOOD), of_user(uri="h", insecure=True, token=SECRET), [], []),
    # the cache
    ("a cached document", shared_file(GOOD), NO_USER, ["https-a.json", "https-b.json"],
     [warning("seeded-cache", CACHE, "discovery documents were put here by hand (https-a.json, https-b.json); Apptainer believes them")]),
    ("for the exclusive endpoint", shared_file(RULED), NO_USER, ["x.json"],
     [error("seeded-cache", CACHE, "by hand (x.json); Apptainer believes them, also for the exclusive endpoint")]),
    ("without a global file", NO_FILE, NO_USER, ["x.json"], [warning("seeded-cache", CACHE, "Apptainer believes them")]),
    # no default
    ("no global default", shared_file(config(a=shared())), NO_USER, [], [error("no-usable-default", SHARED, NO_DEFAULT)]),
    ("no default of either", shared_file(config(a=shared())), user_file(config()), [], [error("no-usable-default", USER, NO_DEFAULT)]),
    ("a default that is gone", shared_file(GOOD), user_file(config("gone")), [],
     [error("no-usable-default", USER, "Apptainer refuses to work: unable to load remote configuration: gone is not a remote")]),
    ("the user has one", shared_file(config(a=shared())), user_file(config("mine", mine=own())), [], []),
    # order
    ("errors come first", shared_file(config("a", a=shared(insecure=True)), mode=0o600), user_file(config(), mode=0o644), ["x.json"],
     [error("mode", SHARED, ""), warning("mode", USER, ""), warning("insecure-not-synced", SHARED, "", "a"), warning("seeded-cache", CACHE, "")]),
]


@pytest.mark.parametrize(("shared_read", "user_read", "cached", "expected"), [pytest.param(*row[1:], id=row[0]) for row in FINDINGS])
def test_findings(shared_read, user_read, cached, expected):
    found = findings(shared_read, user_read, cached)
    assert [(item.id, item.severity, item.path, item.remote) for item in found] == [row[:4] for row in expected]
    for item, row in zip(found, expected, strict=True):
        assert row[4] in item.message
        assert SECRET not in repr(item)


@pytest.mark.parametrize("content", [GOOD, None], ids=["nothing exclusive", "no global file"])
def test_a_cached_document_is_only_then_called_a_bypass(content):
    (found,) = findings(shared_file(content), NO_USER, ["x.json"])
    assert "exclusive" not in found.message


def test_a_quirk_keeps_its_line_and_versions():
    (found,) = findings(shared_file(GOOD, Quirk(4, "a quoted boolean", ("1.0", "1.1", "1.2"))), NO_USER)
    assert (found.line, found.refused_by) == (4, ("1.0", "1.1", "1.2"))


@pytest.mark.parametrize("before", [
    config("b", a=shared(exclusive=True), b=shared(exclusive=True)),
    RULED._replace(active="b"),
    config("x", x=shared("h:8443")),
    config("x", x=own()),
])  # fmt: skip
def test_declaring_the_endpoint_mends_what_was_found(before):
    name = "x" if "x" in before.remotes else "a"
    assert any(item.severity == "error" or item.id == "not-system" for item in findings(shared_file(before), NO_USER))
    outcome = converge(before, [WantedRemote(name, uri=before.remotes[name].uri, exclusive=True)])
    assert [item for item in findings(shared_file(outcome.config), NO_USER) if item.id != "uri-not-for-1.0"] == []


NAMES = st.sampled_from(["a", "b"])
URIS = st.none() | st.sampled_from(["h", "h:8443", "https://h/a//b", "[::1]", "127.0.0.1:80", "//h", "é.example", "h/..", "http://h", "x:y"])


MAYBE = st.sampled_from([None, False, True])


@given(st.lists(st.tuples(NAMES, st.just(True), URIS, MAYBE, st.sampled_from([None, True]), MAYBE), max_size=2, unique_by=lambda fields: fields[0]))
def test_what_is_written_has_no_errors(declared):
    wanted = [WantedRemote(*fields) for fields in declared]
    try:
        after = converge(RULED, wanted).config
    except RuleError:
        assume(False)
    assert [item for item in findings(shared_file(after), NO_USER) if item.severity == "error"] == []


@pytest.mark.parametrize(("mode", "words"), [(0o700, "users cannot reach"), (0o777, "can replace"), (0o775, "can replace")])
def test_the_directory_of_the_global_file(mode, words):
    (found,) = findings(shared_file(GOOD)._replace(directory_mode=mode), NO_USER)
    assert (found.id, found.severity, found.path) == ("mode", "error", "/etc/apptainer")
    assert found.message.startswith(f"mode {mode:04o}: ") and words in found.message


def test_a_good_directory_of_the_global_file():
    assert findings(shared_file(GOOD)._replace(directory_mode=0o755), NO_USER) == []


def test_an_own_endpoint_that_is_exclusive():
    (found,) = findings(shared_file(GOOD), user_file(config("mine", mine=own(exclusive=True))))
    assert (found.id, found.severity, found.remote) == ("own-exclusive", "error", "mine")


@pytest.mark.parametrize(("versions", "severity"), [(("1.0", "1.1", "1.2"), "warning"), (("1.3", "1.4", "1.5"), "error")])
def test_a_file_that_today_s_versions_refuse_is_an_error(versions, severity):
    found = findings(shared_file(GOOD, Quirk(1, "x", versions)), NO_USER)
    assert [finding.severity for finding in found] == [severity]


def auth_file(*keys, error=None, mode=0o600, uid=ALICE, **rest):
    """A docker-config.json with logins under these keys."""
    text = json.dumps({"auths": {key: {"auth": "YWxpY2U6aHVudGVyMg=="} for key in keys}, **rest})
    content = None if error else _docker_json.decode(text.encode(), AUTH)
    return ReadFile(AUTH, True, content, error, mode, uid, ALICE)


HUB = "https://index.docker.io/v1/"
HIDDEN_HUB = "the login for Docker Hub is under a name (%s) at which Apptainer from 1.4 does not look; declare it anew"
AUTH_FINDINGS = [  # what, the docker-config.json, the findings
    ("none", ReadFile(AUTH), []),
    ("a good one", auth_file("r.example.org", HUB), []),
    ("no logins", auth_file(), []),
    ("only other settings", auth_file(HttpHeaders={"a": "b"}, mode=0o640), [warning("mode", AUTH, "mode 0640; it should be 0600")]),
    ("unreadable", auth_file(error="line 1, column 2: broken"), [error("unreadable", AUTH, "line 1, column 2: broken")]),
    ("unreadable and open", auth_file(error="broken", mode=0o644),
     [error("unreadable", AUTH, "broken"), warning("mode", AUTH, "mode 0644; it should be 0600")]),
    ("others can read it", auth_file("r", mode=0o640), [error("mode", AUTH, "mode 0640: others can read the secrets in it; it should be 0600")]),
    ("made by root", auth_file("r", uid=0),
     [error("owner", AUTH, "it belongs to uid 0, its directory to uid 1000; that user may not be able to use it")]),
    ("Docker Hub under a name that is not asked for", auth_file("docker.io"), [error("unused-login", AUTH, HIDDEN_HUB % '"docker.io"')]),
    ("a name with a password in it", auth_file("https://u:hunter2@docker.io/v1/"),
     [error("unused-login", AUTH, HIDDEN_HUB % '"https://(hidden)@docker.io/v1/"')]),
    ("two of them", auth_file("docker.io", "index.docker.io"), [error("unused-login", AUTH, "declare it anew")]),
    ("beside the right one they don't matter", auth_file("docker.io", HUB), []),
    ("a helper for all registries", auth_file(credsStore="pass"), []),
]


@pytest.mark.parametrize(("auth", "expected"), [pytest.param(*row[1:], id=row[0]) for row in AUTH_FINDINGS])
def test_findings_of_the_file_with_registry_logins(auth, expected):
    found = findings(shared_file(GOOD), NO_USER, auth=auth)
    assert [(item.id, item.severity, item.path, item.remote) for item in found] == [row[:4] for row in expected]
    for item, row in zip(found, expected, strict=True):
        assert row[4] in item.message
        assert SECRET not in repr(item)
