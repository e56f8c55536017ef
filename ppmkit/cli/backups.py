"""The commands of backups and of restoring them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ppmkit.actions import restore as restore_module
from ppmkit.cli.common import DIFFERENT, Env, Json, OneHost, Yes, confirm, console, group, load_hosts, print_json, write

if TYPE_CHECKING:
    from ppmkit.config.environment import Environment, HostAddress

backup = group("Backups that are proven.")
app = typer.Typer()
SomeHost = Annotated[str | None, typer.Option("--host", help="One host; default: all.")]


def _some(env: str, host: str | None) -> tuple[Environment, HostAddress | None]:
    from ppmkit.config.environment import pick_host

    environment = load_hosts(env)
    return environment, pick_host(environment, host) if host else None


@backup.command("create")
def backup_create(
    env: Env = "lab",
    host: SomeHost = None,
    pinned: Annotated[bool, typer.Option("--pin", help="No rule ever removes it.")] = False,
    as_json: Json = False,
) -> None:
    """Back up the database while the application serves; prove, compress and encrypt what was copied."""
    from ppmkit.actions import backup as backups
    from ppmkit.cli import show
    from ppmkit.errors import BackupError

    environment, address = _some(env, host)
    with console(quiet=as_json) as shown:
        shown.announce("backing up")
        made = backups.create(environment, address, pinned=pinned)
    if as_json:
        print_json(made.model_dump(mode="json"))
    else:
        show.backups(made.hosts)
    if missing := [line for host in made.hosts for line in host.missing]:
        raise BackupError(
            f"the backup is made, but not everywhere that it should be: {'; '.join(missing)}",
            next=f"Mend that, then: ppmctl backup create -e {env}",
        )


@backup.command("list")
def backup_list(env: Env = "lab", host: SomeHost = None, as_json: Json = False) -> None:
    """The backups, newest first."""
    from ppmkit.actions import backup as backups
    from ppmkit.cli import show

    found = backups.catalog(*_some(env, host))
    if as_json:
        print_json([each.model_dump(mode="json") for each in found])
    else:
        show.backups(found)


@backup.command("moments")
def backup_moments(env: Env = "lab", host: OneHost = None, as_json: Json = False) -> None:
    """From when to when `restore --at` can bring back any moment (`backup.continuous`)."""
    from ppmkit.backup import point_in_time
    from ppmkit.config.environment import pick_host

    environment = load_hosts(env)
    found = point_in_time.moments(environment, pick_host(environment, host))
    if as_json:
        print_json([each.model_dump(mode="json") for each in found])
    else:
        for each in found:
            write(f"{each.host}: {each.words}\n")
        if not found:
            typer.echo("no change was shipped; see backup.continuous")


@backup.command("show")
def backup_show(
    id: Annotated[str, typer.Argument(help="A backup of `ppmctl backup list`, or latest.")],
    env: Env = "lab",
    host: OneHost = None,
) -> None:
    """All that is known of a backup: its manifest, and every time it was verified."""
    from ppmkit.actions import backup as backups
    from ppmkit.config.environment import pick_host

    environment = load_hosts(env)
    print_json(backups.show(environment, pick_host(environment, host), id))


@backup.command("verify")
def backup_verify(
    ids: Annotated[list[str] | None, typer.Argument(help="Backups, or latest; default: all.")] = None,
    env: Env = "lab",
    host: SomeHost = None,
    as_json: Json = False,
) -> None:
    """Verify backups: hash, decode, integrity, digests of every table. Exit code 1 when one has failed."""
    from ppmkit.actions import backup as backups
    from ppmkit.cli import show

    environment, address = _some(env, host)
    with console(quiet=as_json) as shown:
        shown.announce("verifying")
        found = backups.verify(environment, address, ids or [])
    if as_json:
        print_json([each.model_dump(mode="json") for each in found])
    else:
        show.verifications(found)
    failed = any(each.outcome == "failed" for each in found)
    raise typer.Exit(1 if failed else DIFFERENT if any(each.outcome != "ok" for each in found) else 0)


@backup.command("drill")
def backup_drill(
    ids: Annotated[list[str] | None, typer.Argument(help="Default: the latest, and another by chance.")] = None,
    env: Env = "lab",
    host: OneHost = None,
    as_json: Json = False,
) -> None:
    """Test-restore beside what serves: the api reads and writes on the copy. Exit code 1 unless all went well."""
    from ppmkit.actions import drill as drills
    from ppmkit.cli import show
    from ppmkit.config.environment import pick_host

    environment = load_hosts(env)
    with console(quiet=as_json) as shown:
        shown.announce("restoring to a copy")
        found = drills.drill(environment, pick_host(environment, host), ids or [])
    if as_json:
        print_json([each.model_dump(mode="json") for each in found])
    else:
        show.drills(found)
    raise typer.Exit(0 if all(each.outcome == "ok" for each in found) else 1)


@backup.command("prune")
def backup_prune(
    env: Env = "lab",
    host: SomeHost = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go, and why.")] = False,
    as_json: Json = False,
) -> None:
    """Remove the backups that no rule of `backup.keep` keeps; never the last verified one."""
    from ppmkit.actions import backup as backups
    from ppmkit.cli import show

    environment, address = _some(env, host)
    found = backups.prune(environment, address, dry_run=dry_run)
    if as_json:
        print_json([each.model_dump(mode="json") for each in found])
    else:
        show.verdicts(found, dry_run=dry_run)


@app.command()
def restore(
    id: Annotated[str | None, typer.Argument(help="A backup of `ppmctl backup list`.")] = None,
    env: Env = "lab",
    host: OneHost = None,
    latest: Annotated[bool, typer.Option("--latest", help="The newest backup that is verified.")] = False,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="TIME", help="What the database was then; UTC, or with +02:00."),
    ] = None,
    target: Annotated[str | None, typer.Option("--from", help="Fetch it from this target first.")] = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Put a backup in the place of the database while requests wait; says first what is lost by that, and asks.

    With --from, a host on which nothing is deployed yet is provisioned and deployed to before.
    """
    from ppmkit.actions import fresh_host
    from ppmkit.backup import point_in_time
    from ppmkit.cli import show
    from ppmkit.config.environment import pick_host
    from ppmkit.errors import UsageError

    if (id is not None) + latest + (at is not None) != 1:
        raise UsageError("say which backup: its id, or --latest, or --at TIME", next=f"ppmctl backup list -e {env}")
    if at is not None and target is not None:
        raise UsageError("changes are shipped to nowhere else: --at goes without --from")
    wanted = point_in_time.parse(at) if at is not None else id or "latest"
    environment = load_hosts(env)
    with console(quiet=as_json) as shown:

        def ask(question: str) -> None:
            shown.pause()
            confirm(question, yes=yes)

        address = pick_host(environment, host)
        if target:
            fresh_host.prepare(environment, address, shown, ask)
        done = restore_module.restore(environment, address, shown, ask, wanted, target)
    if as_json:
        print_json(done.model_dump(mode="json"))
    else:
        show.restored(done)
