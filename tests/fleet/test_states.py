# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role on sixteen hosts in every state that their global file can be in: prediction, convergence, idempotence, drift, faults, secrets."""

from collections.abc import Callable
from typing import NamedTuple

from support import leaks
from support.fleet import Host

MODULE = "hpc.apptainer.apptainer_fleet"
FILE = "/etc/apptainer/remote.yaml"
TOKEN = "tok-" + "s3cretS3CRET" * 8
HIDDEN = "(hidden)"
DECLARED = {
    "apptainer_fleet_verify": False,
    "apptainer_fleet_prune": True,
    "apptainer_fleet_remotes": [
        {
            "name": "site",
            "uri": "https://library.example.org",
            "exclusive": True,
            "keyservers": [{"uri": "https://keys.example.org"}, {"uri": "https://keys.openpgp.org"}],
        },
        {"name": "spare", "uri": "https://spare.example.org"},
    ],
}


def keyserver(uri):
    return f"            - URI: {uri}\n              Skip: false\n              External: true\n              Insecure: false\n"


def endpoint(name, *lines):
    return "".join([f"    {name}:\n        URI: {name}.example.org\n", *(f"        {line}\n" for line in lines), "        System: true\n"])


KEYS, MORE_KEYS = keyserver("https://keys.example.org"), keyserver("https://keys.openpgp.org")
SPARE = endpoint("spare") + "        Exclusive: false\n"
EXTRA = endpoint("extra", f"Token: {TOKEN}") + "        Exclusive: false\n"
SITE = endpoint("library").replace("library:", "site:") + f"        Exclusive: true\n        Keyservers:\n{KEYS}{MORE_KEYS}"
IN_STATE = f"Active: site\nRemotes:\n{SITE}{SPARE}"


def edited(old, new):
    """What somebody made of the file that is in state."""
    assert IN_STATE.count(old) == 1, old
    return IN_STATE.replace(old, new)


class State(NamedTuple):
    """A host at the start: the text of its file, and what else is done to it; `attributes` is what a diff then shows of mode and owner.

    `fails` is how the sentence begins with which it fails, also in check mode.
    """

    text: str | None
    prepare: Callable[[Host], object] = lambda host: None
    attributes: tuple[str, str] | None = None
    fails: str = ""

    @property
    def differs(self):
        return self.text != IN_STATE or self.attributes is not None


DRIFTED = edited("library.", "libra.")
STATES = {
    "no file, no PyYAML": State(None, Host.without_yaml),
    "in state, /etc read-only": State(IN_STATE, lambda host: host.read_only("/etc")),
    "another uri": State(DRIFTED),
    "exclusive lifted": State(edited("Exclusive: true", "Exclusive: false")),
    "default moved": State(edited("Active: site", "Active: spare")),
    "two exclusives": State(edited("Exclusive: false", "Exclusive: true")),
    "keyserver added": State(edited(KEYS, KEYS + keyserver("https://keys.evil.example.com"))),
    "keyserver removed": State(edited(MORE_KEYS, "")),
    "keyservers reordered": State(edited(KEYS + MORE_KEYS, MORE_KEYS + KEYS)),
    "an endpoint more": State(edited(SITE, EXTRA + SITE)),
    "an endpoint less": State(edited(SPARE, "")),
    "another mode": State(IN_STATE, lambda host: host.run(f"chmod 600 {FILE}"), ("mode: 0600\n", "mode: 0644\n")),
    "another owner": State(IN_STATE, lambda host: host.run(f"chown alice {FILE}"), ("owner: 2000\n", "owner: 0\n")),
    "unparsable": State(edited(SPARE, EXTRA.replace("    extra", "\textra")), fails=f"{FILE}, line 16, column 1: "),
    "/etc read-only": State(DRIFTED, lambda host: host.read_only("/etc"), fails=f"{FILE}: cannot write: Read-only file system. "),
    "disk full": State(DRIFTED, lambda host: host.full("/etc/apptainer"), fails=f"{FILE}: cannot write: No space left on device. "),
}


def stamps(hosts, *paths):
    """What changes if a file is written, or only touched."""
    return {host.name: host.run(f"stat -c '%n %i %y %z %a %U %G' {' '.join(paths)}").stdout for host in hosts}


def shown(played):
    """What the hosts' results say of changes."""
    return {name: (result["status"], result.get("changed"), result.get("diff")) for name, result in played.results(MODULE).items()}


def expected_diff(state):
    hidden = (state.text or "").replace(TOKEN, HIDDEN)
    found = [{"subject": "global", "before_header": FILE, "after_header": FILE, "before": hidden, "after": IN_STATE}] if hidden != IN_STATE else []
    if state.attributes:
        header = f"{FILE} (attributes)"
        before, after = state.attributes
        found.append({"subject": "global", "before_header": header, "after_header": header, "before": before, "after": after})
    return found


def test_new_hosts(fleet, play):
    """The first check predicts exactly what the first run does; after it, nothing differs and nothing is touched."""
    hosts = fleet.hosts[:2]  # all are alike, and two are as good as sixteen
    limit = ["--limit", ",".join(host.name for host in hosts)]
    new = {host.name: ("ok", True, expected_diff(State(None))) for host in hosts}
    predicted = play("--check", "--diff", *limit, **DECLARED)
    assert (predicted.rc, shown(predicted)) == (0, new), predicted.output
    assert not [host.name for host in hosts if host.run("ls -A /etc/apptainer", check=False).returncode == 0]
    done = play("--diff", *limit, **DECLARED)
    assert (done.rc, shown(done)) == (0, new), done.output
    assert {host.read(FILE) for host in hosts} == {IN_STATE}
    written = stamps(hosts, FILE, "/etc/apptainer")
    for arguments in (["--check", "--diff"], ["--diff"]):
        again = play(*arguments, *limit, **DECLARED)
        assert (again.rc, again.hosts("changed"), set(again.hosts("ok"))) == (0, set(), set(written)), again.output
        assert stamps(hosts, FILE, "/etc/apptainer") == written


def test_states(fleet, play):
    """Whatever is found: check mode says what differs, a run repairs it; who fails says why, keeps the file, and stops nobody else."""
    hosts = dict(zip(fleet.hosts, STATES.values(), strict=True))
    for host, state in hosts.items():
        if state.text is not None:
            host.write(FILE, state.text)
        state.prepare(host)
    checked = play("--check", "--diff", "-vvvv", **DECLARED)
    done = play("--diff", "-vvvv", **DECLARED)
    written = stamps(hosts, FILE)
    again = play("--diff", **DECLARED)
    for name, (host, state) in zip(STATES, hosts.items(), strict=True):
        assert_outcome(name, state, checked.results(MODULE)[host.name], fails=state.fails)
        assert_outcome(name, state, done.results(MODULE)[host.name], fails=state.fails)
        assert_outcome(name, state if state.fails else State(IN_STATE), again.results(MODULE)[host.name], fails=state.fails)
        assert host.read(FILE) == (state.text if state.fails else IN_STATE), name
        assert host.run(f"stat -c '%a %U' {FILE}").stdout == "644 root\n", name
        assert host.run("ls -A /etc/apptainer | grep -v -e lock -e filler").stdout == "remote.yaml\n", name
    assert stamps(hosts, FILE) == written
    for played in (checked, done, again):
        assert leaks.leaked([played.output, str(played.records)], leaks.forms("", TOKEN)) == []
        assert "Traceback" not in played.output
        assert played.rc == 2


def assert_outcome(name, state, result, fails):
    if fails:
        assert result["status"] == "failed", name
        assert result["msg"].startswith(state.fails) and "\n" not in result["msg"], (name, result["msg"])
        return
    assert (result["status"], result["changed"]) == ("ok", state.differs), (name, result)
    assert result["diff"] == expected_diff(state), name
