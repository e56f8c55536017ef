"""The section `proxy` of an environment: what listens to the world, and its certificates. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import ByteSize, Field, IPvAnyNetwork, model_validator

from ppmkit.config.types import Bytes, Duration, Model, Port

_LETSENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
_STAGING = "https://acme-staging-v02.api.letsencrypt.org/directory"
Variable = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")]
NAME_FOR_DNS = r"^dns_[a-z0-9_]{1,40}$"
"""Names of the secrets that prove the domain by DNS; the environment chooses which there are."""
DnsSecret = Annotated[str, Field(pattern=NAME_FOR_DNS, examples=["dns_token"])]
_AWS_CREDENTIALS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
"""What AWS's own client reads, which knows no ``…_FILE``: https://go-acme.github.io/lego/dns/route53/."""


class Dns(Model):
    """Proving by DNS that the domain is ours (DNS-01): for a server that port 80 does not reach."""

    provider: Annotated[str, Field(pattern=r"^[a-z0-9]+$", examples=["cloudflare"])]
    """The provider's code at https://go-acme.github.io/lego/dns/."""
    secrets: Annotated[dict[Variable, DnsSecret], Field(min_length=1, examples=[{"CF_DNS_API_TOKEN": "dns_token"}])]
    """The provider's variables whose values are secret, each with the secret that has the value; its name begins with
    `dns_`. The provider gets the file's path, as VARIABLE_FILE."""
    variables: dict[Variable, str] = {}  # noqa: RUF012 (frozen)
    """What else the provider wants to know, and is no secret."""
    wildcard: bool = False
    """Ask for `*.example.org` where the domain is ppm.example.org: its name then stands in no public log of
    certificates. From the first certificate on: one that names the domain stays and is renewed."""

    @model_validator(mode="after")
    def _variables_can_be_files(self) -> Dns:
        if unread := _AWS_CREDENTIALS & {name.removesuffix("_FILE") for name in self.secrets}:
            raise ValueError(
                f"AWS's client does not read {', '.join(sorted(unread))} from a file: write `AWS_SHARED_CREDENTIALS:"
                " dns_aws`, and let that secret be the text of a credentials file (`[default]`, aws_access_key_id = …,"
                " aws_secret_access_key = …)"
            )
        if twice := self.variables.keys() & {*self.secrets, *self.files}:
            raise ValueError(f"{', '.join(sorted(twice))}: in `secrets` or in `variables`, not in both")
        return self

    @property
    def files(self) -> dict[str, str]:
        """The provider's variables that name a file, each with the secret that is in it."""
        return {f"{name.removesuffix('_FILE')}_FILE": secret for name, secret in self.secrets.items()}


_OWN_MEMORY = 64 << 20
"""What the proxy needs without a request, with room to spare: measured 28 MiB."""
_REQUEST_MEMORY = 128 << 10
"""What an open request needs with its connection and TLS: measured 100 to 120 KiB."""


def open_requests(memory: int) -> int:
    """Return how many requests, of all clients together, a proxy with so many bytes of memory may have open."""
    return max(100, (memory - _OWN_MEMORY) // _REQUEST_MEMORY)


class Proxy(Model):
    """Traefik, the only thing that listens to the world."""

    http_port: Port = 80
    """Published on every address of the host."""
    https_port: Port = 443
    """Published on every address of the host when `url` is https."""
    internal_port: Port = 8081
    """Published on the host's loopback only: Traefik's API and metrics, and the preview of the idle colour."""
    letsencrypt_email: str | None = Field(default=None, pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")
    """LETSENCRYPT_EMAIL: where the CA writes to; needed when `url` is https."""
    certificates: Literal["acme", "files"] = "acme"
    """`acme`: from a CA, renewed by themselves. `files`: your own, the secrets `tls_certificate` and `tls_key`."""
    staging: bool = False
    """Certificates from Let's Encrypt's staging CA, which has wide limits and no browser's trust: to try things out."""
    ca_server: str | None = Field(default=None, pattern=r"^https://\S+$")
    """The ACME directory of another CA than Let's Encrypt."""
    private_ca: bool = False
    """The CA is a private one: the certificate that its ACME server is known by is the secret `acme_ca`."""
    certificate_lifetime: Annotated[Duration, Field(ge=timedelta(hours=1))] = timedelta(days=90)
    """How long the CA's certificates last, by which the proxy knows when to renew: with 90 days, when 30 are left."""
    dns_challenge: Dns | None = None
    """Default: HTTP-01, by which the CA asks port 80."""
    check_domain: bool = True
    """Before the first certificate is asked for, see that DNS points at the host, that port 80 is reached and that CAA
    allows the CA. Turn it off where this machine sees another network than the CA."""
    hsts: Duration = timedelta(days=365)
    """How long browsers remember that the domain is https only; `0s` does not tell them."""
    client_timeout: Annotated[Duration, Field(ge=timedelta(seconds=1))] = timedelta(seconds=60)
    """How long a client may take to send a request, with its body. Never less than requests may wait in a hold
    (`upgrade.hold_limit` and 15 s), whose bodies nobody reads meanwhile."""
    max_body: Bytes = ByteSize(1 << 20)
    """The largest body that the api gets to see, by what a request says of its length; the api has a limit of its own,
    for those that do not say."""
    trusted_proxies: tuple[IPvAnyNetwork, ...] = ()
    """Addresses or networks of proxies before this one (a CDN, a load balancer): of these, and nobody else,
    X-Forwarded-For is believed, and the rate limit counts whom it names."""
    max_requests_per_address: Annotated[int, Field(ge=10)] = 200
    """How many requests of one address may be open at once; the next gets 429. An open page has one for its events, and
    in a hold all that users ask for waits: raise it where many users share an address (an office, a mobile network).
    The firewall lets each address have twice as many connections."""

    @model_validator(mode="after")
    def _one_ca(self) -> Proxy:
        if self.staging and self.ca_server:
            raise ValueError("`staging` is Let's Encrypt's: leave it, or leave `ca_server`")
        return self

    @property
    def acme_directory(self) -> str:
        """The ACME directory that certificates come from."""
        return self.ca_server or (_STAGING if self.staging else _LETSENCRYPT)

    @property
    def publicly_trusted(self) -> bool:
        """Whether browsers trust the certificates without being told to."""
        return self.certificates == "acme" and self.acme_directory == _LETSENCRYPT
