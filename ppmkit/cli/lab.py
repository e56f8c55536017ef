"""`ppmctl lab`: throwaway hosts on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from ppmkit.cli.common import Json, console, group, print_json

app: typer.Typer = group("Run throwaway hosts on this machine.")
Lab = Annotated[str, typer.Argument(help="The lab's name.")]


@app.command()
def up(
    name: Lab = "lab",
    hosts: Annotated[
        int | None, typer.Option(min=1, help="Number of hosts; default: as many as there are, else 1.")
    ] = None,
    offset: Annotated[int | None, typer.Option(help="Added to every port, to run a second lab.")] = None,
) -> None:
    """Start throwaway hosts."""
    from ppmkit import lab
    from ppmkit.cli import show

    with console() as shown:
        started = lab.up(name, hosts, offset=offset, announce=shown.announce)
    show.lab(started.hosts)


@app.command()
def down(
    name: Lab = "lab",
    purge: Annotated[bool, typer.Option("--purge", help="Delete the lab's key and state too.")] = False,
) -> None:
    """Remove the hosts and everything on them."""
    from ppmkit import lab

    lab.down(name, purge=purge)


@app.command()
def status(name: Lab = "lab", as_json: Json = False) -> None:
    """Show the hosts, their ports and states."""
    from ppmkit import lab
    from ppmkit.cli import show

    hosts = lab.status(name)
    if as_json:
        print_json([host.model_dump(mode="json") for host in hosts])
    else:
        show.lab(hosts)


@app.command()
def ssh(
    host: Annotated[str, typer.Argument(help="lab-1, lab-2, …")] = "lab-1",
    name: Annotated[str, typer.Option("--lab", help="The lab's name.")] = "lab",
) -> None:
    """Log in to a host as root."""
    from ppmkit import lab

    raise typer.Exit(lab.ssh(name, host))
