"""The section `proxy` of an environment: the public ports, certificates and limits. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import ByteSize, Field, IPvAnyNetwork, model_validator

from ppmkit.config.types import Bytes, Duration, Model, Port

_LETSENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
_STAGING = "https://acme-staging-v02.api.letsencrypt.org/directory"
Variable = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")]
NAME_FOR_DNS = r"^dns_[a-z0-9_]{1,40}$"
"""Pattern for the names of the secrets that DNS-01 needs; the environment chooses the names."""
DnsSecret = Annotated[str, Field(pattern=NAME_FOR_DNS, examples=["dns_token"])]
_AWS_CREDENTIALS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
"""Variables that AWS's own client reads. It has no ``…_FILE`` form: https://go-acme.github.io/lego/dns/route53/."""


class Dns(Model):
    """Prove control of the domain over DNS (DNS-01), for a server that the CA cannot reach on port 80."""

    provider: Annotated[str, Field(pattern=r"^[a-z0-9]+$", examples=["cloudflare"])]
    """The DNS provider's code, from https://go-acme.github.io/lego/dns/."""
    secrets: Annotated[dict[Variable, DnsSecret], Field(min_length=1, examples=[{"CF_DNS_API_TOKEN": "dns_token"}])]
    """The provider's variables that have secret values, each with the secret's name, which begins with `dns_`. The
    provider gets the path of the secret's file, as VARIABLE_FILE."""
    variables: dict[Variable, str] = {}  # noqa: RUF012 (frozen)
    """The provider's other variables, which are not secret."""
    wildcard: bool = False
    """Request `*.example.org` for the domain ppm.example.org, so that its name appears in no public certificate log.
    Set it before the first certificate is requested: an existing certificate for the domain stays and is renewed."""

    @model_validator(mode="after")
    def _variables_can_be_files(self) -> Dns:
        if unread := _AWS_CREDENTIALS & {name.removesuffix("_FILE") for name in self.secrets}:
            raise ValueError(
                f"AWS's client does not read {', '.join(sorted(unread))} from a file: write `AWS_SHARED_CREDENTIALS:"
                " dns_aws`, and set that secret to the text of a credentials file (`[default]`, aws_access_key_id = …,"
                " aws_secret_access_key = …)"
            )
        if in_both := self.variables.keys() & {*self.secrets, *self.files}:
            raise ValueError(f"{', '.join(sorted(in_both))}: set in both `secrets` and `variables`; remove one")
        return self

    @property
    def files(self) -> dict[str, str]:
        """The provider's variables that contain a file path, each with the name of the secret in that file."""
        return {f"{name.removesuffix('_FILE')}_FILE": secret for name, secret in self.secrets.items()}


_OWN_MEMORY = 64 << 20
"""Memory that the proxy needs without any request, with a margin: measured 28 MiB."""
_REQUEST_MEMORY = 128 << 10
"""Memory that an open request needs, with its connection and TLS: measured 100 to 120 KiB."""


def open_requests(memory: int) -> int:
    """Return how many requests from all clients together may be open in a proxy with ``memory`` bytes."""
    return max(100, (memory - _OWN_MEMORY) // _REQUEST_MEMORY)


class Proxy(Model):
    """Traefik, the only container that is reachable from outside."""

    http_port: Port = 80
    """The port for http, published on every address of the host."""
    https_port: Port = 443
    """The port for https, published on every address of the host when `url` is https."""
    internal_port: Port = 8081
    """The port for Traefik's API and metrics and for the preview of the idle color, published on loopback only."""
    letsencrypt_email: str | None = Field(default=None, pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")
    """LETSENCRYPT_EMAIL: where the CA sends email. Required when `url` is https, except with `certificates: files`."""
    certificates: Literal["acme", "files"] = "acme"
    """`acme`: from a CA, renewed automatically. `files`: your own, from the secrets `tls_certificate` and `tls_key`."""
    staging: bool = False
    """Use Let's Encrypt's staging CA, to try things out: its rate limits are high, but no browser trusts it."""
    ca_server: str | None = Field(default=None, pattern=r"^https://\S+$")
    """The ACME directory URL of a CA other than Let's Encrypt."""
    private_ca: bool = False
    """Whether the CA is private. Then the secret `acme_ca` is the certificate that its ACME server is verified with."""
    certificate_lifetime: Annotated[Duration, Field(ge=timedelta(hours=1))] = timedelta(days=90)
    """How long the CA's certificates are valid. The proxy renews them before they expire: a certificate for 90 days
    when 30 days are left."""
    dns_challenge: Dns | None = None
    """Prove control of the domain with DNS-01. Default: HTTP-01, for which the CA connects to port 80."""
    check_domain: bool = True
    """Before the first certificate is requested, check that DNS points at the host, that port 80 is reachable and that
    CAA records allow the CA. Turn it off if this machine sees a different network than the CA."""
    hsts: Duration = timedelta(days=365)
    """How long browsers remember that the domain is https only; `0s`: browsers are not told."""
    client_timeout: Annotated[Duration, Field(ge=timedelta(seconds=1))] = timedelta(seconds=60)
    """How long a client may take to send a request with its body. A value below `upgrade.hold_limit` plus 15 s is
    raised to that, because the bodies of requests that wait in a hold are not read during that time."""
    max_body: Bytes = ByteSize(1 << 20)
    """The largest request body that is passed to the api, by the length that the request declares. The api has a
    separate limit for bodies without a declared length."""
    trusted_proxies: tuple[IPvAnyNetwork, ...] = ()
    """Addresses or networks of proxies in front of this one (a CDN, a load balancer). X-Forwarded-For is trusted from
    these only, and the rate limit counts the client address that it names."""
    max_requests_per_address: Annotated[int, Field(ge=10)] = 200
    """How many requests from one address may be open at once; the next one gets 429. Each open page uses one for its
    events, and during a hold all user requests stay open. Raise the value if many users share an address (an office, a
    mobile network). The firewall allows each address twice as many connections."""

    @model_validator(mode="after")
    def _one_ca(self) -> Proxy:
        if self.staging and self.ca_server:
            raise ValueError(
                "`staging` selects Let's Encrypt's staging CA, and `ca_server` another CA; remove one of them"
            )
        return self

    @property
    def acme_directory(self) -> str:
        """The ACME directory URL that certificates are requested from."""
        return self.ca_server or (_STAGING if self.staging else _LETSENCRYPT)

    @property
    def publicly_trusted(self) -> bool:
        """Whether browsers trust the certificates without extra configuration."""
        return self.certificates == "acme" and self.acme_directory == _LETSENCRYPT
