"""Migration gate: find pending migrations, rehearse them on a copy, and apply them.

A migration marked `expand` is trusted only after the old image has read and written on the migrated copy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ppmkit.errors import ContainerFailed, OperationError, PreflightError
from ppmkit.images.application import have_same_migrations
from ppmkit.local import bounded
from ppmkit.operation.findings import Findings
from ppmkit.operation.journal import Change, Way
from ppmkit.orchestrator import oneoff
from ppmkit.proxy.probe import schema_revision
from ppmkit.release.migrations import REVISIONS, Migrations, Revision
from ppmkit.steward import paths

if TYPE_CHECKING:
    from pathlib import PurePosixPath

    from python_on_whales import DockerClient

    from ppmkit.operation.transaction import Operation
    from ppmkit.release.model import Record

BESIDE_SECONDS = 2.0
"""A longer migration does not run while the old release serves: writers would wait for SQLite and then give up."""
_ASK_SECONDS = 60


def decide(migrations: Migrations, service: str, *, serves: bool) -> Change | None:
    """Given the new image's migrations for the database, return the change to make, or None."""
    if not migrations.pending:
        return None
    way: Way = "fresh" if not serves else "hold" if migrations.breaking else "beside"
    return Change(
        way=way,
        service=service,
        command=("ppm", "migrate", "--no-snapshot"),
        said=f"{migrations.current or 'nothing'} → {migrations.head}",
        proven_by_live=way == "beside",
    )


def shipped(docker: DockerClient, image: str) -> tuple[Revision, ...] | None:
    """Return every revision of an image on this machine, oldest first; None when the image is not here.

    Raises PreflightError when the image cannot list them.
    """
    sandbox = ["--pull", "never", "--network", "none", "--read-only", "--cap-drop", "ALL"]
    argv = [*map(str, docker.client_config.docker_cmd), "run", "--rm", *sandbox, image, "ppm", "revisions"]
    listing = bounded.run(argv, timeout=60)
    if listing.returncode == 0:
        return REVISIONS.validate_json(listing.stdout)
    if "No such image" in listing.stderr:
        return None
    raise PreflightError(
        "the new image cannot list its migrations",
        step="plan",
        seen=oneoff.last_lines(listing.stderr or listing.stdout),
        next=f"Run it by hand: docker run --rm {image} ppm revisions",
    )


def lacking(shipped: tuple[Revision, ...], current: str | None) -> tuple[Revision, ...]:
    """Return the revisions that a database at ``current`` lacks; none when ``current`` is from a newer release."""
    names = [None, *(revision.revision for revision in shipped)]
    return shipped[names.index(current) :] if current in names else ()


def database(operation: Operation) -> PurePosixPath:
    """Return the path of SQLite's file, as the containers see it."""
    return operation.environment.database


def find_pending(operation: Operation) -> str:
    """Ask the new image what the database lacks. Raises OperationError when the image cannot run on the database."""
    host, service = operation.host, f"api-{operation.target}"
    if (same := _record_of_the_same_migrations(operation)) is not None:
        before = same.schema_after or ""
        operation.note(Findings(schema_before=before, schema_after=before, revisions=same.revisions))
        return "none: the live release has the same migrations"
    migrations = Migrations.model_validate(
        oneoff.ask(host, operation.compose, service, ("ppm", "migrations"), timeout=_ASK_SECONDS)
    )
    operation.note(Findings(schema_after=migrations.head, revisions=migrations.known))
    if operation.findings.schema_before is None:  # a resumed operation keeps the revision from its beginning
        operation.note(Findings(schema_before=migrations.current or ""))
    if migrations.misfit:
        raise OperationError(
            f"{host.name}: the new release does not know the schema: {migrations.misfit}",
            host=host.name,
            next="Deploy a release that knows the schema, or roll back: ppmctl rollback",
        )
    change = decide(migrations, service, serves=operation.intent.live is not None)
    if change is None:
        return "none"
    settle(operation, change.model_copy(update={"way": operation.findings.way or change.way}))
    names = ", ".join(f"{r.revision} ({r.compatibility}: {r.summary})" for r in migrations.pending)
    return f"{change.said}: {names}"


def _record_of_the_same_migrations(operation: Operation) -> Record | None:
    """Return the live release's record if the new image has the same migrations, else None.

    This saves asking the new image, which starts a container; users notice that.
    """
    host, stack, image = operation.host, operation.stack, operation.release.images.api
    record = stack.record
    if record is None or operation.resumed or stack.live is None or stack.release(stack.live) != record.id:
        return None
    if not record.revisions:
        return None
    serves = record.release.images.api
    if serves == image:
        return record
    as_recorded = schema_revision(host) == record.schema_after  # it may have been changed by hand since
    return record if as_recorded and have_same_migrations(host, serves, image) else None


def settle(operation: Operation, change: Change) -> None:
    """Set the operation's change to the database, and note it in the journal."""
    operation.change = change
    operation.note(Findings(way=change.way, change=change.said))


def snapshot(operation: Operation) -> str:
    """Copy the database as it is now, while it is written to, and check the copy."""
    if operation.was_done("snapshot"):
        return "already done"
    timeout = operation.environment.upgrade.migrate_timeout.total_seconds()
    command = ("snapshot", str(database(operation)), operation.snapshot, "--deadline", f"{timeout:g}")
    copied = oneoff.ask(operation.host, operation.compose, "steward", command, timeout=timeout + _ASK_SECONDS)
    operation.note(Findings(snapshot_seconds=copied["seconds"]))
    rows = sum(copied["rows"].values())
    return f"{copied['bytes'] / (1 << 20):,.1f} MiB, {rows:,} rows, checked"


def drop_snapshot(operation: Operation) -> None:
    """Remove the snapshot."""
    for name in (operation.snapshot, f"{operation.snapshot}.partial"):
        oneoff.ask(operation.host, operation.compose, "steward", ("remove", name), timeout=_ASK_SECONDS)


def rehearse(operation: Operation) -> str:
    """Make the change on a second copy; check the copy, and let the releases read and write on it."""
    if operation.was_done("rehearse"):
        return "already done"
    change, host = operation.change, operation.host
    assert change is not None, "the step is skipped without a change"
    copy = str(database(operation).parent / paths.REHEARSAL / "ppm.db")
    variables = {"DATABASE_URL": f"sqlite:///{copy}"}
    timeout = operation.environment.upgrade.migrate_timeout.total_seconds()

    def steward(*command: str) -> dict[str, float]:
        answer: dict[str, float] = oneoff.ask(host, operation.compose, "steward", command, timeout=timeout)
        return answer

    steward("remove", copy)
    try:
        if change.service == "steward":
            steward("freshen", change.command[1], copy)
            seconds = 0.0
        else:
            steward("freshen", operation.snapshot, copy)
            changed = oneoff.ask(
                host, operation.migrator, change.service, change.command, timeout=timeout, variables=variables
            )
            seconds = float(changed["seconds"])
        steward("verify", copy)
        _prove(operation, variables)
    except ContainerFailed as failed:
        message = f"the rehearsal on a copy failed; the database was not touched: {failed.message}"
        raise failed.with_context(message) from failed
    finally:
        steward("remove", copy)
    operation.note(Findings(predicted=round(seconds, 3)))
    if change.way == "beside" and seconds > BESIDE_SECONDS:
        settle(operation, change.model_copy(update={"way": "hold"}))
    return f"{seconds:.1f} s on a copy; checked, read and written"


def _prove(operation: Operation, variables: dict[str, str]) -> None:
    """Let each release that will use the changed database use the copy of it."""
    assert operation.change is not None
    checks = [(operation.compose, f"api-{operation.target}", "the new release")]
    if operation.change.proven_by_live and operation.intent.live:
        checks.append((operation.old_compose, f"api-{operation.intent.live}", "the old release"))
    for compose, service, name in checks:
        try:
            oneoff.ask(operation.host, compose, service, ("ppm", "check"), timeout=120, variables=variables)
        except ContainerFailed as failed:
            raise failed.with_context(
                f"{name} does not work on the changed schema: {failed.message}",
                next='Fix the migration; one that the old release cannot run with is not "expand"',
            ) from failed


def apply(operation: Operation) -> str:
    """Apply the pending migrations while the old release serves, or before the first one does."""
    change = operation.change
    assert change is not None, "the step is skipped without a change"
    timeout = operation.environment.upgrade.migrate_timeout.total_seconds()
    oneoff.ask(operation.host, operation.migrator, change.service, change.command, timeout=timeout)
    return change.said
