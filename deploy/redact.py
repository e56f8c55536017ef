"""The one redactor: no value of a secret leaves this process in a text."""

from __future__ import annotations

import json

_MASK = "•••"
_values: set[str] = set()


def learn(value: str) -> None:
    """Remember a value that no text may show, and each of its lines. One too short to be a secret would mask ordinary
    words; so would the first line of a PEM."""
    lines = [line for line in value.splitlines() if not line.startswith("-----")]
    for part in (value, *lines):
        if len(part) >= 8:
            # A text that holds JSON has it escaped.
            _values.update({part, json.dumps(part)[1:-1]})


def redact(text: str) -> str:
    """Return the text with every known value masked, the longest first."""
    for value in sorted(_values, key=len, reverse=True):
        text = text.replace(value, _MASK)
    return text
