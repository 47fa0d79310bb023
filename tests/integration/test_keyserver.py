# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One keyserver of a global endpoint, as a real process on a real file, with a real endpoint to ask for its built-in keyserver."""

from __future__ import annotations

import pytest
import yaml
from support import leaks

PASSWORD = "pa55-in-the-uri"
GLOBAL = """\
# The site's endpoints.

Active: site
Remotes:
    DefaultRemote:
        URI: cloud.apptainer.org
        System: true
        Exclusive: false
    bare:
        URI: bare.example.org
        System: true
        Exclusive: false
        Insecure: true
    mine:
        URI: mine.example.org
        System: false
        Exclusive: false
    site:
        URI: library.example.org
        System: true
        Exclusive: true
        Keyservers:
            - URI: https://own.example.org
              Skip: false
              External: false
              Insecure: false
            - URI: https://keys.example.org
              Skip: false
              External: true
              Insecure: false
    two:
        URI: two.example.org
        System: true
        Exclusive: false
        Keyservers:
            - URI: https://own.example.org
              Skip: true
              External: false
              Insecure: false
            - URI: https://keys.example.org
              Skip: false
              External: true
              Insecure: false
"""


@pytest.fixture
def etc(tmp_path):
    (tmp_path / "etc" / "apptainer").mkdir(parents=True)
    path = tmp_path / "etc" / "apptainer" / "remote.yaml"
    path.write_text(GLOBAL)
    path.chmod(0o644)
    return path


@pytest.fixture
def run(run_module, tmp_path):
    """Run it for a new keyserver, with so short a timeout that whoever asks anyone fails, unless the options say otherwise."""

    def run(args, **options):
        given = {"sysconfdir": str(tmp_path / "etc"), "uri": "https://new.example.org", "timeout": 0.001, **args}
        done = run_module("apptainer_keyserver", {name: value for name, value in given.items() if value is not None}, **options)
        assert done.result is not None and done.stderr == "", done.stdout + done.stderr
        assert not leaks.leaked(done.stdout, leaks.forms("someone", PASSWORD))
        done.result.pop("invocation", None)
        return done.result

    return run


@pytest.fixture
def thrice(run, etc):
    """Foresee it in check mode, do it, and see that there is nothing more to do."""

    def thrice(args, **options):
        before = etc.read_bytes()
        foreseen = run(args, check=True, diff=True, **options)
        assert etc.read_bytes() == before
        done = run(args, diff=True, **options)
        assert done == foreseen
        assert done["changed"] == (etc.read_bytes() != before) == (done["diff"][0]["before"] != done["diff"][0]["after"])
        state = etc.read_bytes(), etc.stat().st_mtime_ns, etc.stat().st_ino
        assert not run(args, **options)["changed"]
        assert (etc.read_bytes(), etc.stat().st_mtime_ns, etc.stat().st_ino) == state
        return done

    return thrice


def listed(etc, name):
    """The keyservers of an endpoint in the file: their hosts, with a mark for what is special."""
    marks = {"Skip": "skipped", "Insecure": "insecure"}
    servers = yaml.safe_load(etc.read_text())["Remotes"][name].get("Keyservers", [])
    return [" ".join([server["URI"].partition("://")[2].removesuffix(".example.org"), *["own"] * (not server["External"]),
                      *(word for key, word in marks.items() if server[key])]) for server in servers]


PLACES = [  # endpoint, options, its keyservers then
    ("site", {}, ["own own", "keys", "new"]),
    (None, {}, ["own own", "keys", "new"]),
    ("site", {"order": 1}, ["new", "own own", "keys"]),
    ("site", {"order": 2, "insecure": True}, ["own own", "new insecure", "keys"]),
    ("site", {"uri": "https://keys.example.org", "order": 1}, ["keys", "own own"]),
    ("site", {"uri": "https://keys.example.org", "insecure": True}, ["own own", "keys insecure"]),
    ("site", {"uri": "hkps://keys.example.org"}, ["own own", "keys"]),
    ("site", {"uri": "https://keys.example.org", "state": "absent"}, ["own own"]),
    ("site", {"uri": "https://own.example.org", "state": "absent"}, ["keys", "own own skipped"]),
    ("site", {"uri": "https://nowhere.example.org", "state": "absent"}, ["own own", "keys"]),
    ("two", {}, ["keys", "new", "own own skipped"]),
    ("two", {"uri": "https://own.example.org", "order": 1}, ["own own", "keys"]),
    ("bare", {"builtin_uri": "https://own.example.org"}, ["own own", "new"]),
    ("bare", {"builtin_uri": "https://own.example.org", "verify": "never"}, ["own own", "new"]),
    ("bare", {"state": "absent", "verify": "never"}, []),
    ("DefaultRemote", {}, ["keys.openpgp.org own", "new"]),
    ("DefaultRemote", {"uri": "https://keys.openpgp.org"}, []),
]


@pytest.mark.parametrize(("name", "args", "keyservers"), PLACES)
def test_a_keyserver_gets_its_place_and_all_else_stays(thrice, etc, name, args, keyservers):
    result = thrice({"remote": name, **args})
    name = name or "site"
    assert listed(etc, name) == keyservers
    assert [server["uri"] for server in result["remote"]["keyservers"]] == [
        server["URI"] for server in yaml.safe_load(etc.read_text())["Remotes"][name].get("Keyservers", [])]
    assert result["remote"]["name"] == name
    before, after = yaml.safe_load(GLOBAL), yaml.safe_load(etc.read_text())
    for content in (before, after):
        content["Remotes"][name].pop("Keyservers", None)
    assert after == before
    assert etc.read_text().startswith("# The site's endpoints.\n")


def test_the_shape_of_the_result(run, etc):
    result = run({"remote": "two", "backup": True})
    with open(result.pop("backup_file"), encoding="utf-8") as backup:
        assert backup.read() == GLOBAL
    assert result == {"changed": True, "config_file": str(etc), "warnings": [], "remote": {
        "name": "two", "uri": "two.example.org", "insecure": False, "default": False, "exclusive": False, "system": True, "logged_in": False,
        "keyservers": [
            {"uri": "https://keys.example.org", "insecure": False, "builtin": False, "skip": False},
            {"uri": "https://new.example.org", "insecure": False, "builtin": False, "skip": False},
            {"uri": "https://own.example.org", "insecure": False, "builtin": True, "skip": True},
        ]}}  # fmt: skip


REFUSALS = [  # options, words
    ({"remote": "gone", "uri": "ftp://new.example.org"}, 'endpoint "gone"'),
    ({"remote": "mine"}, 'endpoint "mine": the global file does not mark it as global'),
    ({"remote": "site", "order": 4}, "order 4 is out of range (1-3"),
    ({"remote": "site", "order": 0}, "order is 0, but it counts the keyservers in use from 1"),
    ({"remote": "two", "uri": "https://keys.example.org", "state": "absent"}, "is the only one in use"),
    ({"remote": "DefaultRemote", "uri": "https://keys.openpgp.org", "state": "absent"}, "is the only one in use"),
    ({"uri": "ftp://new.example.org"}, 'endpoint "site": keyserver uri has no host, or a scheme that Apptainer cannot use'),
    ({"uri": f"https://someone:{PASSWORD}@new.example.org"}, "has a user name or password"),
    ({"remote": "bare", "builtin_uri": f"https://someone:{PASSWORD}@own.example.org"}, "has a user name or password"),
    ({"remote": "bare", "builtin_uri": "own.example.org"}, "its built-in keyserver cannot be stored"),
    ({"uri": None}, "missing required arguments: uri"),
    ({"remote": "bare", "verify": "never"}, 'endpoint "bare": a list of keyservers begins with the endpoint\'s built-in one, for which verify: never does'),
]


@pytest.mark.parametrize(("args", "words"), REFUSALS)
def test_what_is_refused_is_said_with_the_reason_and_changes_nothing(run, etc, args, words):
    for check in (True, False):
        refused = run(args, check=check)
        assert refused["failed"]
        assert words in refused["msg"]
        assert "\n" not in refused["msg"]
    assert etc.read_text() == GLOBAL


@pytest.mark.parametrize(("text", "words"), [
    (GLOBAL.replace("Active: site\n", ""), "the global file has no default endpoint; set remote"),
    (GLOBAL.replace("Active: site", "Active: gone"), 'endpoint "gone": it is the default, but is not in the global file'),
    (GLOBAL.replace("        System: true", "        Sytem: true", 1), "line 7, column 9"),
    ("Active: [\n", "line 2, column 1"),
    ("", "the global file has no default endpoint"),
])
def test_a_global_file_that_is_not_as_it_should_be(run, etc, text, words):
    etc.write_text(text)
    for check in (True, False):
        assert words in run({}, check=check)["msg"]
    assert etc.read_text() == text


def test_no_global_file(run, etc):
    etc.unlink()
    assert "is not in the global file; add it first" in run({"remote": "site"})["msg"]
    assert "has no default endpoint" in run({}, check=True)["msg"]
    assert list(etc.parent.iterdir()) == []


@pytest.mark.parametrize("text", [GLOBAL, None])
@pytest.mark.parametrize("options", [{}, {"order": 3}, {"builtin_uri": "https://own.example.org"}])
def test_an_endpoint_that_an_earlier_task_may_make(run, etc, text, options):
    """Only check mode believes in it; nobody is asked."""
    if text is None:
        etc.unlink()
    before = sorted(etc.parent.iterdir())
    foreseen = run({"remote": "gone", **options}, check=True, diff=True)
    assert foreseen["changed"]
    assert foreseen["warnings"] == ['endpoint "gone": it is not in the global file yet; a real run fails unless an earlier task adds it']
    own = [options["builtin_uri"]] if "builtin_uri" in options else []
    assert [server["uri"] for server in foreseen["remote"]["keyservers"]] == [*own, "https://new.example.org"]
    assert "+" not in foreseen["diff"][0]["before"] and "new.example.org" in foreseen["diff"][0]["after"]
    assert 'endpoint "gone": it is not in the global file; add it first' in run({"remote": "gone", **options})["msg"]
    assert sorted(etc.parent.iterdir()) == before
    assert text is None or etc.read_text() == text


@pytest.mark.parametrize("text", [GLOBAL, GLOBAL.replace("Active: site\n", ""), GLOBAL.replace("Active: site", "Active: gone"), None])
def test_where_there_is_no_endpoint_there_is_no_keyserver_to_remove(thrice, run, etc, text):
    if text is None:
        etc.unlink()
    else:
        etc.write_text(text)
    names = ["gone"] if text == GLOBAL else ["gone", None]
    for name in names:
        for check in (True, False):
            result = run({"remote": name, "state": "absent"}, check=check, diff=True)
            assert (result["changed"], result["remote"], result["warnings"]) == (False, None, [])
    assert (etc.read_text() if etc.exists() else None) == text


# The endpoint's built-in keyserver, asked of the endpoint

@pytest.fixture
def live(library, etc):
    """Write a global file with the endpoint of a scenario."""

    def write(scenario, site="https"):
        insecure = ", Insecure: true" if site == "http" else ""
        etc.write_text(f"Active: live\nRemotes: {{live: {{URI: //{library.uri(scenario, site)}, System: true{insecure}}}}}\n")
        return {"ca_path": str(library.ca), "timeout": 5}

    return write


def paths(library):
    return [request.path for request in library.seen if "-slow/" not in request.path]


def test_the_endpoint_is_asked_for_its_own_keyserver_once(run, library, live, etc, verify_node):
    args, own = live("good"), library.url("good", "keystore")
    asked = ["/good/assets/config/config.prod.json"]
    results = []
    for check, requests in ((True, asked), (False, asked * 2), (False, asked * 2)):
        results.append(run(args, check=check, diff=True, python=verify_node))
        assert paths(library) == requests
    assert results[0] == results[1]
    assert [result["changed"] for result in results] == [True, True, False]
    assert not any(request.scheme for request in library.seen)
    servers = results[1]["remote"]["keyservers"]
    assert [(server["uri"], server["builtin"]) for server in servers] == [(own, True), ("https://new.example.org", False)]
    # from now on the list is there, and says all
    for more in ({"order": 1}, {"uri": own, "state": "absent"}, {"uri": own, "order": 1}):
        assert run({**args, **more}, python=verify_node)["changed"]
    assert paths(library) == asked * 2


def test_an_insecure_endpoint_is_asked_by_http(run, library, live, etc):
    servers = run(live("good", "http"))["remote"]["keyservers"]
    assert [server["uri"] for server in servers] == [library.url("good", "keystore", "http"), "https://new.example.org"]
    assert [(request.site, request.path) for request in library.seen if "-slow/" not in request.path] == [
        ("http", "/good/assets/config/config.prod.json")]


def test_the_own_keyserver_of_an_endpoint_without_a_list_is_there_already(thrice, library, live, etc):
    args = live("good")
    before = etc.read_bytes()
    assert not thrice({**args, "uri": library.url("good", "keystore")})["changed"]
    assert etc.read_bytes() == before


@pytest.mark.parametrize(("scenario", "site", "options", "words"), [
    ("discovery-404", "https", {}, "404 Not Found"),
    ("discovery-html", "https", {}, "a web page instead of a discovery document"),
    ("document-empty", "https", {}, "offers no keyserver service"),
    ("document-list", "https", {}, "JSON of the wrong shape"),
    ("discovery-slow", "https", {"timeout": 0.5}, "within 0.5 seconds"),
    ("good", "https", {"ca_path": "/does/not/exist"}, 'ca_path "/does/not/exist" cannot be read'),
    ("good", "expired", {}, "has an expired certificate"),
])
def test_an_endpoint_that_does_not_say_is_named_with_the_way_without_asking(run, library, live, etc, scenario, site, options, words):
    args = {**live(scenario, site), **options}
    before = etc.read_bytes()
    for check in (True, False):
        refused = run(args, check=check)
        assert refused["msg"].startswith('endpoint "live": ')
        assert words in refused["msg"]
        assert "builtin_uri" in refused["msg"]
        assert etc.read_bytes() == before
    assert run({**args, "builtin_uri": "https://own.example.org"})["changed"]
    assert listed(etc, "live") == ["own own", "new"]
