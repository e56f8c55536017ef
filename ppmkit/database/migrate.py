"""The migration gate: what the database lacks, proof on a copy that it can be had, and applying it.

A migration marked `expand` is believed only after the old image has read and written on the migrated copy.
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
"""Longer than this no migration runs beside what serves: its writers would wait for SQLite and then give up."""
_ASK_SECONDS = 60


def decide(found: Migrations, service: str, *, serves: bool) -> Change | None:
    """Given what the new image says of the database, return what to do to it; None for nothing."""
    if not found.pending:
        return None
    way: Way = "fresh" if not serves else "hold" if found.breaking else "beside"
    return Change(
        way=way,
        service=service,
        command=("ppm", "migrate", "--no-snapshot"),
        said=f"{found.current or 'nothing'} → {found.head}",
        proven_by_live=way == "beside",
    )


def shipped(docker: DockerClient, image: str) -> tuple[Revision, ...] | None:
    """Return every revision of an image on this machine, oldest first; None when the image is not here.

    Raises PreflightError when it cannot tell.
    """
    closed = ["--pull", "never", "--network", "none", "--read-only", "--cap-drop", "ALL"]
    argv = [*map(str, docker.client_config.docker_cmd), "run", "--rm", *closed, image, "ppm", "revisions"]
    done = bounded.run(argv, timeout=60)
    if done.returncode == 0:
        return REVISIONS.validate_json(done.stdout)
    if "No such image" in done.stderr:
        return None
    raise PreflightError(
        "the new image cannot tell its migrations",
        step="plan",
        seen=oneoff.last_words(done.stderr or done.stdout),
        next=f"Try it alone: docker run --rm {image} ppm revisions",
    )


def lacking(shipped: tuple[Revision, ...], current: str | None) -> tuple[Revision, ...]:
    """Return what a database at ``current`` lacks; nothing where a newer release has been."""
    names = [None, *(revision.revision for revision in shipped)]
    return shipped[names.index(current) :] if current in names else ()


def database(operation: Operation) -> PurePosixPath:
    """Return the file of SQLite, as the containers see it."""
    return operation.environment.database


def find_pending(operation: Operation) -> str:
    """Ask the new image what the database lacks. Raises OperationError when it cannot run on it at all."""
    host, service = operation.host, f"api-{operation.target}"
    if (same := _record_of_the_same_migrations(operation)) is not None:
        before = same.schema_after or ""
        operation.note(Findings(schema_before=before, schema_after=before, revisions=same.revisions))
        return "none: the release that serves has the same"
    found = Migrations.model_validate(
        oneoff.ask(host, operation.compose, service, ("ppm", "migrations"), timeout=_ASK_SECONDS)
    )
    operation.note(Findings(schema_after=found.head, revisions=found.known))
    if operation.findings.schema_before is None:  # of an operation that goes on it is what was found at first
        operation.note(Findings(schema_before=found.current or ""))
    if found.misfit:
        raise OperationError(
            f"{host.name}: the new release does not know the schema: {found.misfit}",
            host=host.name,
            next="Deploy a release that knows it, or go back: ppmctl rollback",
        )
    change = decide(found, service, serves=operation.intent.live is not None)
    if change is None:
        return "none"
    settle(operation, change.model_copy(update={"way": operation.findings.way or change.way}))
    names = ", ".join(f"{r.revision} ({r.compatibility}: {r.summary})" for r in found.pending)
    return f"{change.said}: {names}"


def _record_of_the_same_migrations(operation: Operation) -> Record | None:
    """Return the record of what serves, if the new image cannot find more to do than that one did.

    To ask it is to start a container, which users notice.
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
    as_recorded = schema_revision(host) == record.schema_after  # somebody else may have changed it meanwhile
    return record if as_recorded and have_same_migrations(host, serves, image) else None


def settle(operation: Operation, change: Change) -> None:
    """Decide what the operation does to the database, beyond this process too."""
    operation.change = change
    operation.note(Findings(way=change.way, change=change.said))


def snapshot(operation: Operation) -> str:
    """Copy the database as it is now, while others write, and check the copy."""
    if operation.was_done("snapshot"):
        return "is there"
    timeout = operation.environment.upgrade.migrate_timeout.total_seconds()
    command = ("snapshot", str(database(operation)), operation.snapshot, "--deadline", f"{timeout:g}")
    done = oneoff.ask(operation.host, operation.compose, "steward", command, timeout=timeout + _ASK_SECONDS)
    operation.note(Findings(snapshot_seconds=done["seconds"]))
    rows = sum(done["rows"].values())
    return f"{done['bytes'] / (1 << 20):,.1f} MiB, {rows:,} rows, checked"


def drop_snapshot(operation: Operation) -> None:
    """Remove the copy."""
    for name in (operation.snapshot, f"{operation.snapshot}.partial"):
        oneoff.ask(operation.host, operation.compose, "steward", ("remove", name), timeout=_ASK_SECONDS)


def rehearse(operation: Operation) -> str:
    """Change a second copy as the database will be changed; check it, and let the releases read and write on it."""
    if operation.was_done("rehearse"):
        return "was done"
    change, host = operation.change, operation.host
    assert change is not None, "the step is left out without a change"
    copy = str(database(operation).parent / paths.REHEARSAL / "ppm.db")
    variables = {"DATABASE_URL": f"sqlite:///{copy}"}
    timeout = operation.environment.upgrade.migrate_timeout.total_seconds()

    def steward(*command: str) -> dict[str, float]:
        found: dict[str, float] = oneoff.ask(host, operation.compose, "steward", command, timeout=timeout)
        return found

    steward("remove", copy)
    try:
        if change.service == "steward":
            steward("freshen", change.command[1], copy)
            seconds = 0.0
        else:
            steward("freshen", operation.snapshot, copy)
            done = oneoff.ask(
                host, operation.doer, change.service, change.command, timeout=timeout, variables=variables
            )
            seconds = float(done["seconds"])
        steward("verify", copy)
        _prove(operation, variables)
    except ContainerFailed as failed:
        said = f"the rehearsal on a copy failed; the database was not touched: {failed.message}"
        raise failed.with_context(said) from failed
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
    for compose, service, who in checks:
        try:
            oneoff.ask(operation.host, compose, service, ("ppm", "check"), timeout=120, variables=variables)
        except ContainerFailed as failed:
            raise failed.with_context(
                f"{who} does not work on the changed schema: {failed.message}",
                next='Fix the migration; one that the old release cannot run with is not "expand"',
            ) from failed


def apply(operation: Operation) -> str:
    """Apply what is pending while the old release serves, or where nobody does yet."""
    change = operation.change
    assert change is not None, "the step is left out without a change"
    timeout = operation.environment.upgrade.migrate_timeout.total_seconds()
    oneoff.ask(operation.host, operation.doer, change.service, change.command, timeout=timeout)
    return change.said
