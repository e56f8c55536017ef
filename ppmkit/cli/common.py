"""Shared parts of the commands: options, loading an environment, printing."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ppmkit.cli.console import Console
    from ppmkit.config.environment import Environment, HostAddress

DIFFERENT = 3
"""The exit code for differences, or for an unhealthy state."""


def group(help: str) -> typer.Typer:
    """Return a group of commands."""
    return typer.Typer(help=help, no_args_is_help=True, rich_markup_mode=None)


def _environments() -> list[str]:
    from ppmkit.config.file import environments

    return environments()


@dataclass
class Output:
    """The output format of the running command. ``main`` creates it, and each command's context contains it."""

    as_json: bool = False


def _note_json(context: typer.Context, asked: bool) -> bool:
    context.ensure_object(Output).as_json = asked
    return asked


Env = Annotated[
    str,
    typer.Option("-e", "--env", help="The environment.", envvar="PPMCTL_ENV", autocompletion=_environments),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.", callback=_note_json)]
OneHost = Annotated[str | None, typer.Option("--host", help="The host; default: the first.")]
AnyHost = Annotated[str | None, typer.Option("--host", help="One host; default: all.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]


def load(env: str) -> Environment:
    """Return the environment with that name."""
    from ppmkit.config.file import load

    return load(env)


def load_hosts(env: str) -> Environment:
    """Return the environment with that name, which must have hosts."""
    from ppmkit.config.file import load_hosts

    return load_hosts(env)


def load_host(env: str, host: str | None) -> tuple[Environment, HostAddress]:
    """Return the environment with that name, and its host with that name (default: the first)."""
    from ppmkit.config.environment import pick_host

    environment = load_hosts(env)
    return environment, pick_host(environment, host)


def console(*, quiet: bool = False) -> Console:
    """Return the console, which shows progress and messages on stderr."""
    from ppmkit.cli.console import Console

    return Console(quiet=quiet)


def print_json(document: Any) -> None:
    """Print one JSON document on stdout."""
    from ppmkit.redact import redacted_json

    sys.stdout.write(f"{redacted_json(document, indent=2)}\n")


def write(text: str) -> None:
    """Print a text on stdout, redacted."""
    from ppmkit.redact import shown

    sys.stdout.write(shown(text))


def confirm(question: str, *, yes: bool) -> None:
    """Ask for confirmation unless ``yes``; the answer no ends the command."""
    from ppmkit.redact import shown

    if not yes:
        typer.confirm(shown(question), abort=True, err=True)
