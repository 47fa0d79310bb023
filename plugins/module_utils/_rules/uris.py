# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Declared URIs of endpoints and keyservers: which of them we accept, and the spelling to store, safe for every version.

What Apptainer makes of a URI is in `_values/uri.py`.
"""

import re
from typing import NamedTuple, Optional, Tuple

from .._errors import RuleError, shortened
from .._values.uri import Url, clean_path, names_host, parse, requested_url

_ENDPOINT_EXAMPLE = "write it like https://library.example.org"
_KEYSERVER_EXAMPLE = "write it like https://keys.example.org"
_KEYSERVER_SCHEMES = ("http", "https", "hkp", "hkps")


class EndpointUri(NamedTuple):
    """The URI of a declared endpoint as it is to be stored, its insecure (None: not set), and what the user should hear about it."""

    uri: str
    insecure: Optional[bool]
    warnings: Tuple[str, ...] = ()


def checked_endpoint_uri(uri: str, insecure: Optional[bool] = None) -> EndpointUri:
    """The spelling of a declared endpoint URI that every Apptainer from 1.1 to 1.5 can use.

    `insecure` of None means not set; then `https://` means that it is false, while `http://` needs it to be true. The spelling is normally
    what `remote add` stores (recorded runs of remote_ops). With a port or an IPv6 address, which no version from 1.1 on can use in that
    form, it has `//` in front (see requested_url()). Raises RuleError, without quoting userinfo, where no spelling works.
    """
    text = uri.strip()
    if re.match(r"https?:(?!//)", text, re.IGNORECASE):
        raise RuleError(f"uri has a scheme without //; {_ENDPOINT_EXAMPLE}")
    if not re.match(r"([A-Za-z][A-Za-z0-9+.-]*:)?//", text):
        text = f"//{text}"  # else Go takes the host of host:port for a scheme
    try:
        url = parse(text)
    except RuleError as error:
        reason = "" if "@" in text else f": {error}"  # what looks like a port may be a password
        raise RuleError(f"uri cannot be parsed{reason}; {_ENDPOINT_EXAMPLE}") from None
    if url.scheme not in ("", "https", "http"):
        raise RuleError(f"uri has the scheme {url.scheme}, but an endpoint needs https, or http with insecure: true; change the scheme")
    if url.scheme == "https" and insecure:
        raise RuleError("uri says https, but insecure: true means http; remove one of the two")
    if url.scheme == "http" and not insecure:
        raise RuleError("uri says http, which is not secure; use https, or set insecure: true")
    if not names_host(url):
        raise RuleError(f"uri has no host name; {_ENDPOINT_EXAMPLE}")
    _check_brackets(url, "uri")
    port = re.search(r":([0-9]+)\Z", url.host)
    if port:
        check_port(port.group(1))
    if "@" in url.path + url.query + url.fragment:
        raise RuleError("uri has an @ after the host; remove any user name and password from it")
    stored = clean_path(url.host + clean_path(f"/{url.path}"))
    return EndpointUri(_usable_spelling(stored, bool(insecure)), False if url.scheme == "https" else insecure, _dropped_parts(url))


def _check_brackets(url: Url, option: str) -> None:
    if not url.host.startswith("[") and url.host.count(":") > 1:
        raise RuleError(f"{option} has an IPv6 address without brackets, or two ports; write it like https://[2001:db8::1]:443")


def check_port(port: str) -> None:
    """Raises RuleError for a port, in digits, that does not exist."""
    significant = port.lstrip("0")
    if not 1 <= len(significant) <= 5 or int(significant) > 65535:
        raise RuleError(f"uri has the port {shortened(port, 20)}, which is out of range (1-65535); correct the port")


def _usable_spelling(stored: str, insecure: bool) -> str:
    """`stored` as it is, or with `//` in front: what Apptainer reads back as the same URL. Raises RuleError if it reads neither so."""
    wanted = f"{'http' if insecure else 'https'}://{stored}"
    if not re.search(r"[?#%\s]", stored):
        for spelling in (stored, f"//{stored}"):
            try:
                if requested_url(spelling, insecure) == wanted:
                    return spelling
            except RuleError:
                continue
    raise RuleError("uri has a path that Apptainer would change when it reads it back; use a path of plain characters without escapes")


def _dropped_parts(url: Url) -> Tuple[str, ...]:
    """A warning for each part of a URI that `remote add` drops too (recorded runs of remote_ops)."""
    parts = (("user name or password", url.userinfo), ("query", url.query), ("fragment", url.fragment))
    return tuple(f"uri has a {name}, which Apptainer does not store; remove it from uri" for name, value in parts if value)


def checked_keyserver_uri(uri: str) -> str:
    """The URI of a declared keyserver, without white space around it.

    Raises RuleError for what Apptainer stores but can never use or remove again (ftp, no scheme: recorded runs of keyserver_ops), and for
    a URI with a user name or password.
    """
    uri = uri.strip()
    try:
        url = parse(uri)
    except RuleError:
        raise RuleError(f"keyserver uri cannot be parsed; {_KEYSERVER_EXAMPLE}") from None
    if url.scheme not in _KEYSERVER_SCHEMES or not names_host(url):
        raise RuleError(f"keyserver uri has no host, or a scheme that Apptainer cannot use (it can use {', '.join(_KEYSERVER_SCHEMES)}); "
                        f"{_KEYSERVER_EXAMPLE}")
    _check_brackets(url, "keyserver uri")
    if url.userinfo:
        raise RuleError("keyserver uri has a user name or password, but everyone can read the global file; remove it from the uri")
    return uri
