"""What containers answer to after a hold."""

from __future__ import annotations

import pytest

from ppmkit.database.hold import _named, _options
from ppmkit.orchestrator.stack import Found


def api(number: int, color: str = "blue") -> Found:
    return Found.model_validate(
        {
            "id": f"id-{number}",
            "name": f"ppm-test-api-{color}-{number}",
            "role": "api",
            "color": color,
            "release": "0a1b2c3d4e5f",
            "status": "running",
            "health": None,
            "exit_code": 0,
            "oom_killed": False,
            "started": None,
        }
    )


@pytest.mark.parametrize(
    ("containers", "aliases", "answers"),
    [
        (1, ["held-1"], {"id-1": ["held-1"]}),
        (2, ["held-1", "held-2"], {"id-1": ["held-1"], "id-2": ["held-2"]}),
        (1, ["held-1", "held-2", "held-3"], {"id-1": ["held-1", "held-2", "held-3"]}),
        (2, ["held-1", "held-2", "held-3"], {"id-1": ["held-1", "held-3"], "id-2": ["held-2"]}),
        (3, ["held-1"], {"id-1": ["held-1"]}),
    ],
)
def test_each_name_that_requests_wait_at_is_somebodys(
    containers: int, aliases: list[str], answers: dict[str, list[str]]
) -> None:
    found = _named([api(number + 1) for number in range(containers)], aliases)

    assert {container.id: names for container, names in found} == answers


def test_a_container_keeps_the_names_that_compose_gave_it() -> None:
    assert _options(api(2), ["held-1"]) == ["--alias=held-1", "--alias=api-blue", "--alias=ppm-test-api-blue-2"]
