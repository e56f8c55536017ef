"""Pebble, the ACME CA of the tests, as a script that starts it on a host of the lab."""

from __future__ import annotations


def pebble(dns: str, lasts: int = 7776000) -> str:
    """Return a script that starts a CA, by the services `dns` and `lab-ca`, and prints the host's address.

    ``dns``: a script that starts, as `lab-dns`, a name server at $address or the loopback, and sets $server to it.
    ``lasts``: for how many seconds its certificates are good. /etc/lab-ca/cert.pem is what the CA is known by.
    """
    return f"""
set -e
apt-get install -qq -y --no-install-recommends pebble openssl > /dev/null
address=$(ip -4 -o address show eth0 | awk '{{sub("/.*", "", $4); print $4}}')
mkdir -p /etc/lab-ca && cd /etc/lab-ca
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca -addext "subjectAltName=IP:$address" \
  -keyout key.pem -out cert.pem 2>/dev/null
cat > pebble.json <<END
{{"pebble": {{"listenAddress": "0.0.0.0:14000", "managementListenAddress": "127.0.0.1:15000", "httpPort": 80,
  "certificate": "/etc/lab-ca/cert.pem", "privateKey": "/etc/lab-ca/key.pem", "tlsPort": 443, "ocspResponderURL": "",
  "externalAccountBindingRequired": false, "certificateValidityPeriod": {lasts}}}}}
END
nft insert rule inet ppm input tcp dport 14000 accept  # the CA is elsewhere, in earnest
{dns}
systemd-run -q --unit=lab-ca --setenv=PEBBLE_VA_NOSLEEP=1 --setenv=PEBBLE_WFE_NONCEREJECT=0 \
  pebble -config /etc/lab-ca/pebble.json -dnsserver $server
echo $address
"""
