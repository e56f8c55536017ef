"""What the steward says when it cannot do what it was asked."""

from __future__ import annotations


class StewardError(Exception):
    """The text says what is wrong; nothing was changed."""
