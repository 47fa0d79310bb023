# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The variables of the role and of the playbooks as people give them: as they are, as text, misspelled, as templates, and wrong.

The tables of what each of them accepts are in the unit tests. With the oldest and the newest ansible-core.
"""

from __future__ import annotations

import getpass
import json

import pytest
import yaml
from support import envs, leaks

ROLE, ROLLOUT, DRIFT = "hpc.apptainer.apptainer_fleet", "hpc.apptainer.rollout", "hpc.apptainer.drift"
ROLE_PLAY = [{"hosts": "all", "gather_facts": False, "roles": [ROLE]}]
HOSTS = ("n1", "n2", "n3")
ME = getpass.getuser()
SITE = {"name": "site", "uri": "https://library.example.org", "default": True}
BASE = {"apptainer_fleet_verify": False, "apptainer_fleet_remotes": [SITE]}
NOWHERE = {"name": "site", "uri": "https://localhost:1", "default": True}
OLD = "Active: old\nRemotes:\n    old:\n        URI: h.example\n        System: true\n        Exclusive: false\n"
SECRET = "t0ken-" + "s3cretS3CRET" * 4


@pytest.fixture
def given(play, tmp_path):
    """`given(form, playbook, variables)`: the playbook with the variables as real values, as lines of an INI inventory, or as `-e k=v`."""

    def run(form, playbook, variables):
        if form == "real":
            return play(playbook, **variables)
        texts = {name: value if isinstance(value, str) else json.dumps(value, separators=(",", ":")) for name, value in variables.items()}
        if form == "ini":
            (tmp_path / "more.ini").write_text("\n".join(["[all:vars]", *(f"{name}={text}" for name, text in texts.items()), ""]))
            return play(playbook, "-i", tmp_path / "more.ini")
        return play(playbook, *(argument for name, text in texts.items() for argument in ("-e", f"{name}={text}")))

    return run


FORMS = pytest.mark.parametrize("form", ["real", pytest.param("ini", marks=pytest.mark.newest), "-e"])


@FORMS
def test_rollout_with_every_variable(given, tmp_path, form):
    """Each has an effect that is not that of its default."""
    for name, content in (("n1", OLD), ("n2", OLD), ("n3", "\tno YAML")):
        (tmp_path / name / "apptainer").mkdir(parents=True)
        (tmp_path / name / "apptainer" / "remote.yaml").write_text(content)
    (tmp_path / "homes").mkdir()
    account = {"user": ME, "config_file": str(tmp_path / "account" / "remote.yaml"),
               "registries": [{"uri": "docker://r.example.org", "username": "u", "password": SECRET}]}
    done = given(form, ROLLOUT, {
        "apptainer_fleet_remotes": [{**NOWHERE, "insecure": False}], "apptainer_fleet_group_remotes": [{"name": "site", "exclusive": True}],
        "apptainer_fleet_host_remotes": [{"name": "site", "keyservers": [{"uri": "https://keys.example.org"}]}],
        "apptainer_fleet_logins": [account], "apptainer_fleet_group_logins": [{"user": ME, "prune": True}], "apptainer_fleet_host_logins": [],
        "apptainer_fleet_prune": True, "apptainer_fleet_unreadable": "replace", "apptainer_fleet_user_host": "n3", "apptainer_fleet_backup": True,
        "apptainer_fleet_verify": False, "apptainer_fleet_verify_from": "n2", "apptainer_fleet_timeout": 2.5, "apptainer_fleet_validate_certs": False,
        "apptainer_fleet_ca_path": "/nowhere", "apptainer_fleet_client_cert": "/nowhere", "apptainer_fleet_client_key": "/nowhere",
        "apptainer_fleet_check": False, "apptainer_fleet_flavor": "apptainer", "apptainer_fleet_audit_users": True,
        "apptainer_fleet_audited_users": [ME], "apptainer_fleet_audited_homes": [str(tmp_path / "homes")],
        "apptainer_fleet_hosts": "n1,n2,n3", "apptainer_fleet_canaries": ["n2"], "apptainer_fleet_batches": [1], "apptainer_fleet_max_unreachable": 0,
    })
    assert (done.rc, done.changed) == (0, [{"n2"}, {"n1"}, {"n3"}]), done.output
    for name in HOSTS:
        found = yaml.safe_load((tmp_path / name / "apptainer" / "remote.yaml").read_text())
        assert (list(found["Remotes"]), found["Remotes"]["site"]["Exclusive"], len(found["Remotes"]["site"]["Keyservers"])) == (["site"], True, 1)
        assert len(list((tmp_path / name / "apptainer").glob("remote.yaml.*"))) == 1, "a copy of the old one"
    assert json.loads((tmp_path / "account" / "docker-config.json").read_text())["auths"]
    assert leaks.leaked([done.output], leaks.forms("u", SECRET)) == []


@FORMS
def test_drift_with_every_variable(given, tmp_path, form):
    paths = {kind: tmp_path / f"report.{kind}" for kind in ("json", "prometheus")}
    done = given(form, DRIFT, {
        **BASE, "apptainer_fleet_flavor": "singularity", "apptainer_fleet_config_root": str(tmp_path), "apptainer_fleet_hosts": "n1",
        "apptainer_fleet_report_title": "Night", "apptainer_fleet_report_html": "",
        **{f"apptainer_fleet_report_{kind}": str(path) for kind, path in paths.items()}})
    report = json.loads(paths["json"].read_text())
    assert (done.rc, report["title"], report["summary"]["hosts"]) == (2, "Night", 1), done.output
    assert report["groups"][0]["file"] == f"{tmp_path}{tmp_path}/n1/singularity/remote.yaml"
    assert "apptainer_fleet_hosts" in paths["prometheus"].read_text()
    assert not list(tmp_path.glob("**/*.html"))


WRONG = {
    "apptainer_fleet_prune": "maybe", "apptainer_fleet_unreadable": "keep", "apptainer_fleet_backup": "2", "apptainer_fleet_verify": "never",
    "apptainer_fleet_timeout": "soon", "apptainer_fleet_validate_certs": "x", "apptainer_fleet_check": "x", "apptainer_fleet_flavor": "docker",
    "apptainer_fleet_audit_users": "alice", "apptainer_fleet_audited_users": "[a", "apptainer_fleet_remotes": "x", "apptainer_fleet_logins": "x",
}


@FORMS
def test_wrong_values_are_all_named_at_once_and_once(given, written, form):
    """However many hosts have them."""
    done = given(form, ROLLOUT, WRONG)
    assert (done.rc, written()) == (2, [])
    for name in WRONG:
        assert done.words.count(f"{name} is ") + done.words.count(f"{name}: ") in (1, 2), (name, done.output)  # the newest says all messages twice
    assert done.words.count("n[1-3]: ") in (1, 2)
    assert "NoneType" not in done.output and "Traceback" not in done.output


@pytest.mark.parametrize("value", ["some", "-1"])
@pytest.mark.newest
def test_a_wrong_number_of_hosts_that_may_be_lost(play, written, value):
    done = play(ROLLOUT, "-e", f"apptainer_fleet_max_unreachable={value}", **BASE)
    assert (done.rc, written()) == (2, [])
    assert "apptainer_fleet_max_unreachable" in done.words and value in done.words
    assert "NoneType" not in done.output and "Traceback" not in done.output


@pytest.mark.parametrize("playbook", [ROLLOUT, DRIFT, ROLE_PLAY], ids=["rollout", "drift", "role"])
@pytest.mark.parametrize(("everywhere", "of_n2", "words", "blamed"), [
    ({"apptainer_fleet_remote": [SITE]}, {}, "apptainer_fleet_remote is not a variable of the role; did you mean apptainer_fleet_remotes?", set(HOSTS)),
    ({"apptainer_fleet_remotes": [SITE]}, {"apptainer_fleet_host_remots": [SITE]},
     "apptainer_fleet_host_remots is not a variable of the role; did you mean apptainer_fleet_host_remotes?", {"n2"}),
], ids=["all", "one"])
@pytest.mark.newest
def test_a_misspelled_variable_is_not_in_state(play, written, playbook, everywhere, of_n2, words, blamed):
    done = play(playbook, host_vars={"n2": of_n2}, apptainer_fleet_verify=False, **everywhere)
    assert (done.rc, written(), words in done.words) == (2, [], True), done.output
    found = {ROLLOUT: {"localhost"}, DRIFT: set(HOSTS)}.get(playbook if isinstance(playbook, str) else "", {"n1"})  # drift: the others differ
    assert done.blamed == found
    if playbook == DRIFT:
        assert f"Failed on {len(blamed)} host" in done.words


@pytest.mark.newest
def test_nothing_is_declared_for_a_host(play, written):
    declared = {"n1": {"apptainer_fleet_host_remotes": [SITE]}, "n2": {"apptainer_fleet_host_remotes": [SITE]}}
    done = play(ROLLOUT, host_vars=declared, apptainer_fleet_verify=False, apptainer_fleet_batches="100%")
    assert (done.rc, written()) == (0, ["n1", "n2"]), done.output
    assert "Undeclared on 1 host (n3): nothing is declared, so nothing was looked at" in done.words
    again = play(DRIFT, host_vars=declared, apptainer_fleet_verify=False)
    assert (again.rc, "3 hosts: 1 undeclared, 2 in state" in again.words) == (0, True), again.output


@pytest.mark.parametrize("playbook", [ROLLOUT, DRIFT, ROLE_PLAY], ids=["rollout", "drift", "role"])
@pytest.mark.newest
def test_nothing_is_declared_for_anybody(play, playbook):
    done = play(playbook, apptainer_fleet_verify=False)
    assert done.rc == 2, done.output
    assert "nothing is declared for" in done.words.lower()
    assert done.blamed == ({"n1"} if playbook is ROLE_PLAY else {"localhost"})


@pytest.mark.newest
def test_tags_skip_nothing(play, written):
    arguments = ("--tags", "x", "--skip-tags", "y")
    done = play(ROLLOUT, *arguments, **BASE)
    assert (done.rc, written()) == (0, list(HOSTS)), done.output
    found = play(DRIFT, *arguments, apptainer_fleet_prune=True, **{**BASE, "apptainer_fleet_remotes": [{**SITE, "name": "other"}]})
    assert (found.rc, found.blamed) == (2, set(HOSTS)), found.output


@pytest.mark.newest
def test_a_slip_is_one_sentence(play, written):
    """Once, whatever the layer, and however many hosts have it."""
    done = play(ROLLOUT, apptainer_fleet_verify=False, apptainer_fleet_group_remotes=[{"name": "site", "urx": "https://library.example.org"}])
    sentence = "n[1-3]: apptainer_fleet_group_remotes: endpoint site: the key urx does not exist; did you mean uri?"
    assert (done.rc, written(), done.words.count(sentence) in (1, 2)) == (2, [], True), done.output
    assert len(done.output) < 3000


@pytest.mark.newest
def test_accounts_of_a_host_outside_the_limit_are_named(play):
    logins = [{"user": user, "user_host": "n3", "registries": [{"uri": "docker://r", "state": "absent"}]} for user in ("ci", "alice")]
    done = play(ROLLOUT, "--limit", "n1", apptainer_fleet_logins=logins, **BASE)
    assert done.rc == 0, done.output
    assert "the logins of alice, ci are left alone, because n3 writes their files, and it is not among the hosts of this run" in done.words


def test_templates(play, tmp_path):
    """What they give counts, `omit` too; what they raise is said of the hosts that have it, and the report is made all the same."""
    remotes = [{**SITE, "default": "{{ is_default }}", "exclusive": "{{ nothing | default(omit) }}"}]
    more = {"is_default": True, "apptainer_fleet_ca_path": "{{ nothing | default(omit) }}", "apptainer_fleet_verify": "{{ not is_default }}"}
    done = play(ROLE_PLAY, apptainer_fleet_remotes=remotes, **more)
    assert done.rc == 0, done.output
    assert yaml.safe_load((tmp_path / "n1" / "apptainer" / "remote.yaml").read_text())["Active"] == "site"
    wrong = {"n2": {"apptainer_fleet_timeout": "{{ 1 / 0 }}"}, "n3": {"apptainer_fleet_host_remotes": [{"name": "a", "uri": "{{ nowhere }}"}]}}
    found = play(DRIFT, host_vars=wrong, apptainer_fleet_remotes=remotes, **more)
    assert (found.rc, found.blamed) == (2, {"n2", "n3"}), found.output
    assert "3 hosts: 2 failed, 1 in state" in found.words
    assert "Failed on 1 host (n2): apptainer_fleet_timeout cannot be templated: " in found.words
    assert "Failed on 1 host (n3): apptainer_fleet_host_remotes cannot be templated: 'nowhere' is undefined." in found.words


@pytest.mark.parametrize("playbook", [DRIFT, ROLE_PLAY], ids=["drift", "role"])
def test_a_secret_that_cannot_be_read(play, vaulted, playbook):
    """Vaulted with another password, or with a slip in a template; and what can be read is not shown."""
    def login(secret):
        return [{"user": ME, "registries": [{"uri": "docker://r", "username": "u", "password": secret}]}]

    hosts = {"n2": {"apptainer_fleet_host_logins": login(vaulted("other"))}, "n3": {"apptainer_fleet_host_logins": login(f"{SECRET}{{{{")}}
    done = play(playbook, "-vvvv", host_vars=hosts, **BASE)
    assert done.rc == 2
    assert done.words.count("apptainer_fleet_host_logins cannot be templated: ") >= 2, done.output
    assert "vault" in done.words
    assert leaks.leaked([done.output], leaks.forms("u", SECRET)) == []


def test_without_the_libraries_for_verification(play, core, written, proven_everywhere):
    """As on a new controller, where only ansible-core was installed: one message with all that is missing, and with all that one can do."""
    bare = envs.node(envs.OLD_CORE if core.name.endswith(envs.OLD_CORE) else "newest").python
    done = play(ROLLOUT, "-e", f"ansible_python_interpreter={bare}", **proven_everywhere)
    assert (done.rc, written()) == (2, [])
    for words in ("requests", "jsonschema", "pip install", "apptainer_fleet_verify_from", "apptainer_fleet_verify to false"):
        assert words in done.words, done.output
    switched_off = play(ROLLOUT, "-e", f"ansible_python_interpreter={bare}", "-e", "apptainer_fleet_verify=false", **proven_everywhere)
    assert (switched_off.rc, written()) == (0, list(HOSTS)), switched_off.output


@pytest.fixture
def proven_everywhere(library):
    return {"apptainer_fleet_ca_path": str(library.ca), "apptainer_fleet_remotes": [{**SITE, "uri": library.url("good")}]}
