"""Start, show, enter and remove the hosts of a lab."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ppmkit.config.environment import Images
from ppmkit.errors import EngineError, UsageError
from ppmkit.images.bases import ensure_debian
from ppmkit.images.recipe import Recipe, build
from ppmkit.lab.login import answers, output, settle, ssh_command
from ppmkit.lab.model import Lab, LabHost, directory, replace, wanted
from ppmkit.local.engine import command, local_docker
from ppmkit.progress import Announce
from ppmkit.release.template import fill_compose

if TYPE_CHECKING:
    from python_on_whales import DockerClient

_CONTEXT = Path(__file__).parent / "host"


def up(
    name: str = "lab",
    hosts: int | None = None,
    *,
    offset: int | None = None,
    images: Images | None = None,
    announce: Announce,
) -> Lab:
    """Start the lab's hosts, wait until SSH answers on each, and return the lab.

    `hosts` and `offset` (added to every port) default to the lab's current values, else 1 and 0. An existing host
    keeps its data, even if the image of new hosts has changed; excess hosts are removed.
    Raises UsageError, EngineError and BuildError.
    """
    docker = local_docker()
    lab = observed(docker, chosen(name, hosts, offset))
    if _complete(docker, lab):
        return lab
    prepare(docker, lab, images or Images(), announce)
    starting = [host for host in lab.hosts if host.state != "running"]
    for host in starting:
        _check_ports(host)
    if starting:
        announce(f"Starting {', '.join(host.name for host in starting)}")
    _compose(lab, "up", "--detach", "--no-recreate", "--remove-orphans")
    settle(docker, lab)
    return observed(docker, lab)


def chosen(name: str, hosts: int | None, offset: int | None) -> Lab:
    """Return the requested lab. Missing arguments default to the stored values, else to one host and no offset."""
    before = _stored(name)
    if before is None:
        return wanted(name, 1 if hosts is None else hosts, offset or 0)
    return wanted(name, len(before.hosts) if hosts is None else hosts, before.offset if offset is None else offset)


def prepare(docker: DockerClient, lab: Lab, images: Images, announce: Announce) -> None:
    """Create the prerequisites of the lab's hosts: image, key, Compose file. Start nothing.

    Raises UsageError if existing hosts have another key or other ports, and BuildError.
    """
    before = _stored(lab.name)
    existing = _containers(docker, lab)
    if existing and (before is None or before.offset != lab.offset or not lab.identity_file.exists()):
        raise UsageError(
            f"the lab {lab.name!r} has hosts with another key or other ports",
            step="lab",
            seen=", ".join(sorted(existing)),
            next=f"ppmctl lab down --name {lab.name}, then start it again",
        )
    lab.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not lab.identity_file.exists():
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", lab.project, "-f", lab.identity_file],
            check=True,
        )
    info = [*docker.client_config.docker_cmd, "info", "--format", "{{.CgroupVersion}}"]
    text = compose_text(
        lab,
        image=_image(docker, images, announce),
        cgroup_version=1 if output(info).strip() == "1" else 2,
        public_key=lab.identity_file.with_suffix(".pub").read_text(encoding="utf-8").strip(),
    )
    replace(lab.compose_file, text)
    replace(lab.directory / "lab.json", json.dumps({"hosts": len(lab.hosts), "offset": lab.offset}) + "\n")


def status(name: str = "lab") -> list[LabHost]:
    """Return the lab's hosts with their state; none if the lab does not exist."""
    lab = _stored(name)
    return list(observed(local_docker(), lab).hosts) if lab else []


def down(name: str = "lab", *, purge: bool = False) -> None:
    """Remove the lab's containers with their volumes and network; with `purge`, also the key and all state."""
    local_docker()
    empty = wanted(name, 1, 0)
    # Without a file, Compose finds the containers by their labels, so this works even if the state was lost.
    _compose(empty, "down", "--volumes", "--remove-orphans", "--timeout", "3", file=False)
    empty.known_hosts_file.unlink(missing_ok=True)
    if purge:
        shutil.rmtree(empty.directory, ignore_errors=True)


def ssh(name: str = "lab", host: str | None = None, command: tuple[str, ...] = ()) -> NoReturn:
    """Replace this process with a root SSH session on a host of the lab (default: the first)."""
    lab = _stored(name)
    if lab is None:
        raise UsageError(f"there is no lab {name!r} on this machine", next=f"ppmctl lab up --name {name}")
    by_name = {each.name: each for each in lab.hosts}
    target = by_name.get(host or lab.hosts[0].name)
    if target is None:
        raise UsageError(f"the lab {name!r} has no host {host!r}, but {', '.join(by_name)}")
    os.execvp("ssh", [*ssh_command(lab, target), *command])  # noqa: S606


def compose_text(lab: Lab, image: str, cgroup_version: int, public_key: str) -> str:
    """Given a lab, its image, the engine's cgroup version and the key that may log in, return its Compose file."""
    return fill_compose(
        "lab/compose.yaml.j2", lab=lab, image=image, cgroup_version=cgroup_version, public_key=public_key
    )


def _image(docker: DockerClient, images: Images, announce: Announce) -> str:
    recipe = Recipe(
        tag="ppm-lab/host",
        context=_CONTEXT,
        dockerfile=_CONTEXT / "Dockerfile",
        arguments={"DEBIAN_IMAGE": ensure_debian(images, docker, announce)},
    )
    return build(docker, recipe, announce)


def _compose(lab: Lab, *arguments: str, file: bool = True) -> None:
    """Run Compose for the lab. Raises EngineError with its output."""
    files = ["--file", str(lab.compose_file)] if file else []
    result = subprocess.run(
        [*command(compose=True), "compose", *files, "--project-name", lab.project, *arguments],
        check=False,
        capture_output=True,
        encoding="utf-8",
        stdin=subprocess.DEVNULL,
    )
    if result.returncode:
        raise EngineError(
            f"docker compose {arguments[0]} failed for the lab {lab.name!r}",
            step="lab",
            seen="\n".join(result.stderr.splitlines()[-10:]),
            next=f"ppmctl lab down --name {lab.name}, then start it again",
        )


def _stored(name: str) -> Lab | None:
    path = directory(name) / "lab.json"
    if not path.exists():
        return None
    state = json.loads(path.read_text(encoding="utf-8"))
    return wanted(name, state["hosts"], state["offset"])


def _containers(docker: DockerClient, lab: Lab) -> dict[str, str]:
    """Return {container: state} of the lab's containers."""
    containers = docker.container.list(all=True, filters=[("label", f"ppm.lab={lab.name}")])
    return {container.name: container.state.status or "absent" for container in containers}


def observed(docker: DockerClient, lab: Lab) -> Lab:
    """Return the lab with the current state of each host, according to the engine."""
    states = _containers(docker, lab)
    hosts = (host.model_copy(update={"state": states.get(host.container, "absent")}) for host in lab.hosts)
    return lab.model_copy(update={"hosts": tuple(hosts)})


def _complete(docker: DockerClient, lab: Lab) -> bool:
    """Return whether the lab has exactly these hosts, on these ports, and SSH answers on each."""
    before = _stored(lab.name)
    return (
        before is not None
        and before.offset == lab.offset
        and len(_containers(docker, lab)) == len(lab.hosts)
        and all(host.state == "running" for host in lab.hosts)
        and lab.identity_file.exists()
        and lab.known_hosts_file.exists()
        and all(map(answers, lab.hosts))
    )


def _check_ports(host: LabHost) -> None:
    for port in host.ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as taken:
                raise EngineError(
                    f"port {port}, which {host.name} needs, is in use on this machine",
                    step="lab",
                    host=host.name,
                    seen=str(taken),
                    next=f"Free it (ss -ltnp 'sport = :{port}'), or move every port: --offset 100",
                ) from taken
