"""Environments of each kind, and what a host of theirs would get."""

from __future__ import annotations

from typing import Any

import pytest
from ruamel.yaml import YAML

from ppmkit.config.environment import Environment
from ppmkit.release import render
from ppmkit.release.model import Images, Release

SECRETS = {"session_secret": "0a1b2c3d4e5f"}
PRODUCTION = {"url": "https://ppm.example.org", "proxy": {"letsencrypt_email": "ops@example.org"}}
DNS = {
    "provider": "azuredns",
    "secrets": {"AZURE_CLIENT_ID": "dns_client_id", "AZURE_CLIENT_SECRET": "dns_client_secret"},
    "variables": {"AZURE_TENANT_ID": "example"},
}
CLOSED = {"url": "https://ppm.example.org", "proxy": {**PRODUCTION["proxy"], "private_ca": True, "dns_challenge": DNS}}  # type: ignore[dict-item]
OWN = {"url": "https://ppm.example.org", "proxy": {"certificates": "files"}}
SHIPPED = {"backup": {"continuous": {"keep": "2d"}}}
EVERY_WAY = pytest.mark.parametrize(
    "changes",
    [{}, PRODUCTION, CLOSED, OWN, SHIPPED],
    ids=["http", "https", "private CA, DNS", "own certificate", "changes shipped"],
)


def release_of(environment: Environment, images: Images) -> Release:
    return render.release(environment, images, SECRETS | dict.fromkeys(environment.proxy_secrets, "0a1b2c3d"))


def compose_of(environment: Environment, images: Images) -> dict[str, Any]:
    text = render.compose(environment, release_of(environment, images))
    return YAML(typ="safe").load(text)  # type: ignore[no-any-return]
