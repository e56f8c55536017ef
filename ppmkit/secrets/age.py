"""Encrypting to those who deploy, with age (age-encryption.org/v1), and the private key of who runs ppmctl."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ppmkit.config.file import local_path
from ppmkit.errors import ConfigError
from ppmkit.local.files import replace, shown

if TYPE_CHECKING:
    from ppmkit.config.environment import Environment

_VARIABLE = "PPMCTL_AGE_IDENTITY"


def encrypt(environment: Environment, text: str) -> bytes:
    """Return the text, encrypted to everyone in ``secrets.recipients``, as lines that git can show."""
    import pyrage

    found: bytes = pyrage.encrypt(text.encode(), _recipients(environment), armored=True)
    return found


def decrypt(environment: Environment, path: Path) -> str:
    """Return what an age file holds. Raises ConfigError when the private key does not open it."""
    import pyrage

    key = identity_file(environment)
    identities = _identities(key)
    try:
        text: str = pyrage.decrypt(path.read_bytes(), identities).decode()
    except pyrage.DecryptError as error:
        raise ConfigError(
            f"{shown(path)}: the key in {shown(key)} does not open it",
            step="secrets",
            seen=str(error),
            next=f"Name the right key in {_VARIABLE}; or somebody who can open it adds your public key to "
            f"secrets.recipients and sets it again: ppmctl secrets set {path.stem} -e {environment.name}",
        ) from error
    return text


def identity_file(environment: Environment) -> Path:
    """Return the file of the private key that opens age files: the variable's, the config's, or the user's own."""
    named = os.environ.get(_VARIABLE) or environment.secrets.identity_file
    return local_path(named) if named else Path.home() / ".config" / "ppmctl" / "age.txt"


def ensure_identity(environment: Environment) -> str | None:
    """Make the private key of who has none; return what was done. Raises ConfigError when nobody is a recipient."""
    import pyrage

    path, made = identity_file(environment), None
    if not path.exists():
        key = pyrage.x25519.Identity.generate()
        replace(path, f"# public key: {key.to_public()}\n{key}\n".encode(), 0o600)
        made = f"created {shown(path)}, your private key: keep a copy where you keep passwords"
    _recipients(environment)
    return made


def _recipients(environment: Environment) -> list[Any]:
    import pyrage

    if not environment.secrets.recipients:
        raise _nobody(environment)
    try:
        return [
            pyrage.ssh.Recipient.from_str(text) if text.startswith("ssh-") else pyrage.x25519.Recipient.from_str(text)
            for text in environment.secrets.recipients
        ]
    except pyrage.RecipientError as error:
        raise ConfigError(
            f"secrets.recipients: {error}", step="secrets", next="A recipient is age1… or ssh-ed25519 …"
        ) from error


def _nobody(environment: Environment) -> ConfigError:
    key = identity_file(environment)
    own = [
        str(found.to_public()) for found in (_identities(key) if key.exists() else []) if hasattr(found, "to_public")
    ]
    return ConfigError(
        "secrets.recipients is empty, so nobody could read what age encrypts",
        step="secrets",
        next="Write the public keys of all who deploy into the environment's YAML, secrets: "
        f"{{recipients: [{', '.join(own) or 'age1…'}]}}; then: ppmctl secrets init -e {environment.name}",
    )


def _identities(path: Path) -> list[Any]:
    """Return the private keys in a file: age's own, a line each, or one of SSH."""
    import pyrage

    try:
        content = path.read_bytes()
        if content.startswith(b"-----BEGIN"):
            return [pyrage.ssh.Identity.from_buffer(content)]
        lines = [line for line in content.decode().splitlines() if line and not line.startswith("#")]
        return [pyrage.x25519.Identity.from_str(line) for line in lines]
    except (OSError, ValueError, pyrage.IdentityError) as error:
        raise ConfigError(
            f"{shown(path)} holds no private key of age",
            step="secrets",
            seen=str(error),
            next=f"Name its file in {_VARIABLE} or secrets.identity_file; "
            f"ppmctl secrets init -e NAME makes one for who has none",
        ) from error
