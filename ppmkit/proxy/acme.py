"""What must hold before a CA is asked for a certificate: it counts attempts that fail, and then refuses for hours."""

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
    """Raise PreflightError, with all that is to be changed, when the CA would refuse."""
    from dns.resolver import get_default_resolver

    environment = host.environment
    if not environment.acme or not environment.proxy.check_domain:
        return
    problems = list(obstacles(environment, _own_addresses(host), get_default_resolver()))
    if problems:
        raise PreflightError(
            f"{host.name}: the CA would give no certificate for {environment.domain}: {'; '.join(problems)}. "
            "Nothing was changed",
            step="preflight",
            host=host.name,
            next=f"Then: ppmctl deploy -e {environment.name}. If the CA sees another network than this machine does: "
            "proxy.check_domain: false",
        )


def ipv6_addresses(domain: str) -> list[str]:
    """Return what the domain's AAAA records say."""
    from dns.resolver import get_default_resolver

    return _records(get_default_resolver(), domain, "AAAA")


def obstacles(environment: Environment, own: Collection[str], resolver: Resolver, timeout: float = 5) -> Iterator[str]:
    """Yield what stands in the way of a certificate, each with what to change. ``own`` are addresses of the host."""
    proxy = environment.proxy
    if not proxy.dns_challenge:
        yield from _way_here(environment, own, resolver, timeout)
    if proxy.publicly_trusted or proxy.staging:
        tag, allowed = _caa(resolver, environment.domain, wildcard=environment.wildcard is not None)
        if allowed and _LETSENCRYPT not in allowed:
            yield f'a CAA record allows only {", ".join(allowed)}: add `0 {tag} "{_LETSENCRYPT}"`'


def _way_here(environment: Environment, own: Collection[str], resolver: Resolver, timeout: float) -> Iterator[str]:
    """Yield what is wrong with the way from the domain to the host. Behind trusted proxies it leads to them first."""
    domain, port = environment.domain, environment.proxy.http_port
    ours = ", ".join(sorted(address for address in own if ":" not in address))
    found, by_ipv6 = _records(resolver, domain, "A"), _records(resolver, domain, "AAAA")
    if environment.proxy.trusted_proxies and (found or by_ipv6):
        return
    if by_ipv6:  # a CA prefers it
        yield f"{domain} is {', '.join(by_ipv6)} by IPv6, where hosts serve nobody: remove the AAAA record"
    if not ours:
        yield "the host has no address of IPv4, and serves users by nothing else: give it one"
    elif not found:
        yield f"{domain} has no address of IPv4: make an A record with {ours}"
    elif strange := [address for address in found if address not in own]:
        yield f"{domain} is {', '.join(strange)}, and the host is {ours}: correct the A record"
    elif closed := [address for address in found if not _reached(address, port, timeout)]:
        yield f"port {port} of {', '.join(closed)} does not answer: open it in every firewall before the host"


def _reached(address: str, port: int, timeout: float) -> bool:
    """Return whether the host answers there: to refuse is an answer, for the proxy need not run yet."""
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
    """Return which property of CAA records counts, and the CAs that it allows; nobody when any CA may.

    The nearest records count: the domain's, else those of the name above, …, by RFC 8659. Of a wildcard the domain is
    the name above, and `issuewild` counts where there is one.
    """
    labels = domain.split(".")[1:] if wildcard else domain.split(".")
    for first in range(len(labels)):
        if found := [record.split(" ", 2)[1:] for record in _records(resolver, ".".join(labels[first:]), "CAA")]:
            tag = "issuewild" if wildcard and "issuewild" in [tag for tag, _ in found] else "issue"
            values = (value.strip('"').partition(";")[0].strip() for each, value in found if each == tag)
            return tag, [value or "nobody" for value in values]
    return "issue", []


def _own_addresses(host: Host) -> set[str]:
    """Return the host's addresses: its own, and those that we reach it by."""
    found = set(host.run(["sh", "-c", _ADDRESSES]).stdout.split())
    address = next(a.address for a in host.environment.hosts if a.name == host.name)
    with suppress(socket.gaierror):  # a name of ~/.ssh/config
        found |= {str(entry[4][0]) for entry in socket.getaddrinfo(address, None)}
    return found
