# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""HTTP authentication: the challenges that servers send, and the header that answers one. Pure text, no network."""

import re
from typing import Dict, List, Mapping, NamedTuple, Tuple

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
# What stands between commas; a quoted string may hold commas, and lasts to the end if nothing closes it.
_ITEM = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*(?:"|\\?\Z))+', re.DOTALL)
_PARAMETER = re.compile(rf"({_TOKEN})\s*=\s*(.*)\Z", re.DOTALL)
_SCHEME = re.compile(rf"({_TOKEN})(?:\s+(.*))?\Z", re.DOTALL)
_TOKEN_68 = re.compile(r"[A-Za-z0-9._~+/-]+=*\Z")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)', re.DOTALL)


class Challenge(NamedTuple):
    """One way to log in that a server offers: `scheme` as `bearer`, and its parameters by name; both in lower case."""

    scheme: str
    parameters: Mapping[str, str]


def challenges(header: str) -> List[Challenge]:
    """The challenges of a WWW-Authenticate header, or of several joined by commas, in their order.

    Never fails: of a malformed header it is what can be read. Of parameters with the same name the first counts; a token68 (as Negotiate
    has it) is dropped, since nothing here can answer it. Source: RFC 7235, sections 2.1 and 4.1, and appendix C.
    """
    found: List[Tuple[str, Dict[str, str]]] = []
    for item in _ITEM.findall(header):
        item = item.strip()
        parameter = _PARAMETER.match(item)
        if not parameter:
            start = _SCHEME.match(item)
            if not start:
                continue
            found.append((start.group(1).lower(), {}))
            rest = start.group(2) or ""
            parameter = None if _TOKEN_68.match(rest) else _PARAMETER.match(rest)
        if parameter and found:
            found[-1][1].setdefault(parameter.group(1).lower(), _value(parameter.group(2)))
    return [Challenge(scheme, parameters) for scheme, parameters in found]


def _value(text: str) -> str:
    """A parameter's value: what is in the quotes, if there are any."""
    quoted = _QUOTED.match(text)
    return re.sub(r"\\(.)", r"\1", quoted.group(1), flags=re.DOTALL) if quoted else text
