"""Redaction of output: masks secret values, and escapes control characters that come from hosts."""

from __future__ import annotations

import json
from typing import Any

_MASK = "•••"
_CONTROLS = {*range(0x20), *range(0x7F, 0xA0)} - {ord("\n"), ord("\t")}
# Line and paragraph separators, and characters that change text direction or are invisible (Unicode, annex 9).
_FORMATS = {0x061C, *range(0x200B, 0x2010), *range(0x2028, 0x202F), *range(0x2060, 0x2070), 0xFEFF}
_VISIBLE = {code: f"\\x{code:02x}" for code in _CONTROLS} | {code: f"\\u{code:04x}" for code in _FORMATS}
_values: set[str] = set()


def learn(value: str) -> None:
    """Register a secret value and each of its lines for masking. Short values are skipped because they would mask
    ordinary words; so is the first line of a PEM."""
    lines = [line for line in value.splitlines() if not line.startswith("-----")]
    for part in (value, *lines):
        if len(part) >= 8:
            # In JSON text the value appears escaped.
            _values.update({part, json.dumps(part)[1:-1]})


def redact(text: str) -> str:
    """Return the text with every known value masked, the longest first."""
    for value in sorted(_values, key=len, reverse=True):
        text = text.replace(value, _MASK)
    return text


def visible(text: str) -> str:
    """Return the text with control characters as escapes (``\\x1b``), so that no terminal interprets them. Newlines and
    tabs stay. Output from a host could otherwise repaint the screen or write to the clipboard."""
    return text.replace("\r\n", "\n").translate(_VISIBLE)


def shown(text: str) -> str:
    """Return a text that is safe to display: redacted, with control characters escaped."""
    return visible(redact(text))


def redacted_json(document: Any, *, indent: int | None = None) -> str:
    """Return a document as JSON with every known value masked.

    The values are masked before the document is serialized. In serialized text, a value could begin within an escape
    (``\\u0130``), and masking it would leave invalid JSON.
    """
    text = json.dumps(_masked(document), indent=indent, separators=None if indent else (",", ":"))
    return text.replace("\x7f", "\\u007f")  # the only control character that JSON does not escape


def _masked(document: Any) -> Any:
    if isinstance(document, dict):
        return {redact(key): _masked(value) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [_masked(value) for value in document]
    return redact(document) if isinstance(document, str) else document
