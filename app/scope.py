"""Scopes: what a caller may do."""

from __future__ import annotations

from enum import StrEnum


class Scope(StrEnum):
    """What a caller may do; each scope includes those before it."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"

    def includes(self, other: Scope) -> bool:
        """Return whether this scope allows everything that the other one allows."""
        scopes = list(Scope)
        return scopes.index(self) >= scopes.index(other)
