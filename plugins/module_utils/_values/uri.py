# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""URIs as Apptainer reads, stores and later uses them.

Apptainer is written in Go and leans on net/url, whose reading differs from Python's: `localhost:18080` is a scheme and an opaque part
there. The functions marked "as Apptainer" predict what it does; those marked "safe" are what we write with.
"""

import posixpath
import re
from typing import List, NamedTuple, Optional, Tuple

from .._errors import RuleError

DEFAULT_ENDPOINT_URI = "cloud.apptainer.org"
DEFAULT_KEYSERVER_URI = "https://keys.openpgp.org"

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*\Z")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2}).{0,2}", re.DOTALL)
_ESCAPES = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_HOST_ASCII = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:\[\]<>\"%-]")
_PORT = re.compile(r":[0-9]*\Z")
_USERINFO = re.compile(r"[A-Za-z0-9._:~!$&'()*+,;=%@-]*\Z")
_KEYSERVER_SCHEMES = ("http", "https", "hkp", "hkps")


class Url(NamedTuple):
    """The parts of a URL as Go's net/url.Parse finds them; `path` is unescaped."""

    scheme: str = ""
    opaque: str = ""
    userinfo: str = ""
    host: str = ""
    path: str = ""
    query: str = ""
    fragment: str = ""


def parse(text: str) -> Url:
    """Read a URL as Go's net/url.Parse does.

    Raises RuleError with Go's own reason where Go refuses. Never quotes the whole text: it may hold a password.
    Source: net/url; cases in the recorded runs of `remote add`.
    """
    if re.search(r"[\x00-\x1f\x7f]", text):
        raise RuleError("invalid control character in URL")
    rest, _hash, fragment = text.partition("#")
    _check_escapes(fragment)
    if rest == "*":
        return Url(path="*", fragment=fragment)
    scheme, rest = _split_scheme(rest)
    rest, _mark, query = rest.partition("?")
    if not rest.startswith("/"):
        if scheme:
            return Url(scheme=scheme, opaque=rest, query=query, fragment=fragment)
        if ":" in rest.split("/", 1)[0]:
            raise RuleError("first path segment in URL cannot contain colon")
    userinfo = host = ""
    if rest.startswith("//") and (scheme or not rest.startswith("///")):
        authority, slash, path = rest[2:].partition("/")
        userinfo, _at, host = authority.rpartition("@")
        host = _host(host)
        if not _USERINFO.match(userinfo):
            raise RuleError("invalid userinfo")
        _check_escapes(userinfo)
        rest = slash + path
    return Url(scheme, "", userinfo, host, _unescape(rest), query, fragment)


def _split_scheme(text: str) -> Tuple[str, str]:
    scheme, colon, rest = text.partition(":")
    if colon and not scheme:
        raise RuleError("missing protocol scheme")
    if colon and _SCHEME.match(scheme):
        return scheme.lower(), rest
    return "", text


def _check_escapes(text: str) -> None:
    bad = _BAD_ESCAPE.search(text)
    if bad:
        raise RuleError(f'invalid URL escape "{bad.group()}"')


def _unescape(text: str) -> str:
    _check_escapes(text)

    def decoded(match: "re.Match[str]") -> str:
        raw = bytearray.fromhex(match.group().replace("%", ""))
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            # Go would store the raw bytes, which YAML can't hold as text; no server has such a path.
            raise RuleError(f"the escape {match.group()} is not UTF-8") from None

    return _ESCAPES.sub(decoded, text)


def _host(host: str) -> str:
    """Check and unescape a host with optional port, as net/url.parseHost."""
    end = host.rfind("]") + 1 if host.startswith("[") else host.rfind(":")
    if host.startswith("[") and not end:
        raise RuleError("missing ']' in host")
    port = host[end:] if end >= 0 else ""
    if port and not _PORT.match(port):
        raise RuleError(f'invalid port "{port}" after host')
    for character in host:
        if ord(character) < 0x80 and not _HOST_ASCII.match(character):
            raise RuleError(f'invalid character "{character}" in host name')
    for escape in re.findall(r"%[0-9A-Fa-f]{2}", host):
        if int(escape[1:], 16) < 0x80 and escape != "%25":
            raise RuleError(f'invalid URL escape "{escape}"')
    return _unescape(host)


def clean_path(path: str) -> str:
    """Go's path.Join of one element."""
    cleaned = posixpath.normpath(path) if path else ""
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def requested_url(stored: str, insecure: bool) -> str:
    """The URL at which Apptainer 1.1 to 1.5 looks for the services of an endpoint with the stored URI, as Apptainer.

    The stored text is parsed once more and gets a scheme by Insecure. So `h:8443` becomes the unusable `https:8443`, and a stored
    `//h:8443` or `https://h:8443` works. Raises RuleError where Apptainer fails to parse.
    Source: `internal/pkg/remote/endpoint/config.go` GetURL since 1.1.0 (1.0 only put `https://` in front), recorded runs of keyserver_ops.
    """
    url = parse(stored)
    scheme = "http" if insecure else "https"
    if url.opaque:
        return f"{scheme}:{url.opaque}"
    login = f"{url.userinfo}@" if url.userinfo else ""
    query = f"?{url.query}" if "?" in stored.partition("#")[0] else ""
    fragment = f"#{url.fragment}" if url.fragment else ""
    return f"{scheme}://{login}{url.host}{url.path}{query}{fragment}"


def names_host(url: Url) -> bool:
    """Whether there is a host to talk to, more than a port."""
    return re.search(r"[^\W_]", re.sub(r":[0-9]*\Z", "", url.host)) is not None


def is_usable(stored: str, insecure: bool) -> bool:
    """Whether Apptainer from 1.1 can find the services of an endpoint with the stored URI."""
    try:
        return names_host(parse(requested_url(stored, insecure))) and not re.search(r"[?#]", stored)
    except RuleError:
        return False


class Endpoint(NamedTuple):
    """A declared endpoint's place: what to store, and what the user should hear about it."""

    uri: str
    insecure: Optional[bool]
    warnings: Tuple[str, ...] = ()


def endpoint(uri: str, insecure: Optional[bool] = None) -> Endpoint:
    """The spelling of a declared endpoint URI that every Apptainer from 1.1 to 1.5 can use, safe.

    `insecure` of None means not said; `https://` then says it, `http://` needs it said. Normally that is what `remote add` stores. With a port or
    an IPv6 address, which no version since 1.1 can use in that form, it is the same with `//` in front. Raises RuleError, with the
    reason, where nothing would work. The message never quotes userinfo.
    """
    text = uri.strip()
    if re.match(r"https?:(?!//)", text, re.IGNORECASE):
        raise RuleError("uri has a scheme without //; write it like https://library.example.org")
    if not re.match(r"([A-Za-z][A-Za-z0-9+.-]*:)?//", text):
        text = f"//{text}"  # else Go takes the host of host:port for a scheme
    try:
        url = parse(text)
    except RuleError as error:
        reason = "" if "@" in text else f": {error}"  # what looks like a port may be a password
        raise RuleError(f"uri cannot be read{reason}; write it like https://library.example.org") from None
    if url.scheme not in ("", "https", "http"):
        raise RuleError(f"uri has the scheme {url.scheme}; an endpoint is reached by https (or http, with insecure: true)")
    if url.scheme == "https" and insecure:
        raise RuleError("uri says https, insecure: true says http; drop one of the two")
    if url.scheme == "http" and not insecure:
        raise RuleError("uri says http, which needs insecure: true; better use https")
    if not names_host(url):
        raise RuleError("uri names no host; write it like https://library.example.org")
    if not url.host.startswith("[") and url.host.count(":") > 1:
        raise RuleError("uri has an IPv6 address without brackets, or two ports; write it like https://[2001:db8::1]:443")
    port = re.search(r":([0-9]+)\Z", url.host)
    if port and not 0 < int(port.group(1)) < 65536:
        raise RuleError(f"uri has the port {port.group(1)}, which cannot be")
    if "@" in url.path + url.query + url.fragment:
        raise RuleError("uri has an @ behind the host, so perhaps a password is in the wrong place; use one without")  # never quoted
    stored = clean_path(url.host + clean_path(f"/{url.path}"))
    return Endpoint(_working_spelling(stored, bool(insecure)), False if url.scheme == "https" else insecure, _dropped(url))


def _working_spelling(stored: str, insecure: bool) -> str:
    wanted = f"{'http' if insecure else 'https'}://{stored}"
    if not re.search(r"[?#%\s]", stored):
        for spelling in (stored, f"//{stored}"):
            try:
                if requested_url(spelling, insecure) == wanted:
                    return spelling
            except RuleError:
                continue
    raise RuleError("uri has a path that Apptainer would read differently when it uses it; use one of plain characters without escapes")


def _dropped(url: Url) -> Tuple[str, ...]:
    parts: List[str] = []
    for name, value in (("user name and password", url.userinfo), ("query", url.query), ("fragment", url.fragment)):
        if value:
            parts.append(f"Apptainer has no place for the {name} in uri, so it is not stored")
    return tuple(parts)


def same_place(one: str, one_insecure: bool, other: str, other_insecure: bool) -> bool:
    """Whether two stored URIs mean the same server and path, however they are spelled, also if Apptainer could not use one of them."""
    return one_insecure == other_insecure and _place(one) == _place(other)


def _place(stored: str) -> Tuple[str, str]:
    try:
        url = parse(stored if "//" in stored else f"//{stored}")
    except RuleError:
        return "", stored
    return url.host.lower(), url.path.rstrip("/")


def same_endpoint(stored: str, insecure: bool, other: str, other_insecure: bool) -> bool:
    """Whether two stored URIs make Apptainer request the same URL."""
    try:
        return requested_url(stored, insecure) == requested_url(other, other_insecure)
    except RuleError:
        return (stored, insecure) == (other, other_insecure)


def keyserver_identity(uri: str) -> Optional[Tuple[str, str]]:
    """Scheme and host by which Apptainer tells keyservers apart, or None if it can't, as Apptainer.

    hkp means http on port 11371, hkps https; the path is ignored, the host's case and `:443` count.
    Source: `internal/pkg/remote/util/util.go` NormalizeKeyserverURI and SameKeyserver; recorded runs of keyserver_ops.
    """
    try:
        url = parse(uri)
    except RuleError:
        return None
    if url.scheme == "hkp":
        return "http", url.host if re.search(r":[0-9]+\Z", url.host) else f"{url.host}:11371"
    if url.scheme == "hkps":
        return "https", url.host
    return (url.scheme, url.host) if url.scheme in ("http", "https") else None


def fixed_keyserver(endpoint_uri: str) -> str:
    """The own keyserver of an endpoint with this stored URI, if it is one that Apptainer knows without asking; else nothing.

    Source: `internal/pkg/remote/endpoint/service.go`.
    """
    return DEFAULT_KEYSERVER_URI if endpoint_uri == DEFAULT_ENDPOINT_URI else ""


def same_keyserver(one: str, other: str) -> bool:
    """Whether Apptainer takes two keyserver URIs for the same, as Apptainer."""
    identity = keyserver_identity(one)
    return identity is not None and identity == keyserver_identity(other)


def check_keyserver(uri: str) -> str:
    """A declared keyserver URI, without white space around it, safe.

    Raises RuleError for what Apptainer stores but can never use or remove again (ftp, no scheme), and for what holds a password.
    """
    uri = uri.strip()
    try:
        url = parse(uri)
    except RuleError:
        raise RuleError("keyserver uri cannot be read; write it like https://keys.example.org") from None
    if url.scheme not in _KEYSERVER_SCHEMES or not names_host(url):
        raise RuleError(f"keyserver uri must be like https://keys.example.org (schemes: {', '.join(_KEYSERVER_SCHEMES)}); Apptainer can use no other")
    if not url.host.startswith("[") and url.host.count(":") > 1:
        raise RuleError("keyserver uri has an IPv6 address without brackets, or two ports; write it like https://[2001:db8::1]:443")
    if url.userinfo:
        raise RuleError("keyserver uri holds a user name or password, and the global file is readable by everyone")
    return uri
