"""Several hosts: in order, side by side, and what is said of the others when one fails."""

from __future__ import annotations

import threading

import pytest

from ppmkit.config.environment import Environment, HostAddress
from ppmkit.errors import NotReady, OperationError
from ppmkit.operation.hosts import on_each_host
from tests.unit.conftest import environment_of

THREE = environment_of(hosts=[{"name": f"web-{n}", "address": f"127.0.0.{n}"} for n in (1, 2, 3)])


def failing(*names: str) -> tuple[list[str], object]:
    """Return (names of the hosts that were acted on, what acts)."""
    acted: list[str] = []

    def act(address: HostAddress, cancelled: threading.Event) -> str:
        assert not cancelled.is_set()
        acted.append(address.name)
        if address.name in names:
            raise OperationError(f"{address.name}: no")
        return address.name

    return acted, act


@pytest.mark.parametrize("parallel", [1, 2, 3])
def test_every_host_is_acted_on_and_answers_come_in_their_order(parallel: int) -> None:
    _, act = failing()

    assert on_each_host(THREE, parallel, act) == ["web-1", "web-2", "web-3"]  # type: ignore[arg-type]


def test_the_first_failure_stops_and_the_others_are_named() -> None:
    acted, act = failing("web-2")

    with pytest.raises(OperationError) as error:
        on_each_host(THREE, 1, act)  # type: ignore[arg-type]

    assert acted == ["web-1", "web-2"]
    assert error.value.message == "web-2: no. Done before: web-1. Not started: web-3"


def test_side_by_side_no_host_begins_after_a_failure() -> None:
    both = threading.Barrier(2)
    acted: list[str] = []

    def act(address: HostAddress, _: threading.Event) -> str:
        acted.append(address.name)
        both.wait(10)
        if address.name == "web-1":
            raise OperationError("web-1: no")
        threading.Event().wait(0.2)
        return address.name

    with pytest.raises(OperationError) as error:
        on_each_host(THREE, 2, act)

    assert sorted(acted) == ["web-1", "web-2"]
    assert error.value.message == "web-1: no. Done before: web-2. Not started: web-3"


def test_side_by_side_every_failure_is_told() -> None:
    environment: Environment = THREE.model_copy(update={"hosts": THREE.hosts[:2]})
    both = threading.Barrier(2)

    def act(address: HostAddress, _: threading.Event) -> str:
        both.wait(10)
        raise OperationError(f"{address.name}: no")

    with pytest.raises(OperationError) as error:
        on_each_host(environment, 2, act)

    assert "web-1: no" in error.value.message
    assert "web-2: no" in error.value.message


@pytest.mark.parametrize("parallel", [1, 2])
def test_what_was_said_of_each_host_is_told_in_whole(parallel: int) -> None:
    environment: Environment = THREE.model_copy(update={"hosts": THREE.hosts[:2]})
    both = threading.Barrier(parallel)

    def act(address: HostAddress, _: threading.Event) -> str:
        both.wait(10)
        no = NotReady(f"{address.name}: no", next="ppmctl deploy")
        raise no.with_context(f"{no.message}. Release 1 serves there", step="start") from no

    with pytest.raises(NotReady) as error:
        on_each_host(environment, parallel, act)

    others = {1: "Not started: web-2", 2: "Also failed: web-2: no. Release 1 serves there"}
    assert str(error.value) == error.value.message == f"web-1: no. Release 1 serves there. {others[parallel]}"
    assert (error.value.step, error.value.next) == ("start", "ppmctl deploy")
