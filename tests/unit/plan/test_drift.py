"""What the release says against what is on a host."""

from __future__ import annotations

from typing import Any

import pytest

from ppmkit.config.environment import Environment
from ppmkit.orchestrator.stack import Setup, Stack
from ppmkit.plan.decide import decide
from ppmkit.plan.drift import CERTIFICATES, ROUTES, Drift, Evidence, Intended, find, intact, intended, recolored
from ppmkit.release import render
from ppmkit.release.model import Color, Images, Release
from tests.unit.conftest import environment_of
from tests.unit.plan.test_decide import found, serving

SECRETS = {"session_secret": "0a1b2c3d"}
SETUP = Setup(
    image="sha256:1",
    user="10001:10001",
    read_only=True,
    cap_drop=("ALL",),
    security_opt=("no-new-privileges:true",),
    environment={"APP_ENV": "production", "LOG_LEVEL": "info"},
    memory=256 << 20,
    memory_swap=256 << 20,
    cpus=1.0,
    pids=256,
    restart="unless-stopped",
    config_hash="abc",
    compose_version="2.40.3",
)


@pytest.fixture
def release(environment: Environment, images: Images) -> Release:
    return render.release(environment, images, SECRETS)


def services(color: Color = "blue") -> dict[str, Intended]:
    replicas = {"api": 2, "frontend": 1, "worker": 1}
    return {
        **{role: Intended(role=role, color=None, replicas=1, setup=SETUP) for role in ("reverse-proxy", "steward")},
        **{
            f"{role}-{color}": Intended(role=role, color=color, replicas=n, setup=SETUP) for role, n in replicas.items()
        },
    }


def evidence(environment: Environment, release: Release, **changes: Any) -> Evidence:
    """Return what is read from a host on which nobody changed anything."""
    files = render.tree(environment, release)
    values = {
        "files": files,
        "routes": recolored(files[ROUTES], "blue"),
        "certificates": files.get(CERTIFICATES),
        "secrets": {f"{name}/{version}": {"version": version} for name, version in release.secrets.items()},
        "foreign_containers": (),
        "services": services(),
    }
    return Evidence.model_validate(values | changes)


def made(stack: Stack, **changes: Any) -> Stack:
    """Return the stack with every container made as the Compose file says, the first api otherwise."""
    containers = [c.model_copy(update={"setup": SETUP}) for c in stack.containers]
    containers[1] = containers[1].model_copy(update={"setup": SETUP.model_copy(update=changes)})
    return stack.model_copy(update={"containers": tuple(containers)})


def seen(environment: Environment, release: Release, stack: Stack | None = None, **changes: Any) -> tuple[Drift, ...]:
    """Return what is found on a host that serves the wanted release, with changes to what is read from it."""
    tree = render.tree(environment, release)
    return find(release, release, tree, stack or made(serving(release)), evidence(environment, release, **changes))


def test_a_host_that_nobody_touched_has_no_drift(environment: Environment, release: Release) -> None:
    assert seen(environment, release) == ()


def test_the_files_of_a_release_are_proven_by_its_id(environment: Environment, release: Release) -> None:
    files = render.tree(environment, release)

    assert intact(release.id, files)
    assert not intact(release.id, files | {"compose.yaml": files["compose.yaml"] + "\n"})
    assert not intact(release.id, files | {"more.yaml": ""})


def test_an_edited_a_lost_and_an_added_file_are_told_apart(environment: Environment, release: Release) -> None:
    files = render.tree(environment, release)
    files["compose.yaml"] = files["compose.yaml"].replace("init: true", "init: false")
    del files[ROUTES]

    [edited, added, lost] = seen(environment, release, files=files | {"notes.txt": ""})

    assert edited.line == f"releases/{release.id}/compose.yaml: it was edited"
    assert "-  init: false\n+  init: true" in edited.diff
    assert (added.seen, lost.seen) == ("it is not part of the release", "it is missing")
    assert {item.means for item in (edited, added, lost)} == {"write"}


def test_an_edited_file_of_a_release_that_is_left_cannot_be_written_anew(
    environment: Environment, images: Images, release: Release
) -> None:
    wanted = render.release(environment, images, {"session_secret": "ffffffff"})
    edited = evidence(environment, release, files={"compose.yaml": "mine"}, services={})

    items = find(release, wanted, render.tree(environment, wanted), made(serving(release)), edited)

    assert [(item.what, item.means) for item in items] == [(f"releases/{release.id}", "operator")]


@pytest.mark.parametrize("name", ["test", "blue", "x-blue", "blue-green"])
def test_routes_change_their_color_and_nothing_else(name: str, images: Images) -> None:
    environment = environment_of(name=name)
    routes = render.tree(environment, render.release(environment, images, SECRETS))[ROUTES]
    servers: Any = {
        "green": {
            role: [f"http://ppm-{name}-{role}-green-{n}:{port}" for n in range(1, count + 1)]
            for role, port, count in (("api", 8000, 2), ("frontend", 8080, 1))
        }
    }

    assert recolored(routes, "green") == render.routes(environment, live="green", preview="green", servers=servers)
    assert recolored(routes, "blue") == routes


def test_routes_may_name_containers_by_other_numbers_but_must_name_those_that_run(
    environment: Environment, release: Release
) -> None:
    stack = made(serving(release))
    renamed = stack.containers[2].model_copy(update={"name": "ppm-test-api-blue-7"})
    stack = stack.model_copy(update={"containers": (*stack.containers[:2], renamed, *stack.containers[3:])})
    routes = evidence(environment, release).routes or ""

    assert seen(environment, release, stack, routes=routes.replace("blue-2", "blue-7")) == ()
    [item] = seen(environment, release, stack)
    assert item.line == f"{ROUTES}: it sends no requests to ppm-test-api-blue-7"


@pytest.mark.parametrize("found", [None, "tls: {}"])
def test_a_certificate_of_the_own_that_the_proxy_is_not_told_of_is_shown(images: Images, found: str | None) -> None:
    environment = environment_of(url="https://ppm.example.org", proxy={"certificates": "files"})
    release = render.release(environment, images, SECRETS | dict.fromkeys(environment.proxy_secrets, "0a1b2c3d"))

    told = render.tree(environment, release)[CERTIFICATES]
    assert seen(environment, release) == ()
    assert seen(environment, release, certificates=told.replace("0a1b2c3d", "ffffffff")) == ()
    [item] = seen(environment, release, certificates=found)
    assert (item.what, item.means) == ("traefik/dynamic/certificates.yaml", "write")


def test_routes_that_this_version_writes_for_a_release_of_an_older_one_are_not_edited(
    environment: Environment, release: Release
) -> None:
    routes = evidence(environment, release).routes or ""
    newer = routes.replace("referrerPolicy: no-referrer", "referrerPolicy: same-origin")
    assert newer != routes

    assert seen(environment, release, routes=newer, usual_routes=newer) == ()
    [item] = seen(environment, release, routes=newer, usual_routes=routes)
    assert item.seen == "it was edited"


def test_routes_that_send_users_elsewhere_are_edited(environment: Environment, release: Release) -> None:
    routes = evidence(environment, release).routes or ""

    [item] = seen(environment, release, routes=routes.replace("//ppm-test-api-blue-1:", "//elsewhere-1:"))

    assert item.seen == "it was edited"
    assert "+          - url: http://ppm-test-api-blue-N:8000" in item.diff


@pytest.mark.parametrize(
    ("found", "words", "means"),
    [
        ({}, "it is missing", "write"),
        ({"version": "bad00000"}, "its content is not that of this version", "replace"),
        ({"version": "0a1b2c3d", "fault": "it has mode 444"}, "it has mode 444", "write"),
    ],
)
def test_a_secret_that_is_lost_altered_or_open_is_named_by_its_version(
    environment: Environment, release: Release, found: dict[str, str], words: str, means: str
) -> None:
    [item] = seen(environment, release, secrets={"session_secret/0a1b2c3d": found} if found else {})

    assert (item.what, item.seen, item.means) == ("secrets/session_secret/0a1b2c3d", words, means)


@pytest.mark.parametrize(
    ("changes", "words", "means"),
    [
        (
            {"memory": 512, "memory_swap": 1 << 20},
            "memory 512B, not 256.0MiB, memory swap 1.0MiB, not 256.0MiB",
            "update",
        ),
        ({"cpus": 0.5}, "cpus 0.5, not 1.0", "update"),
        ({"pids": 7, "restart": "no"}, "pids 7, not 256, restart no, not unless-stopped", "update"),
        ({"image": "sha256:2"}, "image sha256:2, not sha256:1", "replace"),
        ({"user": "0:0", "read_only": False}, "user 0:0, not 10001:10001, read only False, not True", "replace"),
        ({"cap_drop": ()}, "cap drop none, not ALL", "replace"),
        ({"environment": {"PATH": "/bin", "LOG_LEVEL": "debug"}}, "environment APP_ENV, LOG_LEVEL", "replace"),
        ({"config_hash": "def"}, "it was created from another Compose file", "replace"),
    ],
)
def test_a_container_that_was_made_or_limited_otherwise_is_named(
    environment: Environment, release: Release, changes: dict[str, Any], words: str, means: str
) -> None:
    [item] = seen(environment, release, made(serving(release), **changes))

    assert (item.what, item.seen, item.means) == ("ppm-test-api-blue-1", words, means)


def test_another_version_of_compose_may_digest_a_service_otherwise(environment: Environment, release: Release) -> None:
    assert seen(environment, release, made(serving(release), config_hash="def", compose_version="5.0.0")) == ()


def test_containers_that_stand_still_are_gone_or_are_too_many_are_named(
    environment: Environment, release: Release
) -> None:
    proxy, _, two, page, steward, worker = made(serving(release)).containers
    stopped = two.model_copy(update={"status": "exited", "exit_code": 137})
    more = (page, page.model_copy(update={"name": "ppm-test-frontend-blue-2"}))
    stack = serving(release, containers=(proxy, stopped, *more, steward, worker))

    lines = [item.line for item in seen(environment, release, stack)]

    assert "api-blue: 1 of 2 containers are missing" in lines
    assert "ppm-test-api-blue-2: it is exited (status 137)" in lines
    assert "frontend-blue: 2 containers instead of 1" in lines


def test_what_belongs_to_the_idle_color_is_no_drift(environment: Environment, release: Release) -> None:
    stack = made(serving(release))
    idle = found("api", "green", "old", status="exited")

    assert seen(environment, release, stack.model_copy(update={"containers": (*stack.containers, idle)})) == ()


def test_a_stranger_is_left_to_the_operator_and_needs_no_deploy(environment: Environment, release: Release) -> None:
    items = seen(environment, release, foreign_containers=("lodger",))

    assert "docker rm -f lodger" in items[0].next
    assert not decide(environment, release, serving(release), items).needed


def test_limits_are_set_back_in_place_and_other_containers_come_in_the_other_color(
    environment: Environment, release: Release
) -> None:
    for changes, target in (({"memory": 1}, "blue"), ({"user": "0:0"}, "green")):
        items = seen(environment, release, made(serving(release), **changes))
        plan = decide(environment, release, serving(release), items)
        assert (plan.needed, plan.target) == (True, target)


def test_a_proxy_that_was_made_otherwise_is_no_reason_to_change_colors(
    environment: Environment, release: Release
) -> None:
    stack = made(serving(release))
    proxy = stack.containers[0].model_copy(update={"setup": SETUP.model_copy(update={"config_hash": "def"})})
    stack = stack.model_copy(update={"containers": (proxy, *stack.containers[1:])})

    items = seen(environment, release, stack)

    assert [(item.what, item.means) for item in items] == [(proxy.name, "recreate")]
    assert decide(environment, release, stack, items).target == "blue"


def test_services_are_read_as_compose_prints_them() -> None:
    config = {
        "services": {
            "api-blue": {
                "labels": {"ppm.role": "api", "ppm.color": "blue"},
                "scale": 2,
                "image": "sha256:1",
                "mem_limit": "268435456",
                "cpus": 1,
            },
            "plain": {"image": "x"},
        }
    }

    read = intended(config, {"api-blue": "abc"}, "2.40.3")

    assert read["api-blue"].replicas == 2
    assert read["api-blue"].setup == Setup(
        image="sha256:1", memory=256 << 20, cpus=1.0, config_hash="abc", compose_version="2.40.3"
    )
    assert (read["plain"].role, read["plain"].replicas) == (None, 1)
