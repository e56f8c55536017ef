"""Checks before requesting a certificate: a CA counts failed attempts and then rejects requests for hours."""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from ppmkit.errors import PreflightError

if TYPE_CHECKING:
    from dns.resolver import Resolver

    from ppmkit.config.environment import Environment
    from ppmkit.host.host import Host

_LETSENCRYPT = "letsencrypt.org"
_ADDRESSES = 'ip -o address show scope global | awk \'{sub("/.*", "", $4); print $4}\''


def check(host: Host) -> None:
    """Raise PreflightError, which lists all necessary changes, if the CA would reject the request."""
    from dns.resolver import get_default_resolver

    environment = host.environment
    if not environment.acme or not environment.proxy.check_domain:
        return
    problems = list(obstacles(environment, _own_addresses(host), get_default_resolver()))
    if problems:
        raise PreflightError(
            f"{host.name}: the CA would not issue a certificate for {environment.domain}: {'; '.join(problems)}. "
            "Nothing was changed",
            step="preflight",
            host=host.name,
            next=f"Fix that, then: ppmctl deploy -e {environment.name}. If the CA sees another network than this "
            "machine does, set proxy.check_domain: false",
        )


def ipv6_addresses(domain: str) -> list[str]:
    """Return the addresses in the domain's AAAA records."""
    from dns.resolver import get_default_resolver

    return _records(get_default_resolver(), domain, "AAAA")


def obstacles(environment: Environment, own: Collection[str], resolver: Resolver, timeout: float = 5) -> Iterator[str]:
    """Yield each obstacle to a certificate, with its fix. ``own`` are the host's addresses."""
    proxy = environment.proxy
    if not proxy.dns_challenge:
        yield from _route_obstacles(environment, own, resolver, timeout)
    if proxy.publicly_trusted or proxy.staging:
        tag, allowed = _caa(resolver, environment.domain, wildcard=environment.wildcard is not None)
        if allowed and _LETSENCRYPT not in allowed:
            yield f'a CAA record allows {", ".join(allowed)} only: add `0 {tag} "{_LETSENCRYPT}"`'


def _route_obstacles(
    environment: Environment, own: Collection[str], resolver: Resolver, timeout: float
) -> Iterator[str]:
    """Yield each problem on the path from the domain to the host. With trusted proxies, the domain points to them."""
    domain, port = environment.domain, environment.proxy.http_port
    ours = ", ".join(sorted(address for address in own if ":" not in address))
    ipv4, ipv6 = _records(resolver, domain, "A"), _records(resolver, domain, "AAAA")
    if environment.proxy.trusted_proxies and (ipv4 or ipv6):
        return
    if ipv6:  # a CA prefers IPv6
        yield f"{domain} has the IPv6 address {', '.join(ipv6)}, but hosts serve IPv4 only: remove the AAAA record"
    if not ours:
        yield "the host has no IPv4 address, but hosts serve IPv4 only: give it one"
    elif not ipv4:
        yield f"{domain} has no IPv4 address: create an A record with {ours}"
    elif strange := [address for address in ipv4 if address not in own]:
        yield f"{domain} points to {', '.join(strange)}, but the host is {ours}: correct the A record"
    elif closed := [address for address in ipv4 if not _reachable(address, port, timeout)]:
        yield f"port {port} of {', '.join(closed)} does not answer: open it in every firewall in front of the host"


def _reachable(address: str, port: int, timeout: float) -> bool:
    """Return whether the host answers there. A refused connection counts, because the proxy may not run yet."""
    try:
        with socket.create_connection((address, port), timeout):
            return True
    except ConnectionRefusedError:
        return True
    except OSError:
        return False


def _records(resolver: Resolver, name: str, kind: str) -> list[str]:
    from dns.exception import DNSException

    try:
        return sorted(record.to_text() for record in resolver.resolve(name, kind, lifetime=5))
    except DNSException:
        return []


def _caa(resolver: Resolver, domain: str, *, wildcard: bool) -> tuple[str, list[str]]:
    """Return the CAA property that applies and the CAs that it allows; an empty list if any CA is allowed.

    By RFC 8659 the closest records apply: the domain's own, else its parent's, and so on. For a wildcard, the search
    starts at the parent, and `issuewild` applies if there is one.
    """
    labels = domain.split(".")[1:] if wildcard else domain.split(".")
    for first in range(len(labels)):
        if records := [record.split(" ", 2)[1:] for record in _records(resolver, ".".join(labels[first:]), "CAA")]:
            tag = "issuewild" if wildcard and "issuewild" in [tag for tag, _ in records] else "issue"
            values = (value.strip('"').partition(";")[0].strip() for each, value in records if each == tag)
            return tag, [value or "no CA" for value in values]
    return "issue", []


def _own_addresses(host: Host) -> set[str]:
    """Return the host's addresses: those of its interfaces, and those that we connect to."""
    addresses = set(host.run(["sh", "-c", _ADDRESSES]).stdout.split())
    address = next(a.address for a in host.environment.hosts if a.name == host.name)
    with suppress(socket.gaierror):  # an alias from ~/.ssh/config
        addresses |= {str(entry[4][0]) for entry in socket.getaddrinfo(address, None)}
    return addresses
