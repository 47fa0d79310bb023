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


HIDDEN_TOKEN = remote_yaml(site=endpoint(token=TOKEN.format("(hidden)")))
KEYSERVERS = remote_yaml(site=endpoint(keyservers=keyservers("https://a", "https://b")))
LOGIN = credentials(("https://k", "(hidden)"))
TWO_LOGINS = [("https://k", "x"), ("https://o", "x")]

# (before, after, the sentences of a drift report, the sentences after the change)
CASES = {
    "the same": (GOOD, GOOD, [], []),
    "no file": ("", GOOD, ["the file is missing or empty"], ["the file was missing or empty"]),
    "exclusive": (remote_yaml(site=endpoint(exclusive="false")), GOOD,
                  ["endpoint site: exclusive is false, should be true"], ["endpoint site: exclusive was false, is now true"]),
    "another default": (remote_yaml("mine", site=endpoint()), GOOD,
                        ["default endpoint is mine, should be site"], ["default endpoint was mine, is now site"]),
    "no default": (remote_yaml('""', site=endpoint()), GOOD,
                   ["default endpoint is not set, should be site"], ["default endpoint was not set, is now site"]),
    "URI": (remote_yaml(site=endpoint("x.example.org")), GOOD,
            ["endpoint site: URI is x.example.org, should be l.example.org"], ["endpoint site: URI was x.example.org, is now l.example.org"]),
    "an endpoint more": (remote_yaml(site=endpoint(), old=endpoint()), GOOD,
                         ["endpoint old is present, should be absent"], ["endpoint old was removed"]),
    "an endpoint less": (GOOD, remote_yaml(site=endpoint(), new=endpoint()), ["endpoint new is missing"], ["endpoint new was added"]),
    "no endpoints": ("Active: site\n", GOOD, ["endpoint site is missing"], ["endpoint site was added"]),
    "null endpoint": ("Active: site\nRemotes:\n    site:\n", GOOD,
                      ["endpoint site: URI is not set, should be l.example.org", "endpoint site: system is not set, should be true",
                       "endpoint site: exclusive is not set, should be true"],
                      ["endpoint site: URI was not set, is now l.example.org", "endpoint site: system was not set, is now true",
                       "endpoint site: exclusive was not set, is now true"]),
    "a keyserver more": (KEYSERVERS, remote_yaml(site=endpoint(keyservers=keyservers("https://b"))),
                         ["endpoint site: keyservers are https://a, https://b, should be https://b"],
                         ["endpoint site: keyservers were https://a, https://b, are now https://b"]),
    "built-in keyserver": (GOOD, remote_yaml(site=endpoint(keyservers=keyservers("https://b"))),
                           ["endpoint site: keyservers are the built-in one, should be https://b"],
                           ["endpoint site: keyservers were the built-in one, are now https://b"]),
    "insecure keyserver": (remote_yaml(site=endpoint(keyservers=keyservers("https://a", insecure="true"))),
                           remote_yaml(site=endpoint(keyservers=keyservers("https://a"))),
                           ["endpoint site, keyserver https://a: insecure is true, should be false"],
                           ["endpoint site, keyserver https://a: insecure was true, is now false"]),
    "no token": (GOOD, HIDDEN_TOKEN, ["endpoint site: token is missing"], ["endpoint site: token was added"]),
    "token": (HIDDEN_TOKEN, GOOD, ["endpoint site: token is present, should be absent"], ["endpoint site: token was removed"]),
    "another token": (HIDDEN_TOKEN, remote_yaml(site=endpoint(token=TOKEN.format("(hidden, changed)"))),
                      ["endpoint site: token differs from the declared one"], ["endpoint site: token was changed"]),
    "another password": (LOGIN, credentials(("https://k", "(hidden, changed)")),
                         ["login https://k: password differs from the declared one"], ["login https://k: password was changed"]),
    "another login": (credentials(TWO_LOGINS[0]), credentials(TWO_LOGINS[1]),
                      ["login https://o is missing", "login https://k is present, should be absent"],
                      ["login https://o was added", "login https://k was removed"]),
    "order of logins": (credentials(*TWO_LOGINS), credentials(*reversed(TWO_LOGINS)),
                        ["logins: the order differs"], ["logins: the order was changed"]),
    "another registry password": (docker(), docker("(hidden, changed)"),
                                  ["registry login r.example.org: password differs from the declared one"],
                                  ["registry login r.example.org: password was changed"]),
    "username": (docker(), docker(more=',\n\t\t\t"username": "u"'),
                 ["registry login r.example.org: username is not set, should be u"],
                 ["registry login r.example.org: username was not set, is now u"]),
    "no registry login": ("{}\n", docker(), ["registry login r.example.org is missing"], ["registry login r.example.org was added"]),
    "unknown key": ('{"x": {"a": 1}}', '{"x": {"a": 2}}', ['x is {"a": 1}, should be {"a": 2}'], ['x was {"a": 1}, is now {"a": 2}']),
    "mode": ("mode: 0600\n", "mode: 0644\n", ["mode is 0600, should be 0644"], ["mode was 0600, is now 0644"]),
    "owner": ("mode: 0644\nowner: 1000\n", "mode: 0644\nowner: 0\n", ["owner is 1000, should be 0"], ["owner was 1000, is now 0"]),
    "link": ("type: symbolic link\n", "type: file\n", ["file type is symbolic link, should be file"],
             ["file type was symbolic link, is now file"]),
    "braces": ("mode: '{name}'\n", "mode: '{0}'\n", ["mode is {name}, should be {0}"], ["mode was {name}, is now {0}"]),
}
NOT_UNDERSTOOD = {
    "no YAML": ("[", GOOD),
    "no JSON": ("{", "{}"),
    "no mapping": ("a text\n", "another\n"),
    "a list as a key": ("Remotes:\n    1: 2\n", "Remotes:\n    ? [a]\n    : 2\n"),
    "only other quotes": ("mode: '0600'\n", "mode: 0600\n"),
    "alias": ("a: &a [x]\nb: *a\n", "a: [x]\n"),
    "a time before the first year": ("a: !!timestamp 0001-01-01T00:00:00+23:00\n", "a: b\n"),
    "a number of thousands of digits": (f"a: !!int {'1' * 5000}\n", "a: b\n"),
    "a JSON number of thousands of digits": (f'{{"a": {"1" * 5000}}}', '{"a": 1}'),
    "deeply nested": ("[" * 5000, GOOD),
    "too long": (remote_yaml(**{f"e{number}": endpoint() for number in range(3000)}), GOOD),
}


@pytest.mark.parametrize(("before", "after", "drift", "done"), CASES.values(), ids=CASES)
def test_sentences(before, after, drift, done):
    assert list(sentences(before, after)) == drift
    assert list(sentences(before, after, changed=True)) == done


@pytest.mark.parametrize(("before", "after"), NOT_UNDERSTOOD.values(), ids=NOT_UNDERSTOOD)
def test_what_is_not_understood_differs(before, after):
    assert sentences(before, after) == ("the content differs",)
    assert sentences(before, after, changed=True) == ("the content was changed",)


@given(st.text(), st.text())
def test_any_text_differs_if_and_only_if_it_is_not_the_same(before, after):
    assert bool(sentences(before, after)) == (before != after)
