"""The address that a request comes from. The proxy names it in `X-Forwarded-For`, behind those that others have named.

Only the proxy can reach the api. It takes that header only from the proxies before it that it trusts.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from starlette.requests import HTTPConnection

Networks = Sequence[IPv4Network | IPv6Network]
HOUSEHOLD_BITS = 64
"""Of an IPv6 address: the part that all devices of a household have in common. The proxy counts clients so, too."""


def client_of(connection: HTTPConnection, trusted: Networks) -> str:
    """Return a client's address, or for IPv6 its network.

    It is the last address in `X-Forwarded-For` that is not in the ``trusted`` networks: an address before that one may
    be made up.
    """
    peer = connection.client.host if connection.client else ""
    lines = connection.headers.getlist("X-Forwarded-For")
    named = [part.strip() for line in lines for part in line.split(",") if part.strip()] or [peer]
    return _network(next((name for name in reversed(named) if not _is_in(name, trusted)), named[0]))


def _is_in(name: str, networks: Networks) -> bool:
    try:
        address = ip_address(name)
    except ValueError:
        return False
    return any(address in network for network in networks)


def _network(name: str) -> str:
    try:
        address = ip_address(name)
    except ValueError:  # a word that a proxy writes instead, as `unknown`
        return name
    mapped = getattr(address, "ipv4_mapped", None)
    if address.version == 4 or mapped is not None:
        return str(mapped or address)
    return str(ip_network((address.packed, HOUSEHOLD_BITS), strict=False))
