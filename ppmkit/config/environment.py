"""The typed environment: what ``deploy/inventory/<environment>.yaml`` may say. Pure: no host, no Docker.

Every key has a description: together they are the reference page and the JSON Schema
(``ppmctl config schema``). Reading a file, and errors with line and column, are in ``ppmkit/config/file.py``.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import PurePosixPath
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import ByteSize, Field, PositiveFloat, PositiveInt, field_validator, model_validator

from ppmkit.config.app import App
from ppmkit.config.backup import Backup
from ppmkit.config.proxy import Proxy
from ppmkit.config.types import Address, Bytes, Duration, Model, Name, Port, Recipient, UrlPath
from ppmkit.config.url import PublicUrl, is_address
from ppmkit.errors import UsageError

__all__ = ["Bytes", "Duration", "Environment", "HostAddress", "Images", "Model", "Secrets", "Ssh"]


GOING_BACK = timedelta(seconds=15)
"""How long going back from a hold may take, at the most."""


class HostAddress(Model):
    """One server, and how SSH reaches it. ``~/.ssh/config``, agents and jump hosts apply."""

    name: Name
    """What ppmctl calls the host in its output."""
    address: Address
    """DNS name, IP address, or a Host of ~/.ssh/config: without user, port or brackets."""
    port: Port = 22
    """The port of its sshd."""


class Ssh(Model):
    """Who logs in, and with which key."""

    user: Name = "deploy"
    """The user that deploys; `provision` creates it, in the docker group."""
    provision_user: Name = "root"
    """The user that provisions; anyone but root needs sudo without a password."""
    identity_file: str | None = None
    """Private key. Default: what OpenSSH picks (agent, ~/.ssh). Relative to the project's folder; `~` is
    your home."""
    known_hosts_file: str | None = None
    """Known host keys. Default: OpenSSH's own. A key that is not in there is never accepted."""
    connect_timeout: Duration = timedelta(seconds=10)
    """After how long a host counts as unreachable."""

    @field_validator("identity_file", "known_hosts_file")
    @classmethod
    def _no_variable(cls, path: str | None) -> str | None:
        if path and "${" in path:
            raise ValueError("OpenSSH would put a variable of the shell in the place of `${…}`: write the path itself")
        return path


class Service(Model):
    """What one container of a service may use."""

    replicas: PositiveInt = 1
    """How many containers."""
    memory: Bytes
    """Memory limit of one container."""
    cpus: PositiveFloat
    """Processor limit of one container, in cores."""
    pids: PositiveInt = 256
    """Limit of processes and threads of one container."""


class SingleService(Service):
    """A service of which exactly one container runs."""

    replicas: Literal[1] = 1


class Services(Model):
    """Limits of every service."""

    api: Service = Service(replicas=2, memory=ByteSize(256 << 20), cpus=1.0)
    frontend: Service = Service(memory=ByteSize(64 << 20), cpus=0.5, pids=64)
    worker: SingleService = SingleService(memory=ByteSize(256 << 20), cpus=1.0)
    reverse_proxy: SingleService = SingleService(memory=ByteSize(256 << 20), cpus=1.0)
    steward: SingleService = SingleService(memory=ByteSize(256 << 20), cpus=1.0, pids=64)


Reference = Annotated[str, Field(pattern=r"^[A-Za-z0-9]\S*$")]


class Bases(Model):
    """Base images that the Dockerfiles start from, and Traefik."""

    python: Reference = "python:3.13-slim-trixie"
    node: Reference = "node:24-trixie-slim"
    nginx: Reference = "nginx:1.28"
    traefik: Reference = "traefik:v3.7"


class RegistryImages(Model):
    """Images that CI has pushed; each by digest."""

    api: str = Field(pattern=r"^[A-Za-z0-9]\S*@sha256:[0-9a-f]{64}$")
    frontend: str = Field(pattern=r"^[A-Za-z0-9]\S*@sha256:[0-9a-f]{64}$")
    steward: str = Field(pattern=r"^[A-Za-z0-9]\S*@sha256:[0-9a-f]{64}$")
    traefik: str = Field(pattern=r"^[A-Za-z0-9]\S*@sha256:[0-9a-f]{64}$")
    """3.7.3 or newer."""


class Images(Model):
    """Where the images come from."""

    source: Literal["build", "registry"] = "build"
    """`build`: here, then only the layers that a host lacks are sent over SSH. `registry`: hosts pull by digest."""
    bases: Literal["auto", "registry", "local"] = "auto"
    """`registry`: pull `registry_bases`. `local`: make them from Debian's archive and PyPI (air-gapped sites).
    `auto`: registry, and local when none answers."""
    registry_bases: Bases = Bases()
    registry: RegistryImages | None = None
    """The images by digest; needed when `source` is registry."""

    @model_validator(mode="after")
    def _registry_is_named(self) -> Images:
        if self.source == "registry" and self.registry is None:
            raise ValueError("`source: registry` needs `registry:` with api, frontend, steward and traefik by digest")
        return self


class Secrets(Model):
    """Where the values of the secrets are on this machine. On hosts they are files that others cannot reach."""

    provider: Literal["age", "files", "command"] = "files"
    """`age`: one encrypted file for each secret in `directory`, made to be committed. `files`: plain files there, which
    git ignores. `command`: whatever `command` prints, so that any password manager works."""
    directory: str | None = None
    """Default: secrets/<environment>. Relative to the project's folder."""
    recipients: tuple[Recipient, ...] = ()
    """Public keys of all who deploy, of age or SSH: what is written from now on can be read by them only."""
    identity_file: str | None = None
    """The private key that opens age files. Default: ~/.config/ppmctl/age.txt; PPMCTL_AGE_IDENTITY names another."""
    command: tuple[str, ...] = ()
    """Program and arguments; `{name}` and `{environment}` are filled in: [pass, show, "ppm/{environment}/{name}"]."""
    accept_previous: Duration = timedelta(days=7)
    """How long a release gets the value of before a rotation too, for what is signed with it."""
    max_age: Duration = timedelta(days=365)
    """From which age on `secrets check` wants a secret rotated."""

    @model_validator(mode="after")
    def _command_is_there(self) -> Secrets:
        if self.provider == "command" and not any("{name}" in part for part in self.command):
            raise ValueError("`provider: command` needs `command:` with {name} in it")
        return self


class Upgrade(Model):
    """Deadlines of an upgrade, and what a new release is judged by."""

    ready_timeout: Duration = timedelta(seconds=90)
    """How long a new container may take to get ready."""
    switch_timeout: Duration = timedelta(seconds=15)
    """How long the proxy may take to send everyone to the new colour."""
    drain_timeout: Duration = timedelta(seconds=30)
    """How long requests and scans in flight may take to end on the old colour."""
    migrate_timeout: Duration = timedelta(minutes=10)
    """How long migrations may take."""
    hold_limit: Duration = timedelta(seconds=30)
    """How long requests may wait while the database changes in a way that the old release cannot bear. When it is
    over, the upgrade is undone."""
    smoke: tuple[UrlPath, ...] = ("/", "/api/system", "/api/openapi.json")
    """Paths that must answer 200 without a login: of every container of the new release before anyone is sent to it,
    and at the public port while it bakes. Choose some that need the database, and all of the code to be loaded."""
    canary_step: Duration = timedelta(seconds=30)
    """How long each share of `deploy --canary 5,25,100` is watched."""
    bake: Duration = timedelta(seconds=5)
    """How long errors are watched after the switch, with the old colour ready to take over again. `0s`: not at all."""
    max_error_ratio: Annotated[float, Field(ge=1)] = 2
    """How many times as many of the new release's answers may be 5xx as of the old one's, of all and of those on each
    route; more is rolled back. Routes that failed before, and what clients do wrong, do not count."""
    max_latency_ratio: Annotated[float, Field(ge=1)] = 3
    """How many times as long 95 % of the answers may take in a canary as the old release's; more is rolled back.
    Up to 100 ms are always allowed. Small answers to GET and HEAD count, which no client can draw out."""
    min_requests: PositiveInt = 50
    """From how many answers of each release on latencies are compared. An old release with fewer counts as one with so
    many answers and no error."""
    keep_releases: Annotated[int, Field(ge=2)] = 5
    """How many releases stay on the host, with their images and with what their pages load when they are still open
    in a browser; the rollback target is always one of them."""


class Provision(Model):
    """What `ppmctl provision` sets up beyond the minimum."""

    docker: Literal["distribution", "docker"] = "distribution"
    """Packages of the distribution, or Docker's own repository. An engine that is there already is kept."""
    time_sync: bool = True
    """Install and start chrony, unless the host already keeps its clock."""
    root_login: bool | None = None
    """Whether root may log in by SSH, with a key. Default: in a lab only. Elsewhere the user that deploys provisions
    from then on, by sudo, unless `ssh.provision_user` is somebody else already."""
    firewall: bool = True
    """Only SSH, http and https from outside, also where Docker publishes other ports: rules of nftables. Containers
    reach nothing of the host itself, and no cloud's metadata."""
    security_updates: bool = True
    """The distribution's security updates install themselves (unattended-upgrades)."""
    swap: Bytes = ByteSize(1 << 30)
    """The size of a swap file for a host that has no swap; `0B`: none. Containers do not use it: their limit is one of
    memory and swap both."""
    audit: bool = False
    """Install auditd, and have it record who changes logins, sudo, SSH's and Docker's settings, or rights below
    /srv/ppm."""


class Environment(Model):
    """One environment: the hosts, the application's settings and the limits."""

    name: Name
    """Set from the file's name."""
    kind: Literal["hosts", "lab", "dev"] = "hosts"
    """`hosts`: servers over SSH. `lab`: throwaway servers that `ppmctl up` boots on this machine.
    `dev`: plain Docker Compose on this machine, with hot reload."""
    url: PublicUrl
    """Where users reach the application. https brings certificates from Let's Encrypt; http is for labs. An
    internationalized name is used in its ASCII form, and a slash at the end is dropped."""
    hosts: tuple[HostAddress, ...] = ()
    ssh: Ssh = Ssh()
    app: App = App()
    proxy: Proxy = Proxy()
    services: Services = Services()
    images: Images = Images()
    secrets: Secrets = Secrets()
    upgrade: Upgrade = Upgrade()
    backup: Backup = Backup()
    provision: Provision = Provision()

    @field_validator("hosts")
    @classmethod
    def _hosts_differ(cls, hosts: tuple[HostAddress, ...]) -> tuple[HostAddress, ...]:
        names = [host.name for host in hosts]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two hosts are called {', '.join(sorted(twice))}")
        places: dict[tuple[str, int], str] = {}
        for host in hosts:
            first = places.setdefault((host.address.lower(), host.port), host.name)
            if first != host.name:
                raise ValueError(f"{first} and {host.name} are one host: both are {host.address}, port {host.port}")
        return hosts

    @model_validator(mode="after")
    def _fits_together(self) -> Environment:
        if self.kind != "dev" and not self.hosts:
            raise ValueError("`hosts` is empty: name at least one host, or set `kind: dev`")
        if self.acme and self.proxy.letsencrypt_email is None:
            raise ValueError("an https `url` needs `proxy.letsencrypt_email`, or `proxy.certificates: files`")
        if self.acme and is_address(self.domain):
            raise ValueError(f"no CA is asked for the address {self.domain}: `url` needs a name, or own certificates")
        if self.acme and self.proxy.ca_server is None and "." not in self.domain:
            raise ValueError(f"Let's Encrypt gives no certificate for {self.domain}: it knows public domains only")
        if self.wildcard and self.wildcard.count(".") < 2:
            raise ValueError(f"no CA gives a certificate for {self.wildcard}: leave `proxy.dns_challenge.wildcard`")
        return self

    @property
    def tls(self) -> bool:
        """Whether the application is served over https."""
        return urlsplit(self.url).scheme == "https"

    @property
    def client_timeout(self) -> timedelta:
        """How long a request may take to arrive: as long as it may have to wait in a hold, at the least."""
        return max(self.proxy.client_timeout, self.upgrade.hold_limit + GOING_BACK)

    @property
    def root_login(self) -> bool:
        """Whether root may log in on the hosts by SSH."""
        asked = self.provision.root_login
        return self.kind == "lab" if asked is None else asked

    @property
    def acme(self) -> bool:
        """Whether certificates come from a CA by themselves."""
        return self.tls and self.proxy.certificates == "acme"

    @property
    def wildcard(self) -> str | None:
        """The name that the CA is asked for in the place of the domain, if another one."""
        challenge = self.proxy.dns_challenge
        if not self.acme or challenge is None or not challenge.wildcard:
            return None
        return f"*.{self.domain.partition('.')[2]}"

    @property
    def proxy_secrets(self) -> tuple[str, ...]:
        """Names of the secrets that the proxy reads, and nobody else."""
        if not self.tls:
            return ()
        if not self.acme:
            return "tls_certificate", "tls_key"
        challenge = self.proxy.dns_challenge
        dns = sorted(set(challenge.secrets.values())) if challenge else []
        return (*dns, *(["acme_ca"] if self.proxy.private_ca else []))

    @property
    def worker_secrets(self) -> tuple[str, ...]:
        """Names of the secrets that the worker reads, and nobody else."""
        return ("git_deploy_key",) if self.app.scan_known_hosts else ()

    @property
    def domain(self) -> str:
        """The name in `url`, without its port."""
        return urlsplit(self.url).hostname or ""

    @property
    def database(self) -> PurePosixPath:
        """The file of SQLite, as the containers see it."""
        return PurePosixPath(urlsplit(self.app.database_url).path.removeprefix("/"))

    @property
    def project(self) -> str:
        """The Compose project, on every host of the environment."""
        return f"ppm-{self.name}"

    @property
    def directory(self) -> PurePosixPath:
        """Where the environment lies on its hosts."""
        return PurePosixPath("/srv/ppm") / self.name


def pick_host(environment: Environment, name: str | None) -> HostAddress:
    """Return the host of that name, or the first one. Raises UsageError for a name that is not there."""
    for address in environment.hosts:
        if name in (None, address.name):
            return address
    names = ", ".join(address.name for address in environment.hosts)
    raise UsageError(f"there is no host {name} in {environment.name}", next=f"Its hosts: {names}")


def only(environment: Environment, name: str | None) -> Environment:
    """Return the environment with no other host than the named one, if one is named. Raises UsageError."""
    return environment.model_copy(update={"hosts": (pick_host(environment, name),)}) if name else environment
