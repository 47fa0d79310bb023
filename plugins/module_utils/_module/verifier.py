# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What is to be asked of servers, as the option `verify` says, and what a result shows of their answers.

Who asks them is up to the module: what Ansible sends to a node is all that is imported anywhere, and the network is a third of it.
"""

from typing import Any, Callable, Collection, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible.module_utils.basic import AnsibleModule

from .._errors import VerificationError
from .._values.claims import Claim, EndpointServices, EndpointToken, claim_name

# Asks servers about claims, and returns the Verdict of each. None where `verify` is never anything but `never`.
Ask = Optional[Callable[[AnsibleModule, Sequence[Claim]], Mapping[Claim, Any]]]

_WHY_NOT_ASKED = {
    "never": "not verified, because verify is never",
    "changed": "not verified, because it did not change (verify: always verifies it nevertheless)",
}
_NO_ENDPOINT_YET = "not verified, because its endpoint does not exist yet"


class NamedVerdict(NamedTuple):
    """What a result shows about one thing. `counts` is false if there was nothing to ask about it; `warning` is to be said in any case."""

    name: str
    verified: Optional[bool]
    reason: str
    counts: bool = True
    warning: str = ""


class Verification(NamedTuple):
    """What servers said of the declared claims.

    `verdicts` are those of all claims asked about in this task, `failed` the claims of this verification that a server rejected.
    """

    named: Tuple[NamedVerdict, ...] = ()
    verdicts: Mapping[Claim, Any] = {}
    failed: Tuple[Claim, ...] = ()

    @property
    def warnings(self) -> Tuple[str, ...]:
        """What was asked and verifies nothing, and what is dangerous although it is verified; a sentence each."""
        unverified = [f"{item.name}: {item.reason}" for item in self.named if item.verified is None and item.counts]
        return (*unverified, *(f"{item.name}: {item.warning}" for item in self.named if item.warning and item.verified is not False))

    @property
    def result(self) -> Dict[str, Any]:
        """`verified` and `verification` of a module's result."""
        counted = {item.verified for item in self.named if item.counts}
        return {
            "verified": False if False in counted else True if counted == {True} else None,
            "verification": [{"name": item.name, "verified": item.verified, "reason": item.reason} for item in self.named],
        }

    def refusal(self, result: Mapping[str, Any], outcome: str) -> VerificationError:
        """The error about all that failed, with `result` and what became of the rest, `outcome`, a sentence."""
        text = sentences((item.name, item.reason) for item in self.named if item.verified is False)
        return VerificationError(f"{text} {outcome}".rstrip(), dict(result, **self.result))


def verify_declared(module: AnsibleModule, ask: Ask, declared: Sequence[Claim], stored: Collection[Claim], unplaced: Collection[str] = (),
                    known: Optional[Mapping[Claim, Any]] = None) -> Verification:
    """Ask servers about what is declared: all of it if `verify` is `always`, and what is not among `stored` if it is `changed`.

    `unplaced` are endpoints of which nobody knows yet where they are, which happens in check mode; `known` are verdicts of an earlier attempt
    of this task, which are not asked for again. Raises NetworkError or ApptainerError for options that cannot be used.
    """
    when: str = module.params["verify"]
    wanted = [item for item in dict.fromkeys(declared) if when == "always" or (when == "changed" and item not in stored)]
    asked = [item for item in wanted if not (isinstance(item, (EndpointToken, EndpointServices)) and item.name in unplaced)]
    verdicts = dict(known or {})
    new = [item for item in asked if item not in verdicts]
    if new:
        if ask is None:
            raise AssertionError("verify is not never, but nobody can ask servers")
        verdicts.update(ask(module, new))
    answered, due = set(asked), set(wanted)
    named: Dict[str, NamedVerdict] = {}
    for item in declared:
        name = claim_name(item)
        if item in answered:
            verdict = NamedVerdict(name, verdicts[item].verified, verdicts[item].reason, warning=verdicts[item].warning)
        else:
            verdict = NamedVerdict(name, None, _NO_ENDPOINT_YET if item in due else _WHY_NOT_ASKED[when], counts=False)
        if name not in named or named[name].verified is not False:  # of several by one name, the one that failed
            named[name] = verdict
    failed = tuple(item for item in asked if verdicts[item].verified is False)
    return Verification(tuple(named[name] for name in sorted(named)), verdicts, failed)


def sentences(problems: Iterable[Tuple[str, str]]) -> str:
    """What is wrong, from pairs of name and reason: each reason once, with the names it is about."""
    names: Dict[str, List[str]] = {}
    for name, reason in problems:
        names.setdefault(reason, []).append(name)
    text = ". ".join(f"{', '.join(named)}: {reason}" for reason, named in names.items())
    return text + ("" if text.endswith("?") else ".")
