# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The proxy that Apptainer would use for a URL: Go reads HTTP_PROXY, HTTPS_PROXY and NO_PROXY, and no other variable.

Source: golang.org/x/net/http/httpproxy, with which net/http reads the environment. (requests also reads ALL_PROXY, and the host's settings.)
"""

import contextlib
import ipaddress
import re
from typing import Mapping, Optional
from urllib.parse import SplitResult, urlsplit, urlunsplit

from .._errors import NetworkError
from .addresses import PORTS, has_host
from .errors import Proxy, server_of


def proxy_for(url: str, environ: Mapping[str, str]) -> Optional[Proxy]:
    """The proxy for a URL, None if it is asked directly. Raises NetworkError for one that cannot be used (Go ignores some of these)."""
    parts = urlsplit(url)
    variable = next((name for name in (f"{parts.scheme.upper()}_PROXY", f"{parts.scheme}_proxy") if environ.get(name)), "")
    if not variable or not _uses_proxy(parts, environ.get("NO_PROXY") or environ.get("no_proxy") or ""):
        return None
    text = environ[variable].strip()
    problem = "is not valid; write it like http://host.example.org:3128"
    with contextlib.suppress(ValueError):
        proxy = urlsplit(text if "://" in text else f"http://{text}")
        if proxy.scheme in PORTS and has_host(proxy):
            return Proxy(urlunsplit(proxy), server_of(urlunsplit(proxy)), variable, "@" in proxy.netloc)
        if proxy.scheme.startswith("socks"):
            problem = "is a SOCKS proxy, which is not used here; set an http proxy, or ask from a node that needs none"
    raise NetworkError(f"{server_of(url)} was not asked: the proxy set for it in the environment {problem}")


def _uses_proxy(parts: SplitResult, no_proxy: str) -> bool:
    """Whether a server is asked through the proxy: neither this machine, nor one that NO_PROXY names."""
    host, port = (parts.hostname or "").strip(), parts.port or PORTS.get(parts.scheme, 0)
    if host == "localhost":
        return False
    address = _address(host)
    if address is not None and ipaddress.ip_address(address).is_loopback:
        return False
    return not any(_matches(entry.strip().lower(), host, port, address) for entry in no_proxy.split(","))


def _matches(entry: str, host: str, port: int, address: Optional[str]) -> bool:
    """Whether an entry of NO_PROXY names a server: `*`, a network, an address or a name, which stands for all below it, each with a port."""
    if entry == "*":
        return True
    if "/" in entry:
        with contextlib.suppress(ValueError):
            return address is not None and ipaddress.ip_address(address) in ipaddress.ip_network(entry, strict=False)
    match = re.match(r"(\[[^\]]*\]|[^:]*)(?::([0-9]*))?\Z", entry)
    name, wanted_port = (match.group(1), match.group(2)) if match else (entry, None)
    name = name.strip("[]")
    if not name or (wanted_port and wanted_port != str(port)):
        return False
    if _address(name) is not None:
        return address is not None and _address(name) == address
    name = name[1:] if name.startswith("*.") else name
    return host.endswith(name if name.startswith(".") else f".{name}") or host == name


def _address(host: str) -> Optional[str]:
    """An IP address in its one spelling, None if the host is a name."""
    try:
        return str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        return None
