"""Another proxy takes the place of the one that serves: whatever fails then, users are served as before."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path, PurePosixPath

import httpx
import pytest

from ppmkit.lab.login import settle
from ppmkit.local.engine import local_docker
from tests.lab.test_faults import says
from tests.support.authority import Authority
from tests.support.site import Running, Site
from tests.support.waiting import eventually

FULL = pytest.mark.full
NAME = "xn--bcher-kva.example.org"
AUTHORITY = Authority()
FIREWALL = "/etc/ppm-firewall.nft"


def https(site: Site, **changes: object) -> None:
    """Configure the site for users who come by https, with a certificate of its own."""
    more = {"url": f"https://bücher.example.org:{site.host.https_port}", "proxy": {"certificates": "files"}}
    site.configure(**(more | changes))


@pytest.fixture
def site(live: Site) -> Iterator[Site]:
    """The site that serves by http; it has a certificate for https, and its firewall lets users through to it."""
    for name, pem in zip(("tls_certificate", "tls_key"), AUTHORITY.issue(timedelta(days=90), NAME), strict=True):
        (live.folder / "secrets" / name).write_text(pem)
    live.root(f"cp -p {FIREWALL} /root/firewall; sed -i 's/{{ 80 }}/{{ 80, 443 }}/' {FIREWALL}; nft -f {FIREWALL}")
    live.configure()
    live.ppmctl("deploy")
    yield live
    live.configure()
    live.ppmctl("deploy")
    live.root(f"mv /root/firewall {FIREWALL}; nft -f {FIREWALL}")
    for name in ("tls_certificate", "tls_key"):
        (live.folder / "secrets" / name).unlink()


def proxies(site: Site) -> list[str]:
    """Return the containers of the proxy, running or not: id, state and name."""
    listed = f"docker ps -a --no-trunc --filter label=com.docker.compose.project=ppm-{site.name}"
    look = f"{listed} --filter label=ppm.role=reverse-proxy --format '{{{{.ID}}}} {{{{.State}}}} {{{{.Names}}}}'"
    return site.root(look).splitlines()


def by_http(site: Site) -> str | None:
    """Return the release that users get by http, None when they get no good answer."""
    return _release(lambda path: httpx.get(f"{site.url}{path}", trust_env=False, timeout=5))


def by_https(site: Site) -> str | None:
    """Return the release that users get by https under the site's name, None when they get no good answer."""
    url = f"https://127.0.0.1:{site.host.https_port}"
    trust = ssl.create_default_context(cadata=AUTHORITY.pem)
    with httpx.Client(verify=trust, trust_env=False, timeout=5) as client:
        return _release(
            lambda path: client.get(f"{url}{path}", headers={"Host": NAME}, extensions={"sni_hostname": NAME})
        )


def _release(get: Callable[[str], httpx.Response]) -> str | None:
    try:
        answers = [get(path) for path in ("/", "/api/system")]
    except httpx.HTTPError:
        return None
    [release, *more] = {answer.headers.get("X-PPM-Release") if answer.is_success else None for answer in answers}
    return None if more else release


def clean(site: Site) -> None:
    """See that nothing is left of a replacement, and that nothing differs from what is recorded."""
    [proxy] = proxies(site)
    policy = site.root(f"docker inspect --format '{{{{.HostConfig.RestartPolicy.Name}}}}' {proxy.split()[0]}")
    assert policy == "unless-stopped", "a reboot would leave no proxy"
    assert site.root(f"ls {site.directory}/swaps {site.directory}/traefik/dynamic").split() == [
        f"{site.directory}/swaps:",
        f"{site.directory}/traefik/dynamic:",
        *(["certificates.yaml"] if "proxy" in site.values else []),
        "routes.yaml",
    ]
    assert "no operation was interrupted" in site.ppmctl("resume").stdout


def no_difference(site: Site) -> None:
    """See that a plan finds nothing to deploy, and nothing that was changed by hand but the fixture's firewall."""
    [found] = site.json("plan", status=3)["hosts"]
    assert [section["name"] for section in found["sections"]] == ["host settings"]
    assert [found["migrations"], found["drift"], found["problem"]] == [[], [], None]


def test_https_that_fails_its_smoke_checks_ends_with_http_as_before(site: Site) -> None:
    release, before = site.serving(), proxies(site)
    https(site, upgrade={"smoke": ["/", "/api/no-such-path"]})
    said = site.ppmctl("plan", status=3).stdout
    assert "the proxy is replaced: open connections are cut" in said

    done = site.ppmctl("deploy", status=1)

    says(done, "failed a smoke check", f"Release {release} serves")
    assert "the proxy is replaced" in done.stderr
    assert site.serving() == release
    assert proxies(site) == before
    assert site.healthy() == release  # with today's YAML, which says https
    site.configure()
    clean(site)
    no_difference(site)


def test_https_that_was_cut_short_is_finished_with_the_settings_that_it_began_with(site: Site, tmp_path: Path) -> None:
    release = site.serving()
    https(site)
    with site.start("deploy") as deploy:
        deploy.await_words("✓ proxy")
        deploy.process.kill()
    assert by_https(site) == release, "the old release serves by the new proxy"
    site.configure()

    site.ppmctl("resume")

    new = by_https(site)
    assert new not in (None, release)
    assert site.healthy() == new
    https(site)
    clean(site)
    no_difference(site)
    before, file = proxies(site), tmp_path / "compose.yaml"
    with site.connect() as host:
        file.write_text(host.read(PurePosixPath(site.directory) / "current" / "compose.yaml"))
        host.compose(file).compose.up(["reverse-proxy"], detach=True, dependencies=False, no_build=True, quiet=True)
    assert proxies(site) == before, "Compose takes it for another one"
    site.configure()
    site.ppmctl("deploy")
    assert site.serving() == release
    clean(site)


STEPS = ("proxy", "start", "ready", "worker", "switch")


def third(site: Site) -> None:
    """Configure the site in a way that it never was."""
    https(site, proxy={"certificates": "files", "http_port": 443, "https_port": 80}, app={"rate_limit_per_minute": 77})


@FULL
@pytest.mark.parametrize("yaml", [Site.configure, https, third], ids=["old", "new", "third"])
@pytest.mark.parametrize("then", ["abort", "resume"])
@pytest.mark.parametrize("step", STEPS)
def test_wherever_it_is_killed_and_whatever_the_yaml_is_then_one_proxy_serves(
    site: Site, step: str, then: str, yaml: Callable[[Site], None]
) -> None:
    release = site.serving()
    https(site, upgrade={"bake": "30s"})
    with site.start("deploy") as deploy:
        deploy.await_words(f"✓ {step}")
        deploy.process.kill()
    yaml(site)

    site.ppmctl(then)

    if then == "abort":
        assert site.serving() == release
    else:
        assert by_https(site) not in (None, release)
    assert len(proxies(site)) == 1
    assert "no operation was interrupted" in site.ppmctl("resume").stdout


def kill(site: Site, deploy: Running) -> None:  # noqa: ARG001
    """`kill -9` of ppmctl."""
    deploy.process.kill()


def restart_docker(site: Site, deploy: Running) -> None:  # noqa: ARG001
    """The host's Docker daemon is restarted."""
    site.root("systemctl restart docker")


def reboot(site: Site, deploy: Running) -> None:  # noqa: ARG001
    """The host is restarted."""
    subprocess.run(["docker", "restart", "-t", "1", site.host.container], check=True, capture_output=True)
    settle(local_docker(), site.lab)


@FULL
@pytest.mark.parametrize("then", ["abort", "resume"])
@pytest.mark.parametrize("fault", [kill, restart_docker, reboot])
@pytest.mark.parametrize("moment", ["replacing", "started", "keeping"])
def test_a_replacement_that_is_hit_in_its_middle_leaves_one_proxy_that_serves(
    site: Site, moment: str, fault: Callable[[Site, Running], None], then: str
) -> None:
    release = site.serving()
    https(site)
    with site.start("deploy") as deploy:
        log = f"until grep -qs {moment} {site.directory}/swaps/*/forward/log; do sleep 0.01; done"
        site.root(f"timeout 60 sh -c '{log}'")
        fault(site, deploy)
        assert eventually(lambda: release in (by_http(site), by_https(site)), 180), site.root("docker ps -a")
        deploy.process.kill()

    site.ppmctl(then)

    assert (site.serving() == release) if then == "abort" else (by_https(site) not in (None, release))
    assert len(proxies(site)) == 1
    assert "no operation was interrupted" in site.ppmctl("resume").stdout


@FULL
def test_a_proxy_that_does_not_start_leaves_the_old_one_and_shows_what_it_said(site: Site, checkout: Path) -> None:
    release, before = site.serving(), proxies(site)
    template = checkout / "docker-compose.yml.j2"
    template.write_text(template.read_text().replace("- --ping=true", "- --pong=true"))

    done = site.ppmctl("deploy", status=1, checkout=checkout)

    says(done, "the new proxy did not serve users", "pong", f"Release {release} serves")
    assert (site.serving(), proxies(site)) == (release, before)


@FULL
def test_a_port_that_is_taken_leaves_the_old_proxy(site: Site) -> None:
    release, before = site.serving(), proxies(site)
    site.root("systemd-run --unit=squatter -q python3 -m http.server 443")
    try:
        site.root("for i in $(seq 100); do ss -ltn 'sport = :443' | grep -q LISTEN && exit; sleep 0.1; done; exit 1")
        https(site)
        says(site.ppmctl("deploy", status=1), "443", f"Release {release} serves")
    finally:
        site.root("systemctl stop squatter")
    assert (site.serving(), proxies(site)) == (release, before)


@FULL
def test_routes_that_traefik_rejects_are_undone_at_once_and_its_own_line_is_in_the_error(
    site: Site, checkout: Path
) -> None:
    release = site.serving()
    template = checkout / "ppmkit" / "release" / "render.py"
    template.write_text(template.read_text().replace("Host({_literal(environment.domain)})", "Host(`bücher`)"))
    https(site)

    done = site.ppmctl("deploy", status=1, checkout=checkout)

    says(done, 'invalid value "bücher" for Host matcher', f"Release {release} serves")
    assert site.serving() == release
