# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""One declared keyserver of a global endpoint, put into its list by rules that are safe to write with.

The other keyservers are left alone. What Apptainer's own commands do, and their hazards, is in `_apptainer/effective.py`; the recorded runs
keyserver_ops judge both. A whole declared list is in `_rules/endpoints.py`.
"""

from typing import List, NamedTuple, Optional, Sequence, Tuple

from .._errors import RuleError, quoted
from .._redaction import without_login
from .._values.remote_config import Keyserver, Remote, RemoteConfig, with_remote
from .._values.uri import (
    check_keyserver,
    fixed_keyserver,
    parse,
    same_keyserver,
)
from .endpoints import Desired


class PlacedKeyserver(NamedTuple):
    """One declared keyserver. `order` counts the keyservers in use, from 1; None: where it is, or the last one.

    `insecure` of None: as it is, else false. `remote` is the endpoint's name, or empty for the default one of the global file.
    `builtin_uri` is the endpoint's own keyserver, if the user said it, so that no server need be asked.
    """

    uri: str
    present: bool = True
    order: Optional[int] = None
    insecure: Optional[bool] = None
    remote: str = ""
    builtin_uri: Optional[str] = None


def owning_endpoint(config: RemoteConfig, wanted: PlacedKeyserver) -> str:
    """The name of the endpoint in the global file `config` that has the keyserver.

    Raises RuleError where `apptainer keyserver add` refuses too (`_apptainer/effective.py` keyserver_owner), but says what to do.
    """
    if not wanted.remote and not config.active:
        raise RuleError("the global file has no default endpoint; name the endpoint of the keyserver, or make one the default with apptainer_remote")
    name = wanted.remote or config.active
    if name not in config.remotes:
        what = "endpoint %s" if wanted.remote else "the default endpoint %s"
        raise RuleError(f"{what} is not in the global file; declare it first with apptainer_remote (scope: global)" % quoted(name))
    if not config.remotes[name].system:
        raise RuleError("endpoint %s: the global file does not mark it as a global one (System: true), so Apptainer changes no keyservers there; "
                        "declare it with apptainer_remote (scope: global), which mends that" % quoted(name))
    return name


def needs_discovery(config: RemoteConfig, wanted: PlacedKeyserver) -> Optional[Remote]:
    """The endpoint that must be asked over the network for its own keyserver before place_keyserver(), or None.

    An empty list stands for the own keyserver alone, so to add another one it must be known. To remove one it need not be: nothing but the
    own one is in use, and that can't be removed. Raises RuleError for what place_keyserver() would refuse whatever the answer.
    """
    if not wanted.present:
        return None
    name = owning_endpoint(config, wanted)
    remote = config.remotes[name]
    try:
        check_keyserver(wanted.uri)
        _check_order(wanted.order)
    except RuleError as error:
        raise _at(name, error) from None
    return None if remote.keyservers or _own_keyserver(remote, wanted, None) else remote


def place_keyserver(config: RemoteConfig, wanted: PlacedKeyserver, builtin: Optional[str] = None) -> Desired:
    """Put the declared keyserver into the global file `config`. `builtin` is what the endpoint asked by needs_discovery() said.

    Keyservers in use come first, skipped ones behind them, where `apptainer keyserver add` does not trip over them; a list in which nothing in
    use changes is not touched. Apptainer tells keyservers apart by scheme and host: an entry with another path is rewritten,
    several entries of one keyserver become one. Where there is no endpoint there is nothing to remove.
    Raises RuleError with the endpoint's name, the reason and the way out.
    """
    if not wanted.present and (wanted.remote or config.active) not in config.remotes:
        return Desired(config)
    name = owning_endpoint(config, wanted)
    remote = config.remotes[name]
    own = _own_keyserver(remote, wanted, builtin)
    try:
        servers = _with(remote, wanted, own) if wanted.present else _without(remote, wanted, own)
    except RuleError as error:
        raise _at(name, error) from None
    if servers == remote.keyservers:
        return Desired(config)
    return Desired(with_remote(config, name, remote._replace(keyservers=servers)))


def predict_new_endpoint(config: RemoteConfig, wanted: PlacedKeyserver) -> Optional[Desired]:
    """For check mode: what becomes of the global file if an earlier task makes the named endpoint, which it has not yet; else None."""
    if not wanted.present or not wanted.remote or wanted.remote in config.remotes:
        return None
    remote = Remote(system=True)
    try:
        server = Keyserver(check_keyserver(wanted.uri), external=True, insecure=bool(wanted.insecure))
        _check_order(wanted.order)
        servers = _with(remote, wanted, wanted.builtin_uri) if wanted.builtin_uri else (server,)
    except RuleError as error:
        raise _at(wanted.remote, error) from None
    return Desired(with_remote(config, wanted.remote, remote._replace(keyservers=servers)), (
        f"endpoint {quoted(wanted.remote)}: it is not in the global file yet; a real run fails, unless an earlier task makes it",))


def _at(name: str, error: RuleError) -> RuleError:
    return RuleError(f"endpoint {quoted(name)}: {error}")


def _own_keyserver(remote: Remote, wanted: PlacedKeyserver, builtin: Optional[str]) -> Optional[str]:
    """The endpoint's own keyserver, as far as known."""
    return wanted.builtin_uri or builtin or fixed_keyserver(remote.uri) or None


def _with(remote: Remote, wanted: PlacedKeyserver, own: Optional[str]) -> Tuple[Keyserver, ...]:
    """The list with the keyserver in use. A skipped one is restored: where nothing else is said, as the last one, as by Apptainer.

    Raises RuleError for a keyserver that Apptainer could not use, an order out of range, or an own keyserver that is not known.
    """
    uri = check_keyserver(wanted.uri)
    _check_order(wanted.order)
    servers = remote.keyservers or _implicit(own)
    matching = [server for server in servers if same_keyserver(server.uri, uri)]
    before = [server for server in servers if not server.skip]
    used = [server for server in before if server not in matching]
    found = _merged(matching) if matching else Keyserver(uri, external=not _is_missing_own(servers, uri, own))
    new = found._replace(uri=uri, skip=False, insecure=found.insecure if wanted.insecure is None else wanted.insecure)
    last = len(used) + 1
    if wanted.order is not None and wanted.order > last:
        raise RuleError("order %d is out of range: maximum is %d, the number of keyservers that are then in use; "
                        "leave order out to put a new one last" % (wanted.order, last))
    here = next((index for index, server in enumerate(before, 1) if server in matching), last)
    used.insert((wanted.order or here) - 1, new)
    is_implied = not remote.keyservers and used == [found._replace(uri=uri)] and _path(uri) == _path(found.uri)
    if used == before or is_implied:
        return remote.keyservers
    return tuple(used) + _skipped(servers, matching)


def _without(remote: Remote, wanted: PlacedKeyserver, own: Optional[str]) -> Tuple[Keyserver, ...]:
    """The list without the keyserver: an external one goes, the endpoint's own is marked as skipped.

    A keyserver that Apptainer could not use (no scheme, ftp) it can never remove either; here it is removed by its exact text. So is an
    external one marked as skipped, which Apptainer can neither remove nor restore. Raises RuleError for the last one in use, as Apptainer.
    """
    servers = remote.keyservers or ((Keyserver(own),) if own else ())
    matching = [server for server in servers if server.uri == wanted.uri or same_keyserver(server.uri, wanted.uri.strip())]
    if all(server.skip and not server.external for server in matching):
        return remote.keyservers
    used = tuple(server for server in servers if not server.skip and server not in matching)
    if not used and not all(server.skip for server in matching):
        raise RuleError("the keyserver %s is the only one in use, and Apptainer removes no primary keyserver; declare another one first, "
                        "or remove the endpoint" % quoted(without_login(wanted.uri)))
    merged = _merged(matching)._replace(skip=True)
    return used + _skipped(servers, matching) + (() if merged.external else (merged,))


def _check_order(order: Optional[int]) -> None:
    if order is not None and order < 1:
        raise RuleError("order counts the keyservers in use from 1, so it cannot be %d; leave it out to put a new one last" % order)


def _implicit(own: Optional[str]) -> Tuple[Keyserver, ...]:
    """What an empty list stands for: the endpoint's own keyserver (`internal/pkg/remote/endpoint/keyserver.go`)."""
    if own is None:
        raise RuleError("its own keyserver is not known, and would be lost when another is added; say it with builtin_uri")
    try:
        return (Keyserver(check_keyserver(own)),)
    except RuleError as error:
        raise RuleError(f"its own keyserver cannot be stored: {error}; say one that works with builtin_uri") from None


def _is_missing_own(servers: Sequence[Keyserver], uri: str, own: Optional[str]) -> bool:
    """Whether a new keyserver is the endpoint's own one. At most one may be: it gets the endpoint's token."""
    return own is not None and same_keyserver(uri, own) and all(server.external for server in servers)


def _merged(matching: List[Keyserver]) -> Keyserver:
    """One entry for several of the same keyserver: the first in use counts, and the endpoint's own stays the endpoint's own."""
    first = next((server for server in matching if not server.skip), matching[0])
    return first._replace(external=all(server.external for server in matching))


def _skipped(servers: Sequence[Keyserver], matching: List[Keyserver]) -> Tuple[Keyserver, ...]:
    return tuple(server for server in servers if server.skip and server not in matching)


def _path(uri: str) -> str:
    return parse(uri).path.rstrip("/")
