"""Secrets on this machine: made, set, checked, and never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy import secrets
from deploy.backup.config import Backup, Target
from deploy.config import Environment
from deploy.configfile import ROOT
from deploy.errors import ConfigError, UsageError
from deploy.redact import redact
from tests.unit.conftest import environment_of


@pytest.fixture
def site(tmp_path: Path) -> Environment:
    return environment_of(secrets={"directory": str(tmp_path / "secrets")})


@pytest.fixture
def oauth_site(tmp_path: Path) -> Environment:
    return environment_of(secrets={"directory": str(tmp_path / "secrets")}, app={"oauth_client_id": "Iv1.x"})


def test_init_makes_a_long_secret_that_only_its_owner_reads(site: Environment) -> None:
    secrets.init(site)

    file = secrets.directory(site) / "session_secret"
    assert len(file.read_text().strip()) >= 48
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert secrets.check(site) == []


def test_init_never_replaces_a_secret(site: Environment) -> None:
    secrets.init(site)
    before = secrets.read(site)

    assert secrets.init(site) == []
    assert secrets.read(site) == before


def test_a_secret_from_elsewhere_is_asked_for_by_command(oauth_site: Environment) -> None:
    assert any("ppmctl secrets set oauth_client_secret -e test" in line for line in secrets.init(oauth_site))
    with pytest.raises(ConfigError, match="oauth_client_secret is missing"):
        secrets.read(oauth_site)

    secrets.set_secret(oauth_site, "oauth_client_secret", "0123456789abcdef")
    assert set(secrets.read(oauth_site)) == {"session_secret", "oauth_client_secret"}


def test_the_version_follows_from_the_value_and_does_not_contain_it(site: Environment) -> None:
    secrets.set_secret(site, "session_secret", "a" * 40)
    first = secrets.read(site)["session_secret"].version
    secrets.set_secret(site, "session_secret", "b" * 40)
    second = secrets.read(site)["session_secret"].version
    secrets.set_secret(site, "session_secret", "a" * 40)

    assert first != second
    assert secrets.read(site)["session_secret"].version == first
    assert len(first) == 8


@pytest.mark.parametrize("name", ["session_secret", "oauth_client_secret"])
def test_the_text_of_the_example_is_no_secret(oauth_site: Environment, name: str) -> None:
    example = (ROOT / "secrets.example" / name).read_text()

    with pytest.raises(UsageError, match="is still the example"):
        secrets.set_secret(oauth_site, name, example.strip())


def test_every_secret_has_an_example_that_says_what_it_is_for(oauth_site: Environment) -> None:
    backup = Backup(recipients=("age1x",), targets=(Target(name="offsite", to="offsite:ppm"),))
    site = oauth_site.model_copy(update={"backup": backup})

    assert {path.name for path in (ROOT / "secrets.example").iterdir()} == set(secrets.needed(site))


def test_a_short_secret_is_refused_and_changes_nothing(site: Environment) -> None:
    secrets.init(site)
    before = secrets.read(site)

    with pytest.raises(UsageError, match="shorter than 32"):
        secrets.set_secret(site, "session_secret", "short")
    assert secrets.read(site) == before


def test_a_misspelt_secret_is_answered_with_the_nearest(site: Environment) -> None:
    with pytest.raises(UsageError, match="did you mean session_secret"):
        secrets.set_secret(site, "sesion_secret", "a" * 40)


def test_check_finds_what_others_can_read_and_what_nobody_uses(site: Environment) -> None:
    secrets.init(site)
    folder = secrets.directory(site)
    (folder / "session_secret").chmod(0o644)
    (folder / "sesion_secret").write_text("x")

    found = " ".join(secrets.check(site))
    assert "chmod 600" in found
    assert "sesion_secret is no secret that ppm knows" in found


def test_a_value_that_was_read_is_masked_and_a_model_does_not_show_it(site: Environment) -> None:
    secrets.init(site)
    secret = secrets.read(site)["session_secret"]
    value = secret.value.get_secret_value()

    assert redact(f"it failed: {value}!") == "it failed: •••!"
    assert value not in repr(secret)
    assert value not in secret.model_dump_json()
