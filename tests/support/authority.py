"""A CA of the tests, for certificates of one's own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ppmkit.config.url import is_address

DOMAIN = "ppm.test"
NOW = datetime.now(UTC)
PEM = serialization.Encoding.PEM


class Authority:
    """A CA of its own."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a CA")])
        built = self._built(self._name, self._key.public_key(), NOW + timedelta(days=365))
        built = built.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.pem = built.sign(self._key, hashes.SHA256()).public_bytes(PEM).decode()

    def issue(self, left: timedelta, host: str = DOMAIN) -> tuple[str, str]:
        """Return a certificate of a name or an address that lasts for so long from now, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        built = self._built(name, key.public_key(), NOW + left)
        served = x509.IPAddress(ip_address(host)) if is_address(host) else x509.DNSName(host)
        built = built.add_extension(x509.SubjectAlternativeName([served]), critical=False)
        private = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return built.sign(self._key, hashes.SHA256()).public_bytes(PEM).decode(), private.decode()

    def _built(self, name: x509.Name, key: ec.EllipticCurvePublicKey, end: datetime) -> x509.CertificateBuilder:
        return x509.CertificateBuilder(
            self._name, name, key, x509.random_serial_number(), NOW - timedelta(days=90), end
        )
