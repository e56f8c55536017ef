"""The command `ppm`: what runs in the containers, and what an operator asks of them."""

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
token = typer.Typer(**PLAIN, help="API tokens of programs.")
_PRETTY = ("rich", "mako.ext.pygmentplugin")
"""What libraries load to look pretty on a terminal or an error page, if it is there: a tenth of the time of a start."""
app.add_typer(token, name="token")
Days = Annotated[int | None, typer.Option(min=1, help="How long it is good for; default: until it is revoked.")]
Name = Annotated[str, typer.Argument(help="What the token is called.")]
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
    """Return what a service needs; its database is migrated, if it is to see to that itself."""
    from app import logs, tracing

    settings, database = _settings(), _database()
    logs.configure(settings)
    tracing.configure(service, settings, database)
    if settings.migrate_at_start:
        from app.migrate import migrate

        migrate(database)
    return settings, database


def _await_signal(asked: bool) -> None:
    """Say "waiting", and go on at SIGUSR1: whoever holds requests back meanwhile waits for the work only."""
    if asked:
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
    """Do what is due on a schedule, or wait on standby while another worker does it."""
    from app.worker.jobs import jobs
    from app.worker.run import run
    from app.worker.ssh import ready

    settings, database = _start("worker")
    with ready(settings) as ssh:
        run(settings, database, jobs(settings, database, ssh))


@app.command()
def migrate(
    snapshot: Annotated[bool, typer.Option(help="Copy the database before it changes.")] = True,
    on_signal: OnSignal = False,
) -> None:
    """Apply the migrations that the database lacks; print {from, to, applied, seconds, stamp}."""
    from app import migrate, schema

    schema.revisions()
    _await_signal(on_signal)
    _print(migrate.migrate(_database(), snapshot=snapshot))


@app.command()
def downgrade(revision: str, on_signal: OnSignal = False) -> None:
    """Take back every migration after a revision; print {from, to, undone, seconds, stamp}."""
    from app import migrate, schema

    schema.revisions()
    _await_signal(on_signal)
    _print(migrate.downgrade(_database(), revision))


@app.command()
def check() -> None:
    """Prove that this release works on a COPY of the database: read every page, and write; print {checks}."""
    from app.check import check

    _print(check(_settings(), _database()))


@app.command()
def samples() -> None:
    """Make a few repositories to look at, if there is no project yet; print {made}. Not in production."""
    from app import samples

    settings = _settings()
    _print({"made": samples.make(settings, _database())})


@app.command()
def migrations() -> None:
    """Print {current, head, pending}."""
    from app import schema

    _print(schema.pending(_database()))


@app.command()
def revisions() -> None:
    """Print every revision of this release, oldest first; no database is asked."""
    from app import schema

    _print([schema.described(script) for script in schema.revisions().values()])


@app.command()
def openapi() -> None:
    """Print the description of the API; no database is asked."""
    from app.api import create_app
    from app.database import Database
    from app.settings import Settings

    settings = Settings(app_env="test", database_url="sqlite:////nowhere/ppm.db")
    print(json.dumps(create_app(settings, Database(settings.database_url)).openapi(), indent=2))


@app.command()
def version() -> None:
    """Print the release, and the version of SQLite."""
    import os
    import platform

    from pysqlite3 import dbapi2

    release = os.environ.get("PPM_RELEASE", "dev")
    _print({"release": release, "sqlite": dbapi2.sqlite_version, "python": platform.python_version()})


@token.command("create")
def token_create(name: Name, scope: Scope = Scope.WRITE, days: Days = None) -> None:
    """Print a new token; it is not shown again."""
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
    """Run the command; what a user can mend is said in a sentence, not in a traceback."""
    # What is loaded is no garbage: to look for some in it, at the start and at the end, is a fifth of a short command.
    gc.set_threshold(50_000)
    atexit.register(gc.freeze)
    sys.modules |= dict.fromkeys(_PRETTY)  # type: ignore[arg-type] # None: importing it fails
    try:
        app()
    except Exception as error:
        said = _sentence(error)
        if said is None:
            raise
        print(f"ppm: {said}", file=sys.stderr)
        raise SystemExit(1) from None


def _sentence(error: Exception) -> str | None:
    """Given what went wrong, return what to tell a user; None when it is a bug."""
    if isinstance(error, (PpmError, OSError)):
        return str(error)
    # Not imported before: a health check must cost little, it runs beside what serves.
    from pydantic import ValidationError
    from sqlalchemy.exc import DBAPIError

    if isinstance(error, ValidationError):
        return "; ".join(_wrong_setting(item["loc"], item["msg"]) for item in error.errors())
    if isinstance(error, DBAPIError):
        said = str(error.orig).partition("\n")[0]
        bare = "no such table" in said or ('relation "' in said and said.endswith("does not exist"))
        return f"the database: {said}" + ("; run `ppm migrate`" if bare else "")
    return None


def _wrong_setting(location: tuple[int | str, ...], message: str) -> str:
    where = ".".join(map(str, location)).upper()
    return f"{where + ': ' if where else ''}{message.removeprefix('Value error, ')}"
