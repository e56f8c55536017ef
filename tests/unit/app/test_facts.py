"""What the page is told of its host, and what becomes of documents that make no sense."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from httpx import Client

from app.database import Database
from app.settings import Settings
from tests.unit.app.conftest import RELEASE, until
from tests.unit.app.test_system import system

AT = "2026-01-05T08:00:00Z"
DEPLOY = {"kind": "deploy", "release": "r1", "color": "blue", "began": AT, "seconds": 9.5, "outcome": "done"}
BACKUP = {"id": "20260105T080000Z", "at": AT, "bytes": 4096, "verified": True, "seconds": 1.5}
PROOF = {"id": "20260105T080000Z", "at": AT, "level": "L4", "outcome": "ok"}
DAYS = 30


@pytest.fixture
def settings(database: Database, tmp_path: Path, proxy: str) -> Settings:
    return Settings(
        app_env="test",
        database_url=str(database.url),
        ppm_release=RELEASE,
        facts_directory=tmp_path / "facts",
        certificate_address=proxy,
        public_url="https://ppm.example.org",
    )


@pytest.fixture
def proxy(portal: BlockingPortal, tmp_path: Path) -> Iterator[str]:
    """The address of a server that shows a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(tmp_path))

    async def serve() -> asyncio.Server:
        return await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)

    server = portal.call(serve)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    portal.call(server.close)


def certificate(folder: Path) -> Path:
    """Return a file with a key and its certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a CA")])
    begins = datetime.now(UTC).replace(microsecond=0)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, begins, begins + timedelta(days=DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("ppm.example.org")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8
    secret = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    file = folder / "certificate.pem"
    file.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return file


def tell(tmp_path: Path, name: str, document: Any) -> None:
    file = tmp_path / "facts" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    text = document if isinstance(document, str) else json.dumps(document)
    partial = file.with_name("partial")
    partial.write_text(text)
    partial.rename(file)


def test_a_host_that_tells_nothing_is_no_error(client: Client) -> None:
    found = system(client)

    assert (found["deploys"], found["backups"]) == ([], None)


def test_it_is_told_what_was_done_and_sees_what_comes_later(client: Client, tmp_path: Path) -> None:
    tell(tmp_path, "history/deploys.json", {"deploys": [DEPLOY]})
    assert system(client)["deploys"] == [DEPLOY]

    tell(tmp_path, "history/deploys.json", {"deploys": [DEPLOY | {"kind": "rollback"}, DEPLOY]})
    assert [it["kind"] for it in system(client)["deploys"]] == ["rollback", "deploy"]


def test_it_is_told_of_backups_and_why_they_fail_is_for_the_host_alone(client: Client, tmp_path: Path) -> None:
    told = {"last_backup": BACKUP, "last_proven": PROOF, "next_backup": AT, "next_drill": AT}
    failures = {"copy to offsite": {"times": 3, "said": "backup.internal refused bob"}}
    tell(tmp_path, "steward/backups.json", {"version": 1, **told, "failures": failures})

    found = system(client)["backups"]

    assert found == {**told, "failures": {"copy to offsite": {"times": 3}}}


@pytest.mark.parametrize("document", ["", "{", "[]", "null", '{"deploys": 7}', '{"deploys": [{"kind": "deploy"}]}'])
def test_a_document_that_makes_no_sense_says_nothing(client: Client, tmp_path: Path, document: str) -> None:
    tell(tmp_path, "history/deploys.json", document)
    tell(tmp_path, "steward/backups.json", document)

    found = system(client)

    assert found["deploys"] == []
    assert not found["backups"] or set(found["backups"].values()) == {None}


@pytest.mark.parametrize("part", [[7], "soon", {}, {"at": "yesterday"}, {"at": "2026-01-05T08:00:00"}])
def test_a_part_that_makes_no_sense_does_not_spoil_the_others(client: Client, tmp_path: Path, part: object) -> None:
    tell(tmp_path, "steward/backups.json", {"last_backup": part, "last_proven": PROOF, "next_backup": part})

    found = system(client)["backups"]

    assert (found["last_backup"], found["last_proven"], found["next_backup"]) == (None, PROOF, None)


def test_the_certificate_is_the_one_that_the_proxy_shows(client: Client) -> None:
    until(lambda: system(client)["certificate"])

    found = system(client)["certificate"]

    assert (found["names"], found["issuer"]) == (["ppm.example.org"], "CN=a CA")
    left = datetime.fromisoformat(found["ends"]) - datetime.now(UTC)
    assert timedelta(days=DAYS - 1) < left < timedelta(days=DAYS)
