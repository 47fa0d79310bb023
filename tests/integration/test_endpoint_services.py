# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The services that an endpoint must offer, of which it is asked before it is written."""

from __future__ import annotations

import re

import pytest

ALL = ["library", "keyserver", "token"]


@pytest.fixture
def paths(tmp_path):
    """The remote.yaml of each scope."""
    found = {"user": tmp_path / "home" / ".apptainer" / "remote.yaml", "global": tmp_path / "etc" / "apptainer" / "remote.yaml"}
    for path in found.values():
        path.parent.mkdir(parents=True, mode=0o755)
    return found


@pytest.fixture
def run(run_module, library, tmp_path):
    """Run a module, by default `apptainer_remote`, with the library's CA."""

    def run(args, name="apptainer_remote", **options):
        done = run_module(name, {"sysconfdir": str(tmp_path / "etc"), "ca_path": str(library.ca), "timeout": 5, **args}, **options)
        assert done.result is not None and done.stderr == "", done.stdout + done.stderr
        done.result.pop("invocation", None)
        return done.result

    return run


def seen(library):
    """The requests, but for those to slow services: they are recorded when they are answered, perhaps in the next test."""
    return [request for request in library.seen if "-slow/" not in request.path]


OFFERS = [  # scenario, services that are demanded, what the refusal names (or nothing, if it is none)
    ("good", ALL, ""),
    ("document-no-token", ["library", "keyserver"], ""),
    ("document-slashes", ALL, ""),
    ("document-elsewhere", ALL, ""),
    ("discovery-type", ALL, ""),
    ("discovery-redirect", ALL, ""),
    ("discovery-502-once", ALL, ""),
    ("document-no-token", ALL, r'offers no token service \(it offers: "keyserver", "library"\)'),
    ("document-number", ["token"], r'offers no token service \(it offers: "keyserver", "library"\)'),
    ("document-empty", ["library"], r"offers no library service \(it offers: nothing\)"),
    ("document-empty", ["keyserver"], "offers no keyserver service"),
    ("discovery-latin1", ["token"], "offers no token service"),
    ("document-library-http", ["library"], "offers a library service at http://127.0.0.1:15001, which uses plain http, although the endpoint uses"),
    ("document-loopback", ["library"], "offers a library service at https://127.0.0.1:15001, which is at a loopback or link-local address"),
    ("document-http", ["token"], "offers a token service at http://localhost:.* uses plain http"),
    ("document-empty-uri", ["token"], "offers a token service, but its uri is empty"),
    ("document-ftp", ["token"], "offers a token service, but its uri is not an http or https address"),
    ("document-flat", ["library"], r'JSON of the wrong shape \(text at "tokenAPI"'),
    ("document-version", ["library"], r'JSON of the wrong shape \(text at "version"'),
    ("document-list", ["library"], r"JSON of the wrong shape \(an array"),
    ("discovery-html", ["library"], "a web page instead of a discovery document"),
    ("discovery-json", ["library"], "invalid JSON instead of a discovery document"),
    ("discovery-empty", ["library"], "invalid JSON instead of a discovery document"),
    ("discovery-401", ["library"], "401 Unauthorized.* without logging in"),
    ("discovery-404", ["library"], "404 Not Found.*check uri"),
    ("discovery-500", ["library"], "500 Internal Server Error.* its log"),
    ("discovery-503", ["library"], "503 Service Unavailable"),
    ("discovery-huge", ["library"], "more than 1048576 bytes"),
    ("discovery-close", ["library"], "closed the connection without answering|causes a TLS error"),
    ("discovery-redirect-http", ["library"], "redirects to http://localhost:"),
]


def test_what_an_endpoint_lacks_is_told_apart_and_nothing_is_written(run, library, paths, verify_node):
    remotes = [{"name": f"r{number}", "uri": library.url(scenario), "services": services} for number, (scenario, services, _named) in enumerate(OFFERS)]
    args = {"remotes": remotes}
    foreseen = run(args, "apptainer_remotes", check=True, python=verify_node)
    library.seen.clear()  # else 502-once would be over
    refused = run(args, "apptainer_remotes", python=verify_node)
    assert refused == foreseen
    assert refused["msg"].endswith("Nothing was changed.")
    assert not paths["user"].exists()
    found = {entry["name"]: entry for entry in refused["verification"]}
    assert len(found) == len(OFFERS)
    for number, (scenario, _services, words) in enumerate(OFFERS):
        entry = found[f'services of endpoint "r{number}"']
        assert entry["verified"] is not bool(words), (scenario, entry)
        assert re.search(words or "offers the required services", entry["reason"]), (scenario, entry)
        assert (entry["reason"] in refused["msg"]) == bool(words)
    good = [entry for entry, (_scenario, _services, words) in zip(remotes, OFFERS, strict=True) if not words]
    library.seen.clear()
    done = run(dict(args, remotes=good), "apptainer_remotes", python=verify_node)
    assert (done["changed"], done["verified"]) == (True, True)
    assert paths["user"].read_text().count("URI: ") == len(good)
    assert not any(request.scheme for request in seen(library))


def test_an_endpoint_is_asked_when_it_is_new_and_when_it_moves(run, library, paths):
    args = {"scope": "global", "name": "site", "uri": library.url("good"), "services": ALL, "default": True}
    steps = [  # options, check mode, how many requests, changed, verified
        ({}, True, 1, True, True),
        ({}, False, 1, True, True),
        ({}, False, 0, False, None),
        ({}, True, 0, False, None),
        ({"default": False}, False, 0, True, None),
        ({"verify": "always"}, False, 1, True, True),
        ({"verify": "always"}, False, 1, False, True),
        ({"uri": library.url("document-slashes"), "verify": "never"}, True, 0, True, None),
        ({"uri": library.url("document-slashes")}, False, 1, True, True),
        ({"uri": library.url("good", site="http"), "insecure": True}, False, 1, True, True),
    ]
    for step, (options, check, requests, changed, verified) in enumerate(steps):
        library.seen.clear()
        done = run({**args, **options}, check=check)
        assert (len(seen(library)), done["changed"], done["verified"]) == (requests, changed, verified), (step, done)
        assert [entry["name"] for entry in done["verification"]] == ['services of endpoint "site"']
    before = paths["global"].read_bytes()
    assert "failed" in run(dict(args, uri=library.url("discovery-404"), insecure=False))
    assert paths["global"].read_bytes() == before


@pytest.mark.parametrize(("scenario", "verify", "fails"), [
    ("discovery-404", "changed", False), ("discovery-404", "always", True), ("good", "always", False), ("discovery-404", "never", False)])
def test_an_endpoint_that_is_there_and_offers_nothing_now(run, library, paths, scenario, verify, fails):
    paths["global"].write_text(f"Active: site\nRemotes: {{site: {{URI: //{library.uri(scenario)}, System: true}}}}\n")
    paths["global"].chmod(0o644)
    before = paths["global"].read_bytes()
    done = run({"scope": "global", "name": "site", "services": ["library"], "verify": verify})
    assert (bool(done.get("failed")), bool(seen(library))) == (fails, verify == "always")
    assert paths["global"].read_bytes() == before


def test_endpoints_are_asked_side_by_side_and_one_that_fails_keeps_all_from_being_written(run, library, paths):
    library.delay = 2
    slow = [{"name": f"slow{number}", "uri": library.url("discovery-slow"), "services": ["library"]} for number in range(6)]
    bad = {"name": "bad", "uri": library.url("discovery-404"), "services": ["token"]}
    refused = run({"scope": "global", "remotes": [*slow, bad]}, "apptainer_remotes")
    assert library.most_at_once == len(slow)
    assert 'services of endpoint "bad"' in refused["msg"] and "slow" not in refused["msg"]
    assert [entry["verified"] for entry in refused["verification"]] == [False] + [True] * 6
    assert not paths["global"].exists()
    assert run({"scope": "global", "remotes": slow}, "apptainer_remotes")["verified"] is True
    assert paths["global"].read_text().count("URI: ") == 6


@pytest.mark.parametrize(("services", "verified"), [(["keyserver"], True), (["keyserver", "library"], False)])
def test_what_apptainer_knows_of_the_built_in_endpoint_is_asked_of_nobody(run, services, verified):
    args = {"scope": "global", "name": "DefaultRemote", "uri": "cloud.apptainer.org", "services": services, "timeout": 0.001}
    done = run(args, check=True)
    assert done["verified"] is verified
    assert verified or "has no library" in done["msg"]


@pytest.mark.parametrize("services", [["keyserver"], ["library"]])
def test_singularity_knows_nothing_of_it(run, services):
    """So the endpoint is asked, which takes longer than it may."""
    args = {"flavor": "singularity", "scope": "global", "name": "DefaultRemote", "uri": "cloud.apptainer.org", "services": services, "timeout": 0.001}
    done = run(args, check=True)
    assert done["verified"] is False
    assert "did not answer within 0.001 seconds" in done["msg"]
    assert "library at" not in done["msg"]


def test_a_token_and_services_of_one_endpoint(run, library, paths):
    args = {"name": "mine", "uri": library.url("good"), "services": ALL, "token": library.account.token, "default": True}
    done = run(args)
    assert (done["verified"], [entry["name"] for entry in done["verification"]]) == (True, ['endpoint "mine"', 'services of endpoint "mine"'])
    paths["user"].unlink()
    refused = run(dict(args, uri=library.url("document-no-token")))
    assert [entry["verified"] for entry in refused["verification"]] == [False, False]
    assert not paths["user"].exists()


def test_services_that_do_not_exist_are_refused(run, library):
    refused = run({"name": "mine", "uri": library.url("good"), "services": ["library", "builder"]})
    assert "builder" in refused["msg"]
    assert seen(library) == []


def test_an_endpoint_to_be_removed_need_not_offer_anything(run, library, paths):
    paths["user"].write_text("Active: b\nRemotes: {a: {URI: a.example.org}, b: {URI: b.example.org}}\n")
    done = run({"name": "a", "state": "absent", "services": ALL, "verify": "always"})
    assert (done["changed"], done["verification"], seen(library)) == (True, [], [])


@pytest.mark.parametrize("scenario", ["document-library-http", "document-loopback"])
def test_a_service_that_is_not_demanded_and_leads_elsewhere_is_a_warning_and_a_finding(run, run_module, library, paths, scenario):
    """In the module, in what verifies a fleet, and in what asks the servers of what is there."""
    uri, where = library.url(scenario), "https" * (scenario == "document-loopback") or "http"
    where = f"offers a library service at {where}://127.0.0.1:15001, which"
    done = run({"name": "site", "uri": uri, "services": ["token"], "token": library.account.token})
    assert done["changed"] and done["verified"] is True
    found = [text for text in done["warnings"] if where in text]
    assert ["Apptainer sends the token there" in text for text in found] == [True, False]

    fleet = run_module("apptainer_verify", {"declarations": [{"remotes": [{"name": "site", "uri": uri}]}], "ca_path": str(library.ca)}).result
    assert fleet["verified"] is True
    assert [where in text for text in fleet["warnings"]] == [True]

    info = run({"check": ["services"]}, "apptainer_remote_info")
    (finding,) = [finding for finding in info["findings"] if finding["id"] == "insecure-service"]
    assert (finding["severity"], finding["remote"], finding["path"]) == ("error", "site", str(paths["user"]))
    assert where in finding["message"]
    assert "insecure-service" not in [finding["id"] for finding in run({}, "apptainer_remote_info")["findings"]]


@pytest.mark.parametrize("module", ["apptainer_remote", "apptainer_logins"])
def test_a_token_goes_nowhere_in_clear_without_a_word(run, library, paths, module):
    """What the global file says is known without asking any server; a second run stores nothing, and has nothing to say."""
    paths["global"].write_text(
        "Active: site\nRemotes:\n  site:\n    URI: library.example.org\n    System: true\n    Exclusive: false\n    Keyservers:\n"
        "    - URI: http://keys.example.org\n      Skip: false\n      External: false\n      Insecure: false\n")
    login = {"name": "site", "token": library.account.token}
    args = {"verify": "never", **(login if module == "apptainer_remote" else {"remotes": [login]})}
    words = ('endpoint "site": its keyserver http://keys.example.org uses plain http, although the endpoint uses https, and Apptainer sends the '
             "token there; give the keyserver another uri, or do not log in")
    assert words in run(args, module)["warnings"]
    again = run(args, module)
    assert not again["changed"] and words not in again["warnings"]
    assert seen(library) == []
