"""Which secrets there are, and which of them an environment needs."""

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
"""What the name of a value of before a rotation ends in."""


@dataclass(frozen=True)
class Kind:
    """What is known of a secret before there is one."""

    generated: bool
    min_length: int
    keeps_previous: bool = False
    """After a rotation the value before lies beside it as NAME_previous, for what was signed with that."""
    pem: bool = False


# A new secret is a line here, a file in secrets.example/, and its name in `needed`.
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
    if environment.kind == "dev":  # where nobody logs in, and no proxy and no steward runs
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
    """Return whether ppmctl can make the secret up. Raises UsageError for a name that is not known."""
    return kind_of(name).generated


def keeps_previous(name: str) -> bool:
    """Return whether something may be signed with the secret. Raises UsageError for a name that is not known."""
    return kind_of(name).keeps_previous
