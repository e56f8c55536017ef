"""`ppmctl backup` and `ppmctl restore`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ppmkit.cli.common import (
    DIFFERENT,
    AnyHost,
    Env,
    Json,
    OneHost,
    Yes,
    confirm,
    console,
    group,
    load_host,
    load_hosts,
    print_json,
    write,
)

if TYPE_CHECKING:
    from ppmkit.config.environment import Environment, HostAddress

app = typer.Typer()
backup: typer.Typer = group("Create, verify and prune backups.")


def _hosts(env: str, host: str | None) -> tuple[Environment, HostAddress | None]:
    """Return the environment, and the named host, or None for all of them."""
    return load_host(env, host) if host else (load_hosts(env), None)


@backup.command()
def create(
    env: Env = "lab",
    host: AnyHost = None,
    pinned: Annotated[bool, typer.Option("--pin", help="Never prune this backup.")] = False,
    as_json: Json = False,
) -> None:
    """Back up the database while the application serves.

    The copy is verified, compressed and encrypted.
    """
    from ppmkit.actions import backup
    from ppmkit.cli import show_backups
    from ppmkit.errors import BackupError

    environment, address = _hosts(env, host)
    with console(quiet=as_json) as shown:
        shown.announce("backing up")
        created = backup.create(environment, address, pinned=pinned)
    if as_json:
        print_json(created.model_dump(mode="json"))
    else:
        show_backups.backups(created.hosts)
    if missing := [line for host in created.hosts for line in host.missing]:
        raise BackupError(
            f"the backup was created, but some copies are missing: {'; '.join(missing)}",
            next=f"Fix that, then: ppmctl backup create -e {env}",
        )


@backup.command("list")
def list_backups(env: Env = "lab", host: AnyHost = None, as_json: Json = False) -> None:
    """List backups, newest first."""
    from ppmkit.actions import backup
    from ppmkit.cli import show_backups

    backups = backup.catalog(*_hosts(env, host))
    if as_json:
        print_json([each.model_dump(mode="json") for each in backups])
    else:
        show_backups.backups(backups)


@backup.command()
def moments(env: Env = "lab", host: OneHost = None, as_json: Json = False) -> None:
    """List the times that `restore --at` can reach.

    Requires `backup.continuous`.
    """
    from ppmkit.backup import point_in_time

    windows = point_in_time.recovery_windows(*load_host(env, host))
    if as_json:
        print_json([window.model_dump(mode="json") for window in windows])
    else:
        for window in windows:
            write(f"{window.host}: {window.text}\n")
        if not windows:
            typer.echo("no changes were shipped; see backup.continuous")


@backup.command()
def show(
    id: Annotated[str, typer.Argument(help="A backup listed by `ppmctl backup list`, or latest.")],
    env: Env = "lab",
    host: OneHost = None,
) -> None:
    """Show a backup's manifest and verifications."""
    from ppmkit.actions import backup

    print_json(backup.show(*load_host(env, host), id))


@backup.command()
def verify(
    ids: Annotated[list[str] | None, typer.Argument(help="Backups, or latest; default: all.")] = None,
    env: Env = "lab",
    host: AnyHost = None,
    as_json: Json = False,
) -> None:
    """Verify backups: hash, decode, integrity, row digests.

    Exit code 1 when one has failed, 3 when one could not be verified to the end.
    """
    from ppmkit.actions import backup
    from ppmkit.cli import show_backups

    environment, address = _hosts(env, host)
    with console(quiet=as_json) as shown:
        shown.announce("verifying")
        results = backup.verify(environment, address, ids or [])
    if as_json:
        print_json([each.model_dump(mode="json") for each in results])
    else:
        show_backups.verifications(results)
    failed = any(each.outcome == "failed" for each in results)
    raise typer.Exit(1 if failed else DIFFERENT if any(each.outcome != "ok" for each in results) else 0)


@backup.command()
def drill(
    ids: Annotated[list[str] | None, typer.Argument(help="Default: the latest, and another one at random.")] = None,
    env: Env = "lab",
    host: OneHost = None,
    as_json: Json = False,
) -> None:
    """Restore to a scratch copy and run the API on it.

    Nothing that serves is touched. Exit code 1 unless all went well.
    """
    from ppmkit.actions.drill import drill
    from ppmkit.cli import show_backups

    environment, address = load_host(env, host)
    with console(quiet=as_json) as shown:
        shown.announce("restoring to a copy")
        drills = drill(environment, address, ids or [])
    if as_json:
        print_json([each.model_dump(mode="json") for each in drills])
    else:
        show_backups.drills(drills)
    raise typer.Exit(0 if all(each.outcome == "ok" for each in drills) else 1)


@backup.command()
def prune(
    env: Env = "lab",
    host: AnyHost = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be removed, and why.")] = False,
    as_json: Json = False,
) -> None:
    """Remove backups that no rule of `backup.keep` keeps.

    The last verified backup is never removed.
    """
    from ppmkit.actions import backup
    from ppmkit.cli import show_backups

    environment, address = _hosts(env, host)
    verdicts = backup.prune(environment, address, dry_run=dry_run)
    if as_json:
        print_json([each.model_dump(mode="json") for each in verdicts])
    else:
        show_backups.verdicts(verdicts, dry_run=dry_run)


@app.command()
def restore(
    id: Annotated[str | None, typer.Argument(help="A backup listed by `ppmctl backup list`.")] = None,
    env: Env = "lab",
    host: OneHost = None,
    latest: Annotated[bool, typer.Option("--latest", help="The newest verified backup.")] = False,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="TIME", help="The database as it was at this time; UTC, or with +02:00."),
    ] = None,
    target: Annotated[str | None, typer.Option("--from", help="Fetch the backup from this target first.")] = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Replace the database with a backup; requests wait.

    Shows first what would be lost, and asks. With --from, a host on which nothing is deployed is provisioned and
    deployed to first.
    """
    from ppmkit.actions import fresh_host
    from ppmkit.actions.restore import restore
    from ppmkit.backup import point_in_time
    from ppmkit.cli import show_backups
    from ppmkit.errors import UsageError

    if (id is not None) + latest + (at is not None) != 1:
        raise UsageError("name one backup: its id, --latest, or --at TIME", next=f"ppmctl backup list -e {env}")
    if at is not None and target is not None:
        raise UsageError("--at and --from cannot be combined: changes are not shipped to targets")
    source = point_in_time.parse(at) if at is not None else id or "latest"
    environment, address = load_host(env, host)
    with console(quiet=as_json) as shown:

        def ask(question: str) -> None:
            shown.pause()
            confirm(question, yes=yes)

        if target:
            fresh_host.prepare(environment, address, shown, ask)
        result = restore(environment, address, shown, ask, source, target)
    if as_json:
        print_json(result.model_dump(mode="json"))
    else:
        show_backups.restored(result)
