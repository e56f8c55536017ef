"""Whether a certificate is good for users, and long enough."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ppmkit.proxy.certificates import Certificate, parse, verdict

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def certificate(left: timedelta, lasts: timedelta = 90 * DAY, *names: str) -> Certificate:
    return Certificate(names or ("ppm.example.org",), NOW + left - lasts, NOW + left, "CN=a CA")


@pytest.mark.parametrize(
    ("given", "ok", "words"),
    [
        (certificate(30 * DAY), True, "valid until 2026-03-31"),
        (certificate(19 * DAY), False, "expires on 2026-03-20 00:00 UTC and was not renewed"),
        (certificate(-DAY), False, "it expired on 2026-02-28"),
        (certificate(2 * DAY, 6 * DAY), True, "valid until"),
        (certificate(DAY, 6 * DAY), False, "was not renewed"),
        (certificate(30 * DAY, 90 * DAY, "*.example.org"), True, "valid until"),
        (certificate(30 * DAY, 90 * DAY, "TRAEFIK DEFAULT CERT"), False, "it is for TRAEFIK DEFAULT CERT, not for ppm"),
    ],
)
def test_a_certificate_is_good_for_its_names_until_a_while_before_its_end(
    given: Certificate, ok: bool, words: str
) -> None:
    found, said = verdict(given, "ppm.example.org", NOW)

    assert found is ok
    assert words in said


def test_who_has_a_certificate_of_its_own_is_told_how_to_renew_it() -> None:
    _, said = verdict(certificate(19 * DAY), "ppm.example.org", NOW, own=True)

    assert "ppmctl secrets set tls_certificate and tls_key" in said


def test_names_and_times_are_read_from_what_a_server_shows() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a CA")])
    built = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), NOW, NOW + 90 * DAY
    ).add_extension(x509.SubjectAlternativeName([x509.DNSName("ppm.example.org")]), critical=False)
    der = built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)

    assert parse(der) == Certificate(("ppm.example.org",), NOW, NOW + 90 * DAY, "CN=a CA")
