"""The command `ppm`: the processes of the containers, and commands for operators."""

from __future__ import annotations

import atexit
import gc
import json
import logging
import signal
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.errors import PpmError
from app.scope import Scope

if TYPE_CHECKING:
    from app.database import Database
    from app.settings import Settings

PLAIN: dict[str, Any] = {"rich_markup_mode": None, "no_args_is_help": True}
app = typer.Typer(**PLAIN, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
token = typer.Typer(**PLAIN, help="Manage API tokens for programs.")
_PRETTY = ("rich", "mako.ext.pygmentplugin")
"""Modules that libraries import, if present, to format terminal output and error pages: a tenth of the start time."""
app.add_typer(token, name="token")
Days = Annotated[int | None, typer.Option(min=1, help="Days until it expires; default: valid until revoked.")]
Name = Annotated[str, typer.Argument(help="The token's name.")]
OnSignal = Annotated[bool, typer.Option("--on-signal", help="Load everything, then wait for SIGUSR1.")]


def _settings() -> Settings:
    from app.settings import Settings

    settings = Settings()
    logging.basicConfig(
        level=settings.log_level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    return settings


def _database() -> Database:
    from app.database import Database

    return Database(_settings().database_url)


def _start(service: str) -> tuple[Settings, Database]:
    """Return a service's settings and database; migrate the database first if the settings say so."""
    from app import logs, tracing

    settings, database = _settings(), _database()
    logs.configure(settings)
    tracing.configure(service, settings, database)
    if settings.migrate_at_start:
        from app.migrate import migrate

        migrate(database)
    return settings, database


def _await_signal(enabled: bool) -> None:
    """Print "waiting", and continue on SIGUSR1: requests that are then held wait only for the work, not for imports."""
    if enabled:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        print("waiting", file=sys.stderr, flush=True)
        signal.sigwait({signal.SIGUSR1})


def _print(value: Any) -> None:
    print(json.dumps(value))


@app.command()
def serve() -> None:
    """Serve the API on port 8000."""
    from app.serve import serve

    _settings().check_session_secret()
    serve(*_start("api"))


@app.command()
def worker() -> None:
    """Run the scheduled jobs, or wait on standby while another worker runs them."""
    from app.worker.jobs import jobs
    from app.worker.run import run
    from app.worker.ssh import ready

    settings, database = _start("worker")
    with ready(settings) as ssh:
        run(settings, database, jobs(settings, database, ssh))


@app.command()
def migrate(
    snapshot: Annotated[bool, typer.Option(help="Copy the database before changing it.")] = True,
    on_signal: OnSignal = False,
) -> None:
    """Apply the pending migrations; print {from, to, applied, seconds, stamp}."""
    from app import migrate, schema

    schema.revisions()
    _await_signal(on_signal)
    _print(migrate.migrate(_database(), snapshot=snapshot))


@app.command()
def downgrade(revision: str, on_signal: OnSignal = False) -> None:
    """Revert every migration after a revision; print {from, to, undone, seconds, stamp}."""
    from app import migrate, schema

    schema.revisions()
    _await_signal(on_signal)
    _print(migrate.downgrade(_database(), revision))


@app.command()
def check() -> None:
    """Verify that this release works on a COPY of the database: read every page, and write; print {checks}."""
    from app.check import check

    _print(check(_settings(), _database()))


@app.command()
def samples() -> None:
    """Create a few sample repositories, if there are no projects yet; print {made}. Not in production."""
    from app import samples

    settings = _settings()
    _print({"made": samples.make(settings, _database())})


@app.command()
def migrations() -> None:
    """Print the state of the migrations: {current, head, known, irreversible, misfit, pending}."""
    from app import schema

    _print(schema.pending(_database()))


@app.command()
def revisions() -> None:
    """Print every revision of this release, oldest first. Does not use the database."""
    from app import schema

    _print([schema.described(script) for script in schema.revisions().values()])


@app.command()
def openapi() -> None:
    """Print the OpenAPI description. Does not use the database."""
    from app.api import create_app
    from app.database import Database
    from app.settings import Settings

    settings = Settings(app_env="test", database_url="sqlite:////nowhere/ppm.db")
    print(json.dumps(create_app(settings, Database(settings.database_url)).openapi(), indent=2))


@app.command()
def version() -> None:
    """Print the release, and the versions of SQLite and Python."""
    import os
    import platform

    from pysqlite3 import dbapi2

    release = os.environ.get("PPM_RELEASE", "dev")
    _print({"release": release, "sqlite": dbapi2.sqlite_version, "python": platform.python_version()})


@token.command("create")
def token_create(name: Name, scope: Scope = Scope.WRITE, days: Days = None) -> None:
    """Create a token and print it; it is not shown again."""
    from app import tokens

    lifetime = timedelta(days=days) if days else None
    print(tokens.create(_database(), name, scope, lifetime)[0])


@token.command("list")
def token_list() -> None:
    """Print {name, scope, created_at, expires_at} of every token, oldest first."""
    from app import tokens

    _print([tokens.described(token) for token in tokens.every(_database())])


@token.command("revoke")
def token_revoke(name: Name) -> None:
    """Delete a token."""
    from app import tokens

    tokens.revoke(_database(), name)


def main() -> None:
    """Run the command; print an error that the user can fix as one sentence, not as a traceback."""
    # Loaded modules are not garbage: searching them for it at start and exit takes a fifth of a short command's time.
    gc.set_threshold(50_000)
    atexit.register(gc.freeze)
    sys.modules |= dict.fromkeys(_PRETTY)  # type: ignore[arg-type] # None: importing it fails
    try:
        app()
    except Exception as error:
        message = _sentence(error)
        if message is None:
            raise
        print(f"ppm: {message}", file=sys.stderr)
        raise SystemExit(1) from None


def _sentence(error: Exception) -> str | None:
    """Given an error, return the message for the user; None when it is a bug."""
    if isinstance(error, (PpmError, OSError)):
        return str(error)
    # Imported only here: a command must cost little, because it runs next to the process that serves.
    from pydantic import ValidationError
    from sqlalchemy.exc import DBAPIError

    if isinstance(error, ValidationError):
        return "; ".join(_wrong_setting(item["loc"], item["msg"]) for item in error.errors())
    if isinstance(error, DBAPIError):
        message = str(error.orig).partition("\n")[0]
        unmigrated = "no such table" in message or ('relation "' in message and message.endswith("does not exist"))
        return f"database error: {message}" + ("; run `ppm migrate`" if unmigrated else "")
    return None


def _wrong_setting(location: tuple[int | str, ...], message: str) -> str:
    where = ".".join(map(str, location)).upper()
    return f"{where + ': ' if where else ''}{message.removeprefix('Value error, ')}"
