"""Definitions of all secrets, and the selection that an environment needs."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ppmkit.config.proxy import NAME_FOR_DNS
from ppmkit.errors import UsageError

if TYPE_CHECKING:
    from ppmkit.config.environment import Environment

PREVIOUS = "_previous"
"""Suffix of the name under which a rotation keeps the previous value."""


@dataclass(frozen=True)
class Kind:
    """The definition of a secret."""

    generated: bool
    min_length: int
    keeps_previous: bool = False
    """A rotation keeps the previous value as NAME_previous, because existing signatures depend on it."""
    pem: bool = False


# To add a secret: a line here, a file in secrets.example/, and its name in `needed`.
KINDS = {
    "session_secret": Kind(generated=True, min_length=32, keeps_previous=True),
    "oauth_client_secret": Kind(generated=False, min_length=8),
    "git_deploy_key": Kind(generated=False, min_length=100, pem=True),
    "acme_ca": Kind(generated=False, min_length=100, pem=True),
    "tls_certificate": Kind(generated=False, min_length=100, pem=True),
    "tls_key": Kind(generated=False, min_length=100, pem=True),
    "rclone_conf": Kind(generated=False, min_length=8),
    "heartbeat_url": Kind(generated=False, min_length=12),
}

_DNS = Kind(generated=False, min_length=8)


def needed(environment: Environment) -> list[str]:
    """Return the names of the secrets that the environment's services mount."""
    if environment.kind == "dev":  # it has no logins, no proxy and no steward
        return [*environment.worker_secrets]
    oauth = ["oauth_client_secret"] if environment.app.oauth_client_id else []
    others = (*environment.worker_secrets, *environment.proxy_secrets, *environment.backup.secrets)
    return ["session_secret", *oauth, *others]


def known(name: str) -> bool:
    return name in KINDS or re.fullmatch(NAME_FOR_DNS, name) is not None


def kind_of(name: str) -> Kind:
    if not known(name):
        near = difflib.get_close_matches(name, KINDS, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"there is no secret {name}{hint}", next=f"Secrets: {', '.join(KINDS)}, dns_…")
    return KINDS.get(name, _DNS)


def is_generated(name: str) -> bool:
    """Return whether ppmctl can generate the secret. Raises UsageError for an unknown name."""
    return kind_of(name).generated


def keeps_previous(name: str) -> bool:
    """Return whether a rotation keeps the previous value. Raises UsageError for an unknown name."""
    return kind_of(name).keeps_previous
