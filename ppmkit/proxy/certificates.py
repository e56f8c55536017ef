"""TLS certificates: which one users get and when it expires, and the volume where the proxy stores its own."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ppmkit.config.environment import Environment
    from ppmkit.host.host import Host

WARN = timedelta(days=20)
"""A certificate should be renewed this long before it expires; for short-lived ones, a quarter of their lifetime."""


@dataclass(frozen=True)
class Certificate:
    """A server certificate's names, validity and issuer."""

    names: tuple[str, ...]
    begins: datetime
    ends: datetime
    issuer: str


def shown(host: Host) -> Certificate:
    """Return the certificate that the host's public port presents for the domain. Raises OSError if there is none."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # an invalid certificate must be readable too
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(5)
        raw.connect(str(host.public_socket))
        with context.wrap_socket(raw, server_hostname=host.proxy_settings.domain) as connection:
            return parse(connection.getpeercert(binary_form=True) or b"")


def parse(der: bytes) -> Certificate:
    """Given a certificate, return its names, validity and issuer."""
    from cryptography import x509

    certificate = x509.load_der_x509_certificate(der)
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        addresses = map(str, extension.value.get_values_for_type(x509.IPAddress))
        names = (*extension.value.get_values_for_type(x509.DNSName), *addresses)
    except x509.ExtensionNotFound:
        names = ()
    issuer = certificate.issuer.rfc4514_string()
    return Certificate(names, certificate.not_valid_before_utc, certificate.not_valid_after_utc, issuer)


def verdict(certificate: Certificate, domain: str, now: datetime, *, own: bool = False) -> tuple[bool, str]:
    """Return whether a certificate matches the domain and is valid long enough, and a description.

    ``own``: only the operator renews it.
    """
    remedy = "ppmctl secrets set tls_certificate and tls_key, then deploy" if own else "ppmctl logs reverse-proxy"
    if domain not in certificate.names and f"*.{domain.partition('.')[2]}" not in certificate.names:
        named = ", ".join(certificate.names) or "no name"
        return False, f"it is for {named}, not for {domain}: {remedy}"
    left = certificate.ends - now
    until = f"{certificate.ends:%Y-%m-%d %H:%M} UTC"
    if left <= timedelta():
        return False, f"it expired on {until}: {remedy}"
    if left < min(WARN, (certificate.ends - certificate.begins) / 4):
        return False, f"it expires on {until} and was not renewed: {remedy}"
    return True, f"valid until {until}"


def unfit(chain: str, key: str) -> str | None:
    """Given a custom certificate and its key, both PEM, return why a proxy could not use them, or None."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        certificate = x509.load_pem_x509_certificate(chain.encode())
        private = load_pem_private_key(key.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return "tls_certificate and tls_key are not a certificate and a private key without a passphrase"
    if private.public_key() != certificate.public_key():
        return "tls_key is not the key of the first certificate in tls_certificate"
    return None


def verdict_of(chain: str, domain: str, now: datetime) -> tuple[bool, str]:
    """Return the verdict on a custom certificate, given a valid PEM: the first certificate of its chain."""
    first, end, _ = chain.partition("-----END CERTIFICATE-----")
    return verdict(parse(ssl.PEM_cert_to_DER_cert(first + end)), domain, now, own=True)


def prepare(host: Host, settings: Environment, image: str) -> None:
    """Create the volume for certificates, unless it exists.

    A new volume gets the owner of the folder that it is first mounted over: the steward's /data belongs to the
    services' user.
    """
    project = host.environment.project
    volume = f"{project}_acme"
    if not settings.acme or host.docker.volume.exists(volume):
        return
    labels = {"com.docker.compose.project": project, "com.docker.compose.volume": "acme"}
    host.docker.volume.create(volume, labels=labels)
    start = [
        "docker",
        "run",
        "--rm",
        "--pull",
        "never",
        "--network",
        "none",
        "--cap-drop",
        "ALL",
        "--log-driver",
        "none",
    ]
    host.run([*start, "--volume", f"{volume}:/data", "--entrypoint", "true", image])


def look(host: Host) -> tuple[bool, str]:
    """Return whether the certificate that users get is valid, and a description."""
    try:
        environment = host.proxy_settings
        return verdict(shown(host), environment.domain, datetime.now(UTC), own=not environment.acme)
    except (OSError, ValueError) as error:
        return False, f"the public port presents no certificate: {error}"
