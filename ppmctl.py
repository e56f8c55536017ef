"""The command line: parse, call one function of ``deploy/``, print. No logic.

Imports of ``deploy`` stand inside the commands, so that ``--help`` and completion answer at once.
Exit codes: 0 done; 1 failed; 2 bad usage or config; 3 differences found, or not healthy.
"""

from __future__ import annotations

import atexit
import gc
import io
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from ppmkit import __version__
from ppmkit.cli import backups, groups, releases
from ppmkit.cli.common import (
    DIFFERENT,
    Env,
    Json,
    OneHost,
    Output,
    Yes,
    confirm,
    console,
    load,
    load_hosts,
    print_json,
    write,
)
from ppmkit.config.environment import only, pick_host

app = typer.Typer(
    help="Deploys a small web application whose data matters to hosts that you reach by SSH.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(releases.app)
app.add_typer(backups.app)
app.add_typer(backups.backup, name="backup")
app.add_typer(groups.config, name="config")
app.add_typer(groups.images, name="images")
app.add_typer(groups.releases, name="releases")
app.add_typer(groups.secrets, name="secrets")
app.add_typer(groups.lab, name="lab")


def _say_version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"ppmctl {__version__}\n")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Show the version of ppmctl.")
    ] = False,
) -> None:
    """Deploys a small web application whose data matters to hosts that you reach by SSH."""


@app.command()
def up(env: Env = "lab") -> None:
    """From nothing to a running application: lab host, provision, secrets, deploy."""
    from ppmkit.actions import up as journey
    from ppmkit.cli import show

    with console() as shown:
        arrival = journey.up(load(env), shown)
    write(show.arrival(arrival))


@app.command()
def down(
    env: Env = "lab",
    purge: Annotated[bool, typer.Option("--purge", help="Delete the data and the secrets too.")] = False,
    yes: Yes = False,
) -> None:
    """Take the application away (of a lab: its hosts too)."""
    from ppmkit.actions import up as journey

    environment = load(env)
    if environment.kind == "hosts":
        what = "the application AND ITS DATA" if purge else "the application (the data stays)"
        confirm(f"Take {what} off {len(environment.hosts)} hosts of {env}?", yes=yes)
    with console() as shown:
        journey.down(environment, shown, purge=purge)


@app.command()
def engine() -> None:
    """Make sure that this machine has Docker, Compose and buildx; install what it lacks, as root."""
    from ppmkit.local.engine import ensure

    with console() as shown:
        ensure(shown.say)


@app.command()
def status(
    env: Env = "lab",
    as_json: Json = False,
    host: Annotated[str | None, typer.Option("--host", help="One host; default: all, of dashboards the first.")] = None,
    dashboard: Annotated[
        bool, typer.Option("--dashboard", help="The proxy's own page instead: by a tunnel, until Ctrl-C.")
    ] = False,
) -> None:
    """What runs where, and whether all is well. Exit code 3 when it is not."""
    from ppmkit.actions.status import status as look
    from ppmkit.cli import show
    from ppmkit.proxy.dashboard import watch

    environment = only(load_hosts(env), host)
    if dashboard:
        address = environment.hosts[0]
        hint = f"Traefik's dashboard of {address.name}, for this machine alone: open it in a browser; Ctrl-C ends it"

        def shown(url: str) -> None:
            if as_json:
                print_json({"url": url})
            else:
                typer.echo(url)
                console().say(hint)

        watch(environment, address, shown)
        return
    found = look(environment)
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        show.status(found)
    raise typer.Exit(0 if found.healthy else DIFFERENT)


@app.command()
def logs(
    service: Annotated[str | None, typer.Argument(help="api, worker, frontend, reverse-proxy, or api-blue …")] = None,
    env: Env = "lab",
    host: OneHost = None,
    tail: Annotated[int, typer.Option(min=0, help="How many lines of each container.")] = 100,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until Ctrl-C.")] = False,
) -> None:
    """What the containers say."""
    from ppmkit.actions import logs as operate

    environment = load_hosts(env)
    raise typer.Exit(operate.logs(environment, pick_host(environment, host), service, tail=tail, follow=follow))


@app.command("exec", context_settings={"ignore_unknown_options": True})
def execute(service: str, command: list[str], env: Env = "lab", host: OneHost = None) -> None:
    """Run a command in a running container: ppmctl exec api -- ppm token create NAME."""
    from ppmkit.actions import logs as operate

    environment = load_hosts(env)
    raise typer.Exit(operate.execute(environment, pick_host(environment, host), service, command))


@app.command()
def provision(
    env: Env = "lab",
    check: Annotated[bool, typer.Option("--check", help="Show what would change; change nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Bring the hosts to what deployments need: Docker, a deploy user, directories, time."""
    from ppmkit.cli import show
    from ppmkit.provision.run import provision as run

    with console(quiet=as_json) as shown:
        report = run(load_hosts(env), check=check, announce=shown.announce)
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        write(show.provisioning(report, check=check))
    raise typer.Exit(1 if report.failed else DIFFERENT if check and report.changed else 0)


@app.command()
def doctor(env: Env = "lab", as_json: Json = False) -> None:
    """Look for what is off, here and on the hosts, and say how to mend it. Exit code 3 when something is."""
    from ppmkit.cli import show
    from ppmkit.doctor.checks import examine

    found = examine(load_hosts(env))
    if as_json:
        print_json([check.model_dump(mode="json") for check in found])
    else:
        show.doctor(found)
    raise typer.Exit(0 if all(check.ok for check in found) else DIFFERENT)


@app.command()
def render(
    out: Annotated[Path, typer.Option("--out", help="A directory; what is in it of the same name is replaced.")],
    env: Env = "lab",
) -> None:
    """Write what a host would get: Compose and Traefik files."""
    from ppmkit.actions import up as journey

    with console() as shown:
        for path in journey.render_to(load(env), out, shown.announce):
            sys.stdout.write(f"{path}\n")


def _stop(_signal: int, _frame: object) -> NoReturn:
    """A closed terminal or a `kill` ends an operation as Ctrl-C does: by undoing it."""
    raise KeyboardInterrupt


def main() -> None:
    """Run the command line; turn every error that a user may see into words and an exit code."""
    # What is loaded stays: to look for garbage in it, now and at the end, is a fifth of each command.
    gc.set_threshold(50_000)
    atexit.register(gc.freeze)
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGHUP, _stop)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a locale may lack a character: better escaped than not said at all
            stream.reconfigure(errors="backslashreplace")
    output = Output()
    try:
        app(obj=output)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        raise SystemExit(130) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except Exception as error:
        import traceback

        from ppmkit.errors import PpmctlError
        from ppmkit.redact import shown

        if not isinstance(error, PpmctlError):
            sys.stderr.write(shown(traceback.format_exc()))
            raise SystemExit(1) from None
        if output.as_json:
            print_json(error.as_dict())
        else:
            console().error(error)
        raise SystemExit(error.exit_code) from error


if __name__ == "__main__":
    main()
