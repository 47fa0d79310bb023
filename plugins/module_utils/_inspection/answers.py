# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What servers answered (`_inspection/servers.py`), as findings: servers that do not work, and logins that are not accepted. Pure rules."""

from typing import Any, Iterator, Mapping

from .._apptainer.services import USED_SERVICES
from .._errors import quoted
from .._values.remote_config import RemoteConfig
from .findings import Finding


def answer_findings(answers: Mapping[str, Any], config: RemoteConfig, system_path: str, user_path: str, auth_path: str) -> Iterator[Finding]:
    """A finding for each answer that is no good news. `config` is the configuration that servers were asked about, the paths are those of the files
    that it is from. A service that Apptainer does not use may be dead; an unknown verdict (`verified` is null) is no finding."""

    def place(name: str) -> str:
        return system_path if config.remotes[name].system else user_path

    for endpoint in answers.get("services", ()):
        name = endpoint["remote"]
        if endpoint["error"]:
            yield Finding("dead-endpoint", "error", place(name), f"its services cannot be found: {endpoint['error']}", remote=name)
        for service in endpoint["services"]:
            if service["error"] and service["name"] in USED_SERVICES:
                text = f"its {service['name']} service at {service['uri']} does not answer as it should: {service['error']}"
                yield Finding("dead-service", "error", place(name), text, remote=name)
    for keyserver in answers.get("keyservers", ()):
        if keyserver["error"]:
            which = f"its keyserver {keyserver['uri']}" if keyserver["uri"] else "its built-in keyserver"
            yield Finding("dead-keyserver", "error", place(keyserver["remote"]), f"{which} cannot be used: {keyserver['error']}",
                          remote=keyserver["remote"])
    for login in answers.get("logins", ()):
        if login.get("verified") is False:
            remote = login["name"] if login["kind"] == "endpoint" else None
            subject = f"the login to {login['kind']} {quoted(remote) if remote else login['name']}"
            path = auth_path if login["kind"] == "registry" else user_path
            if login["rejected"]:
                yield Finding("rejected-login", "error", path, f"{subject} is not accepted: {login['reason']}", remote=remote)
            else:
                yield Finding("unverified-login", "warning", path, f"{subject} could not be verified: {login['reason']}", remote=remote)
