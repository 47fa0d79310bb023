# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""URIs as Apptainer reads, compares and uses them.

Apptainer is written in Go and relies on net/url, which reads some texts differently than Python does: `localhost:18080` is a scheme and
an opaque part there. Which URIs we accept and write is decided in `_rules/uris.py`.
"""

import posixpath
import re
from typing import NamedTuple, Optional, Tuple

from .._errors import RuleError
from .flavors import FLAVORS

DEFAULT_ENDPOINT_URI = "cloud.apptainer.org"
DEFAULT_KEYSERVER_URI = "https://keys.openpgp.org"

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*\Z")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2}).{0,2}", re.DOTALL)
_ESCAPES = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_HOST_ASCII = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:\[\]<>\"%-]")
_PORT = re.compile(r":[0-9]*\Z")
_USERINFO = re.compile(r"[A-Za-z0-9._:~!$&'()*+,;=%@-]*\Z")


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

    Raises RuleError with Go's own reason where Go refuses. The reason never quotes the whole text, which may hold a password.
    Source: net/url; the recorded runs of `remote add` (remote_ops).
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
        host = _unescaped_host(host)
        if not _USERINFO.match(userinfo):
            raise RuleError("invalid userinfo")
        _check_escapes(userinfo)
        rest = slash + path
    return Url(scheme=scheme, userinfo=userinfo, host=host, path=_unescape(rest), query=query, fragment=fragment)


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
            # Go would store the raw bytes, which YAML cannot hold as text; no server has such a path.
            raise RuleError(f"the escape {match.group()} is not UTF-8") from None

    return _ESCAPES.sub(decoded, text)


def _unescaped_host(host: str) -> str:
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
    """The URL at which Apptainer 1.1 to 1.5 looks for the services of an endpoint with the stored URI.

    Apptainer parses the stored text once more and sets the scheme by Insecure. So `h:8443` becomes the unusable `https:8443`, while a
    stored `//h:8443` or `https://h:8443` works. Raises RuleError where Apptainer fails to parse.
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
    """Whether the URL names a host to talk to, not only a port."""
    return re.search(r"[^\W_]", re.sub(r":[0-9]*\Z", "", url.host)) is not None


def is_usable(stored: str, insecure: bool) -> bool:
    """Whether Apptainer from 1.1 on can find the services of an endpoint with the stored URI."""
    try:
        return names_host(parse(requested_url(stored, insecure))) and not re.search(r"[?#]", stored)
    except RuleError:
        return False


def same_place(one: str, one_insecure: bool, other: str, other_insecure: bool) -> bool:
    """Whether two stored URIs mean the same server and path, however they are spelled, also if Apptainer cannot use one of them."""
    return one_insecure == other_insecure and _host_and_path(one) == _host_and_path(other)


def _host_and_path(stored: str) -> Tuple[str, str]:
    try:
        url = parse(stored if "//" in stored else f"//{stored}")
    except RuleError:
        return "", stored
    return url.host.lower(), url.path.rstrip("/")


def same_requested_url(stored: str, insecure: bool, other: str, other_insecure: bool) -> bool:
    """Whether two stored URIs make Apptainer request the same URL."""
    try:
        return requested_url(stored, insecure) == requested_url(other, other_insecure)
    except RuleError:
        return (stored, insecure) == (other, other_insecure)


def keyserver_identity(uri: str) -> Optional[Tuple[str, str]]:
    """Scheme and host by which Apptainer tells keyservers apart, or None if it cannot.

    hkp means http on port 11371, hkps means https. The path is ignored; the host's case counts, and so does `:443`.
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


def hardcoded_keyserver(endpoint_uri: str, flavor: str = "apptainer") -> str:
    """The built-in keyserver of an endpoint with this stored URI, if the program knows it without asking the endpoint; else an empty text.

    SingularityCE knows none: it asks `cloud.apptainer.org` as any other.
    Source: `internal/pkg/remote/endpoint/service.go`; the recorded runs of keyserver_ops.
    """
    return DEFAULT_KEYSERVER_URI if endpoint_uri == DEFAULT_ENDPOINT_URI and FLAVORS[flavor].has_fixed_services else ""


def same_keyserver(one: str, other: str) -> bool:
    """Whether Apptainer takes two keyserver URIs for the same keyserver."""
    identity = keyserver_identity(one)
    return identity is not None and identity == keyserver_identity(other)
