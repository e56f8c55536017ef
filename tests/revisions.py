"""The revisions of the application's schema in a checkout."""

from __future__ import annotations

from pathlib import Path


def newest(checkout: Path) -> str:
    """Return the newest revision that the application ships with."""
    return max(path.name for path in (checkout / "app/migrations/versions").glob("0*.py"))[:4]
