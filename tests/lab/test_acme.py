"""Certificates on a real server from a real ACME CA (Pebble): issued, renewed while users are connected, and shown."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import httpx
import pytest
from cryptography import x509

from ppmkit.lab import Lab
from tests.lab.test_firewall import ADDRESS, open_ports
from tests.support.authority import DOMAIN, Authority
from tests.support.pebble import pebble
from tests.support.site import Site
from tests.support.waiting import eventually

# Traefik, told that certificates last an hour, renews when 20 minutes are left: a few seconds after these are issued.
LASTS = 1205
DNS = """
server=127.0.0.1:8053
systemd-run -q --unit=lab-dns pebble-challtestsrv -defaultIPv4 $address -defaultIPv6 "" -dns01 $server \
  -http01 "" -https01 "" -tlsalpn01 "" -doh "" -management 127.0.0.1:8055
"""


def set_secret(site: Site, name: str, value: str) -> None:
    argv = site.argv("secrets set", name)
    subprocess.run(argv, env=site.variables, input=value, text=True, check=True, capture_output=True)


@pytest.fixture(scope="module")
def provisioned(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site that would get its certificate from Let's Encrypt, for a domain that is nobody's."""
    site = Site("secured", lab, 2, tmp_path_factory.mktemp("secured"))
    site.configure(url=f"https://{DOMAIN}", proxy={"letsencrypt_email": "ops@ppm.test"})
    site.provision()
    return site


@pytest.fixture(scope="module")
def site(provisioned: Site) -> Iterator[Site]:
    """The site, with a CA on its host."""
    site = provisioned
    address = site.root(pebble(DNS, LASTS))
    ca = {"ca_server": f"https://{address}:14000/dir", "private_ca": True, "certificate_lifetime": "1h"}
    proxy = {"letsencrypt_email": "ops@ppm.test", "check_domain": False, **ca}
    site.configure(url=f"https://{DOMAIN}", proxy=proxy)
    set_secret(site, "acme_ca", site.root("cat /etc/lab-ca/cert.pem"))
    site.ppmctl("deploy")
    yield site
    site.ppmctl("down", "--purge", "--yes")
    site.root("systemctl stop lab-ca lab-dns; systemctl restart ppm-firewall")


def connect(site: Site, newest: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED) -> ssl.SSLSocket:
    """Return a connection to the public port, as of a browser that trusts anybody."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if newest != ssl.TLSVersion.MAXIMUM_SUPPORTED:
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.maximum_version = newest
    return context.wrap_socket(
        socket.create_connection(("127.0.0.1", site.host.https_port), 10), server_hostname=site.environment.domain
    )


def served(site: Site) -> x509.Certificate:
    with connect(site) as connection:
        return x509.load_der_x509_certificate(connection.getpeercert(binary_form=True) or b"")


class Reader(threading.Thread):
    """A user whose one connection must last: it sends request after request and never reconnects."""

    def __init__(self, site: Site, ended: threading.Event) -> None:
        super().__init__()
        self.ended, self.answers, self.failures = ended, 0, list[str]()
        self.connection = http.client.HTTPConnection(DOMAIN)
        self.connection.auto_open = 0
        self.connection.sock = connect(site)

    def run(self) -> None:
        while not self.ended.wait(0.05) and not self.failures:
            try:
                self.connection.request("GET", "/api/system")
                answer = self.connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
            else:
                self.answers += 1
                if answer.status != 200:
                    self.failures.append(str(answer.status))
        self.connection.close()


@contextmanager
def connected(site: Site) -> Iterator[list[Reader]]:
    """Yield users that are connected as long as the block lasts."""
    ended = threading.Event()
    readers = [Reader(site, ended) for _ in range(4)]
    for reader in readers:
        reader.start()
    try:
        yield readers
    finally:
        ended.set()
        for reader in readers:
            reader.join(20)


def test_no_ca_is_asked_while_it_would_say_no(provisioned: Site) -> None:
    done = provisioned.ppmctl("deploy", status=1)

    assert (
        f"the CA would not issue a certificate for {DOMAIN}: {DOMAIN} has no IPv4 address: create an A" in done.stderr
    )
    assert provisioned.root("docker ps -aq") == ""


@pytest.mark.timeout(240)
def test_a_certificate_comes_and_is_renewed_and_no_connection_is_dropped(site: Site) -> None:
    assert eventually(lambda: "Pebble" in served(site).issuer.rfc4514_string(), 180), served(site)
    first = served(site)
    with connected(site) as users:
        renewed = eventually(lambda: served(site).serial_number != first.serial_number, 150)

    assert renewed
    assert served(site).not_valid_after_utc > first.not_valid_after_utc
    assert [user.failures for user in users] == [[]] * 4
    assert min(user.answers for user in users) > 20


def test_from_another_host_https_answers_too(site: Site) -> None:
    stranger = Site("stranger", site.lab, 1, site.folder)

    assert open_ports(stranger, site.root(ADDRESS)) == ["22", "80", "443", "14000"]  # the last one is the CA's


def test_status_says_until_when_it_is_good_and_the_proxy_counts_it(site: Site) -> None:
    checks = {check["name"]: check for check in site.json("status")["hosts"][0]["checks"]}

    assert checks["certificate"]["ok"], checks
    assert re.match(r"valid until \d{4}-\d\d-\d\d \d\d:\d\d UTC", checks["certificate"]["seen"])
    metrics = site.root("curl -s 127.0.0.1:8081/metrics")
    assert re.search(rf'traefik_tls_certs_not_after\{{cn="{DOMAIN}"|sans="{DOMAIN}"', metrics)


def test_the_keys_are_in_a_volume_that_only_the_proxy_reads(site: Site) -> None:
    volume = f"/var/lib/docker/volumes/ppm-{site.name}_acme/_data"

    assert site.root(f"stat -c '%a %u' {volume}/acme.json") == "600 10001"
    mounting = site.root(f"docker ps -a --filter volume=ppm-{site.name}_acme --format '{{{{.Names}}}}'")
    assert mounting == f"ppm-{site.name}-reverse-proxy-1"


def test_http_leads_to_https_and_browsers_are_told_to_stay_there(site: Site) -> None:
    asked = httpx.get(f"http://127.0.0.1:{site.host.http_port}/x?y=1", headers={"Host": DOMAIN}, trust_env=False)

    assert asked.status_code in (301, 308)
    assert re.fullmatch(rf"https://{DOMAIN}(:443)?/x\?y=1", asked.headers["Location"])
    page = http.client.HTTPConnection(DOMAIN)
    page.sock = connect(site)
    page.request("GET", "/")
    assert page.getresponse().headers["Strict-Transport-Security"] == "max-age=31536000"
    page.close()


def test_nothing_older_than_tls_1_2_is_spoken(site: Site) -> None:
    with pytest.raises(ssl.SSLError), pytest.warns(DeprecationWarning, match="TLSv1_1|MINIMUM_SUPPORTED"):
        connect(site, ssl.TLSVersion.TLSv1_1)
    with connect(site, ssl.TLSVersion.TLSv1_2) as old, connect(site) as new:
        assert (old.version(), new.version()) == ("TLSv1.2", "TLSv1.3")


@pytest.mark.full
def test_an_own_certificate_is_replaced_by_a_deploy_and_no_connection_is_dropped(site: Site) -> None:
    """The last one: from here on the site has no CA that it asks."""
    site.configure(url=f"https://{DOMAIN}", proxy={"certificates": "files"})
    authority = Authority()
    proxy = "docker ps -q --filter label=ppm.role=reverse-proxy"

    deploy_own(site, authority, days=90)
    first, before = served(site), site.root(proxy)
    with connected(site) as users:
        deploy_own(site, authority, days=10)
        second = served(site)

    assert "a CA" in first.issuer.rfc4514_string()
    assert (first.not_valid_after_utc - second.not_valid_after_utc).days == 80
    assert site.root(proxy) == before
    assert [user.failures for user in users] == [[]] * 4
    assert "it expires on" in str(site.json("status", status=3)["problems"])
    site.provision()  # it closes the port that was opened for the CA
    assert "no differences" in site.ppmctl("plan").stdout
    found = {check["name"]: check["found"] for check in site.json("doctor")}
    assert found["IPv6 of the domain"] == "it does not point here"


def deploy_own(site: Site, authority: Authority, days: int) -> None:
    for name, pem in zip(("tls_certificate", "tls_key"), authority.issue(timedelta(days=days)), strict=True):
        set_secret(site, name, pem)
    site.ppmctl("deploy")
