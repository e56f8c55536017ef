"""The certificate that users see: the proxy is asked for it once in a while, as a browser asks for it.

So it is the one in force, whoever has got it: nobody has to tell of a renewal.
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
    """What a server shows who it is by."""

    names: list[str]
    issuer: str
    ends: AwareDatetime


class Certificate:
    """The one at an address, HOST:PORT, for the name of the page; no address, no certificate."""

    def __init__(self, address: str, public_url: str) -> None:
        self.host, _, self.port = address.rpartition(":")
        self.name = urlsplit(public_url).hostname or ""
        self.shown: CertificateOut | None = None
        """What was seen last; None when nobody answered."""

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Look at it again and again for as long as the block lasts."""
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
                log.warning("no certificate was seen at %s: %s", self.host, error or type(error).__name__)
                self.shown = None
            await asyncio.sleep(EVERY_SECONDS)

    async def _look(self) -> CertificateOut:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # whatever it is, it is looked at
        _, writer = await asyncio.open_connection(self.host, int(self.port), ssl=context, server_hostname=self.name)
        try:
            der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
        return parse(der or b"")


def parse(der: bytes) -> CertificateOut:
    """Given a certificate, return what counts of it. Raises ValueError."""
    from cryptography import x509  # a site without https needs none of it

    found = x509.load_der_x509_certificate(der)
    try:
        extension = found.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = extension.value.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        names = []
    return CertificateOut(names=names, issuer=found.issuer.rfc4514_string(), ends=found.not_valid_after_utc)
