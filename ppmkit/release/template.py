"""Filling a template: a value is data, whatever characters it has. Pure. The one place where values become text.

Compose replaces ``$`` in every value of its file, Traefik runs Go's templates over its dynamic files, and both read
YAML. So a value is written by the filter ``tojson``, which hides all of that; as it is, only a value that has none of
their characters may be written, and any other is an error.
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
"""What means itself wherever it is written: inside quotes, outside of them, in a list."""
_HIDDEN = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
"""Characters that JSON may hold as they are, and YAML may not, or takes for line breaks."""
_VARIABLE = re.compile(r"\$(?:\w+|\{[^}]*\}?)")


class _NotPlainError(Exception):
    """A value was to be written as it is, which is not safe."""


def fill(template: str, **values: Any) -> str:
    """Return a template's text. Raises ConfigError for a value that is written without ``tojson`` and needs it."""
    return _fill(template, "$", values)


def fill_compose(template: str, **values: Any) -> str:
    """As :func:`fill`, for a Compose file: Compose sees no variable in it.

    Raises ConfigError too where the template itself names a variable: two shells would make different things of one
    release.
    """
    text = _fill(template, "$$", values)
    for line in text.splitlines():
        named = None if line.lstrip().startswith("#") else _VARIABLE.search(line.replace("$$", ""))
        if named:
            raise ConfigError(
                f"{template}: Compose would take {named[0]} from the shell that ppmctl runs in",
                step="render",
                seen=line.strip(),
                next=f"Write ${named[0]} where the container's own shell is to see it, else the value itself",
            )
    return text


def scalar(value: Any, dollar: str = "$") -> Markup:
    """Return a value as JSON that is YAML too, within single quotes as well. Each ``$`` becomes ``dollar``."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True).replace("$", dollar)
    text = text.replace("'", r"\u0027").replace("{{", r"{\u007b")  # two braces in a row are always text, never JSON's
    return Markup(_HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text))  # noqa: S704 (no HTML)


def _fill(template: str, dollar: str, values: dict[str, Any]) -> str:
    try:
        return _jinja(dollar).get_template(template).render(**values)
    except _NotPlainError as error:
        raise ConfigError(
            f"{template} writes a value as it is that has characters with a meaning there",
            step="render",
            seen=str(error),
            next="In the template write {{ … | tojson }}, without quotes around it",
        ) from error


@cache
def _jinja(dollar: str) -> Jinja:
    jinja = Jinja(
        loader=FileSystemLoader([KIT, KIT / "templates"]),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=True,  # marks what is safe already: results of `tojson` and of macros
        finalize=_written,
    )
    jinja.filters |= {"tojson": partial(scalar, dollar=dollar), "seconds": _seconds}
    return jinja


def _written(value: Any) -> Markup:
    """Return what a template writes for a value. Raises _NotPlainError."""
    if isinstance(value, Markup):
        return value
    if not _PLAIN.fullmatch(text := str(value)):
        raise _NotPlainError(text)
    return Markup(text)  # noqa: S704 (no HTML)


def _seconds(duration: timedelta) -> int:
    return round(duration.total_seconds())
