"""Parse a routes file: its servers, and a copy of its routes under other names. Pure."""

from __future__ import annotations

import json
from typing import Any

from ppmkit.release.model import Color

_INTERNAL = "internal"
"""The loopback entry point."""
_NAMES, _LISTS = ("service", "name", "fallback"), ("middlewares", "parentRefs")
"""Keys whose value refers to another name in the file, and keys whose value is a list of such names."""


def servers(text: str, color: Color) -> dict[str, list[str]]:
    """Given routes, return {service: [URL]} of a color; the lists are empty if there are none."""
    services = _http(text).get("services", {})
    return {role: _urls(services.get(f"{role}-{color}", {})) for role in ("api", "frontend")}


def _urls(service: dict[str, Any]) -> list[str]:
    return [server["url"] for server in service.get("loadBalancer", {}).get("servers") or []]


def aside(text: str, prefix: str) -> str | None:
    """Given routes, return those for users with every name prefixed, as JSON; None if there are none.

    They can be installed next to other routes, and serve users when those cannot.
    """
    http = _http(text)
    inside = {name for name, router in http.get("routers", {}).items() if _INTERNAL in router.get("entryPoints", ())}
    kept = {
        kind: {name: thing for name, thing in http.get(kind, {}).items() if kind != "routers" or name not in inside}
        for kind in ("routers", "middlewares", "services")
    }
    if not kept["routers"]:
        return None
    names = {name for things in kept.values() for name in things}
    renamed = {
        kind: {f"{prefix}{name}": _renamed(thing, names, prefix) for name, thing in things.items()}
        for kind, things in kept.items()
        if things
    }
    return json.dumps({"http": renamed}, indent=1) + "\n"


def _renamed(value: Any, names: set[str], prefix: str, key: str = "") -> Any:
    if isinstance(value, dict):
        return {inner: _renamed(item, names, prefix, inner) for inner, item in value.items()}
    if isinstance(value, list):
        return [_renamed(item, names, prefix, key if key in _LISTS else "") for item in value]
    return f"{prefix}{value}" if key in (*_NAMES, *_LISTS) and value in names else value


def _http(text: str) -> dict[str, Any]:
    """Return the `http` section; empty if the file is unreadable."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        http = YAML(typ="safe").load(text)["http"]
    except (YAMLError, LookupError, TypeError):
        return {}
    return http if isinstance(http, dict) else {}
