"""The typed environment: every key of ``deploy/inventory/<environment>.yaml``. Pure: no host, no Docker.

The keys' descriptions become the reference page and the JSON Schema (``ppmctl config schema``).
``ppmkit/config/file.py`` reads the file and reports errors with line and column.
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
"""How long undoing a hold may take at most."""


class HostAddress(Model):
    """A server, and how SSH reaches it. ``~/.ssh/config``, agents and jump hosts work as usual."""

    name: Name
    """The host's name in ppmctl's output."""
    address: Address
    """DNS name, IP address, or a Host of ~/.ssh/config, without user, port or brackets."""
    port: Port = 22
    """The port that sshd listens on."""


class Ssh(Model):
    """How ppmctl logs in to the hosts: which users and which keys."""

    user: Name = "deploy"
    """The user that deploys. `provision` creates it, in the docker group."""
    provision_user: Name = "root"
    """The user that provisions. Any user except root needs sudo without a password."""
    identity_file: str | None = None
    """File of the private key. Default: OpenSSH chooses (agent, ~/.ssh). Relative to the project's folder; `~` is your
    home directory."""
    known_hosts_file: str | None = None
    """File of known host keys. Default: OpenSSH's own. A host key that is not in it is never accepted."""
    connect_timeout: Duration = timedelta(seconds=10)
    """A host that does not answer within this time counts as unreachable."""

    @field_validator("identity_file", "known_hosts_file")
    @classmethod
    def _no_variable(cls, path: str | None) -> str | None:
        if path and "${" in path:
            raise ValueError("OpenSSH would replace `${…}` with an environment variable; write the path itself")
        return path


class Service(Model):
    """Limits of each container of a service."""

    replicas: PositiveInt = 1
    """Number of containers."""
    memory: Bytes
    """Memory limit of one container."""
    cpus: PositiveFloat
    """CPU limit of one container, in cores."""
    pids: PositiveInt = 256
    """Maximum number of processes and threads in one container."""


class SingleService(Service):
    """Limits of a service that runs in exactly one container."""

    replicas: Literal[1] = 1
    """Always 1."""


class Services(Model):
    """Limits for each service."""

    api: Service = Service(replicas=2, memory=ByteSize(256 << 20), cpus=1.0)
    frontend: Service = Service(memory=ByteSize(64 << 20), cpus=0.5, pids=64)
    worker: SingleService = SingleService(memory=ByteSize(256 << 20), cpus=1.0)
    reverse_proxy: SingleService = SingleService(memory=ByteSize(256 << 20), cpus=1.0)
    steward: SingleService = SingleService(memory=ByteSize(256 << 20), cpus=1.0, pids=64)


Reference = Annotated[str, Field(pattern=r"^[A-Za-z0-9]\S*$")]


class Bases(Model):
    """The Dockerfiles' base images, and the Traefik image."""

    python: Reference = "python:3.13-slim-trixie"
    """Base image of the api, the worker and the steward."""
    node: Reference = "node:24-trixie-slim"
    """Builds the frontend."""
    nginx: Reference = "nginx:1.28"
    """Base image of the frontend."""
    traefik: Reference = "traefik:v3.7"
    """The reverse proxy."""


class RegistryImages(Model):
    """The images that CI has pushed, each by digest."""

    api: str = Field(pattern=r"^[A-Za-z0-9]\S*@sha256:[0-9a-f]{64}$")
    """The api and the worker."""
    frontend: str = Field(pattern=r"^[A-Za-z0-9]\S*@sha256:[0-9a-f]{64}$")
    """The frontend."""
    steward: str = Field(pattern=r"^[A-Za-z0-9]\S*@sha256:[0-9a-f]{64}$")
    """The steward."""
    traefik: str = Field(pattern=r"^[A-Za-z0-9]\S*@sha256:[0-9a-f]{64}$")
    """Traefik 3.7.3 or newer."""


class Images(Model):
    """Where the images come from."""

    source: Literal["build", "registry"] = "build"
    """`build`: build here; only the layers that a host is missing are sent, over SSH. `registry`: hosts pull by
    digest."""
    bases: Literal["auto", "registry", "local"] = "auto"
    """Where base images come from. `registry`: pull `registry_bases`. `local`: build them from Debian's archive and
    PyPI (for air-gapped sites). `auto`: `registry`, or `local` if no registry answers."""
    registry_bases: Bases = Bases()
    registry: RegistryImages | None = None
    """The images by digest. Required when `source` is `registry`."""

    @model_validator(mode="after")
    def _registry_is_named(self) -> Images:
        if self.source == "registry" and self.registry is None:
            raise ValueError("`source: registry` needs `registry:` with api, frontend, steward and traefik by digest")
        return self


class Secrets(Model):
    """Where the secrets' values are on this machine. On hosts, they are files that other users cannot reach."""

    provider: Literal["age", "files", "command"] = "files"
    """`age`: one encrypted file per secret in `directory`, meant to be committed. `files`: plain files there, which git
    ignores. `command`: the output of `command`, so that any password manager works."""
    directory: str | None = None
    """Directory of the secrets' files. Default: `secrets/<environment>`. Relative to the project's folder."""
    recipients: tuple[Recipient, ...] = ()
    """Public keys (age or SSH) of everyone who deploys. Only they can read age files that are written from now on."""
    identity_file: str | None = None
    """File of the private key that opens age files. Default: ~/.config/ppmctl/age.txt. PPMCTL_AGE_IDENTITY overrides
    it."""
    command: tuple[str, ...] = ()
    """Program and arguments; `{name}` and `{environment}` are replaced: `[pass, show, "ppm/{environment}/{name}"]`."""
    accept_previous: Duration = timedelta(days=7)
    """How long after a rotation a release also gets the previous value, so that it accepts what was signed with that
    value."""
    max_age: Duration = timedelta(days=365)
    """`secrets check` reports secrets that are older than this, so that you rotate them."""

    @model_validator(mode="after")
    def _command_is_there(self) -> Secrets:
        if self.provider == "command" and not any("{name}" in part for part in self.command):
            raise ValueError("`provider: command` needs `command:` with {name} in it")
        return self


class Upgrade(Model):
    """Deadlines of an upgrade, and the criteria that a new release is judged by."""

    ready_timeout: Duration = timedelta(seconds=90)
    """How long a new container may take to become ready."""
    switch_timeout: Duration = timedelta(seconds=15)
    """How long the proxy may take to send all users to the new color."""
    drain_timeout: Duration = timedelta(seconds=30)
    """How long requests and scans in flight on the old color may take to finish."""
    migrate_timeout: Duration = timedelta(minutes=10)
    """How long migrations may take."""
    hold_limit: Duration = timedelta(seconds=30)
    """How long requests may wait while the database changes in a way that the old release cannot run with. If the
    change takes longer, the upgrade is undone."""
    smoke: tuple[UrlPath, ...] = ("/", "/api/system", "/api/openapi.json")
    """Paths that must answer 200 without a login, on every container of the new release before users reach it, and on
    the public port during the bake. Choose paths that need the database and that load all of the code."""
    canary_step: Duration = timedelta(seconds=30)
    """How long each share of `deploy --canary 5,25,100` is watched."""
    bake: Duration = timedelta(seconds=5)
    """How long errors are watched after the switch, while the old color stays ready to take over again. `0s`: not at
    all."""
    max_error_ratio: Annotated[float, Field(ge=1)] = 2
    """A new release is rolled back if its share of 5xx responses is more than this many times the old release's,
    overall or on any one route. Routes that failed before, and errors that clients cause, do not count."""
    max_latency_ratio: Annotated[float, Field(ge=1)] = 3
    """A canary is rolled back if its 95th percentile latency is more than this many times the old release's. Up to
    100 ms is always allowed. Only small responses to GET and HEAD count, because clients cannot slow these down."""
    min_requests: PositiveInt = 50
    """Minimum responses per release before latencies are compared. When errors are compared, an old release with fewer
    responses is treated as if it had this many; the missing ones count as responses without an error."""
    keep_releases: Annotated[int, Field(ge=2)] = 5
    """How many releases are kept on the host. Each is kept with its images, and with the files that its pages may still
    load while they are open in a browser. The rollback target is always one of them."""


class Provision(Model):
    """What `ppmctl provision` sets up beyond the minimum."""

    docker: Literal["distribution", "docker"] = "distribution"
    """Install Docker from the distribution's packages, or from Docker's own repository. An existing engine is kept."""
    time_sync: bool = True
    """Install and start chrony, unless the host already keeps its clock in sync."""
    root_login: bool | None = None
    """Whether root may log in over SSH, with a key. Default: only in a lab. If root may not, `ssh.user` provisions from
    then on, with sudo, unless `ssh.provision_user` already names a user other than root."""
    firewall: bool = True
    """Allow only SSH, http and https from outside, even if Docker publishes other ports (nftables rules). Containers
    cannot reach the host itself or a cloud's metadata service."""
    security_updates: bool = True
    """Install the distribution's security updates automatically (unattended-upgrades)."""
    swap: Bytes = ByteSize(1 << 30)
    """Size of the swap file for a host that has no swap; `0B`: no swap file. Containers do not use it, because their
    limit covers memory and swap together."""
    audit: bool = False
    """Install auditd, and record who changes logins, sudo, the settings of SSH and Docker, or permissions below
    /srv/ppm."""


class Environment(Model):
    """One environment: its hosts, the application's settings and the limits."""

    name: Name
    """Set from the file's name."""
    kind: Literal["hosts", "lab", "dev"] = "hosts"
    """`hosts`: servers over SSH. `lab`: throwaway servers that `ppmctl up` boots on this machine.
    `dev`: plain Docker Compose on this machine, with hot reload."""
    url: PublicUrl
    """Where users reach the application. With https, certificates come from Let's Encrypt; http is for labs. An
    internationalized name is converted to its ASCII form, and a trailing slash is dropped."""
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
        if duplicates := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two hosts have the same name: {', '.join(sorted(duplicates))}; rename one")
        by_place: dict[tuple[str, int], str] = {}
        for host in hosts:
            first = by_place.setdefault((host.address.lower(), host.port), host.name)
            if first != host.name:
                place = f"{host.address}, port {host.port}"
                raise ValueError(f"{first} and {host.name} are the same host: both are {place}; remove one")
        return hosts

    @model_validator(mode="after")
    def _fits_together(self) -> Environment:
        if self.kind != "dev" and not self.hosts:
            raise ValueError("`hosts` is empty: add at least one host, or set `kind: dev`")
        if self.acme and self.proxy.letsencrypt_email is None:
            raise ValueError("an https `url` needs `proxy.letsencrypt_email`, or `proxy.certificates: files`")
        if self.acme and is_address(self.domain):
            raise ValueError(
                f"no certificate can be requested for the IP address {self.domain}: use a domain name in `url`, or set "
                "`proxy.certificates: files`"
            )
        if self.acme and self.proxy.ca_server is None and "." not in self.domain:
            raise ValueError(
                f"Let's Encrypt issues no certificate for {self.domain}, only for public domains: use one in `url`, or "
                "set `proxy.ca_server` or `proxy.certificates: files`"
            )
        if self.wildcard and self.wildcard.count(".") < 2:
            raise ValueError(f"no CA issues a certificate for {self.wildcard}: remove `proxy.dns_challenge.wildcard`")
        return self

    @property
    def tls(self) -> bool:
        """Whether the application is served over https."""
        return urlsplit(self.url).scheme == "https"

    @property
    def client_timeout(self) -> timedelta:
        """How long a request may take to arrive: at least as long as it may have to wait in a hold."""
        return max(self.proxy.client_timeout, self.upgrade.hold_limit + GOING_BACK)

    @property
    def root_login(self) -> bool:
        """Whether root may log in to the hosts over SSH."""
        setting = self.provision.root_login
        return self.kind == "lab" if setting is None else setting

    @property
    def acme(self) -> bool:
        """Whether certificates are requested from a CA automatically."""
        return self.tls and self.proxy.certificates == "acme"

    @property
    def wildcard(self) -> str | None:
        """The wildcard name that is requested from the CA instead of the domain, if any."""
        challenge = self.proxy.dns_challenge
        if not self.acme or challenge is None or not challenge.wildcard:
            return None
        return f"*.{self.domain.partition('.')[2]}"

    @property
    def proxy_secrets(self) -> tuple[str, ...]:
        """Names of the secrets that only the proxy reads."""
        if not self.tls:
            return ()
        if not self.acme:
            return "tls_certificate", "tls_key"
        challenge = self.proxy.dns_challenge
        dns = sorted(set(challenge.secrets.values())) if challenge else []
        return (*dns, *(["acme_ca"] if self.proxy.private_ca else []))

    @property
    def worker_secrets(self) -> tuple[str, ...]:
        """Names of the secrets that only the worker reads."""
        return ("git_deploy_key",) if self.app.scan_known_hosts else ()

    @property
    def domain(self) -> str:
        """The host name in `url`, without the port."""
        return urlsplit(self.url).hostname or ""

    @property
    def database(self) -> PurePosixPath:
        """The path of the SQLite file in the containers."""
        return PurePosixPath(urlsplit(self.app.database_url).path.removeprefix("/"))

    @property
    def project(self) -> str:
        """The name of the Compose project on every host of the environment."""
        return f"ppm-{self.name}"

    @property
    def directory(self) -> PurePosixPath:
        """The environment's directory on its hosts."""
        return PurePosixPath("/srv/ppm") / self.name


def pick_host(environment: Environment, name: str | None) -> HostAddress:
    """Return the host with this name, or the first host if there is none. Raises UsageError for an unknown name."""
    for address in environment.hosts:
        if name in (None, address.name):
            return address
    names = ", ".join(address.name for address in environment.hosts)
    raise UsageError(f"{environment.name} has no host {name}", next=f"Its hosts: {names}")


def only(environment: Environment, name: str | None) -> Environment:
    """Return the environment with only the named host, or unchanged without a name. Raises UsageError."""
    return environment.model_copy(update={"hosts": (pick_host(environment, name),)}) if name else environment
