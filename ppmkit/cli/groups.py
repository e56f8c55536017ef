"""The commands of config, images, releases, secrets and lab."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from ppmkit.actions import releases as releases_module
from ppmkit.cli.common import DIFFERENT, Env, Json, OneHost, console, group, load, load_hosts, print_json, write
from ppmkit.config.environment import pick_host

config = group("The environment's YAML.")
images = group("The images.")
secrets = group("The secrets.")
lab = group("Throwaway hosts on this machine.")


@config.command("check")
def config_check(env: Env = "lab", as_json: Json = False) -> None:
    """Read the YAML; say what is wrong with it, and warn of what is most likely not meant."""
    from ppmkit.config.check import check

    environment, warnings = check(env)
    if as_json:
        found = {"environment": env, "url": environment.url, "hosts": len(environment.hosts)}
        print_json({**found, "warnings": [asdict(warning) for warning in warnings]})
        return
    for warning in warnings:
        console().say(f"warning: {warning}")
    sys.stdout.write(f"{env}: ok, {len(environment.hosts)} hosts, {environment.url}\n")


@config.command("show")
def config_show(env: Env = "lab", as_json: Json = False) -> None:
    """The environment with every default filled in."""
    from ppmkit.config.file import dump

    environment = load(env)
    if as_json:
        print_json(environment.model_dump(mode="json"))
    else:
        sys.stdout.write(dump(environment))


@config.command("schema")
def config_schema() -> None:
    """The JSON Schema of the YAML, for editors."""
    from ppmkit.config.file import schema

    sys.stdout.write(schema())


releases = typer.Typer(help="The releases on a host.", rich_markup_mode=None)


@releases.callback(invoke_without_command=True)
def releases_list(context: typer.Context, env: Env = "lab", host: OneHost = None, as_json: Json = False) -> None:
    """The releases on a host, newest first."""
    from ppmkit.cli import show

    if context.invoked_subcommand:
        return
    environment = load_hosts(env)
    found, stack = releases_module.releases(environment, pick_host(environment, host))
    if as_json:
        print_json([record.model_dump(mode="json") for record in found])
    else:
        show.releases(found, stack)


@releases.command("show")
def releases_show(
    release: Annotated[str | None, typer.Argument(help="Default: the newest.")] = None,
    env: Env = "lab",
    host: OneHost = None,
    as_json: Json = False,
    sbom: Annotated[bool, typer.Option("--sbom", help="The whole list of what it is made of, as CycloneDX.")] = False,
) -> None:
    """One release: its record, its images, and what they are made of."""
    from ppmkit.cli import show

    environment = load_hosts(env)
    record, bill = releases_module.release(environment, pick_host(environment, host), release, ask=sbom)
    if sbom:
        write(f"{bill}\n")
        return
    if as_json:
        print_json({**record.model_dump(mode="json"), "sbom": json.loads(bill) if bill else None})
    else:
        write(show.release(record, bill))


@images.command("base")
def images_base(env: Env = "lab") -> None:
    """Pull the base images, or make them from Debian's archive and PyPI where no registry answers."""
    from ppmkit.images.bases import ensure_bases
    from ppmkit.local.engine import local_docker

    with console() as shown:
        for base, reference in ensure_bases(load(env).images, local_docker(), shown.announce).items():
            sys.stdout.write(f"{base}  {reference}\n")


@images.command("build")
def images_build(env: Env = "lab") -> None:
    """Build those of the application's images that are not there as they are wanted; print their ids."""
    from ppmkit.images.application import build

    with console() as shown:
        for image, reference in build(load(env), shown.announce).by_name().items():
            sys.stdout.write(f"{image}  {reference}\n")


@images.command("ship")
def images_ship(env: Env = "lab") -> None:
    """Send to every host the layers that it lacks, ahead of a deploy."""
    from ppmkit.actions import up

    with console() as shown:
        for host, sent in up.ship(load_hosts(env), shown).items():
            sys.stdout.write(f"{host}  {sent:,} bytes\n")


def _ask(name: str) -> str:
    """Return a value that is typed where nobody sees it, or read from a pipe."""
    if sys.stdin.isatty():
        return str(typer.prompt(name, hide_input=True, err=True))
    return sys.stdin.read().strip()


@secrets.command("init")
def secrets_init(env: Env = "lab") -> None:
    """Create what can be generated, and ask for the rest (on a terminal; else say how to set it)."""
    from ppmkit.secrets.manage import init

    for line in init(load(env), _ask if sys.stdin.isatty() else None):
        sys.stdout.write(f"{line}\n")


@secrets.command("set")
def secrets_set(name: str, env: Env = "lab") -> None:
    """Set a secret; its value is asked for, or read from a pipe."""
    from ppmkit.actions.rotate import replace

    for line in replace(load(env), name, _ask(name)):
        sys.stdout.write(f"{line}\n")


@secrets.command("rotate")
def secrets_rotate(
    name: str,
    env: Env = "lab",
    revoke: Annotated[
        bool, typer.Option("--revoke", help="It leaked: what was signed with the old value counts no longer.")
    ] = False,
) -> None:
    """Give a secret a new value (generated, or asked for) and deploy this checkout with it, as any upgrade."""
    from ppmkit.actions import deploy
    from ppmkit.actions.rotate import rotate
    from ppmkit.cli import show
    from ppmkit.secrets.kinds import is_generated

    environment = load_hosts(env)
    with console() as shown:
        for line in rotate(environment, name, None if is_generated(name) else _ask(name), revoke=revoke):
            shown.say(line)
        done = deploy.deploy(environment, shown)
    write(show.deployment(done))


@secrets.command("check")
def secrets_check(env: Env = "lab", as_json: Json = False) -> None:
    """Say what is missing, weak, too old, readable by others or not used. Exit code 3 when something is."""
    from ppmkit.secrets.manage import check

    findings = check(load(env))
    if as_json:
        print_json(findings)
    else:
        for finding in findings or ["every secret is there, and as it should be"]:
            sys.stdout.write(f"{finding}\n")
    raise typer.Exit(DIFFERENT if findings else 0)


Lab = Annotated[str, typer.Argument(help="The lab's name.")]


@lab.command("up")
def lab_up(
    name: Lab = "lab",
    hosts: Annotated[
        int | None, typer.Option(min=1, help="How many hosts; default: as many as there are, else 1.")
    ] = None,
    offset: Annotated[int | None, typer.Option(help="Added to every port, for a second lab beside the first.")] = None,
) -> None:
    """Boot throwaway hosts."""
    from ppmkit import lab as labs
    from ppmkit.cli import show

    with console() as shown:
        found = labs.up(name, hosts, offset=offset, announce=shown.announce)
    show.lab(found.hosts)


@lab.command("down")
def lab_down(
    name: Lab = "lab", purge: Annotated[bool, typer.Option("--purge", help="Key and state too.")] = False
) -> None:
    """Take the hosts away, with all that is on them."""
    from ppmkit import lab as labs

    labs.down(name, purge=purge)


@lab.command("status")
def lab_status(name: Lab = "lab", as_json: Json = False) -> None:
    """The hosts, their ports and states."""
    from ppmkit import lab as labs
    from ppmkit.cli import show

    found = labs.status(name)
    if as_json:
        print_json([host.model_dump(mode="json") for host in found])
    else:
        show.lab(found)


@lab.command("ssh")
def lab_ssh(
    host: Annotated[str, typer.Argument(help="lab-1, lab-2, …")] = "lab-1",
    name: Annotated[str, typer.Option("--lab")] = "lab",
) -> None:
    """Log in on a host, as root."""
    from ppmkit import lab as labs

    raise typer.Exit(labs.ssh(name, host))
