"""What a file of routes tells, and the same routes under other names."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ruamel.yaml import YAML

from ppmkit.proxy.routes import aside, servers
from ppmkit.release import render
from tests.support.rendered import EVERY_WAY
from tests.unit.conftest import environment_of

SERVERS = {c: {"api": [f"http://{c}-1:1", f"http://{c}-2:1"], "frontend": [f"http://{c}:1"]} for c in ("blue", "green")}


def rendered(changes: dict[str, Any], **routes: Any) -> str:
    return render.routes(environment_of(**changes), servers=SERVERS, **routes)  # type: ignore[arg-type]


@EVERY_WAY
def test_routes_tell_to_whom_they_send(changes: dict[str, Any]) -> None:
    text = rendered(changes, live="green", preview="blue")

    assert servers(text, "green") == SERVERS["green"]
    assert servers(rendered({}, live=None, preview=None), "blue")["api"] == SERVERS["blue"]["api"]


@pytest.mark.parametrize("text", ["", "http: [", "http: {}", "[]", "http:"])
def test_spoilt_routes_send_to_nobody(text: str) -> None:
    assert servers(text, "blue") == {"api": [], "frontend": []}
    assert aside(text, "x-") is None


@EVERY_WAY
@pytest.mark.parametrize(
    "routes", [{}, {"canary": 5, "preview": "blue"}, {"maintenance": True}], ids=["plain", "canary", "maintenance"]
)
def test_routes_under_other_names_are_whole_and_share_no_name(changes: dict[str, Any], routes: dict[str, Any]) -> None:
    text = rendered(changes, **({"live": "green", "preview": "green"} | routes))
    before = YAML(typ="safe").load(text)["http"]

    beside = aside(text, "before-")

    assert beside is not None
    after = json.loads(beside)["http"]
    assert set(after["routers"]) == {"before-edge", "before-api", "before-too-large", "before-frontend"}
    for kind in ("routers", "middlewares", "services"):
        assert not set(after[kind]) & set(before[kind])
    for router in after["routers"].values():
        assert set(router.get("middlewares", ())) <= set(after["middlewares"])
        assert set(router.get("parentRefs", ())) <= set(after["routers"])
        assert router.get("service", "before-closed") in {*after["services"], "before-closed"}
    assert after["routers"]["before-edge"]["rule"] == before["routers"]["edge"]["rule"]
    weighted = after["services"].get("before-api-canary", {}).get("weighted", {}).get("services", [])
    assert {service["name"] for service in weighted} <= set(after["services"])


def test_without_users_there_is_nothing_to_keep_aside() -> None:
    assert aside(rendered({}, live=None, preview="blue"), "before-") is None
