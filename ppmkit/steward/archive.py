"""A database as one file that can leave the host: compressed, then encrypted, both as a stream.

Encryption is age's (https://age-encryption.org/v1): whoever has a private key of one of the recipients can read it with
`age -d | zstd -d`, without this program. The host needs the public keys only.
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
"""Of zstd: higher ones take twice the processor for a tenth less."""
_THREADS = min(4, len(os.sched_getaffinity(0)))
"""Each has buffers of its own, and the container's memory is the same however many processors the host has."""


class Data(TypedDict):
    """What a manifest says of the file beside it, and of what it holds."""

    file: str
    bytes: int
    sha256: str
    """Of the file as it lies there."""
    plain_bytes: int
    plain_xxh3: str
    """Of the database's file."""
    recipients: list[str]


class _Noting:
    """A file that remembers how it failed: the libraries between lose what it says."""

    def __init__(self, file: IO[bytes] | None) -> None:
        self._file = file
        self.failed: OSError | None = None

    def read(self, size: int = -1) -> bytes:
        assert self._file is not None, "what is only written has no file to read from"
        with self._noting():
            return self._file.read(size)

    def write(self, block: bytes) -> int:
        if self._file is not None:
            with self._noting():
                self._file.write(block)
        return len(block)

    def flush(self) -> None:
        if self._file is not None:
            with self._noting():
                self._file.flush()

    @contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.failed = error
            raise


class _Hashing(_Noting):
    """One that hashes and counts, too, what is read from it or written to it."""

    def __init__(self, file: IO[bytes] | None, hashed: Any) -> None:
        super().__init__(file)
        self._hash, self.bytes = hashed, 0

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
    """Write ``target`` from a database that nobody has open; decode it again and compare. Returns what it is.

    To be compared it must be decoded, and the host has no private key: so it is encrypted to one more recipient, whose
    key is forgotten when this returns. Raises StewardError when what is written is not what was read.
    """
    once = pyrage.x25519.Identity.generate()
    keys = [*map(recipient, recipients), once.to_public()] if recipients else []
    with database.open("rb") as source, target.open("xb", buffering=_BLOCK) as out:
        plain, packed = _Hashing(source, xxh3_128()), _Hashing(out, hashlib.sha256())
        try:
            _encode(plain, database.stat().st_size, packed, keys)
        except Exception as error:
            raise (plain.failed or packed.failed or error) from error
    sync(target)
    data = Data(
        file=target.name,
        bytes=packed.bytes,
        sha256=packed.digest(),
        plain_bytes=plain.bytes,
        plain_xxh3=plain.digest(),
        recipients=list(recipients),
    )
    unpack(target, None, data, [once])
    return data


def _encode(plain: _Hashing, size: int, packed: _Hashing, keys: Sequence[Any]) -> None:
    compressor = zstandard.ZstdCompressor(level=_LEVEL, threads=_THREADS, write_checksum=True)
    compressed = compressor.stream_reader(cast("IO[bytes]", plain), size=size, read_size=_BLOCK)
    if keys:
        pyrage.encrypt_io(compressed, packed, keys)
    else:
        while block := compressed.read(_BLOCK):
            packed.write(block)


def unpack(source: Path, target: Path | None, data: Data, identities: Sequence[Any]) -> None:
    """Decode a file to ``target``, or only to see that it can be. Raises StewardError when it is not as ``data`` says.

    Raises KeyMissing when it is encrypted and none of the identities fits, and OSError when the disk gets full. A
    target is then left for the caller to remove.
    """
    if data["recipients"] and not identities:
        raise KeyMissing(f"{source.name} is encrypted, and there is no key to read it")
    with source.open("rb") as encoded, _opened(target) as out:
        packed, plain = _Noting(encoded), _Hashing(out, xxh3_128())
        try:
            _decode(packed, plain, identities if data["recipients"] else ())
        except (pyrage.DecryptError, zstandard.ZstdError, OSError) as error:
            if failed := plain.failed or packed.failed:
                raise failed from error
            if "No matching keys" in str(error):
                raise KeyMissing(f"{source.name} is encrypted for others: the key does not fit") from error
            raise StewardError(f"{source.name} cannot be decoded: {error}") from error
    if (plain.bytes, plain.digest()) != (data["plain_bytes"], data["plain_xxh3"]):
        raise StewardError(f"{source.name} does not hold what its manifest says")
    if target is not None:
        sync(target)


def _decode(packed: _Noting, plain: _Hashing, identities: Sequence[Any]) -> None:
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
    """Given a public key of age or SSH, return it as the library wants it. Raises StewardError."""
    try:
        if text.startswith("ssh-"):
            return pyrage.ssh.Recipient.from_str(text)
        return pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError as error:
        raise StewardError(f"not a public key of age or SSH: {text}") from error


def identities(text: str) -> list[Any]:
    """Given the content of a key file of age or SSH, return its private keys. Raises StewardError."""
    try:
        if text.lstrip().startswith("-----BEGIN"):
            return [pyrage.ssh.Identity.from_buffer(text.encode())]
        lines = [line.strip() for line in text.splitlines()]
        return [pyrage.x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except pyrage.IdentityError as error:
        raise StewardError("the key file holds no private key of age or SSH that can be read without asking") from error
