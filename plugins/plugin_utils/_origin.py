# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Where a report comes from, and the command that repairs what it shows. Pure rules."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.hpc.apptainer.plugins.module_utils._redaction import without_login

DRIFT_PLAYBOOK, ROLLOUT = "hpc.apptainer.drift", "hpc.apptainer.rollout"

_MOST_EXCEPTIONS = 3  # hosts of a group that a pattern leaves out
_PLAIN = re.compile(r"[A-Za-z0-9_][\w.-]*")


class Origin(NamedTuple):
    """What made a report: the `playbooks` and the sources of the `inventory` as on the command line, the versions, and the `groups` of hosts."""

    playbooks: tuple[str, ...] = ()
    inventory: tuple[str, ...] = ()
    collection: str = ""
    ansible_core: str = ""
    groups: Mapping[str, Collection[str]] = {}

    def as_dict(self) -> dict[str, Any]:
        """The key `made_by` of the JSON report."""
        return {"playbooks": list(self.playbooks), "inventory": list(map(without_login, self.inventory)), "collection": self.collection,
                "ansible_core": self.ansible_core}

    def command(self, playbook: str, hosts: Sequence[str]) -> str:
        """The command that runs `playbook` on these hosts, for a shell."""
        sources = [word for source in self.inventory for word in ("-i", without_login(source))]
        pattern = self.pattern(hosts)
        return shlex.join(["ansible-playbook", *sources, playbook, *(["--limit", pattern] if pattern else [])])

    def pattern(self, hosts: Sequence[str]) -> str:
        """These hosts for `--limit`: nothing for all hosts, a group if it has the same hosts or a few more, or all of their names."""
        wanted = set(hosts)
        most = min(_MOST_EXCEPTIONS, len(wanted) - 1)
        found = []
        for name, members in self.groups.items():
            # The sizes first: a report may have as many differences as hosts, and each is compared with each group.
            if 0 <= len(members) - len(wanted) <= most and wanted.issubset(members):
                more = sorted(wanted.symmetric_difference(members))
                if name == "all" and not more:
                    return ""
                if len(wanted) > 1 and all(map(_PLAIN.fullmatch, [name, *more])):
                    found.append((len(more), len(members), name, more))
        if found:
            _count, _size, name, more = min(found)
            return ",".join([name, *(f"!{host}" for host in more)])
        return limit_pattern(hosts)


def limit_pattern(hosts: Sequence[str]) -> str:
    """The names of hosts as a pattern for `--limit`. (Ansible has no ranges of host names there.)

    A colon separates patterns, unless there is a comma. Source: split_host_pattern in ansible-core's inventory/manager.py
    """
    return ",".join(hosts) + ("," if len(hosts) == 1 and ":" in hosts[0] else "")
