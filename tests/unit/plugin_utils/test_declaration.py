# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import functools
import json
import re

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._module.common import NETWORK_SPEC
from ansible_collections.hpc.apptainer.plugins.module_utils._module.endpoints import REMOTE_SPEC
from ansible_collections.hpc.apptainer.plugins.module_utils._module.fleet import FLEET_SPEC
from ansible_collections.hpc.apptainer.plugins.plugin_utils import _declaration as rules
from ansible_collections.hpc.apptainer.plugins.plugin_utils._declaration import (
    PREFIX,
    SPECS,
    VARIABLES,
    DeclarationError,
    declaration,
    distinct_claims,
    playbook_options,
)
from support.tables import table

SECRET = "s3cretS3CRET"
SITE = {"name": "site", "uri": "https://library.example.org"}
CI = {"user": "ci", "registries": [{"uri": "docker://r.example.org", "username": "ci", "password": SECRET}]}
LISTS = [f"{layer}{kind}" for kind in ("remotes", "logins") for layer in ("", "group_", "host_")]

# For each variable but the lists: a real value, the same as text, and a wrong value with what is wrong.
VALUES = {
    "prune": (True, "yes", "maybe", "a boolean, true or false"),
    "unreadable": ("replace", "replace", "keep", "one of fail, replace"),
    "user_host": ("login1", "login1", ["login1"], "a text"),
    "config_root": ("/image", "/image", ["/image"], "a path"),
    "sysconfdir": ("/opt/etc", "/opt/etc", {"path": "/opt"}, "a path"),
    "flavor": ("singularity", "singularity", "docker", "one of apptainer, singularity"),
    "backup": (True, "1", "sometimes", "a boolean, true or false"),
    "verify": (False, "false", "never", "a boolean, true or false"),
    "verify_from": ("node1", "node1", True, "a text"),
    "timeout": (2.5, "2.5", "soon", "a number"),
    "validate_certs": (False, "off", 2, "a boolean, true or false"),
    "ca_path": ("/ca.pem", "/ca.pem", True, "a path"),
    "client_cert": ("~/cert.pem", "~/cert.pem", ["cert"], "a path"),
    "client_key": ("~/key.pem", "~/key.pem", ["key"], "a path"),
    "check": (True, "True", "no!", "a boolean, true or false"),
    "audit_users": (True, "true", "alice", "a boolean, true or false"),
    "audited_users": (["alice", "1000"], "alice, 1000", {"alice": 1}, "a list"),
    "audited_homes": (["/home", "/nfs/home"], '["/home", "/nfs/home"]', {"/home": 1}, "a list"),
}


def of(host="n1", **values):
    return declaration(host, {f"{PREFIX}{name}": value for name, value in values.items()})


def refusal(names=(), **values):
    with pytest.raises(DeclarationError) as caught:
        declaration("n1", {f"{PREFIX}{name}": value for name, value in values.items()}, names)
    return str(caught.value)


def test_the_table_has_every_variable():
    assert {*VALUES, *LISTS} == {name.removeprefix(PREFIX) for name in VARIABLES}


@pytest.mark.parametrize("name", VALUES)
def test_a_variable(name):
    """Its real value, the same as text, not set, and wrong."""
    value, text, wrong, wanted = VALUES[name]
    default = VARIABLES[PREFIX + name].get("default")
    assert [of(**{name: given}).options[name] for given in (value, text, None)] == [value, value, default]
    if name != "config_root":
        assert of(**{name: ""}).options[name] == default
    assert value != default
    assert of().options[name] == default
    assert refusal(**{name: wrong}) == f"{PREFIX}{name} is {wrong!r}, but must be {wanted}."


def test_an_empty_root_is_not_the_host_itself():
    """As of a template that gives nothing: the builder's own files would be written."""
    assert refusal(config_root="") == (
        "apptainer_fleet_config_root is empty, but must be an absolute path; leave it undefined if the files of the host itself are meant.")


PLAYBOOK_VALUES = table([
    ("not set", "drift", "report_json", None, "apptainer-drift.json"),
    ("empty text is no file", "drift", "report_json", "", ""),
    ("empty text is not set", "drift", "report_title", "", "Apptainer drift"),
    ("another entry point", "report_from", "report_title", None, "Apptainer on nodes that pull"),
    ("a number as text", "drift", "certificate_error_days", "2.5", 2.5),
    ("a text as list", "rollout", "batches", "1,50%", ["1", "50%"]),
    ("a number as list", "rollout", "batches", 5, ["5"]),
])


@pytest.mark.parametrize(("entry", "name", "value", "expected"), PLAYBOOK_VALUES)
def test_a_variable_of_a_playbook(entry, name, value, expected):
    assert playbook_options(entry, {PREFIX + name: value}) == {PREFIX + name: expected}


def test_all_that_is_wrong_with_the_variables_of_a_playbook():
    with pytest.raises(DeclarationError) as caught:
        playbook_options("drift", {f"{PREFIX}findings_fail": "always", f"{PREFIX}certificate_error_days": "soon"})
    assert str(caught.value) == ("apptainer_fleet_findings_fail is 'always', but must be one of never, error, warning. "
                                 "apptainer_fleet_certificate_error_days is 'soon', but must be a number.")


@pytest.mark.parametrize("name", LISTS)
def test_a_list(name):
    kind = name.rpartition("_")[2]
    value = [SITE] if kind == "remotes" else [CI]
    found = [getattr(of(**{name: given}), kind) for given in (value, json.dumps(value), str(value))]
    assert found[0] == found[1] == found[2] and len(found[0]) == 1
    assert [getattr(of(**{name: given}), kind) for given in (None, "", [], "[]")] == [[], [], [], []]
    key = {"remotes": "name", "logins": "user"}[kind]
    assert refusal(**{name: {"a": 1}}) == f"{PREFIX}{name}: this must be a list of dictionaries, each with the key {key}."
    assert refusal(**{name: f"[{SECRET}"}) == f"{PREFIX}{name}: this is a text that is neither YAML nor JSON; write a list of dictionaries."


def test_layers_and_defaults():
    found = of(
        remotes=[{**SITE, "exclusive": "yes", "keyservers": [{"uri": "https://a.example.org", "insecure": None}]}],
        group_remotes=[{"name": "site", "state": "retired", "exclusive": None}, {"name": "b"}],
        host_remotes='[{"name": "b", "default": true, "services": "library,token"}]')
    assert found.remotes == [
        {**SITE, "state": "retired", "force": False, "keyservers": [{"uri": "https://a.example.org"}]},
        {"name": "b", "state": "present", "force": False, "default": True, "services": ["library", "token"]},
    ]
    found = of(
        logins=[CI], group_logins=[{"user": "ci", "prune": "true", "registries": [{"uri": "docker://r.example.org", "password": "other"}]}],
        host_logins=[{"user": "ci", "remotes": [{"name": "site", "token_file": "~/token"}]}])
    assert found.logins == [{
        "user": "ci", "prune": True, "remotes": [{"name": "site", "state": "present", "token_file": "~/token"}],
        "registries": [{"uri": "docker://r.example.org", "state": "present", "username": "ci", "password": "other"}]}]


def test_keys_by_other_names():
    """They are the same keys when lists are merged."""
    found = of(
        remotes=[{"name": "site", "url": "https://a.example.org", "keyservers": [{"url": "https://k.example.org"}]}],
        host_remotes='[{"name": "site", "url": "https://b.example.org"}]',
        logins=[{"user": "ci", "authfile": "~/a.json", "keyservers": [{"url": "https://k", "password": "p"}], "registries": [
            {"registry": "docker://r.example.org", "username": "ci", "password": "old"}]}],
        group_logins=[{"user": "ci", "remotes": [{"name": "site", "tokenfile": "~/t"}], "registries": [{"uri": "docker://r.example.org", "password": "new"}]}],
        host_logins=[{"user": "ci", "registries": [{"registry_url": "docker://r.example.org", "state": "absent"}]}])
    site = {"name": "site", "uri": "https://b.example.org", "state": "present", "force": False, "keyservers": [{"uri": "https://k.example.org"}]}
    assert found.remotes == [site]
    assert found.logins == [{
        "user": "ci", "prune": False, "auth_file": "~/a.json", "keyservers": [{"uri": "https://k", "state": "present", "password": "p"}],
        "registries": [{"uri": "docker://r.example.org", "state": "absent", "username": "ci", "password": "new"}],
        "remotes": [{"name": "site", "state": "present", "token_file": "~/t"}]}]


# What a misspelt name may mean; and what a refused name is not.
UNKNOWN = [
    ("apptainer_fleet_remote", "apptainer_fleet_remote is not a variable of the role; did you mean apptainer_fleet_remotes?"),
    ("apptainer_fleet_hots", "apptainer_fleet_hots is not a variable of the role; did you mean apptainer_fleet_hosts?"),
    ("apptainer_fleet_report_jsn", "apptainer_fleet_report_jsn is not a variable of the role; did you mean apptainer_fleet_report_json?"),
    ("apptainer_fleet_tls_verify", "apptainer_fleet_tls_verify is not a variable of the role; did you mean apptainer_fleet_validate_certs?"),
    ("apptainer_fleet_ca_cert", "apptainer_fleet_ca_cert is not a variable of the role; did you mean apptainer_fleet_ca_path?"),
    ("apptainer_fleet_qqqqqqqqqqqqqqqqqqqqqqqqqqqqq",
     "apptainer_fleet_qqqqqqqqqqqqqqqqqqqqqqqqqqqqq is not a variable of the role; remove it, or correct its name."),
]


@pytest.mark.parametrize(("name", "sentence"), UNKNOWN)
def test_an_unknown_name(name, sentence):
    assert refusal([name, "apptainer_flet_remotes", "remotes"]) == sentence


def test_known_names():
    known = [name for options in SPECS.values() for name in options]
    declaration("n1", {}, [*known, *rules.RESULTS, "apptainer_fleet", "__apptainer_fleet_first"])


SLIPS = table([
    ("key", {"remotes": [{**SITE, "url": "h"}]}, "apptainer_fleet_remotes: site: the key url is another name of uri; remove one of the two."),
    ("a key of a group", {"remotes": [SITE], "group_remotes": [{"name": "site", "exclusiv": True}]},
     "apptainer_fleet_group_remotes: endpoint site: the key exclusiv does not exist; did you mean exclusive?"),
    ("boolean", {"host_remotes": [{**SITE, "default": "maybe"}]},
     "apptainer_fleet_host_remotes: endpoint site: default is 'maybe', but must be a boolean, true or false."),
    ("nested", {"remotes": [{**SITE, "keyservers": [{"urx": "h"}]}]},
     "apptainer_fleet_remotes: endpoint site: keyservers: entry 1: the key urx does not exist; did you mean uri?"),
    ("nested, twice", {"group_logins": [{"user": "ci", "registries": [{"uri": "docker://r", "registry": "docker://r"}]}]},
     "apptainer_fleet_group_logins: registries: docker://r: the key registry is another name of uri; remove one of the two."),
    ("a flag of apptainer", {"remotes": [{**SITE, "global": True}]},
     "apptainer_fleet_remotes: endpoint site: the key global does not exist; remove it from the entry, because all entries of the list go into the same "
     "file."),
    ("an option of docker_login", {"logins": [{"user": "ci", "registries": [{"uri": "docker://r", "email": SECRET}]}]},
     "apptainer_fleet_logins: account ci: registries: docker://r: the key email does not exist; remove it, because no server asks for it."),
    ("twice", {"logins": [CI, CI]}, "apptainer_fleet_logins: user ci is listed twice in one list; merge the two entries."),
    ("a secret that is a number", {"logins": [{"user": "ci", "remotes": [{"name": "site", "token": 123456}]}]},
     "apptainer_fleet_logins: account ci: remotes: site: token must be a text, in quotes."),
    ("no token", {"logins": [{"user": "ci", "remotes": [{"name": "site"}]}]},
     "account ci: remotes: site has no token or token_file; set it, or state: absent."),
    ("two tokens", {"logins": [{"user": "ci", "remotes": [{"name": "site", "token": SECRET, "token_file": "/t"}]}]},
     "account ci: remotes: site has both token and token_file; remove one of them."),
    ("no password", {"group_logins": [{"user": "ci", "keyservers": [{"uri": "https://u:pw@k"}]}]},
     "account ci: keyservers: https://(hidden)@k has no password; set it, or state: absent."),
    ("no user name", {"logins": [{"user": "ci", "registries": [{"uri": "docker://r", "password": SECRET}]}]},
     "account ci: registries: docker://r has no username; set it, or state: absent."),
    ("all at once", {"verify": "x", "remotes": "x", "logins": [{"usr": "ci"}]},
     "apptainer_fleet_verify is 'x', but must be a boolean, true or false. "
     "apptainer_fleet_remotes: this must be a list of dictionaries, each with the key name. "
     "apptainer_fleet_logins: entry 1 of the list has no user; set the key user to a text that is not empty."),
])


@pytest.mark.parametrize(("values", "sentence"), SLIPS)
def test_a_slip_gives_one_sentence(values, sentence):
    assert refusal(**values) == sentence


def test_a_login_that_is_to_go_needs_no_secret():
    remotes, registries = [{"name": "site", "state": "absent"}], [{"uri": "docker://r", "state": "absent"}]
    assert of(logins=[{"user": "ci", "remotes": remotes, "registries": registries}]).logins[0]["remotes"] == remotes


def places(options, prefix=()):
    """The paths of all options that an entry can have."""
    for name, option in options.items():
        yield (*prefix, name)
        if "options" in option:
            yield from places(option["options"], (*prefix, name))


LOGIN_PLACES = [place for place in places(VARIABLES["apptainer_fleet_logins"]["options"]) if place[-1] not in ("user", "uri", "name")]


@pytest.mark.parametrize("wrong", [SECRET, [SECRET], {SECRET: SECRET}, [[SECRET]], [{"uri": [SECRET], "name": [SECRET]}]], ids=str)
@pytest.mark.parametrize("place", LOGIN_PLACES, ids=".".join)
def test_no_sentence_has_a_secret_that_is_at_the_wrong_place(place, wrong):
    """But for keys, and for what names an entry."""
    entry = {"user": "ci"}
    if len(place) == 1:
        entry[place[0]] = wrong
    else:
        entry[place[0]] = [{"name": "site", "uri": "docker://r", place[1]: wrong}]
        del entry[place[0]][0]["uri" if place[0] == "remotes" else "name"]
    try:
        of(logins=[entry])
    except DeclarationError as error:
        assert SECRET not in str(error)


@pytest.mark.parametrize(("host", "fleet_host", "own", "hosts"), [
    ("n1", None, ["everywhere"], {"n1": ["everywhere"], "n2": ["shared"]}),
    ("n2", None, ["everywhere", "shared"], {"n2": ["everywhere", "shared"]}),
    ("n1", "n3", [], {"n3": ["everywhere"], "n2": ["shared"]}),
    ("n3", "n3", ["everywhere"], {"n3": ["everywhere"], "n2": ["shared"]}),
])
def test_who_writes_the_files_of_accounts(host, fleet_host, own, hosts):
    found = of(host, logins=[{"user": "everywhere"}, {"user": "shared", "user_host": "n2"}], user_host=fleet_host)
    assert [entry["user"] for entry in found.own_logins] == own
    assert found.user_hosts == hosts
    assert found.is_empty == (not own)
    assert [entry["user"] for entry in found.module_options()["logins"]] == own
    assert not any("user_host" in entry for entry in found.module_options()["logins"])


def test_the_fleet_host_counts_even_if_it_has_nothing_to_write():
    assert of(user_host="login1").user_hosts == {"login1": []}


@pytest.mark.parametrize(("values", "audits"), [
    ({}, False), ({"audit_users": True}, True), ({"audit_users": "yes", "user_host": "n1"}, True), ({"audit_users": True, "user_host": "n2"}, False),
    ({"audit_users": True, "config_root": "/image"}, False),
])
def test_who_audits_users(values, audits):
    assert of(**values).module_options()["audit_users"] is audits


def test_an_image_has_no_accounts():
    """Their homes are elsewhere, and what is declared for them is not even checked."""
    found = of(config_root="/image", logins=[{"usr": "ci"}], remotes=[SITE])
    assert (found.logins, found.module_options()["root"]) == ([], "/image")


@pytest.mark.parametrize(("values", "prune"), [({"prune": True}, False), ({"prune": True, "remotes": [SITE]}, True), ({"remotes": [SITE]}, False)])
def test_nothing_is_pruned_where_nothing_is_declared(values, prune):
    assert of(**values).module_options()["prune"] is prune


def test_what_servers_are_asked_about():
    """The logins of all accounts, whoever writes them."""
    found = of(flavor="singularity", remotes=[SITE], logins=[
        {**CI, "user_host": "n2"}, {"user": "alice", "remotes": [{"name": "site", "token": SECRET}], "keyservers": None}])
    assert found.claims() == {
        "flavor": "singularity", "remotes": found.remotes,
        "logins": {"registries": found.logins[0]["registries"], "remotes": found.logins[1]["remotes"], "keyservers": []}}


def test_a_thousand_hosts_declare_the_same_once():
    same, other = [declaration(f"n{number}", {"apptainer_fleet_remotes": [SITE]}) for number in range(3)], of(flavor="singularity", remotes=[SITE])
    assert distinct_claims([*same, other, *same]) == [same[0].claims(), other.claims()]


def test_how_servers_are_asked():
    assert of().network() == {"timeout": 10, "validate_certs": True}
    assert of(ca_path="/ca.pem", timeout="2.5", validate_certs="no").network() == {"timeout": 2.5, "validate_certs": False, "ca_path": "/ca.pem"}


def test_to_look_at_a_host_takes_no_secret():
    files = {"config_file": "/srv/ci/remote.yaml"}
    found = of(flavor="singularity", sysconfdir="/opt/etc", remotes=[SITE], logins=[{**CI, **files}, {"user": "bob", "user_host": "n2"}])
    assert found.inspection(["alice", "ci"]) == {
        "flavor": "singularity", "sysconfdir": "/opt/etc", "inspect": True, "root": None, "logins": [{"user": "ci", **files}, {"user": "alice"}]}
    image = of(config_root="/image")
    assert image.inspection(["alice"]) == {"flavor": "apptainer", "inspect": True, "root": "/image", "logins": []}


# The role's variables and the module's options are the same, but for what is listed here.
ONLY_OF_THE_ROLE = {"user_host", "config_root", "verify", "verify_from", "logins.user_host"}  # config_root is the module's root
# Tokens are of accounts, not of nodes.
ONLY_OF_THE_MODULE = {"root", "collect", "probe", "inspect", "users", "remotes.token", "remotes.token_file", "remotes.logout"}


def shapes(options):
    """What there is to say of each option: the name, other names, the type, the choices, the default. A path may be a text: see FLEET_SPEC."""
    for place in places(options):
        option = {"options": options}
        for name in place:
            option = option["options"][name]
        kind, elements = ({"path": "str", "secret": "str"}.get(option.get(key), option.get(key)) for key in ("type", "elements"))
        default = option.get("default")
        aliases = sorted(option.get("aliases", ())) if len(place) > 1 else []  # variables have one name
        yield ".".join(place), (aliases, kind, elements, sorted(option.get("choices", ())), default or None, option.get("required", False))


def test_the_role_offers_what_its_module_does():
    role = {name.removeprefix(PREFIX): option for name, option in VARIABLES.items()}
    of_role = {name: shape for name, shape in shapes(role) if not name.startswith(("group_", "host_"))}
    of_module = dict(shapes({**FLEET_SPEC, **NETWORK_SPEC}))
    assert {name for name in of_role if name not in of_module} == ONLY_OF_THE_ROLE
    assert {name for name in of_module if name not in of_role} == ONLY_OF_THE_MODULE
    differing = {name: (of_role[name], of_module[name]) for name in of_role if name in of_module and of_role[name] != of_module[name]}
    assert differing == {}
    assert set(REMOTE_SPEC) == {name.partition(".")[2] for name in of_module if name.count(".") == 1 and name.startswith("remotes.")}


def test_other_names_of_keys_are_documented():
    """In words, because ansible-lint allows no `aliases` in the file."""
    found = {".".join(place): option for place in places(VARIABLES) for option in [functools.reduce(lambda at, name: at["options"][name], place, {
        "options": VARIABLES})] if "aliases" in option}
    assert len(found) > 5
    for place, option in found.items():
        assert re.findall(r"C\((\w+)\)", str(option["description"]).rpartition("Also accepted as ")[2]) == option["aliases"], place


def test_the_layers_of_a_list_have_the_same_keys():
    for kind in ("remotes", "logins"):
        every, group, host = (VARIABLES[f"{PREFIX}{layer}{kind}"]["options"] for layer in ("", "group_", "host_"))
        assert every == group == host
