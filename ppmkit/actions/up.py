"""Commands that combine several parts: up, down, render to a directory, ship in advance."""

from __future__ import annotations

import json
import shutil
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ppmkit.actions import deploy, logs
from ppmkit.actions.down import remove_stack
from ppmkit.config.environment import Environment, Model
from ppmkit.errors import ConfigError, ProvisionError
from ppmkit.images import application
from ppmkit.images.ship import send_images
from ppmkit.local.files import replace
from ppmkit.local.scratch import scratch
from ppmkit.paths import PROJECT
from ppmkit.progress import Announce
from ppmkit.release import render
from ppmkit.secrets import kinds

if TYPE_CHECKING:
    from python_on_whales import DockerClient

    from ppmkit.progress import Progress

_NO_VERSION = "missing"
_SHIP_SECONDS = 3600.0
"""Time limit for sending the images to each host."""


class UpResult(Model):
    """The result of `up`."""

    environment: str
    url: str
    changed: bool
    seconds: float
    compose_project: str | None
    """The Compose project's name, if the environment is plain Docker Compose on this machine."""


def up(environment: Environment, progress: Progress) -> UpResult:
    """Bring the environment up from nothing; existing parts stay as they are."""
    from ppmkit.local.engine import ensure

    began = time.monotonic()
    ensure(progress.say)
    if environment.kind == "dev":
        _place(environment)
        _dev(environment, progress.announce).compose.up(detach=True, quiet=True)
        changed = True
    else:
        changed = bring_up(environment, progress)
    return UpResult(
        environment=environment.name,
        url=environment.url,
        changed=changed,
        seconds=round(time.monotonic() - began, 1),
        compose_project=environment.project if environment.kind == "dev" else None,
    )


def bring_up(environment: Environment, progress: Progress) -> bool:
    """Provision every host, generate missing secrets, and deploy; return whether anything changed on the hosts."""
    from ppmkit.provision.run import provision
    from ppmkit.secrets import manage

    if environment.kind == "lab":
        _boot(environment, progress)
    progress.announce("provisioning")
    report = provision(environment, check=False, announce=progress.announce)
    if report.failed:
        raise ProvisionError(
            "not every host could be provisioned",
            step="provision",
            seen="\n".join(f"{host.name}: {host.error}" for host in report.hosts if host.error),
            next=f"ppmctl provision -e {environment.name}",
        )
    progress.say(f"provisioned: {report.changed or 'nothing'} changed")
    for line in manage.init(environment):
        progress.say(str(line))
    deployment = deploy.deploy(environment, progress)
    if environment.kind == "lab":
        _add_samples(environment, progress)
    return deployment.changed


def _add_samples(environment: Environment, progress: Progress) -> None:
    """Add a few sample repositories to the application, so that its page is not empty at first."""
    for address in environment.hosts:
        samples = json.loads(logs.ask(environment, address, "worker", ("ppm", "samples")))["made"]
        if samples:
            progress.say(f"{address.name} has sample projects: {', '.join(samples)}")


def _boot(environment: Environment, progress: Progress) -> None:
    from ppmkit import lab

    progress.announce("booting the lab's hosts")
    lab.up(environment.name, len(environment.hosts), offset=lab_offset(environment), announce=progress.announce)


def lab_offset(environment: Environment) -> int:
    """Return the offset that the environment's lab adds to every port, from the port of its first host's sshd."""
    from ppmkit.lab.model import first_ssh_port

    return environment.hosts[0].port - first_ssh_port()


def down(environment: Environment, progress: Progress, *, purge: bool) -> None:
    """Remove the environment: a lab with its hosts, else the stack on each host."""
    if environment.kind == "lab":
        from ppmkit import lab

        lab.down(environment.name, purge=purge)
    elif environment.kind == "dev":
        _dev(environment, progress.announce).compose.down(volumes=purge, quiet=True)
    else:
        for address in environment.hosts:
            remove_stack(environment, address, purge=purge)
    progress.say(f"{environment.name} is down")


def _dev(environment: Environment, announce: Announce) -> DockerClient:
    """Return a client for the dev environment's Compose project, rendered under .ppmctl/."""
    from ppmkit.local.engine import ca_bundle, client

    directory = _dev_directory(environment)
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / render.COMPOSE
    text = render.dev(environment, application.build_dev(environment, announce), ca_bundle())
    file.write_text(text, encoding="utf-8")
    # The mount point of the page's packages: otherwise the engine creates it, owned by root.
    (PROJECT / "app" / "ui" / "node_modules").mkdir(exist_ok=True)
    return client(compose_files=[file], compose_project_name=environment.project)


def _place(environment: Environment) -> None:
    """Write a dev environment's secrets where its Compose file finds them: in a folder that is closed to other users,
    because the files must be readable for the services' user, who has no account on this machine."""
    from ppmkit.secrets import manage

    folder = _dev_directory(environment) / "secrets"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, secret in manage.read(environment).items():
        replace(folder / name, secret.value.get_secret_value().encode(), 0o444)


def _dev_directory(environment: Environment) -> Path:
    return PROJECT / ".ppmctl" / environment.name


def render_to(environment: Environment, out: Path, announce: Announce) -> list[Path]:
    """Write the files that a host would get below ``out``; return their paths. Each file is replaced as a whole."""
    from ppmkit.local.engine import ca_bundle

    if environment.kind == "dev":
        files = {render.COMPOSE: render.dev(environment, application.build_dev(environment, announce), ca_bundle())}
    else:
        versions = _versions(environment, announce)
        release = render.release(environment, application.build(environment, announce), versions)
        files = {**render.tree(environment, release), render.STEWARD: render.steward(environment)}
    with scratch() as folder:
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(content, encoding="utf-8")
        shutil.copytree(folder, out, dirs_exist_ok=True)
    return [out / name for name in sorted(files)]


def _versions(environment: Environment, announce: Announce) -> dict[str, str]:
    """Return the secrets' versions; if secrets are missing, a placeholder, so that the files can still be read."""
    from ppmkit.secrets import manage

    try:
        return {name: secret.version for name, secret in manage.read(environment).items()}
    except ConfigError as error:
        announce(f"{error.message}. The files name version {_NO_VERSION} for each secret: do not deploy them")
        return dict.fromkeys(kinds.needed(environment), _NO_VERSION)


def ship(environment: Environment, progress: Progress) -> dict[str, int]:
    """Build, and send every host the layers that it lacks; return {host: bytes sent}."""
    from ppmkit.host.host import Host

    built = application.build(environment, progress.announce)
    sent: dict[str, int] = {}
    for address in environment.hosts:
        with Host.connect(environment, address) as host, host.within(_SHIP_SECONDS):
            sent[host.name] = send_images(host, built, partial(progress.sent, host.name))
    return sent
