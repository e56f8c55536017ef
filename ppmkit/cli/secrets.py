"""`ppmctl secrets`: create, change and check secrets."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ppmkit.cli.common import DIFFERENT, Env, Json, console, group, load, load_hosts, print_json, write

app: typer.Typer = group("Create, change and check secrets.")


def _ask(name: str) -> str:
    """Return a value that is typed without echo, or read from a pipe."""
    if sys.stdin.isatty():
        return str(typer.prompt(name, hide_input=True, err=True))
    return sys.stdin.read().strip()


@app.command()
def init(env: Env = "lab") -> None:
    """Create secrets, and ask for those that you supply.

    Without a terminal, it prints the commands that set them.
    """
    from ppmkit.secrets.manage import init

    for line in init(load(env), _ask if sys.stdin.isatty() else None):
        sys.stdout.write(f"{line}\n")


@app.command("set")
def set_secret(name: str, env: Env = "lab") -> None:
    """Set a secret; type its value, or pipe it in."""
    from ppmkit.actions.rotate import replace

    for line in replace(load(env), name, _ask(name)):
        sys.stdout.write(f"{line}\n")


@app.command()
def rotate(
    name: str,
    env: Env = "lab",
    revoke: Annotated[
        bool, typer.Option("--revoke", help="The secret leaked: stop accepting the old value at once.")
    ] = False,
) -> None:
    """Give a secret a new value and deploy with it.

    ppmctl generates the value if it can; otherwise it asks for it.
    """
    from ppmkit.actions.deploy import deploy
    from ppmkit.actions.rotate import rotate
    from ppmkit.cli import show
    from ppmkit.secrets.kinds import is_generated

    environment = load_hosts(env)
    with console() as shown:
        for line in rotate(environment, name, None if is_generated(name) else _ask(name), revoke=revoke):
            shown.say(line)
        done = deploy(environment, shown)
    write(show.deployment(done))


@app.command()
def check(env: Env = "lab", as_json: Json = False) -> None:
    """Check for missing, weak, old or exposed secrets.

    Exit code 3 when there are problems.
    """
    from ppmkit.secrets.manage import check

    findings = check(load(env))
    if as_json:
        print_json(findings)
    else:
        for finding in findings or ["every secret is present and valid"]:
            sys.stdout.write(f"{finding}\n")
    raise typer.Exit(DIFFERENT if findings else 0)
