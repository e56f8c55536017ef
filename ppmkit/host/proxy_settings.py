"""Settings that a host's proxy was created with. Routes, forwards and checks use them, not today's YAML.

They are stored next to a release's files, and next to the running proxy's routes. The digest that forms a release's id
covers neither copy. Releases of older versions of ppmctl have none: the essentials are read from their Compose file.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

from ppmkit.config.environment import Environment

Read = Callable[[PurePosixPath], str | None]
"""Reads a file on the host; returns None if it does not exist."""
FILE = "settings.json"
IN_FORCE = f"traefik/{FILE}"
"""Path of the running proxy's settings, below the environment's directory."""
_NOT_RECORDED = {"name", "kind", "hosts", "ssh", "secrets", "images", "backup", "provision"}
"""Today's YAML always decides how hosts are reached and prepared."""
_COMPOSE = "compose.yaml"
_EMAIL = "--certificatesResolvers.letsencrypt.acme.email="


def recorded(environment: Environment) -> str:
    """Return the recorded settings of an environment as JSON. They contain no secrets: an environment has none."""
    return json.dumps(environment.model_dump(mode="json", exclude=_NOT_RECORDED), indent=1) + "\n"


def applied(environment: Environment, text: str) -> Environment | None:
    """Return the environment with the recorded settings; None if this version of ppmctl does not understand them."""
    try:
        return Environment.model_validate({**environment.model_dump(mode="json"), **json.loads(text)})
    except (ValueError, TypeError):  # pydantic's error is a ValueError
        return None


def derived(environment: Environment, compose: str) -> Environment:
    """Return the environment with the URL, ports and certificate source from a release's Compose file."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        document = YAML(typ="safe").load(compose)
        proxy = environment.proxy.model_dump(mode="json") | _from_service(document["services"]["reverse-proxy"])
        settings = {"url": document["x-ppm"]["PUBLIC_URL"], "proxy": proxy}
        return Environment.model_validate({**environment.model_dump(mode="json"), **settings})
    except (YAMLError, LookupError, ValueError, TypeError, AttributeError):
        return environment


def _from_service(service: dict[str, Any]) -> dict[str, Any]:
    ports = {port.rpartition(":")[2]: int(port.split(":")[-2]) for port in service["ports"]}
    keys = {"http_port": "8000", "https_port": "8443", "internal_port": "8081"}
    settings: dict[str, Any] = {key: ports[inside] for key, inside in keys.items() if inside in ports}
    emails = [flag.removeprefix(_EMAIL) for flag in service["command"] if flag.startswith(_EMAIL)]
    if emails:
        return {**settings, "certificates": "acme", "letsencrypt_email": emails[0]}
    return {**settings, "certificates": "files"} if "8443" in ports else settings


def in_force(environment: Environment, read: Read) -> Environment:
    """Return the environment with the settings of the proxy that is running on the host."""
    return _first(environment, read, environment.directory / IN_FORCE, environment.directory / "current" / _COMPOSE)


def of_release(environment: Environment, read: Read, release: str) -> Environment:
    """Return the environment with the settings of a release that is stored on the host."""
    directory = environment.directory / "releases" / release
    return _first(environment, read, directory / FILE, directory / _COMPOSE)


def _first(environment: Environment, read: Read, recorded: PurePosixPath, compose: PurePosixPath) -> Environment:
    text = read(recorded)
    if text is not None and (settings := applied(environment, text)) is not None:
        return settings
    text = read(compose)
    return environment if text is None else derived(environment, text)


def public_port(environment: Environment) -> int:
    """Return the host's public port."""
    return environment.proxy.https_port if environment.tls else environment.proxy.http_port
