# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The addresses that hosts are written as. What a name stands for, only a name lookup knows."""

import ipaddress
import re
import socket
import unicodedata
from typing import Optional, Union

Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]

_OLD_ADDRESS = re.compile(r"[0-9][0-9a-fx.]*\Z")
# An IPv6 address with one of these in front, and with so many bits behind, leads to an IPv4 address: IPv4-compatible (RFC 4291), mapped
# (RFC 4291) and translated (RFC 2765), by a NAT64 (RFC 6052), and 6to4 (RFC 3056).
_EMBEDDING = [(ipaddress.ip_network(text), shift) for text, shift in (
    ("::/96", 0), ("::ffff:0:0/96", 0), ("::ffff:0:0:0/96", 0), ("64:ff9b::/96", 0), ("2002::/16", 80))]


def address_of(host: str) -> Optional[Address]:
    """The IP address that a host is written as, without its port; None for a name.

    Also in the old forms that name lookups know (`127.1`, `0x7f000001`, `2130706433`: inet_aton), in brackets, with a zone, and in letters
    that become digits before the lookup (IDNA). An IPv6 address that leads to an IPv4 address is that one.
    """
    host = unicodedata.normalize("NFKC", host).strip("[]").lower()
    if _OLD_ADDRESS.match(host):
        try:
            return ipaddress.IPv4Address(socket.inet_aton(host.rstrip(".")))
        except OSError:
            return None
    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return None
    if address.is_loopback or address.is_unspecified:
        return address
    number = int(address)
    return next((ipaddress.IPv4Address(number >> shift & 0xFFFFFFFF) for network, shift in _EMBEDDING if address in network), address)


def no_place_for_secrets(host: str) -> str:
    """Why no secret may be sent to a host, whoever names it, as the rest of a sentence; nothing, if nothing is known.

    A link-local address is another machine on each network, and in clouds the service that knows the keys of the machine that asks it. Nobody
    writes an IPv4 address in an old form, except to get round a list of addresses.
    """
    address = address_of(host)
    if address is None:
        return ""
    if address.is_link_local or address.is_unspecified:
        return "a link-local address" if address.is_link_local else "an address that stands for no machine"
    is_old = address.version == 4 and ":" not in host and str(address) != host
    return "an address that is not written as four decimal numbers" if is_old else ""
