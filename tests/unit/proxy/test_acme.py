"""Before a CA is asked: a real name server on this machine, with the mistakes that people make."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from socketserver import BaseRequestHandler, UDPServer

import dns.message
import dns.rdatatype
import dns.resolver
import dns.rrset
import pytest

from ppmkit.proxy import acme
from tests.support.processes import join
from tests.unit.conftest import environment_of

NAME = "ppm.example.org"
HERE = "127.0.0.1"
Zone = dict[tuple[str, str], list[str]]


@pytest.fixture
def zone() -> Zone:
    """What the name server knows; the tests write to it."""
    return {(NAME, "A"): [HERE]}


@pytest.fixture
def resolver(zone: Zone) -> Iterator[dns.resolver.Resolver]:
    """What asks a name server that knows the zone."""

    class Answer(BaseRequestHandler):
        def handle(self) -> None:
            data, server = self.request
            query = dns.message.from_wire(data)
            answer, asked = dns.message.make_response(query), query.question[0]
            kind = dns.rdatatype.to_text(asked.rdtype)
            if found := zone.get((asked.name.to_text().rstrip("."), kind)):
                answer.answer.append(dns.rrset.from_text(asked.name, 60, "IN", kind, *found))
            server.sendto(answer.to_wire(), self.client_address)

    with UDPServer((HERE, 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        asking = dns.resolver.Resolver(configure=False)
        asking.nameservers, asking.port = [HERE], server.server_address[1]
        yield asking
        server.shutdown()
        join(thread)


def found(resolver: dns.resolver.Resolver, *own: str, **proxy: object) -> str:
    """Return what stands in the way of a host with these addresses; nothing listens at its port 1."""
    settings = {"letsencrypt_email": "ops@example.org", "http_port": 1, **proxy}
    environment = environment_of(url=f"https://{NAME}", proxy=settings)
    return "; ".join(acme.obstacles(environment, own or (HERE,), resolver, timeout=1))


def test_a_domain_that_leads_to_the_host_needs_nothing(resolver: dns.resolver.Resolver) -> None:
    assert found(resolver) == ""


def test_a_domain_without_an_address_is_told_which_one(resolver: dns.resolver.Resolver, zone: Zone) -> None:
    zone.clear()

    said = found(resolver, "2001:db8::1", "192.0.2.1")
    assert said == f"{NAME} has no IPv4 address: create an A record with 192.0.2.1"


def test_a_record_that_leads_elsewhere_is_named(resolver: dns.resolver.Resolver, zone: Zone) -> None:
    zone[NAME, "A"] = ["192.0.2.9"]

    assert found(resolver) == f"{NAME} points to 192.0.2.9, but the host is {HERE}: correct the A record"


def test_an_aaaa_record_is_to_go_even_one_that_leads_to_the_host(resolver: dns.resolver.Resolver, zone: Zone) -> None:
    zone[NAME, "AAAA"] = ["2001:db8::9"]
    told = f"{NAME} has the IPv6 address 2001:db8::9, but hosts serve IPv4 only: remove the AAAA record"
    assert found(resolver, HERE, "2001:db8::9") == told

    del zone[NAME, "A"]

    lacks = "the host has no IPv4 address, but hosts serve IPv4 only: give it one"
    assert found(resolver, "2001:db8::9") == f"{told}; {lacks}"


def test_behind_a_trusted_proxy_the_domain_may_lead_elsewhere(resolver: dns.resolver.Resolver, zone: Zone) -> None:
    zone[NAME, "A"], zone[NAME, "AAAA"] = ["192.0.2.9"], ["2001:db8::9"]

    assert found(resolver, trusted_proxies=["192.0.2.0/24"]) == ""


def test_a_port_that_nobody_gets_through_to_is_named(resolver: dns.resolver.Resolver) -> None:
    with socket.socket() as full:  # the kernel does not answer for a program that accepts nobody
        full.bind((HERE, 0))
        full.listen(0)
        port = full.getsockname()[1]
        with socket.create_connection((HERE, port)):
            said = found(resolver, http_port=port)

    assert said == f"port {port} of {HERE} does not answer: open it in every firewall in front of the host"


@pytest.mark.parametrize("owner", [NAME, "example.org"])
def test_a_caa_record_for_another_ca_is_named(resolver: dns.resolver.Resolver, zone: Zone, owner: str) -> None:
    zone[owner, "CAA"] = ['0 issue "ca.example.net; policy=ev"']

    assert found(resolver) == 'a CAA record allows ca.example.net only: add `0 issue "letsencrypt.org"`'
    assert found(resolver, ca_server="https://ca.example.net/dir") == ""


def test_a_caa_record_that_allows_the_ca_or_nearer_ones_that_do_are_no_matter(
    resolver: dns.resolver.Resolver, zone: Zone
) -> None:
    zone["example.org", "CAA"] = ['0 issue ";"']
    assert "allows no CA only" in found(resolver)

    zone[NAME, "CAA"] = ['0 issue "letsencrypt.org"', '0 iodef "mailto:ops@example.org"']
    assert found(resolver) == ""


def test_with_the_dns_challenge_the_domain_may_lead_anywhere(resolver: dns.resolver.Resolver, zone: Zone) -> None:
    zone[NAME, "A"] = ["192.0.2.9"]

    assert found(resolver, dns_challenge={"provider": "cloudflare", "secrets": {"CF_DNS_API_TOKEN": "dns_token"}}) == ""


def test_a_wildcard_is_allowed_by_the_name_above_and_by_its_own_records_where_there_are_any(
    resolver: dns.resolver.Resolver, zone: Zone
) -> None:
    wildcard = {"provider": "cloudflare", "secrets": {"CF_DNS_API_TOKEN": "dns_token"}, "wildcard": True}
    zone[NAME, "CAA"] = ['0 issue ";"']
    zone["example.org", "CAA"] = ['0 issue "letsencrypt.org"']
    assert found(resolver, dns_challenge=wildcard) == ""

    zone["example.org", "CAA"].append('0 issuewild "ca.example.net"')

    said = found(resolver, dns_challenge=wildcard)
    assert said == 'a CAA record allows ca.example.net only: add `0 issuewild "letsencrypt.org"`'
