# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import re

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import FormatError
from ansible_collections.hpc.apptainer.plugins.module_utils._formats.docker_json import decode, encode
from ansible_collections.hpc.apptainer.plugins.module_utils._values.docker_config import DockerConfig, Number
from hypothesis import example, given
from hypothesis import strategies as st
from support.docker_configs import CONFIGS, config
from support.growth import assert_linear
from support.tables import table

AUTH = "YWxpY2U6czNjcmV0"  # alice:s3cret

READ = [  # what, the file, its value
    ("no bytes", b"", DockerConfig({}, False)),
    ("white space", b" \t\r\n", DockerConfig({}, False)),
    ("an empty object", b"{}", DockerConfig({}, True)),
    ("null for each key", b'{"auths": null, "credHelpers": null, "credsStore": null}',
     DockerConfig({"auths": None, "credHelpers": None, "credsStore": None}, True)),
    ("empty logins", b'{"auths": {"h": null, "i": {}, "j": {"auth": null}}}', config({"h": None, "i": {}, "j": {"auth": None}})),
    ("a login without auth", b'{"auths": {"h": {"auth": "", "username": "u", "password": "p"}}}',
     config({"h": {"auth": "", "username": "u", "password": "p"}})),
    ("escapes", b'{"\\u0061uths": {"h": {"auth": "YWxpY2U6\\r\\nczNjcmV0"}}}', config({"h": {"auth": "YWxpY2U6\r\nczNjcmV0"}})),
    ("helpers", b'{"credHelpers": {"h": "x"}, "credsStore": "y"}', DockerConfig({"credHelpers": {"h": "x"}, "credsStore": "y"}, True)),
    ("other keys", b'{"a": ["[{\\\\", {"k": 1}, {"k": 2}, "\\"a\\": NaN"], "b": true}',
     DockerConfig({"a": ["[{\\", {"k": Number("1")}, {"k": Number("2")}, '"a": NaN'], "b": True}, True)),
    ("a key in other case", b'{"credSstore": "osxkeychain", "auths": {"https://index.docker.io/v1/": {}}}',
     DockerConfig({"credsStore": "osxkeychain", "auths": {"https://index.docker.io/v1/": {}}}, True)),
    ("all keys in other case",
     '{"Auths": {"H": {"AUTH": "YWxpY2U6czNjcmV0", "userName": "u", "Auths": 1}}, "\u212a": 1, "cred\u017fStore": "x"}'.encode(),
     DockerConfig({"auths": {"H": {"auth": AUTH, "username": "u", "Auths": Number("1")}}, "\u212a": Number("1"), "credsStore": "x"}, True)),
    ("what only Unicode's full folding takes for the same", '{"cred\u00dftore": 1}'.encode(), DockerConfig({"cred\u00dftore": Number("1")}, True)),
    ("100 levels", b'{"deep": ' + b"[" * 99 + b"]" * 99 + b"}", None),
]


@pytest.mark.parametrize(("data", "value"), table(READ))
def test_decode(data, value):
    found = decode(data, "f.json")
    assert value is None or found == value
    assert decode(encode(found), "f.json") == found._replace(has_data=True)


REFUSED = [  # what, the file, the place and a part of the reason
    *((f"a byte order mark {mark!r}", mark + b'{"auths": {"ghcr.io": {"auth": "dTpw"}}}',
       "line 1, column 1: the file begins with a byte order mark (BOM), with which Apptainer cannot read it; save it as UTF-8 without BOM")
      for mark in (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")),
    ("not UTF-8", b'{\n"a": "\xff"}', "line 2, column 7: the file is not UTF-8"),
    ("no quotes", b"{nope", "line 1, column 2: this is not JSON"),
    ("an open quote", b'{"a": "s3cret', "line 1, column 7: this is not JSON"),
    ("a line break in a text", b'{"a": "s3\ncret"}', "line 1, column 10: this is not JSON"),
    ("two objects", b'{}\n{"s3cret": 1}', "line 2, column 1: this is not JSON"),
    ("a list", b" []", "line 1, column 2: the file must hold one JSON object"),
    ("null", b"null", "line 1, column 1: the file must hold one JSON object"),
    ("NaN", b'{"a": NaN}', "line 1, column 7: NaN is not JSON"),
    ("-Infinity", b'{"a": [1, -Infinity]}', "line 1, column 11: -Infinity is not JSON"),
    ("the same key", b'{"a": 1,\n "b": 2, "\\u0061": 3}', 'line 2, column 10: the key "a" is used twice; remove one of the two'),
    ("the same login", b'{"auths": {"u:s3cret@h": {}, "u:s3cret@h": {}}}', 'column 30: the key "(hidden)@h" is used twice'),
    ("auths as a list", b'{"auths": []}', 'line 1, column 2: "auths" must be an object'),
    ("a login as a text", b'{"auths": {"h": "s3cret"}}', 'column 12: "h" in "auths" must be an object'),
    ("a password as a number", b'{"auths": {"h": {"password": 3}}}', '"password" in "h" in "auths" must be text'),
    ("auth as a list", b'{"auths": {"h": {"auth": ["s3cret"]}}}', '"auth" in "h" in "auths" must be text'),
    ("a token as an object", b'{"auths": {"h": {"identitytoken": {}}}}', '"identitytoken" in "h" in "auths" must be text'),
    ("credHelpers as a text", b'{"credHelpers": "x"}', '"credHelpers" must be an object'),
    ("a helper as an object", b'{"credHelpers": {"h": {}}}', '"h" in "credHelpers" must be text'),
    ("credsStore as a number", b'{"credsStore": 1}', '"credsStore" must be text'),
    ("auths in two spellings", b'{"Auths": {},\n "AUTHS": {}, "auths": {}}',
     'line 2, column 15: "auths" is the same key as "Auths" and "AUTHS", because case is ignored; put all that they hold into one object, under '
     '"auths", and remove the other spellings'),
    ("auth in two spellings", b'{"Auths": {"h": {"auth": "s3cret", "AUTH": "s3cret"}}}',
     '"AUTH" in "h" in "Auths" is the same key as "auth", because case is ignored; keep the right value, under "auth", and remove the other'),
    ("auth in other case", b'{"Auths": {"h": {"AUTH": "s3cret"}}}', '"AUTH" in "h" in "Auths" must be user:password in Base64'),
    ("Auths as a list", b'{"Auths": []}', 'line 1, column 2: "Auths" must be an object'),
    *((f"auth {auth!r}", b'{"auths": {"h": {\n "auth": "%s"}}}' % auth,
       'line 2, column 2: "auth" in "h" in "auths" must be user:password in Base64; remove this entry, then log in again')
      for auth in (b"s3cret!", b"YQ", b"YQ=", b"bm9jb2xvbg==", b"OnMzY3JldA==", b"YTpi YTpi", b"\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4")),
    ("101 levels", b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}", "column 106: the values are nested more than 100 levels deep; remove what"),
    ("endless lists", b"[" * 200000, "nested too deeply"),
    ("endless objects", b'{"a":' * 200000, "nested too deeply"),
]


@pytest.mark.parametrize(("data", "reason"), table(REFUSED))
def test_decode_refuses(data, reason):
    with pytest.raises(FormatError) as caught:
        decode(data, "/home/u/f.json")
    message = str(caught.value)
    assert message.startswith("/home/u/f.json, line ")
    assert reason in message or ("nested too deeply" in reason and "this is not JSON" in message)  # newer Pythons read deeper
    assert "s3cret" not in message
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(("more", "fails"), [(0, False), (1, True)])
def test_more_than_1_mib_is_no_file_of_logins(more, fails):
    data = b'{"a": "%s"}' % (b"x" * ((1 << 20) - 9 + more))
    assert len(data) == (1 << 20) + more
    if not fails:
        assert decode(data, "f.json").has_data
        return
    with pytest.raises(FormatError) as caught:
        decode(data, "/home/u/f.json")
    assert str(caught.value) == "/home/u/f.json: is larger than 1024 KiB, so it is not a file of logins; find out what wrote it"


def test_encode_is_what_docker_writes():
    value = {"auths": {"b": {"auth": AUTH}, "a.b": {}}, "HttpHeaders": {"X": "<&>\u2028\x7f\b\n"}, "n": [], "m": [1, None, "ä\ud800"], "z": {}}
    assert encode(DockerConfig(value, True)).decode() == (
        '{\n\t"auths": {\n\t\t"a.b": {},\n\t\t"b": {\n\t\t\t"auth": "YWxpY2U6czNjcmV0"\n\t\t}\n\t},\n\t"HttpHeaders": {\n'
        '\t\t"X": "\\u003c\\u0026\\u003e\\u2028\x7f\\b\\n"\n\t},\n\t"n": [],\n\t"m": [\n\t\t1,\n\t\tnull,\n\t\t"ä\\ud800"\n\t],\n\t"z": {}\n}')


def test_numbers_stay_as_they_were_written():
    text = '{\n\t"a": 1.0e400,\n\t"b": -0,\n\t"c": %s\n}' % ("9" * 5000)
    assert encode(decode(text.encode(), "f")).decode() == text


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


def test_the_time_grows_with_the_number_of_logins():
    def work(value):
        assert decode(encode(value), "f") == value

    assert_linear(work, lambda size: config({f"r{number}.example": {"auth": AUTH} for number in range(size)}))
