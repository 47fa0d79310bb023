# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import shlex

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import RuleError
from ansible_collections.hpc.apptainer.plugins.module_utils._formats import docker_json as _docker_json
from ansible_collections.hpc.apptainer.plugins.module_utils._formats.remote_yaml_reader import Document, Quirk
from ansible_collections.hpc.apptainer.plugins.module_utils._inspection.findings import ReadFile, findings, service_findings
from ansible_collections.hpc.apptainer.plugins.module_utils._rules.endpoints import converge
from ansible_collections.hpc.apptainer.plugins.module_utils._rules.wanted import WantedRemote
from ansible_collections.hpc.apptainer.plugins.module_utils._values.remote_config import Credential, Keyserver, Remote, RemoteConfig
from hypothesis import assume, given
from hypothesis import strategies as st
from support.tables import table

SYSTEM = "/etc/apptainer/remote.yaml"
USER = "/home/alice/.apptainer/remote.yaml"
CACHE = "/home/alice/.apptainer/remote-cache"
AUTH = "/home/alice/.apptainer/docker-config.json"
ALICE = 1000
SECRET = "hunter2"


def config(active="", credentials=(), **remotes):
    return RemoteConfig(active, remotes, tuple(credentials))


def document(content, *quirks):
    return None if content is None else Document(content, "", True, quirks)


def read_file(path, content, quirks, error, mode, uid, expected_uid):
    if content is None and error is None:
        return ReadFile(path)
    return ReadFile(path, exists=True, document=document(content, *quirks), error=error, mode=mode, uid=uid, expected_uid=expected_uid)


def system_file(content=None, *quirks, error=None, mode=0o644, uid=0):
    return read_file(SYSTEM, content, quirks, error, mode, uid, expected_uid=0)


def user_file(content=None, *quirks, error=None, mode=0o600, uid=ALICE):
    return read_file(USER, content, quirks, error, mode, uid, expected_uid=ALICE)


def system(uri="lib.example", **fields):
    return Remote(uri, system=True, **fields)


def own(uri="own.example", **fields):
    return Remote(uri, **fields)


def error(kind, path, words, remote=None):
    return kind, "error", path, remote, words


def warning(kind, path, words, remote=None):
    return kind, "warning", path, remote, words


def info(kind, path, words, remote=None):
    return kind, "info", path, remote, words


GOOD = config("a", a=system("a.example"), b=system("b.example"))
RULED = config("a", a=system("a.example", exclusive=True), b=system("b.example"))
NO_FILE = system_file()
NO_USER = user_file()


def of_system(**fields):
    """A good global file but for one endpoint, x."""
    return system_file(config("a", a=system("a.example"), x=system(**fields)))


def of_user(**fields):
    """A good user's file but for one endpoint, x."""
    return user_file(config("mine", mine=own(), x=Remote(**fields)))


def with_keyserver(uri):
    return of_system(keyservers=(Keyserver(uri, external=True),))


UNUSABLE = 'Apptainer 1.1 and newer cannot use the uri "%s"; declare the endpoint again'
ONLY_FROM_1_1 = "Apptainer 1.0 cannot use the uri %s, which 1.1 and newer need for a port; upgrade nodes that still have 1.0"
READABLE = "other users can read it, and a secret that is stored there later"
NO_DEFAULT = "Apptainer refuses every command that needs an endpoint: no default endpoint set: use 'apptainer remote use …'"
IN_THE_GLOBAL_FILE = ("credentials in the global file are readable by everyone and work only for users without their own file; remove them, "
                      "and log in per user")

FINDINGS = [  # what, global file, user's file, cached documents, the findings
    ("a new node", NO_FILE, NO_USER, [], []),
    ("empty files", system_file(config()), user_file(config()), [], []),
    ("good files", system_file(RULED),
     user_file(config("a", [Credential("https://k", SECRET)], a=system("a.example", exclusive=True, token=SECRET), own=own())), [], []),
    # reading
    ("an unreadable global file", system_file(error="line 3, column 1: broken"), NO_USER, [],
     [error("unreadable", SYSTEM, "line 3, column 1: broken")]),
    ("an unreadable user's file", NO_FILE, user_file(error="broken"), [],
     [error("unreadable", USER, "broken")]),
    ("refused by some versions",
     system_file(GOOD, Quirk(4, "a quoted boolean", ("1.0", "1.1", "1.2")), Quirk(9, "the endpoint key Insecure", ("1.0",))), NO_USER, [],
     [warning("refused-by-versions", SYSTEM, "Apptainer 1.0, 1.1, 1.2 cannot read this file: a quoted boolean"),
      warning("refused-by-versions", SYSTEM, "Apptainer 1.0 cannot read this file: the endpoint key Insecure")]),
    ("a user's file too", NO_FILE, user_file(config(), Quirk(1, "no data", ("1.3",))), [],
     [warning("refused-by-versions", USER, "Apptainer 1.3 cannot read this file: no data")]),
    # mode and owner of the global file
    ("0444 is enough", system_file(GOOD, mode=0o444), NO_USER, [], []),
    ("0755 is odd, but harmless", system_file(GOOD, mode=0o755), NO_USER, [], []),
    ("users can't read it", system_file(GOOD, mode=0o600), NO_USER, [],
     [error("mode", SYSTEM, f"mode 0600: users cannot read it, so Apptainer ignores it for them; run: chmod 0644 {SYSTEM}")]),
    ("its group can, but not all", system_file(GOOD, mode=0o640), NO_USER, [], [error("mode", SYSTEM, "mode 0640: users cannot read it")]),
    ("all but its group can", system_file(GOOD, mode=0o604), NO_USER, [], [error("mode", SYSTEM, "mode 0604: users cannot read it")]),
    ("its group can write", system_file(GOOD, mode=0o664), NO_USER, [],
     [error("mode", SYSTEM, f"mode 0664: users other than its owner can change it for everyone; run: chmod 0644 {SYSTEM}")]),
    ("all can write", system_file(GOOD, mode=0o646), NO_USER, [], [error("mode", SYSTEM, "mode 0646: users other than its owner can change it")]),
    ("both", system_file(GOOD, mode=0o622), NO_USER, [],
     [error("mode", SYSTEM, "mode 0622: users cannot read it"), error("mode", SYSTEM, "mode 0622: users other than its owner can change it")]),
    ("somebody else's", system_file(GOOD, uid=ALICE), NO_USER, [],
     [error("owner", SYSTEM, f"it belongs to uid 1000, who can change it for everyone; run: chown 0 {SYSTEM}")]),
    ("unreadable and open", system_file(error="broken", mode=0o666), NO_USER, [],
     [error("unreadable", SYSTEM, "broken"), error("mode", SYSTEM, "mode 0666: users other than its owner can change it")]),
    # mode and owner of the user's file
    ("others can read it", NO_FILE, user_file(config(), mode=0o644), [], [warning("mode", USER, f"mode 0644: {READABLE}; run: chmod 0600 {USER}")]),
    ("with a token", NO_FILE, user_file(config("mine", mine=own(token=SECRET)), mode=0o640), [],
     [error("mode", USER, f"mode 0640: other users can read the secrets in it; run: chmod 0600 {USER}")]),
    ("with a password", NO_FILE, user_file(config(credentials=[Credential("https://k", SECRET)]), mode=0o604), [],
     [error("mode", USER, f"mode 0604: other users can read the secrets in it; run: chmod 0600 {USER}")]),
    ("with a login without its secret", NO_FILE, user_file(config(credentials=[Credential("docker://r")]), mode=0o604), [],
     [warning("mode", USER, f"mode 0604: {READABLE}; run: chmod 0600 {USER}")]),
    ("not even readable, and open", NO_FILE, user_file(error="broken", mode=0o644), [],
     [error("unreadable", USER, "broken"), warning("mode", USER, f"mode 0644: {READABLE}; run: chmod 0600 {USER}")]),
    ("made by root", NO_FILE, user_file(config(), uid=0), [],
     [error("owner", USER, "it belongs to uid 0, but its directory to uid 1000, so every apptainer command of that user fails; "
            f"run: chown 1000 {USER}")]),
    # the whole global file
    ("two exclusive endpoints", system_file(config("b", a=system(exclusive=True), b=system(exclusive=True))), NO_USER, [],
     [error("two-exclusives", SYSTEM, 'the endpoints "a", "b" are all exclusive, so Apptainer picks one at random; '
            'set exclusive: true for the right one')]),
    ("exclusive, but not the default", system_file(RULED._replace(active="b")), NO_USER, [],
     [error("exclusive-not-default", SYSTEM, 'users without their own file get "b", all others this exclusive endpoint; '
            'set exclusive: true for it again', "a")]),
    ("exclusive, and nothing is the default", system_file(RULED._replace(active="")), NO_USER, [],
     [error("exclusive-not-default", SYSTEM, "users without their own file get no endpoint, all others this exclusive endpoint; "
            "set exclusive: true for it again", "a"), error("no-usable-default", SYSTEM, NO_DEFAULT)]),
    ("a password for everyone", system_file(config("a", [Credential("https://k", SECRET)], a=system())), NO_USER, [],
     [error("global-secret", SYSTEM, IN_THE_GLOBAL_FILE)]),
    ("a login for everyone", system_file(config("a", [Credential("docker://r")], a=system())), NO_USER, [],
     [warning("global-secret", SYSTEM, IN_THE_GLOBAL_FILE)]),
    # its endpoints
    ("insecure", of_system(insecure=True), NO_USER, [],
     [warning("insecure-not-synced", SYSTEM, "insecure (http) does not reach users who have their own file, so Apptainer uses https for them; "
              "serve the endpoint by https", "x")]),
    ("a token for everyone", of_system(token=SECRET), NO_USER, [],
     [error("global-secret", SYSTEM, "a token in the global file is readable by everyone; remove it (logout: true), revoke it, and log in", "x")]),
    ("not System", system_file(config("x", x=own())), NO_USER, [],
     [warning("not-system", SYSTEM, "System is false in the global file, so keyserver commands refuse this endpoint; declare it again", "x")]),
    ("an ftp keyserver", with_keyserver("ftp://k"), NO_USER, [],
     [error("unusable-keyserver", SYSTEM, "Apptainer can neither use nor remove the keyserver ftp://k; remove it with state: absent", "x")]),
    ("a keyserver without a scheme", with_keyserver("k"), NO_USER, [], [error("unusable-keyserver", SYSTEM, "the keyserver k", "x")]),
    ("a good keyserver", with_keyserver("hkp://k"), NO_USER, [], []),
    ("no URI", of_system(uri=""), NO_USER, [], [error("unusable-uri", SYSTEM, UNUSABLE % "", "x")]),
    ("a port", of_system(uri="h:8443"), NO_USER, [], [error("unusable-uri", SYSTEM, UNUSABLE % "h:8443", "x")]),
    ("a port of an address", of_system(uri="127.0.0.1:8443"), NO_USER, [], [error("unusable-uri", SYSTEM, UNUSABLE % "127.0.0.1:8443", "x")]),
    ("only a port", of_system(uri="//:8443"), NO_USER, [], [error("unusable-uri", SYSTEM, UNUSABLE % "//:8443", "x")]),
    ("only a dot", of_system(uri="."), NO_USER, [], [error("unusable-uri", SYSTEM, UNUSABLE % ".", "x")]),
    ("only a path", of_system(uri="/h"), NO_USER, [], [error("unusable-uri", SYSTEM, UNUSABLE % "/h", "x")]),
    ("only a query", of_system(uri="?h"), NO_USER, [], [error("unusable-uri", SYSTEM, UNUSABLE % "?(hidden)", "x")]),
    ("a port with //", of_system(uri="//h:8443"), NO_USER, [], [info("uri-not-for-1.0", SYSTEM, ONLY_FROM_1_1 % "//h:8443", "x")]),
    ("a port with a scheme", of_system(uri="https://h:8443"), NO_USER, [],
     [info("uri-not-for-1.0", SYSTEM, ONLY_FROM_1_1 % "https://h:8443", "x")]),
    ("all endpoints, by name", system_file(config("a", b=system(token=SECRET), a=system(insecure=True), c=system(uri=""))), NO_USER, [],
     [error("global-secret", SYSTEM, "", "b"), error("unusable-uri", SYSTEM, "", "c"), warning("insecure-not-synced", SYSTEM, "", "a")]),
    # the user's endpoints
    ("a shadow", system_file(GOOD), user_file(config("b", b=own())), [],
     [warning("shadowed", USER, "this user's own endpoint hides the global one of the same name; remove it with state: absent, "
              "or give it another name", "b")]),
    ("a shadow of the exclusive one", system_file(RULED), user_file(config("a", a=own())), [],
     [error("shadowed-exclusive", USER, "this user's own endpoint hides the global one of the same name, so that is not exclusive for this user; "
            "remove it with state: absent", "a")]),
    ("a stale copy", system_file(GOOD), user_file(config("a", gone=system())), [],
     [warning("stale-copy", USER, "this is a copy of a global endpoint that no longer exists; remove it with state: absent", "gone")]),
    ("a stale exclusive copy", system_file(GOOD), user_file(config("a", gone=system(exclusive=True))), [],
     [error("stale-copy", USER, "this is a copy of a global endpoint that no longer exists; it is still exclusive here and locks this user out; "
            "remove it with state: absent", "gone")]),
    ("a stale copy without a global file", NO_FILE, user_file(config("gone", gone=system())), [],
     [warning("stale-copy", USER, "that no longer exists", "gone")]),
    ("a copy of a released endpoint", system_file(GOOD), user_file(config("a", a=system("a.example", exclusive=True))), [],
     [warning("unreleased-copy", USER, "this user would be locked out if the endpoint were removed from the global file, because this copy of it is "
              "still marked exclusive; keep it there (state: retired) until the user has run a command such as apptainer remote use", "a")]),
    ("a copy, and another one is exclusive now", system_file(RULED), user_file(config("a", b=system("b.example", exclusive=True))), [],
     [warning("unreleased-copy", USER, "this user would be locked out if the endpoint were removed", "b")]),
    ("an old copy of one that is exclusive now", system_file(RULED), user_file(config("a", a=system("a.example"))), [], []),
    ("a mark of an unknown time", system_file(error="broken"), user_file(config("a", a=system("a.example", exclusive=True))), [],
     [error("unreadable", SYSTEM, "broken")]),
    ("a copy of an unreadable file is not stale", system_file(error="broken"), user_file(config("a", a=system())), [],
     [error("unreadable", SYSTEM, "broken")]),
    ("an own endpoint that can't be used", system_file(GOOD), of_user(uri="h:80"), [], [error("unusable-uri", USER, UNUSABLE % "h:80", "x")]),
    ("an own endpoint with //", system_file(GOOD), of_user(uri="//h:80"), [], [info("uri-not-for-1.0", USER, ONLY_FROM_1_1 % "//h:80", "x")]),
    ("a token for another place", system_file(GOOD), user_file(config("a", a=system("old.example", token=SECRET))), [],
     [warning("moved-token", USER, "the token was stored for old.example, but the global endpoint is now at a.example, and Apptainer sends it there; "
              "log in again", "a")]),
    ("without its passwords", system_file(config("a", a=system("https://u:hunter2@a.example"))),
     user_file(config("a", a=system("https://u:hunter2@old.example", token=SECRET))), [],
     [warning("moved-token", USER, "stored for https://(hidden)@old.example, but the global endpoint is now at https://(hidden)@a.example", "a"),
      info("uri-not-for-1.0", SYSTEM, "", "a")]),
    ("the same place in other words", system_file(GOOD), user_file(config("a", a=system("https://A.example/", token=SECRET))), [], []),
    ("http there doesn't reach the user", system_file(config("a", a=system("a.example"))),
     user_file(config("a", a=system("a.example", insecure=True, token=SECRET))), [], []),
    ("another place without a token", system_file(GOOD), user_file(config("a", a=system("old.example"))), [], []),
    ("an own endpoint doesn't move", system_file(GOOD), user_file(config("a", a=own("old.example", token=SECRET))), [],
     [warning("shadowed", USER, "", "a")]),
    ("nobody knows where", system_file(error="broken"), user_file(config("a", a=system("old.example", token=SECRET))), [],
     [error("unreadable", SYSTEM, "broken")]),
    ("the URI of a copy is the global file's affair", system_file(GOOD), user_file(config("a", a=system("h:80"))), [], []),
    ("an own endpoint may be insecure and hold a token", system_file(GOOD), of_user(uri="h", insecure=True, token=SECRET), [], []),
    # the cache
    ("a cached document", system_file(GOOD), NO_USER, ["https-a.json", "https-b.json"],
     [warning("seeded-cache", CACHE, "discovery documents were put here by hand (https-a.json, https-b.json), and Apptainer follows them; "
              "remove them")]),
    ("for the exclusive endpoint", system_file(RULED), NO_USER, ["x.json"],
     [error("seeded-cache", CACHE, "by hand (x.json), and Apptainer follows them, even past the exclusive endpoint; remove them")]),
    ("without a global file", NO_FILE, NO_USER, ["x.json"], [warning("seeded-cache", CACHE, "Apptainer follows them; remove them")]),
    # no default
    ("no global default", system_file(config(a=system())), NO_USER, [], [error("no-usable-default", SYSTEM, NO_DEFAULT)]),
    ("no default of either", system_file(config(a=system())), user_file(config()), [], [error("no-usable-default", USER, NO_DEFAULT)]),
    ("a default that is gone", system_file(GOOD), user_file(config("gone")), [],
     [error("no-usable-default", USER, "Apptainer refuses every command that needs an endpoint: unable to load remote configuration: gone is not "
            "a remote")]),
    ("the user has one", system_file(config(a=system())), user_file(config("mine", mine=own())), [], []),
    # order
    ("errors come first", system_file(config("a", a=system(insecure=True)), mode=0o600), user_file(config(), mode=0o644), ["x.json"],
     [error("mode", SYSTEM, ""), warning("mode", USER, ""), warning("insecure-not-synced", SYSTEM, "", "a"), warning("seeded-cache", CACHE, "")]),
]


@pytest.mark.parametrize(("global_file", "own_file", "cached", "expected"), table(FINDINGS))
def test_findings(global_file, own_file, cached, expected):
    found = findings(global_file, own_file, cached)
    assert [(item.id, item.severity, item.path, item.remote) for item in found] == [row[:4] for row in expected]
    for item, row in zip(found, expected, strict=True):
        assert row[4] in item.message
        assert SECRET not in repr(item)


@pytest.mark.parametrize("content", [GOOD, None], ids=["nothing exclusive", "no global file"])
def test_a_cached_document_is_only_then_called_a_bypass(content):
    (found,) = findings(system_file(content), NO_USER, ["x.json"])
    assert "exclusive" not in found.message


def test_a_quirk_keeps_its_line_and_versions():
    (found,) = findings(system_file(GOOD, Quirk(4, "a quoted boolean", ("1.0", "1.1", "1.2"))), NO_USER)
    assert (found.line, found.refused_by) == (4, ("1.0", "1.1", "1.2"))


@pytest.mark.parametrize("before", table([
    ("two exclusive endpoints", config("b", a=system(exclusive=True), b=system(exclusive=True))),
    ("exclusive, but not the default", RULED._replace(active="b")),
    ("a port", config("x", x=system("h:8443"))),
    ("not System", config("x", x=own())),
]))
def test_declaring_the_endpoint_fixes_what_was_found(before):
    name = "x" if "x" in before.remotes else "a"
    assert any(item.severity == "error" or item.id == "not-system" for item in findings(system_file(before), NO_USER))
    outcome = converge(before, [WantedRemote(name, uri=before.remotes[name].uri, exclusive=True)])
    assert [item for item in findings(system_file(outcome.config), NO_USER) if item.id != "uri-not-for-1.0"] == []


NAMES = st.sampled_from(["a", "b"])
URIS = st.none() | st.sampled_from(["h", "h:8443", "https://h/a//b", "[::1]", "127.0.0.1:80", "//h", "é.example", "h/..", "http://h", "x:y"])


MAYBE = st.sampled_from([None, False, True])


@given(st.lists(st.tuples(NAMES, st.just("present"), URIS, MAYBE, st.sampled_from([None, True]), MAYBE), max_size=2,
                unique_by=lambda fields: fields[0]))
def test_what_is_written_has_no_errors(declared):
    wanted = [WantedRemote(*fields) for fields in declared]
    try:
        after = converge(RULED, wanted).config
    except RuleError:
        assume(False)
    assert [item for item in findings(system_file(after), NO_USER) if item.severity == "error"] == []


@pytest.mark.parametrize(("mode", "words"), table([
    ("0700", 0o700, "users cannot reach the global file in this directory, so Apptainer ignores that file for them"),
    ("0777", 0o777, "users other than its owner can replace the global file in this directory"),
    ("0775", 0o775, "users other than its owner can replace the global file in this directory"),
]))
def test_the_directory_of_the_global_file(mode, words):
    for real, directory in (("", "/etc/apptainer"), ("/srv/the conf", "/srv/the conf")):  # behind a link
        (found,) = findings(system_file(GOOD)._replace(directory=real, directory_mode=mode), NO_USER)
        assert (found.id, found.severity, found.path) == ("mode", "error", directory)
        assert found.message == f"mode {mode:04o}: {words}; run: chmod 0755 {shlex.quote(directory)}"


def test_a_good_directory_of_the_global_file():
    assert findings(system_file(GOOD)._replace(directory_mode=0o755), NO_USER) == []


def test_an_own_endpoint_that_is_exclusive():
    (found,) = findings(system_file(GOOD), user_file(config("mine", mine=own(exclusive=True))))
    assert (found.id, found.severity, found.remote) == ("own-exclusive", "error", "mine")


@pytest.mark.parametrize(("versions", "severity"), [(("1.0", "1.1", "1.2"), "warning"), (("1.3", "1.4", "1.5"), "error")], ids=["old", "new"])
def test_a_file_that_today_s_versions_refuse_is_an_error(versions, severity):
    found = findings(system_file(GOOD, Quirk(1, "x", versions)), NO_USER)
    assert [finding.severity for finding in found] == [severity]


def auth_file(*keys, error=None, mode=0o600, uid=ALICE, **rest):
    """A docker-config.json with logins under these keys."""
    text = json.dumps({"auths": {key: {"auth": "YWxpY2U6aHVudGVyMg=="} for key in keys}, **rest})
    content = None if error else _docker_json.decode(text.encode(), AUTH)
    return ReadFile(AUTH, exists=True, document=content, error=error, mode=mode, uid=uid, expected_uid=ALICE)


HUB = "https://index.docker.io/v1/"
HIDDEN_HUB = "the login for Docker Hub is stored as %s, where Apptainer 1.4 and newer do not look; declare it again"
AUTH_FINDINGS = [  # what, the docker-config.json, the findings
    ("none", ReadFile(AUTH), []),
    ("a good one", auth_file("r.example.org", HUB), []),
    ("no logins", auth_file(), []),
    ("only other settings", auth_file(HttpHeaders={"a": "b"}, mode=0o640), [warning("mode", AUTH, f"mode 0640: {READABLE}; run: chmod 0600 {AUTH}")]),
    ("unreadable", auth_file(error="line 1, column 2: broken"), [error("unreadable", AUTH, "line 1, column 2: broken")]),
    ("unreadable and open", auth_file(error="broken", mode=0o644),
     [error("unreadable", AUTH, "broken"), warning("mode", AUTH, f"mode 0644: {READABLE}; run: chmod 0600 {AUTH}")]),
    ("others can read it", auth_file("r", mode=0o640),
     [error("mode", AUTH, f"mode 0640: other users can read the secrets in it; run: chmod 0600 {AUTH}")]),
    ("made by root", auth_file("r", uid=0),
     [error("owner", AUTH, "it belongs to uid 0, but its directory to uid 1000, so that user may not be able to use it; run: chown 1000 /")]),
    ("Docker Hub under a name that is not asked for", auth_file("docker.io"), [error("unused-login", AUTH, HIDDEN_HUB % '"docker.io"')]),
    ("a name with a password in it", auth_file("https://u:hunter2@docker.io/v1/"),
     [error("unused-login", AUTH, HIDDEN_HUB % '"https://(hidden)@docker.io/v1/"')]),
    ("two of them", auth_file("docker.io", "index.docker.io"), [error("unused-login", AUTH, HIDDEN_HUB % '"docker.io", "index.docker.io"')]),
    ("beside the right one they don't matter", auth_file("docker.io", HUB), []),
    ("a helper for all registries", auth_file(credsStore="pass"), []),
    ("a helper of another system", auth_file(credsStore="osxkeychain"), [error("foreign-helper", AUTH,
     'credsStore is "osxkeychain", a credential helper for macOS, so Apptainer finds no login on this node; remove credsStore from the file, and')]),
    ("for one registry", auth_file(credHelpers={"r": "wincred", "s": "pass", "t": ""}), [error("foreign-helper", AUTH,
     '"r" in credHelpers is "wincred", a credential helper for Windows')]),
    ("logins at the top level", auth_file(mode=0o644, **{HUB: {"auth": "YWxpY2U6aHVudGVyMg=="}}), [
        error("mode", AUTH, "mode 0644: other users can read the secrets in it"),
        error("unused-login", AUTH, f'logins are at the top level of the file ("{HUB}"), as in the old .dockercfg: Apptainer does not see them')]),
    ("a spelling that few pulls ask for", auth_file("LocalHost:5000"), [warning("unused-login", AUTH,
     "the login is stored for LocalHost:5000, and Apptainer, which compares with case, does not find it in a pull of localhost:5000/...; declare")]),
    ("beside the usual spelling", auth_file("LocalHost:5000", "localhost:5000"), []),
    ("what docker's clients store", auth_file(HUB, f"{HUB}access-token", f"{HUB}refresh-token"), []),
]


@pytest.mark.parametrize(("auth", "expected"), table(AUTH_FINDINGS))
def test_findings_of_the_file_with_registry_logins(auth, expected):
    found = findings(system_file(GOOD), NO_USER, auth_file=auth)
    assert [(item.id, item.severity, item.path, item.remote) for item in found] == [row[:4] for row in expected]
    for item, row in zip(found, expected, strict=True):
        assert row[4] in item.message
        assert SECRET not in repr(item)


# SingularityCE

SITE = config("site", site=system("site.example"))
RULING = config("site", site=system("site.example", exclusive=True))
FATAL = ("this user's own endpoint has the name of a global one, so SingularityCE refuses every command of this user that needs an endpoint "
         "(name collision while syncing); remove it with state: absent")


@pytest.mark.parametrize(("held", "kind"), [(SITE, "shadowed"), (RULING, "shadowed-exclusive")])
def test_a_name_in_both_files_is_fatal_to_singularity(held, kind):
    files = system_file(held), user_file(config("site", site=own()))
    (found,) = findings(*files, flavor="singularity")
    assert (found.id, found.severity, found.path, found.remote) == (kind, "error", USER, "site")
    assert found.message.startswith(FATAL)
    (found,) = findings(*files)
    assert (found.id, found.severity) == (kind, "error" if kind == "shadowed-exclusive" else "warning")
    assert found.message.startswith("this user's own endpoint hides the global one of the same name")


def test_no_default_is_found_beside_names_that_are_not_fatal():
    files = system_file(SITE), user_file(config("gone", mine=own()))
    assert [found.id for found in findings(*files, flavor="singularity")] == ["no-usable-default"]


DATE = Quirk(1, "a date or timestamp is no text without quotes", ("4.5",))


def test_a_file_that_the_newest_singularity_refuses_is_an_error_and_has_no_effect():
    refused = system_file(RULING, DATE)._replace(document=Document(RULING, "", True, (DATE,), DATE))
    (found,) = findings(refused, NO_USER, flavor="singularity")
    assert (found.id, found.severity, found.refused_by) == ("refused-by-versions", "error", ("4.5",))
    assert found.message == "SingularityCE 4.5 cannot read this file: a date or timestamp is no text without quotes"
    assert (refused.config, refused.held) == (None, RULING)


def test_a_file_that_only_a_coming_apptainer_refuses_is_a_warning():
    (found,) = findings(system_file(RULING, DATE._replace(refused_by=("1.6",))), NO_USER)
    assert (found.severity, found.message) == ("warning", "Apptainer 1.6 cannot read this file: a date or timestamp is no text without quotes")


LINKS = [  # which of the files are links, the findings
    ("the global file", system_file(RULING)._replace(unopened_link=True), NO_USER, [("error", SYSTEM, "they ignore the global file for everyone")]),
    ("a user's", system_file(RULING), user_file(SITE)._replace(unopened_link=True),
     [("error", USER, "so every command of this user fails; replace it by a copy of its target")]),
    ("a user's without a target", system_file(RULING), ReadFile(USER, unopened_link=True),
     [("warning", USER, "so every command of this user will fail once its target exists")]),
]


@pytest.mark.parametrize(("system_one", "user_one", "expected"), table(LINKS))
def test_links_that_singularity_does_not_open(system_one, user_one, expected):
    found = [item for item in findings(system_one, user_one, flavor="singularity") if item.id == "symbolic-link"]
    assert [(item.severity, item.path) for item in found] == [(severity, path) for severity, path, _words in expected]
    for item, (_severity, _path, words) in zip(found, expected, strict=True):
        assert words in item.message
        assert item.message.startswith("it is a symbolic link, which SingularityCE 4.5 and newer do not open, so ")


def test_an_endpoint_with_a_tab_in_its_name():
    torn = {"a\tb": system("a.example"), "c\nd": system("b.example")}
    (found,) = findings(system_file(RemoteConfig("a\tb", {"a\tb": torn["a\tb"]})), NO_USER)
    assert (found.id, found.severity, found.path, found.remote) == ("torn-name", "warning", SYSTEM, "a\tb")
    assert "tears the table of apptainer remote list" in found.message
    (found,) = findings(system_file(GOOD), user_file(RemoteConfig("c\nd", {"c\nd": own()})))
    assert (found.id, found.path, found.remote) == ("torn-name", USER, "c\nd")


def test_services_that_lead_elsewhere():
    """Only those that Apptainer uses, at the file that has the endpoint."""
    config = RemoteConfig("g", {"g": Remote("library.example.org", system=True), "u": Remote("library.example.org")})
    services = [{"name": name, "uri": uri} for name, uri in [
        ("library", "http://127.0.0.1:15001"), ("token", "https://library.example.org/t"), ("builder", "http://b.example.org")]]
    found = service_findings("/etc/g", "/home/u", config, [{"remote": name, "services": services} for name in "gu"])
    assert [(finding.id, finding.severity, finding.path, finding.remote) for finding in found] == [
        ("insecure-service", "error", "/etc/g", "g"), ("insecure-service", "error", "/home/u", "u")]
    assert found[0].message == ("the discovery document offers a library service at http://127.0.0.1:15001, which uses plain http, although the "
                                "endpoint uses https; correct it in that document")
