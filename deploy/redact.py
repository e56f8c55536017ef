"""The one redactor: no value of a secret leaves this process in a text."""

from __future__ import annotations

import json
from typing import Any

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


def redacted_json(document: Any, *, indent: int | None = None) -> str:
    """Return a document as JSON with every known value masked.

    What is masked is the document, not its text: there a value could begin within an escape (``\\u0130``), and what
    is left would not be JSON.
    """
    return json.dumps(_masked(document), indent=indent, separators=None if indent else (",", ":"))


def _masked(document: Any) -> Any:
    if isinstance(document, dict):
        return {redact(key): _masked(value) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [_masked(value) for value in document]
    return redact(document) if isinstance(document, str) else document
