# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files and options that nobody means: an answer in words, and nothing written that could not be read again."""

from __future__ import annotations

import json
import sys

import pytest
from support import envs, processes
from support.files import snapshot
from support.tables import table

DIGITS = "1" * 5000  # Python from 3.11 on converts no more than 4,300 to a number
LOGIN = {"uri": "docker://h.example", "username": "u", "password": "some-pa55word", "verify": "never"}
ENDPOINT = {"name": "a", "uri": "https://h.example", "verify": "never"}


@pytest.fixture
def user(tmp_path):
    """The directory of the user's files."""
    directory = tmp_path / "home" / ".apptainer"
    directory.mkdir(parents=True, mode=0o700)
    return directory


@pytest.fixture
def run(run_module, tmp_path):
    """Run a module. It may fail, but not crash."""

    def run(name, args, **options):
        done = run_module(name, {"sysconfdir": str(tmp_path / "etc"), **args}, **options)
        assert done.result is not None, done.stdout[:1000] + done.stderr[-1000:]
        assert done.stderr == ""
        return done

    return run


# Numbers

def test_files_with_numbers_of_thousands_of_digits(run, user, tmp_path):
    remotes, docker, token = user / "remote.yaml", user / "docker-config.json", tmp_path / "token"
    remotes.write_text(f"Active: {DIGITS}\nRemotes:\n  a:\n    URI: {DIGITS}\n    Token: {DIGITS}\nCredentials:\n- URI: {DIGITS}\n  Auth: {DIGITS}\n")
    docker.write_text(f'{{"x": {DIGITS}, "auths": {{"h": {{"y": -1e{DIGITS}}}}}}}')
    token.write_text(DIGITS)
    for file in (remotes, docker, token):
        file.chmod(0o600)
    assert run("apptainer_remote_info", {"include": ["files"]}).result["user"]["default"] == DIGITS
    changed = run("apptainer_remote", {**ENDPOINT, "name": "b", "token_file": str(token)}, diff=True)
    assert changed.result["changed"]
    assert DIGITS not in changed.stdout
    assert run("apptainer_registry_login", LOGIN, diff=True).result["changed"]
    assert f'"x": {DIGITS}' in docker.read_text()
    assert f"Active: {DIGITS}\n" in remotes.read_text()  # beyond what a float can be, so Go, too, takes it for text


@pytest.mark.parametrize(("module", "args", "words"), table([
    ("the port of an endpoint", "apptainer_remote", {**ENDPOINT, "uri": f"https://h:{DIGITS}"}, "uri has the port 11111111111111111111..., which"),
    ("the port of a registry", "apptainer_registry_login", {**LOGIN, "uri": f"docker://h:{DIGITS}"}, "uri has no valid host name"),
    ("an order", "apptainer_keyserver", {"uri": "https://h", "order": DIGITS}, "order is a number of more than 19 digits; correct it"),
    ("an owner", "apptainer_remote", {**ENDPOINT, "owner": DIGITS}, "owner 11111111111111111111... is neither a name nor an id that Linux has"),
    ("a group of 32 bits", "apptainer_remote", {**ENDPOINT, "group": "4294967295"}, "group 4294967295 is neither a name nor an id that Linux has"),
    ("a timeout without end", "apptainer_remote", {**ENDPOINT, "timeout": "inf", "verify": "always", "services": ["library"]},
     "timeout is inf, but must be more than 0"),
    ("a timeout that is no number", "apptainer_users_info", {"timeout": "nan"}, "timeout is nan, but must be more than 0"),
    ("half a character", "apptainer_remote", {**ENDPOINT, "uri": "https://h\ud800"}, "uri has a lone surrogate, half of a character, which cannot"),
    ("half a character in a path", "apptainer_remote", {**ENDPOINT, "config_file": "/\udfff"}, "config_file has a lone surrogate"),
]))
@pytest.mark.parametrize("check", [True, False])
def test_options_that_nothing_can_hold(run, user, module, args, words, check):
    failed = run(module, args, check=check).result
    assert failed["failed"]
    assert words in failed["msg"]
    assert not list(user.iterdir())


@pytest.mark.parametrize("name", [DIGITS, "\u00b2", "\u0661\u0660"])
def test_users_that_are_no_numbers(run, name):
    (entry,) = run("apptainer_users_info", {"users": [name]}).result["users"]
    assert "is neither a user name nor a uid on this node" in entry["error"]


# Sizes

@pytest.mark.parametrize(("file", "text", "module", "args", "words"), table([
    ("quotes that are doubled", "remote.yaml", 'Remotes:\n  a: {Token: "# ' + "'" * (9 << 20) + '"}\n', "apptainer_remote", {**ENDPOINT, "name": "b"},
     "would have 18432 KiB after this change, but no more than 16384 KiB are read of it, so it is unchanged"),
    ("white space that is added", "docker-config.json", f'{{"x": [{",".join(["[]"] * 200_000)}]}}', "apptainer_registry_login", LOGIN,
     "would have 1171 KiB after this change, but no more than 1024 KiB are read of it, so it is unchanged"),
    ("aliases", "remote.yaml", "Remotes:\n  a: {Token: &t " + "t" * 150_000 + "}\n" + "".join(f"  b{n}: {{Token: *t}}\n" for n in range(138)),
     "apptainer_remote", ENDPOINT, "repeat more than 1024 KiB; so large a file is not read"),
]))
@pytest.mark.parametrize("check", [True, False])
def test_what_would_be_too_large_to_read_is_not_written(run, user, file, text, module, args, words, check):
    (user / file).write_text(text)
    before = snapshot(user)
    failed = run(module, args, check=check, diff=True).result
    assert failed["failed"]
    assert words in failed["msg"]
    assert snapshot(user) == before


def test_aliases_make_no_large_result(run, user):
    """Of 8 KB, they made one of 24 MB."""
    keyservers = ", ".join(["{}"] * 2000)
    copies = "".join(f"  b{number}: {{Keyservers: *k}}\n" for number in range(95))
    (user / "remote.yaml").write_text(f"Remotes:\n  a: {{Keyservers: &k [{keyservers}]}}\n{copies}")
    info = run("apptainer_remote_info", {})
    assert "repeat more than 1024 KiB" in (info.result["user"]["error"] or "")
    size = len(info.stdout)
    assert size < 10_000


def test_a_diff_of_many_logins_is_no_larger_than_they_are(run, user):
    """Of 2,000 keys that differ in the password only, it had 24 MB; of 8,000, 384 MB."""
    (user / "docker-config.json").write_text(json.dumps({"auths": {f"u:{number}@h": {} for number in range(2000)}}))
    done = run("apptainer_registry_login", LOGIN, check=True, diff=True)
    assert done.result["changed"]
    size = len(done.stdout)
    assert size < 300_000


# The proof before a write

BROKEN_WRITERS = {  # the file, the module that writes it, and what its encoder makes of the right bytes
    "an endpoint is lost": ("remote_yaml_writer", b"Active: \"\"\nRemotes: {}\n"),
    "Apptainer would refuse it": ("remote_yaml_writer", b"# nothing\n"),
    "it is no YAML": ("remote_yaml_writer", b"Active: [\n"),
    "a login is lost": ("docker_json", b'{"auths": {}}'),
    "it is no JSON": ("docker_json", b"{"),
}
BREAKING = """
import sys
sys.path.insert(0, {modlib!r})
from ansible_collections.hpc.apptainer.plugins.module_utils._formats import {writer}
{writer}.encode = lambda *_arguments: {data!r}
sys.argv[1:] = [{modlib!r}, sys.argv[1]]
"""


@pytest.mark.parametrize(("writer", "data"), BROKEN_WRITERS.values(), ids=BROKEN_WRITERS)
@pytest.mark.parametrize("check", [True, False])
def test_nothing_is_written_that_does_not_read_back_as_meant(user, tmp_path, writer, data, check):
    """With an encoder that is broken, as it could be by an error that no test has found: the file stays, and the task says so."""
    (user / "remote.yaml").write_text("Active: mine\nRemotes:\n  mine:\n    URI: h.example.org\n    Token: t\n")
    (user / "docker-config.json").write_text('{"auths": {"old.example": {"auth": "dTpw"}}}')
    before = snapshot(user)
    name, args = ("apptainer_remote", ENDPOINT) if writer == "remote_yaml_writer" else ("apptainer_registry_login", LOGIN)
    controls = {"_ansible_check_mode": check, "_ansible_module_name": name, "sysconfdir": str(tmp_path / "etc")}
    core = envs.core("running")
    program = BREAKING.format(modlib=str(core / "modlib"), writer=writer, data=data) + processes.LAUNCHER
    done = processes.run(sys.executable, "-c", program, f"ansible_collections.hpc.apptainer.plugins.modules.{name}",
                         env=processes.clean_env(tmp_path / "home"), stdin=json.dumps({"ANSIBLE_MODULE_ARGS": {**args, **controls}}))
    result = json.loads(done.stdout)
    assert result["failed"], done.stdout
    assert result["msg"].startswith(str(user / ("remote.yaml" if writer == "remote_yaml_writer" else "docker-config.json")))
    assert {name: state for name, state in snapshot(user).items() if "lock" not in str(name)} == before
