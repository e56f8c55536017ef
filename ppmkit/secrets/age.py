"""Encryption of secrets with age (age-encryption.org/v1) to all recipients, and the local private key."""

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
    """Return the text, encrypted to all ``secrets.recipients``, in ASCII armor that git can diff."""
    import pyrage

    encrypted: bytes = pyrage.encrypt(text.encode(), _recipients(environment), armored=True)
    return encrypted


def decrypt(environment: Environment, path: Path) -> str:
    """Return the plaintext of an age file. Raises ConfigError if the private key cannot decrypt it."""
    import pyrage

    key = identity_file(environment)
    identities = _identities(key)
    try:
        text: str = pyrage.decrypt(path.read_bytes(), identities).decode()
    except pyrage.DecryptError as error:
        raise ConfigError(
            f"{shown(path)}: the key in {shown(key)} cannot decrypt it",
            step="secrets",
            seen=str(error),
            next=f"Name the right key in {_VARIABLE}; or ask another operator to add your public key to "
            f"secrets.recipients and to set it again: ppmctl secrets set {path.stem} -e {environment.name}",
        ) from error
    return text


def identity_file(environment: Environment) -> Path:
    """Return the private key file for age files: from the variable, the config, or the user's home directory."""
    named = os.environ.get(_VARIABLE) or environment.secrets.identity_file
    return local_path(named) if named else Path.home() / ".config" / "ppmctl" / "age.txt"


def ensure_identity(environment: Environment) -> str | None:
    """Create the private key if there is none; return a message if so. Raises ConfigError without recipients."""
    import pyrage

    path, message = identity_file(environment), None
    if not path.exists():
        key = pyrage.x25519.Identity.generate()
        replace(path, f"# public key: {key.to_public()}\n{key}\n".encode(), 0o600)
        message = f"created {shown(path)}, your private key: keep a copy where you keep passwords"
    _recipients(environment)
    return message


def _recipients(environment: Environment) -> list[Any]:
    import pyrage

    if not environment.secrets.recipients:
        raise _no_recipients(environment)
    try:
        return [
            pyrage.ssh.Recipient.from_str(text) if text.startswith("ssh-") else pyrage.x25519.Recipient.from_str(text)
            for text in environment.secrets.recipients
        ]
    except pyrage.RecipientError as error:
        raise ConfigError(
            f"secrets.recipients: {error}", step="secrets", next="A recipient is age1… or ssh-ed25519 …"
        ) from error


def _no_recipients(environment: Environment) -> ConfigError:
    key = identity_file(environment)
    identities = _identities(key) if key.exists() else []
    own = [str(identity.to_public()) for identity in identities if hasattr(identity, "to_public")]
    return ConfigError(
        "secrets.recipients is empty, so no key could decrypt the secrets",
        step="secrets",
        next="Add the public keys of all users who deploy to the environment's YAML, secrets: "
        f"{{recipients: [{', '.join(own) or 'age1…'}]}}; then: ppmctl secrets init -e {environment.name}",
    )


def _identities(path: Path) -> list[Any]:
    """Return the private keys in a file: age keys, one per line, or one SSH key."""
    import pyrage

    try:
        content = path.read_bytes()
        if content.startswith(b"-----BEGIN"):
            return [pyrage.ssh.Identity.from_buffer(content)]
        lines = [line for line in content.decode().splitlines() if line and not line.startswith("#")]
        return [pyrage.x25519.Identity.from_str(line) for line in lines]
    except (OSError, ValueError, pyrage.IdentityError) as error:
        raise ConfigError(
            f"{shown(path)} contains no age private key",
            step="secrets",
            seen=str(error),
            next=f"Name the key file in {_VARIABLE} or secrets.identity_file; "
            f"ppmctl secrets init -e NAME creates a key if you have none",
        ) from error
