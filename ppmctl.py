"""The command line: parse, call one function of ``deploy/``, print. No logic.

Imports of ``deploy`` stand inside the commands, so that ``--help`` and completion answer at once.
Exit codes: 0 done; 1 failed; 2 bad usage or config; 3 differences found, or not healthy.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from deploy.config import Environment
    from deploy.console import Console
    from deploy.recover import Recovery

DIFFERENT = 3

app = typer.Typer(
    help="Deploys a small web application whose data matters to hosts that you reach by SSH.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
config = typer.Typer(help="The environment's YAML.", no_args_is_help=True, rich_markup_mode=None)
images = typer.Typer(help="The images.", no_args_is_help=True, rich_markup_mode=None)
secrets = typer.Typer(help="The secrets.", no_args_is_help=True, rich_markup_mode=None)
lab = typer.Typer(help="Throwaway hosts on this machine.", no_args_is_help=True, rich_markup_mode=None)
for name, group in {"config": config, "images": images, "secrets": secrets, "lab": lab}.items():
    app.add_typer(group, name=name)


def _environments() -> list[str]:
    from deploy.configfile import environments

    return environments()


Env = Annotated[
    str,
    typer.Option("-e", "--env", help="The environment.", envvar="PPMCTL_ENV", autocompletion=_environments),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
OneHost = Annotated[str | None, typer.Option("--host", help="One host; default: the first.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def _load(env: str) -> Environment:
    from deploy.configfile import load

    return load(env)


def _load_hosts(env: str) -> Environment:
    from deploy.configfile import load_hosts

    return load_hosts(env)


def _console(*, quiet: bool = False) -> Console:
    from deploy.console import Console

    return Console(quiet=quiet)


def _print(document: Any) -> None:
    from deploy.redact import redact

    sys.stdout.write(redact(f"{json.dumps(document, indent=2)}\n"))


def _confirm(question: str, *, yes: bool) -> None:
    if not yes:
        typer.confirm(question, abort=True, err=True)


@app.command()
def up(env: Env = "lab") -> None:
    """From nothing to a running application: lab host, provision, secrets, deploy."""
    from deploy import journey, show

    with _console() as console:
        arrival = journey.up(_load(env), console)
    sys.stdout.write(show.arrival(arrival))


@app.command()
def down(
    env: Env = "lab",
    purge: Annotated[bool, typer.Option("--purge", help="Delete the data and the secrets too.")] = False,
    yes: Yes = False,
) -> None:
    """Take the application away (of a lab: its hosts too)."""
    from deploy import journey

    environment = _load(env)
    if environment.kind == "hosts":
        what = "the application AND ITS DATA" if purge else "the application (the data stays)"
        _confirm(f"Take {what} off {len(environment.hosts)} hosts of {env}?", yes=yes)
    with _console() as console:
        journey.down(environment, console, purge=purge)


@app.command()
def engine() -> None:
    """Make sure that this machine has Docker, Compose and buildx; install what it lacks, as root."""
    from deploy.engine import ensure

    with _console() as console:
        ensure(console.say)


@app.command()
def plan(
    env: Env = "lab",
    out: Annotated[
        Path | None, typer.Option("--out", help="Save the plan, for `deploy --plan`.", dir_okay=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what a deploy would change on every host, and what was changed there by hand. Exit code 3 when anything."""
    from deploy import approval, planning, show

    with _console(quiet=as_json) as console:
        found = planning.plan(_load_hosts(env), console.announce)
    if as_json:
        _print(found.model_dump(mode="json"))
    else:
        show.plan(found)
    if found.problems:
        raise typer.Exit(1)
    if out:
        approval.write(found, out)
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
    from deploy import approval, deployment, show
    from deploy.canary import shares

    steps = shares(canary) if canary is not None else ()
    approved = approval.read(plan_file, env) if plan_file else None
    with _console(quiet=as_json) as console:
        done = deployment.deploy(
            _load_hosts(env),
            console,
            console.announce,
            console.planned,
            maintenance=maintenance,
            parallel=parallel,
            canary=steps,
            approved=approved,
        )
    if as_json:
        _print(done.model_dump(mode="json"))
    else:
        sys.stdout.write(show.deployment(done))


@app.command()
def resume(env: Env = "lab", as_json: Json = False) -> None:
    """Finish a deploy or rollback that was cut short (killed, connection lost)."""
    from deploy import recover

    with _console(quiet=as_json) as console:
        _recovered(recover.resume(_load_hosts(env), console), as_json=as_json)


@app.command()
def abort(env: Env = "lab", as_json: Json = False) -> None:
    """Undo a deploy or rollback that was cut short."""
    from deploy import recover

    with _console(quiet=as_json) as console:
        _recovered(recover.abort(_load_hosts(env), console), as_json=as_json)


def _recovered(found: list[Recovery], *, as_json: bool) -> None:
    from deploy import show

    if as_json:
        _print([recovery.model_dump(mode="json") for recovery in found])
    else:
        sys.stdout.write(show.recovery(found))


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
    from deploy import rollback as rollbacks
    from deploy import show

    with _console(quiet=as_json) as console:

        def confirm(question: str) -> None:
            console.pause()
            _confirm(question, yes=yes)

        done = rollbacks.rollback(_load_hosts(env), console, confirm, release=release, restore=restore)
    if as_json:
        _print([host.model_dump(mode="json") for host in done])
    else:
        sys.stdout.write(show.rollback(done))


@app.command()
def history(env: Env = "lab", host: OneHost = None, as_json: Json = False) -> None:
    """What was done on a host, newest first, from its journal."""
    from deploy import operate, show

    environment = _load_hosts(env)
    found = operate.history(environment, operate.pick_host(environment, host))
    if as_json:
        _print([past.model_dump(mode="json") for past in found])
    else:
        show.history(found)


@app.command()
def status(env: Env = "lab", as_json: Json = False) -> None:
    """What runs where, and whether all is well. Exit code 3 when it is not."""
    from deploy import show
    from deploy.status import status as look

    found = look(_load_hosts(env))
    if as_json:
        _print(found.model_dump(mode="json"))
    else:
        show.status(found)
    raise typer.Exit(0 if found.healthy else DIFFERENT)


@app.command()
def releases(env: Env = "lab", host: OneHost = None, as_json: Json = False) -> None:
    """The releases on a host, newest first."""
    from deploy import operate, show

    environment = _load_hosts(env)
    found, stack = operate.releases(environment, operate.pick_host(environment, host))
    if as_json:
        _print([record.model_dump(mode="json") for record in found])
    else:
        show.releases(found, stack)


@app.command()
def logs(
    service: Annotated[str | None, typer.Argument(help="api, worker, frontend, reverse-proxy, or api-blue …")] = None,
    env: Env = "lab",
    host: OneHost = None,
    tail: Annotated[int, typer.Option(min=0, help="How many lines of each container.")] = 100,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until Ctrl-C.")] = False,
) -> None:
    """What the containers say."""
    from deploy import operate

    environment = _load_hosts(env)
    raise typer.Exit(operate.logs(environment, operate.pick_host(environment, host), service, tail=tail, follow=follow))


@app.command("exec", context_settings={"ignore_unknown_options": True})
def execute(service: str, command: list[str], env: Env = "lab", host: OneHost = None) -> None:
    """Run a command in a running container: ppmctl exec api -- ppm token create NAME."""
    from deploy import operate

    environment = _load_hosts(env)
    raise typer.Exit(operate.execute(environment, operate.pick_host(environment, host), service, command))


@app.command()
def provision(
    env: Env = "lab",
    check: Annotated[bool, typer.Option("--check", help="Show what would change; change nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Bring the hosts to what deployments need: Docker, a deploy user, directories, time."""
    from deploy import show
    from deploy.provision import provision as run

    with _console(quiet=as_json) as console:
        report = run(_load_hosts(env), check=check, announce=console.announce)
    if as_json:
        _print(report.model_dump(mode="json"))
    else:
        sys.stdout.write(show.provisioning(report, check=check))
    raise typer.Exit(1 if report.failed else DIFFERENT if check and report.changed else 0)


@app.command()
def doctor(env: Env = "lab", as_json: Json = False) -> None:
    """Look for what is off, here and on the hosts, and say how to mend it. Exit code 3 when something is."""
    from deploy import show
    from deploy.doctor import examine

    found = examine(_load_hosts(env))
    if as_json:
        _print([check.model_dump(mode="json") for check in found])
    else:
        show.doctor(found)
    raise typer.Exit(0 if all(check.ok for check in found) else DIFFERENT)


@app.command()
def render(
    out: Annotated[Path, typer.Option("--out", help="A directory; what is in it of the same name is replaced.")],
    env: Env = "lab",
) -> None:
    """Write what a host would get: Compose and Traefik files."""
    from deploy import journey

    with _console() as console:
        for path in journey.render_to(_load(env), out, console.announce):
            sys.stdout.write(f"{path}\n")


@config.command("check")
def config_check(env: Env = "lab") -> None:
    """Read the YAML and say what is wrong with it."""
    environment = _load(env)
    sys.stdout.write(f"{env}: ok, {len(environment.hosts)} hosts, {environment.url}\n")


@config.command("show")
def config_show(env: Env = "lab", as_json: Json = False) -> None:
    """The environment with every default filled in."""
    from deploy.configfile import dump

    environment = _load(env)
    if as_json:
        _print(environment.model_dump(mode="json"))
    else:
        sys.stdout.write(dump(environment))


@config.command("schema")
def config_schema() -> None:
    """The JSON Schema of the YAML, for editors."""
    from deploy.configfile import schema

    sys.stdout.write(schema())


@images.command("base")
def images_base(env: Env = "lab") -> None:
    """Pull the base images, or make them from Debian's archive and PyPI where no registry answers."""
    from deploy.bases import ensure_bases
    from deploy.engine import local_docker

    with _console() as console:
        for base, reference in ensure_bases(_load(env).images, local_docker(), console.announce).items():
            sys.stdout.write(f"{base}  {reference}\n")


@images.command("build")
def images_build(env: Env = "lab") -> None:
    """Build the application's images."""
    from deploy.images import build

    with _console() as console:
        for image, reference in build(_load(env), console.announce).by_name().items():
            sys.stdout.write(f"{image}  {reference}\n")


@images.command("ship")
def images_ship(env: Env = "lab") -> None:
    """Send to every host the layers that it lacks, ahead of a deploy."""
    from deploy import journey

    with _console() as console:
        for host, sent in journey.ship(_load_hosts(env), console).items():
            sys.stdout.write(f"{host}  {sent:,} bytes\n")


@secrets.command("init")
def secrets_init(env: Env = "lab") -> None:
    """Create what can be generated, and say what to fill in by hand."""
    from deploy.secrets import init

    for line in init(_load(env)):
        sys.stdout.write(f"{line}\n")


@secrets.command("set")
def secrets_set(name: str, env: Env = "lab") -> None:
    """Set a secret; its value is asked for, or read from a pipe."""
    from deploy.secrets import set_secret

    value = typer.prompt(name, hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.read().strip()
    set_secret(_load(env), name, value)


@secrets.command("check")
def secrets_check(env: Env = "lab") -> None:
    """Say what is missing, weak or readable by others. Exit code 3 when something is."""
    from deploy.secrets import check

    findings = check(_load(env))
    for finding in findings:
        sys.stdout.write(f"{finding}\n")
    raise typer.Exit(DIFFERENT if findings else 0)


Lab = Annotated[str, typer.Argument(help="The lab's name.")]


@lab.command("up")
def lab_up(
    name: Lab = "lab",
    hosts: Annotated[
        int | None, typer.Option(min=1, help="How many hosts; default: as many as there are, else 1.")
    ] = None,
    offset: Annotated[int | None, typer.Option(help="Added to every port, for a second lab beside the first.")] = None,
) -> None:
    """Boot throwaway hosts."""
    from deploy import lab as labs
    from deploy import show

    with _console() as console:
        found = labs.up(name, hosts, offset=offset, announce=console.announce)
    show.lab(found.hosts)


@lab.command("down")
def lab_down(
    name: Lab = "lab", purge: Annotated[bool, typer.Option("--purge", help="Key and state too.")] = False
) -> None:
    """Take the hosts away, with all that is on them."""
    from deploy import lab as labs

    labs.down(name, purge=purge)


@lab.command("status")
def lab_status(name: Lab = "lab", as_json: Json = False) -> None:
    """The hosts, their ports and states."""
    from deploy import lab as labs
    from deploy import show

    found = labs.status(name)
    if as_json:
        _print([host.model_dump(mode="json") for host in found])
    else:
        show.lab(found)


@lab.command("ssh")
def lab_ssh(
    host: Annotated[str, typer.Argument(help="lab-1, lab-2, …")] = "lab-1",
    name: Annotated[str, typer.Option("--lab")] = "lab",
) -> None:
    """Log in on a host, as root."""
    from deploy import lab as labs

    raise typer.Exit(labs.ssh(name, host))


def _stop(_signal: int, _frame: object) -> NoReturn:
    """A closed terminal or a `kill` ends an operation as Ctrl-C does: by undoing it."""
    raise KeyboardInterrupt


def main() -> None:
    """Run the command line; turn every error that a user may see into words and an exit code."""
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGHUP, _stop)
    try:
        app()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        raise SystemExit(130) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except Exception as error:
        from deploy.errors import PpmctlError

        if not isinstance(error, PpmctlError):
            raise
        if "--json" in sys.argv:
            _print(error.as_dict())
        else:
            _console().error(error)
        raise SystemExit(error.exit_code) from error


if __name__ == "__main__":
    main()
