# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The report as one page for a browser. It fetches nothing, and needs no JavaScript but for the list of all hosts.

Whatever comes from hosts is text: the template escapes it, the data for the script are JSON without a `<`, the script makes text nodes only,
and a content security policy allows no other style and script than the page's own.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from pathlib import Path
from typing import Any

import jinja2
from ansible_collections.hpc.apptainer.plugins.plugin_utils._nodeset import folded, shortened
from ansible_collections.hpc.apptainer.plugins.plugin_utils._outcomes import DRIFTED, FAILED, IN_STATE, UNREACHABLE
from ansible_collections.hpc.apptainer.plugins.plugin_utils._report import WORDS, Report, as_dict, counts, printable
from markupsafe import Markup

_HERE = Path(__file__).parent
_LEAST_GROUPS, _MOST_GROUPS = 10, 25
_WIDTH = 90
_MOST_USERS = 20
_NARROWEST = 6
_KINDS = {"-": "del", "+": "ins", "@": "hunk"}


def page(made: Report) -> str:
    """The HTML of the page."""
    shown = as_dict(made)
    style, script = ((_HERE / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    for kind in ("groups", "failures", "unreachable", "findings"):
        for number, item in enumerate(shown[kind]):
            item["key"] = "%s-%d" % (kind, number)
            item["short"] = shortened(item["hosts"], _WIDTH)
    for item in shown["groups"]:
        item["lines"] = [(_KINDS.get(line[:1], "same"), line) for line in item["diff"].split("\n")[2:]]
    for item in shown["findings"]:
        item["users"] = len({place["user"] for place in item["places"]})
        item["messages"] = _messages(item["places"])
    return _template().render(
        shown,
        verdict=_verdict(made),
        counts=counts(made),
        words=WORDS,
        bar=_bar(made),
        shown=_shown(made),
        in_state=folded(outcome.host for outcome in made.outcomes if outcome.state == IN_STATE),
        style=Markup(style),
        script=Markup(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
        data=Markup(_data(shown)),
    )


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True, finalize=_visible)
    return environment.from_string((_HERE / "report.html").read_text(encoding="utf-8"))


def _visible(value: object) -> object:
    """What the template shows; the style and the script are shown as they are."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _shown(made: Report) -> int:
    """How many differences are seen at once: what fails comes below them, and should not be far behind a lot that one host has each."""
    return min(_MOST_GROUPS, max(_LEAST_GROUPS, sum(len(group.hosts) > 1 for group in made.groups)))


def _verdict(made: Report) -> tuple[str, str]:
    """What to think of it, as a state and a sentence."""
    total, unknown, drifted = len(made.outcomes), made.count(FAILED) + made.count(UNREACHABLE), made.count(DRIFTED)
    if not unknown:
        return (DRIFTED, f"{_of(drifted, total)} drifted") if drifted else (IN_STATE, "All hosts are as declared") if total else (
            UNREACHABLE, counts(made))
    state = FAILED if made.failures else UNREACHABLE
    if drifted:
        return state, f"{_of(drifted, total)} drifted, {format(unknown, ',')} could not be checked"
    return state, "No host could be checked" if unknown == total else f"{_of(unknown, total)} could not be checked"


def _of(count: int, total: int) -> str:
    if count == total:
        return "The only host" if total == 1 else f"All {format(total, ',')} hosts"
    return f"{format(count, ',')} of {format(total, ',')} hosts"


def _bar(made: Report) -> list[tuple[str, float, float]]:
    """Where each state's part of the bar begins and how wide it is, of 1000; a single host among thousands is seen, too."""
    present = [state for state in WORDS if made.count(state)]
    wide = {state: max(_NARROWEST, 1000 * made.count(state) / len(made.outcomes)) for state in present}
    scale, start, parts = 1000 / sum(wide.values()) if wide else 1, 0.0, []
    for state in present:
        parts.append((state, round(start, 2), round(wide[state] * scale, 2)))
        start += wide[state] * scale
    return parts


def _messages(places: list[dict[str, str]]) -> list[tuple[str, str]]:
    """Each message once, with the users and hosts that it is about."""
    users: dict[str, dict[str, list[str]]] = {}
    for place in places:
        users.setdefault(place["message"], {}).setdefault(place["user"], []).append(place["host"])
    return [(message, _people(found)) for message, found in users.items()]


def _people(users: dict[str, list[str]]) -> str:
    """Who, and on which hosts."""
    said = [f"{user} on {shortened(hosts, _WIDTH)}" for user, hosts in users.items()]
    return "; ".join(said[:_MOST_USERS]) + ("; and %d more" % (len(said) - _MOST_USERS) if len(said) > _MOST_USERS else "")


def _data(shown: dict[str, Any]) -> str:
    """What the script needs: it is inside of a `script` element, which only `<` could end."""
    lots: dict[str, list[str]] = {}
    said = {}
    for kind in ("groups", "failures", "unreachable", "findings"):
        for item in shown[kind]:
            said[item["key"]] = printable(_said(kind, item))
            for host in item["hosts"]:
                lots.setdefault(host, []).append(item["key"])
    data = {"words": WORDS, "said": said, "hosts": [[host["name"], host["state"], lots.get(host["name"], [])] for host in shown["hosts"]]}
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _said(kind: str, item: dict[str, Any]) -> str:
    if kind == "findings":
        return f"{item['finding']} ({item['severity']})"
    return "; ".join(item["sentences"]) if kind == "groups" else str(item["reason"])


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
