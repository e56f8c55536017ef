"""Messages about wrong values in an environment's file, in plain words. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError

from ppmkit.config.document import Document, Location, Remark, dotted, kind
from ppmkit.config.environment import Environment
from ppmkit.config.types import NAME, NAME_IN_WORDS

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_ALLOWED = {
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "string_type": "text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "byte_size": "a size with its unit, as in 256MiB",
    "byte_size_unit": "a size with its unit, as in 256MiB",
    "float_parsing": "a number",
}
"""The allowed value for each of pydantic's error types. Pydantic's own messages use Python's terms."""
_PATTERNS = {NAME: NAME_IN_WORDS}
_KEY = "[key]"
"""The last part of the location that pydantic reports for a mapping's key."""


def remarks(error: ValidationError, document: Document) -> Iterator[Remark]:
    """Yield a remark about every mistake that pydantic found."""
    details = error.errors(include_url=False)
    for detail in details:
        if not _follows(detail, details):
            yield document.remark(_place(detail["loc"]), _sentence(detail))


def _follows(detail: ErrorDetails, details: list[ErrorDetails]) -> bool:
    """Return whether this error only follows from another one: pydantic does not count a wrong item as an item."""
    place = detail["loc"]
    return detail["type"] == "too_short" and any(
        len(other["loc"]) > len(place) and other["loc"][: len(place)] == place for other in details
    )


def _place(location: Location) -> Location:
    return location[:-1] if location and location[-1] == _KEY else location


def _sentence(detail: ErrorDetails) -> str:
    location = detail["loc"]
    context, value = detail.get("ctx", {}), detail["input"]
    path, found = dotted(location), f"found {_shown(value)}"
    if location and location[-1] == _KEY:
        path, found = dotted(location[:-2]), f"found the key {_shown(value)}"
    match detail["type"]:
        case "extra_forbidden":
            return _unknown_key(location)
        case "missing":
            return f"{dotted(location[:-1]) or 'the file'} lacks the key `{location[-1]}`"
        case "value_error":
            return f"{path}: {context['error']}" if path else str(context["error"])
        case "literal_error":
            return f"{path}: {found}; allowed: {context['expected']}"
        case "string_pattern_mismatch" if context["pattern"] in _PATTERNS:
            return f"{path}: {found}; allowed: {_PATTERNS[context['pattern']]}"
        case "string_pattern_mismatch":
            return f"{path}: {found}; it must match {context['pattern']}"
        case "too_short":
            return f"{path}: found {context['actual_length']} items; at least {context['min_length']} item is needed"
    message = detail["msg"].removeprefix("Input should be ").removeprefix("a valid ")
    return f"{path}: {found}; allowed: {_ALLOWED.get(detail['type'], message)}"


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, str | int | float) else kind(value)


def _unknown_key(location: Location) -> str:
    known = [key for key in _keys(location[:-1]) if key != "name" or len(location) > 1]
    key = str(location[-1])
    near = difflib.get_close_matches(key, known, 1)
    hint = f"; did you mean `{near[0]}`?" if near else "."
    where = dotted(location[:-1]) or "the file"
    return f"unknown key `{key}` in {where}{hint} Allowed: {', '.join(sorted(known))}"


def _keys(location: Location) -> list[str]:
    """Return the keys of the model at ``location``."""
    model: type[BaseModel] = Environment
    for part in location:
        if isinstance(part, str):
            model = model_in(model.model_fields[part].annotation) or model
    return list(model.model_fields)


def model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model in an annotation: the annotation itself, or a part of a tuple or union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for inner in get_args(annotation) if (model := model_in(inner))), None)
