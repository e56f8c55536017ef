"""Bounds on what is asked of a host. What needs a connection is in tests/lab."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from ppmkit.config.environment import Environment
from ppmkit.host.host import Host


@pytest.fixture
def host(environment: Environment, tmp_path: Path) -> Host:
    return Host(environment, environment.hosts[0], tmp_path)


def bound(host: Host) -> int:
    """Return the seconds that a call of the host's Docker may take now."""
    *options, _docker = host.docker.client_config.client_call
    return int(options[-1])


@pytest.fixture(autouse=True)
def docker_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that no test here runs, under a path that is known."""
    for name in ("docker", "timeout"):
        (tmp_path / name).write_text("#!/bin/false\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))


def test_an_inner_bound_ends_with_its_block_and_the_outer_one_holds_again(host: Host) -> None:
    with host.within(2000):
        with host.within(1000):
            assert 0 < bound(host) <= 1000
        assert 1000 < bound(host) <= 2000
    assert bound(host) == Host.DOCKER_SECONDS


def test_an_inner_bound_never_extends_the_outer_one(host: Host) -> None:
    with host.within(1000), host.within(2000):
        assert bound(host) <= 1000


def test_a_cancelled_operation_rests_in_no_inner_block_either(host: Host) -> None:
    cancelled = threading.Event()
    with host.within(10, cancelled):
        with host.within(5):
            cancelled.set()
            with pytest.raises(KeyboardInterrupt):
                host.rest(5)
        with pytest.raises(KeyboardInterrupt):
            host.rest(5)
    host.rest(0)
