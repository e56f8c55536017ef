"""The program `ppmctl`: all its commands, by group.

Commands import the rest of ``ppmkit`` only when they run, so `--help` and shell completion are fast.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ppmkit import __version__
from ppmkit.cli import backups, config, environment, hosts, images, lab, releases, secrets

_HELP = "Deploy a web application over SSH, without losing a request or a row."

app = typer.Typer(help=_HELP, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)
for commands in (environment, releases, backups, hosts):
    app.add_typer(commands.app)
app.add_typer(releases.releases, name="releases")
app.add_typer(backups.backup, name="backup")
app.add_typer(secrets.app, name="secrets")
app.add_typer(config.app, name="config")
app.add_typer(images.app, name="images")
app.add_typer(lab.app, name="lab")


def _print_version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"ppmctl {__version__}\n")
        raise typer.Exit


@app.callback(help=_HELP)
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options of ppmctl itself."""
