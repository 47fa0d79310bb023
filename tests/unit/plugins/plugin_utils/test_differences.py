# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What differs, in sentences."""

import pytest
from ansible_collections.hpc.apptainer.plugins.plugin_utils._differences import sentences
from hypothesis import given
from hypothesis import strategies as st


def remote_yaml(active="site", **remotes):
    shown = "".join(f"    {name}:\n{fields}" for name, fields in remotes.items())
    return f"Active: {active}\nRemotes:\n{shown}"


def endpoint(uri="l.example.org", exclusive="true", keyservers="", token=""):
    return f"        URI: {uri}\n{token}        System: true\n        Exclusive: {exclusive}\n{keyservers}"


def keyservers(*uris, insecure="false"):
    return "        Keyservers:\n" + "".join(
        f"            - URI: {uri}\n              Skip: false\n              External: true\n              Insecure: {insecure}\n" for uri in uris)


def credentials(*items):
    return "Active: a\nRemotes: {}\nCredentials:\n" + "".join(f"    - URI: {uri}\n      Auth: {auth}\n      Insecure: false\n" for uri, auth in items)


def docker(auth="(hidden)", host="r.example.org", more=""):
    return f'{{\n\t"auths": {{\n\t\t"{host}": {{\n\t\t\t"auth": "{auth}"{more}\n\t\t}}\n\t}}\n}}\n'


GOOD = remote_yaml(site=endpoint())
TOKEN = "        Token: {}\n"


@pytest.mark.parametrize(("before", "after", "said"), [
    (GOOD, GOOD, []),
    ("", GOOD, ["the file is missing or empty"]),
    (remote_yaml(site=endpoint(exclusive="false")), GOOD, ["endpoint site: exclusive is false, should be true"]),
    (remote_yaml("mine", site=endpoint()), GOOD, ["default endpoint is mine, should be site"]),
    (remote_yaml('""', site=endpoint()), GOOD, ["default endpoint is not set, should be site"]),
    (remote_yaml(site=endpoint("x.example.org")), GOOD, ["endpoint site: URI is x.example.org, should be l.example.org"]),
    (remote_yaml(site=endpoint(), old=endpoint()), GOOD, ["endpoint old: is there, should be removed"]),
    (GOOD, remote_yaml(site=endpoint(), new=endpoint()), ["endpoint new: is missing"]),
    ("Active: site\n", GOOD, ["endpoint site: is missing"]),
    ("Active: site\nRemotes:\n    site:\n", GOOD, ["endpoint site: URI is not set, should be l.example.org",
                                                  "endpoint site: system is not set, should be true",
                                                  "endpoint site: exclusive is not set, should be true"]),
    (remote_yaml(site=endpoint(keyservers=keyservers("https://a", "https://b"))), remote_yaml(site=endpoint(keyservers=keyservers("https://b"))),
     ["endpoint site: keyservers are https://a, https://b, should be https://b"]),
    (GOOD, remote_yaml(site=endpoint(keyservers=keyservers("https://b"))), ["endpoint site: keyservers are its own ones, should be https://b"]),
    (remote_yaml(site=endpoint(keyservers=keyservers("https://a", insecure="true"))), remote_yaml(site=endpoint(keyservers=keyservers("https://a"))),
     ["endpoint site, keyserver https://a: insecure is true, should be false"]),
    (GOOD, remote_yaml(site=endpoint(token=TOKEN.format("(hidden)"))), ["endpoint site: token is missing"]),
    (remote_yaml(site=endpoint(token=TOKEN.format("(hidden)"))), GOOD, ["endpoint site: token is stored, should be removed"]),
    (remote_yaml(site=endpoint(token=TOKEN.format("(hidden)"))), remote_yaml(site=endpoint(token=TOKEN.format("(hidden, changed)"))),
     ["endpoint site: token is another one than declared"]),
    (credentials(("https://k", "(hidden)")), credentials(("https://k", "(hidden, changed)")),
     ["login https://k: password is another one than declared"]),
    (credentials(("https://k", "x")), credentials(("https://o", "x")),
     ["login https://o: is missing", "login https://k: is there, should be removed"]),
    (credentials(("https://k", "x"), ("https://o", "x")), credentials(("https://o", "x"), ("https://k", "x")), ["logins: the order differs"]),
    (docker(), docker("(hidden, changed)"), ["registry login r.example.org: password is another one than declared"]),
    (docker(), docker(more=',\n\t\t\t"username": "u"'), ["registry login r.example.org: username is not set, should be u"]),
    ("{}\n", docker(), ["registry login r.example.org: is missing"]),
    ('{"x": {"a": 1}}', '{"x": {"a": 2}}', ['x is {"a": 1}, should be {"a": 2}']),
    ("mode: 0600\n", "mode: 0644\n", ["mode is 0600, should be 0644"]),
    ("mode: 0644\nowner: 1000\n", "mode: 0644\nowner: 0\n", ["owner is 1000, should be 0"]),
    ("[", GOOD, ["the content differs"]),
    ("{", "{}", ["the content differs"]),
    ("a text\n", "another\n", ["the content differs"]),
    ("Remotes:\n    1: 2\n", "Remotes:\n    ? [a]\n    : 2\n", ["the content differs"]),
    ("mode: '0600'\n", "mode: 0600\n", ["the content differs"]),
    ("a: &a [x]\nb: *a\n", "a: [x]\n", ["the content differs"]),
    ("[" * 5000, GOOD, ["the content differs"]),
    (remote_yaml(**{f"e{number}": endpoint() for number in range(3000)}), GOOD, ["the content differs"]),
])
def test_sentences(before, after, said):
    assert list(sentences(before, after)) == said


@given(st.text(), st.text())
def test_any_text_is_said_to_differ_if_and_only_if_it_does(before, after):
    assert bool(sentences(before, after)) == (before != after)
