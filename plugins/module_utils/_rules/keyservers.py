# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""One declared keyserver of a global endpoint, put into its list by rules that are safe to write with.

The other keyservers are left alone. The built-in keyserver of an endpoint is the one that service discovery names; all others are
external. A whole declared list is in `_rules/endpoints.py`.

What Apptainer's own commands do, and their hazards, is in `internal/pkg/remote/endpoint/keyserver.go` and in the recorded runs of
keyserver_ops; the tests compare our rules with every one of those.
"""

from typing import NamedTuple, Optional, Sequence, Tuple

from .._errors import RuleError, quoted
from .._redaction import without_login
from .._values.remote_config import Keyserver, Remote, RemoteConfig, with_remote
from .._values.uri import hardcoded_keyserver, parse, same_keyserver
from .endpoints import Desired
from .uris import checked_keyserver_uri
from .wanted import endpoint_subject


class PlacedKeyserver(NamedTuple):
    """One declared keyserver. `order` counts the keyservers in use, from 1; None: where it is, or the last one.

    `insecure` of None: as it is, else false. `remote` is the endpoint's name, or empty for the default one of the global file.
    `builtin_uri` is the endpoint's built-in keyserver, if the user named it, so that no server need be asked. `flavor` is that of the file.
    """

    uri: str
    present: bool = True
    order: Optional[int] = None
    insecure: Optional[bool] = None
    remote: str = ""
    builtin_uri: Optional[str] = None
    flavor: str = "apptainer"


def owning_endpoint(config: RemoteConfig, wanted: PlacedKeyserver) -> str:
    """The name of the endpoint in the global file `config` that has the keyserver.

    Raises RuleError where `apptainer keyserver add` refuses too (`internal/app/apptainer/keyserver_add.go`), but says what to do.
    """
    name = wanted.remote or config.active
    if not name:
        raise RuleError("the global file has no default endpoint; set remote to the endpoint that has the keyserver, or make one the default "
                        "with apptainer_remote")
    if name not in config.remotes:
        what = "it" if wanted.remote else "it is the default, but"
        raise RuleError(f"{what} is not in the global file; add it first with apptainer_remote (scope: global)", endpoint_subject(name))
    if not config.remotes[name].system:
        raise RuleError("the global file does not mark it as global (System: true), so Apptainer changes no keyservers there; "
                        "declare it with apptainer_remote (scope: global), which fixes that", endpoint_subject(name))
    return name


def needs_discovery(config: RemoteConfig, wanted: PlacedKeyserver) -> Optional[Remote]:
    """The endpoint that must be asked over the network for its built-in keyserver before place_keyserver(), or None.

    An empty list stands for the built-in keyserver alone (UpdateKeyserversConfig), so to add another one it must be known. To remove one
    it need not be: nothing but the built-in one is in use, and that cannot be removed. Raises RuleError for what place_keyserver() would
    refuse whatever the answer.
    """
    if not wanted.present:
        return None
    name = owning_endpoint(config, wanted)
    remote = config.remotes[name]
    try:
        checked_keyserver_uri(wanted.uri)
        _check_order(wanted.order)
    except RuleError as error:
        raise error.about(endpoint_subject(name)) from None
    return None if remote.keyservers or _known_builtin(remote, wanted, None) else remote


def place_keyserver(config: RemoteConfig, wanted: PlacedKeyserver, builtin: Optional[str] = None) -> Desired:
    """Put the declared keyserver into the global file `config`. `builtin` is the answer of the endpoint that needs_discovery() named.

    Keyservers in use come first and skipped ones behind them: in front they would make `apptainer keyserver add` insert at the wrong place
    (AddKeyserver applies the order to the list with the skipped ones). A list in which nothing in use changes is not touched. Apptainer
    tells keyservers apart by scheme and host: an entry with another path is rewritten, several entries of one keyserver become one. Where
    there is no endpoint there is nothing to remove.
    Raises RuleError about the endpoint, with the reason and the way out.
    """
    if not wanted.present and (wanted.remote or config.active) not in config.remotes:
        return Desired(config)
    name = owning_endpoint(config, wanted)
    remote = config.remotes[name]
    known_builtin = _known_builtin(remote, wanted, builtin)
    try:
        servers = _with(remote, wanted, known_builtin) if wanted.present else _without(remote, wanted, known_builtin)
    except RuleError as error:
        raise error.about(endpoint_subject(name)) from None
    if servers == remote.keyservers:
        return Desired(config)
    return Desired(with_remote(config, name, remote._replace(keyservers=servers)))


def predict_new_endpoint(config: RemoteConfig, wanted: PlacedKeyserver) -> Optional[Desired]:
    """For check mode: what becomes of the global file if an earlier task adds the named endpoint, which it does not have yet; else None.

    Raises RuleError as place_keyserver() does.
    """
    if not wanted.present or not wanted.remote or wanted.remote in config.remotes:
        return None
    remote = Remote(system=True)
    try:
        server = Keyserver(checked_keyserver_uri(wanted.uri), external=True, insecure=bool(wanted.insecure))
        _check_order(wanted.order)
        servers = _with(remote, wanted, wanted.builtin_uri) if wanted.builtin_uri else (server,)
    except RuleError as error:
        raise error.about(endpoint_subject(wanted.remote)) from None
    return Desired(with_remote(config, wanted.remote, remote._replace(keyservers=servers)), (
        f"{endpoint_subject(wanted.remote)}: it is not in the global file yet; a real run fails unless an earlier task adds it",))


def _known_builtin(remote: Remote, wanted: PlacedKeyserver, discovered: Optional[str]) -> Optional[str]:
    """The endpoint's built-in keyserver, if it is known."""
    return wanted.builtin_uri or discovered or hardcoded_keyserver(remote.uri, wanted.flavor) or None


def _with(remote: Remote, wanted: PlacedKeyserver, builtin: Optional[str]) -> Tuple[Keyserver, ...]:
    """The list with the keyserver in use. A skipped one is restored: without an order as the last one, as Apptainer does it.

    Raises RuleError for a keyserver that Apptainer could not use, an order out of range, or a built-in keyserver that is not known.
    """
    uri = checked_keyserver_uri(wanted.uri)
    _check_order(wanted.order)
    servers = remote.keyservers or _implied(builtin)
    matching = [server for server in servers if same_keyserver(server.uri, uri)]
    before = [server for server in servers if not server.skip]
    used = [server for server in before if server not in matching]
    current = _merged(matching) if matching else Keyserver(uri, external=not _is_missing_builtin(servers, uri, builtin))
    new = current._replace(uri=uri, skip=False, insecure=current.insecure if wanted.insecure is None else wanted.insecure)
    last = len(used) + 1
    if wanted.order is not None and wanted.order > last:
        raise RuleError(f"order {wanted.order} is out of range (1-{last}, counting the keyservers that are then in use); "
                        "leave it out to put a new one last")
    position = next((index for index, server in enumerate(before, 1) if server in matching), last)
    used.insert((wanted.order or position) - 1, new)
    is_implied = not remote.keyservers and used == [current._replace(uri=uri)] and _path(uri) == _path(current.uri)
    if used == before or is_implied:
        return remote.keyservers
    return tuple(used) + _skipped(servers, matching)


def _without(remote: Remote, wanted: PlacedKeyserver, builtin: Optional[str]) -> Tuple[Keyserver, ...]:
    """The list without the keyserver: an external one is removed, the built-in one is marked as skipped (as by RemoveKeyserver).

    A keyserver that Apptainer cannot use (no scheme, ftp) it can never remove either; here it is removed by its exact text. So is an
    external one marked as skipped, which Apptainer can neither remove nor restore. Raises RuleError for the last one in use, as Apptainer.
    """
    servers = remote.keyservers or ((Keyserver(builtin),) if builtin else ())
    matching = [server for server in servers if server.uri == wanted.uri or same_keyserver(server.uri, wanted.uri.strip())]
    if all(server.skip and not server.external for server in matching):
        return remote.keyservers
    used = tuple(server for server in servers if not server.skip and server not in matching)
    if not used and not all(server.skip for server in matching):
        raise RuleError(f"the keyserver {quoted(without_login(wanted.uri))} is the only one in use, and Apptainer does not remove the last one; "
                        "add another one first, or remove the endpoint")
    merged = _merged(matching)._replace(skip=True)
    return used + _skipped(servers, matching) + (() if merged.external else (merged,))


def _check_order(order: Optional[int]) -> None:
    if order is not None and order < 1:
        raise RuleError(f"order is {order}, but it counts the keyservers in use from 1; leave it out to put a new one last")


def _implied(builtin: Optional[str]) -> Tuple[Keyserver, ...]:
    """What an empty list stands for: the built-in keyserver (UpdateKeyserversConfig)."""
    if builtin is None:
        raise RuleError("its built-in keyserver is unknown and would be dropped; set builtin_uri")
    try:
        return (Keyserver(checked_keyserver_uri(builtin)),)
    except RuleError as error:
        raise RuleError(f"its built-in keyserver cannot be stored ({error}); set builtin_uri to one that works") from None


def _is_missing_builtin(servers: Sequence[Keyserver], uri: str, builtin: Optional[str]) -> bool:
    """Whether a new keyserver is the built-in one. At most one may be: Apptainer sends it the endpoint's token (UpdateKeyserversConfig)."""
    return builtin is not None and same_keyserver(uri, builtin) and all(server.external for server in servers)


def _merged(matching: Sequence[Keyserver]) -> Keyserver:
    """One entry for several of the same keyserver: the first in use counts, and the built-in one stays the built-in one."""
    first = next((server for server in matching if not server.skip), matching[0])
    return first._replace(external=all(server.external for server in matching))


def _skipped(servers: Sequence[Keyserver], matching: Sequence[Keyserver]) -> Tuple[Keyserver, ...]:
    return tuple(server for server in servers if server.skip and server not in matching)


def _path(uri: str) -> str:
    return parse(uri).path.rstrip("/")
