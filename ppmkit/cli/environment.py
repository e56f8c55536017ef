"""The commands for a whole environment: up, down, status, logs, exec, render."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ppmkit.cli.common import (
    DIFFERENT,
    Env,
    Json,
    OneHost,
    Yes,
    confirm,
    console,
    load,
    load_host,
    load_hosts,
    print_json,
    write,
)

app = typer.Typer()


@app.command()
def up(env: Env = "lab") -> None:
    """Set up everything: host, secrets, application.

    Starts the lab's hosts, provisions them, creates secrets and deploys. Steps that are already done are skipped.
    """
    from ppmkit.actions.up import up
    from ppmkit.cli import show

    with console() as shown:
        result = up(load(env), shown)
    write(show.up(result))


@app.command()
def down(
    env: Env = "lab",
    purge: Annotated[bool, typer.Option("--purge", help="Delete the data and the secrets too.")] = False,
    yes: Yes = False,
) -> None:
    """Remove the application; with --purge, its data too.

    A lab's hosts are removed with it.
    """
    from ppmkit.actions.up import down

    environment = load(env)
    if environment.kind == "hosts":
        what = "the application AND ITS DATA" if purge else "the application (its data stays)"
        confirm(f"Remove {what} from {len(environment.hosts)} hosts of {env}?", yes=yes)
    with console() as shown:
        down(environment, shown, purge=purge)


@app.command()
def status(
    env: Env = "lab",
    as_json: Json = False,
    host: Annotated[
        str | None, typer.Option("--host", help="One host; default: all, or the first for --dashboard.")
    ] = None,
    dashboard: Annotated[
        bool, typer.Option("--dashboard", help="Open a tunnel to Traefik's dashboard until Ctrl-C.")
    ] = False,
) -> None:
    """Show what is running and whether it is healthy.

    Exit code 3 when it is not.
    """
    from ppmkit.actions.status import status
    from ppmkit.cli import show
    from ppmkit.config.environment import only

    environment = only(load_hosts(env), host)
    if dashboard:
        _dashboard(env, host, as_json=as_json)
        return
    result = status(environment)
    if as_json:
        print_json(result.model_dump(mode="json"))
    else:
        show.status(result)
    raise typer.Exit(0 if result.healthy else DIFFERENT)


def _dashboard(env: str, host: str | None, *, as_json: bool) -> None:
    from ppmkit.proxy.dashboard import watch

    environment, address = load_host(env, host)

    def opened(url: str) -> None:
        if as_json:
            print_json({"url": url})
        else:
            typer.echo(url)
            console().say(f"Traefik's dashboard on {address.name}, reachable from this machine only; Ctrl-C closes it")

    watch(environment, address, opened)


@app.command()
def logs(
    service: Annotated[str | None, typer.Argument(help="api, worker, frontend, reverse-proxy, api-blue, …")] = None,
    env: Env = "lab",
    host: OneHost = None,
    tail: Annotated[int, typer.Option(min=0, help="Lines of each container.")] = 100,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Keep printing until Ctrl-C.")] = False,
) -> None:
    """Show container logs."""
    from ppmkit.actions.logs import logs

    raise typer.Exit(logs(*load_host(env, host), service, tail=tail, follow=follow))


@app.command("exec", context_settings={"ignore_unknown_options": True})
def execute(service: str, command: list[str], env: Env = "lab", host: OneHost = None) -> None:
    """Run a command in a running container.

    Example: ppmctl exec api -- ppm token create NAME
    """
    from ppmkit.actions.logs import execute

    raise typer.Exit(execute(*load_host(env, host), service, command))


@app.command()
def render(
    out: Annotated[Path, typer.Option("--out", help="The directory; files of the same name in it are replaced.")],
    env: Env = "lab",
) -> None:
    """Write the files that a host would get."""
    from ppmkit.actions.up import render_to

    with console() as shown:
        for path in render_to(load(env), out, shown.announce):
            sys.stdout.write(f"{path}\n")
