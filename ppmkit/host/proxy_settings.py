"""The settings that a host's proxy was made with. Routes, forwards and checks follow them, whatever today's YAML says.

A release has them beside its files, and the proxy that runs has them beside its routes; the digest that is a release's
id covers neither. Releases of older versions of ppmctl have none: their Compose file tells what counts most.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

from ppmkit.config.environment import Environment

Read = Callable[[PurePosixPath], str | None]
"""Reads a file of the host; None where there is none."""
FILE = "settings.json"
IN_FORCE = f"traefik/{FILE}"
"""Below the environment's directory: of the proxy that runs."""
_NOT_RECORDED = {"name", "kind", "hosts", "ssh", "secrets", "images", "backup", "provision"}
"""How hosts are reached and prepared is for today's YAML to say."""
_COMPOSE = "compose.yaml"
_EMAIL = "--certificatesResolvers.letsencrypt.acme.email="


def recorded(environment: Environment) -> str:
    """Return what is recorded of an environment, as JSON. No secret is in it: an environment has none."""
    return json.dumps(environment.model_dump(mode="json", exclude=_NOT_RECORDED), indent=1) + "\n"


def applied(environment: Environment, text: str) -> Environment | None:
    """Return the environment with what was recorded; None when another version of ppmctl recorded what it knows not."""
    try:
        return Environment.model_validate({**environment.model_dump(mode="json"), **json.loads(text)})
    except (ValueError, TypeError):  # pydantic's error is a ValueError
        return None


def derived(environment: Environment, compose: str) -> Environment:
    """Return the environment with what a release's Compose file tells: URL, ports, and where certificates come from."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        document = YAML(typ="safe").load(compose)
        proxy = environment.proxy.model_dump(mode="json") | _told(document["services"]["reverse-proxy"])
        told = {"url": document["x-ppm"]["PUBLIC_URL"], "proxy": proxy}
        return Environment.model_validate({**environment.model_dump(mode="json"), **told})
    except (YAMLError, LookupError, ValueError, TypeError, AttributeError):
        return environment


def _told(service: dict[str, Any]) -> dict[str, Any]:
    ports = {port.rpartition(":")[2]: int(port.split(":")[-2]) for port in service["ports"]}
    keys = {"http_port": "8000", "https_port": "8443", "internal_port": "8081"}
    told: dict[str, Any] = {key: ports[inside] for key, inside in keys.items() if inside in ports}
    emails = [flag.removeprefix(_EMAIL) for flag in service["command"] if flag.startswith(_EMAIL)]
    if emails:
        return {**told, "certificates": "acme", "letsencrypt_email": emails[0]}
    return {**told, "certificates": "files"} if "8443" in ports else told


def in_force(environment: Environment, read: Read) -> Environment:
    """Return the environment with the settings of the proxy that runs on the host."""
    return _first(environment, read, environment.directory / IN_FORCE, environment.directory / "current" / _COMPOSE)


def of_release(environment: Environment, read: Read, release: str) -> Environment:
    """Return the environment with the settings of a release that lies on the host."""
    where = environment.directory / "releases" / release
    return _first(environment, read, where / FILE, where / _COMPOSE)


def _first(environment: Environment, read: Read, recorded: PurePosixPath, compose: PurePosixPath) -> Environment:
    text = read(recorded)
    if text is not None and (found := applied(environment, text)) is not None:
        return found
    text = read(compose)
    return environment if text is None else derived(environment, text)


def public_port(environment: Environment) -> int:
    """Return the port of the host that users come to."""
    return environment.proxy.https_port if environment.tls else environment.proxy.http_port
