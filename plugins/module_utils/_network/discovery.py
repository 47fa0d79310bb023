# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The services of an endpoint, as its discovery document names them.

Apptainer decodes the document with encoding/json into a map of maps and takes what it can use; what stops it is an error here, with the
reason that Apptainer does not tell. Source: `internal/pkg/remote/endpoint/service.go`; recorded runs of keyserver_ops, with what was served.
"""

import json
import traceback
from typing import Any, Mapping, NamedTuple, NoReturn, Optional

from .._errors import NetworkError, RuleError, quoted, shortened
from .._redaction import without_login
from .._values.uri import (
    hardcoded_keyserver,
    is_usable,
    names_host,
    parse,
    requested_url,
)
from .client import Client, Response
from .errors import NotTlsError, status_text
from .verdict import status_advice

try:
    import jsonschema
except ImportError:
    JSONSCHEMA_IMPORT_ERROR: Optional[str] = traceback.format_exc()
else:
    JSONSCHEMA_IMPORT_ERROR = None

_LONGEST = 2048  # of a URI, in characters
DOCUMENT = "/assets/config/config.prod.json"

# What Apptainer can decode. It skips an entry without "uri", or with one that is not text (real documents have a "params" entry).
SCHEMA: Mapping[str, Any] = {
    "$schema": "http://json-schema.org/draft-04/schema#",
    "description": "The discovery document of a library endpoint: services by name, as libraryAPI, keystoreAPI, tokenAPI.",
    "type": "object",
    "additionalProperties": {"type": ["object", "null"], "properties": {"uri": {"description": "The address of the service."}}},
}
_EXPECTED = "an object like {\"libraryAPI\": {\"uri\": \"https://library.example.org\"}}"
_TYPES = {dict: "an object", list: "an array", str: "text", bool: "a boolean", float: "a number", type(None): "null"}


class Services(NamedTuple):
    """What an endpoint offers: `uris` by service (`library`, `keyserver`, `token`, ...), as written in the document at `url` (without login)."""

    url: str
    uris: Mapping[str, str]


def read_json(answer: Response) -> Any:
    """The JSON value in an answer, as Go's encoding/json reads it (the last of equal keys counts, numbers are floats, no `NaN`, no halves of
    surrogate pairs).

    Raises ValueError if there is none; its message holds nothing of the text, which may echo a credential.
    """
    try:
        text = answer.body.decode("utf-8", "replace")
        value = json.loads(text, parse_int=float, parse_constant=_no_constant)
        if "\\ud" not in text.lower():
            return value
        whole = json.dumps(value, ensure_ascii=False).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return json.loads(whole, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        pass
    raise ValueError("not JSON")


def _no_constant(_text: str) -> NoReturn:
    raise ValueError("not JSON")


def is_web_page(answer: Response) -> bool:
    """Whether the answer is meant for people: a proxy's page, a login page, or a web site that answers every address."""
    start = answer.body[:256].lstrip().lower()
    return answer.content_type in ("text/html", "application/xhtml+xml") or start.startswith((b"<!doctype html", b"<html"))


def discover(client: Client, uri: str, insecure: bool) -> Services:
    """Ask the endpoint with the stored `uri` what it offers, at the URL that Apptainer 1.1 to 1.5 uses. Raises NetworkError."""
    if not is_usable(uri, insecure):
        raise NetworkError(f"Apptainer cannot look for services at the endpoint uri {quoted(without_login(uri))}; write it like "
                           "library.example.org, or with a port like //library.example.org:8443")
    url = requested_url(uri, insecure) + DOCUMENT
    shown_url = without_login(url)
    problem = ""
    try:
        answer = client.get(url)
    except NotTlsError as error:
        if insecure or "does not speak TLS" not in str(error):
            raise
        problem = str(error)
    if problem:
        raise NetworkError(f"{problem}. If the endpoint is served by plain http, write its uri with http:// and set insecure: true")
    if answer.status != 200:
        raise NetworkError(f"{shown_url} answers {status_text(answer.status)}{_advice(answer.status)}")
    try:
        document = read_json(answer)
    except ValueError:
        document = None
        unknown = "invalid JSON" if answer.content_type == "application/json" else f"{answer.content_type or 'something'} that is not JSON"
        problem = "a web page" if is_web_page(answer) else unknown
    else:
        problem = _problem(document)
    if problem:
        raise NetworkError(f"{shown_url} answers with {problem} instead of a discovery document: check that uri is that of a library endpoint")
    uris = {}
    for key, entry in document.items():
        name = key[:-3] if key.endswith("API") else key
        if entry and isinstance(entry.get("uri"), str):
            uris["keyserver" if name == "keystore" else name] = entry["uri"]
    return Services(shown_url, uris)


def _advice(status: int) -> str:
    if status == 404:
        return ", so there is probably no library endpoint at this address: check uri"
    if status in (401, 403):
        return ", but Apptainer reads the discovery document without logging in: make it readable without a login"
    return status_advice(status) or " instead of a discovery document: check uri"


def _problem(document: Any) -> str:
    """Why a document is not one that Apptainer could decode, or nothing. Values are not shown."""
    error = next(jsonschema.Draft4Validator(dict(SCHEMA)).iter_errors(document), None)
    if error is None:
        return ""
    kind = _TYPES[type(error.instance)]
    if not error.absolute_path:
        return f"JSON of the wrong shape ({kind} where {_EXPECTED} is expected)"
    return f"JSON of the wrong shape ({kind} at {quoted(shortened(str(error.absolute_path[0]), 40))}, where an object with a uri is expected)"


def service_uri(services: Services, name: str) -> str:
    """The URI of a service, without slashes at the end. Raises NetworkError if there is none that can be used."""
    shown_name = shortened(name, 40)
    if name not in services.uris:
        offered = ", ".join(quoted(shortened(item, 40)) for item in sorted(services.uris)[:20]) or "nothing"
        raise NetworkError(f"{services.url} offers no {shown_name} service (it offers: {offered}); check uri, or add the service to that document")
    uri = services.uris[name]
    problem = ""
    if len(uri) > _LONGEST:
        problem = f"has {len(uri)} characters, which is too long"
    elif not uri.strip():
        problem = "is empty"
    elif not _is_web(uri):
        problem = "is not an http or https address"
    if problem:
        raise NetworkError(f"{services.url} offers a {shown_name} service, but its uri {problem}; correct it in that document")
    return uri.rstrip("/")


def _is_web(uri: str) -> bool:
    try:
        url = parse(uri)
    except RuleError:
        return False
    return url.scheme in ("http", "https") and names_host(url)


def builtin_keyserver(client: Client, uri: str, insecure: bool, flavor: str = "apptainer") -> str:
    """The built-in keyserver of an endpoint, as written in its document, which is how Apptainer stores it.

    As Apptainer (`internal/pkg/remote/endpoint/service.go`), nothing is asked for `cloud.apptainer.org`; SingularityCE does ask. Raises NetworkError.
    """
    if hardcoded_keyserver(uri, flavor):
        return hardcoded_keyserver(uri, flavor)
    services = discover(client, uri, insecure)
    service_uri(services, "keyserver")
    return services.uris["keyserver"]
