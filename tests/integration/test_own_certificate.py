"""An own certificate on a real Traefik, from a real CA: shown, replaced under a connection, and its end."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from python_on_whales import Container, DockerClient

from ppmkit.config.environment import Environment, Images
from ppmkit.images.bases import ensure_bases
from ppmkit.proxy import certificates
from ppmkit.release import render
from ppmkit.release.model import Release
from tests.integration.conftest import HARDENED, address
from tests.integration.test_edge import _options, listening
from tests.support.authority import DOMAIN, NOW, Authority
from tests.support.waiting import eventually
from tests.unit.conftest import environment_of

DAY = timedelta(days=1)
IMAGES = {name: f"{name}@sha256:{'0' * 64}" for name in ("api", "frontend", "steward", "traefik")}


@dataclass
class Proxy:
    """A proxy, run as a host runs it, and the directories that it looks into."""

    environment: Environment
    folder: Path
    authority: Authority
    container: Container

    def place(self, version: str, left: timedelta) -> None:
        """Do what a deploy does with a new certificate."""
        for name, pem in zip(("tls_certificate", "tls_key"), self.authority.issue(left), strict=True):
            file = self.folder / name / version
            file.write_text(pem)
            if os.geteuid() == 0:  # as ppmkit/secrets/on_host.py leaves it
                file.chmod(0o400)
                os.chown(file, 10001, 10001)
        secrets = {"tls_certificate": version, "tls_key": version}
        release = Release.model_validate({"id": "0a1b2c3d4e5f", "images": IMAGES, "secrets": secrets})
        for name, text in render.certificates(self.environment, release).items():
            new = self.folder / "new"
            new.write_text(text)
            new.rename(self.folder / "dynamic" / name)

    def connect(self) -> ssl.SSLSocket:
        """Return a connection of somebody who trusts the CA, and nobody else."""
        context = ssl.create_default_context(cadata=self.authority.pem)
        return context.wrap_socket(
            socket.create_connection((address(self.container), 8443), 10), server_hostname=DOMAIN
        )

    def agrees(self, version: ssl.TLSVersion, ciphers: str | None = None) -> str | None:
        """Return the version that a client which knows nothing else gets, None when it gets no connection."""
        context = ssl.create_default_context(cadata=self.authority.pem)
        with warnings.catch_warnings(action="ignore"):  # that a version is old is the point
            context.minimum_version = context.maximum_version = version
        if ciphers:
            context.set_ciphers(ciphers)
        with socket.create_connection((address(self.container), 8443), 10) as raw:
            try:
                with context.wrap_socket(raw, server_hostname=DOMAIN) as connection:
                    return connection.version()
            except (ssl.SSLError, ConnectionError):
                return None

    def shown(self) -> certificates.Certificate | None:
        """Return the certificate that a new connection gets; None when it is not to be trusted."""
        try:
            with self.connect() as connection:
                return certificates.parse(connection.getpeercert(binary_form=True) or b"")
        except (ssl.SSLError, OSError):
            return None

    def ends_in(self, left: timedelta) -> bool:
        """Whether a new connection gets the certificate that ends then."""
        found = self.shown()
        return found is not None and abs(found.ends - NOW - left) < timedelta(minutes=1)


@contextmanager
def proxy(docker: DockerClient, folder: Path, upstream: str) -> Iterator[Proxy]:
    """Yield a proxy that knows its routes and no certificate yet."""
    environment = environment_of(url=f"https://{DOMAIN}", proxy={"certificates": "files"})
    for name in ("dynamic", "tls_certificate", "tls_key"):
        (folder / name).mkdir()
        (folder / name).chmod(0o755 if name == "dynamic" else 0o711)
    servers = {"blue": {"api": [upstream], "frontend": [upstream]}}
    text = render.routes(environment, live="blue", preview="blue", servers=servers)  # type: ignore[arg-type]
    (folder / "dynamic" / render.ROUTES).write_text(text)
    mounts = [(folder / "dynamic", "/etc/traefik/dynamic", "ro")]
    mounts += [(folder / name, f"/run/certificates/{name}", "ro") for name in ("tls_certificate", "tls_key")]
    image = ensure_bases(Images(bases="local"), docker, print)["traefik"]
    options = _options(environment, 60)
    container = docker.run(image, options, detach=True, volumes=mounts, **HARDENED)  # type: ignore[arg-type]
    container.reload()
    try:
        yield Proxy(environment, folder, Authority(), container)
    finally:
        docker.remove(container, force=True)


def ask(connection: ssl.SSLSocket) -> int:
    """Ask for something on this connection and on no other; return the status."""
    client = http.client.HTTPConnection(DOMAIN)
    client.auto_open, client.sock = 0, connection
    client.request("GET", "/api/system")
    with client.getresponse() as answer:
        answer.read()
        return answer.status


def test_an_own_certificate_is_replaced_under_a_connection_that_goes_on(docker: DockerClient, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with listening(docker) as upstream, proxy(docker, tmp_path, upstream) as site:
        assert site.shown() is None
        site.place("aaaaaaaa", 90 * DAY)
        assert eventually(lambda: site.ends_in(90 * DAY), 20), site.container.logs()

        with site.connect() as user:
            assert ask(user) == 200
            site.place("bbbbbbbb", 10 * DAY)
            assert eventually(lambda: site.ends_in(10 * DAY), 20), site.container.logs()
            assert ask(user) == 200

        late = site.shown()
        assert late
        assert certificates.verdict(late, DOMAIN, NOW - 60 * DAY)[0]
        ok, said = certificates.verdict(late, DOMAIN, NOW)
        assert (ok, "it expires on" in said) == (False, True)


def test_tls_is_agreed_on_with_forward_secrecy_and_without_cbc_alone(docker: DockerClient, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with listening(docker) as upstream, proxy(docker, tmp_path, upstream) as site:
        site.place("aaaaaaaa", 90 * DAY)
        assert eventually(lambda: site.ends_in(90 * DAY), 20), site.container.logs()

        assert site.agrees(ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
        for good in ("ECDHE+AESGCM", "ECDHE+CHACHA20"):
            assert site.agrees(ssl.TLSVersion.TLSv1_2, good) == "TLSv1.2"
        for bad in ("ECDHE+AES:!AESGCM:!AESCCM", "kRSA+AES", "kRSA+AESGCM"):
            assert site.agrees(ssl.TLSVersion.TLSv1_2, bad) is None, bad
        assert site.agrees(ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0") is None
