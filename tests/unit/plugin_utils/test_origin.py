# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a report comes from, and the command that repairs a difference: Ansible itself must select exactly the hosts that it is for."""

import shlex

import pytest
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible_collections.hpc.apptainer.plugins.plugin_utils._origin import Origin, limit_pattern
from hypothesis import given, settings
from hypothesis import strategies as st
from support.growth import assert_linear

GROUPS = {"all": ["a1", "a2", "a3", "b1", "b2"], "ungrouped": [], "as": ["a1", "a2", "a3"], "ones": ["a1", "b1"], "no name": ["a1", "a2"]}
ORIGIN = Origin(("site.yml",), ("/srv/in ventory", "h1,h2,"), "0.1.0", "2.19", GROUPS)


@pytest.mark.parametrize(("hosts", "pattern"), [
    (["b2", "b1", "a3", "a2", "a1"], ""), (["a1", "a2", "a3"], "as"), (["a1", "b1"], "ones"), (["a1", "a2"], "as,!a3"), (["a1"], "a1"),
    (["a1", "b2"], "a1,b2"), (["a1", "a2", "a3", "b1"], "all,!b2"),
], ids=["all", "a group", "another group", "a group but for one", "one host", "no group", "all but one"])
def test_pattern(hosts, pattern):
    assert ORIGIN.pattern(hosts) == pattern


def test_command_for_a_shell():
    command = ORIGIN.command("hpc.apptainer.rollout", ["a1", "a2"])
    assert shlex.split(command) == ["ansible-playbook", "-i", "/srv/in ventory", "-i", "h1,h2,", "hpc.apptainer.rollout", "--limit", "as,!a3"]
    assert "'as,!a3'" in command  # an interactive shell would take the ! for its history
    assert shlex.split(ORIGIN.command("x", GROUPS["all"])) == ["ansible-playbook", "-i", "/srv/in ventory", "-i", "h1,h2,", "x"]
    assert Origin().command("x", ["$(rm -r ~)"]) == "ansible-playbook x --limit '$(rm -r ~)'"


def test_as_dict():
    assert ORIGIN.as_dict() == {"playbooks": ["site.yml"], "inventory": ["/srv/in ventory", "h1,h2,"], "collection": "0.1.0", "ansible_core": "2.19"}


@given(st.sets(st.sampled_from([f"n{number}" for number in range(1, 13)] + ["fe80::1"]), min_size=1))
@settings(max_examples=60, deadline=None)
def test_ansible_selects_exactly_these_hosts(chosen):
    inventory = InventoryManager(loader=DataLoader(), sources=[])
    for name in ("odd", "low"):
        inventory.add_group(name)
    for number in range(1, 13):
        inventory.add_host(f"n{number}", "odd" if number % 2 else "low" if number < 6 else None)
    inventory.add_host("fe80::1")
    inventory.reconcile_inventory()
    groups = {name: [host.name for host in group.get_hosts()] for name, group in inventory.groups.items()}
    hosts = sorted(chosen)
    for pattern in (Origin(groups=groups).pattern(hosts), limit_pattern(hosts)):
        inventory.subset(pattern or None)
        assert sorted(host.name for host in inventory.get_hosts("all")) == hosts, pattern
        inventory.remove_restriction()
        inventory.subset(None)


def test_the_time_for_a_difference_on_each_host_grows_with_the_hosts():
    def origin(size):
        hosts = [f"n{number}" for number in range(4 * size)]
        return Origin(groups={"all": hosts, "compute": hosts[10:], "login": hosts[:10]})

    assert_linear(lambda origin: [origin.pattern([host]) for host in origin.groups["all"]], origin)
