# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks what is declared for all hosts of a run in one place, and has each distinct endpoint, keyserver and login verified once."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible import constants
from ansible.errors import AnsibleConnectionFailure
from ansible_collections.hpc.apptainer.plugins.plugin_utils._actions import AskingAction
from ansible_collections.hpc.apptainer.plugins.plugin_utils._declaration import Declaration, DeclarationError, distinct_claims
from ansible_collections.hpc.apptainer.plugins.plugin_utils._node_files import leave

MODULE = "hpc.apptainer.apptainer_verify"
_MOST_PROBLEMS = 10


class ActionModule(AskingAction):
    """The action. Its documentation is in the module of the same name."""

    def run(self, tmp: str | None = None, task_vars: Mapping[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        try:
            declared, problems = self.declared(variables, "ansible_play_batch")
            if problems:
                raise DeclarationError(_sentences(problems))
            result.update(changed=False, verified=None, verification=[])
            result.setdefault("warnings", []).extend(_warnings(declared))
            to_verify = [item for item in declared if item.options["verify"]]
            if to_verify:
                result.update(self._verified(to_verify, variables))
        except DeclarationError as error:
            failed = {**result, "failed": True, "msg": str(error)}
            leave(failed, variables, not self._task.check_mode)  # the task that would is not reached
            return failed
        except AnsibleConnectionFailure as error:  # of a host that is none of those that Ansible would blame
            return {**result, "failed": True, "msg": f"{self.place(variables)}, from which to verify, cannot be reached: {error}. Nothing was verified; "
                                                     "wait for it, or set apptainer_fleet_verify_from to another host"}
        return result

    def _verified(self, declared: Sequence[Declaration], variables: Mapping[str, Any]) -> dict[str, Any]:
        """What servers say of all that is declared, unless this run of Ansible has asked them the same already."""
        network, claims = declared[0].network(), distinct_claims(declared)
        with _Memory() as memory:
            new = [item for item in claims if _digest(item, network) not in memory.digests]
            if not new:
                return {}
            answer = self.asked(MODULE, new, network, variables)
            if not answer.get("failed") and not answer.get("unreachable"):
                memory.digests.update(_digest(item, network) for item in new)
        if answer.get("missing_libraries"):
            answer["msg"] += ". To verify nothing, set apptainer_fleet_verify to false"
        return answer


class _Memory:
    """What was verified in this run of Ansible, in its own directory for temporary files, which others cannot read. Whoever comes second waits."""

    def __enter__(self) -> _Memory:
        self._file = os.open(os.path.join(constants.DEFAULT_LOCAL_TMP, "apptainer_fleet_verified"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self.digests = set(os.pread(self._file, os.fstat(self._file).st_size, 0).decode().split())
        return self

    def __exit__(self, *_exception: object) -> None:
        os.pwrite(self._file, "".join(f"{digest}\n" for digest in sorted(self.digests)).encode(), 0)
        os.close(self._file)


def _digest(claims: Any, network: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps([claims, network], sort_keys=True).encode()).hexdigest()


def _warnings(declared: Sequence[Declaration]) -> list[str]:
    """Accounts whose files belong to a host that is not in this run."""
    present = {item.host for item in declared}
    absent: dict[str, set[str]] = {}
    for item in declared:
        for name, users in item.user_hosts.items():
            if users and name not in present:
                absent.setdefault(name, set()).update(users)
    return [f"the logins of {', '.join(sorted(users))} are left alone, because {name} writes their files, and it is not among the hosts of this run"
            for name, users in sorted(absent.items())]


def _sentences(problems: Iterable[str]) -> str:
    problems = list(problems)
    more = len(problems) - _MOST_PROBLEMS
    return " ".join(problems[:_MOST_PROBLEMS]) + (f" There are {more} more problems." if more > 0 else "")
