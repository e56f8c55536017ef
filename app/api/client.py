"""The client address of a request. The proxy appends it to `X-Forwarded-For`, after any addresses already there.

Only the proxy can reach the api. It accepts that header only from upstream proxies that it trusts.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from starlette.requests import HTTPConnection

Networks = Sequence[IPv4Network | IPv6Network]
HOUSEHOLD_BITS = 64
"""The prefix of an IPv6 address that all devices in a household share. The proxy counts clients the same way."""


def client_of(connection: HTTPConnection, trusted: Networks) -> str:
    """Return a client's address, or for IPv6 its network.

    It is the last address in `X-Forwarded-For` that is not in the ``trusted`` networks: addresses before that one may
    be forged.
    """
    peer = connection.client.host if connection.client else ""
    lines = connection.headers.getlist("X-Forwarded-For")
    addresses = [part.strip() for line in lines for part in line.split(",") if part.strip()] or [peer]
    return _network(next((one for one in reversed(addresses) if not _is_in(one, trusted)), addresses[0]))


def _is_in(name: str, networks: Networks) -> bool:
    try:
        address = ip_address(name)
    except ValueError:
        return False
    return any(address in network for network in networks)


def _network(name: str) -> str:
    try:
        address = ip_address(name)
    except ValueError:  # some proxies write a word instead, such as `unknown`
        return name
    mapped = getattr(address, "ipv4_mapped", None)
    if address.version == 4 or mapped is not None:
        return str(mapped or address)
    return str(ip_network((address.packed, HOUSEHOLD_BITS), strict=False))
