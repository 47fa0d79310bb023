# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The glue to the network. Its libraries are imported here, inside functions, and so only where something is asked of a server."""

from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Sequence, Set, Tuple

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from .._errors import ApptainerError, VerificationError
from .._values.claims import Claim, claim_name

if TYPE_CHECKING:
    from .._inspection.inspect import Checks
    from .._network.client import HttpOptions
    from .._network.verification import Verdict


class Verifier:
    """Has credentials proven as the option `verify` says, each once, and remembers how that went."""

    def __init__(self, module: AnsibleModule) -> None:
        self._module = module
        self._when: str = module.params["verify"]
        self._proofs: Dict[Claim, Verdict] = {}
        self._declared: Dict[str, Claim] = {}
        self._failed: Dict[str, Claim] = {}
        self.foreseen: Set[str] = set()  # labels of what has no place to ask yet, in check mode

    def verify_claim(self, before: Sequence[Claim], declared: Sequence[Claim]) -> List[Claim]:
        """Prove what is declared and, unless `verify` is `always`, not in force yet. Returns what failed; what failed earlier is left out."""
        declared = [item for item in declared if claim_name(item) not in self._failed]
        self._declared = {claim_name(item): item for item in declared}
        old = set(before)
        asked = [item for item in declared
                 if claim_name(item) not in self.foreseen and (self._when == "always" or (self._when == "changed" and item not in old))]
        new = [item for item in asked if item not in self._proofs]
        if new:
            options = http_options(self._module)
            from .._network.parallel import verify_all

            self._proofs.update(zip(new, verify_all(new, options)))
        failed = [item for item in asked if self._proofs[item].verified is False]
        self._failed.update((claim_name(item), item) for item in failed)
        return failed

    def refusal(self, result: Dict[str, Any], outcome: str) -> VerificationError:
        """The error for what failed. `outcome` says what became of the rest."""
        problems = sentences((name, self._proofs[item].reason) for name, item in sorted(self._failed.items()))
        return VerificationError(f"{problems} {outcome}", dict(result, **self.result()))

    def result(self) -> Dict[str, Any]:
        """`verified` and `verification` of a module's result. Warns of what proved nothing."""
        shown = []
        for name, item in sorted(dict(self._declared, **self._failed).items()):
            proof = self._proofs.get(item)
            reason = proof.reason if proof else {
                "never": "not verified, as verify is never",
                "changed": "not verified, as it did not change (verify: always does it)",
            }.get("" if name in self.foreseen else self._when, "not verified, as the endpoint does not exist yet")
            if proof and proof.verified is None:
                self._module.warn(f"{name}: {reason}")
            shown.append({"name": name, "verified": proof.verified if proof else None, "reason": reason})
        verdicts = {self._proofs[item].verified for item in dict(self._declared, **self._failed).values() if item in self._proofs}
        return {"verified": False if False in verdicts else True if verdicts == {True} else None, "verification": shown}


def sentences(problems: Iterable[Tuple[str, str]]) -> str:
    """What is wrong, from pairs of name and reason: each reason once, with the names it is about."""
    names: Dict[str, List[str]] = {}
    for name, reason in problems:
        names.setdefault(reason, []).append(name)
    text = ". ".join(f"{', '.join(named)}: {reason}" for reason, named in names.items())
    return text + ("" if text.endswith("?") else ".")


def http_options(module: AnsibleModule) -> "HttpOptions":
    """The options of NETWORK_SPEC. Leaves with Ansible's usual message if a library is missing on this node."""
    from .._network import client as _http
    from .._network import discovery as _discovery

    why = f"to ask servers{' (verify: never does without)' if 'verify' in module.params else ''}"
    if not _http.HAS_REQUESTS:
        module.fail_json(msg=missing_required_lib("requests", reason=why), exception=_http.REQUESTS_IMPORT_ERROR)
    if not _discovery.HAS_JSONSCHEMA:
        module.fail_json(msg=missing_required_lib("jsonschema", reason=why), exception=_discovery.JSONSCHEMA_IMPORT_ERROR)
    params = module.params
    if not 0 < params["timeout"] <= 3600:
        raise ApptainerError(f"timeout is {params['timeout']:g}, but must be more than 0 and at most 3600 seconds")
    return _http.HttpOptions(params["timeout"], params["validate_certs"], params["ca_path"], params["client_cert"], params["client_key"])


def checks(module: AnsibleModule, topics: Sequence[str]) -> "Checks":
    """What `apptainer_remote_info` asks servers."""
    options = http_options(module)
    from .._inspection.servers import ask_servers

    return lambda config, stored: ask_servers(topics, config, stored, options)


def discovered_keyserver(module: AnsibleModule, uri: str, insecure: bool) -> str:
    """The own keyserver of an endpoint, asked of the endpoint. Raises NetworkError."""
    options = http_options(module)
    from .._network.client import Client
    from .._network.discovery import own_keyserver

    with Client(options) as client:
        return own_keyserver(client, uri, insecure)
