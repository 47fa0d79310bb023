# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The report as one page for a browser. It fetches nothing, and only the list of all hosts needs JavaScript.

Everything that comes from hosts stays text: the template escapes it, the data for the script is JSON without a `<`, the script creates only text
nodes, and a content security policy allows only the page's own style and script.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from pathlib import Path
from typing import Any

import jinja2
from ansible_collections.hpc.apptainer.plugins.plugin_utils._health import ERROR, OK, UNKNOWN, WARNING, Health, Row, certificate_text
from ansible_collections.hpc.apptainer.plugins.plugin_utils._nodeset import folded, shortened
from ansible_collections.hpc.apptainer.plugins.plugin_utils._origin import Origin
from ansible_collections.hpc.apptainer.plugins.plugin_utils._outcomes import DRIFTED, FAILED, IN_STATE, UNDECLARED, UNREACHABLE
from ansible_collections.hpc.apptainer.plugins.plugin_utils._report import HEALTH, Report, as_dict
from ansible_collections.hpc.apptainer.plugins.plugin_utils._summary import NOTHING_DECLARED, headline, locked_out_sentences
from ansible_collections.hpc.apptainer.plugins.plugin_utils._text import plural, printable, readable_time
from markupsafe import Markup

_HERE = Path(__file__).parent
_LEAST_GROUPS, _MOST_GROUPS = 10, 25  # that are visible at once
_HOSTS_WIDTH = 90  # in characters
_MOST_USERS = 20  # that a finding names
_NARROWEST = 6  # of the bar's 1000
_LONGEST_COMMAND = 400
_HEALTH_CLASSES = {OK: IN_STATE, UNKNOWN: UNREACHABLE, WARNING: DRIFTED, ERROR: FAILED}
_HEALTH_VERDICTS = {OK: "All that could be asked is well", WARNING: "There are warnings about servers or logins", ERROR: "Servers or logins have errors"}
_LINE_CLASSES = {"-": "del", "+": "ins", "@": "hunk"}


def page(report: Report) -> str:
    """The HTML of the page."""
    content = as_dict(report)
    style, script = ((_HERE / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    for kind in ("groups", "failures", "unreachable", "findings"):
        for number, item in enumerate(content[kind]):
            item["key"] = f"{kind}-{number}"
            item["short"] = shortened(item["hosts"], _HOSTS_WIDTH)
            item["to_do"], item["is_shortened"] = _to_do(item["repair"] or item["instead"] or "")
    for item in content["groups"]:
        item["diff_lines"] = [(_LINE_CLASSES.get(line[:1], "same"), line) for line in item["diff"].split("\n")[2:]]
    for item in content["findings"]:
        item["messages"] = _messages(item["places"])
    return _template("report.html").render(
        content,
        health_tables=_health_tables(report.health) if report.health else [],
        health_class=_HEALTH_CLASSES[report.health.state] if report.health else "",
        health_headline=report.health.headline if report.health else "",
        verdict=_verdict(report),
        headline=report.health.headline if report.kind == HEALTH and report.health else headline(report),
        locked_out_sentences=locked_out_sentences(report),
        labels=report.labels,
        bar=_bar(report),
        visible_groups=_visible_groups(report),
        quiet={state: folded(report.hosts(state)) for state in (UNDECLARED, IN_STATE)},
        style=Markup(style),
        script=Markup(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
        data=Markup(_script_data(content, report.labels)),
    )


def begun_page(title: str, begun: str, origin: Origin) -> str:
    """The HTML that stands in for a report while it is being made. It stays if that never ends, and says so."""
    style = (_HERE / "report.css").read_text(encoding="utf-8")
    return _template("begun.html").render(title=title, begun=begun, made_by=origin.as_dict(), style=Markup(style), style_hash=_hash(style))


@functools.cache
def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True, finalize=_printable_text)
    environment.filters["time"] = readable_time
    return environment.from_string((_HERE / name).read_text(encoding="utf-8"))


def _printable_text(value: object) -> object:
    """What the template prints of a value. The style and the script are printed as they are."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _to_do(text: str) -> tuple[str, bool]:
    """The command at the end of a text with HOSTS in place of its hosts, if there are more of them than anybody wants to see; and whether that is so."""
    start, limit, _hosts = text.rpartition(" --limit ")
    return (f"{start}{limit}HOSTS", True) if limit and len(text) > _LONGEST_COMMAND else (text, False)


def _health_tables(health: Health) -> list[dict[str, Any]]:
    """What the page shows of servers and logins: a table of each kind that has rows, each row with a state, a word for it, and what there is to say."""
    services = [_row(row, row["name"], ("up", "down", "not known")[_answer(row["up"])], row["version"] and f"version {row['version']}", row["reason"])
                for row in health.services]
    logins = [_row(row, row["name"], ("accepted", "rejected", "not known")[_answer(row["valid"])], row["reason"]) for row in health.logins]
    certificates = [_row(row, row["server"], _certificate_word(row), certificate_text(row)) for row in health.certificates]
    tables = {"Services": services, "Logins": logins, "Certificates": certificates}
    return [{"title": title, "wrong": [row for row in rows if row["state"] != IN_STATE], "well": [row for row in rows if row["state"] == IN_STATE]}
            for title, rows in tables.items() if rows]


def _row(row: Row, name: str, word: str, *texts: str | None) -> dict[str, str]:
    return {"name": name, "state": _HEALTH_CLASSES[row["state"]], "word": word, "text": "; ".join(filter(None, texts))}


def _answer(value: bool | None) -> int:
    return 2 if value is None else 0 if value else 1


def _certificate_word(row: Row) -> str:
    if row["days"] is None:
        return "not known"
    return "expired" if row["days"] < 0 else "not trusted" if row["trusted"] is False else plural(row["days"], "day")


def _visible_groups(report: Report) -> int:
    """How many differences are visible at once. The failures are below them, and must not be pushed far down by differences of single hosts."""
    return min(_MOST_GROUPS, max(_LEAST_GROUPS, sum(len(group.hosts) > 1 for group in report.groups)))


def _verdict(report: Report) -> tuple[str, str]:
    """The most important fact, as a state (for the sign) and a sentence."""
    if report.kind == HEALTH and report.health:
        return _HEALTH_CLASSES[report.health.state], _HEALTH_VERDICTS[report.health.state]
    total, unknown, drifted = len(report.results), report.count(FAILED) + report.count(UNREACHABLE), report.count(DRIFTED)
    if not total:
        return UNREACHABLE, headline(report)
    undeclared = report.count(UNDECLARED)
    if undeclared == total:
        return UNREACHABLE, NOTHING_DECLARED
    if not unknown:
        if drifted:
            return DRIFTED, f"{_part_of(drifted, total)} {report.differed}"
        some = f"All hosts that have something declared are in state ({total - undeclared:,} of {total:,})"
        all_well = some if undeclared else "All hosts are in state"
        failing = len(report.problem_hosts)
        return ("users", f"{all_well}, but users' files on {plural(failing, 'host', form=',')} have findings that count") if failing else (IN_STATE, all_well)
    state = FAILED if report.failures else UNREACHABLE
    if report.gathered:
        parts = [f"{report.count(FAILED):,} failed"] * bool(report.failures) + [f"{report.count(UNREACHABLE):,} unknown"] * bool(report.unreachable)
        return state, f"Of {plural(total, 'host', form=',')}: {', '.join(parts)}" + (f"; {drifted:,} {report.differed}" if drifted else "")
    if drifted:
        return state, f"{_part_of(drifted, total)} {report.differed}, {unknown:,} could not be checked"
    return state, "No host could be checked" if unknown == total else f"{_part_of(unknown, total)} could not be checked"


def _part_of(count: int, total: int) -> str:
    if count == total:
        return "The only host" if total == 1 else f"All {total:,} hosts"
    return f"{count:,} of {total:,} hosts"


def _bar(report: Report) -> list[tuple[str, float, float]]:
    """The start and the width of each state's part of the bar, which is 1000 wide. Even a single host among thousands is visible."""
    present = [state for state in report.labels if report.count(state)]
    widths = {state: max(_NARROWEST, 1000 * report.count(state) / len(report.results)) for state in present}
    scale, start, parts = 1000 / sum(widths.values()) if widths else 1, 0.0, []
    for state in present:
        parts.append((state, round(start, 2), round(widths[state] * scale, 2)))
        start += widths[state] * scale
    return parts


def _messages(places: list[dict[str, str]]) -> list[tuple[str, str]]:
    """Each message once, with the users that have it and the hosts on which they have it."""
    hosts_of_users: dict[str, dict[str, list[str]]] = {}
    for place in places:
        hosts_of_users.setdefault(place["message"], {}).setdefault(place["user"], []).append(place["host"])
    return [(message, _users_text(hosts)) for message, hosts in hosts_of_users.items()]


def _users_text(hosts_of_users: dict[str, list[str]]) -> str:
    texts = [f"{user} on {shortened(hosts, _HOSTS_WIDTH)}" for user, hosts in hosts_of_users.items()]
    return "; ".join(texts[:_MOST_USERS]) + (f"; and {len(texts) - _MOST_USERS} more" if len(texts) > _MOST_USERS else "")


def _script_data(content: dict[str, Any], labels: dict[str, str]) -> str:
    """What the script needs, as JSON without a `<`, which is the only way to end the `script` element that contains it."""
    keys: dict[str, list[str]] = {}
    texts = {}
    for kind in ("groups", "failures", "unreachable", "findings"):
        for item in content[kind]:
            texts[item["key"]] = printable(_row_text(kind, item))
            for host in item["hosts"]:
                keys.setdefault(host, []).append(item["key"])
    data = {"labels": labels, "texts": texts,
            "hosts": [[host["name"], host["state"], keys.get(host["name"], [])] for host in content["hosts"]]}
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _row_text(kind: str, item: dict[str, Any]) -> str:
    """What the list of hosts shows about one row of the page."""
    if kind == "findings":
        return f"{item['finding']} ({item['severity']})"
    return "; ".join(item["sentences"]) if kind == "groups" else str(item["reason"])


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
