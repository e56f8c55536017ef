"""The commands for releases: plan, deploy, resume, abort, rollback, releases, history."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ppmkit.cli.common import (
    DIFFERENT,
    Env,
    Json,
    OneHost,
    Yes,
    confirm,
    console,
    load_host,
    load_hosts,
    print_json,
    write,
)

if TYPE_CHECKING:
    from ppmkit.actions.recover import Recovery

app = typer.Typer()
releases = typer.Typer(help="List the releases on a host.", rich_markup_mode=None)


@app.command()
def plan(
    env: Env = "lab",
    out: Annotated[
        Path | None, typer.Option("--out", help="Save the plan, for `deploy --plan`.", dir_okay=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what a deploy would change.

    Also shows what was changed on the hosts by hand. Exit code 3 when there are differences.
    """
    from ppmkit.actions.plan import plan
    from ppmkit.cli import show
    from ppmkit.plan import saved

    with console(quiet=as_json) as shown:
        result = plan(load_hosts(env), shown.announce)
    if as_json:
        print_json(result.model_dump(mode="json"))
    else:
        show.plan(result)
    if result.problems:
        raise typer.Exit(1)
    if out:
        saved.write(result, out)
    raise typer.Exit(DIFFERENT if result.changed else 0)


@app.command()
def deploy(
    env: Env = "lab",
    parallel: Annotated[int, typer.Option(min=1, help="Hosts at a time.")] = 1,
    maintenance: Annotated[
        bool,
        typer.Option("--maintenance", help="Serve a maintenance page if a migration would hold requests too long."),
    ] = False,
    canary: Annotated[
        str | None,
        typer.Option(
            "--canary", metavar="SHARES", help="Shift traffic in steps, in percent: 5,25,100. Default: all at once."
        ),
    ] = None,
    plan_file: Annotated[
        Path | None, typer.Option("--plan", help="Do exactly what this saved plan says, or nothing.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Deploy this checkout and its config to every host."""
    from ppmkit.actions.deploy import Options, deploy
    from ppmkit.cli import show
    from ppmkit.plan import saved
    from ppmkit.upgrade.canary import shares

    options = Options(
        maintenance=maintenance,
        parallel=parallel,
        canary=shares(canary) if canary is not None else (),
        approved=saved.read(plan_file, env) if plan_file else None,
    )
    with console(quiet=as_json) as shown:
        done = deploy(load_hosts(env), shown, options)
    if as_json:
        print_json(done.model_dump(mode="json"))
    else:
        write(show.deployment(done))


@app.command()
def resume(env: Env = "lab", as_json: Json = False) -> None:
    """Finish an interrupted deploy, rollback or restore."""
    from ppmkit.actions import recover

    with console(quiet=as_json) as shown:
        _print_recoveries(recover.resume(load_hosts(env), shown), as_json=as_json)


@app.command()
def abort(env: Env = "lab", as_json: Json = False) -> None:
    """Undo an interrupted deploy, rollback or restore."""
    from ppmkit.actions import recover

    with console(quiet=as_json) as shown:
        _print_recoveries(recover.abort(load_hosts(env), shown), as_json=as_json)


def _print_recoveries(recoveries: list[Recovery], *, as_json: bool) -> None:
    from ppmkit.cli import show

    if as_json:
        print_json([recovery.model_dump(mode="json") for recovery in recoveries])
    else:
        write(show.recovery(recoveries))


@app.command()
def rollback(
    release: Annotated[
        str | None, typer.Argument(help="A release listed by `ppmctl releases`; default: the previous one.")
    ] = None,
    env: Env = "lab",
    restore: Annotated[
        bool, typer.Option("--restore", help="Bring back the snapshot from before the migration; asks first.")
    ] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Roll back to the previous release.

    It returns with its own config, secrets and images.
    """
    from ppmkit.actions.rollback import rollback
    from ppmkit.cli import show

    with console(quiet=as_json) as shown:

        def ask(question: str) -> None:
            shown.pause()
            confirm(question, yes=yes)

        done = rollback(load_hosts(env), shown, ask, release=release, restore=restore)
    if as_json:
        print_json([host.model_dump(mode="json") for host in done])
    else:
        write(show.rollback(done))


@app.command()
def history(env: Env = "lab", host: OneHost = None, as_json: Json = False) -> None:
    """Show a host's operations, newest first."""
    from ppmkit.actions.releases import history
    from ppmkit.cli import show

    operations = history(*load_host(env, host))
    if as_json:
        print_json([operation.model_dump(mode="json") for operation in operations])
    else:
        show.history(operations)


@releases.callback(invoke_without_command=True)
def list_releases(context: typer.Context, env: Env = "lab", host: OneHost = None, as_json: Json = False) -> None:
    """List the releases on a host, newest first."""
    from ppmkit.actions.releases import releases
    from ppmkit.cli import show

    if context.invoked_subcommand:
        return
    records, stack = releases(*load_host(env, host))
    if as_json:
        print_json([record.model_dump(mode="json") for record in records])
    else:
        show.releases(records, stack)


@releases.command("show")
def show_release(
    release: Annotated[str | None, typer.Argument(help="Default: the newest.")] = None,
    env: Env = "lab",
    host: OneHost = None,
    as_json: Json = False,
    sbom: Annotated[bool, typer.Option("--sbom", help="Print the SBOM, as CycloneDX.")] = False,
) -> None:
    """Show one release: record, images, contents."""
    from ppmkit.actions.releases import release as read
    from ppmkit.cli import show

    record, bill = read(*load_host(env, host), release, ask=sbom)
    if sbom:
        write(f"{bill}\n")
        return
    if as_json:
        print_json({**record.model_dump(mode="json"), "sbom": json.loads(bill) if bill else None})
    else:
        write(show.release(record, bill))
