"""The commands that prepare machines: engine, provision, doctor."""

from __future__ import annotations

from typing import Annotated

import typer

from ppmkit.cli.common import DIFFERENT, Env, Json, console, load_hosts, print_json, write

app = typer.Typer()


@app.command()
def engine() -> None:
    """Install Docker, Compose and buildx on this machine.

    Installs only what is missing, and only as root. Any other user is told what to install.
    """
    from ppmkit.local.engine import ensure

    with console() as shown:
        ensure(shown.say)


@app.command()
def provision(
    env: Env = "lab",
    check: Annotated[bool, typer.Option("--check", help="Show what would change; change nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Prepare the hosts: Docker, deploy user, hardening."""
    from ppmkit.cli import show
    from ppmkit.provision.run import provision

    with console(quiet=as_json) as shown:
        report = provision(load_hosts(env), check=check, announce=shown.announce)
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        write(show.provisioning(report, check=check))
    raise typer.Exit(1 if report.failed else DIFFERENT if check and report.changed else 0)


@app.command()
def doctor(env: Env = "lab", as_json: Json = False) -> None:
    """Check this machine and the hosts for problems.

    Each problem is shown with its fix. Exit code 3 when there are problems.
    """
    from ppmkit.cli import show
    from ppmkit.doctor.checks import examine

    checks = examine(load_hosts(env))
    if as_json:
        print_json([check.model_dump(mode="json") for check in checks])
    else:
        show.doctor(checks)
    raise typer.Exit(0 if all(check.ok for check in checks) else DIFFERENT)
