"""The pages of the docs that follow from the code. ``make docs`` writes them; a test says when they are old."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ByteSize

from ppmkit.config.environment import Environment, Model
from ppmkit.config.file import schema
from ppmkit.paths import KIT, PROJECT

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

_MARK = "<!-- What follows is written by `make docs`. -->\n"
_PACKAGES, _END = "<!-- packages: written by `make docs` -->\n", "<!-- end of packages -->\n"
_SET_BY_THE_FILE_NAME = "name"


def pages() -> dict[Path, str]:
    """Return {file: content} of everything that follows from the code."""
    configuration = KIT / "docs" / "configuration.md"
    by_hand = configuration.read_text(encoding="utf-8").partition(_MARK)[0]
    architecture = KIT / "docs" / "architecture.md"
    before, _, rest = architecture.read_text(encoding="utf-8").partition(_PACKAGES)
    after = rest.partition(_END)[2]
    return {
        PROJECT / "deploy" / "inventory" / "environment.schema.json": schema(),
        configuration: by_hand + _MARK + keys(),
        KIT / "docs" / "commands.md": commands(),
        architecture: before + _PACKAGES + packages() + _END + after,
    }


def keys() -> str:
    """Return every key of an environment's file: a Markdown table for each section."""
    return "".join(_section(path, model) for path, model in _models("", Environment))


def _models(path: str, model: type[Model]) -> Iterator[tuple[str, type[Model]]]:
    yield path, model
    for name, field in model.model_fields.items():
        for inner in _inner(field.annotation):
            yield from _models(f"{path}.{name}".lstrip("."), inner)


def _inner(annotation: Any) -> Iterator[type[Model]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _inner(part)


def _section(path: str, model: type[Model]) -> str:
    title = f"`{path}`" if path else "The file"
    rows = [_row(name, field) for name, field in model.model_fields.items() if path or name != _SET_BY_THE_FILE_NAME]
    about = f"{model.__doc__}\n\n".replace("``", "`") if path else ""
    return f"\n### {title}\n\n{about}| key | value | default | |\n| --- | --- | --- | --- |\n{''.join(rows)}"


def _row(name: str, field: FieldInfo) -> str:
    inner = next(_inner(field.annotation), None)
    description = " ".join((field.description or (inner and inner.__doc__) or "").split()).replace("``", "`")
    return f"| `{name}` | {_kind(field.annotation)} | {_default(field)} | {description} |\n"


def _kind(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    if get_origin(annotation) in (tuple, dict):
        return "a list" if get_origin(annotation) is tuple else "a map"
    if args := [part for part in get_args(annotation) if part is not NoneType]:
        return _kind(args[0])
    words = {"str": "text", "int": "number", "float": "number", "bool": "true, false", "timedelta": "duration"}
    return words.get(annotation.__name__, "size" if annotation is ByteSize else "a section")


def _default(field: FieldInfo) -> str:
    value = field.default
    if field.default_factory is not None:
        return ""
    if field.is_required():
        return "needed"
    if isinstance(value, BaseModel) or value in (None, ()):
        return ""
    if isinstance(value, ByteSize):
        return f"`{value.human_readable(decimal=False)}`"
    if hasattr(value, "total_seconds"):
        return f"`{value.total_seconds():.15g}s`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def commands() -> str:
    """Return every command with its options, as Markdown."""
    import typer
    from typer.cli import get_docs_for_click

    from ppmkit.cli.app import app

    command = typer.main.get_command(app)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name="ppmctl", title="Commands")
    return f"{text.rstrip()}\n"


def packages() -> str:
    """Return a drawing of the kit's packages and what each of them imports, and a table of what they are."""
    from importlib import import_module

    import grimp

    graph = grimp.build_graph("ppmkit", cache_dir=None)
    names = sorted(name for name in graph.find_children("ppmkit"))
    about = {name: (import_module(name).__doc__ or "").partition("\n")[0] for name in names}
    for name in names:
        graph.squash_module(name)
    below = {name: graph.find_modules_directly_imported_by(name) - {"ppmkit", name} for name in names}
    arrows = [
        f"  {name.removeprefix('ppmkit.')} --> {other.removeprefix('ppmkit.')}\n"
        for name in names
        for other in sorted(_nearest(name, below))
    ]
    rows = [f"| `{name.replace('.', '/')}` | {about[name]} |\n" for name in names]
    return f"```mermaid\nflowchart TD\n{''.join(arrows)}```\n\n| package | |\n| --- | --- |\n{''.join(rows)}"


def _nearest(name: str, below: Mapping[str, Set[str]]) -> set[str]:
    """Return what a package imports, without what one of those imports, at once or by others."""

    def reached(start: str) -> set[str]:
        return set(below[start]).union(*(reached(other) for other in below[start]))

    return set(below[name]) - set().union(*(reached(other) for other in below[name]))


if __name__ == "__main__":
    for file, content in pages().items():
        file.write_text(content, encoding="utf-8")
