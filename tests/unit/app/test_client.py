"""Which address a request comes from."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import HTTPConnection

from app.api.client import client_of

CDN = (ip_network("10.0.0.0/8"), ip_network("2001:db8:cd::/48"))


def client(*named: str, trusted: bool = True) -> str:
    headers = [(b"x-forwarded-for", line.encode("latin-1")) for line in named]
    scope = {"type": "http", "headers": headers, "client": ("172.18.0.2", 1234)}
    return client_of(HTTPConnection(scope), CDN if trusted else ())


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ((), "172.18.0.2"),
        (("192.0.2.1",), "192.0.2.1"),
        (("203.0.113.9, 192.0.2.1",), "192.0.2.1"),  # the first is what the client says of itself
        (("203.0.113.9, 192.0.2.1, 10.1.2.3",), "192.0.2.1"),
        (("203.0.113.9", "192.0.2.1,10.1.2.3 , 10.9.9.9"), "192.0.2.1"),
        (("192.0.2.1, 2001:db8:cd::1",), "192.0.2.1"),
        (("10.1.1.1, 10.2.2.2",), "10.1.1.1"),
        (("unknown, 10.2.2.2",), "unknown"),
        (("::ffff:192.0.2.1",), "192.0.2.1"),
        (("2001:db8:1:2:3:4:5:6",), "2001:db8:1:2::/64"),
        (("2001:db8:1:2::1",), "2001:db8:1:2::/64"),
        (("2001:db8:1:3::1",), "2001:db8:1:3::/64"),
        ((" , ",), "172.18.0.2"),
    ],
)
def test_it_is_the_last_one_that_no_trusted_proxy_has(named: tuple[str, ...], expected: str) -> None:
    assert client(*named) == expected


def test_without_trusted_proxies_it_is_the_last_one() -> None:
    assert client("192.0.2.1, 10.1.2.3", trusted=False) == "10.1.2.3"


@given(st.lists(st.text(st.characters(max_codepoint=255)), max_size=4))
def test_whatever_is_sent_there_is_an_answer(named: list[str]) -> None:
    assert client(*named)
