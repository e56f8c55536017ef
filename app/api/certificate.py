"""The certificate that users see, read from the proxy at intervals in the same way as a browser does.

So it is always the certificate in use, whichever component obtained it. Renewals need not be reported.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

from pydantic import AwareDatetime, BaseModel

from app import ending

EVERY_SECONDS = 300.0
TIMEOUT_SECONDS = 5.0
log = logging.getLogger(__name__)


class CertificateOut(BaseModel):
    """A server certificate."""

    names: list[str]
    issuer: str
    ends: AwareDatetime


class Certificate:
    """The certificate that is served at an address, HOST:PORT, for the page's host name. Without an address, none."""

    def __init__(self, address: str, public_url: str) -> None:
        self.host, _, self.port = address.rpartition(":")
        self.name = urlsplit(public_url).hostname or ""
        self.shown: CertificateOut | None = None
        """The last certificate that was read; None when it could not be read."""

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Read the certificate at intervals until the block ends."""
        task = asyncio.create_task(self._watch(), name="certificate") if self.host else None
        try:
            yield
        finally:
            if task:
                await ending.cancel(task)

    async def _watch(self) -> None:
        while True:
            try:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    self.shown = await self._look()
            except (OSError, ValueError, TimeoutError) as error:
                log.warning("cannot read the certificate at %s: %s", self.host, error or type(error).__name__)
                self.shown = None
            await asyncio.sleep(EVERY_SECONDS)

    async def _look(self) -> CertificateOut:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # read invalid ones, too
        _, writer = await asyncio.open_connection(self.host, int(self.port), ssl=context, server_hostname=self.name)
        try:
            der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
        return parse(der or b"")


def parse(der: bytes) -> CertificateOut:
    """Given a certificate in DER form, return its names, issuer and end. Raises ValueError."""
    from cryptography import x509  # a site without https does not need this import

    certificate = x509.load_der_x509_certificate(der)
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = extension.value.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        names = []
    return CertificateOut(names=names, issuer=certificate.issuer.rfc4514_string(), ends=certificate.not_valid_after_utc)
