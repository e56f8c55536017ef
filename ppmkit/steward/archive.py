"""Archive of a database that can leave the host: one file, compressed and then encrypted as a stream.

It is encrypted with age (https://age-encryption.org/v1): with a recipient's private key, `age -d | zstd -d` decodes it
without this program. The host needs only the public keys.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any, TypedDict, cast

import pyrage
import zstandard
from xxhash import xxh3_128

from .errors import KeyMissing, StewardError
from .files import sync

_BLOCK = 1 << 20
_LEVEL = 1
"""Of zstd: higher levels use twice the CPU time for 10% less data."""
_THREADS = min(4, len(os.sched_getaffinity(0)))
"""Limited because each thread has its own buffers, and the container's memory does not grow with the host's cores."""


class Data(TypedDict):
    """A manifest's description of its data file and the database in it."""

    file: str
    bytes: int
    sha256: str
    """Of the archive file."""
    plain_bytes: int
    plain_xxh3: str
    """Of the database file."""
    recipients: list[str]


class _ErrorKeepingFile:
    """A file that stores its error, because the libraries that use it discard the original exception."""

    def __init__(self, file: IO[bytes] | None) -> None:
        self._file = file
        self.error: OSError | None = None

    def read(self, size: int = -1) -> bytes:
        assert self._file is not None, "a write-only file cannot be read"
        with self._keep_error():
            return self._file.read(size)

    def write(self, block: bytes) -> int:
        if self._file is not None:
            with self._keep_error():
                self._file.write(block)
        return len(block)

    def flush(self) -> None:
        if self._file is not None:
            with self._keep_error():
                self._file.flush()

    @contextmanager
    def _keep_error(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.error = error
            raise


class _HashingFile(_ErrorKeepingFile):
    """Also hashes and counts all bytes that are read or written."""

    def __init__(self, file: IO[bytes] | None, digest: Any) -> None:
        super().__init__(file)
        self._hash, self.bytes = digest, 0

    def read(self, size: int = -1) -> bytes:
        block = super().read(size)
        self._count(block)
        return block

    def write(self, block: bytes) -> int:
        self._count(block)
        return super().write(block)

    def digest(self) -> str:
        return str(self._hash.hexdigest())

    def _count(self, block: bytes) -> None:
        self._hash.update(block)
        self.bytes += len(block)


def pack(database: Path, target: Path, recipients: Sequence[str]) -> Data:
    """Archive a database that no process has open to ``target``, then decode and compare it; return its description.

    The comparison requires decoding, but the host has no private key. So the archive is also encrypted to a temporary
    recipient, whose key is discarded afterwards. Raises StewardError if the decoded data differs.
    """
    temporary = pyrage.x25519.Identity.generate()
    keys = [*map(recipient, recipients), temporary.to_public()] if recipients else []
    with database.open("rb") as source, target.open("xb", buffering=_BLOCK) as out:
        plain, packed = _HashingFile(source, xxh3_128()), _HashingFile(out, hashlib.sha256())
        try:
            _encode(plain, database.stat().st_size, packed, keys)
        except Exception as error:
            raise (plain.error or packed.error or error) from error
    sync(target)
    data = Data(
        file=target.name,
        bytes=packed.bytes,
        sha256=packed.digest(),
        plain_bytes=plain.bytes,
        plain_xxh3=plain.digest(),
        recipients=list(recipients),
    )
    unpack(target, None, data, [temporary])
    return data


def _encode(plain: _HashingFile, size: int, packed: _HashingFile, keys: Sequence[Any]) -> None:
    compressor = zstandard.ZstdCompressor(level=_LEVEL, threads=_THREADS, write_checksum=True)
    compressed = compressor.stream_reader(cast("IO[bytes]", plain), size=size, read_size=_BLOCK)
    if keys:
        pyrage.encrypt_io(compressed, packed, keys)
    else:
        while block := compressed.read(_BLOCK):
            packed.write(block)


def unpack(source: Path, target: Path | None, data: Data, identities: Sequence[Any]) -> None:
    """Decode a file to ``target``, or only check that it decodes. Raises StewardError if it does not match ``data``.

    Raises KeyMissing if the file is encrypted and no identity fits, and OSError if the disk is full. Then the caller
    must remove the target.
    """
    if data["recipients"] and not identities:
        raise KeyMissing(f"{source.name} is encrypted, and there is no key to read it")
    with source.open("rb") as encoded, _opened(target) as out:
        packed, plain = _ErrorKeepingFile(encoded), _HashingFile(out, xxh3_128())
        try:
            _decode(packed, plain, identities if data["recipients"] else ())
        except (pyrage.DecryptError, zstandard.ZstdError, OSError) as error:
            if original := plain.error or packed.error:
                raise original from error
            if "No matching keys" in str(error):
                raise KeyMissing(f"{source.name} is encrypted for other recipients: the key does not fit") from error
            raise StewardError(f"{source.name} cannot be decoded: {error}") from error
    if (plain.bytes, plain.digest()) != (data["plain_bytes"], data["plain_xxh3"]):
        raise StewardError(f"{source.name} does not match its manifest")
    if target is not None:
        sync(target)


def _decode(packed: _ErrorKeepingFile, plain: _HashingFile, identities: Sequence[Any]) -> None:
    decompressor = zstandard.ZstdDecompressor()
    decompressed = decompressor.stream_writer(cast("IO[bytes]", plain), write_size=_BLOCK, closefd=False)
    if identities:
        pyrage.decrypt_io(packed, decompressed, identities)
    else:
        while block := packed.read(_BLOCK):
            decompressed.write(block)


def _opened(target: Path | None) -> AbstractContextManager[IO[bytes] | None]:
    return nullcontext() if target is None else target.open("wb", buffering=_BLOCK)


def hashed(file: Path) -> str:
    """Return the SHA-256 of a file."""
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def recipient(text: str) -> Any:
    """Given an age or SSH public key, return the library's object for it. Raises StewardError."""
    try:
        if text.startswith("ssh-"):
            return pyrage.ssh.Recipient.from_str(text)
        return pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError as error:
        raise StewardError(f"not an age or SSH public key: {text}") from error


def identities(text: str) -> list[Any]:
    """Given the content of an age or SSH key file, return its private keys. Raises StewardError."""
    try:
        if text.lstrip().startswith("-----BEGIN"):
            return [pyrage.ssh.Identity.from_buffer(text.encode())]
        lines = [line.strip() for line in text.splitlines()]
        return [pyrage.x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except pyrage.IdentityError as error:
        raise StewardError("the key file contains no age or SSH private key without a passphrase") from error
