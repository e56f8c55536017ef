"""`ppmctl images`: build images and send them to hosts."""

from __future__ import annotations

import sys

import typer

from ppmkit.cli.common import Env, console, group, load, load_hosts

app: typer.Typer = group("Build images and send them to hosts.")


@app.command()
def base(env: Env = "lab") -> None:
    """Pull the base images, or build them.

    If no registry answers, they are built from Debian's archive and PyPI.
    """
    from ppmkit.images.bases import ensure_bases
    from ppmkit.local.engine import local_docker

    with console() as shown:
        for name, reference in ensure_bases(load(env).images, local_docker(), shown.announce).items():
            sys.stdout.write(f"{name}  {reference}\n")


@app.command()
def build(env: Env = "lab") -> None:
    """Build the images that changed; print their ids."""
    from ppmkit.images.application import build

    with console() as shown:
        for image, reference in build(load(env), shown.announce).by_name().items():
            sys.stdout.write(f"{image}  {reference}\n")


@app.command()
def ship(env: Env = "lab") -> None:
    """Send images to every host, ahead of a deploy.

    Only the layers that a host lacks are sent.
    """
    from ppmkit.actions.up import ship

    with console() as shown:
        for host, sent in ship(load_hosts(env), shown).items():
            sys.stdout.write(f"{host}  {sent:,} bytes\n")
