"""Which URLs an environment may have, in which form they go everywhere, and what is said of others."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from ruamel.yaml import YAML

from ppmkit.config.environment import Environment
from ppmkit.config.url import canonical
from ppmkit.proxy import certificates
from ppmkit.release import render
from tests.support.authority import Authority
from tests.unit.conftest import environment_of

FILES = {"certificates": "files"}
ACME = {"letsencrypt_email": "ops@example.org"}
PLAIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]+)?")


@pytest.mark.parametrize(
    ("url", "used"),
    [
        ("http://localhost:8001", "http://localhost:8001"),
        ("http://lab", "http://lab"),
        ("https://ppm.example.org", "https://ppm.example.org"),
        ("https://ppm.example.org/", "https://ppm.example.org"),
        ("https://PPM.Example.org:8443/", "https://ppm.example.org:8443"),
        ("https://bücher.example.org:8601", "https://xn--bcher-kva.example.org:8601"),
        ("https://Bücher.example.org", "https://xn--bcher-kva.example.org"),
        ("https://xn--bcher-kva.example.org", "https://xn--bcher-kva.example.org"),
        ("https://例え.テスト", "https://xn--r8jz45g.xn--zckzah"),
        ("https://faß.example", "https://xn--fa-hia.example"),
        ("http://192.0.2.10", "http://192.0.2.10"),
        ("https://192.0.2.10:8443", "https://192.0.2.10:8443"),
        ("http://x.org:65535", "http://x.org:65535"),
        (f"http://{'a' * 63}.org", f"http://{'a' * 63}.org"),
    ],
)
def test_a_url_goes_everywhere_in_one_form(url: str, used: str) -> None:
    assert environment_of(url=url, proxy=FILES).url == used


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("x.org", "does not begin with http:// or https://"),
        ("ftp://x.org", "does not begin with"),
        ("https://", "the name is missing"),
        ("https://*.example.org", "without a *"),
        ("https://ppm_test.example.org", "no _ in a name"),
        ("https://a..org", "has an empty part"),
        ("https://.org", "has an empty part"),
        ("https://x.org.", "has an empty part"),
        ("https://-x.org", "no hyphen first or last"),
        ("https://x-.org", "no hyphen first or last"),
        ("https://x y.org", "letters, digits and hyphens"),
        ("https://x.org\n", "letters, digits and hyphens"),
        ("https://x`) || PathPrefix(`.org", "letters, digits and hyphens"),
        ("https://$HOME.org", "letters, digits and hyphens"),
        (f"https://{'a' * 64}.org", "has 64 characters; DNS allows 63"),
        (f"https://{'.'.join(['a' * 60] * 5)}", "has 304 characters; DNS allows 253"),
        ("https://xn--zz.org", "is not the ASCII form of any name"),
        ("https://😀.example", "has no ASCII form"),
        ("https://1.2.3", "ends in a number"),
        ("https://192.0.2.256", "ends in a number"),
        ("https://x.0x7f", "ends in a number"),
        ("https://[2001:db8::1]", "users over IPv4 only"),
        ("https://2001:db8::1", "users over IPv4 only"),
        ("https://x.org/app", "remove '/app'"),
        ("https://x.org?a=1", "remove '?a=1'"),
        ("https://x.org/#top", "remove '/#top'"),
        ("https://ann@x.org", "remove the user"),
        ("https://x.org:", "'' is not a port"),
        ("https://x.org:0", "'0' is not a port"),
        ("https://x.org:65536", "'65536' is not a port"),
        ("https://x.org:http", "'http' is not a port"),
    ],
)
def test_what_the_proxy_or_a_ca_would_not_take_is_refused_with_the_reason(url: str, said: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(said)):
        environment_of(url=url, proxy=FILES)


@pytest.mark.parametrize(
    ("url", "proxy", "said"),
    [
        ("https://192.0.2.10", ACME, "no certificate can be requested for the IP address 192.0.2.10"),
        (
            "https://192.0.2.10",
            ACME | {"ca_server": "https://ca.example.org/directory"},
            "no certificate can be requested",
        ),
        ("https://localhost", ACME, "only for public domains"),
    ],
)
def test_a_ca_is_asked_for_nothing_that_it_gives_no_certificate_for(url: str, proxy: dict[str, str], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        environment_of(url=url, proxy=proxy)


def test_a_ca_of_ones_own_may_know_names_without_a_dot() -> None:
    assert environment_of(url="https://wiki", proxy=ACME | {"ca_server": "https://ca.example.org/directory"}).acme


@given(st.text(), st.integers(0, 70_000))
def test_whatever_passes_is_plain_ascii_and_stays_the_same(name: str, port: int) -> None:
    for url in (f"https://{name}.example.org:{port}", f"http://{name}", name):
        with suppress(ValueError):
            once = canonical(url)
            assert PLAIN.fullmatch(once)
            assert canonical(once) == once


def _routes(environment: Environment) -> str:
    servers = {"blue": {"api": ["http://a:1"], "frontend": ["http://b:1"]}}
    return render.routes(environment, live="blue", preview="blue", servers=servers)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "name"), [("https://bücher.example.org", "xn--bcher-kva.example.org"), ("https://192.0.2.10", "192.0.2.10")]
)
def test_routes_and_the_check_of_an_own_certificate_use_the_same_name(url: str, name: str) -> None:
    environment = environment_of(url=url, proxy=FILES)
    chain, _ = Authority().issue(timedelta(days=60), name)

    rule = YAML(typ="safe").load(_routes(environment))["http"]["routers"]["edge"]["rule"]
    assert rule == f"Host(`{name}`) && PathPrefix(`/`)"
    assert certificates.verdict_of(chain, environment.domain, datetime.now(UTC))[0]
