"""`ppmctl config`: check and show an environment's configuration."""

from __future__ import annotations

import sys
from dataclasses import asdict

import typer

from ppmkit.cli.common import Env, Json, console, group, load, print_json

app: typer.Typer = group("Check and show an environment's configuration.")


@app.command()
def check(env: Env = "lab", as_json: Json = False) -> None:
    """Check an environment's YAML for errors and mistakes.

    Errors end with exit code 2. Warnings name what is most likely a mistake.
    """
    from ppmkit.config.check import check

    environment, warnings = check(env)
    if as_json:
        summary = {"environment": env, "url": environment.url, "hosts": len(environment.hosts)}
        print_json({**summary, "warnings": [asdict(warning) for warning in warnings]})
        return
    for warning in warnings:
        console().say(f"warning: {warning}")
    sys.stdout.write(f"{env}: ok, {len(environment.hosts)} hosts, {environment.url}\n")


@app.command()
def show(env: Env = "lab", as_json: Json = False) -> None:
    """Show the environment with every default filled in."""
    from ppmkit.config.file import dump

    environment = load(env)
    if as_json:
        print_json(environment.model_dump(mode="json"))
    else:
        sys.stdout.write(dump(environment))


@app.command()
def schema() -> None:
    """Print the JSON Schema of the YAML, for editors."""
    from ppmkit.config.file import schema

    sys.stdout.write(schema())
