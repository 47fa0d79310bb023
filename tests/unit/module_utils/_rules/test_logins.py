# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import RuleError
from ansible_collections.hpc.apptainer.plugins.module_utils._redaction import safe_part
from ansible_collections.hpc.apptainer.plugins.module_utils._rules.credentials import credential_key
from ansible_collections.hpc.apptainer.plugins.module_utils._rules.logins import (
    Files,
    WantedKeyserverLogin,
    WantedToken,
    checked_keyserver_login_uri,
    converge_logins,
)
from ansible_collections.hpc.apptainer.plugins.module_utils._rules.registries import WantedRegistry, checked_registry_uri, encode_login
from ansible_collections.hpc.apptainer.plugins.module_utils._values.docker_config import DockerConfig, keys_for_host, stored_logins
from ansible_collections.hpc.apptainer.plugins.module_utils._values.remote_config import Credential, Keyserver, Remote, RemoteConfig
from hypothesis import example, given
from hypothesis import strategies as st
from support.growth import assert_linear
from support.tables import table
from support.values import values

SECRET = "s3cret"
ALL = ("remotes", "keyservers", "registries")
HUB_KEY = "https://index.docker.io/v1/"
K = "https://keys.example"
SYSTEM = RemoteConfig("site", {
    "site": Remote("site.example", system=True, keyservers=(Keyserver("https://own.example"), Keyserver(K, external=True))),
    "lab": Remote("lab.example", system=True),
})  # fmt: skip


def auths(**entries):
    return DockerConfig({"auths": {key.replace("_", "."): {"auth": encode_login(*pair)} for key, pair in entries.items()}}, True)


def user(*credentials, **remotes):
    return RemoteConfig("", remotes, credentials)


def keyserver(uri=K, username="alice", password=SECRET, **fields):
    return WantedKeyserverLogin(uri, True, username, password, **fields)


def login(uri="docker://r.example", username="alice", password=SECRET, **fields):
    return WantedRegistry(uri, True, username, password, **fields)


def settled(files, tokens=(), keyservers=(), registries=(), system=SYSTEM, **options):
    """What is desired; a second run changes nothing in it."""
    desired = converge_logins(files, system, tokens=tokens, keyservers=keyservers, registries=registries, **options)
    assert converge_logins(desired.files, system, tokens=tokens, keyservers=keyservers, registries=registries, **options).files == desired.files
    return desired


def assert_warned(phrases, warnings):
    """Each warning has its phrase, and there is no other warning."""
    assert len(warnings) == len(phrases), warnings
    for phrase, warning in zip(phrases, warnings, strict=True):
        assert phrase in warning


EMPTY = Files(RemoteConfig(), DockerConfig())
NO_DOCKER = DockerConfig()


# URIs

@pytest.mark.parametrize("uri", ["docker://alice:s3cret@r.example", "docker://alice:s3cret", "alice:s3cret@r.example", "docker://r.example/s3cret"])
def test_a_broken_uri_is_shown_up_to_where_a_password_may_stand(uri):
    for kind, wanted in (("registry", {"registries": [login(uri)]}), ("keyserver", {"keyservers": [keyserver(uri)]})):
        with pytest.raises(RuleError) as caught:
            settled(EMPTY, **wanted)
        assert caught.value.subject == f'{kind} "{safe_part(uri)}"'
        assert SECRET not in str(caught.value)


@pytest.mark.parametrize(("uri", "reason"), [
    ("hkp://k", "cannot log in with the scheme hkp; write http://k:11371"),
    ("hkp://k:80/x", "write http://k:80/x$"),
    ("hkp://k/pks/", "write http://k:11371/pks/$"),
    ("hkps://k/x", "write https://k/x$"),
    ("https://k?s3cret", "has a query or fragment, which no keyserver needs; write it like"),
    ("https://k/#s3cret", "has a query or fragment"),
    ("hkps://k/?s3cret#s3cret", "has a query or fragment"),
    ("hkps://k", "cannot log in with the scheme hkps; write https://k"),
    ("ftp://k", "a scheme that Apptainer cannot use"),
    ("keys.example", "has no host, or a scheme that Apptainer cannot use"),
    ("https://alice:s3cret@k", "has a user name or password; use the options username and password instead"),
    ("https://alice:s3cret", "cannot be parsed"),
])  # fmt: skip
def test_checked_keyserver_login_uri_refuses(uri, reason):
    for attempt in (checked_keyserver_login_uri, lambda uri: settled(EMPTY, keyservers=[keyserver(uri)])):
        with pytest.raises(RuleError, match=reason) as caught:
            attempt(uri)
        assert SECRET not in str(caught.value)


@pytest.mark.parametrize("uri", ["hkp://k", "hkps://k/x", "https://k/", "http://k:80"])
def test_any_keyserver_can_be_logged_out_of(uri):
    assert checked_keyserver_login_uri(f" {uri} ", present=False) == uri
    with pytest.raises(RuleError, match="has a query or fragment"):
        checked_keyserver_login_uri(uri + "?x", present=False)


# tokens

MINE = {"mine": Remote("mine.example", "old"), "lab": Remote("lab.example", "old", system=True)}
TOKENS = [  # what, remotes before, wanted, remotes after, prune
    ("replaced", MINE, [WantedToken("mine", token="new")], {**MINE, "mine": Remote("mine.example", "new")}, ()),
    ("the same", MINE, [WantedToken("mine", token="old")], MINE, ()),
    ("for a global endpoint", {}, [WantedToken("lab", token="new")], {"lab": Remote("lab.example", "new", system=True)}, ()),
    ("for one that moved", {"lab": Remote("old.example", "old", system=True)}, [WantedToken("lab", token="old")],
     {"lab": Remote("lab.example", "old", system=True)}, ()),
    ("removed", MINE, [WantedToken("mine", False), WantedToken("lab", False)],
     {"mine": Remote("mine.example"), "lab": Remote("lab.example", system=True)}, ()),
    ("of an endpoint that is nowhere", MINE, [WantedToken("nope", False)], MINE, ()),
    ("of a global one without a copy", {}, [WantedToken("lab", False)], {}, ()),
    ("kept", MINE, [WantedToken("mine", token="new", keep=True)], MINE, ()),
    ("kept, though removal was wanted", MINE, [WantedToken("mine", False, keep=True)], MINE, ()),
    ("the rest pruned", MINE, [WantedToken("mine", token="old")], {**MINE, "lab": Remote("lab.example", system=True)}, ["remotes"]),
    ("the kept one not pruned", MINE, [WantedToken("mine", token="x", keep=True)], {**MINE, "lab": Remote("lab.example", system=True)}, ALL),
    ("none of another kind pruned", MINE, [WantedToken("mine", token="old")], MINE, {"keyservers", "registries"}),
]


@pytest.mark.parametrize(("before", "wanted", "after", "prune"), table(TOKENS))
def test_tokens(before, wanted, after, prune):
    found = settled(Files(user(**before), NO_DOCKER), wanted, prune=prune)
    assert found == (Files(user(**after), NO_DOCKER), ())


@pytest.mark.parametrize(("wanted", "options", "message"), table([
    ("no such endpoint", [WantedToken("nope", token=SECRET)], {},
     r'^endpoint "nope": it does not exist, so there is nothing to log in to; add it first with apptainer_remote$'),
    ("an unreadable global file", [WantedToken("nope", token=SECRET)], {"system_problem": "/etc/broken", "system": RemoteConfig()},
     r'^endpoint "nope": this user\'s file does not have it, and the global file cannot be read; fix the global file first: /etc/broken$'),
    ("no token", [WantedToken("lab")], {}, r'^endpoint "lab": the token is empty; set one, or remove the stored one with state: absent$'),
    ("white space", [WantedToken("lab", token=SECRET + " x")], {}, r'^endpoint "lab": the token has white space'),
    ("twice", [WantedToken("lab", token=SECRET), WantedToken("lab", keep=True)], {}, r'^endpoint "lab": it is listed twice; merge the two entries$'),
]))
def test_tokens_refused(wanted, options, message):
    with pytest.raises(RuleError, match=message) as caught:
        settled(EMPTY, wanted, **options)
    assert SECRET not in str(caught.value)


def test_in_check_mode_an_earlier_task_may_add_the_endpoint_of_a_token():
    found = settled(EMPTY, [WantedToken("nope", token="t"), WantedToken("gone", False)], check_mode=True)
    assert found.files == Files(user(nope=Remote("", "t", system=True)), NO_DOCKER)
    assert found.warnings[0] == 'endpoint "nope": it does not exist yet; a real run fails unless an earlier task adds it'
    with pytest.raises(RuleError, match=r"fix the global file first: /etc/broken$"):
        settled(EMPTY, [WantedToken("nope", token="t")], check_mode=True, system_problem="/etc/broken")
    with pytest.raises(RuleError, match="the token is empty"):
        settled(EMPTY, [WantedToken("nope")], check_mode=True)


def test_warnings_about_endpoints_are_passed_on():
    files = Files(user(site=Remote("x.example", "t")), NO_DOCKER)
    assert_warned(["hides the global endpoint of the same name", "no endpoint is the default"],
                  settled(files, [WantedToken("site", token="t")], system=SYSTEM._replace(active="")).warnings)


# keyservers

BASIC = Credential(K, "Basic " + encode_login("alice", SECRET))
OTHERS = (Credential("docker://r.example"), Credential("https://other.example", "Bearer x"))
KEYSERVERS = [  # what, Credentials before, wanted, Credentials after
    ("added at the end", OTHERS, [keyserver()], (*OTHERS, BASIC)),
    ("there already", (BASIC, *OTHERS), [keyserver()], (BASIC, *OTHERS)),
    ("there already, marked insecure", (BASIC._replace(insecure=True), *OTHERS), [keyserver()], (BASIC._replace(insecure=True), *OTHERS)),
    ("another password", (BASIC, *OTHERS), [keyserver(password="p")], (*OTHERS, Credential(K, "Basic " + encode_login("alice", "p")))),
    ("a token", (), [keyserver(username="", password="t0ken")], (Credential(K, "Bearer t0ken"),)),
    ("in the declared spelling", (BASIC._replace(uri=K + "/x"), *OTHERS), [keyserver(f" {K}/ ")], (*OTHERS, BASIC._replace(uri=K + "/"))),
    ("duplicates removed", (BASIC, BASIC._replace(uri=K + "/x"), *OTHERS), [keyserver()], (*OTHERS, BASIC)),
    ("one of hkps replaced", (BASIC._replace(uri="hkps://keys.example"),), [keyserver()], (BASIC,)),
    ("kept", (BASIC._replace(auth="x"), BASIC), [keyserver(keep=True)], (BASIC._replace(auth="x"), BASIC)),
    ("removed", (BASIC, BASIC._replace(uri=K + "/x"), *OTHERS), [WantedKeyserverLogin(K + "/y/", False)], OTHERS),
    ("removed by another spelling", (BASIC, *OTHERS), [WantedKeyserverLogin("hkps://keys.example", False)], OTHERS),
    ("not there", OTHERS, [WantedKeyserverLogin(K, False)], OTHERS),
    ("removal not wanted yet", (BASIC,), [WantedKeyserverLogin(K, False, keep=True)], (BASIC,)),
]


@pytest.mark.parametrize(("before", "wanted", "after"), table(KEYSERVERS))
def test_keyservers(before, wanted, after):
    assert settled(Files(user(*before), NO_DOCKER), keyservers=wanted) == (Files(user(*after), NO_DOCKER), ())


@pytest.mark.parametrize(("wanted", "message"), table([
    ("twice", [keyserver(), WantedKeyserverLogin(K + "/x", False)], rf'^keyserver "{K}": it is listed twice'),
    ("no password", [keyserver(password="")], rf'^keyserver "{K}": the password is empty; set one'),
    ("no token", [keyserver(username="", password="")], "the password is empty; set one"),
    ("white space in a token", [keyserver(username="", password="s3cret x")], "white space or characters that an HTTP header cannot carry"),
    ("a letter that no header carries", [keyserver(username="", password="s3cretä")], "cannot carry; set username, or correct the token"),
    ("a colon in the user name", [keyserver(username="a:b")], "has a colon"),
]))
def test_keyservers_refused(wanted, message):
    with pytest.raises(RuleError, match=message) as caught:
        settled(EMPTY, keyservers=wanted)
    assert SECRET not in str(caught.value)


NEVER = "keyserver %s: Apptainer never sends this login, because %s"
NOWHERE = "no endpoint has this keyserver; add it to one with apptainer_keyserver"
BUILTIN = "it is an endpoint's built-in keyserver, which gets the endpoint's token instead; log in to the endpoint"


@pytest.mark.parametrize(("wanted", "options", "phrases"), table([
    ("of no endpoint", keyserver("https://none.example"), {}, [NEVER % ("https://none.example", NOWHERE)]),
    ("the built-in one", keyserver("https://own.example"), {}, [NEVER % ("https://own.example", BUILTIN)]),
    ("in other case", keyserver("https://KEYS.example"), {}, [NOWHERE]),
    ("with the default port", keyserver(K + ":443"), {}, [NOWHERE]),
    ("an unreadable global file may have it", keyserver("https://none.example"), {"system_problem": "/etc/broken", "system": RemoteConfig()}, []),
    ("left as it is", keyserver("https://none.example", keep=True), {}, []),
    ("removed", WantedKeyserverLogin("https://none.example", False), {}, []),
    ("an external one", keyserver(), {}, []),
]))
def test_a_login_that_would_never_be_sent(wanted, options, phrases):
    assert_warned(phrases, settled(EMPTY, keyservers=[wanted], **options).warnings)


OPENPGP = "https://keys.openpgp.org"
BUILT_IN = Remote("cloud.apptainer.org", system=True)


@pytest.mark.parametrize(("system", "remotes", "words"), table([
    ("no file at all", RemoteConfig(), {}, BUILTIN),
    ("the built-in endpoint without a list", RemoteConfig("d", {"d": BUILT_IN}), {}, BUILTIN),
    ("the user's", RemoteConfig(), {"d": BUILT_IN._replace(system=False)}, BUILTIN),
    ("with a list", RemoteConfig("d", {"d": BUILT_IN._replace(keyservers=(Keyserver(K, external=True),))}), {}, NOWHERE),
    ("another endpoint", RemoteConfig("d", {"d": Remote("site.example", system=True)}), {}, NOWHERE),
]))
@pytest.mark.parametrize("uri", [OPENPGP, OPENPGP + "/"])
def test_the_builtin_keyserver_that_no_file_names(system, remotes, words, uri):
    files = Files(user(BASIC, **remotes), NO_DOCKER)
    assert_warned([NEVER % (uri, words)],
                  [warning for warning in settled(files, keyservers=[keyserver(uri)], system=system).warnings if "keyserver" in warning])


def test_the_builtin_keyserver_added_as_an_external_one():
    system = RemoteConfig("d", {"d": BUILT_IN, "e": Remote("e.example", system=True, keyservers=(Keyserver(OPENPGP, external=True),))})
    assert settled(EMPTY, keyservers=[keyserver(OPENPGP)], system=system).warnings == ()


def test_a_keyserver_of_the_users_own_endpoint_counts():
    mine = user(mine=Remote("mine.example", keyservers=(Keyserver("hkp://mine.example", external=True),)))
    assert settled(Files(mine, NO_DOCKER), keyservers=[keyserver("http://mine.example:11371")]).warnings == ()


# registries

R = Credential("docker://r.example")
IN = auths(r_example=("alice", SECRET))
OUT = DockerConfig({"auths": {}}, True)
REGISTRIES = [  # what, Credentials and docker-config.json before, wanted, both after
    ("added", (BASIC,), NO_DOCKER, [login()], (BASIC, R), IN),
    ("there already", (R, BASIC), IN, [login()], (R, BASIC), IN),
    ("another password", (R, BASIC), IN, [login(password="p")], (R, BASIC), auths(r_example=("alice", "p"))),
    ("the entry is missing", (BASIC,), IN, [login()], (BASIC, R), IN),
    ("the secret is missing", (R,), OUT, [login()], (R,), IN),
    ("duplicates", (R, R._replace(uri="docker://r.example/v2", insecure=True), BASIC), IN, [login()], (BASIC, R), IN),
    ("all insecure", (R._replace(insecure=True), R._replace(uri="docker://r.example/v2", insecure=True)), IN, [login()],
     (R._replace(insecure=True),), IN),
    ("junk in it", (R._replace(auth="Basic x"), BASIC), IN, [login()], (BASIC, R), IN),
    ("another spelling", (R._replace(uri="docker://r.example/v2"),), IN, [login("Docker://r.example/")], (R,), IN),
    ("insecure stays", (R._replace(insecure=True),), IN, [login()], (R._replace(insecure=True),), IN),
    ("made insecure", (R, BASIC), IN, [login(insecure=True)], (BASIC, R._replace(insecure=True)), IN),
    ("made secure", (R._replace(insecure=True), BASIC), IN, [login(insecure=False)], (BASIC, R), IN),
    ("both schemes", (), NO_DOCKER, [login(), login("oras://r.example")], (R, Credential("oras://r.example")), IN),
    ("the other scheme is left", (Credential("oras://r.example"),), NO_DOCKER, [login()], (Credential("oras://r.example"), R), IN),
    ("Docker Hub", (), auths(docker_io=("old", "old")), [login("docker://docker.io")], (Credential("docker://docker.io"),),
     DockerConfig({"auths": {HUB_KEY: {"auth": encode_login("alice", SECRET)}}}, True)),
    ("removed", (R, Credential("oras://r.example/x"), BASIC), IN, [WantedRegistry("docker://r.example", False)], (BASIC,), OUT),
    ("removed in both schemes", (R,), IN, [WantedRegistry("docker://r.example", False), WantedRegistry("oras://r.example/", False)], (), OUT),
    ("Docker Hub removed", tuple(Credential(f"docker://{host}") for host in ("docker.io", "index.docker.io", "registry-1.docker.io")),
     DockerConfig({"auths": {HUB_KEY: {}, "docker.io": {}}}, True), [WantedRegistry("oras://index.docker.io", False)], (), OUT),
    ("not there", (BASIC,), OUT, [WantedRegistry("docker://r.example", False)], (BASIC,), OUT),
    ("no file", (), NO_DOCKER, [WantedRegistry("docker://r.example", False)], (), NO_DOCKER),
    ("kept", (R, R), IN, [login(password="x", keep=True)], (R, R), IN),
    ("kept for both schemes", (), IN, [login(password="x", keep=True), login("oras://r.example", password="x")], (), IN),
    ("removal not wanted yet", (R,), IN, [WantedRegistry("docker://r.example", False, keep=True)], (R,), IN),
    ("a password of two lines", (), NO_DOCKER, [login(password="a\nb")], (R,), auths(r_example=("alice", "a\nb"))),
]


@pytest.mark.parametrize(("credentials", "docker", "wanted", "after", "docker_after"), table(REGISTRIES))
def test_registries(credentials, docker, wanted, after, docker_after):
    found = settled(Files(user(*credentials), docker), registries=wanted)
    assert found == (Files(user(*after), docker_after), ())
    alone = settled(Files(user(*credentials), docker), registries=wanted, with_credentials=False)
    assert alone == (Files(user(*credentials), docker_after), ())


@pytest.mark.parametrize(("wanted", "message"), table([
    ("twice", [login()] * 2, "it is listed twice"),
    ("twice, in two spellings", [login(), login("DOCKER://r.example/")], '^registry "DOCKER://r.example": it is listed twice; merge the two '),
    ("another password for the other scheme", [login(), login("oras://r.example", password="p")],
     "it shares one login with docker://r.example, but the two are declared differently; give both the same state, username and password"),
    ("another user for the other scheme", [login(), login("oras://r.example", username="bob")], "it shares one login"),
    ("another state for the other scheme", [login(), WantedRegistry("oras://r.example", False)], "it shares one login"),
    ("another password for another name of Docker Hub", [login("docker://docker.io"), login("docker://index.docker.io", password="p")],
     "it shares one login with docker://docker.io"),
    ("no user name", [login(username="")], '^registry "docker://r.example": the username is empty; set one$'),
    ("a colon in the user name", [login(username="a:b")], "has a colon"),
    ("no password", [login(password="")], "the password is empty"),
    ("NUL at the end", [login(password=SECRET + "\0")], "NUL"),
]))
def test_registries_refused(wanted, message):
    with pytest.raises(RuleError, match=message) as caught:
        settled(EMPTY, registries=wanted)
    assert SECRET not in str(caught.value)


def test_a_credential_helper():
    docker = DockerConfig({"credHelpers": {"r.example": "pass"}, "auths": {"r.example": {"auth": "b2xkOm9sZA=="}}}, True)
    with pytest.raises(RuleError, match=r'^registry r\.example: the credential helper "pass" manages its logins'):
        settled(Files(user(), docker), registries=[login()])
    found = settled(Files(user(R), docker), registries=[WantedRegistry("docker://r.example", False)])
    assert found.files == Files(user(), DockerConfig({"credHelpers": {"r.example": "pass"}, "auths": {}}, True))
    assert_warned(['registry r.example: the credential helper "pass" manages its logins, so one may still be stored there; '
                   "remove it with docker logout r.example"], found.warnings)
    assert settled(Files(user(), docker), registries=[login(keep=True)]) == (Files(user(), docker), ())


def test_logins_for_parts_of_a_registry():
    docker = auths(**{"r_example": ("a", "b"), "r_example/org": ("a", "b"), "https://u:s3cret@r_example/a": ("a", "b"), "x_example/org": ("a", "b")})
    absent = [WantedRegistry("docker://r.example", False)]
    found = settled(Files(user(), docker), registries=absent)
    assert len(found.files.docker.tree["auths"]) == 3
    assert_warned(['registry r.example: logins for parts of it remain ("https://(hidden)@r.example/a", "r.example/org"), and Apptainer from 1.4 on '
                   "uses any of them for the whole registry; remove them with apptainer_logins and prune: true, which also removes all other logins "
                   "that are not listed"], found.warnings)
    assert settled(Files(user(), docker), registries=absent, prune=["registries"]) == (Files(user(), OUT), ())
    assert settled(Files(user(), docker), registries=absent, prune=["remotes", "keyservers"]) == found
    for other in (login(), login(keep=True), absent[0]._replace(keep=True)):
        assert settled(Files(user(), docker), registries=[other]).warnings == ()


# the whole

def test_prune():
    before = Files(
        user(R, Credential("oras://r.example"), Credential("docker://gone.example"), BASIC, Credential("https://gone.example", "Bearer x"),
             Credential("ftp://gone.example", "Bearer x"), **MINE),
        auths(**{"r_example": ("alice", SECRET), "https://r_example/v2/": ("a", "old"), "r_example/org": ("a", "b"), "gone_example": ("a", "b")}))
    lists = {"tokens": [WantedToken("lab", token="old")], "keyservers": [keyserver()], "registries": [login()]}
    found = settled(before, **lists, prune=ALL)
    remotes = {**MINE, "mine": Remote("mine.example")}
    assert found == (Files(user(R, BASIC, **remotes), IN), ())
    kept = {kind: [item._replace(keep=True) for item in items] for kind, items in lists.items()}
    found = settled(before, **kept, prune=ALL)
    assert found.files.remotes == user(R, BASIC, **remotes)
    assert list(found.files.docker.tree["auths"]) == ["r.example", "https://r.example/v2/"]
    found = settled(before, **lists, prune=ALL, with_credentials=False)
    assert found.files == Files(user(R, Credential("oras://r.example"), Credential("docker://gone.example"), BASIC, **remotes), IN)
    assert settled(before, tokens=[WantedToken("nope", False)], prune=ALL).files == Files(
        user(mine=Remote("mine.example"), lab=Remote("lab.example", system=True)), OUT)


JUNK = Credential("ftp://gone.example", "Bearer x")
GONE = Credential("https://gone.example", "Bearer x")
PRUNED = [  # kinds, Credentials after, whether the tokens are gone, and the registries' secrets
    ("tokens", {"remotes"}, (R, GONE, BASIC, JUNK), True, False),
    ("keyservers", {"keyservers"}, (R, BASIC), False, False),
    ("registries", {"registries"}, (GONE, BASIC, JUNK), False, True),
    ("keyservers and registries", {"keyservers", "registries"}, (BASIC,), False, True),
    ("tokens and registries", {"remotes", "registries"}, (GONE, BASIC, JUNK), True, True),
    ("nothing", set(), (R, GONE, BASIC, JUNK), False, False),
]


@pytest.mark.parametrize(("kinds", "credentials", "logged_out", "emptied"), table(PRUNED))
def test_prune_of_some_kinds(kinds, credentials, logged_out, emptied):
    before = Files(user(R, GONE, BASIC, JUNK, mine=MINE["mine"]), IN)
    found = settled(before, keyservers=[keyserver()], prune=kinds)
    mine = Remote("mine.example", "" if logged_out else "old")
    assert found == (Files(user(*credentials, mine=mine), OUT if emptied else IN), ())


@pytest.mark.parametrize("kinds", [["remotes"], ALL, {"registries"}], ids=["tokens", "all", "registries"])
def test_prune_wants_a_list(kinds):
    with pytest.raises(RuleError, match="would remove all logins; list those to keep"):
        converge_logins(EMPTY, SYSTEM, prune=kinds)


INSECURE = RemoteConfig("a", {
    "a": Remote("a.example", "t", system=True, insecure=True), "b": Remote("b.example", system=True, insecure=True), "c": Remote("c.example"),
})  # fmt: skip
NEW_FILE = ("this user now gets a remote.yaml, and then Apptainer ignores what the global file says of %s for the endpoints %s; "
            "declare them for this user with apptainer_remote")


def test_a_first_file_changes_what_apptainer_takes_from_the_global_one():
    both = [NEW_FILE % ("insecure (http)", '"a", "b"'), NEW_FILE % ("the token", '"a"')]
    assert_warned(both, settled(EMPTY, registries=[login()], system=INSECURE).warnings)
    assert_warned([], settled(EMPTY, registries=[login()], system=INSECURE, with_credentials=False).warnings)
    assert_warned([], settled(Files(user(BASIC), NO_DOCKER), registries=[login()], system=INSECURE).warnings)
    assert_warned(["set insecure: true here, too", NEW_FILE % ("insecure (http)", '"b"')],
                  settled(EMPTY, [WantedToken("a", token="mine")], system=INSECURE).warnings)


def test_nothing_declared_changes_nothing():
    files = Files(user(R, R, BASIC, **MINE), IN)
    assert settled(files) == (files, ())


def test_no_text_form_shows_a_secret():
    values = [WantedToken("a", token=SECRET), keyserver("https://u:s3cret@k"), login("docker://u:s3cret@r"), Files(user(BASIC), IN)]
    values.append(settled(EMPTY, registries=[login()], keyservers=[keyserver()]))
    for value in values:
        assert SECRET not in f"{value!r} {value}"
        assert encode_login("alice", SECRET) not in repr(value)
    assert repr(values[0]) == "WantedToken(name='a', present=True, token='(hidden)', keep=False)"


# properties

MARKS = [False, True]
HOSTS = ["r.example", "r.example:5000", "docker.io", "index.docker.io", "[::1]"]
REGISTRY_URIS = [f"{scheme}://{host}" for scheme in ("docker", "oras", "ORAS") for host in (*HOSTS, "R.example")]
KEYSERVER_URIS = [K, K + "/x", "http://k:80", "https://own.example"]
CREDENTIALS = st.sampled_from(values(
    Credential, [*REGISTRY_URIS, *KEYSERVER_URIS * 4, "ftp://x", "docker://r.example/v2", "hkp://k"], ["", "Bearer t"], MARKS))
AUTH_KEYS = [prefix + host + suffix for prefix in ("", "https://") for host in HOSTS for suffix in ("", "/v1/", "/org")]
DOCKERS = st.builds(lambda entries: DockerConfig({"auths": entries, "x": 1}, True), st.dictionaries(
    st.sampled_from(AUTH_KEYS), st.sampled_from([{"auth": encode_login("old", "old")}, {"identitytoken": "t"}, {}]), max_size=5))
FILES = st.builds(Files, st.builds(lambda credentials: user(*credentials, **MINE), st.lists(CREDENTIALS, max_size=6)), DOCKERS)
WANTED = st.fixed_dictionaries({
    "tokens": st.lists(st.sampled_from(values(WantedToken, ["mine", "lab", "site"], MARKS, ["t"], MARKS)),
                       max_size=3, unique_by=lambda item: item.name),
    "keyservers": st.lists(st.sampled_from(values(WantedKeyserverLogin, KEYSERVER_URIS, MARKS, ["", "u"], ["p"], MARKS)),
                           max_size=3, unique_by=lambda item: credential_key(item.uri)),
    "registries": st.lists(st.sampled_from(values(WantedRegistry, REGISTRY_URIS, MARKS, ["u"], ["p"], [None, False, True], MARKS)),
                           max_size=3, unique_by=lambda item: checked_registry_uri(item.uri).host.replace("index.", "")),
})  # fmt: skip


def part(kind, files):
    """What is in the two files of one kind."""
    if kind == "remotes":
        return files.remotes.remotes
    registries = kind == "registries"
    listed = [item for item in files.remotes.credentials if (credential_key(item.uri)[0] in ("docker", "oras")) == registries]
    return listed, files.docker if registries else None


@given(FILES, WANTED, st.sets(st.sampled_from(ALL)), st.booleans())
def test_only_the_kinds_that_are_named_are_pruned(files, wanted, prune, with_credentials):
    prune = prune if any(wanted.values()) else set()
    pruned, plain = (settled(files, **wanted, prune=kinds, with_credentials=with_credentials).files for kinds in (prune, ()))
    for kind in ALL:
        assert kind in prune or part(kind, pruned) == part(kind, plain)


@given(FILES, WANTED, st.booleans(), st.booleans())
@example(EMPTY, {"tokens": [], "keyservers": [], "registries": []}, True, True)
def test_twice_is_once_and_what_is_declared_is_so(files, wanted, prune, with_credentials):
    prune = ALL if prune and any(wanted.values()) else ()
    after = settled(files, **wanted, prune=prune, with_credentials=with_credentials).files
    listed = [credential_key(item.uri) for item in after.remotes.credentials]
    for item in wanted["registries"]:
        registry = checked_registry_uri(item.uri)
        keys = keys_for_host(after.docker, registry.host)
        if not item.keep and with_credentials:
            assert listed.count(registry) == item.present
        if not item.keep:
            assert len(keys) == item.present
            assert any(login.password == "p" for login in stored_logins(after.docker) if login.key in keys) == item.present
        else:
            assert keys == keys_for_host(files.docker, registry.host)
    for item in wanted["keyservers"]:
        if not item.keep:
            assert listed.count(credential_key(item.uri)) == item.present
    for item in wanted["tokens"]:
        if not item.keep:
            assert (item.name in after.remotes.remotes and after.remotes.remotes[item.name].token == "t") == item.present
    if prune and with_credentials:
        assert set(listed) <= {credential_key(item.uri) for item in [*wanted["registries"], *wanted["keyservers"]]}


@given(FILES, WANTED)
def test_all_the_rest_is_left_alone(files, wanted):
    after = settled(files, **wanted).files
    hosts = {checked_registry_uri(item.uri).host for item in wanted["registries"]}
    if hosts & {"docker.io", "index.docker.io"}:
        hosts |= {"docker.io", "index.docker.io"}
    keys = {credential_key(item.uri) for item in wanted["keyservers"]}

    def rest(files):
        mine = {key for host in hosts for key in keys_for_host(files.docker, host)}
        return (
            [item for item in files.remotes.credentials if credential_key(item.uri) not in keys and credential_key(item.uri)[1] not in hosts],
            {key: entry for key, entry in files.docker.tree["auths"].items() if key not in mine},
            {name: remote for name, remote in files.remotes.remotes.items() if name not in {item.name for item in wanted["tokens"]}},
            files.docker.tree["x"])

    assert rest(after) == rest(files)


def test_the_time_grows_with_the_number_of_logins():
    def prepared(size):
        system = RemoteConfig("", {f"e{number}": Remote(f"e{number}.example", system=True, keyservers=(
            Keyserver(f"https://k{number}.example", external=True),)) for number in range(size)})  # fmt: skip
        return system, {
            "tokens": [WantedToken(f"e{number}", token="t") for number in range(size)],
            "keyservers": [keyserver(f"https://k{number}.example") for number in range(size)],
            "registries": [login(f"docker://r{number}.example") for number in range(size)],
        }

    def work(arguments):
        system, lists = arguments
        full = converge_logins(EMPTY, system, **lists).files
        assert len(full.remotes.credentials) == 2 * len(lists["tokens"])
        assert converge_logins(full, system, **lists, prune=ALL).files == full
        absent = {kind: [item._replace(present=False) for item in items] for kind, items in lists.items()}
        assert converge_logins(full, system, **absent).files.remotes.credentials == ()

    assert_linear(work, prepared)


@pytest.mark.parametrize(("flavor", "words"), [
    ("apptainer", "it is an endpoint's built-in keyserver, which gets the endpoint's token instead"),
    ("singularity", "no endpoint has this keyserver")])
@pytest.mark.parametrize("system", [RemoteConfig("a", {"a": Remote("cloud.apptainer.org", system=True)})])
def test_the_keyserver_of_cloud_apptainer_org(system, flavor, words):
    wanted = [WantedKeyserverLogin("https://keys.openpgp.org", True, "alice", "s3cret")]
    desired = converge_logins(Files(RemoteConfig(), DockerConfig()), system, keyservers=wanted, flavor=flavor)
    assert words in desired.warnings[0]
