"""Settings: secrets come from files alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.errors import PpmError
from app.sessions import Sessions
from app.settings import MIN_SECRET, Settings

SECRET = "0123456789abcdef" * 2


@pytest.fixture
def secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "session_secret"
    file.write_text(f"{SECRET}\n")
    monkeypatch.setenv("SESSION_SECRET_FILE", str(file))
    return file


@pytest.mark.usefixtures("secret")
def test_the_secret_is_what_its_file_says() -> None:
    settings = Settings()

    assert settings.session_secret is not None
    assert settings.session_secret.get_secret_value() == SECRET
    assert SECRET not in f"{settings!r} {settings}"


def test_production_is_the_default_and_the_api_refuses_to_start_without_its_secret() -> None:
    with pytest.raises(PpmError, match="the session secret is missing or shorter than 32 characters: mount it"):
        Settings().check_session_secret()


def test_a_short_secret_is_refused_without_being_repeated(secret: Path) -> None:
    secret.write_text("x" * (MIN_SECRET - 1))

    with pytest.raises(PpmError, match="shorter than 32") as refused:
        Settings().check_session_secret()

    assert "xxx" not in str(refused.value)


def test_a_secret_in_the_environment_counts_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSION_SECRET", SECRET)

    assert Settings().session_secret is None


def test_development_needs_no_secret_and_takes_one_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_ENV", "development")
    Settings().check_session_secret()
    assert Settings().session_secret is None

    monkeypatch.setenv("SESSION_SECRET", SECRET)
    assert Settings().session_secret is not None


@pytest.mark.usefixtures("secret")
@pytest.mark.parametrize(
    ("name", "value"),
    [("SCAN_INTERVAL_MINUTES", "0"), ("DRAIN_SECONDS", "soon"), ("APP_ENV", "prod"), ("LOG_LEVEL", "loud")],
)
def test_a_value_that_makes_no_sense_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(ValidationError, match=name.lower()):
        Settings()


def test_a_session_signed_with_the_secret_of_before_dies_on_time_without_a_restart(
    secret: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Sessions(Settings()).sign("session", "ann")
    now = end = datetime(2026, 12, 1, 9, tzinfo=UTC)
    previous = tmp_path / "session_secret_previous"
    previous.write_text(f"{SECRET}\nuntil {end.isoformat()}\n")
    monkeypatch.setenv("SESSION_SECRET_PREVIOUS_FILE", str(previous))
    secret.write_text("another one " * 4)
    sessions = Sessions(Settings(), now=lambda: now)
    newer = sessions.sign("session", "bob")

    now = end - timedelta(seconds=1)
    assert [sessions.read("session", text, 3600) for text in (session, newer)] == ["ann", "bob"]
    now = end
    assert [sessions.read("session", text, 3600) for text in (session, newer)] == [None, "bob"]


@pytest.mark.usefixtures("secret")
def test_an_end_that_cannot_be_read_is_no_end_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    previous = tmp_path / "session_secret_previous"
    previous.write_text(f"{SECRET}\nuntil some day\n")
    monkeypatch.setenv("SESSION_SECRET_PREVIOUS_FILE", str(previous))

    with pytest.raises(ValidationError, match="session_secret_previous_until") as caught:
        Settings()
    assert SECRET not in str(caught.value)
