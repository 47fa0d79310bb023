# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The only way out for values: whatever a result, diff, message, warning or repr() shows of the files passes through here.

It knows both files by the names of their fields and keys alone, so it stands below the values and every layer can use it.
"""

import collections
import re
from typing import Any, Counter, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple, TypeVar
from urllib.parse import unquote

from ._options import ALIASES

HIDDEN = "(hidden)"
HIDDEN_CHANGED = "(hidden, changed)"
NOT_SHOWN = "(not shown)"

_SECRET_FIELDS = ("token", "auth", "password")
_URI_FIELDS = ("uri", "key")
_SHOWN_KEYS = ("username", "email")  # of a login in docker-config.json; all others may hold a secret

_SAFE_PART = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*://)?(?:\[[0-9A-Fa-f:.]*\])?[^:/?#@\s]*(?::[0-9]{1,5}(?![^/]))?")
_START = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?//|")
_WHOLE_URI = re.compile(r"\s*(?:(?:[A-Za-z][A-Za-z0-9+.-]*:)?//|[^\s/:@]+:[^@]+@[^\s@]+\s*\Z)")
_URIS_IN_TEXT = re.compile(r"""(?:[A-Za-z][A-Za-z0-9+.-]*:)?//[^\s"'\\<>,]+""")
_URI_OPTIONS = ("builtin_uri", "uri", *ALIASES["uri of a registry"])
_SECRET_OPTION = re.compile(r"(?!.*file\Z).*(?:pas|pw|tok|secr|cred)", re.IGNORECASE)

_Value = TypeVar("_Value")


def without_login(uri: str, word: str = HIDDEN) -> str:
    """A URI that may be shown: `word` stands in place of a user name and password, and of a query and fragment, however broken the rest is.

    Where it cannot be told whether an @ is in the query, or a ? in the password, it stands for all of it.
    """
    login, at, tail = uri.rpartition("@")
    start = _START.match(uri)
    if at:
        uri = (start.group() if start else "") + word + ("" if re.search("[?#]", login) else at + tail)
    return re.sub(r"([?#]).+", lambda match: match.group(1) + word, uri, flags=re.DOTALL)


def option_secrets(value: Any, is_uri: bool = False, is_secret: bool = False) -> Iterator[str]:
    """The secrets in the options of a task as they were given, before anything in them is checked: lists in lists, unknown options, any type.

    They are the values of options named like `password` or `token`, also misspelt; and in URIs, wherever they are, what there is beside
    addresses: passwords, user names without one, and queries with fragments. With `is_uri`, a text is a URI, also without a scheme.
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from option_secrets(key)
            yield from option_secrets(item, key in _URI_OPTIONS, is_secret or _SECRET_OPTION.match(str(key)) is not None)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from option_secrets(item, is_uri, is_secret)
    elif is_secret and isinstance(value, (str, int)):
        yield str(value) if isinstance(value, str) or value >= 10 ** 5 else ""  # "0" would be hidden in all that is shown
    elif isinstance(value, str):
        uris = [value] if is_uri or _WHOLE_URI.match(value) else _URIS_IN_TEXT.findall(value)
        for uri in uris:
            yield from _secrets_of_uri(uri.strip())


def _secrets_of_uri(uri: str) -> Iterator[str]:
    rest = uri[_START.match(uri).end():]  # type: ignore[union-attr]
    login, _at, tail = rest.rpartition("@")
    if re.search("[?#]", login):  # it cannot be told whether that is in the password, or the @ in the query
        yield rest
        return
    password = login.partition(":")[2] or login.rstrip(":")
    yield from (password, unquote(password), re.sub(r"[^?#]*[?#]?", "", tail, count=1, flags=re.DOTALL))


def safe_part(uri: str) -> str:
    """The part of a declared URI that a message may show however broken the URI is: it ends where a password may stand."""
    return str(_SAFE_PART.findall(without_login(uri.strip()))[0])


def redacted(value: _Value, before: Optional[_Value] = None) -> _Value:
    """A NamedTuple of this collection, or a whole remote.yaml, with words in place of its secrets.

    A secret that differs from the one in `before` is shown as changed. Entries of a list are compared with the one of the same URI.
    """
    shown: _Value = _redacted("", value, value if before is None else before)
    return shown


def _redacted(field: str, value: Any, before: Any) -> Any:
    if isinstance(value, str):
        if field in _SECRET_FIELDS:
            return _secret_word(value, before)
        return _shown_uri(value, before) if field in _URI_FIELDS else value
    if isinstance(value, Mapping):
        return {name: _redacted("", item, before.get(name, item)) for name, item in value.items()}
    if not isinstance(value, tuple):
        return value
    fields: Tuple[str, ...] = getattr(value, "_fields", ())
    if fields:
        return type(value)(*map(_redacted, fields, value, before))
    return tuple(_redacted("", item, old) for item, old in _paired(value, before))


def _paired(items: Sequence[Any], before: Sequence[Any]) -> Iterator[Tuple[Any, Any]]:
    """Each item with the one that had the same URI before, passwords in it aside, in order; a new one with itself."""
    waiting: Dict[str, List[Any]] = {}
    for old in reversed(before):
        waiting.setdefault(without_login(getattr(old, "uri", ""), ""), []).append(old)
    for item in items:
        same_uri = waiting.get(without_login(getattr(item, "uri", ""), ""))
        yield item, same_uri.pop() if same_uri else item


def _shown_uri(uri: str, before: Optional[str]) -> str:
    """A URI without the password that somebody may have written into it by hand."""
    return without_login(uri, HIDDEN if uri == before or "@" not in (before or "") else HIDDEN_CHANGED)


def _secret_word(secret: str, before: Optional[str]) -> str:
    if not secret:
        return ""
    return HIDDEN if not before or secret == before else HIDDEN_CHANGED


def safe_repr(value: Any) -> str:
    """The repr() of a NamedTuple that may hold secrets, so that a traceback or a failed assertion does not show them either."""
    fields = ", ".join(f"{name}={item!r}" for name, item in zip(value._fields, redacted(value)))
    return f"{type(value).__name__}({fields})"


def redacted_docker_tree(tree: Mapping[str, Any], before: Mapping[str, Any]) -> Dict[str, Any]:
    """The object in a docker-config.json with words in place of secrets and of all unknown values: headers and proxies may hold secrets.

    A secret that differs from the one in `before` is shown as changed.
    """
    shown = _by_shown_key((key, value if key == "credsStore" else NOT_SHOWN) for key, value in tree.items())
    if "auths" in tree:
        old = before.get("auths") or {}
        entries = (tree["auths"] or {}).items()
        shown["auths"] = _by_shown_key((key, _redacted_entry(entry or {}, old.get(key) or {})) for key, entry in entries)
    if "credHelpers" in tree:
        shown["credHelpers"] = _by_shown_key((tree["credHelpers"] or {}).items())
    return shown


def _by_shown_key(items: Iterable[Tuple[str, Any]]) -> Dict[str, Any]:
    """The items by their key as it may be shown. Keys that differ only in a password stay apart: a later one gets a number, as in `name (2)`."""
    shown: Dict[str, Any] = {}
    times: Counter[str] = collections.Counter()
    for key, value in items:
        name = unique = without_login(key)
        while unique in shown:
            times[name] += 1
            unique = f"{name} ({times[name] + 1})"
        shown[unique] = value
    return shown


def _redacted_entry(entry: Mapping[str, Any], before: Mapping[str, Any]) -> Dict[str, Any]:
    shown: Dict[str, Any] = {}
    for key, value in entry.items():
        if isinstance(value, str) and value and key not in _SHOWN_KEYS:
            value = HIDDEN if before.get(key) in (None, "", value) else HIDDEN_CHANGED
        shown[key] = value if key in _SHOWN_KEYS or isinstance(value, str) else NOT_SHOWN
    return shown
