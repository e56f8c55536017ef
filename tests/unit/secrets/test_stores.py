"""Where secrets are kept here: encrypted with age, or asked of a command. Plain files: test_secrets.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyrage
import pytest

from ppmkit.config.environment import Environment
from ppmkit.errors import ConfigError, UsageError
from ppmkit.secrets import manage
from tests.unit.conftest import environment_of

LONG = "0123456789abcdef" * 3


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a private key, which does not exist yet."""
    file = tmp_path / "keys" / "age.txt"
    monkeypatch.setenv("PPMCTL_AGE_IDENTITY", str(file))
    return file


def age_site(tmp_path: Path, *recipients: str) -> Environment:
    directory = str(tmp_path / "secrets")
    return environment_of(secrets={"provider": "age", "directory": directory, "recipients": recipients})


def public(key: Path) -> str:
    return key.read_text().splitlines()[0].removeprefix("# public key: ")


@pytest.fixture
def site(tmp_path: Path, key: Path) -> Environment:
    """An environment whose secrets are encrypted to the key."""
    with pytest.raises(ConfigError):
        manage.init(age_site(tmp_path))
    return age_site(tmp_path, public(key))


def value(environment: Environment, name: str = "session_secret") -> str:
    return manage.read(environment)[name].value.get_secret_value()


def test_init_makes_a_private_key_and_says_what_to_write_into_the_yaml(tmp_path: Path, key: Path) -> None:
    with pytest.raises(ConfigError, match="recipients is empty") as refused:
        manage.init(age_site(tmp_path))

    assert key.stat().st_mode & 0o777 == 0o600
    assert f"recipients: [{public(key)}]" in str(refused.value.next)
    assert not (tmp_path / "secrets").exists()


def test_what_git_gets_to_see_is_encrypted(site: Environment, tmp_path: Path) -> None:
    manage.init(site)

    file = tmp_path / "secrets" / "session_secret.age"
    assert file.read_text().startswith("-----BEGIN AGE ENCRYPTED FILE-----")
    assert value(site) not in "".join(path.read_text() for path in (tmp_path / "secrets").iterdir())
    assert manage.check(site) == []


def test_everyone_in_recipients_can_read_it_and_nobody_else(
    site: Environment, tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = pyrage.x25519.Identity.generate()
    others = tmp_path / "other.txt"
    others.write_text(f"{other}\n")
    manage.init(site)
    monkeypatch.setenv("PPMCTL_AGE_IDENTITY", str(others))
    with pytest.raises(ConfigError, match=r"session_secret\.age: the key in .*other\.txt cannot decrypt it"):
        manage.read(site)

    both = age_site(tmp_path, public(key), str(other.to_public()))
    manage.set_secret(both, "session_secret", LONG)

    assert value(both) == LONG
    monkeypatch.setenv("PPMCTL_AGE_IDENTITY", str(key))
    assert value(both) == LONG


def test_a_key_of_ssh_opens_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = tmp_path / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    monkeypatch.setenv("PPMCTL_AGE_IDENTITY", str(key))
    site = age_site(tmp_path, key.with_suffix(".pub").read_text().strip())

    manage.init(site)

    assert len(value(site)) == 44


def test_a_rotation_keeps_the_value_before_encrypted(site: Environment, tmp_path: Path) -> None:
    manage.init(site)
    before = value(site)

    manage.rotate(site, "session_secret")

    assert value(site, "session_secret_previous").splitlines()[0] == before
    assert (tmp_path / "secrets" / "session_secret_previous.age").exists()


def test_check_finds_an_open_key_and_a_file_that_is_not_encrypted(site: Environment, tmp_path: Path, key: Path) -> None:
    manage.init(site)
    key.chmod(0o644)
    (tmp_path / "secrets" / "session_secret").write_text(LONG)

    found = " ".join(manage.check(site))
    assert f"{key} can be read by others: chmod 600 {key}" in found
    assert "session_secret is not encrypted: remove it" in found


def test_a_file_that_is_no_key_is_named_with_what_to_do(site: Environment, key: Path) -> None:
    manage.init(site)
    key.write_text("not a key\n")

    with pytest.raises(ConfigError, match="contains no age private key") as refused:
        manage.read(site)
    assert "PPMCTL_AGE_IDENTITY" in str(refused.value.next)


def command_site(script: str) -> Environment:
    command = [sys.executable, "-c", script, "{environment}", "{name}"]
    return environment_of(secrets={"provider": "command", "command": command})


def test_a_command_is_asked_for_each_value_by_name() -> None:
    script = f"import sys; print(f'{{sys.argv[1]}}/{{sys.argv[2]}}/{LONG}')"

    assert value(command_site(script)) == f"test/session_secret/{LONG}"
    assert value(command_site(script), "session_secret_previous") == f"test/session_secret_previous/{LONG}"


def test_what_a_command_says_when_it_fails_is_shown() -> None:
    site = command_site("import sys; sys.exit('the vault is locked')")

    with pytest.raises(ConfigError, match=r"session_secret is missing \(.*ended with status 1: the vault is locked"):
        manage.read(site)
    assert "the vault is locked" in manage.check(site)[0]


def test_what_comes_from_a_command_is_made_and_changed_there() -> None:
    assert "is missing; create it in its store" in manage.init(command_site("raise SystemExit(1)"))[0]
    with pytest.raises(UsageError, match="is changed there"):
        manage.rotate(command_site(f"print('{LONG}')"), "session_secret")


def test_a_command_that_is_not_there_is_a_mistake_of_the_config() -> None:
    site = environment_of(secrets={"provider": "command", "command": ["/no/such/vault", "{name}"]})

    with pytest.raises(ConfigError, match="No such file"):
        manage.read(site)
