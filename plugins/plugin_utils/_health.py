# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""How the servers and logins are that a fleet uses: from the result of apptainer_fleet_health to states, a few lines, and data. Pure rules."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.hpc.apptainer.plugins.module_utils._apptainer.services import USED_SERVICES
from ansible_collections.hpc.apptainer.plugins.plugin_utils._text import plural

OK, UNKNOWN, WARNING, ERROR = HEALTH_STATES = ("ok", "unknown", "warning", "error")

_MOST_LINES = 5  # of a kind
_FOREIGN = "the answer is not that of apptainer_fleet_health; give its registered result"
_DAY = 24 * 3600

Row = Mapping[str, Any]


class Limits(NamedTuple):
    """How many days before a certificate expires this is worth a warning, and an error."""

    warning: float = 21
    error: float = 7


class Health(NamedTuple):
    """What was found, as the report has it in JSON: the worst first. `errors` are why something was not asked at all."""

    asked_from: str
    errors: tuple[str, ...]
    services: tuple[Row, ...] = ()
    logins: tuple[Row, ...] = ()
    certificates: tuple[Row, ...] = ()

    @property
    def rows(self) -> tuple[Row, ...]:
        return (*self.services, *self.logins, *self.certificates)

    @property
    def state(self) -> str:
        """The worst state of all. What is not known is no worse than what is well: there is nothing to do about it."""
        found = {row["state"] for row in self.rows}
        return ERROR if self.errors or ERROR in found else WARNING if WARNING in found else OK

    @property
    def status(self) -> int:
        """The exit status: 2, as Ansible has it for what failed, if there is an error."""
        return 2 if self.state == ERROR else 0

    @property
    def headline(self) -> str:
        """All in one sentence."""
        parts = [
            _counted("service", self.services, "up", ("up", "down", "not known")),
            _counted("login", self.logins, "valid", ("accepted", "rejected", "not known")),
            _counted("certificate", self.certificates, "trusted", ("trusted", "not trusted", "not known")),
            *self.errors,
        ]
        days = [row["days"] for row in self.certificates if row["days"] is not None]
        if days:
            parts.append("a certificate has expired" if min(days) < 0 else f"the next certificate expires in {plural(min(days), 'day')}")
        return f"Servers and logins, asked from {self.asked_from}: {'; '.join(filter(None, parts)) or 'nothing was asked'}"

    def lines(self) -> list[str]:
        """The headline, and what is wrong, for a terminal or a mail."""
        return [
            self.headline,
            *_lines(self.services, lambda row: f"{'Down' if row['up'] is False else 'Warning'}: {row['name']}: {row['reason']}"),
            *_lines(self.logins, lambda row: f"{'Login rejected' if row['valid'] is False else 'Warning'}: {row['name']}: {row['reason']}"),
            *_lines(self.certificates, lambda row: f"Certificate of {row['server']}: {certificate_text(row)}"),
        ]

    def as_dict(self) -> dict[str, Any]:
        """The key `health` of the JSON report."""
        return {"state": self.state, "status": self.status, "from": self.asked_from, "errors": list(self.errors), "services": list(self.services),
                "logins": list(self.logins), "certificates": list(self.certificates)}


def health_of(result: Mapping[str, Any], now: datetime.datetime, limits: Limits, hosts_are_reported: bool) -> Health:
    """From the result of apptainer_fleet_health. If hosts are reported too, it is there that one reads which of them have wrong variables."""
    try:
        errors = [*result["errors"], *(f"{item['name']}: {item['reason']}" for item in result["refused"])]
        if not hosts_are_reported:
            errors += result["undeclared"]
        return Health(
            str(result["from"]), tuple(errors),
            _sorted(map(_service, result["services"])),
            _sorted(map(_login, result["logins"])),
            _sorted(_certificate(row, now, limits) for row in result["certificates"]))
    except (AttributeError, KeyError, TypeError, ValueError):
        return Health("?", (_FOREIGN,))


def certificate_text(row: Row) -> str:
    """When a certificate expires, and what is wrong with it."""
    when = ""
    if row["expires"]:
        days, date = row["days"], row["expires"].partition("T")[0]
        when = f"it expired on {date}" if days < 0 else f"it expires in {plural(days, 'day')}, on {date}"
    return "; ".join(filter(None, [when, row["reason"]]))


def _service(row: Row) -> dict[str, Any]:
    is_used = not row["service"] or row["service"] in USED_SERVICES
    found = {name: row[name] for name in ("kind", "name", "uri", "service", "version", "up")}
    return {**found, **_judged(row, row["up"], ERROR if is_used else WARNING)}


def _login(row: Row) -> dict[str, Any]:
    return {**{name: row[name] for name in ("kind", "name", "uri", "user", "valid")}, **_judged(row, row["valid"], ERROR)}


def _judged(row: Row, well: bool | None, otherwise: str) -> dict[str, str]:
    state = UNKNOWN if well is None else otherwise if not well else WARNING if row["warning"] else OK
    return {"state": state, "reason": "; ".join(filter(None, [row["reason"], row["warning"]]))}


def _certificate(row: Row, now: datetime.datetime, limits: Limits) -> dict[str, Any]:
    """One that is not validated, because somebody said so, is not looked at: nobody has to renew it."""
    days, state = None, UNKNOWN
    if row["expires"]:
        left = (datetime.datetime.fromisoformat(row["expires"].replace("Z", "+00:00")) - now).total_seconds() / _DAY
        days = int(left // 1)
        state = ERROR if left <= limits.error else WARNING if left <= limits.warning else OK
    state = ERROR if row["trusted"] is False else UNKNOWN if row["trusted"] is None else state
    return {"server": row["server"], "expires": row["expires"], "days": days, "trusted": row["trusted"], "state": state, "reason": row["reason"]}


def _sorted(rows: Iterable[dict[str, Any]]) -> tuple[Row, ...]:
    return tuple(sorted(rows, key=lambda row: -HEALTH_STATES.index(row["state"])))


def _counted(noun: str, rows: Sequence[Row], key: str, words: Sequence[str]) -> str:
    counts = [(sum(row[key] is value for row in rows), word) for value, word in zip((True, False, None), words, strict=True)]
    present = [(count, word) for count, word in counts if count]
    return ", ".join(f"{plural(count, noun) if number == 0 else str(count)} {word}" for number, (count, word) in enumerate(present))


def _lines(rows: Sequence[Row], text: Callable[[Row], str]) -> list[str]:
    wrong = [text(row) for row in rows if row["state"] in (WARNING, ERROR)]
    return wrong[:_MOST_LINES] + ([f"{len(wrong) - _MOST_LINES} more like these: see the report"] if len(wrong) > _MOST_LINES else [])
