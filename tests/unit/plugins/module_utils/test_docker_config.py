# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import json
import re
import time

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils import _docker_config as docker
from ansible_collections.hpc.apptainer.plugins.module_utils._docker_config import (
    DockerConfig,
    StoredLogin,
    aliases,
    change,
    decode,
    encode,
    encoded,
    helper,
    hostname_of,
    hosts,
    login,
    logout,
    namespaced,
    pruned,
    redacted,
    registry_key,
    secrets_of,
    stored,
)
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import FormatError, RuleError
from ansible_collections.hpc.apptainer.plugins.module_utils._remote_config import HIDDEN_CHANGED
from hypothesis import example, given
from hypothesis import strategies as st

HUB_KEY = "https://index.docker.io/v1/"
AUTH = "YWxpY2U6czNjcmV0"  # alice:s3cret
OLD = "b2xkOm9sZA=="  # old:old


def config(auths=None, **others):
    return DockerConfig({"auths": auths or {}, **others}, True)


def read(value):
    return decode(json.dumps(value).encode(), "f.json")


# bytes

READ = [  # the file, as a value
    (b"", DockerConfig({}, False)),
    (b" \t\r\n", DockerConfig({}, False)),
    (b"{}", DockerConfig({}, True)),
    (b'{"auths": null, "credHelpers": null, "credsStore": null}', DockerConfig({"auths": None, "credHelpers": None, "credsStore": None}, True)),
    (b'{"auths": {"h": null, "i": {}, "j": {"auth": null}}}', config({"h": None, "i": {}, "j": {"auth": None}})),
    (b'{"auths": {"h": {"auth": "", "username": "u", "password": "p"}}}', config({"h": {"auth": "", "username": "u", "password": "p"}})),
    (b'{"\\u0061uths": {"h": {"auth": "YWxpY2U6\\r\\nczNjcmV0"}}}', config({"h": {"auth": "YWxpY2U6\r\nczNjcmV0"}})),
    (b'{"credHelpers": {"h": "x"}, "credsStore": "y"}', DockerConfig({"credHelpers": {"h": "x"}, "credsStore": "y"}, True)),
    (b'{"a": ["[{\\\\", {"k": 1}, {"k": 2}, "\\"a\\": NaN"], "b": true}',
     DockerConfig({"a": ["[{\\", {"k": docker.Number("1")}, {"k": docker.Number("2")}, '"a": NaN'], "b": True}, True)),
    (b'{"deep": ' + b"[" * 99 + b"]" * 99 + b"}", None),
]  # fmt: skip


@pytest.mark.parametrize(("data", "value"), READ)
def test_decode(data, value):
    found = decode(data, "f.json")
    assert value is None or found == value
    assert decode(encode(found), "f.json") == found._replace(has_data=True)


REFUSED = [  # the file, the place and a part of the reason
    (b"\xef\xbb\xbf{}", "line 1, column 1: this is not JSON"),
    (b'{\n"a": "\xff"}', "line 2, column 7: the file is not UTF-8"),
    (b"{nope", "line 1, column 2: this is not JSON"),
    (b'{"a": "s3cret', "line 1, column 7: this is not JSON"),
    (b'{"a": "s3\ncret"}', "line 1, column 10: this is not JSON"),
    (b'{}\n{"s3cret": 1}', "line 2, column 1: this is not JSON"),
    (b" []", "line 1, column 2: the file must hold one JSON object"),
    (b"null", "line 1, column 1: the file must hold one JSON object"),
    (b'{"a": NaN}', "line 1, column 7: NaN is not JSON"),
    (b'{"a": [1, -Infinity]}', "line 1, column 11: -Infinity is not JSON"),
    (b'{"a": 1,\n "b": 2, "\\u0061": 3}', 'line 2, column 10: the key "a" stands twice'),
    (b'{"auths": {"u:s3cret@h": {}, "u:s3cret@h": {}}}', 'column 30: the key "(hidden)@h" stands twice'),
    (b'{"auths": []}', 'line 1, column 2: "auths" must be an object'),
    (b'{"auths": {"h": "s3cret"}}', 'column 12: "h" in "auths" must be an object'),
    (b'{"auths": {"h": {"password": 3}}}', '"password" in "h" in "auths" must be text'),
    (b'{"auths": {"h": {"auth": ["s3cret"]}}}', '"auth" in "h" in "auths" must be text'),
    (b'{"auths": {"h": {"identitytoken": {}}}}', '"identitytoken" in "h" in "auths" must be text'),
    (b'{"credHelpers": "x"}', '"credHelpers" must be an object'),
    (b'{"credHelpers": {"h": {}}}', '"h" in "credHelpers" must be text'),
    (b'{"credsStore": 1}', '"credsStore" must be text'),
    (b'{"Auths": {}}', '"Auths" is read as "auths", whatever its case; write it so'),
    ('{"cred\u017fStore": "x"}'.encode(), 'is read as "credsStore"'),
    (b'{"auths": {"h": {"AUTH": "s3cret"}}}', '"AUTH" in "h" in "auths" is read as "auth"'),
    *((b'{"auths": {"h": {\n "auth": "%s"}}}' % auth, 'line 2, column 2: "auth" in "h" in "auths" must be user:password in Base64')
      for auth in (b"s3cret!", b"YQ", b"YQ=", b"bm9jb2xvbg==", b"OnMzY3JldA==", b"YTpi YTpi", b"\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4")),
    (b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}", "column 106: the values are nested more than 100 levels"),
    (b"[" * 200000, "nested too deeply"),
    (b'{"a":' * 200000, "nested too deeply"),
]


@pytest.mark.parametrize(("data", "reason"), REFUSED)
def test_decode_refuses(data, reason):
    with pytest.raises(FormatError) as caught:
        decode(data, "/home/u/f.json")
    message = str(caught.value)
    assert message.startswith("/home/u/f.json, line ")
    assert reason in message or ("nested too deeply" in reason and "this is not JSON" in message)  # newer Pythons read deeper
    assert "s3cret" not in message
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_encode_is_what_docker_writes():
    value = {"auths": {"b": {"auth": AUTH}, "a.b": {}}, "HttpHeaders": {"X": "<&>\u2028\x7f\b\n"}, "n": [], "m": [1, None, "ä\ud800"], "z": {}}
    assert encode(DockerConfig(value, True)).decode() == (
        '{\n\t"auths": {\n\t\t"a.b": {},\n\t\t"b": {\n\t\t\t"auth": "YWxpY2U6czNjcmV0"\n\t\t}\n\t},\n\t"HttpHeaders": {\n'
        '\t\t"X": "\\u003c\\u0026\\u003e\\u2028\x7f\\b\\n"\n\t},\n\t"n": [],\n\t"m": [\n\t\t1,\n\t\tnull,\n\t\t"ä\\ud800"\n\t],\n\t"z": {}\n}')


def test_numbers_stay_as_they_were_written():
    text = '{\n\t"a": 1.0e400,\n\t"b": -0,\n\t"c": %s\n}' % ("9" * 5000)
    assert encode(decode(text.encode(), "f")).decode() == text


TEXT = st.text(max_size=8)
SAFE_KEYS = TEXT.filter(lambda key: key.casefold() not in ("auths", "credhelpers", "credsstore", *docker._ENTRY_KEYS))
VALUES = st.recursive(st.none() | st.booleans() | TEXT | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
                      lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=8)
NAMES = st.text(st.characters(exclude_characters=":", exclude_categories=["Cs"]), min_size=1, max_size=6)
PASSWORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6).filter(lambda text: text == text.strip("\0"))
AUTHS = st.builds(encoded, NAMES, PASSWORDS)
ENTRIES = st.builds(lambda known, unknown: {**known, **unknown},
                    st.fixed_dictionaries({}, optional={"auth": AUTHS, **dict.fromkeys(("username", "password", "identitytoken", "email"), TEXT)}),
                    st.dictionaries(SAFE_KEYS, VALUES, max_size=2))
HOSTS = st.sampled_from(["reg.example", "reg.example:5000", "[::1]:5000", "docker.io", "index.docker.io", "registry-1.docker.io", "ä.example"])
KEYS = st.builds("".join, st.tuples(st.sampled_from(["", "http://", "https://", "HTTPS://u:p@"]), HOSTS | HOSTS.map(str.upper),
                                    st.sampled_from(["", "/", "/v1", "/v1/", "/v2/", "/V2", "/org", "/org/v1/"]))) | TEXT
CONFIGS = st.builds(lambda auths, others: DockerConfig({"auths": auths, **others}, True),
                    st.dictionaries(KEYS, ENTRIES | st.none(), max_size=4), st.dictionaries(SAFE_KEYS, VALUES, max_size=3))


def normal(value):
    """With numbers as decode() keeps them."""
    return decode(encode(value), "f")


@given(CONFIGS)
@example(DockerConfig({"a": "\ud800", "\udfff": ["\ud800x"]}, True))
def test_encoded_is_decoded_again(value):
    assert json.loads(encode(value)) == json.loads(json.dumps(value.tree))
    value = normal(value)
    assert decode(encode(value), "f") == value
    assert list(value.tree) == list(normal(value).tree)


@given(st.binary(max_size=20) | st.text(st.sampled_from('{}[]":,\\aNI 1\n'), max_size=20).map(str.encode))
@example(b'"a"')
@example(b'{"a":{"b":[{"b":1},{"b":"b"}]}}')
def test_whatever_is_in_a_file_it_is_read_or_refused(data):
    try:
        value = decode(data, "f")
    except FormatError as error:
        assert re.match(r"f, line \d+, column \d+: ", str(error))
    else:
        assert json.loads(data or b"{}") == json.loads(encode(value)) if data.strip() else value == DockerConfig()


# keys

@pytest.mark.parametrize(("host", "key"), [
    ("reg.example", "reg.example"), ("REG.example:5000", "reg.example:5000"), ("docker.io", HUB_KEY), ("index.docker.io", HUB_KEY),
    ("Registry-1.docker.io", HUB_KEY), ("hub.docker.com", "hub.docker.com"), ("docker.io:443", "docker.io:443"),
])  # fmt: skip
def test_registry_key(host, key):
    assert registry_key(host) == key


@pytest.mark.parametrize(("key", "host"), [
    ("reg.example", "reg.example"), ("reg.example:5000/org", "reg.example:5000"), (HUB_KEY, "index.docker.io"), ("http://h:80/x", "h:80"),
    ("https://u:p@h/x", "h"), ("https://[::1]:5000/v1/", "[::1]:5000"), ("", ""), ("https://%zz/x", "https:"), ("https:///x", "https:"),
])  # fmt: skip
def test_hostname_of(key, host):
    assert hostname_of(key) == host


OWN = ["reg.example", "reg.example/", "REG.EXAMPLE", "http://reg.example", "https://reg.example", "https://reg.example/", "https://reg.example/v1/",
       "HTTPS://Reg.Example/V2", "reg.example/v1", "https://u:p@reg.example/v2/"]
HUB = ["docker.io", "index.docker.io", "https://registry-1.docker.io/v2/", HUB_KEY, "https://index.docker.io/v1"]
PARTS = ["reg.example/org", "https://reg.example/org/app", "REG.example/v3", "reg.example/v1/x"]
FOREIGN = ["reg.example:5000", "x.reg.example", "docker.io/library", "", "https://"]
ALL = config({key: {"auth": OLD} for key in [*OWN, *HUB, *PARTS, *FOREIGN]})


def test_aliases():
    assert aliases(ALL, "reg.example") == aliases(ALL, "Reg.example") == OWN
    for host in docker.HUB_HOSTS:
        assert aliases(ALL, host) == HUB
    assert aliases(ALL, "other.example") == []
    assert aliases(DockerConfig(), "reg.example") == []


def test_namespaced():
    assert namespaced(ALL, "reg.example") == PARTS
    assert namespaced(ALL, "index.docker.io") == ["docker.io/library"]
    assert namespaced(ALL, "other.example") == []


def test_hosts():
    assert hosts(ALL) == sorted(["docker.io", "reg.example", "reg.example:5000", "x.reg.example", "", "https:"])


@pytest.mark.parametrize(("others", "host", "name"), [
    ({}, "h", None),
    ({"credsStore": ""}, "h", None),
    ({"credsStore": None, "credHelpers": None}, "h", None),
    ({"credsStore": "s"}, "h", "s"),
    ({"credHelpers": {"h": "x"}}, "h", "x"),
    ({"credHelpers": {"https://H/v1/": "x"}}, "h", "x"),
    ({"credHelpers": {"h": "x"}, "credsStore": "s"}, "i", "s"),
    ({"credHelpers": {"h": "x"}, "credsStore": "s"}, "h", "x"),
    ({"credHelpers": {"h": ""}, "credsStore": "s"}, "h", None),
    ({"credHelpers": {"h": "x", "https://h": ""}}, "h", "x"),
    ({"credHelpers": {"docker.io": "x"}}, "index.docker.io", "x"),
    ({"credHelpers": {HUB_KEY: "x"}}, "docker.io", "x"),
])  # fmt: skip
def test_helper(others, host, name):
    value = config(**others)
    assert helper(value, host) == name
    assert logout(value, host) == value
    if name is None:
        assert aliases(login(value, host, "u", "p"), host) == [registry_key(host)]
    else:
        with pytest.raises(RuleError) as caught:
            login(value, host, "alice", "s3cret")
        message = str(caught.value)
        assert message.startswith(f'registry {host}: the credential helper "{name}" manages its logins')
        assert message.endswith(f"(docker login {host}), or use another auth_file")
        assert "s3cret" not in message


# logins

NEW = {"auth": AUTH}
LOGINS = [  # before, after
    (DockerConfig(), config({"reg.example": NEW})),
    (DockerConfig({"a": 1}, True), config({"reg.example": NEW}, a=1)),
    (DockerConfig({"a": 1, "auths": None}, True), config({"reg.example": NEW}, a=1)),
    (config({"reg.example": {"auth": OLD}}), config({"reg.example": NEW})),
    (config({"reg.example": None}), config({"reg.example": NEW})),
    (config({"reg.example": {"username": "alice", "password": "s3cret", "serveraddress": "x", "email": "e", "more": [1]}}),
     config({"reg.example": {"auth": AUTH, "email": "e", "more": [1]}})),
    (config({"reg.example": {"auth": AUTH, "identitytoken": "t", "registrytoken": "t"}}), config({"reg.example": NEW})),
    (config({key: {"auth": OLD} for key in OWN}), config({"reg.example": NEW})),
    (config({"REG.example": {"auth": OLD}, "reg.example:5000": {"identitytoken": "t"}, "reg.example/org": {"username": "u", "password": "p"}}),
     config({"reg.example": NEW, "reg.example:5000": {"identitytoken": "t"}, "reg.example/org": {"username": "u", "password": "p"}})),
]


@pytest.mark.parametrize(("before", "after"), LOGINS)
def test_login(before, after):
    assert login(before, "reg.example", "alice", "s3cret") == after
    assert login(after, "Reg.example", "alice", "s3cret") == after


def test_a_new_list_of_logins_comes_first():
    assert encode(login(DockerConfig({"a": 1}, True), "h", "alice", "s3cret")).startswith(b'{\n\t"auths"')


def test_login_and_logout_on_docker_hub():
    before = config({key: {"auth": OLD} for key in [*HUB, "docker.io/library"]})
    after = login(before, "registry-1.docker.io", "alice", "s3cret")
    assert after == config({HUB_KEY: NEW, "docker.io/library": {"auth": OLD}})
    assert logout(before, "docker.io") == config({"docker.io/library": {"auth": OLD}})


def test_logout_of_nobody_changes_nothing():
    for value in (DockerConfig(), DockerConfig({"auths": None}, True), ALL):
        assert logout(value, "nobody.example") is value


@pytest.mark.parametrize(("username", "password", "reason"), [
    ("", "s3cret", "needs a username"),
    ("a:b", "s3cret", "has a colon"),
    ("a", "", "the password is empty"),
    ("a", "s3cret\0", "NUL"),
    ("a", "\0s3cret", "NUL"),
    ("a", "s3cret\ud800", "lone surrogate"),
])  # fmt: skip
def test_what_basic_cannot_carry(username, password, reason):
    with pytest.raises(RuleError, match=reason) as caught:
        encoded(username, password)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


STORED = [  # an entry, the user name and password in it
    ({"auth": AUTH}, ("alice", "s3cret")),
    ({"auth": "YTpiOmM="}, ("a", "b:c")),
    ({"auth": "YTpiAA=="}, ("a", "b")),
    ({"auth": "YTr/"}, ("a", "\udcff")),
    ({"auth": AUTH, "username": "u", "password": "p"}, ("alice", "s3cret")),
    ({"username": "u", "password": "p"}, ("u", "p")),
    ({"auth": "", "username": "u", "password": "p"}, ("u", "p")),
    ({"username": "u"}, None),
    ({"password": "p"}, None),
    ({"auth": "YTo="}, None),
    ({"auth": "dTo=", "identitytoken": "t"}, None),
    ({"auth": AUTH, "identitytoken": "t"}, None),
    ({"auth": AUTH, "registrytoken": "t"}, None),
    ({"identitytoken": "t"}, None),
    ({"auth": "not base64"}, None),
    ({}, None),
    (None, None),
]


@pytest.mark.parametrize(("entry", "pair"), STORED)
def test_stored(entry, pair):
    assert stored(config({"REG.example/v1/": entry})) == ([("REG.example/v1/", "reg.example", *pair)] if pair else [])


def test_hosts_of_stored_logins():
    value = config({HUB_KEY: NEW, "Reg.example/org": NEW})
    assert [item.host for item in stored(value)] == ["docker.io", "reg.example"]


def test_bytes_that_are_no_text_survive():
    (item,) = stored(config({"h": {"auth": "YTr/"}}))
    assert encoded(item.username, item.password) == "YTr/"


def test_pruned():
    assert aliases(pruned(ALL, ["reg.example", "index.docker.io"]), "reg.example") == OWN
    assert list(pruned(ALL, ["docker.io"]).tree["auths"]) == HUB
    assert pruned(config({"h": NEW}), ["H"]) == config({"h": NEW})
    assert pruned(ALL, []) == config()


# secrets

FULL = DockerConfig({
    "credsStore": "s", "credHelpers": {"https://u:hunter2@h": "x"}, "HttpHeaders": {"Authorization": "hunter2"}, "proxies": "hunter2",
    "auths": {
        "https://u:hunter2@h/": {"auth": base64.b64encode(b"alice:hunter2").decode(), "email": "e"},
        "i": {"username": "u", "password": "hunter2", "identitytoken": "hunter2i", "registrytoken": "hunter2r", "odd": "hunter2o", "n": ["hunter2"]},
        "j": None, "k": {"auth": ""},
    },
}, True)  # fmt: skip


def test_no_text_form_shows_a_secret():
    for value in (FULL, stored(FULL), docker.stored(FULL)[0], StoredLogin("u:hunter2@h", "h", "u", "hunter2")):
        assert "hunter2" not in f"{value!r} {value}"
    assert repr(FULL) == "DockerConfig(auths=['https://(hidden)@h/', 'i', 'j', 'k'], has_data=True)"
    assert repr(StoredLogin("h", "h", "u", "p")) == "StoredLogin(key='h', host='h', username='u', password=(hidden))"


def test_redacted():
    shown = redacted(FULL)
    assert shown == DockerConfig({
        "credsStore": "s", "credHelpers": {"https://(hidden)@h": "x"}, "HttpHeaders": "(not shown)", "proxies": "(not shown)",
        "auths": {
            "https://(hidden)@h/": {"auth": "(hidden)", "email": "e"},
            "i": {"username": "u", **dict.fromkeys(("password", "identitytoken", "registrytoken", "odd"), "(hidden)"), "n": "(not shown)"},
            "j": {}, "k": {"auth": ""},
        },
    }, True)  # fmt: skip
    assert b"hunter2" not in encode(shown)
    assert list(shown.tree) == list(FULL.tree)


def test_redacted_says_what_changed():
    before = config({"a": {"auth": OLD}, "b": {"auth": OLD}, "c": None, "d": {"password": "x"}})
    after = config({"a": {"auth": AUTH}, "b": {"auth": OLD}, "c": {"auth": AUTH}, "d": {"auth": AUTH}, "e": {"auth": AUTH}})
    assert {key: entry["auth"] for key, entry in redacted(after, before).tree["auths"].items()} == {
        "a": HIDDEN_CHANGED, "b": "(hidden)", "c": "(hidden)", "d": "(hidden)", "e": "(hidden)"}
    assert redacted(DockerConfig(), before) == DockerConfig()
    assert redacted(DockerConfig({"auths": None, "credHelpers": None}, True)).tree == {"auths": {}, "credHelpers": {}}


def test_secrets_of():
    assert secrets_of(FULL) == {"hunter2", base64.b64encode(b"alice:hunter2").decode(), "hunter2i", "hunter2r", "hunter2o"}
    assert secrets_of(DockerConfig()) == set()


# properties

@given(CONFIGS, HOSTS, NAMES, PASSWORDS)
def test_login_twice_is_login_once(before, host, username, password):
    once = login(before, host, username, password)
    assert login(once, host, username, password) == once
    assert aliases(once, host) == [registry_key(host)]
    assert (registry_key(host), docker.canonical(host), username, password) in stored(once)


@given(CONFIGS, HOSTS, NAMES, PASSWORDS)
def test_logout_after_login_is_logout(before, host, username, password):
    without = logout(before, host)
    assert logout(login(before, host, username, password), host) == without
    assert logout(without, host) == without
    assert not aliases(without, host)
    assert all(item.host != docker.canonical(host) or item.key in namespaced(before, host) for item in stored(without))


@given(CONFIGS, HOSTS)
def test_all_the_rest_is_left_alone(before, host):
    after = login(before, host, "alice", "s3cret")
    mine = {*aliases(before, host), registry_key(host)}
    assert {key: entry for key, entry in after.tree["auths"].items() if key not in mine} == {
        key: entry for key, entry in before.tree["auths"].items() if key not in mine}
    assert {**after.tree, "auths": None} == {**before.tree, "auths": None}
    assert namespaced(after, host) == namespaced(before, host)


@given(CONFIGS, CONFIGS)
def test_no_secret_is_left_after_redaction(value, before):
    shown = redacted(value, before).tree["auths"]
    for entry in shown.values():
        assert {key: word for key, word in entry.items() if key not in ("username", "email", "serveraddress")
                and word not in ("", "(hidden)", HIDDEN_CHANGED, "(not shown)")} == {}  # fmt: skip


def test_time_is_linear():
    many = {f"r{number}.example": ("alice", f"s3cret{number}") for number in range(2000)}
    start = time.perf_counter()
    value = decode(encode(change(config(), many)), "f")
    assert change(value, dict.fromkeys(many)) == config()
    assert len(stored(value)) == 2000
    assert time.perf_counter() - start < 5
