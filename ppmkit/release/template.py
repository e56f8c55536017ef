"""Fill templates: a value stays data, whatever its characters. Pure. The only place where values become text.

Compose expands ``$`` in every value of its file, Traefik runs Go templates on its dynamic files, and both parse YAML.
So the filter ``tojson`` writes values and escapes all of that. Only a value without special characters may be written
without the filter; any other is an error.
"""

from __future__ import annotations

import json
import re
from datetime import timedelta
from functools import cache, partial
from typing import Any

from jinja2 import Environment as Jinja
from jinja2 import FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ppmkit.errors import ConfigError
from ppmkit.paths import KIT

_PLAIN = re.compile(r"(?:[A-Za-z0-9_./](?:[A-Za-z0-9_./:@+-]*[A-Za-z0-9_./])?)?")
"""Text without special meaning anywhere: inside quotes, outside of quotes, in a list."""
_HIDDEN = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
"""Characters that JSON allows unescaped, but that YAML forbids or treats as line breaks."""
_VARIABLE = re.compile(r"\$(?:\w+|\{[^}]*\}?)")


class _NotPlainError(Exception):
    """A value was to be written without escaping, which is not safe."""


def fill(template: str, **values: Any) -> str:
    """Return the filled template. Raises ConfigError for a value that needs ``tojson`` and is written without it."""
    return _fill(template, "$", values)


def fill_compose(template: str, **values: Any) -> str:
    """Like :func:`fill`, for a Compose file: values contain nothing that Compose would expand.

    Also raises ConfigError if the template itself names a variable: one release could then differ between two shells.
    """
    text = _fill(template, "$$", values)
    for line in text.splitlines():
        match = None if line.lstrip().startswith("#") else _VARIABLE.search(line.replace("$$", ""))
        if match:
            raise ConfigError(
                f"{template}: Compose would take {match[0]} from the shell that ppmctl runs in",
                step="render",
                seen=line.strip(),
                next=f"Write ${match[0]} if the container's shell should expand it, else write the value itself",
            )
    return text


def scalar(value: Any, dollar: str = "$") -> Markup:
    """Return a value as JSON that is also valid YAML, even within single quotes. Each ``$`` becomes ``dollar``."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True).replace("$", dollar)
    text = text.replace("'", r"\u0027").replace("{{", r"{\u007b")  # JSON syntax never has two braces in a row
    return Markup(_HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text))  # noqa: S704 (no HTML)


def _fill(template: str, dollar: str, values: dict[str, Any]) -> str:
    try:
        return _jinja(dollar).get_template(template).render(**values)
    except _NotPlainError as error:
        raise ConfigError(
            f"{template} writes a value without escaping, but it contains special characters",
            step="render",
            seen=str(error),
            next="In the template, write {{ … | tojson }} without quotes around it",
        ) from error


@cache
def _jinja(dollar: str) -> Jinja:
    jinja = Jinja(
        loader=FileSystemLoader([KIT, KIT / "templates"]),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=True,  # results of `tojson` and of macros are marked as safe
        finalize=_written,
    )
    jinja.filters |= {"tojson": partial(scalar, dollar=dollar), "seconds": _seconds}
    return jinja


def _written(value: Any) -> Markup:
    """Return the text that a template writes for a value. Raises _NotPlainError."""
    if isinstance(value, Markup):
        return value
    if not _PLAIN.fullmatch(text := str(value)):
        raise _NotPlainError(text)
    return Markup(text)  # noqa: S704 (no HTML)


def _seconds(duration: timedelta) -> int:
    return round(duration.total_seconds())
