"""What the values in an environment's file look like: durations, sizes, names. Pure."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ByteSize, ConfigDict, Field, PlainSerializer, WithJsonSchema

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"^(\d+(?:\.\d+)?)(ms|s|m|h|d)$")


def _duration(value: Any) -> Any:
    """Given "30s" or "1.5h", return seconds; anything else is left for pydantic to judge."""
    if isinstance(value, str):
        found = _DURATION.match(value.strip())
        if not found:
            raise ValueError(f"not a duration: {value!r}; write a number and a unit: 500ms, 30s, 5m, 1h, 7d")
        return float(found[1]) * _UNITS[found[2]]
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"a duration needs a unit: write {value}s, {value}m or {value}h")  # noqa: TRY004
    return value


def _written(duration: timedelta) -> str:
    """Given a duration, return it as an environment's file has it: 90s, 1.5s."""
    return f"{duration.total_seconds():.15g}s"


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    PlainSerializer(_written, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": _DURATION.pattern, "examples": ["30s", "5m"]}),
]
Bytes = Annotated[
    ByteSize,
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?\s*([kKMGT]i?)?B?$", "examples": ["256MiB"]}),
]
Port = Annotated[int, Field(ge=1, le=65535)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
Recipient = Annotated[str, Field(pattern=r"^(age1[0-9a-z]+|ssh-(ed25519|rsa) \S+( .*)?)$")]
Group = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+(/[A-Za-z0-9._-]+)?$", examples=["acme", "acme/ops"])]
KnownHost = Annotated[
    str,
    Field(pattern=r"^[^\s$#@]+ (ssh|ecdsa|sk)-\S+ [A-Za-z0-9+/=]+$", examples=["git.example.org ssh-ed25519 AAAA…"]),
]
UrlPath = Annotated[str, Field(pattern=r"^/\S*$", examples=["/api/system"])]


class Model(BaseModel):
    """Frozen, and closed: an unknown key is an error, never passed over."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
