"""Development on this machine: one command, code that reloads, and nothing left behind."""

from __future__ import annotations

import os
import string
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ppmkit.paths import PROJECT
from tests.support.waiting import eventually

NAME = "devtest"
KEY = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{string.ascii_letters}\n{string.ascii_letters}\n-----END"


def ppmctl(checkout: Path, *argv: str, status: int = 0, given: str | None = None) -> str:
    """Run ppmctl of a checkout; return all that it says."""
    done = subprocess.run(
        [sys.executable, checkout / "ppmctl.py", *argv, "-e", NAME],
        env=os.environ | {"PPMCTL_INVENTORY": str(checkout.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        input=given,
        check=False,
    )
    assert done.returncode == status, done.stdout
    return done.stdout


def await_text(url: str, words: str) -> None:
    found = ""

    def shows() -> bool:
        nonlocal found
        try:
            found = httpx.get(url, trust_env=False).text
        except httpx.HTTPError as error:
            found = repr(error)
        return words in found

    assert eventually(shows, 90), f"{url}: {found}"


def mounted(service: str) -> str:
    """Return what is where the service looks for the key, or why nothing is."""
    argv = [Path(sys.prefix) / "bin" / "docker-compose", "-p", f"ppm-{NAME}", "exec", "-T", service]
    read = [*argv, "cat", "/run/secrets/git_deploy_key"]
    return subprocess.run(read, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False).stdout


@pytest.fixture
def up(checkout: Path) -> Iterator[str]:
    """An environment whose repositories may be fetched by SSH, too."""
    known = '\n  scan_known_hosts: ["git.example.org ssh-ed25519 AAAA"]\n'
    (checkout.parent / f"{NAME}.yaml").write_text((PROJECT / "deploy/inventory/dev.yaml").read_text() + known)
    try:
        ppmctl(checkout, "secrets", "set", "git_deploy_key", given=KEY)
        yield ppmctl(checkout, "up")
    finally:
        ppmctl(checkout, "down", "--purge", "--yes")


def test_the_page_and_the_api_are_served_and_changed_code_is_loaded(up: str, checkout: Path) -> None:
    assert f"docker compose -p ppm-{NAME} exec api ppm token create me" in up
    await_text("http://localhost:5173/", "<title>")
    await_text("http://localhost:5173/api/system", '"release"')

    code = checkout / "app" / "api" / "health.py"
    code.write_text(code.read_text().replace('"status": "ok"', '"status": "reloaded"'))

    await_text("http://localhost:8000/healthz", "reloaded")

    assert mounted("worker") == KEY
    assert "No such file" in mounted("api")


def test_what_needs_a_host_says_that_there_is_none(checkout: Path) -> None:
    (checkout.parent / f"{NAME}.yaml").write_text((PROJECT / "deploy/inventory/dev.yaml").read_text())

    for command in ("deploy", "status", "doctor", "provision", "releases", "logs"):
        said = ppmctl(checkout, command, status=2)
        assert f"docker compose -p ppm-{NAME}" in said, command
