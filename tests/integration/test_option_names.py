# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options under the names that people bring along: those that mean the same are taken, the others are refused with the right one."""

from __future__ import annotations

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._options import _ADVICE, ALIASES
from support import leaks
from support.files import snapshot
from support.specs import MODULES, spec
from support.tables import table

SECRET = "s3cretS3CRET-of-a-login"


def walk(options, above=""):
    """Each option, also in lists: its place, its name, its specification, and the options beside it."""
    for name, option in options.items():
        yield above + name, name, option, options
        yield from walk(option.get("options", {}), f"{above}{name}.")


OPTIONS = [(f"{module}: {place}", name, option, beside) for module in MODULES for place, name, option, beside in walk(spec(module))]


def test_the_same_option_has_the_same_other_names_everywhere():
    wrong = []
    for place, name, option, _beside in OPTIONS:
        is_registry = name == "uri" and ("registry_login" in place or "registries" in place)
        if option.get("aliases", []) != ALIASES.get("uri of a registry" if is_registry else name, []):
            wrong.append(place)
    assert wrong == []
    assert {name for _place, name, option, _beside in OPTIONS if "aliases" in option} == set(ALIASES) - {"uri of a registry"}


def test_advice_is_about_no_name_of_ours_and_leads_to_options_that_exist():
    own = {name for _place, name, _option, _beside in OPTIONS} | {other for names in ALIASES.values() for other in names}
    assert set(_ADVICE) & own <= {"username", "password", "token"}  # each where another one is
    beside = {name for _place, _name, _option, options in OPTIONS for name in options}
    assert {option for advice in _ADVICE.values() for option in advice} <= beside


LOGIN = {"username": "u", "password": SECRET}
NAMES = table([  # module, options by other names, by their own
    ("one registry", "apptainer_registry_login", {"registry": "docker://r", "authfile": "{}/auth.json", "tls_verify": False, "ca_cert": "/ca", **LOGIN},
     {"uri": "docker://r", "auth_file": "{}/auth.json", "validate_certs": False, "ca_path": "/ca", **LOGIN}),
    ("a registry as docker_login has it", "apptainer_registry_login", {"registry_url": "docker://r", "tlsverify": False, **LOGIN},
     {"uri": "docker://r", "validate_certs": False, **LOGIN}),
    ("a keyserver", "apptainer_keyserver_login", {"url": "https://k.example.org", "password": SECRET},
     {"uri": "https://k.example.org", "password": SECRET}),
    ("lists", "apptainer_logins",
     {"keyservers": [{"url": "https://k.example.org", "password": SECRET}], "registries": [{"registry": "oras://r", **LOGIN}, {"url": "docker://q", **LOGIN}],
      "authfile": "{}/auth.json"},
     {"keyservers": [{"uri": "https://k.example.org", "password": SECRET}], "registries": [{"uri": "oras://r", **LOGIN}, {"uri": "docker://q", **LOGIN}],
      "auth_file": "{}/auth.json"}),
    ("endpoints", "apptainer_remotes",
     {"scope": "global", "remotes": [{"name": "site", "url": "https://s.example.org", "keyservers": [{"url": "https://k.example.org"}]}]},
     {"scope": "global", "remotes": [{"name": "site", "uri": "https://s.example.org", "keyservers": [{"uri": "https://k.example.org"}]}]}),
    ("an endpoint", "apptainer_remote", {"name": "site", "url": "https://s.example.org", "tokenfile": "{}/token"},
     {"name": "site", "uri": "https://s.example.org", "token_file": "{}/token"}),
])


@pytest.mark.parametrize(("module", "others", "own"), NAMES)
def test_other_names_are_taken(run_module, tmp_path, module, others, own):
    """What is declared by other names is then in state by the own names."""
    (tmp_path / "token").write_text(SECRET)
    (tmp_path / "token").chmod(0o600)

    def run(options):
        given = {name: value.replace("{}", str(tmp_path)) if isinstance(value, str) else value for name, value in options.items()}
        done = run_module(module, {"sysconfdir": str(tmp_path / "etc"), "verify": "never", **given})
        assert done.rc == 0, done.stdout + done.stderr
        assert SECRET not in done.stdout
        return done.result["changed"]

    assert run(others)
    before = snapshot(tmp_path)
    assert not run(own)
    assert snapshot(tmp_path) == before


REFUSED = table([  # module, options beside what the module needs, the message
    ("global", "apptainer_remote", {"name": "site", "uri": "h", "global": True},
     "global is not an option here; set scope: global instead, or scope: user for the user's own file"),
    ("global in a list", "apptainer_remotes", {"scope": "global", "remotes": [{"name": "a"}, {"name": "site", "global": True}]},
     "remotes[1].global is not an option here; remove it from the entry, because all entries of the list go into the same file"),
    ("global for a keyserver", "apptainer_keyserver", {"uri": "https://k", "global": True},
     "global is not an option here; remove it, because keyservers are always in the global file"),
    ("global for logins", "apptainer_logins", {"global": False, "registries": []},
     "global is not an option here; remove it, because logins are always in the user's own file"),
    ("docker_login", "apptainer_registry_login",
     {"registry_url": "docker://r", **LOGIN, "email": SECRET, "reauthorize": True, "config_path": "~/.docker/config.json"},
     "email is not an option here; remove it, because no server asks for it. "
     "reauthorize is not an option here; set verify: always to have a stored login verified again. "
     "config_path is not an option here; set auth_file instead, or nothing: by default it is Apptainer's own docker-config.json"),
    ("podman_login", "apptainer_registry_login", {"registry": "docker://r", **LOGIN, "certdir": "/c"},
     "certdir is not an option here; set ca_path, client_cert and client_key to the files in that directory"),
    ("podman_logout", "apptainer_registry_login", {"all": True, "state": "absent"},
     "all is not an option here; to remove all logins to registries, use apptainer_logins with prune: true and registries: []"),
    ("remote login -u -p", "apptainer_remote", {"name": "site", **LOGIN},
     "username is not an option here; set token instead; a user name and password are for keyservers and registries. "
     "password is not an option here; set token instead; a user name and password are for keyservers and registries"),
    ("a token for a registry", "apptainer_logins", {"registries": [{"uri": "docker://r", "username": "u", "token": SECRET}]},
     "registries[0].token is not an option here; set password to the token"),
    ("flags of remote add", "apptainer_remote", {"name": "site", "no_login": True, "no_default": True, "config": "/f"},
     "no_login is not an option here; remove it, because a task logs in only with token or token_file. "
     "no_default is not an option here; remove it, because an endpoint becomes the default only with default: true. "
     "config is not an option here; set config_file instead"),
    ("in a list in a list", "apptainer_verify", {"declarations": [{"logins": {"registries": [{"uri": "docker://r", "token": SECRET}]}}]},
     "declarations[0].logins.registries[0].token is not an option here; set password to the token"),
])


@pytest.mark.parametrize(("module", "options", "message"), REFUSED)
def test_names_that_mean_something_else_are_refused_with_what_to_do(run_module, tmp_path, node_python, module, options, message):
    done = run_module(module, options, python=node_python)
    assert (done.rc, done.result["failed"], done.stderr) == (1, True, ""), done.stdout + done.stderr
    assert sorted(done.result["msg"].split(". ")) == sorted(message.split(". "))
    assert not leaks.leaked(done.stdout, leaks.forms("u", SECRET))
    assert not (tmp_path / "home" / ".apptainer").exists()


@pytest.mark.parametrize("options", [{"emial": "x"}, {"log_level": "debug"}, {"registries": "text"}, {"registries": [["text"]]}, {"registries": {"a": 1}}])
def test_all_else_is_left_to_ansible(run_module, options):
    done = run_module("apptainer_logins", options)
    assert done.result["failed"]
    assert "is not an option here" not in done.result["msg"]


@pytest.mark.parametrize("name", ["url", "registry", "registry_url"])
@pytest.mark.parametrize("uri", [f"ci:{SECRET}@r.example.org", f"docker://ci:{SECRET}@r.example.org", f"docker://r.example.org?{SECRET}"])
def test_no_secret_leaves_in_a_uri_by_another_name(run_module, name, uri):
    done = run_module("apptainer_registry_login", {name: uri, "username": "u", "password": "p", "verify": "never"})
    assert done.result["failed"] and not leaks.leaked(done.stdout, leaks.forms("ci", SECRET)), done.stdout
