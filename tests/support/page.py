"""What a browser would load with the page."""

from __future__ import annotations

import re


def assets(page: str) -> list[str]:
    """Given the HTML of the page, return the paths of the assets that it names."""
    return re.findall(r'(?:src|href)="(/assets/[^"]+)"', page)
