# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every recorded login and logout of Apptainer 1.4 to 1.6 and SingularityCE 4.5, done by our rules.

The same two files, but for the deviations named here.

Every step starts from the recorded files. Apptainer writes the endpoints of the global file into the user's, which we leave to it, so ours
is compared after sync(). What a server refused is not a rule's business, nor is how a token file is read.
"""

from __future__ import annotations

import json
from typing import NamedTuple

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._apptainer.effective import sync
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import ApptainerError, RuleError
from ansible_collections.hpc.apptainer.plugins.module_utils._formats.docker_json import decode as decode_docker_config
from ansible_collections.hpc.apptainer.plugins.module_utils._formats.docker_json import encode
from ansible_collections.hpc.apptainer.plugins.module_utils._formats.remote_yaml_reader import decode
from ansible_collections.hpc.apptainer.plugins.module_utils._rules.logins import (
    Files,
    WantedKeyserverLogin,
    WantedToken,
    converge_logins,
)
from ansible_collections.hpc.apptainer.plugins.module_utils._rules.registries import WantedRegistry, encode_login
from ansible_collections.hpc.apptainer.plugins.module_utils._rules.stored_secrets import stored_secrets
from support.golden import all_cases, check_all, flavor_of

VERSIONS = ("1.4.5", "1.5.3", "1.6.0", "4.5.1")
NOT_OURS = (  # reasons that a server, the way to it, or a token file gave
    "unexpected status code", "error response from server", "{NETERR}", "no authentication service found", "jsonresp:",
    "invalid header field value", "while reading tokenfile")

UNKNOWN = "keys that docker/cli doesn't know are kept"
EMPTY = "docker/cli drops a key that it knows if its value is empty; we keep it"
OTHERS = "docker/cli rewrites logins of other hosts in its own form; we don't touch them"
HUB = "Apptainer from 1.4 leaves the secret of Docker Hub behind (docker/cli #7326)"
ORAS = "docker:// and oras:// share one secret, so a logout removes both from the list"
SPACES = "an HTTP header can't carry white space in a token: refused"
COLON = "a colon would end the username: refused"
SLASH = "a slash behind the host means nothing: tolerated"
NOT_EXTERNAL = "perhaps the global file doesn't have the keyserver yet: a warning"
UNKNOWN_LOGOUT = "an endpoint that doesn't exist has no token: nothing to do"
OLD_COMMAND = "SingularityCE's `remote login` is for endpoints only; we declare a registry, not a command"

# By case and number of the step: the reason, and which of the files differ.
DEVIATIONS = {
    ("reg-existing-unknown-keys", 0): (UNKNOWN, {"docker"}),
    ("authfile-existing", 0): (UNKNOWN, {"docker"}),
    ("reg-existing-no-auths", 0): (EMPTY, {"docker"}),
    ("reg-existing-plain-userpass", 0): (OTHERS, {"docker"}),
    ("reg-logout-hub-docker.io", 0): (HUB, {"docker"}),
    ("reg-logout-hub-index.docker.io", 0): (HUB, {"docker"}),
    ("reg-logout-hub-registry-1.docker.io", 0): (HUB, {"docker"}),
    ("reg-both-schemes", 3): (ORAS, {"user"}),
}
REFUSED_BY_US = {
    ("tokenfile-spaces", 0): SPACES,
    ("tokenfile-inner-space", 0): SPACES,
    ("reg-colon-username", 0): COLON,
}
NOT_REFUSED_BY_US = {
    ("reg-slash", 0): SLASH,
    ("ks-not-configured", 0): NOT_EXTERNAL,
    ("ks-not-external", 0): NOT_EXTERNAL,
    ("token-logout-unknown", 0): UNKNOWN_LOGOUT,
    ("old-remote-login", 0): OLD_COMMAND,
    ("old-remote-login", 2): OLD_COMMAND,
    ("remote-login-insecure-15001", 0): OLD_COMMAND,
    ("remote-login-insecure-15003", 0): OLD_COMMAND,
}


class Step(NamedTuple):
    """A login or logout, with the files before it and after it."""

    key: tuple[str, int]
    case: dict
    step: dict
    texts: dict
    after: dict

    def __str__(self):
        return f"{self.case['id']}-{self.key[1]}"


def steps():
    for case in all_cases("logins"):
        if case["version"] not in VERSIONS:
            continue
        texts = dict.fromkeys(("system", "user", "docker_config", "home_docker_config", "authfile")) | case["before"]
        for number, step in enumerate(case["steps"]):
            after = texts | step["after"]
            group, verb = step["argv"][:2]
            # (registry login and logout without an argument are another mistake, with nothing to declare.)
            if verb in ("login", "logout") and (len(step["argv"]) > 2 or group == "remote"):
                yield Step((case["id"].split("-", 2)[2], number), case, step, texts, after)
            texts = after


STEPS = list(steps())
DONE = [step for step in STEPS if not step.step["exit"]]
REFUSED = [step for step in STEPS if step.step["exit"] and not any(words in step.step["stderr_last"] for words in NOT_OURS)]


def wanted(case, step, active):
    """What the command line asks for, as arguments of converge_logins."""
    (_group, verb, *rest), options = step["argv"], {}
    while rest and rest[0].startswith("--"):
        flag = rest.pop(0)
        options[flag] = True if flag in ("--password-stdin", "--insecure") else rest.pop(0)
    uri = rest[0] if rest else active
    password = options.get("--password") or (step.get("stdin") or "").removesuffix("\n").removesuffix("\r")
    present, username = verb == "login", options.get("--username", "")
    lists = {"tokens": [], "keyservers": [], "registries": []}
    if "://" not in uri and (step["argv"][0] == "remote"):
        lists["tokens"] = [WantedToken(uri, present, (case["files"] or {}).get("token", "").partition("\n")[0] if present else "")]
    elif step["argv"][0] == "keyserver":
        lists["keyservers"] = [WantedKeyserverLogin(uri, present, username, password)]
    else:
        lists["registries"] = [WantedRegistry(uri, present, username, password, "--insecure" in options if present else None)]
    return lists


def docker_file(case, step, texts):
    """Which file holds the secret: that of --authfile; from 1.4, docker's own if Apptainer's doesn't exist. SingularityCE has its own only."""
    if "--authfile" in step["argv"]:
        return "authfile"
    return "docker_config" if texts["docker_config"] is not None or flavor_of(case) == "singularity" else "home_docker_config"


def content(text):
    return decode((text or "").encode(), "remote.yaml").config


def docker_content(recorded, texts):
    return decode_docker_config((texts[docker_file(recorded.case, recorded.step, recorded.texts)] or "").encode(), "docker-config.json")


def our_files(recorded):
    case, step, texts = recorded.case, recorded.step, recorded.texts
    user, system = content(texts["user"]), content(texts["system"])
    lists = wanted(case, step, sync(user, system).active)
    before = Files(user, docker_content(recorded, texts))
    return converge_logins(before, system, **lists, with_credentials="--authfile" not in step["argv"],
                           flavor=flavor_of(case)).files


def same_docker_file(recorded, ours):
    """The same bytes, or no change in both: a file's own last line break stays until somebody writes it."""
    file = docker_file(recorded.case, recorded.step, recorded.texts)
    before, after = recorded.texts[file], recorded.after[file]
    if ours.docker == docker_content(recorded, recorded.texts):
        return after == before
    return after is not None and encode(ours.docker) == after.encode()


@pytest.mark.parametrize("version", VERSIONS)
def test_done(version):
    check_all(check_done, {str(step): step for step in DONE if step.case["version"] == version})


def check_done(recorded):
    if recorded.key in REFUSED_BY_US:
        with pytest.raises(RuleError):
            our_files(recorded)
        return
    ours = our_files(recorded)
    differs = set()
    if sync(ours.remotes, content(recorded.texts["system"])) != content(recorded.after["user"]):
        differs.add("user")
    if not same_docker_file(recorded, ours):
        differs.add("docker")
    assert differs == DEVIATIONS.get(recorded.key, ("", set()))[1]


@pytest.mark.parametrize("version", VERSIONS)
def test_refused(version):
    check_all(check_refused, {str(step): step for step in REFUSED if step.case["version"] == version})


def check_refused(recorded):
    assert content(recorded.after["user"]) == content(recorded.texts["user"])
    if recorded.key in NOT_REFUSED_BY_US:
        our_files(recorded)
        return
    with pytest.raises(ApptainerError):
        our_files(recorded)


def test_deviations_are_nothing_but_what_is_named():
    for recorded in DONE:
        reason, differs = DEVIATIONS.get(recorded.key, ("", set()))
        if differs != {"docker"}:
            continue
        file = docker_file(recorded.case, recorded.step, recorded.texts)
        before, ours, theirs = (json.loads(text) for text in (
            recorded.texts[file], encode(our_files(recorded).docker), recorded.after[file]))
        if reason == HUB:
            assert theirs["auths"].pop("https://index.docker.io/v1/")
        if reason == OTHERS:
            (other,) = (host for host in before["auths"] if host not in ours["auths"] or ours["auths"][host] != theirs["auths"][host])
            assert ours["auths"].pop(other) == before["auths"][other]
            assert theirs["auths"].pop(other) == {"auth": encode_login("u", "p")}
        assert {key: value for key, value in ours.items() if key in theirs} == theirs
        assert {key: value for key, value in ours.items() if key not in theirs}.keys() <= {"HttpHeaders", "customKey", "extra"}


def test_each_deviation_is_of_a_recorded_step():
    assert {*DEVIATIONS, *REFUSED_BY_US} <= {step.key for step in DONE}
    assert NOT_REFUSED_BY_US.keys() <= {step.key for step in REFUSED}


def test_what_was_stored_is_found():
    logins = [step for step in DONE if step.step["argv"][1] == "login" and step.key not in REFUSED_BY_US]
    assert len(logins) > 80
    for recorded in logins:
        user, system = content(recorded.after["user"]), content(recorded.after["system"])
        words = {word for one in stored_secrets(user, docker_content(recorded, recorded.after), system) for word in one}
        (item,) = (item for items in wanted(recorded.case, recorded.step, user.active).values() for item in items)
        if isinstance(item, WantedToken):
            assert item.token in words
        elif isinstance(item, WantedRegistry):
            assert {item.username, item.password} <= words
        else:
            assert words & ({f"Basic {encode_login(item.username, item.password)}"} if item.username else {f"Bearer {item.password}"})
