"""A certificate by DNS-01 on a real server: Pebble asks a real name server (BIND), which the proxy updates (RFC 2136).

What it signs its updates with are secrets as any other, values or a file. HTTP-01, and renewal, are in test_acme.py.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator

import pytest
from cryptography import x509

from ppmkit.lab import Lab
from tests.lab.test_acme import served, set_secret
from tests.support.authority import DOMAIN
from tests.support.pebble import pebble
from tests.support.site import Site
from tests.support.waiting import eventually

pytestmark = pytest.mark.full
NAME = f"www.{DOMAIN}"
KEY = "acme.of.the.lab"
TOKEN = base64.b64encode(os.urandom(32)).decode()
KEY_FILE = f"""key "{KEY}" {{
  algorithm hmac-sha256;
  secret "{TOKEN}";
}};
"""
# Who has the key may write TXT records of the zone and nothing else. The host asks it for every name, as a host asks
# the name server of its network.
BIND = f"""
apt-get install -qq -y --no-install-recommends bind9 bind9-dnsutils > /dev/null
systemctl disable -q --now named
cat > /etc/bind/lab.conf <<END
{KEY_FILE}
options {{ directory "/var/cache/bind"; listen-on-v6 {{ none; }}; recursion no; dnssec-validation no; }};
zone "{DOMAIN}" {{
  type primary; file "/var/lib/bind/{DOMAIN}"; update-policy {{ grant {KEY} subdomain {DOMAIN}. TXT; }};
}};
END
cat > /var/lib/bind/{DOMAIN} <<END
\\$TTL 60
@ SOA ns hostmaster 1 60 60 600 60
@ NS ns
ns A $address
www A $address
END
nft insert rule inet ppm input meta l4proto '{{' tcp, udp '}}' th dport 53 accept  # it is elsewhere, too
server=$address:53
systemd-run -q --unit=lab-dns named -g -u bind -c /etc/bind/lab.conf
cp /etc/resolv.conf /root/resolv.conf
echo nameserver 127.0.0.1 > /etc/resolv.conf
"""
BY_VALUE = {"RFC2136_TSIG_KEY": "dns_key", "RFC2136_TSIG_SECRET": "dns_token"}
BY_FILE = {"RFC2136_TSIG_FILE": "dns_file"}
UPDATE = "server 127.0.0.1\nupdate add {name}.{domain}. 60 {record}\nsend\n"


@pytest.fixture(scope="module")
def site(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with https, and a CA and a name server on its host."""
    site = Site("named", lab, 2, tmp_path_factory.mktemp("named"))
    site.configure(url=f"https://{NAME}", proxy={"letsencrypt_email": "ops@ppm.test"})
    site.provision()
    address = site.root(pebble(BIND))
    challenged(site, address, BY_VALUE)
    set_secret(site, "acme_ca", site.root("cat /etc/lab-ca/cert.pem"))
    for name, value in (("dns_key", KEY), ("dns_token", TOKEN), ("dns_file", KEY_FILE)):
        set_secret(site, name, value)
    site.ppmctl("deploy")
    yield site
    site.ppmctl("down", "--purge", "--yes")
    site.root("systemctl stop lab-ca lab-dns; cat /root/resolv.conf > /etc/resolv.conf; systemctl restart ppm-firewall")


def challenged(site: Site, address: str, secrets: dict[str, str], name: str = NAME, **more: bool) -> None:
    """Configure the site: the CA at this address, and the name server there that the proxy writes to."""
    told = {"NAMESERVER": f"{address}:53", "TSIG_ALGORITHM": "hmac-sha256."}
    variables = {f"RFC2136_{key}": value for key, value in told.items()}
    challenge = {"provider": "rfc2136", "secrets": secrets, "variables": variables, **more}
    ca = {"ca_server": f"https://{address}:14000/dir", "private_ca": True, "check_domain": False}
    proxy = {"letsencrypt_email": "ops@ppm.test", "dns_challenge": challenge, **ca}
    site.configure(url=f"https://{name}", proxy=proxy)


def names(site: Site) -> list[str]:
    """Return the names of the certificate that users see, if it is the CA's."""
    found = served(site)
    if "Pebble" not in found.issuer.rfc4514_string():
        return []
    return found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)


def test_a_certificate_comes_by_dns_and_the_name_server_takes_what_is_signed_alone(site: Site) -> None:
    assert eventually(lambda: names(site) == [NAME], 180), site.root("journalctl -u lab-ca -u lab-dns --no-pager")

    said = site.root("journalctl -u lab-dns --no-pager")
    signed, record = f"key {KEY}: updating zone '{DOMAIN}/IN'", f"_acme-challenge.{NAME}"
    assert f"{signed}: adding an RR at '{record}' TXT" in said
    assert f"{signed}: deleting an RR at {record} TXT" in said
    for name, kind in (("_acme-challenge", 'TXT "x"'), ("www", "A 192.0.2.1")):
        update = UPDATE.format(name=name, domain=DOMAIN, record=kind)
        assert "REFUSED" in site.root(f"nsupdate <<'END' 2>&1 || true\n{update}END")


def test_what_signs_the_updates_is_in_its_file_alone(site: Site) -> None:
    inspected = site.root("docker inspect $(docker ps -aq)")
    in_processes = site.root("cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'")

    assert "RFC2136_TSIG_KEY_FILE=/run/secrets/dns_key" in in_processes
    assert "RFC2136_TSIG_SECRET_FILE=/run/secrets/dns_token" in in_processes
    assert TOKEN not in inspected + in_processes
    assert TOKEN not in site.ppmctl("logs reverse-proxy").stdout


def test_a_wildcard_keeps_the_name_out_of_public_logs_and_a_secret_may_be_a_file_to_the_provider(
    site: Site,
) -> None:
    address = site.environment.proxy.dns_challenge.variables["RFC2136_NAMESERVER"].partition(":")[0]  # type: ignore[union-attr]
    challenged(site, address, BY_FILE, f"quiet.{DOMAIN}", wildcard=True)
    site.ppmctl("deploy")

    assert eventually(lambda: names(site) == [f"*.{DOMAIN}"], 180), site.root("journalctl -u lab-dns --no-pager")
    assert "RFC2136_TSIG_FILE=/run/secrets/dns_file" in site.root("docker inspect $(docker ps -aq)")
    checks = {check["name"]: check for check in site.json("status")["hosts"][0]["checks"]}
    assert checks["certificate"]["ok"], checks
