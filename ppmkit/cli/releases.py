"""The commands that change what users get: plan, deploy, resume, abort, rollback; and the history of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ppmkit.actions import releases
from ppmkit.actions import rollback as rollback_module
from ppmkit.cli.common import DIFFERENT, Env, Json, OneHost, Yes, confirm, console, load_hosts, print_json, write
from ppmkit.config.environment import pick_host

if TYPE_CHECKING:
    from ppmkit.actions.recover import Recovery

app = typer.Typer()


@app.command()
def plan(
    env: Env = "lab",
    out: Annotated[
        Path | None, typer.Option("--out", help="Save the plan, for `deploy --plan`.", dir_okay=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what a deploy would change on every host, and what was changed there by hand. Exit code 3 when anything."""
    from ppmkit.actions import plan as planning
    from ppmkit.cli import show
    from ppmkit.plan import saved

    with console(quiet=as_json) as shown:
        found = planning.plan(load_hosts(env), shown.announce)
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        show.plan(found)
    if found.problems:
        raise typer.Exit(1)
    if out:
        saved.write(found, out)
    raise typer.Exit(DIFFERENT if found.changed else 0)


@app.command()
def deploy(
    env: Env = "lab",
    parallel: Annotated[int, typer.Option(min=1, help="How many hosts at a time.")] = 1,
    maintenance: Annotated[
        bool, typer.Option("--maintenance", help="A maintenance page where requests would wait for too long.")
    ] = False,
    canary: Annotated[
        str | None,
        typer.Option("--canary", metavar="SHARES", help="Users in steps, in per cent: 5,25,100. Default: all at once."),
    ] = None,
    plan_file: Annotated[
        Path | None, typer.Option("--plan", help="Do exactly what this saved plan says, or nothing.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Bring every host to what this checkout and its config say."""
    from ppmkit.actions import deploy as deployment
    from ppmkit.cli import show
    from ppmkit.plan import saved
    from ppmkit.upgrade.canary import shares

    options = deployment.Options(
        maintenance=maintenance,
        parallel=parallel,
        canary=shares(canary) if canary is not None else (),
        approved=saved.read(plan_file, env) if plan_file else None,
    )
    with console(quiet=as_json) as shown:
        done = deployment.deploy(load_hosts(env), shown, options)
    if as_json:
        print_json(done.model_dump(mode="json"))
    else:
        write(show.deployment(done))


@app.command()
def resume(env: Env = "lab", as_json: Json = False) -> None:
    """Finish a deploy or rollback that was cut short (killed, connection lost)."""
    from ppmkit.actions import recover

    with console(quiet=as_json) as shown:
        _recovered(recover.resume(load_hosts(env), shown), as_json=as_json)


@app.command()
def abort(env: Env = "lab", as_json: Json = False) -> None:
    """Undo a deploy or rollback that was cut short."""
    from ppmkit.actions import recover

    with console(quiet=as_json) as shown:
        _recovered(recover.abort(load_hosts(env), shown), as_json=as_json)


def _recovered(found: list[Recovery], *, as_json: bool) -> None:
    from ppmkit.cli import show

    if as_json:
        print_json([recovery.model_dump(mode="json") for recovery in found])
    else:
        write(show.recovery(found))


@app.command()
def rollback(
    release: Annotated[
        str | None, typer.Argument(help="A release of `ppmctl releases`; default: the one before.")
    ] = None,
    env: Env = "lab",
    restore: Annotated[
        bool, typer.Option("--restore", help="Bring back the snapshot from before the migration; asks.")
    ] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Return to the release before, with its own config, secrets and images."""
    from ppmkit.cli import show

    with console(quiet=as_json) as shown:

        def ask(question: str) -> None:
            shown.pause()
            confirm(question, yes=yes)

        done = rollback_module.rollback(load_hosts(env), shown, ask, release=release, restore=restore)
    if as_json:
        print_json([host.model_dump(mode="json") for host in done])
    else:
        write(show.rollback(done))


@app.command()
def history(env: Env = "lab", host: OneHost = None, as_json: Json = False) -> None:
    """What was done on a host, newest first, from its journal."""
    from ppmkit.cli import show

    environment = load_hosts(env)
    found = releases.history(environment, pick_host(environment, host))
    if as_json:
        print_json([past.model_dump(mode="json") for past in found])
    else:
        show.history(found)
