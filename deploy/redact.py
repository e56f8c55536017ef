"""The one redactor: no value of a secret leaves this process in a text."""

from __future__ import annotations

import json

_MASK = "•••"
_values: set[str] = set()


def learn(value: str) -> None:
    """Remember a value that no text may show. One too short to be a secret would mask ordinary words."""
    if len(value) >= 8:
        # A text that holds JSON has it escaped.
        _values.update({value, json.dumps(value)[1:-1]})


def redact(text: str) -> str:
    """Return the text with every known value masked, the longest first."""
    for value in sorted(_values, key=len, reverse=True):
        text = text.replace(value, _MASK)
    return text
