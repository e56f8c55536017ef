"""Plain data for the pure parts."""

from __future__ import annotations

from typing import Any

import pytest

from ppmkit.config.environment import Environment
from ppmkit.release.model import Images

ID = "sha256:" + "0123456789abcdef" * 4


def environment_of(**changes: Any) -> Environment:
    """Return an environment with one host; ``changes`` are keys of the YAML."""
    values = {"name": "test", "url": "http://localhost:8101", "hosts": [{"name": "test-1", "address": "127.0.0.1"}]}
    return Environment.model_validate(values | changes)


@pytest.fixture
def environment() -> Environment:
    return environment_of()


@pytest.fixture
def images() -> Images:
    return Images(api=ID, frontend=ID.replace("0", "1"), steward=ID.replace("0", "3"), traefik=ID.replace("0", "2"))
